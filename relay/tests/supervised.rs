//! A relay that somebody supervises: told when it is ready, that it is alive, and that it stops; and asked to
//! read its configuration again. What it wrote and printed is searched at the end of each test.

mod common;

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use common::*;
use relay_client::{ClientError, ErrorKind};
use wire::{Class, ErrorCode};

fn heard(supervisor: &UnixDatagram) -> String {
    let mut bytes = [0; 64];
    let length = supervisor.recv(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// The shell's own `kill` saves us unsafe code.
fn signal(process: u32, name: &str) {
    let status = Command::new("sh")
        .args([
            "-c",
            "kill -\"$1\" \"$2\"",
            "sh",
            name,
            &process.to_string(),
        ])
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn it_tells_its_supervisor_that_it_is_ready_alive_and_stopping() {
    let place = Place::new();
    let path = place.dir.path().join("notify");
    let supervisor = UnixDatagram::bind(&path).unwrap();
    supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut relay = program()
        .args(["run", "--config"])
        .arg(place.config_path())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stdout(place.dir.log("printed"))
        .stderr(place.dir.log("secluso-relay"))
        .spawn()
        .unwrap();
    // Its first sign of life may come just before the word that it is ready.
    let mut said: Vec<String> = (0..4).map(|_| heard(&supervisor)).collect();
    assert!(said.iter().any(|state| state == "READY=1"), "{said:?}");
    said.retain(|state| state != "READY=1");
    assert_eq!(said, ["WATCHDOG=1"; 3]);
    signal(relay.id(), "TERM");
    while heard(&supervisor) != "STOPPING=1" {}
    assert!(relay.wait().unwrap().success());
}

#[tokio::test]
async fn a_device_that_is_revoked_is_shut_out_at_once_when_the_configuration_is_read_again() {
    let place = Place::new();
    let (lost, kept) = (place.device(), place.device());
    let relay = place.spawn();
    let invited = place.invitation(Class::Hub);
    let (hub, certificate) = join(&relay.address, &lost, invited).await.unwrap();
    let invited = place.invitation(Class::Hub);
    let (other, _) = join(&relay.address, &kept, invited).await.unwrap();

    let config = place.config_path();
    let text = std::fs::read_to_string(&config).unwrap();
    // What is not good changes nothing, and ends nothing.
    std::fs::write(&config, "nonsense = 1\n").unwrap();
    signal(relay.child.id(), "HUP");
    let a_moment = Duration::from_millis(300);
    let closed = tokio::time::timeout(a_moment, hub.closed()).await;
    assert!(closed.is_err(), "{closed:?}");

    let id = lost.device_id().to_text();
    let changed = format!("revoked = [\"{id}\"]\n{text}[limits]\nlog_file_mib = 32\n");
    std::fs::write(&config, changed).unwrap();
    signal(relay.child.id(), "HUP");
    let revoked = ClientError::Refused {
        code: ErrorCode::Revoked,
    };
    assert_eq!(within(hub.closed()).await, revoked);
    let refused = back(&relay.address, &lost, &certificate).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::NotAdmitted);
    let stays = tokio::time::timeout(a_moment, other.closed()).await;
    assert!(stays.is_err(), "who is not named stays");

    let status = run(&place, &["status", "--json"], &config);
    let said: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    let waiting = &said["status"]["waiting"];
    assert_eq!(*waiting, serde_json::json!(["log_file_mib"]));
    let metrics = run(&place, &["metrics"], &config);
    let page = String::from_utf8(metrics.stdout).unwrap();
    assert!(page.contains("secluso_relay_config_waiting 1\n"), "{page}");
    let metrics = run(&place, &["metrics", "--json"], &config);
    let said: serde_json::Value = serde_json::from_slice(&metrics.stdout).unwrap();
    assert_eq!(said["event"], "metrics");
    assert_eq!(said["metrics"][0]["name"], "secluso_relay_connections");
}
