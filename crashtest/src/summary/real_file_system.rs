//! The report's part on power cuts of a real file system.
//!
//! A machine that cannot run it has not covered it, and that is said where everybody looks.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Missing, list, number, push, rows, seconds, word};

/// The trial's name.
pub(super) const NAME: &str = "real-file-system";
/// What is said where it was not asked for.
pub(super) const NOT_IN_THIS_TIER: &str = "real-file-system: not covered in this tier; as root, `cargo \
    xtask crash --only real-file-system` or `--full` runs it";

/// One line with everything.
fn figures(value: &Value) -> String {
    let totals = &value["totals"];
    format!(
        "{} flush epochs, {} of them finished ({} with at most 12 writes, of which all subsets are tried: {} \
         of them finished), {} disks mounted and opened of {} derived, {} refused, {} fatal, {} not mounted \
         ({} of them after `e2fsck`)",
        number(value, "epochs"),
        number(value, "finished_epochs"),
        number(value, "small_epochs"),
        number(value, "small_finished_epochs"),
        number(totals, "opened"),
        number(totals, "derived"),
        number(totals, "refused"),
        number(totals, "failed"),
        number(totals, "not_mounted"),
        number(totals, "repaired"),
    )
}

/// Why nothing was tested, if so.
fn not_run(value: &Value) -> Option<&str> {
    value.get("not_run").and_then(Value::as_str)
}

pub(super) fn section(text: &mut String, value: &Value, missing: &mut Missing) {
    push(
        text,
        "## Power cuts on a real file system: ext4 over a logged drive\n",
    );
    if let Some(why) = not_run(value) {
        push(text, &format!("**NOT COVERED**: {why}.\n"));
        missing.0.push(format!("{NAME}: {why}"));
        return;
    }
    let rate = value.get("states_per_second").and_then(Value::as_f64);
    let _ = writeln!(
        text,
        "The directory of `{}`, {} writes ({} KiB) and {} flushes: {}. {} disk-and-instant pairs \
         explained against {} sends; {} disks talked on with their peer until both agreed; {:.0} s, \
         {:.1} disks a second. {} of {} flushes that were taken out of the log were noticed, {} \
         of them by themselves.\n",
        word(value, "program"),
        number(value, "writes"),
        number(value, "bytes") / 1024,
        number(value, "flushes"),
        figures(value),
        number(value, "explained"),
        number(value, "marks"),
        number(value, "talks"),
        seconds(value),
        rate.unwrap_or_default(),
        number(value, "removed_flushes_noticed"),
        number(value, "removed_flushes"),
        number(value, "removed_flushes_noticed_alone"),
    );
    let kinds = value.get("kinds").and_then(Value::as_object);
    let lines = kinds.into_iter().flatten().map(|(kind, counts)| {
        format!(
            "| {kind} | {} | {} | {} | {} | {} |",
            number(counts, "derived"),
            number(counts, "opened"),
            number(counts, "refused"),
            number(counts, "failed"),
            number(counts, "not_mounted"),
        )
    });
    rows(
        text,
        "| kind | derived | opened | refused | fatal | not mounted |",
        lines,
    );
    let words = value.get("mount_words").and_then(Value::as_object);
    for (words, count) in words.into_iter().flatten() {
        push(text, &format!("- not mounted, {count} times: {words}"));
    }
    for failure in list(value, "failures") {
        let why = list(failure, "why").iter().filter_map(Value::as_str);
        let why = why.collect::<Vec<_>>().join("; ");
        push(
            text,
            &format!("- **fatal**: {}: {why}", word(failure, "kind")),
        );
    }
    for sentence in list(value, "not_covered") {
        let sentence = sentence.as_str().unwrap_or("?");
        missing.0.push(format!("{NAME}: {sentence}"));
    }
    if number(value, "unpaired") > 0 {
        missing.0.push(format!(
            "{NAME}: {} talks without a peer",
            number(value, "unpaired")
        ));
    }
}

/// Its line in the table of the long tier.
pub(super) fn totals(value: &Value) -> String {
    match not_run(value) {
        Some(why) => format!("**NOT COVERED**: {why}"),
        None => figures(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_was_not_covered_stands_out_and_so_does_what_is_fatal() {
        let (mut text, mut missing) = (String::new(), Missing::default());
        let lacking = json!({"not_run": "this machine lacks root"});
        section(&mut text, &lacking, &mut missing);
        assert!(totals(&lacking).contains("**NOT COVERED**"));
        assert!(
            text.contains("**NOT COVERED**: this machine lacks root"),
            "{text}"
        );
        assert_eq!(missing.0.len(), 1);
        let (mut text, mut missing) = (String::new(), Missing::default());
        let value = json!({
            "program": "secluso-hub", "epochs": 9, "small_epochs": 8, "finished_epochs": 7,
            "small_finished_epochs": 6,
            "totals": {"opened": 40, "derived": 50, "refused": 1, "failed": 2, "not_mounted": 3,
                       "repaired": 3},
            "kinds": {"one alone": {"derived": 5, "opened": 4, "failed": 2}},
            "failures": [{"kind": "one alone", "why": ["it is gone"]}],
            "not_covered": ["2 of 9 epochs are not finished"],
            "removed_flushes": 4, "removed_flushes_noticed": 3,
            "seconds": 10.0, "states_per_second": 4.0,
        });
        section(&mut text, &value, &mut missing);
        for wanted in [
            "9 flush epochs, 7 of them finished (8 with at most 12 writes, of which all subsets are tried: 6 of",
            "40 disks mounted and opened of 50 derived, 1 refused, 2 fatal, 3 not mounted",
            "3 of 4 flushes",
            "| one alone | 5 | 4 | 0 | 2 | 0 |",
            "- **fatal**: one alone: it is gone",
        ] {
            assert!(text.contains(wanted), "{wanted} is missing in\n{text}");
        }
        assert_eq!(
            missing.0,
            ["real-file-system: 2 of 9 epochs are not finished"]
        );
    }
}
