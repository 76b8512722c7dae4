//! From a camera's endless stream and what moves in it to events: which pieces of the stream belong to
//! which event, when it begins and ends, and which picture stands for it.
//!
//! It is pure: pieces, verdicts and `now` in, effects out. It must never decode, never wait, never
//! hold more of a stream than its ring may, and never begin an event with anything but a key frame.
//!
//! ```text
//! stream   K . . . K . . . K . . . K . . . K . . . K . . . K . . .
//! motion                         ^   ^  ^       ^
//! event            [=================================]
//!                  |<-pre-roll-->|              |<--->| post-roll
//! ```
//!
//! - An event **begins** with the last key frame that is at least the pre-roll before the motion, as far
//!   as the ring reaches. Without any key frame it begins with the next one; if the ring is too small for what comes
//!   between two key frames, also where nothing moves any more by then, so that it is told at all.
//! - It **goes on** while something moves; what moves within the post-roll belongs to it. That is how
//!   one visit becomes one event and not five.
//! - It **ends** after the post-roll, or at the first key frame behind the longest length, and then the
//!   cool-down keeps a tree in the wind from filling the disk.
//! - What one event holds is not told again by the next, but for the pictures since the newest key frame.
//! - In **quiet hours** none begins; one that runs goes on.
//! - The **picture** that is sent for it is the best of its first 300 ms ([`PICTURE_WAIT`]).
//! - Where **key frames alone** are looked at, it begins the pre-roll before the last look that showed nothing, and goes
//!   on for two looks and a half behind the last motion, if that is longer than the post-roll (`looks.rs`).
//!
//! After each `handle_*` call the caller takes every effect ([`EventMachine::poll_effect`]), and calls
//! [`EventMachine::handle_timeout`] no later than at [`EventMachine::poll_timeout`].

mod looks;
mod ring;
mod settings;

use std::collections::VecDeque;
use std::time::Duration;

use crate::camera::EventEnd;
use crate::detector::Mode;
use crate::media::{MediaUnit, Tracks};
use crate::motion::{MinuteOfDay, Scene};
use looks::Looks;
use ring::Ring;
pub use ring::UNIT_OVERHEAD_BYTES;
pub use settings::{
    AT_MOST_SECONDS, COOL_DOWN_SECONDS, EventSettings, EventSettingsError, EventValues,
    POST_ROLL_SECONDS, PRE_ROLL_SECONDS, RING_BYTES,
};

/// How long a better picture is waited for, once motion is found. A thumbnail must be at the phone within a second of
/// the motion's beginning, of which half is gone by then, and the clip's first pictures right behind it.
pub const PICTURE_WAIT: Duration = Duration::from_millis(300);

/// How long a key frame is waited for at the longest length. A camera that has none for so long is cut
/// between two others.
pub const KEY_FRAME_WAIT: Duration = Duration::from_secs(10);

/// Counts the events of one machine, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventNumber(pub u64);

/// The beginning of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beginning {
    /// Which event.
    pub number: EventNumber,
    /// The codec parameters of all its pieces.
    pub tracks: Tracks,
    /// What there is of it already, oldest first; the first is a key frame.
    pub units: Vec<MediaUnit>,
    /// When the first piece was captured, in milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
}

/// Why an event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// Nothing moved for the post-roll, or in two looks.
    MotionOver,
    /// It reached the longest length.
    LengthLimit,
    /// The stream goes on with other codec parameters; a clip has one set of them.
    TracksChanged,
    /// The stream came to its end, as that of a file does.
    StreamOver,
    /// The camera is gone.
    CameraLost,
    /// The hub stops, or the camera was turned off.
    Stopped,
}

impl EndReason {
    /// What the phone is told: whether the clip is whole.
    pub fn event_end(self) -> EventEnd {
        match self {
            Self::MotionOver | Self::LengthLimit | Self::TracksChanged | Self::StreamOver => {
                EventEnd::Completed
            }
            Self::CameraLost | Self::Stopped => EventEnd::CutOff,
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Begin a clip.
    Begin(Beginning),
    /// The next piece of the clip.
    Append(MediaUnit),
    /// Keep the picture whose verdict was just handed in, instead of any other of this event.
    KeepPicture(EventNumber),
    /// Send the picture that is kept. Once an event, and not at all if none was kept.
    SendPicture(EventNumber),
    /// End the clip.
    End {
        /// Which event.
        number: EventNumber,
        /// Why.
        reason: EndReason,
    },
}

/// One picture's verdict, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// What the detector says, persistence considered.
    pub scene: Scene,
    /// How much the picture shows ([`crate::motion::Verdict::score`]); nothing, where nothing moves in it.
    pub score: u16,
    /// The minute by the clock at the camera.
    pub local: MinuteOfDay,
}

#[derive(Debug)]
enum State {
    Idle,
    /// Something moves, but there is no key frame to begin with.
    Waiting {
        last_motion: Duration,
    },
    Recording(Recording),
    /// No event begins for as long as the settings say.
    Cooling {
        ended: Duration,
    },
}

#[derive(Debug)]
struct Recording {
    number: EventNumber,
    began: Duration,
    last_motion: Duration,
    picture: Picture,
}

/// How far the picture of an event is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Picture {
    /// None is kept.
    None,
    /// One is kept, with this score.
    Kept(u16),
    Sent,
}

/// The events of one camera. Times are those of any clock that does not fall.
#[derive(Debug)]
pub struct EventMachine {
    settings: EventSettings,
    tracks: Option<Tracks>,
    ring: Ring,
    looks: Looks,
    state: State,
    effects: VecDeque<Effect>,
    events: u64,
}

impl EventMachine {
    /// A machine that knows no stream.
    pub fn new(settings: EventSettings) -> Self {
        Self {
            ring: Ring::new(settings.pre_roll(), settings.ring_bytes_max()),
            settings,
            tracks: None,
            looks: Looks::new(),
            state: State::Idle,
            effects: VecDeque::new(),
            events: 0,
        }
    }

    /// Other settings from now on, for the event that runs as well. What the ring holds stays as far as
    /// it fits.
    pub fn handle_settings(&mut self, settings: EventSettings, now: Duration) {
        self.settings = settings;
        self.limit_ring(now);
        self.expire(now);
    }

    /// Which pictures are looked at from here on. At first that is every one.
    pub fn handle_mode(&mut self, mode: Mode, now: Duration) {
        if !self.looks.handle_mode(mode) {
            return;
        }
        self.limit_ring(now);
        // Between two looks that were far apart nobody knows what moved: as long as that is looked for now, it is not over.
        if let (Mode::EveryPicture, State::Recording(recording)) = (mode, &mut self.state) {
            recording.last_motion = now;
        }
    }

    /// Nobody looks from here on: what moved and still waits for a key frame is not told any more.
    pub fn handle_blindfold(&mut self) {
        if let State::Waiting { .. } = self.state {
            self.state = State::Idle;
        }
    }

    /// A stream begins, or goes on with other codec parameters or times. An event that runs ends.
    pub fn handle_tracks(&mut self, tracks: Tracks, now: Duration) {
        self.expire(now);
        self.leave(EndReason::TracksChanged);
        self.tracks = Some(tracks);
    }

    /// The stream came to its end.
    pub fn handle_over(&mut self, now: Duration) {
        self.expire(now);
        self.leave(EndReason::StreamOver);
        self.tracks = None;
    }

    /// The camera has failed.
    pub fn handle_lost(&mut self, now: Duration) {
        self.expire(now);
        self.leave(EndReason::CameraLost);
        self.tracks = None;
    }

    /// No more events until the next [`Self::handle_tracks`].
    pub fn handle_stop(&mut self, now: Duration) {
        self.expire(now);
        self.leave(EndReason::Stopped);
        self.tracks = None;
    }

    /// The next piece of the stream. Without a stream it is nothing.
    pub fn handle_unit(&mut self, unit: MediaUnit, now: Duration) {
        if self.tracks.is_none() {
            return;
        }
        self.expire(now);
        if unit.is_key_frame() {
            self.looks.handle_key_frame(now);
            self.limit_ring(now);
        }
        if let State::Recording(recording) = &self.state
            && unit.is_key_frame()
            && now >= recording.began + self.settings.at_most()
        {
            // The next event can begin with this very picture.
            self.end(EndReason::LengthLimit, now);
        }
        self.ring.push(unit.clone(), now);
        match self.state {
            State::Recording(_) => self.effects.push_back(Effect::Append(unit)),
            State::Waiting { last_motion } if unit.is_key_frame() => {
                // What moved may be gone by then: a post-roll of what is left is shown.
                let is_late = now >= last_motion + self.post_roll();
                self.begin(if is_late { now } else { last_motion }, now);
            }
            _ => {}
        }
    }

    /// What was seen in a picture. Where that is motion, [`Effect::KeepPicture`] may follow and means
    /// this picture.
    pub fn handle_sighting(&mut self, sighting: Sighting, now: Duration) {
        self.expire(now);
        // What moves in one picture, and is not motion yet, may have begun before it.
        let is_still = sighting.scene != Scene::Moving && sighting.score == 0;
        self.looks.handle_look(is_still, now);
        self.limit_ring(now);
        if sighting.scene != Scene::Moving || self.tracks.is_none() {
            return;
        }
        match &mut self.state {
            State::Idle => {
                let quiet = self.settings.quiet();
                if quiet.is_some_and(|quiet| quiet.contains(sighting.local)) {
                    return;
                }
                self.begin(now, now);
            }
            State::Waiting { last_motion } => *last_motion = now,
            State::Recording(recording) => recording.last_motion = now,
            State::Cooling { .. } => {}
        }
        self.judge_picture(sighting.score, now);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.expire(now);
    }

    /// When [`Self::handle_timeout`] is to be called at the latest; `None` if nothing will be due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let State::Recording(recording) = &self.state else {
            return None;
        };
        let end = self.quiet_from(recording).min(self.length_limit(recording));
        Some(match recording.picture {
            Picture::Kept(_) => end.min(recording.began + PICTURE_WAIT),
            Picture::None | Picture::Sent => end,
        })
    }

    /// The next effect.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The event that runs, if one does.
    pub fn running(&self) -> Option<EventNumber> {
        match &self.state {
            State::Recording(recording) => Some(recording.number),
            _ => None,
        }
    }

    /// Bytes that the ring holds, [`UNIT_OVERHEAD_BYTES`] for each piece included.
    pub fn ring_bytes(&self) -> usize {
        self.ring.bytes()
    }

    /// Whether the ring could not hold the last pictures from one key frame to the next: an event may have to wait for
    /// a key frame, and has nothing of what was before that.
    pub fn is_ring_too_small(&self) -> bool {
        self.ring.is_too_small()
    }

    /// The ring holds what an event that began now would begin with.
    fn limit_ring(&mut self, now: Duration) {
        let reach = self.looks.reach(self.settings.pre_roll());
        self.ring
            .set_limits(reach, self.settings.ring_bytes_max(), now);
    }

    /// Begins an event with what the ring has, or waits for a key frame.
    fn begin(&mut self, motion: Duration, now: Duration) {
        let moved = self.looks.moved_since(motion);
        let since = moved.saturating_sub(self.settings.pre_roll());
        let (Some(tracks), Some(units)) = (self.tracks.clone(), self.ring.since(since)) else {
            self.state = State::Waiting {
                last_motion: motion,
            };
            return;
        };
        self.events += 1;
        let number = EventNumber(self.events);
        self.effects.push_back(Effect::Begin(Beginning {
            number,
            tracks,
            started_unix_ms: units.first().map_or(0, MediaUnit::captured_unix_ms),
            units,
        }));
        self.state = State::Recording(Recording {
            number,
            began: now,
            last_motion: motion,
            picture: Picture::None,
        });
    }

    /// Keeps a picture that is better than the one kept, and sends it if it comes late.
    fn judge_picture(&mut self, score: u16, now: Duration) {
        let State::Recording(recording) = &mut self.state else {
            return;
        };
        let is_better = match recording.picture {
            Picture::None => true,
            Picture::Kept(best) => score > best,
            Picture::Sent => false,
        };
        if is_better {
            recording.picture = Picture::Kept(score);
            self.effects
                .push_back(Effect::KeepPicture(recording.number));
        }
        self.send_picture_if_due(now);
    }

    fn send_picture_if_due(&mut self, now: Duration) {
        if let State::Recording(recording) = &mut self.state
            && matches!(recording.picture, Picture::Kept(_))
            && now >= recording.began + PICTURE_WAIT
        {
            recording.picture = Picture::Sent;
            self.effects
                .push_back(Effect::SendPicture(recording.number));
        }
    }

    /// How long what moved is not over.
    fn post_roll(&self) -> Duration {
        self.looks.post_roll(self.settings.post_roll())
    }

    /// When the post-roll is over.
    fn quiet_from(&self, recording: &Recording) -> Duration {
        recording.last_motion + self.post_roll()
    }

    /// When a camera without key frames is cut.
    fn length_limit(&self, recording: &Recording) -> Duration {
        recording.began + self.settings.at_most() + KEY_FRAME_WAIT
    }

    /// Whatever time alone brings about.
    fn expire(&mut self, now: Duration) {
        self.send_picture_if_due(now);
        match &self.state {
            State::Idle => {}
            State::Waiting { last_motion } => {
                let is_late = now >= *last_motion + self.post_roll();
                // Where only the ring is why it could not be recorded, it is told with the next key frame.
                if is_late && !self.ring.is_too_small() {
                    self.state = State::Idle;
                }
            }
            State::Recording(recording) => {
                if now >= self.quiet_from(recording) {
                    self.end(EndReason::MotionOver, now);
                } else if now >= self.length_limit(recording) {
                    self.end(EndReason::LengthLimit, now);
                }
            }
            State::Cooling { ended } => {
                // As long as is set now: what was set by mistake holds no longer than until it is corrected.
                if now >= *ended + self.settings.cool_down() {
                    self.state = State::Idle;
                }
            }
        }
    }

    /// The stream is not what it was: nothing in the ring can be played with what comes.
    fn leave(&mut self, reason: EndReason) {
        self.close(reason);
        self.ring.clear();
        self.looks.restart();
        // No cool-down: whoever tampers with the camera is worth the next event. One that is under way
        // from an event before stays.
        if !matches!(self.state, State::Cooling { .. }) {
            self.state = State::Idle;
        }
    }

    fn end(&mut self, reason: EndReason, now: Duration) {
        self.close(reason);
        self.ring.mark_told();
        let cool_down = self.settings.cool_down();
        self.state = match cool_down.is_zero() {
            true => State::Idle,
            false => State::Cooling { ended: now },
        };
    }

    /// The last effects of the event that runs, if one does.
    fn close(&mut self, reason: EndReason) {
        if let State::Recording(recording) = &self.state {
            let number = recording.number;
            if matches!(recording.picture, Picture::Kept(_)) {
                self.effects.push_back(Effect::SendPicture(number));
            }
            self.effects.push_back(Effect::End { number, reason });
        }
    }
}

#[cfg(test)]
mod tests;
