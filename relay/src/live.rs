//! Live groups: passed on from memory to whoever watches now, and stored nowhere.
//!
//! ```text
//! sender's stream -> pieces -> one bounded queue for each watcher -> a stream of that watcher's own
//! ```
//!
//! A group of pictures is one stream on each side. Nobody waits for anybody: a watcher whose queue is full, or
//! whose next piece has waited for a second, loses the rest of that group and begins with the next, and of more than two
//! groups that are under way to one watcher the oldest is given up. When nobody watches, the sender's stream is
//! stopped at once, also while nothing comes on it, which is how it knows: a stream without pieces is a question. A
//! watcher from which nothing at all has come for a while, although groups were begun to it, counts for nobody. This
//! room must never touch the store, never hold the sender back, and never hold more than its bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use relay_client::framed::{FrameReadError, FrameReader};
use relay_client::pace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use wire::frame::{self, Frame};
use wire::limits::{
    LIVE_BYTES_WAITING_MAX, LIVE_GROUPS_MAX, LIVE_PIECES_WAITING_MAX, LIVE_STALE_MS,
    LIVE_WATCHERS_MAX,
};
use wire::{ErrorCode, SendId, Slot};

use crate::server::SEND_WINDOW_BYTES;
use crate::session::Ended;

/// How long a piece may wait for its watcher.
const STALE: Duration = Duration::from_millis(LIVE_STALE_MS);
/// What may wait for all watchers of this relay together, in bytes.
const ALL_BYTES_WAITING_MAX: usize = 64 * 1024 * 1024;
/// A watcher that has not sent so much as an acknowledgement for so long is out of reach; a session ends so much and the
/// hub's own patience of two seconds after its last viewer. QUIC itself waits longer.
const OUT_OF_REACH: Duration = Duration::from_secs(2);
/// Whether it answers cannot be told by a look back that is longer than this: nothing may have been sent to it.
const LOOK_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Who watches what.
pub(crate) struct Live {
    mailboxes: Mutex<HashMap<SendId, Vec<Arc<Watcher>>>>,
    last: AtomicU64,
    /// What may wait for all of them.
    room: Arc<Semaphore>,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            mailboxes: Mutex::default(),
            last: AtomicU64::default(),
            room: Arc::new(Semaphore::new(ALL_BYTES_WAITING_MAX)),
        }
    }
}

/// One reader that watches one mailbox.
struct Watcher {
    number: u64,
    connection: quinn::Connection,
    slot: Slot,
    room: Room,
    /// Groups that are under way to it, the oldest first.
    groups: Mutex<VecDeque<AbortHandle>>,
    reach: Mutex<Reach>,
}

/// What may wait, in bytes.
#[derive(Clone)]
struct Room {
    /// For one watcher.
    own: Arc<Semaphore>,
    /// For all of them.
    of_all: Arc<Semaphore>,
}

impl Room {
    /// For one more watcher.
    fn within(of_all: &Arc<Semaphore>) -> Self {
        Self {
            own: Arc::new(Semaphore::new(LIVE_BYTES_WAITING_MAX)),
            of_all: Arc::clone(of_all),
        }
    }

    /// Room for so many bytes, if there is; given back when it is dropped.
    fn take(&self, bytes: usize) -> Option<[OwnedSemaphorePermit; 2]> {
        // A frame is far below 32 bits.
        let take = |of: &Arc<Semaphore>| Arc::clone(of).try_acquire_many_owned(bytes as u32).ok();
        Some([take(&self.own)?, take(&self.of_all)?])
    }
}

/// Whether something comes from a watcher.
struct Reach {
    /// Datagrams that have come.
    datagrams: u64,
    /// Since when there have been so many.
    since: Instant,
    looked: Instant,
}

impl Reach {
    fn new(now: Instant) -> Self {
        Self {
            datagrams: 0,
            since: now,
            looked: now,
        }
    }

    /// So many have come by now. Whether it is within reach.
    fn look(&mut self, datagrams: u64, now: Instant) -> bool {
        let is_news = datagrams != self.datagrams || now - self.looked > LOOK_PAUSE_MAX;
        if is_news {
            (self.datagrams, self.since) = (datagrams, now);
        }
        self.looked = now;
        now - self.since < OUT_OF_REACH
    }
}

/// A watcher's place. Leaving it ends what is under way to it.
pub(crate) struct Seat {
    live: Arc<Live>,
    mailbox: SendId,
    watcher: Arc<Watcher>,
}

impl Live {
    /// From now on the groups that begin in this mailbox are passed on to this slot; none if too many
    /// watch already.
    pub(crate) fn watch(
        self: &Arc<Self>,
        mailbox: SendId,
        connection: quinn::Connection,
        slot: Slot,
    ) -> Option<Seat> {
        let mut mailboxes = self.mailboxes();
        let watchers = mailboxes.entry(mailbox).or_default();
        if watchers.len() >= LIVE_WATCHERS_MAX {
            return None;
        }
        let watcher = Arc::new(Watcher {
            number: self.last.fetch_add(1, Ordering::Relaxed),
            connection,
            slot,
            room: Room::within(&self.room),
            groups: Mutex::default(),
            reach: Mutex::new(Reach::new(Instant::now())),
        });
        watchers.push(Arc::clone(&watcher));
        drop(mailboxes);
        Some(Seat {
            live: Arc::clone(self),
            mailbox,
            watcher,
        })
    }

    /// Those within reach.
    fn watchers(&self, mailbox: &SendId) -> Vec<Arc<Watcher>> {
        let mut watchers = self.mailboxes().get(mailbox).cloned().unwrap_or_default();
        watchers.retain(|watcher| watcher.is_within_reach());
        watchers
    }

    fn mailboxes(&self) -> MutexGuard<'_, HashMap<SendId, Vec<Arc<Watcher>>>> {
        self.mailboxes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut mailboxes = self.live.mailboxes();
        if let Some(watchers) = mailboxes.get_mut(&self.mailbox) {
            watchers.retain(|watcher| watcher.number != self.watcher.number);
            if watchers.is_empty() {
                mailboxes.remove(&self.mailbox);
            }
        }
        drop(mailboxes);
        self.watcher.groups().iter().for_each(AbortHandle::abort);
    }
}

impl Watcher {
    fn is_within_reach(&self) -> bool {
        let datagrams = self.connection.stats().udp_rx.datagrams;
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        reach.look(datagrams, Instant::now())
    }

    /// A group begins. Of those under way the oldest gives way.
    fn begin(self: &Arc<Self>, group: u64) -> Pour {
        let (queue, waiting) = Queue::new(&self.room);
        let stream = write(self.connection.clone(), self.slot, group, waiting);
        let mut groups = self.groups();
        groups.retain(|group| !group.is_finished());
        while groups.len() >= LIVE_GROUPS_MAX {
            groups.pop_front().iter().for_each(AbortHandle::abort);
        }
        groups.push_back(tokio::spawn(stream).abort_handle());
        Pour {
            queue,
            watcher: Arc::clone(self),
        }
    }

    fn groups(&self) -> MutexGuard<'_, VecDeque<AbortHandle>> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Something for a watcher.
enum Item {
    Piece {
        bytes: Bytes,
        /// When it is too late for it.
        late_at: Instant,
        /// Given back when it is written: what may wait for the watcher, and for all.
        room: [OwnedSemaphorePermit; 2],
    },
    /// The group is whole.
    End,
}

/// Where the pieces of a group wait until they are written to one watcher.
struct Queue {
    pieces: mpsc::Sender<Item>,
    room: Room,
}

impl Queue {
    /// A queue, and the end at which its pieces are written.
    fn new(room: &Room) -> (Self, mpsc::Receiver<Item>) {
        let (pieces, waiting) = mpsc::channel(LIVE_PIECES_WAITING_MAX);
        let room = room.clone();
        (Self { pieces, room }, waiting)
    }

    /// False if there is no room for it, or nobody takes it.
    fn put(&self, bytes: &Bytes) -> bool {
        let Some(room) = self.room.take(bytes.len()) else {
            return false;
        };
        let piece = Item::Piece {
            bytes: bytes.clone(),
            late_at: Instant::now() + STALE,
            room,
        };
        self.pieces.try_send(piece).is_ok()
    }
}

/// A group on its way to one watcher. Dropped before its end, the rest of it is given up.
struct Pour {
    queue: Queue,
    watcher: Arc<Watcher>,
}

impl Pour {
    /// Passes a piece on; false if the rest of the group is given up for this watcher.
    fn offer(&self, bytes: &Bytes) -> bool {
        self.watcher.is_within_reach() && self.queue.put(bytes)
    }

    fn end(self) {
        // Without room for this word the group is given up, which is what a full queue means.
        let _given_up = self.queue.pieces.try_send(Item::End);
    }
}

/// A stream that is reset unless it was ended.
struct Stream {
    stream: quinn::SendStream,
    is_whole: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_whole {
            // It fails only when the stream is gone, which is as good.
            let _gone = self.stream.reset(code(ErrorCode::Stale));
        }
    }
}

/// Writes one group to its watcher.
async fn write(
    connection: quinn::Connection,
    slot: Slot,
    group: u64,
    mut waiting: mpsc::Receiver<Item>,
) {
    let Ok(Ok(stream)) = timeout(STALE, connection.open_uni()).await else {
        return;
    };
    let mut out = Stream {
        stream,
        is_whole: false,
    };
    let mut next = vec![Bytes::from(Frame::Live { slot, group }.to_bytes())];
    let mut held = None;
    let mut late_at = Instant::now() + STALE;
    loop {
        pace::follow_network(&connection, SEND_WINDOW_BYTES);
        let written = timeout_at(late_at, out.stream.write_all_chunks(&mut next)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        drop(held.take());
        match waiting.recv().await {
            Some(Item::Piece {
                bytes,
                late_at: at,
                room,
            }) => {
                late_at = at;
                next = vec![Bytes::from(frame::live_prefix(bytes.len())), bytes];
                held = Some(room);
            }
            Some(Item::End) => {
                // What is left of it shares the connection with the next one. Behind everything else it would stay
                // for as long as clips are delivered, and hold the room that it waits in.
                out.is_whole = out.stream.finish().is_ok();
                return;
            }
            // Given up.
            None => return,
        }
    }
}

/// Serves one live stream of a sender to its end.
pub(crate) async fn pass_on(
    live: Arc<Live>,
    mailbox: SendId,
    group: u64,
    mut frames: FrameReader,
) -> Ended {
    let begin = |watcher: &Arc<Watcher>| watcher.begin(group);
    let mut pours: Vec<Pour> = live.watchers(&mailbox).iter().map(begin).collect();
    loop {
        if pours.is_empty() {
            let why = match live.watchers(&mailbox).is_empty() {
                true => ErrorCode::NotWatched,
                // It may begin the next one.
                false => ErrorCode::Stale,
            };
            let _gone = frames.stream_mut().stop(code(why));
            return Ok(());
        }
        let next = tokio::select! {
            next = frames.next() => next,
            // They have left while nothing came.
            () = all_gone(&pours) => {
                pours.clear();
                continue;
            }
        };
        let raw = match next {
            Ok(Some(raw)) => raw,
            Ok(None) => {
                pours.into_iter().for_each(Pour::end);
                return Ok(());
            }
            // Given up by its sender, and so by everybody.
            Err(FrameReadError::Stream(_)) => return Ok(()),
            Err(FrameReadError::Wire(_)) => return Err(ErrorCode::Protocol),
        };
        match Frame::parse(raw.kind, &raw.body) {
            Ok(Frame::LivePiece { .. }) => {
                // A copy, because a slice would hold all that was read with it, and that is not counted.
                let piece = Bytes::copy_from_slice(&raw.body);
                pours.retain(|pour| pour.offer(&piece));
            }
            Ok(Frame::Ignored { .. }) => {}
            _ => return Err(ErrorCode::Protocol),
        }
    }
}

/// Until nobody takes any of these groups.
async fn all_gone(pours: &[Pour]) {
    for pour in pours {
        pour.queue.pieces.closed().await;
    }
}

fn code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.to_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A large piece.
    const PIECE_BYTES: usize = 64 * 1024;
    /// So many of them fill what may wait for one watcher: fewer than may wait in one queue.
    const PIECES_MAX: usize = 2 * 1024 * 1024 / PIECE_BYTES;
    /// So many watchers of which none takes anything fill what may wait for all.
    const FULL_MAX: usize = 64 / 2;

    fn large() -> Bytes {
        Bytes::from(vec![0; PIECE_BYTES])
    }

    fn room_of_all() -> Arc<Semaphore> {
        Live::default().room
    }

    /// How many pieces a queue takes.
    fn fill(queue: &Queue) -> usize {
        let piece = large();
        (0..).take_while(|_| queue.put(&piece)).count()
    }

    #[test]
    fn what_waits_for_one_watcher_is_bounded_over_its_groups() {
        let room = Room::within(&room_of_all());
        let (first, mut waiting) = Queue::new(&room);
        let (second, _waiting) = Queue::new(&room);
        assert!(second.put(&large()));
        assert_eq!(fill(&first), PIECES_MAX - 1);
        assert!(!second.put(&Bytes::from_static(b"one byte too many, and more")));
        // Another watcher loses nothing by that.
        let (other, _others) = Queue::new(&Room::within(&room.of_all));
        assert!(other.put(&large()));
        // What is written makes room, and so does what is given up.
        drop(waiting.try_recv().ok());
        assert!(second.put(&large()) && !second.put(&large()));
        drop((first, waiting));
        assert_eq!(fill(&second), PIECES_MAX - 2);
    }

    #[test]
    fn what_waits_for_all_watchers_is_bounded() {
        let of_all = room_of_all();
        let mut full: Vec<_> = (0..FULL_MAX)
            .map(|_| Queue::new(&Room::within(&of_all)))
            .collect();
        for (queue, _waiting) in &full {
            assert_eq!(fill(queue), PIECES_MAX);
        }
        let (next, _waiting) = Queue::new(&Room::within(&of_all));
        assert_eq!(fill(&next), 0);
        // One of them leaves.
        drop(full.pop());
        assert_eq!(fill(&next), PIECES_MAX);
    }

    #[test]
    fn a_watcher_that_says_nothing_is_out_of_reach_and_one_that_was_not_asked_is_not() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut reach = Reach::new(start);
        assert!(reach.look(7, at(0)));
        // It acknowledges what is sent.
        assert!(reach.look(8, at(2_000)));
        assert!(reach.look(8, at(3_000)));
        assert!(reach.look(8, at(3_900)));
        assert!(!reach.look(8, at(4_000)));
        assert!(!reach.look(8, at(7_000)));
        // It is back.
        assert!(reach.look(9, at(8_000)));
        // Nothing was sent to it for long.
        assert!(reach.look(9, at(60_000)));
        assert!(!reach.look(9, at(63_000)));
    }
}
