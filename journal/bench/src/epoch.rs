//! Epoch advances: against OpenMLS over SQLite, and how many syncs lie before a first byte.

use std::path::Path;
use std::process::{Command, Stdio};

use journal::ids::PairingId;
use serde_json::json;

use crate::child::{self, BEGIN, END};
use crate::hub::{Hub, noise};
use crate::measure::{Cost, Rounds, Samples, timed};
use crate::meter::Counts;
use crate::report::{Figure, Question, Target};
use crate::sqlite::Sqlite;
use crate::{Outcome, Scale};

/// What is asked.
pub(crate) const QUESTIONS: [Question; 6] = [
    Question {
        key: "epoch_sqlite_wal",
        title: "epoch advance / SQLite autocommit, WAL, FULL",
        unit: "x",
        target: Target::AtLeast(5.0),
    },
    Question {
        key: "epoch_sqlite_default",
        title: "epoch advance / SQLite autocommit, its default, FULL",
        unit: "x",
        target: Target::AtLeast(5.0),
    },
    Question {
        key: "epoch_sqlite_transaction",
        title: "epoch advance / SQLite, one transaction, WAL, FULL",
        unit: "x",
        target: Target::None,
    },
    Question {
        key: "first_byte_syncs",
        title: "syncs per epoch advance on the way to the first byte",
        unit: "",
        target: Target::AtMost(1.0),
    },
    Question {
        key: "first_byte_vault_syncs",
        title: "vault syncs before a first byte, most",
        unit: "",
        target: Target::AtMost(0.0),
    },
    Question {
        key: "rotation_vault_syncs",
        title: "vault syncs that a rotation adds to the trailer's, most",
        unit: "",
        target: Target::AtMost(2.0),
    },
];

/// Epoch advances in one round, so that a round is not one sync long.
const ADVANCES_PER_ROUND: usize = 4;
/// As many bytes as a trailer says.
const TRAILER_BYTES: usize = 80;

/// Runs the rounds and answers all questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let pairing = Hub::pair(dir)?;
    let mut figures = against_sqlite(dir, pairing, scale)?;
    figures.extend(syncs(dir, pairing, scale)?);
    Ok(figures)
}

fn against_sqlite(dir: &Path, pairing: PairingId, scale: Scale) -> Outcome<Vec<Figure>> {
    let mut sqlite = Sqlite::start(dir)?;
    let mut hub = Hub::open(dir, pairing)?;
    let mut memory = yardstick::in_memory(journal::Suite::XWing.ciphersuite())?;
    let mut rounds: [Rounds; 5] = Default::default();
    let warm_up = 3;
    for number in 0..scale.rounds(10, 40) + warm_up {
        let (own, own_cost) = timed(|| repeat(|| hub.advance_epoch()));
        own?;
        let (bare, bare_cost) = timed(|| repeat(|| memory.advance_epoch().map(drop)));
        bare?;
        let costs = [
            own_cost,
            sqlite.advance("write-ahead", ADVANCES_PER_ROUND)?,
            sqlite.advance("default", ADVANCES_PER_ROUND)?,
            sqlite.advance("transaction", ADVANCES_PER_ROUND)?,
            bare_cost,
        ];
        for (cost, rounds) in costs.into_iter().zip(&mut rounds) {
            if number >= warm_up {
                rounds.push(cost);
            }
        }
        hub.ack_all()?;
    }
    let [journal, write_ahead, default, transaction, memory] = rounds;
    let name = format!("SQLite, {ADVANCES_PER_ROUND} epochs");
    let against = |asked: Question, other: &Rounds| {
        asked
            .answer_by(&journal.speed_against(other))
            .with_rounds(
                &format!("journal, {ADVANCES_PER_ROUND} epochs"),
                &journal,
                None,
            )
            .with_rounds(&name, other, None)
            .with_number(
                "the same ratio if storage cost us nothing",
                memory.speed_against(other).median(),
            )
    };
    let [by_wal, by_default, by_transaction, ..] = QUESTIONS;
    Ok(vec![
        against(by_wal, &write_ahead).with(
            "yardstick",
            json!("OpenMLS over SQLite without an outbox row; ours has one"),
        ),
        against(by_default, &default),
        against(by_transaction, &transaction),
    ])
}

fn repeat(mut action: impl FnMut() -> Outcome<()>) -> Outcome<()> {
    (0..ADVANCES_PER_ROUND).try_for_each(|_| action())
}

/// One event's first byte, many times: Commit, header and chunk in one transaction. Then a message like the
/// trailer that rotates nothing, as a yardstick, and the end with its rotation.
fn syncs(dir: &Path, pairing: PairingId, scale: Scale) -> Outcome<Vec<Figure>> {
    let chunk = noise(16 * 1024);
    let (mut by_stats, mut by_disk, mut at_end) = <(Samples, Samples, Samples)>::default();
    let (mut before, mut plain, mut rotation) = <(Counted, Counted, Counted)>::default();
    let count = scale.rounds(40, 200);
    {
        let mut hub = Hub::open(dir, pairing)?;
        // The first event of a process finds no warm files.
        let clip = hub.first_byte(&chunk)?;
        hub.finish(clip)?;
        for _ in 0..count {
            hub.ack_all()?;
            hub.meter.take();
            let syncs = hub.journal.stats().syncs;
            let clip = hub.first_byte(&chunk)?;
            by_stats.push((hub.journal.stats().syncs - syncs) as f64);
            let counts = hub.meter.take();
            by_disk.push(counts.syncs() as f64);
            before.push(&counts, Cost::default());
            let (sent, cost) = timed(|| hub.chunk(clip, &chunk[..TRAILER_BYTES]));
            sent?;
            plain.push(&hub.meter.take(), cost);
            let (finished, cost) = timed(|| hub.finish(clip));
            finished?;
            let counts = hub.meter.take();
            at_end.push(counts.syncs() as f64);
            rotation.push(&counts, cost);
        }
    }
    let [.., first_byte, first_byte_vault, at_rotation] = QUESTIONS;
    let mut figure = first_byte
        .answer(by_disk.median())
        .with(
            "by",
            json!("a counter on the disk (files and directories), median"),
        )
        .with_number("events", count as f64)
        .with_number(
            "mean (log files made and finished included)",
            by_disk.mean(),
        )
        .with_number("most", by_disk.quantile(1.0))
        .with_number("by the engine's own count, median", by_stats.median())
        .with_number(
            "at the end of a clip (log, two vault images), median",
            at_end.median(),
        );
    figure = match by_strace(dir, pairing, scale.rounds(20, 60) as u32) {
        Ok(counted) => figure
            .with_number("by strace, median", counted.median())
            .with_number("by strace, mean", counted.mean()),
        Err(error) => figure.with("by strace", json!(format!("not measured: {error}"))),
    };
    Ok(vec![
        figure,
        vault_before_first_byte(first_byte_vault, &before),
        vault_at_rotation(at_rotation, &plain, &rotation),
    ])
}

/// What was counted of the same step of many events.
#[derive(Default)]
struct Counted {
    vault: Samples,
    all: Samples,
    rounds: Rounds,
}

impl Counted {
    fn push(&mut self, counts: &Counts, cost: Cost) {
        self.vault.push(counts.vault.syncs as f64);
        self.all.push(counts.syncs() as f64);
        self.rounds.push(cost);
    }
}

fn vault_before_first_byte(asked: Question, before: &Counted) -> Figure {
    asked
        .answer(before.vault.quantile(1.0))
        .with("by", json!("a counter on the disk, the most of all events"))
        .with_number("events", before.vault.count() as f64)
}

/// How many the end of a clip adds to the sync that its trailer needs anyway.
fn vault_at_rotation(asked: Question, plain: &Counted, rotation: &Counted) -> Figure {
    asked
        .answer(rotation.vault.quantile(1.0))
        .with("by", json!("a counter on the disk, the most of all events"))
        .with_number("events", rotation.vault.count() as f64)
        .with_number(
            "all syncs of a message without a rotation, median",
            plain.all.median(),
        )
        .with_number(
            "all syncs of the end of a clip, median",
            rotation.all.median(),
        )
        .with_number(
            "vault syncs of a message without a rotation, most",
            plain.vault.quantile(1.0),
        )
        .with_number(
            "speed of the end against that message",
            rotation.rounds.speed_against(&plain.rounds).median(),
        )
        .with_rounds("end of a clip", &rotation.rounds, None)
        .with_rounds("message without a rotation", &plain.rounds, None)
}

/// The same in a child process under strace: what reaches the kernel between two marks.
fn by_strace(dir: &Path, pairing: PairingId, count: u32) -> Outcome<Samples> {
    let log = dir.join("strace.log");
    let child = child::Task::FirstBytes.command(dir, pairing, count)?;
    let mut strace = Command::new("strace");
    strace
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=fsync,fdatasync,syncfs,sync,sync_file_range,msync,write",
            "-o",
        ])
        .arg(&log)
        .arg(child.get_program())
        .args(child.get_args())
        .envs(
            child
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
    let output = strace
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .to_owned()
            .into());
    }
    let samples = between_marks(&std::fs::read_to_string(&log)?);
    match samples.count() {
        0 => Err("strace saw no marks".into()),
        _ => Ok(samples),
    }
}

/// Syncs between each BEGIN and its END in a log of strace.
fn between_marks(log: &str) -> Samples {
    let mut samples = Samples::default();
    let mut counting = None;
    for line in log.lines() {
        if line.contains("write(") {
            if line.contains(BEGIN) {
                counting = Some(0.0);
            } else if line.contains(END)
                && let Some(count) = counting.take()
            {
                samples.push(count);
            }
        } else if line.contains("sync") && !line.contains("resumed>") {
            counting = counting.map(|count| count + 1.0);
        }
    }
    samples
}

/// Advances epochs and says so on standard output, for [`by_strace`].
pub(crate) fn only_first_bytes(dir: &Path, pairing: PairingId, count: u32) -> Outcome<()> {
    use std::io::Write as _;

    let chunk = noise(16 * 1024);
    let mut hub = Hub::open(dir, pairing)?;
    let mut out = std::io::stdout();
    let mut say = |mark: &str| {
        out.write_all(mark.as_bytes())?;
        out.flush()
    };
    for _ in 0..count {
        hub.ack_all()?;
        say(&format!("{BEGIN}\n"))?;
        let clip = hub.first_byte(&chunk)?;
        say(&format!("{END}\n"))?;
        hub.finish(clip)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syncs_are_counted_between_marks_only_and_once() {
        let log = format!(
            "1 fdatasync(3) = 0\n1 write(1, \"{BEGIN}\\n\", 9) = 9\n1 fdatasync(3 <unfinished ...>\n\
             2 fsync(4) = 0\n1 <... fdatasync resumed>) = 0\n1 write(1, \"{END}\\n\", 7) = 7\n\
             1 fdatasync(5) = 0\n1 write(1, \"{BEGIN}\\n\", 9) = 9\n1 write(1, \"{END}\\n\", 7) = 7\n"
        );
        let samples = between_marks(&log);
        assert_eq!((samples.count(), samples.sum()), (2, 2.0));
    }
}
