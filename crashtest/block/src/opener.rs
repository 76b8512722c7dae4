//! One state: shown by the drive, mounted by the kernel, opened by the recovery that a start runs,
//! taken down again.
//!
//! The file system's own recovery and ours are both the real ones. This room finds out what they make
//! of a state; it must never judge it.
#![expect(
    clippy::disallowed_methods,
    reason = "A start that takes too long is stuck (promise C7), which only a clock can tell."
)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::check::{Outcome as Start, Subject};
use crashtest_replay::image::{Hash, Image};
use crashtest_replay::tree::Tree;

use crate::epochs::Walk;
use crate::log::Log;
use crate::mounts::{Attempt, Mounted, repair};
use crate::serve::Server;
use crate::states::State;

/// How a state was mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mount {
    /// By the kernel alone, as it should be.
    Plain,
    /// Only after `e2fsck`; with the kernel's words before.
    Repaired(String),
    /// Not at all.
    Never(String),
}

/// Whether the directory is read before the start changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is not.
    No,
    /// It is: somebody wants to talk with it.
    Inside,
}

/// What became of a state.
#[derive(Clone)]
pub struct Opened {
    /// Of the file system.
    pub mount: Mount,
    /// Of the start; none if nothing was mounted.
    pub start: Option<Arc<Start>>,
    /// The directory before the start, if it was wanted.
    pub tree: Option<Tree>,
    /// How long the start took.
    pub took: Duration,
}

/// Opens states of one log.
pub struct Opener<'a> {
    log: &'a Log,
    subject: &'a Subject,
    server: Mutex<Server>,
    home: PathBuf,
}

/// Who opens: one thread.
pub struct Hand<'a> {
    number: usize,
    states: u64,
    walk: Walk<'a>,
}

impl<'a> Opener<'a> {
    /// An opener of this log's states, with a drive that has the same log.
    #[must_use]
    pub fn new(log: &'a Log, subject: &'a Subject, server: Server, home: PathBuf) -> Self {
        Self {
            log,
            subject,
            server: Mutex::new(server),
            home,
        }
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &'a Log {
        self.log
    }

    /// What is opened.
    #[must_use]
    pub fn subject(&self) -> &'a Subject {
        self.subject
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        // A thread that panicked has said so; a half-read answer shows as nonsense.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread that opens. Each has another number.
    #[must_use]
    pub fn hand(&self, number: usize) -> Hand<'a> {
        Hand {
            number,
            states: 0,
            walk: Walk::new(self.log, None),
        }
    }

    /// The disk of a state.
    #[must_use]
    pub fn image(&self, hand: &mut Hand<'a>, state: &State) -> Image {
        if !hand.walk.can_go_to(state.crash) {
            hand.walk = Walk::new(self.log, state.crash.ignored);
        }
        state.image(self.log, &mut hand.walk)
    }

    /// Shows, mounts, opens and takes down a state; `hash` is that of its disk.
    ///
    /// # Errors
    /// The harness's.
    pub fn open(
        &self,
        hand: &mut Hand<'a>,
        state: &State,
        hash: Hash,
        look: Look,
    ) -> Outcome<Opened> {
        hand.states += 1;
        let name = format!("{}-{}", hand.number, hand.states);
        let (file, shown) = {
            let mut server = self.server();
            let shown = server.show(&name, state)?;
            (server.path(&name), shown)
        };
        if shown != hash {
            return Err(Trouble::Broken(format!(
                "the drive means another disk by {state}"
            )));
        }
        let place = self.home.join(format!("mount-{}", hand.number));
        let (mount, mounted) = match Mounted::ext4(&file, &place)? {
            Attempt::Mounted(mounted) => (Mount::Plain, Some(mounted)),
            Attempt::Refused(said) => {
                let again = match repair(&file)? {
                    true => Mounted::ext4(&file, &place)?,
                    false => Attempt::Refused(said.clone()),
                };
                match again {
                    Attempt::Mounted(mounted) => (Mount::Repaired(said), Some(mounted)),
                    Attempt::Refused(_) => (Mount::Never(said), None),
                }
            }
        };
        let mut opened = Opened {
            mount,
            start: None,
            tree: None,
            took: Duration::ZERO,
        };
        if let Some(mounted) = mounted {
            if look == Look::Inside {
                let read = Tree::read(mounted.place());
                opened.tree = read.ok().map(|(tree, _)| tree);
            }
            let begun = Instant::now();
            let start = self.subject.open_files(mounted.place(), hash);
            opened.took = begun.elapsed();
            // What the file system gives in the place of a file is an outcome, not trouble.
            let start = start.unwrap_or_else(|error| Start::Broken(error.to_string()));
            opened.start = Some(Arc::new(start));
            mounted.unmount()?;
        }
        if self.server().hide(&name)? == 0 {
            return Err(Trouble::Broken(format!("nobody read the disk of {state}")));
        }
        Ok(opened)
    }
}
