//! The notes that hub, app and relay take for the oracle (`SECLUSO_CRASH_NOTES`), read and judged: C1,
//! C3 to C6, as far as they can be seen only from inside a program.
//!
//! A note was written before its effect (a sync: after it), so what it proves held at that instant,
//! whatever killed the program next. This room must never believe that something is durable because
//! the program believed it: it counts writes and syncs itself, file by file, and what a start does
//! not find again was not durable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use crate::oracle::Broken;
use crate::process::Role;

/// Channel number of the event videos, as the name of a group ends.
const EVENT_VIDEO: &str = "01";
/// Transactions of a start's own: the seal of its copy and the witness of the seal.
pub const OWN_GROUPS: u64 = 2;

/// What one program noted, over all its processes.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    lives: Vec<Life>,
    /// Lines that nobody understands, which nobody may ignore.
    nonsense: Vec<String>,
    /// Of other directories that the same program ran on: another phone of the hub, one that was lost, a hub
    /// before its reset. Each has a journal of its own.
    others: Vec<Notes>,
}

/// From one opening of the journal to the next.
#[derive(Clone, Debug, Default)]
struct Life {
    /// The last transaction that the opening found.
    found: u64,
    /// The last one when it was done, its own included.
    opened: u64,
    notes: Vec<Note>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Note {
    /// Everything through this transaction is handed to whoever writes files, in this order.
    Handed { lsn: u64 },
    /// What was handed over first is written to this file.
    Wrote { file: String },
    /// A sync begins: it covers what was written before.
    Syncing { file: String },
    /// It returned Ok.
    Synced { file: String },
    /// A start writes its own groups, through this transaction; it may be cut off before it opens.
    Seals { lsn: u64 },
    /// What only the replayer judges: that the engine believes everything durable through here (here
    /// writes and syncs are counted), the words of a pairing, and that a device was admitted.
    Replayer,
    /// A row that is true if its transaction is durable.
    Staged { fact: Fact, lsn: u64 },
    /// An envelope goes to the relay.
    Send { at: Slot, digest: String },
    /// A live frame is about to be sealed at this place in the ratchets: it leaves without being stored.
    Live {
        group: String,
        epoch: u64,
        place: String,
    },
    /// The relay is told to forget everything through here.
    Trim { at: Slot },
    /// The relay tells a sender that everything through here is durable.
    Receipt { at: Slot, digest: String },
}

/// A place in a mailbox: its name and a sequence number.
type Slot = (String, u64);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Fact {
    /// An envelope in the outbox.
    Seal { at: Slot, digest: String },
    /// An envelope in a mailbox of the relay.
    Stored { at: Slot, digest: String },
    /// A statement in the place of envelopes.
    Replace { at: Slot, digest: String },
    /// Where the envelope of this number lies in the ratchets: group, epoch, leaf, kind, generation.
    Place { seq: u64, place: String },
    /// The envelope of this number is cover: it lies in no ratchet.
    Cover { seq: u64 },
    /// An envelope was taken: the cursor.
    Take { at: Slot, digest: String },
    /// The envelope of this number says that everything through there is durable here.
    Claim { seq: u64, through: Slot },
    /// The group's stored state is in this epoch.
    Epoch(Epoch),
    /// The outbox has the Commit to it.
    Commit(Epoch),
    /// The cursor is behind the Commit to it.
    Follow(Epoch),
}

/// A group in an epoch, with a digest of its exporter secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Epoch {
    group: String,
    number: u64,
    exporter: String,
}

impl Notes {
    /// Reads the notes of one program; none if there is no file.
    #[must_use]
    pub fn read(file: &Path) -> Self {
        Self::parse(&std::fs::read_to_string(file).unwrap_or_default())
    }

    /// Reads notes.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut notes = Self::default();
        let mut sealing: Option<u64> = None;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            if let ["opened", lsn] = words[..]
                && let Ok(opened) = lsn.parse::<u64>()
            {
                // The writes of the recovery itself belong to the life that it begins.
                let sealed = sealing.take() == Some(opened);
                let own = if sealed { OWN_GROUPS } else { 0 };
                notes.lives.push(Life {
                    found: opened.saturating_sub(own),
                    opened,
                    notes: Vec::new(),
                });
            } else if let Some(note) = Note::parse(&words) {
                if let Note::Seals { lsn } = note {
                    sealing = Some(lsn);
                }
                if let Some(life) = notes.lives.last_mut() {
                    life.notes.push(note);
                }
            } else {
                notes.nonsense.push(line.to_owned());
            }
        }
        notes
    }

    /// The same, and beside it those of another directory that this program ran on.
    #[must_use]
    pub fn beside(mut self, other: Self) -> Self {
        self.others.push(other);
        self
    }

    /// These, and those of the other directories.
    fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// Whether a receipt was given.
    #[must_use]
    pub fn has_receipts(&self) -> bool {
        let mut notes = self.lives.iter().flat_map(|life| &life.notes);
        notes.any(|note| matches!(note, Note::Receipt { .. }))
    }

    /// The exporter digests of the states that became durable: by group and epoch, the last one.
    fn epochs(&self) -> BTreeMap<(&str, u64), &str> {
        let mut all = BTreeMap::new();
        for (index, life) in self.lives.iter().enumerate() {
            let kept = self
                .lives
                .get(index + 1)
                .map_or(u64::MAX, |next| next.found);
            for note in &life.notes {
                if let Note::Staged {
                    fact: Fact::Epoch(epoch),
                    lsn,
                } = note
                    && *lsn <= kept
                {
                    all.insert(
                        (epoch.group.as_str(), epoch.number),
                        epoch.exporter.as_str(),
                    );
                }
            }
        }
        all
    }
}

impl Note {
    fn parse(words: &[&str]) -> Option<Self> {
        let number = |word: &str| word.parse::<u64>().ok();
        let slot = |mailbox: &str, seq: &str| Some((mailbox.to_owned(), number(seq)?));
        let epoch = |group: &str, epoch: &str, exporter: &str| {
            Some(Epoch {
                group: group.to_owned(),
                number: number(epoch)?,
                exporter: exporter.to_owned(),
            })
        };
        let staged = |fact: Fact, lsn: &str| {
            Some(Self::Staged {
                fact,
                lsn: number(lsn)?,
            })
        };
        match *words {
            ["handed", lsn] => Some(Self::Handed { lsn: number(lsn)? }),
            ["wrote", file] => Some(Self::Wrote { file: file.into() }),
            ["syncing", file] => Some(Self::Syncing { file: file.into() }),
            ["synced", file] => Some(Self::Synced { file: file.into() }),
            ["seals", lsn] => Some(Self::Seals { lsn: number(lsn)? }),
            ["durable", lsn] => number(lsn).map(|_| Self::Replayer),
            ["paired" | "pairing", _] | ["admitted"] => Some(Self::Replayer),
            ["envelope", mailbox, seq, digest] => Some(Self::Send {
                at: slot(mailbox, seq)?,
                digest: digest.into(),
            }),
            ["trim", mailbox, seq] => Some(Self::Trim {
                at: slot(mailbox, seq)?,
            }),
            ["receipt", mailbox, seq, digest] => Some(Self::Receipt {
                at: slot(mailbox, seq)?,
                digest: digest.into(),
            }),
            ["stored", mailbox, seq, digest, lsn] => {
                let (at, digest) = (slot(mailbox, seq)?, digest.into());
                staged(Fact::Stored { at, digest }, lsn)
            }
            ["seal", mailbox, seq, digest, lsn] => {
                let (at, digest) = (slot(mailbox, seq)?, digest.into());
                staged(Fact::Seal { at, digest }, lsn)
            }
            ["replace", mailbox, seq, digest, lsn] => {
                let (at, digest) = (slot(mailbox, seq)?, digest.into());
                staged(Fact::Replace { at, digest }, lsn)
            }
            ["place", seq, group, epoch, leaf, kind, generation, lsn] => {
                let place = [group, epoch, leaf, kind, generation].join(" ");
                let seq = number(seq)?;
                staged(Fact::Place { seq, place }, lsn)
            }
            ["live", group, epoch, leaf, kind, generation] => Some(Self::Live {
                group: group.into(),
                epoch: number(epoch)?,
                place: [group, epoch, leaf, kind, generation].join(" "),
            }),
            ["cover", seq, lsn] => {
                let seq = number(seq)?;
                staged(Fact::Cover { seq }, lsn)
            }
            ["take", mailbox, seq, digest, lsn] => {
                let (at, digest) = (slot(mailbox, seq)?, digest.into());
                staged(Fact::Take { at, digest }, lsn)
            }
            ["claim", seq, mailbox, through, lsn] => {
                let (seq, through) = (number(seq)?, slot(mailbox, through)?);
                staged(Fact::Claim { seq, through }, lsn)
            }
            ["epoch", group, n, exporter, lsn] => {
                staged(Fact::Epoch(epoch(group, n, exporter)?), lsn)
            }
            ["commit", group, n, exporter, lsn] => {
                staged(Fact::Commit(epoch(group, n, exporter)?), lsn)
            }
            ["follow", group, n, exporter, lsn] => {
                staged(Fact::Follow(epoch(group, n, exporter)?), lsn)
            }
            _ => None,
        }
    }
}

/// Everything that the notes of both ends show to be broken.
#[must_use]
pub fn judge(hub: &Notes, app: &Notes) -> Vec<Broken> {
    let mut all = Vec::new();
    for (role, notes) in directories(hub, app) {
        nonsense(role, notes, &mut all);
        durable_before_visible(role, notes, &mut all, &mut Vec::new());
        no_reuse(role, notes, &mut all);
        one_transaction(role, notes, &mut all);
    }
    for phone in app.all() {
        same_states(hub, phone, &mut all);
        only_what_was_sealed(Role::App, phone, hub, &mut all);
    }
    for own in hub.all() {
        only_what_was_sealed(Role::Hub, own, app, &mut all);
    }
    all
}

/// Every directory that hub and app ran on.
fn directories<'n>(hub: &'n Notes, app: &'n Notes) -> impl Iterator<Item = (Role, &'n Notes)> {
    let of = |role, notes: &'n Notes| notes.all().map(move |one| (role, one));
    of(Role::Hub, hub).chain(of(Role::App, app))
}

/// Everything that the relay's notes show to be broken: C4 and C5. Its directory is one and the same at
/// every start, that nobody copied, damaged or removed.
#[must_use]
pub fn judge_relay(relay: &Notes) -> Vec<Broken> {
    let (mut all, mut starts) = (Vec::new(), Vec::new());
    nonsense(Role::Relay, relay, &mut all);
    durable_before_visible(Role::Relay, relay, &mut all, &mut starts);
    all.extend(starts);
    all
}

fn nonsense(role: Role, notes: &Notes, all: &mut Vec<Broken>) {
    for line in &notes.nonsense {
        let what = format!("{role} noted what nobody understands: {line}");
        tell(all, "C4", what);
    }
}

/// What starts found that had not been attempted, or did not find though it was synced: of worlds in
/// which every start of a program is one of the same directory, that nobody copied, damaged or removed.
#[must_use]
pub fn judge_starts(hub: &Notes, app: &Notes) -> Vec<Broken> {
    let mut starts = Vec::new();
    for (role, notes) in directories(hub, app) {
        durable_before_visible(role, notes, &mut Vec::new(), &mut starts);
    }
    starts
}

fn tell(all: &mut Vec<Broken>, promise: &'static str, what: String) {
    all.push(Broken { promise, what });
}

/// C6: whatever the network and the relay made of it, nothing changed state here but what the other
/// end, on any of its directories, once sealed under that number.
fn only_what_was_sealed(role: Role, here: &Notes, there: &Notes, all: &mut Vec<Broken>) {
    let facts = |notes: &Notes| -> Vec<Fact> {
        let every = notes.lives.iter().flat_map(|life| &life.notes);
        let staged = every.filter_map(|note| match note {
            Note::Staged { fact, .. } => Some(fact.clone()),
            _ => None,
        });
        staged.collect()
    };
    let sealed: BTreeSet<(Slot, String)> = there
        .all()
        .flat_map(facts)
        .filter_map(|fact| match fact {
            Fact::Seal { at, digest } | Fact::Replace { at, digest } => Some((at, digest)),
            _ => None,
        })
        .collect();
    for fact in facts(here) {
        if let Fact::Take { at, digest } = fact {
            let seq = at.1;
            if !sealed.contains(&(at, digest)) {
                let what = format!("{role} took envelope {seq}, which the other end never sealed");
                tell(all, "C6", what);
            }
        }
    }
}

/// C1: every state that the app ever followed to is the hub's own of that epoch.
fn same_states(hub: &Notes, app: &Notes, all: &mut Vec<Broken>) {
    let hubs: BTreeMap<(&str, u64), &str> = hub.all().flat_map(Notes::epochs).collect();
    for ((group, epoch), exporter) in app.epochs() {
        match hubs.get(&(group, epoch)) {
            Some(own) if *own == exporter => {}
            Some(_) => tell(
                all,
                "C1",
                format!("epoch {epoch} has two exporter secrets: the ends have parted"),
            ),
            None => tell(
                all,
                "C1",
                format!("the app is in epoch {epoch}, which the hub does not know"),
            ),
        }
    }
}

/// C1, at rest: both ends end in this epoch with one exporter secret.
#[must_use]
pub fn judge_rest(hub: &Notes, app: &Notes, epoch: u64) -> Vec<Broken> {
    // The name of a group ends with its channel's number (journal/FORMAT.md, "Keys"): this epoch is the
    // event videos'. A pairing that is past has groups, too, and epochs of the same number.
    let in_epoch = |notes: &Notes| -> BTreeMap<String, String> {
        let epochs = notes.epochs().into_iter();
        let found =
            epochs.filter(|((group, number), _)| *number == epoch && group.ends_with(EVENT_VIDEO));
        found
            .map(|((group, _), exporter)| (group.to_owned(), exporter.to_owned()))
            .collect()
    };
    match (in_epoch(hub), in_epoch(app)) {
        (hub, app) if app.iter().any(|(group, own)| hub.get(group) == Some(own)) => Vec::new(),
        (hub, app) => vec![Broken {
            promise: "C1",
            what: format!("at rest in epoch {epoch} the exporter digests are {hub:?} and {app:?}"),
        }],
    }
}

/// What is durable at an instant of one life, from nothing but writes and syncs.
#[derive(Default)]
struct Shelf<'n> {
    durable: u64,
    handed: VecDeque<u64>,
    /// Written through this transaction, not yet synced, by file.
    written: BTreeMap<&'n str, u64>,
    /// What a sync that has begun covers.
    covered: BTreeMap<&'n str, u64>,
}

impl<'n> Shelf<'n> {
    fn note(&mut self, note: &'n Note) {
        match note {
            Note::Handed { lsn } => self.handed.push_back(*lsn),
            Note::Wrote { file } => {
                if let Some(lsn) = self.handed.pop_front() {
                    self.written.insert(file, lsn);
                }
            }
            Note::Syncing { file } => {
                if let Some(lsn) = self.written.get(file.as_str()) {
                    self.covered.insert(file, *lsn);
                }
            }
            Note::Synced { file } => {
                if let Some(lsn) = self.covered.remove(file.as_str()) {
                    self.durable = self.durable.max(lsn);
                }
            }
            _ => {}
        }
    }
}

/// What a start finds: C4 if it is less than what had been synced, C5 if it is more than was attempted.
fn between(role: Role, found: u64, (least, most): (u64, u64), all: &mut Vec<Broken>) {
    if found < least {
        let what = format!("{role} synced through transaction {least}, and a start found {found}");
        tell(all, "C4", what);
    }
    if found > most {
        let what = format!("{role} wrote through transaction {most}, and a start found {found}");
        tell(all, "C5", what);
    }
}

/// C4: what left the process was durable in that instant, and the next start finds it.
fn durable_before_visible(
    role: Role,
    notes: &Notes,
    all: &mut Vec<Broken>,
    starts: &mut Vec<Broken>,
) {
    // What a start finds again, and by which transaction.
    let mut sealed: BTreeMap<(&Slot, &str), u64> = BTreeMap::new();
    let mut taken: BTreeMap<&Slot, u64> = BTreeMap::new();
    let mut claims: BTreeMap<(u64, u64), &Slot> = BTreeMap::new();
    let mut commits: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    // What was shown to others in the life before, and by which transaction it was explained.
    let mut shown: Vec<(u64, String)> = Vec::new();
    // State >= last durable, <= last attempted: what is known to have been synced until then, and the
    // last that was ever handed to whoever writes.
    let (mut least, mut most) = (0, u64::MAX);
    for life in &notes.lives {
        let found = life.found;
        between(role, found, (least, most), starts);
        for (lsn, what) in shown.drain(..).filter(|(lsn, _)| *lsn > found) {
            tell(
                all,
                "C4",
                format!("{role} {what} (transaction {lsn}); its next start found {found} only"),
            );
        }
        sealed.retain(|_, lsn| *lsn <= found);
        taken.retain(|_, lsn| *lsn <= found);
        commits.retain(|_, lsn| *lsn <= found);
        most = life.opened;
        let mut shelf = Shelf {
            durable: life.opened,
            ..Shelf::default()
        };
        for note in &life.notes {
            shelf.note(note);
            match note {
                Note::Handed { lsn } => most = most.max(*lsn),
                // The next start, which may be cut off before it opens.
                Note::Seals { lsn } => {
                    let found = lsn.saturating_sub(OWN_GROUPS);
                    between(role, found, (shelf.durable, most), starts);
                    most = most.max(*lsn);
                }
                _ => {}
            }
            let mut show = |what: String, lsn: Option<u64>| match lsn {
                Some(lsn) if lsn <= shelf.durable => shown.push((lsn, what)),
                Some(lsn) => {
                    let durable = shelf.durable;
                    let facts = format!("transaction {lsn}, durable was {durable}");
                    tell(all, "C4", format!("{role} {what} too early: {facts}"));
                    shown.push((lsn, what));
                }
                None => tell(all, "C4", format!("{role} {what}, which nothing explains")),
            };
            match note {
                Note::Staged { fact, lsn } => match fact {
                    Fact::Seal { at, digest }
                    | Fact::Replace { at, digest }
                    | Fact::Stored { at, digest } => {
                        sealed.insert((at, digest), *lsn);
                    }
                    Fact::Take { at, .. } => drop(taken.insert(at, *lsn)),
                    Fact::Claim { seq, through } => drop(claims.insert((*seq, *lsn), through)),
                    Fact::Commit(epoch) => {
                        commits.insert((epoch.group.as_str(), epoch.number), *lsn);
                    }
                    _ => {}
                },
                Note::Send { at, digest } => {
                    let lsn = sealed.get(&(at, digest.as_str())).copied();
                    show(format!("sent envelope {}", at.1), lsn);
                    let claim = lsn.and_then(|lsn| claims.get(&(at.1, lsn)));
                    if let Some(through) = claim {
                        let lsn = taken.get(through).copied();
                        show(format!("acked through {}", through.1), lsn);
                    }
                }
                // It leaves from memory, but in no epoch that a crash could take back.
                Note::Live { group, epoch, .. } => {
                    let lsn = commits.get(&(group.as_str(), *epoch)).copied();
                    show(format!("sealed a live frame in epoch {epoch}"), lsn);
                }
                Note::Receipt { at, digest } => {
                    let lsn = sealed.get(&(at, digest.as_str())).copied();
                    show(format!("gave a receipt through {}", at.1), lsn);
                }
                Note::Trim { at } if at.1 > 0 => {
                    let lsn = taken.get(at).copied();
                    show(format!("let the relay forget through {}", at.1), lsn);
                }
                _ => {}
            }
        }
        least = shelf.durable;
    }
}

/// C3: under one number, and at one place in the ratchets, one ciphertext was ever sent.
fn no_reuse(role: Role, notes: &Notes, all: &mut Vec<Broken>) {
    let mut by_slot: BTreeMap<&Slot, BTreeSet<&str>> = BTreeMap::new();
    let mut by_place: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut statements: BTreeSet<&str> = BTreeSet::new();
    let mut covers: BTreeSet<&str> = BTreeSet::new();
    let mut places: BTreeMap<&str, &str> = BTreeMap::new();
    let mut frames: BTreeMap<&str, u64> = BTreeMap::new();
    // A place stands right before its envelope's seal, in the same transaction: a heartbeat has
    // envelopes of five lines under one number in it.
    let mut last: Option<(u64, u64, &str)> = None;
    let mut cover: Option<(u64, u64)> = None;
    for note in notes.lives.iter().flat_map(|life| &life.notes) {
        match note {
            Note::Staged { fact, lsn } => match fact {
                Fact::Place { seq, place } => last = Some((*seq, *lsn, place)),
                Fact::Cover { seq } => cover = Some((*seq, *lsn)),
                Fact::Seal { at, digest } => {
                    if cover.take() == Some((at.1, *lsn)) {
                        covers.insert(digest);
                    }
                    let of_it = last
                        .take()
                        .filter(|(seq, of, _)| (*seq, *of) == (at.1, *lsn));
                    places.extend(of_it.map(|(_, _, place)| (digest.as_str(), place)));
                }
                Fact::Replace { digest, .. } => drop(statements.insert(digest)),
                _ => {}
            },
            Note::Send { at, digest } if !statements.contains(digest.as_str()) => {
                by_slot.entry(at).or_default().insert(digest);
            }
            Note::Live { place, .. } => *frames.entry(place).or_default() += 1,
            _ => {}
        }
    }
    for (at, sent) in &by_slot {
        if sent.len() > 1 {
            let count = sent.len();
            let what = format!("{role} sent {count} ciphertexts as envelope {}", at.1);
            tell(all, "C3", what);
        }
        // There is nothing in a cover that a second one could be compared with.
        for digest in sent.iter().filter(|digest| !covers.contains(*digest)) {
            match places.get(digest) {
                Some(place) => drop(by_place.entry(place).or_default().insert(digest)),
                None => tell(
                    all,
                    "C3",
                    format!(
                        "{role} sent envelope {}, whose place in the ratchets is unknown",
                        at.1
                    ),
                ),
            }
        }
    }
    for (place, count) in frames {
        if count > 1 || by_place.contains_key(place) {
            let what = format!(
                "{role} sealed {count} live frames, and what else it sent, at (group, epoch, leaf, kind, generation) {place}"
            );
            tell(all, "C3", what);
        }
    }
    for (place, sent) in by_place {
        if sent.len() > 1 {
            let what = format!(
                "{role} sent {} ciphertexts of (group, epoch, leaf, kind, generation) {place}",
                sent.len()
            );
            tell(all, "C3", what);
        }
    }
}

/// C5: a group's new state and what the other end, or we, must have with it are in one transaction.
fn one_transaction(role: Role, notes: &Notes, all: &mut Vec<Broken>) {
    let staged = notes.lives.iter().enumerate().flat_map(|(life, notes)| {
        let staged = notes.notes.iter().filter_map(|note| match note {
            Note::Staged { fact, lsn } => Some((fact, *lsn)),
            _ => None,
        });
        staged.map(move |(fact, lsn)| (life, lsn, fact))
    });
    let staged: Vec<(usize, u64, &Fact)> = staged.collect();
    let mut groups: BTreeMap<(usize, u64), Vec<&Fact>> = BTreeMap::new();
    for (life, lsn, fact) in &staged {
        groups.entry((*life, *lsn)).or_default().push(fact);
    }
    for (life, lsn, fact) in staged {
        let with = groups.get(&(life, lsn)).map_or(&[][..], Vec::as_slice);
        let whole = match (fact, role) {
            (Fact::Epoch(epoch), Role::Hub) => with
                .iter()
                .any(|other| matches!(other, Fact::Commit(commit) if commit == epoch)),
            (Fact::Epoch(epoch), _) => {
                let followed = |other: &&Fact| matches!(other, Fact::Follow(f) if f == epoch);
                with.iter().any(followed) && with.iter().any(|o| matches!(o, Fact::Take { .. }))
            }
            (Fact::Commit(epoch) | Fact::Follow(epoch), _) => with
                .iter()
                .any(|other| matches!(other, Fact::Epoch(state) if state == epoch)),
            _ => true,
        };
        if !whole {
            let what = format!("{role} split a step: transaction {lsn} has {fact:?} alone");
            tell(all, "C5", what);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
