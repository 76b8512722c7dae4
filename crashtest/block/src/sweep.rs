//! Runs over the states of a log: each disk mounted and opened once, whoever leads to it, and asked
//! to explain all that had been told at each instant at which it can be.
//!
//! First the corners of every epoch, then all that is left, so that a run that is cut short has seen
//! something of every instant. This room must never skip a state silently.
#![expect(
    clippy::disallowed_methods,
    reason = "The sweep reports states per second and may have a deadline: it is a shell."
)]

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crashtest::process::Role;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::check::{Outcome as Start, Told};
use crashtest_replay::ends::{Agreement, Peer, talk};
use crashtest_replay::heads::Heads;
use crashtest_replay::image::{Hash, Image};
use crashtest_replay::steps::{Step, Story};

use crate::epochs::{Epoch, epochs, marks_before};
use crate::keep::{Kept, keep};
use crate::opener::{Hand, Look, Mount, Opened, Opener};
use crate::progress::Progress;
use crate::report::{Failure, Report, Shape};
use crate::states::{Depth, Kind, State, WRITES_ALL_SUBSETS, states};

/// Fatal and refused states that are kept.
const KEPT_MAX: usize = 10;
/// Of them, those of one epoch: they are much alike.
const KEPT_OF_AN_EPOCH_MAX: usize = 2;
/// How often a run says how far it has come.
const SAY_SECONDS: u64 = 10;
/// A start that takes longer is stuck (promise C7).
const START_MAX: Duration = Duration::from_secs(10);
/// What is left after the corners is visited in so many passes, each through every so-many-th epoch.
const PASSES: usize = 8;

/// Names this program, which is what recovers, by its bytes.
fn build() -> Outcome<String> {
    let own = std::env::current_exe();
    let build = own.and_then(|own| crashtest::progress::build(&[own]));
    build.map_err(Trouble::machine("this program"))
}

/// What is wanted of a sweep.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Stop when so many different disks were opened.
    pub states_max: u64,
    /// Stop after this time.
    pub time_max: Duration,
    /// For the dice.
    pub seed: u64,
    /// Threads that mount.
    pub hands: usize,
    /// Only disks whose hash leaves this rest: `(rest, of)`, for machines that share the work.
    pub shard: (u32, u32),
    /// Of every so many disks one also talks with its peer until both agree; 0 is none.
    pub talks_every: u32,
    /// Size of the log files in KiB, for whoever repeats a state.
    pub log_kib: u32,
    /// Where fatal states are kept.
    pub keep: PathBuf,
    /// Go on where this file says, and write down there how far we come.
    pub resume: Option<PathBuf>,
}

struct Shared<'a> {
    opener: &'a Opener<'a>,
    peer: Option<&'a Peer>,
    plan: &'a Plan,
    epochs: &'a [Epoch],
    /// How many marks had come by the end of each epoch.
    marks: Vec<usize>,
    /// What was told, by number of marks.
    told: Vec<Told>,
    words: Vec<&'a str>,
    found: Mutex<Found>,
    stop: AtomicBool,
    begun: Instant,
}

#[derive(Default)]
struct Found {
    report: Report,
    outcomes: HashMap<Hash, Arc<Opened>>,
    taken: HashSet<Hash>,
    /// The same facts are found again and again.
    known: HashSet<Arc<Start>>,
    checked: HashSet<(Hash, usize)>,
    heads: Heads,
    fresh: Vec<(Hash, usize)>,
    opened: u64,
    said: u64,
    trouble: Option<Trouble>,
}

/// A state and where it comes from.
struct Place<'a> {
    epoch: usize,
    kind: Kind,
    state: &'a State,
    /// What had been told.
    marks: usize,
}

/// Sweeps over the states of a log and its story. With a peer, some states must also come to an
/// agreement with the other end as it was then.
///
/// # Errors
/// The harness's: what is not known to be a failure of the programs is none.
pub fn sweep(
    opener: &Opener<'_>,
    story: &Story,
    peer: Option<&Peer>,
    plan: &Plan,
) -> Outcome<Report> {
    let epochs = epochs(opener.log());
    let words: Vec<&str> = story
        .steps
        .iter()
        .filter_map(|placed| match &placed.step {
            Step::Mark(words) => Some(words.as_str()),
            _ => None,
        })
        .collect();
    let told = (0..=words.len()).map(|marks| Told::until(&story.steps, marks));
    let marks = epochs
        .iter()
        .map(|epoch| marks_before(&story.steps, epoch.nanos));
    let mut found = Found::default();
    let progress = plan
        .resume
        .as_deref()
        .map(|path| Progress::read(path, opener.log(), &build()?))
        .transpose()?;
    if let Some(progress) = &progress {
        found.checked.extend(&progress.seen);
    }
    let shared = Shared {
        opener,
        peer,
        plan,
        epochs: &epochs,
        marks: marks.collect(),
        told: told.collect(),
        words,
        found: Mutex::new(found),
        stop: AtomicBool::new(false),
        begun: Instant::now(),
    };
    shared.round(Depth::Corners, (0..epochs.len()).collect());
    for pass in 0..PASSES {
        shared.round(Depth::Rest, (pass..epochs.len()).step_by(PASSES).collect());
    }
    let took = shared.begun.elapsed();
    let marks = shared.words.len();
    let found = shared
        .found
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(trouble) = found.trouble {
        return Err(trouble);
    }
    Ok(Report {
        program: opener.subject().name().to_owned(),
        log: opener.log().totals(),
        shape: Shape::of(epochs.iter().map(|epoch| epoch.pending.len())),
        marks,
        took,
        ..found.report
    })
}

impl<'a> Shared<'a> {
    fn found(&self) -> MutexGuard<'_, Found> {
        // Whatever panicked did so outside of the lock: starts catch their own.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn round(&self, depth: Depth, list: Vec<usize>) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for number in 0..self.plan.hands.max(1) {
                let (next, list) = (&next, &list);
                scope.spawn(move || {
                    let mut hand = self.opener.hand(number);
                    while let Some(epoch) = list.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(trouble) = self.epoch(&mut hand, *epoch, depth) {
                            self.found().trouble.get_or_insert(trouble);
                            self.stop();
                        }
                        if self.stopped() {
                            break;
                        }
                    }
                });
            }
        });
    }

    fn epoch(&self, hand: &mut Hand<'a>, number: usize, depth: Depth) -> Outcome<()> {
        let Some(epoch) = self.epochs.get(number) else {
            return Ok(());
        };
        for (kind, state) in states(self.opener.log(), epoch, depth, self.plan.seed) {
            let full = self.found().opened >= self.plan.states_max;
            if full || self.begun.elapsed() >= self.plan.time_max {
                self.stop();
            }
            if self.stopped() {
                return Ok(());
            }
            self.state(hand, number, kind, &state)?;
            self.say(number);
        }
        let mut found = self.found();
        if depth == Depth::Rest {
            found.report.finished += 1;
            let small = epoch.pending.len() <= WRITES_ALL_SUBSETS;
            found.report.small_finished += u64::from(small);
        }
        let fresh = std::mem::take(&mut found.fresh);
        drop(found);
        match &self.plan.resume {
            Some(path) => Progress::append(path, &fresh),
            None => Ok(()),
        }
    }

    fn say(&self, epoch: usize) {
        let due = self.begun.elapsed().as_secs() / SAY_SECONDS;
        let mut found = self.found();
        if found.said >= due {
            return;
        }
        found.said = due;
        let total = found.report.total();
        eprintln!(
            "epoch {epoch} of {}, {} finished: {} states opened, {} refused, {} fatal, {} not mounted, {} s",
            self.epochs.len(),
            found.report.finished,
            found.opened,
            total.refused,
            total.failed,
            total.not_mounted,
            self.begun.elapsed().as_secs()
        );
    }

    /// One state: opened if its disk is new, and asked to explain what was told.
    fn state(&self, hand: &mut Hand<'a>, number: usize, kind: Kind, state: &State) -> Outcome<()> {
        let (Some(epoch), Some(marks)) = (self.epochs.get(number), self.marks.get(number)) else {
            return Ok(());
        };
        let image = self.opener.image(hand, state);
        let hash = image.hash();
        let (rest, of) = self.plan.shard;
        if of > 1 && hash % Hash::from(of) != Hash::from(rest) {
            return Ok(());
        }
        self.found().report.counts.entry(kind).or_default().derived += 1;
        if self.found().checked.contains(&(hash, *marks)) {
            if !self.found().taken.contains(&hash) {
                self.found().report.seen_before += 1;
            }
            return Ok(());
        }
        let place = Place {
            epoch: number,
            kind,
            state,
            marks: *marks,
        };
        let mut why = Vec::new();
        let known = self.found().outcomes.get(&hash).cloned();
        let opened = match known {
            Some(opened) => opened,
            None => {
                let opened = self.open(hand, kind, state, hash)?;
                why.extend(self.talk(epoch, *marks, &opened, hash));
                if let (Mount::Plain, Some(Start::Refused(refusal))) =
                    (&opened.mount, opened.start.as_deref())
                {
                    self.keep(&place, &image, vec![format!("refused: {refusal}")]);
                }
                self.remember(hash, opened)
            }
        };
        self.found().checked.insert((hash, *marks));
        why.extend(self.judge(&opened, *marks));
        let mut found = self.found();
        found.fresh.push((hash, *marks));
        found.report.explained += 1;
        if why.is_empty() {
            return Ok(());
        }
        if opened.mount != Mount::Plain {
            // Nobody promises that what e2fsck puts together is whole.
            found.report.repaired_short += 1;
            return Ok(());
        }
        found.report.counts.entry(kind).or_default().failed += 1;
        drop(found);
        self.keep(&place, &image, why);
        Ok(())
    }

    fn open(&self, hand: &mut Hand<'a>, kind: Kind, state: &State, hash: Hash) -> Outcome<Opened> {
        let every = Hash::from(self.plan.talks_every);
        let talks = self.peer.is_some() && every > 0 && (hash >> 32).is_multiple_of(every);
        let look = if talks { Look::Inside } else { Look::No };
        let opened = self.opener.open(hand, state, hash, look)?;
        let mut found = self.found();
        // Two threads may have had the same disk at once.
        if !found.taken.insert(hash) {
            return Ok(opened);
        }
        found.opened += 1;
        let report = &mut found.report;
        report.slowest = report.slowest.max(opened.took);
        let count = report.counts.entry(kind).or_default();
        count.opened += 1;
        match &opened.mount {
            Mount::Plain => {}
            Mount::Repaired(said) | Mount::Never(said) => {
                count.not_mounted += 1;
                count.repaired += u64::from(matches!(opened.mount, Mount::Repaired(_)));
                let devices = |word: &str| !word.starts_with("/");
                let words: Vec<&str> = said.split(' ').filter(|word| devices(word)).collect();
                *report.mount_words.entry(words.join(" ")).or_default() += 1;
            }
        }
        if let (Mount::Plain, Some(Start::Refused(refusal))) =
            (&opened.mount, opened.start.as_deref())
        {
            count.refused += 1;
            *report.refusals.entry(refusal.clone()).or_default() += 1;
        }
        Ok(opened)
    }

    /// Keeps an outcome for the other instants at which this disk is possible.
    fn remember(&self, hash: Hash, mut opened: Opened) -> Arc<Opened> {
        opened.tree = None;
        let mut found = self.found();
        if let Some(start) = &mut opened.start {
            match found.known.get(start) {
                Some(known) => *start = Arc::clone(known),
                None => {
                    found.known.insert(Arc::clone(start));
                }
            }
        }
        let opened = Arc::new(opened);
        found.outcomes.insert(hash, Arc::clone(&opened));
        opened
    }

    /// What is wrong with what was found, if so much had been told.
    fn judge(&self, opened: &Opened, marks: usize) -> Vec<String> {
        let mut why = Vec::new();
        if opened.took > START_MAX {
            why.push(format!("C7: a start of {:?}", opened.took));
        }
        match opened.start.as_deref() {
            // Counted apart.
            None | Some(Start::Refused(_)) => {}
            Some(Start::Broken(said)) => why.push(said.clone()),
            Some(Start::Opened(facts)) => {
                let subject = self.opener.subject();
                if let Some(told) = self.told.get(marks) {
                    why.extend(subject.unexplained(facts, told));
                }
                if opened.mount == Mount::Plain {
                    why.extend(self.found().heads.judge(subject.role(), facts));
                }
            }
        }
        why
    }

    /// The state and its peer, until they agree.
    fn talk(&self, epoch: &Epoch, marks: usize, opened: &Opened, hash: Hash) -> Vec<String> {
        let (Some(peer), Some(tree), Some(told)) = (self.peer, &opened.tree, self.told.get(marks))
        else {
            return Vec::new();
        };
        if opened.mount != Mount::Plain
            || !matches!(opened.start.as_deref(), Some(Start::Opened(_)))
        {
            return Vec::new();
        }
        let other = peer.at(epoch.nanos);
        let agreement = match peer.role() {
            Role::Hub => talk(&other, tree, told, hash),
            Role::App | Role::Relay => talk(tree, &other, told, hash),
        };
        match agreement {
            Agreement::Reached => self.found().report.talks += 1,
            Agreement::NotPaired => self.found().report.unpaired += 1,
            Agreement::Broken(why) => return why,
        }
        Vec::new()
    }

    /// Keeps a state that must not be, for whoever looks into it: a few, and not all of one epoch.
    fn keep(&self, place: &Place<'_>, image: &Image, why: Vec<String>) {
        let mut found = self.found();
        let failures = &found.report.failures;
        let alike = failures.iter().filter(|other| other.epoch == place.epoch);
        if failures.len() >= KEPT_MAX || alike.count() >= KEPT_OF_AN_EPOCH_MAX {
            return;
        }
        let kept = keep(
            &self.plan.keep,
            &Kept {
                program: self.opener.subject().name(),
                log_kib: self.plan.log_kib,
                state: place.state,
                image,
                told: self.words.get(..place.marks).unwrap_or_default(),
                why: &why,
            },
        );
        found.report.failures.push(Failure {
            kind: place.kind,
            epoch: place.epoch,
            why,
            kept,
        });
    }
}
