//! The journal's own identifiers: what hub and app name to each other and the relay never learns.
//!
//! This room must never hold a secret, and none of these identifiers is a key. `Debug` prints the
//! first four bytes only, so that logs do not link a camera to a mailbox; what hub and app tell people
//! and programs is `short`, the same digits at both.

use core::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id16 {
    ($(#[$doc:meta])* $name:ident, $digits:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// The whole identifier as 32 lower-case hexadecimal digits.
            pub fn to_hex(self) -> String {
                self.0.iter().map(|byte| format!("{byte:02x}")).collect()
            }

            /// By which people and programs are told of it: its first digits, enough to tell it from the
            /// others of its kind.
            pub fn short(self) -> String {
                let mut digits = self.to_hex();
                digits.truncate($digits);
                digits
            }

            /// Parses what [`Self::to_hex`] prints; anything else is `None`.
            pub fn from_hex(text: &str) -> Option<Self> {
                let digits = text.as_bytes();
                if digits.len() != 32 {
                    return None;
                }
                let mut bytes = [0; 16];
                for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
                    let pair = core::str::from_utf8(pair).ok()?;
                    *byte = u8::from_str_radix(pair, 16).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, "{}({a:02x}{b:02x}{c:02x}{d:02x}..)", stringify!($name))
            }
        }
    };
}

id16! {
    /// One camera paired with one phone.
    PairingId, 8
}
id16! {
    /// One offer to pair: the life of one QR code.
    OfferId, 8
}
id16! {
    /// The video of one event. Chosen at random by the hub.
    ClipId, 12
}
id16! {
    /// One order of an owner's app. Chosen at random by the app.
    CommandId, 12
}

id16! {
    /// One wish of an owner's app to watch live. Chosen at random by the app.
    LiveId, 12
}

/// An MLS epoch (RFC 9420, section 7.1). Never seconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// The MLS groups of a pairing, each with its own mailboxes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Channel {
    /// Clips of events.
    EventVideo = 1,
    /// Thumbnails.
    Thumbnail = 2,
    /// Live sessions.
    Livestream = 3,
    /// Notifications.
    Notification = 4,
    /// Settings, heartbeats and commands.
    Config = 5,
}

impl Channel {
    /// All of them, in the order of their numbers: a pairing has a group for each.
    pub const ALL: [Self; 5] = [
        Self::EventVideo,
        Self::Thumbnail,
        Self::Livestream,
        Self::Notification,
        Self::Config,
    ];

    /// The channel's number in keys and in MLS group identifiers.
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// One channel of one pairing: the unit that has a group, an outbox and an inbox of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Line {
    /// Whose.
    pub pairing: PairingId,
    /// Which of its groups.
    pub channel: Channel,
}

impl Line {
    /// One channel of a pairing.
    pub const fn of(pairing: PairingId, channel: Channel) -> Self {
        Self { pairing, channel }
    }

    /// The lines of a pairing, in the order of [`Channel::ALL`].
    pub fn all(pairing: PairingId) -> [Self; Channel::ALL.len()] {
        Channel::ALL.map(|channel| Self { pairing, channel })
    }

    /// Pairing, then the channel's number: the key of everything that belongs to this line.
    pub fn key(&self) -> [u8; 17] {
        let mut key = [0; 17];
        key[..16].copy_from_slice(&self.pairing.0);
        key[16] = self.channel.number();
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips_and_refuses_everything_else() {
        let id = ClipId(*b"0123456789abcdef");
        assert_eq!(ClipId::from_hex(&id.to_hex()), Some(id));
        for bad in ["", "00", "zz", &"0".repeat(33), &"é".repeat(16)] {
            assert_eq!(ClipId::from_hex(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn all_channels_stand_in_the_order_of_their_numbers() {
        assert_eq!(Channel::ALL.map(Channel::number), [1, 2, 3, 4, 5]);
        assert!(Channel::ALL.is_sorted());
    }

    /// There are few phones and many clips.
    #[test]
    fn people_are_told_of_the_first_digits_alone() {
        let bytes = *b"0123456789abcdef";
        assert_eq!(PairingId(bytes).short(), "30313233");
        assert_eq!(ClipId(bytes).short(), "303132333435");
        assert_eq!(CommandId(bytes).short(), "303132333435");
        assert!(ClipId(bytes).to_hex().starts_with(&ClipId(bytes).short()));
    }

    #[test]
    fn debug_shows_four_bytes_only() {
        assert_eq!(
            format!("{:?}", PairingId([0xab; 16])),
            "PairingId(abababab..)"
        );
    }
}
