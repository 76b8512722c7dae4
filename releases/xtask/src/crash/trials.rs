//! Which programs a tier runs, with what, and for how much of the time.
//!
//! This room runs nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Options, REAL_FILE_SYSTEM, Tier};

/// One kind of test: a program and what it is told.
pub(super) struct Trial {
    /// Its name, also of its file of results.
    pub(super) name: &'static str,
    pub(super) program: &'static str,
    pub(super) arguments: Vec<String>,
    /// Where it writes its results; none if it prints them.
    pub(super) writes: Option<PathBuf>,
    /// What must have run before it.
    pub(super) first: Option<Vec<String>>,
    /// Minutes that it takes in the middle tier on two cores, rounded up. Whoever runs before it leaves it
    /// so much.
    pub(super) needs: u64,
    /// Its part of the time in the long tier, in no unit: a trial gets as much of what is left as its part is
    /// of the parts of those that are left.
    pub(super) weight: u32,
    /// Whether it is told `--minutes`.
    pub(super) timed: bool,
    /// What an earlier run left and must not be used again.
    pub(super) stale: Vec<PathBuf>,
}

/// The minutes of the first of these trials, if so much time is left for all of them. In the long tier the
/// time is shared, because there is no end to what a search can do with it; else whoever is slow today may
/// take all that the others can do without.
pub(super) fn share(tier: Tier, left: Duration, trials: &[&Trial]) -> u64 {
    let minutes = left.as_secs() / 60;
    let Some((first, later)) = trials.split_first() else {
        return 1;
    };
    let own = match tier {
        Tier::Full => {
            let all: u32 = trials.iter().map(|trial| trial.weight).sum();
            minutes * u64::from(first.weight) / u64::from(all.max(1))
        }
        Tier::Quick | Tier::Crash => {
            let reserved: u64 = later.iter().map(|trial| trial.needs).sum();
            match minutes >= first.needs + reserved {
                true => minutes - reserved,
                // Somebody gave less than all need: each gets its part.
                false => minutes * first.needs / (first.needs + reserved).max(1),
            }
        }
    };
    own.max(1)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What a search is told besides in the long tier: its part, and where to go on. The shorter tiers play all of
/// their seeds.
fn long(options: &Options, place: &Path, name: &str) -> Vec<String> {
    if options.tier != Tier::Full {
        return Vec::new();
    }
    let progress = place.join(format!("{name}.progress"));
    let mut words = words(&["--shard", &options.shard, "--resume"]);
    words.push(progress.to_string_lossy().into_owned());
    words.extend(open_ended(options));
    words
}

/// What a sweep over runs is told besides: its part of them, in each tier, and in the long one where to go on.
fn parts(options: &Options, place: &Path, name: &str) -> Vec<String> {
    match options.tier {
        Tier::Full => long(options, place, name),
        Tier::Quick | Tier::Crash => words(&["--shard", &options.shard]),
    }
}

/// Said to those who can be stopped by the time.
fn open_ended(options: &Options) -> Option<String> {
    options.open_ended.then(|| "--open-ended".to_owned())
}

/// All trials of a tier, in the order in which they find things quickest.
pub(super) fn trials(options: &Options, place: &Path) -> Vec<Trial> {
    let tier = options.tier;
    let pick = |quick: &str, crash: &str, full: &str| {
        match tier {
            Tier::Quick => quick,
            Tier::Crash => crash,
            Tier::Full => full,
        }
        .to_owned()
    };
    let trial = |name, program, arguments| Trial {
        name,
        program,
        arguments,
        writes: None,
        first: None,
        stale: Vec::new(),
        needs: 1,
        weight: 2,
        timed: false,
    };
    let timed = |needs, weight, trial: Trial| Trial {
        needs,
        weight,
        timed: true,
        ..trial
    };
    let mut all = Vec::new();
    let mut model = words(&["all", "--json", "--epochs"]);
    model.push(pick("4", "6", "8"));
    model.extend(["--crashes".to_owned(), pick("3", "4", "6")]);
    all.push(trial("model", "crashtest-model", model));
    let mut simulation = words(&["run", "--json", "--seeds"]);
    simulation.push(pick("500", "2000", "100000"));
    simulation.extend(long(options, place, "simulation"));
    all.push(timed(1, 15, trial("simulation", "simulate", simulation)));
    let mut engine = words(&["engine", "--json", "--seeds"]);
    engine.push(pick("4000", "50000", "2000000"));
    engine.extend(long(options, place, "engine"));
    all.push(timed(2, 8, trial("engine", "simulate", engine)));
    all.push(trial("mutants", "simulate", words(&["mutants", "--json"])));
    let mut errors = words(&["errors", "--json", "--stride"]);
    errors.push(pick("40", "1", "1"));
    errors.extend(parts(options, place, "disk-errors"));
    all.push(timed(13, 30, trial("disk-errors", "simulate", errors)));
    let mut errors = words(&["errors", "--json", "--each"]);
    errors.push(pick("2", "24", "1000"));
    errors.extend(parts(options, place, "daemon-errors"));
    all.push(timed(
        6,
        8,
        trial("daemon-errors", "secluso-crashtest", errors),
    ));
    let recording = place.join("recording").to_string_lossy().into_owned();
    let writes = place.join("power-cuts.json");
    let mut sweep = words(&["sweep", &recording, "--json", &writes.to_string_lossy()]);
    sweep.extend([
        "--keep".to_owned(),
        place.join("failed-states").to_string_lossy().into_owned(),
    ]);
    sweep.extend(["--states".to_owned(), states_of(options)]);
    sweep.extend(open_ended(options));
    sweep.extend(["--shard".to_owned(), options.shard.clone()]);
    let again = options.resume && Path::new(&recording).is_dir();
    if options.resume {
        sweep.push("--resume".to_owned());
    }
    all.push(Trial {
        writes: Some(writes),
        first: (!again).then(|| words(&["record", &recording, "--events", "4"])),
        ..timed(6, 25, trial("power-cuts", "crashtest-replay", sweep))
    });
    let mut kills = words(&["sweep", "--json"]);
    kills.extend(parts(options, place, "kills"));
    if tier == Tier::Quick {
        kills.push("--quick".to_owned());
    }
    all.push(timed(21, 35, trial("kills", "secluso-crashtest", kills)));
    let cycles = words(&["cycles", &pick("100", "1000", "1000")]);
    all.push(Trial {
        needs: 5,
        ..trial("cycles", "secluso-crashtest", cycles)
    });
    let start_up = words(&["start-up", "--mib", &pick("64", "1024", "1024"), "--json"]);
    all.push(trial("start-up", "simulate", start_up));
    if tier != Tier::Quick {
        // The model's mistakes in the real programs.
        let replay = words(&["replay", "--json"]);
        all.push(trial("model-replay", "crashtest-model", replay));
    }
    if tier == Tier::Full || options.only.as_deref() == Some(REAL_FILE_SYSTEM) {
        all.push(real_file_system(options, place));
    }
    all
}

/// States of the power cuts. With a time of the user's own there is no end to them.
fn states_of(options: &Options) -> String {
    match options.tier {
        Tier::Quick => "10000",
        Tier::Crash => "100000",
        Tier::Full if options.open_ended => "1000000000",
        Tier::Full => "1000000",
    }
    .to_owned()
}

/// Below this there is no time for all epochs of the longer session on a real file system, in minutes: on two cores
/// eight events take about ten, twenty-four about half an hour, and other kinds want theirs.
const LONG_SESSION_MINUTES: u64 = 120;

/// ext4 on a logged drive. The recording stays, so that `--resume` finds it.
fn real_file_system(options: &Options, place: &Path) -> Trial {
    let recording = place.join("block-recording");
    let progress = place.join(format!("{REAL_FILE_SYSTEM}.progress"));
    let writes = place.join(format!("{REAL_FILE_SYSTEM}.json"));
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut arguments = words(&["run", "--json", &text(&writes)]);
    arguments.extend(["--keep".to_owned(), text(&place.join("failed-disks"))]);
    arguments.extend(["--recording".to_owned(), text(&recording)]);
    arguments.extend(["--shard".to_owned(), options.shard.clone()]);
    if options.tier == Tier::Full {
        // All of a shorter session says more than a part of a longer one.
        let events = if options.minutes < LONG_SESSION_MINUTES {
            "8"
        } else {
            "24"
        };
        arguments.extend(words(&["--events", events]));
    }
    arguments.extend(open_ended(options));
    // Written by the first part too, or the second would have nothing to go on with.
    arguments.extend(["--resume".to_owned(), text(&progress)]);
    let mut stale = vec![recording];
    if options.resume {
        stale.clear();
    }
    Trial {
        name: REAL_FILE_SYSTEM,
        program: "crashtest-block",
        arguments,
        writes: Some(writes),
        first: None,
        needs: 20,
        weight: 20,
        timed: true,
        stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a trial is told, of these options.
    fn told(text: &str, name: &str) -> Vec<String> {
        let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        let options = Options::parse(&words).unwrap();
        let all = trials(&options, Path::new("/place"));
        let trial = all.into_iter().find(|trial| trial.name == name);
        trial.unwrap().arguments
    }

    #[test]
    fn the_long_tier_shares_resumes_and_ends_openly_whatever_may_take_hours() {
        let has = |all: &[String], pair: [&str; 2]| all.windows(2).any(|two| two == pair);
        let open = "--open-ended".to_owned();
        for name in [
            "simulation",
            "engine",
            "disk-errors",
            "daemon-errors",
            "kills",
        ] {
            let full = told("--full --shard 2/4", name);
            let progress = format!("/place/{name}.progress");
            assert!(
                has(&full, ["--resume", progress.as_str()]),
                "{name}: {full:?}"
            );
            assert!(has(&full, ["--shard", "2/4"]), "{name}: {full:?}");
            assert!(!full.contains(&open), "{name}");
            let timed = told("--full --minutes 9", name);
            assert!(timed.contains(&open), "{name}");
            // An hour is not resumed, and what it does not reach fails.
            let middle = told("--minutes 9", name);
            assert!(!middle.contains(&open), "{name}");
            assert!(!middle.contains(&"--resume".to_owned()), "{name}");
        }
        assert!(has(
            &told("--full --minutes 30", REAL_FILE_SYSTEM),
            ["--events", "8"]
        ));
        let first = told("--full", REAL_FILE_SYSTEM);
        assert!(has(&first, ["--events", "24"]));
        let progress = format!("/place/{REAL_FILE_SYSTEM}.progress");
        assert!(has(&first, ["--resume", progress.as_str()]), "{first:?}");
        for name in ["disk-errors", "daemon-errors", "kills", "power-cuts"] {
            assert!(
                has(&told("--shard 2/4", name), ["--shard", "2/4"]),
                "{name}"
            );
        }
    }
}
