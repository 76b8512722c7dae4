//! The virtual camera: a scene that the hub draws and encodes live, so that anybody can try everything
//! without hardware, and delay can be measured (the picture holds the time at which it was drawn).
//!
//! It must never be behind: a picture that could not be drawn in time is left out, and its time with
//! it. The encoder is Cisco's OpenH264, built from its source.

pub mod scene;
#[cfg(test)]
pub(crate) mod testing;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use openh264::OpenH264API;
use openh264::Timestamp;
use openh264::encoder::{
    BitRate, Encoder, EncoderConfig, FrameRate, IntraFramePeriod, RateControlMode,
};
use openh264::formats::YUVSlices;
use tokio::runtime::{Handle, RuntimeFlavor};

use super::annex_b::{NalSplitter, Picture, PictureBuilder};
use super::command::{Parameters, TIMESCALE};
use super::file::media_ticks;
use super::source::{NextItem, Source, SourceItem};
use super::{CameraError, Clock};
use scene::{CYCLE, Canvas, Scene};

/// Smallest and largest side of a picture in pixels; sides are even.
pub const SIDE_PIXELS: (u16, u16) = (160, 1920);
/// Fewest and most pictures a second.
pub const PICTURES_PER_SECOND: (u8, u8) = (1, 30);
/// How often somebody may cross the scene, in seconds: he takes ten, and needs an empty scene before him.
pub const CYCLE_SECONDS: (f64, f64) = (12.0, 3600.0);

/// How large, and how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualConfig {
    /// Width in pixels, within [`SIDE_PIXELS`] and even.
    pub width: u16,
    /// Height in pixels, within [`SIDE_PIXELS`] and even.
    pub height: u16,
    /// Within [`PICTURES_PER_SECOND`]. There is a key frame every second.
    pub pictures_per_second: u8,
    /// How often somebody crosses the scene, within [`CYCLE_SECONDS`].
    pub cycle: Duration,
}

impl Default for VirtualConfig {
    fn default() -> Self {
        Self {
            width: 640,
            height: 360,
            pictures_per_second: 10,
            cycle: CYCLE,
        }
    }
}

impl VirtualConfig {
    /// Whether everything is within its limits.
    pub fn is_supported(&self) -> bool {
        let fits =
            |side: u16| (SIDE_PIXELS.0..=SIDE_PIXELS.1).contains(&side) && side.is_multiple_of(2);
        let rate = PICTURES_PER_SECOND.0..=PICTURES_PER_SECOND.1;
        let cycle = CYCLE_SECONDS.0..=CYCLE_SECONDS.1;
        fits(self.width)
            && fits(self.height)
            && rate.contains(&self.pictures_per_second)
            && cycle.contains(&self.cycle.as_secs_f64())
    }

    fn period(&self) -> Duration {
        Duration::from_secs(1) / u32::from(self.pictures_per_second.max(1))
    }
}

/// Draws scenes and encodes them, one after the other.
pub struct SceneEncoder {
    encoder: Encoder,
    canvas: Canvas,
}

impl SceneEncoder {
    /// Makes encoder and canvas.
    ///
    /// # Errors
    /// [`CameraError::Encoder`]: a size or rate beyond its limits, or what the encoder says.
    pub fn new(config: VirtualConfig) -> Result<Self, CameraError> {
        if !config.is_supported() {
            let reason = format!("{config:?} is not supported");
            return Err(CameraError::Encoder { reason });
        }
        let rate = u32::from(config.pictures_per_second);
        let pixels = u32::from(config.width) * u32::from(config.height);
        let options = EncoderConfig::new()
            // What the level is chosen by; the quality is fixed, so that no picture is left out.
            .bitrate(BitRate::from_bps((pixels * rate / 10).max(200_000)))
            .rate_control_mode(RateControlMode::Off)
            .max_frame_rate(FrameRate::from_hz(f32::from(config.pictures_per_second)))
            .intra_frame_period(IntraFramePeriod::from_num_frames(rate))
            .scene_change_detect(false)
            .skip_frames(false)
            .num_threads(1);
        let encoder = Encoder::with_api_config(OpenH264API::from_source(), options);
        Ok(Self {
            encoder: encoder.map_err(|error| failed(&error.to_string()))?,
            canvas: Canvas::new(usize::from(config.width), usize::from(config.height)),
        })
    }

    /// The next picture, `passed` after the first one.
    ///
    /// # Errors
    /// [`CameraError::Encoder`].
    pub fn encode(&mut self, scene: &Scene, passed: Duration) -> Result<Picture, CameraError> {
        scene.draw(&mut self.canvas);
        let (width, height) = (self.canvas.width(), self.canvas.height());
        let planes = YUVSlices::new(
            self.canvas.planes(),
            (width, height),
            (width, width / 2, width / 2),
        );
        let millis = u64::try_from(passed.as_millis()).unwrap_or(0);
        let coded = self
            .encoder
            .encode_at(&planes, Timestamp::from_millis(millis))
            .map_err(|error| failed(&error.to_string()))?;
        picture_of(&coded.to_vec())
    }
}

/// A [`Source`] that draws and encodes.
pub struct VirtualSource<C> {
    clock: C,
    config: VirtualConfig,
    encoder: SceneEncoder,
    parameters: Parameters,
    origin: Duration,
    /// When the next picture is due, by the clock.
    next_at: Duration,
    ready: VecDeque<SourceItem>,
    is_over: bool,
}

impl<C: Clock> VirtualSource<C> {
    /// Makes encoder and canvas.
    ///
    /// # Errors
    /// [`CameraError::Encoder`]: a size or rate beyond its limits, or what the encoder says.
    pub fn open(config: VirtualConfig, clock: C) -> Result<Self, CameraError> {
        let encoder = SceneEncoder::new(config)?;
        let now = clock.now();
        Ok(Self {
            clock,
            config,
            encoder,
            parameters: Parameters::default(),
            origin: now,
            next_at: now,
            ready: VecDeque::new(),
            is_over: false,
        })
    }

    async fn next(&mut self) -> Result<Option<SourceItem>, CameraError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            if self.is_over {
                return Ok(None);
            }
            self.clock.sleep_until(self.next_at).await;
            if let Err(error) = self.draw_aside() {
                self.is_over = true;
                return Err(error);
            }
        }
    }

    /// Draws and encodes one picture: some milliseconds, in which other tasks go on elsewhere if there are other workers.
    fn draw_aside(&mut self) -> Result<(), CameraError> {
        match Handle::try_current().map(|handle| handle.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.draw()),
            _ => self.draw(),
        }
    }

    /// Draws and encodes one picture.
    fn draw(&mut self) -> Result<(), CameraError> {
        let (now, unix_ms) = (self.clock.now(), self.clock.unix_ms());
        // The last one that was due by now: what is later than a period is left out.
        let period = self.config.period();
        let late = now.saturating_sub(self.next_at).as_nanos() / period.as_nanos().max(1);
        let periods = u32::try_from(late).unwrap_or(u32::MAX);
        let due = self.next_at.saturating_add(period.saturating_mul(periods));
        self.next_at = due.saturating_add(period);
        let shown = now.saturating_sub(self.origin);
        let scene = Scene::of_cycle(self.config.cycle, shown, unix_ms);
        // Its time in the film is when it was due, as with a camera whose sensor keeps the beat: were it when a busy machine came
        // to draw it, two could be nearer than a screen can show them.
        let passed = due.saturating_sub(self.origin);
        let picture = self.encoder.encode(&scene, passed)?;
        let dts = media_ticks(passed, TIMESCALE);
        let items = self.parameters.handle_picture(picture, dts, unix_ms);
        self.ready
            .extend(items.map_err(|error| failed(&error.to_string()))?);
        Ok(())
    }
}

impl<C: Clock> Source for VirtualSource<C> {
    fn next_item(&mut self) -> NextItem<'_> {
        Box::pin(self.next())
    }
}

/// The one picture in what the encoder gave.
fn picture_of(coded: &[u8]) -> Result<Picture, CameraError> {
    let (mut splitter, mut builder) = (NalSplitter::default(), PictureBuilder::default());
    let broken = |error: super::annex_b::AnnexBError| failed(&error.to_string());
    splitter.handle_bytes(coded).map_err(broken)?;
    let mut nals: Vec<Bytes> = std::iter::from_fn(|| splitter.poll_nal()).collect();
    nals.extend(splitter.finish());
    for nal in &nals {
        if builder.handle_nal(nal).map_err(broken)?.is_some() {
            return Err(failed("it made two pictures of one"));
        }
    }
    builder.finish().ok_or_else(|| failed("it made no picture"))
}

fn failed(reason: &str) -> CameraError {
    CameraError::Encoder {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::camera::clock::Sleep;

    /// A clock that jumps to where somebody wants to sleep to.
    #[derive(Clone, Default)]
    struct Jumping(Arc<Mutex<Duration>>);

    impl Clock for Jumping {
        fn now(&self) -> Duration {
            *self.0.lock().unwrap()
        }

        fn unix_ms(&self) -> u64 {
            1_700_000_000_000 + self.now().as_millis() as u64
        }

        fn sleep_until(&self, at: Duration) -> Sleep<'_> {
            Box::pin(async move {
                let mut now = self.0.lock().unwrap();
                *now = at.max(*now);
            })
        }
    }

    #[tokio::test]
    async fn pictures_come_at_their_rate_with_a_key_frame_every_second() {
        let config = VirtualConfig {
            width: 320,
            height: 240,
            pictures_per_second: 5,
            ..VirtualConfig::default()
        };
        let mut source = VirtualSource::open(config, Jumping::default()).unwrap();
        let Ok(Some(SourceItem::Format(format))) = source.next_item().await else {
            panic!("the format is first");
        };
        assert_eq!(
            (format.video.width.get(), format.video.height.get()),
            (320, 240)
        );
        let mut keys = Vec::new();
        let mut last = None;
        for number in 0..25 {
            let Ok(Some(SourceItem::Video(unit))) = source.next_item().await else {
                panic!("pictures follow");
            };
            assert!(last.is_none_or(|last| unit.dts > last));
            last = Some(unit.dts);
            if unit.is_sync {
                keys.push(number);
            }
        }
        assert_eq!(keys, [0, 5, 10, 15, 20]);
        // 24 steps of 200 ms, in ticks of 1/90,000 s.
        assert_eq!(last, Some(24 * 18_000));
    }

    /// A machine that is busy draws it later, and another time leaves some out.
    #[tokio::test]
    async fn a_picture_that_is_drawn_late_has_the_time_when_it_was_due() {
        let config = VirtualConfig {
            width: 320,
            height: 240,
            pictures_per_second: 10,
            ..VirtualConfig::default()
        };
        let clock = Jumping::default();
        let mut source = VirtualSource::open(config, clock.clone()).unwrap();
        let (mut due, mut captured) = (Vec::new(), Vec::new());
        for late_ms in [0, 0, 90, 0, 250, 0] {
            *clock.0.lock().unwrap() = source.next_at + Duration::from_millis(late_ms);
            let unit = loop {
                match source.next_item().await {
                    Ok(Some(SourceItem::Video(unit))) => break unit,
                    Ok(Some(SourceItem::Format(_))) => {}
                    _ => panic!("pictures follow"),
                }
            };
            // Ticks of 1/90,000 s.
            due.push(unit.dts / 90);
            captured.push(unit.captured_unix_ms - 1_700_000_000_000);
        }
        assert_eq!(due, [0, 100, 200, 300, 600, 700]);
        assert_eq!(captured, [0, 100, 290, 300, 650, 700]);
    }

    #[test]
    fn what_the_encoder_cannot_do_is_refused() {
        for (width, height, pictures_per_second) in [
            (0, 360, 10),
            (641, 360, 10),
            (640, 2000, 10),
            (640, 360, 0),
            (640, 360, 31),
        ] {
            let config = VirtualConfig {
                width,
                height,
                pictures_per_second,
                ..VirtualConfig::default()
            };
            assert!(!config.is_supported());
        }
        for seconds in [11, 3601] {
            let config = VirtualConfig {
                cycle: Duration::from_secs(seconds),
                ..VirtualConfig::default()
            };
            assert!(!config.is_supported(), "{seconds}");
        }
        assert!(VirtualConfig::default().is_supported());
    }
}
