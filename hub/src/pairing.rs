//! Pairing a phone: the code that a person shows to the phone, and the direct connection on which
//! the phone then answers (promise S2: the relay has no part in it).
//!
//! One offer at a time, for a bounded time, with bounded messages and bounded attempts. Whatever a
//! stranger does costs the stranger a wait and changes nothing. This room must never log the code.

mod addresses;
mod code;
mod listener;

use std::time::Duration;

use journal::pairing::OfferTerms;
use journal::{Durable, HubPairing, Offer};
use relay_client::{Identity, rpk};
use tokio::sync::mpsc;

use crate::camera::Clock;
use crate::config::PairingConfig;
use crate::exit::{Code, Failure};
use crate::sealer::Sealer;
use crate::uplink::Uplink;

pub use code::{show, terminal_qr};

/// The application protocol of the direct connection.
pub const ALPN: &[u8] = b"secluso-pair/1";
/// How long the relay may take to give the phone's invitation.
const INVITE_PATIENCE: Duration = Duration::from_secs(30);
/// Steps that wait for whoever shows them.
pub const STEPS_MAX: usize = 16;

/// What happens while a phone is paired.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Show this.
    Offer {
        /// The text of the code. A secret while it lasts.
        text: String,
        /// When it stops being good, milliseconds since 1970.
        expires_unix_ms: u64,
    },
    /// Done.
    Paired {
        /// The pairing, in hex.
        phone: String,
    },
}

/// Pairs one phone: makes an offer, tells it through `steps`, answers until it is confirmed.
///
/// # Errors
/// One sentence with its code; nothing of the offer lives beyond its time.
pub async fn pair(
    config: &PairingConfig,
    relay: &relay_client::RelayAddress,
    sealer: &Sealer,
    uplink: &Uplink,
    clock: &impl Clock,
    steps: &mpsc::Sender<Step>,
) -> Result<(), Failure> {
    let invitation = uplink
        .invite_phone(config.offer, INVITE_PATIENCE)
        .await
        .map_err(|error| {
            let failure = Failure::from(error);
            let why = uplink
                .status()
                .trouble
                .unwrap_or_else(|| failure.message.clone());
            Failure::new(failure.code, format!("no invitation for the phone: {why}"))
        })?;
    let device = sealer
        .run(|core, now| core.with_journal(now, journal::Journal::device))
        .await?;
    let identity = Identity::from_seed(*device.identity_seed);
    let endpoint = rpk::server_endpoint(config.listen, &identity, ALPN, &listener::limits())
        .map_err(|error| {
            Failure::new(
                Code::Usage,
                format!("pairing cannot listen: {error}; correct [pairing] listen"),
            )
        })?;
    let port = endpoint
        .local_addr()
        .map_err(|error| Failure::new(Code::Internal, error.to_string()))?
        .port();
    let terms = OfferTerms {
        hub: identity.device_id(),
        addresses: addresses::of(config, port),
        relay: relay.to_string(),
        invitation: invitation.to_bytes(),
        suite: config.suite,
        ttl_s: config.offer.as_secs(),
    };
    let offer: Durable<Offer> = sealer
        .run(move |core, now| {
            core.with_journal(now, |journal| HubPairing::offer(journal, terms, now / 1000))
        })
        .await?;
    let step = Step::Offer {
        text: offer.to_text(),
        expires_unix_ms: clock.unix_ms().saturating_add(millis(config.offer)),
    };
    // Whoever asked may have gone; the offer then runs out.
    let _gone = steps.send(step).await;
    let served = tokio::time::timeout(config.offer, listener::serve(&endpoint, sealer)).await;
    endpoint.close(0_u32.into(), b"");
    // The last answer must leave before the process may.
    let _late = tokio::time::timeout(Duration::from_secs(2), endpoint.wait_idle()).await;
    match served {
        Ok(Ok(phone)) => {
            let phone = phone.to_hex();
            let _gone = steps.send(Step::Paired { phone }).await;
            Ok(())
        }
        Ok(Err(failure)) => Err(failure),
        Err(_elapsed) => Err(Failure::new(
            Code::NotAdmitted,
            "no phone used the code in time; run `secluso-hub pair` again",
        )),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
