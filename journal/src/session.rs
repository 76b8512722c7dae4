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

use std::marker::PhantomData;
use std::sync::Arc;

use openmls::group::{MlsGroup, StagedCommit};
use openmls::prelude::{
    ContentType, GroupId, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage,
    Sender,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_traits::OpenMlsProvider;
use openmls_traits::signatures::Signer;
use serde::{Deserialize, Serialize};
use tls_codec::{Deserialize as _, Serialize as _};
use wal::{crash_point, mutant, note_with};
use wire::ids::{Digest, Seq};
use zeroize::Zeroizing;

use crate::clip::OpenClip;
use crate::error::JournalError;
use crate::ids::{ClipId, Epoch, Line};
use crate::inbox::{self, Arrival};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::message::{self, SignedStatement, Statement};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::outbox::{self, Placement, Watermark};
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::txn::{Outcome, Txn};
use crate::wrap::{self, Held, Kind, Place};

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
        /// The clip that was being recorded.
        clip: Option<ClipId>,
    },
    /// Closed: its used-up ratchet is stored and the group's key was rotated with it.
    Finished {
        /// Which epoch.
        epoch: Epoch,
    },
}

impl EpochUse {
    /// The epoch that it is about.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::InUse { epoch, .. } | Self::Finished { epoch } => *epoch,
        }
    }
}

/// One line's group, loaded when first needed.
pub struct Session<R> {
    line: Line,
    handle: Option<Handle>,
    /// The clip being recorded, as the last transaction left it.
    pub(crate) open_clip: Option<OpenClip>,
    /// Where messages are encoded before they are encrypted: wiped when the session goes, and
    /// overwritten by every message until then.
    pub(crate) scratch: Zeroizing<Vec<u8>>,
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
    /// Generation of its next application message (RFC 9420, section 9), for the crash tests.
    generation: u32,
}

/// What an arriving envelope was.
#[derive(Debug)]
pub enum Received {
    /// Taken before; nothing changed.
    Duplicate,
    /// Something is missing before it; nothing changed.
    Gap {
        /// What must come first.
        expected: Seq,
    },
    /// Not made by the other side for this place: nothing changed, ask again on a new connection.
    NotAuthentic,
    /// Authentic, from an epoch that is over; taken, nothing else changed.
    Stale,
    /// Authentic, and against the rules; taken, nothing else changed. The text says which rule.
    Refused(&'static str),
    /// A Commit of the hub was merged.
    NewEpoch(Epoch),
    /// An application message.
    Message(Zeroizing<Vec<u8>>),
    /// A clip that is no more; the cursor passed its envelopes.
    Dropped(Statement),
    /// Authentic, and this follower can follow no more, now or since earlier: where that began is all
    /// that this transaction took. Nothing is taken or sent on the line any more once it is staged.
    LineBroken(LineBreak),
    /// The other side holds what our books do not explain (promise C8), now or since earlier: the
    /// proof of that is all that this transaction took, if it was not there. Nothing is taken or
    /// encrypted on the line any more once it is staged.
    RolledBack(Held),
}

/// A judged envelope and what its wrap said.
#[derive(Debug)]
pub struct Arrived {
    /// What it was.
    pub received: Received,
    /// What the other side held from us when it sent this, which our books explain; `None` if that was
    /// not looked at.
    pub held: Option<Held>,
}

impl<R> Session<R> {
    /// A session of `line`; nothing is loaded yet.
    pub fn new(line: Line) -> Self {
        Self {
            line,
            handle: None,
            open_clip: None,
            scratch: Zeroizing::default(),
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
        self.open_clip = None;
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
        outbox::append(txn, self.line, &record, Kind::Mls, &sealed, placement)
            .inspect_err(|_| self.handle = None)
    }

    /// Judges an envelope that arrived as `seq` and takes it into this transaction. What says
    /// "nothing changed" left the transaction empty.
    ///
    /// # Errors
    /// Only our own storage; whatever the other side or the relay did is in [`Received`].
    pub fn receive(
        &mut self,
        txn: &mut Txn<'_>,
        seq: Seq,
        envelope: &[u8],
        takes: Takes,
    ) -> Result<Arrived, JournalError> {
        let nothing = |received| Arrived {
            received,
            held: None,
        };
        let record = txn.pairing_record(self.line)?;
        let channel = record
            .line(self.line.channel)
            .ok_or(JournalError::NoGroup(self.line))?;
        if let Some(proof) = txn.rollback_proof(self.line)? {
            return Ok(nothing(Received::RolledBack(proof)));
        }
        if let Some(found) = txn.line_break(self.line)? {
            return Ok(nothing(Received::LineBroken(found)));
        }
        let arrival = inbox::arrival(txn, self.line, seq)?;
        if arrival == Arrival::Duplicate {
            return Ok(nothing(Received::Duplicate));
        }
        let mailbox = channel.receive.send_id();
        let place = Place {
            mailbox: &mailbox,
            seq,
        };
        let Some(body) = wrap::unwrap(&record.receive_key, place, envelope) else {
            if arrival == Arrival::Next
                && mutant!(
                    "garbage_moves_the_cursor",
                    "C6",
                    "an envelope that nobody sealed counts as taken"
                )
            {
                let digest = Digest::of(envelope);
                inbox::take(txn, self.line, seq, digest)?;
                note_with!(keys::inbox_head(self.line); "take {} {seq} {}", mailbox.to_text(), digest.to_text());
                return Ok(nothing(Received::Stale));
            }
            return Ok(nothing(Received::NotAuthentic));
        };
        // ORDER: what the other side holds is judged before anything that it says is believed. An
        // older copy of a directory may meet nothing but envelopes behind a gap: those say it too.
        if !txn.outbox_explains(self.line, body.held)?
            && !mutant!(
                "held_not_compared",
                "C8",
                "what the other side says it holds is not compared with our books"
            )
        {
            self.prove_rollback(txn, body.held)?;
            return Ok(nothing(Received::RolledBack(body.held)));
        }
        let digest = Digest::of(envelope);
        let ahead = matches!(arrival, Arrival::AfterGap { .. });
        let arrival = match ahead
            && body.kind == Kind::Mls
            && is_commit(&body.content)
            && mutant!(
                "commit_taken_ahead",
                "C1",
                "a Commit is taken before what lies before it, as from a mailbox of its own"
            ) {
            true => return self.take_ahead(txn, &record, seq, &body, takes),
            false => arrival,
        };
        let received = match (body.kind, arrival) {
            (Kind::Statement, Arrival::AfterGap { expected })
                if mutant!(
                    "statement_behind_its_gap",
                    "C1",
                    "a statement is read in its turn only"
                ) =>
            {
                Received::Gap { expected }
            }
            // Readable ahead of the cursor, because the gap before it is what it explains. It is
            // not sealed by MLS: the keys for its place may be gone.
            (Kind::Statement, arrival) => {
                let expected = match arrival {
                    Arrival::AfterGap { expected } => expected,
                    _ => seq,
                };
                self.take_statement(txn, &record, (seq, digest), expected, &body.content)?
            }
            (_, Arrival::AfterGap { expected }) => Received::Gap { expected },
            (Kind::Mls, _) => {
                let received = self.take_mls(txn, &record, seq, &body.content, takes)?;
                match received {
                    Received::LineBroken(found) => txn.keep_line_break(self.line, found)?,
                    _ => inbox::take(txn, self.line, seq, digest)?,
                }
                received
            }
        };
        if !matches!(received, Received::Gap { .. } | Received::LineBroken(_)) {
            note_with!(keys::inbox_head(self.line); "take {} {seq} {}", mailbox.to_text(), digest.to_text());
        }
        Ok(Arrived {
            received,
            held: Some(body.held),
        })
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

    /// The deliberate bug `commit_taken_ahead`: its effect without the cursor.
    fn take_ahead(
        &mut self,
        txn: &mut Txn<'_>,
        record: &PairingRecord,
        seq: Seq,
        body: &wrap::Body,
        takes: Takes,
    ) -> Result<Arrived, JournalError> {
        let received = match self.take_mls(txn, record, seq, &body.content, takes)? {
            // One that is of a later epoch still waits for its turn.
            Received::Refused(_) | Received::Stale | Received::LineBroken(_) => {
                Received::Gap { expected: seq }
            }
            received => received,
        };
        Ok(Arrived {
            received,
            held: Some(body.held),
        })
    }

    /// Whoever sends a bad one is the hub itself, for the wrap is good. It closes no gap, and is
    /// taken without effect only if nothing is missing before it.
    fn take_statement(
        &mut self,
        txn: &mut Txn<'_>,
        record: &PairingRecord,
        (seq, digest): (Seq, Digest),
        expected: Seq,
        content: &[u8],
    ) -> Result<Received, JournalError> {
        let line = self.line;
        let crypto = Arc::clone(&txn.journal().crypto);
        let genuine = |signed: &SignedStatement| {
            let scheme = record.suite.ciphersuite().signature_algorithm();
            let bytes = signed.statement.signed_bytes().unwrap_or_default();
            let (key, signature) = (&record.peer_signature_key, &signed.signature);
            openmls_traits::crypto::OpenMlsCrypto::verify_signature(
                &*crypto, scheme, &bytes, key, signature,
            )
            .is_ok()
        };
        let fits = |statement: &Statement| {
            statement.channel == line.channel
                && statement.last == seq.0
                && (statement.first..=statement.last).contains(&expected.0)
        };
        let signed = message::decode::<SignedStatement>(content)
            .filter(|signed| fits(&signed.statement) && genuine(signed));
        if signed.is_none() && seq != expected {
            return Ok(Received::Gap { expected });
        }
        inbox::take(txn, line, seq, digest)?;
        Ok(match signed {
            Some(signed) => Received::Dropped(signed.statement),
            None => Received::Refused("a statement that does not fit"),
        })
    }

    fn take_mls(
        &mut self,
        txn: &mut Txn<'_>,
        record: &PairingRecord,
        seq: Seq,
        content: &[u8],
        takes: Takes,
    ) -> Result<Received, JournalError> {
        let Ok(message) = MlsMessageIn::tls_deserialize_exact(content) else {
            return Ok(Received::Refused("not an MLS message"));
        };
        let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
            return Ok(Received::Refused("not a private message"));
        };
        let (group_scope, client_scope) = self.scopes();
        let handle = self.load(txn)?;
        let message = ProtocolMessage::from(message);
        if message.group_id() != handle.group.group_id() {
            return Ok(Received::Refused("another group's message"));
        }
        let epoch = handle.group.epoch();
        if message.epoch() < epoch {
            mutant!("stale_reloads_handle", "C3", "a stale envelope makes the hub load the group again and go on in its epoch" => {
                if takes == Takes::Messages {
                    let mut reloaded = self.read_handle(txn)?;
                    reloaded.opened = Some(Epoch(epoch.as_u64()));
                    self.handle = Some(reloaded);
                }
            });
            return Ok(Received::Stale);
        }
        // The hub is the only one that opens epochs; a follower that misses one cannot go on.
        let broken = |handle: &Handle, theirs: u64| {
            Received::LineBroken(LineBreak {
                seq,
                ours: Epoch(handle.group.epoch().as_u64()),
                theirs: Epoch(theirs),
            })
        };
        let theirs = message.epoch().as_u64();
        if message.epoch() > epoch {
            return Ok(match takes {
                Takes::Messages => Received::Refused("an epoch that we have not seen"),
                Takes::MessagesAndCommits => broken(handle, theirs),
            });
        }
        let is_commit = matches!(message.content_type(), ContentType::Commit);
        let wanted = match takes {
            Takes::Messages => matches!(message.content_type(), ContentType::Application),
            Takes::MessagesAndCommits => {
                matches!(
                    message.content_type(),
                    ContentType::Application | ContentType::Commit
                )
            }
        };
        if !wanted {
            return Ok(Received::Refused(
                "a kind of MLS message that this side never takes",
            ));
        }
        let before = handle.touched.replace(txn.outcome().clone());
        let unspoilt = txn.secrets_so_far();
        let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
        let processed = handle.group.process_message(&provider, message);
        let untouched = provider.writes() == 0;
        let processed = match provider.result(processed) {
            Ok(processed) => processed,
            // OpenMLS verifies before it writes: nothing was written, so memory is as it was and
            // the handle keeps its epoch.
            Err(JournalError::Mls(_)) if untouched => {
                handle.touched = before;
                return Ok(match is_commit {
                    true => broken(handle, theirs),
                    false => Received::Refused("MLS did not accept it"),
                });
            }
            Err(JournalError::Mls(_)) if is_commit => {
                drop(provider);
                let found = broken(handle, theirs);
                self.handle = None;
                txn.restore_secrets(unspoilt);
                return Ok(found);
            }
            Err(error) => {
                self.handle = None;
                return Err(error);
            }
        };
        let from_peer = matches!(processed.sender(), Sender::Member(leaf)
            if handle.group.member_at(*leaf).is_some_and(|m| m.signature_key == record.peer_signature_key));
        let in_place = processed.aad() == aad(seq);
        let received = match processed.into_content() {
            ProcessedMessageContent::StagedCommitMessage(staged)
                if !(from_peer && in_place && is_plain(&staged)) =>
            {
                // What OpenMLS wrote for a Commit that is not merged must never become durable: the
                // group stays as it was before.
                drop(provider);
                let found = broken(handle, theirs);
                self.handle = None;
                txn.restore_secrets(unspoilt);
                found
            }
            _ if !from_peer || !in_place => {
                Received::Refused("a message of another sender or place")
            }
            ProcessedMessageContent::ApplicationMessage(plaintext) => {
                Received::Message(Zeroizing::new(plaintext.into_bytes()))
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                let merged = handle.group.merge_staged_commit(&provider, *staged);
                let merged = provider.result(merged).inspect_err(|_| self.handle = None);
                merged?;
                let line = self.line;
                let handle = self.handle.as_mut().ok_or(JournalError::NoGroup(line))?;
                handle.generation = 0;
                note_with!(
                    keys::secret(group_scope, Family::Context, &[]);
                    "epoch {}", notes::epoch(&handle.group, provider.crypto())
                );
                note_with!(
                    keys::inbox_head(line);
                    "follow {}", notes::epoch(&handle.group, provider.crypto())
                );
                Received::NewEpoch(Epoch(handle.group.epoch().as_u64()))
            }
            _ => Received::Refused("a kind of MLS message that this side never takes"),
        };
        Ok(received)
    }
}

/// Which MLS messages a side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// The hub: application messages. Nobody else commits.
    Messages,
    /// The app.
    MessagesAndCommits,
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
        note_with!(
            keys::outbox(line, seq);
            "place {seq} {} handshake 0", notes::sender(&handle.group)
        );
        let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
        let commit = commit_and_merge(&provider, handle);
        let commit = provider
            .result(commit)
            .inspect_err(|_| self.handle = None)?;
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
        if !mutant!(
            "key_not_rotated",
            "S3",
            "a finished clip's storage key stays"
        ) {
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

    /// Takes what the app sent: an ack moves the watermark of our outbox.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn take_ack(&mut self, txn: &mut Txn<'_>, through: Seq) -> Result<AckEffect, JournalError> {
        Ok(match outbox::acked(txn, self.line, through)? {
            Watermark::Moved => AckEffect::Moved,
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
    /// [`JournalError::RolledBack`] or [`JournalError::LineBroken`] once that is so. Storage, or MLS; the handle is lost, the
    /// transaction must be dropped.
    pub(crate) fn send(
        &mut self,
        txn: &mut Txn<'_>,
        plaintext: &[u8],
    ) -> Result<Seq, JournalError> {
        self.check_not_rolled_back(txn)?;
        if txn.line_break(self.line)?.is_some() {
            return Err(JournalError::LineBroken(self.line));
        }
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

/// Whether an MLS message is a Commit.
fn is_commit(content: &[u8]) -> bool {
    let message = MlsMessageIn::tls_deserialize_exact(content);
    match message.map(MlsMessageIn::extract) {
        Ok(MlsMessageBodyIn::PrivateMessage(message)) => {
            ProtocolMessage::from(message).content_type() == ContentType::Commit
        }
        _ => false,
    }
}

/// The sequence number inside the authenticated data of every MLS message.
fn aad(seq: Seq) -> Vec<u8> {
    seq.0.to_be_bytes().to_vec()
}

/// Whether a Commit leaves the members as they are. An update in it can only be our own: nobody else
/// is there to propose one.
fn is_plain(staged: &StagedCommit) -> bool {
    staged.add_proposals().next().is_none()
        && staged.remove_proposals().next().is_none()
        && staged.psk_proposals().next().is_none()
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
pub(crate) mod notes;

pub use broken::LineBreak;

#[cfg(test)]
mod tests;
