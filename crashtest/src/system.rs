//! A relay, a hub and an app in a temporary directory, run as their owner would run them.
//!
//! This room knows the programs' command lines, configuration and JSON. It must never judge: what
//! the ends say is collected as [`Ends`](crate::oracle::Ends) and judged by the oracle.
//!
//! A [`Crash`] may be planted: one kind of program is then started with `SECLUSO_CRASH_AT` until
//! it died of it once; every step here notices that death, starts the program again as its owner
//! would, and goes on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::notes::Notes;
use crate::oracle::{Broken, Clip};
use crate::process::{Board, Process, Role, Start};
use crate::trouble::{Outcome, Trouble};

mod faults;
mod guest;
mod live;
mod pairing;
mod passing;
mod phones;
mod rest;
mod running;
mod secrecy;
mod stock;

pub use faults::Met;
pub use phones::{FIRST_PHONE, LOST_PHONE, SECOND_PHONE};
pub use stock::Stock;

use faults::Fault;

/// What any single step may take on a loaded small machine. Every wait ends earlier if what it
/// waits for happens.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The longest pause between two looks when no program says anything.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How often one pairing is tried when a planted crash interrupts it.
const PAIR_ATTEMPTS_MAX: u32 = 4;

/// The camera's name, which hub and phone tell whoever asks, and the relay never hears.
pub const CAMERA: &str = "gate-kestrel-71";

/// What the camera plays, and sizes.
#[derive(Clone, Debug)]
pub struct Setup {
    /// An H.264 MP4.
    pub clip: PathBuf,
    /// How often the hub plays it; 0 is for ever.
    pub passes: u32,
    /// Between two passes.
    pub gap_seconds: f64,
    /// What one account may store at the relay, in MiB.
    pub quota_mib: u32,
    /// The part of it that only small envelopes may use, in MiB.
    pub reserved_mib: u32,
    /// Lines right behind the camera's table, such as tables of its own.
    pub camera_extra: String,
    /// Lines of the hub's configuration before its first table.
    pub hub_first: String,
    /// Lines after the hub's configuration.
    pub hub_extra: String,
    /// Passwords that the configuration leads to, which must stand nowhere that a program writes.
    pub passwords: Vec<String>,
    /// Size of the hub's log files in MiB, as its configuration says it.
    pub hub_log_mib: u32,
    /// What all three log, as `SECLUSO_LOG` says it; `None` is what they do by themselves.
    pub log: Option<String>,
    /// Size of the log files of all three, in KiB; `None` is what their configuration says.
    pub log_kib: Option<u32>,
    /// After how many seconds a phone that the hub does not hear of is silent, and is removed, instead of days.
    pub silence_s: Option<(u64, u64)>,
    /// A deliberate bug that is alive in all three.
    pub mutant: Option<String>,
    /// Whether a clip may be missing by a statement of the hub: only for those who damage payloads, or whose hub
    /// has a budget.
    pub drops_allowed: bool,
    /// How long a wait may take.
    pub patience: Duration,
    /// What runs in the relay's place, if it is another program: an attacker. Keys and invitations are made
    /// by the relay's own program.
    pub relay_program: Option<PathBuf>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            clip: short_clip(),
            passes: 2,
            gap_seconds: 0.1,
            quota_mib: 64,
            reserved_mib: 1,
            camera_extra: String::new(),
            hub_first: String::new(),
            hub_extra: String::new(),
            passwords: Vec::new(),
            hub_log_mib: 4,
            log: None,
            log_kib: None,
            silence_s: None,
            mutant: None,
            drops_allowed: false,
            patience: PATIENCE,
            relay_program: None,
        }
    }
}

/// A noisy test pattern of 0.8 s and 97 kB, so that a test waits for little.
#[must_use]
pub fn short_clip() -> PathBuf {
    checkout().join("crashtest/testdata/short.mp4")
}

/// 20 s of people walking, 1 MB: the demo's clip.
#[must_use]
pub fn people_clip() -> PathBuf {
    checkout().join("hub/testdata/people-20s.mp4")
}

/// The checkout that this program runs in. Cargo says so at run time, to whatever it starts and to their children;
/// what it said at compile time may be of another checkout that shares the target directory and is gone.
fn checkout() -> PathBuf {
    let compiled_in = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run_in = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = run_in.as_deref().unwrap_or(compiled_in);
    let root = package
        .ancestors()
        .find(|at| at.join("crashtest/testdata").is_dir());
    root.map_or_else(|| compiled_in.join(".."), Path::to_path_buf)
}

/// A planted crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Which program dies.
    pub role: Role,
    /// At which crash point.
    pub point: String,
    /// At which hit within one process, from 1.
    pub hit: u64,
}

/// What a program that ran to its end left.
#[derive(Clone, Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub lines: Vec<Value>,
    /// What it wrote to stderr.
    pub said: String,
}

impl Answer {
    /// The exit code; -1 if a signal ended it.
    #[must_use]
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }
}

/// What the running hub says about itself and its pairing.
#[derive(Clone, Debug)]
pub struct HubStatus {
    /// A clip is being recorded.
    pub recording: bool,
    /// The epoch of the event-video group.
    pub epoch: u64,
    /// Envelopes in the outbox.
    pub unacked_envelopes: u64,
    /// Their bytes.
    pub unacked_bytes: u64,
    /// The relay gave a receipt through this number.
    pub stored_through: u64,
    /// The app acked through this number.
    pub acked_through: u64,
    /// Whether its event videos may be sent: `good`, or what stands against it.
    pub standing: String,
    /// Removed phones of which the relay was not told yet.
    pub relay_not_told: u64,
    /// All clips that the hub remembers.
    pub clips: Vec<Clip>,
}

#[derive(Clone, Debug)]
struct RelayAddress {
    /// `127.0.0.1:port`, for a restart.
    listen: String,
    /// `host:port/id`, for the hub.
    relay: String,
}

/// The small world of one test.
pub struct System {
    root: PathBuf,
    /// Cleaned up with the world, unless it belongs to a [`Stock`].
    directory: Option<TempDir>,
    board: Arc<Board>,
    /// What the next configuration of relay and hub will say.
    pub setup: Setup,
    address: Option<RelayAddress>,
    /// The hub's invitation to the relay.
    pub invitation: String,
    /// Every one that the relay made, for the search whether one was written anywhere.
    invitations: BTreeSet<String>,
    running: BTreeMap<Role, Process>,
    /// Crashes still to come, in this order.
    planted: VecDeque<Crash>,
    deaths: u32,
    /// An operation that is to fail in one of the programs.
    fault: Option<Fault>,
    deleted: BTreeSet<String>,
    /// The directory of the phone that is asked now.
    phone: &'static str,
    /// Clips of phones that were removed.
    removed: BTreeSet<String>,
    /// What the conversation found to be broken.
    seen: Vec<Broken>,
    tracing: Tracing,
    /// What a wait saw last, for its failure.
    last_look: String,
    /// Where every `pair` of this hub listens, so that a code still leads there after a restart.
    pairing_port: u16,
    /// Every code that was shown, for the search whether one was written anywhere.
    codes: Vec<String>,
    /// What programs answered, for the same, as lines of JSON.
    answers: BTreeMap<Role, String>,
    /// Every storage key that was seen in a vault while this world ran, for the same.
    storage_keys: BTreeSet<Vec<u8>>,
}

/// Whether the programs write down their crash points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tracing {
    /// Nothing is written.
    Off,
    /// `trace.ROLE` has a line for each hit, `points.ROLE` one for each point that is linked in.
    On,
}

impl System {
    /// An empty world.
    ///
    /// # Errors
    /// No temporary directory can be made.
    pub fn new(setup: Setup) -> Outcome<Self> {
        let directory = temporary()?;
        let pairing_port = free_port()?;
        Ok(Self {
            root: directory.path().to_owned(),
            directory: Some(directory),
            board: Arc::new(Board::default()),
            setup,
            address: None,
            invitation: String::new(),
            invitations: BTreeSet::new(),
            running: BTreeMap::new(),
            planted: VecDeque::new(),
            deaths: 0,
            fault: None,
            deleted: BTreeSet::new(),
            phone: FIRST_PHONE,
            removed: BTreeSet::new(),
            seen: Vec::new(),
            tracing: Tracing::Off,
            last_look: String::new(),
            pairing_port,
            codes: Vec::new(),
            answers: BTreeMap::new(),
            storage_keys: BTreeSet::new(),
        })
    }

    /// A world that somebody else has made in `root` and of which nothing runs, laid out as ours are: for
    /// [`Self::finish`]. It is left where it is.
    ///
    /// # Errors
    /// The machine.
    pub fn made_elsewhere(root: &Path) -> Outcome<Self> {
        let mut system = Self::new(Setup::default())?;
        system.root = root.to_owned();
        Ok(system)
    }

    /// A world with a running relay, and hub and app paired; neither runs.
    ///
    /// # Errors
    /// Any step of it.
    pub fn paired(setup: Setup) -> Outcome<Self> {
        let mut system = Self::new(setup)?;
        system.make_relay()?;
        system.write_hub_config()?;
        system.pair()?;
        Ok(system)
    }

    /// Plants a crash, after those that are planted already.
    #[must_use]
    pub fn planted(mut self, crash: Crash) -> Self {
        self.planted.push_back(crash);
        self
    }

    /// Lets the programs write down their crash points.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.tracing = Tracing::On;
        self
    }

    /// Whether a planted crash has happened.
    #[must_use]
    pub fn died(&self) -> bool {
        self.deaths > 0
    }

    /// How many planted crashes have happened.
    #[must_use]
    pub fn deaths(&self) -> u32 {
        self.deaths
    }

    /// What a program has noted for the oracle so far: of the app, what every phone has.
    #[must_use]
    pub fn notes(&self, role: Role) -> Notes {
        let own = Notes::read(&self.path(&format!("notes.{role}")));
        let others = self.other_notes(role).into_iter();
        others.fold(own, |own, file| own.beside(Notes::read(&file)))
    }

    /// What hub, app and relay have noted so far, in the order in which the oracle wants them.
    #[must_use]
    pub fn all_notes(&self) -> [Notes; 3] {
        [Role::Hub, Role::App, Role::Relay].map(|role| self.notes(role))
    }

    /// A path in the world's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Everything said so far.
    #[must_use]
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The running program of a kind.
    ///
    /// # Errors
    /// It is not running: a mistake of the test.
    pub fn process(&mut self, role: Role) -> Outcome<&mut Process> {
        self.running
            .get_mut(&role)
            .ok_or_else(|| Trouble::Broken(format!("the test has no running {role}")))
    }

    // ----- the relay ------------------------------------------------------------------------

    /// Makes a relay, starts it and gets an invitation for the hub.
    ///
    /// # Errors
    /// A program failed.
    pub fn make_relay(&mut self) -> Outcome<()> {
        let place = self.text("relay");
        self.ask_ok(Role::Relay, &["init", &place, "--json"])?;
        self.start_relay()?;
        self.invitation = self.invite("hub", "1h")?;
        Ok(())
    }

    /// An invitation from the relay.
    ///
    /// # Errors
    /// The relay's program failed.
    pub fn invite(&mut self, class: &str, ttl: &str) -> Outcome<String> {
        let config = self.text("relay/relay.toml");
        let words = [
            "invite", "--config", &config, "--class", class, "--ttl", ttl, "--json",
        ];
        let answer = self.ask_ok(Role::Relay, &words)?;
        let text = answer
            .lines
            .last()
            .and_then(|line| line.get("invitation")?.as_str());
        let text = text.ok_or_else(|| contract(Role::Relay, "no invitation"))?;
        self.invitations.insert(text.to_owned());
        Ok(text.to_owned())
    }

    /// Starts the relay, on its old port if it had one.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_relay(&mut self) -> Outcome<()> {
        let listen = match &self.address {
            Some(address) => address.listen.clone(),
            None => format!("127.0.0.1:{}", free_port()?),
        };
        let values = [
            ("listen", quoted(&listen)),
            ("account_mib", self.setup.quota_mib.to_string()),
            ("reserved_mib", self.setup.reserved_mib.to_string()),
            ("log_file_mib", "4".to_owned()),
        ];
        let file = self.path("relay/relay.toml");
        let sample = std::fs::read_to_string(&file).map_err(Trouble::machine("relay.toml"))?;
        std::fs::write(&file, with_values(&sample, &values))
            .map_err(Trouble::machine("relay.toml"))?;
        let config = self.text("relay/relay.toml");
        let start = Start::with(&["run", "--config", &config, "--json"]);
        let line = self.start_until(Role::Relay, &start, "listening")?;
        self.address = Some(RelayAddress {
            listen: line.text("addr").to_owned(),
            relay: line.text("relay").to_owned(),
        });
        Ok(())
    }

    /// Deletes everything that the stopped relay stored, and what it noted of that. Its configuration
    /// and key stay.
    ///
    /// # Errors
    /// The machine.
    pub fn wipe_relay(&self) -> Outcome<()> {
        let notes = self.path(&format!("notes.{}", Role::Relay));
        std::fs::remove_dir_all(self.path("relay/data"))
            .and_then(|()| std::fs::remove_file(notes))
            .map_err(Trouble::machine("wiping the relay"))
    }

    /// Another relay in the place of the one that is stopped, at another port, with a key of its own and nothing
    /// stored. The hub's configuration names it; the hub does not run.
    ///
    /// # Errors
    /// The machine, or the relay's program.
    pub fn replace_relay(&mut self) -> Outcome<()> {
        let notes = self.path(&format!("notes.{}", Role::Relay));
        std::fs::rename(self.path("relay"), self.path("former-relay"))
            .and_then(|()| std::fs::remove_file(notes))
            .map_err(Trouble::machine("putting the old relay aside"))?;
        self.address = None;
        self.make_relay()?;
        self.write_hub_config()
    }

    // ----- the hub --------------------------------------------------------------------------

    /// Writes the hub's configuration without any camera: what a phone orders then meets no event.
    ///
    /// # Errors
    /// The machine.
    pub fn write_hub_config_without_camera(&self) -> Outcome<()> {
        self.write_hub_config_with("")
    }

    /// Writes the hub's configuration from [`Self::setup`].
    ///
    /// # Errors
    /// The machine.
    pub fn write_hub_config(&self) -> Outcome<()> {
        self.write_hub_config_with(&format!("[camera]\n{}", self.camera_keys()))
    }

    /// The same with one more camera, of which these are the keys.
    ///
    /// # Errors
    /// The machine.
    pub fn write_hub_config_beside(&self, other: &str) -> Outcome<()> {
        let own = self.camera_keys();
        self.write_hub_config_with(&format!("[[camera]]\n{own}[[camera]]\n{other}\n"))
    }

    fn camera_keys(&self) -> String {
        let setup = &self.setup;
        format!(
            "name = {}\nkind = \"file\"\npath = {}\ngap_seconds = {:?}\npasses = {}\n{}\n",
            quoted(CAMERA),
            quoted(&setup.clip.to_string_lossy()),
            setup.gap_seconds,
            setup.passes,
            setup.camera_extra,
        )
    }

    /// The same with these sections about cameras, or with none.
    ///
    /// # Errors
    /// The machine.
    pub fn write_hub_config_with(&self, camera: &str) -> Outcome<()> {
        let relay = self.address.as_ref().map_or("", |address| &address.relay);
        let config = format!(
            "state_dir = {}\nrelay = {}\ninvitation = {}\n{}\n\
             [pairing]\nlisten = \"127.0.0.1:{}\"\naddresses = [\"127.0.0.1\"]\n\n\
             {camera}[disk]\nlog_file_mib = {}\n{}",
            quoted(&self.text("hub")),
            quoted(relay),
            quoted(&self.invitation),
            self.setup.hub_first,
            self.pairing_port,
            self.setup.hub_log_mib,
            self.setup.hub_extra,
        );
        std::fs::write(self.path("hub.toml"), config).map_err(Trouble::machine("hub.toml"))
    }

    /// Starts the hub and waits until it is ready.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start_hub(&mut self) -> Outcome<()> {
        let config = self.text("hub.toml");
        let start = Start::with(&["run", "--config", &config, "--json"]);
        self.start_until(Role::Hub, &start, "ready").map(drop)
    }

    /// Asks the hub's program something: the last object that it answers.
    ///
    /// # Errors
    /// It ended with another code than 0.
    pub fn ask_hub(&mut self, words: &[&str]) -> Outcome<Value> {
        let config = self.text("hub.toml");
        let words = [words, &["--config", &config, "--json"]].concat();
        let answer = self.ask_ok(Role::Hub, &words)?;
        Ok(answer.lines.last().cloned().unwrap_or_default())
    }

    /// Asks the running hub, which has one phone.
    ///
    /// # Errors
    /// It does not run, or its answer is not what the contract says.
    pub fn hub_status(&mut self) -> Outcome<HubStatus> {
        let answer = self.ask_hub(&["status"])?;
        let pairings = answer.get("pairings").and_then(Value::as_array);
        let Some([pairing]) = pairings.map(Vec::as_slice) else {
            return Err(contract(
                Role::Hub,
                &format!("not exactly one pairing: {answer}"),
            ));
        };
        Ok(HubStatus {
            recording: answer
                .get("recording")
                .and_then(Value::as_bool)
                .unwrap_or_default(),
            epoch: number(Role::Hub, pairing, "epoch")?,
            unacked_envelopes: number(Role::Hub, pairing, "unacked_envelopes")?,
            unacked_bytes: number(Role::Hub, pairing, "unacked_bytes")?,
            stored_through: number(Role::Hub, pairing, "stored_through")?,
            acked_through: number(Role::Hub, pairing, "acked_through")?,
            standing: pairing
                .get("standing")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            relay_not_told: number(Role::Hub, &answer, "relay_not_told")?,
            clips: clips(Role::Hub, &answer, "outcome")?,
        })
    }

    // ----- the app --------------------------------------------------------------------------

    /// The app's arguments with the directory of the phone that is asked in front.
    #[must_use]
    pub fn app_words(&self, words: &[&str]) -> Vec<String> {
        let mut all = vec!["--dir".to_owned(), self.text(self.phone)];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }

    /// Starts the app, following.
    ///
    /// # Errors
    /// The machine.
    pub fn start_app(&mut self) -> Outcome<()> {
        let words = self.app_words(&["sync", "--follow", "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.spawn(Role::App, &Start::with(&words)).map(drop)
    }

    /// Asks the app something while no sync runs.
    ///
    /// # Errors
    /// It ended with another code than 0.
    pub fn ask_app(&mut self, words: &[&str]) -> Outcome<Answer> {
        let words = self.app_words(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask_ok(Role::App, &words)
    }

    /// The clips that the app has; no sync may run.
    ///
    /// # Errors
    /// As [`Self::ask_app`].
    pub fn app_clips(&mut self) -> Outcome<Vec<Clip>> {
        let answer = self.ask_app(&["clips", "--json"])?;
        clips(
            Role::App,
            &answer.lines.last().cloned().unwrap_or_default(),
            "state",
        )
    }

    /// Has the app delete a clip; no sync may run.
    ///
    /// # Errors
    /// As [`Self::ask_app`].
    pub fn delete_clip(&mut self, clip: &str) -> Outcome<()> {
        self.ask_app(&["delete", clip, "--json"])?;
        self.deleted.insert(clip.to_owned());
        Ok(())
    }

    /// Has the app delete the first clip that it has; no sync may run. One that a crash has
    /// deleted already counts.
    ///
    /// # Errors
    /// As [`Self::ask_app`]; there is none.
    pub fn delete_first_clip(&mut self) -> Outcome<()> {
        let clips = self.app_clips()?;
        let Some(first) = clips.first() else {
            return Err(contract(Role::App, "no clip to delete"));
        };
        self.deleted.insert(first.id.clone());
        match self.ask_app(&["delete", &first.id, "--json"]) {
            // "No such clip": the process died after the deletion was durable.
            Err(trouble) if self.died() && trouble.exit_code() == Some(2) => Ok(()),
            result => result.map(drop),
        }
    }
}

impl Drop for System {
    fn drop(&mut self) {
        self.running.clear();
        if self.directory.is_some() && std::env::var_os("SECLUSO_KEEP").is_some() {
            eprintln!("kept: {}", self.root.display());
        }
    }
}

/// A port for programs that come back to theirs: below those that the system gives to whoever asks for any,
/// so that only another harness could take it meanwhile, which begins elsewhere.
fn free_port() -> Outcome<u16> {
    /// Below Linux's own range, 32768 to 60999, where nobody has changed that.
    const PORTS: std::ops::Range<u32> = 12_000..32_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = PORTS.end - PORTS.start;
    // A multiplicative hash (Knuth): neighbouring process ids begin far from each other.
    let begin = std::process::id().wrapping_mul(2_654_435_769) >> 12;
    for _try in 0..count {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let offset = begin.wrapping_add(next) % count;
        let port = u16::try_from(PORTS.start + offset).unwrap_or(u16::MAX);
        if std::net::UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    Err(Trouble::Broken("this machine has no free port".to_owned()))
}

/// A directory that is kept if `SECLUSO_KEEP` says so, for whoever looks into a failure.
fn temporary() -> Outcome<TempDir> {
    let mut directory = tempfile::Builder::new()
        .prefix("secluso-crashtest-")
        .tempdir()
        .map_err(Trouble::machine("a temporary directory"))?;
    directory.disable_cleanup(std::env::var_os("SECLUSO_KEEP").is_some());
    Ok(directory)
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The lines `key = ...` of a configuration with other values; everything else stays.
fn with_values(sample: &str, values: &[(&str, String)]) -> String {
    let mut edited = String::new();
    for line in sample.lines() {
        let key = line.split('=').next().unwrap_or_default().trim();
        match values.iter().find(|(name, _)| *name == key) {
            Some((name, value)) => edited.push_str(&format!("{name} = {value}\n")),
            None => edited.push_str(&format!("{line}\n")),
        }
    }
    edited
}

fn contract(role: Role, said: &str) -> Trouble {
    Trouble::Contract {
        role,
        said: said.to_owned(),
    }
}

fn number(role: Role, value: &Value, key: &str) -> Outcome<u64> {
    let found = value.get(key).and_then(Value::as_u64);
    found.ok_or_else(|| contract(role, &format!("`{key}` is missing in {value}")))
}

fn clips(role: Role, answer: &Value, outcome_key: &str) -> Outcome<Vec<Clip>> {
    let missing = |key: &str| contract(role, &format!("`{key}` is missing in {answer}"));
    let rows = answer
        .get("clips")
        .and_then(Value::as_array)
        .ok_or_else(|| missing("clips"))?;
    let clip = |row: &Value| {
        let text = |key: &str| row.get(key).and_then(Value::as_str).map(str::to_owned);
        Ok(Clip {
            id: text("clip").ok_or_else(|| missing("clip"))?,
            outcome: text(outcome_key).ok_or_else(|| missing(outcome_key))?,
            bytes: number(role, row, "bytes")?,
            sha256: text("sha256"),
        })
    };
    rows.iter().map(clip).collect()
}
