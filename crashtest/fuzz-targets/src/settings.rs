//! What people and other programs write: configuration files, the file with a device's secret, the questions and answers
//! of the control sockets, requests to the page of metrics, and what a program says that hints at persons.

use std::collections::BTreeSet;
use std::path::Path;

use hub::camera::SourceConfig;
use hub::config::CAMERAS_MAX;
use hub::control::Request;
use hub::person::Score;
use hub::{cli, control, metrics, pairing, phones, retained, secret, status};
use journal::DEVICE_SECRET_BYTES;
use serde_json::Value;

/// A hub's configuration: values that cannot be wrong, or an error with its line.
pub(crate) fn hub_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match hub::config::Config::parse(text, "hub.toml", Path::new("/etc/hub")) {
        Ok(config) => {
            assert!(config.pairing.addresses.len() <= 4);
            assert!((30..=3600).contains(&config.pairing.offer.as_secs()));
            assert!((4 << 20..=256 << 20).contains(&config.disk.log_file_bytes));
            assert!(config.cameras.len() <= CAMERAS_MAX);
            for camera in &config.cameras {
                assert!((1..=64).contains(&camera.name.len()));
                if let SourceConfig::File(file) = &camera.source {
                    assert!(file.at_most.is_none_or(|most| most >= file.at_least));
                }
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(said.starts_with("hub.toml, line "), "{said}");
            assert!(!said.contains('\n'), "more than one line: {said}");
        }
    }
}

/// A relay's configuration.
pub(crate) fn relay_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match relay::config::Config::parse(text, Path::new("/etc/relay/relay.toml")) {
        Ok(config) => {
            assert!(config.log_file_bytes > 0);
            assert!(config.identity_key.starts_with("/"));
            assert!(config.data_dir.starts_with("/"));
        }
        Err(error) => assert!(error.to_string().starts_with("/etc/relay/relay.toml")),
    }
}

/// Questions to a running hub: what is one can be asked again and is the same.
pub(crate) fn control(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(question) = serde_json::from_str::<Request>(line) {
        let spelt = serde_json::to_string(&question).expect("a question can be asked");
        // It may come as a list, without the names of its fields.
        assert!(spelt.len() <= line.len() + 32);
        let again = serde_json::from_str::<Request>(&spelt);
        assert!(again.is_ok_and(|again| again == question));
    }
}

/// Lines of JSON that one program reads of another: hub and relay of their control sockets, tools of both.
pub(crate) fn json_line(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(value) = serde_json::from_str::<Value>(line) {
        let spelt = value.to_string();
        assert!(!spelt.contains('\n'), "an answer is one line");
        assert!(serde_json::from_str::<Value>(&spelt).is_ok());
    }
}

/// What a running hub answers, line by line: each is read or refused in a sentence, and whatever it says can be
/// shown to a person, by every command that could have asked.
pub(crate) fn hub_answers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    for line in text.lines() {
        let answer = match control::read_answer(line) {
            Ok(answer) => answer,
            Err(failure) => {
                assert!(!failure.message.is_empty() && !failure.message.contains('\n'));
                // Nothing behind it is read.
                return;
            }
        };
        if let Some(failure) = cli::failure_in(&answer) {
            assert_eq!(answer["event"], "failed");
            assert_ne!(failure.code, hub::exit::Code::Ok, "a failure ends with 0");
            continue;
        }
        if let Some(pairing::Step::Offer { text, .. }) = cli::step_in(&answer) {
            let shown = pairing_code::show(&text);
            assert!(shown.contains(text.as_str()), "a code is not shown");
        }
        for shown in [
            status::to_text(&answer),
            phones::to_text(&answer),
            retained::to_text(&answer),
        ] {
            assert!(!shown.is_empty());
        }
    }
}

/// The file with a device's secret: exactly so many bytes of some variety, which come out as they are.
pub(crate) fn device_secret(data: &[u8]) {
    let read = secret::read_bytes(data).expect("bytes in memory can be read");
    let variety: BTreeSet<u8> = data.iter().copied().collect();
    let is_one = data.len() == DEVICE_SECRET_BYTES && variety.len() >= 32;
    assert_eq!(read.is_some(), is_one);
    if let Some(secret) = read {
        assert_eq!(secret.as_bytes(), data);
        let again = journal::DeviceSecret::from_text(&secret.to_text());
        assert!(again.is_ok_and(|again| again == secret));
    }
}

/// Requests to the page of metrics: nobody gets it under a name that is not this machine's, and nothing is read behind
/// the head.
pub(crate) fn metrics_request(data: &[u8]) {
    let request = String::from_utf8_lossy(data);
    let judged = metrics::judge(&request);
    let Some((head, _)) = request.split_once("\r\n\r\n") else {
        assert_eq!(judged, Err("400 Bad Request"));
        return;
    };
    assert_eq!(metrics::judge(&format!("{head}\r\n\r\n")), judged);
    let led_here = format!("{head}\r\nHost: camera.example\r\n\r\n");
    assert_eq!(metrics::judge(&led_here), Err("403 Forbidden"));
    match judged {
        Ok(()) => assert!(head.starts_with("GET /metrics"), "{head}"),
        Err(status) => assert!(
            ["403 Forbidden", "404 Not Found", "405 Method Not Allowed"].contains(&status),
            "{status}"
        ),
    }
}

/// What a program answers that hints at persons: a number from 0 to 1, or nothing that anybody goes by.
pub(crate) fn person_score(data: &[u8]) {
    let score = Score::parse(data);
    let most = Score::new(100).expect("it is in percent");
    assert!(score.is_none_or(|score| (Score::NONE..=most).contains(&score)));
    // How a program ends its lines is its own.
    assert_eq!(Score::parse(&[b" ", data, b"\r\n"].concat()), score);
    let percent = data.first().copied().unwrap_or_default() % 101;
    let spelt = (f64::from(percent) / 100.0).to_string();
    assert_eq!(Score::parse(spelt.as_bytes()), Score::new(percent));
}
