//! Where the log goes: to stderr, and there in journald's own form if that reads it.
//!
//! It must never decide what is said, only how.

use std::io::{self, StderrLock, Write as _};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;
use wal::service::{Urgency, is_read_by_journald};

/// Starts the log of this process; `SECLUSO_LOG` says what is in it.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false);
    let started = if is_read_by_journald() {
        // It notes the time itself.
        log.without_time().with_writer(Journald).finish().try_init()
    } else {
        log.with_writer(io::stderr).finish().try_init()
    };
    if started.is_err() {
        eprintln!("secluso-relay: logging was already started");
    }
}

/// Stderr, each line behind its urgency.
struct Journald;

impl<'a> MakeWriter<'a> for Journald {
    type Writer = StderrLock<'static>;

    fn make_writer(&'a self) -> Self::Writer {
        io::stderr().lock()
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        let mut stderr = io::stderr().lock();
        let prefix = Urgency::from(metadata.level()).prefix();
        // What follows fails as well, and says so.
        let _closed = stderr.write_all(prefix.as_bytes());
        stderr
    }
}
