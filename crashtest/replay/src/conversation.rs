//! The conversation that is recorded for the tiers, and recordings on disk.
//!
//! ```text
//! DIRECTORY/
//!   secluso-hub.iotrace     the trace; one for each program
//!   secluso-relay.before/   what its directory held before the trace, if anything
//!   secluso-relay.inodes    a line `inode path` for each file and directory in it
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use crashtest::process::Role;
use crashtest::system::Setup;
use crashtest::trouble::{Outcome, Trouble};

use crate::check::{LOG_KIB, Outcome as Start, Part, Subject};
use crate::recording::Recording;
use crate::states::Weight;
use crate::steps::{Story, story};
use crate::tree::{Inodes, Node, Tree};

/// What a recording is for: log files that fill up, checkpoints, files used again, trims, a deleted clip, a
/// heartbeat that is said and answered, a command that is given and done, copies that a hub retains until the ack.
const MUST_PASS: [(Role, &[&str]); 3] = [
    (
        Role::Hub,
        &[
            "wal.file.created",
            "wal.checkpoint.after_confirm",
            "wal.recycle.before_trim",
            "journal.heal.staged",
            "hub.command.staged",
            "journal.retain.added",
            "journal.retain.released",
        ],
    ),
    (
        Role::App,
        &[
            "wal.file.created",
            "wal.checkpoint.after_confirm",
            "wal.recycle.before_trim",
            "app.delete.staged",
            "app.heartbeat.staged",
            "app.order.staged",
            "app.command.staged",
        ],
    ),
    (
        Role::Relay,
        &[
            "wal.file.created",
            "wal.checkpoint.after_confirm",
            "wal.recycle.before_trim",
            "relay.trim.before_stage",
        ],
    ),
];

/// How much is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// A pairing, events, and every program started again: some seconds.
    Gate,
    /// So many events between restarts: enough for checkpoints and used files.
    Events(usize),
}

/// What each program did.
pub struct Stories {
    all: BTreeMap<Role, Story>,
}

impl Stories {
    /// What a program did; nothing if it was not recorded.
    #[must_use]
    pub fn of(&self, role: Role) -> &Story {
        static NOTHING: std::sync::OnceLock<Story> = std::sync::OnceLock::new();
        self.all.get(&role).unwrap_or_else(|| {
            NOTHING.get_or_init(|| Story {
                before: Tree::default(),
                steps: Vec::new(),
            })
        })
    }

    /// The other end of hub and app.
    #[must_use]
    pub fn peer(&self, role: Role) -> Option<(Role, &Story)> {
        let other = match role {
            Role::Hub => Role::App,
            Role::App => Role::Hub,
            Role::Relay => return None,
        };
        Some((other, self.of(other)))
    }
}

/// Records a conversation of all three programs.
///
/// # Errors
/// A program failed or is not built, or a trace does not rebuild its directory.
pub fn record(length: Length) -> Outcome<Stories> {
    let mut recording = converse(length)?;
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let story = recording.story(role)?;
        let (real, _) =
            Tree::read(&recording.root(role)).map_err(Trouble::machine("a directory"))?;
        if let Some(difference) = story.after().difference(&real) {
            return Err(Trouble::Broken(format!(
                "the trace of {role} does not rebuild its directory: {difference}"
            )));
        }
        opens(role, &story)?;
        all.insert(role, story);
    }
    // Last, for it opens the directories, which writes to them.
    recording.system_mut().finish()?;
    Ok(Stories { all })
}

/// What a clean stop left must open, or no state is worth deriving.
fn opens(role: Role, story: &Story) -> Outcome<()> {
    let subject = Subject::new(role, &story.steps);
    let left = story
        .after()
        .part(|path| subject.weigh(Part::Log, path) != Weight::Absent);
    match subject.open(&left, 1) {
        Start::Opened(_) => Ok(()),
        Start::Refused(why) | Start::Broken(why) => Err(Trouble::Broken(format!(
            "what {role} left when it was stopped does not open ({why}). If the program was built \
             from other sources than this one, build both again: cargo build --workspace --exclude \
             bench --lib --bins --examples --locked"
        ))),
    }
}

/// How each conversation begins: a hub and a phone that are paired, and run.
///
/// # Errors
/// A program failed or is not built.
pub fn begin() -> Outcome<Recording> {
    let mut recording = Recording::new(Setup {
        passes: 0,
        gap_seconds: 0.6,
        log_kib: Some(LOG_KIB),
        // Copies that are made and released come into it, too.
        hub_log_mib: 8,
        hub_extra: "\n[privacy]\nretain = \"until-acked\"\n".into(),
        ..Setup::default()
    })?;
    recording.pair()?;
    recording.start(Role::App)?;
    recording.start(Role::Hub)?;
    Ok(recording)
}

/// The conversation; everything has stopped.
///
/// # Errors
/// A program failed or is not built.
pub fn converse(length: Length) -> Outcome<Recording> {
    let events = match length {
        Length::Gate => 2,
        Length::Events(events) => events,
    };
    let mut recording = begin()?;
    recording.play(events)?;
    // Each one is started again in the middle of an event, while the others go on.
    for role in [Role::Relay, Role::App, Role::Hub] {
        recording.into_an_event()?;
        recording.stop(role)?;
        if role == Role::App {
            recording.delete_a_clip()?;
            recording.order(&["privacy", "off"])?;
        }
        recording.start(role)?;
        recording.play(events)?;
    }
    for role in [Role::Hub, Role::App, Role::Relay] {
        recording.stop(role)?;
    }
    for (role, points) in MUST_PASS {
        let passed = recording.passed(role)?;
        let missing = points.iter().filter(|point| !passed.contains(**point));
        let missing: Vec<&&str> = missing.collect();
        if !missing.is_empty() {
            return Err(Trouble::Broken(format!(
                "the recording of {role} never passes {missing:?}, so no state of it would be tried"
            )));
        }
    }
    Ok(recording)
}

/// Writes a recording into a directory.
///
/// # Errors
/// The machine.
pub fn save(recording: &Recording, place: &Path) -> Outcome<()> {
    let machine = || Trouble::machine("writing a recording");
    std::fs::create_dir_all(place).map_err(machine())?;
    for role in Role::ALL {
        let name = |kind: &str| place.join(format!("{role}.{kind}"));
        std::fs::copy(recording.trace(role), name("iotrace")).map_err(machine())?;
        let (before, inodes) = recording.before(role);
        if before.names().next().is_none() {
            continue;
        }
        before.write(&name("before")).map_err(machine())?;
        let paths: BTreeMap<_, _> = before
            .names()
            .filter_map(|(path, node)| match node {
                Node::File(object) => Some((object, path)),
                Node::Directory => None,
            })
            .collect();
        let files = inodes
            .files
            .iter()
            .filter_map(|(inode, object)| Some((*inode, *paths.get(object)?)));
        let directories = inodes
            .directories
            .iter()
            .map(|(inode, path)| (*inode, path.as_str()));
        let lines: String = files
            .chain(directories)
            .map(|(inode, path)| format!("{inode} {path}\n"))
            .collect();
        std::fs::write(name("inodes"), lines).map_err(machine())?;
    }
    Ok(())
}

/// Reads a recording of a directory. Programs of which there is no trace did nothing.
///
/// # Errors
/// The machine, or what is there is no recording.
pub fn load(place: &Path) -> Outcome<Stories> {
    let mut all = BTreeMap::new();
    for role in Role::ALL {
        let name = |kind: &str| place.join(format!("{role}.{kind}"));
        let Ok(bytes) = std::fs::read(name("iotrace")) else {
            continue;
        };
        let (records, error) = crashtest_trace::read(&bytes);
        if let Some(error) = error {
            return Err(Trouble::Broken(format!("the trace of {role}: {error}")));
        }
        let (before, inodes) = if name("before").is_dir() {
            let (tree, _) = Tree::read(&name("before")).map_err(Trouble::machine("a recording"))?;
            let lines = std::fs::read_to_string(name("inodes"))
                .map_err(Trouble::machine("a recording's inodes"))?;
            let inodes = inodes_of(&tree, &lines);
            (tree, inodes)
        } else {
            (Tree::default(), Inodes::default())
        };
        let story = story(before, inodes, &records)
            .map_err(|error| Trouble::Broken(format!("the trace of {role}: {error}")))?;
        opens(role, &story)?;
        all.insert(role, story);
    }
    if all.is_empty() {
        return Err(Trouble::Broken(format!(
            "{} holds no recording; make one: crashtest-replay record {}",
            place.display(),
            place.display()
        )));
    }
    Ok(Stories { all })
}

fn inodes_of(tree: &Tree, lines: &str) -> Inodes {
    let mut inodes = Inodes::default();
    for line in lines.lines() {
        let Some((inode, path)) = line.split_once(' ') else {
            continue;
        };
        let Ok(inode) = inode.parse() else { continue };
        match tree.get(path) {
            Some(Node::File(object)) => {
                inodes.files.insert(inode, object);
            }
            Some(Node::Directory) => {
                inodes.directories.insert(inode, path.to_owned());
            }
            None => {}
        }
    }
    inodes
}
