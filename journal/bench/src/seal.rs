//! Durable sealing of a clip against the same MLS work in memory and against a plain file, and what
//! it writes for each byte.
//!
//! Twice: the engine by hand, with full chunks and every sync waited for, and through the hub's core with
//! the chunks of its segmenter, as it records.

use std::path::Path;
use std::time::Duration;

use journal::CHUNK_BYTES_MAX;
use serde_json::json;

use crate::bare::Bare;
use crate::hub::{CHUNKS_PER_COMMIT, CLIP_BYTES, Hub, Steps, WARM_UP_CLIPS, noise};
use crate::measure::{Cost, Rounds, Samples, spin, timed};
use crate::meter::{Counts, Meter};
use crate::procfs::own_write_bytes;
use crate::raw_file::RawFile;
use crate::recording::{CoreHub, Fragments, Pace};
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale};

/// Steady state: log files are recycled, and the raw file is as large as one of them.
const RAW_FILE_BYTES: u64 = 16 << 20;
/// The bit rate at which the hub's speed is measured: a camera of 1080p.
const SPEED_BITS_PER_S: f64 = 4e6;
/// The bit rates at which bytes are counted, question by question; the last is that of the project's clip.
const WRITTEN_BITS_PER_S: [Option<f64>; 4] = [Some(2e6), Some(4e6), Some(8e6), None];

/// What is asked.
pub(crate) const QUESTIONS: [Question; 7] = [
    Question {
        key: "seal",
        title: "durable sealing of 5 MB / slower yardstick",
        unit: "x",
        target: Target::AtLeast(0.7),
    },
    Question {
        key: "seal_overlapped",
        title: "the same through the hub's core, as it records",
        unit: "x",
        target: Target::AtLeast(0.7),
    },
    Question {
        key: "seal_vault_and_wrap",
        title: "durable sealing of 5 MB / without vault and wrap",
        unit: "x",
        target: Target::AtLeast(0.909),
    },
    Question {
        key: "bytes_written",
        title: "bytes written per payload byte, 5 MB at 2 Mbit/s, and ack",
        unit: "x",
        target: Target::AtMost(1.10),
    },
    Question {
        key: "bytes_written_4_mbit",
        title: "the same at 4 Mbit/s",
        unit: "x",
        target: Target::AtMost(1.10),
    },
    Question {
        key: "bytes_written_8_mbit",
        title: "the same at 8 Mbit/s",
        unit: "x",
        target: Target::AtMost(1.10),
    },
    Question {
        key: "bytes_written_own_rate",
        title: "the same at the rate of the project's clip",
        unit: "x",
        target: Target::AtMost(1.10),
    },
];

/// Who seals a clip.
trait Contender {
    /// Durable when this returns.
    fn seal(&mut self) -> Outcome<Steps>;
    fn meter(&self) -> &Meter;
    /// What it seals, for the yardstick.
    fn chunks(&self) -> Vec<&[u8]>;
}

struct ByHand<'a> {
    hub: &'a mut Hub,
    clip: &'a [u8],
}

impl Contender for ByHand<'_> {
    fn seal(&mut self) -> Outcome<Steps> {
        self.hub.seal_clip(self.clip)
    }

    fn meter(&self) -> &Meter {
        &self.hub.meter
    }

    fn chunks(&self) -> Vec<&[u8]> {
        self.clip.chunks(CHUNK_BYTES_MAX).collect()
    }
}

struct Recorded<'a> {
    hub: &'a mut CoreHub,
    clip: &'a Fragments,
}

impl Contender for Recorded<'_> {
    fn seal(&mut self) -> Outcome<Steps> {
        self.hub.record(self.clip, Pace::Busy)?;
        Ok(Steps::default())
    }

    fn meter(&self) -> &Meter {
        &self.hub.meter
    }

    fn chunks(&self) -> Vec<&[u8]> {
        self.clip.chunks().collect()
    }
}

/// What the rounds of sealing left behind.
#[derive(Default)]
struct Found {
    how: String,
    bytes: u64,
    journal: Rounds,
    memory: Rounds,
    raw: Rounds,
    /// Time of each round that a perfect, unpipelined implementation would need at least.
    against_sum: Samples,
    raw_syncs: Samples,
    raw_spaced_syncs: Samples,
    /// Of the engine by hand; the hub's core does not tell.
    steps: Vec<Steps>,
    counts: Vec<Counts>,
    batches: Vec<u64>,
}

/// Runs the rounds and answers its questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let (engine_dir, core_dir) = (dir.join("engine"), dir.join("core"));
    let mut hub = Hub::open(&engine_dir, Hub::pair(&engine_dir)?)?;
    let mut core = CoreHub::start(&core_dir, Hub::pair(&core_dir)?)?;
    let mut bare = Bare::create(&dir.join("bare"))?;
    let mut without = Rounds::default();
    let clip = noise(CLIP_BYTES);
    let recorded = Fragments::at(Some(SPEED_BITS_PER_S))?;
    for _ in 0..WARM_UP_CLIPS {
        hub.seal_clip(&clip)?;
        hub.ack_all()?;
        bare.seal_clip(&clip)?;
        bare.ack_all()?;
        core.record(&recorded, Pace::Busy)?;
        core.ack_all()?;
    }
    let mut memory = yardstick::in_memory(journal::Suite::XWing.ciphersuite())?;
    let mut raw = RawFile::create(&dir.join("raw"), RAW_FILE_BYTES)?;
    memory.seal_clip(clip.chunks(CHUNK_BYTES_MAX))?;
    let mut waited = Found {
        how: format!(
            "the engine by hand: full chunks, {CHUNKS_PER_COMMIT} for a sync, every sync waited for"
        ),
        bytes: CLIP_BYTES as u64,
        ..Found::default()
    };
    let mut overlapped = Found {
        how: format!(
            "the hub's core with its segmenter's {} fragments of a 5 MB clip at 4 Mbit/s, as fast as its recorder would hand them over: sealed while the disk syncs, a few under way at a time",
            recorded.count()
        ),
        bytes: recorded.bytes,
        ..Found::default()
    };
    for _ in 0..scale.rounds(9, 30) {
        let hub = &mut hub;
        let clip = &clip;
        round(
            &mut ByHand { hub, clip },
            &mut memory,
            &mut raw,
            &mut waited,
        )?;
        hub.ack_all()?;
        let (sealed, cost) = timed(|| bare.seal_clip(clip));
        sealed?;
        without.push(cost);
        bare.ack_all()?;
        let hub = &mut core;
        let clip = &recorded;
        round(
            &mut Recorded { hub, clip },
            &mut memory,
            &mut raw,
            &mut overlapped,
        )?;
        hub.ack_all()?;
    }
    let [by_hand, as_recorded, without_vault, at_rates @ ..] = QUESTIONS;
    let mut figures = vec![
        speed(by_hand, &waited),
        speed(as_recorded, &overlapped),
        vault_and_wrap(without_vault, &waited, &without),
    ];
    for (asked, bit_rate) in at_rates.into_iter().zip(WRITTEN_BITS_PER_S) {
        let clip = Fragments::at(bit_rate)?;
        figures.push(written(asked, &mut core, &clip, &mut raw, scale)?);
    }
    Ok(figures)
}

/// A, B, C, one after another.
fn round(
    contender: &mut impl Contender,
    memory: &mut yardstick::Member<openmls_libcrux_crypto::Provider>,
    raw: &mut RawFile,
    found: &mut Found,
) -> Outcome<()> {
    contender.meter().take();
    let (steps, journal) = timed(|| contender.seal());
    let steps = steps?;
    let counts = contender.meter().take();
    let chunks = contender.chunks();
    let (sealed, in_memory) = timed(|| memory.seal_clip(chunks));
    sealed?;
    let (written, plain) = timed(|| raw.write_batches(&counts.log_batches, || {}));
    found.raw_syncs.push(written?.as_secs_f64());
    // A disk that rests between two syncs may answer later than one that is kept busy.
    let gap = gap(&journal, &counts);
    let spaced = raw.write_batches(&counts.log_batches, || spin(gap))?;
    found.raw_spaced_syncs.push(spaced.as_secs_f64());
    found.journal.push(journal);
    found.memory.push(in_memory);
    found.raw.push(plain);
    found
        .against_sum
        .push((in_memory.wall_s + plain.wall_s) / journal.wall_s);
    found.batches.clone_from(&counts.log_batches);
    found.steps.push(steps);
    found.counts.push(counts);
    Ok(())
}

/// How long the disk rested between two syncs.
fn gap(journal: &Cost, counts: &Counts) -> Duration {
    let idle = journal.wall_s - counts.log.sync_time.as_secs_f64();
    let batches = counts.log_batches.len().max(1) as f64;
    Duration::try_from_secs_f64(idle / batches).unwrap_or_default()
}

fn speed(asked: Question, found: &Found) -> Figure {
    let bytes = Some(found.bytes);
    let against_memory = found.journal.speed_against(&found.memory);
    let against_raw = found.journal.speed_against(&found.raw);
    let memory_is_slower = found.memory.wall_s.median() >= found.raw.wall_s.median();
    let (slower, name) = match memory_is_slower {
        true => (&against_memory, "OpenMLS in memory"),
        false => (&against_raw, "raw write + fdatasync"),
    };
    let mut figure = asked
        .answer_by(slower)
        .with("how", json!(found.how))
        .with("slower yardstick", json!(name))
        .with_number("speed against OpenMLS in memory", against_memory.median())
        .with_number("speed against raw write + fdatasync", against_raw.median())
        .with_number(
            "speed against both yardsticks one after the other",
            found.against_sum.median(),
        )
        .with_number(
            "CPU time of OpenMLS in memory / ours",
            found.memory.cpu_s.median() / found.journal.cpu_s.median(),
        )
        .with_rounds("journal", &found.journal, bytes)
        .with_rounds("OpenMLS in memory", &found.memory, bytes)
        .with_rounds("raw write + fdatasync", &found.raw, bytes)
        .with("log batches of the last clip", json!(found.batches));
    for (name, milliseconds) in profile(found) {
        figure = figure.with_number(format!("ms {name}"), milliseconds);
    }
    figure
        .with_number("ms raw file: sync", found.raw_syncs.median() * 1e3)
        .with_number(
            "ms raw file: sync, spaced as ours",
            found.raw_spaced_syncs.median() * 1e3,
        )
}

/// What sealing at rest, wrapping and rotating add to a clip: at most a tenth of its time.
fn vault_and_wrap(asked: Question, found: &Found, without: &Rounds) -> Figure {
    let bytes = Some(found.bytes);
    let speed = found.journal.speed_against(without);
    asked
        .answer_by(&speed)
        .with("how", json!(found.how))
        .with(
            "yardstick",
            json!("OpenMLS in memory over the same engine, with the same batches, transactions and digest; nothing sealed, nothing wrapped, no rotation"),
        )
        .with_number(
            "time of ours for each second without",
            without.speed_against(&found.journal).median(),
        )
        .with_number(
            "CPU time of ours for each second without",
            found.journal.cpu_s.median() / without.cpu_s.median(),
        )
        .with_rounds("journal", &found.journal, bytes)
        .with_rounds("without vault and wrap", without, bytes)
}

/// Where the journal's time went, medians in milliseconds. The last lines are parts of `commit`
/// (disk, view) or spread over all steps (reads of the view).
fn profile(found: &Found) -> Vec<(&'static str, f64)> {
    let steps =
        |pick: fn(&Steps) -> f64| found.steps.iter().map(pick).collect::<Samples>().median() * 1e3;
    let counts = |pick: fn(&Counts) -> f64| {
        found.counts.iter().map(pick).collect::<Samples>().median() * 1e3
    };
    let by_hand = vec![
        (
            "in seal: MLS, wrap, digests",
            steps(|s| s.seal.as_secs_f64()),
        ),
        (
            "in stage: secret rows, record groups",
            steps(|s| s.stage.as_secs_f64()),
        ),
        ("in commit", steps(|s| s.commit.as_secs_f64())),
    ];
    let of_commit = vec![
        (
            "of commit: writing new log files",
            counts(|c| c.log.write_time.as_secs_f64()),
        ),
        (
            "of commit: waiting for log write and sync",
            counts(|c| c.log.sync_time.as_secs_f64()),
        ),
        (
            "of commit: vault write and sync",
            counts(|c| (c.vault.write_time + c.vault.sync_time).as_secs_f64()),
        ),
        (
            "of commit: view apply",
            counts(|c| c.store_apply_time.as_secs_f64()),
        ),
        ("of commit: checkpoint (mean)", {
            let all = found.counts.iter().map(|c| {
                (c.checkpoint.write_time + c.checkpoint.sync_time + c.store_flush_time)
                    .as_secs_f64()
            });
            all.collect::<Samples>().mean() * 1e3
        }),
        (
            "reading the view",
            counts(|c| c.store_read_time.as_secs_f64()),
        ),
    ];
    let told = found.steps.iter().any(|steps| !steps.commit.is_zero());
    let by_hand = by_hand.into_iter().filter(|_| told);
    by_hand.chain(of_commit).collect()
}

/// Clips and their acks through the hub's core at a camera's pace.
fn written(
    asked: Question,
    hub: &mut CoreHub,
    clip: &Fragments,
    raw: &mut RawFile,
    scale: Scale,
) -> Outcome<Figure> {
    let mut all = Counts::default();
    let (mut kernel, mut engine, mut raw_kernel, mut raw_bytes) = (0, 0, 0, 0);
    let rounds = scale.rounds(4, 12);
    for _ in 0..rounds {
        hub.meter.take();
        let before = (own_write_bytes()?, hub.engine_bytes()?);
        hub.record(clip, Pace::Live)?;
        let counts = hub.meter.take();
        hub.ack_all()?;
        kernel += own_write_bytes()? - before.0;
        engine += hub.engine_bytes()? - before.1;
        let before = own_write_bytes()?;
        raw.write_batches(&counts.log_batches, || {})?;
        raw_kernel += own_write_bytes()? - before;
        raw_bytes += counts.log_batches.iter().sum::<u64>();
        all.log.bytes += counts.log.bytes;
        all.checkpoint.bytes += counts.checkpoint.bytes;
        all.vault.bytes += counts.vault.bytes;
    }
    let payload = (clip.bytes * rounds as u64) as f64;
    let each = |bytes: u64| bytes as f64 / payload;
    Ok(
        asked
            .answer(each(kernel))
            .with(
                "how",
                json!("the hub's core, a sync for each fragment of at most 200 ms as a camera makes them; clip, acks, checkpoints and view, log files recycled"),
            )
            .with("by", json!("write_bytes of /proc/self/io, all rounds"))
            .with_number("Mbit/s of the pictures", clip.bit_rate / 1e6)
            .with_number("fragments of the clip", clip.count() as f64)
            .with_number("bytes of a fragment", clip.bytes as f64 / clip.count() as f64)
            // Where even this one is above 1, the kernel counts cached pages, not what reaches the disk.
            .with_number("write_bytes of a raw file for each of its bytes", raw_kernel as f64 / raw_bytes as f64)
            .with_number("by the engine's own count", each(engine))
            .with_number("log files while recording", each(all.log.bytes))
            .with_number("checkpoints while recording", each(all.checkpoint.bytes))
            .with_number("vault while recording", each(all.vault.bytes)),
    )
}

/// Seals clips and nothing else, for a child process whose memory is measured.
pub(crate) fn only_seal(dir: &Path, pairing: journal::ids::PairingId, clips: u32) -> Outcome<()> {
    let mut hub = Hub::open(dir, pairing)?;
    let clip = noise(CLIP_BYTES);
    for _ in 0..clips {
        hub.seal_clip(&clip)?;
        hub.ack_all()?;
    }
    Ok(())
}
