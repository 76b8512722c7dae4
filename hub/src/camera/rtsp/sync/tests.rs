//! A camera of two clocks, for hours.

use super::*;

const PICTURE_RATE: NonZeroU32 = NonZeroU32::new(90_000).unwrap();
const SOUND_RATE: NonZeroU32 = NonZeroU32::new(8_000).unwrap();
/// Samples of a piece of sound, and how long it lasts by its own clock.
const PIECE: u32 = 1024;
const PIECE_LENGTH: Micros = 128 * MILLISECOND;
const MINUTE: Micros = 60 * SECOND;
const TEN_MINUTES: Micros = 10 * MINUTE;
const HOUR: Micros = 60 * MINUTE;
/// What nobody may hear.
const BOUND: Micros = 80 * MILLISECOND;
/// The camera's clock at its first picture.
const NTP_BEGIN: u64 = 0xEA00_0000 << 32;

fn ntp(at: Micros) -> u64 {
    NTP_BEGIN.wrapping_add(as_fractions(at))
}

fn as_fractions(at: Micros) -> u64 {
    ((i128::from(at) << 32) / i128::from(SECOND)) as u64
}

/// Ten pictures a second by a clock that is right, and a microphone by one that is not.
#[derive(Clone, Copy)]
struct Camera {
    /// By how many parts in a million the microphone's clock is fast.
    ppm: i64,
    /// When sound begins, after the first picture.
    begins: Micros,
    /// Whether the answer to PLAY says where the streams begin.
    is_told: bool,
    /// What a stream's reports give as the camera's time at a moment; `None` where none are sent.
    reports: fn(Stream, Micros) -> Option<u64>,
    /// Whether the network holds everything up for 20 s of each five minutes.
    stalls: bool,
}

const SILENT: fn(Stream, Micros) -> Option<u64> = |_, _| None;
const HONEST: fn(Stream, Micros) -> Option<u64> = |_, at| Some(ntp(at));

const CAMERA: Camera = Camera {
    ppm: 0,
    begins: 0,
    is_told: true,
    reports: SILENT,
    stalls: false,
};

/// A piece of sound that was placed.
struct Heard {
    /// When it began, after the first picture.
    began: Micros,
    /// Its time in ticks.
    placed: i64,
    /// How much too late that is.
    late: Micros,
}

impl Camera {
    /// When a piece of sound began.
    fn began(self, piece: i64) -> Micros {
        self.begins + piece * PIECE_LENGTH * SECOND / (SECOND + self.ppm)
    }

    /// When the hub's clock, which has a fault of its own, says that something came.
    fn hub(self, at: Micros) -> Duration {
        let period = 5 * MINUTE;
        let at = match at.rem_euclid(period) {
            held_up if self.stalls && held_up < 20 * SECOND => at - held_up + 20 * SECOND,
            _ => at,
        };
        let told = at + at * 20 / SECOND + MINUTE;
        Duration::from_micros(u64::try_from(told).unwrap())
    }

    /// Plays for so long; answers why reports were not used.
    fn play(self, length: Micros, mut heard: impl FnMut(Heard)) -> Vec<Doubt> {
        let mut sync = LipSync::default();
        let mut doubts = Vec::new();
        // Since PLAY, before the first picture.
        let lead = if self.is_told { 500 * MILLISECOND } else { 0 };
        let sound_begins = if self.is_told { self.begins + lead } else { 0 };
        let (mut at, mut step, mut piece) = (self.begins.min(0), 0_i64, 0_i64);
        while at < length {
            // Encoder and network hold each picture and each piece up by something of their own.
            let came = at + 50 * MILLISECOND + (step * 7_919 % 30) * MILLISECOND;
            loop {
                let began = self.began(piece);
                let over = began + PIECE_LENGTH + 20 * MILLISECOND;
                let comes = over + (piece * 31 % 20) * MILLISECOND;
                if comes > came {
                    break;
                }
                let elapsed = ticks(sound_begins, SOUND_RATE) + piece * i64::from(PIECE);
                let placed = sync.handle_sound(self.hub(comes), elapsed, PIECE, SOUND_RATE);
                if let Some(placed) = placed {
                    let late = micros(placed, SOUND_RATE) - (began + lead);
                    heard(Heard {
                        began,
                        placed,
                        late,
                    });
                }
                piece += 1;
            }
            let now = self.hub(came);
            let elapsed = ticks(at + lead, PICTURE_RATE);
            if at >= 0 {
                sync.handle_picture(now, elapsed, PICTURE_RATE);
            }
            // One in five seconds of each stream, not together.
            if at >= 0
                && step % 50 == 0
                && let Some(ntp) = (self.reports)(Stream::Pictures, at)
            {
                let stream = Stream::Pictures;
                doubts.extend(sync.handle_report(now, stream, ntp, elapsed, PICTURE_RATE));
            }
            if at >= self.begins
                && step % 50 == 13
                && let Some(ntp) = (self.reports)(Stream::Sound, at)
            {
                let since = at - self.begins;
                let elapsed = ticks(sound_begins + since + since * self.ppm / SECOND, SOUND_RATE);
                let stream = Stream::Sound;
                doubts.extend(sync.handle_report(now, stream, ntp, elapsed, SOUND_RATE));
            }
            at += 100 * MILLISECOND;
            step += 1;
        }
        doubts
    }

    /// Plays for so long: sound is in its place, from so long after its beginning on, and its times rise.
    fn is_in_step(self, from: Micros, length: Micros) -> Vec<Doubt> {
        let (mut last, mut worst, mut count) = (i64::MIN, 0_i64, 0_i64);
        let doubts = self.play(length, |heard| {
            assert!(heard.placed > last, "it falls at {}", heard.began);
            last = heard.placed;
            if heard.began >= self.begins + from {
                worst = worst.max(heard.late.abs());
                count += 1;
            }
        });
        assert!(worst <= BOUND, "{worst} us at {} ppm", self.ppm);
        assert!(count > (length - from) / SECOND, "only {count} pieces");
        doubts
    }
}

/// Longer than 32 bits of the pictures' ticks, which are over after 13 hours.
#[test]
fn clocks_that_part_for_a_day_are_held_together_with_reports_and_without() {
    for reports in [HONEST, SILENT] {
        for (ppm, is_told) in [(50, true), (-50, false)] {
            let camera = Camera {
                ppm,
                is_told,
                reports,
                ..CAMERA
            };
            assert!(camera.is_in_step(0, 24 * HOUR).is_empty());
        }
    }
}

#[test]
fn no_clip_has_a_hole_where_clocks_part() {
    for reports in [HONEST, SILENT] {
        let camera = Camera {
            ppm: 50,
            reports,
            ..CAMERA
        };
        let mut last: Option<i64> = None;
        camera.play(2 * HOUR, |heard| {
            if let Some(last) = last.replace(heard.placed) {
                let lasts = heard.placed - last;
                // A hundredth, and what is less than a tick.
                assert!((1012..=1036).contains(&lasts), "{lasts} at {}", heard.began);
            }
        });
    }
}

#[test]
fn streams_that_begin_with_zero_at_different_times_are_put_together() {
    for reports in [HONEST, SILENT] {
        for begins in [3 * SECOND, -3 * SECOND] {
            let camera = Camera {
                begins,
                is_told: false,
                reports,
                ..CAMERA
            };
            assert!(camera.is_in_step(15 * SECOND, 5 * MINUTE).is_empty());
        }
    }
}

/// A camera that says how its streams begin, and takes its time for pictures.
#[test]
fn what_the_camera_says_of_the_beginning_holds() {
    let camera = Camera {
        begins: 7 * SECOND,
        ..CAMERA
    };
    camera.play(TEN_MINUTES, |heard| assert!(heard.late.abs() < MILLISECOND));
}

#[test]
fn a_network_that_stalls_moves_no_sound() {
    for reports in [HONEST, SILENT] {
        let camera = Camera {
            ppm: 50,
            stalls: true,
            reports,
            ..CAMERA
        };
        assert!(camera.is_in_step(0, 4 * HOUR).is_empty());
    }
}

#[test]
fn reports_that_lie_are_named_once_and_move_no_sound() {
    /// The time that a stream's reports give, and what is said of them.
    type Lie = (fn(Stream, Micros) -> Option<u64>, fn(Doubt) -> bool);
    let lies: [Lie; 6] = [
        // No clock, as RFC 3550 has it.
        (|_, _| Some(0), |doubt| doubt == Doubt::NoTime),
        // A clock that stands still.
        (
            |_, _| Some(ntp(0)),
            |doubt| matches!(doubt, Doubt::Jump { by_ms } if by_ms < 0),
        ),
        // A clock that is set, as after a start without a network.
        (
            |_, at| match at {
                ..TEN_MINUTES => Some(ntp(at)),
                _ => Some(ntp(at + 400_000 * HOUR)),
            },
            |doubt| matches!(doubt, Doubt::Jump { by_ms } if by_ms > 3_600_000),
        ),
        // The clock of one stream.
        (
            |stream, at| match stream {
                Stream::Sound if at >= TEN_MINUTES => Some(ntp(at + 5 * HOUR)),
                _ => Some(ntp(at)),
            },
            |doubt| matches!(doubt, Doubt::Jump { by_ms } if by_ms > 17_999_000),
        ),
        // Two clocks from the beginning.
        (
            |stream, at| match stream {
                Stream::Pictures => Some(ntp(at + HOUR)),
                Stream::Sound => Some(ntp(at)),
            },
            |doubt| matches!(doubt, Doubt::Far { by_ms } if by_ms < -3_500_000),
        ),
        // Another time in each report.
        (
            |_, at| Some(ntp(at + at / SECOND % 7 * HOUR)),
            |doubt| matches!(doubt, Doubt::Jump { .. }),
        ),
    ];
    for (number, (reports, is_named)) in lies.into_iter().enumerate() {
        let camera = Camera {
            ppm: 50,
            reports,
            ..CAMERA
        };
        let doubts = camera.is_in_step(0, 3 * HOUR);
        let [doubt] = doubts[..] else {
            panic!("{number}: {doubts:?}");
        };
        assert!(is_named(doubt), "{number}: {doubt}");
        assert!(!doubt.to_string().contains('\n'));
    }
}

#[test]
fn a_lie_that_could_be_true_moves_sound_by_no_more_than_it_may() {
    let camera = Camera {
        reports: |stream, at| match stream {
            Stream::Sound if at >= TEN_MINUTES => Some(ntp(at + 1_500 * MILLISECOND)),
            _ => Some(ntp(at)),
        },
        ..CAMERA
    };
    let mut worst: Micros = 0;
    let doubts = camera.play(HOUR, |heard| worst = worst.max(heard.late.abs()));
    assert_eq!(doubts.len(), 1, "{doubts:?}");
    assert!(worst <= reports::FAR, "{worst}");
}

/// From the first minute on, as in 2036.
#[test]
fn the_camera_s_clock_may_wrap_around() {
    let camera = Camera {
        ppm: 50,
        reports: |_, at| Some(as_fractions(at).wrapping_sub(as_fractions(MINUTE + 7))),
        ..CAMERA
    };
    assert!(camera.is_in_step(0, 2 * HOUR).is_empty());
}

#[test]
fn when_reports_end_sound_stays_where_they_put_it() {
    let camera = Camera {
        ppm: 50,
        is_told: false,
        begins: 3 * SECOND,
        reports: |_, at| (at < 20 * MINUTE).then(|| ntp(at)),
        ..CAMERA
    };
    assert!(camera.is_in_step(15 * SECOND, 6 * HOUR).is_empty());
}

/// The test cameras of other rooms do so.
#[test]
fn a_camera_that_plays_faster_than_time_is_left_alone() {
    let mut sync = LipSync::default();
    for step in 0..6_000_i64 {
        // Ten times as fast; sound comes with every third picture, long before it is over.
        let now = Duration::from_millis(4 * step as u64);
        sync.handle_picture(now, step * 3_600, PICTURE_RATE);
        let piece = step / 3 * 960;
        if step % 3 == 0 {
            assert_eq!(sync.handle_sound(now, piece, 960, SOUND_RATE), Some(piece));
        }
    }
}

#[test]
fn no_time_is_too_much() {
    let rates = [NonZeroU32::MIN, SOUND_RATE, NonZeroU32::MAX];
    let times = [i64::MIN, -1, 0, 1, 1 << 40, i64::MAX];
    let hours = [Duration::ZERO, Duration::from_secs(3600), Duration::MAX];
    for rate in rates {
        let mut sync = LipSync::default();
        for now in hours {
            for (number, elapsed) in times.into_iter().cycle().take(40).enumerate() {
                sync.handle_picture(now, elapsed, rate);
                let ntp = elapsed as u64;
                let stream = [Stream::Pictures, Stream::Sound][number % 2];
                sync.handle_report(now, stream, ntp, elapsed, rate);
                sync.handle_sound(now, times[number / 7], u32::MAX, rate);
            }
        }
    }
}
