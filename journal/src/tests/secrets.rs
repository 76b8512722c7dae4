//! What may be found in files, and what must not (scenarios 23 to 27).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use wal::SeededDice;
use wal::disk::{CrashPolicy, SimDisk};
use wal::store::MemStore;
use wire::ids::DeviceId;

use super::harness::{
    App, Hub, NOW_MS, NOW_S, finish_pairing, finish_pairing_as, open, options, paired, settle,
    terms,
};
use crate::ids::{Channel, ClipId, Line, PairingId};
use crate::keys::{self, Family};
use crate::pairing::{AppNext, AppPairing, HubPairing};
use crate::retain::RELEASED_MAX;
use crate::scope::Scope;
use crate::sealed::next_key;
use crate::vault::file::{FileVault, KEYS_PER_SECTOR, SECTORS_MAX};
use crate::vault::{Change, KeyId, Room, Vault, VaultKey};
use crate::{ACKED_CLIPS_KEPT, ErrorKind, Journal, JournalError, Role, Rotation, Suite};

pub(super) fn files_contain(disk: &SimDisk, needle: &[u8]) -> bool {
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

/// A clip that is deleted while it arrives: its later chunks move the ratchet on under the key that the deletion made,
/// and whoever is killed before the end of the sync rotates when it starts, without any network.
#[test]
fn what_arrives_of_a_deleted_clip_opens_no_more_behind_a_start() {
    let (mut hub, mut app) = paired();
    let (pairing, scope) = (app.line().pairing, Scope::Group(app.line()));
    let clip = hub.start_clip();
    hub.chunk(clip, b"one");
    let take_all = |hub: &Hub, app: &mut App| {
        for (seq, envelope) in hub.outgoing(app.cursor()) {
            app.take(seq, envelope.as_bytes());
        }
    };
    take_all(&hub, &mut app);
    let mut txn = app.journal.begin();
    txn.delete_clip(pairing, clip).unwrap();
    app.session.rotate_for_good(&mut txn).unwrap();
    drop(txn.commit(()).unwrap());
    let deleted = app.journal.scopes.get(scope).unwrap().key.clone();
    hub.chunk(clip, b"late");
    take_all(&hub, &mut app);
    assert!(files_contain(&app.disk, deleted.as_slice()));
    let killed = app.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let app = app.restart(killed, 9);
    assert!(!files_contain(&app.disk, deleted.as_slice()));
    assert!(app.journal.is_renewed(app.line()));
}

/// Spoils a small value of a scope, so that no key opens it.
fn spoil(journal: &mut Journal, scope: Scope, family: Family) {
    let prefix = keys::secret(scope, family, &[]);
    let rows = crate::journal::scan_all(&journal.wal, &prefix).unwrap();
    let (key, value) = &rows[0];
    let mut txn = journal.begin();
    txn.put(key, &vec![7; value.len()]);
    drop(txn.commit(()).unwrap());
}

/// A group of which a value is damaged cannot be rotated: that is owed, and nothing else is held up.
#[test]
fn a_start_goes_on_beside_a_group_that_cannot_be_renewed() {
    let (mut hub, _app) = paired();
    let (line, scope) = (hub.line(), Scope::Group(hub.line()));
    let other = Line::of(line.pairing, Channel::Config);
    hub.record(&[b"one"]);
    spoil(&mut hub.journal, scope, Family::MessageSecrets);
    let keys = |journal: &Journal| {
        [line, other].map(|line| *journal.scopes.get(Scope::Group(line)).unwrap().key)
    };
    let old = keys(&hub.journal);
    let disk = hub.disk.crash_clone(CrashPolicy::KeepAll, 1);
    drop(hub);
    let journal = open(Role::Hub, &disk, 9).unwrap();
    let new = keys(&journal);
    assert_eq!((old[0] == new[0], old[1] == new[1]), (true, false));
    assert!(!journal.is_renewed(line) && journal.is_renewed(other));
    assert_eq!(journal.rotation(line).unwrap(), Rotation::Owed);
    assert_eq!(journal.rotation(other).unwrap(), Rotation::NotOwed);
}

/// A line that is over at the phone rotates once more; a group that cannot be rotated dies, and what else is asked of
/// such a line does nothing.
#[test]
fn the_group_of_a_line_that_is_over_rotates_or_dies() {
    for is_damaged in [false, true] {
        let (_hub, mut app) = paired();
        let (line, scope) = (app.line(), Scope::Group(app.line()));
        let old = app.journal.scopes.get(scope).unwrap().key.clone();
        if is_damaged {
            spoil(&mut app.journal, scope, Family::MessageSecrets);
        }
        for again in [false, true] {
            let mut txn = app.journal.begin();
            app.session.rotate_for_good(&mut txn).unwrap();
            drop(txn.commit(()).unwrap());
            assert!(!files_contain(&app.disk, old.as_slice()), "{again}");
            assert_eq!(app.journal.has_group(line), !is_damaged, "{again}");
        }
        drop(app.journal);
        let journal = open(Role::App, &app.disk, 9).unwrap();
        assert_eq!(journal.has_group(line), !is_damaged);
        assert!(journal.is_renewed(line));
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

/// What a hub retains is exactly what a thief opens more, chunk by chunk, until the ack: then the copy's key
/// is in no file, and its rows go.
#[test]
fn a_retained_copy_opens_until_the_ack_and_never_after_it() {
    let (mut hub, mut app) = paired();
    let plain = b"this is the plaintext of a retained chunk, long enough to find";
    let without = hub.record(&[plain]);
    hub.session.retain(true);
    let clip = hub.record(&[plain, b"two"]);
    let has = |hub: &Hub, clip| hub.journal.scopes.get(Scope::Clip(clip)).is_some();
    assert!(!has(&hub, without) && has(&hub, clip));
    assert!(!files_contain(&hub.disk, plain), "it is sealed");
    let kept = hub.journal.retained_clips().unwrap();
    assert_eq!(kept.len(), 1);
    assert_eq!((kept[0].clip, kept[0].chunks), (clip, 2));
    assert!(kept[0].is_whole);
    let (captured, bytes) = hub.journal.retained_chunk(clip, 0).unwrap();
    assert_eq!((captured, bytes.as_slice()), (NOW_MS, plain.as_slice()));
    let scope = Scope::Clip(clip);
    let key = hub.journal.scopes.get(scope).unwrap().key.clone();
    assert!(files_contain(&hub.disk, key.as_slice()));
    // A start finds it as it is.
    let (disk, line) = (hub.disk.crash_clone(CrashPolicy::LoseAll, 1), hub.line());
    drop(hub);
    let (mut hub, _) = Hub::start(disk, line, 9);
    assert_eq!(hub.journal.retained_clips().unwrap(), kept);

    settle(&mut hub, &mut app);
    assert!(!has(&hub, clip));
    assert!(!files_contain(&hub.disk, key.as_slice()));
    assert!(hub.journal.retained_clips().unwrap().is_empty());
    hub.journal.stage_trims(10, |txn| txn.trim_deleted());
    drop(hub.journal.commit().unwrap());
    let prefix = keys::chunk(clip, 0);
    let left = hub
        .journal
        .wal
        .scan_payloads(&prefix[..17], &prefix[..17], 10);
    assert_eq!(left.unwrap().len(), 0);
    let more = hub.journal.begin().trim_deleted().unwrap();
    assert_eq!(more, crate::Trim::Idle);
    assert_eq!(app.bytes_of(without), plain);
}

/// Copies end in each state that a crash leaves with the ack that ends them, or are there whole.
#[test]
fn an_ack_and_the_end_of_copies_are_one() {
    let (mut hub, mut app) = paired();
    hub.session.retain(true);
    for _ in 0..3 {
        hub.record(&[b"one", b"two"]);
    }
    hub.disk.record_snapshots();
    settle(&mut hub, &mut app);
    let line = hub.line();
    let mut ended = 0;
    for (i, snapshot) in hub.disk.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let crashed = snapshot.crash_clone(policy, i as u64);
            let journal = open(Role::Hub, &crashed, 70 + i as u64).unwrap();
            let head = journal.outbox_head(line).unwrap();
            let kept = journal.retained_clips().unwrap().len();
            let clips = journal.hub_clips(line.pairing).unwrap();
            let open = clips.iter().filter(|clip| clip.last_seq() > head.acked);
            assert_eq!(kept, open.count(), "{i} {policy:?}");
            ended += usize::from(kept == 0);
        }
    }
    assert!(ended > 0);
}

/// One ack of more clips than a transaction can end: some copies end with it, the rest in the steps that
/// follow, and not one stays.
#[test]
fn an_ack_of_many_clips_ends_their_copies_in_steps() {
    const BEYOND: usize = ACKED_CLIPS_KEPT + 3;
    let (mut hub, mut app) = paired();
    hub.session.retain(true);
    for _ in 0..RELEASED_MAX + BEYOND {
        hub.record(&[b"one"]);
    }
    settle(&mut hub, &mut app);
    assert_eq!(hub.journal.retained_clips().unwrap().len(), BEYOND);
    // What is known of their clips is not forgotten over a later one.
    let later = hub.record(&[b"two"]);
    hub.journal.stage_trims(10, |txn| txn.trim_retained());
    drop(hub.journal.commit().unwrap());
    let left = hub.journal.retained_clips().unwrap();
    assert_eq!(left.len(), 1, "what is not acked");
    assert_eq!(left[0].clip, later);
    settle(&mut hub, &mut app);
    assert!(hub.journal.retained_clips().unwrap().is_empty());
}

/// What was begun before a phone was paired, and only that, is to be played to it, whatever a clock says.
#[test]
fn what_a_new_phone_missed_is_told_by_the_order_of_keys() {
    let (mut hub, _app) = paired();
    let old = hub.line().pairing;
    hub.session.retain(true);
    let missed = [hub.record(&[b"one"]), hub.record(&[b"two"])];
    let mut phone = open(Role::App, &SimDisk::new(), 3).unwrap();
    let offer = HubPairing::offer(&mut hub.journal, terms(Suite::Classic), NOW_S).unwrap();
    let device = DeviceId([9; 32]);
    let new = finish_pairing_as(device, &mut hub.journal, &mut phone, &offer).unwrap();
    hub.record(&[b"three"]);
    let clips = hub.journal.playable(new, old).unwrap();
    assert_eq!(
        clips.iter().map(|clip| clip.clip).collect::<Vec<_>>(),
        missed
    );
    assert!(hub.journal.playable(old, new).unwrap().is_empty());
    let nobody = PairingId([7; 16]);
    assert!(hub.journal.playable(nobody, old).unwrap().is_empty());
}

/// The phone of a pairing takes part in an event only once it is confirmed: what began while it was being
/// paired it has missed as well.
#[test]
fn what_began_while_a_phone_was_paired_is_played_to_it() {
    let (mut hub, _app) = paired();
    let old = hub.line().pairing;
    hub.session.retain(true);
    let mut phone = open(Role::App, &SimDisk::new(), 3).unwrap();
    let offer = HubPairing::offer(&mut hub.journal, terms(Suite::Classic), NOW_S).unwrap();
    let started = AppPairing::start(&mut phone, &offer, DeviceId([9; 32]), NOW_S).unwrap();
    let AppNext::Request(request) = started.into_inner() else {
        panic!("a fresh pairing begins with a request");
    };
    let device = request.device();
    let answer = HubPairing::request(&mut hub.journal, &request, device, NOW_S).unwrap();
    let missed = hub.record(&[b"one"]);
    let confirm = AppPairing::answer(&mut phone, &request, &answer, NOW_S).unwrap();
    let done = HubPairing::confirm(&mut hub.journal, &confirm).unwrap();
    let new = AppPairing::done(&mut phone, &confirm, &done)
        .unwrap()
        .into_inner();
    hub.record(&[b"two"]);
    let clips = hub.journal.playable(new, old).unwrap();
    assert_eq!(
        clips.iter().map(|clip| clip.clip).collect::<Vec<_>>(),
        [missed]
    );
}

/// A pairing of which the phone never heard takes its copies along: the same phone gets them in the pairing
/// that takes its place, and until then they are known to wait for nobody's ack.
#[test]
fn what_was_kept_for_a_pairing_that_was_replaced_is_played_to_the_new_one() {
    let (mut hub, _app) = paired();
    let silent = hub.line().pairing;
    hub.session.retain(true);
    let clip = hub.record(&[b"one"]);
    assert_eq!(hub.journal.stranded_copies().unwrap(), 0);
    let mut phone = open(Role::App, &SimDisk::new(), 3).unwrap();
    let offer = HubPairing::offer(&mut hub.journal, terms(Suite::Classic), NOW_S).unwrap();
    let new = finish_pairing(&mut hub.journal, &mut phone, &offer).unwrap();
    assert!(!hub.journal.pairing_ids().contains(&silent));
    assert_eq!(hub.journal.plays().unwrap(), [(new, silent)]);
    let clips = hub.journal.playable(new, silent).unwrap();
    assert_eq!(
        clips.iter().map(|clip| clip.clip).collect::<Vec<_>>(),
        [clip]
    );
    assert_eq!(hub.journal.stranded_copies().unwrap(), 1);
}

/// A copy of which nothing can be read holds up neither the ack nor the recording nor the list of the others,
/// and goes with all its rows.
#[test]
fn a_damaged_copy_holds_nothing_up() {
    let (mut hub, mut app) = paired();
    let pairing = hub.line().pairing;
    hub.session.retain(true);
    let bad = hub.start_clip();
    hub.chunk(bad, b"one");
    let key = keys::secret(Scope::Clip(bad), Family::Clip, &[]);
    let mut txn = hub.journal.begin();
    txn.put(&key, &[7; 60]);
    drop(txn.commit(()).unwrap());
    hub.chunk(bad, b"two");
    hub.finish(bad);
    let good = hub.record(&[b"three"]);
    let kept = hub.journal.retained_clips().unwrap();
    assert_eq!(
        kept.iter().map(|clip| clip.clip).collect::<Vec<_>>(),
        [good]
    );
    assert_eq!(hub.journal.stranded_copies().unwrap(), 1);
    // The owner may end it as well.
    let mut txn = hub.journal.begin();
    assert_eq!(txn.forget_retained(Some(pairing), &[good]).unwrap(), 1);
    drop(txn);
    settle(&mut hub, &mut app);
    assert!(hub.journal.scopes.get(Scope::Clip(bad)).is_none());
    assert!(hub.journal.scopes.get(Scope::Clip(good)).is_none());
    hub.journal.stage_trims(10, |txn| txn.trim_deleted());
    drop(hub.journal.commit().unwrap());
    let prefix = keys::chunks(bad);
    let left = hub.journal.wal.scan_payloads(&prefix, &prefix, 10);
    assert_eq!(left.unwrap().len(), 0);
    assert_eq!(app.bytes_of(bad), b"onetwo");
}

/// Steps that cannot be staged are not the end of the work.
#[test]
fn a_step_that_fails_leaves_more_to_do() {
    let (mut hub, _app) = paired();
    let refuse = |_: &mut crate::Txn<'_>| Err(JournalError::Misuse("a test"));
    let trimmed = hub.journal.stage_trims(3, refuse);
    assert_eq!((trimmed.steps, trimmed.is_all), (0, false));
    let trimmed = hub.journal.stage_trims(3, |txn| txn.trim_retained());
    assert_eq!((trimmed.steps, trimmed.is_all), (0, true));
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
    fn load(&mut self) -> Result<BTreeMap<KeyId, Box<VaultKey>>, JournalError> {
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

/// The end is durable and the vault has not heard of it: it does before anybody is told that it is full.
#[test]
fn what_has_ended_makes_room_for_a_birth_before_the_vault_is_said_to_be_full() {
    let disk = SimDisk::new();
    let vault = FileVault::new(Arc::new(disk.clone()), "vault").with_sectors_max(1);
    let mut journal = open_over(&disk, 1, Box::new(vault)).unwrap();
    let keys = fill(&mut journal, 0);
    let mut txn = journal.begin();
    txn.end(clip_scope(0));
    let ended = txn.stage(()).unwrap();
    journal.begin_commit().unwrap();
    drop(journal.finish_commit().unwrap().redeem(ended));
    assert!(journal.owes_vault());
    assert_eq!(fill(&mut journal, keys), 1);
    assert!(!journal.owes_vault());
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
    assert!(!hub.journal.owes_vault(), "the rotation is not synced");
    hub.journal.settle().unwrap();
    // The power goes: the trailer was never synced, so the old key must still be there.
    let cut = hub.disk.crash_clone(CrashPolicy::LoseAll, 1);
    drop(hub.journal.commit().unwrap().redeem(trailer));
    let line = hub.line();
    let (mut again, closed) = Hub::start(cut, line, 8);
    assert!(matches!(closed, crate::Closed::CutOff(_)), "{closed:?}");
    settle(&mut again, &mut app);
    assert_eq!(app.bytes_of(clip), b"one");
}
