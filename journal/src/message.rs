//! What hub and app say to each other inside MLS, and the one thing said outside: the statement
//! about a clip that was dropped.
//!
//! Bodies are postcard; the first byte is the version. Bytes from outside are decoded here once and
//! never panic. This room knows no storage.

use serde::{Deserialize, Serialize};

use crate::ids::{Channel, ClipId};

/// Most bytes of a clip in one chunk. One KiB short of 64 KiB, so that chunk, MLS framing, wrap and
/// padding together with the log's record group fill sixteen sectors of 4 KiB and no more.
pub const CHUNK_BYTES_MAX: usize = 63 * 1024;

/// Longest camera name and codec string, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

const VERSION: u8 = 1;

/// What a hub says in the event video channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HubMessage<'a> {
    /// A clip begins. First message of its epoch.
    ClipHeader(ClipHeader),
    /// Bytes of the clip, in order.
    Chunk {
        /// Which clip.
        clip: ClipId,
        /// Number of this chunk in the clip, from 0.
        index: u32,
        /// When the newest sample in it was captured, milliseconds since 1970 by the hub's clock.
        captured_unix_ms: u64,
        /// At most [`CHUNK_BYTES_MAX`] bytes.
        #[serde(borrow, with = "serde_bytes")]
        bytes: &'a [u8],
    },
    /// The clip is whole.
    Trailer(ClipEnd),
    /// The clip ends early, with what the hub had made durable before it stopped.
    CutOff(ClipEnd),
}

/// The beginning of a clip.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClipHeader {
    /// Which clip.
    pub clip: ClipId,
    /// When the event began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// Name of the camera, at most [`NAME_BYTES_MAX`] bytes.
    pub camera: String,
    /// What the bytes are, as a MIME type with codecs, at most [`NAME_BYTES_MAX`] bytes.
    pub mime: String,
}

/// The end of a clip: what exactly the hub accepted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClipEnd {
    /// Which clip.
    pub clip: ClipId,
    /// Number of chunks.
    pub chunks: u32,
    /// Number of bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: [u8; 32],
    /// When it ended, milliseconds since 1970 by the hub's clock; for a cut-off clip, when the
    /// notice was made.
    pub ended_unix_ms: u64,
}

/// What an app says in the event video channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AppMessage {
    /// Everything up to and including this envelope is durable at the app.
    Ack {
        /// Sequence number in the hub's outbox.
        through: u64,
        /// Digest of that envelope.
        digest: [u8; 32],
    },
}

/// Why a clip was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DropReason {
    /// Its sealed bytes were damaged on the hub's disk.
    Damaged,
    /// The disk budget needed its room.
    Budget,
}

/// The statement that lets a cursor pass a gap: whole clips only, signed with the hub's MLS
/// signature key. It takes the place of the last envelope that is gone, is readable ahead of the
/// cursor, and is not sealed by MLS but only wrapped, so that no lost key is needed to read it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Statement {
    /// Which channel of the pairing.
    pub channel: Channel,
    /// First envelope that is no more.
    pub first: u64,
    /// Last envelope that is no more.
    pub last: u64,
    /// Which clip they held.
    pub clip: ClipId,
    /// Why.
    pub reason: DropReason,
}

impl Statement {
    /// The bytes that are signed.
    pub fn signed_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = b"secluso drop statement v1".to_vec();
        bytes.extend_from_slice(&encode(self)?);
        Some(bytes)
    }
}

/// A statement and its signature.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SignedStatement {
    /// What is stated.
    pub statement: Statement,
    /// Signature over [`Statement::signed_bytes`] by the hub's leaf key.
    pub signature: Vec<u8>,
}

/// Version, then postcard.
pub fn encode<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    encode_into(value, &mut out)?;
    Some(out)
}

/// As [`encode`], in place of what `out` held. With room enough no copy is left behind in freed
/// memory.
pub(crate) fn encode_into<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    out.push(VERSION);
    *out = postcard::to_extend(value, core::mem::take(out)).ok()?;
    Some(())
}

/// Reads what [`encode`] wrote; another version, a short body or trailing bytes are `None`.
pub fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    let (&VERSION, body) = bytes.split_first()? else {
        return None;
    };
    let (value, rest) = postcard::take_from_bytes(body).ok()?;
    rest.is_empty().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> Vec<Vec<u8>> {
        let clip = ClipId([3; 16]);
        let end = ClipEnd {
            clip,
            chunks: 2,
            bytes: 70_000,
            sha256: [9; 32],
            ended_unix_ms: 1_700_000_000_000,
        };
        vec![
            encode(&HubMessage::ClipHeader(ClipHeader {
                clip,
                started_unix_ms: 1,
                camera: "door".into(),
                mime: "video/mp4".into(),
            }))
            .unwrap(),
            encode(&HubMessage::Chunk {
                clip,
                index: 1,
                captured_unix_ms: 2,
                bytes: b"abc",
            })
            .unwrap(),
            encode(&HubMessage::Trailer(end.clone())).unwrap(),
            encode(&HubMessage::CutOff(end)).unwrap(),
        ]
    }

    #[test]
    fn every_prefix_and_every_longer_message_is_refused() {
        for whole in samples() {
            assert!(decode::<HubMessage<'_>>(&whole).is_some());
            for length in 0..whole.len() {
                assert!(decode::<HubMessage<'_>>(&whole[..length]).is_none());
            }
            let mut longer = whole.clone();
            longer.push(0);
            assert!(decode::<HubMessage<'_>>(&longer).is_none());
        }
    }
}
