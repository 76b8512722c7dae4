//! Frames to bytes, and what a shell writes in front of an envelope that it does not copy.
//!
//! What cannot be written is a mistake of ours and panics; who hands over an envelope has checked
//! its length.
//!
//! FORMAT: frozen since v1. What a change needs stands in `frame.rs`.

use alloc::vec::Vec;

use super::{Frame, Revocation, kind};
use crate::codec::Writer;
use crate::envelope::{Size, check_envelope_bytes};
use crate::ids::{Digest, Head, Seq};
use crate::limits::{
    APPEND_PREFIX_BYTES, BODY_BYTES_MAX, FRAME_HEADER_BYTES, REVOKE_MAILBOXES_MAX,
};

/// Header and prefix of an `APPEND`, so that a shell can write the envelope behind it without
/// copying it.
///
/// # Panics
/// When `envelope_bytes` is no length of an envelope: the caller has checked it before it made
/// the envelope durable.
#[must_use]
pub fn append_prefix(seq: Seq, after: Seq, digest: Digest, envelope_bytes: usize) -> Vec<u8> {
    assert!(
        check_envelope_bytes(envelope_bytes).is_ok(),
        "not an envelope"
    );
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + APPEND_PREFIX_BYTES);
    write_header(kind::APPEND, APPEND_PREFIX_BYTES + envelope_bytes, &mut out);
    Writer::new(&mut out)
        .u64(seq.0)
        .u64(after.0)
        .bytes(digest.as_bytes());
    out
}

/// Header and prefix of a `DELIVER`, likewise.
///
/// # Panics
/// As [`append_prefix`].
#[must_use]
pub fn deliver_prefix(seq: Seq, envelope_bytes: usize) -> Vec<u8> {
    assert!(
        check_envelope_bytes(envelope_bytes).is_ok(),
        "not an envelope"
    );
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES + 8);
    write_header(kind::DELIVER, 8 + envelope_bytes, &mut out);
    Writer::new(&mut out).u64(seq.0);
    out
}

/// Header of a `LIVE_PIECE`, likewise.
///
/// # Panics
/// When `envelope_bytes` is no length of an envelope.
#[must_use]
pub fn live_prefix(envelope_bytes: usize) -> Vec<u8> {
    assert!(
        check_envelope_bytes(envelope_bytes).is_ok(),
        "not an envelope"
    );
    let mut out = Vec::with_capacity(FRAME_HEADER_BYTES);
    write_header(kind::LIVE_PIECE, envelope_bytes, &mut out);
    out
}

fn write_header(kind: u8, body_bytes: usize, out: &mut Vec<u8>) {
    assert!(body_bytes <= BODY_BYTES_MAX, "a frame of ours is too long");
    let length = (body_bytes as u32).to_be_bytes();
    let [_, a, b, c] = length;
    out.extend_from_slice(&[kind, a, b, c]);
}

impl Frame<'_> {
    /// Appends the whole frame, header included, to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        self.write_body(&mut Writer::new(&mut body));
        write_header(self.kind(), body.len(), out);
        out.extend_from_slice(&body);
    }

    /// The whole frame in a vector of its own.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }

    fn write_body(&self, out: &mut Writer<'_>) {
        match self {
            Frame::Hello {
                version_min,
                version_max,
                features,
            } => {
                out.u8(*version_min).u8(*version_max).u32(*features);
            }
            Frame::Redeem(invitation) => {
                out.bytes(&invitation.to_bytes());
            }
            Frame::Certificate(certificate) | Frame::Admitted(certificate) => {
                out.bytes(&certificate.to_bytes());
            }
            Frame::Invite {
                request,
                class,
                ttl_seconds,
            } => {
                out.u32(*request).u8(class.to_u8()).u32(*ttl_seconds);
            }
            Frame::Invitation {
                request,
                invitation,
            } => {
                out.u32(*request);
                match invitation {
                    None => out.u8(0),
                    Some(invitation) => out.u8(1).bytes(&invitation.to_bytes()),
                };
            }
            Frame::Revoke {
                request,
                guest,
                mailboxes,
            } => {
                assert!(
                    mailboxes.len() <= REVOKE_MAILBOXES_MAX,
                    "a frame of ours names too many mailboxes"
                );
                out.u32(*request);
                match guest {
                    None => out.u8(0),
                    Some(guest) => out
                        .u8(1)
                        .bytes(guest.device.as_bytes())
                        .bytes(&guest.invitation),
                };
                out.u8(mailboxes.len() as u8);
                for mailbox in mailboxes {
                    out.bytes(mailbox.as_bytes());
                }
            }
            Frame::Revoked { request, outcome } => {
                let outcome = match outcome {
                    Revocation::Done => 1,
                    Revocation::StillAdmitted => 2,
                    Revocation::NotKnown => 3,
                };
                out.u32(*request).u8(outcome);
            }
            Frame::AttachSend { slot, mailbox } => {
                out.u32(slot.0).bytes(mailbox.as_bytes());
            }
            Frame::SendState { slot, state } => {
                out.u32(slot.0).u64(state.trimmed_through.0);
                write_head(state.last, out);
            }
            Frame::AttachReceive {
                slot,
                mailbox,
                cursor,
            } => {
                out.u32(slot.0).bytes(mailbox.as_bytes()).u64(cursor.0);
            }
            Frame::ReceiveState { slot, state } => {
                out.u32(slot.0).u64(state.first.0);
                write_head(state.last, out);
            }
            Frame::Detach { slot } | Frame::Stream { slot } => {
                out.u32(slot.0);
            }
            Frame::Watch { slot, on } => {
                out.u32(slot.0).u8(u8::from(*on));
            }
            Frame::Live { slot, group } => {
                out.u32(slot.0).u64(*group);
            }
            Frame::LivePiece { envelope } => {
                out.bytes(envelope);
            }
            Frame::Append {
                seq,
                after,
                digest,
                envelope,
            } => {
                out.u64(seq.0)
                    .u64(after.0)
                    .bytes(digest.as_bytes())
                    .bytes(envelope);
            }
            Frame::Receipt { slot, head } => {
                out.u32(slot.0)
                    .u64(head.seq.0)
                    .bytes(head.digest.as_bytes());
            }
            Frame::Conflict { slot, stored } => {
                out.u32(slot.0)
                    .u64(stored.seq.0)
                    .bytes(stored.digest.as_bytes());
            }
            Frame::NotNext { slot, seq, head } => {
                out.u32(slot.0).u64(seq.0);
                write_head(*head, out);
            }
            Frame::OverQuota {
                slot,
                seq,
                size,
                retry_after_s,
            } => {
                let size = match size {
                    Size::Small => 1,
                    Size::Bulk => 2,
                };
                out.u32(slot.0).u64(seq.0).u8(size).u32(*retry_after_s);
            }
            Frame::Fetch { slot, seq } => {
                out.u32(slot.0).u64(seq.0);
            }
            Frame::Stored {
                slot,
                seq,
                envelope,
            } => {
                out.u32(slot.0).u64(seq.0);
                match envelope {
                    None => out.u8(0),
                    Some(envelope) => out.u8(1).bytes(envelope),
                };
            }
            Frame::Deliver { seq, envelope } => {
                out.u64(seq.0).bytes(envelope);
            }
            Frame::Trim { slot, through } => {
                out.u32(slot.0).u64(through.0);
            }
            Frame::GoAway { retry_after_s } => {
                out.u32(*retry_after_s);
            }
            Frame::Error { slot, code } => {
                out.u16(*code);
                match slot {
                    None => out.u8(0),
                    Some(slot) => out.u8(1).u32(slot.0),
                };
            }
            Frame::Ping { token } | Frame::Pong { token } => {
                out.u64(*token);
            }
            Frame::Ignored { .. } => {}
        }
    }
}

fn write_head(head: Option<Head>, out: &mut Writer<'_>) {
    match head {
        None => out.u8(0),
        Some(head) => out.u8(1).u64(head.seq.0).bytes(head.digest.as_bytes()),
    };
}
