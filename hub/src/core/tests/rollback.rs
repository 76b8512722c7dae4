//! Restored copies (promise C8): once the phone has proved one, nothing more happens on its lines; once an envelope
//! of our own at the relay has, nothing happens on any.

use journal::Held;
use journal::ids::{Channel, PairingId};
use wal::disk::{CrashPolicy, Fault};
use wire::ids::{Digest, Seq};

use super::super::*;
use super::world::{NOW_MS, World, event, piece};
use crate::camera::EventEnd;

/// Somebody copies an old directory back, and the hub records on: less, or more, than the phone
/// already holds under the same numbers.
#[test]
fn scenario_18_a_phone_that_holds_what_this_directory_never_made_stops_the_line_for_good() {
    for more in [0, 1, 9] {
        let mut world = World::paired();
        let line = world.line;
        let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
        // Envelopes: Commit, header, two chunks.
        let _ = world.record_some(2);
        world.deliver();
        world.app_ack();
        world.restart_on(old);
        let recorded = world.record_some(more);
        world.notices();
        let before = world.core.status().unwrap().lines[0].clone();
        for _ in 0..2 {
            // It stays in the mailbox, and comes again.
            assert_eq!(world.take_from_app(), [Verdict::RolledBack], "{more}");
        }
        let standing = Standing::RolledBack;
        let said = Notice::RolledBack { line };
        let notices = world.notices();
        assert!(notices.contains(&said), "{more}: {notices:?}");
        // The event that was being recorded ends, without a word to the phone.
        assert!(notices.contains(&Notice::NotRecorded(Stop::RolledBack)));
        let cut = |notice: &&Notice| matches!(notice, Notice::ClipFinished { clip, .. } if clip.state == ClipState::CutOff);
        assert_eq!(notices.iter().filter(cut).count(), usize::from(more > 0));
        // A directory goes back as a whole, so each line of this phone is over.
        for of in Line::all(line.pairing) {
            let said = Notice::RolledBack { line: of };
            assert!(notices.contains(&said), "{more}: {notices:?}");
        }
        let expected = Channel::ALL.len() + 1 + usize::from(more > 0);
        assert_eq!(notices.len(), expected, "{notices:?}");
        let more_of_it = world.core.handle_pieces(vec![piece(20)], 8).unwrap();
        assert_eq!(more_of_it, Recorded::Not(Stop::NoClip));
        for started in [false, true] {
            if started {
                // Known again before anybody is asked.
                world.crash();
                assert!(world.notices().contains(&said), "{more}");
            }
            assert_eq!(world.core.heads().unwrap()[&line].standing, standing);
            let next = world.core.next_envelope(line, Seq::NONE, NOW_MS).unwrap();
            assert!(next.is_none(), "{more}: something is sent");
            // Nothing more is recorded or encrypted, not even what a start owes otherwise; and what
            // was recorded before is all there.
            let refused = world.core.handle_event_started(event(), 9).unwrap();
            assert_eq!(refused, Recorded::Not(Stop::RolledBack), "{more}");
            world.core.handle_timeout(9).unwrap();
            world.core.commit(9).unwrap();
            let status = world.core.status().unwrap();
            assert_eq!(status.stopped, Some(Stop::RolledBack));
            let now = &status.lines[0];
            assert_eq!((now.last, now.acked), (before.last, before.acked), "{more}");
            // Of a group that is gone, the last epoch that was used.
            let epoch = if more > 0 { before.epoch } else { 0 };
            assert_eq!(now.epoch, epoch, "{more}");
            assert_eq!(now.unacked_envelopes, before.unacked_envelopes, "{more}");
            let clips: Vec<_> = status.clips.iter().map(|c| (c.state, c.bytes)).collect();
            match more {
                0 => assert_eq!(clips, []),
                _ => assert_eq!(clips, [(ClipState::CutOff, recorded.len() as u64)]),
            }
        }
        assert_eq!(world.take_from_app(), [Verdict::RolledBack], "{more}");
    }
}

/// What a heartbeat says about one line is about a directory that was put back whole: nothing of it is taken, no
/// line of that phone goes on, and the other phone is not concerned.
#[test]
fn a_heartbeat_that_disproves_one_line_ends_all_lines_of_its_phone() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let pairing = world.line.pairing;
    let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let _ = world.record_some(2);
    world.deliver();
    world.beat(1);
    world.restart_on(old);
    let verdicts = world.send_on(Channel::Config);
    assert_eq!(verdicts, [Verdict::RolledBack, Verdict::RolledBack]);
    for started in [false, true] {
        if started {
            world.crash();
        }
        let journal = world.core.journal_ref().unwrap();
        assert_eq!(journal.phone_heard(pairing).unwrap(), None);
        for line in Line::all(pairing) {
            let journal = world.core.journal_ref().unwrap();
            assert!(journal.rollback_proof(line).unwrap().is_some());
            assert_eq!(world.core.heads().unwrap()[&line].standing, PROVEN);
            let next = world.core.next_envelope(line, Seq::NONE, NOW_MS).unwrap();
            assert!(next.is_none(), "{line:?}: something is sent");
        }
        for channel in Channel::ALL {
            let verdicts = world.send_on(channel);
            assert!(!verdicts.is_empty());
            let all = |verdict: &Verdict| *verdict == Verdict::RolledBack;
            assert!(verdicts.iter().all(all), "{channel:?}: {verdicts:?}");
        }
    }
    let bytes = world.record_some(1);
    world.end_event(EventEnd::Completed);
    other.deliver(&mut world.core);
    let clips = other.clips();
    assert_eq!(clips, [(journal::AppClipState::Complete, bytes)]);
}

/// The disk had no room for the proof: all lines are over in memory, and nothing of it is stored. The heartbeat
/// comes again, and it alone knows: taken without effect, it would be gone with this process.
#[test]
fn a_proof_that_found_no_room_is_made_when_the_heartbeat_comes_again() {
    let mut world = World::paired();
    let pairing = world.line.pairing;
    let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let _ = world.record_some(2);
    world.deliver();
    world.say_heartbeat(1);
    world.restart_on(old);
    for line in Line::all(pairing) {
        world.core.set_rolled_back(line);
    }
    assert_eq!(world.send_on(Channel::Config), [Verdict::RolledBack]);
    world.crash();
    for line in Line::all(pairing) {
        let journal = world.core.journal_ref().unwrap();
        assert!(journal.rollback_proof(line).unwrap().is_some(), "{line:?}");
        assert_eq!(world.core.heads().unwrap()[&line].standing, PROVEN);
    }
    let journal = world.core.journal_ref().unwrap();
    assert_eq!(journal.phone_heard(pairing).unwrap(), None);
}

/// The other phone holds nothing of the lost history, and goes on: one phone has a word about its own pairing only.
#[test]
fn another_phone_of_the_same_hub_is_not_concerned() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let line = world.line;
    let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let _ = world.record_some(2);
    world.deliver();
    world.app_ack();
    world.restart_on(old);
    // In the middle of an event that both take part in.
    let mut bytes = world.record_some(2);
    assert_eq!(world.take_from_app(), [Verdict::RolledBack]);
    let head = world.core.heads().unwrap()[&line].last;
    bytes.extend(world.record_more(2..5));
    world.end_event(EventEnd::Completed);
    let next = world.record_some(1);
    world.end_event(EventEnd::Completed);
    assert_eq!(world.core.heads().unwrap()[&line].last, head);
    let status = world.core.status().unwrap();
    assert_eq!(status.stopped, None, "events are recorded");
    let of_both = status.clips.len();
    other.deliver(&mut world.core);
    let clips = other.clips();
    assert_eq!(clips.len(), 2);
    assert!(clips[0] == (journal::AppClipState::Complete, bytes));
    assert!(clips[1] == (journal::AppClipState::Complete, next));
    assert_eq!(
        of_both, 3,
        "one of the first phone, cut off, and two of the other"
    );
    // A failed sync takes only the good line up again.
    let _ = world.record_some(1);
    world.disk.inject(world.disk.op_count() + 1, Fault::Eio);
    let _ = world.core.handle_pieces(vec![piece(30)], 6).unwrap();
    assert!(world.reopens(Core::commit));
    world.end_event(EventEnd::Completed);
    assert_eq!(world.core.heads().unwrap()[&line].last, head);
    other.deliver(&mut world.core);
    assert_eq!(other.clips()[2].0, journal::AppClipState::Complete);
}

/// What waits on a line, as the relay gets it.
fn left_of(core: &mut Core, line: Line) -> Vec<(Seq, Vec<u8>)> {
    let mut all = Vec::new();
    let mut at = Seq::NONE;
    while let Some((seq, envelope)) = core.next_envelope(line, at, NOW_MS).unwrap() {
        all.push((seq, envelope.as_bytes().to_vec()));
        at = seq;
    }
    all
}

/// Nothing is said, recorded or given out on any line of these pairings, and no key of their groups is left.
fn all_is_over(world: &mut World, pairings: &[PairingId]) {
    for of in pairings.iter().flat_map(|pairing| Line::all(*pairing)) {
        let journal = world.core.journal_ref().unwrap();
        assert!(journal.rollback_proof(of).unwrap().is_some(), "{of:?}");
        assert!(!journal.has_group(of), "{of:?}");
        assert_eq!(world.core.heads().unwrap()[&of].standing, PROVEN);
        let next = world.core.next_envelope(of, Seq::NONE, NOW_MS).unwrap();
        assert!(next.is_none(), "{of:?}: something is sent");
    }
    let refused = world.core.handle_event_started(event(), 9).unwrap();
    assert_eq!(refused, Recorded::Not(Stop::RolledBack));
}

/// Only this hub can have made it, so no phone is asked what it thinks: every line of every phone is over, for good,
/// and a relay that shows less from then on changes nothing.
#[test]
fn an_envelope_of_our_own_at_the_relay_ends_every_line_of_every_phone() {
    // The copy as it is, in an event of which nothing is stored yet, and one that has recorded past what left.
    for more in [0, 9] {
        let mut world = World::paired();
        let other = world.pair_another();
        let line = world.line;
        let pairings = [line.pairing, other.line.pairing];
        let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
        let _ = world.record_some(2);
        let left = left_of(&mut world.core, line);
        let (seq, bytes) = left.last().unwrap();
        world.restart_on(old);
        let _ = world.record_some(more);
        world.notices();
        let shown = Some(bytes.as_slice());
        let judged = world.core.handle_stored(line, *seq, shown, NOW_MS).unwrap();
        assert_eq!(judged, Judged::RolledBack, "{more}");
        world.core.commit(NOW_MS).unwrap();
        let notices = world.notices();
        for of in pairings.map(Line::all).concat() {
            let said = Notice::RolledBack { line: of };
            assert!(notices.contains(&said), "{more}: {notices:?}");
        }
        assert!(notices.contains(&Notice::NotRecorded(Stop::RolledBack)));
        let cut = |notice: &&Notice| matches!(notice, Notice::ClipFinished { clip, .. } if clip.state == ClipState::CutOff);
        let cut = notices.iter().filter(cut).count();
        assert_eq!(cut, if more > 0 { 2 } else { 0 }, "{notices:?}");
        for started in [false, true] {
            if started {
                world.crash();
            }
            all_is_over(&mut world, &pairings);
            for shown in [None, Some(bytes.as_slice())] {
                let judged = world.core.handle_stored(line, *seq, shown, NOW_MS);
                assert_eq!(judged.unwrap(), Judged::RolledBack);
            }
            world.core.handle_timeout(NOW_MS).unwrap();
            world.core.commit(NOW_MS).unwrap();
        }
        // The way back: who pairs now is of no lost history.
        let mut new = world.pair_with_dice(77);
        let bytes = world.record_some(1);
        world.end_event(EventEnd::Completed);
        new.deliver(&mut world.core);
        assert_eq!(new.clips(), [(journal::AppClipState::Complete, bytes)]);
    }
}

/// Whatever number it gives, and whatever it shows for it: neither a byte on the disk nor an envelope is held back.
#[test]
fn what_the_relay_only_claims_changes_nothing() {
    let mut world = World::paired();
    let line = world.line;
    let _ = world.record_some(3);
    world.end_event(EventEnd::Completed);
    world.notices();
    let left = left_of(&mut world.core, line);
    let operations = world.disk.op_count();
    for (seq, bytes) in &left {
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 4;
        let garbage = vec![1; 512];
        for number in [*seq, seq.next(), Seq(seq.0 + 1_000), Seq(u64::MAX - 1)] {
            let all = [Some(bytes), Some(&flipped), Some(&garbage), None];
            for shown in all {
                let shown = shown.map(Vec::as_slice);
                let judged = world.core.handle_stored(line, number, shown, NOW_MS);
                assert_eq!(judged.unwrap(), Judged::Nothing, "{seq} as {number}");
            }
        }
    }
    assert!(!world.core.has_staged());
    assert_eq!(world.disk.op_count(), operations);
    assert!(world.notices().is_empty());
    assert_eq!(world.core.heads().unwrap()[&line].standing, Standing::Good);
    assert_eq!(left_of(&mut world.core, line), left);
    world.deliver();
    assert_eq!(world.app_clips()[0].0, journal::AppClipState::Complete);
}

/// Nothing leaves from the moment at which it is found, and it is written down as soon as it can be: the disk is full,
/// or a sync fails.
#[test]
fn a_proof_that_cannot_be_written_down_at_once_is_by_a_later_tick() {
    for is_full in [true, false] {
        let mut world = World::paired();
        let line = world.line;
        let old = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
        let _ = world.record_some(2);
        let left = left_of(&mut world.core, line);
        let (seq, bytes) = left.first().unwrap();
        world.restart_on(old);
        if is_full {
            world.core.room = Some(false);
        }
        let shown = Some(bytes.as_slice());
        let judged = world.core.handle_stored(line, *seq, shown, NOW_MS);
        assert_eq!(judged.unwrap(), Judged::RolledBack);
        if is_full {
            world.core.handle_timeout(NOW_MS).unwrap();
            world.core.commit(NOW_MS).unwrap();
            let journal = world.core.journal_ref().unwrap();
            assert_eq!(journal.rollback_proof(line).unwrap(), None);
            world.core.room = None;
        } else {
            let next = world.disk.op_count() + 1;
            world.disk.inject(next, Fault::Eio);
            assert!(world.reopens(Core::commit));
        }
        for of in Line::all(line.pairing) {
            assert_eq!(world.core.heads().unwrap()[&of].standing, PROVEN);
        }
        world.core.handle_timeout(NOW_MS).unwrap();
        world.core.commit(NOW_MS).unwrap();
        world.crash();
        all_is_over(&mut world, &[line.pairing]);
    }
}

/// The rows of all lines come first, in one transaction, and then the groups end: a start goes on there.
#[test]
fn a_start_ends_the_groups_that_a_crash_behind_the_proof_has_left() {
    let mut world = World::paired();
    let other = world.pair_another();
    let pairings = [world.line.pairing, other.line.pairing];
    let _ = world.record_some(1);
    let held = Held {
        seq: Seq(1_000),
        digest: Digest([7; 32]),
    };
    let prove = |journal: &mut Journal| {
        let mut txn = journal.begin();
        txn.prove_rollback_of_all(&pairings, held)?;
        txn.commit(()).map(drop)
    };
    world.core.with_journal(NOW_MS, prove).unwrap();
    world.crash();
    all_is_over(&mut world, &pairings);
}
