//! When a sync over one relay tries again, and when it gives up.
//!
//! A sync that goes on has nobody beside it who would start it again, so one word of a relay must not end it: what a
//! relay says of a mailbox or a connection is tried again, and that it does not admit this device is believed once it
//! was repeated for a while. This room knows no clock and no dice: both are arguments. It must never wait for ever,
//! and never give up because of what only the relay says at once.

use std::time::Duration;

use super::End;
use crate::backoff::Backoff;
use crate::error::AppError;
use crate::types::SyncMode;

/// How often a sync that is to end tries to connect.
const CONNECTS_ONCE_MAX: u32 = 2;
/// How often it does so though something moves each time.
const CONNECTS_ONCE_ALL_MAX: u32 = 32;
/// A sync that goes on gives up when the relay has not admitted this device for so long, ...
const REFUSED_MS_MIN: u64 = 10 * 60 * 1_000;
/// ... and so often.
const REFUSALS_MIN: u32 = 3;
/// A connection that held for so long was no skirmish: twice the longest pause, so that of two processes that displace
/// each other neither takes the other's pause for peace.
const HELD_MS_MIN: u64 = 60_000;

/// The refusals of one chain, with no admission between them.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    since_ms: u64,
    count: u32,
}

/// The attempts of one sync over one relay.
#[derive(Debug)]
pub(super) struct Tries {
    mode: SyncMode,
    backoff: Backoff,
    attempt: u32,
    /// Those before which something moved, too.
    all: u32,
    /// Since when this connection has been admitted.
    admitted_ms: Option<u64>,
    refusals: Option<Refusals>,
}

impl Tries {
    pub(super) fn new(mode: SyncMode) -> Self {
        Self {
            mode,
            backoff: Backoff::new(),
            attempt: 1,
            all: 1,
            admitted_ms: None,
            refusals: None,
        }
    }

    /// The relay has admitted this device.
    pub(super) fn handle_admitted(&mut self, now_ms: u64) {
        self.admitted_ms = Some(now_ms);
        self.refusals = None;
    }

    /// An attempt has ended so. `has_moved`: a mailbox was attached meanwhile. Why, and the pause before the next
    /// attempt; or what the sync ends with. `die` is any random number.
    pub(super) fn handle_end(
        &mut self,
        end: End,
        has_moved: bool,
        now_ms: u64,
        die: u64,
    ) -> Result<(AppError, Duration), AppError> {
        let held_ms = self
            .admitted_ms
            .take()
            .map_or(0, |since| now_ms.saturating_sub(since));
        if !matches!(end, End::Refused(_)) {
            // Nobody was asked, or somebody else was there.
            self.refusals = None;
        }
        let error = match end {
            End::Fatal(error) => return Err(error),
            End::Refused(error) if self.has_had_enough(now_ms) => return Err(error),
            // Whoever is at the relay in our place has the newer connection, and we are in no hurry.
            End::Connection(AppError::Replaced) if self.mode != SyncMode::Follow => {
                return Err(AppError::Replaced);
            }
            End::Refused(error) | End::Connection(error) | End::Line(error) => error,
        };
        // A relay may attach a mailbox and then say no to this device, or nonsense: its word costs no more than ever longer
        // pauses.
        let says_no = matches!(
            error,
            AppError::NotAdmitted(_) | AppError::Replaced | AppError::Peer(_)
        );
        if has_moved && (!says_no || held_ms >= HELD_MS_MIN) {
            self.backoff.reset();
            self.attempt = 1;
        }
        let enough = self.attempt >= CONNECTS_ONCE_MAX || self.all >= CONNECTS_ONCE_ALL_MAX;
        if !self.mode.goes_on() && enough {
            return Err(error);
        }
        self.attempt = self.attempt.saturating_add(1);
        self.all = self.all.saturating_add(1);
        Ok((error, self.backoff.next(die)))
    }

    /// The relay has not admitted this device once more. Whether that is to be believed.
    fn has_had_enough(&mut self, now_ms: u64) -> bool {
        let refusals = self.refusals.get_or_insert(Refusals {
            since_ms: now_ms,
            count: 0,
        });
        refusals.count = refusals.count.saturating_add(1);
        let took_ms = now_ms.saturating_sub(refusals.since_ms);
        self.mode != SyncMode::Follow
            || (refusals.count >= REFUSALS_MIN && took_ms >= REFUSED_MS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removed() -> AppError {
        AppError::NotAdmitted("this device was removed".into())
    }

    /// Ends attempts so, one after the other, each as soon as its pause is over: the pauses, until it gives up or that
    /// often.
    fn pauses(tries: &mut Tries, end: &End, has_moved: bool, times: usize) -> Vec<u64> {
        let (mut now_ms, mut all) = (0, Vec::new());
        for _ in 0..times {
            if !matches!(end, End::Refused(_)) {
                tries.handle_admitted(now_ms);
            }
            // By this die each pause is the half of what is due.
            let Ok((_error, pause)) = tries.handle_end(end.clone(), has_moved, now_ms, 0) else {
                break;
            };
            let pause_ms = u64::try_from(pause.as_millis()).unwrap();
            all.push(pause_ms);
            now_ms += pause_ms;
        }
        all
    }

    #[test]
    fn a_sync_that_follows_believes_a_refusal_once_it_was_repeated_for_ten_minutes() {
        let mut tries = Tries::new(SyncMode::Follow);
        let paused = pauses(&mut tries, &End::Refused(removed()), false, 10_000);
        let took_ms: u64 = paused.iter().sum();
        assert!(took_ms >= REFUSED_MS_MIN, "{took_ms}");
        assert!(took_ms < REFUSED_MS_MIN + 60_000, "{took_ms}");
        // Long pauses alone are no repetition.
        let mut tries = Tries::new(SyncMode::Follow);
        for now_ms in [0, REFUSED_MS_MIN] {
            assert!(
                tries
                    .handle_end(End::Refused(removed()), false, now_ms, 0)
                    .is_ok()
            );
        }
        let third = tries.handle_end(End::Refused(removed()), false, REFUSED_MS_MIN, 0);
        assert_eq!(third, Err(removed()));
    }

    #[test]
    fn an_admission_begins_the_count_of_refusals_anew() {
        let mut tries = Tries::new(SyncMode::Follow);
        for now_ms in (0..20 * REFUSED_MS_MIN).step_by(60_000) {
            if now_ms % (REFUSED_MS_MIN / 2) == 0 {
                tries.handle_admitted(now_ms);
                let closed = End::Connection(removed());
                assert!(tries.handle_end(closed, true, now_ms, 0).is_ok());
            }
            let refused = tries.handle_end(End::Refused(removed()), false, now_ms, 0);
            assert!(refused.is_ok(), "{now_ms}");
        }
    }

    #[test]
    fn a_sync_that_somebody_waits_for_returns_a_refusal_and_a_displacement_at_once() {
        for mode in [SyncMode::Once, SyncMode::Attended] {
            let mut tries = Tries::new(mode);
            let refused = tries.handle_end(End::Refused(removed()), false, 0, 0);
            assert_eq!(refused, Err(removed()));
            let mut tries = Tries::new(mode);
            tries.handle_admitted(0);
            let displaced = tries.handle_end(End::Connection(AppError::Replaced), true, 0, 0);
            assert_eq!(displaced, Err(AppError::Replaced));
        }
        // A network that is away is waited for all the same.
        let mut tries = Tries::new(SyncMode::Attended);
        let lost = End::Connection(AppError::Network("lost".into()));
        assert_eq!(pauses(&mut tries, &lost, false, 10).len(), 10);
    }

    #[test]
    fn a_word_about_one_mailbox_has_a_sync_that_is_to_end_connect_once_more_and_no_oftener() {
        let mut tries = Tries::new(SyncMode::Once);
        let said = End::Connection(removed());
        assert_eq!(pauses(&mut tries, &said, true, 10).len(), 1);
        // A network that comes and goes is another thing: something moves each time.
        let mut tries = Tries::new(SyncMode::Once);
        let lost = End::Connection(AppError::Network("lost".into()));
        assert_eq!(pauses(&mut tries, &lost, false, 10).len(), 1);
        assert_eq!(pauses(&mut tries, &lost, true, 10).len(), 10);
    }

    #[test]
    fn a_refusal_is_repeated_only_by_the_next_one() {
        let mut tries = Tries::new(SyncMode::Follow);
        let lost = End::Connection(AppError::Network("lost".into()));
        for now_ms in [
            0,
            2 * REFUSED_MS_MIN,
            4 * REFUSED_MS_MIN,
            6 * REFUSED_MS_MIN,
        ] {
            for _ in 1..REFUSALS_MIN {
                assert!(
                    tries
                        .handle_end(End::Refused(removed()), false, now_ms, 0)
                        .is_ok()
                );
            }
            // Nobody was there to ask.
            assert!(tries.handle_end(lost.clone(), false, now_ms, 0).is_ok());
        }
    }

    #[test]
    fn a_relay_that_attaches_a_mailbox_and_breaks_the_protocol_is_left_alone_ever_longer() {
        let nonsense = End::Connection(AppError::Peer("nonsense".into()));
        let mut tries = Tries::new(SyncMode::Follow);
        let paused = pauses(&mut tries, &nonsense, true, 20);
        assert!(paused.windows(2).all(|two| two[0] <= two[1]), "{paused:?}");
        assert!(paused.last() >= Some(&10_000), "{paused:?}");
        let mut tries = Tries::new(SyncMode::Once);
        assert_eq!(pauses(&mut tries, &nonsense, true, 20).len(), 1);
    }

    #[test]
    fn a_sync_that_is_to_end_ends_though_something_moves_each_time() {
        let lost = End::Connection(AppError::Network("lost".into()));
        let mut tries = Tries::new(SyncMode::Once);
        let most = usize::try_from(CONNECTS_ONCE_ALL_MAX).unwrap();
        assert_eq!(pauses(&mut tries, &lost, true, 10 * most).len(), most - 1);
    }

    /// Each of them has attached its mailboxes before the other one comes.
    #[test]
    fn two_processes_of_one_phone_displace_each_other_ever_more_seldom() {
        let displaced = End::Connection(AppError::Replaced);
        let mut tries = Tries::new(SyncMode::Follow);
        let paused = pauses(&mut tries, &displaced, true, 40);
        assert_eq!(paused.len(), 40);
        assert!(paused.windows(2).all(|two| two[0] <= two[1]), "{paused:?}");
        let longest = *paused.last().unwrap();
        assert!(longest >= 10_000 && 2 * longest <= HELD_MS_MIN, "{longest}");
        // A connection that has held for long was no part of that.
        tries.handle_admitted(0);
        let after = tries.handle_end(displaced, true, HELD_MS_MIN, 0);
        assert!(after.unwrap().1 < Duration::from_secs(1));
    }

    #[test]
    fn what_cannot_be_cured_ends_either() {
        for mode in [SyncMode::Once, SyncMode::Follow, SyncMode::Attended] {
            let mut tries = Tries::new(mode);
            let end = tries.handle_end(End::Fatal(AppError::LineBroken), true, 0, 0);
            assert_eq!(end, Err(AppError::LineBroken));
        }
    }
}
