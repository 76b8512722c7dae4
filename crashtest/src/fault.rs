//! How an operation on a file can fail, and what the recorder is told to make one fail.
//!
//! This room knows the words of `SECLUSO_RECORD_FAULT` and of the trace; it runs nothing.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crashtest_trace::{Event, TraceError};
use serde_json::{Value, json};

/// Operations after which room is found again on a disk that was full.
const FULL_OPERATIONS: u64 = 60;
/// A full disk is begun at every so many operations.
const FULL_STRIDE: u64 = 8;
/// The recorder's file name.
const LIBRARY: &str = "libcrashtest_record.so";

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// EIO, once.
    Eio,
    /// ENOSPC, once, for whatever operation.
    Enospc,
    /// A write takes half of its bytes.
    Short,
    /// A sync fails once, what it should have covered is gone, and later syncs succeed.
    Lost,
    /// The disk is full for a while.
    Full,
    /// A read fails with EIO, once.
    Read,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Eio,
        Self::Enospc,
        Self::Short,
        Self::Lost,
        Self::Full,
        Self::Read,
    ];

    /// Most operations need no room, so that many a number meets nothing.
    #[must_use]
    pub fn is_rare(self) -> bool {
        self == Self::Full
    }

    /// Of the operations that can meet it, each so many-th is tried by whoever tries all.
    #[must_use]
    pub fn stride(self) -> u64 {
        match self {
            Self::Full => FULL_STRIDE,
            _ => 1,
        }
    }

    /// What the recorder is told, so that the `number`-th operation meets it; from 1.
    #[must_use]
    pub fn plan(self, number: u64) -> String {
        match self {
            Self::Eio => format!("any:{number}:EIO"),
            Self::Enospc => format!("any:{number}:ENOSPC"),
            Self::Short => format!("write:{number}:SHORT"),
            Self::Lost => format!("sync:{number}:LOST"),
            Self::Read => format!("read:{number}:EIO"),
            Self::Full => format!("any:{number}-{}:FULL", number + FULL_OPERATIONS),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eio => "EIO",
            Self::Enospc => "ENOSPC",
            Self::Short => "short write",
            Self::Lost => "lost sync",
            Self::Full => "full for a while",
            Self::Read => "EIO on a read",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    /// From its words.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| format!("no error is called `{text}`"))
    }
}

/// The operations of a process, counted in a run in which none failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    any: u64,
    writes: u64,
    syncs: u64,
    reads: u64,
}

impl Operations {
    /// Adds what [`met`] says of a run that was told to count (`any:1+:NOTHING`, `read:1+:NOTHING`).
    pub fn add(&mut self, counted: &[String]) {
        for operation in counted {
            match operation.split(' ').next() {
                Some("Read") => self.reads += 1,
                sort => {
                    self.any += 1;
                    self.writes += u64::from(sort == Some("Write"));
                    self.syncs += u64::from(sort == Some("Sync"));
                }
            }
        }
    }

    /// How many of them can meet this error.
    #[must_use]
    pub fn of(self, kind: Kind) -> u64 {
        match kind {
            Kind::Eio | Kind::Enospc | Kind::Full => self.any,
            Kind::Short => self.writes,
            Kind::Lost => self.syncs,
            Kind::Read => self.reads,
        }
    }

    /// For a file of progress, whose plan is made of them.
    #[must_use]
    pub fn to_value(self) -> Value {
        json!({"any": self.any, "writes": self.writes, "syncs": self.syncs, "reads": self.reads})
    }

    /// What [`Operations::to_value`] made; none if it is something else.
    #[must_use]
    pub fn of_value(value: &Value) -> Option<Self> {
        let number = |key: &str| value.get(key)?.as_u64();
        Some(Self {
            any: number("any")?,
            writes: number("writes")?,
            syncs: number("syncs")?,
            reads: number("reads")?,
        })
    }
}

/// The operations of a trace that were made to fail, in order, and why the trace could not be read to its
/// end: a process that was killed leaves half a frame.
#[must_use]
pub fn met(trace: &[u8]) -> (Vec<String>, Option<TraceError>) {
    let (records, unread) = crashtest_trace::read(trace);
    let what = records.into_iter().filter_map(|record| match record.event {
        Event::Fault { what } => Some(what),
        _ => None,
    });
    (what.collect(), unread)
}

/// The recorder, which is built beside `program`.
///
/// # Errors
/// It is not there; the text says what to run.
pub fn library(program: &Path) -> Result<PathBuf, String> {
    let library = program.with_file_name(LIBRARY);
    match library.is_file() {
        true => Ok(library),
        false => Err(format!(
            "{} is missing; build it first: cargo build --package crashtest-record --locked",
            library.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_words_come_back_as_they_were() {
        let mut operations = Operations::default();
        let words = [
            "Write EIO",
            "Write EIO",
            "Sync EIO",
            "Rename EIO",
            "Read EIO",
        ];
        operations.add(&words.map(str::to_owned));
        assert_eq!(operations.of(Kind::Eio), 4);
        assert_eq!(
            Operations::of_value(&operations.to_value()),
            Some(operations)
        );
        assert_eq!(Operations::of_value(&json!({"any": 1})), None);
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse::<Kind>(), Ok(kind));
        }
        assert!("EIEIO".parse::<Kind>().is_err());
    }
}
