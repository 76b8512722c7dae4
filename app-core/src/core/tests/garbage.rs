//! C6: whatever a relay does to envelopes changes no durable state and wedges nothing.

use bytes::Bytes;
use journal::{Follower, Session};
use wire::Seq;

use super::super::*;
use crate::testing::{bytes_of, deliver, open_core, paired};

fn with(delivered: &Delivered, change: impl FnOnce(&mut Vec<u8>)) -> Delivered {
    let mut bytes = delivered.bytes.to_vec();
    change(&mut bytes);
    Delivered {
        seq: delivered.seq,
        bytes: Bytes::from(bytes),
    }
}

#[test]
fn every_kind_of_garbage_before_every_envelope_is_harmless() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    let clip = hub.record(&[b"one", b"two"]);
    let other = hub.record(&[b"three"]);
    let sent = hub.outgoing(Seq::NONE);
    let exporter = |core: &mut Core| {
        let mut session = Session::<Follower>::new(line);
        session.exporter(&mut core.journal().begin()).unwrap()
    };
    for (at, right) in sent.iter().enumerate() {
        let before = (
            core.cursor(line).unwrap(),
            core.outbox(line).unwrap(),
            exporter(&mut core),
        );
        let length = right.bytes.len();
        let mut garbage = vec![
            with(right, |bytes| bytes.truncate(length / 2)),
            with(right, |bytes| bytes.truncate(1)),
            with(right, Vec::clear),
            with(right, |bytes| bytes.push(0)),
            with(right, |bytes| bytes.fill(0)),
        ];
        for byte in [0, 1, 23, 24, 40, length / 2, length - 1] {
            garbage.push(with(right, |bytes| bytes[byte] ^= 1));
        }
        // Another envelope under this number: replayed or moved.
        for wrong in sent.iter().filter(|wrong| wrong.seq != right.seq) {
            garbage.push(Delivered {
                seq: right.seq,
                bytes: wrong.bytes.clone(),
            });
        }
        for wrong in garbage {
            let run = deliver(&mut core, line, &[wrong, right.clone()], 10);
            assert!(
                matches!(run.halt, Some(Halt::NotAuthentic { .. })),
                "{:?}",
                run.halt
            );
            assert!(run.facts.is_empty() && run.ack.is_none());
        }
        // Too early, and again what was there: neither says anything nor moves anything.
        if let Some(early) = sent.get(at + 1) {
            let run = deliver(&mut core, line, std::slice::from_ref(early), 10);
            assert!(
                matches!(run.halt, Some(Halt::Gap { expected }) if expected == right.seq),
                "{:?}",
                run.halt
            );
        }
        let replay = deliver(&mut core, line, &sent[..at], 10);
        assert!(replay.facts.is_empty() && replay.halt.is_none());
        let after = (
            core.cursor(line).unwrap(),
            core.outbox(line).unwrap(),
            exporter(&mut core),
        );
        assert_eq!(before, after, "before envelope {}", right.seq);
        let run = deliver(&mut core, line, std::slice::from_ref(right), 10);
        assert!(run.halt.is_none());
        assert_eq!(run.facts.len(), 1);
    }
    assert_eq!(bytes_of(&core, clip), b"onetwo");
    assert_eq!(bytes_of(&core, other), b"three");
    hub.take_all(&core);
    assert_eq!(hub.unacked(), 0);
}

#[test]
fn what_stands_before_the_garbage_counts() {
    let (mut hub, disk) = paired();
    let mut core = open_core(&disk, 3);
    let line = hub.line();
    hub.record(&[b"one", b"two"]);
    let sent = hub.outgoing(Seq::NONE);
    let mut run = sent.clone();
    run[3] = with(&run[3], |bytes| bytes[30] ^= 0x80);
    let run = deliver(&mut core, line, &run, 10);
    assert_eq!(run.facts.len(), 3);
    assert_eq!(run.cursor, Seq(3));
    assert!(matches!(run.halt, Some(Halt::NotAuthentic { seq: Seq(4) })));
    let run = deliver(&mut core, line, &sent, 20);
    assert_eq!(run.facts.len(), sent.len() - 3);
}
