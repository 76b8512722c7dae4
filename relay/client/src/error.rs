//! What can go wrong between a client and its relay.
//!
//! This room must never hold secrets or whole ids: errors are shown to people and logged.

use quinn::ConnectionError;
use thiserror::Error;
use wire::limits::RETRY_AFTER_SECONDS_MAX;
use wire::{ErrorCode, WireError};

/// Why something with a relay failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ClientError {
    /// The text is not an address.
    #[error("not a relay address; it looks like host:port/key")]
    BadAddress,
    /// The name has no address, or nothing answered there.
    #[error("the relay at {host}:{port} cannot be reached ({reason}); check the network")]
    Unreachable {
        /// The host asked for.
        host: String,
        /// The port asked for.
        port: u16,
        /// What the last attempt ended with.
        reason: String,
    },
    /// Something answered with another key: the address is wrong, or somebody stands between.
    #[error(
        "what answers there does not hold the relay's key: the address or the key is not right, or somebody in between poses as the relay. Nothing was sent to it; compare both with what `secluso-relay run` prints, and try another network"
    )]
    WrongRelay,
    /// The relay said no.
    #[error("{}", .code.message())]
    Refused {
        /// Its reason.
        code: ErrorCode,
    },
    /// The relay asked to be left alone for a while.
    #[error("the relay asks to come back in {retry_after_s} s")]
    GoAway {
        /// Seconds, before jitter; at most [`RETRY_AFTER_SECONDS_MAX`], see [`ClientError::go_away`].
        retry_after_s: u32,
    },
    /// The connection ended.
    #[error("the connection to the relay was lost ({reason})")]
    Lost {
        /// How.
        reason: String,
    },
    /// The relay sent something that is not the protocol.
    #[error("the relay broke the protocol: {0}")]
    Peer(#[from] WireError),
    /// The relay sent a frame that has no place there.
    #[error("the relay broke the protocol: unexpected frame {kind:#04x}")]
    Unexpected {
        /// The type byte.
        kind: u8,
    },
    /// No answer in time.
    #[error("the relay did not answer in time")]
    Timeout,
    /// The local endpoint could not be made.
    #[error("no UDP socket: {reason}")]
    Socket {
        /// What the system said.
        reason: String,
    },
    /// A mistake of the caller.
    #[error("misuse: {0}")]
    Misuse(&'static str),
}

/// What the caller must do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ErrorKind {
    /// The caller must connect again after a backoff with jitter.
    Retry,
    /// The caller must get a new invitation: trying again cannot help.
    NotAdmitted,
    /// The caller must tell a person and try again after a long pause: what answers is not the relay.
    /// No invitation helps.
    WrongRelay,
    /// The caller must close, count it, and try again with a long backoff.
    Peer,
    /// The caller must stop this connection for good: a newer one took its place.
    Replaced,
    /// The caller must fix our code or its configuration.
    Misuse,
}

impl ClientError {
    /// The relay's wish to be left alone, no longer than [`RETRY_AFTER_SECONDS_MAX`].
    #[must_use]
    pub fn go_away(retry_after_s: u32) -> ClientError {
        ClientError::GoAway {
            retry_after_s: retry_after_s.min(RETRY_AFTER_SECONDS_MAX),
        }
    }

    /// What the caller must do.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            ClientError::Unreachable { .. }
            | ClientError::GoAway { .. }
            | ClientError::Lost { .. }
            | ClientError::Timeout
            | ClientError::Socket { .. } => ErrorKind::Retry,
            ClientError::WrongRelay => ErrorKind::WrongRelay,
            ClientError::Refused { code } => match code {
                ErrorCode::Stranger
                | ErrorCode::InvitationExpired
                | ErrorCode::InvitationUsed
                | ErrorCode::InvitationInvalid
                | ErrorCode::CertificateInvalid
                | ErrorCode::Revoked => ErrorKind::NotAdmitted,
                ErrorCode::Replaced => ErrorKind::Replaced,
                ErrorCode::Protocol
                | ErrorCode::Version
                | ErrorCode::BadDigest
                | ErrorCode::UnknownSlot => ErrorKind::Peer,
                ErrorCode::Done
                | ErrorCode::TooManyMailboxes
                | ErrorCode::InviteRefused
                | ErrorCode::MailboxLost
                | ErrorCode::StorageRestarting
                | ErrorCode::ShuttingDown
                | ErrorCode::Timeout
                | ErrorCode::Busy
                | ErrorCode::NotReading
                | ErrorCode::Stale
                | ErrorCode::NotWatched => ErrorKind::Retry,
            },
            ClientError::Peer(_) | ClientError::Unexpected { .. } => ErrorKind::Peer,
            ClientError::BadAddress | ClientError::Misuse(_) => ErrorKind::Misuse,
        }
    }

    /// What a code in a QUIC close or reset means; unknown ones are a broken protocol.
    pub(crate) fn from_code(code: u64) -> ClientError {
        let code = u16::try_from(code)
            .ok()
            .and_then(ErrorCode::from_u16)
            .unwrap_or(ErrorCode::Protocol);
        ClientError::Refused { code }
    }
}

impl From<ConnectionError> for ClientError {
    fn from(error: ConnectionError) -> ClientError {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                ClientError::from_code(close.error_code.into_inner())
            }
            other => ClientError::Lost {
                reason: other.to_string(),
            },
        }
    }
}
