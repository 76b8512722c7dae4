//! What a hub owes its phones of what it tells them of itself: which cameras were said to be away, so that their return is
//! said, and that the storage was full. Whoever starts again owes it still.
//!
//! It must never hold more names than [`AWAY_MAX`], and changes in the transaction that says it, or that gives a reason
//! to.

use serde::{Deserialize, Serialize};

use crate::error::{ErrorKind, JournalError};
use crate::journal::Journal;
use crate::keys;
use crate::txn::Txn;

/// Names that are kept; the one that was said first goes for one more. Above what a hub may have of cameras: the others
/// are of names that its configuration has no more.
pub const AWAY_MAX: usize = 32;

/// What is owed (hub).
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct AlarmsOwed {
    /// The names of the cameras that phones were told are away, and not yet that they are back.
    pub away: Vec<String>,
    /// Clips were dropped for want of room, and that was not said yet.
    pub is_full: bool,
}

/// A row that cannot be read owes nothing, and holds nothing up.
fn owed_or_none(row: Result<Option<AlarmsOwed>, JournalError>) -> Result<AlarmsOwed, JournalError> {
    match row {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::debug!(%error, "which alarms are owed cannot be read");
            Ok(AlarmsOwed::default())
        }
        row => Ok(row?.unwrap_or_default()),
    }
}

impl Txn<'_> {
    /// Remembers that this transaction says that a camera is away, or that it is back.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn note_camera_away(&mut self, camera: &str, is_away: bool) -> Result<(), JournalError> {
        let mut owed = owed_or_none(self.row(keys::ALARMS))?;
        let known = owed.away.iter().position(|name| name == camera);
        match (known, is_away) {
            (Some(_), true) | (None, false) => return Ok(()),
            (Some(known), false) => drop(owed.away.remove(known)),
            (None, true) => {
                if owed.away.len() >= AWAY_MAX {
                    owed.away.remove(0);
                }
                owed.away.push(camera.to_owned());
            }
        }
        self.put_row(keys::ALARMS, &owed)
    }

    /// Remembers that it is to be said that the storage is full, or that this transaction says it.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn note_storage_full(&mut self, is_owed: bool) -> Result<(), JournalError> {
        let mut owed = owed_or_none(self.row(keys::ALARMS))?;
        if std::mem::replace(&mut owed.is_full, is_owed) == is_owed {
            return Ok(());
        }
        self.put_row(keys::ALARMS, &owed)
    }
}

impl Journal {
    /// What phones are still to be told of (hub).
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn alarms_owed(&self) -> Result<AlarmsOwed, JournalError> {
        owed_or_none(self.row(keys::ALARMS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness::paired;

    fn note(journal: &mut Journal, camera: &str, is_away: bool) {
        let mut txn = journal.begin();
        txn.note_camera_away(camera, is_away).unwrap();
        drop(txn.commit(()).unwrap());
    }

    #[test]
    fn a_camera_is_away_until_its_return_is_said() {
        let (mut hub, _app) = paired();
        assert!(hub.journal.alarms_owed().unwrap().away.is_empty());
        for (camera, is_away) in [
            ("door", true),
            ("yard", true),
            ("door", true),
            ("yard", false),
        ] {
            note(&mut hub.journal, camera, is_away);
        }
        assert_eq!(hub.journal.alarms_owed().unwrap().away, ["door"]);
        for number in 0..AWAY_MAX {
            note(&mut hub.journal, &number.to_string(), true);
        }
        let names = hub.journal.alarms_owed().unwrap().away;
        assert_eq!(names.len(), AWAY_MAX);
        assert!(!names.contains(&"door".to_owned()), "it was said first");
        // What rots owes nothing, and the next one begins anew.
        let mut txn = hub.journal.begin();
        txn.put(keys::ALARMS, &[0xff]);
        drop(txn.commit(()).unwrap());
        assert!(hub.journal.alarms_owed().unwrap().away.is_empty());
        note(&mut hub.journal, "door", true);
        for is_owed in [true, true, false] {
            let mut txn = hub.journal.begin();
            txn.note_storage_full(is_owed).unwrap();
            drop(txn.commit(()).unwrap());
            let owed = hub.journal.alarms_owed().unwrap();
            assert_eq!(
                (owed.is_full, owed.away),
                (is_owed, vec!["door".to_owned()])
            );
        }
    }
}
