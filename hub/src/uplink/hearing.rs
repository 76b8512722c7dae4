//! Who was away hears before it speaks.
//!
//! A relay that has lost its disk cannot show that this directory is an older copy; what the phone has said
//! since can (promise C8), on any line of the pairing. So a process sends nothing to a phone before every line
//! of the pairing has taken what the relay held for it. A relay may withhold that, so each line waits once, and
//! not for long: evidence must leave the house. This room must never hold a line back for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use journal::ids::{Line, PairingId};
use tokio::sync::watch;

/// How long a line that has something to send waits for what the phone has said.
const HEAR_MAX: Duration = Duration::from_secs(5);

/// The lines of a pairing that have not yet taken what the relay held for them when this process asked first.
pub(super) struct Hearing(watch::Sender<BTreeSet<Line>>);

impl Hearing {
    /// None of its lines was heard yet.
    pub(super) fn new(pairing: PairingId) -> Self {
        Self(watch::Sender::new(BTreeSet::from(Line::all(pairing))))
    }

    /// A line has taken what the relay held for it, or cannot.
    pub(super) fn heard(&self, line: Line) {
        self.0.send_if_modified(|silent| silent.remove(&line));
    }

    /// Until all lines were heard, or the time is over.
    pub(super) async fn over(&self) {
        let mut silent = self.0.subscribe();
        let heard = async { silent.wait_for(|silent| silent.is_empty()).await.is_ok() };
        let _in_time = tokio::time::timeout(HEAR_MAX, heard).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_is_said_before_every_line_was_heard() {
        let pairing = PairingId([1; 16]);
        let hearing = Hearing::new(pairing);
        let [last, others @ ..] = Line::all(pairing);
        for line in others {
            hearing.heard(line);
        }
        let early = tokio::time::timeout(Duration::from_millis(20), hearing.over()).await;
        assert!(early.is_err(), "one line is silent still");
        hearing.heard(last);
        let at_once = tokio::time::timeout(HEAR_MAX / 2, hearing.over()).await;
        assert!(at_once.is_ok());
    }
}
