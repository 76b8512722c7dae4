//! A clip lets the picture of its event go first, which comes a moment later.
//!
//! A notification is durable before anything of the clip is, and its picture soon after: so the notification says that
//! a picture will come. It is pure: heads and times go in. This room must never hold a clip for longer than
//! [`PICTURE_HOLD_MS`], because not every event has a picture.

use journal::ids::{Channel, Line, PairingId};
use wire::ids::Seq;

use crate::core::Heads;
use crate::events::PICTURE_WAIT;

/// How long a picture is waited for, in milliseconds: as long as the best one is sought, and what it takes to make
/// and to store it.
pub(super) const PICTURE_HOLD_MS: u64 = PICTURE_WAIT.as_millis() as u64 + 200;

/// A notification so soon behind a picture, in milliseconds, may be the hint that a person is in it, behind which no
/// picture comes: as long as somebody looks at a picture, and a second.
const HINT_MS_MAX: u64 = 11_000;

/// The ends of the two lines of a phone that go before a clip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Alerts {
    pub(super) notified: Seq,
    pub(super) pictured: Seq,
}

impl Alerts {
    /// As they are durable now.
    pub(super) fn of(heads: &Heads, pairing: PairingId) -> Self {
        let last = |channel| {
            let head = heads.get(&Line::of(pairing, channel));
            head.map_or(Seq::NONE, |head| head.last)
        };
        Self {
            notified: last(Channel::Notification),
            pictured: last(Channel::Thumbnail),
        }
    }
}

/// Whether a phone's clips wait for a picture.
#[derive(Debug, Default)]
pub(super) struct Hold {
    /// `None` before the first look: what was durable then is no event of now.
    seen: Option<Alerts>,
    until_ms: Option<u64>,
    /// When the last picture came.
    pictured_ms: Option<u64>,
}

impl Hold {
    /// The two lines end so.
    pub(super) fn handle_alerts(&mut self, alerts: Alerts, now_ms: u64) {
        let Some(seen) = self.seen.replace(alerts) else {
            return;
        };
        let hint_until = self.pictured_ms.map(|at| at.saturating_add(HINT_MS_MAX));
        if alerts.notified > seen.notified && hint_until.is_none_or(|until| until < now_ms) {
            self.until_ms = Some(now_ms.saturating_add(PICTURE_HOLD_MS));
        }
        // From here on the order of the lines sees to it.
        if alerts.pictured > seen.pictured {
            self.until_ms = None;
            self.pictured_ms = Some(now_ms);
        }
    }

    /// Until when nothing of a clip leaves, if so.
    pub(super) fn until_ms(&self, now_ms: u64) -> Option<u64> {
        self.until_ms.filter(|until| *until > now_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(notified: u64, pictured: u64) -> Alerts {
        Alerts {
            notified: Seq(notified),
            pictured: Seq(pictured),
        }
    }

    #[test]
    fn a_clip_waits_from_the_notification_to_the_picture() {
        let mut hold = Hold::default();
        // What an earlier process has said.
        hold.handle_alerts(alerts(7, 5), 1_000);
        assert_eq!(hold.until_ms(1_000), None);
        hold.handle_alerts(alerts(9, 5), 2_000);
        assert_eq!(hold.until_ms(2_000), Some(2_000 + PICTURE_HOLD_MS));
        hold.handle_alerts(alerts(9, 5), 2_300);
        assert_eq!(hold.until_ms(2_300), Some(2_000 + PICTURE_HOLD_MS));
        hold.handle_alerts(alerts(9, 8), 2_400);
        assert_eq!(hold.until_ms(2_400), None);
        // A hint at a person holds nothing; the next event does.
        hold.handle_alerts(alerts(11, 8), 2_500);
        assert_eq!(hold.until_ms(2_500), None);
        hold.handle_alerts(alerts(13, 8), 2_401 + HINT_MS_MAX);
        assert!(hold.until_ms(2_401 + HINT_MS_MAX).is_some());
    }

    #[test]
    fn without_a_picture_it_goes_on_within_a_second() {
        const { assert!(PICTURE_HOLD_MS < 1_000) };
        let mut hold = Hold::default();
        hold.handle_alerts(alerts(0, 0), 0);
        hold.handle_alerts(alerts(2, 0), 10);
        assert!(hold.until_ms(9 + PICTURE_HOLD_MS).is_some());
        assert_eq!(hold.until_ms(10 + PICTURE_HOLD_MS), None);
        // Both at once: the notification of one event and the picture of another, or of the same.
        hold.handle_alerts(alerts(4, 3), 5_000);
        assert_eq!(hold.until_ms(5_000), None);
    }
}
