//! The hub: its core and its sender, with a shell of the shape of `hub::uplink`.
//!
//! This room has the process: how it begins and ends, and what it does when it is its turn. What the camera gives,
//! what the books hear of it and one line's way to the relay and back have rooms of their own.

mod facts;
mod hours;
mod line;
mod recording;
mod sync;

use std::time::Duration;

use hub::core::{Core, CoreError, LineHeads, SilenceLimits, Standing, Verdict};
use journal::ids::{Channel, Line};
use journal::message::SettingsDoc;
use journal::{ErrorKind, Role};
use wal::disk::SimDisk;
use wire::Seq;
use wire::envelope::Size;

use self::facts::drops_unheard;
use self::line::LineEnd;
use self::sync::sync;
use crate::net::{Answer, Down, Up, Way};
use crate::node::{Machine, open_journal};
use crate::oracle::{Books, Broken};

/// A mailbox is attached again so long after something that could not be taken.
const RETRY_MS: u64 = 1_000;
/// What the core owes is asked for this often.
const TICK_MS: u64 = 5_000;

/// Why a step did not go through.
#[derive(Debug)]
pub enum Fault {
    /// The process must be started again: its disk failed.
    Ended(String),
    /// A promise did not hold.
    Broken(Broken),
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Fault::Broken(broken)
    }
}

struct Process {
    core: Core,
    lines: Vec<LineEnd>,
    tick_at_ms: u64,
    /// When that was asked for last.
    ticked_at_ms: u64,
    /// The event that the camera is in.
    event: Option<u64>,
}

/// Which of its envelopes the hub gives out when it is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LetsGo {
    /// All that the relay lacks.
    All,
    /// Those through the next that has one of these numbers, or one alone behind all of them.
    Through(Vec<u64>),
    /// None.
    Nothing,
}

/// What a line may give out that no script is about.
static NOTHING: LetsGo = LetsGo::Nothing;

impl LetsGo {
    /// The same of one line: numbers are those of event videos, and nothing of another line goes then.
    fn of(&self, line: Line) -> &LetsGo {
        match self {
            LetsGo::Through(_) if line.channel != Channel::EventVideo => &NOTHING,
            LetsGo::All | LetsGo::Through(_) | LetsGo::Nothing => self,
        }
    }

    /// Whether nothing goes behind this one.
    fn ends_with(&self, seq: Seq) -> bool {
        match self {
            LetsGo::Through(ends) => ends.contains(&seq.0) || ends.iter().all(|end| *end < seq.0),
            LetsGo::All | LetsGo::Nothing => false,
        }
    }
}

/// The hub's machine.
pub struct Hub {
    /// Its disk.
    pub machine: Machine,
    process: Option<Process>,
    ways: Vec<Way>,
    /// What its clock on the wall is off by, in milliseconds.
    pub wall_offset_ms: i64,
    /// Other than all only where a script goes step by step.
    pub lets_go: LetsGo,
    /// Its event videos leave in envelopes of one size: to be said before its first start.
    pub is_shaped: bool,
    /// How long it waits for a phone.
    pub silence: SilenceLimits,
    /// After how many days of running clips go for their age, if they do.
    pub clip_days: Option<u32>,
}

/// Where every clock on a wall begins.
const WALL_MS: i64 = 1_800_000_000_000;

impl Hub {
    /// A hub that was paired on this disk, not started.
    #[must_use]
    pub fn new(disk: SimDisk, seed: u64, ways: Vec<Way>) -> Hub {
        Hub {
            machine: Machine::new(disk, seed),
            process: None,
            ways,
            wall_offset_ms: 0,
            lets_go: LetsGo::All,
            is_shaped: false,
            silence: SilenceLimits::default(),
            clip_days: None,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.process.is_some()
    }

    fn wall(&self, now_ms: u64) -> u64 {
        (WALL_MS + now_ms as i64 + self.wall_offset_ms) as u64
    }

    /// Starts it; false if its disk has no room for a start.
    ///
    /// # Errors
    /// The disk's trouble, or what the start does not know any more.
    pub fn start(&mut self, now_ms: u64, books: &mut Books) -> Result<bool, Fault> {
        let ground = self.machine.ground();
        let mut dice = self.machine.dice();
        let is_shaped = self.is_shaped;
        let opener = Box::new(move || {
            let dice = wal::SeededDice(dice.next_u64());
            let opened = open_journal(Role::Hub, &ground, dice);
            opened.map(|(mut journal, report)| {
                if is_shaped {
                    journal.send_in_full_size(Channel::EventVideo);
                }
                (journal, report)
            })
        });
        let mut core = match Core::start(opener, self.silence, self.wall(now_ms)) {
            Ok(core) => core,
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => return Ok(false),
            Err(error) => return Err(Fault::Ended(error.to_string())),
        };
        core.set_clip_days(self.clip_days);
        let mut process = Process {
            core,
            lines: Vec::new(),
            tick_at_ms: now_ms + TICK_MS,
            ticked_at_ms: now_ms,
            event: None,
        };
        // Each process says it anew.
        books.silent = false;
        let heads = process.core.heads().map_err(ended)?;
        for way in &self.ways {
            let Some(head) = heads.get(&way.line) else {
                return Err(Broken::new("C1", "the hub forgot its pairing").into());
            };
            books.explains(way.send, head.last)?;
            if is_shaped && way.line.channel == Channel::EventVideo {
                books.must_look_alike(way.send, head.last);
            }
            let cursor = process.core.cursor(way.line).map_err(ended)?;
            books.holds(way.receive.send_id(), cursor)?;
            process.lines.push(LineEnd::new(*way, *head));
        }
        drops_unheard(&mut process.core, books)?;
        self.process = Some(process);
        self.settle(books)?;
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

    /// When it wants to be asked again without anything else happening.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let of_lines = process.lines.iter().flat_map(LineEnd::deadlines);
        of_lines.flatten().chain([process.tick_at_ms]).min()
    }

    /// Whether it has noticed, on the line of its videos, that its directory is older than what left it.
    #[must_use]
    pub fn has_noticed(&self) -> bool {
        let heads = self.process.as_ref().map(|process| process.core.heads());
        let Some(Ok(heads)) = heads else {
            return false;
        };
        let mut videos = heads
            .iter()
            .filter(|(line, _)| line.channel == Channel::EventVideo);
        videos.any(|(_, head)| head.standing != Standing::Good)
    }

    /// The settings that phones have made.
    ///
    /// # Errors
    /// It does not run, or the disk's trouble.
    pub fn settings(&mut self) -> Result<SettingsDoc, Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the hub does not run").into());
        };
        process
            .core
            .status()
            .map(|status| status.settings)
            .map_err(ended)
    }

    /// What stands in the way of [`Self::is_done`].
    #[must_use]
    pub fn what_waits(&self) -> String {
        let heads = self.process.as_ref().map(|process| process.core.heads());
        format!("{heads:?}")
    }

    /// Whether everything that it ever sent is acked, and its vault has heard of all keys that were given up.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let settled = self.process.as_ref();
        let settled = settled.filter(|process| !process.core.may_settle_keys());
        let Some(Ok(heads)) = settled.map(|process| process.core.heads()) else {
            return false;
        };
        let is_done = |head: &LineHeads| head.last == head.acked && head.standing == Standing::Good;
        self.ways
            .iter()
            .all(|way| heads.get(&way.line).is_some_and(is_done))
    }

    /// The last durable envelope on the line of its videos.
    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        let heads = self.process.as_ref()?.core.heads().ok()?;
        let mut videos = heads
            .iter()
            .filter(|(line, _)| line.channel == Channel::EventVideo);
        videos.next().map(|(_, head)| head.last)
    }

    /// Does whatever is to be done now; gives what goes to the relay.
    ///
    /// # Errors
    /// As all steps.
    pub fn pump(&mut self, up: bool, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        process.core.handle_link(up);
        if now_ms >= process.tick_at_ms {
            process.tick_at_ms = now_ms + TICK_MS;
            let passed_ms = now_ms.saturating_sub(process.ticked_at_ms);
            let passed = Duration::from_millis(passed_ms);
            process.ticked_at_ms = now_ms;
            books.ran_ms += passed_ms;
            passing(process.core.handle_elapsed(passed, wall))?;
            passing(process.core.handle_timeout(wall))?;
            passing(sync(&mut process.core, now_ms, wall))?;
        }
        let Process { core, lines, .. } = process;
        for end in lines {
            let lets_go = self.lets_go.of(end.way.line);
            let now = (up, now_ms, wall);
            end.pump(core, (&self.machine, lets_go), now, books, &mut out)?;
        }
        self.settle(books)?;
        Ok(out)
    }

    /// Takes what the relay says.
    ///
    /// # Errors
    /// As all steps.
    pub fn handle(
        &mut self,
        answer: Answer,
        now_ms: u64,
        books: &mut Books,
    ) -> Result<Vec<Up>, Fault> {
        let wall = self.wall(now_ms);
        let Some(Process { core, lines, .. }) = &mut self.process else {
            return Ok(Vec::new());
        };
        let about = |end: &&mut LineEnd| end.way.is_about(answer.mailbox);
        let Some(end) = lines.iter_mut().find(about) else {
            return Err(Broken::new("C6", "an answer about a mailbox of nobody here").into());
        };
        let receive = end.way.receive.send_id();
        match answer.down {
            Down::SendState(state) => {
                end.attaching = false;
                end.attached = true;
                end.sender.handle_attached(&state, now_ms);
            }
            Down::Receipt(head) => end.sender.handle_receipt(head, now_ms),
            Down::Conflict(stored) => end.sender.handle_conflict(stored, now_ms),
            Down::NotNext => end.sender.handle_not_next(now_ms),
            Down::OverQuota(_) => end.sender.handle_over_quota(Size::Bulk, 2, now_ms),
            Down::Stored(seq, shown) => {
                end.stored(core, (seq, shown), (now_ms, wall), books)?;
                self.settle(books)?;
            }
            Down::ReceiveState(_) => {}
            Down::Deliver(..) if !end.reading => {}
            Down::Deliver(seq, bytes) => {
                let taken = core.handle_envelope(end.way.line, seq, &bytes, wall);
                let taken = passing(taken)?;
                // ORDER: the sync, then the trim.
                let synced = passing(sync(core, now_ms, wall))?.is_some();
                let done = taken.filter(|taken| {
                    synced && matches!(taken.verdict, Verdict::Taken | Verdict::Duplicate)
                });
                let Some(taken) = done else {
                    end.reading = false;
                    end.read_at_ms = now_ms + RETRY_MS;
                    return Ok(Vec::new());
                };
                self.settle(books)?;
                let failure = self.machine.failure();
                books.claims_after(failure, receive, taken.cursor)?;
                books.claims(receive, taken.cursor);
                return Ok(vec![Up::Trim(receive, taken.cursor)]);
            }
        }
        Ok(Vec::new())
    }
}

/// A journal that was opened again has no answer; a full disk refuses and changes nothing.
fn passing<T>(result: Result<T, CoreError>) -> Result<Option<T>, Fault> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CoreError::Reopened) => Ok(None),
        Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => Ok(None),
        Err(error) => Err(ended(error)),
    }
}

fn ended(error: CoreError) -> Fault {
    Fault::Ended(error.to_string())
}
