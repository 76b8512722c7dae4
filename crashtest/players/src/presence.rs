//! Whether a judge is installed, or what else a test wants of others, and what is said if not.
//!
//! A test that could not judge must never look like one that did: it is `NOT COVERED`, and where `cargo xtask test` can
//! install what is missing and nobody would read that (CI as root) it fails.

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
        here_or_said(self.names()[0], self.program().is_some(), test)
    }
}

/// What [`Player::is_here`] does, for whatever else `cargo xtask setup` installs for tests: `name` is for people, and
/// whoever asks has seen whether it is there.
///
/// # Panics
/// As [`Player::is_here`].
#[must_use]
pub fn here_or_said(name: &str, is_here: bool, test: &str) -> bool {
    if is_here {
        return true;
    }
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
