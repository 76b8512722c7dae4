//! What failed, one line each, so that a reader of the report need not go to the logs first.

use serde_json::Value;

use super::{list, number, push, word};

/// Lines of one kind at most; the rest is counted.
const LINES_MAX: usize = 20;

/// Every failed run, state and seed, and every complaint; and each kind that ended badly for another reason.
pub(super) fn list_all(text: &mut String, run: &Value) {
    push(text, "## What failed\n");
    let results = &run["results"];
    let words = |kind: &str, key: &str| -> Vec<String> {
        let all = list(&results[kind], key).iter();
        all.map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect()
    };
    let seeds = |kind: &str, repeat: &str| -> Vec<String> {
        let failed = words(kind, "failed").into_iter();
        failed
            .map(|seed| format!("seed {seed}; repeat: `{repeat} {seed}`"))
            .collect()
    };
    let kinds = [
        ("kills", words("kills", "failed")),
        ("power-cuts", states(&results["power-cuts"])),
        ("disk-errors", words("disk-errors", "fatal")),
        ("daemon-errors", words("daemon-errors", "fatal")),
        ("simulation", seeds("simulation", "simulate repro")),
        (
            "engine",
            seeds("engine", "simulate engine --seeds 1 --from"),
        ),
        ("cycles", words("cycles", "complaints")),
    ];
    let mut named = Vec::new();
    for (kind, lines) in kinds {
        for line in lines.iter().take(LINES_MAX) {
            push(text, &format!("- {kind}: {line:.600}"));
            named.push(kind);
        }
        let more = lines.len().saturating_sub(LINES_MAX);
        if more > 0 {
            push(text, &format!("- {kind}: and {more} more"));
        }
    }
    for kind in list(run, "failed").iter().filter_map(Value::as_str) {
        if !named.contains(&kind) {
            push(text, &format!("- {kind}: did not end well; see its part"));
            named.push(kind);
        }
    }
    if named.is_empty() {
        push(text, "Nothing.");
    }
    push(text, "");
}

/// Failing states of the power cuts. Only the first of them are listed in a result.
fn states(value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    for one in value.as_array().into_iter().flatten() {
        for failure in list(one, "failures") {
            let why = list(failure, "why").iter().filter_map(Value::as_str);
            all.push(format!(
                "{} {}, {} after step {}: {}; kept in {}",
                word(one, "program"),
                word(one, "part"),
                word(failure, "kind"),
                number(failure, "steps").max(number(failure, "step")),
                why.collect::<Vec<_>>().join("; "),
                word(failure, "kept"),
            ));
        }
        for (why, count) in one["refusals"].as_object().into_iter().flatten() {
            all.push(format!(
                "{}: refused {count} times: {why}",
                word(one, "program")
            ));
        }
    }
    all
}
