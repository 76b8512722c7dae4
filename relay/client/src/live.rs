//! Live groups: pictures that are passed on now or not at all.
//!
//! Each group is a stream of its own, which is given up whole. Nothing here is answered, and nothing is kept:
//! this room must never send a part of a piece and then something else, and must never be used for what has to
//! arrive.

use bytes::Bytes;
use tokio::sync::mpsc;
use wire::ErrorCode;
use wire::envelope::check_envelope_bytes;
use wire::frame::{self, Frame};

use crate::connect::read_error;
use crate::connection::SlotGuard;
use crate::error::ClientError;
use crate::framed::FrameReader;

/// Groups of one mailbox that wait for their reader; the next one is refused.
pub(crate) const GROUPS_WAITING_MAX: usize = 4;

/// A mailbox attached for live groups. Dropping it detaches.
#[derive(Debug)]
pub struct LiveSender {
    guard: SlotGuard,
    groups: u64,
}

impl LiveSender {
    pub(crate) fn new(guard: SlotGuard) -> LiveSender {
        LiveSender { guard, groups: 0 }
    }

    /// Begins the next group. End or drop the one before: a reader is given the newest.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the relay's reason once the mailbox is detached: attach it again. An error
    /// of the connection.
    pub async fn begin(&mut self) -> Result<LiveStream, ClientError> {
        if let Some(code) = self.guard.mail.ended() {
            return Err(ClientError::Refused { code });
        }
        let stream = self.guard.inner.open_uni().await?;
        let mut group = LiveStream {
            stream,
            is_whole: false,
            is_broken: false,
        };
        self.groups += 1;
        let header = Frame::Live {
            slot: self.guard.slot,
            group: self.groups,
        };
        group.write(vec![Bytes::from(header.to_bytes())]).await?;
        Ok(group)
    }
}

/// One group on its way. Dropped before [`LiveStream::end`], the rest of it is given up.
#[derive(Debug)]
pub struct LiveStream {
    stream: quinn::SendStream,
    is_whole: bool,
    /// A future was dropped in the middle of a piece.
    is_broken: bool,
}

impl LiveStream {
    /// Sends a piece. Waits while the relay takes no more; whoever waits no longer drops the group.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::NotWatched`] if nobody watches, or [`ErrorCode::Stale`]
    /// if whoever does is too slow for this group; [`ClientError::Misuse`] for a length that no
    /// envelope has, and after a future that was dropped; else an error of the connection. After any of them
    /// the group is over.
    pub async fn send(&mut self, piece: Bytes) -> Result<(), ClientError> {
        if check_envelope_bytes(piece.len()).is_err() {
            return Err(ClientError::Misuse("not an envelope"));
        }
        let prefix = Bytes::from(frame::live_prefix(piece.len()));
        self.write(vec![prefix, piece]).await
    }

    async fn write(&mut self, mut parts: Vec<Bytes>) -> Result<(), ClientError> {
        if self.is_broken {
            return Err(ClientError::Misuse("a group in which a piece was cut off"));
        }
        self.is_broken = true;
        let written = self.stream.write_all_chunks(&mut parts).await;
        written.map_err(|error| match error {
            quinn::WriteError::Stopped(code) => ClientError::from_code(code.into_inner()),
            quinn::WriteError::ConnectionLost(error) => error.into(),
            other => ClientError::Lost {
                reason: other.to_string(),
            },
        })?;
        self.is_broken = false;
        Ok(())
    }

    /// Waits until the relay wants no more of this group, and says why; for ever if that does not happen. It knows
    /// when nobody watches also while no piece is sent.
    pub async fn refused(&self) -> ClientError {
        match self.stream.stopped().await {
            Ok(Some(code)) => ClientError::from_code(code.into_inner()),
            Ok(None) => std::future::pending().await,
            Err(quinn::StoppedError::ConnectionLost(error)) => error.into(),
            Err(other) => ClientError::Lost {
                reason: other.to_string(),
            },
        }
    }

    /// The group is whole. What of it is still to be sent shares the connection with the group that is next: behind
    /// everything else it would stay for as long as a clip is sent, and hold the room that it waits in.
    pub fn end(mut self) {
        self.is_whole = !self.is_broken && self.stream.finish().is_ok();
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        if !self.is_whole {
            // It fails only when the stream is gone, which is as good.
            let _gone = self
                .stream
                .reset(u32::from(ErrorCode::Stale.to_u16()).into());
        }
    }
}

/// The live groups of one mailbox, as they begin.
#[derive(Debug)]
pub struct LiveGroups(mpsc::Receiver<LiveGroup>);

impl LiveGroups {
    pub(crate) fn new(groups: mpsc::Receiver<LiveGroup>) -> LiveGroups {
        LiveGroups(groups)
    }

    /// The next group; none when the mailbox is detached or the connection over. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<LiveGroup> {
        self.0.recv().await
    }
}

/// One group as it arrives. Dropping it gives the rest of it up.
#[derive(Debug)]
pub struct LiveGroup {
    group: u64,
    reader: FrameReader,
}

impl LiveGroup {
    pub(crate) fn new(group: u64, reader: FrameReader) -> LiveGroup {
        LiveGroup { group, reader }
    }

    /// Which group, as the relay says: rises with each.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.group
    }

    /// The next piece, which the relay may have altered: opening it will tell. None at the end of the
    /// group. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::Stale`] if the rest of it was given up; an error
    /// of the connection or of the protocol.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let Some(raw) = self.reader.next().await.map_err(read_error)? else {
                return Ok(None);
            };
            match Frame::parse(raw.kind, &raw.body)? {
                Frame::LivePiece { .. } => return Ok(Some(raw.body)),
                Frame::Ignored { .. } => {}
                other => return Err(ClientError::Unexpected { kind: other.kind() }),
            }
        }
    }
}
