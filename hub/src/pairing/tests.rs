//! The pairing listener over loopback: every kind of wrong looks the same, and a void offer is gone.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding as _};
use journal::ids::PairingId;
use journal::pairing::{AppNext, Joined, REFUSAL, Requested};
use journal::{AppPairing, Journal, JournalError, PairingError, PairingMessage, Role};
use pairing_lan::{Browse, Lan, Where};
use relay_client::rpk::EndpointLimits;
use sha2::Digest as _;
use tokio::sync::oneshot;
use wal::disk::SimDisk;
use wire::ids::{DeviceId, RelayId};

use super::*;
use crate::core::CoreError;
use crate::core::tests::world::{HandClock, NOW_MS, World, open};
use crate::sealer::{self, SealerThread};

/// Every wait in these tests ends after this, as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whose key every connection of these tests shows.
const SPEAKER: [u8; 32] = [9; 32];

struct Hub {
    sealer: Sealer,
    _thread: SealerThread,
    clock: HandClock,
}

impl Hub {
    fn new(seed: u64) -> Self {
        let clock = HandClock::default();
        let (sealer, thread) = sealer::start(World::with_dice(seed).core, clock.clone()).unwrap();
        Self {
            sealer,
            _thread: thread,
            clock,
        }
    }

    /// Shows a code: its text, and how the pairing ends. It is stopped by the sender.
    async fn show(&self, lasts: Duration) -> Showing {
        self.show_nearby(lasts, Where::Nowhere).await
    }

    /// The same, announced there.
    async fn show_nearby(&self, lasts: Duration, announce: Where) -> Showing {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, mut steps) = mpsc::channel(STEPS_MAX);
        let (sealer, clock) = (self.sealer.clone(), self.clock.clone());
        let task = tokio::spawn(async move {
            let config = PairingConfig {
                listen: "127.0.0.1:0".parse().unwrap(),
                addresses: Vec::new(),
                suite: journal::Suite::Classic,
                offer: lasts,
                announce,
            };
            let relay = relay_client::RelayAddress {
                host: "relay".into(),
                port: 1,
                relay_id: RelayId([0; 32]),
            };
            let place = Place::new(&config, &relay, &sealer, &clock)?;
            let stop = pin!(async {
                let _stopped = stopped.await;
            });
            place
                .offer(vec![1], Bucket::new(1_000, 1), &tell, stop)
                .await
        });
        let Some(Step::Offer { text, .. }) = steps.recv().await else {
            panic!("first the code is shown: {:?}", task.await.unwrap());
        };
        Showing {
            offer: Offer::from_text(&text).unwrap(),
            stop,
            task,
            steps,
        }
    }

    /// What the hub says to a request, without a network.
    async fn judge(&self, request: Requested) -> Result<(), SealerError> {
        let step = move |core: &mut crate::core::Core, now: u64| {
            core.with_journal(now, |journal| {
                HubPairing::request(journal, &request, request.device(), now / 1000)
            })
        };
        self.sealer.run(step).await.map(drop)
    }

    async fn does_not_know(&self, offer: &Offer) {
        let judged = self.judge(request(offer)).await;
        let unknown = matches!(
            judged,
            Err(SealerError::Core(CoreError::Journal(
                JournalError::Pairing(PairingError::UnknownOffer)
            )))
        );
        assert!(unknown, "{judged:?}");
    }
}

struct Showing {
    offer: Offer,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Result<Ended, Failure>>,
    steps: mpsc::Receiver<Step>,
}

fn phone() -> Journal {
    open(Role::App, &SimDisk::new(), 70).unwrap().0
}

/// Who shows [`SPEAKER`] on every connection.
fn speaker() -> DeviceId {
    Identity::from_seed(SPEAKER).device_id()
}

/// The one message of an answer.
fn heard(answer: &[u8]) -> PairingMessage {
    PairingMessage::decode(answer.get(4..).unwrap_or_default()).unwrap()
}

fn request(offer: &Offer) -> Requested {
    request_of(offer, Identity::from_seed(SPEAKER).device_id())
}

fn request_of(offer: &Offer, device: DeviceId) -> Requested {
    let next = AppPairing::start(&mut phone(), offer, device, 0);
    match next.unwrap().into_inner() {
        AppNext::Request(request) => request,
        _ => panic!("a new phone has nothing to confirm"),
    }
}

/// The code with one bit of its secret changed, and a checksum that fits.
fn with_another_secret(offer: &Offer) -> Offer {
    let text = offer.to_text();
    let (prefix, body) = text.split_at("SECLUSO1:".len());
    let mut bytes = Base64UrlUnpadded::decode_vec(body).unwrap();
    let end = bytes.len() - 4;
    // Behind the 16 bytes of the offer's name.
    bytes[20] ^= 1;
    let sum = sha2::Sha256::digest(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum[..4]);
    let body = Base64UrlUnpadded::encode_string(&bytes);
    Offer::from_text(&format!("{prefix}{body}")).unwrap()
}

/// A phone's proof that it has joined the group of this offer.
async fn confirm_at(hub: &Hub, offer: &Offer) -> Vec<u8> {
    let mut phone = phone();
    let next = AppPairing::start(&mut phone, offer, DeviceId([3; 32]), 0).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new phone has nothing to confirm");
    };
    let asked = request.clone();
    let answer = hub
        .sealer
        .run(move |core, now| {
            core.with_journal(now, |journal| {
                HubPairing::request(journal, &asked, asked.device(), now / 1000)
            })
        })
        .await
        .unwrap();
    let confirm = AppPairing::answer(&mut phone, &request, &answer, 0).unwrap();
    confirm.to_message().encode()
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

/// Says this on a connection of its own and gives what comes back until the hub has no more to say.
async fn say(offer: &Offer, frame: &[u8]) -> Vec<u8> {
    let told = async {
        let address: SocketAddr = offer.addresses[0].parse().unwrap();
        let identity = Identity::from_seed(SPEAKER);
        let limits = EndpointLimits::default();
        let (endpoint, connection) =
            rpk::client_connect(address, &identity, offer.hub, ALPN, &limits)
                .await
                .unwrap();
        let (mut send, mut receive) = connection.open_bi().await.unwrap();
        send.write_all(frame).await.unwrap();
        // Nothing follows, so that an answer is the last word as well.
        send.finish().unwrap();
        let answer = receive.read_to_end(1 << 20).await.unwrap();
        connection.close(0_u32.into(), b"");
        endpoint.wait_idle().await;
        answer
    };
    tokio::time::timeout(PATIENCE, told).await.expect("in time")
}

#[tokio::test]
async fn every_kind_of_wrong_is_answered_with_the_same_bytes() {
    let (hub, elsewhere) = (Hub::new(1_000), Hub::new(5_000));
    let shown = hub.show(PATIENCE).await;
    let offer = &shown.offer;
    let other = elsewhere.show(PATIENCE).await;
    let good = request(offer).to_message().encode();
    let mut altered = good.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    let guessed = with_another_secret(offer);
    let elsewhere_confirmed = confirm_at(&elsewhere, &other.offer).await;
    let out_of_turn = PairingMessage::Refused("no phone says this".into());
    let another = request_of(offer, DeviceId([3; 32]));
    let wrong: [(&str, Vec<u8>); 10] = [
        (
            "the name of another phone",
            frame(&another.to_message().encode()),
        ),
        ("garbage", frame(&[0xff; 40])),
        ("nothing", frame(&[])),
        ("too long", u32::MAX.to_be_bytes().to_vec()),
        ("half of a request", frame(&good[..middle])),
        ("an altered request", frame(&altered)),
        (
            "the code of another hub",
            frame(&request(&other.offer).to_message().encode()),
        ),
        (
            "a guessed secret",
            frame(&request(&guessed).to_message().encode()),
        ),
        ("the proof of another pairing", frame(&elsewhere_confirmed)),
        ("out of turn", frame(&out_of_turn.encode())),
    ];
    let refusal = frame(&PairingMessage::Refused(REFUSAL.into()).encode());
    for (kind, said) in &wrong {
        assert_eq!(say(offer, said).await, refusal, "{kind}");
    }
    hub.clock.set_unix_ms(NOW_MS + 3_600_000);
    assert_eq!(say(offer, &frame(&good)).await, refusal, "expired");
    hub.clock.set_unix_ms(NOW_MS);
    assert_ne!(say(offer, &frame(&good)).await, refusal, "nothing is wrong");
    assert!((wrong.len() as u32) < listener::FAILURES_MAX);
    let _gone = shown.stop.send(());
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Stopped);
}

/// A Pi without a battery clock begins in 1970: no phone would take its code.
#[tokio::test]
async fn a_clock_that_was_never_set_makes_no_code() {
    let hub = Hub::new(1_000);
    let config = PairingConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        addresses: Vec::new(),
        suite: journal::Suite::Classic,
        offer: PATIENCE,
        announce: Where::Nowhere,
    };
    let relay = relay_client::RelayAddress {
        host: "relay".into(),
        port: 1,
        relay_id: RelayId([0; 32]),
    };
    for (unix_ms, good) in [
        (0, false),
        (CLOCK_UNIX_MS_MIN - 1, false),
        (CLOCK_UNIX_MS_MIN, true),
    ] {
        hub.clock.set_unix_ms(unix_ms);
        match Place::new(&config, &relay, &hub.sealer, &hub.clock) {
            Ok(_place) => assert!(good),
            Err(failure) => {
                assert!(!good);
                assert_eq!(failure.code, Code::Usage);
                assert!(failure.message.contains("clock"), "{failure}");
            }
        }
    }
}

/// A phone that has the device secret gets the code that is shown, in pairing mode; the answer is of no use to
/// anybody else, and asking uses up no tries.
#[tokio::test]
async fn who_has_the_device_secret_is_told_the_code() {
    let hub = Hub::new(1_000);
    let shown = hub.show(PATIENCE).await;
    let device = hub
        .sealer
        .run(|core, now| core.with_journal(now, Journal::device))
        .await
        .unwrap();
    let secret = journal::DeviceSecret::from_bytes(&device.secret).unwrap();
    for _try in 0..=listener::FAILURES_MAX {
        let ask = journal::pairing::Ask::new(&mut phone());
        let frames = say(
            &shown.offer,
            &frame(&PairingMessage::Ask(ask.clone()).encode()),
        )
        .await;
        let Ok(PairingMessage::Offered(offered)) = PairingMessage::decode(&frames[4..]) else {
            panic!("it is an offer");
        };
        let opened = secret.open(&ask, &offered, shown.offer.hub).unwrap();
        assert_eq!(opened.to_text(), shown.offer.to_text());
    }
    hub.judge(request(&shown.offer)).await.unwrap();
    let _gone = shown.stop.send(());
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Stopped);
}

#[tokio::test]
async fn after_too_many_failures_the_offer_is_void() {
    let hub = Hub::new(1_000);
    let shown = hub.show(PATIENCE).await;
    hub.judge(request(&shown.offer)).await.unwrap();
    for _ in 0..listener::FAILURES_MAX {
        say(&shown.offer, &frame(&[0xff])).await;
    }
    let failure = shown.task.await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::NotAdmitted);
    assert!(failure.message.contains("void"), "{failure}");
    hub.does_not_know(&shown.offer).await;
}

/// The phone's proof is taken in the moment in which the pairing is stopped, or given up; or the
/// phone repeats it, because it did not hear the answer.
#[tokio::test]
async fn a_phone_that_was_confirmed_is_reported_whatever_ends_the_offer() {
    for end in ["stopped", "given up", "repeated"] {
        let hub = Hub::new(1_000);
        let mut shown = hub.show(PATIENCE).await;
        let proof = confirm_at(&hub, &shown.offer).await;
        let Ok(PairingMessage::Confirm(confirm)) = PairingMessage::decode(&proof) else {
            panic!("it is the proof");
        };
        let confirmed = hub.sealer.run(move |core, now| {
            core.with_journal(now, |journal| HubPairing::confirm(journal, &confirm))
        });
        let pairing = confirmed.await.unwrap().pairing();
        let mut stop = Some(shown.stop);
        match end {
            "stopped" => drop(stop.take()),
            "repeated" => drop(say(&shown.offer, &frame(&proof)).await),
            _ => {
                for _ in 0..listener::FAILURES_MAX {
                    say(&shown.offer, &frame(&[0xff])).await;
                }
            }
        }
        assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Paired, "{end}");
        let said = shown.steps.recv().await;
        assert!(
            matches!(said, Some(Step::Paired { phone }) if phone == pairing.short()),
            "{end}"
        );
        assert!(shown.steps.recv().await.is_none(), "one end, said once");
    }
}

/// One that is paired, and lost perhaps, must not keep its owner from pairing the next.
#[tokio::test]
async fn a_phone_that_paired_before_has_its_last_word_again_and_ends_no_other_pairing() {
    let hub = Hub::new(1_000);
    let mut shown = hub.show(PATIENCE).await;
    let mut app = phone();
    let joined = joins(&mut app, &shown.offer).await;
    let first = proves(&mut app, &shown.offer, &joined).await;
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Paired);
    let said = shown.steps.recv().await;
    assert!(matches!(said, Some(Step::Paired { phone }) if phone == first.short()));

    let mut shown = hub.show(PATIENCE).await;
    let again = frame(&joined.to_message().encode());
    for _ in 0..2 {
        assert!(matches!(
            heard(&say(&shown.offer, &again).await),
            PairingMessage::Done(done) if done.pairing() == first
        ));
    }
    let mut newcomer = open(Role::App, &SimDisk::new(), 71).unwrap().0;
    let joined = joins(&mut newcomer, &shown.offer).await;
    let second = proves(&mut newcomer, &shown.offer, &joined).await;
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Paired);
    let said = shown.steps.recv().await;
    assert!(matches!(said, Some(Step::Paired { phone }) if phone == second.short()));
}

/// A phone that was interrupted has the old code and no other address.
#[tokio::test]
async fn an_open_port_is_that_of_last_time_unless_somebody_has_it() {
    let hub = Hub::new(1_000);
    let mut at = Vec::new();
    for taken in [false, false, true, false] {
        let last = at.last().copied();
        let _held = taken.then(|| std::net::UdpSocket::bind(last.unwrap()).unwrap());
        let shown = hub.show(PATIENCE).await;
        let address: SocketAddr = shown.offer.addresses[0].parse().unwrap();
        assert_eq!(last.is_some_and(|last| last != address), taken, "{at:?}");
        at.push(address);
        let _gone = shown.stop.send(());
        assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Stopped);
    }
}

#[tokio::test]
async fn an_offer_ends_with_its_time_and_with_whoever_asked_for_it() {
    let hub = Hub::new(1_000);
    let mut shown = hub.show(PATIENCE).await;
    hub.judge(request(&shown.offer)).await.unwrap();
    let _gone = shown.stop.send(());
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Stopped);
    assert!(matches!(shown.steps.recv().await, Some(Step::Stopped)));
    hub.does_not_know(&shown.offer).await;

    let shown = hub.show(Duration::from_millis(1)).await;
    let failure = shown.task.await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::NotAdmitted);
    assert!(failure.message.contains("void"), "{failure}");
    hub.does_not_know(&shown.offer).await;
}

/// Over a real multicast group, on loopback: a phone that knows no address but has read the code.
#[tokio::test]
async fn who_has_read_the_code_finds_the_hub_in_its_network_and_pairs_there() {
    let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let lan = Lan {
        interface: Ipv4Addr::LOCALHOST,
        port: free.local_addr().unwrap().port(),
    };
    drop(free);
    if let Err(error) = lan.check() {
        let test = "who_has_read_the_code_finds_the_hub_in_its_network_and_pairs_there";
        let line = format!("\nNOT COVERED: {test}: no multicast on loopback ({error})\n");
        let _gone = std::io::stderr().write_all(line.as_bytes());
        return;
    }
    let hub = Hub::new(1_000);
    let shown = hub.show_nearby(PATIENCE, Where::At(lan)).await;
    let mut offer = shown.offer.clone();
    let said = std::mem::take(&mut offer.addresses);
    let tag = OfferTag(offer.lan_tag());
    let mut browse = Browse::start(lan, Some(tag), 7).unwrap();
    let found = tokio::time::timeout(PATIENCE, browse.next()).await;
    offer.addresses = vec![found.expect("in time").to_string()];
    assert_eq!(offer.addresses, said);
    let mut app = phone();
    let joined = joins(&mut app, &offer).await;
    let _pairing = proves(&mut app, &offer, &joined).await;
    assert_eq!(shown.task.await.unwrap().unwrap(), Ended::Paired);
}

/// Where the next start can listen again.
fn fixed() -> PairingConfig {
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let listen = port.local_addr().unwrap();
    drop(port);
    PairingConfig {
        listen,
        addresses: Vec::new(),
        suite: journal::Suite::Classic,
        offer: PATIENCE,
        announce: Where::Nowhere,
    }
}

/// A phone has asked for a code, and it is on its way: the offer, and that phone.
fn passed_on(world: &mut World, config: &PairingConfig) -> (Offer, PairingId) {
    let (core, asks) = world.ends();
    asks.order(journal::message::CommandKind::Invite);
    let _taken = asks.talk(core);
    let invite = core.wishes().invite.unwrap();
    let seed = core
        .with_journal(NOW_MS, Journal::device)
        .unwrap()
        .identity_seed;
    let terms = OfferTerms {
        hub: Identity::from_seed(*seed).device_id(),
        addresses: addresses::of(config, config.listen.port()),
        relay: "relay".into(),
        invitation: vec![1],
        suite: config.suite,
        ttl_s: config.offer.as_secs(),
    };
    let offer = core.make_invite(invite, terms, NOW_MS).unwrap().unwrap();
    core.commit(NOW_MS).unwrap();
    (offer, invite.by)
}

/// Does this while the hub listens for what its phones pass on, and until it listens no more.
async fn while_served<T>(
    sealer: &Sealer,
    config: &PairingConfig,
    work: impl Future<Output = T>,
) -> T {
    let clock = HandClock::default();
    let relay = relay_client::RelayAddress {
        host: "127.0.0.1".into(),
        port: 9,
        relay_id: RelayId([0; 32]),
    };
    let nobody = crate::uplink::UplinkConfig {
        relay: relay.clone(),
        invitation: None,
        traffic: None,
    };
    let (uplink, task) = crate::uplink::start(
        nobody,
        sealer.clone(),
        crate::camera::TokioClock::new(),
        || 0,
    );
    task.abort();
    let turn = Turn::default();
    let now = || config.clone();
    let inviter = Inviter {
        config: &now,
        may_invite: crate::core::MayInvite::Yes,
        relay: &relay,
        sealer,
        uplink: &uplink,
        clock: &clock,
        turn: &turn,
    };
    let mut wishes = sealer.wishes();
    let work = async {
        let done = work.await;
        let ended = wishes.wait_for(|wishes| wishes.invite.is_none());
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        drop(ended.expect("in time").unwrap());
        done
    };
    tokio::select! {
        done = work => done,
        () = inviter.run() => panic!("the journal is there"),
    }
}

/// A new phone asks, and joins by the answer.
async fn joins(app: &mut Journal, offer: &Offer) -> Joined {
    let next = AppPairing::start(app, offer, speaker(), NOW_MS / 1000).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new phone has nothing to confirm");
    };
    let said = frame(&request.to_message().encode());
    let PairingMessage::Answer(answer) = heard(&say(offer, &said).await) else {
        panic!("it is no answer");
    };
    let joined = AppPairing::answer(app, &request, &answer, NOW_MS / 1000);
    joined.unwrap().into_inner()
}

/// The pairing that the hub's last word makes whole.
async fn proves(app: &mut Journal, offer: &Offer, joined: &Joined) -> PairingId {
    let said = frame(&joined.to_message().encode());
    let PairingMessage::Done(done) = heard(&say(offer, &said).await) else {
        panic!("it is not the last word");
    };
    AppPairing::done(app, joined, &done).unwrap().into_inner()
}

/// A hub that was killed while a phone shows its code: the next one listens there again and takes the new phone, and
/// then for nobody.
#[tokio::test]
async fn a_code_that_a_phone_shows_is_good_again_after_a_start() {
    let config = fixed();
    let mut world = World::paired();
    let (offer, by) = passed_on(&mut world, &config);
    world.crash();
    let (sealer, _thread) = sealer::start(world.core, HandClock::default()).unwrap();
    let paired = while_served(&sealer, &config, async {
        let mut app = phone();
        let joined = joins(&mut app, &offer).await;
        proves(&mut app, &offer, &joined).await
    })
    .await;
    let status = sealer.run(|core, _now| core.status()).await.unwrap();
    let added = &status.added.phones[..];
    assert!(
        matches!(added, [one] if one.phone == paired && one.by == by),
        "{added:?}"
    );
}

/// Two pairings in one process, one behind the other: the port of the first may not be free at once.
#[tokio::test]
async fn a_port_that_is_about_to_be_free_is_waited_for() {
    let hub = Hub::new(1_000);
    let config = fixed();
    let relay = relay_client::RelayAddress {
        host: "relay".into(),
        port: 1,
        relay_id: RelayId([0; 32]),
    };
    let place = Place::new(&config, &relay, &hub.sealer, &hub.clock).unwrap();
    let identity = Identity::from_seed(SPEAKER);
    let taken = std::net::UdpSocket::bind(config.listen).unwrap();
    let free = async {
        tokio::time::sleep(3 * PORT_PAUSE).await;
        drop(taken);
    };
    let (listened, ()) = tokio::join!(place.listen(&identity), free);
    let (_endpoint, port) = listened.ok().unwrap();
    assert_eq!(port, config.listen.port());
}

/// Who has the device secret gets the code that the hub shows, and none that a phone was given.
#[test]
fn a_code_that_a_phone_passes_on_is_told_to_nobody_who_asks() {
    let mut world = World::paired();
    let (_offer, _by) = passed_on(&mut world, &fixed());
    let ask = journal::pairing::Ask::new(&mut phone());
    let asked = |core: &mut crate::core::Core| {
        core.with_journal(NOW_MS, |journal| {
            HubPairing::asked(journal, &ask, NOW_MS / 1000)
        })
    };
    let unknown = |error: &CoreError| {
        let CoreError::Journal(JournalError::Pairing(error)) = error else {
            return false;
        };
        *error == PairingError::UnknownOffer
    };
    let refused = asked(&mut world.core);
    assert!(refused.as_ref().is_err_and(unknown), "it is not the hub's");
    let terms = crate::core::tests::world::terms();
    let shown = world.core.with_journal(NOW_MS, |journal| {
        HubPairing::offer(journal, terms, NOW_MS / 1000)
    });
    drop(shown.unwrap());
    assert!(asked(&mut world.core).is_ok());
}

/// A hub that was killed behind the confirmation and before its last word: the next one says it to the phone, which
/// asks again where it asked before.
#[tokio::test]
async fn a_last_word_that_a_crash_took_is_said_behind_the_next_start() {
    let config = fixed();
    let mut world = World::paired();
    let (offer, _by) = passed_on(&mut world, &config);
    let mut app = phone();
    let next = AppPairing::start(&mut app, &offer, speaker(), NOW_MS / 1000).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new phone has nothing to confirm");
    };
    let answer = world.core.with_journal(NOW_MS, |journal| {
        HubPairing::request(journal, &request, speaker(), NOW_MS / 1000)
    });
    let joined = AppPairing::answer(&mut app, &request, &answer.unwrap(), NOW_MS / 1000);
    let joined = joined.unwrap().into_inner();
    let lost = world
        .core
        .with_journal(NOW_MS, |journal| HubPairing::confirm(journal, &joined));
    let lost = lost.unwrap().pairing();
    world.crash();
    let (sealer, _thread) = sealer::start(world.core, HandClock::default()).unwrap();
    let paired = while_served(&sealer, &config, proves(&mut app, &offer, &joined)).await;
    assert_eq!(paired, lost);
    let status = sealer.run(|core, _now| core.status()).await.unwrap();
    assert_eq!(status.added.phones.len(), 1);
}

#[tokio::test]
async fn a_ninth_phone_is_refused_before_the_relay_is_asked_for_anything() {
    let mut world = World::paired();
    for seed in 1..PHONES_MAX as u64 {
        let _phone = world.pair_with_dice(100 + seed);
    }
    let clock = HandClock::default();
    let (sealer, _thread) = sealer::start(world.core, clock.clone()).unwrap();
    let config = PairingConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        addresses: Vec::new(),
        suite: journal::Suite::Classic,
        offer: Duration::from_secs(60),
        announce: Where::Nowhere,
    };
    let relay = relay_client::RelayAddress {
        host: "relay".into(),
        port: 1,
        relay_id: RelayId([0; 32]),
    };
    let place = Place::new(&config, &relay, &sealer, &clock).unwrap();
    let failure = place.has_room_for_a_phone().await.unwrap_err();
    assert_eq!(failure.code, Code::NotAdmitted);
    assert!(failure.message.contains("secluso-hub remove"), "{failure}");
}
