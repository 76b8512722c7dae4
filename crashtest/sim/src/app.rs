//! The app: its core and its sender, with a shell of the shape of `app_core::downlink`.

use std::collections::{BTreeSet, VecDeque};

use app_core::HUB_WAIT_MS;
use app_core::core::{Core, Delivered, Halt, Launch, Order, Ordered, Over, PendingRun, Run, Sight};
use bytes::Bytes;
use journal::ids::{Channel, Line, PairingId};
use journal::{AppClip, AppClipState, CommandBook, ErrorKind, JournalError, Role, Taken};
use wal::disk::SimDisk;
use wire::Seq;
use wire::envelope::Size;
use wire::sender::{Need, Sender, SenderEvent};

use crate::hub::Fault;
use crate::net::{Answer, Down, Up, Way};
use crate::node::{Machine, open_journal};
use crate::oracle::{Books, Broken, Held};

/// After trouble a mailbox is attached again so much later.
const RETRY_MS: u64 = 1_000;
/// Where its clock on the wall begins.
const WALL_MS: i64 = 1_800_000_000_000;
/// It looks whether a heartbeat is due so often at most and so seldom at least, if nothing stirs.
const LOOK_PAUSE_MS: [u64; 2] = [1_000, 15 * 60 * 1_000];
/// Most envelopes that share a commit here.
const RUN_MAX: usize = 8;

/// One line's way to the relay and back.
struct LineEnd {
    way: Way,
    sender: Sender,
    attached: bool,
    attaching: bool,
    reading: bool,
    read_at_ms: u64,
    write_at_ms: u64,
    due_at_ms: Option<u64>,
    inbox: VecDeque<Delivered>,
    /// What is staged and waits for a sync of its own: only where a script goes step by step.
    staged: Vec<PendingRun>,
    cursor: Seq,
    /// The last envelope of its outbox that is durable.
    last: Seq,
    /// The last one that the relay held when it was asked, and that answer's envelopes are not all here.
    target: Option<Seq>,
    /// Since when the relay has had all that was said on it, while it is level.
    told_since_ms: Option<u64>,
    /// Whether a heartbeat is due may have changed.
    stirred: bool,
    /// Acks of the other lines may be due since.
    stirs_others: bool,
}

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
            lines.push(LineEnd {
                way: *way,
                sender: Sender::new(head.acked, head.last),
                attached: false,
                attaching: false,
                reading: false,
                read_at_ms: now_ms,
                write_at_ms: now_ms,
                due_at_ms: Some(now_ms),
                inbox: VecDeque::new(),
                staged: Vec::new(),
                cursor,
                last: head.last,
                target: None,
                told_since_ms: None,
                stirred: false,
                stirs_others: false,
            });
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
            end.attached = false;
            end.attaching = false;
            end.reading = false;
            end.target = None;
            end.inbox.clear();
            end.sender.handle_detached(now_ms);
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

    /// A heartbeat is wanted as soon as one can be, due or not.
    pub fn want_heartbeat(&mut self) {
        if let Some(process) = &mut self.process {
            process.wanted = true;
        }
    }

    /// Its owner gives a command that changes the settings: stored now, and sent when that can be.
    ///
    /// # Errors
    /// As all steps.
    pub fn order(&mut self, order: Order, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let pairing = self.ways.first().map(|way| way.line.pairing);
        let (Some(process), Some(pairing)) = (&mut self.process, pairing) else {
            return Ok(());
        };
        let core = &mut process.core;
        let stored = core.stage_order(pairing, order, wall_ms);
        let stored = stored.and_then(|ordered| match ordered {
            Ordered::Taken(staged) => {
                let committed = core.commit()?;
                Ok(Some(committed.redeem(staged).into_inner()))
            }
            Ordered::Full | Ordered::NoSuchHub => Ok(None),
        });
        match stored {
            Ok(stored) => books.orders.extend(stored),
            Err(JournalError::RolledBack(_) | JournalError::LineBroken(_)) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        }
        process.look_at_ms = now_ms;
        Ok(())
    }

    /// What it knows of its commands; none if it cannot be asked now.
    #[must_use]
    pub fn commands(&self) -> Option<CommandBook> {
        let books = self.process.as_ref()?.core.command_books().ok()?;
        books.into_iter().next().map(|(_, book)| book)
    }

    /// The number of its last heartbeat, 0 before the first; none if it cannot be asked now.
    pub fn heartbeat_number(&mut self) -> Option<u64> {
        let pairing = self.ways.first().map(|way| way.line.pairing)?;
        let pulse = self.process.as_mut()?.core.pulse(pairing).ok()?;
        Some(pulse.said.map_or(0, |said| said.number))
    }

    /// Whether a heartbeat with a higher number than this was answered, and its updates taken on every
    /// line. One is wanted if there was none yet.
    pub fn has_healed(&mut self, since_number: u64) -> bool {
        let pairing = self.ways.first().map(|way| way.line.pairing);
        let (Some(process), Some(pairing)) = (&mut self.process, pairing) else {
            return false;
        };
        // What cannot be read now shows again in the next step.
        let pulse = process.core.pulse(pairing).unwrap_or_default();
        let newer = pulse.said.is_some_and(|said| said.number > since_number);
        process.wanted |= !newer;
        newer && pulse.is_settled()
    }

    /// When it wants to be asked again without anything else happening.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let of_lines = process.lines.iter().flat_map(|end| {
            if is_over(&process.core, end.way.line) {
                return [None; 3];
            }
            let read = (!end.reading).then_some(end.read_at_ms);
            let write = end.sender.poll_timeout();
            let write = write.map(|at| at.max(end.write_at_ms));
            [end.due_at_ms, read, write]
        });
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

    /// Attaches to the mailbox of its videos, if it is time: a script's step, in which no other line moves
    /// and no heartbeat is due.
    ///
    /// # Errors
    /// As all steps.
    pub fn read(&mut self, now_ms: u64, books: &mut Books, out: &mut Vec<Up>) -> Result<(), Fault> {
        match self.process.as_mut().and_then(Process::videos) {
            Some((core, end)) => end.read(core, &self.machine, now_ms, books, out),
            None => Ok(()),
        }
    }

    /// Sends what is durable on the line of its videos and what the relay lacks: a script's step.
    ///
    /// # Errors
    /// As all steps.
    pub fn write(
        &mut self,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        match self.process.as_mut().and_then(Process::videos) {
            Some((core, end)) => end.write(core, &self.machine, now_ms, books, out),
            None => Ok(()),
        }
    }

    /// Takes envelopes of its videos and syncs nothing; with none, what time asks for: a script's step.
    ///
    /// # Errors
    /// As all steps.
    pub fn stage(&mut self, run: &[Delivered], now_ms: u64) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let Some((core, end)) = self.process.as_mut().and_then(Process::videos) else {
            return Ok(());
        };
        let line = end.way.line;
        let pending = match run {
            [] => core.tick(line, now_ms),
            _ => core.deliver(line, run, now_ms, wall_ms),
        };
        end.staged.push(pending.map_err(|error| ended(&error))?);
        Ok(())
    }

    /// Syncs what [`Self::stage`] left, and acts on what is durable then.
    ///
    /// # Errors
    /// As all steps.
    pub fn sync(&mut self, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let mut out = Vec::new();
        if let Some((core, end)) = self.process.as_mut().and_then(Process::videos) {
            let staged = std::mem::take(&mut end.staged);
            let parts = (core, &self.machine);
            end.settle_all(parts, Ok(staged), now_ms, books, &mut out)?;
        }
        Ok(out)
    }

    /// The last durable envelope on the line of its videos, if it runs.
    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        let mut lines = self.process.as_ref()?.lines.iter();
        let videos = lines.find(|end| end.is_of_videos());
        videos.map(|end| end.last)
    }

    /// Does what is to be done about heartbeats: one is said if it is due, or wanted, and every line is
    /// level with the relay; and that a hub is silent is written down.
    fn heartbeat(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if !process.stirs(now_ms) {
            return Ok(());
        }
        let Process {
            core,
            launch,
            sight,
            ..
        } = process;
        let look = core.look(sight, launch, wall_ms);
        let look = look.map_err(|error| ended(&error))?;
        let pause_ms = look.again_unix_ms.map_or(LOOK_PAUSE_MS[1], |at| {
            let pause_ms = at.saturating_sub(wall_ms);
            pause_ms.clamp(LOOK_PAUSE_MS[0], LOOK_PAUSE_MS[1])
        });
        process.look_at_ms = now_ms + pause_ms;
        for pairing in look.silent {
            let staged = core.stage_level(pairing, wall_ms);
            match staged.and_then(|_staged| core.commit()) {
                Ok(_committed) => {}
                Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => {}
                Err(error) => return Err(ended(&error)),
            }
        }
        for pairing in &look.idle {
            launch.is_over(*pairing);
        }
        for pairing in look.orders {
            process.send_command(pairing, wall_ms)?;
        }
        let mut saying = look.due;
        if process.wanted {
            saying.extend(look.idle);
        }
        for pairing in saying {
            process.say(pairing, wall_ms, books)?;
        }
        Ok(())
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
        match answer.down {
            Down::SendState(state) => {
                end.attaching = false;
                end.attached = true;
                end.sender.handle_attached(&state, now_ms);
            }
            Down::Receipt(head) => end.sender.handle_receipt(head),
            Down::Conflict(stored) => end.sender.handle_conflict(stored, now_ms),
            Down::NotNext => end.sender.handle_not_next(now_ms),
            Down::OverQuota(_) => end.sender.handle_over_quota(Size::Small, 2, now_ms),
            Down::ReceiveState(state) => {
                let last = state.last.map_or(Seq::NONE, |last| last.seq);
                end.target = Some(last);
                if last < end.cursor {
                    // The relay forgot; the hub hears once more what is here. An error shows again.
                    let owed = core.owe_ack(end.way.line, now_ms);
                    end.due_at_ms = owed.ok().map(|()| now_ms + RETRY_MS);
                }
            }
            Down::Deliver(..) if !end.reading => {}
            Down::Deliver(seq, bytes) => end.inbox.push_back(Delivered { seq, bytes }),
        }
    }

    /// Deletes the clip of the event that began then.
    ///
    /// # Errors
    /// There is none, or the disk's trouble.
    pub fn delete(&mut self, started_unix_ms: u64) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let clips = process.core.clips().map_err(|error| ended(&error))?;
        let found = clips
            .into_iter()
            .find(|(_, clip)| clip.started_unix_ms == started_unix_ms);
        let Some((_, clip)) = found else {
            return Err(Broken::new("C2", "there is no such clip").into());
        };
        let deleted = process.core.delete(clip.clip);
        let committed = deleted.and_then(|_staged| process.core.commit());
        committed.map(drop).map_err(|error| ended(&error))
    }

    /// Everything that it holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn held(&mut self) -> Result<Vec<Held>, Fault> {
        self.held_of(|_started_unix_ms| true)
    }

    /// What it holds of the events that began at these times, in milliseconds since 1970.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn held_of(&mut self, wanted: impl Fn(u64) -> bool) -> Result<Vec<Held>, Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let clips = process.core.clips().map_err(|error| ended(&error))?;
        let mut held = Vec::new();
        for (_, clip) in clips {
            if wanted(clip.started_unix_ms) {
                held.push(held_as(&process.core, &clip)?);
            }
        }
        Ok(held)
    }

    /// When the events began of which it remembers a notification, and the pictures of events that it holds.
    ///
    /// # Errors
    /// What cannot be read.
    pub fn beside(&mut self) -> Result<(Vec<u64>, Vec<Held>), Fault> {
        let Some(process) = &mut self.process else {
            return Err(Broken::new("C7", "the app does not run").into());
        };
        let notices = process.core.notices().map_err(|error| ended(&error))?;
        let of_events = notices.iter().filter(|one| one.what.kind.is_event());
        let notices = of_events.map(|one| one.what.started_unix_ms);
        let pictures = process.core.thumbnails().map_err(|error| ended(&error))?;
        let pictures = pictures.iter().map(|one| held_as(&process.core, &one.what));
        Ok((notices.collect(), pictures.collect::<Result<_, Fault>>()?))
    }
}

/// A clip, or the picture of an event, as it is here.
fn held_as(core: &Core, clip: &AppClip) -> Result<Held, Fault> {
    let mut bytes = Vec::new();
    for index in 0..clip.chunks {
        let chunk = core.chunk(clip.clip, index);
        bytes.extend_from_slice(&chunk.map_err(|error| ended(&error))?);
    }
    let (whole, dropped) = match clip.state {
        AppClipState::Complete => (Some(true), false),
        AppClipState::CutOff => (Some(false), false),
        AppClipState::Receiving => (None, false),
        AppClipState::Dropped(_) => (None, true),
        other => {
            return Err(Broken::new("C2", format!("a clip is {other:?}")).into());
        }
    };
    Ok(Held {
        started_unix_ms: clip.started_unix_ms,
        bytes,
        whole,
        sha256: clip.sha256.filter(|_| !dropped),
        dropped,
    })
}

impl Process {
    /// The core, and the line of its videos: the one that scripts are about.
    fn videos(&mut self) -> Option<(&mut Core, &mut LineEnd)> {
        let end = self.lines.iter_mut().find(|end| end.is_of_videos())?;
        Some((&mut self.core, end))
    }

    /// Whether there is anything to look for: a line has become level, something was taken, the time has
    /// come, or somebody wants it.
    fn stirs(&mut self, now_ms: u64) -> bool {
        let (mut level, mut waited) = (BTreeSet::new(), BTreeSet::new());
        for end in &mut self.lines {
            if !end.is_level() {
                end.told_since_ms = None;
                continue;
            }
            level.insert(end.way.line);
            if end.sender.is_idle() {
                end.told_since_ms.get_or_insert(now_ms);
            }
            let since = end.told_since_ms;
            if since.is_some_and(|since| now_ms >= since + HUB_WAIT_MS) {
                waited.insert(end.way.line);
            }
        }
        self.sight.waited = waited;
        let risen = !level.is_subset(&self.sight.level);
        let mut stirs = self.wanted || now_ms >= self.look_at_ms || risen;
        self.sight.level = level;
        for end in &mut self.lines {
            stirs |= std::mem::take(&mut end.stirred);
        }
        stirs
    }

    /// Puts the next command into the outbox of the config line.
    fn send_command(&mut self, pairing: PairingId, wall_ms: u64) -> Result<(), Fault> {
        let core = &mut self.core;
        let staged = core.stage_command(pairing, wall_ms);
        let staged = staged.and_then(|staged| match staged {
            Some(_staged) => core.commit().map(|_committed| true),
            None => Ok(false),
        });
        match staged {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // It is sent when the hub has spoken, or when there is room.
            Err(error) if error.kind() == ErrorKind::Wait => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        }
        for end in &mut self.lines {
            let outbox = core.outbox(end.way.line).map_err(|error| ended(&error))?;
            end.last = outbox.last;
            end.sender.handle_durable(outbox.last);
            if !end.sender.is_idle() {
                end.told_since_ms = None;
            }
        }
        Ok(())
    }

    /// Puts a heartbeat into the outboxes.
    fn say(&mut self, pairing: PairingId, wall_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let core = &mut self.core;
        let staged = core.stage_heartbeat(pairing, &self.sight.level, wall_ms);
        let staged = staged.and_then(|staged| {
            let committed = core.commit()?;
            Ok(committed.redeem(staged).into_inner())
        });
        let beat = match staged {
            Ok(beat) => beat,
            // It is said when the hub has answered, or when there is room.
            Err(error) if error.kind() == ErrorKind::Wait => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        };
        self.wanted = false;
        self.launch.is_over(pairing);
        books.heartbeats += 1;
        let claims = self.lines.iter().map(|end| {
            let cursor = core.cursor(end.way.line)?;
            Ok((end.way.receive.send_id(), cursor))
        });
        let claims: Result<Vec<_>, JournalError> = claims.collect();
        let claims = claims.map_err(|error| ended(&error))?;
        for end in &mut self.lines {
            let outbox = core.outbox(end.way.line).map_err(|error| ended(&error))?;
            end.last = outbox.last;
            end.sender.handle_durable(outbox.last);
            if !end.sender.is_idle() {
                end.told_since_ms = None;
            }
            if end.way.line.channel == Channel::Config {
                books.ack_made((end.way.send, beat.message), claims.clone());
            }
        }
        Ok(())
    }
}

impl LineEnd {
    fn is_of_videos(&self) -> bool {
        self.way.line.channel == Channel::EventVideo
    }

    /// Whether everything is here that the relay holds, and its copy of ours agrees with the outbox.
    fn is_level(&self) -> bool {
        let here = self.target.is_some_and(|target| self.cursor >= target);
        here && self.reading && self.attached && self.sender.is_sending()
    }

    /// Does whatever is to be done for this line now.
    fn pump(
        &mut self,
        core: &mut Core,
        machine: &Machine,
        (up, now_ms, wall_ms): (bool, u64, u64),
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let line = self.way.line;
        while !is_over(core, line) && !self.inbox.is_empty() {
            let count = self.inbox.len().min(RUN_MAX);
            let run: Vec<Delivered> = self.inbox.drain(..count).collect();
            let pending = core.deliver(line, &run, now_ms, wall_ms);
            self.settle((core, machine), pending, now_ms, books, out)?;
        }
        if is_over(core, line) {
            return Ok(());
        }
        if self.due_at_ms.is_some_and(|at| at <= now_ms) {
            self.due_at_ms = None;
            let pending = core.tick(line, now_ms);
            self.settle((core, machine), pending, now_ms, books, out)?;
        }
        if up {
            self.read(core, machine, now_ms, books, out)?;
            self.write(core, machine, now_ms, books, out)?;
        }
        Ok(())
    }

    /// Attaches to its mailbox, if it is time.
    fn read(
        &mut self,
        core: &Core,
        machine: &Machine,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Way { line, receive, .. } = self.way;
        if !self.reading && now_ms >= self.read_at_ms {
            self.reading = true;
            self.target = None;
            self.cursor = core.cursor(line).map_err(|error| ended(&error))?;
            out.push(Up::AttachReceive(receive, self.cursor));
            if self.cursor.is_some() {
                let mailbox = receive.send_id();
                books.claims_after(machine.failure(), mailbox, self.cursor)?;
                books.claims(mailbox, self.cursor);
                out.push(Up::Trim(mailbox, self.cursor));
            }
        }
        Ok(())
    }

    /// Sends what is durable and what the relay lacks.
    fn write(
        &mut self,
        core: &Core,
        machine: &Machine,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Way { line, send, .. } = self.way;
        if now_ms < self.write_at_ms {
            return Ok(());
        }
        loop {
            while let Some(event) = self.sender.poll_event() {
                if let SenderEvent::Evidence(_) = event {
                    // Judged anew after a pause: a relay that lied once must not silence us for good.
                    self.write_at_ms = now_ms + RETRY_MS;
                    self.attached = false;
                    self.attaching = false;
                    self.sender.handle_evidence_dismissed(self.write_at_ms);
                }
            }
            match self.sender.poll_need(now_ms) {
                None => return Ok(()),
                Some(Need::Attach) => {
                    if !self.attaching {
                        self.attaching = true;
                        out.push(Up::AttachSend(send));
                    }
                    return Ok(());
                }
                Some(Need::Digest(seq)) => {
                    let digest = core.envelope_digest(line, seq);
                    let digest = digest.map_err(|error| ended(&error))?;
                    self.sender.handle_digest(seq, digest, now_ms);
                }
                Some(Need::Envelope { seq, after }) => {
                    if !self.attached {
                        self.sender.handle_detached(now_ms);
                        continue;
                    }
                    let before = Seq(seq.0.saturating_sub(1));
                    let found = core.next_envelope(line, before);
                    match found.map_err(|error| ended(&error))? {
                        Some((found, envelope)) if found == seq => {
                            let digest = envelope.digest();
                            books.leaves_after(machine.failure(), send, seq)?;
                            books.leaves(send, seq, digest)?;
                            books.ack_leaves((send, seq));
                            let bytes = Bytes::from(envelope.into_inner().into_bytes());
                            self.sender.handle_sent(seq, digest, bytes.len());
                            out.push(Up::Append {
                                mailbox: send,
                                seq,
                                after,
                                digest,
                                bytes,
                            });
                        }
                        _ => self.sender.handle_missing(seq),
                    }
                }
            }
        }
    }

    /// Commits what was staged and acts on what is durable then.
    fn settle(
        &mut self,
        parts: (&mut Core, &Machine),
        pending: Result<PendingRun, JournalError>,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let pending = pending.map(|one| vec![one]);
        self.settle_all(parts, pending, now_ms, books, out)
    }

    fn settle_all(
        &mut self,
        (core, machine): (&mut Core, &Machine),
        pending: Result<Vec<PendingRun>, JournalError>,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let runs = pending.and_then(|pending| {
            let committed = core.commit()?;
            let settle = |one| core.settle(&committed, one);
            pending
                .into_iter()
                .map(settle)
                .collect::<Result<Vec<_>, _>>()
        });
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => {
                self.look_again(now_ms);
                return Ok(());
            }
            Err(error) => return Err(ended(&error)),
        };
        for run in runs {
            self.done(run, machine, now_ms, books, out)?;
        }
        Ok(())
    }

    /// A run is durable.
    fn done(
        &mut self,
        run: Run,
        machine: &Machine,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let mailbox = self.way.receive.send_id();
        if self.reading && run.cursor > self.cursor {
            books.claims_after(machine.failure(), mailbox, run.cursor)?;
        }
        self.act(&run, now_ms, books, out)?;
        match run.halt {
            None | Some(Halt::Over(Over::RolledBack)) => Ok(()),
            // Whoever runs on an old copy may meet what it cannot follow before anybody tells it so.
            Some(Halt::Over(Over::Broken)) if books.is_old_reader(mailbox) => Ok(()),
            Some(Halt::Over(Over::Broken)) => {
                Err(Broken::new("C1", "the app can no longer follow its hub").into())
            }
            Some(Halt::Gap { .. } | Halt::NotAuthentic { .. }) => {
                self.look_again(now_ms);
                Ok(())
            }
            Some(Halt::Journal(error)) if error.kind() == ErrorKind::Space => {
                self.look_again(now_ms);
                Ok(())
            }
            Some(Halt::Journal(error)) => Err(ended(&error)),
        }
    }

    fn look_again(&mut self, now_ms: u64) {
        self.reading = false;
        self.target = None;
        self.inbox.clear();
        self.read_at_ms = now_ms + RETRY_MS;
        // An ack that had no room is still owed.
        self.due_at_ms = Some(now_ms + RETRY_MS);
    }

    fn act(
        &mut self,
        run: &Run,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let mailbox = self.way.receive.send_id();
        for fact in &run.facts {
            if let Taken::Nothing(why) = fact.taken {
                // The hub makes nothing that the app could not take.
                let what = format!("envelope {} was authentic and useless: {why}", fact.seq);
                return Err(Broken::new("C1", what).into());
            }
            self.stirred |= matches!(
                fact.taken,
                Taken::NewEpoch(_) | Taken::Healed(_) | Taken::Answered(_) | Taken::CommandDone(_)
            );
        }
        self.stirs_others |= run.stirs_others;
        self.last = run.outbox.last;
        self.sender.handle_durable(run.outbox.last);
        self.sender.handle_ack(run.outbox.acked);
        if let Some(ack) = run.ack {
            let envelope = (self.way.send, ack.envelope);
            books.ack_made(envelope, vec![(mailbox, ack.through)]);
        }
        self.due_at_ms = run.due_in_ms.map(|due| now_ms + due.max(1));
        if run.cursor > self.cursor {
            self.cursor = run.cursor;
            if self.reading {
                books.claims(mailbox, run.cursor);
                out.push(Up::Trim(mailbox, run.cursor));
            }
        }
        Ok(())
    }
}

/// Whether nothing is taken or sent on a line any more.
fn is_over(core: &Core, line: Line) -> bool {
    matches!(core.over(line), Ok(Some(_)))
}

fn ended(error: &JournalError) -> Fault {
    Fault::Ended(error.to_string())
}
