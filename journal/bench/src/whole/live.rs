//! Glass to glass: how old a picture is where it is seen.
//!
//! From the time that the virtual camera draws into it to when the phone's program has written all of its fragment
//! to us, and the decoder has shown it. Events of motion are recorded meanwhile. It must never count on what the
//! programs say of a picture's age.

use std::time::Duration;

use serde_json::json;

use super::{PATIENCE, Place, Question, VIRTUAL_CAMERA, end, of_programs, pictures};
use crate::Outcome;
use crate::measure::Samples;
use crate::report::{Figure, Target};

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

/// Answers them.
pub(super) fn run(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let (home, relay) = place.home("live")?;
    home.configure_hub(VIRTUAL_CAMERA)?;
    let hub = home.start_hub()?;
    let seconds = place.scale.rounds(10, 40) as u64;
    let viewer = home.start_viewer(seconds)?;
    let first_ms = viewer.wait_for_pictures(PATIENCE)?;
    let seen = viewer.finish(PATIENCE + Duration::from_secs(seconds))?;
    end([hub, relay])?;

    let whole = usize::try_from(seen.arrivals.whole_bytes())?;
    let mut ages = Samples::default();
    let (mut decoding, mut unreadable) = (Samples::default(), 0);
    for picture in pictures::read(seen.bytes.get(..whole).unwrap_or_default())? {
        let arrived = seen.arrivals.at_ms(picture.offset);
        let (Some(drawn), Some(arrived)) = (picture.drawn_unix_ms, arrived) else {
            unreadable += 1;
            continue;
        };
        ages.push(arrived.saturating_sub(drawn) as f64 + picture.decode_ms);
        decoding.push(picture.decode_ms);
    }
    if ages.count() < PICTURES_MIN {
        let reason = format!("only {} live pictures showed their time", ages.count());
        return Err(reason.into());
    }
    let [p50, p95] = QUESTIONS;
    let answers = [p50.answer_by(&ages), p95.answer(ages.quantile(0.95))];
    let last_ms = seen.arrivals.at_ms(seen.arrivals.whole_bytes() - 1);
    let shown_s = last_ms.unwrap_or(first_ms).saturating_sub(first_ms) as f64 / 1e3;
    let with_details = answers.map(|figure| {
        of_programs(figure)
            .with(
                "how",
                json!("the clock in each picture of the virtual camera (640x360, 10 a second), read back by a decoder, against the time at which secluso-app has written the picture's whole fragment; decoding included, a screen not"),
            )
            .with_number("pictures", ages.count() as f64)
            .with_number("seconds from the first to the last", shown_s)
            .with_number("most, ms", ages.quantile(1.0))
            .with_number("of it decoding, median, ms", decoding.median())
            .with_number("pictures whose time could not be read", f64::from(unreadable))
    });
    Ok(with_details.into())
}
