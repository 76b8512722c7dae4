//! The demo's small world: a temporary directory with a relay, a hub and a phone in it.
//!
//! This room knows what the demo's hub is to watch and what the demo asks of the programs; the story is told
//! elsewhere. It must never use anything of the user's but the clip.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use programs::home::{Home, number, quoted, rows, text, utf8};
use serde_json::Value;

use super::motion;
use super::process::{Event, Program, unix_ms};
use crate::failure::{Because, Failure, Outcome};

pub(super) use programs::home::PATIENCE;

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
    home: Home,
    clip: PathBuf,
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
            home: Home::new(programs, directory),
            clip: clip.to_path_buf(),
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
        self.relay = Some(self.home.make_relay()?);
        Ok(())
    }

    /// Starts the relay, on its old port if it had one.
    pub(super) fn start_relay(&mut self) -> Outcome<()> {
        self.relay = Some(self.home.start_relay()?);
        Ok(())
    }

    /// Deletes everything that the relay stored.
    pub(super) fn wipe_relay(&self) -> Outcome<()> {
        self.home.wipe_relay()
    }

    /// Writes the hub's configuration.
    pub(super) fn configure_hub(&self, cameras: Cameras) -> Outcome<()> {
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
        self.home.configure_hub(&cameras)
    }

    /// Pairs the phone with the hub, over the hub's code as text.
    pub(super) fn pair(&self) -> Outcome<()> {
        self.home.pair()
    }

    /// Starts the hub and waits until it is ready.
    pub(super) fn start_hub(&mut self) -> Outcome<()> {
        self.hub = Some(self.home.start_hub()?);
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
        self.app = Some(self.home.start_app()?);
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
        let answer = self.home.hub_status()?;
        let [pairing] = rows(&answer, "pairings") else {
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
        let answer = self.home.relay_status()?;
        number(answer.get("status").unwrap_or(&answer), "envelope_bytes")
    }

    /// The epoch of the phone's side; no sync may be running.
    pub(super) fn app_epoch(&self) -> Outcome<u64> {
        number(&self.home.ask_app_one(&["status"])?, "epoch")
    }

    /// The clips that the phone has; no sync may be running.
    pub(super) fn app_clips(&self) -> Outcome<Vec<Clip>> {
        clips(&self.home.ask_app_one(&["clips"])?, "state")
    }

    /// Has the phone show the hub's camera live for so many seconds; no sync may be running. Returns the file, and what
    /// was said beside it.
    pub(super) fn watch(&self, seconds: u64) -> Outcome<(PathBuf, Vec<Value>)> {
        let file = self.home.directory().join("live.mp4");
        let (seconds, out) = (seconds.to_string(), utf8(&file)?);
        let said = self
            .home
            .ask_app(&["live", "--seconds", &seconds, "--out", &out])?;
        Ok((file, said))
    }

    /// Has the phone give a command to the hub and wait for the answer; no sync may be running.
    pub(super) fn order(&self, words: &[&str]) -> Outcome<Value> {
        self.home.ask_app_one(&[words, &["--wait"][..]].concat())
    }

    /// What makes the events of the running hub's one camera, in its own word.
    pub(super) fn detection(&self) -> Outcome<String> {
        let answer = self.home.hub_status()?;
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
        let answer = self.home.ask_app_one(&[what])?;
        let rows = answer.get(what).and_then(Value::as_array);
        rows.cloned()
            .ok_or_else(|| Failure::found(format!("the phone lists no {what}: {answer}")))
    }

    /// Has the phone export a clip; returns the file.
    pub(super) fn export(&self, clip: &str) -> Outcome<PathBuf> {
        self.export_to(clip, &self.home.directory().join(format!("{clip}.mp4")))
    }

    /// Has the phone export a clip or a picture to this file.
    pub(super) fn export_to(&self, what: &str, file: &Path) -> Outcome<PathBuf> {
        self.home.export_to(what, file)
    }

    /// An empty directory beside the programs, for what a person may look at afterwards.
    pub(super) fn pictures_directory(&self) -> Outcome<PathBuf> {
        let program = self.home.program("secluso-app");
        let beside = program.and_then(Path::parent);
        let beside = beside.ok_or_else(|| Failure::found("the programs lie nowhere"))?;
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
        std::fs::write(
            self.home.directory().join("printed.log"),
            printed.join("\n"),
        )
        .because("cannot write printed.log")?;
        let directory = self.home.path("")?;
        let mut search = self
            .home
            .command("secluso-crashtest", &["canaries", &directory])?;
        let output = search.output().because("cannot start secluso-crashtest")?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        Err(Failure::found(format!("a secret was given away: {said}")))
    }
}

fn clips(answer: &Value, outcome_key: &str) -> Outcome<Vec<Clip>> {
    rows(answer, "clips")
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
