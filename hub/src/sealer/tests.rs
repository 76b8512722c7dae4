//! The journal's thread: timers on a busy hub, and the end of a journal that cannot be written.

use wal::disk::Fault;
use wire::ids::Seq;

use super::*;
use crate::core::tests::world::{HandClock, World, event, piece};
use crate::core::{Recorded, Stop};

#[tokio::test]
async fn a_step_that_finds_the_disk_dead_ends_the_thread_without_a_camera() {
    let world = World::paired();
    let disk = world.disk.clone();
    let (sealer, thread) = start(world.core, HandClock::default()).unwrap();
    disk.inject_from(disk.op_count(), Fault::Eio);
    let kept = sealer
        .run(|core, now| {
            core.with_journal(now, |journal| journal.keep_certificate("relay", vec![1]))
        })
        .await;
    assert!(matches!(kept, Err(SealerError::Core(CoreError::Dead(_)))));
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    assert!(matches!(joined.unwrap(), Err(CoreError::Dead(_))));
    let after = sealer.run(|core, _now| core.status()).await;
    assert!(matches!(after, Err(SealerError::Closed)));
}

#[tokio::test]
async fn a_step_whose_sync_could_not_begin_is_not_called_durable() {
    let world = World::paired();
    let (disk, line) = (world.disk.clone(), world.line);
    let before = world.core.heads().unwrap()[&line].last;
    let (sealer, _thread) = start(world.core, HandClock::default()).unwrap();
    let begun = sealer.run(|core, now| core.handle_event_started(event(), now));
    assert_eq!(begun.await.unwrap(), Recorded::Taken);
    let taken = sealer
        .run(|core, now| {
            core.no_sync = 1;
            core.handle_pieces(vec![piece(0)], now)
        })
        .await;
    assert!(
        matches!(taken, Err(SealerError::Core(CoreError::NotSynced(_)))),
        "{taken:?}"
    );
    assert_eq!(sealer.heads().borrow()[&line].last, before);
    // The next sync covers it: Commit, header and both pieces.
    let taken = sealer.run(|core, now| core.handle_pieces(vec![piece(1)], now));
    assert_eq!(taken.await.unwrap(), Recorded::Taken);
    let crashed = disk.crash_clone(wal::disk::CrashPolicy::LoseAll, 1);
    let (journal, _) = crate::core::tests::world::opener(&crashed, 9_000)().unwrap();
    assert_eq!(journal.outbox_head(line).unwrap().last, Seq(before.0 + 4));
}

#[tokio::test]
async fn a_question_is_asked_once_more_where_the_journal_was_opened_again_under_it() {
    let (sealer, _thread) = start(World::paired().core, HandClock::default()).unwrap();
    let asked = Arc::new(AtomicU64::new(0));
    let answer = sealer.ask(
        move |_core, _now| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Err(CoreError::Reopened),
            before => Ok(before),
        },
    );
    assert_eq!(answer.await.unwrap(), 1);
    let never = sealer.ask(|_core, _now| Err::<(), _>(CoreError::Reopened));
    let is_said = matches!(never.await, Err(SealerError::Core(CoreError::Reopened)));
    assert!(is_said);
}

/// Whoever answers signals must not stand still because the disk does.
#[tokio::test]
async fn a_step_that_is_offered_waits_for_nothing() {
    let (sealer, thread) = start(World::paired().core, HandClock::default()).unwrap();
    assert!(sealer.offer(|_core, _now| Ok(())).unwrap());
    // A step that does not end, and a queue that is full behind it.
    let (begin, begun) = std::sync::mpsc::sync_channel(1);
    let (let_go, held) = std::sync::mpsc::sync_channel::<()>(1);
    let holding = sealer.hand_over(move |_core, _now| {
        begin.send(()).unwrap();
        held.recv().unwrap();
        Ok(())
    });
    let mut holding = holding.await.unwrap();
    tokio::task::spawn_blocking(move || begun.recv())
        .await
        .unwrap()
        .unwrap();
    for _ in 0..JOBS_MAX {
        assert!(sealer.offer(|_core, _now| Ok(())).unwrap());
    }
    assert!(!sealer.offer(|_core, _now| Ok(())).unwrap(), "it is full");
    let_go.send(()).unwrap();
    holding.answer().await.unwrap();
    drop(sealer);
    let joined = tokio::task::spawn_blocking(move || thread.join()).await;
    joined.unwrap().unwrap();
}

#[tokio::test]
async fn a_busy_hub_does_what_time_asks_for() {
    let mut world = World::paired();
    let _ = world.record_some(2);
    // The end of the clip is owed until there is room.
    world.fill_the_disk();
    let clock = HandClock::default();
    let (sealer, mut thread) = start(world.core, clock.clone()).unwrap();
    let room = sealer.run(|core, _now| {
        core.room = None;
        Ok(())
    });
    room.await.unwrap();
    // Never silent for as long as a tick, and a whole tick passes.
    let mut finished = false;
    for _ in 0..200 {
        clock.advance(100);
        let _cursor = sealer.run(|core, _now| core.status()).await.unwrap();
        while let Ok(notice) = thread.notices.try_recv() {
            finished |= matches!(notice, Notice::ClipFinished { .. });
        }
    }
    assert!(finished, "the end of the clip is still owed");
}

#[tokio::test]
async fn whoever_has_an_answer_has_it_on_disk() {
    let world = World::paired();
    let (disk, line) = (world.disk.clone(), world.line);
    let (sealer, _thread) = start(world.core, HandClock::default()).unwrap();
    let heads = sealer.heads();
    let begun = sealer.run(|core, now| core.handle_event_started(event(), now));
    assert_eq!(begun.await.unwrap(), Recorded::Taken);
    // All at once, so that each batch is staged while the sync of the last is under way.
    let jobs = (0..40).map(|number| {
        let sealer = sealer.clone();
        tokio::spawn(async move {
            let taken = sealer
                .run(move |core, now| core.handle_pieces(vec![piece(number)], now))
                .await;
            assert_eq!(taken.unwrap(), Recorded::Taken);
        })
    });
    let jobs: Vec<_> = jobs.collect();
    let mut answered = 0_u64;
    for job in jobs {
        job.await.unwrap();
        answered += 1;
        // Commit, header, and every piece that was answered.
        let last = heads.borrow()[&line].last.0;
        assert!(last >= 2 + answered, "{last} after {answered} answers");
        let crashed = disk.crash_clone(wal::disk::CrashPolicy::LoseAll, answered);
        let mut opener = crate::core::tests::world::opener(&crashed, 9_000);
        let (journal, _) = opener().unwrap();
        assert!(journal.outbox_head(line).unwrap().last.0 >= last);
    }
    let ended = sealer.run(|core, now| core.handle_pieces(Vec::new(), now));
    assert_ne!(ended.await.unwrap(), Recorded::Not(Stop::Space));
}

/// Lets a tick pass, and a job whose answer comes behind it: how often the wall clock has jumped by then.
async fn ticked(sealer: &Sealer, clock: &HandClock) -> u64 {
    clock.advance(6_000);
    for _ in 0..2 {
        let _status = sealer.run(|core, _now| core.status()).await.unwrap();
    }
    sealer.clock_jumps()
}

#[tokio::test]
async fn a_clock_that_jumps_by_a_year_is_counted_once_and_the_hub_goes_on() {
    const YEAR_MS: u64 = 365 * 24 * 3_600_000;
    let clock = HandClock::default();
    let before = clock.unix_ms();
    let (sealer, _thread) = start(World::paired().core, clock.clone()).unwrap();
    let begun = sealer.run(|core, now| core.handle_event_started(event(), now));
    assert_eq!(begun.await.unwrap(), Recorded::Taken);
    assert_eq!(ticked(&sealer, &clock).await, 0);
    for (unix_ms, jumps) in [(before + YEAR_MS, 1), (before, 2)] {
        clock.set_unix_ms(unix_ms);
        assert_eq!(ticked(&sealer, &clock).await, jumps);
        assert_eq!(ticked(&sealer, &clock).await, jumps, "it is said once");
    }
    let taken = sealer.run(|core, now| core.handle_pieces(vec![piece(0)], now));
    assert_eq!(taken.await.unwrap(), Recorded::Taken);
}

/// The wall clock goes to and fro; what counts as silence is the time that really passes.
#[tokio::test]
async fn a_clock_that_is_set_again_and_again_makes_no_time_pass() {
    const ROUNDS: u64 = 60;
    let mut world = World::paired();
    world.core.handle_link(true);
    let clock = HandClock::default();
    let (sealer, _thread) = start(world.core, clock.clone()).unwrap();
    for round in 0..ROUNDS {
        clock.set_unix_ms(round % 2 * 1_000_000_000_000);
        clock.advance(5_000);
        let _status = sealer.run(|core, _now| core.status()).await.unwrap();
    }
    let status = sealer.run(|core, _now| core.status()).await.unwrap();
    let unheard_ms = status.lines[0].unheard_ms;
    assert!(
        unheard_ms > 0 && unheard_ms <= ROUNDS * 5_000,
        "{unheard_ms}"
    );
}
