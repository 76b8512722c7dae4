//! C8 at the app (scenario 21): a backup of it is put back, and the hub says what it holds, or the relay shows it.

use journal::JournalError;
use wal::disk::CrashPolicy;
use wire::Seq;

use super::super::*;
use crate::testing::{Hub, bytes_of, deliver, finish_sync, open_core, pair_another, paired};

#[test]
fn scenario_21_an_older_copy_is_told_by_the_hub_and_takes_and_sends_nothing_more() {
    // The copy is the directory as it was, or has acked on under numbers that the hub knows.
    for acks in [0, 1, 3] {
        let (mut hub, disk) = paired();
        let mut core = open_core(&disk, 3);
        let line = hub.line();
        let kept = hub.record(&[b"kept"]);
        let first = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
        hub.take_all(&core);
        let old = disk.crash_clone(CrashPolicy::KeepAll, 1);
        // Two acks more, which the hub takes before it goes on.
        for now_ms in [5_000, 10_000] {
            hub.record(&[b"lost with the newer directory"]);
            let cursor = core.cursor(line).unwrap();
            deliver(&mut core, line, &hub.outgoing(cursor), now_ms);
            hub.take_all(&core);
        }
        drop(core);
        hub.record(&[b"next"]);
        let sent = hub.outgoing(Seq::NONE);
        assert!(sent[0].seq > first.cursor.next(), "it lies behind a gap");

        let mut core = open_core(&old, 20);
        for now_ms in 0..acks {
            core.owe_ack(line, now_ms).unwrap();
            assert!(finish_sync(&mut core, line, now_ms).ack.is_some());
        }
        let before = core.outbox(line).unwrap();
        assert_eq!(core.over(line).unwrap(), None);
        let version = |core: &mut Core, line| core.journal().key_version(line).unwrap();
        let versions = Line::all(line.pairing).map(|line| version(&mut core, line));
        let run = deliver(&mut core, line, &sent, 20_000);
        // None of them ever falls quiet again, so each key rotates with the proof (S5).
        for (line, before) in Line::all(line.pairing).into_iter().zip(versions) {
            assert_eq!(version(&mut core, line), before + 1, "{line:?}");
        }
        let over = matches!(run.halt, Some(Halt::Over(Over::RolledBack)));
        assert!(over, "{:?}", run.halt);
        assert!(run.facts.is_empty() && run.ack.is_none());
        for started in [false, true] {
            if started {
                drop(core);
                let crashed = old.crash_clone(CrashPolicy::LoseAll, 2);
                core = open_core(&crashed, 30);
            }
            assert_eq!(core.over(line).unwrap(), Some(Over::RolledBack));
            assert_eq!(core.status().unwrap()[0].over, Some(Over::RolledBack));
            core.owe_ack(line, 30_000).unwrap();
            let refused = [
                core.deliver(line, &sent, 30_000, 0).err(),
                core.tick(line, 40_000).err(),
                core.finish_sync(line, 50_000).err(),
                core.next_envelope(line, Seq::NONE).err(),
            ];
            for refused in refused {
                assert!(
                    matches!(refused, Some(JournalError::RolledBack(of)) if of == line),
                    "{refused:?}"
                );
            }
            drop(core.commit().unwrap());
            assert_eq!(core.outbox(line).unwrap(), before);
            assert_eq!(core.cursor(line).unwrap(), first.cursor);
            assert_eq!(bytes_of(&core, kept), b"kept");
        }
        // What is here is still its owner's.
        let deleted = core.delete(kept).unwrap();
        let committed = core.commit().unwrap();
        assert_eq!(committed.redeem(deleted).into_inner(), kept);
        assert!(core.clips().unwrap().is_empty());
    }
}

/// What the app has said on a line, as a relay gets it.
fn said(core: &Core, line: Line) -> Vec<(Seq, Vec<u8>)> {
    let mut all = Vec::new();
    let mut at = Seq::NONE;
    while let Some((seq, envelope)) = core.next_envelope(line, at).unwrap() {
        all.push((seq, envelope.as_bytes().to_vec()));
        at = seq;
    }
    all
}

/// Takes all that a hub has, and acks it.
fn take_and_ack(core: &mut Core, hub: &Hub) {
    let line = hub.line();
    let cursor = core.cursor(line).unwrap();
    deliver(core, line, &hub.outgoing(cursor), 10);
    finish_sync(core, line, 10);
}

/// Only this app can have made it, so it is no word of one hub: nothing is taken from any or said to it any more, for
/// good, and a relay that shows less from then on changes nothing.
#[test]
fn scenario_21_an_envelope_of_our_own_at_the_relay_ends_every_line_of_every_hub() {
    // The copy is the directory as it was, or has acked on past what left.
    for acks in [0, 3] {
        let (mut hub, disk) = paired();
        let mut other = pair_another(&disk);
        let mut core = open_core(&disk, 3);
        let (line, lines) = (hub.line(), [hub.line(), other.line()]);
        let old = disk.crash_clone(CrashPolicy::KeepAll, 1);
        hub.record(&[b"one"]);
        take_and_ack(&mut core, &hub);
        let (seq, left) = said(&core, line).pop().unwrap();
        drop(core);

        let mut core = open_core(&old, 20);
        for now_ms in 0..acks {
            // Each is another ack of the same clip.
            deliver(&mut core, line, &hub.outgoing(Seq::NONE), now_ms);
            core.owe_ack(line, now_ms).unwrap();
            finish_sync(&mut core, line, now_ms);
        }
        // Neither its number nor other bytes, whatever the relay says of them.
        let mut flipped = left.clone();
        flipped[left.len() / 2] ^= 1;
        for (number, shown) in [
            (seq, None),
            (seq, Some(&flipped)),
            (Seq(1_000), Some(&left)),
            (Seq(1_000), None),
        ] {
            let shown = shown.map(Vec::as_slice);
            let judged = core.handle_stored(line, number, shown).unwrap();
            assert_eq!(judged, Judged::Nothing);
        }
        for (seq, own) in said(&core, line) {
            let judged = core.handle_stored(line, seq, Some(&own)).unwrap();
            assert_eq!(judged, Judged::Nothing);
        }
        let before = core.outbox(line).unwrap();
        let judged = core.handle_stored(line, seq, Some(&left)).unwrap();
        assert_eq!(judged, Judged::RolledBack, "{acks}");
        drop(core.commit().unwrap());
        other.record(&[b"of another hub"]);
        for started in [false, true] {
            if started {
                drop(core);
                let crashed = old.crash_clone(CrashPolicy::LoseAll, 2);
                core = open_core(&crashed, 30);
            }
            for line in lines.map(|line| Line::all(line.pairing)).concat() {
                assert_eq!(core.over(line).unwrap(), Some(Over::RolledBack));
                assert!(core.journal().rollback_proof(line).unwrap().is_some());
                let refused = core.next_envelope(line, Seq::NONE).err();
                assert!(matches!(refused, Some(JournalError::RolledBack(_))));
                let shown = core.handle_stored(line, seq, None).unwrap();
                assert_eq!(shown, Judged::RolledBack);
            }
            for (line, sent) in [
                (hub.line(), hub.outgoing(Seq::NONE)),
                (other.line(), other.outgoing(Seq::NONE)),
            ] {
                let refused = [
                    core.deliver(line, &sent, 30_000, 0).err(),
                    core.tick(line, 40_000).err(),
                    core.finish_sync(line, 50_000).err(),
                ];
                for refused in refused {
                    let over = matches!(refused, Some(JournalError::RolledBack(of)) if of == line);
                    assert!(over, "{refused:?}");
                }
            }
            drop(core.commit().unwrap());
            assert_eq!(core.outbox(line).unwrap(), before);
            let statuses = core.status().unwrap();
            let is_over = |status: &LineStatus| status.over == Some(Over::RolledBack);
            assert_eq!(statuses.iter().filter(|status| is_over(status)).count(), 2);
        }
    }
}

/// One hub has a word about its own pairing only.
#[test]
fn what_one_hub_says_it_holds_does_not_concern_another() {
    let (mut hub, disk) = paired();
    let mut other = pair_another(&disk);
    let mut core = open_core(&disk, 3);
    let old = disk.crash_clone(CrashPolicy::KeepAll, 1);
    hub.record(&[b"one"]);
    take_and_ack(&mut core, &hub);
    hub.take_all(&core);
    hub.record(&[b"two"]);
    drop(core);
    let mut core = open_core(&old, 20);
    let run = deliver(&mut core, hub.line(), &hub.outgoing(Seq::NONE), 10);
    assert!(matches!(run.halt, Some(Halt::Over(Over::RolledBack))));
    let clip = other.record(&[b"of another hub"]);
    let run = deliver(&mut core, other.line(), &other.outgoing(Seq::NONE), 20);
    assert!(run.halt.is_none(), "{:?}", run.halt);
    assert_eq!(core.over(other.line()).unwrap(), None);
    assert_eq!(bytes_of(&core, clip), b"of another hub");
    assert_eq!(other.take_all(&core).len(), 1);
}

/// The journal failed in the sync of those rows: who opens it again still knows.
#[test]
fn what_an_envelope_of_our_own_has_proved_outlasts_the_journal_that_could_not_keep_it() {
    let (mut hub, disk) = paired();
    let other = pair_another(&disk);
    let mut core = open_core(&disk, 3);
    let old = disk.crash_clone(CrashPolicy::KeepAll, 1);
    hub.record(&[b"one"]);
    take_and_ack(&mut core, &hub);
    let (seq, left) = said(&core, hub.line()).pop().unwrap();
    drop(core);

    let mut core = open_core(&old, 20);
    let judged = core.handle_stored(hub.line(), seq, Some(&left)).unwrap();
    assert_eq!(judged, Judged::RolledBack);
    let unsynced = old.crash_clone(CrashPolicy::LoseAll, 2);
    let disproof = core.into_disproof();
    let mut core = open_core(&unsynced, 30);
    core.believe(disproof);
    for line in [hub.line(), other.line()] {
        assert_eq!(core.over(line).unwrap(), Some(Over::RolledBack));
    }
    // It is written down as soon as that is possible.
    core.rest().unwrap();
    drop(core);
    let core = open_core(&unsynced, 40);
    assert_eq!(core.over(other.line()).unwrap(), Some(Over::RolledBack));
}
