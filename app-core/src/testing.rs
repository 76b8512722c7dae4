//! For tests: a hub's journal on the other side, and disks that can crash. No relay: a vector.

use std::sync::Arc;

use bytes::Bytes;
use journal::ids::{ClipId, Line, PairingId};
use journal::message::{self, AppMessage};
use journal::pairing::{AppNext, OfferTerms};
use journal::vault::file::FileVault;
use journal::{
    AckEffect, AppPairing, Committer, HubPairing, Journal, JournalError, Offer, Received, Role,
    Session, Suite, Takes,
};
use wal::disk::SimDisk;
use wal::store::MemStore;
use wal::{Options, SeededDice};
use wire::{DeviceId, Seq};

use crate::core::{Core, Delivered, Run, event_line};

pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const NOW_MS: u64 = NOW_S * 1_000;

pub(crate) fn options() -> Options {
    Options {
        log_file_bytes: 1 << 20,
        ballast_bytes: 64 << 10,
        ..Options::default()
    }
}

pub(crate) fn open_journal(role: Role, disk: &SimDisk, seed: u64) -> Result<Journal, JournalError> {
    open_journal_with(role, disk, Box::new(SeededDice(seed)))
}

pub(crate) fn open_journal_with(
    role: Role,
    disk: &SimDisk,
    dice: Box<dyn wal::Dice>,
) -> Result<Journal, JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(disk.clone(), "view");
    let vault = FileVault::new(disk.clone(), "vault");
    let (journal, _report) = Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        dice,
        options(),
    )?;
    Ok(journal)
}

pub(crate) fn open_core(disk: &SimDisk, seed: u64) -> Core {
    Core::new(open_journal(Role::App, disk, seed).expect("the app's journal opens"))
}

/// A hub without a camera and a network.
pub(crate) struct Hub {
    pub(crate) disk: SimDisk,
    pub(crate) journal: Journal,
    pub(crate) session: Session<Committer>,
}

impl Hub {
    pub(crate) fn line(&self) -> Line {
        self.session.line()
    }

    pub(crate) fn start_clip(&mut self) -> ClipId {
        let mut txn = self.journal.begin();
        let clip = self
            .session
            .start_clip(&mut txn, "door", "video/mp4", NOW_MS)
            .unwrap();
        txn.commit(clip).unwrap().into_inner()
    }

    pub(crate) fn chunk(&mut self, clip: ClipId, bytes: &[u8]) -> Seq {
        let mut txn = self.journal.begin();
        let seq = self
            .session
            .append_chunk(&mut txn, clip, bytes, NOW_MS)
            .unwrap();
        txn.commit(seq).unwrap().into_inner()
    }

    pub(crate) fn finish(&mut self, clip: ClipId) {
        let mut txn = self.journal.begin();
        self.session.finish_clip(&mut txn, clip, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn record(&mut self, chunks: &[&[u8]]) -> ClipId {
        let clip = self.start_clip();
        for bytes in chunks {
            self.chunk(clip, bytes);
        }
        self.finish(clip);
        clip
    }

    /// An envelope in which there is nothing.
    pub(crate) fn cover(&mut self) -> Seq {
        let mut txn = self.journal.begin();
        let seq = self.session.cover(&mut txn).unwrap();
        txn.commit(seq).unwrap().into_inner()
    }

    /// Everything un-acked behind `after`, as a relay would deliver it.
    pub(crate) fn outgoing(&self, after: Seq) -> Vec<Delivered> {
        let mut out = Vec::new();
        let mut at = after;
        while let Some((seq, envelope)) = self.journal.outbox_next(self.line(), at).unwrap() {
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            out.push(Delivered { seq, bytes });
            at = seq;
        }
        out
    }

    /// Takes what the app sent and the hub does not hold yet; says what each ack did.
    pub(crate) fn take_all(&mut self, core: &Core) -> Vec<Option<AckEffect>> {
        let mut effects = Vec::new();
        let mut at = self.journal.inbox_head(self.line()).unwrap().cursor;
        while let Some((seq, envelope)) = core.next_envelope(self.line(), at).unwrap() {
            let mut txn = self.journal.begin();
            let arrived = self
                .session
                .receive(&mut txn, seq, envelope.as_bytes(), Takes::Messages)
                .unwrap();
            effects.push(match &arrived.received {
                Received::Message(bytes) => {
                    let AppMessage::Ack { through, .. } = message::decode(bytes).unwrap();
                    Some(self.session.take_ack(&mut txn, Seq(through)).unwrap())
                }
                Received::Stale => None,
                other => panic!("the hub met {other:?}"),
            });
            drop(txn.commit(()).unwrap());
            at = seq;
        }
        effects
    }

    pub(crate) fn unacked(&self) -> u64 {
        let head = self.journal.outbox_head(self.line()).unwrap();
        head.last.0 - head.acked.0
    }

    pub(crate) fn exporter(&mut self) -> Vec<u8> {
        self.session.exporter(&mut self.journal.begin()).unwrap()
    }
}

/// A relay that is nowhere.
const NO_RELAY: &str = "127.0.0.1:2/relay";

/// A paired hub, and the disk of the app's side.
pub(crate) fn paired() -> (Hub, SimDisk) {
    paired_at(NO_RELAY)
}

/// The same at this relay.
pub(crate) fn paired_at(relay: &str) -> (Hub, SimDisk) {
    let app_disk = SimDisk::new();
    let hub = pair_hub(&app_disk, 1, relay);
    (hub, app_disk)
}

/// One more hub of the same phone, which does not run meanwhile.
pub(crate) fn pair_another(app_disk: &SimDisk) -> Hub {
    pair_hub(app_disk, 11, NO_RELAY)
}

fn pair_hub(app_disk: &SimDisk, seed: u8, relay: &str) -> Hub {
    let disk = SimDisk::new();
    let mut hub = open_journal(Role::Hub, &disk, u64::from(seed)).unwrap();
    let mut app = open_journal(Role::App, app_disk, u64::from(seed) + 1).unwrap();
    let terms = OfferTerms {
        hub: DeviceId([6 + seed; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: relay.into(),
        invitation: vec![1, 2, 3],
        suite: Suite::Classic,
        ttl_s: 600,
    };
    let offer = HubPairing::offer(&mut hub, terms, NOW_S)
        .unwrap()
        .into_inner();
    let pairing = pair_journals(&mut hub, &mut app, &offer);
    let session = Session::new(event_line(pairing));
    Hub {
        disk,
        journal: hub,
        session,
    }
}

fn pair_journals(hub: &mut Journal, app: &mut Journal, offer: &Offer) -> PairingId {
    let next = AppPairing::start(app, offer, DeviceId([8; 32]), NOW_S)
        .unwrap()
        .into_inner();
    let AppNext::Request(request) = next else {
        panic!("a fresh pairing begins with a request")
    };
    let answer = HubPairing::request(hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(app, &request, &answer, NOW_S).unwrap();
    let done = HubPairing::confirm(hub, &confirm).unwrap();
    AppPairing::done(app, &confirm, &done).unwrap().into_inner()
}

/// Delivers a run and commits.
pub(crate) fn deliver(core: &mut Core, line: Line, run: &[Delivered], now_ms: u64) -> Run {
    let pending = core.deliver(line, run, now_ms, NOW_MS + now_ms).unwrap();
    let committed = core.commit().unwrap();
    core.settle(&committed, pending).unwrap()
}

pub(crate) fn tick(core: &mut Core, line: Line, now_ms: u64) -> Run {
    let pending = core.tick(line, now_ms).unwrap();
    let committed = core.commit().unwrap();
    core.settle(&committed, pending).unwrap()
}

pub(crate) fn finish_sync(core: &mut Core, line: Line, now_ms: u64) -> Run {
    let pending = core.finish_sync(line, now_ms).unwrap();
    let committed = core.commit().unwrap();
    core.settle(&committed, pending).unwrap()
}

pub(crate) fn bytes_of(core: &Core, clip: ClipId) -> Vec<u8> {
    let chunks = core.clip(clip).unwrap().1.chunks;
    (0..chunks)
        .flat_map(|index| core.chunk(clip, index).unwrap().to_vec())
        .collect()
}
