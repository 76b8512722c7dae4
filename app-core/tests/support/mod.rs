//! A relay in this process, and a hub that has a journal and a network but no camera. What the relay wrote is searched
//! when it is stopped.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use app_core::App;
use bytes::Bytes;
use crashtest_canary::Place;
use journal::ids::{Channel, ClipId, Line};
use journal::message::{
    self, AppConfigMessage, AppMessage, EventNotice, HeartbeatAnswer, HubReport, NoticeKind,
};
use journal::pairing::OfferTerms;
use journal::vault::file::FileVault;
use journal::{
    AppPairing, Committer, DeviceSecret, HubPairing, Journal, PairingMessage, Received, Role,
    Session, Suite, Takes,
};
use pairing_lan::{Announcement, OfferTag};
use relay::server::Server;
use relay::{admission, config::Config};
use relay_client::rpk::{self, EndpointLimits};
use relay_client::{Admission, AppendEvent, Connection, Identity};
use wal::OsDice;
use wal::disk::SimDisk;
use wal::store::MemStore;
use wire::frame::{Guest, Revocation};
use wire::{Certificate, Class, DeviceId, Seq};

/// Every wait in these tests ends after this, as a failure.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it takes too long")
}

fn unix_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

pub(crate) struct Relay {
    place: Place,
    seed: [u8; 32],
    server: Option<Server>,
    pub(crate) address: relay_client::RelayAddress,
}

impl Relay {
    pub(crate) async fn start() -> Self {
        let place = Place::new();
        let seed: [u8; 32] = relay::server::random_bytes();
        place.seek("the relay's key", &seed);
        let server = Self::serve(place.path(), seed, "127.0.0.1:0".parse().unwrap()).await;
        let address = server.address();
        Self {
            place,
            seed,
            server: Some(server),
            address,
        }
    }

    async fn serve(dir: &Path, seed: [u8; 32], listen: SocketAddr) -> Server {
        let text = format!(
            "listen = \"{listen}\"\nidentity_key = \"identity.key\"\ndata_dir = \"data\"\n\
             [limits]\nhandshakes_per_second = 1000\nhandshake_burst = 1000\n"
        );
        let config = Config::parse(&text, &dir.join("relay.toml")).unwrap();
        std::fs::create_dir_all(dir.join("data")).unwrap();
        // The socket of the one before lives until its last connection has said goodbye.
        within(async {
            loop {
                let fatal = Box::new(|error| panic!("fatal: {error}"));
                match Server::start(config.clone(), Identity::from_seed(seed), fatal) {
                    Ok(server) => return server,
                    Err(_taken) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        })
        .await
    }

    pub(crate) async fn restart_empty(&mut self) {
        let server = self.server.take().unwrap();
        let bound = server.bound();
        server.shutdown().await;
        std::fs::remove_dir_all(self.place.path().join("data")).unwrap();
        self.server = Some(Self::serve(self.place.path(), self.seed, bound).await);
    }

    /// Every test ends with it: only what nobody writes to any more can be searched.
    pub(crate) async fn stop(self) {
        self.server.unwrap().shutdown().await;
        self.place.runs_here();
    }
}

pub(crate) struct Hub {
    identity: Identity,
    certificate: Certificate,
    journal: Journal,
    session: Option<Session<Committer>>,
    listener: Option<quinn::Endpoint>,
}

impl Hub {
    /// A hub that the relay's operator invited.
    pub(crate) async fn join(relay: &Relay) -> Self {
        let identity = Identity::from_seed(relay::server::random_bytes());
        let operator = Identity::from_seed(relay.seed);
        let nonce = relay::server::random_bytes();
        let invitation = admission::issue_invitation(&operator, nonce, Class::Hub, 600, unix_s());
        relay.place.seek("an invitation", &invitation.to_bytes());
        let admission = Admission::Invitation(invitation);
        let connected =
            relay_client::connect(&relay.address, &identity, admission, Default::default()).await;
        let (connection, certificate) = connected.unwrap();
        connection.close();
        let disk = Arc::new(SimDisk::new());
        let vault = FileVault::new(disk.clone(), "vault");
        let store = Box::new(MemStore::new());
        let dice = Box::new(OsDice);
        let (journal, _report) = Journal::open(
            Role::Hub,
            disk,
            store,
            Box::new(vault),
            dice,
            wal::Options::default(),
        )
        .unwrap();
        Self {
            identity,
            certificate,
            journal,
            session: None,
            listener: None,
        }
    }

    async fn connect(&self, relay: &Relay) -> Connection {
        let admission = Admission::Certificate(self.certificate.clone());
        let connected = relay_client::connect(
            &relay.address,
            &self.identity,
            admission,
            Default::default(),
        )
        .await;
        connected.unwrap().0
    }

    /// Listens, and makes a code.
    pub(crate) async fn offer(&mut self, relay: &Relay) -> String {
        // The first is no address at all; the phone goes on to the next.
        self.offer_at(relay, |address| vec!["nowhere".into(), address])
            .await
    }

    /// Listens, and makes a code with addresses in which nobody answers. The secret of the device, and where
    /// it listens.
    pub(crate) async fn offer_elsewhere(&mut self, relay: &Relay) -> (String, String) {
        let _code = self
            .offer_at(relay, |_address| vec!["nowhere".into()])
            .await;
        let listener = self.listener.as_ref().unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let secret = self.journal.device().unwrap().secret;
        let secret = DeviceSecret::from_bytes(&secret).unwrap();
        (secret.to_text().as_str().to_owned(), address)
    }

    /// As [`Self::offer_elsewhere`]: the code, the secret, and what a hub says of it in its network.
    pub(crate) async fn offer_nearby(&mut self, relay: &Relay) -> (String, String, Announcement) {
        let code = self
            .offer_at(relay, |_address| vec!["nowhere".into()])
            .await;
        let offer = journal::Offer::from_text(&code).unwrap();
        let listener = self.listener.as_ref().unwrap();
        let said = Announcement {
            instance: relay::server::random_bytes(),
            tag: OfferTag(offer.lan_tag()),
            address: Ipv4Addr::LOCALHOST,
            port: listener.local_addr().unwrap().port(),
        };
        let secret = self.journal.device().unwrap().secret;
        let secret = DeviceSecret::from_bytes(&secret).unwrap();
        (code, secret.to_text().as_str().to_owned(), said)
    }

    async fn offer_at(
        &mut self,
        relay: &Relay,
        addresses: impl FnOnce(String) -> Vec<String>,
    ) -> String {
        let limits = EndpointLimits::default();
        let bind = "127.0.0.1:0".parse().unwrap();
        let listener =
            rpk::server_endpoint(bind, &self.identity, b"secluso-pair/1", &limits).unwrap();
        let invitation = self
            .connect(relay)
            .await
            .invite(Class::Phone, 600)
            .await
            .unwrap();
        let terms = OfferTerms {
            hub: self.identity.device_id(),
            addresses: addresses(listener.local_addr().unwrap().to_string()),
            relay: relay.address.to_string(),
            invitation: invitation.to_bytes(),
            suite: Suite::Classic,
            ttl_s: 600,
        };
        relay.place.seek("an invitation", &invitation.to_bytes());
        self.listener = Some(listener);
        let offer = HubPairing::offer(&mut self.journal, terms, unix_s()).unwrap();
        let code = offer.to_text().to_string();
        relay.place.seek("a pairing code", code.as_bytes());
        let secret = self.journal.device().unwrap().secret;
        relay.place.seek("a device's secret", &secret);
        code
    }

    /// Tells one phone the code that it asks for with the device's secret. The name by which it came.
    pub(crate) async fn answer_ask(&mut self) -> DeviceId {
        let listener = self.listener.take().unwrap();
        let mut talk = PairingTalk::accept(&listener).await;
        let PairingMessage::Ask(ask) = talk.hear().await else {
            panic!("a phone without a code asks for it");
        };
        let offered = HubPairing::asked(&mut self.journal, &ask, unix_s()).unwrap();
        talk.say(&PairingMessage::Offered(offered)).await;
        let _closed = talk.connection.closed().await;
        let peer = rpk::peer_id(&talk.connection);
        self.listener = Some(listener);
        peer
    }

    /// Answers one phone until it has the last word. The name by which it came.
    pub(crate) async fn answer_pairing(&mut self) -> DeviceId {
        let listener = self.listener.take().unwrap();
        let mut talk = PairingTalk::accept(&listener).await;
        let peer = rpk::peer_id(&talk.connection);
        loop {
            let (answer, last) = self.answer(talk.hear().await);
            talk.say(&answer).await;
            if last {
                let _closed = talk.connection.closed().await;
                break;
            }
        }
        let pairing = self.journal.pairing_ids()[0];
        self.session = Some(Session::new(Line {
            pairing,
            channel: Channel::EventVideo,
        }));
        peer
    }

    fn answer(&mut self, message: PairingMessage) -> (PairingMessage, bool) {
        match message {
            PairingMessage::Request(request) => {
                let answer =
                    HubPairing::request(&mut self.journal, &request, request.device(), unix_s())
                        .unwrap();
                (answer.to_message(), false)
            }
            PairingMessage::Confirm(confirm) => {
                let done = HubPairing::confirm(&mut self.journal, &confirm).unwrap();
                (done.to_message(), true)
            }
            _ => panic!("a phone says nothing else"),
        }
    }

    /// Takes the phone's words up to this one, stores what they ask for, and dies without an answer,
    /// as by SIGKILL: its socket is gone and nobody is told. Then it listens there again. Says when
    /// it died.
    pub(crate) async fn die_in_pairing(&mut self, after: After) -> Instant {
        let listener = self.listener.take().unwrap();
        let address = listener.local_addr().unwrap();
        let mut talk = PairingTalk::accept(&listener).await;
        if after == After::Confirm {
            let (answer, _) = self.answer(talk.hear().await);
            talk.say(&answer).await;
        }
        let _never_said = self.answer(talk.hear().await);
        // What it still says comes from where nobody listens to it. Twice, because an endpoint keeps
        // the socket that it had before.
        for _ in 0..2 {
            let elsewhere = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            listener.rebind(elsewhere).unwrap();
        }
        // Its word of goodbye would arrive all the same.
        std::mem::forget((talk, listener));
        let limits = EndpointLimits::default();
        let again = within(async {
            loop {
                match rpk::server_endpoint(address, &self.identity, b"secluso-pair/1", &limits) {
                    Ok(listener) => return listener,
                    Err(_taken) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        self.listener = Some(again.await);
        Instant::now()
    }

    /// Hears one phone's request and says something else than its answer.
    pub(crate) async fn turn_away(&mut self, says: Says) {
        let listener = self.listener.take().unwrap();
        let mut talk = PairingTalk::accept(&listener).await;
        let request = talk.hear().await;
        let says = match says {
            Says::Refused => PairingMessage::Refused("whatever the hub says".into()),
            Says::Nonsense => request,
        };
        talk.say(&says).await;
        let _closed = talk.connection.closed().await;
    }

    pub(crate) async fn pair(&mut self, relay: &Relay, app: &App) {
        let code = self.offer(relay).await;
        let (paired, _) = tokio::join!(within(app.pair(&code)), self.answer_pairing());
        paired.unwrap();
    }

    /// Removes its one phone and tells the relay, which answers so.
    pub(crate) async fn remove_phone(&mut self, relay: &Relay, answer: Revocation) {
        let pairing = self.line().pairing;
        let removed = HubPairing::remove(&mut self.journal, pairing).unwrap();
        assert!(removed.into_inner());
        self.session = None;
        let connection = self.connect(relay).await;
        for dismissal in self.journal.dismissals().unwrap().owed {
            let guest = dismissal.guest.map(|guest| Guest {
                device: guest.device,
                invitation: guest.invitation,
            });
            let told = connection.revoke(guest, dismissal.mailboxes);
            assert_eq!(within(told).await.unwrap(), answer);
            drop(self.journal.dismissal_told(dismissal.pairing).unwrap());
        }
        connection.close();
    }

    fn line(&self) -> Line {
        self.session.as_ref().unwrap().line()
    }

    pub(crate) fn start_clip(&mut self) -> ClipId {
        let mut txn = self.journal.begin();
        let clip = self
            .session
            .as_mut()
            .unwrap()
            .start_clip(&mut txn, "door", "video/mp4", 1)
            .unwrap();
        txn.commit(clip).unwrap().into_inner()
    }

    pub(crate) fn chunk(&mut self, clip: ClipId, bytes: &[u8]) {
        let mut txn = self.journal.begin();
        self.session
            .as_mut()
            .unwrap()
            .append_chunk(&mut txn, clip, bytes, 1)
            .unwrap();
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn finish(&mut self, clip: ClipId) {
        let mut txn = self.journal.begin();
        self.session
            .as_mut()
            .unwrap()
            .finish_clip(&mut txn, clip, 1)
            .unwrap();
        drop(txn.commit(()).unwrap());
    }

    pub(crate) fn record(&mut self, chunks: &[&[u8]]) -> ClipId {
        let clip = self.start_clip();
        for bytes in chunks {
            self.chunk(clip, bytes);
        }
        self.finish(clip);
        clip
    }

    pub(crate) fn epoch(&mut self) -> u64 {
        let mut txn = self.journal.begin();
        self.session.as_mut().unwrap().epoch(&mut txn).unwrap().0
    }

    pub(crate) fn unacked(&self) -> u64 {
        let head = self.journal.outbox_head(self.line()).unwrap();
        head.last.0 - head.acked.0
    }

    /// Sends everything un-acked that the relay does not have, and waits for its receipt.
    pub(crate) async fn push(&mut self, relay: &Relay) {
        let connection = self.connect(relay).await;
        self.push_line(&connection, self.line()).await;
        connection.close();
    }

    /// Says that the event of the next clip begins, and shows it: all on lines of their own.
    pub(crate) fn announce(&mut self, jpeg: &[u8]) {
        let pairing = self.line().pairing;
        let notice = EventNotice {
            camera: "door".into(),
            started_unix_ms: 1,
            kind: NoticeKind::Motion,
        };
        let mut said = Session::<Committer>::new(Line::of(pairing, Channel::Notification));
        let mut shown = Session::<Committer>::new(Line::of(pairing, Channel::Thumbnail));
        let mut txn = self.journal.begin();
        said.notify(&mut txn, &notice).unwrap();
        shown
            .send_whole(&mut txn, ("door", "image/jpeg"), 1, jpeg, 2)
            .unwrap();
        drop(txn.commit(()).unwrap());
    }

    /// As [`Self::push`], of every line.
    pub(crate) async fn push_all(&mut self, relay: &Relay) {
        let connection = self.connect(relay).await;
        for line in Line::all(self.line().pairing) {
            self.push_line(&connection, line).await;
        }
        connection.close();
    }

    async fn push_line(&self, connection: &Connection, line: Line) {
        let mailbox = self.journal.mailboxes(line).unwrap().send;
        let (state, mut handle) = connection.attach_send(mailbox).await.unwrap();
        let mut after = state.last.map_or(Seq::NONE, |head| head.seq);
        let mut last = None;
        while let Some((seq, envelope)) = self.journal.outbox_next(line, after).unwrap() {
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            handle
                .append(seq, after, wire::Digest::of(&bytes), bytes)
                .await
                .unwrap();
            (after, last) = (seq, Some(seq));
        }
        while let Some(seq) = last {
            match within(handle.next_event()).await.unwrap() {
                AppendEvent::Receipt(head) if head.seq == seq => break,
                AppendEvent::Receipt(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Takes whatever the relay holds of the app's on the line of its event videos, up to a proposal of
    /// new keys.
    pub(crate) async fn take_acks(&mut self, relay: &Relay) {
        self.take_held(relay, Takes::Messages).await;
    }

    /// Takes all of it.
    pub(crate) async fn take_acks_and_keys(&mut self, relay: &Relay) {
        self.take_held(relay, Takes::MessagesAndProposals).await;
    }

    async fn take_held(&mut self, relay: &Relay, takes: Takes) {
        let line = self.line();
        let connection = self.connect(relay).await;
        let mailbox = self.journal.mailboxes(line).unwrap().receive;
        let mut cursor = self.journal.inbox_head(line).unwrap().cursor;
        let (state, mut deliveries) = connection.attach_receive(mailbox, cursor).await.unwrap();
        let last = state.last.map_or(Seq::NONE, |head| head.seq);
        while cursor < last {
            let delivery = within(deliveries.next()).await.unwrap();
            let mut txn = self.journal.begin();
            let session = self.session.as_mut().unwrap();
            let arrived = session
                .receive(&mut txn, delivery.seq, &delivery.bytes, takes)
                .unwrap();
            match &arrived.received {
                Received::Message(bytes) => {
                    let AppMessage::Ack { through, .. } = message::decode(bytes).unwrap();
                    session.take_ack(&mut txn, Seq(through)).unwrap();
                }
                Received::Waits => break,
                _ => {}
            }
            drop(txn.commit(()).unwrap());
            cursor = self.journal.inbox_head(line).unwrap().cursor;
        }
        connection.close();
    }

    /// Waits for one heartbeat of the app on all of its lines, takes its keys and answers it, as a hub
    /// that is there does.
    pub(crate) async fn take_heartbeat(&mut self, relay: &Relay) {
        let connection = self.connect(relay).await;
        // The config line comes last, and with it the answer.
        for line in Line::all(self.line().pairing) {
            self.take_keys(&connection, line).await;
            self.push_line(&connection, line).await;
        }
        connection.close();
    }

    async fn take_keys(&mut self, connection: &Connection, line: Line) {
        let mailbox = self.journal.mailboxes(line).unwrap().receive;
        let cursor = self.journal.inbox_head(line).unwrap().cursor;
        let (_state, mut deliveries) = connection.attach_receive(mailbox, cursor).await.unwrap();
        let mut own = Session::<Committer>::new(line);
        let mut number = 0;
        loop {
            let delivery = within(deliveries.next()).await.unwrap();
            let mut txn = self.journal.begin();
            let session = match line.channel {
                Channel::EventVideo => self.session.as_mut().unwrap(),
                _ => &mut own,
            };
            let takes = Takes::MessagesAndProposals;
            let arrived = session
                .receive(&mut txn, delivery.seq, &delivery.bytes, takes)
                .unwrap();
            let healed = matches!(arrived.received, Received::Healed(_));
            match (&arrived.received, line.channel) {
                (Received::Message(bytes), Channel::EventVideo) => {
                    let AppMessage::Ack { through, .. } = message::decode(bytes).unwrap();
                    session.take_ack(&mut txn, Seq(through)).unwrap();
                }
                (Received::Message(bytes), Channel::Config) => {
                    if let AppConfigMessage::Heartbeat(said) = message::decode(bytes).unwrap() {
                        number = said.number;
                    }
                }
                (Received::Healed(_), Channel::Config) => {
                    let answer = HeartbeatAnswer {
                        number,
                        answered_unix_ms: unix_s() * 1_000,
                        version: HUB_VERSION.into(),
                        epochs: Vec::new(),
                        status: HubReport {
                            recording: true,
                            not_recorded: None,
                            unacked: 2,
                        },
                    };
                    session.answer(&mut txn, &answer).unwrap();
                }
                _ => {}
            }
            drop(txn.commit(()).unwrap());
            if healed {
                return;
            }
        }
    }
}

/// What this hub says that it is.
pub(crate) const HUB_VERSION: &str = "hub without a camera";

/// What a hub stored last before it dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    Request,
    Confirm,
}

/// What a hub says to a request that it does not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Says {
    Refused,
    Nonsense,
}

/// One phone on the pairing line.
struct PairingTalk {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
}

impl PairingTalk {
    async fn accept(listener: &quinn::Endpoint) -> Self {
        let connection = listener.accept().await.unwrap().await.unwrap();
        let (send, receive) = connection.accept_bi().await.unwrap();
        Self {
            connection,
            send,
            receive,
        }
    }

    async fn hear(&mut self) -> PairingMessage {
        let mut length = [0; 4];
        self.receive.read_exact(&mut length).await.unwrap();
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.receive.read_exact(&mut bytes).await.unwrap();
        PairingMessage::decode(&bytes).unwrap()
    }

    async fn say(&mut self, message: &PairingMessage) {
        let bytes = message.encode();
        let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        self.send.write_all(&length).await.unwrap();
        self.send.write_all(&bytes).await.unwrap();
    }
}

/// How many offers an app that is closed holds keys for.
pub(crate) fn offers_in(dir: &Path) -> usize {
    let disk: Arc<dyn wal::Disk> = Arc::new(wal::disk::RealDisk::new(dir).unwrap());
    let store = wal::store::RocksStore::new(dir.join("view"));
    let vault = FileVault::new(Arc::clone(&disk), "vault");
    let (journal, _report) = Journal::open(
        Role::App,
        disk,
        Box::new(store),
        Box::new(vault),
        Box::new(OsDice),
        wal::Options::default(),
    )
    .unwrap();
    AppPairing::unfinished(&journal).len()
}

/// A plain copy, as a person with a backup makes it.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
