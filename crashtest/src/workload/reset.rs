//! A hub is reset and begins again; its phone forgets it and pairs anew.

use std::path::Path;

use journal::thief::keys_in;

use super::phones::forget_hub;
use crate::oracle::Ends;
use crate::process::Role;
use crate::system::System;
use crate::trouble::{Outcome, Trouble};

/// Where the vault is, below the world's directory.
const VAULT: &str = "hub/journal/vault";
/// A second name of the same file: what is left of it on the disk when the first one is gone.
const LINK: &str = "vault.link";

pub(super) fn reset(system: &mut System) -> Outcome<Ends> {
    system.start(Role::Relay)?;
    let vault = system.path(VAULT);
    let keys = keys_in(&std::fs::read(&vault).map_err(Trouble::machine("a vault"))?);
    if keys.is_empty() {
        return Err(Trouble::Broken(
            "a vault without a key shows nothing".to_owned(),
        ));
    }
    let link = system.path(LINK);
    std::fs::hard_link(&vault, &link).map_err(Trouble::machine("a second name of a vault"))?;
    system.ask_hub(&["reset", "--yes"])?;
    let left = std::fs::read(&link).map_err(Trouble::machine("what is left of a vault"))?;
    if keys
        .iter()
        .any(|key| left.windows(key.len()).any(|part| part == key.as_slice()))
    {
        system.found_broken("S3", "a key stands where the vault was, behind a reset");
    }
    if !is_gone(&system.path("hub/journal")) || !is_gone(&system.path("hub/reset")) {
        system.found_broken(
            "S3",
            "a reset has left a journal, or what asks for the next reset",
        );
    }
    system.put_hub_notes_aside()?;
    // It is another device, which the relay does not know.
    system.invitation = system.invite("hub", "1h")?;
    system.write_hub_config()?;
    forget_hub(system)?;
    system.pair()?;
    system.settle()
}

fn is_gone(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err()
}
