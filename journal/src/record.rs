//! What is stored about a pairing: mailboxes, wrapping keys, who the other side is.
//!
//! One secret row in the pairing's scope. This room decides nothing.

use openmls_traits::types::Ciphersuite;
use serde::{Deserialize, Serialize};
use wire::ids::{DeviceId, ReceiveId, SendId};

use crate::error::JournalError;
use crate::ids::{Channel, Line, PairingId};
use crate::journal::Journal;
use crate::keys::Family;
use crate::scope::Scope;
use crate::sealed::Key;
use crate::txn::Txn;

/// How far a pairing has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PairingState {
    /// The groups exist here; proof from the other side is still missing.
    Joined,
    /// Both sides have proved that they hold the same groups.
    Confirmed,
}

/// The key exchange and cipher of a pairing's groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, Default)]
pub enum Suite {
    /// X-Wing (X25519 + ML-KEM-768) with ChaCha20-Poly1305, SHA-256, Ed25519: the default.
    #[default]
    XWing,
    /// X25519 with ChaCha20-Poly1305, SHA-256, Ed25519.
    Classic,
}

impl Suite {
    /// The registered MLS ciphersuite.
    pub fn ciphersuite(self) -> Ciphersuite {
        match self {
            Self::XWing => Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519,
            Self::Classic => Ciphersuite::MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519,
        }
    }

    /// Bytes of a public encryption key as MLS writes it: a length of one or two bytes (RFC 9420, section
    /// 2.1.2), then X25519's 32, or with X-Wing ML-KEM-768's 1184 before them.
    pub(crate) fn encryption_key_len(self) -> usize {
        match self {
            Self::XWing => 2 + 1184 + 32,
            Self::Classic => 1 + 32,
        }
    }
}

/// One channel's mailboxes.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LineRecord {
    pub(crate) channel: Channel,
    pub(crate) group_id: Vec<u8>,
    /// Where we append.
    pub(crate) send: SendId,
    /// Where we read.
    pub(crate) receive: ReceiveId,
}

/// A pairing as stored.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PairingRecord {
    pub(crate) state: PairingState,
    pub(crate) suite: Suite,
    /// Our own MLS signature key, public part.
    pub(crate) own_signature_key: Vec<u8>,
    /// The other side's.
    pub(crate) peer_signature_key: Vec<u8>,
    /// The other side's account at the relay.
    pub(crate) peer_device: DeviceId,
    /// Wraps what we send.
    pub(crate) send_key: Key,
    /// Opens what we receive.
    pub(crate) receive_key: Key,
    /// Ours alone.
    pub(crate) tag_key: Key,
    pub(crate) lines: Vec<LineRecord>,
    /// The relay both sides use, as text.
    pub(crate) relay: String,
    /// Seconds since 1970, by our clock.
    pub(crate) paired_unix_s: u64,
}

impl PairingRecord {
    pub(crate) fn line(&self, channel: Channel) -> Option<&LineRecord> {
        self.lines.iter().find(|line| line.channel == channel)
    }

    pub(crate) fn put(&self, txn: &mut Txn<'_>, id: PairingId) -> Result<(), JournalError> {
        txn.put_secret_row(Scope::Pairing(id), Family::Pairing, &[], self)
    }
}

/// What the outside may know of a pairing.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// Which.
    pub id: PairingId,
    /// How far it has come.
    pub state: PairingState,
    /// Its suite.
    pub suite: Suite,
    /// The other side's account at the relay.
    pub peer_device: DeviceId,
    /// The relay, as text.
    pub relay: String,
    /// When it was made, seconds since 1970 by our clock.
    pub paired_unix_s: u64,
}

/// Where a line's envelopes go and come from.
#[derive(Clone, Copy, Debug)]
pub struct Mailboxes {
    /// Where we append.
    pub send: SendId,
    /// Where we read.
    pub receive: ReceiveId,
}

impl Journal {
    /// What is known of a pairing.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Corrupt`] if its row does not open.
    pub fn pairing(&self, id: PairingId) -> Result<Option<Pairing>, JournalError> {
        let record: Option<PairingRecord> =
            self.secret_row(Scope::Pairing(id), Family::Pairing, &[])?;
        Ok(record.map(|record| Pairing {
            id,
            state: record.state,
            suite: record.suite,
            peer_device: record.peer_device,
            relay: record.relay,
            paired_unix_s: record.paired_unix_s,
        }))
    }

    /// The mailboxes of a line.
    ///
    /// # Errors
    /// [`JournalError::NoGroup`] if there is no such line.
    pub fn mailboxes(&self, line: Line) -> Result<Mailboxes, JournalError> {
        let record: Option<PairingRecord> =
            self.secret_row(Scope::Pairing(line.pairing), Family::Pairing, &[])?;
        let found = record.as_ref().and_then(|record| record.line(line.channel));
        let mailboxes = found.map(|found| Mailboxes {
            send: found.send,
            receive: found.receive,
        });
        mailboxes.ok_or(JournalError::NoGroup(line))
    }
}

impl Txn<'_> {
    pub(crate) fn pairing_record(&self, line: Line) -> Result<PairingRecord, JournalError> {
        self.secret_row(Scope::Pairing(line.pairing), Family::Pairing, &[])?
            .ok_or(JournalError::NoGroup(line))
    }
}
