//! Fail-stop: after a failed write or sync nobody knows what the disk holds.
//!
//! A failed sync is never retried here or anywhere: the kernel may have marked the pages clean.
//! The only way on is to drop the handle and open again, which runs recovery.

use std::io;

use crate::disk::{Cause, beneath};

/// Why a handle died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoisonCause {
    /// What was being done, for example `log sync`.
    pub operation: &'static str,
    /// The kind of IO error.
    pub kind: io::ErrorKind,
    /// The operating system's error number, if there was one.
    pub os_error: Option<i32>,
}

impl PoisonCause {
    pub(crate) fn new(operation: &'static str, error: &io::Error) -> Self {
        let error = beneath(error);
        PoisonCause {
            operation,
            kind: error.kind(),
            os_error: error.raw_os_error(),
        }
    }

    /// What it asks of a person if opening again does not help.
    #[must_use]
    pub fn cause(&self) -> Cause {
        let said = self.os_error.map(io::Error::from_raw_os_error);
        Cause::of_ours(&said.unwrap_or_else(|| self.kind.into()))
    }
}
