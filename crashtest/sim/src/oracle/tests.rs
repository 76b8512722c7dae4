//! That the books are believed where they may be, and that whatever they forbid is seen.

use journal::DoneCommand;
use journal::message::{CommandKind, CommandResult};

use super::*;

fn books() -> (Books, Held) {
    let mut books = Books::default();
    let event = Event {
        pieces: vec![b"one".to_vec(), b"two".to_vec()],
        durable: 2,
        ended: None,
        dropped: false,
        made_room: false,
        born_ms: 0,
    };
    books.events.insert(5, event);
    let held = Held {
        started_unix_ms: 5,
        bytes: b"onetwo".to_vec(),
        whole: Some(true),
        sha256: Some(Sha256::digest(b"onetwo").into()),
        dropped: None,
    };
    (books, held)
}

#[test]
fn what_is_said_beside_clips_is_there_once_and_as_it_was() {
    let picture = |name| Held {
        started_unix_ms: name,
        bytes: picture_of(name),
        whole: Some(true),
        sha256: None,
        dropped: None,
    };
    let mut books = Books::default();
    books.notified.insert(3);
    books.pictured.insert(6);
    let whole = [picture(6)];
    // More than was told is what a hub had no time to tell.
    assert!(books.judge_beside(&[3, 9], &whole).is_ok());
    assert!(books.judge_beside(&[9], &whole).is_err());
    assert!(books.judge_beside(&[3], &[]).is_err());
    assert!(books.judge_beside(&[3, 3], &whole).is_err());
    assert!(books.judge_beside(&[3, 4], &whole).is_err());
    assert!(books.judge_beside(&[3], &[picture(6), picture(6)]).is_err());
    let other = Held {
        bytes: picture_of(9),
        ..picture(6)
    };
    assert!(books.judge_beside(&[3], &[other]).is_err());
    books.rotted = true;
    assert!(books.judge_beside(&[], &[]).is_ok());
}

#[test]
fn a_clip_that_made_room_may_be_there_or_not_and_no_other() {
    let (mut books, held) = books();
    let gone = Held {
        whole: None,
        dropped: Some(DropReason::Budget),
        ..held.clone()
    };
    for ends in [&[][..], &[gone.clone()][..]] {
        assert!(books.judge(ends).is_err());
    }
    books.events.get_mut(&5).unwrap().made_room = true;
    assert!(!books.may_drop(DropReason::Budget));
    assert!(books.judge(std::slice::from_ref(&gone)).is_err());
    books.filled = true;
    assert!(books.may_drop(DropReason::Budget));
    assert!(!books.may_drop(DropReason::Damaged));
    for ends in [&[][..], &[gone.clone()][..], &[held.clone()][..]] {
        books.judge(ends).unwrap();
    }
    // Not for the reason that the owner was told.
    let damaged = Held {
        dropped: Some(DropReason::Damaged),
        ..gone.clone()
    };
    assert!(books.judge(&[damaged]).is_err());
    // One that was said of nobody.
    assert!(books.judge(&[gone.clone(), gone]).is_err());
}

#[test]
fn a_clip_goes_for_its_age_where_clips_do_and_not_before() {
    let (mut books, held) = books();
    let gone = Held {
        whole: None,
        dropped: Some(DropReason::Age),
        ..held
    };
    books.ran_ms = 9_000_000;
    assert_eq!(books.may_be_past(0).unwrap_err().promise, "C2");
    books.events.get_mut(&5).unwrap().made_room = true;
    assert!(books.judge(std::slice::from_ref(&gone)).is_err());
    books.kept_ms = Some(5_000_000);
    books.judge(&[gone]).unwrap();
    books.may_be_past(4_000_000).unwrap();
    assert!(books.may_be_past(4_002_000).is_err());
    assert!(!books.may_drop(DropReason::Budget));
}

#[test]
fn what_must_look_alike_and_does_not_is_seen() {
    let (mailbox, other) = (SendId([1; 24]), SendId([2; 24]));
    let mut books = Books::default();
    books.looks_alike(mailbox, Seq(9), 512).unwrap();
    books.must_look_alike(mailbox, Seq(3));
    // A later start has more in its outbox, and that is no older.
    books.must_look_alike(mailbox, Seq(8));
    books.looks_alike(mailbox, Seq(3), 512).unwrap();
    books.looks_alike(other, Seq(4), 512).unwrap();
    books
        .looks_alike(mailbox, Seq(4), FULL_ENVELOPE_BYTES)
        .unwrap();
    let told = books.looks_alike(mailbox, Seq(4), 512).unwrap_err();
    assert_eq!(told.promise, "S1");
}

/// The oracle is not blind: each kind of harm is seen.
#[test]
fn every_kind_of_harm_is_seen() {
    let (books, good) = books();
    books.judge(std::slice::from_ref(&good)).unwrap();
    let hash = |bytes: &[u8]| Some(Sha256::digest(bytes).into());
    let harm: [(&str, Vec<Held>); 7] = [
        ("lost", vec![]),
        ("twice", vec![good.clone(), good.clone()]),
        (
            "short",
            vec![Held {
                bytes: b"one".to_vec(),
                sha256: hash(b"one"),
                ..good.clone()
            }],
        ),
        (
            "altered",
            vec![Held {
                bytes: b"onetwO".to_vec(),
                sha256: hash(b"onetwO"),
                ..good.clone()
            }],
        ),
        (
            "open",
            vec![Held {
                whole: None,
                ..good.clone()
            }],
        ),
        (
            "wrong hash",
            vec![Held {
                sha256: hash(b"x"),
                ..good.clone()
            }],
        ),
        (
            "unknown",
            vec![
                good.clone(),
                Held {
                    started_unix_ms: 6,
                    ..good
                },
            ],
        ),
    ];
    for (name, held) in harm {
        assert_eq!(books.judge(&held).unwrap_err().promise, "C2", "{name}");
    }
}

#[test]
fn commands_done_twice_or_not_at_all_or_out_of_turn_are_seen() {
    let doc = |n: u8| SettingsDoc {
        version: u64::from(n),
        made_by: Some(CommandId([n; 16])),
        ..SettingsDoc::default()
    };
    let done = |n: u8, version: u8| DoneCommand {
        id: CommandId([n; 16]),
        kind: CommandKind::Privacy { on: false },
        result: CommandResult::Changed(SettingsDoc {
            version: u64::from(version),
            ..doc(n)
        }),
        unix_ms: 0,
    };
    let book = |done: Vec<DoneCommand>| CommandBook {
        done,
        settings: doc(2),
        ..CommandBook::default()
    };
    let mut books = Books::default();
    books.orders.extend([1, 2].map(|n| CommandId([n; 16])));
    let good = vec![done(1, 1), done(2, 2)];
    books.judge_orders(&book(good.clone()), &doc(2)).unwrap();
    for (known, hub) in [
        (book(vec![done(1, 1), done(2, 3)]), doc(3)),
        (book(vec![done(1, 2), done(2, 1)]), doc(2)),
        (book(vec![done(1, 1)]), doc(1)),
        (book(good.clone()), doc(3)),
        (book(Vec::new()), SettingsDoc::default()),
    ] {
        assert_eq!(books.judge_orders(&known, &hub).unwrap_err().promise, "C2");
    }
    let mut behind = book(good);
    behind.settings = doc(1);
    assert!(books.judge_orders(&behind, &doc(2)).is_err());
}

#[test]
fn an_event_for_a_silent_phone_is_seen() {
    let mut books = Books::default();
    books.not_for_the_silent().unwrap();
    books.silent = true;
    assert_eq!(books.not_for_the_silent().unwrap_err().promise, "A1");
}

#[test]
fn what_leaves_after_a_failure_is_seen_and_what_left_before_it_may_go_again() {
    let (mailbox, failed) = (SendId([1; SendId::BYTES]), || Some("a sync failed".into()));
    let mut books = Books::default();
    books.sent.insert((mailbox, Seq(3)), Digest([1; 32]));
    books.claims(mailbox, Seq(5));
    books.leaves_after(failed(), mailbox, Seq(3)).unwrap();
    books.leaves_after(None, mailbox, Seq(4)).unwrap();
    books.claims_after(failed(), mailbox, Seq(5)).unwrap();
    let left = books.leaves_after(failed(), mailbox, Seq(4));
    let claimed = books.claims_after(failed(), mailbox, Seq(6));
    assert!(left.is_err_and(|broken| broken.promise == "C4"));
    assert!(claimed.is_err_and(|broken| broken.promise == "C4"));
}

#[test]
fn another_digest_under_a_number_is_seen_and_so_is_amnesia_at_home() {
    let (mailbox, own) = (SendId([1; SendId::BYTES]), SendId([2; SendId::BYTES]));
    let mut books = Books::default();
    for (digest, place) in [([1; 32], "one"), ([2; 32], "two")] {
        let key = (mailbox.to_text(), "3".into(), Digest(digest).to_text());
        books.places.insert(key, place.into());
    }
    books.leaves(mailbox, Seq(3), Digest([1; 32])).unwrap();
    books.leaves(mailbox, Seq(3), Digest([1; 32])).unwrap();
    let other = books.leaves(mailbox, Seq(3), Digest([2; 32]));
    assert_eq!(other.unwrap_err().promise, "C3");
    // A statement, once, and only where something may be given up.
    for digest in [[3; 32], [4; 32]] {
        let key = (mailbox.to_text(), "3".into(), Digest(digest).to_text());
        books.statements.insert(key);
    }
    assert!(books.leaves(mailbox, Seq(3), Digest([3; 32])).is_err());
    books.filled = true;
    books.leaves(mailbox, Seq(3), Digest([3; 32])).unwrap();
    books.leaves(mailbox, Seq(3), Digest([3; 32])).unwrap();
    for later in [[1; 32], [2; 32], [4; 32]] {
        assert!(books.leaves(mailbox, Seq(3), Digest(later)).is_err());
    }
    books.explains(mailbox, Seq(3)).unwrap();
    assert_eq!(books.explains(mailbox, Seq(2)).unwrap_err().promise, "C4");
    books.ack_made((own, Seq(1)), vec![(mailbox, Seq(9))]);
    books.holds(mailbox, Seq(0)).unwrap();
    books.ack_leaves((own, Seq(1)));
    assert_eq!(books.holds(mailbox, Seq(8)).unwrap_err().promise, "C4");
}
