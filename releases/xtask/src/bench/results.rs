//! The document of figures that is committed: of each question the last answer, or why there is none.
//!
//! It is merged question by question, so that parts may be measured one at a time, each on a commit and a machine of its
//! own. A target that was missed is a row as well, and says so. This room must never quote figures of a tree that is no
//! commit, nor of files in memory, nor name a machine by more than what it is.

use std::fs;
use std::path::{Path, PathBuf};

use programs::process::unix_ms;
use serde_json::Value;

use crate::cargo;
use crate::commit;
use crate::failure::{Because as _, Failure, Outcome};
use crate::rows::{Form, Said};

/// The document, from the root.
pub(super) const DOCUMENT: &str = "journal/bench/RESULTS.md";
/// Whose source lists the questions.
const SOURCE: &str = "journal/bench/src";
/// Kinds of file systems on which a sync costs nothing.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

const HEAD: &str = "\
# Benchmarks: results

Made by `cargo xtask bench --bless`; do not edit. A row is of the commit that it names, with nothing changed in the tree, and
of the machine and file system that it names; parts that are measured alone (`--only`) leave the rows of the others as they
are. What is asked, and how it is measured, is in `journal/bench/src`. Ratios are speeds: above 1 means faster than the
yardstick. A target that was missed is a row like any other, and says NOT MET.

| figure | what | measured | quartiles | target | verdict | commit | date | machine |
|---|---|---:|---:|---:|---|---|---|---|
";

/// Cells of a row behind the figure's key: what, measured, quartiles, target, verdict, commit, date, machine.
const FORM: Form = Form {
    head: HEAD,
    without: "Not measured",
    cells: 8,
};

/// Of which tree figures are, when they were measured, and on what.
struct Origin<'a> {
    commit: &'a str,
    date: String,
    machine: String,
}

/// Writes what a run has found into the document.
pub(super) fn bless(found: &Value, commit: &str) -> Outcome<()> {
    commit::check(commit)?;
    let file_system = found["file_system"].as_str().unwrap_or("unknown");
    if IN_MEMORY.contains(&file_system) {
        return Err(Failure::found(format!(
            "not kept: files in memory ({file_system}) say nothing of a disk; give another place with --dir"
        )));
    }
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let origin = Origin {
        commit,
        date: date(unix_ms() / 1_000),
        machine: machine(&cpus, cores, file_system),
    };
    let path = cargo::root().join(DOCUMENT);
    let text = fs::read_to_string(&path).because("the document of results cannot be read")?;
    let all = questions(&cargo::root().join(SOURCE))?;
    let (text, count) = merged(&text, found, &origin, &all)?;
    fs::write(&path, text).because("the document of results cannot be written")?;
    eprintln!("{DOCUMENT} has the results of {count} figures.");
    Ok(())
}

/// The document with the figures of a run, and how many these are.
fn merged(
    text: &str,
    found: &Value,
    origin: &Origin<'_>,
    all: &[String],
) -> Outcome<(String, usize)> {
    let nothing = || Failure::found("the benchmarks wrote no figures down");
    let figures = found["figures"].as_object().ok_or_else(nothing)?;
    let mut said = FORM.read(text);
    for (key, figure) in figures {
        if !all.contains(key) {
            return Err(Failure::found(format!(
                "`{key}` is no question that {SOURCE} lists"
            )));
        }
        said.insert(key.clone(), said_of(figure, origin));
    }
    Ok((FORM.write(&said, all), figures.len()))
}

/// What is said of a question after a run.
fn said_of(figure: &Value, origin: &Origin<'_>) -> Said {
    let Some(measured) = shown(&figure["measured"]) else {
        let commit = origin.commit;
        return Said::Missing(format!("a run of {commit} could not measure it"));
    };
    let word = |key: &str| figure[key].as_str().unwrap_or_default().to_owned();
    let quartiles = figure["quartiles"].as_array().map(Vec::as_slice);
    let quartiles: Vec<String> = quartiles
        .unwrap_or_default()
        .iter()
        .filter_map(shown)
        .collect();
    let cells = [
        word("title"),
        format!("{measured} {}", word("unit")),
        quartiles.join(" .. "),
        word("target_text"),
        word("verdict"),
        origin.commit.to_owned(),
        origin.date.clone(),
        origin.machine.clone(),
    ];
    Said::Row(cells.map(|cell| cell_of(&cell)).into())
}

/// A number, or the word that stands for one without end.
fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Number(number) => Some(number.to_string()),
        Value::String(word) => Some(word.clone()),
        _ => None,
    }
}

/// A text as a cell takes it: in one line, without the mark that ends one, and never empty.
fn cell_of(text: &str) -> String {
    let text = text.replace('|', "/");
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.is_empty() {
        true => "-".to_owned(),
        false => words.join(" "),
    }
}

/// What the machine is, by its processor and not by its name.
fn machine(cpus: &str, cores: usize, file_system: &str) -> String {
    let line = |name: &str| {
        let mut lines = cpus.lines().filter_map(|line| line.split_once(':'));
        let found = lines.find(|(key, _)| key.trim() == name);
        found.map(|(_, value)| value.trim().to_owned())
    };
    // Processors of the Arm kind are named by the board that they are on.
    let model = line("model name").or_else(|| line("Model"));
    let model = model.unwrap_or_else(|| "unknown processor".to_owned());
    format!("{cores} cores, {model}, {file_system}")
}

/// The day of a time in seconds since 1970, UTC, as `2023-11-14`.
fn date(unix_s: u64) -> String {
    // In years that begin in March, so that the day that is not always there is the last one; 400 of them have 146,097 days.
    let days = unix_s / 86_400 + 719_468;
    let (eras, day_of_era) = (days / 146_097, days % 146_097);
    let leaps = day_of_era / 1_460 + day_of_era / 146_096;
    let year_of_era = (day_of_era + day_of_era / 36_524 - leaps) / 365;
    let before = 365 * year_of_era + year_of_era / 4 - year_of_era / 100;
    let day_of_year = day_of_era - before;
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = 400 * eras + year_of_era + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// The keys of all questions, in the order of the files that list them, each in a line of its own.
fn questions(source: &Path) -> Outcome<Vec<String>> {
    let mut keys = Vec::new();
    for file in rust_files(source)? {
        let text = fs::read_to_string(&file).because("a question cannot be read")?;
        let found = text.lines().filter_map(|line| {
            let key = line.trim().strip_prefix("key: \"")?;
            key.strip_suffix("\",").map(str::to_owned)
        });
        keys.extend(found);
    }
    Ok(keys)
}

fn rust_files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).because("the benchmarks' source cannot be read")?;
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let paths: std::io::Result<Vec<PathBuf>> = paths.collect();
    let mut paths = paths.because("the benchmarks' source cannot be read")?;
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn origin(commit: &str) -> Origin<'_> {
        Origin {
            commit,
            date: "2023-11-14".to_owned(),
            machine: "2 cores, a processor, ext4".to_owned(),
        }
    }

    #[test]
    fn rows_are_merged_by_figure_and_a_miss_is_one() {
        let all = ["seal", "live", "aead"].map(str::to_owned);
        let found = json!({"figures": {
            "live": {"title": "age | median", "measured": "never", "unit": "ms", "quartiles": [210.5, "never"],
                "target_text": "<= 300", "verdict": "NOT MET"},
            "aead": {"title": "alone", "measured": null, "unit": "MB/s", "quartiles": null, "target_text": "-",
                "verdict": "not measured", "details": {"not_measured": "of no interest"}},
        }});
        let first = origin("770686cd2b40");
        let (text, count) = merged("", &found, &first, &all).unwrap();
        let row = "| `live` | age / median | never ms | 210.5 .. never | <= 300 | NOT MET | 770686cd2b40 | 2023-11-14 | 2 cores, a processor, ext4 |\n";
        assert!(text.contains(row) && count == 2, "{text}");
        assert!(text.contains("- `seal`: not run yet\n"), "{text}");
        assert!(text.contains("- `aead`: a run of 770686cd2b40 could not measure it\n"));
        // Another part, of another commit: the row stays.
        let found = json!({"figures": {
            "seal": {"title": "sealing", "measured": 0.91, "unit": "x", "quartiles": null, "target_text": ">= 0.7",
                "verdict": "met"},
        }});
        let second = origin("0123456789ab");
        let (text, _) = merged(&text, &found, &second, &all).unwrap();
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| `seal` | sealing | 0.91 x | - | >= 0.7 | met | 0123456789ab | "));
        let strange = json!({"figures": {"new": {"measured": 1}}});
        assert!(merged(&text, &strange, &second, &all).is_err());
        assert!(merged(&text, &json!({}), &second, &all).is_err());
    }

    #[test]
    fn figures_of_changes_or_of_memory_are_not_kept() {
        let found = json!({"file_system": "tmpfs", "figures": {}});
        assert_eq!(bless(&found, "unknown").unwrap_err().exit_code(), 2);
        assert_eq!(bless(&found, "770686cd2b40").unwrap_err().exit_code(), 1);
    }

    #[test]
    fn a_machine_is_what_it_is_and_not_what_it_is_called() {
        let cpus = "processor\t: 0\nmodel name\t: A Processor (Lake)\n\nprocessor\t: 1\n";
        let said = machine(cpus, 2, "ext4");
        assert_eq!(said, "2 cores, A Processor (Lake), ext4");
        let board = "processor\t: 0\nModel\t\t: A Board 4 Rev 1.4\n";
        assert_eq!(
            machine(board, 4, "ext4"),
            "4 cores, A Board 4 Rev 1.4, ext4"
        );
        assert!(machine("", 1, "xfs").contains("unknown processor"));
    }

    #[test]
    fn a_date_is_that_of_the_calendar() {
        for (unix_s, day) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_700_000_000, "2023-11-14"),
            (1_704_067_199, "2023-12-31"),
            (1_704_067_200, "2024-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(date(unix_s), day);
        }
    }

    /// `BLESS=1` names new questions as not run, and lets go of those that are no more.
    #[test]
    fn the_committed_document_has_each_question_as_a_row_or_by_name() {
        let root = cargo::root();
        let all = questions(&root.join(SOURCE)).unwrap();
        assert!(all.contains(&"four_cameras_written".to_owned()), "{all:?}");
        let path = root.join(DOCUMENT);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let said = FORM.read(&text);
        let wanted = FORM.write(&said, &all);
        if std::env::var_os("BLESS").is_some() {
            fs::write(&path, &wanted).unwrap();
            return;
        }
        assert_eq!(text, wanted, "{DOCUMENT}: cargo xtask bless");
        for (key, said) in &said {
            let Said::Row(cells) = said else { continue };
            assert!(commit::is_one(&cells[5]), "{key}: {}", cells[5]);
            assert_eq!(cells[6].len(), "2023-11-14".len(), "{key}: {}", cells[6]);
        }
    }
}
