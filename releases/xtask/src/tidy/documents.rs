//! Rules about documents: they exist, what they point at exists, and nothing names one machine.
//!
//! This room never judges prose.

use std::collections::BTreeSet;
use std::path::Path;

use super::{Complaints, File};

/// Documents that the project always has.
const REQUIRED: [&str; 7] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "journal/FORMAT.md",
    "relay/PROTOCOL.md",
];

/// The report of the crash tests. Only a whole, good run makes one, so no clone can be asked for it
/// before the first; from then on it stays.
pub(super) const REPORT: &str = "crashtest/REPORT.md";

/// The document that names the tests behind each promise.
const PROMISES: &str = "SECURITY.md";

/// Documents whose pointers are followed. The format documents name paths inside a state
/// directory, which are not files of the tree.
const FOLLOWED: [&str; 4] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

/// Directories in which a checkout says nothing about a machine.
const ANYONES_DIRECTORIES: [&str; 7] =
    ["/", "/tmp", "/var/tmp", "/home", "/opt", "/srv", "/usr/src"];

/// Rules about the tree's documents and about text anywhere.
pub(super) fn check(root: &Path, files: &[File]) -> Complaints {
    let mut complaints = Complaints::new();
    for required in REQUIRED {
        if !files.iter().any(|file| file.path == required) {
            complaints.push(format!("{required} is missing"));
        }
    }
    for file in files {
        let Some(text) = &file.text else { continue };
        if FOLLOWED.contains(&file.path.as_str()) {
            for (line, target) in pointers(text) {
                if !names_something(root, files, &target) {
                    complaints.push(format!("{}:{line}: `{target}` does not exist", file.path));
                }
            }
        }
    }
    complaints.extend(machine_paths(root, files));
    complaints.extend(proofs(files));
    complaints
}

/// Every test that the document of promises names is one: a promise whose proof is gone is a wish.
fn proofs(files: &[File]) -> Complaints {
    let promises = files.iter().find(|file| file.path == PROMISES);
    let Some(text) = promises.and_then(|file| file.text.as_deref()) else {
        return Complaints::new();
    };
    let tests: BTreeSet<&str> = files
        .iter()
        .filter(|file| file.is_rust())
        .filter_map(|file| file.text.as_deref())
        .flat_map(tests)
        .collect();
    let mut complaints = Complaints::new();
    for (index, line) in text.lines().enumerate() {
        let named = line.split('`').skip(1).step_by(2);
        for name in named.filter(|name| is_test_name(name)) {
            if !tests.contains(name) {
                complaints.push(format!(
                    "{PROMISES}:{}: no test is called `{name}`",
                    index + 1
                ));
            }
        }
    }
    complaints
}

/// Our tests are sentences: four words or more.
fn is_test_name(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    word.matches('_').count() >= 3 && word.chars().all(plain)
}

/// The names of the functions that stand behind a test's attribute.
fn tests(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && !line.starts_with("#[") && !line.starts_with("//") {
            let signature = line.trim_start_matches("async ");
            let name = signature
                .strip_prefix("fn ")
                .and_then(|rest| rest.split('(').next());
            names.extend(name);
            is_test = false;
        }
    }
    names
}

/// The report is there, if it ever was.
pub(super) fn report_stays(files: &[File], was_kept: bool) -> Option<String> {
    let there = files.iter().any(|file| file.path == REPORT);
    (was_kept && !there).then(|| format!("{REPORT} is gone; `cargo xtask crash --bless` makes it"))
}

/// Paths that a Markdown text names in backticks or links to, with their line. Only what can be
/// told from other code: a path into one of the tree's directories, or a document.
fn pointers(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let in_backticks = line.split('`').skip(1).step_by(2);
        let in_links = line
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next());
        for candidate in in_backticks.chain(in_links) {
            let path = candidate
                .split('#')
                .next()
                .unwrap_or_default()
                .trim_end_matches('/');
            let plain = !path.is_empty()
                && !path.starts_with('/')
                && !path.contains("://")
                && !path.contains(|c: char| c.is_whitespace() || "*{}<>:$\"(".contains(c));
            if plain && (path.contains('/') || path.ends_with(".md")) {
                found.push((index + 1, path.to_owned()));
            }
        }
    }
    found
}

/// Whether a pointer is right, or is no pointer into this tree at all (its first part is no
/// directory of ours: a mailbox address, a media type).
fn names_something(root: &Path, files: &[File], target: &str) -> bool {
    let first = target.split('/').next().unwrap_or_default();
    let ours = target.ends_with(".md")
        || files
            .iter()
            .any(|file| file.path.split('/').next() == Some(first));
    !ours || root.join(target).exists()
}

/// No file names a directory of the machine it was written on.
fn machine_paths(root: &Path, files: &[File]) -> Complaints {
    let mut places: Vec<String> = [concat!("/ro", "ot/"), concat!("/Use", "rs/")]
        .map(str::to_owned)
        .to_vec();
    let surroundings = [
        root.parent().map(Path::to_path_buf),
        std::env::var_os("HOME").map(Into::into),
        std::env::var_os("CARGO_TARGET_DIR").map(Into::into),
    ];
    for place in surroundings.into_iter().flatten() {
        let place = place.to_string_lossy().into_owned();
        if place.starts_with('/') && !ANYONES_DIRECTORIES.contains(&place.as_str()) {
            places.push(format!("{}/", place.trim_end_matches('/')));
        }
    }
    let mut complaints = Complaints::new();
    for file in files.iter().filter(|file| file.path != "Cargo.lock") {
        for (index, line) in file.text.iter().flat_map(|text| text.lines()).enumerate() {
            if let Some(place) = places.iter().find(|place| line.contains(place.as_str())) {
                let number = index + 1;
                complaints.push(format!(
                    "{}:{number}: {place} is one machine's path",
                    file.path
                ));
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
    fn a_report_that_was_kept_once_stays() {
        let there = [text_file(REPORT, "# Crash report")];
        assert_eq!(report_stays(&[], false), None);
        assert!(report_stays(&[], true).is_some());
        assert_eq!(report_stays(&there, true), None);
        assert_eq!(report_stays(&there, false), None);
    }

    #[test]
    fn a_promise_names_tests_that_exist() {
        let code = "//! Why.\n#[test]\nfn it_is_there_still() {}\n\
                    #[tokio::test]\n#[should_panic]\nasync fn it_waits_and_panics() {}\n\
                    fn this_is_no_test() {}\n";
        assert_eq!(tests(code), ["it_is_there_still", "it_waits_and_panics"]);
        let promises = "| C1 | `it_is_there_still`, `it_waits_and_panics` |\n\
                        | C2 | `it_is_gone_now_alas`, `this_is_no_test`, `max_past_epochs` |\n";
        let files = [text_file("a/src/b.rs", code), text_file(PROMISES, promises)];
        let complaints = proofs(&files);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].starts_with("SECURITY.md:2: no test"));
    }

    #[test]
    fn pointers_are_paths_and_nothing_else() {
        let text = "See `journal/FORMAT.md` and [it](relay/PROTOCOL.md#frames).\n\
                    `cargo xtask demo`, `https://x.example/y`, `a::b`, `relay/`, `x/*.rs`\n";
        let found: Vec<String> = pointers(text).into_iter().map(|(_, path)| path).collect();
        assert_eq!(found, ["journal/FORMAT.md", "relay/PROTOCOL.md"]);
    }

    #[test]
    fn a_pointer_into_the_tree_must_exist() {
        let root = crate::cargo::root();
        let files = [text_file("releases/xtask/Cargo.toml", "")];
        assert!(names_something(&root, &files, "releases/xtask/src/tidy.rs"));
        assert!(!names_something(
            &root,
            &files,
            "releases/xtask/src/gone.rs"
        ));
        assert!(!names_something(&root, &files, "GONE.md"));
        assert!(names_something(&root, &files, "video/mp4"));
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let text = format!("fine\nsee {}\n", concat!("/ro", "ot/notes"));
        let complaints = machine_paths(Path::new("/tmp/clone"), &[text_file("a.md", &text)]);
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].starts_with("a.md:2:"));
    }
}
