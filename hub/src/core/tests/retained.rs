//! Clips that are retained until they are acked, and played to the phone that takes a lost one's place.

use std::time::Duration;

use journal::ids::{Channel, Line, PairingId};
use journal::pairing::PHONES_MAX;
use journal::{AppClipState, Suite};
use wal::disk::SimDisk;
use wire::ids::Seq;

use super::super::trim::TRIM_CLIPS_BYTES;
use super::super::*;
use super::world::{NOW_MS, Phone, World, event, opener_with, piece};
use crate::camera::EventEnd;

/// A clip of so many pieces is more than one tick plays.
const LONG: u64 = 80;

/// An event with a clip of its own start, whole. Returns its bytes.
fn event_at(world: &mut World, started_unix_ms: u64, pieces: std::ops::Range<u64>) -> Vec<u8> {
    let event = Event {
        started_unix_ms,
        ..event()
    };
    let begun = world.core.handle_event_started(event, 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let bytes = world.record_more(pieces);
    world.end_event(EventEnd::Completed);
    bytes
}

fn tick(world: &mut World, times: u32) {
    for _ in 0..times {
        world.core.handle_timeout(9).unwrap();
        world.core.commit(9).unwrap();
    }
}

#[test]
fn a_new_phone_gets_what_a_lost_one_never_had_in_order_and_once() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    let before = event_at(&mut world, 500, 0..2);
    world.core.set_retention(true);
    let first = event_at(&mut world, 1_000, 2..5);
    // A camera that failed.
    world.record_some(1);
    let second = [piece(0).bytes.to_vec(), world.record_more(5..7)].concat();
    world.end_event(EventEnd::CutOff);
    assert!(before.len() > 1_000);

    let mut new = world.pair_another();
    assert_eq!(
        world.core.handle_play(new.line.pairing, lost, 8).unwrap(),
        2
    );
    // What comes later is not played a second time.
    let own = event_at(&mut world, NOW_MS + 5_000, 7..9);
    tick(&mut world, 5);
    new.deliver(&mut world.core);
    let complete = AppClipState::Complete;
    let clips = new.clips();
    assert_eq!(
        clips,
        [
            (complete, own),
            (complete, first),
            (AppClipState::CutOff, second)
        ]
    );
    // Of what was played, the lost phone's copies are gone, and the new phone has its own until its ack.
    let kept = world.core.retained().unwrap();
    let of = |phone| kept.iter().filter(|clip| clip.pairing == phone).count();
    assert_eq!((of(lost), of(new.line.pairing)), (1, 3));
    assert_eq!(world.core.handle_forget(lost, 9).unwrap(), 1);
    assert!(
        world
            .core
            .retained()
            .unwrap()
            .iter()
            .all(|clip| clip.pairing != lost)
    );
    // Nothing more is to be played, also after a start.
    world.crash();
    tick(&mut world, 2);
    new.deliver(&mut world.core);
    assert_eq!(new.clips().len(), 3);
}

/// What breaks in the middle of an event is never acked, and somebody has to be told of the copy.
#[test]
fn a_copy_of_a_line_that_cannot_be_used_is_counted() {
    let mut world = World::paired();
    world.core.set_retention(true);
    world.record_some(2);
    let (line, phone) = (world.line, world.line.pairing);
    assert!(world.core.may_ack(phone).unwrap());
    assert_eq!(world.core.status().unwrap().stranded_copies, 0);
    world.core.set_broken(line, &JournalError::NoGroup(line));
    assert!(!world.core.may_ack(phone).unwrap());
    assert_eq!(world.core.status().unwrap().stranded_copies, 1);
}

#[test]
fn an_ack_ends_the_copy_and_nothing_is_kept_unless_it_is_asked_for() {
    let mut world = World::paired();
    event_at(&mut world, 1_000, 0..2);
    assert!(world.core.retained().unwrap().is_empty());
    world.core.set_retention(true);
    event_at(&mut world, 2_000, 2..4);
    assert_eq!(world.core.retained().unwrap().len(), 1);
    world.deliver();
    world.ack();
    assert!(world.core.retained().unwrap().is_empty());
    tick(&mut world, 1);
    // The one that is being recorded keeps its copy through an ack, and through a start.
    world.record_some(2);
    world.deliver();
    world.ack();
    assert_eq!(world.core.retained().unwrap().len(), 1);
    world.crash();
    let kept = world.core.retained().unwrap();
    assert_eq!(
        (kept.len(), kept[0].chunks, kept[0].is_whole),
        (1, 2, false)
    );
    world.deliver();
    world.ack();
    assert!(world.core.retained().unwrap().is_empty());
}

/// A crash while a clip is played: the new phone gets the piece, marked as cut off, and then the whole.
#[test]
fn what_a_crash_cuts_off_is_played_again_whole() {
    let mut world = World::paired();
    world.core.set_retention(true);
    let lost = world.line.pairing;
    let bytes = event_at(&mut world, 1_000, 0..LONG);
    let mut new = world.pair_another();
    world.core.handle_play(new.line.pairing, lost, 8).unwrap();
    world.disk.record_snapshots();
    tick(&mut world, 4);
    let snapshots = world.disk.snapshots();
    assert!(snapshots.len() > 2, "only {} states", snapshots.len());
    let last = snapshots.len() - 1;
    for at in [1, last, last / 2] {
        let crashed = snapshots[at].crash_clone(wal::disk::CrashPolicy::LoseAll, at as u64);
        world.restart_on(crashed);
        tick(&mut world, 5);
        let kept = world.core.retained().unwrap();
        assert!(kept.iter().all(|clip| clip.pairing != lost), "state {at}");
    }
    new.deliver(&mut world.core);
    let whole: Vec<_> = new
        .clips()
        .into_iter()
        .filter(|(state, _)| *state == AppClipState::Complete)
        .collect();
    assert_eq!(whole, [(AppClipState::Complete, bytes)]);
}

/// The end of a played clip that finds no room is owed: it is tried again, and nothing begins on its line
/// before.
#[test]
fn the_end_of_a_played_clip_is_owed_until_there_is_room() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..LONG);
    let mut new = world.pair_another();
    world.core.handle_play(new.line.pairing, lost, 8).unwrap();
    tick(&mut world, 1);
    assert!(world.core.plays_on(new.line));
    // An event needs the line, and not even the reserve has room for the end.
    world.core.room = Some(false);
    let refused = world.core.handle_event_started(event(), 9).unwrap();
    assert_eq!(refused, Recorded::Not(Stop::Space));
    assert!(world.core.plays_on(new.line), "its end is owed");
    world.core.room = None;
    let own = event_at(&mut world, 2_000, 0..2);
    assert!(!world.core.plays_on(new.line));
    // Whole in the end, and every piece before that is marked as one.
    tick(&mut world, 6);
    new.deliver(&mut world.core);
    let clips = new.clips();
    let states: Vec<_> = clips.iter().map(|(state, _)| *state).collect();
    let (complete, cut_off) = (AppClipState::Complete, AppClipState::CutOff);
    assert_eq!(states, [cut_off, complete, complete]);
    assert!(bytes.starts_with(&clips[0].1) && clips[0].1.len() < bytes.len());
    assert_eq!([&clips[1].1, &clips[2].1], [&own, &bytes]);
    let kept = world.core.retained().unwrap();
    let of_lost = kept.iter().filter(|clip| clip.pairing == lost);
    assert_eq!(of_lost.count(), 1, "the event in between");
}

/// A phone that is removed while a clip is played to it holds nothing up: the copy stays, for another.
#[test]
fn a_clip_that_was_played_to_a_phone_that_is_removed_is_played_to_another() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..LONG);
    let gone = world.pair_another();
    world.core.handle_play(gone.line.pairing, lost, 8).unwrap();
    tick(&mut world, 1);
    assert!(world.core.plays_on(gone.line));
    assert!(world.core.remove_phone(gone.line.pairing, 9).unwrap());
    assert!(!world.core.plays_on(gone.line));
    let mut new = world.pair_with_dice(9);
    let played = world.core.handle_play(new.line.pairing, lost, 9);
    assert_eq!(played.unwrap(), 1);
    tick(&mut world, 8);
    new.deliver(&mut world.core);
    assert_eq!(new.clips(), [(AppClipState::Complete, bytes)]);
}

/// Other jobs have their turn between two ticks, and an event goes before what is played.
#[test]
fn a_long_clip_is_played_in_batches() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..LONG);
    let new = world.pair_another();
    world.core.handle_play(new.line.pairing, lost, 8).unwrap();
    world.core.handle_timeout(9).unwrap();
    assert!(
        world.core.plays_on(new.line),
        "one tick does not play it all"
    );
    let begun = world.core.handle_event_started(event(), 9).unwrap();
    assert_eq!(begun, Recorded::Taken);
    assert!(!world.core.plays_on(new.line));
    tick(&mut world, 1);
    assert!(
        !world.core.plays_on(new.line),
        "nothing is played while a camera records"
    );
}

/// More copies than one ack can end, and a step of theirs that was staged and lost with its sync: the others
/// are not forgotten over it.
#[test]
fn copies_of_acked_clips_go_whatever_becomes_of_a_step() {
    let mut world = World::paired();
    world.core.set_retention(true);
    for n in 0..260 {
        event_at(&mut world, 1_000 + n, 0..1);
    }
    world.deliver();
    world.ack();
    let left = world.core.retained().unwrap().len();
    assert!(left > 0, "an ack ends a bounded number");
    // Two ticks without a sync between them, and then it fails.
    world.core.handle_timeout(9).unwrap();
    world.core.handle_timeout(9).unwrap();
    assert!(world.core.retained().unwrap().is_empty());
    world
        .disk
        .inject(world.disk.op_count(), wal::disk::Fault::Eio);
    assert!(world.reopens(Core::commit));
    assert_eq!(world.core.retained().unwrap().len(), left);
    tick(&mut world, 2);
    assert!(world.core.retained().unwrap().is_empty());
}

/// An owner who wants no copies any more has none.
#[test]
fn copies_end_when_none_are_to_be_kept() {
    let mut world = World::paired();
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..2);
    event_at(&mut world, 2_000, 0..2);
    world.crash();
    tick(&mut world, 1);
    assert_eq!(
        world.core.retained().unwrap().len(),
        2,
        "nothing was said yet"
    );
    world.core.set_retention(false);
    tick(&mut world, 1);
    assert!(world.core.retained().unwrap().is_empty());
}

/// What removes many rows is counted as such, so that a batch does not outgrow the log.
#[test]
fn what_ends_copies_is_charged_with_what_it_may_take() {
    let mut world = World::paired();
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..2);
    world.core.set_retention(false);
    assert_eq!(world.core.staged_bytes, 0);
    world.core.handle_timeout(9).unwrap();
    // One step ends the copy, one removes its rows.
    assert_eq!(world.core.staged_bytes, 2 * TRIM_CLIPS_BYTES);
}

/// Nothing is promised to a phone that can never have it.
#[test]
fn nothing_is_played_to_a_phone_that_proved_a_rollback() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..2);
    let new = world.pair_another();
    world.core.set_rolled_back(new.line);
    let refused = world.core.handle_play(new.line.pairing, lost, 8);
    assert!(
        matches!(
            refused,
            Err(CoreError::Journal(JournalError::RolledBack(_)))
        ),
        "{refused:?}"
    );
}

/// The largest transactions that there are: a full piece for as many phones as may be, with a copy for each, and
/// the Commits of the event, in the smallest log files that such a hub may have.
#[test]
fn full_pieces_for_eight_phones_and_their_copies_fit_into_one_transaction() {
    let disk = SimDisk::new();
    let opener = opener_with(&disk, 8 << 20, 1);
    let mut core = Core::start(opener, SilenceLimits::default(), NOW_MS).unwrap();
    core.set_retention(true);
    let pair = |seed: usize| {
        let mut phone = Phone::new(100 + seed as u64);
        phone.pair(&mut core, Suite::XWing);
        phone
    };
    let mut phones: Vec<Phone> = (0..PHONES_MAX).map(pair).collect();
    let begun = core.handle_event_started(event(), NOW_MS).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let mut all = Vec::new();
    for number in 0..2 {
        let mut bytes = vec![0; journal::CHUNK_BYTES_MAX];
        wal::Dice::fill(&mut wal::SeededDice(number), &mut bytes);
        all.extend_from_slice(&bytes);
        let piece = Piece {
            bytes: bytes.into(),
            captured_unix_ms: NOW_MS,
        };
        let taken = core.handle_pieces(vec![piece], NOW_MS).unwrap();
        assert_eq!(taken, Recorded::Taken);
    }
    let ended = core.handle_event_ended(EventEnd::Completed, NOW_MS);
    assert_eq!(ended.unwrap(), Recorded::Taken);
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.retained().unwrap().len(), PHONES_MAX);
    for phone in &mut phones {
        phone.deliver(&mut core);
        assert_eq!(phone.clips(), [(AppClipState::Complete, all.clone())]);
    }
}

/// Two phones' copies are played to the same one, and that they wait for room is said once.
#[test]
fn two_may_be_played_to_one_and_waiting_is_said_once() {
    let mut world = World::paired();
    let first = world.line.pairing;
    let second = world.pair_another().line.pairing;
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..2);
    let mut new = world.pair_with_dice(9);
    for lost in [first, second] {
        world.core.handle_play(new.line.pairing, lost, 8).unwrap();
    }
    world.core.room = Some(false);
    tick(&mut world, 3);
    let waits = |notice: &Notice| matches!(notice, Notice::PlayWaits { .. });
    assert_eq!(
        world
            .notices()
            .iter()
            .filter(|notice| waits(notice))
            .count(),
        1
    );
    world.core.room = None;
    tick(&mut world, 6);
    new.deliver(&mut world.core);
    let clip = (AppClipState::Complete, bytes);
    assert_eq!(new.clips(), [clip.clone(), clip]);
    assert_eq!(
        world.core.retained().unwrap().len(),
        2,
        "the new phone's own"
    );
}

/// A phone that is confirmed before anything of an event is stored takes part in it.
#[test]
fn a_phone_that_comes_before_the_first_piece_has_the_event() {
    let mut world = World::paired();
    world.core.set_retention(true);
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    let mut new = world.pair_another();
    let bytes = world.record_more(0..2);
    world.end_event(EventEnd::Completed);
    new.deliver(&mut world.core);
    assert_eq!(new.clips(), [(AppClipState::Complete, bytes)]);
    let own = world.line.pairing;
    let missed = world.core.handle_play(new.line.pairing, own, 8);
    assert_eq!(missed.unwrap(), 0);
}

/// What is lost in the outbox is not lost where a copy is: the phone gets that.
#[test]
fn the_copy_of_a_clip_whose_envelopes_are_damaged_is_played() {
    let mut world = World::paired();
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..3);
    let line = world.line;
    let step = |session: &mut Session<Committer>, txn: &mut journal::Txn<'_>| {
        session.drop_damaged(txn, Seq(3)).map(drop)
    };
    world.core.in_txn(line, EPOCH_BYTES, 8, step).unwrap();
    world.core.commit(8).unwrap();
    world.deliver();
    world.ack();
    assert_eq!(
        world.core.retained().unwrap().len(),
        1,
        "its ack is for the statement"
    );
    tick(&mut world, 2);
    world.deliver();
    let clips = world.app_clips();
    let complete = clips
        .iter()
        .filter(|(state, _)| *state == AppClipState::Complete);
    assert_eq!(
        complete.map(|(_, bytes)| bytes).collect::<Vec<_>>(),
        [&bytes]
    );
    world.ack();
    tick(&mut world, 1);
    assert!(world.core.retained().unwrap().is_empty());
}

#[test]
fn a_phone_that_is_not_there_gets_nothing() {
    let mut world = World::paired();
    let own = world.line.pairing;
    let nobody = PairingId([9; 16]);
    assert!(world.core.handle_play(nobody, own, 8).is_err());
    assert!(world.core.handle_play(own, own, 8).is_err());
    assert_eq!(world.core.handle_play(own, nobody, 8).unwrap(), 0);
    tick(&mut world, 2);
    assert_eq!(world.core.handle_forget(nobody, 8).unwrap(), 0);
}

#[test]
fn what_is_being_recorded_is_not_forgotten_and_all_else_is() {
    let mut world = World::paired();
    let own = world.line.pairing;
    world.core.set_retention(true);
    event_at(&mut world, 1_000, 0..2);
    // An event of which nothing has come yet has no copy, and spares none.
    let begun = world.core.handle_event_started(event(), 5).unwrap();
    assert_eq!(begun, Recorded::Taken);
    assert_eq!(world.core.handle_forget(own, 8).unwrap(), 1);
    assert!(world.core.retained().unwrap().is_empty());
    world.record_more(2..3);
    assert_eq!(world.core.handle_forget(own, 8).unwrap(), 0);
    world.record_more(3..4);
    world.end_event(EventEnd::Completed);
    let kept = world.core.retained().unwrap();
    assert_eq!((kept.len(), kept[0].chunks, kept[0].is_whole), (1, 2, true));
}

/// A phone that takes a lost one's place and is silent itself gets nothing new, not of the lost one's either.
#[test]
fn a_silent_phone_is_played_nothing_until_it_is_heard_of() {
    let mut world = World::paired();
    let lost = world.line.pairing;
    world.core.set_retention(true);
    let bytes = event_at(&mut world, 1_000, 0..2);
    let mut new = world.pair_another();
    let phone = new.line.pairing;
    world.limit_silence(SilenceLimits {
        silent_after: Duration::from_secs(3600),
        removed_after: Duration::from_secs(3 * 3600),
    });
    world.idle(62);
    assert_eq!(world.core.handle_play(phone, lost, 8).unwrap(), 1);
    world.idle(2);
    new.deliver(&mut world.core);
    assert!(new.clips().is_empty());
    new.beat(1);
    let config = Line::of(phone, Channel::Config);
    let _verdicts = new.send(&mut world.core, config, NOW_MS);
    world.idle(1);
    new.deliver(&mut world.core);
    assert_eq!(new.clips(), [(AppClipState::Complete, bytes)]);
}
