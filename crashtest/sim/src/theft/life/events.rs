//! Events: of one camera, or of two at once on the lines of every phone.
//!
//! An event is told of, then its picture leaves, and the first piece of its clip follows: one step each, with nothing in
//! between, by which the books find what belongs together.

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Alert, CameraNumber, Event, Piece, Recorded, Still};
use wal::Dice as _;

use super::super::Outcome;
use super::super::dying::Dying;
use super::{Life, OWN};

/// The cameras. The second one records beside the first one only.
const DOOR: CameraNumber = CameraNumber::FIRST;
const YARD: CameraNumber = CameraNumber(1);
/// Pieces of an event at most, and bytes of one: what all phones and copies of it take together fits into a
/// transaction of the small log files of [`crate::node::options`].
const PIECES_MAX: u64 = 5;
const PIECE_BYTES_MAX: u64 = 8_000;
/// Pieces at most that come in a row while two cameras record, and behind the end of one of them.
const PIECES_BESIDE_MAX: u64 = 2;

/// What comes into an event besides its pieces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Meanwhile {
    /// The hub dies in it.
    pub(super) dies: Option<Dying>,
    /// A heartbeat falls into it, whatever the dice say.
    pub(super) beats: bool,
    /// Another camera has an event of its own.
    pub(super) is_beside: bool,
}

/// The camera's name in the configuration.
fn name(camera: CameraNumber) -> &'static str {
    match camera {
        DOOR => "door",
        _ => "yard",
    }
}

impl Life {
    /// An event, recorded to its end or into a crash.
    pub(super) fn event(&mut self, meanwhile: Meanwhile) -> Outcome<()> {
        let Meanwhile {
            dies,
            mut beats,
            is_beside,
        } = meanwhile;
        self.begin_event(DOOR)?;
        self.happens(&mut beats)?;
        self.pieces(&[DOOR], PIECES_MAX - 1, &mut beats)?;
        if !is_beside {
            return self.end_event(DOOR, dies);
        }
        self.begin_event(YARD)?;
        self.happens(&mut beats)?;
        self.pieces(&[DOOR, YARD], PIECES_BESIDE_MAX, &mut beats)?;
        let (first, other) = match self.dice.below(2) {
            0 => (DOOR, YARD),
            _ => (YARD, DOOR),
        };
        // Half of the times a crash comes while both record.
        if dies.is_some() && self.dice.below(2) == 0 {
            return self.end_event(first, dies);
        }
        self.end_event(first, None)?;
        // The other one goes on behind a Commit of its own.
        self.piece(other)?;
        self.is_recorded()?;
        self.happens(&mut beats)?;
        self.pieces(&[other], PIECES_BESIDE_MAX, &mut beats)?;
        self.end_event(other, dies)
    }

    /// Until the first piece of its clip is synced.
    fn begin_event(&mut self, camera: CameraNumber) -> Outcome<()> {
        self.step();
        let event = Event {
            camera: name(camera).into(),
            mime: "video/mp4".into(),
            started_unix_ms: self.now_ms,
        };
        let (named, started_unix_ms) = (event.camera.clone(), event.started_unix_ms);
        let alert = Alert {
            camera: named.clone(),
            started_unix_ms,
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_alert(&alert, now_ms)?)?;
        let begun = self.hub()?.core.begin_event(camera, event, now_ms)?;
        taken(begun)?;
        self.hub_commits()?;
        self.step();
        let still = Still {
            camera: named,
            started_unix_ms,
            jpeg: self.bytes(PIECE_BYTES_MAX),
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_still(&still, now_ms)?)?;
        self.hub_commits()?;
        self.piece(camera)?;
        self.is_recorded()
    }

    /// So many pieces at most, each of one of these cameras, and what happens behind each.
    fn pieces(&mut self, cameras: &[CameraNumber], most: u64, beats: &mut bool) -> Outcome<()> {
        for _ in 0..self.dice.below(most + 1) {
            let chosen = self.dice.below(cameras.len() as u64) as usize;
            self.piece(*cameras.get(chosen).ok_or("there is no camera")?)?;
            self.is_recorded()?;
            self.happens(beats)?;
        }
        Ok(())
    }

    /// The camera has a piece more, which is staged.
    pub(super) fn piece(&mut self, camera: CameraNumber) -> Outcome<()> {
        self.step();
        self.books.camera = camera.0;
        let piece = Piece {
            bytes: self.bytes(PIECE_BYTES_MAX),
            captured_unix_ms: self.now_ms,
        };
        let now_ms = self.now_ms;
        let hub = self.hub()?;
        taken(hub.core.take_pieces(camera, vec![piece], now_ms)?)
    }

    /// It is synced, and whoever watches is shown a picture.
    fn is_recorded(&mut self) -> Outcome<()> {
        self.hub_commits()?;
        self.show()
    }

    /// What may happen behind a piece.
    fn happens(&mut self, beats: &mut bool) -> Outcome<()> {
        match self.dice.below(8) {
            _ if std::mem::take(beats) => self.heartbeat(OWN),
            0 => self.heartbeat(OWN),
            1 => self.phone_takes(OWN),
            2 => self.hub_takes(),
            3 => {
                self.step();
                self.tick()?;
                self.books.ticks();
                self.steal_hub()
            }
            _ => Ok(()),
        }
    }

    /// The event of this camera ends, or the hub dies while it is recorded.
    fn end_event(&mut self, camera: CameraNumber, dies: Option<Dying>) -> Outcome<()> {
        if let Some(dying) = dies {
            return self.crash(camera, dying);
        }
        let end = match self.dice.below(5) {
            0 => EventEnd::CutOff,
            _ => EventEnd::Completed,
        };
        self.step();
        self.books.camera = camera.0;
        let now_ms = self.now_ms;
        let ended = self.hub()?.core.end_event(camera, end, now_ms)?;
        taken(ended)?;
        self.hub_commits()
    }

    /// Whoever watches is shown a picture.
    pub(super) fn show(&mut self) -> Outcome<()> {
        let picture = self.bytes(PIECE_BYTES_MAX);
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        hub.shows(&picture, &mut self.books, now_ms)
    }

    /// At least 200, and fewer than so many.
    fn bytes(&mut self, most: u64) -> Bytes {
        let mut bytes = vec![0; 200 + self.dice.below(most - 200) as usize];
        self.dice.fill(&mut bytes);
        Bytes::from(bytes)
    }
}

/// Everything here is recorded: there is room, and a phone.
fn taken(recorded: Recorded) -> Outcome<()> {
    match recorded {
        Recorded::Taken => Ok(()),
        Recorded::Not(stop) => Err(format!("the hub does not record: {stop:?}").into()),
    }
}
