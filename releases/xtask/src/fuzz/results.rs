//! The document of results that is committed: of each target its last good run, or why there is none.
//!
//! It is merged target by target, so that they may be run one at a time, each on a commit of its own. This room must
//! never quote a run that found something, nor one of a tree that is no commit.

use std::fs;

use super::outcome::Run;
use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Outcome};
use crate::rows::{Form, Said};

/// The document, from the root.
pub(super) const DOCUMENT: &str = "crashtest/fuzz/RESULTS.md";

const HEAD: &str = "\
# Fuzzing: results

Made by `cargo xtask fuzz --bless`; do not edit. What each target tries: [README](README.md). A row is of the commit that it
names, with nothing changed in the tree. Coverage is in edges of the program, features count how often, and which values
were compared; memory is the most of a run. A run that found something is no row.

| target | commit | minutes | executions | coverage | features | memory, MiB | findings |
|---|---|---:|---:|---:|---:|---:|---:|
";

/// Cells of a row behind the target's name: commit, minutes, executions, coverage, features, memory, findings.
const FORM: Form = Form {
    head: HEAD,
    without: "Not covered",
    cells: 7,
};

/// What is said of a target after a run.
fn said_of(run: &Run) -> Said {
    if run.failed() {
        return Said::Missing(format!("a run of {} did not go well", run.commit));
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
    Said::Row(std::iter::once(run.commit.clone()).chain(numbers).collect())
}

/// Writes these runs into the document; `all` are the targets that there are, in their order.
pub(super) fn bless(runs: &[Run], all: &[String]) -> Outcome<()> {
    let path = cargo::root().join(DOCUMENT);
    // The first one is made of nothing.
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.because("the document of results cannot be read")?,
    };
    let mut said = FORM.read(&text);
    for run in runs {
        commit::check(&run.commit)?;
        said.insert(run.target.clone(), said_of(run));
    }
    let text = FORM.write(&said, all);
    fs::write(&path, text).because("the document of results cannot be written")?;
    eprintln!("{DOCUMENT} has the results of {} targets.", runs.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::outcome::tests::run;
    use super::super::{PACKAGE, targets};
    use super::*;
    use crate::rows::NOT_RUN;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn rows_are_merged_by_target_and_what_failed_loses_its_row() {
        let all = names("fields frame mp4");
        let mut said = FORM.read("");
        assert_eq!(FORM.write(&said, &all).matches(NOT_RUN).count(), 3);
        said.insert("frame".to_owned(), said_of(&run("frame")));
        said.insert("gone".to_owned(), said_of(&run("gone")));
        let text = FORM.write(&said, &all);
        let row = "| `frame` | 770686cd2b40 | 5 | 9000 | 415 | 990 | 61 | 0 |\n";
        assert!(text.contains(row) && !text.contains("gone"), "{text}");
        // Another part, on another day.
        let mut said = FORM.read(&text);
        let failed = Run {
            ended: Some("signal 6".to_owned()),
            ..run("fields")
        };
        said.insert("fields".to_owned(), said_of(&failed));
        said.insert("mp4".to_owned(), said_of(&run("mp4")));
        let text = FORM.write(&said, &all);
        assert!(text.contains(row) && text.contains("| `mp4` | "), "{text}");
        assert!(text.contains("- `fields`: a run of 770686cd2b40 did not go well\n"));
        assert_eq!(FORM.write(&FORM.read(&text), &all), text);
        said.insert("fields".to_owned(), said_of(&run("fields")));
        assert!(
            FORM.write(&said, &all)
                .ends_with("## Not covered\n\nNothing.\n")
        );
    }

    /// `BLESS=1` names new targets as not run, and lets go of those that are no more.
    #[test]
    fn the_committed_document_has_each_target_as_a_good_row_or_by_name() {
        let root = cargo::root();
        let manifest = fs::read_to_string(root.join(PACKAGE).join("Cargo.toml")).unwrap();
        let path = root.join(DOCUMENT);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let said = FORM.read(&text);
        let wanted = FORM.write(&said, &targets(&manifest));
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
            assert_eq!(numbers[FORM.cells - 2], 0, "{target} has findings");
        }
    }
}
