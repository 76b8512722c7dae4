//! The RTSP source against a camera that behaves, and against one that does not.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crashtest_players::{Film, Player, Want, decode, read};
use hub::camera::address::Password;
use hub::camera::clock::Sleep;
use hub::camera::demux::Clip;
use hub::camera::rtsp::{AudioWish, RtspConfig, RtspSource};
use hub::camera::{
    AccessUnit, CameraAddress, CameraError, CameraErrorKind, Clock, Login, Secret, Source,
    SourceItem, TokioClock, VideoCodec, VideoTrack,
};
use hub::media::{AudioUnit, Tracks};
use hub::segmenter::{Pace, Segmenter};
use test_camera::{
    AUDIO_FRAME_SAMPLES, AUDIO_RATE, Config, LoginKind, Microphone, Mood, PASSWORD, Picture, Scene,
    Sound, TestCamera, USER,
};

/// More than any of these steps takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ticks a second of RTP.
const RTP_RATE: u64 = 90_000;
/// How far from its place sound may be heard, in seconds.
const APART_MAX: f64 = 0.1;

fn testdata(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name);
    std::fs::read(path).expect("the clip is committed")
}

fn nals(mut data: &[u8]) -> Vec<Bytes> {
    let mut nals = Vec::new();
    while let Some((length, behind)) = data.split_first_chunk::<4>() {
        let (nal, behind) = behind.split_at(u32::from_be_bytes(*length) as usize);
        nals.push(Bytes::copy_from_slice(nal));
        data = behind;
    }
    nals
}

/// A clip as a camera plays it.
fn scene(name: &str) -> Scene {
    let file = testdata(name);
    let clip = Clip::read(&file[..]).expect("a sound clip");
    let VideoCodec::H264(avc) = &clip.track.codec else {
        panic!("it is H.264");
    };
    let timescale = u64::from(clip.track.timescale.get());
    let ticks = |time: u64| time * RTP_RATE / timescale;
    let mut dts = 0;
    let pictures = clip.samples.iter().map(|sample| {
        let start = sample.offset as usize;
        let shown = dts + i64::from(sample.composition_offset);
        let picture = Picture {
            nals: nals(&file[start..start + sample.bytes as usize]),
            pts: ticks(u64::try_from(shown).expect("no offset below zero")),
            dts: ticks(dts as u64),
        };
        dts += i64::from(sample.duration);
        picture
    });
    let pictures = pictures.collect();
    Scene {
        vps: None,
        sps: avc.sequence_parameter_sets().next().expect("one"),
        pps: avc.picture_parameter_sets().next().expect("one"),
        pictures,
        duration: ticks(clip.duration_ticks()),
    }
}

fn config(login: LoginKind, sound: Sound, clip: &str) -> Config {
    Config {
        login,
        sound,
        scene: scene(clip),
        speed: 10,
    }
}

async fn camera(login: LoginKind, sound: Sound, clip: &str) -> TestCamera {
    let started = TestCamera::start(config(login, sound, clip)).await;
    started.expect("it starts")
}

fn reader(camera: &TestCamera, password: Option<&str>) -> RtspConfig {
    RtspConfig {
        address: CameraAddress::parse(&camera.url()).expect("an address"),
        login: password.map(|password| Login {
            user: USER.into(),
            password: Password::Given(Secret::new(password.into())),
        }),
        audio: AudioWish::IfSupported,
        stall: PATIENCE,
    }
}

type Reader = RtspSource<TokioClock>;

async fn open(config: &RtspConfig) -> Result<Reader, CameraError> {
    RtspSource::open(config, TokioClock::new()).await
}

/// The next item.
async fn item<C: Clock>(source: &mut RtspSource<C>) -> Result<Option<SourceItem>, CameraError> {
    let next = tokio::time::timeout(PATIENCE, source.next_item());
    next.await.expect("something comes")
}

async fn format(source: &mut Reader) -> Tracks {
    loop {
        match item(source).await {
            Ok(Some(SourceItem::Format(format))) => return format,
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The next pictures, whatever else comes.
async fn pictures(source: &mut Reader, count: usize) -> Vec<AccessUnit> {
    let mut units = Vec::new();
    while units.len() < count {
        match item(source).await {
            Ok(Some(SourceItem::Video(unit))) => units.push(unit),
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    units
}

/// The clip or the live stream of these pictures as the hub makes it, and what it should be by their times.
fn film(name: &str, pace: Pace, video: &Arc<VideoTrack>, pictures: &[AccessUnit]) -> Film {
    let tracks = Tracks::silent(Arc::clone(video));
    let mime = tracks.mime();
    let mut segmenter = Segmenter::with_tracks(tracks, pace);
    let mut chunks = Vec::new();
    for picture in pictures {
        let ready = segmenter.handle_unit(picture.clone());
        chunks.extend(ready.expect("a sound picture"));
    }
    chunks.extend(segmenter.finish());
    let rate = u64::from(video.timescale.get());
    let time = |ticks: u64| Duration::from_nanos(ticks * 1_000_000_000 / rate);
    let gaps = pictures.windows(2).map(|pair| pair[1].dts - pair[0].dts);
    let gaps: Vec<u64> = gaps.collect();
    // The last picture is shown for as long as the one before it.
    let lasts = gaps.iter().sum::<u64>() + gaps.last().expect("two pictures");
    Film {
        name: format!("{name} ({pace:?})"),
        bytes: chunks.iter().flat_map(|chunk| chunk.data.clone()).collect(),
        mime,
        want: Want {
            pictures: pictures.len(),
            lasts: time(lasts),
            picture: time(*gaps.iter().max().expect("two pictures")),
            sound: None,
        },
    }
}

/// Shows the players a clip and a live stream of each of these. No browser: it may know nothing of H.265.
fn show(test: &str, video: &Arc<VideoTrack>, films: &[(&str, &[AccessUnit])]) {
    let is_ffmpeg_here = Player::Ffmpeg.is_here(test);
    for (name, pictures) in films {
        for pace in [Pace::Clip, Pace::Live] {
            let film = film(name, pace, video, pictures);
            let seen = read(&film).unwrap();
            assert_eq!(seen.holes, 0, "{}", film.name);
            if is_ffmpeg_here {
                decode(&film).unwrap();
            }
        }
    }
}

/// A frame of sound.
struct Heard {
    number: u32,
    /// How much later it is heard than it was made, as against the pictures, in seconds.
    late: f64,
    unit: AudioUnit,
}

/// Listens from the first picture of the scene to the frame of that number.
async fn listen<C: Clock>(
    source: &mut RtspSource<C>,
    microphone: Microphone,
    last: u32,
) -> Vec<Heard> {
    let rate = f64::from(AUDIO_RATE);
    let seconds = |ticks: u64| ticks as f64 / RTP_RATE as f64;
    let own_rate = rate * (1.0 + f64::from(microphone.fast_ppm) / 1e6);
    let mut first_picture: Option<f64> = None;
    let mut heard = Vec::new();
    loop {
        match item(source).await {
            Ok(Some(SourceItem::Video(unit))) => {
                first_picture.get_or_insert(seconds(unit.dts));
            }
            Ok(Some(SourceItem::Audio(unit))) => {
                let number: [u8; 4] = unit.data[..].try_into().expect("four bytes");
                let number = u32::from_be_bytes(number);
                let made = f64::from(number * AUDIO_FRAME_SAMPLES) / own_rate;
                let made = first_picture.expect("a picture") + seconds(microphone.begins) + made;
                heard.push(Heard {
                    number,
                    late: unit.pts as f64 / rate - made,
                    unit,
                });
                if number >= last {
                    return heard;
                }
            }
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Reads until it fails.
async fn failure(source: &mut Reader) -> CameraError {
    loop {
        match item(source).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a camera has no end"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn every_login_shows_the_pictures_as_they_are() {
    for login in [LoginKind::Open, LoginKind::Basic, LoginKind::Digest] {
        let camera = camera(login, Sound::None, "people-20s.mp4").await;
        let password = (login != LoginKind::Open).then_some(PASSWORD);
        let mut source = open(&reader(&camera, password)).await.expect("it opens");
        let Ok(Some(SourceItem::Format(format))) = item(&mut source).await else {
            panic!("the format is first");
        };
        assert_eq!(format.audio, None);
        let track = &format.video;
        assert_eq!((track.width.get(), track.height.get()), (768, 576));
        assert!(track.codec.codec_string().starts_with("avc1."));
        let units = pictures(&mut source, 30).await;
        assert!(units[0].is_sync);
        for (unit, sent) in units.iter().zip(scene("people-20s.mp4").pictures) {
            assert_eq!(nals(&unit.data), sent.nals);
            assert_eq!(unit.composition_offset, 0);
            assert_eq!(unit.dts - units[0].dts, sent.dts, "times are the camera's");
        }
        assert_eq!(camera.refused(), 0);
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_said_clearly() {
    for login in [LoginKind::Basic, LoginKind::Digest] {
        let camera = camera(login, Sound::None, "people-20s.mp4").await;
        let error = open(&reader(&camera, Some("guess")))
            .await
            .err()
            .expect("refused");
        assert_eq!(error.kind(), CameraErrorKind::Login);
        assert!(matches!(error, CameraError::LoginRefused { .. }), "{error}");
        let text = error.to_string();
        assert!(!text.contains("guess") && !text.contains('\n'), "{text}");
        assert_eq!(camera.refused(), 1);

        let error = open(&reader(&camera, None)).await.err().expect("refused");
        assert!(matches!(error, CameraError::LoginMissing { .. }), "{error}");
    }
}

#[tokio::test]
async fn sound_comes_with_its_parameters_and_in_time() {
    let camera = camera(LoginKind::Digest, Sound::Aac, "people-20s.mp4").await;
    let config = reader(&camera, Some(PASSWORD));
    let mut source = open(&config).await.expect("it opens");
    let track = format(&mut source).await.audio.expect("it has sound");
    assert_eq!(track.timescale.get(), AUDIO_RATE);
    assert_eq!(track.channels.get(), 1);
    assert_eq!(track.config.bytes()[..], test_camera::AUDIO_CONFIG);
    assert_eq!(track.config.codec_string(), "mp4a.40.2");
    let heard = listen(&mut source, Microphone::GOOD, 20).await;
    // Whatever the RTP times begin with.
    let mut late = heard.iter().map(|heard| heard.late);
    assert!(late.all(|late| late.abs() < APART_MAX));
    let frames: Vec<AudioUnit> = heard.into_iter().map(|heard| heard.unit).collect();
    for pair in frames.windows(2) {
        assert_eq!(pair[0].duration, AUDIO_FRAME_SAMPLES);
        assert_eq!(pair[1].pts - pair[0].pts, u64::from(pair[0].duration));
        assert_eq!(pair[0].data.len(), 4);
    }
    // Who does not want it does not get it.
    let silent = RtspConfig {
        audio: AudioWish::Never,
        ..config
    };
    let mut source = open(&silent).await.expect("it opens");
    assert_eq!(format(&mut source).await.audio, None);
}

/// Its clock gains in half a minute what that of a real one gains in an hour, and it begins late: only the reports say
/// so.
#[tokio::test]
async fn sound_stays_in_step_by_sender_reports() {
    let microphone = Microphone {
        fast_ppm: 5_000,
        begins: 3 * RTP_RATE,
        tells_rtptime: false,
        reports: true,
    };
    let config = Config {
        speed: 20,
        ..config(LoginKind::Open, Sound::AacOf(microphone), "people-20s.mp4")
    };
    let camera = TestCamera::start(config).await.expect("it starts");
    let mut source = open(&reader(&camera, None)).await.expect("it opens");
    let heard = listen(&mut source, microphone, 300).await;
    // After two reports of each stream, and for longer than its clock needs to be out of step again.
    for heard in heard.iter().filter(|heard| heard.number >= 24) {
        assert!(
            heard.late.abs() < APART_MAX,
            "{}: {}",
            heard.number,
            heard.late
        );
    }
    assert!(
        heard
            .windows(2)
            .all(|pair| pair[0].unit.pts < pair[1].unit.pts)
    );
}

/// The hub's clock, as fast as a camera's. It wakes nobody, so nothing is given up too early.
struct Fast {
    clock: TokioClock,
    speed: u32,
}

impl Clock for Fast {
    fn now(&self) -> Duration {
        self.clock.now() * self.speed
    }

    fn unix_ms(&self) -> u64 {
        self.clock.unix_ms()
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test]
async fn without_reports_sound_is_put_where_it_comes() {
    let microphone = Microphone {
        begins: 3 * RTP_RATE,
        tells_rtptime: false,
        ..Microphone::GOOD
    };
    let config = Config {
        speed: 4,
        ..config(LoginKind::Open, Sound::AacOf(microphone), "people-20s.mp4")
    };
    let clock = Fast {
        clock: TokioClock::new(),
        speed: config.speed,
    };
    let camera = TestCamera::start(config).await.expect("it starts");
    let mut source = RtspSource::open(&reader(&camera, None), clock)
        .await
        .expect("it opens");
    let heard = listen(&mut source, microphone, 75).await;
    assert!(heard[0].late < -2.5, "nothing says where it belongs");
    // This camera sends a frame up to 128 ms before it is over.
    for heard in heard.iter().filter(|heard| heard.number >= 60) {
        assert!(heard.late.abs() < 0.3, "{}: {}", heard.number, heard.late);
    }
}

#[tokio::test]
async fn b_frames_keep_their_times_and_players_take_them() {
    let camera = camera(LoginKind::Open, Sound::None, "bframes.mp4").await;
    let mut source = open(&reader(&camera, None)).await.expect("it opens");
    let track = format(&mut source).await.video;
    let units = pictures(&mut source, 50).await;
    let sent = scene("bframes.mp4").pictures;
    let first = units[0].pts() - sent[0].pts as i64;
    for (unit, sent) in units.iter().zip(&sent) {
        assert_eq!(unit.pts() - first, sent.pts as i64);
    }
    assert!(units.windows(2).all(|pair| pair[0].dts <= pair[1].dts));
    // From the second group on the order is known.
    assert!(units[25..].iter().all(|unit| unit.composition_offset >= 0));
    assert!(units.iter().any(|unit| unit.composition_offset > 0));
    // A clip begins with any key frame: with the first, behind which decode times stand still, or with one from which
    // on they are even.
    assert!(units[25].is_sync);
    let films = [
        ("B-frames from the first group on", &units[..]),
        ("B-frames from the second group on", &units[25..]),
    ];
    let test = "b_frames_keep_their_times_and_players_take_them";
    show(test, &track, &films);
}

#[tokio::test]
async fn a_camera_that_restarts_is_read_again() {
    let mut camera = camera(LoginKind::Digest, Sound::Aac, "people-20s.mp4").await;
    for _ in 0..5 {
        let config = reader(&camera, Some(PASSWORD));
        let mut source = open(&config).await.expect("it opens");
        pictures(&mut source, 5).await;
        let address = camera.address();
        camera.kill().await;
        let error = failure(&mut source).await;
        assert_eq!(error.kind(), CameraErrorKind::Retry, "{error}");
        assert_eq!(item(&mut source).await, Ok(None), "it is over");
        let error = open(&config).await.err().expect("nobody is there");
        assert!(matches!(error, CameraError::Unreachable { .. }), "{error}");
        let again = config_again();
        camera = TestCamera::start_at(address, again)
            .await
            .expect("it starts");
    }
}

fn config_again() -> Config {
    config(LoginKind::Digest, Sound::Aac, "people-20s.mp4")
}

#[tokio::test]
async fn a_camera_that_stalls_is_gone() {
    let camera = camera(LoginKind::Open, Sound::None, "people-20s.mp4").await;
    let config = RtspConfig {
        stall: Duration::from_millis(500),
        ..reader(&camera, None)
    };
    let mut source = open(&config).await.expect("it opens");
    pictures(&mut source, 5).await;
    camera.set_mood(Mood::Stalled);
    let error = failure(&mut source).await;
    assert!(matches!(error, CameraError::Stalled { .. }), "{error}");
    // It is asked again, and answers.
    camera.set_mood(Mood::Good);
    let mut source = open(&reader(&camera, None)).await.expect("it opens");
    pictures(&mut source, 5).await;
    assert_eq!(camera.played(), 2);
}

/// Intra refresh alone, from the beginning or from some time on: there are always pictures, so it is there, and never one
/// to begin with.
#[tokio::test]
async fn a_camera_that_sends_no_key_frame_is_said_to_send_none() {
    let keyless = {
        let mut scene = scene("people-20s.mp4");
        let has_key = |picture: &Picture| picture.nals.iter().any(|nal| nal[0] & 0x1F == 5);
        scene.pictures.retain(|picture| !has_key(picture));
        scene
    };
    for shows_first in [false, true] {
        let mut config = config(LoginKind::Open, Sound::None, "people-20s.mp4");
        if !shows_first {
            config.scene = keyless.clone();
        }
        let camera = TestCamera::start(config).await.expect("it starts");
        // A minute of it in three seconds.
        let clock = Fast {
            clock: TokioClock::new(),
            speed: 20,
        };
        let opened = RtspSource::open(&reader(&camera, None), clock).await;
        let mut source = opened.expect("it opens");
        let mut shown = 0;
        let error = loop {
            match item(&mut source).await {
                Ok(Some(SourceItem::Video(_))) => {
                    shown += 1;
                    if shown == 5 {
                        camera.play(keyless.clone());
                    }
                }
                Ok(Some(_)) => {}
                Ok(None) => panic!("a camera has no end"),
                Err(error) => break error,
            }
        };
        assert!(matches!(error, CameraError::NoKeyFrame { .. }), "{error}");
        assert_eq!(error.kind(), CameraErrorKind::Retry);
        assert_eq!(shown > 5, shows_first, "{shown} pictures");
        assert_eq!(error.missed() < Duration::from_secs(30), shows_first);
        assert_eq!(item(&mut source).await, Ok(None), "it is over");
    }
}

#[tokio::test]
async fn garbage_is_one_line() {
    // Between packets and in them.
    for mood in [Mood::Garbage, Mood::Rubbish(0)] {
        let camera = camera(LoginKind::Open, Sound::Aac, "people-20s.mp4").await;
        let mut source = open(&reader(&camera, None)).await.expect("it opens");
        pictures(&mut source, 5).await;
        camera.set_mood(mood);
        let error = failure(&mut source).await;
        assert!(matches!(error, CameraError::Protocol { .. }), "{error}");
        let text = error.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() < 500, "{text}");
    }
}

#[tokio::test]
async fn after_a_loss_the_next_picture_can_be_decoded() {
    let camera = camera(LoginKind::Open, Sound::None, "people-20s.mp4").await;
    let mut source = open(&reader(&camera, None)).await.expect("it opens");
    pictures(&mut source, 5).await;
    camera.set_mood(Mood::Lossy);
    let mut gaps = 0;
    while gaps < 2 {
        match item(&mut source).await {
            Ok(Some(SourceItem::Gap)) => {
                gaps += 1;
                let next = item(&mut source).await;
                let Ok(Some(SourceItem::Video(unit))) = next else {
                    panic!("{next:?}");
                };
                assert!(unit.is_sync);
            }
            Ok(Some(_)) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn another_resolution_is_another_format() {
    let camera = camera(LoginKind::Open, Sound::None, "people-20s.mp4").await;
    let mut source = open(&reader(&camera, None)).await.expect("it opens");
    let first = format(&mut source).await;
    pictures(&mut source, 5).await;
    camera.play(scene("odd-durations.mp4"));
    let second = format(&mut source).await;
    assert_ne!(first.video, second.video);
    assert_eq!(
        (second.video.width.get(), second.video.height.get()),
        (96, 64)
    );
    let next = item(&mut source).await;
    assert!(
        matches!(&next, Ok(Some(SourceItem::Video(unit))) if unit.is_sync),
        "{next:?}"
    );
}

#[tokio::test]
async fn h265_is_read_as_it_is_and_players_take_it_but_we_cannot_look_at_it() {
    let sent = Scene::of_byte_stream(&testdata("pattern.h265"), 10).expect("it has parameters");
    let config = Config {
        login: LoginKind::Digest,
        sound: Sound::None,
        scene: sent.clone(),
        speed: 10,
    };
    let camera = TestCamera::start(config).await.expect("it starts");
    let mut source = open(&reader(&camera, Some(PASSWORD)))
        .await
        .expect("it opens");
    let track = format(&mut source).await.video;
    assert_eq!((track.width.get(), track.height.get()), (96, 64));
    assert_eq!(track.codec.name(), "H.265");
    assert!(!track.codec.is_decodable());
    assert_eq!(track.codec.codec_string(), "hvc1.1.6.L30.90");
    let record = track.codec.record();
    for set in [sent.vps.as_ref().expect("one"), &sent.sps, &sent.pps] {
        assert!(record.windows(set.len()).any(|window| window == set));
    }
    // One pass and a half.
    let units = pictures(&mut source, 15).await;
    for (unit, sent) in units.iter().zip(sent.pictures.iter().cycle()) {
        assert_eq!(nals(&unit.data), sent.nals);
    }
    let keys: Vec<usize> = (0..15).filter(|at| units[*at].is_sync).collect();
    assert_eq!(keys, [0, 10]);
    assert!(
        units
            .windows(2)
            .all(|pair| pair[1].dts - pair[0].dts == 9_000)
    );
    let test = "h265_is_read_as_it_is_and_players_take_it_but_we_cannot_look_at_it";
    show(test, &track, &[("H.265", &units[..])]);
}

#[tokio::test]
async fn a_path_that_is_not_there_is_named_and_a_password_is_not() {
    let camera = camera(LoginKind::Digest, Sound::None, "people-20s.mp4").await;
    let address = camera.url().replace("/cam", "/other");
    let config = RtspConfig {
        address: CameraAddress::parse(&address).expect("an address"),
        ..reader(&camera, Some(PASSWORD))
    };
    let error = open(&config).await.err().expect("it is not there");
    assert!(
        matches!(error, CameraError::NoSuchStream { status: 404, .. }),
        "{error}"
    );
    for text in [error.to_string(), format!("{error:?} {config:?}")] {
        assert!(!text.contains(PASSWORD), "{text}");
    }
    assert!(error.to_string().contains("/other"), "{error}");
}
