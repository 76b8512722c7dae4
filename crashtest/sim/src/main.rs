//! `simulate`: many seeds, or one again.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use crashtest_sim::plan::Plan;
use crashtest_sim::run::{self, pair};
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

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs many seeds.
    Run {
        /// The first one.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// How many.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// Runs one seed again, tells its plan, and if it fails the shortest plan that still does.
    Repro {
        /// Which.
        seed: u64,
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

fn act(command: Command) -> Result<bool, journal::JournalError> {
    let pair = pair(Suite::XWing)?;
    match command {
        Command::Run { from, seeds, json } => {
            let (mut failed, mut deaths, mut envelopes) = (Vec::new(), 0, 0);
            for seed in from..from.saturating_add(seeds) {
                match run::repeat(&Plan::of(seed), &pair) {
                    Ok(stats) => {
                        deaths += stats.deaths;
                        envelopes += stats.envelopes;
                    }
                    Err(broken) => {
                        eprintln!("seed {seed}: {broken}\n  repeat: simulate repro {seed}");
                        failed.push(seed);
                    }
                }
                let done = seed - from + 1;
                if done.is_multiple_of(500) {
                    eprintln!("{done} of {seeds} seeds, {} failed", failed.len());
                }
            }
            if json {
                let line = serde_json::json!({
                    "seeds": seeds, "failed": failed, "deaths": deaths, "envelopes": envelopes,
                });
                println!("{line}");
            } else {
                println!(
                    "{seeds} seeds from {from}: {} failed, {deaths} deaths, {envelopes} envelopes",
                    failed.len()
                );
            }
            Ok(failed.is_empty())
        }
        Command::Repro { seed } => {
            let plan = Plan::of(seed);
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
    }
}
