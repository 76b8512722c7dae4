//! What people and other programs write: configuration files, and the questions and answers of the control
//! sockets.

use std::path::Path;

use hub::camera::SourceConfig;
use hub::config::CAMERAS_MAX;
use hub::control::Request;
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
