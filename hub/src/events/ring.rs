//! The last seconds of a stream, in memory: whole groups of pictures, so that what is taken out can be
//! played.
//!
//! It must never hold more than its bytes, but for one key frame that is larger by itself, and never a piece whose key
//! frame it has given up.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::time::Duration;

use crate::media::MediaUnit;

/// What a piece counts besides its bytes, so that many empty ones fill the ring too.
pub const UNIT_OVERHEAD_BYTES: usize = 128;

#[derive(Debug)]
pub(super) struct Ring {
    groups: VecDeque<Group>,
    bytes: usize,
    bytes_max: usize,
    /// How far back a group is kept.
    reach: Duration,
    /// A group was more than it may hold, and none was whole in it since.
    is_too_small: bool,
}

/// A key frame and all that comes before the next, sound included.
#[derive(Debug)]
struct Group {
    units: Vec<MediaUnit>,
    bytes: usize,
    /// When its key frame came.
    began: Duration,
    told: Told,
}

/// Whether an event has told of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    No,
    /// Of all that it had then.
    Yes,
}

impl Ring {
    pub(super) fn new(reach: Duration, bytes_max: usize) -> Self {
        Self {
            groups: VecDeque::new(),
            bytes: 0,
            bytes_max,
            reach,
            is_too_small: false,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it could not hold the last group from its key frame to the next.
    pub(super) fn is_too_small(&self) -> bool {
        self.is_too_small
    }

    pub(super) fn set_limits(&mut self, reach: Duration, bytes_max: usize, now: Duration) {
        self.reach = reach;
        self.bytes_max = bytes_max;
        self.trim(now);
    }

    pub(super) fn clear(&mut self) {
        self.groups.clear();
        self.bytes = 0;
        self.is_too_small = false;
    }

    /// Takes the next piece. What comes before the first key frame is of no use and is not kept.
    pub(super) fn push(&mut self, unit: MediaUnit, now: Duration) {
        let bytes = unit.bytes() + UNIT_OVERHEAD_BYTES;
        if unit.is_key_frame() {
            if !self.groups.is_empty() {
                // The one before is here from its key frame to its end.
                self.is_too_small = false;
            }
            self.groups.push_back(Group {
                units: Vec::new(),
                bytes: 0,
                began: now,
                told: Told::No,
            });
        }
        let Some(group) = self.groups.back_mut() else {
            return;
        };
        group.units.push(unit);
        group.bytes += bytes;
        self.bytes += bytes;
        self.trim(now);
    }

    /// Gives up what is too old or too much. A group is needed as long as the next one is younger than
    /// the reach; one that is too large by itself goes whole, and the next key frame begins anew. The key frame that
    /// has just come stays, however large: without it no event could ever begin.
    fn trim(&mut self, now: Duration) {
        let oldest = now.saturating_sub(self.reach);
        while self.groups.get(1).is_some_and(|next| next.began <= oldest)
            || self.bytes > self.bytes_max && !self.is_one_piece()
        {
            // By its age alone the newest never goes.
            self.is_too_small |= self.groups.len() == 1;
            match self.groups.pop_front() {
                Some(group) => self.bytes -= group.bytes,
                None => break,
            }
        }
    }

    fn is_one_piece(&self) -> bool {
        self.groups.len() == 1
            && self
                .groups
                .front()
                .is_some_and(|group| group.units.len() == 1)
    }

    /// All pieces from the last key frame at or before `since` on, or from the oldest; without groups that
    /// were told already, unless there is no other. `None` without any key frame.
    pub(super) fn since(&self, since: Duration) -> Option<Vec<MediaUnit>> {
        let newest = self.groups.len().checked_sub(1)?;
        let reached = self
            .groups
            .iter()
            .rposition(|group| group.began <= since)
            .unwrap_or(0);
        let untold = self
            .groups
            .iter()
            .position(|group| group.told == Told::No)
            .unwrap_or(newest);
        let groups = self.groups.iter().skip(reached.max(untold));
        Some(groups.flat_map(|group| group.units.clone()).collect())
    }

    /// An event has told of everything that is here.
    pub(super) fn mark_told(&mut self) {
        for group in &mut self.groups {
            group.told = Told::Yes;
        }
    }
}
