//! Runs over all states of a story: each one once, whoever leads to it, and each against all that
//! had left the process by then.
//!
//! A state is opened once and remembered by the hash of its content; what it must explain differs
//! from moment to moment and is asked each time.
#![expect(
    clippy::disallowed_methods,
    reason = "The sweep reports states per second and may have a deadline: it is a shell."
)]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crashtest::process::Role;

use crate::check::{Outcome, Part, Program, Subject, Told};
use crate::command;
use crate::disk::{Noting, TreeDisk};
use crate::ends::{Agreement, Peer, talk};
use crate::image::Hash;
use crate::progress::{Earlier, Failed, News, Progress, Totals};
use crate::states::{Fate, Kind, Moment, Weight, moments, moments_from};
use crate::steps::{Step, Story};
use crate::tree::Tree;

pub use crate::report::{Count, Failure, Report};

/// Failing states that are kept as directories.
const KEPT_MAX: usize = 20;
/// States by dice at each moment in one round.
const DICE_PER_ROUND: u32 = 4;
/// Rounds in a row that find (almost) nothing new before a sweep without a limit ends.
const BARREN_ROUNDS_MAX: u32 = 3;
/// Moments of one recovery at which it is crashed.
const RECOVERY_MOMENTS_MAX: usize = 40;
/// How often a talkative sweep speaks.
const SAY_SECONDS: u64 = 10;
/// How often a sweep writes down how far it has come: so much is done again after a kill.
const NOTE_SECONDS: u64 = 15;
/// Of every so many states one is started twice in a row: recovery is idempotent (promise C7).
const TWICE_EVERY: Hash = 16;
/// Of every so many recoveries one is crashed in all ways, the others in the four that differ most.
const ALL_WAYS_EVERY: Hash = 4;
/// A start that takes longer is stuck (promise C7).
const START_MAX: Duration = Duration::from_secs(10);

/// What is wanted of a sweep.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Which part of the state is crashed.
    pub part: Part,
    /// Stop when about so many different states were opened.
    pub unique_max: u64,
    /// Stop after so many rounds; the first is without dice.
    pub rounds_max: u32,
    /// Leave out the moments before this step of the story.
    pub from_step: usize,
    /// For the dice.
    pub seed: u64,
    /// Worker threads.
    pub threads: usize,
    /// Only states whose hash leaves this rest: `(rest, of)`, for machines that share the work.
    pub shard: (u32, u32),
    /// Of every so many states one is also crashed during its recovery (some 200 states more), and
    /// of every tenth of so many that a killed process leaves; 0 is none.
    pub recoveries_every: u32,
    /// Of every so many states one also talks with its peer until both agree; 0 is none. Of what a killed
    /// process leaves and of what loses everything un-synced each does, of crashes in recovery each fourth.
    pub talks_every: u32,
    /// Stop after this time.
    pub time_max: Duration,
    /// Where failing states are kept.
    pub keep: PathBuf,
    /// Say on stderr how far it has come, now and then.
    pub talkative: Talkative,
    /// Where to write down how far we come.
    pub progress: Option<Progress>,
    /// What was written down there by earlier parts of this sweep.
    pub earlier: Earlier,
}

impl Plan {
    /// A plan for one part, with everything else modest.
    #[must_use]
    pub fn new(part: Part, unique_max: u64, keep: &Path) -> Self {
        Self {
            part,
            unique_max,
            rounds_max: u32::MAX,
            from_step: 0,
            seed: 1,
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            shard: (0, 1),
            recoveries_every: 0,
            talks_every: 0,
            time_max: Duration::MAX,
            keep: keep.to_owned(),
            talkative: Talkative::No,
            progress: None,
            earlier: Earlier::default(),
        }
    }
}

/// Whether a sweep says how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talkative {
    /// It does not.
    No,
    /// About every ten seconds.
    Yes,
}

/// What all workers share.
struct Shared<'a> {
    subject: &'a Subject,
    peer: Option<&'a Peer>,
    plan: &'a Plan,
    moments: &'a [Moment],
    /// What was told, by number of marks.
    told: Vec<Told>,
    /// The first marks, for whoever repeats a state.
    words: Vec<&'a str>,
    found: Mutex<Found>,
    stop: AtomicBool,
    /// States with a higher hash are left out, except those of the simplest kinds.
    below: Hash,
    begun: Instant,
}

#[derive(Default)]
struct Found {
    /// By content, and by the marks that were heard.
    outcomes: HashMap<(Hash, usize), Arc<Outcome>>,
    opened: HashSet<Hash>,
    /// The same facts are found again and again.
    known: HashSet<Arc<Outcome>>,
    checked: HashSet<(Hash, usize)>,
    /// Over all parts of the sweep.
    totals: Totals,
    failures: Vec<Failure>,
    /// Failing states that were given a directory, or tried to.
    kept: usize,
    /// Times that somebody was told how far it has come.
    said: u64,
    /// Opened by earlier sweeps.
    seen: HashSet<Hash>,
    /// Since the last note.
    news: News,
    slowest: Duration,
}

/// Sweeps over the states of a story. With a peer, some states must also come to an agreement with
/// the other end as it was then.
#[must_use]
pub fn sweep(subject: &Subject, story: &Story, peer: Option<&Peer>, plan: &Plan) -> Report {
    let mut moments = moments(story, |path| subject.weigh(plan.part, path));
    moments.retain(|moment| moment.steps >= plan.from_step);
    let words: Vec<&str> = story
        .steps
        .iter()
        .filter_map(|placed| match &placed.step {
            Step::Mark(words) => Some(words.as_str()),
            _ => None,
        })
        .collect();
    let told = (0..=words.len()).map(|marks| Told::until(&story.steps, marks));
    let mut shared = Shared {
        subject,
        peer,
        plan,
        moments: &moments,
        told: told.collect(),
        words,
        found: Mutex::default(),
        stop: AtomicBool::new(false),
        below: Hash::MAX,
        begun: Instant::now(),
    };
    shared.below = shared.share();
    let mut rounds = plan.earlier.rounds;
    shared.go_on();
    let (mut barren, mut skip) = (0, plan.earlier.moments.clone());
    let mut exhausted = false;
    while rounds < plan.rounds_max
        && !shared.stop.load(Ordering::Relaxed)
        && (rounds == 0 || shared.found().unique() < plan.unique_max)
    {
        let before = shared.found().unique();
        shared.round(rounds, &std::mem::take(&mut skip));
        rounds += 1;
        shared.round_is_over(rounds);
        let found = shared.found().unique() - before;
        barren = if found * 100 < before { barren + 1 } else { 0 };
        exhausted = barren >= BARREN_ROUNDS_MAX;
        if exhausted {
            break;
        }
    }
    let took = shared.took();
    let marks = shared.words.len();
    let stopped = shared.stop.load(Ordering::Relaxed);
    let found = shared
        .found
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    let unique = found.unique();
    let late = stopped && unique < plan.unique_max && !exhausted;
    let totals = found.totals;
    Report {
        name: subject.name().to_owned(),
        part: plan.part,
        moments: moments.len(),
        marks,
        counts: totals.counts,
        refusals: totals.refusals,
        failures: found.failures,
        explained: totals.explained,
        talks: totals.talks,
        unpaired: totals.unpaired,
        left_out: totals.left_out,
        slowest: found.slowest,
        took,
        rounds,
        unfinished: late.then(|| {
            format!(
                "the time was up after {unique} of {} planned states",
                plan.unique_max
            )
        }),
    }
}

impl Found {
    fn unique(&self) -> u64 {
        let counts = self.totals.counts.values();
        counts.map(|count| count.unique).sum()
    }
}

impl Shared<'_> {
    fn found(&self) -> MutexGuard<'_, Found> {
        // Whatever panicked did so outside of the lock: checks catch their own.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn say(&self, moment: &Moment, round: u32) {
        let due = self.begun.elapsed().as_secs() / SAY_SECONDS;
        let mut found = self.found();
        if self.plan.talkative == Talkative::No || found.said >= due {
            return;
        }
        found.said = due;
        let last = self.moments.last().map_or(0, |moment| moment.steps);
        eprintln!(
            "{} {:?}: round {round}, step {} of {last}, {} states opened, {} s",
            self.subject.name(),
            self.plan.part,
            moment.steps,
            found.unique(),
            self.begun.elapsed().as_secs()
        );
    }

    /// Of all parts of the sweep.
    fn took(&self) -> Duration {
        self.plan.earlier.totals.took + self.begun.elapsed()
    }

    /// Takes what earlier parts found. What failed then is asked again, and stays a failure: this is
    /// the same build, so nothing has mended it.
    fn go_on(&self) {
        let earlier = &self.plan.earlier;
        {
            let mut found = self.found();
            found.seen = earlier.seen.clone();
            found.totals = earlier.totals.clone();
        }
        let place = scratch();
        for failed in &earlier.failed {
            let mut failure = failed.failure.clone();
            if let Some(kept) = &failure.kept {
                match self.again(failed, kept, &place) {
                    Ok(why) if why.is_empty() => failure.why.push(
                        "an earlier part of this sweep saw that; asked again, the state is good"
                            .to_owned(),
                    ),
                    Ok(why) => failure.why = why,
                    Err(error) => failure
                        .why
                        .push(format!("it cannot be asked again: {error}")),
                }
            }
            let mut found = self.found();
            found.checked.insert((failed.hash, failed.marks));
            found.kept += 1;
            found.failures.push(failure);
        }
        // It is in memory and small; the next run makes it anew.
        let _ = std::fs::remove_dir_all(&place);
    }

    /// What is wrong with a state that was kept.
    fn again(&self, failed: &Failed, kept: &Path, place: &Path) -> std::io::Result<Vec<String>> {
        let (tree, _) = Tree::read(&kept.join("state"))?;
        let heard = self.heard(failed.marks);
        let outcome = self.start(&tree, (failed.hash, heard), place);
        let mut why = self.judge(&outcome, failed.marks);
        if self.plan.talks_every > 0 && matches!(outcome, Outcome::Opened(_)) {
            why.extend(self.talk((failed.nanos, failed.marks), &tree, failed.hash));
        }
        Ok(why)
    }

    /// Writes down how far it has come, if it is time.
    fn note(&self, due: bool) {
        let Some(progress) = &self.plan.progress else {
            return;
        };
        // The lock is held over the writing, so that notes keep their order.
        let mut found = self.found();
        let due = due || found.totals.took + Duration::from_secs(NOTE_SECONDS) < self.took();
        if !due {
            return;
        }
        found.totals.took = self.took();
        let news = std::mem::take(&mut found.news);
        if let Err(error) = progress.note(&news, &found.totals) {
            eprintln!("the progress cannot be written ({error}); what follows cannot be resumed");
        }
    }

    /// Writes down that a round is over, or how far it came if it was stopped.
    fn round_is_over(&self, rounds: u32) {
        if !self.stop.load(Ordering::Relaxed) {
            self.found().news.rounds = Some(rounds);
        }
        self.note(true);
    }

    fn round(&self, round: u32, skip: &BTreeSet<usize>) {
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _worker in 0..self.plan.threads.max(1) {
                scope.spawn(|| {
                    let place = scratch();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        let Some(moment) = self.moments.get(number) else {
                            break;
                        };
                        if skip.contains(&number) {
                            continue;
                        }
                        if self.moment(moment, round, &place) {
                            self.found().news.moments.push(number);
                        }
                        self.say(moment, round);
                        self.note(false);
                        if self.stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                    // It is in memory and small; the next run makes it anew.
                    let _ = std::fs::remove_dir_all(&place);
                });
            }
        });
    }

    /// The hash up to which states are opened so that the first round stays within its share: the
    /// states that it leaves out are spread evenly.
    fn share(&self) -> Hash {
        let mut hashes: HashSet<Hash> = HashSet::new();
        for moment in self.moments {
            for (_, fates) in moment.fates(0, 0) {
                hashes.insert(moment.tree(&fates).hash());
            }
        }
        let mut hashes: Vec<Hash> = hashes.into_iter().collect();
        hashes.sort_unstable();
        let wanted = usize::try_from(self.plan.unique_max).unwrap_or(usize::MAX);
        hashes.get(wanted).copied().unwrap_or(Hash::MAX)
    }

    /// Visits a moment's states; false if it was stopped before the last.
    fn moment(&self, moment: &Moment, round: u32, place: &Path) -> bool {
        let fates = if round == 0 {
            moment.fates(0, 0)
        } else {
            let seed = self.plan.seed ^ u64::from(round) << 48;
            let all = moment.fates(DICE_PER_ROUND, seed).into_iter();
            all.filter(|(kind, _)| *kind == Kind::Random).collect()
        };
        let count = fates.len();
        for (number, (kind, fates)) in fates.into_iter().enumerate() {
            let tree = moment.tree(&fates);
            self.state(kind, moment, &tree, &fates, place);
            // The first round visits every moment: it was cut to its share beforehand.
            let full = (round > 0 && self.found().unique() >= self.plan.unique_max)
                || self.begun.elapsed() >= self.plan.time_max;
            if full {
                self.stop.store(true, Ordering::Relaxed);
                return number + 1 == count;
            }
        }
        true
    }

    /// One state: opened if it is new, and asked to explain what was told.
    fn state(&self, kind: Kind, moment: &Moment, tree: &Tree, fates: &[Fate], place: &Path) {
        let hash = tree.hash();
        let always = matches!(kind, Kind::LoseAll | Kind::Recovery) || hash == moment.live.hash();
        if hash > self.below && !always {
            self.found().totals.left_out += 1;
            return;
        }
        let (rest, of) = self.plan.shard;
        // Whoever owns a state derives the crashes in its recovery, and nobody else does.
        let shared = of > 1 && kind != Kind::Recovery;
        if shared && hash % Hash::from(of) != Hash::from(rest) {
            return;
        }
        self.found().totals.counts.entry(kind).or_default().derived += 1;
        let key = (hash, self.heard(moment.marks));
        let known = self.found().outcomes.get(&key).cloned();
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let outcome = self.open(kind, tree, key, place);
                let every = match (kind, self.plan.recoveries_every) {
                    (Kind::Kill, every) => Hash::from(every.div_ceil(10)),
                    (_, every) => Hash::from(every),
                };
                if kind != Kind::Recovery
                    && self.subject.role().is_some()
                    && self.plan.part == Part::Log
                    && every > 0
                    && (hash >> 64).is_multiple_of(every)
                {
                    self.recovery(kind, moment, tree, hash, place);
                }
                outcome
            }
        };
        if !self.found().checked.insert((hash, moment.marks)) {
            return;
        }
        let mut why = self.judge(&outcome, moment.marks);
        let every = match (kind, self.plan.talks_every) {
            (Kind::Kill | Kind::LoseAll, 1..) => 1,
            (Kind::Recovery, every) => Hash::from(every.min(4)),
            (_, every) => Hash::from(every),
        };
        if every > 0
            && (hash >> 32).is_multiple_of(every)
            && matches!(&*outcome, Outcome::Opened(_))
        {
            why.extend(self.talk((moment.nanos, moment.marks), tree, hash));
        }
        let keep = {
            let mut found = self.found();
            found.totals.explained += 1;
            if why.is_empty() {
                return;
            }
            found.totals.counts.entry(kind).or_default().failed += 1;
            found.kept += 1;
            found.kept <= KEPT_MAX
        };
        if keep {
            let failure = Failure {
                kind,
                steps: moment.steps,
                kept: self.keep(moment, tree, fates, hash, &why),
                why,
            };
            let mut found = self.found();
            found.failures.push(failure.clone());
            found.news.failed.push(Failed {
                failure,
                hash,
                marks: moment.marks,
                nanos: moment.nanos,
            });
        }
    }

    /// How many marks the outcome itself depends on: a command judges by them, our own starts know
    /// nothing of them.
    fn heard(&self, marks: usize) -> usize {
        match self.subject.program() {
            Program::Own(_) => 0,
            Program::Command(_) => marks,
        }
    }

    fn open(
        &self,
        kind: Kind,
        tree: &Tree,
        (hash, heard): (Hash, usize),
        place: &Path,
    ) -> Arc<Outcome> {
        let outcome = self.start(tree, (hash, heard), place);
        let mut found = self.found();
        let outcome = match found.known.get(&outcome) {
            Some(known) => Arc::clone(known),
            None => {
                let outcome = Arc::new(outcome);
                found.known.insert(Arc::clone(&outcome));
                outcome
            }
        };
        // Two workers may have opened the same state at once; it counts once.
        found.outcomes.insert((hash, heard), Arc::clone(&outcome));
        let first = found.opened.insert(hash);
        // What an earlier sweep opened is opened again where it is needed, and counted there.
        if first && !found.seen.contains(&hash) {
            if self.plan.progress.is_some() {
                found.news.fresh.push(hash);
            }
            let totals = &mut found.totals;
            totals.counts.entry(kind).or_default().unique += 1;
            if let Outcome::Refused(why) = &*outcome {
                totals.counts.entry(kind).or_default().refused += 1;
                let why = why.clone();
                *totals.refusals.entry(why).or_default() += 1;
            }
        }
        outcome
    }

    /// What a start makes of a state.
    fn start(&self, tree: &Tree, (hash, heard): (Hash, usize), place: &Path) -> Outcome {
        let begun = Instant::now();
        let outcome = match (self.subject.program(), self.plan.part) {
            (Program::Command(words), _) => {
                let told = self.words.get(..heard).unwrap_or_default();
                command::ask(words, tree, told, place)
            }
            (Program::Own(_), Part::Log) if (hash >> 16).is_multiple_of(TWICE_EVERY) => {
                self.subject.open_twice(tree, hash)
            }
            (Program::Own(_), Part::Log) => self.subject.open(tree, hash),
            (Program::Own(_), Part::Whole) => open_files(self.subject, tree, hash, place),
        };
        let took = begun.elapsed();
        {
            let mut found = self.found();
            found.slowest = found.slowest.max(took);
        }
        if took > START_MAX {
            Outcome::Broken(format!("the start took {} s", took.as_secs()))
        } else {
            outcome
        }
    }

    /// Crashes during the recovery from a crash: the recovery is a story of its own. After the death
    /// of the process alone it begins with everything still pending that was: what the page cache
    /// shows is not on the disk.
    fn recovery(&self, kind: Kind, moment: &Moment, tree: &Tree, hash: Hash, place: &Path) {
        let engine = self.subject.engine();
        let disk = TreeDisk::new(tree.clone(), engine, Noting::On);
        let before = disk.tree();
        let first = if kind == Kind::Kill && tree.hash() == moment.live.hash() {
            moment.clone()
        } else {
            Moment::sure(before.clone())
        };
        // Its outcome is known; this time only its operations count.
        let _known = self.subject.open_on(&disk, hash);
        let story = disk.story(before);
        let inner = moments_from(first, &story, |_| Weight::Counts);
        // A long tail has thousands of moments; other recoveries take the ones between.
        let stride = inner.len().div_ceil(RECOVERY_MOMENTS_MAX).max(1);
        let from = (hash % stride as Hash) as usize;
        for inner in inner.into_iter().skip(from).step_by(stride) {
            let all = inner.fates(1, hash as u64).into_iter();
            let in_all_ways = (hash >> 96).is_multiple_of(ALL_WAYS_EVERY);
            let wanted = all.filter(|(kind, _)| {
                in_all_ways
                    || matches!(
                        kind,
                        Kind::Kill | Kind::LoseAll | Kind::Random | Kind::Tear4096
                    )
            });
            for (_, fates) in wanted {
                let tree = inner.tree(&fates);
                self.state(Kind::Recovery, moment, &tree, &fates, place);
            }
        }
    }

    /// What is wrong with a state at a moment.
    fn judge(&self, outcome: &Outcome, marks: usize) -> Vec<String> {
        match outcome {
            // Counted apart; whoever runs the sweep decides whether any is right.
            Outcome::Refused(_) => Vec::new(),
            Outcome::Broken(why) => vec![why.clone()],
            Outcome::Opened(facts) => {
                let told = self.told.get(marks);
                let mut why =
                    told.map_or_else(Vec::new, |told| self.subject.unexplained(facts, told));
                why.extend(self.found().totals.heads.judge(self.subject.role(), facts));
                why
            }
        }
    }

    /// The state and its peer, until they agree.
    fn talk(&self, (nanos, marks): (u64, usize), tree: &Tree, hash: Hash) -> Vec<String> {
        let (Some(peer), Some(told)) = (self.peer, self.told.get(marks)) else {
            return Vec::new();
        };
        let other = peer.at(nanos);
        let told = &peer.told(told, nanos);
        let agreement = match peer.role() {
            Role::Hub => talk(&other, tree, told, hash),
            Role::App | Role::Relay => talk(tree, &other, told, hash),
        };
        match agreement {
            Agreement::Reached => self.found().totals.talks += 1,
            Agreement::NotPaired => self.found().totals.unpaired += 1,
            Agreement::Broken(why) => return why,
        }
        Vec::new()
    }

    /// Writes a failing state down.
    fn keep(
        &self,
        moment: &Moment,
        tree: &Tree,
        fates: &[Fate],
        hash: Hash,
        why: &[String],
    ) -> Option<PathBuf> {
        let program = self.subject.name();
        let name = format!("{program}-{}-{:08x}", moment.steps, hash as u32);
        let place = self.plan.keep.join(name);
        let told = self.words.get(..moment.marks).unwrap_or_default();
        let pending: Vec<String> = moment
            .pending
            .iter()
            .zip(fates)
            .map(|(pending, fate)| format!("step {}: {fate:?}", pending.step))
            .collect();
        let text = format!(
            "{}\n\nafter {} steps; what was pending and its fate:\n{}\n",
            why.join("\n"),
            moment.steps,
            pending.join("\n")
        );
        let written = tree
            .write(&place.join("state"))
            .and_then(|()| std::fs::write(place.join("told"), told.join("\n")))
            .and_then(|()| std::fs::write(place.join("role"), program))
            .and_then(|()| std::fs::write(place.join("why"), text));
        written.ok().map(|()| place)
    }
}

/// A directory in memory for one worker of one round, used by nobody else.
pub(crate) fn scratch() -> PathBuf {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let number = USED.fetch_add(1, Ordering::Relaxed);
    base.join(format!("crashtest-replay-{}-{number}", std::process::id()))
}

/// Opens a state as files in an empty directory.
pub fn open_files(subject: &Subject, tree: &Tree, hash: Hash, place: &Path) -> Outcome {
    let machine = |error: std::io::Error| Outcome::Broken(format!("the harness: {error}"));
    // What a state left there is of no use to the next one.
    match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return machine(error),
        _ => {}
    }
    match tree
        .write(place)
        .and_then(|()| subject.open_files(place, hash))
    {
        Ok(outcome) => outcome,
        Err(error) => machine(error),
    }
}
