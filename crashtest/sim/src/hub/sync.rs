//! A sync as the daemon's thread makes it: the log at once, the vault when nobody has asked for anything for a moment.

use hub::core::{Core, CoreError};

/// Syncs what is staged. Half of the time, which `now_ms` decides, something else comes before the vault has heard of
/// it, so that a process also ends or goes on between the two; a tick makes up for it.
pub(super) fn sync(core: &mut Core, now_ms: u64, wall: u64) -> Result<(), CoreError> {
    let log = |core: &mut Core| {
        core.begin_commit(wall)?;
        core.finish_commit(wall)
    };
    log(core)?;
    let is_quiet = now_ms.is_multiple_of(2);
    // What has waited for the vault is staged behind it.
    if is_quiet && core.handle_quiet(wall)? {
        log(core)?;
    }
    Ok(())
}
