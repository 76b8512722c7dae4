//! How several machines share a sweep, and in which order one of them does its part.
//!
//! This room knows nothing of what is done. It must never give one thing to two machines, or to none.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// One machine of several: `2/8` is the third of eight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    rest: u64,
    of: u64,
}

impl Shard {
    /// The only machine.
    pub const WHOLE: Self = Self { rest: 0, of: 1 };

    /// Its number, from 0, and how many there are.
    #[must_use]
    pub fn numbers(self) -> (u64, u64) {
        (self.rest, self.of)
    }

    /// Whether the thing at this place is its own.
    #[must_use]
    pub fn has(self, place: u64) -> bool {
        place % self.of == self.rest
    }

    /// Whether the thing of this name is its own. What else there is does not matter: two machines, or two
    /// runs of one, may find different things to do and still share them without a gap.
    #[must_use]
    pub fn has_name(self, name: &str) -> bool {
        let digest = Sha256::digest(name.as_bytes());
        let place = digest
            .iter()
            .take(8)
            .fold(0u64, |place, byte| (place << 8) | u64::from(*byte));
        self.has(place)
    }

    /// Its own of several lists that are so long, as (list, place): first each list's own first, then its
    /// own at coarse steps, then those between, from all lists by turns. Wherever the time ends it, every
    /// list was tried over its whole length.
    #[must_use]
    pub fn spread(self, lengths: &[u64]) -> Vec<(usize, u64)> {
        let mut all = Vec::new();
        for (list, length) in lengths.iter().enumerate() {
            let own = (0..*length).filter(|place| self.has(*place));
            all.extend((0u64..).zip(own).map(|(index, place)| (index, list, place)));
        }
        all.sort_by_key(|(index, list, _)| (Reverse(index.trailing_zeros()), *index, *list));
        all.into_iter()
            .map(|(_, list, place)| (list, place))
            .collect()
    }
}

impl Default for Shard {
    fn default() -> Self {
        Self::WHOLE
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.rest, self.of)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once('/')
            .and_then(|(rest, of)| Some((rest.parse::<u64>().ok()?, of.parse::<u64>().ok()?)))
            .filter(|(rest, of)| rest < of);
        let (rest, of) = parsed.ok_or("a shard is K/N, K from 0, like 0/1 or 2/8")?;
        Ok(Self { rest, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_several_and_nothing_else() {
        let shard: Shard = "3/4".parse().unwrap();
        assert_eq!(shard.numbers(), (3, 4));
        assert_eq!(shard.to_string(), "3/4");
        for wrong in ["4/4", "1", "a/b", "/2", "0/0", "", "1/2/3", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn shards_share_places_and_names_without_a_gap() {
        let shards: Vec<Shard> = (0..3).map(|rest| Shard { rest, of: 3 }).collect();
        let mut found: Vec<(usize, u64)> = Vec::new();
        for shard in &shards {
            found.extend(shard.spread(&[10, 0, 4]));
        }
        found.sort_unstable();
        let all: Vec<(usize, u64)> = (0..10)
            .map(|place| (0, place))
            .chain((0..4).map(|place| (2, place)))
            .collect();
        assert_eq!(found, all);
        for name in ["a", "b", "c", "hub any:17:EIO"] {
            let owners = shards.iter().filter(|shard| shard.has_name(name));
            assert_eq!(owners.count(), 1, "{name}");
        }
    }

    #[test]
    fn wherever_the_time_ends_it_every_list_was_tried_over_its_length() {
        let all = Shard::WHOLE.spread(&[16, 8, 2]);
        assert_eq!(all[..5], [(0, 0), (1, 0), (2, 0), (0, 8), (0, 4)]);
        for (list, length) in [(0, 16), (1, 8)] {
            let of_half = all.iter().take(all.len() / 2);
            let places = of_half.filter(|(one, _)| *one == list);
            let last = places.map(|(_, place)| *place).max().unwrap();
            assert!(last >= length / 2, "{list}: {last}");
        }
    }
}
