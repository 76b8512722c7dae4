//! Which commit a run is worth something for.
//!
//! It must never call a tree by a commit that it differs from.

use std::process::Command;

use crate::cargo;
use crate::failure::{Failure, Outcome};

/// What stands behind the name of a commit from which the tree differs.
const CHANGED: &str = " and changes";

/// The commit that is tested, with a mark if the tree differs from it. What a run writes down itself, at these paths
/// from the root, is no change of what it tests.
pub(crate) fn name(written: &[&str]) -> String {
    let git = |words: &[&str]| {
        let output = Command::new("git")
            .args(words)
            .current_dir(cargo::root())
            .output()
            .ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let hash = git(&["rev-parse", "--short=12", "HEAD"]);
    let besides: Vec<String> = written.iter().map(|path| format!(":!{path}")).collect();
    let mut words = vec!["status", "--porcelain", "--", "."];
    words.extend(besides.iter().map(String::as_str));
    let changed = git(&words).is_some_and(|text| !text.is_empty());
    match hash {
        Some(hash) if changed => hash + CHANGED,
        Some(hash) => hash,
        None => "unknown".to_owned(),
    }
}

/// Whether a name is that of a commit, and of nothing else.
pub(crate) fn is_one(name: &str) -> bool {
    name.len() >= 12 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Refuses what a document must not quote, before hours are spent on it.
pub(crate) fn check(name: &str) -> Outcome<()> {
    match is_one(name) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "--bless keeps what a commit is worth, and this tree is \"{name}\": commit first"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_commit_is_quoted() {
        assert!(check("770686cd2b40").is_ok());
        for tree in ["770686cd2b40 and changes", "unknown"] {
            assert_eq!(check(tree).unwrap_err().exit_code(), 2);
        }
    }

    #[test]
    fn a_tree_with_changes_is_no_commit() {
        assert!(is_one("770686cd2b40"));
        assert!(!is_one(&("770686cd2b40".to_owned() + CHANGED)));
        assert!(!is_one("unknown") && !is_one(""));
    }
}
