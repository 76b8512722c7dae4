//! The eight conversations that a crash may interrupt: pair, event, sync, trim, retain, budget, remove, order.
//!
//! Each ends with [`System::settle`]: one more event, carried and played out. A workload knows
//! nothing of crashes; whatever was killed is started again by the steps themselves, as its owner
//! would. This room must never judge.

use std::fmt;
use std::str::FromStr;

use crate::oracle::Ends;
use crate::process::Role;
use crate::system::{Setup, Stock, System};
use crate::trouble::{Outcome, Trouble};

/// Small log files, so that checkpoints and recycling come within seconds.
const LOG_KIB: u32 = 1024;
/// Events of 97 kB, of which a budget of 1 MiB holds seven or eight beside the next.
const BUDGET_PASSES: u32 = 12;
/// The largest number of events that a workload records at a time.
const EVENTS_MAX: usize = 3;

/// A conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Workload {
    /// Events are recorded while all three run; then the hub starts again.
    Event,
    /// The phone is away while events are recorded, the relay too for a while; then it catches up.
    Sync,
    /// Two rounds of events, all three started again between them, and a clip deleted: checkpoints,
    /// files recycled, envelopes trimmed.
    Trim,
    /// The phone is away while events are recorded of which the hub keeps copies; then it acks them.
    Retain,
    /// Relay and phone are away while more is recorded than the hub's budget holds: the oldest clips make room.
    /// Then the phone catches up.
    Budget,
    /// From nothing: relay made, hub admitted, paired, one event.
    Pair,
    /// The phone is lost: its owner removes it, and pairs another.
    Remove,
    /// The owner gives commands from the phone, until each is answered, to a hub that sends at a constant
    /// rate.
    Order,
}

impl Workload {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 8] = [
        Self::Event,
        Self::Sync,
        Self::Trim,
        Self::Retain,
        Self::Pair,
        Self::Remove,
        Self::Order,
        Self::Budget,
    ];

    /// Its name on command lines and in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Sync => "sync",
            Self::Trim => "trim",
            Self::Retain => "retain",
            Self::Budget => "budget",
            Self::Pair => "pair",
            Self::Remove => "remove",
            Self::Order => "order",
        }
    }

    /// What the camera plays, and sizes.
    #[must_use]
    pub fn setup(self) -> Setup {
        let passes = match self {
            Self::Event | Self::Sync | Self::Retain => 2,
            Self::Trim => 3,
            Self::Budget => BUDGET_PASSES,
            Self::Pair | Self::Remove | Self::Order => 1,
        };
        let retains = self == Self::Retain;
        let hub_extra = match self {
            Self::Retain => "\n[privacy]\nretain = \"until-acked\"\n".into(),
            // After the table of the disk.
            Self::Budget => "budget_mib = 1\n".into(),
            Self::Order => "\n[traffic]\nconstant_rate = \"256 KiB/s\"\nbacklog_mib = 16\n".into(),
            Self::Event | Self::Sync | Self::Trim | Self::Pair | Self::Remove => String::new(),
        };
        Setup {
            passes,
            hub_extra,
            hub_log_mib: if retains { 8 } else { 4 },
            gap_seconds: 0.0,
            drops_allowed: self == Self::Budget,
            log_kib: Some(LOG_KIB),
            ..Setup::default()
        }
    }

    /// Its world before it begins: a new one for [`Self::Pair`], else the stock's.
    ///
    /// # Errors
    /// The machine.
    pub fn world(self, stock: &Stock, setup: Setup) -> Outcome<System> {
        match self {
            Self::Pair => System::new(setup),
            Self::Event
            | Self::Sync
            | Self::Trim
            | Self::Retain
            | Self::Budget
            | Self::Remove
            | Self::Order => stock.system(setup),
        }
    }

    /// Plays it out.
    ///
    /// # Errors
    /// A program ended without being told to, or something did not happen in time.
    pub fn run(self, system: &mut System) -> Outcome<Ends> {
        match self {
            Self::Event => event(system),
            // The same talk; what differs is what the hub keeps meanwhile.
            Self::Sync | Self::Retain => sync(system),
            Self::Trim => trim(system),
            Self::Budget => budget(system),
            Self::Pair => pair(system),
            Self::Remove => remove(system),
            Self::Order => order(system),
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = Trouble;

    fn from_str(text: &str) -> Outcome<Self> {
        let found = Self::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or_else(|| Trouble::Usage(format!("no workload is called `{text}`")))
    }
}

fn pair(system: &mut System) -> Outcome<Ends> {
    system.make_relay()?;
    system.write_hub_config()?;
    system.pair()?;
    system.settle()
}

fn remove(system: &mut System) -> Outcome<Ends> {
    system.start(Role::Relay)?;
    system.remove_phone()?;
    system.lose_phone()?;
    system.pair()?;
    system.settle()
}

fn order(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    for words in [["phones"], ["resend"]] {
        system.order(&words)?;
    }
    // With cover the outbox is never empty: the last word is without.
    system.setup.hub_extra.clear();
    system.settle()
}

fn event(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    events_arrive(system)?;
    system.settle()
}

fn sync(system: &mut System) -> Outcome<Ends> {
    // The hub first: it records while the relay is away.
    for role in [Role::Hub, Role::Relay] {
        system.start(role)?;
    }
    let patience = system.setup.patience;
    let passes = passes(system);
    system.until("recorded events at the relay", patience, |system| {
        let played = finished(system)? >= passes;
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let stored = status.stored_through >= status.acked_through + status.unacked_envelopes;
        Ok((played && !status.recording && stored).then_some(()))
    })?;
    system.start_app()?;
    everything_acked(system)?;
    system.settle()
}

fn budget(system: &mut System) -> Outcome<Ends> {
    system.start(Role::Hub)?;
    let (patience, passes) = (system.setup.patience, BUDGET_PASSES as usize);
    system.until("recorded and dropped events", patience, |system| {
        let played = finished(system)? >= passes;
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let dropped = status.clips.iter().any(|clip| clip.outcome == "dropped");
        Ok((played && !status.recording && dropped).then_some(()))
    })?;
    for role in [Role::Relay, Role::App] {
        system.start(role)?;
    }
    everything_acked(system)?;
    system.settle()
}

fn trim(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    events_arrive(system)?;
    for role in [Role::App, Role::Relay, Role::Hub] {
        system.stop(role)?;
    }
    for role in [Role::Hub, Role::Relay, Role::App] {
        system.start(role)?;
    }
    events_arrive(system)?;
    for role in [Role::App, Role::Relay] {
        system.stop(role)?;
    }
    system.delete_first_clip()?;
    system.settle()
}

fn passes(system: &System) -> usize {
    usize::try_from(system.setup.passes)
        .unwrap_or(EVENTS_MAX)
        .min(EVENTS_MAX)
}

/// Complete clips of the hub's running process. One that a crash killed begins its passes again, so
/// that nothing is waited for in vain.
fn finished(system: &mut System) -> Outcome<usize> {
    let hub = system.process(Role::Hub)?.number();
    let lines = system.board().lines();
    let finished = lines.iter().filter(|line| {
        line.process == hub && line.event() == "clip_finished" && line.text("outcome") == "complete"
    });
    Ok(finished.count())
}

/// Waits until the running hub has played all its passes and the app has acked everything.
fn events_arrive(system: &mut System) -> Outcome<()> {
    let (patience, passes) = (system.setup.patience, passes(system));
    let played = system.until("the events", patience, |system| {
        Ok((finished(system)? >= passes).then_some(()))
    });
    played.map_err(Trouble::apart)?;
    everything_acked(system)
}

fn everything_acked(system: &mut System) -> Outcome<()> {
    let patience = system.setup.patience;
    let acked = system.until("their acks", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        Ok((!status.recording && status.unacked_envelopes == 0).then_some(()))
    });
    acked.map_err(Trouble::apart)
}
