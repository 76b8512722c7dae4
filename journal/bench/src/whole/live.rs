//! Glass to glass: how old a picture is where it is seen.
//!
//! From the time that the virtual camera draws into it to when the phone's program has written all of its fragment
//! to us, and the decoder has shown it. An event of motion is recorded meanwhile, or nothing is answered. A picture that
//! the camera should have made and that was never seen has an age without end. It must never count on what the programs
//! say of a picture's age.

use std::time::Duration;

use hub::camera::virtual_camera::VirtualConfig;
use programs::process::{Event, unix_ms};
use serde_json::json;

use super::{PATIENCE, Place, VIRTUAL_CAMERA, end, of_programs, pictures};
use crate::Outcome;
use crate::measure::Samples;
use crate::report::{Figure, Question, Target};

/// What is asked.
pub(super) const QUESTIONS: [Question; 2] = [
    Question {
        key: "glass_to_glass_p50",
        title: "age of a live picture where it is seen, median",
        unit: "ms",
        target: Target::AtMost(300.0),
    },
    Question {
        key: "glass_to_glass_p95",
        title: "age of a live picture where it is seen, 95 of 100",
        unit: "ms",
        target: Target::AtMost(800.0),
    },
];
/// Percentiles of fewer pictures say little.
const PICTURES_MIN: usize = 30;
/// What was drawn so shortly before the viewer's time is over may be on its way when it is.
const LAST_MS: u64 = 1_000;

/// Answers them.
pub(super) fn run(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let (home, relay) = place.home("live")?;
    home.configure_hub(VIRTUAL_CAMERA)?;
    let hub = home.start_hub()?;
    let seconds = place.scale.rounds(10, 40) as u64;
    let began_ms = unix_ms();
    let viewer = home.start_viewer(seconds)?;
    let first_ms = viewer.wait_for_pictures(PATIENCE)?;
    let seen = viewer.finish(PATIENCE + Duration::from_secs(seconds))?;
    let said = hub.events();
    end([hub, relay])?;

    let whole = usize::try_from(seen.arrivals.whole_bytes())?;
    let mut ages = Samples::default();
    let mut drawn_ms = Vec::new();
    let (mut decoding, mut unreadable) = (Samples::default(), 0);
    for picture in pictures::read(seen.bytes.get(..whole).unwrap_or_default())? {
        let arrived = seen.arrivals.at_ms(picture.offset);
        let (Some(drawn), Some(arrived)) = (picture.drawn_unix_ms, arrived) else {
            unreadable += 1;
            continue;
        };
        drawn_ms.push(drawn);
        ages.push(arrived.saturating_sub(drawn) as f64 + picture.decode_ms);
        decoding.push(picture.decode_ms);
    }
    if ages.count() < PICTURES_MIN {
        let reason = format!("only {} live pictures showed their time", ages.count());
        return Err(reason.into());
    }
    let last_ms = seen.arrivals.at_ms(seen.arrivals.whole_bytes() - 1);
    let last_ms = last_ms.unwrap_or(first_ms);
    let events = recorded_between(&said, first_ms, last_ms);
    if events == 0 {
        return Err("no event was recorded while somebody watched".into());
    }
    let over_ms = began_ms + seconds * 1_000;
    let unseen = never_seen(&drawn_ms, over_ms.saturating_sub(LAST_MS));
    for _ in 0..unseen {
        ages.push(f64::INFINITY);
    }
    let [p50, p95] = QUESTIONS;
    let answers = [p50.answer_by(&ages), p95.answer(ages.quantile(0.95))];
    let shown_s = last_ms.saturating_sub(first_ms) as f64 / 1e3;
    let with_details = answers.map(|figure| {
        of_programs(figure)
            .with(
                "how",
                json!("the clock in each picture of the virtual camera (640x360, 10 a second), read back by a decoder, against the time at which secluso-app has written the picture's whole fragment; decoding included, a screen not; a picture that should have been drawn since the first that was seen, and was not seen, is never there"),
            )
            .with_number("pictures", drawn_ms.len() as f64)
            .with_number("pictures that never came", unseen as f64)
            .with_number("seconds from the first to the last", shown_s)
            .with_number("events recorded meanwhile", events as f64)
            .with_number("most, ms", ages.quantile(1.0))
            .with_number("of it decoding, median, ms", decoding.median())
            .with_number("pictures whose time could not be read, which count as never there", f64::from(unreadable))
    });
    Ok(with_details.into())
}

/// How many pictures the camera should have drawn, from the first of these times until the last or `until_ms`, whichever is
/// later, beyond those that were seen.
fn never_seen(drawn_ms: &[u64], until_ms: u64) -> u64 {
    let (Some(first), Some(last)) = (drawn_ms.iter().min(), drawn_ms.iter().max()) else {
        return 0;
    };
    let rate = u64::from(VirtualConfig::default().pictures_per_second);
    let period_ms = 1_000 / rate.max(1);
    let lasts_ms = until_ms.max(*last) - first;
    // A picture is drawn a little after it is due: what counts is the nearest.
    let wanted = (lasts_ms + period_ms / 2) / period_ms + 1;
    wanted.saturating_sub(drawn_ms.len() as u64)
}

/// How many events were recorded between these times, if only in part, as the hub has said.
fn recorded_between(said: &[Event], from_ms: u64, until_ms: u64) -> usize {
    let named = |name: &'static str| said.iter().filter(move |event| event.name() == name);
    let is_within = |start: &&Event| {
        let mut ends = named("clip_finished").filter(|end| end.text("clip") == start.text("clip"));
        let is_over = ends.any(|end| end.unix_ms < from_ms);
        start.unix_ms <= until_ms && !is_over
    };
    named("clip_started").filter(is_within).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_that_never_came_is_missed_wherever_it_is() {
        // Ten a second, each some milliseconds late.
        let all: Vec<u64> = (0..50)
            .map(|number| 5_000 + number * 100 + number % 7)
            .collect();
        let last = 5_000 + 49 * 100;
        assert_eq!(never_seen(&all, 0), 0);
        assert_eq!(never_seen(&all, last), 0);
        // In the middle.
        let holed = [&all[..20], &all[30..]].concat();
        assert_eq!(never_seen(&holed, last), 10);
        // And at the end, before the viewer's time was over.
        assert_eq!(never_seen(&all[..40], last), 10);
        assert_eq!(never_seen(&[], last), 0);
    }

    #[test]
    fn an_event_counts_that_was_recorded_while_somebody_watched() {
        let event = |unix_ms, name: &str, clip: &str| Event {
            unix_ms,
            value: json!({"event": name, "clip": clip}),
        };
        let said = [
            event(1_000, "clip_started", "a"),
            event(2_000, "clip_finished", "a"),
            event(3_000, "clip_started", "b"),
            event(9_000, "clip_finished", "b"),
            event(11_000, "clip_started", "c"),
        ];
        assert_eq!(recorded_between(&said, 2_500, 2_900), 0);
        assert_eq!(recorded_between(&said, 4_000, 5_000), 1);
        assert_eq!(recorded_between(&said, 500, 20_000), 3);
        assert_eq!(recorded_between(&said, 10_000, 10_500), 0);
        assert_eq!(recorded_between(&said, 12_000, 13_000), 1);
    }
}
