//! The thief: copies of a hub's and a phone's files after every step of a long life, and what opens.
//!
//! This room starts the programs that steal and says what they found; it knows no format and judges
//! nothing that they did not. What cannot be measured here is said, never left out in silence.

mod blocks;
mod figures;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::cargo;
use crate::commit;
use crate::failure::{Because, Failure, Outcome};
use crate::progress::Steps;
use crate::setup;

/// Epochs of a whole run, and of a quick one.
const EPOCHS: u64 = 200;
const EPOCHS_QUICK: u64 = 20;

/// What is told of each life: its name for people, and its key in what the thief says.
const ROWS: [(&str, &str); 72] = [
    ("messages that were sent", "messages"),
    (
        "  opened by any copy, as it may or not",
        "messages_opened_by_any_copy",
    ),
    ("crashes in the middle of a clip", "crashes"),
    ("hours without anything", "idle_hours"),
    ("commands", "commands"),
    ("further phones paired", "pairings"),
    ("phones removed", "removals"),
    ("phones that died in what they did", "phone_deaths"),
    ("copies of the hub", "hub_copies"),
    ("copies of phones", "phone_copies"),
    ("  either, within a step", "copies_within_a_step"),
    ("clips in progress, for each copy", "clips_in_progress"),
    ("  of these opened, as they may", "clips_in_progress_opened"),
    ("clips that were finished", "finished_clips"),
    ("  opened by a later copy", "finished_clips_opened"),
    ("clips opened before they began", "later_clips_opened"),
    (
        "clips that ended while another went on",
        "clips_ended_beside_another",
    ),
    (
        "  opened by a later copy",
        "clips_ended_beside_another_opened",
    ),
    (
        "messages of phones that the hub took",
        "taken_phone_messages",
    ),
    ("  opened by a later copy", "taken_phone_messages_opened"),
    ("clips retained, for each copy", "retained_clips"),
    ("  of these opened, as they may", "retained_clips_opened"),
    ("clips retained no more", "released_clips"),
    ("  opened by a later copy", "released_clips_opened"),
    ("clips that were deleted", "deleted_clips"),
    ("  opened by a later copy", "deleted_clips_opened"),
    ("live sessions", "live_sessions"),
    (
        "  opened by any copy, as it may or not",
        "live_sessions_opened_by_any_copy",
    ),
    (
        "  in progress, for each copy of the hub",
        "live_sessions_in_progress",
    ),
    (
        "    of these opened, as they may",
        "live_sessions_in_progress_opened",
    ),
    (
        "  finished, opened by a later copy of the hub",
        "finished_live_sessions_opened",
    ),
    (
        "  opened by a copy of the hub before they began",
        "later_live_sessions_opened",
    ),
    (
        "  left: the phone fell quiet behind their end",
        "live_sessions_gone_from_phone",
    ),
    (
        "    opened by a later copy of it",
        "live_sessions_gone_from_phone_opened",
    ),
    ("pictures of events", "pictures"),
    (
        "  opened by any copy, as it may or not",
        "pictures_opened_by_any_copy",
    ),
    (
        "  being made, for each copy of the hub",
        "pictures_in_progress",
    ),
    (
        "    of these opened, as they may",
        "pictures_in_progress_opened",
    ),
    (
        "  finished, opened by a later copy of the hub",
        "finished_pictures_opened",
    ),
    (
        "  opened by a copy of the hub before they began",
        "later_pictures_opened",
    ),
    (
        "  of which the phone deleted the clip",
        "pictures_gone_from_phone",
    ),
    (
        "    opened by a later copy of it",
        "pictures_gone_from_phone_opened",
    ),
    ("notifications", "notifications"),
    (
        "  opened by any copy, as it may or not",
        "notifications_opened_by_any_copy",
    ),
    (
        "  being made, for each copy of the hub",
        "notifications_in_progress",
    ),
    (
        "    of these opened, as they may",
        "notifications_in_progress_opened",
    ),
    (
        "  finished, opened by a later copy of the hub",
        "finished_notifications_opened",
    ),
    (
        "  opened by a copy of the hub before they began",
        "later_notifications_opened",
    ),
    (
        "  of which the phone deleted the clip",
        "notifications_gone_from_phone",
    ),
    (
        "    opened by a later copy of it",
        "notifications_gone_from_phone_opened",
    ),
    ("    open until then", "notifications_held_until_gone"),
    (
        "      of these opened by a later copy of it",
        "notifications_held_until_gone_opened",
    ),
    (
        "  as phones store them, opened as they may",
        "stored_notifications_opened",
    ),
    (
        "    once the clip was deleted",
        "deleted_stored_notifications_opened",
    ),
    ("welcomes that were said", "welcomes"),
    (
        "  opened while it paired, as they may",
        "welcomes_opened_while_pairing",
    ),
    ("  opened by any other copy", "past_welcomes_opened"),
    ("secrets of pairings, sought by value", "pairing_secrets"),
    (
        "  found while it paired, as they may",
        "pairing_secrets_found_while_pairing",
    ),
    ("  found in any other copy", "past_pairing_secrets_found"),
    (
        "messages behind the next new keys",
        "messages_opened_behind_new_keys",
    ),
    (
        "values opened, once for each copy: in the log",
        "opened_in_log",
    ),
    ("  in torn groups of it", "opened_in_torn_groups"),
    (
        "  in records of it without a group",
        "opened_in_records_without_group",
    ),
    ("  in checkpoint a", "opened_in_checkpoint_a"),
    ("  in checkpoint b", "opened_in_checkpoint_b"),
    (
        "  in what is left behind a checkpoint",
        "opened_in_behind_checkpoints",
    ),
    ("  in the view as RocksDB reads it", "opened_in_view"),
    ("  in the table files of the view", "opened_in_view_tables"),
    ("  in RocksDB's own log", "opened_in_view_log"),
    (
        "  by keys in the vault's first image alone",
        "opened_by_first_image_alone",
    ),
    (
        "  by keys in its second image alone",
        "opened_by_second_image_alone",
    ),
];

/// The lives, by their keys in what the thief says.
const LIVES: [&str; 3] = ["sealed", "retaining", "unsealed"];

#[derive(Debug, PartialEq, Eq)]
struct Options {
    epochs: u64,
    seed: String,
    json: bool,
    /// Whether the figures are kept in the document that quotes them.
    bless: bool,
}

impl Options {
    fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            epochs: EPOCHS,
            seed: "1".to_owned(),
            json: false,
            bless: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--quick" => options.epochs = EPOCHS_QUICK,
                "--json" => options.json = true,
                "--bless" => options.bless = true,
                "--seed" => {
                    let seed = rest.next().filter(|seed| seed.parse::<u64>().is_ok());
                    let seed = seed.ok_or_else(|| Failure::usage("--seed wants a number"))?;
                    seed.clone_into(&mut options.seed);
                }
                other => {
                    return Err(Failure::usage(format!(
                        "`thief` has no option `{other}`; try --help"
                    )));
                }
            }
        }
        if options.bless && options.epochs != EPOCHS {
            let sentence = "--bless keeps the figures of a whole run, and --quick is none";
            return Err(Failure::usage(sentence));
        }
        Ok(options)
    }
}

/// Steals, compares, says.
pub(crate) fn run(arguments: &[String]) -> Outcome<()> {
    let options = Options::parse(arguments)?;
    let commit = commit::name(&[figures::DOCUMENT]);
    if options.bless {
        commit::check(&commit)?;
    }
    let obstacle = blocks::obstacle();
    let mut steps = Steps::counted(4 + usize::from(obstacle.is_none()));
    steps.step("set-up", setup::ensure_build_tools)?;
    let programs = steps.step("build the programs", cargo::build_programs)?;
    let simulate = programs
        .get("simulate")
        .ok_or_else(|| Failure::found("cargo built no simulate"))?;
    let stolen = steps.step("steal after every step", || {
        let mut thief = Command::new(simulate);
        thief.args(["thief", "--json", "--seed", &options.seed]);
        thief.args(["--epochs", &options.epochs.to_string()]);
        heard(&mut thief, "the thief")
    })?;
    let sqlite = steps.step("the same of SQLite", || {
        let mut thief = Command::new(sqlite_thief(simulate)?);
        thief.arg(options.epochs.to_string());
        heard(&mut thief, "SQLite's thief")
    })?;
    let freed = match obstacle {
        Some(why) => {
            eprintln!("NOT MEASURED: freed disk blocks: {why}");
            json!({"not_measured": why})
        }
        None => steps.step("search freed disk blocks", || {
            let place = simulate.with_file_name("thief");
            let terms = (options.epochs, options.seed.as_str());
            let found = blocks::measure(simulate, &place, terms)?;
            Ok(json!({"superseded_keys": found.superseded, "readable": found.readable}))
        })?,
    };
    steps.summary(&[]);
    if options.json {
        let all = json!({"ours": stolen, "sqlite_secure_delete": sqlite, "freed_blocks": freed});
        println!("{all}");
    } else {
        print!("{}", told(&stolen, &sqlite, &freed));
    }
    if let Some(key) = unsaid(&stolen) {
        return Err(Failure::found(format!("the thief says nothing of `{key}`")));
    }
    let complaints = stolen["complaints"].as_array().map_or(1, Vec::len);
    match complaints {
        0 if options.bless => figures::keep(&figures::Figures {
            commit: &commit,
            epochs: options.epochs,
            seed: &options.seed,
            stolen: &stolen,
            sqlite: &sqlite,
            freed: &freed,
        }),
        0 => Ok(()),
        count => Err(Failure::found(format!(
            "the thief found what he must not, or proved nothing: {count} complaints (above)"
        ))),
    }
}

/// A build of its own: SQLite's dependencies beside RocksDB's would build that again.
fn sqlite_thief(beside: &Path) -> Outcome<PathBuf> {
    let build = [
        "build",
        "--locked",
        "--package",
        "yardstick",
        "--features",
        "sqlite",
    ];
    cargo::run(&build)?;
    Ok(beside.with_file_name("sqlite-thief"))
}

/// Runs a program that prints one line of JSON, which comes back whether or not the program was content with
/// it; its progress goes where ours goes.
fn heard(program: &mut Command, name: &str) -> Outcome<Value> {
    let output = program
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .because(&format!("cannot start {name}"))?;
    let text = String::from_utf8(output.stdout).because("its answer is not UTF-8")?;
    let line = text.lines().last().unwrap_or_default();
    serde_json::from_str(line)
        .map_err(|_| Failure::found(format!("{name} found nothing (its error is above)")))
}

/// A figure of some life that the thief did not give.
fn unsaid(stolen: &Value) -> Option<&'static str> {
    let is_missing = |key: &str| LIVES.iter().any(|life| !stolen[life][key].is_number());
    let mut keys = ROWS.iter().map(|(_, key)| *key);
    keys.find(|key| is_missing(key))
}

/// The figures for a person.
fn told(stolen: &Value, sqlite: &Value, freed: &Value) -> String {
    let lives = LIVES.map(|life| &stolen[life]);
    let mut text = format!(
        "\n{:<48}{:>10}{:>12}{:>12}\n",
        "what the thief opened", "sealed", "retaining", "not sealed"
    );
    for (name, key) in ROWS {
        let [sealed, retaining, unsealed] = lives.map(|life| life[key].to_string());
        text.push_str(&format!(
            "{name:<48}{sealed:>10}{retaining:>12}{unsealed:>12}\n"
        ));
    }
    text.push_str(&format!(
        "\nOpenMLS on its SQLite storage, secure_delete=ON, {} epochs: up to {} superseded ones readable at once, \
         {} at the end\nfreed disk blocks: {freed}\n",
        sqlite["epochs"],
        sqlite["superseded_readable_at_most"],
        sqlite["superseded_readable_at_the_end"],
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn options_are_few() {
        let parse = |text: &str| Options::parse(&words(text));
        let quick = parse("--quick --seed 7 --json").unwrap();
        let wanted = Options {
            epochs: EPOCHS_QUICK,
            seed: "7".to_owned(),
            json: true,
            bless: false,
        };
        assert_eq!(quick, wanted);
        assert_eq!(parse("").unwrap().epochs, EPOCHS);
        for bad in ["--seed", "--seed x", "--fast", "--quick --bless"] {
            assert_eq!(parse(bad).unwrap_err().exit_code(), 2, "{bad}");
        }
    }

    #[test]
    fn figures_of_all_lives_stand_side_by_side() {
        let life = |finished: u64| json!({"finished_clips": 9, "finished_clips_opened": finished});
        let stolen = json!({"sealed": life(0), "retaining": life(1), "unsealed": life(9)});
        let sqlite = json!({"epochs": 200, "superseded_readable_at_most": 92});
        let text = told(&stolen, &sqlite, &json!({"not_measured": "no root"}));
        let row = text.lines().find(|line| line.contains("by a later copy"));
        let numbers: Vec<&str> = row.unwrap().split_whitespace().rev().take(3).collect();
        assert_eq!(numbers, ["9", "1", "0"]);
        assert!(text.contains("up to 92 superseded"));
    }

    #[test]
    fn a_figure_that_the_thief_does_not_give_is_missed() {
        let life: serde_json::Map<String, Value> = ROWS
            .iter()
            .map(|(_, key)| ((*key).to_owned(), json!(3)))
            .collect();
        let mut stolen = json!({"sealed": life, "retaining": life, "unsealed": life});
        assert_eq!(unsaid(&stolen), None);
        stolen["retaining"]["welcomes"] = Value::Null;
        assert_eq!(unsaid(&stolen), Some("welcomes"));
    }

    /// Each of them is what was sent, what any copy opened, and what no copy may.
    #[test]
    fn live_sessions_pictures_and_notifications_have_rows_of_their_own() {
        for class in ["live_sessions", "pictures", "notifications"] {
            for key in [
                class.to_owned(),
                format!("{class}_opened_by_any_copy"),
                format!("{class}_in_progress_opened"),
                format!("finished_{class}_opened"),
                format!("later_{class}_opened"),
                format!("{class}_gone_from_phone_opened"),
            ] {
                assert!(ROWS.iter().any(|(_, row)| *row == key), "{key}");
            }
        }
        let once: BTreeSet<&str> = ROWS.iter().map(|(_, key)| *key).collect();
        assert_eq!(once.len(), ROWS.len(), "a row stands twice");
        let widest = ROWS.iter().map(|(name, _)| name.len()).max();
        assert!(widest < Some(48), "a row runs into its numbers");
    }
}
