//! The end of a scenario: everything is healed, one event more is recorded and arrives, and then both ends,
//! the books and a thief are asked.
//!
//! This room must never pass a world in which nothing happened any more.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use journal::ids::Line;
use journal::{Committer, ErrorKind, Follower, Journal, JournalError, Role, Session};
use wal::Disk;
use wal::disk::CrashPolicy;

use super::{HEALED_MS_MAX, Stats, World};
use crate::files;
use crate::hub::Fault;
use crate::node::{Place, open_journal, options};
use crate::oracle::Broken;
use crate::plan::Who;

/// After so much simulated time without anything new both ends are at rest.
const QUIET_MS: u64 = 3_000;
/// An old copy must be noticed within so much simulated time.
const SEEN_MS_MAX: u64 = 60_000;
/// A last look is tried so often while there is no room for it.
const ATTEMPTS_MAX: u32 = 100;
/// Events more of which one must be recorded and arrive on real files, not counting those in which an
/// operation was made to fail: what the fault did before may still refuse one.
const TRIES_ON_FILES: u32 = 2;

impl World {
    pub(super) fn play_out(&mut self) -> Result<Stats, Broken> {
        let last_ms = self.plan.steps.last().map_or(0, |step| step.at_ms);
        self.play(|world| world.now_ms > last_ms + 2_000)?;
        self.heal();
        self.end_of(last_ms)
    }

    /// Everything is healed; nothing was planned after `last_ms`.
    pub(super) fn end_of(&mut self, last_ms: u64) -> Result<Stats, Broken> {
        if self.books.is_rolled_back() {
            return self.old_copy_is_seen(last_ms);
        }
        self.until_done("after everything was healed")?;
        self.end_of_silence()?;
        self.one_event_more()?;
        self.one_heartbeat_more()?;
        self.every_command_answered()?;
        // The phone rotates its key when the line has fallen quiet.
        let quiet_ms = self.now_ms + QUIET_MS;
        self.play(|world| world.now_ms > quiet_ms)?;
        let at_rest = |fault| match fault {
            Fault::Broken(broken) => broken,
            Fault::Ended(what) => Broken::new("C7", what),
        };
        let held = self.app.held().map_err(at_rest)?;
        let (notices, pictures) = self.app.beside().map_err(at_rest)?;
        self.books.nothing_forged()?;
        self.books.judge(&held)?;
        self.books.judge_beside(&notices, &pictures)?;
        let stats = self.stats();
        self.hub.stop();
        self.app.stop();
        self.steal()?;
        self.compare_ends()?;
        Ok(stats)
    }

    /// In step is who can follow one step more (scenario 16), and a hub that records nothing any more
    /// is of no use to anybody: this event has to become durable as a whole, and to arrive.
    fn one_event_more(&mut self) -> Result<(), Broken> {
        // Nothing heals real files: their fault may strike in this very event. Whether one did is looked
        // up only after a try that failed.
        let on_files = Who::ALL.iter().any(|who| self.machine(*who).is_on_files());
        let (tries, mut strikes) = if on_files {
            (TRIES_ON_FILES, None)
        } else {
            (1, Some(0))
        };
        let mut clean = 0;
        for _ in 0..ATTEMPTS_MAX {
            let name = self.record(&[100, 2_000], 20, false)?;
            self.until_done("after one event more")?;
            if self.is_recorded(name) && self.is_held(name)? {
                return Ok(());
            }
            let now = Some(self.strikes());
            clean += u32::from(now == strikes);
            if clean == tries {
                break;
            }
            strikes = now;
        }
        Err(Broken::new("C1", "nothing more is recorded"))
    }

    /// In step on every line: whatever became of the heartbeats before, one more is answered, and a Commit
    /// takes its update of each.
    fn one_heartbeat_more(&mut self) -> Result<(), Broken> {
        let limit_ms = self.now_ms + HEALED_MS_MAX;
        let mut since = None;
        self.play(|world| {
            since = since.or_else(|| world.app.heartbeat_number());
            let healed = since.is_some_and(|since| world.app.has_healed(since));
            healed && world.is_done() || world.now_ms > limit_ms
        })?;
        match since.is_some_and(|since| self.app.has_healed(since)) {
            true => Ok(()),
            false => Err(Broken::new("C1", "no heartbeat heals the lines any more")),
        }
    }

    /// A phone that is silent says its heartbeat, and gets events again.
    fn end_of_silence(&mut self) -> Result<(), Broken> {
        if !self.books.silent {
            return Ok(());
        }
        self.app.want_heartbeat();
        let limit_ms = self.now_ms + HEALED_MS_MAX;
        self.play(|world| !world.books.silent || world.now_ms > limit_ms)?;
        match self.books.silent {
            false => Ok(()),
            true => Err(Broken::new("A1", "a heartbeat ends no silence")),
        }
    }

    /// Nothing that was ordered waits any more, and both ends say the same of it.
    fn every_command_answered(&mut self) -> Result<(), Broken> {
        if self.books.orders.is_empty() {
            return Ok(());
        }
        let limit_ms = self.now_ms + HEALED_MS_MAX;
        let mut known = None;
        self.play(|world| {
            let book = world.app.commands();
            known = book.filter(|book| book.pending.is_empty());
            known.is_some() && world.is_done() || world.now_ms > limit_ms
        })?;
        let Some(known) = known else {
            return Err(Broken::new("C1", "a command is never answered"));
        };
        let settings = loop {
            match self.hub.settings() {
                Ok(settings) => break settings,
                Err(Fault::Broken(broken)) => return Err(broken),
                Err(Fault::Ended(why)) => self.ended(Who::Hub, why)?,
            }
            self.until_done("after a hub was asked")?;
        };
        self.books.judge_orders(&known, &settings)
    }

    /// How often an operation on real files was made to fail so far.
    fn strikes(&mut self) -> usize {
        let all = Who::ALL.map(|who| self.machine(who).strikes());
        all.into_iter().sum()
    }

    /// Whether the hub said of every piece of an event that it is durable.
    fn is_recorded(&self, name: u64) -> bool {
        let event = self.books.events.get(&name);
        event.is_some_and(|event| event.durable == event.pieces.len() && event.durable > 0)
    }

    /// Whether the app holds an event whole.
    fn is_held(&mut self, name: u64) -> Result<bool, Broken> {
        let held = match self.app.held_of(|started_unix_ms| started_unix_ms == name) {
            Ok(held) => held,
            Err(Fault::Broken(broken)) => return Err(broken),
            Err(Fault::Ended(why)) => {
                self.ended(Who::App, why)?;
                return Ok(false);
            }
        };
        let event = self.books.events.get(&name);
        let whole = event.map(|event| event.pieces.concat());
        Ok(held
            .iter()
            .any(|clip| clip.whole == Some(true) && Some(&clip.bytes) == whole.as_ref()))
    }

    /// Somebody runs on an old copy of its directory. The books see that nothing new leaves it; it has
    /// to say so as well, and to keep it.
    fn old_copy_is_seen(&mut self, last_ms: u64) -> Result<Stats, Broken> {
        self.play(|world| world.now_ms > last_ms + SEEN_MS_MAX)?;
        let mut old = vec![Who::Hub, Who::App];
        old.retain(|who| {
            let videos = self.videos(*who);
            videos.is_some_and(|way| self.books.is_old_writer(way.send))
        });
        let silent = |who| {
            let what = format!("{who:?} runs on an old copy and says nothing");
            Err(Broken::new("C8", what))
        };
        for who in old {
            if !self.has_noticed(who) {
                return silent(who);
            }
            // The next process knows it before anybody is asked.
            self.stop(who);
            self.start(who)?;
            if !self.has_noticed(who) {
                return silent(who);
            }
        }
        Ok(self.stats())
    }

    fn has_noticed(&self, who: Who) -> bool {
        match who {
            Who::Hub => self.hub.has_noticed(),
            Who::App => self.app.has_noticed(),
            Who::Relay => false,
        }
    }

    /// A thief with every byte of both disks (S3, S5); both ends are at rest.
    fn steal(&mut self) -> Result<(), Broken> {
        for (role, who) in [(Role::Hub, Who::Hub), (Role::App, Who::App)] {
            match self.machine(who).ground().place {
                Place::Simulated(disk) => {
                    let copy: Arc<dyn Disk> = Arc::new(disk.crash_clone(CrashPolicy::KeepAll, 0));
                    crashtest::thief::judge(role, &copy, options())?;
                }
                Place::Files(dir, _) => {
                    // In memory, where the thief's own syncs cost nothing. A fault that has not struck
                    // yet may be one of these reads; it strikes once.
                    let copy = files::disk_of(&dir).or_else(|_struck| files::disk_of(&dir));
                    let unread = |error: io::Error| Broken::new("C7", error.to_string());
                    let copy: Arc<dyn Disk> = Arc::new(copy.map_err(unread)?);
                    crashtest::thief::judge(role, &copy, options())?;
                }
            }
        }
        Ok(())
    }

    /// Epoch and exporter secret of both ends, from their closed disks.
    fn compare_ends(&mut self) -> Result<(), Broken> {
        let lines: Vec<Line> = self.ways.0.iter().map(|way| way.line).collect();
        let mut ends = Vec::new();
        for (role, who) in [(Role::Hub, Who::Hub), (Role::App, Who::App)] {
            let machine = self.machine(who);
            let mut without_room = 0;
            let opened = loop {
                let opened = open_journal(role, &machine.ground(), machine.dice());
                match &opened {
                    Err(error)
                        if error.kind() == ErrorKind::Space && without_room < ATTEMPTS_MAX =>
                    {
                        without_room += 1;
                    }
                    Err(_) if machine.is_troubled() => machine.deaths += 1,
                    _ => break opened,
                }
            };
            let (mut journal, _) = opened.map_err(|error| Broken::new("C7", error.to_string()))?;
            let mut all = BTreeMap::new();
            for line in &lines {
                let end = match role {
                    Role::Hub => end_of::<Committer>(&mut journal, *line),
                    Role::App => end_of::<Follower>(&mut journal, *line),
                };
                let end = end.map_err(|error| Broken::new("C1", error.to_string()))?;
                all.insert(*line, end);
            }
            ends.push(all);
        }
        match ends.as_slice() {
            [hub, app] if hub == app => Ok(()),
            _ => Err(Broken::new("C1", "epoch or exporter secret differ")),
        }
    }
}

fn end_of<R>(journal: &mut Journal, line: Line) -> Result<(u64, Vec<u8>), JournalError> {
    let mut session = Session::<R>::new(line);
    let mut txn = journal.begin();
    Ok((session.epoch(&mut txn)?.0, session.exporter(&mut txn)?))
}
