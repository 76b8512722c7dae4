//! A tree as the engine's disk, in memory: what a start of the real code finds, and what it does.
//!
//! It can write down every change and sync, so that a crash in the middle of a recovery is derived
//! in the same way as a crash of the recorded process. It must never be kinder than the tree it
//! was made of: it makes nothing, and it forgets nothing.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crashtest_trace::Content;
use wal::disk::{Disk, DiskFile, LockGuard, OpenMode, PendingSync};

use crate::steps::{Placed, Step, Story, Target};
use crate::tree::{Change, Node, Object, Tree};

struct State {
    tree: Tree,
    next: u32,
    locks: Vec<String>,
    /// What was done, if it is wanted.
    done: Option<Vec<Step>>,
    syncs: u64,
}

/// The tree below one directory of a [`Tree`], as a disk. Clones share it.
#[derive(Clone)]
pub struct TreeDisk {
    state: Arc<Mutex<State>>,
    below: String,
}

/// Whether a disk writes down what is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noting {
    /// It does not.
    Off,
    /// It does; see [`TreeDisk::story`].
    On,
}

impl TreeDisk {
    /// The directory `below` of `tree`; made if it is not there, as the real disk makes its root.
    #[must_use]
    pub fn new(mut tree: Tree, below: &str, noting: Noting) -> Self {
        if tree.get(below).is_none() {
            tree.apply(&Change::Link {
                path: below.to_owned(),
                node: Node::Directory,
            });
        }
        let next = tree.objects().map(|object| object.0 + 1).max().unwrap_or(0);
        Self {
            state: Arc::new(Mutex::new(State {
                tree,
                next,
                locks: Vec::new(),
                done: (noting == Noting::On).then(Vec::new),
                syncs: 0,
            })),
            below: below.to_owned(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A caught panic of a check leaves a tree that nobody looks at any more.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self, path: &str) -> String {
        match (self.below.is_empty(), path.is_empty()) {
            (true, _) => path.to_owned(),
            (false, true) => self.below.clone(),
            (false, false) => format!("{}/{path}", self.below),
        }
    }

    /// The tree as it is now.
    #[must_use]
    pub fn tree(&self) -> Tree {
        self.state().tree.clone()
    }

    /// What was done since the beginning, over the tree of then.
    #[must_use]
    pub fn story(&self, before: Tree) -> Story {
        let done = self.state().done.clone().unwrap_or_default();
        let placed = |(record, step)| Placed {
            nanos: 0,
            record,
            step,
        };
        Story {
            before,
            steps: done.into_iter().enumerate().map(placed).collect(),
        }
    }
}

impl State {
    fn change(&mut self, change: Change) {
        self.tree.apply(&change);
        if let Some(done) = &mut self.done {
            done.push(Step::Change(change));
        }
    }

    fn sync(&mut self, target: Target) {
        self.syncs += 1;
        let id = (0, self.syncs);
        if let Some(done) = &mut self.done {
            done.push(Step::SyncBegin { id, target });
            done.push(Step::SyncEnd { id, done: true });
        }
    }

    fn file(&self, path: &str) -> io::Result<Object> {
        match self.tree.get(path) {
            Some(Node::File(object)) => Ok(object),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Disk for TreeDisk {
    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let dir = self.path(dir);
        let state = self.state();
        if state.tree.get(&dir) != Some(Node::Directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state.tree.list(&dir).map(str::to_owned).collect())
    }

    fn open(&self, path: &str, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path(path);
        let mut state = self.state();
        let object = match (state.tree.get(&path), mode) {
            (Some(Node::Directory), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Node::File(_)), OpenMode::CreateNew) => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            (Some(Node::File(object)), _) => object,
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, _) => {
                if state.tree.get(crate::tree::parent(&path)) != Some(Node::Directory) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                let object = Object(state.next);
                state.next += 1;
                let node = Node::File(object);
                state.change(Change::Link { path, node });
                object
            }
        };
        Ok(Arc::new(TreeFile {
            disk: self.clone(),
            object,
        }))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let mut state = self.state();
        state.file(&path)?;
        state.change(Change::Unlink { path });
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from), self.path(to));
        let mut state = self.state();
        state.file(&from)?;
        state.change(Change::Rename { from, to });
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let path = self.path(path);
        let mut state = self.state();
        match state.tree.get(&path) {
            Some(Node::Directory) => Ok(()),
            Some(Node::File(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            None => {
                let node = Node::Directory;
                state.change(Change::Link { path, node });
                Ok(())
            }
        }
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let path = self.path(dir);
        self.state().sync(Target::Directory(path));
        Ok(())
    }

    fn exists(&self, path: &str) -> io::Result<bool> {
        Ok(self.state().tree.get(&self.path(path)).is_some())
    }

    fn available_bytes(&self) -> io::Result<u64> {
        Ok(1 << 40)
    }

    fn lock(&self, path: &str) -> io::Result<Box<dyn LockGuard>> {
        // The real lock makes its file, too.
        drop(self.open(path, OpenMode::Create)?);
        let mut state = self.state();
        if state.locks.iter().any(|held| held == path) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.locks.push(path.to_owned());
        Ok(Box::new(Locked {
            disk: self.clone(),
            path: path.to_owned(),
        }))
    }
}

struct Locked {
    disk: TreeDisk,
    path: String,
}

impl LockGuard for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        self.disk.state().locks.retain(|held| *held != self.path);
    }
}

#[derive(Clone)]
struct TreeFile {
    disk: TreeDisk,
    object: Object,
}

impl DiskFile for TreeFile {
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let image = state.tree.file(self.object);
        Ok(image.map_or(0, |image| image.read(offset, out)))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.disk.state();
        if state.done.is_none() {
            // Nobody wants to know what was written where: this is most of a sweep's work.
            state.tree.file_mut(self.object).write(offset, bytes);
            return Ok(());
        }
        let zeros = bytes.iter().all(|byte| *byte == 0);
        let content = if zeros {
            Content::Zeros(bytes.len() as u64)
        } else {
            Content::Bytes(Arc::from(bytes))
        };
        state.change(Change::Write {
            file: self.object,
            offset,
            content,
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.state().sync(Target::File(self.object));
        Ok(())
    }

    /// The write happens now and the sync when it is waited for, so that each state between them is
    /// one that a crash can find.
    fn start_write(&self, offset: u64, bytes: Arc<Vec<u8>>) -> Box<dyn PendingSync> {
        Box::new(Started {
            written: self.write_at(offset, &bytes),
            file: self.clone(),
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.state().change(Change::SetLength {
            file: self.object,
            length: len,
        });
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state
            .tree
            .file(self.object)
            .map_or(0, |image| image.length()))
    }
}

struct Started {
    written: io::Result<()>,
    file: TreeFile,
}

impl PendingSync for Started {
    fn wait(self: Box<Self>) -> io::Result<()> {
        self.written?;
        self.file.sync_data()
    }
}
