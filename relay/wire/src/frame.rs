//! The frames and their type bytes.
//!
//! A frame is a type byte, the length of its body in three bytes, and the body. Even types are
//! critical: who does not know one closes. Odd types may be ignored. This room must never
//! decide anything: what a frame means to a mailbox is in the machines.
//!
//! FORMAT: frozen since v1. A change needs a new type byte, a golden line in `frame/tests.rs`
//! and a row in `relay/PROTOCOL.md`, which carries a hash of this file.

use alloc::vec::Vec;

use crate::codec::{Presence, Reader, Writer};
use crate::credential::{Certificate, Class, Invitation};
use crate::envelope::{Size, check_envelope_bytes};
use crate::error::WireError;
use crate::ids::{DeviceId, Digest, Head, ReceiveId, SendId, Seq, Slot};
use crate::limits::{
    APPEND_PREFIX_BYTES, BODY_BYTES_MAX, FRAME_HEADER_BYTES, REVOKE_MAILBOXES_MAX,
};

/// The type bytes. Even is critical, odd may be ignored by who does not know it.
pub mod kind {
    /// Both ends, first on the control stream.
    pub const HELLO: u8 = 0x02;
    /// Client: becomes an account by an invitation.
    pub const REDEEM: u8 = 0x04;
    /// Client: is an account already.
    pub const CERTIFICATE: u8 = 0x06;
    /// Relay: the certificate to keep.
    pub const ADMITTED: u8 = 0x08;
    /// Client: asks for an invitation for another device.
    pub const INVITE: u8 = 0x0a;
    /// Relay: the answer to `INVITE`.
    pub const INVITATION: u8 = 0x0c;
    /// Client, a hub: an invitation that a phone was admitted by is taken back, and these mailboxes are of no
    /// more use. A relay that does not know it ignores it, and the client has no answer.
    pub const REVOKE: u8 = 0x0d;
    /// Relay: the answer to `REVOKE`.
    pub const REVOKED: u8 = 0x0e;
    /// Client: will append to a mailbox.
    pub const ATTACH_SEND: u8 = 0x10;
    /// Relay: the answer to `ATTACH_SEND`.
    pub const SEND_STATE: u8 = 0x12;
    /// Client: will read a mailbox.
    pub const ATTACH_RECEIVE: u8 = 0x14;
    /// Relay: the answer to `ATTACH_RECEIVE`.
    pub const RECEIVE_STATE: u8 = 0x16;
    /// Client: a slot is no longer used.
    pub const DETACH: u8 = 0x18;
    /// First frame of a stream of appends or deliveries: the slot that the stream serves.
    pub const STREAM: u8 = 0x1a;
    /// Client: a reader wants the live groups of a mailbox, or no more. A relay that does not know it ignores
    /// it, and passes none on.
    pub const WATCH: u8 = 0x1d;
    /// Client, on an append stream: one envelope.
    pub const APPEND: u8 = 0x20;
    /// Relay: everything through this envelope is synced.
    pub const RECEIPT: u8 = 0x22;
    /// Relay: another envelope is stored under this number.
    pub const CONFLICT: u8 = 0x24;
    /// Relay: not appended; this is the head.
    pub const NOT_NEXT: u8 = 0x26;
    /// Relay: not appended; no room.
    pub const OVER_QUOTA: u8 = 0x28;
    /// Client: wants the stored bytes of one envelope of its own.
    pub const FETCH: u8 = 0x2a;
    /// Relay: the answer to `FETCH`.
    pub const STORED: u8 = 0x2c;
    /// Relay, on a deliver stream: one envelope.
    pub const DELIVER: u8 = 0x30;
    /// Client: the reader holds everything through this number durably.
    pub const TRIM: u8 = 0x32;
    /// First frame of a live stream, towards the relay and from it: the slot, and which group of pictures.
    pub const LIVE: u8 = 0x34;
    /// On a live stream: the next piece, which is stored nowhere.
    pub const LIVE_PIECE: u8 = 0x36;
    /// Relay: close soon and come back later.
    pub const GOAWAY: u8 = 0x40;
    /// Relay: refused, about one slot or the whole connection.
    pub const ERROR: u8 = 0x42;
    /// Either: answer with `PONG`.
    pub const PING: u8 = 0x51;
    /// Either: the answer to `PING`.
    pub const PONG: u8 = 0x53;
}

/// What a relay shows a writer on attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SendState {
    /// The last envelope ever stored here, kept even after trimming. None: an empty mailbox.
    pub last: Option<Head>,
    /// The highest number that the reader has trimmed; [`Seq::NONE`] if none.
    pub trimmed_through: Seq,
}

/// What a relay shows a reader on attach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReceiveState {
    /// The lowest number still stored; [`Seq::NONE`] if nothing is.
    pub first: Seq,
    /// The last envelope ever stored here. None: an empty mailbox.
    pub last: Option<Head>,
}

/// What a `REVOKE` takes back: an invitation of the hub that asks, by which a phone was admitted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Guest {
    /// The phone.
    pub device: DeviceId,
    /// The invitation's nonce.
    pub invitation: [u8; 16],
}

/// What came of a `REVOKE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// All that was asked for is durable. The device, if one was named, is shut out.
    Done,
    /// The invitation is taken back if it was this hub's, and the device stays admitted by another one. The
    /// mailboxes are gone as far as they are of these two.
    StillAdmitted,
    /// The invitation is taken back, it was this hub's, and the relay knows of none by which the device ever came: it
    /// never did, or a lost disk has made the relay forget it. Asking again will say the same.
    NotKnown,
}

/// One frame, borrowing the envelope bytes from the buffer that it was read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// `HELLO`: the versions and features of the speaker. Bytes after the known fields are
    /// ignored, so that later versions can add some.
    Hello {
        /// The lowest version spoken.
        version_min: u8,
        /// The highest version spoken.
        version_max: u8,
        /// Feature bits; none are defined yet.
        features: u32,
    },
    /// `REDEEM`.
    Redeem(Invitation),
    /// `CERTIFICATE`.
    Certificate(Certificate),
    /// `ADMITTED`.
    Admitted(Certificate),
    /// `INVITE`.
    Invite {
        /// The number of the question, chosen by the client.
        request: u32,
        /// The class that the invited device shall have.
        class: Class,
        /// Seconds that the invitation shall live.
        ttl_seconds: u32,
    },
    /// `INVITATION`.
    Invitation {
        /// The number of the question.
        request: u32,
        /// The invitation, or none if it was refused.
        invitation: Option<Invitation>,
    },
    /// `REVOKE`.
    Revoke {
        /// The number of the question, chosen by the client.
        request: u32,
        /// Which invitation is taken back; none: only the mailboxes go.
        guest: Option<Guest>,
        /// Mailboxes to be emptied, at most [`REVOKE_MAILBOXES_MAX`]: those that the hub or the device
        /// fills.
        mailboxes: Vec<SendId>,
    },
    /// `REVOKED`.
    Revoked {
        /// The number of the question.
        request: u32,
        /// What came of it.
        outcome: Revocation,
    },
    /// `ATTACH_SEND`.
    AttachSend {
        /// Chosen by the client, never used before in this connection.
        slot: Slot,
        /// The right to append.
        mailbox: SendId,
    },
    /// `SEND_STATE`.
    SendState {
        /// The attached slot.
        slot: Slot,
        /// The state of the mailbox.
        state: SendState,
    },
    /// `ATTACH_RECEIVE`.
    AttachReceive {
        /// Chosen by the client, never used before in this connection.
        slot: Slot,
        /// The right to read and trim.
        mailbox: ReceiveId,
        /// The highest number that the reader holds; delivery starts behind it.
        cursor: Seq,
    },
    /// `RECEIVE_STATE`.
    ReceiveState {
        /// The attached slot.
        slot: Slot,
        /// The state of the mailbox.
        state: ReceiveState,
    },
    /// `DETACH`.
    Detach {
        /// The slot that ends.
        slot: Slot,
    },
    /// `STREAM`.
    Stream {
        /// The slot that the stream serves.
        slot: Slot,
    },
    /// `WATCH`.
    Watch {
        /// An attached receive slot.
        slot: Slot,
        /// Whether live groups are wanted from now on.
        on: bool,
    },
    /// `LIVE`.
    Live {
        /// An attached send slot, or at the reader the receive slot that watches.
        slot: Slot,
        /// Which group of pictures: rises with each that the sender begins on this slot, from 1.
        group: u64,
    },
    /// `LIVE_PIECE`.
    LivePiece {
        /// The bytes to pass on.
        envelope: &'a [u8],
    },
    /// `APPEND`.
    Append {
        /// The number of the envelope, at least 1.
        seq: Seq,
        /// The envelope that the sender knows to lie before it; [`Seq::NONE`] if none.
        after: Seq,
        /// SHA-256 of `envelope`.
        digest: Digest,
        /// The bytes to store.
        envelope: &'a [u8],
    },
    /// `RECEIPT`: cumulative.
    Receipt {
        /// The mailbox.
        slot: Slot,
        /// Number and digest of the envelope through which all is synced.
        head: Head,
    },
    /// `CONFLICT`.
    Conflict {
        /// The mailbox.
        slot: Slot,
        /// The number asked for, with the digest that is stored under it.
        stored: Head,
    },
    /// `NOT_NEXT`.
    NotNext {
        /// The mailbox.
        slot: Slot,
        /// The number that was refused.
        seq: Seq,
        /// What the mailbox ends with.
        head: Option<Head>,
    },
    /// `OVER_QUOTA`.
    OverQuota {
        /// The mailbox.
        slot: Slot,
        /// The number that was refused.
        seq: Seq,
        /// The slice of the quota that is full.
        size: Size,
        /// Seconds after which trying again makes sense.
        retry_after_s: u32,
    },
    /// `FETCH`.
    Fetch {
        /// An attached send slot.
        slot: Slot,
        /// The number wanted.
        seq: Seq,
    },
    /// `STORED`.
    Stored {
        /// The mailbox.
        slot: Slot,
        /// The number wanted.
        seq: Seq,
        /// Its bytes, if the relay has them.
        envelope: Option<&'a [u8]>,
    },
    /// `DELIVER`.
    Deliver {
        /// The number of the envelope.
        seq: Seq,
        /// Its bytes.
        envelope: &'a [u8],
    },
    /// `TRIM`.
    Trim {
        /// An attached receive slot.
        slot: Slot,
        /// The reader holds everything through this number durably.
        through: Seq,
    },
    /// `GOAWAY`.
    GoAway {
        /// Seconds to stay away, before jitter.
        retry_after_s: u32,
    },
    /// `ERROR`.
    Error {
        /// The slot that it is about; none: the whole connection.
        slot: Option<Slot>,
        /// A code of [`crate::ErrorCode`], kept as a number because newer ones may come.
        code: u16,
    },
    /// `PING`.
    Ping {
        /// Comes back in the `PONG`.
        token: u64,
    },
    /// `PONG`.
    Pong {
        /// The token of the `PING`.
        token: u64,
    },
    /// An odd type that is not known here.
    Ignored {
        /// The type byte.
        kind: u8,
    },
}

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

    /// The type byte.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Frame::Hello { .. } => kind::HELLO,
            Frame::Redeem(_) => kind::REDEEM,
            Frame::Certificate(_) => kind::CERTIFICATE,
            Frame::Admitted(_) => kind::ADMITTED,
            Frame::Invite { .. } => kind::INVITE,
            Frame::Invitation { .. } => kind::INVITATION,
            Frame::Revoke { .. } => kind::REVOKE,
            Frame::Revoked { .. } => kind::REVOKED,
            Frame::AttachSend { .. } => kind::ATTACH_SEND,
            Frame::SendState { .. } => kind::SEND_STATE,
            Frame::AttachReceive { .. } => kind::ATTACH_RECEIVE,
            Frame::ReceiveState { .. } => kind::RECEIVE_STATE,
            Frame::Detach { .. } => kind::DETACH,
            Frame::Stream { .. } => kind::STREAM,
            Frame::Watch { .. } => kind::WATCH,
            Frame::Live { .. } => kind::LIVE,
            Frame::LivePiece { .. } => kind::LIVE_PIECE,
            Frame::Append { .. } => kind::APPEND,
            Frame::Receipt { .. } => kind::RECEIPT,
            Frame::Conflict { .. } => kind::CONFLICT,
            Frame::NotNext { .. } => kind::NOT_NEXT,
            Frame::OverQuota { .. } => kind::OVER_QUOTA,
            Frame::Fetch { .. } => kind::FETCH,
            Frame::Stored { .. } => kind::STORED,
            Frame::Deliver { .. } => kind::DELIVER,
            Frame::Trim { .. } => kind::TRIM,
            Frame::GoAway { .. } => kind::GOAWAY,
            Frame::Error { .. } => kind::ERROR,
            Frame::Ping { .. } => kind::PING,
            Frame::Pong { .. } => kind::PONG,
            Frame::Ignored { kind } => *kind,
        }
    }

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

#[cfg(test)]
mod tests;
