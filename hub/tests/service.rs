//! A hub that somebody supervises: told when it is ready, that it is alive, and that it stops; asked to read its
//! configuration again; and the units that make it so. What it wrote and printed is searched at the end of each test.

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use crashtest_canary::Place;
use serde_json::Value;

/// More than any of these steps takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most that `systemd-analyze security` may say of a unit, times ten.
const EXPOSURE_MAX: &str = "20";

/// A running hub, killed when it is dropped.
struct Hub<'p> {
    place: &'p Place,
    child: Child,
    said: BufReader<ChildStdout>,
}

impl<'p> Hub<'p> {
    fn start(place: &'p Place, config: &Path, notify: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_secluso-hub"))
            .args(["run", "--json", "--config"])
            .arg(config)
            .env("NOTIFY_SOCKET", notify)
            .env("WATCHDOG_USEC", "300000")
            .stdout(Stdio::piped())
            .stderr(place.log("secluso-hub"))
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { place, child, said }
    }

    /// Its next word that is called so.
    fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(
                self.said.read_line(&mut line).unwrap(),
                0,
                "it never said {event}"
            );
            self.place.said("what the hub printed", line.as_bytes());
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["event"] == event {
                return value;
            }
        }
    }

    /// The shell's own `kill` saves us unsafe code.
    fn signal(&self, name: &str) {
        let process = self.child.id().to_string();
        let status = Command::new("sh")
            .args(["-c", "kill -\"$1\" \"$2\"", "sh", name, &process])
            .status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Hub<'_> {
    fn drop(&mut self) {
        // Already dead in most tests; both calls then fail, which is what we want.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Nobody answers there; without an invitation the hub would not even ask.
fn invitation() -> wire::Invitation {
    wire::Invitation {
        relay: wire::RelayId([7; 32]),
        nonce: *b"an invitation's!",
        expires_unix_s: 4_000_000_000,
        class: wire::Class::Hub,
        signature: [0; 64],
    }
}

fn text(rest: &str) -> String {
    let invitation = invitation();
    format!(
        "state_dir = \"state\"\ndevice_secret_file = \"device.secret\"\nrelay = \"127.0.0.1:9/{}\"\n\
         invitation = \"{invitation}\"\n{rest}",
        invitation.relay.to_text()
    )
}

fn ask(place: &Place, command: &str, config: &Path) -> String {
    let mut hub = Command::new(env!("CARGO_BIN_EXE_secluso-hub"));
    let hub = hub.args(command.split(' ')).arg("--config").arg(config);
    let output = place.output(hub);
    String::from_utf8(output.stdout).unwrap()
}

/// What a supervisor hears, taken at once: a full queue would lose words.
fn listen(place: &Path) -> Receiver<String> {
    let supervisor = UnixDatagram::bind(place).unwrap();
    let (tell, heard) = sync_channel(10_000);
    std::thread::spawn(move || {
        let mut bytes = [0; 64];
        while let Ok(length) = supervisor.recv(&mut bytes) {
            let word = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if tell.send(word).is_err() {
                return;
            }
        }
    });
    heard
}

/// A hub without a camera, ready in this directory; its configuration, and what its supervisor hears.
fn supervised(place: &Place) -> (Hub<'_>, PathBuf, Receiver<String>) {
    let secret: Vec<u8> = (0..72_u8).map(|n| n.wrapping_mul(73) ^ 0x5c).collect();
    place.seek("the device secret", &secret);
    place.write("device.secret", secret);
    let invitation = invitation();
    place.seek("an invitation", invitation.to_string().as_bytes());
    place.seek("an invitation", &invitation.to_bytes());
    let notify = place.path().join("notify");
    let supervisor = listen(&notify);
    let config = place.write("hub.toml", text(""));
    let mut hub = Hub::start(place, &config, &notify);
    hub.wait_for("ready");
    (hub, config, supervisor)
}

fn next(heard: &Receiver<String>) -> String {
    heard.recv_timeout(PATIENCE).unwrap()
}

#[test]
fn its_supervisor_hears_of_it_and_a_changed_configuration_is_taken_while_it_runs() {
    let place = Place::new();
    let (mut hub, config, supervisor) = supervised(&place);
    // Its first sign of life may come just before the word that it is ready.
    let mut said: Vec<String> = (0..4).map(|_| next(&supervisor)).collect();
    assert!(said.iter().any(|state| state == "READY=1"), "{said:?}");
    said.retain(|state| state != "READY=1");
    assert_eq!(said, ["WATCHDOG=1"; 3]);

    std::fs::write(&config, text("[[camera]]\nkind = \"unheard-of\"\n")).unwrap();
    hub.signal("HUP");
    let refused = hub.wait_for("reload_refused");
    assert!(
        refused["message"].as_str().unwrap().contains("hub.toml"),
        "{refused}"
    );

    let camera = "[[camera]]\nkind = \"virtual\"\nname = \"new\"\n[disk]\nlog_file_mib = 32\n";
    std::fs::write(&config, text(camera)).unwrap();
    hub.signal("HUP");
    let reloaded = hub.wait_for("reloaded");
    assert_eq!(reloaded["waiting"], serde_json::json!(["[disk]"]));
    // Cameras follow at once, and not in the same moment.
    let mut page = ask(&place, "metrics", &config);
    for _ in 0..100 {
        if page.contains("secluso_hub_cameras 1\n") {
            break;
        }
        std::thread::sleep(PATIENCE / 600);
        page = ask(&place, "metrics", &config);
    }
    assert!(page.contains("secluso_hub_cameras 1\n"), "{page}");
    assert!(page.contains("secluso_hub_config_waiting 1\n"), "{page}");
    assert!(
        page.contains("secluso_hub_config_reloads_total 1\n"),
        "{page}"
    );
    let object = ask(&place, "metrics --json", &config);
    let object: Value = serde_json::from_str(&object).unwrap();
    assert_eq!(object["event"], "metrics");
    assert!(
        object["metrics"]
            .as_array()
            .is_some_and(|all| all.len() > 20)
    );
    let status = ask(&place, "status", &config);
    assert!(status.contains("camera \"new\""), "{status}");
    assert!(status.contains("before a restart: [disk]"), "{status}");
    let doctor = ask(&place, "doctor", &config);
    assert!(doctor.contains("awaits a sign of life"), "{doctor}");
    assert!(doctor.contains("restart the hub for [disk]"), "{doctor}");

    hub.signal("TERM");
    while next(&supervisor) != "STOPPING=1" {}
    assert_eq!(hub.child.wait().unwrap().code(), Some(0));
}

/// One whose words nobody takes stands still at some time, and obeys no signal then: it is to be ended, not to be called
/// alive because its journal is.
#[test]
fn a_hub_that_stands_still_gives_no_sign_of_life() {
    let place = Place::new();
    let (mut hub, config, supervisor) = supervised(&place);
    while next(&supervisor) != "WATCHDOG=1" {}
    // Each is answered by a line, until the pipe is full.
    let kind = "unheard-of".repeat(100);
    let refused = text(&format!("[[camera]]\nkind = \"{kind}\"\n"));
    std::fs::write(&config, refused).unwrap();
    // Twenty times the time between two signs of life.
    let silence = Duration::from_secs(2);
    let began = std::time::Instant::now();
    let mut heard_at = began;
    while heard_at.elapsed() < silence {
        assert!(
            began.elapsed() < 3 * PATIENCE,
            "it goes on giving signs of life"
        );
        hub.signal("HUP");
        if supervisor.recv_timeout(PATIENCE / 3_000).is_ok() {
            heard_at = std::time::Instant::now();
        }
    }
    // It was only held up: read, it goes on.
    for _ in 0..10 {
        hub.wait_for("reload_refused");
    }
    assert_eq!(next(&supervisor), "WATCHDOG=1");
}

/// Whether systemd can be asked what it thinks of a unit; if not, that is said for the test of this name.
fn judge_is_here(test: &str) -> bool {
    let mut judge = Command::new("systemd-analyze");
    judge.arg("--version").stdin(Stdio::null());
    let asked = judge.stdout(Stdio::null()).stderr(Stdio::null()).status();
    let is_here = asked.is_ok_and(|status| status.success());
    crashtest_players::here_or_said("systemd-analyze", is_here, test)
}

#[test]
fn the_units_leave_little_of_the_machine_open() {
    let is_judged = judge_is_here("the_units_leave_little_of_the_machine_open");
    let units = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../releases/systemd");
    for unit in ["secluso-hub.service", "secluso-relay.service"] {
        let path = units.join(unit).canonicalize().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for line in [
            "Type=notify",
            "WatchdogSec=2min",
            "Restart=on-failure",
            "LimitCORE=0",
        ] {
            assert!(text.lines().any(|found| found == line), "{unit}: {line}");
        }
        assert!(text.contains("ExecReload=/bin/kill -HUP"), "{unit}");
        // Nothing in the hub bounds what a camera sends before a picture is whole.
        let is_bounded = text.lines().any(|line| line == "MemoryMax=50%");
        assert_eq!(is_bounded, unit.contains("hub"), "{unit}");
        if !is_judged {
            continue;
        }
        let threshold = format!("--threshold={EXPOSURE_MAX}");
        let judged = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", &threshold])
            .arg(&path)
            .output();
        let judged = judged.expect("it was there a moment ago");
        let said = String::from_utf8_lossy(&judged.stdout);
        let complaint = String::from_utf8_lossy(&judged.stderr);
        assert!(judged.status.success(), "{unit}: {said}{complaint}");
    }
}
