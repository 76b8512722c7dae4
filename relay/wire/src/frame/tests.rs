//! Golden bytes of every frame, and what happens to every other string of bytes.
//!
//! The hex is the protocol: `relay/PROTOCOL.md` shows the same fields as a table. A change here
//! is a change of the wire.

use alloc::string::String;
use alloc::vec;

use proptest::prelude::*;

use super::*;
use crate::error::{ErrorCode, WireError};
use crate::ids::{DeviceId, RelayId};
use crate::limits::{
    BODY_BYTES_MAX, CONTROL_BODY_BYTES_MAX, ENVELOPE_BYTES_MAX, FRAME_BYTES_MAX,
    FRAME_HEADER_BYTES, REVOKE_MAILBOXES_MAX,
};

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .map(|byte| alloc::format!("{byte:02x}"))
        .collect()
}

fn repeat(pair: &str, count: usize) -> String {
    pair.repeat(count)
}

fn invitation() -> Invitation {
    Invitation {
        relay: RelayId([0x11; 32]),
        nonce: [0x22; 16],
        expires_unix_s: 0x0102_0304,
        class: Class::Phone,
        signature: [0x33; 64],
    }
}

fn certificate() -> Certificate {
    Certificate {
        relay: RelayId([0x11; 32]),
        device: DeviceId([0x44; 32]),
        issued_unix_s: 0x0102_0304,
        class: Class::Hub,
        signature: [0x33; 64],
    }
}

fn head() -> Head {
    Head {
        seq: Seq(5),
        digest: Digest([0xdd; 32]),
    }
}

/// Every frame with its bytes.
fn golden() -> Vec<(Frame<'static>, String)> {
    let slot = Slot(7);
    let dd = repeat("dd", 32);
    let invitation_hex = alloc::format!(
        "01{}{}000000000102030402{}",
        repeat("11", 32),
        repeat("22", 16),
        repeat("33", 64)
    );
    let certificate_hex = alloc::format!(
        "01{}{}000000000102030401{}",
        repeat("11", 32),
        repeat("44", 32),
        repeat("33", 64)
    );
    vec![
        (
            Frame::Hello {
                version_min: 1,
                version_max: 2,
                features: 3,
            },
            "02000006010200000003".into(),
        ),
        (
            Frame::Redeem(invitation()),
            alloc::format!("0400007a{invitation_hex}"),
        ),
        (
            Frame::Certificate(certificate()),
            alloc::format!("0600008a{certificate_hex}"),
        ),
        (
            Frame::Admitted(certificate()),
            alloc::format!("0800008a{certificate_hex}"),
        ),
        (
            Frame::Invite {
                request: 9,
                class: Class::Phone,
                ttl_seconds: 600,
            },
            "0a000009000000090200000258".into(),
        ),
        (
            Frame::Invitation {
                request: 9,
                invitation: None,
            },
            "0c0000050000000900".into(),
        ),
        (
            Frame::Invitation {
                request: 9,
                invitation: Some(invitation()),
            },
            alloc::format!("0c00007f0000000901{invitation_hex}"),
        ),
        (
            Frame::Revoke {
                request: 9,
                guest: Some(Guest {
                    device: DeviceId([0x44; 32]),
                    invitation: [0x45; 16],
                }),
                mailboxes: vec![SendId([0x55; 24]), SendId([0x56; 24])],
            },
            alloc::format!(
                "0d0000660000000901{}{}02{}{}",
                repeat("44", 32),
                repeat("45", 16),
                repeat("55", 24),
                repeat("56", 24)
            ),
        ),
        (
            Frame::Revoke {
                request: 9,
                guest: None,
                mailboxes: vec![],
            },
            "0d000006000000090000".into(),
        ),
        (
            Frame::Revoked {
                request: 9,
                outcome: Revocation::StillAdmitted,
            },
            "0e0000050000000902".into(),
        ),
        (
            Frame::Revoked {
                request: 9,
                outcome: Revocation::NotKnown,
            },
            "0e0000050000000903".into(),
        ),
        (
            Frame::AttachSend {
                slot,
                mailbox: SendId([0x55; 24]),
            },
            alloc::format!("1000001c00000007{}", repeat("55", 24)),
        ),
        (
            Frame::SendState {
                slot,
                state: SendState::default(),
            },
            "1200000d00000007000000000000000000".into(),
        ),
        (
            Frame::SendState {
                slot,
                state: SendState {
                    last: Some(head()),
                    trimmed_through: Seq(4),
                },
            },
            alloc::format!("120000350000000700000000000000040100000000000000 05{dd}")
                .replace(' ', ""),
        ),
        (
            Frame::AttachReceive {
                slot,
                mailbox: ReceiveId([0x66; 24]),
                cursor: Seq(2),
            },
            alloc::format!("1400002400000007{}0000000000000002", repeat("66", 24)),
        ),
        (
            Frame::ReceiveState {
                slot,
                state: ReceiveState {
                    first: Seq(3),
                    last: Some(head()),
                },
            },
            alloc::format!("1600003500000007000000000000000301000000000000000 5{dd}")
                .replace(' ', ""),
        ),
        (Frame::Detach { slot }, "1800000400000007".into()),
        (Frame::Stream { slot }, "1a00000400000007".into()),
        (
            Frame::Append {
                seq: Seq(5),
                after: Seq(4),
                digest: Digest([0xdd; 32]),
                envelope: b"abc",
            },
            alloc::format!("2000003300000000000000050000000000000004{dd}616263"),
        ),
        (
            Frame::Receipt { slot, head: head() },
            alloc::format!("2200002c000000070000000000000005{dd}"),
        ),
        (
            Frame::Conflict {
                slot,
                stored: head(),
            },
            alloc::format!("2400002c000000070000000000000005{dd}"),
        ),
        (
            Frame::NotNext {
                slot,
                seq: Seq(8),
                head: None,
            },
            "2600000d00000007000000000000000800".into(),
        ),
        (
            Frame::OverQuota {
                slot,
                seq: Seq(8),
                size: Size::Bulk,
                retry_after_s: 30,
            },
            "28000011000000070000000000000008020000001e".into(),
        ),
        (
            Frame::Fetch { slot, seq: Seq(8) },
            "2a00000c000000070000000000000008".into(),
        ),
        (
            Frame::Stored {
                slot,
                seq: Seq(8),
                envelope: None,
            },
            "2c00000d00000007000000000000000800".into(),
        ),
        (
            Frame::Stored {
                slot,
                seq: Seq(8),
                envelope: Some(b"abc"),
            },
            "2c00001000000007000000000000000801616263".into(),
        ),
        (
            Frame::Deliver {
                seq: Seq(8),
                envelope: b"abc",
            },
            "3000000b0000000000000008616263".into(),
        ),
        (
            Frame::Trim {
                slot,
                through: Seq(8),
            },
            "3200000c000000070000000000000008".into(),
        ),
        (Frame::Watch { slot, on: true }, "1d0000050000000701".into()),
        (
            Frame::Watch { slot, on: false },
            "1d0000050000000700".into(),
        ),
        (
            Frame::Live { slot, group: 8 },
            "3400000c000000070000000000000008".into(),
        ),
        (
            Frame::LivePiece { envelope: b"abc" },
            "36000003616263".into(),
        ),
        (
            Frame::GoAway { retry_after_s: 2 },
            "4000000400000002".into(),
        ),
        (
            Frame::Error {
                slot: None,
                code: ErrorCode::Stranger.to_u16(),
            },
            "42000003000300".into(),
        ),
        (
            Frame::Error {
                slot: Some(slot),
                code: ErrorCode::MailboxLost.to_u16(),
            },
            "42000007000c0100000007".into(),
        ),
        (Frame::Ping { token: 1 }, "510000080000000000000001".into()),
        (Frame::Pong { token: 1 }, "530000080000000000000001".into()),
    ]
}

#[test]
fn golden_bytes_of_every_frame() {
    for (frame, want) in golden() {
        let bytes = frame.to_bytes();
        assert_eq!(hex(&bytes), want, "{frame:?}");
        assert_eq!(Frame::decode(&bytes), Ok((frame, bytes.len())));
    }
}

#[test]
fn the_golden_list_has_every_type() {
    let kinds: alloc::collections::BTreeSet<u8> =
        golden().iter().map(|(frame, _)| frame.kind()).collect();
    for kind in 0..=u8::MAX {
        let known = !matches!(
            Frame::parse(kind, &[]),
            Err(WireError::UnknownCriticalFrame { .. }) | Ok(Frame::Ignored { .. })
        );
        assert_eq!(known, kinds.contains(&kind), "{kind:#04x}");
    }
}

#[test]
fn every_prefix_is_an_error() {
    for (frame, _) in golden() {
        let bytes = frame.to_bytes();
        for end in 0..bytes.len() {
            let result = Frame::decode(&bytes[..end]);
            assert!(
                matches!(result, Err(WireError::Truncated { .. })),
                "{end} {frame:?}"
            );
        }
    }
}

#[test]
fn every_body_that_is_too_short_or_too_long_is_an_error() {
    for (frame, _) in golden() {
        let bytes = frame.to_bytes();
        let body = &bytes[FRAME_HEADER_BYTES..];
        // The end of an envelope is the end of its frame: a shorter one is another envelope.
        let open_ended = matches!(
            frame,
            Frame::Append { .. }
                | Frame::Deliver { .. }
                | Frame::LivePiece { .. }
                | Frame::Stored {
                    envelope: Some(_),
                    ..
                }
        );
        let shortest = body.len() - if open_ended { 2 } else { 0 };
        for end in 0..shortest {
            let short = Frame::parse(frame.kind(), &body[..end]);
            assert!(short.is_err(), "{end} {frame:?}");
        }
        let mut long = body.to_vec();
        long.push(0);
        let result = Frame::parse(frame.kind(), &long);
        if matches!(frame, Frame::Hello { .. }) {
            assert_eq!(result, Ok(frame), "later versions may append to HELLO");
        } else if !open_ended {
            assert!(result.is_err(), "{frame:?}");
        }
    }
}

#[test]
fn numbers_that_cannot_be() {
    let zero_seq = hex_bytes("3000000b0000000000000000616263");
    let bad_class = hex_bytes("0a000009000000090900000258");
    let bad_presence = hex_bytes("2600000d00000007000000000000000802");
    let bad_size = hex_bytes("28000011000000070000000000000008030000001e");
    let empty_envelope = hex_bytes("300000080000000000000008");
    let bad_outcome = hex_bytes("0e0000050000000904");
    let many_mailboxes = [
        hex_bytes("0d00019e000000090011"),
        vec![0x55; 24 * (REVOKE_MAILBOXES_MAX + 1)],
    ]
    .concat();
    let unknown_even = hex_bytes("ee000000");
    for bytes in [
        zero_seq,
        bad_class,
        bad_presence,
        bad_size,
        empty_envelope,
        bad_outcome,
        many_mailboxes,
        unknown_even,
    ] {
        assert!(Frame::decode(&bytes).is_err(), "{}", hex(&bytes));
    }
    let unknown_odd = hex_bytes("ef000002abcd");
    let ignored = Frame::Ignored { kind: 0xef };
    assert_eq!(Frame::decode(&unknown_odd), Ok((ignored, 6)));
}

/// Each field that holds a number of an envelope, with a frame made to hold `seq` in it.
fn with_seq(seq: Seq) -> Vec<(&'static str, Frame<'static>)> {
    let slot = Slot(7);
    let five = Seq(5);
    let digest = Digest([0xdd; 32]);
    let head = Head { seq, digest };
    let send_state = |trimmed_through, last| Frame::SendState {
        slot,
        state: SendState {
            last,
            trimmed_through,
        },
    };
    let receive_state = |first, last| Frame::ReceiveState {
        slot,
        state: ReceiveState { first, last },
    };
    let append = |seq, after| Frame::Append {
        seq,
        after,
        digest,
        envelope: b"abc",
    };
    let not_next = |seq, head| Frame::NotNext { slot, seq, head };
    vec![
        ("trimmed through", send_state(seq, None)),
        ("head of a send state", send_state(five, Some(head))),
        (
            "cursor",
            Frame::AttachReceive {
                slot,
                mailbox: ReceiveId([9; 24]),
                cursor: seq,
            },
        ),
        ("first stored", receive_state(seq, None)),
        ("head of a receive state", receive_state(five, Some(head))),
        ("append", append(seq, five)),
        ("after", append(five, seq)),
        ("receipt", Frame::Receipt { slot, head }),
        ("conflict", Frame::Conflict { slot, stored: head }),
        ("refused", not_next(seq, None)),
        ("head of a refusal", not_next(five, Some(head))),
        (
            "over quota",
            Frame::OverQuota {
                slot,
                seq,
                size: Size::Small,
                retry_after_s: 1,
            },
        ),
        ("fetch", Frame::Fetch { slot, seq }),
        (
            "stored",
            Frame::Stored {
                slot,
                seq,
                envelope: None,
            },
        ),
        (
            "deliver",
            Frame::Deliver {
                seq,
                envelope: b"abc",
            },
        ),
        ("trim", Frame::Trim { slot, through: seq }),
    ]
}

#[test]
fn a_number_without_one_after_it_is_refused_in_every_field() {
    for (what, frame) in with_seq(Seq::LAST) {
        let bytes = frame.to_bytes();
        assert_eq!(Frame::decode(&bytes), Ok((frame, bytes.len())), "{what}");
    }
    for (what, frame) in with_seq(Seq(u64::MAX)) {
        let bytes = frame.to_bytes();
        let found = Frame::decode(&bytes);
        let refused = matches!(
            found,
            Err(WireError::BadValue {
                found: u64::MAX,
                ..
            })
        );
        assert!(refused, "{what}: {found:?}");
    }
    assert_eq!(Seq(4).next(), Seq(5));
    assert_eq!(Seq::LAST.next(), Seq(u64::MAX));
    assert_eq!(Seq(u64::MAX).next(), Seq(u64::MAX));
    assert!(Seq::LAST.is_some() && !Seq(u64::MAX).is_some());
}

fn hex_bytes(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

#[test]
fn lengths_are_refused_before_anything_is_allocated() {
    let header = |length: u32| {
        let [_, a, b, c] = length.to_be_bytes();
        [kind::APPEND, a, b, c]
    };
    assert!(FrameHeader::parse(header(BODY_BYTES_MAX as u32), usize::MAX).is_ok());
    assert!(FrameHeader::parse(header(BODY_BYTES_MAX as u32 + 1), usize::MAX).is_err());
    assert!(FrameHeader::parse(header(1025), CONTROL_BODY_BYTES_MAX).is_err());
    let largest = vec![1_u8; ENVELOPE_BYTES_MAX];
    let frame = Frame::Append {
        seq: Seq(1),
        after: Seq::NONE,
        digest: Digest([0; 32]),
        envelope: &largest,
    };
    assert_eq!(frame.to_bytes().len(), FRAME_BYTES_MAX);
    assert!(Frame::decode(&frame.to_bytes()).is_ok());
    let larger = vec![1_u8; ENVELOPE_BYTES_MAX + 1];
    let body: Vec<u8> = [vec![0, 0, 0, 0, 0, 0, 0, 1], larger].concat();
    assert!(Frame::parse(kind::DELIVER, &body).is_err());
}

#[test]
fn the_prefixes_for_shells_are_the_frames_without_their_envelopes() {
    let append = Frame::Append {
        seq: Seq(5),
        after: Seq(4),
        digest: Digest([0xdd; 32]),
        envelope: b"abc",
    };
    let prefix = append_prefix(Seq(5), Seq(4), Digest([0xdd; 32]), 3);
    assert_eq!([prefix, b"abc".to_vec()].concat(), append.to_bytes());
    let deliver = Frame::Deliver {
        seq: Seq(5),
        envelope: b"abc",
    };
    let prefix = deliver_prefix(Seq(5), 3);
    assert_eq!([prefix, b"abc".to_vec()].concat(), deliver.to_bytes());
}

proptest! {
    #[test]
    fn any_bytes_are_a_frame_or_an_error_and_one_spelling(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok((frame, used)) = Frame::decode(&bytes) {
            // HELLO and ignored frames carry bytes that mean nothing here.
            if !matches!(frame, Frame::Hello { .. } | Frame::Ignored { .. }) {
                prop_assert_eq!(frame.to_bytes(), &bytes[..used]);
            }
        }
    }

    #[test]
    fn any_body_of_a_known_type(
        kind in proptest::sample::select(vec![
            kind::HELLO, kind::REDEEM, kind::CERTIFICATE, kind::INVITE, kind::INVITATION,
            kind::ATTACH_SEND, kind::SEND_STATE, kind::ATTACH_RECEIVE, kind::RECEIVE_STATE,
            kind::APPEND, kind::RECEIPT, kind::NOT_NEXT, kind::OVER_QUOTA, kind::STORED,
            kind::DELIVER, kind::ERROR, kind::REVOKE, kind::REVOKED,
        ]),
        body in proptest::collection::vec(0_u8..4, 0..200),
    ) {
        if let Ok(frame) = Frame::parse(kind, &body)
            && !matches!(frame, Frame::Hello { .. })
        {
            prop_assert_eq!(&frame.to_bytes()[FRAME_HEADER_BYTES..], &body[..]);
        }
    }

    #[test]
    fn appends_come_back(seq in 1..u64::MAX, after in 0..u64::MAX, digest: [u8; 32], envelope in proptest::collection::vec(any::<u8>(), 1..2000)) {
        let frame = Frame::Append {
            seq: Seq(seq),
            after: Seq(after),
            digest: Digest(digest),
            envelope: &envelope,
        };
        let bytes = frame.to_bytes();
        prop_assert_eq!(Frame::decode(&bytes), Ok((frame, bytes.len())));
    }

    #[test]
    fn a_flipped_bit_never_panics(index in 0_usize..32, at: usize, bit in 0_u8..8) {
        let (frame, _) = golden().swap_remove(index);
        let mut bytes = frame.to_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // Any answer will do; it must be one.
        let _answer = Frame::decode(&bytes);
    }
}
