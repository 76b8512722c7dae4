//! Watching live, as an owner does: a program that runs for a while and ends.
//!
//! Whether a picture came is not its business: a camera that plays clips has none between two of them. This room
//! must never judge.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Answer, System};
use crate::process::{Role, Start};
use crate::trouble::{Outcome, Trouble};

/// The file that the pictures go to.
pub(super) const LIVE_FILE: &str = "live.mp4";

impl System {
    /// Watches for so many seconds, once: what the app said, whatever came of it.
    ///
    /// # Errors
    /// The machine; it did not end in time.
    pub fn watch_once(&mut self, seconds: u64) -> Outcome<Answer> {
        let (seconds, out) = (
            seconds.to_string(),
            self.path(LIVE_FILE).display().to_string(),
        );
        let words = self.app_words(&["live", "--seconds", &seconds, "--out", &out, "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask_started(Role::App, &Start::with(&words))
    }

    /// Watches as [`Self::watch_once`] does, with the pictures on a pipe, until some have come: those, what the app
    /// said beside them, and which lines of that were none of JSON.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub fn watch_piped(&mut self, seconds: u64) -> Outcome<(Vec<u8>, Vec<Value>, Vec<String>)> {
        let patience = self.setup.patience;
        let words = self.app_words(&["live", "--seconds", &seconds.to_string(), "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.until("live pictures on a pipe", patience, |system| {
            let start = system.prepared(Role::App, Start::with(&words));
            // It ends by itself, seconds after it was told to.
            let output = Command::new(Role::App.path()?)
                .args(&start.arguments)
                .envs(start.environment)
                .stdin(Stdio::null())
                .output()
                .map_err(Trouble::machine("starting a viewer"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let (mut facts, mut others) = (Vec::new(), Vec::new());
            for line in said.lines() {
                match serde_json::from_str::<Value>(line) {
                    Ok(fact) => facts.push(fact),
                    Err(_) => others.push(line.to_owned()),
                }
            }
            system.note_answer(Role::App, &facts);
            system.remember(said);
            let has = |event: &str| facts.iter().any(|line| line["event"] == event);
            let is_whole = has("live_media") && has("live_ended");
            Ok(is_whole.then_some((output.stdout, facts, others)))
        })
    }

    /// Watches until a session has begun and the hub has heard its end.
    ///
    /// # Errors
    /// A program ended without having been killed; there is no such session in time.
    pub fn watch(&mut self, seconds: u64) -> Outcome<Vec<Value>> {
        let patience = self.setup.patience;
        self.until("a live session", patience, |system| {
            let answer = system.watch_once(seconds)?;
            let said: Vec<String> = answer.lines.iter().map(Value::to_string).collect();
            system.remember(said.join(" "));
            let has = |event: &str| answer.lines.iter().any(|line| line["event"] == event);
            let is_whole = has("live_began") && has("live_ended");
            Ok(is_whole.then(|| answer.lines.clone()))
        })
    }
}
