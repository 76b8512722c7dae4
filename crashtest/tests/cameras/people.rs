//! The clip of people walking, as what a camera sends, and what its microphone hears.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use test_camera::{Picture, Scene};

/// Pictures a second.
pub(crate) const RATE: u32 = 10;
/// How long a picture is shown.
pub(crate) const PICTURE: Duration = Duration::from_millis(1_000 / RATE as u64);
/// Sound begins with the first piece behind the first picture, and ends with the last before the end: by so much it may be
/// shorter or longer than the pictures.
pub(crate) const SOUND_SLACK: Duration = Duration::from_millis(400);
/// Ticks from one to the next.
const TICKS: u64 = 90_000 / RATE as u64;
/// Pictures in the clip.
pub(crate) const CLIP: usize = 200;

/// The clip, again and again: its bytes are left as they are.
pub(crate) fn clip() -> Scene {
    let path = crashtest::system::people_clip();
    let file = std::fs::read(path).expect("the clip is committed");
    let mp4 = re_mp4::Mp4::read_bytes(&file).expect("the clip is sound");
    let track = mp4.tracks().values().next().expect("one track");
    let sample = |sample: &re_mp4::Sample| {
        let start = sample.offset as usize;
        nals(&file[start..start + sample.size as usize])
    };
    let pictures: Vec<_> = track.samples.iter().map(sample).collect();
    assert_eq!(pictures.len(), CLIP);
    let avcc = file.windows(4).position(|four| four == b"avcC");
    let record = &file[avcc.expect("it is H.264") + 4..];
    // ISO/IEC 14496-15, 5.3.3.1: one set of each kind.
    let sps_bytes = usize::from(record[7]);
    let pps = &record[8 + sps_bytes..];
    let empty = Scene {
        vps: None,
        sps: Bytes::copy_from_slice(&record[8..8 + sps_bytes]),
        pps: Bytes::copy_from_slice(&pps[3..3 + usize::from(pps[2])]),
        pictures: Vec::new(),
        duration: 0,
    };
    showing(empty, pictures)
}

/// The sound of a clip of ours: frames of AAC as [`AUDIO_CONFIG`](test_camera::AUDIO_CONFIG) says.
pub(crate) fn sound() -> Vec<Bytes> {
    let place = "../hub/testdata/bframes.mp4";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    let file = std::fs::read(path).expect("the clip is committed");
    let mp4 = re_mp4::Mp4::read_bytes(&file).expect("the clip is sound");
    let mut tracks = mp4.tracks().values();
    let audio = tracks.find(|track| track.kind == Some(re_mp4::TrackKind::Audio));
    let frames = audio.expect("it has sound").samples.iter();
    frames
        .map(|frame| Bytes::copy_from_slice(&file[frame.byte_range()]))
        .collect()
}

/// The same parameter sets before these pictures.
pub(crate) fn showing(scene: Scene, pictures: Vec<Vec<Bytes>>) -> Scene {
    let duration = pictures.len() as u64 * TICKS;
    let timed = (0..).zip(pictures).map(|(number, nals)| Picture {
        nals,
        pts: number * TICKS,
        dts: number * TICKS,
    });
    Scene {
        pictures: timed.collect(),
        duration,
        ..scene
    }
}

/// What stands behind lengths of four bytes.
pub(crate) fn nals(mut data: &[u8]) -> Vec<Bytes> {
    let mut nals = Vec::new();
    while let Some((length, behind)) = data.split_first_chunk::<4>() {
        let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        nals.push(Bytes::copy_from_slice(nal));
        data = behind;
    }
    nals
}
