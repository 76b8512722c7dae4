//! From an address to an admitted connection.
//!
//! This room must never retry: how long to wait before the next attempt is the caller's.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;
use wire::frame::Frame;
use wire::limits::{
    ALPN, BODY_BYTES_MAX, CREDENTIAL_BYTES_MAX, PROTOCOL_VERSION, SLOTS_PER_CONNECTION_MAX,
};
use wire::{Certificate, DeviceId, ErrorCode, Invitation};

use crate::address::RelayAddress;
use crate::connection::Connection;
use crate::error::ClientError;
use crate::framed::{FrameReadError, FrameReader};
use crate::identity::{Ed25519Verify, Identity};
use crate::rpk::{self, EndpointLimits, RpkError};

/// How many addresses of one name are tried.
const ADDRESSES_MAX: usize = 8;

/// How a device shows that the relay knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// By what an earlier [`connect`] returned.
    Certificate(Certificate),
    /// By an invitation, the first time. Repeating it with the same identity is safe: the
    /// relay answers again.
    Invitation(Invitation),
}

/// A relay that was restarted answers the next packet of an old connection with a reset; so this
/// is how long an idle client may not know that it must connect again.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a client waits for a relay that says nothing at all.
const IDLE: Duration = Duration::from_secs(20);

/// Times and windows of a connection.
#[derive(Clone, Debug)]
pub struct Config {
    /// QUIC limits; [`Config::default`] says which.
    pub limits: EndpointLimits,
    /// How long one address may take to complete a handshake.
    pub connect_timeout: Duration,
    /// How long the relay may take to answer a question, and whoever knows names to name the relay's addresses: a resolver
    /// whose first server is dead asks the next one after seconds.
    pub answer_timeout: Duration,
}

impl Default for Config {
    /// For mains power, and for a phone whose owner looks at it: keep-alive 5 s, idle 20 s; at
    /// most 4 MiB on the way to us.
    fn default() -> Config {
        Config {
            limits: EndpointLimits {
                idle: IDLE,
                keep_alive: Some(KEEP_ALIVE),
                peer_bidi_streams: 0,
                peer_uni_streams: SLOTS_PER_CONNECTION_MAX as u32,
                stream_window_bytes: 1024 * 1024,
                connection_window_bytes: 4 * 1024 * 1024,
                ..EndpointLimits::default()
            },
            connect_timeout: Duration::from_secs(10),
            answer_timeout: Duration::from_secs(15),
        }
    }
}

/// Connects and is admitted. Returns the certificate to present next time; store it before the
/// invitation is thrown away.
///
/// Dropping the future closes what was begun.
///
/// # Errors
/// [`ClientError`]; its `kind()` says whether trying again can help.
pub async fn connect(
    address: &RelayAddress,
    identity: &Identity,
    admission: Admission,
    config: Config,
) -> Result<(Connection, Certificate), ClientError> {
    let (endpoint, quinn) = reach(address, identity, &config).await?;
    let admitted = timeout(
        config.answer_timeout,
        admit(&quinn, address, identity.device_id(), &admission),
    )
    .await
    .unwrap_or(Err(ClientError::Timeout));
    match admitted {
        Ok((control_send, control_receive, certificate)) => {
            let connection =
                Connection::start(endpoint, quinn, control_send, control_receive, config);
            Ok((connection, certificate))
        }
        Err(error) => {
            // The relay's close says more than the stream that broke because of it.
            let error = match (quinn.close_reason(), error) {
                (Some(reason), ClientError::Lost { .. }) => ClientError::from(reason),
                (_, error) => error,
            };
            quinn.close(u32::from(ErrorCode::Done.to_u16()).into(), b"");
            Err(error)
        }
    }
}

/// A handshake with the first address that answers.
async fn reach(
    address: &RelayAddress,
    identity: &Identity,
    config: &Config,
) -> Result<(quinn::Endpoint, quinn::Connection), ClientError> {
    let unreachable = |reason: String| ClientError::Unreachable {
        host: address.host.clone(),
        port: address.port,
        reason,
    };
    let looking = tokio::net::lookup_host((address.host.as_str(), address.port));
    let resolved: Vec<SocketAddr> = timeout(config.answer_timeout, looking)
        .await
        .map_err(|_elapsed| unreachable("no answer about its name".to_owned()))?
        .map_err(|error| unreachable(error.to_string()))?
        .take(ADDRESSES_MAX)
        .collect();
    let pinned = DeviceId(address.relay_id.0);
    let mut last = unreachable("the name has no address".to_owned());
    for addr in resolved {
        let attempt = rpk::client_connect(addr, identity, pinned, ALPN, &config.limits);
        match timeout(config.connect_timeout, attempt).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(RpkError::WrongKey)) => return Err(ClientError::WrongRelay),
            Ok(Err(RpkError::Socket { reason, .. })) => {
                last = ClientError::Socket { reason };
            }
            Ok(Err(RpkError::Connection(error @ quinn::ConnectionError::ApplicationClosed(_)))) => {
                last = ClientError::from(error);
            }
            Ok(Err(error)) => last = unreachable(error.to_string()),
            Err(_elapsed) => last = unreachable("no answer".to_owned()),
        }
    }
    Err(last)
}

/// Says hello and who we are, in one flight; reads both answers.
async fn admit(
    quinn: &quinn::Connection,
    address: &RelayAddress,
    device: DeviceId,
    admission: &Admission,
) -> Result<(quinn::SendStream, FrameReader, Certificate), ClientError> {
    let (mut send, receive) = quinn.open_bi().await?;
    let mut flight = Frame::Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
    }
    .to_bytes();
    match admission {
        Admission::Certificate(certificate) => {
            Frame::Certificate(certificate.clone()).encode(&mut flight);
        }
        Admission::Invitation(invitation) => Frame::Redeem(invitation.clone()).encode(&mut flight),
    }
    // A write fails only together with the stream, and reading tells why.
    if let Err(error) = send.write_all(&flight).await {
        tracing::debug!(%error, "the relay closed before it was told who we are");
    }
    let mut control = FrameReader::new(receive, CREDENTIAL_BYTES_MAX);
    let hello = next_frame(&mut control).await?;
    match Frame::parse(hello.kind, &hello.body)? {
        Frame::Hello { .. } => {}
        Frame::Error { code, .. } => return Err(ClientError::from_code(u64::from(code))),
        other => return Err(ClientError::Unexpected { kind: other.kind() }),
    }
    let answer = next_frame(&mut control).await?;
    match Frame::parse(answer.kind, &answer.body)? {
        Frame::Admitted(certificate) => {
            certificate.verify(&Ed25519Verify)?;
            if certificate.relay != address.relay_id || certificate.device != device {
                return Err(ClientError::Unexpected {
                    kind: wire::frame::kind::ADMITTED,
                });
            }
            control.set_body_bytes_max(BODY_BYTES_MAX);
            Ok((send, control, certificate))
        }
        Frame::Error { code, .. } => Err(ClientError::from_code(u64::from(code))),
        Frame::GoAway { retry_after_s } => Err(ClientError::go_away(retry_after_s)),
        other => Err(ClientError::Unexpected { kind: other.kind() }),
    }
}

async fn next_frame(control: &mut FrameReader) -> Result<crate::framed::RawFrame, ClientError> {
    match control.next().await {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) => Err(ClientError::Lost {
            reason: "the relay ended the control stream".to_owned(),
        }),
        Err(error) => Err(read_error(error)),
    }
}

/// A broken stream as an error of the connection.
pub(crate) fn read_error(error: FrameReadError) -> ClientError {
    match error {
        FrameReadError::Wire(error) => ClientError::Peer(error),
        FrameReadError::Stream(quinn::ReadError::Reset(code)) => {
            ClientError::from_code(code.into_inner())
        }
        FrameReadError::Stream(quinn::ReadError::ConnectionLost(error)) => error.into(),
        FrameReadError::Stream(error) => ClientError::Lost {
            reason: error.to_string(),
        },
    }
}
