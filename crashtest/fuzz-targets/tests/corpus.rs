//! Every committed input through its function, on the toolchain of the gate.
//!
//! `BLESS=1` writes the inputs that the code makes; others stay.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crashtest_fuzz::{TARGETS, seeds, table};

/// Largest committed input in bytes: a small corpus is read by people, too.
const SEED_BYTES_MAX: usize = 32 * 1024;
/// Most committed inputs of a target.
const SEEDS_MAX: usize = 64;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = fuzz().join("seeds").join(target);
    let mut inputs: Vec<(PathBuf, Vec<u8>)> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(path).unwrap()))
        .collect();
    inputs.sort();
    inputs
}

#[test]
fn every_committed_input_holds() {
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(
            (1..=SEEDS_MAX).contains(&inputs.len()),
            "{}: {}",
            target.name,
            inputs.len()
        );
        for (path, bytes) in inputs {
            let most = SEED_BYTES_MAX.min(target.bytes_max);
            assert!(bytes.len() <= most, "{}", path.display());
            eprintln!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

/// Inputs of a few bytes reach every first choice; the same sequence each time.
#[test]
fn short_inputs_hold() {
    let mut state: u64 = 0x5EC1_0500;
    let mut dice = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    for target in TARGETS {
        (target.run)(&[]);
        for length in 1..40 {
            let bytes: Vec<u8> = (0..length).map(|_| dice()).collect();
            (target.run)(&bytes);
        }
    }
}

#[test]
fn what_the_code_makes_is_committed() {
    let bless = std::env::var_os("BLESS").is_some();
    for target in TARGETS {
        let folder = fuzz().join("seeds").join(target.name);
        for (name, bytes) in seeds::of(target.name) {
            let path = folder.join(name);
            if bless {
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(&path, &bytes).unwrap();
            }
            let found = std::fs::read(&path).unwrap_or_default();
            assert_eq!(found, bytes, "{}: cargo xtask bless", path.display());
        }
    }
}

/// One table says which target tries which parser; it is made of the targets themselves.
#[test]
fn the_document_has_the_table_of_all_targets() {
    const BEGIN: &str = "<!-- targets -->\n";
    const END: &str = "<!-- end of targets -->\n";
    let path = fuzz().join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (found, after) = rest.split_once(END).unwrap();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, [before, BEGIN, &table(), END, after].concat()).unwrap();
        return;
    }
    assert_eq!(found, table(), "{}: cargo xtask bless", path.display());
}

/// What is fuzzed is what is shipped: where both lock files know a crate, they mean the same version.
#[test]
fn the_fuzzers_lock_file_has_the_versions_of_the_workspace() {
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path);
        packages(&text.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    let ours = read(fuzz().join("../../Cargo.lock"));
    let theirs = read(fuzz().join("Cargo.lock"));
    assert!(theirs.keys().any(|name| name == "crashtest-fuzz"));
    for (name, versions) in &theirs {
        let known = ours.get(name);
        assert!(
            known.is_none_or(|known| versions.is_subset(known)),
            "{name} {versions:?}: make the lock file anew (crashtest/README.md, \"Fuzzing\")"
        );
    }
}

/// The versions of each crate in a lock file.
fn packages(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let field = |table: &str, name: &str| {
        let values = table.lines().filter_map(|line| line.strip_prefix(name));
        let mut values = values.filter_map(|rest| rest.strip_prefix(" = \"")?.strip_suffix('"'));
        values.next().map(str::to_owned)
    };
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for table in lock.split("[[package]]").skip(1) {
        if let (Some(name), Some(version)) = (field(table, "name"), field(table, "version")) {
            all.entry(name).or_default().insert(version);
        }
    }
    all
}

/// A target without a program is never fuzzed, and a program without a target cannot run.
#[test]
fn every_target_has_a_program_and_a_folder_and_the_other_way_round() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|one| one.name.to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len(), "two targets of one name");
    let names = |folder: &str| -> BTreeSet<String> {
        std::fs::read_dir(fuzz().join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("fuzz_targets"), targets);
    assert_eq!(names("seeds"), targets);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for target in TARGETS {
        let program = format!(
            "name = \"{0}\"\npath = \"fuzz_targets/{0}.rs\"",
            target.name
        );
        assert!(manifest.contains(&program), "{} is no program", target.name);
        let text = fuzz()
            .join("fuzz_targets")
            .join(target.name)
            .with_extension("rs");
        let text = std::fs::read_to_string(text).unwrap();
        assert!(text.contains(&format!("run(\"{}\", data)", target.name)));
    }
}
