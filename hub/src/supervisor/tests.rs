//! What ends the watch over a hub's parts, and with which code.

use super::*;
use crate::core::tests::world::World;

/// A running hub without camera, whose uplink is this task.
fn parts(uplink_task: tokio::task::JoinHandle<()>, core: Core) -> Parts {
    let clock = TokioClock::new();
    let (sealer, thread) = sealer::start(core, clock.clone()).unwrap();
    let nobody = UplinkConfig {
        relay: relay_client::RelayAddress {
            host: "127.0.0.1".into(),
            port: 9,
            relay_id: wire::ids::RelayId([0; 32]),
        },
        invitation: None,
        traffic: None,
    };
    let (uplink, real) = uplink::start(nobody, sealer.clone(), clock, || 0);
    real.abort();
    Parts {
        sealer,
        thread,
        uplink,
        uplink_task,
        cameras: watch::channel(Cameras::new()).1,
    }
}

/// Watches over a hub whose camera never ends, and of which nobody asks a reset.
async fn watched(parts: &mut Parts, stopped: watch::Receiver<bool>) -> Result<Ending, Failure> {
    let mut camera = tokio::spawn(std::future::pending());
    let mut signals = Signals::new()?;
    let relay = wire::RelayId([7; 32]).to_text();
    let text = format!("state_dir = \"s\"\nrelay = \"127.0.0.1:4433/{relay}\"\n");
    let config = Config::parse(&text, "hub.toml", std::path::Path::new("/etc"))?;
    let mut reloader = Reloader::new("/nowhere/hub.toml".into(), config)?;
    let mut pulse = Pulse {
        service: Arc::new(Service::of_environment()),
        answers: watch::channel(()).1,
    };
    let never = || false;
    let watched = watch_over(
        parts,
        Format::Json,
        (&mut signals, &mut reloader, &mut pulse),
        stopped,
        &mut camera,
        never,
    );
    watched.await
}

async fn ends(uplink_task: tokio::task::JoinHandle<()>, core: Core) -> Failure {
    let mut parts = parts(uplink_task, core);
    let (_stop, stopped) = watch::channel(false);
    let ended = watched(&mut parts, stopped).await;
    finish(parts, Format::Json, ended).await.unwrap_err()
}

/// A wish that comes when its owner has stopped the hub starts it no more.
#[tokio::test]
async fn only_the_wish_that_ended_the_watch_asks_for_a_start() {
    for by_phone in [false, true] {
        let uplink = tokio::spawn(std::future::pending());
        let mut parts = parts(uplink, World::paired().core);
        let (stop, stopped) = watch::channel(false);
        let wish = |sealer: Sealer| async move {
            let wished = sealer.run(|core, _now| core.wish_restart());
            wished.await.unwrap();
        };
        match by_phone {
            true => wish(parts.sealer.clone()).await,
            false => {
                stop.send_replace(true);
            }
        }
        let ended = watched(&mut parts, stopped).await;
        let expected = match by_phone {
            true => Ending::Restart,
            false => Ending::Stopped,
        };
        assert_eq!(ended.unwrap(), expected);
        wish(parts.sealer.clone()).await;
        assert!(parts.sealer.wishes().borrow().restart);
        finish(parts, Format::Json, Ok(())).await.unwrap();
    }
}

#[test]
fn no_invitation_is_advised_against_somebody_who_poses_as_the_relay() {
    let mut link = LinkStatus::default();
    assert!(hopeless(&link).is_none());
    link.not_admitted = true;
    let failure = hopeless(&link).unwrap();
    assert_eq!(failure.code, Code::NotAdmitted);
    assert!(failure.message.contains("Get an invitation"), "{failure}");
    (link.not_admitted, link.wrong_relay) = (false, true);
    let failure = hopeless(&link).unwrap();
    assert_eq!(failure.code, Code::Network);
    assert!(failure.message.contains("poses as the relay"), "{failure}");
    assert!(!failure.message.contains("invitation"), "{failure}");
}

#[tokio::test]
async fn a_hub_without_its_uplink_is_not_there() {
    for task in [
        tokio::spawn(async {}),
        tokio::spawn(async { panic!("as the test wants it") }),
    ] {
        let failure = ends(task, World::paired().core).await;
        assert_eq!(failure.code, Code::Internal);
        assert!(failure.message.contains("uplink"), "{failure}");
    }
}

/// A phone's wish ends the hub as a clean stop does; what it ends with is for the one who started it.
#[tokio::test]
async fn a_restart_that_is_stored_ends_the_watch() {
    let mut world = World::paired();
    // One that has just started is a restart already.
    world.pass(10);
    let (core, phone) = world.ends();
    phone.order(journal::message::CommandKind::Restart);
    let _taken = phone.talk(core);
    let uplink = tokio::spawn(std::future::pending());
    let mut parts = parts(uplink, world.core);
    assert!(parts.sealer.wishes().borrow().restart);
    let (_stop, stopped) = watch::channel(false);
    let ended = watched(&mut parts, stopped).await;
    assert_eq!(ended, Ok(Ending::Restart));
    finish(parts, Format::Json, ended).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fails_or_is_full_ends_the_hub_with_its_code() {
    use wal::disk::Fault;
    for (fault, code, words) in [
        (Fault::Eio, Code::Internal, "the disk fails"),
        (Fault::Enospc, Code::Space, "the disk is full"),
    ] {
        let world = World::paired();
        let disk = world.disk.clone();
        let mut core = world.core;
        disk.inject_from(disk.op_count(), fault);
        let kept = core.with_journal(5, |journal| journal.keep_certificate("relay", vec![1]));
        assert!(matches!(kept, Err(CoreError::Dead(_))), "{kept:?}");
        let failure = ends(tokio::spawn(std::future::pending()), core).await;
        assert_eq!(failure.code, code, "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
}
