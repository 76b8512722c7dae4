//! The type bytes. Even is critical, odd may be ignored by who does not know it.
//!
//! FORMAT: frozen since v1. What a change needs stands in `frame.rs`.

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
