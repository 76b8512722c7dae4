//! Pairing's shell: finds the hub that showed the code, carries four messages, then goes to the
//! relay. What the messages mean, and what is durable before which of them, is the journal's.
//!
//! Messages go over one bidirectional QUIC stream to the hub, whose key is in the code; each is its
//! length (4 bytes, big endian) and its bytes. This room must never show the code to anybody.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use journal::ids::PairingId;
use journal::pairing::{AppNext, Ask, PAIRING_MESSAGE_BYTES_MAX};
use journal::{AppPairing, DeviceSecret, JournalError, Offer, PairingMessage};
use pairing_lan::{Browse, OfferTag};
use relay_client::rpk::{self, EndpointLimits, RpkError};
use relay_client::{Identity, RelayAddress};
use tokio::time::timeout;
use wal::Dice as _;
use wire::{DeviceId, Invitation};
use zeroize::Zeroizing;

use crate::app::Shared;
use crate::downlink;
use crate::error::AppError;
use crate::types::{HubId, PairedHub, Pairing};

/// The application protocol of the direct connection.
const ALPN: &[u8] = b"secluso-pair/1";
/// How long one address of the hub may take to answer at first.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The same when the talk goes on: it is known that somebody is there.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often a connection that was there is made again...
const RECONNECTS_MAX: u32 = 3;
/// ...after this pause, doubling.
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(100);
/// A hub that was killed says nothing, and one that was started again says so only when it is
/// spoken to.
const KEEP_ALIVE: Duration = Duration::from_millis(400);
/// A hub that answers nothing for so long, not even that, is gone.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// How long the hub may take to answer a message: it makes keys and syncs.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// How long hanging up may take.
const HANG_UP_TIMEOUT: Duration = Duration::from_secs(1);
/// Addresses of a hub that are tried, and addresses of one name.
const ADDRESSES_MAX: usize = 8;

/// What is found in the local network is tried so much later than what the code says, which mostly holds.
const HEAD_START: Duration = Duration::from_millis(300);
/// How long the network is still asked when nobody answers where the code says.
const LAST_LOOK: Duration = Duration::from_millis(1_500);
/// How long a hub that was found there may take to answer: whoever else is there may have said so.
const FOUND_TIMEOUT: Duration = Duration::from_secs(2);
/// How long somebody without an address looks for hubs that pair.
const LOOK_AROUND: Duration = Duration::from_secs(10);

pub(crate) async fn pair(shared: &Arc<Shared>, code: &str) -> Result<PairedHub, AppError> {
    let offer = Offer::from_text(code).map_err(|error| AppError::from_pairing(&error))?;
    pair_by(shared, offer, None).await
}

/// Pairs by the secret that is printed on the hub: asks the hub at `address`, which must be in pairing mode,
/// for the code that it shows, then goes on as if that had been scanned. Without an address, asks every hub
/// that is found in the local network.
pub(crate) async fn pair_printed(
    shared: &Arc<Shared>,
    secret: &str,
    address: Option<&str>,
) -> Result<PairedHub, AppError> {
    let secret = DeviceSecret::from_text(secret).map_err(|error| AppError::from_pairing(&error))?;
    let (offer, at) = match address {
        Some(address) => {
            let offer = ask_for_code(shared, &secret, address, CONNECT_TIMEOUT).await?;
            (offer, address.to_owned())
        }
        None => ask_around(shared, &secret).await?,
    };
    pair_by(shared, offer, Some(&at)).await
}

async fn ask_around(
    shared: &Arc<Shared>,
    secret: &DeviceSecret,
) -> Result<(Offer, String), AppError> {
    let mut search = look_for(shared, None).map_err(|why| {
        AppError::Network(format!(
            "the local network cannot be asked for hubs ({why}); give the hub's address"
        ))
    })?;
    let mut last = AppError::Network(
        "no hub in pairing mode was found in this network; run `secluso-hub pair`, or give the hub's address".into(),
    );
    let looking = async {
        loop {
            let at = search.next().await.to_string();
            match ask_for_code(shared, secret, &at, FOUND_TIMEOUT).await {
                Ok(offer) => return (offer, at),
                Err(error) => last = error,
            }
        }
    };
    let found = timeout(LOOK_AROUND, looking).await;
    found.map_err(|_elapsed| last)
}

/// Where hubs in pairing mode are: of this offer, or any.
fn look_for(shared: &Shared, tag: Option<OfferTag>) -> Result<Browse, String> {
    let lan = shared.nearby.lan().ok_or("there is none")?;
    let mut id = [0; 2];
    wal::OsDice.fill(&mut id);
    Browse::start(lan, tag, u16::from_be_bytes(id)).map_err(|error| error.to_string())
}

async fn ask_for_code(
    shared: &Arc<Shared>,
    secret: &DeviceSecret,
    address: &str,
    wait: Duration,
) -> Result<Offer, AppError> {
    let ask = shared
        .engine
        .read(|core, _shell| Ok(Ask::new(core.journal())))
        .await?;
    let addresses = [address.to_owned()];
    let mut hub = HubTalk::connect(&addresses, None, &passer_by(), wait).await?;
    let answer = hub.ask(&PairingMessage::Ask(ask.clone())).await;
    let peer = rpk::peer_id(&hub.connection);
    // The hub hears one phone at a time, and this one comes again with the code.
    hub.end().await;
    match answer? {
        PairingMessage::Offered(offered) => secret
            .open(&ask, &offered, peer)
            .map_err(|error| AppError::from_pairing(&error)),
        _ => Err(AppError::refused()),
    }
}

/// A name for one talk: whoever answers at an address that was typed or found need not be the hub, and is not told
/// by which name the relay knows this phone.
fn passer_by() -> Identity {
    let mut seed = Zeroizing::new([0_u8; 32]);
    wal::OsDice.fill(seed.as_mut_slice());
    Identity::from_seed(*seed)
}

/// `at` is where the hub has answered already, if it has.
async fn pair_by(
    shared: &Arc<Shared>,
    offer: Offer,
    at: Option<&str>,
) -> Result<PairedHub, AppError> {
    let mut addresses: Vec<String> = at.map(str::to_owned).into_iter().collect();
    addresses.extend(offer.addresses.iter().cloned());
    let offer = Arc::new(offer);
    let relay: RelayAddress = offer
        .relay
        .parse()
        .map_err(|_| AppError::Pairing("the code names no relay; scan it again".into()))?;
    let device = shared.engine.read(|core, _shell| core.device()).await?;
    refuse_second_relay(&device, &relay)?;
    let identity = Identity::from_seed(*device.identity_seed);

    let (pairing, news) = talk_to_hub(shared, &offer, &addresses, &identity).await?;
    downlink::connect_to_relay(shared, &offer.relay, Some(invitation(&offer)?))
        .await?
        .close();
    Ok(PairedHub {
        hub: HubId::from_journal(pairing),
        news,
    })
}

/// A device keeps one admission; a second relay would overwrite it and cut off the first hub.
fn refuse_second_relay(device: &journal::Device, relay: &RelayAddress) -> Result<(), AppError> {
    let kept = device
        .certificate
        .as_deref()
        .and_then(|bytes| wire::Certificate::decode(bytes).ok());
    match kept {
        Some(kept) if kept.relay != relay.relay_id => Err(AppError::OtherRelay {
            relay: format!("{}:{}", relay.host, relay.port),
        }),
        _ => Ok(()),
    }
}

/// The invitation as the hub put it into the code: its bytes, or its text.
fn invitation(offer: &Offer) -> Result<Invitation, AppError> {
    let text = || std::str::from_utf8(&offer.invitation).ok()?.parse().ok();
    Invitation::decode(&offer.invitation)
        .ok()
        .or_else(text)
        .ok_or_else(|| {
            AppError::Pairing(
                "the code holds no invitation to the relay; make a new code at the hub".into(),
            )
        })
}

/// Talks until the pairing is whole. Every message may be repeated, so a connection that is lost in
/// the middle is made anew and the talk goes on where it stood: the hub may just have been started
/// again.
async fn talk_to_hub(
    shared: &Arc<Shared>,
    offer: &Arc<Offer>,
    addresses: &[String],
    identity: &Identity,
) -> Result<(PairingId, Pairing), AppError> {
    let mut attempt = Attempt::First;
    let mut pause = RECONNECT_PAUSE_MIN;
    let mut reconnects = RECONNECTS_MAX;
    loop {
        let error = match talk_once(shared, offer, addresses, identity, attempt).await {
            Ok(talked) => return Ok(talked),
            Err(Trouble::Other(error)) => return Err(error),
            // Nobody was there at all: that is for the person to judge.
            Err(Trouble::Connection(error)) if attempt == Attempt::First => return Err(error),
            Err(Trouble::Connection(error) | Trouble::Lost(error)) => error,
        };
        attempt = Attempt::Again;
        if reconnects == 0 {
            return Err(error);
        }
        reconnects -= 1;
        tracing::info!(%error, "the talk with the hub goes on");
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

/// Which talk it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Attempt {
    /// Nobody has answered yet.
    First,
    /// There was a connection, and it was lost.
    Again,
}

impl Attempt {
    fn connect_timeout(self) -> Duration {
        match self {
            Self::First => CONNECT_TIMEOUT,
            Self::Again => RECONNECT_TIMEOUT,
        }
    }
}

/// Why one talk came to nothing.
enum Trouble {
    /// There was no connection.
    Connection(AppError),
    /// The connection ended in the middle.
    Lost(AppError),
    /// Trying again cannot help.
    Other(AppError),
}

impl From<AppError> for Trouble {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Network(_) => Self::Lost(error),
            other => Self::Other(other),
        }
    }
}

async fn talk_once(
    shared: &Arc<Shared>,
    offer: &Arc<Offer>,
    addresses: &[String],
    identity: &Identity,
    attempt: Attempt,
) -> Result<(PairingId, Pairing), Trouble> {
    let now_unix_s = shared.clock.unix_s();
    let device = identity.device_id();
    let asked = Arc::clone(offer);
    let next = shared.engine.read(move |core, _shell| {
        let next = AppPairing::start(core.journal(), &asked, device, now_unix_s)?;
        Ok(next.into_inner())
    });
    let next = match next.await? {
        AppNext::Done(pairing) => return Ok((pairing, Pairing::Known)),
        next => next,
    };
    let wait = attempt.connect_timeout();
    let mut hub = match reach(shared, offer, addresses, identity, wait).await {
        Ok(hub) => hub,
        Err(error @ AppError::Network(_)) => return Err(Trouble::Connection(error)),
        Err(error) => return Err(Trouble::Other(error)),
    };
    let result = converse(shared, &mut hub, next, now_unix_s).await;
    // Also after a refusal: the hub waits for this before it hears the next phone.
    hub.end().await;
    if let Err(AppError::Pairing(_)) = &result {
        forget(shared, offer).await;
    }
    Ok((result?, Pairing::New))
}

/// The code is good for nothing: what was made for it dies whole, and that is durable.
async fn forget(shared: &Arc<Shared>, offer: &Arc<Offer>) {
    let id = offer.offer;
    let ended = shared
        .engine
        .read(move |core, _shell| AppPairing::end(core.journal(), id).map(drop));
    if let Err(error) = ended.await {
        tracing::warn!(%error, "a refused offer could not be ended; it dies when its time is over");
    }
}

async fn converse(
    shared: &Arc<Shared>,
    hub: &mut HubTalk,
    next: AppNext,
    now_unix_s: u64,
) -> Result<PairingId, AppError> {
    let joined = match next {
        AppNext::Done(pairing) => return Ok(pairing),
        AppNext::Confirm(joined) => joined,
        AppNext::Request(asked) => {
            wal::leaves!("pairing request");
            let answer = match hub.ask(&asked.to_message()).await? {
                PairingMessage::Answer(answer) => answer,
                _ => return Err(AppError::refused()),
            };
            let joined = shared.engine.read(move |core, _shell| {
                let joined = AppPairing::answer(core.journal(), &asked, &answer, now_unix_s)?;
                Ok(joined.into_inner())
            });
            joined.await?
        }
    };
    wal::leaves!("pairing confirm");
    let done = match hub.ask(&joined.to_message()).await? {
        PairingMessage::Done(done) => done,
        _ => return Err(AppError::refused()),
    };
    let pairing = shared.engine.read(move |core, _shell| {
        let pairing = AppPairing::done(core.journal(), &joined, &done)?;
        Ok::<_, JournalError>(pairing.into_inner())
    });
    pairing.await
}

/// Connects to the hub where it is said to be, or else where it is found in the local network: it may have another
/// address than when the code was made.
async fn reach(
    shared: &Shared,
    offer: &Offer,
    addresses: &[String],
    identity: &Identity,
    wait: Duration,
) -> Result<HubTalk, AppError> {
    let mut said = pin!(HubTalk::connect(addresses, Some(offer.hub), identity, wait));
    let looking = async {
        tokio::time::sleep(HEAD_START).await;
        nearby(shared, offer, identity).await
    };
    let mut found = pin!(timeout(wait, looking));
    tokio::select! {
        biased;
        said = &mut said => match said {
            Ok(hub) => Ok(hub),
            Err(error) => {
                let found = timeout(LAST_LOOK, found).await.ok();
                found.and_then(Result::ok).flatten().ok_or(error)
            }
        },
        found = &mut found => match found.ok().flatten() {
            Some(hub) => Ok(hub),
            None => said.await,
        },
    }
}

/// The hub of this offer in the local network, whenever it is there; `None` if nobody can be asked.
async fn nearby(shared: &Shared, offer: &Offer, identity: &Identity) -> Option<HubTalk> {
    let search = look_for(shared, Some(OfferTag(offer.lan_tag())));
    let mut search = search
        .inspect_err(|why| tracing::debug!(why, "the local network is not asked"))
        .ok()?;
    loop {
        let at = search.next().await;
        match HubTalk::open(at, Some(offer.hub), identity, FOUND_TIMEOUT).await {
            Ok(hub) => return Some(hub),
            // Anybody may repeat what the hub said.
            Err(error) => tracing::debug!(%error, "there is no hub where one was found"),
        }
    }
}

/// One stream to the hub.
struct HubTalk {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    /// Drives the connection.
    endpoint: quinn::Endpoint,
}

impl HubTalk {
    /// Tries the addresses of a hub in turn. `pinned` is its key, where that is known.
    async fn connect(
        addresses: &[String],
        pinned: Option<DeviceId>,
        identity: &Identity,
        timeout: Duration,
    ) -> Result<Self, AppError> {
        let mut last =
            AppError::Pairing("the code holds no address of the hub; make a new code there".into());
        for address in addresses.iter().take(ADDRESSES_MAX) {
            let resolved = match tokio::net::lookup_host(address.as_str()).await {
                Ok(resolved) => resolved,
                Err(error) => {
                    last = AppError::Network(format!("the hub cannot be found ({error})"));
                    continue;
                }
            };
            for address in resolved.take(ADDRESSES_MAX) {
                match Self::open(address, pinned, identity, timeout).await {
                    Ok(talk) => return Ok(talk),
                    // A wrong key at one address is no reason to give up the others.
                    Err(error) => last = error,
                }
            }
        }
        Err(last)
    }

    async fn open(
        address: std::net::SocketAddr,
        pinned: Option<DeviceId>,
        identity: &Identity,
        wait: Duration,
    ) -> Result<Self, AppError> {
        let limits = EndpointLimits {
            idle: SILENCE_MAX,
            keep_alive: Some(KEEP_ALIVE),
            ..EndpointLimits::default()
        };
        let connecting = async {
            match pinned {
                Some(hub) => rpk::client_connect(address, identity, hub, ALPN, &limits).await,
                None => rpk::client_connect_to_anybody(address, identity, ALPN, &limits).await,
            }
        };
        let connected: Result<_, RpkError> = match timeout(wait, connecting).await {
            Ok(connected) => connected,
            Err(_elapsed) => {
                return Err(AppError::Network(
                    "the hub does not answer; is `secluso-hub pair` still showing the code, in the same network?".into(),
                ));
            }
        };
        let (endpoint, connection) = connected.map_err(|error| AppError::from_direct(&error))?;
        let (send, receive) = connection.open_bi().await.map_err(|error| lost(&error))?;
        Ok(Self {
            connection,
            send,
            receive,
            endpoint,
        })
    }

    /// Says one message and hears the answer.
    async fn ask(&mut self, message: &PairingMessage) -> Result<PairingMessage, AppError> {
        match timeout(ANSWER_TIMEOUT, self.exchange(message)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(AppError::Network("the hub did not answer in time".into())),
        }
    }

    async fn exchange(&mut self, message: &PairingMessage) -> Result<PairingMessage, AppError> {
        let bytes = message.encode();
        let length = u32::try_from(bytes.len())
            .map_err(|_| AppError::Bug("a pairing message is too long".into()))?;
        self.send
            .write_all(&length.to_be_bytes())
            .await
            .map_err(|error| lost(&error))?;
        self.send
            .write_all(&bytes)
            .await
            .map_err(|error| lost(&error))?;
        let mut length = [0; 4];
        self.receive
            .read_exact(&mut length)
            .await
            .map_err(|error| lost(&error))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > PAIRING_MESSAGE_BYTES_MAX {
            return Err(AppError::refused());
        }
        let mut bytes = vec![0; length];
        self.receive
            .read_exact(&mut bytes)
            .await
            .map_err(|error| lost(&error))?;
        PairingMessage::decode(&bytes).map_err(|error| AppError::from_pairing(&error))
    }

    /// Hangs up, and waits a moment so that the word leaves before the process may.
    async fn end(self) {
        self.connection.close(0_u32.into(), b"");
        let _late = timeout(HANG_UP_TIMEOUT, self.endpoint.wait_idle()).await;
    }
}

fn lost(error: &dyn std::fmt::Display) -> AppError {
    AppError::Network(format!("the connection to the hub was lost ({error})"))
}
