//! What was run when, and for how long: the table at the top, and the last results of the long tier.

use serde_json::Value;

use super::{Missing, list, number, push, real_file_system, rows, word};

/// Wall time of each kind in this run.
pub(super) fn times(text: &mut String, run: &Value) {
    let seconds = run.get("seconds").and_then(Value::as_object);
    let failed = list(run, "failed");
    let mut all = 0.0;
    let mut lines = Vec::new();
    for (name, took) in seconds.into_iter().flatten() {
        let took = took.as_f64().unwrap_or_default();
        all += took;
        let bad = failed.iter().any(|one| one.as_str() == Some(name));
        lines.push(format!(
            "| {name} | {took:.0} s | {} |",
            if bad { "**not good**" } else { "good" }
        ));
    }
    lines.push(format!("| all | {:.1} min | |", all / 60.0));
    rows(text, "| kind | wall time | |", lines);
}

/// The long tier's last results. Each kind may be of another commit: it takes hours, and is run in parts.
pub(super) fn long(text: &mut String, full: Option<&Value>, missing: &mut Missing) {
    push(text, "## The long tier\n");
    let Some(full) = full else {
        push(text, "It has not been run on any commit.\n");
        let sentence = "the long tier has never been run".to_owned();
        missing.0.push(sentence);
        return;
    };
    let results = full.get("results").and_then(Value::as_object);
    let failed = list(full, "failed");
    let mut lines = Vec::new();
    for (name, value) in results.into_iter().flatten() {
        if value.is_null() {
            missing.0.push(format!("long tier, {name}: not run"));
            continue;
        }
        let commit = full["commits"].get(name).and_then(Value::as_str);
        let took = full["seconds"].get(name).and_then(Value::as_f64);
        let bad = failed.iter().any(|one| one.as_str() == Some(name));
        lines.push(format!(
            "| {name} | {} | {} | {} | {} |",
            commit.unwrap_or("?"),
            totals(name, value),
            took.map_or_else(|| "?".to_owned(), |took| format!("{:.1} min", took / 60.0)),
            if bad { "**not good**" } else { "good" },
        ));
        let left = number(value, "left");
        if left > 0 {
            let sentence = format!("long tier, {name}: {left} seeds of its plan were not reached");
            missing.0.push(sentence);
        }
        let unfinished = unfinished(value).into_iter();
        missing
            .0
            .extend(unfinished.map(|what| format!("long tier, {name}: {what}")));
    }
    for name in list(full, "left_out").iter().filter_map(Value::as_str) {
        missing.0.push(format!("long tier, {name}: left out"));
    }
    // Shards that nobody brought when totals of several machines were added.
    for sentence in list(full, "not_covered").iter().filter_map(Value::as_str) {
        missing.0.push(format!("long tier, {sentence}"));
    }
    if word(full, "shard").contains('+') {
        missing.0.push(
            "long tier: machines shared the states, and each checked its own recording's sends and epochs against \
             its part of them; a kill that only the survey of another machine than its own saw is nobody's"
                .to_owned(),
        );
    }
    push(
        text,
        &format!(
            "The last results of each kind, shard {}.\n",
            word(full, "shard")
        ),
    );
    rows(text, "| kind | commit | totals | wall time | |", lines);
}

/// What a result itself says was not done.
fn unfinished(value: &Value) -> Vec<String> {
    let parts = value.as_array().map_or(&[][..], Vec::as_slice);
    let parts = parts.iter().filter_map(|one| {
        let why = one.get("unfinished")?.as_str()?;
        let what = [word(one, "program"), word(one, "part")].join(", ");
        Some(format!("{what}: {why}"))
    });
    let said = list(value, "not_covered").iter().filter_map(Value::as_str);
    let said = said.map(str::to_owned);
    let late = value.get("unfinished").and_then(Value::as_bool) == Some(true);
    let late = late.then(|| "the time was up before all was done".to_owned());
    parts.chain(said).chain(late).collect()
}

/// A kind's totals in a few words.
fn totals(name: &str, value: &Value) -> String {
    match name {
        "simulation" | "engine" => format!(
            "{} seeds, {} failed",
            number(value, "seeds"),
            list(value, "failed").len()
        ),
        "power-cuts" | "sqlite-example" => {
            let all = value.as_array().map_or(&[][..], Vec::as_slice);
            let sum = |key: &str| all.iter().map(|one| number(one, key)).sum::<u64>();
            format!(
                "{} unique states, {} refused, {} fatal",
                sum("unique"),
                sum("refused"),
                sum("failed")
            )
        }
        "kills" => {
            let totals = &value["totals"];
            format!(
                "{} runs, {} passed, {} fatal",
                number(totals, "planned"),
                number(totals, "passed"),
                number(totals, "fatal")
            )
        }
        "model" => format!(
            "{} epochs, {} crashes, {} unique states",
            number(value, "epochs"),
            number(value, "crashes"),
            number(value, "unique_states")
        ),
        "mutants" => {
            let all = list(value, "mutants");
            let caught = all
                .iter()
                .filter(|one| one["caught"].as_bool() == Some(true));
            format!("{} of {} caught", caught.count(), all.len())
        }
        "disk-errors" | "daemon-errors" => {
            let rows = list(value, "rows").iter();
            let runs: u64 = rows.clone().map(|row| number(row, "runs")).sum();
            let fatal: u64 = rows.map(|row| number(row, "fatal")).sum();
            format!("{runs} runs, {fatal} fatal")
        }
        real_file_system::NAME => real_file_system::totals(value),
        "cycles" => format!("{} cycles", number(value, "cycles")),
        "start-up" => format!(
            "{} MiB un-acked, {} ms",
            number(value, "outbox_mib"),
            number(value, "start_ms")
        ),
        _ => "see its section".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_long_tier_left_is_not_covered() {
        let (mut text, mut missing) = (String::new(), Missing::default());
        let full = json!({"shard": "0/2", "left_out": ["kills"],
            "not_covered": ["engine, shard 1/2: no file of it was given"], "results": {
            "power-cuts": [
                {"program": "secluso-hub", "part": "log", "unfinished": "the time was up"},
                {"program": "secluso-app", "part": "log", "unfinished": null},
            ],
            "real-file-system": {"not_covered": ["2 of 9 epochs are not finished"]},
            "disk-errors": {"rows": [], "unfinished": true},
            "engine": {"seeds": 3, "left": 0},
        }});
        long(&mut text, Some(&full), &mut missing);
        let wanted = [
            "long tier, disk-errors: the time was up before all was done",
            "long tier, power-cuts: secluso-hub, log: the time was up",
            "long tier, real-file-system: 2 of 9 epochs are not finished",
            "long tier, kills: left out",
            "long tier, engine, shard 1/2: no file of it was given",
        ];
        assert!(text.contains("shard 0/2."), "{text}");
        assert_eq!(missing.0, wanted);
    }
}
