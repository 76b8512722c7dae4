//! A camera of H.265: recorded and sent, and said to be one in whose pictures nothing is detected.

use super::*;

#[tokio::test]
async fn a_camera_of_h265_is_recorded_and_sent_by_the_clock_and_detection_is_said_to_be_unavailable()
 {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/pattern.h265");
    let stream = std::fs::read(path).unwrap();
    let scene = test_camera::Scene::of_byte_stream(&stream, 10).unwrap();
    let sent = scene.pictures.clone();
    let camera = test_camera::TestCamera::start(test_camera::Config {
        login: test_camera::LoginKind::Digest,
        sound: test_camera::Sound::None,
        scene,
        speed: 4,
    });
    let camera = camera.await.unwrap();
    let (core, mut phone) = World::paired().split();
    let (sealer, mut thread) = sealer::start(core, HandClock::default()).unwrap();
    let source = login(&camera, test_camera::PASSWORD);
    // What moves is asked for, and cannot be had.
    let (keeper, mut told) = keeper(source, by_motion(), sealer.clone());
    let (stop, stopped) = watch::channel(false);
    let keeping = tokio::spawn(keeper.run(stopped));
    let cannot = |board: &Cameras| board[0].looks == Looks::Cannot;
    drop(told.wait_for(cannot).await.unwrap());
    ended(&mut thread, ClipState::Complete).await;
    assert_eq!(
        (&told.borrow()[0].trouble, cannot(&told.borrow())),
        (&None, true)
    );
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();

    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    assert!(holds.notices.is_empty(), "nobody has seen anything");
    let (clip, bytes) = (&holds.clips[0], &holds.bytes[0]);
    assert!(clip.mime.contains("hvc1.1.6.L30.90"), "{}", clip.mime);
    let has = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    assert!(has(b"hvcC") && has(b"iso6hvc1"));
    for picture in &sent {
        assert!(has(&picture.nals[picture.nals.len() - 1]));
    }
}
