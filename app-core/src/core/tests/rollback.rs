//! C8 at the app (scenario 21): a backup of it is put back, and the hub says what it holds.

use journal::JournalError;
use wal::disk::CrashPolicy;
use wire::Seq;

use super::super::*;
use crate::testing::{bytes_of, deliver, finish_sync, open_core, paired};

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
