//! Pictures and sound in, the pieces of a live stream out: fragments of at most 100 ms, and what a player needs first at the
//! beginning of each group of pictures.
//!
//! It is pure. It must never let a group begin with anything but a key frame, and never let the times of a camera run back:
//! whoever watches has one stream after the other in one file, and no player takes that.

use bytes::Bytes;
use journal::LivePiece;
use journal::message::{LIVE_INIT_BYTES_MAX, LiveStart, NAME_BYTES_MAX};

use super::tap::Item;
use crate::media::{MediaUnit, Tracks};
use crate::segmenter::{ClipChunk, Pace, Position, Segmenter, SegmenterError};

/// Why a stream cannot be shown live, or not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// The pictures do not fit together.
    #[error(transparent)]
    Pictures(#[from] SegmenterError),
    /// Its codec parameters are longer than a frame has room for.
    #[error(
        "an initialisation segment of {bytes} bytes; at most {LIVE_INIT_BYTES_MAX} are supported"
    )]
    Init {
        /// Their size.
        bytes: usize,
    },
}

/// What one frame carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CastPiece {
    /// With what a player begins, if a group begins here.
    pub start: Option<LiveStart>,
    /// When the newest picture in it was captured, milliseconds since 1970.
    pub captured_unix_ms: u64,
    /// Whether a fragment ends with it.
    pub ends_fragment: bool,
    /// The bytes.
    pub bytes: Bytes,
}

impl CastPiece {
    /// As it is sealed.
    pub fn as_live(&self) -> LivePiece<'_> {
        LivePiece {
            start: self.start.as_ref(),
            captured_unix_ms: self.captured_unix_ms,
            ends_fragment: self.ends_fragment,
            bytes: &self.bytes,
        }
    }
}

/// One stream, from a key frame on.
pub struct Stream {
    segmenter: Segmenter,
    mime: String,
    /// Once the first fragment is made.
    init: Option<Bytes>,
}

impl Stream {
    /// A stream that has not begun.
    pub fn new(tracks: Tracks) -> Self {
        Self::behind(Position::default(), tracks)
    }

    /// A stream that goes on where another has ended.
    pub fn behind(position: Position, tracks: Tracks) -> Self {
        let mut mime = tracks.mime();
        if mime.len() > NAME_BYTES_MAX {
            mime = "video/mp4".into();
        }
        Self {
            segmenter: Segmenter::behind(position, tracks, Pace::Live),
            mime,
            init: None,
        }
    }

    /// Takes the next picture or piece of sound; answers the pieces that are ready.
    ///
    /// Sound that does not fit is left out: pictures without it are better than none.
    ///
    /// # Errors
    /// The stream cannot go on: begin another at a key frame.
    pub fn handle_unit(&mut self, unit: MediaUnit) -> Result<Vec<CastPiece>, StreamError> {
        let chunks = match unit {
            MediaUnit::Video(unit) => self.segmenter.handle_unit(unit)?,
            MediaUnit::Audio(unit) => {
                if let Err(error) = self.segmenter.handle_sound(unit) {
                    tracing::debug!(%error, "a piece of sound is not shown live");
                }
                return Ok(Vec::new());
            }
        };
        chunks.into_iter().map(|chunk| self.piece(chunk)).collect()
    }

    /// Where another can go on.
    pub fn position(&self) -> Position {
        self.segmenter.position()
    }

    fn piece(&mut self, chunk: ClipChunk) -> Result<CastPiece, StreamError> {
        let mut bytes = chunk.data;
        if self.init.is_none() {
            // The first chunk has all of it, and the head of its fragment as well.
            let init = bytes.split_to(init_bytes(&bytes));
            if init.len() > LIVE_INIT_BYTES_MAX {
                return Err(StreamError::Init { bytes: init.len() });
            }
            self.init = Some(init);
        }
        let start = |init: &Bytes| LiveStart {
            mime: self.mime.clone(),
            init: init.to_vec(),
        };
        Ok(CastPiece {
            start: self.init.as_ref().filter(|_| chunk.begins_group).map(start),
            captured_unix_ms: chunk.captured_unix_ms,
            ends_fragment: chunk.is_last_of_fragment,
            bytes,
        })
    }
}

/// One stream after the other of a camera, on one timeline: what one cannot go on with costs the pictures until the
/// next key frame.
#[derive(Default)]
pub(super) struct Streams {
    tracks: Option<Tracks>,
    stream: Option<Stream>,
    /// Where the last stream has ended, if none is under way.
    ended_at: Position,
}

impl Streams {
    /// Takes what comes from the tap; answers the pieces that are ready.
    pub(super) fn handle_item(&mut self, item: Item) -> Vec<CastPiece> {
        match item {
            Item::Tracks(tracks) => {
                self.end();
                self.tracks = Some(tracks);
                self.stream = self.following();
                Vec::new()
            }
            Item::Unit(unit) => self.handle_unit(unit),
        }
    }

    fn end(&mut self) {
        if let Some(stream) = self.stream.take() {
            self.ended_at = stream.position();
        }
    }

    /// The stream that goes on behind the last one; none before it is known of what.
    fn following(&self) -> Option<Stream> {
        let tracks = self.tracks.clone()?;
        Some(Stream::behind(self.ended_at, tracks))
    }

    fn handle_unit(&mut self, unit: MediaUnit) -> Vec<CastPiece> {
        let is_key = matches!(&unit, MediaUnit::Video(picture) if picture.is_sync);
        if self.stream.is_none() && is_key {
            self.stream = self.following();
        }
        let Some(stream) = &mut self.stream else {
            return Vec::new();
        };
        match stream.handle_unit(unit.clone()) {
            Ok(pieces) => pieces,
            Err(error) => {
                tracing::debug!(%error, "a camera's pictures cannot be shown live; the next key frame is tried");
                self.end();
                // It may be a key frame that only the stream before had no use for.
                let Some(mut again) = self.following().filter(|_| is_key) else {
                    return Vec::new();
                };
                match again.handle_unit(unit) {
                    Ok(pieces) => {
                        self.stream = Some(again);
                        pieces
                    }
                    Err(_) => Vec::new(),
                }
            }
        }
    }
}

/// How many bytes stand before the first fragment: whole boxes (ISO/IEC 14496-12, 4.2) up to its `moof`.
fn init_bytes(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(head) = bytes.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let [a, b, c, d, kind @ ..] = *head;
        let size = u32::from_be_bytes([a, b, c, d]) as usize;
        if kind == *b"moof" || size < 8 {
            break;
        }
        at += size;
    }
    at.min(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::super::tap::tests::{audio, sound, track, unit as picture};
    use super::*;

    fn unit(number: u64, is_sync: bool) -> MediaUnit {
        MediaUnit::Video(picture(number, is_sync))
    }

    fn boxes(bytes: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while rest.len() >= 8 {
            let size = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            out.push(String::from_utf8_lossy(&rest[4..8]).into_owned());
            rest = &rest[size..];
        }
        out
    }

    #[test]
    fn a_group_begins_with_its_key_frame_and_brings_what_a_player_needs() {
        let mut stream = Stream::new(Tracks::silent(track()));
        let mut pieces = Vec::new();
        // Of 40 ms each; a fragment takes two, and a key frame cuts the one before it short.
        for number in 0..11 {
            let is_sync = number == 0 || number == 5;
            pieces.extend(stream.handle_unit(unit(number, is_sync)).unwrap());
        }
        let begins: Vec<bool> = pieces.iter().map(|piece| piece.start.is_some()).collect();
        assert_eq!(begins, [true, false, false, true, false, false]);
        let captured: Vec<u64> = pieces.iter().map(|piece| piece.captured_unix_ms).collect();
        assert_eq!(captured, [5_001, 5_003, 5_004, 5_006, 5_008, 5_010]);
        for piece in &pieces {
            assert!(piece.ends_fragment);
            assert_eq!(boxes(&piece.bytes), ["moof", "mdat"]);
        }
        let start = pieces[0].start.as_ref().unwrap();
        assert_eq!(boxes(&start.init), ["ftyp", "moov"]);
        assert_eq!(pieces[3].start.as_ref(), Some(start));
        assert!(start.is_sound());
    }

    /// A camera's clock that falls costs the pictures until the next key frame, and no more.
    #[test]
    fn after_a_picture_that_does_not_fit_the_next_key_frame_begins_anew() {
        let mut streams = Streams::default();
        let mut cast = |item| streams.handle_item(item).len();
        assert_eq!(cast(Item::Tracks(Tracks::silent(track()))), 0);
        for number in [20, 21] {
            cast(Item::Unit(unit(number, number == 20)));
        }
        // It falls, in the middle of a group.
        assert_eq!(cast(Item::Unit(unit(3, false))), 0);
        assert_eq!(cast(Item::Unit(unit(4, false))), 0);
        let mut again = |first: u64| {
            (first..first + 4)
                .map(|number| cast(Item::Unit(unit(number, number == first))))
                .sum::<usize>()
        };
        assert!(again(5) > 0);
        // And once more, with a key frame.
        assert!(again(1) > 0);
    }

    /// The clip's time of each run of each fragment.
    fn times(bytes: &[u8]) -> Vec<u64> {
        let all = bytes.windows(4).enumerate();
        all.filter(|(_, kind)| *kind == b"tfdt")
            .map(|(at, _)| u64::from_be_bytes(bytes[at + 8..at + 16].try_into().unwrap()))
            .collect()
    }

    /// A clip played again, a camera that is opened again, a gap: the times of the camera begin anew, those of the
    /// viewer go on, for pictures and for sound.
    #[test]
    fn the_next_stream_goes_on_where_the_last_one_ended() {
        let mut streams = Streams::default();
        let mut pieces = Vec::new();
        for _pass in 0..2 {
            let tracks = Tracks {
                video: track(),
                audio: Some(audio()),
            };
            streams.handle_item(Item::Tracks(tracks));
            for number in 0..8 {
                if number % 3 == 0 {
                    streams.handle_item(Item::Unit(MediaUnit::Audio(sound(number / 3))));
                }
                pieces.extend(streams.handle_item(Item::Unit(unit(number, number == 0))));
            }
        }
        let times: Vec<Vec<u64>> = pieces.iter().map(|piece| times(&piece.bytes)).collect();
        // Two pictures of 40 ms each; a piece of sound is 1,024 ticks of 8 kHz and waits for its successor. The sound of
        // the first pass ends with 256 ms, its pictures with 320: so the second begins there, in 2,560 ticks.
        let want = [
            vec![0],
            vec![80, 0],
            vec![160],
            vec![240, 1_024],
            vec![320],
            vec![400, 2_560],
            vec![480],
            vec![560, 3_584],
        ];
        assert_eq!(times, want);
        let starts = pieces.iter().filter_map(|piece| piece.start.as_ref());
        let starts: Vec<_> = starts.collect();
        assert_eq!(starts.len(), 2);
        assert_eq!(starts[0], starts[1], "a player needs nothing new");
    }

    #[test]
    fn sound_goes_with_the_pictures_among_which_it_came() {
        let mut stream = Stream::new(Tracks {
            video: track(),
            audio: Some(audio()),
        });
        let mut pieces = Vec::new();
        // A piece of sound lasts 128 ms, three pictures and a little.
        for number in 0..12 {
            if number % 3 == 0 {
                let heard = stream.handle_unit(MediaUnit::Audio(sound(number / 3)));
                assert!(heard.unwrap().is_empty());
            }
            pieces.extend(stream.handle_unit(unit(number, number == 0)).unwrap());
        }
        // Twice the same: it is left out, and the pictures go on.
        let heard = stream.handle_unit(MediaUnit::Audio(sound(3)));
        assert!(heard.unwrap().is_empty());
        assert_eq!(pieces.len(), 6);
        let start = pieces[0].start.as_ref().unwrap();
        assert!(start.mime.ends_with(",mp4a.40.2\""), "{}", start.mime);
        let holds = |number: u8| {
            let sound = [0xA0 + number; 20];
            let mut all = pieces.iter();
            all.position(|piece| piece.bytes.windows(20).any(|part| part == sound))
        };
        // The newest waits for its successor.
        assert!(holds(0) < holds(1) && holds(1) < holds(2), "{:?}", holds(1));
        assert_eq!(holds(3), None);
    }

    #[test]
    fn bytes_that_are_no_boxes_have_no_init() {
        for bytes in [&b""[..], b"short", &[0; 64], &[0xff; 64]] {
            assert!(init_bytes(bytes) <= bytes.len());
        }
    }
}
