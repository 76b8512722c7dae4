//! The text of a pairing code, as a camera or a clipboard gives it.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use journal::pairing::{Offer, PairingError};
use sha2::{Digest as _, Sha256};

/// Any text is a code or none; and with a sound checksum any contents.
pub(crate) fn offer(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        read(text);
    }
    let sum: [u8; 32] = Sha256::digest(data).into();
    let bytes = [data, &sum[..4]].concat();
    let text = format!("SECLUSO1:{}", Base64UrlUnpadded::encode_string(&bytes));
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
