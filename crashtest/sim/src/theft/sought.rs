//! Secrets that may be in no copy, looked for by their values in everything that opened, whatever that is called.
//!
//! A value may be stored as it is, or in the way in which OpenMLS's secrets are: as a list of numbers, in CBOR. This room
//! knows the truth and never tells the attacker: what he makes of his keys is his business.

use std::collections::{BTreeMap, BTreeSet};

use thief::{Loot, Opener};

/// Bytes of CBOR below this one are numbers by themselves; others stand behind the byte that says so.
const SMALL_NUMBERS: u8 = 24;
const ONE_BYTE_NUMBER: u8 = 0x18;

/// Which opened values hold what is sought, by the numbers of both.
pub(super) struct Sought(BTreeMap<usize, BTreeSet<usize>>);

impl Sought {
    /// Looks for each of these in all values that any copy has opened.
    pub(super) fn among(opener: &Opener, secrets: &[&[u8]]) -> Self {
        let spellings = Spellings::of(secrets);
        let holds = |number| {
            let plain = opener.plain(number)?;
            let found = spellings.in_bytes(&plain.bytes);
            (!found.is_empty()).then_some((number, found))
        };
        Self((0..opener.opened()).filter_map(holds).collect())
    }

    /// What of it a copy gives away.
    pub(super) fn in_copy(&self, loot: &Loot) -> BTreeSet<usize> {
        let opened = self
            .0
            .iter()
            .filter(|(plain, _)| loot.plains.contains(plain));
        opened
            .flat_map(|(_, found)| found.iter().copied())
            .collect()
    }
}

/// How each secret may be written, by its first two bytes.
struct Spellings {
    starts: Vec<bool>,
    all: BTreeMap<u16, Vec<(usize, Vec<u8>)>>,
}

impl Spellings {
    fn of(secrets: &[&[u8]]) -> Self {
        let mut spellings = Self {
            starts: vec![false; 1 << 16],
            all: BTreeMap::new(),
        };
        for (number, secret) in secrets.iter().enumerate() {
            for spelled in [secret.to_vec(), listed(secret)] {
                let Some(start) = spelled.first_chunk().copied().map(u16::from_be_bytes) else {
                    continue;
                };
                if let Some(is_start) = spellings.starts.get_mut(usize::from(start)) {
                    *is_start = true;
                }
                let of_start = spellings.all.entry(start).or_default();
                of_start.push((number, spelled));
            }
        }
        spellings
    }

    fn in_bytes(&self, bytes: &[u8]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for (at, pair) in bytes.windows(2).enumerate() {
            let start = pair.first_chunk().copied().map_or(0, u16::from_be_bytes);
            // Nearly nothing gets beyond this.
            if !self
                .starts
                .get(usize::from(start))
                .copied()
                .unwrap_or(false)
            {
                continue;
            }
            let here = bytes.get(at..).unwrap_or_default();
            let of_start = self.all.get(&start).into_iter().flatten();
            let holds = of_start.filter(|(_, spelled)| here.starts_with(spelled));
            found.extend(holds.map(|(number, _)| *number));
        }
        found
    }
}

/// As CBOR lists bytes one by one.
fn listed(secret: &[u8]) -> Vec<u8> {
    let mut listed = Vec::with_capacity(2 * secret.len());
    for byte in secret {
        if *byte >= SMALL_NUMBERS {
            listed.push(ONE_BYTE_NUMBER);
        }
        listed.push(*byte);
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_found_as_it_is_and_as_a_list_of_numbers_and_no_other_is() {
        let secrets: [Vec<u8>; 3] = [(10..42).collect(), vec![7; 32], (100..132).collect()];
        let spellings = Spellings::of(&secrets.each_ref().map(Vec::as_slice));
        let found =
            |bytes: &[u8]| -> Vec<usize> { spellings.in_bytes(bytes).into_iter().collect() };
        assert_eq!(
            found(&[&[1, 10, 10][..], &secrets[0][1..], &[9]].concat()),
            [0]
        );
        // Twenty-three is a number by itself, and twenty-four is not.
        let list = [&[0x98, 32, 10, 11][..], &(12..24).collect::<Vec<u8>>()].concat();
        let rest: Vec<u8> = (24..42).flat_map(|byte| [0x18, byte]).collect();
        assert_eq!(found(&[list.clone(), rest].concat()), [0]);
        assert_eq!(found(&list), Vec::<usize>::new());
        assert_eq!(found(&[secrets[2].clone(), vec![7; 33]].concat()), [1, 2]);
        assert_eq!(found(&secrets[2][..31]), Vec::<usize>::new());
        assert_eq!(found(&[]), Vec::<usize>::new());
    }
}
