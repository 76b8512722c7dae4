//! Healing: the app proposes new keys for its leaf, and the hub commits to them at once.
//!
//! Whoever copied the app's keys can follow the group no further than that Commit, because it is encrypted
//! to keys that were made since (RFC 9420, section 12.1.2). A proposal that is stored and not committed
//! blocks every message of both ends, so the hub never keeps one (scenario 8), and the app has at most one
//! pending and says so. A proposal that is refused costs a Commit as well, or its app would be mute for good.
//! This room must never let what it refuses become durable.

use openmls::prelude::LeafNodeParameters;
use openmls_traits::OpenMlsProvider;
use tls_codec::Serialize as _;
use wal::{crash_point, mutant, note_with};
use wire::ids::Seq;

use super::receive::Proposed;
use super::{Committer, EpochUse, Follower, Received, Session, aad, notes};
use crate::clip;
use crate::error::JournalError;
use crate::heartbeat::Made;
use crate::ids::{Channel, ClipId, Epoch, Line};
use crate::inbox;
use crate::journal::Journal;
use crate::keys;
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::outbox::{self, Placement};
use crate::txn::Txn;
use crate::wrap::Kind;

impl Session<Follower> {
    /// Proposes new keys for our leaf, as the next envelope. They, the proposal and its envelope are in
    /// this transaction. From here on the line is mute until the hub's Commit: at most one proposal is
    /// pending, and nothing else can be sent. `number` is the heartbeat that it belongs to; that, and when
    /// the keys were made, is remembered ([`crate::LineKeys`]).
    ///
    /// # Errors
    /// [`JournalError::AwaitsCommit`] if one is pending: nothing was changed. As [`Session::send_ack`]
    /// otherwise.
    pub fn propose_update(
        &mut self,
        txn: &mut Txn<'_>,
        number: u64,
        now_unix_ms: u64,
    ) -> Result<Seq, JournalError> {
        self.check_may_send(txn)?;
        let line = self.line;
        let seq = outbox::upcoming(txn, line)?;
        let (group_scope, client_scope) = self.scopes();
        let handle = self.load(txn)?;
        let record = std::sync::Arc::clone(&handle.record);
        handle.touched = Some(txn.outcome().clone());
        handle.group.set_aad(aad(seq));
        // One proposal in an epoch: the next one comes after the Commit.
        note_with!(
            keys::outbox(line, seq);
            "place {seq} {} handshake 0", notes::sender(&handle.group)
        );
        let unspoilt = mutant!(
            "update_keys_not_stored",
            "C1",
            "new keys are proposed and not kept: nobody here can follow the Commit that takes them"
        )
        .then(|| txn.secrets_so_far());
        let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
        let proposed = handle.group.propose_self_update(
            &provider,
            &handle.signer,
            LeafNodeParameters::default(),
        );
        let proposed = provider.result(proposed).and_then(|(message, _)| {
            let bytes = message.tls_serialize_detached();
            bytes.map_err(|error| JournalError::Mls(error.to_string()))
        });
        let proposed = proposed.inspect_err(|_| self.handle = None)?;
        if let Some(unspoilt) = unspoilt {
            txn.restore_secrets(unspoilt);
        }
        let made = Made {
            number,
            made_unix_ms: now_unix_ms,
        };
        txn.keys_made(line, made)
            .and_then(|()| {
                outbox::append(txn, line, &record, Kind::Mls, &proposed, Placement::Inline)
            })
            .inspect_err(|_| self.handle = None)
    }

    /// Whether an update of ours waits for the hub's Commit.
    ///
    /// # Errors
    /// If the group cannot be loaded.
    pub fn awaits_commit(&mut self, txn: &mut Txn<'_>) -> Result<bool, JournalError> {
        Ok(self.load(txn)?.group.has_pending_proposals())
    }

    /// Refuses before anything is encrypted, so that a refusal spends no generation.
    pub(super) fn check_may_send(&mut self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        self.check_not_rolled_back(txn)?;
        if txn.line_break(self.line)?.is_some() {
            return Err(JournalError::LineBroken(self.line));
        }
        match self.awaits_commit(txn)? {
            true => Err(JournalError::AwaitsCommit(self.line)),
            false => Ok(()),
        }
    }
}

/// Queues the app's update, commits to it and merges. A clip being recorded is carried into the new epoch, and a
/// live session goes on in it as another one; otherwise there is nothing left to say in it, unless the config
/// channel's answer follows.
pub(super) fn commit_to(
    session: &mut Session<Committer>,
    txn: &mut Txn<'_>,
    proposed: Proposed,
) -> Result<Received, JournalError> {
    let Proposed {
        proposal,
        seq,
        digest,
        before,
    } = proposed;
    let line = session.line;
    let clip = recorded(session, txn)?;
    let live = session.live_wish(txn);
    // ORDER: the Commit's wrap says what is held, so the proposal is taken first; the app frees it by that.
    inbox::take(txn, line, seq, digest)?;
    let (group_scope, client_scope) = session.scopes();
    let handle = session.load(txn)?;
    let provider = MlsProvider::new(txn, group_scope, client_scope, Ratchet::Store);
    let queued = match mutant!(
        "update_passed_over",
        "S4",
        "the hub says that a line is healed, and its Commit takes nothing"
    ) {
        true => Ok(()),
        false => handle
            .group
            .store_pending_proposal(provider.storage(), proposal),
    };
    let queued = provider.result(queued);
    drop(provider);
    mutant!("proposal_kept", "C1", "an update waits for the next Commit, which an idle line never has" => {
        return Ok(Received::Refused("an update that waits"));
    });
    let epoch = match queued.and_then(|()| advance(session, txn)) {
        Ok(epoch) => epoch,
        // MLS accepts the message and not what it proposes: the keys of another member, say. The group
        // in memory has it queued, so it is loaded again.
        Err(JournalError::Mls(_)) => {
            session.handle = None;
            txn.restore_secrets(before);
            return Ok(Received::NotHealed("an update that cannot be committed"));
        }
        Err(error) => {
            session.handle = None;
            return Err(error);
        }
    };
    match clip {
        Some(clip) => session.carries(txn, clip)?,
        None if line.channel == Channel::Config => {}
        None if session.carry_live(txn, live)? => {}
        None => session.finish_empty(txn)?,
    }
    // CRASH(journal.heal.staged): before: the update is not taken, the cursor is before it; it comes again
    // | after: update, Commit and its envelope, the new epoch and what becomes of it are synced as one.
    crash_point!("journal.heal.staged");
    Ok(Received::Healed(epoch))
}

/// A Commit that takes nothing: whoever proposed what is refused has it pending, and only a Commit frees it to
/// speak and to propose anew. On a line that carries no clips no other would ever come.
pub(super) fn free(
    session: &mut Session<Committer>,
    txn: &mut Txn<'_>,
) -> Result<(), JournalError> {
    let clip = recorded(session, txn)?;
    let live = session.live_wish(txn);
    advance(session, txn)?;
    match clip {
        Some(clip) => session.carries(txn, clip),
        None if session.carry_live(txn, live)? => Ok(()),
        None => session.finish_empty(txn),
    }
}

impl Session<Committer> {
    /// A Commit because of what the app wishes, which is not a proposal: counted as one for a proposal is.
    pub(crate) fn advance_for_app(&mut self, txn: &mut Txn<'_>) -> Result<Epoch, JournalError> {
        advance(self, txn)
    }
}

/// A Commit because of what the app wishes, and a note of its number ([`Journal::unacked_heals`]).
fn advance(session: &mut Session<Committer>, txn: &mut Txn<'_>) -> Result<Epoch, JournalError> {
    let line = session.line;
    let seq = outbox::upcoming(txn, line)?;
    let epoch = session.advance_epoch(txn)?;
    let acked = txn.journal().outbox_head(line)?.acked;
    let mut unacked: Vec<Seq> = txn.row(&keys::heals(line))?.unwrap_or_default();
    unacked.retain(|seq| *seq > acked);
    unacked.push(seq);
    txn.put_row(&keys::heals(line), &unacked)?;
    Ok(epoch)
}

/// The clip that the current epoch carries, if it is still being recorded: also by a handle that is gone,
/// because a start that has not closed it yet owes it a notice.
fn recorded(session: &Session<Committer>, txn: &Txn<'_>) -> Result<Option<ClipId>, JournalError> {
    match txn.row(&keys::epoch_use(session.line))? {
        Some(EpochUse::InUse {
            clip: Some(clip), ..
        }) if clip::is_recording(txn, session.line, clip)? => Ok(Some(clip)),
        _ => Ok(None),
    }
}

impl Journal {
    /// Commits that proposals and commands of the app have cost on a line and that it has not acked (hub), staged
    /// ones included. Whoever takes these bounds them: each such Commit stays in the outbox until it is acked.
    ///
    /// # Errors
    /// If the row cannot be read.
    pub fn unacked_heals(&self, line: Line) -> Result<u64, JournalError> {
        let acked = self.outbox_head(line)?.acked;
        let known: Vec<Seq> = self.row(&keys::heals(line))?.unwrap_or_default();
        Ok(known.iter().filter(|seq| **seq > acked).count() as u64)
    }
}

impl Session<Committer> {
    /// Closes the epoch that a heartbeat opened in the config channel, if there is nothing to answer: its
    /// used-up state and the rotation of the group's key are in this transaction.
    ///
    /// # Errors
    /// [`JournalError::NoRightToEncrypt`] unless this handle opened the current epoch.
    pub fn close(&mut self, txn: &mut Txn<'_>) -> Result<(), JournalError> {
        match self.may_encrypt(txn) {
            true => self.finish_empty(txn),
            false => Err(JournalError::NoRightToEncrypt(self.line)),
        }
    }
}
