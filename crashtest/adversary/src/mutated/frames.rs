//! Frames changed at each bit: around an envelope on both its ways, and from the relay to the senders and readers of hub
//! and app.
//!
//! A frame that cannot be read closes its connection, so nothing of it reaches a core; what can still be read
//! goes where the programs' shells would take it. This room must never feed a core what a shell would not.

use bytes::Bytes;
use crashtest::trouble::Outcome;
use crashtest_evil_relay::evil::mailboxes::{Answer, Image, Mailboxes};
use journal::ids::Line;
use wire::envelope::Size;
use wire::frame::{append_prefix, deliver_prefix};
use wire::limits::{APPEND_PREFIX_BYTES, DELIVER_PREFIX_BYTES, FRAME_HEADER_BYTES};
use wire::mailbox::{Mailbox, Verdict};
use wire::receiver::{Arrival, Receiver};
use wire::sender::{Need, Sender, SenderEvent};
use wire::{Digest, Frame, Head, ReceiveState, Seq, Slot};

use super::ends::{Ends, Outbox, To, broken};
use super::{Depth, Tally};

/// The slot of every control frame here.
const SLOT: Slot = Slot(1);
/// Steps in which a sender must have sent everything once the relay is honest.
const STEPS_MAX: u32 = 10_000;
/// Steps that it takes on what it heard, before its connection ends.
const STEPS_ON_A_LIE: u32 = 8;

/// The frames that carry one envelope, from its sender to the relay and from there to its reader, with each
/// bit before the envelope changed; how many.
pub(super) fn around(
    ends: &mut Ends,
    to: To,
    line: Line,
    (seq, bytes): (Seq, &Bytes),
) -> Outcome<u64> {
    let digest = Digest::of(bytes);
    let before = Seq(seq.0.saturating_sub(1));
    let honest = deliver_prefix(seq, bytes.len());
    let mut count = 0;
    for (prefix, fields) in [
        (honest, FRAME_HEADER_BYTES + DELIVER_PREFIX_BYTES),
        (
            append_prefix(seq, before, digest, bytes.len()),
            FRAME_HEADER_BYTES + APPEND_PREFIX_BYTES,
        ),
    ] {
        let mut stream = prefix;
        stream.extend_from_slice(bytes);
        for bit in 0..fields * 8 {
            flip(&mut stream, bit);
            if let Some((at, envelope)) = passed(&stream, before)
                && (at, envelope) != (seq, &**bytes)
            {
                let envelope = Bytes::copy_from_slice(envelope);
                ends.refuses(to, line, (at, &envelope), || {
                    format!("bit {bit} of a frame")
                })?;
            }
            flip(&mut stream, bit);
            count += 1;
        }
    }
    Ok(count)
}

pub(super) fn flip(stream: &mut [u8], bit: usize) {
    if let Some(byte) = stream.get_mut(bit / 8) {
        *byte ^= 1 << (bit % 8);
    }
}

/// What a stream's first frame brings to the reader, if it is an envelope and gets there: an append through an
/// honest relay whose mailbox ends with `before`.
fn passed(stream: &[u8], before: Seq) -> Option<(Seq, &[u8])> {
    match Frame::decode(stream).ok()?.0 {
        Frame::Deliver { seq, envelope } => Some((seq, envelope)),
        Frame::Append {
            seq,
            after,
            digest,
            envelope,
        } => {
            if Digest::of(envelope) != digest {
                return None;
            }
            let last = before.is_some().then_some(Head {
                seq: before,
                digest: Digest([0; 32]),
            });
            let mailbox = Mailbox {
                last,
                trimmed_through: Seq::NONE,
            };
            let verdict = mailbox.append(seq, after, digest, |_| None);
            matches!(verdict, Verdict::Store { .. }).then_some((seq, envelope))
        }
        _ => None,
    }
}

/// One end's sender of a line, and what it has to send.
#[derive(Clone, Copy)]
struct Sends {
    of: To,
    line: Line,
    outbox: Outbox,
}

/// What the relay says to an end about a line, with each bit changed: to its sender, behind each an honest relay is sent
/// everything; and to its reader.
pub(super) fn control(
    ends: &mut Ends,
    of: To,
    line: Line,
    depth: Depth,
    tally: &mut Tally,
) -> Outcome<()> {
    ends.quiesce(of)?;
    let before = ends.state(of)?;
    let outbox = ends.outbox(of, line)?;
    let sends = Sends { of, line, outbox };
    // A sender that has just asked, of a relay that holds half of the outbox.
    let mut relay = Mailboxes::default();
    let mut asking = Sender::new(outbox.acked, outbox.last);
    let half = Seq(outbox.acked.0 + (outbox.last.0 - outbox.acked.0).div_ceil(2));
    for _ in 0..STEPS_MAX {
        if asking.receipted_through() >= half {
            break;
        }
        step(ends, sends, &mut asking, &mut relay, 0)?;
    }
    let image = relay.image();
    let mut waiting = asking.clone();
    waiting.handle_detached(0);
    let shown = Frame::SendState {
        slot: SLOT,
        state: relay.send_state(&outbox.send),
    };
    // And one that has just sent an envelope.
    let mut sending = asking;
    let (sent, bytes) = send_one(ends, sends, &mut sending)?;
    let answers = [
        Frame::Receipt {
            slot: SLOT,
            head: sent,
        },
        Frame::Conflict {
            slot: SLOT,
            stored: sent,
        },
        Frame::NotNext {
            slot: SLOT,
            seq: sent.seq,
            head: relay.send_state(&outbox.send).last,
        },
        Frame::OverQuota {
            slot: SLOT,
            seq: sent.seq,
            size: Size::Bulk,
            retry_after_s: 1,
        },
    ];
    let mut count = 0;
    let cases = std::iter::once((&waiting, &shown));
    for (sender, frame) in cases.chain(answers.iter().map(|answer| (&sending, answer))) {
        let mut bytes = frame.to_bytes();
        for bit in 0..bytes.len() * 8 {
            flip(&mut bytes, bit);
            let mut sender = sender.clone();
            hear(&mut sender, &bytes);
            flip(&mut bytes, bit);
            complete(ends, sends, &mut sender, &image)?;
            count += 1;
        }
    }
    count += stored(ends, sends, (sent.seq, &bytes), depth)?;
    count += to_reader(ends, sends, sent.digest)?;
    match of {
        To::Hub => tally.control_to_hub += count,
        To::App => tally.control_to_app += count,
    }
    ends.keep(of)?;
    if ends.state(of)? == before {
        return Ok(());
    }
    Err(broken(format!(
        "C6: a relay's control frames changed the disk of {of:?}"
    )))
}

/// What the relay shows of an envelope of this end's own, of which it is asked; changed in its fields at each bit and in
/// its bytes. None proves anything. How many.
fn stored(ends: &mut Ends, sends: Sends, (seq, own): (Seq, &Bytes), depth: Depth) -> Outcome<u64> {
    let frame = Frame::Stored {
        slot: SLOT,
        seq,
        envelope: Some(&own[..]),
    };
    let mut bytes = frame.to_bytes();
    let fields = bytes.len() - own.len();
    let bits = (0..fields * 8).map(|bit| (bit / 8, 1_u8 << (bit % 8)));
    let places = depth.places(own.len()).into_iter();
    let places = places.map(|place| (fields + place, 1));
    let mut count = 0;
    for (place, mask) in bits.chain(places) {
        super::flip(&mut bytes, place, mask);
        // What cannot be read ends the connection. What answers another question the shell does not hand on; here it is.
        if let Ok((
            Frame::Stored {
                slot: SLOT,
                seq,
                envelope,
            },
            _,
        )) = Frame::decode(&bytes)
        {
            ends.judges_nothing(sends.of, sends.line, seq, envelope)?;
        }
        super::flip(&mut bytes, place, mask);
        count += 1;
    }
    Ok(count)
}

/// What the relay says to the reader of a line when it attaches, with each bit changed: whatever it makes of that, the
/// next envelope is the next one. How many.
fn to_reader(ends: &mut Ends, sends: Sends, digest: Digest) -> Outcome<u64> {
    let cursor = ends.cursor(sends.of, sends.line)?;
    let next = cursor.next();
    let last = Head { seq: next, digest };
    let frame = Frame::ReceiveState {
        slot: SLOT,
        state: ReceiveState {
            first: next,
            last: Some(last),
        },
    };
    let mut bytes = frame.to_bytes();
    let mut count = 0;
    for bit in 0..bytes.len() * 8 {
        flip(&mut bytes, bit);
        if let Ok((Frame::ReceiveState { slot: SLOT, state }, _)) = Frame::decode(&bytes) {
            let mut reader = Receiver::new(cursor);
            let standing = reader.handle_state(&state);
            if reader.handle_deliver(next) != Arrival::Next {
                return Err(broken(format!("a reader that heard {standing:?} is stuck")));
            }
        }
        flip(&mut bytes, bit);
        count += 1;
    }
    Ok(count)
}

/// A sender hears a control frame, or loses its connection over it.
fn hear(sender: &mut Sender, bytes: &[u8]) {
    match Frame::decode(bytes) {
        Ok((Frame::SendState { slot: SLOT, state }, _)) => sender.handle_attached(&state, 0),
        Ok((Frame::Receipt { slot: SLOT, head }, _)) => sender.handle_receipt(head, 0),
        Ok((Frame::Conflict { slot: SLOT, stored }, _)) => sender.handle_conflict(stored, 0),
        Ok((Frame::NotNext { slot: SLOT, .. }, _)) => sender.handle_not_next(0),
        Ok((
            Frame::OverQuota {
                slot: SLOT,
                size,
                retry_after_s,
                ..
            },
            _,
        )) => sender.handle_over_quota(size, retry_after_s, 0),
        // It cannot be read, or is about nothing that was asked: the answer never comes.
        _ => sender.handle_detached(0),
    }
}

/// Until the sender has sent everything to an honest relay that held `image`.
fn complete(ends: &mut Ends, sends: Sends, sender: &mut Sender, image: &Image) -> Outcome<()> {
    let mut relay = Mailboxes::default();
    relay.become_image(image.clone());
    let mut now_ms = 0;
    // What was heard is acted upon; then the connection is a new one.
    for _ in 0..STEPS_ON_A_LIE {
        now_ms = step(ends, sends, sender, &mut relay, now_ms)?;
    }
    sender.handle_detached(now_ms);
    let Outbox { send, last, .. } = sends.outbox;
    for _ in 0..STEPS_MAX {
        now_ms = step(ends, sends, sender, &mut relay, now_ms)?;
        let held = relay.send_state(&send).last.map(|head| head.seq);
        if sender.is_idle() && held == Some(last) {
            return Ok(());
        }
    }
    Err(broken("a sender never sends what the relay does not hold"))
}

fn take_events(sender: &mut Sender, now_ms: u64) {
    while let Some(event) = sender.poll_event() {
        match event {
            SenderEvent::Misbehaved { .. } => sender.handle_detached(now_ms),
            SenderEvent::Receipt { .. }
            | SenderEvent::Rewound { .. }
            | SenderEvent::OverQuota { .. } => {}
        }
    }
}

/// One step of a sender towards an honest relay; the time behind it.
fn step(
    ends: &mut Ends,
    sends: Sends,
    sender: &mut Sender,
    relay: &mut Mailboxes,
    now_ms: u64,
) -> Outcome<u64> {
    let Sends { of, line, outbox } = sends;
    take_events(sender, now_ms);
    match sender.poll_need(now_ms) {
        Some(Need::Attach) => sender.handle_attached(&relay.send_state(&outbox.send), now_ms),
        Some(Need::Digest(seq)) => {
            let ours = ends.digest(of, line, seq)?;
            sender.handle_digest(seq, ours, now_ms);
        }
        Some(Need::Stored(evidence)) => {
            let seq = evidence.relay().seq;
            let shown = relay.stored(&outbox.send, seq);
            ends.judges_nothing(of, line, seq, shown.as_deref())?;
            sender.handle_evidence_dismissed(now_ms);
        }
        Some(Need::Envelope { seq, after }) => match ends.sent(of, line, seq)? {
            None => sender.handle_missing(seq),
            Some(bytes) => {
                let digest = Digest::of(&bytes);
                sender.handle_sent(seq, digest, bytes.len());
                match relay.append(outbox.send, seq, after, digest, &bytes) {
                    Answer::Receipt(head) => sender.handle_receipt(head, now_ms),
                    Answer::NotNext(_) => sender.handle_not_next(now_ms),
                    other => return Err(broken(format!("an honest relay says {other:?}"))),
                }
            }
        },
        None => {
            let next = sender.poll_timeout().unwrap_or(now_ms);
            return Ok(next.max(now_ms + 1));
        }
    }
    Ok(now_ms)
}

/// Hands the sender's next envelope over and waits for no answer: where it stands, and its bytes.
fn send_one(ends: &mut Ends, sends: Sends, sender: &mut Sender) -> Outcome<(Head, Bytes)> {
    let Some(Need::Envelope { seq, .. }) = sender.poll_need(0) else {
        return Err(broken(
            "a sender with half an outbox left has nothing to send",
        ));
    };
    let bytes = ends.sent(sends.of, sends.line, seq)?;
    let bytes = bytes.ok_or_else(|| broken("an envelope is not there"))?;
    let digest = Digest::of(&bytes);
    sender.handle_sent(seq, digest, bytes.len());
    Ok((Head { seq, digest }, bytes))
}
