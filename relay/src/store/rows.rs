//! Keys and values of the relay's rows; the only place where their bytes are made.
//!
//! Rows are written and read by this program alone and are covered by the engine's checksums:
//! a row that does not decode is a bug of ours, and panics. This room must never be shared with
//! the wire: the two formats change on different clocks.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use wire::mailbox::Mailbox;
use wire::{Class, DeviceId, Head, SendId, Seq};

use super::quota::envelope_disk_bytes;

/// Prefix of mailbox rows.
pub(super) const MAILBOX: &[u8] = b"m";
/// Prefix of account rows.
pub(super) const ACCOUNT: &[u8] = b"a";
/// Prefix of used invitations.
pub(super) const INVITE: &[u8] = b"i";
/// Prefix of phones and the invitations that admit them.
pub(super) const GUEST: &[u8] = b"g";
/// Prefix of mailboxes that are being emptied because they were damaged.
pub(super) const LOST: &[u8] = b"l";
/// Prefix of envelopes, in the key space of payloads.
pub(super) const ENVELOPE: &[u8] = b"e";

/// What some envelopes amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Charge {
    /// How many they are.
    pub(super) envelopes: u64,
    /// Their bytes, as they came.
    pub(super) bytes: u64,
    /// What quotas count for them.
    pub(super) disk_bytes: u64,
}

impl Charge {
    /// Counts one envelope of so many bytes more.
    pub(super) fn add(&mut self, envelope_bytes: u64) {
        self.envelopes += 1;
        self.bytes += envelope_bytes;
        self.disk_bytes += envelope_disk_bytes(envelope_bytes);
    }

    /// Takes away what was counted before.
    pub(super) fn sub(&mut self, gone: Charge) {
        self.envelopes = self.envelopes.saturating_sub(gone.envelopes);
        self.bytes = self.bytes.saturating_sub(gone.bytes);
        self.disk_bytes = self.disk_bytes.saturating_sub(gone.disk_bytes);
    }

    /// Counts others with these.
    pub(super) fn merge(&mut self, more: Charge) {
        self.envelopes += more.envelopes;
        self.bytes += more.bytes;
        self.disk_bytes += more.disk_bytes;
    }
}

/// What is known of a mailbox besides its envelopes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MailboxRow {
    /// The account that its bytes count for: the first that appended.
    pub(super) payer: DeviceId,
    /// The last envelope ever appended.
    pub(super) last: Option<Head>,
    /// The reader holds everything through this number.
    pub(super) trimmed_through: Seq,
    /// The envelopes that are stored; their count shows after a rebuild that some are gone.
    pub(super) held: Charge,
}

impl MailboxRow {
    pub(super) fn new(payer: DeviceId) -> MailboxRow {
        MailboxRow {
            payer,
            last: None,
            trimmed_through: Seq::NONE,
            held: Charge::default(),
        }
    }

    pub(super) fn state(&self) -> Mailbox {
        Mailbox {
            last: self.last,
            trimmed_through: self.trimmed_through,
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> MailboxRow {
        decode(&bytes)
    }
}

/// What an account uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccountRow {
    /// The byte of the class that it was last admitted as; it decides about the quota.
    class: u8,
    /// The envelopes in its mailboxes.
    pub(super) held: Charge,
    /// Mailboxes that it fills.
    pub(super) mailboxes: u32,
    /// The day (since 1970) of its last invitation.
    pub(super) invite_day: u64,
    /// Invitations asked for and taken back on that day.
    pub(super) invites: u32,
}

impl AccountRow {
    pub(super) fn new(class: Class) -> AccountRow {
        AccountRow {
            class: class.to_u8(),
            held: Charge::default(),
            mailboxes: 0,
            invite_day: 0,
            invites: 0,
        }
    }

    pub(super) fn class(&self) -> Class {
        match Class::from_u8(self.class) {
            Ok(class) => class,
            Err(error) => panic!("an account of ours has no class: {error}"),
        }
    }

    pub(super) fn set_class(&mut self, class: Class) {
        self.class = class.to_u8();
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> AccountRow {
        decode(&bytes)
    }
}

/// A used invitation, kept until it would have expired anyway, and for as long as it admits its user as a phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InviteRow {
    /// Who used it.
    pub(super) device: DeviceId,
    /// Before this it is not forgotten.
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

/// By what a phone is admitted: nonces of invitations that it redeemed and that nobody has taken back, the
/// latest last. Without one it is shut out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct GuestRow {
    pub(super) admitted_by: Vec<[u8; 16]>,
}

impl GuestRow {
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    pub(super) fn decode(bytes: Vec<u8>) -> GuestRow {
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

/// The mailbox of a row's key under one of the prefixes above.
pub(super) fn mailbox_of(key: &[u8], prefix: &[u8]) -> SendId {
    match key
        .strip_prefix(prefix)
        .and_then(|rest| rest.try_into().ok())
    {
        Some(id) => SendId(id),
        None => panic!("a mailbox row under a key of another shape"),
    }
}

/// The mailbox of an envelope's key.
pub(super) fn mailbox_of_envelope(key: &[u8]) -> SendId {
    let mailbox = key.len().checked_sub(8).and_then(|end| key.get(..end));
    mailbox_of(mailbox.unwrap_or(key), ENVELOPE)
}

/// The first key behind this one.
pub(super) fn after(key: &[u8]) -> Vec<u8> {
    [key, &[0]].concat()
}

pub(super) fn lost_key(mailbox: &SendId) -> Vec<u8> {
    [LOST, mailbox.as_bytes()].concat()
}

pub(super) fn account_key(device: &DeviceId) -> Vec<u8> {
    [ACCOUNT, device.as_bytes()].concat()
}

pub(super) fn guest_key(device: &DeviceId) -> Vec<u8> {
    [GUEST, device.as_bytes()].concat()
}

pub(super) fn invite_key(nonce: &[u8; 16]) -> Vec<u8> {
    [INVITE, nonce].concat()
}

/// The nonce in the key of a used invitation.
pub(super) fn nonce_of(key: &[u8]) -> [u8; 16] {
    match key
        .strip_prefix(INVITE)
        .and_then(|rest| rest.try_into().ok())
    {
        Some(nonce) => nonce,
        None => panic!("a used invitation under a key of another shape"),
    }
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
