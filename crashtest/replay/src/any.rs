//! Somebody else's program, from its trace to a verdict.
//!
//! The check is theirs, so it is checked first: it must call the state good that the program itself
//! left. This room must never end well on a recording that says nothing.

use std::path::Path;

use crashtest::trouble::{Outcome, Trouble};
use crashtest_trace::TraceError;

use crate::check::{Outcome as Start, Subject};
use crate::command;
use crate::steps::{self, Step, Story};
use crate::sweep::{Plan, Report, scratch, sweep};
use crate::tree::{Inodes, Tree};

/// Whether a program says what it is about to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// It does, so there must be some.
    Wanted,
    /// It does not.
    None,
}

/// Reads a trace, whose directory was empty before or as `before` is now: a copy of it.
///
/// # Errors
/// The trace is damaged (a last frame that is cut off is none: the program was killed there), or tells
/// no story.
pub fn story(trace: &Path, before: Option<&Path>) -> Outcome<Story> {
    let bytes = std::fs::read(trace).map_err(Trouble::machine("the trace"))?;
    let (records, error) = crashtest_trace::read(&bytes);
    match error {
        None => {}
        Some(error @ TraceError::CutOff { .. }) => eprintln!("{error}"),
        Some(error) => return Err(Trouble::Broken(error.to_string())),
    }
    let tree = match before {
        None => Tree::default(),
        Some(before) => {
            let machine = Trouble::machine("the directory as it was before");
            Tree::read(before).map_err(machine)?.0
        }
    };
    // A copy has inode numbers of its own: files are known by their names when they are opened.
    let inodes = Inodes {
        by_name: before.is_some(),
        ..Inodes::default()
    };
    steps::story(tree, inodes, &records).map_err(|error| Trouble::Broken(error.to_string()))
}

/// Sweeps over the states of a story with a command that opens and judges each.
///
/// # Errors
/// The command does not call the program's own end good, or there is nothing to judge.
pub fn judge(story: &Story, command: Vec<String>, plan: &Plan, marks: Marks) -> Outcome<Report> {
    let broken = |text: String| Err(Trouble::Broken(text));
    let told: Vec<&str> = story
        .steps
        .iter()
        .filter_map(|placed| match &placed.step {
            Step::Mark(words) => Some(words.as_str()),
            _ => None,
        })
        .collect();
    if told.is_empty() && marks == Marks::Wanted {
        return broken(
            "the trace has no mark, so no state must explain anything; see SECLUSO_RECORD_MARKS, or \
             say --no-marks"
                .to_owned(),
        );
    }
    let place = scratch();
    let end = command::ask(&command, &story.after(), &told, &place);
    // It is in memory and small; the sweep makes its own.
    let _ = std::fs::remove_dir_all(&place);
    if !matches!(end, Start::Opened(_)) {
        return broken(format!(
            "the check itself does not work: of the directory as the program left it, with all that it \
             said, it makes {end:?}"
        ));
    }
    let report = sweep(&Subject::command(command), story, None, plan);
    if report.total().unique == 0 {
        return broken("the trace changes nothing, so there was no state to judge".to_owned());
    }
    Ok(report)
}
