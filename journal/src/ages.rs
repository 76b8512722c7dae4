//! For how long clips have waited for their phone (hub), told by marks: at such a time the outbox had come so far.
//!
//! The times are those for which hubs of this directory have run, as they were counted, because a hub may have no
//! clock that keeps time while it is off: no date is stored here. A row that is lost makes clips look younger, never
//! older. This room decides nothing about which clip goes.

use serde::{Deserialize, Serialize};
use wire::ids::Seq;

use crate::error::{ErrorKind, JournalError};
use crate::ids::PairingId;
use crate::journal::Journal;
use crate::keys;
use crate::txn::Txn;

/// So far had an outbox of event videos come at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AgeMark {
    /// For how many seconds hubs of this directory had run.
    pub ran_s: u64,
    /// The last envelope that there was.
    pub last: Seq,
}

/// All that is known of the age of clips.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Ages {
    /// For how many seconds hubs of this directory have run, as far as that is stored.
    pub ran_s: u64,
    /// The marks of each phone's event videos, the oldest in front.
    pub marks: Vec<(PairingId, Vec<AgeMark>)>,
}

impl Txn<'_> {
    /// Keeps how old clips are.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn put_ages(&mut self, ages: &Ages) -> Result<(), JournalError> {
        self.put_row(keys::AGES, ages)
    }
}

impl Journal {
    /// How old clips are (hub). What cannot be read says nothing: they count from now on.
    ///
    /// # Errors
    /// Our own storage, as a whole.
    pub fn ages(&self) -> Result<Ages, JournalError> {
        match self.row(keys::AGES) {
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::debug!(%error, "how old clips are cannot be read");
                Ok(Ages::default())
            }
            row => Ok(row?.unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::harness::paired;

    #[test]
    fn what_is_known_of_ages_is_read_back_and_what_rots_says_nothing() {
        let (mut hub, _app) = paired();
        assert_eq!(hub.journal.ages().unwrap(), Ages::default());
        let mark = AgeMark {
            ran_s: 3_600,
            last: Seq(7),
        };
        let ages = Ages {
            ran_s: 7_200,
            marks: vec![(hub.line().pairing, vec![mark])],
        };
        let mut txn = hub.journal.begin();
        txn.put_ages(&ages).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(hub.journal.ages().unwrap(), ages);
        let mut txn = hub.journal.begin();
        txn.put(keys::AGES, &[0xff]);
        drop(txn.commit(()).unwrap());
        assert_eq!(hub.journal.ages().unwrap(), Ages::default());
    }
}
