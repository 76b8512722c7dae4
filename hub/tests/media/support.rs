//! What the media tests share: the clips, a clock that jumps, and the path from file to clip.
//!
//! It must never hide an error: whatever fails here panics.

use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use hub::camera::clock::Sleep;
use hub::camera::demux::{Clip, SampleEntry};
use hub::camera::{AccessUnit, Camera, CameraEvent, Clock, FileCamera, FileCameraConfig, Passes};
use hub::segmenter::{ClipChunk, Segmenter};

/// Every committed clip that must play, with what is special about it.
pub(crate) const CLIPS: [&str; 5] = [
    "people-20s.mp4",
    "bframes.mp4",
    "odd-durations.mp4",
    "negative-offsets.mp4",
    "fragmented.mp4",
];

pub(crate) fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(name)
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    std::fs::read(testdata(name)).expect("the clip is committed")
}

pub(crate) fn demux(bytes: &[u8]) -> Clip {
    Clip::read(bytes).expect("the clip is sound")
}

/// A clock that jumps to where somebody wants to sleep to.
#[derive(Clone)]
pub(crate) struct JumpingClock {
    now: Arc<Mutex<Duration>>,
}

/// What the wall clock says when a [`JumpingClock`] starts.
pub(crate) const START_UNIX_MS: u64 = 1_700_000_000_000;
/// What the other clock says then.
pub(crate) const START: Duration = Duration::from_secs(777);

impl JumpingClock {
    pub(crate) fn new() -> Self {
        Self {
            now: Arc::new(Mutex::new(START)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Duration> {
        self.now
            .lock()
            .expect("no test panics while it holds the lock")
    }

    /// The time since the clock started.
    pub(crate) fn passed(&self) -> Duration {
        *self.lock() - START
    }
}

impl Clock for JumpingClock {
    fn now(&self) -> Duration {
        *self.lock()
    }

    fn unix_ms(&self) -> u64 {
        START_UNIX_MS + u64::try_from(self.passed().as_millis()).expect("a short test")
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        Box::pin(async move {
            let mut now = self.lock();
            *now = at.max(*now);
        })
    }
}

pub(crate) fn config(path: impl Into<PathBuf>, passes: u32) -> FileCameraConfig {
    FileCameraConfig {
        gap: Duration::from_secs(3),
        passes: Passes::Exactly(NonZeroU32::new(passes).expect("not zero")),
        ..FileCameraConfig::new(path)
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The access units of one pass through a clip.
pub(crate) fn units(name: &str) -> Vec<AccessUnit> {
    let mut camera =
        FileCamera::open(config(testdata(name), 1), JumpingClock::new()).expect("a sound clip");
    block_on(async {
        let mut units = Vec::new();
        while let Some(event) = camera.next_event().await {
            match event {
                CameraEvent::AccessUnit(unit) => units.push(unit),
                CameraEvent::EventStarted(_) | CameraEvent::EventEnded(_) => {}
                other => panic!("{other:?}"),
            }
        }
        units
    })
}

/// The chunks of one clip.
pub(crate) fn segment(
    track: &Arc<hub::camera::VideoTrack>,
    units: &[AccessUnit],
) -> Vec<ClipChunk> {
    let mut segmenter = Segmenter::new(Arc::clone(track));
    let mut chunks = Vec::new();
    for unit in units {
        chunks.extend(segmenter.handle_unit(unit.clone()).expect("a sound unit"));
    }
    chunks.extend(segmenter.finish());
    chunks
}

/// The chunks of one pass through a clip, by the whole path.
pub(crate) fn record(name: &str) -> Vec<ClipChunk> {
    let track = Arc::new(demux(&read(name)).track);
    segment(&track, &units(name))
}

pub(crate) fn concatenate(chunks: &[ClipChunk]) -> Vec<u8> {
    chunks.iter().flat_map(|chunk| chunk.data.clone()).collect()
}

/// The bytes of a sample.
pub(crate) fn payload<'a>(file: &'a [u8], sample: &SampleEntry) -> &'a [u8] {
    let start = usize::try_from(sample.offset).expect("a small file");
    &file[start..start + sample.bytes as usize]
}

/// All samples of a clip as a camera would hand them out, without its clock.
pub(crate) fn units_of(file: &[u8], clip: &Clip) -> Vec<AccessUnit> {
    let mut dts = 0;
    let unit_of = |sample: &SampleEntry| {
        let unit = AccessUnit {
            data: Bytes::copy_from_slice(payload(file, sample)),
            dts,
            composition_offset: sample.composition_offset,
            duration: Some(sample.duration),
            is_sync: sample.is_sync,
            captured_unix_ms: 0,
        };
        dts += u64::from(sample.duration);
        unit
    };
    clip.samples.iter().map(unit_of).collect()
}
