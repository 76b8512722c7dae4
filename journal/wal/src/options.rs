//! Every size and limit of the engine that an owner may choose, and the ones nobody may.
//!
//! A value that is not here is not configurable; a bound without a name does not exist.

/// The unit in which the log is written: a torn or trashed write never touches two of them.
pub const SECTOR_BYTES: u64 = 4096;

/// Longest key of a small value or a payload, in bytes.
pub const KEY_BYTES_MAX: usize = 4096;

/// Longest small value, in bytes. Larger things are payloads.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// Most records in one transaction.
pub const TXN_RECORDS_MAX: usize = 65_536;

/// Smallest log file that the engine works with.
pub const LOG_FILE_BYTES_MIN: u64 = 16 * SECTOR_BYTES;

/// Largest log file: offsets and lengths inside a file stay below 2^32.
pub const LOG_FILE_BYTES_MAX: u64 = 1 << 30;

/// Sizes of one journal.
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of a log file in bytes, a multiple of 4096. It bounds the tail that a start copies.
    pub log_file_bytes: u64,
    /// Step in which a new file is zero-filled, so that an idle journal stays small.
    pub grow_bytes: u64,
    /// Free files kept for reuse beyond those held back for recovery; more are deleted.
    pub spare_files_max: usize,
    /// Size of the ballast file in bytes; it covers two checkpoints and the next Commits.
    pub ballast_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            log_file_bytes: 16 << 20,
            grow_bytes: 1 << 20,
            spare_files_max: 4,
            ballast_bytes: 4 << 20,
        }
    }
}

impl Options {
    /// The same options with sizes rounded to sectors and forced into their limits.
    #[must_use]
    pub(crate) fn normalised(&self) -> Options {
        let round = |bytes: u64| bytes.div_ceil(SECTOR_BYTES) * SECTOR_BYTES;
        let log_file_bytes = round(
            wanted_by_crash_test()
                .unwrap_or(self.log_file_bytes)
                .clamp(LOG_FILE_BYTES_MIN, LOG_FILE_BYTES_MAX),
        );
        Options {
            log_file_bytes,
            grow_bytes: round(self.grow_bytes.max(SECTOR_BYTES)).min(log_file_bytes),
            spare_files_max: self.spare_files_max,
            ballast_bytes: round(self.ballast_bytes.max(SECTOR_BYTES)),
        }
    }

    /// Largest encoded transaction in bytes: a quarter of a log file.
    #[must_use]
    pub fn txn_bytes_max(&self) -> u64 {
        self.log_file_bytes / 4
    }

    /// Most bytes that may be staged between two commits: half a log file.
    #[must_use]
    pub fn batch_bytes_max(&self) -> u64 {
        self.log_file_bytes / 2
    }
}

/// A crash test may ask for small log files (`SECLUSO_CRASH_LOG_KIB`), so that checkpoints and
/// recycling come soon.
fn wanted_by_crash_test() -> Option<u64> {
    let kib = asked_by_crash_test("SECLUSO_CRASH_LOG_KIB")?;
    kib.parse::<u64>().ok()?.checked_mul(1024)
}

/// What a crash test asks of a program by this variable of its environment, where no owner may choose what it
/// needs. Always nothing in a build without the feature `crashtest`.
#[cfg(feature = "crashtest")]
#[must_use]
pub fn asked_by_crash_test(variable: &str) -> Option<String> {
    std::env::var(variable).ok()
}

/// Nothing: this build knows no crash tests.
#[cfg(not(feature = "crashtest"))]
#[must_use]
pub fn asked_by_crash_test(_variable: &str) -> Option<String> {
    None
}

/// What a transaction is for, when space is short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// Video and the like: refused while the ballast is needed.
    Bulk,
    /// What keeps both ends in step: may use the ballast.
    Epoch,
}
