//! Who was away looks and hears before it speaks.
//!
//! A relay that has kept its disk shows by any one mailbox that this directory is an older copy (promise C8), and
//! that ends every line of it, whichever hub it leads to. So nothing is sent on a new connection before every mailbox
//! of it was compared with what the relay holds there, and what speaks against it judged.
//!
//! A relay that has lost its disk cannot show it; what the hub has said since can, on any line of the pairing. So
//! nothing is sent to a hub before every line of the pairing has taken what the relay held for it.
//!
//! A relay may withhold either, so it is not waited for long. This room must never hold a line back for ever.

use std::collections::BTreeSet;

use journal::ids::{Line, PairingId};
use tokio::sync::watch;

/// How long the lines of a new connection are waited for, in milliseconds.
const HEAR_MAX_MS: u64 = 5_000;

/// Which lines of a connection were compared and heard.
pub(super) struct Hearing {
    awaited: watch::Sender<Awaited>,
    until_ms: u64,
}

/// What is still to come before anybody speaks.
struct Awaited {
    /// Lines whose mailbox has yet to be compared with their books.
    to_compare: BTreeSet<Line>,
    /// Lines that have not yet taken what the relay held for them.
    silent: BTreeSet<Line>,
}

impl Awaited {
    fn is_over_for(&self, pairing: PairingId) -> bool {
        self.to_compare.is_empty() && self.silent.iter().all(|line| line.pairing != pairing)
    }
}

impl Hearing {
    /// None of these lines was compared or heard yet.
    pub(super) fn new(lines: BTreeSet<Line>, now_ms: u64) -> Self {
        let awaited = Awaited {
            to_compare: lines.clone(),
            silent: lines,
        };
        Self {
            awaited: watch::Sender::new(awaited),
            until_ms: now_ms.saturating_add(HEAR_MAX_MS),
        }
    }

    /// What the relay holds agrees with this line's books, or was judged, or cannot be compared.
    pub(super) fn compared(&self, line: Line) {
        self.awaited
            .send_if_modified(|awaited| awaited.to_compare.remove(&line));
    }

    /// A line has taken what the relay held for it, or cannot.
    pub(super) fn heard(&self, line: Line) {
        self.awaited
            .send_if_modified(|awaited| awaited.silent.remove(&line));
    }

    /// Whether something may be said to this pairing's hub.
    pub(super) fn may_speak(&self, pairing: PairingId, now_ms: u64) -> bool {
        now_ms >= self.until_ms || self.awaited.borrow().is_over_for(pairing)
    }

    /// From when on it may in any case, in milliseconds of the clock that it was made by.
    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Until all lines were compared and those of the pairing heard; the time is for the caller to watch.
    pub(super) async fn over(&self, pairing: PairingId) {
        let mut awaited = self.awaited.subscribe();
        // It ends well: what it listens to lives in `self`.
        let _over = awaited
            .wait_for(|awaited| awaited.is_over_for(pairing))
            .await
            .is_ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairing_is_spoken_to_once_all_its_lines_were_heard_or_the_time_is_over() {
        let (ours, other) = (PairingId([1; 16]), PairingId([2; 16]));
        let lines = Line::all(ours).into_iter().chain(Line::all(other));
        let hearing = Hearing::new(lines.clone().collect(), 1_000);
        lines.for_each(|line| hearing.compared(line));
        for line in Line::all(ours) {
            assert!(!hearing.may_speak(ours, 1_000), "{line:?}");
            hearing.heard(line);
        }
        assert!(hearing.may_speak(ours, 1_000));
        assert!(!hearing.may_speak(other, hearing.until_ms() - 1));
        assert!(hearing.may_speak(other, hearing.until_ms()));
    }

    #[test]
    fn nobody_is_spoken_to_before_every_mailbox_of_every_hub_was_compared() {
        let (ours, other) = (PairingId([1; 16]), PairingId([2; 16]));
        let lines = Line::all(ours).into_iter().chain(Line::all(other));
        let hearing = Hearing::new(lines.clone().collect(), 1_000);
        for line in lines {
            assert!(!hearing.may_speak(ours, 1_000), "{line:?}");
            hearing.heard(line);
            hearing.compared(line);
        }
        assert!(hearing.may_speak(ours, 1_000) && hearing.may_speak(other, 1_000));
    }
}
