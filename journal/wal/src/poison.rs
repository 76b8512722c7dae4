//! Fail-stop: after a failed write or sync nobody knows what the disk holds.
//!
//! A failed sync is never retried here or anywhere: the kernel may have marked the pages clean.
//! The only way on is to drop the handle and open again, which runs recovery.

use std::io;

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
        PoisonCause {
            operation,
            kind: error.kind(),
            os_error: error.raw_os_error(),
        }
    }
}
