//! The writer's side of one mailbox: what to send next, and what the relay's answers prove.
//!
//! The machine knows numbers and digests, not envelopes: it asks for them one by one
//! ([`Need`]), so that an outbox of gigabytes costs no memory. It must never free anything
//! because of a receipt, and never believe the relay that this outbox is older than what left
//! it: what the relay says of such an envelope proves nothing, so it asks for the bytes and has
//! them judged by whoever has the keys, before anything more is sent. The same goes for
//! silence: after a refusal it attaches again and starts from what the relay shows, so that
//! answers to abandoned envelopes cannot be mistaken for new ones.
//!
//! ```text
//!            handle_attached                    digest is ours / relay is behind
//! Detached -----------------> Comparing ------------------------> Sending <--+
//!    ^  ^                         |                                 |  |     |
//!    |  |  over quota, not next,  | other digest, above our head    |  |     | handle_evidence_dismissed:
//!    |  |  connection lost        v                                 |  |     | what an attach showed
//!    |  +-----------------------  Suspect <-------------------------+--+     |
//!    |                            |  |  |    conflict, receipt               |
//!    +----------------------------+  |  +------------------------------------+
//!     handle_evidence_dismissed:     |
//!     of a refusal                   +--> Over
//!                                         handle_proof
//! ```
//!
//! A lie costs the relay's own answer to [`Need::Stored`] and nothing more: sending goes on as if
//! nothing had been shown, and it is not judged again before a pause that doubles while no ack
//! moves. Whoever is refused for that long waits as long: a relay that takes nothing says no,
//! which it always can.
//!
//! Poll order: `handle_*` for everything that came in, then [`Sender::poll_event`] until it is
//! empty, then [`Sender::poll_need`] until it is empty, then sleep until
//! [`Sender::poll_timeout`]. Times are milliseconds of any clock that does not go backwards.

use alloc::collections::VecDeque;

use crate::envelope::Size;
use crate::frame::SendState;
use crate::ids::{Digest, Head, Seq};
use crate::limits::{RETRY_AFTER_SECONDS_MAX, WINDOW_BYTES_MAX, WINDOW_ENVELOPES_MAX};

/// Sending un-acked envelopes again is allowed after this pause at first...
const REWIND_PAUSE_MS_MIN: u64 = 1_000;
/// ...which doubles up to this while no ack moves: a relay that claims to forget for ever
/// costs one copy of the outbox in ten minutes, not the whole uplink.
const REWIND_PAUSE_MS_MAX: u64 = 600_000;
/// A relay that refuses without a reason to wait is asked again after this pause.
const REATTACH_PAUSE_MS: u64 = 200;
/// What speaks against this outbox is judged again after this pause at first...
const JUDGE_PAUSE_MS_MIN: u64 = 5_000;
/// ...which doubles up to this while no ack moves: lies without end cost an envelope now and then.
const JUDGE_PAUSE_MS_MAX: u64 = 600_000;
/// Events wait here until they are polled; only the four kinds below, receipts coalesced.
const EVENTS_MAX: usize = 16;

/// What the machine wants from the shell around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Need {
    /// Attach the mailbox (again, under a new slot), then call [`Sender::handle_attached`].
    Attach,
    /// Say which digest the outbox has under this number: [`Sender::handle_digest`].
    Digest(Seq),
    /// Fetch the bytes that the relay holds under the number of this evidence, on the attachment that
    /// there is, and have them judged by the keys that only their sender has. Then
    /// [`Sender::handle_proof`], or, also if the relay gives none, [`Sender::handle_evidence_dismissed`].
    Stored(Evidence),
    /// Append this envelope, then call [`Sender::handle_sent`] or [`Sender::handle_missing`].
    Envelope {
        /// The number to send.
        seq: Seq,
        /// What to put in the `after` field of the append.
        after: Seq,
    },
}

/// What the relay says of its copy and our own state cannot explain: a claim, which proves nothing yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Evidence {
    /// The mailbox ends above the highest number that we ever gave.
    AboveHead {
        /// What the relay shows.
        relay: Head,
        /// The highest number that we know of.
        our_head: Seq,
    },
    /// An envelope that is un-acked here is stored there with another digest.
    OtherDigest {
        /// What the relay shows.
        relay: Head,
        /// The digest in our outbox.
        ours: Digest,
    },
}

impl Evidence {
    /// What the relay says that it holds.
    #[must_use]
    pub fn relay(self) -> Head {
        match self {
            Evidence::AboveHead { relay, .. } | Evidence::OtherDigest { relay, .. } => relay,
        }
    }
}

/// What the owner of the outbox learns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum SenderEvent {
    /// The relay has synced everything through this number. Frees nothing.
    Receipt {
        /// The highest number.
        through: Seq,
    },
    /// The relay forgot what it had given receipts for; it is sent again.
    Rewound {
        /// The first number that is sent again.
        from: Seq,
        /// The highest number that had a receipt.
        receipted_through: Seq,
    },
    /// The relay has no room; sending pauses.
    OverQuota {
        /// The slice that is full.
        size: Size,
        /// Seconds until the next attempt.
        retry_after_s: u32,
    },
    /// The relay gave a receipt for something that was not sent: close the connection.
    Misbehaved {
        /// The number in the receipt.
        seq: Seq,
    },
}

#[derive(Clone, Debug)]
struct InFlight {
    seq: Seq,
    digest: Digest,
    bytes: u64,
}

/// What the attachment is good for on which evidence came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slot {
    /// It was shown by an attach: nothing was refused.
    Open,
    /// It came in place of a receipt, and the relay appends nothing behind it.
    Refused,
}

#[derive(Clone, Debug)]
enum Link {
    Detached {
        not_before_ms: u64,
    },
    Comparing {
        relay: Head,
    },
    Sending {
        next: Seq,
        after: Seq,
        /// The relay claims that its mailbox ends otherwise, which counts for nothing.
        in_spite: bool,
    },
    Suspect {
        evidence: Evidence,
        slot: Slot,
    },
    Over,
}

/// A writer of one mailbox.
#[derive(Clone, Debug)]
pub struct Sender {
    acked_through: Seq,
    head: Seq,
    receipted_through: Seq,
    link: Link,
    in_flight: VecDeque<InFlight>,
    in_flight_bytes: u64,
    events: VecDeque<SenderEvent>,
    rewind_pause_ms: u64,
    rewind_not_before_ms: u64,
    judge_pause_ms: u64,
    judge_not_before_ms: u64,
}

impl Sender {
    /// A writer whose outbox holds what lies between `acked_through` (exclusive) and `head`,
    /// the highest number ever given in this mailbox; both are [`Seq::NONE`] in a new one.
    ///
    /// # Panics
    /// When `acked_through` is above `head`: the caller's own books are wrong.
    #[must_use]
    pub fn new(acked_through: Seq, head: Seq) -> Sender {
        assert!(acked_through <= head, "acked beyond what was ever sent");
        Sender {
            acked_through,
            head,
            receipted_through: Seq::NONE,
            link: Link::Detached { not_before_ms: 0 },
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            events: VecDeque::new(),
            rewind_pause_ms: REWIND_PAUSE_MS_MIN,
            rewind_not_before_ms: 0,
            judge_pause_ms: JUDGE_PAUSE_MS_MIN,
            judge_not_before_ms: 0,
        }
    }

    /// The highest number that the relay has given a receipt for, as far as it is known to
    /// this process.
    #[must_use]
    pub fn receipted_through(&self) -> Seq {
        self.receipted_through
    }

    /// Bytes under way without a receipt.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// True when the relay has given receipts for the whole outbox.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.receipted_through.max(self.acked_through) >= self.head
    }

    /// True while the relay's mailbox is attached, was found to agree with the outbox or to prove nothing
    /// against it, and nothing has spoken against it since.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        matches!(self.link, Link::Sending { .. })
    }

    /// The outbox has a new durable envelope: `seq` is the highest number now.
    pub fn handle_durable(&mut self, seq: Seq) {
        self.head = self.head.max(seq);
    }

    /// An ack, sealed end to end, moved the watermark.
    pub fn handle_ack(&mut self, through: Seq) {
        let through = through.min(self.head);
        if through > self.acked_through {
            self.acked_through = through;
            // The other end proved that the path works, so a relay that forgets is just that.
            self.rewind_pause_ms = REWIND_PAUSE_MS_MIN;
            self.rewind_not_before_ms = 0;
            self.judge_pause_ms = JUDGE_PAUSE_MS_MIN;
        }
    }

    /// The connection is gone. What was not judged yet the next attach shows again.
    pub fn handle_detached(&mut self, now_ms: u64) {
        if !matches!(self.link, Link::Over) {
            self.detach(now_ms);
        }
    }

    /// The relay answered an attach.
    pub fn handle_attached(&mut self, state: &SendState, now_ms: u64) {
        if self.has_stopped() {
            return;
        }
        self.forget_in_flight();
        let Some(last) = state.last else {
            self.start(Seq::NONE, now_ms);
            return;
        };
        if last.seq > self.head {
            let evidence = Evidence::AboveHead {
                relay: last,
                our_head: self.head,
            };
            self.suspect(evidence, Slot::Open, now_ms);
        } else if last.seq > self.acked_through {
            self.link = Link::Comparing { relay: last };
        } else {
            self.start(last.seq, now_ms);
        }
    }

    /// The outbox has this digest under the number of [`Need::Digest`]; none if that envelope
    /// was dropped under the disk budget, or acked in the meantime.
    pub fn handle_digest(&mut self, seq: Seq, ours: Option<Digest>, now_ms: u64) {
        let Link::Comparing { relay } = self.link else {
            return;
        };
        if relay.seq != seq {
            return;
        }
        match ours {
            Some(ours) if ours != relay.digest => {
                let evidence = Evidence::OtherDigest { relay, ours };
                self.suspect(evidence, Slot::Open, now_ms);
            }
            _ => self.start(relay.seq, now_ms),
        }
    }

    /// The relay's mailbox ends with `relay_last`, which agrees with ours: go on behind it.
    fn start(&mut self, relay_last: Seq, now_ms: u64) {
        let from = relay_last.max(self.acked_through).next();
        if from <= self.receipted_through {
            if now_ms < self.rewind_not_before_ms {
                self.detach(self.rewind_not_before_ms);
                return;
            }
            self.rewind_not_before_ms = now_ms.saturating_add(self.rewind_pause_ms);
            self.rewind_pause_ms = (self.rewind_pause_ms * 2).min(REWIND_PAUSE_MS_MAX);
            self.push_event(SenderEvent::Rewound {
                from,
                receipted_through: self.receipted_through,
            });
            self.receipted_through = relay_last;
        } else if relay_last > self.receipted_through {
            self.receipt(relay_last);
        }
        self.link = Link::Sending {
            next: from,
            after: relay_last,
            in_spite: false,
        };
    }

    /// The shell has handed the envelope of [`Need::Envelope`] to the connection.
    pub fn handle_sent(&mut self, seq: Seq, digest: Digest, bytes: usize) {
        if let Link::Sending { next, after, .. } = &mut self.link
            && *next == seq
        {
            *next = seq.next();
            *after = seq;
            let bytes = bytes as u64;
            self.in_flight.push_back(InFlight { seq, digest, bytes });
            self.in_flight_bytes += bytes;
        }
    }

    /// The outbox has nothing under the number of [`Need::Envelope`]: acked in the meantime,
    /// or dropped with a statement that lies further on.
    pub fn handle_missing(&mut self, seq: Seq) {
        if let Link::Sending { next, .. } = &mut self.link
            && *next == seq
        {
            *next = seq.next();
        }
    }

    /// The relay gave a receipt.
    pub fn handle_receipt(&mut self, relay: Head, now_ms: u64) {
        if !matches!(self.link, Link::Sending { .. }) || relay.seq <= self.receipted_through {
            return;
        }
        let Some(found) = self.in_flight.iter().find(|sent| sent.seq == relay.seq) else {
            self.push_event(SenderEvent::Misbehaved { seq: relay.seq });
            return;
        };
        if found.digest != relay.digest {
            let ours = found.digest;
            let evidence = Evidence::OtherDigest { relay, ours };
            self.suspect(evidence, Slot::Refused, now_ms);
            return;
        }
        while let Some(sent) = self.in_flight.front()
            && sent.seq <= relay.seq
        {
            self.in_flight_bytes -= sent.bytes;
            self.in_flight.pop_front();
        }
        self.receipt(relay.seq);
    }

    /// The relay has other bytes under a number that was sent.
    pub fn handle_conflict(&mut self, stored: Head, now_ms: u64) {
        if !matches!(self.link, Link::Sending { .. }) {
            return;
        }
        match self.in_flight.iter().find(|sent| sent.seq == stored.seq) {
            Some(sent) if sent.digest != stored.digest => {
                let evidence = Evidence::OtherDigest {
                    relay: stored,
                    ours: sent.digest,
                };
                self.suspect(evidence, Slot::Refused, now_ms);
            }
            // A conflict about nothing that was sent, or about equal digests: look again.
            _ => self.detach(now_ms.saturating_add(REATTACH_PAUSE_MS)),
        }
    }

    /// The relay did not append, because its mailbox ends elsewhere, or it lost the mailbox.
    pub fn handle_not_next(&mut self, now_ms: u64) {
        if self.has_stopped() {
            return;
        }
        let again_ms = now_ms.saturating_add(REATTACH_PAUSE_MS);
        match self.link {
            // Its mailbox may end where it says, whoever has put something there.
            Link::Sending { in_spite: true, .. } => {
                self.detach(again_ms.max(self.judge_not_before_ms));
            }
            // A word about a slot that is gone moves no pause.
            Link::Detached { .. } => {}
            _ => self.detach(again_ms),
        }
    }

    /// The relay has no room. It is asked again after the time that it names, which counts for one
    /// second at least and [`RETRY_AFTER_SECONDS_MAX`] at most.
    pub fn handle_over_quota(&mut self, size: Size, retry_after_s: u32, now_ms: u64) {
        if self.has_stopped() {
            return;
        }
        let retry_after_s = retry_after_s.clamp(1, RETRY_AFTER_SECONDS_MAX);
        self.push_event(SenderEvent::OverQuota {
            size,
            retry_after_s,
        });
        let pause_ms = u64::from(retry_after_s) * 1_000;
        self.detach(now_ms.saturating_add(pause_ms));
    }

    /// What the relay gave for the evidence of [`Need::Stored`] is no envelope of ours that the outbox could
    /// not explain, or it gave nothing: sending goes on.
    pub fn handle_evidence_dismissed(&mut self, now_ms: u64) {
        let Link::Suspect { slot, .. } = self.link else {
            return;
        };
        self.judge_not_before_ms = now_ms.saturating_add(self.judge_pause_ms);
        self.judge_pause_ms = (self.judge_pause_ms * 2).min(JUDGE_PAUSE_MS_MAX);
        match slot {
            Slot::Open => self.go_on(),
            Slot::Refused => self.detach(now_ms.saturating_add(REATTACH_PAUSE_MS)),
        }
    }

    /// What the relay gave is an envelope of ours that the outbox cannot explain: nothing is sent any more.
    pub fn handle_proof(&mut self) {
        self.forget_in_flight();
        self.link = Link::Over;
    }

    /// What the shell must do next; the same answer again until it has been done.
    pub fn poll_need(&mut self, now_ms: u64) -> Option<Need> {
        match self.link {
            Link::Detached { not_before_ms } if now_ms >= not_before_ms => Some(Need::Attach),
            Link::Comparing { relay } => Some(Need::Digest(relay.seq)),
            Link::Suspect { evidence, .. } => Some(Need::Stored(evidence)),
            Link::Sending { next, after, .. } => {
                // What was acked meanwhile need not travel.
                let seq = next.max(self.acked_through.next());
                if let Link::Sending { next, .. } = &mut self.link {
                    *next = seq;
                }
                let open = self.in_flight.len() < WINDOW_ENVELOPES_MAX
                    && self.in_flight_bytes < WINDOW_BYTES_MAX;
                (open && seq <= self.head).then_some(Need::Envelope { seq, after })
            }
            Link::Detached { .. } | Link::Over => None,
        }
    }

    /// When to poll again though nothing came in.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        match self.link {
            Link::Detached { not_before_ms } => Some(not_before_ms),
            _ => None,
        }
    }

    /// The next thing to tell the owner of the outbox.
    pub fn poll_event(&mut self) -> Option<SenderEvent> {
        self.events.pop_front()
    }

    fn detach(&mut self, not_before_ms: u64) {
        self.forget_in_flight();
        self.link = Link::Detached { not_before_ms };
    }

    fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
    }

    /// Whether nothing that the relay says counts now: it is to be judged first, or was.
    fn has_stopped(&self) -> bool {
        matches!(self.link, Link::Suspect { .. } | Link::Over)
    }

    /// The relay claims what the outbox cannot explain. Claims that come too soon behind one that proved
    /// nothing are as good as that.
    fn suspect(&mut self, evidence: Evidence, slot: Slot, now_ms: u64) {
        self.forget_in_flight();
        if now_ms >= self.judge_not_before_ms {
            self.link = Link::Suspect { evidence, slot };
            return;
        }
        match slot {
            Slot::Open => self.go_on(),
            // It would only be refused again.
            Slot::Refused => self.detach(self.judge_not_before_ms),
        }
    }

    /// Sends behind what is known to have been there, whatever the relay claims.
    fn go_on(&mut self) {
        let after = self.acked_through.max(self.receipted_through);
        self.link = Link::Sending {
            next: after.next(),
            after,
            in_spite: true,
        };
    }

    fn receipt(&mut self, through: Seq) {
        self.receipted_through = through;
        if let Some(SenderEvent::Receipt { through: last }) = self.events.back_mut() {
            *last = through;
        } else {
            self.push_event(SenderEvent::Receipt { through });
        }
    }

    fn push_event(&mut self, event: SenderEvent) {
        if self.events.len() == EVENTS_MAX {
            // The owner does not poll. The oldest is the least interesting.
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests;
