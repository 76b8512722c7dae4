//! What lives gave away, in numbers, and whether that proves anything.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use thief::{Loot, Origin, Tried};

use super::books::Whose;
use super::classes::Class;
use super::life::Copied;

/// Broken promises that are told one by one.
const TOLD_MAX: usize = 20;

/// Where something must have been found in a life without seals: nowhere else is a place that every life has.
const EVERYWHERE: [Origin; 4] = [Origin::Log, Origin::TornGroup, Origin::View, Origin::Table];

/// What was given away of pairings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pairings {
    /// Welcomes that were said, all of which the thief has.
    pub welcomes: u64,
    /// Those that a copy of the phone opened which was made in the middle of its pairing: as it may.
    pub welcomes_opened: u64,
    /// Those that any other copy opened.
    pub past_welcomes_opened: u64,
    /// Secrets that were made for pairings: private keys of key packages, PSKs, the secrets of codes.
    pub secrets: u64,
    /// Those that stood in a copy that was made in the middle of their pairing: as they may.
    pub secrets_found: u64,
    /// Those that stood in any other copy.
    pub past_secrets_found: u64,
}

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
    /// Clips that ended while another one went on in their line, and those of them that a copy opened which was taken
    /// later.
    pub beside: (u64, u64),
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
    /// Clips of whose event a phone's copy opened the notification as it was stored there, as it may; and those of
    /// which it did once they were deleted.
    pub stored_notices: (u64, u64),
    /// How often a phone died in the middle of a rotation, of a deletion, of a heartbeat.
    pub deaths: [u64; 3],
    /// Pairings.
    pub pairing: Pairings,
    /// Sealed values, once for each copy, and those of them that opened, by where they stood.
    pub origins: BTreeMap<Origin, Tried>,
    /// Values, once for each copy, that opened with a key that stands in the vault's first image alone, and in its
    /// second alone.
    pub by_one_image: (u64, u64),
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

    /// Where the values of a copy stood.
    pub(super) fn counts(&mut self, loot: &Loot) {
        for (origin, tried) in &loot.origins {
            let of_origin = self.origins.entry(*origin).or_default();
            of_origin.sealed += tried.sealed;
            of_origin.opened += tried.opened;
        }
        self.by_one_image.0 += loot.by_one_image.0;
        self.by_one_image.1 += loot.by_one_image.1;
    }

    fn of(&self, origin: Origin) -> Tried {
        self.origins.get(&origin).copied().unwrap_or_default()
    }

    fn json(&self) -> Value {
        let mut all = self.numbers();
        if let Some(rows) = all.as_object_mut() {
            self.sessions.put("live_sessions", rows);
            self.pictures.put("pictures", rows);
            self.notices.put("notifications", rows);
            self.put_further(rows);
        }
        all
    }

    fn put_further(&self, into: &mut Map<String, Value>) {
        let Pairings {
            welcomes,
            welcomes_opened,
            past_welcomes_opened,
            secrets,
            secrets_found,
            past_secrets_found,
        } = self.pairing;
        let [rotation, deletion, heartbeat] = self.deaths;
        let rows = [
            ("clips_ended_beside_another", self.beside.0),
            ("clips_ended_beside_another_opened", self.beside.1),
            ("stored_notifications_opened", self.stored_notices.0),
            ("deleted_stored_notifications_opened", self.stored_notices.1),
            ("phone_deaths", rotation + deletion + heartbeat),
            ("phone_deaths_in_a_rotation", rotation),
            ("phone_deaths_in_a_deletion", deletion),
            ("phone_deaths_in_a_heartbeat", heartbeat),
            ("welcomes", welcomes),
            ("welcomes_opened_while_pairing", welcomes_opened),
            ("past_welcomes_opened", past_welcomes_opened),
            ("pairing_secrets", secrets),
            ("pairing_secrets_found_while_pairing", secrets_found),
            ("past_pairing_secrets_found", past_secrets_found),
            ("opened_by_first_image_alone", self.by_one_image.0),
            ("opened_by_second_image_alone", self.by_one_image.1),
        ];
        let rows = rows.map(|(name, number)| (name.to_owned(), Value::from(number)));
        into.extend(rows);
        for origin in Origin::ALL {
            let (name, tried) = (origin.name(), self.of(origin));
            into.insert(format!("sealed_in_{name}"), tried.sealed.into());
            into.insert(format!("opened_in_{name}"), tried.opened.into());
        }
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
                has.beside.0 > 0,
                "no clip ended while another one went on in its line",
            ),
            (
                has.deaths.iter().all(|times| *times > 0),
                "no phone died in the middle of a rotation, a deletion or a heartbeat",
            ),
            (
                has.stored_notices.0 > 0,
                "no notification opened as a phone stores it",
            ),
            (
                has.pairing.welcomes > 0 && has.pairing.welcomes_opened == has.pairing.welcomes,
                "some welcomes stay shut with the keys of the phone that was being paired",
            ),
            (
                has.pairing.secrets_found > 0,
                "nothing that was made for a pairing was found in the middle of it",
            ),
            (
                has.by_one_image.0 > 0 && has.by_one_image.1 > 0,
                "no key was of use that stood in one image of the vault alone, or only of one of them",
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
            everything(unsealed.notices.held),
            "without seals some notifications stay shut behind the deletion of their clips that opened until then",
        );
        demand(
            everything(unsealed.messages),
            "without seals some messages stay shut",
        );
        demand(
            everything(unsealed.shut),
            "without seals some messages stay shut that a hub took",
        );
        demand(
            everything(unsealed.released),
            "without seals some copies stay shut that a hub released",
        );
        demand(
            everything(unsealed.beside),
            "without seals some clips stay shut that ended while another one went on",
        );
        demand(
            unsealed.stored_notices.1 > 0,
            "without seals the stored notifications of deleted clips stay shut",
        );
        demand(
            unsealed.pairing.past_welcomes_opened > 0 && unsealed.pairing.past_secrets_found > 0,
            "without seals nothing is left of what was made for a pairing",
        );
        demand(
            [Origin::CheckpointA, Origin::CheckpointB]
                .iter()
                .any(|origin| unsealed.of(*origin).opened > 0),
            "without seals no checkpoint opens, or there is none",
        );
        for origin in Origin::ALL {
            let Tried { sealed, opened } = unsealed.of(origin);
            // What is nowhere is not demanded, unless every life has it.
            let is_there = sealed > 0 || EVERYWHERE.contains(&origin);
            if is_there && opened == 0 {
                let place = origin.name();
                all.push(format!(
                    "NO EVIDENCE: without seals nothing opens in {place}"
                ));
            }
        }
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
        assert!(complaints.len() >= 50, "{complaints:#?}");
    }

    #[test]
    fn a_place_in_which_nothing_opens_without_seals_is_a_complaint_and_one_that_is_nowhere_is_none()
    {
        let with = |origins: &[(Origin, u64, u64)]| {
            let tried = |(origin, sealed, opened): &(Origin, u64, u64)| {
                let (sealed, opened) = (*sealed, *opened);
                (*origin, Tried { sealed, opened })
            };
            let unsealed = Tally {
                origins: origins.iter().map(tried).collect(),
                ..Tally::default()
            };
            let evidence = Evidence {
                sealed: Tally::default(),
                retaining: Tally::default(),
                unsealed,
            };
            let mut complaints = evidence.complaints();
            complaints.retain(|complaint| complaint.contains("nothing opens in"));
            complaints
        };
        let nothing = "NO EVIDENCE: without seals nothing opens in";
        let everywhere = EVERYWHERE.map(|origin| (origin, 9, 1));
        assert!(with(&everywhere).is_empty());
        assert_eq!(with(&everywhere[1..]), [format!("{nothing} log")]);
        let leftover = [&everywhere[..], &[(Origin::Leftover, 3, 0)]].concat();
        let wanted = format!("{nothing} behind_checkpoints");
        assert_eq!(with(&leftover), [wanted]);
    }

    #[test]
    fn one_taken_message_or_released_copy_that_stays_shut_without_seals_is_a_complaint() {
        let with = |shut: (u64, u64), released: (u64, u64)| {
            let evidence = Evidence {
                sealed: Tally::default(),
                retaining: Tally::default(),
                unsealed: Tally {
                    shut,
                    released,
                    ..Tally::default()
                },
            };
            let complaints = evidence.complaints();
            let says = |what: &str| complaints.iter().any(|complaint| complaint.contains(what));
            (says("that a hub took"), says("that a hub released"))
        };
        assert_eq!(with((3, 3), (2, 2)), (false, false));
        assert_eq!(with((3, 2), (2, 2)), (true, false));
        assert_eq!(with((3, 3), (2, 1)), (false, true));
        assert_eq!(with((0, 0), (0, 0)), (true, true));
    }

    #[test]
    fn rows_of_places_and_pairings_have_names_that_other_programs_find() {
        let tally = Tally {
            origins: [(
                Origin::Table,
                Tried {
                    sealed: 5,
                    opened: 2,
                },
            )]
            .into(),
            deaths: [1, 2, 3],
            ..Tally::default()
        };
        let rows = tally.json();
        assert_eq!(
            (
                &rows["sealed_in_view_tables"],
                &rows["opened_in_view_tables"]
            ),
            (&json!(5), &json!(2))
        );
        assert_eq!(rows["opened_in_log"], 0);
        assert_eq!(
            (&rows["phone_deaths"], &rows["welcomes"]),
            (&json!(6), &json!(0))
        );
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
