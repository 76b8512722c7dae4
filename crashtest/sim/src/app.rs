//! The app: its core and its sender, with a shell of the shape of `app_core::downlink`.

use std::collections::VecDeque;

use app_core::core::{Core, Delivered, Halt, Over, PendingRun, Run};
use bytes::Bytes;
use journal::ids::Line;
use journal::{AppClipState, ErrorKind, JournalError, Role, Taken};
use wal::disk::SimDisk;
use wire::envelope::Size;
use wire::sender::{Need, Sender, SenderEvent};
use wire::{ReceiveId, SendId, Seq};

use crate::hub::Fault;
use crate::net::{Down, Up};
use crate::node::{Machine, open_journal};
use crate::oracle::{Books, Broken, Held};

/// After trouble a mailbox is attached again so much later.
const RETRY_MS: u64 = 1_000;
/// Most envelopes that share a commit here.
const RUN_MAX: usize = 8;

struct Process {
    core: Core,
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
}

/// The phone.
pub struct App {
    /// Its disk.
    pub machine: Machine,
    process: Option<Process>,
    line: Line,
    send: SendId,
    receive: ReceiveId,
}

impl App {
    /// A phone that was paired on this disk, not started.
    #[must_use]
    pub fn new(disk: SimDisk, seed: u64, line: Line, send: SendId, receive: ReceiveId) -> App {
        App {
            machine: Machine::new(disk, seed),
            process: None,
            line,
            send,
            receive,
        }
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
        let head = core.outbox(self.line).map_err(|error| ended(&error))?;
        let cursor = core.cursor(self.line).map_err(|error| ended(&error))?;
        books.explains(self.send, head.last)?;
        books.holds(self.receive.send_id(), cursor)?;
        self.process = Some(Process {
            core,
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
        });
        Ok(true)
    }

    /// Ends it, whatever it was doing.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Its connection is gone.
    pub fn disconnected(&mut self, now_ms: u64) {
        if let Some(process) = &mut self.process {
            process.attached = false;
            process.attaching = false;
            process.reading = false;
            process.inbox.clear();
            process.sender.handle_detached(now_ms);
        }
    }

    /// Whether its hub has proved that its directory is older than what left it.
    #[must_use]
    pub fn has_noticed(&self) -> bool {
        let process = self.process.as_ref();
        process.is_some_and(|process| {
            matches!(process.core.over(self.line), Ok(Some(Over::RolledBack)))
        })
    }

    /// When it wants to be asked again without anything else happening.
    #[must_use]
    pub fn deadline_ms(&self) -> Option<u64> {
        let process = self.process.as_ref().filter(|_| !self.has_noticed())?;
        let read = (!process.reading).then_some(process.read_at_ms);
        let write = process
            .sender
            .poll_timeout()
            .map(|at| at.max(process.write_at_ms));
        [process.due_at_ms, read, write].into_iter().flatten().min()
    }

    /// Does whatever is to be done now; gives what goes to the relay.
    ///
    /// # Errors
    /// As all steps.
    pub fn pump(&mut self, up: bool, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let mut out = Vec::new();
        let line = self.line;
        while !self.has_noticed()
            && let Some(process) = &mut self.process
            && !process.inbox.is_empty()
        {
            let count = process.inbox.len().min(RUN_MAX);
            let run: Vec<Delivered> = process.inbox.drain(..count).collect();
            let pending = process.core.deliver(line, &run, now_ms);
            self.settle(pending, now_ms, books, &mut out)?;
        }
        if self.has_noticed() {
            return Ok(out);
        }
        if let Some(process) = &mut self.process
            && process.due_at_ms.is_some_and(|at| at <= now_ms)
        {
            process.due_at_ms = None;
            let pending = process.core.tick(line, now_ms);
            self.settle(pending, now_ms, books, &mut out)?;
        }
        if up {
            self.read(now_ms, books, &mut out)?;
            self.write(now_ms, books, &mut out)?;
        }
        Ok(out)
    }

    /// Attaches to its mailbox, if it is time.
    ///
    /// # Errors
    /// As all steps.
    pub fn read(&mut self, now_ms: u64, books: &mut Books, out: &mut Vec<Up>) -> Result<(), Fault> {
        let (line, receive) = (self.line, self.receive);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if !process.reading && now_ms >= process.read_at_ms {
            process.reading = true;
            process.cursor = process.core.cursor(line).map_err(|error| ended(&error))?;
            out.push(Up::AttachReceive(receive, process.cursor));
            if process.cursor.is_some() {
                let (failure, mailbox) = (self.machine.failure(), receive.send_id());
                books.claims_after(failure, mailbox, process.cursor)?;
                books.claims(receive.send_id(), process.cursor);
                out.push(Up::Trim(receive.send_id(), process.cursor));
            }
        }
        Ok(())
    }

    /// Sends what is durable and what the relay lacks.
    ///
    /// # Errors
    /// As all steps.
    pub fn write(
        &mut self,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let (line, send, receive) = (self.line, self.send, self.receive);
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        if now_ms < process.write_at_ms {
            return Ok(());
        }
        loop {
            while let Some(event) = process.sender.poll_event() {
                if let SenderEvent::Evidence(_) = event {
                    // Judged anew after a pause: a relay that lied once must not silence us for good.
                    process.write_at_ms = now_ms + RETRY_MS;
                    process.attached = false;
                    process.attaching = false;
                    process
                        .sender
                        .handle_evidence_dismissed(process.write_at_ms);
                }
            }
            match process.sender.poll_need(now_ms) {
                None => return Ok(()),
                Some(Need::Attach) => {
                    if !process.attaching {
                        process.attaching = true;
                        out.push(Up::AttachSend(send));
                    }
                    return Ok(());
                }
                Some(Need::Digest(seq)) => {
                    let digest = process.core.envelope_digest(line, seq);
                    let digest = digest.map_err(|error| ended(&error))?;
                    process.sender.handle_digest(seq, digest, now_ms);
                }
                Some(Need::Envelope { seq, after }) => {
                    if !process.attached {
                        process.sender.handle_detached(now_ms);
                        continue;
                    }
                    let before = Seq(seq.0.saturating_sub(1));
                    let found = process.core.next_envelope(line, before);
                    match found.map_err(|error| ended(&error))? {
                        Some((found, envelope)) if found == seq => {
                            let digest = envelope.digest();
                            books.leaves_after(self.machine.failure(), send, seq)?;
                            books.leaves(send, seq, digest)?;
                            books.ack_leaves(seq, receive.send_id());
                            let bytes = Bytes::from(envelope.into_inner().into_bytes());
                            process.sender.handle_sent(seq, digest, bytes.len());
                            out.push(Up::Append {
                                mailbox: send,
                                seq,
                                after,
                                digest,
                                bytes,
                            });
                        }
                        _ => process.sender.handle_missing(seq),
                    }
                }
            }
        }
    }

    /// Takes envelopes and syncs nothing; with none, what time asks for.
    ///
    /// # Errors
    /// As all steps.
    pub fn stage(&mut self, run: &[Delivered], now_ms: u64) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let pending = match run {
            [] => process.core.tick(self.line, now_ms),
            _ => process.core.deliver(self.line, run, now_ms),
        };
        process.staged.push(pending.map_err(|error| ended(&error))?);
        Ok(())
    }

    /// Syncs what [`Self::stage`] left, and acts on what is durable then.
    ///
    /// # Errors
    /// As all steps.
    pub fn sync(&mut self, now_ms: u64, books: &mut Books) -> Result<Vec<Up>, Fault> {
        let mut out = Vec::new();
        if let Some(process) = &mut self.process {
            let staged = std::mem::take(&mut process.staged);
            self.settle_all(Ok(staged), now_ms, books, &mut out)?;
        }
        Ok(out)
    }

    /// The last envelope of its outbox that is durable, if it runs.
    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        self.process.as_ref().map(|process| process.last)
    }

    /// Commits what was staged and acts on what is durable then.
    fn settle(
        &mut self,
        pending: Result<PendingRun, JournalError>,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        self.settle_all(pending.map(|one| vec![one]), now_ms, books, out)
    }

    fn settle_all(
        &mut self,
        pending: Result<Vec<PendingRun>, JournalError>,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let runs = pending.and_then(|pending| {
            let committed = process.core.commit()?;
            let settle = |one| process.core.settle(&committed, one);
            pending
                .into_iter()
                .map(settle)
                .collect::<Result<Vec<_>, _>>()
        });
        let runs = match runs {
            Ok(runs) => runs,
            Err(error) if error.kind() == ErrorKind::Space && !process.core.is_poisoned() => {
                process.look_again(now_ms);
                return Ok(());
            }
            Err(error) => return Err(ended(&error)),
        };
        for run in runs {
            self.act(run, now_ms, books, out)?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        run: Run,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let mailbox = self.receive.send_id();
        if process.reading && run.cursor > process.cursor {
            books.claims_after(self.machine.failure(), mailbox, run.cursor)?;
        }
        process.act(&run, mailbox, now_ms, books, out)?;
        match run.halt {
            None | Some(Halt::Over(Over::RolledBack)) => Ok(()),
            Some(Halt::Over(Over::Broken)) => {
                Err(Broken::new("C1", "the app can no longer follow its hub").into())
            }
            Some(Halt::Gap { .. } | Halt::NotAuthentic { .. }) => {
                process.look_again(now_ms);
                Ok(())
            }
            Some(Halt::Journal(error)) if error.kind() == ErrorKind::Space => {
                process.look_again(now_ms);
                Ok(())
            }
            Some(Halt::Journal(error)) => Err(ended(&error)),
        }
    }

    /// Takes what the relay says.
    pub fn handle(&mut self, message: Down, now_ms: u64) {
        let Some(process) = &mut self.process else {
            return;
        };
        match message {
            Down::SendState(state) => {
                process.attaching = false;
                process.attached = true;
                process.sender.handle_attached(&state, now_ms);
            }
            Down::Receipt(head) => process.sender.handle_receipt(head),
            Down::Conflict(stored) => process.sender.handle_conflict(stored, now_ms),
            Down::NotNext => process.sender.handle_not_next(now_ms),
            Down::OverQuota(_) => process.sender.handle_over_quota(Size::Small, 2, now_ms),
            Down::ReceiveState(state) => {
                let last = state.last.map_or(Seq::NONE, |last| last.seq);
                if last < process.cursor {
                    // The relay forgot; the hub hears once more what is here. An error shows again.
                    let owed = process.core.owe_ack(self.line, now_ms);
                    process.due_at_ms = owed.ok().map(|()| now_ms + RETRY_MS);
                }
            }
            Down::Deliver(..) if !process.reading => {}
            Down::Deliver(seq, bytes) => process.inbox.push_back(Delivered { seq, bytes }),
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
            if !wanted(clip.started_unix_ms) {
                continue;
            }
            let mut bytes = Vec::new();
            for index in 0..clip.chunks {
                let chunk = process.core.chunk(clip.clip, index);
                bytes.extend_from_slice(&chunk.map_err(|error| ended(&error))?);
            }
            let whole = match clip.state {
                AppClipState::Complete => Some(true),
                AppClipState::CutOff => Some(false),
                AppClipState::Receiving => None,
                AppClipState::Dropped(_) => {
                    held.push(Held {
                        started_unix_ms: clip.started_unix_ms,
                        bytes,
                        whole: None,
                        sha256: None,
                        dropped: true,
                    });
                    continue;
                }
                other => {
                    return Err(Broken::new("C2", format!("a clip is {other:?}")).into());
                }
            };
            held.push(Held {
                started_unix_ms: clip.started_unix_ms,
                bytes,
                whole,
                sha256: clip.sha256,
                dropped: false,
            });
        }
        Ok(held)
    }
}

impl Process {
    fn look_again(&mut self, now_ms: u64) {
        self.reading = false;
        self.inbox.clear();
        self.read_at_ms = now_ms + RETRY_MS;
        // An ack that had no room is still owed.
        self.due_at_ms = Some(now_ms + RETRY_MS);
    }

    fn act(
        &mut self,
        run: &Run,
        mailbox: SendId,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        for fact in &run.facts {
            if let Taken::Nothing(why) = fact.taken {
                // The hub makes nothing that the app could not take.
                let what = format!("envelope {} was authentic and useless: {why}", fact.seq);
                return Err(Broken::new("C1", what).into());
            }
        }
        self.last = run.outbox.last;
        self.sender.handle_durable(run.outbox.last);
        self.sender.handle_ack(run.outbox.acked);
        if let Some(ack) = run.ack {
            books.ack_made(ack.envelope, ack.through);
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

fn ended(error: &JournalError) -> Fault {
    Fault::Ended(error.to_string())
}
