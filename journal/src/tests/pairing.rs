//! Pairing: who may, once, and again after any interruption.

use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::DeviceId;

use super::harness::{
    End, Hub, NOW_S, converge, finish_pairing, finish_pairing_as, open, pair_journals, terms,
};
use super::trim::know_many_clips;
use crate::ids::{Channel, Line};
use crate::pairing::{
    AppNext, AppPairing, Ask, Done, HubNext, HubPairing, Joined, Offer, OfferEnd, PairingError,
    PairingMessage, Requested,
};
use crate::scope::Scope;
use crate::{DeviceSecret, JournalError, PairingState, Role, Session, Suite};

fn both() -> (crate::Journal, crate::Journal) {
    let hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
    (hub, open(Role::App, &SimDisk::new(), 2).unwrap())
}

pub(super) fn offer(hub: &mut crate::Journal) -> Offer {
    HubPairing::offer(hub, terms(Suite::Classic), NOW_S)
        .unwrap()
        .into_inner()
}

/// The phone's request.
fn asked(app: &mut crate::Journal, offer: &Offer, device: u8, now_s: u64) -> Requested {
    let next = AppPairing::start(app, offer, DeviceId([device; 32]), now_s).unwrap();
    match next.into_inner() {
        AppNext::Request(request) => request,
        _ => panic!("nothing to confirm yet"),
    }
}

/// The phone takes the hub's last word, and both hold the pairing for confirmed.
fn assert_whole(hub: &crate::Journal, app: &mut crate::Journal, joined: &Joined, done: &Done) {
    let pairing = AppPairing::done(app, joined, done).unwrap().into_inner();
    for journal in [hub, app] {
        let known = journal.pairing(pairing).unwrap().unwrap();
        assert_eq!(known.state, PairingState::Confirmed);
    }
}

fn refused<T>(result: Result<T, JournalError>) -> PairingError {
    match result {
        Err(JournalError::Pairing(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

/// Scenario 29: a phone whose clock was never set, and a hub whose clock is far ahead. Key packages have
/// no lifetime that a clock could end; an offer has an expiry of its own, which the hub judges by the
/// clock that made it.
#[test]
fn scenario_29_clocks_that_are_a_century_apart_pair_all_the_same() {
    const FAR: u64 = 4_102_444_800;
    let (mut hub, mut app) = both();
    let offer = HubPairing::offer(&mut hub, terms(Suite::Classic), FAR)
        .unwrap()
        .into_inner();
    let request = asked(&mut app, &offer, 8, 0);
    let answer = HubPairing::request(&mut hub, &request, request.device(), FAR + 1)
        .unwrap()
        .into_inner();
    let confirm = AppPairing::answer(&mut app, &request, &answer, 0)
        .unwrap()
        .into_inner();
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    assert_whole(&hub, &mut app, &confirm, &done);
    // The hub's own expiry holds by its own clock.
    let next = HubPairing::offer(&mut hub, terms(Suite::Classic), FAR)
        .unwrap()
        .into_inner();
    let (_, mut late) = both();
    let request = asked(&mut late, &next, 9, 0);
    assert_eq!(
        refused(HubPairing::request(
            &mut hub,
            &request,
            request.device(),
            FAR + 601
        )),
        PairingError::Expired
    );
}

/// The longest messages there are, with the post-quantum suite: they fit, and the limit has little to spare.
#[test]
fn the_longest_pairing_messages_fit() {
    use crate::pairing::PAIRING_MESSAGE_BYTES_MAX;
    let (mut hub, mut app) = both();
    let offer = HubPairing::offer(&mut hub, terms(Suite::XWing), NOW_S).unwrap();
    let request = asked(&mut app, &offer, 8, NOW_S);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let asks = request.to_message().encode();
    let answers = answer.to_message().encode();
    for bytes in [&asks, &answers] {
        assert!(PairingMessage::decode(bytes).is_ok(), "{}", bytes.len());
    }
    assert!(
        answers.len() > PAIRING_MESSAGE_BYTES_MAX * 3 / 4,
        "{}",
        answers.len()
    );
}

/// Scenario 30: every message may be lost, the last one too; each side repeats itself.
#[test]
fn scenario_30_lost_answers_are_given_again() {
    let (mut hub, mut app) = both();
    let offer = offer(&mut hub);
    let request = asked(&mut app, &offer, 8, NOW_S);
    let lost = HubPairing::request(&mut hub, &request, request.device(), NOW_S)
        .unwrap()
        .into_inner();
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S)
        .unwrap()
        .into_inner();
    assert_eq!(lost.to_message().encode(), answer.to_message().encode());
    let first = AppPairing::answer(&mut app, &request, &answer, NOW_S)
        .unwrap()
        .into_inner();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S)
        .unwrap()
        .into_inner();
    assert_eq!(first.to_message().encode(), confirm.to_message().encode());
    let _lost = HubPairing::confirm(&mut hub, &confirm).unwrap();
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    assert_whole(&hub, &mut app, &confirm, &done);
}

#[test]
fn a_wrong_or_used_or_expired_code_is_refused_and_changes_nothing() {
    let (mut hub, mut app) = both();
    let good = offer(&mut hub);
    // The secret of another hub's code under this offer's name.
    let mut forged = Offer::from_text(&good.to_text()).unwrap();
    forged.spoil_secret();
    let (mut stranger, _) = both();
    let request = asked(&mut stranger, &forged, 9, NOW_S);
    let lsn = hub.wal.next_lsn();
    assert_eq!(
        refused(HubPairing::request(
            &mut hub,
            &request,
            request.device(),
            NOW_S
        )),
        PairingError::WrongSecret
    );
    assert_eq!(hub.wal.next_lsn(), lsn);
    let late = NOW_S + 601;
    let start = AppPairing::start(&mut app, &good, DeviceId([8; 32]), late);
    assert_eq!(refused(start), PairingError::Expired);
    finish_pairing(&mut hub, &mut app, &good).unwrap();
    let mut second = open(Role::App, &SimDisk::new(), 3).unwrap();
    assert_eq!(
        refused(finish_pairing(&mut hub, &mut second, &good)),
        PairingError::UnknownOffer
    );
    assert!(Offer::from_text("https://example.org").is_err());
    assert!(Offer::from_text("SECLUSO1:AAAA").is_err());
    assert!(Offer::from_text(&good.to_text()[..60]).is_err());
}

/// A device secret of its own: a number in each byte and a tail that tells it apart.
fn device_secret(tail: u8) -> DeviceSecret {
    let mut bytes: Vec<u8> = (0..71).collect();
    bytes.push(tail);
    DeviceSecret::from_bytes(&bytes).unwrap()
}

#[test]
fn a_device_keeps_the_secret_that_it_was_made_with() {
    let disk = SimDisk::new();
    let mut hub = open(Role::Hub, &disk, 1).unwrap();
    assert!(hub.known_device().unwrap().is_none());
    let (first, second) = (device_secret(1), device_secret(2));
    let made = hub.provision(&first).unwrap().into_inner();
    assert_eq!(made.secret.as_slice(), first.as_bytes());
    // Whatever is said later: codes may be in use that came of the first.
    let again = hub.provision(&second).unwrap().into_inner();
    assert_eq!(again.secret.as_slice(), first.as_bytes());
    assert!(*again.identity_seed == *made.identity_seed);
    drop(hub);
    let mut hub = open(Role::Hub, &disk, 2).unwrap();
    let known = hub.known_device().unwrap().unwrap();
    assert_eq!(known.secret.as_slice(), first.as_bytes());
    assert_eq!(hub.device().unwrap().secret.as_slice(), first.as_bytes());
    assert_ne!(offer(&mut hub).to_text(), offer(&mut hub).to_text());

    // One that was made without is random, and is not given up for one that comes late.
    let mut other = open(Role::Hub, &SimDisk::new(), 3).unwrap();
    let random = other.device().unwrap().secret;
    let late = other.provision(&first).unwrap().into_inner();
    assert!(late.secret == random);
}

/// All that differs is the device secret: the dice fall the same.
#[test]
fn every_code_comes_of_the_device_secret() {
    let code = |tail| {
        let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
        drop(hub.provision(&device_secret(tail)).unwrap());
        offer(&mut hub)
    };
    let (one, same, other) = (code(1), code(1), code(2));
    assert_eq!(one.offer, other.offer);
    assert_eq!(one.to_text(), same.to_text());
    assert_ne!(one.to_text(), other.to_text());
}

/// The code that a hub shows, as a phone gets it that asks with this secret.
fn asked_with(
    hub: &mut crate::Journal,
    app: &mut crate::Journal,
    secret: &DeviceSecret,
    peer: DeviceId,
) -> Result<Offer, PairingError> {
    let ask = Ask::new(app);
    let offered = HubPairing::asked(hub, &ask, NOW_S).unwrap();
    secret.open(&ask, &offered, peer)
}

#[test]
fn a_phone_with_the_printed_secret_gets_the_code_and_nobody_else_does() {
    let (mut hub, mut app) = both();
    let (secret, peer) = (device_secret(1), DeviceId([7; 32]));
    drop(hub.provision(&secret).unwrap());
    let ask = Ask::new(&mut app);
    assert_eq!(
        refused(HubPairing::asked(&mut hub, &ask, NOW_S)),
        PairingError::UnknownOffer,
        "not in pairing mode"
    );
    let shown = offer(&mut hub);
    let lsn = hub.wal.next_lsn();
    let got = asked_with(&mut hub, &mut app, &secret, peer).unwrap();
    assert_eq!(got.to_text(), shown.to_text());
    let wrong = Err(PairingError::WrongSecret);
    let guessed = asked_with(&mut hub, &mut app, &device_secret(2), peer).map(drop);
    assert_eq!(guessed, wrong);
    // Somebody in between passes the words on, and has a key of his own.
    let between = asked_with(&mut hub, &mut app, &secret, DeviceId([6; 32])).map(drop);
    assert_eq!(between, wrong);
    // The answer to one question is none to another, and not a byte of it may differ.
    let (ask, other) = (Ask::new(&mut app), Ask::new(&mut app));
    let offered = HubPairing::asked(&mut hub, &ask, NOW_S).unwrap();
    assert_eq!(secret.open(&other, &offered, peer).map(drop), wrong);
    let whole = PairingMessage::Offered(offered).encode();
    for at in 1..whole.len() {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        if let Ok(PairingMessage::Offered(offered)) = PairingMessage::decode(&altered) {
            assert!(secret.open(&ask, &offered, peer).is_err(), "byte {at}");
        }
    }
    assert_eq!(hub.wal.next_lsn(), lsn, "asking changes nothing");
    let late = HubPairing::asked(&mut hub, &ask, NOW_S + 601);
    assert_eq!(refused(late), PairingError::UnknownOffer);
}

/// A phone that was interrupted asks again: while the same offer stands it goes on where it was, and a new
/// one takes the place of what it left.
#[test]
fn asking_again_goes_on_with_the_same_pairing() {
    let (mut hub, mut app) = both();
    let (secret, peer) = (device_secret(1), DeviceId([7; 32]));
    drop(hub.provision(&secret).unwrap());
    offer(&mut hub);
    let first = asked_with(&mut hub, &mut app, &secret, peer).unwrap();
    let request = ask(&mut app, &first);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let again = asked_with(&mut hub, &mut app, &secret, peer).unwrap();
    assert_eq!(again.to_text(), first.to_text());
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    // The hub shows a new code before it hears the proof: that is the one that stands.
    let second = offer(&mut hub);
    let newest = asked_with(&mut hub, &mut app, &secret, peer).unwrap();
    assert_eq!(newest.to_text(), second.to_text());
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    assert_whole(&hub, &mut app, &confirm, &done);
}

/// A crash at every operation of a first start that is provisioned: afterwards the device has the secret
/// that was given, or none, and gets it then.
#[test]
fn a_provisioned_start_survives_a_crash_at_every_operation() {
    let disk = SimDisk::new();
    let mut hub = open(Role::Hub, &disk, 1).unwrap();
    disk.record_snapshots();
    let secret = device_secret(1);
    drop(hub.provision(&secret).unwrap());
    let mut before = 0;
    let snapshots = disk.snapshots();
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let crashed = snapshot.crash_clone(policy, i as u64);
            let mut hub = open(Role::Hub, &crashed, 50 + i as u64).unwrap();
            before += usize::from(hub.known_device().unwrap().is_none());
            let device = hub.provision(&secret).unwrap().into_inner();
            assert_eq!(
                device.secret.as_slice(),
                secret.as_bytes(),
                "{i} {policy:?}"
            );
        }
    }
    assert!(before > 0 && before < snapshots.len() * CrashPolicy::ALL.len());
}

/// What the two ends derive while they pair is in no file of either, from the first step to the last: the
/// code's secret, and the external PSK, which OpenMLS itself would never delete.
#[test]
fn what_a_pairing_is_made_of_is_in_the_clear_in_no_file() {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    hub_disk.record_snapshots();
    app_disk.record_snapshots();
    drop(hub.provision(&device_secret(1)).unwrap());
    let offer = offer(&mut hub);
    let request = ask(&mut app, &offer);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    drop(AppPairing::done(&mut app, &confirm, &done).unwrap());
    let holds = |disk: &SimDisk, needle: &[u8]| {
        let mut files = disk.paths().into_iter();
        files.any(|path| {
            let bytes = disk.contents(&path).unwrap_or_default();
            bytes.windows(needle.len()).any(|part| part == needle)
        })
    };
    let [secret, psk] = crate::pairing::secrets_of(&offer, &request);
    let device = device_secret(1);
    let needles = [
        ("the code's secret", secret.as_slice()),
        ("the PSK", psk.as_slice()),
        ("the device secret", device.as_bytes()),
    ];
    let states = [hub_disk.snapshots(), app_disk.snapshots()].concat();
    assert!(states.len() > 10, "only {} states", states.len());
    for (i, disk) in states.iter().chain([&hub_disk, &app_disk]).enumerate() {
        for (what, needle) in needles {
            assert!(!holds(disk, needle), "{what} in state {i}");
        }
    }
    // The search is not blind: a storage key is where it belongs.
    let key = hub.scopes.get(Scope::Device).unwrap().key.clone();
    assert!(holds(&hub_disk, key.as_slice()));
}

#[test]
fn a_misread_code_does_not_stand_in_the_way_of_the_right_one() {
    let (mut hub, mut app) = both();
    let good = offer(&mut hub);
    let text = good.to_text();
    for at in 0..text.len() {
        let mut bad = text.as_bytes().to_vec();
        bad[at] = if bad[at] == b'A' { b'B' } else { b'A' };
        let bad = String::from_utf8(bad).unwrap();
        assert!(Offer::from_text(&bad).is_err(), "character {at}");
    }
    let mut misread = Offer::from_text(&text).unwrap();
    misread.spoil_secret();
    assert_eq!(
        refused(finish_pairing(&mut hub, &mut app, &misread)),
        PairingError::WrongSecret
    );
    finish_pairing(&mut hub, &mut app, &good).unwrap();
}

#[test]
fn an_expired_offer_dies_with_what_its_phone_left_unfinished() {
    let (mut hub, mut app) = both();
    let offer = offer(&mut hub);
    let request = asked(&mut app, &offer, 8, NOW_S);
    drop(HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap());
    assert_eq!(hub.pairing_ids().len(), 1);
    HubPairing::expire(&mut hub, NOW_S + 601).unwrap();
    assert!(hub.pairing_ids().is_empty());
    assert_eq!(
        refused(HubPairing::request(
            &mut hub,
            &request,
            request.device(),
            NOW_S + 601
        )),
        PairingError::UnknownOffer
    );
}

/// A crash at every disk operation of every step of a pairing, at the end whose step it is: doing it
/// again with the same code finishes it, and the two ends can talk.
#[test]
fn scenario_15_a_pairing_survives_a_crash_at_every_operation() {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    let offer = offer(&mut hub);
    let mut states = 0;

    app_disk.record_snapshots();
    let next = AppPairing::start(&mut app, &offer, DeviceId([8; 32]), NOW_S)
        .unwrap()
        .into_inner();
    states += redo(Role::App, &app_disk, &hub_disk, &offer);
    let AppNext::Request(request) = next else {
        panic!("nothing to confirm yet");
    };

    hub_disk.record_snapshots();
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S)
        .unwrap()
        .into_inner();
    states += redo(Role::Hub, &hub_disk, &app_disk, &offer);

    app_disk.record_snapshots();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S)
        .unwrap()
        .into_inner();
    states += redo(Role::App, &app_disk, &hub_disk, &offer);

    hub_disk.record_snapshots();
    let done = HubPairing::confirm(&mut hub, &confirm)
        .unwrap()
        .into_inner();
    states += redo(Role::Hub, &hub_disk, &app_disk, &offer);

    app_disk.record_snapshots();
    drop(AppPairing::done(&mut app, &confirm, &done).unwrap());
    states += redo(Role::App, &app_disk, &hub_disk, &offer);
    assert!(states > 100, "only {states} states");
}

/// Crashes `victim` in every state that its disk passed through during the last step, with the other
/// end as it stands, and pairs again. How many states that were.
fn redo(victim: Role, watched: &SimDisk, other: &SimDisk, offer: &Offer) -> usize {
    let mut states = 0;
    for (i, snapshot) in watched.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let crashed = snapshot.crash_clone(policy, i as u64);
            let other = other.crash_clone(CrashPolicy::KeepAll, 0);
            let (hub_disk, app_disk) = match victim {
                Role::Hub => (crashed, other),
                Role::App => (other, crashed),
            };
            let mut hub = open(Role::Hub, &hub_disk, 100 + i as u64).unwrap();
            let mut app = open(Role::App, &app_disk, 200 + i as u64).unwrap();
            let pairing = finish_pairing(&mut hub, &mut app, offer)
                .unwrap_or_else(|error| panic!("{victim:?} state {i} {policy:?}: {error}"));
            let line = Line {
                pairing,
                channel: Channel::EventVideo,
            };
            let session = Session::new(line);
            let mut hub = End {
                disk: hub_disk,
                journal: hub,
                session,
            };
            let mut app = End {
                disk: app_disk,
                journal: app,
                session: Session::new(line),
            };
            converge(&mut hub, &mut app);
            states += 1;
        }
    }
    states
}

/// The scopes of offers and pairings that a journal holds keys for.
fn kept(journal: &crate::Journal) -> usize {
    let scopes = journal.scopes.iter();
    scopes
        .filter(|scope| !matches!(scope, Scope::Device))
        .count()
}

fn ask(app: &mut crate::Journal, offer: &Offer) -> Requested {
    match AppPairing::start(app, offer, DeviceId([8; 32]), NOW_S)
        .unwrap()
        .into_inner()
    {
        AppNext::Request(request) => request,
        _ => panic!("nothing to confirm yet"),
    }
}

#[test]
fn a_new_offer_ends_every_other_that_nobody_answered() {
    let (mut hub, mut app) = both();
    let unanswered = offer(&mut hub);
    let answered = offer(&mut hub);
    let request = ask(&mut app, &answered);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let third = offer(&mut hub);
    let mut stranger = open(Role::App, &SimDisk::new(), 3).unwrap();
    let late = ask(&mut stranger, &unanswered);
    assert_eq!(
        refused(HubPairing::request(&mut hub, &late, late.device(), NOW_S)),
        PairingError::UnknownOffer
    );
    // The phone that was answered goes on; so may the next.
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    drop(HubPairing::confirm(&mut hub, &confirm).unwrap());
    finish_pairing(&mut hub, &mut stranger, &third).unwrap();
}

#[test]
fn a_void_offer_dies_whole_and_a_finished_pairing_is_still_answered() {
    let (mut hub, mut app) = both();
    let (empty_hub, empty_app) = (kept(&hub), kept(&app));
    let void = offer(&mut hub);
    let request = ask(&mut app, &void);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let end = |hub: &mut _, offer: &Offer| *HubPairing::end(hub, offer.offer).unwrap();
    assert_eq!(end(&mut hub, &void), OfferEnd::Void);
    assert_eq!(end(&mut hub, &void), OfferEnd::Unknown);
    assert_eq!(kept(&hub), empty_hub);
    assert_eq!(
        refused(HubPairing::confirm(&mut hub, &confirm)),
        PairingError::UnknownOffer
    );
    // The phone hears of it, and keeps nothing either.
    drop(AppPairing::end(&mut app, void.offer).unwrap());
    assert_eq!(kept(&app), empty_app);

    let good = offer(&mut hub);
    let request = ask(&mut app, &good);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    let ended = end(&mut hub, &good);
    let again = HubPairing::confirm(&mut hub, &confirm).unwrap();
    let bytes = |done: &Done| PairingMessage::Done(done.clone()).encode();
    assert_eq!(bytes(&done), bytes(&again));
    let pairing = AppPairing::done(&mut app, &confirm, &again).unwrap();
    assert_eq!(ended, OfferEnd::Paired(*pairing));
    drop(AppPairing::end(&mut app, good.offer).unwrap());
    for journal in [&hub, &app] {
        let known = journal.pairing(*pairing).unwrap().unwrap();
        assert_eq!(known.state, PairingState::Confirmed);
    }
}

#[test]
fn an_app_ends_what_ran_out_but_gives_the_last_word_time() {
    let (mut hub, mut app) = both();
    let empty = kept(&app);
    let asked = offer(&mut hub);
    ask(&mut app, &asked);
    let expires = asked.expires_unix_s;
    AppPairing::expire(&mut app, expires - 1).unwrap();
    assert_ne!(kept(&app), empty);
    AppPairing::expire(&mut app, expires).unwrap();
    assert_eq!(kept(&app), empty);

    let joined = offer(&mut hub);
    let request = ask(&mut app, &joined);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    drop(AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap());
    let over = joined.expires_unix_s + crate::pairing::JOINED_GRACE_S;
    AppPairing::expire(&mut app, over - 1).unwrap();
    assert_eq!(app.pairing_ids().len(), 1);
    AppPairing::expire(&mut app, over).unwrap();
    assert_eq!(kept(&app), empty);
}

/// What a journal keeps of a line: plain rows, envelopes that lie in the log, secret values.
pub(super) fn rows_of(journal: &crate::Journal, line: Line) -> usize {
    use crate::keys;
    let plain = [
        keys::outbox_head(line),
        keys::rollback_proof(line),
        keys::inbox_head(line),
        keys::ack_sent(line),
        keys::epoch_use(line),
        keys::heals(line),
        keys::phone_heard(line.pairing),
        keys::asked_again(line),
        keys::settings_said(line.pairing),
        keys::unheard(line.pairing),
        keys::ended(Scope::Group(line)),
        keys::ended(Scope::Pairing(line.pairing)),
        keys::outbox_prefix(line),
        keys::secret_prefix(Scope::Group(line)),
        keys::secret_prefix(Scope::Pairing(line.pairing)),
    ];
    let small = plain.iter().map(|key| journal.wal.scan(key, key, 10_000));
    let prefix = keys::outbox_prefix(line);
    let large = journal.wal.scan_payloads(&prefix, &prefix, 10_000).unwrap();
    small.map(|rows| rows.unwrap().len()).sum::<usize>() + large.len()
}

/// The phone is killed between its proof and the hub's last word, and its owner scans a new code: the
/// pairing that only the hub has is gone, whole, with what was recorded for it meanwhile.
#[test]
fn a_pairing_that_no_phone_has_ends_when_its_phone_pairs_again() {
    let hub_disk = SimDisk::new();
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let app_disk = SimDisk::new();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    // Another phone, which has not been heard of yet either: none of this is its business.
    let mut other = open(Role::App, &SimDisk::new(), 3).unwrap();
    let others = offer(&mut hub);
    let theirs = finish_pairing_as(DeviceId([9; 32]), &mut hub, &mut other, &others).unwrap();

    let first = offer(&mut hub);
    let request = ask(&mut app, &first);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let dead = HubPairing::confirm(&mut hub, &confirm).unwrap().pairing();
    let line = |pairing| Line {
        pairing,
        channel: Channel::EventVideo,
    };
    let mut hub = Hub {
        disk: hub_disk,
        journal: hub,
        session: Session::new(line(dead)),
    };
    // More than one transaction removes.
    let clip = hub.start_clip();
    for n in 0..2 * crate::TRIM_ROWS_MAX {
        hub.chunk(clip, &n.to_be_bytes());
    }
    hub.finish(clip);
    assert!(rows_of(&hub.journal, line(dead)) > 2 * crate::TRIM_ROWS_MAX as usize);

    let second = offer(&mut hub.journal);
    hub.disk.record_snapshots();
    let pairing = finish_pairing(&mut hub.journal, &mut app, &second).unwrap();
    let snapshots = hub.disk.snapshots();
    let mut both = [theirs, pairing];
    both.sort();
    // A crash on the way: the old one is there whole, or it is gone and what it left goes now.
    for (i, snapshot) in snapshots.iter().enumerate() {
        let disk = snapshot.crash_clone(CrashPolicy::LoseAll, i as u64);
        let mut crashed = open(Role::Hub, &disk, 300 + i as u64).unwrap();
        let there = crashed.pairing_ids().contains(&dead);
        crashed.stage_trims(100, |txn| txn.trim_ended());
        drop(crashed.commit().unwrap());
        assert_eq!(rows_of(&crashed, line(dead)) > 0, there, "state {i}");
    }
    hub.journal.stage_trims(100, |txn| txn.trim_ended());
    drop(hub.journal.commit().unwrap());
    let mut left = hub.journal.pairing_ids();
    left.sort();
    assert_eq!(left, both);
    assert_eq!(rows_of(&hub.journal, line(dead)), 0);
    assert_eq!(hub.journal.outbox_waiting(line(dead)).unwrap(), (0, 0));
    // The old code's last word is not to be had any more.
    assert_eq!(
        refused(HubPairing::confirm(&mut hub.journal, &confirm)),
        PairingError::UnknownOffer
    );
    hub.session = Session::new(line(pairing));
    let mut app = End {
        disk: app_disk,
        journal: app,
        session: Session::new(line(pairing)),
    };
    converge(&mut hub, &mut app);

    // One that has been heard of stays, whatever the same phone does.
    let third = offer(&mut hub.journal);
    let next = finish_pairing(&mut hub.journal, &mut app.journal, &third).unwrap();
    let mut left = hub.journal.pairing_ids();
    left.sort();
    let mut all = [theirs, pairing, next];
    all.sort();
    assert_eq!(left, all);
}

/// Nobody acks what is recorded for it, so how many clips it knows is for the time to say in which the
/// phone does not come back.
#[test]
fn a_pairing_that_knows_more_clips_than_a_transaction_forgets_ends_in_steps() {
    let disk = SimDisk::new();
    let mut journal = open(Role::Hub, &disk, 1).unwrap();
    let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
    let first = offer(&mut journal);
    let request = ask(&mut app, &first);
    let answer = HubPairing::request(&mut journal, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let dead = Line {
        pairing: HubPairing::confirm(&mut journal, &confirm)
            .unwrap()
            .pairing(),
        channel: Channel::EventVideo,
    };
    let mut hub = Hub {
        disk,
        journal,
        session: Session::new(dead),
    };
    hub.record(&[b"nobody sees it"]);
    know_many_clips(&mut hub.journal, dead);

    let second = offer(&mut hub.journal);
    let pairing = finish_pairing(&mut hub.journal, &mut app, &second).unwrap();
    let Hub {
        mut disk,
        mut journal,
        ..
    } = hub;
    let mut left = rows_of(&journal, dead);
    assert!(left > 0, "the test must need more than one step");
    let mut seed = 400;
    while left > 0 {
        // Dead as a whole from the first step on, and the power fails behind each of them.
        assert_eq!(journal.pairing_ids(), [pairing]);
        let readable = journal.hub_clips(dead.pairing).unwrap_or_default();
        assert!(readable.is_empty());
        drop(journal);
        disk = disk.crash_clone(CrashPolicy::LoseAll, seed);
        journal = open(Role::Hub, &disk, seed).unwrap();
        seed += 1;
        journal.stage_trims(1, |txn| txn.trim_ended());
        drop(journal.commit().unwrap());
        let now = rows_of(&journal, dead);
        assert!(now < left, "{now} of {left}");
        left = now;
    }
    assert_eq!(journal.begin().trim_ended().unwrap(), crate::Trim::Idle);
}

#[test]
fn two_pairings_are_independent() {
    let (hub_disk, a_disk, b_disk) = (SimDisk::new(), SimDisk::new(), SimDisk::new());
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut a = open(Role::App, &a_disk, 2).unwrap();
    let mut b = open(Role::App, &b_disk, 3).unwrap();
    let first = pair_journals(&mut hub, &mut a, Suite::Classic);
    let second = HubPairing::offer(&mut hub, terms(Suite::XWing), NOW_S).unwrap();
    let second = finish_pairing_as(DeviceId([9; 32]), &mut hub, &mut b, &second).unwrap();
    let line = |pairing| Line {
        pairing,
        channel: Channel::EventVideo,
    };
    let mut hub = End {
        disk: hub_disk,
        journal: hub,
        session: Session::new(line(first)),
    };
    let mut a = End {
        disk: a_disk,
        journal: a,
        session: Session::new(line(first)),
    };
    converge(&mut hub, &mut a);
    hub.session = Session::new(line(second));
    let mut b = End {
        disk: b_disk,
        journal: b,
        session: Session::new(line(second)),
    };
    converge(&mut hub, &mut b);
}

/// That a last word follows an answer is a matter of types; a journal that is older than the step is still asked. It
/// is the hub that speaks out of turn then: no reason to give up the phone's directory.
#[test]
fn a_last_word_before_an_answer_is_refused_and_changes_nothing() {
    let app_disk = SimDisk::new();
    let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
    let mut app = open(Role::App, &app_disk, 2).unwrap();
    let offer = offer(&mut hub);
    let request = asked(&mut app, &offer, 8, NOW_S);
    let early = app_disk.crash_clone(CrashPolicy::ProcessKill, 0);
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap();
    let done = HubPairing::confirm(&mut hub, &confirm).unwrap();
    let mut early = open(Role::App, &early, 3).unwrap();
    let error = refused(AppPairing::done(&mut early, &confirm, &done));
    assert!(matches!(error, PairingError::Malformed(_)), "{error}");
    drop(AppPairing::answer(&mut early, &request, &answer, NOW_S).unwrap());
    assert_whole(&hub, &mut early, &confirm, &done);
}

/// The hub's own states are the journal's: an answer that another one has taken the place of confirms nothing, and one
/// that was confirmed says the last word again.
#[test]
fn an_answer_that_does_not_stand_any_more_confirms_nothing() {
    let (mut hub, mut app) = both();
    let offer = offer(&mut hub);
    let request = ask(&mut app, &offer);
    let first = HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap();
    let mut again = open(Role::App, &SimDisk::new(), 9).unwrap();
    let newer = asked(&mut again, &offer, 9, NOW_S);
    let second = HubPairing::request(&mut hub, &newer, newer.device(), NOW_S).unwrap();
    let confirm = AppPairing::answer(&mut app, &request, &first, NOW_S).unwrap();
    let lsn = hub.wal.next_lsn();
    let gone = refused(first.confirm(&mut hub, &confirm));
    assert_eq!(gone, PairingError::UnknownOffer);
    let crossed = refused(second.confirm(&mut hub, &confirm));
    assert_eq!(crossed, PairingError::UnknownOffer);
    assert_eq!(hub.wal.next_lsn(), lsn);
    let confirm = AppPairing::answer(&mut again, &newer, &second, NOW_S).unwrap();
    let done = second.confirm(&mut hub, &confirm).unwrap();
    let repeated = second.confirm(&mut hub, &confirm).unwrap();
    assert_eq!(done.to_message().encode(), repeated.to_message().encode());
    let next = HubPairing::resume(&hub, &confirm).unwrap();
    assert!(matches!(next, HubNext::Confirmed(_)));
    assert_whole(&hub, &mut again, &confirm, &done);
}
