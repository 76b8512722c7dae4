//! How far a run over seeds has come, on disk: written whole each time, under another name first, because
//! seeds are many and only sums are kept. Sweeps append each run instead ([`crashtest::progress`]); whose
//! build a file is about stands in the first line of both.
//!
//! ```text
//! build ID PART           what the seeds were played by, and which of them are this machine's
//! next SEED               all below it were played
//! played COUNT MS SUM...  how many, for how long, and the sums of what they told
//! failed SEED WHY         one that broke a promise
//! ```

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crashtest::progress::{behind_head, head, refused};

use crate::oracle::Broken;

/// Everything that was played below some seed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// The first that was not.
    pub next: u64,
    /// How many were.
    pub played: u64,
    /// Sums of what they told.
    pub sums: Vec<u64>,
    /// Those that broke a promise, and what.
    pub failed: Vec<(u64, String)>,
    /// Wall time.
    pub took: Duration,
}

impl Done {
    /// Nothing below this seed.
    #[must_use]
    pub fn at(next: u64) -> Self {
        Self {
            next,
            ..Self::default()
        }
    }

    /// Counts one more.
    pub(super) fn take(&mut self, seed: u64, result: Result<Vec<u64>, Broken>) {
        self.played += 1;
        match result {
            Ok(numbers) => {
                self.sums.resize(self.sums.len().max(numbers.len()), 0);
                for (sum, number) in self.sums.iter_mut().zip(numbers) {
                    *sum += number;
                }
            }
            Err(broken) => self.failed.push((seed, broken.to_string())),
        }
    }
}

/// The file, and the build that it must be of.
#[derive(Clone, Debug)]
pub struct Progress {
    path: PathBuf,
    build: String,
}

impl Progress {
    /// A file for seeds that are played by this build.
    #[must_use]
    pub fn new(path: &Path, build: &str) -> Self {
        Self {
            path: path.to_owned(),
            build: build.to_owned(),
        }
    }

    /// What it says; nothing below `from` if it is not there.
    ///
    /// # Errors
    /// The machine's; or it is another build's, or cannot be understood.
    pub fn read(&self, from: u64) -> io::Result<Done> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Done::at(from)),
            Err(error) => return Err(error),
        };
        let mut done = Done::at(from);
        for line in behind_head(&self.path, &text, &self.build)?.lines() {
            done.line(line)
                .ok_or_else(|| refused(&self.path, "it is damaged"))?;
        }
        if done.next < from {
            return Err(refused(&self.path, "it is about other seeds"));
        }
        Ok(done)
    }

    /// Writes it down.
    ///
    /// # Errors
    /// The machine's.
    pub fn write(&self, done: &Done) -> io::Result<()> {
        let Done {
            next, played, took, ..
        } = done;
        let sums: String = done.sums.iter().map(|sum| format!(" {sum}")).collect();
        let mut text = format!(
            "{}next {next}\nplayed {played} {}{sums}\n",
            head(&self.build),
            took.as_millis()
        );
        for (seed, why) in &done.failed {
            // Writing to a string does not fail.
            let _ = writeln!(text, "failed {seed} {}", why.replace('\n', " "));
        }
        let other = self.path.with_extension("new");
        std::fs::write(&other, text)?;
        std::fs::rename(&other, &self.path)
    }
}

impl Done {
    fn line(&mut self, line: &str) -> Option<()> {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "next" => self.next = rest.parse().ok()?,
            "played" => {
                let mut numbers = rest.split(' ').map(str::parse);
                self.played = numbers.next()?.ok()?;
                self.took = Duration::from_millis(numbers.next()?.ok()?);
                self.sums = numbers.collect::<Result<_, _>>().ok()?;
            }
            "failed" => {
                let (seed, why) = rest.split_once(' ')?;
                self.failed.push((seed.parse().ok()?, why.to_owned()));
            }
            _ => return None,
        }
        Some(())
    }
}
