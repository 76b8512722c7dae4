//! How far a sweep has come, on disk, so that another process goes on where this one was stopped.
//!
//! ```text
//! build ID PART                          what the runs are made with, and which of them are this machine's
//! {"plan": ...}                          what the plan was counted from, where each count differs a little
//! {"wall": SECONDS, "cell": {...}}       a finished run, and how long all parts had taken by then
//! ```
//!
//! Lines are only appended, one for each run, when it is finished. What stands behind the last whole line was
//! torn off with its process, and that run is made again. This room must never forget a run that failed,
//! whatever it did later, and never take what was found with another build.
#![expect(
    clippy::disallowed_methods,
    reason = "It writes down how long the sweep has taken."
)]

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// What came of one run of a sweep, in a form that outlives the process.
pub trait Kept: Clone {
    /// Which run. Its words name it: no other of the same sweep has the same.
    type Case: Clone + fmt::Display;

    /// Which run it was.
    fn case(&self) -> Self::Case;

    /// Whether it is one that must never be forgotten.
    fn fails(&self) -> bool;

    /// All of it.
    fn to_value(&self) -> Value;

    /// What [`Kept::to_value`] made; none if it is something else.
    fn of_value(value: &Value) -> Option<Self>;
}

/// Names programs by all of their bytes.
///
/// # Errors
/// One cannot be read.
pub fn build(programs: &[PathBuf]) -> io::Result<String> {
    let mut digest = Sha256::new();
    for program in programs {
        let bytes = std::fs::read(program)?;
        // So that what is moved from the end of one to the start of the next is another build.
        digest.update((bytes.len() as u64).to_le_bytes());
        digest.update(&bytes);
    }
    let digest = digest.finalize();
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.chars().take(16).collect())
}

/// The first line of a file about this build.
#[must_use]
pub fn head(build: &str) -> String {
    format!("build {build}\n")
}

/// What stands behind the first line of such a file.
///
/// # Errors
/// It is about another build.
pub fn behind_head<'a>(path: &Path, text: &'a str, build: &str) -> io::Result<&'a str> {
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    if first.strip_prefix("build ") == Some(build) {
        return Ok(rest);
    }
    Err(refused(
        path,
        &format!(
            "it belongs to another build or to another part of the work (`{first}`, not `build {build}`): what \
             was found there says nothing here; remove it to begin anew"
        ),
    ))
}

/// Such a file is not used, and why.
#[must_use]
pub fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{}: {why}", path.display()))
}

/// The finished runs of a sweep, of all its parts, and the file in which they are kept, if any.
#[derive(Debug)]
pub struct Progress<T> {
    table: Mutex<Table<T>>,
    began: Instant,
    /// What earlier parts took.
    before: Duration,
}

#[derive(Debug)]
struct Table<T> {
    file: Option<File>,
    plan: Option<Value>,
    wall: Duration,
    /// By the words of their cases.
    done: BTreeMap<String, T>,
}

/// What became of the last word about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Counts,
    /// It failed before, and that stays.
    Ignored,
}

impl<T: Kept> Progress<T> {
    /// Of a sweep that nobody will resume.
    #[must_use]
    pub fn unkept() -> Self {
        Self::of(Table::new())
    }

    /// What `path` says, if anything, and everything else is appended to it. Both are of this build.
    ///
    /// # Errors
    /// The machine's; or the file is about another build, or cannot be understood.
    pub fn open(path: &Path, build: &str) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let head = head(build);
        let mut table = Table::new();
        let last = bytes.iter().rposition(|byte| *byte == b'\n');
        let whole = last.map_or(0, |newline| newline + 1);
        if whole == 0 && !head.as_bytes().starts_with(&bytes) {
            return Err(refused(path, "it is no progress of this build"));
        }
        bytes.truncate(whole);
        if whole > 0 {
            let damaged = || refused(path, "it is damaged");
            let text = String::from_utf8(bytes).map_err(|_| damaged())?;
            for line in behind_head(path, &text, build)?.lines() {
                table.line(line).ok_or_else(damaged)?;
            }
        }
        // Whatever was appended behind half a line would be lost with it.
        file.set_len(whole as u64)?;
        if whole == 0 {
            file.write_all(head.as_bytes())?;
            file.sync_data()?;
        }
        table.file = Some(file);
        Ok(Self::of(table))
    }

    /// Kept in a file if there is a path, which is about these programs and this part of their runs.
    ///
    /// # Errors
    /// As [`Progress::open`]; or a program cannot be read.
    pub fn resumed(path: Option<&Path>, programs: &[PathBuf], part: &str) -> io::Result<Self> {
        match path {
            Some(path) => Self::open(path, &format!("{} {part}", build(programs)?)),
            None => Ok(Self::unkept()),
        }
    }

    fn of(table: Table<T>) -> Self {
        Self {
            before: table.wall,
            table: Mutex::new(table),
            began: Instant::now(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table<T>> {
        // Nothing is half done under the lock but a line, and that is torn off.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long all parts have taken.
    #[must_use]
    pub fn wall(&self) -> Duration {
        self.before + self.began.elapsed()
    }

    /// What an earlier part counted its plan from.
    #[must_use]
    pub fn plan(&self) -> Option<Value> {
        self.lock().plan.clone()
    }

    /// Keeps what the plan was counted from, for later parts: so all of them have the same.
    ///
    /// # Errors
    /// The machine's.
    pub fn keep_plan(&self, plan: Value) -> io::Result<()> {
        let mut table = self.lock();
        table.append(&json!({ "plan": plan }))?;
        table.plan = Some(plan);
        Ok(())
    }

    /// Keeps a finished run before it counts; how many there are now.
    ///
    /// # Errors
    /// The machine's.
    pub fn take(&self, one: &T) -> io::Result<usize> {
        let wall = self.wall().as_secs_f64();
        let mut table = self.lock();
        table.append(&json!({"wall": wall, "cell": one.to_value()}))?;
        if table.take(one.clone()) == Word::Ignored {
            let case = one.case();
            eprintln!("{case}: it passes now, and failed in an earlier part: it stays failed");
        }
        Ok(table.done.len())
    }

    /// What is to be done for this plan: what failed is made again first, and what passed is not.
    #[must_use]
    pub fn left_of(&self, plan: &[T::Case]) -> Vec<T::Case> {
        let table = self.lock();
        let failed = table.done.values().filter(|one| one.fails());
        let new = plan.iter();
        let new = new.filter(|case| !table.done.contains_key(&case.to_string()));
        failed.map(Kept::case).chain(new.cloned()).collect()
    }

    /// The plan with what earlier parts have done beyond it, in order.
    #[must_use]
    pub fn with_done(&self, mut plan: Vec<T::Case>) -> Vec<T::Case> {
        let table = self.lock();
        let mut beyond: BTreeMap<&String, &T> = table.done.iter().collect();
        for case in &plan {
            beyond.remove(&case.to_string());
        }
        plan.extend(beyond.into_values().map(Kept::case));
        plan
    }

    /// Every finished run, of all parts.
    #[must_use]
    pub fn all(&self) -> Vec<T> {
        self.lock().done.values().cloned().collect()
    }
}

impl<T: Kept> Table<T> {
    fn new() -> Self {
        Self {
            file: None,
            plan: None,
            wall: Duration::ZERO,
            done: BTreeMap::new(),
        }
    }

    fn append(&mut self, line: &Value) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    }

    fn line(&mut self, line: &str) -> Option<()> {
        let value: Value = serde_json::from_str(line).ok()?;
        if let Some(plan) = value.get("plan") {
            self.plan = Some(plan.clone());
            return Some(());
        }
        let wall = value.get("wall")?.as_f64()?;
        self.wall = self.wall.max(Duration::try_from_secs_f64(wall).ok()?);
        self.take(T::of_value(value.get("cell")?)?);
        Some(())
    }

    /// The last word about a run counts; only a failure is not taken back.
    fn take(&mut self, one: T) -> Word {
        let name = one.case().to_string();
        let failed = self.done.get(&name).is_some_and(T::fails);
        if failed && !one.fails() {
            return Word::Ignored;
        }
        self.done.insert(name, one);
        Word::Counts
    }
}

#[cfg(test)]
mod tests;
