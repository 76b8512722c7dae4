//! The app's logic: envelopes and the time go in, effects come out; all state is in the journal.
//!
//! This room has no sockets, no threads, no clock and no dice, so that a simulation can drive it.
//! It must never hand out an effect before the commit that explains it: everything that a call
//! stages comes back as a [`PendingRun`], and only [`Core::settle`], which asks for the journal's
//! [`Committed`], turns it into a [`Run`]. It must never take, seal or give out anything on a line
//! that is over: its hub, or an envelope of our own at the relay, has proved that this directory is older than what
//! left it (promise C8), or the hub goes on in an epoch that this one cannot follow.
//!
//! Deliveries, acks and deletions have a room of their own each, heartbeats two, commands and live pictures
//! one each.

mod ack;
mod command;
mod deletion;
mod delivery;
mod evidence;
mod follow;
mod forget;
mod heartbeat;
mod live;
mod pulse;
mod reads;
mod run;

use std::collections::BTreeMap;

use journal::ids::{Channel, Line, PairingId};
use journal::{AppClip, AppNotice, Committed, ErrorKind, Journal, JournalError, PairingState};

pub(crate) use evidence::Disproof;
use follow::Follow;
use live::View;

pub use ack::{ACK_PAUSE_MS, AckSent, QUIET_MS};
pub use command::{CommandSent, Order, Ordered};
pub use delivery::{Delivered, Halt, RUN_BYTES_MAX, RUN_ENVELOPES_MAX};
pub use evidence::Judged;
pub use follow::Over;
pub use heartbeat::{BeatSent, Look, Sight};
pub use live::{LiveNeed, LiveOut};
pub use pulse::{Launch, OFFLINE_AFTER_MS, Pulse, Rhythm, Said};
pub use reads::{ChannelStatus, LineInfo, LineStatus, OfEvent};
pub use run::{Fact, PendingRun, Run};

/// What an ack and the rotation of its group's key may cost in the log.
const ACK_COST_BYTES: u64 = 64 * 1024;
/// Steps of removing a deleted clip's rows that share the deletion's commit. What a longer clip
/// leaves goes with later acks.
const TRIM_STEPS_PER_DELETION: u32 = 32;

/// The app's core over its journal.
pub struct Core {
    journal: Journal,
    lines: BTreeMap<Line, Follow>,
    /// A hub that is silent for so long looks offline, in milliseconds.
    offline_after_ms: u64,
    /// What is watched live.
    views: BTreeMap<Line, View>,
    /// An envelope of ours proves this directory old.
    disproof: Option<Disproof>,
}

impl Core {
    /// A core over a journal that was just opened.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            lines: BTreeMap::new(),
            offline_after_ms: OFFLINE_AFTER_MS,
            views: BTreeMap::new(),
            disproof: None,
        }
    }

    /// After how long a hub that does not answer looks offline, in milliseconds; it is [`OFFLINE_AFTER_MS`] until this
    /// is called. More than the pause between two heartbeats is that pause.
    pub fn limit_silence(&mut self, offline_after_ms: u64) {
        self.offline_after_ms = offline_after_ms.min(pulse::EVERY_MS);
    }

    /// The journal, for pairing and for tests.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Whether the journal must be dropped and opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.journal.is_poisoned()
    }

    /// Nothing more is expected for a moment: see [`Journal::rest`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn rest(&mut self) -> Result<(), JournalError> {
        if self.keep_disproof()? {
            drop(self.commit()?);
        }
        self.trim_forgotten()?;
        self.journal.rest()
    }

    /// Makes everything staged durable, with one sync.
    ///
    /// # Errors
    /// Outcome unknown: drop the core and open again.
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        self.journal.commit()
    }

    fn confirmed(&self) -> Result<Vec<journal::Pairing>, JournalError> {
        let mut found = Vec::new();
        for id in self.journal.pairing_ids() {
            let pairing = self.journal.pairing(id)?;
            found.extend(pairing.filter(|pairing| pairing.state == PairingState::Confirmed));
        }
        found.sort_by_key(|pairing| (pairing.paired_unix_s, pairing.id));
        Ok(found)
    }
}

/// Whether an error concerns the stored state of one line or pairing and leaves the others alone.
fn is_about_one_line(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Peer | ErrorKind::Misuse
    )
}

/// What stands beside clips may be damaged, and is then in the way of nothing: it counts as not there.
fn unless_damaged<T: Default>(found: Result<T, JournalError>) -> Result<T, JournalError> {
    match found {
        Err(error) if is_about_one_line(&error) => {
            tracing::warn!(%error, "pictures or notifications of a hub cannot be read");
            Ok(T::default())
        }
        found => found,
    }
}

/// Whether a picture and a clip are of one event: they name the same camera and the same beginning.
fn is_same_event(one: &AppClip, other: &AppClip) -> bool {
    one.started_unix_ms != 0
        && one.started_unix_ms == other.started_unix_ms
        && one.camera == other.camera
}

/// Whether a notification and a clip are of one event, in the same way.
fn is_notice_of(notice: &AppNotice, clip: &AppClip) -> bool {
    notice.is_of(&clip.camera, clip.started_unix_ms)
}

/// The line of a pairing's event videos.
#[must_use]
pub fn event_line(pairing: PairingId) -> Line {
    Line::of(pairing, Channel::EventVideo)
}

#[cfg(test)]
mod tests;
