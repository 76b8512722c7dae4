//! What phones do in a life: sync, heartbeat, order, watch, delete, come, be lost.

use std::collections::{BTreeMap, BTreeSet};

use app_core::core::Order;
use journal::ids::{ClipId, Line, PairingId};
use wal::Dice as _;
use wire::DeviceId;

use super::super::Outcome;
use super::super::books::Heal;
use super::super::ends::Blank;
use super::super::peep::Peep;
use super::{KEPT, Life, OTHER, OWN};

impl Life {
    /// A phone takes everything, ends its sync, and the hub takes its acks.
    pub(super) fn sync(&mut self, phone: usize) -> Outcome<()> {
        self.phone_takes(phone)?;
        self.step();
        let now_ms = self.now_ms;
        let end = self.phones.get_mut(phone).ok_or("there is no such phone")?;
        end.finish_sync(&mut self.books, now_ms)?;
        let pairing = end.pairing;
        self.books.is_quiet(pairing);
        self.steal_phone(phone)?;
        self.hub_takes()
    }

    pub(super) fn phone_takes(&mut self, phone: usize) -> Outcome<()> {
        loop {
            self.step();
            let now_ms = self.now_ms;
            let end = self.phones.get_mut(phone).ok_or("there is no such phone")?;
            if !end.take_one(&mut self.books, now_ms)? {
                return Ok(());
            }
            self.steal_phone(phone)?;
        }
    }

    /// The hub takes what its phones have sent, a batch of each.
    pub(super) fn hub_takes(&mut self) -> Outcome<()> {
        let pairings: Vec<PairingId> = self.phones.iter().map(|phone| phone.pairing).collect();
        for pairing in pairings {
            self.step();
            let now_ms = self.now_ms;
            let hub = self.hub.as_mut().ok_or("the hub is down")?;
            if hub.take_all(pairing, &mut self.books, now_ms)? {
                self.steal_hub()?;
            }
        }
        Ok(())
    }

    /// A heartbeat, taken and answered. The phone has caught up first.
    pub(super) fn heartbeat(&mut self, phone: usize) -> Outcome<()> {
        self.phone_takes(phone)?;
        self.hub_takes()?;
        self.step();
        self.books.heals.push(Heal {
            made: self.books.step,
            taken: BTreeMap::new(),
        });
        let now_ms = self.now_ms;
        let end = self.phones.get_mut(phone).ok_or("there is no such phone")?;
        // It has caught up on all of them.
        let level: BTreeSet<Line> = end.lines().into_iter().collect();
        let staged = end.core.stage_heartbeat(end.pairing, &level, now_ms)?;
        let committed = end.core.commit()?;
        let _beat = committed.redeem(staged);
        end.tell(&mut self.books)?;
        for line in end.lines() {
            let keys = end.core.journal().line_keys(line)?;
            let healed = keys.and_then(|keys| keys.healed);
            if healed.is_some_and(|healed| healed.made_unix_ms >= now_ms) {
                let wrong = format!("{line:?} is healed since keys that no hub has taken");
                self.books.wrongs.push(("S4", wrong));
            }
        }
        self.steal_phone(phone)?;
        self.hub_takes()?;
        self.phone_takes(phone)
    }

    /// The owner orders something, which is done and answered. The phone has caught up first.
    pub(super) fn order(&mut self, order: Order) -> Outcome<()> {
        self.phone_takes(OWN)?;
        self.hub_takes()?;
        self.step();
        let now_ms = self.now_ms;
        let own = self.phones.get_mut(OWN).ok_or("there is no phone")?;
        own.orders(order, &mut self.books, now_ms)?;
        self.books.commands += 1;
        self.steal_phone(OWN)?;
        self.hub_takes()?;
        self.phone_takes(OWN)
    }

    /// The owner watches live: the hub begins a session. The phone has caught up first.
    pub(super) fn watch(&mut self) -> Outcome<()> {
        self.phone_takes(OWN)?;
        self.hub_takes()?;
        self.step();
        self.viewers += 1;
        let viewer = self.viewers;
        let own = self.phones.get_mut(OWN).ok_or("there is no phone")?;
        own.wishes(viewer, &mut self.books)?;
        self.steal_phone(OWN)?;
        self.hub_takes()?;
        if self.books.watched.is_empty() {
            return Err("the hub begins no session for a wish".into());
        }
        self.phone_takes(OWN)?;
        self.show()
    }

    /// The owner has seen enough: the phone says so, or the relay does.
    pub(super) fn stop_watching(&mut self) -> Outcome<()> {
        self.show()?;
        self.phone_takes(OWN)?;
        self.step();
        let says = self.dice.below(2) == 0;
        let own = self.phones.get_mut(OWN).ok_or("there is no phone")?;
        own.has_seen_enough(says, &mut self.books)?;
        self.steal_phone(OWN)?;
        self.hub_takes()?;
        self.step();
        let now_ms = self.now_ms;
        let hub = self.hub()?;
        for (line, live) in hub.core.live_board() {
            hub.core.handle_unwatched(line, live.session, now_ms)?;
        }
        self.hub_commits()?;
        if !self.books.watched.is_empty() {
            return Err("a session goes on that nobody watches".into());
        }
        self.phone_takes(OWN)
    }

    /// One more phone.
    pub(super) fn pair_another(&mut self) -> Outcome<()> {
        self.step();
        let name = format!("phone-{}", self.phones_made);
        self.phones_made += 1;
        let place = self.home.as_deref().unwrap_or(self.scratch.path());
        let peep = Peep::new(self.scratch.path(), &name);
        let blank = Blank::start(place.join(&name), peep, self.dice.next_u64())?;
        let mut device = [0; 32];
        self.dice.fill(&mut device);
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        let phone = hub.pair(blank, DeviceId(device), now_ms)?;
        hub.tell(&mut self.books, now_ms)?;
        self.phones.push(phone);
        self.books.pairings += 1;
        self.steal_hub()?;
        self.steal_phone(self.phones.len() - 1)
    }

    /// The other phone is lost: its owner removes it by the first one, and pairs another. What a hub that retains has
    /// kept for the lost one is played to that.
    pub(super) fn lose_the_other(&mut self) -> Outcome<()> {
        let lost = self.phone(OTHER)?.pairing;
        self.order(Order::Remove(lost))?;
        if !self.books.removed.contains(&lost) {
            return Err("the hub did not remove the phone".into());
        }
        self.phones.truncate(OTHER);
        self.idle()?;
        self.pair_another()?;
        match self.books.retains {
            true => self.play(lost),
            false => Ok(()),
        }
    }

    fn play(&mut self, from: PairingId) -> Outcome<()> {
        let to = self.phone(OTHER)?.pairing;
        let kept = self.books.retained_for(from);
        self.step();
        let now_ms = self.now_ms;
        let count = self.hub()?.core.handle_play(to, from, now_ms)?;
        if count != kept.len() {
            let kept = kept.len();
            let wrong = format!("{count} clips are to be played, and {kept} are not acked");
            self.books.wrongs.push(("S3", wrong));
        }
        self.hub_commits()?;
        let mut kept = kept.into_iter();
        for _ in 0..count {
            self.step();
            self.tick()?;
            if let Some(clip) = kept.next() {
                self.books.is_played(clip);
            }
            self.steal_hub()?;
        }
        self.step();
        self.tick()?;
        self.steal_hub()
    }

    pub(super) fn tick(&mut self) -> Outcome<()> {
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        hub.core.handle_timeout(now_ms)?;
        hub.commit(&mut self.books, now_ms)
    }

    /// The phone's owner deletes the oldest clips but a few.
    pub(super) fn delete_oldest(&mut self) -> Outcome<()> {
        let clips = self.phone(OWN)?.core.clips()?;
        let is_over = |id: &ClipId| {
            let of_books = self.books.clips.iter().find(|clip| clip.id == id.0);
            of_books.is_some_and(|clip| clip.over.is_some())
        };
        let old: Vec<ClipId> = clips
            .iter()
            .map(|(_, clip)| clip.clip)
            .filter(is_over)
            .collect();
        for id in old.iter().take(old.len().saturating_sub(KEPT)) {
            self.step();
            let own = self.phones.get_mut(OWN).ok_or("there is no phone")?;
            let pictures = own.core.thumbnails()?.into_iter();
            let pictures: Vec<ClipId> = pictures
                .filter(|picture| picture.clip == Some(*id))
                .map(|picture| picture.what.clip)
                .collect();
            let pairing = own.pairing;
            let _staged = own.core.delete(*id)?;
            let _committed = own.core.commit()?;
            let notices = own.core.journal().app_notices(pairing)?;
            let deleted = clips.iter().filter(|(_, clip)| clip.clip == *id);
            for (_, clip) in deleted {
                if notices
                    .iter()
                    .any(|notice| notice.is_of(&clip.camera, clip.started_unix_ms))
                {
                    let wrong = "the notification of a clip that was deleted is remembered";
                    self.books.wrongs.push(("S3", wrong.to_owned()));
                }
            }
            self.books.is_deleted(id.0);
            let step = self.books.step;
            for picture in pictures {
                self.books
                    .deleted_pictures
                    .insert(picture.0, (pairing, step));
            }
            self.steal_phone(OWN)?;
        }
        Ok(())
    }
}
