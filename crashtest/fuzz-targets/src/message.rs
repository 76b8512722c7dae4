//! What hub and app say inside MLS: every type there is.

use std::fmt::Debug;

use journal::message::{
    self, AppConfigMessage, AppLiveMessage, AppMessage, Command, CommandResult, HubConfigMessage,
    HubLiveMessage, HubMessage, HubNotification, InviteNews, LiveFrame, LiveStart, NAME_BYTES_MAX,
    SignedStatement,
};
use journal::pairing::{CODE_BYTES_MAX, PHONES_MAX};

/// Decoded, it can be said again and is the same; its one spelling is no longer than what came, and
/// nothing may stand behind it. (A number may come with more bytes than it needs: postcard allows it.)
macro_rules! round {
    ($kind:ty, $data:expr) => {{
        let value: Option<$kind> = message::decode($data);
        if let Some(value) = &value {
            let bytes = message::encode(value).expect("what was decoded encodes");
            assert!(bytes.len() <= $data.len());
            assert_eq!(message::decode::<$kind>(&bytes).as_ref(), Some(value));
            let longer = [bytes.as_slice(), &[0]].concat();
            assert_eq!(message::decode::<$kind>(&longer), None);
            let shorter = &bytes[..bytes.len() - 1];
            assert_eq!(message::decode::<$kind>(shorter), None);
        }
        value
    }};
}

/// Each type in turn: the other end may say any of them anywhere.
pub(crate) fn message(data: &[u8]) {
    if let Some(HubMessage::Chunk { bytes, .. }) = round!(HubMessage<'_>, data) {
        assert!(bytes.len() <= data.len());
    }
    round!(AppMessage, data);
    match round!(AppConfigMessage, data) {
        Some(AppConfigMessage::Heartbeat(heartbeat)) => {
            rises(heartbeat.holds.iter().map(|held| held.channel));
        }
        Some(AppConfigMessage::Command(command)) => {
            // What is understood can be ordered again, under the same identifier.
            let again = command.kind().map(|kind| Command::new(command.id, &kind));
            assert!(again.is_none_or(|again| again.is_some()));
        }
        Some(AppConfigMessage::Ack { .. }) | None => {}
    }
    match round!(HubConfigMessage, data) {
        Some(HubConfigMessage::Answer(answer)) => {
            assert!(answer.version.len() <= NAME_BYTES_MAX);
            rises(answer.epochs.iter().map(|(channel, _)| *channel));
        }
        Some(HubConfigMessage::Outcome(outcome)) => {
            if let CommandResult::Phones(phones) = outcome.result {
                assert!(phones.len() <= PHONES_MAX);
            }
        }
        Some(HubConfigMessage::Invited(invited)) => {
            if let InviteNews::Code(code) = invited.news {
                assert!(code.text().len() <= CODE_BYTES_MAX);
            }
        }
        Some(HubConfigMessage::Added(added)) => assert!(added.phones.len() <= PHONES_MAX),
        Some(HubConfigMessage::Settings(_)) | None => {}
    }
    if let Some(HubNotification::Event(notice)) = round!(HubNotification, data) {
        assert!(notice.camera.len() <= NAME_BYTES_MAX);
    }
    if let Some(AppLiveMessage::Watch(wish)) = round!(AppLiveMessage, data) {
        assert!(wish.camera.len() <= NAME_BYTES_MAX);
    }
    round!(HubLiveMessage, data);
    if let Some(frame) = round!(LiveFrame<'_>, data) {
        assert!(frame.start.as_ref().is_none_or(LiveStart::is_sound));
        assert!(frame.bytes.len() <= data.len());
    }
    if let Some(signed) = round!(SignedStatement, data) {
        let bytes = signed.statement.signed_bytes();
        assert!(bytes.is_some_and(|bytes| bytes.len() <= 128));
    }
}

/// At most one word about each channel.
fn rises<T: Ord + Debug>(list: impl Iterator<Item = T>) {
    let list: Vec<T> = list.collect();
    assert!(list.is_sorted_by(|a, b| a < b), "{list:?}");
}
