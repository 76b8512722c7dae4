//! The offer that a paired phone passes on: made when a phone wants it, answered as long as it is good.
//!
//! It is a pairing as any other, on the same listener, with the same bounds; only its code goes to a phone and not
//! to a person at the hub. What is wanted is read from the journal's wishes, never from a message, so a hub that
//! was killed in the middle goes on with the offer that a phone already shows, if it can listen where that says, and
//! says its last word again to a phone that missed it.
//! This room must never log the code, and never listen for what is not wanted any more.

use std::pin::pin;
use std::time::Duration;

use journal::ids::{CommandId, PairingId};
use journal::message::InviteFailure;
use journal::pairing::OfferTerms;
use journal::{Invite, InviteState, JournalError, Offer, PairingError};
use pairing_lan::OfferTag;
use relay_client::{Identity, RelayAddress};
use tokio::sync::watch;
use tokio::time::timeout;

use super::bucket::{self, Bucket};
use super::listener::{self, Awaited};
use super::turn::Turn;
use super::{Place, addresses, invite, nearby};
use crate::camera::Clock;
use crate::config::PairingConfig;
use crate::core::{CoreError, MayInvite, Wishes};
use crate::sealer::{Sealer, SealerError};
use crate::uplink::Uplink;

/// After what our own storage did not take, and may take later.
const RETRY_PAUSE: Duration = Duration::from_secs(60);
/// What a talk under way may still take when its offer is not wanted any more: its last word, and a phone that is slow
/// to hang up.
const LAST_WORD: Duration = Duration::from_secs(6);
/// How long the last answer may take to leave.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the offers of phones are made with.
pub struct Inviter<'a, C> {
    /// How phones pair now. An offer that is made keeps to what it began with.
    pub config: &'a (dyn Fn() -> PairingConfig + Sync),
    /// Whether phones may pass offers on.
    pub may_invite: MayInvite,
    /// The relay, whose invitation goes with an offer.
    pub relay: &'a RelayAddress,
    /// The journal.
    pub sealer: &'a Sealer,
    /// Who asks the relay.
    pub uplink: &'a Uplink,
    /// The time.
    pub clock: &'a C,
    /// Held by whoever pairs a phone: one at a time.
    pub turn: &'a Turn,
}

/// What the hub listens for.
struct Listened {
    awaited: Awaited,
    expires_unix_s: u64,
    /// By which it is found in the hub's network; none where its phone knows the place.
    tag: Option<OfferTag>,
}

impl Listened {
    fn by(offer: &Offer) -> Self {
        Self {
            awaited: Awaited::By(offer.offer),
            expires_unix_s: offer.expires_unix_s,
            tag: Some(OfferTag(offer.lan_tag())),
        }
    }
}

/// Why there is no offer, or none any more.
enum Trouble {
    /// The phone is told, and may ask again.
    Failed(InviteFailure),
    /// It is tried again.
    Later(String),
}

impl From<SealerError> for Trouble {
    fn from(error: SealerError) -> Self {
        match error {
            SealerError::Core(CoreError::Journal(JournalError::Pairing(
                PairingError::TooManyPhones,
            ))) => Self::Failed(InviteFailure::TooManyPhones),
            other => Self::Later(other.to_string()),
        }
    }
}

impl<C: Clock> Inviter<'_, C> {
    /// Follows the wishes for as long as there is a journal.
    pub async fn run(&self) {
        let mut wishes = self.sealer.wishes();
        while let Some(wanted) = next(&mut wishes).await {
            let turn = self.turn.passed_on().await;
            let mut work = pin!(self.serve(wanted));
            let served = tokio::select! {
                served = &mut work => served,
                is_there = is_over(&mut wishes, wanted.asked_by) => {
                    if !is_there {
                        return;
                    }
                    // Whoever just paired by it hears so; nobody else gets anything of what is void.
                    let _late = timeout(LAST_WORD, work).await;
                    continue;
                }
            };
            // Whoever pairs at the hub need not wait for our storage.
            drop(turn);
            if let Err(Trouble::Later(why)) = served {
                tracing::warn!(why, "an offer that a phone wants to pass on is made later");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }

    /// One offer, from the wish to its end, which is durable.
    async fn serve(&self, wanted: Invite) -> Result<(), Trouble> {
        let why = match self.offer_and_listen(wanted).await {
            Ok(None) => return Ok(()),
            Ok(Some(phone)) => {
                // By an older code that was answered: then this one is wanted as before.
                let finish =
                    move |core: &mut crate::core::Core, now| core.finish_invite(wanted, phone, now);
                let _was_it = self.sealer.run(finish).await?;
                return Ok(());
            }
            Err(Trouble::Failed(why)) => why,
            Err(later) => return Err(later),
        };
        tracing::info!(?why, "an offer that a phone passes on has ended");
        let fail = move |core: &mut crate::core::Core, now| core.fail_invite(wanted, why, now);
        Ok(self.sealer.run(fail).await?)
    }

    /// The phone that has heard its last word; `None` if the offer is not wanted any more.
    async fn offer_and_listen(&self, wanted: Invite) -> Result<Option<PairingId>, Trouble> {
        if self.may_invite == MayInvite::No {
            return Err(Trouble::Failed(InviteFailure::Void));
        }
        let config = (self.config)();
        let place = Place::new(&config, self.relay, self.sealer, self.clock)
            .map_err(|_| Trouble::Failed(InviteFailure::ClockNotSet))?;
        let read =
            |core: &mut crate::core::Core, now| core.with_journal(now, journal::Journal::device);
        let device = self.sealer.run(read).await?;
        let identity = Identity::from_seed(*device.identity_seed);
        let (endpoint, port) = place.listen(&identity).await.map_err(|failure| {
            tracing::warn!(%failure, "a phone wants to pass an offer on");
            Trouble::Failed(InviteFailure::CannotListen)
        })?;
        let addresses = addresses::of(&config, port);
        let standing = match wanted.state {
            // Its phone knows where it asked.
            InviteState::Used {
                phone,
                expires_unix_s,
            } => Some(Listened {
                awaited: Awaited::Phone(phone),
                expires_unix_s,
                tag: None,
            }),
            InviteState::Made { .. } => Some(self.standing(wanted, &addresses).await?),
            InviteState::Wanted => self.make(wanted, (&identity, &config), addresses).await?,
        };
        let Some(Listened {
            awaited,
            expires_unix_s,
            tag,
        }) = standing
        else {
            return Ok(None);
        };
        let now_unix_s = self.clock.unix_ms() / 1000;
        let left = Duration::from_secs(expires_unix_s.saturating_sub(now_unix_s));
        let tries = Bucket::new(bucket::BURST, bucket::REFILL_MS);
        let listening = timeout(
            left.min(config.offer),
            listener::serve(&endpoint, self.sealer, self.clock, tries, awaited),
        );
        let served = nearby::announced_while(&config, port, tag, listening).await;
        endpoint.close(0_u32.into(), b"");
        let _late = timeout(FAREWELL, endpoint.wait_idle()).await;
        match served {
            Ok(Ok(phone)) => Ok(Some(phone)),
            Ok(Err(_)) | Err(_) => Err(Trouble::Failed(InviteFailure::Void)),
        }
    }

    /// The offer whose code a phone already has. It is good only where it says that we listen.
    async fn standing(&self, wanted: Invite, addresses: &[String]) -> Result<Listened, Trouble> {
        let read = move |core: &mut crate::core::Core, now| core.standing_invite(wanted, now);
        let offer = self.sealer.run(read).await?;
        match offer.filter(|offer| offer.addresses == addresses) {
            Some(offer) => Ok(Listened::by(&offer)),
            None => Err(Trouble::Failed(InviteFailure::Void)),
        }
    }

    /// A new offer, its code on its way in the same transaction; `None` if it is not wanted any more.
    async fn make(
        &self,
        wanted: Invite,
        (identity, config): (&Identity, &PairingConfig),
        addresses: Vec<String>,
    ) -> Result<Option<Listened>, Trouble> {
        let invitation = invite(config, self.uplink).await.map_err(|failure| {
            tracing::warn!(%failure, "a phone wants to pass an offer on");
            Trouble::Failed(InviteFailure::NoRelay)
        })?;
        let terms = OfferTerms {
            hub: identity.device_id(),
            addresses,
            relay: self.relay.to_string(),
            invitation: invitation.to_bytes(),
            suite: config.suite,
            ttl_s: config.offer.as_secs(),
        };
        let make = move |core: &mut crate::core::Core, now| core.make_invite(wanted, terms, now);
        let offer = self.sealer.run(make).await?;
        Ok(offer.map(|offer| Listened::by(&offer)))
    }
}

/// What is wanted next; `None` if the journal is gone.
async fn next(wishes: &mut watch::Receiver<Wishes>) -> Option<Invite> {
    loop {
        let wanted = wishes.borrow_and_update().invite;
        if wanted.is_some() {
            return wanted;
        }
        wishes.changed().await.ok()?;
    }
}

/// Waits until what this command asked for is not wanted any more: used, replaced, or its phone removed. False if the
/// journal is gone.
async fn is_over(wishes: &mut watch::Receiver<Wishes>, asked_by: CommandId) -> bool {
    let other = |wishes: &Wishes| wishes.invite.map(|wanted| wanted.asked_by) != Some(asked_by);
    wishes.wait_for(other).await.is_ok()
}
