//! From a device's log to what may be lost at each instant: the flush epochs.
//!
//! ```text
//! write a   flush 1 begins   write b   flush 1 ends   write c   flush 2 begins   flush 2 ends
//!           |--- covers a ---|         |              |--------- covers a, b, c --------------|
//! epoch 1: a and b may each be there or not, until flush 1 has ended; then a must be
//! epoch 2: b and c may each be there or not, until flush 2 has ended
//! ```
//!
//! A flush covers the writes that had ended before it began, and nothing is owed before it has
//! ended. So the most states, and the most that can have been said, are possible just before the
//! end of a flush: whatever may be lost at an earlier instant may still be lost then, and whatever had
//! left by then must be explained by all of it. One epoch for each flush therefore covers every
//! instant. This room must never count a write as durable that a drive may still lose.

use crashtest_replay::image::Image;
use crashtest_replay::steps::{Placed, Step};

use crate::log::Log;

/// An instant at which the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Its place among the beginnings and ends of the log: what ended before it has ended.
    pub at: u64,
    /// Flushes that the drive ignored, from one record of the log to another; to see whether that is
    /// noticed.
    pub ignored: Option<Ignored>,
}

/// The first and the last record of the log between which every flush is ignored, both included.
pub type Ignored = (usize, usize);

/// What may be lost at some instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The instant.
    pub crash: Crash,
    /// The same on the clock of the marks.
    pub nanos: u64,
    /// The writes that may or may not be there, as records of the log, in order.
    pub pending: Vec<usize>,
}

/// Walks through a log from instant to instant, forwards.
pub struct Walk<'a> {
    log: &'a Log,
    /// Each write, and where in the log's order of beginnings and ends it becomes durable.
    writes: Vec<(usize, u64)>,
    /// The next of them that has not begun.
    next: usize,
    /// Begun and not durable.
    pending: Vec<(usize, u64)>,
    base: Image,
    at: u64,
    ignored: Option<Ignored>,
}

impl<'a> Walk<'a> {
    /// A walk from the beginning. With ignored flushes all of it is as if those had never been.
    #[must_use]
    pub fn new(log: &'a Log, ignored: Option<Ignored>) -> Self {
        let records = || log.records.iter().enumerate();
        let heeded = |number| ignored.is_none_or(|(first, last)| number < first || last < number);
        let flushes: Vec<(u64, u64)> = records()
            .filter(|(number, record)| record.is_flush() && heeded(*number))
            .map(|(_, record)| (record.began, record.ended))
            .collect();
        // The earliest end of the flushes from each one on; they are in the order of beginnings.
        let mut ends = vec![u64::MAX; flushes.len() + 1];
        for (number, (_, ended)) in flushes.iter().enumerate().rev() {
            ends[number] = ends[number + 1].min(*ended);
        }
        let writes = records().filter(|(_, record)| !record.is_flush());
        let writes = writes.map(|(number, write)| {
            let covering = flushes.partition_point(|(began, _)| *began <= write.ended);
            (number, ends[covering])
        });
        Self {
            log,
            writes: writes.collect(),
            next: 0,
            pending: Vec::new(),
            base: log.before.clone(),
            at: 0,
            ignored,
        }
    }

    /// Whether the walk has not come past this instant, with the same flush ignored.
    #[must_use]
    pub fn can_go_to(&self, crash: Crash) -> bool {
        self.at <= crash.at && self.ignored == crash.ignored
    }

    /// Goes on to an instant; what may be lost then. One that lies behind changes nothing.
    pub fn go_to(&mut self, at: u64) -> Vec<usize> {
        self.at = self.at.max(at);
        let begun = |(number, _): &&(usize, u64)| {
            let write = self.log.records.get(*number);
            write.is_some_and(|write| write.began < self.at)
        };
        let rest = self.writes.get(self.next..).unwrap_or_default();
        let more: Vec<(usize, u64)> = rest.iter().take_while(begun).copied().collect();
        self.next += more.len();
        self.pending.extend(more);
        let (durable, pending) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|(_, durable_at)| *durable_at < self.at);
        self.pending = pending;
        let durable: Vec<(usize, u64)> = durable;
        for (record, _) in durable {
            self.log.put(&mut self.base, record, None);
        }
        self.pending.iter().map(|(record, _)| *record).collect()
    }

    /// The disk with all that is durable at the instant that the walk has come to, and nothing else.
    #[must_use]
    pub fn base(&self) -> &Image {
        &self.base
    }
}

/// The epochs of a log: one just before the end of each flush, and one at the end of the log.
#[must_use]
pub fn epochs(log: &Log) -> Vec<Epoch> {
    let mut ends: Vec<(u64, u64)> = log
        .records
        .iter()
        .filter(|record| record.is_flush() && record.ended != u64::MAX)
        .map(|record| (record.ended, record.ended_nanos))
        .collect();
    ends.sort_unstable();
    ends.push((u64::MAX, u64::MAX));
    let mut walk = Walk::new(log, None);
    let epoch = |(at, nanos)| Epoch {
        crash: Crash { at, ignored: None },
        nanos,
        pending: walk.go_to(at),
    };
    ends.into_iter().map(epoch).collect()
}

/// How many of a story's marks came before an instant: what had been told by then.
#[must_use]
pub fn marks_before(steps: &[Placed], nanos: u64) -> usize {
    let marks = steps
        .iter()
        .filter(|placed| matches!(placed.step, Step::Mark(_)));
    marks.take_while(|placed| placed.nanos < nanos).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::log_of;

    fn byte(image: &Image, page: u64) -> u8 {
        let mut out = [0];
        image.read(page * 4096, &mut out);
        out[0]
    }

    /// A byte of a page of what is durable just before each epoch ends.
    fn durable(log: &Log, page: u64) -> Vec<u8> {
        let mut walk = Walk::new(log, None);
        let bytes = epochs(log).into_iter().map(|epoch| {
            walk.go_to(epoch.crash.at);
            byte(walk.base(), page)
        });
        bytes.collect()
    }

    fn pending(log: &Log) -> Vec<Vec<usize>> {
        epochs(log).into_iter().map(|epoch| epoch.pending).collect()
    }

    #[test]
    fn a_flush_covers_what_had_ended_before_it_began_and_only_once_it_has_ended() {
        // a ends before flush 1 begins; b is under way then; c begins while it is under way.
        let log = log_of(
            &[(1, 1, 1, 2), (2, 2, 3, 6), (3, 3, 7, 8), (4, 4, 10, 11)],
            &[(5, 9), (12, 13)],
        );
        // Records in the order of their beginnings: a, b, flush 1, c, d, flush 2.
        assert_eq!(pending(&log), [vec![0, 1, 3], vec![1, 3, 4], vec![]]);
        assert_eq!(durable(&log, 1), [0, 1, 1]);
        assert_eq!(durable(&log, 2), [0, 0, 2]);
        assert_eq!(durable(&log, 4), [0, 0, 4]);
        assert_eq!(epochs(&log)[0].nanos, 90);
    }

    #[test]
    fn what_no_flush_covers_may_be_lost_to_the_end() {
        let log = log_of(&[(1, 1, 1, 2), (1, 2, 5, 6)], &[(3, 4)]);
        assert_eq!(pending(&log), [vec![0], vec![2]]);
        assert_eq!(durable(&log, 1), [0, 1]);
    }

    #[test]
    fn a_flush_that_never_ended_covers_nothing() {
        let log = log_of(&[(1, 1, 1, 2)], &[(3, u64::MAX)]);
        assert_eq!(pending(&log), [vec![0]]);
        assert_eq!(durable(&log, 1), [0]);
    }

    #[test]
    fn of_two_flushes_under_way_the_one_that_ends_first_counts() {
        let log = log_of(&[(1, 1, 1, 2)], &[(3, 8), (4, 5)]);
        assert_eq!(pending(&log), [vec![0], vec![], vec![]]);
    }

    #[test]
    fn an_ignored_flush_leaves_its_writes_pending_until_the_next() {
        let log = log_of(&[(1, 1, 1, 2), (2, 2, 5, 6)], &[(3, 4), (7, 9), (10, 11)]);
        let ignored = Some((1, 1));
        let mut walk = Walk::new(&log, ignored);
        assert_eq!(walk.go_to(8), [0, 2]);
        assert_eq!(walk.go_to(10), [0; 0]);
        assert!(!walk.can_go_to(Crash { at: 9, ignored }));
        let mut walk = Walk::new(&log, Some((1, 3)));
        assert_eq!(walk.go_to(11), [0, 2]);
        assert_eq!(walk.go_to(12), [0; 0]);
        let mut walk = Walk::new(&log, None);
        assert_eq!(walk.go_to(8), [2]);
        assert!(!walk.can_go_to(Crash { at: 9, ignored }));
        let ignored = None;
        assert!(walk.can_go_to(Crash { at: 9, ignored }));
    }

    #[test]
    fn what_is_told_is_what_came_before_the_instant() {
        let mark = |nanos| Placed {
            nanos,
            record: 0,
            step: Step::Mark(format!("envelope mailbox {nanos} digest")),
        };
        let mut steps = vec![mark(10), mark(20), mark(30)];
        steps.insert(
            1,
            Placed {
                nanos: 15,
                record: 0,
                step: Step::Start,
            },
        );
        for (nanos, told) in [(5, 0), (10, 0), (11, 1), (20, 1), (21, 2), (u64::MAX, 3)] {
            assert_eq!(marks_before(&steps, nanos), told, "{nanos}");
        }
    }
}
