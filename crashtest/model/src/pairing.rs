//! The pairing handshake: offer, request, answer, join, proof, last word; with deaths anywhere.
//!
//! Who asks gets an answer only after a sync, and the answer may be lost; whoever did not get one
//! asks again. This room must never assume that a code is still good: codes run out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use stateright::{Model, Property};

/// A mistake in the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PairingBug {
    /// The hub answers before the pairing's groups are durable. Breaks nothing: see `README.md`.
    AnswerBeforePersist,
    /// The hub repeats its last word to nobody.
    LastWordOnce,
    /// The app takes its own join for success.
    SuccessWithoutProof,
    /// The hub says its last word before it is durable.
    LastWordBeforePersist,
    /// The app keeps what it joined although the hub does not know it.
    NeverGivesUp,
}

/// A group, told apart by the request that it answers and by how often that was answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    request: u8,
    making: u8,
}

/// What the hub's journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HubDisk {
    /// The code that is good (0: none).
    offer: u8,
    /// What was made for it, not confirmed.
    answered: Option<Group>,
    /// A pairing that is whole.
    confirmed: Option<Group>,
}

/// What the app's journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AppDisk {
    /// Nothing.
    #[default]
    Nothing,
    /// It asked; the code and the request.
    Asked(u8, u8),
    /// It joined.
    Joined(u8, Group),
    /// It knows that the hub knows.
    Done(Group),
}

/// What the hub says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Word {
    /// Welcomes.
    Answer(Group),
    /// The proof is good.
    Last(Group),
    /// This code is not known (any more).
    Unknown,
}

/// Memory and disk of one process; `None` as memory: it is dead, with what the page cache has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Host<Disk> {
    disk: Disk,
    staged: Option<Disk>,
    cache: Option<Disk>,
}

impl<Disk: Copy + PartialEq + Default> Default for Host<Disk> {
    fn default() -> Self {
        Self {
            disk: Disk::default(),
            staged: Some(Disk::default()),
            cache: None,
        }
    }
}

impl<Disk: Copy + PartialEq> Host<Disk> {
    fn sync(&mut self) -> Option<()> {
        let staged = self.staged?;
        (staged != self.disk).then_some(())?;
        self.disk = staged;
        Some(())
    }

    fn die(&mut self, written: bool) -> Option<()> {
        let staged = self.staged?;
        if written && staged == self.disk {
            return None;
        }
        self.cache = written.then_some(staged);
        self.staged = None;
        Some(())
    }

    fn lose_cache(&mut self) -> Option<()> {
        self.cache.take().map(drop)
    }

    fn start(&mut self) -> Option<()> {
        if self.staged.is_some() {
            return None;
        }
        self.disk = self.cache.take().unwrap_or(self.disk);
        self.staged = Some(self.disk);
        Some(())
    }

    /// Running, with everything synced.
    fn settled(&self) -> Option<Disk> {
        self.staged.filter(|staged| *staged == self.disk)
    }
}

/// A state of the handshake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct State {
    hub: Host<HubDisk>,
    app: Host<AppDisk>,
    /// What the hub will say once it is durable.
    owed: Option<Word>,
    /// What is on its way to the app.
    said: Option<Word>,
    offers: u8,
    requests: u8,
    crashes: u8,
}

/// What can happen.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Step {
    /// The hub makes a code.
    HubOffers,
    /// The code runs out.
    OfferRunsOut,
    /// The app reads the code and stages a request.
    AppAsks,
    /// The hub hears the request and stages its answer.
    HubAnswers,
    /// The app takes the answer and stages its join.
    AppJoins,
    /// The hub hears the proof and stages the confirmation.
    HubConfirms,
    /// The app takes the last word.
    AppIsDone,
    /// The app is told that its code is void, and ends what it made for it.
    AppGivesUp,
    /// The hub's log is written and synced; what is owed is said.
    HubSyncs,
    /// The app's log is written and synced.
    AppSyncs,
    /// What was said is lost with the connection.
    WordIsLost,
    /// The hub dies, before (false) or after (true) the write of what was staged.
    HubDies(bool),
    /// The app dies.
    AppDies(bool),
    /// The power goes in the hub's recovery.
    HubPowerCutInRecovery,
    /// The power goes in the app's recovery.
    AppPowerCutInRecovery,
    /// The hub starts.
    HubStarts,
    /// The app starts.
    AppStarts,
}

impl Step {
    /// The crash point of the programs beside this step.
    #[must_use]
    pub fn point(self) -> Option<&'static str> {
        Some(match self {
            Self::AppAsks => "journal.pairing.app_request",
            Self::HubAnswers => "journal.pairing.hub_answer",
            Self::AppJoins => "journal.pairing.app_join",
            Self::HubConfirms => "journal.pairing.hub_done",
            Self::AppIsDone => "journal.pairing.app_done",
            Self::HubSyncs | Self::AppSyncs => "wal.commit.after_sync",
            Self::HubDies(false) | Self::AppDies(false) => "wal.commit.before_write",
            Self::HubDies(true) | Self::AppDies(true) => "wal.commit.after_write",
            Self::HubPowerCutInRecovery | Self::AppPowerCutInRecovery => "wal.recover.before_sync",
            Self::HubStarts | Self::AppStarts => "wal.recover.after_seal",
            _ => return None,
        })
    }
}

const STEPS: [Step; 19] = [
    Step::HubOffers,
    Step::OfferRunsOut,
    Step::AppAsks,
    Step::HubAnswers,
    Step::AppJoins,
    Step::HubConfirms,
    Step::AppIsDone,
    Step::AppGivesUp,
    Step::HubSyncs,
    Step::AppSyncs,
    Step::WordIsLost,
    Step::HubDies(false),
    Step::HubDies(true),
    Step::AppDies(false),
    Step::AppDies(true),
    Step::HubPowerCutInRecovery,
    Step::AppPowerCutInRecovery,
    Step::HubStarts,
    Step::AppStarts,
];

/// In a run without faults, in the order in which it is tried.
const PEACE: [Step; 10] = [
    Step::HubStarts,
    Step::AppStarts,
    Step::HubSyncs,
    Step::AppSyncs,
    Step::AppGivesUp,
    Step::AppIsDone,
    Step::AppJoins,
    Step::HubConfirms,
    Step::HubAnswers,
    Step::AppAsks,
];

/// More steps than a handshake has, with a code that has to be made again.
const PEACE_MAX: usize = 100;

/// C1: whoever joined is in the hub's group.
pub const SAME_GROUP: &str = "C1 both ends are in one group";
/// Success only with proof from the other side.
pub const PROOF: &str = "C1 success only with proof";
/// C7: the handshake can be finished, or begun again.
pub const FINISHES: &str = "C7 pairing can be finished";

/// The handshake within bounds.
#[derive(Clone, Debug)]
pub struct Pairing {
    /// Codes that the hub makes.
    pub offers: u8,
    /// Requests that the app makes.
    pub requests: u8,
    /// Deaths and power cuts in recovery.
    pub crashes: u8,
    /// The mistake.
    pub bug: Option<PairingBug>,
    found: Arc<AtomicU16>,
}

impl Pairing {
    /// The handshake with at most one mistake.
    #[must_use]
    pub fn new(offers: u8, crashes: u8, bug: Option<PairingBug>) -> Self {
        let found = Arc::new(AtomicU16::new(0));
        Self {
            offers,
            requests: 2 * offers,
            crashes,
            bug,
            found,
        }
    }

    fn first_holds(&self, bit: u16, holds: bool) -> bool {
        let known = self.found.load(Ordering::Relaxed) & bit != 0;
        known || holds || self.found.fetch_or(bit, Ordering::Relaxed) & bit != 0
    }

    fn step(&self, state: &mut State, step: Step) -> Option<()> {
        match step {
            Step::HubOffers => self.offer(state),
            Step::OfferRunsOut => {
                let hub = state.hub.staged.as_mut()?;
                (hub.offer != 0).then_some(())?;
                // What was made for it dies with it, whole.
                hub.offer = 0;
                hub.answered = None;
                Some(())
            }
            Step::AppAsks => self.ask(state),
            Step::HubAnswers => self.answer(state),
            Step::AppJoins => self.join(state),
            Step::HubConfirms => self.confirm(state),
            Step::AppIsDone => {
                let Word::Last(group) = state.said? else {
                    return None;
                };
                let app = state.app.staged.as_mut()?;
                let joined = matches!(app, AppDisk::Joined(_, own) if *own == group);
                joined.then(|| *app = AppDisk::Done(group))?;
                state.said = None;
                Some(())
            }
            Step::AppGivesUp => {
                let told = state.said? == Word::Unknown;
                (told && self.bug != Some(PairingBug::NeverGivesUp)).then_some(())?;
                let app = state.app.staged.as_mut()?;
                if !matches!(app, AppDisk::Done(_)) {
                    *app = AppDisk::Nothing;
                }
                state.said = None;
                Some(())
            }
            Step::HubSyncs => {
                let synced = state.hub.sync();
                let owed = state.owed.take();
                state.said = owed.or(state.said);
                synced.or(owed.map(drop))
            }
            Step::AppSyncs => state.app.sync(),
            Step::WordIsLost => state.said.take().map(drop),
            fault => self.fault(state, fault),
        }
    }

    fn fault(&self, state: &mut State, step: Step) -> Option<()> {
        match step {
            Step::HubStarts => return state.hub.start(),
            Step::AppStarts => return state.app.start(),
            _ => state.crashes = state.crashes.checked_sub(1)?,
        }
        // Every connection ends with either process.
        state.said = None;
        match step {
            Step::HubDies(written) => {
                state.owed = None;
                state.hub.die(written)
            }
            Step::AppDies(written) => state.app.die(written),
            Step::HubPowerCutInRecovery => state.hub.lose_cache(),
            Step::AppPowerCutInRecovery => state.app.lose_cache(),
            _ => None,
        }
    }

    fn offer(&self, state: &mut State) -> Option<()> {
        let hub = state.hub.staged.as_mut()?;
        if hub.offer != 0 || hub.confirmed.is_some() || state.offers >= self.offers {
            return None;
        }
        state.offers += 1;
        hub.offer = state.offers;
        Some(())
    }

    /// The code is shown once it is durable; a person can read it at any time.
    fn ask(&self, state: &mut State) -> Option<()> {
        let offer = state.hub.disk.offer;
        let app = state.app.staged.as_mut()?;
        if offer == 0 || *app != AppDisk::Nothing || state.requests >= self.requests {
            return None;
        }
        state.requests += 1;
        *app = AppDisk::Asked(offer, state.requests);
        Some(())
    }

    fn answer(&self, state: &mut State) -> Option<()> {
        let (None, None) = (state.owed, state.said) else {
            return None;
        };
        let AppDisk::Asked(offer, request) = state.app.settled()? else {
            return None;
        };
        let fresh = state.unused(request);
        let hub = state.hub.staged.as_mut()?;
        let repeats = hub.answered.filter(|group| group.request == request);
        let word = if hub.offer != offer {
            Word::Unknown
        } else if let Some(group) = repeats {
            Word::Answer(group)
        } else {
            hub.answered = Some(fresh);
            Word::Answer(fresh)
        };
        if self.bug == Some(PairingBug::AnswerBeforePersist) {
            state.said = Some(word);
        } else {
            state.owed = Some(word);
        }
        Some(())
    }

    fn join(&self, state: &mut State) -> Option<()> {
        let Word::Answer(group) = state.said? else {
            return None;
        };
        let app = state.app.staged.as_mut()?;
        let AppDisk::Asked(offer, request) = *app else {
            return None;
        };
        (request == group.request).then_some(())?;
        *app = match self.bug {
            Some(PairingBug::SuccessWithoutProof) => AppDisk::Done(group),
            _ => AppDisk::Joined(offer, group),
        };
        state.said = None;
        Some(())
    }

    fn confirm(&self, state: &mut State) -> Option<()> {
        let (None, None) = (state.owed, state.said) else {
            return None;
        };
        let AppDisk::Joined(_, group) = state.app.settled()? else {
            return None;
        };
        let hub = state.hub.staged.as_mut()?;
        let word = if hub.confirmed == Some(group) {
            // The last word was lost; it is said again.
            if self.bug == Some(PairingBug::LastWordOnce) {
                return None;
            }
            Word::Last(group)
        } else if hub.answered == Some(group) {
            *hub = HubDisk {
                offer: 0,
                answered: None,
                confirmed: Some(group),
            };
            Word::Last(group)
        } else {
            Word::Unknown
        };
        if self.bug == Some(PairingBug::LastWordBeforePersist) {
            state.said = Some(word);
        } else {
            state.owed = Some(word);
        }
        Some(())
    }

    fn after(&self, before: &State, step: Step) -> Option<State> {
        let mut state = *before;
        self.step(&mut state, step)?;
        (state != *before).then_some(state)
    }

    /// Without faults, and with a new code if the old one ran out, both are done.
    fn finishes(&self, state: &State) -> bool {
        let mut model = self.clone();
        (model.offers, model.requests) = (u8::MAX, u8::MAX);
        let mut state = *state;
        'moving: for _ in 0..PEACE_MAX {
            for step in PEACE.into_iter().chain([Step::HubOffers]) {
                if let Some(next) = model.after(&state, step) {
                    state = next;
                    continue 'moving;
                }
            }
            break;
        }
        let done = match (state.app.disk, state.hub.disk.confirmed) {
            (AppDisk::Done(app), Some(hub)) => app == hub,
            _ => false,
        };
        done && state.said.is_none()
    }
}

impl State {
    /// A group for this request that nobody has.
    fn unused(&self, request: u8) -> Group {
        let hub = [Some(self.hub.disk), self.hub.staged, self.hub.cache];
        let app = [Some(self.app.disk), self.app.staged, self.app.cache];
        let hub = hub.into_iter().flatten();
        let groups = hub.flat_map(|disk| [disk.answered, disk.confirmed]);
        let joined = app.into_iter().flatten().map(AppDisk::group);
        let used: Vec<Group> = groups.chain(joined).flatten().collect();
        let groups = (0..=u8::MAX).map(|making| Group { request, making });
        let mut free = groups.filter(|group| !used.contains(group));
        free.next().unwrap_or(Group { request, making: 0 })
    }

    fn same_group(&self) -> bool {
        let (Some(app), hub) = (self.app.disk.group(), self.hub.disk) else {
            return true;
        };
        let ours = [hub.answered, hub.confirmed].into_iter().flatten();
        let mut other = ours.filter(|group| group.request == app.request);
        other.all(|group| group == app)
    }

    fn has_proof(&self) -> bool {
        let hub = self.hub.disk.confirmed;
        let joined = self.app.disk.group();
        let app_right = match self.app.disk {
            AppDisk::Done(group) => hub == Some(group),
            _ => true,
        };
        app_right && (hub.is_none() || hub == joined)
    }
}

impl AppDisk {
    fn group(self) -> Option<Group> {
        match self {
            Self::Joined(_, group) | Self::Done(group) => Some(group),
            Self::Nothing | Self::Asked(..) => None,
        }
    }
}

impl Model for Pairing {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            crashes: self.crashes,
            ..State::default()
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Step>) {
        actions.extend(STEPS);
    }

    fn next_state(&self, before: &State, step: Step) -> Option<State> {
        self.after(before, step)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(SAME_GROUP, |model: &Self, state: &State| {
                model.first_holds(1, state.same_group())
            }),
            Property::always(PROOF, |model: &Self, state: &State| {
                model.first_holds(2, state.has_proof())
            }),
            Property::always(FINISHES, |model: &Self, state: &State| {
                model.first_holds(4, model.finishes(state))
            }),
        ]
    }
}
