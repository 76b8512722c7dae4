//! The relay's durable ingest: its mailbox store against a plain file.
//!
//! The store alone, on one thread, as the relay's storage thread drives it; no network and no
//! digests of arriving bytes.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use relay::store::{AppendAnswer, MailboxStore, Progress, Quotas};
use serde_json::json;
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{Options, OsDice, Wal};
use wire::Class;
use wire::ids::{DeviceId, Digest, SendId, Seq};

use crate::hub::noise;
use crate::measure::{Rounds, timed};
use crate::meter::{Meter, MeteredDisk, MeteredStore};
use crate::raw_file::RawFile;
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale};

/// What is asked.
pub(crate) const QUESTIONS: [Question; 3] = [
    Question {
        key: "ingest_1",
        title: "relay ingest, 1 envelope a sync / raw",
        unit: "x",
        target: Target::None,
    },
    Question {
        key: "ingest_4",
        title: "relay ingest, 4 envelopes a sync / raw",
        unit: "x",
        target: Target::None,
    },
    Question {
        key: "ingest_16",
        title: "relay ingest, 16 envelopes a sync / raw",
        unit: "x",
        target: Target::None,
    },
];
/// How many envelopes share a sync, question by question.
const BATCHES: [usize; QUESTIONS.len()] = [1, 4, 16];

/// What a full chunk is on the wire: sixteen sectors less the record group's share.
const ENVELOPE_BYTES: usize = 16 * 4096 - 512;
/// Envelopes in one round: about one clip.
const ENVELOPES: usize = 80;
const RAW_FILE_BYTES: u64 = 16 << 20;
const WARM_UP_ROUNDS: usize = 16;
const ACCOUNT: (DeviceId, Class) = (DeviceId([1; 32]), Class::Hub);
const MAILBOX: SendId = SendId([2; 24]);

struct Relay {
    store: MailboxStore,
    meter: Meter,
    last: Seq,
}

impl Relay {
    fn open(dir: &Path) -> Outcome<Self> {
        let meter = Meter::default();
        let disk = MeteredDisk {
            inner: RealDisk::new(dir)?,
            meter: meter.clone(),
        };
        let view = MeteredStore {
            inner: RocksStore::new(dir.join("view")),
            meter: meter.clone(),
        };
        let (wal, report) = Wal::open(
            Arc::new(disk),
            Box::new(view),
            Box::new(OsDice),
            Options::default(),
        )?;
        let store = MailboxStore::new(wal, &report, Quotas::default())?;
        Ok(Self {
            store,
            meter,
            last: Seq::NONE,
        })
    }

    /// One sync for each `batch` envelopes, receipts for all of them.
    fn ingest(&mut self, envelopes: &[(Digest, Bytes)], batch: usize) -> Outcome<()> {
        for envelopes in envelopes.chunks(batch) {
            let mut pending = Vec::new();
            for (digest, envelope) in envelopes {
                let (after, seq) = (self.last, self.last.next());
                pending.push(
                    self.store
                        .append(ACCOUNT, MAILBOX, seq, after, *digest, envelope)?,
                );
                self.last = seq;
            }
            let committed = self.store.commit()?;
            for pending in pending {
                let answer = self.store.answer(&committed, pending)?;
                if !matches!(answer, AppendAnswer::Receipt(_)) {
                    return Err(format!("the store answered {answer:?}").into());
                }
            }
        }
        Ok(())
    }

    /// The reader holds everything.
    fn trim(&mut self) -> Outcome<()> {
        while self.store.trim(&MAILBOX, self.last)? == Progress::More {}
        let _covers_the_trim = self.store.commit()?;
        Ok(())
    }
}

/// One figure for each number of envelopes that share a sync.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let mut relay = Relay::open(&dir.join("relay"))?;
    let mut raw = RawFile::create(&dir.join("raw-relay"), RAW_FILE_BYTES)?;
    let envelopes: Vec<_> = noise(ENVELOPES * ENVELOPE_BYTES)
        .chunks(ENVELOPE_BYTES)
        .map(|bytes| (Digest::of(bytes), Bytes::copy_from_slice(bytes)))
        .collect();
    for _ in 0..WARM_UP_ROUNDS {
        relay.ingest(&envelopes, 16)?;
        relay.trim()?;
    }
    let mut figures = Vec::new();
    for (question, batch) in QUESTIONS.into_iter().zip(BATCHES) {
        let (mut own, mut plain) = (Rounds::default(), Rounds::default());
        for _ in 0..scale.rounds(5, 15) {
            relay.meter.take();
            let (result, cost) = timed(|| relay.ingest(&envelopes, batch));
            result?;
            own.push(cost);
            let written = relay.meter.take().log_batches;
            relay.trim()?;
            let (result, cost) = timed(|| raw.write_batches(&written, || {}));
            result?;
            plain.push(cost);
        }
        let bytes = Some((ENVELOPES * ENVELOPE_BYTES) as u64);
        let figure = question
            .answer_by(&own.speed_against(&plain))
            .with_rounds("relay's store", &own, bytes)
            .with_rounds("raw write + fdatasync, same batches", &plain, bytes)
            .with("envelope bytes", json!(ENVELOPE_BYTES));
        figures.push(figure);
    }
    Ok(figures)
}
