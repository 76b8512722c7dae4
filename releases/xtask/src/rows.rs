//! Documents that are committed and kept row by row: of each name its last row, or why there is none.
//!
//! What was run anew replaces its own rows, and all others keep theirs, so that a long list may be run in parts, on
//! commits and machines of their own. This room is pure: it reads and writes text, and never judges what is in a cell.

use std::collections::BTreeMap;

/// What is said of a name that was never run.
pub(crate) const NOT_RUN: &str = "not run yet";
/// What stands below the last heading if nothing is missing.
const NOTHING: &str = "Nothing.\n";

/// What a document says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// The cells of its row, behind its name.
    Row(Vec<String>),
    /// Why it has none.
    Missing(String),
}

/// How a document looks.
pub(crate) struct Form {
    /// Everything before the first row, the heads of the columns among it.
    pub(crate) head: &'static str,
    /// The heading above the names that have no row.
    pub(crate) without: &'static str,
    /// Cells of a row behind its name.
    pub(crate) cells: usize,
}

impl Form {
    /// What a document says of each name. Lines of another shape are none of ours and go with the next writing.
    pub(crate) fn read(&self, text: &str) -> BTreeMap<String, Said> {
        let mut said = BTreeMap::new();
        for line in text.lines() {
            if let Some((name, rest)) = named(line, "| `") {
                let cells = rest.trim_matches([' ', '|']).split('|');
                let cells: Vec<String> = cells.map(|cell| cell.trim().to_owned()).collect();
                if cells.len() == self.cells {
                    said.insert(name, Said::Row(cells));
                }
            } else if let Some((name, rest)) = named(line, "- `") {
                let why = rest.trim_start_matches(": ").to_owned();
                said.insert(name, Said::Missing(why));
            }
        }
        said
    }

    /// The document about these names in their order, and no others.
    pub(crate) fn write(&self, said: &BTreeMap<String, Said>, all: &[String]) -> String {
        let (mut rows, mut missing) = (String::new(), String::new());
        for name in all {
            match said.get(name) {
                Some(Said::Row(cells)) => {
                    rows.push_str(&format!("| `{name}` | {} |\n", cells.join(" | ")));
                }
                Some(Said::Missing(why)) => missing.push_str(&format!("- `{name}`: {why}\n")),
                None => missing.push_str(&format!("- `{name}`: {NOT_RUN}\n")),
            }
        }
        if missing.is_empty() {
            missing.push_str(NOTHING);
        }
        format!("{}{rows}\n## {}\n\n{missing}", self.head, self.without)
    }
}

/// The name between backticks behind this beginning, and what follows it.
fn named<'a>(line: &'a str, beginning: &str) -> Option<(String, &'a str)> {
    let (name, rest) = line.strip_prefix(beginning)?.split_once('`')?;
    Some((name.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Form = Form {
        head: "# Things\n\n| thing | one | two |\n|---|---|---|\n",
        without: "Not there",
        cells: 2,
    };

    #[test]
    fn rows_are_kept_until_they_are_replaced() {
        let all = ["a", "b", "c"].map(str::to_owned);
        let mut said = FORM.read("");
        assert_eq!(FORM.write(&said, &all).matches(NOT_RUN).count(), 3);
        let row = |one: &str| Said::Row(vec![one.to_owned(), "-".to_owned()]);
        said.insert("b".to_owned(), row("<= 1"));
        said.insert("gone".to_owned(), row("7"));
        said.insert("c".to_owned(), Said::Missing("no disk".to_owned()));
        let text = FORM.write(&said, &all);
        assert!(text.starts_with(FORM.head), "{text}");
        assert!(text.contains("| `b` | <= 1 | - |\n") && !text.contains("gone"));
        assert!(text.ends_with("\n## Not there\n\n- `a`: not run yet\n- `c`: no disk\n"));
        let mut said = FORM.read(&text);
        assert_eq!(FORM.write(&said, &all), text);
        for name in ["a", "c"] {
            said.insert(name.to_owned(), row("2"));
        }
        assert!(
            FORM.write(&said, &all)
                .ends_with("\n## Not there\n\nNothing.\n")
        );
        // A row of another shape is none.
        assert!(FORM.read("| `a` | 1 |\n").is_empty());
    }
}
