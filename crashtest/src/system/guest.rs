//! A second phone beside the first: paired, synced now and then, removed. It has a directory and notes of its own,
//! and never runs on. This room must never touch the first phone.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, PATIENCE, System, contract};
use crate::process::{Role, Start};
use crate::trouble::{Outcome, Trouble};

/// Its directory in the world's.
const PLACE: &str = "guest";
/// Tries of one pairing while its neighbours are in trouble.
const PAIR_ATTEMPTS_MAX: u32 = 4;

impl System {
    /// Pairs a second phone with the running hub; the name that the hub gave it.
    ///
    /// # Errors
    /// One of the two failed, and not because a neighbour was just away.
    pub fn pair_guest(&mut self) -> Outcome<String> {
        let before = self.phones()?;
        let mut last = Trouble::Broken("no pairing was tried".into());
        for _attempt in 0..PAIR_ATTEMPTS_MAX {
            match self.pair_guest_once() {
                Ok(()) => {
                    let new = self.phones()?.into_iter().find(|one| !before.contains(one));
                    return new.ok_or_else(|| contract(Role::Hub, "no new phone was paired"));
                }
                Err(trouble) if trouble.may_pass() => last = trouble,
                Err(trouble) => return Err(trouble),
            }
        }
        Err(last)
    }

    fn pair_guest_once(&mut self) -> Outcome<()> {
        let (mut hub, code) = self.offer()?;
        let answer = self.ask_guest_with(&["pair", "-", "--json"], code)?;
        if !answer.status.success() {
            return Err(Trouble::Ended {
                role: Role::App,
                status: answer.status,
                said: answer.said,
            });
        }
        let status = hub.wait(PATIENCE)?;
        match status.success() {
            true => Ok(()),
            false => Err(hub.trouble(status)),
        }
    }

    /// Asks the second phone something, whatever comes of it.
    ///
    /// # Errors
    /// The machine; it did not end in time.
    pub fn ask_guest(&mut self, words: &[&str]) -> Outcome<Answer> {
        self.ask_guest_with(words, String::new())
    }

    /// One sync of the second phone, which may wait for a relay for longer than anybody wants to: then it is
    /// killed.
    ///
    /// # Errors
    /// The machine.
    pub fn sync_guest_briefly(&mut self, at_most: Duration) -> Outcome<()> {
        let start = self.guest_start(&["sync", "--json"], String::new());
        self.ask_briefly(Role::App, &start, at_most).map(drop)
    }

    fn ask_guest_with(&mut self, words: &[&str], input: String) -> Outcome<Answer> {
        let start = self.guest_start(words, input);
        self.ask_started(Role::App, &start)
    }

    fn guest_start(&self, words: &[&str], input: String) -> Start {
        let mut arguments: Vec<OsString> = vec!["--dir".into(), self.path(PLACE).into()];
        arguments.extend(words.iter().map(OsString::from));
        let notes = self.guest_notes().into_os_string();
        Start {
            arguments,
            environment: vec![("SECLUSO_CRASH_NOTES".to_owned(), notes)],
            input,
            ..Start::default()
        }
    }

    /// Removes a phone at the hub.
    ///
    /// # Errors
    /// The hub's program failed.
    pub fn remove_guest(&mut self, name: &str) -> Outcome<()> {
        let config = self.text("hub.toml");
        let words = ["remove", name, "--config", &config, "--json", "--yes"];
        self.ask_ok(Role::Hub, &words).map(drop)
    }

    /// The names of the phones that the hub has, the first one first.
    pub(super) fn phones(&mut self) -> Outcome<Vec<String>> {
        let config = self.text("hub.toml");
        let answer = self.ask_ok(Role::Hub, &["phones", "--config", &config, "--json"])?;
        let answer = answer.lines.last().cloned().unwrap_or_default();
        let phones = answer.get("phones").and_then(Value::as_array);
        let Some(phones) = phones else {
            return Err(contract(Role::Hub, &format!("no list of phones: {answer}")));
        };
        let name = |phone: &Value| phone.get("phone")?.as_str().map(str::to_owned);
        Ok(phones.iter().filter_map(name).collect())
    }

    /// Where the second phone notes for the oracle.
    pub(super) fn guest_notes(&self) -> PathBuf {
        self.path(&format!("notes.{PLACE}"))
    }
}
