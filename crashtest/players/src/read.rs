//! `re_mp4` as a judge: the boxes, the samples, and the times of the fragments.
//!
//! It is pure.

use std::ops::Range;
use std::time::Duration;

use re_mp4::{Mp4, Track, TrackKind, TrafBox, TrunBox};

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

    /// What the other judges should see: as many pictures and as much sound as this one. How long it lasts, and the longest
    /// picture of it, is for somebody to say who knows what was sent.
    #[must_use]
    pub fn want(&self, lasts: Duration, picture: Duration) -> Want {
        Want {
            pictures: self.pictures,
            lasts,
            picture,
            sound: self.sound,
        }
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
            let run = Run::of(traf);
            ends += run.ticks;
            longest = longest.max(run.longest);
        }
        let begins = begins.ok_or("it has no fragment")?;
        Ok(Self {
            lasts: time(ends - begins),
            longest: time(longest),
            holes,
        })
    }
}

/// How long the samples of one fragment last, in ticks.
struct Run {
    ticks: u64,
    longest: u64,
}

impl Run {
    fn of(traf: &TrafBox) -> Self {
        let default = traf.tfhd.default_sample_duration.unwrap_or(0);
        let of_run = |trun: &TrunBox| {
            let own = trun.sample_durations.clone();
            let samples = (trun.sample_count as usize).max(own.len());
            own.into_iter()
                .chain(std::iter::repeat(default))
                .take(samples)
        };
        let (mut ticks, mut longest) = (0, 0);
        for sample in traf.truns.iter().flat_map(of_run).map(u64::from) {
            ticks += sample;
            longest = longest.max(sample);
        }
        Self { ticks, longest }
    }
}

/// What stands before the first fragment, and each fragment. What is no box goes with what is before it.
pub(crate) fn parts(bytes: &[u8]) -> Vec<&[u8]> {
    let (mut parts, mut begin, mut at) = (Vec::new(), 0, 0);
    while let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let [a, b, c, d, kind @ ..] = *head;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if size < 8 || size > bytes.len() - at {
            break;
        }
        if kind == *b"moof" && at > begin {
            parts.push(&bytes[begin..at]);
            begin = at;
        }
        at += size;
    }
    if begin < bytes.len() {
        parts.push(&bytes[begin..]);
    }
    parts
}

/// Without overflow for any ticks of 64 bits.
fn ticks_to_time(ticks: u64, timescale: u64) -> Duration {
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl Film {
    /// A film as it was received, which should be what was sent: `want`. Without `mime` that is made of what `re_mp4` calls
    /// its codec; such a film is silent.
    ///
    /// # Errors
    /// [`Fault::Refused`].
    pub fn received(
        name: &str,
        bytes: Vec<u8>,
        mime: Option<&str>,
        want: Want,
    ) -> Result<Self, Fault> {
        let mime = match mime {
            Some(mime) => mime.to_owned(),
            None => {
                let codec = codec(&bytes).ok_or_else(|| Fault::Refused {
                    judge: JUDGE,
                    film: name.to_owned(),
                    said: "a strange codec".to_owned(),
                })?;
                format!("video/mp4; codecs=\"{codec}\"")
            }
        };
        Ok(Self {
            name: name.to_owned(),
            bytes,
            mime,
            want,
        })
    }
}

/// A part of a film in which no picture is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The part as a film of its own.
    pub bytes: Vec<u8>,
    /// Which fragments of the whole it has, counted from zero.
    pub fragments: Range<usize>,
}

/// The longest stretch of a film without a hole. Live pictures may be lost on the way; a player then goes on behind the
/// hole, and has dropped the picture that it jumps from.
///
/// # Errors
/// In the reader's words, or what it has found.
pub fn longest_stretch(bytes: &[u8]) -> Result<Stretch, String> {
    let mp4 = Mp4::read_bytes(bytes).map_err(|error| error.to_string())?;
    let mut tracks = mp4.tracks().values();
    let video = tracks.find(|track| track.kind == Some(TrackKind::Video));
    let video = video.ok_or("it has no video track")?;
    let parts = parts(bytes);
    let (init, fragments) = parts.split_first().ok_or("it has nothing")?;
    let mut stretches: Vec<(u64, Stretch)> = Vec::new();
    let mut ends = None;
    for (number, (fragment, moof)) in fragments.iter().zip(&mp4.moofs).enumerate() {
        let mut trafs = moof.trafs.iter();
        let traf = trafs.find(|traf| traf.tfhd.track_id == video.track_id);
        let Some((traf, tfdt)) = traf.and_then(|traf| Some((traf, traf.tfdt.as_ref()?))) else {
            return Err("a fragment has no picture, or no time".to_owned());
        };
        let at = tfdt.base_media_decode_time;
        if ends != Some(at) {
            let stretch = Stretch {
                bytes: init.to_vec(),
                fragments: number..number,
            };
            stretches.push((0, stretch));
        }
        let ticks = Run::of(traf).ticks;
        ends = Some(at + ticks);
        if let Some((lasts, stretch)) = stretches.last_mut() {
            *lasts += ticks;
            stretch.bytes.extend_from_slice(fragment);
            stretch.fragments.end = number + 1;
        }
    }
    let longest = stretches.into_iter().max_by_key(|(ticks, _)| *ticks);
    let (_, stretch) = longest.ok_or("it has no fragment")?;
    Ok(stretch)
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

    /// Fragments whose pictures last as long as is said, one picture each, of the camera of the committed clip.
    fn film_of(times: &[(u64, u32)]) -> Vec<u8> {
        let foreign = foreign();
        let mut bytes = parts(&foreign)[0].to_vec();
        let put = |out: &mut Vec<u8>, kind: &[u8; 4], body: &[u8]| {
            out.extend_from_slice(&u32::try_from(8 + body.len()).unwrap().to_be_bytes());
            out.extend_from_slice(kind);
            out.extend_from_slice(body);
        };
        for (at, ticks) in times {
            let (mut tfhd, mut tfdt, mut trun) = (Vec::new(), Vec::new(), Vec::new());
            // The base is this moof; the track is the first.
            put(&mut tfhd, b"tfhd", &[0, 2, 0, 0, 0, 0, 0, 1]);
            put(
                &mut tfdt,
                b"tfdt",
                &[&[1, 0, 0, 0][..], &at.to_be_bytes()].concat(),
            );
            // One sample with duration and size; its bytes are behind 8 + 16 + 8 + 16 + 20 + 28 of moof and 8 of mdat.
            let run = [0x0301_u32, 1, 104, *ticks, 3].map(u32::to_be_bytes);
            put(&mut trun, b"trun", run.as_flattened());
            let (mut traf, mut moof) = (Vec::new(), Vec::new());
            put(&mut traf, b"traf", &[tfhd, tfdt, trun].concat());
            let mut fragment = Vec::new();
            put(&mut fragment, b"mfhd", &[0; 8]);
            fragment.extend(traf);
            put(&mut moof, b"moof", &fragment);
            put(&mut moof, b"mdat", &[1, 2, 3]);
            bytes.extend(moof);
        }
        bytes
    }

    #[test]
    fn the_longest_stretch_is_between_two_holes() {
        // In ticks of 1/12,800 s.
        let film = film_of(&[
            (100, 512),
            (700, 512),
            (1_212, 640),
            (1_852, 512),
            (9_000, 512),
        ]);
        let seen = Seen::of(&film).expect("sound");
        assert_eq!((seen.pictures, seen.holes), (5, 2));
        assert_eq!(seen.lasts, ticks_to_time(9_412, 12_800));
        assert_eq!(seen.picture, Duration::from_millis(50));
        let stretch = longest_stretch(&film).expect("there is one");
        assert_eq!(stretch.fragments, 1..4);
        let seen = Seen::of(&stretch.bytes).expect("sound");
        assert_eq!((seen.pictures, seen.holes), (3, 0));
        assert_eq!(seen.lasts, Duration::from_millis(130));
        assert!(longest_stretch(b"no film").is_err());
    }

    /// How long it should last is not taken from the film, so one that says another time is refused.
    #[test]
    fn a_film_whose_times_are_wrong_is_refused() {
        // Three pictures of 40 ms, as the camera made them, and the same at half the speed.
        let good = film_of(&[(0, 512), (512, 512), (1_024, 512)]);
        let slow = film_of(&[(0, 1_024), (1_024, 1_024), (2_048, 1_024)]);
        let ms = Duration::from_millis;
        for (bytes, is_good) in [(good, true), (slow, false)] {
            let seen = Seen::of(&bytes).expect("sound boxes");
            let want = seen.want(ms(120), ms(40));
            let film = Film::received("made", bytes, None, want).expect("a codec");
            assert!(film.mime.contains("avc1"), "{}", film.mime);
            assert_eq!(read(&film).is_ok(), is_good);
        }
    }

    #[test]
    fn a_film_is_cut_into_its_fragments() {
        let film = foreign();
        let parts = parts(&film);
        assert_eq!(parts.concat(), film);
        assert_eq!(&parts[0][4..8], b"ftyp");
        assert!(parts.len() > 2);
        assert!(parts[1..].iter().all(|part| &part[4..8] == b"moof"));
        for nonsense in [&b"short"[..], &[0; 40], &[0xff; 40]] {
            assert_eq!(super::parts(nonsense), [nonsense]);
        }
        assert!(super::parts(b"").is_empty());
    }
}
