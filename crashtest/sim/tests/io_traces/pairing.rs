//! All steps of a pairing, and what comes to nothing.

use crashtest_sim::node::open_journal;
use crashtest_sim::plan::Who;
use crashtest_sim::run::ways;
use crashtest_sim::world::Pair;
use journal::ids::{Channel, Line, PairingId};
use journal::pairing::{AppNext, Joined, OfferTerms};
use journal::{
    AppPairing, Committer, Durable, HubPairing, Journal, Offer, Role, Session, Suite,
    TRIM_ROWS_MAX, Trim,
};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::DeviceId;

use crate::NOW_S;
use crate::told::{ground, traced};

/// How long an offer stands, in seconds.
pub(crate) const TTL_S: u64 = 600;
/// Who pairs.
pub(crate) const PHONE: DeviceId = DeviceId([2; 32]);

pub(crate) fn offered(hub: &mut Journal) -> Offer {
    let terms = OfferTerms {
        hub: DeviceId([1; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite: Suite::Classic,
        ttl_s: TTL_S,
    };
    HubPairing::offer(hub, terms, NOW_S).unwrap().into_inner()
}

/// Offers that come to nothing.
pub(crate) fn offers(text: &mut String) {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let (mut hub, _) = open_journal(Role::Hub, &ground(&hub_disk), SeededDice(3)).unwrap();
    let (mut app, _) = open_journal(Role::App, &ground(&app_disk), SeededDice(4)).unwrap();
    let offer = offered(&mut hub);
    traced(text, &hub_disk, Who::Hub, "an offer is called off", || {
        drop(HubPairing::end(&mut hub, offer.offer).unwrap());
    });
    drop(offered(&mut hub));
    traced(text, &hub_disk, Who::Hub, "an offer expires", || {
        HubPairing::expire(&mut hub, NOW_S + TTL_S).unwrap();
    });
    let offer = offered(&mut hub);
    drop(AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap());
    traced(text, &app_disk, Who::App, "it gives an offer up", || {
        drop(AppPairing::end(&mut app, offer.offer).unwrap());
    });
    let offer = offered(&mut hub);
    drop(AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap());
    traced(text, &app_disk, Who::App, "an offer expires", || {
        AppPairing::expire(&mut app, NOW_S + TTL_S).unwrap();
    });
    HubPairing::expire(&mut hub, NOW_S + TTL_S).unwrap();
}

/// First starts, and all steps of a pairing.
pub(crate) fn pairing(text: &mut String) -> Pair {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = traced(
        text,
        &hub_disk,
        Who::Hub,
        "a first start on an empty directory",
        || {
            open_journal(Role::Hub, &ground(&hub_disk), SeededDice(1))
                .unwrap()
                .0
        },
    );
    let mut app = traced(
        text,
        &app_disk,
        Who::App,
        "a first start on an empty directory",
        || {
            open_journal(Role::App, &ground(&app_disk), SeededDice(2))
                .unwrap()
                .0
        },
    );
    let offer = traced(text, &hub_disk, Who::Hub, "it makes an offer", || {
        offered(&mut hub)
    });
    let next = traced(
        text,
        &app_disk,
        Who::App,
        "it takes the code and makes its request",
        || AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap(),
    );
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new pairing begins with a request");
    };
    let answer = traced(
        text,
        &hub_disk,
        Who::Hub,
        "it answers a request: five new groups",
        || HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap(),
    );
    let confirm = traced(
        text,
        &app_disk,
        Who::App,
        "it takes the answer and joins",
        || AppPairing::answer(&mut app, &request, &answer, NOW_S).unwrap(),
    );
    let done = traced(
        text,
        &hub_disk,
        Who::Hub,
        "it takes the proof: the phone is paired, and the offer is over",
        || HubPairing::confirm(&mut hub, &confirm).unwrap(),
    );
    let pairing = traced(
        text,
        &app_disk,
        Who::App,
        "it hears that it is paired",
        || AppPairing::done(&mut app, &confirm, &done).unwrap(),
    );
    let pairing = pairing.into_inner();

    let ways = (ways(&hub, pairing).unwrap(), ways(&app, pairing).unwrap());
    drop((hub, app));
    Pair {
        hub: hub_disk,
        app: app_disk,
        ways,
    }
}

/// Another phone beside those that the hub has.
pub(crate) fn beside(hub: &mut Journal, app: &mut Journal, device: DeviceId) -> PairingId {
    let offer = offered(hub);
    let confirm = joined(hub, app, &offer, device);
    let done = HubPairing::confirm(hub, &confirm).unwrap();
    drop(AppPairing::done(app, &confirm, &done).unwrap());
    done.pairing()
}

/// The proof of a phone that it has joined by this offer.
fn joined(
    hub: &mut Journal,
    app: &mut Journal,
    offer: &Offer,
    device: DeviceId,
) -> Durable<Joined> {
    let next = AppPairing::start(app, offer, device, NOW_S).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new pairing begins with a request");
    };
    let answer = HubPairing::request(hub, &request, request.device(), NOW_S).unwrap();
    AppPairing::answer(app, &request, &answer, NOW_S).unwrap()
}

/// A clip that leaves more rows in the outbox than two transactions remove.
fn record_for(hub: &mut Journal, line: Line) {
    let mut session = Session::<Committer>::new(line);
    let now_ms = NOW_S * 1_000;
    let mut txn = hub.begin();
    let clip = session.start_clip(&mut txn, "door", "video/mp4", now_ms);
    let clip = txn.commit(clip.unwrap()).unwrap().into_inner();
    for n in 0..2 * TRIM_ROWS_MAX {
        let mut txn = hub.begin();
        let seq = session.append_chunk(&mut txn, clip, &n.to_be_bytes(), now_ms);
        drop(txn.commit(seq.unwrap()).unwrap());
    }
    let mut txn = hub.begin();
    let end = session.finish_clip(&mut txn, clip, now_ms);
    drop(txn.commit(end.unwrap()).unwrap());
}

/// A phone that was interrupted before the last word pairs again. Only the hub held its first pairing
/// for whole, and that ends with the second.
pub(crate) fn again(text: &mut String) {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let (mut hub, _) = open_journal(Role::Hub, &ground(&hub_disk), SeededDice(51)).unwrap();
    let (mut app, _) = open_journal(Role::App, &ground(&app_disk), SeededDice(52)).unwrap();
    let first = offered(&mut hub);
    let confirm = joined(&mut hub, &mut app, &first, PHONE);
    let dead = HubPairing::confirm(&mut hub, &confirm).unwrap().pairing();
    record_for(&mut hub, Line::of(dead, Channel::EventVideo));

    let second = offered(&mut hub);
    let confirm = joined(&mut hub, &mut app, &second, PHONE);
    let step = "it takes the proof of a phone that pairs again: the old pairing is over";
    let done = traced(text, &hub_disk, Who::Hub, step, || {
        HubPairing::confirm(&mut hub, &confirm).unwrap()
    });
    assert_ne!(done.pairing(), dead);
    assert_eq!(hub.pairing_ids(), [done.pairing()]);
    let step = "what the old pairing left is removed in steps";
    let steps = traced(text, &hub_disk, Who::Hub, step, || {
        let steps = hub.stage_trims(100, |txn| txn.trim_ended()).steps;
        drop(hub.commit().unwrap());
        steps
    });
    assert_eq!(steps, 2, "the first rows went with the pairing");
    assert_eq!(hub.begin().trim_ended().unwrap(), Trim::Idle);

    drop(AppPairing::done(&mut app, &confirm, &done).unwrap());
    let step = "it gives up what it had joined and never heard of again";
    traced(text, &app_disk, Who::App, step, || {
        drop(AppPairing::end(&mut app, first.offer).unwrap());
    });
    assert_eq!(app.pairing_ids(), [done.pairing()]);
}
