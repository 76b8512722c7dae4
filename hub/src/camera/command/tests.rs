//! A real clip as a byte stream, and programs that write it, write nothing, or do not exist.

use super::*;
use crate::camera::demux::Clip;
use crate::camera::{CameraErrorKind, TokioClock};

const PICTURES: usize = 45;

/// The first pictures of the clip with start codes, and what they must become.
fn stream() -> (Vec<u8>, Clip, Vec<Bytes>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/people-20s.mp4");
    let file = std::fs::read(path).unwrap();
    let clip = Clip::read(&file[..]).unwrap();
    let VideoCodec::H264(avc) = &clip.track.codec else {
        panic!("it is H.264");
    };
    let (mut stream, mut pictures) = (Vec::new(), Vec::new());
    let mut put = |nal: &[u8]| {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    };
    for sample in &clip.samples[..PICTURES] {
        let start = sample.offset as usize;
        let data = &file[start..start + sample.bytes as usize];
        put(&[9, 0xF0]);
        if sample.is_sync {
            avc.sequence_parameter_sets().for_each(|set| put(&set));
            avc.picture_parameter_sets().for_each(|set| put(&set));
        }
        let mut rest = data;
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            put(nal);
            rest = behind;
        }
        pictures.push(Bytes::copy_from_slice(data));
    }
    (stream, clip, pictures)
}

#[test]
fn a_byte_stream_becomes_the_pictures_it_was_made_of() {
    let (stream, clip, pictures) = stream();
    let mut reader = Reader::new("program".into(), Duration::from_secs(5));
    let mut items = Vec::new();
    for (number, bytes) in stream.chunks(1000).enumerate() {
        let now = Duration::from_secs(5) + Duration::from_millis(number as u64);
        items.extend(reader.handle_bytes(bytes, now, number as u64).unwrap());
    }
    let SourceItem::Format(format) = &items[0] else {
        panic!("{:?}", items[0]);
    };
    assert_eq!(format.video.width, clip.track.width);
    assert_eq!(format.video.height, clip.track.height);
    assert_eq!(format.audio, None);
    let units = items.iter().filter_map(|item| match item {
        SourceItem::Video(unit) => Some(unit),
        _ => None,
    });
    let units: Vec<&AccessUnit> = units.collect();
    assert_eq!(items.len(), units.len() + 1, "one format alone");
    // The last picture has no end yet.
    assert_eq!(units.len(), PICTURES - 1);
    for (number, unit) in units.iter().enumerate() {
        assert_eq!(unit.data, pictures[number], "picture {number}");
        assert_eq!(unit.is_sync, clip.samples[number].is_sync);
    }
    assert!(units.windows(2).all(|pair| pair[0].dts < pair[1].dts));
}

#[test]
fn nothing_is_handed_out_before_the_parameter_sets() {
    let (stream, _clip, _pictures) = stream();
    // Behind the first parameter sets: until the next key frame nothing can be decoded.
    let idr = [0, 0, 0, 1, 0x65];
    let at = stream.windows(5).position(|window| window == idr).unwrap();
    let mut reader = Reader::new("program".into(), Duration::ZERO);
    let items = reader
        .handle_bytes(&stream[at..], Duration::from_secs(1), 0)
        .unwrap();
    assert!(matches!(items[0], SourceItem::Format(_)));
    assert!(matches!(&items[1], SourceItem::Video(unit) if unit.is_sync));
    assert!(items.len() < PICTURES);
}

fn config(program: &str, arguments: &[&str], stall: Duration) -> CommandConfig {
    CommandConfig {
        program: program.into(),
        arguments: arguments.iter().map(ToString::to_string).collect(),
        stall,
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_programs_output_is_read_until_it_ends() {
    let (stream, _clip, _pictures) = stream();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &stream).unwrap();
    let path = file.path().display().to_string();
    let config = config("cat", &[&path], LONG);
    let mut source = CommandSource::open(&config, TokioClock::new()).unwrap();
    let mut items = 0;
    let error = loop {
        match source.next_item().await {
            Ok(Some(_)) => items += 1,
            Ok(None) => panic!("its end is an error: a camera has none"),
            Err(error) => break error,
        }
    };
    assert_eq!(items, PICTURES, "a format, and all pictures but the last");
    assert!(matches!(error, CameraError::Ended { .. }), "{error}");
    assert_eq!(source.next_item().await, Ok(None));
}

#[tokio::test]
async fn a_program_that_writes_nothing_or_nonsense_is_said() {
    let config_of = |program: &str, arguments: &[&str], stall| {
        let config = config(program, arguments, stall);
        CommandSource::open(&config, TokioClock::new())
    };
    let error = config_of("/nonexistent/camera", &[], LONG).err().unwrap();
    assert!(matches!(error, CameraError::NotStarted { .. }), "{error}");
    assert_eq!(error.kind(), CameraErrorKind::Replace);

    let mut silent = config_of("sleep", &["600"], Duration::from_millis(50)).unwrap();
    let error = silent.next_item().await.unwrap_err();
    assert!(matches!(error, CameraError::Stalled { .. }), "{error}");

    let mut text = config_of("yes", &[], LONG).unwrap();
    let error = text.next_item().await.unwrap_err();
    assert!(matches!(error, CameraError::Output { .. }), "{error}");
}

#[tokio::test]
async fn a_program_ends_with_its_source() {
    let config = config("sleep", &["600"], LONG);
    let source = CommandSource::open(&config, TokioClock::new()).unwrap();
    let id = source.child.id().expect("it runs");
    assert!(runs(id));
    drop(source);
    // Killed at once; its remains are collected by the runtime.
    until_gone(id).await;
}

/// Whether a process has anything open: what is killed and not collected yet has not.
fn runs(id: u32) -> bool {
    let open = std::fs::read_dir(format!("/proc/{id}/fd"));
    open.is_ok_and(|mut open| open.next().is_some())
}

async fn until_gone(id: u32) {
    let gone = async {
        while runs(id) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LONG, gone).await.unwrap();
}

/// A script that starts the camera's program and waits for it: in privacy mode neither may have the camera.
#[tokio::test]
async fn what_a_program_has_started_ends_with_its_source() {
    for ends_first in [false, true] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().display().to_string();
        let script = match ends_first {
            false => format!("sleep 600 & echo $! > {path}; wait"),
            // What is left has not even the output.
            true => format!("sleep 600 > /dev/null & echo $! > {path}"),
        };
        let config = config("sh", &["-c", &script], LONG);
        let mut source = CommandSource::open(&config, TokioClock::new()).unwrap();
        let started = async {
            loop {
                let text = std::fs::read_to_string(&path).unwrap();
                if let Ok(id) = text.trim().parse() {
                    return id;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let id: u32 = tokio::time::timeout(LONG, started).await.unwrap();
        assert!(runs(id));
        if ends_first {
            let error = source.next_item().await.unwrap_err();
            assert!(matches!(error, CameraError::Ended { .. }), "{error}");
        }
        drop(source);
        until_gone(id).await;
    }
}

/// What a program says may hold its address, and that a password.
#[tokio::test]
async fn what_a_program_says_beside_its_pictures_goes_nowhere() {
    let config = config("sh", &["-c", "exec sleep 600"], LONG);
    let source = CommandSource::open(&config, TokioClock::new()).unwrap();
    let id = source.child.id().expect("it runs");
    let said = std::fs::read_link(format!("/proc/{id}/fd/2")).unwrap();
    assert_eq!(said, Path::new("/dev/null"));
}
