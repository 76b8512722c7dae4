//! The program itself: killed, restarted, wiped, started twice, misconfigured. What it wrote and printed is searched at
//! the end of each test.

mod common;

use std::path::Path;

use common::*;
use relay_client::ErrorKind;
use wire::{Class, Invitation, ReceiveId, Seq};

const MAILBOX: ReceiveId = ReceiveId(*b"a mailbox of these tests");

/// A place in which the whole names of that mailbox stand in no word.
fn place() -> Place {
    let place = Place::new();
    let (receive, send) = (MAILBOX, MAILBOX.send_id());
    let dir = &place.dir;
    dir.seek_in_words("the right to read", receive.as_bytes());
    dir.seek_in_words("the right to append", send.as_bytes());
    place
}

#[tokio::test]
async fn killed_and_restarted_it_has_everything_that_had_a_receipt() {
    let place = place();
    let (hub_device, phone_device) = (place.device(), place.device());
    let relay = place.spawn();
    let invitation = place.invitation(Class::Hub);
    let (hub, hub_certificate) = join(&relay.address, &hub_device, invitation).await.unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    for n in 1..=20 {
        append(&mut uplink, n, n - 1, &envelope(n, 20_000)).await;
    }
    receipt(&mut uplink, 20).await;
    // Some more are under way when it dies.
    for n in 21..=30 {
        append(&mut uplink, n, n - 1, &envelope(n, 20_000)).await;
    }
    relay.kill();
    drop((hub, uplink));

    let relay = place.spawn();
    let hub = back(&relay.address, &hub_device, &hub_certificate)
        .await
        .unwrap();
    let (state, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    let last = state.last.unwrap();
    assert!(last.seq >= Seq(20), "{last:?}");
    for n in last.seq.0 + 1..=30 {
        append(&mut uplink, n, n - 1, &envelope(n, 20_000)).await;
    }
    if last.seq < Seq(30) {
        receipt(&mut uplink, 30).await;
    }
    let (phone, _) = join(
        &relay.address,
        &phone_device,
        place.invitation(Class::Phone),
    )
    .await
    .unwrap();
    let (_, mut deliveries) = within(phone.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    for n in 1..=30 {
        let delivery = within(deliveries.next()).await.unwrap();
        assert_eq!(delivery.seq, Seq(n));
        assert_eq!(delivery.bytes, envelope(n, 20_000));
    }
}

/// Far below the idle timeout of a minute, by which a client would find out by itself.
const RESET_SECONDS_MAX: u64 = 10;

#[tokio::test]
async fn a_restarted_relay_resets_old_connections_at_once() {
    let place = place();
    let device = place.device();
    let relay = place.spawn();
    let (hub, certificate) = join(&relay.address, &device, place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    let port = relay.address.port;
    relay.kill();
    place.stay_on(port);
    let relay = place.spawn();

    // The old connection says something, and is told.
    append(&mut uplink, 1, 0, &envelope(1, 1_000)).await;
    let told = std::time::Duration::from_secs(RESET_SECONDS_MAX);
    tokio::time::timeout(told, hub.closed()).await.unwrap();
    back(&relay.address, &device, &certificate).await.unwrap();
}

/// What an idle client may take to notice that its relay was restarted.
const IDLE_NOTICE_SECONDS_MAX: u64 = 6;
/// After this a fresh connection on the loopback interface is silent.
const QUIET: std::time::Duration = std::time::Duration::from_secs(2);

#[tokio::test]
async fn an_idle_client_soon_notices_that_its_relay_was_restarted() {
    let place = place();
    let device = place.device();
    let relay = place.spawn();
    let (phone, _) = join(&relay.address, &device, place.invitation(Class::Phone))
        .await
        .unwrap();
    let port = relay.address.port;
    // Nothing tells when QUIC itself has nothing more to say: it still looks for the largest
    // packet that fits, and such a probe would be answered by a reset as well.
    tokio::time::sleep(QUIET).await;
    relay.kill();
    place.stay_on(port);
    let _relay = place.spawn();
    // It says nothing; its keep-alive does.
    let notice = std::time::Duration::from_secs(IDLE_NOTICE_SECONDS_MAX);
    let error = tokio::time::timeout(notice, phone.closed()).await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn scenario_22_wiped_and_restarted_it_fills_again() {
    let place = place();
    let hub_device = place.device();
    let relay = place.spawn();
    let invitation = place.invitation(Class::Hub);
    let (hub, certificate) = join(&relay.address, &hub_device, invitation).await.unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    for n in 1..=9 {
        append(&mut uplink, n, n - 1, &envelope(n, 5_000)).await;
    }
    receipt(&mut uplink, 9).await;
    relay.kill();
    drop((hub, uplink));
    std::fs::remove_dir_all(place.data_dir()).unwrap();

    // The certificate is enough, and the sender begins with what it still has.
    let relay = place.spawn();
    let hub = back(&relay.address, &hub_device, &certificate)
        .await
        .unwrap();
    let (state, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    assert_eq!(state.last, None);
    append(&mut uplink, 6, 0, &envelope(6, 5_000)).await;
    append(&mut uplink, 7, 6, &envelope(7, 5_000)).await;
    receipt(&mut uplink, 7).await;
    let (state, mut deliveries) = within(hub.attach_receive(MAILBOX, Seq(6))).await.unwrap();
    assert_eq!(state.first, Seq(6));
    assert_eq!(within(deliveries.next()).await.unwrap().seq, Seq(7));
}

#[tokio::test]
async fn invite_and_status_beside_a_running_relay() {
    let place = place();
    let relay = place.spawn();
    let mut invite = program();
    invite.args(["invite", "--class", "hub", "--ttl", "10m", "--config"]);
    let invite = invite.arg(place.config_path());
    let output = place.dir.output_for_a_person(invite);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let invitation: Invitation = text.parse().unwrap();
    place.seek(&invitation);
    assert_eq!(invitation.class, Class::Hub);
    let (hub, _) = join(&relay.address, &place.device(), invitation)
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 5_000)).await;
    receipt(&mut uplink, 1).await;

    let output = run(&place, &["status", "--json"], &place.config_path());
    assert!(output.status.success());
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["status"]["connections"], 1);
    assert_eq!(status["status"]["relay"], relay.address.to_string());
    // What came, what it is counted as, and what the directory takes, which is measured.
    assert_eq!(status["status"]["envelope_bytes"], 5_000);
    assert_eq!(status["status"]["quota_bytes"], 8_192);
    assert!(status["status"]["disk_bytes"].as_u64().unwrap() > 8_192);
    let output = run(&place, &["status"], &place.config_path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("8192 bytes, in whole sectors"), "{text}");

    let output = run(&place, &["doctor", "--json"], &place.config_path());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"].as_u64(), Some(0), "{report}");
    let said = report["checks"].to_string();
    assert!(
        said.contains("quotas count 8 KiB for 4 KiB of envelopes"),
        "{said}"
    );
}

#[test]
fn a_second_process_on_the_same_directory() {
    let place = place();
    let relay = place.spawn();
    let output = run(&place, &["run", "--json"], &place.config_path());
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("another process"), "{text}");
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("\"exit_code\":3")
    );
    relay.kill();
    // The dead one left no lock behind.
    place.spawn().kill();
}

#[test]
fn sigterm_ends_it_with_success_and_takes_the_socket_away() {
    let place = place();
    let mut relay = place.spawn();
    let pid = relay.child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .arg(pid)
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(relay.child.wait().unwrap().code(), Some(0));
    assert!(!place.data_dir().join("control.sock").exists());
}

#[test]
fn each_mistake_has_its_code_and_names_itself() {
    let place = Place::with("[quota]\nacount_mib = 5\n");
    let output = run(&place, &["run"], &place.config_path());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("relay.toml, line 5") && text.contains("acount_mib"),
        "{text}"
    );

    let place = Place::with("[limits]\nconnections = 10\n");
    let config = place.config_path();
    let output = run(&place, &["status"], &config);
    assert_eq!(output.status.code(), Some(5), "not running");

    std::fs::remove_file(place.dir.path().join("identity.key")).unwrap();
    let output = run(&place, &["run"], &config);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("secluso-relay init")
    );
    let output = run(&place, &["doctor"], &config);
    assert_eq!(output.status.code(), Some(1));

    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(
        &config,
        text.replace("\"identity.key\"", "\"data/identity.key\""),
    )
    .unwrap();
    std::fs::create_dir(place.data_dir()).unwrap();
    let output = run(&place, &["run"], &config);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("must not lie in the data")
    );

    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let other = Place::new();
    let config = other.config_path();
    let text = std::fs::read_to_string(&config).unwrap();
    let port = taken.local_addr().unwrap().to_string();
    std::fs::write(&config, text.replace("127.0.0.1:0", &port)).unwrap();
    assert_eq!(run(&other, &["run"], &config).status.code(), Some(5));
}

#[test]
fn doctor_on_a_broken_configuration_ends_as_every_other_command() {
    let place = place();
    let nowhere = Path::new("/nowhere/relay.toml");
    let output = run(&place, &["doctor", "--json"], nowhere);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let [found, failed] = &lines[..] else {
        panic!("{said}");
    };
    assert_eq!(
        (&found["event"], &found["problems"]),
        (&"doctor".into(), &1.into())
    );
    assert_eq!(
        (&failed["event"], &failed["exit_code"]),
        (&"error".into(), &2.into())
    );
}

/// A command line that cannot be read is a failure like any other.
#[test]
fn wrong_use_is_one_object_for_scripts() {
    let place = place();
    let config = place.config_path();
    let output = run(&place, &["status", "--bogus", "--json"], &config);
    assert_eq!(output.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&said["event"], &said["exit_code"]),
        (&"error".into(), &2.into())
    );
    let message = said["message"].as_str().unwrap();
    assert!(message.contains("--bogus"), "{message}");
    let output = run(&place, &["status", "--bogus"], &config);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
}

/// Whoever started it has read enough, or has died: that must not be the end of a relay.
#[test]
fn readers_that_have_gone_are_no_failure() {
    let place = place();
    let config = place.config_path();
    let gone = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        writer
    };
    for command in [
        &["completions", "bash"][..],
        &["invite", "--json"],
        &["invite"],
    ] {
        let mut program = program();
        let program = program.args(command).arg("--config").arg(&config);
        let output = place.dir.output(program.stdout(gone()));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{command:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    let mut relay = program()
        .args(["run", "--config"])
        .arg(&config)
        .stdout(gone())
        .stderr(place.dir.log("secluso-relay"))
        .spawn()
        .unwrap();
    let status = || run(&place, &["status"], &config).status.code();
    let answers = (0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(50));
        status() == Some(0)
    });
    let alive = relay.try_wait().unwrap().is_none();
    relay.kill().unwrap();
    relay.wait().unwrap();
    assert!(
        answers && alive,
        "the line that nobody read ended the relay"
    );
}

#[tokio::test]
async fn a_device_on_the_list_of_the_revoked() {
    let place = place();
    let identity = place.device();
    let relay = place.spawn();
    let (hub, certificate) = join(&relay.address, &identity, place.invitation(Class::Hub))
        .await
        .unwrap();
    drop(hub);
    relay.kill();
    let config = place.config_path();
    let text = std::fs::read_to_string(&config).unwrap();
    let id = identity.device_id().to_text();
    std::fs::write(&config, format!("revoked = [\"{id}\"]\n{text}")).unwrap();
    let relay = place.spawn();
    let error = back(&relay.address, &identity, &certificate)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAdmitted);
}

/// What an idle relay may use, in KiB.
const IDLE_RSS_KIB_MAX: u64 = 32 * 1024;

#[tokio::test]
async fn an_idle_relay_is_small() {
    let place = place();
    let relay = place.spawn();
    let (_hub, _) = join(
        &relay.address,
        &place.device(),
        place.invitation(Class::Hub),
    )
    .await
    .unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", relay.child.id())).unwrap();
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib <= IDLE_RSS_KIB_MAX, "{kib} KiB");
    println!("peak of an idle relay: {kib} KiB");
}
