//! The simulated disk is the judge of everything else, so it is judged first.

use super::*;

fn text(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.contents(path).ok()
}

#[test]
fn only_synced_bytes_and_entries_must_survive() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(0, b"one").unwrap();
    file.sync_data().unwrap();
    assert_eq!(text(&disk.crash_clone(CrashPolicy::LoseAll, 0), "a"), None);
    disk.sync_dir("").unwrap();
    file.write_at(0, b"two").unwrap();
    let lost = disk.crash_clone(CrashPolicy::LoseAll, 0);
    assert_eq!(text(&lost, "a"), Some(b"one".to_vec()));
    let kept = disk.crash_clone(CrashPolicy::KeepAll, 0);
    assert_eq!(text(&kept, "a"), Some(b"two".to_vec()));
    let killed = disk.crash_clone(CrashPolicy::ProcessKill, 0);
    assert_eq!(text(&killed, "a"), Some(b"two".to_vec()));
    assert_eq!(
        text(&killed.crash_clone(CrashPolicy::LoseAll, 0), "a"),
        Some(b"one".to_vec())
    );
}

#[test]
fn a_failed_sync_is_never_made_good_by_a_later_one() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    disk.sync_dir("").unwrap();
    file.write_at(0, b"one").unwrap();
    disk.inject(disk.op_count(), Fault::Eio);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(text(&disk, "a"), Some(b"one".to_vec()));
    assert_eq!(
        text(&disk.crash_clone(CrashPolicy::LoseAll, 0), "a"),
        Some(Vec::new())
    );
}

#[test]
fn torn_writes_keep_whole_sectors_only() {
    let disk = SimDisk::new();
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(0, &[1; 4096]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir("").unwrap();
    file.write_at(0, &[2; 4096]).unwrap();
    let mut mixed = 0;
    for seed in 0..32 {
        let torn = disk.crash_clone(CrashPolicy::Torn { sector_bytes: 512 }, seed);
        let bytes = text(&torn, "a").unwrap();
        assert!(
            bytes
                .chunks(512)
                .all(|s| s.iter().all(|b| *b == s[0] && (1..3).contains(b)))
        );
        mixed += u32::from(bytes.contains(&1) && bytes.contains(&2));
        let whole = disk.crash_clone(CrashPolicy::Torn { sector_bytes: 4096 }, seed);
        let bytes = text(&whole, "a").unwrap();
        assert!(bytes.iter().all(|b| *b == bytes[0]));
    }
    assert!(mixed > 20);
}

#[test]
fn space_runs_out_and_comes_back() {
    let disk = SimDisk::new();
    disk.set_capacity(Some(8192));
    let file = disk.open("a", OpenMode::CreateNew).unwrap();
    file.write_at(0, &[1; 8192]).unwrap();
    let more = file.write_at(8192, &[1]).unwrap_err();
    assert!(crate::disk::is_full(&more));
    file.write_at(4096, &[2; 4096]).unwrap();
    disk.remove("a").unwrap();
    assert_eq!(disk.available_bytes().unwrap(), 8192);
}

#[test]
fn a_short_file_grows_with_zeros() {
    let mut image = Image::default();
    image.write(0, &[7; 5000]);
    image.set_len(10);
    image.set_len(6000);
    let bytes = image.to_vec();
    assert!(bytes[..10].iter().all(|b| *b == 7) && bytes[10..].iter().all(|b| *b == 0));
}
