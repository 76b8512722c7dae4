//! Under the wrap: an attacker who came by the wrapping keys of a pairing, and by none of MLS. What lies there is
//! changed at each byte and wrapped again by the attacker's own code (`crashtest_evil_relay::wrap`), so that the change
//! reaches MLS framing, and what the sender says it holds.
//!
//! A good wrap counts as the other end's word. So a changed message may be taken without effect, and then its number
//! is gone: each is heard in a transaction that is dropped, as by a copy of the end, and the honest one is what
//! comes to the end itself. A phone may also take it for a Commit that it cannot follow, and a hub that cannot read a
//! proposal frees its sender by a Commit that takes nothing. No change may be taken for what the other end said, or
//! move the group otherwise. This room must never commit what it lets an end hear.

use bytes::Bytes;
use crashtest::trouble::Outcome;
use crashtest_evil_relay::wrap::{Opened, Part, Wrap};
use journal::fuzzing;
use journal::ids::{Epoch, Line};
use journal::{Committer, Follower, Journal, JournalError, Received, Session, Taken, Takes, Txn};
use wire::Seq;

use super::ends::{Ends, To, WALL_MS, broken};
use super::{Depth, Tally, flip};

/// What became of a message whose wrap was good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Became {
    /// Nothing moved, but perhaps the cursor.
    Nothing,
    /// The hub made a Commit that takes nothing, for whoever proposed cannot speak before one.
    Freed,
    /// The line ends here: a phone cannot follow, or the other end holds what this one never made.
    Over,
    /// It was taken for what the other end said.
    Applied,
}

/// One end of a line, listening.
enum Listener {
    Hub(Session<Committer>),
    App(Session<Follower>),
}

/// Everything under the wrap of one envelope, changed at each of its bytes.
pub(super) fn attack(
    ends: &mut Ends,
    to: To,
    line: Line,
    (seq, bytes): (Seq, &Bytes),
    depth: Depth,
    tally: &mut Tally,
) -> Outcome<()> {
    let (key, mailbox) = ends.journal(to, |journal| fuzzing::wrapping_key(journal, line))?;
    let wrap = Wrap::new(&key, mailbox);
    let honest = wrap.open(seq, bytes);
    let honest = honest.ok_or_else(|| broken("an honest envelope does not open"))?;
    let mut listener = match to {
        To::Hub => Listener::Hub(Session::new(line)),
        To::App => Listener::App(Session::new(line)),
    };
    let mut hear = |opened: &Opened| {
        let wrapped = wrap.seal(seq, opened);
        let wrapped = wrapped.ok_or_else(|| broken("an envelope cannot be wrapped again"))?;
        ends.journal(to, |journal| listener.hear(journal, seq, &wrapped))
    };
    // As it is, it is what the other end said; or of an epoch that is over, and nothing.
    let as_it_is = hear(&honest)?;
    if as_it_is == Became::Over {
        let what = format!("honest envelope {seq} of {line:?} ends it at {to:?}");
        return Err(broken(what));
    }
    tally.understood += u64::from(as_it_is == Became::Applied);
    let mut wrong = honest.clone();
    let padding = honest.plaintext.len().saturating_sub(1);
    let places = depth.places_inside(honest.said_bytes()).into_iter();
    for place in places.chain([padding]) {
        let part = honest.part(place);
        // One kind in the place of another is one or two bits away.
        let kinds: &[u8] = match part {
            Part::Kind => &[0x02, 0x03],
            _ => &[],
        };
        for mask in depth.masks().iter().chain(kinds) {
            flip(&mut wrong.plaintext, place, *mask);
            let became = hear(&wrong)?;
            if !may_become(part, became, as_it_is, to) {
                let what = format!("byte {place} ({part:?}) ^ {mask:#04x} makes it {became:?}");
                return Err(broken(format!("C6: {to:?}: {line:?} {seq}: {what}")));
            }
            flip(&mut wrong.plaintext, place, *mask);
            tally.inside += 1;
        }
    }
    Ok(())
}

/// Whether a change there may have this effect.
fn may_become(part: Part, became: Became, as_it_is: Became, to: To) -> bool {
    match part {
        // Nobody but its sender looks at the one, and nobody at the other.
        Part::OwnTag | Part::Padding => became == as_it_is,
        // It is believed, or proves that this end is an old copy; never is it taken for a forgery.
        Part::Held => became != Became::Nothing || as_it_is == Became::Nothing,
        Part::Length | Part::Content => match became {
            Became::Nothing => true,
            Became::Freed => to == To::Hub,
            // A phone may take it for what it cannot follow any more.
            Became::Over => to == To::App,
            Became::Applied => false,
        },
        Part::Kind => became == Became::Nothing,
    }
}

impl Listener {
    /// Hears an envelope in a transaction that is dropped.
    fn hear(
        &mut self,
        journal: &mut Journal,
        seq: Seq,
        envelope: &[u8],
    ) -> Result<Became, JournalError> {
        match self {
            Self::Hub(session) => {
                let mut txn = journal.begin();
                let before = moment(session, &mut txn)?;
                let takes = Takes::MessagesAndProposals;
                let arrived = session.receive(&mut txn, seq, envelope, takes)?;
                let became = of_hub(&arrived.received);
                stands(session, &mut txn, became, &before)?;
                Ok(became)
            }
            Self::App(session) => {
                let mut txn = journal.begin();
                let before = moment(session, &mut txn)?;
                let taken = session.take(&mut txn, seq, envelope, WALL_MS)?;
                let became = of_app(&taken);
                stands(session, &mut txn, became, &before)?;
                Ok(became)
            }
        }
    }
}

fn of_hub(received: &Received) -> Became {
    match received {
        Received::Duplicate
        | Received::Gap { .. }
        | Received::NotAuthentic
        | Received::Cover
        | Received::Stale
        | Received::Refused(_)
        | Received::Waits => Became::Nothing,
        Received::NotHealed(_) => Became::Freed,
        Received::RolledBack(_) | Received::LineBroken(_) => Became::Over,
        Received::NewEpoch(_)
        | Received::Healed(_)
        | Received::Message(_)
        | Received::Dropped(_) => Became::Applied,
    }
}

fn of_app(taken: &Taken) -> Became {
    match taken {
        Taken::Duplicate
        | Taken::Gap { .. }
        | Taken::NotAuthentic
        | Taken::Cover
        | Taken::Nothing(_) => Became::Nothing,
        Taken::RolledBack | Taken::LineBroken => Became::Over,
        Taken::NewEpoch(_)
        | Taken::Healed(_)
        | Taken::Answered(_)
        | Taken::CommandDone(_)
        | Taken::Settings(_)
        | Taken::Invited { .. }
        | Taken::Added(_)
        | Taken::Notified(_)
        | Taken::LiveBegun(_)
        | Taken::LiveEnded(_)
        | Taken::Started(_)
        | Taken::Media { .. }
        | Taken::Ended { .. } => Became::Applied,
    }
}

/// The group's epoch and a secret of it.
fn moment<R>(
    session: &mut Session<R>,
    txn: &mut Txn<'_>,
) -> Result<(Epoch, Vec<u8>), JournalError> {
    Ok((session.epoch(txn)?, session.exporter(txn)?))
}

/// What had no effect moved no group.
fn stands<R>(
    session: &mut Session<R>,
    txn: &mut Txn<'_>,
    became: Became,
    before: &(Epoch, Vec<u8>),
) -> Result<(), JournalError> {
    if became == Became::Nothing && moment(session, txn)? != *before {
        return Err(JournalError::Misuse(
            "C6: a message that had no effect has moved the group",
        ));
    }
    Ok(())
}
