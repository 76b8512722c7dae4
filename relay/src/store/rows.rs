//! Keys and values of the relay's rows; the only place where their bytes are made.
//!
//! Rows are written and read by this program alone and are covered by the engine's checksums:
//! a row that does not decode is a bug of ours, and panics. This room must never be shared with
//! the wire: the two formats change on different clocks.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::mailbox::Mailbox;
use wire::{DeviceId, Head, SendId, Seq};

/// Prefix of mailbox rows.
pub(super) const MAILBOX: &[u8] = b"m";
/// Prefix of account rows.
pub(super) const ACCOUNT: &[u8] = b"a";
/// Prefix of used invitations.
pub(super) const INVITE: &[u8] = b"i";
/// Prefix of envelopes, in the key space of payloads.
const ENVELOPE: &[u8] = b"e";

/// What is known of a mailbox besides its envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRow {
    /// The account that its bytes count for: the first that appended.
    pub(super) payer: DeviceId,
    /// The last envelope ever appended.
    pub(super) last: Option<Head>,
    /// The reader holds everything through this number.
    pub(super) trimmed_through: Seq,
    /// Bytes of the envelopes that are stored.
    pub(super) bytes: u64,
    /// Their count, to notice after a rebuild that some are gone.
    pub(super) stored: u32,
}

impl MailboxRow {
    pub(super) fn new(payer: DeviceId) -> MailboxRow {
        MailboxRow {
            payer,
            last: None,
            trimmed_through: Seq::NONE,
            bytes: 0,
            stored: 0,
        }
    }

    pub(super) fn state(&self) -> Mailbox {
        Mailbox {
            last: self.last,
            trimmed_through: self.trimmed_through,
        }
    }

    /// Takes note that one envelope of so many bytes is removed.
    pub(super) fn free(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.stored = self.stored.saturating_sub(1);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> MailboxRow {
        decode(&bytes)
    }
}

/// What an account uses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccountRow {
    /// Bytes of envelopes in its mailboxes.
    pub(super) bytes: u64,
    /// Mailboxes that it fills.
    pub(super) mailboxes: u32,
    /// The day (since 1970) of its last invitation.
    pub(super) invite_day: u64,
    /// Invitations asked for on that day.
    pub(super) invites: u32,
}

impl AccountRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> AccountRow {
        decode(&bytes)
    }
}

/// A used invitation, kept until it would have expired anyway.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InviteRow {
    /// Who used it.
    pub(super) device: DeviceId,
    /// When it may be forgotten.
    pub(super) expires_unix_s: u64,
}

impl InviteRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> InviteRow {
        decode(&bytes)
    }
}

fn encode<T: Serialize>(row: &T) -> Vec<u8> {
    match postcard::to_allocvec(row) {
        Ok(bytes) => bytes,
        Err(error) => panic!("a row of ours does not encode: {error}"),
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    match postcard::from_bytes(bytes) {
        Ok(row) => row,
        Err(error) => panic!("a row that the engine vouches for does not decode: {error}"),
    }
}

pub(super) fn mailbox_key(mailbox: &SendId) -> Vec<u8> {
    [MAILBOX, mailbox.as_bytes()].concat()
}

/// The mailbox of a row's key.
pub(super) fn mailbox_of(key: &[u8]) -> SendId {
    match key
        .strip_prefix(MAILBOX)
        .and_then(|rest| rest.try_into().ok())
    {
        Some(id) => SendId(id),
        None => panic!("a mailbox row under a key of another shape"),
    }
}

pub(super) fn account_key(device: &DeviceId) -> Vec<u8> {
    [ACCOUNT, device.as_bytes()].concat()
}

pub(super) fn invite_key(nonce: &[u8; 16]) -> Vec<u8> {
    [INVITE, nonce].concat()
}

pub(super) fn envelope_prefix(mailbox: &SendId) -> Vec<u8> {
    [ENVELOPE, mailbox.as_bytes()].concat()
}

/// Big endian, so that the order of keys is the order of numbers.
pub(super) fn envelope_key(mailbox: &SendId, seq: Seq) -> Vec<u8> {
    [ENVELOPE, mailbox.as_bytes(), &seq.0.to_be_bytes()].concat()
}

/// The number in an envelope's key.
pub(super) fn envelope_seq(key: &[u8]) -> Seq {
    match key.last_chunk::<8>() {
        Some(seq) => Seq(u64::from_be_bytes(*seq)),
        None => panic!("an envelope under a key of another shape"),
    }
}
