//! What it costs to record four cameras of 1080p at once, and one: processor, memory, bytes written.
//!
//! Each camera plays a clip of 4 Mbit/s in passes that begin and end together, so that everything is counted between
//! two pauses in which nothing is recorded. Nobody looks at the pictures; a phone takes them all. The first passes
//! are not counted: in them the log makes its files, each of which it fills with zeros once and then uses again and
//! again (`journal/wal/src/log.rs`). What that wrote is told beside. It must never leave the cost of a pause out of a
//! recording's.

use std::time::Duration;

use programs::home::{Home, PATIENCE, quoted, utf8};
use programs::process::{Event, Program};
use serde_json::json;

use super::{Place, end, of_programs, source};
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale};

/// What is asked.
pub(super) const QUESTIONS: [Question; 6] = [
    Question {
        key: "four_cameras_cpu",
        title: "hub, four 1080p cameras of 4 Mbit/s recorded: one core",
        unit: "%",
        target: Target::AtMost(15.0),
    },
    Question {
        key: "four_cameras_memory",
        title: "the same, peak memory",
        unit: "MB",
        target: Target::AtMost(128.0),
    },
    Question {
        key: "four_cameras_written",
        title: "the same, bytes written per byte of video behind the first 96 MB",
        unit: "x",
        target: Target::AtMost(1.10),
    },
    Question {
        key: "one_camera_memory",
        title: "hub, one such camera recorded, peak memory",
        unit: "MB",
        target: Target::AtMost(64.0),
    },
    Question {
        key: "one_camera_written",
        title: "the same, bytes written per byte of video behind the first 96 MB",
        unit: "x",
        target: Target::AtMost(1.10),
    },
    Question {
        key: "one_camera_cpu",
        title: "the same, one core",
        unit: "%",
        target: Target::None,
    },
];

/// How long a pass lasts, and the pause behind it.
const PASS_S: u64 = 20;
const PAUSE_S: u64 = 2;
/// So much video goes through the log before anything is counted, so that it makes no more files: six or so of 16 MiB, the
/// three that are held back for a start among them.
const FIRST_BYTES: usize = 96_000_000;
/// Passes that are counted.
const COUNTED: usize = 3;
const MB: f64 = 1e6;
/// Seconds in a day.
const DAY_S: f64 = 86_400.0;

/// How often the clip is played.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Passes {
    first: usize,
    counted: usize,
}

impl Passes {
    fn of(cameras: usize, scale: Scale) -> Self {
        match scale {
            Scale::Quick => Self {
                first: 1,
                counted: 1,
            },
            Scale::Full => Self {
                first: FIRST_BYTES.div_ceil(cameras * source::BYTES_PER_SECOND * PASS_S as usize),
                counted: COUNTED,
            },
        }
    }
}

/// What a program had used at one time.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    cpu: Duration,
    written: u64,
    peak: u64,
}

impl Used {
    fn by(program: &Program) -> Outcome<Self> {
        let unknown = "the kernel does not say what a program has used";
        Ok(Self {
            cpu: program.cpu_time().ok_or(unknown)?,
            written: program.bytes_written().ok_or(unknown)?,
            peak: program.peak_memory_bytes().ok_or(unknown)?,
        })
    }
}

/// What it cost to record.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// Of one core, while it recorded.
    cpu_percent: f64,
    peak_mb: f64,
    written: f64,
    payload: u64,
    /// What the first passes wrote beyond their video.
    first_mb: f64,
    first_payload: u64,
    relay_cpu_percent: f64,
    phone_cpu_percent: f64,
}

/// Answers them.
pub(super) fn run(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let four = record(place, 4)?;
    let one = record(place, 1)?;
    let [cpu, memory, written, one_memory, one_written, one_cpu] = QUESTIONS;
    let answers = [
        (cpu.answer(four.cpu_percent), four),
        (memory.answer(four.peak_mb), four),
        (written.answer(four.written), four),
        (one_memory.answer(one.peak_mb), one),
        (one_written.answer(one.written), one),
        (one_cpu.answer(one.cpu_percent), one),
    ];
    let with_details = answers.map(|(figure, cost)| {
        of_programs(figure)
            .with(
                "how",
                json!("by the kernel: user and system time of all threads, VmHWM, write_bytes; between two pauses, for each second in which was recorded; 25 pictures/s, no detection"),
            )
            .with_number("MB of video recorded", cost.payload as f64 / MB)
            .with_number("bytes written per byte of video", cost.written)
            .with_number("MB of video in the passes before", cost.first_payload as f64 / MB)
            .with_number("MB they wrote beyond it, mostly zero-filled once and then recycled", cost.first_mb)
            .with_number("hub, CPU seconds a day", cost.cpu_percent / 100.0 * DAY_S)
            .with_number("relay, % of one core", cost.relay_cpu_percent)
            .with_number("phone, % of one core", cost.phone_cpu_percent)
    });
    Ok(with_details.into())
}

fn record(place: Place<'_>, cameras: usize) -> Outcome<Cost> {
    let passes = Passes::of(cameras, place.scale);
    let (home, relay) = place.home(&format!("cameras-{cameras}"))?;
    let app = home.start_app()?;
    configure(&home, cameras, passes)?;
    let hub = home.start_hub()?;
    finished(&hub, cameras * passes.first)?;
    let before = [Used::by(&hub)?, Used::by(&relay)?, Used::by(&app)?];
    let clips = finished(&hub, cameras * (passes.first + passes.counted))?;
    let after = [Used::by(&hub)?, Used::by(&relay)?, Used::by(&app)?];
    end([app, hub, relay])?;

    let (first, counted) = clips.split_at(cameras * passes.first);
    let (first_payload, payload) = (bytes_of(first), bytes_of(counted));
    if payload == 0 {
        return Err("nothing was recorded".into());
    }
    let seconds = PASS_S as f64 * passes.counted as f64;
    let pairs = before.into_iter().zip(after);
    let percent = pairs.map(|(before, after)| cpu_percent(before, after, seconds));
    let percent: Vec<f64> = percent.collect();
    let [cpu_percent, relay_cpu_percent, phone_cpu_percent] = percent[..] else {
        return Err("three programs were measured".into());
    };
    let ([before, ..], [after, ..]) = (before, after);
    Ok(Cost {
        cpu_percent,
        peak_mb: after.peak as f64 / MB,
        written: after.written.saturating_sub(before.written) as f64 / payload as f64,
        payload,
        first_mb: before.written.saturating_sub(first_payload) as f64 / MB,
        first_payload,
        relay_cpu_percent,
        phone_cpu_percent,
    })
}

fn bytes_of(clips: &[Event]) -> u64 {
    clips.iter().map(|clip| clip.number("bytes")).sum()
}

fn cpu_percent(before: Used, after: Used, seconds: f64) -> f64 {
    after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds * 100.0
}

fn configure(home: &Home, cameras: usize, passes: Passes) -> Outcome<()> {
    let clip = home.directory().join("source.mp4");
    source::write(&clip)?;
    let path = quoted(&utf8(&clip)?);
    let passes = passes.first + passes.counted;
    let table = |number: usize| {
        format!(
            "[[camera]]\nkind = \"file\"\nname = \"camera-{number}\"\npath = {path}\n\
             gap_seconds = {PAUSE_S}.0\nat_least_seconds = {PASS_S}.0\nat_most_seconds = {PASS_S}.0\n\
             passes = {passes}\n\n"
        )
    };
    let tables: String = (1..=cameras).map(table).collect();
    home.configure_hub(&tables)?;
    Ok(())
}

/// Waits until so many clips are finished, all of them whole; answers these in their order.
fn finished(hub: &Program, wanted: usize) -> Outcome<Vec<Event>> {
    let mut clips: Vec<Event> = Vec::new();
    while clips.len() < wanted {
        let is_new = |event: &Event| {
            event.name() == "clip_finished"
                && !clips
                    .iter()
                    .any(|clip| clip.text("clip") == event.text("clip"))
        };
        let patience = Duration::from_secs(PASS_S + PAUSE_S) + PATIENCE;
        let clip = hub.wait_for("end of a clip", 0, patience, is_new)?;
        if clip.text("outcome") != "complete" {
            return Err(format!("a clip ended {}", clip.text("outcome")).into());
        }
        clips.push(clip);
    }
    Ok(clips)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log that still makes files writes every byte twice.
    #[test]
    fn the_log_has_made_its_files_before_anything_is_counted() {
        for (cameras, first) in [(4, 3), (1, 10)] {
            let passes = Passes::of(cameras, Scale::Full);
            assert_eq!(passes, Passes { first, counted: 3 });
            let bytes = first * cameras * source::BYTES_PER_SECOND * PASS_S as usize;
            assert!(bytes >= FIRST_BYTES, "{cameras}");
        }
    }

    #[test]
    fn processor_time_counts_between_two_times_only() {
        let used = |ms| Used {
            cpu: Duration::from_millis(ms),
            ..Used::default()
        };
        assert_eq!(cpu_percent(used(500), used(3_500), 20.0), 15.0);
        assert_eq!(cpu_percent(used(500), used(400), 20.0), 0.0);
    }
}
