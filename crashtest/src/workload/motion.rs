//! Somebody walks by: the event is found by motion, the phone is told of it and sent its picture.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::oracle::Ends;
use crate::process::{Line, Role};
use crate::system::{System, short_clip};
use crate::trouble::{Outcome, Trouble};

/// The channels of which the hub says what it has stored for a phone, with the word for what arrives there.
pub const SAID: [(&str, &str); 2] = [
    ("notification", "notifications"),
    ("thumbnail", "thumbnails"),
];

pub(super) fn motion(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    let patience = system.setup.patience;
    let told = system.until("an event that is found by motion", patience, |system| {
        let lines = system.board().lines();
        let told = SAID.map(|(channel, _)| told_of(&lines, channel));
        Ok(told.iter().all(|told| !told.is_empty()).then_some(()))
    });
    told.map_err(Trouble::apart)?;
    // What somebody walks on for would take a while; so it is cut off.
    system.stop(Role::Hub)?;
    system.setup.clip = short_clip();
    system.setup.camera_extra.clear();
    // Both lines have the time that the videos take, and more: all of them are attached at once. The phone is asked before
    // the end, which opens its directory here and so leaves a start of which the phone's own notes say nothing.
    system.come_to_rest().map_err(Trouble::apart)?;
    system.stop(Role::App)?;
    let lines = system.board().lines();
    for (channel, word) in SAID {
        judge(system, &lines, channel, word)?;
    }
    let ends = system.settle()?;
    Ok(Ends {
        seen: system.found(),
        ..ends
    })
}

/// When the events began of which the hub has said that this is stored for the phone.
#[must_use]
pub fn told_of(lines: &[Line], channel: &str) -> BTreeSet<u64> {
    let of_hub = lines.iter().filter(|line| line.role == Role::Hub);
    let told = of_hub.filter(|line| line.event() == "told" && line.text("channel") == channel);
    told.filter_map(|line| line.number("unix_ms")).collect()
}

/// Whether all that the hub has said in these lines to be stored for the phone has come there, pictures whole; no sync
/// runs.
///
/// # Errors
/// The phone's program failed.
pub fn has_come(system: &mut System, lines: &[Line]) -> Outcome<bool> {
    for (channel, word) in SAID {
        let rows = rows(system, word)?;
        let is_here = |row: &&Value| row.get("state").is_none_or(|state| state == "complete");
        let there: BTreeSet<u64> = rows.iter().filter(is_here).filter_map(began).collect();
        if !told_of(lines, channel).is_subset(&there) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What the phone has of this word.
fn rows(system: &mut System, word: &str) -> Outcome<Vec<Value>> {
    let answer = system.ask_app(&[word, "--json"])?;
    let answer = answer.lines.last().cloned().unwrap_or_default();
    Ok(answer[word].as_array().cloned().unwrap_or_default())
}

fn began(row: &Value) -> Option<u64> {
    row["started_unix_ms"].as_u64()
}

/// What the hub has said in these lines to be stored for the phone is there (C2), and nothing is there twice: what is not so
/// is found to be broken. No sync runs. A hub that goes on says more meanwhile, of which this is no judgement.
///
/// # Errors
/// The phone's program failed.
pub fn judge(system: &mut System, lines: &[Line], channel: &str, word: &str) -> Outcome<()> {
    let rows = rows(system, word)?;
    let answer = Value::from(rows.clone());
    let there: Vec<u64> = rows.iter().filter_map(began).collect();
    let each: BTreeSet<u64> = there.iter().copied().collect();
    if each.len() != there.len() {
        let what = format!("the {channel} of one event is there twice: {answer}");
        system.found_broken("C2", what);
    }
    let told = told_of(lines, channel);
    if let Some(missing) = told.difference(&each).next() {
        let what =
            format!("the {channel} of the event of {missing} is stored, and never came: {answer}");
        system.found_broken("C2", what);
    }
    if channel == "thumbnail"
        && let Some(row) = rows.iter().find(|row| row["state"] != "complete")
    {
        system.found_broken("C2", format!("a picture is there and not whole: {row}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_phone_says_is_no_word_of_the_hub() {
        let line = |role, value: Value| Line {
            role,
            process: 1,
            at: Instant::now(),
            value,
        };
        let told = |channel, at| json!({"event": "told", "channel": channel, "unix_ms": at});
        let lines = [
            line(Role::Hub, told("notification", 3)),
            line(Role::Hub, told("thumbnail", 4)),
            line(Role::App, told("notification", 5)),
        ];
        assert_eq!(told_of(&lines, "notification"), [3].into());
        assert_eq!(told_of(&lines, "thumbnail"), [4].into());
    }
}
