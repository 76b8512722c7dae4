//! Makes the frames of one camera, and has the journal's thread seal them for every phone that watches it.
//!
//! The thread seals between two other jobs and nobody waits for a sync: a frame goes to its outlet from there. A
//! few jobs at most are on their way, so that pictures never stand in the way of a clip's. This room must never seal
//! a frame that nobody would send.

use std::collections::VecDeque;

use journal::ids::Line;
use tokio::sync::{mpsc, watch};

use super::Subject;
use super::outlets::{Outgoing, Outlets};
use super::stream::{CastPiece, Streams};
use super::tap::Item;
use crate::core::{Core, CoreError, LiveBoard};
use crate::sealer::{Pending, Sealer, SealerError};

/// Frames that the journal's thread was given and has not answered for.
const FLYING_MAX: usize = 8;

/// What casts one camera.
pub struct Caster {
    subject: Subject,
    sealer: Sealer,
    lives: watch::Receiver<LiveBoard>,
    outlets: Outlets,
    pictures: mpsc::Receiver<Item>,
    streams: Streams,
    flying: VecDeque<Pending<()>>,
}

impl Caster {
    pub(super) fn new(
        subject: Subject,
        sealer: Sealer,
        outlets: Outlets,
        pictures: mpsc::Receiver<Item>,
    ) -> Self {
        Self {
            subject,
            lives: sealer.lives(),
            sealer,
            outlets,
            pictures,
            streams: Streams::default(),
            flying: VecDeque::new(),
        }
    }

    /// Casts until its tap is gone, or the journal.
    pub async fn run(mut self) {
        while let Some(item) = self.pictures.recv().await {
            for piece in self.streams.handle_item(item) {
                if self.cast(piece).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Whom this camera is shown to, and in which session.
    fn viewers(&self) -> Vec<(Line, u64)> {
        let lives = self.lives.borrow();
        let watched = lives
            .iter()
            .filter(|(_, live)| self.subject.is_watched_in(live));
        watched.map(|(line, live)| (*line, live.session)).collect()
    }

    async fn cast(&mut self, piece: CastPiece) -> Result<(), SealerError> {
        let begins = piece.start.is_some();
        let mut viewers = self.viewers();
        viewers.retain(|(line, session)| self.outlets.wants(*line, *session, begins));
        if viewers.is_empty() {
            return Ok(());
        }
        while self.flying.len() >= FLYING_MAX {
            self.land().await?;
        }
        let outlets = self.outlets.clone();
        let step = self
            .sealer
            .hand_over(move |core, now| seal(core, now, (viewers.as_slice(), &piece), &outlets))
            .await?;
        self.flying.push_back(step);
        Ok(())
    }

    /// Waits for the oldest job.
    async fn land(&mut self) -> Result<(), SealerError> {
        let Some(mut oldest) = self.flying.pop_front() else {
            return Ok(());
        };
        match oldest.answer().await {
            Err(error @ (SealerError::Closed | SealerError::Core(CoreError::Dead(_)))) => {
                Err(error)
            }
            // Whatever became of the sync that it shared, no frame needs it.
            _ => Ok(()),
        }
    }
}

/// Seals one piece for each viewer, on the journal's thread.
fn seal(
    core: &mut Core,
    now_unix_ms: u64,
    (viewers, piece): (&[(Line, u64)], &CastPiece),
    outlets: &Outlets,
) -> Result<(), CoreError> {
    for (line, session) in viewers {
        match core.seal_live(*line, *session, piece.as_live(), now_unix_ms) {
            Ok(Some(frame)) => {
                let outgoing = Outgoing {
                    session: *session,
                    begins_group: piece.start.is_some(),
                    frame,
                };
                outlets.put(*line, outgoing);
            }
            Ok(None) => outlets.give_up(*line),
            Err(error) => {
                outlets.give_up(*line);
                return Err(error);
            }
        }
    }
    Ok(())
}
