//! The phone's side, without IO: asks who pairs, and takes the answers that fit.
//!
//! It asks from a port of its own, so nothing comes but answers to its question, and it remembers a handful of
//! addresses whatever comes. It must never take an answer for a proof: that is the hub's key.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use crate::OfferTag;
use crate::dns::{
    CLASS_IN, ENTRIES_MAX, Name, Question, Reader, TAG_KEY, TYPE_A, TYPE_PTR, TYPE_SRV, TYPE_TXT,
    Writer, service,
};

/// Places that one search takes, all answers together.
pub const CANDIDATES_MAX: usize = 8;
/// Addresses of one answer that are taken, beside the one that it came from.
const ADDRESSES_MAX: usize = 2;
/// From one question to the next; it doubles.
const PAUSE_MS: (u64, u64) = (250, 4_000);

/// A search. Times are milliseconds of any clock that does not fall.
pub struct Browser {
    id: u16,
    wanted: Option<OfferTag>,
    ask_at_ms: u64,
    pause_ms: u64,
    found: Vec<SocketAddrV4>,
}

impl Browser {
    /// Looks for this offer, or for any. `id` is at random, so that who did not hear the question cannot answer it.
    pub fn new(id: u16, wanted: Option<OfferTag>, now_ms: u64) -> Self {
        Self {
            id,
            wanted,
            ask_at_ms: now_ms,
            pause_ms: PAUSE_MS.0,
            found: Vec::new(),
        }
    }

    /// The question, when it is time to ask.
    pub fn poll_transmit(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if now_ms < self.ask_at_ms {
            return None;
        }
        self.ask_at_ms = now_ms + self.pause_ms;
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS.1);
        let question = Question {
            name: service(),
            kind: TYPE_PTR,
            class: CLASS_IN,
        };
        Some(Writer::query(self.id, &question))
    }

    /// When [`Self::poll_transmit`] wants to be asked again.
    pub fn poll_timeout(&self) -> u64 {
        self.ask_at_ms
    }

    /// Takes a datagram: where the hub may be that was not known before, best first.
    pub fn handle(&mut self, packet: &[u8], from: SocketAddrV4) -> Vec<SocketAddr> {
        let mut new = Vec::new();
        let Some(answer) = self.read(packet) else {
            return new;
        };
        for ip in answer.addresses.into_iter().chain([*from.ip()]) {
            let at = SocketAddrV4::new(ip, answer.port);
            let fits = may_be_a_hub(ip, *from.ip()) && !self.found.contains(&at);
            if fits && self.found.len() < CANDIDATES_MAX {
                self.found.push(at);
                new.push(SocketAddr::V4(at));
            }
        }
        new
    }

    /// `None` if it answers something else, or names another offer.
    fn read(&self, packet: &[u8]) -> Option<Answer> {
        let mut reader = Reader::new(packet);
        let header = reader.header()?;
        if !header.is_answer() || header.id != self.id || header.questions > ENTRIES_MAX {
            return None;
        }
        for _ in 0..header.questions {
            let _repeated = reader.question()?;
        }
        let all = service();
        let mut service: Option<(Name, u16, Name)> = None;
        let mut tagged: Option<(Name, OfferTag)> = None;
        let mut addresses: Vec<(Name, Ipv4Addr)> = Vec::new();
        for _ in 0..header.records.min(ENTRIES_MAX) {
            let record = reader.record()?;
            if record.ttl_s == 0 {
                continue;
            }
            match record.kind {
                TYPE_SRV if service.is_none() && record.name.is_right_below(&all) => {
                    let (port, host) = record.service()?;
                    service = Some((record.name, port, host));
                }
                TYPE_TXT if tagged.is_none() && record.name.is_right_below(&all) => {
                    let tag = record.text_of(TAG_KEY.as_bytes());
                    let tag = tag.and_then(OfferTag::from_hex);
                    tagged = tag.map(|tag| (record.name, tag));
                }
                TYPE_A if addresses.len() < ADDRESSES_MAX => {
                    let address = record.address()?;
                    addresses.push((record.name, address));
                }
                _ => {}
            }
        }
        let ((instance, port, host), (of, tag)) = (service?, tagged?);
        if port == 0 || of != instance || self.wanted.is_some_and(|wanted| wanted != tag) {
            return None;
        }
        let addresses = addresses
            .into_iter()
            .filter_map(|(name, address)| (name == host).then_some(address))
            .collect();
        Some(Answer { port, addresses })
    }
}

struct Answer {
    port: u16,
    addresses: Vec<Ipv4Addr>,
}

/// Whether a hub that answers from there can be here. An answer from elsewhere must not lead this machine to itself.
fn may_be_a_hub(ip: Ipv4Addr, from: Ipv4Addr) -> bool {
    !ip.is_unspecified()
        && !ip.is_multicast()
        && !ip.is_broadcast()
        && (!ip.is_loopback() || from.is_loopback())
}
