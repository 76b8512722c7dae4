//! This program as its own child: work whose memory or system calls are looked at from outside.
//!
//! A child is told its task by the environment, so that its arguments are free for the relay's own
//! command line. It must never do anything but that one task.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use journal::ids::PairingId;

use crate::whole::player;
use crate::{Outcome, epoch, procfs, seal};

/// A child says this before and after what is counted.
pub(crate) const BEGIN: &str = "secluso-bench-begin";
/// See [`BEGIN`].
pub(crate) const END: &str = "secluso-bench-end";

const TASK: &str = "SECLUSO_BENCH_CHILD";

/// What a child does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Task {
    /// First bytes of events, with a mark around each.
    FirstBytes,
    /// Seals clips, then prints its own memory as JSON.
    Seal,
    /// Is the relay.
    Relay,
    /// Is a camera.
    Player,
}

impl Task {
    const ALL: [Self; 4] = [Self::FirstBytes, Self::Seal, Self::Relay, Self::Player];

    fn name(self) -> &'static str {
        match self {
            Self::FirstBytes => "first-bytes",
            Self::Seal => "seal",
            Self::Relay => "relay",
            Self::Player => "player",
        }
    }

    /// What `env` has to put into the environment for it, for whoever starts this program by a configuration.
    pub(crate) fn assignment(self) -> String {
        format!("{TASK}={}", self.name())
    }

    /// This program with this task and nothing else.
    pub(crate) fn bare_command(self) -> Outcome<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.env(TASK, self.name());
        Ok(command)
    }

    /// A child that works `count` times on the paired hub in `dir`.
    pub(crate) fn command(self, dir: &Path, pairing: PairingId, count: u32) -> Outcome<Command> {
        let mut command = self.bare_command()?;
        command
            .arg(dir)
            .arg(pairing.to_hex())
            .arg(count.to_string());
        Ok(command)
    }
}

/// If this process is a child: does its task and gives the exit code.
pub(crate) fn run_if_child() -> Option<ExitCode> {
    let name = std::env::var(TASK).ok()?;
    let task = Task::ALL.into_iter().find(|task| task.name() == name)?;
    if task == Task::Relay {
        return Some(relay::cli::main());
    }
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let ended = match task {
        Task::Player => player::play(&arguments),
        _ => run(task, &arguments),
    };
    let code = match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench child: {error}");
            ExitCode::FAILURE
        }
    };
    Some(code)
}

fn run(task: Task, arguments: &[OsString]) -> Outcome<()> {
    let [dir, pairing, count] = arguments else {
        return Err("a child takes a directory, a pairing and a count".into());
    };
    let dir = PathBuf::from(dir);
    let pairing = pairing
        .to_str()
        .and_then(PairingId::from_hex)
        .ok_or("no pairing id")?;
    let count = count
        .to_str()
        .and_then(|text| text.parse().ok())
        .ok_or("no count")?;
    match task {
        Task::FirstBytes => epoch::only_first_bytes(&dir, pairing, count),
        Task::Seal => {
            seal::only_seal(&dir, pairing, count)?;
            println!("{}", serde_json::to_string(&procfs::memory("self")?)?);
            Ok(())
        }
        Task::Relay | Task::Player => Ok(()),
    }
}
