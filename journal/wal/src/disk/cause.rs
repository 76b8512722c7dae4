//! What an error of the operating system asks of a person: programs have a word and an exit code for each.

use std::io::{Error, ErrorKind};

use super::is_full;

/// Why a file or a directory could not be made, opened or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The path, or what it may be used for: correct the configuration, or the permissions.
    Setup,
    /// The disk, or the owner's share of it, is full: free some space.
    Space,
    /// Anything else, and a disk that fails above all: check it.
    Disk,
}

impl Cause {
    /// Sorts an error by what is to be done about it.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        if is_full(error) {
            return Self::Space;
        }
        match error.kind() {
            ErrorKind::NotFound
            | ErrorKind::PermissionDenied
            | ErrorKind::AlreadyExists
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::InvalidData
            | ErrorKind::Unsupported => Self::Setup,
            _ => Self::Disk,
        }
    }

    /// The same of files that are ours. Only what the operating system said can be its owner's to
    /// correct: that a file holds something else is no wrong path.
    #[must_use]
    pub fn of_ours(error: &Error) -> Self {
        let error = beneath(error);
        if error.raw_os_error().is_none() && !is_full(error) {
            return Self::Disk;
        }
        match error.kind() {
            // A file system becomes read-only beneath us when it fails (`errors=remount-ro`), and what we
            // ask of files that are open is valid: neither is the owner's mistake.
            ErrorKind::ReadOnlyFilesystem | ErrorKind::InvalidInput => Self::Disk,
            _ => Self::of(error),
        }
    }
}

/// What the operating system said. Where a full disk must not be tried again, the engine hides that
/// error in another one ([`Error::other`]); who is told why still hears it.
pub(crate) fn beneath(error: &Error) -> &Error {
    let mut error = error;
    while let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
        error = inner;
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_asks_for_one_thing() {
        let of = |number| Cause::of(&Error::from_raw_os_error(number));
        // Numbers of Linux, `errno(3)`.
        let table = [
            (1, Cause::Setup),   // EPERM
            (2, Cause::Setup),   // ENOENT
            (13, Cause::Setup),  // EACCES
            (20, Cause::Setup),  // ENOTDIR
            (30, Cause::Setup),  // EROFS
            (36, Cause::Setup),  // ENAMETOOLONG
            (5, Cause::Disk),    // EIO
            (24, Cause::Disk),   // EMFILE
            (28, Cause::Space),  // ENOSPC
            (122, Cause::Space), // EDQUOT
        ];
        for (number, cause) in table {
            assert_eq!(of(number), cause, "{number}");
        }
        // A key file that holds something else is no failing disk.
        assert_eq!(Cause::of(&ErrorKind::InvalidData.into()), Cause::Setup);
    }

    #[test]
    fn of_our_own_files_only_the_system_can_say_that_the_path_is_wrong() {
        let system = Error::from_raw_os_error;
        for (number, cause) in [
            (13, Cause::Setup), // EACCES
            (28, Cause::Space), // ENOSPC
            (5, Cause::Disk),   // EIO
            (22, Cause::Disk),  // EINVAL
            (30, Cause::Disk),  // EROFS: a card that was remounted read-only
        ] {
            assert_eq!(Cause::of_ours(&system(number)), cause, "{number}");
            let hidden = Error::other(Error::other(system(number)));
            assert_eq!(Cause::of_ours(&hidden), cause, "{number}, hidden");
        }
        assert_eq!(
            Cause::of_ours(&ErrorKind::InvalidData.into()),
            Cause::Disk,
            "what a file holds"
        );
        // The vault says so of itself, without asking anybody.
        assert_eq!(Cause::of_ours(&ErrorKind::StorageFull.into()), Cause::Space);
    }
}
