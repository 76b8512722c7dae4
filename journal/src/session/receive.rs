//! What arrives, judged and taken: by `Seq`, then by the wrap, then by the MLS header, and only then by
//! OpenMLS (scenario 12).
//!
//! This room must never let bytes from outside cost the handle its epoch, and never believe anything that
//! an envelope says before what the other side holds of ours is explained (promise C8).

use std::sync::Arc;

use openmls::group::{MlsGroup, StagedCommit};
use openmls::prelude::{
    ContentType, LeafNode, LeafNodeIndex, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent,
    Proposal, ProtocolMessage, QueuedProposal, Sender,
};
use openmls_traits::OpenMlsProvider;
use tls_codec::{Deserialize as _, Size as _};
use wal::{mutant, note_with};
use wire::ids::{Digest, Seq};
use wire::limits::{ENVELOPE_BYTES_MAX, SMALL_ENVELOPE_BYTES_MAX};
use zeroize::Zeroizing;

use super::{Committer, Follower, Handle, LineBreak, Session, aad, heal, notes};
use crate::error::JournalError;
use crate::ids::Epoch;
use crate::inbox::{self, Arrival};
use crate::keys::{self, Family};
use crate::message::{self, CHUNK_BYTES_MAX, SignedStatement, Statement};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::record::PairingRecord;
use crate::txn::{Secrets, Txn};
use crate::wrap::{self, Held, Kind, Place};

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
    /// A proposal of the current epoch that is against the rules or cannot be committed (hub); the text says
    /// why. Whoever proposes is mute until a Commit, so one that takes nothing is in the outbox, in this
    /// transaction, and its epoch is closed unless a clip goes on in it.
    NotHealed(&'static str),
    /// A proposal, and this side takes none now ([`Takes::Messages`]): nothing changed, ask for it again.
    Waits,
    /// A Commit of the hub was merged (app).
    NewEpoch(Epoch),
    /// An update of the app's keys was taken by a Commit, which opened this epoch: whoever had a copy
    /// of the app's keys is shut out. At the hub that Commit is in the outbox, in this transaction; at
    /// the app it was merged.
    Healed(Epoch),
    /// An application message.
    Message(Zeroizing<Vec<u8>>),
    /// An envelope in which there is nothing; taken, nothing else changed.
    Cover,
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

/// Which MLS messages a side takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    /// The hub when it has no room for an epoch: application messages alone. A proposal waits, and so does what
    /// the hub would have to answer: it drops the transaction.
    Messages,
    /// The hub: an update that the app proposes is taken at once, by a Commit in the same transaction.
    /// Have the room of an epoch admitted first. Nobody else commits.
    MessagesAndProposals,
    /// The app. A hub alone says what is gone, so its statements are taken too.
    MessagesAndCommits,
}

/// Longest MLS message of any kind, in bytes: that of a full chunk, and what fits beside it in the class of its
/// envelope. A longer one is not decoded.
pub(super) const MLS_BYTES_MAX: usize = wrap::size_class(CHUNK_BYTES_MAX) - wrap::OVERHEAD_BYTES;
/// Longest MLS message of a phone that is not a proposal, in bytes. What a phone says is short: its longest, a
/// command, has less than 1 KiB.
pub(super) const PHONE_SAYS_BYTES_MAX: usize = 8 * 1024;
/// Longest MLS message that may hold a proposal, in bytes; an update with X-Wing has 1,482. What a
/// member's leaf carries, every Commit's tree keeps.
pub(super) const PROPOSAL_BYTES_MAX: usize = 4096;
/// Longest MLS message that may hold a Commit, in bytes: the path of a group of two, with keys of X-Wing and with
/// an update of the other member, has less than 8 KiB. It is no larger than what a small envelope holds.
pub(super) const COMMIT_BYTES_MAX: usize = 12 * 1024;
/// Longest statement with its signature, in bytes; one has about 120.
const STATEMENT_BYTES_MAX: usize = 512;

// Who sends what is here is sure that it is taken.
const _: () = {
    assert!(MLS_BYTES_MAX + wrap::OVERHEAD_BYTES <= ENVELOPE_BYTES_MAX);
    assert!(COMMIT_BYTES_MAX + wrap::OVERHEAD_BYTES <= SMALL_ENVELOPE_BYTES_MAX);
    assert!(PROPOSAL_BYTES_MAX <= PHONE_SAYS_BYTES_MAX);
};

/// What a side does with a proposal that was accepted so far.
type OnProposal<R> = fn(&mut Session<R>, &mut Txn<'_>, Proposed) -> Result<Received, JournalError>;

/// What a side does for whoever made a proposal that was refused.
type OnRefusal<R> = fn(&mut Session<R>, &mut Txn<'_>) -> Result<(), JournalError>;

/// What one side takes, and what it does with proposals.
struct Side<R> {
    takes: Takes,
    on_proposal: OnProposal<R>,
    on_refusal: OnRefusal<R>,
}

/// A proposal of the other side, authentic and in its place.
pub(super) struct Proposed {
    pub(super) proposal: QueuedProposal,
    /// Where it stood.
    pub(super) seq: Seq,
    /// Digest of its envelope.
    pub(super) digest: Digest,
    /// The secret values of the transaction as they were before OpenMLS saw it.
    pub(super) before: Secrets,
}

impl Session<Committer> {
    /// Judges an envelope that arrived as `seq` and takes it into this transaction. What says
    /// "nothing changed" left the transaction empty.
    ///
    /// An update that the app proposes is committed at once, because a stored proposal would block
    /// every message. A clip being recorded goes on in the new epoch; otherwise the epoch is closed
    /// and the group's key rotated, except in the config channel, where [`Session::answer`] or
    /// [`Session::close`] must follow a [`Received::Healed`] in the same transaction. A message that was opened in an
    /// epoch that is not in use leaves a rotation owed ([`Session::rotate_stirred`]).
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
        let side = Side {
            takes,
            on_proposal: heal::commit_to,
            on_refusal: heal::free,
        };
        let arrived = self.judge(txn, seq, envelope, &side)?;
        if matches!(
            arrived.received,
            Received::Message(_) | Received::Refused(_)
        ) {
            self.stir(txn)?;
        }
        Ok(arrived)
    }
}

impl Session<Follower> {
    /// Judges an envelope of the hub and takes it into this transaction. What says "nothing changed"
    /// left the transaction empty.
    ///
    /// # Errors
    /// Only our own storage; whatever the other side or the relay did is in [`Received`].
    pub(crate) fn receive(
        &mut self,
        txn: &mut Txn<'_>,
        seq: Seq,
        envelope: &[u8],
    ) -> Result<Arrived, JournalError> {
        let side = Side {
            takes: Takes::MessagesAndCommits,
            on_proposal: |_, _, _| Ok(Received::Refused("a proposal to one that never commits")),
            on_refusal: |_, _| Ok(()),
        };
        self.judge(txn, seq, envelope, &side)
    }
}

impl<R> Session<R> {
    fn judge(
        &mut self,
        txn: &mut Txn<'_>,
        seq: Seq,
        envelope: &[u8],
        side: &Side<R>,
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
            true => return self.take_ahead(txn, &record, (seq, digest), &body, side),
            false => arrival,
        };
        let is_stated_by_a_hub = side.takes == Takes::MessagesAndCommits;
        let received = match (body.kind, arrival) {
            // A phone drops nothing: one that says so moves no cursor over a gap.
            (Kind::Statement, Arrival::AfterGap { expected }) if !is_stated_by_a_hub => {
                Received::Gap { expected }
            }
            (Kind::Statement, _) if !is_stated_by_a_hub => {
                inbox::take(txn, self.line, seq, digest)?;
                Received::Refused("a statement of one that drops nothing")
            }
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
            (Kind::Cover, _) => {
                inbox::take(txn, self.line, seq, digest)?;
                match body.content.is_empty() {
                    true => Received::Cover,
                    false => Received::Refused("a cover with something in it"),
                }
            }
            (Kind::Mls, _) => {
                let at = (seq, digest);
                let received = self.take_mls(txn, &record, at, &body.content, side)?;
                match received {
                    Received::LineBroken(found) => txn.keep_line_break(self.line, found)?,
                    Received::Waits => {}
                    Received::NotHealed(_) => {
                        // ORDER: as with a Commit that takes one: its wrap says what is held.
                        inbox::take(txn, self.line, seq, digest)?;
                        (side.on_refusal)(self, txn)?;
                    }
                    _ => inbox::take(txn, self.line, seq, digest)?,
                }
                received
            }
        };
        let taken = !matches!(
            received,
            Received::Gap { .. } | Received::LineBroken(_) | Received::Waits
        );
        if taken {
            note_with!(keys::inbox_head(self.line); "take {} {seq} {}", mailbox.to_text(), digest.to_text());
        }
        Ok(Arrived {
            received,
            held: Some(body.held),
        })
    }

    /// The deliberate bug `commit_taken_ahead`: its effect without the cursor.
    fn take_ahead(
        &mut self,
        txn: &mut Txn<'_>,
        record: &PairingRecord,
        at: (Seq, Digest),
        body: &wrap::Body,
        side: &Side<R>,
    ) -> Result<Arrived, JournalError> {
        let received = match self.take_mls(txn, record, at, &body.content, side)? {
            // One that is of a later epoch still waits for its turn.
            Received::Refused(_) | Received::Stale | Received::LineBroken(_) => {
                Received::Gap { expected: at.0 }
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
        let short = Some(content).filter(|content| content.len() <= STATEMENT_BYTES_MAX);
        let signed = short
            .and_then(message::decode::<SignedStatement>)
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
        (seq, digest): (Seq, Digest),
        content: &[u8],
        side: &Side<R>,
    ) -> Result<Received, JournalError> {
        if content.len() > MLS_BYTES_MAX {
            return Ok(Received::Refused(
                "an MLS message of more bytes than one has",
            ));
        }
        let Ok(message) = MlsMessageIn::tls_deserialize_exact(content) else {
            return Ok(Received::Refused("not an MLS message"));
        };
        let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
            return Ok(Received::Refused("not a private message"));
        };
        let takes = side.takes;
        let (group_scope, client_scope) = self.scopes();
        let handle = self.load(txn)?;
        let message = ProtocolMessage::from(message);
        if message.group_id() != handle.group.group_id() {
            return Ok(Received::Refused("another group's message"));
        }
        let epoch = handle.group.epoch();
        if message.epoch() < epoch {
            mutant!("stale_reloads_handle", "C3", "a stale envelope makes the hub load the group again and go on in its epoch" => {
                if takes != Takes::MessagesAndCommits {
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
                Takes::Messages | Takes::MessagesAndProposals => {
                    Received::Refused("an epoch that we have not seen")
                }
                Takes::MessagesAndCommits => broken(handle, theirs),
            });
        }
        let is_commit = matches!(message.content_type(), ContentType::Commit);
        let is_proposal = matches!(message.content_type(), ContentType::Proposal);
        let refused = |why| match is_proposal {
            true => Received::NotHealed(why),
            false => Received::Refused(why),
        };
        // The header is read; what is encrypted is looked at only if it has a length of its kind.
        match (message.content_type(), takes) {
            (ContentType::Application, Takes::MessagesAndCommits) => {}
            (ContentType::Application, _) => {
                if content.len() > PHONE_SAYS_BYTES_MAX {
                    return Ok(refused("a message of more bytes than a phone says"));
                }
            }
            (ContentType::Commit, Takes::MessagesAndCommits) => {
                // It opens the next epoch all the same, and nobody could follow that without it.
                if content.len() > COMMIT_BYTES_MAX {
                    return Ok(broken(handle, theirs));
                }
            }
            (ContentType::Proposal, Takes::Messages) => return Ok(Received::Waits),
            (ContentType::Proposal, Takes::MessagesAndProposals) => {
                if content.len() > PROPOSAL_BYTES_MAX {
                    return Ok(refused("a proposal of more bytes than one has"));
                }
            }
            _ => {
                return Ok(Received::Refused(
                    "a kind of MLS message that this side never takes",
                ));
            }
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
                    false => refused("MLS did not accept it"),
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
        let sender = match processed.sender() {
            Sender::Member(leaf) => Some(*leaf),
            _ => None,
        };
        let member = sender.and_then(|leaf| handle.group.member_at(leaf));
        let from_peer = member.is_some_and(|m| m.signature_key == record.peer_signature_key);
        let in_place = processed.aad() == aad(seq);
        let own_leaf = handle.group.own_leaf_index();
        let received = match processed.into_content() {
            ProcessedMessageContent::ProposalMessage(proposal) => {
                drop(provider);
                if !(from_peer && in_place && is_own_update(&handle.group, &proposal)) {
                    // In memory the ratchet of proposals has moved by one, which harms nobody: its
                    // sender's has as well. The epoch stays this handle's.
                    txn.restore_secrets(unspoilt);
                    return Ok(refused("a proposal that is not the app's own update"));
                }
                let proposed = Proposed {
                    proposal: *proposal,
                    seq,
                    digest,
                    before: unspoilt,
                };
                return (side.on_proposal)(self, txn, proposed);
            }
            ProcessedMessageContent::StagedCommitMessage(staged)
                if !(from_peer
                    && in_place
                    && is_plain(&staged, own_leaf)
                    && renews_own_leaf(&handle.group, sender, &staged)) =>
            {
                // What OpenMLS wrote for a Commit that is not merged must never become durable: the
                // group stays as it was before.
                drop(provider);
                let found = broken(handle, theirs);
                self.handle = None;
                txn.restore_secrets(unspoilt);
                found
            }
            _ if !from_peer || !in_place => refused("a message of another sender or place"),
            ProcessedMessageContent::ApplicationMessage(plaintext) => {
                Received::Message(Zeroizing::new(plaintext.into_bytes()))
            }
            ProcessedMessageContent::StagedCommitMessage(staged) => {
                // A plain Commit takes nothing but updates of ours.
                let heals = staged.update_proposals().next().is_some();
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
                let epoch = Epoch(handle.group.epoch().as_u64());
                match heals {
                    true => Received::Healed(epoch),
                    false => Received::NewEpoch(epoch),
                }
            }
            _ => refused("a kind of MLS message that this side never takes"),
        };
        Ok(received)
    }
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

/// Whether a Commit leaves the members and the group's terms as they are: it takes nothing, or updates
/// of our own, which is all that anybody here proposes.
fn is_plain(staged: &StagedCommit, own_leaf: LeafNodeIndex) -> bool {
    let updates = staged.update_proposals();
    let ours = |sender: &Sender| matches!(sender, Sender::Member(leaf) if *leaf == own_leaf);
    staged.queued_proposals().count() == updates.filter(|update| ours(update.sender())).count()
}

/// Whether a Commit gives its committer new keys by a path, and leaves all else about its leaf as it was. Who the
/// hub is was settled when it was paired: a Commit that puts another signature key, name or ability in its
/// place is not of the hub that was paired.
fn renews_own_leaf(
    group: &MlsGroup,
    committer: Option<LeafNodeIndex>,
    staged: &StagedCommit,
) -> bool {
    let current = committer.and_then(|leaf| group.public_group().leaf(leaf));
    let path = staged.update_path_leaf_node();
    path.zip(current)
        .is_some_and(|(leaf, current)| renews(leaf, current))
}

/// Whether a proposal is what a phone's heartbeat makes: new keys for its own leaf, and all else about it
/// as it was. OpenMLS has checked the signatures.
fn is_own_update(group: &MlsGroup, proposed: &QueuedProposal) -> bool {
    let Sender::Member(sender) = proposed.sender() else {
        return false;
    };
    let Proposal::Update(update) = proposed.proposal() else {
        return false;
    };
    let current = group.public_group().leaf(*sender);
    current.is_some_and(|current| renews(update.leaf_node(), current))
}

/// Whether a leaf has new keys, and is the one in whose place it comes in all else. That one is the pairing's,
/// or came in its place by this same rule.
fn renews(leaf: &LeafNode, current: &LeafNode) -> bool {
    // The KEM of X-Wing takes a key apart without a look at its length, and a Commit encrypts to it.
    let (key, known) = (leaf.encryption_key(), current.encryption_key());
    key.tls_serialized_len() == known.tls_serialized_len()
        && key != known
        && leaf.signature_key() == current.signature_key()
        && leaf.credential() == current.credential()
        && leaf.capabilities() == current.capabilities()
        && leaf.extensions() == current.extensions()
}
