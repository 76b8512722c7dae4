//! Live sessions, pictures of events and notifications: what was opened of each class, counted by itself.
//!
//! A session is one thing, from its beginning to its end; a picture, and a notification, is what was said in one epoch of
//! its line, and is over with the step that made it. This room counts and never judges: what may be opened is said in
//! [`super::judge`].

use std::collections::{BTreeMap, BTreeSet};

use journal::ids::{Channel, Line, PairingId};
use serde_json::{Map, Value};
use thief::Header;

use super::books::{Books, Live, Moment, Whose};

/// What happened to one class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Class {
    /// Things of it in which something was said.
    pub all: u64,
    /// Those of which some copy of either end opened something, whether it may or not.
    pub by_any: u64,
    /// Things in progress, once for each copy of the hub, and how often such a copy opened something of one.
    pub in_progress: (u64, u64),
    /// Things that were finished, and those of which a copy of the hub opened something that was made later.
    pub finished: (u64, u64),
    /// Things of which a copy of the hub opened something that was made before they began.
    pub later: u64,
    /// Things that were gone from their phone, and those of which a later copy of that opened something: of a session
    /// that is over it has fallen quiet, of what is told of an event the clip was deleted.
    pub gone: (u64, u64),
    /// Of what was gone: what the last copy of its phone before that still opened, and of that what a later one did.
    pub held: (u64, u64),
}

impl Class {
    /// Whether all of it was opened by some copy, and there was something.
    pub(super) fn is_all_open(&self) -> bool {
        self.all > 0 && self.by_any == self.all
    }

    /// Its numbers, under the class's name for several things.
    pub(super) fn put(&self, many: &str, into: &mut Map<String, Value>) {
        let rows = [
            (many.to_owned(), self.all),
            (format!("{many}_opened_by_any_copy"), self.by_any),
            (format!("{many}_in_progress"), self.in_progress.0),
            (format!("{many}_in_progress_opened"), self.in_progress.1),
            (format!("finished_{many}"), self.finished.0),
            (format!("finished_{many}_opened"), self.finished.1),
            (format!("later_{many}_opened"), self.later),
            (format!("{many}_gone_from_phone"), self.gone.0),
            (format!("{many}_gone_from_phone_opened"), self.gone.1),
            (format!("{many}_held_until_gone"), self.held.0),
            (format!("{many}_held_until_gone_opened"), self.held.1),
        ];
        into.extend(rows.map(|(name, number)| (name, Value::from(number))));
    }
}

/// The classes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Kind {
    Session,
    Picture,
    Notice,
}

/// One of them, and what was opened of it.
struct Thing {
    kind: Kind,
    pairing: PairingId,
    began: u64,
    /// The step in which it was over at the hub.
    over: Option<u64>,
    /// The step in which it was gone from its phone.
    gone: Option<u64>,
    is_said: bool,
    by_any: bool,
    /// By later copies of the hub, by earlier ones, and by later ones of its phone.
    finished: bool,
    later: bool,
    by_phone: bool,
    /// By the last copy of its phone before it was gone.
    held: bool,
}

impl Thing {
    fn new(kind: Kind, pairing: PairingId, began: u64) -> Self {
        Self {
            kind,
            pairing,
            began,
            over: None,
            gone: None,
            is_said: false,
            by_any: false,
            finished: false,
            later: false,
            by_phone: false,
            held: false,
        }
    }

    fn is_in_progress(&self, at: Moment) -> bool {
        self.began <= at.step && !self.over.is_some_and(|step| at.is_past(step))
    }
}

/// See the module's documentation.
pub(super) struct Things {
    all: Vec<Thing>,
    /// Which thing a message belongs to, by its place in the books.
    of_message: BTreeMap<usize, usize>,
    /// By class: things in progress, once for each copy of the hub, and those opened.
    in_progress: BTreeMap<Kind, (u64, u64)>,
}

impl Things {
    /// Everything of these classes that the books know of. `header` is asked for each message that was sent.
    pub(super) fn of(books: &Books, header: impl Fn(usize) -> Option<Header>) -> Self {
        let session = |live: &Live| Thing {
            over: live.over,
            gone: live.left,
            ..Thing::new(Kind::Session, live.pairing, live.began)
        };
        let mut things = Self {
            all: books.lives.iter().map(session).collect(),
            of_message: BTreeMap::new(),
            in_progress: BTreeMap::new(),
        };
        let mut told: BTreeMap<(Line, u64), usize> = BTreeMap::new();
        for (place, sent) in books.sent.iter().enumerate() {
            let Some(header) = header(place).filter(|header| header.application) else {
                continue;
            };
            let kind = match (sent.by, sent.line.channel) {
                (Whose::Hub, Channel::Thumbnail) => Kind::Picture,
                (Whose::Hub, Channel::Notification) => Kind::Notice,
                _ => {
                    if let Some(live) = sent.live {
                        things.says(place, live);
                    }
                    continue;
                }
            };
            let number = *told.entry((sent.line, header.epoch)).or_insert_with(|| {
                things.all.push(Thing {
                    over: Some(sent.left),
                    // Pictures have names by which the judge knows those that are gone.
                    gone: match kind {
                        Kind::Notice => books.deleted_with(sent),
                        Kind::Session | Kind::Picture => None,
                    },
                    ..Thing::new(kind, sent.line.pairing, sent.left)
                });
                things.all.len() - 1
            });
            things.says(place, number);
        }
        things
    }

    fn says(&mut self, place: usize, number: usize) {
        self.of_message.insert(place, number);
        if let Some(thing) = self.all.get_mut(number) {
            thing.is_said = true;
        }
    }

    /// A copy opened the messages at these places.
    pub(super) fn are_opened(
        &mut self,
        whose: Whose,
        at: Moment,
        places: impl Iterator<Item = usize>,
    ) {
        let opened: BTreeSet<usize> = places
            .filter_map(|place| self.of_message.get(&place).copied())
            .collect();
        for number in &opened {
            let Some(thing) = self.all.get_mut(*number) else {
                continue;
            };
            thing.by_any = true;
            match whose {
                Whose::Hub if thing.is_in_progress(at) => {}
                Whose::Hub if thing.began > at.step => thing.later = true,
                Whose::Hub => thing.finished = true,
                Whose::Phone(pairing) => {
                    let is_gone = thing.gone.is_some_and(|step| at.is_past(step));
                    thing.by_phone |= is_gone && thing.pairing == pairing;
                }
            }
        }
        if let Whose::Phone(pairing) = whose {
            // Copies come in the order of time.
            for (number, thing) in self.all.iter_mut().enumerate() {
                let is_gone = thing.gone.is_some_and(|step| at.is_past(step));
                if thing.pairing == pairing && !is_gone {
                    thing.held = opened.contains(&number);
                }
            }
            return;
        }
        for (number, thing) in self.all.iter().enumerate() {
            if thing.is_in_progress(at) {
                let count = self.in_progress.entry(thing.kind).or_default();
                count.0 += 1;
                count.1 += u64::from(opened.contains(&number));
            }
        }
    }

    /// The numbers of a class.
    pub(super) fn class(&self, kind: Kind) -> Class {
        let of_class = || {
            self.all
                .iter()
                .filter(|thing| thing.kind == kind && thing.is_said)
        };
        let are = |what: fn(&Thing) -> bool| of_class().filter(|thing| what(thing)).count() as u64;
        Class {
            all: are(|_| true),
            by_any: are(|thing| thing.by_any),
            in_progress: self.in_progress.get(&kind).copied().unwrap_or_default(),
            finished: (
                are(|thing| thing.over.is_some()),
                are(|thing| thing.finished),
            ),
            later: are(|thing| thing.later),
            gone: (
                are(|thing| thing.gone.is_some()),
                are(|thing| thing.by_phone),
            ),
            held: (
                are(|thing| thing.gone.is_some() && thing.held),
                are(|thing| thing.gone.is_some() && thing.held && thing.by_phone),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::Seq;

    use super::super::books::{Clip, Sent};
    use super::*;

    const PAIRING: PairingId = PairingId([1; 16]);

    /// A session from step 4 to step 6 that its phone has left in step 8, with a frame; one in which nothing was
    /// shown; the notification of a clip of step 5 that was deleted in step 9, and a picture.
    fn books() -> Books {
        let live = |began, over, left| Live {
            pairing: PAIRING,
            began,
            over: Some(over),
            left: Some(left),
        };
        let sent = |channel, left, live| Sent {
            line: Line::of(PAIRING, channel),
            by: Whose::Hub,
            clip: None,
            live,
            left,
            shut: None,
        };
        let clip = Clip {
            id: [7; 16],
            pairing: PAIRING,
            started_unix_ms: 5,
            began: 5 + super::super::books::STEPS_TO_A_CLIP,
            over: Some(8),
            beside: false,
            deleted: Some(9),
            last: Seq(1),
            released: None,
        };
        Books {
            lives: vec![live(4, 6, 8), live(10, 11, 12)],
            clips: vec![clip],
            sent: vec![
                sent(Channel::Livestream, 5, Some(0)),
                sent(Channel::Notification, 5, None),
                sent(Channel::Thumbnail, 6, None),
                // A Commit: it is not counted.
                sent(Channel::Thumbnail, 6, None),
            ],
            ..Books::default()
        }
    }

    fn things() -> Things {
        let header = |place| {
            Some(Header {
                epoch: 3,
                application: place != 3,
            })
        };
        Things::of(&books(), header)
    }

    fn at(step: u64) -> Moment {
        Moment {
            step,
            within: false,
        }
    }

    #[test]
    fn each_class_is_counted_by_itself_and_by_when_the_copy_was_made() {
        let mut things = things();
        // Before it, in the middle of it, and behind it.
        things.are_opened(Whose::Hub, at(3), [0].into_iter());
        let before = things.class(Kind::Session);
        assert_eq!((before.all, before.by_any, before.later), (1, 1, 1));
        things.are_opened(Whose::Hub, at(4), [0].into_iter());
        assert_eq!(things.class(Kind::Session).finished, (1, 0));
        assert_eq!(things.class(Kind::Session).in_progress, (1, 1));
        things.are_opened(Whose::Hub, at(6), [0].into_iter());
        assert_eq!(things.class(Kind::Session).finished, (1, 1));
        // Of the others nothing was opened.
        for kind in [Kind::Picture, Kind::Notice] {
            let class = things.class(kind);
            assert_eq!((class.all, class.by_any, class.finished), (1, 0, (1, 0)));
            assert!(!class.is_all_open());
        }
        things.are_opened(Whose::Hub, at(6), [2, 3].into_iter());
        let picture = things.class(Kind::Picture);
        assert_eq!((picture.finished, picture.later), ((1, 1), 0));
        assert!(picture.is_all_open());
    }

    #[test]
    fn what_a_step_makes_is_in_progress_for_a_copy_from_within_it() {
        let mut things = things();
        let within = |step| Moment { step, within: true };
        things.are_opened(Whose::Hub, within(5), [1].into_iter());
        let notice = things.class(Kind::Notice);
        assert_eq!((notice.in_progress, notice.finished), ((1, 1), (1, 0)));
    }

    #[test]
    fn a_phone_may_open_what_is_not_gone_from_it() {
        let mut things = things();
        let phone = Whose::Phone(PAIRING);
        things.are_opened(phone, at(7), [0, 1].into_iter());
        assert_eq!(things.class(Kind::Session).gone, (1, 0));
        things.are_opened(phone, at(8), [0, 1].into_iter());
        assert_eq!(things.class(Kind::Session).gone, (1, 1));
        assert_eq!(things.class(Kind::Notice).gone, (1, 0));
        things.are_opened(Whose::Phone(PairingId([2; 16])), at(9), [1].into_iter());
        assert_eq!(things.class(Kind::Notice).gone, (1, 0));
        things.are_opened(phone, at(9), [1].into_iter());
        assert_eq!(things.class(Kind::Notice).gone, (1, 1));
        // A copy of a phone is none of the hub.
        assert_eq!(things.class(Kind::Notice).finished, (1, 0));
    }

    /// The log may be written over before anything is gone: what is left then is asked for.
    #[test]
    fn what_a_phone_held_until_it_was_gone_is_counted_by_itself() {
        let phone = Whose::Phone(PAIRING);
        let held = |before: &[usize], behind: &[usize]| {
            let mut things = things();
            things.are_opened(phone, at(6), [1].into_iter());
            things.are_opened(phone, at(7), before.iter().copied());
            // Another phone's copies say nothing about it.
            things.are_opened(Whose::Phone(PairingId([2; 16])), at(8), [].into_iter());
            things.are_opened(phone, at(9), behind.iter().copied());
            things.class(Kind::Notice).held
        };
        assert_eq!(held(&[1], &[]), (1, 0));
        assert_eq!(held(&[1], &[1]), (1, 1));
        assert_eq!(held(&[], &[]), (0, 0));
        assert_eq!(held(&[], &[1]), (0, 0));
    }

    #[test]
    fn numbers_have_names_that_other_programs_find() {
        let mut rows = Map::new();
        let class = Class {
            all: 3,
            finished: (2, 1),
            ..Class::default()
        };
        class.put("pictures", &mut rows);
        assert_eq!(rows["pictures"], 3);
        assert_eq!(rows["finished_pictures_opened"], 1);
        assert_eq!(rows.len(), 11);
    }
}
