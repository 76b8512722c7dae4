//! A camera of H.264 that the decoder refuses: recorded and sent, and said to be one in whose pictures nothing is detected.

use super::*;
use crate::camera::sps::testing::INTERLACED;

#[tokio::test]
async fn an_interlaced_camera_is_recorded_by_the_clock_and_detection_is_said_to_be_unavailable() {
    let mut config = visit();
    // Whatever its pictures are: nobody gets as far as them.
    config.scene.sps = bytes::Bytes::from_static(&INTERLACED);
    let camera = test_camera::TestCamera::start(config).await.unwrap();
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
    {
        let board = told.borrow();
        assert_eq!((&board[0].trouble, cannot(&board)), (&None, true));
    }
    stop.send_replace(true);
    keeping.await.unwrap().unwrap();
    let holds = sealer
        .run(move |core, _now| Ok(phone.take_all(core)))
        .await
        .unwrap();
    assert!(holds.notices.is_empty(), "nobody has seen anything");
    let mime = &holds.clips[0].mime;
    assert!(mime.contains("avc1.4D001E"), "{mime}");
}
