//! Our clips and live streams as films for those who judge them, each with what went into it.
//!
//! What a film should be is counted from what the camera gave, and never from the bytes of the clip.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crashtest_players::{Film, Want};
use hub::camera::virtual_camera::{VirtualConfig, VirtualSource};
use hub::camera::{AccessUnit, Source as _, SourceItem};
use hub::media::{AacConfig, AudioTrack, AudioUnit, MediaUnit, Tracks};
use hub::segmenter::{Pace, Segmenter};
use re_mp4::{Mp4, TrackKind};

use crate::support::{JumpingClock, block_on, concatenate, demux, read, units, units_of};

/// Ticks of a track as time.
fn time(ticks: u64, timescale: u32) -> Duration {
    Duration::from_nanos(ticks * 1_000_000_000 / u64::from(timescale))
}

/// What so many pictures and so much sound should make.
fn want(tracks: &Tracks, pictures: &[AccessUnit], sound: Option<Duration>) -> Want {
    let gaps = pictures.windows(2).map(|pair| pair[1].dts - pair[0].dts);
    let gaps: Vec<u64> = gaps.collect();
    let last = pictures.last().expect("a picture");
    // Nobody says how long the last picture of a live camera is shown: as long as the one before it.
    let shown = last.duration.map(u64::from);
    let shown = shown.or(gaps.last().copied()).expect("two pictures");
    let timescale = tracks.video.timescale.get();
    let longest = gaps.iter().copied().chain([shown]).max();
    Want {
        pictures: pictures.len(),
        lasts: time(gaps.iter().sum::<u64>() + shown, timescale),
        picture: time(longest.expect("one"), timescale),
        sound,
    }
}

/// What fragments are made for. The same pieces make a film at each pace.
pub(crate) const PACES: [Pace; 2] = [Pace::Clip, Pace::Live];

/// The clip or the live stream of these pieces, by the hub's segmenter and muxer.
fn film(name: &str, pace: Pace, tracks: Tracks, pieces: Vec<MediaUnit>, want: Want) -> Film {
    let mime = tracks.mime();
    let mut segmenter = Segmenter::with_tracks(tracks, pace);
    let mut chunks = Vec::new();
    for piece in pieces {
        chunks.extend(segmenter.handle_media(piece).expect("a sound piece"));
    }
    chunks.extend(segmenter.finish());
    Film {
        name: format!("{name} ({pace:?})"),
        bytes: concatenate(&chunks),
        mime,
        want,
    }
}

fn silent(name: &str, pace: Pace, tracks: Tracks, pictures: Vec<AccessUnit>) -> Film {
    let want = want(&tracks, &pictures, None);
    let pieces = pictures.into_iter().map(MediaUnit::Video).collect();
    film(name, pace, tracks, pieces, want)
}

/// The first pictures of a committed clip, from the file camera.
pub(crate) fn of_file_camera(name: &str, pictures_max: usize, pace: Pace) -> Film {
    let mut pictures = units(name);
    pictures.truncate(pictures_max);
    let track = Arc::new(demux(&read(name)).track);
    silent(name, pace, Tracks::silent(track), pictures)
}

/// So many pictures of the virtual camera.
pub(crate) fn of_virtual_camera(pictures: usize, pace: Pace) -> Film {
    let config = VirtualConfig {
        width: 320,
        height: 240,
        ..VirtualConfig::default()
    };
    let (tracks, units) = block_on(async {
        let mut source = VirtualSource::open(config, JumpingClock::new()).expect("an encoder");
        let Ok(Some(SourceItem::Format(tracks))) = source.next_item().await else {
            panic!("the format is first");
        };
        let mut units = Vec::new();
        while units.len() < pictures {
            match source.next_item().await {
                Ok(Some(SourceItem::Video(unit))) => units.push(unit),
                other => panic!("{other:?}"),
            }
        }
        (tracks, units)
    });
    silent("the virtual camera", pace, tracks, units)
}

/// The pictures and the sound of `bframes.mp4`, which no source of ours reads, as a camera with a microphone sends them.
/// Live, a fragment is shorter than a piece of sound, so that there are some without.
pub(crate) fn with_sound_and_b_frames(pace: Pace) -> Film {
    let file = read("bframes.mp4");
    let clip = demux(&file);
    let pictures = units_of(&file, &clip);
    let mp4 = Mp4::read_bytes(&file).expect("a sound file");
    let mut theirs = mp4.tracks().values();
    let audio = theirs.find(|track| track.kind == Some(TrackKind::Audio));
    let audio = audio.expect("it has sound");
    let rate = u32::try_from(audio.timescale).expect("a rate");
    // testdata/README.md: AAC LC, 8 kHz, one channel.
    assert_eq!(rate, test_camera::AUDIO_RATE);
    let tracks = Tracks {
        video: Arc::new(clip.track),
        audio: Some(Arc::new(AudioTrack {
            timescale: rate.try_into().expect("not zero"),
            channels: std::num::NonZeroU8::MIN,
            config: AacConfig::new(&test_camera::AUDIO_CONFIG).expect("a config"),
        })),
    };
    let begins = audio.samples[0].decode_timestamp;
    let mut sound = audio
        .samples
        .iter()
        .map(|sample| AudioUnit {
            data: Bytes::copy_from_slice(&file[sample.byte_range()]),
            pts: u64::try_from(sample.decode_timestamp - begins).expect("it goes on"),
            duration: test_camera::AUDIO_FRAME_SAMPLES,
            captured_unix_ms: 0,
        })
        .peekable();
    let timescale = tracks.video.timescale.get();
    let (mut pieces, mut heard) = (Vec::new(), 0);
    for picture in &pictures {
        let now = time(picture.dts, timescale);
        while let Some(unit) = sound.next_if(|unit| time(unit.pts, rate) <= now) {
            heard += 1;
            pieces.push(MediaUnit::Audio(unit));
        }
        pieces.push(MediaUnit::Video(picture.clone()));
    }
    // The last piece waits for a successor. The last picture does not wait for it where it fills its fragment; live it
    // is alone in one, and takes the piece along.
    let left = match pace {
        Pace::Clip => 1,
        Pace::Live => 0,
    };
    let ticks = u64::from(test_camera::AUDIO_FRAME_SAMPLES) * (heard - left);
    let want = want(&tracks, &pictures, Some(time(ticks, rate)));
    film("sound and B-frames", pace, tracks, pieces, want)
}
