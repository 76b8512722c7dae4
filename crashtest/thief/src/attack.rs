//! Everything that was stolen against everything that was ever sent.
//!
//! Wrapping keys never change, so one that was stolen anywhere counts everywhere. What a value or a state
//! opens is worked out once, and so is what a welcome gives with the keys of one copy; a copy's spoils are what its
//! values, states and welcomes open together.

use std::collections::{BTreeMap, BTreeSet};

use openmls_libcrux_crypto::CryptoProvider;
use zeroize::Zeroizing;

use crate::bytes::Reader;
use crate::follow;
use crate::mls::{APPLICATION, COMMIT, EpochKeys, PrivateMessage};
use crate::open::{Loot, Opener, Plain};
use crate::pairing::{self, Asked, Heard, Wrap};

/// Families of `journal/FORMAT.md`.
const KEY_PACKAGE: u8 = 0x30;
const PSK: u8 = 0x31;
const DEVICE: u8 = 0x40;
const OFFER: u8 = 0x41;
const PAIRING: u8 = 0x42;
const CLIP: u8 = 0x43;
const RUNNING_DIGEST: u8 = 0x44;
const NOTICE: u8 = 0x4c;
/// First byte of our own rows.
const ROW: u8 = 2;
/// First byte of what is said inside MLS.
const MESSAGE_VERSION: u8 = 1;
/// First byte of a clip's scope.
const CLIP_SCOPE: u8 = 5;

/// The identifier of a clip.
pub type ClipId = [u8; 16];

/// A pairing, and the number of a channel: what a group is called.
pub type LineId = [u8; 17];

/// The number of what has none: a frame of a live session, which lies in no mailbox.
pub const FRAME: u64 = 0;

/// An envelope as the relay stored it, or a frame of a live session as the relay passed it on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Captured {
    /// The name under which its mailbox is written.
    pub mailbox: [u8; 24],
    /// Its number there, from 1; [`FRAME`] for a frame.
    pub seq: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// What the wrap hid: the header of an MLS message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Its epoch.
    pub epoch: u64,
    /// Whether it is an application message, and no Commit or proposal.
    pub application: bool,
}

/// What an opened message says, as far as a thief cares.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Said {
    /// A clip begins: its camera and time.
    ClipBegins(ClipId),
    /// A chunk of a clip, by its number.
    Chunk(ClipId, u32),
    /// A clip ends: its length and digest.
    ClipEnds(ClipId),
    /// Something about the picture of an event, which has a name as a clip has.
    Picture(ClipId),
    /// Something else that the hub says in a channel (1 event video, 2 thumbnail, 3 livestream, 4
    /// notification, 5 config).
    OfHub(u8),
    /// Something that the phone says in a channel.
    OfPhone(u8),
}

impl Said {
    /// The hub made the group, so its leaf is the first.
    fn read(group: &[u8], leaf: u32, plaintext: &[u8]) -> Self {
        let channel = group.last().copied().unwrap_or(0);
        match (leaf, channel) {
            (0, 1) => Self::of_clip(plaintext).unwrap_or(Self::OfHub(channel)),
            (0, 2) => match Self::of_clip(plaintext) {
                Some(Self::ClipBegins(id) | Self::Chunk(id, _) | Self::ClipEnds(id)) => {
                    Self::Picture(id)
                }
                _ => Self::OfHub(channel),
            },
            (0, _) => Self::OfHub(channel),
            _ => Self::OfPhone(channel),
        }
    }

    fn of_clip(plaintext: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(plaintext.strip_prefix(&[MESSAGE_VERSION])?);
        let kind = reader.varint()?;
        let clip = reader.array()?;
        match kind {
            0 => Some(Self::ClipBegins(clip)),
            1 => Some(Self::Chunk(clip, reader.varint()?.try_into().ok()?)),
            2 | 3 => Some(Self::ClipEnds(clip)),
            _ => None,
        }
    }
}

/// A notification, as a phone keeps it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Notice {
    /// Of which pairing it is.
    pub pairing: [u8; 16],
    /// The camera that it names.
    pub camera: Vec<u8>,
    /// When that began of which it tells, milliseconds since 1970.
    pub started_unix_ms: u64,
}

impl Notice {
    fn read(plain: &Plain) -> Option<Self> {
        let scope = plain.scope()?;
        let pairing = scope.get(1..)?.first_chunk().copied()?;
        let mut reader = Reader::new(plain.bytes.strip_prefix(&[ROW])?);
        let camera = reader.blob()?.to_vec();
        Some(Self {
            pairing,
            camera,
            started_unix_ms: reader.varint()?,
        })
    }
}

/// What one copy opens.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Spoils {
    /// Application messages among the captured envelopes, by their place in that list.
    pub envelopes: BTreeSet<usize>,
    /// Clips of which a stored chunk opens.
    pub chunks: BTreeSet<ClipId>,
    /// Clips whose row on a phone (name, time, digest) opens.
    pub rows: BTreeSet<ClipId>,
    /// Clips whose running digest opens: it holds up to 63 of their bytes.
    pub digests: BTreeSet<ClipId>,
    /// Stored notifications that open.
    pub notices: BTreeSet<Notice>,
    /// Groups into which a welcome opens.
    pub welcomes: BTreeSet<LineId>,
}

/// A captured message without its wrap.
struct Message {
    bytes: Zeroizing<Vec<u8>>,
    parts: PrivateMessage,
}

/// A welcome that was heard.
struct Welcome {
    line: LineId,
    bytes: Vec<u8>,
    /// What its phone had asked, if that was heard as well.
    asked: Option<Asked>,
}

/// A PSK that a copy gives away.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StolenPsk {
    /// As OpenMLS has stored it: an opened value by its number.
    Stored(usize),
    /// Made of an offer's secret.
    Derived([u8; 32]),
}

/// A welcome by its place, the number of a key package's value, and a PSK.
type Join = (usize, usize, StolenPsk);

/// See the module's documentation.
pub struct Attack<'o> {
    opener: &'o Opener,
    crypto: CryptoProvider,
    messages: Vec<Option<Message>>,
    /// By group and epoch.
    places: BTreeMap<(Vec<u8>, u64), Vec<usize>>,
    welcomes: Vec<Welcome>,
    of_plain: BTreeMap<usize, BTreeSet<usize>>,
    of_state: BTreeMap<usize, BTreeSet<usize>>,
    /// `None` where the welcome stays shut.
    of_join: BTreeMap<Join, Option<BTreeSet<usize>>>,
    said: BTreeMap<usize, Said>,
}

/// No attack can be begun.
#[derive(Debug, thiserror::Error)]
#[error("the crypto provider did not start: {0}")]
pub struct NoCrypto(String);

impl<'o> Attack<'o> {
    /// Unwraps what was captured with every wrapping key that the opener came by. `heard` is what phones and hub have
    /// said to each other to pair, in the clear, each message by itself.
    ///
    /// # Errors
    /// [`NoCrypto`].
    pub fn new(
        opener: &'o Opener,
        captured: &[Captured],
        heard: &[Vec<u8>],
    ) -> Result<Self, NoCrypto> {
        let crypto = CryptoProvider::new().map_err(|error| NoCrypto(error.to_string()))?;
        let wraps = wraps_of(opener);
        let open = |one: &Captured| {
            let mut fitting = wraps.iter().filter(|wrap| wrap.mailbox == one.mailbox);
            let bytes = fitting.find_map(|wrap| match one.seq {
                FRAME => pairing::unwrap_live(wrap, &one.bytes),
                seq => pairing::unwrap(wrap, seq, &one.bytes),
            })?;
            let parts = PrivateMessage::read(&bytes)?;
            Some(Message { bytes, parts })
        };
        let messages: Vec<Option<Message>> = captured.iter().map(open).collect();
        let mut places: BTreeMap<(Vec<u8>, u64), Vec<usize>> = BTreeMap::new();
        for (place, message) in messages.iter().enumerate() {
            if let Some(Message { parts, .. }) = message {
                let of = places.entry((parts.group.clone(), parts.epoch));
                of.or_default().push(place);
            }
        }
        Ok(Self {
            opener,
            crypto,
            messages,
            places,
            welcomes: welcomes_in(heard),
            of_plain: BTreeMap::new(),
            of_state: BTreeMap::new(),
            of_join: BTreeMap::new(),
            said: BTreeMap::new(),
        })
    }

    /// The header of a captured envelope, if it was unwrapped and holds an MLS message.
    #[must_use]
    pub fn header(&self, place: usize) -> Option<Header> {
        let message = self.messages.get(place)?.as_ref()?;
        Some(Header {
            epoch: message.parts.epoch,
            application: message.parts.content_type == APPLICATION,
        })
    }

    /// What a captured message says, if any copy so far has opened it.
    #[must_use]
    pub fn said(&self, place: usize) -> Option<Said> {
        self.said.get(&place).copied()
    }

    /// How many welcomes were heard.
    #[must_use]
    pub fn welcomes(&self) -> usize {
        self.welcomes.len()
    }

    /// How many envelopes were unwrapped and hold an MLS message.
    #[must_use]
    pub fn unwrapped(&self) -> usize {
        self.messages.iter().flatten().count()
    }

    /// What a copy opens.
    pub fn spoils(&mut self, loot: &Loot) -> Spoils {
        let opener = self.opener;
        let mut spoils = Spoils::default();
        let (mut packages, mut psks) = (Vec::new(), Vec::new());
        for number in &loot.plains {
            let Some(plain) = opener.plain(*number) else {
                continue;
            };
            spoils.chunks.extend(plain.chunk_of());
            let scope = plain.scope().unwrap_or_default();
            let (tag, id) = scope.split_first().unwrap_or((&0, &[]));
            match plain.family() {
                Some(CLIP) if *tag == CLIP_SCOPE => spoils.rows.extend(id.first_chunk::<16>()),
                Some(RUNNING_DIGEST) => {
                    let name = plain.name().get(1..).unwrap_or_default();
                    spoils.digests.extend(name.first_chunk::<16>());
                }
                Some(NOTICE) => spoils.notices.extend(Notice::read(plain)),
                Some(KEY_PACKAGE) => packages.push(*number),
                Some(PSK | DEVICE | OFFER) => psks.push(*number),
                _ => {}
            }
            spoils.envelopes.extend(self.by_plain(*number));
        }
        for package in packages {
            self.join_with(package, &psks, &mut spoils);
        }
        for number in &loot.states {
            spoils.envelopes.extend(self.by_state(*number));
        }
        spoils
    }

    /// What the message secrets in an opened value open.
    fn by_plain(&mut self, number: usize) -> BTreeSet<usize> {
        if let Some(known) = self.of_plain.get(&number) {
            return known.clone();
        }
        let keys = match self.opener.plain(number) {
            Some(plain) if !plain.name().is_empty() => EpochKeys::all_in(&plain.bytes),
            _ => Vec::new(),
        };
        let opened = self.opened_by(&keys);
        self.of_plain.insert(number, opened.clone());
        opened
    }

    /// What a group opens that goes on from a state.
    fn by_state(&mut self, number: usize) -> BTreeSet<usize> {
        if let Some(known) = self.of_state.get(&number) {
            return known.clone();
        }
        let opener = self.opener;
        let mut opened = BTreeSet::new();
        if let Some(state) = opener.state(number) {
            let values = state.values.iter().filter_map(|(name, plain)| {
                let plain = opener.plain(*plain)?;
                Some((name.clone(), plain.bytes.to_vec()))
            });
            // A group is called by its line: pairing and channel, which is the scope without its tag.
            let line = state.scope.get(1..).unwrap_or_default();
            let commits = |epoch| self.commits(line, epoch);
            let reached = follow::forward(&self.crypto, line, values.collect(), commits);
            opened = self.opened_by(&reached);
        }
        self.of_state.insert(number, opened.clone());
        opened
    }

    /// Tries a stolen key package on every welcome, with whatever PSKs the same copy gives away.
    fn join_with(&mut self, package: usize, psks: &[usize], spoils: &mut Spoils) {
        for place in 0..self.welcomes.len() {
            for psk in self.psks_for(place, psks) {
                let join = (place, package, psk);
                let opened = match self.of_join.get(&join) {
                    Some(known) => known.clone(),
                    None => {
                        let reached = self.join(&join);
                        let opened = reached.map(|reached| self.opened_by(&reached));
                        self.of_join.insert(join, opened.clone());
                        opened
                    }
                };
                if let Some(opened) = opened {
                    let line = self.welcomes.get(place).map(|welcome| welcome.line);
                    spoils.welcomes.extend(line);
                    spoils.envelopes.extend(opened);
                }
            }
        }
    }

    /// The PSKs that these values may give for a welcome.
    fn psks_for(&self, place: usize, values: &[usize]) -> BTreeSet<StolenPsk> {
        let asked = self.welcomes.get(place).and_then(|welcome| welcome.asked);
        let psk = |number: &usize| {
            let plain = self.opener.plain(*number)?;
            let (asked, secret) = match plain.family()? {
                PSK => return Some(StolenPsk::Stored(*number)),
                OFFER => {
                    let (offer, secret) = pairing::offer(&plain.bytes)?;
                    (asked.filter(|asked| asked.offer == offer)?, secret)
                }
                _ => (
                    asked?,
                    pairing::offer_of_device(&plain.bytes, &asked?.offer)?,
                ),
            };
            Some(StolenPsk::Derived(*pairing::psk(&secret, &asked)?))
        };
        values.iter().filter_map(psk).collect()
    }

    /// The secrets of every epoch that somebody comes to who joins so.
    fn join(&self, (place, package, psk): &Join) -> Option<Vec<EpochKeys>> {
        let welcome = self.welcomes.get(*place)?;
        let (stored, derived) = match psk {
            StolenPsk::Stored(number) => (Some(*number), None),
            StolenPsk::Derived(psk) => (None, Some((&welcome.asked.as_ref()?.offer, psk))),
        };
        let mut values = BTreeMap::new();
        for number in std::iter::once(*package).chain(stored) {
            let plain = self.opener.plain(number)?;
            values.insert(plain.name().to_vec(), plain.bytes.to_vec());
        }
        let commits = |epoch| self.commits(&welcome.line, epoch);
        follow::join(&self.crypto, values, derived, &welcome.bytes, commits)
    }

    fn commits(&self, group: &[u8], epoch: u64) -> Vec<&[u8]> {
        self.of_epoch(group, epoch)
            .filter(|(_, message)| message.parts.content_type == COMMIT)
            .map(|(_, message)| message.bytes.as_slice())
            .collect()
    }

    fn of_epoch(&self, group: &[u8], epoch: u64) -> impl Iterator<Item = (usize, &Message)> {
        let places = self.places.get(&(group.to_vec(), epoch));
        places.into_iter().flatten().filter_map(move |place| {
            let message = self.messages.get(*place)?.as_ref()?;
            Some((*place, message))
        })
    }

    fn opened_by(&mut self, keys: &[EpochKeys]) -> BTreeSet<usize> {
        let mut opened = BTreeMap::new();
        for keys in keys {
            for (place, message) in self.of_epoch(&keys.group, keys.epoch) {
                if message.parts.content_type != APPLICATION || opened.contains_key(&place) {
                    continue;
                }
                if let Some((leaf, plaintext)) = keys.open(&message.parts) {
                    opened.insert(place, Said::read(&keys.group, leaf, &plaintext));
                }
            }
        }
        self.said.extend(&opened);
        opened.into_keys().collect()
    }
}

/// The welcomes in what was heard, each with what its phone had asked.
fn welcomes_in(heard: &[Vec<u8>]) -> Vec<Welcome> {
    let mut asked = BTreeMap::new();
    let mut welcomes = Vec::new();
    for message in heard {
        match pairing::heard(message) {
            Some(Heard::Asked(pairing, said)) => {
                asked.insert(pairing, said);
            }
            Some(Heard::Answered(pairing, all)) => {
                for (channel, bytes) in (1_u8..).zip(all) {
                    let mut line = [channel; 17];
                    for (to, from) in line.iter_mut().zip(pairing) {
                        *to = from;
                    }
                    let asked = asked.get(&pairing).copied();
                    welcomes.push(Welcome { line, bytes, asked });
                }
            }
            None => {}
        }
    }
    welcomes
}

/// Every wrapping key that was ever opened, once.
fn wraps_of(opener: &Opener) -> Vec<Wrap> {
    let mut found: Vec<Wrap> = Vec::new();
    for number in 0..opener.opened() {
        let Some(plain) = opener.plain(number) else {
            continue;
        };
        if plain.family() != Some(PAIRING) {
            continue;
        }
        for wrap in pairing::wraps(&plain.bytes).unwrap_or_default() {
            if !found.contains(&wrap) {
                found.push(wrap);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_told_by_channel_sender_and_kind() {
        let group = |channel| [&[9; 16][..], &[channel]].concat();
        let mut chunk = vec![MESSAGE_VERSION, 1];
        chunk.extend([7; 16]);
        chunk.extend([0xac, 0x02, 0]);
        let read = |channel, leaf| Said::read(&group(channel), leaf, &chunk);
        assert_eq!(read(1, 0), Said::Chunk([7; 16], 300));
        assert_eq!(read(1, 1), Said::OfPhone(1));
        assert_eq!(read(2, 0), Said::Picture([7; 16]));
        assert_eq!(read(3, 0), Said::OfHub(3));
        assert_eq!(read(5, 0), Said::OfHub(5));
        assert_eq!(Said::read(&group(1), 0, b""), Said::OfHub(1));
    }

    #[test]
    fn a_stored_notification_names_its_event_and_its_phone() {
        let mut key = vec![b'S', 4];
        key.extend([7; 16]);
        key.extend([4, NOTICE]);
        key.extend([0; 8]);
        // The camera, when it began (300), what it is, and when it was taken.
        let row = [&[ROW, 4][..], b"door", &[0xac, 0x02, 0, 9]].concat();
        let read = |row: &[u8]| {
            Notice::read(&Plain {
                key: key.clone(),
                bytes: Zeroizing::new(row.to_vec()),
            })
        };
        let wanted = Notice {
            pairing: [7; 16],
            camera: b"door".to_vec(),
            started_unix_ms: 300,
        };
        assert_eq!(read(&row), Some(wanted));
        assert_eq!(read(&row[..6]), None);
        assert_eq!(read(b"\x01door"), None);
    }

    #[test]
    fn welcomes_have_the_lines_of_their_channels_and_what_was_asked_for_them() {
        let request = [&[MESSAGE_VERSION, 0][..], &[1; 16], &[2; 16], &[3; 32]].concat();
        let mut answer = [&[MESSAGE_VERSION, 1][..], &[2; 16], &[0; 32 + 5 * 24]].concat();
        answer.extend([1, 9].repeat(5));
        let found = welcomes_in(&[request, answer.clone()]);
        let channels: Vec<u8> = found.iter().map(|one| one.line[16]).collect();
        assert_eq!(channels, [1, 2, 3, 4, 5]);
        assert!(
            found
                .iter()
                .all(|one| one.line[..16] == [2; 16] && one.bytes == [9])
        );
        assert!(found.iter().all(|one| one.asked.unwrap().offer == [1; 16]));
        let unasked = welcomes_in(&[answer]);
        assert!(unasked.len() == 5 && unasked.iter().all(|one| one.asked.is_none()));
    }
}
