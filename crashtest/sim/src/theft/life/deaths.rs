//! Processes that die in the middle of what they do, and those that go on on their files.
//!
//! Half of the times and more a sync is under way, and what became of it differs ([`Dying`]). The files lie dark for hours
//! then, and are copied as they are. This room must never take for done what a process died of before it could say so: the
//! next one's files tell.

use hub::core::CameraNumber;

use super::super::Outcome;
use super::super::books::Whose;
use super::super::dying::{self, Dying, PATIENCE};
use super::super::ends::{PhoneEnd, copy_files};
use super::Life;

impl Life {
    /// The hub dies in the middle of its clips, with a piece more of this camera under way unless it was at rest, and
    /// lies dark for hours; the next one owes the clips their ends. Hours pass again.
    pub(super) fn crash(&mut self, camera: CameraNumber, dying: Dying) -> Outcome<()> {
        if dying != Dying::AtRest {
            self.piece(camera)?;
        }
        // Behind what staging it has synced on its way, because one sync does not take all of it.
        let behind = dying::newest(&self.hub()?.dir)?;
        if dying != Dying::AtRest {
            let now_ms = self.now_ms;
            let hub = self.hub()?;
            hub.core.begin_commit(now_ms)?;
            if dying.is_written() && !hub.core.wait_for_sync(PATIENCE) {
                return Err("a sync of the hub does not end".into());
            }
        }
        self.books.crashes += 1;
        self.step();
        let hub = self.hub.take().ok_or("the hub is down")?;
        let old = hub.dir.clone();
        let stays = self.home.is_some();
        let dir = match stays {
            true => old.clone(),
            false => {
                let dir = self.scratch.path().join(format!("hub-{}", self.books.step));
                copy_files(&old, &dir)?;
                dir
            }
        };
        if dying == Dying::Torn && !stays {
            dying::tear(&dir, behind)?;
        }
        // What a thief finds who comes while it lies dark.
        self.steal(Whose::Hub, &dir, Vec::new())?;
        self.hours_pass(8);
        self.step();
        // Dice that began as others did would make the same keys and names again.
        let seed = self.dice.next_u64();
        let mut hub = hub.dies(dir, seed, self.now_ms)?;
        if !stays {
            std::fs::remove_dir_all(old)?;
        }
        hub.tell(&mut self.books, self.now_ms)?;
        self.books.are_all_unwatched();
        self.hub = Some(hub);
        self.steal_hub()?;
        self.idle()
    }

    /// A phone stages something and dies, with the sync of that under way unless it was at rest; hours later the next
    /// process goes on. Gives the step in which it was staged: a copy from then on may hold it.
    pub(super) fn phone_dies(
        &mut self,
        phone: usize,
        dying: Dying,
        stage: impl FnOnce(&mut PhoneEnd, u64) -> Outcome<()>,
    ) -> Outcome<u64> {
        self.step();
        let staged_in = self.books.step;
        let (now_ms, stays) = (self.now_ms, self.home.is_some());
        let end = self.phone(phone)?;
        stage(end, now_ms)?;
        let behind = dying::newest(&end.dir)?;
        if dying != Dying::AtRest {
            let journal = end.core.journal();
            journal.begin_commit()?;
            if dying.is_written() && !journal.wait_for_sync(PATIENCE) {
                return Err("a sync of a phone does not end".into());
            }
        }
        let (old, whose) = (end.dir.clone(), Whose::Phone(end.pairing));
        let within = end.peep.take()?;
        let dir = match stays {
            true => old.clone(),
            false => {
                let dir = self.scratch.path().join(format!("phone-at-{staged_in}"));
                copy_files(&old, &dir)?;
                dir
            }
        };
        if dying == Dying::Torn && !stays {
            dying::tear(&dir, behind)?;
        }
        self.steal(whose, &dir, within)?;
        self.hours_pass(4);
        self.step();
        let seed = self.dice.next_u64();
        let mut end = self.phones.remove(phone).dies(dir, seed)?;
        if !stays {
            std::fs::remove_dir_all(old)?;
        }
        end.tell(&mut self.books)?;
        self.phones.insert(phone, end);
        self.steal_phone(phone)?;
        Ok(staged_in)
    }
}
