//! Copies of all files, and what opens of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use thief::Haul;

use super::super::Outcome;
use super::super::books::{Moment, Whose};
use super::super::ends::copy_files;
use super::{Copied, Life};

impl Life {
    pub(super) fn steal_hub(&mut self) -> Outcome<()> {
        let hub = self.hub()?;
        let (dir, within) = (hub.dir.clone(), hub.peep.take()?);
        self.steal(Whose::Hub, &dir, within)
    }

    pub(super) fn steal_phone(&mut self, phone: usize) -> Outcome<()> {
        let phone = self.phone(phone)?;
        let (dir, within) = (phone.dir.clone(), phone.peep.take()?);
        let whose = Whose::Phone(phone.pairing);
        self.steal(whose, &dir, within)
    }

    /// Opens what opens of the copies from within this step, and of one of all files below `from` as they are now.
    pub(super) fn steal(&mut self, whose: Whose, from: &Path, within: Vec<PathBuf>) -> Outcome<()> {
        for copy in within {
            self.open(whose, &copy, true)?;
        }
        let copy: PathBuf = self.scratch.path().join("stolen");
        copy_files(from, &copy)?;
        self.open(whose, &copy, false)
    }

    fn open(&mut self, whose: Whose, copy: &Path, within: bool) -> Outcome<()> {
        let haul = Haul::read(copy)?;
        std::fs::remove_dir_all(copy)?;
        let keys: BTreeSet<[u8; 32]> = haul.keys.iter().map(|stored| *stored.key).collect();
        self.keys.extend(&keys);
        let end = match whose {
            Whose::Hub => None,
            Whose::Phone(pairing) => Some(pairing),
        };
        self.last_keys.insert(end, keys);
        self.books.unknown.extend(haul.unknown.iter().cloned());
        if self.home.is_some() {
            return Ok(());
        }
        self.copies.push(Copied {
            at: Moment {
                step: self.books.step,
                within,
            },
            whose,
            loot: self.opener.open(&haul),
        });
        Ok(())
    }
}
