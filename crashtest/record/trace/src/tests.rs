//! Golden bytes, a round trip of each kind, and a reader that survives anything.

use super::*;

fn head(kind: Kind, flags: u8) -> Head {
    Head {
        kind,
        flags,
        seq: 7,
        nanos: 1_000_000_007,
        process: 11,
        thread: 12,
        file: 4711,
        a: 4096,
        b: 3,
    }
}

fn framed(kind: Kind, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(kind, flags).encode(&[payload]).to_vec();
    bytes.extend_from_slice(payload);
    bytes
}

fn event(kind: Kind, flags: u8, payload: &[u8]) -> Event {
    let (records, error) = read(&framed(kind, flags, payload));
    assert_eq!(error, None);
    assert_eq!(records.len(), 1);
    assert_eq!((records[0].process, records[0].thread), (11, 12));
    assert_eq!((records[0].seq, records[0].nanos), (7, 1_000_000_007));
    records[0].event.clone()
}

#[test]
fn golden_bytes_of_a_write() {
    let bytes = framed(Kind::Write, 0, b"abc");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        hex,
        "535254010300000003000000f0fb87fb070000000000000007ca9a3b00000000\
         0b0000000c00000067120000000000000010000000000000030000000000000061\
         6263"
    );
}

#[test]
fn each_kind_comes_back() {
    let path = "log/00000001".to_owned();
    let cases = [
        (
            event(Kind::Start, 0, b"/state\0/bin/x"),
            Event::Start {
                root: "/state".into(),
                program: "/bin/x".into(),
            },
        ),
        (
            event(Kind::Open, OPEN_CREATED, b"log/00000001"),
            Event::Open {
                file: 4711,
                path: path.clone(),
                created: true,
                directory: false,
                writable: false,
            },
        ),
        (
            event(Kind::Write, WRITE_ZEROS, b""),
            Event::Write {
                file: 4711,
                offset: 4096,
                content: Content::Zeros(3),
            },
        ),
        (
            event(Kind::Rename, 0, b"a\0log/00000001"),
            Event::Rename {
                from: "a".into(),
                to: path.clone(),
            },
        ),
        (
            event(Kind::SyncEnd, 0, b""),
            Event::SyncEnd {
                file: 4711,
                begin: 4096,
                errno: 3,
            },
        ),
        (
            event(Kind::Unlink, 0, b"log/00000001"),
            Event::Unlink { path },
        ),
        (
            event(Kind::Mark, 0, b"envelope 1"),
            Event::Mark {
                text: "envelope 1".into(),
            },
        ),
    ];
    for (is, must) in cases {
        assert_eq!(is, must);
    }
}

#[test]
fn a_cut_off_frame_ends_the_trace_and_keeps_what_came_before() {
    let whole = framed(Kind::Write, 0, b"abc");
    let mut bytes = whole.clone();
    bytes.extend_from_slice(&framed(Kind::Unlink, 0, b"x"));
    for length in whole.len() + 1..bytes.len() {
        let (records, error) = read(&bytes[..length]);
        assert_eq!(records.len(), 1);
        assert_eq!(
            error,
            Some(TraceError::CutOff {
                at: whole.len() as u64
            })
        );
    }
}

#[test]
fn every_flipped_bit_is_seen_and_none_panics() {
    let good = framed(Kind::Rename, 0, b"a\0b");
    for place in 0..good.len() * 8 {
        let mut bytes = good.clone();
        bytes[place / 8] ^= 1 << (place % 8);
        let (records, error) = read(&bytes);
        assert!(records.is_empty() && error.is_some(), "bit {place}");
    }
}

#[test]
fn a_write_beyond_any_file_is_refused() {
    let mut head = head(Kind::Write, WRITE_ZEROS);
    head.a = u64::MAX - 1;
    let (records, error) = read(&head.encode(&[]));
    assert!(records.is_empty());
    assert!(matches!(error, Some(TraceError::Malformed { .. })));
}
