//! The malicious relay against real hub and app processes: for every vice a run, then honest behaviour, then
//! the oracle.
//!
//! A run, all of it under the vice: hub and phone are started and people walk by, of which the phones are notified and
//! sent picture and video; a second phone pairs and syncs; the owner gives a command from the first one; all
//! connections are closed and attached again, so that the relay can lie about what it holds, too; the second phone is
//! removed, of which the relay is told. Then the relay behaves. From then on everything must be acked, each end of each
//! mailbox attached again and the hub's standing good, by the same processes; the command is answered, all that was
//! told has come, and the second phone is shut out; then one more event, and the promises C1 to C8, S3 and S5 as after
//! a crash. This room must never count a run in which no lie was told, or no event to the phone, as a pass.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness waits on real processes, and so on a real clock."
)]

use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crashtest::oracle::Verdict;
use crashtest::process::{Line, Role};
use crashtest::system::{Setup, Stock, System, people_clip, short_clip};
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workers;
use crashtest::workload::{Workload, motion};
use crashtest_evil_relay::fault::Fault;
use crashtest_evil_relay::orders::{self, Look, Order};
use crashtest_evil_relay::vice::Vice;
use serde_json::{Value, json};

/// The program that runs in the relay's place.
pub const PROGRAM: &str = "secluso-evil-relay";
/// How often people walk by, for how long, and how long after that nobody is there, in seconds: it goes on while the second
/// phone pairs. Each time is an event. On a machine that is too busy to look at every picture it is the last time only.
const VISITS: u32 = 3;
const VISIT_SECONDS: f64 = 2.5;
const GAP_SECONDS: f64 = 1.5;
/// The shortest post-roll there is. It is over before the next time.
const POST_ROLL_SECONDS: f64 = 1.0;
/// How long it lies at least, once everything was recorded.
const SPELL_MIN: Duration = Duration::from_millis(1_500);
/// How long at most: a relay that lies longer is waited for longer by both ends, whose pauses double.
const SPELL_MAX: Duration = Duration::from_secs(8);
/// How long a sync that ends by itself may take under lies, before it is killed.
pub(crate) const BRIEF: Duration = Duration::from_secs(5);
/// How long both ends may take to come back to a relay that behaves. Their pauses are up to a minute.
const RETURN_PATIENCE: Duration = Duration::from_secs(100);

/// A vice, and the dice it is played with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// How it lies.
    pub vice: Vice,
    /// The seed of its dice.
    pub seed: u64,
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Cell {
    /// Which.
    pub case: Case,
    /// Lies told.
    pub lies: u64,
    /// Events under lies of which the phone was notified, and of which it was sent a picture.
    pub told: [usize; 2],
    /// From start to verdict.
    pub took: Duration,
    /// What is broken, if anything is.
    pub broken: Option<String>,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { vice, seed } = self.case;
        let seconds = self.took.as_secs_f64();
        let lies = self.lies;
        let [notified, pictured] = self.told;
        write!(
            f,
            "{vice:<15} seed {seed:<4} {lies:>5} lies, {notified} events told, {pictured} shown {seconds:>6.1} s  "
        )?;
        match &self.broken {
            None => f.write_str("ok"),
            Some(what) => write!(f, "FAILED: {what}"),
        }
    }
}

impl Cell {
    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "vice": self.case.vice.name(),
            "seed": self.case.seed,
            "lies": self.lies,
            "notified": self.told[0],
            "pictured": self.told[1],
            "seconds": self.took.as_secs_f64(),
            "broken": self.broken,
        })
    }
}

/// Each vice `rounds` times, and four mixtures more in each further round.
#[must_use]
pub fn cases(rounds: u64, first_seed: u64) -> Vec<Case> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let seed = first_seed + round * 16;
        all.extend(Vice::ALL.map(|vice| Case { vice, seed }));
        let more = if round == 0 { 0 } else { 4 };
        all.extend((1..=more).map(|n| Case {
            vice: Vice::Mixture,
            seed: seed + n,
        }));
    }
    all
}

/// The world in which the malicious relay is the relay.
///
/// # Errors
/// It is not built.
pub fn setup() -> Outcome<Setup> {
    Ok(Setup {
        relay_program: Some(program()?),
        ..Workload::Event.setup()
    })
}

/// The same with a camera by which people walk now and then.
///
/// # Errors
/// As [`setup`].
pub fn setup_with_people() -> Outcome<Setup> {
    // From the key frame before it on, and however much of a core it takes: several worlds share the machine.
    let detection = format!(
        "[camera.detection]\npre_roll_seconds = 0.0\npost_roll_seconds = {POST_ROLL_SECONDS:?}\n\
         cool_down_seconds = 0.0\ncpu_percent = 100\n"
    );
    Ok(Setup {
        clip: people_clip(),
        passes: VISITS,
        gap_seconds: GAP_SECONDS,
        camera_extra: format!("at_most_seconds = {VISIT_SECONDS:?}\n\n{detection}"),
        ..setup()?
    })
}

fn program() -> Outcome<PathBuf> {
    let place = Role::Relay.path()?.with_file_name(PROGRAM);
    if place.is_file() {
        Ok(place)
    } else {
        Err(Trouble::NotBuilt(place))
    }
}

/// Plays all cases, a few at a time; each is told when it is done.
///
/// # Errors
/// No paired world could be made.
pub fn run(cases: &[Case], tell: impl Fn(usize, &Cell) + Sync) -> Outcome<Vec<Cell>> {
    let setup = setup_with_people()?;
    let count = AtomicUsize::new(0);
    let tell = |cell: &Cell| {
        tell(count.fetch_add(1, Ordering::Relaxed) + 1, cell);
        Ok(())
    };
    let one = |stock: &Stock, case: &Case| attempt(stock, &setup, *case);
    workers::run(&setup, cases, None, one, tell)
}

/// Plays one case.
#[must_use]
pub fn attempt(stock: &Stock, setup: &Setup, case: Case) -> Cell {
    let began = Instant::now();
    let (mut lies, mut told) = (0, [0; 2]);
    let played = stock
        .system(setup.clone())
        .and_then(|mut system| play(&mut system, case, (&mut lies, &mut told)));
    let broken = match played {
        Ok(()) if lies == 0 => Some("it told no lie, so nothing was shown".to_owned()),
        other => other.err().map(|trouble| trouble.to_string()),
    };
    if broken.is_some() {
        stock.keep(&format!("{}-{}", case.vice, case.seed));
    }
    Cell {
        case,
        lies,
        told,
        took: began.elapsed(),
        broken,
    }
}

/// Gives an order to the relay of a world.
///
/// # Errors
/// As [`orders::tell`].
pub fn order(system: &System, order: Order) -> Outcome<Look> {
    orders::tell(&system.path("relay/data"), order).map_err(told)
}

/// What the relay's fault is to a test.
#[must_use]
pub fn told(fault: Fault) -> Trouble {
    match fault {
        Fault::Usage(what) => Trouble::Usage(what),
        Fault::Machine { what, source } => Trouble::Machine { what, source },
        nonsense @ Fault::Nonsense(_) => Trouble::Broken(nonsense.to_string()),
    }
}

/// For how long somebody watches live under lies, in seconds.
const WATCHED_S: u64 = 2;

fn play(system: &mut System, case: Case, (lies, told): (&mut u64, &mut [usize; 2])) -> Outcome<()> {
    system.start(Role::Relay)?;
    order(system, Order::Vice(case.vice, case.seed))?;
    for role in [Role::App, Role::Hub] {
        system.start(role)?;
    }
    let guest = system.pair_guest()?;
    // How far it comes is the relay's choice; that it panics is not.
    system.sync_guest_briefly(BRIEF)?;
    // As phones do it to an app, which may be waiting for the relay.
    system.kill(Role::App)?;
    let command = system.give_briefly(&["phones"], BRIEF)?;
    // Whatever is shown of it, and how it ends, is the relay's choice; what the frames were sealed with is not.
    system.watch_once(WATCHED_S)?;
    system.start(Role::App)?;
    let patience = system.setup.patience;
    system.until("an event under lies, told and shown", patience, |system| {
        let is_told = told_so_far(system).iter().all(|events| *events > 0);
        Ok((is_told && recorded(system)? > 0).then_some(()))
    })?;
    // Now it holds something to lie about: everything is attached again.
    *lies = order(system, Order::Vice(case.vice, case.seed ^ 1))?.lies;
    system.remove_guest(&guest)?;
    let began = Instant::now();
    *lies = system.until("a lie", SPELL_MAX * 2, |system| {
        let look = order(system, Order::Look)?;
        let took = began.elapsed();
        let enough = (look.lies > 0 && took >= SPELL_MIN) || took >= SPELL_MAX;
        Ok(enough.then_some(look.lies))
    })?;
    *told = told_so_far(system);
    order(system, Order::Behave)?;
    come_back(system).map_err(Trouble::apart)?;
    shut_out(system, case)?;
    system.stop(Role::App)?;
    let answer = system.answer_to(&command).map_err(Trouble::apart)?;
    if answer["phones"].as_array().is_none_or(Vec::is_empty) {
        let what = format!("a command for the phones was answered: {answer}");
        return Err(Trouble::Broken(what));
    }
    all_that_was_told(system).map_err(Trouble::apart)?;
    system.start(Role::App)?;
    order(system, Order::Mark)?;
    // The one more event is recorded whole, whoever walks by.
    system.setup.clip = short_clip();
    system.setup.camera_extra.clear();
    let run = system.settle();
    let notes = [system.notes(Role::Hub), system.notes(Role::App)];
    Verdict::with_notes(&run, &notes).expect_pass()?;
    let late = order(system, Order::Look)?.fresh_gone;
    if late > 0 {
        let what = format!("{late} envelopes were made for a phone that had been removed");
        return Err(Trouble::Broken(what));
    }
    match system.panic_said() {
        Some(line) => Err(Trouble::Broken(format!("a panic: {line}"))),
        None => Ok(()),
    }
}

/// The phone that was removed gets nowhere, and is told why; but by a relay that only said that it shut it out.
fn shut_out(system: &mut System, case: Case) -> Outcome<()> {
    let answer = system.ask_guest(&["sync", "--json"])?;
    let is_out = !answer.status.success() && answer.said.contains("removed");
    if is_out || case.vice == Vice::Pardon {
        return Ok(());
    }
    let (status, said) = (answer.status, answer.said);
    let what = format!("a removed phone's sync ended with {status}: {said}");
    Err(Trouble::Broken(what))
}

/// Of how many events the hub has said that the notification is stored for a phone, and of how many the picture.
fn told_so_far(system: &System) -> [usize; 2] {
    let lines = system.board().lines();
    motion::SAID.map(|(channel, _)| motion::told_of(&lines, channel).len())
}

/// Notifications and pictures come to the phone, of which no sync runs; what is wrong with them is for the oracle.
fn all_that_was_told(system: &mut System) -> Outcome<()> {
    // The hub records on, and what it says behind this look nobody was given the time to fetch.
    let lines = system.until("what the phone was told of", RETURN_PATIENCE, |system| {
        let lines = system.board().lines();
        if motion::has_come(system, &lines)? {
            return Ok(Some(lines));
        }
        system.sync_once().map(|_answer| None)
    })?;
    for (channel, word) in motion::SAID {
        motion::judge(system, &lines, channel, word)?;
    }
    Ok(())
}

/// Events that the running hub has recorded whole.
pub(crate) fn recorded(system: &mut System) -> Outcome<usize> {
    let hub = system.process(Role::Hub)?.number();
    let lines = system.board().lines();
    let whole = |line: &&Line| {
        line.process == hub && line.event() == "clip_finished" && line.text("outcome") == "complete"
    };
    Ok(lines.iter().filter(whole).count())
}

/// The same processes go on with a relay that behaves: no lie has stopped any of their mailboxes for good. (That none
/// of them took its directory for an older one meanwhile is for the oracle.)
pub(crate) fn come_back(system: &mut System) -> Outcome<()> {
    let what = "everything in order once the relay behaves";
    system.until(what, RETURN_PATIENCE, |system| {
        let status = system.hub_status()?;
        let look = order(system, Order::Look)?;
        system.remember(format!("{look:?} {status:?}"));
        let told = status.relay_not_told == 0;
        let done = status.unacked_envelopes == 0 && !status.recording && told;
        let good = status.standing == "good" && look.waiting_hub + look.waiting_phone == 0;
        Ok((done && good).then_some(()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_vice_is_played_in_every_round_and_no_case_twice() {
        let all = cases(3, 100);
        assert_eq!(all.len(), 3 * Vice::ALL.len() + 2 * 4);
        for vice in Vice::ALL {
            assert!(all.iter().filter(|case| case.vice == vice).count() >= 3);
        }
        for (at, case) in all.iter().enumerate() {
            assert!(!all[..at].contains(case), "{case:?}");
        }
    }
}
