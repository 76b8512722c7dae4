//! A handshake on the loopback interface: who is let through, and who is not.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

const ALPN: &[u8] = b"secluso-test/1";

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn meet(
    alpn: &[u8],
    pinned: Option<DeviceId>,
) -> (Result<DeviceId, RpkError>, Result<DeviceId, RpkError>) {
    let (server, client) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let limits = EndpointLimits::default();
    let endpoint = server_endpoint(loopback(), &server, ALPN, &limits).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let accepting = tokio::spawn(async move {
        let incoming = endpoint.accept().await.unwrap();
        let connection = incoming.await?;
        let id = peer_id(&connection);
        connection.closed().await;
        Ok(id)
    });
    let connected = match pinned {
        Some(pinned) => client_connect(addr, &client, pinned, alpn, &limits).await,
        None => client_connect_to_anybody(addr, &client, alpn, &limits).await,
    };
    let ours = match connected {
        Ok((_endpoint, connection)) => {
            let id = peer_id(&connection);
            connection.close(0_u32.into(), b"");
            Ok(id)
        }
        Err(error) => Err(error),
    };
    (ours, accepting.await.unwrap())
}

#[tokio::test]
async fn both_ends_prove_their_keys() {
    let server = Identity::from_seed([1; 32]).device_id();
    let (ours, _theirs) = meet(ALPN, Some(server)).await;
    assert_eq!(ours.unwrap(), server);
}

#[tokio::test]
async fn the_server_learns_the_key_of_its_client() {
    let (server, client) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let limits = EndpointLimits::default();
    let endpoint = server_endpoint(loopback(), &server, ALPN, &limits).unwrap();
    let addr = endpoint.local_addr().unwrap();
    let connecting = client_connect(addr, &client, server.device_id(), ALPN, &limits);
    let accepting = async { endpoint.accept().await.unwrap().await.unwrap() };
    let (connected, accepted) = tokio::join!(connecting, accepting);
    let _both_stay_open = connected.unwrap();
    assert_eq!(peer_id(&accepted), client.device_id());
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused() {
    let (ours, theirs) = meet(ALPN, Some(DeviceId([9; 32]))).await;
    assert!(matches!(ours, Err(RpkError::WrongKey)), "{ours:?}");
    assert!(theirs.is_err());
}

/// Who asks for anybody still learns whose key it is, because that is proved.
#[tokio::test]
async fn anybody_proves_a_key_all_the_same() {
    let server = Identity::from_seed([1; 32]).device_id();
    let (ours, _theirs) = meet(ALPN, None).await;
    assert_eq!(ours.unwrap(), server);
}

#[tokio::test]
async fn another_application_protocol_is_refused() {
    let server = Identity::from_seed([1; 32]).device_id();
    let (ours, theirs) = meet(b"secluso-other/1", Some(server)).await;
    assert!(matches!(ours, Err(RpkError::Connection(_))), "{ours:?}");
    assert!(theirs.is_err());
}

#[test]
fn only_an_ed25519_key_is_a_key() {
    let mut spki = SPKI_PREFIX.to_vec();
    spki.extend_from_slice(&[7; 32]);
    assert_eq!(ed25519_key(&spki), Some(DeviceId([7; 32])));
    for end in 0..spki.len() {
        assert_eq!(ed25519_key(&spki[..end]), None);
    }
    for at in 0..SPKI_PREFIX.len() {
        let mut other = spki.clone();
        other[at] ^= 1;
        assert_eq!(ed25519_key(&other), None);
    }
    spki.push(0);
    assert_eq!(ed25519_key(&spki), None);
}

/// Hands the handshake bytes of one end to the other; false when there were none.
fn hand_over(from: &mut rustls::quic::Connection, to: &mut rustls::quic::Connection) -> bool {
    let mut any = false;
    loop {
        let mut bytes = Vec::new();
        // New keys come between flights, and no flight goes on under the next ones.
        let new_keys = from.write_hs(&mut bytes).is_some();
        if !bytes.is_empty() {
            to.read_hs(&bytes).unwrap();
            any = true;
        } else if !new_keys {
            return any;
        }
    }
}

/// quinn does not say which group a connection uses, so this is the handshake without it: the
/// TLS of the two functions above, from the very configurations that they give to quinn.
#[test]
fn the_key_exchange_is_post_quantum_at_both_ends() {
    let (server, client) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let wrong_key = Arc::new(AtomicBool::new(false));
    let ours = client_tls(&client, Some(server.device_id()), ALPN, &wrong_key).unwrap();
    let theirs = server_tls(&server, ALPN).unwrap();
    let version = rustls::quic::Version::V1;
    let mut ours = rustls::quic::Connection::Client(
        rustls::quic::ClientConnection::new(
            Arc::new(ours),
            version,
            SERVER_NAME.try_into().unwrap(),
            Vec::new(),
        )
        .unwrap(),
    );
    let mut theirs = rustls::quic::Connection::Server(
        rustls::quic::ServerConnection::new(Arc::new(theirs), version, Vec::new()).unwrap(),
    );
    while hand_over(&mut ours, &mut theirs) || hand_over(&mut theirs, &mut ours) {}
    for end in [&ours, &theirs] {
        assert!(!end.is_handshaking());
        let group = end.negotiated_key_exchange_group().unwrap().name();
        assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
        assert_eq!(end.handshake_kind(), Some(rustls::HandshakeKind::Full));
        assert_eq!(end.alpn_protocol(), Some(ALPN));
    }
}

/// The same TLS configuration twice, as a client would that wanted to resume: there is nothing
/// to resume with, and so nothing to send early.
#[tokio::test]
async fn no_connection_resumes_and_nothing_is_sent_early() {
    let (server, client) = (Identity::from_seed([1; 32]), Identity::from_seed([2; 32]));
    let server_side = server_tls(&server, ALPN).unwrap();
    assert_eq!(server_side.max_early_data_size, 0);
    assert_eq!(server_side.send_tls13_tickets, 0);
    assert!(!server_side.session_storage.can_cache());

    let wrong_key = Arc::new(AtomicBool::new(false));
    let mut tls = client_tls(&client, Some(server.device_id()), ALPN, &wrong_key).unwrap();
    assert!(!tls.enable_early_data);
    // Even a client that would take tickets and send early gets no chance to.
    tls.resumption = rustls::client::Resumption::in_memory_sessions(8);
    tls.enable_early_data = true;
    let config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()));

    let limits = EndpointLimits::default();
    let listening = server_endpoint(loopback(), &server, ALPN, &limits).unwrap();
    let addr = listening.local_addr().unwrap();
    let connecting = endpoint(loopback(), EndpointConfig::default(), None).unwrap();
    for _ in 0..2 {
        let attempt = connecting
            .connect_with(config.clone(), addr, SERVER_NAME)
            .unwrap();
        let Err(attempt) = attempt.into_0rtt() else {
            panic!("something could be sent early");
        };
        let accepting = async { listening.accept().await.unwrap().await.unwrap() };
        let (ours, theirs) = tokio::join!(attempt, accepting);
        let (ours, theirs) = (ours.unwrap(), theirs);
        // A round trip behind the handshake: a ticket would have come by now.
        let (mut send, mut receive) = ours.open_bi().await.unwrap();
        send.write_all(b"x").await.unwrap();
        let (mut echo, mut heard) = theirs.accept_bi().await.unwrap();
        heard.read_exact(&mut [0]).await.unwrap();
        echo.write_all(b"x").await.unwrap();
        receive.read_exact(&mut [0]).await.unwrap();
        ours.close(0_u32.into(), b"");
        theirs.closed().await;
    }
}
