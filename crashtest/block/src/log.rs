//! What the kernel told a drive, in order: the log of a device, its file, and the disk that each
//! part of it leaves.
//!
//! A record has a beginning and an end, because a flush covers only writes that had ended before it
//! began. This room does no IO, knows nothing of file systems, and never panics on bytes, whatever
//! they are.

use std::collections::BTreeMap;

use crashtest_replay::image::Image;

/// The first bytes of a log's file; the last of them is the version of the layout.
const MAGIC: [u8; 4] = *b"SBL\x01";
/// A disk larger than this is no test's.
const DISK_BYTES_MAX: u64 = 1 << 32;
/// More in one request than the kernel ever sends.
const WRITE_BYTES_MAX: u64 = 1 << 26;
/// The unit in which a drive stores.
pub const SECTOR_BYTES: u64 = 512;

/// What the drive was told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// To store bytes.
    Write {
        /// Where.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// To store zeros.
    Zero {
        /// Where.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// To make durable whatever it had acknowledged.
    Flush,
}

impl Act {
    /// First and last byte but one; nothing for a flush.
    #[must_use]
    pub fn range(&self) -> Option<(u64, u64)> {
        match self {
            Self::Write { offset, bytes } => Some((*offset, *offset + bytes.len() as u64)),
            Self::Zero { offset, length } => Some((*offset, offset.saturating_add(*length))),
            Self::Flush => None,
        }
    }

    /// How many bytes it stores.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.range().map_or(0, |(from, to)| to - from)
    }
}

/// One thing that the drive was told, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub act: Act,
    /// Its beginning among all beginnings and ends, which is exact where clocks are not.
    pub began: u64,
    /// Its end; `u64::MAX` if there was none.
    pub ended: u64,
    /// `CLOCK_MONOTONIC` at its beginning, in nanoseconds: the clock of the recorder's marks.
    pub began_nanos: u64,
    /// At its end, taken before the kernel could know of it.
    pub ended_nanos: u64,
}

impl Record {
    /// Whether it is a flush.
    #[must_use]
    pub fn is_flush(&self) -> bool {
        self.act == Act::Flush
    }
}

/// Why a file is no log, or a log no story of a drive.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// Not what this program writes.
    #[error("it is no log of a device, or one that was cut off or changed")]
    Damaged,
    /// Two writes to one place were under way at once, and nobody can say which stands.
    #[error("records {0} and {1} write to one place at one time")]
    Overlap(usize, usize),
}

/// A disk as it was, and everything that the drive was told since.
#[derive(Clone, Default)]
pub struct Log {
    /// The disk before the first record. All of it is durable.
    pub before: Image,
    /// In the order in which they began.
    pub records: Vec<Record>,
}

impl Log {
    /// Puts one record on a disk, or the part of it between two of its bytes.
    pub fn put(&self, image: &mut Image, record: usize, part: Option<(u64, u64)>) {
        let Some(record) = self.records.get(record) else {
            return;
        };
        match &record.act {
            Act::Write { offset, bytes } => {
                let (from, to) = part.unwrap_or((0, bytes.len() as u64));
                if let Some(bytes) = bytes.get(from as usize..to as usize) {
                    image.write(offset + from, bytes);
                }
            }
            Act::Zero { offset, length } => {
                let (from, to) = part.unwrap_or((0, *length));
                image.zero(offset + from, to.min(*length).saturating_sub(from));
            }
            Act::Flush => {}
        }
    }

    /// Bytes written, writes and flushes.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for record in &self.records {
            if record.is_flush() {
                totals.flushes += 1;
            } else {
                totals.writes += 1;
                totals.bytes += record.act.length();
            }
        }
        totals
    }

    /// INVARIANT: records are applied in the order in which they began, and a flush that covers a
    /// later write to some place covers every earlier one to it. Holds because no two writes to one
    /// place are under way at once: the kernel keeps a page under write-back from being written again.
    ///
    /// # Errors
    /// It does not hold, so that this log tells no story.
    pub fn ordered(&self) -> Result<(), LogError> {
        let mut under_way: Vec<(usize, &Record, (u64, u64))> = Vec::new();
        for (number, record) in self.records.iter().enumerate() {
            let Some((from, to)) = record.act.range() else {
                continue;
            };
            under_way.retain(|(_, other, _)| other.ended > record.began);
            let clash = under_way
                .iter()
                .find(|(_, _, other)| from < other.1 && other.0 < to);
            if let Some((other, _, _)) = clash {
                return Err(LogError::Overlap(*other, number));
            }
            under_way.push((number, record, (from, to)));
        }
        Ok(())
    }

    /// The log as a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        let number = |out: &mut Vec<u8>, number: u64| out.extend(number.to_le_bytes());
        number(&mut out, self.before.length());
        let pages: BTreeMap<u64, &[u8]> = self
            .before
            .pages()
            .map(|(offset, bytes)| (offset, bytes.as_slice()))
            .collect();
        number(&mut out, pages.len() as u64);
        for (offset, bytes) in pages {
            number(&mut out, offset);
            number(&mut out, bytes.len() as u64);
            out.extend(bytes);
        }
        number(&mut out, self.records.len() as u64);
        for record in &self.records {
            let (kind, (from, to)) = match &record.act {
                Act::Write { .. } => (1, record.act.range().unwrap_or_default()),
                Act::Zero { .. } => (2, record.act.range().unwrap_or_default()),
                Act::Flush => (3, (0, 0)),
            };
            out.push(kind);
            let times = [
                record.began,
                record.ended,
                record.began_nanos,
                record.ended_nanos,
            ];
            for value in [from, to - from].into_iter().chain(times) {
                number(&mut out, value);
            }
            if let Act::Write { bytes, .. } = &record.act {
                out.extend(bytes);
            }
        }
        let sum = crc32fast::hash(&out);
        out.extend(sum.to_le_bytes());
        out
    }

    /// The checksum at the end of that file, which tells this log from others. (That of the file
    /// with its own checksum would be the same for all.)
    #[must_use]
    pub fn sum(&self) -> u32 {
        let sum = self.encode().last_chunk::<4>().copied();
        sum.map_or(0, u32::from_le_bytes)
    }

    /// Reads such a file.
    ///
    /// # Errors
    /// It is none, or what it says cannot be.
    pub fn decode(bytes: &[u8]) -> Result<Self, LogError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(LogError::Damaged)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*sum) {
            return Err(LogError::Damaged);
        }
        let log = Reader(body).log().ok_or(LogError::Damaged)?;
        log.ordered()?;
        Ok(log)
    }
}

/// What a log amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Writes, zeroing included.
    pub writes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Flushes.
    pub flushes: u64,
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    fn log(mut self) -> Option<Log> {
        if self.take(MAGIC.len() as u64)? != MAGIC {
            return None;
        }
        let size = self.number().filter(|size| *size <= DISK_BYTES_MAX)?;
        let mut before = Image::default();
        before.set_length(size);
        for _ in 0..self.number()? {
            let (offset, length) = (self.number()?, self.number()?);
            let bytes = self.take(length)?;
            within(size, offset, length)?;
            before.write(offset, bytes);
        }
        let mut records: Vec<Record> = Vec::new();
        for _ in 0..self.number()? {
            let kind = self.take(1)?;
            let (offset, length) = (self.number()?, self.number()?);
            let (began, ended) = (self.number()?, self.number()?);
            let (began_nanos, ended_nanos) = (self.number()?, self.number()?);
            within(size, offset, length)?;
            let act = match kind {
                [1] if length <= WRITE_BYTES_MAX => Act::Write {
                    offset,
                    bytes: self.take(length)?.to_vec(),
                },
                [2] => Act::Zero { offset, length },
                [3] => Act::Flush,
                _ => return None,
            };
            let in_order = records.last().is_none_or(|last| last.began < began);
            if !in_order || ended <= began {
                return None;
            }
            records.push(Record {
                act,
                began,
                ended,
                began_nanos,
                ended_nanos,
            });
        }
        self.0.is_empty().then_some(Log { before, records })
    }
}

fn within(size: u64, offset: u64, length: u64) -> Option<()> {
    (offset.checked_add(length)? <= size).then_some(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A log of writes `(page, byte, began, ended)` and flushes `(began, ended)`, nanoseconds ten
    /// times the places.
    pub(crate) fn log_of(writes: &[(u64, u8, u64, u64)], flushes: &[(u64, u64)]) -> Log {
        let mut before = Image::default();
        before.set_length(64 * 4096);
        let mut records: Vec<Record> = Vec::new();
        let record = |act, began, ended: u64| Record {
            act,
            began,
            ended,
            began_nanos: began * 10,
            ended_nanos: ended.saturating_mul(10),
        };
        for (page, byte, began, ended) in writes {
            let act = Act::Write {
                offset: page * 4096,
                bytes: vec![*byte; 4096],
            };
            records.push(record(act, *began, *ended));
        }
        for (began, ended) in flushes {
            records.push(record(Act::Flush, *began, *ended));
        }
        records.sort_by_key(|record| record.began);
        Log { before, records }
    }

    #[test]
    fn a_log_is_read_as_it_was_written_and_nothing_less() {
        let mut log = log_of(&[(1, 7, 1, 2), (2, 8, 3, 4)], &[(5, 6)]);
        log.before.write(4096, b"before");
        log.records.push(Record {
            act: Act::Zero {
                offset: 8192,
                length: 512,
            },
            began: 7,
            ended: u64::MAX,
            began_nanos: 70,
            ended_nanos: u64::MAX,
        });
        let bytes = log.encode();
        let read = Log::decode(&bytes).unwrap();
        assert_eq!(read.records, log.records);
        assert_eq!(read.before.hash(), log.before.hash());
        let totals = Totals {
            writes: 3,
            bytes: 4096 * 2 + 512,
            flushes: 1,
        };
        assert_eq!(read.totals(), totals);
        for length in 0..bytes.len() {
            assert!(Log::decode(&bytes[..length]).is_err(), "{length}");
        }
        for at in (0..bytes.len()).step_by(97) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Log::decode(&changed).is_err(), "{at}");
        }
    }

    #[test]
    fn two_writes_to_one_place_at_one_time_are_no_story() {
        let apart = log_of(&[(1, 1, 1, 2), (1, 2, 3, 4)], &[]);
        assert_eq!(apart.ordered(), Ok(()));
        let beside = log_of(&[(1, 1, 1, 4), (2, 2, 2, 3)], &[]);
        assert_eq!(beside.ordered(), Ok(()));
        let over = log_of(&[(1, 1, 1, 4), (1, 2, 2, 3)], &[]);
        assert_eq!(over.ordered(), Err(LogError::Overlap(0, 1)));
    }

    #[test]
    fn a_part_of_a_write_leaves_the_rest_as_it_was() {
        let log = log_of(&[(1, 7, 1, 2)], &[]);
        let mut image = log.before.clone();
        image.write(4096, &[1; 4096]);
        log.put(&mut image, 0, Some((512, 1024)));
        let mut out = vec![0; 4096];
        image.read(4096, &mut out);
        assert_eq!(out[..512], [1; 512]);
        assert_eq!(out[512..1024], [7; 512]);
        assert_eq!(out[1024..], [1; 3072]);
    }
}
