//! Canaries: secrets that must be found nowhere, and a search for all of them at once, however they
//! were written down: as they are, in hex, in base64, as a list of numbers.
//!
//! Whatever a program wrote may be searched: a directory of state, a log, its JSON. This room must never
//! ask how a secret could have come there, and it finds only what it was given.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A shorter secret would be found by chance.
const SECRET_BYTES_MIN: usize = 8;
/// A secret in which fewer bytes differ is met in files that do not hold it.
const SECRET_VARIETY_MIN: usize = 6;
/// By so many bytes the ways of writing are told apart first.
const HEAD_BYTES: usize = 4;
/// Most of a file of ours is zero: what is, is passed over by the block.
const BLOCK_BYTES: usize = 4096;
/// The end of a block of zeros in which a secret may begin that begins with zeros.
const ZERO_TAIL_BYTES: usize = 64;

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A secret where it must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Which one.
    pub what: String,
    /// How it was written.
    pub way: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
}

/// One way in which one secret may be written.
struct Needle {
    what: usize,
    way: &'static str,
    bytes: Vec<u8>,
}

/// Secrets to look for.
pub struct Canaries {
    names: Vec<String>,
    needles: Vec<Needle>,
    /// Needles by their first bytes.
    by_head: BTreeMap<[u8; HEAD_BYTES], Vec<usize>>,
    /// Which two bytes any needle begins with, so that most places cost one look.
    likely: Vec<bool>,
}

impl Default for Canaries {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            needles: Vec::new(),
            by_head: BTreeMap::new(),
            likely: vec![false; 1 << 16],
        }
    }
}

impl Canaries {
    /// Adds a secret. One that is too short, or too much like nothing, is passed over, and said so.
    pub fn add(&mut self, what: &str, secret: &[u8]) -> bool {
        let variety = secret.iter().collect::<BTreeSet<_>>();
        if secret.len() < SECRET_BYTES_MIN || variety.len() < SECRET_VARIETY_MIN {
            return false;
        }
        let name = self.names.len();
        self.names.push(what.to_owned());
        for (way, bytes) in ways(secret) {
            let Some(head) = bytes.first_chunk::<HEAD_BYTES>().copied() else {
                continue;
            };
            let [first, second, ..] = head;
            self.likely[usize::from(u16::from_le_bytes([first, second]))] = true;
            self.by_head
                .entry(head)
                .or_default()
                .push(self.needles.len());
            self.needles.push(Needle {
                what: name,
                way,
                bytes,
            });
        }
        true
    }

    /// How many secrets are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The first of them that stands in these bytes.
    #[must_use]
    pub fn first_in(&self, bytes: &[u8]) -> Option<Sighting> {
        for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let start = number * BLOCK_BYTES;
            let skipped = match block.iter().all(|byte| *byte == 0) {
                true => block.len().saturating_sub(ZERO_TAIL_BYTES),
                false => 0,
            };
            for at in start + skipped..start + block.len() {
                if let Some(sighting) = self.at(bytes, at) {
                    return Some(sighting);
                }
            }
        }
        None
    }

    fn at(&self, bytes: &[u8], at: usize) -> Option<Sighting> {
        let rest = bytes.get(at..)?;
        let head = rest.first_chunk::<HEAD_BYTES>()?;
        let [first, second, ..] = *head;
        if !self.likely[usize::from(u16::from_le_bytes([first, second]))] {
            return None;
        }
        let numbers = self.by_head.get(head)?;
        let mut needles = numbers.iter().map(|number| &self.needles[*number]);
        let needle = needles.find(|needle| rest.starts_with(&needle.bytes))?;
        Some(Sighting {
            what: self.names[needle.what].clone(),
            way: needle.way,
            at,
        })
    }

    /// The first of them in any file at or below `root`, with the file. Files that `passed` accepts are
    /// not looked into; links are not followed.
    ///
    /// # Errors
    /// The machine's; what goes while it is looked at is no error.
    pub fn first_below(
        &self,
        root: &Path,
        passed: &dyn Fn(&Path) -> bool,
    ) -> io::Result<Option<(PathBuf, Sighting)>> {
        let mut waiting = vec![root.to_path_buf()];
        while let Some(path) = waiting.pop() {
            let Some(metadata) = there(std::fs::symlink_metadata(&path))? else {
                continue;
            };
            if metadata.is_dir() {
                for entry in there(std::fs::read_dir(&path))?.into_iter().flatten() {
                    waiting.push(entry?.path());
                }
            } else if metadata.is_file() && !passed(&path) {
                let bytes = there(std::fs::read(&path))?.unwrap_or_default();
                if let Some(sighting) = self.first_in(&bytes) {
                    return Ok(Some((path, sighting)));
                }
            }
        }
        Ok(None)
    }
}

/// A program that runs may remove a file at any time.
fn there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

/// Every way in which a secret may be written, with its name.
fn ways(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let numbers: Vec<String> = secret.iter().map(u8::to_string).collect();
    let mut ways = vec![
        ("as it is", secret.to_vec()),
        ("in upper-case hex", hex.to_uppercase().into_bytes()),
        ("in hex", hex.into_bytes()),
        ("as numbers", numbers.join(", ").into_bytes()),
        ("as numbers without spaces", numbers.join(",").into_bytes()),
    ];
    // Inside a longer text, a secret begins at any of three places of a group of three bytes.
    for before in 0..3 {
        ways.push(("in base64", base64_within(secret, before, BASE64)));
        ways.push(("in base64url", base64_within(secret, before, BASE64_URL)));
    }
    ways
}

/// What a secret looks like in base64 behind `before` bytes of something else: the digits that it alone
/// decides (RFC 4648, section 4).
fn base64_within(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let whole = bytes.len() * 8 / 6;
    let undecided = (before * 8).div_ceil(6);
    let mut digits = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = (bits << 8) | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for shift in [18, 12, 6, 0] {
            digits.push(alphabet[((bits >> shift) & 63) as usize]);
        }
    }
    digits[undecided..whole].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8; 16] = b"\x07\xc8\x1f\xfb\xef\x00\x91\x3e\x5a\x77\xff\x10\x22\xd4\x08\x99";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        assert!(canaries.add("a key", SECRET));
        canaries
    }

    /// `secret` in base64 behind and before other bytes, by the rules of RFC 4648 and by hand.
    fn encoded(before: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
        let bytes = [before, SECRET, b"tail"].concat();
        base64_within(&bytes, 0, alphabet)
    }

    #[test]
    fn the_encoder_agrees_with_the_rfc() {
        for (plain, text) in [("foobar", "Zm9vYmFy"), ("foob", "Zm9vY"), ("f", "Z")] {
            let digits = base64_within(plain.as_bytes(), 0, BASE64);
            assert_eq!(digits, text.as_bytes(), "{plain}");
        }
        assert_eq!(base64_within(&[0xfb, 0xff, 0xbf], 0, BASE64), b"+/+/");
        assert_eq!(base64_within(&[0xfb, 0xff, 0xbf], 0, BASE64_URL), b"-_-_");
    }

    #[test]
    fn a_secret_is_seen_however_it_is_written() {
        let canaries = canaries();
        let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{SECRET:?}");
        let mut texts = vec![
            (SECRET.to_vec(), "as it is"),
            (hex.to_uppercase().into_bytes(), "in upper-case hex"),
            (hex.into_bytes(), "in hex"),
            (
                list.replace(' ', "").into_bytes(),
                "as numbers without spaces",
            ),
            (list.into_bytes(), "as numbers"),
        ];
        for before in [&b""[..], b"x", b"xy", b"xyz"] {
            texts.push((encoded(before, BASE64), "in base64"));
            texts.push((encoded(before, BASE64_URL), "in base64url"));
        }
        for (text, way) in texts {
            for at in [0, 1, BLOCK_BYTES - 5, 3 * BLOCK_BYTES] {
                let file = [vec![0; at], text.clone(), vec![0; 9000]].concat();
                let found = canaries.first_in(&file);
                let found = found.unwrap_or_else(|| panic!("{way} at {at}"));
                assert_eq!(found.what, "a key");
                assert_eq!(found.way, way, "at {at}");
                // Half of it is not it.
                let half = [vec![0; at], text[..text.len() / 2].to_vec()].concat();
                assert_eq!(canaries.first_in(&half), None, "{way} at {at}");
            }
        }
        assert_eq!(canaries.first_in(b""), None);
    }

    #[test]
    fn a_secret_that_begins_with_zeros_is_seen_behind_zeros() {
        let mut secret = *SECRET;
        secret[..3].fill(0);
        let mut canaries = Canaries::default();
        assert!(canaries.add("zeros", &secret));
        let file = [vec![0; BLOCK_BYTES - 3], secret.to_vec()].concat();
        assert!(canaries.first_in(&file).is_some());
    }

    #[test]
    fn what_would_be_met_by_chance_is_not_looked_for() {
        let mut canaries = Canaries::default();
        assert!(!canaries.add("short", &SECRET[..7]));
        assert!(!canaries.add("zero", &[0; 32]));
        assert!(canaries.is_empty());
    }

    #[test]
    fn files_are_searched_wherever_they_lie_but_for_those_that_may_hold_it() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let file = deep.join("vault");
        std::fs::write(&file, [&[0; 5000][..], SECRET].concat()).unwrap();
        let canaries = canaries();
        let found = canaries.first_below(place.path(), &|_| false).unwrap();
        let (path, sighting) = found.unwrap();
        assert_eq!((path, sighting.at), (file.clone(), 5000));
        let passed = |path: &Path| path == file;
        assert_eq!(canaries.first_below(place.path(), &passed).unwrap(), None);
    }
}
