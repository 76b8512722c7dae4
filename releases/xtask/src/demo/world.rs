//! The demo's small world: a temporary directory with a relay, a hub and a phone in it.
//!
//! This room knows the programs' command lines and configuration; the story is told elsewhere. It
//! must never use anything of the user's but the clip.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::motion;
use super::process::{Event, Program, unix_ms};
use crate::failure::{Because, Failure, Outcome};

/// What starting, pairing or answering may take on a loaded small machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at a program's status.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);
/// Between two events of the camera.
const GAP_SECONDS: &str = "1.5";

/// The camera's events last so long, whatever the clip does: time for two kills in one of them, and
/// nobody waits for the end of a film. A clip between the two is played once, whole.
const EVENT_SECONDS: (u64, u64) = (12, 20);
/// Events after the last kill: so many that the median of their first samples means something.
pub(super) const LATER_EVENTS: usize = 6;
/// How long each of them lasts.
const LATER_EVENT_SECONDS: u64 = 3;

/// How often somebody walks through the scene of the virtual camera, in seconds; it takes ten of them.
const WALK_CYCLE_SECONDS: u64 = 14;
/// How long such an event goes on when nobody is there any more: less than until the next one comes.
const WALK_POST_ROLL_SECONDS: u64 = 2;

/// What the hub watches.
#[derive(Clone, Copy)]
pub(super) enum Cameras {
    /// The clip, again and again: each time is an event.
    EndlessEvents,
    /// The same [`LATER_EVENTS`] times, and short.
    LaterEvents,
    /// A scene that it draws; what moves in it makes the events.
    Virtual,
    /// Nothing.
    None,
}

/// The directory, the programs' places, and what is running.
pub(super) struct World {
    programs: BTreeMap<String, PathBuf>,
    directory: PathBuf,
    clip: PathBuf,
    relay_address: Option<RelayAddress>,
    invitation: String,
    pub(super) relay: Option<Program>,
    pub(super) hub: Option<Program>,
    pub(super) app: Option<Program>,
    /// What hubs that recorded wrote to their disk by the kernel's count; `None` if it does not say.
    pub(super) hub_bytes_written: Option<u64>,
    /// What hubs and apps that are gone have said, in order.
    pub(super) hub_past: Vec<Event>,
    pub(super) app_past: Vec<Event>,
    /// When we kept the phone from receiving.
    pub(super) disturbances: Vec<Disturbance>,
    disturbed_since: Option<u64>,
}

/// A time in which we kept the phone from receiving: asleep, dead, or without a relay. What
/// begins in it is not timed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Disturbance {
    pub(super) from_unix_ms: u64,
    pub(super) until_unix_ms: u64,
    pub(super) recovered: Recovered,
}

/// When the phone receives again after a disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Recovered {
    /// With the next chunk that it announces.
    WithMedia,
    /// At once.
    AtOnce,
}

struct RelayAddress {
    /// `127.0.0.1:port`, for the restart.
    listen: String,
    /// `host:port/id`, for the hub.
    relay: String,
}

/// What the hub says about its one pairing.
#[derive(Clone, Debug)]
pub(super) struct HubStatus {
    pub(super) recording: bool,
    pub(super) epoch: u64,
    pub(super) unacked_envelopes: u64,
    pub(super) unacked_bytes: u64,
    pub(super) stored_through: u64,
    pub(super) acked_through: u64,
    pub(super) clips: Vec<Clip>,
}

/// A clip as one of the ends knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clip {
    pub(super) id: String,
    pub(super) outcome: String,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

impl World {
    /// An empty world in `directory`, which exists and is empty.
    pub(super) fn new(programs: BTreeMap<String, PathBuf>, directory: &Path, clip: &Path) -> Self {
        Self {
            programs,
            directory: directory.to_path_buf(),
            clip: clip.to_path_buf(),
            relay_address: None,
            invitation: String::new(),
            relay: None,
            hub: None,
            app: None,
            hub_bytes_written: Some(0),
            hub_past: Vec::new(),
            app_past: Vec::new(),
            disturbances: Vec::new(),
            disturbed_since: None,
        }
    }

    /// Makes a relay and starts it on a free port.
    pub(super) fn make_relay(&mut self) -> Outcome<()> {
        let directory = self.path("relay")?;
        self.ask("secluso-relay", &["init", &directory, "--json"])?;
        self.start_relay()?;
        let config = self.path("relay/relay.toml")?;
        let answer = self.ask_one(
            "secluso-relay",
            &["invite", "--config", &config, "--class", "hub", "--json"],
        )?;
        self.invitation = text(&answer, "invitation")?;
        Ok(())
    }

    /// Starts the relay, on its old port if it had one.
    pub(super) fn start_relay(&mut self) -> Outcome<()> {
        let listen = self
            .relay_address
            .as_ref()
            .map_or("127.0.0.1:0", |address| &address.listen)
            .to_owned();
        self.configure_relay(&listen)?;
        let config = self.path("relay/relay.toml")?;
        let relay = self.start("secluso-relay", &["run", "--config", &config, "--json"])?;
        let event = relay.wait_for("address", 0, PATIENCE, |e| e.name() == "listening")?;
        self.relay_address = Some(RelayAddress {
            listen: event.text("addr").to_owned(),
            relay: event.text("relay").to_owned(),
        });
        self.relay = Some(relay);
        Ok(())
    }

    /// Edits the sample configuration as its owner would: where to listen, nothing else.
    fn configure_relay(&self, listen: &str) -> Outcome<()> {
        let file = self.directory.join("relay/relay.toml");
        let sample = std::fs::read_to_string(&file).because("cannot read relay.toml")?;
        let mut edited = String::new();
        for line in sample.lines() {
            if line.starts_with("listen ") {
                edited.push_str(&format!("listen = {}\n", quoted(listen)));
            } else {
                edited.push_str(line);
                edited.push('\n');
            }
        }
        std::fs::write(&file, edited).because("cannot write relay.toml")
    }

    /// Deletes everything that the relay stored. Its configuration and key stay: they are not data.
    pub(super) fn wipe_relay(&self) -> Outcome<()> {
        let data = self.directory.join("relay/data");
        std::fs::remove_dir_all(&data).because("cannot delete the relay's data")
    }

    /// Writes the hub's configuration.
    pub(super) fn configure_hub(&self, cameras: Cameras) -> Outcome<()> {
        let relay = self
            .relay_address
            .as_ref()
            .map_or("", |address| &address.relay);
        let clip = |passes: usize, (at_least, at_most): (u64, u64)| -> Outcome<String> {
            let path = quoted(&utf8(&self.clip)?);
            Ok(format!(
                "[camera]\nkind = \"file\"\npath = {path}\ngap_seconds = {GAP_SECONDS}\n\
                 at_least_seconds = {at_least}.0\nat_most_seconds = {at_most}.0\npasses = {passes}\n"
            ))
        };
        let cameras = match cameras {
            Cameras::EndlessEvents => clip(0, EVENT_SECONDS)?,
            Cameras::LaterEvents => clip(LATER_EVENTS, (LATER_EVENT_SECONDS, LATER_EVENT_SECONDS))?,
            Cameras::Virtual => format!(
                "[camera]\nkind = \"virtual\"\nname = {}\ncycle_seconds = {WALK_CYCLE_SECONDS}.0\n\n\
                 [camera.detection]\npre_roll_seconds = 2.0\ncool_down_seconds = 0.0\n\
                 post_roll_seconds = {WALK_POST_ROLL_SECONDS}.0\n",
                quoted(motion::CAMERA)
            ),
            Cameras::None => String::new(),
        };
        let config = format!(
            "state_dir = {}\nrelay = {}\ninvitation = {}\n\n\
             [pairing]\nlisten = \"127.0.0.1:0\"\n\n{cameras}",
            quoted(&self.path("hub")?),
            quoted(relay),
            quoted(&self.invitation),
        );
        std::fs::write(self.directory.join("hub.toml"), config).because("cannot write hub.toml")
    }

    /// Pairs the phone with the hub, over the hub's code as text.
    pub(super) fn pair(&self) -> Outcome<()> {
        let config = self.path("hub.toml")?;
        let hub = self.start("secluso-hub", &["pair", "--config", &config, "--json"])?;
        let offer = hub.wait_for("offer", 0, PATIENCE, |event| event.name() == "offer")?;
        let app = self.path("app")?;
        // On stdin, so that the secret stands in no process list.
        self.ask_with_input(
            "secluso-app",
            &["--dir", &app, "pair", "-", "--json"],
            offer.text("qr"),
        )?;
        hub.wait_for("paired phone", 0, PATIENCE, |event| {
            event.name() == "paired"
        })?;
        Ok(())
    }

    /// Starts the hub and waits until it is ready.
    pub(super) fn start_hub(&mut self) -> Outcome<()> {
        let config = self.path("hub.toml")?;
        let hub = self.start("secluso-hub", &["run", "--config", &config, "--json"])?;
        hub.wait_for("readiness", 0, PATIENCE, |event| event.name() == "ready")?;
        self.hub = Some(hub);
        Ok(())
    }

    /// Has the running hub read its configuration again.
    pub(super) fn reload_hub(&mut self) -> Outcome<()> {
        let hub = self.hub()?;
        let from = hub.heard();
        hub.hang_up()?;
        let reloaded = hub.wait_for("changed configuration", from, PATIENCE, |event| {
            event.name() == "reloaded" || event.name() == "reload_refused"
        })?;
        match reloaded.name() {
            "reloaded" => Ok(()),
            _ => Err(Failure::found(format!(
                "the hub did not take its new configuration: {}",
                reloaded.text("message")
            ))),
        }
    }

    /// From here on no event's first sample is timed: other cameras have other beginnings.
    pub(super) fn leave_timing(&mut self) {
        self.disturbances.push(Disturbance {
            from_unix_ms: unix_ms(),
            until_unix_ms: u64::MAX,
            recovered: Recovered::AtOnce,
        });
    }

    /// Starts the phone's side, following.
    pub(super) fn start_app(&mut self) -> Outcome<()> {
        let directory = self.path("app")?;
        self.app = Some(self.start(
            "secluso-app",
            &["--dir", &directory, "sync", "--follow", "--json"],
        )?);
        Ok(())
    }

    /// The running hub.
    pub(super) fn hub(&mut self) -> Outcome<&mut Program> {
        self.hub
            .as_mut()
            .ok_or_else(|| Failure::found("the demo lost its hub"))
    }

    /// Counts what the running hub has written; to be called once, before it ends.
    pub(super) fn count_hub_writes(&mut self) {
        let written = self.hub.as_ref().and_then(Program::bytes_written);
        self.hub_bytes_written = self
            .hub_bytes_written
            .zip(written)
            .map(|(before, written)| before + written);
    }

    /// The running app.
    pub(super) fn app(&mut self) -> Outcome<&mut Program> {
        self.app
            .as_mut()
            .ok_or_else(|| Failure::found("the demo lost its app"))
    }

    /// Puts the phone to sleep; a disturbance begins, if none is under way.
    pub(super) fn sleep_phone(&mut self) -> Outcome<()> {
        self.disturbed_since.get_or_insert_with(unix_ms);
        self.app()?.freeze()
    }

    /// Wakes the phone.
    pub(super) fn wake_phone(&mut self) -> Outcome<()> {
        self.app()?.wake()
    }

    /// All three programs run again.
    pub(super) fn end_disturbance(&mut self, recovered: Recovered) {
        if let Some(from_unix_ms) = self.disturbed_since.take() {
            self.disturbances.push(Disturbance {
                from_unix_ms,
                until_unix_ms: unix_ms(),
                recovered,
            });
        }
    }

    /// Looks until `seen` returns something, and fails early if one of the programs has ended.
    pub(super) fn until<T>(
        &mut self,
        what: &str,
        timeout: Duration,
        mut seen: impl FnMut(&mut Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(found) = seen(self)? {
                return Ok(found);
            }
            for program in [&mut self.relay, &mut self.hub, &mut self.app]
                .into_iter()
                .flatten()
            {
                program.still_running()?;
            }
            if Instant::now() >= deadline {
                return Err(Failure::found(format!(
                    "{what} did not happen within {} s; the hub's last word: {:?}",
                    timeout.as_secs(),
                    self.hub_status()
                )));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    /// Asks the running hub.
    pub(super) fn hub_status(&self) -> Outcome<HubStatus> {
        let config = self.path("hub.toml")?;
        let answer = self.ask_one("secluso-hub", &["status", "--config", &config, "--json"])?;
        let pairings = answer.get("pairings").and_then(Value::as_array);
        let Some([pairing]) = pairings.map(Vec::as_slice) else {
            return Err(Failure::found(
                "the hub's status does not show exactly one pairing",
            ));
        };
        Ok(HubStatus {
            recording: answer
                .get("recording")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            epoch: number(pairing, "epoch")?,
            unacked_envelopes: number(pairing, "unacked_envelopes")?,
            unacked_bytes: number(pairing, "unacked_bytes")?,
            stored_through: number(pairing, "stored_through")?,
            acked_through: number(pairing, "acked_through")?,
            clips: clips(&answer, "outcome")?,
        })
    }

    /// Bytes of envelopes that the running relay stores: all mailboxes, and the last envelope of
    /// each, which it keeps after trimming.
    pub(super) fn relay_bytes(&self) -> Outcome<u64> {
        let config = self.path("relay/relay.toml")?;
        let answer = self.ask_one("secluso-relay", &["status", "--config", &config, "--json"])?;
        number(answer.get("status").unwrap_or(&answer), "envelope_bytes")
    }

    /// The epoch of the phone's side; no sync may be running.
    pub(super) fn app_epoch(&self) -> Outcome<u64> {
        let directory = self.path("app")?;
        number(
            &self.ask_one("secluso-app", &["--dir", &directory, "status", "--json"])?,
            "epoch",
        )
    }

    /// The clips that the phone has; no sync may be running.
    pub(super) fn app_clips(&self) -> Outcome<Vec<Clip>> {
        let directory = self.path("app")?;
        clips(
            &self.ask_one("secluso-app", &["--dir", &directory, "clips", "--json"])?,
            "state",
        )
    }

    /// Has the phone show the hub's camera live for so many seconds; no sync may be running. Returns the file, and what
    /// was said beside it.
    pub(super) fn watch(&self, seconds: u64) -> Outcome<(PathBuf, Vec<Value>)> {
        let directory = self.path("app")?;
        let file = self.directory.join("live.mp4");
        let (seconds, out) = (seconds.to_string(), utf8(&file)?);
        let said = self.ask(
            "secluso-app",
            &[
                "--dir",
                &directory,
                "live",
                "--seconds",
                &seconds,
                "--out",
                &out,
                "--json",
            ],
        )?;
        Ok((file, said))
    }

    /// Has the phone give a command to the hub and wait for the answer; no sync may be running.
    pub(super) fn order(&self, words: &[&str]) -> Outcome<Value> {
        let directory = self.path("app")?;
        let place = ["--dir", directory.as_str()];
        let all = [&place[..], words, &["--wait", "--json"][..]].concat();
        self.ask_one("secluso-app", &all)
    }

    /// What makes the events of the running hub's one camera, in its own word.
    pub(super) fn detection(&self) -> Outcome<String> {
        let config = self.path("hub.toml")?;
        let answer = self.ask_one("secluso-hub", &["status", "--config", &config, "--json"])?;
        let found = answer.pointer("/cameras/0/detection");
        let found = found.and_then(Value::as_str).map(str::to_owned);
        found.ok_or_else(|| Failure::found(format!("the hub says nothing of its camera: {answer}")))
    }

    /// The pictures of events that the phone has; no sync may be running.
    pub(super) fn app_pictures(&self) -> Outcome<Vec<Value>> {
        self.app_list("thumbnails")
    }

    /// What the phone was told; no sync may be running.
    pub(super) fn app_notices(&self) -> Outcome<Vec<Value>> {
        self.app_list("notifications")
    }

    fn app_list(&self, what: &str) -> Outcome<Vec<Value>> {
        let directory = self.path("app")?;
        let answer = self.ask_one("secluso-app", &["--dir", &directory, what, "--json"])?;
        let rows = answer.get(what).and_then(Value::as_array);
        rows.cloned()
            .ok_or_else(|| Failure::found(format!("the phone lists no {what}: {answer}")))
    }

    /// Has the phone export a clip; returns the file.
    pub(super) fn export(&self, clip: &str) -> Outcome<PathBuf> {
        self.export_to(clip, &self.directory.join(format!("{clip}.mp4")))
    }

    /// Has the phone export a clip or a picture to this file.
    pub(super) fn export_to(&self, what: &str, file: &Path) -> Outcome<PathBuf> {
        let directory = self.path("app")?;
        self.ask(
            "secluso-app",
            &["--dir", &directory, "export", what, &utf8(file)?, "--json"],
        )?;
        Ok(file.to_path_buf())
    }

    /// An empty directory beside the programs, for what a person may look at afterwards.
    pub(super) fn pictures_directory(&self) -> Outcome<PathBuf> {
        let program = self
            .programs
            .get("secluso-app")
            .and_then(|app| app.parent());
        let beside = program.ok_or_else(|| Failure::found("the programs lie nowhere"))?;
        let directory = beside.join("demo-pictures");
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).because("cannot remove the pictures of the last demo");
            }
            _ => {}
        }
        std::fs::create_dir_all(&directory).because("cannot make a directory for pictures")?;
        Ok(directory)
    }

    /// Whether anything that the programs have written or printed gives a secret of theirs away; nothing may run. What
    /// was printed is written beside the logs for that.
    pub(super) fn search_for_secrets(&self) -> Outcome<()> {
        let past = self.hub_past.iter().chain(&self.app_past);
        let printed: Vec<String> = past.map(|event| event.value.to_string()).collect();
        std::fs::write(self.directory.join("printed.log"), printed.join("\n"))
            .because("cannot write printed.log")?;
        let directory = self.path("")?;
        let mut search = self.command("secluso-crashtest", &["canaries", &directory])?;
        let output = search.output().because("cannot start secluso-crashtest")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::found(format!("a secret was given away: {said}")))
    }

    fn start(&self, program: &str, arguments: &[&str]) -> Outcome<Program> {
        let log = self.directory.join(format!("{program}.log"));
        Program::start(program, &self.command(program, arguments)?, &log)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Outcome<Command> {
        let Some(path) = self.programs.get(program) else {
            return Err(Failure::found(format!(
                "the build made no program called {program}"
            )));
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a program to its end; returns the JSON objects that it printed.
    fn ask(&self, program: &str, arguments: &[&str]) -> Outcome<Vec<Value>> {
        self.ask_with_input(program, arguments, "")
    }

    fn ask_with_input(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Outcome<Vec<Value>> {
        let what = format!(
            "{program} {}",
            arguments.first().copied().unwrap_or_default()
        );
        let mut child = self
            .command(program, arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .because(&format!("cannot start {what}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing closes the pipe; its status is what counts.
            let _ = writeln!(stdin, "{input}");
        }
        let output = child
            .wait_with_output()
            .because(&format!("cannot wait for {what}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::found(format!(
                "`{what}` failed ({}): {stderr}",
                output.status
            )));
        }
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).because(&format!("`{what}` printed no JSON")))
            .collect()
    }

    fn ask_one(&self, program: &str, arguments: &[&str]) -> Outcome<Value> {
        let answers = self.ask(program, arguments)?;
        answers.into_iter().next_back().ok_or_else(|| {
            Failure::found(format!("`{program} {}` said nothing", arguments.join(" ")))
        })
    }

    fn path(&self, name: &str) -> Outcome<String> {
        utf8(&self.directory.join(name))
    }
}

fn utf8(path: &Path) -> Outcome<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::found(format!("{} is not UTF-8", path.display())))
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn text(value: &Value, key: &str) -> Outcome<String> {
    let found = value.get(key).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| Failure::found(format!("`{key}` is missing in {value}")))
}

fn number(value: &Value, key: &str) -> Outcome<u64> {
    let found = value.get(key).and_then(Value::as_u64);
    found.ok_or_else(|| Failure::found(format!("`{key}` is missing in {value}")))
}

fn clips(answer: &Value, outcome_key: &str) -> Outcome<Vec<Clip>> {
    answer
        .get("clips")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|clip| {
            Ok(Clip {
                id: text(clip, "clip")?,
                outcome: text(clip, outcome_key)?,
                bytes: number(clip, "bytes")?,
                sha256: clip
                    .get("sha256")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
            })
        })
        .collect()
}
