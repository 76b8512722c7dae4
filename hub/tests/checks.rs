//! `check-config` and `doctor` as somebody starts them, before a hub runs and beside one. What was written and printed is
//! searched at the end of each test.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use crashtest_canary::Place;
use serde_json::{Value, json};

/// More than any of these steps takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a camera.
const PASSWORD: &str = "kestrel-hunter2";
/// Where systemd names the credentials of a unit.
const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// Nobody answers there; without an invitation a hub would not even ask, and end.
fn invitation() -> wire::Invitation {
    wire::Invitation {
        relay: wire::RelayId([7; 32]),
        nonce: *b"an invitation's!",
        expires_unix_s: 4_000_000_000,
        class: wire::Class::Hub,
        signature: [0; 64],
    }
}

/// A configuration with these words behind its first ones.
fn configured(place: &Place, rest: &str) -> PathBuf {
    let invitation = invitation();
    let relay = invitation.relay.to_text();
    let text = format!(
        "state_dir = \"state\"\nrelay = \"127.0.0.1:9/{relay}\"\ninvitation = \"{invitation}\"\n{rest}"
    );
    place.write("hub.toml", text)
}

fn place() -> Place {
    let place = Place::new();
    place.seek("a password", PASSWORD.as_bytes());
    place.seek("an invitation", invitation().to_string().as_bytes());
    place
}

fn hub(command: &str, config: &Path) -> Command {
    let mut hub = Command::new(env!("CARGO_BIN_EXE_secluso-hub"));
    hub.arg(command).arg("--config").arg(config);
    // What a unit that runs these tests has is not that of the hub's.
    hub.env_remove(CREDENTIALS);
    hub
}

/// The objects that it printed, and its code.
fn asked(place: &Place, command: &mut Command) -> (Option<i32>, Vec<Value>) {
    let output = place.output(command.arg("--json"));
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().map(|line| serde_json::from_str(line).unwrap());
    (output.status.code(), lines.collect())
}

/// What doctor found.
fn found<'s>(said: &'s [Value], check: &str) -> &'s Value {
    let line = said.iter().find(|line| line["check"] == check);
    line.unwrap_or_else(|| panic!("nothing of {check}: {said:?}"))
}

/// A running hub, killed when it is dropped.
struct Hub {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Hub {
    fn start(place: &Place, config: &Path) -> Self {
        let mut child = hub("run", config)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(place.log("secluso-hub"))
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Self { child, said }
    }

    /// Its next word that is called so.
    fn wait_for(&mut self, place: &Place, event: &str) -> Value {
        loop {
            let mut line = String::new();
            let read = self.said.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "it never said {event}");
            place.said("what the hub printed", line.as_bytes());
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

    fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // Already dead in most tests; both calls then fail, which is what we want.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
    }
}

#[test]
fn a_configuration_is_good_if_what_it_names_is_there() {
    let place = place();
    let cameras = "[[camera]]\nkind = \"rtsp\"\nname = \"a\"\nurl = \"rtsp://127.0.0.1:9/1\"\nuser = \"hub\"\n\
                   password_file = \"a.password\"\n[camera.detection]\nperson_program = \"secluso-no-such-program\"\n\
                   [[camera]]\nkind = \"file\"\nname = \"b\"\npath = \"b.mp4\"\n\
                   [[camera]]\nkind = \"command\"\nname = \"c\"\nprogram = \"./c.sh\"\n";
    let config = configured(&place, cameras);
    let check = || asked(&place, &mut hub("check-config", &config));
    let (code, said) = check();
    assert_eq!(code, Some(2));
    let flaws = said
        .iter()
        .filter(|line| line["event"] == "config_unusable");
    let flaws: Vec<Value> = flaws
        .map(|line| json!([line["camera"], line["key"]]))
        .collect();
    let all = [
        json!(["a", "password_file"]),
        json!(["a", "person_program"]),
        json!(["b", "path"]),
        json!(["c", "program"]),
    ];
    assert_eq!(flaws, all);
    assert_eq!(said[said.len() - 1]["exit_code"], 2);

    place.write("a.password", format!("{PASSWORD}\n"));
    let program = place.write("c.sh", "#!/bin/sh\n");
    let executable = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(&program, executable).unwrap();
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/odd-durations.mp4");
    std::fs::copy(clip, place.path().join("b.mp4")).unwrap();
    let (code, said) = check();
    assert_eq!(code, Some(2));
    assert_eq!(said[0]["key"], "person_program", "{said:?}");
    let cameras = cameras.replace("secluso-no-such-program", "sh");
    configured(&place, &cameras);
    let (code, said) = check();
    assert_eq!((code, said.len()), (Some(0), 1), "{said:?}");
    assert_eq!(said[0]["event"], "config");
}

/// A disk that is mounted late at boot keeps neither the hub from its start nor another camera from being recorded.
#[test]
fn a_clip_that_is_not_there_at_a_start_is_the_trouble_of_its_camera_alone() {
    let place = place();
    let cameras = "[[camera]]\nkind = \"file\"\nname = \"b\"\npath = \"late.mp4\"\n\
                   [[camera]]\nkind = \"virtual\"\nname = \"c\"\n";
    let config = configured(&place, cameras);
    let (code, checked) = asked(&place, &mut hub("check-config", &config));
    assert_eq!((code, &checked[0]["key"]), (Some(2), &json!("path")));
    let mut running = Hub::start(&place, &config);
    running.wait_for(&place, "ready");
    let failed = running.wait_for(&place, "camera_failed");
    assert_eq!(failed["camera"], "b", "{failed}");
    assert_eq!(failed["next"], "replace", "{failed}");
    // A check says the same, with the way out.
    let what = failed["what"].as_str().unwrap();
    let message = checked[0]["message"].as_str().unwrap();
    assert!(message.starts_with(what), "{message}");

    let is_open = |camera: usize| {
        let (_code, said) = asked(&place, &mut hub("status", &config));
        let status = said.last().expect("it answers");
        status["cameras"][camera]["open"] == true
    };
    let until_open = |camera: usize| {
        for _ in 0..600 {
            if is_open(camera) {
                return;
            }
            std::thread::sleep(PATIENCE / 600);
        }
        panic!("camera {camera} is never open");
    };
    until_open(1);
    assert!(!is_open(0), "nothing is there yet");
    let clip = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/odd-durations.mp4");
    std::fs::copy(clip, place.path().join("late.mp4")).unwrap();
    until_open(0);
    running.stop();
}

/// What a hub can do without is no reason not to record.
#[test]
fn a_hub_says_at_its_start_what_a_check_would_say_and_goes_on_without() {
    let place = place();
    let config = configured(
        &place,
        "[[camera]]\nkind = \"rtsp\"\nname = \"a\"\nurl = \"rtsp://127.0.0.1:9/1\"\nuser = \"hub\"\n\
         password_file = \"a.password\"\n[[camera]]\nkind = \"virtual\"\nname = \"b\"\n\
         [camera.detection]\nperson_program = \"secluso-no-such-program\"\n",
    );
    let (code, checked) = asked(&place, &mut hub("check-config", &config));
    assert_eq!(code, Some(2));
    let mut running = Hub::start(&place, &config);
    for line in &checked[..2] {
        let said = running.wait_for(&place, "config_unusable");
        assert_eq!(said, *line);
    }
    running.wait_for(&place, "ready");
    // It looks again when it reads its configuration again.
    place.write("a.password", format!("{PASSWORD}\n"));
    running.signal("HUP");
    running.wait_for(&place, "reloaded");
    let said = running.wait_for(&place, "config_unusable");
    assert_eq!(said, checked[1]);
    running.stop();
}

/// What is only there inside the unit is neither good nor bad for somebody outside.
#[test]
fn a_credential_cannot_be_checked_from_outside_the_unit() {
    let place = place();
    let config = configured(
        &place,
        "[[camera]]\nkind = \"rtsp\"\nname = \"door\"\nurl = \"rtsp://127.0.0.1:9/1\"\nuser = \"hub\"\n\
         password_credential = \"door\"\n",
    );
    let (code, said) = asked(&place, &mut hub("check-config", &config));
    assert_eq!(code, Some(0), "{said:?}");
    assert_eq!(said[0]["event"], "config_unchecked", "{said:?}");
    let (_code, said) = asked(&place, &mut hub("doctor", &config));
    let camera = found(&said, "camera door");
    assert_eq!(camera["result"], "unknown", "{camera}");

    let inside = || {
        let mut check = hub("check-config", &config);
        asked(&place, check.env(CREDENTIALS, place.path())).0
    };
    assert_eq!(inside(), Some(2));
    place.write("door", format!("{PASSWORD}\n"));
    assert_eq!(inside(), Some(0));
}

/// Many a device and many a camera let one in and no more; and a relay lets a hub have one connection.
#[test]
fn doctor_opens_nothing_that_a_running_hub_has() {
    let place = place();
    let secret: Vec<u8> = (0..72_u8).map(|n| n.wrapping_mul(73) ^ 0x5c).collect();
    place.seek("the device secret", &secret);
    place.write("device.secret", &secret);
    // It notes each of its starts, and does not show a picture.
    let starts = place.path().join("starts");
    let script = format!("echo started >> {}; exec sleep 60", starts.display());
    let config = configured(
        &place,
        &format!(
            "device_secret_file = \"device.secret\"\n\
             [[camera]]\nkind = \"command\"\nname = \"pi\"\nprogram = \"sh\"\n\
             arguments = [\"-c\", \"{script}\"]\nstall_seconds = 60.0\n"
        ),
    );
    let mut running = Hub::start(&place, &config);
    running.wait_for(&place, "ready");
    let started = || std::fs::read_to_string(&starts).unwrap_or_default();
    for _ in 0..600 {
        if !started().is_empty() {
            break;
        }
        std::thread::sleep(PATIENCE / 600);
    }
    assert_eq!(started(), "started\n");

    let (_code, said) = asked(&place, &mut hub("doctor", &config));
    let result = |check| found(&said, check)["result"].as_str().unwrap();
    assert_eq!(result("journal"), "ok");
    assert_eq!(result("pairing"), "warning", "there is no phone");
    assert_eq!(result("device secret"), "ok");
    // Nobody answers there; it may not have been found out yet.
    assert_ne!(result("relay"), "ok");
    assert_eq!(result("camera pi"), "warning", "it is not open yet");
    assert_eq!(started(), "started\n", "somebody else has started it");
    running.stop();
}
