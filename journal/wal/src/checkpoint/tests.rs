//! A checkpoint is sound as a whole or not at all.

use super::*;
use crate::disk::SimDisk;

fn written() -> (SimDisk, CheckpointHead) {
    let disk = SimDisk::new();
    let file = disk.open("checkpoint-a", OpenMode::Create).unwrap();
    let head = CheckpointHead {
        id: [7; 16],
        lsn: Lsn(9),
        next_ordinal: 3,
        next_number: 4,
        incarnation: 2,
        body_bytes: 0,
        count: 6,
    };
    let mut writer = Writer::new(&*file, &head.id);
    writer.value(b"k1", b"v1").unwrap();
    writer.value(b"k2", &[5; 700]).unwrap();
    let row = FileRow {
        number: 1,
        life: [1; 16],
        incarnation: 1,
        kind: 1,
        first_lsn: 1,
        last_lsn: 9,
        live_bytes: 10,
        live_start: 0,
        live_end: 2,
    };
    writer.file_row(row).unwrap();
    writer.finish(head).unwrap();
    (disk, head)
}

fn outcome(disk: &SimDisk) -> (Option<bool>, usize) {
    let mut seen = 0;
    let found = read(disk, CheckpointSlot::A, &mut |_, _| seen += 1).unwrap();
    match found {
        Read::Sound { confirmed, .. } => (Some(confirmed), seen),
        _ => (None, seen),
    }
}

#[test]
fn a_checkpoint_is_confirmed_only_by_its_own_mark() {
    let (disk, head) = written();
    assert_eq!(outcome(&disk), (Some(false), 2));
    let file = disk.open("checkpoint-a", OpenMode::Existing).unwrap();
    confirm(&*file, &[8; 16]).unwrap();
    assert_eq!(outcome(&disk), (Some(false), 2));
    confirm(&*file, &head.id).unwrap();
    assert_eq!(outcome(&disk), (Some(true), 2));
}

#[test]
fn no_flipped_bit_passes() {
    let (disk, _) = written();
    let bytes = disk.contents("checkpoint-a").unwrap();
    let meaningful = (0..HEADER_BYTES).chain(BODY_OFFSET as usize..bytes.len());
    for at in meaningful {
        for bit in [0, 3, 7] {
            let other = disk.crash_clone(crate::disk::CrashPolicy::ProcessKill, 0);
            other
                .damage("checkpoint-a", at as u64, &[bytes[at] ^ (1 << bit)])
                .unwrap();
            assert_eq!(outcome(&other), (None, 0), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn no_prefix_passes() {
    let (disk, _) = written();
    let bytes = disk.contents("checkpoint-a").unwrap();
    for len in 1..bytes.len() {
        let other = SimDisk::new();
        let file = other.open("checkpoint-a", OpenMode::Create).unwrap();
        file.write_at(0, &bytes[..len]).unwrap();
        assert_eq!(outcome(&other), (None, 0), "prefix {len}");
    }
}
