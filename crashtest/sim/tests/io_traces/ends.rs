//! A hub's core and a phone's over a disk each, with nothing between them.
//!
//! Whoever calls decides what arrives, in which order, and on which copy of a directory. Nothing here
//! writes a trace.

use app_core::core::{Core as AppCore, Delivered, Run, event_line};
use bytes::Bytes;
use crashtest_sim::node::open_journal;
use hub::camera::EventEnd;
use hub::core::{
    Core as HubCore, Event, LineHeads, Notice, Piece, Recorded, SilenceLimits, Verdict,
};
use journal::Role;
use journal::ids::{Channel, Line};
use wal::SeededDice;
use wal::disk::{CrashPolicy, SimDisk};
use wire::Seq;

use crate::NOW_S;
use crate::pairing;
use crate::told::ground;

/// When everything happens, in milliseconds since 1970.
pub(crate) const NOW_MS: u64 = NOW_S * 1_000;

/// An event of the only camera.
pub(crate) fn event() -> Event {
    Event {
        camera: "door".into(),
        mime: "video/mp4".into(),
        started_unix_ms: NOW_MS,
    }
}

/// A piece of so many bytes.
pub(crate) fn piece(bytes: usize) -> Piece {
    Piece {
        bytes: Bytes::from(vec![7; bytes]),
        captured_unix_ms: NOW_MS,
    }
}

/// What a copy of a directory looks like whose process is gone.
fn copy_of(disk: &SimDisk) -> SimDisk {
    disk.crash_clone(CrashPolicy::KeepAll, 1)
}

/// A hub that runs.
pub(crate) struct HubEnd {
    pub(crate) core: HubCore,
    pub(crate) disk: SimDisk,
    pub(crate) line: Line,
}

impl HubEnd {
    /// Starts on a disk that nobody else has open. The seed must not have been used on it before.
    pub(crate) fn open(disk: SimDisk, seed: u64, line: Line) -> HubEnd {
        let ground = ground(&disk);
        let mut dice = SeededDice(seed);
        let opener = Box::new(move || {
            let dice = SeededDice(dice.next_u64());
            open_journal(Role::Hub, &ground, dice)
        });
        let core = HubCore::start(opener, SilenceLimits::default(), NOW_MS).unwrap();
        HubEnd { core, disk, line }
    }

    /// See [`copy_of`].
    pub(crate) fn copy(&self) -> SimDisk {
        copy_of(&self.disk)
    }

    /// An event begins.
    pub(crate) fn begin(&mut self) {
        let begun = self.core.handle_event_started(event(), NOW_MS);
        assert_eq!(begun.unwrap(), Recorded::Taken);
    }

    /// A piece of it, synced.
    pub(crate) fn piece(&mut self, bytes: usize) -> Recorded {
        let taken = self.core.handle_pieces(vec![piece(bytes)], NOW_MS).unwrap();
        self.core.commit(NOW_MS).unwrap();
        taken
    }

    /// The event is over.
    pub(crate) fn end(&mut self) {
        let ended = self.core.handle_event_ended(EventEnd::Completed, NOW_MS);
        assert_eq!(ended.unwrap(), Recorded::Taken);
        self.core.commit(NOW_MS).unwrap();
    }

    /// A whole event of pieces of these sizes.
    pub(crate) fn record(&mut self, pieces: &[usize]) {
        self.begin();
        for bytes in pieces {
            assert_eq!(self.piece(*bytes), Recorded::Taken);
        }
        self.end();
    }

    /// Everything durable behind `after` that the phone has not acked.
    pub(crate) fn sent_after(&mut self, after: Seq) -> Vec<Delivered> {
        let mut out = Vec::new();
        let mut at = after;
        while let Some((seq, envelope)) = self.core.next_envelope(self.line, at, NOW_MS).unwrap() {
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            out.push(Delivered { seq, bytes });
            at = seq;
        }
        out
    }

    /// Takes an envelope, and syncs.
    pub(crate) fn takes(&mut self, sent: &Delivered) -> Verdict {
        let taken = self
            .core
            .handle_envelope(self.line, sent.seq, &sent.bytes, NOW_MS);
        let verdict = taken.unwrap().verdict;
        self.core.commit(NOW_MS).unwrap();
        verdict
    }

    /// How far the phone's envelopes were taken.
    pub(crate) fn cursor(&self) -> Seq {
        self.core.cursor(self.line).unwrap()
    }

    /// What the uplink is told of the line.
    pub(crate) fn heads(&self) -> LineHeads {
        self.core.heads().unwrap()[&self.line]
    }

    /// The facts that nobody has heard yet.
    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.core.poll_notice()).collect()
    }
}

/// A phone that runs.
pub(crate) struct AppEnd {
    pub(crate) core: AppCore,
    pub(crate) disk: SimDisk,
    pub(crate) line: Line,
}

impl AppEnd {
    /// See [`HubEnd::open`].
    pub(crate) fn open(disk: SimDisk, seed: u64, line: Line) -> AppEnd {
        let opened = open_journal(Role::App, &ground(&disk), SeededDice(seed));
        let core = AppCore::new(opened.unwrap().0);
        AppEnd { core, disk, line }
    }

    /// See [`copy_of`].
    pub(crate) fn copy(&self) -> SimDisk {
        copy_of(&self.disk)
    }

    /// Takes envelopes, and what is due with them, in one sync.
    pub(crate) fn takes(&mut self, sent: &[Delivered]) -> Run {
        let pending = self.core.deliver(self.line, sent, NOW_MS, NOW_MS).unwrap();
        let committed = self.core.commit().unwrap();
        self.core.settle(&committed, pending).unwrap()
    }

    /// Seals an ack of everything that it has taken, and gives it.
    pub(crate) fn acks(&mut self) -> Delivered {
        self.core.owe_ack(self.line, NOW_MS).unwrap();
        let pending = self.core.finish_sync(self.line, NOW_MS).unwrap();
        let committed = self.core.commit().unwrap();
        let run = self.core.settle(&committed, pending).unwrap();
        let ack = run.ack.expect("it owes an ack");
        let sent = self.sent_after(Seq(ack.envelope.0 - 1));
        sent.into_iter().next().expect("the ack waits to be sent")
    }

    /// Everything durable behind `after` that the hub is not known to hold.
    pub(crate) fn sent_after(&self, after: Seq) -> Vec<Delivered> {
        let mut out = Vec::new();
        let mut at = after;
        while let Some((seq, envelope)) = self.core.next_envelope(self.line, at).unwrap() {
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            out.push(Delivered { seq, bytes });
            at = seq;
        }
        out
    }

    /// How far the hub's envelopes were taken.
    pub(crate) fn cursor(&self) -> Seq {
        self.core.cursor(self.line).unwrap()
    }
}

/// A pair.
pub(crate) struct Ends {
    pub(crate) hub: HubEnd,
    pub(crate) app: AppEnd,
}

impl Ends {
    /// A pair that was just made, both running.
    pub(crate) fn new() -> Ends {
        let pair = pairing::pairing(&mut String::new());
        let line = event_line(pair.ways.0[0].line.pairing);
        Ends {
            hub: HubEnd::open(pair.hub, 11, line),
            app: AppEnd::open(pair.app, 12, line),
        }
    }

    /// One that has a clip behind it, and nothing under way.
    pub(crate) fn in_step() -> Ends {
        let mut ends = Ends::new();
        ends.hub.record(&[500]);
        ends.settle();
        ends
    }

    /// The same ends, from now on about another of their lines.
    pub(crate) fn on(&mut self, channel: Channel) {
        let line = Line::of(self.hub.line.pairing, channel);
        (self.hub.line, self.app.line) = (line, line);
    }

    /// Carries everything to and fro until all of the hub's is acked.
    pub(crate) fn settle(&mut self) {
        let sent = self.hub.sent_after(self.app.cursor());
        let run = self.app.takes(&sent);
        assert!(run.halt.is_none(), "{:?}", run.halt);
        let _ack = self.app.acks();
        for sent in self.app.sent_after(self.hub.cursor()) {
            assert_eq!(self.hub.takes(&sent), Verdict::Taken);
        }
        let heads = self.hub.heads();
        assert_eq!(heads.acked, heads.last, "the ends did not come into step");
    }
}
