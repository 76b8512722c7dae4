//! The app: its core and its sender, with a shell of the shape of `app_core::downlink`.
//!
//! This room has the process: how it begins and ends, and what it does when it is its turn. One line's way to the
//! relay and back, heartbeats, commands, what the phone holds and the steps of a script have rooms of their own.

mod heartbeat;
mod library;
mod line;
mod orders;
mod script;

use std::collections::BTreeSet;

use app_core::core::{Core, Launch, Over, Sight};
use journal::ids::{Channel, Line};
use journal::{ErrorKind, JournalError, Role};
use wal::disk::SimDisk;

use self::line::LineEnd;
use crate::hub::Fault;
use crate::net::{Answer, Up, Way};
use crate::node::{Machine, open_journal};
use crate::oracle::Books;

/// Where its clock on the wall begins.
const WALL_MS: i64 = 1_800_000_000_000;

struct Process {
    core: Core,
    lines: Vec<LineEnd>,
    launch: Launch,
    /// What was known of the lines when that was last asked. None is ever away: all have one relay.
    sight: Sight,
    /// When it looks whether a heartbeat is due, though nothing stirs.
    look_at_ms: u64,
    /// One was asked for, due or not.
    wanted: bool,
}

/// The phone.
pub struct App {
    /// Its disk.
    pub machine: Machine,
    process: Option<Process>,
    ways: Vec<Way>,
    /// How far its clock on the wall is from the simulated time.
    pub wall_offset_ms: i64,
}

impl App {
    /// A phone that was paired on this disk, not started.
    #[must_use]
    pub fn new(disk: SimDisk, seed: u64, ways: Vec<Way>) -> App {
        App {
            machine: Machine::new(disk, seed),
            process: None,
            ways,
            wall_offset_ms: 0,
        }
    }

    /// Its clock on the wall: milliseconds since 1970.
    fn wall_ms(&self, now_ms: u64) -> u64 {
        let wall_ms = WALL_MS.saturating_add(self.wall_offset_ms);
        u64::try_from(wall_ms).unwrap_or(0) + now_ms
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Starts it; false if its disk has no room for a start.
    ///
    /// # Errors
    /// The disk's trouble, or what the start does not know any more.
    pub fn start(&mut self, now_ms: u64, books: &Books) -> Result<bool, Fault> {
        let dice = self.machine.dice();
        let journal = match open_journal(Role::App, &self.machine.ground(), dice) {
            Ok((journal, _report)) => journal,
            Err(error) if error.kind() == ErrorKind::Space => return Ok(false),
            Err(error) => return Err(ended(&error)),
        };
        let core = Core::new(journal);
        let mut lines = Vec::new();
        for way in &self.ways {
            let head = core.outbox(way.line).map_err(|error| ended(&error))?;
            let cursor = core.cursor(way.line).map_err(|error| ended(&error))?;
            books.explains(way.send, head.last)?;
            books.holds(way.receive.send_id(), cursor)?;
            lines.push(LineEnd::new(*way, head, cursor, now_ms));
        }
        self.process = Some(Process {
            core,
            lines,
            launch: Launch::ByPerson(BTreeSet::new()),
            sight: Sight::default(),
            look_at_ms: now_ms,
            wanted: false,
        });
        Ok(true)
    }

    /// Ends it, whatever it was doing.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Its connection is gone.
    pub fn disconnected(&mut self, now_ms: u64) {
        let lines = self
            .process
            .iter_mut()
            .flat_map(|process| &mut process.lines);
        for end in lines {
            end.disconnected(now_ms);
        }
    }

    /// Whether its hub has proved, on the line of its videos, that its directory is older than what left it.
    #[must_use]
    pub fn has_noticed(&self) -> bool {
        let Some(process) = &self.process else {
            return false;
        };
        let mut videos = self.ways.iter().map(|way| way.line);
        videos.any(|line| {
            let over = process.core.over(line);
            line.channel == Channel::EventVideo && matches!(over, Ok(Some(Over::RolledBack)))
        })
    }

    /// When it wants to be asked again without anything else happening.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let of_lines = process
            .lines
            .iter()
            .flat_map(|end| end.deadlines(&process.core));
        of_lines.flatten().chain([process.look_at_ms]).min()
    }

    /// Does whatever is to be done now; gives what goes to the relay.
    ///
    /// # Errors
    /// As all steps.
    pub fn pump(&mut self, up: bool, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let mut out = Vec::new();
        let wall_ms = self.wall_ms(now_ms);
        let App {
            machine, process, ..
        } = self;
        let Some(Process { core, lines, .. }) = process else {
            return Ok(out);
        };
        for end in lines.iter_mut() {
            end.pump(core, machine, (up, now_ms, wall_ms), books, &mut out)?;
        }
        let mut stirred = false;
        for end in lines.iter_mut() {
            stirred |= std::mem::take(&mut end.stirs_others);
        }
        for end in lines.iter_mut().filter(|_| stirred) {
            if !is_over(core, end.way.line) {
                let due = core.due_in_ms(end.way.line, now_ms);
                let due = due.map_err(|error| ended(&error))?;
                end.due_at_ms = due.map(|due| now_ms + due.max(1));
            }
        }
        self.heartbeat(now_ms, books)?;
        Ok(out)
    }

    /// Takes what the relay says.
    pub fn handle(&mut self, answer: Answer, now_ms: u64) {
        let Some(Process { core, lines, .. }) = &mut self.process else {
            return;
        };
        let about = |end: &&mut LineEnd| end.way.is_about(answer.mailbox);
        let Some(end) = lines.iter_mut().find(about) else {
            return;
        };
        end.handle(core, answer.down, now_ms);
    }
}

/// Whether nothing is taken or sent on a line any more.
fn is_over(core: &Core, line: Line) -> bool {
    matches!(core.over(line), Ok(Some(_)))
}

fn ended(error: &JournalError) -> Fault {
    Fault::Ended(error.to_string())
}
