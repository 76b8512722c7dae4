//! Where the log goes: to stderr, and there in journald's own form if that reads it.
//!
//! It must never decide what is said, only how.

use std::io::{self, StderrLock, Write as _};

use tracing::Metadata;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use wal::service::{Urgency, is_read_by_journald};

/// Starts the log of this process; `SECLUSO_LOG` says what is in it.
pub fn start() {
    let filter = EnvFilter::try_from_env("SECLUSO_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false);
    if is_read_by_journald() {
        // It notes the time itself, and shows no colours.
        log.without_time()
            .with_ansi(false)
            .with_writer(Journald)
            .init();
    } else {
        log.with_writer(io::stderr).init();
    }
}

/// What is said to people beside facts and log.
pub fn aside(urgency: Urgency, text: &str) {
    let text = lines(is_read_by_journald().then_some(urgency), text);
    // Nobody can be told that stderr is closed.
    let _closed = io::stderr().lock().write_all(text.as_bytes());
}

fn lines(urgency: Option<Urgency>, text: &str) -> String {
    let prefix = urgency.map_or("", Urgency::prefix);
    let mut out = String::new();
    for (number, line) in text.lines().enumerate() {
        let name = if number == 0 { "secluso-hub: " } else { "" };
        out.push_str(&format!("{prefix}{name}{line}\n"));
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_for_journald_has_its_urgency_and_people_see_none() {
        let text = "the camera is away\nIt is opened again";
        assert_eq!(
            lines(Some(Urgency::Warning), text),
            "<4>secluso-hub: the camera is away\n<4>It is opened again\n"
        );
        assert_eq!(
            lines(None, text),
            "secluso-hub: the camera is away\nIt is opened again\n"
        );
    }
}
