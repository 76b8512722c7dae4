//! The app as its callers see it. Every call here is a thin order to the journal thread or to a
//! shell; nothing is decided in this room.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use journal::ids::{Channel as JournalChannel, Line, PairingId};
use journal::{AppPairing, Taken};
use pairing_lan::Where;
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::command::{
    self, CameraSettings, Command, CommandId, CommandOutcome, CommandStatus, KnownSettings,
};
use crate::core::{Launch, OFFLINE_AFTER_MS, OfEvent, Ordered, Run};
use crate::downlink;
use crate::engine::{Engine, Opener, Shell};
use crate::error::AppError;
use crate::event::{Announcer, Event, Events};
use crate::export::{self, ClipReader};
use crate::invite::{self, AddedPhone, InviteCode};
use crate::live::{LiveView, Viewers};
use crate::pairing;
use crate::relay;
use crate::state_dir;
use crate::types::{
    Channel, ChannelKeys, Clip, ClipId, Exported, Heartbeat, HubId, HubStatus, Notification,
    PairedHub, Standing, Status, SyncMode, Thumbnail,
};

/// What to do about a state directory that does not exist.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Creation {
    /// Make it.
    #[default]
    IfMissing,
    /// Answer [`AppError::NotPaired`].
    Never,
}

/// Who opens an app.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OpenedBy {
    /// A person who looks at it: its first sync sends a heartbeat, unless one was sent in the last ten
    /// minutes.
    #[default]
    Person,
    /// A phone's scheduler, which opens it again and again: heartbeats keep their rhythm.
    Scheduler,
}

/// How to open an app.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// About a directory that does not exist.
    pub creation: Creation,
    /// Whether this is a launch.
    pub opened_by: OpenedBy,
    /// A hub that has not answered for so long looks offline ([`Event::LooksOffline`]); 15 minutes unless somebody
    /// says otherwise, six hours at most.
    pub offline_after: Duration,
    /// In which network a hub is looked for that pairs; the one of the default route unless somebody says otherwise.
    pub nearby: Where,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            creation: Creation::default(),
            opened_by: OpenedBy::default(),
            offline_after: Duration::from_millis(OFFLINE_AFTER_MS),
            nearby: Where::default(),
        }
    }
}

/// What all futures of one app share.
pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) clock: Clock,
    pub(crate) announcer: Announcer,
    /// One sync or pairing at a time: the relay lets a device have one connection.
    network: Mutex<()>,
    /// Which pairings this launch still owes a heartbeat.
    launch: std::sync::Mutex<Launch>,
    /// Pairings whose hub looks offline, and watchers were told.
    offline: std::sync::Mutex<BTreeSet<PairingId>>,
    /// Rises with each command that is given, so that a sync that goes on sends it at once.
    orders: watch::Sender<u64>,
    /// Who watches live.
    pub(crate) viewers: Arc<Viewers>,
    /// Where a hub is looked for that pairs.
    pub(crate) nearby: Where,
}

impl Shared {
    pub(crate) fn launch(&self) -> Launch {
        self.locked_launch().clone()
    }

    /// Later heartbeats of this pairing have their own rhythm.
    pub(crate) fn launch_is_over(&self, pairing: PairingId) {
        self.locked_launch().is_over(pairing);
    }

    /// A hub looks offline, and has been silent since then: watchers are told, once until it is back.
    pub(crate) fn looks_offline(&self, pairing: PairingId, since_unix_ms: u64) {
        if self.locked_offline().insert(pairing) {
            let hub = HubId::from_journal(pairing);
            self.announcer
                .tell(Event::LooksOffline { hub, since_unix_ms });
        }
    }

    /// A hub does not look offline: if watchers were told that it does, they are told that it is back.
    pub(crate) fn looks_online(&self, pairing: PairingId) {
        if self.locked_offline().remove(&pairing) {
            let hub = HubId::from_journal(pairing);
            self.announcer.tell(Event::BackOnline { hub });
        }
    }

    fn locked_offline(&self) -> MutexGuard<'_, BTreeSet<PairingId>> {
        // As with the launch.
        self.offline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever a command is given.
    pub(crate) fn orders(&self) -> watch::Receiver<u64> {
        self.orders.subscribe()
    }

    fn locked_launch(&self) -> MutexGuard<'_, Launch> {
        // Nothing panics while it is held, and a set of pairings is always whole.
        self.launch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The phone's side of any number of pairings, over one state directory. Cheap to clone; the last
/// clone closes the journal.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}

impl App {
    /// Opens the state directory `dir` (made with mode 0700 if it is missing), recovering whatever
    /// the last process left.
    ///
    /// # Errors
    /// [`AppError::Locked`] while another process has it open; [`AppError::Directory`] for a
    /// directory that is somebody else's; [`AppError::Corrupt`] with the way out; others as they say.
    pub async fn open(dir: impl AsRef<Path>, options: AppOptions) -> Result<Self, AppError> {
        let dir = dir.as_ref().to_path_buf();
        state_dir::prepare(&dir, options.creation)?;
        Self::start(state_dir::opener(dir), &options).await
    }

    pub(crate) async fn start(opener: Opener, options: &AppOptions) -> Result<Self, AppError> {
        let clock = Clock::start();
        let offline_after_ms = options.offline_after.as_millis();
        let announcer = Announcer::new();
        let shell = Shell {
            clock,
            announcer: announcer.clone(),
            // The core takes no longer one than it has use for.
            offline_after_ms: u64::try_from(offline_after_ms).unwrap_or(u64::MAX),
        };
        let shared = Shared {
            engine: Engine::start(opener, shell).await?,
            clock,
            announcer,
            network: Mutex::new(()),
            launch: std::sync::Mutex::new(match options.opened_by {
                OpenedBy::Person => Launch::ByPerson(BTreeSet::new()),
                OpenedBy::Scheduler => Launch::ByScheduler,
            }),
            offline: std::sync::Mutex::default(),
            orders: watch::channel(0).0,
            viewers: Arc::new(Viewers::default()),
            nearby: options.nearby,
        };
        let now_unix_s = clock.unix_s();
        let expire = shared.engine.read(move |core, _shell| {
            AppPairing::expire(core.journal(), now_unix_s)?;
            core.journal().expire_passed_codes(now_unix_s)
        });
        if let Err(error) = expire.await {
            // A full disk, say: what is here can be read all the same, and the next start tries again.
            tracing::warn!(%error, "offers whose time is over could not be ended");
        }
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    #[cfg(test)]
    pub(crate) fn engine(&self) -> &Engine {
        &self.shared.engine
    }

    /// Pairs with the hub that shows this code, and has the relay admit this device. Every step is
    /// durable before it is said: after a crash or a dropped future, call it again with the same
    /// code; it goes on where it stood, or says that it was done.
    ///
    /// # Errors
    /// [`AppError::Pairing`] for a wrong, expired or used code; [`AppError::Network`] if hub or relay
    /// cannot be reached; [`AppError::NotAdmitted`] if the relay refuses.
    pub async fn pair(&self, code: &str) -> Result<PairedHub, AppError> {
        let _alone = self.shared.network.lock().await;
        pairing::pair(&self.shared, code).await
    }

    /// Pairs by the secret that is printed on a hub (`SECLUSODEVICE1:...`) with the hub at `address`
    /// (`host:port`), while that is in pairing mode. Without an address the hub is looked for in the local network
    /// ([`AppOptions::nearby`]). After an interruption, call it again, as [`Self::pair`].
    ///
    /// # Errors
    /// As [`Self::pair`].
    pub async fn pair_printed(
        &self,
        secret: &str,
        address: Option<&str>,
    ) -> Result<PairedHub, AppError> {
        let _alone = self.shared.network.lock().await;
        pairing::pair_printed(&self.shared, secret, address).await
    }

    /// Fetches what the hubs sent, and acks it. Dropping the future ends it.
    ///
    /// A heartbeat that is due is sent once everything is here, on all channels that can be reached; or else a command
    /// that waits ([`Self::command`]), and behind a heartbeat the command when that is answered. With
    /// [`SyncMode::Once`] the sync then stays for the hub's Commits and its answer, at most [`crate::HUB_WAIT_MS`] from
    /// when the relay has it, and so it does before it calls a hub silent; what comes later is fetched by a later one
    /// ([`Self::heartbeat_due`] says when a heartbeat asks for one). With [`SyncMode::Follow`] each is sent whenever it
    /// is due.
    ///
    /// A hub that looks offline is told of by [`Event::LooksOffline`], and by [`Event::BackOnline`] when it is heard of
    /// again, each once as long as this app is open.
    ///
    /// With [`SyncMode::Follow`] it returns only with an error that trying again cannot cure. That the relay does not
    /// admit this device counts as one once it was repeated for ten minutes.
    ///
    /// # Errors
    /// As [`AppError`] says; everything that became durable before stays.
    pub async fn sync(&self, mode: SyncMode) -> Result<(), AppError> {
        let _alone = self.shared.network.lock().await;
        self.expire_codes().await;
        let result = downlink::sync(&self.shared, mode).await;
        // Whatever the network did, what was stored last is written down as synced.
        let rested = self.shared.engine.read(|core, _shell| core.rest()).await;
        result.and(rested)
    }

    /// A code to pass on is kept no longer than it is good; that it could not be erased is no reason not to hear what
    /// there is.
    async fn expire_codes(&self) {
        let now_unix_s = self.shared.clock.unix_s();
        let expire = self
            .shared
            .engine
            .read(move |core, _shell| core.journal().expire_passed_codes(now_unix_s));
        if let Err(error) = expire.await {
            tracing::warn!(%error, "codes whose time is over could not be erased");
        }
    }

    /// When a phone's scheduler should call [`Self::sync`] next, milliseconds since 1970 by this device's
    /// clock: six hours after the last heartbeat, less up to half an hour that differs from phone to
    /// phone; 30 s after one that failed, twice as long after each further one, six hours at most. While a
    /// hub is silent, when to look for its answer: after 15 minutes, then after as long again as it has
    /// been silent, six hours at most. A time that is past means now; a sync that failed is better tried
    /// again after a pause. None means that there is no pairing, or none whose hub could be heard.
    ///
    /// A launch is no matter of this: whoever opens the app as a person calls [`Self::sync`] anyway.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn heartbeat_due(&self) -> Result<Option<u64>, AppError> {
        let due = self
            .shared
            .engine
            .read(|core, shell| core.next_heartbeat(shell.clock.unix_ms()));
        due.await
    }

    /// Orders something from a hub. When this returns it is stored and will be done, also if this process is
    /// killed: the next [`Self::sync`] sends it, once everything is here, and again if an epoch of the hub
    /// overtakes it; the hub does it once. What came of it is told by [`Event::CommandDone`] and kept in
    /// [`Self::commands`]. Commands are done in the order in which they were given, one after the other.
    ///
    /// # Errors
    /// [`AppError::NoSuchHub`], [`AppError::BadSetting`], [`AppError::TooManySettings`], [`AppError::CommandsWait`] if 16 wait already;
    /// [`AppError::OlderCopy`] or [`AppError::LineBroken`] if nothing is sent to that hub any more; or about
    /// the state directory.
    pub async fn command(&self, hub: HubId, command: Command) -> Result<CommandId, AppError> {
        let order = command.into_order()?;
        let pairing = hub.to_journal();
        let ordered = self.shared.engine.write(
            move |core, shell| core.stage_order(pairing, order, shell.clock.unix_ms()),
            move |_core, committed, ordered, _shell| {
                Ok(match ordered {
                    Ordered::Taken(staged) => {
                        let id = committed.redeem(staged).into_inner();
                        Ok(CommandId::from_journal(id))
                    }
                    Ordered::Full => Err(AppError::CommandsWait),
                    Ordered::NoSuchHub => Err(AppError::NoSuchHub(hub)),
                })
            },
        );
        let id = ordered.await??;
        self.shared.orders.send_modify(|orders| *orders += 1);
        Ok(id)
    }

    /// The commands that wait for their answers, and the last 16 of each hub that were answered.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn commands(&self) -> Result<Vec<CommandStatus>, AppError> {
        let books = self
            .shared
            .engine
            .read(|core, _shell| core.command_books())
            .await?;
        let of = |(pairing, book)| command::of_book(HubId::from_journal(pairing), &book);
        Ok(books.into_iter().flat_map(of).collect())
    }

    /// The code that a command asked for ([`Command::Invite`]), as long as it is here: after
    /// [`Event::InviteReady`], until [`Self::forget_invite_code`], until a phone has used it, and until its time is
    /// over.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn invite_code(&self, asked_by: CommandId) -> Result<Option<InviteCode>, AppError> {
        let (id, now_unix_s) = (asked_by.to_journal(), self.shared.clock.unix_s());
        let read = self.shared.engine.read(move |core, _shell| {
            core.journal().expire_passed_codes(now_unix_s)?;
            core.journal().passed_code(id)
        });
        Ok(read.await?.as_ref().map(InviteCode::of))
    }

    /// A code was shown to whoever it is for, or nobody wants it any more: its key is erased, and with it every copy
    /// that the state directory still holds. The code itself stays good at the hub until it is used or its time is
    /// over; another [`Command::Invite`] of this phone makes it void.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn forget_invite_code(&self, asked_by: CommandId) -> Result<(), AppError> {
        let id = asked_by.to_journal();
        let ended = self
            .shared
            .engine
            .read(move |core, _shell| core.journal().end_passed_code(id).map(drop));
        ended.await
    }

    /// The phones of a hub that were paired by a code which another phone passed on, as the hub told of them.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn added_phones(&self, hub: HubId) -> Result<Vec<AddedPhone>, AppError> {
        let pairing = hub.to_journal();
        let told = self
            .shared
            .engine
            .read(move |core, _shell| core.journal().told_of_added(pairing));
        let told = told.await?;
        Ok(told
            .phones
            .iter()
            .map(|one| AddedPhone::of(hub, one))
            .collect())
    }

    /// What is known here of a hub's settings.
    ///
    /// # Errors
    /// [`AppError::NoSuchHub`], or about the state directory.
    pub async fn settings(&self, hub: HubId) -> Result<KnownSettings, AppError> {
        let books = self
            .shared
            .engine
            .read(|core, _shell| core.command_books())
            .await?;
        let of = books
            .iter()
            .find(|(pairing, _)| HubId::from_journal(*pairing) == hub);
        let (_pairing, book) = of.ok_or(AppError::NoSuchHub(hub))?;
        Ok(KnownSettings::of(hub, book))
    }

    /// Watches a camera of a hub live, the first one if `camera` is empty. Pictures come while a sync follows
    /// ([`SyncMode::Follow`]), which also says the wish and the end of it; of what is shown nothing is stored. One
    /// viewer at a time for each hub.
    ///
    /// # Errors
    /// [`AppError::NoSuchHub`], [`AppError::WatchedAlready`], [`AppError::NoSuchCamera`], or about the state directory.
    pub async fn live(&self, hub: HubId, camera: &str) -> Result<LiveView, AppError> {
        let pairing = hub.to_journal();
        let lines = self.shared.engine.read(|core, _shell| core.lines()).await?;
        match lines.iter().any(|info| info.line.pairing == pairing) {
            true => self.shared.viewers.add(pairing, camera),
            false => Err(AppError::NoSuchHub(hub)),
        }
    }

    /// What is set at a camera of a hub once every command that waits is done: what a change starts from
    /// ([`Command::SetCamera`]). None if it is not known here: [`Command::Camera`] asks for it.
    ///
    /// # Errors
    /// [`AppError::NoSuchHub`], or about the state directory.
    pub async fn camera_settings(
        &self,
        hub: HubId,
        camera: &str,
    ) -> Result<Option<CameraSettings>, AppError> {
        let books = self
            .shared
            .engine
            .read(|core, _shell| core.command_books())
            .await?;
        let of = books
            .iter()
            .find(|(pairing, _)| HubId::from_journal(*pairing) == hub);
        let (_pairing, book) = of.ok_or(AppError::NoSuchHub(hub))?;
        Ok(book
            .camera_to_change(camera)
            .map(|(_base, settings)| settings))
    }

    /// All clips, in the order in which they became known.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn clips(&self) -> Result<Vec<Clip>, AppError> {
        let clips = self.shared.engine.read(|core, _shell| core.clips()).await?;
        Ok(clips
            .into_iter()
            .map(|(pairing, clip)| Clip::from_journal(pairing, clip))
            .collect())
    }

    /// The pictures of all events, in the order in which they became known. [`Self::export`] writes them
    /// to files.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn thumbnails(&self) -> Result<Vec<Thumbnail>, AppError> {
        let found = self.shared.engine.read(|core, _shell| core.thumbnails());
        Ok(found.await?.into_iter().map(Thumbnail::of).collect())
    }

    /// The last notifications of each hub, oldest first; at most [`crate::NOTIFICATIONS_KEPT`] of each. The
    /// notification of a clip that is deleted goes with it.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn notifications(&self) -> Result<Vec<Notification>, AppError> {
        let found = self.shared.engine.read(|core, _shell| core.notices());
        Ok(found.await?.into_iter().map(Notification::of).collect())
    }

    /// One clip, or the picture of an event.
    ///
    /// # Errors
    /// [`AppError::NoSuchClip`], or about the state directory.
    pub async fn clip(&self, clip: ClipId) -> Result<Clip, AppError> {
        let id = clip.to_journal();
        let (pairing, clip) = self
            .shared
            .engine
            .read(move |core, _shell| core.clip(id))
            .await?;
        Ok(Clip::from_journal(pairing, clip))
    }

    /// Writes exactly the bytes of a clip, or of the picture of an event, that are here to the file `path`: to a new file beside it first,
    /// checked against the SHA-256 that was stored when the clip ended, synced, then renamed.
    /// `progress` is called with the bytes written so far and all bytes. Whatever goes wrong, and if
    /// the future is dropped, the file at `path` is as it was, or already whole.
    ///
    /// # Errors
    /// [`AppError::NoSuchClip`], [`AppError::EmptyClip`], [`AppError::ClipDamaged`],
    /// [`AppError::HashDiffers`], [`AppError::Target`], [`AppError::Space`].
    pub async fn export(
        &self,
        clip: ClipId,
        path: impl Into<PathBuf>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Exported, AppError> {
        export::to_file(self, clip, path.into(), progress).await
    }

    /// Reads the bytes of a clip piece by piece, for writers of another kind.
    ///
    /// # Errors
    /// [`AppError::NoSuchClip`], [`AppError::EmptyClip`].
    pub async fn read_clip(&self, clip: ClipId) -> Result<ClipReader, AppError> {
        ClipReader::new(self.clone(), clip).await
    }

    pub(crate) async fn chunk(&self, clip: ClipId, index: u32) -> Result<Vec<u8>, AppError> {
        let id = clip.to_journal();
        let chunk = self
            .shared
            .engine
            .read(move |core, _shell| core.chunk(id, index))
            .await?;
        Ok(chunk.to_vec())
    }

    /// Deletes a clip, with picture and notification of its event: its key is erased, and with it every
    /// copy of its bytes that the state directory still holds. A picture or a notification of it that comes later is
    /// not kept. The id of a picture deletes that, with the notification, and not the clip.
    ///
    /// # Errors
    /// [`AppError::NoSuchClip`], or about the state directory.
    pub async fn delete(&self, clip: ClipId) -> Result<(), AppError> {
        let id = clip.to_journal();
        let deleted = self.shared.engine.write(
            move |core, _shell| core.delete(id),
            |_core, committed, staged, shell| {
                let clip = ClipId::from_journal(committed.redeem(staged).into_inner());
                shell.announcer.tell(Event::Deleted(clip));
                Ok(())
            },
        );
        deleted.await
    }

    /// Goes to another relay with all hubs, each of which must be there too: at this address (`host:port/key`), with the
    /// invitation that the hub gave for this phone, if that relay has another key than the one before. Nothing is lost:
    /// what is not here yet the hubs send again. Waits for the end of a sync that runs. If it fails, this app is where
    /// it was; ask again.
    ///
    /// # Errors
    /// [`AppError::NotPaired`]; [`AppError::NotAdmitted`] if that relay refuses, or address or invitation are none;
    /// [`AppError::Network`] if it cannot be reached.
    pub async fn move_to_relay(
        &self,
        address: &str,
        invitation: Option<&str>,
    ) -> Result<(), AppError> {
        let _alone = self.shared.network.lock().await;
        relay::move_to(&self.shared, address, invitation).await
    }

    /// Forgets a hub: its keys, what waits for it, and **every clip of it that is here**. For one that is lost, or
    /// that has removed this phone; the hub is told nothing. Waits for the end of a sync that runs. After a crash
    /// in the middle, ask again.
    ///
    /// # Errors
    /// [`AppError::NoSuchHub`], or about the state directory.
    pub async fn forget(&self, hub: HubId) -> Result<(), AppError> {
        let _alone = self.shared.network.lock().await;
        let pairing = hub.to_journal();
        let forgotten = self.shared.engine.read(move |core, shell| {
            let clips = core.forget(pairing)?;
            for clip in clips.iter().flatten() {
                let clip = ClipId::from_journal(*clip);
                shell.announcer.tell(Event::Deleted(clip));
            }
            Ok(clips.is_some())
        });
        match forgotten.await? {
            true => Ok(()),
            false => Err(AppError::NoSuchHub(hub)),
        }
    }

    /// How all pairings stand.
    ///
    /// # Errors
    /// Only about the state directory.
    pub async fn status(&self) -> Result<Status, AppError> {
        let lines = self
            .shared
            .engine
            .read(|core, _shell| core.status())
            .await?;
        let now_unix_ms = self.shared.clock.unix_ms();
        let hub = |line: crate::core::LineStatus| HubStatus {
            hub: HubId::from_journal(line.line.pairing),
            // The relay's key is no secret, and no news for a person either.
            relay: line.relay.split('/').next().unwrap_or_default().to_owned(),
            epoch: line.epoch,
            cursor: line.cursor.0,
            acked: line.acked.0,
            waiting: line.waiting,
            clips: line.clips,
            paired_unix_s: line.paired_unix_s,
            standing: Standing::of(line.over),
            channels: line.channels.iter().map(ChannelKeys::of).collect(),
            heartbeat: line
                .heartbeat
                .map(|state| Heartbeat::of(state, &line.pulse, now_unix_ms)),
        };
        Ok(Status {
            hubs: lines.into_iter().map(hub).collect(),
            read_unix_ms: now_unix_ms,
        })
    }

    /// What happens from now on. Bounded: a slow watcher gets [`Event::Missed`].
    #[must_use]
    pub fn observe(&self) -> Events {
        self.shared.announcer.subscribe()
    }

    /// Asks every relay for a connection, without fetching anything.
    ///
    /// # Errors
    /// As [`Self::sync`].
    pub async fn check_relays(&self) -> Result<(), AppError> {
        let _alone = self.shared.network.lock().await;
        let lines = self.shared.engine.read(|core, _shell| core.lines()).await?;
        let mut relays: Vec<String> = lines.into_iter().map(|line| line.relay).collect();
        relays.sort();
        relays.dedup();
        if relays.is_empty() {
            return Err(AppError::NotPaired);
        }
        for relay in relays {
            downlink::connect_to_relay(&self.shared, &relay, None)
                .await?
                .close();
        }
        Ok(())
    }
}

/// What has just come of an event, whose clip comes later or is looked for by whoever lists.
fn of_event<T>(line: Line, what: T) -> OfEvent<T> {
    OfEvent {
        pairing: line.pairing,
        clip: None,
        what,
    }
}

/// Tells watchers what a run made durable.
pub(crate) fn announce(shell: &Shell, line: Line, run: &Run) {
    let hub = HubId::from_journal(line.pairing);
    let durable_unix_ms = shell.clock.unix_ms();
    for fact in &run.facts {
        let event = match &fact.taken {
            Taken::Started(_) | Taken::Media { .. }
                if line.channel == JournalChannel::Thumbnail =>
            {
                continue;
            }
            Taken::Ended { .. } if line.channel == JournalChannel::Thumbnail => match &fact.clip {
                Some(picture) => Event::Thumbnail(Thumbnail::of(of_event(line, picture.clone()))),
                None => continue,
            },
            Taken::Notified(notice) => {
                Event::Notification(Notification::of(of_event(line, notice.clone())))
            }
            Taken::Media {
                clip,
                bytes,
                captured_unix_ms,
            } => Event::Media {
                clip: ClipId::from_journal(*clip),
                seq: fact.seq.0,
                bytes: *bytes,
                captured_unix_ms: Some(*captured_unix_ms).filter(|captured| *captured != 0),
                durable_unix_ms,
            },
            Taken::NewEpoch(epoch) | Taken::Healed(epoch) => {
                if line.channel == JournalChannel::EventVideo {
                    shell.announcer.tell(Event::NewEpoch {
                        hub,
                        epoch: epoch.0,
                    });
                }
                match &fact.taken {
                    Taken::Healed(_) => Event::Healed {
                        hub,
                        channel: Channel::from_journal(line.channel),
                        epoch: epoch.0,
                    },
                    _ => continue,
                }
            }
            Taken::Answered(answer) => Event::HeartbeatAnswered {
                hub,
                number: answer.number,
                hub_version: answer.version.clone(),
            },
            Taken::CommandDone(done) => Event::CommandDone {
                hub,
                id: CommandId::from_journal(done.id),
                outcome: CommandOutcome::of(hub, &done.result),
            },
            Taken::Settings(doc) => {
                let (version, settings) = command::told(doc);
                Event::Settings {
                    hub,
                    version,
                    settings,
                }
            }
            Taken::Invited { asked_by, taken } => {
                invite::event_of(hub, CommandId::from_journal(*asked_by), *taken)
            }
            Taken::Added(news) => {
                for one in news {
                    let added = AddedPhone::of(hub, one);
                    shell.announcer.tell(Event::PhoneAdded { hub, added });
                }
                continue;
            }
            Taken::Nothing(why) => Event::Ignored {
                hub,
                seq: fact.seq.0,
                why,
            },
            Taken::Started(_) | Taken::Ended { .. } => match &fact.clip {
                Some(clip) => Event::Clip(Clip::of_hub(hub, clip.clone())),
                None => continue,
            },
            // Told to whoever watches, and to nobody else.
            Taken::LiveBegun(_) | Taken::LiveEnded(_) => continue,
            Taken::Cover
            | Taken::Duplicate
            | Taken::Gap { .. }
            | Taken::NotAuthentic
            | Taken::RolledBack
            | Taken::LineBroken => continue,
        };
        shell.announcer.tell(event);
    }
}
