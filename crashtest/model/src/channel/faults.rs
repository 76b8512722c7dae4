//! What goes wrong: deaths, power cuts, a forgetful relay, copied directories; and starts.
//!
//! This room must never repair anything that the programs do not repair themselves.

use super::state::{AppDisk, AppRun, HubDisk, HubRun, Mailbox, Process, Row, State};
use super::{Channel, Step, judge, relay};
use crate::bugs::Bug;
use crate::scope::Order;

/// One of the steps that are not the protocol's.
pub(super) fn happen(model: &Channel, state: &mut State, step: Step) -> Option<()> {
    match step {
        Step::HubStarts => hub_starts(model, state),
        Step::AppStarts => app_starts(model, state),
        Step::HubDies | Step::HubDiesUnsynced | Step::HubPowerCutInRecovery => {
            crash(state)?;
            hub_dies(state, step)
        }
        Step::AppDies | Step::AppDiesUnsynced | Step::AppPowerCutInRecovery => {
            crash(state)?;
            app_dies(state, step)
        }
        Step::RelayDies => {
            crash(state)?;
            state.down.unsynced.take().map(drop)
        }
        Step::RelayForgets => forget(model, state, |state| &mut state.down),
        Step::RelayForgetsUp => forget(model, state, |state| &mut state.up),
        Step::RelayIsSetBack(last) => set_back(model, state, last),
        _ => image(model, state, step),
    }
}

fn crash(state: &mut State) -> Option<()> {
    state.budget.crashes = state.budget.crashes.checked_sub(1)?;
    Some(())
}

fn hub_dies(state: &mut State, step: Step) -> Option<()> {
    let left = match (step, state.hub) {
        (Step::HubDies, Process::Up(_)) => None,
        (Step::HubDiesUnsynced, Process::Up(run)) if run.staged != state.hub_disk => {
            judge::sealed(&mut state.seen, &run.staged);
            Some(run.staged)
        }
        (Step::HubPowerCutInRecovery, Process::Down(Some(_))) => None,
        _ => return None,
    };
    state.hub = Process::Down(left);
    Some(())
}

fn app_dies(state: &mut State, step: Step) -> Option<()> {
    let left = match (step, state.app) {
        (Step::AppDies, Process::Up(_)) => None,
        (Step::AppDiesUnsynced, Process::Up(run)) if run.staged != state.app_disk => {
            Some(run.staged)
        }
        (Step::AppPowerCutInRecovery, Process::Down(Some(_))) => None,
        _ => return None,
    };
    state.app = Process::Down(left);
    Some(())
}

/// Recovery copies what can be read into a fresh file and syncs it before anything is durable.
fn hub_starts(model: &Channel, state: &mut State) -> Option<()> {
    let Process::Down(cache) = state.hub else {
        return None;
    };
    let mut run = HubRun {
        staged: cache.unwrap_or(state.hub_disk),
        ..HubRun::default()
    };
    if model.has(Bug::BelievePageCache) {
        run.believed = run.staged.outbox.head();
    } else {
        state.hub_disk = run.staged;
    }
    if let Some(branch) = run.staged.pending.take()
        && model.scope.order != Order::PersistWithoutSecrets
    {
        run.staged.epoch += 1;
        run.staged.branch = branch;
    }
    if model.has(Bug::NewCommitAfterRestart) {
        let acked = run.staged.outbox.above;
        run.staged.outbox.forget_above(acked);
    }
    run.right = model.has(Bug::OldEpochAfterRestart) && run.staged.epoch > 0;
    state.hub = Process::Up(run);
    Some(())
}

fn app_starts(model: &Channel, state: &mut State) -> Option<()> {
    let Process::Down(cache) = state.app else {
        return None;
    };
    let mut staged = cache.unwrap_or(state.app_disk);
    if model.has(Bug::AppRatchetNotStored) {
        staged.own_generation = 0;
    }
    if model.has(Bug::ProposalKeyNotStored) {
        staged.proposal = 0;
    }
    judge::app_sealed(&mut state.seen, &staged);
    state.app_disk = staged;
    relay::trim(&mut state.down, staged.cursor, !model.has(Bug::LastNotKept));
    state.app = Process::Up(AppRun {
        staged,
        noticed: false,
    });
    Some(())
}

/// While a copy exists the relay must remember, or nothing is promised; see `Scope`.
fn may_lie(model: &Channel, state: &State) -> bool {
    let copied = state.hub_image.is_some() || state.app_image.is_some();
    model.scope.amnesia_after_image || !(copied || judge::was_restored(state))
}

fn forget(model: &Channel, state: &mut State, which: fn(&mut State) -> &mut Mailbox) -> Option<()> {
    let allowed = may_lie(model, state);
    state.budget.amnesias = state.budget.amnesias.checked_sub(1)?;
    let mailbox = which(state);
    if !allowed || *mailbox == Mailbox::default() {
        return None;
    }
    *mailbox = Mailbox::default();
    Some(())
}

fn set_back(model: &Channel, state: &mut State, last: u8) -> Option<()> {
    let allowed = may_lie(model, state);
    state.budget.set_backs = state.budget.set_backs.checked_sub(1)?;
    let lowest = state.seen.left.above;
    if !allowed || last < lowest || last >= state.down.stored.head() {
        return None;
    }
    let mut stored = Row::default();
    stored.start_behind(lowest);
    for (seq, one) in state.seen.left.numbered() {
        if seq <= last {
            stored.push(one);
        }
    }
    // What lies below is held by the app and only named, so that the number is there.
    if last == 0 {
        stored = Row::default();
    }
    state.down = Mailbox {
        stored,
        unsynced: None,
    };
    Some(())
}

fn image(model: &Channel, state: &mut State, step: Step) -> Option<()> {
    let restored = judge::was_restored(state);
    match step {
        Step::HubIsCopied if model.scope.hub_image && !restored && state.hub_image.is_none() => {
            state.hub_image = Some(state.hub_disk);
        }
        Step::AppIsCopied if model.scope.app_image && !restored && state.app_image.is_none() => {
            state.app_image = Some(state.app_disk);
        }
        Step::HubIsRestored => {
            crash(state)?;
            let image = state.hub_image?;
            let Process::Down(_) = state.hub else {
                return None;
            };
            state.seen.hub_restored = hub_is_older(state, &image);
            state.hub_image = None;
            state.hub_disk = image;
            state.hub = Process::Down(None);
        }
        Step::AppIsRestored => {
            crash(state)?;
            let image = state.app_image?;
            let Process::Down(_) = state.app else {
                return None;
            };
            if !app_is_older(state, &image) {
                return None;
            }
            state.seen.app_restored = true;
            state.app_image = None;
            state.app_disk = image;
            state.app = Process::Down(None);
        }
        _ => return None,
    }
    Some(())
}

/// Whether something left the hub that this copy does not know.
fn hub_is_older(state: &State, image: &HubDisk) -> bool {
    let mut left = state.seen.left.numbered();
    left.any(|(seq, one)| seq > image.outbox.above && image.outbox.get(seq) != Some(one))
}

/// A copy of the app behind which only the relay was told to forget is not judged: it stands before
/// a gap and says so.
fn app_is_older(state: &State, image: &AppDisk) -> bool {
    let mut left = state.seen.app_left.numbered();
    left.any(|(seq, one)| seq > image.outbox.above && image.outbox.get(seq) != Some(one))
}
