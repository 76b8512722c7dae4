//! `relay-code`: what a phone needs to come to the relay at which this hub is now.
//!
//! Where only the relay's address has changed the address is enough, because the relay's key has admitted the phone
//! already. At another relay it needs an invitation, which is good for that phone's removal later on, too: it is
//! written down before it is shown. It must never make a second one unasked: that takes the first one back.

use std::time::Duration;

use journal::ids::PairingId;
use journal::{HubPairing, PairingState, Readmission};
use relay_client::RelayAddress;
use serde_json::{Value, json};

use crate::exit::{Code, Failure};
use crate::phones::find;
use crate::sealer::Sealer;
use crate::uplink::Uplink;

/// How long the code is good.
const LASTS: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the relay may take to give one.
const INVITE_PATIENCE: Duration = Duration::from_secs(20);

/// The answer of a running hub. `again`: another invitation, also where the phone has one of this relay.
///
/// # Errors
/// [`Code::Usage`] if the name fits no phone, or several; the relay's refusal; the journal's.
pub(crate) async fn answer(
    (sealer, uplink, relay): (&Sealer, &Uplink, &RelayAddress),
    named: Option<&str>,
    again: bool,
) -> Result<Value, Failure> {
    let known = sealer.ask(|core, _now| core.pairing_ids()).await?;
    let phone = match (named, known.as_slice()) {
        (Some(name), _) => find(&known, name)?,
        (None, [only]) => *only,
        (None, _) => {
            let what =
                "this hub has no phone, or several; name one, as `secluso-hub phones` shows them";
            return Err(Failure::new(Code::Usage, what));
        }
    };
    let read =
        sealer.ask(move |core, now| core.with_journal(now, |journal| journal.pairing(phone)));
    let paired = read.await?;
    let Some(paired) = paired.filter(|paired| paired.state == PairingState::Confirmed) else {
        return Err(Failure::new(
            Code::Usage,
            "no phone has finished pairing under this name",
        ));
    };
    let at: Result<RelayAddress, _> = paired.relay.parse();
    let is_known = at.is_ok_and(|at| at.relay_id == relay.relay_id);
    let invitation = match is_known && !again {
        true => None,
        false => Some(invite(sealer, uplink, relay, phone).await?),
    };
    Ok(
        json!({"event": "relay_code", "phone": phone.short(), "relay": relay.to_string(), "invitation": invitation}),
    )
}

/// An invitation for this phone, as text, once it is written down.
async fn invite(
    sealer: &Sealer,
    uplink: &Uplink,
    relay: &RelayAddress,
    phone: PairingId,
) -> Result<String, Failure> {
    let invited = uplink.invite_phone(LASTS, INVITE_PATIENCE).await;
    let invitation = invited.map_err(|error| {
        let failure = Failure::from(error);
        let what = format!("no invitation for the phone: {}", failure.message);
        Failure::new(failure.code, what)
    })?;
    let readmission = Readmission {
        relay: relay.to_string(),
        invitation: invitation.nonce,
    };
    let keep = sealer.run(move |core, now| {
        core.with_journal(now, |journal| {
            HubPairing::readmit(journal, phone, &readmission)
        })
    });
    match keep.await?.into_inner() {
        true => Ok(invitation.to_string()),
        false => Err(Failure::new(
            Code::Usage,
            "this phone was removed meanwhile, or nothing of it can be read",
        )),
    }
}

/// The answer for people.
pub fn to_text(answer: &Value) -> String {
    let word = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let (phone, relay) = (word("phone"), word("relay"));
    match answer["invitation"].as_str() {
        Some(invitation) => format!(
            "phone {phone} comes to this hub's relay with the following, once and within a day:\nsecluso-app relay {relay} -\nand, when it asks, this code:\n{invitation}"
        ),
        None => format!(
            "phone {phone} is known to this hub's relay, or has a code for it already (--again makes another, and that one void); the address is enough:\nsecluso-app relay {relay}"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_what_to_type_on_the_phone() {
        let mut answer = json!({"event": "relay_code", "phone": "1a2b3c4d", "relay": "r:1/k", "invitation": "text"});
        let text = to_text(&answer);
        // Not in the command, where other programs and the shell's history would have it.
        assert!(text.contains("\nsecluso-app relay r:1/k -\n"), "{text}");
        assert!(text.ends_with("\ntext"), "{text}");
        answer["invitation"] = Value::Null;
        let text = to_text(&answer);
        assert!(text.ends_with("secluso-app relay r:1/k"), "{text}");
    }
}
