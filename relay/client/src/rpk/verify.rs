//! Which keys the handshake accepts.
//!
//! Both verifiers check the proof of possession; they differ in whose key it may be. This room
//! must never accept a key without that proof.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};
use wire::DeviceId;

use super::{SERVER_NAME, ed25519_key, provider};

/// The only signature that may prove a key here.
const SCHEMES: &[SignatureScheme] = &[SignatureScheme::ED25519];

/// Whether a server lets in a client that shows these keys, and whether a client that was given `pinned`, or no key, goes
/// on with a server that does. That the first of them is proved is another question. Public for fuzz targets.
#[must_use]
pub fn judge(shown: &[&[u8]], pinned: Option<DeviceId>) -> (bool, bool) {
    let certificates: Vec<CertificateDer<'_>> =
        shown.iter().copied().map(CertificateDer::from).collect();
    let (Some((key, beside)), Ok(name)) = (
        certificates.split_first(),
        ServerName::try_from(SERVER_NAME),
    ) else {
        return (false, false);
    };
    let (provider, now) = (provider(), UnixTime::since_unix_epoch(Duration::ZERO));
    let client = AnyClient::new(&provider).verify_client_cert(key, beside, now);
    let server = PinnedServer::new(&provider, pinned, Arc::default());
    let server = server.verify_server_cert(key, beside, &name, &[], now);
    (client.is_ok(), server.is_ok())
}

fn check_possession(
    algorithms: &WebPkiSupportedAlgorithms,
    message: &[u8],
    key: &CertificateDer<'_>,
    signature: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    verify_tls13_signature_with_raw_key(
        message,
        &SubjectPublicKeyInfoDer::from(key.as_ref()),
        signature,
        algorithms,
    )
}

fn no_tls12() -> Error {
    Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13)
}

/// A server accepts any client that proves an Ed25519 key.
#[derive(Debug)]
pub(super) struct AnyClient {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyClient {
    pub(super) fn new(provider: &CryptoProvider) -> AnyClient {
        AnyClient {
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if intermediates.is_empty() && ed25519_key(end_entity).is_some() {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::BadEncoding))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_possession(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

/// A client accepts one server: the one whose key it was given. Given none, it accepts whoever proves
/// some key, and must find out by what is said then who that is.
#[derive(Debug)]
pub(super) struct PinnedServer {
    algorithms: WebPkiSupportedAlgorithms,
    pinned: Option<DeviceId>,
    /// Set when another key answered, so that the caller can tell this from a broken network.
    wrong_key: Arc<AtomicBool>,
}

impl PinnedServer {
    pub(super) fn new(
        provider: &CryptoProvider,
        pinned: Option<DeviceId>,
        wrong_key: Arc<AtomicBool>,
    ) -> PinnedServer {
        PinnedServer {
            algorithms: provider.signature_verification_algorithms,
            pinned,
            wrong_key,
        }
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let key = ed25519_key(end_entity);
        let fits = key.is_some() && (self.pinned.is_none() || key == self.pinned);
        if intermediates.is_empty() && fits {
            Ok(ServerCertVerified::assertion())
        } else {
            self.wrong_key.store(true, Ordering::Relaxed);
            Err(Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(no_tls12())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        check_possession(&self.algorithms, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SCHEMES.to_vec()
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
