//! A code that a paired phone passes on, as owners do it: one asks for it and shows it, the other reads it. Whoever
//! was interrupted tries again. This room must never look into a code.

use std::process::ExitStatus;
use std::sync::Arc;

use super::System;
use crate::process::{Process, Role, Start};
use crate::trouble::{Outcome, Trouble};

/// Refusals of one code after which its owner asks for another: a neighbour that starts again needs fewer.
const REFUSALS_MAX: u32 = 20;

impl System {
    /// The first phone asks the running hub for a code and shows it, and this one pairs by it.
    ///
    /// # Errors
    /// One of them failed without having been killed, and not because a neighbour was just away.
    pub fn pass_code_on(&mut self, to: &'static str) -> Outcome<()> {
        let patience = self.setup.patience;
        // Whoever shows a code stays until somebody has come by it, unless it was killed.
        let mut shown: Option<(Process, String)> = None;
        let mut refusals = 0;
        self.until("a phone by a code that is passed on", patience, |system| {
            if shown.is_none() {
                shown = system.ask_for_code()?;
                refusals = 0;
            }
            let Some((_, code)) = &shown else {
                return Ok(None);
            };
            let answer = system.with_phone(to, |system| system.app_pair(code))?;
            if answer.status.success() {
                return Ok(Some(()));
            }
            refusals += 1;
            if refusals >= REFUSALS_MAX {
                shown = None;
            }
            // Only what a neighbour in trouble explains is tried again.
            Err(Trouble::Ended {
                role: Role::App,
                status: answer.status,
                said: answer.said,
            })
        })?;
        let Some((mut process, _)) = shown else {
            return Ok(());
        };
        self.until(
            "the word that somebody has come",
            patience,
            |system| match process.ended() {
                Some(status) => system.invite_ended(&mut process, status).map(Some),
                None => Ok(None),
            },
        )
    }

    /// Starts the first phone's `invite` and waits for its code. `None` if it died of the planted crash, or had to end
    /// because the hub just did.
    fn ask_for_code(&mut self) -> Outcome<Option<(Process, String)>> {
        let words = self.app_words(&["invite", "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let start = self.prepared(Role::App, Start::with(&words));
        let (board, log) = (Arc::clone(&self.board), self.log(Role::App));
        let mut process = Process::start(Role::App, &start, &board, &log)?;
        match self.line_of(&mut process, "offer") {
            Ok(line) => {
                let code = line.text("qr").to_owned();
                self.codes.push(code.clone());
                Ok(Some((process, code)))
            }
            Err(_) if process.was_killed() && self.died_there(Role::App) => {
                self.note_death(Role::App);
                Ok(None)
            }
            Err(trouble) if trouble.may_pass() && self.died() => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    fn invite_ended(&mut self, process: &mut Process, status: ExitStatus) -> Outcome<()> {
        if status.success() {
            return Ok(());
        }
        if process.was_killed() && self.died_there(Role::App) {
            self.note_death(Role::App);
            return Ok(());
        }
        Err(process.trouble(status))
    }
}
