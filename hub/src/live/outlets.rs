//! Where sealed frames wait for the uplink: a short queue for each phone that watches.
//!
//! A queue that is full costs the rest of its group of pictures, for what comes too late is not worth waiting for.
//! This room must never hold more than its bound, never let one phone's queue hold up another's, and never leave out
//! the middle of a group and go on with its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use journal::Live;
use journal::ids::Line;
use tokio::sync::mpsc;
use wire::envelope::Envelope;

/// Frames that wait for one phone: 1 MiB at most.
const WAITING_MAX: usize = 16;

/// A frame on its way.
#[derive(Debug)]
pub struct Outgoing {
    /// Which session it belongs to.
    pub session: u64,
    /// Whether a group of pictures begins with it.
    pub begins_group: bool,
    /// The sealed frame.
    pub frame: Live<Envelope>,
}

/// Where a piece stands in what a phone is shown.
#[derive(Clone, Copy, Debug)]
pub struct PieceAt {
    /// Of which session.
    pub session: u64,
    /// Whether a group of pictures begins with it.
    pub begins_group: bool,
    /// Which piece of its camera, counted before anything is left out.
    pub piece: u64,
}

/// The queues of all phones that watch now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outlets(Arc<Mutex<BTreeMap<Line, Queue>>>);

#[derive(Debug)]
struct Queue {
    frames: mpsc::Sender<Outgoing>,
    /// Of which session the group under way is.
    session: u64,
    /// The last piece of it.
    piece: u64,
    /// The rest of the group is given up.
    gives_up: bool,
}

impl Queue {
    /// Whether this piece follows what went before.
    fn goes_on(&self, at: PieceAt) -> bool {
        !self.gives_up && self.session == at.session && self.piece.wrapping_add(1) == at.piece
    }

    fn wants(&self, at: PieceAt) -> bool {
        (at.begins_group || self.goes_on(at)) && !self.frames.is_closed()
    }
}

/// The uplink's end of one queue. Dropping it ends the queue.
#[derive(Debug)]
pub struct Outlet {
    frames: mpsc::Receiver<Outgoing>,
}

impl Outlets {
    /// Frames of this line go to the caller from now on, and nowhere else.
    pub fn attach(&self, line: Line) -> Outlet {
        let (frames, waiting) = mpsc::channel(WAITING_MAX);
        // Whoever comes in the middle of a group begins with the next.
        let queue = Queue {
            frames,
            session: 0,
            piece: 0,
            gives_up: true,
        };
        self.queues().insert(line, queue);
        Outlet { frames: waiting }
    }

    /// Whether somebody takes frames of this line now. That alone says nothing about a piece: only [`Self::put`] does,
    /// because pieces that are still to be sealed change what is wanted behind them.
    pub fn is_attached(&self, line: Line) -> bool {
        let queues = self.queues();
        queues
            .get(&line)
            .is_some_and(|queue| !queue.frames.is_closed())
    }

    /// Has a piece sealed and hands the frame over, if it is of any use: it begins a group, or follows the piece before
    /// it. What is not sealed, or finds no room, costs the rest of its group. A frame gets its number when it is sealed,
    /// so a phone would not miss one that is left out here: it must never be followed by the rest of its group.
    ///
    /// # Errors
    /// What `seal` answers.
    pub fn put<E>(
        &self,
        line: Line,
        at: PieceAt,
        seal: impl FnOnce() -> Result<Option<Live<Envelope>>, E>,
    ) -> Result<(), E> {
        if !self
            .queues()
            .get(&line)
            .is_some_and(|queue| queue.wants(at))
        {
            return Ok(());
        }
        match seal() {
            Ok(Some(frame)) => {
                self.hand_over(line, at, frame);
                Ok(())
            }
            Ok(None) => {
                self.give_up(line);
                Ok(())
            }
            Err(error) => {
                self.give_up(line);
                Err(error)
            }
        }
    }

    fn hand_over(&self, line: Line, at: PieceAt, frame: Live<Envelope>) {
        if let Some(queue) = self.queues().get_mut(&line) {
            // Another queue may have taken the place of the one that was asked.
            let is_wanted = queue.wants(at);
            let outgoing = Outgoing {
                session: at.session,
                begins_group: at.begins_group,
                frame,
            };
            (queue.session, queue.piece) = (at.session, at.piece);
            queue.gives_up = !is_wanted || queue.frames.try_send(outgoing).is_err();
        }
    }

    fn give_up(&self, line: Line) {
        if let Some(queue) = self.queues().get_mut(&line) {
            queue.gives_up = true;
        }
    }

    fn queues(&self) -> MutexGuard<'_, BTreeMap<Line, Queue>> {
        // A map of queues is always whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outlet {
    /// The next frame; none once somebody else is attached for this line. Cancel safe.
    pub async fn next(&mut self) -> Option<Outgoing> {
        self.frames.recv().await
    }
}
