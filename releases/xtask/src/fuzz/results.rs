//! The document of results that is committed: of each target its last good run, or why there is none.
//!
//! It is merged target by target, so that they may be run one at a time, each on a commit of its own. This room must
//! never quote a run that found something, nor one of a tree that is no commit.

use std::collections::BTreeMap;
use std::fs;

use super::outcome::Run;
use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Failure, Outcome};

/// The document, from the root.
pub(super) const DOCUMENT: &str = "crashtest/fuzz/RESULTS.md";
/// What is said of a target that was never run.
const NOT_RUN: &str = "not run yet";

const HEAD: &str = "\
# Fuzzing: results

Made by `cargo xtask fuzz --bless`; do not edit. What each target tries: [README](README.md). A row is of the commit that it
names, with nothing changed in the tree. Coverage is in edges of the program, features count how often, and which values
were compared; memory is the most of a run. A run that found something is no row.

| target | commit | minutes | executions | coverage | features | memory, MiB | findings |
|---|---|---:|---:|---:|---:|---:|---:|
";
const NOT_COVERED: &str = "\n## Not covered\n\n";
const NOTHING: &str = "Nothing.\n";

/// What the document says of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Said {
    /// The cells of its row, behind its name.
    Row(Vec<String>),
    /// Why it has none.
    Missing(String),
}

/// Cells of a row behind the target's name: commit, minutes, executions, coverage, features, memory, findings.
const CELLS: usize = 7;

impl Said {
    fn of(run: &Run) -> Self {
        if run.failed() {
            return Self::Missing(format!("a run of {} did not go well", run.commit));
        }
        let heard = run.heard;
        let numbers = [
            run.minutes,
            heard.runs,
            heard.coverage,
            heard.features,
            heard.peak_mib,
            run.findings.len() as u64,
        ];
        let numbers = numbers.iter().map(u64::to_string);
        Self::Row(std::iter::once(run.commit.clone()).chain(numbers).collect())
    }
}

/// Refuses what the document must not quote, before hours are spent on it.
pub(super) fn check_commit(commit: &str) -> Outcome<()> {
    match commit::is_one(commit) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "--bless keeps what a commit is worth, and this tree is \"{commit}\": commit first"
        ))),
    }
}

/// Writes these runs into the document; `all` are the targets that there are, in their order.
pub(super) fn bless(runs: &[Run], all: &[String]) -> Outcome<()> {
    let path = cargo::root().join(DOCUMENT);
    // The first one is made of nothing.
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.because("the document of results cannot be read")?,
    };
    let mut said = read(&text);
    for run in runs {
        check_commit(&run.commit)?;
        said.insert(run.target.clone(), Said::of(run));
    }
    fs::write(&path, document(&said, all)).because("the document of results cannot be written")?;
    eprintln!("{DOCUMENT} has the results of {} targets.", runs.len());
    Ok(())
}

/// What a document says of each target. Lines of another shape are none of ours and go with the next writing.
fn read(text: &str) -> BTreeMap<String, Said> {
    let mut said = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, rest)) = named(line, "| `") {
            let cells = rest.trim_matches([' ', '|']).split('|');
            let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
            if cells.len() == CELLS {
                said.insert(name, Said::Row(cells));
            }
        } else if let Some((name, rest)) = named(line, "- `") {
            let why = rest.trim_start_matches(": ").to_owned();
            said.insert(name, Said::Missing(why));
        }
    }
    said
}

/// The name between backticks behind this beginning, and what follows it.
fn named<'a>(line: &'a str, beginning: &str) -> Option<(String, &'a str)> {
    let (name, rest) = line.strip_prefix(beginning)?.split_once('`')?;
    Some((name.to_owned(), rest))
}

/// The document about these targets, and no others.
fn document(said: &BTreeMap<String, Said>, all: &[String]) -> String {
    let (mut rows, mut missing) = (String::new(), String::new());
    for target in all {
        match said.get(target) {
            Some(Said::Row(cells)) => {
                rows.push_str(&format!("| `{target}` | {} |\n", cells.join(" | ")));
            }
            Some(Said::Missing(why)) => missing.push_str(&format!("- `{target}`: {why}\n")),
            None => missing.push_str(&format!("- `{target}`: {NOT_RUN}\n")),
        }
    }
    if missing.is_empty() {
        missing.push_str(NOTHING);
    }
    [HEAD, &rows, NOT_COVERED, &missing].concat()
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::run;
    use super::super::{PACKAGE, targets};
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_merged_by_target_and_what_failed_loses_its_row() {
        let all = names("fields frame mp4");
        let mut said = read("");
        assert_eq!(document(&said, &all).matches(NOT_RUN).count(), 3);
        said.insert("frame".to_owned(), Said::of(&run("frame")));
        said.insert("gone".to_owned(), Said::of(&run("gone")));
        let text = document(&said, &all);
        let row = "| `frame` | 770686cd2b40 | 5 | 9000 | 415 | 990 | 61 | 0 |\n";
        assert!(text.contains(row) && !text.contains("gone"), "{text}");
        // Another part, on another day.
        let mut said = read(&text);
        let failed = Run {
            ended: Some("signal 6".to_owned()),
            ..run("fields")
        };
        said.insert("fields".to_owned(), Said::of(&failed));
        said.insert("mp4".to_owned(), Said::of(&run("mp4")));
        let text = document(&said, &all);
        assert!(text.contains(row) && text.contains("| `mp4` | "), "{text}");
        assert!(text.contains("- `fields`: a run of 770686cd2b40 did not go well\n"));
        assert_eq!(document(&read(&text), &all), text);
        said.insert("fields".to_owned(), Said::of(&run("fields")));
        assert!(document(&said, &all).ends_with("## Not covered\n\nNothing.\n"));
    }

    #[test]
    fn only_a_commit_is_quoted() {
        assert!(check_commit("770686cd2b40").is_ok());
        for tree in ["770686cd2b40 and changes", "unknown"] {
            assert_eq!(check_commit(tree).unwrap_err().exit_code(), 2);
        }
    }

    /// `BLESS=1` names new targets as not run, and lets go of those that are no more.
    #[test]
    fn the_committed_document_has_each_target_as_a_good_row_or_by_name() {
        let root = cargo::root();
        let manifest = fs::read_to_string(root.join(PACKAGE).join("Cargo.toml")).unwrap();
        let path = root.join(DOCUMENT);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let said = read(&text);
        let wanted = document(&said, &targets(&manifest));
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &wanted).unwrap();
            return;
        }
        assert_eq!(text, wanted, "{DOCUMENT}: cargo xtask bless");
        for (target, said) in &said {
            let Said::Row(cells) = said else { continue };
            assert!(commit::is_one(&cells[0]), "{target}: {}", cells[0]);
            let numbers = cells[1..].iter().map(|cell| cell.parse::<u64>());
            let numbers: Vec<u64> = numbers.collect::<Result<_, _>>().unwrap();
            assert!(numbers[1] > 0, "{target} ran nothing");
            assert_eq!(numbers[CELLS - 2], 0, "{target} has findings");
        }
    }
}
