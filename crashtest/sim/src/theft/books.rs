//! What is true at each step of a life, by the one who lives it.

use std::collections::BTreeMap;

use journal::ids::{Channel, Line};
use thief::{Captured, ClipId};
use wire::{SendId, Seq};

/// Whose files were copied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whose {
    /// The hub's.
    Hub,
    /// The phone's.
    Phone,
}

/// A clip, and the steps at which things became of it. A step counts from when it was over: both images of
/// the vault synced.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clip {
    pub(super) id: Option<ClipId>,
    pub(super) began: u64,
    pub(super) over: Option<u64>,
    pub(super) deleted: Option<u64>,
}

/// An envelope that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) line: Line,
    pub(super) by: Whose,
    /// Of which clip, if it is the hub's and in the event video channel.
    pub(super) clip: Option<usize>,
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
    pub(super) clips: Vec<Clip>,
    /// The clip in progress, by its place among them.
    pub(super) recording: Option<usize>,
    pub(super) captured: Vec<Captured>,
    pub(super) sent: Vec<Sent>,
    pub(super) heals: Vec<Heal>,
    pub(super) crashes: u64,
    pub(super) idle_hours: u64,
    pub(super) places: BTreeMap<(SendId, Seq), usize>,
}

impl Books {
    /// An event begins.
    pub(super) fn begins(&mut self) {
        self.recording = Some(self.clips.len());
        self.clips.push(Clip {
            began: self.step,
            ..Clip::default()
        });
    }

    /// Its clip has this name.
    pub(super) fn is_called(&mut self, id: ClipId) {
        let clip = self.recording.and_then(|place| self.clips.get_mut(place));
        if let Some(clip) = clip {
            clip.id = Some(id);
        }
    }

    /// It has ended, and everything about that is synced.
    pub(super) fn is_over(&mut self) {
        let place = self.recording.take();
        if let Some(clip) = place.and_then(|place| self.clips.get_mut(place)) {
            clip.over = Some(self.step);
        }
    }

    /// A clip of this name was deleted on the phone, and that is synced.
    pub(super) fn is_deleted(&mut self, id: ClipId) {
        let found = self.clips.iter_mut().find(|clip| clip.id == Some(id));
        if let Some(clip) = found {
            clip.deleted = Some(self.step);
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
        self.sent.push(Sent {
            line,
            by,
            clip: self.recording.filter(|_| has_clips),
        });
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
                Whose::Phone => heal.made,
            };
            (since > step).then_some(*epoch)
        });
        later.min()
    }
}

#[cfg(test)]
mod tests {
    use journal::ids::PairingId;

    use super::*;

    #[test]
    fn keys_that_a_copy_of_the_phone_already_holds_heal_nothing() {
        let line = Line::of(PairingId([1; 16]), Channel::Config);
        let mut books = Books::default();
        for (made, taken, epoch) in [(3, 5, 10), (8, 9, 12)] {
            books.heals.push(Heal {
                made,
                taken: BTreeMap::new(),
            });
            books.step = taken;
            books.is_healed(line, epoch);
        }
        let phone = |step| books.healed_after(Whose::Phone, step, line);
        assert_eq!((phone(2), phone(3), phone(8)), (Some(10), Some(12), None));
        let hub = |step| books.healed_after(Whose::Hub, step, line);
        assert_eq!((hub(4), hub(5), hub(9)), (Some(10), Some(12), None));
    }
}
