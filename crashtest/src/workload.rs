//! The fifteen conversations that a crash may interrupt.
//!
//! ```text
//! events    event, sync, trim, retain, beat, budget    what is recorded, delivered, kept and deleted
//! orders    order                                      commands
//! phones    pair, remove, beside, replace, pass        who is paired, and who no more
//! live      watch                                      live pictures while events are recorded
//! motion    motion                                     an event that is found, told and shown
//! reset     reset                                      a hub that begins again
//! ```
//!
//! Each ends with [`System::settle`]: one more event, carried and played out. A workload knows
//! nothing of crashes; whatever was killed is started again by the steps themselves, as its owner
//! would. This room must never judge.

use std::fmt;
use std::str::FromStr;

use crate::oracle::Ends;
use crate::system::{Setup, Stock, System, people_clip};
use crate::trouble::{Outcome, Trouble};

mod events;
mod live;
pub mod motion;
mod orders;
mod phones;
mod reset;

/// Small log files, so that checkpoints and recycling come within seconds.
const LOG_KIB: u32 = 1024;
/// Events of 97 kB, of which a budget of 1 MiB holds seven or eight beside the next.
const BUDGET_PASSES: u32 = 12;

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
    /// Then the phone catches up, and its owner is told what went, and why.
    Budget,
    /// From nothing: relay made, hub admitted, paired, one event.
    Pair,
    /// The phone is lost: its owner removes it, and pairs another; whoever has the old one is shut out.
    Remove,
    /// The owner gives commands from the phone, until each is answered, to a hub that sends at a constant
    /// rate; the last of them set one camera, which holds behind a restart.
    Order,
    /// A heartbeat in the middle of a clip.
    Beat,
    /// A second phone beside a living one: both get an event, both change the same setting while the hub is away, and
    /// the first removes the second by a command.
    Beside,
    /// The phone is lost with what it has not received: the hub is reset but for its clips, another phone takes its
    /// place, and gets what was retained.
    Replace,
    /// The hub is reset; the phone forgets it and pairs again.
    Reset,
    /// The owner watches live while events are recorded.
    Watch,
    /// A phone passes a code of the hub on, by which another one pairs; then it removes that one by a command.
    Pass,
    /// Somebody walks by: the hub finds the event by motion, tells the phone of it and sends its picture.
    Motion,
}

impl Workload {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 15] = [
        Self::Event,
        Self::Sync,
        Self::Trim,
        Self::Retain,
        Self::Pair,
        Self::Remove,
        Self::Order,
        Self::Reset,
        Self::Beat,
        Self::Replace,
        Self::Watch,
        Self::Beside,
        Self::Budget,
        Self::Pass,
        Self::Motion,
    ];

    /// Those in which every hit is tried: between them they pass nearly everything. The others are about steps of
    /// their own, and every hit is tried there only of points that none of these passes.
    pub const THOROUGH: [Self; 4] = [Self::Event, Self::Sync, Self::Trim, Self::Pair];

    /// Whether the gate plays it. The others are about steps that its other tests play too, without a kill, and would
    /// cost it more time than it has: they belong to `cargo xtask crash`.
    #[must_use]
    pub fn is_of_gate(self) -> bool {
        !matches!(self, Self::Pass | Self::Motion)
    }

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
            Self::Beat => "beat",
            Self::Beside => "beside",
            Self::Replace => "replace",
            Self::Reset => "reset",
            Self::Watch => "watch",
            Self::Pass => "pass",
            Self::Motion => "motion",
        }
    }

    /// What the camera plays, and sizes.
    #[must_use]
    pub fn setup(self) -> Setup {
        let passes = match self {
            Self::Event | Self::Sync | Self::Retain | Self::Replace => 2,
            Self::Trim | Self::Watch => 3,
            Self::Budget => BUDGET_PASSES,
            Self::Pair | Self::Remove | Self::Order | Self::Beat | Self::Beside | Self::Reset => 1,
            Self::Pass | Self::Motion => 1,
        };
        let retains = matches!(self, Self::Retain | Self::Replace);
        let hub_extra = match self {
            Self::Retain | Self::Replace => "\n[privacy]\nretain = \"until-acked\"\n".into(),
            // After the table of the disk.
            Self::Budget => "budget_mib = 1\n".into(),
            Self::Order => "\n[traffic]\nconstant_rate = \"256 KiB/s\"\nbacklog_mib = 16\n".into(),
            _ => String::new(),
        };
        let camera_extra = match self {
            Self::Motion => "\n[camera.detection]\npost_roll_seconds = 1.0\n".into(),
            _ => String::new(),
        };
        Setup {
            passes,
            camera_extra,
            hub_extra,
            hub_log_mib: if retains { 8 } else { 4 },
            gap_seconds: 0.0,
            drops_allowed: self == Self::Budget,
            log_kib: Some(LOG_KIB),
            clip: match self {
                // A heartbeat has to fall into it, or something has to move.
                Self::Beat | Self::Motion => people_clip(),
                _ => Setup::default().clip,
            },
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
            _ => stock.system(setup),
        }
    }

    /// Plays it out.
    ///
    /// # Errors
    /// A program ended without being told to, or something did not happen in time.
    pub fn run(self, system: &mut System) -> Outcome<Ends> {
        match self {
            Self::Event => events::event(system),
            // The same talk; what differs is what the hub keeps meanwhile.
            Self::Sync | Self::Retain => events::sync(system),
            Self::Trim => events::trim(system),
            Self::Budget => events::budget(system, BUDGET_PASSES as usize),
            Self::Pair => phones::pair(system),
            Self::Remove => phones::remove(system),
            Self::Order => orders::order(system),
            Self::Beat => events::beat(system),
            Self::Beside => phones::beside(system),
            Self::Replace => phones::replace(system),
            Self::Reset => reset::reset(system),
            Self::Watch => live::watch(system),
            Self::Pass => phones::pass(system),
            Self::Motion => motion::motion(system),
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
