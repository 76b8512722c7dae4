//! What hub, app and relay say to each other on the wire: frames, credentials, addresses, the keys that they show in TLS,
//! and what the relay's answers do to the state machines of its clients.

use relay_client::{RelayAddress, rpk};
use wire::codec::Reader;
use wire::envelope::Envelope;
use wire::frame::kind;
use wire::ids::{Digest, Head, Seq};
use wire::limits::{BODY_BYTES_MAX, FRAME_HEADER_BYTES, WINDOW_BYTES_MAX, WINDOW_ENVELOPES_MAX};
use wire::mailbox::{Mailbox, Verdict};
use wire::receiver::{Arrival, Receiver};
use wire::sender::{Need, Sender};
use wire::{
    Certificate, Class, DeviceId, ErrorKind, Frame, FrameHeader, Invitation, ReceiveId,
    ReceiveState, RelayId, SendId, SendState, WireError,
};

use crate::input::Input;

/// Any bytes are a frame or a typed error, and a frame has one spelling.
pub(crate) fn frame(data: &[u8]) {
    match Frame::decode(data) {
        Ok((frame, used)) => {
            assert!(used <= data.len() && used >= FRAME_HEADER_BYTES);
            one_spelling(&frame, &data[..used]);
        }
        Err(error) => check_kind(&error),
    }
    if let Some((header, _)) = data.split_first_chunk::<FRAME_HEADER_BYTES>() {
        for limit in [0, 1024, BODY_BYTES_MAX, usize::MAX] {
            if let Ok(FrameHeader { body_bytes, .. }) = FrameHeader::parse(*header, limit) {
                assert!(body_bytes <= limit.min(BODY_BYTES_MAX));
            }
        }
    }
    // The same bytes as the body of a frame whose type is known, so that no luck is needed.
    let Some((kind, body)) = data.split_first() else {
        return;
    };
    if let Ok(frame) = Frame::parse(*kind, body) {
        assert_eq!(frame.kind(), *kind);
        let length = (body.len() as u32).to_be_bytes();
        let whole = [&[*kind][..], &length[1..], body].concat();
        if body.len() <= BODY_BYTES_MAX {
            one_spelling(&frame, &whole);
        }
    }
}

fn one_spelling(frame: &Frame<'_>, bytes: &[u8]) {
    let again = frame.to_bytes();
    match frame {
        // What a later version appends is passed over.
        Frame::Hello { .. } => {
            assert_eq!(
                again[FRAME_HEADER_BYTES..],
                bytes[FRAME_HEADER_BYTES..again.len()]
            );
        }
        Frame::Ignored { kind } => assert_eq!(kind % 2, 1, "a critical frame was ignored"),
        _ => assert_eq!(again, bytes, "a second spelling of {frame:?}"),
    }
    if let Frame::Append { envelope, .. }
    | Frame::Deliver { envelope, .. }
    | Frame::LivePiece { envelope } = frame
    {
        assert!(Envelope::new(envelope.to_vec()).is_ok());
    }
}

fn check_kind(error: &WireError) {
    let unsupported = matches!(error, WireError::UnknownCriticalFrame { kind } if kind % 2 == 0);
    assert_eq!(error.kind() == ErrorKind::Unsupported, unsupported);
    assert!(!error.to_string().is_empty());
}

/// Certificates and invitations in both of their forms, each with one spelling.
pub(crate) fn credential(data: &[u8]) {
    if let Ok(certificate) = Certificate::decode(data) {
        assert_eq!(certificate.to_bytes(), data);
        assert!(certificate.verify(&Nobody).is_err());
    }
    if let Ok(invitation) = Invitation::decode(data) {
        assert_eq!(invitation.to_bytes(), data);
        assert!(invitation.verify(&Nobody).is_err());
        assert_eq!(invitation.to_string().parse::<Invitation>(), Ok(invitation));
    }
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(invitation) = text.parse::<Invitation>() {
        assert_eq!(invitation.to_string(), text.trim());
    }
    if let Ok(class) = text.parse::<Class>() {
        assert_eq!(class.to_string(), text);
    }
}

/// Believes no signature: nothing that was only parsed counts as checked.
struct Nobody;

impl wire::credential::Verify for Nobody {
    fn verify(&self, _: &RelayId, message: &[u8], _: &[u8; 64]) -> bool {
        assert!(message.starts_with(b"secluso relay "));
        false
    }
}

/// Addresses of relays and the texts of ids.
pub(crate) fn address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(address) = text.parse::<RelayAddress>() {
        assert!(!address.host.is_empty() && address.host.len() <= 255);
        assert_eq!(address.to_string().parse::<RelayAddress>(), Ok(address));
    }
    macro_rules! id {
        ($($kind:ident)*) => {$(
            if let Ok(id) = text.parse::<$kind>() {
                assert_eq!(id.to_text(), text);
            }
        )*};
    }
    id!(DeviceId RelayId ReceiveId SendId Digest);
}

/// A SubjectPublicKeyInfo of Ed25519 in front of the key (RFC 8410, section 4).
const RAW_KEY: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// The raw key that a peer shows in TLS has one spelling, and nothing stands beside it: any bytes, and a sound one that was
/// changed.
pub(crate) fn raw_key(data: &[u8]) {
    let mut input = Input::new(data);
    let beside = input.below(3);
    let pinned = DeviceId([7; 32]);
    let mut changed = [&RAW_KEY[..], pinned.as_bytes()].concat();
    input.edit(&mut changed);
    for spki in [data, &changed[..]] {
        let key = rpk::ed25519_key(spki);
        let spelt = key.map(|key| [&RAW_KEY[..], key.as_bytes()].concat());
        let is_one = spki.len() == RAW_KEY.len() + 32 && spki.starts_with(&RAW_KEY);
        assert_eq!(spelt.as_deref(), is_one.then_some(spki));
        let shown = vec![spki; beside + 1];
        let (let_in, believed) = rpk::judge(&shown, Some(pinned));
        assert_eq!(let_in, is_one && beside == 0);
        assert_eq!(believed, let_in && key == Some(pinned));
        assert_eq!(rpk::judge(&shown, None), (let_in, let_in));
    }
    assert_eq!(rpk::judge(&[], None), (false, false));
}

/// A relay that says what it likes, in frames: sender, receiver and mailbox keep their invariants.
pub(crate) fn relay_answers(data: &[u8]) {
    let mut input = Input::new(data);
    let head = Seq(input.number() % 1000);
    let acked = Seq(input.number() % (head.0 + 1));
    let mut sender = Sender::new(acked, head);
    let mut receiver = Receiver::new(Seq(input.number() % 1000));
    let mut mailbox = Mailbox::default();
    let mut now_ms = 0;
    for _ in 0..256 {
        if input.is_empty() {
            break;
        }
        now_ms += input.word() as u64;
        let body = input.bytes();
        let kind = KINDS[input.below(KINDS.len())];
        match Frame::parse(kind, body) {
            Ok(frame) => hear(&frame, &mut sender, &mut receiver, &mut mailbox, now_ms),
            Err(error) => check_kind(&error),
        }
        go_on(&mut sender, now_ms, input.byte());
        assert!(sender.in_flight_bytes() <= WINDOW_BYTES_MAX + BODY_BYTES_MAX as u64);
        assert!(
            sender.receipted_through() <= head,
            "a receipt for what was never made"
        );
        for _ in 0..WINDOW_ENVELOPES_MAX {
            if sender.poll_event().is_none() {
                break;
            }
        }
    }
}

/// What a relay may answer.
const KINDS: [u8; 9] = [
    kind::SEND_STATE,
    kind::RECEIVE_STATE,
    kind::RECEIPT,
    kind::CONFLICT,
    kind::NOT_NEXT,
    kind::OVER_QUOTA,
    kind::DELIVER,
    kind::APPEND,
    kind::TRIM,
];

fn hear(
    frame: &Frame<'_>,
    sender: &mut Sender,
    receiver: &mut Receiver,
    mailbox: &mut Mailbox,
    now_ms: u64,
) {
    match frame {
        Frame::SendState { state, .. } => sender.handle_attached(state, now_ms),
        Frame::ReceiveState { state, .. } => {
            let _standing = receiver.handle_state(state);
        }
        Frame::Receipt { head, .. } => sender.handle_receipt(*head, now_ms),
        Frame::Conflict { stored, .. } => sender.handle_conflict(*stored, now_ms),
        Frame::NotNext { .. } => sender.handle_not_next(now_ms),
        Frame::OverQuota {
            size,
            retry_after_s,
            ..
        } => sender.handle_over_quota(*size, *retry_after_s, now_ms),
        Frame::Deliver { seq, .. } => deliver(receiver, *seq),
        Frame::Append {
            seq, after, digest, ..
        } => append(mailbox, *seq, *after, *digest),
        Frame::Trim { through, .. } => trim(mailbox, *through),
        _ => {}
    }
}

fn deliver(receiver: &mut Receiver, seq: Seq) {
    let seen = receiver.seen_through();
    match receiver.handle_deliver(seq) {
        Arrival::Duplicate => assert!(seq <= seen && receiver.seen_through() == seen),
        Arrival::Next => assert_eq!((seq, receiver.seen_through()), (seen.next(), seq)),
        Arrival::Ahead { expected } => assert!(expected == seen.next() && seq > expected),
    }
    let durable = seen;
    receiver.handle_durable(durable);
    if let Some(trim) = receiver.poll_trim() {
        assert!(trim <= durable, "trimmed what is not durable");
    }
    assert_eq!(receiver.poll_trim(), None, "the same trim twice");
}

fn append(mailbox: &mut Mailbox, seq: Seq, after: Seq, digest: Digest) {
    let before = *mailbox;
    let verdict = before.append(seq, after, digest, |_| None);
    if let Verdict::Store {
        mailbox: next,
        superseded,
    } = verdict
    {
        assert!(before.last.is_none_or(|last| last.seq < seq));
        assert_eq!(next.last, Some(Head { seq, digest }));
        assert!(superseded.is_none_or(|old| old <= before.trimmed_through));
        *mailbox = next;
        let again = mailbox.append(seq, after, digest, |_| None);
        assert_eq!(again, Verdict::Duplicate, "an append is idempotent");
    }
}

fn trim(mailbox: &mut Mailbox, through: Seq) {
    let Some(plan) = mailbox.trim(through) else {
        return;
    };
    assert!(plan.through <= through && plan.mailbox.trimmed_through == plan.through);
    assert_eq!(Some(plan.keep), mailbox.last.map(|last| last.seq));
    assert!(plan.through > mailbox.trimmed_through);
    *mailbox = plan.mailbox;
    assert_eq!(mailbox.trim(through), None, "a trim is idempotent");
    let state = SendState {
        last: mailbox.last,
        trimmed_through: mailbox.trimmed_through,
    };
    assert_eq!(mailbox.send_state(), state);
    let (first, last) = (Seq::NONE, mailbox.last);
    assert_eq!(mailbox.receive_state(first), ReceiveState { first, last });
}

/// Does one thing that the sender needs.
fn go_on(sender: &mut Sender, now_ms: u64, how: u8) {
    match sender.poll_need(now_ms) {
        Some(Need::Digest(seq)) => {
            let ours = (how & 1 == 0).then_some(Digest([how; 32]));
            sender.handle_digest(seq, ours, now_ms);
        }
        Some(Need::Envelope { seq, after }) => {
            assert!(after < seq && seq.is_some());
            match how & 1 {
                0 => sender.handle_sent(seq, Digest([how; 32]), 512),
                _ => sender.handle_missing(seq),
            }
        }
        Some(Need::Stored(evidence)) => {
            assert!(evidence.relay().seq.is_some() && !sender.is_sending());
            match how & 7 {
                7 => sender.handle_proof(),
                _ => sender.handle_evidence_dismissed(now_ms),
            }
            let asks = matches!(sender.poll_need(now_ms), Some(Need::Stored(_)));
            assert!(!asks, "judged twice");
        }
        Some(Need::Attach) | None => {}
    }
}

/// The primitives that all of this is read with.
pub(crate) fn fields(data: &[u8]) {
    let mut reader = Reader::new(data);
    let mut left = data.len();
    while !reader.is_empty() {
        let read = match left % 5 {
            0 => reader.u8("fuzz").map(|_| 1),
            1 => reader.u16("fuzz").map(|_| 2),
            2 => reader.u32("fuzz").map(|_| 4),
            3 => reader.u64("fuzz").map(|_| 8),
            _ => reader.presence("fuzz").map(|_| 1),
        };
        match read {
            Ok(bytes) => left -= bytes,
            Err(WireError::BadValue { found, .. }) => {
                assert!(found > 1);
                left -= 1;
            }
            Err(WireError::Truncated { .. }) => {
                assert!(left < 8);
                return;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
