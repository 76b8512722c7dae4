//! The network: one connection for the hub and one for the app, that can break at any time.
//!
//! QUIC gives ordered streams or nothing, so what is lost, doubled or reordered on the way never
//! reaches a core. What does: whole connections break with everything that was under way, and streams
//! overtake each other. Lost, doubled, late and reordered envelopes are the relay's lies, those that it
//! hands out and those that it takes.

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::ids::Line;
use serde::{Deserialize, Serialize};
use wal::SeededDice;
use wire::frame::{ReceiveState, SendState};
use wire::{Digest, Head, ReceiveId, SendId, Seq};

use crate::plan::Who;

/// Longest delay of a message in milliseconds.
const DELAY_MS_MAX: u64 = 60;

/// A line as one end has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Way {
    /// Which line.
    pub line: Line,
    /// The mailbox that this end writes to.
    pub send: SendId,
    /// The mailbox that it reads.
    pub receive: ReceiveId,
}

impl Way {
    /// Whether a mailbox is one of its two.
    #[must_use]
    pub fn is_about(&self, mailbox: SendId) -> bool {
        mailbox == self.send || mailbox == self.receive.send_id()
    }
}

/// From hub or app to the relay.
#[derive(Clone, Debug)]
pub enum Up {
    /// Wants to write a mailbox.
    AttachSend(SendId),
    /// An envelope.
    Append {
        /// Where to.
        mailbox: SendId,
        /// Its number.
        seq: Seq,
        /// What must lie before it.
        after: Seq,
        /// Its digest.
        digest: Digest,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Wants to read a mailbox from a cursor on.
    AttachReceive(ReceiveId, Seq),
    /// Holds everything through here.
    Trim(SendId, Seq),
    /// Wants to see what lies under this number of a mailbox that it writes.
    Fetch(SendId, Seq),
}

/// From the relay to hub or app.
#[derive(Clone, Debug)]
pub enum Down {
    /// Answer to [`Up::AttachSend`].
    SendState(SendState),
    /// Stored durably.
    Receipt(Head),
    /// Something else is stored there.
    Conflict(Head),
    /// It does not fit behind the last one.
    NotNext,
    /// No room.
    OverQuota(Seq),
    /// Answer to [`Up::AttachReceive`].
    ReceiveState(ReceiveState),
    /// An envelope.
    Deliver(Seq, Bytes),
    /// Answer to [`Up::Fetch`].
    Stored(Seq, Option<Bytes>),
}

/// An answer of the relay.
#[derive(Clone, Debug)]
pub struct Answer {
    /// For whom.
    pub to: Who,
    /// About which mailbox; each has its own streams.
    pub mailbox: SendId,
    /// What it says.
    pub down: Down,
}

/// A stream of a connection: about which mailbox, and which of the mailbox's.
pub type Stream = (SendId, u8);

impl Up {
    /// On which stream it goes.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self {
            Up::AttachSend(mailbox) | Up::Append { mailbox, .. } | Up::Fetch(mailbox, _) => {
                (*mailbox, 0)
            }
            Up::AttachReceive(mailbox, _) => (mailbox.send_id(), 1),
            Up::Trim(mailbox, _) => (*mailbox, 1),
        }
    }
}

impl Answer {
    /// On which stream it comes; the way down has its own.
    #[must_use]
    pub fn stream(&self) -> Stream {
        match self.down {
            Down::ReceiveState(_) | Down::Deliver(..) => (self.mailbox, 3),
            _ => (self.mailbox, 2),
        }
    }
}

/// One side's connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Its number; messages of earlier ones are lost.
    pub number: u64,
    /// Whether it is there.
    pub up: bool,
}

/// Both connections and their delays.
pub struct Net {
    links: BTreeMap<Who, Link>,
    last_ms: BTreeMap<(Who, Stream), u64>,
    dice: SeededDice,
}

impl Net {
    /// No connection yet.
    #[must_use]
    pub fn new(seed: u64) -> Net {
        Net {
            links: BTreeMap::new(),
            last_ms: BTreeMap::new(),
            dice: SeededDice(seed),
        }
    }

    /// The connection of `who`.
    #[must_use]
    pub fn link(&self, who: Who) -> Link {
        self.links.get(&who).copied().unwrap_or_default()
    }

    /// Breaks it; what is under way is lost.
    pub fn cut(&mut self, who: Who) {
        let link = self.links.entry(who).or_default();
        link.up = false;
        link.number += 1;
    }

    /// Makes it.
    pub fn connect(&mut self, who: Who) {
        self.links.entry(who).or_default().up = true;
    }

    /// When a message arrives that is sent now on one of a connection's streams. Messages of one
    /// stream keep their order.
    pub fn arrival_ms(&mut self, who: Who, stream: Stream, now_ms: u64) -> u64 {
        let last = self.last_ms.entry((who, stream)).or_default();
        *last = (now_ms + 1 + self.dice.below(DELAY_MS_MAX)).max(*last);
        *last
    }
}
