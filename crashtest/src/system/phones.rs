//! The phones of the hub, each a directory of its own: the one that follows, one beside it, one that was lost;
//! how an owner removes one, and gives commands.
//!
//! The programs of all phones are one role: whatever is planted for the app strikes any of them. Only the first
//! phone ever runs on; the others are asked. This room must never wait in another phone's name while the first one
//! runs on: if that dies, it would be started again as the other.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, System, contract};
use crate::oracle::{Broken, Clip};
use crate::process::{Role, Start};
use crate::trouble::{Outcome, Trouble};

/// The directory of the phone that every world has.
pub const FIRST_PHONE: &str = "app";
/// That of a phone beside it.
pub const SECOND_PHONE: &str = "second";
/// That of a phone that its owner has lost, and whoever found it has now.
pub const LOST_PHONE: &str = "lost";
/// What a hub noted before it was reset, as the end of a file's name.
const FORMER_HUB: &str = "former";

/// Syncs after which a command must be answered, if hub and relay run and nothing dies.
const SYNCS_MAX: u32 = 8;

impl System {
    /// Asks another phone than the first one.
    ///
    /// # Errors
    /// What `ask` says.
    pub fn with_phone<T>(
        &mut self,
        phone: &'static str,
        ask: impl FnOnce(&mut Self) -> Outcome<T>,
    ) -> Outcome<T> {
        let before = std::mem::replace(&mut self.phone, phone);
        let asked = ask(self);
        self.phone = before;
        asked
    }

    /// Where a program notes what it does: each directory has a file of its own.
    pub(super) fn notes_file(&self, role: Role) -> PathBuf {
        match (role, self.phone) {
            (Role::App, phone) if phone != FIRST_PHONE => self.path(&format!("notes.{phone}")),
            _ => self.path(&format!("notes.{role}")),
        }
    }

    /// The files of notes of a program's other directories.
    pub(super) fn other_notes(&self, role: Role) -> Vec<PathBuf> {
        let names: &[&str] = match role {
            Role::Relay => &[],
            Role::Hub => &[FORMER_HUB],
            Role::App => &[SECOND_PHONE, LOST_PHONE],
        };
        let files = names.iter().map(|name| self.path(&format!("notes.{name}")));
        files.filter(|file| file.exists()).collect()
    }

    /// As [`System::ask_hub`], of a hub that runs: it may just be dying, and is asked again then.
    ///
    /// # Errors
    /// It does not answer.
    pub fn hub_says(&mut self, words: &[&str]) -> Outcome<Value> {
        let patience = self.setup.patience;
        self.until("a word of the hub", patience, |system| {
            system.ask_hub(words).map(Some)
        })
    }

    /// The clips of a hub that runs and has one phone.
    ///
    /// # Errors
    /// It does not answer.
    pub fn hub_clips(&mut self) -> Outcome<Vec<Clip>> {
        let patience = self.setup.patience;
        self.until("the clips of the hub", patience, |system| {
            system.hub_status().map(|status| Some(status.clips))
        })
    }

    /// Something that a conversation found to be broken, for the oracle.
    pub fn found_broken(&mut self, promise: &'static str, what: impl Into<String>) {
        self.seen.push(Broken::new(promise, what));
    }

    /// All that the conversation found to be broken so far.
    #[must_use]
    pub fn found(&self) -> Vec<Broken> {
        self.seen.clone()
    }

    /// Every clip that the hub has ever begun was for a phone that is about to be removed. The hub does not run.
    pub fn give_up_all_clips(&mut self) {
        let lines = self.board.lines();
        let begun = lines
            .iter()
            .filter(|line| line.role == Role::Hub && line.event() == "clip_started");
        self.removed
            .extend(begun.map(|line| line.text("clip").to_owned()));
    }

    /// These clips were recorded for a phone that is about to be removed.
    pub fn give_up_clips(&mut self, clips: impl IntoIterator<Item = String>) {
        self.removed.extend(clips);
    }

    /// Removes the hub's one phone, as an owner who has lost it: who was interrupted looks who is there, and
    /// asks again.
    ///
    /// # Errors
    /// The hub's program failed without having been killed.
    pub fn remove_phone(&mut self) -> Outcome<()> {
        let Some(phone) = self.first_phone()? else {
            return Err(contract(Role::Hub, "no phone to remove"));
        };
        let config = self.text("hub.toml");
        let words = ["remove", &phone, "--config", &config, "--json", "--yes"];
        let answer = self.ask_started(Role::Hub, &Start::with(&words))?;
        // Killed behind its sync, it was asked again and found nobody.
        if answer.status.success() || self.first_phone()?.is_none() {
            return Ok(());
        }
        Err(Trouble::Ended {
            role: Role::Hub,
            status: answer.status,
            said: answer.said,
        })
    }

    /// The name of the phone that was paired first.
    fn first_phone(&mut self) -> Outcome<Option<String>> {
        Ok(self.phones()?.into_iter().next())
    }

    /// The names of the phones that the hub has, the first one first.
    pub(super) fn phones(&mut self) -> Outcome<Vec<String>> {
        let answer = self.ask_hub(&["phones"])?;
        let phones = answer.get("phones").and_then(Value::as_array);
        let Some(phones) = phones else {
            return Err(contract(Role::Hub, &format!("no list of phones: {answer}")));
        };
        let name = |phone: &Value| phone.get("phone")?.as_str().map(str::to_owned);
        Ok(phones.iter().filter_map(name).collect())
    }

    /// The phone is gone with all that it had, and somebody else has it; the next one begins with nothing.
    ///
    /// # Errors
    /// The machine.
    pub fn lose_phone(&self) -> Outcome<()> {
        let notes = format!("notes.{}", Role::App);
        std::fs::rename(self.path(FIRST_PHONE), self.path(LOST_PHONE))
            .and_then(|()| {
                let lost = self.path(&format!("notes.{LOST_PHONE}"));
                std::fs::rename(self.path(&notes), lost)
            })
            .map_err(Trouble::machine("losing the phone"))
    }

    /// The hub begins with nothing: what it noted so far is of a directory that is gone.
    ///
    /// # Errors
    /// The machine.
    pub fn put_hub_notes_aside(&self) -> Outcome<()> {
        let notes = self.path(&format!("notes.{}", Role::Hub));
        let former = self.path(&format!("notes.{FORMER_HUB}"));
        std::fs::rename(notes, former)
            .map_err(Trouble::machine("the notes of a hub that was reset"))
    }

    /// Waits until the hub says that the relay knows of all phones that were removed, and then tries whether it
    /// lets one of them in all the same. The hub runs.
    ///
    /// # Errors
    /// The relay is never told.
    pub fn expect_shut_out(&mut self, phone: &'static str) -> Outcome<()> {
        let patience = self.setup.patience;
        let told = self.until("the relay is told of a removed phone", patience, |system| {
            let status = system.ask_hub(&["status"])?;
            system.remember(status.to_string());
            Ok((status["relay_not_told"] == 0).then_some(()))
        });
        told.map_err(Trouble::apart)?;
        let shut_out = self.until("a word to a removed phone", patience, |system| {
            let answer = system.with_phone(phone, System::sync_once)?;
            match answer.code() {
                0 => Ok(Some(false)),
                // Whether it had ever been there or not.
                6 => Ok(Some(true)),
                _ => Err(Trouble::Ended {
                    role: Role::App,
                    status: answer.status,
                    said: answer.said,
                }),
            }
        })?;
        if !shut_out {
            self.found_broken("C4", "the relay is told of a removed phone, and lets it in");
        }
        Ok(())
    }

    /// One sync of the phone that is asked, whatever comes of it.
    ///
    /// # Errors
    /// The machine.
    pub fn sync_once(&mut self) -> Outcome<Answer> {
        let words = self.app_words(&["sync", "--json"]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.ask_started(Role::App, &Start::with(&words))
    }

    /// Gives a command from the phone that is asked: its name. It is stored, whether anybody can be reached or not.
    /// An owner whose phone died in the middle gives it again.
    ///
    /// # Errors
    /// There is no such command.
    pub fn give(&mut self, words: &[&str]) -> Outcome<String> {
        let words = self.app_words(&[words, &["--json"]].concat());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Hub or relay may just be dying, or be away: it is stored all the same.
        let answer = self.ask_started(Role::App, &Start::with(&words))?;
        let given = answer
            .lines
            .iter()
            .find_map(|line| line.get("command")?.as_str());
        let Some(given) = given.map(str::to_owned) else {
            let said = answer.said;
            return Err(contract(Role::App, &format!("no command: {said}")));
        };
        Ok(given)
    }

    /// Gives the first command of a phone of which no sync runs, at a relay that may keep it waiting: its name.
    ///
    /// # Errors
    /// None is stored behind it.
    pub fn give_briefly(&mut self, words: &[&str], at_most: Duration) -> Outcome<String> {
        let words = self.app_words(&[words, &["--json"]].concat());
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // Killed or not, it was stored before anything was sent.
        let _answer = self.ask_briefly(Role::App, &Start::with(&words), at_most)?;
        let rows = self.commands()?;
        let given = rows.last().and_then(|row| row["command"].as_str());
        given
            .map(str::to_owned)
            .ok_or_else(|| contract(Role::App, &format!("no command: {rows:?}")))
    }

    /// Syncs the phone that is asked until a command of it is answered: what came of it.
    ///
    /// # Errors
    /// There is no answer.
    pub fn answer_to(&mut self, given: &str) -> Outcome<Value> {
        let patience = self.setup.patience;
        let mut syncs = 0;
        let answer = self.until("the answer to a command", patience, |system| {
            // Whoever gave it has stayed for the answer already, if the hub was there.
            let books = system.commands()?;
            system.remember(format!("{books:?}"));
            let row = books.iter().find(|row| row["command"] == given);
            if let Some(row) = row.filter(|row| row["state"] == "answered") {
                return Ok(Some(row["outcome"].clone()));
            }
            // Each sync stays for the hub's word. So long a hub that is there does not take.
            if !system.died() && syncs >= SYNCS_MAX {
                return Err(Trouble::Apart {
                    what: "the answer to a command".to_owned(),
                    seconds: patience.as_secs(),
                    last: format!("{syncs} syncs, and {books:?}"),
                });
            }
            let ended = system.sync_once()?;
            syncs += u32::from(ended.status.success());
            Ok(None)
        });
        answer.map_err(Trouble::apart)
    }

    /// Gives a command from the phone and syncs until it is answered: what came of it.
    ///
    /// # Errors
    /// A program failed without having been killed; there is no answer.
    pub fn order(&mut self, words: &[&str]) -> Outcome<Value> {
        let given = self.give(words)?;
        self.answer_to(&given)
    }

    /// The commands that the phone that is asked knows of.
    ///
    /// # Errors
    /// As [`System::ask_app`].
    pub fn commands(&mut self) -> Outcome<Vec<Value>> {
        let books = self.ask_app(&["commands", "--json"])?;
        let books = books.lines.last().cloned().unwrap_or_default();
        let rows = books.get("commands").and_then(Value::as_array);
        rows.cloned()
            .ok_or_else(|| contract(Role::App, &format!("no list of commands: {books}")))
    }

    /// Each command that changed the settings has made one version of them, and the hub has that of the last: of all
    /// phones that ever gave one. The hub runs.
    ///
    /// # Errors
    /// A program failed.
    pub fn compare_settings(&mut self, phones: &[&'static str]) -> Outcome<()> {
        let mut made = Vec::new();
        for phone in phones.iter().copied() {
            let rows = self.with_phone(phone, System::commands)?;
            let open = rows.iter().find(|row| row["state"] != "answered");
            if let Some(open) = open {
                self.found_broken("C1", format!("a command has no answer: {open}"));
            }
            let changed = rows.iter().map(|row| &row["outcome"]);
            let changed = changed.filter(|outcome| outcome["result"] == "changed");
            made.extend(changed.filter_map(|outcome| outcome["version"].as_u64()));
        }
        made.sort_unstable();
        let status = self.hub_says(&["status"])?;
        let version = status["settings"]["version"].as_u64();
        let each: Vec<u64> = (1..=made.len() as u64).collect();
        if made != each || version != Some(made.len() as u64) {
            let what = format!(
                "{} commands have changed the settings, their versions are {made:?}, and the hub has {version:?}",
                made.len()
            );
            self.found_broken("C2", what);
        }
        Ok(())
    }
}
