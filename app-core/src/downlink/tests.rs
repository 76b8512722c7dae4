//! A sync that follows, at a relay in this process that admits the phone and does what a test says, and over a disk that
//! fails when a test says so. The relay keeps what it is given for readers, shows every writer an empty mailbox, and gives
//! receipts only when a test says so: a sync that follows does not wait for them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Mutex, MutexGuard};

use ::relay::admission;
use journal::Role;
use quinn::{Incoming, SendStream};
use relay_client::framed::FrameReader;
use relay_client::rpk::{self, EndpointLimits};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wal::disk::{Fault, SimDisk};
use wire::frame::{self, Frame};
use wire::limits::{
    ALPN, BODY_BYTES_MAX, CONTROL_BODY_BYTES_MAX, PROTOCOL_VERSION, SLOTS_PER_CONNECTION_MAX,
};
use wire::{Class, Digest, Head, ReceiveState, SendId, SendState, Seq, Slot};

use super::*;
use crate::app::{App, AppOptions};
use crate::core::Delivered;
use crate::engine::Opener;
use crate::event::Events;
use crate::testing::{Hub, NOW_S, open_journal, paired_at};
use crate::types::{ClipState, HUB_WAIT_MS};

/// Every wait ends after this, as a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// From one look to the next.
const LOOK: Duration = Duration::from_millis(20);

/// Where the relay says no.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// When a mailbox is attached for reading.
    Reader,
    /// When one is attached for sending.
    Sender,
    /// Right behind that.
    Later,
    /// On the stream of deliveries, before it says whose it is.
    Nameless,
    /// On the stream of deliveries, once something of it is durable at the phone.
    Stream,
    /// Of the whole connection, when a mailbox is attached for sending.
    Connection,
}

/// What the relay knows.
#[derive(Default)]
struct Books {
    held: BTreeMap<SendId, Vec<Delivered>>,
    /// What is said there, and how often.
    word: Option<(Place, SendId, ErrorCode, u32)>,
    connections: u64,
    /// When each came.
    came: Vec<Instant>,
    /// Whether it says that it has stored what it is sent. It has not.
    gives_receipts: bool,
    /// How often each mailbox was attached for sending.
    attached: BTreeMap<SendId, u64>,
    /// Mailboxes attached on the newest connection, or since all were lost.
    reading: BTreeSet<SendId>,
    sending: BTreeSet<SendId>,
}

impl Books {
    fn take_word(&mut self, place: Place, mailbox: SendId) -> Option<ErrorCode> {
        let (at, of, code, times) = self.word?;
        if (at, of) != (place, mailbox) {
            return None;
        }
        self.word = (times > 1).then_some((at, of, code, times - 1));
        Some(code)
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap()
}

struct Relay {
    identity: Identity,
    address: RelayAddress,
    books: Arc<Mutex<Books>>,
    /// Grows when all senders are told that their mailboxes were lost.
    lost: watch::Sender<u64>,
    accepting: JoinHandle<()>,
}

impl Relay {
    fn start() -> Self {
        let identity = Identity::from_seed([5; 32]);
        let limits = EndpointLimits {
            peer_bidi_streams: 1,
            peer_uni_streams: SLOTS_PER_CONNECTION_MAX as u32,
            ..EndpointLimits::default()
        };
        let bind = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let endpoint = rpk::server_endpoint(bind, &identity, ALPN, &limits).unwrap();
        let address = RelayAddress {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: endpoint.local_addr().unwrap().port(),
            relay_id: identity.relay_id(),
        };
        let books = Arc::new(Mutex::new(Books::default()));
        let lost = watch::Sender::new(0);
        let (shared, told) = (Arc::clone(&books), lost.subscribe());
        let accepting = tokio::spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                tokio::spawn(serve(Arc::clone(&shared), told.clone(), incoming));
            }
        });
        Self {
            identity,
            address,
            books,
            lost,
            accepting,
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn say(control: &mut SendStream, frame: &Frame<'_>) -> Option<()> {
    control.write_all(&frame.to_bytes()).await.ok()
}

fn refusal(slot: u32, code: ErrorCode) -> Frame<'static> {
    Frame::Error {
        slot: Some(Slot(slot)),
        code: code.to_u16(),
    }
}

/// What is appended on one stream, as heads for receipts.
async fn take_appends(
    stream: quinn::RecvStream,
    heads: tokio::sync::mpsc::Sender<(Slot, Head)>,
) -> Option<()> {
    let mut frames = FrameReader::new(stream, BODY_BYTES_MAX);
    let first = frames.next().await.ok()??;
    let Ok(Frame::Stream { slot }) = Frame::parse(first.kind, &first.body) else {
        return None;
    };
    while let Some(raw) = frames.next().await.ok()? {
        if let Ok(Frame::Append { seq, digest, .. }) = Frame::parse(raw.kind, &raw.body) {
            heads.send((slot, Head { seq, digest })).await.ok()?;
        }
    }
    Some(())
}

/// One connection, until it breaks or is over.
async fn serve(
    books: Arc<Mutex<Books>>,
    mut lost: watch::Receiver<u64>,
    incoming: Incoming,
) -> Option<()> {
    let connection = incoming.accept().ok()?.await.ok()?;
    let (mut control, receive) = connection.accept_bi().await.ok()?;
    let mut frames = FrameReader::new(receive, CONTROL_BODY_BYTES_MAX);
    let _hello = frames.next().await.ok()??;
    let who = frames.next().await.ok()??;
    let Ok(Frame::Certificate(certificate)) = Frame::parse(who.kind, &who.body) else {
        return None;
    };
    let hello = Frame::Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
    };
    say(&mut control, &hello).await?;
    say(&mut control, &Frame::Admitted(certificate)).await?;
    {
        let mut books = lock(&books);
        books.connections += 1;
        books.came.push(Instant::now());
        books.reading.clear();
        books.sending.clear();
    }
    lost.mark_unchanged();
    let mut senders: BTreeMap<u32, SendId> = BTreeMap::new();
    let mut streams: BTreeMap<u32, (SendId, SendStream)> = BTreeMap::new();
    let (heads, mut appended) = tokio::sync::mpsc::channel(64);
    loop {
        let raw = tokio::select! {
            raw = frames.next() => raw.ok()??,
            stream = connection.accept_uni() => {
                tokio::spawn(take_appends(stream.ok()?, heads.clone()));
                continue;
            }
            Some((slot, head)) = appended.recv() => {
                let gives_receipts = lock(&books).gives_receipts;
                if gives_receipts {
                    say(&mut control, &Frame::Receipt { slot, head }).await?;
                }
                continue;
            }
            changed = lost.changed() => {
                changed.ok()?;
                for slot in senders.keys() {
                    say(&mut control, &refusal(*slot, ErrorCode::MailboxLost)).await?;
                }
                continue;
            }
        };
        match Frame::parse(raw.kind, &raw.body).ok()? {
            Frame::AttachReceive {
                slot,
                mailbox,
                cursor,
            } => {
                let mailbox = mailbox.send_id();
                let code = lock(&books).take_word(Place::Reader, mailbox);
                if let Some(code) = code {
                    say(&mut control, &refusal(slot.0, code)).await?;
                    continue;
                }
                let held = lock(&books).held.get(&mailbox).cloned().unwrap_or_default();
                let state = ReceiveState {
                    first: held.first().map_or(Seq::NONE, |one| one.seq),
                    last: held.last().map(|one| Head {
                        seq: one.seq,
                        digest: Digest::of(&one.bytes),
                    }),
                };
                say(&mut control, &Frame::ReceiveState { slot, state }).await?;
                let mut stream = connection.open_uni().await.ok()?;
                let code = lock(&books).take_word(Place::Nameless, mailbox);
                if let Some(code) = code {
                    stream.reset(u32::from(code.to_u16()).into()).ok()?;
                    continue;
                }
                say(&mut stream, &Frame::Stream { slot }).await?;
                for one in held.iter().filter(|one| one.seq > cursor) {
                    let prefix = frame::deliver_prefix(one.seq, one.bytes.len());
                    stream.write_all(&prefix).await.ok()?;
                    stream.write_all(&one.bytes).await.ok()?;
                }
                streams.insert(slot.0, (mailbox, stream));
                lock(&books).reading.insert(mailbox);
            }
            Frame::AttachSend { slot, mailbox } => {
                let code = lock(&books).take_word(Place::Connection, mailbox);
                if let Some(code) = code {
                    connection.close(u32::from(code.to_u16()).into(), b"");
                    return None;
                }
                let code = lock(&books).take_word(Place::Sender, mailbox);
                if let Some(code) = code {
                    say(&mut control, &refusal(slot.0, code)).await?;
                    continue;
                }
                let state = SendState::default();
                say(&mut control, &Frame::SendState { slot, state }).await?;
                let code = lock(&books).take_word(Place::Later, mailbox);
                if let Some(code) = code {
                    say(&mut control, &refusal(slot.0, code)).await?;
                    continue;
                }
                senders.insert(slot.0, mailbox);
                let mut books = lock(&books);
                books.sending.insert(mailbox);
                *books.attached.entry(mailbox).or_default() += 1;
            }
            Frame::Trim { slot, .. } => {
                let Some((mailbox, mut stream)) = streams.remove(&slot.0) else {
                    continue;
                };
                let code = lock(&books).take_word(Place::Stream, mailbox);
                match code {
                    Some(code) => stream.reset(u32::from(code.to_u16()).into()).ok()?,
                    None => drop(streams.insert(slot.0, (mailbox, stream))),
                }
            }
            Frame::Detach { slot } => {
                senders.remove(&slot.0);
                streams.remove(&slot.0);
            }
            _ => {}
        }
    }
}

/// A phone that is paired with a hub at the relay, and admitted there. A clip waits for it.
struct World {
    relay: Relay,
    disk: SimDisk,
    app: App,
    lines: Vec<LineInfo>,
    /// Whether each journal that is opened fails in its first commit.
    fails: Arc<AtomicBool>,
}

impl World {
    async fn start() -> Self {
        Self::start_with(AppOptions::default()).await
    }

    async fn start_with(options: AppOptions) -> Self {
        let relay = Relay::start();
        let place = relay.address.to_string();
        let (mut hub, disk): (Hub, SimDisk) = paired_at(&place);
        hub.record(&[b"one", b"two"]);
        {
            let mut journal = open_journal(Role::App, &disk, 77).unwrap();
            let device = journal.device().unwrap();
            let device = Identity::from_seed(*device.identity_seed).device_id();
            let certificate =
                admission::issue_certificate(&relay.identity, device, Class::Phone, NOW_S);
            drop(
                journal
                    .keep_certificate(&place, certificate.to_bytes())
                    .unwrap(),
            );
        }
        let fails = Arc::new(AtomicBool::new(false));
        let app = App::start(opener(&disk, &fails), &options).await.unwrap();
        let lines = app.engine().read(|core, _shell| core.lines()).await;
        let lines = lines.unwrap();
        assert_eq!(lines.len(), Channel::ALL.len());
        let world = Self {
            relay,
            disk,
            app,
            lines,
            fails,
        };
        let videos = world.mailbox(Channel::EventVideo, Place::Reader);
        let outgoing = hub.outgoing(Seq::NONE);
        lock(&world.relay.books).held.insert(videos, outgoing);
        world
    }

    /// The mailbox of a channel that is attached there.
    fn mailbox(&self, channel: Channel, place: Place) -> SendId {
        let of = |info: &&LineInfo| info.line.channel == channel;
        let mailboxes = self.lines.iter().find(of).unwrap().mailboxes;
        match place {
            Place::Reader | Place::Nameless | Place::Stream => mailboxes.receive.send_id(),
            Place::Sender | Place::Later | Place::Connection => mailboxes.send,
        }
    }

    fn follow(&self) -> JoinHandle<Result<(), AppError>> {
        let app = self.app.clone();
        tokio::spawn(async move { app.sync(SyncMode::Follow).await })
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Books) -> bool) {
        let looking = async {
            while !is_so(&lock(&self.relay.books)) {
                tokio::time::sleep(LOOK).await;
            }
        };
        let ended = tokio::time::timeout(PATIENCE, looking).await;
        assert!(ended.is_ok(), "in vain: {what}");
    }

    /// Until the phone has what the relay holds for it, and each of its lines has answered to a word of the relay.
    async fn until_all_lines_go_on(&self) {
        let all = self.lines.len();
        let attached =
            move |books: &Books| books.reading.len() == all && books.sending.len() == all;
        self.until("all lines are attached", attached).await;
        lock(&self.relay.books).sending.clear();
        self.relay.lost.send_modify(|count| *count += 1);
        self.until("all lines are attached again", attached).await;
        let taking = async {
            while !self.has_the_clip().await {
                tokio::time::sleep(LOOK).await;
            }
        };
        let taken = tokio::time::timeout(PATIENCE, taking).await;
        assert!(taken.is_ok(), "the clip does not come");
    }

    async fn has_the_clip(&self) -> bool {
        let clips = self.app.clips().await.unwrap();
        clips.len() == 1 && clips.iter().all(|clip| clip.state == ClipState::Complete)
    }
}

fn opener(disk: &SimDisk, fails: &Arc<AtomicBool>) -> Opener {
    let (disk, fails) = (disk.clone(), Arc::clone(fails));
    let mut seed = 2_000;
    Box::new(move || {
        seed += 1;
        let journal = open_journal(Role::App, &disk, seed)?;
        if fails.load(Ordering::Relaxed) {
            disk.inject(disk.op_count(), Fault::Eio);
        }
        Ok(journal)
    })
}

async fn end(following: JoinHandle<Result<(), AppError>>) {
    let is_over = following.is_finished();
    assert!(!is_over, "a sync that follows has ended");
    following.abort();
    let _aborted = following.await;
}

/// A relay that admits this phone and says no at one mailbox, on one stream or of the connection lies, or says so once
/// more when it is asked to admit the phone. What it says of one mailbox, however often, costs no other its connection,
/// unless it does not say of which.
#[tokio::test]
async fn a_no_at_one_mailbox_ends_no_line_of_a_sync_that_follows() {
    let words = [
        (Place::Reader, Channel::Config, ErrorCode::Revoked),
        (Place::Reader, Channel::EventVideo, ErrorCode::Stranger),
        (
            Place::Sender,
            Channel::Notification,
            ErrorCode::InvitationExpired,
        ),
        (
            Place::Sender,
            Channel::EventVideo,
            ErrorCode::InvitationInvalid,
        ),
        (Place::Later, Channel::Config, ErrorCode::InvitationUsed),
        (Place::Later, Channel::Livestream, ErrorCode::Replaced),
        (
            Place::Stream,
            Channel::EventVideo,
            ErrorCode::CertificateInvalid,
        ),
        (
            Place::Nameless,
            Channel::Notification,
            ErrorCode::MailboxLost,
        ),
        (Place::Connection, Channel::EventVideo, ErrorCode::Replaced),
    ];
    // A connection is of no more use, whatever it was closed for: also for what else is said of one mailbox.
    let closed = ErrorCode::ALL.iter();
    let closed = closed.map(|code| (Place::Connection, Channel::Config, *code));
    let mut all = JoinSet::new();
    for (place, channel, code) in words.into_iter().chain(closed) {
        all.spawn(says_no(place, channel, code));
    }
    while let Some(ended) = all.join_next().await {
        ended.unwrap();
    }
}

async fn says_no(place: Place, channel: Channel, code: ErrorCode) {
    let world = World::start().await;
    let mailbox = world.mailbox(channel, place);
    let (times, connections) = match place {
        Place::Nameless | Place::Connection => (1, 2),
        // Of the stream it is said behind what has come, which comes once.
        Place::Stream => (1, 1),
        Place::Reader | Place::Sender | Place::Later => (3, 1),
    };
    lock(&world.relay.books).word = Some((place, mailbox, code, times));
    let following = world.follow();
    let what = format!("{code:?} at {place:?} of {channel:?}, and a connection behind it");
    world
        .until(&what, |books| {
            books.word.is_none() && books.connections >= connections
        })
        .await;
    world.until_all_lines_go_on().await;
    assert_eq!(lock(&world.relay.books).connections, connections, "{what}");
    end(following).await;
}

/// Nothing can be attached on a connection that was closed, whatever was said of it: one that is to end connects anew, too.
#[tokio::test]
async fn a_connection_that_is_closed_in_the_words_for_one_mailbox_is_begun_anew_by_a_sync_that_is_to_end()
 {
    for code in [
        ErrorCode::TooManyMailboxes,
        ErrorCode::MailboxLost,
        ErrorCode::UnknownSlot,
    ] {
        let world = World::start().await;
        let mailbox = world.mailbox(Channel::Config, Place::Connection);
        lock(&world.relay.books).word = Some((Place::Connection, mailbox, code, 1));
        lock(&world.relay.books).gives_receipts = true;
        let synced = tokio::time::timeout(PATIENCE, world.app.sync(SyncMode::Once)).await;
        assert_eq!(synced.unwrap(), Ok(()), "{code:?}");
        assert_eq!(lock(&world.relay.books).connections, 2, "{code:?}");
        assert!(world.has_the_clip().await, "{code:?}");
    }
}

/// A relay may swallow what is sent, and be well again.
#[tokio::test]
async fn what_has_no_receipt_is_not_taken_for_sent() {
    let world = World::start().await;
    let following = world.follow();
    let heartbeats = world.mailbox(Channel::Config, Place::Sender);
    let what = "the mailbox of a heartbeat without a receipt attached again";
    world
        .until(what, |books| books.attached.get(&heartbeats) >= Some(&2))
        .await;
    lock(&world.relay.books).gives_receipts = true;
    world.until_all_lines_go_on().await;
    assert_eq!(lock(&world.relay.books).connections, 1);
    end(following).await;
}

/// The hub may have answered, and the relay left it out.
#[tokio::test]
async fn a_hub_that_is_silent_has_the_relay_asked_anew_and_not_over_and_over() {
    let world = World::start_with(AppOptions {
        offline_after: Duration::from_secs(1),
        ..AppOptions::default()
    })
    .await;
    lock(&world.relay.books).gives_receipts = true;
    let following = world.follow();
    world
        .until("a third connection", |books| books.came.len() == 3)
        .await;
    let came = lock(&world.relay.books).came.clone();
    let pauses: Vec<Duration> = came.windows(2).map(|two| two[1] - two[0]).collect();
    let least = Duration::from_millis(HUB_WAIT_MS);
    assert!(pauses.iter().all(|pause| *pause >= least), "{pauses:?}");
    world.until_all_lines_go_on().await;
    end(following).await;
}

/// One that is to end says so, for whoever asked for it.
#[tokio::test]
async fn a_sync_that_is_to_end_ends_with_the_word_that_its_place_was_taken() {
    let world = World::start().await;
    let mailbox = world.mailbox(Channel::Config, Place::Connection);
    lock(&world.relay.books).word = Some((Place::Connection, mailbox, ErrorCode::Replaced, 1));
    let synced = tokio::time::timeout(PATIENCE, world.app.sync(SyncMode::Once)).await;
    assert_eq!(synced.unwrap(), Err(AppError::Replaced));
    assert_eq!(lock(&world.relay.books).connections, 1);
}

/// Until the video line was told that the state directory keeps failing.
async fn until_it_keeps_failing(events: &mut Events) {
    let telling = async {
        loop {
            match events.next().await {
                Some(Event::Disconnected { reason, .. }) if reason.contains("keeps failing") => {
                    return;
                }
                Some(_) => {}
                None => panic!("the app is gone"),
            }
        }
    };
    let told = tokio::time::timeout(PATIENCE, telling).await;
    assert!(told.is_ok(), "no line goes on behind two failed commits");
}

#[tokio::test]
async fn commits_that_fail_one_after_the_other_end_no_line_of_a_sync_that_follows() {
    let world = World::start().await;
    let mut events = world.app.observe();
    world.fails.store(true, Ordering::Relaxed);
    world.disk.inject(world.disk.op_count(), Fault::Eio);
    let following = world.follow();
    until_it_keeps_failing(&mut events).await;
    world.fails.store(false, Ordering::Relaxed);
    world.disk.heal();
    world.until_all_lines_go_on().await;
    end(following).await;
}

#[tokio::test]
async fn a_journal_that_cannot_be_opened_again_ends_a_sync_that_follows_with_all_lines() {
    let world = World::start().await;
    world.disk.inject_from(world.disk.op_count(), Fault::Eio);
    let synced = tokio::time::timeout(PATIENCE, world.follow()).await;
    let error = synced.unwrap().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
}

/// What two hubs call it is one relay, and gets one connection.
#[test]
fn a_relay_with_two_addresses_is_one() {
    let line = |relay: String| LineInfo {
        line: Line::of(PairingId([1; 16]), Channel::Config),
        mailboxes: journal::Mailboxes {
            send: SendId([1; 24]),
            receive: wire::ReceiveId([2; 24]),
        },
        relay,
    };
    let key = Identity::from_seed([5; 32]).relay_id().to_text();
    let other = Identity::from_seed([6; 32]).relay_id().to_text();
    let texts = [
        format!("192.0.2.5:4433/{key}"),
        format!("home.example:4433/{key}"),
        format!("home.example:4433/{other}"),
    ];
    let grouped = by_relay(texts.iter().cloned().map(line).collect());
    let mut found: Vec<Vec<&str>> = grouped
        .iter()
        .map(|(texts, lines)| {
            assert_eq!(texts.len(), lines.len());
            texts.iter().map(String::as_str).collect()
        })
        .collect();
    found.sort();
    let [one, two, three] = texts.each_ref().map(String::as_str);
    assert_eq!(found, [vec![one, two], vec![three]]);
}

#[test]
fn a_line_ends_alone_only_by_what_is_its_own_and_that_is_told() {
    let line = Line::of(PairingId([1; 16]), Channel::Config);
    let text = String::new;
    let own = [
        AppError::Corrupt(text()),
        AppError::LineBroken,
        AppError::OlderCopy,
    ];
    for error in own {
        let end = End::Fatal(error);
        assert!(!end.concerns_all(), "{end:?}");
        assert!(end_of_line(line, &Err(end.clone())).is_some(), "{end:?}");
    }
    let of_all = [
        AppError::Poisoned(text()),
        AppError::Unusable(text()),
        AppError::Bug(text()),
        AppError::NotAdmitted(text()),
        AppError::NotPaired,
        AppError::Locked,
    ];
    for error in of_all {
        let end = End::Fatal(error);
        assert!(end.concerns_all(), "{end:?}");
    }
}
