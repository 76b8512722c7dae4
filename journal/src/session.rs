//! One MLS group in memory: open an epoch, seal, open, finish; each inside a transaction.
//!
//! The rules that this room keeps (DESIGN section 4):
//! - The hub is the only committer, by type: [`Session<Follower>`] has no `advance_epoch`.
//! - The right to encrypt in an epoch belongs to the handle that opened it. After a restart, a
//!   dropped transaction or a poisoned journal the group is loaded again and the next message is a
//!   Commit. A follower, which cannot commit, stores its ratchet with everything it sends instead.
//! - What arrives is judged by `Seq`, then by the wrap, then by the MLS header, before OpenMLS sees
//!   it; an error that wrote nothing costs nothing (scenario 12).
//!
//! The app role cannot commit:
//!
//! ```compile_fail,E0599
//! fn fork(session: &mut journal::Session<journal::Follower>, txn: &mut journal::Txn<'_>) {
//!     let _ = session.advance_epoch(txn);
//! }
//! ```
//!
//! The hub's can, by the same words:
//!
//! ```
//! fn advance(session: &mut journal::Session<journal::Committer>, txn: &mut journal::Txn<'_>) {
//!     let _ = session.advance_epoch(txn);
//! }
//! ```

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use openmls::group::MlsGroup;
use openmls::prelude::GroupId;
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::Signer;
use serde::{Deserialize, Serialize};
use tls_codec::Serialize as _;
use wal::{crash_point, mutant, note_with};
use wire::ids::Seq;
use zeroize::Zeroizing;

use crate::clip::OpenClip;
use crate::command;
use crate::error::{ErrorKind, JournalError};
use crate::ids::{Channel, ClipId, Epoch, Line};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::live::{OpenLive, Watched};
use crate::message::{self, SignedStatement, Statement};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::outbox::{self, Placement, Watermark};
use crate::record::PairingRecord;
use crate::retain;
use crate::scope::Scope;
use crate::txn::{Outcome, Txn};
use crate::wrap::{Held, Kind};

/// The hub's role in a group: it alone commits.
#[derive(Debug)]
pub enum Committer {}

/// The app's role in a group: it follows.
#[derive(Debug)]
pub enum Follower {}

/// What became of the current epoch (hub).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum EpochUse {
    /// Something was encrypted in it and no rotation has closed it: a start owes a closing Commit.
    InUse {
        /// Which epoch.
        epoch: Epoch,
        /// The clip that was being recorded; of several, the one that made the last Commit.
        clip: Option<ClipId>,
    },
    /// Closed: its used-up ratchet is stored and the group's key was rotated with it.
    Finished {
        /// Which epoch.
        epoch: Epoch,
    },
    /// Closed, and a message of the phone was opened in it since: a rotation of the group's key is owed, by whoever
    /// owns the journal. An opening, which rotates every group, settles it.
    Stirred {
        /// Which epoch.
        epoch: Epoch,
    },
}

impl EpochUse {
    /// The epoch that it is about.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::InUse { epoch, .. } | Self::Finished { epoch } | Self::Stirred { epoch } => {
                *epoch
            }
        }
    }
}

/// One line's group, loaded when first needed.
pub struct Session<R> {
    line: Line,
    handle: Option<Handle>,
    /// The clips being recorded, as the last transactions left them.
    pub(crate) open_clips: BTreeMap<ClipId, OpenClip>,
    /// The live session under way (hub).
    pub(crate) live: Option<OpenLive>,
    /// What this process watches (app).
    pub(crate) watched: Option<Watched>,
    /// Where messages are encoded before they are encrypted: wiped when the session goes, and
    /// overwritten by every message until then.
    pub(crate) scratch: Zeroizing<Vec<u8>>,
    /// Whether a copy is kept of clips that begin (hub).
    pub(crate) retains: bool,
    role: PhantomData<fn() -> R>,
}

struct Handle {
    group: MlsGroup,
    signer: SignatureKeyPair,
    /// Written once, when the pairing was made.
    record: Arc<PairingRecord>,
    /// The last transaction that moved this handle's memory. Unless it was staged, memory is ahead
    /// of storage and the handle is worthless.
    touched: Option<Outcome>,
    /// The epoch that this handle opened and may encrypt in.
    opened: Option<Epoch>,
    /// The number of the last envelope that it made, covers not counted, and of the one before that; none if it
    /// made none.
    said: Seq,
    said_before: Seq,
    /// Generation of its next application message (RFC 9420, section 9), for the crash tests.
    generation: u32,
}

impl<R> Session<R> {
    /// A session of `line`; nothing is loaded yet.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            handle: None,
            open_clips: BTreeMap::new(),
            live: None,
            watched: None,
            scratch: Zeroizing::default(),
            retains: false,
            role: PhantomData,
        }
    }

    /// Which line.
    pub fn line(&self) -> Line {
        self.line
    }

    /// The current epoch.
    ///
    /// # Errors
    /// If the group cannot be loaded.
    pub fn epoch(&mut self, txn: &mut Txn<'_>) -> Result<Epoch, JournalError> {
        Ok(Epoch(self.load(txn)?.group.epoch().as_u64()))
    }

    /// A 32-byte value that two ends share if and only if they are in the same epoch of the same
    /// group (RFC 9420, section 8.5). For comparing ends, never for keys.
    ///
    /// # Errors
    /// If the group cannot be loaded.
    pub fn exporter(&mut self, txn: &mut Txn<'_>) -> Result<Vec<u8>, JournalError> {
        let crypto = Arc::clone(&txn.journal().crypto);
        let handle = self.load(txn)?;
        handle
            .group
            .export_secret(&*crypto, "secluso compare ends", &[], 32)
            .map_err(|error| JournalError::Mls(error.to_string()))
    }

    /// Forgets all that is in memory: the next use loads the group, and a hub's next message is a
    /// Commit. To be called when the journal was opened again: what was staged before may be lost.
    pub fn forget(&mut self) {
        self.handle = None;
        self.open_clips.clear();
        self.live = None;
        self.watched = None;
    }

    fn scopes(&self) -> (Scope, Scope) {
        (Scope::Group(self.line), Scope::Pairing(self.line.pairing))
    }

    /// The handle, loaded if need be, bound to this transaction.
    fn load(&mut self, txn: &mut Txn<'_>) -> Result<&mut Handle, JournalError> {
        let valid = self.handle.as_ref().is_some_and(|handle| {
            let touched = handle.touched.as_ref();
            touched.is_none_or(|outcome| outcome.is_staged() || outcome.same(txn.outcome()))
        });
        if !valid {
            self.handle = Some(self.read_handle(txn)?);
        }
        self.handle.as_mut().ok_or(JournalError::NoGroup(self.line))
    }

    fn read_handle(&self, txn: &mut Txn<'_>) -> Result<Handle, JournalError> {
        let line = self.line;
        let record = txn.pairing_record(line)?;
        let channel = record
            .line(line.channel)
            .ok_or(JournalError::NoGroup(line))?;
        let (group_scope, client_scope) = self.scopes();
        let suite = record.suite.ciphersuite();
        let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
        let group = MlsGroup::load(provider.storage(), &GroupId::from_slice(&channel.group_id));
        let group = provider.result(group)?.ok_or(JournalError::NoGroup(line))?;
        let signer = SignatureKeyPair::read(
            provider.storage(),
            &record.own_signature_key,
            suite.signature_algorithm(),
        );
        let signer = provider.result(signer.ok_or("no signature key"))?;
        // A Commit is made, merged and queued in one transaction, so none can be pending here.
        if group.pending_commit().is_some() {
            return Err(JournalError::GroupNotWhole {
                line,
                what: "a Commit is pending",
            });
        }
        let epoch = Epoch(group.epoch().as_u64());
        let opened = old_epochs_are_good().then_some(epoch);
        Ok(Handle {
            generation: if wal::note::wanted() {
                notes::stored_generation(txn, group_scope, &group)
            } else {
                0
            },
            group,
            signer,
            record: Arc::new(record),
            touched: None,
            opened,
            said: Seq::NONE,
            said_before: Seq::NONE,
        })
    }

    /// Encrypts `plaintext` as the next message and puts it into the outbox.
    fn encrypt(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
        ratchet: Ratchet,
        placement: Placement,
    ) -> Result<Seq, JournalError> {
        let line = self.line;
        let seq = outbox::upcoming(txn, line)?;
        let (group_scope, client_scope) = self.scopes();
        let handle = self.load(txn)?;
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.group.set_aad(aad(seq));
        note_with!(
            keys::outbox(line, seq);
            "place {seq} {} application {}", notes::sender(&handle.group), handle.generation
        );
        handle.generation += 1;
        let provider = MlsProvider::new(txn, group_scope, client_scope, ratchet);
        let sealed = handle
            .group
            .create_message(&provider, &handle.signer, plaintext);
        let sealed = provider.result(sealed).and_then(|message| {
            let bytes = message.tls_serialize_detached();
            bytes.map_err(|error| JournalError::Mls(error.to_string()))
        });
        // Memory moved before storage: whatever failed, this handle is behind or ahead.
        let sealed = sealed.inspect_err(|_| self.handle = None)?;
        let seq = outbox::append(txn, self.line, &record, Kind::Mls, &sealed, placement)
            .inspect_err(|_| self.handle = None)?;
        self.has_said(seq);
        Ok(seq)
    }

    /// This handle has put an envelope into the outbox.
    fn has_said(&mut self, seq: Seq) {
        if let Some(handle) = &mut self.handle {
            handle.said_before = handle.said;
            handle.said = seq;
        }
    }

    /// Remembers that the other side holds `held`, which our books do not explain, and gives up the
    /// right to encrypt: neither end could follow the other any more.
    ///
    /// # Errors
    /// None that storage could cause.
    pub fn prove_rollback(&mut self, txn: &mut Txn<'_>, held: Held) -> Result<(), JournalError> {
        self.handle = None;
        txn.keep_rollback_proof(self.line, held)
    }

    /// Refuses on a line whose rollback is proved.
    fn check_not_rolled_back(&self, txn: &Txn<'_>) -> Result<(), JournalError> {
        match txn.rollback_proof(self.line)? {
            Some(_) => Err(JournalError::RolledBack(self.line)),
            None => Ok(()),
        }
    }
}

impl Session<Committer> {
    /// Makes and merges a Commit and puts it into the outbox: a new epoch, in which this handle may
    /// encrypt. Takes every queued proposal with it.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] once that is proved. Storage, or MLS; the handle is lost, the
    /// transaction must be dropped.
    pub fn advance_epoch(&mut self, txn: &mut Txn<'_>) -> Result<Epoch, JournalError> {
        self.check_not_rolled_back(txn)?;
        mutant!("new_commit_after_restart", "C1", "a start forgets what is un-acked and commits anew" => {
            if self.load(txn)?.touched.is_none() {
                outbox::forget_unacked(txn, self.line)?;
            }
        });
        let line = self.line;
        let seq = outbox::upcoming(txn, line)?;
        let (group_scope, client_scope) = self.scopes();
        let handle = self.load(txn)?;
        let record = Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.opened = None;
        handle.group.set_aad(aad(seq));
        let sender = match wal::note::wanted() {
            true => notes::sender(&handle.group),
            false => String::new(),
        };
        let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
        let commit = commit_and_merge(&provider, handle);
        let commit = provider
            .result(commit)
            .inspect_err(|_| self.handle = None)?;
        // One that was not made has no place: whoever proposed what cannot be committed gets another.
        note_with!(keys::outbox(line, seq); "place {seq} {sender} handshake 0");
        outbox::append(
            txn,
            self.line,
            &record,
            Kind::Mls,
            &commit,
            Placement::Inline,
        )
        .inspect_err(|_| self.handle = None)?;
        let handle = self
            .handle
            .as_mut()
            .ok_or(JournalError::NoGroup(self.line))?;
        handle.generation = 0;
        let crypto = Arc::clone(&txn.journal().crypto);
        let key = keys::secret(group_scope, Family::Context, &[]);
        note_with!(key; "epoch {}", notes::epoch(&handle.group, &crypto));
        note_with!(
            keys::outbox(self.line, seq);
            "commit {}", notes::epoch(&handle.group, &crypto)
        );
        let epoch = Epoch(handle.group.epoch().as_u64());
        handle.opened = Some(epoch);
        self.has_said(seq);
        let used = EpochUse::InUse { epoch, clip: None };
        txn.put_row(&keys::epoch_use(self.line), &used)?;
        // CRASH(journal.session.commit_staged): before: the old epoch; Commit, merge and outbox row are
        // in the overlay only | after: the new epoch and its Commit in the outbox, synced as one.
        crash_point!("journal.session.commit_staged");
        Ok(epoch)
    }

    /// Whether this handle may encrypt in the current epoch.
    pub fn may_encrypt(&self, txn: &Txn<'_>) -> bool {
        self.handle.as_ref().is_some_and(|handle| {
            let touched = handle.touched.as_ref();
            let current =
                touched.is_none_or(|outcome| outcome.is_staged() || outcome.same(txn.outcome()));
            current && handle.opened == Some(Epoch(handle.group.epoch().as_u64()))
        })
    }

    /// The number of the envelope that this handle made before its last one, covers not counted; none if it made
    /// none.
    pub(crate) fn said_before(&self) -> Seq {
        self.handle
            .as_ref()
            .map_or(Seq::NONE, |handle| handle.said_before)
    }

    /// Notes which clip the open epoch carries, so that a start can say what was cut off.
    pub(crate) fn carries(&mut self, txn: &mut Txn<'_>, clip: ClipId) -> Result<(), JournalError> {
        let epoch = self.epoch(txn)?;
        let used = EpochUse::InUse {
            epoch,
            clip: Some(clip),
        };
        txn.put_row(&keys::epoch_use(self.line), &used)
    }

    /// Seals one message into the outbox. The ratchet stays in memory (see the module's rules).
    ///
    /// # Errors
    /// [`JournalError::NoRightToEncrypt`] unless this handle opened the current epoch.
    pub(crate) fn seal(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
        placement: Placement,
    ) -> Result<Seq, JournalError> {
        if !self.may_encrypt(txn) {
            return Err(JournalError::NoRightToEncrypt(self.line));
        }
        self.encrypt(txn, plaintext, Ratchet::Discard, placement)
    }

    /// Seals the last message of the epoch: its used-up ratchet and the rotation of the group's key
    /// are in the same transaction, so that an idle hub holds nothing that opens what is finished.
    pub(crate) fn finish(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
    ) -> Result<Seq, JournalError> {
        if !self.may_encrypt(txn) {
            return Err(JournalError::NoRightToEncrypt(self.line));
        }
        let seq = self.encrypt(txn, plaintext, Ratchet::Store, Placement::Inline)?;
        let handle = self
            .handle
            .as_mut()
            .ok_or(JournalError::NoGroup(self.line))?;
        handle.opened = None;
        let epoch = Epoch(handle.group.epoch().as_u64());
        txn.put_row(&keys::epoch_use(self.line), &EpochUse::Finished { epoch })?;
        let key_stays = mutant!(
            "key_not_rotated",
            "S3",
            "a finished clip's storage key stays"
        ) || (!self.open_clips.is_empty()
            && mutant!(
                "key_stays_beside_a_clip",
                "S3",
                "a finished clip's storage key stays while another camera's clip goes on in its line"
            ));
        if !key_stays {
            txn.rotate(Scope::Group(self.line));
        }
        // CRASH(journal.session.finish_staged): before: a clip without its trailer, which the next
        // start cuts off | after: trailer, ratchet and rotation are synced as one.
        crash_point!("journal.session.finish_staged");
        Ok(seq)
    }

    /// Closes an open epoch in which there is nothing left to say.
    pub(crate) fn finish_empty(&mut self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        let epoch = self.epoch(txn)?;
        if let Some(handle) = self.handle.as_mut() {
            handle.opened = None;
        }
        txn.put_row(&keys::epoch_use(self.line), &EpochUse::Finished { epoch })?;
        txn.rotate(Scope::Group(self.line));
        Ok(())
    }

    /// A statement with our signature, ready for [`outbox::replace`].
    pub(crate) fn sign_statement(
        &mut self,
        txn: &mut Txn<'_>,
        statement: &Statement,
    ) -> Result<Vec<u8>, JournalError> {
        let handle = self.load(txn)?;
        let bytes = statement
            .signed_bytes()
            .ok_or(JournalError::Misuse("our own statements must encode"))?;
        let signature = handle.signer.sign(&bytes);
        let signature = signature.map_err(|error| JournalError::Mls(format!("{error:?}")))?;
        message::encode(&SignedStatement {
            statement: statement.clone(),
            signature,
        })
        .ok_or(JournalError::Misuse("our own statements must encode"))
    }

    /// Takes what the app sent: an ack moves the watermark of our outbox, and in the config channel ends the
    /// memory of the outcomes that it covers.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn take_ack(&mut self, txn: &mut Txn<'_>, through: Seq) -> Result<AckEffect, JournalError> {
        Ok(match outbox::acked(txn, self.line, through)? {
            Watermark::Moved => {
                match self.line.channel {
                    Channel::EventVideo => {
                        // Those that are too many for this transaction go in later ones.
                        let _some = retain::acked(txn, self.line, through)?;
                    }
                    Channel::Config => command::forget_outcomes(txn, self.line.pairing, through)?,
                    Channel::Thumbnail | Channel::Livestream | Channel::Notification => {}
                }
                AckEffect::Moved
            }
            Watermark::Unmoved => AckEffect::Unmoved,
            Watermark::BeyondOurHead => AckEffect::BeyondOurHead,
        })
    }
}

/// What an ack did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AckEffect {
    /// Rows were freed.
    Moved,
    /// It was older than what we know.
    Unmoved,
    /// The app holds what this journal never made: this directory is older than what left it.
    BeyondOurHead,
}

impl Session<Follower> {
    /// Seals one message into the outbox; the ratchet goes into the same transaction.
    ///
    /// # Errors
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`] once that is so, and
    /// [`JournalError::AwaitsCommit`] while that is so: nothing was changed. Storage, or MLS; the
    /// handle is lost, the transaction must be dropped.
    pub(crate) fn send(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
    ) -> Result<Seq, JournalError> {
        self.check_may_send(txn)?;
        let ratchet = match mutant!(
            "ratchet_not_stored",
            "C3",
            "an ack's ratchet stays in memory"
        ) {
            true => Ratchet::Discard,
            false => Ratchet::Store,
        };
        self.encrypt(txn, plaintext, ratchet, Placement::Inline)
    }

    /// Frees what the hub says it holds. It is in the wrap of every message of the hub, so a
    /// follower needs no other ack.
    pub(crate) fn peer_holds(&mut self, txn: &mut Txn<'_>, held: Held) -> Result<(), JournalError> {
        outbox::acked(txn, self.line, held.seq)?;
        Ok(())
    }

    /// Asks that the group's key be rotated: at the end of a sync.
    pub fn rotate(&mut self, txn: &mut Txn<'_>) {
        if !mutant!(
            "past_epochs_kept",
            "S5",
            "the end of a sync leaves the key that past epochs lie under"
        ) {
            txn.rotate(Scope::Group(self.line));
        }
    }

    /// The same where nobody comes by again, because the line is over, or where it must not fail, because a clip is
    /// deleted. A group of which a value does not open cannot be rotated: it dies instead, and its line needs it no more.
    /// Does nothing if it is dead.
    ///
    /// # Errors
    /// Only if the view cannot be read.
    pub fn rotate_for_good(&mut self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        let scope = Scope::Group(self.line);
        if !txn.journal().has_group(self.line) {
            return Ok(());
        }
        match txn.secrets(scope, &keys::secret_prefix(scope)) {
            Ok(_) => self.rotate(txn),
            Err(error) if error.kind() == ErrorKind::Corrupt => {
                tracing::error!(%error, "a damaged group dies with its line");
                self.forget();
                txn.end(scope);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Journal {
    /// What became of the current epoch of a line (hub).
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn epoch_use(&self, line: Line) -> Result<Option<EpochUse>, JournalError> {
        self.row(&keys::epoch_use(line))
    }
}

/// The deliberate bug that the right to encrypt comes with the group, not with the handle.
pub(crate) fn old_epochs_are_good() -> bool {
    mutant!(
        "old_epoch_encrypted_in",
        "C3",
        "an epoch from before the restart is encrypted in"
    )
}

/// The sequence number inside the authenticated data of every MLS message.
fn aad(seq: Seq) -> Vec<u8> {
    seq.0.to_be_bytes().to_vec()
}

/// `self_update` without the GroupInfo that nobody needs, and its merge.
fn commit_and_merge(
    provider: &MlsProvider<'_, '_>,
    handle: &mut Handle,
) -> Result<Vec<u8>, String> {
    let Handle { group, signer, .. } = handle;
    let bundle = group
        .commit_builder()
        .force_self_update(true)
        .load_psks(provider.storage())
        .map_err(|error| error.to_string())?
        .create_group_info(false)
        .build(provider.rand(), provider.crypto(), signer, |_| true)
        .map_err(|error| error.to_string())?
        .stage_commit(provider)
        .map_err(|error| error.to_string())?;
    let commit = bundle.into_commit();
    let bytes = commit
        .tls_serialize_detached()
        .map_err(|error| error.to_string())?;
    group
        .merge_pending_commit(provider)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

mod broken;
mod cover;
mod heal;
pub(crate) mod live;
pub(crate) mod notes;
mod receive;
mod stirred;

pub use broken::LineBreak;
pub use receive::{Arrived, Received, Takes};
pub use stirred::Rotation;

#[cfg(test)]
mod tests;
