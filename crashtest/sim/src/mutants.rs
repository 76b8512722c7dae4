//! Deliberate bugs, each to be caught by the promise that it breaks.
//!
//! The code knows the bugs (`wal::mutant!`); this room says where each is tried. A bug is caught if
//! some seed breaks the very promise that the bug names, and if the same seed breaks nothing without
//! it. It must never count a seed that breaks another promise: those are only reported.
#![expect(clippy::disallowed_methods, reason = "A trial shows how long it took.")]

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use crate::cut;
use crate::door;
use crate::engine::Bias;
use crate::oracle::Broken;
use crate::plan::{Flavour, Plan};
use crate::run;
use crate::theft;
use crate::world::Pair;

mod trials;

pub use trials::{ELSEWHERE, TRIALS};

/// Seeds that an engine trial may take: about a minute.
const ENGINE_SEEDS_MAX: u64 = 20_000;
/// Seeds that a trial in the whole world may take: about as long.
const WORLD_SEEDS_MAX: u64 = 600;

/// Lives that a trial by the thief may take: each is as short as a life can be.
const LIVES_MAX: u64 = 3;
/// Seeds that a trial by a power cut may take: each does the same.
const CUTS_MAX: u64 = 3;
/// Seeds that a trial at the door may take: likewise.
const DOORS_MAX: u64 = 3;

/// Where a bug is tried: the fastest place that can see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tier {
    /// The engine alone, a few milliseconds per seed.
    Engine(Bias),
    /// Hub, relay and app, with plans of this flavour.
    World(Flavour),
    /// Hub and phones on real files, whose copies a thief attacks.
    Theft,
    /// A hub's journal whose last write a power cut tears, and a thief behind the start.
    Cut,
    /// A hub's journal, phones that may pair, and strangers that may not.
    Door,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tier::Engine(Bias::Any) => f.write_str("engine"),
            Tier::Engine(bias) => write!(f, "engine, {bias:?}"),
            Tier::World(flavour) => write!(f, "world, {flavour:?}"),
            Tier::Theft => f.write_str("theft"),
            Tier::Cut => f.write_str("power cut"),
            Tier::Door => f.write_str("door"),
        }
    }
}

/// How a bug is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// The bug.
    pub mutant: &'static str,
    /// Where.
    pub tier: Tier,
}

/// What came of a trial.
#[derive(Clone, Debug)]
pub struct Finding {
    /// The bug.
    pub mutant: &'static str,
    /// The promise that it names.
    pub promise: &'static str,
    /// Where it was tried.
    pub tier: Tier,
    /// Seeds that were played with it.
    pub seeds: u64,
    /// The seed that broke its promise, and what was seen.
    pub seen: Option<(u64, String)>,
    /// How many seeds before that broke another promise, and what the first of them showed.
    pub others: BTreeMap<&'static str, (u64, String)>,
    /// What the same seed breaks without the bug.
    pub without: Option<Broken>,
    /// Time to detection.
    pub took: Duration,
}

impl Finding {
    /// Its own promise was broken, and without the bug nothing was.
    #[must_use]
    pub fn caught(&self) -> bool {
        self.seen.is_some() && self.without.is_none()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = if self.caught() { "caught" } else { "SURVIVED" };
        let (seeds, seconds) = (self.seeds, self.took.as_secs_f64());
        write!(
            f,
            "{:<30} {} {outcome}  {seeds:>4} seeds {seconds:>6.2} s  {}",
            self.mutant, self.promise, self.tier
        )?;
        if let Some((seed, what)) = &self.seen {
            write!(f, "  seed {seed}: {what:.110}")?;
        }
        for (promise, (count, first)) in &self.others {
            write!(f, "  ({count} broke {promise}")?;
            match self.caught() {
                true => f.write_str(")")?,
                false => write!(f, ": {first:.200})")?,
            }
        }
        match &self.without {
            None => Ok(()),
            Some(broken) => write!(f, "  and without the bug: {broken}"),
        }
    }
}

/// Every linked bug, once, with the promise that it names. Places that disagree are an error.
///
/// # Errors
/// The bug whose places name different promises.
pub fn linked() -> Result<BTreeMap<&'static str, &'static str>, String> {
    let mut found = BTreeMap::new();
    for place in wal::mutant::MUTANTS.iter() {
        let promise = found.entry(place.name).or_insert(place.promise);
        if *promise != place.promise {
            return Err(format!(
                "{} names {promise} and {}",
                place.name, place.promise
            ));
        }
    }
    Ok(found)
}

/// Bugs that nobody tries, and trials of bugs that are not linked.
#[must_use]
pub fn unmatched(linked: &BTreeMap<&'static str, &'static str>) -> Vec<String> {
    let tried =
        |name: &str| ELSEWHERE.contains(&name) || TRIALS.iter().any(|trial| trial.mutant == name);
    let untried = linked.keys().filter(|name| !tried(name));
    let wanted = TRIALS
        .iter()
        .map(|trial| trial.mutant)
        .chain(ELSEWHERE.iter().copied());
    let unknown = wanted.filter(|name| !linked.contains_key(name));
    untried
        .map(|name| format!("no trial plants {name}"))
        .chain(unknown.map(|name| format!("{name} is tried and not linked")))
        .collect()
}

/// Tries one bug.
#[must_use]
pub fn find(trial: &Trial, promise: &'static str, pair: &Pair) -> Finding {
    let began = Instant::now();
    let mut finding = Finding {
        mutant: trial.mutant,
        promise,
        tier: trial.tier,
        seeds: 0,
        seen: None,
        others: BTreeMap::new(),
        without: None,
        took: Duration::ZERO,
    };
    let seeds_max = match trial.tier {
        Tier::Engine(_) => ENGINE_SEEDS_MAX,
        Tier::World(_) => WORLD_SEEDS_MAX,
        Tier::Theft => LIVES_MAX,
        Tier::Cut => CUTS_MAX,
        Tier::Door => DOORS_MAX,
    };
    for seed in 0..seeds_max {
        finding.seeds += 1;
        match play(trial.tier, seed, Some(trial.mutant), pair) {
            Err(broken) if broken.promise == promise => {
                finding.took = began.elapsed();
                finding.without = play(trial.tier, seed, None, pair).err();
                finding.seen = Some((seed, broken.what));
                return finding;
            }
            Err(broken) => {
                let seen = finding.others.entry(broken.promise);
                seen.or_insert((0, broken.what)).0 += 1;
            }
            Ok(()) => {}
        }
    }
    finding.took = began.elapsed();
    finding
}

/// Plays a seed, with a living bug or without.
///
/// # Errors
/// The promise that did not hold.
pub fn play(
    tier: Tier,
    seed: u64,
    mutant: Option<&'static str>,
    pair: &Pair,
) -> Result<(), Broken> {
    let _alive = Alive::with(mutant);
    match tier {
        Tier::Engine(bias) => run::engine(bias, seed).map(drop),
        Tier::World(flavour) => run::repeat(&Plan::flavoured(flavour, seed), pair).map(drop),
        Tier::Theft => theft::judged(theft::Terms::shortest(seed)),
        Tier::Cut => cut::play(seed),
        Tier::Door => door::play(seed),
    }
}

/// A bug lives on this thread as long as this does.
struct Alive;

impl Alive {
    fn with(mutant: Option<&'static str>) -> Alive {
        wal::mutant::choose(mutant);
        Alive
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        wal::mutant::choose(None);
    }
}
