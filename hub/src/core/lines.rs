//! The lines that there are, and what is kept in memory of each: its session, how it stands, what is durable of it.
//!
//! One whose stored state cannot be used is told of, and never holds the others up. Nothing is staged here: what
//! is said on a line is for the other rooms, and what may leave of it for [`super::outbox`].

use journal::ids::{Channel, Line, PairingId};
use journal::{Committer, Journal, JournalError, Mailboxes, OutboxHead, PairingState, Session};
use wire::ids::Seq;

use super::pace::Pace;
use super::{Core, CoreError, Notice, Standing, is_about_one_line, push};

/// How a line stands on which a rollback is proved.
pub(super) const PROVEN: Standing = Standing::RolledBack;

/// What the uplink is told of a line, apart from what never changes.
#[derive(Clone, Copy)]
pub(super) struct LineBooks {
    pub(super) outbox: OutboxHead,
    pub(super) asked_again: u64,
    pub(super) events_told: u64,
}

impl LineBooks {
    /// What is staged included. `events_told` is in memory only.
    pub(super) fn read(
        journal: &Journal,
        line: Line,
        events_told: u64,
    ) -> Result<Self, JournalError> {
        Ok(Self {
            outbox: journal.outbox_head(line)?,
            asked_again: journal.asked_again(line)?,
            events_told,
        })
    }
}

/// What is kept in memory of a line.
pub(super) struct LineState {
    pub(super) session: Session<Committer>,
    /// They never change. The uplink is told of them from here, so that a journal that is poisoned
    /// at that moment cannot hide a line from it.
    pub(super) mailboxes: Mailboxes,
    pub(super) standing: Standing,
    /// Its outbox as far as a sync covers it, how often the phone has asked that the relay be asked
    /// anew, and how many events were told: all that the uplink is told.
    pub(super) durable: LineBooks,
    /// As [`LineHeads::events_told`](super::LineHeads::events_told), what is staged included.
    pub(super) events_told: u64,
    /// What is stored of this line could not be used, and that was reported; until the journal is opened again.
    pub(super) broken: bool,
    /// A damaged envelope whose clip could not be dropped yet, and that was reported.
    pub(super) waits_at: Option<Seq>,
    /// What the phone's proposals have cost lately.
    pub(super) pace: Pace,
    /// What it has taken of any kind lately.
    pub(super) messages: Pace,
    /// How often its phone's heartbeats have had the relay asked anew lately: of the config line alone.
    pub(super) asks: Pace,
    /// A rotation of its key may be owed, for what was taken or because the opening had no room for it: the journal
    /// knows.
    pub(super) stirred: bool,
}

impl LineState {
    fn new(line: Line, durable: LineBooks, mailboxes: Mailboxes) -> Self {
        Self {
            session: Session::new(line),
            mailboxes,
            standing: Standing::Good,
            durable,
            events_told: 0,
            broken: false,
            waits_at: None,
            pace: Pace::of(line.channel),
            messages: Pace::of_messages(),
            asks: Pace::of_asks(),
            stirred: true,
        }
    }

    /// Whether events are recorded for it. What the relay says proves nothing and stops no recording; what is
    /// proved does, for the phone could never follow.
    pub(super) fn may_record(&self) -> bool {
        self.records() && !self.broken && self.standing != PROVEN
    }

    /// Whether it is the line that its pairing's events belong to.
    pub(super) fn records(&self) -> bool {
        self.session.line().channel == Channel::EventVideo
    }
}

impl Core {
    /// Looks which pairings there are, each with a line for every channel: after one was confirmed, or
    /// removed. One of which what is stored cannot be read has none, and is told of; it can be removed.
    ///
    /// # Errors
    /// The journal's, as a whole.
    pub fn refresh_lines(&mut self) -> Result<(), CoreError> {
        let mut lines = Vec::new();
        for id in self.journal_ref()?.pairing_ids() {
            match self.is_confirmed(id) {
                Ok(true) => lines.extend(Line::all(id)),
                Ok(false) => {}
                Err(error) if is_about_one_line(&error) => {
                    let (line, what) = (Line::of(id, Channel::EventVideo), error.to_string());
                    push(&mut self.notices, Notice::LineBroken { line, what });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.lines.retain(|line, _| lines.contains(line));
        self.playing
            .take_if(|playing| !lines.contains(&playing.line()));
        self.lives.retain(&lines.iter().copied().collect());
        for line in lines {
            if !self.lines.contains_key(&line) {
                // Nothing of a new line can be staged: what its journal has is durable.
                let journal = self.journal_ref()?;
                let durable = LineBooks::read(journal, line, 0)?;
                let proof = journal.rollback_proof(line)?;
                let mailboxes = journal.mailboxes(line)?;
                let mut state = LineState::new(line, durable, mailboxes);
                state.session.retain(self.retains);
                let records = state.records();
                self.lines.insert(line, state);
                if proof.is_some() {
                    self.set_rolled_back(line);
                } else if records {
                    self.join_recordings(line);
                }
            }
        }
        self.count_silence()
    }

    pub(super) fn is_confirmed(&self, id: PairingId) -> Result<bool, JournalError> {
        #[cfg(test)]
        if self.unreadable == Some(id) {
            return Err(JournalError::ValueDamaged {
                scope: journal::Scope::Pairing(id),
                what: "as the test wants it",
            });
        }
        let journal = self.journal.as_ref().ok_or(JournalError::Poisoned(None))?;
        let pairing = journal.pairing(id)?;
        Ok(pairing.is_some_and(|pairing| pairing.state == PairingState::Confirmed))
    }

    /// It is proved that what left this line is not in its books: nobody takes that back.
    pub(super) fn set_rolled_back(&mut self, line: Line) {
        if let Some(state) = self.lines.get_mut(&line)
            && state.standing != PROVEN
        {
            state.standing = PROVEN;
            push(&mut self.notices, Notice::RolledBack { line });
        }
    }

    pub(super) fn set_broken(&mut self, line: Line, error: &JournalError) {
        if let Some(state) = self.lines.get_mut(&line)
            && !state.broken
        {
            state.broken = true;
            let what = error.to_string();
            push(&mut self.notices, Notice::LineBroken { line, what });
        }
    }
}
