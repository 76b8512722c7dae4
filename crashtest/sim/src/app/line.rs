//! One line's way to the relay and back: what came is taken, and what is durable is sent and acked.
//!
//! Nothing leaves here before the sync that makes it durable; whether a heartbeat is due is not asked here.

use std::collections::VecDeque;

use app_core::core::{Core, Delivered, Halt, Judged, Over, PendingRun, Run};
use bytes::Bytes;
use journal::ids::Channel;
use journal::{ErrorKind, JournalError, NO_COMMAND_WAITS, OutboxHead, Taken};
use wire::Seq;
use wire::envelope::Size;
use wire::sender::{Need, Sender};

use super::{ended, is_over};
use crate::hub::Fault;
use crate::net::{Down, Up, Way};
use crate::node::Machine;
use crate::oracle::{Books, Broken};

/// After trouble a mailbox is attached again so much later.
const RETRY_MS: u64 = 1_000;
/// Most envelopes that share a commit here.
const RUN_MAX: usize = 8;

/// One line's way to the relay and back.
pub(super) struct LineEnd {
    pub(super) way: Way,
    pub(super) sender: Sender,
    attached: bool,
    attaching: bool,
    reading: bool,
    read_at_ms: u64,
    /// The relay was asked what it holds.
    fetching: bool,
    /// What it has shown since, and is not judged yet.
    stored: Option<(Seq, Option<Bytes>)>,
    pub(super) due_at_ms: Option<u64>,
    inbox: VecDeque<Delivered>,
    /// What is staged and waits for a sync of its own: only where a script goes step by step.
    pub(super) staged: Vec<PendingRun>,
    cursor: Seq,
    /// The last envelope of its outbox that is durable.
    pub(super) last: Seq,
    /// The last one that the relay held when it was asked, and that answer's envelopes are not all here.
    target: Option<Seq>,
    /// Since when the relay has had all that was said on it, while it is level.
    pub(super) told_since_ms: Option<u64>,
    /// Whether a heartbeat is due may have changed.
    pub(super) stirred: bool,
    /// Acks of the other lines may be due since.
    pub(super) stirs_others: bool,
}

impl LineEnd {
    /// A line of a process that has just started: what its outbox and its inbox are at.
    pub(super) fn new(way: Way, head: OutboxHead, cursor: Seq, now_ms: u64) -> LineEnd {
        LineEnd {
            way,
            sender: Sender::new(head.acked, head.last),
            attached: false,
            attaching: false,
            reading: false,
            read_at_ms: now_ms,
            fetching: false,
            stored: None,
            due_at_ms: Some(now_ms),
            inbox: VecDeque::new(),
            staged: Vec::new(),
            cursor,
            last: head.last,
            target: None,
            told_since_ms: None,
            stirred: false,
            stirs_others: false,
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now_ms: u64) {
        self.attached = false;
        self.attaching = false;
        self.reading = false;
        self.fetching = false;
        self.stored = None;
        self.target = None;
        self.inbox.clear();
        self.sender.handle_detached(now_ms);
    }

    /// When there is something to do for it without anything else happening.
    pub(super) fn deadlines(&self, core: &Core) -> [Option<u64>; 3] {
        if is_over(core, self.way.line) {
            return [None; 3];
        }
        let read = (!self.reading).then_some(self.read_at_ms);
        [self.due_at_ms, read, self.sender.poll_timeout()]
    }

    pub(super) fn is_of_videos(&self) -> bool {
        self.way.line.channel == Channel::EventVideo
    }

    /// Whether everything is here that the relay holds, and its copy of ours agrees with the outbox.
    pub(super) fn is_level(&self) -> bool {
        let here = self.target.is_some_and(|target| self.cursor >= target);
        here && self.reading && self.attached && self.sender.is_sending()
    }

    /// Does whatever is to be done for this line now.
    pub(super) fn pump(
        &mut self,
        core: &mut Core,
        machine: &Machine,
        (up, now_ms, wall_ms): (bool, u64, u64),
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let line = self.way.line;
        self.judge(core, now_ms, books)?;
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

    /// Takes what the relay says of one of its mailboxes.
    pub(super) fn handle(&mut self, core: &mut Core, down: Down, now_ms: u64) {
        match down {
            Down::SendState(state) => {
                self.attaching = false;
                self.attached = true;
                self.sender.handle_attached(&state, now_ms);
            }
            Down::Receipt(head) => self.sender.handle_receipt(head, now_ms),
            Down::Stored(seq, shown) => {
                self.fetching = false;
                self.stored = Some((seq, shown));
            }
            Down::Conflict(stored) => self.sender.handle_conflict(stored, now_ms),
            Down::NotNext => self.sender.handle_not_next(now_ms),
            Down::OverQuota(_) => self.sender.handle_over_quota(Size::Small, 2, now_ms),
            Down::ReceiveState(state) => {
                let last = state.last.map_or(Seq::NONE, |last| last.seq);
                self.target = Some(last);
                if last < self.cursor {
                    // The relay forgot; the hub hears once more what is here. An error shows again.
                    let owed = core.owe_ack(self.way.line, now_ms);
                    self.due_at_ms = owed.ok().map(|()| now_ms + RETRY_MS);
                }
            }
            Down::Deliver(..) if !self.reading => {}
            Down::Deliver(seq, bytes) => self.inbox.push_back(Delivered { seq, bytes }),
        }
    }

    /// What the relay has shown of ours is judged.
    pub(super) fn judge(
        &mut self,
        core: &mut Core,
        now_ms: u64,
        books: &Books,
    ) -> Result<(), Fault> {
        let Some((seq, shown)) = self.stored.take() else {
            return Ok(());
        };
        let judged = core.handle_stored(self.way.line, seq, shown.as_deref());
        let judged = judged.map_err(|error| ended(&error))?;
        match core.commit() {
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => {}
            committed => drop(committed.map_err(|error| ended(&error))?),
        }
        match judged {
            Judged::RolledBack if !books.is_old_writer(self.way.send) => {
                let what = "the app took its directory for an older copy, and it is none";
                return Err(Broken::new("C8", what).into());
            }
            Judged::RolledBack => self.sender.handle_proof(),
            Judged::Nothing => self.sender.handle_evidence_dismissed(now_ms),
        }
        Ok(())
    }

    /// Attaches to its mailbox, if it is time.
    pub(super) fn read(
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
    pub(super) fn write(
        &mut self,
        core: &Core,
        machine: &Machine,
        now_ms: u64,
        books: &mut Books,
        out: &mut Vec<Up>,
    ) -> Result<(), Fault> {
        let Way { line, send, .. } = self.way;
        loop {
            while self.sender.poll_event().is_some() {}
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
                Some(Need::Stored(_)) if !self.attached => self.sender.handle_detached(now_ms),
                Some(Need::Stored(evidence)) => {
                    if !self.fetching {
                        self.fetching = true;
                        out.push(Up::Fetch(send, evidence.relay().seq));
                    }
                    return Ok(());
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

    pub(super) fn settle_all(
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
                // The hub makes nothing that the app could not take. What answers no command is a command that was done
                // twice.
                let promise = match why == NO_COMMAND_WAITS {
                    true => "C2",
                    false => "C1",
                };
                let what = format!("envelope {} was authentic and useless: {why}", fact.seq);
                return Err(Broken::new(promise, what).into());
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
