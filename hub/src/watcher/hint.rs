//! Asks about the picture of an event, beside everything else: one picture at a time, for a limited time, and not more
//! often than its share of the processor allows.
//!
//! It must never keep the watcher waiting: what fails, panics or does not come is no hint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Watcher;
use crate::camera::{CameraEvent, Clock};
use crate::config::detection::Detection;
use crate::person::{PersonHint, Score};

/// How long a look may take; later it is of no use to who was told of the event.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Who is asked, and how that goes.
pub(super) struct Hints {
    hint: Arc<dyn PersonHint>,
    /// A phone can turn it off.
    is_on: bool,
    at_least: Score,
    /// Of one core.
    cpu_percent: u32,
    look_max: Duration,
    looking: Option<Looking>,
    /// Nobody is asked before, by the clock.
    rests_until: Duration,
}

/// A look that is under way. It ends when this is dropped.
struct Looking {
    started_unix_ms: u64,
    since: Duration,
    job: JoinHandle<Option<Score>>,
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.job.abort();
    }
}

impl Hints {
    /// Asks about the picture of the event that began then; not at all, if it cannot be now.
    pub(super) fn ask(&mut self, started_unix_ms: u64, jpeg: Bytes, now: Duration) {
        if !self.is_on || self.looking.is_some() || now < self.rests_until {
            return;
        }
        let (hint, look_max) = (Arc::clone(&self.hint), self.look_max);
        // In a task of its own, also its beginning: it may panic.
        let job = tokio::spawn(async move {
            let looked = tokio::time::timeout(look_max, hint.look(jpeg)).await;
            looked.ok().flatten()
        });
        self.looking = Some(Looking {
            started_unix_ms,
            since: now,
            job,
        });
    }

    /// Whether anybody is asked from here on. Turned off, a look that is under way ends without an answer; what it took
    /// counts all the same.
    pub(super) fn handle_switch(&mut self, is_on: bool, now: Duration) {
        self.is_on = is_on;
        if !is_on {
            self.give_up(now);
        }
    }

    /// A look that is under way ends without an answer.
    pub(super) fn give_up(&mut self, now: Duration) {
        let _nobody = self.judge(None, now);
    }

    /// Whether a person is likely in the picture of an event, and in whose.
    fn judge(&mut self, score: Option<Score>, now: Duration) -> Option<u64> {
        let looking = self.looking.take()?;
        // What it took is the share; it rests for the remainder.
        let took = now.saturating_sub(looking.since);
        let percent = self.cpu_percent.clamp(1, 100);
        self.rests_until = now.saturating_add(took * (100 - percent) / percent);
        let is_likely = score.is_some_and(|score| score >= self.at_least);
        is_likely.then_some(looking.started_unix_ms)
    }
}

/// The answer about the picture that is looked at; never, if none is. Cancel safe. Once it is there,
/// [`Watcher::handle_hint`] must follow.
pub(super) async fn answered(hints: &mut Option<Hints>) -> Option<Score> {
    let looking = hints.as_mut().and_then(|hints| hints.looking.as_mut());
    let Some(looking) = looking else {
        return std::future::pending().await;
    };
    (&mut looking.job).await.unwrap_or_else(|join| {
        if join.is_panic() {
            tracing::warn!("what hints at persons has panicked");
        }
        None
    })
}

impl<C: Clock + Clone + 'static> Watcher<C> {
    /// From here on `hint` is asked about the picture of each event, for the share of one core that `detection` has, as
    /// long as the settings name somebody to ask. `detection` is what holds now.
    #[must_use]
    pub fn hinted(
        mut self,
        hint: Arc<dyn PersonHint>,
        at_least: Score,
        detection: &Detection,
    ) -> Self {
        self.hints = Some(Hints {
            hint,
            is_on: detection.person.is_some(),
            at_least,
            cpu_percent: detection.cpu_percent,
            look_max: LOOK_MAX,
            looking: None,
            rests_until: Duration::ZERO,
        });
        self
    }

    pub(super) fn handle_hint(&mut self, score: Option<Score>, now: Duration) {
        let hints = self.hints.as_mut();
        if let Some(started_unix_ms) = hints.and_then(|hints| hints.judge(score, now)) {
            self.ready.push_back(CameraEvent::Person(started_unix_ms));
        }
    }
}

#[cfg(test)]
pub(super) use tests::Guess;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::Look;

    /// What a look comes to, of which the event is told.
    pub(in crate::watcher) enum Guess {
        This(u8),
        Panic,
        Never,
    }

    impl PersonHint for Guess {
        fn look(&self, _jpeg: Bytes) -> Look {
            match self {
                Self::This(percent) => Box::pin(std::future::ready(Score::new(*percent))),
                Self::Panic => panic!("a model that is broken"),
                Self::Never => Box::pin(std::future::pending()),
            }
        }
    }

    fn hints(guess: Guess, cpu_percent: u32) -> Option<Hints> {
        Some(Hints {
            hint: Arc::new(guess),
            is_on: true,
            at_least: Score::new(70).unwrap(),
            cpu_percent,
            look_max: Duration::from_millis(1),
            looking: None,
            rests_until: Duration::ZERO,
        })
    }

    #[tokio::test]
    async fn what_fails_or_does_not_come_is_no_hint() {
        let now = Duration::from_secs(1);
        for (guess, hinted) in [
            (Guess::This(70), Some(9)),
            (Guess::This(69), None),
            (Guess::Panic, None),
            (Guess::Never, None),
        ] {
            let mut hints = hints(guess, 25);
            hints.as_mut().unwrap().ask(9, Bytes::new(), now);
            let score = answered(&mut hints).await;
            assert_eq!(hints.as_mut().unwrap().judge(score, now), hinted);
        }
    }

    #[tokio::test]
    async fn one_picture_is_looked_at_at_a_time_and_then_none_for_a_while() {
        let mut hints = hints(Guess::This(90), 25);
        let second = Duration::from_secs(1);
        hints.as_mut().unwrap().ask(1, Bytes::new(), second);
        hints.as_mut().unwrap().ask(2, Bytes::new(), second);
        let score = answered(&mut hints).await;
        let of = hints.as_mut().unwrap();
        assert_eq!(of.judge(score, 3 * second), Some(1), "the first");
        // Two seconds are a quarter of eight.
        of.ask(3, Bytes::new(), 8 * second);
        assert!(of.looking.is_none());
        of.ask(4, Bytes::new(), 9 * second);
        assert!(of.looking.is_some());
    }

    /// Looks for ever; how often it looks now can be counted.
    struct Stare(Arc<()>);

    impl PersonHint for Stare {
        fn look(&self, _jpeg: Bytes) -> Look {
            let held = Arc::clone(&self.0);
            Box::pin(async move {
                std::future::pending::<()>().await;
                drop(held);
                None
            })
        }
    }

    /// Waits until so many looks hold it.
    async fn until_held(token: &Arc<()>, looks: usize) {
        // The test and the double have it as well.
        let held = async {
            while Arc::strong_count(token) != looks + 2 {
                tokio::task::yield_now().await;
            }
        };
        let patience = LOOK_MAX / 2;
        let waited = tokio::time::timeout(patience, held).await;
        assert!(waited.is_ok(), "{looks} looks");
    }

    #[tokio::test]
    async fn turned_off_nobody_is_asked_and_who_looks_is_ended() {
        let token = Arc::new(());
        let mut hints = Hints {
            hint: Arc::new(Stare(Arc::clone(&token))),
            look_max: LOOK_MAX,
            ..hints(Guess::Never, 25).unwrap()
        };
        let second = Duration::from_secs(1);
        hints.ask(1, Bytes::new(), second);
        until_held(&token, 1).await;
        // What is set otherwise ends no look.
        hints.handle_switch(true, 2 * second);
        assert!(hints.looking.is_some());
        hints.handle_switch(false, 3 * second);
        assert!(hints.looking.is_none());
        until_held(&token, 0).await;
        hints.ask(2, Bytes::new(), 20 * second);
        assert!(hints.looking.is_none(), "it is off");
        // The two seconds until then are a quarter of eight.
        hints.handle_switch(true, 4 * second);
        hints.ask(3, Bytes::new(), 8 * second);
        assert!(hints.looking.is_none(), "it rests");
        hints.ask(4, Bytes::new(), 20 * second);
        until_held(&token, 1).await;
    }
}
