//! The rhythm of a line whose envelopes leave at a constant rate.
//!
//! Numbers and the time go in, decisions come out: may this envelope leave now, and is another one needed so
//! that something can. What a decision hangs on is what the relay knows anyway: the time, which numbers it got,
//! and which are acked. This room must never decide by what is in an envelope, and never let two leave for one
//! slot: a slot that was missed stays empty.

use wire::ids::Seq;

use crate::traffic::Traffic;

/// After there was no room for cover, or none could be made, it is tried again after this time.
const NO_COVER_PAUSE_MS: u64 = 5_000;

/// How a line with a constant rate stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shaped {
    /// From one envelope to the next, in milliseconds.
    pub interval_ms: u64,
    /// Envelopes that wait for their slot, those that are kept in stock included.
    pub waits: u64,
    /// Of these, so many are kept in stock while nothing happens.
    pub stock: u64,
    /// Whether cover is made. It is not while too much lies at the relay that the phone has not acked: whoever
    /// sees envelopes leave then sees that something happened.
    pub covered: bool,
}

/// The rhythm of one line; it outlives connections.
#[derive(Debug)]
pub(super) struct Shaper {
    traffic: Traffic,
    /// When the next slot is, by a clock that never falls.
    slot_at_ms: u64,
    /// Everything through here was handed to a relay before, or it showed that it has it.
    left_through: Seq,
    no_cover_before_ms: u64,
}

impl Shaper {
    pub(super) fn new(traffic: Traffic) -> Self {
        Self {
            traffic,
            slot_at_ms: 0,
            left_through: Seq::NONE,
            no_cover_before_ms: 0,
        }
    }

    /// Whether this envelope may leave now. One that left before may at once: the relay that asks for it again
    /// knows that it is there, and new video would wait behind all of them.
    pub(super) fn may_leave(&self, seq: Seq, now_ms: u64) -> bool {
        seq <= self.left_through || now_ms >= self.slot_at_ms
    }

    /// This envelope is leaving.
    pub(super) fn handle_leaving(&mut self, seq: Seq, now_ms: u64) {
        if seq <= self.left_through {
            return;
        }
        self.left_through = seq;
        let interval_ms = self.traffic.interval_ms();
        // The next one of the same rhythm, however late this one was.
        let slots = now_ms.saturating_sub(self.slot_at_ms) / interval_ms + 1;
        self.slot_at_ms += slots * interval_ms;
    }

    /// The relay has everything through here: an earlier process sent it.
    pub(super) fn handle_relay_has(&mut self, through: Seq) {
        self.left_through = self.left_through.max(through);
    }

    /// No cover could be made.
    pub(super) fn handle_no_cover(&mut self, now_ms: u64) {
        self.no_cover_before_ms = now_ms.saturating_add(NO_COVER_PAUSE_MS);
    }

    /// Whether another cover is needed, so that the next slots find something.
    pub(super) fn wants_cover(&self, last: Seq, acked: Seq, now_ms: u64) -> bool {
        self.waits(last, acked) < self.traffic.stock()
            && self.covers(last, acked)
            && now_ms >= self.no_cover_before_ms
    }

    /// When the next slot is.
    pub(super) fn slot_at_ms(&self) -> u64 {
        self.slot_at_ms
    }

    /// When to ask for cover again, if it failed.
    pub(super) fn cover_again_at_ms(&self, now_ms: u64) -> Option<u64> {
        (self.no_cover_before_ms > now_ms).then_some(self.no_cover_before_ms)
    }

    /// How it stands with an outbox like this.
    pub(super) fn status(&self, last: Seq, acked: Seq) -> Shaped {
        Shaped {
            interval_ms: self.traffic.interval_ms(),
            waits: self.waits(last, acked),
            stock: self.traffic.stock(),
            covered: self.covers(last, acked),
        }
    }

    fn waits(&self, last: Seq, acked: Seq) -> u64 {
        last.0.saturating_sub(self.left_through.max(acked).0)
    }

    /// What lies at the relay without an ack, in stock included: an observer counts the same, because in each
    /// slot one envelope leaves whatever it is. Video that waits does not count, which would show by a pause.
    fn covers(&self, last: Seq, acked: Seq) -> bool {
        let there = last
            .0
            .min(self.left_through.0.saturating_add(self.traffic.stock()));
        there.saturating_sub(acked.0) < self.traffic.backlog_envelopes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One envelope in 250 ms, three in stock, a pause at 16 MiB: 256 envelopes.
    fn shaper() -> Shaper {
        Shaper::new(Traffic::new(256, 16))
    }

    /// A relay that takes everything and a phone that acks through here: when envelopes leave in this time, if
    /// `video` says how many are recorded in each millisecond.
    fn leave(
        shaper: &mut Shaper,
        last: &mut u64,
        acked: Seq,
        span: std::ops::Range<u64>,
        video: impl Fn(u64) -> u64,
    ) -> Vec<u64> {
        let mut times = Vec::new();
        for now_ms in span {
            *last += video(now_ms);
            while shaper.wants_cover(Seq(*last), acked, now_ms) {
                *last += 1;
            }
            let next = shaper.left_through.next();
            if next.0 <= *last && shaper.may_leave(next, now_ms) {
                shaper.handle_leaving(next, now_ms);
                times.push(now_ms);
                assert!(!shaper.may_leave(next.next(), now_ms), "one for a slot");
            }
        }
        times
    }

    #[test]
    fn what_leaves_when_does_not_show_whether_anything_happened() {
        let idle = leave(&mut shaper(), &mut 0, Seq::NONE, 0..20_000, |_| 0);
        assert_eq!(idle.len(), 80);
        assert!(idle.windows(2).all(|pair| pair[1] - pair[0] == 250));
        // A little, a burst far above the rate, and without end.
        let events: [fn(u64) -> u64; 3] = [
            |ms| u64::from(ms % 700 == 3),
            |ms| if ms == 1_000 { 60 } else { 0 },
            |ms| u64::from(ms > 500 && ms.is_multiple_of(50)),
        ];
        for video in events {
            let busy = leave(&mut shaper(), &mut 0, Seq::NONE, 0..20_000, video);
            assert_eq!(busy, idle);
        }
    }

    #[test]
    fn video_above_the_rate_waits_and_is_told() {
        let mut shaper = shaper();
        let mut last = 0;
        leave(&mut shaper, &mut last, Seq::NONE, 0..1_000, |_| 0);
        let idle = shaper.status(Seq(last), Seq::NONE);
        assert_eq!((idle.waits, idle.stock, idle.covered), (3, 3, true));
        last += 40;
        assert!(!shaper.wants_cover(Seq(last), Seq::NONE, 1_000));
        assert_eq!(shaper.status(Seq(last), Seq::NONE).waits, 43);
        leave(&mut shaper, &mut last, Seq::NONE, 1_000..12_000, |_| 0);
        assert_eq!(shaper.status(Seq(last), Seq::NONE).waits, 3);
    }

    #[test]
    fn a_slot_that_was_missed_stays_empty_and_the_rhythm_is_kept() {
        let mut shaper = shaper();
        shaper.handle_leaving(Seq(1), 1_000);
        assert!(!shaper.may_leave(Seq(2), 1_249));
        assert!(shaper.may_leave(Seq(2), 1_250));
        // The network held it up for four slots and a bit.
        shaper.handle_leaving(Seq(2), 2_300);
        assert!(!shaper.may_leave(Seq(3), 2_499));
        assert!(shaper.may_leave(Seq(3), 2_500));
    }

    #[test]
    fn what_left_before_leaves_again_at_once() {
        let mut shaper = shaper();
        shaper.handle_leaving(Seq(7), 1_000);
        let slot = shaper.slot_at_ms();
        for seq in 4..=7 {
            assert!(shaper.may_leave(Seq(seq), 1_001));
            shaper.handle_leaving(Seq(seq), 1_001);
        }
        assert_eq!(shaper.slot_at_ms(), slot, "it costs no slot");
        assert!(!shaper.may_leave(Seq(8), 1_001));
        // An earlier process sent some, as the relay shows.
        shaper.handle_relay_has(Seq(9));
        assert!(shaper.may_leave(Seq(9), 1_001));
        assert!(!shaper.may_leave(Seq(10), 1_001));
        shaper.handle_relay_has(Seq(2));
        assert!(shaper.may_leave(Seq(9), 1_001));
    }

    /// The pause comes when the same number of envelopes lies at the relay, whatever they hold.
    #[test]
    fn cover_pauses_by_what_the_relay_has_and_goes_on_with_an_ack() {
        let mut ends = Vec::new();
        for video in [0, 60] {
            let (mut shaper, mut last) = (shaper(), 0);
            let burst = |ms: u64| if ms == 1_000 { video } else { 0 };
            let times = leave(&mut shaper, &mut last, Seq::NONE, 0..100_000, burst);
            assert!(!shaper.status(Seq(last), Seq::NONE).covered);
            assert_eq!(times.len() as u64, last, "nothing waits");
            ends.push((times, last));
            // What is recorded meanwhile leaves all the same.
            last += 2;
            let late = leave(&mut shaper, &mut last, Seq::NONE, 100_000..101_000, |_| 0);
            assert_eq!(late.len(), 2);
            let acked = Seq(last - 10);
            assert!(shaper.status(Seq(last), acked).covered);
            let on = leave(&mut shaper, &mut last, acked, 101_000..102_000, |_| 0);
            assert_eq!(on.len(), 4);
        }
        assert_eq!(ends[0], ends[1]);
        assert_eq!(ends[0].1, 256);
    }

    #[test]
    fn where_there_is_no_room_for_cover_it_is_not_asked_for_without_end() {
        let mut shaper = shaper();
        assert!(shaper.wants_cover(Seq::NONE, Seq::NONE, 10));
        assert_eq!(shaper.cover_again_at_ms(10), None);
        shaper.handle_no_cover(10);
        assert!(!shaper.wants_cover(Seq::NONE, Seq::NONE, 5_009));
        assert_eq!(shaper.cover_again_at_ms(5_009), Some(5_010));
        assert!(shaper.wants_cover(Seq::NONE, Seq::NONE, 5_010));
    }
}
