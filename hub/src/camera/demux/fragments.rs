//! Movie fragments (ISO/IEC 14496-12, 8.8): the samples of a file that was recorded while it was
//! written, such as our own clips.
//!
//! It must never hold more than one `moof` at a time, and never let a fragment move time back
//! over a picture that is already placed.

use super::boxes::Fields;
use super::movie::Movie;
use super::{ClipError, SampleEntry};
use crate::fmp4::{SAMPLE_IS_NON_SYNC, tfhd_flags, trun_flags};

/// Collects the samples of one track from the tables and then from each fragment.
pub(super) struct FragmentReader {
    movie: Movie,
    samples: Vec<SampleEntry>,
    /// The decode time at which the last sample ends, in ticks; `None` before the first one.
    decode_end: Option<u64>,
}

/// What a track fragment says once for all its runs (`tfhd`, 8.8.7).
struct Header {
    base_offset: u64,
    duration: u32,
    bytes: u32,
    flags: u32,
}

impl FragmentReader {
    pub(super) fn new(movie: Movie, samples: Vec<SampleEntry>) -> Self {
        let ticks: u64 = samples.iter().map(|s| u64::from(s.duration)).sum();
        let decode_end = (!samples.is_empty()).then_some(ticks);
        Self {
            movie,
            samples,
            decode_end,
        }
    }

    pub(super) fn into_parts(self) -> (Movie, Vec<SampleEntry>) {
        (self.movie, self.samples)
    }

    /// Reads one `moof` that begins at `start` in the file.
    pub(super) fn read(&mut self, mut moof: Fields<'_>, start: u64) -> Result<(), ClipError> {
        while let Some(traf) = moof.child()? {
            if &traf.inside().0 == b"traf" {
                self.read_track_fragment(traf, start)?;
            }
        }
        Ok(())
    }

    fn read_track_fragment(&mut self, mut traf: Fields<'_>, start: u64) -> Result<(), ClipError> {
        let Some(header) = self.header(traf.need(b"tfhd")?, start)? else {
            return Ok(());
        };
        if let Some(tfdt) = traf.find(b"tfdt")? {
            self.move_to(tfdt)?;
        }
        let mut data_at = header.base_offset;
        while let Some(trun) = traf.child()? {
            if &trun.inside().0 == b"trun" {
                data_at = self.read_run(trun, &header, data_at)?;
            }
        }
        Ok(())
    }

    /// `None` if the fragment belongs to another track.
    fn header(&self, mut tfhd: Fields<'_>, moof_start: u64) -> Result<Option<Header>, ClipError> {
        let (_, flags) = tfhd.version_and_flags()?;
        if tfhd.u32()? != self.movie.track_id {
            return Ok(None);
        }
        let defaults = self
            .movie
            .defaults
            .ok_or(tfhd.malformed("the file has no trex box for its track"))?;
        let has = |flag| flags & flag != 0;
        let mut field = |flag, otherwise| {
            if has(flag) { tfhd.u32() } else { Ok(otherwise) }
        };
        // The fields come in this order. A base offset is 64 bits wide.
        let base_offset = if has(tfhd_flags::BASE_DATA_OFFSET) {
            let high = field(tfhd_flags::BASE_DATA_OFFSET, 0)?;
            let low = field(tfhd_flags::BASE_DATA_OFFSET, 0)?;
            u64::from(high) << 32 | u64::from(low)
        } else {
            moof_start
        };
        let _description_index = field(tfhd_flags::SAMPLE_DESCRIPTION_INDEX, 0)?;
        Ok(Some(Header {
            base_offset,
            duration: field(tfhd_flags::DEFAULT_DURATION, defaults.duration)?,
            bytes: field(tfhd_flags::DEFAULT_SIZE, defaults.bytes)?,
            flags: field(tfhd_flags::DEFAULT_FLAGS, defaults.flags)?,
        }))
    }

    /// Places the next sample at the time in `tfdt` (8.8.12). The sample before it lasts until
    /// then: that is how a pause in a recording shows.
    fn move_to(&mut self, mut tfdt: Fields<'_>) -> Result<(), ClipError> {
        let (version, _) = tfdt.version_and_flags()?;
        let time = if version == 1 {
            tfdt.u64()?
        } else {
            u64::from(tfdt.u32()?)
        };
        if let (Some(end), Some(last)) = (self.decode_end, self.samples.last_mut()) {
            let duration = u64::from(last.duration)
                .checked_add(time)
                .and_then(|sum| sum.checked_sub(end))
                .ok_or(tfdt.malformed("its time is before the last picture"))?;
            let duration = u32::try_from(duration).unwrap_or(u32::MAX);
            self.movie.checks.ticks(duration)?;
            last.duration = duration;
        }
        self.decode_end = Some(time);
        Ok(())
    }

    /// Reads a run of samples (`trun`, 8.8.8); answers where its data ends.
    fn read_run(
        &mut self,
        mut trun: Fields<'_>,
        header: &Header,
        mut data_at: u64,
    ) -> Result<u64, ClipError> {
        let (_, flags) = trun.version_and_flags()?;
        let count = trun.u32()? as usize;
        let checks = self.movie.checks;
        checks.sample_count(self.samples.len().saturating_add(count))?;
        let has = |flag| flags & flag != 0;
        if has(trun_flags::DATA_OFFSET) {
            data_at = header
                .base_offset
                .checked_add_signed(i64::from(trun.i32()?))
                .ok_or(trun.malformed("its data lies outside the file"))?;
        }
        let mut first_flags = None;
        if has(trun_flags::FIRST_SAMPLE_FLAGS) {
            first_flags = Some(trun.u32()?);
        }
        for index in 0..count {
            let mut field = |flag, otherwise| {
                if has(flag) { trun.u32() } else { Ok(otherwise) }
            };
            let duration = field(trun_flags::DURATION, header.duration)?;
            let bytes = field(trun_flags::SIZE, header.bytes)?;
            let shared = match first_flags {
                Some(flags) if index == 0 => flags,
                _ => header.flags,
            };
            let sample_flags = field(trun_flags::FLAGS, shared)?;
            let sample = SampleEntry {
                offset: data_at,
                bytes,
                duration,
                composition_offset: field(trun_flags::COMPOSITION_OFFSET, 0)?.cast_signed(),
                is_sync: sample_flags & SAMPLE_IS_NON_SYNC == 0,
            };
            checks.sample(self.samples.len(), sample)?;
            self.place(sample, trun)?;
            data_at += u64::from(bytes);
        }
        Ok(data_at)
    }

    fn place(&mut self, sample: SampleEntry, trun: Fields<'_>) -> Result<(), ClipError> {
        let end = self
            .decode_end
            .unwrap_or(0)
            .checked_add(u64::from(sample.duration))
            .ok_or(trun.malformed("its time is beyond 64 bits"))?;
        self.decode_end = Some(end);
        self.samples.push(sample);
        Ok(())
    }
}
