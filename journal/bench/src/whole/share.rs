//! What an event's video keeps of a narrow link while somebody watches live.
//!
//! Link, live view and clip all want 4 Mbit/s. First the clip has the link for itself, which shows how many bytes of
//! the link one of its bytes takes; then somebody watches. Bytes of video are counted by the relay's receipts, bytes
//! of the link where they leave it. It must never count what only left the hub.

use std::time::Duration;

use programs::home::{Home, PATIENCE, number, quoted, rows, utf8};
use programs::narrow::NarrowLink;
use programs::process::unix_ms;
use serde_json::json;

use super::{Place, end, of_programs, source};
use crate::Outcome;
use crate::measure::pause;
use crate::report::{Figure, Question, Target};

/// What is asked.
pub(super) const QUESTIONS: [Question; 1] = [Question {
    key: "event_share_beside_live",
    title: "an event's video of a narrow link beside live",
    unit: "%",
    target: Target::AtLeast(10.0),
}];

/// As much as the live view alone would take.
const LINK_BITS_PER_S: u64 = 4_000_000;
/// From one look at the hub to the next while something begins.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// What begins is left to settle for so long.
const SETTLE: Duration = Duration::from_secs(3);

/// How far everything was at one time.
#[derive(Clone, Copy, Debug)]
struct Look {
    at_ms: u64,
    /// Envelopes of the event's video that exist, and that the relay has.
    last: u64,
    stored: u64,
    link_bytes: u64,
}

impl Look {
    fn at(home: &Home, link: &NarrowLink) -> Outcome<Self> {
        let status = home.hub_status()?;
        let [phone] = rows(&status, "pairings") else {
            return Err("the hub has not exactly one phone".into());
        };
        Ok(Self {
            at_ms: unix_ms(),
            last: number(phone, "last")?,
            stored: number(phone, "stored_through")?,
            link_bytes: link.passed_bytes(),
        })
    }
}

/// What happened between two looks while the camera's one event was recorded at its rate.
#[derive(Clone, Copy, Debug)]
struct Between {
    seconds: f64,
    /// Bytes of video that the relay got.
    video: f64,
    /// Bytes that left the link.
    link: f64,
}

impl Between {
    /// `None` if nothing was recorded between them.
    fn new(from: Look, to: Look) -> Option<Self> {
        let seconds = to.at_ms.checked_sub(from.at_ms)? as f64 / 1e3;
        let recorded = to.last.checked_sub(from.last)? as f64;
        let stored = to.stored.checked_sub(from.stored)? as f64;
        let each = seconds * source::BYTES_PER_SECOND as f64 / recorded;
        let found = Self {
            seconds,
            video: stored * each,
            link: to.link_bytes.checked_sub(from.link_bytes)? as f64,
        };
        (recorded > 0.0 && found.link > 0.0).then_some(found)
    }

    /// The part of the link that the video had, if each of its bytes takes so many of the link.
    fn share(&self, link_bytes_each: f64) -> f64 {
        self.video * link_bytes_each / self.link
    }
}

/// Answers it.
pub(super) fn run(place: Place<'_>) -> Outcome<Vec<Figure>> {
    let directory = place.directory("share")?;
    let mut home = Home::with_programs_in(place.programs, &directory)?;
    let relay = home.make_relay()?;
    let link = NarrowLink::start(home.relay_listens_at(), LINK_BITS_PER_S)?;
    home.lead_through(link.address());
    home.configure_hub("")?;
    home.pair()?;
    let clip = directory.join("source.mp4");
    source::write(&clip)?;
    // One event, longer than all that follows.
    home.configure_hub(&format!(
        "[camera]\nkind = \"file\"\npath = {}\nat_least_seconds = 900.0\nat_most_seconds = 900.0\n",
        quoted(&utf8(&clip)?)
    ))?;
    let hub = home.start_hub()?;
    hub.wait_for("clip", 0, PATIENCE, |event| event.name() == "clip_started")?;
    wait_for_upload(&home, &link)?;
    pause(SETTLE);
    let seconds = place.scale.rounds(6, 20) as u64;
    let first = Look::at(&home, &link)?;
    pause(Duration::from_secs(seconds / 2));
    let alone = Look::at(&home, &link)?;

    let mut viewer = home.start_viewer(2 * seconds + PATIENCE.as_secs())?;
    viewer.wait_for_pictures(PATIENCE)?;
    pause(SETTLE);
    let (from, seen_from) = (Look::at(&home, &link)?, viewer.seen_bytes());
    pause(Duration::from_secs(seconds));
    viewer.still_running()?;
    let (to, seen_to) = (Look::at(&home, &link)?, viewer.seen_bytes());
    drop(viewer);
    let lost = link.lost_packets();
    end([hub, relay])?;

    let nothing = "the hub recorded nothing, or sent nothing";
    let alone = Between::new(first, alone).ok_or(nothing)?;
    let beside = Between::new(from, to).ok_or(nothing)?;
    if alone.video == 0.0 {
        return Err("alone on the link, no video reached the relay".into());
    }
    let seen = seen_to.saturating_sub(seen_from) as f64;
    if seen == 0.0 {
        return Err("nothing was seen live on the narrow link".into());
    }
    let each = alone.link / alone.video;
    let mbit = |bytes: f64, of: &Between| bytes * 8.0 / of.seconds / 1e6;
    let [share] = QUESTIONS;
    let figure = of_programs(share.answer(beside.share(each) * 100.0))
        .with(
            "how",
            json!("a link of 4 Mbit/s to the relay, a camera of 4 Mbit/s that is watched and recorded; its video at the relay, with the link's bytes that it takes when it is alone, against all that left the link"),
        )
        .with_number("link bytes for each byte of video, alone", each)
        .with_number("Mbit/s of video, alone", mbit(alone.video, &alone))
        .with_number("Mbit/s of video, beside live", mbit(beside.video, &beside))
        .with_number("Mbit/s seen live", mbit(seen, &beside))
        .with_number("Mbit/s that left the link", mbit(beside.link, &beside))
        .with_number("seconds", beside.seconds)
        .with_number("packets lost in the link's queue", lost as f64);
    Ok(vec![figure])
}

/// Until the relay has some of the event's video.
fn wait_for_upload(home: &Home, link: &NarrowLink) -> Outcome<()> {
    let deadline_ms = unix_ms() + PATIENCE.as_millis() as u64;
    let begin = Look::at(home, link)?;
    while unix_ms() < deadline_ms {
        if Look::at(home, link)?.stored > begin.stored {
            return Ok(());
        }
        pause(LOOK_INTERVAL);
    }
    Err("no video reached the relay".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_what_arrived_against_what_left_the_link() {
        let look = |at_ms, last, stored, link_bytes| Look {
            at_ms,
            last,
            stored,
            link_bytes,
        };
        // Ten seconds, 5 MB recorded in 100 envelopes, ten of them stored, 5 MB on the link.
        let from = look(1_000, 50, 40, 1_000_000);
        let between = Between::new(from, look(11_000, 150, 50, 6_000_000)).unwrap();
        assert_eq!((between.video, between.link), (500_000.0, 5_000_000.0));
        assert_eq!(between.share(1.1), 0.11);
        assert!(Between::new(from, look(11_000, 50, 40, 6_000_000)).is_none());
        assert!(Between::new(from, look(11_000, 150, 50, 1_000_000)).is_none());
        assert!(Between::new(from, look(500, 150, 50, 6_000_000)).is_none());
    }
}
