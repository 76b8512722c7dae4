//! What is said inside MLS by an end that holds the keys and means harm.

use std::cell::RefCell;

use journal::fuzzing;
use journal::ids::{Channel, ClipId, Line, LiveId};
use journal::message::{
    self, AppConfigMessage, AppMessage, CHUNK_BYTES_MAX, ClipEnd, ClipHeader, EventNotice,
    HubLiveMessage, HubMessage, HubNotification, LiveBegun, NoticeKind,
};
use journal::{AckEffect, Committer, Follower, Held, Received, Session, Taken, Takes};
use wire::ids::{Digest, Seq};

use crate::input::Input;
use crate::pair::{NOW_MS, Pair};

/// Most messages of one run.
const MESSAGES_MAX: usize = 8;
/// The channels in which something is said.
const CHANNELS: [Channel; 5] = [
    Channel::EventVideo,
    Channel::Config,
    Channel::Thumbnail,
    Channel::Notification,
    Channel::Livestream,
];

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

/// A pairing whose ends have said nothing yet.
struct Stage {
    pair: Pair,
    hub: [Session<Committer>; CHANNELS.len()],
    app: [Session<Follower>; CHANNELS.len()],
}

impl Stage {
    fn new() -> Self {
        let pair = Pair::new();
        let lines = CHANNELS.map(|channel| Line::of(pair.pairing, channel));
        Self {
            pair,
            hub: lines.map(Session::new),
            app: lines.map(Session::new),
        }
    }
}

/// A hub says anything to its phone: chunks without a clip, clips twice, answers that nobody asked for.
pub(crate) fn said_app(data: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let mut input = Input::new(data);
        let which = input.below(CHANNELS.len());
        let (hub, app) = (&mut stage.hub[which], &mut stage.app[which]);
        let line = hub.line();
        let head = stage.pair.hub.outbox_head(line).expect("our own storage");
        let first = head.last.next();
        let mut envelopes = Vec::new();
        let mut txn = stage.pair.hub.begin();
        hub.advance_epoch(&mut txn).expect("a hub may commit");
        envelopes.extend(fuzzing::said(&txn, line, first).expect("our own storage"));
        while envelopes.len() <= MESSAGES_MAX && !input.is_empty() {
            let plaintext = spoken(&mut input);
            let Ok(seq) = fuzzing::say_as_hub(hub, &mut txn, &plaintext) else {
                break;
            };
            envelopes.extend(fuzzing::said(&txn, line, seq).expect("our own storage"));
        }
        drop(txn);
        let mut txn = stage.pair.app.begin();
        let mut media = 0;
        for (seq, envelope) in (first.0..).map(Seq).zip(&envelopes) {
            let taken = app.take(&mut txn, seq, envelope, NOW_MS);
            match taken.expect("what a hub says is no error of ours") {
                Taken::NewEpoch(_) => assert_eq!(seq, first),
                Taken::Media { bytes, .. } => {
                    assert!(bytes as usize <= CHUNK_BYTES_MAX);
                    media += bytes as usize;
                }
                Taken::Answered(_) | Taken::CommandDone(_) => {
                    panic!("an answer to what was never asked");
                }
                Taken::Nothing(_)
                | Taken::Settings(_)
                | Taken::Invited { .. }
                | Taken::Added(_)
                | Taken::Notified(_)
                | Taken::LiveBegun(_)
                | Taken::LiveEnded(_)
                | Taken::Started(_)
                | Taken::Ended { .. } => {}
                other => panic!("{other:?} of what was said inside MLS"),
            }
        }
        assert!(media <= data.len(), "more bytes than were said");
    });
}

/// A phone says anything to its hub: acks of what was never sent, heartbeats about other channels.
pub(crate) fn said_hub(data: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let mut input = Input::new(data);
        let which = input.below(CHANNELS.len());
        let (hub, app) = (&mut stage.hub[which], &mut stage.app[which]);
        let line = hub.line();
        let head = stage.pair.hub.outbox_head(line).expect("our own storage");
        let mut said = Vec::new();
        let mut txn = stage.pair.app.begin();
        for _ in 0..MESSAGES_MAX {
            if input.is_empty() {
                break;
            }
            let plaintext = input.bytes().to_vec();
            let seq = fuzzing::say_as_app(app, &mut txn, &plaintext).expect("an app may speak");
            let envelope = fuzzing::said(&txn, line, seq).expect("our own storage");
            said.push((seq, envelope.expect("it is in the outbox"), plaintext));
        }
        drop(txn);
        let mut txn = stage.pair.hub.begin();
        for (seq, envelope, plaintext) in &said {
            let takes = Takes::MessagesAndProposals;
            let arrived = hub.receive(&mut txn, *seq, envelope, takes);
            let arrived = arrived.expect("what a phone says is no error of ours");
            let Received::Message(heard) = arrived.received else {
                panic!("{:?} of what was said inside MLS", arrived.received);
            };
            assert_eq!(*heard, *plaintext);
            for held in acks(line, &heard) {
                let explained = txn.outbox_explains(line, held).expect("our own storage");
                assert!(!explained || held.seq <= head.last);
                let effect = hub.take_ack(&mut txn, held.seq).expect("our own storage");
                assert_eq!(effect == AckEffect::BeyondOurHead, held.seq > head.last);
            }
        }
    });
}

/// What a message claims to hold of this line.
fn acks(line: Line, plaintext: &[u8]) -> Vec<Held> {
    let held = |through, digest| Held {
        seq: Seq(through),
        digest: Digest(digest),
    };
    if line.channel != Channel::Config {
        let said = message::decode::<AppMessage>(plaintext);
        let ack = said.map(|AppMessage::Ack { through, digest }| held(through, digest));
        return ack.into_iter().collect();
    }
    match message::decode(plaintext) {
        Some(AppConfigMessage::Ack { through, digest }) => vec![held(through, digest)],
        Some(AppConfigMessage::Heartbeat(heartbeat)) => {
            let own = heartbeat
                .holds
                .iter()
                .filter(|of| of.channel == line.channel);
            own.map(|of| held(of.through, of.digest)).collect()
        }
        Some(AppConfigMessage::Command(_)) | None => Vec::new(),
    }
}

/// A message of a hub: one that decodes, more often than luck would have it, or any bytes.
pub(super) fn spoken(input: &mut Input<'_>) -> Vec<u8> {
    let what = input.byte() % 7;
    let clip = ClipId([input.byte() % 3; 16]);
    let end = |input: &mut Input<'_>| ClipEnd {
        clip,
        chunks: input.word() as u32,
        bytes: input.word() as u64,
        sha256: [input.byte(); 32],
        ended_unix_ms: input.number(),
    };
    let encoded = match what {
        0 => message::encode(&HubMessage::ClipHeader(ClipHeader {
            clip,
            started_unix_ms: input.number(),
            camera: String::from_utf8_lossy(input.bytes()).into_owned(),
            mime: String::from_utf8_lossy(input.bytes()).into_owned(),
        })),
        1 => message::encode(&HubMessage::Chunk {
            clip,
            index: u32::from(input.byte()),
            captured_unix_ms: input.number(),
            bytes: input.bytes(),
        }),
        2 => message::encode(&HubMessage::Trailer(end(input))),
        3 => message::encode(&HubMessage::CutOff(end(input))),
        5 => message::encode(&HubNotification::Event(EventNotice {
            camera: String::from_utf8_lossy(input.bytes()).into_owned(),
            started_unix_ms: u64::from(input.byte()),
            kind: NoticeKind::Motion,
        })),
        6 => message::encode(&HubLiveMessage::Begun(LiveBegun {
            wish: LiveId([input.byte(); 16]),
            session: input.number(),
        })),
        _ => Some(input.bytes().to_vec()),
    };
    encoded.expect("a message encodes")
}
