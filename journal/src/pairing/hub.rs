//! The hub's side of pairing. It must never answer before the answer is durable.

use openmls::group::MlsGroup;
use openmls::prelude::{BasicCredential, GroupId, KeyPackage, KeyPackageIn, ProtocolVersion};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use serde::{Deserialize, Serialize};
use tls_codec::{Deserialize as _, Serialize as _, Size as _};
use wal::{Durable, crash_point, mutant};
use wire::Invitation;
use wire::ids::{DeviceId, ReceiveId, Seq};

use super::remove::{if_readable, owe_replaced};
use super::{
    Answer, CHANNELS, Confirm, Confirmed, Done, OFFER_TTL_S_MAX, Offer, PHONES_MAX, PairingError,
    Request, Welcomed, check_group, create_config, credential, end_pairing, for_each_channel,
    group_id, identity, invite, mac_bytes, mac_holds, proof, proofs_equal, wrap_keys,
};
use crate::device::Device;
use crate::error::JournalError;
use crate::ids::{Channel, Line, OfferId, PairingId};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::outbox;
use crate::record::{LineRecord, PairingRecord, PairingState, Suite};
use crate::retain;
use crate::scope::Scope;
use crate::sealed::{Key, derive};
use crate::txn::Txn;

/// An offer as stored.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct OfferRow {
    pub(super) offer: Offer,
    answered: Option<(PairingId, [u8; 32], Answer)>,
}

/// What the hub remembers of a finished pairing, to answer a repeated Confirm.
#[derive(Serialize, Deserialize)]
struct DoneRow {
    offer: OfferId,
    confirm: [u8; 32],
    done: Done,
    /// The nonce of the phone's invitation to the relay, if the offer held one.
    invitation: Option<[u8; 16]>,
}

/// What stands behind [`Family::PairingAnswer`] in the key of the row that says which key of the vault was the
/// next when the pairing was confirmed: what was begun before has an earlier one.
const NEXT_KEY_THEN: &[u8] = &[1];

/// What the hub was told to offer.
#[derive(Clone, Debug)]
pub struct OfferTerms {
    /// The hub's key on the direct connection, and its account at the relay.
    pub hub: DeviceId,
    /// Where the hub listens, as `host:port`, best first.
    pub addresses: Vec<String>,
    /// The relay, as text.
    pub relay: String,
    /// The phone's invitation to the relay.
    pub invitation: Vec<u8>,
    /// The suite of the groups.
    pub suite: Suite,
    /// How long the offer lasts, in seconds; at most [`OFFER_TTL_S_MAX`].
    pub ttl_s: u64,
}

/// Where the pairing stands that a phone's proof is about.
#[derive(Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "There is one at a time, and the next step takes it."
)]
pub enum Next {
    /// Its request was answered: judge the proof with [`Welcomed::confirm`].
    Welcomed(Welcomed),
    /// It is whole, and this proof is the one that made it so: say the last word again.
    Confirmed(Confirmed),
}

/// What [`HubPairing::end`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OfferEnd {
    /// The offer was still there. It is void now.
    Void,
    /// A phone had used it: this pairing is confirmed.
    Paired(PairingId),
    /// It had ended before, and no pairing came of it.
    Unknown,
}

/// The hub's side of pairing over its journal.
pub struct HubPairing;

impl HubPairing {
    /// Makes an offer. Earlier ones die whole in the same transaction, unless a phone was answered
    /// already and may still prove itself in time.
    ///
    /// # Errors
    /// [`PairingError::TooManyPhones`] if there are [`PHONES_MAX`] already; nothing changed. Our own
    /// storage.
    pub fn offer(
        journal: &mut Journal,
        terms: OfferTerms,
        now_unix_s: u64,
    ) -> Result<Durable<Offer>, JournalError> {
        if Self::places_taken(journal)? >= PHONES_MAX {
            return Err(PairingError::TooManyPhones.into());
        }
        // What the secret of every offer is derived from is there from now on.
        drop(journal.device()?);
        let others = offer_rows(journal)?;
        let mut txn = journal.begin();
        for (other, row) in &others {
            if row.answered.is_none() || row.offer.expires_unix_s <= now_unix_s {
                end_offer(&mut txn, *other, row);
            }
        }
        let offer = make_offer(&mut txn, terms, now_unix_s)?;
        txn.commit(offer)
    }

    /// Ends offers that ran out, and what their phones left unfinished; and all of them, where it cannot be read which
    /// a phone passes on.
    ///
    /// # Errors
    /// Our own storage.
    pub fn expire(journal: &mut Journal, now_unix_s: u64) -> Result<(), JournalError> {
        invite::mend(journal)?;
        for (id, row) in offer_rows(journal)? {
            if row.offer.expires_unix_s <= now_unix_s {
                let mut txn = journal.begin();
                end_offer(&mut txn, id, &row);
                drop(txn.commit(())?);
            }
        }
        Ok(())
    }

    /// Ends an offer, and what its phone left unfinished, whole. A pairing that is confirmed has
    /// ended its offer itself, and stays.
    ///
    /// # Errors
    /// Our own storage.
    pub fn end(journal: &mut Journal, id: OfferId) -> Result<Durable<OfferEnd>, JournalError> {
        let row = offer_row(journal, id)?;
        let end = match &row {
            Some(_) => OfferEnd::Void,
            None => match paired_by(journal, id)? {
                Some(pairing) => OfferEnd::Paired(pairing),
                None => OfferEnd::Unknown,
            },
        };
        let mut txn = journal.begin();
        if let Some(row) = row
            && !mutant!(
                "mode_left_on",
                "S2",
                "nobody pairs at the hub any more, and the code that it showed stays good"
            )
        {
            end_offer(&mut txn, id, &row);
        }
        txn.commit(end)
    }

    /// Takes a request: makes the pairing's groups, or repeats the answer. `peer` is whose key the phone
    /// has shown on its connection: a request in another's name is judged like one with a wrong secret,
    /// on the same path, because whose pairings a new one takes the place of ([`Self::confirm`]) hangs on
    /// that name.
    ///
    /// # Errors
    /// [`PairingError`] inside [`JournalError::Pairing`] if the phone is at fault; nothing changed.
    pub fn request(
        journal: &mut Journal,
        request: &Request,
        peer: DeviceId,
        now_unix_s: u64,
    ) -> Result<Durable<Welcomed>, JournalError> {
        let answered = |answer| Welcomed {
            offer: request.offer,
            answer,
        };
        let row = offer_row(journal, request.offer)?;
        // An offer that is not known is judged like one whose secret was guessed: under a key that
        // nobody has.
        let key = match &row {
            Some(row) => row.offer.mac_key(),
            None => Key::new(random(journal)),
        };
        let genuine = mac_holds(&key, &request.parts(), &request.mac) && peer == request.device;
        let row = row.ok_or(PairingError::UnknownOffer)?;
        if !genuine {
            return Err(PairingError::WrongSecret.into());
        }
        let offer = &row.offer;
        if let Some((_, answered_to, answer)) = &row.answered
            && *answered_to == request.mac
        {
            let answer = answer.clone();
            return journal.begin().commit(answered(answer));
        }
        if offer.expires_unix_s <= now_unix_s
            && !mutant!("late_code_taken", "S2", "a code whose time is over is good")
        {
            return Err(PairingError::Expired.into());
        }
        if journal
            .scopes
            .get(Scope::Pairing(request.pairing))
            .is_some()
        {
            return Err(PairingError::Malformed("this pairing exists").into());
        }
        if Self::places_taken(journal)? >= PHONES_MAX {
            return Err(PairingError::TooManyPhones.into());
        }
        let mut txn = journal.begin();
        if let Some((superseded, ..)) = &row.answered {
            end_pairing(&mut txn, *superseded);
        }
        let answer = make_pairing(&mut txn, offer, request, now_unix_s)?;
        let row = OfferRow {
            offer: offer.clone(),
            answered: Some((request.pairing, request.mac, answer.clone())),
        };
        txn.put_secret_row(Scope::Offer(request.offer), Family::Offer, &[], &row)?;
        // CRASH(journal.pairing.hub_answer): before: the offer, not answered so; the phone asks again |
        // after: the groups and the answer are stored as one.
        crash_point!("journal.pairing.hub_answer");
        txn.commit(answered(answer))
    }

    /// Where the pairing stands that this proof is about; the proof itself is judged only if it was before.
    ///
    /// # Errors
    /// [`PairingError`] inside [`JournalError::Pairing`] if there is no such pairing, or a finished one has another
    /// proof; nothing changed.
    pub fn resume(journal: &Journal, confirm: &Confirm) -> Result<Next, JournalError> {
        let scope = Scope::Pairing(confirm.pairing);
        if journal.scopes.get(scope).is_none() {
            return Err(PairingError::UnknownOffer.into());
        }
        if let Some(row) = journal.secret_row::<DoneRow>(scope, Family::PairingAnswer, &[])? {
            if row.offer != confirm.offer || !proofs_equal(&row.confirm, &confirm.proof) {
                return Err(PairingError::ProofDiffers.into());
            }
            return Ok(Next::Confirmed(Confirmed { done: row.done }));
        }
        let row = offer_row(journal, confirm.offer)?.ok_or(PairingError::UnknownOffer)?;
        match row.answered {
            Some((pairing, _, answer)) if pairing == confirm.pairing => {
                Ok(Next::Welcomed(Welcomed {
                    offer: confirm.offer,
                    answer,
                }))
            }
            _ => Err(PairingError::UnknownOffer.into()),
        }
    }

    /// Takes the phone's proof, however the pairing stands: it is confirmed ([`Welcomed::confirm`]), or the last word
    /// is repeated.
    ///
    /// # Errors
    /// As [`Self::resume`] and [`Welcomed::confirm`].
    pub fn confirm(
        journal: &mut Journal,
        confirm: &Confirm,
    ) -> Result<Durable<Confirmed>, JournalError> {
        match Self::resume(journal, confirm)? {
            Next::Welcomed(answered) => answered.finish(journal, confirm),
            Next::Confirmed(confirmed) => journal.begin().commit(confirmed),
        }
    }
}

impl Welcomed {
    /// Takes the phone's proof: the pairing is confirmed, or the last word is repeated. Older pairings with the same
    /// phone from which nothing has ever come end whole in the same transaction; rows that they leave are removed by
    /// [`Txn::trim_ended`], and what was retained for them is to be played.
    ///
    /// # Errors
    /// [`PairingError`] inside [`JournalError::Pairing`] if the phone is at fault, or this answer does not stand any
    /// more; nothing changed.
    pub fn confirm(
        &self,
        journal: &mut Journal,
        confirm: &Confirm,
    ) -> Result<Durable<Confirmed>, JournalError> {
        if (confirm.offer, confirm.pairing) != (self.offer, self.answer.pairing) {
            return Err(PairingError::UnknownOffer.into());
        }
        // It may have been confirmed before, or another request by the same code may have been answered since.
        HubPairing::confirm(journal, confirm)
    }

    /// The answer that stands, and the proof that it waits for, if it is that.
    fn finish(
        &self,
        journal: &mut Journal,
        confirm: &Confirm,
    ) -> Result<Durable<Confirmed>, JournalError> {
        let scope = Scope::Pairing(self.answer.pairing);
        let row = offer_row(journal, self.offer)?.ok_or(PairingError::UnknownOffer)?;
        let others = HubPairing::places_taken(journal)?;
        let mut txn = journal.begin();
        let line = Line::of(confirm.pairing, Channel::EventVideo);
        let mut record = txn.pairing_record(line)?;
        if !proofs_equal(&proof(&mut txn, confirm.pairing, "app")?, &confirm.proof) {
            return Err(PairingError::ProofDiffers.into());
        }
        let done = Done {
            pairing: confirm.pairing,
            proof: proof(&mut txn, confirm.pairing, "hub")?,
        };
        record.state = PairingState::Confirmed;
        record.put(&mut txn, confirm.pairing)?;
        let kept = DoneRow {
            offer: confirm.offer,
            confirm: confirm.proof,
            done: done.clone(),
            invitation: Invitation::decode(&row.offer.invitation)
                .ok()
                .map(|invitation| invitation.nonce),
        };
        txn.put_secret_row(scope, Family::PairingAnswer, &[], &kept)?;
        let next_key: u64 = txn.row(keys::NEXT_KEY)?.unwrap_or(1);
        txn.put_secret_row(scope, Family::PairingAnswer, NEXT_KEY_THEN, &next_key)?;
        if !mutant!(
            "code_used_twice",
            "S2",
            "a code by which a phone has paired is good for the next one"
        ) {
            txn.end(Scope::Offer(confirm.offer));
        }
        let unheard = unheard_pairings(&txn, confirm.pairing, record.peer_device)?;
        // Two phones may have been answered while there was one place left.
        if others.saturating_sub(unheard.len()) >= PHONES_MAX {
            return Err(PairingError::TooManyPhones.into());
        }
        for pairing in unheard {
            owe_replaced(&mut txn, pairing)?;
            for line in Line::all(pairing) {
                outbox::end(&mut txn, line)?;
            }
            // It is the same phone: what was kept for it would otherwise wait for an ack for ever.
            if retain::keeps_any(&txn) {
                txn.play(confirm.pairing, pairing);
            }
            end_pairing(&mut txn, pairing);
            invite::forget_phone(&mut txn, pairing)?;
        }
        // ORDER: who was added, and by whom, with what adds it: no crash leaves a phone that nobody is told of.
        invite::used(
            &mut txn,
            confirm.offer,
            confirm.pairing,
            record.paired_unix_s,
        )?;
        // CRASH(journal.pairing.hub_done): before: joined, not confirmed, what it takes the place of is
        // there; the phone repeats its proof | after: confirmed, that has ended and the offer's secrets
        // are past.
        crash_point!("journal.pairing.hub_done");
        txn.commit(Confirmed { done })
    }
}

/// A new offer in its own scope, for a hub whose device has its row.
pub(super) fn make_offer(
    txn: &mut Txn<'_>,
    terms: OfferTerms,
    now_unix_s: u64,
) -> Result<Offer, JournalError> {
    let device: Option<Device> = txn.secret_row(Scope::Device, Family::Device, &[])?;
    let device = device.ok_or(JournalError::Misuse("an offer wants the device's row"))?;
    let id = OfferId(txn.random());
    let offer = Offer {
        offer: id,
        secret: derive(&device.secret, &[b"secluso offer v1", &id.0]),
        hub: terms.hub,
        addresses: terms.addresses,
        expires_unix_s: now_unix_s.saturating_add(terms.ttl_s.min(OFFER_TTL_S_MAX)),
        relay: terms.relay,
        invitation: terms.invitation,
        suite: terms.suite,
    };
    txn.birth(Scope::Offer(id))?;
    let row = OfferRow {
        offer: offer.clone(),
        answered: None,
    };
    txn.put_secret_row(Scope::Offer(id), Family::Offer, &[], &row)?;
    Ok(offer)
}

fn offer_rows(journal: &Journal) -> Result<Vec<(OfferId, OfferRow)>, JournalError> {
    let mut found = Vec::new();
    for id in super::offers(journal) {
        if let Some(row) = offer_row(journal, id)? {
            found.push((id, row));
        }
    }
    Ok(found)
}

/// The offer that this hub shows now. Beside one that a phone was answered on and may still prove itself, it is the
/// one that nobody has used. One that a phone passes on is not the hub's to show: it goes the way that its owner
/// gives it.
pub(super) fn current_offer(
    journal: &Journal,
    now_unix_s: u64,
) -> Result<Option<Offer>, JournalError> {
    let passed_on = journal.invite()?.and_then(|invite| invite.offer());
    let shown = |(id, _): &(OfferId, OfferRow)| Some(*id) != passed_on;
    let rows = offer_rows(journal)?.into_iter().filter(shown);
    let rows = rows.map(|(_, row)| row);
    let standing = rows.filter(|row| row.offer.expires_unix_s > now_unix_s);
    let newest = standing.max_by_key(|row| (row.answered.is_none(), row.offer.expires_unix_s));
    Ok(newest.map(|row| row.offer))
}

fn random(journal: &mut Journal) -> [u8; 32] {
    journal.begin().random()
}

pub(super) fn offer_row(journal: &Journal, id: OfferId) -> Result<Option<OfferRow>, JournalError> {
    if journal.scopes.get(Scope::Offer(id)).is_none() {
        return Ok(None);
    }
    journal.secret_row(Scope::Offer(id), Family::Offer, &[])
}

/// The nonce of the invitation that a confirmed pairing brought its phone, if there was one.
pub(super) fn invitation_of(
    txn: &Txn<'_>,
    id: PairingId,
) -> Result<Option<[u8; 16]>, JournalError> {
    let row: Option<DoneRow> = txn.secret_row(Scope::Pairing(id), Family::PairingAnswer, &[])?;
    Ok(row.and_then(|row| row.invitation))
}

/// Keeps the nonce of another invitation for a confirmed pairing's phone; false if nothing of that pairing can be read.
pub(super) fn keep_invitation(
    txn: &mut Txn<'_>,
    id: PairingId,
    invitation: [u8; 16],
) -> Result<bool, JournalError> {
    let scope = Scope::Pairing(id);
    let row: Option<DoneRow> = if_readable(txn.secret_row(scope, Family::PairingAnswer, &[]))?;
    let Some(mut row) = row else {
        return Ok(false);
    };
    row.invitation = Some(invitation);
    txn.put_secret_row(scope, Family::PairingAnswer, &[], &row)?;
    Ok(true)
}

/// The pairing that was confirmed with this offer.
fn paired_by(journal: &Journal, id: OfferId) -> Result<Option<PairingId>, JournalError> {
    for pairing in journal.pairing_ids() {
        let scope = Scope::Pairing(pairing);
        let done = journal.secret_row::<DoneRow>(scope, Family::PairingAnswer, &[]);
        if if_readable(done)?.is_some_and(|done| done.offer == id) {
            return Ok(Some(pairing));
        }
    }
    Ok(None)
}

/// The number of the first key of the vault that was given after this pairing was confirmed (hub): its lines
/// take part in whatever is begun from then on. Of a pairing from before that was written down: its own key,
/// which is older.
pub(crate) fn first_key_since(
    journal: &Journal,
    pairing: PairingId,
) -> Result<Option<u64>, JournalError> {
    let scope = Scope::Pairing(pairing);
    let next_key: Option<u64> = journal.secret_row(scope, Family::PairingAnswer, NEXT_KEY_THEN)?;
    let own = journal.scopes.get(scope).map(|key| key.id.0);
    Ok(next_key.or(own))
}

/// Confirmed pairings with the same phone that are older than `newer` and from which nothing has ever
/// come. The phone that paired again has none of them: it was interrupted before the last word, and
/// what is sealed for such a pairing would wait for ever.
fn unheard_pairings(
    txn: &Txn<'_>,
    newer: PairingId,
    device: DeviceId,
) -> Result<Vec<PairingId>, JournalError> {
    let journal = txn.journal();
    // Keys are given in rising order, so they say which was made first; a clock could not.
    let born = |pairing| {
        let key = journal.scopes.get(Scope::Pairing(pairing));
        key.map(|key| key.id)
    };
    let mut unheard = Vec::new();
    for pairing in journal.pairing_ids() {
        // Whose one is that cannot be read is not known: it stays until its owner removes it.
        let record: Option<PairingRecord> =
            if_readable(txn.secret_row(Scope::Pairing(pairing), Family::Pairing, &[]))?;
        let replaced = record.is_some_and(|record| {
            let is_same = record.peer_device == device
                || mutant!(
                    "second_phone_ends_first",
                    "C1",
                    "a phone that is paired takes the place of another one that was not heard of yet"
                );
            record.state == PairingState::Confirmed && is_same
        });
        if !replaced || born(pairing) >= born(newer) {
            continue;
        }
        let mut heard = false;
        for line in Line::all(pairing) {
            heard |= journal.inbox_head(line)?.cursor != Seq::NONE;
        }
        if !heard {
            unheard.push(pairing);
        }
    }
    Ok(unheard)
}

pub(super) fn end_offer(txn: &mut Txn<'_>, id: OfferId, row: &OfferRow) {
    if let Some((pairing, ..)) = &row.answered {
        end_pairing(txn, *pairing);
    }
    txn.end(Scope::Offer(id));
}

fn mls<E: std::fmt::Display>(error: E) -> PairingError {
    PairingError::Mls(error.to_string())
}

/// One for each group, of this offer, all of one signature key, each with an init key of its own.
fn check_key_packages(
    txn: &Txn<'_>,
    offer: &Offer,
    request: &Request,
) -> Result<Vec<KeyPackage>, PairingError> {
    let mut checked: Vec<KeyPackage> = Vec::with_capacity(CHANNELS);
    for package in &request.key_packages {
        let package = KeyPackageIn::tls_deserialize_exact(package)
            .map_err(|_| PairingError::Malformed("a key package does not decode"))?;
        let package = package
            .validate(&*txn.journal().crypto, ProtocolVersion::Mls10)
            .map_err(mls)?;
        let leaf = package.leaf_node();
        let named = BasicCredential::try_from(leaf.credential().clone())
            .is_ok_and(|credential| credential.identity() == identity("app", request.pairing));
        let fits = checked.iter().all(|other| {
            other.leaf_node().signature_key() == leaf.signature_key()
                && other.hpke_init_key().as_slice() != package.hpke_init_key().as_slice()
        });
        // The KEM of X-Wing takes a key apart without a look at its length.
        let usable = [
            package.hpke_init_key().tls_serialized_len(),
            leaf.encryption_key().tls_serialized_len(),
        ] == [offer.suite.encryption_key_len(); 2];
        if !named || !fits || !usable || package.ciphersuite() != offer.suite.ciphersuite() {
            return Err(PairingError::Mls(
                "the key packages are not for this offer".into(),
            ));
        }
        checked.push(package);
    }
    Ok(checked)
}

fn make_pairing(
    txn: &mut Txn<'_>,
    offer: &Offer,
    request: &Request,
    now_unix_s: u64,
) -> Result<Answer, JournalError> {
    let packages = check_key_packages(txn, offer, request)?;
    let first = packages
        .first()
        .ok_or(PairingError::Malformed("no key package"))?;
    let peer_signature_key = first.leaf_node().signature_key().as_slice().to_vec();
    let pairing = request.pairing;
    let scope = Scope::Pairing(pairing);
    txn.birth(scope)?;
    let signer = SignatureKeyPair::new(offer.suite.ciphersuite().signature_algorithm())
        .map_err(|e| JournalError::Mls(e.to_string()))?;
    let provider = MlsProvider::new(txn, scope, scope, Ratchet::Store);
    provider.result(signer.store(provider.storage()))?;
    drop(provider);
    let psk = offer.psk(&request.nonce);
    let (hub_to_app, app_to_hub) = wrap_keys(&psk, pairing);
    let receive = Channel::ALL.map(|_| ReceiveId(txn.random()));
    let places = request.mailboxes.iter().zip(&receive);
    let record = PairingRecord {
        state: PairingState::Joined,
        suite: offer.suite,
        own_signature_key: signer.to_public_vec(),
        peer_signature_key,
        peer_device: request.device,
        send_key: hub_to_app,
        receive_key: app_to_hub,
        tag_key: Key::new(txn.random()),
        lines: Line::all(pairing)
            .into_iter()
            .zip(places)
            .map(|(line, (send, receive))| LineRecord {
                channel: line.channel,
                group_id: group_id(line),
                send: *send,
                receive: *receive,
            })
            .collect(),
        relay: offer.relay.clone(),
        paired_unix_s: now_unix_s,
    };
    record.put(txn, pairing)?;
    let mut packages = packages.into_iter();
    let welcomes = for_each_channel(pairing, |line| {
        let package = packages
            .next()
            .ok_or(PairingError::Malformed("a key package is missing"))?;
        txn.birth(Scope::Group(line))?;
        let provider = MlsProvider::new(txn, Scope::Group(line), scope, Ratchet::Store);
        let made = make_group(&provider, &signer, line, offer, &psk, package);
        let (group, welcome) = provider.result(made)?;
        drop(provider);
        check_group(&group, &record, line, "app")?;
        Ok::<_, JournalError>(welcome)
    })?;
    let mut answer = Answer {
        pairing,
        device: offer.hub,
        mailboxes: receive.map(|receive| receive.send_id()),
        welcomes,
        mac: [0; 32],
    };
    answer.mac = mac_bytes(&offer.mac_key(), &answer.parts(&request.mac));
    Ok(answer)
}

/// One group, with the phone added by a Commit that takes the offer's secret in as an external PSK
/// (RFC 9420, section 8.4). The Commit itself goes nowhere: its only receiver joins by the welcome.
fn make_group(
    provider: &MlsProvider<'_, '_>,
    signer: &SignatureKeyPair,
    line: Line,
    offer: &Offer,
    psk: &Key,
    package: KeyPackage,
) -> Result<(MlsGroup, Vec<u8>), String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let mut group = MlsGroup::new_with_group_id(
        provider,
        signer,
        &create_config(offer.suite),
        GroupId::from_slice(&group_id(line)),
        credential("hub", line.pairing, signer),
    )
    .map_err(|e| text(&e))?;
    let psk_name = Psk::External(ExternalPsk::new(offer.offer.0.to_vec()));
    let psk_id = PreSharedKeyId::new(offer.suite.ciphersuite(), provider.rand(), psk_name)
        .map_err(|e| text(&e))?;
    psk_id
        .store(provider, psk.as_slice())
        .map_err(|e| text(&e))?;
    group
        .propose_pre_shared_key(provider, signer, psk_id.clone())
        .map_err(|e| text(&e))?;
    let bundle = group
        .commit_builder()
        .propose_adds([package])
        .load_psks(provider.storage())
        .map_err(|e| text(&e))?
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .map_err(|e| text(&e))?
        .stage_commit(provider)
        .map_err(|e| text(&e))?;
    group.merge_pending_commit(provider).map_err(|e| text(&e))?;
    // OpenMLS never deletes an external PSK.
    openmls_traits::storage::StorageProvider::delete_psk(provider.storage(), psk_id.psk())
        .map_err(|e| text(&e))?;
    let welcome = bundle.into_welcome_msg().ok_or("no welcome was made")?;
    let welcome = welcome.tls_serialize_detached().map_err(|e| text(&e))?;
    Ok((group, welcome))
}

#[cfg(test)]
mod tests;
