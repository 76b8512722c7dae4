//! A clip lets the picture of its event go first, which comes a moment later.
//!
//! A notification that an event begins is durable before anything of the clip is, and the picture soon after: so it
//! says that a picture will come. One that nobody wants counts as well, and comes with the clip's beginning. That the picture is durable is not enough, because its line and that of the clip are
//! tasks of their own, and either may see it first: the connection must have it. Each such notification is waited for,
//! so that the picture of one camera does not let the clip of another go. It is pure: counts, numbers and times go in.
//! This room must never hold clips for longer than [`PICTURE_HOLD_MS`] behind the last event that began, because not
//! every event has a picture, nor for longer than [`HOLD_MAX_MS`] on end, because events may begin without end.

use journal::ids::{Channel, Line, PairingId};
use wire::ids::Seq;

use crate::core::Heads;
use crate::events::PICTURE_WAIT;

/// How long a picture is waited for, in milliseconds: as long as the best one is sought, and what it takes to make
/// and to store it.
pub(super) const PICTURE_HOLD_MS: u64 = PICTURE_WAIT.as_millis() as u64 + 200;
/// For how long events that overlap hold clips together, in milliseconds; those that begin later begin anew.
const HOLD_MAX_MS: u64 = 2 * PICTURE_HOLD_MS;

/// How the two lines of a phone stand that go before a clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alerts {
    /// How many events it was told of, or would have been if it wanted to be notified.
    pub(super) begun: u64,
    /// Of how many it was given the picture.
    pub(super) pictured: u64,
    /// Where its line of pictures ends.
    pub(super) last_picture: Seq,
}

impl Alerts {
    /// As they are durable now.
    pub(super) fn of(heads: &Heads, pairing: PairingId) -> Self {
        let head = |channel| heads.get(&Line::of(pairing, channel));
        let (notices, pictures) = (head(Channel::Notification), head(Channel::Thumbnail));
        Self {
            begun: notices.map_or(0, |head| head.events_told),
            pictured: pictures.map_or(0, |head| head.events_told),
            last_picture: pictures.map_or(Seq::NONE, |head| head.last),
        }
    }
}

/// Whether a phone's clips wait for a picture.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// `None` before the first look: what was durable then is no event of now.
    seen: Option<Alerts>,
    waiting: Option<Waiting>,
}

/// For pictures that are still to leave.
#[derive(Debug)]
struct Waiting {
    since_ms: u64,
    until_ms: u64,
    /// How many of them are not durable yet.
    owed: u64,
}

impl Hold {
    /// The two lines stand so, and the connection was handed what the line of pictures has up to `handed`.
    pub(super) fn handle_alerts(&mut self, alerts: Alerts, handed: Seq, now_ms: u64) {
        let Some(seen) = self.seen.replace(alerts) else {
            return;
        };
        if self.until_ms(now_ms).is_none() {
            self.waiting = None;
        }
        let begun = alerts.begun.saturating_sub(seen.begun);
        if begun > 0 {
            let waiting = self.waiting.get_or_insert(Waiting {
                since_ms: now_ms,
                until_ms: now_ms,
                owed: 0,
            });
            waiting.owed = waiting.owed.saturating_add(begun);
            let until_ms = now_ms.saturating_add(PICTURE_HOLD_MS);
            waiting.until_ms = until_ms.min(waiting.since_ms.saturating_add(HOLD_MAX_MS));
        }
        let Some(waiting) = &mut self.waiting else {
            return;
        };
        let pictured = alerts.pictured.saturating_sub(seen.pictured);
        waiting.owed = waiting.owed.saturating_sub(pictured);
        // From here on the order of the lines sees to it.
        if waiting.owed == 0 && handed >= alerts.last_picture {
            self.waiting = None;
        }
    }

    /// Until when nothing of a clip leaves, if so.
    pub(super) fn until_ms(&self, now_ms: u64) -> Option<u64> {
        let until_ms = self.waiting.as_ref()?.until_ms;
        Some(until_ms).filter(|until| *until > now_ms)
    }

    /// Whether every picture is durable that is waited for, and only its line is to hand it over.
    pub(super) fn awaits_handing(&self) -> bool {
        let waiting = self.waiting.as_ref();
        waiting.is_some_and(|waiting| waiting.owed == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{LineHeads, Standing};

    /// Each picture is three envelopes.
    fn alerts(begun: u64, pictured: u64) -> Alerts {
        Alerts {
            begun,
            pictured,
            last_picture: Seq(3 * pictured),
        }
    }

    /// One that has looked, when so many events had been told.
    fn hold(begun: u64, pictured: u64) -> Hold {
        let mut hold = Hold::default();
        hold.handle_alerts(alerts(begun, pictured), Seq::NONE, 0);
        assert_eq!(hold.until_ms(0), None, "what was durable before");
        hold
    }

    #[test]
    fn a_clip_waits_from_the_notification_until_the_picture_was_handed_over() {
        let mut hold = hold(7, 5);
        hold.handle_alerts(alerts(8, 5), Seq::NONE, 2_000);
        assert_eq!(hold.until_ms(2_000), Some(2_000 + PICTURE_HOLD_MS));
        assert!(!hold.awaits_handing());
        hold.handle_alerts(alerts(8, 5), Seq(15), 2_300);
        assert_eq!(hold.until_ms(2_300), Some(2_000 + PICTURE_HOLD_MS));
        // It is durable, and its line has not looked yet, or has handed over its Commit alone.
        for handed in [15, 16, 17] {
            hold.handle_alerts(alerts(8, 6), Seq(handed), 2_350);
            assert_eq!(hold.until_ms(2_350), Some(2_000 + PICTURE_HOLD_MS));
            assert!(hold.awaits_handing());
        }
        hold.handle_alerts(alerts(8, 6), Seq(18), 2_360);
        assert_eq!(hold.until_ms(2_360), None);
        assert!(!hold.awaits_handing());
    }

    /// The door, then the yard.
    #[test]
    fn an_event_soon_behind_a_picture_is_waited_for_as_well() {
        let mut hold = hold(0, 0);
        hold.handle_alerts(alerts(1, 1), Seq(3), 0);
        assert_eq!(hold.until_ms(0), None, "all at once, and handed over");
        hold.handle_alerts(alerts(2, 1), Seq(3), 5_000);
        assert_eq!(hold.until_ms(5_000), Some(5_000 + PICTURE_HOLD_MS));
        hold.handle_alerts(alerts(2, 2), Seq(6), 5_350);
        assert_eq!(hold.until_ms(5_350), None);
    }

    #[test]
    fn the_picture_of_one_camera_does_not_let_the_clip_of_another_go() {
        let mut hold = hold(0, 0);
        hold.handle_alerts(alerts(1, 0), Seq::NONE, 10);
        hold.handle_alerts(alerts(2, 0), Seq::NONE, 110);
        hold.handle_alerts(alerts(2, 1), Seq(3), 360);
        assert_eq!(hold.until_ms(360), Some(110 + PICTURE_HOLD_MS));
        hold.handle_alerts(alerts(2, 2), Seq(6), 460);
        assert_eq!(hold.until_ms(460), None);
    }

    #[test]
    fn a_hint_and_an_alarm_hold_nothing() {
        let pairing = PairingId([0; 16]);
        let heads = |said: u64, begun: u64| {
            let head = |last, events_told| LineHeads {
                send: wire::ids::SendId([1; 24]),
                receive: wire::ids::ReceiveId([2; 24]),
                last: Seq(last),
                acked: Seq::NONE,
                standing: Standing::Good,
                asked_again: 0,
                events_told,
            };
            Heads::from([
                (Line::of(pairing, Channel::Notification), head(said, begun)),
                (Line::of(pairing, Channel::Thumbnail), head(3, 1)),
            ])
        };
        let mut hold = Hold::default();
        for (said, begun, at_ms, is_held) in [
            (2, 1, 0, false),
            (4, 1, 1_000, false),
            (6, 1, 60_000, false),
            (8, 2, 60_100, true),
        ] {
            hold.handle_alerts(Alerts::of(&heads(said, begun), pairing), Seq(3), at_ms);
            assert_eq!(hold.until_ms(at_ms).is_some(), is_held, "{said}");
        }
    }

    #[test]
    fn without_a_picture_it_goes_on_within_a_second() {
        const { assert!(PICTURE_HOLD_MS < 1_000) };
        let mut hold = hold(0, 0);
        hold.handle_alerts(alerts(1, 0), Seq::NONE, 10);
        assert!(hold.until_ms(9 + PICTURE_HOLD_MS).is_some());
        assert_eq!(hold.until_ms(10 + PICTURE_HOLD_MS), None);
        // The line of pictures is stuck.
        hold.handle_alerts(alerts(2, 1), Seq::NONE, 5_000);
        assert!(hold.until_ms(4_999 + PICTURE_HOLD_MS).is_some());
        assert_eq!(hold.until_ms(5_000 + PICTURE_HOLD_MS), None);
        // What was given up is not owed any more.
        hold.handle_alerts(alerts(3, 2), Seq(6), 9_000);
        assert_eq!(hold.until_ms(9_000), None);
    }

    #[test]
    fn events_without_end_do_not_hold_clips_without_end() {
        const { assert!(HOLD_MAX_MS <= 1_000) };
        let mut hold = hold(0, 0);
        let mut open = 0;
        for number in 1..100 {
            let now_ms = number * 100;
            open += u64::from(hold.until_ms(now_ms).is_none());
            hold.handle_alerts(alerts(number, 0), Seq::NONE, now_ms);
        }
        assert!(open >= 9, "{open}");
    }
}
