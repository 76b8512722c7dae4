//! Keys tried on sealed values: every key of the vault, and those derived from it, on every value.
//!
//! A rotation mixes a salt into the key that follows, and its scope's row tells it to everybody. So each key
//! is followed by every rotation of it that any row of the copy tells of, also by one that was taken back.
//!
//! A value's associated data binds it to its scope, its key and its key's version, so a key opens what was
//! sealed under it and nothing else. What was tried once is not tried again in the next copy: nearly all of
//! a copy stood in the one before.

mod states;

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::bytes::Reader;
use crate::crypto::{self, Salt, Secret, TAG_BYTES};
use crate::format::{Change, Haul, Images, Origin, What};
use states::{State, States};

const NONCE_BYTES: usize = 24;
/// Length of an encoded scope, and what its first byte says.
const SCOPE_BYTES: usize = 18;
const GROUP_SCOPE: u8 = 4;
const CLIP_SCOPE: u8 = 5;
/// The number of no key at all: a value whose tag is zero was never sealed.
const IN_THE_CLEAR: usize = 0;
/// The first byte of a small value says how it is encoded; a row is postcard.
const ENCODINGS: [u8; 2] = [1, ROW];
const ROW: u8 = 2;

/// An opened value.
pub struct Plain {
    /// Its whole key.
    pub key: Vec<u8>,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Plain {
    /// The scope, if it is a small value.
    #[must_use]
    pub fn scope(&self) -> Option<[u8; SCOPE_BYTES]> {
        small_scope(&self.key)
    }

    /// The family, if it is a small value.
    #[must_use]
    pub fn family(&self) -> Option<u8> {
        self.name().first().copied()
    }

    /// Family and rest, if it is a small value.
    pub(crate) fn name(&self) -> &[u8] {
        match self.key.first() {
            Some(b'S') => self.key.get(1 + SCOPE_BYTES..).unwrap_or_default(),
            _ => &[],
        }
    }

    /// The clip of a stored chunk.
    pub(crate) fn chunk_of(&self) -> Option<[u8; 16]> {
        match self.key.split_first() {
            Some((b'L', rest)) => rest.first_chunk().copied(),
            _ => None,
        }
    }
}

/// Sealed values of one origin, wherever in it they stand, and those of them that opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tried {
    /// How many there are.
    pub sealed: u64,
    /// How many of them opened.
    pub opened: u64,
}

/// What one copy gave away, in the numbers of the [`Opener`] that opened it.
#[derive(Clone, Default)]
pub struct Loot {
    /// Opened values.
    pub plains: BTreeSet<usize>,
    /// States of groups of which enough opened.
    pub(crate) states: BTreeSet<usize>,
    /// Distinct storage keys in the copy.
    pub keys: usize,
    /// Distinct sealed values in the copy.
    pub sealed: usize,
    /// Where values stood.
    pub origins: BTreeMap<Origin, Tried>,
    /// Values that opened with a key that stands in the first image of the vault and not in the second, and the other
    /// way round.
    pub by_one_image: (u64, u64),
}

/// What is known of a sealed value.
#[derive(Default)]
struct Known {
    tried: Bits,
    /// The key that opened it, and what came out.
    opened: Option<(usize, usize)>,
}

/// A set of small numbers.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn insert(&mut self, number: usize) -> bool {
        let (word, bit) = (number / 64, 1_u64 << (number % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let Some(word) = self.0.get_mut(word) else {
            return false;
        };
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

/// A key and the version under which it is tried.
type Candidate = (u64, [u8; 32]);

/// A key of a copy.
struct Held {
    /// The number under which it is known.
    number: usize,
    version: u64,
    key: Secret,
    /// Where it stands itself: one that was derived may stand nowhere.
    images: Images,
}

/// A value of a copy that is open.
struct Open {
    plain: usize,
    /// Where the key stands that opened it.
    images: Images,
}

/// Opens one copy after another, and remembers.
#[derive(Default)]
pub struct Opener {
    candidates: BTreeMap<Candidate, usize>,
    known: BTreeMap<[u8; 32], Known>,
    plains: Vec<Plain>,
    states: States,
}

impl Opener {
    /// An opener that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An opened value by its number.
    #[must_use]
    pub fn plain(&self, number: usize) -> Option<&Plain> {
        self.plains.get(number)
    }

    /// A state by its number.
    pub(crate) fn state(&self, number: usize) -> Option<&State> {
        self.states.get(number)
    }

    /// How many values were opened so far, in all copies.
    #[must_use]
    pub fn opened(&self) -> usize {
        self.plains.len()
    }

    /// Tries all keys of a copy on all its values.
    pub fn open(&mut self, haul: &Haul) -> Loot {
        let keys = self.keys_of(haul);
        let mut loot = Loot {
            keys: keys.len(),
            ..Loot::default()
        };
        let mut seen = BTreeSet::new();
        let mut opened = Vec::new();
        for source in &haul.sources {
            let mut of_source = Vec::with_capacity(source.changes.len());
            let mut tried = loot
                .origins
                .get(&source.origin)
                .copied()
                .unwrap_or_default();
            for change in &source.changes {
                let open = self.try_all(change, &keys, &mut seen);
                let plain = open.as_ref().map(|open| open.plain);
                tried.sealed += u64::from(is_sealed(change));
                tried.opened += u64::from(plain.is_some());
                match open.map(|open| open.images) {
                    Some(Images { a: true, b: false }) => loot.by_one_image.0 += 1,
                    Some(Images { a: false, b: true }) => loot.by_one_image.1 += 1,
                    _ => {}
                }
                loot.plains.extend(plain);
                of_source.push(plain);
            }
            loot.origins.insert(source.origin, tried);
            opened.push(of_source);
        }
        loot.sealed = seen.len();
        loot.states = self.states.of(haul, &opened);
        loot
    }

    /// The keys of a copy, each with those that follow it, by the numbers under which they are known.
    fn keys_of(&mut self, haul: &Haul) -> Vec<Held> {
        let rotations = rotations_of(haul);
        let mut keys: Vec<Held> = Vec::new();
        let mut places: BTreeMap<usize, usize> = BTreeMap::new();
        for stored in &haul.keys {
            let then = stored.version.wrapping_add(1);
            let salts = rotations.get(&(stored.number, then));
            let next = salts
                .into_iter()
                .flatten()
                .filter_map(|salt| Some((then, crypto::next_storage_key(&stored.key, salt)?)))
                .map(|(version, key)| (version, key, Images::default()));
            let own = (stored.version, stored.key.clone(), stored.images);
            for (version, key, images) in std::iter::once(own).chain(next) {
                let number = self.candidates.len() + 1;
                let number = *self.candidates.entry((version, *key)).or_insert(number);
                let known = places.get(&number).and_then(|place| keys.get_mut(*place));
                if let Some(known) = known {
                    known.images = known.images.with(images);
                    continue;
                }
                places.insert(number, keys.len());
                keys.push(Held {
                    number,
                    version,
                    key,
                    images,
                });
            }
        }
        keys
    }

    /// What a change's value says, by its number, if a key of this copy opens it.
    fn try_all(
        &mut self,
        change: &Change,
        keys: &[Held],
        seen: &mut BTreeSet<[u8; 32]>,
    ) -> Option<Open> {
        let (What::Put(sealed) | What::Payload(sealed)) = &change.what else {
            return None;
        };
        let scope = scope_of(&change.key)?;
        let length = (change.key.len() as u64).to_le_bytes();
        let name = crypto::sha256(&[&length, &change.key, sealed]);
        seen.insert(name);
        let known = self.known.entry(name).or_default();
        if let Some((by, plain)) = known.opened {
            let images = match by {
                IN_THE_CLEAR => Images::default(),
                _ => keys.iter().find(|held| held.number == by)?.images,
            };
            return Some(Open { plain, images });
        }
        let (nonce, body) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let (clear, tag) = body.split_last_chunk::<TAG_BYTES>()?;
        let found = match *tag == [0; TAG_BYTES] && is_clear(&change.key, nonce, clear) {
            true => Some((
                IN_THE_CLEAR,
                Images::default(),
                Zeroizing::new(clear.to_vec()),
            )),
            false => keys.iter().find_map(|held| {
                if !known.tried.insert(held.number) {
                    return None;
                }
                let aad = aad(&scope, held.version, &change.key);
                let bytes = crypto::open_x(&held.key, *nonce, &aad, body)?;
                Some((held.number, held.images, bytes))
            }),
        };
        let (by, images, bytes) = found?;
        let plain = self.plains.len();
        known.opened = Some((by, plain));
        self.plains.push(Plain {
            key: change.key.clone(),
            bytes,
        });
        Some(Open { plain, images })
    }
}

/// Whether a change sets something that is sealed.
fn is_sealed(change: &Change) -> bool {
    !matches!(change.what, What::Delete) && scope_of(&change.key).is_some()
}

/// What all rotations mixed in that any row of a copy tells of, by the number of the key and the version that
/// they led to. Of one that was taken back, a row may still lie behind a torn group.
fn rotations_of(haul: &Haul) -> BTreeMap<(u64, u64), BTreeSet<Salt>> {
    let mut rotations: BTreeMap<_, BTreeSet<Salt>> = BTreeMap::new();
    for change in haul.sources.iter().flat_map(|source| &source.changes) {
        if let Some((number, version, salt)) = rotation(change) {
            rotations.entry((number, version)).or_default().insert(salt);
        }
    }
    rotations
}

/// What a scope's row says: the number of its key, its version, the salt of the rotation that led to that.
fn rotation(change: &Change) -> Option<(u64, u64, Salt)> {
    let (Some(b'C'), What::Put(row)) = (change.key.first(), &change.what) else {
        return None;
    };
    let mut reader = Reader::new(row);
    let is_row = reader.u8()? == ROW;
    let fields = (reader.varint()?, reader.varint()?, reader.array()?);
    (is_row && reader.rest().is_empty()).then_some(fields)
}

/// Whether a value without a tag was never sealed, and is no hole in a torn file.
fn is_clear(key: &[u8], nonce: &[u8; NONCE_BYTES], clear: &[u8]) -> bool {
    let is_small = key.first() == Some(&b'S');
    let is_encoded = clear.first().is_some_and(|first| ENCODINGS.contains(first));
    *nonce != [0; NONCE_BYTES] && (is_encoded || !is_small)
}

fn small_scope(key: &[u8]) -> Option<[u8; SCOPE_BYTES]> {
    match key.split_first() {
        Some((b'S', rest)) => rest.first_chunk().copied(),
        _ => None,
    }
}

/// The scope under whose key a value of this key is sealed, if it is a sealed one.
fn scope_of(key: &[u8]) -> Option<[u8; SCOPE_BYTES]> {
    match key.split_first() {
        Some((b'S', _)) => small_scope(key),
        Some((b'L', rest)) => {
            let clip = rest.first_chunk::<16>()?;
            let mut scope = [0; SCOPE_BYTES];
            let (tag, id) = scope.split_first_mut()?;
            *tag = CLIP_SCOPE;
            id.get_mut(..16)?.copy_from_slice(clip);
            Some(scope)
        }
        _ => None,
    }
}

fn aad(scope: &[u8; SCOPE_BYTES], version: u64, key: &[u8]) -> Vec<u8> {
    let mut aad = b"secluso value v1".to_vec();
    aad.extend_from_slice(scope);
    aad.extend_from_slice(&version.to_be_bytes());
    aad.extend_from_slice(key);
    aad
}

#[cfg(test)]
mod tests {
    use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
    use chacha20poly1305::{XChaCha20Poly1305, XNonce};

    use super::*;
    use crate::format::{Source, StorageKey};

    fn key(name: u8) -> Vec<u8> {
        let mut key = vec![b'S', GROUP_SCOPE];
        key.extend([7; 17]);
        key.push(name);
        key
    }

    fn seal(secret: &Secret, version: u64, key: &[u8], text: &[u8]) -> Vec<u8> {
        let aad = aad(&scope_of(key).unwrap(), version, key);
        let payload = Payload {
            msg: text,
            aad: &aad,
        };
        let cipher = XChaCha20Poly1305::new(&(**secret).into());
        let body = cipher.encrypt(&XNonce::from([3; 24]), payload).unwrap();
        [&[3; 24][..], &body].concat()
    }

    fn haul(stored: (u64, [u8; 32]), log: &[(u64, u8, What)]) -> Haul {
        let (version, secret) = stored;
        Haul {
            keys: vec![StorageKey {
                number: 1,
                version,
                key: Secret::new(secret),
                images: Images { a: true, b: true },
            }],
            sources: vec![Source {
                origin: Origin::Log,
                through: None,
                changes: log
                    .iter()
                    .map(|(lsn, name, what)| Change {
                        lsn: *lsn,
                        key: key(*name),
                        what: what.clone(),
                    })
                    .collect(),
            }],
            unknown: Vec::new(),
        }
    }

    /// A copy in which rows of the group's scope stand as well, each with the number of a key, the version
    /// that a rotation led to, and its salt.
    fn with_rows(mut haul: Haul, rows: &[(u8, u8, Salt)]) -> Haul {
        let row = |(number, version, salt): &(u8, u8, Salt)| Change {
            lsn: 0,
            key: [&[b'C', GROUP_SCOPE][..], &[7; 17]].concat(),
            what: What::Put([&[ROW, *number, *version][..], salt].concat()),
        };
        haul.sources.push(Source {
            origin: Origin::NoGroup,
            through: None,
            changes: rows.iter().map(row).collect(),
        });
        haul
    }

    #[test]
    fn a_key_opens_its_version_and_by_each_salt_the_next_and_nothing_before() {
        let (salt, taken_back) = ([1; 32], [2; 32]);
        let old = Secret::new([5; 32]);
        let new = crypto::next_storage_key(&old, &salt).unwrap();
        let other = crypto::next_storage_key(&old, &taken_back).unwrap();
        let put = |secret, version| What::Put(seal(secret, version, &key(1), b"text"));
        let log = [
            (1, 1, put(&old, 4)),
            (2, 1, put(&new, 5)),
            (3, 1, put(&other, 5)),
        ];
        let mut opener = Opener::new();
        let mut opened = |stored, rows: &[(u8, u8, Salt)]| {
            let loot = opener.open(&with_rows(haul(stored, &log), rows));
            assert_eq!(loot.sealed, 3);
            loot.plains.len()
        };
        assert_eq!(opened((4, *old), &[]), 1, "no salt, no way on");
        let of_another = [(2, 5, salt), (1, 6, salt), (1, 4, salt)];
        assert_eq!(opened((4, *old), &of_another), 1, "of no rotation of it");
        assert_eq!(opened((4, *old), &[(1, 5, salt)]), 2, "what follows");
        let both = [(1, 5, salt), (1, 5, taken_back)];
        assert_eq!(opened((4, *old), &both), 3, "and what was taken back");
        assert_eq!(opened((5, *new), &both), 1, "no way back, and none across");
        // What was opened once counts only where its key still is.
        let gone = opener.open(&haul((9, [1; 32]), &log));
        assert!(gone.plains.is_empty());
        assert_eq!(opener.opened(), 3);
    }

    #[test]
    fn what_opens_is_counted_where_it_stood_and_by_the_image_that_had_its_key() {
        let (old, salt) = (Secret::new([5; 32]), [1; 32]);
        let new = crypto::next_storage_key(&old, &salt).unwrap();
        let put = |secret, version| What::Put(seal(secret, version, &key(1), b"text"));
        let log = [
            (1, 1, put(&old, 4)),
            (2, 1, put(&new, 5)),
            (3, 1, What::Delete),
        ];
        // Between the writes of both images.
        let mut between = with_rows(haul((4, *old), &log), &[(1, 5, salt)]);
        between.keys[0].images = Images { a: false, b: true };
        between.keys.push(StorageKey {
            number: 1,
            version: 5,
            key: new.clone(),
            images: Images { a: true, b: false },
        });
        let mut torn = between.sources[0].clone();
        torn.origin = Origin::TornGroup;
        torn.changes.push(Change {
            lsn: 0,
            key: key(2),
            what: What::Put(vec![9; 60]),
        });
        between.sources.push(torn);
        let mut opener = Opener::new();
        // What was opened before counts as well.
        for _ in 0..2 {
            let loot = opener.open(&between);
            assert_eq!(loot.by_one_image, (2, 2));
            let of = |origin| loot.origins.get(&origin).copied().unwrap_or_default();
            assert_eq!((of(Origin::Log).sealed, of(Origin::Log).opened), (2, 2));
            let torn = of(Origin::TornGroup);
            assert_eq!((torn.sealed, torn.opened), (3, 2));
            assert_eq!(of(Origin::NoGroup), Tried::default());
        }
        let settled = haul((4, *old), &log);
        assert_eq!(opener.open(&settled).by_one_image, (0, 0));
    }

    #[test]
    fn a_scopes_row_is_read_as_it_is_written() {
        // Key 300 at version 1, a salt of nines, by hand.
        let row = [&[ROW, 0xac, 0x02, 1][..], &[9; 32]].concat();
        let read = |key: &[u8], row: &[u8]| {
            rotation(&Change {
                lsn: 7,
                key: key.to_vec(),
                what: What::Put(row.to_vec()),
            })
        };
        assert_eq!(read(b"Cscope", &row), Some((300, 1, [9; 32])));
        assert_eq!(read(b"Hscope", &row), None);
        for length in 0..row.len() {
            assert_eq!(read(b"Cscope", &row[..length]), None);
        }
        assert_eq!(read(b"Cscope", &[&row[..], &[0]].concat()), None);
    }

    #[test]
    fn what_was_never_sealed_is_simply_read() {
        let open = |opener: &mut Opener, nonce: u8, text: &[u8]| {
            let clear = [&[nonce; 24][..], text, &[0; 16]].concat();
            opener.open(&haul((1, [1; 32]), &[(1, 1, What::Put(clear))]))
        };
        let mut opener = Opener::new();
        let loot = open(&mut opener, 9, b"\x02text");
        let number = *loot.plains.first().unwrap();
        assert_eq!(opener.plain(number).unwrap().bytes.as_slice(), b"\x02text");
        for (nonce, hole) in [(0, &[0; 5]), (9, b"torn.")] {
            assert!(open(&mut opener, nonce, hole).plains.is_empty());
        }
    }

    #[test]
    fn a_state_is_what_stood_together() {
        let secret = Secret::new([5; 32]);
        let put = |name: u8, text: &[u8]| What::Put(seal(&secret, 4, &key(name), text));
        let log = [
            (1, 0x03, put(0x03, b"context")),
            (1, 0x07, put(0x07, b"secrets")),
            (1, 0x22, put(0x22, b"pairs")),
            (2, 0x07, put(0x07, b"used up")),
            (3, 0x22, What::Delete),
        ];
        let mut opener = Opener::new();
        let loot = opener.open(&haul((4, *secret), &log));
        assert_eq!(loot.states.len(), 2);
        let other = opener.open(&haul((4, [1; 32]), &log));
        assert!(other.states.is_empty());
    }
}
