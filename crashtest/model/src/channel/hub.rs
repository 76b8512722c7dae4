//! The hub: the only one that commits, and the owner of the outbox.
//!
//! Each function is one step; `None` means that it cannot happen now. This room must never touch
//! the app.

use super::judge::{self, Promise};
use super::relay::{self, Next};
use super::state::{Envelope, HubRun, Kind, Process, State};
use super::{Channel, lowest_free};
use crate::bugs::Bug;
use crate::scope::Order;

fn running(state: &State) -> Option<HubRun> {
    match state.hub {
        Process::Up(run) if !run.noticed => Some(run),
        _ => None,
    }
}

/// Stages a new epoch: Commit, merge and envelope in one transaction.
pub(super) fn commits(model: &Channel, state: &mut State) -> Option<()> {
    let run = running(state)?;
    // A clip that is being recorded ends before the next begins, and what a start finds open is
    // closed by a Commit; both are a Commit after one that was used, or by a handle without right.
    let used = run.generation > 0 || !run.right || model.scope.chunks == 0;
    let room = run.staged.outbox.len() < model.scope.window;
    let pending = run.staged.pending.is_some();
    if !used || !room || pending || run.staged.epoch >= model.scope.epochs {
        return None;
    }
    commit(model, state, 0)
}

/// Stages a Commit that takes `proposal` along (0: none).
pub(super) fn commit(model: &Channel, state: &mut State, proposal: u8) -> Option<()> {
    let mut run = running(state)?;
    let disk = &run.staged;
    let epoch = disk.epoch + 1;
    let states = [
        (state.hub_disk.epoch, state.hub_disk.branch),
        (state.app_disk.epoch, state.app_disk.branch),
    ];
    let mut branch = lowest_free(state, |one| (one.epoch == epoch).then_some(one.branch));
    while states.contains(&(epoch, branch)) {
        branch += 1;
    }
    let envelope = Envelope {
        kind: Kind::Commit,
        epoch,
        branch,
        number: disk.branch,
        extra: proposal,
        holds: disk.inbox,
    };
    let old = disk.branch;
    run.staged.outbox.push(envelope);
    run.blocked = false;
    if model.scope.order.merges_later() {
        run.staged.pending = Some(branch);
        run.right = false;
    } else {
        run.staged.epoch = epoch;
        run.staged.branch = branch;
        run.right = true;
    }
    run.generation = 0;
    state.hub = Process::Up(run);
    if model.scope.order == Order::MergePersistSend || model.has(Bug::MergeBeforePersist) {
        // The merge is a transaction of its own, before the envelope's.
        state.hub_disk.epoch = epoch;
        state.hub_disk.branch = branch;
    }
    debug_assert!(envelope.number == old);
    Some(())
}

/// Stages the merge of a Commit that is persisted.
pub(super) fn merges(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let branch = run.staged.pending.take()?;
    // Only what is persisted may be merged; `Together` has nothing pending.
    let persisted = state.hub_disk.pending == Some(branch);
    if !model.scope.order.merges_later() || !persisted {
        return None;
    }
    run.staged.epoch += 1;
    run.staged.branch = branch;
    run.right = true;
    run.generation = 0;
    state.hub = Process::Up(run);
    Some(())
}

/// Encrypts one chunk.
pub(super) fn seals(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let room = run.staged.outbox.len() < model.scope.window;
    let more = run.generation < model.scope.chunks;
    if !run.right || run.blocked || !room || !more {
        return None;
    }
    let (epoch, branch, number) = (run.staged.epoch, run.staged.branch, run.generation);
    let place = (Kind::Chunk, epoch, branch, number);
    let extra = lowest_free(state, |one| {
        ((one.kind, one.epoch, one.branch, one.number) == place).then_some(one.extra)
    });
    run.staged.outbox.push(Envelope {
        kind: Kind::Chunk,
        epoch,
        branch,
        number,
        extra,
        holds: run.staged.inbox,
    });
    run.generation += 1;
    state.hub = Process::Up(run);
    Some(())
}

/// Everything staged becomes durable.
pub(super) fn syncs(_: &Channel, state: &mut State) -> Option<()> {
    let Process::Up(run) = state.hub else {
        return None;
    };
    judge::sealed(&mut state.seen, &run.staged);
    state.hub_disk = run.staged;
    Some(())
}

/// Attaches, compares what the relay shows with its own, and sends one envelope.
pub(super) fn sends(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let compares = !model.has(Bug::DigestNotCompared);
    let seq = match relay::next(&run.staged.outbox, &state.down, compares) {
        Next::Send(seq) => seq,
        Next::Nothing => return None,
        Next::Evidence => {
            run.noticed = true;
            state.hub = Process::Up(run);
            return Some(());
        }
    };
    let envelope = run.staged.outbox.get(seq)?;
    let merged = match model.scope.order {
        Order::PersistMergeSend => state.hub_disk.pending != Some(envelope.branch),
        _ => true,
    };
    let eager = model.has(Bug::SendBeforePersist) || model.scope.order == Order::SendFirst;
    let durable = state.hub_disk.outbox.head().max(run.believed);
    let ready = eager || seq <= durable;
    // One at a time: the relay's sync of the last one comes first.
    if !ready || !(merged || envelope.kind != Kind::Commit) || state.down.unsynced.is_some() {
        return None;
    }
    judge::leaves_hub(model, state, seq, envelope);
    relay::append(&mut state.down, seq, envelope, model.scope.relay_crashes);
    if model.has(Bug::FreeOnReceipt) {
        run.staged.outbox.forget_through(seq);
        state.hub = Process::Up(run);
    }
    Some(())
}

/// An ack arrives, in scopes that do not follow each of the app's messages.
pub(super) fn hears_ack(model: &Channel, state: &mut State, through: u8) -> Option<()> {
    let run = running(state)?;
    if model.scope.acks_in_detail {
        return None;
    }
    if through > state.app_disk.cursor {
        judge::breaks(&mut state.seen, Promise::Visible);
    }
    acked(state, run, through)
}

/// An ack is proof of a rollback if the app holds what this directory never made.
fn acked(state: &mut State, mut run: HubRun, through: u8) -> Option<()> {
    let outbox = &mut run.staged.outbox;
    let foreign = match (outbox.get(through), state.seen.left.get(through)) {
        (Some(ours), Some(theirs)) => ours != theirs,
        _ => through > outbox.head(),
    };
    if foreign {
        run.noticed = true;
    } else {
        outbox.forget_through(through);
    }
    state.hub = Process::Up(run);
    Some(())
}

/// Takes the next envelope of the app, whatever it is.
pub(super) fn takes(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    if !model.scope.acks_in_detail || run.staged.pending.is_some() {
        return None;
    }
    let seq = run.staged.inbox + 1;
    let envelope = state.up.stored.get(seq)?;
    let current = (envelope.epoch, envelope.branch) == (run.staged.epoch, run.staged.branch);
    run.staged.inbox = seq;
    if !current {
        // Authentic and of an older epoch: consumed, nothing else changes.
        if model.has(Bug::StaleReloadsHandle) {
            run.generation = 0;
        }
        state.hub = Process::Up(run);
        return Some(());
    }
    state.hub = Process::Up(run);
    match envelope.kind {
        Kind::Message => acked(state, run, envelope.holds),
        Kind::Proposal if model.has(Bug::ProposalIsStored) => {
            run.blocked = true;
            state.hub = Process::Up(run);
            Some(())
        }
        // Processed, committed and merged in one transaction, mid-clip included.
        Kind::Proposal => commit(model, state, envelope.extra),
        Kind::Commit | Kind::Chunk => None,
    }
}
