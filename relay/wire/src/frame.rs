//! The frames and their type bytes.
//!
//! A frame is a type byte, the length of its body in three bytes, and the body. Even types are
//! critical: who does not know one closes. Odd types may be ignored. This room must never
//! decide anything: what a frame means to a mailbox is in the machines. `frame/kind.rs` has the
//! type bytes, `frame/encode.rs` writes, `frame/decode.rs` reads and refuses.
//!
//! FORMAT: frozen since v1. A change needs a new type byte, a golden line in `frame/tests.rs`
//! and a row in `relay/PROTOCOL.md`, which carries a hash of this file and of its rooms.

use alloc::vec::Vec;

use crate::credential::{Certificate, Class, Invitation};
use crate::envelope::Size;
use crate::ids::{DeviceId, Digest, Head, ReceiveId, SendId, Seq, Slot};

mod decode;
mod encode;
pub mod kind;

pub use decode::FrameHeader;
pub use encode::{append_prefix, deliver_prefix, live_prefix};

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
        /// Mailboxes to be emptied, at most [`crate::limits::REVOKE_MAILBOXES_MAX`]: those that the hub or the device
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

impl Frame<'_> {
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
}

#[cfg(test)]
mod tests;
