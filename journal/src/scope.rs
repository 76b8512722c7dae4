//! Scopes: every secret value belongs to exactly one, and each has a storage key of its own.
//!
//! A scope ends whole: its key is erased from the vault, and whatever log or view still hold of it
//! is noise from then on (DESIGN: "Vault"). This room never touches a key.

use serde::{Deserialize, Serialize};

use crate::ids::{Channel, ClipId, Line, OfferId, PairingId};

/// Length of an encoded scope in bytes: tag, identifier, channel.
pub(crate) const SCOPE_BYTES: usize = 18;

/// Whose secret a value is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Scope {
    /// The device itself: its identity keys and its device secret.
    Device,
    /// One offer to pair; ends with the offer, whatever became of it.
    Offer(OfferId),
    /// One pairing: mailbox capabilities, wrapping keys, MLS signature key, list of clips.
    Pairing(PairingId),
    /// One MLS group.
    Group(Line),
    /// One event's data on the phone, deleting the clip ends it; or the copy that a hub retains of a clip,
    /// the phone's ack ends it.
    Clip(ClipId),
    /// A code that this phone passes on; ends when it was shown, used or is too old, whichever is first.
    Passed(OfferId),
}

impl Scope {
    /// Tag, 16 bytes of identifier, channel number or 0: equal length, so that a scope's values
    /// are one range of the view. FORMAT.md, "Scopes".
    pub(crate) fn encode(&self) -> [u8; SCOPE_BYTES] {
        let (tag, id, channel) = match self {
            Self::Device => (1, [0; 16], 0),
            Self::Offer(offer) => (2, offer.0, 0),
            Self::Pairing(pairing) => (3, pairing.0, 0),
            Self::Group(line) => (4, line.pairing.0, line.channel.number()),
            Self::Clip(clip) => (5, clip.0, 0),
            Self::Passed(offer) => (6, offer.0, 0),
        };
        let mut out = [0; SCOPE_BYTES];
        out[0] = tag;
        out[1..17].copy_from_slice(&id);
        out[17] = channel;
        out
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; SCOPE_BYTES] = bytes.try_into().ok()?;
        let mut id = [0; 16];
        id.copy_from_slice(&bytes[1..17]);
        Some(match (bytes[0], bytes[17]) {
            (1, 0) => Self::Device,
            (2, 0) => Self::Offer(OfferId(id)),
            (3, 0) => Self::Pairing(PairingId(id)),
            (4, channel) => Self::Group(Line {
                pairing: PairingId(id),
                channel: channel_from_number(channel)?,
            }),
            (5, 0) => Self::Clip(ClipId(id)),
            (6, 0) => Self::Passed(OfferId(id)),
            _ => return None,
        })
    }
}

fn channel_from_number(number: u8) -> Option<Channel> {
    Channel::ALL
        .into_iter()
        .find(|channel| channel.number() == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scope_round_trips_and_no_two_collide() {
        let line = Line {
            pairing: PairingId([7; 16]),
            channel: Channel::EventVideo,
        };
        let scopes = [
            Scope::Device,
            Scope::Offer(OfferId([7; 16])),
            Scope::Pairing(PairingId([7; 16])),
            Scope::Group(line),
            Scope::Group(Line {
                channel: Channel::Config,
                ..line
            }),
            Scope::Clip(ClipId([7; 16])),
            Scope::Passed(OfferId([7; 16])),
        ];
        for (i, a) in scopes.iter().enumerate() {
            assert_eq!(Scope::decode(&a.encode()), Some(*a));
            for b in scopes.iter().skip(i + 1) {
                assert_ne!(a.encode(), b.encode());
            }
        }
        assert_eq!(Scope::decode(&[9; SCOPE_BYTES]), None);
        assert_eq!(Scope::decode(&[1; 3]), None);
    }
}
