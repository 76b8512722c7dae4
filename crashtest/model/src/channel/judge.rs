//! The promises, and the observer who notes what they need.
//!
//! This room must never decide what happens next; it only says what is true.

use super::app::{Effect, take};
use super::state::{AppDisk, Envelope, HubDisk, Kind, Process, Row, Seen, State};
use super::{Channel, Step};

/// What must hold in every state.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Promise {
    /// C1: what the hub holds leads the app to the hub's epoch.
    Follow,
    /// C1: without further faults, everything is delivered, and one more Commit too.
    Converge,
    /// C2: nothing is lost, skipped or opened twice.
    Once,
    /// C3: no generation of an epoch has two plaintexts.
    Reuse,
    /// C4: what leaves is explained by what is durable.
    Visible,
    /// C5: on each disk, epoch, envelopes and cursor agree.
    Atomic,
    /// C5: under one `Seq` one envelope leaves, and to one epoch one Commit.
    Fork,
    /// C8: nothing new leaves a directory that is older than what left it.
    Rollback,
    /// C8: nobody believes in a rollback that did not happen.
    Alarm,
    /// A2: a proposal does not stop a recording.
    Blocked,
}

impl Promise {
    /// As it is named in reports; begins with the number of the promise.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Follow => "C1 the app can follow",
            Self::Converge => "C1 both ends meet again",
            Self::Once => "C2 each chunk once and in order",
            Self::Reuse => "C3 no generation twice",
            Self::Visible => "C4 durable before visible",
            Self::Atomic => "C5 what must agree is one transaction",
            Self::Fork => "C5 one Commit for each epoch",
            Self::Rollback => "C8 a rollback is seen",
            Self::Alarm => "C8 no rollback is imagined",
            Self::Blocked => "A2 a proposal stops no recording",
        }
    }

    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// Notes that a step broke a promise.
pub(super) fn breaks(seen: &mut Seen, promise: Promise) {
    seen.broken |= promise.bit();
}

/// Whether a directory was set back; what is promised then is C8.
pub(super) fn was_restored(state: &State) -> bool {
    state.seen.hub_restored || state.seen.app_restored
}

/// Whether the promise holds in this state.
#[must_use]
pub fn holds(model: &Channel, state: &State, promise: Promise) -> bool {
    if state.seen.broken & promise.bit() != 0 {
        return false;
    }
    match promise {
        Promise::Rollback => true,
        _ if was_restored(state) => true,
        Promise::Follow => can_follow(state),
        Promise::Converge => converges(model, state),
        Promise::Once => state.hub_disk.outbox.above <= state.app_disk.cursor,
        Promise::Atomic => hub_agrees(&state.hub_disk) && app_agrees(state),
        Promise::Visible | Promise::Fork | Promise::Reuse => true,
        Promise::Alarm => {
            let hub = matches!(state.hub, Process::Up(run) if run.noticed);
            let app = matches!(state.app, Process::Up(run) if run.noticed);
            !hub && !app
        }
        Promise::Blocked => !matches!(state.hub, Process::Up(run) if run.right && run.blocked),
    }
}

/// Follows what the hub's disk holds, from where the app's disk is.
fn can_follow(state: &State) -> bool {
    let (hub, mut app) = (&state.hub_disk, state.app_disk);
    let stored = |seq| state.down.stored.get(seq);
    if hub.outbox.above > app.cursor {
        // That is a loss, and another promise.
        return true;
    }
    while app.cursor < hub.outbox.head() {
        let seq = app.cursor + 1;
        let Some(envelope) = hub.outbox.get(seq) else {
            return false;
        };
        let told = stored(seq).is_none_or(|stored| stored == envelope);
        if !told || take(&mut app, envelope) != Effect::Taken {
            return false;
        }
    }
    let leads_to = match hub.pending {
        Some(branch) => (hub.epoch + 1, branch),
        None => (hub.epoch, hub.branch),
    };
    app.cursor == hub.outbox.head() && (app.epoch, app.branch) == leads_to
}

/// A Commit is durable with its merge: the newest envelope belongs to the hub's epoch.
fn hub_agrees(hub: &HubDisk) -> bool {
    let Some(newest) = hub.outbox.items().next_back() else {
        return true;
    };
    let here = match hub.pending {
        Some(branch) => (hub.epoch + 1, branch),
        None => (hub.epoch, hub.branch),
    };
    (newest.epoch, newest.branch) == here
}

/// The last envelope that the cursor passed belongs to the app's epoch.
fn app_agrees(state: &State) -> bool {
    let app: &AppDisk = &state.app_disk;
    let passed = state.seen.left.get(app.cursor);
    passed.is_none_or(|one| {
        let epoch = (one.epoch, one.branch) == (app.epoch, app.branch);
        epoch && (one.kind != Kind::Chunk || app.generation == one.number + 1)
    })
}

/// What happens without faults, in the order in which it is tried.
const PEACE: [Step; 11] = [
    Step::HubStarts,
    Step::AppStarts,
    Step::RelaySyncs,
    Step::HubMerges,
    Step::HubSyncs,
    Step::AppTakes,
    Step::AppSpeaks,
    Step::AppSyncs,
    Step::AppSends,
    Step::HubTakes,
    Step::HubSends,
];

/// More steps than any quiet run within the bounds takes.
const PEACE_MAX: usize = 400;

/// Lets everything be delivered, then a chunk if the hub still has the right, then one more Commit,
/// without which two ends may agree and yet be unable to go on; and compares them.
fn converges(model: &Channel, state: &State) -> bool {
    let mut scope = model.scope;
    scope.epochs = u8::MAX;
    let free = Channel::new(scope, model.bug);
    let mut state = *state;
    if !quiesce(&free, &mut state) {
        return false;
    }
    if let Some(next) = free.after(&state, Step::HubSeals) {
        state = next;
    }
    if !quiesce(&free, &mut state) {
        return false;
    }
    let Some(mut state) = free.after(&state, Step::HubCommits) else {
        return false;
    };
    let quiet = quiesce(&free, &mut state);
    let (hub, app) = (&state.hub_disk, &state.app_disk);
    let same_epoch = (hub.epoch, hub.branch) == (app.epoch, app.branch);
    quiet && same_epoch && hub.outbox.head() == app.cursor && hub.outbox.is_empty()
}

fn quiesce(model: &Channel, state: &mut State) -> bool {
    'moving: for _ in 0..PEACE_MAX {
        for step in PEACE {
            if let Some(next) = model.after(state, step) {
                *state = next;
                continue 'moving;
            }
        }
        let ack = Step::HubHearsAck(state.app_disk.cursor);
        let news = matches!(state.hub, Process::Up(run) if run.staged.outbox.above < state.app_disk.cursor);
        match model.after(state, ack) {
            Some(next) if news => *state = next,
            _ => return true,
        }
    }
    false
}

/// Messages that reach a file or the network; a second plaintext under one number is a reuse.
fn note_sealed(seen: &mut Seen, which: fn(&mut Seen) -> &mut Row, envelopes: &Row) {
    for one in envelopes.items() {
        if !matches!(one.kind, Kind::Chunk | Kind::Message) {
            continue;
        }
        let place = |one: Envelope| (one.epoch, one.branch, one.number);
        let copied = seen.hub_restored || seen.app_restored;
        let row = which(seen);
        let known = row.items().find(|known| place(*known) == place(one));
        match known {
            None => row.push(Envelope { holds: 0, ..one }),
            Some(known) if known.extra == one.extra => {}
            // What a copied directory makes anew must not leave it, which is another promise.
            Some(_) if copied => {}
            Some(_) => breaks(seen, Promise::Reuse),
        }
    }
}

/// The hub's messages of its current epoch; older ones were noted when they were current.
pub(super) fn sealed(seen: &mut Seen, disk: &HubDisk) {
    note_sealed(seen, |seen| &mut seen.sealed, &disk.outbox);
}

/// The app's.
pub(super) fn app_sealed(seen: &mut Seen, disk: &AppDisk) {
    note_sealed(seen, |seen| &mut seen.app_sealed, &disk.outbox);
}

/// An envelope of the hub reaches the network.
pub(super) fn leaves_hub(_: &Channel, state: &mut State, seq: u8, envelope: Envelope) {
    let outbox = &state.hub_disk.outbox;
    let explained = seq <= outbox.above || outbox.get(seq) == Some(envelope);
    let restored = state.seen.hub_restored;
    let seen = &mut state.seen;
    if !explained {
        breaks(seen, Promise::Visible);
    }
    let other = leaves(&mut seen.left, seq, envelope);
    let same_epoch = |one: Envelope| {
        let commits = (one.kind, envelope.kind) == (Kind::Commit, Kind::Commit);
        commits && one.epoch == envelope.epoch && one.branch != envelope.branch
    };
    let forks = seen.left.items().any(same_epoch);
    match (other, restored) {
        (Known::Same, _) => {}
        (_, true) => breaks(seen, Promise::Rollback),
        (Known::Other, false) => breaks(seen, Promise::Fork),
        (Known::New, false) if forks => breaks(seen, Promise::Fork),
        (Known::New, false) => {}
    }
}

/// An envelope of the app reaches the network.
pub(super) fn leaves_app(state: &mut State, seq: u8, envelope: Envelope) {
    let outbox = &state.app_disk.outbox;
    let explained = seq <= outbox.above || outbox.get(seq) == Some(envelope);
    let claims = state.app_disk.cursor >= envelope.holds;
    let restored = state.seen.app_restored;
    let seen = &mut state.seen;
    if !explained || !claims {
        breaks(seen, Promise::Visible);
    }
    match (leaves(&mut seen.app_left, seq, envelope), restored) {
        (Known::Same, _) | (Known::New, false) => {}
        (_, true) => breaks(seen, Promise::Rollback),
        (Known::Other, false) => breaks(seen, Promise::Fork),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    New,
    Same,
    Other,
}

fn leaves(left: &mut Row, seq: u8, envelope: Envelope) -> Known {
    match left.get(seq) {
        Some(known) if known == envelope => Known::Same,
        Some(_) => Known::Other,
        None if seq <= left.above => Known::Same,
        None => {
            if seq > left.head() + 1 {
                left.start_behind(seq - 1);
            }
            left.push(envelope);
            Known::New
        }
    }
}
