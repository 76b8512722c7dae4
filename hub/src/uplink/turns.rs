//! Whose turn it is: the order in which the lines of one connection hand over what they have.
//!
//! ```text
//! config -> notification -> thumbnail -> live -> event video
//! ```
//!
//! Who has something to send asks; who stands behind somebody that asks waits. Two things keep the last from waiting
//! for ever: of what it and those in front of it hand over, a tenth is its own, and whoever is in front and hands
//! over nothing holds it up for [`WAIT_MAX_MS`] and no longer. What was handed over once is the connection's, which
//! shares what it has between them. It is pure: bytes and times go in, verdicts come out. This room must never know
//! what is in an envelope, and never let a line wait for another of its own rank.

use std::collections::BTreeMap;

use journal::ids::Channel;
use wire::limits::ENVELOPE_BYTES_MAX;

/// The longest that somebody waits who asks, whatever the others do, in milliseconds.
pub(super) const WAIT_MAX_MS: u64 = 1_000;
/// What others hand over for each byte of one who waits: a tenth of the whole is its own.
const BEFORE_EACH: u64 = 9;
/// Most that is saved up by waiting, in bytes: two envelopes, so that nobody gets a burst for having been slow.
const SAVED_BYTES_MAX: u64 = 2 * ENVELOPE_BYTES_MAX as u64;

const _: () = assert!(
    SAVED_BYTES_MAX >= ENVELOPE_BYTES_MAX as u64,
    "whoever waits can save up for its envelope"
);

/// What a line carries, the first in front.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Rank {
    /// Answers, settings, heartbeats.
    Config,
    /// That an event begins.
    Notification,
    /// Its picture.
    Thumbnail,
    /// What is watched now.
    Live,
    /// The clip.
    EventVideo,
}

impl Rank {
    /// Of a line of this channel.
    pub(super) fn of(channel: Channel) -> Self {
        match channel {
            Channel::Config => Self::Config,
            Channel::Notification => Self::Notification,
            Channel::Thumbnail => Self::Thumbnail,
            Channel::Livestream => Self::Live,
            Channel::EventVideo => Self::EventVideo,
        }
    }

    /// Which bytes the connection carries first of those that it has. Only what is small and seldom overtakes: the
    /// others share what there is, because the first of two that have always something would leave the second none.
    pub(super) fn priority(self) -> i32 {
        match self {
            Self::Config => 20,
            Self::Notification => 10,
            Self::Thumbnail | Self::Live | Self::EventVideo => 0,
        }
    }
}

/// Somebody who hands envelopes over, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct PlaceId(pub(super) u64);

/// One who asks.
#[derive(Clone, Copy, Debug)]
struct Asking {
    rank: Rank,
    /// Since when it waits, by a clock that never falls: it began to, or handed something over.
    since_ms: u64,
    /// What others handed over in front of it, less what it had of that; in bytes times [`BEFORE_EACH`].
    saved: u64,
}

/// All who ask at one connection.
#[derive(Debug, Default)]
pub(super) struct Turns(BTreeMap<PlaceId, Asking>);

impl Turns {
    /// It has something to send, or soon will.
    pub(super) fn ask(&mut self, place: PlaceId, rank: Rank, now_ms: u64) {
        self.0.entry(place).or_insert(Asking {
            rank,
            since_ms: now_ms,
            saved: 0,
        });
    }

    /// It has nothing to send, or may not. Says whether it had asked.
    pub(super) fn leave(&mut self, place: PlaceId) -> bool {
        self.0.remove(&place).is_some()
    }

    /// Whether it may hand over so many bytes now. Who has not asked may not.
    pub(super) fn may_go(&self, place: PlaceId, bytes: u64, now_ms: u64) -> bool {
        let Some(own) = self.0.get(&place) else {
            return false;
        };
        let is_first = self.0.values().all(|other| other.rank >= own.rank);
        is_first || own.saved >= bytes * BEFORE_EACH || now_ms >= own.again_at_ms()
    }

    /// When it may go at the latest, if it has asked.
    pub(super) fn again_at_ms(&self, place: PlaceId) -> Option<u64> {
        self.0.get(&place).map(Asking::again_at_ms)
    }

    /// It hands over so many bytes.
    pub(super) fn handle_handed(&mut self, place: PlaceId, bytes: u64, now_ms: u64) {
        let Some(own) = self.0.get_mut(&place) else {
            return;
        };
        own.since_ms = now_ms;
        own.saved = own.saved.saturating_sub(bytes * BEFORE_EACH);
        let rank = own.rank;
        for other in self.0.values_mut().filter(|other| other.rank > rank) {
            other.saved = (other.saved + bytes).min(SAVED_BYTES_MAX * BEFORE_EACH);
        }
    }
}

impl Asking {
    fn again_at_ms(&self) -> u64 {
        self.since_ms.saturating_add(WAIT_MAX_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVELOPE: u64 = 64 * 1024;

    fn place(rank: Rank) -> PlaceId {
        PlaceId(rank as u64)
    }

    /// Everybody asks, and the link takes one envelope a millisecond: how many bytes each hands over in so many.
    fn share(ranks: &[Rank], milliseconds: u64) -> BTreeMap<Rank, u64> {
        let mut turns = Turns::default();
        let mut handed = BTreeMap::new();
        for rank in ranks {
            turns.ask(place(*rank), *rank, 0);
            handed.insert(*rank, 0);
        }
        for now_ms in 0..milliseconds {
            // The last in front: whoever is due must not depend on who looks first.
            let next = ranks.iter().rev();
            let next = next
                .copied()
                .find(|rank| turns.may_go(place(*rank), ENVELOPE, now_ms));
            let rank = next.unwrap();
            turns.handle_handed(place(rank), ENVELOPE, now_ms);
            *handed.get_mut(&rank).unwrap() += ENVELOPE;
        }
        handed
    }

    #[test]
    fn everything_small_goes_before_the_clip() {
        let order = [
            Channel::Config,
            Channel::Notification,
            Channel::Thumbnail,
            Channel::Livestream,
            Channel::EventVideo,
        ]
        .map(Rank::of);
        assert!(order.is_sorted() && order.is_sorted_by_key(|rank| -rank.priority()));
        let mut turns = Turns::default();
        for rank in order {
            turns.ask(place(rank), rank, 0);
        }
        // Each with one envelope, in whatever order they look.
        for (index, rank) in order.into_iter().enumerate() {
            for behind in order.iter().skip(index + 1) {
                assert!(!turns.may_go(place(*behind), ENVELOPE, 1), "{behind:?}");
            }
            assert!(turns.may_go(place(rank), 1_000, 1), "{rank:?}");
            turns.handle_handed(place(rank), 1_000, 1);
            assert!(turns.leave(place(rank)));
        }
        assert!(!turns.leave(place(Rank::Config)), "nobody asks any more");
    }

    /// Beside live pictures, or a heap of pictures after a night without a network, that never end.
    #[test]
    fn a_clip_has_a_tenth_of_what_is_sent_and_the_others_have_the_rest() {
        for before in [Rank::Live, Rank::Thumbnail, Rank::Config] {
            let handed = share(&[before, Rank::EventVideo], 5_000);
            let total: u64 = handed.values().sum();
            let video = handed[&Rank::EventVideo];
            assert!(
                video * 10 >= total - 10 * ENVELOPE,
                "{before:?}: {handed:?}"
            );
            assert!(video * 9 <= total, "{before:?}: {handed:?}");
        }
        // With both in front of it still a tenth, and who stands between them has one of what is before it.
        let handed = share(&[Rank::Thumbnail, Rank::Live, Rank::EventVideo], 5_000);
        let total: u64 = handed.values().sum();
        let (live, video) = (handed[&Rank::Live], handed[&Rank::EventVideo]);
        let slack = 20 * ENVELOPE;
        assert!(video * 10 >= total - slack, "{handed:?}");
        assert!(live * 10 >= total - video - slack, "{handed:?}");
    }

    #[test]
    fn alone_and_among_its_own_rank_nobody_waits() {
        let mut turns = Turns::default();
        let (one, other) = (PlaceId(1), PlaceId(2));
        assert!(!turns.may_go(one, ENVELOPE, 0), "who has not asked");
        for place in [one, other] {
            turns.ask(place, Rank::EventVideo, 0);
            assert!(turns.may_go(place, ENVELOPE, 0));
        }
        turns.handle_handed(one, ENVELOPE, 0);
        assert!(turns.may_go(one, ENVELOPE, 0) && turns.may_go(other, ENVELOPE, 0));
    }

    /// The relay has no room for pictures, or their line is stuck: the clip does not wait for them for long.
    #[test]
    fn who_asks_and_hands_nothing_over_holds_nobody_up_for_long() {
        let mut turns = Turns::default();
        let (stuck, video) = (place(Rank::Thumbnail), place(Rank::EventVideo));
        turns.ask(stuck, Rank::Thumbnail, 0);
        turns.ask(video, Rank::EventVideo, 500);
        // Asked again, it does not begin to wait anew.
        turns.ask(video, Rank::EventVideo, 900);
        assert!(!turns.may_go(video, ENVELOPE, 499 + WAIT_MAX_MS));
        assert_eq!(turns.again_at_ms(video), Some(500 + WAIT_MAX_MS));
        assert!(turns.may_go(video, ENVELOPE, 500 + WAIT_MAX_MS));
        turns.handle_handed(video, ENVELOPE, 1_600);
        assert!(!turns.may_go(video, ENVELOPE, 1_601));
        assert!(turns.leave(stuck));
        assert!(turns.may_go(video, ENVELOPE, 1_601));
        assert_eq!(turns.again_at_ms(stuck), None);
    }

    #[test]
    fn nobody_saves_up_a_burst_by_waiting() {
        let mut turns = Turns::default();
        let (live, video) = (place(Rank::Live), place(Rank::EventVideo));
        turns.ask(live, Rank::Live, 0);
        turns.ask(video, Rank::EventVideo, 0);
        for _ in 0..10_000 {
            turns.handle_handed(live, ENVELOPE, 1);
        }
        let mut went = 0;
        while turns.may_go(video, ENVELOPE, 2) {
            turns.handle_handed(video, ENVELOPE, 2);
            went += 1;
        }
        assert!((1..=3).contains(&went), "{went}");
    }
}
