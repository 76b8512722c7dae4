//! What lives gave away, in numbers, and whether that proves anything.

use serde_json::{Value, json};

use super::books::Whose;
use super::classes::Class;
use super::life::Copied;

/// Broken promises that are told one by one.
const TOLD_MAX: usize = 20;

/// What one life gave away.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Epochs of the event video group of the first phone.
    pub epochs: u64,
    /// Clips that were recorded, for each phone by itself.
    pub clips: u64,
    /// Crashes of the hub in the middle of one.
    pub crashes: u64,
    /// Hours in which the hub was idle, or dark after a crash.
    pub idle_hours: u64,
    /// Heartbeats whose keys the hub took.
    pub heals: u64,
    /// Commands that were carried out.
    pub commands: u64,
    /// Phones that were paired beside the first one, and phones that were removed.
    pub pairings: u64,
    /// See [`Self::pairings`].
    pub removals: u64,
    /// Clips of a removed phone that were played to the one that took its place.
    pub played: u64,
    /// Live sessions.
    pub sessions: Class,
    /// Pictures of events.
    pub pictures: Class,
    /// Notifications.
    pub notices: Class,
    /// Frames that were shown in live sessions.
    pub frames: u64,
    /// Notifications and pictures of events that the hub says that it has sent.
    pub told_of: (u64, u64),
    /// Envelopes and frames that were sent, all of which the thief has.
    pub envelopes: u64,
    /// Of these, MLS messages that stolen wrapping keys laid bare.
    pub unwrapped: u64,
    /// Of these, application messages, and those of them that some copy of either opened, whether it may or not.
    pub messages: (u64, u64),
    /// Copies of the hub's files.
    pub hub_copies: u64,
    /// Copies of either's files that were made within a step: behind the log's sync, before the vault's were over.
    pub copies_within: u64,
    /// Clips in progress, once for each copy, and how often a copy opened some of one.
    pub in_progress: (u64, u64),
    /// Clips that were finished, and those of them that a copy opened which was taken later.
    pub finished: (u64, u64),
    /// Clips that a copy of the hub opened which was taken before they began.
    pub later: u64,
    /// Messages of phones (acks, heartbeats, commands) of which the hub must have forgotten the key since it took
    /// them, and those of them that a copy of the hub opened which was taken later.
    pub shut: (u64, u64),
    /// Messages of phones that a copy of the hub opened otherwise, once for each copy: not taken yet, or taken in the
    /// middle of an event.
    pub of_the_phone: u64,
    /// Clips of which the hub retained a copy, once for each copy of its files, and how often such a copy opened.
    pub retained: (u64, u64),
    /// Clips whose copy was to be gone, and those of which it opened all the same, or was never to be.
    pub released: (u64, u64),
    /// Copies of phones' files.
    pub phone_copies: u64,
    /// Clips that were deleted, and those of them that a copy opened which was taken later.
    pub deleted: (u64, u64),
    /// Clips that a copy of the phone opened which was not deleted yet: as it may.
    pub held: u64,
    /// Clips, once for each copy, that a copy of the phone opened which was taken before they began, and before
    /// the next new keys: as it may. It shows that the thief follows Commits.
    pub followed: u64,
    /// Messages that a copy of either opened of an epoch behind the next new keys.
    pub healed: u64,
    /// What was opened against a promise, and how often.
    pub broken: u64,
    /// The first of these in words.
    pub told: Vec<String>,
}

impl Tally {
    pub(super) fn breaks(&mut self, promise: &str, copy: &Copied, what: &str) {
        let whose = match copy.whose {
            Whose::Hub => "the hub",
            Whose::Phone(_) => "a phone",
        };
        let when = match copy.at.within {
            true => "within step",
            false => "of step",
        };
        let step = copy.at.step;
        self.tells(format!(
            "{promise}: the copy {when} {step} of {whose} opens {what}"
        ));
    }

    pub(super) fn tells(&mut self, what: String) {
        self.broken += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }

    fn json(&self) -> Value {
        let mut all = self.numbers();
        if let Some(rows) = all.as_object_mut() {
            self.sessions.put("live_sessions", rows);
            self.pictures.put("pictures", rows);
            self.notices.put("notifications", rows);
        }
        all
    }

    fn numbers(&self) -> Value {
        json!({
            "epochs": self.epochs,
            "clips": self.clips,
            "crashes": self.crashes,
            "idle_hours": self.idle_hours,
            "heals": self.heals,
            "commands": self.commands,
            "pairings": self.pairings,
            "removals": self.removals,
            "played_clips": self.played,
            "live_frames": self.frames,
            "envelopes": self.envelopes,
            "unwrapped": self.unwrapped,
            "messages": self.messages.0,
            "messages_opened_by_any_copy": self.messages.1,
            "hub_copies": self.hub_copies,
            "copies_within_a_step": self.copies_within,
            "clips_in_progress": self.in_progress.0,
            "clips_in_progress_opened": self.in_progress.1,
            "finished_clips": self.finished.0,
            "finished_clips_opened": self.finished.1,
            "later_clips_opened": self.later,
            "taken_phone_messages": self.shut.0,
            "taken_phone_messages_opened": self.shut.1,
            "other_phone_messages_opened": self.of_the_phone,
            "retained_clips": self.retained.0,
            "retained_clips_opened": self.retained.1,
            "released_clips": self.released.0,
            "released_clips_opened": self.released.1,
            "phone_copies": self.phone_copies,
            "deleted_clips": self.deleted.0,
            "deleted_clips_opened": self.deleted.1,
            "held_clips_opened": self.held,
            "later_clips_followed": self.followed,
            "messages_opened_behind_new_keys": self.healed,
            "broken": self.broken,
            "told": self.told,
        })
    }

    /// What is missing in a sealed life, so that it proves nothing.
    fn gaps(&self) -> Vec<&'static str> {
        let has = self;
        let demands = [
            (
                has.unwrapped == has.envelopes,
                "the thief did not unwrap everything",
            ),
            (has.in_progress.1 > 0, "no clip in progress opened"),
            (has.held > 0, "no clip that the phone holds opened"),
            (
                has.followed > 0,
                "no Commit was followed with the phone's files",
            ),
            (
                has.finished.0 > 0 && has.deleted.0 > 0 && has.heals > 0,
                "nothing was finished, deleted or healed",
            ),
            (
                has.crashes > 0 && has.idle_hours > 0,
                "no clip was cut off, or no hour passed idle",
            ),
            (
                has.commands > 0 && has.removals > 0 && has.pairings > has.removals,
                "no command was given, or no phone was removed and another paired in its place",
            ),
            (
                has.shut.0 > 0 && has.of_the_phone > 0,
                "no message of a phone was taken, or none opened before that",
            ),
            (has.copies_within > 0, "no copy was made within a step"),
            (
                has.sessions.all > 1
                    && has.frames > 0
                    && 2 * has.sessions.in_progress.1 > has.sessions.in_progress.0,
                "nobody watched live over new keys, or few sessions in progress opened",
            ),
            (
                has.sessions.finished.0 > 0 && has.sessions.gone.0 > 0,
                "no live session ended, or its phone never fell quiet behind it",
            ),
            (
                (has.notices.all, has.pictures.all) == has.told_of,
                "the thief does not see every notification and picture that the hub has sent",
            ),
            (
                has.notices.all > 0 && has.pictures.all > 0,
                "no event was told of, or none had a picture",
            ),
            (
                has.notices.gone.0 > 0 && has.pictures.gone.0 > 0,
                "no event with a notification and a picture was deleted",
            ),
            (
                has.notices.by_any > 0 && has.pictures.by_any > 0,
                "no notification or no picture that a phone holds opened",
            ),
        ];
        let missing = demands.into_iter().filter(|(holds, _)| !holds);
        missing.map(|(_, what)| what).collect()
    }
}

/// The three lives.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// As it is.
    pub sealed: Tally,
    /// As it is, at a hub that retains clips until they are acked.
    pub retaining: Tally,
    /// The same with sealing switched off.
    pub unsealed: Tally,
}

impl Evidence {
    /// Why this is no evidence, or evidence against us; empty if all is well.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let Self {
            sealed,
            retaining,
            unsealed,
        } = self;
        let mut all = sealed.told.clone();
        all.extend(retaining.told.iter().cloned());
        for (life, of) in [("sealed", sealed), ("retaining", retaining)] {
            let gaps = of.gaps().into_iter();
            all.extend(gaps.map(|what| format!("NO EVIDENCE: {life}: {what}")));
        }
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                all.push(format!("NO EVIDENCE: {what}"));
            }
        };
        let everything = |(all, opened): (u64, u64)| all > 0 && all == opened;
        demand(
            sealed.retained == (0, 0),
            "a hub that retains nothing was taken for one that does",
        );
        demand(
            everything(retaining.retained) && retaining.released.0 > 0 && retaining.played > 0,
            "no copy was retained and opened, or none was acked, or none was played",
        );
        demand(
            everything(unsealed.finished),
            "without seals some finished clips stay shut",
        );
        demand(
            everything(unsealed.deleted),
            "without seals some deleted clips stay shut",
        );
        // A hub stores nothing that opens a notification or a picture, sealed or not: the control are the phones' files.
        for (class, shut) in [
            (
                &unsealed.sessions,
                "without seals some live sessions stay shut",
            ),
            (
                &unsealed.pictures,
                "without seals some pictures of events stay shut",
            ),
            (
                &unsealed.notices,
                "without seals some notifications stay shut",
            ),
        ] {
            demand(class.is_all_open(), shut);
        }
        demand(
            everything(unsealed.sessions.finished),
            "without seals some live sessions stay shut in the hub's files once they are over",
        );
        demand(
            everything(unsealed.pictures.gone),
            "without seals some pictures of deleted clips stay shut",
        );
        demand(
            everything(unsealed.messages),
            "without seals some messages stay shut",
        );
        demand(
            unsealed.shut.1 > 0 && unsealed.released.1 > 0,
            "without seals what a hub has taken or released stays shut",
        );
        all
    }

    /// For other programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "sealed": self.sealed.json(),
            "retaining": self.retaining.json(),
            "unsealed": self.unsealed.json(),
            "complaints": self.complaints(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_in_which_nothing_was_looked_at_is_no_evidence() {
        let evidence = Evidence {
            sealed: Tally::default(),
            retaining: Tally::default(),
            unsealed: Tally::default(),
        };
        let complaints = evidence.complaints();
        assert!(complaints.len() >= 18, "{complaints:#?}");
    }

    #[test]
    fn what_one_life_gave_away_is_a_complaint() {
        let told = |what: &str| Tally {
            told: vec![what.to_owned()],
            ..Tally::default()
        };
        let evidence = Evidence {
            sealed: told("S3: one"),
            retaining: told("S3: other"),
            unsealed: told("as it must"),
        };
        let complaints = evidence.complaints();
        let says = |what: &str| complaints.iter().any(|complaint| complaint == what);
        assert!(says("S3: one") && says("S3: other") && !says("as it must"));
    }
}
