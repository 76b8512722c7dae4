//! The core over crashable disks, with a hub's journal on the other side.

mod beside;
mod broken;
mod command;
mod crash;
mod forget;
mod garbage;
mod heartbeat;
mod rollback;

use journal::{AckEffect, AppClipState, JournalError, Role, Taken, WantsCommit as _};
use wire::Seq;

use super::*;
use crate::testing::{bytes_of, deliver, finish_sync, open_core, open_journal_with, paired, tick};

fn chunks_of(run: &Run) -> Vec<u64> {
    let media = run
        .facts
        .iter()
        .filter(|fact| matches!(fact.taken, Taken::Media { .. }));
    media.map(|fact| fact.seq.0).collect()
}

#[test]
fn a_clip_arrives_in_order_is_checked_and_acked() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.record(&[b"one ", b"two ", b"three"]);
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    assert!(run.halt.is_none());
    assert_eq!(run.cursor, hub.journal.outbox_head(line).unwrap().last);
    assert_eq!(chunks_of(&run), [3, 4, 5]);
    let end = run.facts.last().unwrap();
    assert_eq!(
        end.taken,
        Taken::Ended {
            clip,
            state: AppClipState::Complete
        }
    );
    assert_eq!(end.clip.as_ref().unwrap().bytes, 13);
    assert_eq!(bytes_of(&core, clip), b"one two three");
    // The end of a clip is acked in the same commit.
    assert_eq!(run.ack.unwrap().through, run.cursor);
    assert_eq!(hub.take_all(&core), [Some(AckEffect::Moved)]);
    assert_eq!(hub.unacked(), 0);
}

#[test]
fn acks_wait_for_their_time_and_a_quiet_line_rotates_once() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.start_clip();
    // The new epoch is acked at once.
    let first = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 1_000);
    assert!(first.ack.is_some());
    let mut acks = 0;
    for step in 1_u64..=30 {
        let seq = hub.chunk(clip, b"chunk");
        let run = deliver(
            &mut core,
            line,
            &hub.outgoing(Seq(seq.0 - 1)),
            1_000 + step * 100,
        );
        acks += u64::from(run.ack.is_some());
        assert!(run.due_in_ms.unwrap() <= ACK_PAUSE_MS);
    }
    assert!(
        (2..=3).contains(&acks),
        "{acks} acks in three seconds of media"
    );
    let syncs = disk.totals().1;
    let quiet = tick(&mut core, line, 4_000 + QUIET_MS);
    assert!(quiet.ack.is_some());
    assert_eq!(quiet.due_in_ms, None);
    assert!(
        disk.totals().1 >= syncs + 3,
        "the log and both images of the vault"
    );
    let syncs = disk.totals().1;
    assert!(tick(&mut core, line, 60_000).ack.is_none());
    assert!(finish_sync(&mut core, line, 60_000).ack.is_none());
    assert!(
        disk.totals().1 <= syncs + 2,
        "nothing is owed, nothing is rotated"
    );
}

/// What the relay sees of an ack, when it comes and how long it is, must not tell which of its envelopes of one
/// size held something.
#[test]
fn acks_of_envelopes_of_one_size_do_not_tell_a_clip_from_covers() {
    let acked = |clip: &[&[u8]]| {
        let (mut hub, disk) = paired();
        hub.journal.send_in_full_size(Channel::EventVideo);
        let mut core = open_core(&disk, 3);
        let line = hub.line();
        hub.cover();
        hub.cover();
        if !clip.is_empty() {
            hub.record(clip);
        }
        while hub.outgoing(Seq::NONE).len() < 12 {
            hub.cover();
        }
        let mut acks = Vec::new();
        let mut now_ms = 1_000;
        for one in hub.outgoing(Seq::NONE) {
            let run = deliver(&mut core, line, &[one], now_ms);
            assert!(run.halt.is_none());
            acks.extend(run.ack.map(|ack| (now_ms, ack.through)));
            now_ms += 300;
        }
        let quiet = tick(&mut core, line, now_ms + QUIET_MS);
        acks.extend(quiet.ack.map(|ack| (now_ms, ack.through)));
        let mut lengths = Vec::new();
        let mut at = Seq::NONE;
        while let Some((seq, envelope)) = core.next_envelope(line, at).unwrap() {
            lengths.push(envelope.as_bytes().len());
            at = seq;
        }
        (acks, lengths)
    };
    let covers = acked(&[]);
    assert!(covers.0.len() >= 3, "{covers:?}");
    assert_eq!(acked(&[b"one", b"two"]), covers);
}

/// Covers that never end keep no used-up key: the line's rotates half a second after what was none.
#[test]
fn a_line_on_which_covers_never_end_rotates_all_the_same() {
    let (mut hub, disk) = paired();
    hub.journal.send_in_full_size(Channel::EventVideo);
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    hub.record(&[b"one"]);
    drop(deliver(&mut core, line, &hub.outgoing(Seq::NONE), 1_000));
    let mut syncs = Vec::new();
    for step in 1_u64..=2 {
        let seq = hub.cover();
        let before = disk.totals().1;
        let covers = hub.outgoing(Seq(seq.0 - 1));
        let run = deliver(&mut core, line, &covers, 1_000 + step * (QUIET_MS - 200));
        assert!(run.halt.is_none());
        syncs.push(disk.totals().1 - before);
    }
    assert!(syncs[0] < 3, "it is not time yet");
    assert!(syncs[1] >= 3, "the log and both images of the vault");
}

/// C1: an ack that comes too late for its epoch is made good in the next.
#[test]
fn scenario_09_an_ack_made_stale_by_a_new_epoch_is_made_good() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let first = hub.record(&[b"first"]);
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    assert!(run.ack.is_some());
    // The hub goes on before it hears the ack.
    let second = hub.start_clip();
    hub.chunk(second, b"second");
    assert_eq!(hub.take_all(&core), [None]);
    assert_eq!(hub.unacked(), hub.journal.outbox_head(line).unwrap().last.0);
    let run = deliver(&mut core, line, &hub.outgoing(run.cursor), 20);
    assert_eq!(run.ack.unwrap().through, run.cursor);
    assert_eq!(hub.take_all(&core), [Some(AckEffect::Moved)]);
    assert_eq!(hub.unacked(), 0);
    assert_eq!(bytes_of(&core, first), b"first");
}

#[test]
fn a_new_process_owes_an_ack_for_what_is_durable() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.start_clip();
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    hub.take_all(&core);
    let seq = hub.chunk(clip, b"taken and never acked");
    let late = deliver(&mut core, line, &hub.outgoing(run.cursor), 20);
    assert!(late.ack.is_none());
    drop(core);
    let mut core = open_core(&disk, 4);
    let run = finish_sync(&mut core, line, 0);
    assert_eq!(run.ack.unwrap().through, seq);
    assert_eq!(hub.take_all(&core), [Some(AckEffect::Moved)]);
    assert_eq!(hub.unacked(), 0);
}

/// S5: killed between what it took and the rotation after it, a phone that then idles would keep what
/// opens a past epoch.
#[test]
fn a_new_process_rotates_what_the_last_one_may_not_have() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    hub.record(&[b"taken"]);
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    assert!(run.ack.is_some(), "acked at once; the rotation waits");
    drop(core);
    let vault = disk.contents("vault").unwrap();
    let mut core = open_core(&disk, 4);
    // Its opening has done it, whatever becomes of it then.
    assert!(core.journal().is_renewed(line));
    assert_ne!(disk.contents("vault").unwrap(), vault);
    let syncs = disk.totals().1;
    assert!(tick(&mut core, line, 60_000).ack.is_none());
    assert!(disk.totals().1 <= syncs + 1, "once is enough");
}

/// On a line where nothing was taken since the last rotation an ack moves a ratchet as well.
#[test]
fn an_ack_that_is_owed_again_rotates_too() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    hub.record(&[b"taken"]);
    drop(deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10));
    drop(finish_sync(&mut core, line, 20));
    core.owe_ack(line, 60_000).unwrap();
    let syncs = disk.totals().1;
    assert!(tick(&mut core, line, 60_000).ack.is_some());
    assert!(
        disk.totals().1 >= syncs + 3,
        "the log and both images of the vault"
    );
}

/// `sync` is a process of its own each time; a hub that is away takes none of what they send.
#[test]
fn a_thousand_syncs_with_nothing_new_add_nothing_to_the_outbox() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    hub.record(&[b"one"]);
    deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    let outbox = finish_sync(&mut core, line, 20).outbox;
    assert!(outbox.last.is_some());
    drop(core);
    for sync in 0..1_000 {
        let mut core = open_core(&disk, 4 + sync);
        let run = finish_sync(&mut core, line, 0);
        assert_eq!((run.ack, run.outbox), (None, outbox), "sync {sync}");
        // The relay delivers again what it was not asked to forget.
        if sync % 100 == 0 {
            let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
            assert_eq!((run.ack, run.outbox), (None, outbox), "sync {sync}");
        }
    }
    // It says all that is durable, and the hub takes it when it is back.
    let core = open_core(&disk, 2_000);
    let effects = hub.take_all(&core);
    assert_eq!(effects.last(), Some(&Some(AckEffect::Moved)));
    assert_eq!(hub.unacked(), 0);
}

#[test]
fn the_outbox_shrinks_by_what_the_hub_holds() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    for n in 0_u64..3 {
        hub.record(&[b"x"]);
        let cursor = core.cursor(line).unwrap();
        let run = deliver(&mut core, line, &hub.outgoing(cursor), n * 2_000);
        assert!(
            run.outbox.last.0 - run.outbox.acked.0 <= 1,
            "{:?}",
            run.outbox
        );
        hub.take_all(&core);
    }
    assert!(core.outbox(line).unwrap().acked.is_some());
}

/// Bytes of the nonce that each wrap and each sealed value takes; the engine's own ids are shorter.
const NONCE_BYTES: usize = 24;

/// Counts how often it is thrown.
struct CountedDice(
    wal::SeededDice,
    std::sync::Arc<std::sync::atomic::AtomicU64>,
);

impl wal::Dice for CountedDice {
    fn fill(&mut self, out: &mut [u8]) {
        if out.len() == NONCE_BYTES {
            self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        self.0.fill(out);
    }
}

/// An ack that has no room is refused before anything is encrypted, and is made good.
#[test]
fn a_full_disk_refuses_an_ack_before_it_is_encrypted() {
    let (mut hub, disk) = paired();
    let thrown = std::sync::Arc::default();
    let dice = CountedDice(wal::SeededDice(3), std::sync::Arc::clone(&thrown));
    let mut core = Core::new(open_journal_with(Role::App, &disk, Box::new(dice)).unwrap());
    let line = hub.line();
    hub.record(&[b"one"]);
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    assert!(run.ack.is_some());
    disk.set_capacity(Some(disk.used_bytes()));
    let mut acks = 0;
    loop {
        core.owe_ack(line, 20).unwrap();
        match core.finish_sync(line, 20) {
            Ok(pending) => {
                let committed = core.commit().unwrap();
                drop(core.settle(&committed, pending).unwrap());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Space, "{error}");
                break;
            }
        }
        acks += 1;
        assert!(acks < 10_000, "the disk is never full");
    }
    // The first refusal may have tried to make room, with dice of the engine's own.
    let before = thrown.load(std::sync::atomic::Ordering::Relaxed);
    let again = core.finish_sync(line, 20).map(drop);
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Space);
    let after = thrown.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        after, before,
        "a nonce was spent on an ack that had no room"
    );
    disk.set_capacity(None);
    assert!(finish_sync(&mut core, line, 30).ack.is_some());
}

#[test]
fn deleting_removes_a_clip_even_while_it_arrives() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.start_clip();
    hub.chunk(clip, b"begun");
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    let deleted = core.delete(clip).unwrap();
    let committed = core.commit().unwrap();
    assert_eq!(committed.redeem(deleted).into_inner(), clip);
    assert!(core.clips().unwrap().is_empty());
    assert!(matches!(
        core.delete(clip),
        Err(JournalError::NoSuchClip(_))
    ));
    assert!(core.chunk(clip, 0).is_err());
    // What still comes of it changes nothing but the cursor; the next clip is whole.
    hub.chunk(clip, b"late");
    hub.finish(clip);
    let next = hub.record(&[b"next"]);
    let run = deliver(&mut core, line, &hub.outgoing(run.cursor), 20);
    assert!(run.halt.is_none());
    assert_eq!(core.clips().unwrap().len(), 1);
    assert_eq!(bytes_of(&core, next), b"next");
    drop(core);
    let core = open_core(&disk, 4);
    assert_eq!(core.clips().unwrap().len(), 1);
}

/// What shares a commit with a deletion may leave no room for it.
#[test]
fn a_full_batch_does_not_hold_up_a_deletion() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.record(&[b"small"]);
    deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    let full = loop {
        let Core { journal, lines, .. } = &mut core;
        let mut txn = journal.begin();
        let session = &mut lines.get_mut(&line).unwrap().session;
        session.send_ack(&mut txn).unwrap();
        if let Err(error) = txn.stage(()) {
            break error;
        }
    };
    assert!(full.wants_commit(), "{full}");
    drop(core.delete(clip).unwrap());
    drop(core.commit().unwrap());
    assert!(core.clips().unwrap().is_empty());
}

#[test]
fn damage_on_this_disk_costs_one_clip_and_is_said() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let big = vec![0x5a; journal::CHUNK_BYTES_MAX];
    let clip = hub.start_clip();
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    let before = log_contents(&disk);
    hub.chunk(clip, &big);
    let run = deliver(&mut core, line, &hub.outgoing(run.cursor), 20);
    // The middle of what that wrote is payload.
    let (path, offset) = changed_middle(&disk, &before);
    disk.damage(&path, offset, &[0xff; 64]).unwrap();
    hub.finish(clip);
    let run = deliver(&mut core, line, &hub.outgoing(run.cursor), 30);
    let ended = run.facts.last().unwrap();
    assert_eq!(
        ended.taken,
        Taken::Ended {
            clip,
            state: AppClipState::Mismatch
        }
    );
    assert!(matches!(
        core.chunk(clip, 0),
        Err(JournalError::ChunkDamaged { index: 0, .. })
    ));
    let next = hub.record(&[&big, b"end"]);
    deliver(&mut core, line, &hub.outgoing(run.cursor), 40);
    assert_eq!(bytes_of(&core, next).len(), big.len() + 3);
}

fn log_contents(disk: &wal::disk::SimDisk) -> BTreeMap<String, Vec<u8>> {
    let logs = disk
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("log/"));
    logs.map(|path| (path.clone(), disk.contents(&path).unwrap()))
        .collect()
}

fn changed_middle(disk: &wal::disk::SimDisk, before: &BTreeMap<String, Vec<u8>>) -> (String, u64) {
    for (path, now) in log_contents(disk) {
        let old = before.get(&path).cloned().unwrap_or_default();
        let differs: Vec<usize> = (0..now.len())
            .filter(|&at| old.get(at).copied().unwrap_or(0) != now[at])
            .collect();
        if differs.len() > journal::CHUNK_BYTES_MAX / 2 {
            return (path, differs[differs.len() / 2] as u64);
        }
    }
    panic!("the chunk was written nowhere");
}
