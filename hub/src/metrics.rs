//! The hub in numbers, as Prometheus reads them (text format 0.0.4): by `secluso-hub metrics`, and at an address
//! of this machine where `[metrics] listen` says so; by the first also as one object of JSON.
//!
//! Numbers and fixed words only. It must never hold a name, an address, an identifier or a time at which
//! something happened: whoever may log in at this machine can read it.

mod endpoint;

use serde_json::{Map, Value, json};

pub use endpoint::{Endpoint, judge};

/// What stands before every name.
const PREFIX: &str = "secluso_hub";
/// How clips may stand, as `status` names it.
const OUTCOMES: [&str; 4] = ["recording", "complete", "cut_off", "dropped"];

/// A figure, with what it may be broken down by.
struct Metric {
    name: &'static str,
    /// What Prometheus calls its type.
    kind: &'static str,
    help: &'static str,
    samples: Vec<Sample>,
}

/// One value of a figure.
struct Sample {
    /// A label and what it says, if there is more than one value.
    label: Option<(&'static str, &'static str)>,
    value: u64,
}

/// A page that grows.
#[derive(Default)]
struct Page(Vec<Metric>);

impl Page {
    fn put(
        &mut self,
        name: &'static str,
        kind: &'static str,
        samples: Vec<Sample>,
        help: &'static str,
    ) {
        let metric = Metric {
            name,
            kind,
            help,
            samples,
        };
        self.0.push(metric);
    }

    fn gauge(&mut self, name: &'static str, value: u64, help: &'static str) {
        self.put(name, "gauge", vec![Sample { label: None, value }], help);
    }

    fn counter(&mut self, name: &'static str, value: u64, help: &'static str) {
        self.put(name, "counter", vec![Sample { label: None, value }], help);
    }
}

/// The page of a running hub's status.
pub fn to_text(status: &Value) -> String {
    let mut text = String::new();
    for metric in &page_of(status).0 {
        let Metric {
            name, kind, help, ..
        } = metric;
        text.push_str(&format!(
            "# HELP {PREFIX}_{name} {help}\n# TYPE {PREFIX}_{name} {kind}\n"
        ));
        for Sample { label, value } in &metric.samples {
            let label =
                label.map_or_else(String::new, |(key, word)| format!("{{{key}=\"{word}\"}}"));
            text.push_str(&format!("{PREFIX}_{name}{label} {value}\n"));
        }
    }
    text
}

/// The same as one object: a list of values, each with the name, type and labels that it has on the page.
pub fn to_json(status: &Value) -> Value {
    let mut all = Vec::new();
    for metric in &page_of(status).0 {
        let name = format!("{PREFIX}_{}", metric.name);
        for sample in &metric.samples {
            let labels: Map<String, Value> = sample
                .label
                .iter()
                .map(|(key, word)| ((*key).to_owned(), Value::from(*word)))
                .collect();
            let value = sample.value;
            all.push(json!({"name": name, "type": metric.kind, "labels": labels, "value": value}));
        }
    }
    json!({"event": "metrics", "metrics": all})
}

fn page_of(status: &Value) -> Page {
    let mut page = Page::default();
    let number = |key: &str| status[key].as_u64().unwrap_or_default();
    let is = |key: &str| u64::from(status[key] == true);
    let service = &status["service"];
    let seconds = service["uptime_s"].as_u64().unwrap_or_default();
    page.gauge("uptime_seconds", seconds, "Since the hub was ready.");
    let reloads = service["reloads"].as_u64().unwrap_or_default();
    page.counter(
        "config_reloads_total",
        reloads,
        "Changed configurations that were taken.",
    );
    let jumps = service["clock_jumps"].as_u64().unwrap_or_default();
    page.counter(
        "clock_jumps_total",
        jumps,
        "Times that the wall clock has jumped by more than a minute.",
    );
    let waiting = rows(&service["waiting"]).len() as u64;
    page.gauge(
        "config_waiting",
        waiting,
        "Changed keys that wait for a restart.",
    );
    page.gauge("relay_connected", is("connected"), "The relay is reached.");
    page.gauge(
        "relay_not_told",
        number("relay_not_told"),
        "Removed phones of which the relay does not know yet.",
    );
    page.gauge("recording", is("recording"), "An event is recorded.");
    let is_refused = u64::from(!status["not_recorded"].is_null());
    page.gauge(
        "not_recorded",
        is_refused,
        "The last event was not recorded, or not all of it.",
    );
    let is_private = u64::from(status["settings"]["privacy"] == true);
    page.gauge("privacy", is_private, "Privacy mode is on.");
    page.gauge(
        "stranded_copies",
        number("stranded_copies"),
        "Retained clips that no ack will end.",
    );
    page.gauge(
        "video_bytes",
        number("video_bytes"),
        "Bytes of video that wait for phones, retained copies included.",
    );
    page.gauge(
        "video_bytes_max",
        number("budget_bytes"),
        "How many of them may wait; 0: as many as the disk takes.",
    );
    let watching = rows(&status["live"]).len() as u64;
    page.gauge("live_viewers", watching, "Phones that watch live.");
    phones(&mut page, rows(&status["pairings"]));
    cameras(&mut page, rows(&status["cameras"]));
    page.counter(
        "decoded_pictures_total",
        number("decoded_pictures"),
        "Pictures that were decoded since the hub's program began, of all cameras; none in privacy mode.",
    );
    clips(&mut page, rows(&status["clips"]));
    page
}

fn phones(page: &mut Page, phones: &[Value]) {
    let sum = |key: &str| -> u64 { phones.iter().filter_map(|phone| phone[key].as_u64()).sum() };
    page.gauge("phones", phones.len() as u64, "Paired phones.");
    let silent = count(phones, |phone| phone["silent"] == true);
    page.gauge(
        "phones_silent",
        silent,
        "Phones that get nothing new, because they are not heard of.",
    );
    let rolled_back = count(phones, |phone| phone["standing"] != "good");
    page.gauge(
        "phones_refused",
        rolled_back,
        "Phones to which nothing is sent, because this directory is older than what it sent.",
    );
    page.gauge(
        "unacked_envelopes",
        sum("unacked_envelopes"),
        "Envelopes that phones have not acked.",
    );
    page.gauge(
        "unacked_bytes",
        sum("unacked_bytes"),
        "Bytes of envelopes that phones have not acked.",
    );
}

fn cameras(page: &mut Page, cameras: &[Value]) {
    let sum = |key: &str| -> u64 { cameras.iter().filter_map(|one| one[key].as_u64()).sum() };
    page.gauge("cameras", cameras.len() as u64, "Configured cameras.");
    let is_open = |one: &Value| one["trouble"].is_null() && one["detection"] != "opening";
    page.gauge(
        "cameras_open",
        count(cameras, is_open),
        "Cameras that keep sending pictures; none in privacy mode.",
    );
    let failed = count(cameras, |one| !one["trouble"].is_null());
    page.gauge(
        "cameras_failed",
        failed,
        "Cameras that failed and have not kept sending pictures for ten seconds since.",
    );
    let recording = count(cameras, |one| one["recording"] == true);
    page.gauge(
        "cameras_recording",
        recording,
        "Cameras of which a clip is recorded.",
    );
    let moving = count(cameras, |one| one["motion"] == true);
    page.gauge(
        "cameras_moving",
        moving,
        "Cameras before which something moves.",
    );
    let lagging = count(cameras, |one| one["detection"] == "key_frames_only");
    page.gauge(
        "cameras_key_frames_only",
        lagging,
        "Cameras whose pictures take too much of the CPU.",
    );
    page.gauge(
        "camera_events",
        sum("events"),
        "Events that motion made, since each camera was opened last.",
    );
    page.gauge(
        "undecodable_pictures",
        sum("undecodable_pictures"),
        "Pictures that could not be decoded, since each camera was opened last.",
    );
}

fn clips(page: &mut Page, clips: &[Value]) {
    let of = |outcome| Sample {
        label: Some(("outcome", outcome)),
        value: count(clips, |clip| clip["outcome"] == outcome),
    };
    let samples = OUTCOMES.into_iter().map(of).collect();
    let help = "Clips that the hub knows, by how they stand.";
    page.put("clips", "gauge", samples, help);
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn count(rows: &[Value], is_so: impl Fn(&Value) -> bool) -> u64 {
    rows.iter().filter(|row| is_so(row)).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A script reads what Prometheus does: each line, and nothing else.
    #[test]
    fn the_object_has_each_value_of_the_page() {
        let status = json!({
            "live": [{"phone": "aabbccdd", "session": 4, "seconds": 9}],
            "clips": [{"clip": "0f0f", "outcome": "cut_off", "bytes": 9}],
        });
        let said = to_json(&status);
        assert_eq!(said["event"], "metrics");
        let lines = said["metrics"].as_array().unwrap().iter().map(|one| {
            let labels = one["labels"].as_object().unwrap().iter();
            let labels: Vec<String> = labels.map(|(key, word)| format!("{key}={word}")).collect();
            let labels = match labels.as_slice() {
                [] => String::new(),
                some => format!("{{{}}}", some.join(",")),
            };
            format!("{}{labels} {}", one["name"].as_str().unwrap(), one["value"])
        });
        let lines: Vec<String> = lines.collect();
        let page = to_text(&status);
        let page: Vec<&str> = page.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, page);
        let wanted = json!({"name": "secluso_hub_clips", "type": "gauge",
                            "labels": {"outcome": "cut_off"}, "value": 1});
        assert!(said["metrics"].as_array().unwrap().contains(&wanted));
    }

    #[test]
    fn a_page_is_what_the_status_says_in_numbers_and_names_nobody() {
        let status = json!({
            "recording": true, "connected": false, "not_recorded": "privacy", "relay_not_told": 2,
            "settings": {"privacy": true, "version": 3}, "stranded_copies": 0, "video_bytes": 79, "budget_bytes": null,
            "live": [{"phone": "aabbccdd", "session": 4, "seconds": 9}],
            "decoded_pictures": 8,
            "trouble": "relay.example is away", "camera_trouble": "rtsp://cam.lan is away",
            "pairings": [
                {"phone": "aabbccdd", "unacked_envelopes": 3, "unacked_bytes": 70, "silent": false, "standing": "good"},
                {"phone": "11223344", "unacked_envelopes": 4, "unacked_bytes": 80, "silent": true,
                 "standing": "rolled_back: the phone, or the relay, holds what this hub never made"},
            ],
            "cameras": [
                {"camera": "bedroom", "trouble": null, "recording": true, "detection": "every_picture", "motion": true,
                 "events": 5, "decoded_pictures": 6, "undecodable_pictures": 1},
                {"camera": "door", "trouble": "rtsp://cam.lan is away", "recording": false, "detection": "off",
                 "motion": null, "events": null, "undecodable_pictures": null},
                {"camera": "yard", "trouble": null, "recording": false, "detection": "opening"},
            ],
            "clips": [{"clip": "0f0f", "outcome": "cut_off", "bytes": 9}, {"clip": "0e0e", "outcome": "complete"}],
            "service": {"uptime_s": 60, "reloads": 1, "waiting": ["relay"], "supervised": true, "watchdog_s": 120,
                        "clock_jumps": 3},
        });
        let text = to_text(&status);
        for line in [
            "secluso_hub_uptime_seconds 60",
            "secluso_hub_config_reloads_total 1",
            "secluso_hub_config_waiting 1",
            "secluso_hub_clock_jumps_total 3",
            "secluso_hub_relay_connected 0",
            "secluso_hub_relay_not_told 2",
            "secluso_hub_recording 1",
            "secluso_hub_not_recorded 1",
            "secluso_hub_privacy 1",
            "secluso_hub_video_bytes 79",
            "secluso_hub_video_bytes_max 0",
            "secluso_hub_live_viewers 1",
            "secluso_hub_phones 2",
            "secluso_hub_phones_silent 1",
            "secluso_hub_phones_refused 1",
            "secluso_hub_unacked_envelopes 7",
            "secluso_hub_unacked_bytes 150",
            "secluso_hub_cameras 3",
            "secluso_hub_cameras_open 1",
            "secluso_hub_cameras_failed 1",
            "secluso_hub_cameras_recording 1",
            "secluso_hub_cameras_moving 1",
            "secluso_hub_camera_events 5",
            "secluso_hub_decoded_pictures_total 8",
            "secluso_hub_undecodable_pictures 1",
            "secluso_hub_clips{outcome=\"cut_off\"} 1",
            "secluso_hub_clips{outcome=\"dropped\"} 0",
        ] {
            assert!(text.lines().any(|said| said == line), "{line}\n{text}");
        }
        for secret in ["aabb", "1122", "bedroom", "door", "lan", "example", "0f0f"] {
            assert!(!text.contains(secret), "{secret}\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let value = line.rsplit(' ').next().unwrap();
            assert!(value.parse::<u64>().is_ok(), "{line}");
        }
    }

    #[test]
    fn every_name_is_explained_once() {
        let text = to_text(&Value::Null);
        let heads: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let names: std::collections::BTreeSet<&str> = heads.iter().copied().collect();
        assert_eq!(names.len(), heads.len());
        assert!(text.contains("secluso_hub_phones 0"), "{text}");
    }
}
