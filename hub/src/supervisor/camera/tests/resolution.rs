//! A camera that is set to another resolution while it is recorded: two clips, each whole, each of its own size.

use crashtest_players::{Film, Player, Want, decode, read};
use journal::AppClipState;

use super::*;
use crate::camera::virtual_camera::testing::scene_of;

/// Width and height of the other pictures.
const SMALL: (u16, u16) = (160, 160);

/// A clip as it came to a phone, and what it should be by our own reader: its size, and how long it lasts.
fn film(mime: &str, bytes: &[u8]) -> (u16, Film) {
    let clip = Clip::read(bytes).unwrap();
    let rate = u64::from(clip.track.timescale.get());
    let time = |ticks: u64| Duration::from_nanos(ticks * 1_000_000_000 / rate);
    let longest = clip.samples.iter().map(|sample| sample.duration).max();
    let width = clip.track.width.get();
    let film = Film {
        name: format!("{width} pixels wide"),
        bytes: bytes.to_vec(),
        mime: mime.to_owned(),
        want: Want {
            pictures: clip.samples.len(),
            lasts: time(clip.duration_ticks()),
            picture: time(u64::from(longest.unwrap())),
            sound: None,
        },
    };
    (width, film)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_camera_that_changes_its_resolution_makes_two_clips_that_players_take() {
    let config = test_camera::Config {
        sound: test_camera::Sound::None,
        ..visit()
    };
    let large = config.scene.clone();
    let camera = test_camera::TestCamera::start(config).await.unwrap();
    let (core, mut phone) = World::paired().split();
    let (sealer, mut thread) = sealer::start(core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    // Only another format ends an event.
    let events = by_the_clock(Duration::from_secs(3_600));
    let (keeper, told) = keeper(source, events, sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    camera.has_sent(15).await;
    camera.play(scene_of(SMALL, &[(Shows::Nobody, 5)]));
    ended(&mut thread, ClipState::Complete).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    camera.play(large);
    ended(&mut thread, ClipState::Complete).await;
    assert_eq!((&told.borrow()[0].trouble, camera.played()), (&None, 1));
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();

    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    let clips = holds.clips.iter().zip(&holds.bytes);
    // What the stop has cut off is the third.
    let whole = clips.filter(|(clip, _)| clip.state == AppClipState::Complete);
    let mut films: Vec<_> = whole.map(|(clip, bytes)| film(&clip.mime, bytes)).collect();
    films.sort_by_key(|(width, _)| *width);
    let widths: Vec<u16> = films.iter().map(|(width, _)| *width).collect();
    assert_eq!(widths, [SMALL.0, 320]);
    let is_ffmpeg_here = Player::Ffmpeg
        .is_here("a_camera_that_changes_its_resolution_makes_two_clips_that_players_take");
    for (_, film) in &films {
        assert!(film.want.pictures >= 2, "{}", film.want.pictures);
        read(film).unwrap();
        if is_ffmpeg_here {
            decode(film).unwrap();
        }
    }
}
