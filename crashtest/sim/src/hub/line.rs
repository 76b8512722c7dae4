//! One line's way to the relay and back: what is durable is sent, and what the relay claims against that is fetched and
//! judged.
//!
//! What the relay delivers is not taken here.

use bytes::Bytes;
use hub::core::{Core, Judged, LineHeads, Standing};
use wire::Seq;
use wire::sender::{Need, Sender};

use super::sync::sync;
use super::{Fault, LetsGo, RETRY_MS, ended, passing};
use crate::net::{Up, Way};
use crate::node::Machine;
use crate::oracle::{Books, Broken};

/// One line's way to the relay and back.
pub(super) struct LineEnd {
    pub(super) way: Way,
    pub(super) sender: Sender,
    /// The relay was asked what it holds.
    fetching: bool,
    pub(super) attached: bool,
    pub(super) attaching: bool,
    pub(super) reading: bool,
    pub(super) read_at_ms: u64,
    /// An envelope that could not be read now is asked for again.
    ask_at_ms: u64,
}

impl LineEnd {
    /// A line of a process that has just started.
    pub(super) fn new(way: Way, head: LineHeads) -> LineEnd {
        LineEnd {
            way,
            sender: Sender::new(head.acked, head.last),
            fetching: false,
            attached: false,
            attaching: false,
            reading: false,
            read_at_ms: 0,
            ask_at_ms: 0,
        }
    }

    /// The connection is gone.
    pub(super) fn disconnected(&mut self, now_ms: u64) {
        self.fetching = false;
        self.attached = false;
        self.attaching = false;
        self.reading = false;
        self.sender.handle_detached(now_ms);
    }

    /// When there is something to do for it without anything else happening.
    pub(super) fn deadlines(&self) -> [Option<u64>; 3] {
        let read = (!self.reading).then_some(self.read_at_ms);
        let ask = (self.ask_at_ms > 0).then_some(self.ask_at_ms);
        [self.sender.poll_timeout(), read, ask]
    }

    /// The relay shows what it holds under a number, or nothing.
    pub(super) fn stored(
        &mut self,
        core: &mut Core,
        (seq, shown): (Seq, Option<Bytes>),
        (now_ms, wall): (u64, u64),
        books: &Books,
    ) -> Result<(), Fault> {
        self.fetching = false;
        let judged = core.handle_stored(self.way.line, seq, shown.as_deref(), wall);
        let judged = passing(judged)?;
        passing(sync(core, now_ms, wall))?;
        match judged {
            Some(Judged::RolledBack) if !books.is_old_writer(self.way.send) => {
                let what = "the hub took its directory for an older copy, and it is none";
                return Err(Broken::new("C8", what).into());
            }
            Some(Judged::RolledBack) => self.sender.handle_proof(),
            Some(Judged::Nothing) => self.sender.handle_evidence_dismissed(now_ms),
            // The journal was opened again: it is asked once more.
            None => {}
        }
        Ok(())
    }

    /// Does whatever is to be done for this line now.
    pub(super) fn pump(
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
            let Some(head) = core.head_of(line).map_err(ended)? else {
                return Err(Broken::new("C1", "the hub forgot its pairing").into());
            };
            // Also after the core took its journal up again without any restart.
            books.explains(send, head.last)?;
            self.sender.handle_durable(head.last);
            self.sender.handle_ack(head.acked);
            while self.sender.poll_event().is_some() {}
            let blocked = head.standing == Standing::RolledBack;
            let need = self.sender.poll_need(now_ms).filter(|_| !blocked && up);
            match need {
                None => return Ok(()),
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
                Some(Need::Stored(evidence)) => {
                    if !self.attached {
                        self.sender.handle_detached(now_ms);
                    } else if !self.fetching {
                        self.fetching = true;
                        out.push(Up::Fetch(send, evidence.relay().seq));
                    }
                    return Ok(());
                }
                Some(Need::Envelope { .. }) if *lets_go == LetsGo::Nothing => return Ok(()),
                Some(Need::Envelope { seq, after }) => {
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
}
