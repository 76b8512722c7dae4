//! What a camera says, passed on to whoever casts it live.
//!
//! ```text
//! a stream that is always there   TappedSource   before anybody decides what an event is
//! a clip, played in passes        Tapped         the passes are all that there is
//! ```
//!
//! It must never hold the camera up, never begin in the middle of a group of pictures, and never pass anything on
//! while nobody watches this camera, whoever watches another.

use tokio::sync::{mpsc, watch};

use super::Subject;
use crate::camera::{
    AccessUnit, Camera, CameraEvent, EventEnd, NextEvent, NextItem, Source, SourceItem,
};
use crate::core::LiveBoard;
use crate::media::{AudioUnit, MediaUnit, Tracks};

/// A piece of a camera's stream, or where that begins anew.
#[derive(Debug)]
pub(super) enum Item {
    /// From here on everything is of these tracks, and the next picture can be decoded by itself.
    Tracks(Tracks),
    /// The next piece.
    Unit(MediaUnit),
}

/// The caster's end of a camera.
#[derive(Debug)]
pub struct Tap {
    subject: Subject,
    out: mpsc::Sender<Item>,
    lives: watch::Receiver<LiveBoard>,
    tracks: Option<Tracks>,
    /// The next piece that is passed on is a key frame, behind its tracks.
    resumes: bool,
}

impl Tap {
    pub(super) fn new(
        subject: Subject,
        out: mpsc::Sender<Item>,
        lives: watch::Receiver<LiveBoard>,
    ) -> Self {
        Self {
            subject,
            out,
            lives,
            tracks: None,
            resumes: true,
        }
    }

    /// A tap to the same caster that has heard nothing yet: for a camera that is opened again. The caster goes on
    /// for as long as there is one.
    #[must_use]
    pub fn anew(&self) -> Self {
        Self::new(self.subject.clone(), self.out.clone(), self.lives.clone())
    }

    /// Whether anybody watches this camera.
    fn is_watched(&self) -> bool {
        let lives = self.lives.borrow();
        lives.values().any(|live| self.subject.is_watched_in(live))
    }

    /// Everything is of these tracks from now on.
    pub fn handle_tracks(&mut self, tracks: &Tracks) {
        self.tracks = Some(tracks.clone());
        self.resumes = true;
    }

    /// The camera's next picture.
    pub fn handle_unit(&mut self, unit: &AccessUnit) {
        let Some(tracks) = &self.tracks else {
            return;
        };
        if !self.is_watched() {
            self.resumes = true;
            return;
        }
        if self.resumes {
            if !unit.is_sync || self.out.try_send(Item::Tracks(tracks.clone())).is_err() {
                return;
            }
            self.resumes = false;
        }
        let unit = MediaUnit::Video(unit.clone());
        self.resumes = self.out.try_send(Item::Unit(unit)).is_err();
    }

    /// The camera's next piece of sound. Nobody waits for one that has no room.
    pub fn handle_sound(&mut self, unit: &AudioUnit) {
        if !self.resumes {
            let _left_out = self
                .out
                .try_send(Item::Unit(MediaUnit::Audio(unit.clone())));
        }
    }

    /// Pictures are missing, or no more come for now.
    pub fn handle_gap(&mut self) {
        self.resumes = true;
    }

    fn handle_item(&mut self, item: &SourceItem) {
        match item {
            SourceItem::Format(tracks) => self.handle_tracks(tracks),
            SourceItem::Video(unit) => self.handle_unit(unit),
            SourceItem::Audio(unit) => self.handle_sound(unit),
            SourceItem::Gap => self.handle_gap(),
        }
    }

    fn handle_event(&mut self, event: &CameraEvent) {
        match event {
            // A pass that is like the one before it goes on in the same stream: it begins with a key frame, and its
            // times go on rising.
            CameraEvent::EventStarted(start) if self.tracks.as_ref() == Some(&start.tracks) => {}
            CameraEvent::EventStarted(start) => self.handle_tracks(&start.tracks),
            CameraEvent::AccessUnit(unit) => self.handle_unit(unit),
            CameraEvent::Sound(unit) => self.handle_sound(unit),
            CameraEvent::EventEnded(EventEnd::CutOff) | CameraEvent::Trouble(_) => {
                self.handle_gap();
            }
            CameraEvent::EventEnded(EventEnd::Completed)
            | CameraEvent::Thumbnail(_)
            | CameraEvent::Person(_) => {}
        }
    }
}

/// A source that is listened to.
pub struct TappedSource {
    source: Box<dyn Source>,
    tap: Tap,
}

impl TappedSource {
    /// Whatever `source` says from now on, `tap` hears as well.
    pub fn new(source: Box<dyn Source>, tap: Tap) -> Self {
        Self { source, tap }
    }
}

impl Source for TappedSource {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(async move {
            let item = self.source.next_item().await;
            // Without an await in between: a future that is dropped has told the tap nothing and lost nothing.
            match &item {
                Ok(Some(item)) => self.tap.handle_item(item),
                Ok(None) | Err(_) => self.tap.handle_gap(),
            }
            item
        })
    }
}

/// A camera that is listened to.
pub struct Tapped<'c> {
    camera: &'c mut dyn Camera,
    tap: &'c mut Tap,
}

impl<'c> Tapped<'c> {
    /// Whatever `camera` says from now on, `tap` hears as well.
    pub fn new(camera: &'c mut dyn Camera, tap: &'c mut Tap) -> Self {
        Self { camera, tap }
    }
}

impl Camera for Tapped<'_> {
    fn next_event(&mut self) -> NextEvent<'_> {
        Box::pin(async move {
            let event = self.camera.next_event().await;
            // As above.
            if let Some(event) = &event {
                self.tap.handle_event(event);
            }
            event
        })
    }
}

#[cfg(test)]
pub(in crate::live) mod tests {
    use std::collections::VecDeque;
    use std::num::{NonZeroU8, NonZeroU16, NonZeroU32};
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use journal::ids::{Channel, Line, PairingId};

    use super::super::stream::Streams;
    use super::*;
    use crate::camera::{
        AvcConfig, FileCamera, FileCameraConfig, Passes, TokioClock, VideoCodec, VideoTrack,
    };
    use crate::core::LiveNow;
    use crate::media::{AacConfig, AudioTrack};

    pub(in crate::live) fn track() -> Arc<VideoTrack> {
        let small = |n| NonZeroU16::new(n).unwrap();
        let record = [
            1, 0x42, 0xC0, 0x1F, 0xFF, 0xE1, 0, 3, 0x67, 1, 2, 1, 0, 2, 0x68, 9,
        ];
        Arc::new(VideoTrack {
            timescale: NonZeroU32::new(1_000).unwrap(),
            width: small(64),
            height: small(48),
            codec: VideoCodec::H264(AvcConfig::parse(&record).unwrap()),
        })
    }

    pub(in crate::live) fn unit(number: u64, is_sync: bool) -> AccessUnit {
        AccessUnit {
            data: Bytes::from(vec![number as u8; 100]),
            dts: number * 40,
            composition_offset: 0,
            duration: Some(40),
            is_sync,
            captured_unix_ms: 5_000 + number,
        }
    }

    fn silent() -> Tracks {
        Tracks::silent(track())
    }

    pub(in crate::live) fn audio() -> Arc<AudioTrack> {
        Arc::new(AudioTrack {
            timescale: NonZeroU32::new(8_000).unwrap(),
            channels: NonZeroU8::new(1).unwrap(),
            config: AacConfig::new(&[0x15, 0x88]).unwrap(),
        })
    }

    /// Of other bytes than any picture.
    pub(in crate::live) fn sound(number: u64) -> AudioUnit {
        AudioUnit {
            data: Bytes::from(vec![0xA0 + number as u8; 20]),
            pts: number * 1_024,
            duration: 1_024,
            captured_unix_ms: 5_000 + number,
        }
    }

    /// Somebody who watches the first camera.
    fn somebody() -> LiveBoard {
        somebody_at("")
    }

    fn somebody_at(camera: &str) -> LiveBoard {
        let line = Line::of(PairingId([1; 16]), Channel::Livestream);
        let now = LiveNow {
            session: 2,
            camera: camera.into(),
        };
        LiveBoard::from([(line, now)])
    }

    fn named(name: &str, is_first: bool) -> Subject {
        let name = name.into();
        Subject { name, is_first }
    }

    /// A tap for the first camera.
    fn tap(out: mpsc::Sender<Item>, lives: watch::Receiver<LiveBoard>) -> Tap {
        Tap::new(named("door", true), out, lives)
    }

    fn taken(pictures: &mut mpsc::Receiver<Item>) -> Vec<Option<u8>> {
        let number = |item| match item {
            Item::Tracks(_) => None,
            Item::Unit(MediaUnit::Video(unit)) => unit.data.first().copied(),
            Item::Unit(MediaUnit::Audio(unit)) => unit.data.first().copied(),
        };
        std::iter::from_fn(|| pictures.try_recv().ok().map(number)).collect()
    }

    #[test]
    fn nothing_is_passed_on_before_a_key_frame_or_while_nobody_watches() {
        let (out, mut pictures) = mpsc::channel(8);
        let (show, lives) = watch::channel(LiveBoard::new());
        let mut tap = tap(out, lives);
        tap.handle_tracks(&silent());
        tap.handle_unit(&unit(0, true));
        show.send_replace(somebody());
        tap.handle_unit(&unit(1, false));
        assert!(taken(&mut pictures).is_empty());
        tap.handle_unit(&unit(2, true));
        tap.handle_unit(&unit(3, false));
        assert_eq!(taken(&mut pictures), [None, Some(2), Some(3)]);
        tap.handle_gap();
        tap.handle_unit(&unit(4, false));
        assert!(taken(&mut pictures).is_empty());
    }

    /// Every camera has a caster, and only one of them has anything to do.
    #[test]
    fn nothing_of_a_camera_is_passed_on_while_another_one_is_watched() {
        for (watched, expected) in [("", [3, 0]), ("door", [3, 0]), ("gate", [0, 3])] {
            let (_show, lives) = watch::channel(somebody_at(watched));
            let passed = [named("door", true), named("gate", false)].map(|subject| {
                let (out, mut pictures) = mpsc::channel(8);
                let mut tap = Tap::new(subject, out, lives.clone());
                tap.handle_tracks(&silent());
                tap.handle_unit(&unit(0, true));
                tap.handle_unit(&unit(1, false));
                taken(&mut pictures).len()
            });
            assert_eq!(passed, expected, "{watched:?} is watched");
        }
        // Whoever turns to another camera leaves this one at once.
        let (out, mut pictures) = mpsc::channel(8);
        let (show, lives) = watch::channel(somebody());
        let mut tap = tap(out, lives);
        tap.handle_tracks(&silent());
        tap.handle_unit(&unit(0, true));
        show.send_replace(somebody_at("gate"));
        tap.handle_unit(&unit(1, false));
        show.send_replace(somebody());
        tap.handle_unit(&unit(2, false));
        tap.handle_unit(&unit(3, true));
        assert_eq!(taken(&mut pictures), [None, Some(0), None, Some(3)]);
    }

    #[test]
    fn who_is_too_slow_misses_the_rest_of_a_group() {
        let (out, mut pictures) = mpsc::channel(3);
        let (_show, lives) = watch::channel(somebody());
        let mut tap = tap(out, lives);
        tap.handle_tracks(&silent());
        for number in 0..5 {
            tap.handle_unit(&unit(number, number == 0));
        }
        assert_eq!(taken(&mut pictures), [None, Some(0), Some(1)]);
        tap.handle_unit(&unit(5, false));
        assert!(taken(&mut pictures).is_empty());
        tap.handle_unit(&unit(6, true));
        assert_eq!(taken(&mut pictures), [None, Some(6)]);
    }

    #[test]
    fn sound_goes_with_the_pictures_and_costs_none() {
        let (out, mut pictures) = mpsc::channel(4);
        let (_show, lives) = watch::channel(somebody());
        let mut tap = tap(out, lives);
        tap.handle_tracks(&Tracks {
            video: track(),
            audio: Some(audio()),
        });
        tap.handle_sound(&sound(0));
        assert!(taken(&mut pictures).is_empty(), "before a key frame");
        tap.handle_unit(&unit(0, true));
        for number in 1..4 {
            tap.handle_sound(&sound(number));
        }
        // Two have had room, and what had none is not missed.
        assert_eq!(
            taken(&mut pictures),
            [None, Some(0), Some(0xA1), Some(0xA2)]
        );
        tap.handle_unit(&unit(1, false));
        assert_eq!(taken(&mut pictures), [Some(1)]);
    }

    /// Hands out these, and is over then.
    struct Script(VecDeque<SourceItem>);

    impl Source for Script {
        fn next_item(&mut self) -> NextItem<'_> {
            Box::pin(async move { Ok(self.0.pop_front()) })
        }
    }

    #[tokio::test]
    async fn a_source_is_heard_from_its_format_on_and_not_beyond_a_hole() {
        let (out, mut pictures) = mpsc::channel(16);
        let (_show, lives) = watch::channel(somebody());
        let tap = tap(out, lives);
        let items = [
            SourceItem::Format(silent()),
            SourceItem::Video(unit(0, true)),
            SourceItem::Gap,
            SourceItem::Video(unit(1, false)),
            SourceItem::Video(unit(2, true)),
        ];
        let script = Script(VecDeque::from(items.clone()));
        let mut source = TappedSource::new(Box::new(script), tap.anew());
        for item in items {
            assert_eq!(source.next_item().await.unwrap(), Some(item));
        }
        assert_eq!(source.next_item().await.unwrap(), None);
        assert_eq!(taken(&mut pictures), [None, Some(0), None, Some(2)]);
        // The caster has nobody to wait for once all taps are gone.
        drop((source, tap));
        assert!(pictures.recv().await.is_none());
    }

    /// The decode time of the first track of a fragment (ISO/IEC 14496-12, 8.8.12), of version 1.
    fn decode_time(fragment: &[u8]) -> u64 {
        let kind = fragment.windows(4).position(|four| four == b"tfdt");
        let time = kind.expect("a fragment has one") + 8;
        u64::from_be_bytes(fragment[time..time + 8].try_into().unwrap())
    }

    #[tokio::test]
    async fn a_clip_that_is_played_again_is_one_stream_whose_times_rise() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/odd-durations.mp4");
        let config = FileCameraConfig {
            gap: Duration::from_millis(20),
            speed: NonZeroU32::new(50).unwrap(),
            passes: Passes::Exactly(NonZeroU32::new(3).unwrap()),
            ..FileCameraConfig::new(path)
        };
        let mut camera = FileCamera::open(config, TokioClock::new()).unwrap();
        let pass = camera.facts().duration;
        let timescale = u64::from(camera.track().timescale.get());
        let (out, mut pictures) = mpsc::channel(1_000);
        let (_show, lives) = watch::channel(somebody());
        let mut tap = tap(out, lives);
        while Tapped::new(&mut camera, &mut tap)
            .next_event()
            .await
            .is_some()
        {}
        drop(tap);
        let (mut streams, mut begun, mut times) = (Streams::default(), 0, Vec::new());
        while let Some(item) = pictures.recv().await {
            begun += usize::from(matches!(item, Item::Tracks(_)));
            let pieces = streams.handle_item(item);
            times.extend(pieces.iter().map(|piece| decode_time(&piece.bytes)));
        }
        assert_eq!(begun, 1);
        assert!(times.windows(2).all(|pair| pair[0] < pair[1]), "{times:?}");
        let last = *times.last().unwrap();
        assert!(last > timescale * 2 * pass.as_secs(), "{last}");
    }
}
