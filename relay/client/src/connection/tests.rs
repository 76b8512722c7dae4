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
        stream: Some(stream),
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
