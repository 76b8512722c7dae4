//! Clips that have waited for as long as their owner wants them to be kept: they go, the oldest first, as those do
//! that make room.
//!
//! A hub may have no clock that keeps time while it is off, and one that jumps a year must not cost a clip, so no two
//! dates are compared. What counts is for how long hubs of this directory have run: each tick adds what has passed
//! since the last one, at most [`STEP_MAX`]. From time to time it is noted how far each phone's outbox has come
//! ([`journal::AgeMark`]); whatever lies at or before such a mark is at least as old as the mark. Time in which the hub
//! was off does not count, and neither does what was not stored when it lost its power: a clip stays longer then. This
//! room must never make a clip older than it is, never drop one that is being recorded or played, and never drop
//! anything without a statement ([`super::budget`]).

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use journal::ids::{Line, PairingId};
use journal::message::{DropReason, Settings};
use journal::{AgeMark, Ages, ErrorKind, HubClip};
use wal::mutant;
use wire::ids::Seq;

use super::{Core, CoreError, LineState, SMALL_GROUP_BYTES};

/// The most that one tick counts: far more than lies between two ticks of a busy hub, far less than a day.
const STEP_MAX: Duration = Duration::from_secs(60);
/// How much may be counted before it is stored: what a hub that loses its power forgets.
const STORE_EVERY_S: u64 = 60 * 60;
/// A mark is made at the earliest after so many parts of the time for which clips are kept: so much longer than that a
/// clip may stay.
const PARTS: u64 = 32;
/// Where no time is set, marks are made as for this one, so that one that is set later finds some.
const USUAL_DAYS: u32 = 30;
/// Marks of one phone; the oldest goes for one more, and what it covers is then as old as the next. Twice those that
/// are made while one time is set.
const MARKS_MAX: usize = 2 * PARTS as usize;
/// Clips that one tick drops at most; the next goes on.
const DROPS_MAX: usize = 16;

const DAY_S: u64 = 24 * 60 * 60;

/// What is known of the age of clips.
#[derive(Default)]
pub(super) struct Aging {
    ran: Duration,
    stored_s: u64,
    marks: BTreeMap<PairingId, VecDeque<AgeMark>>,
}

impl Aging {
    /// As it is stored.
    pub(super) fn new(ages: Ages) -> Self {
        let marks = ages.marks.into_iter();
        Self {
            ran: Duration::from_secs(ages.ran_s),
            stored_s: ages.ran_s,
            marks: marks.map(|(phone, marks)| (phone, marks.into())).collect(),
        }
    }

    /// So much time has passed.
    pub(super) fn tick(&mut self, passed: Duration) {
        self.ran = self.ran.saturating_add(passed.min(STEP_MAX));
    }

    /// Whether it is time to look how far outboxes have come.
    fn is_due(&self) -> bool {
        self.ran.as_secs().saturating_sub(self.stored_s) >= STORE_EVERY_S
    }

    /// How far outboxes have come: for each phone what is acked, and the last that there is. Other phones are
    /// forgotten. Whether there is anything to be stored.
    fn mark(&mut self, heads: &[(PairingId, Seq, Seq)], days: Option<u32>) -> bool {
        let is_there = |phone: &PairingId| heads.iter().any(|(other, ..)| other == phone);
        self.marks.retain(|phone, _| is_there(phone));
        let ran_s = self.ran.as_secs();
        let apart_s = (u64::from(days.unwrap_or(USUAL_DAYS)) * DAY_S / PARTS).max(STORE_EVERY_S);
        for (phone, acked, last) in heads {
            let marks = self.marks.entry(*phone).or_default();
            // What is acked is at the phone.
            marks.retain(|mark| mark.last > *acked);
            let is_early = marks.back().is_some_and(|mark| {
                ran_s.saturating_sub(mark.ran_s) < apart_s || mark.last >= *last
            });
            if last > acked && !is_early {
                if marks.len() >= MARKS_MAX {
                    marks.pop_front();
                }
                marks.push_back(AgeMark { ran_s, last: *last });
            }
        }
        self.marks.retain(|_, marks| !marks.is_empty());
        !self.marks.is_empty()
    }

    /// Up to where the outbox of a phone is as old as so many days.
    fn aged(&self, phone: PairingId, days: u32) -> Option<Seq> {
        let ran_s = self.ran.as_secs();
        let is_old = |mark: &&AgeMark| {
            ran_s.saturating_sub(mark.ran_s) >= u64::from(days).saturating_mul(DAY_S)
                || mutant!(
                    "young_clip_dropped",
                    "C2",
                    "a clip goes for its age as soon as it is known to be there"
                )
        };
        let marks = self.marks.get(&phone)?;
        marks.iter().take_while(is_old).last().map(|mark| mark.last)
    }

    /// Nothing is left up to there.
    fn settle(&mut self, phone: PairingId, through: Seq) {
        if let Some(marks) = self.marks.get_mut(&phone) {
            marks.retain(|mark| mark.last > through);
        }
    }

    fn to_store(&self) -> Ages {
        let marks = self.marks.iter();
        Ages {
            ran_s: self.ran.as_secs(),
            marks: marks
                .map(|(phone, marks)| (*phone, marks.iter().copied().collect()))
                .collect(),
        }
    }
}

impl Core {
    /// Clips that no phone has got go after so many days of running, if no phone has set another number; `None`: they
    /// stay for as long as there is room.
    pub fn set_clip_days(&mut self, days: Option<u32>) {
        self.clip_days = days;
    }

    /// After how many days clips go: a phone's word before the configuration's, but no fewer than those. It would be
    /// other phones' clips that went, and for good.
    pub(super) fn clip_days_max(&self, settings: &Settings) -> Option<u32> {
        let days = settings.clip_days_max.or(self.clip_days)?;
        Some(days.max(self.clip_days.unwrap_or(days)))
    }

    /// Notes how old clips are, where it is time to, and drops those that are too old. Staged.
    ///
    /// # Errors
    /// [`CoreError::Reopened`] or [`CoreError::Dead`]; whatever else is in the way is tried again.
    pub(super) fn drop_aged(&mut self, now_unix_ms: u64) -> Result<(), CoreError> {
        let settings = self.settings(now_unix_ms)?.settings;
        let days = self.clip_days_max(&settings);
        if self.aging.is_due() {
            let noted = self.note_ages(days);
            match self.judge(noted, now_unix_ms) {
                Ok(()) => {}
                Err(CoreError::Journal(error)) => {
                    tracing::debug!(%error, "how old clips are is noted later");
                }
                Err(error) => return Err(error),
            }
        }
        let Some(days) = days else {
            return Ok(());
        };
        let records = |(line, state): (&Line, &LineState)| state.may_record().then_some(*line);
        let lines: Vec<Line> = self.lines.iter().filter_map(records).collect();
        let mut left = DROPS_MAX;
        for line in lines {
            if let Some(through) = self.aging.aged(line.pairing, days) {
                self.drop_through(line, through, &mut left, now_unix_ms)?;
            }
        }
        Ok(())
    }

    /// Drops what has ended at or before an envelope, at most `left` clips.
    fn drop_through(
        &mut self,
        line: Line,
        through: Seq,
        left: &mut usize,
        now_unix_ms: u64,
    ) -> Result<(), CoreError> {
        let is_old = |clip: &HubClip| clip.last_seq() <= through;
        // What is being recorded or played, and was begun before that, is looked at again.
        let mut is_done = !self.has_open_clip_before(line, through);
        for clip in self.droppable(line).into_iter().filter(is_old) {
            if *left == 0 {
                return Ok(());
            }
            *left -= 1;
            match self.drop_clip(line, &clip, DropReason::Age, now_unix_ms)? {
                // One that lies in very many pieces goes on with the next tick, whatever becomes of the mark.
                Some(_bytes) => {}
                None => {
                    is_done = false;
                    break;
                }
            }
        }
        if is_done {
            self.aging.settle(line.pairing, through);
        }
        Ok(())
    }

    /// Whether a clip that must not be touched now has envelopes at or before this one.
    fn has_open_clip_before(&self, line: Line, through: Seq) -> bool {
        let mut busy = self.clips_in_progress();
        busy.extend(self.played_from());
        let clips = self
            .journal
            .as_ref()
            .and_then(|journal| journal.hub_clips(line.pairing).ok());
        let mut clips = clips.into_iter().flatten();
        clips.any(|clip| busy.contains(&clip.clip) && clip.first_seq() <= through)
    }

    /// One small transaction, staged; none if nothing waits for any phone.
    fn note_ages(&mut self, days: Option<u32>) -> Result<(), CoreError> {
        // INVARIANT: a mark names nothing that a failed sync takes back: what took its number later would pass for older.
        let durable = |(line, state): (&Line, &LineState)| {
            let head = state.durable.outbox;
            state
                .records()
                .then_some((line.pairing, head.acked, head.last))
        };
        let heads: Vec<_> = self.lines.iter().filter_map(durable).collect();
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        if !self.aging.mark(&heads, days) {
            // Nobody's age is asked: what has run so far need not be known by the next process.
            self.aging.stored_s = self.aging.ran.as_secs();
            return Ok(());
        }
        let ages = self.aging.to_store();
        let mut txn = journal.begin();
        txn.put_ages(&ages)?;
        match txn.stage(()).map(drop) {
            Ok(()) => {
                self.staged_bytes += SMALL_GROUP_BYTES;
                self.aging.stored_s = ages.ran_s;
                Ok(())
            }
            // In an hour there may be room; until then memory knows.
            Err(error) if error.kind() == ErrorKind::Space => {
                self.aging.stored_s = ages.ran_s;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PHONE: PairingId = PairingId([1; 16]);
    const OTHER: PairingId = PairingId([2; 16]);

    /// So many hours pass, tick by tick; whatever is due is marked, with one envelope more for each hour.
    fn run(aging: &mut Aging, hours: u64, days: Option<u32>, last: &mut u64) {
        for _ in 0..hours * 60 {
            aging.tick(Duration::from_secs(60));
            if aging.is_due() {
                *last += 1;
                aging.mark(&[(PHONE, Seq::NONE, Seq(*last))], days);
                aging.stored_s = aging.ran.as_secs();
            }
        }
    }

    #[test]
    fn what_is_as_old_as_the_days_that_are_set_is_found_at_most_a_part_later() {
        let (mut aging, mut last) = (Aging::default(), 0);
        run(&mut aging, 24, Some(1), &mut last);
        assert_eq!(aging.aged(PHONE, 1), None);
        run(&mut aging, 2, Some(1), &mut last);
        // An hour is an envelope: the first is a day old, and the newest are not.
        let through = aging.aged(PHONE, 1).unwrap();
        assert!((1..=2).contains(&through.0), "{through:?}");
        aging.settle(PHONE, through);
        assert_eq!(aging.aged(PHONE, 1), None);
        assert_eq!(aging.aged(OTHER, 1), None);
    }

    #[test]
    fn marks_are_bounded_and_go_with_what_is_acked_and_with_their_phone() {
        let (mut aging, mut last) = (Aging::default(), 0);
        run(&mut aging, 24 * 90, Some(1), &mut last);
        assert_eq!(aging.marks[&PHONE].len(), MARKS_MAX);
        // What the oldest has covered is younger now, not older.
        assert!(aging.aged(PHONE, 90).is_none());
        let stored = Aging::new(aging.to_store());
        assert_eq!(stored.marks, aging.marks);
        assert_eq!(stored.ran.as_secs(), aging.ran.as_secs());
        let acked = Seq(last - 1);
        assert!(aging.mark(&[(PHONE, acked, Seq(last))], Some(1)));
        assert_eq!(aging.marks[&PHONE].len(), 1);
        assert!(!aging.mark(&[(OTHER, Seq(5), Seq(5))], Some(1)));
        assert!(aging.marks.is_empty());
    }

    /// Whatever a clock does, and however long a process was held up: a tick is a minute at most.
    #[test]
    fn a_pause_of_a_year_makes_nothing_older_than_a_minute() {
        let (mut aging, mut last) = (Aging::default(), 0);
        run(&mut aging, 2, Some(1), &mut last);
        aging.tick(Duration::from_secs(365 * DAY_S));
        assert_eq!(aging.aged(PHONE, 1), None);
        assert_eq!(aging.ran, Duration::from_secs(2 * 3_600 + 60));
    }
}
