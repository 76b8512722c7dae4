//! Live pictures, watched while events are recorded.

use crate::oracle::Ends;
use crate::process::Role;
use crate::system::System;
use crate::trouble::Outcome;

/// For how long somebody watches, in seconds.
const WATCHED_S: u64 = 2;

pub(super) fn watch(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    let patience = system.setup.patience;
    system.until("live pictures", patience, |system| {
        let lines = system.watch(WATCHED_S)?;
        // Without one frame that was sealed, nothing could fall between two of them.
        if lines.iter().any(|line| line["event"] == "live_media") {
            return Ok(Some(()));
        }
        // What the camera plays is over: the next process of the hub plays it anew.
        system.stop(Role::Hub)?;
        system.start(Role::Hub)?;
        Ok(None)
    })?;
    system.settle()
}
