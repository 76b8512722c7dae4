//! What may be found in files, and what must not (scenarios 23 to 27).

use wal::disk::{CrashPolicy, SimDisk};

use super::harness::{App, Hub, NOW_MS, open, paired, settle};
use crate::keys;
use crate::scope::Scope;
use crate::sealed::next_key;
use crate::vault::file::FileVault;
use crate::vault::{KeyId, Vault};
use crate::{JournalError, Role};

fn files_contain(disk: &SimDisk, needle: &[u8]) -> bool {
    let holds = |path: &String| {
        let bytes = disk.contents(path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    disk.paths().iter().any(holds)
}

fn vault_version(disk: &SimDisk, id: KeyId) -> Option<u64> {
    let mut vault = FileVault::new(std::sync::Arc::new(disk.clone()), "vault");
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
    let new = hub.journal.scopes.get(scope).unwrap().key.clone();
    assert_eq!(*new, *next_key(&old));
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
