//! Restored copies (promise C8): once the phone has proved one, nothing more happens on its line.

use wal::disk::CrashPolicy;

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
        let standing = Standing::RolledBack(Evidence::PhoneHoldsMore);
        let said = Notice::Standing { line, standing };
        let notices = world.notices();
        assert!(notices.contains(&said), "{more}: {notices:?}");
        // The event that was being recorded ends, without a word to the phone.
        assert!(notices.contains(&Notice::NotRecorded(Stop::RolledBack)));
        let cut = |notice: &&Notice| matches!(notice, Notice::ClipFinished { clip, .. } if clip.state == ClipState::CutOff);
        assert_eq!(notices.iter().filter(cut).count(), usize::from(more > 0));
        // A directory goes back as a whole, so each line of this phone is over.
        for of in Line::all(line.pairing) {
            let said = Notice::Standing { line: of, standing };
            assert!(notices.contains(&said), "{more}: {notices:?}");
        }
        let expected = Channel::ALL.len() + 1 + usize::from(more > 0);
        assert_eq!(notices.len(), expected, "{notices:?}");
        let more_of_it = world.core.handle_pieces(vec![piece(20)], 8).unwrap();
        assert_eq!(more_of_it, Recorded::Not(Stop::NoClip));
        // The relay may say what it likes.
        world.core.handle_standing(line, Standing::Good);
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
        world.core.set_standing(line, PROVEN);
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

/// The other phone holds nothing of the lost history, and goes on.
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
    world
        .disk
        .inject(world.disk.op_count() + 1, wal::disk::Fault::Eio);
    let _ = world.core.handle_pieces(vec![piece(30)], 6).unwrap();
    assert!(world.reopens(Core::commit));
    world.end_event(EventEnd::Completed);
    assert_eq!(world.core.heads().unwrap()[&line].last, head);
    other.deliver(&mut world.core);
    assert_eq!(other.clips()[2].0, journal::AppClipState::Complete);
}
