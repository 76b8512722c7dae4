//! Where sealed frames wait for the uplink: a short queue for each phone that watches.
//!
//! A queue that is full costs the rest of its group of pictures, for what comes too late is not worth waiting for.
//! This room must never hold more than its bound, and never let one phone's queue hold up another's.

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

/// The queues of all phones that watch now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outlets(Arc<Mutex<BTreeMap<Line, Queue>>>);

#[derive(Debug)]
struct Queue {
    frames: mpsc::Sender<Outgoing>,
    /// Of which session the group under way is.
    session: u64,
    /// The rest of the group is given up.
    gives_up: bool,
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
            gives_up: true,
        };
        self.queues().insert(line, queue);
        Outlet { frames: waiting }
    }

    /// Whether a frame of this session would be of any use: it is better not sealed otherwise. A session begins with
    /// a group of its own.
    pub fn wants(&self, line: Line, session: u64, begins_group: bool) -> bool {
        let queues = self.queues();
        let queue = queues.get(&line);
        queue.is_some_and(|queue| {
            let goes_on = !queue.gives_up && queue.session == session;
            (begins_group || goes_on) && !queue.frames.is_closed()
        })
    }

    /// Hands a frame over, or gives the rest of its group up.
    pub fn put(&self, line: Line, outgoing: Outgoing) {
        let mut queues = self.queues();
        if let Some(queue) = queues.get_mut(&line) {
            let goes_on = !queue.gives_up && queue.session == outgoing.session;
            queue.session = outgoing.session;
            queue.gives_up =
                !(outgoing.begins_group || goes_on) || queue.frames.try_send(outgoing).is_err();
        }
    }

    /// What could not be sealed leaves a hole: the rest of its group is of no use.
    pub fn give_up(&self, line: Line) {
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
