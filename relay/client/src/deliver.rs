//! Receiving from one mailbox.
//!
//! This room must never hand out an envelope twice on one attachment, and never trim on its
//! own: the caller trims what it holds durably.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};
use wire::frame::Frame;
use wire::limits::DELIVER_PREFIX_BYTES;
use wire::receiver::{Arrival, Receiver};
use wire::{ErrorCode, Seq};

use crate::connect::read_error;
use crate::connection::SlotGuard;
use crate::error::ClientError;
use crate::framed::FrameReader;
use crate::live::{LiveGroup, LiveGroups};

/// How long the stream of deliveries may take to begin behind the answer to the attachment: on a slow link it takes turns
/// with the others. A relay that opens none would never be asked again.
pub(crate) const STREAM_WAIT: Duration = Duration::from_secs(60);

/// One envelope from the relay, which may have altered it: opening it will tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delivery {
    /// The number that the relay says it has.
    pub seq: Seq,
    /// [`Arrival::Next`], or [`Arrival::Ahead`] when numbers are missing before it.
    pub arrival: Arrival,
    /// The envelope.
    pub bytes: Bytes,
}

/// A mailbox attached for receiving. Dropping it detaches.
#[derive(Debug)]
pub struct Deliveries {
    guard: SlotGuard,
    receiver: Receiver,
    source: Source,
    /// Until somebody takes it.
    live: Option<LiveGroups>,
}

#[derive(Debug)]
enum Source {
    Waiting {
        stream: oneshot::Receiver<FrameReader>,
        until: Instant,
    },
    Open(FrameReader),
}

impl Deliveries {
    pub(crate) fn new(
        guard: SlotGuard,
        (stream, wait): (oneshot::Receiver<FrameReader>, Duration),
        live: mpsc::Receiver<LiveGroup>,
        cursor: Seq,
    ) -> Deliveries {
        Deliveries {
            guard,
            receiver: Receiver::new(cursor),
            source: Source::Waiting {
                stream,
                until: Instant::now() + wait,
            },
            live: Some(LiveGroups::new(live)),
        }
    }

    /// Asks the relay to pass on the live groups of this mailbox from now on, or no more. It gives no answer:
    /// they come, or they do not.
    ///
    /// # Errors
    /// An error of the connection.
    pub async fn watch(&self, on: bool) -> Result<(), ClientError> {
        let slot = self.guard.slot;
        self.guard.inner.send(&Frame::Watch { slot, on }).await
    }

    /// The live groups of this mailbox, for whoever reads them beside the envelopes; none the second time.
    pub fn take_live(&mut self) -> Option<LiveGroups> {
        self.live.take()
    }

    /// The next envelope. Waits as long as there is none; dropping the future loses nothing.
    /// What is not taken stays in QUIC's flow control, and the relay stops sending.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::MailboxLost`] when the relay lost the
    /// mailbox (attach again), [`ClientError::Timeout`] when no stream has begun for a minute (connect again), else
    /// why the connection ended.
    pub async fn next(&mut self) -> Result<Delivery, ClientError> {
        loop {
            let reader = match &mut self.source {
                Source::Open(reader) => reader,
                Source::Waiting { stream, until } => {
                    let reader = match timeout_at(*until, stream).await {
                        Ok(Ok(reader)) => reader,
                        Ok(Err(_dropped)) => return Err(self.guard.inner.closed().await),
                        Err(_elapsed) => return Err(ClientError::Timeout),
                    };
                    self.source = Source::Open(reader);
                    continue;
                }
            };
            let raw = match reader.next().await {
                Ok(Some(raw)) => raw,
                Ok(None) => {
                    return Err(ClientError::Refused {
                        code: ErrorCode::MailboxLost,
                    });
                }
                Err(error) => {
                    return Err(match read_error(error) {
                        ClientError::Lost { .. } => self.guard.inner.failure(),
                        other => other,
                    });
                }
            };
            let seq = match Frame::parse(raw.kind, &raw.body)? {
                Frame::Deliver { seq, .. } => seq,
                Frame::Ignored { .. } => continue,
                other => return Err(ClientError::Unexpected { kind: other.kind() }),
            };
            let arrival = self.receiver.handle_deliver(seq);
            if arrival != Arrival::Duplicate {
                return Ok(Delivery {
                    seq,
                    arrival,
                    bytes: raw.body.slice(DELIVER_PREFIX_BYTES..),
                });
            }
        }
    }

    /// Tells the relay that everything through `through` is durable here: it may forget it.
    ///
    /// # Errors
    /// An error of the connection. Trim again after the next attach; repeating is harmless.
    pub async fn trim(&self, through: Seq) -> Result<(), ClientError> {
        let slot = self.guard.slot;
        self.guard.inner.send(&Frame::Trim { slot, through }).await
    }
}
