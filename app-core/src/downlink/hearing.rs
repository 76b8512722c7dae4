//! Who was away hears before it speaks.
//!
//! A relay that has lost its disk cannot show that this directory is an older copy; what the hub has said
//! since can (promise C8), on any line of the pairing. So nothing is sent on a new connection before every
//! line of the pairing has taken what the relay held for it. A relay may withhold that, so it is not waited
//! for long. This room must never hold a line back for ever.

use std::collections::BTreeSet;

use journal::ids::{Line, PairingId};
use tokio::sync::watch;

/// How long the lines of a new connection are waited for, in milliseconds.
const HEAR_MAX_MS: u64 = 5_000;

/// Which lines of a connection were heard.
pub(super) struct Hearing {
    /// Those that have not yet taken what the relay held for them.
    silent: watch::Sender<BTreeSet<Line>>,
    until_ms: u64,
}

impl Hearing {
    /// None of these lines was heard yet.
    pub(super) fn new(lines: BTreeSet<Line>, now_ms: u64) -> Self {
        Self {
            silent: watch::Sender::new(lines),
            until_ms: now_ms.saturating_add(HEAR_MAX_MS),
        }
    }

    /// A line has taken what the relay held for it, or cannot.
    pub(super) fn heard(&self, line: Line) {
        self.silent.send_if_modified(|silent| silent.remove(&line));
    }

    /// Whether something may be said to this pairing's hub.
    pub(super) fn may_speak(&self, pairing: PairingId, now_ms: u64) -> bool {
        now_ms >= self.until_ms || is_heard(&self.silent.borrow(), pairing)
    }

    /// From when on it may in any case, in milliseconds of the clock that it was made by.
    pub(super) fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Until all lines of the pairing were heard; the time is for the caller to watch.
    pub(super) async fn over(&self, pairing: PairingId) {
        let mut silent = self.silent.subscribe();
        // It ends well: what it listens to lives in `self`.
        let _heard = silent
            .wait_for(|silent| is_heard(silent, pairing))
            .await
            .is_ok();
    }
}

fn is_heard(silent: &BTreeSet<Line>, pairing: PairingId) -> bool {
    silent.iter().all(|line| line.pairing != pairing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pairing_is_spoken_to_once_all_its_lines_were_heard_or_the_time_is_over() {
        let (ours, other) = (PairingId([1; 16]), PairingId([2; 16]));
        let lines = Line::all(ours).into_iter().chain(Line::all(other));
        let hearing = Hearing::new(lines.collect(), 1_000);
        for line in Line::all(ours) {
            assert!(!hearing.may_speak(ours, 1_000), "{line:?}");
            hearing.heard(line);
        }
        assert!(hearing.may_speak(ours, 1_000));
        assert!(!hearing.may_speak(other, hearing.until_ms() - 1));
        assert!(hearing.may_speak(other, hearing.until_ms()));
    }
}
