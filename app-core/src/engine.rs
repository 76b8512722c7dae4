//! The journal thread: one named thread owns the core; everybody else asks it.
//!
//! Jobs that wait together share one commit. A job runs whole or its transaction is rolled back;
//! whether anybody still waits for the answer does not matter, so a dropped future leaves the state
//! right. When the journal is poisoned the thread drops everything and opens it again through
//! recovery; if that fails twice in a row, callers get a typed error.
//!
//! This room must never answer a job that staged something before the commit.

use std::thread::JoinHandle;

use journal::{Committed, Journal, JournalError};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::core::{Core, Disproof};
use crate::error::AppError;
use crate::event::Announcer;

/// Jobs that may wait for the thread; more callers wait for room.
const JOBS_WAITING_MAX: usize = 64;
/// Jobs that share one commit. Together with the size of a run it keeps a batch below the most
/// that the log takes at once.
const JOBS_PER_COMMIT_MAX: usize = 4;
/// How often the journal is opened again before a caller is told that it keeps failing.
const REOPENS_MAX: u32 = 2;

/// Opens the journal, the first time and after a poisoning.
pub(crate) type Opener = Box<dyn FnMut() -> Result<Journal, JournalError> + Send>;

/// What a settling job may use besides the core.
pub(crate) struct Shell {
    pub(crate) clock: Clock,
    pub(crate) announcer: Announcer,
    /// A hub that is silent for so long looks offline, in milliseconds.
    pub(crate) offline_after_ms: u64,
}

impl Shell {
    /// A core over a journal that was just opened, the first time or again.
    fn core(&self, journal: Journal) -> Core {
        let mut core = Core::new(journal);
        core.limit_silence(self.offline_after_ms);
        core
    }
}

/// A question to the core, or an order.
trait Job: Send {
    /// Whether it stages nothing.
    fn is_read(&self) -> bool;
    /// Runs it. What waits for the commit comes back.
    fn run(self: Box<Self>, core: &mut Core, shell: &Shell) -> Option<Box<dyn Waiting>>;
    /// There is no core.
    fn refuse(self: Box<Self>, error: AppError);
}

/// A job that staged something.
trait Waiting {
    fn settle(self: Box<Self>, core: &mut Core, committed: &Committed, shell: &Shell);
    fn refuse(self: Box<Self>, error: AppError);
}

struct Read<T, F> {
    read: F,
    answer: oneshot::Sender<Result<T, AppError>>,
}

impl<T, F> Job for Read<T, F>
where
    T: Send,
    F: FnOnce(&mut Core, &Shell) -> Result<T, JournalError> + Send,
{
    fn is_read(&self) -> bool {
        true
    }

    fn run(self: Box<Self>, core: &mut Core, shell: &Shell) -> Option<Box<dyn Waiting>> {
        let result = (self.read)(core, shell).map_err(|error| AppError::from_journal(&error));
        // Nobody may wait any more: the asker's future was dropped.
        let _gone = self.answer.send(result);
        None
    }

    fn refuse(self: Box<Self>, error: AppError) {
        let _gone = self.answer.send(Err(error));
    }
}

struct Write<P, T, F, S> {
    stage: F,
    settle: S,
    answer: oneshot::Sender<Result<T, AppError>>,
    pending: std::marker::PhantomData<fn() -> P>,
}

struct Staged<P, T, S> {
    pending: P,
    settle: S,
    answer: oneshot::Sender<Result<T, AppError>>,
}

impl<P, T, F, S> Job for Write<P, T, F, S>
where
    P: 'static,
    T: Send + 'static,
    F: FnOnce(&mut Core, &Shell) -> Result<P, JournalError> + Send,
    S: FnOnce(&mut Core, &Committed, P, &Shell) -> Result<T, JournalError> + Send + 'static,
{
    fn is_read(&self) -> bool {
        false
    }

    fn run(self: Box<Self>, core: &mut Core, shell: &Shell) -> Option<Box<dyn Waiting>> {
        match (self.stage)(core, shell) {
            Ok(pending) => Some(Box::new(Staged {
                pending,
                settle: self.settle,
                answer: self.answer,
            })),
            Err(error) => {
                let _gone = self.answer.send(Err(AppError::from_journal(&error)));
                None
            }
        }
    }

    fn refuse(self: Box<Self>, error: AppError) {
        let _gone = self.answer.send(Err(error));
    }
}

impl<P, T, S> Waiting for Staged<P, T, S>
where
    S: FnOnce(&mut Core, &Committed, P, &Shell) -> Result<T, JournalError>,
{
    fn settle(self: Box<Self>, core: &mut Core, committed: &Committed, shell: &Shell) {
        let result = (self.settle)(core, committed, self.pending, shell);
        let _gone = self
            .answer
            .send(result.map_err(|error| AppError::from_journal(&error)));
    }

    fn refuse(self: Box<Self>, error: AppError) {
        let _gone = self.answer.send(Err(error));
    }
}

/// The handle of the journal thread. Dropping it lets the thread finish what it was given, closes
/// the journal and waits for that.
pub(crate) struct Engine {
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts the thread and opens the journal on it.
    pub(crate) async fn start(mut opener: Opener, shell: Shell) -> Result<Self, AppError> {
        let (jobs, waiting) = mpsc::channel(JOBS_WAITING_MAX);
        let (opened, outcome) = oneshot::channel();
        let thread = spawn(move || match opener() {
            Ok(journal) => {
                // A start whose future was dropped has nobody to work for: the channel is closed too.
                let _gone = opened.send(Ok(()));
                let core = shell.core(journal);
                Thread::new(opener, shell, core).serve(waiting);
            }
            Err(error) => {
                let _gone = opened.send(Err(AppError::from_failing(&error)));
            }
        })?;
        let engine = Self {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        match outcome.await {
            Ok(Ok(())) => Ok(engine),
            // Nobody else has said anything yet: it is what is stored here that MLS refuses.
            Ok(Err(AppError::Peer(reason))) => Err(AppError::Corrupt(reason)),
            Ok(Err(error)) => Err(error),
            Err(_stopped) => Err(stopped()),
        }
    }

    /// Runs `read` on the thread. It may change what needs no shared commit.
    pub(crate) async fn read<T, F>(&self, read: F) -> Result<T, AppError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Core, &Shell) -> Result<T, JournalError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        self.give(Box::new(Read { read, answer }), result).await
    }

    /// Runs `stage` on the thread, commits together with whatever else waits, then runs `settle`.
    pub(crate) async fn write<P, T, F, S>(&self, stage: F, settle: S) -> Result<T, AppError>
    where
        P: 'static,
        T: Send + 'static,
        F: FnOnce(&mut Core, &Shell) -> Result<P, JournalError> + Send + 'static,
        S: FnOnce(&mut Core, &Committed, P, &Shell) -> Result<T, JournalError> + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let job = Write {
            stage,
            settle,
            answer,
            pending: std::marker::PhantomData,
        };
        self.give(Box::new(job), result).await
    }

    async fn give<T>(
        &self,
        job: Box<dyn Job>,
        result: oneshot::Receiver<Result<T, AppError>>,
    ) -> Result<T, AppError> {
        let Some(jobs) = &self.jobs else {
            return Err(stopped());
        };
        jobs.send(job).await.map_err(|_closed| stopped())?;
        result.await.unwrap_or_else(|_dropped| Err(stopped()))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the journal thread panicked; the next start recovers");
        }
    }
}

fn stopped() -> AppError {
    AppError::Bug("the journal thread stopped".into())
}

#[expect(
    clippy::disallowed_methods,
    reason = "The one thread of this crate; it has a name and is joined when the engine is dropped."
)]
fn spawn(run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, AppError> {
    let builder = std::thread::Builder::new().name("secluso-journal".into());
    builder
        .spawn(run)
        .map_err(|error| AppError::Poisoned(format!("no thread could be started: {error}")))
}

/// What the thread owns.
struct Thread {
    opener: Opener,
    shell: Shell,
    core: Option<Core>,
    /// What the core before knew that must outlast its journal.
    disproof: Option<Disproof>,
    /// Poisonings since the last good commit.
    failures: u32,
}

impl Thread {
    fn new(opener: Opener, shell: Shell, core: Core) -> Self {
        Self {
            opener,
            shell,
            core: Some(core),
            disproof: None,
            failures: 0,
        }
    }

    fn serve(mut self, mut waiting: mpsc::Receiver<Box<dyn Job>>) {
        let mut batch = Vec::with_capacity(JOBS_PER_COMMIT_MAX);
        while waiting.blocking_recv_many(&mut batch, JOBS_PER_COMMIT_MAX) > 0 {
            self.run(&mut batch);
        }
        if let Some(core) = &mut self.core
            && let Err(error) = core.rest()
        {
            tracing::warn!(%error, "the journal did not come to rest; the next start recovers");
        }
    }

    fn run(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if let Err(error) = self.reopen() {
            batch.drain(..).for_each(|job| job.refuse(error.clone()));
            return;
        }
        let Some(core) = &mut self.core else { return };
        // Whoever asks is answered before anything is staged: what another job of this batch
        // stages is not durable yet, and must not be seen.
        let (reads, writes): (Vec<_>, Vec<_>) = batch.drain(..).partition(|job| job.is_read());
        let staged: Vec<_> = reads
            .into_iter()
            .chain(writes)
            .filter_map(|job| job.run(core, &self.shell))
            .collect();
        if !staged.is_empty() {
            match core.commit() {
                Ok(committed) => {
                    self.failures = 0;
                    self.settle(staged, &committed);
                }
                Err(error) => {
                    let error = match self.failures + 1 >= REOPENS_MAX {
                        true => AppError::from_failing(&error),
                        false => AppError::from_journal(&error),
                    };
                    staged.into_iter().for_each(|job| job.refuse(error.clone()));
                }
            }
        }
        if self.core.as_ref().is_some_and(Core::is_poisoned) {
            self.failures = self.failures.saturating_add(1);
            tracing::warn!(
                failures = self.failures,
                "the journal failed; it is opened again"
            );
            self.drop_core();
        }
    }

    /// Everything in memory goes, the lock with it; recovery decides what was durable. One thing stays: that this
    /// directory is an older copy, which may not have been written down.
    fn drop_core(&mut self) {
        let disproof = self.core.take().and_then(Core::into_disproof);
        self.disproof = disproof.or(self.disproof.take());
    }

    /// Tells what a commit proved. The checkpoint behind its sync may have failed: facts are read
    /// back, so the journal is opened again first, or nobody would ever hear of them.
    fn settle(&mut self, staged: Vec<Box<dyn Waiting>>, committed: &Committed) {
        if self.core.as_ref().is_some_and(Core::is_poisoned) {
            tracing::warn!("the journal failed after a commit; it is opened again");
            self.drop_core();
        }
        match (self.reopen(), &mut self.core) {
            (Ok(()), Some(core)) => {
                for job in staged {
                    job.settle(core, committed, &self.shell);
                }
            }
            (Ok(()), None) => {}
            (Err(error), _) => staged.into_iter().for_each(|job| job.refuse(error.clone())),
        }
    }

    /// Makes sure that there is a core.
    fn reopen(&mut self) -> Result<(), AppError> {
        let mut last = None;
        for _attempt in 0..REOPENS_MAX {
            if self.core.is_some() {
                return Ok(());
            }
            match (self.opener)() {
                Ok(journal) => {
                    let mut core = self.shell.core(journal);
                    core.believe(self.disproof.take());
                    self.core = Some(core);
                }
                Err(error) => last = Some(error),
            }
        }
        match (&self.core, last) {
            (Some(_), _) => Ok(()),
            (None, Some(error)) => Err(AppError::from_failing(&error)),
            (None, None) => Err(stopped()),
        }
    }
}

#[cfg(test)]
mod tests;
