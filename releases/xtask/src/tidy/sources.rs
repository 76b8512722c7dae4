//! Rules about source text: opening comments, words that mean "unfinished", crash points.
//!
//! This room looks at lines, not at syntax, so that it stays fast and has no parser to trust. It
//! never reads files itself.

use std::collections::BTreeMap;

use super::{Complaints, File};

/// What may not be merged, in Rust sources and scripts. Spelt in halves so that this file passes.
const UNFINISHED: [(&str, &str); 7] = [
    (
        concat!("FIX", "ME"),
        "finish it, or write down the limit where users read",
    ),
    (
        concat!("TO", "DO"),
        "finish it, or write down the limit where users read",
    ),
    (
        concat!("XX", "X"),
        "finish it, or write down the limit where users read",
    ),
    (
        concat!("todo", "!("),
        "an unwritten path is an error, not a panic",
    ),
    (
        concat!("unimplemented", "!("),
        "an unwritten path is an error, not a panic",
    ),
    (concat!("dbg", "!("), "left over from debugging"),
    (concat!("#[", "ignore"), "a test runs or does not exist"),
];

/// A crash point whose name starts so belongs to a test of the mechanism itself.
const TEST_POINT_PREFIX: &str = "test.";

/// Rules about one file.
pub(super) fn check(file: &File) -> Complaints {
    let mut complaints = Complaints::new();
    let Some(text) = &file.text else {
        return complaints;
    };
    if file.is_rust() && !text.starts_with("//!") {
        complaints.push(format!(
            "{}:1: open with `//!`: what this file is for and what it must never do",
            file.path
        ));
    }
    if file.is_rust() || file.path.starts_with(".ci/") {
        for (index, line) in text.lines().enumerate() {
            for (word, advice) in UNFINISHED {
                if line.contains(word) {
                    complaints.push(format!("{}:{}: `{word}`: {advice}", file.path, index + 1));
                }
            }
        }
    }
    complaints
}

/// Every crash point has one name, one place and one comment that says what a crash there leaves.
pub(super) fn crash_points(files: &[File]) -> Complaints {
    let mut points: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut comments: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (index, line) in file.text.iter().flat_map(|text| text.lines()).enumerate() {
            let place = format!("{}:{}", file.path, index + 1);
            let line = line.trim_start();
            if let Some(rest) = line.strip_prefix("// CRASH(") {
                let name = rest.split(')').next().unwrap_or_default().to_owned();
                comments.entry(name).or_default().push(place);
            } else if !line.starts_with("//")
                && let Some(name) = between(line, concat!("crash", "_point!(\""), "\")")
                && !name.starts_with(TEST_POINT_PREFIX)
            {
                points.entry(name).or_default().push(place);
            }
        }
    }
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
    for (name, places) in comments
        .iter()
        .filter(|(name, _)| !points.contains_key(*name))
    {
        complaints.push(format!(
            "CRASH({name}) has no crash point: {}",
            places.join(", ")
        ));
    }
    complaints
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

    #[test]
    fn a_source_file_must_open_with_its_purpose() {
        assert_eq!(check(&text_file("a/src/b.rs", "use x;\n")).len(), 1);
        assert!(check(&text_file("a/src/b.rs", "//! Why.\nuse x;\n")).is_empty());
        assert!(check(&text_file("a/notes.md", "anything")).is_empty());
    }

    #[test]
    fn unfinished_words_are_found_with_their_line() {
        let text = format!("//! Why.\n// {}: later\n", concat!("TO", "DO"));
        let complaints = check(&text_file("a/src/b.rs", &text));
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("a/src/b.rs:2:"), "{complaints:?}");
    }

    #[test]
    fn crash_points_and_comments_come_in_pairs() {
        let point = concat!("crash", "_point!");
        let good = format!("// CRASH(a.b): row 1.\n{point}(\"a.b\");\n/// {point}(\"docs\")\n");
        assert!(crash_points(&[text_file("x.rs", &good)]).is_empty());
        let cases = [
            ("no comment", format!("{point}(\"a.b\");\n")),
            ("no point", "// CRASH(a.b): row 1.\n".to_owned()),
            (
                "twice",
                format!("// CRASH(a.b): x.\n{point}(\"a.b\");\n{point}(\"a.b\");\n"),
            ),
        ];
        for (name, text) in cases {
            assert_eq!(crash_points(&[text_file("x.rs", &text)]).len(), 1, "{name}");
        }
    }
}
