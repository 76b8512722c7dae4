//! Seeds: run, repeated, made shorter.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use journal::ids::{Line, PairingId};
use journal::pairing::{AppNext, OfferTerms};
use journal::{AppPairing, HubPairing, Journal, JournalError, Mailboxes, Role, Suite};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::DeviceId;

use crate::engine::Bias;
use crate::net::Way;
use crate::node::{Ground, Place, open_journal};
use crate::oracle::Broken;
use crate::plan::Plan;
use crate::seeds::{self, Played, Seeds};
use crate::world::{Pair, Stats, World};

/// Runs that a shrinking may take.
const SHRINK_RUNS_MAX: usize = 400;

/// What became of a plan.
pub type Outcome = Result<Stats, Broken>;

/// Pairs a hub and an app, as every scenario begins.
///
/// # Errors
/// The journal's.
pub fn pair(suite: Suite) -> Result<Pair, JournalError> {
    const NOW_S: u64 = 1_800_000_000;
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let on = |disk: &SimDisk| Ground::new(Place::Simulated(disk.clone()));
    let (mut hub, _) = open_journal(Role::Hub, &on(&hub_disk), SeededDice(1))?;
    let (mut app, _) = open_journal(Role::App, &on(&app_disk), SeededDice(2))?;
    let offer = HubPairing::offer(&mut hub, terms(suite), NOW_S)?.into_inner();
    let next = AppPairing::start(&mut app, &offer, DeviceId([2; 32]), NOW_S)?.into_inner();
    let AppNext::Request(request) = next else {
        return Err(JournalError::Misuse("a new pairing begins with a request"));
    };
    let answer = HubPairing::request(&mut hub, &request, request.device(), NOW_S)?;
    let confirm = AppPairing::answer(&mut app, &request, &answer, NOW_S)?;
    let done = HubPairing::confirm(&mut hub, &confirm)?;
    let pairing = AppPairing::done(&mut app, &confirm, &done)?.into_inner();
    let ways = (ways(&hub, pairing)?, ways(&app, pairing)?);
    drop((hub, app));
    Ok(Pair {
        hub: hub_disk,
        app: app_disk,
        ways,
    })
}

/// What a hub offers to a phone.
#[must_use]
pub fn terms(suite: Suite) -> OfferTerms {
    OfferTerms {
        hub: DeviceId([1; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite,
        ttl_s: 600,
    }
}

/// The lines of a pairing as this end has them.
///
/// # Errors
/// The journal's.
pub fn ways(journal: &Journal, pairing: PairingId) -> Result<Vec<Way>, JournalError> {
    let all = Line::all(pairing).into_iter().map(|line| {
        let Mailboxes { send, receive } = journal.mailboxes(line)?;
        Ok(Way {
            line,
            send,
            receive,
        })
    });
    all.collect()
}

/// Plays a plan. A panic in a core is a broken promise too: bytes from outside never panic, and our
/// own invariants hold.
pub fn repeat(plan: &Plan, pair: &Pair) -> Outcome {
    let world = World::new(plan.clone(), pair);
    caught(|| world.run())
}

/// Plays the engine's run of a seed; gives the number of crashes in it.
///
/// # Errors
/// The promise that did not hold.
pub fn engine(bias: Bias, seed: u64) -> Result<u64, Broken> {
    caught(|| crate::engine::run(bias, seed))
}

/// Plays the plans of many seeds; each thread has a pair of its own.
///
/// # Errors
/// No pair can be made, or see [`seeds::play`].
pub fn worlds(seeds: &Seeds) -> io::Result<Played> {
    seeds::play(seeds, || {
        let pair = pair(Suite::XWing).map_err(io::Error::other)?;
        Ok(move |seed| repeat(&Plan::of_seed(seed), &pair))
    })
}

/// Plays the engine's runs of many seeds, each with the bias that is its turn.
///
/// # Errors
/// See [`seeds::play`].
pub fn engines(seeds: &Seeds) -> io::Result<Played> {
    seeds::play(seeds, || Ok(|seed| engine(Bias::of(seed), seed)))
}

/// Runs a world; a panic in it breaks C6.
///
/// # Errors
/// The world's.
pub fn caught<T>(run: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            let text = text.unwrap_or_default();
            Err(Broken::new("C6", format!("a panic: {text}")))
        }
    }
}

/// Leaves out of a failing plan every step that it fails without, as long as it breaks the same
/// promise. The last one that failed comes back.
#[must_use]
pub fn shrink(plan: &Plan, pair: &Pair, promise: &str) -> Plan {
    let mut best = plan.clone();
    let mut runs = 0;
    let mut changed = true;
    while changed && runs < SHRINK_RUNS_MAX {
        changed = false;
        for index in (0..best.steps.len()).rev() {
            let mut shorter = best.clone();
            shorter.steps.remove(index);
            runs += 1;
            if matches!(repeat(&shorter, pair), Err(broken) if broken.promise == promise) {
                best = shorter;
                changed = true;
            }
        }
    }
    best
}
