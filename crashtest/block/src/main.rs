//! `crashtest-block`: record a session on a real ext4, cut its power everywhere, repeat one state.
//!
//! This room is the command line only: arguments in, reports out, an exit code. It must never end with
//! 0 if a state was fatal or refused, or if nothing was tested because the machine cannot.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use crashtest::process::Role;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_block::machine::{self, Machine, NOT_COVERED};
use crashtest_block::opener::Opener;
use crashtest_block::report::Report;
use crashtest_block::serve::{Duty, Server, read_log, serve};
use crashtest_block::session::{Session, Wanted, is_recorded, log_of, record};
use crashtest_block::sweep::{Plan, sweep};
use crashtest_block::{keep, mounts, vacuity};
use crashtest_replay::check::Subject;
use crashtest_replay::conversation::load;
use crashtest_replay::ends::Peer;
use serde_json::json;

/// Of so many disks one also talks with its peer.
const TALKS_EVERY: u32 = 20;
/// Size of the log files in KiB, if nothing else is said.
const LOG_KIB: u32 = 512;

/// Power cuts on a real ext4. Needs root, FUSE and loop devices. Exit codes: 0 every state was good; 1
/// a state was fatal or refused; 2 the harness failed; 77 not covered, because this machine cannot.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Record a session on ext4 (or take a recording) and open every disk that a power cut could leave.
    Run(Run),
    /// Mount and open a fatal state once more.
    Check {
        /// What a run kept.
        directory: PathBuf,
    },
    /// The drive; a run starts it for itself.
    #[command(hide = true)]
    Serve {
        #[arg(long)]
        home: PathBuf,
        /// A disk of so many bytes that is recorded.
        #[arg(long)]
        bytes: Option<u64>,
        /// The log whose states are shown.
        #[arg(long)]
        log: Option<PathBuf>,
    },
}

#[derive(Args)]
struct Run {
    /// Different disks to open.
    #[arg(long, default_value_t = u64::MAX)]
    states: u64,
    /// Stop after so many minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// The time or number of states is the plan: epochs that it does not reach are no failure.
    #[arg(long)]
    open_ended: bool,
    /// For the states that are chosen by dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// `2/8` is the third of eight machines that share the work on one recording.
    #[arg(long, default_value = "0/1", value_parser = shard)]
    shard: (u32, u32),
    /// Go on where this file says and write down there how far this run comes; with --recording.
    #[arg(long, requires = "recording")]
    resume: Option<PathBuf>,
    /// Write the totals to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where fatal states are kept.
    #[arg(long, default_value = "failed-disks")]
    keep: PathBuf,
    /// Use the recording in this directory; if there is none, make it there.
    #[arg(long)]
    recording: Option<PathBuf>,
    /// Whose directory lies on the ext4.
    #[arg(long, default_value = "hub")]
    role: RoleName,
    /// Events between two restarts.
    #[arg(long, default_value_t = 8)]
    events: usize,
    /// Size of the log files in KiB; small, so that checkpoints and used files come.
    #[arg(long, default_value_t = LOG_KIB)]
    log_kib: u32,
}

#[derive(Clone, Copy, ValueEnum)]
enum RoleName {
    /// `secluso-hub`.
    Hub,
    /// `secluso-app`.
    App,
}

fn shard(text: &str) -> Result<(u32, u32), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(rest, of)| Some((rest.parse().ok()?, of.parse().ok()?)))
        .filter(|(rest, of)| rest < of);
    parsed.ok_or_else(|| "expected something like 0/1 or 2/8".to_owned())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::Serve { home, bytes, log } = &arguments.command {
        let duty = match (bytes, log) {
            (Some(bytes), _) => Duty::Record(*bytes),
            (None, Some(log)) => Duty::Show(log.clone()),
            (None, None) => return told(&Trouble::Usage("a drive of what?".to_owned())),
        };
        return match serve(home, &duty) {
            Ok(()) => ExitCode::SUCCESS,
            Err(trouble) => told(&trouble),
        };
    }
    let Some(home) = machine::home() else {
        return outside(&arguments.command);
    };
    let _home = Home(home.clone());
    let result = match &arguments.command {
        Command::Run(run) => inside(run, &home),
        Command::Check { directory } => keep::check(directory, &home).map(|why| {
            for why in &why {
                println!("FATAL: {why}");
            }
            why.is_empty()
        }),
        Command::Serve { .. } => Ok(true),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(trouble) => told(&trouble),
    }
}

/// The directory of this run, gone when we are, also by a panic.
struct Home(PathBuf);

impl Drop for Home {
    fn drop(&mut self) {
        // Whoever put something up there has taken it down, unless the drive is gone.
        mounts::detach_below(&self.0);
        // What cannot be removed is nobody's any more.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn told(trouble: &Trouble) -> ExitCode {
    eprintln!("crashtest-block: {trouble}");
    ExitCode::from(2)
}

/// Looks whether this machine can, and begins again in a mount namespace of its own.
fn outside(command: &Command) -> ExitCode {
    if let Some(why) = Machine::look().lacks() {
        eprintln!("NOT COVERED: power cuts on a real file system: {why}");
        if let Command::Run(Run {
            json: Some(path), ..
        }) = command
        {
            let text = json!({ "not_run": why }).to_string();
            if let Err(error) = std::fs::write(path, text) {
                return told(&Trouble::machine("the totals")(error));
            }
        }
        return ExitCode::from(NOT_COVERED);
    }
    let home = tempfile::Builder::new().prefix("secluso-block-").tempdir();
    let home = match home {
        Ok(home) => home.keep(),
        Err(error) => return told(&Trouble::machine("a temporary directory")(error)),
    };
    let log_kib = match command {
        Command::Run(run) => {
            let recorded = run.recording.as_deref().map(Session::read);
            let recorded = recorded.and_then(Result::ok);
            recorded.map_or(run.log_kib, |session| session.log_kib)
        }
        Command::Check { directory } => keep::log_kib(directory).unwrap_or(LOG_KIB),
        Command::Serve { .. } => LOG_KIB,
    };
    let trouble = machine::enter(&home, log_kib);
    // It is empty: nothing has begun.
    let _ = std::fs::remove_dir(&home);
    told(&trouble)
}

fn inside(run: &Run, home: &Path) -> Outcome<bool> {
    let directory = run
        .recording
        .clone()
        .unwrap_or_else(|| home.join("recording"));
    if !is_recorded(&directory) {
        let wanted = Wanted {
            role: match run.role {
                RoleName::Hub => Role::Hub,
                RoleName::App => Role::App,
            },
            events: run.events,
            log_kib: run.log_kib,
        };
        eprintln!("recording a session of relay, hub and app on ext4");
        record(wanted, home, &directory)?;
    }
    let report = open_all(run, home, &directory)?;
    print!("{report}");
    if let Some(path) = &run.json {
        let text = report.json().to_string();
        std::fs::write(path, text).map_err(Trouble::machine("the totals"))?;
    }
    let complaints = report.complaints();
    for complaint in &complaints {
        println!("FAILED: {complaint}");
    }
    Ok(complaints.is_empty())
}

fn open_all(run: &Run, home: &Path, directory: &Path) -> Outcome<Report> {
    let session = Session::read(directory)?;
    let log = read_log(&log_of(directory))?;
    let stories = load(directory)?;
    let story = stories.of(session.role);
    let subject = Subject::new(session.role, &story.steps);
    let peer = stories
        .peer(session.role)
        .map(|(role, story)| Peer::new(role, story));
    let server = Server::start(home, &Duty::Show(log_of(directory)))?;
    let opener = Opener::new(&log, &subject, server, home.to_owned());
    vacuity::leads_to(&opener, session.left)?;
    eprintln!("taking flushes out, to see whether that is noticed");
    let vacuity = vacuity::vacuity(&opener, story)?;
    let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
    let plan = Plan {
        states_max: run.states,
        time_max: run.minutes.map_or(Duration::MAX, minutes),
        seed: run.seed,
        hands: std::thread::available_parallelism().map_or(1, usize::from),
        shard: run.shard,
        talks_every: TALKS_EVERY,
        log_kib: session.log_kib,
        keep: run.keep.clone(),
        resume: run.resume.clone(),
    };
    let mut report = sweep(&opener, story, peer.as_ref(), &plan)?;
    report.vacuity = vacuity;
    report.open_ended = run.open_ended;
    Ok(report)
}
