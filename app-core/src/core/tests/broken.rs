//! A line that broke: its hub goes on in an epoch that this directory has not seen.

use std::sync::Arc;

use journal::JournalError;
use wal::disk::{CrashPolicy, SimDisk};
use wal::store::MemStore;
use wal::{SeededDice, Txn, Wal};
use wire::Seq;

use super::super::*;
use crate::testing::{bytes_of, deliver, open_core, options, paired};

/// Writes down that envelope `seq` could not be followed, as the journal does (FORMAT.md, `B`): no hub
/// of ours sends such a one, and what makes the journal say so is tested there.
fn break_line(disk: &SimDisk, line: Line, seq: Seq) {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let view = Box::new(MemStore::on_disk(disk.clone(), "view"));
    let (mut wal, _) = Wal::open(disk, view, Box::new(SeededDice(9)), options()).unwrap();
    let key = [&b"B"[..], &line.key()].concat();
    let mut txn = Txn::new();
    txn.put(key, [2, u8::try_from(seq.0).unwrap(), 1, 2]);
    drop(wal.stage(txn, ()).unwrap());
    drop(wal.commit().unwrap());
}

#[test]
fn a_line_that_broke_is_said_and_takes_and_sends_nothing_more() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let kept = hub.record(&[b"kept"]);
    let first = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    hub.take_all(&core);
    assert_eq!(core.over(line).unwrap(), None);
    let before = core.outbox(line).unwrap();
    drop(core);
    break_line(&disk, line, first.cursor.next());
    hub.record(&[b"never read"]);
    let sent = hub.outgoing(first.cursor);
    for start in 0..2 {
        let crashed = disk.crash_clone(CrashPolicy::LoseAll, start);
        let mut core = open_core(&crashed, 30 + start);
        assert_eq!(core.over(line).unwrap(), Some(Over::Broken));
        assert_eq!(core.status().unwrap()[0].over, Some(Over::Broken));
        core.owe_ack(line, 30_000).unwrap();
        let refused = [
            core.deliver(line, &sent, 30_000, 0).err(),
            core.tick(line, 40_000).err(),
            core.finish_sync(line, 50_000).err(),
            core.next_envelope(line, Seq::NONE).err(),
        ];
        for refused in refused {
            assert!(
                matches!(refused, Some(JournalError::LineBroken(of)) if of == line),
                "{refused:?}"
            );
        }
        assert_eq!(core.outbox(line).unwrap(), before);
        assert_eq!(core.cursor(line).unwrap(), first.cursor);
        assert_eq!(bytes_of(&core, kept), b"kept");
    }
}

/// Writes over the first sealed value whose key begins so: no key opens it any more.
fn spoil(disk: &SimDisk, prefix: &[u8]) {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let view = Box::new(MemStore::on_disk(disk.clone(), "view"));
    let (mut wal, _) = Wal::open(disk, view, Box::new(SeededDice(9)), options()).unwrap();
    let rows = wal.scan(prefix, prefix, 1).unwrap();
    let (key, value) = &rows[0];
    let mut txn = Txn::new();
    txn.put(key.clone(), vec![7; value.len()]);
    drop(wal.stage(txn, ()).unwrap());
    drop(wal.commit().unwrap());
}

/// What is wrong with its camera's group keeps no clip here; the group, which could derive the clip's chunks again and
/// cannot be rotated, dies with it.
#[test]
fn a_clip_is_deleted_beside_a_group_that_is_damaged() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.record(&[b"deleted"]);
    deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    drop(core);
    // The ratchets of the group (FORMAT.md, family 07).
    spoil(&disk, &[&b"S\x04"[..], &line.key(), &[0x07]].concat());
    let mut core = open_core(&disk, 4);
    assert!(core.journal().has_group(line));
    let deleted = core.delete(clip).unwrap();
    let committed = core.commit().unwrap();
    assert_eq!(committed.redeem(deleted).into_inner(), clip);
    assert!(core.clips().unwrap().is_empty());
    assert!(!core.journal().has_group(line));
}
