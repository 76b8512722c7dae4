//! What stops a test run, told apart: a program that refused, one that died, one that hung, and
//! trouble of the harness's own.
//!
//! This room must never turn a refusal into a pass: who catches a [`Trouble`] decides that.

use std::fmt;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use crate::oracle::{Broken, Ends};
use crate::process::Role;

/// The outcome of a step.
pub type Outcome<T> = Result<T, Trouble>;

/// Another process still has the directory; hub or relay cannot be reached; not admitted, or the code
/// is void. The programs' READMEs have the list.
const PASSING_CODES: [i32; 3] = [3, 5, 6];

/// Why a step did not do what it should.
#[derive(thiserror::Error)]
pub enum Trouble {
    /// A program is not built.
    #[error(
        "{} is missing; build the programs first: cargo build --workspace --exclude bench --bins \
         --examples --locked (`cargo xtask test` does that)",
        .0.display()
    )]
    NotBuilt(PathBuf),
    /// A program ended though it should run, or with another code than 0.
    #[error("{role} ended: {status}; it said: {said}")]
    Ended {
        /// Which program.
        role: Role,
        /// How.
        status: ExitStatus,
        /// The last of its stderr.
        said: String,
    },
    /// Something did not happen in time.
    #[error("{what} did not happen within {seconds} s; last: {last}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The last thing seen, for the reader.
        last: String,
    },
    /// What both ends should come to together did not come: the promise of convergence.
    #[error(
        "the ends do not come together: {what} did not happen within {seconds} s; last: {last}"
    )]
    Apart {
        /// What was waited for.
        what: String,
        /// How long.
        seconds: u64,
        /// The last thing seen, for the reader.
        last: String,
    },
    /// A program said something that does not belong to its contract.
    #[error("{role} said what it should not: {said}")]
    Contract {
        /// Which program.
        role: Role,
        /// What it said, or what was missing.
        said: String,
    },
    /// A promise is broken.
    #[error("broken: {0}")]
    Broken(String),
    /// A secret stands where it must not, or a thief opens what is past.
    #[error("broken: {}", listed(.broken))]
    Stolen {
        /// One for each place.
        broken: Vec<Broken>,
        /// All that both ends say, if they came to rest: what else is broken is to be judged with it.
        ends: Option<Box<Ends>>,
    },
    /// Whoever typed the command line.
    #[error("{0}")]
    Usage(String),
    /// The machine, not the system under test.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// What the machine said.
        source: std::io::Error,
    },
}

/// One sentence of all.
fn listed(broken: &[Broken]) -> String {
    let said: Vec<String> = broken.iter().map(ToString::to_string).collect();
    said.join("; ")
}

/// Tests return `Result<(), Trouble>`, which is shown by `Debug`; a sentence reads better.
impl fmt::Debug for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Trouble {
    /// For `map_err` on an IO result of our own.
    pub fn machine(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }

    /// A wait that was for both ends to come together.
    #[must_use]
    pub fn apart(self) -> Self {
        match self {
            Self::Late {
                what,
                seconds,
                last,
            } => Self::Apart {
                what,
                seconds,
                last,
            },
            other => other,
        }
    }

    /// Whether it is the answer of a program whose neighbour is just dying or starting, in a documented
    /// code that says so: whoever asked may ask again. Everything else is what it is at once: a panic
    /// (101), a signal, a refusal (4), a full disk, a hang, words that nobody understands.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        self.exit_code()
            .is_some_and(|code| PASSING_CODES.contains(&code))
    }

    /// Whether a SIGKILL ended the program: the planted one, or somebody's.
    #[must_use]
    pub fn is_kill(&self) -> bool {
        matches!(self, Self::Ended { status, .. } if status.signal() == Some(9))
    }

    /// The code with which a program refused, if that is what happened.
    #[must_use]
    pub fn exit_code(&self) -> Option<i32> {
        match self {
            Self::Ended { status, .. } => status.code(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_documented_words_of_a_neighbour_in_trouble_may_pass() {
        let ended = |raw: i32| Trouble::Ended {
            role: Role::Hub,
            status: ExitStatus::from_raw(raw),
            said: "something".to_owned(),
        };
        for code in 1..=255 {
            let trouble = ended(code << 8);
            assert_eq!(trouble.may_pass(), [3, 5, 6].contains(&code), "{code}");
            assert!(!trouble.is_kill());
        }
        for signal in [6, 9, 11, 15] {
            assert!(!ended(signal).may_pass(), "signal {signal}");
            assert_eq!(ended(signal).is_kill(), signal == 9);
        }
        let late = Trouble::Late {
            what: "the end".to_owned(),
            seconds: 60,
            last: String::new(),
        };
        assert!(!late.may_pass());
        assert!(!Trouble::Broken("it is".to_owned()).may_pass());
    }
}
