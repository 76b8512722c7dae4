//! The one thread that owns the store.
//!
//! Jobs come through a bounded channel. Everything that waits is staged, one sync makes it
//! durable, then the answers go out and reads are served; long trims and the gathering of old
//! log files go on in small steps in between. This room must never answer before
//! that sync, and never retry a failed one: it drops everything, opens the store again through
//! recovery, and if that fails twice the process ends.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use wal::{Committed, Durable, Staged, WalError};
use wire::frame::Guest;
use wire::{Class, DeviceId, Digest, ReceiveState, SendId, SendState, Seq};

use crate::admission;
use crate::store::{
    AppendAnswer, MailboxStore, PendingAppend, Progress, ReadAnswer, Redeemed, TakenBack, Usage,
};
use crate::watchers::Watchers;

/// Jobs that wait for the storage thread.
const JOBS_MAX: usize = 1024;
/// Jobs that share one sync.
const BATCH_JOBS_MAX: usize = 512;
/// Steps of long trims that one batch takes along.
const TRIM_STEPS_PER_BATCH: usize = 4;
/// Steps of gathering between two batches, beyond what keeps pace with the appends.
const GATHER_STEPS_PER_BATCH: u64 = 1;
/// What one step of gathering is taken to move, when it has to keep pace: less than it does.
const GATHER_STEP_BYTES: u64 = 64 * 1024;
/// Lost mailboxes that a session may be behind with before it is closed instead.
const LOST_MAX: usize = 64;
/// Attempts to reopen the store before the process gives up.
const REOPEN_ATTEMPTS_MAX: u32 = 2;

/// Opens the store; called at the start and after the engine stopped.
pub type Opener = Box<dyn FnMut() -> Result<MailboxStore, WalError> + Send>;

/// What the storage thread can be asked. An answer that never comes (its sender is dropped)
/// means that the store is being reopened: close, the client tries again.
pub(crate) enum Job {
    Append {
        account: (DeviceId, Class),
        mailbox: SendId,
        seq: Seq,
        after: Seq,
        digest: Digest,
        envelope: Bytes,
        /// Memory held for the envelope until it is synced. Not until somebody hears of it: a
        /// peer that does not listen must not hold what all senders share.
        permit: OwnedSemaphorePermit,
        answer: oneshot::Sender<AppendAnswer>,
    },
    SendState {
        mailbox: SendId,
        answer: oneshot::Sender<SendState>,
    },
    ReceiveState {
        mailbox: SendId,
        answer: oneshot::Sender<ReceiveState>,
    },
    Read {
        mailbox: SendId,
        cursor: Seq,
        bytes_max: usize,
        answer: oneshot::Sender<ReadAnswer>,
    },
    Fetch {
        mailbox: SendId,
        seq: Seq,
        answer: oneshot::Sender<Option<Bytes>>,
    },
    Trim {
        mailbox: SendId,
        through: Seq,
    },
    Redeem {
        device: DeviceId,
        /// The class that the invitation is for.
        class: Class,
        nonce: [u8; 16],
        expires_unix_s: u64,
        now_unix_s: u64,
        answer: oneshot::Sender<Option<Durable<Redeemed>>>,
    },
    CountInvitation {
        device: DeviceId,
        day: u64,
        answer: oneshot::Sender<Option<Durable<()>>>,
    },
    /// A hub takes back its invitation of a phone.
    Revoke {
        hub: DeviceId,
        guest: Option<Guest>,
        mailboxes: Vec<SendId>,
        now_unix_s: u64,
        answer: oneshot::Sender<Option<Durable<TakenBack>>>,
    },
    IsRevoked {
        device: DeviceId,
        answer: oneshot::Sender<bool>,
    },
    Usage {
        answer: oneshot::Sender<Usage>,
    },
}

/// Asks the storage thread. Cheap to clone; the thread ends when the last one is dropped.
#[derive(Clone)]
pub struct Storage {
    jobs: mpsc::Sender<Job>,
    reopened: watch::Receiver<u64>,
    lost: broadcast::Sender<SendId>,
}

/// The storage thread does not answer: it reopens the store, or is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the storage is restarting")]
pub struct StorageRestarting;

impl Storage {
    /// Opens the store on this thread, then moves it to its own. `fatal` is called when the
    /// store cannot be reopened; it should end the process.
    ///
    /// # Errors
    /// The [`WalError`] of the first open.
    ///
    /// # Panics
    /// When the system has no thread left at the start.
    pub fn start(
        mut opener: Opener,
        watchers: Arc<Watchers>,
        fatal: Box<dyn FnOnce(WalError) + Send>,
    ) -> Result<(Storage, JoinHandle<()>), WalError> {
        let store = opener()?;
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let (reopened_sender, reopened) = watch::channel(0);
        let (lost, _nobody_yet) = broadcast::channel(LOST_MAX);
        let worker = Worker {
            lost: lost.clone(),
            store: Some(store),
            opener,
            queue,
            watchers,
            trims: BTreeMap::new(),
            trimmed_last: SendId([0; 24]),
            reopened: reopened_sender,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "The shell owns this thread by name; the daemon joins it."
        )]
        let spawned = std::thread::Builder::new()
            .name("storage".to_owned())
            .spawn(move || worker.run(fatal));
        match spawned {
            Ok(thread) => Ok((
                Storage {
                    jobs,
                    reopened,
                    lost,
                },
                thread,
            )),
            Err(error) => panic!("no thread for the storage: {error}"),
        }
    }

    /// Counts how often the store was opened again; a change means that every connection must
    /// be closed, because what it believes about mailboxes may be gone.
    #[must_use]
    pub fn reopened(&self) -> watch::Receiver<u64> {
        self.reopened.clone()
    }

    /// Mailboxes that had to be emptied: their senders must attach again.
    pub(crate) fn lost(&self) -> broadcast::Receiver<SendId> {
        self.lost.subscribe()
    }

    pub(crate) async fn submit(&self, job: Job) -> Result<(), StorageRestarting> {
        self.jobs.send(job).await.map_err(|_gone| StorageRestarting)
    }

    /// Submits a job and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<T>) -> Job,
    ) -> Result<T, StorageRestarting> {
        let (answer, answered) = oneshot::channel();
        self.submit(job(answer)).await?;
        answered.await.map_err(|_dropped| StorageRestarting)
    }
}

struct Worker {
    /// None only while it is being reopened.
    store: Option<MailboxStore>,
    opener: Opener,
    queue: mpsc::Receiver<Job>,
    watchers: Arc<Watchers>,
    /// Trims that need more steps. Each stands for a step's worth of stored envelopes at least,
    /// so the quotas bound them.
    trims: BTreeMap<SendId, Seq>,
    /// The mailbox whose trim had the last step, so that all get their turn.
    trimmed_last: SendId,
    reopened: watch::Sender<u64>,
    lost: broadcast::Sender<SendId>,
}

/// Answers that wait for the sync of their batch.
#[derive(Default)]
struct Batch {
    appends: Vec<WaitingAppend>,
    redeems: Vec<WaitingStaged<Redeemed>>,
    invitations: Vec<WaitingStaged<()>>,
    revocations: Vec<WaitingStaged<TakenBack>>,
    /// Jobs that only look: they see what is durable, so they come after the sync.
    looks: Vec<Job>,
    /// Bytes that were staged and committed.
    written_bytes: u64,
}

/// Who asked, and what was staged for it; nothing was if it is refused.
type WaitingStaged<T> = (oneshot::Sender<Option<Durable<T>>>, Option<Staged<T>>);

struct WaitingAppend {
    mailbox: SendId,
    pending: PendingAppend,
    permit: OwnedSemaphorePermit,
    answer: oneshot::Sender<AppendAnswer>,
}

impl Worker {
    fn store(&mut self) -> &mut MailboxStore {
        match &mut self.store {
            Some(store) => store,
            None => panic!("a job ran while the store was being reopened"),
        }
    }

    fn run(mut self, fatal: Box<dyn FnOnce(WalError) + Send>) {
        loop {
            let first = if self.has_steps_to_do() {
                match self.queue.try_recv() {
                    Ok(job) => Some(job),
                    Err(mpsc::error::TryRecvError::Empty) => None,
                    Err(mpsc::error::TryRecvError::Disconnected) => break,
                }
            } else {
                match self.queue.blocking_recv() {
                    Some(job) => Some(job),
                    None => break,
                }
            };
            if let Err(error) = self.run_batch(first) {
                tracing::error!(%error, "the store stopped; opening it again through recovery");
                // Answers under way were dropped with the batch: their clients come back.
                if let Err(error) = self.reopen() {
                    tracing::error!(%error, "the store cannot be opened again");
                    fatal(error);
                    return;
                }
            }
        }
        if let Err(error) = self.store().commit() {
            // Whatever was staged has no receipt, so nobody relies on it.
            tracing::warn!(%error, "the last commit failed");
        }
    }

    fn has_steps_to_do(&mut self) -> bool {
        !self.trims.is_empty() || self.store().wants_gathering()
    }

    fn run_batch(&mut self, first: Option<Job>) -> Result<(), WalError> {
        let mut batch = Batch::default();
        let mut next = first;
        let mut jobs = 0;
        while let Some(job) = next {
            self.stage(job, &mut batch)?;
            jobs += 1;
            let full = jobs >= BATCH_JOBS_MAX || self.store().is_batch_full();
            next = if full {
                None
            } else {
                self.queue.try_recv().ok()
            };
        }
        self.store().go_on_losing()?;
        for _ in 0..TRIM_STEPS_PER_BATCH {
            if self.store().is_batch_full() || !self.go_on_trimming()? {
                break;
            }
        }
        self.finish(&mut batch)?;
        for job in std::mem::take(&mut batch.looks) {
            self.look(job)?;
        }
        // A look that found damage has staged the end of a mailbox.
        if self.store().staged_bytes() > 0 {
            let _durable = self.store().commit()?;
        }
        self.gather(batch.written_bytes)?;
        for mailbox in self.store().take_lost() {
            // Nobody may be connected; who comes later sees an empty mailbox.
            let _nobody = self.lost.send(mailbox);
        }
        Ok(())
    }

    /// Moves what lives out of old log files, at least as fast as new bytes come: else somebody
    /// who appends faster could make them grow without end.
    fn gather(&mut self, written_bytes: u64) -> Result<(), WalError> {
        for _ in 0..GATHER_STEPS_PER_BATCH + written_bytes / GATHER_STEP_BYTES {
            if self.store().gather()? == Progress::Done {
                break;
            }
        }
        if self.store().staged_bytes() > 0 {
            let _durable = self.store().commit()?;
        }
        Ok(())
    }

    /// One step of the trim whose turn it is; false when there is none.
    fn go_on_trimming(&mut self) -> Result<bool, WalError> {
        let behind = (Bound::Excluded(self.trimmed_last), Bound::Unbounded);
        let found = self.trims.range(behind).next();
        let Some((mailbox, through)) = found.or_else(|| self.trims.iter().next()) else {
            return Ok(false);
        };
        let (mailbox, through) = (*mailbox, *through);
        self.trimmed_last = mailbox;
        self.trim(mailbox, through)?;
        Ok(true)
    }

    /// One step of a trim; what is left of it waits for its next turn.
    fn trim(&mut self, mailbox: SendId, through: Seq) -> Result<(), WalError> {
        match self.store().trim(&mailbox, through) {
            Ok(Progress::Done) => {
                self.trims.remove(&mailbox);
            }
            Ok(Progress::More) => {
                let waits = self.trims.entry(mailbox).or_insert(through);
                *waits = through.max(*waits);
            }
            // Readers trim again with their next ack, and when they come back.
            Err(WalError::Space { .. }) => {
                tracing::warn!(mailbox = %mailbox.short(), "the disk is too full to trim");
                self.trims.remove(&mailbox);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Decides about one job and stages it; what only looks waits.
    fn stage(&mut self, job: Job, batch: &mut Batch) -> Result<(), WalError> {
        match job {
            Job::Append {
                account,
                mailbox,
                seq,
                after,
                digest,
                envelope,
                permit,
                answer,
            } => {
                let pending = self
                    .store()
                    .append(account, mailbox, seq, after, digest, &envelope)?;
                batch.appends.push(WaitingAppend {
                    mailbox,
                    pending,
                    permit,
                    answer,
                });
            }
            Job::Trim { mailbox, through } => self.trim(mailbox, through)?,
            Job::Redeem {
                device,
                class,
                nonce,
                expires_unix_s,
                now_unix_s,
                answer,
            } => {
                let store = self.store();
                let staged = match class {
                    Class::Hub => store.redeem(device, &nonce, expires_unix_s, now_unix_s),
                    Class::Phone => store.redeem_phone(device, &nonce, expires_unix_s, now_unix_s),
                };
                if let Some(staged) = unless_full(staged)? {
                    batch.redeems.push((answer, staged));
                }
            }
            Job::CountInvitation {
                device,
                day,
                answer,
            } => {
                let staged = self.store().count_invitation(device, day);
                if let Some(staged) = unless_full(staged)? {
                    batch.invitations.push((answer, staged));
                }
            }
            Job::Revoke {
                hub,
                guest,
                mailboxes,
                now_unix_s,
                answer,
            } => {
                let asking = (hub, admission::inviter_tag(&hub));
                let staged = self.store().revoke(asking, guest, &mailboxes, now_unix_s);
                // A full disk is said to the session: its connection goes on without an answer.
                let staged = unless_full(staged)?.flatten();
                batch.revocations.push((answer, staged));
            }
            look => batch.looks.push(look),
        }
        Ok(())
    }

    /// Syncs what is staged and answers what waited for it.
    fn finish(&mut self, batch: &mut Batch) -> Result<(), WalError> {
        let waits = !batch.appends.is_empty()
            || !batch.redeems.is_empty()
            || !batch.invitations.is_empty()
            || !batch.revocations.is_empty();
        if !waits && self.store().staged_bytes() == 0 {
            return Ok(());
        }
        batch.written_bytes += self.store().staged_bytes();
        let committed = self.store().commit()?;
        for waiting in batch.appends.drain(..) {
            self.answer_append(&committed, waiting)?;
        }
        for (answer, staged) in batch.redeems.drain(..) {
            // Askers may have gone: what they asked for is durable all the same.
            wal::leaves!("admitted");
            let _gone = answer.send(staged.map(|staged| committed.redeem(staged)));
        }
        for (answer, staged) in batch.invitations.drain(..) {
            let _gone = answer.send(staged.map(|staged| committed.redeem(staged)));
        }
        for (answer, staged) in batch.revocations.drain(..) {
            let _gone = answer.send(staged.map(|staged| committed.redeem(staged)));
        }
        Ok(())
    }

    fn answer_append(
        &mut self,
        committed: &Committed,
        waiting: WaitingAppend,
    ) -> Result<(), WalError> {
        let news = matches!(waiting.pending, PendingAppend::Staged(..));
        let answer = self.store().answer(committed, waiting.pending)?;
        if let AppendAnswer::Receipt(receipt) = &answer {
            let head = receipt.head();
            wal::leaves!(
                "receipt {} {} {}",
                waiting.mailbox.to_text(),
                head.seq,
                head.digest.to_text()
            );
        }
        if news && matches!(answer, AppendAnswer::Receipt(_)) {
            self.watchers.notify(&waiting.mailbox);
        }
        drop(waiting.permit);
        let _gone = waiting.answer.send(answer);
        Ok(())
    }

    fn look(&mut self, job: Job) -> Result<(), WalError> {
        // An asker may have gone; looking changed nothing.
        match job {
            Job::SendState { mailbox, answer } => {
                let _gone = answer.send(self.store().send_state(&mailbox)?);
            }
            Job::ReceiveState { mailbox, answer } => {
                let _gone = answer.send(self.store().receive_state(&mailbox)?);
            }
            Job::Read {
                mailbox,
                cursor,
                bytes_max,
                answer,
            } => {
                let _gone = answer.send(self.store().read(&mailbox, cursor, bytes_max)?);
            }
            Job::Fetch {
                mailbox,
                seq,
                answer,
            } => {
                let _gone = answer.send(self.store().fetch(&mailbox, seq)?);
            }
            Job::IsRevoked { device, answer } => {
                let _gone = answer.send(self.store().is_revoked(&device)?);
            }
            Job::Usage { answer } => {
                let _gone = answer.send(self.store().usage());
            }
            Job::Append { .. }
            | Job::Trim { .. }
            | Job::Redeem { .. }
            | Job::CountInvitation { .. }
            | Job::Revoke { .. } => unreachable!("only looks wait for the sync"),
        }
        Ok(())
    }

    /// Opens the store again. The old one is dropped first, for its lock.
    fn reopen(&mut self) -> Result<(), WalError> {
        drop(self.store.take());
        // Every connection is closed now, and its reader trims again when it is back.
        self.trims.clear();
        let mut attempt = 1;
        loop {
            match (self.opener)() {
                Ok(store) => {
                    self.store = Some(store);
                    self.reopened.send_modify(|count| *count += 1);
                    return Ok(());
                }
                Err(error) if attempt >= REOPEN_ATTEMPTS_MAX => return Err(error),
                Err(error) => tracing::warn!(%error, attempt, "opening the store again failed"),
            }
            attempt += 1;
        }
    }
}

/// A full disk is no reason to reopen the store: the asker gets no answer, which means that it
/// tries again later.
fn unless_full<T>(staged: Result<T, WalError>) -> Result<Option<T>, WalError> {
    match staged {
        Ok(staged) => Ok(Some(staged)),
        Err(WalError::Space { .. }) => {
            tracing::warn!("the disk is too full for an invitation, or for taking one back");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
