//! Hub, relay and app with one mailbox each way, as a [`stateright::Model`].
//!
//! A step is a transaction that is staged, a sync, an envelope that arrives, or a fault; its name
//! is the crash point of the programs beside it (`crash_point!`), where there is one. The rooms
//! below hold the rules: [`hub`], [`app`], [`relay`], [`faults`]; [`judge`] holds the promises.
//!
//! What makes it small, and why nothing is lost by it:
//! - An append is one step, with the relay's answer: what was lost on the way was never sent, what
//!   is sent twice is refused or changes nothing, and what was under way when a connection ended
//!   is void, because a mailbox is one stream of one connection.
//! - A written batch that is not synced is only of interest once the process is dead, so it is
//!   there only then. That the disk kept it, though the power went before the sync returned, is a
//!   sync followed by a death.
//! - A handle that is lost in a living process (a dropped transaction, a poisoned journal) is what
//!   is left by a death and a start.
//! - Random choices are equal if they are not; a copy that is nowhere any more needs no name of
//!   its own, so the lowest free one is taken.

pub mod app;
pub mod faults;
pub mod hub;
pub mod judge;
mod normal;
pub mod relay;
pub mod state;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use stateright::{Model, Property};

use crate::bugs::Bug;
use crate::scope::Scope;
use judge::Promise;
use state::{AppRun, Budget, Process, State};

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// The hub stages a Commit, its merge and its envelope.
    HubCommits,
    /// The hub stages the merge of a Commit that was persisted without it.
    HubMerges,
    /// The hub encrypts a chunk and stages it.
    HubSeals,
    /// The hub's log is written and synced.
    HubSyncs,
    /// The hub sends what the relay lacks first.
    HubSends,
    /// The hub learns that the app holds everything through this `Seq`.
    HubHearsAck(u8),
    /// The hub takes the app's next envelope.
    HubTakes,
    /// The relay syncs what it received from the hub.
    RelaySyncs,
    /// The app stages the effect of the next envelope, and the cursor.
    AppTakes,
    /// The app takes a Commit from behind chunks that it does not have yet: only with that mistake.
    AppTakesAhead,
    /// The app's log is written and synced; the relay may forget what the cursor passed, and does at
    /// once, which is the worst that it can do with that.
    AppSyncs,
    /// The app stages an ack, which is also a heartbeat's message.
    AppSpeaks,
    /// The app stages an update proposal.
    AppProposes,
    /// The app sends what the relay lacks first.
    AppSends,
    /// The hub dies; what was staged is gone.
    HubDies,
    /// The hub is killed between write and sync; the page cache has what was staged.
    HubDiesUnsynced,
    /// The power goes in the hub's recovery; the page cache is gone.
    HubPowerCutInRecovery,
    /// The hub starts; its recovery is through.
    HubStarts,
    /// The app dies; what was staged is gone.
    AppDies,
    /// The app is killed between write and sync.
    AppDiesUnsynced,
    /// The power goes in the app's recovery.
    AppPowerCutInRecovery,
    /// The app starts; its recovery is through.
    AppStarts,
    /// The relay dies with what it has not synced.
    RelayDies,
    /// The relay loses the hub's mailbox.
    RelayForgets,
    /// The relay loses the app's mailbox.
    RelayForgetsUp,
    /// The relay shows the hub's mailbox as it was when this was the last envelope.
    RelayIsSetBack(u8),
    /// Somebody copies the hub's directory.
    HubIsCopied,
    /// Somebody puts the copy back.
    HubIsRestored,
    /// Somebody copies the app's directory.
    AppIsCopied,
    /// Somebody puts the copy back.
    AppIsRestored,
}

impl Step {
    /// The crash point of the programs beside this step: before it, after it, or where it dies.
    #[must_use]
    pub fn point(self) -> Option<&'static str> {
        Some(match self {
            Self::HubCommits | Self::HubMerges => "journal.session.commit_staged",
            Self::HubSeals => "journal.session.finish_staged",
            Self::HubSyncs | Self::AppSyncs => "wal.commit.after_sync",
            Self::RelaySyncs => "relay.batch.after_sync",
            Self::AppTakes | Self::AppTakesAhead => "app.take.staged",
            Self::AppSpeaks => "app.ack.staged",
            Self::AppProposes => "app.heartbeat.staged",
            Self::HubDies | Self::AppDies => "wal.commit.before_write",
            Self::HubDiesUnsynced | Self::AppDiesUnsynced => "wal.commit.after_write",
            Self::HubPowerCutInRecovery | Self::AppPowerCutInRecovery => "wal.recover.before_sync",
            Self::HubStarts | Self::AppStarts => "wal.recover.after_seal",
            Self::RelayDies => "relay.batch.before_commit",
            Self::HubSends | Self::AppSends => "relay.append.before_stage",
            _ => return None,
        })
    }

    /// The name of every step, without the number that some have.
    #[must_use]
    pub fn names() -> Vec<String> {
        let numbered = [Self::HubHearsAck(0), Self::RelayIsSetBack(0)];
        let steps = PLAIN.into_iter().chain(numbered);
        let named = steps.map(|step| format!("{step:?}"));
        named.map(|name| name.replace("(0)", "")).collect()
    }
}

/// Every step without a number of its own.
const PLAIN: [Step; 28] = [
    Step::HubCommits,
    Step::HubMerges,
    Step::HubSeals,
    Step::HubSyncs,
    Step::HubSends,
    Step::HubTakes,
    Step::RelaySyncs,
    Step::AppTakes,
    Step::AppTakesAhead,
    Step::AppSyncs,
    Step::AppSpeaks,
    Step::AppProposes,
    Step::AppSends,
    Step::HubDies,
    Step::HubDiesUnsynced,
    Step::HubPowerCutInRecovery,
    Step::HubStarts,
    Step::AppDies,
    Step::AppDiesUnsynced,
    Step::AppPowerCutInRecovery,
    Step::AppStarts,
    Step::RelayDies,
    Step::RelayForgets,
    Step::RelayForgetsUp,
    Step::HubIsCopied,
    Step::HubIsRestored,
    Step::AppIsCopied,
    Step::AppIsRestored,
];

/// The protocol within a scope, with at most one mistake.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Bounds.
    pub scope: Scope,
    /// The mistake.
    pub bug: Option<Bug>,
    /// Promises that were found broken, so that the first and shortest way to each is kept: the
    /// checker itself would keep the last.
    found: Arc<AtomicU16>,
}

impl Channel {
    /// The protocol within `scope`, with at most one mistake.
    #[must_use]
    pub fn new(scope: Scope, bug: Option<Bug>) -> Self {
        let found = Arc::new(AtomicU16::new(0));
        Self { scope, bug, found }
    }

    /// As [`judge::holds`], but only the first state that breaks a promise counts.
    fn first_holds(&self, state: &State, promise: Promise) -> bool {
        let bit = promise.bit();
        let known = self.found.load(Ordering::Relaxed) & bit != 0;
        known
            || judge::holds(self, state, promise)
            || self.found.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    pub(crate) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// What follows, or `None` if the step cannot happen or changes nothing.
    #[must_use]
    pub fn after(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        let done = match step {
            Step::HubCommits => hub::commits(self, &mut state),
            Step::HubMerges => hub::merges(self, &mut state),
            Step::HubSeals => hub::seals(self, &mut state),
            Step::HubSyncs => hub::syncs(self, &mut state),
            Step::HubSends => hub::sends(self, &mut state),
            Step::HubHearsAck(through) => hub::hears_ack(self, &mut state, through),
            Step::HubTakes => hub::takes(self, &mut state),
            Step::RelaySyncs => relay::syncs(self, &mut state),
            Step::AppTakes => app::takes(self, &mut state),
            Step::AppTakesAhead => app::takes_ahead(self, &mut state),
            Step::AppSyncs => app::syncs(self, &mut state),
            Step::AppSpeaks => app::speaks(self, &mut state),
            Step::AppProposes => app::proposes(self, &mut state),
            Step::AppSends => app::sends(self, &mut state),
            other => faults::happen(self, &mut state, other),
        };
        done?;
        if !self.scope.fine_hub {
            let _ = hub::syncs(self, &mut state);
        }
        if !self.scope.fine_app {
            let _ = app::syncs(self, &mut state);
        }
        normal::forget_what_nobody_wants(&mut state);
        if self.bug.is_none() {
            // A way to a broken promise is for people, who want the numbers as they were.
            normal::count_from_one(&mut state);
        }
        (state != *before).then_some(state)
    }
}

impl Model for Channel {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            hub_disk: state::HubDisk::default(),
            // A pairing was just made: the hub's handle opened no epoch.
            hub: Process::Up(state::HubRun::default()),
            app_disk: state::AppDisk::default(),
            app: Process::Up(AppRun::default()),
            down: state::Mailbox::default(),
            up: state::Mailbox::default(),
            hub_image: None,
            app_image: None,
            budget: Budget {
                crashes: self.scope.crashes,
                amnesias: self.scope.amnesias,
                set_backs: self.scope.set_backs,
                beats: self.scope.beats,
            },
            seen: state::Seen::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Step>) {
        actions.extend(PLAIN);
        if !self.scope.acks_in_detail {
            let app = match (&state.app, self.has(Bug::AckBeforeDurable)) {
                (Process::Up(run), true) => run.staged.cursor,
                _ => state.app_disk.cursor,
            };
            if let Process::Up(run) = &state.hub {
                let acked = run.staged.outbox.above;
                actions.extend((acked + 1..=app).map(Step::HubHearsAck));
            }
        }
        if state.budget.set_backs > 0 {
            let lowest = state.seen.left.above;
            let last = state.down.stored.head();
            actions.extend((lowest..last).map(Step::RelayIsSetBack));
        }
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        self.after(before, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! always {
            ($($promise:ident),*) => {
                vec![$(Property::always(Promise::$promise.name(), |model: &Self, state: &State| {
                    model.first_holds(state, Promise::$promise)
                })),*]
            };
        }
        always!(
            Follow, Converge, Once, Reuse, Visible, Atomic, Fork, Rollback, Alarm, Blocked
        )
    }
}

/// The lowest number that no envelope in the state has `taken`.
pub(crate) fn lowest_free(state: &State, taken: impl Fn(state::Envelope) -> Option<u8>) -> u8 {
    let mut used = 0_u32;
    for number in state.envelopes().filter_map(taken) {
        used |= 1 << number;
    }
    u8::try_from(used.trailing_ones()).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names are the programs' own, so that a counter-example can be played there.
    #[test]
    fn every_step_stands_beside_a_crash_point_that_there_is() {
        const POINTS: &str = include_str!("../../points.md");
        let named: Vec<&str> = PLAIN.into_iter().filter_map(Step::point).collect();
        assert!(named.len() > 10, "{named:?}");
        for point in named {
            assert!(POINTS.contains(&format!("`{point}`")), "{point}");
        }
    }
}
