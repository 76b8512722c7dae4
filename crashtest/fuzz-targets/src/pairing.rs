//! The messages of a pairing: read off a stream, decoded, and heard by a hub that offers and by a phone that has asked; and
//! before them the question for a code by the secret that is printed on a device.
//!
//! Whoever stands beside the hub may say any of it. What is refused leaves the disk as it was; what is
//! accepted is the honest message, because each carries a MAC or a proof over all of it.

use std::cell::RefCell;

use journal::pairing::{AppNext, Ask, Joined, Offered, PAIRING_MESSAGE_BYTES_MAX, Requested};
use journal::{
    AppPairing, DeviceSecret, ErrorKind, HubPairing, Journal, JournalError, PairingError,
    PairingMessage, Role,
};
use wal::disk::SimDisk;
use wire::ids::DeviceId;

use crate::input::Input;
use crate::pair::{NOW_S, PHONE, copy, offered, open, terms};

/// Any bytes are a message or none, and what is one can be said again.
pub(crate) fn message(data: &[u8]) {
    match PairingMessage::decode(data) {
        Ok(message) => {
            assert!(data.len() <= PAIRING_MESSAGE_BYTES_MAX);
            let spelt = message.encode();
            assert!(spelt.len() <= data.len());
            let again = PairingMessage::decode(&spelt).expect("what was decoded is a message");
            assert_eq!(again.encode(), spelt);
        }
        Err(error) => assert!(matches!(error, PairingError::Malformed(_))),
    }
}

/// A stream of messages, each behind its length: they come out as they went in, and of one that is longer than any may be
/// nothing is read but that.
pub(crate) fn stream(data: &[u8]) {
    let (messages, is_broken) = hub::pairing::messages_in(data);
    let mut rest = data;
    for message in &messages {
        let next = next_in(rest).expect("a message that was read is there");
        assert_eq!(message, next.0);
        rest = next.1;
    }
    if is_broken {
        assert!(!rest.is_empty() && next_in(rest).is_none());
    } else {
        assert!(rest.is_empty() || messages.len() == MESSAGES_MAX);
    }
}

/// Messages that a hub hears on one connection.
const MESSAGES_MAX: usize = 4;

/// The message with which a stream begins, and what stands behind it; `None` if not all of it is there.
fn next_in(stream: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = stream.split_first_chunk()?;
    let length = u32::from_be_bytes(*length) as usize;
    match length > PAIRING_MESSAGE_BYTES_MAX {
        true => rest.split_at_checked(0),
        false => rest.split_at_checked(length),
    }
}

thread_local! {
    static HUB: RefCell<Stage> = RefCell::new(Stage::new(Role::Hub));
    static APP: RefCell<Stage> = RefCell::new(Stage::new(Role::App));
    static PRINTED: RefCell<Printed> = RefCell::new(Printed::new());
}

/// A hub that offers, and then one that has answered.
pub(crate) fn hub(data: &[u8]) {
    HUB.with_borrow_mut(|stage| stage.hear(data));
}

/// A phone that has asked, and then one that has joined.
pub(crate) fn app(data: &[u8]) {
    APP.with_borrow_mut(|stage| stage.hear(data));
}

/// A phone that has a device's secret asks for the code: any question to the hub, any answer to the phone.
pub(crate) fn printed(data: &[u8]) {
    PRINTED.with_borrow_mut(|stage| {
        let mut input = Input::new(data);
        match input.flag() {
            true => stage.question(input),
            false => stage.answer(input),
        }
    });
}

/// A hub in pairing mode, and a phone's question to it.
struct Printed {
    hub: Journal,
    hub_disk: SimDisk,
    secret: DeviceSecret,
    /// As it was asked, and another one of the same phone.
    asks: [Ask; 2],
    honest: Offered,
}

impl Printed {
    fn new() -> Self {
        let hub_disk = SimDisk::new();
        let mut hub = open(Role::Hub, &hub_disk, 1).expect("an empty disk opens");
        let mut app = open(Role::App, &SimDisk::new(), 2).expect("an empty disk opens");
        let _stands = offered(&mut hub);
        let secret = hub.device().expect("our own storage").secret;
        let secret = DeviceSecret::from_bytes(&secret).expect("a hub's own secret is one");
        let asks = [Ask::new(&mut app), Ask::new(&mut app)];
        let honest = HubPairing::asked(&mut hub, &asks[0], NOW_S).expect("an offer stands");
        Self {
            hub,
            hub_disk,
            secret,
            asks,
            honest,
        }
    }

    /// To the hub: it answers whoever asks, and nothing changes.
    fn question(&mut self, mut input: Input<'_>) {
        let mut bytes = PairingMessage::Ask(self.asks[0].clone()).encode();
        input.edit(&mut bytes);
        let Ok(PairingMessage::Ask(ask)) = PairingMessage::decode(&bytes) else {
            return;
        };
        let before = self.hub_disk.totals();
        let answer = HubPairing::asked(&mut self.hub, &ask, NOW_S).expect("an offer stands");
        assert_eq!(self.hub_disk.totals(), before, "a question wrote something");
        let offer = self.secret.open(&ask, &answer, terms().hub);
        assert!(
            offer.is_ok(),
            "whoever has the secret cannot open the answer"
        );
    }

    /// To the phone: it believes the honest answer to its own question, from the hub that the code names.
    fn answer(&mut self, mut input: Input<'_>) {
        let (which, other_hub) = (input.below(2), input.flag());
        let honest = PairingMessage::Offered(self.honest.clone()).encode();
        let mut bytes = honest.clone();
        input.edit(&mut bytes);
        let Ok(message) = PairingMessage::decode(&bytes) else {
            return;
        };
        let is_honest = message.encode() == honest && which == 0 && !other_hub;
        let PairingMessage::Offered(offered) = message else {
            return;
        };
        let hub = match other_hub {
            true => DeviceId([9; 32]),
            false => terms().hub,
        };
        let opened = self.secret.open(&self.asks[which], &offered, hub);
        match opened {
            Ok(_) => assert!(is_honest, "an altered answer was believed"),
            Err(error) => {
                assert!(!is_honest, "{error}");
                assert_eq!(error, PairingError::WrongSecret);
            }
        }
    }
}

/// One end before its first message and before its second.
struct Stage {
    role: Role,
    asked: Requested,
    joined: Joined,
    moments: [Moment; 2],
}

/// An end that waits for a message.
struct Moment {
    /// As it was; each run that changes something starts here again.
    disk: SimDisk,
    journal: Journal,
    running: SimDisk,
    honest: Vec<u8>,
}

impl Moment {
    fn new(role: Role, disk: &SimDisk, honest: &PairingMessage) -> Self {
        let (disk, running) = (copy(disk), copy(disk));
        let journal = open(role, &running, 7).expect("a copy opens");
        Self {
            disk,
            journal,
            running,
            honest: honest.encode(),
        }
    }

    fn start_again(&mut self, role: Role) {
        self.running = copy(&self.disk);
        self.journal = open(role, &self.running, 7).expect("a copy opens");
    }
}

impl Stage {
    fn new(role: Role) -> Self {
        let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
        let mut hub = open(Role::Hub, &hub_disk, 1).expect("an empty disk opens");
        let mut app = open(Role::App, &app_disk, 2).expect("an empty disk opens");
        let offer = offered(&mut hub);
        let AppNext::Request(request) = AppPairing::start(&mut app, &offer, PHONE, NOW_S)
            .expect("a new offer can be asked about")
            .into_inner()
        else {
            panic!("a new pairing begins with a request");
        };
        let hub_before = copy(&hub_disk);
        let app_before = copy(&app_disk);
        let answer = HubPairing::request(&mut hub, &request, PHONE, NOW_S)
            .expect("an honest request is answered")
            .into_inner();
        let joined = AppPairing::answer(&mut app, &request, &answer, NOW_S)
            .expect("an honest answer is taken")
            .into_inner();
        let (hub_between, app_between) = (copy(&hub_disk), copy(&app_disk));
        let done = HubPairing::confirm(&mut hub, &joined)
            .expect("an honest proof is taken")
            .into_inner();
        let heard = match role {
            Role::Hub => [
                (hub_before, request.to_message()),
                (hub_between, joined.to_message()),
            ],
            Role::App => [
                (app_before, answer.to_message()),
                (app_between, done.to_message()),
            ],
        };
        Self {
            role,
            asked: request,
            joined,
            moments: heard.map(|(disk, honest)| Moment::new(role, &disk, &honest)),
        }
    }

    fn hear(&mut self, data: &[u8]) {
        let mut input = Input::new(data);
        let which = input.below(2);
        // The honest message of either moment may come in either.
        let mut bytes = self.moments[input.below(2)].honest.clone();
        input.edit(&mut bytes);
        let Ok(message) = PairingMessage::decode(&bytes) else {
            return;
        };
        let known = self
            .moments
            .iter()
            .any(|moment| moment.honest == message.encode());
        let moment = &mut self.moments[which];
        let before = moment.running.totals();
        match said(&mut moment.journal, &self.asked, &self.joined, &message) {
            Some(Ok(())) => {
                // Who has joined says again what it said, whatever the Answer, and keeps nothing of it.
                let repeats = which == 1 && matches!(message, PairingMessage::Answer(_));
                assert!(
                    known || repeats,
                    "an altered message of a pairing was accepted"
                );
                moment.start_again(self.role);
            }
            Some(Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Peer, "{error}");
                assert_eq!(moment.running.totals(), before, "a refusal wrote something");
            }
            None => {}
        }
    }
}

/// Gives an end a message that it takes; `None` for one of the other direction.
fn said(
    journal: &mut Journal,
    asked: &Requested,
    joined: &Joined,
    message: &PairingMessage,
) -> Option<Result<(), JournalError>> {
    Some(match (journal.role(), message) {
        (Role::Hub, PairingMessage::Request(request)) => {
            HubPairing::request(journal, request, request.device(), NOW_S).map(drop)
        }
        (Role::Hub, PairingMessage::Confirm(confirm)) => {
            HubPairing::confirm(journal, confirm).map(drop)
        }
        (Role::App, PairingMessage::Answer(answer)) => {
            AppPairing::answer(journal, asked, answer, NOW_S).map(drop)
        }
        (Role::App, PairingMessage::Done(done)) => {
            AppPairing::done(journal, joined, done).map(drop)
        }
        _ => return None,
    })
}
