//! What the demo found, compared and printed.
//!
//! This room judges: it takes the two ends' own words and the exported bytes, and says whether
//! anything was lost. It never repairs or retries.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::kills::{Kill, is_media};
use super::motion::{Motion, Walk};
use super::owner::Look;
use super::process::Event;
use super::world::{Clip, Disturbance, HubStatus, Recovered, World};
use crate::failure::{Because, Failure, Outcome};

/// The promise: the first media sample of an event is at the phone, decrypted and synced, within
/// this (median).
const FIRST_MEDIA_MS_MAX: u64 = 1_000;
/// A median of fewer says little.
const FIRST_MEDIA_EVENTS_MIN: usize = 5;
/// Promised: the most memory that the hub has while it seals.
const HUB_MEMORY_BYTES_MAX: u64 = 64_000_000;

/// Everything the demo measured.
pub(super) struct Report {
    clips: Vec<ClipRow>,
    clips_received: usize,
    hub_epoch: u64,
    app_epoch: u64,
    kills: Vec<Kill>,
    /// For each kill: from the restart to the next chunk at the phone.
    recovered_ms: Vec<Option<u64>>,
    /// Of every event that began while nothing kept the phone from receiving, ascending.
    first_media_ms: Vec<u64>,
    /// What the hub wrote to its disk for each byte of clips, the first filling of its log included.
    hub_bytes_written_each: Option<f64>,
    repeated_chunks: usize,
    /// What motion made in peace.
    walks: Vec<Walk>,
    /// Events of motion of which the phone must know, and of which it does.
    walks_told: (usize, usize),
    /// Pictures of such events, exported and good.
    pictures: Vec<PathBuf>,
    /// What was watched live, in bytes.
    live_bytes: u64,
    /// How many pictures of it were decoded; `None` if nobody could.
    live_decoded: Option<u64>,
    /// How old the pieces of it were at the phone, ascending.
    live_ages_ms: Vec<u64>,
    seconds: f64,
}

/// One clip at both ends.
struct ClipRow {
    hub: Clip,
    app_state: String,
    /// Length and SHA-256 of the exported file, by our own count.
    exported: Option<(u64, String)>,
}

impl ClipRow {
    fn equal(&self) -> bool {
        let same = |(bytes, sha256): &(u64, String)| {
            *bytes == self.hub.bytes && *sha256 == self.hub.sha256
        };
        self.exported.as_ref().is_some_and(same) && self.app_state == self.hub.outcome
    }
}

impl Report {
    /// Exports every clip and picture that the hub knows and compares. Needs a hub's last status, the one
    /// before motion made events, and no sync running.
    pub(super) fn collect(
        world: &World,
        (of_clip, status): (&HubStatus, &HubStatus),
        kills: Vec<Kill>,
        (motion, look): (&Motion, &Look),
        elapsed: Duration,
    ) -> Outcome<Self> {
        let app_clips = world.app_clips()?;
        let states: BTreeMap<&str, &str> = app_clips
            .iter()
            .map(|clip| (clip.id.as_str(), clip.outcome.as_str()))
            .collect();
        let mut rows = Vec::new();
        for clip in all_clips(of_clip, status) {
            let exported = match states.get(clip.id.as_str()) {
                Some(_) => Some(hash_of(&world.export(&clip.id)?)?),
                None => None,
            };
            let app_state = states
                .get(clip.id.as_str())
                .copied()
                .unwrap_or("missing")
                .to_owned();
            rows.push(ClipRow {
                hub: clip.clone(),
                app_state,
                exported,
            });
        }
        let whole = |clip: &&Clip| clip.outcome == "complete" || clip.outcome == "cut_off";
        Ok(Self {
            clips: rows,
            clips_received: app_clips.iter().filter(whole).count(),
            hub_epoch: status.epoch,
            app_epoch: world.app_epoch()?,
            recovered_ms: kills
                .iter()
                .map(|kill| recovered_ms(kill, &world.app_past))
                .collect(),
            first_media_ms: {
                let mut all =
                    first_media_delays(&world.hub_past, &world.app_past, &world.disturbances);
                all.sort_unstable();
                all
            },
            hub_bytes_written_each: {
                let payload: u64 = of_clip.clips.iter().map(|clip| clip.bytes).sum();
                let each = |written: u64| written as f64 / payload as f64;
                world.hub_bytes_written.filter(|_| payload > 0).map(each)
            },
            repeated_chunks: repeated_chunks(&world.app_past),
            walks: motion.walks.clone(),
            walks_told: {
                let notices = world.app_notices()?;
                let is_known = |started| notices.iter().any(|notice| started_of(notice) == started);
                let known = motion.told().filter(|started| is_known(*started));
                (motion.told().count(), known.count())
            },
            pictures: pictures(world, &motion.walks, look)?,
            live_bytes: look.bytes,
            live_decoded: look.decoded,
            live_ages_ms: look.ages_ms.clone(),
            kills,
            seconds: elapsed.as_secs_f64(),
        })
    }

    fn sha256_equal(&self) -> bool {
        !self.clips.is_empty() && self.clips.iter().all(ClipRow::equal)
    }

    /// Every sentence that makes the demo fail.
    fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for row in self.clips.iter().filter(|row| !row.equal()) {
            let exported = match &row.exported {
                None => "there was nothing to export".to_owned(),
                Some((bytes, sha256)) => format!("the export has {bytes} bytes, {sha256}"),
            };
            let (hub, app) = (&row.hub, &row.app_state);
            complaints.push(format!(
                "clip {}: the hub says {} ({} bytes, {}), the phone says {app}; {exported}",
                hub.id, hub.outcome, hub.bytes, hub.sha256
            ));
        }
        for outcome in ["complete", "cut_off"] {
            if !self.clips.iter().any(|row| row.hub.outcome == outcome) {
                complaints.push(format!(
                    "no clip ended {outcome}; the demo wants to see one"
                ));
            }
        }
        if self.clips_received != self.clips.len() {
            let (received, sent) = (self.clips_received, self.clips.len());
            complaints.push(format!("{sent} clips were sent and {received} received"));
        }
        if self.hub_epoch != self.app_epoch {
            let (hub, app) = (self.hub_epoch, self.app_epoch);
            complaints.push(format!(
                "the hub is in epoch {hub}, the phone in epoch {app}"
            ));
        }
        if self.repeated_chunks > 0 {
            complaints.push(format!(
                "{} chunks were delivered twice",
                self.repeated_chunks
            ));
        }
        for kill in self.kills.iter().filter(|kill| kill.process == "hub") {
            match kill.peak_memory_bytes {
                Some(bytes) if bytes > HUB_MEMORY_BYTES_MAX => complaints.push(format!(
                    "the hub had {bytes} bytes of memory; promised: {HUB_MEMORY_BYTES_MAX}"
                )),
                _ => {}
            }
        }
        let (walks, told) = self.walks_told;
        if told != walks {
            complaints.push(format!(
                "somebody walked by {walks} times, and the phone knows of {told}"
            ));
        }
        if self.walks.is_empty() || self.pictures.len() != self.walks.len() {
            complaints.push(format!(
                "of {} who walked by in peace the phone has {} pictures",
                self.walks.len(),
                self.pictures.len()
            ));
        }
        for walk in &self.walks {
            if !self.clips.iter().any(|row| row.hub.id == walk.clip) {
                complaints.push(format!("the clip {} of a walk is not known", walk.clip));
            }
        }
        if self.live_bytes == 0 || self.live_ages_ms.is_empty() || self.live_decoded == Some(0) {
            complaints.push("nothing was seen live".to_owned());
        }
        let timed = self.first_media_ms.len();
        if timed < FIRST_MEDIA_EVENTS_MIN {
            complaints.push(format!(
                "{timed} clips showed when their first sample arrived; a median wants {FIRST_MEDIA_EVENTS_MIN}"
            ));
        }
        match median(&self.first_media_ms) {
            None => {}
            Some(ms) if ms > FIRST_MEDIA_MS_MAX => complaints.push(format!(
                "the first sample took {ms} ms; promised: {FIRST_MEDIA_MS_MAX} ms"
            )),
            Some(_) => {}
        }
        complaints
    }

    /// Fails with everything that does not hold.
    pub(super) fn verdict(&self) -> Outcome<()> {
        let complaints = self.complaints();
        if complaints.is_empty() {
            return Ok(());
        }
        Err(Failure::found(format!(
            "the demo failed:\n  - {}",
            complaints.join("\n  - ")
        )))
    }

    /// The object that `--json` prints.
    pub(super) fn json(&self) -> Value {
        let kills: Vec<Value> = self
            .kills
            .iter()
            .zip(&self.recovered_ms)
            .map(|(kill, recovered_ms)| {
                json!({
                    "process": kill.process,
                    "unacked_bytes": kill.unacked_bytes,
                    "recovered_ms": recovered_ms,
                    "peak_memory_bytes": kill.peak_memory_bytes,
                })
            })
            .collect();
        json!({
            "ok": self.complaints().is_empty(),
            "clips_sent": self.clips.len(),
            "clips_received": self.clips_received,
            "sha256_equal": self.sha256_equal(),
            "hub_epoch": self.hub_epoch,
            "app_epoch": self.app_epoch,
            "kills_survived": kills,
            "first_media_delay_ms": median(&self.first_media_ms),
            "first_media_delay_ms_max": self.first_media_ms.last(),
            "first_media_events": self.first_media_ms.len(),
            "hub_bytes_written_per_payload_byte": self
                .hub_bytes_written_each
                .map(|each| (each * 1000.0).round() / 1000.0),
            "motion_events": self.walks_told.0,
            "motion_events_told": self.walks_told.1,
            "motion_notice_ms": self.walks.iter().map(|walk| walk.notice_ms).collect::<Vec<_>>(),
            "motion_picture_ms": self.walks.iter().map(|walk| walk.picture_ms).collect::<Vec<_>>(),
            "motion_pictures": self.pictures.len(),
            "live_bytes": self.live_bytes,
            "live_pictures_decoded": self.live_decoded,
            "live_age_ms": median(&self.live_ages_ms),
            "live_age_ms_max": self.live_ages_ms.last(),
            "seconds": (self.seconds * 10.0).round() / 10.0,
        })
    }

    /// The table that a person reads.
    pub(super) fn table(&self) -> String {
        let mut out = String::from(
            "\nclip                      outcome       bytes  SHA-256        same at the phone\n",
        );
        for row in &self.clips {
            let same = if row.equal() { "yes" } else { "NO" };
            out.push_str(&format!(
                "{:<24.24}  {:<9}{:>10}  {:<12.12}…  {same}\n",
                row.hub.id, row.hub.outcome, row.hub.bytes, row.hub.sha256
            ));
        }
        out.push('\n');
        for (kill, recovered_ms) in self.kills.iter().zip(&self.recovered_ms) {
            out.push_str(&format!(
                "killed the {:<6} with {:>8} un-acked bytes in flight, in clip {:.8}; the next \
                 chunk came {} ms after its restart; it had {} MB of memory at most\n",
                kill.process,
                kill.unacked_bytes,
                kill.clip,
                shown(*recovered_ms),
                shown(
                    kill.peak_memory_bytes
                        .map(|bytes| bytes.div_ceil(1_000_000))
                )
            ));
        }
        out.push_str(&format!(
            "epochs: hub {}, phone {}\nfirst sample decrypted and synced at the phone after {} ms \
             (median of {} events), {} ms at most\n",
            self.hub_epoch,
            self.app_epoch,
            shown(median(&self.first_media_ms)),
            self.first_media_ms.len(),
            shown(self.first_media_ms.last().copied()),
        ));
        if let Some(each) = self.hub_bytes_written_each {
            out.push_str(&format!(
                "the hub wrote {each:.3} bytes to its disk for each byte of video, the first filling \
                 of its log included\n"
            ));
        }
        for (walk, picture) in self.walks.iter().zip(&self.pictures) {
            out.push_str(&format!(
                "somebody walked by: the phone knew it after {} ms and had the picture after {} ms; see {}\n",
                walk.notice_ms,
                walk.picture_ms,
                picture.display()
            ));
        }
        out.push_str(&format!(
            "watched live: {} bytes in {} pieces, {} ms old at the phone (median), {} ms at most; {}\n",
            self.live_bytes,
            self.live_ages_ms.len(),
            shown(median(&self.live_ages_ms)),
            shown(self.live_ages_ms.last().copied()),
            match self.live_decoded {
                Some(pictures) => format!("FFmpeg decodes {pictures} pictures of it"),
                None => "NOT COVERED: whether it can be decoded, for ffmpeg is not installed".to_owned(),
            }
        ));
        out.push_str(&format!("{:.1} s in all\n", self.seconds));
        out
    }
}

/// Each clip once, as it was known last: a hub forgets some that are acked.
fn all_clips<'s>(before: &'s HubStatus, last: &'s HubStatus) -> impl Iterator<Item = &'s Clip> {
    let is_gone = move |clip: &&Clip| !last.clips.iter().any(|known| known.id == clip.id);
    before.clips.iter().filter(is_gone).chain(&last.clips)
}

/// When the event began that a row of the phone is about.
fn started_of(row: &Value) -> u64 {
    row.get("started_unix_ms")
        .and_then(Value::as_u64)
        .unwrap_or_default()
}

/// Exports picture and clip of each walk to where a person can look at them, beside what was watched live; only pictures
/// that are good.
fn pictures(world: &World, walks: &[Walk], look: &Look) -> Outcome<Vec<PathBuf>> {
    let directory = world.pictures_directory()?;
    std::fs::copy(&look.file, directory.join("live.mp4"))
        .because("cannot keep what was watched live")?;
    let rows = world.app_pictures()?;
    let mut good = Vec::new();
    for (number, walk) in walks.iter().enumerate() {
        let row = rows
            .iter()
            .find(|row| started_of(row) == walk.started_unix_ms);
        let id = row.and_then(|row| row.get("thumbnail").and_then(Value::as_str));
        let Some(id) = id else { continue };
        let name = |kind: &str| directory.join(format!("walk-{}.{kind}", number + 1));
        world.export_to(&walk.clip, &name("mp4"))?;
        let picture = world.export_to(id, &name("jpg"))?;
        let bytes = std::fs::read(&picture).because("cannot read an exported picture")?;
        if is_jpeg(&bytes) {
            good.push(picture);
        }
    }
    Ok(good)
}

/// A JPEG from its first mark to its last.
fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0xff, 0xd8, 0xff]) && bytes.ends_with(&[0xff, 0xd9])
}

fn hash_of(file: &Path) -> Outcome<(u64, String)> {
    let bytes = std::fs::read(file).because("cannot read an exported clip")?;
    let hex = Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok((bytes.len() as u64, hex))
}

fn shown(milliseconds: Option<u64>) -> String {
    milliseconds.map_or_else(|| "?".to_owned(), |ms| ms.to_string())
}

/// For each clip, the time from the capture of its first sample to the line with which the phone
/// says that it has the first sample, decrypted and synced. A clip that began while we kept the
/// phone from receiving tells nothing about that.
fn first_media_delays(hub: &[Event], app: &[Event], disturbances: &[Disturbance]) -> Vec<u64> {
    let started = hub.iter().filter(|event| event.name() == "clip_started");
    started
        .filter(|start| {
            !disturbances
                .iter()
                .any(|d| disturbed(d, app, start.unix_ms))
        })
        .filter_map(|start| {
            let captured_ms = match start.number("unix_ms") {
                0 => start.unix_ms,
                told => told,
            };
            let first = app.iter().find(|event| {
                is_media(event)
                    && event.text("clip") == start.text("clip")
                    && event.number("captured_unix_ms") > 0
            })?;
            Some(first.unix_ms.saturating_sub(captured_ms))
        })
        .collect()
}

fn disturbed(disturbance: &Disturbance, app: &[Event], unix_ms: u64) -> bool {
    let until = disturbance.until_unix_ms;
    let over = match disturbance.recovered {
        Recovered::AtOnce => until,
        Recovered::WithMedia => {
            next_media(app, until).map_or(u64::MAX, |ms| until.saturating_add(ms))
        }
    };
    (disturbance.from_unix_ms..=over).contains(&unix_ms)
}

/// From the restart to the next chunk at the phone. After the hub's death the phone still works
/// off what the relay stores, so there the first chunk of a later clip is what counts.
fn recovered_ms(kill: &Kill, app: &[Event]) -> Option<u64> {
    if kill.process != "hub" {
        return next_media(app, kill.restarted_unix_ms);
    }
    let later: Vec<Event> = app
        .iter()
        .filter(|event| event.text("clip") != kill.clip)
        .cloned()
        .collect();
    next_media(&later, kill.restarted_unix_ms)
}

/// From an instant to the next chunk that the phone announced.
fn next_media(app: &[Event], from_unix_ms: u64) -> Option<u64> {
    app.iter()
        .find(|event| is_media(event) && event.unix_ms >= from_unix_ms)
        .map(|event| event.unix_ms - from_unix_ms)
}

/// Of values that ascend.
fn median(values: &[u64]) -> Option<u64> {
    values.get(values.len() / 2).copied()
}

/// Chunks that the phone announced more than once, restarts included.
fn repeated_chunks(app: &[Event]) -> usize {
    let media: Vec<u64> = app
        .iter()
        .filter(|event| event.name() == "media")
        .map(|event| event.number("seq"))
        .collect();
    media.len() - media.iter().collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(unix_ms: u64, value: Value) -> Event {
        Event { unix_ms, value }
    }

    fn clip(id: &str, outcome: &str) -> Clip {
        let sha256 = format!("{:0>64}", id);
        Clip {
            id: id.to_owned(),
            outcome: outcome.to_owned(),
            bytes: 9,
            sha256,
        }
    }

    fn row(id: &str, outcome: &str) -> ClipRow {
        let hub = clip(id, outcome);
        let exported = Some((hub.bytes, hub.sha256.clone()));
        ClipRow {
            hub,
            app_state: outcome.to_owned(),
            exported,
        }
    }

    fn good() -> Report {
        Report {
            clips: vec![row("a", "complete"), row("b", "cut_off")],
            clips_received: 2,
            hub_epoch: 7,
            app_epoch: 7,
            kills: vec![Kill {
                process: "hub",
                unacked_bytes: 5,
                clip: "b".to_owned(),
                restarted_unix_ms: 0,
                peak_memory_bytes: Some(30_000_000),
            }],
            recovered_ms: vec![Some(40)],
            first_media_ms: vec![200, 250, 300, 350, 400],
            hub_bytes_written_each: Some(1.5),
            repeated_chunks: 0,
            walks: vec![Walk {
                started_unix_ms: 1,
                clip: "a".to_owned(),
                notice_ms: 90,
                picture_ms: 600,
            }],
            walks_told: (3, 3),
            pictures: vec![PathBuf::from("walk-1.jpg")],
            live_bytes: 90_000,
            live_decoded: Some(38),
            live_ages_ms: vec![200, 250, 900],
            seconds: 61.24,
        }
    }

    #[test]
    fn a_good_run_passes_and_says_so() {
        assert!(good().verdict().is_ok());
        let json = good().json();
        assert_eq!(json["sha256_equal"], true);
        assert_eq!(json["kills_survived"][0]["unacked_bytes"], 5);
        assert_eq!(json["seconds"], 61.2);
        assert_eq!(json["first_media_delay_ms"], 300);
        assert_eq!(json["first_media_events"], 5);
        assert_eq!(json["hub_bytes_written_per_payload_byte"], 1.5);
        assert_eq!(json["motion_events_told"], 3);
        assert_eq!(json["motion_picture_ms"][0], 600);
        assert_eq!(json["live_age_ms"], 250);
        assert!(good().table().contains("walk-1.jpg"));
        assert!(good().table().contains("FFmpeg decodes 38 pictures"));
        let unseen = Report {
            live_decoded: None,
            ..good()
        };
        assert!(unseen.verdict().is_ok() && unseen.table().contains("NOT COVERED"));
        assert_eq!(unseen.json()["live_pictures_decoded"], Value::Null);
    }

    #[test]
    fn each_thing_that_is_lost_fails_the_demo() {
        type Damage = fn(&mut Report);
        let cases: [(&str, Damage); 18] = [
            ("a byte", |r| {
                r.clips[0].exported = Some((9, "00".to_owned()))
            }),
            ("a length", |r| r.clips[0].exported.as_mut().unwrap().0 = 8),
            ("a file", |r| r.clips[0].exported = None),
            ("an outcome", |r| {
                r.clips[1].app_state = "complete".to_owned()
            }),
            ("the cut-off clip", |r| drop(r.clips.pop())),
            ("every clip", |r| r.clips.clear()),
            ("a received clip", |r| r.clips_received = 1),
            ("an epoch", |r| r.app_epoch = 6),
            ("time", |r| {
                r.first_media_ms = vec![9, 9, 1_001, 1_001, 1_002]
            }),
            ("events to time", |r| r.first_media_ms.truncate(4)),
            ("exactly once", |r| r.repeated_chunks = 1),
            ("a notice", |r| r.walks_told.1 = 2),
            ("a picture", |r| drop(r.pictures.pop())),
            ("every walk", |r| {
                r.walks.clear();
                r.pictures.clear();
            }),
            ("the clip of a walk", |r| r.walks[0].clip = "c".to_owned()),
            ("live pictures", |r| r.live_ages_ms.clear()),
            ("what they show", |r| r.live_decoded = Some(0)),
            ("memory", |r| {
                r.kills[0].peak_memory_bytes = Some(64_000_001)
            }),
        ];
        for (name, damage) in cases {
            let mut report = good();
            damage(&mut report);
            assert!(report.verdict().is_err(), "{name}");
            assert_eq!(report.json()["ok"], false, "{name}");
        }
    }

    #[test]
    fn the_first_sample_is_timed_and_the_empty_start_is_not() {
        let hub = [event(
            1_010,
            json!({"event": "clip_started", "clip": "a", "unix_ms": 1_000}),
        )];
        let media = |at, captured: Value| {
            event(
                at,
                json!({"event": "media", "clip": "a", "seq": at, "captured_unix_ms": captured}),
            )
        };
        let app = [
            media(1_050, Value::Null),
            media(1_400, json!(1_200)),
            media(1_500, json!(1_400)),
        ];
        assert_eq!(first_media_delays(&hub, &app, &[]), [400]);
        let asleep = |from, until, recovered| Disturbance {
            from_unix_ms: from,
            until_unix_ms: until,
            recovered,
        };
        let cases = [
            ("before", asleep(500, 900, Recovered::AtOnce), 1),
            ("not recovered", asleep(500, 900, Recovered::WithMedia), 0),
            ("during", asleep(500, 1_020, Recovered::AtOnce), 0),
            ("after", asleep(1_300, 1_600, Recovered::WithMedia), 1),
        ];
        for (name, disturbance, timed) in cases {
            let delays = first_media_delays(&hub, &app, &[disturbance]);
            assert_eq!(delays.len(), timed, "{name}");
        }
        assert_eq!(median(&[100, 400, 900]), Some(400));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_clip_that_the_hub_forgot_is_compared_all_the_same() {
        let status = |clips: &[(&str, &str)]| HubStatus {
            recording: false,
            epoch: 7,
            unacked_envelopes: 0,
            unacked_bytes: 0,
            stored_through: 0,
            acked_through: 0,
            clips: clips
                .iter()
                .map(|(id, outcome)| clip(id, outcome))
                .collect(),
        };
        let before = status(&[("a", "complete"), ("b", "recording")]);
        let last = status(&[("b", "cut_off"), ("c", "complete")]);
        let all: Vec<(&str, &str)> = all_clips(&before, &last)
            .map(|clip| (clip.id.as_str(), clip.outcome.as_str()))
            .collect();
        assert_eq!(
            all,
            [("a", "complete"), ("b", "cut_off"), ("c", "complete")]
        );
    }

    #[test]
    fn only_a_whole_jpeg_is_a_picture() {
        assert!(is_jpeg(&[0xff, 0xd8, 0xff, 0xe0, 0, 0xff, 0xd9]));
        for bytes in [&[0xff, 0xd8, 0xff, 0xe0, 0][..], b"GIF89a", &[]] {
            assert!(!is_jpeg(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_chunk_announced_twice_is_counted() {
        let media = |seq| event(0, json!({"event": "media", "seq": seq}));
        assert_eq!(repeated_chunks(&[media(1), media(2), media(2)]), 1);
        assert_eq!(repeated_chunks(&[media(1), media(3)]), 0);
    }
}
