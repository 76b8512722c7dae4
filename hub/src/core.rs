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

mod age;
mod alarm;
mod budget;
mod camera_settings;
mod command;
mod cover;
mod death;
mod delivery;
mod facts;
mod invite;
mod live;
mod names;
mod pace;
mod phones;
mod recording;
mod retained;
mod room;
mod rotation;
mod silence;
mod tell;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::ClipEnd;
use journal::{
    Closed, Committer, Durable, ErrorKind, HubPairing, Journal, JournalError, LiveRight, Mailboxes,
    OutboxHead, PairingState, REMOVAL_BYTES_MAX, Session, Staged, WantsCommit, or_after_commit,
};
use wal::{Priority, RecoveryReport};
use wire::envelope::Envelope;
use wire::ids::{Digest, Seq};

pub use alarm::Presence;
pub use camera_settings::{CameraSet, Detections};
pub use death::Death;
use delivery::PROVEN;
pub use delivery::{Delivered, Verdict};
pub use facts::{
    ClipFacts, ClipState, CoreStatus, Evidence, Heads, LineHeads, LineStatus, Notice, Standing,
    Stop, Wishes,
};
pub use invite::MayInvite;
pub use live::{LIVE_CUT_MAX, LIVE_LASTS_MAX, LIVE_VIEWERS_MAX, LiveBoard, LiveNow, LiveStatus};
use pace::Pace;
pub use recording::{CameraNumber, Event, Piece, Recorded};
pub use silence::SilenceLimits;
pub use tell::{Alert, Still};

use age::Aging;
use alarm::Alarms;
use live::Lives;
use names::Names;
use recording::{Mark, Recording};
use retained::Playing;
use silence::Silence;

/// Bytes that are staged before their sync begins even if more could share it: four chunks, so that
/// a long fragment is sealed while its beginning reaches the disk. Far below half a log file of the
/// smallest size that the configuration takes.
pub const BATCH_BYTES: u64 = 256 * 1024;
/// What a Commit, a header and a notice take in the log, with room for X-Wing's keys.
const EPOCH_BYTES: u64 = 128 * 1024;
/// What a command takes, with its answer.
const COMMAND_BYTES: u64 = EPOCH_BYTES + REMOVAL_BYTES_MAX;
/// What a chunk takes beside its own bytes: MLS, wrap, padding, its rows and its sector.
const CHUNK_OVERHEAD_BYTES: u64 = 12 * 1024;
/// Times that the journal is opened again without one good sync in between.
const REOPENS_MAX: u32 = 2;
/// Damaged clips that one question for an envelope may drop.
const DAMAGED_PER_CALL_MAX: u32 = 64;
/// Steps of removing acked envelopes that a commit takes along for each line, so that they go while
/// video is recorded and hold none of it up.
const TRIM_STEPS_PER_COMMIT: u32 = 2;
/// Such steps at a start and at each tick, which have nothing better to do.
const TRIM_STEPS_PER_TICK: u32 = 32;
/// What a transaction of a row or two takes in the log: a sector.
const SMALL_GROUP_BYTES: u64 = 4 * 1024;
/// What one of the steps takes in the log.
const TRIM_BYTES: u64 = 32 * 1024;
/// What one of those takes that remove chunks of a clip, or end copies.
const TRIM_CLIPS_BYTES: u64 = 128 * 1024;
/// Facts that wait for whoever polls; the oldest go first.
const NOTICES_MAX: usize = 1024;

/// Opens the journal; called again after a failed write or sync.
pub type Opener = Box<dyn FnMut() -> Result<(Journal, RecoveryReport), JournalError> + Send>;

/// Why the core could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The journal refused; nothing of the step remains.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A write or sync failed and the journal was opened again. Whether the step was stored is not
    /// known: look, then ask again. A recording was taken up again already.
    #[error("a write to the disk failed; the journal was opened again through recovery")]
    Reopened,
    /// The sync could not begin, and the journal is as good as before. The step is staged and the
    /// next sync covers it, unless the process ends first: look, then ask again.
    #[error("the disk could not be asked to keep it: {0}. It is tried again")]
    NotSynced(String),
    /// Opening again failed twice: the process must end.
    #[error("the journal cannot be written and could not be opened again: {0}")]
    Dead(Death),
}

impl CoreError {
    /// Whether it is not known if the step was stored: look, then ask again. A recording goes on by
    /// itself.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Reopened | Self::NotSynced(_))
    }
}

impl WantsCommit for CoreError {
    fn wants_commit(&self) -> bool {
        matches!(self, Self::Journal(error) if error.wants_commit())
    }
}

/// What the uplink is told of a line, apart from what never changes.
#[derive(Clone, Copy)]
struct LineBooks {
    outbox: OutboxHead,
    asked_again: u64,
}

impl LineBooks {
    fn read(journal: &Journal, line: Line) -> Result<Self, JournalError> {
        Ok(Self {
            outbox: journal.outbox_head(line)?,
            asked_again: journal.asked_again(line)?,
        })
    }
}

/// What is kept in memory of a line.
struct LineState {
    session: Session<Committer>,
    /// They never change. The uplink is told of them from here, so that a journal that is poisoned
    /// at that moment cannot hide a line from it.
    mailboxes: Mailboxes,
    standing: Standing,
    /// Its outbox as far as a sync covers it, and how often the phone has asked that the relay be asked
    /// anew: all that the uplink is told.
    durable: LineBooks,
    /// What is stored of this line could not be used, and that was reported; until the journal is opened again.
    broken: bool,
    /// A damaged envelope whose clip could not be dropped yet, and that was reported.
    waits_at: Option<Seq>,
    /// What the phone's proposals have cost lately.
    pace: Pace,
    /// A rotation of its key may be owed, for what was taken or because the opening had no room for it: the journal
    /// knows.
    stirred: bool,
}

impl LineState {
    fn new(line: Line, durable: LineBooks, mailboxes: Mailboxes) -> Self {
        Self {
            session: Session::new(line),
            mailboxes,
            standing: Standing::Good,
            durable,
            broken: false,
            waits_at: None,
            pace: Pace::of(line.channel),
            stirred: true,
        }
    }

    /// Whether events are recorded for it. What the relay shows proves nothing and stops no
    /// recording; what the phone proved does, for it could never follow.
    fn may_record(&self) -> bool {
        self.records() && !self.broken && self.standing != PROVEN
    }

    /// Whether it is the line that its pairing's events belong to.
    fn records(&self) -> bool {
        self.session.line().channel == Channel::EventVideo
    }
}

/// A sync under way: what is true when it is over.
struct Flight {
    notices: Vec<Notice>,
    heads: Vec<(Line, LineBooks)>,
    wishes: Wishes,
    recordings: Vec<Mark>,
    /// To seal frames of live sessions.
    rights: Vec<Staged<LiveRight>>,
    /// Alarms that it covers.
    alarms: usize,
}

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
    reopens: u32,
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
    pub(crate) unreadable: Option<PairingId>,
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
            reopens: 0,
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

    /// Makes everything staged durable with one sync; only then do its notices come out.
    ///
    /// # Errors
    /// [`CoreError::Reopened`]: the sync failed, the journal was opened again, a recording goes on
    /// behind a new Commit. [`CoreError::Dead`]: end the process.
    pub fn commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.begin_commit(now_unix_ms)?;
        self.finish_commit(now_unix_ms)
    }

    /// The first half of [`Self::commit`]: starts the sync of everything staged, and finishes an
    /// earlier one first. Nothing of it is true before [`Self::finish_commit`].
    ///
    /// # Errors
    /// As [`Self::commit`]; any other changes nothing, and what is staged waits for the next.
    pub fn begin_commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.finish_commit(now_unix_ms)?;
        self.trim_acked(TRIM_STEPS_PER_COMMIT);
        self.rotate_with_batch(now_unix_ms)?;
        let heads = self.outbox_heads();
        #[cfg(test)]
        let heads = match self.no_sync {
            0 => heads,
            _ => {
                self.no_sync -= 1;
                Err(JournalError::Wal(wal::WalError::Io {
                    operation: "a test",
                    source: std::io::ErrorKind::Interrupted.into(),
                }))
            }
        };
        let heads = self.judge(heads, now_unix_ms)?;
        let wishes = self.staged_wishes();
        let wishes = self.judge(wishes, now_unix_ms)?;
        match self.journal()?.begin_commit() {
            Ok(()) => {
                self.staged_bytes = 0;
                self.flight = Some(Flight {
                    notices: std::mem::take(&mut self.pending),
                    heads,
                    wishes,
                    recordings: self
                        .recordings
                        .iter()
                        .map(|(camera, recording)| recording.mark(*camera))
                        .collect(),
                    rights: self.lives.fly(),
                    alarms: self.alarms.count_staged(),
                });
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// The second half of [`Self::commit`]: waits for the sync that is under way, if one is.
    ///
    /// # Errors
    /// As [`Self::commit`]. [`CoreError::Reopened`] also where this sync succeeded and the checkpoint
    /// that followed it failed: what it covers is true and was said, what was staged since is not
    /// known.
    pub fn finish_commit(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let Some(mut flight) = self.flight.take() else {
            return Ok(());
        };
        match self.journal()?.finish_commit() {
            Ok(committed) => {
                let rights = std::mem::take(&mut flight.rights);
                self.lives.land(&committed, rights);
                self.settle(flight);
                // The next call would be refused, whatever it is, and with it the rest of the event.
                let journal = self.journal()?;
                if journal.is_poisoned() {
                    let poisoning = journal.poisoning();
                    return self.reopen(&poisoning, now_unix_ms);
                }
                self.reopens = 0;
                Ok(())
            }
            Err(error) => self.reopen(&error, now_unix_ms),
        }
    }

    /// Opens the journal again if a step that succeeded has left it poisoned: its own sync was good,
    /// the checkpoint behind it was not.
    ///
    /// # Errors
    /// [`CoreError::Dead`].
    fn reopen_if_poisoned(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let journal = self.journal()?;
        match journal.is_poisoned() {
            true => {
                let poisoning = journal.poisoning();
                let reopened = self.reopen(&poisoning, now_unix_ms);
                unless_reopened(reopened).map(drop)
            }
            false => Ok(()),
        }
    }

    /// Waits at most so long for the sync that is under way. False as long as
    /// [`Self::finish_commit`] would still wait for it: there is time to run more steps.
    pub fn wait_for_sync(&mut self, patience: Duration) -> bool {
        self.flight.is_none()
            || self
                .journal
                .as_mut()
                .is_none_or(|journal| journal.wait_for_sync(patience))
    }

    /// Stages the removal of acked envelopes, some of each line.
    fn trim_acked(&mut self, steps: u32) {
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        for line in self.lines.keys() {
            let staged = journal.stage_trims(steps, |txn| txn.trim_outbox(*line));
            self.staged_bytes += u64::from(staged.steps) * TRIM_BYTES;
        }
    }

    /// The same, and of what ended lines left: that is looked for in the view, and waits for a tick.
    fn trim(&mut self, steps: u32) {
        self.trim_acked(steps);
        let busy = self.clips_in_progress();
        let Some(journal) = self.journal.as_mut() else {
            return;
        };
        let ended = journal.stage_trims(steps, |txn| txn.trim_ended());
        let mut of_clips = 0;
        if self.releases {
            let released = journal.stage_trims(steps, |txn| txn.trim_retained());
            // A step that could not be staged is made at the next tick.
            self.releases = !released.is_all;
            of_clips += released.steps;
        }
        if self.unwanted {
            let forgotten = journal.stage_trims(steps, |txn| txn.trim_unwanted(&busy));
            of_clips += forgotten.steps;
        }
        of_clips += journal.stage_trims(steps, |txn| txn.trim_deleted()).steps;
        self.staged_bytes += u64::from(ended.steps) * TRIM_BYTES;
        self.staged_bytes += u64::from(of_clips) * TRIM_CLIPS_BYTES;
    }

    /// Whether [`Self::begin_commit`] has anything to do.
    pub fn has_staged(&self) -> bool {
        self.staged_bytes > 0 || !self.pending.is_empty()
    }

    /// Whether [`Self::finish_commit`] has anything to do.
    pub fn is_committing(&self) -> bool {
        self.flight.is_some()
    }

    /// Why nothing can be stored any more, if that is so: end the process.
    pub fn death(&self) -> Option<&Death> {
        self.dead.as_ref()
    }

    /// Tells the uplink of what no sync covers: part of a deliberate bug (crashtest), never called
    /// otherwise.
    pub(crate) fn believe_what_is_staged(&mut self) {
        for (line, head) in self.outbox_heads().unwrap_or_default() {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
    }

    fn outbox_heads(&self) -> Result<Vec<(Line, LineBooks)>, JournalError> {
        let journal = self.journal.as_ref().ok_or(JournalError::Poisoned(None))?;
        self.lines
            .keys()
            .map(|line| Ok((*line, LineBooks::read(journal, *line)?)))
            .collect()
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

    /// The first durable envelope of a line after `after`. One whose bytes are damaged on disk, or
    /// gone, costs its clip: a signed statement takes its place. While that cannot be made, because
    /// the clip's end is still owed or the disk is full, there is none: that is reported once, and
    /// whoever asks again later tries again. A phone that proved a rollback is given nothing.
    ///
    /// # Errors
    /// The journal's.
    pub fn next_envelope(
        &mut self,
        line: Line,
        after: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<(Seq, Durable<Envelope>)>, CoreError> {
        if self
            .lines
            .get(&line)
            .is_some_and(|state| state.standing == PROVEN)
        {
            return Ok(None);
        }
        for _ in 0..DAMAGED_PER_CALL_MAX {
            match self.journal()?.outbox_next(line, after) {
                Err(JournalError::EnvelopeDamaged { line, seq }) => {
                    match self.drop_damaged(line, seq, now_unix_ms) {
                        Ok(()) => self.commit(now_unix_ms)?,
                        Err(CoreError::Journal(error)) if is_passing(&error) => {
                            self.wait_at(line, seq, &error);
                            return Ok(None);
                        }
                        Err(error) => return Err(error),
                    }
                }
                other => return self.judge(other, now_unix_ms),
            }
        }
        Ok(None)
    }

    /// The digest of an envelope of ours that is not acked; `None` if it is gone, if its bytes are
    /// damaged, which here costs nothing because the relay has it, or if a statement took its place:
    /// the relay may honestly hold what stood there before, and no digest proves anything.
    ///
    /// # Errors
    /// The journal's.
    pub fn digest(
        &mut self,
        line: Line,
        seq: Seq,
        now_unix_ms: u64,
    ) -> Result<Option<Digest>, CoreError> {
        let found = self.journal()?.outbox_digest(line, seq);
        self.judge(found, now_unix_ms)
    }

    /// The relay showed what our own books cannot explain, or agrees with them again. What a phone
    /// proved is not the relay's to take back.
    pub fn handle_standing(&mut self, line: Line, standing: Standing) {
        let proven = self
            .lines
            .get(&line)
            .is_some_and(|state| state.standing == PROVEN);
        if !proven {
            self.set_standing(line, standing);
        }
    }

    fn set_standing(&mut self, line: Line, standing: Standing) {
        if let Some(state) = self.lines.get_mut(&line)
            && state.standing != standing
        {
            state.standing = standing;
            push(&mut self.notices, Notice::Standing { line, standing });
        }
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

    /// Looks which pairings there are, each with a line for every channel: after one was confirmed, or
    /// removed. One of which what is stored cannot be read has none, and is told of; it can be removed.
    ///
    /// # Errors
    /// The journal's, as a whole.
    pub fn refresh_lines(&mut self) -> Result<(), CoreError> {
        let mut lines = Vec::new();
        for id in self.journal_ref()?.pairing_ids() {
            match self.is_confirmed(id) {
                Ok(true) => lines.extend(Line::all(id)),
                Ok(false) => {}
                Err(error) if is_about_one_line(&error) => {
                    let (line, what) = (Line::of(id, Channel::EventVideo), error.to_string());
                    push(&mut self.notices, Notice::LineBroken { line, what });
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.lines.retain(|line, _| lines.contains(line));
        self.playing
            .take_if(|playing| !lines.contains(&playing.line()));
        self.lives.retain(&lines.iter().copied().collect());
        for line in lines {
            if !self.lines.contains_key(&line) {
                // Nothing of a new line can be staged: what its journal has is durable.
                let journal = self.journal_ref()?;
                let durable = LineBooks::read(journal, line)?;
                let proof = journal.rollback_proof(line)?;
                let mailboxes = journal.mailboxes(line)?;
                let mut state = LineState::new(line, durable, mailboxes);
                state.session.retain(self.retains);
                let records = state.records();
                self.lines.insert(line, state);
                if proof.is_some() {
                    self.set_standing(line, PROVEN);
                } else if records {
                    self.join_recordings(line);
                }
            }
        }
        self.count_silence()
    }

    fn is_confirmed(&self, id: PairingId) -> Result<bool, JournalError> {
        #[cfg(test)]
        if self.unreadable == Some(id) {
            return Err(JournalError::ValueDamaged {
                scope: journal::Scope::Pairing(id),
                what: "as the test wants it",
            });
        }
        let journal = self.journal.as_ref().ok_or(JournalError::Poisoned(None))?;
        let pairing = journal.pairing(id)?;
        Ok(pairing.is_some_and(|pairing| pairing.state == PairingState::Confirmed))
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

    /// Turns a poisoned journal into one that was opened again.
    fn judge<T>(
        &mut self,
        result: Result<T, impl Into<CoreError>>,
        now_unix_ms: u64,
    ) -> Result<T, CoreError> {
        match result.map_err(Into::into) {
            Err(CoreError::Journal(error)) if self.is_poison(&error) => {
                self.reopen(&error, now_unix_ms)?;
                Err(CoreError::Reopened)
            }
            other => other,
        }
    }

    fn is_poison(&self, error: &JournalError) -> bool {
        error.kind() == ErrorKind::Poisoned
            || self.journal.as_ref().is_none_or(Journal::is_poisoned)
    }

    /// Drops everything in memory and opens the journal through recovery. What was recorded and not
    /// synced is still in memory as plain pieces and is sealed again behind a new Commit, exactly
    /// from where the durable part ends.
    ///
    /// There is no half of it. Whatever fails before the recording goes on and all that a start owes
    /// is synced counts as an opening that failed: the journal is closed and opened once more, and
    /// after [`REOPENS_MAX`] of them without one good sync the core is dead.
    ///
    /// # Errors
    /// Always one of two: [`CoreError::Reopened`], or [`CoreError::Dead`].
    fn reopen(&mut self, cause: &JournalError, now_unix_ms: u64) -> Result<(), CoreError> {
        tracing::error!(error = %cause, "the journal failed and is opened again");
        let mut last = Death::of(cause);
        while self.dead.is_none() && self.reopens < REOPENS_MAX {
            self.reopens += 1;
            match self.open_again(now_unix_ms) {
                // A failure on the way was a reopening of its own, and a whole one.
                Ok(()) | Err(CoreError::Reopened) => return Err(CoreError::Reopened),
                Err(error) => {
                    tracing::error!(%error, "the journal could not be opened again");
                    last = Death::by(&error);
                }
            }
        }
        self.forget_all();
        Err(CoreError::Dead(self.dead.get_or_insert(last).clone()))
    }

    /// One attempt of [`Self::reopen`].
    fn open_again(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        self.forget_all();
        self.generation += 1;
        let (journal, _report) = (self.opener)()?;
        self.journal = Some(journal);
        // What a step released may be there again, and a clip that it dropped be there in part.
        self.releases = true;
        self.drops = true;
        self.refresh_lines()?;
        self.recount_silence()?;
        // What recovery found is durable, also what nobody was told of.
        for (line, head) in self.outbox_heads()? {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
        self.wishes = self.staged_wishes()?;
        self.resume_recordings(now_unix_ms)?;
        self.close_used_epochs(now_unix_ms)?;
        self.commit(now_unix_ms)?;
        push(&mut self.notices, Notice::Reopened);
        Ok(())
    }

    /// Closes the journal, with everything in memory that was only true of its handle.
    fn forget_all(&mut self) {
        self.pending.clear();
        self.flight = None;
        self.staged_bytes = 0;
        // It is cut off with its epoch, and played again.
        self.playing = None;
        // Their epochs are closed; whoever watches sees that, and asks again.
        self.lives.clear();
        self.alarms.say_again();
        for state in self.lines.values_mut() {
            state.session.forget();
            // One that was staged may be lost, and the opening makes it good if there is room.
            state.stirred = true;
            // Recovery makes the view anew: what could not be read may be whole again, and is said again if not.
            state.broken = false;
        }
        // The lock is inside: the old handle must be gone before the new one is made.
        self.journal = None;
    }

    /// What a start owes to epochs that were encrypted in, all lines in one sync. A line whose
    /// recording goes on owes nothing, and on one that is rolled back nothing is encrypted any more.
    ///
    /// # Errors
    /// As [`Self::judge`].
    fn close_used_epochs(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let closed = self.try_close_used_epochs(now_unix_ms);
        self.judge(closed, now_unix_ms)
    }

    fn try_close_used_epochs(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let busy: Vec<Line> = self
            .recordings
            .values()
            .flat_map(Recording::lines)
            .collect();
        let owing = |(line, state): (&Line, &LineState)| {
            let owes = state.standing != PROVEN && !busy.contains(line);
            owes.then_some(*line)
        };
        let lines: Vec<Line> = self.lines.iter().filter_map(owing).collect();
        for line in lines {
            match self.journal()?.owes_close(line) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(error) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            self.journal()?.admit(EPOCH_BYTES, Priority::Epoch)?;
            let closed = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
                session.close_used_epoch(txn, now_unix_ms)
            });
            match closed {
                Ok(Closed::CutOff(ends)) => {
                    let cut_off = |end: &ClipEnd| Notice::ClipFinished {
                        line,
                        clip: ClipFacts::ended(end, ClipState::CutOff),
                    };
                    self.pending.extend(ends.iter().map(cut_off));
                }
                Ok(Closed::NothingOwed | Closed::EpochOnly) => {}
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                    or_after_commit(
                        self,
                        |core| core.try_abandon(line),
                        |core| core.commit(now_unix_ms),
                    )?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What cannot be closed, or has a value that no key opens, can never be rotated again, and nothing is in progress
    /// there: its group dies, with all that opens what was said in it last. Recovery has made the view anew before,
    /// so it is the disk that is damaged; the phone has to be paired again in any case. Nothing to do if it is
    /// dead already.
    fn try_abandon(&mut self, line: Line) -> Result<(), CoreError> {
        if !self.journal_ref()?.has_group(line) {
            return Ok(());
        }
        let clips = self.try_in_txn(line, EPOCH_BYTES, |session, txn| {
            Ok(session.abandon(txn).unwrap_or_else(|error| {
                tracing::error!(%error, "a clip of a line that cannot go on stays as it is");
                Vec::new()
            }))
        })?;
        // Of pictures nothing is told, only of clips.
        let clips = clips.iter().filter(|_| line.channel == Channel::EventVideo);
        let ended = |clip| Notice::ClipFinished {
            line,
            clip: ClipFacts::of(clip),
        };
        self.pending.extend(clips.map(ended));
        Ok(())
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

    fn set_broken(&mut self, line: Line, error: &JournalError) {
        if let Some(state) = self.lines.get_mut(&line)
            && !state.broken
        {
            state.broken = true;
            let what = error.to_string();
            push(&mut self.notices, Notice::LineBroken { line, what });
        }
    }

    /// Reports, once for each envelope, that a damaged one cannot be dropped yet.
    fn wait_at(&mut self, line: Line, seq: Seq, error: &JournalError) {
        if let Some(state) = self.lines.get_mut(&line)
            && state.waits_at != Some(seq)
        {
            state.waits_at = Some(seq);
            let what = error.to_string();
            push(&mut self.notices, Notice::DamageWaits { line, seq, what });
        }
    }

    /// Lets out what a sync made true.
    fn settle(&mut self, flight: Flight) {
        for notice in flight.notices {
            push(&mut self.notices, notice);
        }
        for (line, head) in flight.heads {
            if let Some(state) = self.lines.get_mut(&line) {
                state.durable = head;
            }
        }
        self.wishes = flight.wishes;
        self.alarms.settle(flight.alarms);
        for mark in flight.recordings {
            self.settle_recording(mark);
        }
    }
}

/// `None` if the journal was opened again instead, which is a whole start of its own.
fn unless_reopened<T>(result: Result<T, CoreError>) -> Result<Option<T>, CoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(CoreError::Reopened) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error concerns one line's stored state and leaves the others alone.
pub(crate) fn is_about_one_line(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Peer | ErrorKind::Misuse
    )
}

/// Whether a damaged clip may be dropped later though it cannot be now.
fn is_passing(error: &JournalError) -> bool {
    is_about_one_line(error) || matches!(error.kind(), ErrorKind::Space | ErrorKind::Retry)
}

fn push(notices: &mut VecDeque<Notice>, notice: Notice) {
    if notices.len() == NOTICES_MAX {
        notices.pop_front();
    }
    notices.push_back(notice);
}

#[cfg(test)]
pub(crate) mod tests;
