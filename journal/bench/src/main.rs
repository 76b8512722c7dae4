//! Ratios against yardsticks, measured in one run: `cargo xtask bench`.
//!
//! Beside them, figures of the whole: the real programs together, with what was promised of them.
//!
//! Contenders take turns (A, B, C, A, B, C, ...) so that a noisy machine hurts all of them; a figure
//! is the median of the rounds with its quartiles, and CPU time stands beside wall time. A target that
//! is missed, and a question that could not be answered, is an error, but of a quick run, which only says
//! it. This program must never be part of the gate, and never change what it measures.

mod bare;
mod child;
mod crypto;
mod epoch;
mod hub;
mod ingest;
mod measure;
mod memory;
mod meter;
mod motion;
mod procfs;
mod raw_file;
mod recording;
mod report;
mod seal;
mod sqlite;
mod whole;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use report::{Figure, Question};

/// Anything can go wrong here, and nobody but a person reads it.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Measures the journal, the engine and the relay's store against yardsticks in the same run, and the programs together.
#[derive(Debug, Parser)]
#[command(
    name = "bench",
    after_help = "Exit codes: 0 every target met, 1 a target missed or something not measured. With --quick both are only said."
)]
struct Arguments {
    /// One line of JSON instead of the table.
    #[arg(long)]
    json: bool,
    /// Fewer rounds: a look, not a result.
    #[arg(long)]
    quick: bool,
    /// Where to write; must be on the disk that is to be measured. Default: beside this program.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Measure these only; may be given several times.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// Also write everything to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    figures: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Part {
    /// Sealing of a clip, what vault and wrap add to it, bytes written.
    Seal,
    /// Epoch advances, syncs, what a rotation adds to them.
    Epoch,
    /// The relay's store.
    Ingest,
    /// Peak memory.
    Memory,
    /// Cryptography alone.
    Crypto,
    /// Decoding of a camera's pictures, and the search for motion in them.
    Motion,
    /// The programs together: live pictures, the moments of an event, several cameras.
    Whole,
}

impl Part {
    const ALL: [Self; 7] = [
        Self::Seal,
        Self::Epoch,
        Self::Ingest,
        Self::Memory,
        Self::Crypto,
        Self::Motion,
        Self::Whole,
    ];

    /// What it is asked.
    fn questions(self) -> Vec<Question> {
        match self {
            Self::Seal => seal::QUESTIONS.to_vec(),
            Self::Epoch => epoch::QUESTIONS.to_vec(),
            Self::Ingest => ingest::QUESTIONS.to_vec(),
            Self::Memory => memory::QUESTIONS.to_vec(),
            Self::Crypto => crypto::QUESTIONS.to_vec(),
            Self::Motion => motion::QUESTIONS.to_vec(),
            Self::Whole => whole::questions(),
        }
    }

    fn run(self, dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
        match self {
            Self::Seal => seal::run(dir, scale),
            Self::Epoch => epoch::run(dir, scale),
            Self::Ingest => ingest::run(dir, scale),
            Self::Memory => memory::run(dir, scale),
            Self::Crypto => crypto::run(scale),
            Self::Motion => motion::run(scale),
            Self::Whole => whole::run(dir, scale),
        }
    }
}

/// How long a run may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scale {
    Quick,
    Full,
}

impl Scale {
    fn rounds(self, quick: usize, full: usize) -> usize {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

fn main() -> ExitCode {
    if let Some(code) = child::run_if_child() {
        return code;
    }
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    let scale = if arguments.quick {
        Scale::Quick
    } else {
        Scale::Full
    };
    let beside = std::env::current_exe()?.parent().map(Path::to_owned);
    let root = arguments
        .dir
        .clone()
        .or(beside)
        .ok_or("give a directory with --dir")?;
    let mut notes = Vec::new();
    let file_system = procfs::file_system(&root)?;
    match file_system.as_str() {
        "tmpfs" | "ramfs" => notes.push(format!(
            "{} is in memory ({file_system}): syncs cost nothing there and no ratio means anything",
            root.display()
        )),
        name => notes.push(format!("measured in {} ({name})", root.display())),
    }
    if arguments.quick {
        notes.push("a quick run: few rounds, wide spread".to_owned());
    }
    let mut figures = Vec::new();
    for part in Part::ALL {
        if !arguments.only.is_empty() && !arguments.only.contains(&part) {
            continue;
        }
        eprintln!("measuring: {part:?}");
        let dir = tempfile::Builder::new()
            .prefix("secluso-bench-")
            .tempdir_in(&root)?;
        // One that fails takes no other with it.
        let answers = part.run(dir.path(), scale);
        figures.extend(report::complete(&part.questions(), answers));
    }
    let all = report::json(&figures, &notes, arguments.quick, &file_system);
    if let Some(file) = &arguments.figures {
        std::fs::write(file, all.to_string())?;
    }
    match arguments.json {
        true => println!("{all}"),
        false => report::print_table(&figures, &notes),
    }
    match report::shortfall(&figures) {
        Some(shortfall) if scale == Scale::Full => Err(shortfall.into()),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document and its rows go by them.
    #[test]
    fn no_two_questions_have_the_same_key() {
        let asked: Vec<Question> = Part::ALL.into_iter().flat_map(Part::questions).collect();
        let mut keys: Vec<&str> = asked.iter().map(|question| question.key).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), asked.len());
    }
}
