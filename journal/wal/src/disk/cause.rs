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
}
