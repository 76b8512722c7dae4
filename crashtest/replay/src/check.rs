//! What a start makes of a state, and whether that explains what had left the process by then.
//!
//! The start is the real one: `Journal::open` of the role, or the relay's store. This room must
//! never know how the engine recovers; it asks for facts through the interfaces that the programs
//! use, and compares them with what the recorded process said that it was sending.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crashtest::notes::OWN_GROUPS;
use crashtest::process::Role;
use journal::ids::Line;
use journal::vault::file::FileVault;
use journal::{Committer, Follower, Journal, JournalError, Session};
use relay::store::{MailboxStore, Quotas};
use wal::disk::RealDisk;
use wal::note::Hex;
use wal::store::{MemStore, RocksStore};
use wal::{Disk, Options, RecoveryReport, SeededDice, Store, Wal, WalError};
use wire::ids::{Digest, SendId, Seq};

use crate::disk::{Noting, TreeDisk};
use crate::image::Hash;
use crate::quiet;
use crate::states::Weight;
use crate::steps::{Placed, Step};
use crate::tree::Tree;

/// Where the parts of a program's state lie beneath its recorded directory.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// The directory that the engine has for itself.
    pub engine: &'static str,
    /// RocksDB's.
    pub view: &'static str,
}

/// The layout of a program's directory.
#[must_use]
pub fn layout(role: Role) -> Layout {
    match role {
        Role::Hub => Layout {
            engine: "journal",
            view: "journal/view",
        },
        Role::App | Role::Relay => Layout {
            engine: "",
            view: "view",
        },
    }
}

/// Which part of a state is crashed and opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All but the view, in memory: the start makes the view anew from checkpoint and log.
    Log,
    /// Everything, as files, with RocksDB.
    Whole,
}

impl Part {
    /// What a name matters to states of this part.
    pub fn weigh(self, role: Role) -> impl Fn(&str) -> Weight {
        let view = layout(role).view;
        move |path| {
            let in_view = path
                .strip_prefix(view)
                .filter(|rest| rest.is_empty() || rest.starts_with('/'));
            match (in_view, self) {
                (None, _) => Weight::Counts,
                (Some(_), Self::Log) => Weight::Absent,
                // RocksDB's own diary is written and never read back.
                (Some(name), Self::Whole) if name.starts_with("/LOG") => Weight::Sure,
                (Some(_), Self::Whole) => Weight::Counts,
            }
        }
    }
}

/// What a start found in one line's books.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineFacts {
    /// The pairing, in hex.
    pub pairing: String,
    /// Where we append, as text.
    pub send: String,
    /// The mailbox that we read, by the name under which it is appended to.
    pub receive: String,
    /// The last number given.
    pub last: u64,
    /// The digest that stands there, if it can be told.
    pub newest: Option<Digest>,
    /// The one that stood there before a statement took its place.
    pub replaced: Option<Digest>,
    /// Everything up to here is acked.
    pub acked: u64,
    /// Read through here.
    pub cursor: u64,
    /// What waits, by number; no digest for what cannot be read.
    pub outbox: BTreeMap<u64, Option<Digest>>,
    /// The epoch of the group.
    pub epoch: Option<u64>,
}

/// What a start found in one mailbox of the relay.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxFacts {
    /// The last envelope ever stored.
    pub last: Option<(u64, Digest)>,
    /// The reader has trimmed through here.
    pub trimmed: u64,
    /// The envelopes that were asked for and are there.
    pub stored: BTreeMap<u64, Digest>,
}

/// Everything that a start found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    /// Of hub or app.
    pub lines: Vec<LineFacts>,
    /// Of the relay.
    pub mailboxes: BTreeMap<String, MailboxFacts>,
    /// The last transaction that it found.
    pub last_lsn: u64,
}

/// What became of a start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It succeeded.
    Opened(Facts),
    /// It refused with a typed error, which says what to do.
    Refused(String),
    /// It panicked, or opened and could not be read.
    Broken(String),
}

/// What the process had said by some moment, so far as a state must explain it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Envelopes handed to QUIC: mailbox, number, each digest that was ever sent under it.
    pub envelopes: BTreeMap<(String, u64), Vec<Digest>>,
    /// What the relay was told to forget, by mailbox.
    pub trims: BTreeMap<String, u64>,
    /// What the relay said to have stored.
    pub receipts: BTreeMap<(String, u64), Digest>,
    /// Clips that the phone's owner was deleting, or had deleted, as the phone names them.
    pub deleting: BTreeSet<String>,
    /// Pairings whose last word was said.
    pub paired: BTreeSet<String>,
    /// The last transaction of a batch whose sync had ended.
    pub durable: u64,
    /// Marks that nobody here understands.
    pub unknown: Vec<String>,
}

impl Told {
    /// What was told by the first so many marks of a story.
    #[must_use]
    pub fn until(steps: &[Placed], marks: usize) -> Self {
        let mut told = Self::default();
        let words = steps.iter().filter_map(|placed| match &placed.step {
            Step::Mark(words) => Some(words),
            _ => None,
        });
        for words in words.take(marks) {
            if told.take(words).is_none() {
                told.unknown.push(words.clone());
            }
        }
        told
    }

    /// Takes one mark.
    pub fn take(&mut self, words: &str) -> Option<()> {
        let mut words = words.split(' ');
        let kind = words.next()?;
        match kind {
            "durable" => {
                self.durable = self.durable.max(words.next()?.parse().ok()?);
                return Some(());
            }
            "deleting" => {
                self.deleting.insert(words.next()?.to_owned());
                return Some(());
            }
            "paired" => {
                self.paired.insert(words.next()?.to_owned());
                return Some(());
            }
            // What was committed for them before is durable: `durable` says so, and is checked here, too.
            "pairing" | "admitted" => return Some(()),
            _ => {}
        }
        let mailbox = words.next()?.to_owned();
        let number: u64 = words.next()?.parse().ok()?;
        let mut digest = || words.next()?.parse::<Digest>().ok();
        match kind {
            "envelope" => {
                let digest = digest()?;
                let sent = self.envelopes.entry((mailbox, number)).or_default();
                if !sent.contains(&digest) {
                    sent.push(digest);
                }
            }
            "receipt" => {
                self.receipts.insert((mailbox, number), digest()?);
            }
            "trim" => {
                let through = self.trims.entry(mailbox).or_default();
                *through = number.max(*through);
            }
            _ => return None,
        }
        Some(())
    }
}

/// One program: how its states are opened, and what must be in them.
pub struct Subject {
    program: Program,
    /// Everything that its whole story tells, to know what to ask the relay's store for.
    asked: BTreeMap<String, BTreeSet<u64>>,
}

/// Which program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Program {
    /// One of ours.
    Own(Role),
    /// Somebody else's: a command opens its states ([`crate::command::ask`]).
    Command(Vec<String>),
}

impl Subject {
    /// A program whose states a command opens, as files.
    #[must_use]
    pub fn command(words: Vec<String>) -> Self {
        Self {
            program: Program::Command(words),
            asked: BTreeMap::new(),
        }
    }

    /// The program of this role, with this story.
    #[must_use]
    pub fn new(role: Role, steps: &[Placed]) -> Self {
        let told = Told::until(steps, usize::MAX);
        let mut asked: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        for (mailbox, number) in told.receipts.keys() {
            asked.entry(mailbox.clone()).or_default().insert(*number);
        }
        Self {
            program: Program::Own(role),
            asked,
        }
    }

    /// The program.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Which of our programs it is.
    #[must_use]
    pub fn role(&self) -> Option<Role> {
        match self.program {
            Program::Own(role) => Some(role),
            Program::Command(_) => None,
        }
    }

    /// Its name, for reports and directories.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.program {
            Program::Own(role) => role.program(),
            Program::Command(_) => "program",
        }
    }

    /// Where its engine lies.
    #[must_use]
    pub fn engine(&self) -> &'static str {
        self.role().map_or("", |role| layout(role).engine)
    }

    /// What a name matters to states of a part.
    #[must_use]
    pub fn weigh(&self, part: Part, path: &str) -> Weight {
        match self.role() {
            Some(role) => part.weigh(role)(path),
            None => Weight::Counts,
        }
    }

    /// Opens a state in memory, without its view.
    #[must_use]
    pub fn open(&self, tree: &Tree, seed: Hash) -> Outcome {
        let disk = TreeDisk::new(tree.clone(), self.engine(), Noting::Off);
        self.open_on(&disk, seed)
    }

    /// The same, twice in a row on one disk: the second start finds what the first one found.
    #[must_use]
    pub fn open_twice(&self, tree: &Tree, seed: Hash) -> Outcome {
        let disk = TreeDisk::new(tree.clone(), self.engine(), Noting::Off);
        let first = self.open_on(&disk, seed);
        let Outcome::Opened(found) = &first else {
            return first;
        };
        match self.open_on(&disk, !seed) {
            Outcome::Opened(again)
                if again.lines == found.lines
                    && again.mailboxes == found.mailboxes
                    && again.last_lsn >= found.last_lsn =>
            {
                first
            }
            other => Outcome::Broken(format!(
                "C7: a second start finds something else: {other:?} after {found:?}"
            )),
        }
    }

    /// The same on a disk that the caller has.
    #[must_use]
    pub fn open_on(&self, disk: &TreeDisk, seed: Hash) -> Outcome {
        self.start(Arc::new(disk.clone()), Box::new(MemStore::new()), seed)
    }

    /// Opens a state as files, with RocksDB.
    ///
    /// # Errors
    /// The machine's.
    pub fn open_files(&self, root: &Path, seed: Hash) -> std::io::Result<Outcome> {
        let view = self.role().map_or("view", |role| layout(role).view);
        let disk = RealDisk::new(root.join(self.engine()))?;
        let store = RocksStore::new(root.join(view));
        Ok(self.start(Arc::new(disk), Box::new(store), seed))
    }

    fn start(&self, disk: Arc<dyn Disk>, store: Box<dyn Store>, seed: Hash) -> Outcome {
        let dice = SeededDice(seed as u64 | 1);
        let started = quiet::caught(|| match self.role() {
            Some(Role::Relay) => self.relay(disk, store, dice),
            Some(role) => journal(role, disk, store, dice),
            None => Outcome::Broken("only its own command can open it".to_owned()),
        });
        started.unwrap_or_else(Outcome::Broken)
    }

    fn relay(&self, disk: Arc<dyn Disk>, store: Box<dyn Store>, dice: SeededDice) -> Outcome {
        let opened = Wal::open(disk, store, Box::new(dice), options()).and_then(|(wal, report)| {
            let store = MailboxStore::new(wal, &report, Quotas::default())?;
            Ok((store, found(&report)))
        });
        let (mut store, last_lsn) = match opened {
            Ok(store) => store,
            Err(error) => return Outcome::Refused(format!("{:?}: {error}", error.kind())),
        };
        match self.relay_facts(&mut store) {
            Ok(mailboxes) => Outcome::Opened(Facts {
                mailboxes,
                last_lsn,
                ..Facts::default()
            }),
            Err(error) => Outcome::Broken(format!("it opened, but: {error}")),
        }
    }

    fn relay_facts(
        &self,
        store: &mut MailboxStore,
    ) -> Result<BTreeMap<String, MailboxFacts>, WalError> {
        let mut all = BTreeMap::new();
        for (name, numbers) in &self.asked {
            let Ok(mailbox) = name.parse::<SendId>() else {
                continue;
            };
            let state = store.send_state(&mailbox)?;
            let mut stored = BTreeMap::new();
            for number in numbers {
                if let Some(envelope) = store.fetch(&mailbox, Seq(*number))? {
                    stored.insert(*number, Digest::of(&envelope));
                }
            }
            let facts = MailboxFacts {
                last: state.last.map(|head| (head.seq.0, head.digest)),
                trimmed: state.trimmed_through.0,
                stored,
            };
            all.insert(name.clone(), facts);
        }
        Ok(all)
    }

    /// What of all that was told these facts do not explain, one sentence each.
    #[must_use]
    pub fn unexplained(&self, facts: &Facts, told: &Told) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        if self.role().is_none() {
            // Its command has seen what was told, and judged.
            return all;
        }
        all.extend(
            told.unknown
                .iter()
                .map(|words| format!("an unknown mark: {words}")),
        );
        if facts.last_lsn < told.durable {
            all.push(format!(
                "C4: a sync through transaction {} had ended, and the start finds {}",
                told.durable, facts.last_lsn
            ));
        }
        for pairing in &told.paired {
            if !facts.lines.iter().any(|line| line.pairing == *pairing) {
                all.push(format!(
                    "C4: the last word of pairing {pairing:.8} was said, and it is not there"
                ));
            }
        }
        for ((mailbox, number), digests) in &told.envelopes {
            let line = facts.lines.iter().find(|line| line.send == *mailbox);
            let why = match line {
                None => Some(("C4", "its line is unknown".to_owned())),
                // Only the newest word stands: a statement may have taken an envelope's place.
                Some(line) => digests
                    .last()
                    .and_then(|digest| missing(line, *number, digest)),
            };
            if let Some((promise, why)) = why {
                all.push(format!(
                    "{promise}: envelope {number} of {mailbox:.8} was sent, and {why}"
                ));
            }
        }
        if self.role() != Some(Role::Relay) {
            for (mailbox, through) in &told.trims {
                let line = facts.lines.iter().find(|line| line.receive == *mailbox);
                let cursor = line.map(|line| line.cursor);
                if cursor.is_none_or(|cursor| cursor < *through) {
                    all.push(format!(
                        "C4: the relay may forget {mailbox:.8} through {through}, and the cursor is {cursor:?}"
                    ));
                }
            }
        }
        for ((mailbox, number), digest) in &told.receipts {
            if let Some(why) = not_stored(facts.mailboxes.get(mailbox), *number, digest) {
                all.push(format!(
                    "C4: a receipt was given for {number} of {mailbox:.8}, and {why}"
                ));
            }
        }
        all
    }
}

/// Why an envelope that was sent is not explained by a line's books, and the promise that this breaks:
/// it was not durable (C4), or its number is given to other bytes (C3).
fn missing(line: &LineFacts, number: u64, digest: &Digest) -> Option<(&'static str, String)> {
    let lost = |why: String| Some(("C4", why));
    let reused = |why: &str| Some(("C3", why.to_owned()));
    if number > line.last {
        return lost(format!("the last one in the books is {}", line.last));
    }
    let other = |stands: &Digest| stands != digest && line.replaced != Some(*digest);
    if number == line.last && line.newest.as_ref().is_some_and(other) {
        return reused("the books have another one under its number");
    }
    if number <= line.acked {
        return None;
    }
    match line.outbox.get(&number) {
        Some(Some(stored)) if stored == digest => None,
        Some(Some(_)) if number == line.last && line.replaced == Some(*digest) => None,
        Some(Some(_)) => reused("the outbox has other bytes under its number"),
        Some(None) => lost("its bytes in the outbox cannot be read".to_owned()),
        None => lost(format!(
            "it is neither in the outbox nor acked (through {})",
            line.acked
        )),
    }
}

fn not_stored(mailbox: Option<&MailboxFacts>, number: u64, digest: &Digest) -> Option<String> {
    let Some(mailbox) = mailbox else {
        return Some("the mailbox is unknown".to_owned());
    };
    match mailbox.last {
        None => return Some("the mailbox is empty".to_owned()),
        Some((last, _)) if last < number => return Some(format!("it ends with {last}")),
        Some((last, other)) if last == number && other != *digest => {
            return Some("another one stands there".to_owned());
        }
        Some(_) => {}
    }
    if number <= mailbox.trimmed || mailbox.stored.get(&number) == Some(digest) {
        return None;
    }
    Some("it is not there".to_owned())
}

fn journal(role: Role, disk: Arc<dyn Disk>, store: Box<dyn Store>, dice: SeededDice) -> Outcome {
    match open_journal(role, disk, store, dice) {
        Ok((mut journal, report)) => match journal_facts(role, &mut journal) {
            Ok(lines) => Outcome::Opened(Facts {
                lines,
                last_lsn: found(&report),
                ..Facts::default()
            }),
            Err(error) => Outcome::Broken(format!("it opened, but: {error}")),
        },
        Err(error) => Outcome::Refused(format!("{:?}: {error}", error.kind())),
    }
}

/// The last transaction that a start found: its own come on top.
fn found(report: &RecoveryReport) -> u64 {
    report.last_lsn.0.saturating_sub(OWN_GROUPS)
}

/// The size of the log files of all recorded programs: so small that a conversation of seconds fills
/// them, and checkpoints, recycled files and trims come into it.
pub const LOG_KIB: u32 = 1024;

/// The sizes with which the recorded programs open their engine.
fn options() -> Options {
    Options {
        log_file_bytes: u64::from(LOG_KIB) << 10,
        ..Options::default()
    }
}

/// Opens a journal as its program does.
///
/// # Errors
/// The journal's own.
pub fn open_journal(
    role: Role,
    disk: Arc<dyn Disk>,
    store: Box<dyn Store>,
    dice: SeededDice,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let vault = FileVault::new(Arc::clone(&disk), "vault");
    let own = if role == Role::Hub {
        journal::Role::Hub
    } else {
        journal::Role::App
    };
    Journal::open(own, disk, store, Box::new(vault), Box::new(dice), options())
}

fn journal_facts(role: Role, journal: &mut Journal) -> Result<Vec<LineFacts>, JournalError> {
    let mut lines = Vec::new();
    let pairings = journal.pairing_ids();
    for line in pairings.into_iter().flat_map(Line::all) {
        let mailboxes = match journal.mailboxes(line) {
            Ok(mailboxes) => mailboxes,
            // A pairing that is not finished has none yet.
            Err(JournalError::NoGroup(_)) => continue,
            Err(error) => return Err(error),
        };
        let head = journal.outbox_head(line)?;
        let books = journal.outbox_books(line)?;
        let epoch = match role {
            Role::Hub => Session::<Committer>::new(line).epoch(&mut journal.begin()),
            _ => Session::<Follower>::new(line).epoch(&mut journal.begin()),
        };
        let epoch = match epoch {
            Ok(epoch) => Some(epoch.0),
            Err(JournalError::NoGroup(_)) => None,
            Err(error) => return Err(error),
        };
        lines.push(LineFacts {
            pairing: Hex(line.pairing.0).to_string(),
            send: mailboxes.send.to_text(),
            receive: mailboxes.receive.send_id().to_text(),
            last: head.last.0,
            newest: books.last_digest,
            replaced: books.replaced_digest,
            acked: head.acked.0,
            cursor: journal.inbox_head(line)?.cursor.0,
            outbox: outbox(journal, line)?,
            epoch,
        });
    }
    Ok(lines)
}

fn outbox(journal: &Journal, line: Line) -> Result<BTreeMap<u64, Option<Digest>>, JournalError> {
    let mut all = BTreeMap::new();
    let mut after = Seq(0);
    loop {
        match journal.outbox_next(line, after) {
            Ok(Some((seq, envelope))) => {
                all.insert(seq.0, Some(envelope.digest()));
                after = seq;
            }
            Ok(None) => return Ok(all),
            Err(JournalError::EnvelopeDamaged { seq, .. }) => {
                all.insert(seq.0, None);
                after = seq;
            }
            Err(error) => return Err(error),
        }
    }
}
