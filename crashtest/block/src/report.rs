//! What came of a run, for people and for programs.
//!
//! This room must never leave out what was not done.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::log::Totals;
use crate::states::{Kind, WRITES_ALL_SUBSETS};

/// Numbers for one kind of state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Derived.
    pub derived: u64,
    /// Of them, mounted and opened: not seen before.
    pub opened: u64,
    /// Of the opened, refused with a typed error.
    pub refused: u64,
    /// Of the derived, failed: broken, or something sent is not explained.
    pub failed: u64,
    /// Of the opened, not mounted by the kernel as they were.
    pub not_mounted: u64,
    /// Of those, mounted after `e2fsck`.
    pub repaired: u64,
}

impl Count {
    fn plus(self, other: &Self) -> Self {
        Self {
            derived: self.derived + other.derived,
            opened: self.opened + other.opened,
            refused: self.refused + other.refused,
            failed: self.failed + other.failed,
            not_mounted: self.not_mounted + other.not_mounted,
            repaired: self.repaired + other.repaired,
        }
    }

    fn json(self) -> Value {
        json!({"derived": self.derived, "opened": self.opened, "refused": self.refused,
               "failed": self.failed, "not_mounted": self.not_mounted, "repaired": self.repaired})
    }
}

/// A state that must not be.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What sort of state.
    pub kind: Kind,
    /// In which epoch.
    pub epoch: usize,
    /// What is wrong, one sentence each.
    pub why: Vec<String>,
    /// Where it is kept; none if there are too many.
    pub kept: Option<PathBuf>,
}

/// How the epochs of a log are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many epochs have so many writes.
    pub sizes: BTreeMap<usize, u64>,
}

impl Shape {
    /// Of epochs with so many writes each.
    #[must_use]
    pub fn of(sizes: impl IntoIterator<Item = usize>) -> Self {
        let mut shape = Self::default();
        for size in sizes {
            *shape.sizes.entry(size).or_default() += 1;
        }
        shape
    }

    /// All epochs.
    #[must_use]
    pub fn epochs(&self) -> u64 {
        self.sizes.values().sum()
    }

    /// Those of which every subset is a state.
    #[must_use]
    pub fn small(&self) -> u64 {
        let small = self.sizes.range(..=WRITES_ALL_SUBSETS);
        small.map(|(_, count)| count).sum()
    }

    /// The most writes in one epoch.
    #[must_use]
    pub fn largest(&self) -> usize {
        self.sizes.last_key_value().map_or(0, |(size, _)| *size)
    }
}

/// Whether the tier notices what it must notice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vacuity {
    /// Flushes, right behind which something left, that were taken out one at a time.
    pub flushes: u64,
    /// Of them, those whose absence some state showed; by itself, or with that of flushes before it.
    pub noticed: u64,
    /// Of those, by itself.
    pub alone: u64,
    /// States that this took.
    pub states: u64,
}

impl Vacuity {
    /// At least three quarters are noticed, and half by themselves: what leaves late was covered by
    /// earlier flushes.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.flushes > 0 && self.noticed * 4 >= self.flushes * 3 && self.alone * 2 >= self.flushes
    }
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Whose directory.
    pub program: String,
    /// What the drive was told in all.
    pub log: Totals,
    /// Its epochs.
    pub shape: Shape,
    /// Epochs all of whose wanted states were visited.
    pub finished: u64,
    /// Of them, those of which every subset is a state.
    pub small_finished: u64,
    /// Marks of the session.
    pub marks: usize,
    /// By kind.
    pub counts: BTreeMap<Kind, Count>,
    /// Refusals and how often each.
    pub refusals: BTreeMap<String, u64>,
    /// What `mount` said, and how often.
    pub mount_words: BTreeMap<String, u64>,
    /// Repaired states of which something is not explained; nobody promises anything of those.
    pub repaired_short: u64,
    /// The first failures.
    pub failures: Vec<Failure>,
    /// Pairs of a state and an instant at which it must explain what had been told.
    pub explained: u64,
    /// States that came to an agreement with the other end.
    pub talks: u64,
    /// States that could not, because the two are not paired yet.
    pub unpaired: u64,
    /// Pairs that an earlier run had done.
    pub seen_before: u64,
    /// The self-check.
    pub vacuity: Vacuity,
    /// The longest start.
    pub slowest: Duration,
    /// Wall time of the sweep alone.
    pub took: Duration,
    /// The time was the plan: what it does not reach is not covered, and no failure.
    pub open_ended: bool,
}

impl Report {
    /// All kinds together.
    #[must_use]
    pub fn total(&self) -> Count {
        let zero = Count::default();
        self.counts
            .values()
            .fold(zero, |sum, count| sum.plus(count))
    }

    /// States mounted and opened in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.total().opened as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// What is wrong, a sentence each; nothing if all is well.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let total = self.total();
        let mut all = Vec::new();
        if total.failed > 0 {
            all.push(format!("{} states are fatal", total.failed));
        }
        if total.refused > 0 {
            all.push(format!("{} states are refused", total.refused));
        }
        let small = self.shape.small().saturating_sub(self.small_finished);
        if small > 0 && !self.open_ended {
            all.push(format!(
                "{small} of {} epochs with at most {WRITES_ALL_SUBSETS} writes are not finished",
                self.shape.small()
            ));
        }
        // A run that goes on where another one ended may have nothing left to do.
        if self.seen_before == 0 {
            let done = [
                (total.opened, "no disk was mounted and opened"),
                (self.explained, "no state was asked to explain anything"),
                (self.talks, "no state was talked on with its peer"),
            ];
            let nothing = done.iter().filter(|(count, _)| *count == 0);
            all.extend(nothing.map(|(_, what)| (*what).to_owned()));
        }
        if !self.vacuity.is_good() {
            all.push(format!(
                "only {} of {} flushes that were taken out were noticed, {} of them by themselves: the tier is \
                 blind",
                self.vacuity.noticed, self.vacuity.flushes, self.vacuity.alone
            ));
        }
        all
    }

    /// What was not done, a sentence each.
    #[must_use]
    pub fn not_covered(&self) -> Vec<String> {
        let mut all = Vec::new();
        let left = self.shape.epochs().saturating_sub(self.finished);
        if left > 0 {
            all.push(format!(
                "{left} of {} epochs are not finished",
                self.shape.epochs()
            ));
        }
        let large = self.shape.epochs() - self.shape.small();
        if large > 0 {
            all.push(format!(
                "{large} epochs of more than {WRITES_ALL_SUBSETS} writes (up to {}): a sample of their subsets",
                self.shape.largest()
            ));
        }
        all
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let kinds: Map<String, Value> = self
            .counts
            .iter()
            .map(|(kind, count)| (kind.name().to_owned(), count.json()))
            .collect();
        let failures = self.failures.iter().map(|failure| {
            json!({
                "kind": failure.kind.name(),
                "epoch": failure.epoch,
                "why": failure.why,
                "kept": failure.kept.as_ref().map(|kept| kept.to_string_lossy().into_owned()),
            })
        });
        let sizes: Map<String, Value> = self
            .shape
            .sizes
            .iter()
            .map(|(size, count)| (size.to_string(), (*count).into()))
            .collect();
        json!({
            "program": self.program,
            "writes": self.log.writes,
            "bytes": self.log.bytes,
            "flushes": self.log.flushes,
            "epochs": self.shape.epochs(),
            "small_epochs": self.shape.small(),
            "largest_epoch": self.shape.largest(),
            "epoch_sizes": sizes,
            "finished_epochs": self.finished,
            "small_finished_epochs": self.small_finished,
            "marks": self.marks,
            "totals": self.total().json(),
            "kinds": kinds,
            "refusals": self.refusals,
            "mount_words": self.mount_words,
            "repaired_short": self.repaired_short,
            "failures": failures.collect::<Vec<Value>>(),
            "explained": self.explained,
            "talks": self.talks,
            "unpaired": self.unpaired,
            "seen_before": self.seen_before,
            "removed_flushes": self.vacuity.flushes,
            "removed_flushes_noticed": self.vacuity.noticed,
            "removed_flushes_noticed_alone": self.vacuity.alone,
            "slowest_start_ms": self.slowest.as_millis() as u64,
            "seconds": self.took.as_secs_f64(),
            "states_per_second": self.rate(),
            "complaints": self.complaints(),
            "not_covered": self.not_covered(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.total();
        writeln!(
            f,
            "{}: {} writes of {} KiB and {} flushes in {} epochs, {} of them with at most \
             {WRITES_ALL_SUBSETS} writes ({} finished); {} epochs finished in all",
            self.program,
            self.log.writes,
            self.log.bytes / 1024,
            self.log.flushes,
            self.shape.epochs(),
            self.shape.small(),
            self.small_finished,
            self.finished,
        )?;
        writeln!(
            f,
            "{} states mounted and opened of {} derived: {} refused, {} fatal, {} not mounted ({} after \
             e2fsck); {} state-and-instant pairs explained against {} marks, {} talks agreed ({} not \
             paired yet); {:.1} s, {:.1} states/s, slowest start {} ms",
            total.opened,
            total.derived,
            total.refused,
            total.failed,
            total.not_mounted,
            total.repaired,
            self.explained,
            self.marks,
            self.talks,
            self.unpaired,
            self.took.as_secs_f64(),
            self.rate(),
            self.slowest.as_millis(),
        )?;
        for (kind, count) in &self.counts {
            writeln!(
                f,
                "  {:<16} {:>7} derived {:>7} opened {:>5} refused {:>5} fatal {:>5} not mounted",
                kind.name(),
                count.derived,
                count.opened,
                count.refused,
                count.failed,
                count.not_mounted
            )?;
        }
        let sizes = self.shape.sizes.iter();
        let sizes: Vec<String> = sizes
            .map(|(size, count)| format!("{size}:{count}"))
            .collect();
        writeln!(f, "  writes per epoch: {}", sizes.join(" "))?;
        writeln!(
            f,
            "  {} of {} flushes that were taken out were noticed, {} of them by themselves, with {} states",
            self.vacuity.noticed, self.vacuity.flushes, self.vacuity.alone, self.vacuity.states
        )?;
        for (refusal, count) in &self.refusals {
            writeln!(f, "  refused {count} times: {refusal}")?;
        }
        for (words, count) in &self.mount_words {
            writeln!(f, "  not mounted {count} times: {words}")?;
        }
        for failure in &self.failures {
            let why = failure.why.join("; ");
            writeln!(
                f,
                "  BAD {} in epoch {}: {why}",
                failure.kind.name(),
                failure.epoch
            )?;
            if let Some(kept) = &failure.kept {
                writeln!(f, "    repeat: crashtest-block check {}", kept.display())?;
            }
        }
        for sentence in self.not_covered() {
            writeln!(f, "  NOT COVERED: {sentence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Report {
        let opened = Count {
            derived: 8,
            opened: 7,
            ..Count::default()
        };
        Report {
            shape: Shape::of([0, 3, 12, 13, 90]),
            finished: 5,
            small_finished: 3,
            counts: BTreeMap::from([(Kind::Subset, opened)]),
            explained: 9,
            talks: 1,
            vacuity: Vacuity {
                flushes: 4,
                noticed: 3,
                alone: 2,
                states: 9,
            },
            ..Report::default()
        }
    }

    #[test]
    fn only_fatal_refused_and_blind_are_complaints() {
        assert!(good().complaints().is_empty());
        let mut report = good();
        let mut count = Count {
            opened: 7,
            not_mounted: 5,
            repaired: 5,
            ..Count::default()
        };
        report.counts.insert(Kind::Subset, count);
        assert!(report.complaints().is_empty());
        count.failed = 1;
        report.counts.insert(Kind::Alone, count);
        assert_eq!(report.complaints().len(), 1);
        count.refused = 1;
        report.counts.insert(Kind::Random, count);
        assert_eq!(report.complaints().len(), 2);
        report.vacuity.noticed = 2;
        assert_eq!(report.complaints().len(), 3);
        report.vacuity.noticed = 3;
        report.vacuity.alone = 1;
        assert_eq!(report.complaints().len(), 3);
        report.vacuity = Vacuity::default();
        assert_eq!(report.complaints().len(), 3);
    }

    #[test]
    fn who_did_nothing_or_left_a_small_epoch_did_not_do_well() {
        type Break = fn(&mut Report);
        let table: [(&str, Break); 4] = [
            ("opened", |r| r.counts.clear()),
            ("explained", |r| r.explained = 0),
            ("talks", |r| r.talks = 0),
            ("a small epoch", |r| r.small_finished = 2),
        ];
        for (what, make) in table {
            let mut report = good();
            make(&mut report);
            assert_eq!(report.complaints().len(), 1, "{what}");
            // Only what the time left open may be left open.
            report.open_ended = true;
            let left = usize::from(what != "a small epoch");
            assert_eq!(report.complaints().len(), left, "{what}");
        }
        let mut resumed = good();
        resumed.counts.clear();
        (resumed.explained, resumed.talks, resumed.seen_before) = (0, 0, 9);
        assert!(resumed.complaints().is_empty());
    }

    #[test]
    fn what_was_left_is_said() {
        let mut report = good();
        let shape = &report.shape;
        assert_eq!((shape.epochs(), shape.small(), shape.largest()), (5, 3, 90));
        assert_eq!(report.not_covered().len(), 1);
        report.finished = 4;
        assert_eq!(report.not_covered().len(), 2);
        let value = report.json();
        assert_eq!(value["small_epochs"], 3);
        assert_eq!(value["not_covered"].as_array().unwrap().len(), 2);
        assert_eq!(value["epoch_sizes"]["90"], 1);
    }
}
