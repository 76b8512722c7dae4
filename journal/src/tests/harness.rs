//! A hub and an app over simulated disks, and a relay that is a function.

use std::sync::Arc;

use wal::disk::SimDisk;
use wal::store::MemStore;
use wal::{Options, SeededDice};
use wire::envelope::Envelope;
use wire::ids::{DeviceId, Seq};

use crate::ids::{Channel, ClipId, Epoch, Line, PairingId};
use crate::message::{self, AppMessage};
use crate::pairing::{AppNext, OfferTerms};
use crate::pairing::{AppPairing, HubPairing, Offer};
use crate::vault::file::FileVault;
use crate::{
    Closed, Committer, Follower, Journal, JournalError, Received, Role, Session, Suite, Taken,
    Takes,
};

pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const NOW_MS: u64 = NOW_S * 1000;

pub(crate) fn options() -> Options {
    Options {
        log_file_bytes: 1 << 20,
        ballast_bytes: 64 << 10,
        ..Options::default()
    }
}

pub(crate) fn open(role: Role, disk: &SimDisk, seed: u64) -> Result<Journal, JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(disk.clone(), "view");
    let vault = FileVault::new(disk.clone(), "vault");
    let dice = Box::new(SeededDice(seed));
    let (journal, _) = Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        dice,
        options(),
    )?;
    Ok(journal)
}

/// One end: its disk, its journal, its session.
pub(crate) struct End<R> {
    pub(crate) disk: SimDisk,
    pub(crate) journal: Journal,
    pub(crate) session: Session<R>,
}

pub(crate) type Hub = End<Committer>;
pub(crate) type App = End<Follower>;

impl<R> End<R> {
    pub(crate) fn open(role: Role, disk: SimDisk, line: Line, seed: u64) -> Self {
        let journal = open(role, &disk, seed).expect("the journal opens");
        Self {
            disk,
            journal,
            session: Session::new(line),
        }
    }

    pub(crate) fn line(&self) -> Line {
        self.session.line()
    }

    pub(crate) fn epoch(&mut self) -> Epoch {
        self.session.epoch(&mut self.journal.begin()).unwrap()
    }

    pub(crate) fn exporter(&mut self) -> Vec<u8> {
        self.session.exporter(&mut self.journal.begin()).unwrap()
    }

    /// Everything that waits for the other side, from after `after`.
    pub(crate) fn outgoing(&self, after: Seq) -> Vec<(Seq, Envelope)> {
        let mut out = Vec::new();
        let mut at = after;
        while let Some((seq, envelope)) = self.journal.outbox_next(self.line(), at).unwrap() {
            out.push((seq, envelope.into_inner()));
            at = seq;
        }
        out
    }
}

impl Hub {
    /// What a start does.
    pub(crate) fn restart(self, disk: SimDisk, seed: u64) -> (Self, Closed) {
        let line = self.line();
        drop(self);
        Self::start(disk, line, seed)
    }

    pub(crate) fn start(disk: SimDisk, line: Line, seed: u64) -> (Self, Closed) {
        let mut hub = Self::open(Role::Hub, disk, line, seed);
        let mut txn = hub.journal.begin();
        let closed = hub.session.close_used_epoch(&mut txn, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        (hub, closed)
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

    /// A whole clip of these chunks.
    pub(crate) fn record(&mut self, chunks: &[&[u8]]) -> ClipId {
        let clip = self.start_clip();
        for bytes in chunks {
            self.chunk(clip, bytes);
        }
        self.finish(clip);
        clip
    }

    /// Takes one envelope of the app.
    pub(crate) fn take(&mut self, seq: Seq, envelope: &Envelope) -> Received {
        let mut txn = self.journal.begin();
        let arrived = self
            .session
            .receive(
                &mut txn,
                seq,
                envelope.as_bytes(),
                Takes::MessagesAndProposals,
            )
            .unwrap();
        if let Received::Message(bytes) = &arrived.received {
            let AppMessage::Ack { through, .. } = message::decode(bytes).unwrap();
            self.session.take_ack(&mut txn, Seq(through)).unwrap();
        }
        drop(txn.commit(()).unwrap());
        arrived.received
    }
}

impl App {
    pub(crate) fn restart(self, disk: SimDisk, seed: u64) -> Self {
        let line = self.line();
        drop(self);
        Self::open(Role::App, disk, line, seed)
    }

    /// Takes one envelope of the hub.
    pub(crate) fn take(&mut self, seq: Seq, bytes: &[u8]) -> Taken {
        let mut txn = self.journal.begin();
        let taken = self.session.take(&mut txn, seq, bytes, NOW_MS).unwrap();
        txn.commit(taken).unwrap().into_inner()
    }

    pub(crate) fn ack(&mut self) {
        let mut txn = self.journal.begin();
        self.session.send_ack(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn cursor(&self) -> Seq {
        self.journal.inbox_head(self.line()).unwrap().cursor
    }

    pub(crate) fn bytes_of(&self, clip: ClipId) -> Vec<u8> {
        let chunks = self.journal.app_clip(clip).unwrap().chunks;
        (0..chunks)
            .flat_map(|i| self.journal.app_chunk(clip, i).unwrap().to_vec())
            .collect()
    }
}

/// Delivers everything both ways until nothing is left to say, acks included.
pub(crate) fn settle(hub: &mut Hub, app: &mut App) {
    for _ in 0..4 {
        for (seq, envelope) in hub.outgoing(app.cursor()) {
            app.take(seq, envelope.as_bytes());
        }
        app.ack();
        let cursor = hub.journal.inbox_head(hub.line()).unwrap().cursor;
        for (seq, envelope) in app.outgoing(cursor) {
            hub.take(seq, &envelope);
        }
        let head = hub.journal.outbox_head(hub.line()).unwrap();
        if head.acked == head.last {
            return;
        }
    }
    panic!("the two ends do not settle");
}

/// Convergence as DESIGN means it: not by authenticators alone, but by a further Commit that the
/// app can follow (scenario 16), and a clip in it.
pub(crate) fn converge(hub: &mut Hub, app: &mut App) {
    settle(hub, app);
    let clip = hub.record(&[b"after", b"wards"]);
    settle(hub, app);
    assert_eq!(app.bytes_of(clip), b"afterwards");
    assert_eq!(hub.epoch(), app.epoch());
    assert_eq!(hub.exporter(), app.exporter());
}

pub(crate) fn terms(suite: Suite) -> OfferTerms {
    OfferTerms {
        hub: DeviceId([7; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite,
        ttl_s: 600,
    }
}

/// The pairing's four messages between two open journals.
pub(crate) fn pair_journals(hub: &mut Journal, app: &mut Journal, suite: Suite) -> PairingId {
    let offer = HubPairing::offer(hub, terms(suite), NOW_S)
        .unwrap()
        .into_inner();
    let offer = Offer::from_text(&offer.to_text()).unwrap();
    finish_pairing(hub, app, &offer).unwrap()
}

pub(crate) fn finish_pairing(
    hub: &mut Journal,
    app: &mut Journal,
    offer: &Offer,
) -> Result<PairingId, JournalError> {
    finish_pairing_as(DeviceId([8; 32]), hub, app, offer)
}

/// As [`finish_pairing`], for the phone of this name.
pub(crate) fn finish_pairing_as(
    device: DeviceId,
    hub: &mut Journal,
    app: &mut Journal,
    offer: &Offer,
) -> Result<PairingId, JournalError> {
    let next = AppPairing::start(app, offer, device, NOW_S)?.into_inner();
    let confirm = match next {
        AppNext::Request(request) => {
            let answer = HubPairing::request(hub, &request, request.device(), NOW_S)?;
            AppPairing::answer(app, &request, &answer, NOW_S)?.into_inner()
        }
        AppNext::Confirm(confirm) => confirm,
        AppNext::Done(pairing) => return Ok(pairing),
    };
    let done = HubPairing::confirm(hub, &confirm)?;
    Ok(AppPairing::done(app, &confirm, &done)?.into_inner())
}

/// A paired hub and app on fresh disks.
pub(crate) fn paired() -> (Hub, App) {
    paired_with(Suite::Classic)
}

pub(crate) fn paired_with(suite: Suite) -> (Hub, App) {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    let pairing = pair_journals(&mut hub, &mut app, suite);
    let line = Line {
        pairing,
        channel: Channel::EventVideo,
    };
    let hub = Hub {
        disk: hub_disk,
        journal: hub,
        session: Session::new(line),
    };
    let app = App {
        disk: app_disk,
        journal: app,
        session: Session::new(line),
    };
    (hub, app)
}
