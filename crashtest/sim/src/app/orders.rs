//! The commands of its owner: stored when they are given, sent when they can be, and what is known of them.

use app_core::core::{Order, Ordered};
use journal::ids::PairingId;
use journal::{CommandBook, ErrorKind, JournalError};

use super::{App, Process, ended};
use crate::hub::Fault;
use crate::oracle::Books;

impl App {
    /// Its owner gives a command that changes the settings: stored now, and sent when that can be.
    ///
    /// # Errors
    /// As all steps.
    pub fn order(&mut self, order: Order, now_ms: u64, books: &mut Books) -> Result<(), Fault> {
        let wall_ms = self.wall_ms(now_ms);
        let pairing = self.ways.first().map(|way| way.line.pairing);
        let (Some(process), Some(pairing)) = (&mut self.process, pairing) else {
            return Ok(());
        };
        let core = &mut process.core;
        let stored = core.stage_order(pairing, order, wall_ms);
        let stored = stored.and_then(|ordered| match ordered {
            Ordered::Taken(staged) => {
                let committed = core.commit()?;
                Ok(Some(committed.redeem(staged).into_inner()))
            }
            Ordered::Full | Ordered::NoSuchHub => Ok(None),
        });
        match stored {
            Ok(stored) => books.orders.extend(stored),
            Err(JournalError::RolledBack(_) | JournalError::LineBroken(_)) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        }
        process.look_at_ms = now_ms;
        Ok(())
    }

    /// What it knows of its commands; none if it cannot be asked now.
    #[must_use]
    pub fn commands(&self) -> Option<CommandBook> {
        let books = self.process.as_ref()?.core.command_books().ok()?;
        books.into_iter().next().map(|(_, book)| book)
    }
}

impl Process {
    /// Puts the next command into the outbox of the config line.
    pub(super) fn send_command(&mut self, pairing: PairingId, wall_ms: u64) -> Result<(), Fault> {
        let core = &mut self.core;
        let staged = core.stage_command(pairing, wall_ms);
        let staged = staged.and_then(|staged| match staged {
            Some(_staged) => core.commit().map(|_committed| true),
            None => Ok(false),
        });
        match staged {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // It is sent when the hub has spoken, or when there is room.
            Err(error) if error.kind() == ErrorKind::Wait => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Space && !core.is_poisoned() => return Ok(()),
            Err(error) => return Err(ended(&error)),
        }
        self.hear_of_outboxes()
    }
}
