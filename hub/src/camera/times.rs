//! Decode times for a source that only tells presentation times, as RTP does.
//!
//! Without B-frames both are the same. With them a picture is stored before some that are shown
//! earlier; how many is learnt from what comes. It is pure, holds at most [`REORDER_MAX`] + 1 times,
//! and must never let a decode time fall or change a presentation time.

use std::collections::VecDeque;

/// The most pictures that H.264 and H.265 let be shown before one that was stored earlier
/// (`max_num_reorder_frames`).
pub const REORDER_MAX: usize = 16;

/// Makes decode times of presentation times, in decode order.
#[derive(Debug, Default)]
pub struct DecodeTimes {
    /// The presentation times seen last, oldest first: to see how far pictures are out of order.
    seen: VecDeque<u64>,
    /// Presentation times that are no decode time yet, in rising order.
    waiting: Vec<u64>,
    depth: usize,
    last: u64,
}

/// The times of one picture, in the ticks of its presentation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Decode time: never less than that of the picture before it.
    pub dts: u64,
    /// Presentation time minus decode time. Below zero only until the order is learnt.
    pub composition_offset: i32,
}

impl DecodeTimes {
    /// Takes the presentation time of the next picture in decode order. `None` if it is so far from
    /// its decode time that 32 bits do not hold the distance: a damaged time.
    pub fn handle_picture(&mut self, pts: u64) -> Option<Times> {
        let before = self.seen.iter().filter(|seen| **seen > pts).count();
        self.depth = self.depth.max(before).min(REORDER_MAX);
        if self.seen.len() == REORDER_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(pts);
        let at = self.waiting.partition_point(|waiting| *waiting <= pts);
        self.waiting.insert(at, pts);
        // While the order is being learnt, a time may have to stand still.
        if self.waiting.len() > self.depth {
            self.last = self.last.max(self.waiting.remove(0));
        }
        let offset = i128::from(pts) - i128::from(self.last);
        Some(Times {
            dts: self.last,
            composition_offset: i32::try_from(offset).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pts: &[u64]) -> Vec<(u64, i32)> {
        let mut times = DecodeTimes::default();
        pts.iter()
            .map(|pts| {
                let times = times.handle_picture(*pts).unwrap();
                (times.dts, times.composition_offset)
            })
            .collect()
    }

    #[test]
    fn without_b_frames_both_times_are_the_same() {
        assert_eq!(run(&[7, 10, 14]), [(7, 0), (10, 0), (14, 0)]);
    }

    #[test]
    fn presentation_times_stay_and_decode_times_rise() {
        // I P B B P B B P B B, in the order of decoding.
        let pts = [0, 3, 1, 2, 6, 4, 5, 9, 7, 8];
        let times = run(&pts);
        let mut last = 0;
        for ((dts, offset), pts) in times.iter().zip(pts) {
            assert!(*dts >= last, "{times:?}");
            last = *dts;
            assert_eq!(*dts as i64 + i64::from(*offset), pts as i64, "{times:?}");
        }
        // Once the order is known, no picture is shown before it is decoded.
        assert!(
            times[4..].iter().all(|(_, offset)| *offset >= 0),
            "{times:?}"
        );
    }

    #[test]
    fn a_pyramid_of_b_frames_is_learnt() {
        let group = [4, 2, 1, 3];
        let pts: Vec<u64> = std::iter::once(0)
            .chain((0..20).flat_map(|at| group.map(|pts| at * 4 + pts)))
            .collect();
        let times = run(&pts);
        assert!(
            times[8..].iter().all(|(_, offset)| *offset >= 0),
            "{times:?}"
        );
        assert!(
            times[8..].windows(2).all(|pair| pair[1].0 == pair[0].0 + 1),
            "even steps: {times:?}"
        );
    }

    #[test]
    fn memory_is_bounded_whatever_the_times_are() {
        let mut times = DecodeTimes::default();
        for number in 0..10_000_u64 {
            times.handle_picture(1_000_000 - number);
        }
        assert!(times.seen.len() <= REORDER_MAX);
        assert!(times.waiting.len() <= REORDER_MAX + 1);
        let mut far = DecodeTimes::default();
        far.handle_picture(u64::MAX);
        assert_eq!(far.handle_picture(0), None);
    }
}
