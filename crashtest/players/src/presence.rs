//! Whether a judge is installed, and what is said if not.
//!
//! A test that could not judge must never look like one that did: it is `NOT COVERED`, and where `cargo xtask test` can
//! install the judge and nobody would read that (CI as root) it fails.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// A judge that is a program of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Player {
    /// `ffmpeg` with `ffprobe`.
    Ffmpeg,
    /// Chromium, or another program of it that knows H.264.
    Chromium,
}

impl Player {
    /// Under which names its program is found, the first that is there. The same are sought by `cargo xtask setup`.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Ffmpeg => &["ffmpeg"],
            Self::Chromium => &["chromium", "google-chrome", "google-chrome-stable"],
        }
    }

    /// The program, if it is installed and can be run.
    pub(crate) fn program(self) -> Option<&'static str> {
        let flag = match self {
            Self::Ffmpeg => "-version",
            Self::Chromium => "--version",
        };
        let runs = |name: &&&str| {
            let mut command = Command::new(name);
            command.arg(flag).stdin(Stdio::null());
            let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        self.names().iter().find(runs).copied()
    }

    /// Whether a test can ask it. If not, that is said for the test of this name, in the line that `cargo xtask test` reads
    /// and counts.
    ///
    /// # Panics
    /// It is missing where it had to be installed: in CI (`CI=true`), as root.
    #[must_use]
    pub fn is_here(self, test: &str) -> bool {
        if self.program().is_some() {
            return true;
        }
        let name = self.names()[0];
        let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(
            !(is_ci && rustix::process::geteuid().is_root()),
            "{name} is not installed; `cargo xtask setup` installs it"
        );
        // The test runner hides what a passing test prints; this is not to be hidden.
        let line = format!("\nNOT COVERED: {test}: {name} is not installed\n");
        // Whoever closed stderr does not read it either.
        let _said = std::io::stderr().write_all(line.as_bytes());
        false
    }
}
