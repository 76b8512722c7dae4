//! What may be found in files, and what must not (scenarios 23 to 27).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wal::SeededDice;
use wal::disk::{CrashPolicy, SimDisk};
use wal::store::MemStore;

use super::harness::{App, Hub, NOW_MS, open, options, paired, settle};
use crate::ids::ClipId;
use crate::keys;
use crate::scope::Scope;
use crate::sealed::next_key;
use crate::vault::file::{FileVault, KEYS_PER_SECTOR, SECTORS_MAX};
use crate::vault::{Change, KeyId, Room, Vault, VaultKey};
use crate::{ErrorKind, Journal, JournalError, Role};

fn files_contain(disk: &SimDisk, needle: &[u8]) -> bool {
    let holds = |path: &String| {
        let bytes = disk.contents(path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    disk.paths().iter().any(holds)
}

fn vault_version(disk: &SimDisk, id: KeyId) -> Option<u64> {
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap().get(&id).map(|key| key.version)
}

/// Scenario 23: when a clip is finished, neither image of the vault holds its key any more; before,
/// both do.
#[test]
fn scenario_23_a_rotation_reaches_both_images() {
    let (mut hub, _app) = paired();
    let scope = Scope::Group(hub.line());
    let clip = hub.start_clip();
    hub.chunk(clip, b"one");
    let old = hub.journal.scopes.get(scope).unwrap().key.clone();
    assert!(
        files_contain(&hub.disk, old.as_slice()),
        "the harness looks in the wrong place"
    );
    hub.finish(clip);
    assert!(!files_contain(&hub.disk, old.as_slice()));
    let now = hub.journal.scopes.get(scope).unwrap().clone();
    let new = now.key;
    assert_eq!(*new, *next_key(&old, &now.salt));
    let vault = hub.disk.contents("vault").unwrap();
    let copies = vault
        .windows(32)
        .filter(|window| *window == new.as_slice())
        .count();
    assert_eq!(copies, 2);
}

/// Scenario 24: after a crash in the middle of a clip, the first thing a start does is to close the
/// epoch and rotate; the epoch's first ratchet cannot be read after it.
#[test]
fn scenario_24_a_start_rotates_what_was_in_use() {
    let (mut hub, _app) = paired();
    let scope = Scope::Group(hub.line());
    let clip = hub.start_clip();
    hub.chunk(clip, b"one");
    let old = hub.journal.scopes.get(scope).unwrap().key.clone();
    let disk = hub.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let line = hub.line();
    drop(hub);
    let (hub, _) = Hub::start(disk, line, 9);
    assert!(!files_contain(&hub.disk, old.as_slice()));
}

/// A power cut takes a rotation back, and the start makes another one in its stead. What the first had sealed may
/// lie in the log behind the torn tail until that file is used again; the second ends at another key.
#[test]
fn a_rotation_that_was_taken_back_shares_no_key_with_the_one_made_instead() {
    let (mut hub, _app) = paired();
    let (line, scope) = (hub.line(), Scope::Group(hub.line()));
    let clip = hub.start_clip();
    hub.chunk(clip, b"one");
    let cut = hub.disk.crash_clone(CrashPolicy::LoseAll, 1);
    hub.finish(clip);
    let taken_back = hub.journal.scopes.get(scope).unwrap().clone();
    drop(hub);
    let journal = open(Role::Hub, &cut, 9).unwrap();
    let instead = journal.scopes.get(scope).unwrap();
    assert_eq!(instead.version, taken_back.version);
    assert_ne!(*instead.key, *taken_back.key);
    drop(journal);
    let (hub, _) = Hub::start(cut, line, 10);
    assert!(!files_contain(&hub.disk, taken_back.key.as_slice()));
}

/// A power cut takes the beginning of a clip back, and with it the row that its epoch is in use: no start knows of it.
/// Its group of records may be whole in the log, and does not open with the key that the start goes on under.
#[test]
fn the_beginning_of_a_clip_that_was_taken_back_shares_no_key_with_what_follows() {
    let (mut hub, mut app) = paired();
    hub.record(&[b"before"]);
    settle(&mut hub, &mut app);
    let (line, scope) = (hub.line(), Scope::Group(hub.line()));
    let cut = hub.disk.crash_clone(CrashPolicy::LoseAll, 1);
    let clip = hub.start_clip();
    hub.chunk(clip, b"never durable");
    let taken_back = hub.journal.scopes.get(scope).unwrap().key.clone();
    assert!(files_contain(&cut, taken_back.as_slice()));
    drop(hub);
    let (hub, closed) = Hub::start(cut, line, 9);
    assert!(matches!(closed, crate::Closed::NothingOwed), "{closed:?}");
    assert!(!files_contain(&hub.disk, taken_back.as_slice()));
}

/// Both ends start with new keys.
#[test]
fn a_start_renews_the_keys_of_all_groups() {
    let (hub, app) = paired();
    let scope = Scope::Group(hub.line());
    for (role, end) in [
        (Role::Hub, (hub.disk, hub.journal)),
        (Role::App, (app.disk, app.journal)),
    ] {
        let (disk, journal) = end;
        let old = journal.scopes.get(scope).unwrap().clone();
        drop(journal);
        let journal = open(role, &disk, 9).unwrap();
        let new = journal.scopes.get(scope).unwrap();
        assert_eq!(new.version, old.version + 1);
        assert!(!files_contain(&disk, old.key.as_slice()));
    }
}

/// A power cut takes a birth back: the pool that it took its key from is made anew by the next start.
#[test]
fn a_birth_that_was_taken_back_shares_no_key_with_a_later_one() {
    let (mut hub, mut app) = paired();
    settle(&mut hub, &mut app);
    let (line, cut) = (app.line(), app.disk.crash_clone(CrashPolicy::LoseAll, 1));
    let clip = hub.record(&[b"one"]);
    let sent = hub.outgoing(app.cursor());
    let take = |app: &mut App| {
        for (seq, envelope) in &sent {
            app.take(*seq, envelope.as_bytes());
        }
    };
    take(&mut app);
    let taken_back = app.journal.scopes.get(Scope::Clip(clip)).unwrap().clone();
    assert!(files_contain(&cut, taken_back.key.as_slice()));
    drop(app);
    let mut app = App::open(Role::App, cut, line, 9);
    assert!(!files_contain(&app.disk, taken_back.key.as_slice()));
    take(&mut app);
    let again = app.journal.scopes.get(Scope::Clip(clip)).unwrap();
    assert_eq!(again.id, taken_back.id);
    assert_ne!(*again.key, *taken_back.key);
}

/// Scenarios 25 and 23 together: a crash between log and vault, in every order the disk allows, is
/// derived forward; a key is never needed that the vault does not hold or cannot reach.
#[test]
fn scenario_25_every_key_in_use_is_in_the_vault_or_one_step_behind() {
    let (mut hub, mut app) = paired();
    settle(&mut hub, &mut app);
    hub.disk.record_snapshots();
    app.disk.record_snapshots();
    hub.record(&[b"one", b"two"]);
    settle(&mut hub, &mut app);
    for (role, disk) in [(Role::Hub, &hub.disk), (Role::App, &app.disk)] {
        for (i, snapshot) in disk.snapshots().iter().enumerate() {
            for policy in CrashPolicy::ALL {
                let crashed = snapshot.crash_clone(policy, i as u64);
                let journal = open(role, &crashed, 50 + i as u64);
                let journal =
                    journal.unwrap_or_else(|error| panic!("{role:?} {i} {policy:?}: {error}"));
                for scope in journal.scopes.iter().collect::<Vec<_>>() {
                    for (key, sealed) in
                        crate::journal::scan_all(&journal.wal, &keys::secret_prefix(scope)).unwrap()
                    {
                        journal.open_value(scope, &key, &sealed).unwrap();
                    }
                    let row = journal.scopes.get(scope).unwrap();
                    assert_eq!(vault_version(&crashed, row.id), Some(row.version));
                }
            }
        }
    }
}

/// Scenario 27: every secret value has a scope; nothing secret is in the clear in any file.
#[test]
fn scenario_27_no_secret_is_in_the_clear() {
    let (mut hub, mut app) = paired();
    let plain = b"this is the plaintext of a video chunk, long enough to find";
    hub.record(&[plain]);
    settle(&mut hub, &mut app);
    let device = hub.journal.device().unwrap();
    let exporter = hub.exporter();
    let line = hub.line();
    let record = hub.journal.begin().pairing_record(line).unwrap();
    let needles: [(&str, &[u8]); 6] = [
        ("chunk", plain),
        ("device secret", &device.secret),
        ("identity", device.identity_seed.as_slice()),
        ("exporter", &exporter),
        ("wrapping key", record.send_key.as_slice()),
        ("receive id", &record.lines[0].receive.0),
    ];
    for (what, needle) in needles {
        for (side, disk) in [("hub", &hub.disk), ("app", &app.disk)] {
            assert!(
                !files_contain(disk, needle),
                "{what} in the clear at the {side}"
            );
        }
    }
}

/// Deleting a clip erases its key from both images.
#[test]
fn scenario_28_a_deleted_clips_key_is_in_no_file() {
    let (mut hub, mut app) = paired();
    let clip = hub.record(&[b"one"]);
    settle(&mut hub, &mut app);
    let key = app
        .journal
        .scopes
        .get(Scope::Clip(clip))
        .unwrap()
        .key
        .clone();
    assert!(files_contain(&app.disk, key.as_slice()));
    let pairing = app.line().pairing;
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, clip).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(!files_contain(&app.disk, key.as_slice()));
}

/// A vault from before the last two rotations, or from another device, is refused with the way out
/// (promise C7).
#[test]
fn a_vault_that_does_not_belong_is_refused() {
    let (mut hub, _app) = paired();
    let old = hub.disk.contents("vault").unwrap();
    hub.record(&[b"one"]);
    hub.record(&[b"two"]);
    let disk = hub.disk.clone();
    drop(hub);
    disk.damage("vault", 0, &old).unwrap();
    let refused = open(Role::Hub, &disk, 4)
        .err()
        .expect("an old vault was accepted");
    assert!(
        matches!(refused, JournalError::VaultMismatch { .. }),
        "{refused}"
    );
    assert!(refused.to_string().contains("pair again"));
}

#[test]
fn a_damaged_image_is_healed_and_two_are_refused() {
    let (hub, _app) = paired();
    let (disk, line) = (hub.disk.clone(), hub.line());
    drop(hub);
    disk.damage("vault", 100, &[0xff; 8]).unwrap();
    drop(Hub::open(Role::Hub, disk.clone(), line, 3));
    let vault = disk.contents("vault").unwrap();
    assert_eq!(
        vault[..4096],
        vault[4096..8192],
        "the images were not made equal"
    );
    disk.damage("vault", 100, &[0xff; 8]).unwrap();
    disk.damage("vault", 4196, &[0xff; 8]).unwrap();
    let refused = open(Role::Hub, &disk, 3)
        .err()
        .expect("a destroyed vault was accepted");
    assert!(
        matches!(refused, JournalError::VaultDamaged { sector: 0 }),
        "{refused}"
    );
}

#[test]
fn the_wrong_roles_directory_is_refused() {
    let (hub, _app) = paired();
    let disk = hub.disk.clone();
    drop(hub);
    let refused = open(Role::App, &disk, 3)
        .err()
        .expect("a hub's directory opened as an app's");
    assert!(matches!(refused, JournalError::WrongRole { .. }));
}

/// The epoch that a finished clip was sealed in cannot be encrypted in again, whatever the caller does.
#[test]
fn nothing_is_sealed_after_the_trailer() {
    let (mut hub, _app): (Hub, App) = paired();
    let clip = hub.record(&[b"one"]);
    let mut txn = hub.journal.begin();
    let again = hub.session.append_chunk(&mut txn, clip, b"more", NOW_MS);
    assert!(matches!(again, Err(JournalError::Misuse(_))));
    let sealed = hub
        .session
        .seal(&mut txn, b"more", crate::outbox::Placement::Inline);
    assert!(matches!(sealed, Err(JournalError::NoRightToEncrypt(_))));
}

/// A vault that may grow and never can: the disk is full.
struct Stuck(FileVault, BTreeSet<KeyId>);

impl Vault for Stuck {
    fn load(&mut self) -> Result<BTreeMap<KeyId, VaultKey>, JournalError> {
        let keys = self.0.load()?;
        self.1 = keys.keys().copied().collect();
        Ok(keys)
    }

    fn room(&self) -> Room {
        self.0.room()
    }

    fn store(&mut self, changes: &[Change]) -> std::io::Result<()> {
        let room = self.0.room();
        let has_one = room.at_most < SECTORS_MAX * KEYS_PER_SECTOR;
        let is_fresh = |(id, _): &Change| !self.1.contains(id);
        if has_one && room.in_place == 0 && changes.iter().all(is_fresh) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.1.extend(changes.iter().map(|(id, _)| *id));
        self.0.store(changes)
    }
}

fn open_over(disk: &SimDisk, seed: u64, vault: Box<dyn Vault>) -> Result<Journal, JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = Box::new(MemStore::on_disk(disk.clone(), "view"));
    let dice = Box::new(SeededDice(seed));
    let opened = Journal::open(Role::App, disk, store, vault, dice, options());
    opened.map(|(journal, _)| journal)
}

/// A birth of its own, as a clip's header makes one.
fn birth(journal: &mut Journal, n: u64) -> Result<(), JournalError> {
    let mut txn = journal.begin();
    txn.birth(clip_scope(n))?;
    drop(txn.commit(())?);
    Ok(())
}

fn clip_scope(n: u64) -> Scope {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    Scope::Clip(ClipId(id))
}

/// Births until there is no room; how many there were.
fn fill(journal: &mut Journal, from: u64) -> u64 {
    for n in from.. {
        match birth(journal, n) {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Space, "{error}");
                assert!(!journal.is_poisoned());
                return n - from;
            }
        }
    }
    unreachable!("a vault is finite")
}

/// A vault that holds as many keys as it may, or for which the disk has no more room, refuses new ones
/// and nothing else: what is there stays, can be deleted, and makes room, in the same process and
/// after a start.
#[test]
fn a_full_vault_refuses_births_and_nothing_else() {
    type Make = fn(&SimDisk) -> Box<dyn Vault>;
    fn vault(disk: &SimDisk) -> FileVault {
        FileVault::new(Arc::new(disk.clone()), "vault")
    }
    let table: [(usize, Make); 3] = [
        (1, |disk| Box::new(vault(disk).with_sectors_max(1))),
        (2, |disk| Box::new(vault(disk).with_sectors_max(2))),
        (1, |disk| Box::new(Stuck(vault(disk), BTreeSet::new()))),
    ];
    for (sectors, make) in table {
        let keys = (sectors * KEYS_PER_SECTOR) as u64;
        let disk = SimDisk::new();
        let mut journal = open_over(&disk, 1, make(&disk)).unwrap();
        assert_eq!(fill(&mut journal, 0), keys);
        for start in 0..3 {
            let first = 3 * start;
            for n in first..first + 3 {
                let mut txn = journal.begin();
                txn.rotate(clip_scope(n));
                drop(txn.commit(()).unwrap());
                let mut txn = journal.begin();
                txn.end(clip_scope(n));
                drop(txn.commit(()).unwrap());
            }
            if start > 0 {
                drop(journal);
                journal = open_over(&disk, 2 + start, make(&disk)).unwrap();
            }
            assert_eq!(fill(&mut journal, keys + first), 3, "start {start}");
            drop(journal);
            journal = open_over(&disk, 20 + start, make(&disk)).unwrap();
            assert_eq!(journal.scopes.iter().count() as u64, keys);
            assert_eq!(fill(&mut journal, 10_000), 0);
        }
    }
}

/// A rotation that is staged while an earlier commit is under way reaches the vault after its own
/// sync, not after the earlier one's.
#[test]
fn the_vault_never_runs_ahead_of_the_log() {
    let (mut hub, mut app) = paired();
    let clip = hub.start_clip();
    let mut txn = hub.journal.begin();
    hub.session
        .append_chunk(&mut txn, clip, b"one", NOW_MS)
        .unwrap();
    let chunk = txn.stage(()).unwrap();
    hub.journal.begin_commit().unwrap();
    let mut txn = hub.journal.begin();
    hub.session.finish_clip(&mut txn, clip, NOW_MS).unwrap();
    let trailer = txn.stage(()).unwrap();
    drop(hub.journal.finish_commit().unwrap().redeem(chunk));
    // The power goes: the trailer was never synced, so the old key must still be there.
    let cut = hub.disk.crash_clone(CrashPolicy::LoseAll, 1);
    drop(hub.journal.commit().unwrap().redeem(trailer));
    let line = hub.line();
    let (mut again, closed) = Hub::start(cut, line, 8);
    assert!(matches!(closed, crate::Closed::CutOff(_)), "{closed:?}");
    settle(&mut again, &mut app);
    assert_eq!(app.bytes_of(clip), b"one");
}
