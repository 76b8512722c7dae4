//! What a killed export leaves, which is what its directory holds while it runs.

use super::*;

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// As a kill does: nothing is removed.
fn killed(mut part: Part) {
    part.is_named = false;
}

#[test]
fn a_kill_leaves_nothing_where_there_are_files_without_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    let mut part = Part::create(&target).unwrap();
    part.write(b"one ").unwrap();
    let without_names = unnamed(dir.path()).is_ok();
    let left: &[&str] = if without_names {
        &[]
    } else {
        &[".clip.mp4.part"]
    };
    assert_eq!(names(dir.path()), left);
    part.write(b"two").unwrap();
    part.keep(&target).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"one two");
    // Also in the place of another file.
    let mut again = Part::create(&target).unwrap();
    again.write(b"three").unwrap();
    again.keep(&target).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"three");
    assert_eq!(names(dir.path()), ["clip.mp4"]);
}

#[test]
fn what_was_left_under_the_hidden_name_goes_with_the_next_export() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    let hidden = hidden(&target).unwrap();
    let mut part = claim(&hidden).unwrap();
    part.write(b"the clip in the clear").unwrap();
    killed(part);
    assert_eq!(names(dir.path()), [".clip.mp4.part"]);
    // One without a name removes it, one with a name takes it over.
    drop(Part::create(&target).unwrap());
    assert!(names(dir.path()).is_empty());
    let mut part = claim(&hidden).unwrap();
    part.write(b"the clip in the clear").unwrap();
    killed(part);
    let mut part = claim(&hidden).unwrap();
    assert_eq!(std::fs::read(&hidden).unwrap(), b"");
    part.write(b"short").unwrap();
    part.keep(&target).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"short");
    assert_eq!(names(dir.path()), ["clip.mp4"]);
}

#[test]
fn what_another_export_writes_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    let hidden = hidden(&target).unwrap();
    let mut first = claim(&hidden).unwrap();
    first.write(b"first").unwrap();
    assert!(claim(&hidden).is_err());
    drop(Part::create(&target));
    assert_eq!(std::fs::read(&hidden).unwrap(), b"first");
    first.keep(&target).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"first");
    // Its name is free again.
    drop(claim(&hidden).unwrap());
    assert_eq!(names(dir.path()), ["clip.mp4"]);
}
