//! Bytes from outside to frames: every length is checked before anything is allocated for it.
//!
//! This room says whether bytes are a frame, never whether a frame fits where it came.
//!
//! FORMAT: frozen since v1. What a change needs stands in `frame.rs`.

use alloc::vec::Vec;

use super::{Frame, Guest, ReceiveState, Revocation, SendState, kind};
use crate::codec::{Presence, Reader};
use crate::credential::{Certificate, Class, Invitation};
use crate::envelope::{Size, check_envelope_bytes};
use crate::error::WireError;
use crate::ids::{DeviceId, Digest, Head, ReceiveId, SendId, Seq, Slot};
use crate::limits::{BODY_BYTES_MAX, FRAME_HEADER_BYTES, REVOKE_MAILBOXES_MAX};

/// The first four bytes of a frame, checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The type byte.
    pub kind: u8,
    /// The length of the body in bytes, at most the limit it was parsed with.
    pub body_bytes: usize,
}

impl FrameHeader {
    /// Reads a header and refuses a body above `limit`, before anything is allocated for it.
    ///
    /// # Errors
    /// [`WireError::TooLong`].
    pub fn parse(header: [u8; FRAME_HEADER_BYTES], limit: usize) -> Result<FrameHeader, WireError> {
        let [kind, a, b, c] = header;
        let found = u32::from_be_bytes([0, a, b, c]) as usize;
        let limit = limit.min(BODY_BYTES_MAX);
        if found > limit {
            return Err(WireError::TooLong {
                what: "frame",
                found,
                limit,
            });
        }
        Ok(FrameHeader {
            kind,
            body_bytes: found,
        })
    }
}

impl<'a> Frame<'a> {
    /// Reads one frame off the front of `bytes`; returns it with the number of bytes used.
    ///
    /// # Errors
    /// [`WireError::Truncated`] when the frame is not complete, other [`WireError`]s when it
    /// can never become one.
    pub fn decode(bytes: &'a [u8]) -> Result<(Frame<'a>, usize), WireError> {
        let mut reader = Reader::new(bytes);
        let header = FrameHeader::parse(reader.array("frame header")?, BODY_BYTES_MAX)?;
        let body = reader.bytes(header.body_bytes, "frame body")?;
        let frame = Frame::parse(header.kind, body)?;
        Ok((frame, FRAME_HEADER_BYTES + header.body_bytes))
    }

    /// Reads the body of a frame of type `kind`.
    ///
    /// # Errors
    /// A [`WireError`] when `body` is not exactly one such body.
    pub fn parse(kind: u8, body: &'a [u8]) -> Result<Frame<'a>, WireError> {
        let mut reader = Reader::new(body);
        let frame = read_body(kind, &mut reader)?;
        if reader.is_empty() {
            Ok(frame)
        } else {
            Err(WireError::TrailingBytes { kind })
        }
    }
}

fn read_slot(reader: &mut Reader<'_>) -> Result<Slot, WireError> {
    Ok(Slot(reader.u32("slot")?))
}

/// A number that names an envelope: zero does not.
fn read_seq(reader: &mut Reader<'_>) -> Result<Seq, WireError> {
    match read_number(reader, "seq")? {
        Seq::NONE => Err(WireError::BadValue {
            what: "seq",
            found: 0,
        }),
        seq => Ok(seq),
    }
}

/// A number that may be zero for "none".
fn read_cursor(reader: &mut Reader<'_>) -> Result<Seq, WireError> {
    read_number(reader, "cursor")
}

/// A number that has one after it: 2^64 - 1 is none that anybody gives or holds.
fn read_number(reader: &mut Reader<'_>, what: &'static str) -> Result<Seq, WireError> {
    match Seq(reader.u64(what)?) {
        seq if seq > Seq::LAST => Err(WireError::BadValue { what, found: seq.0 }),
        seq => Ok(seq),
    }
}

fn read_some_head(reader: &mut Reader<'_>) -> Result<Head, WireError> {
    Ok(Head {
        seq: read_seq(reader)?,
        digest: Digest(reader.array("digest")?),
    })
}

fn read_head(reader: &mut Reader<'_>) -> Result<Option<Head>, WireError> {
    match reader.presence("head")? {
        Presence::Absent => Ok(None),
        Presence::Present => Ok(Some(read_some_head(reader)?)),
    }
}

fn read_envelope<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let envelope = reader.rest();
    check_envelope_bytes(envelope.len())?;
    Ok(envelope)
}

/// A count and as many mailboxes, which is checked before room is made for them.
fn read_mailboxes(reader: &mut Reader<'_>) -> Result<Vec<SendId>, WireError> {
    let count = usize::from(reader.u8("number of mailboxes")?);
    if count > REVOKE_MAILBOXES_MAX {
        return Err(WireError::TooLong {
            what: "list of mailboxes",
            found: count,
            limit: REVOKE_MAILBOXES_MAX,
        });
    }
    let mut mailboxes = Vec::with_capacity(count);
    for _ in 0..count {
        mailboxes.push(SendId(reader.array("send id")?));
    }
    Ok(mailboxes)
}

fn read_body<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    Ok(match kind {
        kind::HELLO => {
            let hello = Frame::Hello {
                version_min: reader.u8("version_min")?,
                version_max: reader.u8("version_max")?,
                features: reader.u32("features")?,
            };
            // What a later version appends is not for us.
            let _later_fields = reader.rest();
            hello
        }
        kind::REDEEM => Frame::Redeem(Invitation::read(reader)?),
        kind::CERTIFICATE => Frame::Certificate(Certificate::read(reader)?),
        kind::ADMITTED => Frame::Admitted(Certificate::read(reader)?),
        kind::INVITE => Frame::Invite {
            request: reader.u32("request")?,
            class: Class::from_u8(reader.u8("class")?)?,
            ttl_seconds: reader.u32("ttl")?,
        },
        kind::INVITATION => Frame::Invitation {
            request: reader.u32("request")?,
            invitation: match reader.presence("invitation")? {
                Presence::Absent => None,
                Presence::Present => Some(Invitation::read(reader)?),
            },
        },
        kind::REVOKE => Frame::Revoke {
            request: reader.u32("request")?,
            guest: match reader.presence("device")? {
                Presence::Absent => None,
                Presence::Present => Some(Guest {
                    device: DeviceId(reader.array("device")?),
                    invitation: reader.array("nonce")?,
                }),
            },
            mailboxes: read_mailboxes(reader)?,
        },
        kind::REVOKED => Frame::Revoked {
            request: reader.u32("request")?,
            outcome: match reader.u8("outcome")? {
                1 => Revocation::Done,
                2 => Revocation::StillAdmitted,
                3 => Revocation::NotKnown,
                found => {
                    return Err(WireError::BadValue {
                        what: "outcome",
                        found: u64::from(found),
                    });
                }
            },
        },
        kind::ATTACH_SEND => Frame::AttachSend {
            slot: read_slot(reader)?,
            mailbox: SendId(reader.array("send id")?),
        },
        kind::SEND_STATE => {
            let slot = read_slot(reader)?;
            let trimmed_through = read_cursor(reader)?;
            let last = read_head(reader)?;
            Frame::SendState {
                slot,
                state: SendState {
                    last,
                    trimmed_through,
                },
            }
        }
        kind::ATTACH_RECEIVE => Frame::AttachReceive {
            slot: read_slot(reader)?,
            mailbox: ReceiveId(reader.array("receive id")?),
            cursor: read_cursor(reader)?,
        },
        kind::RECEIVE_STATE => {
            let slot = read_slot(reader)?;
            let first = read_cursor(reader)?;
            let last = read_head(reader)?;
            Frame::ReceiveState {
                slot,
                state: ReceiveState { first, last },
            }
        }
        kind::DETACH => Frame::Detach {
            slot: read_slot(reader)?,
        },
        kind::STREAM => Frame::Stream {
            slot: read_slot(reader)?,
        },
        kind::WATCH => Frame::Watch {
            slot: read_slot(reader)?,
            on: match reader.presence("watch")? {
                Presence::Absent => false,
                Presence::Present => true,
            },
        },
        kind::LIVE => Frame::Live {
            slot: read_slot(reader)?,
            group: read_seq(reader)?.0,
        },
        kind::LIVE_PIECE => Frame::LivePiece {
            envelope: read_envelope(reader)?,
        },
        _ => return read_envelope_body(kind, reader),
    })
}

/// The frames about envelopes, and the rest.
fn read_envelope_body<'a>(kind: u8, reader: &mut Reader<'a>) -> Result<Frame<'a>, WireError> {
    Ok(match kind {
        kind::APPEND => Frame::Append {
            seq: read_seq(reader)?,
            after: read_cursor(reader)?,
            digest: Digest(reader.array("digest")?),
            envelope: read_envelope(reader)?,
        },
        kind::RECEIPT => Frame::Receipt {
            slot: read_slot(reader)?,
            head: read_some_head(reader)?,
        },
        kind::CONFLICT => Frame::Conflict {
            slot: read_slot(reader)?,
            stored: read_some_head(reader)?,
        },
        kind::NOT_NEXT => Frame::NotNext {
            slot: read_slot(reader)?,
            seq: read_seq(reader)?,
            head: read_head(reader)?,
        },
        kind::OVER_QUOTA => Frame::OverQuota {
            slot: read_slot(reader)?,
            seq: read_seq(reader)?,
            size: match reader.u8("size")? {
                1 => Size::Small,
                2 => Size::Bulk,
                found => {
                    return Err(WireError::BadValue {
                        what: "size",
                        found: u64::from(found),
                    });
                }
            },
            retry_after_s: reader.u32("retry_after")?,
        },
        kind::FETCH => Frame::Fetch {
            slot: read_slot(reader)?,
            seq: read_seq(reader)?,
        },
        kind::STORED => Frame::Stored {
            slot: read_slot(reader)?,
            seq: read_seq(reader)?,
            envelope: match reader.presence("envelope")? {
                Presence::Absent => None,
                Presence::Present => Some(read_envelope(reader)?),
            },
        },
        kind::DELIVER => Frame::Deliver {
            seq: read_seq(reader)?,
            envelope: read_envelope(reader)?,
        },
        kind::TRIM => Frame::Trim {
            slot: read_slot(reader)?,
            through: read_cursor(reader)?,
        },
        kind::GOAWAY => Frame::GoAway {
            retry_after_s: reader.u32("retry_after")?,
        },
        kind::ERROR => {
            let code = reader.u16("code")?;
            let slot = match reader.presence("slot")? {
                Presence::Absent => None,
                Presence::Present => Some(read_slot(reader)?),
            };
            Frame::Error { slot, code }
        }
        kind::PING => Frame::Ping {
            token: reader.u64("token")?,
        },
        kind::PONG => Frame::Pong {
            token: reader.u64("token")?,
        },
        odd if odd % 2 == 1 => {
            let _unknown_body = reader.rest();
            Frame::Ignored { kind: odd }
        }
        even => return Err(WireError::UnknownCriticalFrame { kind: even }),
    })
}
