//! What every copy opened, compared with what it may open.
//!
//! | copy of | may open | promise |
//! |---|---|---|
//! | the hub | of what the hub sent: the clip in progress, nothing finished, nothing later; its running digest alike | S3 |
//! | the phone | no clip that was deleted, whatever of it: stored chunks, its row, its ciphertext | S3 |
//! | either | nothing of an epoch that the phone's next new keys opened, or of a later one | S4 |
//!
//! A life without seals must fail this, and give everything away: else nothing was looked at.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use thief::{Attack, Header, Spoils};

use super::Outcome;
use super::books::{Books, Clip, Sent, Whose};
use super::life::{Copied, Life};

/// Broken promises that are told one by one.
const TOLD_MAX: usize = 20;

/// What one life gave away.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Epochs of the event video group.
    pub epochs: u64,
    /// Clips that were recorded.
    pub clips: u64,
    /// Crashes of the hub in the middle of one.
    pub crashes: u64,
    /// Hours in which the hub was idle, or dark after a crash.
    pub idle_hours: u64,
    /// Heartbeats whose keys the hub took.
    pub heals: u64,
    /// Envelopes that were sent, all of which the thief has.
    pub envelopes: u64,
    /// Of these, MLS messages that stolen wrapping keys laid bare.
    pub unwrapped: u64,
    /// Of these, application messages, and those of them that some copy of either opened, whether it may or not.
    pub messages: (u64, u64),
    /// Copies of the hub's files.
    pub hub_copies: u64,
    /// Those that were taken in the middle of a clip, and those of them that opened some of it.
    pub in_progress: (u64, u64),
    /// Clips that were finished, and those of them that a copy opened which was taken later.
    pub finished: (u64, u64),
    /// Clips that a copy of the hub opened which was taken before they began.
    pub later: u64,
    /// Messages of the phone (acks, heartbeats) that a copy of the hub opened, of epochs that were not over.
    pub of_the_phone: u64,
    /// Copies of the phone's files.
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
    fn breaks(&mut self, promise: &str, copy: &Copied, what: &str) {
        self.broken += 1;
        if self.told.len() < TOLD_MAX {
            let (whose, step) = (copy.whose, copy.step);
            self.told.push(format!(
                "{promise}: the copy of step {step} ({whose:?}) opens {what}"
            ));
        }
    }

    fn json(&self) -> Value {
        json!({
            "epochs": self.epochs,
            "clips": self.clips,
            "crashes": self.crashes,
            "idle_hours": self.idle_hours,
            "heals": self.heals,
            "envelopes": self.envelopes,
            "unwrapped": self.unwrapped,
            "messages": self.messages.0,
            "messages_opened_by_any_copy": self.messages.1,
            "hub_copies": self.hub_copies,
            "copies_in_a_clip": self.in_progress.0,
            "copies_in_a_clip_that_open_it": self.in_progress.1,
            "finished_clips": self.finished.0,
            "finished_clips_opened": self.finished.1,
            "later_clips_opened": self.later,
            "phone_messages_opened": self.of_the_phone,
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
}

/// Both lives.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// As it is.
    pub sealed: Tally,
    /// With sealing switched off.
    pub unsealed: Tally,
}

impl Evidence {
    /// Why this is no evidence, or evidence against us; empty if all is well.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let Self { sealed, unsealed } = self;
        let mut all = sealed.told.clone();
        let mut demand = |holds: bool, what: &str| {
            if !holds {
                all.push(format!("NO EVIDENCE: {what}"));
            }
        };
        demand(
            sealed.unwrapped == sealed.envelopes,
            "the thief did not unwrap everything",
        );
        demand(sealed.in_progress.1 > 0, "no clip in progress opened");
        demand(sealed.held > 0, "no clip that the phone holds opened");
        demand(
            sealed.followed > 0,
            "no Commit was followed with the phone's files",
        );
        demand(
            sealed.finished.0 > 0 && sealed.deleted.0 > 0 && sealed.heals > 0,
            "nothing was finished, deleted or healed",
        );
        demand(
            sealed.crashes > 0 && sealed.idle_hours > 0,
            "no clip was cut off, or no hour passed idle",
        );
        let everything = |(all, opened): (u64, u64)| all > 0 && all == opened;
        demand(
            everything(unsealed.finished),
            "without seals some finished clips stay shut",
        );
        demand(
            everything(unsealed.deleted),
            "without seals some deleted clips stay shut",
        );
        demand(
            everything(unsealed.messages),
            "without seals some messages stay shut",
        );
        all
    }

    /// For other programs.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "sealed": self.sealed.json(),
            "unsealed": self.unsealed.json(),
            "complaints": self.complaints(),
        })
    }
}

/// Attacks every copy of a life and counts what it opens.
pub(super) fn judge(life: Life) -> Outcome<Tally> {
    let Life {
        books,
        opener,
        copies,
        epochs,
        ..
    } = life;
    let mut attack = Attack::new(&opener, &books.captured)?;
    let mut tally = Tally {
        epochs,
        clips: books.clips.len() as u64,
        crashes: books.crashes,
        idle_hours: books.idle_hours,
        heals: books
            .heals
            .iter()
            .filter(|heal| !heal.taken.is_empty())
            .count() as u64,
        envelopes: books.captured.len() as u64,
        unwrapped: attack.unwrapped() as u64,
        ..Tally::default()
    };
    let mut opened = Opened::default();
    let mut by_any: BTreeSet<usize> = BTreeSet::new();
    for copy in &copies {
        let spoils = attack.spoils(&copy.loot);
        by_any.extend(&spoils.envelopes);
        let messages: Vec<(Header, Sent)> = spoils
            .envelopes
            .iter()
            .filter_map(|place| Some((attack.header(*place)?, *books.sent.get(*place)?)))
            .collect();
        for (header, sent) in &messages {
            let healed = books.healed_after(copy.whose, copy.step, sent.line);
            if healed.is_some_and(|healed| header.epoch >= healed) {
                tally.healed += 1;
                let what = format!("epoch {} of {:?}, behind new keys", header.epoch, sent.line);
                tally.breaks("S4", copy, &what);
            }
        }
        match copy.whose {
            Whose::Hub => hub(&books, copy, &spoils, &messages, &mut tally, &mut opened),
            Whose::Phone => phone(&books, copy, &spoils, &messages, &mut tally, &mut opened),
        }
    }
    let count = |set: &BTreeSet<usize>| set.len() as u64;
    let are = |what: fn(&Clip) -> bool| books.clips.iter().filter(|clip| what(clip)).count() as u64;
    tally.finished = (are(|clip| clip.over.is_some()), count(&opened.finished));
    tally.deleted = (are(|clip| clip.deleted.is_some()), count(&opened.deleted));
    (tally.later, tally.held) = (count(&opened.later), count(&opened.held));
    let headers = (0..books.captured.len()).filter_map(|place| attack.header(place));
    let messages = headers.filter(|header| header.application).count() as u64;
    tally.messages = (messages, count(&by_any));
    Ok(tally)
}

/// Clips that were opened, by their place in the books.
#[derive(Default)]
struct Opened {
    finished: BTreeSet<usize>,
    later: BTreeSet<usize>,
    deleted: BTreeSet<usize>,
    held: BTreeSet<usize>,
}

fn hub(
    books: &Books,
    copy: &Copied,
    spoils: &Spoils,
    messages: &[(Header, Sent)],
    tally: &mut Tally,
    opened: &mut Opened,
) {
    tally.hub_copies += 1;
    let mut clips: BTreeSet<usize> = messages.iter().filter_map(|(_, sent)| sent.clip).collect();
    clips.extend(places(books, &spoils.digests));
    for place in &clips {
        let Some(clip) = books.clips.get(*place) else {
            continue;
        };
        if copy.recording == Some(*place) {
            continue;
        }
        if clip.began > copy.step {
            opened.later.insert(*place);
        } else {
            opened.finished.insert(*place);
        }
        tally.breaks(
            "S3",
            copy,
            &format!("clip {place}, which is not in progress"),
        );
    }
    if let Some(recording) = copy.recording {
        tally.in_progress.0 += 1;
        tally.in_progress.1 += u64::from(clips.contains(&recording));
    }
    for (header, sent) in messages {
        match (sent.by, sent.clip) {
            (Whose::Phone, _) => tally.of_the_phone += 1,
            (Whose::Hub, None) => {
                let what = format!("a message of epoch {} of {:?}", header.epoch, sent.line);
                tally.breaks("S3", copy, &what);
            }
            (Whose::Hub, Some(_)) => {}
        }
    }
}

fn phone(
    books: &Books,
    copy: &Copied,
    spoils: &Spoils,
    messages: &[(Header, Sent)],
    tally: &mut Tally,
    opened: &mut Opened,
) {
    tally.phone_copies += 1;
    let of_messages = messages.iter().filter_map(|(_, sent)| sent.clip);
    let mut clips: BTreeSet<usize> = of_messages.collect();
    clips.extend(places(books, &spoils.chunks));
    clips.extend(places(books, &spoils.rows));
    for place in &clips {
        let Some(clip) = books.clips.get(*place) else {
            continue;
        };
        if clip.deleted.is_some_and(|step| step <= copy.step) {
            opened.deleted.insert(*place);
            tally.breaks("S3", copy, &format!("clip {place}, which was deleted"));
        } else {
            opened.held.insert(*place);
        }
        if clip.began > copy.step {
            tally.followed += 1;
        }
    }
}

/// Which clips of the books have these names.
fn places<'a>(
    books: &'a Books,
    names: &'a BTreeSet<thief::ClipId>,
) -> impl Iterator<Item = usize> + 'a {
    let clips = books.clips.iter().enumerate();
    let called = move |clip: &Clip| clip.id.is_some_and(|id| names.contains(&id));
    clips.filter_map(move |(place, clip)| called(clip).then_some(place))
}

#[cfg(test)]
mod tests {
    use journal::ids::{Channel, Line, PairingId};
    use thief::Loot;

    use super::*;

    const HEADER: Header = Header {
        epoch: 4,
        application: true,
    };

    fn copy(whose: Whose, step: u64, recording: Option<usize>) -> Copied {
        Copied {
            step,
            whose,
            recording,
            loot: Loot::default(),
        }
    }

    fn books() -> Books {
        let clip = |id: u8, began, over, deleted| Clip {
            id: Some([id; 16]),
            began,
            over,
            deleted,
        };
        Books {
            clips: vec![clip(1, 1, Some(5), Some(9)), clip(2, 7, None, None)],
            ..Books::default()
        }
    }

    fn message(by: Whose, clip: Option<usize>) -> (Header, Sent) {
        let line = Line::of(PairingId([1; 16]), Channel::EventVideo);
        (HEADER, Sent { line, by, clip })
    }

    fn of_hub(step: u64, recording: Option<usize>, opens: (Header, Sent)) -> (Tally, Opened) {
        let (mut tally, mut opened) = (Tally::default(), Opened::default());
        let (copy, spoils) = (copy(Whose::Hub, step, recording), Spoils::default());
        hub(&books(), &copy, &spoils, &[opens], &mut tally, &mut opened);
        (tally, opened)
    }

    #[test]
    fn a_hub_may_open_what_is_in_progress_and_nothing_else_of_its_own() {
        let clip = |place| message(Whose::Hub, Some(place));
        assert_eq!(of_hub(8, Some(1), clip(1)).0.broken, 0);
        let (tally, opened) = of_hub(8, Some(1), clip(0));
        assert_eq!((tally.broken, opened.finished.len()), (1, 1));
        let (tally, opened) = of_hub(6, None, clip(1));
        assert_eq!((tally.broken, opened.later.len()), (1, 1));
        assert_eq!(of_hub(8, Some(1), message(Whose::Hub, None)).0.broken, 1);
        assert_eq!(of_hub(8, Some(1), message(Whose::Phone, None)).0.broken, 0);
    }

    #[test]
    fn a_phone_may_open_what_it_holds_and_not_what_it_deleted() {
        let broken = |step, spoils: &Spoils, messages: &[(Header, Sent)]| {
            let (mut tally, mut opened) = (Tally::default(), Opened::default());
            let copy = copy(Whose::Phone, step, None);
            phone(&books(), &copy, spoils, messages, &mut tally, &mut opened);
            (tally.broken, opened.held.len())
        };
        let chunks = Spoils {
            chunks: BTreeSet::from([[1; 16]]),
            ..Spoils::default()
        };
        assert_eq!(broken(8, &chunks, &[]), (0, 1));
        assert_eq!(broken(9, &chunks, &[]), (1, 0));
        let none = Spoils::default();
        assert_eq!(broken(9, &none, &[message(Whose::Hub, Some(0))]), (1, 0));
    }

    #[test]
    fn a_life_in_which_nothing_was_looked_at_is_no_evidence() {
        let evidence = Evidence {
            sealed: Tally::default(),
            unsealed: Tally::default(),
        };
        assert!(evidence.complaints().len() >= 8);
    }
}
