//! The texts of a pairing code and of the secret that is printed on a device, as a camera or a clipboard gives
//! them.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use journal::DeviceSecret;
use journal::pairing::{Offer, PairingError};
use sha2::{Digest as _, Sha256};

/// Any text is a code or none; and with a sound checksum any contents.
pub(crate) fn offer(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read(text);
        read_printed(text);
    }
    let sum: [u8; 32] = Sha256::digest(data).into();
    let bytes = [data, &sum[..4]].concat();
    let body = Base64UrlUnpadded::encode_string(&bytes);
    let printed = DeviceSecret::from_text(&format!("SECLUSODEVICE1:{body}"));
    assert_eq!(printed.is_ok(), DeviceSecret::from_bytes(data).is_some());
    let text = format!("SECLUSO1:{body}");
    read(&text);
    // One wrong character anywhere makes it no code.
    let mut misread = text.into_bytes();
    let at = 9 + data.len() % (misread.len() - 9);
    misread[at] = if misread[at] == b'A' { b'B' } else { b'A' };
    let misread = String::from_utf8(misread).expect("it is ASCII");
    assert!(matches!(
        Offer::from_text(&misread),
        Err(PairingError::NotAnOffer)
    ));
}

fn read(text: &str) {
    match Offer::from_text(text) {
        Ok(offer) => {
            let spelt = offer.to_text();
            assert!(spelt.len() <= text.trim().len());
            let again = Offer::from_text(&spelt).expect("what was read can be shown");
            assert_eq!(again.to_text(), spelt);
            assert_eq!(again.offer, offer.offer);
        }
        Err(error) => assert_eq!(error, PairingError::NotAnOffer),
    }
}

fn read_printed(text: &str) {
    match DeviceSecret::from_text(text) {
        Ok(secret) => {
            let again = DeviceSecret::from_text(&secret.to_text());
            assert!(again.is_ok_and(|again| again == secret));
        }
        Err(error) => assert_eq!(error, PairingError::NotAnOffer),
    }
}
