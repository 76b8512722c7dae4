//! Who may use the relay: pure decisions over signed statements.
//!
//! This room must never admit a stranger, and never need a list of the admitted: certificates
//! are signed with the relay's identity, which outlives its data. What is kept is who is admitted no more, and
//! by what a phone still is, so that it can be taken back (`store/guests.rs`); a relay that lost it admits.

use relay_client::{Ed25519Verify, Identity};
use wire::credential::{Certificate, Class, Invitation};
use wire::limits::INVITATION_TTL_SECONDS_MAX;
use wire::{DeviceId, Digest, ErrorCode};

/// Bytes of an invitation's nonce that are thrown; the rest of a hub's is its tag.
pub const NONCE_DICE_BYTES: usize = 6;
/// Which hub asked for an invitation: the beginning of a hash of its id. A relay needs no list of
/// invitations to know it again, because the nonce is signed. Nobody finds another key with the same tag.
pub type InviterTag = [u8; 10];

/// The tag of a hub.
#[must_use]
pub fn inviter_tag(hub: &DeviceId) -> InviterTag {
    let mut labelled = b"secluso relay inviter v1".to_vec();
    labelled.extend_from_slice(hub.as_bytes());
    let hash = Digest::of(&labelled).0;
    std::array::from_fn(|at| hash.get(at).copied().unwrap_or_default())
}

/// The nonce of an invitation that a hub asked for: what was thrown, then its tag. The operator's are
/// thrown whole, and so belong to no hub.
#[must_use]
pub fn hub_nonce(hub: &DeviceId, thrown: [u8; NONCE_DICE_BYTES]) -> [u8; 16] {
    let mut nonce = [0; 16];
    let (dice, tag) = nonce.split_at_mut(NONCE_DICE_BYTES);
    dice.copy_from_slice(&thrown);
    tag.copy_from_slice(&inviter_tag(hub));
    nonce
}

/// The tag in an invitation's nonce.
#[must_use]
pub fn tag_of(nonce: &[u8; 16]) -> InviterTag {
    std::array::from_fn(|at| {
        nonce
            .get(NONCE_DICE_BYTES + at)
            .copied()
            .unwrap_or_default()
    })
}

/// Signs an invitation. `nonce` must come from dice fit for keys.
#[must_use]
pub fn issue_invitation(
    identity: &Identity,
    nonce: [u8; 16],
    class: Class,
    ttl_seconds: u32,
    now_unix_s: u64,
) -> Invitation {
    let relay = identity.relay_id();
    let ttl_seconds = ttl_seconds.min(INVITATION_TTL_SECONDS_MAX);
    let expires_unix_s = now_unix_s.saturating_add(u64::from(ttl_seconds));
    let message = Invitation::signed_bytes(&relay, &nonce, expires_unix_s, class);
    Invitation {
        relay,
        nonce,
        expires_unix_s,
        class,
        signature: identity.sign(&message),
    }
}

/// Signs a certificate of admission.
#[must_use]
pub fn issue_certificate(
    identity: &Identity,
    device: DeviceId,
    class: Class,
    now_unix_s: u64,
) -> Certificate {
    let relay = identity.relay_id();
    let message = Certificate::signed_bytes(&relay, &device, now_unix_s, class);
    Certificate {
        relay,
        device,
        issued_unix_s: now_unix_s,
        class,
        signature: identity.sign(&message),
    }
}

/// Checks an invitation as far as that goes without the store: signature and expiry.
///
/// # Errors
/// The code to refuse with.
pub fn check_invitation(
    identity: &Identity,
    invitation: &Invitation,
    now_unix_s: u64,
) -> Result<(), ErrorCode> {
    let ours = invitation.relay == identity.relay_id();
    if !ours || invitation.verify(&Ed25519Verify).is_err() {
        return Err(ErrorCode::InvitationInvalid);
    }
    if invitation.expires_unix_s < now_unix_s {
        return Err(ErrorCode::InvitationExpired);
    }
    Ok(())
}

/// Checks a certificate for the device that presents it.
///
/// # Errors
/// The code to refuse with.
pub fn check_certificate(
    identity: &Identity,
    certificate: &Certificate,
    device: DeviceId,
    revoked: &[DeviceId],
) -> Result<(), ErrorCode> {
    let fits = certificate.relay == identity.relay_id()
        && certificate.device == device
        && certificate.verify(&Ed25519Verify).is_ok();
    if !fits {
        return Err(ErrorCode::CertificateInvalid);
    }
    if revoked.contains(&device) {
        return Err(ErrorCode::Revoked);
    }
    Ok(())
}

/// Which invitations a device of this class may ask for: a hub invites phones. Hubs are the
/// operator's to invite.
#[must_use]
pub fn may_invite(asking: Class, asked_for: Class) -> Verdict {
    match (asking, asked_for) {
        (Class::Hub, Class::Phone) => Verdict::Yes,
        _ => Verdict::No,
    }
}

/// The answer to a question of permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Yes,
    /// It may not.
    No,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay() -> Identity {
        Identity::from_seed([1; 32])
    }

    #[test]
    fn invitations() {
        let good = issue_invitation(&relay(), [2; 16], Class::Hub, 60, 1000);
        let other = Identity::from_seed([9; 32]);
        let mut forged = issue_invitation(&other, [2; 16], Class::Hub, 60, 1000);
        forged.relay = relay().relay_id();
        let mut longer = good.clone();
        longer.expires_unix_s += 1;
        let mut promoted = issue_invitation(&relay(), [2; 16], Class::Phone, 60, 1000);
        promoted.class = Class::Hub;
        let table = [
            ("fresh", good.clone(), 1000, Ok(())),
            ("last second", good.clone(), 1060, Ok(())),
            ("too late", good, 1061, Err(ErrorCode::InvitationExpired)),
            ("forged", forged, 1000, Err(ErrorCode::InvitationInvalid)),
            ("longer", longer, 1000, Err(ErrorCode::InvitationInvalid)),
            (
                "promoted",
                promoted,
                1000,
                Err(ErrorCode::InvitationInvalid),
            ),
            (
                "another relay's",
                issue_invitation(&other, [2; 16], Class::Hub, 60, 1000),
                1000,
                Err(ErrorCode::InvitationInvalid),
            ),
        ];
        for (name, invitation, now, want) in table {
            assert_eq!(check_invitation(&relay(), &invitation, now), want, "{name}");
        }
    }

    #[test]
    fn certificates() {
        let device = DeviceId([5; 32]);
        let good = issue_certificate(&relay(), device, Class::Phone, 1000);
        let mut promoted = good.clone();
        promoted.class = Class::Hub;
        let check = |certificate: &Certificate, device, revoked: &[DeviceId]| {
            check_certificate(&relay(), certificate, device, revoked)
        };
        let invalid = Err(ErrorCode::CertificateInvalid);
        assert_eq!(check(&good, device, &[]), Ok(()));
        assert_eq!(check(&good, DeviceId([6; 32]), &[]), invalid, "stolen");
        assert_eq!(check(&promoted, device, &[]), invalid, "promoted");
        assert_eq!(check(&good, device, &[device]), Err(ErrorCode::Revoked));
    }

    #[test]
    fn a_nonce_tells_whose_invitation_it_is_and_differs_from_the_next() {
        let (a, b) = (DeviceId([1; 32]), DeviceId([2; 32]));
        let nonce = hub_nonce(&a, [7; NONCE_DICE_BYTES]);
        assert_eq!(tag_of(&nonce), inviter_tag(&a));
        assert_ne!(tag_of(&nonce), inviter_tag(&b));
        assert_ne!(nonce, hub_nonce(&a, [8; NONCE_DICE_BYTES]));
        assert_ne!(tag_of(&[9; 16]), inviter_tag(&a), "the operator's");
    }

    #[test]
    fn the_life_of_an_invitation_has_a_limit() {
        let long = issue_invitation(&relay(), [2; 16], Class::Hub, u32::MAX, 0);
        assert_eq!(long.expires_unix_s, u64::from(INVITATION_TTL_SECONDS_MAX));
    }
}
