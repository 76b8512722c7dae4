//! Live groups: passed on from memory to whoever watches now, and stored nowhere.
//!
//! ```text
//! sender's stream -> pieces -> one bounded queue for each watcher -> a stream of that watcher's own
//! ```
//!
//! A group of pictures is one stream on each side. Nobody waits for anybody: a watcher whose queue is full, or
//! who takes no piece for a second, loses the rest of that group and begins with the next, and of more than two
//! groups that are under way to one watcher the oldest is given up. When nobody watches, the sender's stream is
//! stopped, which is how it knows. This room must never touch the store, never hold the sender back, and never
//! hold more than its bounds.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::VarInt;
use relay_client::framed::{FrameReadError, FrameReader};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use wire::frame::{self, Frame};
use wire::limits::{
    LIVE_BYTES_WAITING_MAX, LIVE_GROUPS_MAX, LIVE_PIECES_WAITING_MAX, LIVE_STALE_MS,
    LIVE_WATCHERS_MAX,
};
use wire::{ErrorCode, SendId, Slot};

use crate::session::Ended;

/// How long a piece may wait for its watcher.
const STALE: Duration = Duration::from_millis(LIVE_STALE_MS);

/// Who watches what.
#[derive(Default)]
pub(crate) struct Live {
    mailboxes: Mutex<HashMap<SendId, Vec<Arc<Watcher>>>>,
    last: AtomicU64,
}

/// One reader that watches one mailbox.
struct Watcher {
    number: u64,
    connection: quinn::Connection,
    slot: Slot,
    /// What may wait for it.
    room: Arc<Semaphore>,
    /// Groups that are under way to it, the oldest first.
    groups: Mutex<VecDeque<AbortHandle>>,
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
            room: Arc::new(Semaphore::new(LIVE_BYTES_WAITING_MAX)),
            groups: Mutex::default(),
        });
        watchers.push(Arc::clone(&watcher));
        drop(mailboxes);
        Some(Seat {
            live: Arc::clone(self),
            mailbox,
            watcher,
        })
    }

    fn watchers(&self, mailbox: &SendId) -> Vec<Arc<Watcher>> {
        self.mailboxes().get(mailbox).cloned().unwrap_or_default()
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
    /// A group begins. Of those under way the oldest gives way.
    fn begin(&self, group: u64) -> Pour {
        let (pieces, waiting) = mpsc::channel(LIVE_PIECES_WAITING_MAX);
        let stream = write(self.connection.clone(), self.slot, group, waiting);
        let mut groups = self.groups();
        groups.retain(|group| !group.is_finished());
        while groups.len() >= LIVE_GROUPS_MAX {
            groups.pop_front().iter().for_each(AbortHandle::abort);
        }
        groups.push_back(tokio::spawn(stream).abort_handle());
        Pour {
            pieces,
            room: Arc::clone(&self.room),
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
        /// Given back when it is written.
        room: OwnedSemaphorePermit,
    },
    /// The group is whole.
    End,
}

/// A group on its way to one watcher. Dropped before its end, the rest of it is given up.
struct Pour {
    pieces: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
}

impl Pour {
    /// Passes a piece on; false if the rest of the group is given up for this watcher.
    fn offer(&self, bytes: &Bytes) -> bool {
        // A frame is far below 32 bits.
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(bytes.len() as u32) else {
            return false;
        };
        let bytes = bytes.clone();
        self.pieces.try_send(Item::Piece { bytes, room }).is_ok()
    }

    fn end(self) {
        // Without room for this word the group is given up, which is what a full queue means.
        let _given_up = self.pieces.try_send(Item::End);
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
    loop {
        let written = timeout(STALE, out.stream.write_all_chunks(&mut next)).await;
        if !matches!(written, Ok(Ok(()))) {
            return;
        }
        drop(held.take());
        match waiting.recv().await {
            Some(Item::Piece { bytes, room }) => {
                next = vec![Bytes::from(frame::live_prefix(bytes.len())), bytes];
                held = Some(room);
            }
            Some(Item::End) => {
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
        let raw = match frames.next().await {
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
            Ok(Frame::LivePiece { .. }) => pours.retain(|pour| pour.offer(&raw.body)),
            Ok(Frame::Ignored { .. }) => {}
            _ => return Err(ErrorCode::Protocol),
        }
    }
}

fn code(code: ErrorCode) -> VarInt {
    VarInt::from_u32(u32::from(code.to_u16()))
}
