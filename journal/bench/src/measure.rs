//! Time and samples: wall time beside CPU time, medians beside their spread.
//!
//! The only room of this program that reads a clock. It must never throw a sample away: a slow
//! round shows in the spread.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What one round of something cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// Wall time in seconds.
    pub(crate) wall_s: f64,
    /// CPU time of the whole process in seconds, background threads of RocksDB included.
    pub(crate) cpu_s: f64,
}

/// A running measurement.
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu_s: f64,
}

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "A benchmark is a shell: here its clock enters."
    )]
    pub(crate) fn start() -> Self {
        Self {
            cpu_s: process_cpu_s(),
            wall: Instant::now(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "A benchmark is a shell: here its clock enters."
    )]
    pub(crate) fn stop(&self) -> Cost {
        let wall_s = self.wall.elapsed().as_secs_f64();
        Cost {
            wall_s,
            cpu_s: process_cpu_s() - self.cpu_s,
        }
    }
}

/// Runs `action` and says what it cost.
pub(crate) fn timed<T>(action: impl FnOnce() -> T) -> (T, Cost) {
    let watch = Stopwatch::start();
    let value = action();
    (value, watch.stop())
}

/// Runs `action` and adds its wall time to `total`.
#[expect(
    clippy::disallowed_methods,
    reason = "A benchmark is a shell: here its clock enters."
)]
pub(crate) fn adding<T>(total: &mut Duration, action: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let value = action();
    *total += start.elapsed();
    value
}

/// Waits; for a child process that has no other way to say that it is ready.
#[expect(
    clippy::disallowed_methods,
    reason = "A benchmark is a shell: here its clock enters."
)]
pub(crate) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Keeps the CPU busy for so long.
#[expect(
    clippy::disallowed_methods,
    reason = "A benchmark is a shell: here its clock enters."
)]
pub(crate) fn spin(duration: Duration) {
    let start = Instant::now();
    while start.elapsed() < duration {
        std::hint::spin_loop();
    }
}

fn process_cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// All samples of one quantity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    pub(crate) fn mean(&self) -> f64 {
        if self.0.is_empty() {
            0.0
        } else {
            self.sum() / self.0.len() as f64
        }
    }

    /// The value below which the share `q` (0 to 1) of all samples lies, interpolated.
    pub(crate) fn quantile(&self, q: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else {
            return 0.0;
        };
        let at = q.clamp(0.0, 1.0) * last as f64;
        let (low, high) = (at.floor() as usize, at.ceil() as usize);
        sorted[low] + (sorted[high] - sorted[low]) * (at - low as f64)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(samples: I) -> Self {
        Self(samples.into_iter().collect())
    }
}

/// The rounds of one contender.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) wall_s: Samples,
    pub(crate) cpu_s: Samples,
}

impl Rounds {
    pub(crate) fn push(&mut self, cost: Cost) {
        self.wall_s.push(cost.wall_s);
        self.cpu_s.push(cost.cpu_s);
    }

    /// How much faster we were than `other`, round by round: above 1 is faster.
    pub(crate) fn speed_against(&self, other: &Self) -> Samples {
        let pairs = other.wall_s.0.iter().zip(&self.wall_s.0);
        pairs.map(|(other, own)| other / own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_and_survive_nothing() {
        assert_eq!(Samples::default().median(), 0.0);
        let samples: Samples = [4.0, 1.0, 3.0, 2.0].into_iter().collect();
        assert_eq!(samples.median(), 2.5);
        assert_eq!((samples.quantile(0.0), samples.quantile(1.0)), (1.0, 4.0));
        assert_eq!((samples.mean(), samples.count()), (2.5, 4));
    }

    #[test]
    fn a_ratio_above_one_means_that_we_are_faster() {
        let rounds = |wall: &[f64]| {
            let mut rounds = Rounds::default();
            for wall_s in wall {
                rounds.push(Cost {
                    wall_s: *wall_s,
                    cpu_s: 0.0,
                });
            }
            rounds
        };
        let (own, other) = (rounds(&[1.0, 2.0]), rounds(&[3.0, 2.0]));
        assert_eq!(own.speed_against(&other).median(), 2.0);
    }
}
