//! What cameras say to a hub: the output of a program, frames out of RTP, codec parameters, and the address that
//! somebody has pasted.
//!
//! What a source hands out is a promise to everything behind it: a format first, a key frame behind it and behind a gap,
//! times that never fall. So each run records what was handed out, and reads that again.

use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hub::camera::command::Reader;
use hub::camera::demux::Clip;
use hub::camera::rtsp::assembly::{Assembly, Frame};
use hub::camera::rtsp::sync::{LipSync, Stream};
use hub::camera::{
    AvcConfig, CameraAddress, CameraError, HEVC_CONFIG_BYTES_MAX, HevcConfig, SourceItem,
    TIMESCALE_MAX, VideoCodec, VideoTrack,
};
use hub::fmp4;
use hub::media::{AAC_CONFIG_BYTES, AacConfig, AudioTrack, Tracks};
use hub::segmenter::{ClipChunk, Segmenter, SegmenterError};

use crate::input::Input;
use crate::media::{AVC_RECORD, whole};

/// Most frames of one run.
const FRAMES_MAX: usize = 256;
/// When everything comes.
const NOW_MS: u64 = 1_800_000_000_000;
/// A password that no address has by chance.
const PASSWORD: &str = "Zq7Kx9Wv";
/// The least record of H.265 (ISO/IEC 14496-15, 8.3.3.1): main profile, level 3.1, no parameter sets.
pub(crate) const HEVC_RECORD: [u8; 23] = [
    1, 0x01, 0x60, 0, 0, 0, 0xB0, 0, 0, 0, 0, 0, 93, 0xF0, 0, 0xFC, 0xFD, 0xF8, 0xF8, 0, 0, 0x0F, 0,
];

/// The output of a program, which may be anything: the same pictures however its bytes come, and no more bytes than
/// there were.
pub(crate) fn command_stream(data: &[u8]) {
    let mut input = Input::new(data);
    let piece = usize::from(input.byte()) + 1;
    let stream = input.rest();
    let (whole, ended) = read(stream, stream.len().max(1));
    let (pieces, ended_in_pieces) = read(stream, piece);
    assert_eq!(ended, ended_in_pieces);
    match ended {
        None => assert_eq!(whole, pieces),
        Some(error) => assert!(!error.to_string().contains('\n'), "{error}"),
    }
    let mut bytes = 0;
    let mut last = None;
    let mut handed_out = HandedOut::default();
    for item in &pieces {
        if let SourceItem::Video(unit) = item {
            assert!(last.is_none_or(|last| last < unit.dts), "times stand still");
            last = Some(unit.dts);
            bytes += unit.data.len();
            nal_units(&unit.data);
        }
        let recorded = handed_out.take(item);
        assert_eq!(recorded, Ok(()), "a program's picture is refused");
    }
    // Three bytes of start code became four of length, before one byte at least.
    assert!(bytes * 4 <= stream.len() * 5, "more bytes than there were");
    handed_out.finish();
}

/// What a reader makes of a stream that comes in pieces of so many bytes, all in one moment.
fn read(stream: &[u8], piece: usize) -> (Vec<SourceItem>, Option<CameraError>) {
    let mut reader = Reader::new("camera".into(), Duration::ZERO);
    let mut items = Vec::new();
    for bytes in stream.chunks(piece) {
        match reader.handle_bytes(bytes, Duration::ZERO, NOW_MS) {
            Ok(more) => items.extend(more),
            Err(error) => return (items, Some(error)),
        }
    }
    (items, None)
}

/// A picture is NAL units behind their lengths, to its end.
fn nal_units(mut rest: &[u8]) {
    while let Some((length, behind)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        assert!(length > 0, "an empty NAL unit");
        rest = behind
            .get(length..)
            .expect("a NAL unit ends in its picture");
    }
    assert!(rest.is_empty(), "bytes behind the last NAL unit");
}

/// Times of any kind of both streams and their sender reports: the times of sound rise, but where what was heard had a wrong one, by
/// more than a minute; and one doubt of a camera is told.
pub(crate) fn rtsp_times(data: &[u8]) {
    let mut input = Input::new(data);
    let rate = |input: &mut Input<'_>| {
        let rate = (input.number() % u64::from(TIMESCALE_MAX)) as u32;
        NonZeroU32::new(rate).unwrap_or(NonZeroU32::MIN)
    };
    let (of_pictures, of_sound) = (rate(&mut input), rate(&mut input));
    let behind_max = 60 * i64::from(of_sound.get());
    let mut lip_sync = LipSync::default();
    let mut now = Duration::ZERO;
    let (mut pictures, mut sound) = (0_i64, 0_i64);
    let (mut last, mut is_doubted) = (None, false);
    for _ in 0..FRAMES_MAX {
        if input.is_empty() {
            return;
        }
        let flags = input.byte();
        now += Duration::from_millis(u64::from(input.byte()) << (flags >> 5));
        let elapsed = match flags & 1 == 0 {
            true => &mut pictures,
            false => &mut sound,
        };
        *elapsed = match flags & 2 == 0 {
            true => elapsed.saturating_add(i64::from(input.word() as u16 as i16)),
            false => input.number() as i64,
        };
        match (flags & 1 == 0, flags & 4 == 0) {
            (true, true) => lip_sync.handle_picture(now, pictures, of_pictures),
            (false, true) => {
                let duration = input.word() as u32;
                let placed = lip_sync.handle_sound(now, sound, duration, of_sound);
                if let Some(placed) = placed {
                    let back = last.map_or(-1, |last: i64| last.saturating_sub(placed));
                    assert!(!(0..=behind_max).contains(&back), "the times of sound fall");
                    last = Some(placed);
                }
            }
            (is_video, false) => {
                let (stream, rate) = match is_video {
                    true => (Stream::Pictures, of_pictures),
                    false => (Stream::Sound, of_sound),
                };
                let elapsed = if is_video { pictures } else { sound };
                let doubt = lip_sync.handle_report(now, stream, input.number(), elapsed, rate);
                if let Some(doubt) = doubt {
                    assert!(!std::mem::replace(&mut is_doubted, true), "told twice");
                    assert!(!doubt.to_string().contains('\n'), "{doubt}");
                }
            }
        }
    }
}

/// Frames as an RTSP camera's stream is taken apart into them: any times, any losses, other parameters at any place.
pub(crate) fn rtsp_frames(data: &[u8]) {
    let mut input = Input::new(data);
    let timescale = NonZeroU32::new((input.number() % u64::from(TIMESCALE_MAX)) as u32);
    let timescale = timescale.unwrap_or(NonZeroU32::MIN);
    let mut assembly = Assembly::new("camera".into(), None);
    let mut handed_out = HandedOut::default();
    let (mut elapsed, mut lost) = (0_i64, false);
    // How far presentation times and times since PLAY are apart: always as far.
    let mut origin = None;
    for _ in 0..FRAMES_MAX {
        if input.is_empty() {
            break;
        }
        let flags = input.byte();
        elapsed = match flags & 3 {
            0 => input.number() as i64,
            _ => elapsed.wrapping_add(i64::from(input.byte() as i8) << (flags >> 4)),
        };
        let new_track = (flags & 4 != 0).then(|| track(&mut input, timescale));
        lost |= flags & 8 != 0;
        let frame = Frame {
            new_track,
            elapsed,
            is_sync: input.flag(),
            is_after_loss: flags & 8 != 0,
            received_unix_ms: NOW_MS,
            data: picture(&mut input),
        };
        let bytes = frame.data.clone();
        let items = match assembly.handle_frame(frame) {
            Ok(items) => items,
            Err(error) => {
                assert!(matches!(error, CameraError::Protocol { .. }), "{error}");
                assert!(!error.to_string().contains('\n'), "{error}");
                break;
            }
        };
        assert!(items.len() <= 2);
        for item in &items {
            match item {
                SourceItem::Gap => assert!(lost, "a gap where nothing was lost"),
                SourceItem::Format(tracks) => assert_eq!(tracks.video.timescale, timescale),
                SourceItem::Video(unit) => {
                    assert_eq!(unit.data, bytes, "a picture's bytes were touched");
                    let apart = unit.pts().wrapping_sub(elapsed);
                    assert_eq!(*origin.get_or_insert(apart), apart, "a picture was moved");
                    lost = false;
                }
                SourceItem::Audio(_) => panic!("sound of pictures"),
            }
            // Nobody can be recorded whose times are believed and yet a minute apart.
            if let Err(error) = handed_out.take(item) {
                assert!(matches!(error, SegmenterError::TooLong { .. }), "{error}");
                return;
            }
        }
    }
    handed_out.finish();
}

/// Codec parameters: those of one of few cameras.
fn track(input: &mut Input<'_>, timescale: NonZeroU32) -> VideoTrack {
    let which = input.byte();
    let avc = || AvcConfig::parse(&AVC_RECORD).expect("the smallest record is one");
    let hevc = || HevcConfig::parse(&HEVC_RECORD).expect("the smallest record is one");
    VideoTrack {
        timescale,
        width: NonZeroU16::MIN.saturating_add(u16::from(which & 3)),
        height: NonZeroU16::MIN,
        codec: match which & 4 {
            0 => VideoCodec::H264(avc()),
            _ => VideoCodec::H265(hevc()),
        },
    }
}

/// One NAL unit of any kind, more often than luck would have it, or any bytes.
fn picture(input: &mut Input<'_>) -> Bytes {
    match input.byte() {
        255 => Bytes::copy_from_slice(input.bytes()),
        kind => Bytes::copy_from_slice(&[0, 0, 0, 2, kind, 0x80]),
    }
}

/// What a source has handed out, recorded from each format on.
#[derive(Default)]
struct HandedOut {
    recording: Option<Recording>,
    /// The next picture must be one with which decoding can begin.
    wants_key: bool,
    last_dts: u64,
}

struct Recording {
    track: Arc<VideoTrack>,
    segmenter: Segmenter,
    chunks: Vec<ClipChunk>,
    pictures: usize,
}

impl HandedOut {
    /// Takes the next item; the error is the segmenter's.
    fn take(&mut self, item: &SourceItem) -> Result<(), SegmenterError> {
        match item {
            SourceItem::Format(tracks) => {
                self.finish();
                let track = Arc::clone(&tracks.video);
                self.wants_key = true;
                self.recording = Some(Recording {
                    segmenter: Segmenter::new(Arc::clone(&track)),
                    track,
                    chunks: Vec::new(),
                    pictures: 0,
                });
            }
            SourceItem::Gap => self.wants_key = true,
            SourceItem::Video(unit) => {
                let recording = self.recording.as_mut();
                let recording = recording.expect("a format comes before all pictures");
                assert!(unit.is_sync || !self.wants_key, "no key frame here");
                self.wants_key = false;
                assert!(unit.dts >= self.last_dts, "a decode time falls");
                self.last_dts = unit.dts;
                recording
                    .chunks
                    .extend(recording.segmenter.handle_unit(unit.clone())?);
                recording.pictures += 1;
            }
            SourceItem::Audio(_) => {}
        }
        Ok(())
    }

    /// Ends what is recorded and reads it again.
    fn finish(&mut self) {
        let Some(mut recording) = self.recording.take() else {
            return;
        };
        recording.chunks.extend(recording.segmenter.finish());
        let bytes = whole(&recording.chunks);
        // Our reader is one of H.264 alone.
        if recording.pictures == 0 || !matches!(recording.track.codec, VideoCodec::H264(_)) {
            return;
        }
        let clip = Clip::read(bytes.as_slice()).expect("what was handed out can be read");
        assert_eq!(clip.track, *recording.track);
        assert_eq!(clip.samples.len(), recording.pictures);
    }
}

/// Codec parameters that a camera's description brings: carried byte for byte, into boxes that have their length and a
/// name that stands between quotation marks.
pub(crate) fn codec_configs(data: &[u8]) {
    let hevc = match HevcConfig::parse(data) {
        Ok(config) => {
            assert!(data.len() <= HEVC_CONFIG_BYTES_MAX);
            assert_eq!(&config.record()[..], data);
            Some(VideoCodec::H265(config))
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    };
    let avc = AvcConfig::parse(data).ok().map(VideoCodec::H264);
    let aac = AacConfig::new(data);
    let (min, max) = AAC_CONFIG_BYTES;
    assert_eq!(aac.is_some(), (min..=max).contains(&data.len()));
    let audio = aac.map(|config| {
        assert_eq!(&config.bytes()[..], data);
        let timescale = NonZeroU32::new(48_000).expect("it is not zero");
        let channels = NonZeroU8::MIN;
        Arc::new(AudioTrack {
            timescale,
            channels,
            config,
        })
    });
    for codec in hevc.into_iter().chain(avc) {
        let video = Arc::new(VideoTrack {
            timescale: NonZeroU32::MIN,
            width: NonZeroU16::MIN,
            height: NonZeroU16::MIN,
            codec,
        });
        let segment = fmp4::init_segment(&video, 0);
        let record = video.codec.record();
        assert!(segment.len() <= record.len() + 2048);
        let holds = |bytes: &[u8]| segment.windows(bytes.len()).any(|window| window == bytes);
        let length = (record.len() as u32 + 8).to_be_bytes();
        let inside = [&length[..], &video.codec.record_box()[..], &record[..]];
        assert!(holds(&inside.concat()), "the record is not in its box");
        let audio = audio.clone();
        let mime = Tracks { video, audio }.mime();
        assert!(mime.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(mime.matches('"').count(), 2, "{mime}");
        assert!(mime.len() <= 128, "{mime}");
    }
}

/// Addresses as people paste them. Whatever stands around a password, nothing that is shown has it.
pub(crate) fn camera_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let with_login = CameraAddress::parse_with_login(text);
    let is_whole = matches!(with_login, Ok((_, None)));
    assert_eq!(CameraAddress::parse(text).is_ok(), is_whole);
    if let Ok((address, _)) = with_login {
        let shown = address.to_string();
        assert!(shown.starts_with("rtsp://"), "{shown}");
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        assert_eq!(format!("{address:?}"), shown);
        assert!(!address.host_and_port().0.is_empty());
    }
    // Tabs and ends of lines are passed over in an address, so the password may not come together of parts either.
    let plain: String = text.chars().filter(|char| !char.is_control()).collect();
    if plain.contains(PASSWORD) {
        return;
    }
    let (user, rest) = text.split_once(' ').unwrap_or(("", text));
    let secret = format!("rtsp://{user}:{PASSWORD}@{rest}");
    let parsed = CameraAddress::parse_with_login(&secret);
    let shown = match &parsed {
        Ok((address, login)) => format!("{address} {address:?} {login:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(PASSWORD), "a password is shown: {shown}");
}
