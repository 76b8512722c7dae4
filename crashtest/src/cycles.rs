//! One installation, killed and started again a thousand times.
//!
//! The hub dies at an instant that dice choose, again and again, every other time before it is up and
//! else mostly while it records; now and then the phone or the relay dies with it. What is looked at is
//! what could creep up: files, bytes on disk and memory of all three, the time a start takes. In the end
//! both ends must be in step, as always.
#![expect(
    clippy::disallowed_methods,
    reason = "Starts of real processes are timed, and killed after a real pause."
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wal::SeededDice;

use crate::oracle::{Clip, Ends, Verdict};
use crate::process::{Line, Role, Start};
use crate::system::{Setup, System};
use crate::trouble::{Outcome, Trouble};

/// The longest time between a start and the kill, in milliseconds.
const LIFE_MS_MAX: u64 = 350;
/// The phone or the relay dies too in every so many-th cycle.
const OTHERS_EVERY: u32 = 10;
/// The phone's owner deletes all whole clips in every so many-th cycle: what is kept on purpose grows for
/// ever. Not in the last cycles, so that the oracle has clips to judge.
const DELETE_EVERY: u32 = 50;
/// Of so many cycles one clip must have been compared, at least.
const COMPARED_AT_LEAST: usize = 8;
/// Cycles before anything is compared: files are made and recycled for the first time in them.
const WARM_UP: u32 = 100;
/// What may come on top of the most that was seen in the warm-up, of each of the three.
const SLACK_FILES: u64 = 6;
const SLACK_BYTES: u64 = 16 << 20;
/// Most memory that a program may need, in bytes.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Longest start (promise C7).
const START_MAX: Duration = Duration::from_secs(2);
/// Starts may take so many times longer in the end than after the warm-up: more is a trend.
const START_GROWTH_MAX: u32 = 3;

/// Of so many cycles one must have ended before the hub was up, at least.
const EARLY_AT_LEAST: usize = 4;

/// What was looked at after one cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Look {
    /// Until it was up; none if it was killed before.
    start: Option<Duration>,
    /// Of hub, phone and relay, in that order: files in the state directory.
    files: [u64; 3],
    /// What these take on disk.
    bytes: [u64; 3],
    memory_bytes: [u64; 3],
}

/// The order of the figures, and where each keeps its state.
const PROGRAMS: [Role; 3] = [Role::Hub, Role::App, Role::Relay];
const PLACES: [&str; 3] = ["hub", "app", "relay/data"];

/// Figures of a run.
#[derive(Clone, Debug)]
pub struct Figures {
    looks: Vec<Look>,
    /// Clips whose bytes at the phone were compared with what the hub said before they were deleted.
    compared: usize,
    /// What the oracle says of both ends afterwards.
    pub verdict: Verdict,
    took: Duration,
}

fn most(looks: &[Look]) -> Look {
    looks.iter().fold(Look::default(), |most, look| Look {
        start: most.start.max(look.start),
        files: larger(most.files, look.files),
        bytes: larger(most.bytes, look.bytes),
        memory_bytes: larger(most.memory_bytes, look.memory_bytes),
    })
}

fn larger(a: [u64; 3], b: [u64; 3]) -> [u64; 3] {
    let [a0, a1, a2] = a;
    let [b0, b1, b2] = b;
    [a0.max(b0), a1.max(b1), a2.max(b2)]
}

fn median_start(looks: &[Look]) -> Duration {
    let mut starts: Vec<Duration> = looks.iter().filter_map(|look| look.start).collect();
    starts.sort_unstable();
    starts.get(starts.len() / 2).copied().unwrap_or_default()
}

impl Figures {
    fn split(&self) -> (&[Look], &[Look]) {
        let warm = (WARM_UP as usize).min(self.looks.len() / 2);
        self.looks.split_at(warm)
    }

    /// Kills before the hub was up.
    fn early(&self) -> usize {
        self.looks
            .iter()
            .filter(|look| look.start.is_none())
            .count()
    }

    /// What is not bounded, a sentence each.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let (early, late) = self.split();
        let (before, after) = (most(early), most(late));
        let last = late
            .get(late.len().saturating_sub(early.len())..)
            .unwrap_or_default();
        let (first_median, last_median) = (median_start(early), median_start(last));
        let mut all = Vec::new();
        let early = self.early();
        if early * EARLY_AT_LEAST < self.looks.len() {
            all.push(format!(
                "only {early} of {} kills came before the hub was up",
                self.looks.len()
            ));
        }
        if self.compared * COMPARED_AT_LEAST < self.looks.len() {
            all.push(format!("only {} clips were compared", self.compared));
        }
        let mut grew = |what: &str, before: [u64; 3], after: [u64; 3], slack: u64| {
            let pairs = before.into_iter().zip(after);
            for (program, (before, after)) in PROGRAMS.into_iter().zip(pairs) {
                if after > before + slack {
                    all.push(format!("{what} of {program} grew from {before} to {after}"));
                }
            }
        };
        grew("files", before.files, after.files, SLACK_FILES);
        grew("bytes", before.bytes, after.bytes, SLACK_BYTES);
        for (program, bytes) in PROGRAMS.into_iter().zip(after.memory_bytes) {
            if bytes > MEMORY_BYTES_MAX {
                all.push(format!("{program} needed {bytes} bytes of memory"));
            }
        }
        let longest = before.start.max(after.start).unwrap_or_default();
        if longest > START_MAX {
            all.push(format!("a start took {longest:?}"));
        }
        if last_median > START_MAX || last_median > first_median * START_GROWTH_MAX {
            all.push(format!(
                "starts slowed from {first_median:?} to {last_median:?}"
            ));
        }
        if self.verdict != Verdict::Pass {
            all.push(format!(
                "in the end: {:.2000}",
                format!("{:?}", self.verdict)
            ));
        }
        all
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let (early, late) = self.split();
        let side = |looks: &[Look]| {
            let most = most(looks);
            let [hub, app, relay] = most.memory_bytes;
            let ([hub_files, app_files, relay_files], [hub_bytes, app_bytes, relay_bytes]) =
                (most.files, most.bytes);
            json!({"files_max": hub_files, "app_files_max": app_files, "relay_files_max": relay_files,
                   "bytes_max": hub_bytes, "app_bytes_max": app_bytes, "relay_bytes_max": relay_bytes,
                   "memory_bytes_max": hub, "app_memory_bytes_max": app,
                   "relay_memory_bytes_max": relay,
                   "start_ms_median": median_start(looks).as_millis() as u64,
                   "start_ms_max": most.start.unwrap_or_default().as_millis() as u64})
        };
        let complaints = self.complaints();
        json!({"cycles": self.looks.len(), "before_ready": self.early(), "compared": self.compared,
               "in_step": self.verdict == Verdict::Pass, "seconds": self.took.as_secs_f64(),
               "first": side(early), "rest": side(late),
               "good": complaints.is_empty(), "complaints": complaints})
    }
}

/// Kills and starts the hub of one installation so many times.
///
/// # Errors
/// A program ended without having been killed, or a start did not come up.
pub fn run(cycles: u32, mut told: impl FnMut(u32)) -> Outcome<Figures> {
    let began = Instant::now();
    let setup = Setup {
        passes: 0,
        gap_seconds: 0.0,
        ..Setup::default()
    };
    let mut dice = SeededDice(1);
    let mut system = System::paired(setup)?;
    system.start_app()?;
    let mut looks = Vec::new();
    let mut compared = 0;
    let mut usual = Duration::ZERO;
    for cycle in 0..cycles {
        // Every other hub dies somewhere in its start, as long as the last one took.
        let start = if cycle % 2 == 0 {
            let start = Instant::now();
            system.start_hub()?;
            usual = start.elapsed();
            std::thread::sleep(Duration::from_millis(dice.below(LIFE_MS_MAX)));
            Some(usual)
        } else {
            let config = system.path("hub.toml").to_string_lossy().into_owned();
            let from = system.spawn(
                Role::Hub,
                &Start::with(&["run", "--config", &config, "--json"]),
            )?;
            std::thread::sleep(usual.mul_f64(dice.below(100) as f64 / 100.0));
            let number = system.process(Role::Hub)?.number();
            let up = |line: &Line| line.process == number && line.event() == "ready";
            // One that was quicker than usual is as good as any other, and has no time of its own.
            system.board().find(from, up).map(|_up| usual)
        };
        let mut memory = [0; 3];
        for (program, bytes) in PROGRAMS.into_iter().zip(&mut memory) {
            let process = system.process(program)?;
            let peak = memory_bytes(process.id()).map_err(Trouble::machine("a program's memory"));
            if let Some(status) = process.ended() {
                return Err(process.trouble(status));
            }
            *bytes = peak?;
        }
        if cycle % OTHERS_EVERY == OTHERS_EVERY - 1 {
            let other = [Role::App, Role::Relay][dice.below(2) as usize];
            system.kill(other)?;
            system.start(other)?;
        }
        system.kill(Role::Hub)?;
        if cycle % DELETE_EVERY == DELETE_EVERY / 2 {
            system.kill(Role::App)?;
            compared += compare_and_delete(&mut system)?;
            system.start(Role::App)?;
        }
        let (mut files, mut bytes) = ([0; 3], [0; 3]);
        for ((place, files), bytes) in PLACES.into_iter().zip(&mut files).zip(&mut bytes) {
            (*files, *bytes) = weigh(&system.path(place)).map_err(Trouble::machine(place))?;
        }
        looks.push(Look {
            start,
            files,
            bytes,
            memory_bytes: memory,
        });
        told(cycle + 1);
    }
    system.setup.passes = 1;
    system.write_hub_config()?;
    system.start_hub()?;
    let ends = system.settle().map(without_forgotten);
    Ok(Figures {
        looks,
        compared,
        verdict: Verdict::with_notes(&ends, &system.all_notes()),
        took: began.elapsed(),
    })
}

/// Exports every whole clip of the phone, compares its bytes with what the hub said of it, and deletes it.
/// What is not whole stays. No sync may run.
fn compare_and_delete(system: &mut System) -> Outcome<usize> {
    let mut compared = 0;
    for clip in system.app_clips()?.into_iter().filter(is_whole) {
        let bytes = system.export(&clip.id)?;
        let said = system.board().find(0, |line| {
            line.role == Role::Hub
                && line.event() == "clip_finished"
                && line.text("clip") == clip.id
        });
        // A hub that was killed in that moment said nothing.
        if let Some(said) = said {
            let digest = hex(&Sha256::digest(&bytes));
            let same =
                said.number("bytes") == Some(bytes.len() as u64) && said.text("sha256") == digest;
            if !same {
                let what = format!(
                    "C2: clip {} has {} bytes, {digest}; the hub said {:?}",
                    clip.id,
                    bytes.len(),
                    said.value
                );
                return Err(Trouble::Broken(what));
            }
            compared += 1;
        }
        system.delete_clip(&clip.id)?;
    }
    Ok(compared)
}

fn is_whole(clip: &Clip) -> bool {
    matches!(clip.outcome.as_str(), "complete" | "cut_off")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hub forgets all but its newest acked clips. What the phone has whole and the hub knows no more is
/// no contradiction here, and nobody speaks any more of one that was whole when it was deleted; every other
/// rule of the oracle stands.
fn without_forgotten(mut ends: Ends) -> Ends {
    let known: BTreeSet<String> = ends.hub_clips.iter().map(|clip| clip.id.clone()).collect();
    let forgotten: BTreeSet<String> = ends
        .app_clips
        .iter()
        .filter(|clip| is_whole(clip) && !known.contains(&clip.id))
        .map(|clip| clip.id.clone())
        .collect();
    ends.app_clips.retain(|clip| !forgotten.contains(&clip.id));
    ends.exports.retain(|id, _| !forgotten.contains(id));
    // Only whole ones were deleted. That one of them is back would still be seen.
    let past =
        |id: &str| forgotten.contains(id) || ends.deleted.contains(id) && !known.contains(id);
    ends.history.retain(|line| !past(line.text("clip")));
    ends
}

/// Peak memory of a process.
fn memory_bytes(id: u32) -> std::io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    let unread = || std::io::Error::other("the kernel says nothing of it");
    Ok(kib.ok_or_else(unread)? * 1024)
}

/// Files below a directory, and the bytes that they take on disk.
fn weigh(dir: &Path) -> std::io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let (mut files, mut bytes) = (0, 0);
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = match entry.metadata() {
            // Phone and relay run on, and clean up after themselves.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            metadata => metadata?,
        };
        if metadata.is_dir() {
            let (more, heavy) = weigh(&entry.path())?;
            files += more;
            bytes += heavy;
        } else {
            files += 1;
            bytes += metadata.blocks() * 512;
        }
    }
    Ok((files, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_creeps_up_is_seen() {
        let look = |number: u64| Look {
            start: number
                .is_multiple_of(2)
                .then_some(Duration::from_millis(50)),
            files: [20; 3],
            bytes: [number << 20, 1, 1],
            memory_bytes: [30 << 20; 3],
        };
        let still = |number: u64| look(number % 2);
        let figures = |looks: Vec<Look>| Figures {
            compared: looks.len(),
            looks,
            verdict: Verdict::Pass,
            took: Duration::from_secs(1),
        };
        assert!(
            figures((0..300).map(still).collect())
                .complaints()
                .is_empty()
        );
        let late = figures(vec![look(0); 300]).complaints();
        assert_eq!(late.len(), 1, "{late:?}");
        let growing = figures((0..300).map(look).collect());
        assert_eq!(growing.complaints().len(), 1, "{:?}", growing.complaints());
        let mut slow: Vec<Look> = (0..300).map(still).collect();
        let slower = |look: &mut Look| look.start = look.start.map(|start| start * 5);
        slow.iter_mut().skip(150).for_each(slower);
        assert_eq!(figures(slow).complaints().len(), 1);
        let mut one_slow: Vec<Look> = (0..300).map(still).collect();
        one_slow[200].start = Some(START_MAX * 2);
        assert_eq!(
            figures(one_slow).complaints().len(),
            1,
            "the median hides it"
        );
        for program in 0..3 {
            let mut heavy: Vec<Look> = (0..300).map(still).collect();
            heavy[200].memory_bytes[program] = MEMORY_BYTES_MAX + 1;
            assert_eq!(figures(heavy).complaints().len(), 1, "{program}");
        }
    }
}
