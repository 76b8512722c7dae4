//! The four messages of a pairing, each changed at each of its bytes before the honest one comes.
//!
//! Here the attacker is a neighbour on the line between phone and hub: the relay sees none of it. A changed message
//! must be refused as the other side's, write nothing, and cost nothing but the try, which the hub's listener
//! counts. This room must never give an end a message of the other direction.

use crashtest::trouble::Outcome;
use crashtest_sim::node::{Ground, Place, open_journal};
use journal::pairing::{AppNext, Joined, OfferTerms, Requested};
use journal::{
    AppPairing, ErrorKind, HubPairing, Journal, JournalError, PairingMessage, Role, Suite,
};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::DeviceId;

use super::ends::broken;
use super::{Depth, Tally, flip};

const NOW_S: u64 = 1_800_000_000;
const PHONE: DeviceId = DeviceId([8; 32]);

/// One end and its disk.
struct End {
    disk: SimDisk,
    journal: Journal,
}

impl End {
    fn new(role: Role, seed: u64) -> Outcome<Self> {
        let disk = SimDisk::new();
        let ground = Ground::new(Place::Simulated(disk.clone()));
        let opened = open_journal(role, &ground, SeededDice(seed));
        let (journal, _report) = opened.map_err(broken)?;
        Ok(Self { disk, journal })
    }
}

/// Where an end stands, which says what it can hear.
#[derive(Clone, Copy)]
enum Stands<'a> {
    /// A hub that shows a code.
    Offers,
    /// A phone that has asked.
    Asked(&'a Requested),
    /// A phone that has joined.
    Joined(&'a Joined),
}

/// Pairs, each message behind its changed forms.
pub(super) fn attack(depth: Depth, tally: &mut Tally) -> Outcome<()> {
    let (mut hub, mut app) = (End::new(Role::Hub, 1)?, End::new(Role::App, 2)?);
    let terms = OfferTerms {
        hub: DeviceId([7; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite: Suite::XWing,
        ttl_s: 600,
    };
    let offer = HubPairing::offer(&mut hub.journal, terms, NOW_S).map_err(broken)?;
    let offer = offer.into_inner();
    let started = AppPairing::start(&mut app.journal, &offer, PHONE, NOW_S).map_err(broken)?;
    let AppNext::Request(request) = started.into_inner() else {
        return Err(broken("a new pairing begins with a request"));
    };
    let said = request.to_message();
    refuses(&mut hub, Stands::Offers, &said, depth, tally)?;
    let answer = HubPairing::request(&mut hub.journal, &request, PHONE, NOW_S);
    let answer = answer.map_err(broken)?.into_inner();
    let said = answer.to_message();
    refuses(&mut app, Stands::Asked(&request), &said, depth, tally)?;
    let confirm = AppPairing::answer(&mut app.journal, &request, &answer, NOW_S);
    let confirm = confirm.map_err(broken)?.into_inner();
    let said = confirm.to_message();
    refuses(&mut hub, Stands::Offers, &said, depth, tally)?;
    let done = HubPairing::confirm(&mut hub.journal, &confirm);
    let done = done.map_err(broken)?.into_inner();
    let said = done.to_message();
    refuses(&mut app, Stands::Joined(&confirm), &said, depth, tally)?;
    let paired = AppPairing::done(&mut app.journal, &confirm, &done);
    paired.map(drop).map_err(broken)
}

/// Every changed form of a message is refused, and nothing of it is written.
fn refuses(
    end: &mut End,
    stands: Stands<'_>,
    honest: &PairingMessage,
    depth: Depth,
    tally: &mut Tally,
) -> Outcome<()> {
    let mut bytes = honest.encode();
    let before = end.disk.op_count();
    let role = end.journal.role();
    for place in depth.places(bytes.len()) {
        for mask in depth.masks() {
            flip(&mut bytes, place, *mask);
            let heard = PairingMessage::decode(&bytes)
                .ok()
                .and_then(|message| said(&mut end.journal, stands, &message));
            let what = match heard {
                Some(Ok(())) => Some("it was taken".to_owned()),
                Some(Err(error)) if error.kind() != ErrorKind::Peer => Some(error.to_string()),
                _ if end.disk.op_count() != before => Some("it wrote something".to_owned()),
                _ => None,
            };
            if let Some(what) = what {
                return Err(broken(format!(
                    "C6: {role:?} heard a message of a pairing with byte {place} ^ {mask:#04x}: {what}"
                )));
            }
            flip(&mut bytes, place, *mask);
            tally.pairing += 1;
        }
    }
    Ok(())
}

/// Gives an end a message that it takes; `None` for one of the other direction, or out of turn.
fn said(
    journal: &mut Journal,
    stands: Stands<'_>,
    message: &PairingMessage,
) -> Option<Result<(), JournalError>> {
    Some(match (stands, message) {
        (Stands::Offers, PairingMessage::Request(request)) => {
            HubPairing::request(journal, request, PHONE, NOW_S).map(drop)
        }
        (Stands::Offers, PairingMessage::Confirm(confirm)) => {
            HubPairing::confirm(journal, confirm).map(drop)
        }
        (Stands::Asked(asked), PairingMessage::Answer(answer)) => {
            AppPairing::answer(journal, asked, answer, NOW_S).map(drop)
        }
        (Stands::Joined(joined), PairingMessage::Done(done)) => {
            AppPairing::done(journal, joined, done).map(drop)
        }
        _ => return None,
    })
}
