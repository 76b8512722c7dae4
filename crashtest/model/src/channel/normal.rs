//! Brings states that have the same future into the same form.
//!
//! Three reductions, each sound because no rule can tell the difference:
//! - What the observer noted and nothing later can be held against is dropped.
//! - `Seq` numbers are only ever compared and counted on from. So all numbers of one mailbox are
//!   lowered together until the lowest in use is 1; 0, which means "none", stays what it is. An
//!   epoch with and one without a chunk are then the same past.
//! - A copy of a directory that nobody can put back any more is none.
//!
//! This room must never touch what a rule reads in any other way.

use super::state::{AppDisk, HubDisk, Mailbox, Process, Row, State};

/// Drops notes that no later step can be held against; and lets the relay forget what the hub holds.
pub(super) fn forget_what_nobody_wants(state: &mut State) {
    // It takes a death and the restoring itself.
    let hub_needs = 2 - u8::from(matches!(state.hub, Process::Down(_)));
    let app_needs = 2 - u8::from(matches!(state.app, Process::Down(_)));
    if state.budget.crashes < hub_needs {
        state.hub_image = None;
    }
    if state.budget.crashes < app_needs {
        state.app_image = None;
    }
    let hub_image = state.hub_image.map_or(u8::MAX, |image| image.outbox.above);
    let app_image = state.app_image.map_or(u8::MAX, |image| image.outbox.above);
    let (hub, app) = (&state.hub_disk, &state.app_disk);
    // The last one that the cursor passed shows which epoch belongs to it.
    let wanted = hub.outbox.above.min(app.cursor).min(hub_image);
    state.seen.left.forget_through(wanted.saturating_sub(1));
    let wanted = app.outbox.above.min(hub.inbox).min(app_image);
    state.seen.app_left.forget_through(wanted);
    let (hub_epoch, app_epoch) = (hub.epoch, app.epoch);
    state.seen.sealed.retain(|one| one.epoch >= hub_epoch);
    state.seen.app_sealed.retain(|one| one.epoch >= app_epoch);
    let last = state.up.stored.head();
    let through = hub.inbox.min(last.saturating_sub(1));
    state.up.stored.forget_through(through);
}

/// Lowers all numbers.
pub(super) fn count_from_one(state: &mut State) {
    let lowest = lowest_down(state);
    if lowest > 1 {
        lower_down(state, lowest - 1);
    }
    let lowest = lowest_up(state);
    if lowest > 1 {
        lower_up(state, lowest - 1);
    }
}

fn hub_disks(state: &mut State) -> impl Iterator<Item = &mut HubDisk> {
    let staged = match &mut state.hub {
        Process::Up(run) => Some(&mut run.staged),
        Process::Down(cache) => cache.as_mut(),
    };
    [Some(&mut state.hub_disk), staged, state.hub_image.as_mut()]
        .into_iter()
        .flatten()
}

fn app_disks(state: &mut State) -> impl Iterator<Item = &mut AppDisk> {
    let staged = match &mut state.app {
        Process::Up(run) => Some(&mut run.staged),
        Process::Down(cache) => cache.as_mut(),
    };
    [Some(&mut state.app_disk), staged, state.app_image.as_mut()]
        .into_iter()
        .flatten()
}

/// An empty mailbox, as opposed to one of which everything was trimmed.
fn is_none(mailbox: &Mailbox) -> bool {
    mailbox.stored.head() == 0
}

fn lowest_down(state: &mut State) -> u8 {
    let hub = hub_disks(state).map(|disk| disk.outbox.above).min();
    let app = app_disks(state).map(|disk| disk.cursor).min();
    let relay = (!is_none(&state.down)).then_some(state.down.stored.above);
    let left = Some(state.seen.left.above);
    [hub, app, relay, left]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(0)
}

fn lower_down(state: &mut State, by: u8) {
    let number = |seq: &mut u8| {
        // A message may ack what is long forgotten; it still acks something.
        *seq = if *seq == 0 {
            0
        } else {
            seq.saturating_sub(by).max(1)
        };
    };
    let messages = |row: &mut Row| row.change(|one| number(&mut one.holds));
    for disk in hub_disks(state) {
        disk.outbox.above -= by;
    }
    for disk in app_disks(state) {
        disk.cursor -= by;
        number(&mut disk.said);
        disk.ahead = disk.ahead.saturating_sub(by);
        messages(&mut disk.outbox);
    }
    if let Process::Up(run) = &mut state.hub {
        run.believed = run.believed.saturating_sub(by);
    }
    if !is_none(&state.down) {
        state.down.stored.above -= by;
    }
    state.seen.left.above -= by;
    messages(&mut state.up.stored);
    messages(&mut state.seen.app_left);
}

fn lowest_up(state: &mut State) -> u8 {
    let app = app_disks(state).map(|disk| disk.outbox.above).min();
    let hub = hub_disks(state).map(|disk| disk.inbox).min();
    let relay = (!is_none(&state.up)).then_some(state.up.stored.above);
    let left = Some(state.seen.app_left.above);
    [hub, app, relay, left]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(0)
}

fn lower_up(state: &mut State, by: u8) {
    let number = |seq: &mut u8| {
        *seq = if *seq == 0 {
            0
        } else {
            seq.saturating_sub(by).max(1)
        };
    };
    let wraps = |row: &mut Row| row.change(|one| number(&mut one.holds));
    for disk in app_disks(state) {
        disk.outbox.above -= by;
    }
    for disk in hub_disks(state) {
        disk.inbox -= by;
        wraps(&mut disk.outbox);
    }
    if !is_none(&state.up) {
        state.up.stored.above -= by;
    }
    state.seen.app_left.above -= by;
    wraps(&mut state.down.stored);
    wraps(&mut state.seen.left);
    if let Some(one) = &mut state.down.unsynced {
        number(&mut one.holds);
    }
}
