//! What this process knows of a line besides what is durable, and whether the line goes on.
//!
//! It is made of the journal when a line is first asked for. This room must never let a line go on that is over;
//! what is said or taken on one that goes on is for the other rooms.

use journal::ids::Line;
use journal::{Follower, Journal, JournalError, Session};

use super::{Core, is_about_one_line};

/// Why nothing more is taken or sent on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The hub holds what this directory never made, or a relay an envelope of ours that is not in its books.
    RolledBack,
    /// The hub goes on in an epoch that this directory cannot follow.
    Broken,
}

impl Over {
    /// The error that says so.
    pub(crate) fn error(self, line: Line) -> JournalError {
        match self {
            Self::RolledBack => JournalError::RolledBack(line),
            Self::Broken => JournalError::LineBroken(line),
        }
    }

    /// What is stored. A directory rolls back whole, so a proof on one line ends all of its pairing.
    pub(super) fn stored(journal: &Journal, line: Line) -> Result<Option<Self>, JournalError> {
        for line in Line::all(line.pairing) {
            if journal.rollback_proof(line)?.is_some() {
                return Ok(Some(Self::RolledBack));
            }
        }
        Ok(journal.line_break(line)?.map(|_| Self::Broken))
    }
}

/// What this process knows of a line besides what is durable.
pub(super) struct Follow {
    pub(super) session: Session<Follower>,
    /// Since when an ack is owed.
    pub(super) owed_since_ms: Option<u64>,
    pub(super) urgent: bool,
    /// Something was taken or said since the group's key last rotated.
    pub(super) stirred: bool,
    /// When it was last taken; covers do not count.
    pub(super) stirred_ms: u64,
    pub(super) last_taken_ms: u64,
    /// The line is over; the row that says so may still want room.
    pub(super) over: Option<Over>,
    /// An update of ours is pending: nothing can be said before the hub's Commit.
    pub(super) awaits_commit: bool,
}

impl Core {
    /// Why nothing more is taken or sent on this line, if that is so.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn over(&self, line: Line) -> Result<Option<Over>, JournalError> {
        match self.lines.get(&line) {
            Some(follow) => Ok(follow.over),
            None => self.known_over(line),
        }
    }

    pub(super) fn check_goes_on(&mut self, line: Line) -> Result<(), JournalError> {
        match self.follow(line)?.over {
            Some(over) => Err(over.error(line)),
            None => Ok(()),
        }
    }

    pub(super) fn follow(&mut self, line: Line) -> Result<&mut Follow, JournalError> {
        if !self.lines.contains_key(&line) {
            // Owed for what no ack in the outbox says: after a crash between cursor and ack nobody
            // else would make it good. One that says it is sent until the hub holds it.
            let cursor = self.journal.inbox_head(line)?.cursor;
            let acked = self.journal.ack_sent(line)?;
            let over = self.known_over(line)?;
            let mut session = Session::new(line);
            let awaits_commit = match over {
                Some(_) => false,
                None => session.awaits_commit(&mut self.journal.begin())?,
            };
            let follow = Follow {
                session,
                owed_since_ms: (cursor > acked).then_some(0),
                urgent: false,
                // The opening of the journal has rotated it after whatever the last process took, if there was room.
                stirred: !self.journal.is_renewed(line),
                stirred_ms: 0,
                last_taken_ms: 0,
                over,
                awaits_commit,
            };
            self.lines.insert(line, follow);
        }
        self.lines.get_mut(&line).ok_or(JournalError::NoGroup(line))
    }

    /// Why nothing is said or taken on a line, if that is so, and whether it waits for the hub's Commit. A line
    /// whose stored state cannot be used is as good as broken: the keys that its hub goes on in are not here.
    pub(super) fn stand(&mut self, line: Line) -> Result<(Option<Over>, bool), JournalError> {
        match self.follow(line) {
            Ok(follow) => Ok((follow.over, follow.awaits_commit)),
            Err(error) if is_about_one_line(&error) => {
                tracing::debug!(%error, "what is stored of a line cannot be used");
                Ok((Some(Over::Broken), false))
            }
            Err(error) => Err(error),
        }
    }
}
