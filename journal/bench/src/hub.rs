//! A hub's journal on a real disk, paired with an app that is then gone, and clips sealed in it by
//! hand: full chunks, several for a sync, every sync waited for.
//!
//! That is the engine alone, at its best pattern; what a hub does with it is measured through the hub's
//! own core (`recording.rs`). Acks are taken as if the app had sent them; nothing here knows a network.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use journal::pairing::{AppNext, OfferTerms};
use journal::vault::file::FileVault;
use journal::{
    AppPairing, CHUNK_BYTES_MAX, Committer, HubPairing, Journal, JournalError, Role, Session, Suite,
};
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{Dice as _, Options, OsDice, RecoveryReport, SeededDice};
use wire::ids::DeviceId;

use crate::Outcome;
use crate::measure::adding;
use crate::meter::{Meter, MeteredDisk, MeteredStore};

/// The clip that the targets speak of.
pub(crate) const CLIP_BYTES: usize = 5_000_000;
/// Chunks that share one sync here.
pub(crate) const CHUNKS_PER_COMMIT: usize = 16;
/// Clips sealed before anything is measured: enough that log files are recycled, not made.
pub(crate) const WARM_UP_CLIPS: usize = 16;

/// Any fixed time will do; nothing here waits for it.
const NOW_UNIX_S: u64 = 1_800_000_000;
pub(crate) const NOW_UNIX_MS: u64 = NOW_UNIX_S * 1000;

/// Where the time of sealing went, by step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    /// `start_clip`, `append_chunk`, `finish_clip`: MLS, wrap, digests.
    pub(crate) seal: Duration,
    /// `stage`: sealing of secret rows, encoding of record groups.
    pub(crate) stage: Duration,
    /// `commit`: write, sync, view, vault.
    pub(crate) commit: Duration,
}

/// An open journal of a hub and the one line that it serves.
pub(crate) struct Hub {
    pub(crate) journal: Journal,
    pub(crate) session: Session<Committer>,
    pub(crate) meter: Meter,
}

impl Hub {
    /// Makes a hub's journal in `dir` and pairs it; the app's side is thrown away.
    pub(crate) fn pair(dir: &Path) -> Outcome<PairingId> {
        let mut hub = open(&dir.join("hub"), Role::Hub, &Meter::default())?;
        let mut app = open(&dir.join("app"), Role::App, &Meter::default())?;
        let terms = OfferTerms {
            hub: DeviceId([7; 32]),
            addresses: vec!["127.0.0.1:1".to_owned()],
            relay: "127.0.0.1:2/relay".to_owned(),
            invitation: vec![1; 128],
            suite: Suite::XWing,
            ttl_s: 600,
        };
        let offer = HubPairing::offer(&mut hub, terms, NOW_UNIX_S)?.into_inner();
        let next = AppPairing::start(&mut app, &offer, DeviceId([8; 32]), NOW_UNIX_S)?.into_inner();
        let AppNext::Request(request) = next else {
            return Err("a new pairing begins with a request".into());
        };
        let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_UNIX_S)?;
        let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_UNIX_S)?.into_inner();
        let done = HubPairing::confirm(&mut hub, &confirm)?;
        Ok(AppPairing::done(&mut app, &confirm, &done)?.into_inner())
    }

    /// Opens what [`Self::pair`] made, as a start of the hub does.
    pub(crate) fn open(dir: &Path, pairing: PairingId) -> Outcome<Self> {
        let meter = Meter::default();
        let journal = open(&dir.join("hub"), Role::Hub, &meter)?;
        let session = Session::new(Line {
            pairing,
            channel: Channel::EventVideo,
        });
        let mut hub = Self {
            journal,
            session,
            meter,
        };
        let mut txn = hub.journal.begin();
        hub.session.close_used_epoch(&mut txn, NOW_UNIX_MS)?;
        drop(txn.commit(())?);
        Ok(hub)
    }

    /// Seals a whole clip, durable when this returns.
    pub(crate) fn seal_clip(&mut self, clip_bytes: &[u8]) -> Outcome<Steps> {
        let mut steps = Steps::default();
        let Self {
            journal, session, ..
        } = self;
        let mut clip = None;
        for batch in clip_bytes.chunks(CHUNK_BYTES_MAX * CHUNKS_PER_COMMIT) {
            for chunk in batch.chunks(CHUNK_BYTES_MAX) {
                let mut txn = journal.begin();
                let sealed = adding(&mut steps.seal, || {
                    let clip = match clip {
                        Some(clip) => clip,
                        None => session.start_clip(&mut txn, "door", "video/mp4", NOW_UNIX_MS)?,
                    };
                    session.append_chunk(&mut txn, clip, chunk, NOW_UNIX_MS)?;
                    Ok::<_, JournalError>(clip)
                });
                clip = Some(sealed?);
                drop(adding(&mut steps.stage, || txn.stage(()))?);
            }
            let _covers_the_batch = adding(&mut steps.commit, || journal.commit())?;
        }
        let clip = clip.ok_or("a clip has bytes")?;
        let mut txn = journal.begin();
        adding(&mut steps.seal, || {
            session.finish_clip(&mut txn, clip, NOW_UNIX_MS)
        })?;
        drop(adding(&mut steps.stage, || txn.stage(()))?);
        let _covers_the_batch = adding(&mut steps.commit, || journal.commit())?;
        Ok(steps)
    }

    /// Commit, header and one chunk in one transaction, as the first byte of an event leaves.
    pub(crate) fn first_byte(&mut self, chunk: &[u8]) -> Outcome<journal::ids::ClipId> {
        let mut txn = self.journal.begin();
        let clip = self
            .session
            .start_clip(&mut txn, "door", "video/mp4", NOW_UNIX_MS)?;
        self.session
            .append_chunk(&mut txn, clip, chunk, NOW_UNIX_MS)?;
        Ok(txn.commit(clip)?.into_inner())
    }

    /// One chunk of a clip, durable when this returns: a message without a rotation.
    pub(crate) fn chunk(&mut self, clip: journal::ids::ClipId, bytes: &[u8]) -> Outcome<()> {
        let mut txn = self.journal.begin();
        self.session
            .append_chunk(&mut txn, clip, bytes, NOW_UNIX_MS)?;
        drop(txn.commit(())?);
        Ok(())
    }

    /// Ends a clip, with the rotation of the group's key.
    pub(crate) fn finish(&mut self, clip: journal::ids::ClipId) -> Outcome<()> {
        let mut txn = self.journal.begin();
        self.session.finish_clip(&mut txn, clip, NOW_UNIX_MS)?;
        drop(txn.commit(())?);
        Ok(())
    }

    /// Commit, merge and outbox row, durable when this returns.
    pub(crate) fn advance_epoch(&mut self) -> Outcome<()> {
        let mut txn = self.journal.begin();
        let epoch = self.session.advance_epoch(&mut txn)?;
        drop(txn.commit(epoch)?);
        Ok(())
    }

    /// The app holds everything: the outbox is freed.
    pub(crate) fn ack_all(&mut self) -> Outcome<()> {
        let last = self.journal.outbox_head(self.session.line())?.last;
        let mut txn = self.journal.begin();
        self.session.take_ack(&mut txn, last)?;
        drop(txn.commit(())?);
        Ok(())
    }
}

fn open(dir: &Path, role: Role, meter: &Meter) -> Outcome<Journal> {
    let disk = RealDisk::new(dir)?;
    Ok(open_on(&disk, dir, role, meter)?.0)
}

/// Opens a journal on a disk with its view beside it, both metered.
pub(crate) fn open_on(
    disk: &RealDisk,
    dir: &Path,
    role: Role,
    meter: &Meter,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let disk = Arc::new(MeteredDisk {
        inner: disk.clone(),
        meter: meter.clone(),
    });
    let store = MeteredStore {
        inner: RocksStore::new(dir.join("view")),
        meter: meter.clone(),
    };
    let vault = FileVault::new(disk.clone(), "vault");
    let options = Options::default();
    Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        Box::new(OsDice),
        options,
    )
}

/// Bytes that no file system and no drive can make smaller.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    SeededDice(0x5ec1_050).fill(&mut out);
    out
}
