//! The phone's side of pairing. It must never answer before its own part is durable.

use openmls::group::{MlsGroup, StagedWelcome};
use openmls::prelude::{KeyPackage, MlsMessageBodyIn, MlsMessageIn};
use openmls::schedule::{ExternalPsk, PreSharedKeyId, Psk};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use serde::{Deserialize, Serialize};
use tls_codec::{Deserialize as _, Serialize as _};
use wal::{Durable, crash_point, mutant};
use wire::ids::{DeviceId, ReceiveId};

use super::{
    Answer, CHANNELS, Confirm, Done, Joined, Offer, PairingError, Request, Requested, capabilities,
    check_group, credential, end_pairing, for_each_channel, group_id, join_config, lifetime,
    mac_bytes, mac_holds, offers, proof, proofs_equal, wrap_keys,
};
use crate::error::JournalError;
use crate::ids::{Channel, Line, OfferId, PairingId};
use crate::journal::Journal;
use crate::keys::Family;
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::outbox;
use crate::passed;
use crate::record::{LineRecord, PairingRecord, PairingState};
use crate::scope::Scope;
use crate::sealed::Key;
use crate::txn::Txn;

/// How long after its offer's time a pairing is kept that this phone has joined and the hub has not
/// confirmed yet, in seconds: the hub may have, and its last word may have been lost.
pub const JOINED_GRACE_S: u64 = 24 * 60 * 60;

/// A request that was sent, as stored in the offer's scope.
#[derive(Clone, Serialize, Deserialize)]
struct RequestRow {
    offer: Offer,
    request: Request,
    /// Where this phone reads, by channel.
    receive: [ReceiveId; CHANNELS],
    own_signature_key: Vec<u8>,
    confirm: Option<Confirm>,
}

/// What the phone has to say next.
#[derive(Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "There is one at a time, and it is sent at once."
)]
pub enum Next {
    /// Send this and wait for an Answer, for [`AppPairing::answer`].
    Request(Requested),
    /// Send this and wait for Done, for [`AppPairing::done`].
    Confirm(Joined),
    /// Nothing: this code was used by this phone, and the pairing is whole.
    Done(PairingId),
}

/// The phone's side of pairing over its journal.
pub struct AppPairing;

impl AppPairing {
    /// Starts a pairing, or goes on with one that was interrupted: what to say next.
    ///
    /// # Errors
    /// [`PairingError::Expired`], or our own storage.
    pub fn start(
        journal: &mut Journal,
        offer: &Offer,
        device: DeviceId,
        now_unix_s: u64,
    ) -> Result<Durable<Next>, JournalError> {
        let scope = Scope::Offer(offer.offer);
        if let Some(row) = request_row(journal, offer)? {
            let offer_of_row = row.offer;
            let next = match row.confirm {
                Some(confirm) => Some(Next::Confirm(Joined {
                    offer: offer_of_row,
                    confirm,
                })),
                None if offer_of_row.is_same(offer) => Some(Next::Request(Requested {
                    offer: offer_of_row,
                    request: row.request,
                })),
                None => None,
            };
            let mut txn = journal.begin();
            if let Some(next) = next {
                return txn.commit(next);
            }
            // The code was misread before: that attempt can come to nothing, and must not stand in
            // the way of the right one.
            txn.end(scope);
            drop(txn.commit(())?);
        }
        for pairing in journal.pairing_ids() {
            let by: Option<OfferId> =
                journal.secret_row(Scope::Pairing(pairing), Family::PairingAnswer, &[])?;
            if by == Some(offer.offer) {
                return journal.begin().commit(Next::Done(pairing));
            }
        }
        if offer.expires_unix_s <= now_unix_s {
            return Err(PairingError::Expired.into());
        }
        let mut txn = journal.begin();
        txn.birth(scope)?;
        let pairing = PairingId(txn.random());
        let suite = offer.suite.ciphersuite();
        let signer = SignatureKeyPair::new(suite.signature_algorithm())
            .map_err(|e| JournalError::Mls(e.to_string()))?;
        let receive = Channel::ALL.map(|_| ReceiveId(txn.random()));
        let nonce = txn.random();
        let provider = MlsProvider::new(&mut txn, scope, scope, Ratchet::Store);
        provider.result(signer.store(provider.storage()))?;
        let key_packages = for_each_channel(pairing, |_| {
            provider.result(make_key_package(&provider, offer, pairing, &signer))
        })?;
        drop(provider);
        let mut request = Request {
            offer: offer.offer,
            pairing,
            nonce,
            device,
            mailboxes: receive.map(|receive| receive.send_id()),
            key_packages,
            mac: [0; 32],
        };
        request.mac = mac_bytes(&offer.mac_key(), &request.parts());
        let row = RequestRow {
            offer: offer.clone(),
            request: request.clone(),
            receive,
            own_signature_key: signer.to_public_vec(),
            confirm: None,
        };
        txn.put_secret_row(scope, Family::Offer, &[], &row)?;
        // CRASH(journal.pairing.app_request): before: nothing of this pairing; the person scans again |
        // after: the request and its secrets are stored.
        crash_point!("journal.pairing.app_request");
        txn.commit(Next::Request(Requested {
            offer: offer.clone(),
            request,
        }))
    }

    /// Takes the hub's answer to what was `asked`: joins, in one transaction.
    ///
    /// # Errors
    /// [`PairingError`] inside [`JournalError::Pairing`] if the hub is at fault; nothing changed.
    pub fn answer(
        journal: &mut Journal,
        asked: &Requested,
        answer: &Answer,
        now_unix_s: u64,
    ) -> Result<Durable<Joined>, JournalError> {
        let offer = &asked.offer;
        let joined = |confirm| Joined {
            offer: offer.clone(),
            confirm,
        };
        // It may have been given up since.
        let mut row =
            request_row(journal, offer)?.ok_or(PairingError::Malformed("nothing was asked"))?;
        if let Some(confirm) = row.confirm {
            return journal.begin().commit(joined(confirm));
        }
        let genuine = mac_holds(
            &offer.mac_key(),
            &answer.parts(&row.request.mac),
            &answer.mac,
        ) && answer.pairing == row.request.pairing;
        if !genuine {
            return Err(PairingError::WrongSecret.into());
        }
        let mut txn = journal.begin();
        let confirm = join(&mut txn, &row, answer, now_unix_s)?;
        mutant!("success_without_proof", "C1", "the app takes its own join for success" => {
            let pairing = row.request.pairing;
            let mut record = txn.pairing_record(Line::of(pairing, Channel::EventVideo))?;
            record.state = PairingState::Confirmed;
            record.put(&mut txn, pairing)?;
            let scope = Scope::Pairing(pairing);
            txn.put_secret_row(scope, Family::PairingAnswer, &[], &offer.offer)?;
            txn.end(Scope::Offer(offer.offer));
            return txn.commit(joined(confirm));
        });
        row.confirm = Some(confirm.clone());
        txn.put_secret_row(Scope::Offer(offer.offer), Family::Offer, &[], &row)?;
        // CRASH(journal.pairing.app_join): before: the request alone; the same one gets the same answer
        // | after: joined, with the proof for the hub stored.
        crash_point!("journal.pairing.app_join");
        txn.commit(joined(confirm))
    }

    /// Takes the hub's last word to who has `joined`: the pairing is confirmed.
    ///
    /// # Errors
    /// [`PairingError::ProofDiffers`], or [`PairingError::Malformed`] if the pairing was given up since, or is of
    /// another journal; nothing changed.
    pub fn done(
        journal: &mut Journal,
        joined: &Joined,
        done: &Done,
    ) -> Result<Durable<PairingId>, JournalError> {
        let offer = &joined.offer;
        let row =
            request_row(journal, offer)?.ok_or(PairingError::Malformed("nothing was asked"))?;
        if row.confirm.is_none() {
            return Err(PairingError::Malformed("this journal has not joined").into());
        }
        let pairing = row.request.pairing;
        let mut txn = journal.begin();
        let mut record = txn.pairing_record(Line::of(pairing, Channel::EventVideo))?;
        let expected = proof(&mut txn, pairing, "hub")?;
        if done.pairing != pairing || !proofs_equal(&expected, &done.proof) {
            return Err(PairingError::ProofDiffers.into());
        }
        record.state = PairingState::Confirmed;
        record.put(&mut txn, pairing)?;
        // A person who scans the same code again is told that it worked.
        txn.put_secret_row(
            Scope::Pairing(pairing),
            Family::PairingAnswer,
            &[],
            &offer.offer,
        )?;
        if !mutant!(
            "offer_keys_stay",
            "S5",
            "a phone that is paired keeps the keys that the welcomes are encrypted to, and the secret of the code"
        ) {
            txn.end(Scope::Offer(offer.offer));
        }
        // CRASH(journal.pairing.app_done): before: joined, not confirmed; the same proof gets the same
        // last word | after: confirmed, and the offer's secrets are past.
        crash_point!("journal.pairing.app_done");
        txn.commit(pairing)
    }

    /// The hub has refused this code, or the pairing was given up: everything that was made for it
    /// dies whole, what was joined and never confirmed included. A pairing that is whole stays.
    ///
    /// # Errors
    /// Our own storage.
    pub fn end(journal: &mut Journal, offer: OfferId) -> Result<Durable<()>, JournalError> {
        let row = row_of(journal, offer)?;
        let mut txn = journal.begin();
        if let Some(row) = row {
            if row.confirm.is_some() {
                end_pairing(&mut txn, row.request.pairing);
            }
            txn.end(Scope::Offer(offer));
        }
        txn.commit(())
    }

    /// Ends the offers whose time is over: what a start does first. One that was joined is kept for
    /// [`JOINED_GRACE_S`] more.
    ///
    /// # Errors
    /// Our own storage.
    pub fn expire(journal: &mut Journal, now_unix_s: u64) -> Result<(), JournalError> {
        for offer in offers(journal) {
            let Some(row) = row_of(journal, offer)? else {
                continue;
            };
            let grace_s = row.confirm.as_ref().map_or(0, |_| JOINED_GRACE_S);
            if row.offer.expires_unix_s.saturating_add(grace_s) <= now_unix_s {
                drop(Self::end(journal, offer)?);
            }
        }
        Ok(())
    }

    /// Forgets a hub: groups, keys, what waits for it and what was known of it end in one transaction; the rows
    /// go by [`crate::Txn::trim_ended`]. Its clips are deleted before, or they would stay under keys that nobody
    /// counts. Every session of its lines must be dropped. False if there is no such pairing: nothing changed.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] while it has clips. Our own storage.
    pub fn forget(journal: &mut Journal, id: PairingId) -> Result<Durable<bool>, JournalError> {
        let is_there = journal.scopes.get(Scope::Pairing(id)).is_some();
        if is_there && !journal.app_clips(id)?.is_empty() {
            return Err(JournalError::Misuse("the clips of a hub go before it"));
        }
        let mut txn = journal.begin();
        if is_there {
            for line in Line::all(id) {
                outbox::end_in_steps(&mut txn, line)?;
            }
            end_pairing(&mut txn, id);
            passed::end_of(&mut txn, id)?;
            // CRASH(journal.pairing.app_forgotten): before: the hub is there, without its clips, and is forgotten
            // again | after: its keys are gone with everything that was known of it, synced as one.
            crash_point!("journal.pairing.app_forgotten");
        }
        txn.commit(is_there)
    }

    /// The offers that this phone holds keys for: those that it is in the middle of.
    pub fn unfinished(journal: &Journal) -> Vec<OfferId> {
        offers(journal)
    }

    /// Whether this phone is in the middle of a pairing by this offer.
    ///
    /// # Errors
    /// Our own storage.
    pub fn is_unfinished(journal: &Journal, offer: &Offer) -> Result<bool, JournalError> {
        Ok(request_row(journal, offer)?.is_some())
    }
}

fn request_row(journal: &Journal, offer: &Offer) -> Result<Option<RequestRow>, JournalError> {
    row_of(journal, offer.offer)
}

fn row_of(journal: &Journal, offer: OfferId) -> Result<Option<RequestRow>, JournalError> {
    let scope = Scope::Offer(offer);
    if journal.scopes.get(scope).is_none() {
        return Ok(None);
    }
    journal.secret_row(scope, Family::Offer, &[])
}

/// A key package, with an init key of its own, in the offer's scope.
fn make_key_package(
    provider: &MlsProvider<'_, '_>,
    offer: &Offer,
    pairing: PairingId,
    signer: &SignatureKeyPair,
) -> Result<Vec<u8>, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let bundle = KeyPackage::builder()
        .key_package_lifetime(lifetime())
        .leaf_node_capabilities(capabilities(offer.suite))
        .build(
            offer.suite.ciphersuite(),
            provider,
            signer,
            credential("app", pairing, signer),
        )
        .map_err(|e| text(&e))?;
    bundle
        .key_package()
        .tls_serialize_detached()
        .map_err(|e| text(&e))
}

/// PSK, welcome and group of each channel, and the end of the PSK: one transaction (scenario 15). The
/// key packages are in the offer's scope, each group in its own.
fn join(
    txn: &mut Txn<'_>,
    row: &RequestRow,
    answer: &Answer,
    now_unix_s: u64,
) -> Result<Confirm, JournalError> {
    if answer.device != row.offer.hub {
        return Err(PairingError::Malformed("another hub answered").into());
    }
    let (offer, pairing) = (&row.offer, row.request.pairing);
    let psk = offer.psk(&row.request.nonce);
    txn.birth(Scope::Pairing(pairing))?;
    let groups = join_groups(txn, row, answer, &psk)?;
    keep_signer(txn, row)?;
    let others = groups.iter().flat_map(|(_, group)| group.members());
    let peer = others
        .map(|member| member.signature_key)
        .find(|key| *key != row.own_signature_key);
    let (hub_to_app, app_to_hub) = wrap_keys(&psk, pairing);
    let places = answer.mailboxes.iter().zip(&row.receive);
    let lines = groups.iter().zip(places);
    let record = PairingRecord {
        state: PairingState::Joined,
        suite: offer.suite,
        own_signature_key: row.own_signature_key.clone(),
        peer_signature_key: peer
            .ok_or(PairingError::Mls("the groups have no other member".into()))?,
        peer_device: offer.hub,
        send_key: app_to_hub,
        receive_key: hub_to_app,
        tag_key: Key::new(txn.random()),
        lines: lines
            .map(|((line, _), (send, receive))| LineRecord {
                channel: line.channel,
                group_id: group_id(*line),
                send: *send,
                receive: *receive,
            })
            .collect(),
        relay: offer.relay.clone(),
        paired_unix_s: now_unix_s,
    };
    // The hub has one signature key in all of them.
    for (line, group) in &groups {
        check_group(group, &record, *line, "hub")?;
    }
    record.put(txn, pairing)?;
    Ok(Confirm {
        offer: offer.offer,
        pairing,
        proof: proof(txn, pairing, "app")?,
    })
}

/// Joins every group by the welcome into it.
fn join_groups(
    txn: &mut Txn<'_>,
    row: &RequestRow,
    answer: &Answer,
    psk: &Key,
) -> Result<[(Line, MlsGroup); CHANNELS], JournalError> {
    let mut welcomes = answer.welcomes.iter();
    for_each_channel(row.request.pairing, |line| {
        txn.birth(Scope::Group(line))?;
        let (group, client) = (Scope::Group(line), Scope::Offer(row.offer.offer));
        let provider = MlsProvider::new(txn, group, client, Ratchet::Store);
        let welcome = welcomes.next().map_or(&[][..], Vec::as_slice);
        let joined = provider.result(join_group(&provider, &row.offer, psk, welcome))?;
        Ok((line, joined))
    })
}

/// The signature key outlives the offer.
fn keep_signer(txn: &mut Txn<'_>, row: &RequestRow) -> Result<(), JournalError> {
    let (offer, pairing) = (row.offer.offer, row.request.pairing);
    let algorithm = row.offer.suite.ciphersuite().signature_algorithm();
    let provider = MlsProvider::new(
        txn,
        Scope::Offer(offer),
        Scope::Offer(offer),
        Ratchet::Store,
    );
    let signer = SignatureKeyPair::read(provider.storage(), &row.own_signature_key, algorithm);
    let signer = provider.result(signer.ok_or("no signature key"))?;
    drop(provider);
    let scope = Scope::Pairing(pairing);
    let provider = MlsProvider::new(txn, scope, scope, Ratchet::Store);
    provider.result(signer.store(provider.storage()))
}

fn join_group(
    provider: &MlsProvider<'_, '_>,
    offer: &Offer,
    psk: &Key,
    welcome: &[u8],
) -> Result<MlsGroup, String> {
    let text = |error: &dyn std::fmt::Display| error.to_string();
    let message = MlsMessageIn::tls_deserialize_exact(welcome).map_err(|e| text(&e))?;
    let MlsMessageBodyIn::Welcome(welcome) = message.extract() else {
        return Err("not a welcome".into());
    };
    let psk_name = Psk::External(ExternalPsk::new(offer.offer.0.to_vec()));
    let psk_id = PreSharedKeyId::new(offer.suite.ciphersuite(), provider.rand(), psk_name)
        .map_err(|e| text(&e))?;
    psk_id
        .store(provider, psk.as_slice())
        .map_err(|e| text(&e))?;
    let staged = StagedWelcome::build_from_welcome(provider, &join_config(), welcome)
        .map_err(|e| text(&e))?
        .skip_lifetime_validation()
        .build()
        .map_err(|e| text(&e))?;
    let group = staged.into_group(provider).map_err(|e| text(&e))?;
    openmls_traits::storage::StorageProvider::delete_psk(provider.storage(), psk_id.psk())
        .map_err(|e| text(&e))?;
    Ok(group)
}
