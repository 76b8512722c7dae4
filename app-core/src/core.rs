//! The app's logic: envelopes and the time go in, effects come out; all state is in the journal.
//!
//! This room has no sockets, no threads, no clock and no dice, so that a simulation can drive it.
//! It must never hand out an effect before the commit that explains it: everything that a call
//! stages comes back as a [`PendingRun`], and only [`Core::settle`], which asks for the journal's
//! [`Committed`], turns it into a [`Run`]. It must never take, seal or give out anything on a line
//! that is over: its hub has proved that this directory is older than what left it (promise C8), or
//! goes on in an epoch that this one cannot follow.
//!
//! When an ack is due (DESIGN section 4; cumulative, so that one made stale by a new epoch is made
//! good by the next): at once after a clip ended or an epoch began, else [`ACK_PAUSE_MS`] after the
//! first envelope that it owes, and whenever the line falls quiet. What a hub says in envelopes of one size
//! is not acked at once: the time of an ack must then not tell the relay which of them it was. The group's
//! key rotates when the line falls quiet, in the transaction of the last ack, also if that is said again and
//! nothing was taken; among covers that do not end, by itself. While an update of ours waits for the hub's
//! Commit no ack is due; that Commit makes it due at once. A heartbeat acks all lines; heartbeats have
//! two rooms of their own, commands and live pictures one each.

mod command;
mod forget;
mod heartbeat;
mod live;
mod pulse;
mod reads;

use std::collections::BTreeMap;

use bytes::Bytes;
use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{
    AppClip, AppClipState, AppNotice, Committed, ErrorKind, FULL_ENVELOPE_BYTES, Follower, Journal,
    JournalError, PairingState, Session, Staged, Taken, Txn, WantsCommit, or_after_commit,
};
use wal::{Priority, crash_point, mutant};
use wire::Seq;
use wire::envelope::Size;

use live::View;

pub use command::{CommandSent, Order, Ordered};
pub use heartbeat::{BeatSent, Look, Sight};
pub use live::{LiveNeed, LiveOut};
pub use pulse::{Launch, OFFLINE_AFTER_MS, Pulse, Rhythm, Said};
pub use reads::{ChannelStatus, LineInfo, LineStatus, OfEvent};

/// An ack waits at most this long while media flows, in milliseconds.
pub const ACK_PAUSE_MS: u64 = 1_000;
/// A line without deliveries for this long is quiet, in milliseconds.
pub const QUIET_MS: u64 = 500;
/// Most envelopes in one run: they share one commit.
pub const RUN_ENVELOPES_MAX: usize = 32;
/// Most bytes in one run, not counting its last envelope.
pub const RUN_BYTES_MAX: usize = 1024 * 1024;
/// What one envelope may cost in the log besides its own bytes: group state, clip row, padding.
const ENVELOPE_COST_BYTES: u64 = 32 * 1024;

/// What an ack and the rotation of its group's key may cost in the log.
const ACK_COST_BYTES: u64 = 64 * 1024;
/// Steps of removing a deleted clip's rows that share the deletion's commit. What a longer clip
/// leaves goes with later acks.
const TRIM_STEPS_PER_DELETION: u32 = 32;

/// An envelope as the relay delivered it: it may be anything.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// The number that the relay says it has.
    pub seq: Seq,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Why a run stopped before its end. Nothing behind that point changed anything.
#[derive(Debug)]
pub enum Halt {
    /// Not made by the hub for this place: drop the connection and ask again.
    NotAuthentic {
        /// Its claimed number.
        seq: Seq,
    },
    /// Something is missing: ask again from the cursor.
    Gap {
        /// What must come first.
        expected: Seq,
    },
    /// The line is over. Nothing is taken or sent any more.
    Over(Over),
    /// Our own journal refused or failed.
    Journal(JournalError),
}

impl WantsCommit for Halt {
    fn wants_commit(&self) -> bool {
        matches!(self, Self::Journal(error) if error.wants_commit())
    }
}

impl From<JournalError> for Halt {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// Why nothing more is taken or sent on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    /// The hub holds what this directory never made.
    RolledBack,
    /// The hub goes on in an epoch that this directory cannot follow.
    Broken,
}

impl Over {
    /// The error that says so.
    pub(crate) fn error(self, line: Line) -> JournalError {
        match self {
            Self::RolledBack => JournalError::RolledBack(line),
            Self::Broken => JournalError::LineBroken(line),
        }
    }

    /// A directory rolls back whole, so a proof on one line ends all of its pairing.
    fn stored(journal: &Journal, line: Line) -> Result<Option<Self>, JournalError> {
        for line in Line::all(line.pairing) {
            if journal.rollback_proof(line)?.is_some() {
                return Ok(Some(Self::RolledBack));
            }
        }
        Ok(journal.line_break(line)?.map(|_| Self::Broken))
    }
}

/// A durable fact about one envelope.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The envelope.
    pub seq: Seq,
    /// What it did.
    pub taken: Taken,
    /// The clip as it stands after the run, if it began or ended.
    pub clip: Option<AppClip>,
}

/// An ack in the outbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AckSent {
    /// The number of its own envelope.
    pub envelope: Seq,
    /// It says that everything through here is durable.
    pub through: Seq,
}

/// What a call staged; worthless until [`Core::settle`].
#[must_use = "staged effects become real by commit() and settle()"]
pub struct PendingRun {
    line: Line,
    facts: Vec<Staged<(Seq, Taken)>>,
    ack: Option<Staged<AckSent>>,
    halt: Option<Halt>,
    now_ms: u64,
}

/// What is true and durable now.
#[derive(Debug)]
pub struct Run {
    /// What the envelopes did, in order. Duplicates do nothing and are not listed.
    pub facts: Vec<Fact>,
    /// The ack that was made.
    pub ack: Option<AckSent>,
    /// Everything through here is durable: the relay may forget it.
    pub cursor: Seq,
    /// Head and watermark of our own outbox.
    pub outbox: journal::OutboxHead,
    /// Why the run stopped early.
    pub halt: Option<Halt>,
    /// Call [`Core::tick`] after so many milliseconds.
    pub due_in_ms: Option<u64>,
    /// The line waits for what only the hub can say: [`Core::waits_for_hub`].
    pub waits_for_hub: bool,
    /// Acks of the pairing's other lines may be due since: ask [`Core::due_in_ms`] for each of them.
    pub stirs_others: bool,
}

/// What this process knows of a line besides what is durable.
struct Follow {
    session: Session<Follower>,
    /// Since when an ack is owed.
    owed_since_ms: Option<u64>,
    urgent: bool,
    /// Something was taken or said since the group's key last rotated.
    stirred: bool,
    /// When it was last taken; covers do not count.
    stirred_ms: u64,
    last_taken_ms: u64,
    /// The line is over; the row that says so may still want room.
    over: Option<Over>,
    /// An update of ours is pending: nothing can be said before the hub's Commit.
    awaits_commit: bool,
}

impl Follow {
    /// When the ack is due that is owed, if one can be said.
    fn ack_at_ms(&self) -> Option<u64> {
        let owed = self.owed_since_ms.filter(|_| !self.awaits_commit)?;
        let ack = if self.urgent { 0 } else { owed + ACK_PAUSE_MS };
        Some(ack.min(self.last_taken_ms + QUIET_MS))
    }

    /// When the group's key is to rotate. Covers put nothing off that nobody sees: a line on which they never end
    /// would never fall quiet.
    fn rotates_at_ms(&self) -> Option<u64> {
        self.stirred.then_some(self.stirred_ms + QUIET_MS)
    }

    fn due_at_ms(&self) -> Option<u64> {
        match (self.ack_at_ms(), self.rotates_at_ms()) {
            (Some(ack), Some(rotation)) => Some(ack.min(rotation)),
            (ack, rotation) => ack.or(rotation),
        }
    }

    /// `bytes` is the length of the envelope: what the relay sees of it.
    fn took(&mut self, taken: &Taken, bytes: usize, now_ms: u64) {
        self.owed_since_ms.get_or_insert(now_ms);
        let moved = matches!(taken, Taken::NewEpoch(_) | Taken::Healed(_));
        // Any Commit takes a pending update, or ends it.
        self.awaits_commit &= !moved;
        let urgent = moved || matches!(taken, Taken::Ended { .. });
        // A Commit or an end of that length is one in disguise.
        self.urgent |= urgent && bytes < FULL_ENVELOPE_BYTES;
        // With a cover nothing was opened with the group's keys.
        if !matches!(taken, Taken::Cover) {
            self.stirred = true;
            self.stirred_ms = now_ms;
        }
        self.last_taken_ms = now_ms;
    }
}

/// The app's core over its journal.
pub struct Core {
    journal: Journal,
    lines: BTreeMap<Line, Follow>,
    /// A hub that is silent for so long looks offline, in milliseconds.
    offline_after_ms: u64,
    /// What is watched live.
    views: BTreeMap<Line, View>,
}

impl Core {
    /// A core over a journal that was just opened.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        Self {
            journal,
            lines: BTreeMap::new(),
            offline_after_ms: OFFLINE_AFTER_MS,
            views: BTreeMap::new(),
        }
    }

    /// After how long a hub that does not answer looks offline, in milliseconds; it is [`OFFLINE_AFTER_MS`] until this
    /// is called. More than the pause between two heartbeats is that pause.
    pub fn limit_silence(&mut self, offline_after_ms: u64) {
        self.offline_after_ms = offline_after_ms.min(pulse::EVERY_MS);
    }

    /// The journal, for pairing and for tests.
    pub fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Whether the journal must be dropped and opened again.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.journal.is_poisoned()
    }

    /// Nothing more is expected for a moment: see [`Journal::rest`].
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn rest(&mut self) -> Result<(), JournalError> {
        self.trim_forgotten()?;
        self.journal.rest()
    }

    /// Makes everything staged durable, with one sync.
    ///
    /// # Errors
    /// Outcome unknown: drop the core and open again.
    pub fn commit(&mut self) -> Result<Committed, JournalError> {
        self.journal.commit()
    }

    /// Why nothing more is taken or sent on this line, if that is so.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn over(&self, line: Line) -> Result<Option<Over>, JournalError> {
        match self.lines.get(&line) {
            Some(follow) => Ok(follow.over),
            None => Over::stored(&self.journal, line),
        }
    }

    fn check_goes_on(&mut self, line: Line) -> Result<(), JournalError> {
        match self.follow(line)?.over {
            Some(over) => Err(over.error(line)),
            None => Ok(()),
        }
    }

    fn follow(&mut self, line: Line) -> Result<&mut Follow, JournalError> {
        if !self.lines.contains_key(&line) {
            // Owed for what no ack in the outbox says: after a crash between cursor and ack nobody
            // else would make it good. One that says it is sent until the hub holds it.
            let cursor = self.journal.inbox_head(line)?.cursor;
            let acked = self.journal.ack_sent(line)?;
            let over = Over::stored(&self.journal, line)?;
            let mut session = Session::new(line);
            let awaits_commit = match over {
                Some(_) => false,
                None => session.awaits_commit(&mut self.journal.begin())?,
            };
            let follow = Follow {
                session,
                owed_since_ms: (cursor > acked).then_some(0),
                urgent: false,
                // The opening of the journal has rotated it after whatever the last process took, if there was room.
                stirred: !self.journal.is_renewed(line),
                stirred_ms: 0,
                last_taken_ms: 0,
                over,
                awaits_commit,
            };
            self.lines.insert(line, follow);
        }
        self.lines.get_mut(&line).ok_or(JournalError::NoGroup(line))
    }

    /// Why nothing is said or taken on a line, if that is so, and whether it waits for the hub's Commit. A line
    /// whose stored state cannot be used is as good as broken: the keys that its hub goes on in are not here.
    fn stand(&mut self, line: Line) -> Result<(Option<Over>, bool), JournalError> {
        match self.follow(line) {
            Ok(follow) => Ok((follow.over, follow.awaits_commit)),
            Err(error) if is_about_one_line(&error) => {
                tracing::debug!(%error, "what is stored of a line cannot be used");
                Ok((Some(Over::Broken), false))
            }
            Err(error) => Err(error),
        }
    }

    /// Notes that the hub may not know what we hold: the relay lost something, or a new
    /// connection was made.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn owe_ack(&mut self, line: Line, now_ms: u64) -> Result<(), JournalError> {
        let cursor = self.journal.inbox_head(line)?.cursor;
        let follow = self.follow(line)?;
        if cursor.is_some() {
            follow.owed_since_ms.get_or_insert(now_ms);
        }
        Ok(())
    }

    /// Takes a run of envelopes, each in a transaction of its own, and the ack that is due. The
    /// caller commits once and then settles. `now_unix_ms` is what is remembered as the time of a
    /// Commit or an answer.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage, before anything was taken; later trouble
    /// is in [`Run::halt`].
    pub fn deliver(
        &mut self,
        line: Line,
        run: &[Delivered],
        now_ms: u64,
        now_unix_ms: u64,
    ) -> Result<PendingRun, JournalError> {
        self.follow(line)?;
        // A proof that found no room yet is tried again.
        if let Some(over) = Over::stored(&self.journal, line)? {
            return Err(over.error(line));
        }
        self.admit(run)?;
        let mut pending = PendingRun::new(line, now_ms);
        for delivered in run {
            // Small log files take less at once than a run holds.
            let taken = or_after_commit(
                self,
                |core| core.take(line, delivered, now_ms, now_unix_ms),
                |core| Ok(core.commit().map(drop)?),
            );
            match taken {
                Ok(fact) => pending.facts.extend(fact),
                Err(halt) => {
                    pending.halt = Some(halt);
                    break;
                }
            }
        }
        if !matches!(pending.halt, Some(Halt::Journal(_))) {
            self.stage_due(&mut pending, Settling::WhenDue);
        }
        Ok(pending)
    }

    /// Refuses a run before any of it is built. Small envelopes keep the epochs in step and may use
    /// what is held back for them.
    fn admit(&mut self, run: &[Delivered]) -> Result<(), JournalError> {
        let bytes: u64 = run
            .iter()
            .map(|one| one.bytes.len() as u64 + ENVELOPE_COST_BYTES)
            .sum();
        let bulk = run
            .iter()
            .any(|one| Size::of(one.bytes.len()) == Size::Bulk);
        let priority = if bulk {
            Priority::Bulk
        } else {
            Priority::Epoch
        };
        self.journal.admit(bytes, priority)
    }

    fn take(
        &mut self,
        line: Line,
        delivered: &Delivered,
        now_ms: u64,
        now_unix_ms: u64,
    ) -> Result<Option<Staged<(Seq, Taken)>>, Halt> {
        let Some(follow) = self.lines.get_mut(&line) else {
            return Err(JournalError::NoGroup(line).into());
        };
        let seq = delivered.seq;
        let mut txn = self.journal.begin();
        let taken = follow
            .session
            .take(&mut txn, seq, &delivered.bytes, now_unix_ms)?;
        match taken {
            Taken::Duplicate => return Ok(None),
            Taken::Gap { expected } => return Err(Halt::Gap { expected }),
            Taken::NotAuthentic => return Err(Halt::NotAuthentic { seq }),
            Taken::RolledBack | Taken::LineBroken => {
                let over = match taken {
                    Taken::RolledBack => Over::RolledBack,
                    _ => Over::Broken,
                };
                tracing::error!(?over, "nothing more is taken from this hub or sent to it");
                // Also if there is no room for the proof: it comes again with the next envelope.
                follow.over = Some(over);
                // It never falls quiet: what it took since its last rotation would stay readable for ever (S5).
                follow.session.rotate_for_good(&mut txn)?;
                let staged = txn.stage(());
                if over == Over::RolledBack {
                    self.end_all(line);
                }
                drop(staged?);
                return Err(Halt::Over(over));
            }
            Taken::Cover
            | Taken::Nothing(_)
            | Taken::NewEpoch(_)
            | Taken::Healed(_)
            | Taken::Answered(_)
            | Taken::CommandDone(_)
            | Taken::Settings(_)
            | Taken::Invited { .. }
            | Taken::Added(_)
            | Taken::LiveBegun(_)
            | Taken::LiveEnded(_)
            | Taken::Notified(_)
            | Taken::Started(_)
            | Taken::Media { .. }
            | Taken::Ended { .. } => {}
        }
        let noted = taken.clone();
        let staged = txn.stage((seq, taken))?;
        // CRASH(app.take.staged): before: the envelope is not taken, the cursor is before it; it comes
        // again | after: its effect and the cursor behind it are synced as one.
        crash_point!("app.take.staged");
        follow.took(&noted, delivered.bytes.len(), now_ms);
        self.note_live(line, &noted, now_ms);
        if matches!(noted, Taken::NewEpoch(_)) {
            self.owe_overtaken(line, now_ms)?;
        }
        Ok(Some(staged))
    }

    /// A directory rolls back whole: what proves it on one line ends the others of its pairing.
    fn end_all(&mut self, proven: Line) {
        for (line, follow) in &mut self.lines {
            if line.pairing == proven.pairing {
                follow.over = Some(Over::RolledBack);
            }
        }
        for line in Line::all(proven.pairing) {
            if line == proven {
                continue;
            }
            // Each in a transaction of its own, because all together may be more than one holds. What is not
            // staged, the next opening of the journal rotates.
            let mut session = Session::<Follower>::new(line);
            let mut txn = self.journal.begin();
            let rotated = session.rotate_for_good(&mut txn);
            if let Err(error) = rotated.and_then(|()| txn.stage(()).map(drop)) {
                tracing::warn!(%error, "a line that is over keeps its key until the next start");
            }
        }
    }

    /// Stages what time asks for: an ack, and a rotation when the line is quiet.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn tick(&mut self, line: Line, now_ms: u64) -> Result<PendingRun, JournalError> {
        self.check_goes_on(line)?;
        let mut pending = PendingRun::new(line, now_ms);
        self.stage_due(&mut pending, Settling::WhenDue);
        pending.no_journal_trouble()
    }

    /// After how many milliseconds [`Self::tick`] has something to do on a line; `None` if nothing is due.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn due_in_ms(&mut self, line: Line, now_ms: u64) -> Result<Option<u64>, JournalError> {
        let due_at_ms = self.follow(line)?.due_at_ms();
        Ok(due_at_ms.map(|at| at.saturating_sub(now_ms)))
    }

    /// The end of a sync: the last ack if one is owed, and the rotation of the group's key, in one
    /// transaction.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn finish_sync(&mut self, line: Line, now_ms: u64) -> Result<PendingRun, JournalError> {
        self.check_goes_on(line)?;
        let mut pending = PendingRun::new(line, now_ms);
        self.stage_due(&mut pending, Settling::Now);
        pending.no_journal_trouble()
    }

    fn stage_due(&mut self, pending: &mut PendingRun, settling: Settling) {
        let now_ms = pending.now_ms;
        let Some(follow) = self.lines.get_mut(&pending.line) else {
            return;
        };
        if follow.over.is_some() {
            return;
        }
        let at_once = settling == Settling::Now;
        let is_due = |at_ms: Option<u64>| at_ms.is_some_and(|at_ms| at_once || at_ms <= now_ms);
        // An ack never goes along with a rotation that is due before it: its time would tell the relay that something
        // was taken among covers.
        let owed = is_due(follow.ack_at_ms());
        let quiet = at_once || now_ms >= follow.last_taken_ms + QUIET_MS;
        // Also of a line on which only we have spoken: an ack has moved a ratchet, too.
        let rotate = is_due(follow.rotates_at_ms()) || (owed && quiet);
        if !owed && !rotate {
            return;
        }
        let staged = or_after_commit(
            &mut self.journal,
            |journal| stage_ack(journal, follow, owed, rotate),
            |journal| journal.commit().map(drop),
        );
        match staged {
            Ok(ack) => {
                if owed {
                    follow.owed_since_ms = None;
                    follow.urgent = false;
                }
                if owed && !follow.stirred {
                    follow.stirred = true;
                    follow.stirred_ms = now_ms;
                }
                follow.stirred &= !rotate;
                pending.ack = ack;
            }
            Err(error) => pending.halt = Some(Halt::Journal(error)),
        }
    }

    /// Turns what was staged into facts. `committed` proves that it is durable.
    ///
    /// # Errors
    /// Only our own storage, on reading back.
    pub fn settle(
        &mut self,
        committed: &Committed,
        pending: PendingRun,
    ) -> Result<Run, JournalError> {
        let line = pending.line;
        let mut facts = Vec::with_capacity(pending.facts.len());
        for staged in pending.facts {
            let (seq, taken) = committed.redeem(staged).into_inner();
            let clip = match taken {
                Taken::Started(clip) | Taken::Ended { clip, .. } => self.clip_if_known(clip)?,
                _ => None,
            };
            facts.push(Fact { seq, taken, clip });
        }
        let ack = pending
            .ack
            .map(|staged| committed.redeem(staged).into_inner());
        let cursor = self.journal.inbox_head(line)?.cursor;
        let outbox = self.journal.outbox_head(line)?;
        let waits_for_hub = self.waits_for_hub(line)?;
        let due_in_ms = self.due_in_ms(line, pending.now_ms)?;
        let overtakes = |fact: &Fact| matches!(fact.taken, Taken::NewEpoch(_));
        let stirs_others = line.channel == Channel::Config && facts.iter().any(overtakes);
        Ok(Run {
            facts,
            ack,
            cursor,
            outbox,
            halt: pending.halt,
            due_in_ms,
            waits_for_hub,
            stirs_others,
        })
    }

    fn clip_if_known(&self, clip: ClipId) -> Result<Option<AppClip>, JournalError> {
        match self.journal.app_clip(clip) {
            Ok(clip) => Ok(Some(clip)),
            Err(JournalError::NoSuchClip(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Stages the deletion of a clip, and before it that of its event's pictures and notification, so that
    /// whoever dies on the way can ask again; of a picture by its own id, with the others of its event and the
    /// notification, and not the clip. The keys of their groups rotate with them, because an epoch
    /// that is still open could derive what was in it again (scenario 28). What of the event comes later is not
    /// taken ([`Txn::event_is_gone`]).
    ///
    /// # Errors
    /// [`JournalError::NoSuchClip`], or our own storage.
    pub fn delete(&mut self, clip: ClipId) -> Result<Staged<ClipId>, JournalError> {
        let line = self.line_of(clip)?.ok_or(JournalError::NoSuchClip(clip))?;
        let pairing = line.pairing;
        match self.follow(line) {
            Ok(_) => {}
            // What is wrong with its camera's group does not keep a clip here.
            Err(error) if is_about_one_line(&error) => {
                tracing::debug!(%error, "a clip of a line that cannot be used is deleted");
            }
            Err(error) => return Err(error),
        }
        let record = self.journal.app_clip(clip)?;
        let mut thumbnails = self.thumbnails_of(pairing, &record)?;
        thumbnails.retain(|thumbnail| *thumbnail != clip);
        if !thumbnails.is_empty()
            && !mutant!(
                "picture_outlives_its_clip",
                "S3",
                "a clip is deleted on the phone, and the picture of its event stays"
            )
        {
            let staged = or_after_commit(
                self,
                |core| core.stage_thumbnail_deletion(pairing, &thumbnails),
                |core| core.commit().map(drop),
            )?;
            drop(staged);
        }
        let notices = unless_damaged(self.journal.app_notices(pairing))?;
        if notices.iter().any(|notice| is_notice_of(notice, &record)) {
            let staged = or_after_commit(
                self,
                |core| core.stage_notice_deletion(pairing, &record),
                |core| core.commit().map(drop),
            )?;
            drop(staged);
        }
        // Small log files take less at once than what shares this commit may be.
        let staged = or_after_commit(
            self,
            |core| core.stage_deletion(line, &record),
            |core| core.commit().map(drop),
        )?;
        self.journal
            .stage_trims(TRIM_STEPS_PER_DELETION, |txn| txn.trim_deleted());
        Ok(staged)
    }

    fn stage_deletion(
        &mut self,
        line: Line,
        record: &AppClip,
    ) -> Result<Staged<ClipId>, JournalError> {
        let mut txn = self.journal.begin();
        txn.delete_clip(line.pairing, record.clip)?;
        if record.state == AppClipState::Receiving {
            txn.clip_is_gone(line, record.clip)?;
        }
        // Without a header nobody knows which event it was.
        if record.started_unix_ms != 0 {
            txn.event_is_gone(line.pairing, &record.camera, record.started_unix_ms)?;
        }
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        let staged = txn.stage(record.clip)?;
        // CRASH(app.delete.staged): before: the clip is there, whole | after: it is in no list and its key
        // is past, synced as one.
        crash_point!("app.delete.staged");
        Ok(staged)
    }

    /// The pictures of a clip's event: one, or two where the hub did not know whether it had sent it.
    fn thumbnails_of(
        &self,
        pairing: PairingId,
        clip: &AppClip,
    ) -> Result<Vec<ClipId>, JournalError> {
        let thumbnails = unless_damaged(self.journal.app_thumbnails(pairing))?.into_iter();
        let of_event = thumbnails.filter(|thumbnail| is_same_event(thumbnail, clip));
        Ok(of_event.map(|thumbnail| thumbnail.clip).collect())
    }

    fn stage_thumbnail_deletion(
        &mut self,
        pairing: PairingId,
        thumbnails: &[ClipId],
    ) -> Result<Staged<()>, JournalError> {
        let mut txn = self.journal.begin();
        for thumbnail in thumbnails {
            txn.delete_clip(pairing, *thumbnail)?;
        }
        let line = Line::of(pairing, Channel::Thumbnail);
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        txn.stage(())
    }

    fn stage_notice_deletion(
        &mut self,
        pairing: PairingId,
        clip: &AppClip,
    ) -> Result<Staged<()>, JournalError> {
        let mut txn = self.journal.begin();
        txn.forget_notice(pairing, &clip.camera, clip.started_unix_ms)?;
        let line = Line::of(pairing, Channel::Notification);
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        txn.stage(())
    }

    /// The line that a clip, or a picture, has come on.
    fn line_of(&self, clip: ClipId) -> Result<Option<Line>, JournalError> {
        let is_in = |list: Vec<AppClip>| list.iter().any(|known| known.clip == clip);
        for pairing in self.confirmed()? {
            if is_in(self.journal.app_clips(pairing.id)?) {
                return Ok(Some(event_line(pairing.id)));
            }
            if is_in(unless_damaged(self.journal.app_thumbnails(pairing.id))?) {
                return Ok(Some(Line::of(pairing.id, Channel::Thumbnail)));
            }
        }
        Ok(None)
    }

    fn confirmed(&self) -> Result<Vec<journal::Pairing>, JournalError> {
        let mut found = Vec::new();
        for id in self.journal.pairing_ids() {
            let pairing = self.journal.pairing(id)?;
            found.extend(pairing.filter(|pairing| pairing.state == PairingState::Confirmed));
        }
        found.sort_by_key(|pairing| (pairing.paired_unix_s, pairing.id));
        Ok(found)
    }
}

impl PendingRun {
    fn new(line: Line, now_ms: u64) -> Self {
        Self {
            line,
            facts: Vec::new(),
            ack: None,
            halt: None,
            now_ms,
        }
    }

    fn no_journal_trouble(mut self) -> Result<Self, JournalError> {
        match self.halt.take() {
            Some(Halt::Journal(error)) => Err(error),
            other => {
                self.halt = other;
                Ok(self)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Settling {
    WhenDue,
    Now,
}

/// Ack and rotation in one transaction; its cursor is what was staged before it.
fn stage_ack(
    journal: &mut Journal,
    follow: &mut Follow,
    owed: bool,
    rotate: bool,
) -> Result<Option<Staged<AckSent>>, JournalError> {
    // Before anything is encrypted: a refusal spends no generation.
    journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
    let through = journal.inbox_head(follow.session.line())?.cursor;
    let mut txn = journal.begin();
    if rotate {
        follow.session.rotate(&mut txn);
    }
    if !owed {
        let _rotation = txn.stage(())?;
        return Ok(None);
    }
    let envelope = follow.session.send_ack(&mut txn)?;
    let staged = txn.stage(AckSent { envelope, through })?;
    // CRASH(app.ack.staged): before: no ack in the outbox, keys as they were; the next process owes one
    // | after: ack and rotation are synced as one.
    crash_point!("app.ack.staged");
    journal.stage_trims(1, |txn| txn.trim_deleted());
    Ok(Some(staged))
}

/// Rotates a group's key because something of its line was deleted.
fn rotate_for_good(
    lines: &mut BTreeMap<Line, Follow>,
    txn: &mut Txn<'_>,
    line: Line,
) -> Result<(), JournalError> {
    match lines.get_mut(&line) {
        Some(follow) => follow.session.rotate_for_good(txn),
        None => Session::<Follower>::new(line).rotate_for_good(txn),
    }
}

/// Whether an error concerns the stored state of one line or pairing and leaves the others alone.
fn is_about_one_line(error: &JournalError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Corrupt | ErrorKind::Peer | ErrorKind::Misuse
    )
}

/// What stands beside clips may be damaged, and is then in the way of nothing: it counts as not there.
fn unless_damaged<T: Default>(found: Result<T, JournalError>) -> Result<T, JournalError> {
    match found {
        Err(error) if is_about_one_line(&error) => {
            tracing::warn!(%error, "pictures or notifications of a hub cannot be read");
            Ok(T::default())
        }
        found => found,
    }
}

/// Whether a picture and a clip are of one event: they name the same camera and the same beginning.
fn is_same_event(one: &AppClip, other: &AppClip) -> bool {
    one.started_unix_ms != 0
        && one.started_unix_ms == other.started_unix_ms
        && one.camera == other.camera
}

/// Whether a notification and a clip are of one event, in the same way.
fn is_notice_of(notice: &AppNotice, clip: &AppClip) -> bool {
    notice.is_of(&clip.camera, clip.started_unix_ms)
}

/// The line of a pairing's event videos.
#[must_use]
pub fn event_line(pairing: PairingId) -> Line {
    Line::of(pairing, Channel::EventVideo)
}

#[cfg(test)]
mod tests;
