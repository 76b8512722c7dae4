//! The relay: what it stores, what it shows, and what a sender makes of that.
//!
//! The tables of `relay/PROTOCOL.md`, sections 5 and 6. This room must never look into an envelope.

use super::Channel;
use super::state::{Envelope, Mailbox, Row, State};

/// What a sender does after attaching.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// The relay has everything.
    Nothing,
    /// This one next.
    Send(u8),
    /// The relay holds what this directory never made.
    Evidence,
}

/// What the sender of `outbox` does when it is shown the mailbox's last envelope. Without
/// `compares` only numbers are looked at, and a number that is there counts as stored.
pub(super) fn next(outbox: &Row, mailbox: &Mailbox, compares: bool) -> Next {
    let last = mailbox.stored.head();
    let first = outbox.above + 1;
    if compares && last > outbox.head() {
        return Next::Evidence;
    }
    if last < first {
        return up_to(first, outbox.head());
    }
    let theirs = mailbox.stored.get(last);
    if compares && theirs.is_some() && theirs != outbox.get(last) {
        return Next::Evidence;
    }
    up_to(last + 1, outbox.head())
}

fn up_to(seq: u8, head: u8) -> Next {
    if seq <= head {
        Next::Send(seq)
    } else {
        Next::Nothing
    }
}

/// Receives an envelope that the sender gave as the next. With `sync_later` it is stored by a step
/// of its own.
pub(super) fn append(mailbox: &mut Mailbox, seq: u8, envelope: Envelope, sync_later: bool) {
    if seq != mailbox.stored.head() + 1 {
        // A declared gap: what lies before was acked.
        mailbox.stored.start_behind(seq - 1);
    }
    if sync_later {
        mailbox.unsynced = Some(envelope);
    } else {
        mailbox.stored.push(envelope);
    }
}

/// What was received becomes durable; the receipt goes out.
pub(super) fn syncs(_: &Channel, state: &mut State) -> Option<()> {
    let envelope = state.down.unsynced.take()?;
    state.down.stored.push(envelope);
    Some(())
}

/// Forgets everything through `seq` but the last envelope, which stays until another takes its
/// place; unless that is the mistake.
pub(super) fn trim(mailbox: &mut Mailbox, through: u8, keeps_last: bool) {
    let last = mailbox.stored.head();
    let keep = if keeps_last {
        last.saturating_sub(1)
    } else {
        last
    };
    mailbox.stored.forget_through(through.min(keep));
    if mailbox.stored.is_empty() && !keeps_last {
        *mailbox = Mailbox::default();
    }
}
