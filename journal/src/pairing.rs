//! Pairing: how a hub and a phone that has read its QR code come to hold the same groups.
//!
//! Four messages over a direct connection between the two (promise S2: the relay has no part in it):
//!
//! ```text
//! app                                          hub
//!  |  Request {5 key packages, 5 mailboxes, MAC} |   knows the offer's secret
//!  |-------------------------------------------->|   makes the groups, PSK in the first Commit of each
//!  |  Answer {5 welcomes, 5 mailboxes, MAC}      |
//!  |<--------------------------------------------|   joined: PSK, welcomes, groups in one transaction
//!  |  Confirm {proof from all groups}            |
//!  |-------------------------------------------->|   confirmed
//!  |  Done {proof from all groups}               |
//!  |<--------------------------------------------|   confirmed
//! ```
//!
//! A phone that has the secret printed on the device, and does not see the code, asks for it first
//! ([`Ask`], [`Offered`]).
//!
//! A pairing has one group for each channel, in the order of [`Channel::ALL`], and one signature key
//! on each side for all of them. Every step is one transaction and can be repeated: a message that was answered is answered with
//! the same bytes (scenario 30). What an offer needs lives in the offer's own scope and dies with it:
//! when the pairing is whole, when the code is refused, or when its time is over. This room knows no
//! sockets and no clock.
//!
//! What may be done next is a matter of types ([`Requested`], [`Joined`], [`Welcomed`], [`Confirmed`]). A phone cannot
//! take the last word of a hub whose answer it has not taken:
//!
//! ```compile_fail,E0308
//! use journal::pairing::{AppPairing, Done, Requested};
//! fn early(journal: &mut journal::Journal, asked: &Requested, done: &Done) {
//!     let _ = AppPairing::done(journal, asked, done);
//! }
//! ```
//!
//! It can once it has joined, by the same words:
//!
//! ```
//! use journal::pairing::{AppPairing, Done, Joined};
//! fn in_turn(journal: &mut journal::Journal, joined: &Joined, done: &Done) {
//!     let _ = AppPairing::done(journal, joined, done);
//! }
//! ```
//!
//! Nor can a hub say the last word on an offer that it has not answered. Which answer a message is about it looks up
//! ([`HubPairing::resume`]), and [`HubPairing::confirm`] takes both of these steps at once:
//!
//! ```compile_fail,E0599
//! use journal::pairing::{Confirm, Offer};
//! fn early(journal: &mut journal::Journal, offer: &Offer, proof: &Confirm) {
//!     let _ = offer.confirm(journal, proof);
//! }
//! ```
//!
//! ```
//! use journal::pairing::{Welcomed, Confirm};
//! fn in_turn(journal: &mut journal::Journal, answered: &Welcomed, proof: &Confirm) {
//!     let _ = answered.confirm(journal, proof);
//! }
//! ```

mod app;
mod hub;
mod invite;
mod moving;
mod printed;
mod remove;
mod states;

use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use openmls::group::{
    MlsGroup, MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
};
use openmls::prelude::{
    BasicCredential, Capabilities, CredentialWithKey, GroupId, Lifetime, SenderRatchetConfiguration,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use wal::mutant;
use wire::ids::{DeviceId, SendId};
use zeroize::Zeroizing;

pub use app::JOINED_GRACE_S;
pub use app::{AppPairing, Next as AppNext};
pub(crate) use hub::first_key_since;
pub use hub::{HubPairing, Next as HubNext, OfferEnd, OfferTerms};
pub use invite::{AddedSaid, Invite, InviteAsked, InviteState};
pub use moving::Readmission;
pub use printed::{Ask, Offered};
pub use remove::{Dismissal, Dismissals, Dismissed, Guest, REMOVAL_BYTES_MAX};
pub use states::{Confirmed, Joined, Requested, Welcomed};

use crate::error::JournalError;
use crate::ids::{Channel, Line, OfferId, PairingId};
use crate::journal::Journal;
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::record::{PairingRecord, Suite};
use crate::scope::Scope;
use crate::sealed::{Key, derive};
use crate::txn::Txn;

/// Generations that a follower may skip inside an epoch: above the chunks of the longest clip.
pub const FORWARD_DISTANCE_MAX: u32 = 1_000_000;
/// Longest pairing message in bytes: an Answer with five X-Wing welcomes has about 21.5 kB.
pub const PAIRING_MESSAGE_BYTES_MAX: usize = 24 * 1024;
/// Longest time between showing an offer and using it, in seconds.
pub const OFFER_TTL_S_MAX: u64 = 3600;

/// Phones that one hub may be paired with at a time: each costs an encryption and an upload of its own.
pub const PHONES_MAX: usize = 8;

/// The one thing that is said to a person about a code that does not pair, on either side and
/// whatever is wrong with it: altered, misread, of another hub, expired, used up, or guessed. Whoever
/// tries codes learns nothing from it.
pub const REFUSAL: &str = "this pairing code was refused: it is wrong, altered, expired or used up. Run `secluso-hub pair` again and scan the new code";

const QR_PREFIX: &str = "SECLUSO1:";
const QR_BYTES_MAX: usize = 2048;
/// Longest text of a code, in bytes.
pub const CODE_BYTES_MAX: usize = QR_PREFIX.len() + QR_BYTES_MAX;
pub(crate) const CHECKSUM_BYTES: usize = 4;
/// Length of what an offer is announced by in the hub's network, in bytes.
pub const LAN_TAG_BYTES: usize = 8;

/// What went wrong in a pairing, for logs and tests. People and the other side are told
/// [`REFUSAL`] and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairingError {
    /// The text is no QR code of ours.
    #[error("this is not a Secluso pairing code. Scan the code that `secluso-hub pair` shows")]
    NotAnOffer,
    /// The offer is too old.
    #[error("this pairing code has expired. Run `secluso-hub pair` again and scan the new code")]
    Expired,
    /// The hub does not know the offer, or it is used up.
    #[error(
        "the hub does not know this pairing code, or it was used already. Run `secluso-hub pair` again"
    )]
    UnknownOffer,
    /// The other side does not hold the offer's secret.
    #[error("the other side could not prove that it knows the pairing code. Scan the code again")]
    WrongSecret,
    /// The hub has as many phones as it may have.
    #[error(
        "this hub is paired with {most} phones, and that is all that it can have. Remove one with `secluso-hub remove`, then pair again",
        most = PHONES_MAX
    )]
    TooManyPhones,
    /// A message that does not decode, or not in this state.
    #[error("a pairing message did not fit: {0}. Start the pairing again")]
    Malformed(&'static str),
    /// MLS refused what the other side sent.
    #[error("the other side's keys were refused: {0}. Start the pairing again")]
    Mls(String),
    /// The group's proof differs: the two ends are not in the same group.
    #[error("the two ends do not hold the same keys. Start the pairing again")]
    ProofDiffers,
}

/// An offer to pair: what the QR code holds. Whoever reads it can pair while it lasts, so it is a
/// secret; it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Offer {
    /// Which offer.
    pub offer: OfferId,
    secret: Key,
    /// The hub's key on the direct connection.
    pub hub: DeviceId,
    /// Where the hub listens, as `host:port`, best first.
    pub addresses: Vec<String>,
    /// Seconds since 1970 by the hub's clock.
    pub expires_unix_s: u64,
    /// The relay, as text.
    pub relay: String,
    /// The phone's invitation to the relay.
    pub invitation: Vec<u8>,
    /// The suite of the groups.
    pub suite: Suite,
}

impl Offer {
    /// The text of the QR code.
    pub fn to_text(&self) -> Zeroizing<String> {
        // With its whole room from the beginning: what grows leaves copies of the secret behind.
        let room: Vec<u8> = Vec::with_capacity(QR_BYTES_MAX);
        let mut bytes = Zeroizing::new(postcard::to_extend(self, room).unwrap_or_default());
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        let body = Zeroizing::new(Base64UrlUnpadded::encode_string(&bytes));
        let mut text = Zeroizing::new(String::with_capacity(QR_PREFIX.len() + body.len()));
        text.push_str(QR_PREFIX);
        text.push_str(&body);
        text
    }

    /// Whether it is the same in all its parts. Two texts to compare would be two more copies of the secret.
    fn is_same(&self, other: &Self) -> bool {
        let Self {
            offer,
            secret,
            hub,
            addresses,
            expires_unix_s,
            relay,
            invitation,
            suite,
        } = self;
        proofs_equal(secret, &other.secret)
            && *offer == other.offer
            && *hub == other.hub
            && *addresses == other.addresses
            && *expires_unix_s == other.expires_unix_s
            && *relay == other.relay
            && *invitation == other.invitation
            && *suite == other.suite
    }

    /// Reads what [`Self::to_text`] wrote; white space around it does not matter.
    ///
    /// # Errors
    /// [`PairingError::NotAnOffer`].
    pub fn from_text(text: &str) -> Result<Self, PairingError> {
        let body = text
            .trim()
            .strip_prefix(QR_PREFIX)
            .ok_or(PairingError::NotAnOffer)?;
        if body.len() > QR_BYTES_MAX {
            return Err(PairingError::NotAnOffer);
        }
        let bytes = Base64UrlUnpadded::decode_vec(body).map_err(|_| PairingError::NotAnOffer)?;
        let bytes = Zeroizing::new(bytes);
        let (body, sum) = bytes
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(PairingError::NotAnOffer)?;
        if checksum(body) != *sum {
            return Err(PairingError::NotAnOffer);
        }
        match postcard::take_from_bytes(body) {
            Ok((offer, [])) => Ok(offer),
            _ => Err(PairingError::NotAnOffer),
        }
    }

    /// The same offer with another secret: what a stranger would have to guess.
    #[cfg(any(test, feature = "crashtest"))]
    pub fn spoil_secret(&mut self) {
        self.secret = Key::new([0; 32]);
    }

    /// What the code is worth, for who looks whether it was written anywhere.
    #[cfg(any(test, feature = "crashtest"))]
    pub(crate) fn secret(&self) -> &Key {
        &self.secret
    }

    fn psk(&self, nonce: &[u8; 32]) -> Key {
        derive(
            self.root(),
            &[b"secluso pairing psk v1", &self.offer.0, nonce],
        )
    }

    fn mac_key(&self) -> Key {
        derive(self.root(), &[b"secluso pairing mac v1", &self.offer.0])
    }

    /// What both keys come of.
    fn root(&self) -> &[u8] {
        match mutant!(
            "secret_left_out",
            "S2",
            "the keys of a pairing come of what its offer is called, and not of its secret"
        ) {
            true => &[],
            false => self.secret.as_slice(),
        }
    }

    /// By which a hub announces this offer in its network, so that who has read the code, and nobody else, knows it
    /// there. Everybody may hear it: the secret cannot be had from it, nor is it used for anything else.
    pub fn lan_tag(&self) -> [u8; LAN_TAG_BYTES] {
        let derived = derive(
            self.secret.as_slice(),
            &[b"secluso pairing lan tag v1", &self.offer.0],
        );
        let mut tag = [0; LAN_TAG_BYTES];
        tag.iter_mut()
            .zip(derived.as_slice())
            .for_each(|(to, from)| *to = *from);
        tag
    }
}

/// What the two ends derive from an offer and the nonce of a request: the offer's secret and the PSK.
#[cfg(any(test, feature = "crashtest"))]
pub(crate) fn secrets_of(offer: &Offer, request: &Request) -> [Key; 2] {
    [offer.secret().clone(), offer.psk(&request.nonce)]
}

/// First message: app to hub.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// Which offer.
    pub offer: OfferId,
    pairing: PairingId,
    nonce: [u8; 32],
    device: DeviceId,
    /// Where the hub sends, by channel.
    mailboxes: [SendId; CHANNELS],
    /// One for each group, by channel.
    key_packages: [Vec<u8>; CHANNELS],
    mac: [u8; 32],
}

/// Second message: hub to app.
#[derive(Clone, Serialize, Deserialize)]
pub struct Answer {
    pairing: PairingId,
    device: DeviceId,
    /// Where the app sends, by channel.
    mailboxes: [SendId; CHANNELS],
    /// One into each group, by channel.
    welcomes: [Vec<u8>; CHANNELS],
    mac: [u8; 32],
}

/// Third message: app to hub.
#[derive(Clone, Serialize, Deserialize)]
pub struct Confirm {
    offer: OfferId,
    pairing: PairingId,
    proof: [u8; 32],
}

impl Confirm {
    /// By which offer.
    pub fn offer(&self) -> OfferId {
        self.offer
    }
}

/// Fourth message: hub to app.
#[derive(Clone, Serialize, Deserialize)]
pub struct Done {
    pairing: PairingId,
    proof: [u8; 32],
}

impl Done {
    /// Which pairing is whole.
    pub fn pairing(&self) -> PairingId {
        self.pairing
    }
}

/// Any pairing message, as it goes over the direct connection.
#[derive(Clone, Serialize, Deserialize)]
pub enum PairingMessage {
    /// App to hub.
    Request(Request),
    /// Hub to app.
    Answer(Answer),
    /// App to hub.
    Confirm(Confirm),
    /// Hub to app.
    Done(Done),
    /// Hub to app: refused, with a reason for the person.
    Refused(String),
    /// App to hub, before all others: it has the device secret and no code.
    Ask(Ask),
    /// Hub to app: the code.
    Offered(Offered),
}

impl PairingMessage {
    /// Version, then postcard; at most [`PAIRING_MESSAGE_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        crate::message::encode(self).unwrap_or_default()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// [`PairingError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PairingError> {
        if bytes.len() > PAIRING_MESSAGE_BYTES_MAX {
            return Err(PairingError::Malformed("too long"));
        }
        crate::message::decode(bytes).ok_or(PairingError::Malformed("not a pairing message"))
    }
}

/// The end of a code's text: one misread character anywhere makes it no code at all.
pub(crate) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let [a, b, c, d, ..] = <[u8; 32]>::from(Sha256::digest(bytes));
    [a, b, c, d]
}

fn mac(key: &Key, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key.as_slice())
        .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    for part in parts {
        mac.update(&(part.len() as u64).to_be_bytes());
        mac.update(part);
    }
    mac
}

fn mac_bytes(key: &Key, parts: &[&[u8]]) -> [u8; 32] {
    mac(key, parts).finalize().into_bytes().into()
}

fn mac_holds(key: &Key, parts: &[&[u8]], claimed: &[u8; 32]) -> bool {
    mac(key, parts).verify_slice(claimed).is_ok()
}

impl Request {
    /// In whose name it is made.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The pairing that it asks for.
    #[cfg(feature = "crashtest")]
    pub(crate) fn pairing(&self) -> PairingId {
        self.pairing
    }

    fn parts(&self) -> Vec<&[u8]> {
        let mut parts = vec![
            b"request".as_slice(),
            &self.offer.0,
            &self.pairing.0,
            &self.nonce,
            &self.device.0,
        ];
        parts.extend(self.mailboxes.iter().map(|mailbox| mailbox.0.as_slice()));
        parts.extend(self.key_packages.iter().map(Vec::as_slice));
        parts
    }
}

impl Answer {
    /// Bound to the request that it answers.
    fn parts<'a>(&'a self, request: &'a [u8; 32]) -> Vec<&'a [u8]> {
        let mut parts = vec![
            b"answer".as_slice(),
            request,
            &self.pairing.0,
            &self.device.0,
        ];
        parts.extend(self.mailboxes.iter().map(|mailbox| mailbox.0.as_slice()));
        parts.extend(self.welcomes.iter().map(Vec::as_slice));
        parts
    }
}

/// One side's name inside the groups.
fn identity(side: &str, pairing: PairingId) -> Vec<u8> {
    let mut identity = format!("secluso {side} ").into_bytes();
    identity.extend_from_slice(&pairing.0);
    identity
}

fn credential(side: &str, pairing: PairingId, signer: &SignatureKeyPair) -> CredentialWithKey {
    CredentialWithKey {
        credential: BasicCredential::new(identity(side, pairing)).into(),
        signature_key: signer.public().into(),
    }
}

fn group_id(line: Line) -> Vec<u8> {
    line.key().to_vec()
}

/// The lifetime of key packages: for ever. An offer has an expiry of its own, and a hub without a
/// battery clock must not refuse a phone because of the date (scenario 29).
fn lifetime() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}

fn capabilities(suite: Suite) -> Capabilities {
    Capabilities::new(None, Some(&[suite.ciphersuite()]), None, None, None)
}

fn ratchets() -> SenderRatchetConfiguration {
    // The mailbox is in order, so no key of a skipped message is ever kept.
    SenderRatchetConfiguration::new(0, FORWARD_DISTANCE_MAX)
}

fn create_config(suite: Suite) -> MlsGroupCreateConfig {
    MlsGroupCreateConfig::builder()
        .ciphersuite(suite.ciphersuite())
        .capabilities(capabilities(suite))
        .lifetime(lifetime())
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(ratchets())
        .build()
}

fn join_config() -> MlsGroupJoinConfig {
    MlsGroupJoinConfig::builder()
        .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
        .max_past_epochs(0)
        .number_of_resumption_psks(0)
        .use_ratchet_tree_extension(true)
        .sender_ratchet_configuration(ratchets())
        .build()
}

fn wrap_keys(psk: &Key, pairing: PairingId) -> (Key, Key) {
    let hub_to_app = derive(psk.as_slice(), &[b"secluso wrap hub to app v1", &pairing.0]);
    let app_to_hub = derive(psk.as_slice(), &[b"secluso wrap app to hub v1", &pairing.0]);
    (hub_to_app, app_to_hub)
}

/// What only a member of all the pairing's groups in their joining epochs can say: a secret exported
/// from each, hashed together in the order of the channels.
fn proof(txn: &mut Txn<'_>, pairing: PairingId, side: &str) -> Result<[u8; 32], JournalError> {
    let crypto = Arc::clone(&txn.journal().crypto);
    let mut hash = Sha256::new();
    for line in Line::all(pairing) {
        let (group, client) = (Scope::Group(line), Scope::Pairing(pairing));
        let provider = MlsProvider::new(txn, group, client, Ratchet::Store);
        let group = MlsGroup::load(provider.storage(), &GroupId::from_slice(&group_id(line)));
        let group = provider.result(group)?.ok_or(JournalError::NoGroup(line))?;
        let secret = group
            .export_secret(&*crypto, "secluso pairing proof", side.as_bytes(), 32)
            .map_err(|error| JournalError::Mls(error.to_string()))?;
        hash.update(&*Zeroizing::new(secret));
    }
    Ok(hash.finalize().into())
}

/// One value for each channel, in the order of [`Channel::ALL`].
fn for_each_channel<T, E>(
    pairing: PairingId,
    mut make: impl FnMut(Line) -> Result<T, E>,
) -> Result<[T; CHANNELS], E> {
    let mut made = Vec::with_capacity(CHANNELS);
    for line in Line::all(pairing) {
        made.push(make(line)?);
    }
    Ok(made
        .try_into()
        .unwrap_or_else(|_| unreachable!("there is one for each channel")))
}

/// Compares two proofs in a time that says nothing about where they differ.
fn proofs_equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.ct_eq(b).into()
}

/// Two members, the other of the expected name and key, the expected group and suite.
fn check_group(
    group: &MlsGroup,
    record: &PairingRecord,
    line: Line,
    peer: &str,
) -> Result<(), PairingError> {
    let found = group.members().any(|member| {
        member.signature_key == record.peer_signature_key
            && BasicCredential::try_from(member.credential)
                .is_ok_and(|credential| credential.identity() == identity(peer, line.pairing))
    });
    let fits = found
        && group.members().count() == 2
        && group.group_id().as_slice() == group_id(line)
        && group.ciphersuite() == record.suite.ciphersuite();
    if fits {
        Ok(())
    } else {
        Err(PairingError::Mls(
            "the group is not the one that was offered".into(),
        ))
    }
}

/// How many groups a pairing has.
const CHANNELS: usize = Channel::ALL.len();

/// The offers that this journal holds keys for.
fn offers(journal: &Journal) -> Vec<OfferId> {
    let offer = |scope| match scope {
        Scope::Offer(id) => Some(id),
        _ => None,
    };
    journal.scopes.iter().filter_map(offer).collect()
}

/// Ends a pairing with every key that was made for it. What its outbox holds, if it was ever confirmed,
/// ends by [`crate::outbox::end`] in the same transaction.
fn end_pairing(txn: &mut Txn<'_>, pairing: PairingId) {
    for line in Line::all(pairing) {
        txn.end(Scope::Group(line));
    }
    txn.end(Scope::Pairing(pairing));
}
