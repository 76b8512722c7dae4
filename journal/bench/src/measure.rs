//! Time: wall time beside CPU time, and the rounds of a contender.
//!
//! The only room of this program that reads a clock.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

pub(crate) use programs::samples::Samples;

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
        let pairs = other.wall_s.iter().zip(self.wall_s.iter());
        pairs.map(|(other, own)| other / own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
