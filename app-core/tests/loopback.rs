//! The public interface against a real relay and a hub without a camera, over loopback. What app and relay wrote is
//! searched for secrets at the end of each test.

mod support;

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use app_core::{
    App, AppError, AppOptions, ClipState, Creation, ErrorKind, Event, Events, HUB_WAIT_MS,
    HubStatus, Lan, Nearby, OpenedBy, Pairing, Standing, SyncMode,
};
use crashtest_canary::Place;
use support::{After, HUB_VERSION, Hub, Relay, Says, within};
use wire::frame::Revocation;

async fn open(dir: &std::path::Path) -> App {
    App::open(dir, AppOptions::default()).await.unwrap()
}

/// Where an app of this process keeps what it has; it is searched when the app is gone.
fn place() -> Place {
    let place = Place::new();
    place.runs_here();
    place
}

fn media(events: &mut Events) -> Vec<u64> {
    let mut seqs = Vec::new();
    while let Some(event) = events.try_next() {
        match event {
            Event::Media { seq, .. } => seqs.push(seq),
            Event::Missed { count } => panic!("missed {count}"),
            _ => {}
        }
    }
    seqs
}

#[tokio::test]
async fn pair_sync_export_ack() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let dir = place.path().join("app");
    let app = open(&dir).await;
    assert_eq!(
        within(app.sync(SyncMode::Once)).await,
        Err(AppError::NotPaired)
    );

    let code = hub.offer(&relay).await;
    place.seek("a pairing code", code.as_bytes());
    for wrong in [
        "",
        "SECLUSO1:",
        "hello",
        &code[..code.len() - 4],
        &code.replacen("SECLUSO1", "SECLUSO2", 1),
    ] {
        let error = within(app.pair(wrong)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{wrong}: {error}");
    }
    let (paired, _) = tokio::join!(within(app.pair(&code)), hub.answer_pairing());
    let paired = paired.unwrap();
    assert_eq!(paired.news, Pairing::New);
    // Again with the same code: nobody listens any more, and nobody needs to.
    let again = within(app.pair(&code)).await.unwrap();
    assert_eq!((again.hub, again.news), (paired.hub, Pairing::Known));

    let mut events = app.observe();
    let big = vec![0xa5; 60_000];
    let clip = hub.record(&[b"head", &big, &big, b"tail"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert_eq!(media(&mut events), [3, 4, 5, 6]);
    hub.take_acks(&relay).await;
    assert_eq!(hub.unacked(), 0);

    let clips = app.clips().await.unwrap();
    assert_eq!(clips.len(), 1);
    assert_eq!(
        (clips[0].clip.to_string(), clips[0].state),
        (clip.to_hex(), ClipState::Complete)
    );
    let target = place.path().join("clip.mp4");
    app.export(clips[0].clip, &target, |_, _| {}).await.unwrap();
    let whole = [b"head".as_slice(), &big, &big, b"tail"].concat();
    assert_eq!(std::fs::read(&target).unwrap(), whole);

    // Nothing is told twice, not even by another process on the same directory.
    drop((events, app));
    let app = App::open(
        &dir,
        AppOptions {
            creation: Creation::Never,
            ..AppOptions::default()
        },
    )
    .await
    .unwrap();
    let mut events = app.observe();
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert!(media(&mut events).is_empty());
    assert_eq!(app.status().await.unwrap().hubs[0].epoch, hub.epoch());
    within(app.check_relays()).await.unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn an_event_is_told_and_shown_before_its_clip_and_goes_with_it() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    let mut events = app.observe();
    hub.announce(b"a picture");
    hub.push_all(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let (mut told, mut shown) = (None, None);
    while let Some(event) = events.try_next() {
        match event {
            Event::Notification(said) => assert!(told.replace(said).is_none()),
            Event::Thumbnail(picture) => assert!(shown.replace(picture).is_none()),
            Event::Clip(_) | Event::Media { .. } => panic!("there is no clip yet: {event:?}"),
            _ => {}
        }
    }
    let (told, shown) = (told.unwrap(), shown.unwrap());
    assert_eq!((told.camera.as_str(), told.started_unix_ms), ("door", 1));
    assert_eq!((shown.camera.as_str(), shown.started_unix_ms), ("door", 1));
    assert_eq!((shown.state, shown.clip), (ClipState::Complete, None));
    assert!(app.clips().await.unwrap().is_empty());
    let target = place.path().join("picture.jpg");
    app.export(shown.thumbnail, &target, |_, _| {})
        .await
        .unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"a picture");

    hub.record(&[b"the clip"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let clip = app.clips().await.unwrap()[0].clip;
    assert_eq!(app.thumbnails().await.unwrap()[0].clip, Some(clip));
    assert_eq!(app.notifications().await.unwrap()[0].clip, Some(clip));
    app.delete(clip).await.unwrap();
    assert!(app.thumbnails().await.unwrap().is_empty());
    assert!(app.notifications().await.unwrap().is_empty());
    let gone = app.export(shown.thumbnail, &target, |_, _| {}).await;
    assert_eq!(gone, Err(AppError::NoSuchClip(shown.thumbnail)));
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_lost_its_disk_loses_no_video() {
    let mut relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    let first = hub.record(&[b"first"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let second = hub.record(&[b"second"]);
    hub.push(&relay).await;
    // The relay never handed on the first ack, and forgets everything else as well.
    relay.restart_empty().await;
    assert!(within(app.sync(SyncMode::Once)).await.is_ok());
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    hub.take_acks(&relay).await;
    assert_eq!(hub.unacked(), 0);
    let clips = app.clips().await.unwrap();
    let ids: Vec<_> = clips.iter().map(|clip| clip.clip.to_string()).collect();
    assert_eq!(ids, [first.to_hex(), second.to_hex()]);
    assert!(clips.iter().all(|clip| clip.state == ClipState::Complete));
    relay.stop().await;
}

/// By the secret that is printed on it the hub is asked under a name that nobody knows; then the phone pairs as
/// itself, at the address where the hub has answered, whatever stands in the code.
#[tokio::test]
async fn a_phone_asks_under_no_name_of_its_own_and_pairs_where_it_was_answered() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    let (secret, address) = hub.offer_elsewhere(&relay).await;
    place.seek("a device's secret", secret.as_bytes());
    let talks = async {
        let asked_as = hub.answer_ask().await;
        (asked_as, hub.answer_pairing().await)
    };
    let (paired, (asked_as, paired_as)) = tokio::join!(
        within(app.pair_printed(&secret, Some(&address))),
        within(talks)
    );
    assert_eq!(paired.unwrap().news, Pairing::New);
    assert_ne!(asked_as, paired_as);
    relay.stop().await;
}

/// By real multicast, on loopback: where the code names no place at which anybody answers, and where there is no code but
/// the secret that is printed on the hub.
#[tokio::test]
async fn a_hub_that_says_that_it_pairs_is_found_without_an_address() {
    let free = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    let lan = Lan {
        interface: Ipv4Addr::LOCALHOST,
        port: free.local_addr().unwrap().port(),
    };
    drop(free);
    if let Err(error) = lan.check() {
        let test = "a_hub_that_says_that_it_pairs_is_found_without_an_address";
        let line = format!("\nNOT COVERED: {test}: no multicast on loopback ({error})\n");
        let _gone = std::io::stderr().write_all(line.as_bytes());
        return;
    }
    let relay = Relay::start().await;
    for is_printed in [false, true] {
        let mut hub = Hub::join(&relay).await;
        let place = place();
        let options = AppOptions {
            nearby: Nearby::At(lan),
            ..AppOptions::default()
        };
        let app = App::open(place.path().join("app"), options).await.unwrap();
        let (code, secret, said) = hub.offer_nearby(&relay).await;
        let talks = async {
            if is_printed {
                let _asked_as = hub.answer_ask().await;
            }
            hub.answer_pairing().await
        };
        let pairs = async {
            match is_printed {
                false => app.pair(&code).await,
                true => app.pair_printed(&secret, None).await,
            }
        };
        let both = async { tokio::join!(pairs, talks) };
        let (paired, _as) = within(pairing_lan::announce_while(lan, said, both)).await;
        assert_eq!(paired.unwrap().news, Pairing::New, "{is_printed}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_phone_that_was_removed_is_told_so_and_pairs_again_by_a_new_code() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    hub.remove_phone(&relay, Revocation::Done).await;
    for _ in 0..2 {
        match within(app.sync(SyncMode::Once)).await {
            Err(AppError::NotAdmitted(why)) => {
                assert!(
                    why.contains("removed") && why.contains("pair again"),
                    "{why}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    // The device is the same, and its old certificate is still refused.
    hub.pair(&relay, &app).await;
    let clip = hub.record(&[b"again"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let clips = app.clips().await.unwrap();
    let found = clips
        .iter()
        .find(|known| known.clip.to_string() == clip.to_hex());
    assert_eq!(found.unwrap().state, ClipState::Complete);
    drop(app);
    relay.stop().await;
}

/// Whoever steals one hub must not blind the phone at the others.
#[tokio::test]
async fn a_hub_that_removes_its_phone_does_not_shut_it_out_of_another_hubs_mailboxes() {
    let relay = Relay::start().await;
    let mut first = Hub::join(&relay).await;
    let mut second = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    first.pair(&relay, &app).await;
    second.pair(&relay, &app).await;
    first.remove_phone(&relay, Revocation::StillAdmitted).await;
    let clip = second.record(&[b"still seen"]);
    second.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let clips = app.clips().await.unwrap();
    let found = clips
        .iter()
        .find(|known| known.clip.to_string() == clip.to_hex());
    assert_eq!(found.unwrap().state, ClipState::Complete);
    second.remove_phone(&relay, Revocation::Done).await;
    let refused = within(app.sync(SyncMode::Once)).await;
    assert!(
        matches!(refused, Err(AppError::NotAdmitted(_))),
        "{refused:?}"
    );
    drop(app);
    relay.stop().await;
}

#[tokio::test]
async fn a_pairing_goes_on_when_the_hub_is_killed_in_the_middle_and_started_again() {
    let relay = Relay::start().await;
    for killed_after in [After::Request, After::Confirm] {
        let mut hub = Hub::join(&relay).await;
        let place = place();
        let app = open(&place.path().join("app")).await;
        let code = hub.offer(&relay).await;
        let hub_side = async {
            let killed = hub.die_in_pairing(killed_after).await;
            hub.answer_pairing().await;
            killed
        };
        let app_side = async {
            let paired = within(app.pair(&code)).await;
            (paired, Instant::now())
        };
        let ((paired, done), killed) = tokio::join!(app_side, hub_side);
        assert_eq!(paired.unwrap().news, Pairing::New);
        let took = done.duration_since(killed);
        assert!(took < Duration::from_secs(3), "{killed_after:?}: {took:?}");
    }
    relay.stop().await;
}

#[tokio::test]
async fn every_kind_of_wrong_code_is_one_error_and_leaves_nothing_behind() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    let good = hub.offer(&relay).await;
    let mut errors = Vec::new();
    // Not a code; altered; asked and refused by the hub; answered with nonsense.
    for wrong in ["hello", &good.replacen('A', "B", 1)] {
        errors.push(within(app.pair(wrong)).await.unwrap_err());
    }
    for says in [Says::Refused, Says::Nonsense] {
        let code = hub.offer(&relay).await;
        let (paired, ()) = tokio::join!(within(app.pair(&code)), hub.turn_away(says));
        errors.push(paired.unwrap_err());
    }
    for error in &errors {
        assert_eq!(*error, AppError::Pairing(journal::pairing::REFUSAL.into()));
    }
    drop(app);
    let kept = support::offers_in(&place.path().join("app"));
    assert_eq!(kept, 0, "keys of refused offers are on the phone");
    relay.stop().await;
}

#[tokio::test]
async fn a_sync_that_follows_may_be_dropped_anywhere_and_survives_the_relay() {
    let mut relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    let mut events = app.observe();
    let mut seen = Vec::new();
    // Dropped after ever longer times, while a clip is being recorded.
    let clip = hub.start_clip();
    for step in 0..12_u64 {
        hub.chunk(clip, &[step as u8; 5_000]);
        let (_dropped, ()) = tokio::join!(
            tokio::time::timeout(
                Duration::from_millis(1 + step * step),
                app.sync(SyncMode::Follow)
            ),
            hub.push(&relay),
        );
        seen.extend(media(&mut events));
    }
    // One that stays, across a restart of the relay with nothing left.
    let following = {
        let app = app.clone();
        tokio::spawn(async move { app.sync(SyncMode::Follow).await })
    };
    relay.restart_empty().await;
    hub.finish(clip);
    hub.push(&relay).await;
    within(async {
        loop {
            match events.next().await.unwrap() {
                Event::Media { seq, .. } => seen.push(seq),
                Event::Clip(clip) if clip.state != ClipState::Receiving => {
                    return assert_eq!(clip.state, ClipState::Complete);
                }
                _ => {}
            }
        }
    })
    .await;
    assert_eq!(seen, (3..15).collect::<Vec<u64>>());
    within(async {
        while hub.unacked() > 0 {
            // While the app waits for the Commit to its new keys it cannot ack.
            hub.take_acks_and_keys(&relay).await;
            hub.push(&relay).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    following.abort();
    let _aborted = following.await;
    // The key of the network lock is free again.
    within(app.sync(SyncMode::Once)).await.unwrap();
    relay.stop().await;
}

#[tokio::test]
async fn an_older_copy_of_the_directory_sends_nothing() {
    let mut relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let (dir, copy) = (place.path().join("app"), place.path().join("copy"));
    let app = open(&dir).await;
    hub.pair(&relay, &app).await;
    drop(app);
    support::copy_dir(&dir, &copy);
    let app = open(&dir).await;
    hub.record(&[b"seen by the newer one"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    drop(app);
    let old = open(&copy).await;
    let error = within(old.sync(SyncMode::Once)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack, "{error}");
    let made = hub_of(&old).await.heartbeat;
    assert_eq!(made, None, "a directory that is old made something new");
    drop(old);
    // Kept: a relay that shows less from then on changes nothing.
    relay.restart_empty().await;
    for mode in [SyncMode::Once, SyncMode::Follow] {
        let old = open(&copy).await;
        let mut events = old.observe();
        let standing = old.status().await.unwrap().hubs[0].standing;
        assert_eq!(standing, Standing::RolledBack);
        let error = within(old.sync(mode)).await.unwrap_err();
        assert_eq!(error, AppError::OlderCopy);
        let told = std::iter::from_fn(|| events.try_next());
        let told = told.filter(|event| matches!(event, Event::RolledBack { .. }));
        assert_eq!(told.count(), 1);
    }
    // The right directory goes on.
    let app = open(&dir).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert_eq!(app.status().await.unwrap().hubs[0].standing, Standing::Good);
    relay.stop().await;
}

/// The relay has lost its disk and knows nothing of it: the hub's own word is enough (scenario 21).
#[tokio::test]
async fn an_older_copy_is_told_by_the_hub_and_knows_it_for_good() {
    let mut relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let (dir, copy) = (place.path().join("app"), place.path().join("copy"));
    let app = open(&dir).await;
    hub.pair(&relay, &app).await;
    drop(app);
    support::copy_dir(&dir, &copy);
    let app = open(&dir).await;
    hub.record(&[b"seen by the newer one"]);
    hub.push(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    hub.take_acks(&relay).await;
    drop(app);
    relay.restart_empty().await;
    hub.record(&[b"made after the hub took its ack"]);
    hub.push(&relay).await;
    for attempt in 0..3 {
        let old = open(&copy).await;
        let mut events = old.observe();
        let before = old.status().await.unwrap().hubs[0].standing;
        let expected = match attempt {
            0 => Standing::Good,
            _ => Standing::RolledBack,
        };
        assert_eq!(before, expected, "{attempt}");
        for mode in [SyncMode::Once, SyncMode::Follow] {
            let error = within(old.sync(mode)).await.unwrap_err();
            assert_eq!(error, AppError::OlderCopy, "{attempt}");
            assert_eq!(error.kind(), ErrorKind::RolledBack);
        }
        let told = std::iter::from_fn(|| events.try_next());
        let told = told.filter(|event| matches!(event, Event::RolledBack { .. }));
        assert_eq!(told.count(), 2);
        let status = old.status().await.unwrap();
        assert_eq!(status.hubs[0].standing, Standing::RolledBack);
        assert_eq!((status.hubs[0].waiting, status.hubs[0].cursor), (0, 0));
        assert!(old.clips().await.unwrap().is_empty());
    }
    // The right directory goes on.
    let app = open(&dir).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert_eq!(app.clips().await.unwrap().len(), 2);
    assert_eq!(app.status().await.unwrap().hubs[0].standing, Standing::Good);
    hub.take_acks(&relay).await;
    assert_eq!(hub.unacked(), 0);
    relay.stop().await;
}

#[tokio::test]
async fn network_trouble_is_one_clear_error() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let dir = place.path().join("app");
    let app = open(&dir).await;
    hub.pair(&relay, &app).await;
    let second = App::open(&dir, AppOptions::default()).await.unwrap_err();
    assert_eq!(second, AppError::Locked);
    relay.stop().await;
    let error = within(app.sync(SyncMode::Once)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let missing = App::open(
        place.path().join("nowhere"),
        AppOptions {
            creation: Creation::Never,
            ..AppOptions::default()
        },
    )
    .await;
    assert_eq!(missing.unwrap_err(), AppError::NotPaired);
    std::fs::create_dir(place.path().join("foreign")).unwrap();
    std::fs::write(place.path().join("foreign/photo.jpg"), b"x").unwrap();
    let foreign = App::open(place.path().join("foreign"), AppOptions::default())
        .await
        .unwrap_err();
    assert_eq!(foreign.kind(), ErrorKind::Usage, "{foreign}");
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(
        std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    for name in ["lock", "vault", "ballast"] {
        let mode = std::fs::metadata(dir.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

const MINUTE_MS: u64 = 60_000;

async fn hub_of(app: &App) -> HubStatus {
    app.status().await.unwrap().hubs.remove(0)
}

/// What was sealed after a Commit is safe from copies that are older than the keys in it, so a sync that
/// ends does not go before it has that Commit.
#[tokio::test]
async fn a_sync_that_ends_stays_for_the_hubs_word_on_its_heartbeat() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let dir = place.path().join("app");
    let app = open(&dir).await;
    hub.pair(&relay, &app).await;
    assert_eq!(app.heartbeat_due().await.unwrap(), Some(0));
    let mut events = app.observe();
    let (synced, ()) = tokio::join!(within(app.sync(SyncMode::Once)), hub.take_heartbeat(&relay));
    synced.unwrap();
    let told: Vec<Event> = std::iter::from_fn(|| events.try_next()).collect();
    let healed = told
        .iter()
        .filter(|event| matches!(event, Event::Healed { .. }));
    assert_eq!(healed.count(), 5);
    let status = hub_of(&app).await;
    let beat = status.heartbeat.clone().unwrap();
    assert_eq!((beat.number, beat.looks_offline), (1, false));
    assert_eq!(beat.hub_version.as_deref(), Some(HUB_VERSION));
    assert!(status.channels.iter().all(|keys| !keys.awaits_commit));
    // Since when: from before the answer.
    assert_eq!(status.healed_unix_ms(), Some(beat.sent_unix_ms));
    assert!(beat.sent_unix_ms <= beat.answered_unix_ms.unwrap());
    let due = app.heartbeat_due().await.unwrap().unwrap();
    let after = due - beat.sent_unix_ms;
    assert!(
        (330 * MINUTE_MS..=360 * MINUTE_MS).contains(&after),
        "{after}"
    );
    // A scheduler's process is told the same, and sends nothing before.
    drop((events, app));
    let options = AppOptions {
        opened_by: OpenedBy::Scheduler,
        ..AppOptions::default()
    };
    let app = App::open(&dir, options).await.unwrap();
    assert_eq!(app.heartbeat_due().await.unwrap(), Some(due));
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert_eq!(hub_of(&app).await.heartbeat.unwrap().number, 1);
    // The acks of those Commits are at the relay.
    hub.take_acks(&relay).await;
    assert_eq!(hub.unacked(), 0);
    relay.stop().await;
}

#[tokio::test]
async fn a_sync_whose_hub_is_away_ends_soon_and_says_when_to_look_for_the_answer() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    let wait = Duration::from_millis(HUB_WAIT_MS);
    let begun = Instant::now();
    within(app.sync(SyncMode::Once)).await.unwrap();
    let took = begun.elapsed();
    assert!(took >= wait && took < 4 * wait, "{took:?}");
    let status = hub_of(&app).await;
    let beat = status.heartbeat.clone().unwrap();
    assert!(!beat.looks_offline && beat.answered_unix_ms.is_none());
    assert!(status.channels.iter().all(|keys| keys.awaits_commit));
    let due = app.heartbeat_due().await.unwrap();
    assert_eq!(due, Some(beat.sent_unix_ms + 15 * MINUTE_MS));
    // Nothing can be said again, so nobody waits again.
    let begun = Instant::now();
    within(app.sync(SyncMode::Once)).await.unwrap();
    assert!(begun.elapsed() < wait);
    assert_eq!(hub_of(&app).await.heartbeat.unwrap().number, 1);
    // The hub is back; a sync finds its word at the relay.
    hub.take_heartbeat(&relay).await;
    within(app.sync(SyncMode::Once)).await.unwrap();
    let status = hub_of(&app).await;
    assert!(status.heartbeat.unwrap().answered_unix_ms.is_some());
    assert!(
        status
            .channels
            .iter()
            .all(|keys| keys.healed_unix_ms.is_some())
    );
    relay.stop().await;
}

/// Who watches hears of it without asking, once, and again when the camera answers.
#[tokio::test]
async fn watchers_are_told_that_a_camera_looks_offline_and_that_it_is_back() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let options = AppOptions {
        offline_after: Duration::from_secs(1),
        ..AppOptions::default()
    };
    let app = App::open(place.path().join("app"), options).await.unwrap();
    hub.pair(&relay, &app).await;
    let mut events = app.observe();
    let following = {
        let app = app.clone();
        tokio::spawn(async move { app.sync(SyncMode::Follow).await })
    };
    let offline = within(async {
        loop {
            if let Event::LooksOffline { hub, since_unix_ms } = events.next().await.unwrap() {
                return (hub, since_unix_ms);
            }
        }
    });
    let offline = offline.await;
    let status = hub_of(&app).await;
    let beat = status.heartbeat.unwrap();
    assert!(beat.looks_offline && beat.report.is_none());
    assert_eq!(offline, (status.hub, beat.sent_unix_ms));
    within(hub.take_heartbeat(&relay)).await;
    let back = within(async {
        loop {
            match events.next().await.unwrap() {
                Event::LooksOffline { .. } => panic!("it was told before"),
                Event::BackOnline { hub } => return hub,
                _ => {}
            }
        }
    });
    assert_eq!(back.await, status.hub);
    let beat = hub_of(&app).await.heartbeat.unwrap();
    assert!(!beat.looks_offline);
    let report = beat.report.unwrap();
    assert_eq!(
        (report.recording, report.not_recorded, report.unacked),
        (true, None, 2)
    );
    following.abort();
    let _aborted = following.await;
    relay.stop().await;
}

#[tokio::test]
async fn a_sync_that_follows_says_its_heartbeat_once_all_lines_are_level() {
    let relay = Relay::start().await;
    let mut hub = Hub::join(&relay).await;
    let place = place();
    let app = open(&place.path().join("app")).await;
    hub.pair(&relay, &app).await;
    let mut events = app.observe();
    let following = {
        let app = app.clone();
        tokio::spawn(async move { app.sync(SyncMode::Follow).await })
    };
    within(hub.take_heartbeat(&relay)).await;
    let (mut healed, mut answered) = (0, 0);
    within(async {
        while (healed, answered) != (5, 1) {
            match events.next().await.unwrap() {
                Event::Healed { .. } => healed += 1,
                Event::HeartbeatAnswered { number: 1, .. } => answered += 1,
                _ => {}
            }
        }
    })
    .await;
    assert!(
        hub_of(&app)
            .await
            .channels
            .iter()
            .all(|keys| !keys.awaits_commit)
    );
    following.abort();
    let _aborted = following.await;
    relay.stop().await;
}
