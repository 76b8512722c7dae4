//! Sending to one mailbox, and what the relay says to it.
//!
//! This room must never put two envelopes of one mailbox on the wire in another order than
//! they were given, and never lose half a frame when a future is dropped.

use std::sync::Arc;

use bytes::Bytes;
use wire::envelope::{Size, check_envelope_bytes};
use wire::frame::{self, Frame};
use wire::limits::WINDOW_BYTES_MAX;
use wire::{Digest, ErrorCode, Head, Seq};

use crate::connection::SlotGuard;
use crate::error::ClientError;

/// The control stream has a higher one.
const PRIORITY_MAX: i32 = 100;

/// What the relay says about appends. After anything but a receipt, attach again: nothing
/// that was sent on this handle behind it is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendEvent {
    /// Synced through this envelope: stop sending those, free nothing.
    Receipt(Head),
    /// Another envelope is stored under this number.
    Conflict {
        /// What is stored.
        stored: Head,
    },
    /// The envelope is not the next one.
    NotNext {
        /// The number that was refused.
        seq: Seq,
        /// What the mailbox ends with.
        head: Option<Head>,
    },
    /// No room.
    OverQuota {
        /// The number that was refused.
        seq: Seq,
        /// The slice of the quota that is full.
        size: Size,
        /// Seconds after which trying again makes sense.
        retry_after_s: u32,
    },
}

/// A mailbox attached for sending. Dropping it (both halves, if split) detaches.
#[derive(Debug)]
pub struct AppendHandle {
    appender: Appender,
    events: AppendEvents,
}

/// The half that sends.
#[derive(Debug)]
pub struct Appender {
    guard: Arc<SlotGuard>,
    stream: quinn::SendStream,
    /// What is not yet in QUIC's hands, in order. More than one envelope only when futures were
    /// dropped, and never more than a window.
    unwritten: Vec<Bytes>,
    unwritten_bytes: u64,
}

/// The half that hears.
#[derive(Debug)]
pub struct AppendEvents {
    guard: Arc<SlotGuard>,
}

impl AppendHandle {
    pub(crate) fn new(guard: SlotGuard, stream: quinn::SendStream) -> AppendHandle {
        let guard = Arc::new(guard);
        let header = Frame::Stream { slot: guard.slot }.to_bytes();
        AppendHandle {
            appender: Appender {
                guard: Arc::clone(&guard),
                stream,
                unwritten_bytes: header.len() as u64,
                unwritten: vec![Bytes::from(header)],
            },
            events: AppendEvents { guard },
        }
    }

    /// Separates sending from hearing, for two tasks.
    #[must_use]
    pub fn split(self) -> (Appender, AppendEvents) {
        (self.appender, self.events)
    }

    /// See [`Appender::append`].
    ///
    /// # Errors
    /// As there.
    pub async fn append(
        &mut self,
        seq: Seq,
        after: Seq,
        digest: Digest,
        envelope: Bytes,
    ) -> Result<(), ClientError> {
        self.appender.append(seq, after, digest, envelope).await
    }

    /// Which of the mailboxes that this connection sends to are carried first, where several have something: the
    /// higher ones; those of one number share. 0 without it. What the protocol itself says overtakes all.
    pub fn set_priority(&self, priority: i32) {
        // It fails only when the stream is gone, which the next append says.
        let priority = priority.min(PRIORITY_MAX);
        let _gone = self.appender.stream.set_priority(priority);
    }

    /// See [`AppendEvents::next`].
    ///
    /// # Errors
    /// As there.
    pub async fn next_event(&mut self) -> Result<AppendEvent, ClientError> {
        self.events.next().await
    }

    /// See [`Appender::fetch`].
    ///
    /// # Errors
    /// As there.
    pub async fn fetch(&self, seq: Seq) -> Result<Option<Bytes>, ClientError> {
        self.appender.fetch(seq).await
    }
}

impl Appender {
    /// Sends one durable envelope. `after` is the number that lies before it in this mailbox
    /// (what the relay showed on attach, then the one sent before): a compare-and-append.
    /// Waits while the relay takes no more; that is the back pressure.
    ///
    /// If the future is dropped after its first poll, the envelope counts as sent: the rest of
    /// it leaves with the next call of [`Appender::append`] or [`Appender::flush`].
    ///
    /// # Errors
    /// [`ClientError::Misuse`] for a length or number that no envelope has, or when more than a
    /// window of envelopes waits because futures were dropped: then nothing was taken. Else an
    /// error of the connection.
    pub async fn append(
        &mut self,
        seq: Seq,
        after: Seq,
        digest: Digest,
        envelope: Bytes,
    ) -> Result<(), ClientError> {
        if check_envelope_bytes(envelope.len()).is_err() || !seq.is_some() {
            return Err(ClientError::Misuse("not an envelope"));
        }
        if self.unwritten_bytes > WINDOW_BYTES_MAX {
            return Err(ClientError::Misuse("flush before the next append"));
        }
        // Before the first await, so that a dropped future has either done nothing or all of it.
        let prefix = Bytes::from(frame::append_prefix(seq, after, digest, envelope.len()));
        self.unwritten_bytes += (prefix.len() + envelope.len()) as u64;
        self.unwritten.push(prefix);
        self.unwritten.push(envelope);
        self.flush().await
    }

    /// Hands everything that was begun to QUIC.
    ///
    /// # Errors
    /// An error of the connection or of this slot.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        while !self.unwritten.is_empty() {
            let written = self
                .stream
                .write_chunks(&mut self.unwritten)
                .await
                .map_err(|error| match error {
                    quinn::WriteError::Stopped(code) => ClientError::from_code(code.into_inner()),
                    quinn::WriteError::ConnectionLost(_) => self.guard.inner.failure(),
                    other => ClientError::Lost {
                        reason: other.to_string(),
                    },
                })?;
            self.unwritten_bytes = self.unwritten_bytes.saturating_sub(written.bytes as u64);
            self.unwritten.drain(..written.chunks);
        }
        Ok(())
    }

    /// The bytes that the relay has stored under this number, as evidence; none if it has none.
    ///
    /// # Errors
    /// An error of the connection.
    pub async fn fetch(&self, seq: Seq) -> Result<Option<Bytes>, ClientError> {
        self.guard.inner.fetch(self.guard.slot, seq).await
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if !self.unwritten.is_empty() {
            // Half a frame and then the end would look like a broken protocol; a reset does
            // not. It fails only when the stream is gone, which is as good.
            let _gone = self
                .stream
                .reset(u32::from(ErrorCode::Done.to_u16()).into());
        }
    }
}

impl AppendEvents {
    /// The next event; receipts are coalesced. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`] when the relay ended this slot ([`wire::ErrorCode::MailboxLost`]:
    /// attach again), else why the connection ended.
    pub async fn next(&mut self) -> Result<AppendEvent, ClientError> {
        self.guard.mail.next(&self.guard.inner).await
    }
}
