//! The bytes on disk, judged by golden hex and by damage.

use super::*;
use proptest::prelude::*;

fn identity() -> Identity {
    Identity {
        kind: FileKind::Normal,
        life: [0xab; 16],
        number: 7,
        incarnation: 3,
    }
}

fn samples() -> Vec<(&'static str, Record<'static>)> {
    let row = FileRow {
        number: 7,
        life: [0xab; 16],
        incarnation: 3,
        kind: 1,
        first_lsn: 100,
        last_lsn: 200,
        live_bytes: 70_000,
        live_start: 5,
        live_end: 9,
    };
    let seal = Seal {
        source_number: 7,
        source_life: [0xab; 16],
        last_lsn: 99,
        incarnation: 4,
    };
    vec![
        (
            "put",
            Record::Put {
                key: b"key",
                value: b"value",
            },
        ),
        ("delete", Record::Delete { key: b"key" }),
        (
            "payload",
            Record::PayloadDescriptor {
                key: b"key",
                len: 65_536,
                crc: 0xdead_beef,
                ordinal: 300,
            },
        ),
        (
            "free",
            Record::FreePayload {
                key: b"key",
                ordinal: 300,
                len: 65_536,
            },
        ),
        ("seal", Record::Seal(seal)),
        ("file", Record::File(row)),
        (
            "end",
            Record::End {
                values: 1,
                files: 200,
            },
        ),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn group() -> Vec<u8> {
    let records = [
        Record::Put {
            key: b"key",
            value: b"value",
        },
        Record::PayloadDescriptor {
            key: b"p",
            len: 4,
            crc: crc_from(0, b"four"),
            ordinal: 1,
        },
    ];
    let draft = GroupDraft {
        lsn: Lsn(101),
        synced_through: Lsn(99),
        records: &records,
    };
    let mut out = Vec::new();
    encode_group(&draft, &identity(), chain_start(&identity().life), &mut out);
    out.extend_from_slice(b"four");
    out.resize(pad(out.len() as u64) as usize, 0);
    out
}

#[test]
fn every_layout_has_its_golden_bytes() {
    let header = FileHeader {
        identity: identity(),
        first_lsn: Lsn(100),
        boot: 0x0102_0304_0506_0708,
    };
    let mut lines = vec![format!(
        "file_header {}",
        hex(&header.encode()[..FILE_HEADER_BYTES])
    )];
    for (name, record) in samples() {
        let mut out = Vec::new();
        record.encode(0x1234_5678, &mut out);
        lines.push(format!("record_{name} {}", hex(&out)));
    }
    let group = group();
    let content = group
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    lines.push(format!("group {}", hex(&group[..content])));
    let got = lines.join("\n") + "\n";
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/records.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &got).unwrap();
    }
    let want = std::fs::read_to_string(path).unwrap();
    assert_eq!(
        got, want,
        "the format changed; if that is meant, run with BLESS=1"
    );
}

#[test]
fn records_come_back() {
    for (name, record) in samples() {
        let mut out = Vec::new();
        let sum = record.encode(9, &mut out);
        out.push(0x55);
        let (back, rest, after) = Record::decode(9, &out).unwrap();
        assert_eq!((back, rest, after), (record, &[0x55][..], sum), "{name}");
        assert_eq!(Record::decode(8, &out).err(), Some(Bad::Checksum), "{name}");
    }
}

#[test]
fn every_prefix_and_every_flipped_bit_is_an_error() {
    for (name, record) in samples() {
        let mut out = Vec::new();
        record.encode(9, &mut out);
        for len in 0..out.len() {
            assert!(
                Record::decode(9, &out[..len]).is_err(),
                "{name} prefix {len}"
            );
        }
        for bit in 0..out.len() * 8 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::decode(9, &bad).is_err(), "{name} bit {bit}");
        }
    }
    let header = FileHeader {
        identity: identity(),
        first_lsn: Lsn(100),
        boot: 0x0102_0304_0506_0708,
    }
    .encode();
    assert_eq!(FileHeader::decode(&header).unwrap().first_lsn, Lsn(100));
    for len in 0..FILE_HEADER_BYTES {
        assert!(FileHeader::decode(&header[..len]).is_err());
    }
    for bit in 0..FILE_HEADER_BYTES * 8 {
        let mut bad = header.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(FileHeader::decode(&bad).is_err(), "bit {bit}");
    }
}

fn group_is_sound(bytes: &[u8]) -> bool {
    let Ok((header, sum)) = GroupHeader::decode(bytes) else {
        return false;
    };
    let meta = bytes.get(GROUP_HEADER_BYTES..GROUP_HEADER_BYTES + header.meta_bytes as usize);
    meta.is_some_and(|meta| decode_meta(&header, sum, meta).is_ok())
}

#[test]
fn a_group_is_sound_whole_and_never_in_part() {
    let group = group();
    assert!(group_is_sound(&group));
    let (header, _) = GroupHeader::decode(&group).unwrap();
    let meta_end = GROUP_HEADER_BYTES + header.meta_bytes as usize;
    for bit in 0..meta_end * 8 {
        let mut bad = group.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(!group_is_sound(&bad), "bit {bit}");
    }
    for len in 0..meta_end {
        assert!(!group_is_sound(&group[..len]), "prefix {len}");
    }
    assert_eq!(header.padded_bytes(), 4096);
    assert_eq!(header.identity, identity());
}

#[test]
fn another_version_is_told_apart_from_damage() {
    let mut header = FileHeader {
        identity: identity(),
        first_lsn: Lsn(1),
        boot: 0x0102_0304_0506_0708,
    }
    .encode();
    header[8] = 2;
    let sum = crc_from(0, &header[..FILE_HEADER_BYTES - 4]).to_le_bytes();
    header[FILE_HEADER_BYTES - 4..FILE_HEADER_BYTES].copy_from_slice(&sum);
    assert_eq!(FileHeader::decode(&header), Err(Bad::Version(2)));
}

#[test]
fn format_md_speaks_of_this_very_file() {
    let sum = crc32fast::hash(include_bytes!("../record.rs"));
    let line = format!("`wal/src/record.rs` crc32 {sum:08x}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../FORMAT.md");
    let text = std::fs::read_to_string(path).unwrap();
    if std::env::var_os("BLESS").is_some() {
        let at = text.find("`wal/src/record.rs` crc32 ").unwrap();
        let text = format!("{}{line}{}", &text[..at], &text[at + line.len()..]);
        std::fs::write(path, text).unwrap();
        return;
    }
    assert!(
        text.contains(&line),
        "record.rs changed: read FORMAT.md again, correct it, and write {line} into it (BLESS=1)"
    );
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), seed: u32) {
        let _ = Record::decode(seed, &bytes);
        let _ = FileHeader::decode(&bytes);
        let _ = GroupHeader::decode(&bytes);
    }

    #[test]
    fn any_body_behind_a_good_checksum_is_read_without_a_panic(
        kind: u8, body in proptest::collection::vec(any::<u8>(), 0..200), seed: u32
    ) {
        let mut framed = vec![kind];
        framed.extend_from_slice(&(body.len() as u32).to_le_bytes());
        framed.extend_from_slice(&body);
        let sum = crc_from(seed, &framed);
        framed.extend_from_slice(&sum.to_le_bytes());
        let _ = Record::decode(seed, &framed);
    }

    #[test]
    fn any_put_comes_back(key in proptest::collection::vec(any::<u8>(), 0..100), value in proptest::collection::vec(any::<u8>(), 0..500), seed: u32) {
        let record = Record::Put { key: &key, value: &value };
        let mut out = Vec::new();
        let sum = record.encode(seed, &mut out);
        prop_assert_eq!(Record::decode(seed, &out), Ok((record, &[][..], sum)));
    }
}
