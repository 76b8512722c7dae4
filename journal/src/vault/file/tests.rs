//! The vault file under every crash of a store.

use wal::disk::{CrashPolicy, SimDisk};

use super::*;

fn key(byte: u8, version: u64) -> VaultKey {
    VaultKey {
        version,
        key: Key::new([byte; 32]),
    }
}

fn load(disk: &SimDisk) -> BTreeMap<KeyId, (u64, u8)> {
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    let keys = vault.load().unwrap();
    keys.into_iter()
        .map(|(id, key)| (id, (key.version, key.key[0])))
        .collect()
}

#[test]
fn each_key_is_as_before_or_as_asked_after_any_crash() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap();
    // More keys than a sector holds, so that one store touches two sectors.
    let first: Vec<Change> = (1..=100).map(|id| (KeyId(id), Some(key(1, 0)))).collect();
    vault.store(&first).unwrap();
    disk.record_snapshots();
    let second: Vec<Change> = (1..=100)
        .map(|id| (KeyId(id), if id % 5 == 0 { None } else { Some(key(2, 1)) }))
        .collect();
    vault.store(&second).unwrap();
    for (i, snapshot) in disk.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let crashed = snapshot.crash_clone(policy, i as u64);
            let keys = load(&crashed);
            for id in 1..=100 {
                let found = keys.get(&KeyId(id)).copied();
                let after = if id % 5 == 0 { None } else { Some((1, 2)) };
                assert!(
                    found == Some((0, 1)) || found == after,
                    "{id}: {found:?} {policy:?}"
                );
            }
            assert_eq!(load(&crashed), keys, "loading twice is loading once");
        }
    }
    let last = load(&disk);
    assert_eq!(last.len(), 80);
}

#[test]
fn a_first_store_that_is_cut_off_leaves_an_empty_or_a_whole_vault() {
    let disk = SimDisk::new();
    disk.record_snapshots();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap();
    vault.store(&[(KeyId(1), Some(key(1, 0)))]).unwrap();
    for (i, snapshot) in disk.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let keys = load(&snapshot.crash_clone(policy, i as u64));
            assert!(keys.len() <= 1, "{policy:?}");
        }
    }
    assert_eq!(load(&disk).len(), 1);
}

/// Found by the replayer over a recorded start: a new sector's first bytes were written before
/// its images, and where a power cut trashed both places, the vault and all keys in its other
/// sectors were refused.
#[test]
fn a_sector_that_is_cut_off_at_its_birth_costs_nothing() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap();
    let full: Vec<Change> = (1..=KEYS_PER_SECTOR as u64)
        .map(|id| (KeyId(id), Some(key(1, 0))))
        .collect();
    vault.store(&full).unwrap();
    let before = load(&disk);
    disk.record_snapshots();
    let one_more = KeyId(KEYS_PER_SECTOR as u64 + 1);
    vault.store(&[(one_more, Some(key(2, 0)))]).unwrap();
    for snapshot in &disk.snapshots() {
        for policy in CrashPolicy::ALL {
            for seed in 0..64 {
                let mut keys = load(&snapshot.crash_clone(policy, seed));
                keys.remove(&one_more);
                assert_eq!(keys, before, "{policy:?} {seed}");
            }
        }
    }
}

/// The golden bytes of one sector (FORMAT.md, "The vault").
#[test]
fn the_layout_is_the_documented_one() {
    let mut sector = Sector::empty();
    sector.generation = 3;
    sector.slots[1] = Some((KeyId(0x0102), key(0xaa, 7)));
    let image = sector.encode(5);
    assert_eq!(&image[..12], b"SCLSVLT1\x05\0\0\0");
    assert_eq!(&image[16..24], &3u64.to_le_bytes());
    assert_eq!(&image[80..88], &0x0102u64.to_le_bytes());
    assert_eq!(&image[88..96], &7u64.to_le_bytes());
    assert_eq!(&image[96..128], &[0xaa; 32]);
    let mut zeroed = image.clone();
    zeroed[12..16].fill(0);
    assert_eq!(image[12..16], crc32fast::hash(&zeroed).to_le_bytes());
    for at in 0..SECTOR_BYTES {
        let mut bad = image.clone();
        bad[at] ^= 0x10;
        assert!(Sector::decode(&bad, 5).is_none(), "byte {at}");
    }
    assert!(Sector::decode(&image, 6).is_none());
}

/// The page cache is not believed: a start that finds an image which no sync has covered dies in
/// its turn, at every operation, and the next one still has every key (scenario 2, for the vault).
#[test]
fn two_crashes_in_a_row_cost_no_key() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap();
    vault.store(&[(KeyId(1), Some(key(1, 0)))]).unwrap();
    disk.record_snapshots();
    vault.store(&[(KeyId(1), Some(key(2, 1)))]).unwrap();
    let mut states = 0;
    for snapshot in disk.snapshots() {
        // The process dies; the cache lives on and shows what may never reach the disk.
        let killed = snapshot.crash_clone(CrashPolicy::ProcessKill, 0);
        killed.record_snapshots();
        let first = load(&killed);
        assert!(first.contains_key(&KeyId(1)));
        for second in killed.snapshots() {
            for policy in CrashPolicy::ALL {
                for seed in 0..8 {
                    let found = load(&second.crash_clone(policy, seed))
                        .get(&KeyId(1))
                        .copied();
                    assert!(
                        matches!(found, Some((0, 1) | (1, 2))),
                        "{policy:?} {found:?}"
                    );
                    states += 1;
                }
            }
        }
        let settled = load(&killed.crash_clone(CrashPolicy::LoseAll, 0));
        assert_eq!(settled, first, "what a start said stays true");
    }
    assert!(states > 300, "{states}");
}

/// The same when the store that was cut off was the very first: nothing was born yet, so the key may
/// be missing, but no start may be refused.
#[test]
fn two_crashes_in_a_row_in_the_first_store_refuse_no_start() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
    vault.load().unwrap();
    disk.record_snapshots();
    vault.store(&[(KeyId(1), Some(key(1, 0)))]).unwrap();
    let mut states = 0;
    for snapshot in disk.snapshots() {
        let killed = snapshot.crash_clone(CrashPolicy::ProcessKill, 0);
        killed.record_snapshots();
        let first = load(&killed);
        for second in killed.snapshots() {
            for policy in CrashPolicy::ALL {
                for seed in 0..32 {
                    let found = load(&second.crash_clone(policy, seed)).remove(&KeyId(1));
                    assert!(matches!(found, None | Some((0, 1))), "{policy:?} {seed}");
                    states += 1;
                }
            }
        }
        let settled = load(&killed.crash_clone(CrashPolicy::LoseAll, 0));
        assert_eq!(settled, first, "what a start said stays true");
    }
    assert!(states > 300, "{states}");
}

/// The same when it was a sync that failed: the cache shows both images as they should be.
#[test]
fn a_failed_sync_and_a_crash_cost_no_key() {
    for at in 0..4 {
        let disk = SimDisk::new();
        let mut vault = FileVault::new(Arc::new(disk.clone()), "vault");
        vault.load().unwrap();
        vault.store(&[(KeyId(1), Some(key(1, 0)))]).unwrap();
        disk.inject(disk.op_count() + at, wal::disk::Fault::Eio);
        assert!(vault.store(&[(KeyId(1), Some(key(2, 1)))]).is_err());
        disk.record_snapshots();
        let first = load(&disk);
        for snapshot in disk.snapshots() {
            for policy in CrashPolicy::ALL {
                let found = load(&snapshot.crash_clone(policy, at))
                    .get(&KeyId(1))
                    .copied();
                assert!(
                    matches!(found, Some((0, 1) | (1, 2))),
                    "{at} {policy:?} {found:?}"
                );
            }
        }
        assert_eq!(load(&disk.crash_clone(CrashPolicy::LoseAll, 0)), first);
    }
}

/// A process that was killed between the growth of the file and its first write leaves a length. The disk may have no
/// room for it: nothing that must not fail counts on it.
#[test]
fn a_sector_that_is_only_a_length_is_no_room_in_place() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault").with_sectors_max(3);
    vault.load().unwrap();
    let full: Vec<Change> = (1..=KEYS_PER_SECTOR as u64)
        .map(|id| (KeyId(id), Some(key(1, 0))))
        .collect();
    vault.store(&full).unwrap();
    drop(vault);
    let file = Disk::open(&disk, "vault", OpenMode::Existing).unwrap();
    file.set_len(4 * SECTOR_BYTES as u64).unwrap();
    file.sync_data().unwrap();
    let mut vault = FileVault::new(Arc::new(disk), "vault").with_sectors_max(3);
    vault.load().unwrap();
    let room = |vault: &FileVault| (vault.room().in_place, vault.room().at_most);
    assert_eq!(room(&vault), (0, 2 * KEYS_PER_SECTOR));
    vault.store(&[(KeyId(1_000), Some(key(2, 0)))]).unwrap();
    assert_eq!(room(&vault), (KEYS_PER_SECTOR - 1, 2 * KEYS_PER_SECTOR - 1));
}

#[test]
fn a_vault_that_cannot_grow_is_as_it_was() {
    let disk = SimDisk::new();
    let mut vault = FileVault::new(Arc::new(disk.clone()), "vault").with_sectors_max(3);
    vault.load().unwrap();
    let full: Vec<Change> = (1..=KEYS_PER_SECTOR as u64)
        .map(|id| (KeyId(id), Some(key(1, 0))))
        .collect();
    vault.store(&full).unwrap();
    let more = [(KeyId(1_000), Some(key(2, 0)))];
    let before = load(&disk);
    disk.set_capacity(Some(disk.used_bytes()));
    for _ in 0..2 {
        let error = vault.store(&more).unwrap_err();
        assert!(wal::disk::is_full(&error), "{error}");
        let room = vault.room();
        assert_eq!((room.in_place, room.at_most), (0, 2 * KEYS_PER_SECTOR));
    }
    // What it holds moves on, and what is erased makes room.
    vault.store(&[(KeyId(1), Some(key(9, 1)))]).unwrap();
    vault
        .store(&[(KeyId(2), None), (KeyId(500), None)])
        .unwrap();
    vault.store(&more).unwrap();
    let mut after = before;
    after.insert(KeyId(1), (1, 9));
    after.remove(&KeyId(2));
    after.insert(KeyId(1_000), (0, 2));
    assert_eq!(load(&disk), after);
    disk.set_capacity(None);
    let erased = KeyId(2);
    vault
        .store(&[(erased, Some(key(3, 0))), (KeyId(3), None)])
        .unwrap();
    assert_eq!(vault.room().in_place, KEYS_PER_SECTOR);
}
