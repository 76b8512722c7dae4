//! Reads frames off a QUIC stream without losing bytes when a future is dropped.
//!
//! This room must never buffer more than one frame beyond what it hands out, and never
//! allocate by a length that the limit of the stream has not allowed.

use bytes::{Bytes, BytesMut};
use quinn::{ReadError, RecvStream};
use thiserror::Error;
use wire::limits::FRAME_HEADER_BYTES;
use wire::{FrameHeader, WireError};

/// How much is asked of the stream at a time.
const READ_BYTES: usize = 64 * 1024;

/// Why no frame could be read.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FrameReadError {
    /// The stream or its connection ended.
    #[error("the stream ended: {0}")]
    Stream(#[from] ReadError),
    /// The stream carries something else.
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// Frames from one stream.
#[derive(Debug)]
pub struct FrameReader {
    stream: RecvStream,
    buffer: BytesMut,
    body_bytes_max: usize,
}

/// One frame as it came: parse it with `wire::Frame::parse(kind, &body)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawFrame {
    /// The type byte.
    pub kind: u8,
    /// The body; slices of it share its memory.
    pub body: Bytes,
}

impl FrameReader {
    /// Reads frames whose body is at most `body_bytes_max` long.
    #[must_use]
    pub fn new(stream: RecvStream, body_bytes_max: usize) -> FrameReader {
        FrameReader {
            stream,
            buffer: BytesMut::new(),
            body_bytes_max,
        }
    }

    /// Changes the limit for the frames to come.
    pub fn set_body_bytes_max(&mut self, body_bytes_max: usize) {
        self.body_bytes_max = body_bytes_max;
    }

    /// The stream below, to stop it with a code.
    pub fn stream_mut(&mut self) -> &mut RecvStream {
        &mut self.stream
    }

    /// The next frame; none when the stream ended between two frames. Dropping the future
    /// loses nothing.
    ///
    /// # Errors
    /// [`FrameReadError`] when the stream broke, ended inside a frame, or carries a frame
    /// that is too long.
    pub async fn next(&mut self) -> Result<Option<RawFrame>, FrameReadError> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            match self.stream.read_chunk(READ_BYTES, true).await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk.bytes),
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(WireError::Truncated { what: "stream" }.into()),
            }
        }
    }

    /// A frame that has arrived whole, without waiting.
    fn take(&mut self) -> Result<Option<RawFrame>, WireError> {
        let Some(header) = self.buffer.first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(None);
        };
        let header = FrameHeader::parse(*header, self.body_bytes_max)?;
        let frame_bytes = FRAME_HEADER_BYTES + header.body_bytes;
        if self.buffer.len() < frame_bytes {
            self.buffer.reserve(frame_bytes - self.buffer.len());
            return Ok(None);
        }
        let mut body = self.buffer.split_to(frame_bytes).freeze();
        let _header = body.split_to(FRAME_HEADER_BYTES);
        Ok(Some(RawFrame {
            kind: header.kind,
            body,
        }))
    }
}
