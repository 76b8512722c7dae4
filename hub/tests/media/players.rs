//! The players before our clips and live streams: whatever camera they are from, they take it, and find in it what went
//! in.
//!
//! Chromium plays in real time, so it is started once, for short films.

use crashtest_players::{Film, Player, decode, play, read};

use crate::films::{PACES, of_file_camera, of_virtual_camera, with_sound_and_b_frames};
use crate::support::CLIPS;

/// Pictures of two seconds.
const SHORT: usize = 20;

/// A film of each kind, as a clip and as a live stream.
fn films() -> Vec<Film> {
    let at = |pace| {
        let whole = CLIPS.map(|name| of_file_camera(name, usize::MAX, pace));
        let made = [
            of_virtual_camera(SHORT, pace),
            with_sound_and_b_frames(pace),
        ];
        whole.into_iter().chain(made)
    };
    PACES.into_iter().flat_map(at).collect()
}

#[test]
fn re_mp4_finds_in_our_clips_what_went_into_them() {
    for film in films() {
        let seen = read(&film).unwrap();
        assert_eq!(seen.holes, 0, "{}", film.name);
    }
}

#[test]
fn ffmpeg_decodes_our_clips_without_a_word_and_finds_what_went_into_them() {
    let test = "ffmpeg_decodes_our_clips_without_a_word_and_finds_what_went_into_them";
    if !Player::Ffmpeg.is_here(test) {
        return;
    }
    for film in films() {
        decode(&film).unwrap();
    }
}

#[test]
fn chromium_plays_our_clips_to_their_end_and_drops_no_picture() {
    if !Player::Chromium.is_here("chromium_plays_our_clips_to_their_end_and_drops_no_picture") {
        return;
    }
    let at = |pace| {
        [
            of_file_camera("people-20s.mp4", SHORT, pace),
            of_virtual_camera(SHORT, pace),
            with_sound_and_b_frames(pace),
        ]
    };
    let mut films: Vec<Film> = PACES.into_iter().flat_map(at).collect();
    // And it can say no.
    let mut broken = films[0].clone();
    broken.bytes = broken.bytes.split_off(broken.bytes.len() / 2);
    films.push(broken);
    let mut verdicts = play(&films).unwrap();
    let broken = verdicts.pop().expect("a verdict for each");
    assert!(broken.is_err(), "half a clip has no beginning");
    for verdict in verdicts {
        verdict.unwrap();
    }
}
