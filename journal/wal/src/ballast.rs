//! A file of zeros that is given up when the disk is full and an epoch must still move.
//!
//! It never holds data, and it is never given up for video.

use std::io;

use crate::disk::{Disk, OpenMode};

const PATH: &str = "ballast";
const STEP_BYTES: usize = 256 << 10;

/// Whether the ballast is there in full size.
pub(crate) fn is_present(disk: &dyn Disk, bytes: u64) -> io::Result<bool> {
    Ok(disk.exists(PATH)? && disk.open(PATH, OpenMode::Existing)?.len()? >= bytes)
}

/// Makes it. Real zeros are written, because a hole would hold no space back.
pub(crate) fn create(disk: &dyn Disk, bytes: u64) -> io::Result<()> {
    let file = disk.open(PATH, OpenMode::Create)?;
    let zeros = vec![0; STEP_BYTES];
    let mut at = 0;
    while at < bytes {
        let now = (bytes - at).min(STEP_BYTES as u64);
        file.write_at(at, zeros.get(..now as usize).unwrap_or(&zeros))?;
        at += now;
    }
    file.sync_data()?;
    disk.sync_dir("")
}

/// Gives it up; true if there was one.
pub(crate) fn release(disk: &dyn Disk) -> io::Result<bool> {
    if !disk.exists(PATH)? {
        return Ok(false);
    }
    disk.remove(PATH)?;
    disk.sync_dir("")?;
    Ok(true)
}
