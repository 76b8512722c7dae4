//! QUIC endpoints whose ends prove raw Ed25519 public keys to each other (RFC 7250).
//!
//! TLS 1.3 only, X25519MLKEM768 preferred, no resumption and no early data. Reusable with any
//! application protocol: the relay's, and the direct one between hub and app for pairing. This
//! room must never accept a key that was not asked for, unless its caller asked for anybody's, and never
//! parse an X.509 certificate.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{
    ClientConfig, Connection, Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;
use wire::DeviceId;
use zeroize::Zeroizing;

use crate::identity::Identity;

mod reset;
mod verify;

pub use verify::judge;

use verify::{AnyClient, PinnedServer};

/// DER of a SubjectPublicKeyInfo for Ed25519, in front of the 32 bytes of the key (RFC 8410
/// section 4).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
/// DER of a PKCS #8 private key for Ed25519, in front of the seed (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Linux clamps this to `net.core.{r,w}mem_max`; asking for more than it gives is no error.
/// Measured: 4 MiB take the losses of a loopback bulk transfer from thousands to none.
const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// TLS wants a name; the peer is known by its key, and the name is not sent.
const SERVER_NAME: &str = "secluso";

/// Why an endpoint or a connection could not be made.
#[derive(Clone, Debug, Error)]
pub enum RpkError {
    /// No socket.
    #[error("no UDP socket on {bind}: {reason}")]
    Socket {
        /// The address asked for.
        bind: SocketAddr,
        /// What the system said.
        reason: String,
        /// The kind of its error.
        kind: std::io::ErrorKind,
    },
    /// The TLS library refused our own configuration.
    #[error("TLS configuration: {0}")]
    Tls(String),
    /// The peer has another key than the pinned one.
    #[error("the peer does not have the pinned key")]
    WrongKey,
    /// The handshake failed.
    #[error("no connection: {0}")]
    Connection(#[from] quinn::ConnectionError),
}

/// Bytes of ours that may wait for acknowledgement, at most: a fast line far away.
pub(crate) const SEND_WINDOW_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// What one end of a connection allows the other, and how long it waits.
#[derive(Clone, Debug)]
pub struct EndpointLimits {
    /// A silent connection ends after this time.
    pub idle: Duration,
    /// A packet is sent after this much silence; none: never.
    pub keep_alive: Option<Duration>,
    /// Bidirectional streams that the peer may have open.
    pub peer_bidi_streams: u32,
    /// Unidirectional streams that the peer may have open.
    pub peer_uni_streams: u32,
    /// Bytes that the peer may have under way on one stream.
    pub stream_window_bytes: u32,
    /// Bytes that the peer may have under way on all streams together.
    pub connection_window_bytes: u32,
    /// Bytes of ours that may wait for acknowledgement.
    pub send_window_bytes: u64,
    /// Handshakes under way at a server.
    pub incoming_max: usize,
    /// Bytes buffered for each and for all of them.
    pub incoming_buffer_bytes: (u64, u64),
}

impl Default for EndpointLimits {
    /// Small limits that suit a stranger: 4 streams, 64 KiB each, 256 KiB together.
    fn default() -> EndpointLimits {
        EndpointLimits {
            idle: Duration::from_secs(60),
            keep_alive: Some(Duration::from_secs(20)),
            peer_bidi_streams: 4,
            peer_uni_streams: 4,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 256 * 1024,
            send_window_bytes: SEND_WINDOW_BYTES_MAX,
            incoming_max: 2048,
            incoming_buffer_bytes: (64 * 1024, 8 * 1024 * 1024),
        }
    }
}

impl EndpointLimits {
    fn transport(&self) -> Arc<TransportConfig> {
        let mut transport = TransportConfig::default();
        let idle = u32::try_from(self.idle.as_millis()).unwrap_or(u32::MAX);
        transport
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle))))
            .keep_alive_interval(self.keep_alive)
            .max_concurrent_bidi_streams(VarInt::from_u32(self.peer_bidi_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(self.peer_uni_streams))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::from_u32(self.connection_window_bytes))
            .send_window(self.send_window_bytes)
            // Nothing here uses datagrams; a peer that sends some must not fill a buffer.
            .datagram_receive_buffer_size(None);
        Arc::new(transport)
    }
}

/// A server on `bind` (port 0: any free one) that proves `identity` and lets in every client
/// that proves some Ed25519 key. Who it is says [`peer_id`]; what it may do says the caller.
///
/// # Errors
/// [`RpkError::Socket`] when the address cannot be bound, [`RpkError::Tls`].
pub fn server_endpoint(
    bind: SocketAddr,
    identity: &Identity,
    alpn: &[u8],
    limits: &EndpointLimits,
) -> Result<Endpoint, RpkError> {
    let tls = server_tls(identity, alpn)?;
    let tls = QuicServerConfig::try_from(tls).map_err(|error| RpkError::Tls(error.to_string()))?;
    let mut config = ServerConfig::with_crypto(Arc::new(tls));
    config.transport_config(limits.transport());
    config.max_incoming(limits.incoming_max);
    let (each, all) = limits.incoming_buffer_bytes;
    config.incoming_buffer_size(each);
    config.incoming_buffer_size_total(all);
    endpoint(bind, reset::endpoint_config(identity), Some(config))
}

/// Connects to `addr` and insists on the key `pinned`. The endpoint is the caller's: it can be
/// rebound after a change of network, and its connection lives on when it is dropped.
///
/// # Errors
/// [`RpkError::WrongKey`] when another key answers; other [`RpkError`]s as they say.
pub async fn client_connect(
    addr: SocketAddr,
    identity: &Identity,
    pinned: DeviceId,
    alpn: &[u8],
    limits: &EndpointLimits,
) -> Result<(Endpoint, Connection), RpkError> {
    connect(addr, identity, Some(pinned), alpn, limits).await
}

/// Connects to `addr`, whoever answers there, if it proves some key: [`peer_id`] says which. Nothing that is
/// meant for one peer alone may be said on such a connection.
///
/// # Errors
/// As [`client_connect`], except that no key is a wrong one.
pub async fn client_connect_to_anybody(
    addr: SocketAddr,
    identity: &Identity,
    alpn: &[u8],
    limits: &EndpointLimits,
) -> Result<(Endpoint, Connection), RpkError> {
    connect(addr, identity, None, alpn, limits).await
}

async fn connect(
    addr: SocketAddr,
    identity: &Identity,
    pinned: Option<DeviceId>,
    alpn: &[u8],
    limits: &EndpointLimits,
) -> Result<(Endpoint, Connection), RpkError> {
    let wrong_key = Arc::new(AtomicBool::new(false));
    let tls = client_tls(identity, pinned, alpn, &wrong_key)?;
    let tls = QuicClientConfig::try_from(tls).map_err(|error| RpkError::Tls(error.to_string()))?;
    let mut config = ClientConfig::new(Arc::new(tls));
    config.transport_config(limits.transport());

    let bind = match addr {
        SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let endpoint = endpoint(bind, EndpointConfig::default(), None)?;
    let connecting = endpoint
        .connect_with(config, addr, SERVER_NAME)
        .map_err(|error| RpkError::Tls(error.to_string()))?;
    match connecting.await {
        Ok(connection) => Ok((endpoint, connection)),
        Err(_) if wrong_key.load(Ordering::Relaxed) => Err(RpkError::WrongKey),
        Err(error) => Err(RpkError::Connection(error)),
    }
}

/// TLS of a server: its raw key, any client that proves one, nothing to resume with.
fn server_tls(identity: &Identity, alpn: &[u8]) -> Result<rustls::ServerConfig, RpkError> {
    let key = certified_key(identity)?;
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .with_client_cert_verifier(Arc::new(AnyClient::new(&provider())))
        .with_cert_resolver(Arc::new(
            rustls::server::AlwaysResolvesServerRawPublicKeys::new(key),
        ));
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    tls.send_tls13_tickets = 0;
    tls.max_early_data_size = 0;
    Ok(tls)
}

/// TLS of a client: its raw key, one server and no other (or anybody), nothing to resume with.
fn client_tls(
    identity: &Identity,
    pinned: Option<DeviceId>,
    alpn: &[u8],
    wrong_key: &Arc<AtomicBool>,
) -> Result<rustls::ClientConfig, RpkError> {
    let verifier = PinnedServer::new(&provider(), pinned, Arc::clone(wrong_key));
    let key = certified_key(identity)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(
            rustls::client::AlwaysResolvesClientRawPublicKeys::new(key),
        ));
    tls.alpn_protocols = vec![alpn.to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    tls.enable_early_data = false;
    tls.enable_sni = false;
    Ok(tls)
}

/// The key that the peer proved in the handshake.
///
/// # Panics
/// When the connection was not made by this module, which lets no peer without a key through.
#[must_use]
pub fn peer_id(connection: &Connection) -> DeviceId {
    let certificates = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok());
    match certificates.as_deref().map(Vec::as_slice) {
        Some([key]) => match ed25519_key(key) {
            Some(id) => id,
            None => panic!("the verifier let a key through that is not Ed25519"),
        },
        _ => panic!("the verifier let a peer through without its key"),
    }
}

/// The key inside a SubjectPublicKeyInfo, if it is exactly one of Ed25519. Public for fuzz targets.
#[must_use]
pub fn ed25519_key(spki: &[u8]) -> Option<DeviceId> {
    let key = spki.strip_prefix(&SPKI_PREFIX)?;
    Some(DeviceId(key.try_into().ok()?))
}

fn endpoint(
    bind: SocketAddr,
    config: EndpointConfig,
    server: Option<ServerConfig>,
) -> Result<Endpoint, RpkError> {
    let make = || -> std::io::Result<Endpoint> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(bind),
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )?;
        // A smaller buffer costs speed, not correctness; `doctor` tells the operator.
        if socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).is_err()
            || socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).is_err()
        {
            tracing::debug!("the system refuses larger UDP buffers");
        }
        if bind.is_ipv6() && server.is_some() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&bind.into())?;
        Endpoint::new(
            config.clone(),
            server.clone(),
            socket.into(),
            Arc::new(TokioRuntime),
        )
    };
    make().map_err(|error| RpkError::Socket {
        bind,
        reason: error.to_string(),
        kind: error.kind(),
    })
}

/// aws-lc-rs, whose first choice is X25519MLKEM768 (feature `prefer-post-quantum`).
fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn certified_key(identity: &Identity) -> Result<Arc<CertifiedKey>, RpkError> {
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(identity.device_id().as_bytes());
    let mut pkcs8 = Zeroizing::new(PKCS8_PREFIX.to_vec());
    pkcs8.extend_from_slice(identity.seed().as_slice());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_slice()));
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).map_err(tls_error)?;
    Ok(Arc::new(CertifiedKey::new(vec![spki.into()], key)))
}

fn tls_error(error: rustls::Error) -> RpkError {
    RpkError::Tls(error.to_string())
}

#[cfg(test)]
mod tests;
