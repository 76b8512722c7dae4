//! Inputs about cameras: what they send, what is set at them, where they are.

use hub::camera::VideoCodec;
use hub::camera::demux::Clip;
use journal::message::{self, CameraSettings, QuietSetting};

use super::{Seed, programs, texts};
use crate::camera::HEVC_RECORD;
use crate::media::AVC_RECORD;
use crate::motion::CLIP;

/// Pictures of a sound clip that are enough to begin with.
const PICTURES: usize = 6;
/// What stands before each NAL unit in a byte stream.
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// A stream that comes in pieces of 256 bytes, one that comes byte by byte, and one that has no pictures.
pub(super) fn command_streams() -> Vec<Seed> {
    let stream = byte_stream();
    let whole = [&[255][..], stream.as_slice()].concat();
    let bytes = [&[0][..], stream.get(..300).unwrap_or(&stream)].concat();
    programs(&[&whole, &bytes, b"\x07no H.264"])
}

/// The first pictures of a sound clip as a program writes them, parameter sets before each key frame.
fn byte_stream() -> Vec<u8> {
    let clip = Clip::read(CLIP).expect("the committed clip can be read");
    let VideoCodec::H264(avc) = &clip.track.codec else {
        panic!("the committed clip is one of H.264");
    };
    let mut stream = Vec::new();
    let mut nal = |bytes: &[u8]| {
        stream.extend_from_slice(&START_CODE);
        stream.extend_from_slice(bytes);
    };
    for sample in clip.samples.iter().take(PICTURES) {
        if sample.is_sync {
            let sets = avc.sequence_parameter_sets();
            sets.chain(avc.picture_parameter_sets())
                .for_each(|set| nal(&set));
        }
        let start = usize::try_from(sample.offset).expect("it lies inside the file");
        let mut rest = &CLIP[start..start + sample.bytes as usize];
        while let Some((length, behind)) = rest.split_first_chunk::<4>() {
            let (unit, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
            nal(unit);
            rest = behind;
        }
    }
    nal(&[9, 0xF0]);
    stream
}

/// A key frame and pictures 40 ms apart; a loss and the key frame behind it; other parameters in the middle; a time that
/// jumps.
pub(super) fn rtsp_frames() -> Vec<Seed> {
    let key: &[u8] = &[0x55, 112, 0, 1, 0x65];
    let picture: &[u8] = &[0x51, 112, 0, 0x41];
    let lost: &[u8] = &[0x59, 112, 0, 0x41];
    let other: &[u8] = &[0x55, 112, 1, 1, 0x65];
    let hevc: &[u8] = &[0x55, 112, 4, 1, 0x26];
    let jump: &[u8] = &[0x50, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x41];
    let runs: [&[&[u8]]; 4] = [
        &[key, picture, picture, key, picture],
        &[key, lost, picture, key, picture],
        &[key, picture, other, picture, hevc],
        &[key, picture, jump],
    ];
    let timescale = 90_000_u64.to_be_bytes();
    let run = |frames: &&[&[u8]]| [&timescale[..], frames.concat().as_slice()].concat();
    let all: Vec<Vec<u8>> = runs.iter().map(run).collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// A second of pictures and sound with a report of each, one without a clock, and times that jump.
pub(super) fn rtsp_times() -> Vec<Seed> {
    let rates = [90_000_u64.to_be_bytes(), 48_000_u64.to_be_bytes()].concat();
    // Forty milliseconds, and a piece of sound of 1,024 ticks.
    let picture: &[u8] = &[0, 20, 0x0E, 0x10];
    let sound: &[u8] = &[1, 20, 4, 0, 4, 0];
    let report =
        |is_sound: u8, ntp: u64| [&[4 | is_sound, 1, 0, 0][..], &ntp.to_be_bytes()].concat();
    let (of_pictures, of_sound) = (
        report(0, 0xEB00_0000_0000_0000),
        report(1, 0xEB00_0000_1000_0000),
    );
    let (untimed, jumped) = (report(0, 0), report(1, 0xEC00_0000_0000_0000));
    let far = [&[3, 1][..], &i64::MAX.to_be_bytes(), &[4, 0]].concat();
    let runs: [Vec<u8>; 3] = [
        [
            &[picture, sound].concat().repeat(12)[..],
            &of_pictures,
            &of_sound,
            picture,
            sound,
        ]
        .concat(),
        [
            picture,
            sound,
            &untimed,
            &of_pictures,
            &of_sound,
            &jumped,
            sound,
            &jumped,
        ]
        .concat(),
        [picture, sound, &far, sound, picture, sound].concat(),
    ];
    let all: Vec<Vec<u8>> = runs.iter().map(|run| [&rates[..], run].concat()).collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// A record of each codec, and a configuration of AAC.
pub(super) fn codec_configs() -> Vec<Seed> {
    programs(&[&HEVC_RECORD, &AVC_RECORD, &[0x12, 0x10], &[0xF8, 0xE0]])
}

pub(super) fn addresses() -> Vec<Seed> {
    texts(&[
        "rtsp://192.168.1.20/stream1",
        "rtsp://hub:word@cam.lan:8554/user=admin_password=word_channel=1.sdp?auth=word",
        "admin cam.lan/h264/ch1/main",
        "rtsp://[::1]:554/",
    ])
}

/// Settings as they come in a command, and some that are made of choices; then a scene in which something goes by.
pub(super) fn detections() -> Vec<Seed> {
    let settings = CameraSettings {
        sensitivity: Some(80),
        masks: Some(vec![vec![(0, 0), (1000, 0), (1000, 1000), (0, 1000)]]),
        quiet: Some(QuietSetting::Never),
        ..CameraSettings::default()
    };
    let settings = message::encode(&settings).unwrap_or_default();
    let length = (settings.len() as u16).to_be_bytes();
    // 80 x 64 pixels, lines 5 bytes apart, of one grey.
    let mut scene = vec![0, 64, 0, 48, 0, 5, 90];
    for at in 0..12 {
        scene.extend([0x2B, 0, at * 6, 0, 10, 12, 20, 220, 0x2A, 90]);
    }
    let told = [&[1][..], &length, &settings, &scene].concat();
    let chosen = [&[0, 0, 2, 90][..], &scene].concat();
    programs(&[&told, &chosen])
}

/// Honest pictures, one that is cut off, one with a byte changed, one that is called a key frame and is none.
pub(super) fn decoders() -> Vec<Seed> {
    programs(&[
        &[0, 0, 0, 0, 0, 0, 1, 0, 0, 0],
        &[0, 0, 0, 0, 3, 2, 0, 40],
        &[0, 0, 0, 0, 4, 1, 0, 60, 0x10, 0, 1, 0, 0, 4, 1, 0, 20, 0xFF],
        &[0, 1, 1, 0, 0],
    ])
}
