//! What a relay may do to the streams that it opens.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::identity::Identity;
use crate::rpk::{EndpointLimits, client_connect, server_endpoint};

const ALPN: &[u8] = b"secluso-test/1";
const PATIENCE: Duration = Duration::from_secs(10);

/// A relay may open a stream and say nothing on it for ever.
#[tokio::test]
async fn a_stream_on_which_nothing_is_said_holds_up_no_other() {
    let (inner, relay, delivered) = world(true).await;
    let taking = tokio::spawn(accept_deliveries(inner));

    // The first byte of a frame, so that the stream is seen to be open.
    let header = Frame::Stream { slot: Slot(7) }.to_bytes();
    let mut silent = relay.open_uni().await.unwrap();
    silent.write_all(&header[..1]).await.unwrap();
    let mut spoken = relay.open_uni().await.unwrap();
    spoken.write_all(&header).await.unwrap();
    timeout(PATIENCE, delivered).await.unwrap().unwrap();

    relay.close(0_u32.into(), b"");
    timeout(PATIENCE, taking).await.unwrap().unwrap();
}

/// A connection of which slot 7 is attached for receiving and may wait for its stream, the relay's end of it, and where the
/// stream comes.
async fn world(
    waits: bool,
) -> (
    Arc<Inner>,
    quinn::Connection,
    oneshot::Receiver<FrameReader>,
) {
    let (server, client) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let limits = EndpointLimits::default();
    let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let endpoint = server_endpoint(loopback, &server, ALPN, &limits).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let connecting = client_connect(addr, &client, server.device_id(), ALPN, &limits);
    let accepting = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (connected, relay) = tokio::join!(connecting, accepting);
    let (endpoint, quinn) = connected.unwrap();

    let (outbound, _to_write) = mpsc::channel(1);
    let (stream, delivered) = oneshot::channel();
    let entry = SlotEntry {
        answer: None,
        stream: waits.then_some(stream),
        live: None,
        mail: Arc::default(),
    };
    let inner = Arc::new(Inner {
        endpoint,
        quinn,
        outbound,
        answer_timeout: PATIENCE,
        table: Mutex::new(Table {
            slots: HashMap::from([(7, entry)]),
            ..Table::default()
        }),
    });
    (inner, relay, delivered)
}

/// A reset undoes what was written before it, which may be the word whose stream it was.
#[tokio::test]
async fn a_stream_that_is_reset_before_it_says_whose_it_is_ends_a_connection_on_which_one_is_awaited()
 {
    let (stale, lost) = (ErrorCode::Stale, ErrorCode::MailboxLost);
    for (waits, code, ends) in [
        (true, stale, false),
        (false, lost, false),
        (true, lost, true),
    ] {
        let (inner, relay, _delivered) = world(waits).await;
        let taking = tokio::spawn(accept_deliveries(Arc::clone(&inner)));
        let mut reset = relay.open_uni().await.unwrap();
        reset.reset(u32::from(code.to_u16()).into()).unwrap();
        let closed = timeout(PATIENCE / 20, inner.quinn.closed()).await;
        assert_eq!(closed.is_ok(), ends, "{waits} {code:?}");
        if ends {
            // What was said of one stream is no word about the connection.
            assert!(matches!(inner.failure(), ClientError::Lost { .. }));
            assert!(inner.table().slots.is_empty());
        }
        taking.abort();
    }
}

/// A relay may answer an attachment and open no stream for it.
#[tokio::test]
async fn a_stream_that_does_not_begin_is_not_waited_for_for_ever() {
    let (inner, _relay, delivered) = world(true).await;
    let mail = Arc::default();
    let guard = SlotGuard {
        inner,
        slot: Slot(7),
        mail,
    };
    let (_groups, live) = mpsc::channel(1);
    let brief = Duration::from_millis(20);
    let mut deliveries = Deliveries::new(guard, (delivered, brief), live, Seq::NONE);
    let next = timeout(PATIENCE, deliveries.next()).await.unwrap();
    assert_eq!(next, Err(ClientError::Timeout));
}
