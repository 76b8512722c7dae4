//! `secluso-adversary`: the attacks of whoever owns the relay, played and judged.
//!
//! Progress goes to stderr, results to stdout. This room only reads a command line and prints; it must never
//! end with 0 if a promise is broken or something planned was not done.
#![expect(
    clippy::disallowed_methods,
    reason = "A developer's tool is a shell: it times what it does."
)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use crashtest::system::Stock;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_adversary::campaign::{self, Case, Cell};
use crashtest_adversary::mutated::{self, Depth, Tally};
use crashtest_adversary::rollback::{self, Row};
use crashtest_adversary::traffic::{self, Walked};
use crashtest_evil_relay::vice::Vice;
use serde_json::json;

/// Rounds of all vices in the long form.
const ROUNDS_LONG: u64 = 10;

const USAGE: &str = "\
secluso-adversary play     all attacks: every vice of a malicious relay against real hub and app
                           processes, old copies of their directories, every byte of their traffic
                           changed
                             --long        ten seeds of each vice; each byte in three ways
                             --json        one JSON object on stdout
                             --only NAME   relay, rollback or traffic
                             --table FILE  the table of old copies goes there, if all went well
secluso-adversary vice NAME SEED
                           one run of the first by hand

The malicious relay itself is `secluso-evil-relay`.
SECLUSO_KEEP=1 keeps the directories of failed runs.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(trouble) => {
            eprintln!("secluso-adversary: {trouble}");
            ExitCode::from(2)
        }
    }
}

fn run(words: &[&str]) -> Outcome<bool> {
    match words {
        ["play", options @ ..] => play(&Options::parse(options)?),
        ["vice", name, seed] => {
            let seed = seed.parse::<u64>();
            let seed = seed.map_err(|_| Trouble::Usage("vice wants a seed".to_owned()))?;
            let vice = name.parse::<Vice>().map_err(campaign::told)?;
            let setup = campaign::setup_with_people()?;
            let stock = Stock::paired(&setup)?;
            let cell = campaign::attempt(&stock, &setup, Case { vice, seed });
            println!("{cell}");
            Ok(cell.broken.is_none())
        }
        ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            Ok(true)
        }
        _ => Err(Trouble::Usage(format!("which command?\n\n{USAGE}"))),
    }
}

/// Which of the attacks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attack {
    Relay,
    Rollback,
    Traffic,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Text,
    Json,
}

struct Options {
    depth: Depth,
    rounds: u64,
    form: Form,
    only: Option<Attack>,
    table: Option<PathBuf>,
}

impl Options {
    fn parse(words: &[&str]) -> Outcome<Self> {
        let mut options = Self {
            depth: Depth::Every,
            rounds: 1,
            form: Form::Text,
            only: None,
            table: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--long" => (options.depth, options.rounds) = (Depth::Thrice, ROUNDS_LONG),
                "--json" => options.form = Form::Json,
                "--only" => {
                    options.only = Some(match words.next().copied() {
                        Some("relay") => Attack::Relay,
                        Some("rollback") => Attack::Rollback,
                        Some("traffic") => Attack::Traffic,
                        _ => {
                            let what = "--only wants relay, rollback or traffic";
                            return Err(Trouble::Usage(what.to_owned()));
                        }
                    });
                }
                "--table" => {
                    let missing = || Trouble::Usage("--table wants a file".to_owned());
                    let file = words.next().ok_or_else(missing)?;
                    options.table = Some(PathBuf::from(file));
                }
                other => return Err(Trouble::Usage(format!("play knows no `{other}`"))),
            }
        }
        Ok(options)
    }

    fn wants(&self, attack: Attack) -> bool {
        self.only.is_none_or(|only| only == attack)
    }
}

fn play(options: &Options) -> Outcome<bool> {
    let began = Instant::now();
    let mut cells: Vec<Cell> = Vec::new();
    let mut rows: Vec<Row> = Vec::new();
    let mut tally = Tally::default();
    let mut walked = Walked::default();
    let mut broken_traffic: Vec<String> = Vec::new();
    if options.wants(Attack::Traffic) {
        eprintln!("every byte of an exchange changed");
        let cores = mutated::run(options.depth, &mut tally);
        eprintln!("{tally}");
        eprintln!("bytes of the real programs' traffic changed beneath TLS");
        let programs = traffic::run(&mut walked);
        eprintln!("{walked}");
        for trouble in [cores.err(), programs.err()].into_iter().flatten() {
            eprintln!("FAILED: {trouble}");
            broken_traffic.push(trouble.to_string());
        }
    }
    if options.wants(Attack::Relay) {
        let cases = campaign::cases(options.rounds, 1);
        let all = cases.len();
        eprintln!("{all} runs with a malicious relay");
        cells = campaign::run(&cases, |count, cell| eprintln!("[{count}/{all}] {cell}"))?;
    }
    if options.wants(Attack::Rollback) {
        let cases = rollback::cases();
        let all = cases.len();
        eprintln!("{all} starts on old copies");
        rows = rollback::run(&cases, |count, row| eprintln!("[{count}/{all}] {row}"))?;
        eprintln!("\n{}", rollback::table(&rows));
    }
    let failed = cells.iter().filter(|cell| cell.broken.is_some()).count()
        + rows.iter().filter(|row| row.broken().is_some()).count()
        + broken_traffic.len();
    if let Some(file) = options
        .table
        .as_ref()
        .filter(|_| failed == 0 && !rows.is_empty())
    {
        std::fs::write(file, rollback::document(&rows))
            .map_err(Trouble::machine(file.display().to_string()))?;
    }
    if options.form == Form::Json {
        let result = json!({
            "relay": cells.iter().map(Cell::to_json).collect::<Vec<_>>(),
            "rollback": rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "traffic": tally.to_json(),
            "beneath_tls": walked.to_json(),
            "traffic_broken": broken_traffic,
            "failed": failed,
            "seconds": began.elapsed().as_secs_f64(),
        });
        println!("{result}");
    }
    let seconds = began.elapsed().as_secs_f64();
    eprintln!("{failed} failed, {seconds:.1} s");
    Ok(failed == 0)
}
