//! What is said about live pictures: in the livestream channel's mailboxes, and in the frames that lie in none.
//!
//! A wish, a beginning and an end are envelopes like any other. A frame is stored nowhere, so it says itself
//! where it belongs: which session, which number in it, and when its picture was taken.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{NAME_BYTES_MAX, short_name};
use crate::ids::LiveId;

/// Most bytes of an initialisation segment in a frame: codec parameters and a handful of boxes.
pub const LIVE_INIT_BYTES_MAX: usize = 4096;

/// What an app says in the livestream channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AppLiveMessage {
    /// Everything up to and including this envelope is durable at the app. As in the other channels.
    Ack {
        /// Sequence number in the hub's outbox.
        through: u64,
        /// Digest of that envelope.
        digest: [u8; 32],
    },
    /// Somebody wants to watch.
    Watch(LiveWish),
    /// Whoever wished that has seen enough.
    Enough(LiveId),
}

/// A wish to watch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveWish {
    /// Which wish. A new one each time that somebody begins to watch, and after each session that was lost.
    pub id: LiveId,
    /// Name of the camera, at most [`NAME_BYTES_MAX`] bytes; empty: the first.
    #[serde(deserialize_with = "short_name")]
    pub camera: String,
}

/// What a hub says in the livestream channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HubLiveMessage {
    /// A session begins. First message of its epoch; frames follow, which lie in no mailbox.
    Begun(LiveBegun),
    /// The session is over, or none begins. Last message of its epoch.
    Ended(LiveEnded),
}

/// The beginning of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveBegun {
    /// The wish that it answers.
    pub wish: LiveId,
    /// Which session: the epoch in which this is said. Rises with each session of the pairing.
    pub session: u64,
}

/// The end of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveEnded {
    /// The wish that it answered.
    pub wish: LiveId,
    /// Which session.
    pub session: u64,
    /// Frames that were sealed in it.
    pub frames: u64,
    /// Why it is over.
    pub why: LiveEnd,
}

/// Why a session is over, or does not begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum LiveEnd {
    /// The app has said so.
    Enough,
    /// It has lasted as long as one may. Whoever still watches asks again.
    Limit,
    /// The relay passes its pictures on to nobody.
    Unwatched,
    /// Privacy mode: the owner wants nobody to see anything.
    Privacy,
    /// As many watch as may.
    Busy,
    /// The hub sends at a constant rate, which live pictures are not part of: they would show that something is
    /// watched, and how much moves.
    Covered,
    /// No camera of the hub has that name, or none has it any more.
    NoCamera,
}

/// A piece of a live picture. Sealed by MLS in its session's epoch, and not stored anywhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveFrame<'a> {
    /// Which session.
    pub session: u64,
    /// Which frame of it: rises by one, from 1.
    pub number: u64,
    /// The number of the frame with which its group of pictures begins.
    pub group: u64,
    /// When the newest picture in it was captured, milliseconds since 1970 by the hub's clock.
    pub captured_unix_ms: u64,
    /// Whether a fragment ends with it: what came until here can be played.
    pub ends_fragment: bool,
    /// What a player needs first; in the first frame of every group, and in no other.
    pub start: Option<LiveStart>,
    /// At most [`super::CHUNK_BYTES_MAX`] bytes of the fragment.
    #[serde(borrow, with = "serde_bytes")]
    pub bytes: &'a [u8],
}

/// With what a player begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveStart {
    /// What the bytes are, as a MIME type with codecs, at most [`NAME_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "short_name")]
    pub mime: String,
    /// The initialisation segment, at most [`LIVE_INIT_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "short_init")]
    pub init: Vec<u8>,
}

impl LiveStart {
    /// Whether it is within its limits.
    pub fn is_sound(&self) -> bool {
        self.mime.len() <= NAME_BYTES_MAX && self.init.len() <= LIVE_INIT_BYTES_MAX
    }
}

fn short_init<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let init = Vec::<u8>::deserialize(from)?;
    match init.len() <= LIVE_INIT_BYTES_MAX {
        true => Ok(init),
        false => Err(D::Error::custom("too long an initialisation segment")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AppMessage, decode, encode};
    use super::*;

    const WISH: LiveId = LiveId([7; 16]);

    fn frame(bytes: &[u8]) -> LiveFrame<'_> {
        LiveFrame {
            session: 9,
            number: 300,
            group: 290,
            captured_unix_ms: 1_800_000_000_000,
            ends_fragment: true,
            start: Some(LiveStart {
                mime: "video/mp4".into(),
                init: vec![5; LIVE_INIT_BYTES_MAX],
            }),
            bytes,
        }
    }

    #[test]
    fn messages_of_any_other_length_are_refused() {
        let wish = LiveWish {
            id: WISH,
            camera: "door".into(),
        };
        for message in [AppLiveMessage::Watch(wish), AppLiveMessage::Enough(WISH)] {
            let bytes = encode(&message).unwrap();
            assert_eq!(decode(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(decode::<AppLiveMessage>(&bytes[..length]), None);
            }
        }
        let begun = LiveBegun {
            wish: WISH,
            session: 9,
        };
        let ended = LiveEnded {
            wish: WISH,
            session: 9,
            frames: 4,
            why: LiveEnd::Busy,
        };
        for message in [HubLiveMessage::Begun(begun), HubLiveMessage::Ended(ended)] {
            let bytes = encode(&message).unwrap();
            assert_eq!(decode(&bytes), Some(message));
            for length in 0..bytes.len() {
                assert_eq!(decode::<HubLiveMessage>(&bytes[..length]), None);
            }
        }
        let bytes = encode(&frame(b"abc")).unwrap();
        assert_eq!(decode(&bytes), Some(frame(b"abc")));
        for length in 0..bytes.len() {
            assert_eq!(decode::<LiveFrame<'_>>(&bytes[..length]), None);
        }
    }

    #[test]
    fn what_is_longer_than_its_limit_is_refused() {
        let wish = AppLiveMessage::Watch(LiveWish {
            id: WISH,
            camera: "x".repeat(NAME_BYTES_MAX + 1),
        });
        assert_eq!(decode::<AppLiveMessage>(&encode(&wish).unwrap()), None);
        let mut long = frame(b"abc");
        let start = long.start.as_mut().unwrap();
        assert!(start.is_sound());
        start.init.push(0);
        assert!(!start.is_sound());
        assert_eq!(decode::<LiveFrame<'_>>(&encode(&long).unwrap()), None);
    }

    /// One end may know fewer of them than the other: what is known keeps its number, and what is not is no message.
    #[test]
    fn ends_keep_their_numbers() {
        let table = [
            LiveEnd::Enough,
            LiveEnd::Limit,
            LiveEnd::Unwatched,
            LiveEnd::Privacy,
            LiveEnd::Busy,
            LiveEnd::Covered,
            LiveEnd::NoCamera,
        ];
        for (number, end) in (0..).zip(table) {
            // Behind the version.
            assert_eq!(encode(&end), Some(vec![1, number]));
        }
        let unknown = [1, u8::try_from(table.len()).unwrap()];
        assert_eq!(decode::<LiveEnd>(&unknown), None);
    }

    /// A hub reads an app's acks in this channel as in every other.
    #[test]
    fn an_ack_is_the_same_in_every_channel() {
        let (through, digest) = (8, [3; 32]);
        assert_eq!(
            encode(&AppLiveMessage::Ack { through, digest }),
            encode(&AppMessage::Ack { through, digest })
        );
    }
}
