//! What a camera's sender reports say about how its two streams lie to each other (RFC 3550, section 6.4.1).
//!
//! A report names one instant twice, by the camera's clock and by the stream's. So each tells when, by the camera's
//! clock, the stream's own time was zero: its origin. How far the origins of both streams are apart is what sound must
//! be moved by. As only the difference counts, the camera's clock may be wrong by years. But it must be one clock:
//!
//! - A report counts if the one of the same stream before it says the same. If it does not, the clock was set or stands
//!   still, or the stream's own time jumped; then no report from before is paired with one from after.
//! - One report of each stream that counts makes a pair. A pair that puts sound [`FAR`] from where it comes is not
//!   true.
//! - The middle of the last three pairs is the answer, for [`AGE_MAX`] after the last.
//!
//! It must never take two clocks for one, and reads no clock itself.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Doubt, MILLISECOND, Micros, SECOND, Stream, is_beyond, middle_of_last};

/// How far the origins of one stream may be apart in two reports that follow each other: that of a camera which rounds
/// its clock is not set each time.
const AGREE: Micros = 80 * MILLISECOND;
/// How far a pair may put sound from where it comes: more than any camera takes to encode a picture.
pub(super) const FAR: Micros = 2 * SECOND;
/// Pairs whose middle counts.
const PAIRS: usize = 3;
/// How long the last pair counts. Two clocks are 15 ms farther apart by then.
const AGE_MAX: Duration = Duration::from_secs(300);

/// What one sender report says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Report {
    /// The camera's clock: seconds in the upper 32 bits, fractions in the lower. It wraps around, next in 2036.
    pub(super) ntp: u64,
    /// The same instant by the stream's clock, since PLAY.
    pub(super) elapsed: Micros,
}

/// The origins of one stream, by the camera's clock.
#[derive(Debug, Default)]
struct Origins {
    /// As the last report had it.
    last: Option<u64>,
    /// That counts, and is in no pair yet.
    counts: Option<u64>,
}

/// All that was heard.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pictures: Origins,
    sound: Origins,
    pairs: VecDeque<Micros>,
    middle: Option<Micros>,
    /// When the last pair came, by the hub's clock.
    paired_at: Duration,
}

impl Reports {
    /// Takes the next report. `comes` is what sound would have to be moved by so that it is where it comes.
    ///
    /// # Errors
    /// Why it is not used, where that is not because it is the first.
    pub(super) fn handle(
        &mut self,
        stream: Stream,
        report: Report,
        now: Duration,
        comes: Option<Micros>,
    ) -> Result<(), Doubt> {
        if report.ntp == 0 {
            return Err(Doubt::NoTime);
        }
        let origin = report.ntp.wrapping_sub(as_ntp(report.elapsed));
        let own = match stream {
            Stream::Pictures => &mut self.pictures,
            Stream::Sound => &mut self.sound,
        };
        let Some(before) = own.last.replace(origin) else {
            return Ok(());
        };
        let jumped = between(before, origin);
        if is_beyond(jumped, AGREE) {
            self.pictures.counts = None;
            self.sound.counts = None;
            let by_ms = jumped / MILLISECOND;
            return Err(Doubt::Jump { by_ms });
        }
        own.counts = Some(origin);
        let (Some(pictures), Some(sound), Some(comes)) =
            (self.pictures.counts, self.sound.counts, comes)
        else {
            return Ok(());
        };
        self.pictures.counts = None;
        self.sound.counts = None;
        let offset = between(pictures, sound);
        let far = offset.saturating_sub(comes);
        if is_beyond(far, FAR) {
            let by_ms = far / MILLISECOND;
            return Err(Doubt::Far { by_ms });
        }
        self.middle = middle_of_last(&mut self.pairs, offset, PAIRS);
        self.paired_at = now;
        Ok(())
    }

    /// What sound must be moved by; `None` if no report says so, or none any more.
    pub(super) fn offset(&self, now: Duration) -> Option<Micros> {
        let is_fresh = now.saturating_sub(self.paired_at) <= AGE_MAX;
        self.middle.filter(|_| is_fresh)
    }
}

/// Time as NTP counts it; what is beyond its 64 bits is left out, as there.
fn as_ntp(micros: Micros) -> u64 {
    ((i128::from(micros) << 32) / i128::from(SECOND)) as u64
}

/// From one NTP time to another: of the two ways around, the shorter.
fn between(from: u64, to: u64) -> Micros {
    let fractions = to.wrapping_sub(from) as i64;
    ((i128::from(fractions) * i128::from(SECOND)) >> 32) as Micros
}
