//! Forgetting a hub: nothing of it is left, whatever crashes, and who is interrupted asks again.

use wal::disk::CrashPolicy;
use wire::Seq;

use crate::testing::{NOW_MS, deliver, open_core, paired};

#[test]
fn a_hub_is_forgotten_with_its_clips_whatever_crashes() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    for bytes in [&b"one"[..], b"two"] {
        let _clip = hub.record(&[bytes]);
    }
    let run = deliver(&mut core, line, &hub.outgoing(Seq::NONE), 10);
    assert!(run.halt.is_none());
    assert_eq!(core.clips().unwrap().len(), 2);

    disk.record_snapshots();
    assert_eq!(core.forget(line.pairing).unwrap().unwrap().len(), 2);
    assert_eq!(core.forget(line.pairing).unwrap(), None);
    let (mut there, mut gone) = (0, 0);
    for (i, snapshot) in disk.snapshots().iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let disk = snapshot.crash_clone(policy, seed);
            let mut core = open_core(&disk, 100 + seed);
            match core.forget(line.pairing).unwrap() {
                Some(_clips) => there += 1,
                None => gone += 1,
            }
            core.rest().unwrap();
            assert!(core.clips().unwrap().is_empty(), "{i} {policy:?}");
            assert!(core.lines().unwrap().is_empty(), "{i} {policy:?}");
            assert_eq!(core.next_heartbeat(NOW_MS).unwrap(), None);
            assert!(core.journal().pairing_ids().is_empty());
        }
    }
    assert!(there > 0 && gone > 0, "{there} there, {gone} gone");
}
