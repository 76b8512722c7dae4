//! Sound beside the pictures with which it was taken (lip sync), for as long as an RTSP camera's connection lasts.
//!
//! The RTP times of each stream are those of a clock of its own. A camera's microphone and its sensor are 20 to 50
//! parts in a million apart, which is seconds in a day; and where its answer to PLAY leaves `rtptime` out, each stream
//! begins with zero, whenever its first packet comes. So the times of sound are moved onto those of the pictures, by
//! one [`LipSync`] for each connection:
//!
//! 1. **By the camera's own clock** (`reports`), where it sends RTCP sender reports for both streams. The NTP timestamp
//!    and the RTP timestamp of a sender report are the same instant, and are there for intra- and inter-media
//!    synchronization (RFC 3550, section 6.4.1). A sender without a clock sets the first to zero (same section): such a
//!    report says nothing.
//! 2. **By when it comes** (`arrival`), where no reports come, or none that can be true. Camera and network hold sound
//!    and pictures up by different times, and by how much is not known. So sound that seems a little off when that is
//!    first known keeps the place that the camera gave it, and what is added later counts. Sound that is farther off is
//!    put where it comes.
//!
//! Reports are believed within [`reports::FAR`] of when sound comes, so one that lies moves it by no more than that.
//! What is known moves sound once that is [`APART`] from its place: slowly ([`SLEW`]), so that each piece lasts nearly
//! as long as it says and no clip has a hole; at once, if it is the first that is known, or more than [`JUMP`]. Sound
//! that would then be before what was heard is left out.
//!
//! It is pure. RTP times are those that `retina` made of their 32 bits, of reports too, and do not wrap around. It must
//! never touch the times of pictures, nor let those of sound fall, unless what was heard had a wrong one.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod arrival;
mod reports;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use arrival::Arrival;
use reports::{Report, Reports};

/// Microseconds by any clock: the hub's, the camera's, or that of a stream since PLAY.
type Micros = i64;

const MILLISECOND: Micros = 1000;
const SECOND: Micros = 1_000_000;
/// No time is believed to be farther from zero, so that sums of a few stay within 64 bits. Some ten thousand years.
const TIME_MAX: Micros = i64::MAX / 16;

/// How far from its place sound may be. People notice from 45 ms early or 125 ms late on (ITU-R BT.1359-1).
const APART: Micros = 40 * MILLISECOND;
/// From here on a jump is better than what it takes to get there slowly.
const JUMP: Micros = 400 * MILLISECOND;
/// Of its duration, the part by which a piece of sound may be moved against the one before it: a hundredth.
const SLEW: Micros = 100;
/// The most by which the streams of a camera that says how they begin may seem apart while it is believed.
const TOLD_APART_MAX: Micros = reports::FAR;
/// The same of a camera whose streams both begin with zero: so does one that says nothing.
const UNTOLD_APART_MAX: Micros = 200 * MILLISECOND;
/// How far behind what was heard sound is left out; if it is more, what was heard had a wrong time.
const BEHIND_SECONDS_MAX: i64 = 60;

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// That of video.
    Pictures,
    /// That of audio.
    Sound,
}

/// Why a sender report is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Its sender has no clock, or none that can be believed.
    #[error("it tells no time")]
    NoTime,
    /// It does not go on from the report before.
    #[error("the camera's clock jumped by {by_ms} ms")]
    Jump {
        /// In milliseconds.
        by_ms: i64,
    },
    /// Sound would be too far from when it comes.
    #[error("it puts sound {by_ms} ms from where it comes")]
    Far {
        /// In milliseconds.
        by_ms: i64,
    },
}

/// Finds the place of sound.
#[derive(Debug, Default)]
pub struct LipSync {
    reports: Reports,
    arrival: Arrival,
    /// What is added to the times of sound.
    offset: Micros,
    /// How much later sound comes than it belongs, as against the pictures; `None` until it is known.
    lag: Option<Micros>,
    /// On its way to where it belongs.
    is_slewing: bool,
    /// Something was known before.
    is_placed: bool,
    has_pictures: bool,
    has_sound: bool,
    /// A stream began with another time than zero.
    is_told: bool,
    has_doubted: bool,
    /// The time of the piece that was placed last, in ticks.
    last: Option<i64>,
}

impl LipSync {
    /// A picture has come: `elapsed` ticks since PLAY.
    pub fn handle_picture(&mut self, now: Duration, elapsed: i64, rate: NonZeroU32) {
        self.is_told |= !self.has_pictures && elapsed != 0;
        self.has_pictures = true;
        self.arrival
            .handle(Stream::Pictures, now, micros(elapsed, rate));
    }

    /// A sender report has come: `ntp` by the camera's clock is `elapsed` ticks since PLAY in that stream.
    /// Answers why it is not used, once for each connection.
    pub fn handle_report(
        &mut self,
        now: Duration,
        stream: Stream,
        ntp: u64,
        elapsed: i64,
        rate: NonZeroU32,
    ) -> Option<Doubt> {
        let report = Report {
            ntp,
            elapsed: micros(elapsed, rate),
        };
        let comes = self.arrival.newest();
        let doubt = self.reports.handle(stream, report, now, comes).err()?;
        let is_first = !std::mem::replace(&mut self.has_doubted, true);
        is_first.then_some(doubt)
    }

    /// A piece of sound has come that lasts `duration` ticks. Answers its time by the pictures' clock, in ticks since
    /// PLAY; `None` if it is to be left out.
    pub fn handle_sound(
        &mut self,
        now: Duration,
        elapsed: i64,
        duration: u32,
        rate: NonZeroU32,
    ) -> Option<i64> {
        self.is_told |= !self.has_sound && elapsed != 0;
        self.has_sound = true;
        // It can only come when it is over.
        let length = micros(i64::from(duration), rate);
        let over = micros(elapsed, rate).saturating_add(length);
        self.arrival.handle(Stream::Sound, now, over);
        if let Some(target) = self.target(now) {
            self.follow(target, length);
        }
        let placed = elapsed.saturating_add(ticks(self.offset, rate));
        let behind_max = BEHIND_SECONDS_MAX * i64::from(rate.get());
        let is_behind = self
            .last
            .is_some_and(|last| (0..=behind_max).contains(&last.saturating_sub(placed)));
        if is_behind {
            return None;
        }
        self.last = Some(placed);
        Some(placed)
    }

    /// What the offset should be; `None` if nothing is known that is better than what it is.
    fn target(&mut self, now: Duration) -> Option<Micros> {
        let comes = self.arrival.apart();
        let is_settled = self.arrival.is_settled();
        if let Some(reported) = self.reports.offset(now) {
            if let Some(comes) = comes.filter(|_| is_settled) {
                // So that nothing moves if there are no more reports.
                self.lag = Some(comes.saturating_sub(reported));
            }
            return Some(reported);
        }
        let comes = comes?;
        let apart = comes.saturating_sub(self.offset);
        let believed = match self.is_told {
            true => TOLD_APART_MAX,
            false => UNTOLD_APART_MAX,
        };
        if !is_settled {
            // Too early for little: a camera that begins with the pictures of the last seconds sends them at once.
            let is_far = is_beyond(apart, believed.max(JUMP));
            if is_far {
                self.lag = Some(0);
            }
            return is_far.then_some(comes);
        }
        let lag = *self
            .lag
            .get_or_insert(if is_beyond(apart, believed) { 0 } else { apart });
        Some(comes.saturating_sub(lag))
    }

    /// Moves the offset towards where it should be, for a piece that lasts so long.
    fn follow(&mut self, target: Micros, length: Micros) {
        let apart = target.saturating_sub(self.offset);
        let is_apart = is_beyond(apart, APART);
        let is_first = !std::mem::replace(&mut self.is_placed, true);
        if is_beyond(apart, JUMP) || is_first && is_apart {
            self.offset = target;
            self.is_slewing = false;
        } else if self.is_slewing || is_apart {
            let step = (length / SLEW).max(1);
            self.offset = self.offset.saturating_add(apart.clamp(-step, step));
            self.is_slewing = self.offset != target;
        }
    }
}

/// Ticks as time.
fn micros(ticks: i64, rate: NonZeroU32) -> Micros {
    let micros = i128::from(ticks) * i128::from(SECOND) / i128::from(rate.get());
    micros.clamp(i128::from(-TIME_MAX), i128::from(TIME_MAX)) as Micros
}

/// Time as ticks.
fn ticks(micros: Micros, rate: NonZeroU32) -> i64 {
    let ticks = i128::from(micros) * i128::from(rate.get());
    let ticks = ticks.div_euclid(i128::from(SECOND));
    ticks.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

/// Whether two times are more than `most` apart, whichever is first.
fn is_beyond(apart: Micros, most: Micros) -> bool {
    apart.unsigned_abs() > most.unsigned_abs()
}

/// Takes the newest of the last `kept` values; answers the middle one of them.
fn middle_of_last(values: &mut VecDeque<Micros>, newest: Micros, kept: usize) -> Option<Micros> {
    values.push_back(newest);
    while values.len() > kept {
        values.pop_front();
    }
    let mut sorted: Vec<Micros> = values.iter().copied().collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests;
