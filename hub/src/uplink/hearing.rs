//! Who was away looks and hears before it speaks.
//!
//! A relay that has kept its disk shows by any one mailbox that this directory is an older copy (promise C8), and
//! that ends every line of it. So a process sends nothing before every mailbox that it begins with was compared with
//! what the relay holds there, and what speaks against it judged.
//!
//! A relay that has lost its disk cannot show it; what the phone has said since can, on any line of the pairing. So a
//! process sends nothing to a phone before every line of the pairing has taken what the relay held for it.
//!
//! A relay may withhold either, so each line waits once, and not for long: evidence must leave the house. This room
//! must never hold a line back for ever.

use std::collections::BTreeSet;
use std::time::Duration;

use journal::ids::{Line, PairingId};
use tokio::sync::watch;

/// How long a line that has something to send waits for what the relay holds and the phone has said.
const HEAR_MAX: Duration = Duration::from_secs(5);

/// Lines of which something is still to come before anybody speaks.
struct Awaited(watch::Sender<BTreeSet<Line>>);

impl Awaited {
    fn new(lines: BTreeSet<Line>) -> Self {
        Self(watch::Sender::new(lines))
    }

    fn came(&self, line: Line) {
        self.0.send_if_modified(|awaited| awaited.remove(&line));
    }

    fn retain(&self, goes_on: impl Fn(&Line) -> bool) {
        self.0.send_if_modified(|awaited| {
            let before = awaited.len();
            awaited.retain(&goes_on);
            awaited.len() < before
        });
    }

    /// Until none is left.
    async fn none_left(&self) {
        let mut awaited = self.0.subscribe();
        // It ends well: what it listens to lives in `self`.
        let _none = awaited.wait_for(|left| left.is_empty()).await.is_ok();
    }
}

/// The lines of all pairings whose mailbox at the relay this process has yet to compare with its books.
pub(super) struct Comparison(Awaited);

impl Comparison {
    /// None of the lines that the process begins with was compared yet. One that comes later has nothing of an
    /// earlier process at the relay.
    pub(super) fn new(lines: BTreeSet<Line>) -> Self {
        Self(Awaited::new(lines))
    }

    /// What the relay holds agrees with this line's books, or was judged, or cannot be compared.
    pub(super) fn done(&self, line: Line) {
        self.0.came(line);
    }

    /// Only these lines are still there.
    pub(super) fn retain(&self, goes_on: impl Fn(&Line) -> bool) {
        self.0.retain(goes_on);
    }
}

/// The lines of a pairing that have not yet taken what the relay held for them when this process asked first.
pub(super) struct Hearing(Awaited);

impl Hearing {
    /// None of its lines was heard yet.
    pub(super) fn new(pairing: PairingId) -> Self {
        Self(Awaited::new(BTreeSet::from(Line::all(pairing))))
    }

    /// A line has taken what the relay held for it, or cannot.
    pub(super) fn heard(&self, line: Line) {
        self.0.came(line);
    }

    /// Until all lines were compared and those of the pairing heard, or the time is over.
    pub(super) async fn over(&self, comparison: &Comparison) {
        self.over_within(comparison, HEAR_MAX).await;
    }

    async fn over_within(&self, comparison: &Comparison, most: Duration) {
        let both = async {
            comparison.0.none_left().await;
            self.0.none_left().await;
        };
        let _in_time = tokio::time::timeout(most, both).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRING: PairingId = PairingId([1; 16]);
    const OTHER: PairingId = PairingId([2; 16]);

    async fn is_over(hearing: &Hearing, comparison: &Comparison) -> bool {
        let brief = Duration::from_millis(20);
        let over = tokio::time::timeout(brief, hearing.over(comparison));
        over.await.is_ok()
    }

    #[tokio::test]
    async fn nothing_is_said_before_every_line_was_heard() {
        let hearing = Hearing::new(PAIRING);
        let comparison = Comparison::new(BTreeSet::new());
        let [last, others @ ..] = Line::all(PAIRING);
        for line in others {
            hearing.heard(line);
        }
        let early = is_over(&hearing, &comparison).await;
        assert!(!early, "one line is silent still");
        hearing.heard(last);
        let at_once = tokio::time::timeout(HEAR_MAX / 2, hearing.over(&comparison)).await;
        assert!(at_once.is_ok());
    }

    #[tokio::test]
    async fn nothing_is_said_to_anybody_before_every_mailbox_of_every_phone_was_compared() {
        let hearing = Hearing::new(PAIRING);
        Line::all(PAIRING)
            .into_iter()
            .for_each(|line| hearing.heard(line));
        let all = Line::all(PAIRING).into_iter().chain(Line::all(OTHER));
        let comparison = Comparison::new(all.clone().collect());
        for line in all.skip(2) {
            comparison.done(line);
        }
        let [first, second, ..] = Line::all(PAIRING);
        comparison.done(first);
        let early = is_over(&hearing, &comparison).await;
        assert!(!early, "one may show still that the directory is old");
        // A phone that is removed shows nothing any more.
        comparison.retain(|line| *line != second);
        let at_once = tokio::time::timeout(HEAR_MAX / 2, hearing.over(&comparison)).await;
        assert!(at_once.is_ok());
    }

    #[tokio::test]
    async fn a_relay_that_shows_nothing_holds_nobody_back_for_ever() {
        let hearing = Hearing::new(PAIRING);
        let comparison = Comparison::new(BTreeSet::from(Line::all(PAIRING)));
        let brief = Duration::from_millis(20);
        let over = tokio::time::timeout(HEAR_MAX, hearing.over_within(&comparison, brief));
        assert!(over.await.is_ok());
    }
}
