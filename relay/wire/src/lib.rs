//! The relay's wire protocol: ids, limits, frames and the three delivery state machines.
//!
//! This room holds everything that a relay may know, and nothing else: capabilities of
//! mailboxes, sequence numbers, digests of ciphertext, and the frames that carry them. It must
//! never name a camera, a group, an epoch, a key or a person; those words belong to the journal.
//! It must never do IO, read a clock or roll dice: bytes and times come in as arguments, bytes
//! and events go out. That is why it is `no_std`. `relay/PROTOCOL.md` is the same content in
//! prose, bound to [`frame`] and [`limits`] by a hash.
//!
//! The contract in one page:
//!
//! * A **mailbox** is named twice. Its reader holds the [`ReceiveId`], a random capability; its
//!   writer holds the [`SendId`], a one-way hash of it. An empty relay therefore needs no list
//!   of mailboxes: whoever comes with an id proves what it may do.
//! * One [`Seq`] is one envelope. Appending is a compare-and-append and idempotent by
//!   (`Seq`, [`Digest`]): the same again is a receipt, the same `Seq` with another digest is a
//!   conflict and never "stored".
//! * A **receipt** says that the relay has synced an envelope. It frees nothing: only an ack,
//!   which is sealed end to end and which this crate cannot see, lets a sender forget.
//! * The relay keeps the last envelope of each mailbox after trimming and shows its (`Seq`,
//!   digest) on every attach, so that a sender that was rolled back can notice.
//!
//! The public interface is: [`ids`], [`limits`], [`frame`] with [`codec`], [`credential`],
//! [`envelope`], and the machines [`sender`], [`receiver`], [`mailbox`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

extern crate alloc;

pub mod codec;
pub mod credential;
pub mod envelope;
pub mod error;
pub mod frame;
pub mod ids;
pub mod limits;
pub mod mailbox;
pub mod receiver;
pub mod sender;

pub use credential::{Certificate, Class, Invitation};
pub use envelope::Envelope;
pub use error::{ErrorCode, ErrorKind, WireError};
pub use frame::{Frame, FrameHeader, ReceiveState, SendState};
pub use ids::{DeviceId, Digest, Head, ReceiveId, RelayId, SendId, Seq, Slot};

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use sha2::{Digest as _, Sha256};

    /// `relay/PROTOCOL.md` describes exactly these files.
    #[test]
    fn the_protocol_document_is_bound_to_its_source() {
        let mut hasher = Sha256::new();
        hasher.update(include_str!("frame.rs"));
        hasher.update(include_str!("frame/kind.rs"));
        hasher.update(include_str!("frame/encode.rs"));
        hasher.update(include_str!("frame/decode.rs"));
        hasher.update(include_str!("limits.rs"));
        let hash: [u8; 32] = hasher.finalize().into();
        let hex: String = hash
            .iter()
            .take(8)
            .map(|b| alloc::format!("{b:02x}"))
            .collect();
        assert!(
            include_str!("../../PROTOCOL.md").contains(&alloc::format!("source-hash: {hex}")),
            "frame.rs, a room of it or limits.rs changed: bring PROTOCOL.md up to date, then \
             write there `source-hash: {hex}`"
        );
    }
}
