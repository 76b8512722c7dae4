//! The hub's side, without IO: says that an offer is open, answers who asks for that, and says goodbye.
//!
//! It remembers a few numbers, whoever asks and however often; it must never send more often than its limits say, nor
//! anything that was not the same for everybody.

use std::net::{Ipv4Addr, SocketAddrV4};

use crate::OfferTag;
use crate::dns::{
    CLASS_IN, ENTRIES_MAX, Name, Question, Reader, TAG_KEY, TOP_BIT, TYPE_A, TYPE_PTR, TYPE_SRV,
    TYPE_TXT, Writer, service,
};

/// For how many seconds others may believe what was said to all.
const TTL_S: u32 = 120;
/// The same for who asked alone and knows nothing of multicast (RFC 6762, section 6.7).
const LEGACY_TTL_S: u32 = 10;
/// Unasked, at first: how often, and the time between (section 8.3).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_PAUSE_MS: u64 = 1_000;
/// Between two answers to all (section 6).
const ANSWER_PAUSE_MS: u64 = 1_000;
/// How long an answer to all waits, at least and beyond that at most, so that not all who are asked speak at once.
const ANSWER_DELAY_MS: (u64, u64) = (20, 100);
/// Answers to one that may leave at once, and the time in which there may be one more.
const REPLIES_BURST: u64 = 10;
const REPLY_REFILL_MS: u64 = 100;

/// What is said of an offer that is open.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The name of this announcement, at random for each: it must say nothing of the hub.
    pub instance: [u8; 8],
    /// Which offer.
    pub tag: OfferTag,
    /// Where the hub listens, beside the address from which it answers.
    pub address: Ipv4Addr,
    /// The UDP port at which it listens.
    pub port: u16,
}

/// Who announces one offer. Times are milliseconds of any clock that does not fall.
pub struct Responder {
    instance: Name,
    host: Name,
    said: Announcement,
    /// Where who knows multicast sends from.
    mdns_port: u16,
    /// Announcements that are still to be made, and when the next is.
    announcements: u8,
    announce_at_ms: u64,
    /// When an answer to all is due, if one is owed.
    answer_at_ms: Option<u64>,
    /// No answer to all before.
    silent_until_ms: u64,
    /// When all the answers to one may be spent again.
    replies_full_at_ms: u64,
}

/// For whom an answer is.
#[derive(Clone, Copy)]
enum For<'a> {
    All { ttl_s: u32 },
    One { id: u16, question: &'a Question },
}

/// What somebody asks.
enum Asked {
    Nothing,
    This(Question),
}

impl Responder {
    /// Begins at once. `mdns_port` is [`crate::MDNS_PORT`], but for a test.
    pub fn new(said: Announcement, mdns_port: u16, now_ms: u64) -> Self {
        let label = format!("{:016x}", u64::from_be_bytes(said.instance));
        Self {
            instance: service().below(&label),
            // No name of the machine: that may say whose it is.
            host: Name::of(&[label.as_str(), "local"]),
            said,
            mdns_port,
            announcements: ANNOUNCEMENTS,
            announce_at_ms: now_ms,
            answer_at_ms: None,
            silent_until_ms: 0,
            replies_full_at_ms: 0,
        }
    }

    /// Takes a datagram that came for the group; what the sender alone is to be answered, if anything.
    pub fn handle(&mut self, packet: &[u8], from: SocketAddrV4, now_ms: u64) -> Option<Vec<u8>> {
        let mut reader = Reader::new(packet);
        let header = reader.header()?;
        if !header.is_query() {
            return None;
        }
        let Asked::This(question) = self.asked(&mut reader, header.questions)? else {
            return None;
        };
        if from.port() != self.mdns_port {
            return self.may_reply(now_ms).then(|| {
                self.message(For::One {
                    id: header.id,
                    question: &question,
                })
            });
        }
        if self.is_known(&mut reader, header.answers) {
            return None;
        }
        let (delay_ms, spread_ms) = ANSWER_DELAY_MS;
        let [first, ..] = self.said.tag.0;
        let due_ms = now_ms + delay_ms + u64::from(first) % spread_ms;
        let due_ms = due_ms.max(self.silent_until_ms);
        self.answer_at_ms = Some(self.answer_at_ms.map_or(due_ms, |at_ms| at_ms.min(due_ms)));
        None
    }

    /// What is to be sent to all now, if anything.
    pub fn poll_transmit(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        if self.announcements > 0 && self.announce_at_ms <= now_ms {
            self.announcements -= 1;
            self.announce_at_ms = now_ms + ANNOUNCEMENT_PAUSE_MS;
        } else if self.answer_at_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.answer_at_ms = None;
        } else {
            return None;
        }
        self.silent_until_ms = now_ms + ANSWER_PAUSE_MS;
        self.answer_at_ms = self
            .answer_at_ms
            .map(|at_ms| at_ms.max(self.silent_until_ms));
        Some(self.message(For::All { ttl_s: TTL_S }))
    }

    /// When [`Self::poll_transmit`] wants to be asked again.
    pub fn poll_timeout(&self) -> Option<u64> {
        let announce = (self.announcements > 0).then_some(self.announce_at_ms);
        announce.into_iter().chain(self.answer_at_ms).min()
    }

    /// The last word to all: what was said is over.
    pub fn goodbye(&self) -> Vec<u8> {
        self.message(For::All { ttl_s: 0 })
    }

    /// The first question that is about us; `None` for what is no message.
    fn asked(&self, reader: &mut Reader<'_>, questions: u16) -> Option<Asked> {
        let mut asked = Asked::Nothing;
        if questions > ENTRIES_MAX {
            return None;
        }
        for _ in 0..questions {
            let question = reader.question()?;
            let is_ours = question.asks(&service(), TYPE_PTR)
                || question.asks(&self.instance, TYPE_SRV)
                || question.asks(&self.instance, TYPE_TXT)
                || question.asks(&self.host, TYPE_A);
            if is_ours && matches!(asked, Asked::Nothing) {
                asked = Asked::This(question);
            }
        }
        Some(asked)
    }

    /// Whether who asks says that it knows of us already, and for some time to come (section 7.1).
    fn is_known(&self, reader: &mut Reader<'_>, answers: u16) -> bool {
        let service = service();
        for _ in 0..answers.min(ENTRIES_MAX) {
            let Some(record) = reader.record() else {
                return false;
            };
            if record.kind == TYPE_PTR
                && record.name == service
                && record.ttl_s >= TTL_S / 2
                && record.target().as_ref() == Some(&self.instance)
            {
                return true;
            }
        }
        false
    }

    fn may_reply(&mut self, now_ms: u64) -> bool {
        let full_at_ms = self.replies_full_at_ms.max(now_ms) + REPLY_REFILL_MS;
        let may = full_at_ms <= now_ms + REPLIES_BURST * REPLY_REFILL_MS;
        if may {
            self.replies_full_at_ms = full_at_ms;
        }
        may
    }

    fn message(&self, whom: For<'_>) -> Vec<u8> {
        // Its names are random, so nobody else has them and nobody need be asked (section 8.1).
        let (class, ttl_s) = match whom {
            For::All { ttl_s } => (CLASS_IN | TOP_BIT, ttl_s),
            For::One { .. } => (CLASS_IN, LEGACY_TTL_S),
        };
        let mut writer = match whom {
            For::All { .. } => Writer::answer(0, None, 4),
            For::One { id, question } => Writer::answer(id, Some(question), 4),
        };
        let (port, tag) = (self.said.port, self.said.tag.to_hex());
        writer.pointer(&service(), ttl_s, &self.instance);
        writer.service((&self.instance, class), ttl_s, (port, &self.host));
        writer.text((&self.instance, class), ttl_s, &format!("{TAG_KEY}={tag}"));
        writer.address((&self.host, class), ttl_s, self.said.address);
        writer.finish()
    }
}
