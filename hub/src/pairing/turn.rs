//! Whose turn it is to pair: one at a time, and who is at the hub goes before what a phone passes on.
//!
//! This room must never void what a phone passes on for a pairing that does not begin.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, MutexGuard};

use crate::sealer::Sealer;

/// How long whoever serves a code that a phone passes on may take to end, once it is void: longer than a last word.
const VOID_WAIT: Duration = Duration::from_secs(10);

/// Held by whoever pairs a phone.
#[derive(Default)]
pub struct Turn {
    held: Mutex<()>,
    is_passed_on: AtomicBool,
}

/// The turn of whoever is at the hub.
pub struct AtTheHub<'a> {
    _held: MutexGuard<'a, ()>,
}

/// The turn of a code that a phone passes on.
pub(super) struct PassedOn<'a> {
    turn: &'a Turn,
    _held: MutexGuard<'a, ()>,
}

impl Turn {
    /// For who is at the hub: a phone's code that is being served is void then, or none could pair where a phone does not
    /// want it. `None` if somebody else pairs at the hub; nothing is void then, also if a phone waits for its turn.
    pub async fn at_the_hub(&self, sealer: &Sealer) -> Option<AtTheHub<'_>> {
        let at_the_hub = |held| AtTheHub { _held: held };
        if let Ok(held) = self.held.try_lock() {
            return Some(at_the_hub(held));
        }
        if !self.is_passed_on.load(Ordering::Acquire) {
            // It may have ended in this moment.
            return self.held.try_lock().ok().map(at_the_hub);
        }
        let voided = sealer.run(|core, now| core.void_invite(now)).await;
        match voided {
            Ok(true) => {
                let held = tokio::time::timeout(VOID_WAIT, self.held.lock()).await;
                held.ok().map(at_the_hub)
            }
            Ok(false) | Err(_) => None,
        }
    }

    /// Waits until nobody pairs at the hub any more.
    pub async fn is_over(&self) {
        drop(self.held.lock().await);
    }

    /// For what a phone passes on: behind whoever was there before.
    pub(super) async fn passed_on(&self) -> PassedOn<'_> {
        let held = self.held.lock().await;
        self.is_passed_on.store(true, Ordering::Release);
        PassedOn {
            turn: self,
            _held: held,
        }
    }
}

impl Drop for PassedOn<'_> {
    fn drop(&mut self) {
        // ORDER: before the lock goes, or it would be said of whoever takes that next.
        self.turn.is_passed_on.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use journal::Invite;
    use journal::message::CommandKind;

    use super::*;
    use crate::core::tests::world::{HandClock, World};
    use crate::sealer;

    async fn wish(sealer: &Sealer) -> Option<Invite> {
        let read = sealer.run(|core, _now| Ok(core.wishes().invite));
        read.await.unwrap()
    }

    /// A second `pair` beside the first is refused, and that costs nobody anything.
    #[tokio::test]
    async fn a_pairing_that_is_refused_voids_no_wish_that_only_waits() {
        let mut world = World::paired();
        let (core, phone) = world.ends();
        phone.order(CommandKind::Invite);
        let _taken = phone.talk(core);
        let wanted = core.wishes().invite;
        assert!(wanted.is_some());
        let (sealer, _thread) = sealer::start(world.core, HandClock::default()).unwrap();
        let turn = Turn::default();
        let first = turn.at_the_hub(&sealer).await.unwrap();
        let waits = turn.passed_on();
        let mut waits = std::pin::pin!(waits);
        tokio::select! {
            biased;
            _turn = &mut waits => panic!("somebody pairs at the hub"),
            () = std::future::ready(()) => {}
        }
        assert!(turn.at_the_hub(&sealer).await.is_none());
        assert_eq!(wish(&sealer).await, wanted);
        drop(first);
        // Once it is its turn, who is at the hub goes before it all the same.
        let served = waits.await;
        let (at_the_hub, ()) = tokio::join!(turn.at_the_hub(&sealer), async {
            while wish(&sealer).await.is_some() {
                tokio::task::yield_now().await;
            }
            drop(served);
        });
        assert!(at_the_hub.is_some());
    }
}
