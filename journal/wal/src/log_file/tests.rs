//! A scan ends where the chain ends, and says what it saw behind it.

use super::*;
use crate::disk::{Disk, OpenMode, SimDisk};
use crate::record::{GroupDraft, encode_group};

const IDENTITY: Identity = Identity {
    kind: FileKind::Normal,
    life: [3; 16],
    number: 9,
    incarnation: 2,
};

/// A file with groups 10 and 11, the second one continuing `chain` (or the right one).
fn file(disk: &SimDisk, wrong_chain: Option<u32>) -> Arc<dyn DiskFile> {
    let file = disk.open("f", OpenMode::Create).unwrap();
    let header = FileHeader {
        identity: IDENTITY,
        first_lsn: Lsn(10),
        boot: 0x0102_0304_0506_0708,
    };
    let mut bytes = header.encode();
    let mut chain = chain_start(&IDENTITY.life);
    for lsn in [10, 11] {
        let draft = GroupDraft {
            lsn: Lsn(lsn),
            synced_through: Lsn(lsn - 1),
            records: &[Record::Delete { key: b"k" }],
        };
        let chained = if lsn == 11 {
            wrong_chain.unwrap_or(chain)
        } else {
            chain
        };
        chain = encode_group(&draft, &IDENTITY, chained, &mut bytes).1;
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
    }
    file.write_at(0, &bytes).unwrap();
    file
}

fn scanned(file: &dyn DiskFile) -> FileScan {
    match identify(file).unwrap() {
        Identified::Known {
            identity,
            header,
            first_lsn,
        } => scan(file, identity, header, first_lsn).unwrap(),
        _ => panic!("not identified"),
    }
}

#[test]
fn a_chain_is_followed_to_its_end() {
    let scan = scanned(&*file(&SimDisk::new(), None));
    let lsns: Vec<_> = scan.groups.iter().map(|group| group.header.lsn.0).collect();
    assert_eq!(lsns, [10, 11]);
    assert!(scan.strays.is_empty());
    assert_eq!(scan.proof(), Lsn(10));
}

#[test]
fn a_sound_group_behind_another_predecessor_is_only_a_witness() {
    let scan = scanned(&*file(&SimDisk::new(), Some(0x55)));
    assert_eq!(scan.groups.len(), 1);
    assert_eq!(scan.strays.len(), 1);
    assert_eq!(scan.proof(), Lsn(10));
}

#[test]
fn a_file_without_its_header_is_who_its_groups_say() {
    let disk = SimDisk::new();
    let file = file(&disk, None);
    disk.damage("f", 0, &[0; 4096]).unwrap();
    let scan = scanned(&*file);
    assert_eq!(
        (scan.identity, scan.header),
        (IDENTITY, HeaderState::Damaged)
    );
    assert_eq!(scan.groups.len(), 2);
    // Without the first group as well there is no chain, but still a witness.
    disk.damage("f", 4096, &[0; 4096]).unwrap();
    let scan = scanned(&*file);
    assert_eq!((scan.groups.len(), scan.strays.len()), (0, 1));
    assert_eq!(scan.proof(), Lsn(10));
}

#[test]
fn an_empty_file_is_blank() {
    let disk = SimDisk::new();
    let file = disk.open("f", OpenMode::Create).unwrap();
    assert!(matches!(identify(&*file).unwrap(), Identified::Blank));
    file.write_at(0, &[0; 9000]).unwrap();
    assert!(matches!(identify(&*file).unwrap(), Identified::Blank));
}
