//! What stands still: a cell may differ from the background and yet be no movement, because nothing
//! changes in it from picture to picture. It shows where somebody stood when the background was learned,
//! or what was put down.
//!
//! Each cell has an anchor: what it was when it changed last. As long as it stays near that, it stands; who
//! moves leaves it, unless so slowly that no cell changes by half the threshold within [`STILL_AFTER_MS`].
//! It must never take another light for a change, and never allocate after [`Stillness::new`].
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use super::light::{Light, shown, stretched};

/// What has stood for so long is no movement any more but background, in milliseconds.
pub const STILL_AFTER_MS: u64 = 2_000;

#[derive(Debug)]
pub(super) struct Stillness {
    /// In 1/256 of a grey value, in the light of the last picture.
    anchors: Vec<u32>,
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

    /// Everything stands as in this picture, from now on.
    pub(super) fn restart(&mut self, picture: &[u8]) {
        for (anchor, cell) in self.anchors.iter_mut().zip(picture) {
            *anchor = u32::from(*cell) << 8;
        }
        self.stood_ms.fill(0);
    }

    /// Brings what is known into the light of the next picture.
    pub(super) fn follow_light(&mut self, light: Light) {
        for anchor in &mut self.anchors {
            *anchor = light.on(*anchor);
        }
    }

    /// Takes the next picture, `passed_ms` after the one before it. A cell that is more than `step` grey
    /// values from its anchor, both stretched by `table`, has changed.
    pub(super) fn take(&mut self, picture: &[u8], (step, table): (u8, &[u8; 256]), passed_ms: u64) {
        let passed_ms = u16::try_from(passed_ms).unwrap_or(u16::MAX);
        for ((anchor, stood_ms), cell) in
            self.anchors.iter_mut().zip(&mut self.stood_ms).zip(picture)
        {
            if stretched(table, *cell).abs_diff(stretched(table, shown(*anchor))) > step {
                *anchor = u32::from(*cell) << 8;
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

    fn take(stillness: &mut Stillness, grey: u8, passed_ms: u64) {
        let table = std::array::from_fn(|grey| grey as u8);
        stillness.take(&[grey], (15, &table), passed_ms);
    }

    #[test]
    fn what_changed_stands_after_its_time_and_not_before() {
        let mut stillness = Stillness::new(1);
        take(&mut stillness, 100, 200);
        for passed in (200..STILL_AFTER_MS).step_by(200) {
            // Noise is no change.
            take(&mut stillness, 100 - (passed / 200 % 2) as u8 * 15, 200);
            assert!(!is_still(&stillness), "{passed}");
        }
        take(&mut stillness, 100, 200);
        assert!(is_still(&stillness));
        take(&mut stillness, 10, 200);
        assert!(!is_still(&stillness));
    }

    #[test]
    fn what_creeps_never_stands_and_a_long_time_is_no_more_than_that() {
        let mut stillness = Stillness::new(1);
        for step in 0..100 {
            take(&mut stillness, step * 2, 200);
            assert!(!is_still(&stillness), "{step}");
        }
        take(&mut stillness, 198, u64::MAX);
        take(&mut stillness, 198, u64::MAX);
        assert!(is_still(&stillness));
        stillness.restart(&[198]);
        assert!(!is_still(&stillness));
    }

    #[test]
    fn another_light_is_no_change() {
        let mut stillness = Stillness::new(1);
        stillness.restart(&[100]);
        take(&mut stillness, 100, STILL_AFTER_MS);
        let scene: Vec<u32> = (0..200).map(|cell| (50 + cell / 2) << 8).collect();
        let lit: Vec<u8> = scene
            .iter()
            .map(|cell| ((cell * 3 / 2) >> 8) as u8)
            .collect();
        let light = Light::between(&scene, &lit, &[false; 200]).unwrap();
        stillness.follow_light(light);
        take(&mut stillness, 150, 200);
        assert!(is_still(&stillness));
    }
}
