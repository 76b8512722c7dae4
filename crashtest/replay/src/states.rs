//! From a story to the states that a crash could leave: what is durable at each moment, what is
//! not yet, and which of all the fates of the latter are tried.
//!
//! The device is that of the design: what a sync covered stays; of everything else any part may be
//! there, torn at sectors, grown without its bytes, or garbage; names are lost or come back one by
//! one (POSIX, which allows more than ext4 does: ext4 loses them in their order).

use std::collections::{BTreeMap, BTreeSet};

use crashtest_trace::Content;
use wal::{Dice as _, SeededDice};

use crate::steps::{Step, Story, Target};
use crate::tree::{Change, Object, Tree, parent};

/// A sector of old disks, which tear there.
pub const SMALL_SECTOR: u64 = 512;
/// A sector of today's disks, and a page of the cache.
pub const SECTOR: u64 = 4096;
/// Up to so many pending changes all their subsets are tried.
const ALL_SUBSETS_MAX: usize = 6;
/// Where there are more, so many by dice.
const SUBSETS_BY_SEED: u64 = 32;

/// The sort of a state, for the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The process died, the machine lives: everything is there, the last write perhaps in part.
    Kill,
    /// Everything that was not synced is gone.
    LoseAll,
    /// Any subset, where there are few.
    Subset,
    /// The first so many.
    Prefix,
    /// All but one.
    Drop,
    /// One alone.
    Alone,
    /// The newest write torn at 512 bytes.
    Tear512,
    /// The newest write torn at 4 KiB.
    Tear4096,
    /// A file grew and its bytes are zeros.
    SizeFirst,
    /// Names lost, or back again, one by one.
    Names,
    /// The newest write's sectors are garbage.
    Trash,
    /// Everything at once, by dice.
    Random,
    /// A second crash during the recovery from the first.
    Recovery,
}

impl Kind {
    /// All of them.
    const ALL: [Self; 13] = [
        Self::Kill,
        Self::LoseAll,
        Self::Subset,
        Self::Prefix,
        Self::Drop,
        Self::Alone,
        Self::Tear512,
        Self::Tear4096,
        Self::SizeFirst,
        Self::Names,
        Self::Trash,
        Self::Random,
        Self::Recovery,
    ];

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::LoseAll => "lose all",
            Self::Subset => "subset",
            Self::Prefix => "prefix",
            Self::Drop => "drop one",
            Self::Alone => "one alone",
            Self::Tear512 => "tear 512 B",
            Self::Tear4096 => "tear 4 KiB",
            Self::SizeFirst => "size before data",
            Self::Names => "names",
            Self::Trash => "trashed sectors",
            Self::Random => "random",
            Self::Recovery => "crash in recovery",
        }
    }
}

/// What becomes of a change that no sync covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is there.
    Kept,
    /// It is not.
    Lost,
    /// Its first bytes are there.
    First(u64),
    /// All but its first bytes are there.
    AllBut(u64),
    /// Its first bytes are there, and this byte in place of all others.
    Filled {
        /// So many are there.
        cut: u64,
        /// In place of the others.
        byte: u8,
    },
    /// The file is as long as it would be; the bytes are as they were, zeros where none were.
    SizeOnly,
    /// The sectors of this size that it touches are garbage, whole.
    Garbage {
        /// Of a sector.
        bytes: u64,
        /// Of the garbage.
        seed: u64,
    },
    /// Each sector by a coin.
    Sectors {
        /// Of a sector.
        bytes: u64,
        /// Of the coin.
        seed: u64,
        /// Whether a lost one may be garbage.
        garbage: bool,
    },
}

/// A change that no sync has covered.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The step that made it.
    pub step: usize,
    /// What changed.
    pub change: Change,
    /// A sync that should have covered it failed; no later one will.
    abandoned: bool,
}

/// An instant between two steps.
#[derive(Clone)]
pub struct Moment {
    /// How many steps are done.
    pub steps: usize,
    /// How many of them are marks.
    pub marks: usize,
    /// `CLOCK_MONOTONIC` of the last of them.
    pub nanos: u64,
    /// What is sure.
    pub durable: Tree,
    /// What the processes see.
    pub live: Tree,
    /// What is not sure, in order.
    pub pending: Vec<Pending>,
    /// Whether the last step was a change, so that the last one pending is new.
    pub changed: bool,
}

/// What of a story matters for the states that are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Weight {
    /// It may be lost.
    Counts,
    /// It is taken as durable at once: nobody reads it back.
    Sure,
    /// It is left out.
    Absent,
}

/// The instants of a story at which a crash leaves something new: after each change, and at each
/// mark. `weigh` says of each name what it matters.
#[must_use]
pub fn moments(story: &Story, weigh: impl Fn(&str) -> Weight) -> Vec<Moment> {
    let before = story.before.part(|path| weigh(path) != Weight::Absent);
    moments_from(Moment::sure(before), story, weigh)
}

/// The same, of a story that begins at a moment of another one, whose changes may still be pending.
#[must_use]
pub fn moments_from(first: Moment, story: &Story, weigh: impl Fn(&str) -> Weight) -> Vec<Moment> {
    let objects: BTreeMap<Object, Weight> = story
        .names_of()
        .into_iter()
        .map(|(object, names)| {
            // A file that ever had a name that counts, counts: it may get that name back.
            let weight = names.iter().map(|name| weigh(name)).min();
            (object, weight.unwrap_or(Weight::Absent))
        })
        .collect();
    let weight = |change: &Change| match (change.file(), change.name()) {
        (Some(file), _) => objects.get(&file).copied().unwrap_or(Weight::Absent),
        (None, name) => name.map_or(Weight::Counts, &weigh),
    };
    let past = first.steps;
    let mut walk = Walk {
        moment: first,
        syncs: BTreeMap::new(),
    };
    let mut all = Vec::new();
    for (number, placed) in story.steps.iter().enumerate() {
        walk.moment.steps = past + number + 1;
        walk.moment.nanos = placed.nanos;
        if walk.take(past + number, &placed.step, weight) {
            all.push(walk.moment.clone());
        }
    }
    all
}

struct Walk {
    moment: Moment,
    /// Under way: what each covers, and the step of its beginning.
    syncs: BTreeMap<(u32, u64), (Target, usize)>,
}

impl Walk {
    /// Takes a step; whether a crash behind it leaves something new.
    fn take(&mut self, number: usize, step: &Step, weight: impl Fn(&Change) -> Weight) -> bool {
        let moment = &mut self.moment;
        moment.changed = false;
        match step {
            Step::Change(change) => match weight(change) {
                Weight::Absent => false,
                Weight::Sure => {
                    moment.durable.apply(change);
                    moment.live.apply(change);
                    false
                }
                Weight::Counts => {
                    moment.live.apply(change);
                    moment.pending.push(Pending {
                        step: number,
                        change: change.clone(),
                        abandoned: false,
                    });
                    moment.changed = true;
                    true
                }
            },
            Step::SyncBegin { id, target } => {
                self.syncs.insert(*id, (target.clone(), number));
                false
            }
            Step::SyncEnd { id, done } => {
                if let Some((target, begun)) = self.syncs.remove(id) {
                    moment.settle(&target, begun, *done);
                }
                false
            }
            Step::Mark(_) => {
                moment.marks += 1;
                true
            }
            // A sync that its process did not live to see has no end, so it covers nothing.
            Step::Start => false,
        }
    }
}

fn covers(target: &Target, change: &Change) -> bool {
    match target {
        Target::File(object) => change.file() == Some(*object),
        Target::Directory(path) => change.name().is_some_and(|name| parent(name) == path),
    }
}

impl Moment {
    /// Before the first step, when all of a tree is durable.
    #[must_use]
    pub fn sure(tree: Tree) -> Self {
        Self {
            steps: 0,
            marks: 0,
            nanos: 0,
            durable: tree.clone(),
            live: tree,
            pending: Vec::new(),
            changed: false,
        }
    }

    /// A sync that began with a step is over.
    fn settle(&mut self, target: &Target, begun: usize, done: bool) {
        let mut left = Vec::with_capacity(self.pending.len());
        for mut pending in std::mem::take(&mut self.pending) {
            let covered = pending.step < begun && covers(target, &pending.change);
            if covered && done && !pending.abandoned {
                self.durable.apply(&pending.change);
            } else {
                pending.abandoned |= covered && !done;
                left.push(pending);
            }
        }
        self.pending = left;
    }

    /// The tree that these fates leave; what has none is lost.
    #[must_use]
    pub fn tree(&self, fates: &[Fate]) -> Tree {
        let mut tree = self.durable.clone();
        for (pending, fate) in self.pending.iter().zip(fates) {
            befall(&mut tree, &pending.change, *fate);
        }
        tree
    }

    fn all(&self, fate: Fate) -> Vec<Fate> {
        vec![fate; self.pending.len()]
    }

    fn with(&self, others: Fate, place: usize, fate: Fate) -> Vec<Fate> {
        let mut fates = self.all(others);
        if let Some(slot) = fates.get_mut(place) {
            *slot = fate;
        }
        fates
    }

    /// The fates that are tried at this moment, so many of them by dice.
    #[must_use]
    pub fn fates(&self, by_dice: u32, seed: u64) -> Vec<(Kind, Vec<Fate>)> {
        let count = self.pending.len();
        let mut all = vec![
            (Kind::Kill, self.all(Fate::Kept)),
            (Kind::LoseAll, self.all(Fate::Lost)),
        ];
        if count == 0 {
            return all;
        }
        if count <= ALL_SUBSETS_MAX {
            for subset in 1..(1_u32 << count) - 1 {
                let fate = |place| match subset >> place & 1 {
                    1 => Fate::Kept,
                    _ => Fate::Lost,
                };
                all.push((Kind::Subset, (0..count).map(fate).collect()));
            }
        } else {
            for place in 0..count {
                let prefix = |at| if at < place { Fate::Kept } else { Fate::Lost };
                all.push((Kind::Prefix, (0..count).map(prefix).collect()));
                all.push((Kind::Drop, self.with(Fate::Kept, place, Fate::Lost)));
                all.push((Kind::Alone, self.with(Fate::Lost, place, Fate::Kept)));
            }
        }
        if count > ALL_SUBSETS_MAX {
            for number in 0..SUBSETS_BY_SEED {
                let mut dice = SeededDice((self.steps as u64) << 16 | number << 1 | 1);
                let fate = |_| match dice.below(2) {
                    0 => Fate::Kept,
                    _ => Fate::Lost,
                };
                all.push((Kind::Subset, (0..count).map(fate).collect()));
            }
        }
        self.of_names(&mut all);
        // After a change only it is new. At a mark whatever is pending must not matter to what leaves:
        // the newest write is torn and trashed there, too, though it was before.
        let newest = if self.changed {
            count.checked_sub(1)
        } else {
            let write = |pending: &Pending| matches!(pending.change, Change::Write { .. });
            self.pending.iter().rposition(write)
        };
        if let Some(place) = newest {
            self.of_write(place, &mut all);
        }
        for round in 0..by_dice {
            let seed = seed ^ (self.steps as u64) << 32 ^ u64::from(round);
            all.push((Kind::Random, self.random(seed)));
        }
        all
    }

    fn of_names(&self, all: &mut Vec<(Kind, Vec<Fate>)>) {
        let names: Vec<usize> = (0..self.pending.len())
            .filter(|place| {
                let pending = self.pending.get(*place);
                pending.is_some_and(|pending| pending.change.file().is_none())
            })
            .collect();
        let mut none = self.all(Fate::Kept);
        for place in &names {
            if let Some(slot) = none.get_mut(*place) {
                *slot = Fate::Lost;
            }
            all.push((Kind::Names, self.with(Fate::Kept, *place, Fate::Lost)));
        }
        if names.len() > 1 {
            all.push((Kind::Names, none));
        }
    }

    fn of_write(&self, place: usize, all: &mut Vec<(Kind, Vec<Fate>)>) {
        let Some(Change::Write {
            file,
            offset,
            content,
        }) = self.pending.get(place).map(|pending| &pending.change)
        else {
            return;
        };
        let mut both = |kind, fate| {
            all.push((kind, self.with(Fate::Kept, place, fate)));
            all.push((kind, self.with(Fate::Lost, place, fate)));
        };
        let cuts = match content {
            // Zeros over zeros: where they end is only a length.
            Content::Zeros(length) => vec![(Kind::Tear4096, length / 2 / SECTOR * SECTOR)],
            Content::Bytes(bytes) => cuts(*offset, bytes.len() as u64),
        };
        // What was not written of the newest sectors may read as anything, all zeros or all ones too.
        let middle = cuts.get(cuts.len() / 2).into_iter();
        for (_, cut) in cuts.first().into_iter().chain(middle) {
            for byte in [0, 0xff] {
                both(Kind::Trash, Fate::Filled { cut: *cut, byte });
            }
        }
        for (kind, cut) in cuts {
            both(kind, Fate::First(cut));
            both(kind, Fate::AllBut(cut));
            if kind == Kind::Tear4096 {
                // What a kill in the middle of the call leaves.
                both(Kind::Kill, Fate::First(cut));
            }
        }
        let durable = self.durable.file(*file).map_or(0, |image| image.length());
        if offset + content.len() > durable {
            both(Kind::SizeFirst, Fate::SizeOnly);
        }
        for bytes in [SMALL_SECTOR, SECTOR] {
            for seed in 0..2 {
                both(Kind::Trash, Fate::Garbage { bytes, seed });
                let garbage = true;
                let seed = self.steps as u64 * 31 + seed;
                both(
                    Kind::Trash,
                    Fate::Sectors {
                        bytes,
                        seed,
                        garbage,
                    },
                );
            }
        }
    }

    fn random(&self, seed: u64) -> Vec<Fate> {
        let mut dice = SeededDice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let mut fate = |pending: &Pending| {
            let small = dice.next_u64().is_multiple_of(2);
            let bytes = if small { SMALL_SECTOR } else { SECTOR };
            let choices = if pending.change.file().is_some() {
                6
            } else {
                2
            };
            match dice.below(choices) {
                0 => Fate::Kept,
                1 => Fate::Lost,
                2 => Fate::SizeOnly,
                other => Fate::Sectors {
                    bytes,
                    seed: dice.next_u64(),
                    garbage: other == 3,
                },
            }
        };
        self.pending.iter().map(&mut fate).collect()
    }
}

/// Where a write is torn: at each 512 bytes if it has few of them, else at each 4 KiB, and at each
/// 512 bytes of its first, middle and last 4 KiB. Relative to its beginning.
fn cuts(offset: u64, length: u64) -> Vec<(Kind, u64)> {
    let mut found = BTreeSet::new();
    let to_sector = (SMALL_SECTOR - offset % SMALL_SECTOR) % SMALL_SECTOR;
    let small: Vec<u64> = (0..=length / SMALL_SECTOR)
        .map(|number| to_sector + number * SMALL_SECTOR)
        .filter(|cut| *cut > 0 && *cut < length)
        .collect();
    let middle = length / 2;
    let near = |cut: u64, place: u64| cut.abs_diff(place) <= SECTOR;
    for cut in small {
        let whole = (offset + cut).is_multiple_of(SECTOR);
        if whole {
            found.insert((cut, Kind::Tear4096));
        } else if length <= 8 * SMALL_SECTOR
            || near(cut, 0)
            || near(cut, middle)
            || near(cut, length)
        {
            found.insert((cut, Kind::Tear512));
        }
    }
    found.into_iter().map(|(cut, kind)| (kind, cut)).collect()
}

/// Applies a change as far as its fate lets it.
fn befall(tree: &mut Tree, change: &Change, fate: Fate) {
    let (file, offset, content) = match (change, fate) {
        (_, Fate::Lost) => return,
        (_, Fate::Kept) => return tree.apply(change),
        (
            Change::Write {
                file,
                offset,
                content,
            },
            _,
        ) => (*file, *offset, content),
        // A length or a name is there or not.
        _ => return tree.apply(change),
    };
    let length = content.len();
    let image = tree.file_mut(file);
    let mut put = |from: u64, to: u64| {
        if from < to {
            image.put(offset + from, &part(content, from, to));
        }
    };
    match fate {
        Fate::Kept | Fate::Lost => {}
        Fate::First(cut) => put(0, cut.min(length)),
        Fate::AllBut(cut) => put(cut.min(length), length),
        Fate::Filled { cut, byte } => {
            let cut = cut.min(length);
            put(0, cut);
            image.write(offset + cut, &vec![byte; (length - cut) as usize]);
        }
        Fate::SizeOnly => {
            let end = offset + length;
            if image.length() < end {
                image.set_length(end);
            }
        }
        Fate::Garbage { bytes, seed } => {
            let end = image.length().max(offset + length);
            let from = offset / bytes * bytes;
            let to = (offset + length).next_multiple_of(bytes).min(end);
            image.write(from, &garbage(seed, to - from));
        }
        Fate::Sectors {
            bytes,
            seed,
            garbage: may_be_garbage,
        } => {
            let mut dice = SeededDice(seed | 1);
            let mut at = 0;
            while at < length {
                let to = (at + bytes - (offset + at) % bytes).min(length);
                if dice.below(2) == 0 {
                    image.put(offset + at, &part(content, at, to));
                } else if may_be_garbage && dice.below(2) == 0 {
                    image.write(offset + at, &garbage(dice.next_u64(), to - at));
                }
                at = to;
            }
        }
    }
}

fn part(content: &Content, from: u64, to: u64) -> Content {
    match content {
        Content::Zeros(_) => Content::Zeros(to - from),
        Content::Bytes(bytes) => {
            let part = bytes.get(from as usize..to as usize).unwrap_or_default();
            Content::Bytes(part.into())
        }
    }
}

fn garbage(seed: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; length as usize];
    SeededDice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).fill(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests;
