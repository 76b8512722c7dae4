//! A second phone beside the first: paired, synced now and then, removed. It has a directory and notes of its own,
//! and never runs on. This room must never touch the first phone.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, PATIENCE, System, clips, contract};
use crate::process::{Line, Role, Start};
use crate::trouble::{Outcome, Trouble};

/// Its directory in the world's.
const PLACE: &str = "guest";

impl System {
    /// Pairs a second phone with the running hub; the name that the hub gave it.
    ///
    /// # Errors
    /// One of the two failed, and not because a neighbour was just away.
    pub fn pair_guest(&mut self) -> Outcome<String> {
        let before = self.phones()?;
        self.until("a second phone", PATIENCE, |system| {
            system.pair_guest_once().map(Some)
        })?;
        let new = self.phones()?.into_iter().find(|one| !before.contains(one));
        new.ok_or_else(|| contract(Role::Hub, "no new phone was paired"))
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

    /// Removes a phone at the running hub. With it go the clips that were recorded for it, of which nothing the
    /// hub has said need be true any more.
    ///
    /// # Errors
    /// The hub's program failed, or knows less than it had said before.
    pub fn remove_guest(&mut self, name: &str) -> Outcome<()> {
        let said = self.clips_said();
        let mut known = self.clips_known()?;
        if let Some(lost) = said.difference(&known).next() {
            let what = format!("the hub said that clip {lost} had started, and knows it no more");
            return Err(Trouble::Broken(format!("C4: {what}")));
        }
        let config = self.text("hub.toml");
        let words = ["remove", name, "--config", &config, "--json", "--yes"];
        self.ask_ok(Role::Hub, &words)?;
        let left = self.clips_known()?;
        // One may have begun in between.
        known.extend(self.clips_said());
        self.gone.extend(known.difference(&left).cloned());
        Ok(())
    }

    /// Clips of which the hub has said that they began.
    fn clips_said(&self) -> BTreeSet<String> {
        let lines = self.board.lines();
        let begun = |line: &&Line| line.role == Role::Hub && line.event() == "clip_started";
        let said = lines.iter().filter(begun);
        said.map(|line| line.text("clip").to_owned()).collect()
    }

    /// Clips that the running hub has, of all phones.
    fn clips_known(&mut self) -> Outcome<BTreeSet<String>> {
        let config = self.text("hub.toml");
        let answer = self.ask_ok(Role::Hub, &["status", "--config", &config, "--json"])?;
        let answer = answer.lines.last().cloned().unwrap_or_default();
        let known = clips(Role::Hub, &answer, "outcome")?;
        Ok(known.into_iter().map(|clip| clip.id).collect())
    }

    /// What was said, without what hubs said of clips that went with a removed phone.
    pub(super) fn history(&self) -> Vec<Line> {
        let mut lines = self.board.lines();
        let of_hub = |line: &Line| line.role == Role::Hub && line.event().starts_with("clip_");
        lines.retain(|line| !(of_hub(line) && self.gone.contains(line.text("clip"))));
        lines
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
