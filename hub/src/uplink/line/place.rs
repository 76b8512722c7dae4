//! The place of a line among all that share its connection, and what it waits for there.
//!
//! [`Turns`] says whose turn it is and [`Hold`](crate::uplink::hold::Hold) whether a picture is still to come; this room
//! asks them, notes which pictures have gone, and wakes who waits. A line with a constant rate asks nobody and goes
//! before nobody: when it sends must hang on nothing but its rhythm. This room must never leave a place that nobody
//! holds any more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use journal::ids::PairingId;
use tokio::sync::watch;
use wire::ids::Seq;
use wire::sender::Need;

use super::LineUplink;
use crate::uplink::turns::{PlaceId, Rank, Turns};

/// All places at one uplink.
#[derive(Clone)]
pub(in crate::uplink) struct Queue(Arc<Shared>);

struct Shared {
    places: Mutex<Places>,
    /// Counts what may have made it somebody's turn.
    moved: watch::Sender<u64>,
}

#[derive(Default)]
struct Places {
    /// How many there have been.
    count: u64,
    turns: Turns,
    /// The highest number that each phone's line of pictures has handed over in this process.
    pictures: BTreeMap<PairingId, Seq>,
}

impl Queue {
    /// Nobody asks yet.
    pub(in crate::uplink) fn new() -> Self {
        Self(Arc::new(Shared {
            places: Mutex::new(Places::default()),
            moved: watch::Sender::new(0),
        }))
    }

    /// A place of this rank. Who drops it leaves.
    pub(in crate::uplink) fn place(&self, rank: Rank) -> Place {
        let id = self.change(|places| {
            places.count += 1;
            PlaceId(places.count)
        });
        Place {
            queue: self.clone(),
            moved: self.0.moved.subscribe(),
            id,
            rank,
        }
    }

    /// The connection has what this phone's line of pictures has up to here: a clip may wait for that.
    pub(in crate::uplink) fn picture_handed(&self, pairing: PairingId, seq: Seq) {
        self.change(|places| {
            let handed = places.pictures.entry(pairing).or_default();
            *handed = seq.max(*handed);
        });
        self.wake();
    }

    /// Up to where it was handed over.
    pub(in crate::uplink) fn pictures_handed(&self, pairing: PairingId) -> Seq {
        self.change(|places| places.pictures.get(&pairing).copied().unwrap_or_default())
    }

    /// Only these phones are still there.
    pub(in crate::uplink) fn retain(&self, goes_on: impl Fn(PairingId) -> bool) {
        self.change(|places| places.pictures.retain(|pairing, _| goes_on(*pairing)));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Places) -> T) -> T {
        // Plain numbers; a panic elsewhere cannot have left them half changed.
        let places = self.0.places.lock();
        change(&mut places.unwrap_or_else(PoisonError::into_inner))
    }

    fn wake(&self) {
        self.0
            .moved
            .send_modify(|moved| *moved = moved.wrapping_add(1));
    }
}

/// One place.
pub(in crate::uplink) struct Place {
    queue: Queue,
    moved: watch::Receiver<u64>,
    id: PlaceId,
    rank: Rank,
}

impl Place {
    /// Something will be sent here: who is behind waits.
    pub(in crate::uplink) fn ask(&self, now_ms: u64) {
        self.queue
            .change(|places| places.turns.ask(self.id, self.rank, now_ms));
    }

    /// Nothing is sent here now.
    pub(in crate::uplink) fn leave(&self) {
        if self.queue.change(|places| places.turns.leave(self.id)) {
            self.queue.wake();
        }
    }

    /// Whether so many bytes may be handed over now.
    pub(in crate::uplink) fn may_go(&self, bytes: usize, now_ms: u64) -> bool {
        self.queue
            .change(|places| places.turns.may_go(self.id, bytes as u64, now_ms))
    }

    /// So many bytes are handed over.
    pub(in crate::uplink) fn handed(&self, bytes: usize, now_ms: u64) {
        self.queue.change(|places| {
            places.turns.handle_handed(self.id, bytes as u64, now_ms);
        });
        self.queue.wake();
    }

    /// What happens from here on wakes; to be called before anything is asked.
    pub(in crate::uplink) fn look(&mut self) {
        let _seen = self.moved.borrow_and_update();
    }

    /// Waits until it may have become its turn. Cancel safe.
    pub(in crate::uplink) async fn moved(&mut self) {
        if self.moved.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn again_at_ms(&self) -> Option<u64> {
        self.queue
            .change(|places| places.turns.again_at_ms(self.id))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave();
    }
}

impl LineUplink {
    /// Whether others go before what the machine needs. Asks for a turn before the envelope is here, so that who is
    /// behind waits meanwhile.
    pub(super) fn waits_for_turn(&self, need: Option<Need>, place: &Place, now_ms: u64) -> bool {
        let Some(Need::Envelope { seq, .. }) = need else {
            place.leave();
            return false;
        };
        if self.shaper.is_some() {
            return false;
        }
        let ready = self.ready.as_ref().filter(|(ready, _)| *ready == seq);
        let bytes = ready.map(|(_, envelope)| envelope.as_bytes().len());
        if self.hold.until_ms(now_ms).is_some() {
            // From when the picture is there on it waits for its turn, too: a line of pictures that is stuck costs no
            // more. A place that it has already it keeps, so that many events do not put it off for ever.
            if self.hold.awaits_handing() {
                place.ask(now_ms);
            }
            return bytes.is_some();
        }
        place.ask(now_ms);
        bytes.is_some_and(|bytes| !place.may_go(bytes, now_ms))
    }

    /// How long it waits at most for its turn, or for a picture; `None` if for neither.
    pub(super) fn until_turn(&self, place: &Place, now_ms: u64) -> Option<Duration> {
        let at = self.hold.until_ms(now_ms).or_else(|| place.again_at_ms())?;
        Some(Duration::from_millis(at.saturating_sub(now_ms).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn who_waits_is_woken_when_the_one_in_front_is_done_or_gone() {
        let queue = Queue::new();
        let picture = queue.place(Rank::Thumbnail);
        let mut video = queue.place(Rank::EventVideo);
        video.look();
        picture.ask(0);
        video.ask(0);
        assert!(!video.may_go(1, 0));
        let still = tokio::time::timeout(MOMENT, video.moved()).await;
        assert!(still.is_err(), "nothing has moved");
        picture.handed(60_000, 5);
        video.moved().await;
        assert!(!video.may_go(60_000, 5), "it asks still");
        // Its task has ended.
        drop(picture);
        tokio::time::timeout(MOMENT, video.moved()).await.unwrap();
        assert!(video.may_go(60_000, 5));
        assert!(video.again_at_ms().is_some());
        video.leave();
        assert_eq!(video.again_at_ms(), None);
    }

    /// The rhythm of a line with a constant rate must not show what other lines send, nor theirs what it does.
    #[test]
    fn a_line_asks_before_its_envelope_is_here_and_one_with_a_rhythm_never() {
        use crate::core::{LineHeads, Standing};
        use crate::traffic::Traffic;
        use crate::uplink::hold::Alerts;
        use crate::uplink::turns::WAIT_MAX_MS;
        use journal::ids::{Channel, Line};

        let head = LineHeads {
            send: wire::ids::SendId([1; 24]),
            receive: wire::ids::ReceiveId([2; 24]),
            last: Seq(9),
            acked: Seq(3),
            standing: Standing::Good,
            asked_again: 0,
            events_told: 0,
        };
        let line = Line::of(PairingId([0; 16]), Channel::EventVideo);
        let need = Some(Need::Envelope {
            seq: Seq(4),
            after: Seq(3),
        });
        let queue = Queue::new();
        let place = queue.place(Rank::EventVideo);
        let shaped = LineUplink::new(line, head, Some(Traffic::new(256, 16)));
        assert!(!shaped.waits_for_turn(need, &place, 0));
        assert_eq!(place.again_at_ms(), None);
        let mut plain = LineUplink::new(line, head, None);
        assert!(
            !plain.waits_for_turn(need, &place, 0),
            "it is fetched first"
        );
        assert!(place.again_at_ms().is_some());
        assert!(!plain.waits_for_turn(None, &place, 0));
        assert_eq!(place.again_at_ms(), None, "it has nothing to send");

        // Its event begins, has a picture, and is not let go before that was handed over.
        let alerts = |begun, pictured| Alerts {
            begun,
            pictured,
            last_picture: Seq(3 * pictured),
        };
        for (begun, pictured) in [(0, 0), (1, 0)] {
            plain
                .hold
                .handle_alerts(alerts(begun, pictured), Seq::NONE, 0);
        }
        assert!(!plain.waits_for_turn(need, &place, 0));
        assert_eq!(place.again_at_ms(), None, "a picture may be made");
        assert!(plain.until_turn(&place, 0).is_some());
        plain.hold.handle_alerts(alerts(1, 1), Seq::NONE, 300);
        assert!(!plain.waits_for_turn(need, &place, 300));
        assert_eq!(place.again_at_ms(), Some(300 + WAIT_MAX_MS));
        let held = plain.until_turn(&place, 300);
        assert!(held.is_some_and(|held| held < Duration::from_millis(WAIT_MAX_MS)));
        plain.hold.handle_alerts(alerts(1, 1), Seq(3), 310);
        let free = plain.until_turn(&place, 310);
        assert_eq!(free, Some(Duration::from_millis(WAIT_MAX_MS - 10)));
    }

    #[tokio::test]
    async fn who_waits_for_a_picture_is_woken_when_its_own_was_handed_over() {
        let (phone, other) = (PairingId([1; 16]), PairingId([2; 16]));
        let queue = Queue::new();
        let mut video = queue.place(Rank::EventVideo);
        video.look();
        assert_eq!(queue.pictures_handed(phone), Seq::NONE);
        queue.picture_handed(phone, Seq(6));
        video.moved().await;
        // Sent again behind that.
        queue.picture_handed(phone, Seq(4));
        queue.picture_handed(other, Seq(9));
        assert_eq!(queue.pictures_handed(phone), Seq(6));
        queue.retain(|pairing| pairing == other);
        assert_eq!(queue.pictures_handed(phone), Seq::NONE);
        assert_eq!(queue.pictures_handed(other), Seq(9));
    }

    /// Two of one rank have a place each.
    #[test]
    fn places_are_told_apart() {
        let queue = Queue::new();
        let (one, other) = (queue.place(Rank::Live), queue.place(Rank::Live));
        one.ask(0);
        assert!(one.may_go(1, 0) && !other.may_go(1, 0));
        drop(one);
        other.ask(0);
        assert!(other.may_go(1, 0));
    }
}
