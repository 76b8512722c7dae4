//! What every copy opened, compared with what it may open.
//!
//! | copy of | may open | promise |
//! |---|---|---|
//! | the hub | of what the hub sent: the clips in progress, nothing finished, nothing later; their running digests alike | S3 |
//! | the hub | of a live session while it is in progress all that is said in it, and nothing before or after that; of notifications and pictures of events nothing | S3 |
//! | the hub | of what phones sent: nothing that it took while it recorded nothing, and nothing that it took before, once what it recorded is over | S3 |
//! | the hub | of stored chunks: those of copies that are retained and not acked, all of these and no others | S3 |
//! | a phone | no picture whose clip was deleted, whatever of it | S3 |
//! | a phone | no live session that is over, once it has fallen quiet; no notification whose clip was deleted |
//! | a phone | no clip that was deleted, whatever of it: stored chunks, its row, its ciphertext, the stored notification of its event; nothing of another phone's | S3 |
//! | a phone | no welcome by which it was let into its groups, once it is paired, and nothing that was made for that; the hub no welcome ever | S5 |
//! | either | nothing of an epoch that the phone's next new keys opened, or of a later one | S4 |
//!
//! What is done in a step counts for a copy from the middle of that step as not done. A life without seals must fail
//! this, and give everything away: else nothing was looked at.

use std::collections::BTreeSet;

use journal::ids::{Channel, PairingId};
use thief::{Attack, ClipId, Header, LineId, Said, Spoils};

use super::Outcome;
use super::books::{Books, Clip, Moment, PairingSecret, Sent, Talk, Whose};
use super::classes::{Class, Kind, Things};
use super::life::{Copied, Life};
use super::sought::Sought;
use super::tally::{Pairings, Tally};

/// A message that a copy opened.
struct Opened {
    place: usize,
    header: Header,
    said: Option<Said>,
    sent: Sent,
}

/// What was opened that may not be, by places in the books.
#[derive(Default)]
struct Found {
    finished: BTreeSet<usize>,
    later: BTreeSet<usize>,
    deleted: BTreeSet<usize>,
    held: BTreeSet<usize>,
    released: BTreeSet<usize>,
    shut: BTreeSet<usize>,
    pictures: BTreeSet<ClipId>,
    /// Clips of whose event a stored notification opened: as it may, and once the clip was deleted.
    notices: BTreeSet<usize>,
    gone_notices: BTreeSet<usize>,
    /// Messages that speak of another clip than the books say.
    misread: BTreeSet<usize>,
    /// Welcomes, and secrets of pairings: as they may, and otherwise.
    welcomes: [BTreeSet<LineId>; 2],
    secrets: [BTreeSet<usize>; 2],
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
    let mut attack = Attack::new(&opener, &books.captured, &books.talked)?;
    let secrets = secrets_of(&books);
    let values: Vec<&[u8]> = secrets
        .iter()
        .map(|(_, secret)| secret.bytes.as_slice())
        .collect();
    let sought = Sought::among(&opener, &values);
    let mut tally = Tally {
        epochs,
        clips: books.clips.len() as u64,
        crashes: books.crashes,
        idle_hours: books.idle_hours,
        commands: books.commands,
        pairings: books.pairings,
        removals: books.removed.len() as u64,
        played: books.played,
        heals: books
            .heals
            .iter()
            .filter(|heal| !heal.taken.is_empty())
            .count() as u64,
        envelopes: books.captured.len() as u64,
        unwrapped: attack.unwrapped() as u64,
        frames: books.frames,
        told_of: books.told,
        deaths: [
            books.deaths.rotation,
            books.deaths.deletion,
            books.deaths.heartbeat,
        ],
        ..Tally::default()
    };
    let mut found = Found::default();
    let mut by_any: BTreeSet<usize> = BTreeSet::new();
    let mut things = Things::of(&books, |place| attack.header(place));
    for copy in &copies {
        let spoils = attack.spoils(&copy.loot);
        tally.counts(&copy.loot);
        by_any.extend(&spoils.envelopes);
        things.are_opened(copy.whose, copy.at, spoils.envelopes.iter().copied());
        let messages: Vec<Opened> = spoils
            .envelopes
            .iter()
            .filter_map(|place| {
                Some(Opened {
                    place: *place,
                    header: attack.header(*place)?,
                    said: attack.said(*place),
                    sent: *books.sent.get(*place)?,
                })
            })
            .collect();
        tally.copies_within += u64::from(copy.at.within);
        found.misread.extend(misread(&books, &messages));
        for Opened { header, sent, .. } in &messages {
            let healed = books.healed_after(copy.whose, copy.at.step, sent.line);
            if healed.is_some_and(|healed| header.epoch >= healed) {
                tally.healed += 1;
                let what = format!("epoch {} of {:?}, behind new keys", header.epoch, sent.line);
                tally.breaks("S4", copy, &what);
            }
        }
        let opened = sought.in_copy(&copy.loot);
        welcomed(&books, copy, &spoils, &mut tally, &mut found);
        paired(&secrets, copy, opened, &mut tally, &mut found);
        match copy.whose {
            Whose::Hub => {
                hub(&books, copy, &spoils, &messages, &mut tally, &mut found);
                kept(&books, copy, &spoils, &mut tally, &mut found);
            }
            Whose::Phone(_) => phone(&books, copy, &spoils, &messages, &mut tally, &mut found),
        }
    }
    for (promise, wrong) in &books.wrongs {
        tally.tells(format!("{promise}: {wrong}"));
    }
    for file in &books.unknown {
        tally.tells(format!(
            "a copy has a file that nobody looked through: {file}"
        ));
    }
    for place in &found.misread {
        tally.tells(format!(
            "message {place} is of another clip than the books say"
        ));
    }
    let count = |set: &BTreeSet<usize>| set.len() as u64;
    let are = |what: fn(&Clip) -> bool| books.clips.iter().filter(|clip| what(clip)).count() as u64;
    tally.finished = (are(|clip| clip.over.is_some()), count(&found.finished));
    let beside = |place: &&usize| books.clips.get(**place).is_some_and(|clip| clip.beside);
    let open_beside = found.finished.iter().filter(beside).count() as u64;
    tally.beside = (are(|clip| clip.beside), open_beside);
    tally.deleted = (are(|clip| clip.deleted.is_some()), count(&found.deleted));
    tally.stored_notices = (count(&found.notices), count(&found.gone_notices));
    let [welcomes, past_welcomes] = found.welcomes.map(|lines| lines.len() as u64);
    let [met, past] = found.secrets.map(|numbers| numbers.len() as u64);
    tally.pairing = Pairings {
        welcomes: attack.welcomes() as u64,
        welcomes_opened: welcomes,
        past_welcomes_opened: past_welcomes,
        secrets: secrets.len() as u64,
        secrets_found: met,
        past_secrets_found: past,
    };
    let released = match books.retains {
        true => are(|clip| clip.released.is_some()),
        false => 0,
    };
    tally.released = (released, count(&found.released));
    tally.sessions = things.class(Kind::Session);
    tally.notices = things.class(Kind::Notice);
    tally.pictures = Class {
        gone: (
            books.deleted_pictures.len() as u64,
            found.pictures.len() as u64,
        ),
        ..things.class(Kind::Picture)
    };
    (tally.later, tally.held) = (count(&found.later), count(&found.held));
    let shut = books.sent.iter().enumerate().filter(|(place, sent)| {
        let is_message = attack
            .header(*place)
            .is_some_and(|header| header.application);
        is_message && sent.shut.is_some()
    });
    tally.shut = (shut.count() as u64, count(&found.shut));
    let headers = (0..books.captured.len()).filter_map(|place| attack.header(place));
    let messages = headers.filter(|header| header.application).count() as u64;
    tally.messages = (messages, count(&by_any));
    Ok(tally)
}

/// Everything that was made for pairings, with the talk that it was made for.
fn secrets_of(books: &Books) -> Vec<(&Talk, &PairingSecret)> {
    let talks = books.talks.iter();
    talks
        .flat_map(|talk| talk.secrets.iter().map(move |secret| (talk, secret)))
        .collect()
}

/// Messages that name a clip, and not the one that the books have them in.
fn misread<'a>(books: &'a Books, messages: &'a [Opened]) -> impl Iterator<Item = usize> + 'a {
    let is_another = move |one: &&Opened| {
        let named = match one.said {
            Some(Said::ClipBegins(id) | Said::Chunk(id, _) | Said::ClipEnds(id)) => Some(id),
            _ => None,
        };
        let known = one.sent.clip.and_then(|place| books.clips.get(place));
        named
            .zip(known)
            .is_some_and(|(named, known)| named != known.id)
    };
    messages.iter().filter(is_another).map(|one| one.place)
}

/// The welcomes that a copy opens: those into the groups of a phone that was just being paired, if it is that phone's.
fn welcomed(books: &Books, copy: &Copied, spoils: &Spoils, tally: &mut Tally, found: &mut Found) {
    let [as_it_may, otherwise] = &mut found.welcomes;
    for line in &spoils.welcomes {
        let of_line = |talk: &&Talk| line.starts_with(&talk.pairing.0);
        let talk = books.talks.iter().find(of_line);
        if talk.is_some_and(|talk| talk.may_hold(copy.whose, copy.at, false)) {
            as_it_may.insert(*line);
        } else {
            otherwise.insert(*line);
            let channel = line.last().copied().unwrap_or(0);
            let what = format!("the welcome into the group of channel {channel} of a phone");
            tally.breaks("S5", copy, &what);
        }
    }
}

/// The same of what was made for a pairing, by its value.
fn paired(
    secrets: &[(&Talk, &PairingSecret)],
    copy: &Copied,
    opened: BTreeSet<usize>,
    tally: &mut Tally,
    found: &mut Found,
) {
    let [as_it_may, otherwise] = &mut found.secrets;
    for number in opened {
        let Some((talk, secret)) = secrets.get(number) else {
            continue;
        };
        if talk.may_hold(copy.whose, copy.at, secret.is_at_hub) {
            as_it_may.insert(number);
        } else {
            otherwise.insert(number);
            tally.breaks("S5", copy, "what was made for a pairing that is over");
        }
    }
}

fn hub(
    books: &Books,
    copy: &Copied,
    spoils: &Spoils,
    messages: &[Opened],
    tally: &mut Tally,
    found: &mut Found,
) {
    tally.hub_copies += 1;
    if !spoils.notices.is_empty() {
        tally.breaks("S3", copy, "a notification as a phone stores it");
    }
    let mut clips: BTreeSet<usize> = messages.iter().filter_map(|one| one.sent.clip).collect();
    clips.extend(places(books, &spoils.digests));
    for place in &clips {
        let Some(clip) = books.clips.get(*place) else {
            continue;
        };
        if clip.is_in_progress(copy.at) {
            continue;
        }
        if clip.began > copy.at.step {
            found.later.insert(*place);
        } else {
            found.finished.insert(*place);
        }
        tally.breaks(
            "S3",
            copy,
            &format!("clip {place}, which is not in progress"),
        );
    }
    for (place, clip) in books.clips.iter().enumerate() {
        if clip.is_in_progress(copy.at) {
            tally.in_progress.0 += 1;
            tally.in_progress.1 += u64::from(clips.contains(&place));
        }
    }
    for Opened {
        place,
        header,
        sent,
        ..
    } in messages
    {
        let is_open = match (sent.by, sent.clip) {
            (Whose::Phone(_), _) => {
                let is_shut = sent.shut.is_some_and(|step| copy.at.is_past(step));
                if is_shut {
                    found.shut.insert(*place);
                } else {
                    tally.of_the_phone += 1;
                }
                is_shut
            }
            // Of its own the hub never stores what opens it; from the middle of the step in which it was made that
            // is not asked.
            (Whose::Hub, None) => match sent.live.and_then(|live| books.lives.get(live)) {
                Some(live) => !live.is_in_progress(copy.at),
                None => !(copy.at.within && sent.left == copy.at.step),
            },
            // Said of the clip as a whole.
            (Whose::Hub, Some(_)) => false,
        };
        if is_open {
            let by = match sent.by {
                Whose::Hub => "the hub's",
                Whose::Phone(_) => "a phone's, which was taken",
            };
            let what = format!(
                "a message of epoch {} of {:?}, {by}",
                header.epoch, sent.line
            );
            tally.breaks("S3", copy, &what);
        }
    }
}

/// The copies of clips that a hub keeps: exactly those that are retained at that moment. Of a moment within a step
/// only that there are no others.
fn kept(books: &Books, copy: &Copied, spoils: &Spoils, tally: &mut Tally, found: &mut Found) {
    let names = || spoils.chunks.iter().chain(&spoils.rows);
    let is_known = |name: &ClipId| books.clips.iter().any(|clip| clip.id == *name);
    if names().any(|name| !is_known(name)) {
        tally.breaks("S3", copy, "a stored copy of a clip that nobody recorded");
    }
    let opened: BTreeSet<usize> = places(books, &spoils.chunks)
        .chain(places(books, &spoils.rows))
        .collect();
    let is_retained = |clip: &Clip, at: Moment| books.retains && clip.is_retained(at);
    for place in &opened {
        let Some(clip) = books.clips.get(*place) else {
            continue;
        };
        if !is_retained(clip, copy.at) {
            found.released.insert(*place);
            let what = format!("a stored copy of clip {place}, which is not retained");
            tally.breaks("S3", copy, &what);
        }
    }
    if copy.at.within {
        return;
    }
    let chunks: BTreeSet<usize> = places(books, &spoils.chunks).collect();
    for (place, clip) in books.clips.iter().enumerate() {
        if !is_retained(clip, copy.at) {
            continue;
        }
        tally.retained.0 += 1;
        match chunks.contains(&place) {
            true => tally.retained.1 += 1,
            false => {
                let what = format!("nothing of clip {place}, which is retained for its phone");
                tally.breaks("retain", copy, &what);
            }
        }
    }
}

fn phone(
    books: &Books,
    copy: &Copied,
    spoils: &Spoils,
    messages: &[Opened],
    tally: &mut Tally,
    found: &mut Found,
) {
    tally.phone_copies += 1;
    let of_messages = messages.iter().filter_map(|one| one.sent.clip);
    let mut clips: BTreeSet<usize> = of_messages.collect();
    clips.extend(places(books, &spoils.chunks));
    clips.extend(places(books, &spoils.rows));
    for place in &clips {
        let Some(clip) = books.clips.get(*place) else {
            continue;
        };
        if copy.whose != Whose::Phone(clip.pairing) {
            tally.breaks(
                "S3",
                copy,
                &format!("clip {place}, which is another phone's"),
            );
            continue;
        }
        if clip.deleted.is_some_and(|step| copy.at.is_past(step)) {
            found.deleted.insert(*place);
            tally.breaks("S3", copy, &format!("clip {place}, which was deleted"));
        } else {
            found.held.insert(*place);
        }
        if clip.began > copy.at.step {
            tally.followed += 1;
        }
    }
    notices(books, copy, spoils, tally, found);
    for Opened { header, sent, .. } in messages.iter().filter(|one| one.sent.by == Whose::Hub) {
        let live = sent.live.and_then(|live| books.lives.get(live));
        if live.is_some_and(|live| live.left.is_some_and(|step| copy.at.is_past(step))) {
            let what = format!("epoch {}, of a live session that is over", header.epoch);
            tally.breaks("S3", copy, &what);
        }
        let deleted = books.deleted_with(sent);
        let is_gone = deleted.is_some_and(|step| copy.at.is_past(step));
        if sent.line.channel == Channel::Notification && is_gone {
            tally.breaks("S3", copy, "the notification of a clip that was deleted");
        }
    }
    let named = messages.iter().filter_map(|one| match one.said {
        Some(Said::Picture(id)) => Some(id),
        _ => None,
    });
    let mut pictures: BTreeSet<ClipId> = named.collect();
    pictures.extend(&spoils.chunks);
    pictures.extend(&spoils.rows);
    for id in pictures {
        let Some((pairing, step)) = books.deleted_pictures.get(&id) else {
            continue;
        };
        if copy.whose != Whose::Phone(*pairing) {
            tally.breaks("S3", copy, "the picture of an event of another phone's");
        } else if copy.at.is_past(*step) {
            found.pictures.insert(id);
            tally.breaks("S3", copy, "the picture of a clip that was deleted");
        }
    }
}

/// The notifications that a phone has stored: of events whose clip it has not deleted, and of no other phone's.
fn notices(books: &Books, copy: &Copied, spoils: &Spoils, tally: &mut Tally, found: &mut Found) {
    for notice in &spoils.notices {
        let pairing = PairingId(notice.pairing);
        if copy.whose != Whose::Phone(pairing) {
            tally.breaks("S3", copy, "a stored notification of another phone's");
            continue;
        }
        let of_event =
            |clip: &Clip| clip.pairing == pairing && clip.started_unix_ms == notice.started_unix_ms;
        let clips = books.clips.iter().enumerate();
        for (place, clip) in clips.filter(|(_, clip)| of_event(clip)) {
            if clip.deleted.is_some_and(|step| copy.at.is_past(step)) {
                found.gone_notices.insert(place);
                let what = "the stored notification of a clip that was deleted";
                tally.breaks("S3", copy, what);
            } else {
                found.notices.insert(place);
            }
        }
    }
}

/// Which clips of the books have these names.
fn places<'a>(books: &'a Books, names: &'a BTreeSet<ClipId>) -> impl Iterator<Item = usize> + 'a {
    let clips = books.clips.iter().enumerate();
    clips.filter_map(move |(place, clip)| names.contains(&clip.id).then_some(place))
}

#[cfg(test)]
mod tests;
