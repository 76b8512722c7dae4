//! Under the wrap: an attacker who came by the wrapping keys of a pairing, and by none of MLS. What lies there is
//! changed at each byte and wrapped again, so that the change reaches MLS framing, and what the sender says it holds.
//!
//! A good wrap counts as the other end's word. So a changed message may be taken without effect, and then its number
//! is gone: each is heard in a transaction that is dropped, as by a copy of the end, and the honest one is what
//! comes to the end itself. A phone may also take it for a Commit that it cannot follow. No change may be taken
//! for what the other end said, or move the group. This room must never commit what it lets an end hear.

use bytes::Bytes;
use crashtest::trouble::Outcome;
use journal::fuzzing::{self, Inside};
use journal::ids::{Epoch, Line};
use journal::{Committer, Follower, Journal, JournalError, Received, Session, Taken, Takes, Txn};
use wal::SeededDice;
use wire::{Digest, Seq};

use super::ends::{Ends, To, WALL_MS, broken};
use super::{Depth, Tally, flip};

/// Bytes of a number and of a digest, as an envelope says what its sender holds.
const SEQ_BYTES: usize = 8;
const HELD_BYTES: usize = SEQ_BYTES + 32;

/// What became of a message whose wrap was good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Became {
    /// Nothing moved, but perhaps the cursor.
    Nothing,
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
    let opened = ends.journal(to, |journal| fuzzing::unwrap(journal, line, seq, bytes))?;
    let honest = opened.ok_or_else(|| broken("an honest envelope does not open"))?;
    let mut listener = match to {
        To::Hub => Listener::Hub(Session::new(line)),
        To::App => Listener::App(Session::new(line)),
    };
    let mut hear = |inside: &Inside| {
        let from = to.other();
        let wrapped = ends.journal(from, |journal| {
            fuzzing::wrap(journal, line, seq, inside, &mut SeededDice(seq.0))
        })?;
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
    for place in depth.places_inside(honest.content.len()) {
        for mask in depth.masks() {
            flip(&mut wrong.content, place, *mask);
            let became = hear(&wrong)?;
            let may_be_over = to == To::App;
            if became == Became::Applied || (became == Became::Over && !may_be_over) {
                let what = format!("byte {place} ^ {mask:#04x} under its wrap, and it is {became:?}");
                return Err(broken(format!("C6: {to:?}: {line:?} {seq}: {what}")));
            }
            flip(&mut wrong.content, place, *mask);
            tally.inside += 1;
        }
    }
    // A statement in the place of a message, and the other way round.
    wrong.statement = !wrong.statement;
    if hear(&wrong)? == Became::Applied {
        return Err(broken(format!(
            "C6: {to:?} took envelope {seq} of {line:?} for another kind"
        )));
    }
    wrong.statement = honest.statement;
    tally.inside += 1;
    for place in 0..HELD_BYTES {
        wrong.held = honest.held;
        match place.checked_sub(SEQ_BYTES) {
            None => wrong.held.seq = Seq(wrong.held.seq.0 ^ 1 << (place * 8)),
            Some(place) => {
                let Digest(mut digest) = wrong.held.digest;
                flip(&mut digest, place, 1);
                wrong.held.digest = Digest(digest);
            }
        }
        // What it says it holds is believed, or proves that this end is an old copy: never taken for a forgery.
        if hear(&wrong)? == Became::Nothing && as_it_is == Became::Applied {
            let what = format!("byte {place} of what is held: {to:?} ignores {line:?} {seq}");
            return Err(broken(what));
        }
        tally.inside += 1;
    }
    Ok(())
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
        | Received::Stale
        | Received::Refused(_)
        | Received::Waits => Became::Nothing,
        Received::RolledBack(_) | Received::LineBroken(_) => Became::Over,
        // What is against the rules and authentic inside MLS is the phone's own word.
        Received::NotHealed(_)
        | Received::NewEpoch(_)
        | Received::Healed(_)
        | Received::Message(_)
        | Received::Dropped(_) => Became::Applied,
    }
}

fn of_app(taken: &Taken) -> Became {
    match taken {
        Taken::Duplicate | Taken::Gap { .. } | Taken::NotAuthentic | Taken::Nothing(_) => {
            Became::Nothing
        }
        Taken::RolledBack | Taken::LineBroken => Became::Over,
        Taken::NewEpoch(_)
        | Taken::Healed(_)
        | Taken::Answered(_)
        | Taken::CommandDone(_)
        | Taken::Settings(_)
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
