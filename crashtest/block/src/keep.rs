//! A fatal state as a directory that needs no drive of ours to be looked at again.
//!
//! ```text
//! DIRECTORY/
//!   disk    the disk as a sparse file: mount -o loop
//!   told    what had been told, a mark on each line
//!   role    whose directory it is
//!   log_kib how large its log files are
//!   state   which writes are there (`states.rs`), for whoever has the recording
//!   why     what is wrong
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::check::{Outcome as Start, Subject, Told};
use crashtest_replay::image::Image;
use crashtest_replay::steps::{Placed, Step};

use crate::mounts::{Attempt, Mounted};
use crate::session::role_of;
use crate::states::State;

/// What is kept.
pub(crate) struct Kept<'a> {
    /// Whose directory.
    pub(crate) program: &'a str,
    /// Size of its log files in KiB.
    pub(crate) log_kib: u32,
    /// Which writes are there.
    pub(crate) state: &'a State,
    /// The disk.
    pub(crate) image: &'a Image,
    /// What had been told.
    pub(crate) told: &'a [&'a str],
    /// What is wrong.
    pub(crate) why: &'a [String],
}

/// Keeps a state below a directory; where, if that succeeded.
pub(crate) fn keep(below: &Path, kept: &Kept<'_>) -> Option<PathBuf> {
    let hash = kept.image.hash() as u32;
    let place = below.join(format!("{}-{hash:08x}", kept.program));
    let write = || -> io::Result<()> {
        std::fs::create_dir_all(&place)?;
        write_disk(kept.image, &place.join("disk"))?;
        std::fs::write(place.join("told"), kept.told.join("\n"))?;
        std::fs::write(place.join("role"), kept.program)?;
        std::fs::write(place.join("log_kib"), kept.log_kib.to_string())?;
        std::fs::write(place.join("state"), kept.state.to_string())?;
        std::fs::write(place.join("why"), kept.why.join("\n"))
    };
    write().ok().map(|()| place)
}

fn write_disk(image: &Image, path: &Path) -> io::Result<()> {
    let file = File::create(path)?;
    file.set_len(image.length())?;
    for (offset, bytes) in image.pages() {
        file.write_all_at(bytes, offset)?;
    }
    Ok(())
}

/// The size of the log files in a kept state.
#[must_use]
pub fn log_kib(directory: &Path) -> Option<u32> {
    let text = std::fs::read_to_string(directory.join("log_kib")).ok()?;
    text.trim().parse().ok()
}

/// Mounts a copy of a kept state, opens it and says what is wrong; nothing if it is good now.
///
/// # Errors
/// The machine's, or it is no kept state.
pub fn check(directory: &Path, home: &Path) -> Outcome<Vec<String>> {
    let machine = || Trouble::machine("the kept state");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).map_err(machine());
    let name = read("role")?;
    let role = role_of(name.trim())
        .ok_or_else(|| Trouble::Usage(format!("{name} is none of our programs")))?;
    let mut told = Told::default();
    let mut placed = Vec::new();
    for (record, words) in read("told")?.lines().enumerate() {
        if told.take(words).is_none() {
            told.unknown.push(words.to_owned());
        }
        placed.push(Placed {
            nanos: 0,
            record,
            step: Step::Mark(words.to_owned()),
        });
    }
    // What is kept must not change: a mount writes.
    let disk = home.join("disk");
    std::fs::copy(directory.join("disk"), &disk).map_err(machine())?;
    let mounted = match Mounted::ext4(&disk, &home.join("mount"))? {
        Attempt::Mounted(mounted) => mounted,
        Attempt::Refused(said) => return Ok(vec![format!("it does not mount: {said}")]),
    };
    let subject = Subject::new(role, &placed);
    let start = subject.open_files(mounted.place(), 1).map_err(machine())?;
    mounted.unmount()?;
    Ok(match start {
        Start::Opened(facts) => {
            println!("{facts:#?}");
            subject.unexplained(&facts, &told)
        }
        Start::Refused(why) => vec![format!("refused: {why}")],
        Start::Broken(why) => vec![why],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::epochs::Crash;

    #[test]
    fn a_kept_state_has_the_disk_and_the_reason() {
        let place = tempfile::tempdir().unwrap();
        let mut image = Image::default();
        image.set_length(1 << 20);
        image.write(70_000, b"something");
        let state = State {
            crash: Crash {
                at: 7,
                ignored: None,
            },
            pieces: Vec::new(),
        };
        let kept = Kept {
            program: "secluso-hub",
            log_kib: 512,
            state: &state,
            image: &image,
            told: &["trim a 1", "trim a 2"],
            why: &["no reason".to_owned()],
        };
        let kept = keep(place.path(), &kept).unwrap();
        assert_eq!(std::fs::read(kept.join("disk")).unwrap(), image.to_vec());
        let read = |name: &str| std::fs::read_to_string(kept.join(name)).unwrap();
        assert_eq!(read("told"), "trim a 1\ntrim a 2");
        assert_eq!(read("why"), "no reason");
        assert_eq!(log_kib(&kept), Some(512));
        assert_eq!(read("state").parse::<State>().unwrap(), state);
    }
}
