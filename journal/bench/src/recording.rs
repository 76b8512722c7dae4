//! The hub's own core on a real disk, driven as the hub's recorder and its journal thread drive it, with the
//! chunks that the hub's segmenter makes of real pictures.
//!
//! No camera, no clock and no network: fragments come as fast as they are taken, or each after the sync
//! of the one before. This room must never make a batch that the hub would not make.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hub::camera::demux::Clip;
use hub::camera::{AccessUnit, EventEnd};
use hub::core::{Core, Event, Piece, Recorded, SilenceLimits};
use hub::recorder::{FLYING_BYTES_MAX, FLYING_MAX};
use hub::segmenter::{ClipChunk, Segmenter};
use journal::ids::{Channel, Line, PairingId};
use journal::{Committer, Role, Session};
use wal::disk::RealDisk;

use crate::Outcome;
use crate::hub::{CLIP_BYTES, NOW_UNIX_MS, noise, open_on};
use crate::meter::Meter;

/// The project's own clip: where its key frames are, and how large its pictures are against each other.
const PICTURES: &[u8] = include_bytes!("../../../hub/testdata/people-20s.mp4");

/// A clip as the recorder hands it over: fragments of at most 200 ms, each of one or more pieces.
pub(crate) struct Fragments {
    fragments: Vec<Vec<Piece>>,
    /// Bytes of all pieces: what is recorded, and what the phone gets.
    pub(crate) bytes: u64,
    /// Of the pictures, in bits a second.
    pub(crate) bit_rate: f64,
}

impl Fragments {
    /// The project's clip, again and again until there are 5 MB, with every picture as much larger as
    /// the bit rate asks for; `None`: as it is. The bytes are noise.
    pub(crate) fn at(bits_per_second: Option<f64>) -> Outcome<Self> {
        let clip = Clip::read(PICTURES)?;
        let picture_bytes: u64 = clip.samples.iter().map(|s| u64::from(s.bytes)).sum();
        let timescale = f64::from(clip.track.timescale.get());
        let seconds = clip.duration_ticks() as f64 / timescale;
        let own_rate = picture_bytes as f64 * 8.0 / seconds;
        let bit_rate = bits_per_second.unwrap_or(own_rate);
        let scale = bit_rate / own_rate;

        let bytes = Bytes::from(noise(2 * CLIP_BYTES));
        let mut segmenter = Segmenter::new(clip.track.into());
        let mut fragments = Vec::new();
        let (mut at, mut dts) = (0, 0_u64);
        for sample in clip.samples.iter().cycle() {
            if at >= CLIP_BYTES {
                break;
            }
            // The last picture is cut to fit: a key frame alone is a tenth of the clip.
            let size = ((f64::from(sample.bytes) * scale) as usize).clamp(1, CLIP_BYTES - at);
            let unit = AccessUnit {
                data: bytes.slice(at..at + size),
                dts,
                composition_offset: sample.composition_offset,
                duration: Some(sample.duration),
                is_sync: sample.is_sync,
                captured_unix_ms: NOW_UNIX_MS,
            };
            at += size;
            dts += u64::from(sample.duration);
            fragments.push(pieces(segmenter.handle_unit(unit)?));
        }
        fragments.push(pieces(segmenter.finish()));
        fragments.retain(|pieces| !pieces.is_empty());
        let all = fragments.iter().flatten();
        Ok(Self {
            bytes: all.map(|piece| piece.bytes.len() as u64).sum(),
            fragments,
            bit_rate,
        })
    }

    /// Its pieces, for who seals them in another way.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.fragments.iter().flatten().map(|piece| &*piece.bytes)
    }

    pub(crate) fn count(&self) -> usize {
        self.fragments.len()
    }
}

fn pieces(chunks: Vec<ClipChunk>) -> Vec<Piece> {
    let piece = |chunk: ClipChunk| Piece {
        bytes: chunk.data,
        captured_unix_ms: chunk.captured_unix_ms,
    };
    chunks.into_iter().map(piece).collect()
}

/// How fast fragments come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pace {
    /// As fast as they are taken: what is sealed while the disk syncs shares the next sync.
    Busy,
    /// A camera's, on a disk that syncs within 200 ms: every fragment has a sync of its own.
    Live,
}

/// A hub's core and the one line that it records for.
pub(crate) struct CoreHub {
    core: Core,
    line: Line,
    pub(crate) meter: Meter,
}

impl CoreHub {
    /// Starts on what [`crate::hub::Hub::pair`] made.
    pub(crate) fn start(dir: &Path, pairing: PairingId) -> Outcome<Self> {
        let dir = dir.join("hub");
        let disk = RealDisk::new(&dir)?;
        let meter = Meter::default();
        let metered = meter.clone();
        let opener = Box::new(move || open_on(&disk, &dir, Role::Hub, &metered));
        Ok(Self {
            core: Core::start(opener, SilenceLimits::default(), NOW_UNIX_MS)?,
            line: Line {
                pairing,
                channel: Channel::EventVideo,
            },
            meter,
        })
    }

    /// Records a whole event, durable when this returns.
    pub(crate) fn record(&mut self, clip: &Fragments, pace: Pace) -> Outcome<()> {
        let event = Event {
            camera: "door".to_owned(),
            mime: "video/mp4".to_owned(),
            started_unix_ms: NOW_UNIX_MS,
        };
        taken(self.core.handle_event_started(event, NOW_UNIX_MS)?)?;
        let mut steps = Steps::default();
        let last = clip.fragments.len().saturating_sub(1);
        for (number, pieces) in clip.fragments.iter().enumerate() {
            let bytes = pieces.iter().map(|piece| piece.bytes.len()).sum();
            while !steps.have_room_for(bytes) {
                steps.land(&mut self.core)?;
            }
            taken(self.core.handle_pieces(pieces.clone(), NOW_UNIX_MS)?)?;
            steps.staged.push(bytes);
            if number == last {
                // The recorder hands the end over at once behind the last pieces.
                break;
            }
            match pace {
                Pace::Busy if self.core.is_committing() => {
                    if self.core.wait_for_sync(Duration::ZERO) {
                        steps.land(&mut self.core)?;
                    }
                }
                Pace::Busy => steps.land(&mut self.core)?,
                Pace::Live => {
                    steps.land(&mut self.core)?;
                    steps.land(&mut self.core)?;
                }
            }
        }
        let ended = EventEnd::Completed;
        taken(self.core.handle_event_ended(ended, NOW_UNIX_MS)?)?;
        self.core.commit(NOW_UNIX_MS)?;
        while self.core.poll_notice().is_some() {}
        Ok(())
    }

    /// The app holds everything: the outbox is freed.
    pub(crate) fn ack_all(&mut self) -> Outcome<()> {
        let line = self.line;
        self.core.with_journal(NOW_UNIX_MS, |journal| {
            let last = journal.outbox_head(line)?.last;
            let mut txn = journal.begin();
            Session::<Committer>::new(line).take_ack(&mut txn, last)?;
            drop(txn.commit(())?);
            Ok(())
        })?;
        Ok(())
    }

    /// Bytes that the engine says it wrote.
    pub(crate) fn engine_bytes(&mut self) -> Outcome<u64> {
        let stats = self
            .core
            .with_journal(NOW_UNIX_MS, |journal| Ok(journal.stats().bytes_written))?;
        Ok(stats)
    }
}

fn taken(recorded: Recorded) -> Outcome<()> {
    match recorded {
        Recorded::Taken => Ok(()),
        Recorded::Not(why) => Err(format!("the core does not record: {why:?}").into()),
    }
}

/// Steps that are not answered, as the recorder and the journal's thread count them together.
#[derive(Default)]
struct Steps {
    /// Bytes of each step whose sync is under way.
    flying: Vec<usize>,
    /// And of each that waits for the next.
    staged: Vec<usize>,
}

impl Steps {
    fn have_room_for(&self, bytes: usize) -> bool {
        let all = || self.flying.iter().chain(&self.staged);
        all().count() == 0
            || all().count() < FLYING_MAX && all().sum::<usize>() + bytes <= FLYING_BYTES_MAX
    }

    /// The sync under way is over, and that of what was staged meanwhile begins.
    fn land(&mut self, core: &mut Core) -> Outcome<()> {
        core.finish_commit(NOW_UNIX_MS)?;
        self.flying = std::mem::take(&mut self.staged);
        if core.has_staged() {
            core.begin_commit(NOW_UNIX_MS)?;
        } else if core.may_settle_keys() {
            core.settle_keys(NOW_UNIX_MS)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_have_the_bit_rate_that_was_asked_for() {
        let clip = Fragments::at(Some(4e6)).unwrap();
        // 5 MB at 4 Mbit/s are 10 s, in fragments of at most 200 ms.
        assert!((50..70).contains(&clip.count()), "{}", clip.count());
        let over = clip.bytes as f64 / CLIP_BYTES as f64;
        assert!((1.0..1.02).contains(&over), "{over}");
        let sealed: usize = clip.chunks().map(<[u8]>::len).sum();
        assert_eq!(sealed as u64, clip.bytes);
    }
}
