//! A hub's core and an app's journal, paired, and a relay that is a function.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use journal::message::{CameraDoc, CameraSettings, CommandKind, Settings, SettingsDoc};
use journal::pairing::{AppNext, OfferTerms};
use journal::vault::file::FileVault;
use journal::{
    AppClipState, AppPairing, CommandBook, Follower, HubPairing, Journal, Offer, Role, Session,
    Suite, Taken,
};
use wal::disk::{CrashPolicy, Disk, SimDisk};
use wal::store::MemStore;
use wal::{Options, SeededDice};
use wire::ids::{DeviceId, RelayId, Seq};
use wire::{Class, Invitation};

use super::super::*;
use super::gate::Gate;
pub(crate) use super::given::{event, piece};
use crate::camera::EventEnd;
use crate::camera::clock::{Clock, Sleep};

pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// Time that passes when a test says so.
#[derive(Clone)]
pub(crate) struct HandClock {
    now_ms: Arc<AtomicU64>,
    unix_ms: Arc<AtomicU64>,
}

impl Default for HandClock {
    fn default() -> Self {
        Self {
            now_ms: Arc::default(),
            unix_ms: Arc::new(AtomicU64::new(NOW_MS)),
        }
    }
}

impl HandClock {
    pub(crate) fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn set_unix_ms(&self, unix_ms: u64) {
        self.unix_ms.store(unix_ms, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.now_ms.load(Ordering::Relaxed))
    }

    fn unix_ms(&self) -> u64 {
        self.unix_ms.load(Ordering::Relaxed)
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        Box::pin(std::future::pending())
    }
}

pub(crate) fn open(
    role: Role,
    disk: &SimDisk,
    seed: u64,
) -> Result<(Journal, RecoveryReport), JournalError> {
    open_over(role, disk, Arc::new(disk.clone()), LOG_FILE_BYTES, seed)
}

/// The smallest log files that a configuration takes.
const LOG_FILE_BYTES: u64 = 4 << 20;

/// Log and vault through a disk that lies over the simulated one.
fn open_over(
    role: Role,
    sim: &SimDisk,
    disk: Arc<dyn Disk>,
    log_file_bytes: u64,
    seed: u64,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let store = MemStore::on_disk(Arc::new(sim.clone()), "view");
    let vault = FileVault::new(disk.clone(), "vault");
    let options = Options {
        log_file_bytes,
        ballast_bytes: 256 << 10,
        ..Options::default()
    };
    Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        Box::new(SeededDice(seed)),
        options,
    )
}

pub(crate) fn opener(disk: &SimDisk, first_seed: u64) -> Opener {
    let disk = disk.clone();
    let mut seed = first_seed;
    Box::new(move || {
        seed += 1;
        open(Role::Hub, &disk, seed)
    })
}

/// As [`opener`], with syncs that wait at a gate.
pub(crate) fn gated_opener(disk: &SimDisk, gate: &Gate, first_seed: u64) -> Opener {
    let (disk, gate) = (disk.clone(), gate.clone());
    let mut seed = first_seed;
    Box::new(move || {
        seed += 1;
        let over = Arc::new(gate.before(&disk));
        open_over(Role::Hub, &disk, over, LOG_FILE_BYTES, seed)
    })
}

/// As [`opener`], with log files of another size.
pub(crate) fn opener_with(disk: &SimDisk, log_file_bytes: u64, first_seed: u64) -> Opener {
    let disk = disk.clone();
    let mut seed = first_seed;
    Box::new(move || {
        seed += 1;
        let over = Arc::new(disk.clone());
        open_over(Role::Hub, &disk, over, log_file_bytes, seed)
    })
}

/// What every phone is offered.
pub(crate) fn terms() -> OfferTerms {
    OfferTerms {
        hub: DeviceId([1; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "relay".into(),
        invitation: Invitation {
            relay: RelayId([2; 32]),
            nonce: [3; 16],
            expires_unix_s: NOW_MS / 1000 + 600,
            class: Class::Phone,
            signature: [4; 64],
        }
        .to_bytes(),
        suite: Suite::Classic,
        ttl_s: 600,
    }
}

/// An app's journal, and what has gone to and fro.
pub(crate) struct Phone {
    pub(crate) line: Line,
    disk: SimDisk,
    app: Journal,
    session: Session<Follower>,
    delivered: Seq,
    taken: Seq,
}

/// What a phone holds.
pub(crate) struct Holds {
    pub(crate) notices: Vec<journal::AppNotice>,
    /// When their events began, and their bytes.
    pub(crate) pictures: Vec<(u64, Vec<u8>)>,
    pub(crate) clips: Vec<journal::AppClip>,
    /// Those of the clips.
    pub(crate) bytes: Vec<Vec<u8>>,
}

pub(crate) struct World {
    pub(crate) disk: SimDisk,
    pub(crate) core: Core,
    pub(crate) line: Line,
    phone: Phone,
    seed: u64,
    /// How much time has passed.
    idle_ms: u64,
    /// What each start is told.
    limits: SilenceLimits,
}

impl World {
    pub(crate) fn unpaired() -> Self {
        Self::with_dice(1_000)
    }

    /// One of several hubs: the same dice would give them the same keys.
    pub(crate) fn with_dice(seed: u64) -> Self {
        let disk = SimDisk::new();
        let core = Core::start(opener(&disk, seed), SilenceLimits::default(), NOW_MS).unwrap();
        let phone = Phone::new(7);
        Self {
            disk,
            core,
            line: phone.line,
            phone,
            seed,
            idle_ms: 0,
            limits: SilenceLimits::default(),
        }
    }

    pub(crate) fn paired() -> Self {
        Self::paired_with(Suite::Classic)
    }

    pub(crate) fn paired_with(suite: Suite) -> Self {
        let mut world = Self::unpaired();
        world.phone.pair(&mut world.core, suite);
        world.line = world.phone.line;
        assert_eq!(world.core.heads().unwrap().len(), Channel::ALL.len());
        world
    }

    /// The hub starts again, on a disk whose syncs wait at a gate.
    pub(crate) fn gated() -> (Self, Gate) {
        let mut world = Self::paired();
        let gate = Gate::default();
        let start = |opener| Core::start(opener, SilenceLimits::default(), NOW_MS);
        // The lock is inside the old one.
        world.core = start(opener(&SimDisk::new(), 1)).unwrap();
        world.core = start(gated_opener(&world.disk, &gate, 5_000)).unwrap();
        (world, gate)
    }

    /// The hub's core and the phone that was paired first.
    pub(crate) fn ends(&mut self) -> (&mut Core, &mut Phone) {
        (&mut self.core, &mut self.phone)
    }

    /// What the phone holds after it has taken everything.
    pub(crate) fn holds(&mut self) -> Holds {
        self.phone.take_all(&mut self.core)
    }

    /// The hub's core for whoever runs it, and the phone.
    pub(crate) fn split(self) -> (Core, Phone) {
        (self.core, self.phone)
    }

    /// One more phone of the same hub.
    pub(crate) fn pair_another(&mut self) -> Phone {
        self.pair_with_dice(8)
    }

    /// One of several more phones: the same dice would give them the same keys.
    pub(crate) fn pair_with_dice(&mut self, seed: u64) -> Phone {
        let mut phone = Phone::new(seed);
        phone.pair(&mut self.core, Suite::Classic);
        phone
    }

    /// From now on, and at each start.
    pub(crate) fn limit_silence(&mut self, limits: SilenceLimits) {
        self.limits = limits;
        self.core.silence.limit(limits);
    }

    /// So much time passes, in which the hub is attached to its relay and nobody is heard of.
    pub(crate) fn idle(&mut self, minutes: u64) {
        self.core.handle_link(true);
        self.pass(minutes);
    }

    /// So much time passes.
    pub(crate) fn pass(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.idle_ms += 60_000;
            let now_ms = NOW_MS + self.idle_ms;
            self.core.handle_timeout(now_ms).unwrap();
            let passed = Duration::from_secs(60);
            self.core.handle_elapsed(passed, now_ms).unwrap();
            self.core.commit(now_ms).unwrap();
        }
    }

    /// An event of `count` pieces, each synced; it stays open. Returns its bytes.
    pub(crate) fn record_some(&mut self, count: u64) -> Vec<u8> {
        assert_eq!(
            self.core.handle_event_started(event(), 5).unwrap(),
            Recorded::Taken
        );
        self.record_more(0..count)
    }

    /// These pieces of the open event, each synced. Returns their bytes.
    pub(crate) fn record_more(&mut self, numbers: std::ops::Range<u64>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in numbers {
            assert_eq!(
                self.core.handle_pieces(vec![piece(number)], 5).unwrap(),
                Recorded::Taken
            );
            self.core.commit(5).unwrap();
            bytes.extend_from_slice(&piece(number).bytes);
        }
        bytes
    }

    /// The open event is over, and that is synced.
    pub(crate) fn end_event(&mut self, end: EventEnd) {
        let ended = self.core.handle_event_ended(end, 7).unwrap();
        assert_eq!(ended, Recorded::Taken);
        self.core.commit(7).unwrap();
    }

    /// Whether the journal was opened again in this half of a commit, or in the whole of it; it must
    /// not fail in any other way.
    pub(crate) fn reopens(
        &mut self,
        half: impl FnOnce(&mut Core, u64) -> Result<(), CoreError>,
    ) -> bool {
        match half(&mut self.core, 6) {
            Ok(()) => false,
            Err(CoreError::Reopened) => true,
            Err(error) => panic!("{error}"),
        }
    }

    /// The disk is full and the reserve is used up: the end of the clip is owed.
    pub(crate) fn fill_the_disk(&mut self) {
        self.core.room = Some(false);
        let refused = self.core.handle_pieces(vec![piece(0)], 6).unwrap();
        assert_eq!(refused, Recorded::Not(Stop::Space));
    }

    /// The power fails and the hub starts again.
    pub(crate) fn crash(&mut self) {
        let after = self.disk.crash_clone(CrashPolicy::LoseAll, self.seed);
        self.restart_on(after);
    }

    pub(crate) fn restart_on(&mut self, disk: SimDisk) {
        self.seed += 100;
        self.disk = disk;
        let opener = opener(&self.disk, self.seed);
        self.core = Core::start(opener, self.limits, NOW_MS).unwrap();
    }

    pub(crate) fn notices(&mut self) -> Vec<Notice> {
        std::iter::from_fn(|| self.core.poll_notice()).collect()
    }

    pub(crate) fn finished(&mut self) -> Vec<ClipFacts> {
        let clip = |notice| match notice {
            Notice::ClipFinished { clip, .. } => Some(clip),
            _ => None,
        };
        self.notices().into_iter().filter_map(clip).collect()
    }

    /// Everything new from the hub to the app.
    pub(crate) fn deliver(&mut self) {
        self.phone.deliver(&mut self.core);
    }

    pub(crate) fn app_ack(&mut self) {
        self.phone.ack();
    }

    /// Everything new from the app, not yet taken.
    pub(crate) fn sent_by_app(&mut self) -> Vec<(Seq, Vec<u8>)> {
        self.phone.sent()
    }

    /// Everything new from the app to the hub. What the hub does not take stays in the mailbox.
    pub(crate) fn take_from_app(&mut self) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        for (seq, envelope) in self.sent_by_app() {
            let delivered = self
                .core
                .handle_envelope(self.line, seq, &envelope, NOW_MS)
                .unwrap();
            if matches!(delivered.verdict, Verdict::Taken | Verdict::Duplicate) {
                self.phone.taken = seq;
            }
            verdicts.push(delivered.verdict);
        }
        self.core.commit(NOW_MS).unwrap();
        verdicts
    }

    pub(crate) fn ack(&mut self) {
        self.app_ack();
        assert_eq!(self.take_from_app(), [Verdict::Taken]);
    }

    /// The phone sends a heartbeat.
    pub(crate) fn beat(&mut self, number: u64) {
        self.phone.beat(number);
    }

    /// The phone proposes new keys on one line, and says nothing else.
    pub(crate) fn propose_on(&mut self, channel: Channel) {
        let line = Line::of(self.line.pairing, channel);
        self.phone.propose(line);
    }

    /// The phone acks one line.
    pub(crate) fn ack_on(&mut self, channel: Channel) {
        let line = Line::of(self.line.pairing, channel);
        self.phone.ack_line(line);
    }

    /// What is stored of a line's group is gone, as if it had rotted.
    pub(crate) fn lose_group(&mut self, channel: Channel) {
        let line = Line::of(self.line.pairing, channel);
        let lost = self.core.with_journal(NOW_MS, |journal| {
            let mut session = Session::<Committer>::new(line);
            let mut txn = journal.begin();
            assert!(session.abandon(&mut txn)?.is_empty());
            txn.commit(())
        });
        drop(lost.unwrap());
        // Whatever the core had in memory of it goes as well.
        self.crash();
    }

    /// The phone says a heartbeat's message, and proposes nothing.
    pub(crate) fn say_heartbeat(&mut self, number: u64) {
        self.phone.say_heartbeat(number);
    }

    /// Carries what the phone has on one line to the hub.
    pub(crate) fn send_on(&mut self, channel: Channel) -> Vec<Verdict> {
        self.send_at(channel, NOW_MS)
    }

    /// The same at another time.
    pub(crate) fn send_at(&mut self, channel: Channel, now_ms: u64) -> Vec<Verdict> {
        let line = Line::of(self.line.pairing, channel);
        self.phone.send(&mut self.core, line, now_ms)
    }

    /// The same, not synced.
    pub(crate) fn hand_over_on(&mut self, channel: Channel) -> Vec<Verdict> {
        let line = Line::of(self.line.pairing, channel);
        self.phone.hand_over(&mut self.core, line, NOW_MS)
    }

    /// Carries what the hub has on one line to the phone.
    pub(crate) fn fetch_on(&mut self, channel: Channel) -> Vec<Taken> {
        let line = Line::of(self.line.pairing, channel);
        self.phone.fetch(&mut self.core, line)
    }

    pub(crate) fn app_epoch(&mut self) -> u64 {
        let Phone { session, app, .. } = &mut self.phone;
        session.epoch(&mut app.begin()).unwrap().0
    }

    /// The app's clips: state and bytes.
    pub(crate) fn app_clips(&self) -> Vec<(AppClipState, Vec<u8>)> {
        self.phone.clips()
    }
}

impl Core {
    /// As a phone's command leaves it: staged.
    pub(crate) fn set(&mut self, settings: Settings, now_unix_ms: u64) -> Result<(), CoreError> {
        let mut txn = self.journal()?.begin();
        let doc = SettingsDoc {
            version: txn.settings()?.version + 1,
            made_by: None,
            settings,
        };
        txn.put_settings(&doc)?;
        drop(txn.stage(())?);
        self.staged_bytes += SMALL_GROUP_BYTES;
        self.follow_settings(now_unix_ms)
    }

    /// As a phone's command leaves it: staged.
    pub(crate) fn set_camera(
        &mut self,
        camera: &str,
        settings: CameraSettings,
    ) -> Result<(), CoreError> {
        let mut txn = self.journal()?.begin();
        let all = txn.cameras_set()?;
        let known = all.iter().find(|doc| doc.camera == camera);
        let doc = CameraDoc {
            version: known.map_or(0, |doc| doc.version) + 1,
            settings,
            ..CameraDoc::unset(camera)
        };
        assert!(txn.put_camera_set(&doc, |_| true)?);
        drop(txn.stage(())?);
        self.staged_bytes += SMALL_GROUP_BYTES;
        Ok(())
    }

    /// As a phone's command leaves it: staged.
    pub(crate) fn wish_restart(&mut self) -> Result<(), CoreError> {
        let mut txn = self.journal()?.begin();
        txn.want_restart(CommandId([1; 16]))?;
        drop(txn.stage(())?);
        self.staged_bytes += SMALL_GROUP_BYTES;
        Ok(())
    }
}

impl Phone {
    pub(crate) fn new(seed: u64) -> Self {
        let line = Line {
            pairing: PairingId([0; 16]),
            channel: Channel::EventVideo,
        };
        let disk = SimDisk::new();
        let (app, _) = open(Role::App, &disk, seed).unwrap();
        Self {
            line,
            disk,
            app,
            session: Session::new(line),
            delivered: Seq::NONE,
            taken: Seq::NONE,
        }
    }

    pub(crate) fn pair(&mut self, core: &mut Core, suite: Suite) {
        let terms = OfferTerms { suite, ..terms() };
        let now_s = NOW_MS / 1000;
        let offer = core
            .with_journal(NOW_MS, |hub| HubPairing::offer(hub, terms, now_s))
            .unwrap()
            .into_inner();
        self.join(core, &offer);
        core.refresh_lines().unwrap();
    }

    /// A phone that pairs by a code which another one passes on.
    pub(crate) fn invited(core: &mut Core, offer: &Offer, seed: u64) -> Self {
        let mut phone = Self::new(seed);
        phone.join(core, offer);
        core.handle_paired(phone.line.pairing, NOW_MS).unwrap();
        core.commit(NOW_MS).unwrap();
        phone
    }

    /// It missed its last word, say, and pairs at the hub.
    pub(crate) fn pair_again(&mut self, core: &mut Core) {
        self.pair(core, Suite::Classic);
    }

    fn join(&mut self, core: &mut Core, offer: &Offer) {
        let now_s = NOW_MS / 1000;
        let app = &mut self.app;
        // Each phone has a name of its own, or a later one would take an earlier one's place.
        let device = DeviceId(*app.device().unwrap().identity_seed);
        let AppNext::Request(request) = AppPairing::start(app, offer, device, now_s)
            .unwrap()
            .into_inner()
        else {
            panic!("a fresh pairing begins with a request");
        };
        let answer = core
            .with_journal(NOW_MS, |hub| {
                HubPairing::request(hub, &request, request.device(), now_s)
            })
            .unwrap();
        let confirm = AppPairing::answer(app, &request, &answer, now_s).unwrap();
        let done = core
            .with_journal(NOW_MS, |hub| HubPairing::confirm(hub, &confirm))
            .unwrap();
        self.line.pairing = AppPairing::done(app, &confirm, &done).unwrap().into_inner();
        self.session = Session::new(self.line);
    }

    /// Everything new from the hub.
    pub(crate) fn deliver(&mut self, core: &mut Core) {
        while let Some((seq, envelope)) = core
            .next_envelope(self.line, self.delivered, NOW_MS)
            .unwrap()
        {
            let mut txn = self.app.begin();
            let taken = self
                .session
                .take(&mut txn, seq, envelope.as_bytes(), NOW_MS)
                .unwrap();
            let good = !matches!(
                taken,
                Taken::Gap { .. } | Taken::NotAuthentic | Taken::Nothing(_) | Taken::RolledBack
            );
            assert!(good, "{seq}: {taken:?}");
            drop(txn.commit(()).unwrap());
            self.delivered = seq;
        }
    }

    /// A heartbeat: the message, then new keys on every line.
    pub(crate) fn beat(&mut self, number: u64) {
        let mut sessions = Line::all(self.line.pairing).map(Session::<Follower>::new);
        let mut txn = self.app.begin();
        for session in &mut sessions {
            if session.line().channel == Channel::Config {
                session.send_heartbeat(&mut txn, number, NOW_MS).unwrap();
            }
        }
        for session in &mut sessions {
            session.propose_update(&mut txn, number, NOW_MS).unwrap();
        }
        drop(txn.commit(()).unwrap());
        self.session = Session::new(self.line);
    }

    /// The same phone once more, as its disk has it: for one of several worlds that go on from here.
    pub(crate) fn twin(&self, seed: u64) -> Self {
        let disk = self.disk.crash_clone(CrashPolicy::KeepAll, seed);
        let (app, _) = open(Role::App, &disk, 20_000 + seed).unwrap();
        Self {
            line: self.line,
            disk,
            app,
            session: Session::new(self.line),
            delivered: self.delivered,
            taken: self.taken,
        }
    }

    /// The owner orders something: it waits.
    pub(crate) fn order(&mut self, kind: CommandKind) {
        let mut txn = self.app.begin();
        let id = txn.add_command(self.line.pairing, kind, NOW_MS).unwrap();
        assert!(id.is_some());
        drop(txn.commit(()).unwrap());
    }

    /// The owner sets something, on what this phone knows.
    pub(crate) fn set(&mut self, settings: Settings) {
        let mut txn = self.app.begin();
        let id = txn.add_settings(self.line.pairing, settings, NOW_MS);
        assert!(id.unwrap().is_some());
        drop(txn.commit(()).unwrap());
    }

    /// The owner sets something at a camera, on what this phone knows.
    pub(crate) fn set_camera(&mut self, camera: &str, settings: CameraSettings) {
        let mut txn = self.app.begin();
        let id = txn.add_camera_settings(self.line.pairing, (camera, settings), NOW_MS);
        assert!(id.unwrap().is_some());
        drop(txn.commit(()).unwrap());
    }

    /// Encrypts the next command, if it is its turn.
    pub(crate) fn say_order(&mut self) -> bool {
        let mut session = Session::<Follower>::new(self.config());
        let mut txn = self.app.begin();
        let sent = session.send_command(&mut txn, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        sent.is_some()
    }

    /// The next command goes to the hub, and whatever the hub says in the config channel comes back.
    pub(crate) fn talk(&mut self, core: &mut Core) -> Vec<Taken> {
        self.say_order();
        let config = self.config();
        let _verdicts = self.send(core, config, NOW_MS);
        self.fetch(core, config)
    }

    /// An ack of the config channel.
    pub(crate) fn ack_config(&mut self, core: &mut Core) {
        let config = self.config();
        let mut session = Session::<Follower>::new(config);
        let mut txn = self.app.begin();
        session.send_ack(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(self.send(core, config, NOW_MS), [Verdict::Taken]);
    }

    /// What the phone knows of its commands.
    pub(crate) fn book(&self) -> CommandBook {
        self.app.commands(self.line.pairing).unwrap()
    }

    /// Its own journal.
    pub(crate) fn journal(&mut self) -> &mut Journal {
        &mut self.app
    }

    pub(crate) fn config(&self) -> Line {
        Line::of(self.line.pairing, Channel::Config)
    }

    fn say_heartbeat(&mut self, number: u64) {
        let config = Line::of(self.line.pairing, Channel::Config);
        let mut session = Session::<Follower>::new(config);
        let mut txn = self.app.begin();
        session.send_heartbeat(&mut txn, number, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
    }

    fn propose(&mut self, line: Line) {
        let mut session = Session::<Follower>::new(line);
        let mut txn = self.app.begin();
        session.propose_update(&mut txn, 1, NOW_MS).unwrap();
        drop(txn.commit(()).unwrap());
        self.session = Session::new(self.line);
    }

    fn ack_line(&mut self, line: Line) {
        let mut session = Session::<Follower>::new(line);
        let mut txn = self.app.begin();
        session.send_ack(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
        self.session = Session::new(self.line);
    }

    /// What the phone has sent on a line and the hub has not taken, judged by the hub and synced.
    pub(crate) fn send(&mut self, core: &mut Core, line: Line, now_ms: u64) -> Vec<Verdict> {
        let verdicts = self.hand_over(core, line, now_ms);
        core.commit(now_ms).unwrap();
        verdicts
    }

    /// The same, not synced.
    pub(crate) fn hand_over(&mut self, core: &mut Core, line: Line, now_ms: u64) -> Vec<Verdict> {
        let mut verdicts = Vec::new();
        let mut at = core.cursor(line).unwrap();
        while let Some((seq, envelope)) = self.app.outbox_next(line, at).unwrap() {
            let taken = core.handle_envelope(line, seq, envelope.as_bytes(), now_ms);
            verdicts.push(taken.unwrap().verdict);
            at = seq;
        }
        verdicts
    }

    /// What the hub has sent on a line and the phone has not taken.
    pub(crate) fn fetch(&mut self, core: &mut Core, line: Line) -> Vec<Taken> {
        let mut session = Session::<Follower>::new(line);
        let mut all = Vec::new();
        let mut at = self.app.inbox_head(line).unwrap().cursor;
        while let Some((seq, envelope)) = core.next_envelope(line, at, NOW_MS).unwrap() {
            let mut txn = self.app.begin();
            let taken = session.take(&mut txn, seq, envelope.as_bytes(), NOW_MS);
            all.push(taken.unwrap());
            drop(txn.commit(()).unwrap());
            at = seq;
        }
        self.session = Session::new(self.line);
        self.delivered = self.app.inbox_head(self.line).unwrap().cursor;
        all
    }

    /// Takes everything that the hub has, and says what it holds then.
    pub(crate) fn take_all(&mut self, core: &mut Core) -> Holds {
        let pairing = self.line.pairing;
        for channel in [
            Channel::Notification,
            Channel::Thumbnail,
            Channel::EventVideo,
        ] {
            self.fetch(core, Line::of(pairing, channel));
        }
        let pictures = self.app.app_thumbnails(pairing).unwrap().into_iter();
        Holds {
            notices: self.app.app_notices(pairing).unwrap(),
            pictures: pictures
                .map(|picture| (picture.started_unix_ms, self.app.app_chunk(picture.clip, 0)))
                .map(|(started_unix_ms, jpeg)| (started_unix_ms, jpeg.unwrap().to_vec()))
                .collect(),
            clips: self.app.app_clips(pairing).unwrap(),
            bytes: self.clips().into_iter().map(|(_, bytes)| bytes).collect(),
        }
    }

    fn ack(&mut self) {
        let mut txn = self.app.begin();
        self.session.send_ack(&mut txn).unwrap();
        drop(txn.commit(()).unwrap());
    }

    fn sent(&self) -> Vec<(Seq, Vec<u8>)> {
        let mut out = Vec::new();
        let mut at = self.taken;
        while let Some((seq, envelope)) = self.app.outbox_next(self.line, at).unwrap() {
            out.push((seq, envelope.as_bytes().to_vec()));
            at = seq;
        }
        out
    }

    /// Its clips: state and bytes.
    pub(crate) fn clips(&self) -> Vec<(AppClipState, Vec<u8>)> {
        let clips = self.app.app_clips(self.line.pairing).unwrap();
        let whole = |clip: journal::AppClip| {
            let chunks =
                (0..clip.chunks).flat_map(|n| self.app.app_chunk(clip.clip, n).unwrap().to_vec());
            (clip.state, chunks.collect())
        };
        clips.into_iter().map(whole).collect()
    }
}
