//! A live session at a whole app, over many frames: lost, late, twice, damaged on the way. What is shown is compared with
//! what was filmed.

use std::collections::BTreeMap;

use app_core::core::{Core, Delivered, LiveOut};
use bytes::Bytes;
use journal::fuzzing;
use journal::ids::{Channel, Line, LiveId, PairingId};
use journal::message::{self, LiveFrame, LiveStart};
use journal::{Committer, Journal, Received, Session, Takes};
use wire::ids::Seq;

use crate::input::Input;
use crate::pair::{NOW_MS, Pair, outgoing};

/// Sessions after which both ends are made anew: each leaves two envelopes.
const SESSIONS_MAX: u32 = 100;
/// Most frames of one session.
const FRAMES_MAX: u64 = 48;
/// Who watches.
const VIEWER: u64 = 1;
/// The clock of the app's process, in milliseconds.
const NOW: u64 = 60_000;
/// Facts that wait for whoever watches; the core has the same.
const WAITING_MAX: usize = 256;

/// A hub, and an app that watches it.
pub(super) struct Stage {
    hub: Journal,
    session: Session<Committer>,
    app: Core,
    pairing: PairingId,
    wish: LiveId,
    heard: Seq,
    sessions: u32,
}

/// A frame as it was filmed.
struct Filmed {
    start: Option<LiveStart>,
    ends_fragment: bool,
    bytes: Vec<u8>,
    sealed: Bytes,
}

impl Stage {
    pub(super) fn new() -> Self {
        let Pair {
            mut hub,
            app,
            pairing,
            ..
        } = Pair::new();
        let line = Line::of(pairing, Channel::Livestream);
        let mut app = Core::new(app);
        let wished = app.stage_wish(pairing, VIEWER, "door");
        let wished = wished.expect("our own storage").expect("a phone may wish");
        let committed = app.commit().expect("a sound disk commits");
        let wish = committed.redeem(wished).into_inner();
        let said = app.next_envelope(line, Seq::NONE).expect("our own storage");
        let (seq, envelope) = said.expect("a wish is an envelope");
        let envelope = envelope.into_inner().into_bytes();
        let mut session = Session::<Committer>::new(line);
        let mut txn = hub.begin();
        let arrived = session.receive(&mut txn, seq, &envelope, Takes::MessagesAndProposals);
        let arrived = arrived.expect("an honest wish is no error");
        assert!(matches!(arrived.received, Received::Message(_)));
        drop(txn.commit(()).expect("our own storage"));
        Self {
            hub,
            session,
            app,
            pairing,
            wish,
            heard: Seq::NONE,
            sessions: 0,
        }
    }

    /// One session: filmed, sealed, brought in the order that the input says.
    pub(super) fn run(&mut self, data: &[u8]) {
        if self.sessions >= SESSIONS_MAX {
            *self = Self::new();
        }
        self.begin();
        let mut input = Input::new(data);
        let filmed = self.film(&mut input);
        let mut arrived = Vec::new();
        let mut shown = Vec::new();
        let mut next = 1;
        while next <= filmed.len() as u64 {
            // An input that has ended brings all the rest in order.
            let way = input.byte();
            let back = |input: &mut Input<'_>| u64::from(input.byte() % 8) + 1;
            let brought = match way % 8 {
                1 => None,
                2 => {
                    next += back(&mut input);
                    None
                }
                3 => Some(next.saturating_sub(back(&mut input))),
                4 => {
                    let mut damaged = filmed[&next].sealed.to_vec();
                    let at = input.below(damaged.len());
                    damaged[at] ^= 1 << (way >> 5);
                    self.brings(damaged.into());
                    None
                }
                _ => Some(next),
            };
            if let Some(frame) = brought.and_then(|number| filmed.get(&number)) {
                self.brings(frame.sealed.clone());
            }
            // What comes behind a later one, or again, is late.
            let last = arrived.last().copied().unwrap_or(0);
            arrived.extend(brought.filter(|number| *number > last));
            if !matches!(way % 8, 3 | 4) {
                next += 1;
            }
            if way & 0x10 != 0 {
                shown.extend(self.app.poll_live(self.pairing, VIEWER));
            }
        }
        let waiting = self.app.poll_live(self.pairing, VIEWER);
        assert!(waiting.len() <= WAITING_MAX);
        shown.extend(waiting);
        as_filmed(&filmed, &arrived, &shown);
    }

    /// A frame comes to the app.
    fn brings(&mut self, frame: Bytes) {
        let early = self.app.open_live(self.pairing, vec![frame]);
        let early = early.expect("a frame is no error of ours");
        assert!(early.is_empty(), "the session has begun");
    }

    /// The hub begins a session, and the app hears of it.
    fn begin(&mut self) {
        self.sessions += 1;
        let line = self.session.line();
        let mut txn = self.hub.begin();
        let begun = self.session.begin_live(&mut txn, self.wish);
        begun.expect("a wish is granted");
        drop(txn.commit(()).expect("our own storage"));
        let said = outgoing(&self.hub, line, self.heard).into_iter();
        let said: Vec<Delivered> = said
            .map(|(seq, envelope)| Delivered {
                seq,
                bytes: envelope.into(),
            })
            .collect();
        self.heard = said.last().expect("a Commit, and the session").seq;
        let pending = self.app.deliver(line, &said, NOW, NOW_MS);
        let pending = pending.expect("an honest envelope is no error");
        let committed = self.app.commit().expect("a sound disk commits");
        let run = self.app.settle(&committed, pending);
        assert!(run.expect("our own storage").halt.is_none());
        let told = self.app.poll_live(self.pairing, VIEWER);
        assert_eq!(told.last(), Some(&LiveOut::Began), "{told:?}");
    }

    /// Groups and fragments of any length, each frame with bytes that say which it is.
    fn film(&mut self, input: &mut Input<'_>) -> BTreeMap<u64, Filmed> {
        let mut txn = self.hub.begin();
        let epoch = self.session.epoch(&mut txn).expect("the group loads");
        drop(txn);
        let mut filmed = BTreeMap::new();
        let mut group = 1;
        for number in 1..=1 + u64::from(input.byte()) % FRAMES_MAX {
            let way = input.byte();
            if way & 3 == 0 {
                group = number;
            }
            let start = (group == number).then(|| LiveStart {
                mime: "video/mp4".into(),
                init: vec![way >> 7],
            });
            let ends_fragment = way & 4 == 0;
            let bytes = (number as u16)
                .to_be_bytes()
                .repeat(usize::from(way >> 3 & 3));
            let frame = LiveFrame {
                session: epoch.0,
                number,
                group,
                captured_unix_ms: NOW_MS + number,
                ends_fragment,
                start: start.clone(),
                bytes: &bytes,
            };
            let plaintext = message::encode(&frame).expect("a message encodes");
            let at = (epoch, number);
            let sealed = fuzzing::say_live_as_hub(&mut self.session, &mut self.hub, at, &plaintext);
            let sealed = sealed.expect("a hub may speak in its session").into();
            filmed.insert(
                number,
                Filmed {
                    start,
                    ends_fragment,
                    bytes,
                    sealed,
                },
            );
        }
        filmed
    }
}

/// Each fragment is whole, and one that was filmed; behind a hole the next one begins a group, behind what a player needs
/// for it; and nothing is left out that could be shown.
fn as_filmed(filmed: &BTreeMap<u64, Filmed>, arrived: &[u64], shown: &[LiveOut]) {
    let expected = expected(filmed, arrived);
    let mut fragments = expected.iter();
    let mut start = None;
    // The frame behind the last fragment that was shown, if nothing was missing since.
    let mut goes_on = None;
    for out in shown {
        match out {
            LiveOut::Start(new) => {
                assert_ne!(start.as_ref(), Some(new), "a player is told twice");
                start = Some(new.clone());
            }
            LiveOut::Gap { frames } => {
                assert!(*frames > 0);
                goes_on = None;
            }
            LiveOut::Fragment {
                bytes,
                begins_group,
                captured_unix_ms,
            } => {
                let Some((first, last)) = fragments.next() else {
                    panic!("a fragment that was not filmed, or not whole: {bytes:?}");
                };
                let of = |number: u64| &filmed[&number];
                let whole = (*first..=*last).flat_map(|number| of(number).bytes.iter());
                assert!(whole.eq(bytes), "{first} to {last}: {bytes:?}");
                assert_eq!(*captured_unix_ms, NOW_MS + last);
                assert_eq!(*begins_group, of(*first).start.is_some());
                match begins_group {
                    true => assert_eq!(start, of(*first).start),
                    false => assert_eq!(goes_on, Some(*first), "a hole before {first}"),
                }
                goes_on = Some(last + 1);
            }
            other => panic!("{other:?} while a session is under way"),
        }
    }
    assert!(fragments.next().is_none(), "a whole fragment is not shown");
}

/// First and last frame of each fragment that can be shown, when these frames have come.
fn expected(filmed: &BTreeMap<u64, Filmed>, arrived: &[u64]) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    let mut before = 0;
    // Where the fragment under way begins, while nothing is missing since the beginning of its group.
    let mut first = None;
    for number in arrived.iter().copied() {
        let frame = &filmed[&number];
        if frame.start.is_some() {
            first = Some(number);
        } else if number != before + 1 {
            first = None;
        }
        before = number;
        if let Some(begin) = first
            && frame.ends_fragment
        {
            all.push((begin, number));
            first = Some(number + 1);
        }
    }
    all
}
