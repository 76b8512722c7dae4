//! The hub: its core and its sender, with a shell of the shape of `hub::uplink`.

use std::time::Duration;

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{
    Alert, ClipFacts, ClipState, Core, CoreError, Event, Evidence, LineHeads, Notice, Piece,
    Recorded, SilenceLimits, Standing, Still, Verdict,
};
use journal::ErrorKind;
use journal::Role;
use journal::ids::{Channel, Line};
use journal::message::{DropReason, SettingsDoc};
use wal::disk::SimDisk;
use wire::Seq;
use wire::envelope::Size;
use wire::sender::{Need, Sender, SenderEvent};

use crate::net::{Answer, Down, Up, Way};
use crate::node::{Machine, open_journal};
use crate::oracle::{self, Books, Broken};

/// After evidence of a rollback the relay is asked again after this time, doubling.
const DOUBT_PAUSE_MS: u64 = 5_000;
const DOUBT_PAUSE_MS_MAX: u64 = 600_000;
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

struct Doubt {
    again_at_ms: u64,
    pause_ms: u64,
}

/// One line's way to the relay and back.
struct LineEnd {
    way: Way,
    sender: Sender,
    doubt: Option<Doubt>,
    attached: bool,
    attaching: bool,
    reading: bool,
    read_at_ms: u64,
    /// An envelope that could not be read now is asked for again.
    ask_at_ms: u64,
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
        let core = match Core::start(opener, self.silence, self.wall(now_ms)) {
            Ok(core) => core,
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => return Ok(false),
            Err(error) => return Err(Fault::Ended(error.to_string())),
        };
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
            process.lines.push(LineEnd {
                way: *way,
                sender: Sender::new(head.acked, head.last),
                doubt: None,
                attached: false,
                attaching: false,
                reading: false,
                read_at_ms: 0,
                ask_at_ms: 0,
            });
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
            end.attached = false;
            end.attaching = false;
            end.reading = false;
            end.sender.handle_detached(now_ms);
        }
    }

    /// When it wants to be asked again without anything else happening.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let process = self.process.as_ref()?;
        let of_lines = process.lines.iter().flat_map(|end| {
            let doubt = end.doubt.as_ref().map(|doubt| doubt.again_at_ms);
            let read = (!end.reading).then_some(end.read_at_ms);
            let ask = (end.ask_at_ms > 0).then_some(end.ask_at_ms);
            [end.sender.poll_timeout(), doubt, read, ask]
        });
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

    /// Whether everything that it ever sent is acked.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let heads = self.process.as_ref().map(|process| process.core.heads());
        let Some(Ok(heads)) = heads else {
            return false;
        };
        let is_done = |head: &LineHeads| head.last == head.acked && head.standing == Standing::Good;
        self.ways
            .iter()
            .all(|way| heads.get(&way.line).is_some_and(is_done))
    }

    /// An event begins, with its first piece.
    ///
    /// # Errors
    /// As all steps.
    pub fn event(&mut self, name: u64, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        if !self.is_up() {
            return Ok(());
        }
        if oracle::is_told(name) {
            books.announced.insert(name);
            self.tell(name, now_ms)?;
            // What a hub says it may say at once, before anything of the event is synced.
            self.settle(books)?;
        }
        self.begin(name, now_ms)?;
        self.commit(now_ms, books).map(drop)
    }

    /// The phone is told of an event and sent its picture, as far as there is room for that.
    fn tell(&mut self, name: u64, now_ms: u64) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let alert = Alert {
            camera: "door".into(),
            started_unix_ms: name,
        };
        let still = Still {
            camera: "door".into(),
            started_unix_ms: name,
            jpeg: Bytes::from(oracle::picture_of(name)),
        };
        let said = process.core.handle_alert(&alert, wall);
        let sent = match said {
            Ok(_) | Err(CoreError::Reopened) => process.core.handle_still(&still, wall),
            Err(error) => Err(error),
        };
        self.recorded(sent).map(drop)
    }

    /// An event begins; nothing is staged before its first piece.
    ///
    /// # Errors
    /// As all steps.
    pub fn begin(&mut self, name: u64, now_ms: u64) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        process.event = Some(name);
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: name,
        };
        let begun = process.core.handle_event_started(event, wall);
        self.recorded(begun).map(drop)
    }

    /// The next piece of the event that is being recorded.
    ///
    /// # Errors
    /// As all steps.
    pub fn piece(
        &mut self,
        name: u64,
        bytes: &[u8],
        now_ms: u64,
        books: &mut Books,
    ) -> Result<(), Fault> {
        let Some(taken) = self.stage_piece(name, bytes, now_ms, books)? else {
            return Ok(());
        };
        let synced = self.commit(now_ms, books)?;
        // Durable only if nobody had to take the recording up again in between, or if it goes on: on
        // a full disk what was lost with the sync is given up.
        if taken
            && synced
            && let Some(event) = books.events.get_mut(&name)
        {
            event.durable = event.pieces.len();
        }
        Ok(())
    }

    /// Stages a piece and syncs nothing: whether it was taken, or nothing if that event is not being
    /// recorded.
    ///
    /// # Errors
    /// As all steps.
    pub fn stage_piece(
        &mut self,
        name: u64,
        bytes: &[u8],
        now_ms: u64,
        books: &mut Books,
    ) -> Result<Option<bool>, Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(None);
        };
        if !process.core.is_recording() || process.event != Some(name) {
            return Ok(None);
        }
        let piece = Piece {
            bytes: Bytes::copy_from_slice(bytes),
            captured_unix_ms: wall,
        };
        let event = books.events.entry(name).or_default();
        event.pieces.push(bytes.to_vec());
        let taken = process.core.handle_pieces(vec![piece], wall);
        Ok(Some(self.recorded(taken)? == Some(Recorded::Taken)))
    }

    /// The event that is being recorded.
    #[must_use]
    pub fn recording(&self) -> Option<u64> {
        let process = self.process.as_ref();
        process
            .filter(|process| process.core.is_recording())
            .and_then(|process| process.event)
    }

    /// Syncs everything that is staged.
    ///
    /// # Errors
    /// As all steps.
    pub fn sync(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let recording = self.recording();
        if self.commit(now_ms, books)?
            && let Some(event) = recording.and_then(|name| books.events.get_mut(&name))
        {
            event.durable = event.pieces.len();
        }
        Ok(())
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

    /// The event is over.
    ///
    /// # Errors
    /// As all steps.
    pub fn event_over(
        &mut self,
        name: u64,
        cut: bool,
        now_ms: u64,
        books: &mut Books,
    ) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = self
            .process
            .as_mut()
            .filter(|process| process.event == Some(name))
        else {
            return Ok(());
        };
        process.event = None;
        let end = if cut {
            EventEnd::CutOff
        } else {
            EventEnd::Completed
        };
        let over = process.core.handle_event_ended(end, wall);
        self.recorded(over)?;
        self.commit(now_ms, books).map(drop)
    }

    /// Cover is due on the line of its videos.
    ///
    /// # Errors
    /// As all steps.
    pub fn cover(&mut self, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall = self.wall(now_ms);
        let mut lines = self.ways.iter().map(|way| way.line);
        let videos = lines.find(|line| line.channel == Channel::EventVideo);
        let (Some(process), Some(line)) = (&mut self.process, videos) else {
            return Ok(());
        };
        passing(process.core.handle_cover_due(line, wall))?;
        self.commit(now_ms, books).map(drop)
    }

    fn recorded(&mut self, result: Result<Recorded, CoreError>) -> Result<Option<Recorded>, Fault> {
        match result {
            Ok(recorded) => Ok(Some(recorded)),
            Err(CoreError::Reopened) => Ok(None),
            Err(error) => Err(ended(error)),
        }
    }

    /// Whether everything of the event is durable, if one is being recorded.
    fn commit(&mut self, now_ms: u64, books: &mut Books) -> Result<bool, Fault> {
        let wall = self.wall(now_ms);
        let Some(process) = &mut self.process else {
            return Ok(false);
        };
        let synced = match process.core.commit(wall) {
            Ok(()) => true,
            Err(CoreError::Reopened) => process.core.is_recording(),
            Err(error) => return Err(ended(error)),
        };
        self.settle(books)?;
        Ok(synced)
    }

    /// Facts into the books.
    fn settle(&mut self, books: &mut Books) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let (mut finished, mut dropped) = (Vec::new(), Vec::new());
        let mut is_reopened = false;
        while let Some(notice) = process.core.poll_notice() {
            match notice {
                Notice::Reopened => is_reopened = true,
                Notice::ClipFinished { clip, .. } => finished.push(clip),
                Notice::PhoneSilent { .. } => books.silent = true,
                Notice::PhoneBack { .. } => books.silent = false,
                Notice::ClipStarted { .. } => books.not_for_the_silent()?,
                Notice::Told {
                    line,
                    started_unix_ms,
                } => {
                    books.not_for_the_silent()?;
                    match line.channel {
                        Channel::Thumbnail => {
                            books.pictured.insert(started_unix_ms);
                        }
                        _ if books.announced.contains(&started_unix_ms) => {
                            books.notified.insert(started_unix_ms);
                        }
                        // About no event: that the disk is full.
                        _ => books.alarms += 1,
                    }
                }
                // The picture of an event, which is no clip of the books.
                Notice::ClipDropped { line, .. }
                    if books.rotted && line.channel == Channel::Thumbnail => {}
                Notice::ClipDropped { clip, reason, .. } if books.may_drop(reason) => {
                    dropped.push((clip, reason));
                }
                Notice::ClipDropped { .. } | Notice::LineBroken { .. } => {
                    return Err(Broken::new("C2", format!("{notice:?}")).into());
                }
                _ => {}
            }
        }
        for clip in finished {
            let whole = clip.state == ClipState::Complete;
            let Some(sha256) = clip.sha256 else {
                return Err(Broken::new("C2", "a finished clip without its hash").into());
            };
            // The books find the event by what it holds: bytes from the beginning, with that hash.
            let found = books.events.values_mut().find(|event| {
                event.ended.is_none() && prefix_with(&event.pieces, clip.bytes, sha256)
            });
            match found {
                Some(event) => event.ended = Some((sha256, clip.bytes, whole)),
                None => {
                    let what = format!("a clip of {} bytes that no camera gave", clip.bytes);
                    return Err(Broken::new("C2", what).into());
                }
            }
        }
        // A whole clip, and only because its bytes are damaged, or the disk is full (C2).
        for (clip, reason) in dropped {
            match (event_of(books, &clip), reason) {
                (Some(event), DropReason::Damaged) => event.dropped = true,
                (Some(event), DropReason::Budget) => event.made_room = true,
                (Some(_), DropReason::Age) => {
                    let what = "a clip went for its age, and nobody has set one";
                    return Err(Broken::new("C2", what).into());
                }
                (None, _) => {
                    let what = "a clip was dropped that had not ended";
                    return Err(Broken::new("C2", what).into());
                }
            }
        }
        if is_reopened {
            drops_unheard(&mut process.core, books)?;
        }
        Ok(())
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
            let passed = Duration::from_millis(now_ms.saturating_sub(process.ticked_at_ms));
            process.ticked_at_ms = now_ms;
            passing(process.core.handle_elapsed(passed, wall))?;
            passing(process.core.handle_timeout(wall))?;
            passing(process.core.commit(wall))?;
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
            Down::Receipt(head) => end.sender.handle_receipt(head),
            Down::Conflict(stored) => end.sender.handle_conflict(stored, now_ms),
            Down::NotNext => end.sender.handle_not_next(now_ms),
            Down::OverQuota(_) => end.sender.handle_over_quota(Size::Bulk, 2, now_ms),
            Down::ReceiveState(_) => {}
            Down::Deliver(..) if !end.reading => {}
            Down::Deliver(seq, bytes) => {
                let taken = core.handle_envelope(end.way.line, seq, &bytes, wall);
                let taken = passing(taken)?;
                // ORDER: the sync, then the trim.
                let synced = passing(core.commit(wall))?.is_some();
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

impl LineEnd {
    /// Does whatever is to be done for this line now.
    fn pump(
        &mut self,
        core: &mut Core,
        (machine, lets_go): (&Machine, &LetsGo),
        (up, now_ms, wall): (bool, u64, u64),
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Way {
            line,
            send,
            receive,
        } = self.way;
        if up && !self.reading && now_ms >= self.read_at_ms {
            self.reading = true;
            let cursor = core.cursor(line).map_err(ended)?;
            out.push(Up::AttachReceive(receive, cursor));
        }
        self.ask_at_ms = 0;
        loop {
            let heads = core.heads().map_err(ended)?;
            let Some(head) = heads.get(&line).copied() else {
                return Err(Broken::new("C1", "the hub forgot its pairing").into());
            };
            // Also after the core took its journal up again without any restart.
            books.explains(send, head.last)?;
            self.sender.handle_durable(head.last);
            self.sender.handle_ack(head.acked);
            while let Some(event) = self.sender.poll_event() {
                self.handle_event(core, event, now_ms);
            }
            if let Some(doubt) = &mut self.doubt
                && now_ms >= doubt.again_at_ms
            {
                doubt.again_at_ms = u64::MAX;
                self.sender.handle_evidence_dismissed(now_ms);
            }
            let blocked = head.standing == Standing::RolledBack(Evidence::PhoneHoldsMore);
            let need = self.sender.poll_need(now_ms).filter(|_| !blocked && up);
            match need {
                None => {
                    self.settle_doubt(core);
                    return Ok(());
                }
                Some(Need::Attach) => {
                    if !self.attaching {
                        self.attaching = true;
                        out.push(Up::AttachSend(send));
                    }
                    return Ok(());
                }
                Some(Need::Digest(seq)) => {
                    let ours = passing(core.digest(line, seq, wall))?.flatten();
                    self.sender.handle_digest(seq, ours, now_ms);
                }
                Some(Need::Envelope { .. }) if *lets_go == LetsGo::Nothing => return Ok(()),
                Some(Need::Envelope { seq, after }) => {
                    self.settle_doubt(core);
                    if !self.attached {
                        self.sender.handle_detached(now_ms);
                        return Ok(());
                    }
                    let before = Seq(seq.0.saturating_sub(1));
                    let found = passing(core.next_envelope(line, before, wall))?.flatten();
                    match found {
                        Some((found, envelope)) if found == seq => {
                            let digest = envelope.digest();
                            books.leaves_after(machine.failure(), send, seq)?;
                            books.leaves(send, seq, digest)?;
                            let bytes = Bytes::from(envelope.into_inner().into_bytes());
                            books.looks_alike(send, seq, bytes.len())?;
                            self.sender.handle_sent(seq, digest, bytes.len());
                            out.push(Up::Append {
                                mailbox: send,
                                seq,
                                after,
                                digest,
                                bytes,
                            });
                            if lets_go.ends_with(seq) {
                                return Ok(());
                            }
                        }
                        Some(_) => self.sender.handle_missing(seq),
                        None => {
                            self.ask_at_ms = now_ms + RETRY_MS;
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    fn handle_event(&mut self, core: &mut Core, event: SenderEvent, now_ms: u64) {
        let SenderEvent::Evidence(evidence) = event else {
            return;
        };
        let pause_ms = match &self.doubt {
            Some(doubt) => (doubt.pause_ms * 2).min(DOUBT_PAUSE_MS_MAX),
            None => DOUBT_PAUSE_MS,
        };
        self.doubt = Some(Doubt {
            again_at_ms: now_ms + pause_ms,
            pause_ms,
        });
        let evidence = match evidence {
            wire::sender::Evidence::AboveHead { .. } => Evidence::AboveHead,
            wire::sender::Evidence::OtherDigest { .. } => Evidence::OtherDigest,
        };
        core.handle_standing(self.way.line, Standing::RolledBack(evidence));
    }

    fn settle_doubt(&mut self, core: &mut Core) {
        let asked = self
            .doubt
            .as_ref()
            .is_some_and(|doubt| doubt.again_at_ms == u64::MAX);
        if asked && self.sender.poll_timeout().is_none() {
            self.doubt = None;
            core.handle_standing(self.way.line, Standing::Good);
        }
    }
}

/// What was said of a drop may have died with its process, or with a journal that was opened again, and the drop is
/// durable all the same: the hub's books tell.
fn drops_unheard(core: &mut Core, books: &mut Books) -> Result<(), Fault> {
    if books.rotted || !books.filled {
        return Ok(());
    }
    let Some(status) = passing(core.status())? else {
        return Ok(());
    };
    let is_dropped = |clip: &&ClipFacts| clip.state == ClipState::Dropped;
    for clip in status.clips.iter().filter(is_dropped) {
        let Some(event) = event_of(books, clip) else {
            return Err(Broken::new("C2", "a clip was dropped that no camera gave").into());
        };
        event.made_room = true;
    }
    Ok(())
}

/// The event that a clip of the hub's books is of. That it has ended may have been said by nobody: then it is known
/// by what it holds.
fn event_of<'a>(books: &'a mut Books, clip: &ClipFacts) -> Option<&'a mut oracle::Event> {
    let sha256 = clip.sha256?;
    let is_of = |event: &&mut oracle::Event| match event.ended {
        Some((hash, _, _)) => hash == sha256,
        None => prefix_with(&event.pieces, clip.bytes, sha256),
    };
    books.events.values_mut().find(is_of)
}

/// Whether the pieces begin with so many bytes of this hash.
fn prefix_with(pieces: &[Vec<u8>], bytes: u64, sha256: [u8; 32]) -> bool {
    use sha2::{Digest as _, Sha256};
    let all = pieces.concat();
    let prefix = all.get(..bytes as usize);
    prefix.is_some_and(|prefix| <[u8; 32]>::from(Sha256::digest(prefix)) == sha256)
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
