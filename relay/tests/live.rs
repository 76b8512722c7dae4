//! Live groups over real QUIC: passed on to whoever watches, to nobody else, and stored nowhere.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::*;
use relay::server::Server;
use relay_client::{ClientError, Connection, Deliveries, LiveGroup, LiveGroups, LiveSender};
use wire::{Class, ErrorCode, ReceiveId, Seq};

const MAILBOX: ReceiveId = ReceiveId([7; 24]);

struct Ends {
    hub: Connection,
    phone: Connection,
}

async fn ends(place: &Place, server: &Server) -> Ends {
    let address = server.address();
    let (hub, _) = join(&address, &device(), place.invitation(Class::Hub))
        .await
        .unwrap();
    let (phone, _) = join(&address, &device(), place.invitation(Class::Phone))
        .await
        .unwrap();
    Ends { hub, phone }
}

async fn reader(phone: &Connection) -> (Deliveries, LiveGroups) {
    let attached = within(phone.attach_receive(MAILBOX, Seq::NONE)).await;
    let (_state, mut deliveries) = attached.unwrap();
    let groups = deliveries.take_live().unwrap();
    assert!(deliveries.take_live().is_none());
    (deliveries, groups)
}

async fn sender(hub: &Connection) -> LiveSender {
    within(hub.attach_live(MAILBOX.send_id())).await.unwrap()
}

/// Pieces until the relay wants no more of a group: why.
async fn refused(sender: &mut LiveSender) -> ClientError {
    within(async {
        let mut group = sender.begin().await.unwrap();
        for n in 0.. {
            if let Err(error) = group.send(envelope(n, 1_000)).await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        unreachable!("it is refused or it takes too long")
    })
    .await
}

/// A group of these pieces, as soon as the relay knows that somebody watches.
async fn show(sender: &mut LiveSender, groups: &mut LiveGroups, pieces: &[Bytes]) -> LiveGroup {
    within(async {
        loop {
            let mut group = sender.begin().await.unwrap();
            let mut is_taken = true;
            for piece in pieces {
                is_taken &= group.send(piece.clone()).await.is_ok();
            }
            group.end();
            let waits = Duration::from_secs(1);
            match tokio::time::timeout(waits, groups.next()).await {
                Ok(Some(group)) if is_taken => return group,
                // The frame that asks for it was still under way.
                _ => {}
            }
        }
    })
    .await
}

fn not_watched() -> ClientError {
    ClientError::Refused {
        code: ErrorCode::NotWatched,
    }
}

#[tokio::test]
async fn pieces_are_passed_on_in_order_and_stored_nowhere() {
    let place = Place::new();
    let server = place.serve();
    let Ends { hub, phone } = ends(&place, &server).await;
    let (deliveries, mut groups) = reader(&phone).await;
    let mut sender = sender(&hub).await;
    // Attached is not watching.
    assert_eq!(refused(&mut sender).await, not_watched());
    within(deliveries.watch(true)).await.unwrap();
    let mut last = 0;
    for sizes in [[1_usize, 1_000, 80 * 1024], [64 * 1024, 2, 70_000]] {
        let pieces: Vec<Bytes> = (1..)
            .zip(sizes)
            .map(|(n, size)| envelope(n, size))
            .collect();
        let mut group = show(&mut sender, &mut groups, &pieces).await;
        assert!(group.number() > last, "newer groups have higher numbers");
        last = group.number();
        for piece in &pieces {
            assert_eq!(within(group.next()).await.unwrap().as_ref(), Some(piece));
        }
        assert_eq!(within(group.next()).await.unwrap(), None);
    }
    let usage = server.figures().read().await.unwrap().usage;
    assert_eq!((usage.mailboxes, usage.envelope_bytes), (0, 0));
    // What is appended beside it is delivered as ever.
    let (_state, mut uplink) = within(hub.attach_send(MAILBOX.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 1_000)).await;
    receipt(&mut uplink, 1).await;
    let mut deliveries = deliveries;
    assert_eq!(within(deliveries.next()).await.unwrap().seq, Seq(1));
    drop((hub, phone));
    server.shutdown().await;
}

#[tokio::test]
async fn the_sender_learns_when_the_last_viewer_is_gone() {
    let place = Place::new();
    let server = place.serve();
    let Ends { hub, phone } = ends(&place, &server).await;
    let mut sender = sender(&hub).await;
    let pieces = [envelope(1, 100)];
    // By its word, by letting go of the mailbox, and by losing its connection.
    let (deliveries, mut groups) = reader(&phone).await;
    within(deliveries.watch(true)).await.unwrap();
    let _group = show(&mut sender, &mut groups, &pieces).await;
    within(deliveries.watch(false)).await.unwrap();
    assert_eq!(refused(&mut sender).await, not_watched());
    within(deliveries.watch(true)).await.unwrap();
    let _group = show(&mut sender, &mut groups, &pieces).await;
    drop(deliveries);
    assert_eq!(refused(&mut sender).await, not_watched());
    let (deliveries, mut groups) = reader(&phone).await;
    within(deliveries.watch(true)).await.unwrap();
    let _group = show(&mut sender, &mut groups, &pieces).await;
    drop(phone);
    assert_eq!(refused(&mut sender).await, not_watched());
    drop(hub);
    server.shutdown().await;
}

/// Whoever does not read loses the rest of a group and costs nobody anything; the next one is whole.
#[tokio::test]
async fn a_viewer_that_does_not_read_is_left_behind_and_begins_anew() {
    let place = Place::new();
    let server = place.serve();
    let Ends { hub, phone } = ends(&place, &server).await;
    let (deliveries, mut groups) = reader(&phone).await;
    within(deliveries.watch(true)).await.unwrap();
    let mut sender = sender(&hub).await;
    let mut slow = show(&mut sender, &mut groups, &[envelope(1, 100)]).await;
    assert!(within(slow.next()).await.unwrap().is_some());
    // Far more than may wait for it anywhere on the way.
    let error = within(async {
        let mut group = sender.begin().await.unwrap();
        loop {
            if let Err(error) = group.send(envelope(2, 80 * 1024)).await {
                return error;
            }
        }
    })
    .await;
    let stale = ClientError::Refused {
        code: ErrorCode::Stale,
    };
    assert_eq!(error, stale);
    let mut cut = within(groups.next()).await.unwrap();
    let mut pieces = 0;
    let end = loop {
        match within(cut.next()).await {
            Ok(Some(piece)) => {
                assert_eq!(piece.len(), 80 * 1024);
                pieces += 1;
            }
            other => break other,
        }
    };
    assert_eq!(end, Err(stale), "after {pieces} pieces");
    let whole = [envelope(3, 5_000), envelope(4, 6_000)];
    let mut group = show(&mut sender, &mut groups, &whole).await;
    for piece in &whole {
        assert_eq!(within(group.next()).await.unwrap().as_ref(), Some(piece));
    }
    assert_eq!(within(group.next()).await.unwrap(), None);
    drop((hub, phone));
    server.shutdown().await;
}

/// A piece that was cut off by a future that was dropped spoils its group, and nothing else.
#[tokio::test]
async fn a_group_that_is_dropped_is_given_up_whole() {
    let place = Place::new();
    let server = place.serve();
    let Ends { hub, phone } = ends(&place, &server).await;
    let (deliveries, mut groups) = reader(&phone).await;
    within(deliveries.watch(true)).await.unwrap();
    let mut sender = sender(&hub).await;
    let mut first = show(&mut sender, &mut groups, &[envelope(1, 100)]).await;
    assert!(within(first.next()).await.unwrap().is_some());
    let mut group = within(sender.begin()).await.unwrap();
    within(group.send(envelope(2, 100))).await.unwrap();
    let mut cut = within(groups.next()).await.unwrap();
    let piece = within(cut.next()).await.unwrap();
    assert_eq!(piece, Some(envelope(2, 100)));
    drop(group);
    let end = within(cut.next()).await;
    assert!(matches!(end, Err(ClientError::Refused { .. })), "{end:?}");
    let mut group = show(&mut sender, &mut groups, &[envelope(3, 100)]).await;
    assert_eq!(within(group.next()).await.unwrap(), Some(envelope(3, 100)));
    drop((hub, phone));
    server.shutdown().await;
}

/// It is answered when nobody watches, and when the last one leaves while nothing is passed on.
#[tokio::test]
async fn a_stream_without_pieces_asks_whether_anybody_watches() {
    let place = Place::new();
    let server = place.serve();
    let Ends { hub, phone } = ends(&place, &server).await;
    let (deliveries, mut groups) = reader(&phone).await;
    let mut sender = sender(&hub).await;
    let question = within(sender.begin()).await.unwrap();
    assert_eq!(within(question.refused()).await, not_watched());
    within(deliveries.watch(true)).await.unwrap();
    drop(show(&mut sender, &mut groups, &[envelope(1, 10)]).await);
    let question = within(sender.begin()).await.unwrap();
    let waits = Duration::from_millis(300);
    let answer = tokio::time::timeout(waits, question.refused()).await;
    assert!(answer.is_err(), "somebody watches");
    within(deliveries.watch(false)).await.unwrap();
    assert_eq!(within(question.refused()).await, not_watched());
    drop((hub, phone));
    server.shutdown().await;
}
