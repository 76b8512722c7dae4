//! When pictures and sound come, by the hub's clock: how far apart that puts them.
//!
//! Whatever holds a packet up makes it later, so the least delay of many is that of one which nothing held up. Of each
//! span of ten seconds that of each stream is taken, and of the differences of a minute the middle one counts: a
//! network that stalls holds up both, and one odd time moves nothing. Two clocks part by 3 ms in a minute.
//!
//! It must never say anything of a camera that does not play in real time, and reads no clock itself.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Micros, SECOND, Stream, TIME_MAX, is_beyond, middle_of_last};

/// How long a span is.
const SPAN: Duration = Duration::from_secs(10);
/// How long it is until the first is known.
const FIRST_SPAN: Duration = Duration::from_secs(3);
/// Spans whose middle counts.
const SPANS: usize = 6;
/// Spans after which it is more than a guess.
const SETTLED_SPANS: usize = 3;
/// The most by which the delay of pictures may change from one span to the next.
const DELAY_CHANGE_MAX: Micros = 5 * SECOND;

/// The delays that were seen, each the hub's time minus that of the stream.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    /// When the span began.
    began: Option<Duration>,
    /// The least delays in it.
    pictures: Option<Micros>,
    sound: Option<Micros>,
    /// That of pictures in the span before.
    pictures_before: Option<Micros>,
    /// By how much the delay of sound was larger, in each span.
    spans: VecDeque<Micros>,
    middle: Option<Micros>,
}

impl Arrival {
    /// Something of that stream has come that could not come before `elapsed` since PLAY.
    pub(super) fn handle(&mut self, stream: Stream, now: Duration, elapsed: Micros) {
        let span = match self.spans.is_empty() {
            true => FIRST_SPAN,
            false => SPAN,
        };
        let began = *self.began.get_or_insert(now);
        if now.saturating_sub(began) >= span {
            self.close();
            self.began = Some(now);
        }
        let now = Micros::try_from(now.as_micros()).unwrap_or(TIME_MAX);
        let delay = now.min(TIME_MAX).saturating_sub(elapsed);
        let least = match stream {
            Stream::Pictures => &mut self.pictures,
            Stream::Sound => &mut self.sound,
        };
        *least = Some(least.map_or(delay, |least| least.min(delay)));
    }

    /// What sound must be moved by so that it is where it comes: the middle of the last minute. `None` until it is
    /// known.
    pub(super) fn apart(&self) -> Option<Micros> {
        self.middle
    }

    /// Whether that is more than a guess.
    pub(super) fn is_settled(&self) -> bool {
        self.spans.len() >= SETTLED_SPANS
    }

    /// The same right now, roughly.
    pub(super) fn newest(&self) -> Option<Micros> {
        let newest = apart(self.pictures, self.sound);
        newest.or_else(|| self.spans.back().copied())
    }

    fn close(&mut self) {
        let (pictures, sound) = (self.pictures.take(), self.sound.take());
        let before = std::mem::replace(&mut self.pictures_before, pictures);
        let is_steady =
            apart(before, pictures).is_none_or(|change| !is_beyond(change, DELAY_CHANGE_MAX));
        if let Some(apart) = apart(pictures, sound).filter(|_| is_steady) {
            self.middle = middle_of_last(&mut self.spans, apart, SPANS);
        }
    }
}

/// By how much the second is larger, if both are known.
fn apart(first: Option<Micros>, second: Option<Micros>) -> Option<Micros> {
    Some(second?.saturating_sub(first?))
}
