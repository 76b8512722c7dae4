//! Starting, asking, waiting, and starting again what the planted crash killed. Every wait ends at
//! the event it waits for; this room must never sleep in its place.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness waits on real processes, and so on a real clock."
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Answer, LOOK_INTERVAL, PATIENCE, System, Tracing, contract};
use crate::process::{Board, Line, Process, Role, Start};
use crate::trouble::{Outcome, Trouble};

impl System {
    /// Kills a running program.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&mut self, role: Role) -> Outcome<()> {
        self.process(role)?.kill();
        self.running.remove(&role);
        Ok(())
    }

    /// Stops a running program politely. One that was just killed by the planted crash counts.
    ///
    /// # Errors
    /// It did not end well.
    pub fn stop(&mut self, role: Role) -> Outcome<()> {
        let Some(mut process) = self.running.remove(&role) else {
            return Err(Trouble::Broken(format!("the test has no running {role}")));
        };
        match process.stop() {
            Err(_) if process.was_killed() && self.died_there(role) => {
                self.note_death(role);
                Ok(())
            }
            // Told to end, it met the error on its last steps.
            Err(_) if self.ended_by_fault(&mut process) => Ok(()),
            result => result,
        }
    }

    /// Starts a program of a kind again after it was killed or stopped.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(&mut self, role: Role) -> Outcome<()> {
        match role {
            Role::Relay => self.start_relay(),
            Role::Hub => self.start_hub(),
            Role::App => self.start_app(),
        }
    }

    /// Looks until `look` finds something. Every line of every program leads to another look.
    ///
    /// # Errors
    /// [`Trouble::Late`]; what `look` says, at once, unless it [may pass](Trouble::may_pass); a program
    /// ended by itself.
    pub fn until<T>(
        &mut self,
        what: &str,
        patience: Duration,
        mut look: impl FnMut(&mut Self) -> Outcome<Option<T>>,
    ) -> Outcome<T> {
        let deadline = Instant::now() + patience;
        loop {
            let seen = self.board.changes();
            self.note_storage_keys();
            let mut last = match look(self) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => String::new(),
                // A program may just be dying or starting.
                Err(trouble) if trouble.may_pass() => trouble.to_string(),
                Err(trouble) => return Err(trouble),
            };
            self.revive()?;
            if Instant::now() >= deadline {
                if last.is_empty() {
                    last = std::mem::take(&mut self.last_look);
                }
                return Err(Trouble::Late {
                    what: what.to_owned(),
                    seconds: patience.as_secs(),
                    last: format!("{last}; {}", self.all_said()),
                });
            }
            self.board.wait(seen, LOOK_INTERVAL);
        }
    }

    /// Notes what a failed wait should show.
    pub fn remember(&mut self, look: impl Into<String>) {
        self.last_look = look.into();
    }

    /// Waits for a line of a program, from a place on the board on.
    ///
    /// # Errors
    /// As [`Self::until`].
    pub fn until_line(
        &mut self,
        what: &str,
        from: usize,
        wanted: impl Fn(&Line) -> bool,
    ) -> Outcome<Line> {
        let patience = self.setup.patience;
        self.until(what, patience, |system| {
            Ok(system.board.find(from, &wanted))
        })
    }

    /// Starts again whatever the planted crash killed, or the planned error ended; says whether it did.
    ///
    /// # Errors
    /// A program ended by neither.
    pub fn revive(&mut self) -> Outcome<bool> {
        if let Some((role, said)) = self.board.nonsense() {
            return Err(contract(role, &said));
        }
        let mut revived = false;
        for role in Role::ALL {
            let Some(process) = self.running.get_mut(&role) else {
                continue;
            };
            let Some(status) = process.ended() else {
                continue;
            };
            let trouble = process.trouble(status);
            let killed = process.was_killed();
            let Some(mut process) = self.running.remove(&role) else {
                continue;
            };
            if killed && self.died_there(role) {
                self.note_death(role);
            } else if !self.ended_by_fault(&mut process) {
                return Err(trouble);
            }
            self.start(role)?;
            revived = true;
        }
        Ok(revived)
    }

    /// Whether a crash of this kind of program is still to come.
    #[must_use]
    pub fn is_planted(&self, role: Role) -> bool {
        self.planted.front().is_some_and(|crash| crash.role == role)
    }

    /// Whether the planted crash of this kind of program has happened, by the program's own last
    /// word. Any other SIGKILL is none.
    pub(super) fn died_there(&self, role: Role) -> bool {
        let Some(crash) = self.planted.front().filter(|crash| crash.role == role) else {
            return false;
        };
        let text = std::fs::read_to_string(self.path(&format!("died.{role}"))).unwrap_or_default();
        let wanted = format!("{} {}", crash.point, crash.hit);
        // Earlier crashes of this world may have been at the same place.
        text.lines().nth(self.deaths as usize) == Some(&wanted)
    }

    pub(super) fn note_death(&mut self, role: Role) {
        if self.died_there(role) {
            self.deaths += 1;
            self.planted.pop_front();
        }
    }

    /// Runs a program to its end and wants it to succeed. If the planted crash kills it, it is
    /// run again.
    ///
    /// # Errors
    /// It ended with another code than 0.
    pub fn ask_ok(&mut self, role: Role, words: &[&str]) -> Outcome<Answer> {
        let answer = self.ask_started(role, &Start::with(words))?;
        if answer.status.success() {
            return Ok(answer);
        }
        Err(Trouble::Ended {
            role,
            status: answer.status,
            said: answer.said,
        })
    }

    /// Runs a program to its end, whatever that is. If the planted crash kills it, it is run
    /// again.
    ///
    /// # Errors
    /// The machine; it did not end in time.
    pub fn ask_started(&mut self, role: Role, start: &Start) -> Outcome<Answer> {
        loop {
            // A board of its own: what it says is an answer, not an event.
            let board = Arc::new(Board::default());
            let log = self.path(&format!("{role}.asked.log"));
            let start = self.prepared(role, start.clone());
            let mut process = Process::start(role, &start, &board, &log)?;
            let status = process.wait(PATIENCE)?;
            if process.was_killed() && self.died_there(role) {
                self.note_death(role);
                continue;
            }
            return Ok(self.answer_of(&process, status, &board));
        }
    }

    /// As [`Self::ask_started`], of one that may wait for somebody for longer than anybody wants to: it is killed
    /// then, and there is no answer.
    ///
    /// # Errors
    /// The machine.
    pub fn ask_briefly(
        &mut self,
        role: Role,
        start: &Start,
        at_most: Duration,
    ) -> Outcome<Option<Answer>> {
        let board = Arc::new(Board::default());
        let log = self.path(&format!("{role}.asked.log"));
        let start = self.prepared(role, start.clone());
        let mut process = Process::start(role, &start, &board, &log)?;
        let status = match process.wait(at_most) {
            Err(Trouble::Late { .. }) => return Ok(None),
            ended => ended?,
        };
        Ok(Some(self.answer_of(&process, status, &board)))
    }

    fn answer_of(&mut self, process: &Process, status: ExitStatus, board: &Board) -> Answer {
        let lines: Vec<Value> = board.lines().into_iter().map(|line| line.value).collect();
        self.note_answer(process.role(), &lines);
        Answer {
            status,
            lines,
            said: process.said(),
        }
    }

    /// Starts a program that is to run on; a place on the board to look from.
    ///
    /// # Errors
    /// The machine.
    pub fn spawn(&mut self, role: Role, start: &Start) -> Outcome<usize> {
        let from = self.board.len();
        let start = self.with_fault(role, start)?;
        let process = Process::start(role, &start, &self.board, &self.log(role))?;
        self.note_start(role, &process);
        self.running.insert(role, process);
        Ok(from)
    }

    pub(super) fn start_until(&mut self, role: Role, start: &Start, event: &str) -> Outcome<Line> {
        loop {
            let start = self.with_fault(role, start)?;
            let mut process = Process::start(role, &start, &self.board, &self.log(role))?;
            self.note_start(role, &process);
            match self.line_of(&mut process, event) {
                Ok(line) => {
                    self.running.insert(role, process);
                    return Ok(line);
                }
                Err(_) if process.was_killed() && self.died_there(role) => self.note_death(role),
                Err(_) if self.ended_by_fault(&mut process) => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// The first line of a process with this event.
    pub(super) fn line_of(&mut self, process: &mut Process, event: &str) -> Outcome<Line> {
        let deadline = Instant::now() + PATIENCE;
        let number = process.number();
        loop {
            let seen = self.board.changes();
            let wanted = |line: &Line| line.process == number && line.event() == event;
            let ended = process.ended();
            if let Some(line) = self.board.find(0, wanted) {
                return Ok(line);
            }
            if let Some(status) = ended {
                process.kill();
                if let Some(line) = self.board.find(0, wanted) {
                    return Ok(line);
                }
                return Err(process.trouble(status));
            }
            if Instant::now() >= deadline {
                return Err(Trouble::Late {
                    what: format!("`{event}` from {}", process.role()),
                    seconds: PATIENCE.as_secs(),
                    last: process.said(),
                });
            }
            // The program may be waiting for one that the planted crash has killed.
            self.revive()?;
            self.board.wait(seen, LOOK_INTERVAL);
        }
    }

    pub(super) fn prepared(&self, role: Role, mut start: Start) -> Start {
        let is_run = start.arguments.first().is_some_and(|word| word == "run");
        if role == Role::Relay && is_run {
            start.program.clone_from(&self.setup.relay_program);
        }
        let mut set = |name: &str, value: OsString| {
            start.environment.push((name.to_owned(), value));
        };
        if let Some(crash) = self.planted.front().filter(|crash| crash.role == role) {
            set(
                "SECLUSO_CRASH_AT",
                format!("{}:{}", crash.point, crash.hit).into(),
            );
            let died = self.path(&format!("died.{role}"));
            set("SECLUSO_CRASH_DIED", died.into());
        }
        set("SECLUSO_CRASH_NOTES", self.notes_file(role).into());
        if let Some(log) = &self.setup.log {
            set("SECLUSO_LOG", log.into());
        }
        if let Some(kib) = self.setup.log_kib {
            set("SECLUSO_CRASH_LOG_KIB", kib.to_string().into());
        }
        if let Some((silent, removed)) = self.setup.silence_s {
            let limits = format!("{silent},{removed}");
            set("SECLUSO_CRASH_SILENCE_S", limits.into());
        }
        if let Some(mutant) = &self.setup.mutant {
            set("SECLUSO_MUTANT", mutant.into());
        }
        if self.tracing == Tracing::On {
            set(
                "SECLUSO_MUTANT_LIST",
                self.path(&format!("mutants.{role}")).into(),
            );
            set(
                "SECLUSO_CRASH_TRACE",
                self.path(&format!("trace.{role}")).into(),
            );
            set(
                "SECLUSO_CRASH_LIST",
                self.path(&format!("points.{role}")).into(),
            );
        }
        start
    }

    pub(super) fn log(&self, role: Role) -> PathBuf {
        self.path(&format!("{role}.log"))
    }

    pub(super) fn text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// What every running program wrote to stderr, for a failure's reader.
    #[must_use]
    pub fn all_said(&self) -> String {
        let said = self
            .running
            .values()
            .map(|process| format!("{}: {}", process.role(), process.said()));
        said.collect::<Vec<_>>().join("; ")
    }
}
