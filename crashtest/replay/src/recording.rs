//! A real conversation of relay, hub and app with the recorder preloaded into all of them.
//!
//! This room starts the programs as their owner would and only adds the recorder's environment.
//! It must never judge what they did.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use crashtest::process::{Line, Process, Role, Start};
use crashtest::system::{PATIENCE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};

use crate::steps::{Story, story};
use crate::tree::{Inodes, Tree};

/// Where the recorder lies: beside the programs.
///
/// # Errors
/// It is not there; the text says what to run.
pub fn library() -> Outcome<PathBuf> {
    crashtest::fault::library(&Role::Hub.path()?).map_err(Trouble::Broken)
}

/// A world whose programs are recorded from their first start on.
pub struct Recording {
    system: System,
    /// Words before the program, for the one that is watched by something else as well.
    pub wrapper: BTreeMap<Role, Vec<OsString>>,
    /// What the relay, which needs a directory before it is recorded, had in it.
    relay_before: (Tree, Inodes),
}

impl Recording {
    /// A running, recorded relay; hub and app do not exist yet.
    ///
    /// # Errors
    /// A program failed, or is not built.
    pub fn new(setup: Setup) -> Outcome<Self> {
        library()?;
        let mut system = System::new(setup)?.traced();
        system.make_relay()?;
        system.stop(Role::Relay)?;
        // Once more, so that its configuration has the port it got.
        system.start_relay()?;
        system.stop(Role::Relay)?;
        system.write_hub_config()?;
        let relay_before = Tree::read(&system.path("relay/data"))
            .map_err(Trouble::machine("the relay's directory"))?;
        let mut recording = Self {
            system,
            wrapper: BTreeMap::new(),
            relay_before,
        };
        recording.start(Role::Relay)?;
        Ok(recording)
    }

    /// The world.
    #[must_use]
    pub fn system(&self) -> &System {
        &self.system
    }

    /// The world, to act in.
    pub fn system_mut(&mut self) -> &mut System {
        &mut self.system
    }

    /// The directory of a program that is recorded.
    #[must_use]
    pub fn root(&self, role: Role) -> PathBuf {
        self.system.path(match role {
            Role::Relay => "relay/data",
            Role::Hub => "hub",
            Role::App => "app",
        })
    }

    /// What was in that directory before the first recorded process.
    #[must_use]
    pub fn before(&self, role: Role) -> (Tree, Inodes) {
        match role {
            Role::Relay => self.relay_before.clone(),
            Role::Hub | Role::App => (Tree::default(), Inodes::default()),
        }
    }

    /// The trace of all processes of a program.
    #[must_use]
    pub fn trace(&self, role: Role) -> PathBuf {
        self.system.path(&format!("{role}.iotrace"))
    }

    /// A start with the recorder in it.
    ///
    /// # Errors
    /// The recorder is not built.
    pub fn recorded(&self, role: Role, words: &[&str]) -> Outcome<Start> {
        let mut start = Start::with(words);
        start.wrapper = self.wrapper.get(&role).cloned().unwrap_or_default();
        let mut set = |name: &str, value: OsString| {
            start.environment.push((name.to_owned(), value));
        };
        set("LD_PRELOAD", library()?.into());
        set("SECLUSO_RECORD_ROOT", self.root(role).into());
        set("SECLUSO_RECORD_TRACE", self.trace(role).into());
        let marks = self.system.path(&format!("{role}.marks"));
        set("SECLUSO_RECORD_MARKS", marks.into());
        if let Some(kib) = self.system.setup.log_kib {
            set("SECLUSO_CRASH_LOG_KIB", kib.to_string().into());
        }
        Ok(start)
    }

    fn words(&self, role: Role) -> Vec<String> {
        let text = |name: &str| self.system.path(name).to_string_lossy().into_owned();
        let own = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match role {
            Role::Relay => own(&["run", "--config", &text("relay/relay.toml"), "--json"]),
            Role::Hub => own(&["run", "--config", &text("hub.toml"), "--json"]),
            Role::App => self.system.app_words(&["sync", "--follow", "--json"]),
        }
    }

    /// Starts a program and waits until it says that it is up; the app says nothing then.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&mut self, role: Role) -> Outcome<()> {
        let words = self.words(role);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = self.recorded(role, &words)?;
        let from = self.system.spawn(role, &start)?;
        let event = match role {
            Role::Relay => "listening",
            Role::Hub => "ready",
            Role::App => return Ok(()),
        };
        let up = |line: &Line| line.role == role && line.event() == event;
        self.system.until_line("a start", from, up).map(drop)
    }

    /// Pairs hub and app, both recorded.
    ///
    /// # Errors
    /// One of them failed.
    pub fn pair(&mut self) -> Outcome<()> {
        let config = self.system.path("hub.toml").to_string_lossy().into_owned();
        let start = self.recorded(Role::Hub, &["pair", "--config", &config, "--json"])?;
        let board = std::sync::Arc::clone(self.system.board());
        let from = board.len();
        let log = self.system.path("hub-pair.log");
        let mut hub = Process::start(Role::Hub, &start, &board, &log)?;
        let offer = self.system.until_line("an offer", from, |line| {
            line.role == Role::Hub && line.event() == "offer"
        })?;
        let words = self.system.app_words(&["pair", "-", "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut start = self.recorded(Role::App, &words)?;
        start.input = offer.text("qr").to_owned();
        let answer = self.system.ask_started(Role::App, &start)?;
        if !answer.status.success() {
            return Err(Trouble::Ended {
                role: Role::App,
                status: answer.status,
                said: answer.said,
            });
        }
        let status = hub.wait(PATIENCE)?;
        if status.success() {
            Ok(())
        } else {
            Err(hub.trouble(status))
        }
    }

    /// Waits until the hub has recorded so many more clips and the app has acked all of them.
    ///
    /// # Errors
    /// It does not happen in time.
    pub fn play(&mut self, clips: usize) -> Outcome<()> {
        let board = std::sync::Arc::clone(self.system.board());
        let finished = move || {
            let lines = board.lines();
            lines
                .iter()
                .filter(|line| line.role == Role::Hub && line.event() == "clip_finished")
                .count()
        };
        let wanted = finished() + clips;
        self.system
            .until("clips and their acks", PATIENCE, |system| {
                if finished() < wanted {
                    return Ok(None);
                }
                let status = system.hub_status()?;
                Ok((status.unacked_envelopes == 0 && !status.recording).then_some(()))
            })
    }

    /// Waits until the app has media of an event that the hub begins from now on.
    ///
    /// # Errors
    /// It does not happen in time.
    pub fn into_an_event(&mut self) -> Outcome<()> {
        let from = self.system.board().len();
        let started = |line: &Line| line.role == Role::Hub && line.event() == "clip_started";
        self.system.until_line("an event", from, started)?;
        let from = self.system.board().len();
        let media = |line: &Line| line.role == Role::App && line.event() == "media";
        self.system.until_line("its media", from, media).map(drop)
    }

    /// Has the app delete its first clip; it does not run.
    ///
    /// # Errors
    /// There is none, or the app failed.
    pub fn delete_a_clip(&mut self) -> Outcome<()> {
        let nothing = || Trouble::Broken("there is no clip to delete".to_owned());
        let lines = self.system.board().lines();
        let of_app = |line: &&Line| line.role == Role::App && line.event() == "clip";
        let clip = lines.iter().find(of_app).ok_or_else(nothing)?;
        let words = self
            .system
            .app_words(&["delete", clip.text("clip"), "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut start = self.recorded(Role::App, &words)?;
        // From here on the clip may be missing; the program itself says nothing of it beforehand.
        let say = format!(
            "echo deleting {} >> \"$SECLUSO_RECORD_MARKS\"; exec \"$@\"",
            clip.text("clip")
        );
        start.wrapper = ["sh", "-c", &say, "sh"].map(OsString::from).to_vec();
        let answer = self.system.ask_started(Role::App, &start)?;
        if answer.status.success() {
            return Ok(());
        }
        Err(Trouble::Ended {
            role: Role::App,
            status: answer.status,
            said: answer.said,
        })
    }

    /// Has the app give a command, and send it; it does not run otherwise. Hub and relay do.
    ///
    /// # Errors
    /// The app failed.
    pub fn order(&mut self, words: &[&str]) -> Outcome<()> {
        let words = self.system.app_words(&[words, &["--json"]].concat());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = self.recorded(Role::App, &words)?;
        let answer = self.system.ask_started(Role::App, &start)?;
        if answer.status.success() {
            return Ok(());
        }
        Err(Trouble::Ended {
            role: Role::App,
            status: answer.status,
            said: answer.said,
        })
    }

    /// The crash points that a program passed, over all its processes.
    ///
    /// # Errors
    /// It left no trace of them.
    pub fn passed(&self, role: Role) -> Outcome<BTreeSet<String>> {
        let file = self.system.path(&format!("trace.{role}"));
        let text = std::fs::read_to_string(&file).map_err(Trouble::machine("a trace of points"))?;
        let names = text.lines().filter_map(|line| line.split_once(' '));
        Ok(names.map(|(name, _)| name.to_owned()).collect())
    }

    /// Stops a program politely.
    ///
    /// # Errors
    /// It did not end well.
    pub fn stop(&mut self, role: Role) -> Outcome<()> {
        self.system.stop(role)
    }

    /// What a program did, from its first recorded process on.
    ///
    /// # Errors
    /// The trace cannot be read.
    pub fn story(&self, role: Role) -> Outcome<Story> {
        let bytes = std::fs::read(self.trace(role)).map_err(Trouble::machine("a trace"))?;
        let (records, error) = crashtest_trace::read(&bytes);
        if let Some(error) = error {
            return Err(Trouble::Broken(format!("the trace of {role}: {error}")));
        }
        let (before, inodes) = self.before(role);
        story(before, inodes, &records)
            .map_err(|error| Trouble::Broken(format!("the trace of {role}: {error}")))
    }
}
