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
        let mut viewers = self.viewers();
        viewers.retain(|(line, _)| self.outlets.is_attached(*line));
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

/// Seals one piece for each viewer, on the journal's thread: here all pieces before it have been judged.
fn seal(
    core: &mut Core,
    now_unix_ms: u64,
    (viewers, piece): (&[(Line, u64)], &CastPiece),
    outlets: &Outlets,
) -> Result<(), CoreError> {
    for (line, session) in viewers {
        outlets.put(*line, (*session, piece.start.is_some()), || {
            core.seal_live(*line, *session, piece.as_live(), now_unix_ms)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use journal::ids::{Channel, LiveId};
    use journal::message::{LiveStart, LiveWish};
    use journal::{Follower, Session};

    use super::super::cast;
    use super::*;
    use crate::core::Verdict;
    use crate::core::tests::world::{HandClock, NOW_MS, World};
    use crate::sealer;

    fn piece(begins_group: bool, ends_fragment: bool) -> CastPiece {
        let start = LiveStart {
            mime: "video/mp4".into(),
            init: vec![1],
        };
        CastPiece {
            start: begins_group.then_some(start),
            captured_unix_ms: 7,
            ends_fragment,
            bytes: Bytes::from_static(b"a part of a fragment"),
        }
    }

    /// A key frame of several pieces comes faster than the journal's thread, which syncs, can seal the first. If the
    /// second were left out because the first is not there yet, the phone would play the end of a fragment behind its
    /// beginning.
    #[tokio::test]
    async fn all_pieces_of_a_group_go_out_however_late_the_first_is_sealed() {
        let (mut core, mut phone) = World::paired().split();
        let line = Line::of(phone.line.pairing, Channel::Livestream);
        let wish = LiveWish {
            id: LiveId([7; 16]),
            camera: "door".into(),
        };
        let mut txn = phone.journal().begin();
        let mut viewer = Session::<Follower>::new(line);
        viewer.send_watch(&mut txn, &wish).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(phone.send(&mut core, line, NOW_MS), [Verdict::Taken]);

        let (sealer, _thread) = sealer::start(core, HandClock::default()).unwrap();
        let outlets = Outlets::default();
        let mut outlet = outlets.attach(line);
        let (_tap, mut caster) = cast("door".into(), true, &sealer, outlets);
        let (go_on, held) = std::sync::mpsc::channel::<()>();
        let busy = sealer.hand_over(move |_core, _now| {
            // Dropped is as good.
            let _ = held.recv();
            Ok(())
        });
        let mut busy = busy.await.unwrap();
        // The middle of a group, which nobody can use, and one whole.
        caster.cast(piece(false, true)).await.unwrap();
        for (begins, ends) in [(true, false), (false, false), (false, true)] {
            caster.cast(piece(begins, ends)).await.unwrap();
        }
        drop(go_on);
        busy.answer().await.unwrap();
        while !caster.flying.is_empty() {
            caster.land().await.unwrap();
        }
        drop(caster);
        let mut begins = Vec::new();
        while begins.len() < 3 {
            let patience = std::time::Duration::from_secs(20);
            let next = tokio::time::timeout(patience, outlet.next()).await;
            begins.push(next.unwrap().unwrap().begins_group);
        }
        assert_eq!(begins, [true, false, false]);
    }
}
