//! The crash sweep over named points: one run of a workload for each crash.
//!
//! A cell is one program dying by SIGKILL at one hit of one crash point, in whichever of its
//! processes that is (pairing, daemon, a question, a recovery), perhaps once more inside the start
//! that follows, and both ends going on afterwards. This room must never count a run in which the
//! program did not really die there.
#![expect(
    clippy::disallowed_methods,
    reason = "The sweep shows how long it took."
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::oracle::{Broken, Verdict};
use crate::process::Role;
use crate::progress::Progress;
use crate::shard::Shard;
use crate::system::{Crash, Stock};
use crate::trouble::{Outcome, Trouble};
use crate::workers;
use crate::workload::Workload;

mod kept;

/// Hits of one point in one process that are tried, at most.
pub const HITS_MAX: u64 = 8;
/// How often a run is tried in which the program did not come to the point: the batches of a group
/// commit, and so the numbers of hits, depend on timing.
const ATTEMPTS_MAX: u32 = 5;

/// Where a process that has started begins its first commit.
const COMMIT: &str = "wal.commit.before_write";
/// The points of the engine, which every transaction passes.
const ENGINE: &str = "wal.";
/// The points of a recovery proper: each is a second crash behind each first one.
const RECOVERY: &str = "wal.recover.";
/// What a start may pass besides: each is a second crash behind a few of the first ones.
const IN_STARTS: [&str; 4] = [
    "journal.vault.",
    "wal.checkpoint.",
    "wal.witness.",
    "wal.file.created",
];
/// How many first crashes that is, spread over all.
const FEW: usize = 6;

/// Code that is linked into programs whose role never enters it: one crate, two ends. Nothing here
/// is an excuse: the roles that are named must hit every point of the room, the others none.
const ROOMS: [(&str, &[Role]); 13] = [
    ("journal.pairing.app_", &[Role::App]),
    ("journal.pairing.hub_", &[Role::Hub]),
    // The hub alone commits.
    ("journal.session.", &[Role::Hub]),
    ("journal.heal.", &[Role::Hub]),
    // It alone keeps copies.
    ("journal.retain.", &[Role::Hub]),
    // It alone gives clips up for their room, and begins a live session.
    ("journal.clip.", &[Role::Hub]),
    ("journal.live.", &[Role::Hub]),
    // What one end says of an event the other one takes.
    ("journal.notice.hub_", &[Role::Hub]),
    ("journal.notice.app_", &[Role::App]),
    ("journal.picture.hub_", &[Role::Hub]),
    ("journal.picture.app_", &[Role::App]),
    // A phone passes codes on.
    ("journal.passed.", &[Role::App]),
    // Whatever a relay loses, the hub still has.
    ("wal.witness.", &[Role::Hub, Role::App]),
];

/// Code that the conversations which are not the [gate's](Workload::is_of_gate) are for: nobody dies there in the gate.
pub const BEYOND_THE_GATE: [&str; 5] = [
    "hub.added.",
    "hub.invite.",
    "journal.notice.",
    "journal.passed.",
    "journal.picture.",
];

/// The crash points of one program.
#[derive(Clone, Debug, Default)]
pub struct Points {
    /// All that are linked in, with their place in the source.
    pub linked: BTreeMap<String, String>,
    /// By workload: the most hits in any one of its processes.
    pub hits: BTreeMap<(Workload, String), u64>,
    /// Those that some process passed before it committed anything of its own: in its start.
    pub starts: BTreeSet<String>,
}

/// What the workloads hit.
#[derive(Clone, Debug, Default)]
pub struct Survey {
    /// By program.
    pub points: BTreeMap<Role, Points>,
    /// Deliberate bugs that are linked in: name, promise that each breaks.
    pub mutants: BTreeMap<String, String>,
    /// Points that begin so are left to a longer tier: none is planned, and none is missed.
    pub left: Vec<&'static str>,
}

/// One run: which workload, and what dies in it, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Case {
    /// The conversation.
    pub workload: Workload,
    /// The first crash, and then the one inside the start that follows it, if any.
    pub crashes: Vec<Crash>,
}

/// What came of one run.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The run.
    pub case: Case,
    /// Whether the program really died there.
    pub died: Death,
    /// What the oracle says.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// Whether the planted crashes happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// Each of them, by SIGKILL, at its point.
    Really,
    /// The first one did, and the second one's point was not reached again.
    OnlyFirst,
    /// The point was not reached: the cell says nothing.
    Never,
}

/// What a cell is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Worth {
    /// Died there, every promise held.
    Passed,
    /// A typed refusal.
    Refused,
    /// A promise is broken.
    Fatal,
    /// It did not die there.
    NotReached,
}

impl Cell {
    /// What it is worth. A broken promise and a refusal count wherever the program died, and where it
    /// did not die at all: a start that refuses never reaches a point behind the refusal.
    #[must_use]
    pub fn worth(&self) -> Worth {
        match (&self.verdict, self.died) {
            (Verdict::Fatal(_), _) => Worth::Fatal,
            (Verdict::Refused { .. }, _) => Worth::Refused,
            (Verdict::Pass, Death::Never | Death::OnlyFirst) => Worth::NotReached,
            (Verdict::Pass, Death::Really) => Worth::Passed,
        }
    }

    /// Whether the sweep fails by it. That a second point is not reached in some start is a fact
    /// about that start, and counted. That a first one is not reached makes the cell invalid; a later
    /// hit, which two runs without a crash had, may still fall away with the batches of a group commit:
    /// the report says so, as not covered.
    #[must_use]
    pub fn fails(&self) -> bool {
        match self.worth() {
            Worth::Passed => false,
            Worth::Refused | Worth::Fatal => true,
            Worth::NotReached => self.died == Death::Never && !self.is_later_hit(),
        }
    }

    /// Whether its first crash is at another hit than the first.
    #[must_use]
    pub fn is_later_hit(&self) -> bool {
        self.case.is_later_hit()
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<6}", self.workload.name())?;
        for (index, Crash { role, point, hit }) in self.crashes.iter().enumerate() {
            if index == 0 {
                write!(f, "{:<14} {point}:{hit}", role.program())?;
            } else {
                write!(f, ", then {point}:{hit}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match (self.worth(), self.died) {
            (Worth::Passed, _) => "pass",
            (Worth::Refused, _) => "REFUSED",
            (Worth::Fatal, _) => "FATAL",
            (Worth::NotReached, Death::OnlyFirst) => "second point not reached",
            (Worth::NotReached, _) => "did not die there",
        };
        let case = self.case.to_string();
        write!(f, "{case:<58} {outcome}  {:.1} s", self.took.as_secs_f64())?;
        match &self.verdict {
            Verdict::Pass => Ok(()),
            Verdict::Refused { code, said, .. } => write!(f, "  ({code}: {said})"),
            Verdict::Fatal(broken) => {
                let all: Vec<String> = broken.iter().map(Broken::to_string).collect();
                write!(f, "  {}", all.join("; "))
            }
        }
    }
}

/// Which points there are and which each workload hits, from one run of each without a crash.
///
/// # Errors
/// A run failed, or was not a pass: a sweep over a broken system says nothing.
pub fn survey(stock: &Stock) -> Outcome<Survey> {
    survey_of(stock, &Workload::ALL, None)
}

/// The same of the gate's conversations, which leaves [some rooms](BEYOND_THE_GATE) to the longer tiers.
///
/// # Errors
/// As [`survey`].
pub fn survey_of_gate(stock: &Stock) -> Outcome<Survey> {
    let of_gate = Workload::ALL.into_iter().filter(|one| one.is_of_gate());
    let of_gate: Vec<Workload> = of_gate.collect();
    let mut survey = survey_of(stock, &of_gate, None)?;
    survey.left = BEYOND_THE_GATE.to_vec();
    Ok(survey)
}

/// The same of some workloads, perhaps with a deliberate bug alive.
///
/// # Errors
/// As [`survey`].
pub fn survey_of(stock: &Stock, workloads: &[Workload], mutant: Option<&str>) -> Outcome<Survey> {
    let mut survey = Survey::default();
    for workload in workloads.iter().copied() {
        let mut setup = workload.setup();
        setup.mutant = mutant.map(str::to_owned);
        let mut system = workload.world(stock, setup)?.traced();
        let run = workload.run(&mut system);
        Verdict::with_notes(&run, &system.all_notes()).expect_pass()?;
        for role in Role::ALL {
            let points = survey.points.entry(role).or_default();
            let file = |kind: &str| system.path(&format!("{kind}.{role}"));
            points.linked.extend(read_points(&file("points"))?);
            points.starts.extend(read_starts(&file("trace"))?);
            for (name, most) in read_trace(&file("trace"))? {
                points.hits.insert((workload, name), most);
            }
            let mutants = std::fs::read_to_string(file("mutants")).unwrap_or_default();
            let words = mutants.lines().filter_map(|line| {
                let mut words = line.splitn(3, ' ');
                Some((words.next()?.to_owned(), words.next()?.to_owned()))
            });
            survey.mutants.extend(words);
        }
    }
    Ok(survey)
}

fn read_points(file: &Path) -> Outcome<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(file).map_err(Trouble::machine(format!(
        "{}; are the programs built with their crash points (a workspace build)?",
        file.display()
    )))?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    Ok(pairs
        .map(|(name, place)| (name.to_owned(), place.to_owned()))
        .collect())
}

/// The highest count of each point: counts begin anew in each process.
fn read_trace(file: &Path) -> Outcome<BTreeMap<String, u64>> {
    let text =
        std::fs::read_to_string(file).map_err(Trouble::machine(file.display().to_string()))?;
    let mut most: BTreeMap<String, u64> = BTreeMap::new();
    for (name, count) in text.lines().filter_map(|line| line.split_once(' ')) {
        let count: u64 = count.parse().unwrap_or_default();
        let entry = most.entry(name.to_owned()).or_default();
        *entry = count.max(*entry);
    }
    Ok(most)
}

/// The points that processes passed in their starts: up to the first that is of a commit of its own.
fn read_starts(file: &Path) -> Outcome<BTreeSet<String>> {
    let text =
        std::fs::read_to_string(file).map_err(Trouble::machine(file.display().to_string()))?;
    Ok(starts_of(&text))
}

fn starts_of(trace: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut passed: BTreeSet<&str> = BTreeSet::new();
    let mut up = false;
    for (name, count) in trace.lines().filter_map(|line| line.split_once(' ')) {
        // Counts begin anew in each process.
        if count == "1" && passed.contains(name) {
            passed.clear();
            up = false;
        }
        passed.insert(name);
        up |= name == COMMIT;
        if !up {
            found.insert(name.to_owned());
        }
    }
    found
}

impl Survey {
    /// Points that a program has linked in and that no workload hits, except in rooms that its role
    /// never enters; and points that it hits in such a room, for then `ROOMS` is wrong.
    #[must_use]
    pub fn never_hit(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (role, points) in &self.points {
            for (name, place) in &points.linked {
                if self.is_left(name) {
                    continue;
                }
                let hit = points.hits.keys().any(|(_, point)| point == name);
                let room = ROOMS.iter().find(|(room, _)| name.starts_with(room));
                let enters = room.is_none_or(|(_, roles)| roles.contains(role));
                match (enters, hit) {
                    (true, false) => wrong.push(format!("{role}: {name} ({place}) was never hit")),
                    (false, true) => wrong.push(format!("{role}: {name} ({place}) was hit")),
                    _ => {}
                }
            }
        }
        wrong
    }

    /// Whether a point is left to a longer tier.
    fn is_left(&self, point: &str) -> bool {
        self.left.iter().any(|room| point.starts_with(room))
    }

    /// What is linked into a program whose role never comes there, by `ROOMS`, a sentence for each
    /// room: nobody kills there, because nobody can.
    #[must_use]
    pub fn not_entered(&self) -> Vec<String> {
        let mut all = Vec::new();
        for (role, points) in &self.points {
            for (room, roles) in ROOMS.iter().filter(|(_, roles)| !roles.contains(role)) {
                let linked = points.linked.keys().filter(|name| name.starts_with(room));
                let linked: Vec<&str> = linked.map(String::as_str).collect();
                if !linked.is_empty() {
                    let who: Vec<&str> = roles.iter().map(|role| role.program()).collect();
                    all.push(format!(
                        "{role}: {} ({} only)",
                        linked.join(", "),
                        who.join(" and ")
                    ));
                }
            }
        }
        all
    }

    /// Of two surveys the smaller numbers of hits: how the group commit gathers its batches, and so
    /// how often a point is passed, depends on timing.
    #[must_use]
    pub fn least(mut self, other: &Self) -> Self {
        for (role, points) in &mut self.points {
            let others = other.points.get(role);
            for (key, most) in &mut points.hits {
                let again = others.and_then(|points| points.hits.get(key));
                *most = again.copied().unwrap_or_default().min(*most);
            }
        }
        self
    }

    /// Each point once, at its first hit, in the cheapest workload that hits it.
    #[must_use]
    pub fn each_point_once(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (role, points) in &self.points {
            for name in points.linked.keys().filter(|name| !self.is_left(name)) {
                let workload = Workload::ALL
                    .into_iter()
                    .find(|workload| points.hits.contains_key(&(*workload, name.clone())));
                cases.extend(workload.map(|workload| Case::one(workload, *role, name, 1)));
            }
        }
        cases
    }

    /// Every hit up to [`HITS_MAX`] of every point in the [thorough](Workload::THOROUGH) workloads. In the others
    /// so many only of points that none of these passes, and of every other point the first, but for those of the
    /// engine, whose first hit is in the start of some process, as in any conversation; and in those that are not the
    /// [gate's](Workload::is_of_gate) only of [what they are for](BEYOND_THE_GATE). All of them would take longer than
    /// the hour that the middle tier has.
    #[must_use]
    pub fn every_hit(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for workload in Workload::ALL {
            let is_thorough = Workload::THOROUGH.contains(&workload);
            for (role, points) in &self.points {
                for name in points.linked.keys() {
                    let hits = |workload| points.hits.get(&(workload, name.clone())).copied();
                    let is_new = Workload::THOROUGH.iter().all(|one| hits(*one).is_none());
                    let is_own = BEYOND_THE_GATE.iter().any(|room| name.starts_with(room));
                    let hits_max = match (is_thorough || is_new, name.starts_with(ENGINE)) {
                        _ if !workload.is_of_gate() && !is_own => 0,
                        (true, _) => HITS_MAX,
                        (false, true) => 0,
                        (false, false) => 1,
                    };
                    for hit in 1..=hits(workload).unwrap_or_default().min(hits_max) {
                        cases.push(Case::one(workload, *role, name, hit));
                    }
                }
            }
        }
        cases
    }

    /// Each point once, and then again inside the start that follows: at each point that a
    /// recovery of that program passes.
    #[must_use]
    pub fn again_in_recovery(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        let firsts = self.each_point_once();
        for (role, points) in &self.points {
            let of_role = |case: &&Case| case.crashes.iter().any(|crash| crash.role == *role);
            let firsts: Vec<&Case> = firsts.iter().filter(of_role).collect();
            let stride = firsts.len().div_ceil(FEW).max(1);
            for name in points.linked.keys() {
                let stride = if name.starts_with(RECOVERY) {
                    1
                } else if points.starts.contains(name)
                    && IN_STARTS.iter().any(|room| name.starts_with(room))
                {
                    // A first start makes everything, and whatever died there is made once more.
                    if points.hits.contains_key(&(Workload::Pair, name.clone())) {
                        let mut case = Case::one(Workload::Pair, *role, name, 1);
                        case.crashes.extend(case.crashes.first().cloned());
                        cases.push(case);
                    }
                    stride
                } else {
                    continue;
                };
                for first in firsts.iter().step_by(stride) {
                    let mut case = (*first).clone();
                    case.crashes.push(Crash {
                        role: *role,
                        point: name.clone(),
                        hit: 1,
                    });
                    cases.push(case);
                }
            }
        }
        // The same two deaths may have been planned for two reasons.
        let mut unique: Vec<Case> = Vec::new();
        for case in cases {
            if !unique.contains(&case) {
                unique.push(case);
            }
        }
        unique
    }
}

/// The cases of one machine of several, each by its own words: surveys differ a little, and yet nothing
/// falls between two machines, or between two parts of one. All that die a second time at one point go to
/// one machine, so that it can say whether any of them did.
#[must_use]
pub fn of_shard(cases: Vec<Case>, shard: Shard) -> Vec<Case> {
    let is_own = |case: &Case| match &case.crashes[..] {
        [_, second, ..] => shard.has_name(&format!("{} {}", second.role, second.point)),
        _ => shard.has_name(&case.to_string()),
    };
    cases.into_iter().filter(is_own).collect()
}

impl Case {
    /// One crash in one workload.
    #[must_use]
    pub fn one(workload: Workload, role: Role, point: &str, hit: u64) -> Self {
        let point = point.to_owned();
        Self {
            workload,
            crashes: vec![Crash { role, point, hit }],
        }
    }

    /// Whether its first crash is at another hit than the first.
    #[must_use]
    pub fn is_later_hit(&self) -> bool {
        self.crashes.first().is_some_and(|crash| crash.hit > 1)
    }
}

/// One run, tried again if the program did not come to the point.
#[must_use]
pub fn cell(stock: &Stock, case: &Case) -> Cell {
    let mut cell = attempt(stock, case);
    for _again in 1..ATTEMPTS_MAX {
        if cell.worth() != Worth::NotReached || cell.died == Death::OnlyFirst {
            break;
        }
        cell = attempt(stock, case);
    }
    if cell.fails() {
        stock.keep(&case.to_string().replace([' ', ':', ','], "-"));
    }
    cell
}

fn attempt(stock: &Stock, case: &Case) -> Cell {
    let began = Instant::now();
    let mut died = Death::Never;
    let verdict = match case.workload.world(stock, case.workload.setup()) {
        Err(trouble) => Verdict::of(&Err(trouble)),
        Ok(mut system) => {
            for crash in &case.crashes {
                system = system.planted(crash.clone());
            }
            let run = case.workload.run(&mut system);
            let deaths = usize::try_from(system.deaths()).unwrap_or(usize::MAX);
            died = match deaths {
                0 => Death::Never,
                deaths if deaths < case.crashes.len() => Death::OnlyFirst,
                _ => Death::Really,
            };
            Verdict::with_notes(&run, &system.all_notes())
        }
    };
    Cell {
        case: case.clone(),
        died,
        verdict,
        took: began.elapsed(),
    }
}

/// All cells, a few at a time; those that the time did not reach are missing. What earlier parts did is
/// not done again, but for what failed, and that first. Each cell is told when it is done, with how many
/// there are of all parts.
///
/// # Errors
/// No paired world could be made, or the progress cannot be kept.
pub fn run(
    cases: &[Case],
    until: Option<Instant>,
    progress: &Progress<Cell>,
    tell: impl Fn(usize, &Cell) + Sync,
) -> Outcome<Vec<Cell>> {
    let setup = Workload::Event.setup();
    workers::run(&setup, &progress.left_of(cases), until, cell, |cell| {
        let count = progress.take(cell).map_err(Trouble::machine("progress"))?;
        tell(count, cell);
        Ok(())
    })?;
    Ok(progress.all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_none_whose_point_was_not_reached() {
        let refused = || Verdict::Refused {
            role: Role::Hub,
            code: 4,
            said: "the log is damaged".to_owned(),
        };
        let fatal = || Verdict::Fatal(vec![Broken::new("C7", "it hung")]);
        for died in [Death::Really, Death::OnlyFirst, Death::Never] {
            // The first hit and a later one, which may be missed by a run that passes.
            for hit in [1, 5] {
                let cell = |verdict: Verdict| Cell {
                    case: Case::one(Workload::Event, Role::Hub, "wal.commit.after_sync", hit),
                    died,
                    verdict,
                    took: Duration::ZERO,
                };
                assert_eq!(cell(refused()).worth(), Worth::Refused, "{died:?} {hit}");
                assert!(cell(refused()).fails(), "{died:?} {hit}");
                assert_eq!(cell(fatal()).worth(), Worth::Fatal, "{died:?} {hit}");
                assert!(cell(fatal()).fails(), "{died:?} {hit}");
            }
        }
    }

    #[test]
    fn shards_share_the_cases_and_each_second_point_stays_whole() {
        let case = |first: &str, second: Option<&str>| {
            let mut case = Case::one(Workload::Event, Role::Hub, first, 1);
            case.crashes.extend(second.map(|point| Crash {
                role: Role::Hub,
                point: point.to_owned(),
                hit: 1,
            }));
            case
        };
        let mut cases: Vec<Case> = ["a", "b", "c", "d", "e"].map(|one| case(one, None)).into();
        for second in ["x", "y", "z"] {
            cases.extend(["a", "b"].map(|first| case(first, Some(second))));
        }
        let shards = ["0/2", "1/2"].map(|shard| of_shard(cases.clone(), shard.parse().unwrap()));
        assert_eq!(shards[0].len() + shards[1].len(), cases.len());
        assert!(shards.iter().all(|shard| shard.len() >= 4));
        for second in ["x", "y", "z"] {
            let with = |shard: &Vec<Case>| {
                let second = |case: &&Case| case.crashes.get(1).is_some_and(|c| c.point == second);
                shard.iter().filter(second).count()
            };
            let counts = [with(&shards[0]), with(&shards[1])];
            assert!(counts == [2, 0] || counts == [0, 2], "{second}: {counts:?}");
        }
        assert_eq!(of_shard(cases.clone(), Shard::WHOLE), cases);
    }

    #[test]
    fn later_hits_of_what_the_thorough_workloads_pass_are_theirs_alone() {
        let mut survey = Survey::default();
        let points = survey.points.entry(Role::Hub).or_default();
        for (workload, name, hits) in [
            (Workload::Event, "wal.commit.after_sync", 20),
            (Workload::Event, "app.take.staged", 20),
            (Workload::Reset, "wal.commit.after_sync", 20),
            (Workload::Reset, "app.take.staged", 20),
            (Workload::Reset, "hub.reset.asked", 2),
            (Workload::Beside, "hub.settings.staged", 9),
            (Workload::Pass, "hub.settings.staged", 9),
            (Workload::Pass, "app.take.staged", 9),
            (Workload::Pass, "hub.invite.made", 1),
        ] {
            points.linked.insert(name.to_owned(), "a.rs:1".to_owned());
            points.hits.insert((workload, name.to_owned()), hits);
        }
        let cases = survey.every_hit();
        let count = |workload, name: &str| {
            let is = |case: &&Case| case.workload == workload && case.crashes[0].point == name;
            cases.iter().filter(is).count()
        };
        assert_eq!(count(Workload::Event, "wal.commit.after_sync"), 8);
        assert_eq!(count(Workload::Event, "app.take.staged"), 8);
        assert_eq!(count(Workload::Reset, "wal.commit.after_sync"), 0);
        assert_eq!(count(Workload::Reset, "app.take.staged"), 1);
        assert_eq!(count(Workload::Reset, "hub.reset.asked"), 2);
        assert_eq!(count(Workload::Beside, "hub.settings.staged"), 8);
        assert_eq!(count(Workload::Pass, "hub.settings.staged"), 0);
        assert_eq!(count(Workload::Pass, "app.take.staged"), 0);
        assert_eq!(count(Workload::Pass, "hub.invite.made"), 1);
        assert_eq!(cases.len(), 8 + 8 + 1 + 2 + 8 + 1);
    }

    #[test]
    fn rooms_that_a_role_never_enters_are_named() {
        let mut survey = Survey::default();
        let points = survey.points.entry(Role::Relay).or_default();
        for name in ["wal.witness.before_write", "wal.commit.after_sync"] {
            points.linked.insert(name.to_owned(), "a.rs:1".to_owned());
        }
        let found = survey.not_entered();
        assert_eq!(
            found,
            ["secluso-relay: wal.witness.before_write (secluso-hub and secluso-app only)"]
        );
    }

    #[test]
    fn what_is_left_to_a_longer_tier_is_neither_planned_nor_missed() {
        let mut survey = Survey::default();
        let points = survey.points.entry(Role::Hub).or_default();
        for name in ["hub.invite.made", "journal.notice.hub_staged"] {
            points.linked.insert(name.to_owned(), "a.rs:1".to_owned());
        }
        let hit = (Workload::Budget, "journal.notice.hub_staged".to_owned());
        points.hits.insert(hit, 1);
        assert_eq!(survey.never_hit().len(), 1);
        assert_eq!(survey.each_point_once().len(), 1);
        survey.left = BEYOND_THE_GATE.to_vec();
        assert_eq!(survey.never_hit(), Vec::<String>::new());
        assert!(survey.each_point_once().is_empty());
    }

    #[test]
    fn what_a_start_passes_ends_with_its_first_commit() {
        let trace = "wal.recover.one 1\njournal.vault.x 1\nwal.commit.before_write 1\n\
                     wal.witness.late 1\nwal.recover.one 1\nwal.file.created 1\n";
        let found: Vec<String> = starts_of(trace).into_iter().collect();
        assert_eq!(
            found,
            ["journal.vault.x", "wal.file.created", "wal.recover.one"]
        );
    }
}
