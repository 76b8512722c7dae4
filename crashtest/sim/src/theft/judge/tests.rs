//! What a copy may open and what it may not, by books and messages made up.

use journal::ids::Line;
use thief::{Loot, Notice};
use wire::Seq;

use super::super::books::Live;
use super::*;

const PAIRING: PairingId = PairingId([1; 16]);
const HEADER: Header = Header {
    epoch: 4,
    application: true,
};

fn copy(whose: Whose, step: u64) -> Copied {
    Copied {
        at: Moment {
            step,
            within: false,
        },
        whose,
        loot: Loot::default(),
    }
}

fn within(copied: Copied) -> Copied {
    let step = copied.at.step;
    let at = Moment { step, within: true };
    Copied { at, ..copied }
}

/// A clip that is over in step 5, acked in step 6 and deleted in step 9, and one that begins in step 7.
fn books(retains: bool) -> Books {
    let clip = |id: u8, began, [over, released, deleted]: [Option<u64>; 3]| Clip {
        id: [id; 16],
        pairing: PAIRING,
        started_unix_ms: u64::from(id),
        began,
        over,
        beside: false,
        deleted,
        last: Seq(1),
        released,
    };
    Books {
        retains,
        clips: vec![
            clip(1, 1, [Some(5), Some(6), Some(9)]),
            clip(2, 7, [None; 3]),
        ],
        ..Books::default()
    }
}

fn message(by: Whose, clip: Option<usize>, shut: Option<u64>) -> Opened {
    let line = Line::of(PAIRING, Channel::EventVideo);
    Opened {
        place: 0,
        header: HEADER,
        said: None,
        sent: Sent {
            line,
            by,
            clip,
            live: None,
            left: 3,
            shut,
        },
    }
}

fn of_hub(copy: &Copied, opens: Opened) -> (Tally, Found) {
    let (mut tally, mut found) = (Tally::default(), Found::default());
    let (books, spoils) = (books(false), Spoils::default());
    hub(&books, copy, &spoils, &[opens], &mut tally, &mut found);
    (tally, found)
}

#[test]
fn a_hub_may_open_what_is_in_progress_and_nothing_else_of_its_own() {
    let clip = |place| message(Whose::Hub, Some(place), None);
    let at = |step| copy(Whose::Hub, step);
    assert_eq!(of_hub(&at(8), clip(1)).0.broken, 0);
    let (tally, found) = of_hub(&at(8), clip(0));
    assert_eq!((tally.broken, found.finished.len()), (1, 1));
    let (tally, found) = of_hub(&at(6), clip(1));
    assert_eq!((tally.broken, found.later.len()), (1, 1));
    let own = || message(Whose::Hub, None, None);
    assert_eq!(of_hub(&at(8), own()).0.broken, 1);
    assert_eq!(of_hub(&within(at(3)), own()).0.broken, 0);
    // The step in which it ends: not over before both images are synced.
    assert_eq!(of_hub(&at(5), clip(0)).0.broken, 1);
    assert_eq!(of_hub(&within(at(5)), clip(0)).0.broken, 0);
}

#[test]
fn a_hub_may_open_a_live_session_while_it_goes_on() {
    let books = Books {
        lives: vec![Live {
            pairing: PAIRING,
            began: 4,
            over: Some(6),
            left: None,
        }],
        ..Books::default()
    };
    let judged = |copied: &Copied| {
        let mut said = message(Whose::Hub, None, None);
        (said.sent.live, said.sent.left) = (Some(0), 5);
        let (mut tally, mut found) = (Tally::default(), Found::default());
        let spoils = Spoils::default();
        hub(&books, copied, &spoils, &[said], &mut tally, &mut found);
        tally.broken
    };
    let at = |step| copy(Whose::Hub, step);
    assert_eq!(judged(&at(3)), 1);
    // Also what is sealed after the copy.
    assert_eq!(judged(&at(4)), 0);
    assert_eq!(judged(&within(at(6))), 0);
    assert_eq!(judged(&at(6)), 1);
}

#[test]
fn a_phone_may_open_a_live_session_until_it_is_quiet_behind_its_end() {
    let books = Books {
        lives: vec![Live {
            pairing: PAIRING,
            began: 4,
            over: Some(6),
            left: Some(8),
        }],
        ..Books::default()
    };
    let broken = |copied: &Copied| {
        let mut said = message(Whose::Hub, None, None);
        (said.sent.live, said.sent.left) = (Some(0), 5);
        let (mut tally, mut found) = (Tally::default(), Found::default());
        let spoils = Spoils::default();
        phone(&books, copied, &spoils, &[said], &mut tally, &mut found);
        tally.broken
    };
    let at = |step| copy(Whose::Phone(PAIRING), step);
    assert_eq!(broken(&at(7)), 0);
    assert_eq!(broken(&within(at(8))), 0);
    assert_eq!(broken(&at(8)), 1);
}

#[test]
fn a_phone_may_not_open_the_notification_of_a_clip_that_it_deleted() {
    let broken = |step, left, channel| {
        let mut said = message(Whose::Hub, None, None);
        said.sent.line = Line::of(PAIRING, channel);
        said.sent.left = left;
        let (mut tally, mut found) = (Tally::default(), Found::default());
        let (mut books, spoils) = (books(false), Spoils::default());
        for clip in &mut books.clips {
            clip.began += super::super::books::STEPS_TO_A_CLIP;
        }
        let copied = copy(Whose::Phone(PAIRING), step);
        phone(&books, &copied, &spoils, &[said], &mut tally, &mut found);
        tally.broken
    };
    // Of the clip of whose event was told in step 1 and that was deleted in step 9.
    assert_eq!(broken(8, 1, Channel::Notification), 0);
    assert_eq!(broken(9, 1, Channel::Notification), 1);
    assert_eq!(broken(9, 7, Channel::Notification), 0);
    assert_eq!(broken(9, 1, Channel::Config), 0);
}

#[test]
fn a_phone_may_not_open_the_stored_notification_of_a_clip_that_it_deleted() {
    let judged = |copied: &Copied, started_unix_ms| {
        let spoils = Spoils {
            notices: [Notice {
                pairing: PAIRING.0,
                camera: b"door".to_vec(),
                started_unix_ms,
            }]
            .into(),
            ..Spoils::default()
        };
        let (mut tally, mut found) = (Tally::default(), Found::default());
        let books = books(false);
        match copied.whose {
            Whose::Hub => hub(&books, copied, &spoils, &[], &mut tally, &mut found),
            Whose::Phone(_) => phone(&books, copied, &spoils, &[], &mut tally, &mut found),
        }
        let numbers = (found.notices.len(), found.gone_notices.len());
        (tally.broken, numbers)
    };
    let at = |step| copy(Whose::Phone(PAIRING), step);
    assert_eq!(judged(&at(8), 1), (0, (1, 0)));
    assert_eq!(judged(&at(9), 1), (1, (0, 1)));
    assert_eq!(judged(&within(at(9)), 1), (0, (1, 0)));
    assert_eq!(judged(&at(9), 2), (0, (1, 0)));
    assert_eq!(judged(&at(9), 7), (0, (0, 0)), "of no clip");
    let another = copy(Whose::Phone(PairingId([2; 16])), 8);
    assert_eq!(judged(&another, 1), (1, (0, 0)));
    assert_eq!(judged(&copy(Whose::Hub, 8), 1), (1, (0, 0)));
}

#[test]
fn nobody_but_a_phone_that_is_being_paired_may_hold_what_was_made_for_that() {
    let talk = Talk {
        pairing: PAIRING,
        over_at_hub: Some(4),
        over_at_phone: Some(5),
        secrets: [false, true]
            .map(|is_at_hub| PairingSecret {
                bytes: vec![7; 32],
                is_at_hub,
            })
            .into(),
    };
    let books = Books {
        talks: vec![talk],
        ..Books::default()
    };
    let secrets = secrets_of(&books);
    let mut line = [3; 17];
    line[..16].copy_from_slice(&PAIRING.0);
    let spoils = Spoils {
        welcomes: [line].into(),
        ..Spoils::default()
    };
    let judged = |copied: &Copied| {
        let (mut tally, mut found) = (Tally::default(), Found::default());
        welcomed(&books, copied, &spoils, &mut tally, &mut found);
        let of_welcome = tally.broken;
        let both = [0, 1].into();
        paired(&secrets, copied, both, &mut tally, &mut found);
        (of_welcome, tally.broken - of_welcome)
    };
    let phone = |step| copy(Whose::Phone(PAIRING), step);
    assert_eq!(judged(&phone(4)), (0, 0));
    assert_eq!(judged(&within(phone(5))), (0, 0));
    assert_eq!(judged(&phone(5)), (1, 2));
    // The hub has the secret of its offer until it is used, and never what opens a welcome.
    assert_eq!(judged(&copy(Whose::Hub, 3)), (1, 1));
    assert_eq!(judged(&copy(Whose::Hub, 4)), (1, 2));
    let another = copy(Whose::Phone(PairingId([2; 16])), 1);
    assert_eq!(judged(&another), (1, 2));
}

#[test]
fn a_message_that_names_another_clip_than_the_books_is_seen() {
    let books = books(false);
    let seen = |clip, said| {
        let mut opened = message(Whose::Hub, clip, None);
        opened.said = said;
        misread(&books, &[opened]).count()
    };
    assert_eq!(seen(Some(0), Some(Said::Chunk([1; 16], 3))), 0);
    assert_eq!(seen(Some(1), Some(Said::Chunk([1; 16], 3))), 1);
    assert_eq!(seen(Some(1), Some(Said::ClipEnds([1; 16]))), 1);
    assert_eq!(seen(Some(1), Some(Said::OfHub(1))), 0);
    assert_eq!(seen(None, Some(Said::ClipBegins([1; 16]))), 0);
}

#[test]
fn a_phone_may_not_open_the_picture_of_a_clip_that_it_deleted() {
    let books = Books {
        deleted_pictures: [([8; 16], (PAIRING, 5))].into(),
        ..Books::default()
    };
    let judged = |copied: &Copied, chunks: &[u8], said: Option<Said>| {
        let spoils = Spoils {
            chunks: chunks.iter().map(|id| [*id; 16]).collect(),
            ..Spoils::default()
        };
        let mut opened = message(Whose::Hub, None, None);
        opened.said = said;
        let (mut tally, mut found) = (Tally::default(), Found::default());
        phone(&books, copied, &spoils, &[opened], &mut tally, &mut found);
        tally.broken
    };
    let at = |step| copy(Whose::Phone(PAIRING), step);
    let picture = || Some(Said::Picture([8; 16]));
    assert_eq!(judged(&at(4), &[8], picture()), 0);
    assert_eq!(judged(&at(5), &[8], None), 1);
    assert_eq!(judged(&at(5), &[], picture()), 1);
    assert_eq!(judged(&at(5), &[9], Some(Said::OfHub(2))), 0);
    assert_eq!(judged(&within(at(5)), &[8], None), 0);
    let another = copy(Whose::Phone(PairingId([2; 16])), 4);
    assert_eq!(judged(&another, &[8], None), 1);
}

#[test]
fn a_hub_may_open_what_a_phone_said_until_that_is_shut() {
    let said = |shut| message(Whose::Phone(PAIRING), None, shut);
    let broken = |copied: &Copied, shut| of_hub(copied, said(shut)).0.broken;
    let at = |step| copy(Whose::Hub, step);
    assert_eq!(broken(&at(8), None), 0);
    assert_eq!(broken(&at(8), Some(9)), 0);
    assert_eq!(broken(&at(9), Some(9)), 1);
    assert_eq!(broken(&within(at(9)), Some(9)), 0);
    assert_eq!(broken(&within(at(10)), Some(9)), 1);
}

#[test]
fn a_hub_opens_exactly_the_copies_that_it_retains() {
    let judged = |retains, copied: &Copied, chunks: &[u8]| {
        let spoils = Spoils {
            chunks: chunks.iter().map(|id| [*id; 16]).collect(),
            ..Spoils::default()
        };
        let (mut tally, mut found) = (Tally::default(), Found::default());
        kept(&books(retains), copied, &spoils, &mut tally, &mut found);
        (tally.broken, tally.retained)
    };
    let at = |step| copy(Whose::Hub, step);
    assert_eq!(judged(true, &at(5), &[1]), (0, (1, 1)));
    assert_eq!(judged(true, &at(5), &[]), (1, (1, 0)));
    assert_eq!(judged(false, &at(5), &[1]), (1, (0, 0)));
    assert_eq!(judged(false, &at(5), &[]), (0, (0, 0)));
    // The ack of step 6.
    assert_eq!(judged(true, &at(6), &[1]), (1, (0, 0)));
    assert_eq!(judged(true, &within(at(6)), &[1]), (0, (0, 0)));
    assert_eq!(judged(true, &at(8), &[2, 9]), (1, (1, 1)));
}

#[test]
fn a_phone_may_open_what_it_holds_and_not_what_it_deleted() {
    let judged = |copied: &Copied, spoils: &Spoils, messages: &[Opened]| {
        let (mut tally, mut found) = (Tally::default(), Found::default());
        let books = books(false);
        phone(&books, copied, spoils, messages, &mut tally, &mut found);
        (tally.broken, found.held.len())
    };
    let at = |step| copy(Whose::Phone(PAIRING), step);
    let chunks = Spoils {
        chunks: BTreeSet::from([[1; 16]]),
        ..Spoils::default()
    };
    assert_eq!(judged(&at(8), &chunks, &[]), (0, 1));
    assert_eq!(judged(&at(9), &chunks, &[]), (1, 0));
    assert_eq!(judged(&within(at(9)), &chunks, &[]), (0, 1));
    let none = Spoils::default();
    let said = [message(Whose::Hub, Some(0), None)];
    assert_eq!(judged(&at(9), &none, &said), (1, 0));
    let another = copy(Whose::Phone(PairingId([2; 16])), 8);
    assert_eq!(judged(&another, &chunks, &[]), (1, 0));
}
