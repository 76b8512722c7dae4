//! Why the malicious relay does not do what it was told. What it does to others is never an error.

use std::io;

/// The outcome of a step.
pub type Outcome<T> = Result<T, Fault>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Whoever gave the order, or wrote the configuration.
    #[error("{0}")]
    Usage(String),
    /// The machine.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// What the machine said.
        source: io::Error,
    },
    /// It answered an order with something that is no answer.
    #[error("the malicious relay answered: {0}")]
    Nonsense(String),
}

impl Fault {
    /// For `map_err` on a result of IO.
    pub fn machine(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Machine { what, source }
    }
}
