//! Forgetting a hub: one that is lost, or that has removed this phone.
//!
//! Its clips and the pictures of events go first, each in a transaction of its own, because there may be more than one transaction holds;
//! then everything else in one. Who is interrupted asks again, and it goes on. This room must never leave a clip
//! that nobody can list.

use journal::ids::{ClipId, PairingId};
use journal::{AppPairing, JournalError, or_after_commit};

use super::{Core, TRIM_STEPS_PER_DELETION};

impl Core {
    /// Forgets a hub and deletes its clips and pictures; durable when this returns. Returns which clips those were; `None` if
    /// there is no such hub. No sync may run.
    ///
    /// # Errors
    /// Only our own storage. What was deleted by then stays so.
    pub fn forget(&mut self, pairing: PairingId) -> Result<Option<Vec<ClipId>>, JournalError> {
        if !self.confirmed()?.iter().any(|known| known.id == pairing) {
            return Ok(None);
        }
        let clips = self.journal.app_clips(pairing)?;
        let clips: Vec<ClipId> = clips.iter().map(|clip| clip.clip).collect();
        let pictures = self.journal.app_thumbnails(pairing)?;
        let pictures = pictures.iter().map(|picture| &picture.clip);
        for clip in clips.iter().chain(pictures) {
            let staged = or_after_commit(
                &mut self.journal,
                |journal| {
                    let mut txn = journal.begin();
                    txn.delete_clip(pairing, *clip)?;
                    txn.stage(())
                },
                |journal| journal.commit().map(drop),
            )?;
            drop(staged);
            self.journal
                .stage_trims(TRIM_STEPS_PER_DELETION, |txn| txn.trim_deleted());
        }
        drop(self.journal.commit()?);
        self.lines.retain(|line, _| line.pairing != pairing);
        drop(AppPairing::forget(&mut self.journal, pairing)?);
        self.trim_forgotten()?;
        Ok(Some(clips))
    }

    /// Meets all hubs at this relay from here on, which has given this certificate; durable when this returns. No sync
    /// may run.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn move_to_relay(&mut self, relay: &str, certificate: Vec<u8>) -> Result<(), JournalError> {
        AppPairing::move_to(&mut self.journal, relay, certificate).map(drop)
    }

    /// Removes some of the rows that forgotten hubs have left.
    pub(super) fn trim_forgotten(&mut self) -> Result<(), JournalError> {
        let staged = self
            .journal
            .stage_trims(TRIM_STEPS_PER_DELETION, |txn| txn.trim_ended());
        match staged.steps {
            0 => Ok(()),
            _ => self.journal.commit().map(drop),
        }
    }
}
