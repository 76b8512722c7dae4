//! A handshake on the loopback interface: who is let through, and who is not.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

const ALPN: &[u8] = b"secluso-test/1";

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn meet(
    alpn: &[u8],
    pinned: DeviceId,
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
    let ours = match client_connect(addr, &client, pinned, alpn, &limits).await {
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
    let (ours, _theirs) = meet(ALPN, server).await;
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
    let (ours, theirs) = meet(ALPN, DeviceId([9; 32])).await;
    assert!(matches!(ours, Err(RpkError::WrongKey)), "{ours:?}");
    assert!(theirs.is_err());
}

#[tokio::test]
async fn another_application_protocol_is_refused() {
    let server = Identity::from_seed([1; 32]).device_id();
    let (ours, theirs) = meet(b"secluso-other/1", server).await;
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
