//! The end of a run: everything at rest, and what both ends then say. Judging it is the oracle's.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness owns real processes: it waits on a real clock until they are quiet."
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wal::disk::RealDisk;
use wal::{Disk, Options};

use super::secrecy::Kept;
use super::{System, number};
use crate::oracle::{Broken, Ends};
use crate::process::{Line, Role};
use crate::thief;
use crate::trouble::{Outcome, Trouble};

/// A line of the phone rotates its key half a second after what it took last, and says nothing of it but in
/// the channel of the videos. As long again is left for the sync.
const ROTATES_WITHIN: Duration = Duration::from_secs(1);

impl System {
    /// Brings everything to rest: all three run, one more event is recorded and arrives, nothing
    /// is un-acked. Then the app is stopped and both ends are asked. The one more event is what
    /// shows that both ends can still follow a Commit (scenario 16). Last, the hub is stopped too, and
    /// a thief tries what both left on disk.
    ///
    /// # Errors
    /// It does not come to rest.
    pub fn settle(&mut self) -> Outcome<Ends> {
        self.come_to_rest().map_err(Trouble::apart)?;
        self.stop(Role::App)?;
        let mut ends = self.ends()?;
        self.stop(Role::Hub)?;
        ends.stolen = self.steal(&ends.exports)?;
        Ok(ends)
    }

    /// What a thief of both directories opens although it is past, and what stands in the clear where it
    /// must not; neither program runs.
    fn steal(&self, exports: &BTreeMap<String, Vec<u8>>) -> Outcome<Vec<Broken>> {
        let ends = [
            (journal::Role::Hub, "hub/journal"),
            (journal::Role::App, "app"),
        ];
        let (mut stolen, mut kept) = (Vec::new(), Vec::new());
        for (role, place) in ends {
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
        stolen.extend(self.told(&kept, exports)?);
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

    fn come_to_rest(&mut self) -> Outcome<()> {
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
        // The thief may ask nobody who is busy: the phone's keys rotate when their lines have fallen quiet.
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
            history: self.board.lines(),
            drops_allowed: self.setup.drops_allowed,
            stolen: Vec::new(),
        })
    }

    /// Has the app export a clip; the bytes of the file.
    ///
    /// # Errors
    /// As [`Self::ask_app`].
    pub fn export(&mut self, clip: &str) -> Outcome<Vec<u8>> {
        let file = self.text(&format!("{clip}.mp4"));
        self.ask_app(&["export", clip, &file, "--json"])?;
        std::fs::read(&file).map_err(Trouble::machine("an exported clip"))
    }
}

/// Whether the phone's last word about the videos is that it is idle, which it says behind the rotation of
/// their key, and the keys of the other channels have had their time since the last Commit or answer there. A
/// phone that comes back to a relay says that it is idle before that has given a receipt for its ack, which
/// changes nothing any more and is the very last word then.
fn is_quiet(lines: &[Line], now: Instant) -> bool {
    // What was taken in any channel; only of the videos' it is told when the key behind it is gone.
    const TAKEN: [&str; 2] = ["healed", "heartbeat_answered"];
    let is_taken = |line: &&Line| TAKEN.contains(&line.event());
    let of_app = || lines.iter().filter(|line| line.role == Role::App);
    let last = of_app().rfind(|line| line.event() != "acked" && !is_taken(line));
    let is_idle = last.is_some_and(|line| line.event() == "idle");
    let taken = of_app().rfind(is_taken);
    is_idle && taken.is_none_or(|line| now.saturating_duration_since(line.at) >= ROTATES_WITHIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_phone_is_quiet_when_it_says_so_and_nothing_but_a_receipt_follows() {
        let said_at = Instant::now();
        let lines = |events: &[&str]| -> Vec<Line> {
            let line = |event: &&str| Line {
                role: Role::App,
                process: 1,
                at: said_at,
                value: json!({ "event": event }),
            };
            events.iter().map(line).collect()
        };
        let is_quiet = |lines: &[Line]| is_quiet(lines, said_at);
        assert!(is_quiet(&lines(&["media", "acked", "idle"])));
        assert!(is_quiet(&lines(&[
            "disconnected",
            "connected",
            "idle",
            "acked"
        ])));
        assert!(!is_quiet(&lines(&["idle", "media", "acked"])));
        assert!(!is_quiet(&lines(&["idle", "disconnected", "connected"])));
        assert!(!is_quiet(&lines(&["acked"])));
        assert!(!is_quiet(&[]));
        // What others say is not about the phone.
        let mut others = lines(&["idle", "ready"]);
        others[1].role = Role::Hub;
        assert!(is_quiet(&others));
    }

    #[test]
    fn behind_a_commit_in_another_channel_its_key_is_given_time_to_go() {
        let said_at = Instant::now();
        for taken in ["healed", "heartbeat_answered"] {
            for order in [["idle", taken], [taken, "idle"]] {
                let line = |event: &&str| Line {
                    role: Role::App,
                    process: 1,
                    at: said_at,
                    value: json!({ "event": event }),
                };
                let lines: Vec<Line> = order.iter().map(line).collect();
                assert!(!is_quiet(&lines, said_at), "{order:?}");
                assert!(is_quiet(&lines, said_at + ROTATES_WITHIN), "{order:?}");
            }
        }
    }
}
