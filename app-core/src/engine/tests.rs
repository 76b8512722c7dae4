//! The journal thread: cancellation, poison, export; over simulated disks, with real files only for
//! what is exported.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use journal::Role;
use wal::SeededDice;
use wal::disk::{Fault, SimDisk};
use wire::Seq;

use super::*;
use crate::app::{App, AppOptions, announce};
use crate::core::{Core, Delivered};
use crate::error::ErrorKind;
use crate::event::Event;
use crate::testing::{Hub, open_journal, paired};
use crate::types::{ClipId, ClipState};

fn opener(disk: &SimDisk) -> Opener {
    let disk = disk.clone();
    let mut seed = 1_000;
    Box::new(move || {
        seed += 1;
        open_journal(Role::App, &disk, seed)
    })
}

async fn deliver(app: &App, hub: &Hub, run: Vec<Delivered>) -> Result<Seq, AppError> {
    let line = hub.line();
    let settled = app.engine().write(
        move |core: &mut Core, _shell| core.deliver(line, &run, 0, 0),
        move |core, committed, pending, shell| {
            let run = core.settle(committed, pending)?;
            announce(shell, line, &run);
            assert!(run.halt.is_none(), "{:?}", run.halt);
            Ok(run.cursor)
        },
    );
    settled.await
}

fn clip_id(clip: journal::ids::ClipId) -> ClipId {
    ClipId::from_journal(clip)
}

struct NoWake;

impl Wake for NoWake {
    fn wake(self: Arc<Self>) {}
}

/// Polls a future so many times, then drops it.
fn abandon<F: Future>(future: F, polls: u64) -> Option<F::Output> {
    let waker = Waker::from(Arc::new(NoWake));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Durable before visible: who asks while another job of the same batch is being stored sees what
/// was durable before it.
#[tokio::test]
async fn a_question_never_sees_what_is_only_staged() {
    let (mut hub, disk) = paired();
    hub.record(&[b"one"]);
    let sent = hub.outgoing(Seq::NONE);
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    let line = hub.line();
    // The thread is held until both jobs wait for it, so that they share a batch.
    let (go, hold) = std::sync::mpsc::channel::<()>();
    let held = app.engine().read(move |_core, _shell| {
        let _released = hold.recv();
        Ok(())
    });
    let stored = deliver(&app, &hub, sent);
    let asked = app.engine().read(move |core, _shell| core.cursor(line));
    let release = async {
        tokio::task::yield_now().await;
        drop(go);
    };
    let (held, stored, asked, ()) = tokio::join!(biased; held, stored, asked, release);
    held.unwrap();
    assert!(stored.unwrap() > Seq::NONE);
    assert_eq!(asked.unwrap(), Seq::NONE);
}

#[tokio::test]
async fn a_dropped_future_leaves_each_step_whole_and_each_fact_told_once() {
    for seed in 0..6 {
        let (mut hub, disk) = paired();
        let clip = hub.record(&[b"one", b"two", b"three", b"four"]);
        let sent = hub.outgoing(Seq::NONE);
        let app = App::start(opener(&disk), &AppOptions::default())
            .await
            .unwrap();
        let mut events = app.observe();
        let mut dice = SeededDice(seed);
        // Each call is given up after nought to two polls; the cursor alone says what happened.
        for _ in 0..200 {
            let line = hub.line();
            let cursor = app
                .engine()
                .read(move |core, _shell| core.cursor(line))
                .await
                .unwrap();
            let rest: Vec<_> = sent
                .iter()
                .filter(|one| one.seq > cursor)
                .take(2)
                .cloned()
                .collect();
            if rest.is_empty() {
                break;
            }
            let _dropped = abandon(deliver(&app, &hub, rest), dice.below(3));
        }
        let listed = app.clips().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].state, ClipState::Complete);
        assert_eq!(listed[0].clip, clip_id(clip));
        let mut media = Vec::new();
        while let Some(event) = events.try_next() {
            if let Event::Media { seq, .. } = event {
                media.push(seq);
            }
        }
        assert_eq!(media, [3, 4, 5, 6], "seed {seed}");
    }
}

#[tokio::test]
async fn a_poisoned_journal_is_opened_again_and_the_call_can_be_repeated() {
    let (mut hub, disk) = paired();
    let clip = hub.record(&[b"bytes"]);
    let sent = hub.outgoing(Seq::NONE);
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    disk.inject(disk.op_count() + 1, Fault::Eio);
    let error = deliver(&app, &hub, sent.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    let cursor = deliver(&app, &hub, sent).await.unwrap();
    assert_eq!(cursor, hub.journal.outbox_head(hub.line()).unwrap().last);
    assert_eq!(
        app.clip(clip_id(clip)).await.unwrap().state,
        ClipState::Complete
    );
}

/// The sync of a commit is good and the checkpoint behind it is not: what the commit proved is told,
/// because no later sync repeats it.
#[tokio::test]
async fn facts_whose_commit_was_good_are_told_though_its_checkpoint_failed() {
    let big = vec![7; journal::CHUNK_BYTES_MAX];
    let (mut hub, phone) = paired();
    hub.record(&[big.as_slice(); 30]);
    let sent = hub.outgoing(Seq::NONE);
    let checkpoints = async |app: &App| {
        let stats = |core: &mut Core, _: &Shell| Ok(core.journal().stats().checkpoints);
        app.engine().read(stats).await.unwrap()
    };
    // Which delivery owes a checkpoint, and how many operations its commit has.
    let disk = phone.crash_clone(wal::disk::CrashPolicy::KeepAll, 1);
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    let mut due = None;
    for (index, one) in sent.iter().enumerate() {
        let before = (checkpoints(&app).await, disk.op_count());
        deliver(&app, &hub, vec![one.clone()]).await.unwrap();
        if checkpoints(&app).await > before.0 {
            due = Some((index, disk.op_count() - before.1));
            break;
        }
    }
    drop(app);
    let (due, operations) = due.expect("some commit owes a checkpoint");
    let mut good = 0;
    for offset in 0..operations {
        let disk = phone.crash_clone(wal::disk::CrashPolicy::KeepAll, 1);
        let app = App::start(opener(&disk), &AppOptions::default())
            .await
            .unwrap();
        for one in &sent[..due] {
            deliver(&app, &hub, vec![one.clone()]).await.unwrap();
        }
        let mut events = app.observe();
        disk.inject(disk.op_count() + offset, Fault::Eio);
        match deliver(&app, &hub, vec![sent[due].clone()]).await {
            Ok(cursor) => {
                assert_eq!(cursor, sent[due].seq);
                let told = std::iter::from_fn(|| events.try_next());
                let media = told.filter(|event| matches!(event, Event::Media { .. }));
                assert_eq!(media.count(), 1, "operation {offset}");
                good += 1;
            }
            // The commit's own write or sync failed.
            Err(error) => assert_eq!(error.kind(), ErrorKind::Retry, "{error}"),
        }
        for one in &sent[due..] {
            deliver(&app, &hub, vec![one.clone()]).await.unwrap();
        }
        assert_eq!(app.clips().await.unwrap()[0].state, ClipState::Complete);
    }
    assert!(good > 2, "{good} of {operations}");
}

#[tokio::test]
async fn a_disk_that_keeps_failing_is_one_typed_error_and_nothing_hangs() {
    for (fault, kind) in [
        (Fault::Eio, ErrorKind::Poisoned),
        (Fault::Enospc, ErrorKind::Space),
    ] {
        let (mut hub, disk) = paired();
        hub.record(&[b"bytes"]);
        let sent = hub.outgoing(Seq::NONE);
        let app = App::start(opener(&disk), &AppOptions::default())
            .await
            .unwrap();
        disk.inject_from(disk.op_count(), fault);
        let first = deliver(&app, &hub, sent.clone()).await.unwrap_err();
        assert_eq!(first.kind(), ErrorKind::Retry, "{first}");
        for _ in 0..3 {
            let error = app.clips().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
        }
        // Nor does a start help.
        let error = App::start(opener(&disk), &AppOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        // The disk was repaired, or has room: the next call opens again.
        disk.heal();
        deliver(&app, &hub, sent).await.unwrap();
        assert_eq!(app.clips().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_mls_refuses_at_the_start_is_our_own_state_and_no_peer() {
    let refuse: Opener = Box::new(|| Err(JournalError::Mls("no group".into())));
    let error = App::start(refuse, &AppOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test]
async fn a_second_process_is_refused_and_the_lock_is_given_back() {
    let (_hub, disk) = paired();
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    let error = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    drop(app);
    App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_full_disk_is_said_and_changes_nothing() {
    let (mut hub, disk) = paired();
    let big = vec![7; journal::CHUNK_BYTES_MAX];
    let clip = hub.start_clip();
    let chunks: Vec<&[u8]> = vec![&big; 40];
    for chunk in &chunks {
        hub.chunk(clip, chunk);
    }
    hub.finish(clip);
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    disk.set_capacity(Some(disk.used_bytes() + (1 << 20)));
    let mut refused = false;
    for run in hub.outgoing(Seq::NONE).chunks(8) {
        match deliver(&app, &hub, run.to_vec()).await {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Space, "{error}");
                refused = true;
                break;
            }
        }
    }
    assert!(refused, "two megabytes and a half went into one");
    disk.set_capacity(None);
    let line = hub.line();
    let cursor = app
        .engine()
        .read(move |core, _shell| core.cursor(line))
        .await
        .unwrap();
    for run in hub.outgoing(cursor).chunks(8) {
        deliver(&app, &hub, run.to_vec()).await.unwrap();
    }
    assert_eq!(
        app.clip(clip_id(clip)).await.unwrap().bytes,
        40 * big.len() as u64
    );
}

async fn app_with_clip(parts: &[&[u8]]) -> (App, ClipId, SimDisk) {
    let (mut hub, disk) = paired();
    let clip = hub.record(parts);
    let app = App::start(opener(&disk), &AppOptions::default())
        .await
        .unwrap();
    for run in hub.outgoing(Seq::NONE).chunks(8) {
        deliver(&app, &hub, run.to_vec()).await.unwrap();
    }
    (app, clip_id(clip), disk)
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_export_is_the_clip_byte_for_byte() {
    let (app, clip, _disk) = app_with_clip(&[b"one ", b"two"]).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    std::fs::write(&target, b"an older file").unwrap();
    let mut steps = Vec::new();
    let exported = app
        .export(clip, &target, |done, all| steps.push((done, all)))
        .await
        .unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), b"one two");
    assert_eq!(exported.bytes, 7);
    assert_eq!(Some(exported.sha256), app.clip(clip).await.unwrap().sha256);
    assert_eq!(steps, [(0, 7), (4, 7), (7, 7)]);
    assert_eq!(names(dir.path()), ["clip.mp4"]);
}

#[tokio::test]
async fn a_damaged_chunk_is_an_error_and_the_target_stays_as_it_was() {
    let big = vec![9; journal::CHUNK_BYTES_MAX];
    let (app, clip, disk) = app_with_clip(&[b"head", &big, &big]).await;
    for path in disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("log/"))
    {
        // Somewhere in the second half of what was written lies the last chunk.
        let used = disk
            .contents(&path)
            .unwrap()
            .iter()
            .rposition(|&byte| byte != 0)
            .unwrap_or(0);
        if used > big.len() {
            disk.damage(&path, used as u64 - 30_000, &[0; 64]).unwrap();
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    std::fs::write(&target, b"an older file").unwrap();
    let error = app.export(clip, &target, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, AppError::ClipDamaged { .. }), "{error}");
    assert_eq!(std::fs::read(&target).unwrap(), b"an older file");
    assert_eq!(names(dir.path()), ["clip.mp4"]);
}

#[tokio::test]
async fn a_dropped_export_leaves_nothing_behind() {
    let parts: Vec<Vec<u8>> = (0..48).map(|n| vec![n; 1000]).collect();
    let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let (app, clip, _disk) = app_with_clip(&slices).await;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("clip.mp4");
    // Far from the last chunk: behind it the rename may already be under way.
    for stop_after in [0_u64, 1000, 4000, 7000] {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let export = app.export(clip, &target, |done, _all| {
            if done >= stop_after
                && let Some(tell) = tell.take()
            {
                let _gone = tell.send(());
            }
        });
        tokio::select! {
            biased;
            _ = told => {}
            _ = export => panic!("the export was to be dropped"),
        }
        assert!(!target.exists());
    }
    // A write that was under way ends by itself and takes its file with it.
    for _ in 0..500 {
        if names(dir.path()).is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert!(names(dir.path()).is_empty(), "{:?}", names(dir.path()));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let (app, clip, _disk) = app_with_clip(&[b"x"]).await;
    assert!(matches!(app.clip(clip).await, Ok(found) if found.camera == "door"));
    let nowhere = std::path::Path::new("/nonexistent/clip.mp4");
    assert!(matches!(
        app.export(clip, nowhere, |_, _| {}).await,
        Err(AppError::Target { .. })
    ));
    app.delete(clip).await.unwrap();
    assert_eq!(app.delete(clip).await, Err(AppError::NoSuchClip(clip)));
    assert_eq!(
        app.export(clip, nowhere, |_, _| {}).await,
        Err(AppError::NoSuchClip(clip))
    );
    let status = app.status().await.unwrap();
    assert_eq!(status.hubs.len(), 1);
    assert_eq!(status.hubs[0].clips, 0);
    assert_eq!(status.hubs[0].cursor, 4);
}
