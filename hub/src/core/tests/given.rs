//! What a camera gives: an event with its pieces, and what the phone is told and shown of it.

use bytes::Bytes;
use wal::SeededDice;

use super::super::*;

pub(crate) fn event() -> Event {
    Event {
        camera: "door".into(),
        mime: "video/mp4".into(),
        started_unix_ms: 1_000,
    }
}

/// Some thousands of bytes that differ from those of every other number.
pub(crate) fn piece(number: u64) -> Piece {
    let mut bytes = vec![0; 3_000 + number as usize];
    wal::Dice::fill(&mut SeededDice(number), &mut bytes);
    Piece {
        bytes: Bytes::from(bytes),
        captured_unix_ms: 2_000 + number,
    }
}

/// The beginning of an event of the door's camera, to be told.
pub(super) fn alert(started_unix_ms: u64) -> Alert {
    Alert {
        camera: "door".into(),
        started_unix_ms,
    }
}

/// How it looks.
pub(super) fn still(started_unix_ms: u64) -> Still {
    Still {
        camera: "door".into(),
        started_unix_ms,
        jpeg: Bytes::from_static(b"a picture"),
    }
}
