//! How far a run has come, on disk, so that the next one goes on behind it.
//!
//! A text: `log CRC build ID` (of this program, which is what recovers), then `HASH MARKS` for each disk that was good at an instant with so many marks. It
//! only ever grows, an epoch at a time. This room must never let a run go on behind that of another
//! recording or of another build.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;

use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::image::Hash;

use crate::log::Log;

/// What earlier runs did.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Disks, and the number of marks against which each was good.
    pub seen: HashSet<(Hash, usize)>,
}

impl Progress {
    /// Reads what is there, and begins the file if there is none.
    ///
    /// # Errors
    /// The machine's; or it belongs to another recording or another build.
    pub fn read(path: &Path, log: &Log, build: &str) -> Outcome<Self> {
        let head = format!("log {:x} build {build}", log.sum());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::write(path, format!("{head}\n")).map_err(Trouble::machine("progress"))?;
                return Ok(Self::default());
            }
            Err(error) => return Err(Trouble::machine("progress")(error)),
        };
        let mut lines = text.lines();
        if lines.next() != Some(&head) {
            return Err(Trouble::Usage(format!(
                "{} belongs to another recording or another build; name the recording with --recording, or begin \
                 a new file",
                path.display()
            )));
        }
        // A line that was cut off is a disk that is opened once more.
        let seen = lines.filter_map(|line| {
            let (hash, marks) = line.split_once(' ')?;
            Some((Hash::from_str_radix(hash, 16).ok()?, marks.parse().ok()?))
        });
        Ok(Self {
            seen: seen.collect(),
        })
    }

    /// Adds what was done since.
    ///
    /// # Errors
    /// The machine's.
    pub fn append(path: &Path, fresh: &[(Hash, usize)]) -> Outcome<()> {
        let lines = fresh
            .iter()
            .map(|(hash, marks)| format!("{hash:x} {marks}\n"));
        let text: String = lines.collect();
        let file = std::fs::File::options().append(true).open(path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(Trouble::machine("progress"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::tests::log_of;

    #[test]
    fn a_run_goes_on_behind_its_own_recording_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("progress");
        let log = log_of(&[(1, 1, 1, 2)], &[]);
        assert!(Progress::read(&path, &log, "this").unwrap().seen.is_empty());
        Progress::append(&path, &[(0xa, 1), (Hash::MAX, 2)]).unwrap();
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push('c');
        std::fs::write(&path, text).unwrap();
        let seen = Progress::read(&path, &log, "this").unwrap().seen;
        assert_eq!(seen, [(0xa, 1), (Hash::MAX, 2)].into());
        let other = log_of(&[(1, 2, 1, 2)], &[]);
        for (log, build) in [(&other, "this"), (&log, "another")] {
            assert!(matches!(
                Progress::read(&path, log, build),
                Err(Trouble::Usage(_))
            ));
        }
    }
}
