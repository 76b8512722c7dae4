//! What can be wrong with bytes from outside, and the codes with which a relay says no.
//!
//! Errors carry facts, not sentences to parse. This room must never contain an error that is
//! our own mistake: a broken invariant of ours panics instead.

use core::fmt;

/// Bytes that are not a frame, an id or a credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WireError {
    /// The bytes end too early.
    Truncated {
        /// What was being read.
        what: &'static str,
    },
    /// Bytes are left over behind the last field.
    TrailingBytes {
        /// The type byte of the frame.
        kind: u8,
    },
    /// A length above its limit.
    TooLong {
        /// What was being read.
        what: &'static str,
        /// The length that was announced, in bytes.
        found: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A field with a value that it cannot have.
    BadValue {
        /// The field.
        what: &'static str,
        /// The value found.
        found: u64,
    },
    /// An even frame type that this version does not know: it must not be ignored.
    UnknownCriticalFrame {
        /// The type byte.
        kind: u8,
    },
    /// A text form that cannot be parsed.
    BadText {
        /// What it should have been.
        what: &'static str,
    },
    /// A signature that does not fit.
    BadSignature {
        /// The credential that carries it.
        what: &'static str,
    },
}

/// What the caller must do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The caller must close the connection, count it, and carry on.
    Peer,
    /// The caller must update one of the two ends: they do not speak the same version.
    Unsupported,
}

impl WireError {
    /// What the caller must do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            WireError::UnknownCriticalFrame { .. } => ErrorKind::Unsupported,
            _ => ErrorKind::Peer,
        }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Truncated { what } => write!(f, "the bytes end inside {what}"),
            WireError::TrailingBytes { kind } => {
                write!(f, "bytes are left over in a frame of type {kind:#04x}")
            }
            WireError::TooLong { what, found, limit } => {
                write!(f, "{what} has {found} bytes, the limit is {limit}")
            }
            WireError::BadValue { what, found } => write!(f, "{what} cannot be {found}"),
            WireError::UnknownCriticalFrame { kind } => {
                write!(
                    f,
                    "frame type {kind:#04x} is not known here and may not be ignored"
                )
            }
            WireError::BadText { what } => write!(f, "this is not the text of a {what}"),
            WireError::BadSignature { what } => write!(f, "the signature of the {what} is wrong"),
        }
    }
}

impl core::error::Error for WireError {}

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why a relay refuses, in an `ERROR` frame or as the code of a QUIC close.
        ///
        /// Codes are frozen; new ones are added at the end, and a client treats one that it
        /// does not know like [`ErrorCode::Protocol`].
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $code,)*
        }

        impl ErrorCode {
            /// All codes, for tables and tests.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The code behind a number, if it is known here.
            #[must_use]
            pub fn from_u16(code: u16) -> Option<ErrorCode> {
                match code {
                    $($code => Some(ErrorCode::$name),)*
                    _ => None,
                }
            }

            /// The number on the wire.
            #[must_use]
            pub fn to_u16(self) -> u16 {
                self as u16
            }

            /// One sentence for a person, with the way out.
            #[must_use]
            pub fn message(self) -> &'static str {
                match self {
                    $(ErrorCode::$name => $text,)*
                }
            }
        }
    };
}

error_codes! {
    /// The connection was closed because it was done.
    Done = 0, "the connection is finished";
    /// A frame that the protocol does not allow here.
    Protocol = 1, "the other side broke the protocol; update both ends";
    /// No common protocol version.
    Version = 2, "no common protocol version; update the older end";
    /// Neither an invitation nor a certificate.
    Stranger = 3, "the relay does not know this device; ask its operator for an invitation";
    /// The invitation is past its expiry.
    InvitationExpired = 4, "the invitation has expired; ask for a new one";
    /// The invitation was redeemed by another device.
    InvitationUsed = 5, "the invitation was already used by another device; ask for a new one";
    /// The invitation was not signed by this relay.
    InvitationInvalid = 6, "the invitation is not one of this relay; check that it was copied whole";
    /// The certificate was not signed by this relay for this device.
    CertificateInvalid = 7, "the admission certificate is not valid here; redeem a new invitation";
    /// The operator, or the hub that invited this device, has revoked it.
    Revoked = 8, "this device was removed: by its camera's owner, or by the relay's operator; pair again with a new code";
    /// A newer connection of the same device took over.
    Replaced = 9, "a newer connection of the same device took over";
    /// More attached mailboxes, or more mailboxes in the account, than allowed.
    TooManyMailboxes = 10, "too many mailboxes for one device";
    /// More invitations asked for than allowed, or this class may not invite.
    InviteRefused = 11, "this device may not ask for another invitation now";
    /// The relay lost this mailbox; attach again and send what is un-acked.
    MailboxLost = 12, "the relay lost this mailbox; attach again";
    /// The store of the relay restarts.
    StorageRestarting = 13, "the relay restarts its storage; try again";
    /// The relay shuts down.
    ShuttingDown = 14, "the relay is shutting down; try again";
    /// The client took too long to say who it is.
    Timeout = 15, "the other side took too long";
    /// The bytes of an `APPEND` do not have its digest.
    BadDigest = 16, "an envelope arrived with the wrong digest";
    /// Too many connections.
    Busy = 17, "the relay is busy; try again later";
    /// A slot that is not attached, or attached the other way round.
    UnknownSlot = 18, "a frame names a mailbox that is not attached";
    /// The client left answers unread for too long.
    NotReading = 19, "this device did not read the relay's answers; connect again";
    /// The rest of a live group came too late: the next group begins anew.
    Stale = 20, "this part of a live picture came too late";
    /// Nobody watches the live groups of this mailbox now.
    NotWatched = 21, "nobody watches now";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_from_its_number() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            assert_eq!(usize::from(code.to_u16()), index);
            assert_eq!(ErrorCode::from_u16(code.to_u16()), Some(*code));
            assert!(!code.message().is_empty());
        }
        assert_eq!(ErrorCode::from_u16(u16::MAX), None);
    }
}
