//! The moments of an event at the phone: the notice, the picture, the first pictures of the clip.
//!
//! An event begins where somebody comes into the camera's scene. When that was is read from the clip as the phone exports
//! it: the clock in the first picture that shows somebody. It is asked twice: of the virtual camera with little recorded
//! before, and of one of 1080p and 4 Mbit/s with all that a hub records before by itself, which has to be sealed and sent
//! first. It must never take the hub's word for the beginning, which names that of what was recorded before.

use std::collections::BTreeSet;
use std::time::Duration;

use programs::home::Home;
use programs::process::{Event, Program};
use serde_json::json;

use super::{
    PATIENCE, Place, VIRTUAL_CAMERA, WALK_CYCLE, end, of_programs, pictures, player, source,
};
use crate::Outcome;
use crate::measure::Samples;
use crate::report::{Figure, Question, Target};

/// What is asked.
pub(super) const QUESTIONS: [Question; 3] = [
    Question {
        key: "event_notice",
        title: "from an event's start to its notice at the phone",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
    Question {
        key: "event_picture",
        title: "from an event's start to its picture at the phone",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
    Question {
        key: "event_first_media",
        title: "from capture to the phone, first media of an event",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
];
/// The same of a larger camera.
pub(super) const LARGE_QUESTIONS: [Question; 3] = [
    Question {
        key: "event_notice_1080p",
        title: "the notice, 1080p at 4 Mbit/s, 5 s recorded before",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
    Question {
        key: "event_picture_1080p",
        title: "the picture, 1080p at 4 Mbit/s, 5 s recorded before",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
    Question {
        key: "event_first_media_1080p",
        title: "the first media, 1080p at 4 Mbit/s, 5 s recorded before",
        unit: "ms",
        target: Target::AtMost(1_000.0),
    },
];
const HOW: &str = "from the clock in the first picture that shows somebody, read back from the exported clip, to the line with which secluso-app says that it has it, decrypted and synced; so the search for motion is part of it; the virtual camera, 640x360, 10 pictures/s, 2 s recorded before";
const LARGE_HOW: &str = "the same, of a program that writes H.264 as a camera does: 1920x1080, 25 pictures/s, drawn and encoded before and filled up to 4 Mbit/s with filler data, played in real time; a picture's clock shows its number, so when it was due is known; detection and what is recorded before as a hub has them by itself";

/// When a picture was drawn, by what its clock shows, in an event of which the hub says that it began at a time near that.
type Drawn<'a> = &'a dyn Fn(u64, u64) -> Outcome<u64>;

/// What was seen of all events.
#[derive(Default)]
struct Found {
    notices: Samples,
    pictures: Samples,
    first_media: Samples,
    /// Of every later piece of a clip: from its newest picture's capture.
    media: Samples,
}

/// Answers those of the virtual camera.
pub(super) fn run(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let (home, relay) = place.home("moments")?;
    home.configure_hub(VIRTUAL_CAMERA)?;
    let events = (place.scale.rounds(2, 8), WALK_CYCLE);
    let found = follow(&home, relay, events, &|clock_ms, _near_ms| Ok(clock_ms))?;
    Ok(answers(QUESTIONS, &found, HOW))
}

/// Answers those of the larger one.
pub(super) fn run_large(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let (home, relay) = place.home("moments-1080p")?;
    let [stream, notes] = ["stream", "began"].map(|name| home.directory().join(name));
    source::write_stream(&stream)?;
    home.configure_hub(&player::table(&stream, &notes)?)?;
    let drawn = |number: u64, near_ms: u64| -> Outcome<u64> {
        let began_ms = player::began_ms(&notes)?;
        Ok(player::due_ms(began_ms, number, near_ms))
    };
    let events = (place.scale.rounds(1, 5), source::STREAM_CYCLE);
    let found = follow(&home, relay, events, &drawn)?;
    Ok(answers(LARGE_QUESTIONS, &found, LARGE_HOW))
}

/// Waits for so many events, of which one comes in each cycle, and looks at all of them.
fn follow(
    home: &Home,
    relay: Program,
    (events, cycle): (usize, Duration),
    drawn: Drawn<'_>,
) -> Outcome<Found> {
    let app = home.start_app()?;
    let hub = home.start_hub()?;
    let mut clips = BTreeSet::new();
    while clips.len() < events {
        clips.insert(next_clip(&app, &clips, cycle)?);
    }
    let said = app.terminate()?;
    end([hub, relay])?;

    let mut found = Found::default();
    for (clip, started) in &clips {
        look(home, &said, (clip.as_str(), *started), drawn, &mut found)?;
    }
    Ok(found)
}

fn answers([notice, picture, first_media]: [Question; 3], found: &Found, how: &str) -> Vec<Figure> {
    let answers = [
        notice.answer_by(&found.notices),
        picture.answer_by(&found.pictures),
        first_media.answer_by(&found.first_media),
    ];
    let answers = answers.map(|figure| {
        of_programs(figure)
            .with("how", json!(how))
            .with_number("events", found.notices.count() as f64)
            .with_number(
                "a piece of a clip, from its newest picture's capture, median, ms",
                found.media.median(),
            )
            .with_number("the same, 95 of 100, ms", found.media.quantile(0.95))
    });
    let most = [&found.notices, &found.pictures, &found.first_media];
    let answers = answers.into_iter().zip(most);
    let with_most = answers.map(|(figure, all)| figure.with_number("most, ms", all.quantile(1.0)));
    with_most.collect()
}

/// The next clip that the phone has whole, and the beginning by which its event is named.
fn next_clip(
    app: &Program,
    known: &BTreeSet<(String, u64)>,
    cycle: Duration,
) -> Outcome<(String, u64)> {
    let row = |event: &Event| {
        (
            event.text("clip").to_owned(),
            event.number("started_unix_ms"),
        )
    };
    let is_next = |event: &Event| {
        event.name() == "clip" && event.text("state") == "complete" && !known.contains(&row(event))
    };
    let event = app.wait_for("clip", 0, cycle + PATIENCE, is_next)?;
    Ok(row(&event))
}

/// Reads one event's beginning from its clip, and what the phone said when.
fn look(
    home: &Home,
    said: &[Event],
    (clip, started): (&str, u64),
    drawn: Drawn<'_>,
    found: &mut Found,
) -> Outcome<()> {
    let file = home.directory().join(format!("{clip}.mp4"));
    let mp4 = std::fs::read(home.export_to(clip, &file)?)?;
    let shown = pictures::read(&mp4)?;
    let first = shown.iter().find(|picture| picture.has_somebody);
    let clock = first.and_then(|picture| picture.drawn_unix_ms);
    let clock = clock.ok_or_else(|| format!("nobody is seen in the clip {clip}"))?;
    let began = drawn(clock, started)?;
    let first_of = |what: &str, is_it: &dyn Fn(&Event) -> bool| -> Outcome<f64> {
        let heard = said.iter().find(|event| is_it(event));
        let heard = heard.ok_or_else(|| format!("the phone had no {what} of the clip {clip}"))?;
        Ok(heard.unix_ms.saturating_sub(began) as f64)
    };
    let named = |event: &Event, name: &str| {
        event.name() == name && event.number("started_unix_ms") == started
    };
    let is_media = |event: &Event| {
        event.name() == "media"
            && event.text("clip") == clip
            && event.number("captured_unix_ms") >= began
    };
    let notice = first_of("notice", &|event| named(event, "notification"))?;
    let picture = first_of("picture", &|event| named(event, "thumbnail"))?;
    found.notices.push(notice);
    found.pictures.push(picture);
    found.first_media.push(first_of("media", &is_media)?);
    for media in said.iter().filter(|event| is_media(event)) {
        let captured = media.number("captured_unix_ms");
        found
            .media
            .push(media.unix_ms.saturating_sub(captured) as f64);
    }
    Ok(())
}
