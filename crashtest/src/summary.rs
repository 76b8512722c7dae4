//! The report of a whole run, as a document for people: `crashtest/REPORT.md`.
//!
//! It is made of what each kind of test said as JSON, and of nothing else. What a result does not
//! say, the report says to be missing; this room must never make a number of its own but sums.

use std::fmt::Write as _;

use serde_json::Value;

mod failures;
mod real_file_system;
mod tiers;

/// Said by people, kept beside the code: what was found, and what cannot be covered.
const TRACK_RECORD: &str = include_str!("../track-record.md");
const LIMITS: &str = include_str!("../limits.md");
/// Which tier asks what.
const INVARIANTS: &str = include_str!("../invariants.md");
/// Made of the comments at the crash points: which two states each of them separates.
const POINTS: &str = include_str!("../points.md");

/// Sentences about what was not covered, collected while the rest is written.
#[derive(Default)]
struct Missing(Vec<String>);

/// Makes the document. `full` is the last run of the long tier, if there was one.
#[must_use]
pub fn document(run: &Value, full: Option<&Value>) -> String {
    let mut missing = Missing::default();
    let mut text = String::from(
        "# Crash report\n\nMade by `cargo xtask crash --bless`; do not edit. What each test does, the \
         promises C1 to C8 and the fault model: [README](README.md).\n\n",
    );
    // The head must not claim what the sections, which come after it, find missing.
    let begin = text.len();
    tiers::times(&mut text, run);
    let results = &run["results"];
    failures::list_all(&mut text, run);
    let sections: [(&str, Section); 12] = [
        ("kills", kills),
        ("power-cuts", power_cuts),
        (real_file_system::NAME, real_file_system::section),
        ("disk-errors", disk_errors),
        ("daemon-errors", daemon_errors),
        ("simulation", simulation),
        ("engine", engine),
        ("cycles", cycles),
        ("start-up", start_up),
        ("mutants", mutants),
        ("model", model),
        ("model-replay", model_replay),
    ];
    for (name, section) in sections {
        match results.get(name) {
            Some(value) if !value.is_null() && name == "mutants" => {
                // Those that only real processes show were tried beside the kills.
                let mut all = value.clone();
                let more = results.get("kills").map(|kills| list(kills, "mutants"));
                if let Some(Value::Array(bugs)) = all.get_mut("mutants") {
                    bugs.extend(more.unwrap_or_default().iter().cloned());
                }
                section(&mut text, &all, &mut missing);
            }
            Some(value) if !value.is_null() => section(&mut text, value, &mut missing),
            _ if list(run, "left_out").iter().any(|one| one == name) => {}
            _ if name == real_file_system::NAME && word(run, "tier") != "full" => missing
                .0
                .push(real_file_system::NOT_IN_THIS_TIER.to_owned()),
            _ => missing
                .0
                .push(format!("{name}: not run, or without a result")),
        }
    }
    tiers::long(&mut text, full, &mut missing);
    if let Some(full) = full {
        example(&mut text, &full["results"]["sqlite-example"], &mut missing);
    }
    if !["?", "0/1"].contains(&word(run, "shard")) {
        missing.0.push(format!(
            "this is shard {}: its sends and epochs were checked against its part of the states alone, and a kill \
             that no other machine's survey saw is nobody's",
            word(run, "shard")
        ));
    }
    for name in list(run, "left_out").iter().filter_map(Value::as_str) {
        let sentence = format!("{name}: left out, as was asked for (`--without`)");
        missing.0.push(sentence);
    }
    let mut top = String::new();
    head(&mut top, run, missing.0.len());
    text.insert_str(begin, &top);
    push(&mut text, "## Not covered in this run\n");
    if missing.0.is_empty() {
        push(&mut text, "Nothing of what is planned.\n");
    }
    for sentence in &missing.0 {
        push(&mut text, &format!("- {sentence}"));
    }
    push(&mut text, "");
    text.push_str(POINTS);
    text.push('\n');
    text.push_str(INVARIANTS);
    text.push('\n');
    text.push_str(LIMITS);
    text.push('\n');
    text.push_str(TRACK_RECORD);
    text
}

type Section = fn(&mut String, &Value, &mut Missing);

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or_default()
}

fn seconds(value: &Value) -> f64 {
    value
        .get("seconds")
        .and_then(Value::as_f64)
        .unwrap_or_default()
}

fn word<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or("?")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The verdict, which is of what was done; and how many things were not.
fn head(text: &mut String, run: &Value, missing: usize) {
    let good = run.get("good").and_then(Value::as_bool) == Some(true);
    let verdict = if good {
        "every promise held and every deliberate bug was caught in what was done"
    } else {
        "**not good**: see below"
    };
    let covered = match missing {
        0 => "All that was planned was done.".to_owned(),
        1 => "One thing was not covered, listed below.".to_owned(),
        more => format!("{more} things were not covered, listed below."),
    };
    let failed: Vec<&str> = list(run, "failed")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let failed = if failed.is_empty() {
        String::new()
    } else {
        format!(" ({})", failed.join(", "))
    };
    let own = word(run, "commit");
    let others = run.get("commits").and_then(Value::as_object);
    let others: Vec<String> = others
        .into_iter()
        .flatten()
        .filter_map(|(name, commit)| Some((name, commit.as_str()?)))
        .filter(|(_, commit)| *commit != own)
        .map(|(name, commit)| format!("{name} at {commit}"))
        .collect();
    push(
        text,
        &format!(
            "Commit {}, tier {}: {verdict}{failed}. {covered}\n",
            own,
            word(run, "tier")
        ),
    );
    if !others.is_empty() {
        push(
            text,
            &format!("Results of other commits: {}.\n", others.join(", ")),
        );
    }
}

fn rows(text: &mut String, header: &str, lines: impl IntoIterator<Item = String>) {
    push(text, header);
    let columns = header.matches('|').count().saturating_sub(1);
    push(text, &format!("|{}", "---|".repeat(columns)));
    for line in lines {
        push(text, &line);
    }
    push(text, "");
}

fn kills(text: &mut String, value: &Value, missing: &mut Missing) {
    push(text, "## Kills: each point, SIGKILL, real processes\n");
    let totals = &value["totals"];
    let took = seconds(value);
    let runs = number(totals, "planned");
    let _ = writeln!(
        text,
        "{runs} runs, {} died as planned, {} passed, {} refused, {} fatal; {took:.0} s, {:.1} runs a second.\n",
        number(totals, "killed"),
        number(totals, "passed"),
        number(totals, "refused"),
        number(totals, "fatal"),
        runs as f64 / took.max(1.0),
    );
    let lines = list(value, "points").iter().map(|row| {
        let counts = &row["counts"];
        let again = row.get("again_in_recovery").and_then(Value::as_bool) == Some(true);
        let workloads = row.get("workloads").and_then(Value::as_object);
        let workloads = workloads.into_iter().flatten();
        let workloads: Vec<String> = workloads
            .map(|(name, runs)| format!("{name} {runs}"))
            .collect();
        format!(
            "| {} | `{}`{} | {} | {} | {} | {} | {} | {} |",
            word(row, "program").trim_start_matches("secluso-"),
            word(row, "point"),
            if again { " again in recovery" } else { "" },
            workloads.join(", "),
            number(counts, "planned"),
            number(counts, "killed"),
            number(counts, "passed"),
            number(counts, "refused"),
            number(counts, "fatal"),
        )
    });
    rows(
        text,
        "| program | point | killed in | runs | killed | passed | refused | fatal |",
        lines,
    );
    let rooms = list(value, "not_entered");
    if !rooms.is_empty() {
        push(
            text,
            "Linked into a program that never comes there, because one crate has the code of both ends; a \
             run in which it does fails:\n",
        );
        for room in rooms {
            push(text, &format!("- {}", room.as_str().unwrap_or("?")));
        }
        push(text, "");
    }
    for sentence in list(value, "not_covered") {
        missing
            .0
            .push(format!("kills: {}", sentence.as_str().unwrap_or("?")));
    }
}

fn power_cuts(text: &mut String, value: &Value, missing: &mut Missing) {
    push(
        text,
        "## Power cuts: states derived from recordings of the real programs\n",
    );
    let reports = value.as_array().map_or(&[][..], Vec::as_slice);
    let sum = |key: &str| reports.iter().map(|one| number(one, key)).sum::<u64>();
    let took: f64 = reports.iter().map(seconds).sum();
    let _ = writeln!(
        text,
        "{} unique states of {} derived, {} refused, {} fatal; {} sends checked against every state \
         possible at that moment; {} states talked on with their peer until both agreed; {took:.0} s, \
         {:.0} states a second.\n",
        sum("unique"),
        sum("derived"),
        sum("refused"),
        sum("failed"),
        sum("marks"),
        sum("talks"),
        sum("unique") as f64 / took.max(1.0),
    );
    let mut lines = Vec::new();
    for one in reports {
        let program = word(one, "program").trim_start_matches("secluso-");
        let kinds = one.get("kinds").and_then(Value::as_object);
        for (kind, counts) in kinds.into_iter().flatten() {
            lines.push(format!(
                "| {program} | {} | {kind} | {} | {} | {} | {} |",
                word(one, "part"),
                number(counts, "derived"),
                number(counts, "unique"),
                number(counts, "refused"),
                number(counts, "failed"),
            ));
        }
        if let Some(why) = one.get("unfinished").and_then(Value::as_str) {
            let part = word(one, "part");
            let sentence = format!("power cuts of {program}, {part}: {why}");
            missing.0.push(sentence);
        }
        if number(one, "unpaired") > 0 {
            missing.0.push(format!(
                "power cuts of {program}: {} talks without a peer",
                number(one, "unpaired")
            ));
        }
        if number(one, "left_out") > 0 {
            missing.0.push(format!(
                "power cuts of {program}: {} left out",
                number(one, "left_out")
            ));
        }
    }
    rows(
        text,
        "| program | part | kind | derived | unique | refused | fatal |",
        lines,
    );
}

fn disk_errors(text: &mut String, value: &Value, missing: &mut Missing) {
    push(
        text,
        "## Disk errors: at every operation, real files and RocksDB\n",
    );
    push(
        text,
        "Workload: two long events that fill log files, with acks, a checkpoint and a start.\n",
    );
    errors(text, value, "disk errors", missing);
    if value.get("unfinished").and_then(Value::as_bool) == Some(true) {
        missing
            .0
            .push("disk errors: the time was up before every operation had failed".to_owned());
    }
    let left = list(value, "not_covered").iter().filter_map(Value::as_str);
    let left = left.map(|sentence| format!("disk errors: {sentence}"));
    missing.0.extend(left);
}

fn daemon_errors(text: &mut String, value: &Value, missing: &mut Missing) {
    push(text, "## Disk errors under the running programs\n");
    push(text, "Workload: event, and one more event after a start.\n");
    errors(
        text,
        value,
        "disk errors under the running programs",
        missing,
    );
    let left = list(value, "not_covered").iter().filter_map(Value::as_str);
    let left = left.map(|sentence| format!("disk errors under the running programs: {sentence}"));
    missing.0.extend(left);
}

/// The table of both; what is only sampled is said.
fn errors(text: &mut String, value: &Value, name: &str, missing: &mut Missing) {
    let sum = |key: &str| -> u64 { list(value, "rows").iter().map(|row| number(row, key)).sum() };
    let (runs, fatal, took) = (sum("runs"), sum("fatal"), seconds(value));
    let _ = writeln!(
        text,
        "{runs} runs in which an operation failed, {fatal} fatal; {took:.0} s, {:.1} runs a second.\n",
        runs as f64 / took.max(1.0)
    );
    let lines = list(value, "rows").iter().map(|row| {
        format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            word(row, "program"),
            word(row, "error"),
            number(row, "operations"),
            number(row, "tried"),
            number(row, "runs"),
            number(row, "restarted"),
            number(row, "fatal"),
        )
    });
    rows(
        text,
        "| program | error | operations that can meet it | tried | met it | ended by it and started again | fatal |",
        lines,
    );
    for row in list(value, "rows") {
        let (operations, tried) = (number(row, "operations"), number(row, "tried"));
        if tried < operations {
            missing.0.push(format!(
                "{name}, {}, {}: {tried} of {operations} operations, spread over all",
                word(row, "program"),
                word(row, "error"),
            ));
        }
    }
}

fn simulation(text: &mut String, value: &Value, missing: &mut Missing) {
    left("simulation", value, missing);
    push(text, "## Simulation: hub, relay and app in one thread\n");
    let _ = writeln!(
        text,
        "{} seeds from {}, {} failed; {} processes died, {} envelopes left.\n",
        number(value, "seeds"),
        number(value, "from"),
        list(value, "failed").len(),
        number(value, "deaths"),
        number(value, "envelopes"),
    );
}

fn cycles(text: &mut String, value: &Value, _: &mut Missing) {
    push(text, "## One installation, killed again and again\n");
    let _ = writeln!(
        text,
        "{} kills and starts of one hub, with phone and relay dying now and then: what was most in the \
         first hundred and in all others. {} of them before the hub was up. {}\n",
        number(value, "cycles"),
        number(value, "before_ready"),
        match value.get("in_step").and_then(Value::as_bool) {
            Some(true) => "In the end both ends were in step.",
            Some(false) => "In the end both ends were **not in step**.",
            None => "Whether both ends were in step in the end is not known.",
        },
    );
    let side = |name: &str| &value[name];
    let line = |what: &str, key: &str, scale: u64, unit: &str| {
        let (first, rest) = (number(side("first"), key), number(side("rest"), key));
        format!(
            "| {what} | {}{unit} | {}{unit} |",
            first / scale,
            rest / scale
        )
    };
    let lines = [
        line("files of the hub", "files_max", 1, ""),
        line("of the phone", "app_files_max", 1, ""),
        line("of the relay", "relay_files_max", 1, ""),
        line("on disk, hub", "bytes_max", 1 << 20, " MiB"),
        line("on disk, phone", "app_bytes_max", 1 << 20, " MiB"),
        line("on disk, relay", "relay_bytes_max", 1 << 20, " MiB"),
        line(
            "peak memory of the hub",
            "memory_bytes_max",
            1 << 20,
            " MiB",
        ),
        line(
            "of the phone's program",
            "app_memory_bytes_max",
            1 << 20,
            " MiB",
        ),
        line("of the relay", "relay_memory_bytes_max", 1 << 20, " MiB"),
        line("start until ready, median", "start_ms_median", 1, " ms"),
        line("start until ready, longest", "start_ms_max", 1, " ms"),
    ];
    rows(text, "| | first hundred | all others |", lines);
}

fn start_up(text: &mut String, value: &Value, _: &mut Missing) {
    push(text, "## A start with a full outbox\n");
    let _ = writeln!(
        text,
        "{} MiB un-acked in {} clips: a start takes {} ms (limit 2000), {} MiB of memory; after a kill in \
         the middle of an event {} ms.\n",
        number(value, "outbox_mib"),
        number(value, "clips"),
        number(value, "start_ms"),
        number(value, "memory_mib"),
        number(value, "start_after_kill_ms"),
    );
}

/// Seeds that the time did not reach.
fn left(kind: &str, value: &Value, missing: &mut Missing) {
    let left = number(value, "left");
    if left > 0 {
        let sentence = format!("{kind}: {left} seeds were not reached in the time");
        missing.0.push(sentence);
    }
}

fn engine(text: &mut String, value: &Value, missing: &mut Missing) {
    left("engine", value, missing);
    push(text, "## Simulation of the engine alone\n");
    let _ = writeln!(
        text,
        "{} seeds from {}, {} failed; {} crashes, up to four in a row inside recovery.\n",
        number(value, "seeds"),
        number(value, "from"),
        list(value, "failed").len(),
        number(value, "crashes"),
    );
}

fn mutants(text: &mut String, value: &Value, missing: &mut Missing) {
    push(text, "## Deliberate bugs\n");
    let all = list(value, "mutants");
    let caught = |one: &Value| one.get("caught").and_then(Value::as_bool) == Some(true);
    let mut times: Vec<f64> = all.iter().map(seconds).collect();
    times.sort_by(f64::total_cmp);
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    let _ = writeln!(
        text,
        "{} of {} caught by the promise that each breaks, the same run without it passed; median \
         {median:.1} s to detection.\n",
        all.iter().filter(|one| caught(one)).count(),
        all.len(),
    );
    let lines = all.iter().map(|one| {
        let seeds = one.get("seeds").and_then(Value::as_u64);
        format!(
            "| `{}` | {} | {} | {} | {:.1} s |",
            word(one, "mutant"),
            word(one, "promise"),
            if caught(one) {
                "caught"
            } else {
                "**survived**"
            },
            seeds.map_or_else(
                || "real processes".to_owned(),
                |seeds| format!("{seeds} seeds")
            ),
            seconds(one),
        )
    });
    rows(text, "| bug | breaks | | seen after | time |", lines);
    for one in all.iter().filter(|one| !caught(one)) {
        missing
            .0
            .push(format!("the bug `{}` survives", word(one, "mutant")));
    }
}

fn model(text: &mut String, value: &Value, missing: &mut Missing) {
    push(text, "## Model of the protocol\n");
    let found = |bug: &&Value| bug.get("way").is_some_and(|way| !way.is_null());
    let bugs = list(value, "bugs");
    let _ = writeln!(
        text,
        "{} epochs, {} crashes: {} unique states; {} of {} mistakes of design found by the promise \
         that each breaks; {:.0} s, at most {} MiB.\n",
        number(value, "epochs"),
        number(value, "crashes"),
        number(value, "unique_states"),
        bugs.iter().filter(found).count(),
        bugs.len(),
        seconds(value),
        number(value, "peak_kib") / 1024,
    );
    let explored = [list(value, "check"), list(value, "orders")].concat();
    let lines = explored.iter().map(|row| {
        let broken = list(row, "broken").iter();
        let broken: Vec<&str> = broken.map(|one| word(one, "promise")).collect();
        format!(
            "| {} | {} | {} | {} | {} |",
            word(row, "name"),
            number(row, "epochs"),
            number(row, "crashes"),
            number(row, "states"),
            if broken.is_empty() {
                "held".to_owned()
            } else {
                broken.join(", ")
            },
        )
    });
    rows(
        text,
        "| scope, or order of persist, merge and send | epochs | crashes | states | promises |",
        lines,
    );
    for bug in bugs.iter().filter(|bug| !found(bug)) {
        missing
            .0
            .push(format!("model: `{}` is not found", word(bug, "name")));
    }
}

fn model_replay(text: &mut String, value: &Value, missing: &mut Missing) {
    let all = list(value, "replay");
    let real = all.iter().filter(|one| !one["mutant"].is_null());
    let lines = real.map(|one| {
        let crash = list(one, "crash").iter().filter_map(Value::as_str);
        format!(
            "| `{}` | `{}` | {} | {} | {} | {} |",
            word(one, "name"),
            word(one, "mutant"),
            word(one, "promise"),
            word(one, "workload"),
            crash.collect::<Vec<_>>().join(" "),
            word(one, "verdict"),
        )
    });
    rows(
        text,
        "| mistake of the model | in the programs | breaks | workload | crash | verdict |",
        lines,
    );
    for one in all.iter().filter(|one| one["mutant"].is_null()) {
        let name = word(one, "name");
        let why = word(one, "why_not");
        missing.0.push(format!(
            "model: `{name}` is a mistake that was not planted in the programs: {why}"
        ));
    }
}

/// What becomes of a program that was not written for this.
fn example(text: &mut String, value: &Value, missing: &mut Missing) {
    let Some(one) = value.get(0) else {
        missing
            .0
            .push("the example program on autocommit SQLite: not run".to_owned());
        return;
    };
    let _ = writeln!(
        text,
        "The example program on OpenMLS's own SQLite storage, each call its own transaction \
         (`journal/bench/yardstick/src/bin/sqlite-diary.rs`): of {} states that a crash could have left, \
         **{} are fatal**. By kind:\n",
        number(one, "unique"),
        number(one, "failed"),
    );
    let kinds = one.get("kinds").and_then(Value::as_object);
    let lines = kinds.into_iter().flatten().map(|(kind, counts)| {
        let (unique, failed) = (number(counts, "unique"), number(counts, "failed"));
        format!("| {kind} | {unique} | {failed} |")
    });
    rows(text, "| kind | unique states | fatal |", lines);
    let mut reasons: Vec<&str> = list(one, "failures")
        .iter()
        .filter_map(|failure| failure.get("why")?.as_array()?.first()?.as_str())
        .collect();
    reasons.sort_unstable();
    reasons.dedup();
    for reason in reasons.iter().take(8) {
        push(text, &format!("- {reason:.160}"));
    }
    push(text, "");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_not_run_is_said_and_a_survivor_stands_out() {
        let run = json!({
            "tier": "crash", "commit": "abc", "good": false, "failed": ["mutants"],
            "results": {
                "simulation": {"seeds": 7, "left": 5, "failed": [3], "deaths": 1, "envelopes": 2},
                "cycles": {"cycles": 9, "in_step": false, "complaints": ["files grew"]},
                "disk-errors": {"unfinished": true,
                    "not_covered": ["app, EIO: the time was up before a run met it"],
                    "rows": [{"program": "hub", "error": "EIO", "operations": 9, "tried": 7,
                        "runs": 6, "restarted": 5, "fatal": 0}]},
                "kills": {"failed": ["event hub:1 FATAL"], "not_covered": [],
                    "not_entered": ["secluso-relay: wal.witness.x (secluso-hub only)"]},
                "power-cuts": [{"program": "secluso-hub", "part": "log", "failed": 1,
                    "unfinished": "the time was up",
                    "failures": [{"kind": "kill", "step": 7, "why": ["it is gone"], "kept": "x"}]}],
                "mutants": {"mutants": [
                    {"mutant": "one", "promise": "C1", "caught": true, "seconds": 1.0, "seeds": 4},
                    {"mutant": "two", "promise": "C4", "caught": false, "seconds": 3.0},
                ]},
            },
        });
        let text = document(&run, None);
        for wanted in [
            "**not good**: see below (mutants). ",
            " things were not covered, listed below.",
            "- secluso-relay: wal.witness.x (secluso-hub only)",
            "7 seeds from 0, 1 failed",
            "| hub | EIO | 9 | 7 | 6 | 5 | 0 |",
            "- disk errors: app, EIO: the time was up before a run met it",
            "1 of 2 caught",
            "| `two` | C4 | **survived** | real processes | 3.0 s |",
            "- engine: not run, or without a result",
            "- simulation: seed 3; repeat: `simulate repro 3`",
            "- simulation: 5 seeds were not reached in the time",
            "- cycles: files grew",
            "**not in step**",
            "- kills: event hub:1 FATAL",
            "- power-cuts: secluso-hub log, kill after step 7: it is gone; kept in x",
            "- power cuts of hub, log: the time was up",
            "- the bug `two` survives",
            "It has not been run on any commit.",
            "| `wal.commit.before_write` | nothing of the batch",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
    }

    #[test]
    fn every_row_of_the_track_record_says_tier_commit_and_last_reproduction() {
        let cells = |line: &str| -> Vec<String> {
            let inner = line.trim_matches('|').split('|');
            inner.map(|cell| cell.trim().to_owned()).collect()
        };
        let mut header: Vec<String> = Vec::new();
        let mut rows = 0;
        for line in TRACK_RECORD.lines().filter(|line| line.starts_with('|')) {
            let row = cells(line);
            if row.first().is_some_and(|first| first == "bug") {
                header = row;
                continue;
            }
            if line.starts_with("|---") {
                continue;
            }
            assert_eq!(row.len(), header.len(), "{line}");
            for (name, cell) in header.iter().zip(&row) {
                assert!(!cell.is_empty(), "no {name}: {line}");
                let unknown = cell.starts_with("not known");
                let commit = cell.get(..7).unwrap_or_default();
                let is_commit = commit.len() == 7 && commit.chars().all(|c| c.is_ascii_hexdigit());
                assert!(name != "commit" || is_commit || unknown, "{line}");
                let day = cell.starts_with("20");
                assert!(name != "last reproduced" || day || unknown, "{line}");
            }
            rows += 1;
        }
        assert!(rows >= 27, "{rows}");
    }

    #[test]
    fn the_head_claims_no_more_than_was_done() {
        let part = json!({"seeds": 7, "failed": []});
        let mut results = serde_json::Map::new();
        for name in [
            "kills",
            "power-cuts",
            "disk-errors",
            "daemon-errors",
            "simulation",
            "engine",
            "cycles",
            "start-up",
            "mutants",
            "model",
            "model-replay",
        ] {
            results.insert(name.to_owned(), part.clone());
        }
        let mut run = json!({
            "tier": "full", "commit": "abc", "good": true, "failed": [], "results": results,
        });
        run["results"]["real-file-system"] = part.clone();
        let full =
            json!({"shard": "0/1", "results": {"sqlite-example": [{"unique": 3, "failed": 1}]}});
        let whole = document(&run, Some(&full));
        assert!(whole.contains("All that was planned was done."), "{whole}");
        // Every exit was good, and yet.
        run["results"]["kills"]["not_covered"] =
            json!(["event hub x:3: that hit was not reached in several tries"]);
        let text = document(&run, Some(&full));
        assert!(!text.contains("All that was planned"), "{text}");
        assert!(
            text.contains("One thing was not covered, listed below."),
            "{text}"
        );
        run["results"]["engine"]["left"] = json!(5);
        run["results"]["real-file-system"] = Value::Null;
        run["left_out"] = json!(["real-file-system"]);
        let text = document(&run, Some(&full));
        assert!(
            text.contains("3 things were not covered, listed below."),
            "{text}"
        );
        assert!(
            text.contains("- real-file-system: left out, as was asked for"),
            "{text}"
        );
    }
}
