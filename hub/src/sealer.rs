//! The journal's thread: the one place that owns the [`Core`], and the group commit.
//!
//! Jobs wait in a bounded channel; the thread takes all that wait, runs each, syncs once, and only
//! then answers them; jobs that come while the disk syncs run at once, and share the next sync. So
//! whoever has an answer knows that it is durable, cameras share their syncs, and no network is ever
//! waited for. Keys that were given up are erased when nobody has asked for anything for a moment, at the second tick at
//! the latest. Who need not know at once hands a job over and reads its answer later. Its tick has both clocks, and says
//! where they part. This room must never answer before the sync.

mod clock_watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use wal::mutant;

use crate::camera::Clock;
use crate::core::{Core, CoreError, Death, Heads, LiveBoard, Notice, Wishes};
use clock_watch::ClockWatch;

/// Jobs that wait; who has one more waits itself. Each line has one at a time and each camera a few
/// ([`crate::recorder`]), so with the bound on a fragment this bounds the hub's memory.
pub const JOBS_MAX: usize = 64;
/// Jobs that share one sync.
const BATCH_JOBS_MAX: usize = 32;
/// How often the core is given a chance to do what it owes.
const TICK: Duration = Duration::from_secs(5);

/// So long nobody asks for anything before keys that were given up are erased: whoever was answered and goes on, as an
/// event does behind its notification, need not wait for the two syncs of the vault.
const SETTLE_AFTER: Duration = Duration::from_millis(20);

/// How often the thread looks for jobs while the disk syncs: the most that a job waits for its turn.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Why a job has no answer.
#[derive(Debug, thiserror::Error)]
pub enum SealerError {
    /// The core's own.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// The thread has ended.
    #[error("the journal is closed")]
    Closed,
}

/// Finishes a job after the sync: `Some` error if it failed.
type Answer = Box<dyn FnOnce(&SyncResult)>;
type Job = Box<dyn FnOnce(&mut Core, u64) -> Answer + Send>;

/// How the sync went that a batch of jobs shares.
enum SyncResult {
    Synced,
    Reopened,
    NotSynced(String),
    Dead(Death),
}

/// A handle on the journal's thread. Cheap to clone.
#[derive(Clone)]
pub struct Sealer {
    jobs: mpsc::Sender<Job>,
    heads: watch::Receiver<Heads>,
    wishes: watch::Receiver<Wishes>,
    lives: watch::Receiver<LiveBoard>,
    clock_jumps: Arc<AtomicU64>,
}

/// The answer to a job that was handed over. Dropping it leaves the step whole, as it is.
pub struct Pending<T>(oneshot::Receiver<Result<T, CoreError>>);

impl<T> Pending<T> {
    /// Waits until what the step did is durable, or could not be made so. Cancel safe; to be asked
    /// until it answers, and not again.
    ///
    /// # Errors
    /// As [`Sealer::run`].
    pub async fn answer(&mut self) -> Result<T, SealerError> {
        let answer = &mut self.0;
        Ok(answer.await.map_err(|_| SealerError::Closed)??)
    }
}

/// The other end: what the thread tells, and its end.
pub struct SealerThread {
    /// Facts, in order.
    pub notices: mpsc::Receiver<Notice>,
    thread: std::thread::JoinHandle<Result<(), CoreError>>,
}

impl SealerThread {
    /// Waits for the thread, which ends when every [`Sealer`] is dropped, or when the journal is
    /// dead.
    ///
    /// # Errors
    /// [`CoreError::Dead`].
    ///
    /// # Panics
    /// With the thread's own panic.
    pub fn join(self) -> Result<(), CoreError> {
        drop(self.notices);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Facts that wait for the shell; a shell that does not read them loses the next ones, not the video.
const NOTICES_MAX: usize = 1024;

/// Starts the thread over a core that has started.
///
/// # Errors
/// If the system has no thread to give.
#[expect(
    clippy::disallowed_methods,
    reason = "This is the hub's one thread of its own; the supervisor joins it."
)]
pub fn start(core: Core, clock: impl Clock + 'static) -> std::io::Result<(Sealer, SealerThread)> {
    let (jobs, waiting) = mpsc::channel(JOBS_MAX);
    let (publish, heads) = watch::channel(core.heads().unwrap_or_default());
    let (wish, wishes) = watch::channel(core.wishes());
    let (show, lives) = watch::channel(core.live_board());
    let (tell, notices) = mpsc::channel(NOTICES_MAX);
    let clock_jumps = Arc::new(AtomicU64::new(0));
    let jumps = Arc::clone(&clock_jumps);
    let handle = tokio::runtime::Handle::current();
    let thread = std::thread::Builder::new()
        .name("hub-sealer".into())
        .spawn(move || {
            let mut worker = Worker {
                core,
                waiting,
                publish,
                wish,
                show,
                tell,
                flying: Answers::new(),
                staged: Answers::new(),
                ticked_at: Duration::ZERO,
                tick_at: Duration::ZERO,
                clock_watch: ClockWatch::new(clock.now(), clock.unix_ms()),
                clock_jumps: jumps,
                is_quiet: true,
            };
            worker.run(&clock, &handle)
        })?;
    let sealer = Sealer {
        jobs,
        heads,
        wishes,
        lives,
        clock_jumps,
    };
    Ok((sealer, SealerThread { notices, thread }))
}

impl Sealer {
    /// Runs a step on the journal's thread and waits until what it did is durable. Dropping the
    /// future leaves the step whole: it is done or it never began.
    ///
    /// # Errors
    /// The step's own error, or [`CoreError::Reopened`] if the sync failed, or
    /// [`CoreError::NotSynced`] if it could not begin, or [`SealerError::Closed`].
    pub async fn run<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Core, u64) -> Result<T, CoreError> + Send + 'static,
    ) -> Result<T, SealerError> {
        self.hand_over(step).await?.answer().await
    }

    /// Asks what may be asked twice. Where a sync of somebody else failed under it and the journal was opened again, that
    /// costs no answer: it is asked once more.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Core, u64) -> Result<T, CoreError> + Clone + Send + 'static,
    ) -> Result<T, SealerError> {
        match self.run(question.clone()).await {
            Err(SealerError::Core(error)) if error.is_open() => self.run(question).await,
            answer => answer,
        }
    }

    /// Gives a step to the journal's thread and waits only for a place in its queue. Steps are run
    /// in the order in which they were handed over, each whether or not the one before was good.
    ///
    /// # Errors
    /// [`SealerError::Closed`].
    pub async fn hand_over<T: Send + 'static>(
        &self,
        step: impl FnOnce(&mut Core, u64) -> Result<T, CoreError> + Send + 'static,
    ) -> Result<Pending<T>, SealerError> {
        let (job, answer) = job_of(step);
        self.jobs.send(job).await.map_err(|_| SealerError::Closed)?;
        Ok(answer)
    }

    /// Gives a step to the journal's thread without waiting for anything, not even for its answer: for who must not
    /// stand still. False if there is no place in its queue now; the step is not done then.
    ///
    /// # Errors
    /// [`SealerError::Closed`].
    pub fn offer(
        &self,
        step: impl FnOnce(&mut Core, u64) -> Result<(), CoreError> + Send + 'static,
    ) -> Result<bool, SealerError> {
        let (job, _nobody_waits) = job_of(step);
        match self.jobs.try_send(job) {
            Ok(()) => Ok(true),
            Err(mpsc::error::TrySendError::Full(_)) => Ok(false),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(SealerError::Closed),
        }
    }

    /// The durable ends of all lines; changes wake at once.
    pub fn heads(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    /// What camera and supervisor are to do, as far as it is durable; changes wake at once.
    pub fn wishes(&self) -> watch::Receiver<Wishes> {
        self.wishes.clone()
    }

    /// The live sessions that frames may be sealed for; changes wake at once.
    pub fn lives(&self) -> watch::Receiver<LiveBoard> {
        self.lives.clone()
    }

    /// How often the wall clock has jumped since the thread began.
    pub fn clock_jumps(&self) -> u64 {
        self.clock_jumps.load(Ordering::Relaxed)
    }
}

/// A step as the thread runs it, and its answer.
fn job_of<T: Send + 'static>(
    step: impl FnOnce(&mut Core, u64) -> Result<T, CoreError> + Send + 'static,
) -> (Job, Pending<T>) {
    let (sender, answer) = oneshot::channel();
    let job: Job = Box::new(move |core, now| {
        let result = step(core, now);
        Box::new(move |sync: &SyncResult| {
            let result = match (sync, result) {
                (_, Err(error)) => Err(error),
                (SyncResult::Synced, Ok(value)) => Ok(value),
                (SyncResult::Reopened, Ok(_)) => Err(CoreError::Reopened),
                (SyncResult::NotSynced(why), Ok(_)) => Err(CoreError::NotSynced(why.clone())),
                (SyncResult::Dead(death), Ok(_)) => Err(CoreError::Dead(death.clone())),
            };
            // Whoever asked may have gone; the step is done all the same.
            let _gone = sender.send(result);
        })
    });
    (job, Pending(answer))
}

/// Answers of one batch of jobs, each with the journal's generation in which it was staged.
type Answers = Vec<(u64, Answer)>;

struct Worker {
    core: Core,
    waiting: mpsc::Receiver<Job>,
    publish: watch::Sender<Heads>,
    wish: watch::Sender<Wishes>,
    show: watch::Sender<LiveBoard>,
    tell: mpsc::Sender<Notice>,
    /// Who waits for the sync that is under way.
    flying: Answers,
    /// Who waits for the next one. Nobody while none is under way.
    staged: Answers,
    /// When it was given its chance last, or the start; by the clock that never falls.
    ticked_at: Duration,
    /// When the core is to be given its chance, by the clock that never falls.
    tick_at: Duration,
    clock_watch: ClockWatch,
    /// How often the wall clock has jumped.
    clock_jumps: Arc<AtomicU64>,
    /// No job was run since the last tick.
    is_quiet: bool,
}

impl Worker {
    /// Jobs are run while a sync is under way; each is answered after the sync that covers it. Only
    /// a sync that is under way makes a job wait for company: the first of an idle hub is synced at
    /// once.
    fn run(
        &mut self,
        clock: &impl Clock,
        handle: &tokio::runtime::Handle,
    ) -> Result<(), CoreError> {
        self.report();
        self.alive()?;
        self.ticked_at = clock.now();
        self.tick_at = self.ticked_at + TICK;
        loop {
            match self.next_job(clock, handle) {
                Next::Job(job) => self.run_jobs(job, clock)?,
                Next::Synced => self.begin(clock)?,
                Next::Nothing => self.settle(clock)?,
                Next::Closed => return self.rest(clock),
            }
            // By the clock and not by silence: a busy hub owes the same as an idle one.
            if clock.now() >= self.tick_at {
                self.tick_at = clock.now() + TICK;
                self.tick(clock)?;
                let was_quiet = std::mem::replace(&mut self.is_quiet, true);
                if was_quiet && !self.core.is_committing() {
                    self.rest(clock)?;
                }
            }
        }
    }

    /// The next job, or the end of the sync that is under way, whichever comes first.
    fn next_job(&mut self, clock: &impl Clock, handle: &tokio::runtime::Handle) -> Next {
        while self.core.is_committing() {
            if self.staged.len() < BATCH_JOBS_MAX
                && let Ok(job) = self.waiting.try_recv()
            {
                return Next::Job(job);
            }
            if self.core.wait_for_sync(LOOK_INTERVAL) {
                return Next::Synced;
            }
        }
        let until_tick = self.tick_at.saturating_sub(clock.now());
        let patience = match self.core.may_settle_keys() {
            true => until_tick.min(SETTLE_AFTER),
            false => until_tick,
        };
        let waiting = &mut self.waiting;
        match handle.block_on(async { tokio::time::timeout(patience, waiting.recv()).await }) {
            Ok(Some(job)) => Next::Job(job),
            Ok(None) => Next::Closed,
            Err(_elapsed) => Next::Nothing,
        }
    }

    fn run_jobs(&mut self, first: Job, clock: &impl Clock) -> Result<(), CoreError> {
        self.is_quiet = false;
        let mut next = Some(first);
        while let Some(job) = next {
            let answer = job(&mut self.core, clock.unix_ms());
            self.staged.push((self.core.generation(), answer));
            next = match self.staged.len() < BATCH_JOBS_MAX {
                true => self.waiting.try_recv().ok(),
                false => None,
            };
        }
        self.begin_unless_committing(clock)
    }

    /// What is staged while a sync is under way waits for its end.
    fn begin_unless_committing(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        match self.core.is_committing() {
            true => Ok(()),
            false => self.begin(clock),
        }
    }

    /// Finishes the sync under way and begins that of what was staged meanwhile.
    fn begin(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        let finished = self.finish(clock);
        let answers = std::mem::take(&mut self.staged);
        // An idle moment is the only one in which this bug lets the sync happen.
        let hasty = mutant::lives("send_before_sync") && !answers.is_empty();
        if hasty {
            self.core.believe_what_is_staged();
        }
        let mut failed = None;
        if finished.is_ok() && self.core.has_staged() && !hasty {
            match self.core.begin_commit(clock.unix_ms()) {
                Ok(()) => {
                    self.flying = answers;
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "a batch was not synced");
                    failed = Some(error.to_string());
                }
            }
        }
        // Nothing was staged, or everything was lost, or no sync covers it: all are known now.
        self.report();
        self.answer(answers, failed);
        self.alive()
    }

    /// Waits for the sync under way and answers whom it covers.
    fn finish(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        if let Err(error) = self.core.finish_commit(clock.unix_ms()) {
            tracing::debug!(%error, "a batch was not synced");
        }
        let answers = std::mem::take(&mut self.flying);
        // ORDER: the sync before every answer.
        self.report();
        self.answer(answers, None);
        self.alive()
    }

    /// Nobody asks for anything: keys that were given up are erased.
    fn settle(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        match self.core.handle_quiet(clock.unix_ms()) {
            Ok(true) => return self.begin_unless_committing(clock),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(%error, "the vault was not told of keys that were given up");
                self.report();
            }
        }
        self.alive()
    }

    /// `not_synced`: why the sync that was to cover them did not begin.
    fn answer(&self, answers: Answers, not_synced: Option<String>) {
        for (generation, answer) in answers {
            // A job whose journal was dropped by a later one of the same batch is as unknown as
            // after a failed sync.
            answer(&match self.core.death() {
                Some(death) => SyncResult::Dead(death.clone()),
                None if generation != self.core.generation() => SyncResult::Reopened,
                None => match &not_synced {
                    Some(why) => SyncResult::NotSynced(why.clone()),
                    None => SyncResult::Synced,
                },
            });
        }
    }

    fn tick(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        self.watch_clocks(clock);
        let now = clock.now();
        let passed = now.saturating_sub(std::mem::replace(&mut self.ticked_at, now));
        // ORDER: what has passed is counted before anything is judged by it, or that would be said a tick late.
        let counted = self.core.handle_elapsed(passed, clock.unix_ms());
        let owed = self.core.handle_timeout(clock.unix_ms());
        for done in [counted, owed] {
            match done {
                Ok(()) | Err(CoreError::Dead(_)) => {}
                Err(error) => tracing::warn!(%error, "what is owed could not be done yet"),
            }
        }
        self.begin_unless_committing(clock)
    }

    /// Says where the wall clock is not what the time that has passed makes of it.
    fn watch_clocks(&mut self, clock: &impl Clock) {
        if let Some(jump) = self.clock_watch.handle_tick(clock.now(), clock.unix_ms()) {
            self.clock_jumps.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                expected = %jump.expected,
                shown = %jump.shown,
                "the wall clock has jumped: it was set, or this machine slept. Nothing is lost; events have the time that it shows"
            );
        }
    }

    /// Nothing is under way: what was synced last is written down as synced.
    fn rest(&mut self, clock: &impl Clock) -> Result<(), CoreError> {
        if let Err(error) = self.core.handle_rest(clock.unix_ms()) {
            tracing::warn!(%error, "the journal did not come to rest");
        }
        self.alive()
    }

    /// A journal that cannot be written ends this thread, and with it the process, whichever step
    /// it was that found out.
    fn alive(&self) -> Result<(), CoreError> {
        match self.core.death() {
            Some(death) => Err(CoreError::Dead(death.clone())),
            None => Ok(()),
        }
    }

    /// Publishes what is durable now.
    fn report(&mut self) {
        match self.core.heads() {
            Ok(heads) => {
                self.publish.send_if_modified(|old| {
                    let changed = *old != heads;
                    *old = heads;
                    changed
                });
            }
            Err(error) => tracing::warn!(%error, "the lines cannot be read"),
        }
        let wishes = self.core.wishes();
        self.wish.send_if_modified(|old| {
            let changed = *old != wishes;
            *old = wishes;
            changed
        });
        let lives = self.core.live_board();
        self.show.send_if_modified(|old| {
            let changed = *old != lives;
            *old = lives;
            changed
        });
        while let Some(notice) = self.core.poll_notice() {
            if self.tell.try_send(notice).is_err() {
                tracing::warn!("a notice was lost because nobody reads them");
            }
        }
    }
}

/// What the thread does next.
enum Next {
    Job(Job),
    /// The sync that was under way is over.
    Synced,
    /// Nobody asks for anything.
    Nothing,
    /// Nobody can ask any more.
    Closed,
}

#[cfg(test)]
mod tests;
