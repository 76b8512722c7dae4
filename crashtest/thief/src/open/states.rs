//! States of groups: which opened values stood together at one moment, so that a whole group can go on from
//! there.
//!
//! This room opens nothing; it is told what opened.

use std::collections::{BTreeMap, BTreeSet};

use super::{GROUP_SCOPE, SCOPE_BYTES, small_scope};
use crate::format::{Change, Haul, Origin};

/// Families below this one are an MLS group's own.
const GROUP_FAMILIES_END: u8 = 0x30;
/// What following a group takes besides: its context, its message secrets, the key pairs of its epoch.
const WANTED: [u8; 3] = [0x03, 0x07, 0x22];

/// A group's values as they stood together, by family and rest; each is a [`super::Plain`] by its number.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct State {
    pub(crate) scope: [u8; SCOPE_BYTES],
    pub(crate) values: BTreeMap<Vec<u8>, usize>,
}

impl State {
    fn is_whole(&self) -> bool {
        let has = |family: &u8| self.values.keys().any(|name| name.first() == Some(family));
        WANTED.iter().all(has)
    }
}

/// Groups by their scopes.
type Groups = BTreeMap<[u8; SCOPE_BYTES], State>;

/// All states that were ever seen, each once.
#[derive(Default)]
pub(super) struct States {
    numbers: BTreeMap<State, usize>,
    by_number: Vec<State>,
}

impl States {
    /// A state by its number.
    pub(super) fn get(&self, number: usize) -> Option<&State> {
        self.by_number.get(number)
    }

    /// Every state of a copy in which a group's opened values stood together: each picture with the history
    /// behind it, transaction by transaction, and the history by itself. A value that does not open takes
    /// what stood there before with it.
    pub(super) fn of(&mut self, haul: &Haul, opened: &[Vec<Option<usize>>]) -> BTreeSet<usize> {
        let sources = || haul.sources.iter().zip(opened);
        let history: Vec<(&Change, Option<usize>)> = sources()
            .filter(|(source, _)| source.origin == Origin::Log)
            .flat_map(|(source, plains)| source.changes.iter().zip(plains.iter().copied()))
            .filter(|(change, _)| group_scope(&change.key).is_some())
            .collect();
        let mut states = BTreeSet::new();
        let mut bases = vec![(0, Groups::new())];
        for (source, plains) in sources() {
            let Some(through) = source.through else {
                continue;
            };
            let mut groups = Groups::new();
            for (change, plain) in source.changes.iter().zip(plains) {
                apply(&mut groups, change, *plain);
            }
            states.extend(self.whole(groups.values()));
            bases.push((through, groups));
        }
        for (through, mut groups) in bases {
            let behind = history.iter().filter(|(change, _)| change.lsn > through);
            let mut behind = behind.peekable();
            let mut touched = BTreeSet::new();
            while let Some((change, plain)) = behind.next() {
                touched.extend(apply(&mut groups, change, *plain));
                if behind.peek().is_none_or(|(next, _)| next.lsn != change.lsn) {
                    let moved = std::mem::take(&mut touched);
                    let moved = moved.iter().filter_map(|scope| groups.get(scope));
                    states.extend(self.whole(moved));
                }
            }
        }
        states
    }

    /// The numbers of those that hold enough.
    fn whole<'a>(&mut self, states: impl Iterator<Item = &'a State>) -> Vec<usize> {
        states
            .filter(|state| state.is_whole())
            .map(|state| self.number(state))
            .collect()
    }

    fn number(&mut self, state: &State) -> usize {
        if let Some(number) = self.numbers.get(state) {
            return *number;
        }
        let number = self.by_number.len();
        self.numbers.insert(state.clone(), number);
        self.by_number.push(state.clone());
        number
    }
}

/// Applies a change to the groups; gives the scope of the group that it touched.
fn apply(groups: &mut Groups, change: &Change, plain: Option<usize>) -> Option<[u8; SCOPE_BYTES]> {
    let scope = group_scope(&change.key)?;
    let name = change.key.get(1 + SCOPE_BYTES..)?;
    if *name.first()? >= GROUP_FAMILIES_END {
        return None;
    }
    let state = groups.entry(scope).or_insert_with(|| State {
        scope,
        values: BTreeMap::new(),
    });
    match plain {
        Some(plain) => state.values.insert(name.to_vec(), plain),
        None => state.values.remove(name),
    };
    Some(scope)
}

fn group_scope(key: &[u8]) -> Option<[u8; SCOPE_BYTES]> {
    small_scope(key).filter(|scope| scope.first() == Some(&GROUP_SCOPE))
}
