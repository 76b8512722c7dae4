//! What a process does for its own privacy. A test of its own, because it changes the whole process.

use std::os::unix::fs::PermissionsExt as _;

use rustix::process::{DumpableBehavior, Resource, dumpable_behavior, getrlimit};
use wal::private::{OTHERS, first_shared, keep_process};

#[test]
fn a_process_that_keeps_to_itself_leaves_no_dump_and_no_open_file() {
    let place = tempfile::tempdir().unwrap();
    keep_process().unwrap();
    let core = getrlimit(Resource::Core);
    assert_eq!((core.current, core.maximum), (Some(0), Some(0)));
    assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);

    // As a library would make them, which does not think of modes.
    let dir = place.path().join("view");
    std::fs::create_dir(&dir).unwrap();
    std::fs::write(dir.join("LOG"), b"text").unwrap();
    assert_eq!(first_shared(&dir, None).unwrap(), None);
    let mode = std::fs::metadata(dir.join("LOG")).unwrap().permissions();
    assert_eq!(mode.mode() & OTHERS, 0);
    // What is its own is open to itself: a long path to a socket is reached so.
    let file = std::fs::File::open(dir.join("LOG")).unwrap();
    let own = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    assert_eq!(std::fs::read(own).unwrap(), b"text");
}
