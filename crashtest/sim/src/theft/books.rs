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
    /// When its event began, milliseconds since 1970: no two events have begun at once.
    pub(super) started_unix_ms: u64,
    pub(super) began: u64,
    pub(super) over: Option<u64>,
    /// When it ended, another clip went on in its line.
    pub(super) beside: bool,
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

/// What was said to pair a phone, and made for that.
#[derive(Clone)]
pub(super) struct Talk {
    pub(super) pairing: PairingId,
    /// The step from which on it was over at the hub, and at the phone: what was made for it is in neither image of the vault.
    pub(super) over_at_hub: Option<u64>,
    pub(super) over_at_phone: Option<u64>,
    pub(super) secrets: Vec<PairingSecret>,
}

/// What nobody may have any more once a phone is paired.
#[derive(Clone)]
pub(super) struct PairingSecret {
    pub(super) bytes: Vec<u8>,
    /// The hub has it as well, until then.
    pub(super) is_at_hub: bool,
}

impl Talk {
    /// Whether a copy may hold what was made for it; `is_at_hub`: if that is something that the hub has as well.
    pub(super) fn may_hold(&self, whose: Whose, at: Moment, is_at_hub: bool) -> bool {
        let goes_on = |over: Option<u64>| !over.is_some_and(|step| at.is_past(step));
        match whose {
            Whose::Hub => is_at_hub && goes_on(self.over_at_hub),
            Whose::Phone(pairing) => pairing == self.pairing && goes_on(self.over_at_phone),
        }
    }
}

/// How often a phone died in the middle of something, and another process went on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Deaths {
    pub(super) rotation: u64,
    pub(super) deletion: u64,
    pub(super) heartbeat: u64,
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
    /// The clips in progress, by their places among them: one of each phone and camera, by that one's number.
    pub(super) recording: BTreeMap<(PairingId, u8), usize>,
    /// The camera whose step this is.
    pub(super) camera: u8,
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
    /// The pairings, and what was said in them, message by message.
    pub(super) talks: Vec<Talk>,
    pub(super) talked: Vec<Vec<u8>>,
    pub(super) deaths: Deaths,
    /// Files in copies that the thief has not looked through, because the format does not know them.
    pub(super) unknown: BTreeSet<String>,
}

impl Books {
    /// A clip of this name begins, for this phone, of an event that began then.
    pub(super) fn begins(&mut self, pairing: PairingId, id: ClipId, started_unix_ms: u64) {
        self.recording
            .insert((pairing, self.camera), self.clips.len());
        self.clips.push(Clip {
            id,
            pairing,
            started_unix_ms,
            began: self.step,
            over: None,
            beside: false,
            deleted: None,
            last: Seq::NONE,
            released: None,
        });
    }

    fn clip(&mut self, id: ClipId) -> Option<&mut Clip> {
        self.clips.iter_mut().find(|clip| clip.id == id)
    }

    /// Whether a clip of any camera is in progress for this phone.
    fn records(&self, pairing: PairingId) -> bool {
        self.recording.keys().any(|(of, _)| *of == pairing)
    }

    /// These have ended, in this order, and everything about that is synced. The last that has left of their lines are
    /// their ends.
    pub(super) fn end(&mut self, ids: &[ClipId]) {
        if ids.is_empty() {
            return;
        }
        let step = self.step;
        let mut ended: BTreeMap<PairingId, Vec<usize>> = BTreeMap::new();
        for (place, clip) in self.clips.iter_mut().enumerate() {
            if ids.contains(&clip.id) {
                clip.over = Some(step);
                ended.entry(clip.pairing).or_default().push(place);
            }
        }
        let is_over = |place: &usize| ended.values().any(|places| places.contains(place));
        self.recording.retain(|_, place| !is_over(place));
        for (pairing, mut places) in ended {
            let order = |place: &usize| {
                let id = self.clips.get(*place).map(|clip| clip.id);
                ids.iter().position(|one| Some(*one) == id)
            };
            places.sort_by_key(order);
            let beside = self.records(pairing);
            for place in &places {
                if let Some(clip) = self.clips.get_mut(*place) {
                    clip.beside = beside;
                }
            }
            let line = Line::of(pairing, Channel::EventVideo);
            self.says_ends(line, &places);
            // Each end rotates the key of its line, whoever else records there.
            self.shuts_taken(|taken| taken == line);
        }
        if self.recording.is_empty() {
            self.shuts_taken(|_| true);
        }
    }

    /// The last that the hub has said on this line are the ends of these clips.
    fn says_ends(&mut self, line: Line, clips: &[usize]) {
        let said = self.sent.iter().enumerate().rev();
        let said = said.filter(|(_, sent)| sent.line == line && sent.by == Whose::Hub);
        let said: Vec<usize> = said.map(|(place, _)| place).take(clips.len()).collect();
        for (place, clip) in said.into_iter().zip(clips.iter().rev()) {
            let seq = self.captured.get(place).map(|captured| captured.seq);
            if let Some(sent) = self.sent.get_mut(place) {
                sent.clip = Some(*clip);
            }
            if let (Some(clip), Some(seq)) = (self.clips.get_mut(*clip), seq) {
                clip.last = Seq(seq);
            }
        }
    }

    /// What the hub took in an event is shut now, on the lines that are meant.
    fn shuts_taken(&mut self, is_meant: impl Fn(Line) -> bool) {
        for place in std::mem::take(&mut self.taken_in_a_clip) {
            let line = self.sent.get(place).map(|sent| sent.line);
            match line.is_some_and(&is_meant) {
                true => self.shuts(place),
                false => self.taken_in_a_clip.push(place),
            }
        }
    }

    /// A tick of the hub: what it took in an event is shut now, but for what was said on a line that records.
    pub(super) fn ticks(&mut self) {
        let recording: BTreeSet<PairingId> = self.recording.keys().map(|(of, _)| *of).collect();
        self.shuts_taken(|line| {
            line.channel != Channel::EventVideo || !recording.contains(&line.pairing)
        });
    }

    /// The pairing of this phone is over at one of its ends, and that is synced.
    pub(super) fn has_paired(&mut self, whose: Whose, pairing: PairingId) {
        let step = self.step;
        let of = |talk: &&mut Talk| talk.pairing == pairing;
        if let Some(talk) = self.talks.iter_mut().find(of) {
            match whose {
                Whose::Hub => talk.over_at_hub = Some(step),
                Whose::Phone(_) => talk.over_at_phone = Some(step),
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
        let recorded = self.recording.get(&(line.pairing, self.camera)).copied();
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
        books.begins(PAIRING, [7; 16], 1);
        books.step = 2;
        books.takes(to, Seq(2));
        assert_eq!(shut(&books), [Some(1), None, None]);
        books.step = 3;
        books.end(&[[7; 16]]);
        assert_eq!(shut(&books), [Some(1), Some(3), None]);
        books.step = 4;
        books.removes(PAIRING);
        assert_eq!(shut(&books), [Some(1), Some(3), Some(4)]);
    }

    #[test]
    fn a_tick_in_an_event_shuts_what_was_said_on_other_lines() {
        let mut books = Books::default();
        books.begins(PAIRING, [7; 16], 1);
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
        books.end(&[[7; 16]]);
        assert_eq!(books.sent.last().unwrap().shut, Some(5));
    }

    /// The door's clip begins, the yard's, each leaves something more, and a phone has said something on two lines.
    fn of_two_cameras() -> Books {
        let mut books = Books::default();
        let (line, to) = (Line::of(PAIRING, Channel::EventVideo), SendId([2; 24]));
        for (step, camera, seq) in [(1, 0, 1), (2, 1, 2), (3, 0, 3), (4, 1, 4)] {
            (books.step, books.camera) = (step, camera);
            if step < 3 {
                books.begins(PAIRING, [camera; 16], step);
            }
            books.leaves((line, Whose::Hub), to, Seq(seq), b"chunk");
        }
        for (channel, to) in [(Channel::Config, 3), (Channel::EventVideo, 4)] {
            let (line, to) = (Line::of(PAIRING, channel), SendId([to; 24]));
            books.leaves((line, Whose::Phone(PAIRING)), to, Seq(1), b"ack");
            books.takes(to, Seq(1));
        }
        books
    }

    fn of_clips(books: &Books) -> Vec<Option<usize>> {
        let by_hub = books.sent.iter().filter(|sent| sent.by == Whose::Hub);
        by_hub.map(|sent| sent.clip).collect()
    }

    #[test]
    fn of_two_cameras_at_once_each_has_its_own_clip_and_its_own_end() {
        let line = Line::of(PAIRING, Channel::EventVideo);
        let mut books = of_two_cameras();
        assert_eq!(of_clips(&books), [Some(0), Some(1), Some(0), Some(1)]);
        (books.step, books.camera) = (5, 0);
        books.leaves((line, Whose::Hub), SendId([2; 24]), Seq(5), b"trailer");
        books.end(&[[0; 16]]);
        let at = |step| Moment {
            step,
            within: false,
        };
        let in_progress = |books: &Books, step| -> Vec<bool> {
            let clips = books.clips.iter();
            clips.map(|clip| clip.is_in_progress(at(step))).collect()
        };
        assert_eq!(in_progress(&books, 4), [true, true]);
        assert_eq!(in_progress(&books, 5), [false, true]);
        let shut = |books: &Books| -> Vec<Option<u64>> {
            let by_phone = books.sent.iter().filter(|sent| sent.by != Whose::Hub);
            by_phone.map(|sent| sent.shut).collect()
        };
        // The line's key was rotated; nothing else is before the other camera is done.
        assert_eq!(shut(&books), [None, Some(5)]);
        (books.step, books.camera) = (6, 1);
        books.leaves((line, Whose::Hub), SendId([2; 24]), Seq(6), b"trailer");
        books.end(&[[1; 16]]);
        assert_eq!(shut(&books), [Some(6), Some(5)]);
        let told: Vec<(bool, u64)> = books
            .clips
            .iter()
            .map(|clip| (clip.beside, clip.last.0))
            .collect();
        assert_eq!(told, [(true, 5), (false, 6)]);
        assert!(books.recording.is_empty());
    }

    #[test]
    fn a_start_ends_both_and_each_has_a_notice_of_its_own() {
        let line = Line::of(PAIRING, Channel::EventVideo);
        let mut books = of_two_cameras();
        (books.step, books.camera) = (5, 0);
        // The Commit, and a notice for each.
        for seq in [5, 6, 7] {
            books.leaves((line, Whose::Hub), SendId([2; 24]), Seq(seq), b"cut off");
        }
        books.end(&[[0; 16], [1; 16]]);
        assert_eq!(of_clips(&books)[5..], [Some(0), Some(1)]);
        let told: Vec<(bool, u64)> = books
            .clips
            .iter()
            .map(|clip| (clip.beside, clip.last.0))
            .collect();
        assert_eq!(told, [(false, 6), (false, 7)]);
    }

    #[test]
    fn what_was_made_for_a_pairing_is_nobodys_once_it_is_over() {
        let mut books = Books::default();
        books.talks.push(Talk {
            pairing: PAIRING,
            over_at_hub: None,
            over_at_phone: None,
            secrets: Vec::new(),
        });
        books.step = 4;
        books.has_paired(Whose::Hub, PAIRING);
        books.step = 5;
        books.has_paired(Whose::Phone(PAIRING), PAIRING);
        let may = |whose, step, within, is_at_hub| {
            let at = Moment { step, within };
            books.talks[0].may_hold(whose, at, is_at_hub)
        };
        assert!(may(Whose::Hub, 3, false, true) && !may(Whose::Hub, 3, false, false));
        assert!(may(Whose::Hub, 4, true, true) && !may(Whose::Hub, 4, false, true));
        let phone = Whose::Phone(PAIRING);
        assert!(may(phone, 4, false, false) && may(phone, 5, true, false));
        assert!(!may(phone, 5, false, false));
        let another = Whose::Phone(PairingId([2; 16]));
        assert!(!may(another, 1, false, false));
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
        books.begins(PAIRING, [7; 16], 1);
        for seq in [4, 5] {
            books.leaves((line, Whose::Hub), to, Seq(seq), b"chunk");
        }
        let at = |step, within| Moment { step, within };
        books.step = 2;
        books.end(&[[7; 16]]);
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
