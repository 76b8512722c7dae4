//! Live frames at a phone that watches: what the relay makes of them, what lies under their wrap, and what a hub that
//! means harm says in them inside MLS.
//!
//! Frames move ratchets in memory that no dropped transaction takes back, so the two ends are made anew after some of
//! them. A run ends with an honest frame, which is shown, whatever came before it.

use journal::fuzzing;
use journal::ids::{Channel, Epoch, Line, LiveId};
use journal::message::{self, CHUNK_BYTES_MAX, LiveFrame, LiveStart, LiveWish, NAME_BYTES_MAX};
use journal::{Committer, Follower, LiveArrival, LivePart, Received, Session, Takes};
use wal::SeededDice;
use wire::ids::Seq;
use wire::limits::ENVELOPE_BYTES_MAX;

use crate::input::Input;
use crate::pair::{NOW_MS, Pair, outgoing};

/// Frames after which the ends are made anew: far fewer than a phone skips for one that comes early.
const FRAMES_MAX: u32 = 400;
/// The camera of this phone's wish.
const WISH: LiveId = LiveId([3; 16]);

/// A session under way.
pub(super) struct Stage {
    pair: Pair,
    hub: Session<Committer>,
    app: Session<Follower>,
    epoch: Epoch,
    sealed: u32,
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut pair = Pair::new();
        let line = Line::of(pair.pairing, Channel::Livestream);
        let (mut hub, mut app) = (
            Session::<Committer>::new(line),
            Session::<Follower>::new(line),
        );
        let wish = LiveWish {
            id: WISH,
            camera: "door".into(),
        };
        let mut txn = pair.app.begin();
        app.send_watch(&mut txn, &wish).expect("a phone may wish");
        drop(txn.commit(()).expect("our own storage"));
        for (seq, envelope) in outgoing(&pair.app, line, Seq::NONE) {
            let mut txn = pair.hub.begin();
            let takes = Takes::MessagesAndProposals;
            let arrived = hub.receive(&mut txn, seq, &envelope, takes);
            let arrived = arrived.expect("an honest wish is no error");
            assert!(matches!(arrived.received, Received::Message(_)));
            hub.begin_live(&mut txn, WISH).expect("a wish is granted");
            drop(txn.commit(()).expect("our own storage"));
        }
        for (seq, envelope) in outgoing(&pair.hub, line, Seq::NONE) {
            let mut txn = pair.app.begin();
            let taken = app.take(&mut txn, seq, &envelope, NOW_MS);
            taken.expect("an honest envelope is no error");
            drop(txn.commit(()).expect("our own storage"));
        }
        let mut txn = pair.hub.begin();
        let epoch = hub.epoch(&mut txn).expect("the group loads");
        drop(txn);
        Self {
            pair,
            hub,
            app,
            epoch,
            sealed: 0,
        }
    }

    pub(super) fn frame(&mut self, data: &[u8]) {
        if self.sealed >= FRAMES_MAX {
            *self = Self::new();
        }
        fuzzing::watch_anew(&mut self.app);
        let mut input = Input::new(data);
        match input.byte() % 3 {
            0 => self.passed_on(input),
            1 => self.wrapped(input),
            _ => self.said(input),
        }
        fuzzing::watch_anew(&mut self.app);
        let honest = self.honest();
        let part = self.shown(&honest);
        let part = part.expect("an honest frame is shown, whatever came before it");
        assert_eq!((part.number, part.bytes.as_slice()), (1, BYTES));
        assert!(self.shown(&honest).is_none(), "a frame was shown twice");
    }

    /// Of somebody without the pairing's keys.
    fn passed_on(&mut self, mut input: Input<'_>) {
        let honest = self.honest();
        let mut frame = match input.flag() {
            true => Vec::new(),
            false => honest.clone(),
        };
        input.edit(&mut frame);
        match self.arrives(&frame) {
            LiveArrival::Part(_) => assert_eq!(frame, honest),
            arrival => assert!(
                frame != honest && arrival == LiveArrival::NotAuthentic,
                "{arrival:?}"
            ),
        }
    }

    /// Of somebody who has the wrapping key, and no member's.
    fn wrapped(&mut self, mut input: Input<'_>) {
        let line = self.hub.line();
        let honest = self.honest();
        let inside = fuzzing::unwrap_live(&self.pair.app, line, &honest).expect("our own storage");
        let inside = inside.expect("an honest frame is authentic");
        let content = match input.flag() {
            true => input.rest().to_vec(),
            false => {
                let mut content = inside.clone();
                input.edit(&mut content);
                content
            }
        };
        let dice = &mut SeededDice(5);
        let frame = fuzzing::wrap_live(&self.pair.hub, line, &content, dice);
        let frame = frame.expect("a paired hub wraps");
        let arrival = self.arrives(&frame);
        let is_shown = matches!(arrival, LiveArrival::Part(_));
        assert_eq!(is_shown, content == inside, "{arrival:?}");
        // What is longer than any envelope is nothing, however well it was wrapped.
        let is_nothing = frame.len() > ENVELOPE_BYTES_MAX;
        assert_eq!(arrival == LiveArrival::NotAuthentic, is_nothing);
    }

    /// Of the hub itself: frames that decode, more often than luck would have it, or any bytes; bound to the number
    /// that they have, or to another.
    fn said(&mut self, mut input: Input<'_>) {
        let number = input.number();
        let is_bound = input.flag();
        let plaintext = match input.flag() {
            true => input.rest().to_vec(),
            false => spoken(&mut input, self.epoch, number),
        };
        let bound_to = number.wrapping_add(u64::from(!is_bound));
        let frame = self.seal(bound_to, &plaintext);
        let Some(part) = self.shown(&frame) else {
            return;
        };
        assert_eq!((part.session, part.number), (self.epoch.0, bound_to));
        assert!(part.bytes.len() <= CHUNK_BYTES_MAX.min(plaintext.len()));
        assert!((1..=part.number).contains(&part.group));
        assert_eq!(part.start.is_some(), part.group == part.number);
        assert!(part.start.as_ref().is_none_or(LiveStart::is_sound));
        // What comes behind it is above it, or is not shown.
        let same = spoken_frame(self.epoch, part.number, BYTES);
        let again = self.seal(part.number, &same);
        assert!(self.shown(&again).is_none(), "a number was shown twice");
    }

    /// A sound frame, the first of its session.
    fn honest(&mut self) -> Vec<u8> {
        let plaintext = spoken_frame(self.epoch, 1, BYTES);
        self.seal(1, &plaintext)
    }

    fn seal(&mut self, number: u64, plaintext: &[u8]) -> Vec<u8> {
        self.sealed += 1;
        let at = (self.epoch, number);
        let sealed = fuzzing::say_live_as_hub(&mut self.hub, &mut self.pair.hub, at, plaintext);
        sealed.expect("a hub may speak in its session")
    }

    fn arrives(&mut self, frame: &[u8]) -> LiveArrival {
        let arrival = self.app.open_live(&mut self.pair.app, frame);
        arrival.expect("bytes from outside are no error of ours")
    }

    fn shown(&mut self, frame: &[u8]) -> Option<LivePart> {
        match self.arrives(frame) {
            LiveArrival::Part(part) => Some(part),
            _ => None,
        }
    }
}

/// What an honest frame holds.
const BYTES: &[u8] = b"bytes of a picture";

/// A frame that begins a group, as it is said.
fn spoken_frame(session: Epoch, number: u64, bytes: &[u8]) -> Vec<u8> {
    let frame = LiveFrame {
        session: session.0,
        number,
        group: number,
        captured_unix_ms: NOW_MS,
        ends_fragment: true,
        start: Some(LiveStart {
            mime: "video/mp4".into(),
            init: vec![7; 8],
        }),
        bytes,
    };
    message::encode(&frame).expect("a message encodes")
}

fn spoken(input: &mut Input<'_>, epoch: Epoch, number: u64) -> Vec<u8> {
    let session = match input.flag() {
        true => input.number(),
        false => epoch.0,
    };
    let group = match input.byte() % 3 {
        0 => number,
        1 => number.saturating_sub(1),
        _ => input.number(),
    };
    let start = input.flag().then(|| LiveStart {
        mime: "m".repeat(usize::from(input.byte()) % (NAME_BYTES_MAX + 2)),
        init: input.bytes().to_vec(),
    });
    let frame = LiveFrame {
        session,
        number,
        group,
        captured_unix_ms: input.number(),
        ends_fragment: input.flag(),
        start,
        bytes: input.rest(),
    };
    message::encode(&frame).expect("a message encodes")
}
