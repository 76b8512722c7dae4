//! Crash points: each has one name, one place and one comment that says which two states it
//! separates; and the table of all of them, `crashtest/points.md`, which is made of these comments.
//!
//! This room looks at lines, not at syntax. It never writes a file: it makes the table's text and
//! compares.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Complaints, File};

/// Where the table is kept for readers and for the report.
pub(super) const TABLE: &str = "crashtest/points.md";

/// A crash point whose name starts so belongs to a test of the mechanism itself.
const TEST_POINT_PREFIX: &str = "test.";

/// How the comment of a crash point looks.
const FORM: &str = "// CRASH(name): before: what a start finds that dies here | after: what the next \
                    step makes of it.";

/// A comment that tells of a crash point.
struct Comment {
    /// File and line.
    place: String,
    /// The file alone, which other changes do not move.
    file: String,
    /// The states before and after, if it names both.
    states: Option<(String, String)>,
}

/// What the sources say of crash points: places and comments by name.
struct Told {
    points: BTreeMap<String, Vec<String>>,
    comments: BTreeMap<String, Vec<Comment>>,
}

/// Every crash point has one name, one place and one comment in the form that names two states.
pub(super) fn check(files: &[File]) -> Complaints {
    let Told { points, comments } = read(files);
    let mut complaints = Complaints::new();
    for (name, places) in &points {
        if places.len() > 1 {
            complaints.push(format!(
                "crash point {name} has several places: {}",
                places.join(", ")
            ));
        }
        let told = comments.get(name).map_or(0, Vec::len);
        if told != 1 {
            complaints.push(format!(
                "{}: crash point {name} has {told} CRASH({name}) comments, needs one",
                places.first().map_or("", String::as_str)
            ));
        }
    }
    for (name, all) in &comments {
        for Comment { place, states, .. } in all {
            if !points.contains_key(name) {
                complaints.push(format!("{place}: CRASH({name}) has no crash point"));
            } else if states.is_none() {
                complaints.push(format!(
                    "{place}: CRASH({name}) does not name two states; write `{FORM}`"
                ));
            }
        }
    }
    complaints
}

/// The table is what the comments say now.
pub(super) fn check_table(files: &[File]) -> Complaints {
    let kept = files.iter().find(|file| file.path == TABLE);
    let kept = kept.and_then(|file| file.text.as_deref());
    if kept == Some(&*table(files)) {
        return Complaints::new();
    }
    vec![format!(
        "{TABLE} is not what the CRASH comments say; `cargo xtask bless points` writes it"
    )]
}

/// The table of all points.
pub(super) fn table(files: &[File]) -> String {
    let mut text = String::from(
        "## What each crash point lies between\n\n\
         Made of the `CRASH` comments by `cargo xtask bless points`; do not edit.\n\n\
         | point | before: what a start finds that dies here | after: what the next step makes of it | in |\n\
         |---|---|---|---|\n",
    );
    for (name, all) in read(files).comments {
        for comment in all {
            let (before, after) = comment.states.unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(text, "| `{name}` | {before} | {after} | {} |", comment.file);
        }
    }
    text
}

fn read(files: &[File]) -> Told {
    let mut told = Told {
        points: BTreeMap::new(),
        comments: BTreeMap::new(),
    };
    for file in files.iter().filter(|file| file.is_rust()) {
        let mut lines = file.text.iter().flat_map(|text| text.lines()).enumerate();
        let mut lines = lines.by_ref().peekable();
        while let Some((index, line)) = lines.next() {
            let place = format!("{}:{}", file.path, index + 1);
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix("// CRASH(") {
                let (name, first) = rest.split_once(')').unwrap_or((rest, ""));
                let mut words = first.trim_start_matches(':').trim().to_owned();
                while let Some((_, more)) = lines.next_if(|(_, line)| is_comment(line)) {
                    words.push(' ');
                    words.push_str(more.trim_start().trim_start_matches('/').trim());
                }
                told.comments
                    .entry(name.to_owned())
                    .or_default()
                    .push(Comment {
                        place,
                        file: file.path.clone(),
                        states: states(&words),
                    });
            } else if !line.starts_with("//")
                && let Some(name) = between(line, concat!("crash", "_point!(\""), "\")")
                && !name.starts_with(TEST_POINT_PREFIX)
            {
                told.points.entry(name).or_default().push(place);
            }
        }
    }
    told
}

/// A line that goes on with a comment; another `CRASH` begins one of its own.
fn is_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("// CRASH(")
}

/// The two states of a comment's words. A free sentence may follow behind the second one's full stop.
fn states(words: &str) -> Option<(String, String)> {
    let (before, after) = words.strip_prefix("before: ")?.split_once(" | after: ")?;
    let after = match after.split_once(". ") {
        Some((after, _more)) => after,
        None => after.strip_suffix('.')?,
    };
    let whole = |state: &str| !state.trim().is_empty() && !state.contains('|');
    (whole(before) && whole(after)).then(|| (before.trim().to_owned(), after.trim().to_owned()))
}

/// The text after `start` and before the next `end`, if both are there.
fn between(line: &str, start: &str, end: &str) -> Option<String> {
    let (_, rest) = line.split_once(start)?;
    let (name, _) = rest.split_once(end)?;
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::text_file;
    use super::*;

    const POINT: &str = concat!("crash", "_point!");

    #[test]
    fn crash_points_and_comments_come_in_pairs() {
        let comment = "// CRASH(a.b): before: old | after: new.\n";
        let good = format!("{comment}{POINT}(\"a.b\");\n/// {POINT}(\"docs\")\n");
        assert!(check(&[text_file("x.rs", &good)]).is_empty());
        let cases = [
            ("no comment", format!("{POINT}(\"a.b\");\n")),
            ("no point", comment.to_owned()),
            (
                "twice",
                format!("{comment}{POINT}(\"a.b\");\n{POINT}(\"a.b\");\n"),
            ),
        ];
        for (name, text) in cases {
            assert_eq!(check(&[text_file("x.rs", &text)]).len(), 1, "{name}");
        }
    }

    #[test]
    fn a_comment_names_both_states() {
        for comment in [
            "row 1.",
            "before: old.",
            "before: old | after: .",
            "before:  | after: new.",
            "after: new | before: old.",
            "before: old | after: new",
            "before: a | b | after: new.",
        ] {
            let text = format!("// CRASH(a.b): {comment}\n{POINT}(\"a.b\");\n");
            assert_eq!(check(&[text_file("x.rs", &text)]).len(), 1, "{comment}");
        }
    }

    #[test]
    fn the_table_is_made_of_the_comments_and_a_stale_one_is_found() {
        let text = format!(
            "// CRASH(a.b): before: old and\n// gone | after: new. More\n// words.\n{POINT}(\"a.b\");\n"
        );
        let source = || text_file("x.rs", &text);
        let table = table(&[source()]);
        assert!(
            table.ends_with("| `a.b` | old and gone | new | x.rs |\n"),
            "{table}"
        );
        assert_eq!(check_table(&[source()]).len(), 1);
        let stale = text_file(TABLE, &table.replace("new |", "newer |"));
        assert_eq!(check_table(&[source(), stale]).len(), 1);
        assert!(check_table(&[source(), text_file(TABLE, &table)]).is_empty());
    }
}
