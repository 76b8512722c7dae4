//! How much a phone may cost: Commits by its proposals and commands, syncs by all that it says.
//!
//! A Commit costs a sync and an envelope that stays until the phone acks it, and in the middle of a clip a place in
//! the books of that clip. A phone that is no longer its owner's could ask for one after the other, so there
//! are two bounds for each line: how many wait for an ack, and how many in a time. Any other message costs a sync of the
//! log and a rotation, so it has a bound of the same kind, far above what an honest phone says: who is over it is slowed
//! down and never refused. This room knows no clock.

use std::time::Duration;

use journal::ids::Channel;
use wal::Priority;

/// Commits that may wait for the phone's ack before its next proposal or command waits.
pub(super) const UNACKED_MAX: u64 = 16;
/// Of these, so many may use the room that is held back for epochs. More than none: a phone with a proposal
/// pending cannot ack, and what fills the disk may be what it holds already.
const FROM_RESERVE_MAX: u64 = 4;
/// Proposals and commands that may come at once.
pub(super) const BURST: u64 = 16;
/// One more is taken after so long, in milliseconds. An honest phone makes one in six hours, and a few more when
/// its owner opens the app and gives commands.
pub(super) const REFILL_MS: u64 = 30_000;
/// The same for wishes to watch live, each of which is one too: whoever looks at a camera and at the next one is not
/// to wait. What is not acked is bounded as ever ([`UNACKED_MAX`]).
pub(super) const LIVE_REFILL_MS: u64 = 5_000;
/// Messages of any kind that a line takes at once. A phone that was away for weeks may bring two thousand acks, one
/// for each beginning and each end of a clip.
pub(super) const MESSAGES_BURST: u64 = 2_048;
/// One more is taken after so long, in milliseconds. While media flows an honest phone acks a line once in a second.
pub(super) const MESSAGES_REFILL_MS: u64 = 250;
/// How often a phone's heartbeats may have the relay asked anew at once: each time every line attaches again.
pub(super) const ASKS_BURST: u64 = 4;
/// Proposals and commands that may come at once after a start: no more than are refilled between two restarts
/// that a phone can ask for ([`RESTART_AFTER`]).
const AFTER_START: u64 = 12;
/// How long a process must have run before a phone's wish for a restart is carried out: a hub that comes up
/// again and again would do nothing else.
pub(super) const RESTART_AFTER: Duration = Duration::from_secs(10 * 60);

const _: () = assert!(
    AFTER_START * REFILL_MS <= 1_000 * RESTART_AFTER.as_secs(),
    "a restart gives a phone no more Commits than waiting does"
);
const _: () = assert!(
    MESSAGES_BURST * MESSAGES_REFILL_MS <= 1_000 * RESTART_AFTER.as_secs()
        && ASKS_BURST * REFILL_MS <= 1_000 * RESTART_AFTER.as_secs(),
    "nor more of anything else"
);

/// For what the next Commit may use room, if so many are not acked; `None` if it has to wait for an ack.
pub(super) fn priority(unacked: u64) -> Option<Priority> {
    match unacked {
        0..FROM_RESERVE_MAX => Some(Priority::Epoch),
        FROM_RESERVE_MAX..UNACKED_MAX => Some(Priority::Bulk),
        _ => None,
    }
}

/// What a line has taken lately, of one kind.
pub(super) struct Pace {
    burst: u64,
    refill_ms: u64,
    spent: u64,
    since_unix_ms: u64,
}

impl Pace {
    fn new(burst: u64, refill_ms: u64) -> Self {
        Self {
            burst,
            refill_ms,
            spent: 0,
            since_unix_ms: 0,
        }
    }

    /// Of proposals and commands: nothing was taken yet on a line of this channel.
    pub(super) fn of(channel: Channel) -> Self {
        let refill_ms = match channel {
            Channel::Livestream => LIVE_REFILL_MS,
            _ => REFILL_MS,
        };
        Self::new(BURST, refill_ms)
    }

    /// Of messages, whatever they say.
    pub(super) fn of_messages() -> Self {
        Self::new(MESSAGES_BURST, MESSAGES_REFILL_MS)
    }

    /// Of heartbeats on which the relay is asked anew.
    pub(super) fn of_asks() -> Self {
        Self::new(ASKS_BURST, REFILL_MS)
    }

    /// At the start of a process, which knows nothing of what was taken before: less than a burst, so that no
    /// phone gains by the restarts that it asks for.
    pub(super) fn after_start(channel: Channel, now_unix_ms: u64) -> Self {
        Self {
            spent: BURST - AFTER_START,
            since_unix_ms: now_unix_ms,
            ..Self::of(channel)
        }
    }

    /// Whether one more may be taken. A clock that was set back gives nothing and costs nothing.
    pub(super) fn allows(&mut self, now_unix_ms: u64) -> bool {
        let refills = now_unix_ms.saturating_sub(self.since_unix_ms) / self.refill_ms;
        self.spent = self.spent.saturating_sub(refills);
        self.since_unix_ms = match self.spent == 0 || now_unix_ms < self.since_unix_ms {
            true => now_unix_ms,
            false => self.since_unix_ms + refills * self.refill_ms,
        };
        self.spent < self.burst
    }

    /// One was taken.
    pub(super) fn spend(&mut self) {
        self.spent += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burst(pace: &mut Pace, now_unix_ms: u64) -> u64 {
        let mut taken = 0;
        while pace.allows(now_unix_ms) {
            pace.spend();
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_burst_is_taken_at_once_and_then_one_in_a_time() {
        let mut pace = Pace::of(Channel::Config);
        let start = 1_800_000_000_000;
        assert_eq!(burst(&mut pace, start), BURST);
        assert_eq!(burst(&mut pace, start + REFILL_MS - 1), 0);
        assert_eq!(burst(&mut pace, start + REFILL_MS), 1);
        assert_eq!(burst(&mut pace, start + 4 * REFILL_MS), 3);
        assert_eq!(burst(&mut pace, start + 400 * REFILL_MS), BURST);
    }

    #[test]
    fn who_wants_to_watch_waits_for_seconds_and_not_for_minutes() {
        let start = 1_800_000_000_000;
        let mut pace = Pace::after_start(Channel::Livestream, start);
        assert_eq!(burst(&mut pace, start), AFTER_START);
        assert_eq!(burst(&mut pace, start + LIVE_REFILL_MS), 1);
        let rest = (REFILL_MS - LIVE_REFILL_MS) / LIVE_REFILL_MS;
        assert_eq!(burst(&mut pace, start + REFILL_MS), rest);
        assert!(rest > 1, "in that time a line of commands gets one");
        let refilled = start + REFILL_MS + BURST * LIVE_REFILL_MS;
        assert_eq!(burst(&mut pace, refilled), BURST);
    }

    #[test]
    fn a_start_gives_no_more_than_the_time_that_has_to_pass_before_it() {
        let start = 1_800_000_000_000;
        let mut pace = Pace::after_start(Channel::Config, start);
        assert_eq!(burst(&mut pace, start), AFTER_START);
        assert_eq!(burst(&mut pace, start + REFILL_MS), 1);
    }

    #[test]
    fn each_kind_has_a_bound_of_its_own() {
        let start = 1_800_000_000_000;
        let mut messages = Pace::of_messages();
        assert_eq!(burst(&mut messages, start), MESSAGES_BURST);
        assert_eq!(burst(&mut messages, start + 4 * MESSAGES_REFILL_MS), 4);
        let mut asks = Pace::of_asks();
        assert_eq!(burst(&mut asks, start), ASKS_BURST);
        assert_eq!(burst(&mut asks, start + REFILL_MS), 1);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nobody_for_good() {
        let mut pace = Pace::of(Channel::Config);
        let start = 1_800_000_000_000;
        assert_eq!(burst(&mut pace, start), BURST);
        assert_eq!(burst(&mut pace, 1_000), 0);
        assert_eq!(burst(&mut pace, 1_000 + REFILL_MS), 1);
        assert_eq!(burst(&mut pace, start), BURST);
    }

    #[test]
    fn the_reserve_is_for_the_first_ones() {
        assert_eq!(priority(0), Some(Priority::Epoch));
        assert_eq!(priority(FROM_RESERVE_MAX - 1), Some(Priority::Epoch));
        assert_eq!(priority(FROM_RESERVE_MAX), Some(Priority::Bulk));
        assert_eq!(priority(UNACKED_MAX - 1), Some(Priority::Bulk));
        assert_eq!(priority(UNACKED_MAX), None);
        assert_eq!(priority(u64::MAX), None);
    }
}
