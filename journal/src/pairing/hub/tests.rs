//! What only this room can see: key packages that no phone makes.

use std::sync::Arc;

use wal::disk::SimDisk;

use super::super::{AppNext, AppPairing, capabilities, lifetime};
use super::*;
use crate::Role;
use crate::tests::harness::{NOW_S, open, terms};
use crate::tests::odd::{Odd, OddKeys};

/// A key package for each channel, all of one signature key; in that of the livestream the key pair with this number
/// is odd.
fn packages(
    app: &mut Journal,
    offer: &Offer,
    pairing: PairingId,
    (number, odd): (usize, Odd),
) -> [Vec<u8>; CHANNELS] {
    let crypto = Arc::clone(&app.crypto);
    let suite = offer.suite.ciphersuite();
    let signer = SignatureKeyPair::new(suite.signature_algorithm()).unwrap();
    let scope = Scope::Offer(offer.offer);
    let mut txn = app.begin();
    let provider = MlsProvider::new(&mut txn, scope, scope, Ratchet::Store);
    let made = for_each_channel(pairing, |line| {
        let number = match line.channel {
            Channel::Livestream => number,
            _ => usize::MAX,
        };
        let provider = OddKeys::new(&provider, Arc::clone(&crypto), odd, number);
        let bundle = KeyPackage::builder()
            .key_package_lifetime(lifetime())
            .leaf_node_capabilities(capabilities(offer.suite))
            .build(
                suite,
                &provider,
                &signer,
                credential("app", pairing, &signer),
            )
            .unwrap();
        bundle.key_package().tls_serialize_detached()
    });
    made.unwrap()
}

/// The KEM of X-Wing would end the process over such a key, with the first Commit.
#[test]
fn a_key_package_with_a_key_of_another_length_is_refused() {
    for suite in [Suite::Classic, Suite::XWing] {
        let bytes = match suite {
            Suite::Classic => 32,
            Suite::XWing => 1216,
        };
        // Of a key package's key pairs the init key's is made first, then the leaf's.
        let table = [
            (usize::MAX, 0),
            (0, 1),
            (0, bytes - 1),
            (0, bytes + 1),
            (1, 1),
            (1, bytes - 1),
            (1, bytes + 1),
        ];
        for (number, length) in table {
            let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
            let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
            let offer = HubPairing::offer(&mut hub, terms(suite), NOW_S).unwrap();
            let offer = offer.into_inner();
            let next = AppPairing::start(&mut app, &offer, DeviceId([8; 32]), NOW_S).unwrap();
            let AppNext::Request(mut request) = next.into_inner() else {
                panic!("a fresh pairing begins with a request");
            };
            let odd = (number, Odd::Length(length));
            request.request.key_packages = packages(&mut app, &offer, request.pairing, odd);
            request.request.mac = mac_bytes(&offer.mac_key(), &request.parts());
            let answered = HubPairing::request(&mut hub, &request, request.device(), NOW_S);
            if number == usize::MAX {
                assert!(answered.is_ok(), "the control");
                continue;
            }
            let refused = matches!(answered, Err(JournalError::Pairing(PairingError::Mls(_))));
            assert!(refused, "{suite:?} {number} {length}");
            assert!(hub.pairing_ids().is_empty());
        }
    }
}
