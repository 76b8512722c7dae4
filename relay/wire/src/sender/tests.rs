//! The writer by table, and against a relay that loses its state, by seed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::*;
use crate::mailbox::{Mailbox, Verdict};
use crate::receiver::{Arrival, Receiver};

/// How the relay contradicts.
type Way<'a> = &'a dyn Fn(&mut Sender, u64);

fn digest(n: u64) -> Digest {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    Digest(bytes)
}

fn head(seq: u64) -> Head {
    Head {
        seq: Seq(seq),
        digest: digest(seq),
    }
}

fn shows(last: Option<Head>) -> SendState {
    SendState {
        last,
        trimmed_through: Seq::NONE,
    }
}

fn send(sender: &mut Sender, seq: u64, after: u64) {
    send_at(sender, seq, after, 0);
}

#[test]
fn what_an_attach_leads_to() {
    // The outbox holds 4..=6. (what the relay shows, our digest at that number, want)
    let first = |seq, after| {
        Some(Need::Envelope {
            seq: Seq(seq),
            after: Seq(after),
        })
    };
    let other = Head {
        digest: digest(99),
        ..head(5)
    };
    let table = [
        ("empty", None, first(4, 0), None),
        ("behind the acks", Some(head(2)), first(4, 2), None),
        ("at the acks", Some(head(3)), first(4, 3), None),
        ("has some", Some(head(5)), first(6, 5), None),
        ("has all", Some(head(6)), None, None),
        (
            "above our head",
            Some(head(7)),
            None,
            Some(Evidence::AboveHead {
                relay: head(7),
                our_head: Seq(6),
            }),
        ),
        (
            "another digest",
            Some(other),
            None,
            Some(Evidence::OtherDigest {
                relay: other,
                ours: digest(5),
            }),
        ),
    ];
    for (name, last, want, evidence) in table {
        let mut sender = Sender::new(Seq(3), Seq(6));
        assert_eq!(sender.poll_need(0), Some(Need::Attach));
        assert!(!sender.is_sending());
        sender.handle_attached(&shows(last), 0);
        if let Some(Need::Digest(seq)) = sender.poll_need(0) {
            sender.handle_digest(seq, Some(digest(seq.0)), 0);
        }
        let want = want.or(evidence.map(Need::Stored));
        assert_eq!(sender.poll_need(0), want, "{name}");
        assert_eq!(sender.is_sending(), evidence.is_none(), "{name}");
    }
}

#[test]
fn receipts_open_the_window_and_are_coalesced() {
    let mut sender = Sender::new(Seq::NONE, Seq(3));
    sender.handle_attached(&shows(None), 0);
    send(&mut sender, 1, 0);
    send(&mut sender, 2, 1);
    send(&mut sender, 3, 2);
    assert_eq!(sender.poll_need(0), None, "nothing more is durable");
    assert_eq!(sender.in_flight_bytes(), 300);
    sender.handle_receipt(head(1), 0);
    sender.handle_receipt(head(3), 0);
    sender.handle_receipt(head(2), 0);
    assert_eq!(sender.in_flight_bytes(), 0);
    let through = Seq(3);
    assert_eq!(sender.poll_event(), Some(SenderEvent::Receipt { through }));
    assert_eq!(sender.poll_event(), None);
    assert!(sender.is_idle());
    sender.handle_durable(Seq(4));
    assert!(!sender.is_idle());
    send(&mut sender, 4, 3);
}

#[test]
fn the_window_has_a_limit() {
    let mut sender = Sender::new(Seq::NONE, Seq(10_000));
    sender.handle_attached(&shows(None), 0);
    let mut sent = 0;
    while let Some(Need::Envelope { seq, .. }) = sender.poll_need(0) {
        sender.handle_sent(seq, digest(seq.0), 64 * 1024);
        sent += 1;
    }
    assert_eq!(sent, 64, "4 MiB of 64 KiB");
    sender.handle_receipt(head(1), 0);
    assert!(sender.poll_need(0).is_some());
}

#[test]
fn answers_that_claim_something_stop_the_machine_until_they_are_judged() {
    let start = || {
        let mut sender = Sender::new(Seq::NONE, Seq(2));
        sender.handle_attached(&shows(None), 0);
        send(&mut sender, 1, 0);
        sender
    };
    let other = Head {
        digest: digest(9),
        ..head(1)
    };
    let stored = Some(Need::Stored(Evidence::OtherDigest {
        relay: other,
        ours: digest(1),
    }));
    let by_conflict = |sender: &mut Sender, now_ms| sender.handle_conflict(other, now_ms);
    let by_receipt = |sender: &mut Sender, now_ms| sender.handle_receipt(other, now_ms);
    let ways: [Way<'_>; 2] = [&by_conflict, &by_receipt];
    for way in ways {
        let mut sender = start();
        way(&mut sender, 0);
        assert_eq!(sender.poll_need(u64::MAX), stored);
        // Nothing but a judgement lets it go on, on this connection.
        sender.handle_attached(&shows(None), 0);
        sender.handle_not_next(0);
        sender.handle_over_quota(Size::Bulk, 1, 0);
        assert_eq!(sender.poll_need(u64::MAX), stored);
        let mut over = sender.clone();
        over.handle_proof();
        over.handle_detached(0);
        over.handle_evidence_dismissed(0);
        over.handle_attached(&shows(None), 0);
        assert_eq!(over.poll_need(u64::MAX), None, "nothing is sent any more");
        assert!(!over.is_sending());
        // What was not judged on this one is shown again on the next.
        let mut lost = sender.clone();
        lost.handle_detached(7);
        assert_eq!(lost.poll_need(7), Some(Need::Attach));

        // The relay appends nothing more on that slot: another one, and at once.
        sender.handle_evidence_dismissed(0);
        assert_eq!(sender.poll_need(0), None);
        assert_eq!(sender.poll_need(1_000), Some(Need::Attach));
        // Who is refused again and again asks seldom, and has it judged each time.
        let mut asked = 0;
        for now_ms in (1_000..3_600_000).step_by(100) {
            match sender.poll_need(now_ms) {
                Some(Need::Attach) => sender.handle_attached(&shows(None), now_ms),
                Some(Need::Envelope { seq, .. }) => {
                    sender.handle_sent(seq, digest(seq.0), 100);
                    way(&mut sender, now_ms);
                }
                Some(Need::Stored(_)) => {
                    asked += 1;
                    sender.handle_evidence_dismissed(now_ms);
                }
                Some(Need::Digest(_)) | None => {}
            }
        }
        assert!((5..=20).contains(&asked), "{asked} times in an hour");
    }

    let mut sender = start();
    sender.handle_receipt(head(2), 0);
    assert_eq!(
        sender.poll_event(),
        Some(SenderEvent::Misbehaved { seq: Seq(2) })
    );
}

#[test]
fn refusals_lead_to_another_attach_after_a_pause() {
    let mut sender = Sender::new(Seq::NONE, Seq(2));
    sender.handle_attached(&shows(None), 0);
    send(&mut sender, 1, 0);
    sender.handle_over_quota(Size::Bulk, 30, 1_000);
    assert_eq!(
        sender.poll_event(),
        Some(SenderEvent::OverQuota {
            size: Size::Bulk,
            retry_after_s: 30
        })
    );
    assert_eq!(sender.poll_need(30_999), None);
    assert_eq!(sender.poll_timeout(), Some(31_000));
    assert_eq!(sender.poll_need(31_000), Some(Need::Attach));
    // A late receipt for what was sent before changes nothing.
    sender.handle_receipt(head(1), 31_000);
    assert_eq!(sender.poll_event(), None);
}

#[test]
fn a_relay_cannot_ask_to_be_left_alone_for_ever() {
    let mut sender = Sender::new(Seq::NONE, Seq(1));
    sender.handle_attached(&shows(None), 0);
    send(&mut sender, 1, 0);
    sender.handle_over_quota(Size::Small, u32::MAX, 1_000);
    assert_eq!(
        sender.poll_event(),
        Some(SenderEvent::OverQuota {
            size: Size::Small,
            retry_after_s: RETRY_AFTER_SECONDS_MAX
        })
    );
    let again_ms = 1_000 + u64::from(RETRY_AFTER_SECONDS_MAX) * 1_000;
    assert_eq!(sender.poll_timeout(), Some(again_ms));
    assert_eq!(sender.poll_need(again_ms), Some(Need::Attach));
}

#[test]
fn envelopes_that_are_gone_are_skipped() {
    let mut sender = Sender::new(Seq::NONE, Seq(5));
    sender.handle_attached(&shows(None), 0);
    send(&mut sender, 1, 0);
    for dropped in 2..=4 {
        assert!(sender.poll_need(0).is_some());
        sender.handle_missing(Seq(dropped));
    }
    // The gap is declared by the number that lies before it.
    send(&mut sender, 5, 1);
}

#[test]
fn a_relay_that_forgets_again_and_again_is_served_slowly() {
    let mut sender = Sender::new(Seq::NONE, Seq(1));
    let mut now = 0;
    let mut copies = 0;
    while now < 3_600_000 {
        if sender.poll_need(now) == Some(Need::Attach) {
            sender.handle_attached(&shows(None), now);
        }
        if let Some(Need::Envelope { seq, .. }) = sender.poll_need(now) {
            sender.handle_sent(seq, digest(1), 100);
            sender.handle_receipt(head(1), now);
            copies += 1;
            sender.handle_detached(now);
        }
        now += 100;
        while sender.poll_event().is_some() {}
    }
    assert!((5..=20).contains(&copies), "{copies} copies in an hour");
}

/// splitmix64: a fixed sequence for each seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Default)]
struct Relay {
    mailbox: Mailbox,
    stored: BTreeMap<u64, Digest>,
}

impl Relay {
    fn append(&mut self, seq: Seq, after: Seq) -> Verdict {
        let stored = &self.stored;
        let verdict = self
            .mailbox
            .append(seq, after, digest(seq.0), |seq| stored.get(&seq.0).copied());
        if let Verdict::Store {
            mailbox,
            superseded,
        } = verdict
        {
            self.mailbox = mailbox;
            self.stored.insert(seq.0, digest(seq.0));
            if let Some(seq) = superseded {
                self.stored.remove(&seq.0);
            }
        }
        verdict
    }

    fn trim(&mut self, through: Seq) {
        if let Some(plan) = self.mailbox.trim(through) {
            self.mailbox = plan.mailbox;
            self.stored
                .retain(|seq, _| Seq(*seq) > plan.through || Seq(*seq) == plan.keep);
        }
    }
}

/// One writer, one relay, one reader. The relay is wiped or set back, connections break, acks
/// are late; in the end the reader has everything exactly once and in order.
fn simulate(seed: u64) {
    let mut dice = Dice(seed);
    let mut relay = Relay::default();
    let mut image = relay.clone();
    let mut sender = Sender::new(Seq::NONE, Seq::NONE);
    let mut produced = 0;
    let mut acked = 0;
    let mut got: Vec<u64> = Vec::new();
    let mut now = 0;
    let total = 40;
    for step in 0.. {
        assert!(
            step < 20_000,
            "seed {seed}: no end, {} of {total}",
            got.len()
        );
        now += dice.below(500);
        let calm = step > 3_000;
        match dice.below(12) {
            // A relay can lose its state only by dying, which breaks the connection.
            0 if !calm => {
                relay = Relay::default();
                sender.handle_detached(now);
            }
            1 if !calm => {
                relay = image.clone();
                sender.handle_detached(now);
            }
            2 => image = relay.clone(),
            3 if !calm => sender.handle_detached(now),
            4 if produced < total => {
                produced += 1;
                sender.handle_durable(Seq(produced));
            }
            5 => {
                acked = got.len() as u64;
                sender.handle_ack(Seq(acked));
            }
            6 => {
                let mut receiver = Receiver::new(Seq(got.len() as u64));
                for seq in relay.stored.keys() {
                    match receiver.handle_deliver(Seq(*seq)) {
                        Arrival::Next => got.push(*seq),
                        Arrival::Duplicate => {}
                        // A relay that was set back may miss what it had: not for us to pass.
                        Arrival::Ahead { .. } => break,
                    }
                }
            }
            7 => relay.trim(Seq(got.len() as u64)),
            _ => step_sender(&mut sender, &mut relay, acked, now, seed),
        }
        while let Some(event) = sender.poll_event() {
            assert!(
                !matches!(event, SenderEvent::Misbehaved { .. }),
                "seed {seed}: an honest, forgetful relay is none that lies: {event:?}"
            );
        }
        if got.len() as u64 == total {
            break;
        }
    }
    assert_eq!(got, (1..=total).collect::<Vec<_>>(), "seed {seed}");
}

fn step_sender(sender: &mut Sender, relay: &mut Relay, acked: u64, now: u64, seed: u64) {
    match sender.poll_need(now) {
        Some(Need::Attach) => sender.handle_attached(&relay.mailbox.send_state(), now),
        Some(Need::Digest(seq)) => sender.handle_digest(seq, Some(digest(seq.0)), now),
        Some(Need::Stored(evidence)) => {
            panic!("seed {seed}: an honest, forgetful relay claims nothing: {evidence:?}")
        }
        Some(Need::Envelope { seq, after }) => {
            assert!(
                seq.0 > acked,
                "seed {seed}: the outbox no longer holds {seq}"
            );
            sender.handle_sent(seq, digest(seq.0), 1000);
            match relay.append(seq, after) {
                Verdict::Store { .. } | Verdict::Duplicate => {
                    sender.handle_receipt(head(seq.0), now);
                }
                Verdict::Conflict { stored } => sender.handle_conflict(stored, now),
                Verdict::NotNext { .. } => sender.handle_not_next(now),
            }
        }
        None => {}
    }
}

#[test]
fn scenario_22_a_relay_that_loses_its_state_costs_bandwidth_and_nothing_else() {
    for seed in 0..2_000 {
        simulate(seed);
    }
}

#[test]
fn scenario_18_a_sender_that_was_rolled_back_is_told_and_loses_nothing() {
    // It had sent 1..=5; its directory is set back to when it had 1..=3.
    let mut relay = Relay::default();
    for seq in 1..=5 {
        relay.append(Seq(seq), Seq(seq - 1));
    }
    let mut sender = Sender::new(Seq(2), Seq(3));
    sender.handle_attached(&relay.mailbox.send_state(), 0);
    let want = Evidence::AboveHead {
        relay: head(5),
        our_head: Seq(3),
    };
    let nothing_leaves = Some(Need::Stored(want));
    assert_eq!(sender.poll_need(u64::MAX), nothing_leaves);
    assert_eq!(want.relay(), head(5));
    // The owner fetched that envelope and found its own tag in it.
    sender.handle_proof();
    assert_eq!(sender.poll_need(u64::MAX), None);
    assert_eq!(sender.poll_timeout(), None);
}

#[test]
fn scenario_20_a_head_that_the_relay_invents_stops_nothing_for_ever() {
    let mut sender = Sender::new(Seq(1), Seq(3));
    let invented = Some(head(1_000));
    sender.handle_attached(&shows(invented), 0);
    assert!(matches!(
        sender.poll_need(0),
        Some(Need::Stored(Evidence::AboveHead { .. }))
    ));
    // The owner fetched that envelope and did not find its own tag in it: at once it goes on, on the same
    // attachment, behind what is known to have been there.
    sender.handle_evidence_dismissed(0);
    assert!(sender.is_sending());
    send(&mut sender, 2, 1);
    send(&mut sender, 3, 2);
    sender.handle_receipt(head(2), 10);
    // The next lie of a relay that passes all on costs nothing at all for a while.
    sender.handle_detached(20);
    assert_eq!(sender.poll_need(20), Some(Need::Attach));
    sender.handle_attached(&shows(invented), 20);
    send_at(&mut sender, 3, 2, 20);
    // What is refused then is a relay that says no, whoever it is that makes its mailbox end there.
    sender.handle_not_next(30);
    assert_eq!(sender.poll_need(4_999), None);
    assert_eq!(sender.poll_need(5_000), Some(Need::Attach));
    // Judged again, and seldomer each time.
    sender.handle_attached(&shows(invented), 5_000);
    assert!(matches!(sender.poll_need(5_000), Some(Need::Stored(_))));
    sender.handle_evidence_dismissed(5_000);
    send_at(&mut sender, 3, 2, 5_000);
    sender.handle_not_next(5_000);
    assert_eq!(sender.poll_timeout(), Some(15_000));
    // A second word about a slot that is gone does not shorten that.
    sender.handle_not_next(5_000);
    assert_eq!(sender.poll_timeout(), Some(15_000));
    // Honest again: nothing is left of it.
    sender.handle_attached(&shows(Some(head(2))), 15_000);
    assert_eq!(sender.poll_need(15_000), Some(Need::Digest(Seq(2))));
    sender.handle_digest(Seq(2), Some(digest(2)), 15_000);
    send_at(&mut sender, 3, 2, 15_000);
    sender.handle_not_next(15_000);
    assert_eq!(sender.poll_timeout(), Some(15_200));
}

fn send_at(sender: &mut Sender, seq: u64, after: u64, now_ms: u64) {
    let need = Need::Envelope {
        seq: Seq(seq),
        after: Seq(after),
    };
    assert_eq!(sender.poll_need(now_ms), Some(need));
    sender.handle_sent(Seq(seq), digest(seq), 100);
}
