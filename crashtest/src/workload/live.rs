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
    system.watch(WATCHED_S)?;
    system.settle()
}
