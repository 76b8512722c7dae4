//! What phones do in a life: sync, heartbeat, order, watch, delete, be lost; and in the middle of what they die.

use std::collections::{BTreeMap, BTreeSet};

use app_core::core::Order;
use journal::AppClip;
use journal::ids::{ClipId, Line, PairingId};

use super::super::Outcome;
use super::super::books::Heal;
use super::super::dying::Dying;
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

    /// A sync, in whose end a phone dies: with the acks that are owed, and the rotation of its groups' keys. The next
    /// process has a sync of its own.
    pub(super) fn dies_in_a_rotation(&mut self, phone: usize, dying: Dying) -> Outcome<()> {
        self.phone_takes(phone)?;
        self.phone_dies(phone, dying, |end, now_ms| {
            for line in end.lines() {
                let _pending = end.core.finish_sync(line, now_ms)?;
            }
            Ok(())
        })?;
        self.books.deaths.rotation += 1;
        self.sync(phone)
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

    /// A heartbeat in which the phone dies. If nothing of it is left, the next process says another one.
    pub(super) fn dies_in_a_heartbeat(&mut self, phone: usize, dying: Dying) -> Outcome<()> {
        self.phone_takes(phone)?;
        self.hub_takes()?;
        let made = self.phone_dies(phone, dying, |end, now_ms| {
            let level: BTreeSet<Line> = end.lines().into_iter().collect();
            let _staged = end.core.stage_heartbeat(end.pairing, &level, now_ms)?;
            Ok(())
        })?;
        self.books.deaths.heartbeat += 1;
        self.books.heals.push(Heal {
            made,
            taken: BTreeMap::new(),
        });
        self.hub_takes()?;
        self.phone_takes(phone)?;
        let is_taken = |heal: &Heal| !heal.taken.is_empty();
        match self.books.heals.last().is_some_and(is_taken) {
            true => Ok(()),
            false => self.heartbeat(phone),
        }
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

    /// The phone's owner deletes the newest clip that is over before the phone falls quiet, which would rotate the keys
    /// that what came of it lies under.
    pub(super) fn delete_at_once(&mut self) -> Outcome<()> {
        self.phone_takes(OWN)?;
        match self.clips_over()?.pop() {
            Some(newest) => self.delete(&newest, None),
            None => Ok(()),
        }
    }

    /// The phone's owner deletes the oldest clips but a few. In the middle of the first ones the phone dies, once in each
    /// for these.
    pub(super) fn delete_oldest(&mut self, dying: &[Dying]) -> Outcome<()> {
        let old = self.clips_over()?;
        let count = old.len().saturating_sub(KEPT);
        let mut dying = dying.iter().copied();
        for clip in old.into_iter().take(count) {
            self.delete(&clip, dying.next())?;
        }
        Ok(())
    }

    /// The clips of the owner's phone that are over, the oldest first.
    fn clips_over(&mut self) -> Outcome<Vec<AppClip>> {
        let clips = self.phone(OWN)?.core.clips()?;
        let is_over = |id: &ClipId| {
            let of_books = self.books.clips.iter().find(|clip| clip.id == id.0);
            of_books.is_some_and(|clip| clip.over.is_some())
        };
        let over = clips.into_iter().map(|(_, clip)| clip);
        Ok(over.filter(|clip| is_over(&clip.clip)).collect())
    }

    /// The phone's owner deletes a clip, and again if the phone has died of it and the clip is still there.
    fn delete(&mut self, clip: &AppClip, dying: Option<Dying>) -> Outcome<()> {
        let id = clip.clip;
        let own = self.phone(OWN)?;
        let pairing = own.pairing;
        let pictures: Vec<ClipId> = own
            .core
            .thumbnails()?
            .into_iter()
            .filter(|picture| picture.clip == Some(id))
            .map(|picture| picture.what.clip)
            .collect();
        if let Some(dying) = dying {
            self.phone_dies(OWN, dying, |own, _now_ms| {
                let _staged = own.core.delete(id)?;
                Ok(())
            })?;
            self.books.deaths.deletion += 1;
        }
        let clips = self.phone(OWN)?.core.clips()?;
        if clips.iter().any(|(_, known)| known.clip == id) {
            self.step();
            let own = self.phone(OWN)?;
            let _staged = own.core.delete(id)?;
            let _committed = own.core.commit()?;
            self.steal_phone(OWN)?;
        }
        let notices = self.phone(OWN)?.core.journal().app_notices(pairing)?;
        if notices
            .iter()
            .any(|notice| notice.is_of(&clip.camera, clip.started_unix_ms))
        {
            let wrong = "the notification of a clip that was deleted is remembered";
            self.books.wrongs.push(("S3", wrong.to_owned()));
        }
        self.books.is_deleted(id.0);
        let step = self.books.step;
        for picture in pictures {
            self.books
                .deleted_pictures
                .insert(picture.0, (pairing, step));
        }
        Ok(())
    }
}
