//! What accounts may use, and what an envelope costs them.
//!
//! Quotas count disk, not ciphertext: the whole sectors of the record group that stores an
//! envelope. This room must never charge less than the log really grows by; `relay/PROTOCOL.md`
//! tells operators the rule.

use wal::SECTOR_BYTES;
use wire::Class;
use wire::limits::MAILBOXES_PER_ACCOUNT_MAX;

/// The most that a record group of one append holds besides its envelope: its header, the rows
/// of mailbox and account, the descriptor of the envelope, and the end of the one it replaces.
const APPEND_RECORDS_BYTES_MAX: u64 = 512;

/// What an envelope of so many bytes costs on disk: the sectors of the group that stores it.
#[must_use]
pub fn envelope_disk_bytes(envelope_bytes: u64) -> u64 {
    (envelope_bytes + APPEND_RECORDS_BYTES_MAX).next_multiple_of(SECTOR_BYTES)
}

/// What one account may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of disk, as [`envelope_disk_bytes`] counts them.
    pub account_bytes: u64,
    /// The part of `account_bytes` that only small envelopes may use.
    pub reserved_bytes: u64,
    /// Mailboxes that it fills.
    pub mailboxes: u32,
}

/// The quotas of one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// For an account that was admitted as a hub: it sends video.
    pub hub: Quota,
    /// For a phone: acks, heartbeats and commands, all of them small.
    pub phone: Quota,
}

impl Quotas {
    /// The quota of an account of this class.
    #[must_use]
    pub fn of(&self, class: Class) -> &Quota {
        match class {
            Class::Hub => &self.hub,
            Class::Phone => &self.phone,
        }
    }
}

impl Default for Quotas {
    fn default() -> Quotas {
        Quotas {
            hub: Quota {
                account_bytes: 2 << 30,
                reserved_bytes: 16 << 20,
                mailboxes: MAILBOXES_PER_ACCOUNT_MAX,
            },
            phone: Quota {
                account_bytes: 64 << 20,
                reserved_bytes: 8 << 20,
                mailboxes: 64,
            },
        }
    }
}
