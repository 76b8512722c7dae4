//! What stands still: a cell may differ from the background and yet be no movement, because nothing
//! changes in it from picture to picture. It shows where somebody stood when the background was learned,
//! or what was put down.
//!
//! Each cell has an anchor: how far it was from the background when it changed last. As long as it stays
//! near that, it stands; who moves however slowly leaves it sooner or later. It must never allocate after
//! [`Stillness::new`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

/// What has stood for so long is no movement any more but background, in milliseconds.
pub const STILL_AFTER_MS: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Stillness {
    /// In stretched grey values above the background.
    anchors: Vec<i16>,
    /// For how long each cell has stood, in milliseconds.
    stood_ms: Vec<u16>,
}

impl Stillness {
    pub(super) fn new(cells: usize) -> Self {
        Self {
            anchors: vec![0; cells],
            stood_ms: vec![0; cells],
        }
    }

    /// Forgets everything.
    pub(super) fn restart(&mut self) {
        self.anchors.fill(0);
        self.stood_ms.fill(0);
    }

    /// Takes how far each cell is from the background, `passed_ms` after the last time. One that is more
    /// than `step` from its anchor has changed.
    pub(super) fn take(&mut self, differences: &[i16], step: u8, passed_ms: u64) {
        let step = u16::from(step);
        let passed_ms = u16::try_from(passed_ms).unwrap_or(u16::MAX);
        for ((anchor, stood_ms), difference) in self
            .anchors
            .iter_mut()
            .zip(&mut self.stood_ms)
            .zip(differences)
        {
            if difference.abs_diff(*anchor) > step {
                *anchor = *difference;
                *stood_ms = 0;
            } else {
                *stood_ms = stood_ms.saturating_add(passed_ms);
            }
        }
    }

    /// Whether each cell has stood for [`STILL_AFTER_MS`].
    pub(super) fn still(&self) -> impl Iterator<Item = bool> + '_ {
        let stood = self.stood_ms.iter();
        stood.map(|stood_ms| u64::from(*stood_ms) >= STILL_AFTER_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_still(stillness: &Stillness) -> bool {
        stillness.still().next().unwrap()
    }

    #[test]
    fn what_changed_stands_after_its_time_and_not_before() {
        let mut stillness = Stillness::new(1);
        stillness.take(&[100], 15, 200);
        for passed in (200..STILL_AFTER_MS).step_by(200) {
            // Noise is no change.
            stillness.take(&[100 - (passed / 200 % 2) as i16 * 15], 15, 200);
            assert!(!is_still(&stillness), "{passed}");
        }
        stillness.take(&[100], 15, 200);
        assert!(is_still(&stillness));
        stillness.take(&[0], 15, 200);
        assert!(!is_still(&stillness));
    }

    #[test]
    fn what_creeps_never_stands_and_a_long_time_is_no_more_than_that() {
        let mut stillness = Stillness::new(1);
        for step in 0..100 {
            stillness.take(&[step * 2], 15, 200);
            assert!(!is_still(&stillness), "{step}");
        }
        stillness.take(&[198], 15, u64::MAX);
        stillness.take(&[198], 15, u64::MAX);
        assert!(is_still(&stillness));
        stillness.restart();
        assert!(!is_still(&stillness));
    }
}
