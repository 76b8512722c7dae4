//! Every bound of the protocol, by name.
//!
//! Both ends compile these in; a peer that passes one has broken the protocol. This room must
//! never hold a policy of one relay (its quotas, its rates): those are configuration.

/// The largest envelope: a 64 KiB chunk, its MLS frame, its wrap and its padding.
pub const ENVELOPE_BYTES_MAX: usize = 80 * 1024;

/// An envelope up to this size is small: it may use the reserved slice of a quota, so that
/// Commits, acks and notices still pass when video has filled the rest.
pub const SMALL_ENVELOPE_BYTES_MAX: usize = 16 * 1024;

/// Type (1 byte) and length of the body (3 bytes, big endian).
pub const FRAME_HEADER_BYTES: usize = 4;

/// What stands before the envelope in an `APPEND` body: seq, after, digest.
pub const APPEND_PREFIX_BYTES: usize = 8 + 8 + 32;

/// What stands before the envelope in a `DELIVER` body: seq.
pub const DELIVER_PREFIX_BYTES: usize = 8;

/// What stands before the envelope in a `STORED` body: slot, seq, presence.
pub const STORED_PREFIX_BYTES: usize = 4 + 8 + 1;

/// The longest body of any frame.
pub const BODY_BYTES_MAX: usize = APPEND_PREFIX_BYTES + ENVELOPE_BYTES_MAX;

/// The longest frame, header included.
pub const FRAME_BYTES_MAX: usize = FRAME_HEADER_BYTES + BODY_BYTES_MAX;

/// The longest body of a frame that a client may send on the control stream. A stranger can
/// make a relay hold this much and no more.
pub const CONTROL_BODY_BYTES_MAX: usize = 1024;

/// The longest invitation or certificate in bytes.
pub const CREDENTIAL_BYTES_MAX: usize = 256;

/// Mailboxes that one connection may have attached at a time.
pub const SLOTS_PER_CONNECTION_MAX: usize = 256;

/// Mailboxes that one account may fill: five channels, two directions, eight phones, and room.
pub const MAILBOXES_PER_ACCOUNT_MAX: u32 = 256;

/// Bytes of envelopes that a sender has under way in one mailbox without a receipt.
pub const WINDOW_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Envelopes that a sender has under way in one mailbox without a receipt.
pub const WINDOW_ENVELOPES_MAX: usize = 1024;

/// Live pieces that wait for one reader of one group before the rest of that group is given up for it.
pub const LIVE_PIECES_WAITING_MAX: usize = 64;

/// Bytes of live pieces that wait for one reader, all groups together: two megabytes.
pub const LIVE_BYTES_WAITING_MAX: usize = 2 * 1024 * 1024;

/// Live groups of one mailbox that are under way to one reader: when another begins, the oldest is given up.
pub const LIVE_GROUPS_MAX: usize = 2;

/// Readers that may watch one mailbox.
pub const LIVE_WATCHERS_MAX: usize = 4;

/// Milliseconds after which a live piece that could not be written is stale, and its group with it.
pub const LIVE_STALE_MS: u64 = 1_000;

/// The longest life of an invitation in seconds: thirty days.
pub const INVITATION_TTL_SECONDS_MAX: u32 = 30 * 24 * 3600;

/// Invitations that one account may ask for in one day.
pub const INVITATIONS_PER_DAY_MAX: u32 = 64;

/// Invitations that a hub may ask for or take back in a day before the next `REVOKE` that changes anything has
/// no answer until tomorrow: who has used up the former can still take them back.
pub const REVOCATIONS_PER_DAY_MAX: u32 = 4 * INVITATIONS_PER_DAY_MAX;

/// Mailboxes that one `REVOKE` may name: those of a pairing, of both directions, with room to spare.
pub const REVOKE_MAILBOXES_MAX: usize = 16;

/// Seconds that a client waits at most because a relay asks it to (GOAWAY, OVER_QUOTA): ten minutes.
/// A longer wish is a lie or a mistake, and would silence the client for up to 136 years.
pub const RETRY_AFTER_SECONDS_MAX: u32 = 600;

/// The version of the protocol that this crate speaks.
pub const PROTOCOL_VERSION: u8 = 1;

/// The TLS application protocol of a relay connection over QUIC.
pub const ALPN: &[u8] = b"secluso-relay/1";

// The relations between the numbers, checked when the crate is built.
const _: () = {
    assert!(SMALL_ENVELOPE_BYTES_MAX < ENVELOPE_BYTES_MAX);
    assert!(
        BODY_BYTES_MAX < 1 << 24,
        "a body length must fit three bytes"
    );
    assert!(STORED_PREFIX_BYTES <= APPEND_PREFIX_BYTES);
    assert!(DELIVER_PREFIX_BYTES <= APPEND_PREFIX_BYTES);
    assert!(CREDENTIAL_BYTES_MAX < CONTROL_BODY_BYTES_MAX);
    assert!(
        4 + 49 + 1 + 24 * REVOKE_MAILBOXES_MAX <= CONTROL_BODY_BYTES_MAX,
        "a REVOKE is a control frame"
    );
    assert!(
        WINDOW_BYTES_MAX as usize >= 2 * ENVELOPE_BYTES_MAX,
        "a window of one envelope would send in lock step"
    );
    assert!(
        LIVE_BYTES_WAITING_MAX >= 2 * ENVELOPE_BYTES_MAX,
        "a live piece fits what may wait for a reader"
    );
};
