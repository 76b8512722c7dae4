//! Which commit a run is worth something for.
//!
//! It must never call a tree by a commit that it differs from.

use std::process::Command;

use crate::cargo;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_with_changes_is_no_commit() {
        assert!(is_one("770686cd2b40"));
        assert!(!is_one(&("770686cd2b40".to_owned() + CHANGED)));
        assert!(!is_one("unknown") && !is_one(""));
    }
}
