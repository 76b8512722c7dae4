//! Where the log goes: to the journal of the system with fields of its own, if journald reads stderr and hears its
//! socket; else to stderr, and there in journald's own form if that reads it.
//!
//! A field has the name that it has in the log, behind `SECLUSO_`. It must never decide what is said, only how.

use std::io::{self, StderrLock, Write as _};

use tracing::Metadata;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use wal::service::{Urgency, is_read_by_journald};

/// Starts the log of this process; `SECLUSO_LOG` says what is in it.
pub(crate) fn start() {
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let is_journald = is_read_by_journald();
    // Where its socket is out of reach, what stands on stderr reaches it all the same.
    let native = is_journald.then(tracing_journald::layer);
    let log = tracing_subscriber::fmt().with_ansi(false);
    let started = if let Some(Ok(layer)) = native {
        let layer = layer
            .with_field_prefix(Some("SECLUSO".to_owned()))
            .with_syslog_identifier("secluso-relay".to_owned())
            .with_priority_mappings(priorities());
        tracing_subscriber::registry()
            .with(filter)
            .with(layer)
            .try_init()
    } else if is_journald {
        let log = log.with_env_filter(filter);
        // It notes the time itself.
        log.without_time().with_writer(Journald).finish().try_init()
    } else {
        let log = log.with_env_filter(filter);
        log.with_writer(io::stderr).finish().try_init()
    };
    if started.is_err() {
        eprintln!("secluso-relay: logging was already started");
    }
}

/// The numbers of [`Urgency`], which a line on stderr has as well.
fn priorities() -> PriorityMappings {
    PriorityMappings {
        error: Priority::Error,
        warn: Priority::Warning,
        info: Priority::Informational,
        debug: Priority::Debug,
        trace: Priority::Debug,
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
