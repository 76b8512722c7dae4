//! Totals of several machines, each of which ran a shard of the long tier, as one.
//!
//! [`sums`] says how the figures of each kind are added; this room says which files belong together and
//! what is missing. It must never count anything twice, and never be silent about a shard that nobody
//! brought.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{FULL_TOTALS, Tier};
use crate::cargo;
use crate::failure::{Because as _, Failure, Outcome};

mod sums;

/// What the user asks for.
#[derive(Debug)]
pub(super) struct Options {
    files: Vec<PathBuf>,
    /// Kinds that are meant to be in no file.
    without: BTreeSet<String>,
    json: bool,
    bless: bool,
}

/// `--merge FILE...`, if it is in a command line.
pub(super) fn asked_for(words: &[String]) -> Outcome<Option<Options>> {
    if !words.iter().any(|word| word == "--merge") {
        return Ok(None);
    }
    let mut options = Options {
        files: Vec::new(),
        without: BTreeSet::new(),
        json: false,
        bless: false,
    };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--merge" => {}
            "--without" => {
                let name = words.next();
                let name = name.ok_or_else(|| Failure::usage("--without wants a name"))?;
                options.without.insert(name.clone());
            }
            "--json" => options.json = true,
            "--bless" => options.bless = true,
            other if other.starts_with("--") => {
                return Err(Failure::usage(format!(
                    "crash --merge runs nothing: what is `{other}`?"
                )));
            }
            file => options.files.push(PathBuf::from(file)),
        }
    }
    if options.files.is_empty() {
        return Err(Failure::usage("--merge wants files of totals"));
    }
    if !options.json && !options.bless {
        return Err(Failure::usage(
            "--merge wants --json, to print the sum, or --bless, to keep it",
        ));
    }
    Ok(Some(options))
}

/// Adds the files and prints or keeps the sum.
pub(super) fn run(options: &Options) -> Outcome<()> {
    let mut parts = Vec::new();
    for file in &options.files {
        let name = file.display().to_string();
        let text = fs::read_to_string(file).because(&name)?;
        let totals = serde_json::from_str(&text).because(&name)?;
        parts.push(Part::new(name, totals)?);
    }
    let sum = merged(parts, &options.without)?;
    if options.bless {
        let kept = cargo::root().join(FULL_TOTALS);
        fs::write(kept, sum.to_string()).because("the totals cannot be written")?;
    }
    if options.json {
        println!("{sum}");
    }
    let missing = words(&sum["not_covered"]);
    for sentence in &missing {
        eprintln!("NOT COVERED: {sentence}");
    }
    let failed = words(&sum["failed"]);
    if !failed.is_empty() {
        return Err(Failure::found(format!("not good: {}", failed.join(", "))));
    }
    match missing.len() {
        0 => Ok(()),
        count => Err(Failure::found(format!(
            "every result is good, and {count} are missing"
        ))),
    }
}

fn words(value: &Value) -> Vec<&str> {
    let all = value.as_array().into_iter().flatten();
    all.filter_map(Value::as_str).collect()
}

/// One machine of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shard {
    rest: u64,
    of: u64,
}

impl Shard {
    fn parse(text: &str) -> Option<Self> {
        let (rest, of) = text.split_once('/')?;
        let (rest, of) = (rest.parse().ok()?, of.parse().ok()?);
        (rest < of).then_some(Self { rest, of })
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.rest, self.of)
    }
}

/// One file of totals.
struct Part {
    file: String,
    shard: Shard,
    commit: String,
    totals: Value,
}

impl Part {
    fn new(file: String, totals: Value) -> Outcome<Self> {
        let word = |key: &str| totals[key].as_str().unwrap_or_default();
        if word("tier") != Tier::Full.name() {
            return Err(Failure::usage(format!(
                "{file}: only totals of --full are added"
            )));
        }
        let shard = Shard::parse(word("shard"))
            .ok_or_else(|| Failure::usage(format!("{file}: is of no shard")))?;
        let commit = word("commit").to_owned();
        // Two trees that differ from one commit may differ from each other.
        if commit.is_empty() || commit == "unknown" || commit.contains(' ') {
            return Err(Failure::usage(format!(
                "{file}: is of no commit (`{commit}`)"
            )));
        }
        Ok(Self {
            file,
            shard,
            commit,
            totals,
        })
    }

    /// Whether it says so of a kind.
    fn lists(&self, key: &str, kind: &str) -> bool {
        words(&self.totals[key]).contains(&kind)
    }

    /// What this machine found of a kind. What an earlier run of another commit or another shard left
    /// in the same place is not its own.
    fn result(&self, kind: &str) -> Option<&Value> {
        let value = self.totals["results"].get(kind)?;
        let commit = self.totals["commits"][kind].as_str();
        let shard = self.totals["shards"][kind].as_str();
        let own = commit == Some(self.commit.as_str())
            && (!sums::is_shared(kind) || shard == Some(&self.shard.to_string()));
        (own && !value.is_null() && value.get("not_run").is_none()).then_some(value)
    }

    /// Why it has no result of a kind.
    fn why_none(&self, kind: &str) -> String {
        let said = self.totals["results"][kind]["not_run"].as_str();
        said.unwrap_or("without a result").to_owned()
    }

    /// Whether a kind did not end well here.
    fn is_bad(&self, kind: &str) -> bool {
        let bad_result = self.result(kind).is_some() && self.lists("failed", kind);
        bad_result || self.lists("failed_now", kind)
    }
}

/// Whether the files can be of one run: one commit, one number of shards, none twice.
fn check(parts: &[Part]) -> Outcome<()> {
    let of = parts.iter().filter(|part| part.shard.of > 1);
    let of: BTreeSet<u64> = of.map(|part| part.shard.of).collect();
    if of.len() > 1 {
        return Err(Failure::usage(format!(
            "not of one number of shards: {of:?}"
        )));
    }
    let mut seen: BTreeMap<Shard, &str> = BTreeMap::new();
    for part in parts {
        if let Some(first) = parts.first().filter(|first| first.commit != part.commit) {
            return Err(Failure::usage(format!(
                "{} is of commit {}, {} of {}",
                first.file, first.commit, part.file, part.commit
            )));
        }
        let before = seen.insert(part.shard, &part.file);
        if let Some(before) = before.filter(|_| part.shard.of > 1) {
            return Err(Failure::usage(format!(
                "{before} and {} are both shard {}",
                part.file, part.shard
            )));
        }
    }
    Ok(())
}

/// The sum of all files, in the form of one.
fn merged(mut parts: Vec<Part>, without: &BTreeSet<String>) -> Outcome<Value> {
    parts.sort_by_key(|part| (part.shard.of == 1, part.shard));
    check(&parts)?;
    let kinds: BTreeSet<&str> = parts
        .iter()
        .flat_map(|part| part.totals["results"].as_object().into_iter().flatten())
        .map(|(kind, _)| kind.as_str())
        .collect();
    let mut sum = Sum::default();
    for kind in kinds {
        sum.take(kind, &parts)?;
    }
    let left_out = parts
        .iter()
        .flat_map(|part| words(&part.totals["left_out"]));
    // What was not asked for is left out; what was, and is in no file or bad in one, is not good.
    let tried = |kind: &str| parts.iter().any(|part| part.is_bad(kind));
    let left_out: BTreeSet<&str> = left_out
        .filter(|kind| sum.results.get(*kind).is_none_or(Value::is_null) && !tried(kind))
        .collect();
    sum.results
        .retain(|kind, _| !left_out.contains(kind.as_str()));
    sum.failed.retain(|kind| !left_out.contains(kind.as_str()));
    // That every machine left it to another one is no reason why nobody did it.
    for kind in left_out.iter().filter(|kind| !without.contains(**kind)) {
        sum.not_covered
            .push(format!("{kind}: every file leaves it out"));
    }
    let shards: Vec<String> = parts.iter().map(|part| part.shard.to_string()).collect();
    let minutes = parts
        .iter()
        .filter_map(|part| part.totals["minutes"].as_u64());
    Ok(json!({
        "tier": Tier::Full.name(),
        "commit": parts.first().map(|part| part.commit.as_str()),
        "commits": sum.commits,
        "shards": sum.shards,
        "seconds": sum.seconds,
        "minutes": minutes.max(),
        "shard": shards.join(" + "),
        "left_out": left_out,
        "failed": sum.failed,
        "failed_now": [],
        "good": sum.failed.is_empty(),
        "not_covered": sum.not_covered,
        "results": sum.results,
    }))
}

/// What is found so far, by kind.
#[derive(Default)]
struct Sum {
    results: Map<String, Value>,
    commits: Map<String, Value>,
    shards: Map<String, Value>,
    seconds: Map<String, Value>,
    failed: BTreeSet<String>,
    not_covered: Vec<String>,
}

impl Sum {
    /// One kind of all files.
    fn take(&mut self, kind: &str, parts: &[Part]) -> Outcome<()> {
        let have = || parts.iter().filter(|part| part.result(kind).is_some());
        let used: Vec<&Part> = if sums::is_shared(kind) {
            have().collect()
        } else {
            // Every machine ran all of it, so one says it; a bad one if there is any.
            let bad = have().find(|part| part.is_bad(kind));
            bad.or_else(|| have().next()).into_iter().collect()
        };
        if sums::is_shared(kind) {
            one_count(kind, &used)?;
            self.miss(kind, parts, &used);
        }
        if parts.iter().any(|part| part.is_bad(kind)) || used.is_empty() {
            self.failed.insert(kind.to_owned());
        }
        let results: Vec<(String, &Value)> = used
            .iter()
            .filter_map(|part| Some((format!("shard {}", part.shard), part.result(kind)?)))
            .collect();
        let value = match results.as_slice() {
            [] => Value::Null,
            [(_, one)] => (*one).clone(),
            all => sums::add(kind, all)?,
        };
        self.results
            .insert(kind.to_owned(), sums::without_places(value));
        if let Some(first) = used.first() {
            let shards: Vec<String> = used.iter().map(|part| part.shard.to_string()).collect();
            self.commits
                .insert(kind.to_owned(), first.commit.clone().into());
            self.shards
                .insert(kind.to_owned(), shards.join(" + ").into());
            // They ran side by side: the wall time is that of the slowest.
            let times = used
                .iter()
                .filter_map(|part| part.totals["seconds"][kind].as_f64());
            let longest = times.max_by(f64::total_cmp);
            self.seconds.insert(kind.to_owned(), longest.into());
        }
        Ok(())
    }

    /// Names the shards of a kind that are not among those that are used.
    fn miss(&mut self, kind: &str, parts: &[Part], used: &[&Part]) {
        let asked = |part: &&Part| !part.lists("left_out", kind);
        // Where nobody has a result, the files say how many there should be.
        let of = match used.first() {
            Some(first) => Some(first.shard.of),
            None => parts.iter().find(asked).map(|part| part.shard.of),
        };
        for rest in 0..of.unwrap_or_default() {
            let shard = Shard {
                rest,
                of: of.unwrap_or_default(),
            };
            if used.iter().any(|part| part.shard == shard) {
                continue;
            }
            let there = parts.iter().find(|part| part.shard == shard);
            let why = there.map_or_else(
                || "no file of it was given".to_owned(),
                |part| part.why_none(kind),
            );
            self.not_covered
                .push(format!("{kind}, shard {shard}: {why}"));
        }
    }
}

/// Results of one kind are of different machines of one number, or are not added.
fn one_count(kind: &str, used: &[&Part]) -> Outcome<()> {
    for (place, part) in used.iter().enumerate() {
        for other in used.iter().take(place) {
            if part.shard.of != other.shard.of || part.shard == other.shard {
                return Err(Failure::usage(format!(
                    "{kind}: shard {} in {} and shard {} in {}",
                    other.shard, other.file, part.shard, part.file
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
