//! Failing syncs, damaged bytes, full batches.

use std::sync::Arc;

use journal::ids::Channel;
use journal::message::DropReason;
use journal::{AppClipState, ErrorKind, Trim, WantsCommit as _};
use wal::disk::{CrashPolicy, Fault, SimDisk};
use wal::store::MemStore;
use wal::{Disk as _, Options, SeededDice, Txn, Wal};
use wire::ids::Seq;

use super::super::poison::REOPENS_MAX;
use super::super::*;
use super::world::{NOW_MS, World, event, opener, piece};
use crate::camera::EventEnd;

#[test]
fn a_failed_sync_reopens_the_journal_and_the_clip_goes_on_behind_a_new_commit() {
    // Every kind of operation of one commit fails once.
    for offset in 0..3 {
        let mut world = World::paired();
        let mut bytes = world.record_some(3);
        let epoch = world.core.status().unwrap().lines[0].epoch;
        world
            .disk
            .inject(world.disk.op_count() + offset, Fault::Eio);
        let mut reopened = false;
        for number in 3..8 {
            assert_eq!(
                world.core.handle_pieces(vec![piece(number)], 6).unwrap(),
                Recorded::Taken
            );
            bytes.extend_from_slice(&piece(number).bytes);
            reopened |= world.reopens(Core::commit);
        }
        assert!(reopened, "operation {offset} belonged to no commit");
        assert!(world.notices().contains(&Notice::Reopened));
        assert!(
            world.core.status().unwrap().lines[0].epoch > epoch,
            "the old epoch is never encrypted in again"
        );
        world.end_event(EventEnd::Completed);
        world.deliver();
        assert_eq!(
            world.app_clips(),
            [(AppClipState::Complete, bytes)],
            "operation {offset}"
        );
    }
}

#[test]
fn a_failed_first_or_last_sync_of_a_clip_loses_nothing() {
    for fails_at in ["begin", "end"] {
        let mut world = World::paired();
        let mut bytes = Vec::new();
        let mut reopened = 0;
        let _ = world.core.handle_event_started(event(), 5).unwrap();
        for number in 0..3 {
            if fails_at == "begin" && number == 0 {
                world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
            }
            let _ = world.core.handle_pieces(vec![piece(number)], 5).unwrap();
            reopened += u32::from(world.reopens(Core::commit));
            bytes.extend_from_slice(&piece(number).bytes);
        }
        if fails_at == "end" {
            world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
        }
        let _ = world
            .core
            .handle_event_ended(EventEnd::Completed, 6)
            .unwrap();
        reopened += u32::from(world.reopens(Core::commit));
        assert_eq!(reopened, 1, "{fails_at}");
        let notices = world.notices();
        let started = notices
            .iter()
            .filter(|n| matches!(n, Notice::ClipStarted { .. }))
            .count();
        let finished = notices
            .iter()
            .filter(|n| matches!(n, Notice::ClipFinished { .. }))
            .count();
        assert_eq!((started, finished), (1, 1), "{fails_at}: {notices:?}");
        world.deliver();
        assert_eq!(
            world.app_clips(),
            [(AppClipState::Complete, bytes)],
            "{fails_at}"
        );
    }
}

/// What the view could not read, recovery may have made anew: a line that was left out is recorded for again.
#[test]
fn a_line_that_could_not_be_read_is_tried_again_when_the_journal_was_opened_again() {
    let mut world = World::paired();
    let line = world.line;
    let unread = JournalError::NoGroup(line);
    world.core.set_broken(line, &unread);
    let said = |world: &mut World| {
        let broken = |notice: &Notice| matches!(notice, Notice::LineBroken { .. });
        world.notices().iter().filter(|n| broken(n)).count()
    };
    assert_eq!(said(&mut world), 1);
    let refused = world.core.handle_event_started(event(), 5).unwrap();
    assert!(matches!(refused, Recorded::Not(_)), "{refused:?}");
    let reopened = world.core.reopen(&unread, 5);
    assert!(matches!(reopened, Err(CoreError::Reopened)), "{reopened:?}");
    let bytes = world.record_some(2);
    world.end_event(EventEnd::Completed);
    assert_eq!(said(&mut world), 0);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    // One that is still lost is said once more.
    let thumbnail = Line::of(line.pairing, Channel::Thumbnail);
    world.lose_group(Channel::Thumbnail);
    world.propose_on(Channel::Thumbnail);
    for again in [false, true] {
        if again {
            let reopened = world.core.reopen(&unread, 5);
            assert!(matches!(reopened, Err(CoreError::Reopened)), "{reopened:?}");
        }
        world.notices();
        let verdicts = world.send_on(Channel::Thumbnail);
        assert_eq!(verdicts.first(), Some(&Verdict::LineBroken));
        let last = world.core.poll_notice();
        assert!(
            matches!(last, Some(Notice::LineBroken { line, .. }) if line == thumbnail),
            "{last:?}"
        );
    }
}

#[test]
fn a_disk_that_stays_broken_is_the_end() {
    let mut world = World::paired();
    let _ = world.record_some(1);
    world.disk.inject_from(world.disk.op_count(), Fault::Eio);
    let _ = world.core.handle_pieces(vec![piece(1)], 6);
    assert!(matches!(world.core.commit(6), Err(CoreError::Dead(_))));
    assert!(matches!(world.core.commit(6), Err(CoreError::Dead(_))));
}

/// The newest chunk's bytes in whichever log file holds them are destroyed.
fn damage_newest_chunk(world: &World, line: Line) {
    let journal = world.core.journal_ref().unwrap();
    let mut newest = None;
    let mut at = Seq::NONE;
    while let Some((seq, envelope)) = journal.outbox_next(line, at).unwrap() {
        if envelope.as_bytes().len() > 2_500 {
            newest = Some(envelope.as_bytes().to_vec());
        }
        at = seq;
    }
    let needle = newest.unwrap();
    let mut hits = 0;
    for path in world.disk.paths() {
        let contents = world.disk.contents(&path).unwrap();
        for offset in 0..contents.len().saturating_sub(needle.len()) {
            if contents[offset..].starts_with(&needle[..64]) {
                world
                    .disk
                    .damage(&path, offset as u64 + 100, &[0xaa; 8])
                    .unwrap();
                hits += 1;
            }
        }
    }
    assert!(hits > 0, "the chunk lies somewhere");
}

#[test]
fn damaged_bytes_cost_their_clip_and_the_phone_is_told() {
    let mut world = World::paired();
    let _ = world.record_some(3);
    world.end_event(EventEnd::Completed);
    damage_newest_chunk(&world, world.line);
    world.deliver();
    let clips = world.app_clips();
    assert_eq!(clips.len(), 1);
    assert_eq!(clips[0].0, AppClipState::Dropped(DropReason::Damaged));
    let dropped = world
        .notices()
        .iter()
        .any(|notice| matches!(notice, Notice::ClipDropped { .. }));
    assert!(dropped);
    // What follows is not harmed.
    let bytes = world.record_some(2);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips()[1], (AppClipState::Complete, bytes));
    world.ack();
}

/// A relay that was honestly restored, or that simply has it, shows the clip's end where the hub has a
/// statement now: no digest of that number is evidence.
#[test]
fn a_statement_has_no_digest_that_a_relay_could_contradict() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.record_some(3);
    world.end_event(EventEnd::Completed);
    let last = world.core.heads().unwrap()[&line].last;
    let shown = world.core.digest(line, last, 7).unwrap().unwrap();
    damage_newest_chunk(&world, line);
    world.deliver();
    let head = world.core.heads().unwrap()[&line];
    assert_eq!(
        head.last, last,
        "the statement has the number of the clip's end"
    );
    let ours = world.core.digest(line, last, 7).unwrap();
    assert_eq!(ours, None);
    let mut sender = wire::sender::Sender::new(head.acked, head.last);
    let last_shown = wire::Head {
        seq: last,
        digest: shown,
    };
    let state = wire::SendState {
        last: Some(last_shown),
        trimmed_through: Seq::NONE,
    };
    sender.handle_attached(&state, 0);
    sender.handle_digest(last, ours, 0);
    let told = sender.poll_event();
    let receipt = wire::sender::SenderEvent::Receipt { through: last };
    assert_eq!(told, Some(receipt), "no evidence against the relay");
    // What is no statement can still be compared.
    let _ = world.record_some(1);
    let last = world.core.heads().unwrap()[&line].last;
    assert!(world.core.digest(line, last, 8).unwrap().is_some());
}

#[test]
fn damage_in_the_clip_being_recorded_ends_it_and_the_event_goes_on_in_another() {
    let mut world = World::paired();
    let _ = world.record_some(3);
    damage_newest_chunk(&world, world.line);
    world.deliver();
    assert_eq!(
        world.app_clips()[0].0,
        AppClipState::Dropped(DropReason::Damaged)
    );
    assert_eq!(
        world.core.handle_pieces(vec![piece(3)], 6).unwrap(),
        Recorded::Not(Stop::NoClip)
    );
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips()[1], (AppClipState::Complete, bytes));
}

#[test]
fn a_damaged_clip_whose_end_is_owed_is_reported_once_and_dropped_when_there_is_room() {
    let mut world = World::paired();
    let _ = world.record_some(3);
    damage_newest_chunk(&world, world.line);
    // Not even the reserve has room: the clip cannot be ended, so it cannot be dropped either.
    world.fill_the_disk();
    world.notices();
    let line = world.line;
    let damaged = Seq(world.core.heads().unwrap()[&line].last.0 - 1);
    for _ in 0..3 {
        let found = world.core.next_envelope(line, damaged, 7).unwrap();
        assert!(found.is_none());
    }
    let waits = |notice: &Notice| matches!(notice, Notice::DamageWaits { .. });
    let said = world.notices();
    assert_eq!(said.iter().filter(|n| waits(n)).count(), 1, "{said:?}");
    world.core.room = None;
    world.core.handle_timeout(8).unwrap();
    world.core.commit(8).unwrap();
    world.deliver();
    assert_eq!(
        world.app_clips()[0].0,
        AppClipState::Dropped(DropReason::Damaged)
    );
}

#[test]
fn the_next_pieces_are_sealed_while_the_disk_works_and_shown_only_after_their_own_sync() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.core.handle_event_started(event(), 5).unwrap();
    let _ = world.core.handle_pieces(vec![piece(0)], 5).unwrap();
    let before = world.core.heads().unwrap()[&line].last;
    world.core.begin_commit(5).unwrap();
    let staged = world.core.journal_ref().unwrap().outbox_head(line).unwrap();
    let _ = world.core.handle_pieces(vec![piece(1)], 5).unwrap();
    assert_eq!(world.core.heads().unwrap()[&line].last, before);
    assert!(world.notices().is_empty(), "nothing is synced yet");
    world.core.finish_commit(5).unwrap();
    assert_eq!(world.core.heads().unwrap()[&line].last, staged.last);
    assert_eq!(world.notices().len(), 1);
    // The power fails before the second sync: its piece was shown to nobody.
    world.crash();
    assert_eq!(world.finished()[0].bytes, piece(0).bytes.len() as u64);
    world.deliver();
    let bytes = piece(0).bytes.to_vec();
    assert_eq!(world.app_clips(), [(AppClipState::CutOff, bytes)]);
}

#[test]
fn a_sync_that_fails_while_the_next_pieces_are_sealed_loses_neither() {
    let mut world = World::paired();
    let mut bytes = world.record_some(1);
    for number in 1..3 {
        let _ = world.core.handle_pieces(vec![piece(number)], 6).unwrap();
        bytes.extend_from_slice(&piece(number).bytes);
        if number == 1 {
            world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
            world.core.begin_commit(6).unwrap();
        }
    }
    assert!(world.reopens(Core::finish_commit));
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}

/// An ack after days without the phone covers more envelopes than one transaction can remove.
#[test]
fn an_ack_over_thousands_of_envelopes_is_taken_and_their_rows_go_in_steps() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.core.handle_event_started(event(), 5).unwrap();
    for _ in 0..60 {
        let one = Piece {
            bytes: bytes::Bytes::from_static(b"x"),
            captured_unix_ms: 1,
        };
        let _ = world.core.handle_pieces(vec![one; 100], 5).unwrap();
    }
    world.end_event(EventEnd::Completed);
    world.deliver();
    world.app_ack();
    let sent = world.sent_by_app();
    assert_eq!(world.take_from_app().last(), Some(&Verdict::Taken));
    // The power fails while most rows are still there.
    for crashes in 0..2 {
        let trim = |world: &mut World| {
            let trim = |journal: &mut Journal| journal.begin().trim_outbox(line);
            world.core.with_journal(7, trim).unwrap()
        };
        let mut ticks = 0;
        while ticks < 1 || (crashes == 1 && trim(&mut world) != Trim::Idle) {
            let status = world.core.status().unwrap();
            assert_eq!(status.lines[0].unacked_envelopes, 0);
            assert_eq!(status.lines[0].acked, status.lines[0].last);
            let next = world.core.next_envelope(line, Seq::NONE, 7).unwrap();
            assert!(next.is_none(), "an acked envelope is sent again");
            world.core.handle_timeout(7).unwrap();
            world.core.commit(7).unwrap();
            ticks += 1;
            assert!(ticks < 4, "the rows do not go");
        }
        if crashes == 0 {
            assert_eq!(trim(&mut world), Trim::More);
            world.crash();
        }
    }
    // The same ack again changes nothing, and the line goes on.
    let (seq, ack) = sent.last().unwrap();
    let again = world.core.handle_envelope(line, *seq, ack, 8).unwrap();
    assert_eq!(again.verdict, Verdict::Duplicate);
    let _ = world.record_some(1);
    world.deliver();
    world.ack();
}

/// What the log takes at once is staged already: nothing is wrong, it wants a commit.
#[test]
fn a_full_batch_is_committed_and_costs_no_reopening() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.record_some(1);
    let clip = world.core.status().unwrap().clips[0].clip;
    world.deliver();
    world.app_ack();
    let chunk = vec![1; journal::CHUNK_BYTES_MAX];
    let fill = |world: &mut World| {
        // Small ones last, so that there is no room for anything.
        let full = loop {
            let mut stage = |bytes: &[u8]| {
                world.core.try_in_txn(line, 0, |session, txn| {
                    session.append_chunk(txn, clip, bytes, 6)
                })
            };
            if let (Err(_), Err(error)) = (stage(&chunk), stage(b"x")) {
                break error;
            }
        };
        let CoreError::Journal(error) = full else {
            panic!("{full}");
        };
        assert_eq!(error.kind(), ErrorKind::Retry, "{error}");
    };
    fill(&mut world);
    assert_eq!(world.take_from_app(), [Verdict::Taken]);
    fill(&mut world);
    assert_eq!(
        world.core.handle_pieces(vec![piece(1)], 6).unwrap(),
        Recorded::Taken
    );
    // A step that can be run once only.
    fill(&mut world);
    let certificate = vec![1; 16 << 10];
    let keep = |journal: &mut Journal| journal.keep_certificate("relay", certificate);
    drop(world.core.with_journal(6, keep).unwrap());
    world.core.commit(6).unwrap();
    assert_eq!(world.core.generation(), 0);
}

/// A damaged clip is dropped at once, however much is staged: nobody is told to wait.
#[test]
fn a_full_batch_does_not_hold_up_the_end_of_a_damaged_clip() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.record_some(3);
    world.end_event(EventEnd::Completed);
    damage_newest_chunk(&world, line);
    let damaged = Seq(world.core.heads().unwrap()[&line].last.0 - 1);
    let _ = world.record_some(1);
    let clip = world.core.status().unwrap().clips[1].clip;
    let chunk = vec![1; journal::CHUNK_BYTES_MAX];
    let full = loop {
        // Small ones last, so that there is no room for the statement either.
        let mut stage = |bytes: &[u8]| {
            world.core.try_in_txn(line, 0, |session, txn| {
                session.append_chunk(txn, clip, bytes, 6)
            })
        };
        if let (Err(_), Err(error)) = (stage(&chunk), stage(b"x")) {
            break error;
        }
    };
    assert!(full.wants_commit(), "{full}");
    world.notices();
    let before = Seq(damaged.0 - 1);
    let found = world.core.next_envelope(line, before, 7).unwrap();
    assert_eq!(found.unwrap().0, Seq(damaged.0 + 1));
    let said = world.notices();
    let dropped = |notice: &Notice| matches!(notice, Notice::ClipDropped { .. });
    assert!(said.iter().any(dropped), "{said:?}");
    let waits = |notice: &Notice| matches!(notice, Notice::DamageWaits { .. });
    assert!(!said.iter().any(waits), "{said:?}");
}

/// The log file that held a clip's chunks is lost together with the view, which is all that knew of
/// them (promise C2).
#[test]
fn chunks_whose_file_and_view_are_lost_cost_their_clip_and_the_phone_is_told() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.record_some(0);
    // A log file of these tests holds 4 MiB: this clip lies in several of them.
    for number in 0..160 {
        let one = Piece {
            bytes: bytes::Bytes::from(vec![number; journal::CHUNK_BYTES_MAX]),
            captured_unix_ms: 1,
        };
        let _ = world.core.handle_pieces(vec![one], 5).unwrap();
        world.core.commit(5).unwrap();
    }
    world.end_event(EventEnd::Completed);
    let kept = world.record_some(2);
    world.end_event(EventEnd::Completed);
    let without = |path: &String| {
        let disk = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
        for gone in disk.paths() {
            if gone == *path || gone.starts_with("view") {
                disk.remove(&gone).unwrap();
            }
        }
        // What the tail needs is not optional: such a start refuses.
        let probe = disk.crash_clone(CrashPolicy::KeepAll, 1);
        let (_journal, report) = opener(&probe, 9_000)().ok()?;
        (report.lost_payloads > 0).then_some(disk)
    };
    let paths = world.disk.paths();
    let disk = paths
        .iter()
        .filter(|path| path.starts_with("log/"))
        .find_map(without);
    world.restart_on(disk.expect("some file holds nothing but chunks"));
    world.notices();

    world.deliver();
    let notices = world.notices();
    let dropped = notices.iter().filter(|notice| {
        matches!(notice, Notice::ClipDropped { clip, .. } if clip.state == ClipState::Dropped)
    });
    assert_eq!(dropped.count(), 1, "{notices:?}");
    let clips = world.app_clips();
    assert_eq!(clips[0].0, AppClipState::Dropped(DropReason::Damaged));
    assert_eq!(clips[1], (AppClipState::Complete, kept));
    // Later clips arrive, and nothing is left over.
    let later = world.record_some(2);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips()[2], (AppClipState::Complete, later));
    world.ack();
    assert_eq!(world.core.status().unwrap().lines[0].unacked_envelopes, 0);
    assert_eq!(world.core.heads().unwrap()[&line].standing, Standing::Good);
}

/// What fails after the journal was opened, and before the recording goes on, is no third state.
#[test]
fn a_reopening_that_stops_half_way_is_begun_again_or_is_the_end() {
    for fails in [1, REOPENS_MAX] {
        let mut world = World::paired();
        let mut bytes = world.record_some(2);
        let _ = world.core.handle_pieces(vec![piece(2)], 6).unwrap();
        bytes.extend_from_slice(&piece(2).bytes);
        world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
        world.core.begin_commit(6).unwrap();
        world.core.no_sync = fails;
        world.notices();
        if fails == REOPENS_MAX {
            let ended = world.core.finish_commit(6);
            assert!(matches!(ended, Err(CoreError::Dead(_))), "{ended:?}");
            assert!(world.core.death().is_some());
            let after = world.core.commit(6);
            assert!(matches!(after, Err(CoreError::Dead(_))), "{after:?}");
            continue;
        }
        assert!(world.reopens(Core::finish_commit));
        let reopened = world.notices();
        assert_eq!(reopened, [Notice::Reopened]);
        world.end_event(EventEnd::Completed);
        world.deliver();
        assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
    }
}

#[test]
fn a_crash_at_every_operation_of_a_clip_ends_with_a_clip_that_the_phone_can_check() {
    let mut world = World::paired();
    world.disk.record_snapshots();
    let bytes = world.record_some(3);
    world.end_event(EventEnd::Completed);
    let line = world.line;
    for (index, snapshot) in world.disk.snapshots().into_iter().enumerate() {
        for policy in [
            CrashPolicy::LoseAll,
            CrashPolicy::KeepAll,
            CrashPolicy::ProcessKill,
        ] {
            let disk = snapshot.crash_clone(policy, index as u64);
            let mut core = Core::start(opener(&disk, 5_000), SilenceLimits::default(), 9).unwrap();
            for clip in core.status().unwrap().clips {
                assert_ne!(clip.state, ClipState::Recording, "operation {index}");
                assert!(clip.bytes <= bytes.len() as u64);
                assert!(clip.sha256.is_some());
            }
            assert_eq!(core.heads().unwrap()[&line].standing, Standing::Good);
        }
    }
}

/// What the question for room ends with, and what the step then ends with.
fn lost_at_the_question() -> [(Vec<CoreError>, bool); 2] {
    let unread = std::io::Error::other("as the test wants it");
    let view = wal::WalError::View(wal::store::StoreError::Io { source: unread });
    [
        (vec![CoreError::Journal(JournalError::Wal(view))], false),
        // The journal was opened again, and failed again at the same question.
        (vec![CoreError::Reopened, CoreError::Reopened], true),
    ]
}

/// More of the event was handed over behind it: nothing of that may close over the hole.
#[test]
fn pieces_lost_at_the_question_for_room_end_the_clip_where_they_would_have_begun() {
    for (errors, answered) in lost_at_the_question() {
        let mut world = World::paired();
        let bytes = world.record_some(2);
        world.core.room_errors.extend(errors);
        let lost = world.core.handle_pieces(vec![piece(2)], 6);
        match answered {
            true => assert_eq!(lost.unwrap(), Recorded::Not(Stop::NoClip)),
            false => assert!(matches!(lost, Err(CoreError::Journal(_)))),
        }
        let next = world.core.handle_pieces(vec![piece(3)], 6).unwrap();
        assert_eq!(next, Recorded::Not(Stop::NoClip));
        let _ended = world
            .core
            .handle_event_ended(EventEnd::Completed, 6)
            .unwrap();
        world.core.commit(6).unwrap();
        world.deliver();
        assert_eq!(world.app_clips(), [(AppClipState::CutOff, bytes)]);
    }
}

/// Writes over a sealed value that nothing in the clear tells of: what stands under the first key with this prefix.
fn spoil(disk: &SimDisk, prefix: &[u8]) {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let view = Box::new(MemStore::on_disk(disk.clone(), "view"));
    let options = Options {
        log_file_bytes: 4 << 20,
        ballast_bytes: 256 << 10,
        ..Options::default()
    };
    let (mut wal, _) = Wal::open(disk, view, Box::new(SeededDice(9)), options).unwrap();
    let rows = wal.scan(prefix, prefix, 1).unwrap();
    let (key, value) = &rows[0];
    let mut txn = Txn::new();
    txn.put(key.clone(), vec![7; value.len()]);
    drop(wal.stage(txn, ()).unwrap());
    drop(wal.commit().unwrap());
}

/// An epoch that a start cannot close, because what is stored of its clip or of its group does not open, is in
/// progress nowhere: nothing of it stays readable. The other lines go on.
#[test]
fn a_line_whose_epoch_cannot_be_closed_loses_its_group_with_all_keys() {
    fn pairing(line: Line) -> Vec<u8> {
        [&b"S\x03"[..], &line.pairing.0, &[0]].concat()
    }
    fn group(line: Line) -> Vec<u8> {
        [&b"S\x04"[..], &line.key()].concat()
    }
    type Prefix = fn(Line) -> Vec<u8>;
    // A clip's row, its running digest, the ratchets of its epoch: scope and family (FORMAT.md).
    let table: [(&str, Prefix); 3] = [
        ("clip", |line| [&pairing(line)[..], &[0x43]].concat()),
        ("digest", |line| [&group(line)[..], &[0x44]].concat()),
        ("ratchets", |line| [&group(line)[..], &[0x07]].concat()),
    ];
    for (what, prefix) in table {
        let mut world = World::paired();
        let line = world.line;
        let _bytes = world.record_some(2);
        let cut = world.disk.crash_clone(CrashPolicy::LoseAll, 1);
        spoil(&cut, &prefix(line));
        for start in 0..2 {
            match start {
                0 => world.restart_on(cut.clone()),
                _ => world.crash(),
            }
            world.core.commit(NOW_MS).unwrap();
            let journal = world.core.journal.as_ref().unwrap();
            assert!(!journal.has_group(line), "{what}, start {start}");
            for channel in &Channel::ALL {
                let other = Line::of(line.pairing, *channel);
                assert_eq!(journal.has_group(other), other != line, "{what} {other:?}");
            }
            let notices = world.notices();
            let broken = |notice: &Notice| matches!(notice, Notice::LineBroken { line: of, .. } if *of == line);
            assert!(notices.iter().any(broken), "{what}: {notices:?}");
            let refused = world.core.handle_event_started(event(), 5).unwrap();
            assert!(matches!(refused, Recorded::Not(_)), "{what}: {refused:?}");
        }
    }
}

/// The same of a line that is idle: what no start can rotate stays under a key of the last process, and what a power
/// cut took back would open with it.
#[test]
fn an_idle_line_that_cannot_be_rotated_loses_its_group() {
    let mut world = World::paired();
    let config = Line::of(world.line.pairing, Channel::Config);
    let cut = world.disk.crash_clone(CrashPolicy::LoseAll, 1);
    spoil(&cut, &[&b"S\x04"[..], &config.key(), &[0x07]].concat());
    world.restart_on(cut);
    world.core.handle_timeout(NOW_MS).unwrap();
    world.core.commit(NOW_MS).unwrap();
    let journal = world.core.journal.as_ref().unwrap();
    assert!(!journal.has_group(config));
    assert!(journal.has_group(world.line));
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    world.deliver();
    assert_eq!(world.app_clips(), [(AppClipState::Complete, bytes)]);
}
