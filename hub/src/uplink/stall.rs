//! When a line asks the relay anew what it holds, though nothing says that it must.
//!
//! A relay may swallow an envelope and go on well: no receipt comes, and where nothing else is sent no refusal either. Or it
//! gave a receipt for what it lost, and the phone never acks. Neither ends by itself, for a connection lasts for
//! months. Pure: the caller has the clock. This room must never hurry a slow link: a line may have a small share of it.

use wire::ids::Seq;

/// What was sent may be without a receipt for so long while none comes, in milliseconds.
const RECEIPT_MAX_MS: u64 = 5 * 60 * 1_000;
/// What the relay has may be without an ack for so long while none comes, in milliseconds.
pub(super) const QUIET_MAX_MS: u64 = 60 * 60 * 1_000;

/// How far a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sight {
    pub(super) receipted_through: Seq,
    pub(super) acked_through: Seq,
    /// Something was sent that has no receipt.
    pub(super) is_in_flight: bool,
    /// Something is not acked.
    pub(super) is_owed: bool,
}

impl Sight {
    fn most_ms(self) -> Option<u64> {
        match (self.is_in_flight, self.is_owed) {
            (true, _) => Some(RECEIPT_MAX_MS),
            (false, true) => Some(QUIET_MAX_MS),
            (false, false) => None,
        }
    }
}

/// Since when a line stands where it is.
#[derive(Debug, Default)]
pub(super) struct Stall {
    seen: Option<(Sight, u64)>,
}

impl Stall {
    /// Whether it has stood there for too long. It then counts anew.
    pub(super) fn is_over(&mut self, sight: Sight, now_ms: u64) -> bool {
        let since_ms = match self.seen {
            Some((seen, since_ms)) if seen == sight => since_ms,
            _ => now_ms,
        };
        let is_over = sight
            .most_ms()
            .is_some_and(|most| now_ms >= since_ms.saturating_add(most));
        let since_ms = if is_over { now_ms } else { since_ms };
        self.seen = Some((sight, since_ms));
        is_over
    }

    /// When it will have.
    pub(super) fn until_ms(&self) -> Option<u64> {
        let (sight, since_ms) = self.seen?;
        Some(since_ms.saturating_add(sight.most_ms()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENT: Sight = Sight {
        receipted_through: Seq(4),
        acked_through: Seq(3),
        is_in_flight: true,
        is_owed: true,
    };

    #[test]
    fn what_has_no_receipt_is_asked_for_while_none_comes() {
        let mut stall = Stall::default();
        assert!(!stall.is_over(SENT, 1_000));
        assert_eq!(stall.until_ms(), Some(1_000 + RECEIPT_MAX_MS));
        assert!(!stall.is_over(SENT, 999 + RECEIPT_MAX_MS));
        // One receipt, and the next one has as long.
        let more = Sight {
            receipted_through: Seq(5),
            ..SENT
        };
        assert!(!stall.is_over(more, 1_000 + RECEIPT_MAX_MS));
        assert!(!stall.is_over(more, 999 + 2 * RECEIPT_MAX_MS));
        assert!(stall.is_over(more, 1_000 + 2 * RECEIPT_MAX_MS));
        // Once, not with every look.
        assert!(!stall.is_over(more, 1_001 + 2 * RECEIPT_MAX_MS));
    }

    #[test]
    fn what_has_no_ack_is_asked_for_once_an_hour_and_what_is_done_never() {
        let stored = Sight {
            is_in_flight: false,
            ..SENT
        };
        let mut stall = Stall::default();
        assert!(!stall.is_over(stored, 0));
        assert!(!stall.is_over(stored, QUIET_MAX_MS - 1));
        assert!(stall.is_over(stored, QUIET_MAX_MS));
        assert!(!stall.is_over(stored, 2 * QUIET_MAX_MS - 1));
        assert!(stall.is_over(stored, 2 * QUIET_MAX_MS));
        let done = Sight {
            acked_through: Seq(4),
            is_owed: false,
            ..stored
        };
        assert!(!stall.is_over(done, 3 * QUIET_MAX_MS));
        assert!(!stall.is_over(done, u64::MAX));
        assert_eq!(stall.until_ms(), None);
    }
}
