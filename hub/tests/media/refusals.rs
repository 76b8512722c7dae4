//! Files that cannot be used: each one clear error, in one line that says what to do next.

use std::io;
use std::path::Path;

use hub::camera::demux::{
    ByteSource, Clip, FourCc, MOOV_BYTES_MAX, SAMPLES_MAX, TOP_LEVEL_BOXES_MAX,
};
use hub::camera::{AvcConfigError, CameraError, CameraErrorKind, ClipError, FileCamera};

use crate::support::{JumpingClock, config, read, testdata};

fn open(path: &Path) -> CameraError {
    FileCamera::open(config(path, 1), JumpingClock::new())
        .err()
        .unwrap_or_else(|| panic!("{} was accepted", path.display()))
}

#[test]
fn each_unusable_file_has_its_own_message() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let people = read("people-20s.mp4");
    let table = [
        (
            testdata("nothing-here.mp4"),
            "it cannot be read: entity not found",
        ),
        (directory.path().to_owned(), "it is not a regular file"),
        ("/dev/zero".into(), "it is not a regular file"),
        (file("empty", b""), "the file is empty"),
        (
            file("text", b"Dear diary, today nothing moved."),
            "it is not an MP4 file",
        ),
        (file("short", b"\0\0\0"), "it is not an MP4 file"),
        (
            file("half", &people[..people.len() / 2]),
            "the file is cut off: it ends after 527459 bytes, inside the mdat box that begins at 1679",
        ),
        (file("head", &people[..32]), "its moov box is missing"),
        (
            testdata("no-h264.mp4"),
            "it has no H.264 track; found: mp4v",
        ),
        (
            testdata("audio-only.mp4"),
            "it has no H.264 track; found: mp4a",
        ),
    ];
    for (path, want) in table {
        let error = open(&path);
        let message = error.to_string();
        let want = format!("the clip {} cannot be used: {want}", path.display());
        assert_eq!(message, want);
        assert_eq!(error.kind(), CameraErrorKind::Replace, "{message}");
    }
}

/// The clip with some bytes replaced, `skip` bytes behind the name of the first box of that kind.
fn patched(name: &str, kind: &[u8; 4], skip: usize, with: &[u8]) -> Result<Clip, ClipError> {
    let mut file = read(name);
    let at = file.windows(4).position(|w| w == kind).expect("the box") + 4 + skip;
    file[at..at + with.len()].copy_from_slice(with);
    Clip::read(&file[..])
}

#[test]
fn absurd_numbers_are_refused_before_they_cost_anything() {
    let clip = "people-20s.mp4";
    let huge = &u32::MAX.to_be_bytes();
    let too_large = |what: &'static str, found: u64, limit: u64| {
        Err(ClipError::TooLarge { what, found, limit })
    };
    let damaged = |kind: &[u8; 4], what: &'static str| {
        Err(ClipError::Malformed {
            inside: FourCc(*kind),
            what,
        })
    };
    let table = [
        // Four thousand million pictures of one byte: 100 GB of table.
        (
            patched(clip, b"stsz", 4, &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF]),
            too_large("number of pictures", 0xFFFF_FFFF, SAMPLES_MAX as u64),
        ),
        (
            patched(clip, b"stsz", 8, huge),
            damaged(b"stsz", "it promises more entries than it holds"),
        ),
        (
            patched(clip, b"stts", 8, &[0, 0, 0, 200, 0xFF, 0xFF, 0xFF, 0xFF]),
            too_large("duration of one picture in ticks", 0xFFFF_FFFF, 614_400),
        ),
        (
            patched(clip, b"stts", 8, &[0, 0, 0, 199]),
            damaged(b"stts", "it ends before the pictures do"),
        ),
        (
            patched(clip, b"mdhd", 12, huge),
            too_large("timescale", 0xFFFF_FFFF, 10_000_000),
        ),
        (
            patched(clip, b"mdhd", 12, &[0; 4]),
            damaged(b"mdhd", "its timescale is zero"),
        ),
        (
            patched(clip, b"stsd", 40, &[0, 0]),
            damaged(b"avc1", "the picture has no width or no height"),
        ),
        (
            patched(clip, b"stss", 8, &[0, 0, 0, 1, 0, 0, 0, 1]),
            damaged(b"stss", "its numbers do not rise"),
        ),
        (
            patched(clip, b"stss", 4, &[0; 4]),
            Err(ClipError::NoKeyFrame),
        ),
        (
            patched(clip, b"stsz", 4, &[0; 8]),
            Err(ClipError::NoSamples),
        ),
        (
            patched(clip, b"stsd", 4, &[0, 0, 0, 2]),
            Err(ClipError::SampleDescriptions { found: 2 }),
        ),
        (
            patched(clip, b"avcC", 0, &[9]),
            Err(ClipError::AvcConfig(AvcConfigError::UnknownVersion {
                found: 9,
            })),
        ),
        (
            patched(clip, b"stsc", 12, &[0; 4]),
            damaged(b"stsc", "it has a chunk without pictures"),
        ),
        (
            patched("fragmented.mp4", b"trex", 4, huge),
            damaged(b"tfhd", "the file has no trex box for its track"),
        ),
        (
            patched("fragmented.mp4", b"trun", 4, huge),
            too_large("number of pictures", 0xFFFF_FFFF, SAMPLES_MAX as u64),
        ),
    ];
    for (index, (found, want)) in table.into_iter().enumerate() {
        assert!(
            found == want,
            "line {index}: want {want:?}, found {:?}",
            found.err()
        );
    }
    for kind in [b"stco", b"stsc", b"stts", b"stsz", b"mdhd", b"avcC"] {
        let found = patched(clip, kind, 0, &[]);
        assert!(found.is_ok());
        let mut file = read(clip);
        let at = file.windows(4).position(|w| w == kind).expect("the box");
        file[at] = b'X';
        let missing = FourCc(*kind);
        assert!(
            matches!(Clip::read(&file[..]), Err(ClipError::BoxMissing { missing: found, .. }) if found == missing)
        );
    }
}

#[test]
fn a_picture_outside_the_file_is_refused() {
    let found = patched("people-20s.mp4", b"stco", 8, &u32::MAX.to_be_bytes());
    assert!(
        matches!(
            found,
            Err(ClipError::SampleOutside {
                index: 0,
                offset: 0xFFFF_FFFF,
                ..
            })
        ),
        "{found:?}"
    );
}

/// A file that says it is enormous and whose one box says so as well.
struct Enormous;

impl ByteSource for Enormous {
    fn bytes(&self) -> io::Result<u64> {
        Ok(1 << 50)
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        assert_eq!(offset, 0, "only the header is read");
        let mut header = *b"\0\0\0\x01moov\0\0\0\0\0\0\0\0";
        header[8..].copy_from_slice(&(1_u64 << 50).to_be_bytes());
        buffer.copy_from_slice(&header[..buffer.len()]);
        Ok(())
    }
}

#[test]
fn an_enormous_moov_is_refused_unread() {
    assert_eq!(
        Clip::read(&Enormous),
        Err(ClipError::TooLarge {
            what: "moov box",
            found: (1 << 50) - 16,
            limit: MOOV_BYTES_MAX,
        })
    );
}

#[test]
fn a_file_of_millions_of_boxes_is_refused() {
    let boxes = usize::try_from(TOP_LEVEL_BOXES_MAX).expect("fits") + 1;
    let file = b"\0\0\0\x08free".repeat(boxes);
    let limit = TOP_LEVEL_BOXES_MAX;
    assert_eq!(
        Clip::read(&file[..]),
        Err(ClipError::TooLarge {
            what: "number of boxes",
            found: limit + 1,
            limit,
        })
    );
}

/// A source that fails as a bad disk does.
struct BadDisk;

impl ByteSource for BadDisk {
    fn bytes(&self) -> io::Result<u64> {
        Ok(1000)
    }

    fn read_exact_at(&self, _: &mut [u8], _: u64) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(5))
    }
}

#[test]
fn a_read_error_is_worth_another_try() {
    let error = Clip::read(&BadDisk).expect_err("it cannot be read");
    assert_eq!(error.kind(), CameraErrorKind::Retry);
}
