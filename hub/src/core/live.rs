//! Who watches live: sessions begun on a phone's wish, and every way in which one ends.
//!
//! ```text
//! wish -> Commit, Begun   one transaction with the envelope      synced -> frames may be sealed
//! end  -> Ended, rotation one transaction; owed while it has no room
//! ```
//!
//! A session is a right that a sync has made true ([`journal::LiveRight`]); the frames that it covers are sealed
//! here and handed out without any. Sessions live in memory only: a process that starts again has none, and what a
//! start owes to their epochs is what it owes to every other. Events and their clips know nothing of all that: this
//! room must never hold one up, never write for a frame, and never let a session last for ever.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::ids::{Channel, Line, LiveId, PairingId};
use journal::message::{LiveEnd, LiveWish};
use journal::{
    Committed, Durable, ErrorKind, JournalError, Live, LivePiece, LiveRight, Staged, Txn,
};
use wal::Priority;
use wire::envelope::Envelope;

use super::{Core, CoreError, EPOCH_BYTES, LineState, Notice, is_about_one_line};

/// Phones that may watch at the same time.
pub const LIVE_VIEWERS_MAX: usize = 4;
/// How long one session may last. Whoever still watches asks again: a relay that only pretends that somebody does,
/// or a phone that was forgotten on a table, costs no more than this.
pub const LIVE_LASTS_MAX: Duration = Duration::from_secs(10 * 60);

/// How long a session outlasts the connection to the relay, so that its pictures end within five seconds of that also
/// where nobody can say so. Less than a tick of the hub, which counts whole: the first that finds no connection ends it,
/// and whoever still watches asks again.
pub const LIVE_CUT_MAX: Duration = Duration::from_secs(4);

/// A session that frames may be sealed for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveNow {
    /// Which session of its line.
    pub session: u64,
    /// Name of the camera that is watched; empty: the first.
    pub camera: String,
}

/// All of them.
pub type LiveBoard = BTreeMap<Line, LiveNow>;

/// One session for `status`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveStatus {
    /// Of which phone.
    pub line: Line,
    /// Which session.
    pub session: u64,
    /// How long it has lasted, as far as ticks have counted it.
    pub lasted: Duration,
}

/// How far a right has come.
enum Right {
    /// It waits for the sync that covers it.
    Staged(Staged<LiveRight>),
    /// In the sync under way.
    Flying,
    /// Frames may be sealed.
    Durable(Durable<LiveRight>),
}

struct Session {
    session: u64,
    wish: LiveId,
    camera: String,
    right: Right,
    lasted: Duration,
    /// Since when there has been no connection, as far as ticks have counted it.
    cut: Duration,
    /// It is to end, and that has found no room yet.
    owed: Option<LiveEnd>,
}

/// The sessions under way.
#[derive(Default)]
pub(super) struct Lives {
    sessions: BTreeMap<Line, Session>,
    /// The cameras that there are, by their names in the configuration; none before the core was told. Then it refuses
    /// nobody for want of one.
    cameras: Option<BTreeSet<String>>,
    /// The connection to the relay is lost: whoever leaves now, nobody hears.
    is_cut: bool,
}

impl Lives {
    /// A session whose beginning is staged, in the place of the one before. `camera`: none if it goes on with what
    /// that one showed.
    pub(super) fn begun(
        &mut self,
        staged: Staged<LiveRight>,
        of: LiveRight,
        camera: Option<String>,
    ) {
        let before = self.sessions.remove(&of.line());
        let (kept, lasted, owed) = before
            .filter(|before| before.wish == of.wish())
            .map_or_else(Default::default, |before| {
                (before.camera, before.lasted, before.owed)
            });
        let session = Session {
            session: of.session(),
            wish: of.wish(),
            camera: camera.unwrap_or(kept),
            right: Right::Staged(staged),
            lasted,
            cut: Duration::ZERO,
            // What was to end is to end all the same: a Commit in between has only given it another number.
            owed,
        };
        self.sessions.insert(of.line(), session);
    }

    /// The rights that a sync which begins now will cover.
    pub(super) fn fly(&mut self) -> Vec<Staged<LiveRight>> {
        let mut flying = Vec::new();
        for session in self.sessions.values_mut() {
            match std::mem::replace(&mut session.right, Right::Flying) {
                Right::Staged(staged) => flying.push(staged),
                other => session.right = other,
            }
        }
        flying
    }

    /// That sync is over, and good.
    pub(super) fn land(&mut self, committed: &Committed, rights: Vec<Staged<LiveRight>>) {
        for staged in rights {
            let right = committed.redeem(staged);
            let (line, number) = (right.line(), right.session());
            // It may have been followed by another one since.
            if let Some(session) = self.sessions.get_mut(&line)
                && session.session == number
            {
                session.right = Right::Durable(right);
            }
        }
    }

    /// A line's session is over. True if there was one.
    pub(super) fn leave(&mut self, line: Line) -> bool {
        self.sessions.remove(&line).is_some()
    }

    /// A line's handle can go on with no session: whatever epoch is open is to be closed.
    pub(super) fn owe(&mut self, line: Line) {
        if let Some(session) = self.sessions.get_mut(&line) {
            session.owed.get_or_insert(LiveEnd::Limit);
        }
    }

    /// These cameras are there from now on. A session of any other shows nothing more, and is to end.
    pub(super) fn keep_cameras(&mut self, cameras: BTreeSet<String>) {
        for session in self.sessions.values_mut() {
            if !is_among(&cameras, &session.camera) {
                session.owed.get_or_insert(LiveEnd::NoCamera);
            }
        }
        self.cameras = Some(cameras);
    }

    /// Whether there is a camera of this name in the configuration, as far as that is known.
    fn has(&self, camera: &str) -> bool {
        let cameras = self.cameras.as_ref();
        cameras.is_none_or(|cameras| is_among(cameras, camera))
    }

    /// Whether there is a connection to the relay.
    pub(super) fn link(&mut self, is_attached: bool) {
        self.is_cut = !is_attached;
    }

    /// A phone is no more. Which of its lines watched.
    pub(super) fn forget(&mut self, phone: PairingId) -> Vec<Line> {
        let of_phone = |line: &&Line| line.pairing == phone;
        let lines: Vec<Line> = self.sessions.keys().filter(of_phone).copied().collect();
        self.sessions.retain(|line, _| line.pairing != phone);
        lines
    }

    /// Only these lines are there.
    pub(super) fn retain(&mut self, lines: &BTreeSet<Line>) {
        self.sessions.retain(|line, _| lines.contains(line));
    }

    /// What was only true of a handle that is gone.
    pub(super) fn clear(&mut self) {
        self.sessions.clear();
    }

    fn others(&self, line: Line) -> usize {
        self.sessions.keys().filter(|other| **other != line).count()
    }

    /// What is to be done about time: sessions that have lasted long enough, and ends that are owed.
    fn due(&mut self, passed: Duration) -> Vec<(Line, LiveEnd)> {
        let is_cut = self.is_cut;
        let mut due = Vec::new();
        for (line, session) in &mut self.sessions {
            session.lasted = session.lasted.saturating_add(passed);
            let is_long = session.lasted >= LIVE_LASTS_MAX;
            session.cut = match is_cut {
                true => session.cut.saturating_add(passed),
                false => Duration::ZERO,
            };
            let is_alone = session.cut >= LIVE_CUT_MAX;
            let why = session
                .owed
                .or(is_long.then_some(LiveEnd::Limit))
                .or(is_alone.then_some(LiveEnd::Unwatched));
            due.extend(why.map(|why| (*line, why)));
        }
        due
    }
}

/// Whether a camera is one of these; whoever names none means the first.
fn is_among(cameras: &BTreeSet<String>, camera: &str) -> bool {
    match camera {
        "" => !cameras.is_empty(),
        name => cameras.contains(name),
    }
}

/// What a wish comes to.
pub(super) enum Granted {
    /// A session is staged.
    Begun,
    /// The phone is told why not.
    Refused,
}

impl Lives {
    /// Answers a wish in this transaction. `camera`: the name in the configuration of the camera that it names.
    /// `is_covered`: this hub sends at a constant rate.
    pub(super) fn grant(
        &self,
        state: &mut LineState,
        txn: &mut Txn<'_>,
        wish: &LiveWish,
        camera: &str,
        is_covered: bool,
    ) -> Result<Granted, JournalError> {
        let why = if txn.settings()?.settings.privacy {
            Some(LiveEnd::Privacy)
        } else if is_covered {
            Some(LiveEnd::Covered)
        } else if !self.has(camera) {
            Some(LiveEnd::NoCamera)
        } else if self.others(state.session.line()) >= LIVE_VIEWERS_MAX {
            Some(LiveEnd::Busy)
        } else {
            None
        };
        match why {
            Some(why) => {
                state.session.refuse_live(txn, wish.id, why)?;
                Ok(Granted::Refused)
            }
            None => {
                state.session.begin_live(txn, wish.id)?;
                Ok(Granted::Begun)
            }
        }
    }
}

impl Core {
    /// The sessions that frames may be sealed for: only what a finished commit covers.
    pub fn live_board(&self) -> LiveBoard {
        let open = self.lives.sessions.iter().filter(|(_, session)| {
            session.owed.is_none() && matches!(session.right, Right::Durable(_))
        });
        open.map(|(line, session)| {
            let now = LiveNow {
                session: session.session,
                camera: session.camera.clone(),
            };
            (*line, now)
        })
        .collect()
    }

    /// For `status`.
    pub(super) fn live_status(&self) -> Vec<LiveStatus> {
        let facts = |(line, session): (&Line, &Session)| LiveStatus {
            line: *line,
            session: session.session,
            lasted: session.lasted,
        };
        self.lives.sessions.iter().map(facts).collect()
    }

    /// Seals a frame of a session. `None` if that is over: nothing is to be sent.
    ///
    /// Nothing is staged by it, and no sync has to cover it.
    ///
    /// # Errors
    /// The journal's. The session is to end then, or over already.
    pub fn seal_live(
        &mut self,
        line: Line,
        session: u64,
        piece: LivePiece<'_>,
        now_unix_ms: u64,
    ) -> Result<Option<Live<Envelope>>, CoreError> {
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let known = self
            .lives
            .sessions
            .get(&line)
            .filter(|known| known.session == session && known.owed.is_none());
        let (Some(known), Some(state)) = (known, self.lines.get_mut(&line)) else {
            return Ok(None);
        };
        let Right::Durable(right) = &known.right else {
            return Ok(None);
        };
        // The middle of a group that began in the session before.
        if piece.start.is_none() && !state.session.has_live_group() {
            return Ok(None);
        }
        match state.session.seal_live(journal, right, piece) {
            Ok(frame) => Ok(Some(frame)),
            Err(error) if self.is_poison(&error) => self.judge(Err(error), now_unix_ms),
            Err(error) => {
                tracing::warn!(%error, "a live session cannot go on");
                self.end_live(line, LiveEnd::Limit, now_unix_ms)?;
                Ok(None)
            }
        }
    }

    /// The relay passes this session's pictures on to nobody.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_unwatched(
        &mut self,
        line: Line,
        session: u64,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let is_it = |known: &Session| known.session == session;
        match self.lives.sessions.get(&line).is_some_and(is_it) {
            true => self.end_live(line, LiveEnd::Unwatched, now_unix_ms),
            false => Ok(()),
        }
    }

    /// So much time has passed, by the clock that never falls.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn count_live(
        &mut self,
        passed: Duration,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        for (line, why) in self.lives.due(passed) {
            self.end_live(line, why, now_unix_ms)?;
        }
        Ok(())
    }

    /// Ends every session.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn end_lives(&mut self, why: LiveEnd, now_unix_ms: u64) -> Result<(), CoreError> {
        let lines: Vec<Line> = self.lives.sessions.keys().copied().collect();
        for line in lines {
            self.end_live(line, why, now_unix_ms)?;
        }
        Ok(())
    }

    /// Ends a session, or owes its end if not even the reserve has room. No frame of it is sealed any more.
    fn end_live(&mut self, line: Line, why: LiveEnd, now_unix_ms: u64) -> Result<(), CoreError> {
        debug_assert_eq!(line.channel, Channel::Livestream);
        let Some(session) = self.lives.sessions.get_mut(&line) else {
            return Ok(());
        };
        session.owed.get_or_insert(why);
        if !self.has_room(EPOCH_BYTES, Priority::Epoch, now_unix_ms)? {
            return Ok(());
        }
        // The question may have opened the journal again, and with that every session is over.
        if !self.lives.sessions.contains_key(&line) {
            return Ok(());
        }
        let ended = self.in_txn(line, EPOCH_BYTES, now_unix_ms, |session, txn| {
            session.end_live(txn, why, now_unix_ms)
        });
        match self.judge(ended, now_unix_ms) {
            Ok(_said) => {
                self.lives.leave(line);
                self.pending.push(Notice::LiveEnded {
                    line,
                    why: Some(why),
                });
                Ok(())
            }
            Err(CoreError::Reopened) => Ok(()),
            Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                tracing::debug!(%error, "the end of a live session waits for room");
                Ok(())
            }
            Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                self.lives.leave(line);
                self.set_broken(line, &error);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}
