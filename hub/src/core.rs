//! The hub's heart: one journal, one MLS session per line, the events being recorded.
//!
//! Sans-IO apart from the journal handle it owns: events and `now` come in as arguments, facts come
//! out as [`Notice`]s and only after they are synced. A thread ([`crate::sealer`]) or a simulation
//! drives it. It must never encrypt in an epoch that its handle did not open (the journal's session
//! sees to that), never show what is not durable, and never let the network hold up a recording:
//! it knows no network.
//!
//! ```text
//! handle_*  stage transactions     commit  one sync for all     poll_notice  what is true now
//! ```
//!
//! A commit has two halves, so that the next pieces are sealed while the disk syncs the last:
//! [`Core::begin_commit`] notes what is true once its sync is over, [`Core::finish_commit`] waits
//! for that and says it. What is staged between the two belongs to the next.
//!
//! Here are the start and what all rooms below share; each of these has one job.

mod age;
mod alarm;
mod budget;
mod camera_settings;
mod closing;
mod command;
mod cover;
mod death;
mod delivery;
mod error;
mod evidence;
mod facts;
mod invite;
mod lines;
mod live;
mod names;
mod outbox;
mod pace;
mod phones;
mod poison;
mod recording;
mod retained;
mod room;
mod rotation;
mod silence;
mod sync;
mod tell;
mod trim;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use journal::ids::{CommandId, Line};
use journal::{
    Committer, HubPairing, Journal, JournalError, REMOVAL_BYTES_MAX, Session, or_after_commit,
};
use wal::RecoveryReport;

pub use alarm::Presence;
pub use camera_settings::{CameraSet, Detections};
pub use death::Death;
pub use delivery::{Delivered, Verdict};
pub use error::CoreError;
pub(crate) use error::is_about_one_line;
pub use evidence::Judged;
pub use facts::{
    ClipFacts, ClipState, CoreStatus, Heads, LineHeads, LineStatus, Notice, Standing, Stop, Wishes,
};
pub use invite::MayInvite;
pub use live::{LIVE_CUT_MAX, LIVE_LASTS_MAX, LIVE_VIEWERS_MAX, LiveBoard, LiveNow, LiveStatus};
use pace::Pace;
pub use recording::{CameraNumber, Event, Piece, Recorded};
pub use silence::SilenceLimits;
pub use tell::{Alert, Still};

use age::Aging;
use alarm::Alarms;
use error::unless_reopened;
use evidence::Disproof;
use lines::{LineState, PROVEN};
use live::Lives;
use names::Names;
use recording::Recording;
use retained::Playing;
use silence::Silence;
use sync::Flight;
use trim::TRIM_STEPS_PER_TICK;

/// Bytes that are staged before their sync begins even if more could share it: four chunks, so that the next
/// fragment is sealed while those before it reach the disk. With one more transaction, which is a quarter of a log
/// file at most, below the half of one that a batch may have, in the smallest that the configuration takes.
pub const BATCH_BYTES: u64 = 256 * 1024;
/// What a Commit, a header and a notice take in the log, with room for X-Wing's keys.
const EPOCH_BYTES: u64 = 128 * 1024;
/// What a command takes, with its answer.
const COMMAND_BYTES: u64 = EPOCH_BYTES + REMOVAL_BYTES_MAX;
/// What a chunk takes beside its own bytes: MLS, wrap, padding, its rows and its sector.
const CHUNK_OVERHEAD_BYTES: u64 = 12 * 1024;
/// What a transaction of a row or two takes in the log: a sector.
const SMALL_GROUP_BYTES: u64 = 4 * 1024;
/// Facts that wait for whoever polls; the oldest go first.
const NOTICES_MAX: usize = 1024;

/// Opens the journal; called again after a failed write or sync.
pub type Opener = Box<dyn FnMut() -> Result<(Journal, RecoveryReport), JournalError> + Send>;

/// The hub's core. See the module's documentation.
pub struct Core {
    /// `None` only while it is being opened again, and after that failed for good.
    journal: Option<Journal>,
    opener: Opener,
    lines: BTreeMap<Line, LineState>,
    /// At most one of each camera.
    recordings: BTreeMap<CameraNumber, Recording>,
    /// Who watches live.
    lives: Lives,
    /// How long each phone was not heard of.
    silence: Silence,
    /// What is being played, or the end of which is owed.
    playing: Option<Playing>,
    /// It was said that what is to be played waits for room.
    said_play_waits: bool,
    /// How long this process has run, as far as ticks have counted it.
    ran: Duration,
    /// What the owner is told that is no event.
    alarms: Alarms,
    /// How many bytes of video may wait.
    budget_bytes: Option<u64>,
    /// For how many days, if no phone says otherwise.
    clip_days: Option<u32>,
    /// How old clips are.
    aging: Aging,
    /// Under which names events are told.
    names: Names,
    /// Whether a clip may be there that is dropped in part.
    drops: bool,
    /// Why the last event was not recorded, or not all of it; said once until one is recorded again.
    stopped: Option<Stop>,
    /// The camera is not there, as the parts outside know.
    camera_failed: bool,
    staged_bytes: u64,
    /// An envelope of ours that proves this directory old, as far as it is not known to be kept.
    disproof: Option<Disproof>,
    reopens: u32,
    /// At the last tick a first byte went before what the vault has not heard of.
    keys_waited: bool,
    generation: u64,
    /// Whether a copy is kept of clips that begin.
    retains: bool,
    /// Whether copies that are there are wanted by nobody.
    unwanted: bool,
    /// Whether an ack, or a crash behind one, may have left copies that are to be released.
    releases: bool,
    /// Why it could not be opened again.
    dead: Option<Death>,
    /// Set by a test: whether a step is told that there is room for it, whatever the disk says.
    #[cfg(test)]
    pub(crate) room: Option<bool>,
    /// Set by a test: no clip makes room for another.
    #[cfg(test)]
    pub(crate) keeps_all: bool,
    /// Set by a test: what the next questions for room end with.
    #[cfg(test)]
    pub(crate) room_errors: VecDeque<CoreError>,
    /// Set by a test: so many of the next syncs cannot begin.
    #[cfg(test)]
    pub(crate) no_sync: u32,
    /// Set by a test: what is stored of this pairing cannot be read.
    #[cfg(test)]
    pub(crate) unreadable: Option<journal::ids::PairingId>,
    flight: Option<Flight>,
    /// What the parts outside are to do, as far as a sync covers it.
    wishes: Wishes,
    /// What the configuration says of each camera.
    detections: Detections,
    /// The command whose restart this start was; its row may still be there.
    restarted_for: Option<CommandId>,
    /// Whether paired phones may pass offers on.
    may_invite: MayInvite,
    /// Events recorded by this handle, so that a sync is never counted for another one's pieces.
    events: u64,
    /// True as soon as they are synced.
    pending: Vec<Notice>,
    notices: VecDeque<Notice>,
}

impl Core {
    /// Opens the journal and does what a start owes: every epoch that was encrypted in is closed,
    /// with the cut-off notice of its clip, all in one sync. `limits`: who is silent is known from the first
    /// moment on.
    ///
    /// # Errors
    /// The journal's, each of which names the way out.
    pub fn start(
        mut opener: Opener,
        limits: SilenceLimits,
        now_unix_ms: u64,
    ) -> Result<Self, CoreError> {
        let (journal, report) = opener()?;
        let mut core = Self {
            journal: Some(journal),
            opener,
            lines: BTreeMap::new(),
            recordings: BTreeMap::new(),
            lives: Lives::default(),
            silence: Silence::new(limits),
            playing: None,
            said_play_waits: false,
            ran: Duration::ZERO,
            alarms: Alarms::default(),
            budget_bytes: None,
            clip_days: None,
            aging: Aging::default(),
            names: Names::default(),
            drops: true,
            stopped: None,
            camera_failed: false,
            staged_bytes: 0,
            disproof: None,
            reopens: 0,
            keys_waited: false,
            generation: 0,
            retains: false,
            unwanted: false,
            releases: true,
            dead: None,
            #[cfg(test)]
            room: None,
            #[cfg(test)]
            keeps_all: false,
            #[cfg(test)]
            room_errors: VecDeque::new(),
            #[cfg(test)]
            no_sync: 0,
            #[cfg(test)]
            unreadable: None,
            flight: None,
            wishes: Wishes::default(),
            detections: Detections::new(),
            restarted_for: None,
            may_invite: MayInvite::default(),
            events: 0,
            pending: Vec::new(),
            notices: VecDeque::new(),
        };
        tracing::info!(
            incarnation = report.incarnation,
            groups_copied = report.groups_copied,
            torn_tail = report.torn_tail.is_some(),
            damaged_payloads = report.damaged_payloads.len(),
            "the journal is open"
        );
        core.refresh_lines()?;
        let owed = core.journal_ref()?.alarms_owed()?;
        core.alarms.go_on(owed, now_unix_ms);
        core.aging = Aging::new(core.journal_ref()?.ages()?);
        for (line, state) in &mut core.lines {
            state.pace = Pace::after_start(line.channel, now_unix_ms);
        }
        let restarted = core.note_restarted(now_unix_ms);
        unless_reopened(restarted)?;
        // A journal that was opened again on the way has done all that a start owes.
        let closed = core.close_used_epochs(now_unix_ms);
        if unless_reopened(closed)?.is_some() {
            core.trim(TRIM_STEPS_PER_TICK);
            let synced = core.commit(now_unix_ms);
            unless_reopened(synced)?;
        }
        let expired = HubPairing::expire(core.journal()?, now_unix_ms / 1000);
        let expired = core.judge(expired, now_unix_ms);
        unless_reopened(expired)?;
        // What was told to nobody yet is told, and what is durable is what the parts outside go by.
        let followed = core.follow_settings(now_unix_ms);
        let followed = followed.and_then(|()| core.follow_added(now_unix_ms));
        if unless_reopened(followed)?.is_some() && core.has_staged() {
            let synced = core.commit(now_unix_ms);
            unless_reopened(synced)?;
        }
        core.reopen_if_poisoned(now_unix_ms)?;
        core.wishes = core.staged_wishes()?;
        Ok(core)
    }

    /// Why nothing can be stored any more, if that is so: end the process.
    pub fn death(&self) -> Option<&Death> {
        self.dead.as_ref()
    }

    /// How often the journal was opened again. What was staged under an earlier number and not
    /// synced then may be lost.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The next fact, each once.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// Runs a step that is the journal's own (pairing, certificate). What is staged is committed
    /// first, so that the log has room for the step, which can be run once only. A poisoned journal
    /// is opened again, also after a step that succeeded.
    ///
    /// # Errors
    /// The journal's, or [`CoreError::Reopened`].
    pub fn with_journal<T>(
        &mut self,
        now_unix_ms: u64,
        step: impl FnOnce(&mut Journal) -> Result<T, JournalError>,
    ) -> Result<T, CoreError> {
        if self.has_staged() {
            self.commit(now_unix_ms)?;
        }
        let result = step(self.journal()?);
        let done = self.judge(result, now_unix_ms)?;
        self.reopen_if_poisoned(now_unix_ms)?;
        Ok(done)
    }

    fn journal(&mut self) -> Result<&mut Journal, CoreError> {
        self.journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))
    }

    fn journal_ref(&self) -> Result<&Journal, CoreError> {
        self.journal
            .as_ref()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))
    }

    /// One transaction of one line, staged. If the log takes no more at once, what is staged is
    /// committed first.
    fn in_txn<T>(
        &mut self,
        line: Line,
        bytes: u64,
        now_unix_ms: u64,
        mut step: impl FnMut(&mut Session<Committer>, &mut journal::Txn<'_>) -> Result<T, JournalError>,
    ) -> Result<T, CoreError> {
        or_after_commit(
            self,
            |core| core.try_in_txn(line, bytes, &mut step),
            |core| core.commit(now_unix_ms),
        )
    }

    fn try_in_txn<T>(
        &mut self,
        line: Line,
        bytes: u64,
        step: impl FnOnce(&mut Session<Committer>, &mut journal::Txn<'_>) -> Result<T, JournalError>,
    ) -> Result<T, CoreError> {
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let state = self
            .lines
            .get_mut(&line)
            .ok_or(JournalError::NoGroup(line))?;
        let mut txn = journal.begin();
        let value = step(&mut state.session, &mut txn)?;
        drop(txn.stage(())?);
        self.staged_bytes += bytes;
        Ok(value)
    }
}

fn push(notices: &mut VecDeque<Notice>, notice: Notice) {
    if notices.len() == NOTICES_MAX {
        notices.pop_front();
    }
    notices.push_back(notice);
}

#[cfg(test)]
pub(crate) mod tests;
