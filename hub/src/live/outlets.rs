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

    /// Whether somebody takes frames of this line. That alone says nothing about the next one: only [`Self::put`] does,
    /// because frames that are still to be sealed change what is wanted behind them.
    pub fn is_attached(&self, line: Line) -> bool {
        let queues = self.queues();
        queues
            .get(&line)
            .is_some_and(|queue| !queue.frames.is_closed())
    }

    /// Has a frame sealed and hands it over, if it is of any use; a session begins with a group of its own. What is not
    /// sealed, or finds no room, costs the rest of its group. To be called in the order of the frames: one that is left
    /// out here gets no number, so nobody would miss it in the middle of a group.
    ///
    /// # Errors
    /// What `seal` answers.
    pub fn put<E>(
        &self,
        line: Line,
        (session, begins_group): (u64, bool),
        seal: impl FnOnce() -> Result<Option<Live<Envelope>>, E>,
    ) -> Result<(), E> {
        if !self.wants(line, session, begins_group) {
            return Ok(());
        }
        match seal() {
            Ok(Some(frame)) => {
                let outgoing = Outgoing {
                    session,
                    begins_group,
                    frame,
                };
                self.hand_over(line, outgoing);
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

    fn wants(&self, line: Line, session: u64, begins_group: bool) -> bool {
        let queues = self.queues();
        let queue = queues.get(&line);
        queue.is_some_and(|queue| {
            let goes_on = !queue.gives_up && queue.session == session;
            (begins_group || goes_on) && !queue.frames.is_closed()
        })
    }

    fn hand_over(&self, line: Line, outgoing: Outgoing) {
        let mut queues = self.queues();
        if let Some(queue) = queues.get_mut(&line) {
            let goes_on = !queue.gives_up && queue.session == outgoing.session;
            queue.session = outgoing.session;
            queue.gives_up =
                !(outgoing.begins_group || goes_on) || queue.frames.try_send(outgoing).is_err();
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
