//! Datagrams of the local network, to a hub that pairs and to a phone that looks for one.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use pairing_lan::{Announcement, Browser, CANDIDATES_MAX, MDNS_PORT, OfferTag, Responder};

const TAG: OfferTag = OfferTag([1, 2, 3, 4, 5, 6, 7, 8]);
const HUB: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 20), MDNS_PORT);
const PHONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 30), 40_000);
const PAIRS_AT: u16 = 4_444;

fn responder() -> Responder {
    let said = Announcement {
        instance: [9; 8],
        tag: TAG,
        address: *HUB.ip(),
        port: PAIRS_AT,
    };
    Responder::new(said, MDNS_PORT, 0)
}

/// Whatever is said, a phone remembers a handful of places that can be places, each once; and a hub answers what it is
/// asked, which whoever asked can read, and all others once a second.
pub(crate) fn datagram(data: &[u8]) {
    let id = match data {
        [high, low, ..] => u16::from_be_bytes([*high, *low]),
        _ => 0,
    };
    let mut phone = Browser::new(id, None, 0);
    let found = phone.handle(data, HUB);
    assert!(found.len() <= CANDIDATES_MAX);
    for at in &found {
        let ip = at.ip();
        assert!(at.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !ip.is_loopback());
    }
    assert!(phone.handle(data, HUB).is_empty());

    let mut hub = responder();
    while hub.poll_transmit(0).is_some() {}
    if let Some(answer) = hub.handle(data, PHONE, 0) {
        let found = Browser::new(id, Some(TAG), 0).handle(&answer, HUB);
        assert_eq!(found, [SocketAddr::from((*HUB.ip(), PAIRS_AT))]);
    }
    let everybody = SocketAddrV4::new(*PHONE.ip(), MDNS_PORT);
    assert!(hub.handle(data, everybody, 1).is_none());
    let said = (1..2_000).filter(|now_ms| hub.poll_transmit(*now_ms).is_some());
    assert!(said.count() <= 2);
}

/// A question, the answer to it, and a goodbye.
pub(crate) fn sound() -> Vec<Vec<u8>> {
    let mut hub = responder();
    let question = Browser::new(0x4d4d, Some(TAG), 0).poll_transmit(0);
    let question = question.expect("it begins with a question");
    let answer = hub.handle(&question, PHONE, 0).expect("it is asked");
    vec![question, answer, hub.goodbye()]
}
