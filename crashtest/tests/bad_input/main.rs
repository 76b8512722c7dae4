//! Bad input, each with one clear message, the documented exit code and nothing else harmed. All
//! of it with the real programs; after each mistake the system goes on, and the oracle says so.

mod damaged;
mod full;
mod lying_relay;
mod refused;

use crashtest::oracle::Verdict;
use crashtest::system::{Answer, Setup, System};
use crashtest::trouble::{Outcome, Trouble};

/// A message that is longer than this is not one clear sentence.
const MESSAGE_BYTES_MAX: usize = 400;

/// One event only, so that a test waits for little.
fn one_event() -> Setup {
    Setup {
        passes: 1,
        ..Setup::default()
    }
}

/// A program refused with this code and one clear sentence that has these words in it.
#[track_caller]
fn refused(answer: &Answer, code: i32, words: &[&str]) {
    assert_eq!(answer.code(), code, "{answer:?}");
    let sentence: Vec<&str> = answer
        .said
        .lines()
        .filter(|line| line.starts_with("secluso-"))
        .collect();
    assert_eq!(sentence.len(), 1, "one clear sentence: {}", answer.said);
    assert!(sentence[0].len() <= MESSAGE_BYTES_MAX, "{}", answer.said);
    assert!(!answer.said.contains("panicked"), "{}", answer.said);
    let said = sentence[0].to_lowercase();
    for word in words {
        assert!(
            said.contains(&word.to_lowercase()),
            "`{word}` is missing in: {said}"
        );
    }
}

/// The system goes on as if nothing had been: one more event arrives, and all is well.
fn goes_on(system: &mut System) -> Outcome<()> {
    let run = system.settle();
    Verdict::of(&run).expect_pass()
}

/// What must not be.
fn wrong<T>(what: impl Into<String>) -> Outcome<T> {
    Err(Trouble::Broken(what.into()))
}
