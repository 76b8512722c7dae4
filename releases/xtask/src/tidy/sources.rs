//! Rules about source text: opening comments, words that mean "unfinished".
//!
//! This room looks at lines, not at syntax, so that it stays fast and has no parser to trust. It
//! never reads files itself.

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
}
