//! A set of numbers kept as ranges: the live payloads of a log file, a few bytes each.
//!
//! It never grows with the numbers it holds, only with the holes between them.

use std::collections::BTreeMap;

/// A set of `u64` as disjoint, non-adjacent, half-open ranges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ranges {
    /// First number of each range, and the number after its last.
    by_start: BTreeMap<u64, u64>,
}

impl Ranges {
    pub(crate) fn new() -> Self {
        Ranges::default()
    }

    #[cfg(test)]
    /// From pairs (start, end); `None` if they are empty, overlap or are out of order.
    pub(crate) fn from_pairs(pairs: &[(u64, u64)]) -> Option<Self> {
        let mut by_start = BTreeMap::new();
        let mut floor = 0;
        for &(start, end) in pairs {
            if start >= end || start < floor {
                return None;
            }
            floor = end;
            by_start.insert(start, end);
        }
        Some(Ranges { by_start })
    }

    pub(crate) fn pairs(&self) -> Vec<(u64, u64)> {
        self.by_start
            .iter()
            .map(|(start, end)| (*start, *end))
            .collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    pub(crate) fn len(&self) -> u64 {
        self.by_start.iter().map(|(start, end)| end - start).sum()
    }

    pub(crate) fn contains(&self, n: u64) -> bool {
        self.by_start
            .range(..=n)
            .next_back()
            .is_some_and(|(_, end)| n < *end)
    }

    /// Adds `n`; true if it was not there.
    pub(crate) fn insert(&mut self, n: u64) -> bool {
        if self.contains(n) {
            return false;
        }
        let mut start = n;
        let mut end = n + 1;
        if let Some((&before, &before_end)) = self.by_start.range(..n).next_back()
            && before_end == n
        {
            start = before;
        }
        if let Some(after_end) = self.by_start.remove(&end) {
            end = after_end;
        }
        self.by_start.insert(start, end);
        true
    }

    /// Removes `n`; true if it was there.
    pub(crate) fn remove(&mut self, n: u64) -> bool {
        let Some((&start, &end)) = self.by_start.range(..=n).next_back() else {
            return false;
        };
        if n >= end {
            return false;
        }
        self.by_start.remove(&start);
        if start < n {
            self.by_start.insert(start, n);
        }
        if n + 1 < end {
            self.by_start.insert(n + 1, end);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn behaves_like_a_set() {
        let mut dice = crate::SeededDice(7);
        let mut set = BTreeSet::new();
        let mut ranges = Ranges::new();
        for _ in 0..5000 {
            let n = dice.below(64);
            if dice.below(2) == 0 {
                assert_eq!(ranges.insert(n), set.insert(n));
            } else {
                assert_eq!(ranges.remove(n), set.remove(&n));
            }
            assert_eq!(ranges.len(), set.len() as u64);
            assert!((0..64).all(|n| ranges.contains(n) == set.contains(&n)));
            assert_eq!(Ranges::from_pairs(&ranges.pairs()), Some(ranges.clone()));
        }
    }

    #[test]
    fn bad_pairs_are_refused() {
        for pairs in [
            &[(3u64, 3u64)][..],
            &[(5, 4)],
            &[(1, 4), (3, 6)],
            &[(5, 6), (1, 2)],
        ] {
            assert_eq!(Ranges::from_pairs(pairs), None);
        }
    }
}
