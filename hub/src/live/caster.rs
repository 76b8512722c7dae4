//! Makes the frames of one camera, and has the journal's thread seal them for every phone that watches it.
//!
//! The thread seals between two other jobs and nobody waits for a sync: a frame goes to its outlet from there. A
//! few jobs at most are on their way, so that pictures never stand in the way of a clip's. This room must never seal
//! a frame that nobody would send.

use std::collections::VecDeque;

use journal::ids::Line;
use tokio::sync::{mpsc, watch};

use super::Subject;
use super::outlets::{Outlets, PieceAt};
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
    /// Pieces that were made, sealed or not.
    made: u64,
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
            made: 0,
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
        self.made += 1;
        let number = self.made;
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
            .hand_over(move |core, now| {
                seal(core, now, (viewers.as_slice(), number, &piece), &outlets)
            })
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
    (viewers, number, piece): (&[(Line, u64)], u64, &CastPiece),
    outlets: &Outlets,
) -> Result<(), CoreError> {
    let mut outcome = Ok(());
    for (line, session) in viewers {
        let at = PieceAt {
            session: *session,
            begins_group: piece.start.is_some(),
            piece: number,
        };
        // One that cannot be served is no reason to leave a piece out for those behind it.
        let sealed = outlets.put(*line, at, || {
            core.seal_live(*line, *session, piece.as_live(), now_unix_ms)
        });
        outcome = outcome.and(sealed);
    }
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::time::Duration;

    use bytes::Bytes;
    use journal::ids::{Channel, LiveId};
    use journal::message::{LiveStart, LiveWish};
    use journal::{Follower, Session};

    use super::super::{Outlet, Tap, cast};
    use super::*;
    use crate::core::Verdict;
    use crate::core::tests::world::{HandClock, NOW_MS, Phone, World};
    use crate::sealer::{self, SealerThread};

    /// How long a piece is waited for, on a machine that does many other things.
    const PATIENCE: Duration = Duration::from_secs(60);

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

    /// The phone watches the door from now on; its line.
    fn watches(core: &mut Core, phone: &mut Phone) -> Line {
        let line = Line::of(phone.line.pairing, Channel::Livestream);
        let wish = LiveWish {
            id: LiveId([7; 16]),
            camera: "door".into(),
        };
        let mut txn = phone.journal().begin();
        let mut viewer = Session::<Follower>::new(line);
        viewer.send_watch(&mut txn, &wish).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(phone.send(core, line, NOW_MS), [Verdict::Taken]);
        line
    }

    /// A camera that two phones watch, and a journal's thread that does nothing before `held` is dropped.
    struct Rig {
        lines: [Line; 2],
        outlets: Outlets,
        caster: Caster,
        held: Option<SyncSender<()>>,
        _tap: Tap,
        _thread: SealerThread,
    }

    impl Rig {
        async fn new() -> Self {
            let mut world = World::paired();
            let mut second = world.pair_another();
            let (mut core, mut first) = world.split();
            let lines = [&mut first, &mut second].map(|phone| watches(&mut core, phone));
            let (sealer, thread) = sealer::start(core, HandClock::default()).unwrap();
            let (held, go_on) = sync_channel::<()>(1);
            let busy = sealer.hand_over(move |_core, _now| {
                // It ends when the other end is dropped.
                let _ = go_on.recv();
                Ok(())
            });
            drop(busy.await.unwrap());
            let outlets = Outlets::default();
            let (tap, caster) = cast("door".into(), true, &sealer, outlets.clone());
            Self {
                lines,
                outlets,
                caster,
                held: Some(held),
                _tap: tap,
                _thread: thread,
            }
        }

        async fn cast(&mut self, begins_group: bool, ends_fragment: bool) {
            let piece = piece(begins_group, ends_fragment);
            self.caster.cast(piece).await.unwrap();
        }

        /// What waits in an outlet once the thread has gone on: whether each began a group.
        async fn sent(mut self, outlet: &mut Outlet) -> Vec<bool> {
            drop(self.held.take());
            while !self.caster.flying.is_empty() {
                self.caster.land().await.unwrap();
            }
            // Nobody puts anything in any more.
            drop((self.caster, self.outlets));
            let mut sent = Vec::new();
            while let Some(frame) = outlet.next().await {
                sent.push(frame.begins_group);
            }
            sent
        }
    }

    /// A key frame of several pieces comes faster than the journal's thread, which syncs, can seal the first. If the
    /// second were left out because the first is not there yet, the phone would play the end of a fragment behind its
    /// beginning.
    #[tokio::test]
    async fn all_pieces_of_a_group_go_out_however_late_the_first_is_sealed() {
        let mut rig = Rig::new().await;
        let mut outlet = rig.outlets.attach(rig.lines[0]);
        // The middle of a group, which nobody can use, and one whole.
        rig.cast(false, true).await;
        for (begins, ends) in [(true, false), (false, false), (false, true)] {
            rig.cast(begins, ends).await;
        }
        assert_eq!(rig.sent(&mut outlet).await, [true, false, false]);
    }

    /// Nobody was attached when the second piece was made, and somebody when the first was sealed.
    #[tokio::test]
    async fn behind_a_piece_that_was_left_out_nothing_goes_before_the_next_group() {
        let mut rig = Rig::new().await;
        let outlet = rig.outlets.attach(rig.lines[0]);
        rig.cast(true, false).await;
        drop(outlet);
        rig.cast(false, false).await;
        let mut outlet = rig.outlets.attach(rig.lines[0]);
        rig.cast(false, true).await;
        rig.cast(true, true).await;
        assert_eq!(rig.sent(&mut outlet).await, [true, true]);
    }

    /// Whichever of the two the thread seals for first.
    #[tokio::test]
    async fn a_viewer_that_takes_nothing_costs_another_no_piece() {
        // Of three groups 16 pieces may wait: not the whole third.
        let group = [true, false, false, false, false, false, false];
        let made = group.repeat(3);
        for (quick, slow) in [(0, 1), (1, 0)] {
            let mut rig = Rig::new().await;
            let mut taken = rig.outlets.attach(rig.lines[quick]);
            let mut left = rig.outlets.attach(rig.lines[slow]);
            drop(rig.held.take());
            let mut sent = Vec::new();
            for begins_group in &made {
                rig.cast(*begins_group, true).await;
                let frame = tokio::time::timeout(PATIENCE, taken.next()).await;
                sent.push(frame.unwrap().unwrap().begins_group);
            }
            assert_eq!(sent, made);
            // The beginning is there, and nothing behind what had no room.
            assert_eq!(rig.sent(&mut left).await, made[..16]);
        }
    }
}
