//! A code that a phone passes on, at that phone: sealed in a scope of its own, and gone when it was shown, used,
//! replaced, or too old.

use super::harness::{App, Hub, NOW_MS, NOW_S, paired, terms};
use crate::ids::{Channel, CommandId, Line, OfferId, PairingId};
use crate::message::{
    AddedPhone, AddedPhones, HubConfigMessage, InviteFailure, InviteNews, Invited, PairingCode,
};
use crate::{
    AppPairing, Committer, Follower, HubPairing, InviteTaken, Offer, Scope, Session, Suite, Taken,
};

fn config(hub: &Hub) -> Line {
    Line::of(hub.line().pairing, Channel::Config)
}

/// The hub says this and the app takes it: what became of it.
fn say(hub: &mut Hub, app: &mut App, message: HubConfigMessage) -> Taken {
    let line = config(hub);
    let mut session = Session::<Committer>::new(line);
    let mut txn = hub.journal.begin();
    session.say(&mut txn, &[message]).unwrap();
    drop(txn.commit(()).unwrap());
    let mut session = Session::<Follower>::new(line);
    let mut last = None;
    let mut at = app.journal.inbox_head(line).unwrap().cursor;
    while let Some((seq, envelope)) = hub.journal.outbox_next(line, at).unwrap() {
        let mut txn = app.journal.begin();
        let taken = session.take(&mut txn, seq, envelope.as_bytes(), NOW_MS);
        last = Some(txn.commit(taken.unwrap()).unwrap().into_inner());
        at = seq;
    }
    last.unwrap()
}

fn offer(hub: &mut Hub) -> Offer {
    let made = HubPairing::offer(&mut hub.journal, terms(Suite::Classic), NOW_S);
    made.unwrap().into_inner()
}

fn code(asked_by: CommandId, offer: &Offer) -> HubConfigMessage {
    let news = InviteNews::Code(PairingCode::of(offer));
    HubConfigMessage::Invited(Invited { asked_by, news })
}

fn added(number: u8, asked_by: CommandId) -> AddedPhone {
    AddedPhone {
        phone: PairingId([number; 16]),
        by: PairingId([9; 16]),
        asked_by,
        paired_unix_s: NOW_S,
    }
}

fn is_here(app: &App, asked_by: CommandId) -> bool {
    app.journal.passed_code(asked_by).unwrap().is_some()
}

/// Whether a key for it exists.
fn has_key(app: &App, offer: OfferId) -> bool {
    app.journal.scopes.get(Scope::Passed(offer)).is_some()
}

const FIRST: CommandId = CommandId([1; 16]);
const SECOND: CommandId = CommandId([2; 16]);

#[test]
fn a_code_is_kept_until_it_was_shown_and_its_key_goes_with_it() {
    let (mut hub, mut app) = paired();
    let offer = offer(&mut hub);
    let message = code(FIRST, &offer);
    let here = Taken::Invited {
        asked_by: FIRST,
        taken: InviteTaken::Here,
    };
    assert_eq!(say(&mut hub, &mut app, message.clone()), here);
    let kept = app.journal.passed_code(FIRST).unwrap().unwrap();
    assert_eq!(kept.code.text(), offer.to_text().as_str());
    assert_eq!(kept.expires_unix_s, NOW_S + 600);
    assert!(!is_here(&app, SECOND) && has_key(&app, offer.offer));
    // Once more, it has no effect.
    let again = say(&mut hub, &mut app, message);
    assert!(matches!(again, Taken::Nothing(_)), "{again:?}");
    for was_here in [true, false] {
        let ended = app.journal.end_passed_code(FIRST).unwrap().into_inner();
        assert_eq!(ended, was_here);
        assert!(!is_here(&app, FIRST) && !has_key(&app, offer.offer));
    }
}

#[test]
fn a_newer_code_its_use_its_time_and_the_hubs_word_end_one() {
    let (mut hub, mut app) = paired();
    let first = offer(&mut hub);
    let _here = say(&mut hub, &mut app, code(FIRST, &first));
    let second = offer(&mut hub);
    let _here = say(&mut hub, &mut app, code(SECOND, &second));
    assert!(!is_here(&app, FIRST) && !has_key(&app, first.offer));
    assert!(is_here(&app, SECOND));

    let failed = |asked_by| {
        let news = InviteNews::Failed(InviteFailure::Void);
        HubConfigMessage::Invited(Invited { asked_by, news })
    };
    let _other = say(&mut hub, &mut app, failed(FIRST));
    assert!(is_here(&app, SECOND), "that was about another");
    let taken = say(&mut hub, &mut app, failed(SECOND));
    let void = Taken::Invited {
        asked_by: SECOND,
        taken: InviteTaken::Failed(InviteFailure::Void),
    };
    assert_eq!(taken, void);
    assert!(!is_here(&app, SECOND) && !has_key(&app, second.offer));

    let third = offer(&mut hub);
    let _here = say(&mut hub, &mut app, code(FIRST, &third));
    app.journal.expire_passed_codes(NOW_S + 599).unwrap();
    assert!(is_here(&app, FIRST));
    app.journal.expire_passed_codes(NOW_S + 600).unwrap();
    assert!(!is_here(&app, FIRST) && !has_key(&app, third.offer));

    let fourth = offer(&mut hub);
    let _here = say(&mut hub, &mut app, code(SECOND, &fourth));
    let phones = |version, phones| HubConfigMessage::Added(AddedPhones { version, phones });
    let (one, two) = (added(1, FIRST), added(2, SECOND));
    let told = say(&mut hub, &mut app, phones(1, vec![one]));
    assert_eq!(told, Taken::Added(vec![one]));
    assert!(is_here(&app, SECOND), "somebody else's was used");
    let told = say(&mut hub, &mut app, phones(2, vec![one, two]));
    assert_eq!(told, Taken::Added(vec![two]), "each is news once");
    assert!(!is_here(&app, SECOND) && !has_key(&app, fourth.offer));
    let pairing = config(&hub).pairing;
    let known = app.journal.told_of_added(pairing).unwrap();
    assert_eq!(known.phones, [one, two]);
}

#[test]
fn a_hub_that_is_forgotten_takes_its_code_along() {
    let (mut hub, mut app) = paired();
    let offer = offer(&mut hub);
    let _here = say(&mut hub, &mut app, code(FIRST, &offer));
    assert!(is_here(&app, FIRST) && has_key(&app, offer.offer));
    let forgotten = AppPairing::forget(&mut app.journal, config(&hub).pairing);
    assert!(forgotten.unwrap().into_inner());
    assert!(!is_here(&app, FIRST) && !has_key(&app, offer.offer));
}
