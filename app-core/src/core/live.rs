//! Live pictures at the app: the wish, the session that answers it, and whole fragments of what arrives.
//!
//! Which frames may be shown the journal decides ([`journal::Session::open_live`]); this room puts them together,
//! says what is missing, and says when somebody has to wish anew: a Commit that took the session's epoch away and
//! brought no other, a hub that started again. Nothing of a picture is stored; of the wishes themselves nothing
//! outlives the process. It must never hand out half a fragment, and never a picture behind a hole that it needs.

use std::collections::VecDeque;

use bytes::Bytes;
use journal::ids::{Channel, Line, LiveId, PairingId};
use journal::message::{LiveEnd, LiveStart, LiveWish};
use journal::{JournalError, LiveArrival, LivePart, Staged, Taken};
use wal::{Priority, crash_point};
use zeroize::Zeroizing;

use super::{ACK_COST_BYTES, Core};

/// A session whose epoch is over is waited for so long, in milliseconds: mostly the next one follows at once.
const AGAIN_AFTER_MS: u64 = 1_000;
/// Wishes for one viewer. Each costs the hub a Commit.
const WISHES_MAX: u32 = 8;
/// Longest fragment, in bytes: 100 ms of pictures. What is longer is left out.
const FRAGMENT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Facts that wait for the shell. Beyond it pictures go first, with the rest of their group.
const OUT_MAX: usize = 256;
/// Bytes of fragments among them.
const OUT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Something for whoever watches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveOut {
    /// The hub has begun a session: pictures follow.
    Began,
    /// What a player needs first, or anew.
    Start(LiveStart),
    /// A whole fragment.
    Fragment {
        /// Its bytes.
        bytes: Vec<u8>,
        /// Whether it can be decoded without those before it.
        begins_group: bool,
        /// When its newest picture was captured, milliseconds since 1970 by the hub's clock.
        captured_unix_ms: u64,
    },
    /// So many frames are missing; the next fragment begins a group.
    Gap {
        /// How many, as far as it is known.
        frames: u64,
    },
    /// The session was lost, and another one was wished for, or follows.
    Interrupted,
    /// Nothing more comes.
    Ended(LiveEnd),
}

impl LiveOut {
    /// Bytes of a fragment; of anything else none.
    fn bytes(&self) -> usize {
        match self {
            Self::Fragment { bytes, .. } => bytes.len(),
            _ => 0,
        }
    }
}

/// What a viewer's line needs done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LiveNeed {
    /// Nothing.
    Nothing,
    /// A wish is to be said.
    Wish,
    /// Look again in so many milliseconds.
    Later(u64),
    /// Too many wishes were lost: there is no use in another.
    GiveUp,
}

/// Where a wish stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    /// Said, and not answered.
    Wished,
    /// Answered: frames of this session may be shown.
    Watching,
    /// Its epoch is over, since then; milliseconds of the clock that never steps.
    Lost { since_ms: u64 },
    /// The hub has said that it is over.
    Over,
}

/// What one viewer watches.
pub(super) struct View {
    /// Whose view it is.
    viewer: u64,
    wish: LiveId,
    stage: Stage,
    wishes: u32,
    assembly: Assembly,
    out: VecDeque<LiveOut>,
}

impl View {
    /// False if nobody takes what there is: the rest of the group is given up.
    fn say(&mut self, out: LiveOut) -> bool {
        let held: usize = self.out.iter().map(LiveOut::bytes).sum();
        if self.out.len() >= OUT_MAX || held + out.bytes() > OUT_BYTES_MAX {
            // Nobody takes them. What is shown next begins a group, and brings what a player needs.
            self.out.retain(|one| {
                matches!(
                    one,
                    LiveOut::Began | LiveOut::Interrupted | LiveOut::Ended(_)
                )
            });
            let excess = (self.out.len() + 2).saturating_sub(OUT_MAX);
            self.out.drain(..excess);
            self.out.push_back(LiveOut::Gap { frames: 1 });
            self.assembly.break_off();
            self.assembly.start = None;
            if !matches!(out, LiveOut::Fragment { .. }) {
                self.out.push_back(out);
            }
            return false;
        }
        self.out.push_back(out);
        true
    }

    /// What one part brings.
    fn take(&mut self, part: LivePart) {
        for out in self.assembly.take(part) {
            if !self.say(out) {
                // What is behind it begins nothing.
                return;
            }
        }
    }

    /// What the hub said, or a Commit did, about it.
    fn note(&mut self, taken: &Taken, now_ms: u64) {
        match taken {
            Taken::LiveBegun(begun) if begun.wish == self.wish => {
                self.stage = Stage::Watching;
                self.assembly = Assembly::default();
                self.say(LiveOut::Began);
            }
            Taken::LiveEnded(ended) if ended.wish == self.wish => {
                // Those that were on their way when it was told to stop, nobody misses.
                let missing = ended.frames.saturating_sub(self.assembly.last);
                let is_cut = self.stage == Stage::Watching && ended.why != LiveEnd::Enough;
                if is_cut && missing > 0 {
                    self.say(LiveOut::Gap { frames: missing });
                }
                self.stage = Stage::Over;
                self.say(LiveOut::Ended(ended.why));
            }
            Taken::NewEpoch(_) | Taken::Healed(_) => {
                if self.stage == Stage::Watching {
                    self.say(LiveOut::Interrupted);
                }
                if self.stage != Stage::Over {
                    self.stage = Stage::Lost { since_ms: now_ms };
                }
            }
            _ => {}
        }
    }

    fn need(&self, now_ms: u64) -> LiveNeed {
        match self.stage {
            Stage::Wished | Stage::Watching | Stage::Over => LiveNeed::Nothing,
            Stage::Lost { since_ms } => {
                let waited_ms = now_ms.saturating_sub(since_ms);
                match AGAIN_AFTER_MS.saturating_sub(waited_ms) {
                    0 if self.wishes >= WISHES_MAX => LiveNeed::GiveUp,
                    0 => LiveNeed::Wish,
                    left_ms => LiveNeed::Later(left_ms),
                }
            }
        }
    }
}

/// Parts of a fragment, until it is whole.
#[derive(Default)]
struct Assembly {
    /// Of which session.
    session: u64,
    /// The last number of it that came.
    last: u64,
    /// Everything since the last beginning of a group is here.
    is_whole: bool,
    /// The fragment under way begins a group.
    begins_group: bool,
    bytes: Zeroizing<Vec<u8>>,
    start: Option<LiveStart>,
}

impl Assembly {
    fn take(&mut self, part: LivePart) -> Vec<LiveOut> {
        let mut out = Vec::new();
        if self.session != part.session {
            // Its numbers begin anew.
            *self = Self {
                session: part.session,
                ..Self::default()
            };
        }
        let missing = part.number.saturating_sub(self.last + 1);
        self.last = part.number;
        if missing > 0 {
            self.break_off();
            out.push(LiveOut::Gap { frames: missing });
        }
        if let Some(start) = part.start {
            self.break_off();
            (self.is_whole, self.begins_group) = (true, true);
            if self.start.as_ref() != Some(&start) {
                out.push(LiveOut::Start(start.clone()));
                self.start = Some(start);
            }
        }
        if !self.is_whole {
            return out;
        }
        if self.bytes.len() + part.bytes.len() > FRAGMENT_BYTES_MAX {
            self.break_off();
            out.push(LiveOut::Gap { frames: 1 });
            return out;
        }
        self.bytes.extend_from_slice(&part.bytes);
        if part.ends_fragment {
            out.push(LiveOut::Fragment {
                bytes: std::mem::take(&mut *self.bytes),
                begins_group: std::mem::take(&mut self.begins_group),
                captured_unix_ms: part.captured_unix_ms,
            });
        }
        out
    }

    /// What is here of the fragment is of no use, nor what follows it in its group.
    fn break_off(&mut self) {
        self.bytes = Zeroizing::default();
        (self.is_whole, self.begins_group) = (false, false);
    }
}

impl Core {
    /// What the line of the viewer with this number needs done: a first wish, or another one.
    #[must_use]
    pub fn live_need(&self, pairing: PairingId, viewer: u64, now_ms: u64) -> LiveNeed {
        match self.views.get(&live_line(pairing)) {
            Some(view) if view.viewer == viewer => view.need(now_ms),
            _ => LiveNeed::Wish,
        }
    }

    /// Stages a wish to watch. `None` while an update of ours makes the line mute: ask again when that is over.
    /// What another viewer was shown is over with it. Call it only when the line has caught up with the relay: it
    /// would be stale before it arrives.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`], or only our own storage.
    pub fn stage_wish(
        &mut self,
        pairing: PairingId,
        viewer: u64,
        camera: &str,
    ) -> Result<Option<Staged<LiveId>>, JournalError> {
        let line = live_line(pairing);
        self.check_goes_on(line)?;
        let staged = journal::or_after_commit(
            self,
            |core| core.try_stage_wish(line, camera),
            |core| core.commit().map(drop),
        )?;
        let Some((wish, staged)) = staged else {
            return Ok(None);
        };
        let before = self.views.remove(&line);
        let before = before.filter(|before| before.viewer == viewer);
        let (wishes, out) =
            before.map_or_else(Default::default, |before| (before.wishes, before.out));
        let view = View {
            viewer,
            wish,
            stage: Stage::Wished,
            wishes: wishes + 1,
            assembly: Assembly::default(),
            out,
        };
        self.views.insert(line, view);
        Ok(Some(staged))
    }

    fn try_stage_wish(
        &mut self,
        line: Line,
        camera: &str,
    ) -> Result<Option<(LiveId, Staged<LiveId>)>, JournalError> {
        // Before anything is encrypted: a refusal spends no generation.
        self.journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
        let Some(follow) = self
            .lines
            .get_mut(&line)
            .filter(|follow| !follow.awaits_commit)
        else {
            return Ok(None);
        };
        let mut txn = self.journal.begin();
        let wish = LiveWish {
            id: txn.live_id(),
            camera: camera.to_owned(),
        };
        follow.session.send_watch(&mut txn, &wish)?;
        let staged = txn.stage(wish.id)?;
        // CRASH(app.live.staged): before: no wish | after: the wish is in the outbox; the next process sends it and
        // shows nothing of what it brings.
        crash_point!("app.live.staged");
        Ok(Some((wish.id, staged)))
    }

    /// Stages the word that whoever watched has seen enough, and shows nothing any more. `None` if there is nobody
    /// to tell, or the line is mute: then the relay's silence ends the session.
    ///
    /// # Errors
    /// As [`Self::stage_wish`].
    pub fn stage_enough(&mut self, pairing: PairingId) -> Result<Option<Staged<()>>, JournalError> {
        let line = live_line(pairing);
        self.check_goes_on(line)?;
        let view = self.views.get(&line);
        let wish = view
            .filter(|view| view.stage != Stage::Over)
            .map(|view| view.wish);
        let Some(wish) = wish else {
            return Ok(None);
        };
        journal::or_after_commit(
            self,
            |core| core.try_stage_enough(line, wish),
            |core| core.commit().map(drop),
        )
    }

    fn try_stage_enough(
        &mut self,
        line: Line,
        wish: LiveId,
    ) -> Result<Option<Staged<()>>, JournalError> {
        self.journal.admit(ACK_COST_BYTES, Priority::Epoch)?;
        let Some(follow) = self
            .lines
            .get_mut(&line)
            .filter(|follow| !follow.awaits_commit)
        else {
            return Ok(None);
        };
        let mut txn = self.journal.begin();
        follow.session.send_enough(&mut txn, wish)?;
        txn.stage(()).map(Some)
    }

    /// Nobody watches any more.
    pub fn stop_viewing(&mut self, pairing: PairingId) {
        let line = live_line(pairing);
        self.views.remove(&line);
        if let Some(follow) = self.lines.get_mut(&line) {
            follow.session.stop_watching();
        }
    }

    /// Takes arriving frames, the oldest first. Those that came too early come back.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn open_live(
        &mut self,
        pairing: PairingId,
        frames: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, JournalError> {
        let line = live_line(pairing);
        self.check_goes_on(line)?;
        let mut early = Vec::new();
        let (Some(view), Some(follow)) = (self.views.get_mut(&line), self.lines.get_mut(&line))
        else {
            return Ok(early);
        };
        for frame in frames {
            match follow.session.open_live(&mut self.journal, &frame)? {
                LiveArrival::Part(part) => view.take(part),
                LiveArrival::Early if view.stage == Stage::Over => {}
                LiveArrival::Early => early.push(frame),
                LiveArrival::Refused(why) => {
                    tracing::debug!(why, "a live frame is not shown");
                }
                LiveArrival::NotAuthentic => {
                    tracing::debug!("the relay passed on a live frame that the hub did not make");
                }
                LiveArrival::Late | LiveArrival::Unwanted => {}
            }
        }
        Ok(early)
    }

    /// What there is for the viewer with this number, in order.
    pub fn poll_live(&mut self, pairing: PairingId, viewer: u64) -> Vec<LiveOut> {
        match self.views.get_mut(&live_line(pairing)) {
            Some(view) if view.viewer == viewer => view.out.drain(..).collect(),
            _ => Vec::new(),
        }
    }

    /// What an envelope did, as far as live pictures go.
    pub(super) fn note_live(&mut self, line: Line, taken: &Taken, now_ms: u64) {
        if let Some(view) = self.views.get_mut(&line) {
            view.note(taken, now_ms);
        }
    }
}

/// The line of a pairing's live pictures.
fn live_line(pairing: PairingId) -> Line {
    Line::of(pairing, Channel::Livestream)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u64, begins: bool, ends_fragment: bool) -> LivePart {
        LivePart {
            session: 1,
            number,
            group: 1,
            captured_unix_ms: 1_000 + number,
            ends_fragment,
            start: begins.then(|| LiveStart {
                mime: "video/mp4".into(),
                init: vec![9],
            }),
            bytes: Zeroizing::new(vec![number as u8; 2]),
        }
    }

    fn fragment(numbers: &[u8], begins_group: bool) -> LiveOut {
        LiveOut::Fragment {
            bytes: numbers.iter().flat_map(|number| [*number; 2]).collect(),
            begins_group,
            captured_unix_ms: 1_000 + u64::from(numbers[numbers.len() - 1]),
        }
    }

    #[test]
    fn only_whole_fragments_are_handed_out_and_holes_are_said() {
        let mut assembly = Assembly::default();
        let mut take = |number, begins, ends| assembly.take(part(number, begins, ends));
        let first = take(1, true, false);
        assert!(matches!(first[..], [LiveOut::Start(_)]), "{first:?}");
        assert_eq!(take(2, false, true), [fragment(&[1, 2], true)]);
        assert_eq!(take(3, false, true), [fragment(&[3], false)]);
        // Half of it is missing, and with it the rest of the group.
        assert!(take(4, false, false).is_empty());
        assert_eq!(take(7, false, true), [LiveOut::Gap { frames: 2 }]);
        assert!(take(8, false, true).is_empty());
        assert_eq!(take(9, true, true), [fragment(&[9], true)]);
        // Another group begins before the last fragment was whole.
        assert!(take(10, false, false).is_empty());
        assert_eq!(take(11, true, true), [fragment(&[11], true)]);
    }

    #[test]
    fn who_comes_in_the_middle_of_a_group_begins_with_the_next() {
        let mut assembly = Assembly::default();
        let gap = assembly.take(part(5, false, true));
        assert_eq!(gap, [LiveOut::Gap { frames: 4 }]);
        assert!(assembly.take(part(6, false, true)).is_empty());
        let begins = assembly.take(part(7, true, true));
        assert!(matches!(
            begins[..],
            [LiveOut::Start(_), LiveOut::Fragment { .. }]
        ));
    }

    #[test]
    fn a_session_that_is_lost_is_wished_for_again_and_not_for_ever() {
        let mut view = View {
            viewer: 1,
            wish: LiveId([1; 16]),
            stage: Stage::Wished,
            wishes: 1,
            assembly: Assembly::default(),
            out: VecDeque::new(),
        };
        let begun = |session| {
            Taken::LiveBegun(journal::message::LiveBegun {
                wish: LiveId([1; 16]),
                session,
            })
        };
        assert_eq!(view.need(5), LiveNeed::Nothing);
        view.note(&begun(4), 5);
        // A heartbeat's Commit, and the session that goes on behind it.
        view.note(&Taken::Healed(journal::ids::Epoch(5)), 10);
        assert_eq!(view.need(10), LiveNeed::Later(AGAIN_AFTER_MS));
        view.note(&begun(5), 11);
        assert_eq!(view.need(99_000), LiveNeed::Nothing);
        let said: Vec<LiveOut> = view.out.drain(..).collect();
        assert_eq!(said, [LiveOut::Began, LiveOut::Interrupted, LiveOut::Began]);
        // The hub has started again.
        view.note(&Taken::NewEpoch(journal::ids::Epoch(6)), 20);
        assert_eq!(view.need(20 + AGAIN_AFTER_MS), LiveNeed::Wish);
        view.wishes = WISHES_MAX;
        assert_eq!(view.need(20 + AGAIN_AFTER_MS), LiveNeed::GiveUp);
        let ended = Taken::LiveEnded(journal::message::LiveEnded {
            wish: LiveId([1; 16]),
            session: 6,
            frames: 0,
            why: LiveEnd::Busy,
        });
        view.note(&ended, 30);
        assert_eq!(view.need(u64::MAX), LiveNeed::Nothing);
    }

    fn view() -> View {
        View {
            viewer: 1,
            wish: LiveId([1; 16]),
            stage: Stage::Watching,
            wishes: 1,
            assembly: Assembly::default(),
            out: VecDeque::new(),
        }
    }

    /// A session whose beginning was heard, and not noted here: its numbers say nothing about the one before.
    #[test]
    fn numbers_begin_anew_with_a_session() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(part(1, true, false)).len(), 1);
        let other = LivePart {
            session: 2,
            ..part(2, false, true)
        };
        assert_eq!(assembly.take(other), [LiveOut::Gap { frames: 1 }]);
    }

    /// Whoever takes nothing loses pictures: those that come then begin a group, behind what a player needs.
    #[test]
    fn what_nobody_takes_is_bounded_and_leaves_no_picture_behind_a_hole() {
        let mut view = view();
        view.take(part(1, true, true));
        let count = 2 * OUT_MAX as u64;
        for number in 2..count {
            view.take(part(number, false, true));
            assert!(view.out.len() <= OUT_MAX);
        }
        view.take(part(count, true, true));
        let shown: Vec<LiveOut> = view.out.drain(..).collect();
        assert!(
            matches!(
                shown[..],
                [
                    LiveOut::Gap { .. },
                    LiveOut::Start(_),
                    LiveOut::Fragment {
                        begins_group: true,
                        ..
                    }
                ]
            ),
            "{} of them",
            shown.len()
        );
    }

    /// What a part brings goes out whole or not at all.
    #[test]
    fn what_there_is_no_room_for_takes_the_fragment_behind_it_along() {
        let mut view = view();
        for number in 1..=OUT_MAX as u64 - 1 {
            view.take(part(number, number == 1, true));
        }
        assert_eq!(view.out.len(), OUT_MAX);
        // A hole, what a player needs, and a fragment; there is no room for the first of them.
        view.take(part(OUT_MAX as u64 + 1, true, true));
        let said = view
            .out
            .iter()
            .all(|out| matches!(out, LiveOut::Gap { .. }));
        assert!(said && !view.out.is_empty(), "{:?}", view.out);
        view.take(part(OUT_MAX as u64 + 2, false, true));
        assert!(
            !view
                .out
                .iter()
                .any(|out| matches!(out, LiveOut::Fragment { .. }))
        );
        view.take(part(OUT_MAX as u64 + 3, true, true));
        let newest: Vec<&LiveOut> = view.out.iter().rev().take(2).collect();
        assert!(matches!(
            newest[..],
            [LiveOut::Fragment { .. }, LiveOut::Start(_)]
        ));
    }

    #[test]
    fn a_tail_that_was_cut_off_is_said() {
        let ended = |why| {
            Taken::LiveEnded(journal::message::LiveEnded {
                wish: LiveId([1; 16]),
                session: 6,
                frames: 9,
                why,
            })
        };
        let mut cut = view();
        cut.take(part(7, true, true));
        cut.out.clear();
        cut.note(&ended(LiveEnd::Limit), 30);
        let said: Vec<LiveOut> = cut.out.drain(..).collect();
        assert_eq!(
            said,
            [LiveOut::Gap { frames: 2 }, LiveOut::Ended(LiveEnd::Limit)]
        );
        let mut stopped = view();
        stopped.note(&ended(LiveEnd::Enough), 30);
        assert_eq!(stopped.out, [LiveOut::Ended(LiveEnd::Enough)]);
    }
}
