//! Which cameras phones were told are away (hub): whoever starts again still owes them the return.
//!
//! It must never hold more names than [`AWAY_MAX`], and changes in the transaction that says so.

use crate::error::{ErrorKind, JournalError};
use crate::journal::Journal;
use crate::keys;
use crate::txn::Txn;

/// Names that are kept; the one that was said first goes for one more. Above what a hub may have of cameras: the others
/// are of names that its configuration has no more.
pub const AWAY_MAX: usize = 32;

/// A row that cannot be read owes nothing, and holds nothing up.
fn names_or_none(
    row: Result<Option<Vec<String>>, JournalError>,
) -> Result<Vec<String>, JournalError> {
    match row {
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            tracing::debug!(%error, "which cameras were said to be away cannot be read");
            Ok(Vec::new())
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
        let mut names = names_or_none(self.row(keys::AWAY))?;
        let known = names.iter().position(|name| name == camera);
        match (known, is_away) {
            (Some(_), true) | (None, false) => return Ok(()),
            (Some(known), false) => drop(names.remove(known)),
            (None, true) => {
                if names.len() >= AWAY_MAX {
                    names.remove(0);
                }
                names.push(camera.to_owned());
            }
        }
        self.put_row(keys::AWAY, &names)
    }
}

impl Journal {
    /// The names of the cameras that phones were told are away, and not yet that they are back (hub).
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn cameras_away(&self) -> Result<Vec<String>, JournalError> {
        names_or_none(self.row(keys::AWAY))
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
        assert!(hub.journal.cameras_away().unwrap().is_empty());
        for (camera, is_away) in [
            ("door", true),
            ("yard", true),
            ("door", true),
            ("yard", false),
        ] {
            note(&mut hub.journal, camera, is_away);
        }
        assert_eq!(hub.journal.cameras_away().unwrap(), ["door"]);
        for number in 0..AWAY_MAX {
            note(&mut hub.journal, &number.to_string(), true);
        }
        let names = hub.journal.cameras_away().unwrap();
        assert_eq!(names.len(), AWAY_MAX);
        assert!(!names.contains(&"door".to_owned()), "it was said first");
        // What rots owes nothing, and the next one begins anew.
        let mut txn = hub.journal.begin();
        txn.put(keys::AWAY, &[0xff]);
        drop(txn.commit(()).unwrap());
        assert!(hub.journal.cameras_away().unwrap().is_empty());
        note(&mut hub.journal, "door", true);
        assert_eq!(hub.journal.cameras_away().unwrap(), ["door"]);
    }
}
