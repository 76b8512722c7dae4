//! A hub takes its invitation of a phone back, over real QUIC: the phone is shut out until it brings
//! another one, and nobody else is.

mod common;

use common::*;
use relay_client::{Admission, ClientError, Connection, ErrorKind, connect};
use wire::frame::{Guest, Revocation};
use wire::{Certificate, Class, DeviceId, ErrorCode, ReceiveId, SendId, Seq};

const TO_PHONE: ReceiveId = ReceiveId([7; 24]);
const TO_HUB: ReceiveId = ReceiveId([8; 24]);

fn both() -> Vec<SendId> {
    vec![TO_PHONE.send_id(), TO_HUB.send_id()]
}

async fn phone_of(
    hub: &Connection,
    address: &relay_client::RelayAddress,
    phone: &relay_client::Identity,
) -> (Connection, Certificate) {
    let invitation = within(hub.invite(Class::Phone, 600)).await.unwrap();
    join(address, phone, invitation).await.unwrap()
}

async fn shut_out(
    address: &relay_client::RelayAddress,
    phone: &relay_client::Identity,
    certificate: &Certificate,
) -> ClientError {
    let admission = Admission::Certificate(certificate.clone());
    match within(connect(address, phone, admission, client_config())).await {
        Ok((connection, _)) => within(connection.closed()).await,
        Err(error) => error,
    }
}

#[tokio::test]
async fn a_phone_is_shut_out_at_once_and_for_good_until_it_is_invited_again() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let (hub_device, phone_device) = (device(), device());
    let (hub, hub_certificate) = join(&address, &hub_device, place.invitation(Class::Hub))
        .await
        .unwrap();
    let invitation = within(hub.invite(Class::Phone, 600)).await.unwrap();
    let (phone, certificate) = join(&address, &phone_device, invitation.clone())
        .await
        .unwrap();
    for (from, mailbox) in [(&hub, TO_PHONE), (&phone, TO_HUB)] {
        let (_state, mut uplink) = within(from.attach_send(mailbox.send_id())).await.unwrap();
        append(&mut uplink, 1, 0, &envelope(1, 1000)).await;
        receipt(&mut uplink, 1).await;
    }
    let usage = server.figures().read().await.unwrap().usage;
    assert_eq!(usage.mailboxes, 2);

    let asked = Some(Guest {
        device: phone_device.device_id(),
        invitation: invitation.nonce,
    });
    let done = within(hub.revoke(asked, both())).await.unwrap();
    assert_eq!(done, Revocation::Done);
    let revoked = ClientError::Refused {
        code: ErrorCode::Revoked,
    };
    assert_eq!(within(phone.closed()).await, revoked);
    assert_eq!(revoked.kind(), ErrorKind::NotAdmitted);
    let usage = server.figures().read().await.unwrap().usage;
    assert_eq!((usage.mailboxes, usage.envelope_bytes), (0, 0));
    // Its certificate is good for nothing, nor is the invitation that it used.
    assert_eq!(
        shut_out(&address, &phone_device, &certificate).await,
        revoked
    );
    let used = join(&address, &phone_device, invitation).await.map(drop);
    assert_eq!(
        used,
        Err(ClientError::Refused {
            code: ErrorCode::InvitationUsed
        })
    );
    // The answer may have been lost: asked again, it is the same.
    let done = within(hub.revoke(asked, both())).await.unwrap();
    assert_eq!(done, Revocation::Done);
    // A relay that is started again knows it.
    server.shutdown().await;
    let server = place.serve();
    let address = server.address();
    assert_eq!(
        shut_out(&address, &phone_device, &certificate).await,
        revoked
    );

    let hub = back(&address, &hub_device, &hub_certificate).await.unwrap();
    let (phone, _new) = phone_of(&hub, &address, &phone_device).await;
    let attached = within(phone.attach_receive(TO_PHONE, Seq::NONE)).await;
    assert_eq!(attached.unwrap().0.last, None);
    server.shutdown().await;
}

#[tokio::test]
async fn only_the_hub_that_invited_a_phone_may_shut_it_out() {
    let place = Place::new();
    let server = place.serve();
    let address = server.address();
    let (hub_device, other_device, phone_device) = (device(), device(), device());
    let (hub, _) = join(&address, &hub_device, place.invitation(Class::Hub))
        .await
        .unwrap();
    let (other, _) = join(&address, &other_device, place.invitation(Class::Hub))
        .await
        .unwrap();
    let invitation = within(hub.invite(Class::Phone, 600)).await.unwrap();
    let nonce = invitation.nonce;
    let (phone, _) = join(&address, &phone_device, invitation).await.unwrap();
    let (_state, mut uplink) = within(phone.attach_send(TO_HUB.send_id())).await.unwrap();
    append(&mut uplink, 1, 0, &envelope(1, 1000)).await;
    receipt(&mut uplink, 1).await;

    let guest = |device, invitation| Some(Guest { device, invitation });
    let asked = guest(phone_device.device_id(), nonce);
    for asker in [&other, &phone] {
        let refused = within(asker.revoke(asked, both())).await.unwrap();
        assert_eq!(refused, Revocation::StillAdmitted);
    }
    // By an invitation that nobody used nobody else is shut out.
    let unused = within(hub.invite(Class::Phone, 600)).await.unwrap().nonce;
    for somebody in [hub_device.device_id(), DeviceId([9; 32])] {
        let named = guest(somebody, unused);
        let told = within(hub.revoke(named, vec![])).await.unwrap();
        assert_eq!(told, Revocation::NotKnown);
    }
    // Neither the phone nor its mailbox was touched.
    append(&mut uplink, 2, 1, &envelope(2, 1000)).await;
    receipt(&mut uplink, 2).await;
    // One whom the operator invited is the operator's.
    let guest_device = device();
    let invitation = place.invitation(Class::Phone);
    let nonce = invitation.nonce;
    let (_guest, _) = join(&address, &guest_device, invitation).await.unwrap();
    let named = guest(guest_device.device_id(), nonce);
    let refused = within(hub.revoke(named, vec![])).await.unwrap();
    assert_eq!(refused, Revocation::StillAdmitted);
    server.shutdown().await;
}
