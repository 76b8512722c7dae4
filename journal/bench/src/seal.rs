//! Durable sealing of a clip against the same MLS work in memory and against a plain file, and what
//! it writes for each byte.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::hub::{CHUNKS_PER_COMMIT, CLIP_BYTES, Hub, Steps, Syncing, WARM_UP_CLIPS, noise};
use crate::measure::{Rounds, Samples, spin, timed};
use crate::meter::Counts;
use crate::procfs::own_write_bytes;
use crate::raw_file::RawFile;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

/// Steady state: log files are recycled, and the raw file is as large as one of them.
const RAW_FILE_BYTES: u64 = 16 << 20;

/// What the rounds of sealing left behind.
struct Found {
    syncing: Syncing,
    journal: Rounds,
    memory: Rounds,
    raw: Rounds,
    /// Time of each round that a perfect, unpipelined implementation would need at least.
    against_sum: Samples,
    raw_syncs: Samples,
    raw_spaced_syncs: Samples,
    steps: Vec<Steps>,
    counts: Vec<Counts>,
    /// Bytes for each payload byte, by the kernel and by the engine, clip and its ack together.
    kernel_bytes: u64,
    engine_bytes: u64,
    /// The same for the raw file: where even this one is above 1, the kernel counts cached pages,
    /// not what reaches the disk.
    raw_kernel_bytes: u64,
    raw_bytes: u64,
    batches: Vec<u64>,
}

impl Found {
    fn new(syncing: Syncing) -> Self {
        Self {
            syncing,
            journal: Rounds::default(),
            memory: Rounds::default(),
            raw: Rounds::default(),
            against_sum: Samples::default(),
            raw_syncs: Samples::default(),
            raw_spaced_syncs: Samples::default(),
            steps: Vec::new(),
            counts: Vec::new(),
            kernel_bytes: 0,
            engine_bytes: 0,
            raw_kernel_bytes: 0,
            raw_bytes: 0,
            batches: Vec::new(),
        }
    }
}

/// Runs the rounds and answers two questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let pairing = Hub::pair(dir)?;
    let mut hub = Hub::open(dir, pairing)?;
    let clip = noise(CLIP_BYTES);
    for _ in 0..WARM_UP_CLIPS {
        hub.seal_clip(&clip, Syncing::Waited)?;
        hub.ack_all()?;
    }
    let mut memory = yardstick::in_memory(journal::Suite::XWing.ciphersuite())?;
    let mut raw = RawFile::create(&dir.join("raw"), RAW_FILE_BYTES)?;
    memory.seal_clip(&clip, journal::CHUNK_BYTES_MAX)?;
    let mut waited = Found::new(Syncing::Waited);
    let mut overlapped = Found::new(Syncing::Overlapped);
    for _ in 0..scale.rounds(9, 30) {
        for found in [&mut waited, &mut overlapped] {
            round(&mut hub, &mut memory, &mut raw, &clip, found)?;
        }
    }
    Ok(vec![
        speed(
            "seal",
            "durable sealing of 5 MB / slower yardstick",
            &waited,
        ),
        speed(
            "seal_overlapped",
            "the same, sealing while the disk syncs",
            &overlapped,
        ),
        amplification(&waited),
    ])
}

/// A, B, C, one after another.
fn round(
    hub: &mut Hub,
    memory: &mut yardstick::Member<openmls_libcrux_crypto::Provider>,
    raw: &mut RawFile,
    clip: &[u8],
    found: &mut Found,
) -> Outcome<()> {
    hub.meter.take();
    let (kernel, engine) = (own_write_bytes()?, hub.journal.stats().bytes_written);
    let (steps, journal) = timed(|| hub.seal_clip(clip, found.syncing));
    let counts = hub.meter.take();
    hub.ack_all()?;
    found.kernel_bytes += own_write_bytes()? - kernel;
    found.engine_bytes += hub.journal.stats().bytes_written - engine;
    let (sealed, in_memory) = timed(|| memory.seal_clip(clip, journal::CHUNK_BYTES_MAX));
    sealed?;
    let batches = counts.log_batches.len() as u128;
    let kernel = own_write_bytes()?;
    let (written, plain) = timed(|| raw.write_batches(&counts.log_batches, || {}));
    found.raw_syncs.push(written?.as_secs_f64());
    found.raw_kernel_bytes += own_write_bytes()? - kernel;
    found.raw_bytes += counts.log_batches.iter().sum::<u64>();
    // A disk that rests between two syncs may answer later than one that is kept busy.
    let gap = steps
        .as_ref()
        .map_or(0, |steps| steps.seal.as_micros() / batches.max(1));
    let gap = Duration::from_micros(gap as u64);
    let spaced = raw.write_batches(&counts.log_batches, || spin(gap))?;
    found.raw_spaced_syncs.push(spaced.as_secs_f64());
    found.journal.push(journal);
    found.memory.push(in_memory);
    found.raw.push(plain);
    found
        .against_sum
        .push((in_memory.wall_s + plain.wall_s) / journal.wall_s);
    found.batches.clone_from(&counts.log_batches);
    found.steps.push(steps?);
    found.counts.push(counts);
    Ok(())
}

fn speed(key: &'static str, title: &'static str, found: &Found) -> Figure {
    let bytes = Some(CLIP_BYTES as u64);
    let against_memory = found.journal.speed_against(&found.memory);
    let against_raw = found.journal.speed_against(&found.raw);
    let memory_is_slower = found.memory.wall_s.median() >= found.raw.wall_s.median();
    let (slower, name) = match memory_is_slower {
        true => (&against_memory, "OpenMLS in memory"),
        false => (&against_raw, "raw write + fdatasync"),
    };
    let how = match found.syncing {
        Syncing::Waited => "every batch waits for its sync (commit)",
        Syncing::Overlapped => {
            "begin_commit for every batch, one commit at the end of the clip, as the hub's core does"
        }
    };
    let mut figure = Figure::of_samples(key, title, "x", slower, Target::AtLeast(0.7))
        .with("how", json!(how))
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
        .with("chunks per commit", json!(CHUNKS_PER_COMMIT))
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

/// Where the journal's time went, medians in milliseconds. The last lines are parts of `commit`
/// (disk, view) or spread over all steps (reads of the view).
fn profile(found: &Found) -> Vec<(&'static str, f64)> {
    let steps =
        |pick: fn(&Steps) -> f64| found.steps.iter().map(pick).collect::<Samples>().median() * 1e3;
    let counts = |pick: fn(&Counts) -> f64| {
        found.counts.iter().map(pick).collect::<Samples>().median() * 1e3
    };
    vec![
        (
            "in seal: MLS, wrap, digests",
            steps(|s| s.seal.as_secs_f64()),
        ),
        (
            "in stage: secret rows, record groups",
            steps(|s| s.stage.as_secs_f64()),
        ),
        ("in commit", steps(|s| s.commit.as_secs_f64())),
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
    ]
}

fn amplification(found: &Found) -> Figure {
    let payload = (CLIP_BYTES * found.counts.len()) as f64;
    let area =
        |pick: fn(&Counts) -> u64| found.counts.iter().map(pick).sum::<u64>() as f64 / payload;
    let title = "bytes written per payload byte, 5 MB clip and its ack";
    let measured = found.kernel_bytes as f64 / payload;
    Figure::new("bytes_written", title, "x", measured, Target::AtMost(1.10))
        .with(
            "by",
            json!("write_bytes of /proc/self/io, all rounds, checkpoints and view included"),
        )
        .with_number(
            "write_bytes of the raw file for each of its bytes",
            found.raw_kernel_bytes as f64 / found.raw_bytes as f64,
        )
        .with_number(
            "by the engine's own count",
            found.engine_bytes as f64 / payload,
        )
        .with_number("log files while sealing", area(|c| c.log.bytes))
        .with_number("checkpoints while sealing", area(|c| c.checkpoint.bytes))
        .with_number("vault while sealing", area(|c| c.vault.bytes))
}

/// Seals clips and nothing else, for a child process whose memory is measured.
pub(crate) fn only_seal(dir: &Path, pairing: journal::ids::PairingId, clips: u32) -> Outcome<()> {
    let mut hub = Hub::open(dir, pairing)?;
    let clip = noise(CLIP_BYTES);
    for _ in 0..clips {
        hub.seal_clip(&clip, Syncing::Waited)?;
        hub.ack_all()?;
    }
    Ok(())
}
