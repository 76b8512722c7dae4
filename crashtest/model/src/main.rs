//! `crashtest-model`: explores the protocol's model and says what it found.
//!
//! This room reads the command line and prints. It must end with 1 if a promise is broken that
//! should hold, or if a mistake or an unsafe order is not found.
#![expect(clippy::disallowed_methods, reason = "A run shows how long it took.")]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use crashtest_model::bugs::{PLANTED, Real};
use crashtest_model::channel::Channel;
use crashtest_model::check::{self, Outcome, explore};
use crashtest_model::pairing::Pairing;
use crashtest_model::replay::{self, Programs, Verdict};
use crashtest_model::scope::{CRASHES, ORDERS, SCOPES, Scope};
use serde_json::{Value, json};

/// The protocol between hub, relay and app as a model, every state of it within bounds.
#[derive(Debug, Parser)]
#[command(
    name = "crashtest-model",
    after_help = "Exit codes: 0 all as it should be, 1 not, 2 usage.\n\n\
                  Examples:\n  crashtest-model check --epochs 8 --crashes 6\n  crashtest-model bugs"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The design: every scope, and each with fine steps within half the bounds.
    Check(Bounds),
    /// Which orders of persist, merge and send keep every promise.
    Orders(Bounds),
    /// The mistakes, each to be found by the promise that it breaks.
    Bugs {
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
    /// All three.
    All(Bounds),
    /// The mistakes that the programs have too, in the programs.
    Replay {
        /// Where `secluso-crashtest` and `simulate` are; beside this program if nothing is said.
        #[arg(long)]
        programs: Option<PathBuf>,
        /// One line of JSON at the end.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Clone, Debug, Args)]
struct Bounds {
    /// The hub opens no epoch beyond this one.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u8).range(1..=8))]
    epochs: u8,
    /// Deaths of hub, app and relay, power cuts in recovery and restored copies together.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(0..=8))]
    crashes: u8,
    /// Only the scope of this name.
    #[arg(long)]
    scope: Option<String>,
    /// Threads; with more than one the ways are not always the shortest.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// One line of JSON at the end.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let (json, result) = match Arguments::parse().command {
        Command::Check(bounds) => (bounds.json, part("check", design(&bounds))),
        Command::Orders(bounds) => (bounds.json, part("orders", orders(&bounds))),
        Command::Bugs { json } => (json, part("bugs", bugs())),
        Command::All(bounds) => {
            let began = std::time::Instant::now();
            let parts = [
                part("check", design(&bounds)),
                part("orders", orders(&bounds)),
                part("bugs", bugs()),
            ];
            let mut whole = join(parts);
            let states = |row: &Value| row["states"].as_u64().unwrap_or_default();
            let rows = whole["check"].as_array().map_or(&[][..], Vec::as_slice);
            whole["unique_states"] = json!(rows.iter().map(states).sum::<u64>());
            whole["epochs"] = json!(bounds.epochs);
            whole["crashes"] = json!(bounds.crashes);
            whole["seconds"] = json!(began.elapsed().as_secs_f64());
            (bounds.json, whole)
        }
        Command::Replay { programs, json } => {
            let programs = programs.map_or_else(Programs::beside, |place| Programs::of(&place));
            (json, part("replay", replayed(&programs)))
        }
    };
    let good = result["good"] == json!(true);
    if json {
        println!("{result}");
    }
    eprintln!(
        "{}; at most {} MiB of memory",
        if good {
            "All as it should be"
        } else {
            "NOT as it should be"
        },
        check::peak_kib() / 1024
    );
    if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

fn part(name: &str, rows: Vec<(bool, Value)>) -> Value {
    let good = rows.iter().all(|(good, _)| *good);
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    json!({ "good": good, "peak_kib": check::peak_kib(), name: rows })
}

fn join(parts: impl IntoIterator<Item = Value>) -> Value {
    let mut whole = serde_json::Map::new();
    let mut good = true;
    for part in parts {
        good &= part["good"] == json!(true);
        if let Value::Object(part) = part {
            whole.extend(part);
        }
    }
    whole.insert("good".to_owned(), json!(good));
    Value::Object(whole)
}

/// Prints a row and makes its JSON. Whether anything should be broken is the caller's to say.
fn row<Step: std::fmt::Debug>(name: &str, bounds: (u8, u8), outcome: &Outcome<Step>) -> Value {
    let (epochs, crashes) = bounds;
    let seconds = outcome.took.as_secs_f64();
    eprintln!(
        "{name:<44} epochs {epochs} crashes {crashes}  {:>9} states  {:>10} steps  depth {:>3}  {seconds:>6.1} s",
        outcome.unique, outcome.generated, outcome.depth
    );
    let broken = outcome.broken.iter().map(|(promise, way)| {
        eprintln!("  {promise}: broken by {way:?}");
        json!({ "promise": promise, "way": format!("{way:?}") })
    });
    let broken: Vec<Value> = broken.collect();
    json!({
        "name": name, "epochs": epochs, "crashes": crashes, "states": outcome.unique,
        "steps": outcome.generated, "depth": outcome.depth, "seconds": seconds, "broken": broken,
    })
}

fn design(bounds: &Bounds) -> Vec<(bool, Value)> {
    let mut rows = Vec::new();
    let whole = SCOPES.map(|scope| scope.bounded(bounds.epochs, bounds.crashes));
    let (epochs, crashes) = (bounds.epochs.div_ceil(2), bounds.crashes / 2);
    let fine = SCOPES.map(|scope| scope.fine().bounded(epochs, crashes));
    // The one that is fine anyway needs no second run.
    let fine = fine.into_iter().filter(|one| one.name != CRASHES.name);
    for scope in whole.into_iter().chain(fine) {
        if bounds
            .scope
            .as_deref()
            .is_some_and(|name| name != scope.name)
        {
            continue;
        }
        let outcome = explore(Channel::new(scope, None), None, bounds.threads);
        let name = format!(
            "{}{}",
            scope.name,
            if scope.is_fine() { ", fine" } else { "" }
        );
        let value = row(&name, (scope.epochs, scope.crashes), &outcome);
        rows.push((outcome.broken.is_empty(), value));
    }
    if bounds.scope.as_deref().is_none_or(|name| name == "pairing") {
        let outcome = explore(Pairing::new(3, bounds.crashes, None), None, bounds.threads);
        let value = row("pairing, fine", (0, bounds.crashes), &outcome);
        rows.push((outcome.broken.is_empty(), value));
    }
    // A name that fits nothing must not look like a success.
    if rows.is_empty() {
        eprintln!("no scope has that name");
        rows.push((false, Value::Null));
    }
    rows
}

fn orders(bounds: &Bounds) -> Vec<(bool, Value)> {
    let explored = ORDERS.map(|order| {
        let scope: Scope = CRASHES
            .bounded(bounds.epochs, bounds.crashes)
            .ordered(order);
        // What is not safe is shown by the shortest ways, within little.
        let scope = if order.is_safe() {
            scope
        } else {
            scope.bounded(3, 2)
        };
        let outcome = explore(Channel::new(scope, None), None, bounds.threads);
        let value = row(order.name(), (scope.epochs, scope.crashes), &outcome);
        (outcome.broken.is_empty() == order.is_safe(), value)
    });
    explored.into()
}

fn bugs() -> Vec<(bool, Value)> {
    let found = PLANTED.iter().map(|planted| {
        let found = planted.seek();
        let seconds = found.took.as_secs_f64();
        let outcome = if found.way.is_some() {
            "found"
        } else {
            "SURVIVED"
        };
        eprintln!(
            "{:<27} {outcome} by {:<38} {:>7} states {seconds:>5.1} s\n    {}",
            planted.name, planted.promise, found.unique, planted.what
        );
        let way = found.way.as_ref().map(|way| {
            let steps = way.iter().map(|(step, point)| match point {
                Some(point) => format!("{step} [{point}]"),
                None => step.clone(),
            });
            steps.collect::<Vec<_>>().join(", ")
        });
        eprintln!("    {}", way.as_deref().unwrap_or("no way"));
        let value = json!({
            "name": planted.name, "promise": planted.promise, "states": found.unique,
            "seconds": seconds, "way": way,
        });
        (found.way.is_some(), value)
    });
    found.collect()
}

fn replayed(programs: &Programs) -> Vec<(bool, Value)> {
    let mut rows = Vec::new();
    for planted in PLANTED {
        let mut value = json!({ "name": planted.name, "mutant": planted.real.mutant() });
        let verdict = match (replay::play(programs, planted), &planted.real) {
            (Some(verdict), _) => verdict,
            (None, Real::Not(why)) => {
                eprintln!("{:<27} NOT COVERED: {why}", planted.name);
                value["why_not"] = json!(why);
                rows.push((true, value));
                continue;
            }
            (None, _) => continue,
        };
        eprintln!("{:<27} {verdict}", planted.name);
        match planted.real {
            Real::Processes {
                workload,
                crash,
                promise,
                ..
            } => {
                value["workload"] = json!(workload);
                value["crash"] = json!(crash);
                value["promise"] = json!(promise);
            }
            Real::Script { promise, .. } => {
                let way = planted.script().map(|script| script.text);
                value["workload"] = json!("the model's way");
                value["crash"] = json!([]);
                value["way"] = json!(way);
                value["promise"] = json!(promise);
            }
            Real::Cores { promise, .. } => {
                value["workload"] = json!("simulation");
                value["crash"] = json!([]);
                value["promise"] = json!(promise);
            }
            Real::Not(_) => {}
        }
        value["verdict"] = json!(verdict.to_string());
        rows.push((verdict == Verdict::Parted, value));
    }
    rows
}
