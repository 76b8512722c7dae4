//! The witness: an empty group that says the one before it was synced.
//!
//! A torn write and a rotten sector look alike; what tells them apart is the synced-through field
//! of a later group. The newest transaction has no later group until something else happens, so an
//! engine that comes to rest writes one. It costs one sector and one sync, and only at rest: it is
//! never on the way to anything.

use super::Wal;
use crate::options::SECTOR_BYTES;
use crate::record::GroupDraft;
use crate::{WalError, crash_point};

impl Wal {
    /// Whether the newest synced transaction has no witness, and nothing is on its way that would
    /// become one.
    pub fn witness_due(&self) -> bool {
        let at_rest = self.flight.is_none() && self.log.parts.is_empty();
        self.poison.get().is_none() && at_rest && self.witnessed < self.synced
    }

    /// Writes a witness if one is due; to be called when nothing has happened for a moment.
    ///
    /// `Space` leaves everything as it was; a failed write or sync is poison.
    pub fn witness(&mut self) -> Result<(), WalError> {
        self.check_alive()?;
        if !self.witness_due() {
            return Ok(());
        }
        let lsn = self.next_lsn;
        self.make_room(SECTOR_BYTES, lsn)?;
        self.next_lsn = lsn.next();
        let draft = GroupDraft {
            lsn,
            synced_through: self.synced,
            records: &[],
        };
        self.log.append(&draft, &[]);
        // CRASH(wal.witness.before_write): before: the last batch is synced and no group says so |
        // after: a synced group says so.
        crash_point!("wal.witness.before_write");
        drop(self.commit()?);
        self.witnessed = self.synced;
        Ok(())
    }
}
