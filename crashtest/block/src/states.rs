//! The states of an epoch: which of its writes are on the disk, whole or in part.
//!
//! Every subset where there are few writes; of many, the corners and a sample by dice, and always
//! some writes that were cut off. This room is arithmetic: it never looks at what is written, and
//! the same seed gives the same states.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crashtest_replay::image::Image;

use crate::epochs::{Crash, Epoch, Walk};
use crate::log::{Log, SECTOR_BYTES};

/// Up to so many writes, every subset of them is a state.
pub const WRITES_ALL_SUBSETS: usize = 12;
/// Subsets by dice of an epoch that has more.
const SUBSETS_BY_DICE: usize = 256;
/// States of one kind (prefixes, one alone, one missing) of an epoch that has more; spread evenly.
const CORNERS_MAX: usize = 96;
/// Up to so many blocks in all writes of an epoch, every subset of the blocks is a state as well.
const BLOCKS_ALL_SUBSETS: usize = 8;
/// Subsets of blocks by dice of an epoch that has more.
const BLOCKS_BY_DICE: usize = 16;
/// Writes of one epoch that are cut off.
const TORN_WRITES_MAX: usize = 3;
/// Places at which one write is cut, for each unit.
const CUTS_MAX: usize = 3;
/// What a file system takes for indivisible, mistakenly or not.
const BLOCK_BYTES: u64 = 4096;

/// A sort of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing of the epoch is there.
    LoseAll,
    /// All of it is.
    All,
    /// The first so many writes are.
    Prefix,
    /// One is missing.
    DropOne,
    /// One is there.
    Alone,
    /// Any other subset.
    Subset,
    /// A subset by dice.
    Random,
    /// Any subset of the blocks of 4 KiB of all writes.
    Blocks,
    /// One write is there in part, cut between two blocks of 4 KiB.
    Tear4096,
    /// Likewise between two sectors of 512 bytes.
    Tear512,
}

impl Kind {
    /// For reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LoseAll => "lose all",
            Self::All => "all",
            Self::Prefix => "prefix",
            Self::DropOne => "drop one",
            Self::Alone => "one alone",
            Self::Subset => "other subset",
            Self::Random => "subset by dice",
            Self::Blocks => "subset of blocks",
            Self::Tear4096 => "tear 4 KiB",
            Self::Tear512 => "tear 512 B",
        }
    }
}

/// A write that is there, or the part of it between two of its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// The record of the log.
    pub record: usize,
    /// None for all of it.
    pub part: Option<(u64, u64)>,
}

/// What the power left: what was durable at an instant, and some of what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// The instant.
    pub crash: Crash,
    /// What of the pending is there, in order.
    pub pieces: Vec<Piece>,
}

impl State {
    /// The disk, given a walk that can go to this instant.
    #[must_use]
    pub fn image(&self, log: &Log, walk: &mut Walk<'_>) -> Image {
        walk.go_to(self.crash.at);
        let mut image = walk.base().clone();
        for piece in &self.pieces {
            log.put(&mut image, piece.record, piece.part);
        }
        image
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.crash.at)?;
        match self.crash.ignored {
            Some((first, last)) => write!(f, "{first}-{last}")?,
            None => write!(f, "-")?,
        }
        for piece in &self.pieces {
            write!(f, " {}", piece.record)?;
            if let Some((from, to)) = piece.part {
                write!(f, ":{from}-{to}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for State {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text:.60}` is no state");
        let mut words = text.split(' ');
        let mut word = || words.next().ok_or_else(wrong);
        let number = |word: &str| word.parse::<u64>().map_err(|_| wrong());
        let at = number(word()?)?;
        let ignored = match word()? {
            "-" => None,
            flushes => {
                let (first, last) = flushes.split_once('-').ok_or_else(wrong)?;
                Some((number(first)? as usize, number(last)? as usize))
            }
        };
        let mut pieces = Vec::new();
        for word in words {
            let (record, part) = match word.split_once(':') {
                None => (word, None),
                Some((record, part)) => {
                    let (from, to) = part.split_once('-').ok_or_else(wrong)?;
                    (record, Some((number(from)?, number(to)?)))
                }
            };
            pieces.push(Piece {
                record: number(record)? as usize,
                part,
            });
        }
        Ok(Self {
            crash: Crash { at, ignored },
            pieces,
        })
    }
}

/// Dice that always fall the same (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound.max(1) as u64) as usize
    }
}

/// Which states of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Nothing, everything, each write alone and each one missing: those in which a mistake shows
    /// most often.
    Corners,
    /// All others that are wanted.
    Rest,
}

/// Collects subsets, each once, under the first name that it gets.
struct Subsets<'a> {
    epoch: &'a Epoch,
    all: Vec<(Kind, State)>,
    known: BTreeSet<Vec<usize>>,
}

impl Subsets<'_> {
    /// Adds the subset with the writes at these places of the epoch's list.
    fn add(&mut self, kind: Kind, places: impl IntoIterator<Item = usize>) {
        let places: Vec<usize> = places.into_iter().collect();
        if self.known.contains(&places) {
            return;
        }
        let records = places
            .iter()
            .filter_map(|place| self.epoch.pending.get(*place));
        let whole = |record: &usize| Piece {
            record: *record,
            part: None,
        };
        let state = State {
            crash: self.epoch.crash,
            pieces: records.map(whole).collect(),
        };
        self.all.push((kind, state));
        self.known.insert(places);
    }
}

/// The states of an epoch.
#[must_use]
pub fn states(log: &Log, epoch: &Epoch, depth: Depth, seed: u64) -> Vec<(Kind, State)> {
    let count = epoch.pending.len();
    let mut subsets = Subsets {
        epoch,
        all: Vec::new(),
        known: BTreeSet::new(),
    };
    let spread = (0..count).step_by(count.div_ceil(CORNERS_MAX).max(1));
    subsets.add(Kind::LoseAll, []);
    subsets.add(Kind::All, 0..count);
    for place in spread.clone() {
        subsets.add(Kind::Alone, [place]);
        subsets.add(Kind::DropOne, (0..count).filter(|other| *other != place));
    }
    if depth == Depth::Corners {
        return subsets.all;
    }
    // The corners are another depth's.
    subsets.all.clear();
    for length in spread {
        subsets.add(Kind::Prefix, 0..length);
    }
    let mut dice = Dice(seed ^ epoch.crash.at.wrapping_mul(0x5851_f42d_4c95_7f2d));
    if count <= WRITES_ALL_SUBSETS {
        for mask in 0..1_u32 << count {
            subsets.add(
                Kind::Subset,
                (0..count).filter(|place| mask >> place & 1 == 1),
            );
        }
    } else {
        for _ in 0..SUBSETS_BY_DICE {
            let chosen: Vec<usize> = (0..count).filter(|_| dice.roll() & 1 == 1).collect();
            subsets.add(Kind::Random, chosen);
        }
    }
    subsets.all.extend(blocks(log, epoch, &mut dice));
    subsets.all.extend(torn(log, epoch, &mut dice));
    subsets.all
}

fn length(log: &Log, record: usize) -> u64 {
    let record = log.records.get(record);
    record.map_or(0, |record| record.act.length())
}

/// A drive that stores blocks stores those of one write in any order, too.
fn blocks(log: &Log, epoch: &Epoch, dice: &mut Dice) -> Vec<(Kind, State)> {
    let blocks_of = |record: &usize| length(log, *record).div_ceil(BLOCK_BYTES);
    let count: u64 = epoch.pending.iter().map(blocks_of).sum();
    let count = count as usize;
    if count <= epoch.pending.len() {
        // Each write is one block: its subsets are known.
        return Vec::new();
    }
    let all = count <= BLOCKS_ALL_SUBSETS;
    let many = if all { 1 << count } else { BLOCKS_BY_DICE };
    let subset = |mask: usize| {
        let mut place = 0;
        let mut there = || {
            place += 1;
            if all {
                mask >> (place - 1) & 1 == 1
            } else {
                dice.roll() & 1 == 1
            }
        };
        let mut pieces: Vec<Piece> = Vec::new();
        for record in &epoch.pending {
            let length = length(log, *record);
            for from in (0..length).step_by(BLOCK_BYTES as usize) {
                let to = (from + BLOCK_BYTES).min(length);
                if !there() {
                    continue;
                }
                match pieces.last_mut() {
                    Some(Piece {
                        record: last,
                        part: Some((_, end)),
                    }) if last == record && *end == from => *end = to,
                    _ => pieces.push(Piece {
                        record: *record,
                        part: Some((from, to)),
                    }),
                }
            }
        }
        let state = State {
            crash: epoch.crash,
            pieces,
        };
        (Kind::Blocks, state)
    };
    (0..many).map(subset).collect()
}

/// Some writes cut off: the first or the second part there, all others there or lost.
fn torn(log: &Log, epoch: &Epoch, dice: &mut Dice) -> Vec<(Kind, State)> {
    let mut all = Vec::new();
    for (kind, unit) in [(Kind::Tear4096, BLOCK_BYTES), (Kind::Tear512, SECTOR_BYTES)] {
        let length = |record: usize| length(log, record);
        let long = epoch.pending.iter().copied();
        let mut long: Vec<usize> = long.filter(|record| length(*record) > unit).collect();
        while long.len() > TORN_WRITES_MAX {
            long.remove(dice.below(long.len()));
        }
        for record in long {
            let units = length(record).div_ceil(unit) as usize;
            for _ in 0..CUTS_MAX.min(units - 1) {
                let cut = (1 + dice.below(units - 1)) as u64 * unit;
                let part = if dice.roll() & 1 == 0 {
                    (0, cut)
                } else {
                    (cut, length(record))
                };
                let others = dice.roll() & 1 == 0;
                let pieces = epoch
                    .pending
                    .iter()
                    .filter(|other| others || **other == record);
                let piece = |other: &usize| Piece {
                    record: *other,
                    part: (*other == record).then_some(part),
                };
                let state = State {
                    crash: epoch.crash,
                    pieces: pieces.map(piece).collect(),
                };
                all.push((kind, state));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epochs::epochs;
    use crate::log::tests::log_of;

    fn log_with(writes: u64) -> Log {
        let all: Vec<(u64, u8, u64, u64)> = (0..writes)
            .map(|number| (number, number as u8 + 1, 2 * number + 1, 2 * number + 2))
            .collect();
        log_of(&all, &[(1_000, 1_001)])
    }

    fn all_of(log: &Log, seed: u64) -> Vec<(Kind, State)> {
        let epoch = &epochs(log)[0];
        let mut all = states(log, epoch, Depth::Corners, seed);
        all.extend(states(log, epoch, Depth::Rest, seed));
        all
    }

    #[test]
    fn few_writes_have_every_subset_once() {
        for writes in 0..=6 {
            let log = log_with(writes);
            let whole =
                |(_, state): &(Kind, State)| state.pieces.iter().all(|piece| piece.part.is_none());
            let all = all_of(&log, 1);
            let subsets: Vec<Vec<Piece>> = all
                .iter()
                .filter(|state| whole(state))
                .map(|(_, state)| state.pieces.clone())
                .collect();
            let different: BTreeSet<Vec<Piece>> = subsets.iter().cloned().collect();
            assert_eq!(different.len(), 1 << writes, "{writes} writes");
            assert_eq!(subsets.len(), different.len(), "{writes} writes");
        }
        let log = log_with(12);
        let whole = all_of(&log, 1).into_iter();
        let whole = whole
            .filter(|(kind, _)| !matches!(kind, Kind::Blocks | Kind::Tear4096 | Kind::Tear512));
        assert_eq!(whole.count(), 4096);
    }

    #[test]
    fn many_writes_have_their_corners_and_a_sample() {
        let log = log_with(40);
        let all = all_of(&log, 1);
        let count = |wanted: Kind| all.iter().filter(|(kind, _)| *kind == wanted).count();
        assert_eq!((count(Kind::LoseAll), count(Kind::All)), (1, 1));
        assert_eq!((count(Kind::Alone), count(Kind::DropOne)), (40, 40));
        // Those of none and of one write are corners already; that of 39 lacks only the last.
        assert_eq!(count(Kind::Prefix), 37);
        assert_eq!(count(Kind::Random), SUBSETS_BY_DICE);
        assert_eq!(all_of(&log, 1), all);
        assert_ne!(all_of(&log, 2), all);
    }

    #[test]
    fn each_subset_leaves_another_disk() {
        let log = log_with(5);
        let mut hashes = BTreeSet::new();
        for (kind, state) in all_of(&log, 1) {
            if !matches!(kind, Kind::Blocks | Kind::Tear4096 | Kind::Tear512) {
                let mut walk = Walk::new(&log, None);
                assert!(
                    hashes.insert(state.image(&log, &mut walk).hash()),
                    "{state}"
                );
            }
        }
        assert_eq!(hashes.len(), 32);
    }

    #[test]
    fn long_writes_are_cut_between_units() {
        let mut log = log_with(2);
        if let crate::log::Act::Write { offset, bytes } = &mut log.records[1].act {
            *offset = 8 * 4096;
            bytes.resize(3 * 4096, 9);
        }
        let all = all_of(&log, 1);
        let mut seen = BTreeSet::new();
        let torn = |kind: &Kind| matches!(kind, Kind::Tear4096 | Kind::Tear512);
        for (kind, state) in all.iter().filter(|(kind, _)| torn(kind)) {
            for piece in &state.pieces {
                let Some((from, to)) = piece.part else {
                    continue;
                };
                let unit = if *kind == Kind::Tear4096 { 4096 } else { 512 };
                let length = log.records[piece.record].act.length();
                assert!(from == 0 || to == length);
                assert!(from < to && (from, to) != (0, length));
                assert_eq!((from % unit, to % unit), (0, 0));
                seen.insert(*kind);
            }
        }
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn few_blocks_have_every_subset_in_whichever_writes_they_are() {
        let mut log = log_with(2);
        if let crate::log::Act::Write { offset, bytes } = &mut log.records[1].act {
            *offset = 8 * 4096;
            *bytes = [5_u8, 6, 7].map(|byte| [byte; 4096]).concat();
        }
        let disks = |log: &Log| {
            let blocks = all_of(log, 1).into_iter();
            let blocks = blocks.filter(|(kind, _)| *kind == Kind::Blocks);
            let hash =
                |(_, state): (Kind, State)| state.image(log, &mut Walk::new(log, None)).hash();
            let hashes: Vec<_> = blocks.map(hash).collect();
            let different: BTreeSet<_> = hashes.iter().copied().collect();
            (hashes.len(), different.len())
        };
        assert_eq!(disks(&log), (16, 16));
        assert_eq!(disks(&log_with(3)), (0, 0));
        if let crate::log::Act::Write { bytes, .. } = &mut log.records[1].act {
            bytes.extend((8..28_u8).flat_map(|byte| [byte; 4096]));
        }
        assert_eq!(disks(&log), (BLOCKS_BY_DICE, BLOCKS_BY_DICE));
    }

    #[test]
    fn a_state_is_read_as_it_is_written() {
        for text in ["9 - 1 2:0-512 7", "18446744073709551615 4-7", "0 -"] {
            assert_eq!(text.parse::<State>().unwrap().to_string(), text);
        }
        for text in ["", "9", "x -", "9 4", "9 - 1:2", "9 - -"] {
            assert!(text.parse::<State>().is_err(), "{text}");
        }
    }
}
