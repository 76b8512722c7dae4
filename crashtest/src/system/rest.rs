//! The end of a run: everything at rest, and what both ends then say. Judging it is the oracle's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wal::disk::RealDisk;
use wal::{Disk, Options};

use super::secrecy::{CLIPS_MAX, ENDS, Kept, OTHER_PHONES, Plain};
use super::{System, contract, number};
use crate::oracle::{Broken, Clip, Ends, Verdict};
use crate::process::{Line, Role};
use crate::thief;
use crate::trouble::{Outcome, Trouble};

/// The phone's keys of a channel rotate half a second after the last that it took there
/// (`app_core::core::QUIET_MS`), and of the channels without videos nothing says so. Three times that.
const ROTATED_AFTER: Duration = Duration::from_millis(1_500);

/// The exit code of a program that cannot use its state.
const REFUSED: i32 = 4;

impl System {
    /// Brings everything to rest: all three run, one more event is recorded and arrives, nothing
    /// is un-acked. Then the app is stopped and both ends are asked. The one more event is what
    /// shows that both ends can still follow a Commit (scenario 16). Last, the hub is stopped too, and
    /// a thief tries what both left on disk.
    ///
    /// # Errors
    /// [`Trouble::Stolen`], with all that both ends say, so that nobody can pass over it. It does not come to rest: then
    /// what was written and printed is searched as by [`Self::finish`], also behind a refusal, which a test may expect.
    pub fn settle(&mut self) -> Outcome<Ends> {
        let run = self.rested();
        match run {
            Ok(ends) if ends.stolen.is_empty() => Ok(ends),
            Ok(ends) => Err(Trouble::Stolen {
                broken: ends.stolen.clone(),
                ends: Some(Box::new(ends)),
            }),
            Err(_) => self.searched_after(run),
        }
    }

    fn rested(&mut self) -> Outcome<Ends> {
        self.come_to_rest().map_err(Trouble::apart)?;
        self.stop(Role::App)?;
        let mut ends = self.ends()?;
        self.stop(Role::Hub)?;
        let plain = Plain {
            pictures: self.pictures()?,
            clips: std::mem::take(&mut ends.exports),
        };
        ends.stolen = self.steal(&plain)?;
        ends.exports = plain.clips;
        Ok(ends)
    }

    /// What came of a run that did not come to rest, once what it left is searched.
    fn searched_after(&mut self, run: Outcome<Ends>) -> Outcome<Ends> {
        // Nobody is killed on purpose any more: the run is over.
        self.planted.clear();
        match self.finish() {
            Ok(()) => run,
            Err(found @ Trouble::Stolen { .. }) => Err(found),
            // A refusal may be what a test wants to see, and no search of it would be none.
            Err(other) if matches!(Verdict::of(&run), Verdict::Refused { .. }) => Err(other),
            Err(_) => run,
        }
    }

    /// Ends a run that does not come to rest by [`Self::settle`], as every test must that starts programs: kills
    /// whatever runs, and looks whether anything that was written or printed holds a secret. What an end keeps in a
    /// directory that a test has put out of use cannot be read, and is said; all else is sought, also there.
    ///
    /// # Errors
    /// Where a secret stands that must not; the phone's clips cannot be read; the machine.
    pub fn finish(&mut self) -> Outcome<()> {
        for role in [Role::App, Role::Hub, Role::Relay] {
            if self.running.contains_key(&role) {
                self.kill(role)?;
            }
        }
        let mut plain = Plain::default();
        if self.path("app").exists() {
            match self.app_clips() {
                Err(trouble) if trouble.exit_code() == Some(REFUSED) => {
                    eprintln!("NOT SOUGHT: clips of a phone that refuses to start: {trouble}");
                }
                clips => {
                    let is_there =
                        |clip: &Clip| clip.outcome == "complete" || clip.outcome == "cut_off";
                    // No more of them are looked for.
                    for clip in clips?.into_iter().filter(is_there).take(CLIPS_MAX) {
                        let bytes = self.export(&clip.id)?;
                        plain.clips.insert(clip.id, bytes);
                    }
                    plain.pictures = self.pictures()?;
                }
            }
        }
        self.note_storage_keys();
        let phones = OTHER_PHONES.map(|place| (journal::Role::App, place));
        let mut kept = Vec::new();
        for (role, place) in ENDS.into_iter().chain(phones) {
            kept.extend(self.kept_if_readable(role, place)?);
        }
        let broken = self.told(&kept, &plain)?;
        match broken.is_empty() {
            true => Ok(()),
            false => Err(Trouble::Stolen { broken, ends: None }),
        }
    }

    /// What an end keeps, if it is there; what cannot be read is said.
    fn kept_if_readable(&self, role: journal::Role, place: &'static str) -> Outcome<Option<Kept>> {
        if !self.path(place).exists() {
            return Ok(None);
        }
        let disk = RealDisk::new(self.path(place)).map_err(Trouble::machine(place))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let secrets = thief::secrets(role, &disk, Options::default());
        let secrets = secrets.unwrap_or_else(|broken| {
            eprintln!("NOT SOUGHT: what {place} keeps, for it cannot be read: {broken}");
            Vec::new()
        });
        let vault = std::fs::read(self.path(place).join("vault")).unwrap_or_default();
        Ok(Some(Kept {
            place,
            secrets,
            vault,
        }))
    }

    /// What a thief of both directories opens although it is past, and what stands in the clear where it
    /// must not; neither program runs.
    fn steal(&mut self, plain: &Plain) -> Outcome<Vec<Broken>> {
        self.note_storage_keys();
        let (mut stolen, mut kept) = (Vec::new(), Vec::new());
        for (role, place) in ENDS {
            let disk = RealDisk::new(self.path(place)).map_err(Trouble::machine(place))?;
            let disk: Arc<dyn Disk> = Arc::new(disk);
            stolen.extend(thief::judge(role, &disk, Options::default()).err());
            match thief::secrets(role, &disk, Options::default()) {
                Ok(secrets) => {
                    // After the last start, which may have made keys.
                    let vault = std::fs::read(self.path(place).join("vault"));
                    let vault = vault.map_err(Trouble::machine("a vault"))?;
                    kept.push(Kept {
                        place,
                        secrets,
                        vault,
                    });
                }
                Err(broken) => stolen.push(broken),
            }
        }
        for place in OTHER_PHONES {
            kept.extend(self.kept_if_readable(journal::Role::App, place)?);
        }
        stolen.extend(self.told(&kept, plain)?);
        Ok(stolen)
    }

    /// The first line in which a program says that a thread or task of it panicked, whatever became of it.
    #[must_use]
    pub fn panic_said(&self) -> Option<String> {
        for role in Role::ALL {
            for name in [format!("{role}.log"), format!("{role}.asked.log")] {
                let text = std::fs::read(self.path(&name)).unwrap_or_default();
                let text = String::from_utf8_lossy(&text);
                if let Some(line) = text.lines().find(|line| line.contains("panicked at")) {
                    return Some(format!("{role}: {line}"));
                }
            }
        }
        None
    }

    /// All three run, one more event is recorded and arrives, and nothing is un-acked.
    ///
    /// # Errors
    /// It does not come to rest.
    #[expect(
        clippy::disallowed_methods,
        reason = "The harness waits for real programs on a real clock."
    )]
    pub(crate) fn come_to_rest(&mut self) -> Outcome<()> {
        if self.running.contains_key(&Role::Hub) {
            self.stop(Role::Hub)?;
        }
        self.setup.passes = 1;
        self.write_hub_config()?;
        let from = self.board.len();
        for role in Role::ALL {
            if !self.running.contains_key(&role) {
                self.start(role)?;
            }
        }
        // A start may be cut off by the planted crash; then the hub's next start plays it again.
        let finished = self.until_line("one more event", from, |line| {
            line.role == Role::Hub
                && line.event() == "clip_finished"
                && line.text("outcome") == "complete"
        })?;
        let clip = finished.text("clip").to_owned();
        let patience = self.setup.patience;
        self.until("its arrival", patience, |system| {
            let arrived = system.board.find(from, |line| {
                line.role == Role::App
                    && line.event() == "clip"
                    && line.text("clip") == clip
                    && line.text("state") == "complete"
            });
            // An app that died between its sync and the line never prints it, and one whose sync failed and
            // was durable all the same says that it did not; its ack says the same, and the oracle looks at
            // the clip itself.
            if arrived.is_none() && !system.died() && system.untold(from) == 0 {
                return Ok(None);
            }
            let status = system.hub_status()?;
            system.remember(format!("{status:?}"));
            Ok((status.unacked_envelopes == 0 && !status.recording).then_some(()))
        })?;
        // The thief may ask nobody who is busy: the phone's key rotates when its line has fallen quiet,
        // and only of the videos it says then that it is idle.
        self.until("a quiet phone", patience, |system| {
            Ok(is_quiet(&system.board.lines(), Instant::now()).then_some(()))
        })
    }

    /// What both ends say: the hub runs, the app does not.
    ///
    /// # Errors
    /// One of them does not answer.
    pub fn ends(&mut self) -> Outcome<Ends> {
        let hub = self.hub_status()?;
        let status = self.ask_app(&["status", "--json"])?;
        let status = status.lines.last().cloned().unwrap_or_default();
        let app_clips = self.app_clips()?;
        let mut exports = BTreeMap::new();
        for clip in &app_clips {
            if clip.outcome == "complete" || clip.outcome == "cut_off" {
                exports.insert(clip.id.clone(), self.export(&clip.id)?);
            }
        }
        Ok(Ends {
            hub_epoch: hub.epoch,
            hub_clips: hub.clips,
            unacked_envelopes: hub.unacked_envelopes,
            acked_through: hub.acked_through,
            app_epoch: number(Role::App, &status, "epoch")?,
            app_cursor: number(Role::App, &status, "cursor")?,
            app_clips,
            exports,
            notes: [self.notes(Role::Hub), self.notes(Role::App)],
            deleted: self.deleted.clone(),
            removed: self.removed.clone(),
            history: self.board.lines(),
            drops_allowed: self.setup.drops_allowed,
            stolen: Vec::new(),
            seen: self.seen.clone(),
        })
    }

    /// The pictures of events that the app has whole, by name, as many as are looked for; no sync may run.
    fn pictures(&mut self) -> Outcome<BTreeMap<String, Vec<u8>>> {
        let answer = self.ask_app(&["thumbnails", "--json"])?;
        let answer = answer.lines.last().cloned().unwrap_or_default();
        let rows = answer["thumbnails"].as_array();
        let rows = rows.ok_or_else(|| contract(Role::App, &format!("no pictures: {answer}")))?;
        let whole = rows.iter().filter(|row| row["state"] == "complete");
        let mut pictures = BTreeMap::new();
        for row in whole.take(CLIPS_MAX) {
            let name = row["thumbnail"].as_str().unwrap_or_default();
            pictures.insert(name.to_owned(), self.export(name)?);
        }
        Ok(pictures)
    }

    /// Has the app export a clip, or the picture of an event; the bytes of the file.
    ///
    /// # Errors
    /// As [`Self::ask_app`].
    pub fn export(&mut self, clip: &str) -> Outcome<Vec<u8>> {
        let file = self.text(&format!("{clip}.mp4"));
        self.ask_app(&["export", clip, &file, "--json"])?;
        std::fs::read(&file).map_err(Trouble::machine("an exported clip"))
    }
}

/// Whether the phone's last word is that it is idle. A phone that comes back to a relay says so before
/// that has given a receipt for its ack, which changes nothing any more and is the very last word then.
/// What it took on the other channels, or may have since it came back, must be [`ROTATED_AFTER`] old.
fn is_quiet(lines: &[Line], now: Instant) -> bool {
    // What the other channels tell says nothing of the videos.
    const APART: [&str; 12] = [
        "acked",
        "looks_offline",
        "back_online",
        "healed",
        "heartbeat_answered",
        "channel_away",
        "channel_damaged",
        "command_done",
        "settings",
        "invite_ready",
        "invite_failed",
        "phone_added",
    ];
    const STIRS: [&str; 9] = [
        "connected",
        "healed",
        "heartbeat_answered",
        "channel_away",
        "command_done",
        "settings",
        "invite_ready",
        "invite_failed",
        "phone_added",
    ];
    let of_phone = |line: &&Line| line.role == Role::App;
    let told = |line: &&Line| of_phone(line) && !APART.contains(&line.event());
    let stirred = |line: &&Line| of_phone(line) && STIRS.contains(&line.event());
    let last = lines.iter().rfind(told);
    let since = lines.iter().rfind(stirred);
    last.is_some_and(|line| line.event() == "idle")
        && since.is_none_or(|line| now.saturating_duration_since(line.at) >= ROTATED_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The phone said this, all of it at `at`.
    fn said(events: &[&str], at: Instant) -> Vec<Line> {
        let line = |event: &&str| Line {
            role: Role::App,
            process: 1,
            at,
            value: json!({ "event": event }),
        };
        events.iter().map(line).collect()
    }

    #[test]
    fn a_phone_is_quiet_when_it_says_so_and_nothing_but_a_receipt_follows() {
        let at = Instant::now();
        let quiet = |events: &[&str]| is_quiet(&said(events, at), at + ROTATED_AFTER);
        assert!(quiet(&["media", "acked", "idle"]));
        assert!(quiet(&["disconnected", "connected", "idle", "acked"]));
        assert!(!quiet(&["idle", "media", "acked"]));
        assert!(!quiet(&["idle", "disconnected", "connected"]));
        assert!(!quiet(&["acked"]));
        assert!(!quiet(&[]));
        // What others say is not about the phone.
        let mut others = said(&["idle", "ready"], at);
        others[1].role = Role::Hub;
        assert!(is_quiet(&others, at + ROTATED_AFTER));
    }

    /// The thief would find keys of an epoch that is past, and not by a mistake of the phone.
    #[test]
    fn a_phone_that_was_just_healed_has_yet_to_rotate() {
        let at = Instant::now();
        for event in ["connected", "healed", "heartbeat_answered", "channel_away"] {
            let lines = said(&[event, "idle"], at);
            for (after_ms, quiet) in [(0, false), (500, false), (1_499, false), (1_500, true)] {
                let now = at + Duration::from_millis(after_ms);
                assert_eq!(is_quiet(&lines, now), quiet, "{event}: {after_ms}");
            }
            // The last of them counts.
            let mut lines = said(&[event, "idle"], at);
            lines.extend(said(&["healed"], at + ROTATED_AFTER));
            assert!(!is_quiet(&lines, at + ROTATED_AFTER));
        }
        // The videos are told of, and need no time.
        assert!(is_quiet(&said(&["media", "idle"], at), at));
        let mut hub = said(&["healed", "idle"], at);
        hub[0].role = Role::Hub;
        assert!(is_quiet(&hub, at), "the hub's word");
    }

    #[test]
    fn behind_a_commit_in_another_channel_its_key_is_given_time_to_go() {
        let at = Instant::now();
        for taken in ["healed", "heartbeat_answered", "command_done", "settings"] {
            for order in [["idle", taken], [taken, "idle"]] {
                let lines = said(&order, at);
                assert!(!is_quiet(&lines, at), "{order:?}");
                assert!(is_quiet(&lines, at + ROTATED_AFTER), "{order:?}");
            }
        }
    }
}
