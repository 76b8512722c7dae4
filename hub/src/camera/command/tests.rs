//! A real clip as a byte stream, and programs that write it, write nothing, or do not exist; and the one that README.md
//! gives, an encoder, where that is installed.

use crashtest_players::{Film, Player, Want, decode, read};

use super::*;
use crate::camera::demux::Clip;
use crate::camera::{CameraErrorKind, TokioClock};
use crate::segmenter::{Pace, Segmenter};

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

/// Nothing can be begun with them, but whoever sends them is there.
#[test]
fn pictures_that_wait_for_a_key_frame_are_noticed() {
    let (stream, clip, _pictures) = stream();
    let begins: [u8; 6] = [0, 0, 0, 1, 9, 0xF0];
    let starts = stream.windows(begins.len()).enumerate();
    let starts = starts.filter(|(_, bytes)| *bytes == begins);
    let starts: Vec<usize> = starts.map(|(at, _)| at).collect();
    assert!(clip.samples[0].is_sync && !clip.samples[1..4].iter().any(|one| one.is_sync));
    let mut reader = Reader::new("program".into(), Duration::ZERO);
    let mut read = |bytes: &[u8]| {
        let items = reader.handle_bytes(bytes, Duration::from_secs(1), 0);
        (items.unwrap().len(), reader.has_left_out)
    };
    assert_eq!(read(&stream[starts[1]..starts[4]]), (0, true));
    assert_eq!(read(&[]), (0, false));
    // The one before it is whole now, and so is that; a format comes first.
    assert_eq!(read(&stream[..starts[1]]), (0, true));
    assert_eq!(read(&stream[starts[1]..starts[2]]), (2, false));
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

/// What FFmpeg draws in the place of a USB camera, with colours as such cameras have them.
const DRAWN: &str = "testsrc2=size=320x240:rate=25,format=yuyv422";
/// Its pictures a second.
const DRAWN_RATE: u64 = 25;

/// The arguments of FFmpeg that README.md gives for a USB camera.
fn usb_camera() -> Vec<String> {
    let readme = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let (_, behind) = readme
        .split_once("`program = \"ffmpeg\"`, `arguments = ")
        .unwrap();
    let (arguments, _) = behind.split_once('`').unwrap();
    serde_json::from_str(arguments).unwrap()
}

/// The clip of these pictures, by the hub's segmenter and muxer, and what it should be.
fn film(tracks: &Tracks, pictures: &[AccessUnit]) -> Film {
    let mut segmenter = Segmenter::with_tracks(tracks.clone(), Pace::Clip);
    let mut chunks = Vec::new();
    for picture in pictures {
        chunks.extend(segmenter.handle_unit(picture.clone()).unwrap());
    }
    chunks.extend(segmenter.finish());
    let gaps = pictures.windows(2).map(|pair| pair[1].dts - pair[0].dts);
    let mut gaps: Vec<u64> = gaps.collect();
    // The last picture is shown for as long as the one before it.
    gaps.extend(gaps.last().copied());
    let time =
        |ticks: u64| Duration::from_nanos(ticks * 1_000_000_000 / u64::from(TIMESCALE.get()));
    Film {
        name: "a program's clip".to_owned(),
        bytes: chunks.iter().flat_map(|chunk| chunk.data.clone()).collect(),
        mime: tracks.mime(),
        want: Want {
            pictures: pictures.len(),
            lasts: time(gaps.iter().sum()),
            picture: time(gaps.iter().copied().max().unwrap()),
            sound: None,
        },
    }
}

/// Two seconds of an encoder that cuts its pictures into slices, and is given colours that few decoders would take.
#[tokio::test]
async fn the_encoder_that_readme_gives_is_recorded_without_a_gap_and_can_be_decoded() {
    let test = "the_encoder_that_readme_gives_is_recorded_without_a_gap_and_can_be_decoded";
    if !Player::Ffmpeg.is_here(test) {
        return;
    }
    let words = usb_camera();
    let arguments = words.iter().flat_map(|word| match word.as_str() {
        "v4l2" => vec!["lavfi", "-re"],
        "/dev/video0" => vec![DRAWN, "-frames:v", "51"],
        word => vec![word],
    });
    let arguments: Vec<&str> = arguments.collect();
    assert!(arguments.contains(&"lavfi") && arguments.contains(&DRAWN));
    let config = config("ffmpeg", &arguments, LONG);
    let mut source = CommandSource::open(&config, TokioClock::new()).unwrap();
    let Ok(Some(SourceItem::Format(tracks))) = source.next_item().await else {
        panic!("the format is first");
    };
    let mut pictures = Vec::new();
    let error = loop {
        match source.next_item().await {
            Ok(Some(SourceItem::Video(unit))) => pictures.push(unit),
            Err(error) => break error,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(error, CameraError::Ended { .. }), "{error}");
    // All but the last, which has no end.
    assert_eq!(pictures.len(), 50);
    let video = &tracks.video;
    assert_eq!((video.width.get(), video.height.get()), (320, 240));
    // Constrained Baseline.
    let codec = video.codec.codec_string();
    assert!(codec.starts_with("avc1.42"), "{codec}");
    let seen = read(&film(&tracks, &pictures)).unwrap();
    assert_eq!(seen.holes, 0);

    // When a picture came is this machine's matter; they were drawn evenly.
    for (number, picture) in (0_u64..).zip(&mut pictures) {
        picture.dts = number * u64::from(TIMESCALE.get()) / DRAWN_RATE;
    }
    let film = film(&tracks, &pictures);
    assert_eq!(film.want.lasts, Duration::from_secs(2));
    decode(&film).unwrap();
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
