//! The app: it follows, keeps, acks, and asks for new keys.
//!
//! Each function is one step; `None` means that it cannot happen now. This room must never touch
//! the hub.

use super::judge::{self, Promise};
use super::relay::{self, Next};
use super::state::{AppDisk, AppRun, Envelope, Kind, Process, State};
use super::{Channel, lowest_free};
use crate::bugs::Bug;

/// Acks that the hub does not hold yet; more than a hub's window can make stale.
const OUTBOX_MAX: u8 = 6;

fn running(state: &State) -> Option<AppRun> {
    match state.app {
        Process::Up(run) if !run.noticed => Some(run),
        _ => None,
    }
}

/// What an envelope does to the app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    /// It was taken as it should be.
    Taken,
    /// A Commit that leads from where the app is not, or needs a key that it does not have.
    CannotFollow,
    /// A chunk that cannot be opened (any more).
    CannotOpen,
}

/// Takes the envelope after the cursor.
pub(super) fn take(disk: &mut AppDisk, envelope: Envelope) -> Effect {
    disk.cursor += 1;
    disk.outbox.forget_through(envelope.holds);
    if disk.cursor <= disk.ahead && envelope.kind == Kind::Commit {
        return Effect::Taken;
    }
    let here = (disk.epoch, disk.branch);
    match envelope.kind {
        Kind::Commit => {
            let leads = (disk.epoch + 1, disk.branch) == (envelope.epoch, envelope.number);
            let has_key = envelope.extra == 0 || envelope.extra == disk.proposal;
            if !leads || !has_key {
                return Effect::CannotFollow;
            }
            enter(disk, envelope);
            Effect::Taken
        }
        Kind::Chunk if here == (envelope.epoch, envelope.branch) => {
            if envelope.number < disk.generation {
                return Effect::CannotOpen;
            }
            disk.generation = envelope.number + 1;
            Effect::Taken
        }
        _ => Effect::CannotOpen,
    }
}

/// Whether the hub holds something of ours that this directory never made. (In the design; the
/// programs only free their outbox by it so far.)
fn held_is_foreign(state: &State, disk: &AppDisk, holds: u8) -> bool {
    match (disk.outbox.get(holds), state.seen.app_left.get(holds)) {
        (Some(ours), Some(theirs)) => ours != theirs,
        _ => holds > disk.outbox.head(),
    }
}

fn enter(disk: &mut AppDisk, commit: Envelope) {
    disk.epoch = commit.epoch;
    disk.branch = commit.branch;
    disk.generation = 0;
    disk.own_generation = 0;
    // A proposal that this Commit does not take is void; the heartbeat is said again, as a whole.
    disk.proposal = 0;
}

/// Stages effect and cursor of the next envelope in one transaction.
pub(super) fn takes(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let before = run.staged.cursor;
    let envelope = state.down.stored.get(before + 1)?;
    if !model.has(Bug::HeldNotCompared) && held_is_foreign(state, &run.staged, envelope.holds) {
        run.noticed = true;
        state.app = Process::Up(run);
        return Some(());
    }
    let effect = take(&mut run.staged, envelope);
    let cursor = run.staged.cursor;
    match effect {
        Effect::Taken => {}
        _ if judge::was_restored(state) => {}
        Effect::CannotFollow => judge::breaks(&mut state.seen, Promise::Follow),
        Effect::CannotOpen => judge::breaks(&mut state.seen, Promise::Once),
    }
    state.app = Process::Up(run);
    if model.has(Bug::CursorApart) {
        // What the envelope does is durable, the cursor is not.
        state.app_disk = AppDisk {
            cursor: state.app_disk.cursor,
            ..run.staged
        };
    }
    if model.has(Bug::CursorFirst) {
        state.app_disk.cursor = cursor;
    }
    if model.has(Bug::TrimOnDelivery) {
        relay::trim(&mut state.down, cursor, true);
    }
    if model.has(Bug::AckBeforeDurable) && cursor > state.app_disk.cursor {
        judge::breaks(&mut state.seen, Promise::Visible);
        relay::trim(&mut state.down, cursor, true);
    }
    Some(())
}

/// With Commits in a mailbox of their own, one may come before the chunks that lie before it.
pub(super) fn takes_ahead(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    if !model.has(Bug::CommitElsewhere) || run.staged.ahead > run.staged.cursor {
        return None;
    }
    let cursor = run.staged.cursor;
    let mut later = state.down.stored.numbered();
    let (seq, commit) = later.find(|(seq, one)| *seq > cursor + 1 && one.kind == Kind::Commit)?;
    let between = state.down.stored.get(cursor + 1)?;
    if between.kind != Kind::Chunk || commit.epoch != run.staged.epoch + 1 {
        return None;
    }
    enter(&mut run.staged, commit);
    run.staged.ahead = seq;
    state.app = Process::Up(run);
    Some(())
}

/// Everything staged becomes durable; the relay may forget what the cursor passed.
pub(super) fn syncs(model: &Channel, state: &mut State) -> Option<()> {
    let Process::Up(run) = state.app else {
        return None;
    };
    judge::app_sealed(&mut state.seen, &run.staged);
    state.app_disk = run.staged;
    if !run.noticed {
        let keeps_last = !model.has(Bug::LastNotKept);
        relay::trim(&mut state.down, run.staged.cursor, keeps_last);
    }
    Some(())
}

/// Stages an ack, with the ratchet that encrypted it.
pub(super) fn speaks(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let disk = &run.staged;
    // A member whose own proposal is pending cannot encrypt.
    let may = disk.proposal == 0 && disk.outbox.len() < OUTBOX_MAX;
    if !model.scope.acks_in_detail || !may || disk.cursor <= disk.said {
        return None;
    }
    let (epoch, branch, number) = (disk.epoch, disk.branch, disk.own_generation);
    let place = (Kind::Message, epoch, branch, number);
    let extra = lowest_free(state, |one| {
        ((one.kind, one.epoch, one.branch, one.number) == place).then_some(one.extra)
    });
    run.staged.outbox.push(Envelope {
        kind: Kind::Message,
        epoch,
        branch,
        number,
        extra,
        holds: run.staged.cursor,
    });
    run.staged.own_generation += 1;
    run.staged.said = run.staged.cursor;
    state.app = Process::Up(run);
    Some(())
}

/// Stages an update proposal, the last part of a heartbeat: everything is acked, and the relay has
/// nothing more. (In the design; the programs do not do it yet.)
pub(super) fn proposes(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    let disk = &run.staged;
    let caught_up = disk.said == disk.cursor && disk.cursor >= state.down.stored.head();
    let may = disk.proposal == 0 && disk.outbox.len() < OUTBOX_MAX;
    if !caught_up || !may || disk.cursor == 0 || state.budget.beats == 0 {
        return None;
    }
    state.budget.beats -= 1;
    let extra = model.scope.beats - state.budget.beats;
    run.staged.outbox.push(Envelope {
        kind: Kind::Proposal,
        epoch: disk.epoch,
        branch: disk.branch,
        number: 0,
        extra,
        holds: disk.cursor,
    });
    run.staged.proposal = extra;
    state.app = Process::Up(run);
    Some(())
}

/// Attaches, compares what the relay shows with its own, and sends one envelope.
pub(super) fn sends(model: &Channel, state: &mut State) -> Option<()> {
    let mut run = running(state)?;
    if !model.scope.acks_in_detail {
        return None;
    }
    let compares = !model.has(Bug::DigestNotCompared);
    let seq = match relay::next(&run.staged.outbox, &state.up, compares) {
        Next::Send(seq) => seq,
        Next::Nothing => return None,
        Next::Evidence => {
            run.noticed = true;
            state.app = Process::Up(run);
            return Some(());
        }
    };
    let envelope = run.staged.outbox.get(seq)?;
    if seq > state.app_disk.outbox.head() {
        return None;
    }
    judge::leaves_app(state, seq, envelope);
    relay::append(&mut state.up, seq, envelope, false);
    Some(())
}
