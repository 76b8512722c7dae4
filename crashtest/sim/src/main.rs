//! `simulate`: many seeds, or one again; disk errors on real files; the deliberate bugs; the thief.
#![expect(
    clippy::disallowed_methods,
    reason = "A developer's tool is a shell: it times what it does."
)]

mod hunt;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use crashtest_sim::errors::{Run, Sweep};
use crashtest_sim::files;
use crashtest_sim::plan::{Plan, Who};
use crashtest_sim::run::{self, pair};
use crashtest_sim::seeds::{Progress, Seeds};
use crashtest_sim::start_up;
use crashtest_sim::theft::{self, Terms};
use journal::Suite;
use sha2::{Digest as _, Sha256};

/// Hub, relay and app in one thread, on a simulated clock, network and disk.
#[derive(Debug, Parser)]
#[command(
    name = "simulate",
    after_help = "Exit codes: 0 every promise held, 1 one did not (its seed is printed), 2 usage.\n\n\
                  Examples:\n  simulate run --from 0 --seeds 100000\n  simulate repro 4711"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Which seeds, and how long.
#[derive(Debug, clap::Args)]
struct Range {
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// `2/8` is the third of eight machines that share the seeds.
    #[arg(long, default_value = "0/1", value_parser = shard)]
    shard: (u64, u64),
    /// Begin no seed after so many minutes; what is left then is said, and fails.
    #[arg(long)]
    minutes: Option<u64>,
    /// The time is what was planned: seeds that it does not reach are said, and are no failure.
    #[arg(long, requires = "minutes")]
    open_ended: bool,
    /// Go on behind what this file says, play first what failed before, and write down there how far
    /// we came. Only for the same build of this program.
    #[arg(long)]
    resume: Option<PathBuf>,
    /// One line of JSON at the end.
    #[arg(long)]
    json: bool,
}

impl Range {
    fn of(self, count: u64) -> std::io::Result<(Seeds, bool, bool)> {
        let resume = self
            .resume
            .map(|path| -> std::io::Result<Progress> { Ok(Progress::new(&path, &build()?)) });
        let seeds = Seeds {
            shard: self.shard,
            time_max: self
                .minutes
                .map(|minutes| Duration::from_secs(60 * minutes)),
            resume: resume.transpose()?,
            ..Seeds::new(self.from, count)
        };
        Ok((seeds, self.json, self.open_ended))
    }
}

/// Names this program by its bytes.
fn build() -> std::io::Result<String> {
    let bytes = std::fs::read(std::env::current_exe()?)?;
    let digest = Sha256::digest(&bytes);
    let text: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(text.chars().take(16).collect())
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    let parsed = text
        .split_once('/')
        .and_then(|(rest, of)| Some((rest.parse().ok()?, of.parse().ok()?)))
        .filter(|(rest, of)| rest < of);
    parsed.ok_or_else(|| "expected something like 0/1 or 2/8".to_owned())
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds.
    Run {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        #[command(flatten)]
        range: Range,
    },
    /// Runs one seed again, tells its plan, and if it fails the shortest plan that still does.
    Repro {
        /// Which.
        seed: u64,
    },
    /// Runs many seeds of the engine alone.
    Engine {
        /// How many.
        #[arg(long, default_value_t = 20_000)]
        seeds: u64,
        #[command(flatten)]
        range: Range,
    },
    /// Plants every deliberate bug of the simulation, or one, and says which promise caught it.
    Mutants {
        /// Only this one.
        name: Option<String>,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Makes every file operation of each of the three fail, one run each, on real files.
    Errors {
        /// Only each so many-th operation.
        #[arg(long, default_value_t = 1)]
        stride: u64,
        /// At most so long; what is left then is said, and fails.
        #[arg(long)]
        minutes: Option<u64>,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Makes one operation fail, on real files: `simulate error hub any:17:EIO`.
    Error {
        /// Which machine.
        who: String,
        /// Which operation and how, as the recorder's README says.
        fault: String,
    },
    /// Copies the files of a hub and a phone after every step of a long life, and attacks each copy.
    Thief {
        /// Epochs of the event video group.
        #[arg(long, default_value_t = 200)]
        epochs: u64,
        /// What the life's dice begin with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Lives the thief's life on files below a directory and writes down, elsewhere, which storage keys
    /// should be gone from that file system.
    Superseded {
        /// Where to live.
        home: PathBuf,
        /// Where to write: 32 bytes for each key.
        keys: PathBuf,
        /// Epochs of the event video group.
        #[arg(long, default_value_t = 200)]
        epochs: u64,
        /// What the life's dice begin with.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Times a hub's start with so much un-acked in its outbox.
    StartUp {
        /// How much, in MiB.
        #[arg(long, default_value_t = 1024)]
        mib: u64,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Fills an outbox, or with 0 MiB begins an event and waits to be killed, for `start-up`.
    #[command(hide = true)]
    Fill {
        /// Where the hub's files lie.
        state: PathBuf,
        /// How much, in MiB.
        mib: u64,
    },
    /// Plays the conversation with one machine on real files, for `errors`.
    #[command(hide = true)]
    Drive {
        /// Which machine.
        who: String,
        /// A pair that was laid out.
        pair: PathBuf,
        /// Where the machine's files lie.
        state: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match act(arguments.command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("simulate: {error}");
            ExitCode::FAILURE
        }
    }
}

fn act(command: Command) -> Result<bool, Box<dyn std::error::Error>> {
    match command {
        Command::Run { seeds, range } => {
            let (seeds, json, open_ended) = range.of(seeds)?;
            Ok(hunt::worlds(&seeds, json, open_ended)?)
        }
        Command::Engine { seeds, range } => {
            let (seeds, json, open_ended) = range.of(seeds)?;
            Ok(hunt::engines(&seeds, json, open_ended)?)
        }
        Command::Repro { seed } => Ok(repro(seed)?),
        Command::Mutants { name, json } => Ok(hunt::mutants(name.as_deref(), json)),
        Command::Errors {
            stride,
            minutes,
            json,
        } => errors(stride, minutes, json),
        Command::Error { who, fault } => {
            let run = Sweep::new(std::env::current_exe()?)?.one(named(&who)?, &fault)?;
            println!("{run:?}");
            Ok(run.broken.is_none())
        }
        Command::Thief { epochs, seed, json } => steal(Terms { epochs, seed }, json),
        Command::Superseded {
            home,
            keys,
            epochs,
            seed,
        } => {
            let gone = theft::superseded_keys(Terms { epochs, seed }, &home)?;
            std::fs::write(keys, gone.concat())?;
            Ok(!gone.is_empty())
        }
        Command::StartUp { mib, json } => {
            let figures = start_up::measure(&std::env::current_exe()?, mib)?;
            if json {
                println!("{}", figures.json());
            } else {
                println!("{figures:?}");
            }
            if !figures.is_good() {
                eprintln!(
                    "FAILED: a start takes longer than {:?}",
                    start_up::START_MAX
                );
            }
            Ok(figures.is_good())
        }
        Command::Fill { state, mib } => {
            start_up::fill(&state, mib)?;
            Ok(true)
        }
        Command::Drive { who, pair, state } => {
            let trace = std::env::var_os("SECLUSO_RECORD_TRACE").map(PathBuf::from);
            let (restarts, broken) = match files::play(named(&who)?, &pair, state, trace)? {
                Ok(stats) => (stats.deaths, None),
                Err(broken) => (0, Some(broken.to_string())),
            };
            println!(
                "{}",
                serde_json::json!({"restarts": restarts, "broken": broken})
            );
            Ok(true)
        }
    }
}

fn named(name: &str) -> Result<Who, String> {
    let found = Who::ALL
        .into_iter()
        .find(|who| format!("{who:?}").eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("`{name}` is none of hub, relay and app"))
}

fn errors(
    stride: u64,
    minutes: Option<u64>,
    json: bool,
) -> Result<bool, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let until = minutes.map(|minutes| began + Duration::from_secs(60 * minutes));
    let sweep = Sweep::new(std::env::current_exe()?)?;
    let count = AtomicU64::new(0);
    let found = sweep.all(stride.max(1), until, &|run: &Run| {
        let count = count.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some(broken) = &run.broken {
            let who = format!("{:?}", run.who).to_lowercase();
            eprintln!(
                "FAILED {broken}\n  repeat: simulate error {who} {}",
                run.fault
            );
        }
        if count.is_multiple_of(250) {
            eprintln!("{count} runs, {} s", began.elapsed().as_secs());
        }
    })?;
    if json {
        let mut value = found.json();
        value["seconds"] = began.elapsed().as_secs().into();
        println!("{value}");
    } else {
        for ((who, kind), counts) in &found.counts {
            println!(
                "{:<6} {kind:<18} {:>5} operations, {:>5} runs, {:>4} restarted, {:>3} fatal",
                format!("{who:?}").to_lowercase(),
                counts.operations,
                counts.runs,
                counts.restarted,
                counts.fatal
            );
        }
    }
    if found.unfinished {
        eprintln!("NOT COVERED: the time was up before every operation had failed");
    }
    Ok(found.is_good())
}

fn steal(terms: Terms, json: bool) -> Result<bool, Box<dyn std::error::Error>> {
    let began = Instant::now();
    let evidence = theft::evidence(terms, &|life, epoch| {
        if epoch.is_multiple_of(20) {
            eprintln!(
                "{life}: {epoch} of {} epochs, {} s",
                terms.epochs,
                began.elapsed().as_secs()
            );
        }
    })?;
    let complaints = evidence.complaints();
    if json {
        let mut value = evidence.json();
        value["seconds"] = began.elapsed().as_secs().into();
        println!("{value}");
    } else {
        println!("{evidence:#?}");
    }
    for complaint in &complaints {
        eprintln!("FAILED {complaint}");
    }
    Ok(complaints.is_empty())
}

fn repro(seed: u64) -> Result<bool, journal::JournalError> {
    let pair = pair(Suite::XWing)?;
    let plan = Plan::of_seed(seed);
    println!("the plan of seed {seed}:\n{plan}");
    match run::repeat(&plan, &pair) {
        Ok(stats) => {
            println!("every promise held: {stats:?}");
            Ok(true)
        }
        Err(broken) => {
            println!("{broken}");
            let short = run::shrink(&plan, &pair, broken.promise);
            println!(
                "the shortest plan that still breaks {}:\n{short}",
                broken.promise
            );
            Ok(false)
        }
    }
}
