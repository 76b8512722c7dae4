//! Pairing a phone: the code that a person shows to the phone, and the direct connection on which
//! the phone then answers (promise S2: the relay has no part in it).
//!
//! One offer at a time, for a bounded time, with bounded messages and a bounded number and rate of
//! tries. Whatever a stranger does costs the stranger a wait and changes nothing; when the offer is
//! over, for whatever reason, it is ended durably. While it is open, the hub says so in its network
//! (`nearby`). A paired phone may pass such a code on ([`Inviter`]); whoever
//! reads it answers here all the same. This room must never log the code.

mod addresses;
mod bucket;
mod invited;
mod listener;
mod nearby;
mod turn;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use journal::ids::OfferId;
use journal::pairing::{OfferEnd, OfferTerms, PHONES_MAX};
use journal::{Durable, HubPairing, JournalError, Offer, PairingError};
use pairing_lan::OfferTag;
use relay_client::{Identity, rpk};
use tokio::sync::mpsc;
use wire::Invitation;
use zeroize::Zeroizing;

use crate::camera::Clock;
use crate::config::PairingConfig;
use crate::exit::{Code, Failure};
use crate::sealer::{Sealer, SealerError};
use crate::uplink::Uplink;

use bucket::Bucket;
pub use invited::Inviter;
use listener::Awaited;
pub use listener::messages_in;
pub use turn::{AtTheHub, Turn};

/// The application protocol of the direct connection.
pub const ALPN: &[u8] = b"secluso-pair/1";
/// How long the relay may take to give the phone's invitation.
const INVITE_PATIENCE: Duration = Duration::from_secs(30);
/// How often the port is asked for, and the pause between: a pairing that has just ended here, because another takes its
/// place, frees it when its last connection is over.
const PORT_TRIES_MAX: u32 = 40;
const PORT_PAUSE: Duration = Duration::from_millis(50);
/// 2025-01-01: a clock before it was never set.
pub const CLOCK_UNIX_MS_MIN: u64 = 1_735_689_600_000;
/// Steps that wait for whoever shows them.
pub const STEPS_MAX: usize = 16;

/// What happens while a phone is paired.
#[derive(Clone, PartialEq, Eq)]
pub enum Step {
    /// Show this.
    Offer {
        /// The text of the code. A secret while it lasts.
        text: Zeroizing<String>,
        /// When it stops being good, milliseconds since 1970.
        expires_unix_ms: u64,
    },
    /// Done.
    Paired {
        /// The pairing, as people are told of it.
        phone: String,
    },
    /// It was stopped, no phone is paired, and the code is void.
    Stopped,
}

/// How a pairing ended that did not fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// A phone is paired.
    Paired,
    /// Whoever asked for it stopped it before a phone was paired; its offer is void.
    Stopped,
}

/// Pairs one phone: makes an offer, tells it through `steps`, answers until it is confirmed, until
/// its time is over, until too many tried with a wrong code, or until `stop` completes. However it
/// ends, the offer and what was made for it are gone, and that is durable, before this returns.
///
/// # Errors
/// One sentence with its code.
pub async fn pair(
    config: &PairingConfig,
    relay: &relay_client::RelayAddress,
    sealer: &Sealer,
    uplink: &Uplink,
    clock: &impl Clock,
    steps: &mpsc::Sender<Step>,
    stop: impl Future<Output = ()>,
) -> Result<Ended, Failure> {
    let mut stop = pin!(stop);
    let place = Place::new(config, relay, sealer, clock)?;
    place.has_room_for_a_phone().await?;
    let invitation = tokio::select! {
        biased;
        () = &mut stop => return Ok(stopped(steps).await),
        invitation = invite(config, uplink) => invitation?,
    };
    let tries = Bucket::new(bucket::BURST, bucket::REFILL_MS);
    place.offer(invitation.to_bytes(), tries, steps, stop).await
}

async fn invite(config: &PairingConfig, uplink: &Uplink) -> Result<Invitation, Failure> {
    let invited = uplink.invite_phone(config.offer, INVITE_PATIENCE).await;
    invited.map_err(|error| {
        let failure = Failure::from(error);
        let why = uplink
            .status()
            .trouble
            .unwrap_or_else(|| failure.message.clone());
        Failure::new(failure.code, format!("no invitation for the phone: {why}"))
    })
}

/// Where an offer is made.
struct Place<'a, C> {
    config: &'a PairingConfig,
    relay: &'a relay_client::RelayAddress,
    sealer: &'a Sealer,
    clock: &'a C,
}

impl<'a, C: Clock> Place<'a, C> {
    /// # Errors
    /// [`Code::Usage`] if the clock was never set: the offer's time would be over long ago for every
    /// phone, and the phone could not say why.
    fn new(
        config: &'a PairingConfig,
        relay: &'a relay_client::RelayAddress,
        sealer: &'a Sealer,
        clock: &'a C,
    ) -> Result<Self, Failure> {
        if clock.unix_ms() < CLOCK_UNIX_MS_MIN {
            return Err(Failure::new(
                Code::Usage,
                "the clock of this machine is not set, and a code made now would be too old for every phone. Set it (`timedatectl set-ntp true`, or wait for the network), then run `secluso-hub pair` again",
            ));
        }
        Ok(Self {
            config,
            relay,
            sealer,
            clock,
        })
    }

    /// Before the relay is asked for an invitation that nobody could use.
    ///
    /// # Errors
    /// [`Code::NotAdmitted`] if the hub has as many phones as it may have.
    async fn has_room_for_a_phone(&self) -> Result<(), Failure> {
        let count = |core: &mut crate::core::Core, now| {
            core.with_journal(now, |journal| HubPairing::places_taken(journal))
        };
        if self.sealer.ask(count).await? < PHONES_MAX {
            return Ok(());
        }
        Err(JournalError::from(PairingError::TooManyPhones).into())
    }

    async fn offer(
        &self,
        invitation: Vec<u8>,
        tries: Bucket,
        steps: &mpsc::Sender<Step>,
        stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Ended, Failure> {
        let config = self.config;
        let device = self
            .sealer
            .ask(|core, now| core.with_journal(now, journal::Journal::device))
            .await?;
        let identity = Identity::from_seed(*device.identity_seed);
        let (endpoint, port) = self.listen(&identity).await?;
        let terms = OfferTerms {
            hub: identity.device_id(),
            addresses: addresses::of(config, port),
            relay: self.relay.to_string(),
            invitation,
            suite: config.suite,
            ttl_s: config.offer.as_secs(),
        };
        let offer: Durable<Offer> = self
            .sealer
            .run(move |core, now| {
                core.with_journal(now, |journal| HubPairing::offer(journal, terms, now / 1000))
            })
            .await?;
        let step = Step::Offer {
            text: offer.to_text(),
            expires_unix_ms: self.clock.unix_ms().saturating_add(millis(config.offer)),
        };
        // Whoever asked may have gone: then `stop` says so.
        let _gone = steps.send(step).await;
        let listening = async {
            tokio::select! {
                biased;
                () = stop => None,
                served = tokio::time::timeout(
                    config.offer,
                    listener::serve(
                        &endpoint,
                        self.sealer,
                        self.clock,
                        tries,
                        Awaited::By(offer.offer),
                    ),
                ) => Some(served),
            }
        };
        let tag = Some(OfferTag(offer.lan_tag()));
        let served = nearby::announced_while(config, port, tag, listening).await;
        let ended = self.end(offer.offer).await;
        endpoint.close(0_u32.into(), b"");
        // The last answer must leave before the process may.
        let _late = tokio::time::timeout(Duration::from_secs(2), endpoint.wait_idle()).await;
        let phone = match (served, ended) {
            (Some(Ok(Ok(phone))), _) | (_, Ok(OfferEnd::Paired(phone))) => phone,
            (_, Err(failure)) => {
                let message = format!(
                    "{failure}. Whether the code is void is not known; at the latest it is when its time is over"
                );
                return Err(Failure::new(failure.code, message));
            }
            (Some(Ok(Err(failure))), Ok(_)) => return Err(failure),
            (Some(Err(_elapsed)), Ok(_)) => {
                return Err(Failure::new(
                    Code::NotAdmitted,
                    "no phone used the code in time and it is void; run `secluso-hub pair` again",
                ));
            }
            (None, Ok(_)) => return Ok(stopped(steps).await),
        };
        let phone = phone.short();
        let _gone = steps.send(Step::Paired { phone }).await;
        Ok(Ended::Paired)
    }

    /// Listens where it is configured. Where the port is left open, it is the one of last time if that is
    /// free: a phone that was interrupted asks again there, with the code that it has.
    async fn listen(&self, identity: &Identity) -> Result<(quinn::Endpoint, u16), Failure> {
        let listen = self.config.listen;
        let open = |at| rpk::server_endpoint(at, identity, ALPN, &listener::limits());
        let kept: Option<u16> = match listen.port() {
            0 => {
                let ask = |core: &mut crate::core::Core, now| {
                    core.with_journal(now, |journal| journal.pairing_port())
                };
                self.sealer.ask(ask).await?
            }
            _ => None,
        };
        let again = kept.and_then(|port| {
            let opened = open(SocketAddr::new(listen.ip(), port));
            opened
                .inspect_err(
                    |error| tracing::debug!(port, %error, "the port of last time is taken"),
                )
                .ok()
        });
        let endpoint = match again {
            Some(endpoint) => endpoint,
            None => {
                let mut tries = 1;
                loop {
                    match open(listen) {
                        Ok(endpoint) => break endpoint,
                        Err(error) if tries >= PORT_TRIES_MAX => {
                            let what =
                                format!("pairing cannot listen: {error}; correct [pairing] listen");
                            return Err(Failure::new(Code::Usage, what));
                        }
                        Err(_) => tokio::time::sleep(PORT_PAUSE).await,
                    }
                    tries += 1;
                }
            }
        };
        let port = endpoint
            .local_addr()
            .map_err(|error| Failure::new(Code::Internal, error.to_string()))?
            .port();
        if listen.port() == 0 && kept != Some(port) {
            let keep = move |core: &mut crate::core::Core, now| {
                core.with_journal(now, |journal| journal.keep_pairing_port(port))
            };
            drop(self.sealer.run(keep).await?);
        }
        Ok((endpoint, port))
    }

    /// Nothing of an offer outlives its pairing mode, except a pairing that is whole: a phone may
    /// have been confirmed in the moment in which the offer was stopped, or ran out.
    async fn end(&self, offer: OfferId) -> Result<OfferEnd, Failure> {
        let end = || {
            self.sealer.run(move |core, now| {
                core.with_journal(now, |journal| HubPairing::end(journal, offer))
            })
        };
        let mut ended = end().await;
        if matches!(&ended, Err(SealerError::Core(error)) if error.is_open()) {
            ended = end().await;
        }
        match ended {
            Ok(end) => Ok(end.into_inner()),
            Err(error) => {
                let failure = Failure::from(error);
                tracing::warn!(%failure, "the offer could not be ended; it dies when its time is over");
                Err(failure)
            }
        }
    }
}

async fn stopped(steps: &mpsc::Sender<Step>) -> Ended {
    let _gone = steps.send(Step::Stopped).await;
    Ended::Stopped
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
