//! `simulate`: many seeds, or one again; disk errors on real files; the deliberate bugs; the thief.
#![expect(
    clippy::disallowed_methods,
    reason = "A developer's tool is a shell: it times what it does."
)]

mod hunt;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};
use crashtest::progress;
use crashtest::shard::Shard;
use crashtest_sim::errors::{self, Part, Run, Sweep};
use crashtest_sim::files;
use crashtest_sim::mutants;
use crashtest_sim::plan::{Plan, Who};
use crashtest_sim::run::{self, pair};
use crashtest_sim::script;
use crashtest_sim::seeds::{Progress, Seeds};
use crashtest_sim::start_up;
use crashtest_sim::theft::{self, Terms};
use journal::Suite;

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
        let resume = self.resume.map(|path| -> std::io::Result<Progress> {
            let (rest, of) = self.shard;
            let part = format!("{} from {} shard {rest}/{of}", build()?, self.from);
            Ok(Progress::new(&path, &part))
        });
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
    progress::build(&[std::env::current_exe()?])
}

fn shard(text: &str) -> Result<(u64, u64), String> {
    text.parse::<Shard>().map(Shard::numbers)
}

/// Which disk errors, and how long.
#[derive(Debug, clap::Args)]
struct ErrorRange {
    /// Only each so many-th operation.
    #[arg(long, default_value_t = 1)]
    stride: u64,
    /// `2/8` is the third of eight machines that share the operations.
    #[arg(long, default_value_t = Shard::WHOLE)]
    shard: Shard,
    /// Begin no run after so many minutes; what is left then is said, and fails.
    #[arg(long)]
    minutes: Option<u64>,
    /// The time is what was planned: operations that it does not reach are said, and are no failure.
    #[arg(long, requires = "minutes")]
    open_ended: bool,
    /// Go on behind what this file says, try first what failed before, and write each run down there.
    /// Only for the same build of this program and of the recorder.
    #[arg(long)]
    resume: Option<PathBuf>,
    /// One line of JSON at the end.
    #[arg(long)]
    json: bool,
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
    /// Runs one seed again with several pairs of hub and phone, tells its plan, and if it fails with one
    /// of them the shortest plan that still does.
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
    /// Plays a way of the model step by step, with a deliberate bug or without, and asks the oracle.
    Script {
        /// The steps, as `crashtest-model bugs` prints them; `-` is the standard input.
        file: PathBuf,
        /// The bug.
        #[arg(long)]
        mutant: Option<String>,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Makes every file operation of each of the three fail, one run each, on real files.
    Errors {
        #[command(flatten)]
        range: ErrorRange,
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
        Command::Errors { range } => Ok(errors(&range)?),
        Command::Script { file, mutant, json } => script(&file, mutant.as_deref(), json),
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

/// True if every promise held, whatever was refused.
fn script(
    file: &Path,
    mutant: Option<&str>,
    json: bool,
) -> Result<bool, Box<dyn std::error::Error>> {
    let text = if file == Path::new("-") {
        std::io::read_to_string(std::io::stdin())?
    } else {
        std::fs::read_to_string(file)?
    };
    let steps = script::parse(&text)?;
    let linked = mutants::linked()?;
    let mutant = match mutant {
        Some(name) => {
            let known = linked.keys().find(|known| **known == name);
            Some(*known.ok_or_else(|| format!("there is no deliberate bug `{name}`"))?)
        }
        None => None,
    };
    let pair = pair(Suite::XWing)?;
    // A bug may well end in a panic, which is a broken promise like any other.
    std::panic::set_hook(Box::new(|_| {}));
    wal::mutant::choose(mutant);
    let played = script::play(&steps, &pair);
    wal::mutant::choose(None);
    if let Some((index, what)) = played.otherwise {
        let step = steps.get(index);
        return Err(format!("step {index}, {step:?}, is not what the table says: {what}").into());
    }
    for (index, why) in &played.refused {
        let step = steps.get(*index);
        eprintln!("REFUSED step {index}, {step:?}: {why}");
    }
    let broken = played.broken.as_ref();
    if json {
        let refused = played
            .refused
            .iter()
            .map(|(index, why)| serde_json::json!({ "step": index, "why": why }));
        println!(
            "{}",
            serde_json::json!({
                "steps": steps.len(), "done": played.done, "refused": refused.collect::<Vec<_>>(),
                "mutant": mutant, "promise": broken.map(|broken| broken.promise),
                "what": broken.map(|broken| &broken.what), "broken_in": played.broken_in,
            })
        );
    } else {
        match broken {
            Some(broken) => println!("{broken} ({} steps done)", played.done),
            None => println!("every promise held: {} steps done", played.done),
        }
    }
    Ok(broken.is_none())
}

fn named(name: &str) -> Result<Who, String> {
    errors::named(name).ok_or_else(|| format!("`{name}` is none of hub, relay and app"))
}

/// Disk errors; true if all were tried and every promise held, or if the time alone was planned and every
/// promise held until then.
fn errors(range: &ErrorRange) -> std::io::Result<bool> {
    let began = Instant::now();
    let minutes = range.minutes;
    let sweep = Sweep::new(std::env::current_exe()?)?;
    let progress = sweep.progress(range.resume.as_deref(), range.stride, range.shard)?;
    let part = Part {
        stride: range.stride,
        shard: range.shard,
        until: minutes.map(|minutes| began + Duration::from_secs(60 * minutes)),
        progress: &progress,
    };
    let count = AtomicU64::new(0);
    let found = sweep.all(&part, &|run: &Run| {
        let count = count.fetch_add(1, Ordering::Relaxed) + 1;
        tell_failure(run);
        if count.is_multiple_of(250) {
            eprintln!("{count} runs, {} s", began.elapsed().as_secs());
        }
    })?;
    // Once more at the end, with those of earlier parts.
    found.fatal.iter().for_each(tell_failure);
    for sentence in found.not_covered() {
        eprintln!("NOT COVERED: {sentence}");
    }
    if found.left > 0 {
        let left = found.left;
        eprintln!("NOT COVERED: the time was up before {left} operations of this part had failed");
    }
    let good = found.is_good() || range.open_ended && found.is_good_so_far();
    if range.json {
        let mut value = found.json();
        value["seconds"] = progress.wall().as_secs().into();
        value["good"] = good.into();
        println!("{value}");
    } else {
        for ((who, kind), counts) in &found.counts {
            println!(
                "{:<6} {kind:<18} {:>5} operations, {:>5} runs, {:>4} restarted, {:>3} fatal",
                errors::name_of(*who),
                counts.operations,
                counts.runs,
                counts.restarted,
                counts.fatal
            );
        }
    }
    Ok(good)
}

fn tell_failure(run: &Run) {
    if let Some(broken) = &run.broken {
        let (who, fault) = (errors::name_of(run.who), &run.fault);
        eprintln!("FAILED {broken}\n  repeat: simulate error {who} {fault}");
    }
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

/// A seed is played again with so many pairs of hub and phone at most: the keys and the names of mailboxes are
/// OpenMLS's own dice, which no seed throws, and what comes first of two lines depends on them.
const REPRO_PAIRS: u32 = 16;

fn repro(seed: u64) -> Result<bool, journal::JournalError> {
    let plan = Plan::of_seed(seed);
    println!("the plan of seed {seed}:\n{plan}");
    for _ in 0..REPRO_PAIRS {
        let pair = pair(Suite::XWing)?;
        let Err(broken) = run::repeat(&plan, &pair) else {
            continue;
        };
        println!("{broken}");
        let short = run::shrink(&plan, &pair, broken.promise);
        println!(
            "the shortest plan that still breaks {}:\n{short}",
            broken.promise
        );
        return Ok(false);
    }
    println!("every promise held, with {REPRO_PAIRS} pairs of hub and phone");
    Ok(true)
}
