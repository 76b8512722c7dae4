//! `re_mp4` as a judge: the boxes, the samples, and the times of the fragments.
//!
//! It is pure.

use std::time::Duration;

use re_mp4::{Mp4, Track, TrackKind};

use crate::{Fault, Film, Want};

/// The judge's name.
const JUDGE: &str = "re_mp4";

/// What is in a film.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How many pictures.
    pub pictures: usize,
    /// From the first picture to the end of the last, holes included.
    pub lasts: Duration,
    /// How long the longest picture is shown.
    pub picture: Duration,
    /// How long the sound lasts, if there is any.
    pub sound: Option<Duration>,
    /// At how many places pictures are missing between two fragments.
    pub holes: usize,
}

impl Seen {
    /// Looks at the bytes of a film.
    ///
    /// # Errors
    /// In the reader's words, or what it has found.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        let mp4 = Mp4::read_bytes(bytes).map_err(|error| error.to_string())?;
        let of_kind = |kind| {
            let mut tracks = mp4.tracks().values();
            tracks.find(|track| track.kind == Some(kind))
        };
        let video = of_kind(TrackKind::Video).ok_or("it has no video track")?;
        let pictures = Times::of(&mp4, video)?;
        // A track without a sample is no sound.
        let audio = of_kind(TrackKind::Audio).filter(|track| !track.samples.is_empty());
        let sound = audio.map(|track| Times::of(&mp4, track)).transpose()?;
        let samples = [Some(video), audio].into_iter().flatten();
        for sample in samples.flat_map(|track| &track.samples) {
            if bytes.get(sample.byte_range()).is_none_or(<[u8]>::is_empty) {
                return Err(format!("the bytes of sample {} are not there", sample.id));
            }
        }
        Ok(Self {
            pictures: video.samples.len(),
            lasts: pictures.lasts,
            picture: pictures.longest,
            sound: sound.map(|sound| sound.lasts),
            holes: pictures.holes,
        })
    }
}

/// The times of a track over all fragments.
struct Times {
    lasts: Duration,
    longest: Duration,
    holes: usize,
}

impl Times {
    /// The reader itself adds durations up and passes over what the fragments say of time; both are compared here.
    fn of(mp4: &Mp4, track: &Track) -> Result<Self, String> {
        let time = |ticks: u64| ticks_to_time(ticks, track.timescale);
        let (mut begins, mut ends, mut longest, mut holes) = (None, 0, 0, 0);
        let runs = mp4.moofs.iter().flat_map(|moof| &moof.trafs);
        for traf in runs.filter(|traf| traf.tfhd.track_id == track.track_id) {
            let tfdt = traf
                .tfdt
                .as_ref()
                .ok_or("a fragment does not say its time")?;
            let at = tfdt.base_media_decode_time;
            if begins.is_some() && at < ends {
                return Err(format!("time runs back from {ends} to {at} ticks"));
            }
            holes += usize::from(begins.is_some() && at > ends);
            begins = begins.or(Some(at));
            ends = at;
            let default = traf.tfhd.default_sample_duration.unwrap_or(0);
            for trun in &traf.truns {
                for sample in 0..trun.sample_count as usize {
                    let own = trun.sample_durations.get(sample).copied();
                    let ticks = u64::from(own.unwrap_or(default));
                    ends += ticks;
                    longest = longest.max(ticks);
                }
            }
        }
        let begins = begins.ok_or("it has no fragment")?;
        Ok(Self {
            lasts: time(ends - begins),
            longest: time(longest),
            holes,
        })
    }
}

/// Without overflow for any ticks of 64 bits.
fn ticks_to_time(ticks: u64, timescale: u64) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Film {
    /// A film of whose source nothing is at hand: for all others it should be what `re_mp4` sees in it. Without `mime`
    /// that is made of what the reader calls its codec; such a film is silent.
    ///
    /// # Errors
    /// [`Fault::Refused`].
    pub fn found(name: &str, bytes: Vec<u8>, mime: Option<&str>) -> Result<Self, Fault> {
        let refused = |said| Fault::Refused {
            judge: JUDGE,
            film: name.to_owned(),
            said,
        };
        let seen = Seen::of(&bytes).map_err(refused)?;
        let mime = match mime {
            Some(mime) => mime.to_owned(),
            None => {
                let codec = codec(&bytes).ok_or_else(|| refused("a strange codec".to_owned()))?;
                format!("video/mp4; codecs=\"{codec}\"")
            }
        };
        Ok(Self {
            name: name.to_owned(),
            bytes,
            mime,
            want: Want::from(&seen),
        })
    }
}

/// What the reader calls the codec of the pictures.
fn codec(bytes: &[u8]) -> Option<String> {
    let mp4 = Mp4::read_bytes(bytes).ok()?;
    let mut tracks = mp4.tracks().values();
    let video = tracks.find(|track| track.kind == Some(TrackKind::Video))?;
    video.codec_string(&mp4)
}

/// Has `re_mp4` judge a film.
///
/// # Errors
/// [`Fault::Refused`].
pub fn read(film: &Film) -> Result<Seen, Fault> {
    let refused = |said| Fault::refused(JUDGE, film, said);
    let seen = Seen::of(&film.bytes).map_err(refused)?;
    match film.want.differs(seen.pictures, seen.lasts, seen.sound) {
        None => Ok(seen),
        Some(said) => Err(refused(said)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;

    /// Somebody else's fragmented MP4, with sound and B-frames: 50 pictures in 2 s.
    pub(crate) fn foreign() -> Vec<u8> {
        let place = "../../hub/testdata/fragmented.mp4";
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
        std::fs::read(path).expect("the clip is committed")
    }

    /// The same without the last bytes of its last fragment.
    pub(crate) fn cut() -> Vec<u8> {
        let mut bytes = foreign();
        let last = bytes.windows(4).rposition(|four| four == b"mdat");
        bytes.truncate(last.expect("one") + 100);
        bytes
    }

    /// The same twice, so that time runs back in the middle.
    pub(crate) fn twice() -> Vec<u8> {
        let once = foreign();
        let first = once.windows(4).position(|four| four == b"moof");
        let fragments = &once[first.expect("one") - 4..];
        [&once[..], fragments].concat()
    }

    #[test]
    fn a_film_is_read_and_one_that_is_cut_or_runs_back_is_refused() {
        let seen = Seen::of(&foreign()).expect("a sound film");
        assert_eq!((seen.pictures, seen.holes), (50, 0));
        assert!(seen.lasts.abs_diff(Duration::from_secs(2)) <= seen.picture + seen.picture);
        assert!(seen.sound.is_some());
        let said = Seen::of(&cut()).expect_err("its end is missing");
        assert!(!said.is_empty());
        let said = Seen::of(&twice()).expect_err("it begins again");
        assert!(said.contains("time runs back"), "{said}");
        assert!(Seen::of(b"no film").is_err());
    }
}
