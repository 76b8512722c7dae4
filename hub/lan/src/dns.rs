//! The bytes of a DNS message (RFC 1035, section 4), so far as one service needs them.
//!
//! Reading copies nothing but one name at a time, ends on every input, and takes what it does not know as absent. It must
//! never make room for what a header only claims to be there.

use std::net::Ipv4Addr;

/// Longest name in bytes, its root included.
const NAME_BYTES_MAX: usize = 255;
/// Longest label in bytes.
const LABEL_BYTES_MAX: usize = 63;
/// Questions and records of a message that are looked at, each.
pub(crate) const ENTRIES_MAX: u16 = 32;
/// Set in the flags of an answer.
const IS_ANSWER: u16 = 0x8000;
/// Which kind of query; anything but zero is not ours.
const OPCODE: u16 = 0x7800;
/// An answer of whom it concerns, and no error.
const AUTHORITATIVE: u16 = 0x0400;
/// In the class of a record: forget what was said of it before. In that of a question: answer me alone.
pub(crate) const TOP_BIT: u16 = 0x8000;

/// Of the Internet.
pub(crate) const CLASS_IN: u16 = 1;
/// An IPv4 address.
pub(crate) const TYPE_A: u16 = 1;
/// Another name.
pub(crate) const TYPE_PTR: u16 = 12;
/// Texts.
pub(crate) const TYPE_TXT: u16 = 16;
/// Host and port of a service.
pub(crate) const TYPE_SRV: u16 = 33;
/// Of a question: all types.
pub(crate) const TYPE_ANY: u16 = 255;

/// A name in lower case: each label behind its length, without the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Name(Vec<u8>);

impl Name {
    /// Of labels that we chose: short ones, and few.
    pub(crate) fn of(labels: &[&str]) -> Self {
        let mut bytes = Vec::new();
        for label in labels {
            let label = label.as_bytes();
            let length = u8::try_from(label.len().min(LABEL_BYTES_MAX)).unwrap_or(0);
            bytes.push(length);
            bytes.extend(
                label
                    .iter()
                    .take(LABEL_BYTES_MAX)
                    .map(u8::to_ascii_lowercase),
            );
        }
        Self(bytes)
    }

    /// This name behind one more label.
    pub(crate) fn below(&self, label: &str) -> Self {
        let mut name = Self::of(&[label]);
        name.0.extend_from_slice(&self.0);
        name
    }

    /// Whether it is one label and then this.
    pub(crate) fn is_right_below(&self, above: &Self) -> bool {
        let length = self.0.first().map_or(0, |length| usize::from(*length));
        length > 0 && self.0.get(1 + length..) == Some(above.0.as_slice())
    }
}

/// What a message says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Header {
    pub(crate) id: u16,
    flags: u16,
    /// As claimed.
    pub(crate) questions: u16,
    /// As claimed, answers alone.
    pub(crate) answers: u16,
    /// As claimed, of all three sections.
    pub(crate) records: u16,
}

impl Header {
    pub(crate) fn is_query(self) -> bool {
        self.flags & (IS_ANSWER | OPCODE) == 0
    }

    pub(crate) fn is_answer(self) -> bool {
        self.flags & (IS_ANSWER | OPCODE) == IS_ANSWER
    }
}

/// A question.
#[derive(Clone)]
pub(crate) struct Question {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    pub(crate) class: u16,
}

impl Question {
    pub(crate) fn asks(&self, name: &Name, kind: u16) -> bool {
        let class = self.class & !TOP_BIT;
        self.name == *name
            && (self.kind == kind || self.kind == TYPE_ANY)
            && (class == CLASS_IN || class == TYPE_ANY)
    }
}

/// A record whose contents are still to be read.
pub(crate) struct Record<'a> {
    pub(crate) name: Name,
    pub(crate) kind: u16,
    /// For how many seconds it is good; zero: not any more.
    pub(crate) ttl_s: u32,
    packet: &'a [u8],
    starts: usize,
    ends: usize,
}

impl Record<'_> {
    /// Of a PTR.
    pub(crate) fn target(&self) -> Option<Name> {
        self.reader().name()
    }

    /// Of an SRV: port and host.
    pub(crate) fn service(&self) -> Option<(u16, Name)> {
        let mut reader = self.reader();
        let _priority_and_weight = reader.bytes(4)?;
        Some((reader.u16()?, reader.name()?))
    }

    /// Of a TXT: what stands behind this key, if it has it.
    pub(crate) fn text_of(&self, key: &[u8]) -> Option<&[u8]> {
        let mut rest = self.packet.get(self.starts..self.ends)?;
        while let Some((length, more)) = rest.split_first() {
            let text = more.get(..usize::from(*length))?;
            let value = text
                .strip_prefix(key)
                .and_then(|text| text.strip_prefix(b"="));
            if value.is_some() {
                return value;
            }
            rest = more.get(usize::from(*length)..)?;
        }
        None
    }

    /// Of an A.
    pub(crate) fn address(&self) -> Option<Ipv4Addr> {
        let bytes = self.packet.get(self.starts..self.ends)?;
        Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
    }

    fn reader(&self) -> Reader<'_> {
        // To the record's end and no further; a name may point before it.
        Reader {
            packet: self.packet.get(..self.ends).unwrap_or_default(),
            at: self.starts,
        }
    }
}

/// Goes through a message once.
pub(crate) struct Reader<'a> {
    packet: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(packet: &'a [u8]) -> Self {
        Self { packet, at: 0 }
    }

    /// First of all.
    pub(crate) fn header(&mut self) -> Option<Header> {
        let (id, flags, questions) = (self.u16()?, self.u16()?, self.u16()?);
        let (answers, others, more) = (self.u16()?, self.u16()?, self.u16()?);
        Some(Header {
            id,
            flags,
            questions,
            answers,
            records: answers.saturating_add(others).saturating_add(more),
        })
    }

    pub(crate) fn question(&mut self) -> Option<Question> {
        Some(Question {
            name: self.name()?,
            kind: self.u16()?,
            class: self.u16()?,
        })
    }

    /// One of the Internet's; of others the name is empty, and so nobody's.
    pub(crate) fn record(&mut self) -> Option<Record<'a>> {
        let name = self.name()?;
        let (kind, class) = (self.u16()?, self.u16()?);
        let ttl_s = self.u32()?;
        let length = usize::from(self.u16()?);
        let starts = self.at;
        let _contents = self.bytes(length)?;
        Some(Record {
            name: match class & !TOP_BIT {
                CLASS_IN => name,
                _ => Name(Vec::new()),
            },
            kind,
            ttl_s,
            packet: self.packet,
            starts,
            ends: self.at,
        })
    }

    fn name(&mut self) -> Option<Name> {
        let mut name = Vec::new();
        let mut at = self.at;
        let mut goes_on_at = None;
        // INVARIANT: a pointer leads before all that was read of this name, so every name ends.
        let mut before = at;
        loop {
            let length = *self.packet.get(at)?;
            match length {
                0 => {
                    self.at = goes_on_at.unwrap_or(at + 1);
                    return Some(Name(name));
                }
                1..=63 => {
                    let ends = at + 1 + usize::from(length);
                    let label = self.packet.get(at + 1..ends)?;
                    if name.len() + 1 + label.len() >= NAME_BYTES_MAX {
                        return None;
                    }
                    name.push(length);
                    name.extend(label.iter().map(u8::to_ascii_lowercase));
                    at = ends;
                }
                0xc0.. => {
                    let low = *self.packet.get(at + 1)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if target >= before {
                        return None;
                    }
                    goes_on_at = goes_on_at.or(Some(at + 2));
                    (before, at) = (target, target);
                }
                _ => return None,
            }
        }
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.packet.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }
}

/// Makes a message. Names are written whole: there are few of them.
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn query(id: u16, question: &Question) -> Vec<u8> {
        let mut writer = Self::begin(id, 0, 1, 0);
        writer.question(question);
        writer.bytes
    }

    /// An answer of so many records, which repeats the question of who knows nothing of multicast.
    pub(crate) fn answer(id: u16, question: Option<&Question>, records: u16) -> Self {
        let flags = IS_ANSWER | AUTHORITATIVE;
        let mut writer = Self::begin(id, flags, u16::from(question.is_some()), records);
        if let Some(question) = question {
            writer.question(question);
        }
        writer
    }

    fn begin(id: u16, flags: u16, questions: u16, answers: u16) -> Self {
        let mut writer = Self { bytes: Vec::new() };
        for number in [id, flags, questions, answers, 0, 0] {
            writer.u16(number);
        }
        writer
    }

    fn question(&mut self, question: &Question) {
        self.name(&question.name);
        self.u16(question.kind);
        self.u16(question.class);
    }

    pub(crate) fn pointer(&mut self, name: &Name, ttl_s: u32, target: &Name) {
        self.record((name, TYPE_PTR, CLASS_IN), ttl_s, |writer| {
            writer.name(target);
        });
    }

    pub(crate) fn service(&mut self, (name, class): (&Name, u16), ttl_s: u32, to: (u16, &Name)) {
        let (port, host) = to;
        self.record((name, TYPE_SRV, class), ttl_s, |writer| {
            // Priority and weight.
            writer.u16(0);
            writer.u16(0);
            writer.u16(port);
            writer.name(host);
        });
    }

    pub(crate) fn text(&mut self, (name, class): (&Name, u16), ttl_s: u32, text: &str) {
        self.record((name, TYPE_TXT, class), ttl_s, |writer| {
            let text = text.as_bytes().get(..255).unwrap_or(text.as_bytes());
            writer
                .bytes
                .push(u8::try_from(text.len()).unwrap_or(u8::MAX));
            writer.bytes.extend_from_slice(text);
        });
    }

    pub(crate) fn address(&mut self, (name, class): (&Name, u16), ttl_s: u32, at: Ipv4Addr) {
        self.record((name, TYPE_A, class), ttl_s, |writer| {
            writer.bytes.extend_from_slice(&at.octets());
        });
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.bytes
    }

    fn record(
        &mut self,
        (name, kind, class): (&Name, u16, u16),
        ttl_s: u32,
        contents: impl FnOnce(&mut Self),
    ) {
        self.name(name);
        self.u16(kind);
        self.u16(class);
        self.bytes.extend_from_slice(&ttl_s.to_be_bytes());
        let mut inside = Self { bytes: Vec::new() };
        contents(&mut inside);
        self.u16(u16::try_from(inside.bytes.len()).unwrap_or(0));
        self.bytes.append(&mut inside.bytes);
    }

    fn name(&mut self, name: &Name) {
        self.bytes.extend_from_slice(&name.0);
        self.bytes.push(0);
    }

    fn u16(&mut self, number: u16) {
        self.bytes.extend_from_slice(&number.to_be_bytes());
    }
}

/// The service that a hub is while it pairs. Its talk is QUIC, which is UDP.
pub(crate) fn service() -> Name {
    Name::of(&["_secluso", "_udp", "local"])
}

/// The key of the offer's tag in the service's text.
pub(crate) const TAG_KEY: &str = "o";
