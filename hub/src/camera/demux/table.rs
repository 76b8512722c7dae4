//! The sample tables of a plain MP4 file (ISO/IEC 14496-12, 8.6 and 8.7): five compressed lists,
//! read side by side into one.
//!
//! It must never trust that two tables agree: each is checked to the end of the samples.

use super::boxes::Fields;
use super::{ClipError, SAMPLES_MAX, SampleEntry};
use crate::camera::UNIT_BYTES_MAX;

/// What every sample is checked against, whichever table names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checks {
    pub(super) file_bytes: u64,
    /// The longest duration and composition offset, in ticks.
    pub(super) ticks_max: u32,
}

impl Checks {
    /// Accepts a sample that lies inside the file and inside our limits.
    pub(super) fn sample(&self, index: usize, sample: SampleEntry) -> Result<(), ClipError> {
        let bytes = u64::from(sample.bytes);
        let inside = sample
            .offset
            .checked_add(bytes)
            .is_some_and(|end| end <= self.file_bytes);
        if !inside || bytes == 0 {
            return Err(ClipError::SampleOutside {
                index,
                offset: sample.offset,
                bytes,
                file_bytes: self.file_bytes,
            });
        }
        self.within("picture size in bytes", bytes, UNIT_BYTES_MAX as u64)?;
        self.ticks(sample.duration)?;
        self.ticks(sample.composition_offset.unsigned_abs())
    }

    /// Accepts a number of ticks up to the limit.
    pub(super) fn ticks(&self, ticks: u32) -> Result<(), ClipError> {
        let limit = u64::from(self.ticks_max);
        self.within("duration of one picture in ticks", u64::from(ticks), limit)
    }

    /// Accepts a number of samples up to the limit.
    pub(super) fn sample_count(&self, count: usize) -> Result<(), ClipError> {
        self.within("number of pictures", count as u64, SAMPLES_MAX as u64)
    }

    fn within(&self, what: &'static str, found: u64, limit: u64) -> Result<(), ClipError> {
        if found > limit {
            return Err(ClipError::TooLarge { what, found, limit });
        }
        Ok(())
    }
}

/// Reads `stbl`. In a fragmented file the tables are there and empty.
pub(super) fn read(stbl: Fields<'_>, checks: Checks) -> Result<Vec<SampleEntry>, ClipError> {
    let (count, mut sizes) = Sizes::new(stbl.need(b"stsz")?, checks)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let mut durations = Runs::new(stbl.need(b"stts")?)?;
    let mut offsets = stbl.find(b"ctts")?.map(Runs::new).transpose()?;
    let mut syncs = stbl.find(b"stss")?.map(Syncs::new).transpose()?;
    let mut chunks = Chunks::new(stbl)?;
    let mut samples = Vec::with_capacity(count);
    while samples.len() < count {
        let (mut offset, chunk_samples) = chunks.next()?;
        for _ in 0..chunk_samples {
            let index = samples.len();
            if index == count {
                break;
            }
            let sample = SampleEntry {
                offset,
                bytes: sizes.next()?,
                duration: durations.next()?,
                // Version 0 is unsigned on paper; writers put negative numbers there as well, and
                // no sound offset is so large that the two readings differ.
                composition_offset: match &mut offsets {
                    Some(offsets) => offsets.next()?.cast_signed(),
                    None => 0,
                },
                is_sync: match &mut syncs {
                    Some(syncs) => syncs.is_sync(index)?,
                    None => true,
                },
            };
            checks.sample(index, sample)?;
            offset += u64::from(sample.bytes);
            samples.push(sample);
        }
    }
    Ok(samples)
}

/// `stsz` (8.7.3.2): one size for all, or one for each.
struct Sizes<'a> {
    same: u32,
    each: Fields<'a>,
}

impl<'a> Sizes<'a> {
    fn new(mut stsz: Fields<'a>, checks: Checks) -> Result<(usize, Self), ClipError> {
        stsz.version_and_flags()?;
        let same = stsz.u32()?;
        let count = if same == 0 {
            stsz.entry_count(4)?
        } else {
            stsz.u32()? as usize
        };
        checks.sample_count(count)?;
        Ok((count, Self { same, each: stsz }))
    }

    fn next(&mut self) -> Result<u32, ClipError> {
        if self.same == 0 {
            self.each.u32()
        } else {
            Ok(self.same)
        }
    }
}

/// `stts` (8.6.1.2) and `ctts` (8.6.1.3): runs of (count, value).
struct Runs<'a> {
    entries: Fields<'a>,
    entries_left: usize,
    run_left: u32,
    value: u32,
}

impl<'a> Runs<'a> {
    fn new(mut entries: Fields<'a>) -> Result<Self, ClipError> {
        entries.version_and_flags()?;
        let entries_left = entries.entry_count(8)?;
        Ok(Self {
            entries,
            entries_left,
            run_left: 0,
            value: 0,
        })
    }

    fn next(&mut self) -> Result<u32, ClipError> {
        while self.run_left == 0 {
            self.entries_left = self
                .entries_left
                .checked_sub(1)
                .ok_or(self.entries.malformed("it ends before the pictures do"))?;
            self.run_left = self.entries.u32()?;
            self.value = self.entries.u32()?;
        }
        self.run_left -= 1;
        Ok(self.value)
    }
}

/// `stss` (8.6.2): the numbers of the sync samples, counted from 1, rising.
struct Syncs<'a> {
    entries: Fields<'a>,
    entries_left: usize,
    upcoming: Option<u32>,
}

impl<'a> Syncs<'a> {
    fn new(mut entries: Fields<'a>) -> Result<Self, ClipError> {
        entries.version_and_flags()?;
        let entries_left = entries.entry_count(4)?;
        let mut this = Self {
            entries,
            entries_left,
            upcoming: None,
        };
        this.advance()?;
        Ok(this)
    }

    fn advance(&mut self) -> Result<(), ClipError> {
        self.upcoming = match self.entries_left.checked_sub(1) {
            Some(left) => {
                self.entries_left = left;
                Some(self.entries.u32()?)
            }
            None => None,
        };
        Ok(())
    }

    fn is_sync(&mut self, index: usize) -> Result<bool, ClipError> {
        let number = index as u64 + 1;
        match self.upcoming.map(u64::from) {
            Some(upcoming) if upcoming == number => {
                self.advance()?;
                Ok(true)
            }
            Some(upcoming) if upcoming < number => {
                Err(self.entries.malformed("its numbers do not rise"))
            }
            _ => Ok(false),
        }
    }
}

/// `stsc` (8.7.4) with `stco` or `co64` (8.7.5): where each chunk begins and how many samples lie
/// in it. (A chunk here is the standard's word: a run of samples in the file.)
struct Chunks<'a> {
    offsets: Fields<'a>,
    offsets_left: usize,
    offset_bytes: usize,
    runs: Fields<'a>,
    runs_left: usize,
    /// The chunk at which the next run begins, counted from 1.
    upcoming_chunk: Option<u32>,
    upcoming_samples: u32,
    chunk: u32,
    samples: u32,
}

impl<'a> Chunks<'a> {
    fn new(stbl: Fields<'a>) -> Result<Self, ClipError> {
        let (mut offsets, offset_bytes) = match stbl.find(b"co64")? {
            Some(co64) => (co64, 8),
            None => (stbl.need(b"stco")?, 4),
        };
        offsets.version_and_flags()?;
        let offsets_left = offsets.entry_count(offset_bytes)?;
        let mut runs = stbl.need(b"stsc")?;
        runs.version_and_flags()?;
        let runs_left = runs.entry_count(12)?;
        let mut this = Self {
            offsets,
            offsets_left,
            offset_bytes,
            runs,
            runs_left,
            upcoming_chunk: None,
            upcoming_samples: 0,
            chunk: 0,
            samples: 0,
        };
        this.advance_run()?;
        if this.upcoming_chunk != Some(1) {
            return Err(this.runs.malformed("it does not begin at chunk 1"));
        }
        Ok(this)
    }

    fn advance_run(&mut self) -> Result<(), ClipError> {
        let Some(left) = self.runs_left.checked_sub(1) else {
            self.upcoming_chunk = None;
            return Ok(());
        };
        self.runs_left = left;
        self.upcoming_chunk = Some(self.runs.u32()?);
        self.upcoming_samples = self.runs.u32()?;
        // The `stsd` was checked to have one entry, so there is nothing else to choose.
        let _description_index = self.runs.u32()?;
        Ok(())
    }

    /// Where the next chunk begins, and how many samples it has: at least one, so that the caller
    /// gets on.
    fn next(&mut self) -> Result<(u64, u32), ClipError> {
        self.offsets_left = self
            .offsets_left
            .checked_sub(1)
            .ok_or(self.offsets.malformed("it ends before the pictures do"))?;
        // At most as many chunks as entries fit in a `moov`.
        self.chunk += 1;
        if let Some(upcoming) = self.upcoming_chunk
            && upcoming <= self.chunk
        {
            if upcoming < self.chunk {
                return Err(self.runs.malformed("its chunk numbers do not rise"));
            }
            self.samples = self.upcoming_samples;
            self.advance_run()?;
        }
        if self.samples == 0 {
            return Err(self.runs.malformed("it has a chunk without pictures"));
        }
        let offset = if self.offset_bytes == 8 {
            self.offsets.u64()?
        } else {
            u64::from(self.offsets.u32()?)
        };
        Ok((offset, self.samples))
    }
}
