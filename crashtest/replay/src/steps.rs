//! From a trace to steps over a tree: which object a descriptor's inode was at that moment.
//!
//! Inode numbers are used again as soon as a file is gone, names move: this is where both end.

use std::collections::BTreeMap;

use crashtest_trace::{Content, Event, Record};

use crate::tree::{Change, Inodes, Node, Object, Tree};

/// What is synced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The bytes and the length of a file.
    File(Object),
    /// The names in a directory.
    Directory(String),
}

/// One step of a recorded program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Something changed.
    Change(Change),
    /// A sync was called.
    SyncBegin {
        /// Names it: process and frame.
        id: (u32, u64),
        /// What it covers.
        target: Target,
    },
    /// It returned.
    SyncEnd {
        /// Which one.
        id: (u32, u64),
        /// Whether it succeeded. If not, what it should have covered may be lost for ever.
        done: bool,
    },
    /// Something is about to leave the process.
    Mark(String),
    /// A process began.
    Start,
}

/// A step, and where it comes from.
#[derive(Clone, Debug)]
pub struct Placed {
    /// `CLOCK_MONOTONIC`, in nanoseconds.
    pub nanos: u64,
    /// Number of the record in the trace, from 0.
    pub record: usize,
    /// The step.
    pub step: Step,
}

/// A recorded program: how its directory was before, and what it did.
#[derive(Clone)]
pub struct Story {
    /// Before the first step. All of it is durable.
    pub before: Tree,
    /// In order.
    pub steps: Vec<Placed>,
}

/// Why a trace tells no story.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoryError {
    /// A file that nobody opened.
    #[error(
        "record {record} is about inode {inode}, which the trace does not introduce; record from the program's first start on, or give the directory as it was before"
    )]
    Unknown {
        /// Which record.
        record: usize,
        /// The inode.
        inode: u64,
    },
    /// A store that no recorder sees.
    #[error(
        "record {record}: a file is mapped shared and writable; its stores cannot be seen, so no state of it can be derived"
    )]
    Mapped {
        /// Which record.
        record: usize,
    },
}

/// Reads a story out of a trace.
///
/// # Errors
/// The trace is about files that it does not introduce, or says that it is not complete.
pub fn story(before: Tree, inodes: Inodes, records: &[Record]) -> Result<Story, StoryError> {
    let mut teller = Teller {
        live: before.clone(),
        next: inodes
            .files
            .values()
            .map(|file| file.0 + 1)
            .max()
            .unwrap_or(0),
        inodes,
        steps: Vec::new(),
    };
    for (number, record) in records.iter().enumerate() {
        teller.take(number, record)?;
    }
    Ok(Story {
        before,
        steps: teller.steps,
    })
}

struct Teller {
    live: Tree,
    inodes: Inodes,
    next: u32,
    steps: Vec<Placed>,
}

impl Teller {
    fn file(&self, record: usize, inode: u64) -> Result<Object, StoryError> {
        let known = self.inodes.files.get(&inode).copied();
        known.ok_or(StoryError::Unknown { record, inode })
    }

    fn take(&mut self, number: usize, record: &Record) -> Result<(), StoryError> {
        let step = match &record.event {
            Event::Start { .. } => Step::Start,
            Event::Open {
                file,
                path,
                created,
                directory,
                ..
            } => return self.open(number, record, (*file, path, *created, *directory)),
            Event::Write {
                file,
                offset,
                content,
            } => Step::Change(Change::Write {
                file: self.file(number, *file)?,
                offset: *offset,
                content: content.clone(),
            }),
            Event::SetLen { file, length } => Step::Change(Change::SetLength {
                file: self.file(number, *file)?,
                length: *length,
            }),
            Event::Allocate {
                file,
                offset,
                length,
                keep_size,
                punch_hole,
            } => {
                let file = self.file(number, *file)?;
                let is = self.live.file(file).map_or(0, |image| image.length());
                let end = offset.saturating_add(*length);
                if *punch_hole {
                    let there = is.min(end).saturating_sub(*offset);
                    Step::Change(Change::Write {
                        file,
                        offset: *offset,
                        content: Content::Zeros(there),
                    })
                } else if !keep_size && end > is {
                    Step::Change(Change::SetLength { file, length: end })
                } else {
                    return Ok(());
                }
            }
            Event::Rename { from, to } => Step::Change(Change::Rename {
                from: from.clone(),
                to: to.clone(),
            }),
            Event::Link { file, path } => Step::Change(Change::Link {
                path: path.clone(),
                node: Node::File(self.file(number, *file)?),
            }),
            Event::Unlink { path } | Event::RemoveDir { path } => {
                Step::Change(Change::Unlink { path: path.clone() })
            }
            Event::MakeDir { file, path } => {
                self.inodes.directories.insert(*file, path.clone());
                Step::Change(Change::Link {
                    path: path.clone(),
                    node: Node::Directory,
                })
            }
            Event::SyncBegin { file, .. } => Step::SyncBegin {
                id: (record.process, record.seq),
                target: match self.inodes.directories.get(file) {
                    Some(path) => Target::Directory(path.clone()),
                    None => Target::File(self.file(number, *file)?),
                },
            },
            Event::SyncEnd { begin, errno, .. } => Step::SyncEnd {
                id: (record.process, *begin),
                done: *errno == 0,
            },
            Event::Mark { text } => Step::Mark(text.trim_end().to_owned()),
            Event::Mapped { .. } => return Err(StoryError::Mapped { record: number }),
            Event::RangeSync { .. } | Event::Send { .. } | Event::Fault { .. } => return Ok(()),
        };
        self.put(number, record, step);
        Ok(())
    }

    fn open(
        &mut self,
        number: usize,
        record: &Record,
        (inode, path, created, directory): (u64, &str, bool, bool),
    ) -> Result<(), StoryError> {
        if directory {
            self.inodes.files.remove(&inode);
            self.inodes.directories.insert(inode, path.to_owned());
            return Ok(());
        }
        if !created {
            let known = self.inodes.files.contains_key(&inode);
            if self.inodes.by_name
                && !known
                && let Some(Node::File(object)) = self.live.get(path)
            {
                self.inodes.files.insert(inode, object);
            }
            return self.file(number, inode).map(drop);
        }
        let object = Object(self.next);
        self.next += 1;
        self.inodes.directories.remove(&inode);
        self.inodes.files.insert(inode, object);
        let link = Change::Link {
            path: path.to_owned(),
            node: Node::File(object),
        };
        self.put(number, record, Step::Change(link));
        Ok(())
    }

    fn put(&mut self, number: usize, record: &Record, step: Step) {
        if let Step::Change(change) = &step {
            self.live.apply(change);
        }
        self.steps.push(Placed {
            nanos: record.nanos,
            record: number,
            step,
        });
    }
}

impl Story {
    /// The tree after all steps, as a program reads it.
    #[must_use]
    pub fn after(&self) -> Tree {
        let mut tree = self.before.clone();
        for placed in &self.steps {
            if let Step::Change(change) = &placed.step {
                tree.apply(change);
            }
        }
        tree
    }

    /// The names that each object ever had.
    #[must_use]
    pub fn names_of(&self) -> BTreeMap<Object, Vec<String>> {
        let mut names: BTreeMap<Object, Vec<String>> = BTreeMap::new();
        let mut live = self.before.clone();
        let mut note = |tree: &Tree, path: &str| {
            if let Some(Node::File(object)) = tree.get(path) {
                names.entry(object).or_default().push(path.to_owned());
            }
        };
        for (path, _) in self.before.names() {
            note(&self.before, path);
        }
        for placed in &self.steps {
            if let Step::Change(change) = &placed.step {
                live.apply(change);
                if let Some(path) = change.name() {
                    note(&live, path);
                }
            }
        }
        names
    }
}
