//! How far a long sweep has come, on disk, so that it can go on after it was stopped or killed.
//!
//! A progress file is a text that only ever grows, by notes. Each note is written at once and ends
//! with a `totals` line; lines behind the last one were cut off and do not count.
//!
//! ```text
//! build ID          what the file belongs to: program, recording, seed
//! HASH              a state that was opened
//! moment N          all states of this moment were visited in this round
//! failed {...}      a state that must not be, and where it is kept
//! rounds N          so many rounds are over; moments begin anew
//! totals {...}      of all parts of the sweep until now
//! ```
//!
//! A failure stays a failure: a sweep that goes on repeats it first, and never forgets it. What one
//! build found says nothing of another, so a file of another build is refused.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crashtest::trouble::{Outcome, Trouble};
use serde_json::{Value, json};

use crate::heads::Heads;
use crate::image::Hash;
use crate::report::{Count, Failure};
use crate::states::Kind;

/// A failing state, with what it takes to ask it again.
#[derive(Clone, Debug)]
pub struct Failed {
    /// What the report says of it.
    pub failure: Failure,
    /// Its content.
    pub hash: Hash,
    /// Marks that had been made.
    pub marks: usize,
    /// The instant, for the peer.
    pub nanos: u64,
}

/// Totals that grow over all parts of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// By kind.
    pub counts: BTreeMap<Kind, Count>,
    /// Refusals and how often each.
    pub refusals: BTreeMap<String, u64>,
    /// Pairs of a state and a moment.
    pub explained: u64,
    /// Talks that came to an agreement.
    pub talks: u64,
    /// Talks of ends that are not paired.
    pub unpaired: u64,
    /// States that were left out.
    pub left_out: u64,
    /// Epochs, by outbox and its last number.
    pub heads: Heads,
    /// Wall time.
    pub took: Duration,
}

/// What earlier parts of a sweep did.
#[derive(Clone, Debug, Default)]
pub struct Earlier {
    /// Rounds that were finished.
    pub rounds: u32,
    /// Moments of the round after those that were finished, by their place.
    pub moments: BTreeSet<usize>,
    /// States that were opened.
    pub seen: HashSet<Hash>,
    /// States that must not be.
    pub failed: Vec<Failed>,
    /// Of everything.
    pub totals: Totals,
}

/// What has happened since the last note.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// States that were opened first.
    pub fresh: Vec<Hash>,
    /// Moments that were finished.
    pub moments: Vec<usize>,
    /// States that must not be.
    pub failed: Vec<Failed>,
    /// A round that is over with it.
    pub rounds: Option<u32>,
}

/// A progress file.
#[derive(Clone, Debug)]
pub struct Progress {
    path: PathBuf,
}

impl Progress {
    /// Begins a file, or goes on with the one that is there if `resume`.
    ///
    /// # Errors
    /// The machine's; or the file belongs to another build, or cannot be understood.
    pub fn open(path: &Path, build: &str, resume: bool) -> Outcome<(Self, Earlier)> {
        let progress = Self {
            path: path.to_owned(),
        };
        let machine = || Trouble::machine(path.display().to_string());
        if resume && path.exists() {
            let text = std::fs::read_to_string(path).map_err(machine())?;
            let earlier = parse(&text, build)
                .map_err(|why| Trouble::Broken(format!("{}: {why}", path.display())))?;
            return Ok((progress, earlier));
        }
        std::fs::write(path, format!("build {build}\n")).map_err(machine())?;
        Ok((progress, Earlier::default()))
    }

    /// Adds a note.
    ///
    /// # Errors
    /// The machine's.
    pub fn note(&self, news: &News, totals: &Totals) -> std::io::Result<()> {
        let mut text: String = news
            .fresh
            .iter()
            .map(|hash| format!("{hash:x}\n"))
            .collect();
        let moments = news.moments.iter().map(|place| format!("moment {place}\n"));
        text.extend(moments);
        let failed = news.failed.iter();
        text.extend(failed.map(|failed| format!("failed {}\n", failed.json())));
        text.extend(news.rounds.map(|rounds| format!("rounds {rounds}\n")));
        text.push_str(&format!("totals {}\n", totals.json()));
        let file = std::fs::File::options().append(true).open(&self.path);
        file?.write_all(text.as_bytes())
    }
}

fn parse(text: &str, build: &str) -> Result<Earlier, String> {
    let mut lines = text.split_inclusive('\n');
    let first = lines.next().unwrap_or_default().trim_end();
    let known = first.strip_prefix("build ").unwrap_or("?");
    if known != build {
        return Err(format!(
            "it belongs to another build, recording or seed ({known}, this is {build}): what was \
             found there says nothing here; go on with that one, or begin anew without --resume"
        ));
    }
    let mut earlier = Earlier::default();
    let mut note: Vec<&str> = Vec::new();
    // A line without its end was cut off.
    for line in lines.filter_map(|line| line.strip_suffix('\n')) {
        note.push(line);
        if line.starts_with("totals ") {
            for line in note.drain(..) {
                let nonsense = || format!("nobody understands the line `{line:.80}`");
                earlier.take(line).ok_or_else(nonsense)?;
            }
        }
    }
    Ok(earlier)
}

impl Earlier {
    fn take(&mut self, line: &str) -> Option<()> {
        match line.split_once(' ') {
            None => {
                self.seen.insert(Hash::from_str_radix(line, 16).ok()?);
            }
            Some(("moment", place)) => {
                self.moments.insert(place.parse().ok()?);
            }
            Some(("rounds", rounds)) => {
                self.rounds = rounds.parse().ok()?;
                self.moments.clear();
            }
            Some(("failed", value)) => {
                let value = serde_json::from_str(value).ok()?;
                self.failed.push(Failed::parse(&value)?);
            }
            Some(("totals", value)) => {
                self.totals = Totals::parse(&serde_json::from_str(value).ok()?)?;
            }
            Some(_) => return None,
        }
        Some(())
    }
}

impl Failed {
    fn json(&self) -> Value {
        let failure = &self.failure;
        let kept = failure.kept.as_ref();
        json!({"kind": failure.kind.name(), "steps": failure.steps, "why": failure.why,
               "kept": kept.map(|kept| kept.to_string_lossy()),
               "hash": format!("{:x}", self.hash), "marks": self.marks, "nanos": self.nanos})
    }

    fn parse(value: &Value) -> Option<Self> {
        let number = |key: &str| usize::try_from(value[key].as_u64()?).ok();
        let why = value["why"].as_array()?.iter();
        Some(Self {
            failure: Failure {
                kind: Kind::named(value["kind"].as_str()?)?,
                steps: number("steps")?,
                why: why
                    .filter_map(|why| Some(why.as_str()?.to_owned()))
                    .collect(),
                kept: value["kept"].as_str().map(PathBuf::from),
            },
            hash: Hash::from_str_radix(value["hash"].as_str()?, 16).ok()?,
            marks: number("marks")?,
            nanos: value["nanos"].as_u64()?,
        })
    }
}

impl Totals {
    fn json(&self) -> Value {
        let counts = self.counts.iter().map(|(kind, count)| {
            let numbers = [count.derived, count.unique, count.refused, count.failed];
            (kind.name().to_owned(), json!(numbers))
        });
        let counts: serde_json::Map<String, Value> = counts.collect();
        let epochs = self.heads.epochs.iter();
        let epochs = epochs.map(|((send, last), epoch)| json!([send, last, epoch]));
        json!({"counts": counts, "refusals": self.refusals, "explained": self.explained,
               "talks": self.talks, "unpaired": self.unpaired, "left_out": self.left_out,
               "epochs": epochs.collect::<Vec<Value>>(), "ms": self.took.as_millis() as u64})
    }

    fn parse(value: &Value) -> Option<Self> {
        let mut counts = BTreeMap::new();
        for (kind, numbers) in value["counts"].as_object()? {
            let number = |place: usize| numbers.get(place)?.as_u64();
            let count = Count {
                derived: number(0)?,
                unique: number(1)?,
                refused: number(2)?,
                failed: number(3)?,
            };
            counts.insert(Kind::named(kind)?, count);
        }
        let mut epochs = BTreeMap::new();
        for row in value["epochs"].as_array()? {
            let send = row.get(0)?.as_str()?.to_owned();
            epochs.insert((send, row.get(1)?.as_u64()?), row.get(2)?.as_u64()?);
        }
        let refusals = value["refusals"].as_object()?.iter();
        let number = |key: &str| value[key].as_u64();
        Some(Self {
            counts,
            refusals: refusals
                .map(|(why, count)| Some((why.clone(), count.as_u64()?)))
                .collect::<Option<_>>()?,
            explained: number("explained")?,
            talks: number("talks")?,
            unpaired: number("unpaired")?,
            left_out: number("left_out")?,
            heads: Heads { epochs },
            took: Duration::from_millis(number("ms")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Failed {
        Failed {
            failure: Failure {
                kind: Kind::Tear512,
                steps: 7,
                why: vec!["it is gone".to_owned()],
                kept: Some("/kept/it".into()),
            },
            hash: 0xa,
            marks: 2,
            nanos: 9,
        }
    }

    #[test]
    fn a_note_that_was_cut_off_does_not_count_and_failures_are_kept() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("progress");
        let (progress, earlier) = Progress::open(&path, "one", true).unwrap();
        assert_eq!((earlier.rounds, earlier.seen.len()), (0, 0));
        let mut totals = Totals {
            explained: 5,
            heads: Heads {
                epochs: [(("m".to_owned(), 3), 4)].into(),
            },
            ..Totals::default()
        };
        totals.counts.entry(Kind::Kill).or_default().unique = 2;
        let news = News {
            fresh: vec![0xa, Hash::MAX],
            moments: vec![0, 1],
            rounds: Some(1),
            ..News::default()
        };
        progress.note(&news, &totals).unwrap();
        let news = News {
            moments: vec![3],
            failed: vec![failed()],
            ..News::default()
        };
        totals.explained = 6;
        progress.note(&news, &totals).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("c\nmoment 4\ntotals {\"expl");
        std::fs::write(&path, text).unwrap();

        let (_, earlier) = Progress::open(&path, "one", true).unwrap();
        assert_eq!(earlier.rounds, 1);
        assert_eq!(earlier.moments, [3].into());
        assert_eq!(earlier.seen, [0xa, Hash::MAX].into());
        assert_eq!(earlier.totals.explained, 6);
        assert_eq!(earlier.totals.heads.epochs, totals.heads.epochs);
        assert_eq!(earlier.totals.counts, totals.counts);
        let found = &earlier.failed[0];
        assert_eq!((found.hash, found.marks, found.nanos), (0xa, 2, 9));
        assert_eq!(found.failure.kind, Kind::Tear512);
        assert_eq!(found.failure.kept, failed().failure.kept);

        // Another build found it; this one must not take it for its own.
        let refused = Progress::open(&path, "two", true).unwrap_err().to_string();
        assert!(refused.contains("another build"), "{refused}");
        let (_, anew) = Progress::open(&path, "two", false).unwrap();
        assert!(anew.failed.is_empty());
    }
}
