//! Both machines against each other and against nonsense, and both shells over a real multicast group on loopback.

use std::io::Write as _;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::time::Duration;

use tokio::sync::oneshot;

use super::dns::{CLASS_IN, Question, Reader, TYPE_PTR, Writer, service};
use super::socket::responder_socket;
use super::*;

/// Every wait in these tests ends after this, as a failure.
const PATIENCE: Duration = Duration::from_secs(30);
const TAG: OfferTag = OfferTag([1, 2, 3, 4, 5, 6, 7, 8]);
const HUB: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 20);
const PHONE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 30), 40_000);

fn said() -> Announcement {
    Announcement {
        instance: [9; 8],
        tag: TAG,
        address: HUB,
        port: 4_444,
    }
}

fn hub() -> Responder {
    let mut hub = Responder::new(said(), MDNS_PORT, 0);
    assert!(hub.poll_transmit(0).is_some());
    assert!(hub.poll_transmit(ANNOUNCED_MS).is_some());
    assert_eq!(hub.poll_timeout(), None, "it has said it twice");
    hub
}

/// When the two announcements that nobody asked for are over.
const ANNOUNCED_MS: u64 = 1_000;
/// Long after them.
const LATER_MS: u64 = 10_000;

fn from_hub() -> SocketAddrV4 {
    SocketAddrV4::new(HUB, MDNS_PORT)
}

fn question(wanted: Option<OfferTag>) -> (Browser, Vec<u8>) {
    let mut phone = Browser::new(77, wanted, 0);
    let question = phone.poll_transmit(0).unwrap();
    (phone, question)
}

fn ttls(packet: &[u8]) -> Vec<u32> {
    let mut reader = Reader::new(packet);
    let header = reader.header().unwrap();
    let questions = (0..header.questions).map(|_| reader.question().unwrap());
    let _echoed = questions.count();
    let records = (0..header.records).map(|_| reader.record().unwrap().ttl_s);
    records.collect()
}

#[test]
fn who_has_the_code_finds_the_hub_and_nobody_else_takes_it_for_theirs() {
    let mut hub = hub();
    let at = vec![SocketAddr::from((HUB, 4_444))];
    for (wanted, found) in [
        (Some(TAG), at.clone()),
        (None, at),
        (Some(OfferTag([0; 8])), Vec::new()),
    ] {
        let (mut phone, question) = question(wanted);
        let answer = hub.handle(&question, PHONE, LATER_MS).unwrap();
        assert_eq!(phone.handle(&answer, from_hub()), found, "{wanted:?}");
        // It is named once.
        assert!(phone.handle(&answer, from_hub()).is_empty());
        // Who did not hear the question does not know its number.
        let mut other = Browser::new(78, wanted, 0);
        assert!(other.handle(&answer, from_hub()).is_empty());
    }
}

#[test]
fn what_is_over_is_not_found() {
    let (mut phone, _question) = question(Some(TAG));
    let mut goodbye = hub().goodbye();
    assert_eq!(ttls(&goodbye), [0; 4]);
    // Even if it had the question's number.
    goodbye[..2].copy_from_slice(&77_u16.to_be_bytes());
    assert!(phone.handle(&goodbye, from_hub()).is_empty());
}

#[test]
fn what_is_said_names_nothing_but_a_port_an_address_and_two_random_numbers() {
    let mut hub = hub();
    let (_phone, question) = question(None);
    let answer = hub.handle(&question, PHONE, LATER_MS).unwrap();
    let text: String = answer
        .iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'=' => char::from(*byte),
            _ => ' ',
        })
        .collect();
    let mut words: Vec<&str> = text.split(' ').filter(|word| word.len() > 1).collect();
    words.sort_unstable();
    words.dedup();
    let instance = "0909090909090909";
    assert_eq!(
        words,
        [instance, "_secluso", "_udp", "local", "o=0102030405060708"]
    );
}

#[test]
fn answers_are_few_however_many_ask() {
    let mut hub = hub();
    let (_phone, question) = question(None);
    let replies = (0..1_000)
        .filter(|_| hub.handle(&question, PHONE, LATER_MS).is_some())
        .count();
    assert_eq!(replies, 10);
    assert_eq!(hub.poll_timeout(), None, "the group hears nothing of it");
    assert!(hub.handle(&question, PHONE, LATER_MS + 100).is_some());

    // Who speaks multicast is answered with all the others, once a second.
    let everybody = SocketAddrV4::new(*PHONE.ip(), MDNS_PORT);
    let mut sent = Vec::new();
    for now_ms in LATER_MS..LATER_MS + 3_000 {
        assert!(hub.handle(&question, everybody, now_ms).is_none());
        if let Some(answer) = hub.poll_transmit(now_ms) {
            assert_eq!(ttls(&answer), [120; 4]);
            sent.push(now_ms);
        }
    }
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] >= 1_000));
}

#[test]
fn who_knows_the_hub_already_is_not_told_again() {
    let mut hub = hub();
    let everybody = SocketAddrV4::new(*PHONE.ip(), MDNS_PORT);
    let known = |ttl_s| {
        let question = Question {
            name: service(),
            kind: TYPE_PTR,
            class: CLASS_IN,
        };
        let mut query = Writer::query(0, &question);
        let mut answer = Writer::answer(0, None, 1);
        answer.pointer(&service(), ttl_s, &service().below("0909090909090909"));
        query.extend_from_slice(&answer.finish()[12..]);
        // One answer, behind the question.
        query[7] = 1;
        query
    };
    assert!(hub.handle(&known(120), everybody, LATER_MS).is_none());
    assert_eq!(hub.poll_timeout(), None);
    assert!(hub.handle(&known(59), everybody, LATER_MS).is_none());
    assert!(hub.poll_timeout().is_some());
}

/// Every message cut off everywhere, and with every byte changed to all that mean something in a length.
#[test]
fn nonsense_is_no_answer_and_takes_no_room() {
    let mut hub = hub();
    let (_phone, question) = question(Some(TAG));
    let answer = hub.handle(&question, PHONE, LATER_MS).unwrap();
    let mut phone = Browser::new(77, Some(TAG), 0);
    for packet in [&question, &answer] {
        for cut in 0..packet.len() {
            let _ = hub.handle(&packet[..cut], PHONE, LATER_MS);
            assert!(phone.handle(&packet[..cut], from_hub()).is_empty());
        }
        for at in 0..packet.len() {
            for value in [0, 1, 63, 64, 127, 0xc0, 0xff] {
                let mut changed = packet.clone();
                changed[at] = value;
                let _ = hub.handle(&changed, PHONE, LATER_MS);
                let _ = phone.handle(&changed, from_hub());
            }
        }
    }
    // Whatever came of that: never more than there is room for.
    let mut phone = Browser::new(77, Some(TAG), 0);
    let mut found = 0;
    for last in 0..=255 {
        let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, last), MDNS_PORT);
        found += phone.handle(&answer, from).len();
    }
    assert_eq!(found, CANDIDATES_MAX);
}

/// A name that points at itself, at what follows, or through a long chain of pointers, and counts of what is not there.
#[test]
fn a_name_without_an_end_has_one() {
    let header = |records: u16| {
        let mut packet = vec![0, 77, 0x84, 0, 0, 0];
        packet.extend_from_slice(&records.to_be_bytes());
        packet.extend_from_slice(&[0; 4]);
        packet
    };
    let mut chain = header(u16::MAX);
    chain.push(0);
    for at in 0..700_u16 {
        let target = if at == 0 { 12 } else { 13 + 2 * (at - 1) };
        chain.extend_from_slice(&(0xc000 | target).to_be_bytes());
    }
    let itself = [header(1), vec![0xc0, 12]].concat();
    let forward = [header(1), vec![0xc0, 14, 0, 0, 1, 0, 1]].concat();
    for packet in [chain, itself, forward] {
        let mut phone = Browser::new(77, None, 0);
        assert!(phone.handle(&packet, from_hub()).is_empty());
    }
}

#[test]
fn an_answer_leads_nobody_to_where_no_hub_can_be() {
    for address in ["0.0.0.0", "224.0.0.251", "255.255.255.255", "127.0.0.1"] {
        let announced = Announcement {
            address: address.parse().unwrap(),
            ..said()
        };
        let mut hub = Responder::new(announced, MDNS_PORT, 0);
        let (mut phone, question) = question(Some(TAG));
        let answer = hub.handle(&question, PHONE, 0).unwrap();
        let found = phone.handle(&answer, from_hub());
        assert_eq!(found, [SocketAddr::from((HUB, 4_444))], "{address}");
    }
}

/// A group of this test alone: multicast on loopback, on a port that was free. `None` where the machine has no multicast
/// there, which is said.
fn group_of(test: &str) -> Option<Lan> {
    let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let lan = Lan {
        interface: Ipv4Addr::LOCALHOST,
        port: free.local_addr().unwrap().port(),
    };
    drop(free);
    match lan.check() {
        Ok(()) => Some(lan),
        Err(error) => {
            let line = format!("\nNOT COVERED: {test}: no multicast on loopback ({error})\n");
            let _gone = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
}

#[tokio::test]
async fn an_offer_is_found_while_it_is_open_and_its_end_is_said() {
    let Some(lan) = group_of("an_offer_is_found_while_it_is_open_and_its_end_is_said") else {
        return;
    };
    // As any other program that listens on this link.
    let listener = responder_socket(lan).unwrap();
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    let (stop, stopped) = oneshot::channel::<()>();
    let work = async {
        let _stopped = stopped.await;
        "done"
    };
    let announced = Announcement {
        address: Ipv4Addr::LOCALHOST,
        ..said()
    };
    let look = async {
        let mut browse = Browse::start(lan, Some(TAG), 7).unwrap();
        let found = browse.next().await;
        stop.send(()).unwrap();
        found
    };
    let both = async { tokio::join!(announce_while(lan, announced, work), look) };
    let (done, found) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
    assert_eq!(done, "done");
    assert_eq!(found, SocketAddr::from(([127, 0, 0, 1], 4_444)));
    let heard = async {
        loop {
            let (length, from) = listener.recv_from(&mut datagram).await.unwrap();
            let is_answer = Reader::new(&datagram).header().unwrap().is_answer();
            assert!(from.ip().is_loopback());
            if is_answer && ttls(&datagram[..length]) == [0; 4] {
                return;
            }
        }
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("goodbye");
}
