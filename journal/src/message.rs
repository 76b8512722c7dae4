//! What hub and app say to each other inside MLS, and the one thing said outside: the statement
//! about a clip that was dropped.
//!
//! Bodies are postcard; the first byte is the version. Bytes from outside are decoded here once and
//! never panic. This room knows no storage.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::ids::{Channel, ClipId};

mod camera;
mod command;
mod invite;
mod live;

pub use camera::{
    CAMERA_SETTINGS_BYTES_MAX, CameraChange, CameraDoc, CameraSettings, QuietSetting, ZoneSetting,
};
pub use command::{
    Alerts, CLIP_DAYS, COMMAND_BYTES_MAX, Command, CommandKind, CommandResult, EVENT_SECONDS,
    Outcome, PhoneFacts, Refusal, Settings, SettingsBase, SettingsDoc,
};
pub use invite::{AddedPhone, AddedPhones, InviteFailure, InviteNews, Invited, PairingCode};
pub use live::{
    AppLiveMessage, HubLiveMessage, LIVE_INIT_BYTES_MAX, LiveBegun, LiveEnd, LiveEnded, LiveFrame,
    LiveStart, LiveWish,
};

/// Most bytes of a clip in one chunk. One KiB short of 64 KiB, so that chunk, MLS framing, wrap and
/// padding together with the log's record group fill sixteen sectors of 4 KiB and no more.
pub const CHUNK_BYTES_MAX: usize = 63 * 1024;

/// Longest camera name and codec string, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

const VERSION: u8 = 1;

/// What a hub says in the channels of event video and of thumbnails. A thumbnail is a clip of one chunk.
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

/// What an app says in every channel but config and livestream; what it says there has the same acks.
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

/// What an app says in the config channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AppConfigMessage {
    /// The app is there, and this is what it has. An update of its keys follows in each channel.
    Heartbeat(Heartbeat),
    /// Everything up to and including this envelope of the config channel is durable at the app.
    Ack {
        /// Sequence number in the hub's outbox.
        through: u64,
        /// Digest of that envelope.
        digest: [u8; 32],
    },
    /// An order of the owner's.
    Command(Command),
}

/// A sign of life, an ack of every channel at once, and with it what is to be sent again: everything behind what is
/// held, as far as the relay does not have it any more.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Rises with each heartbeat of this pairing, from 1. One that is said again keeps its number.
    pub number: u64,
    /// When it was made, milliseconds since 1970 by the app's clock.
    pub sent_unix_ms: u64,
    /// What is durable at the app; a channel at most once, in the order of their numbers.
    #[serde(deserialize_with = "in_order")]
    pub holds: Vec<ChannelHeld>,
}

/// What an app holds of one channel: an ack.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ChannelHeld {
    /// Which channel.
    pub channel: Channel,
    /// Everything up to and including this envelope of the hub's outbox is durable; 0 if none came. What the hub
    /// has made behind it is to be sent again, if the relay has lost it.
    pub through: u64,
    /// Digest of that envelope; zero if none came.
    pub digest: [u8; 32],
}

/// What a hub says in the config channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HubConfigMessage {
    /// A heartbeat was heard. Last message of the epoch that its update opened.
    Answer(HeartbeatAnswer),
    /// What came of a command. Last message of its epoch, whose Commit is in the same transaction.
    Outcome(Outcome),
    /// The settings have changed.
    Settings(SettingsDoc),
    /// The offer that this phone asked for, to pass on, or that there is none. Last message of its epoch.
    Invited(Invited),
    /// A phone was added by an offer that another one passed on.
    Added(AddedPhones),
}

/// What a hub says to a heartbeat.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// Which heartbeat.
    pub number: u64,
    /// When it was answered, milliseconds since 1970 by the hub's clock.
    pub answered_unix_ms: u64,
    /// The hub's program, at most [`NAME_BYTES_MAX`] bytes.
    #[serde(deserialize_with = "short_name")]
    pub version: String,
    /// The epoch of each channel's group when this was made; a channel at most once, in the order of
    /// their numbers.
    #[serde(deserialize_with = "in_order")]
    pub epochs: Vec<(Channel, u64)>,
    /// How the hub is.
    pub status: HubReport,
}

/// How a hub is, as it tells a phone.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct HubReport {
    /// An event is being recorded.
    pub recording: bool,
    /// Why events are not recorded, or the last one not whole; none if all is well.
    pub not_recorded: Option<NotRecorded>,
    /// Envelopes of all channels that this phone has not acked.
    pub unacked: u64,
}

/// Why a hub records no events, as far as a phone that it answers can be concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NotRecorded {
    /// The camera is not there.
    Camera,
    /// A phone has switched privacy mode on.
    Privacy,
    /// The disk is full.
    Space,
    /// No phone was heard of for too long.
    Silent,
    /// The hub's directory is older than what left it.
    RolledBack,
}

/// What a hub says in the notification channel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HubNotification {
    /// An event begins, or something else that the owner is told at once. The only message of its epoch.
    Event(EventNotice),
}

/// What the owner is told at once. Of an event that begins, clip and picture name the same camera and the same
/// beginning.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct EventNotice {
    /// Name of the camera, at most [`NAME_BYTES_MAX`] bytes; empty where it is about none.
    #[serde(deserialize_with = "short_name")]
    pub camera: String,
    /// When the event, or what else it is, began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// What it is.
    pub kind: NoticeKind,
}

/// What the owner is told at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum NoticeKind {
    /// Something moves: an event begins.
    Motion,
    /// The hub has no room for new events, or only by dropping the oldest that a phone has not got.
    StorageFull,
    /// A camera gives no pictures: nothing of it is recorded.
    CameraAway,
    /// A camera of which that was said is there again.
    CameraBack,
    /// Behind the first word of an event: a person is likely in its picture. A hint, and no more.
    Person,
}

impl NoticeKind {
    /// Whether it is about an event, which may have a clip and a picture.
    #[must_use]
    pub fn is_event(self) -> bool {
        match self {
            Self::Motion | Self::Person => true,
            Self::StorageFull | Self::CameraAway | Self::CameraBack => false,
        }
    }
}

/// Something said about one channel.
trait OfChannel {
    fn channel(&self) -> Channel;
}

impl OfChannel for ChannelHeld {
    fn channel(&self) -> Channel {
        self.channel
    }
}

impl OfChannel for (Channel, u64) {
    fn channel(&self) -> Channel {
        self.0
    }
}

/// Each channel at most once, so there are at most five, in the order of their numbers.
fn in_order<'de, D, T>(from: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + OfChannel,
{
    let list = Vec::<T>::deserialize(from)?;
    let rises = list
        .iter()
        .map(OfChannel::channel)
        .is_sorted_by(|a, b| a < b);
    match rises {
        true => Ok(list),
        false => Err(D::Error::custom("channels out of order")),
    }
}

fn short_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    match name.len() <= NAME_BYTES_MAX {
        true => Ok(name),
        false => Err(D::Error::custom("too long a name")),
    }
}

/// Why a clip was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DropReason {
    /// Its sealed bytes were damaged on the hub's disk.
    Damaged,
    /// The disk budget needed its room.
    Budget,
    /// It had waited for as long as its owner wants clips to be kept.
    Age,
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

    fn config_samples() -> (AppConfigMessage, HubConfigMessage) {
        let holds = Channel::ALL.map(|channel| ChannelHeld {
            channel,
            through: 7,
            digest: [4; 32],
        });
        let heartbeat = Heartbeat {
            number: 9,
            sent_unix_ms: 1_700_000_000_000,
            holds: holds.to_vec(),
        };
        let answer = HeartbeatAnswer {
            number: 9,
            answered_unix_ms: 1_700_000_000_000,
            version: "0.1.0".into(),
            epochs: Channel::ALL.map(|channel| (channel, 3)).to_vec(),
            status: HubReport {
                recording: true,
                not_recorded: Some(NotRecorded::Space),
                unacked: 70_000,
            },
        };
        (
            AppConfigMessage::Heartbeat(heartbeat),
            HubConfigMessage::Answer(answer),
        )
    }

    #[test]
    fn config_messages_of_any_other_length_are_refused() {
        let (app, hub) = config_samples();
        let (app_bytes, hub_bytes) = (encode(&app).unwrap(), encode(&hub).unwrap());
        assert_eq!(decode(&app_bytes), Some(app));
        assert_eq!(decode(&hub_bytes), Some(hub));
        for length in 0..app_bytes.len() {
            assert_eq!(decode::<AppConfigMessage>(&app_bytes[..length]), None);
        }
        for length in 0..hub_bytes.len() {
            assert_eq!(decode::<HubConfigMessage>(&hub_bytes[..length]), None);
        }
        for mut bytes in [app_bytes, hub_bytes] {
            bytes.push(0);
            assert_eq!(decode::<AppConfigMessage>(&bytes), None);
            assert_eq!(decode::<HubConfigMessage>(&bytes), None);
        }
    }

    /// Whoever says more than there is to say of five channels, or twice the same, is not understood.
    #[test]
    fn lists_and_names_beyond_their_limits_are_refused() {
        let (AppConfigMessage::Heartbeat(heartbeat), HubConfigMessage::Answer(answer)) =
            config_samples()
        else {
            unreachable!()
        };
        let mut twice = heartbeat.clone();
        twice.holds.push(heartbeat.holds[4]);
        let mut mixed = heartbeat.clone();
        mixed.holds.swap(0, 1);
        for bad in [twice, mixed] {
            let bytes = encode(&AppConfigMessage::Heartbeat(bad)).unwrap();
            assert_eq!(decode::<AppConfigMessage>(&bytes), None);
        }
        let mut twice = answer.clone();
        twice.epochs.push((Channel::Config, 9));
        let mut long = answer.clone();
        long.version = "x".repeat(NAME_BYTES_MAX + 1);
        for bad in [twice, long] {
            let bytes = encode(&HubConfigMessage::Answer(bad)).unwrap();
            assert_eq!(decode::<HubConfigMessage>(&bytes), None);
        }
        let mut few = heartbeat;
        few.holds.truncate(1);
        let bytes = encode(&AppConfigMessage::Heartbeat(few)).unwrap();
        assert!(decode::<AppConfigMessage>(&bytes).is_some());
        // A length that nobody could mean allocates nothing of the sort.
        let mut huge = vec![VERSION, 0, 1, 1];
        huge.extend_from_slice(&[0xff; 9]);
        huge.push(1);
        assert_eq!(decode::<AppConfigMessage>(&huge), None);
    }

    #[test]
    fn a_notification_of_any_other_length_or_with_a_long_name_is_refused() {
        let of_kind = |camera: String, kind| {
            HubNotification::Event(EventNotice {
                camera,
                started_unix_ms: 1_700_000_000_000,
                kind,
            })
        };
        let notice = |camera| of_kind(camera, NoticeKind::Motion);
        let whole = encode(&notice("door".into())).unwrap();
        assert_eq!(decode(&whole), Some(notice("door".into())));
        for length in 0..whole.len() {
            assert_eq!(decode::<HubNotification>(&whole[..length]), None);
        }
        for kind in [
            NoticeKind::StorageFull,
            NoticeKind::CameraAway,
            NoticeKind::CameraBack,
            NoticeKind::Person,
        ] {
            let alarm = of_kind(String::new(), kind);
            assert_eq!(decode(&encode(&alarm).unwrap()), Some(alarm));
        }
        // One more than there are.
        let mut unknown = encode(&of_kind(String::new(), NoticeKind::Person)).unwrap();
        *unknown.last_mut().unwrap() += 1;
        assert_eq!(decode::<HubNotification>(&unknown), None);
        let long = encode(&notice("x".repeat(NAME_BYTES_MAX + 1))).unwrap();
        assert_eq!(decode::<HubNotification>(&long), None);
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
