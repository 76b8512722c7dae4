//! A second phone beside the first: paired, synced now and then, removed. It has a directory and notes of its own,
//! and never runs on. This room must never touch the first phone.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Answer, PATIENCE, SECOND_PHONE, System, clips, contract};
use crate::process::{Line, Role, Start};
use crate::trouble::{Outcome, Trouble};

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
        self.with_phone(SECOND_PHONE, |system| {
            let start = system.phone_start(&["sync", "--json"], String::new());
            system.ask_briefly(Role::App, &start, at_most).map(drop)
        })
    }

    fn ask_guest_with(&mut self, words: &[&str], input: String) -> Outcome<Answer> {
        self.with_phone(SECOND_PHONE, |system| {
            let start = system.phone_start(words, input);
            system.ask_started(Role::App, &start)
        })
    }

    /// The phone that is asked, with this to read.
    fn phone_start(&self, words: &[&str], input: String) -> Start {
        let words = self.app_words(words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Start {
            input,
            ..Start::with(&words)
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
        self.ask_hub(&["remove", name, "--yes"])?;
        let left = self.clips_known()?;
        // One may have begun in between.
        known.extend(self.clips_said());
        self.give_up_clips(known.difference(&left).cloned());
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
        let answer = self.ask_hub(&["status"])?;
        let known = clips(Role::Hub, &answer, "outcome")?;
        Ok(known.into_iter().map(|clip| clip.id).collect())
    }
}
