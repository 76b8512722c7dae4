//! What is true at each step of a life, by the one who lives it.

use std::collections::{BTreeMap, BTreeSet};

use journal::ids::{Channel, Line, PairingId};
use thief::{Captured, ClipId, FRAME};
use wire::{SendId, Seq};

/// An event is told of, then its picture leaves, and its clip begins with the first piece: so many steps behind the word.
pub(super) const STEPS_TO_A_CLIP: u64 = 2;

/// Whose files were copied, or who has sent something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The hub's.
    Hub,
    /// The phone's with this pairing.
    Phone(PairingId),
}

/// When files were copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Moment {
    pub(super) step: u64,
    /// In the middle of it, before both images of a vault were synced.
    pub(super) within: bool,
}

impl Moment {
    /// Whether what was done in that step is in both images of the vault by now.
    pub(super) fn is_past(self, done: u64) -> bool {
        match self.within {
            true => done < self.step,
            false => done <= self.step,
        }
    }
}

/// A clip of one phone, and the steps at which things became of it. A step counts from when it was over: both
/// images of the vault synced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clip {
    pub(super) id: ClipId,
    pub(super) pairing: PairingId,
    pub(super) began: u64,
    pub(super) over: Option<u64>,
    /// On its phone.
    pub(super) deleted: Option<u64>,
    /// Its last envelope so far.
    pub(super) last: Seq,
    /// Its copy at the hub, if the hub retains, was to be gone.
    pub(super) released: Option<u64>,
}

impl Clip {
    /// Whether the hub was recording it.
    pub(super) fn is_in_progress(&self, at: Moment) -> bool {
        self.began <= at.step && !self.over.is_some_and(|step| at.is_past(step))
    }

    /// Whether a hub that retains had a copy of it.
    pub(super) fn is_retained(&self, at: Moment) -> bool {
        self.began <= at.step && !self.released.is_some_and(|step| at.is_past(step))
    }
}

/// A live session of one phone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub(super) pairing: PairingId,
    pub(super) began: u64,
    pub(super) over: Option<u64>,
    /// Its phone has fallen quiet behind its end, which rotates the key of the group.
    pub(super) left: Option<u64>,
}

impl Live {
    /// Whether the hub could show something in it.
    pub(super) fn is_in_progress(&self, at: Moment) -> bool {
        self.began <= at.step && !self.over.is_some_and(|step| at.is_past(step))
    }
}

/// An envelope that was sent, or a frame of a live session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) line: Line,
    pub(super) by: Whose,
    /// Of which clip, if it is the hub's and in the event video channel.
    pub(super) clip: Option<usize>,
    /// Of which live session, if it is the hub's and in the livestream channel.
    pub(super) live: Option<usize>,
    /// The step in which it left.
    pub(super) left: u64,
    /// The step from which on no copy of the hub may open it, if it is a phone's: the hub took it while it recorded
    /// nothing, or what it recorded then is over, or the phone was removed.
    pub(super) shut: Option<u64>,
}

/// New keys of the phone.
#[derive(Clone, Debug)]
pub(super) struct Heal {
    /// The step in which they were made: a copy of the phone from then on has them.
    pub(super) made: u64,
    /// By line: the step in which the hub took them, and the epoch that this opened.
    pub(super) taken: BTreeMap<Line, (u64, u64)>,
}

/// The books.
#[derive(Default)]
pub(super) struct Books {
    pub(super) step: u64,
    /// The hub keeps copies until the ack.
    pub(super) retains: bool,
    pub(super) clips: Vec<Clip>,
    /// The clips in progress, by their places among them, one of each phone.
    pub(super) recording: BTreeMap<PairingId, usize>,
    pub(super) captured: Vec<Captured>,
    pub(super) sent: Vec<Sent>,
    pub(super) heals: Vec<Heal>,
    pub(super) removed: BTreeSet<PairingId>,
    pub(super) crashes: u64,
    pub(super) idle_hours: u64,
    pub(super) commands: u64,
    pub(super) pairings: u64,
    /// Clips that were played to a phone that took another's place.
    pub(super) played: u64,
    /// What an end did or said that no copy shows: the promise that it breaks, and what it was.
    pub(super) wrongs: Vec<(&'static str, String)>,
    pub(super) places: BTreeMap<(SendId, Seq), usize>,
    /// Envelopes of phones that were taken while something was recorded.
    pub(super) taken_in_a_clip: Vec<usize>,
    pub(super) lives: Vec<Live>,
    /// The live sessions in progress, by their places among them.
    pub(super) watched: BTreeMap<Line, usize>,
    /// Frames that were shown.
    pub(super) frames: u64,
    /// Envelopes of phones that were taken on a line in the middle of its live session.
    pub(super) taken_in_a_session: Vec<usize>,
    /// Notifications and pictures of events that were sent.
    pub(super) told: (u64, u64),
    /// Pictures of events whose clip was deleted on its phone, and the step in which that was done.
    pub(super) deleted_pictures: BTreeMap<ClipId, (PairingId, u64)>,
}

impl Books {
    /// A clip of this name begins, for this phone.
    pub(super) fn begins(&mut self, pairing: PairingId, id: ClipId) {
        self.recording.insert(pairing, self.clips.len());
        self.clips.push(Clip {
            id,
            pairing,
            began: self.step,
            over: None,
            deleted: None,
            last: Seq::NONE,
            released: None,
        });
    }

    fn clip(&mut self, id: ClipId) -> Option<&mut Clip> {
        self.clips.iter_mut().find(|clip| clip.id == id)
    }

    /// It has ended, and everything about that is synced.
    pub(super) fn ends(&mut self, id: ClipId) {
        let step = self.step;
        if let Some(clip) = self.clip(id) {
            clip.over = Some(step);
            let pairing = clip.pairing;
            self.recording.remove(&pairing);
        }
        if self.recording.is_empty() {
            for place in std::mem::take(&mut self.taken_in_a_clip) {
                self.shuts(place);
            }
        }
    }

    /// A tick of the hub: what it took in an event is shut now, but for what was said on a line that records.
    pub(super) fn ticks(&mut self) {
        for place in std::mem::take(&mut self.taken_in_a_clip) {
            let line = self.sent.get(place).map(|sent| sent.line);
            let records = line.is_some_and(|line| {
                line.channel == Channel::EventVideo && self.recording.contains_key(&line.pairing)
            });
            match records {
                true => self.taken_in_a_clip.push(place),
                false => self.shuts(place),
            }
        }
    }

    /// A live session begins on this line; one that was under way there is over.
    pub(super) fn is_watched(&mut self, line: Line) {
        self.is_unwatched(line);
        self.watched.insert(line, self.lives.len());
        self.lives.push(Live {
            pairing: line.pairing,
            began: self.step,
            over: None,
            left: None,
        });
    }

    /// The live session of this line is over, and everything about that is synced.
    pub(super) fn is_unwatched(&mut self, line: Line) {
        let step = self.step;
        let Some(place) = self.watched.remove(&line) else {
            return;
        };
        if let Some(live) = self.lives.get_mut(place) {
            live.over = Some(step);
        }
        for place in std::mem::take(&mut self.taken_in_a_session) {
            match self.sent.get(place).is_some_and(|sent| sent.line == line) {
                true => self.shuts(place),
                false => self.taken_in_a_session.push(place),
            }
        }
    }

    /// A phone that had taken everything has fallen quiet, and that is synced.
    pub(super) fn is_quiet(&mut self, pairing: PairingId) {
        let step = self.step;
        let due = |live: &&mut Live| live.pairing == pairing && live.over.is_some();
        for live in self.lives.iter_mut().filter(due) {
            live.left.get_or_insert(step);
        }
    }

    /// The process is gone that had live sessions, and the next one has closed their epochs.
    pub(super) fn are_all_unwatched(&mut self) {
        let lines: Vec<Line> = self.watched.keys().copied().collect();
        for line in lines {
            self.is_unwatched(line);
        }
    }

    /// A frame of the live session of this line leaves: in no mailbox, and kept by nobody but a thief.
    pub(super) fn shows(&mut self, line: Line, to: SendId, bytes: &[u8]) {
        self.frames += 1;
        self.captured.push(Captured {
            mailbox: to.0,
            seq: FRAME,
            bytes: bytes.to_vec(),
        });
        self.sent.push(Sent {
            line,
            by: Whose::Hub,
            clip: None,
            live: self.watched.get(&line).copied(),
            left: self.step,
            shut: None,
        });
    }

    /// The step in which the clip was deleted of whose event this tells.
    pub(super) fn deleted_with(&self, sent: &Sent) -> Option<u64> {
        let begins = sent.left.saturating_add(STEPS_TO_A_CLIP);
        let of_event = |clip: &&Clip| clip.pairing == sent.line.pairing && clip.began == begins;
        self.clips.iter().find(of_event)?.deleted
    }

    /// It was deleted on its phone, and that is synced.
    pub(super) fn is_deleted(&mut self, id: ClipId) {
        let step = self.step;
        if let Some(clip) = self.clip(id) {
            clip.deleted = Some(step);
        }
    }

    /// The hub knows that a phone holds everything through this number of its event video line.
    pub(super) fn is_acked(&mut self, pairing: PairingId, through: Seq) {
        let step = self.step;
        let due = |clip: &&mut Clip| {
            let is_over = clip.pairing == pairing && clip.over.is_some();
            is_over && clip.released.is_none() && clip.last <= through
        };
        for clip in self.clips.iter_mut().filter(due) {
            clip.released = Some(step);
        }
    }

    /// The clips of a phone that are retained, in the order in which they were recorded.
    pub(super) fn retained_for(&self, pairing: PairingId) -> Vec<ClipId> {
        let waits = |clip: &&Clip| clip.pairing == pairing && clip.released.is_none();
        let clips = self.clips.iter().filter(waits);
        clips.map(|clip| clip.id).collect()
    }

    /// The copy of this clip was played to another phone, and is gone.
    pub(super) fn is_played(&mut self, id: ClipId) {
        let step = self.step;
        self.played += 1;
        if let Some(clip) = self.clip(id) {
            clip.released = Some(step);
        }
    }

    /// A phone was removed, with all its groups.
    pub(super) fn removes(&mut self, pairing: PairingId) {
        self.removed.insert(pairing);
        for place in 0..self.sent.len() {
            let of = self.sent.get(place).map(|sent| (sent.by, sent.shut));
            if of == Some((Whose::Phone(pairing), None)) {
                self.shuts(place);
            }
        }
    }

    fn shuts(&mut self, place: usize) {
        let step = self.step;
        if let Some(sent) = self.sent.get_mut(place) {
            sent.shut.get_or_insert(step);
        }
    }

    /// An envelope leaves; one that leaves again is the same.
    pub(super) fn leaves(&mut self, (line, by): (Line, Whose), to: SendId, seq: Seq, bytes: &[u8]) {
        if self.places.contains_key(&(to, seq)) {
            return;
        }
        self.places.insert((to, seq), self.captured.len());
        self.captured.push(Captured {
            mailbox: to.0,
            seq: seq.0,
            bytes: bytes.to_vec(),
        });
        let has_clips = by == Whose::Hub && line.channel == Channel::EventVideo;
        let recorded = self.recording.get(&line.pairing).copied();
        let clip = recorded.filter(|_| has_clips);
        if let Some(clip) = clip.and_then(|place| self.clips.get_mut(place)) {
            clip.last = clip.last.max(seq);
        }
        let live = self.watched.get(&line).copied();
        self.sent.push(Sent {
            line,
            by,
            clip,
            live: live.filter(|_| by == Whose::Hub),
            left: self.step,
            shut: None,
        });
    }

    /// The hub has taken an envelope out of this mailbox, and everything about that is synced.
    pub(super) fn takes(&mut self, mailbox: SendId, seq: Seq) {
        let Some(place) = self.places.get(&(mailbox, seq)).copied() else {
            return;
        };
        // The Commit with which a session begins rotates the wish for it away, and all that was said before.
        let line = self.sent.get(place).map(|sent| sent.line);
        let live = line.and_then(|line| self.lives.get(*self.watched.get(&line)?));
        let in_a_session = live.is_some_and(|live| live.began < self.step);
        match (in_a_session, self.recording.is_empty()) {
            (true, _) => self.taken_in_a_session.push(place),
            (false, true) => self.shuts(place),
            (false, false) => self.taken_in_a_clip.push(place),
        }
    }

    /// What a mailbox holds behind `after`, at most so many.
    pub(super) fn behind(&self, mailbox: SendId, after: Seq, count: usize) -> Vec<(Seq, Vec<u8>)> {
        let first = (mailbox, Seq(after.0.saturating_add(1)));
        self.places
            .range(first..=(mailbox, Seq(u64::MAX)))
            .take(count)
            .filter_map(|((_, seq), place)| {
                let captured = self.captured.get(*place)?;
                Some((*seq, captured.bytes.clone()))
            })
            .collect()
    }

    /// New keys of the phone are taken on a line.
    pub(super) fn is_healed(&mut self, line: Line, epoch: u64) {
        let step = self.step;
        if let Some(heal) = self.heals.last_mut() {
            heal.taken.insert(line, (step, epoch));
        }
    }

    /// The first epoch of a line that a copy of this step must not reach: the phone's new keys were made,
    /// and at the hub taken, after it.
    pub(super) fn healed_after(&self, whose: Whose, step: u64, line: Line) -> Option<u64> {
        let later = self.heals.iter().filter_map(|heal| {
            let (taken, epoch) = heal.taken.get(&line)?;
            let since = match whose {
                Whose::Hub => *taken,
                Whose::Phone(_) => heal.made,
            };
            (since > step).then_some(*epoch)
        });
        later.min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRING: PairingId = PairingId([1; 16]);

    #[test]
    fn keys_that_a_copy_of_the_phone_already_holds_heal_nothing() {
        let line = Line::of(PAIRING, Channel::Config);
        let mut books = Books::default();
        for (made, taken, epoch) in [(3, 5, 10), (8, 9, 12)] {
            books.heals.push(Heal {
                made,
                taken: BTreeMap::new(),
            });
            books.step = taken;
            books.is_healed(line, epoch);
        }
        let phone = |step| books.healed_after(Whose::Phone(PAIRING), step, line);
        assert_eq!((phone(2), phone(3), phone(8)), (Some(10), Some(12), None));
        let hub = |step| books.healed_after(Whose::Hub, step, line);
        assert_eq!((hub(4), hub(5), hub(9)), (Some(10), Some(12), None));
    }

    #[test]
    fn what_a_phone_said_is_shut_once_it_is_taken_and_nothing_is_recorded_any_more() {
        let (line, to) = (Line::of(PAIRING, Channel::Config), SendId([2; 24]));
        let mut books = Books::default();
        for seq in [1, 2, 3] {
            books.leaves((line, Whose::Phone(PAIRING)), to, Seq(seq), b"ack");
        }
        let shut = |books: &Books| -> Vec<Option<u64>> {
            books.sent.iter().map(|sent| sent.shut).collect()
        };
        books.step = 1;
        books.takes(to, Seq(1));
        books.begins(PAIRING, [7; 16]);
        books.step = 2;
        books.takes(to, Seq(2));
        assert_eq!(shut(&books), [Some(1), None, None]);
        books.step = 3;
        books.ends([7; 16]);
        assert_eq!(shut(&books), [Some(1), Some(3), None]);
        books.step = 4;
        books.removes(PAIRING);
        assert_eq!(shut(&books), [Some(1), Some(3), Some(4)]);
    }

    #[test]
    fn a_tick_in_an_event_shuts_what_was_said_on_other_lines() {
        let mut books = Books::default();
        books.begins(PAIRING, [7; 16]);
        for (channel, to) in [(Channel::Config, 2), (Channel::EventVideo, 3)] {
            let (line, to) = (Line::of(PAIRING, channel), SendId([to; 24]));
            books.leaves((line, Whose::Phone(PAIRING)), to, Seq(1), b"ack");
            books.takes(to, Seq(1));
        }
        books.step = 4;
        books.ticks();
        let shut: Vec<Option<u64>> = books.sent.iter().map(|sent| sent.shut).collect();
        assert_eq!(shut, [Some(4), None]);
        books.step = 5;
        books.ends([7; 16]);
        assert_eq!(books.sent.last().unwrap().shut, Some(5));
    }

    #[test]
    fn what_was_said_in_a_session_is_shut_with_it_and_the_wish_for_it_at_once() {
        let (line, to) = (Line::of(PAIRING, Channel::Livestream), SendId([2; 24]));
        let mut books = Books::default();
        for seq in [1, 2] {
            books.leaves((line, Whose::Phone(PAIRING)), to, Seq(seq), b"said");
        }
        let shut = |books: &Books| -> Vec<Option<u64>> {
            books.sent.iter().map(|sent| sent.shut).collect()
        };
        books.step = 1;
        books.is_watched(line);
        books.takes(to, Seq(1));
        books.step = 2;
        books.shows(line, SendId([3; 24]), b"picture");
        books.takes(to, Seq(2));
        assert_eq!(shut(&books), [Some(1), None, None]);
        // New keys in the middle: another session.
        books.step = 3;
        books.is_watched(line);
        assert_eq!(shut(&books), [Some(1), Some(3), None]);
        books.step = 4;
        books.are_all_unwatched();
        assert_eq!(books.sent.last().unwrap().live, Some(0));
        let spans: Vec<(u64, Option<u64>)> = books
            .lives
            .iter()
            .map(|live| (live.began, live.over))
            .collect();
        assert_eq!(spans, [(1, Some(3)), (3, Some(4))]);
        let at = |step, within| Moment { step, within };
        let first = books.lives.first().unwrap();
        assert!(first.is_in_progress(at(3, true)) && !first.is_in_progress(at(3, false)));
    }

    #[test]
    fn a_copy_is_retained_until_the_ack_of_its_clips_last_envelope() {
        let (line, to) = (Line::of(PAIRING, Channel::EventVideo), SendId([2; 24]));
        let mut books = Books::default();
        books.begins(PAIRING, [7; 16]);
        for seq in [4, 5] {
            books.leaves((line, Whose::Hub), to, Seq(seq), b"chunk");
        }
        let at = |step, within| Moment { step, within };
        books.step = 2;
        books.ends([7; 16]);
        books.is_acked(PAIRING, Seq(4));
        assert_eq!(books.retained_for(PAIRING), [[7; 16]]);
        books.step = 3;
        books.is_acked(PAIRING, Seq(5));
        assert!(books.retained_for(PAIRING).is_empty());
        let clip = books.clips.first().unwrap();
        assert!(clip.is_in_progress(at(2, true)) && !clip.is_in_progress(at(2, false)));
        assert!(clip.is_retained(at(3, true)) && !clip.is_retained(at(3, false)));
    }
}
