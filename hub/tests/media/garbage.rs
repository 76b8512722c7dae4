//! Damaged files: every cut, every damaged byte outside the pictures, and many damaged at once.
//! The answer is always a clip or a typed error, and a clip that is accepted can be recorded.

use hub::camera::demux::Clip;

use crate::support::{demux, read, segment, units_of};

/// The small clips; the tables of the large one have no other boxes than these.
const SMALL: [&str; 4] = [
    "bframes.mp4",
    "odd-durations.mp4",
    "negative-offsets.mp4",
    "fragmented.mp4",
];

#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
}

impl Tally {
    /// Reads and records a damaged file. What the demuxer accepts, the segmenter must accept, and
    /// what comes out must be readable.
    fn run(&mut self, file: &[u8]) {
        let Ok(clip) = Clip::read(file) else {
            self.refused += 1;
            return;
        };
        self.accepted += 1;
        assert!(clip.samples.first().is_some_and(|sample| sample.is_sync));
        let track = clip.track.clone().into();
        let chunks = segment(&track, &units_of(file, &clip));
        let bytes: Vec<u8> = chunks.iter().flat_map(|c| c.data.clone()).collect();
        let again = demux(&bytes);
        assert_eq!(again.track, clip.track);
        assert_eq!(again.samples.len(), clip.samples.len());
        assert_eq!(again.duration_ticks(), clip.duration_ticks());
    }
}

/// The bytes that are not pictures.
fn places_outside_pictures(file: &[u8]) -> Vec<usize> {
    let mut is_picture = vec![false; file.len()];
    for sample in demux(file).samples {
        let start = usize::try_from(sample.offset).expect("a small file");
        is_picture[start..start + sample.bytes as usize].fill(true);
    }
    (0..file.len()).filter(|at| !is_picture[*at]).collect()
}

#[test]
fn every_cut_is_refused_or_sound() {
    for name in SMALL {
        let file = read(name);
        let mut tally = Tally::default();
        for length in 0..file.len() {
            tally.run(&file[..length]);
        }
        // Only a fragmented file has places where it can be cut and still be whole.
        assert_eq!(tally.accepted > 0, name == "fragmented.mp4", "{name}");
    }
    let people = read("people-20s.mp4");
    let mut tally = Tally::default();
    for length in (0..people.len()).step_by(997) {
        tally.run(&people[..length]);
    }
    assert_eq!(tally.accepted, 0);
}

#[test]
fn every_damaged_byte_is_refused_or_harmless() {
    for name in SMALL {
        let sound = read(name);
        let mut file = sound.clone();
        let mut tally = Tally::default();
        for at in places_outside_pictures(&sound) {
            for damaged in [0, 0xFF, sound[at] ^ 1, sound[at] ^ 0x80] {
                file[at] = damaged;
                tally.run(&file);
            }
            file[at] = sound[at];
        }
        assert!(tally.accepted > 1000 && tally.refused > 1000, "{name}");
    }
}

#[test]
fn many_damaged_bytes_are_refused_or_harmless() {
    // A fixed sequence (Knuth's MMIX constants), so that a failure repeats.
    let mut state: u64 = 0x5EC1_0500;
    let mut dice = |sides: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % sides
    };
    for name in SMALL {
        let sound = read(name);
        let places = places_outside_pictures(&sound);
        let mut tally = Tally::default();
        for _ in 0..1000 {
            let mut file = sound.clone();
            for _ in 0..=dice(8) {
                let at = places[dice(places.len())];
                file[at] = dice(256) as u8;
            }
            if dice(4) == 0 {
                file.truncate(dice(file.len()));
            }
            tally.run(&file);
        }
        assert!(tally.accepted > 10 && tally.refused > 100, "{name}");
    }
}
