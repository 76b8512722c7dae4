//! Live sessions: one epoch each, whose beginning and end are envelopes and whose frames are stored nowhere.
//!
//! ```text
//! wish --> Commit, Begun    one transaction, one sync: the right to seal frames
//!          frame frame ...  in memory: Live<Envelope>
//!          Ended            used-up ratchet and rotation, one transaction
//! ```
//!
//! A frame is the one thing that may leave un-journaled (promise C4), so it has a type of its own, [`Live`], that
//! only [`Session::seal_live`] makes, and that asks for a [`Durable`] right: no frame leaves in an epoch that a
//! crash could take back. No generation is used twice (C3), because the right dies with the handle, and whatever
//! goes on after a crash opens another epoch. While a session is under way its epoch's first ratchet is on the
//! disk, and whoever copies that opens all of the session; its end, a Commit of a heartbeat and the next session
//! each rotate the group's key away from it (S3).
//!
//! This room must never seal a frame that the next one of its session could be confused with, and never let a
//! session outlive its epoch.

mod viewer;

use std::ops::Deref;

use wal::{Durable, crash_point, mutant};
use wire::envelope::Envelope;
use wire::limits::ENVELOPE_BYTES_MAX;
use zeroize::Zeroizing;

use crate::error::JournalError;
use crate::ids::{Channel, Epoch, Line, LiveId};
use crate::journal::Journal;
use crate::keys;
use crate::message::{
    self, CHUNK_BYTES_MAX, HubLiveMessage, LIVE_INIT_BYTES_MAX, LiveBegun, LiveEnd, LiveEnded,
    LiveFrame, LiveStart,
};
use crate::outbox::Placement;
use crate::pairing::FORWARD_DISTANCE_MAX;
use crate::scope::Scope;
use crate::session::live::live_aad;
use crate::session::{Committer, EpochUse, Session};
use crate::txn::{Outcome, Txn};

pub(crate) use viewer::Watched;
pub use viewer::{LiveArrival, LivePart};

/// Frames of one session. Beyond it the reader's ratchet could not follow from where it is stored.
pub const LIVE_FRAMES_MAX: u64 = 500_000;

const _: () = assert!(LIVE_FRAMES_MAX < FORWARD_DISTANCE_MAX as u64);
const _: () = assert!(
    CHUNK_BYTES_MAX + LIVE_INIT_BYTES_MAX + 4096 < ENVELOPE_BYTES_MAX,
    "a frame with its initialisation segment fits an envelope"
);

/// Room for the largest frame, so that encoding never moves it.
const SCRATCH_BYTES: usize = CHUNK_BYTES_MAX + LIVE_INIT_BYTES_MAX + 256;

/// Something that may leave without being stored, because the epoch that explains it is. Nobody outside this room
/// makes one.
#[derive(Debug)]
#[must_use]
pub struct Live<T>(T);

impl<T> Live<T> {
    /// Takes the value out; from here on the type no longer speaks for it.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> Deref for Live<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The right to seal the frames of one session; of worth only once it is [`Durable`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveRight {
    line: Line,
    session: Epoch,
    wish: LiveId,
}

impl LiveRight {
    /// Which line.
    pub fn line(&self) -> Line {
        self.line
    }

    /// Which session: the epoch that it was opened with.
    pub fn session(&self) -> u64 {
        self.session.0
    }

    /// The wish that it answers.
    pub fn wish(&self) -> LiveId {
        self.wish
    }
}

/// A session under way, in memory.
pub(crate) struct OpenLive {
    right: LiveRight,
    /// Frames sealed.
    frames: u64,
    /// The frame with which the group of pictures begins that is under way; 0 before the first.
    group: u64,
    /// The transaction that began it.
    begun_in: Outcome,
}

/// What a frame is to carry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LivePiece<'a> {
    /// With what a player begins, if a group of pictures begins here.
    pub start: Option<&'a LiveStart>,
    /// When the newest picture in it was captured, milliseconds since 1970.
    pub captured_unix_ms: u64,
    /// Whether a fragment ends with it.
    pub ends_fragment: bool,
    /// At most [`CHUNK_BYTES_MAX`] bytes of the fragment.
    pub bytes: &'a [u8],
}

impl Session<Committer> {
    /// Begins a session for this wish: Commit and first message are in this transaction. A session that was
    /// under way is over with its epoch. [`Session::live_right`] has the right.
    ///
    /// The Commit counts as one that the app has asked for ([`Journal::unacked_heals`]).
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel; as [`Session::advance_epoch`].
    pub fn begin_live(&mut self, txn: &mut Txn<'_>, wish: LiveId) -> Result<(), JournalError> {
        in_livestream(self.line())?;
        self.open_epoch(txn)?;
        self.say_begun(txn, wish)
    }

    /// Answers a wish with the reason why no session begins: Commit and message are in this transaction, and the
    /// epoch is closed with it. A session that was under way is over.
    ///
    /// # Errors
    /// As [`Session::begin_live`].
    pub fn refuse_live(
        &mut self,
        txn: &mut Txn<'_>,
        wish: LiveId,
        why: LiveEnd,
    ) -> Result<(), JournalError> {
        in_livestream(self.line())?;
        let session = self.open_epoch(txn)?;
        self.live = None;
        let ended = LiveEnded {
            wish,
            session: session.0,
            frames: 0,
            why,
        };
        let bytes = encoded(&HubLiveMessage::Ended(ended))?;
        self.finish(txn, &bytes)?;
        Ok(())
    }

    /// A Commit because of a wish. What an earlier session, or the wish, left under the group's key must not be
    /// readable beside this one.
    fn open_epoch(&mut self, txn: &mut Txn<'_>) -> Result<Epoch, JournalError> {
        let used: Option<EpochUse> = txn.row(&keys::epoch_use(self.line()))?;
        let epoch = self.advance_for_app(txn)?;
        // The wish itself has moved a ratchet of the epoch before, which owes a rotation for it.
        if matches!(
            used,
            Some(EpochUse::InUse { .. } | EpochUse::Stirred { .. })
        ) {
            self.rotate_away(txn);
        }
        Ok(epoch)
    }

    /// The first message of a session, in the epoch that this transaction has opened.
    fn say_begun(&mut self, txn: &mut Txn<'_>, wish: LiveId) -> Result<(), JournalError> {
        let session = self.epoch(txn)?;
        let begun = LiveBegun {
            wish,
            session: session.0,
        };
        let bytes = encoded(&HubLiveMessage::Begun(begun))?;
        self.seal(txn, &bytes, Placement::Inline)?;
        self.live = Some(OpenLive {
            right: LiveRight {
                line: self.line(),
                session,
                wish,
            },
            frames: 0,
            group: 0,
            begun_in: txn.outcome().clone(),
        });
        // CRASH(journal.live.begun_staged): before: no session, and the wish is not taken | after: the wish is
        // taken, Commit and first message are in the outbox, synced as one; a start closes the epoch.
        crash_point!("journal.live.begun_staged");
        Ok(())
    }

    /// A Commit that has nothing to do with it has opened another epoch: the session goes on as a new one, for the
    /// same wish. False if none was under way.
    pub(crate) fn carry_live(
        &mut self,
        txn: &mut Txn<'_>,
        under_way: Option<LiveId>,
    ) -> Result<bool, JournalError> {
        let Some(wish) = under_way else {
            return Ok(false);
        };
        self.rotate_away(txn);
        self.say_begun(txn, wish)?;
        Ok(true)
    }

    /// What came before the session that begins does not stay readable.
    fn rotate_away(&self, txn: &mut Txn<'_>) {
        if !mutant!(
            "session_key_stays",
            "S3",
            "a live session leaves the key of the one before it readable, and that of the wish for it"
        ) {
            txn.rotate(Scope::Group(self.line()));
        }
    }

    /// The wish of the session under way, if this handle may go on with it.
    pub fn live_wish(&self, txn: &Txn<'_>) -> Option<LiveId> {
        let live = self.live.as_ref()?;
        self.may_encrypt(txn).then_some(live.right.wish)
    }

    /// The right of the session that this transaction begins; stage it with the transaction.
    pub fn live_right(&self, txn: &Txn<'_>) -> Option<LiveRight> {
        let live = self.live.as_ref()?;
        live.begun_in.same(txn.outcome()).then_some(live.right)
    }

    /// Whether a group of pictures has begun in the session under way: only then a frame without a start is one.
    pub fn has_live_group(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.group > 0)
    }

    /// Ends the session under way: its last message, the used-up ratchet and the rotation of the group's key are in
    /// this transaction. A session that this handle cannot speak in any more ends with a Commit. `None` if there is
    /// nothing to say to the app.
    ///
    /// # Errors
    /// Storage, or MLS; the transaction must be dropped. The session is to be ended again then.
    pub fn end_live(
        &mut self,
        txn: &mut Txn<'_>,
        why: LiveEnd,
        now_unix_ms: u64,
    ) -> Result<Option<LiveEnded>, JournalError> {
        in_livestream(self.line())?;
        let live = self.live.take();
        // The last picture of the session goes with it.
        self.scratch = Zeroizing::default();
        let Some(live) = live.filter(|_| self.may_encrypt(txn)) else {
            self.close_used_epoch(txn, now_unix_ms)?;
            return Ok(None);
        };
        let ended = LiveEnded {
            wish: live.right.wish,
            session: live.right.session.0,
            frames: live.frames,
            why,
        };
        let bytes = encoded(&HubLiveMessage::Ended(ended))?;
        self.finish(txn, &bytes)?;
        Ok(Some(ended))
    }

    /// Seals the next frame of a session. Nothing is stored, and nothing has to be.
    ///
    /// # Errors
    /// [`JournalError::NoRightToEncrypt`] if that session is over, or its handle lost. [`JournalError::Misuse`]
    /// for a frame beyond its limits, the first one without a start, or one too many: end the session. Storage, or
    /// MLS: it is over.
    pub fn seal_live(
        &mut self,
        journal: &mut Journal,
        right: &Durable<LiveRight>,
        piece: LivePiece<'_>,
    ) -> Result<Live<Envelope>, JournalError> {
        let line = self.line();
        let Some(live) = self.live.as_mut().filter(|live| live.right == **right) else {
            return Err(JournalError::NoRightToEncrypt(line));
        };
        let is_sound = piece.bytes.len() <= CHUNK_BYTES_MAX
            && piece.start.is_none_or(LiveStart::is_sound)
            && (piece.start.is_some() || live.group > 0)
            && live.frames < LIVE_FRAMES_MAX;
        if !is_sound {
            return Err(JournalError::Misuse("a frame that no session has"));
        }
        // Before anything is encrypted: whatever fails, this number is spent.
        live.frames += 1;
        let number = live.frames;
        if piece.start.is_some() {
            live.group = number;
        }
        let frame = LiveFrame {
            session: right.session.0,
            number,
            group: live.group,
            captured_unix_ms: piece.captured_unix_ms,
            ends_fragment: piece.ends_fragment,
            start: piece.start.cloned(),
            bytes: piece.bytes,
        };
        let mut scratch = core::mem::take(&mut self.scratch);
        // Without the frame before, so that there is room and its bytes are never moved, which would leave a copy.
        scratch.clear();
        scratch.reserve(SCRATCH_BYTES);
        let encoded = message::encode_into(&frame, &mut scratch);
        let sealed = match encoded {
            Some(()) => self.encrypt_live(journal, (right.session, number), &scratch),
            None => Err(JournalError::Misuse("our own messages must encode")),
        };
        self.scratch = scratch;
        let bytes = sealed?;
        let length = bytes.len();
        let envelope = Envelope::new(bytes).map_err(|_| JournalError::EnvelopeTooLarge {
            bytes: length,
            limit: ENVELOPE_BYTES_MAX,
        })?;
        Ok(Live(envelope))
    }
}

fn encoded(message: &HubLiveMessage) -> Result<Vec<u8>, JournalError> {
    message::encode(message).ok_or(JournalError::Misuse("our own messages must encode"))
}

/// Live is watched in its own channel alone.
fn in_livestream(line: Line) -> Result<(), JournalError> {
    match line.channel {
        Channel::Livestream => Ok(()),
        _ => Err(JournalError::Misuse(
            "live sessions are in the livestream channel",
        )),
    }
}

/// Whether a frame is where its sender put it.
fn is_in_place(frame: &LiveFrame<'_>, epoch: Epoch, aad: &[u8]) -> bool {
    frame.session == epoch.0 && aad == live_aad(frame.number)
}
