//! Which pictures to decode: the CPU budget as a machine without a clock.
//!
//! It must never ask for a picture whose predecessors were skipped.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

use crate::motion::PICTURE_INTERVAL_MS;

/// Smallest and largest share of one core, in percent.
pub const CPU_PERCENT: (u32, u32) = (1, 100);

/// The share of one core that a camera's detection may take if nothing is said, in percent.
pub const CPU_PERCENT_DEFAULT: u32 = 25;

/// Over how long the share is measured.
pub const WINDOW: Duration = Duration::from_secs(2);

/// Pictures that have waited longer than this are too many.
pub const BEHIND_MAX: Duration = Duration::from_millis(500);

/// How long key frames alone are decoded before every picture is tried again; it doubles each time that
/// this fails.
pub const RETRY_FIRST: Duration = Duration::from_secs(30);

/// And no longer than this.
pub const RETRY_MAX: Duration = Duration::from_secs(600);

/// Pictures come a little early and a little late; one that is due almost now is due.
const LOOK_INTERVAL: Duration = Duration::from_millis(PICTURE_INTERVAL_MS * 9 / 10);

/// Which pictures are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All.
    EveryPicture,
    /// Only those that need no other: decoding all takes more than its share.
    KeyFramesOnly,
}

/// What to do with one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Do not decode it.
    Skip,
    /// Decode it, because others need it.
    Decode,
    /// Decode it and look for motion.
    DecodeAndLook,
}

/// The budget of one camera.
#[derive(Debug)]
pub struct Pacer {
    cpu_percent: u32,
    mode: Mode,
    /// Whether the decoder has all that the next picture needs.
    has_reference: bool,
    last_look: Option<Duration>,
    /// Begin of the window, and what was spent in it.
    window: Option<(Duration, Duration)>,
    /// When every picture is tried again.
    retry_at: Duration,
    retry: Duration,
    /// With key frames alone: no picture before this, so that a camera that sends nothing else cannot take
    /// more than the share either.
    not_before: Duration,
}

impl Pacer {
    /// A budget of so many percent of one core, by the clock that the caller has; what is outside [`CPU_PERCENT`] is
    /// brought inside.
    pub fn new(cpu_percent: u32) -> Self {
        Self {
            cpu_percent: cpu_percent.clamp(CPU_PERCENT.0, CPU_PERCENT.1),
            mode: Mode::EveryPicture,
            has_reference: false,
            last_look: None,
            window: None,
            retry_at: Duration::ZERO,
            retry: RETRY_FIRST,
            not_before: Duration::ZERO,
        }
    }

    /// Another share from now on.
    pub fn set_cpu_percent(&mut self, cpu_percent: u32) {
        self.cpu_percent = cpu_percent.clamp(CPU_PERCENT.0, CPU_PERCENT.1);
    }

    /// Which pictures are decoded.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// What to do with the next picture, which has waited for `behind`.
    pub fn plan(&mut self, is_sync: bool, behind: Duration, now: Duration) -> Plan {
        if self.mode == Mode::EveryPicture && behind > BEHIND_MAX {
            self.fall_back(now);
        }
        if self.mode == Mode::KeyFramesOnly && is_sync && now >= self.retry_at {
            self.mode = Mode::EveryPicture;
            self.window = None;
        }
        match self.mode {
            Mode::EveryPicture if is_sync || self.has_reference => {
                self.has_reference = true;
                let is_due = self
                    .last_look
                    .is_none_or(|last| now.saturating_sub(last) >= LOOK_INTERVAL);
                if !is_due {
                    return Plan::Decode;
                }
                self.last_look = Some(now);
                Plan::DecodeAndLook
            }
            Mode::KeyFramesOnly if is_sync && now >= self.not_before => {
                self.last_look = Some(now);
                Plan::DecodeAndLook
            }
            _ => Plan::Skip,
        }
    }

    /// What the last picture cost.
    pub fn handle_spent(&mut self, spent: Duration, now: Duration) {
        if self.mode == Mode::KeyFramesOnly {
            self.not_before = now + spent * 100 / self.cpu_percent;
            return;
        }
        let (began, total) = self
            .window
            .unwrap_or((now.saturating_sub(spent), Duration::ZERO));
        let total = total + spent;
        let elapsed = now.saturating_sub(began);
        if elapsed < WINDOW {
            self.window = Some((began, total));
            return;
        }
        self.window = None;
        if total * 100 > elapsed * self.cpu_percent {
            self.fall_back(now);
        } else {
            self.retry = RETRY_FIRST;
        }
    }

    /// The last picture could not be decoded.
    pub fn handle_failed(&mut self) {
        self.has_reference = false;
    }

    fn fall_back(&mut self, now: Duration) {
        self.mode = Mode::KeyFramesOnly;
        self.has_reference = false;
        self.window = None;
        self.not_before = now;
        self.retry_at = now + self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Twenty pictures a second, each twentieth a key frame; answers how many were decoded.
    fn run(pacer: &mut Pacer, from: u64, until: u64, cost_ms: u64) -> usize {
        let mut decoded = 0;
        for index in from * 20..until * 20 {
            let now = ms(index * 50);
            if pacer.plan(index.is_multiple_of(20), Duration::ZERO, now) != Plan::Skip {
                decoded += 1;
                pacer.handle_spent(ms(cost_ms), now + ms(cost_ms));
            }
        }
        decoded
    }

    #[test]
    fn all_are_decoded_within_the_share_and_a_few_looked_at() {
        let mut pacer = Pacer::new(25);
        // 12 of 50 ms are 24 percent.
        assert_eq!(run(&mut pacer, 0, 60, 12), 1200);
        assert_eq!(pacer.mode(), Mode::EveryPicture);
        let plans: Vec<_> = (1200..1208)
            .map(|index| pacer.plan(false, Duration::ZERO, ms(index * 50)))
            .collect();
        let looks = plans.iter().filter(|p| **p == Plan::DecodeAndLook).count();
        assert_eq!(looks, 2);
        assert!(!plans.contains(&Plan::Skip));
    }

    #[test]
    fn beyond_the_share_key_frames_remain_and_all_are_tried_again_ever_more_seldom() {
        let mut pacer = Pacer::new(25);
        let decoded = run(&mut pacer, 0, 20, 14);
        assert_eq!(pacer.mode(), Mode::KeyFramesOnly);
        // Two seconds of all, then one a second.
        assert!((40..=42 + 18).contains(&decoded), "{decoded}");
        // Cheap now, so the next try succeeds.
        run(&mut pacer, 20, 40, 5);
        assert_eq!(pacer.mode(), Mode::EveryPicture);
        // Dear again, twice in a row: the second pause is twice as long.
        run(&mut pacer, 40, 44, 20);
        let first = pacer.retry_at;
        run(&mut pacer, 44, 120, 20);
        assert_eq!(pacer.mode(), Mode::KeyFramesOnly);
        assert!(pacer.retry_at > first + RETRY_FIRST);
    }

    #[test]
    fn pictures_that_wait_and_pictures_that_cannot_be_decoded_lead_to_the_next_key_frame() {
        let mut pacer = Pacer::new(100);
        assert_eq!(pacer.plan(false, ms(0), ms(0)), Plan::Skip);
        assert_eq!(pacer.plan(true, ms(0), ms(50)), Plan::DecodeAndLook);
        pacer.handle_failed();
        assert_eq!(pacer.plan(false, ms(0), ms(100)), Plan::Skip);
        assert_eq!(pacer.plan(true, ms(0), ms(150)), Plan::Decode);
        assert_eq!(pacer.plan(false, BEHIND_MAX, ms(400)), Plan::DecodeAndLook);
        let late = BEHIND_MAX + ms(1);
        assert_eq!(pacer.plan(false, late, ms(450)), Plan::Skip);
        assert_eq!(pacer.mode(), Mode::KeyFramesOnly);
        assert_eq!(pacer.plan(true, late, ms(500)), Plan::DecodeAndLook);
    }

    #[test]
    fn a_camera_of_key_frames_alone_keeps_to_the_share_too() {
        let mut pacer = Pacer::new(10);
        let mut spent = 0;
        for index in 0..20 * 20 {
            let now = ms(index * 50);
            if pacer.plan(true, Duration::ZERO, now) != Plan::Skip {
                spent += 40;
                pacer.handle_spent(ms(40), now + ms(40));
            }
        }
        // Two seconds until it shows, then 10 percent of 18.
        assert!(spent <= 2_100 + 1_800, "{spent}");
    }
}
