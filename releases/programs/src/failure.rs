//! Why a command stopped, in one sentence a person can act on.
//!
//! This room holds the only error type of whoever runs programs here. It never decides what to do about a failure.

use std::fmt;

/// What every command and every step returns.
pub type Outcome<T> = Result<T, Failure>;

/// A failed command: what went wrong, and whose turn it is.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    sentence: String,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// The command line was wrong; exit code 2.
    Usage,
    /// The machine lacks something that the tool may not install; exit code 3.
    Machine,
    /// A check, a test or the demo found something; exit code 1.
    Found,
}

impl Failure {
    /// The caller typed something we do not know.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self {
            kind: Kind::Usage,
            sentence: sentence.into(),
        }
    }

    /// The machine lacks something; the sentence names the line to run.
    pub fn machine(sentence: impl Into<String>) -> Self {
        Self {
            kind: Kind::Machine,
            sentence: sentence.into(),
        }
    }

    /// The tree, a test or a program under test is at fault.
    pub fn found(sentence: impl Into<String>) -> Self {
        Self {
            kind: Kind::Found,
            sentence: sentence.into(),
        }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> u8 {
        match self.kind {
            Kind::Found => 1,
            Kind::Usage => 2,
            Kind::Machine => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.sentence)
    }
}

impl std::error::Error for Failure {}

/// Turns any error into a failure with a sentence in front: `read(x).because("cannot read x")`.
pub trait Because<T> {
    /// Names what was being done when the error came.
    fn because(self, doing: &str) -> Outcome<T>;
}

impl<T, E: fmt::Display> Because<T> for Result<T, E> {
    fn because(self, doing: &str) -> Outcome<T> {
        self.map_err(|error| Failure::found(format!("{doing}: {error}")))
    }
}
