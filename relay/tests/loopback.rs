//! A relay and its clients over real QUIC on the loopback interface.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use relay_client::framed::FrameReader;
use relay_client::rpk::EndpointLimits;
use relay_client::{Admission, AppendEvent, ClientError, ErrorKind, connect};
use wire::receiver::Arrival;
use wire::{Class, Digest, ErrorCode, Head, ReceiveId, Seq};

const MAILBOX: ReceiveId = ReceiveId([7; 24]);

fn refused(code: ErrorCode) -> ClientError {
    ClientError::Refused { code }
}

#[tokio::test]
async fn append_receipt_deliver_trim() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let (hub_device, phone_device) = (device(), device());
    let (hub, _) = join(&address, &hub_device, place.invitation(Class::Hub))
        .await
        .unwrap();
    // The hub's QR carries an invitation for the phone.
    let invitation = within(hub.invite(Class::Phone, 600)).await.unwrap();
    let (phone, certificate) = join(&address, &phone_device, invitation).await.unwrap();
    assert_eq!(certificate.class, Class::Phone);

    // The reader is there first; an empty mailbox is no error.
    let (state, mut deliveries) = within(phone.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    assert_eq!(state.last, None);
    let (state, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    assert_eq!(state.last, None);

    let sizes = [1_usize, 1000, 64 * 1024, 80 * 1024];
    for (n, size) in (1..).zip(sizes) {
        append(&mut uplink, n, n - 1, &envelope(n, size)).await;
    }
    let head = receipt(&mut uplink, 4).await;
    assert_eq!(head.digest, Digest::of(&envelope(4, 80 * 1024)));
    for (n, size) in (1..).zip(sizes) {
        let delivery = within(deliveries.next()).await.unwrap();
        assert_eq!(delivery.seq, Seq(n));
        assert_eq!(delivery.arrival, Arrival::Next);
        assert_eq!(delivery.bytes, envelope(n, size));
    }
    within(deliveries.trim(Seq(4))).await.unwrap();

    // Attached again, both ends see the kept last envelope and nothing more.
    drop(deliveries);
    let (state, mut deliveries) = within(phone.attach_receive(MAILBOX, Seq(3))).await.unwrap();
    assert_eq!((state.first, state.last), (Seq(4), Some(head)));
    assert_eq!(within(deliveries.next()).await.unwrap().seq, Seq(4));
    let (state, uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    assert_eq!((state.last, state.trimmed_through), (Some(head), Seq(4)));
    let kept = within(uplink.fetch(Seq(4))).await.unwrap();
    assert_eq!(kept, Some(envelope(4, 80 * 1024)));
    assert_eq!(within(uplink.fetch(Seq(3))).await.unwrap(), None);

    let status = server.figures().read().await.unwrap();
    assert_eq!((status.connections, status.usage.mailboxes), (2, 1));
    server.shutdown().await;
    assert_eq!(within(hub.closed()).await.kind(), ErrorKind::Retry);
}

#[tokio::test]
async fn who_is_not_let_in() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let first = device();
    let invitation = place.invitation(Class::Hub);
    let (_connection, certificate) = join(&address, &first, invitation.clone()).await.unwrap();

    let error = |result: Result<_, ClientError>| match result {
        Ok(_) => panic!("let in"),
        Err(error) => error,
    };
    let second = device();
    let used = error(join(&address, &second, invitation.clone()).await);
    assert_eq!(used, refused(ErrorCode::InvitationUsed));
    let expired = error(join(&address, &second, place.stale_invitation()).await);
    assert_eq!(expired, refused(ErrorCode::InvitationExpired));
    let elsewhere = Place::new().invitation(Class::Hub);
    let foreign = error(join(&address, &second, elsewhere).await);
    assert_eq!(foreign, refused(ErrorCode::InvitationInvalid));
    let stolen = Admission::Certificate(certificate);
    let stolen = within(connect(&address, &second, stolen, client_config()))
        .await
        .map(|_| ());
    assert_eq!(stolen, Err(refused(ErrorCode::CertificateInvalid)));
    for refusal in [used, expired, foreign] {
        assert_eq!(refusal.kind(), ErrorKind::NotAdmitted);
    }
    // The answer to the first may have been lost: the same device may ask again.
    join(&address, &first, invitation).await.unwrap();

    // Another key at the same place is not the relay.
    let mut wrong = address.clone();
    wrong.relay_id = device().relay_id();
    let result = join(&wrong, &second, place.invitation(Class::Hub)).await;
    let refusal = error(result);
    assert_eq!(refusal, ClientError::WrongRelay);
    assert_eq!(refusal.kind(), ErrorKind::WrongRelay);
    assert!(!refusal.to_string().contains("invitation"), "{refusal}");
    server.shutdown().await;
}

#[tokio::test]
async fn a_stranger_who_says_nothing_useful() {
    let place = Place::new();
    let server = place.serve();
    let pinned = wire::DeviceId(place.identity.relay_id().0);
    let (_endpoint, stranger) = relay_client::rpk::client_connect(
        server.bound(),
        &device(),
        pinned,
        wire::limits::ALPN,
        &EndpointLimits::default(),
    )
    .await
    .unwrap();
    let (mut send, _receive) = stranger.open_bi().await.unwrap();
    let hello = wire::Frame::Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
    };
    let mut flight = hello.to_bytes();
    wire::Frame::AttachSend {
        slot: wire::Slot(1),
        mailbox: MAILBOX.send_id(),
    }
    .encode(&mut flight);
    send.write_all(&flight).await.unwrap();
    match within(stranger.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            assert_eq!(
                close.error_code,
                u32::from(ErrorCode::Stranger.to_u16()).into()
            );
        }
        other => panic!("{other:?}"),
    }
    server.shutdown().await;
}

#[tokio::test]
async fn phones_do_not_invite_and_the_newest_connection_wins() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let identity = device();
    let (phone, certificate) = join(&address, &identity, place.invitation(Class::Phone))
        .await
        .unwrap();
    let refusal = within(phone.invite(Class::Phone, 60)).await.unwrap_err();
    assert_eq!(refusal, refused(ErrorCode::InviteRefused));

    let newer = back(&address, &identity, &certificate).await.unwrap();
    assert_eq!(within(phone.closed()).await.kind(), ErrorKind::Replaced);
    assert!(within(newer.attach_send(MAILBOX.send_id())).await.is_ok());
    server.shutdown().await;
}

#[tokio::test]
async fn conflict_gap_and_a_declared_gap() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let mailbox = MAILBOX.send_id();
    let (one, two) = (envelope(1, 100), envelope(2, 100));
    let (_, mut uplink) = within(hub.attach_send(mailbox)).await.unwrap();
    append(&mut uplink, 1, 0, &one).await;
    receipt(&mut uplink, 1).await;

    // Scenario 18: other bytes under a number that is taken.
    append(&mut uplink, 1, 0, &two).await;
    let stored = Head {
        seq: Seq(1),
        digest: Digest::of(&one),
    };
    assert_eq!(
        within(uplink.next_event()).await,
        Ok(AppendEvent::Conflict { stored })
    );
    // It is shown them, also behind the refusal.
    let shown = within(uplink.fetch(Seq(1))).await.unwrap();
    assert_eq!(shown.as_deref(), Some(one.as_ref()));
    assert_eq!(within(uplink.fetch(Seq(2))).await, Ok(None));

    // Nothing behind a refusal is appended, on that handle.
    append(&mut uplink, 2, 1, &two).await;
    let (state, mut uplink) = within(hub.attach_send(mailbox)).await.unwrap();
    assert_eq!(state.last, Some(stored));
    append(&mut uplink, 3, 2, &two).await;
    let not_next = AppendEvent::NotNext {
        seq: Seq(3),
        head: Some(stored),
    };
    assert_eq!(within(uplink.next_event()).await, Ok(not_next));
    let (_, mut uplink) = within(hub.attach_send(mailbox)).await.unwrap();
    append(&mut uplink, 3, 1, &two).await;
    receipt(&mut uplink, 3).await;

    // The reader is shown the gap.
    let (_, mut deliveries) = within(hub.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    assert_eq!(
        within(deliveries.next()).await.unwrap().arrival,
        Arrival::Next
    );
    let ahead = within(deliveries.next()).await.unwrap();
    assert_eq!(ahead.arrival, Arrival::Ahead { expected: Seq(2) });
    server.shutdown().await;
}

#[tokio::test]
async fn a_full_account_is_one_clear_message_and_small_envelopes_still_pass() {
    let place = Place::with("[quota]\naccount_mib = 2\nreserved_mib = 1\n");
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let mailbox = MAILBOX.send_id();
    let (_, mut uplink) = within(hub.attach_send(mailbox)).await.unwrap();
    let video = envelope(1, 64 * 1024);
    for n in 1..=20 {
        append(&mut uplink, n, n - 1, &video).await;
    }
    let refused_at = loop {
        match within(uplink.next_event()).await.unwrap() {
            AppendEvent::Receipt(_) => {}
            AppendEvent::OverQuota {
                seq,
                size,
                retry_after_s,
            } => {
                assert_eq!(size, wire::envelope::Size::Bulk);
                assert!(retry_after_s > 0);
                break seq;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused_at, Seq(16), "fifteen of 68 KiB fit into one MiB");
    let (state, mut uplink) = within(hub.attach_send(mailbox)).await.unwrap();
    assert_eq!(
        state.last.unwrap().seq,
        Seq(15),
        "nothing behind the refusal was appended"
    );
    append(&mut uplink, 16, 15, &envelope(16, 16 * 1024)).await;
    receipt(&mut uplink, 16).await;
    server.shutdown().await;
}

/// A reader that does not read costs the relay a bounded amount and nobody else anything.
#[tokio::test]
async fn a_slow_reader_is_bounded_and_alone() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let (hub, _) = join(&address, &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (phone, _) = join(&address, &device(), place.invitation(Class::Phone))
        .await
        .unwrap();
    let other = ReceiveId([8; 24]);
    let (_, mut slow) = within(phone.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    let (_, mut quick) = within(phone.attach_receive(other, Seq::NONE))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    let chunk = envelope(1, 64 * 1024);
    for n in 1..=200 {
        append(&mut uplink, n, n - 1, &chunk).await;
    }
    receipt(&mut uplink, 200).await;
    // 12.8 MB wait for a reader whose stream may hold one MiB; its other mailbox goes on.
    let (_, mut second) = within(hub.attach_send(other.send_id())).await.unwrap();
    for n in 1..=20 {
        append(&mut second, n, n - 1, &envelope(n, 1000)).await;
        assert_eq!(within(quick.next()).await.unwrap().seq, Seq(n));
    }
    for n in 1..=200 {
        let delivery = within(slow.next()).await.unwrap();
        assert_eq!((delivery.seq, delivery.bytes.len()), (Seq(n), chunk.len()));
    }
    server.shutdown().await;
}

#[tokio::test]
async fn dropped_futures_lose_nothing() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut deliveries) = within(hub.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    for n in 1..=50_u64 {
        let bytes = envelope(n, 80 * 1024);
        let append = uplink.append(Seq(n), Seq(n - 1), Digest::of(&bytes), bytes.clone());
        // Polled once, then dropped: the rest leaves with the next call.
        let _interrupted = tokio::time::timeout(Duration::ZERO, append).await;
    }
    let (mut appender, mut events) = uplink.split();
    within(appender.flush()).await.unwrap();
    let mut got = 0;
    let read_all = async {
        while got < 50 {
            let next = tokio::time::timeout(Duration::from_micros(200), deliveries.next()).await;
            if let Ok(delivery) = next {
                got += 1;
                let delivery = delivery.unwrap();
                assert_eq!(delivery.seq, Seq(got));
                assert_eq!(delivery.bytes, envelope(got, 80 * 1024));
            }
        }
    };
    within(read_all).await;
    let last = Head {
        seq: Seq(50),
        digest: Digest::of(&envelope(50, 80 * 1024)),
    };
    while within(events.next()).await.unwrap() != AppendEvent::Receipt(last) {}
    server.shutdown().await;
}

#[tokio::test]
async fn a_handle_dropped_in_the_middle_of_an_envelope_costs_no_connection() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    for n in 1..=40_u64 {
        let bytes = envelope(n, 80 * 1024);
        let append = uplink.append(Seq(n), Seq(n - 1), Digest::of(&bytes), bytes.clone());
        let mut append = std::pin::pin!(append);
        // One poll and no more: the stream's window is soon full.
        std::future::poll_fn(|context| {
            let _pending = append.as_mut().poll(context);
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(uplink);
    let (state, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    let last = state.last.map_or(0, |last| last.seq.0);
    assert!(last < 40, "the test did not interrupt anything");
    // The same bytes: what the old stream still held may have been appended meanwhile.
    append(&mut uplink, last + 1, last, &envelope(last + 1, 80 * 1024)).await;
    receipt(&mut uplink, last + 1).await;
    server.shutdown().await;
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_closed_and_the_relay_lives() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    let bytes = envelope(1, 100);
    let wrong = Digest::of(b"other bytes");
    within(uplink.append(Seq(1), Seq::NONE, wrong, bytes))
        .await
        .unwrap();
    assert_eq!(within(hub.closed()).await, refused(ErrorCode::BadDigest));

    let misuse = uplink.append(Seq(1), Seq::NONE, wrong, Bytes::new()).await;
    assert!(matches!(misuse, Err(ClientError::Misuse(_))));
    join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    server.shutdown().await;
}

/// One frame of a hub that says a number without one after it, on the control stream or on an append
/// stream: that hub is closed, and the relay serves others from the same mailbox.
#[tokio::test]
async fn a_number_without_one_after_it_costs_who_says_it_and_nobody_else() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 100)).await;
    receipt(&mut uplink, 1).await;

    let (slot, end, one) = (wire::Slot(1), Seq(u64::MAX), envelope(1, 100));
    let append_frame = |seq, after| wire::Frame::Append {
        seq,
        after,
        digest: Digest::of(&one),
        envelope: &one,
    };
    let attach_receive = |cursor| wire::Frame::AttachReceive {
        slot,
        mailbox: MAILBOX,
        cursor,
    };
    let attach_send = wire::Frame::AttachSend {
        slot,
        mailbox: ReceiveId([8; 24]).send_id(),
    };
    let trim = wire::Frame::Trim { slot, through: end };
    let table = [
        (vec![attach_receive(end)], None),
        (vec![attach_receive(Seq::NONE), trim], None),
        (
            vec![attach_send.clone(), wire::Frame::Fetch { slot, seq: end }],
            None,
        ),
        (
            vec![attach_send.clone()],
            Some(append_frame(end, Seq::NONE)),
        ),
        (vec![attach_send], Some(append_frame(Seq(2), end))),
    ];
    for (control, append) in table {
        let invitation = place.invitation(Class::Hub);
        let pinned = wire::DeviceId(place.identity.relay_id().0);
        let (_endpoint, stranger) = relay_client::rpk::client_connect(
            server.bound(),
            &device(),
            pinned,
            wire::limits::ALPN,
            &EndpointLimits::default(),
        )
        .await
        .unwrap();
        let (mut send, receive) = stranger.open_bi().await.unwrap();
        let mut control_frames = FrameReader::new(receive, wire::limits::ENVELOPE_BYTES_MAX);
        let mut flight = wire::Frame::Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
        }
        .to_bytes();
        wire::Frame::Redeem(invitation).encode(&mut flight);
        for frame in &control {
            frame.encode(&mut flight);
        }
        send.write_all(&flight).await.unwrap();
        if let Some(append) = append {
            // A stream that overtakes its slot is turned away, and nobody would read what it says.
            loop {
                let answer = within(control_frames.next()).await.unwrap().unwrap();
                if answer.kind == wire::frame::kind::SEND_STATE {
                    break;
                }
            }
            let mut stream = within(stranger.open_uni()).await.unwrap();
            let mut flight = wire::Frame::Stream { slot }.to_bytes();
            append.encode(&mut flight);
            stream.write_all(&flight).await.unwrap();
        }
        match within(stranger.closed()).await {
            quinn::ConnectionError::ApplicationClosed(close) => {
                let code = u32::from(ErrorCode::Protocol.to_u16());
                assert_eq!(close.error_code, code.into(), "{control:?}");
            }
            other => panic!("{control:?}: {other:?}"),
        }
    }

    append(&mut uplink, 2, 1, &envelope(2, 100)).await;
    receipt(&mut uplink, 2).await;
    let (_, mut deliveries) = within(hub.attach_receive(MAILBOX, Seq::NONE))
        .await
        .unwrap();
    assert_eq!(within(deliveries.next()).await.unwrap().seq, Seq(1));
    server.shutdown().await;
}

#[tokio::test]
async fn a_connection_survives_a_change_of_socket() {
    let place = Place::new();
    let server = place.serve();
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 100)).await;
    receipt(&mut uplink, 1).await;
    hub.rebind().unwrap();
    append(&mut uplink, 2, 1, &envelope(2, 100)).await;
    receipt(&mut uplink, 2).await;
    server.shutdown().await;
}

/// A client that asks and never reads the answers is closed, with a reason; others do not notice.
#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let place = Place::with("[limits]\nunread_seconds = 1\n");
    let server = place.serve();
    let invitation = place.invitation(Class::Hub);
    let pinned = wire::DeviceId(place.identity.relay_id().0);
    // So little may be under way to it that its unread answers soon stop the relay's writer.
    let limits = EndpointLimits {
        stream_window_bytes: 1024,
        ..EndpointLimits::default()
    };
    let (_endpoint, deaf) = relay_client::rpk::client_connect(
        server.bound(),
        &device(),
        pinned,
        wire::limits::ALPN,
        &limits,
    )
    .await
    .unwrap();
    let (mut send, _never_read) = deaf.open_bi().await.unwrap();
    let hello = wire::Frame::Hello {
        version_min: 1,
        version_max: 1,
        features: 0,
    };
    let mut flight = hello.to_bytes();
    wire::Frame::Redeem(invitation).encode(&mut flight);
    send.write_all(&flight).await.unwrap();
    let ask = wire::Frame::Ping { token: 7 }.to_bytes().repeat(64);
    let asking = async {
        // Until the relay takes no more, which is where it must not stay for ever.
        while send.write_all(&ask).await.is_ok() {}
    };
    within(asking).await;
    match within(deaf.closed()).await {
        quinn::ConnectionError::ApplicationClosed(close) => {
            let code = u32::from(ErrorCode::NotReading.to_u16());
            assert_eq!(close.error_code, code.into());
            assert_eq!(close.reason, ErrorCode::NotReading.message().as_bytes());
        }
        other => panic!("{other:?}"),
    }
    let (hub, _) = join(&server.address(), &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (_, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 100)).await;
    receipt(&mut uplink, 1).await;
    server.shutdown().await;
}
