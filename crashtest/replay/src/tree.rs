//! A directory tree in memory, as one instant leaves it: names, and what they stand for.
//!
//! A name stands for an object, not for bytes, because names can be lost or come back while the
//! bytes of their file are another matter.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::image::{Hash, Image, hash_of};

/// A file, whatever its names are. Numbers are never used twice, other than those of inodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object(pub u32);

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// A file.
    File(Object),
    /// A directory; what is in it has names of its own.
    Directory,
}

/// One change of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Bytes of a file.
    Write {
        /// Which file.
        file: Object,
        /// Where.
        offset: u64,
        /// What.
        content: crashtest_trace::Content,
    },
    /// The length of a file.
    SetLength {
        /// Which file.
        file: Object,
        /// In bytes.
        length: u64,
    },
    /// A name begins to stand for something, in the place of what it stood for.
    Link {
        /// The name.
        path: String,
        /// What it stands for.
        node: Node,
    },
    /// A name stands for nothing more.
    Unlink {
        /// The name.
        path: String,
    },
    /// A name takes the place of another: both or neither, in one directory.
    Rename {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
}

impl Change {
    /// The file whose bytes or length it changes.
    #[must_use]
    pub fn file(&self) -> Option<Object> {
        match self {
            Self::Write { file, .. } | Self::SetLength { file, .. } => Some(*file),
            _ => None,
        }
    }

    /// The name that it changes, the new one for a rename.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Link { path, .. } | Self::Unlink { path } | Self::Rename { to: path, .. } => {
                Some(path)
            }
            _ => None,
        }
    }
}

/// The directory of a path; the root's is the root.
#[must_use]
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Names and files.
#[derive(Clone, Default)]
pub struct Tree {
    names: BTreeMap<String, Node>,
    files: BTreeMap<Object, Image>,
}

impl Tree {
    /// Applies one change. One that names what is not there has no effect, as after the loss of
    /// what it builds on.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Write {
                file,
                offset,
                content,
            } => self.files.entry(*file).or_default().put(*offset, content),
            Change::SetLength { file, length } => {
                self.files.entry(*file).or_default().set_length(*length);
            }
            Change::Link { path, node } => {
                self.names.insert(path.clone(), *node);
            }
            Change::Unlink { path } => {
                self.names.remove(path);
            }
            Change::Rename { from, to } => {
                if let Some(node) = self.names.remove(from) {
                    self.names.insert(to.clone(), node);
                }
            }
        }
    }

    /// The bytes of a file, to change them; made if they are not there.
    pub fn file_mut(&mut self, file: Object) -> &mut Image {
        self.files.entry(file).or_default()
    }

    /// The bytes of a file; none if nothing was ever written.
    #[must_use]
    pub fn file(&self, file: Object) -> Option<&Image> {
        self.files.get(&file)
    }

    /// All objects that have bytes or a name.
    pub fn objects(&self) -> impl Iterator<Item = Object> {
        let named = self.names.values().filter_map(|node| match node {
            Node::File(object) => Some(*object),
            Node::Directory => None,
        });
        self.files.keys().copied().chain(named)
    }

    /// What a name stands for. A name in a directory that is not there stands for nothing.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<Node> {
        if path.is_empty() {
            return Some(Node::Directory);
        }
        let node = self.names.get(path).copied()?;
        match self.get(parent(path))? {
            Node::Directory => Some(node),
            Node::File(_) => None,
        }
    }

    /// All names that can be reached, with what they stand for.
    pub fn names(&self) -> impl Iterator<Item = (&str, Node)> {
        self.names
            .keys()
            .filter_map(|path| Some((path.as_str(), self.get(path)?)))
    }

    /// The names in a directory, without it.
    pub fn list<'a>(&'a self, directory: &'a str) -> impl Iterator<Item = &'a str> {
        self.names
            .keys()
            .filter(move |path| parent(path) == directory)
            .map(|path| path.rsplit('/').next().unwrap_or(path))
    }

    /// The part of the tree whose names `wanted` accepts, and the files that they stand for.
    #[must_use]
    pub fn part(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let names: BTreeMap<String, Node> = self
            .names
            .iter()
            .filter(|(path, _)| wanted(path))
            .map(|(path, node)| (path.clone(), *node))
            .collect();
        let objects: BTreeSet<Object> = names
            .values()
            .filter_map(|node| match node {
                Node::File(object) => Some(*object),
                Node::Directory => None,
            })
            .collect();
        let files = self.files.iter();
        Self {
            names,
            files: files
                .filter(|(object, _)| objects.contains(object))
                .map(|(object, image)| (*object, image.clone()))
                .collect(),
        }
    }

    /// The same for the same names and bytes.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let mut sum: Hash = 0;
        for (path, node) in self.names() {
            let content = match node {
                Node::Directory => [0; 17],
                Node::File(object) => {
                    let hash = self.files.get(&object).map_or(0, Image::hash);
                    let mut content = [1; 17];
                    if let Some(place) = content.get_mut(1..) {
                        place.copy_from_slice(&hash.to_le_bytes());
                    }
                    content
                }
            };
            sum = sum.wrapping_add(hash_of(&[path.as_bytes(), &content]));
        }
        sum
    }

    /// Reads a directory of the operating system. Also gives the inode of each object, and where
    /// each directory is.
    ///
    /// # Errors
    /// The machine's.
    pub fn read(root: &Path) -> io::Result<(Self, Inodes)> {
        let mut tree = Self::default();
        let mut inodes = Inodes::default();
        tree.read_directory(root, "", &mut inodes)?;
        Ok((tree, inodes))
    }

    fn read_directory(&mut self, at: &Path, path: &str, inodes: &mut Inodes) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt as _;

        inodes
            .directories
            .insert(std::fs::metadata(at)?.ino(), path.to_owned());
        for entry in std::fs::read_dir(at)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                self.names.insert(path.clone(), Node::Directory);
                self.read_directory(&entry.path(), &path, inodes)?;
            } else if metadata.is_file() {
                let object = Object(self.files.len() as u32);
                self.files
                    .insert(object, Image::of(&std::fs::read(entry.path())?));
                self.names.insert(path, Node::File(object));
                inodes.files.insert(metadata.ino(), object);
            }
        }
        Ok(())
    }

    /// Writes the tree into an empty directory of the operating system.
    ///
    /// # Errors
    /// The machine's.
    pub fn write(&self, root: &Path) -> io::Result<()> {
        use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

        std::fs::create_dir_all(root)?;
        // A program that keeps secrets refuses a directory that others may read.
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o700))?;
        for (path, node) in self.names() {
            match node {
                // In order of names, so a directory comes before what is in it.
                Node::Directory => std::fs::create_dir(root.join(path))?,
                Node::File(object) => {
                    let file = std::fs::File::create(root.join(path))?;
                    if let Some(image) = self.files.get(&object) {
                        file.set_len(image.length())?;
                        for (offset, bytes) in image.pages() {
                            let left = (image.length() - offset).min(bytes.len() as u64);
                            let bytes = bytes.get(..left as usize).unwrap_or_default();
                            file.write_all_at(bytes, offset)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The first difference between two trees, in words.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let ours: BTreeMap<&str, Node> = self.names().collect();
        let theirs: BTreeMap<&str, Node> = other.names().collect();
        for path in ours.keys().chain(theirs.keys()) {
            let bytes = |tree: &Self, node: Option<&Node>| match node {
                Some(Node::File(object)) => Some(tree.file(*object).cloned().unwrap_or_default()),
                _ => None,
            };
            let (one, two) = (ours.get(path), theirs.get(path));
            let (left, right) = (bytes(self, one), bytes(other, two));
            if one.is_some() != two.is_some() || left.is_some() != right.is_some() {
                return Some(format!("{path}: {one:?} and {two:?}"));
            }
            let (left, right) = (left.unwrap_or_default(), right.unwrap_or_default());
            if left.hash() != right.hash() {
                let (left, right) = (left.to_vec(), right.to_vec());
                let at = left.iter().zip(&right).position(|(a, b)| a != b);
                return Some(format!(
                    "{path}: {} and {} bytes, different from {at:?} on",
                    left.len(),
                    right.len()
                ));
            }
        }
        None
    }
}

/// Which inode numbers the objects and directories of a tree that was read have.
#[derive(Clone, Debug, Default)]
pub struct Inodes {
    /// Files.
    pub files: BTreeMap<u64, Object>,
    /// Directories and their paths.
    pub directories: BTreeMap<u64, String>,
    /// Whether a file with another number may be the one that has its name: of a copy.
    pub by_name: bool,
}
