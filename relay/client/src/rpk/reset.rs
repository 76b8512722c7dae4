//! How a server that was killed and started again tells its old clients so.
//!
//! A packet of a connection that the new process does not know is answered with a stateless reset
//! (RFC 9000 section 10.3), which the client believes because the token in it is made from the
//! server's identity, as it was when the connection began. Without that a client finds out by its
//! idle timeout, a minute later. This room must never derive anything that could be turned back
//! into the identity.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use quinn::EndpointConfig;
use quinn::crypto::{CryptoError, HmacKey};
use quinn_proto::HashedConnectionIdGenerator;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::identity::Identity;

/// Bytes of a derived key and of a tag.
const KEY_BYTES: usize = 32;

/// A server's endpoint configuration: reset tokens and connection ids that its next process makes
/// and recognises just the same.
pub(super) fn endpoint_config(identity: &Identity) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(derive(
        identity.seed().as_slice(),
        b"secluso quic stateless reset v1",
    ))));
    // Connection ids are marked with a weak hash, so that a stranger's packet costs nothing. Who
    // breaks it can make the server send resets for connections that do not exist, and no more.
    let mark = derive(identity.seed().as_slice(), b"secluso quic connection id v1");
    let mark = mark
        .first_chunk()
        .map_or(0, |first| u64::from_le_bytes(*first));
    config.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(mark)));
    config
}

fn derive(seed: &[u8], label: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
    Zeroizing::new(tag(seed, label))
}

fn tag(key: &[u8], data: &[u8]) -> [u8; KEY_BYTES] {
    mac(key, data).finalize().into_bytes().into()
}

/// HMAC-SHA256 of `data`.
fn mac(key: &[u8], data: &[u8]) -> Hmac<Sha256> {
    match <Hmac<Sha256> as KeyInit>::new_from_slice(key) {
        Ok(mac) => mac.chain_update(data),
        Err(_) => panic!("HMAC takes a key of any length"),
    }
}

struct ResetKey(Zeroizing<[u8; KEY_BYTES]>);

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        signature_out.copy_from_slice(&tag(self.0.as_slice(), data));
    }

    fn signature_len(&self) -> usize {
        KEY_BYTES
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        mac(self.0.as_slice(), data)
            .verify_slice(signature)
            .map_err(|_differs| CryptoError)
    }
}
