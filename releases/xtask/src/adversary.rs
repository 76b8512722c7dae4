//! `cargo xtask adversary`: whoever owns the relay, as an attacker.
//!
//! This room builds the programs and starts the one that attacks; it judges nothing.

use std::process::{Command, Stdio};

use crate::failure::{Because, Failure, Outcome};
use crate::progress::Steps;
use crate::{cargo, setup};

/// The program that plays the attacks.
const PROGRAM: &str = "secluso-adversary";
/// The table of old copies, as a whole run left it.
const TABLE: &str = "crashtest/ROLLBACK.md";

/// Builds everything and plays all attacks. The words go to the program as they are.
pub(crate) fn run(words: &[String]) -> Outcome<()> {
    check(words)?;
    let mut steps = Steps::counted(3);
    let result = play(&mut steps, words);
    steps.summary(&[]);
    result
}

fn play(steps: &mut Steps, words: &[String]) -> Outcome<()> {
    steps.step("set-up", setup::ensure_build_tools)?;
    // The attacks run the real programs beside the one that attacks.
    let programs = steps.step("build the programs", cargo::build_programs)?;
    let program = programs
        .get(PROGRAM)
        .ok_or_else(|| Failure::found(format!("cargo built no {PROGRAM}")))?;
    let bless = words.iter().any(|word| word == "--bless");
    let table = cargo::root().join(TABLE);
    steps.step("attacks", || {
        let mut attacks = Command::new(program);
        attacks
            .arg("play")
            .args(words.iter().filter(|word| *word != "--bless"));
        if bless {
            attacks.arg("--table").arg(&table);
        }
        let status = attacks
            .stdin(Stdio::null())
            .status()
            .because("cannot start the attacker")?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::found(
            "the attacker found something; see the lines FAILED",
        ))
    })
}

/// A slip in the command line should not cost a build.
fn check(words: &[String]) -> Outcome<()> {
    let (mut bless, mut rollback) = (false, true);
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            "--json" | "--long" => {}
            "--bless" => bless = true,
            "--only" => match words.next() {
                Some("rollback") => rollback = true,
                Some("relay" | "traffic") => rollback = false,
                _ => {
                    let sentence = "--only is one of relay, rollback, traffic";
                    return Err(Failure::usage(sentence));
                }
            },
            other => return Err(Failure::usage(format!("adversary knows no `{other}`"))),
        }
    }
    match bless && !rollback {
        true => Err(Failure::usage(
            "--bless keeps the table of old copies, which --only leaves out",
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_told_before_anything_is_built() {
        let words =
            |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
        for right in [
            "",
            "--json --long",
            "--only relay",
            "--only traffic --json",
            "--only rollback --bless",
        ] {
            assert!(check(&words(right)).is_ok(), "{right}");
        }
        for wrong in [
            "--short",
            "--only",
            "--only hub",
            "relay",
            "--only relay --bless",
        ] {
            assert_eq!(check(&words(wrong)).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }
}
