//! Pairing, as an owner does it: the hub shows a code, the app reads it, and whoever was interrupted
//! tries again. This room must never look into a code.

use serde_json::Value;

use super::{Answer, PAIR_ATTEMPTS_MAX, PATIENCE, System, contract};
use crate::process::{Process, Role, Start};
use crate::trouble::{Outcome, Trouble};

/// Which codes the app is given after an interruption.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codes {
    OldFirst,
    NewestOnly,
}

impl System {
    /// Starts the hub's `pair` and returns it with the text of its code.
    ///
    /// # Errors
    /// It made no offer.
    pub fn offer(&mut self) -> Outcome<(Process, String)> {
        let config = self.text("hub.toml");
        let start = Start::with(&["pair", "--config", &config, "--json"]);
        let start = self.prepared(Role::Hub, start);
        let log = self.log(Role::Hub);
        let mut hub = Process::start(Role::Hub, &start, &self.board, &log)?;
        match self.line_of(&mut hub, "offer") {
            Ok(line) => {
                let code = line.text("qr").to_owned();
                self.codes.push(code.clone());
                Ok((hub, code))
            }
            Err(trouble) => {
                if hub.was_killed() {
                    self.note_death(Role::Hub);
                }
                Err(trouble)
            }
        }
    }

    /// The app's `pair` with a code, whatever comes of it.
    ///
    /// # Errors
    /// The machine.
    pub fn app_pair(&mut self, code: &str) -> Outcome<Answer> {
        let words = self.app_words(&["pair", "-", "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut start = Start::with(&words);
        start.input = code.to_owned();
        self.ask_started(Role::App, &start)
    }

    /// The app's `pair` with the secret that is printed on the hub, whatever comes of it.
    ///
    /// # Errors
    /// The machine.
    pub fn app_pair_printed(&mut self, secret: &str) -> Outcome<Answer> {
        let at = format!("127.0.0.1:{}", self.pairing_port);
        let words = self.app_words(&["pair", "-", "--at", &at, "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut start = Start::with(&words);
        start.input = secret.to_owned();
        self.ask_started(Role::App, &start)
    }

    /// Pairs. A planted crash on the way is answered as an owner would: the hub shows a code
    /// again, and the app is asked to go on with the code it had before it gets the new one. What is no
    /// documented answer to such a death is never tried again.
    ///
    /// # Errors
    /// One of the two failed without having been killed.
    pub fn pair(&mut self) -> Outcome<()> {
        self.pair_with(Codes::OldFirst)
    }

    /// As [`System::pair`], by an owner who has thrown the old code away.
    ///
    /// # Errors
    /// As there.
    pub fn pair_anew(&mut self) -> Outcome<()> {
        self.pair_with(Codes::NewestOnly)
    }

    fn pair_with(&mut self, which: Codes) -> Outcome<()> {
        let mut codes: Vec<String> = Vec::new();
        let mut last = Trouble::Broken("no pairing was tried".into());
        for _attempt in 0..PAIR_ATTEMPTS_MAX {
            if which == Codes::NewestOnly {
                codes.clear();
            }
            let before = self.deaths;
            match self.pair_once(&mut codes) {
                Ok(()) => return Ok(()),
                // The planted death, of this very process.
                Err(trouble) if trouble.is_kill() && self.deaths > before => last = trouble,
                Err(trouble) if trouble.may_pass() => last = trouble,
                Err(trouble) => return Err(trouble),
            }
            self.revive()?;
            if !self.died() {
                return Err(last);
            }
        }
        Err(last)
    }

    fn pair_once(&mut self, codes: &mut Vec<String>) -> Outcome<()> {
        let (mut hub, code) = self.offer()?;
        codes.push(code);
        let mut refused = None;
        for (at, code) in codes.iter().enumerate() {
            let mut answer = self.app_pair(code)?;
            if !answer.status.success() && self.revive()? {
                // The relay died in the middle; the code still stands.
                answer = self.app_pair(code)?;
            }
            if answer.status.success() {
                let known = answer
                    .lines
                    .iter()
                    .any(|line| line.get("new") == Some(&Value::Bool(false)));
                let is_old = at + 1 < codes.len();
                return self.hub_paired(&mut hub, known || is_old);
            }
            let trouble = Trouble::Ended {
                role: Role::App,
                status: answer.status,
                said: answer.said,
            };
            // An older code may be void and a killed neighbour cannot be reached; nothing else is
            // forgotten over a code that works.
            if !trouble.may_pass() {
                return Err(trouble);
            }
            refused = Some(trouble);
        }
        if hub.was_killed() {
            self.note_death(Role::Hub);
        }
        Err(refused.unwrap_or_else(|| contract(Role::Hub, "no code")))
    }

    /// The app has the hub's proof. The hub's `pair` ends by itself, unless the app had the proof
    /// before and did not ask this process, or had it again by an older code than this process shows.
    fn hub_paired(&mut self, hub: &mut Process, goes_on: bool) -> Outcome<()> {
        if goes_on {
            if hub.was_killed() {
                self.note_death(Role::Hub);
            }
            hub.kill();
            return Ok(());
        }
        let status = hub.wait(PATIENCE)?;
        if hub.was_killed() && self.died_there(Role::Hub) {
            self.note_death(Role::Hub);
            return Ok(());
        }
        if status.success() {
            Ok(())
        } else {
            Err(hub.trouble(status))
        }
    }
}
