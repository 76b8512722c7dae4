//! The thief: opens a state directory at rest with every key that its vault still has, and judges
//! what comes out. S3 at the hub, S5 at the phone, the same in every tier.
//!
//! The keys are those in the raw bytes of the vault, both images, and all that follow from them by any rotation of
//! which any file tells; the values whatever any file holds, small ones and stored chunks, dead or alive. It must never be asked about a directory in which something is in progress: there
//! the promises allow a thief that much.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::thief::{self, Found, Loot};
use journal::vault::file::FileVault;
use journal::{Journal, JournalError, Role};
use wal::disk::Disk;
use wal::store::MemStore;
use wal::{Dice as _, Options, OsDice, SeededDice};

use crate::oracle::Broken;
use crate::raw;

/// The family of the rows that say what became of a line's epoch (journal/FORMAT.md).
const EPOCH_USE: u8 = b'E';
/// The vault's file.
const VAULT: &str = "vault";

/// Whether a thief with every byte of `disk`, on which nothing is in progress, opens what is past.
///
/// At an idle hub nothing of a group opens that was stored before its last epoch was finished, or before anything was
/// taken in it since, and no secrets of an epoch or of its messages that the journal has replaced, or never knew (S3). At
/// an idle phone no secrets of an earlier epoch do (S5). At both nothing of what has ended does: a clip that was deleted,
/// a copy that was released, a pairing, a birth that was taken back (S3). The journal is opened on that disk, which
/// writes to it: give it a copy, or one that nobody needs any more.
///
/// # Errors
/// S3 or S5 with what was opened; C7 if the directory cannot be read at all.
pub fn judge(role: Role, disk: &Arc<dyn Disk>, options: Options) -> Result<(), Broken> {
    let unread = |error: &dyn std::fmt::Display| Broken::new("C7", error.to_string());
    let vault = raw::contents(&**disk, VAULT).map_err(|error| unread(&error))?;
    let mut found = raw::puts(&**disk).map_err(|error| unread(&error))?;
    found.extend(raw::stored_chunks(&**disk).map_err(|error| unread(&error))?);
    let checkpoints = raw::checkpoints(&**disk).map_err(|error| unread(&error))?;
    let journal = open(role, disk, options, found.len() as u64).map_err(|error| unread(&error))?;
    let everything = found.iter().chain(checkpoints.iter().flatten());
    let keys = thief::Keys::of(&journal, &vault, everything).map_err(|error| unread(&error))?;
    let try_all =
        |found: &[Found]| thief::loot(&journal, &keys, found).map_err(|error| unread(&error));
    let mut loot = try_all(&found)?;
    let finished = thief::finished_at(&journal, &found).map_err(|error| unread(&error))?;
    for checkpoint in &checkpoints {
        let mut more = try_all(checkpoint)?;
        // All of a line was stored before its last epoch was finished, if the checkpoint knows another one
        // than the journal.
        for loot in &mut more {
            let now = thief::epoch_row(&journal, &loot.line).map_err(|error| unread(&error))?;
            if is_of_another_epoch(checkpoint, now.as_deref(), &loot.line) {
                loot.lsn = Some(0);
            }
        }
        loot.extend(more);
    }
    match past(role, &loot, &finished) {
        None => Ok(()),
        Some((promise, loot)) => Err(Broken::new(
            promise,
            format!("{role:?}: a value that is past opens: {loot:?}"),
        )),
    }
}

/// What the journal on `disk` knows and must have written nowhere as it is. As [`judge`], it opens the
/// journal, which writes to that disk.
///
/// # Errors
/// C7 if the directory cannot be read at all.
pub fn secrets(
    role: Role,
    disk: &Arc<dyn Disk>,
    options: Options,
) -> Result<Vec<thief::Secret>, Broken> {
    let unread = |error: &dyn std::fmt::Display| Broken::new("C7", error.to_string());
    // Dice that fall the same in every world would give each the same keys and nonces.
    let mut seed = [0; 8];
    OsDice.fill(&mut seed);
    let seed = u64::from_le_bytes(seed);
    let journal = open(role, disk, options, seed).map_err(|error| unread(&error))?;
    thief::secrets(&journal).map_err(|error| unread(&error))
}

fn open(
    role: Role,
    disk: &Arc<dyn Disk>,
    options: Options,
    seed: u64,
) -> Result<Journal, JournalError> {
    let (journal, _report) = Journal::open(
        role,
        Arc::clone(disk),
        Box::new(MemStore::new()),
        Box::new(FileVault::new(Arc::clone(disk), VAULT)),
        Box::new(SeededDice(seed)),
        options,
    )?;
    Ok(journal)
}

/// Whether a checkpoint says something else of a line's epoch than the journal does now: then it was made before that
/// was finished. The newest word of the log would not do: it may have been taken back.
fn is_of_another_epoch(checkpoint: &[Found], now: Option<&[u8]>, line: &[u8]) -> bool {
    let of_epoch = |found: &&Found| found.key.strip_prefix(&[EPOCH_USE]) == Some(line);
    let mut rows = checkpoint.iter().filter(of_epoch);
    rows.any(|old| now.is_some_and(|now| now != old.value))
}

/// The first piece of loot that should have been gone.
fn past<'a>(
    role: Role,
    loot: &'a [Loot],
    finished: &BTreeMap<Vec<u8>, u64>,
) -> Option<(&'static str, &'a Loot)> {
    if let Some(loot) = loot.iter().find(|loot| loot.is_of_nobody) {
        return Some(("S3", loot));
    }
    match role {
        Role::Hub => {
            let old = |loot: &&Loot| {
                let is_before = loot.lsn.is_some() && loot.lsn < finished.get(&loot.line).copied();
                is_before || (loot.superseded && (loot.epoch_secrets || loot.message_secrets))
            };
            loot.iter().find(old).map(|loot| ("S3", loot))
        }
        Role::App => {
            let old = |loot: &&Loot| loot.superseded && loot.epoch_secrets;
            loot.iter().find(old).map(|loot| ("S5", loot))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loot(lsn: u64, superseded: bool, epoch_secrets: bool) -> Loot {
        Loot {
            line: vec![1],
            lsn: Some(lsn),
            superseded,
            epoch_secrets,
            message_secrets: false,
            is_of_nobody: false,
            what: String::new(),
        }
    }

    #[test]
    fn what_a_hub_stored_before_its_last_epoch_ended_must_not_open() {
        let (before, after) = (loot(7, true, false), loot(9, false, true));
        let found = [after.clone(), before.clone()];
        let at = |line: u8, lsn| BTreeMap::from([(vec![line], lsn)]);
        assert_eq!(past(Role::Hub, &found, &at(1, 8)), Some(("S3", &before)));
        assert_eq!(past(Role::Hub, &[after], &at(1, 8)), None);
        // Each line has epochs of its own.
        assert_eq!(past(Role::Hub, &found, &at(2, 8)), None);
    }

    #[test]
    fn what_is_left_of_a_clip_that_has_ended_must_not_open_at_either_end() {
        let left = Loot {
            is_of_nobody: true,
            ..loot(9, true, false)
        };
        for role in [Role::Hub, Role::App] {
            let found = [loot(9, false, false), left.clone()];
            let judged = past(role, &found, &BTreeMap::new());
            assert_eq!(judged, Some(("S3", &found[1])), "{role:?}");
        }
    }

    /// Each opening makes keys of its own.
    #[test]
    fn two_openings_throw_other_dice() {
        let keys = || {
            let disk: Arc<dyn Disk> = Arc::new(wal::disk::SimDisk::new());
            drop(secrets(Role::Hub, &disk, Options::default()).unwrap());
            thief::keys_in(&raw::contents(&*disk, VAULT).unwrap())
        };
        let (first, second) = (keys(), keys());
        assert!(!first.is_empty());
        assert!(first.iter().all(|key| !second.contains(key)));
    }

    /// Whoever has no journal reads a vault after FORMAT.md.
    #[test]
    fn a_vault_is_read_alike_with_the_journal_and_without() {
        let disk: Arc<dyn Disk> = Arc::new(wal::disk::SimDisk::new());
        drop(secrets(Role::Hub, &disk, Options::default()).unwrap());
        let vault = raw::contents(&*disk, VAULT).unwrap();
        let keys = thief::keys_in(&vault);
        assert!(!keys.is_empty());
        assert_eq!(crate::canary::keys_in(&vault), keys);
    }

    /// What a power cut took back lies behind whatever was finished before it.
    #[test]
    fn secrets_that_the_journal_does_not_know_must_not_open_at_a_hub() {
        let now = loot(9, false, true);
        let ratchet = Loot {
            message_secrets: true,
            ..loot(12, true, false)
        };
        let at = BTreeMap::from([(vec![1], 8)]);
        for taken_back in [loot(12, true, true), ratchet] {
            let found = [now.clone(), taken_back.clone()];
            assert_eq!(past(Role::Hub, &found, &at), Some(("S3", &taken_back)));
        }
        let found = [now, loot(12, true, false)];
        assert_eq!(past(Role::Hub, &found, &at), None);
    }

    #[test]
    fn a_checkpoint_from_before_the_last_finish_is_told_by_its_epoch() {
        let row = |epoch: u8| Found {
            lsn: None,
            key: vec![EPOCH_USE, 1],
            value: vec![epoch],
        };
        let now: Option<&[u8]> = Some(&[2]);
        assert!(is_of_another_epoch(&[row(1)], now, &[1]));
        assert!(!is_of_another_epoch(&[row(1)], now, &[2]));
        assert!(!is_of_another_epoch(&[row(2)], now, &[1]));
        assert!(!is_of_another_epoch(&[row(1)], None, &[1]));
    }

    #[test]
    fn secrets_of_a_past_epoch_must_not_open_at_a_phone() {
        let (past_epoch, message) = (loot(7, true, true), loot(7, true, false));
        let found = [message.clone(), past_epoch.clone()];
        assert_eq!(
            past(Role::App, &found, &BTreeMap::new()),
            Some(("S5", &past_epoch))
        );
        assert_eq!(past(Role::App, &[message], &BTreeMap::new()), None);
    }
}
