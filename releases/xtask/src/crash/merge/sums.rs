//! How results of one kind from several shards are added, figure by figure.
//!
//! Every field of every shared kind has a rule here. A field without one is refused: nobody can say
//! whether two of it may be added. Each machine makes a recording of its own, so figures of recordings
//! (moments, sends, writes, flush epochs) are sums over all of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};

/// How several values of one field become one.
#[derive(Clone, Copy)]
enum Rule {
    /// A number: the sum.
    Add,
    /// A number: the largest.
    Most,
    /// A number: the smallest.
    Least,
    /// They must be equal.
    Same,
    /// True if all are.
    Every,
    /// True if one is.
    Any,
    /// A list: all that is in any.
    List,
    /// A list of sentences that mean the same whoever says them: each once.
    Union,
    /// A list of sentences: all, with their shard in front.
    Sentences,
    /// A sentence, or null: as one, with their shards in front.
    Sentence,
    /// Numbers by name: the sum of each.
    Numbers,
    /// Objects by name, each by these rules.
    Named(Fields),
    /// An object.
    Object(Fields),
    /// A list of objects; those that agree in these fields are one.
    Rows(&'static [&'static str], Fields),
    /// So many of another field (a path into the sum) in each second.
    Rate(&'static str),
}

type Fields = &'static [(&'static str, Rule)];

use Rule::{
    Add, Any, Every, Least, List, Most, Named, Numbers, Object, Rate, Rows, Same, Sentence,
    Sentences, Union,
};

const SEEDS: Fields = &[
    ("from", Least),
    ("seeds", Add),
    ("left", Add),
    ("failed", List),
    ("unfinished", Sentence),
    ("seconds", Add),
    ("deaths", Add),
    ("envelopes", Add),
    ("dropped", Add),
    ("old_copies", Add),
    ("crashes", Add),
];

const RUNS: Fields = &[
    ("planned", Add),
    ("killed", Add),
    ("passed", Add),
    ("refused", Add),
    ("fatal", Add),
    ("not_reached", Add),
];

const POINT: Fields = &[("counts", Object(RUNS)), ("workloads", Numbers)];

/// Every machine looks for every bug.
const MUTANT: Fields = &[("promise", Same), ("caught", Every), ("seconds", Most)];

const KILLS: Fields = &[
    ("good", Every),
    ("totals", Object(RUNS)),
    (
        "points",
        Rows(&["program", "point", "again_in_recovery"], POINT),
    ),
    ("failed", List),
    ("not_covered", Sentences),
    ("not_entered", Union),
    ("seconds", Add),
    ("mutants", Rows(&["mutant"], MUTANT)),
];

/// Each machine counts the operations itself, a few more or less; what it plans is its part of them.
const ERRORS: Fields = &[
    ("operations", Most),
    ("planned", Add),
    ("tried", Add),
    ("runs", Add),
    ("restarted", Add),
    ("fatal", Add),
];

/// Of both kinds; under the running programs nobody says `unfinished`.
const DISK_ERRORS: Fields = &[
    ("rows", Rows(&["program", "error"], ERRORS)),
    ("fatal", List),
    ("not_covered", Sentences),
    ("unfinished", Any),
    ("seconds", Add),
    ("good", Every),
];

const STATES: Fields = &[
    ("derived", Add),
    ("unique", Add),
    ("refused", Add),
    ("failed", Add),
];

const CUTS: Fields = &[
    ("moments", Add),
    ("marks", Add),
    ("derived", Add),
    ("unique", Add),
    ("refused", Add),
    ("failed", Add),
    ("explained", Add),
    ("talks", Add),
    ("unpaired", Add),
    ("left_out", Add),
    ("rounds", Most),
    ("unfinished", Sentence),
    ("seconds", Add),
    ("states_per_second", Rate("/unique")),
    ("slowest_start_ms", Most),
    ("kinds", Named(STATES)),
    ("refusals", Numbers),
    ("failures", List),
];

const DISKS: Fields = &[
    ("derived", Add),
    ("opened", Add),
    ("refused", Add),
    ("failed", Add),
    ("not_mounted", Add),
    ("repaired", Add),
];

const REAL_FILE_SYSTEM: Fields = &[
    ("program", Same),
    ("writes", Add),
    ("bytes", Add),
    ("flushes", Add),
    ("epochs", Add),
    ("small_epochs", Add),
    ("largest_epoch", Most),
    ("epoch_sizes", Numbers),
    ("finished_epochs", Add),
    ("small_finished_epochs", Add),
    ("marks", Add),
    ("totals", Object(DISKS)),
    ("kinds", Named(DISKS)),
    ("refusals", Numbers),
    ("mount_words", Numbers),
    ("repaired_short", Add),
    ("failures", List),
    ("explained", Add),
    ("talks", Add),
    ("unpaired", Add),
    ("seen_before", Add),
    ("removed_flushes", Add),
    ("removed_flushes_noticed", Add),
    ("removed_flushes_noticed_alone", Add),
    ("slowest_start_ms", Most),
    ("seconds", Add),
    ("states_per_second", Rate("/totals/opened")),
    ("complaints", Sentences),
    ("not_covered", Sentences),
];

/// The kinds of which each shard has a part.
const SHARED: [(&str, Rule); 7] = [
    ("simulation", Object(SEEDS)),
    ("engine", Object(SEEDS)),
    ("disk-errors", Object(DISK_ERRORS)),
    ("daemon-errors", Object(DISK_ERRORS)),
    ("power-cuts", Rows(&["program", "part"], CUTS)),
    ("kills", Object(KILLS)),
    (super::super::REAL_FILE_SYSTEM, Object(REAL_FILE_SYSTEM)),
];

fn rule(kind: &str) -> Option<Rule> {
    let known = SHARED.iter().find(|(name, _)| *name == kind);
    known.map(|(_, rule)| *rule)
}

/// Whether the machines share a kind; all of any other is run by each.
pub(super) fn is_shared(kind: &str) -> bool {
    rule(kind).is_some()
}

/// A value, with whose it is.
type Said<'a> = (String, &'a Value);

/// The sum of one kind's results, each with its shard's name.
pub(super) fn add(kind: &str, results: &[Said<'_>]) -> Outcome<Value> {
    let rule = rule(kind).ok_or_else(|| strange(kind))?;
    one(kind, rule, results)
}

fn strange(field: &str) -> Failure {
    Failure::found(format!(
        "{field} cannot be added: its shards differ in form, or releases/xtask/src/crash/merge/sums.rs \
         has no rule for it"
    ))
}

fn one(field: &str, rule: Rule, all: &[Said<'_>]) -> Outcome<Value> {
    let bad = || strange(field);
    match rule {
        Add | Most | Least => {
            let values = all.iter().map(|(_, value)| *value);
            number(rule, values).ok_or_else(bad)
        }
        Same => match all {
            [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => {
                Ok((*first).clone())
            }
            _ => Err(bad()),
        },
        Every | Any => {
            let values: Option<Vec<bool>> = all.iter().map(|(_, value)| value.as_bool()).collect();
            let values = values.ok_or_else(bad)?;
            let met = match rule {
                Any => values.contains(&true),
                _ => !values.contains(&false),
            };
            Ok(met.into())
        }
        List | Union | Sentences => lists(rule, all).ok_or_else(bad),
        Sentence => {
            let said = all.iter().filter(|(_, value)| !value.is_null());
            let said: Option<Vec<String>> = said
                .map(|(who, value)| Some(format!("{who}: {}", value.as_str()?)))
                .collect();
            let said = said.ok_or_else(bad)?;
            Ok((!said.is_empty()).then(|| said.join("; ")).into())
        }
        Numbers => by_name(field, Add, all),
        Named(fields) => by_name(field, Object(fields), all),
        Object(fields) => object(field, fields, all),
        Rows(keys, fields) => rows(field, keys, fields, all),
        // It is computed when the rest of its object is there.
        Rate(_) => Ok(Value::Null),
    }
}

/// The sum, largest or smallest of whole numbers, or of numbers with fractions.
fn number<'a>(rule: Rule, all: impl Iterator<Item = &'a Value> + Clone) -> Option<Value> {
    let whole: Option<Vec<u64>> = all.clone().map(Value::as_u64).collect();
    if let Some(whole) = whole {
        let whole = whole.into_iter();
        return match rule {
            Most => whole.max(),
            Least => whole.min(),
            _ => Some(whole.sum()),
        }
        .map(Value::from);
    }
    let all: Option<Vec<f64>> = all.map(Value::as_f64).collect();
    let all = all?.into_iter();
    match rule {
        Most => all.max_by(f64::total_cmp),
        Least => all.min_by(f64::total_cmp),
        _ => Some(all.sum()),
    }
    .map(Value::from)
}

fn lists(rule: Rule, all: &[Said<'_>]) -> Option<Value> {
    let mut list: Vec<Value> = Vec::new();
    for (who, value) in all {
        for item in value.as_array()? {
            match rule {
                Union if list.contains(item) => {}
                Sentences => list.push(format!("{who}: {}", item.as_str()?).into()),
                _ => list.push(item.clone()),
            }
        }
    }
    Some(Value::Array(list))
}

/// Whoever has a name has a value for it; each name by the same rule.
fn by_name(field: &str, rule: Rule, all: &[Said<'_>]) -> Outcome<Value> {
    let mut sum = Map::new();
    for (name, values) in gathered(field, all)? {
        sum.insert(
            name.clone(),
            one(&format!("{field}.{name}"), rule, &values)?,
        );
    }
    Ok(Value::Object(sum))
}

fn object(field: &str, fields: Fields, all: &[Said<'_>]) -> Outcome<Value> {
    let mut sum = Map::new();
    for (name, values) in gathered(field, all)? {
        let path = format!("{field}.{name}");
        let known = fields.iter().find(|(known, _)| known == name);
        let (_, rule) = known.ok_or_else(|| strange(&path))?;
        sum.insert(name.clone(), one(&path, *rule, &values)?);
    }
    rate(fields, &mut sum);
    Ok(Value::Object(sum))
}

fn rate(fields: Fields, sum: &mut Map<String, Value>) {
    let seconds = sum.get("seconds").and_then(Value::as_f64);
    for (name, rule) in fields {
        let Rate(of) = rule else { continue };
        let count = Value::Object(sum.clone())
            .pointer(of)
            .and_then(Value::as_f64);
        if let (Some(count), Some(seconds)) = (count, seconds) {
            sum.insert((*name).to_owned(), (count / seconds.max(1e-9)).into());
        }
    }
}

/// The values of all objects by name.
fn gathered<'a>(field: &str, all: &[Said<'a>]) -> Outcome<BTreeMap<&'a String, Vec<Said<'a>>>> {
    let mut names: BTreeMap<&String, Vec<Said<'_>>> = BTreeMap::new();
    for (who, value) in all {
        let object = value.as_object().ok_or_else(|| strange(field))?;
        for (name, value) in object {
            names.entry(name).or_default().push((who.clone(), value));
        }
    }
    Ok(names)
}

fn rows(field: &str, keys: &[&str], fields: Fields, all: &[Said<'_>]) -> Outcome<Value> {
    let mut order: Vec<Vec<Value>> = Vec::new();
    let mut groups: BTreeMap<usize, Vec<(String, Value)>> = BTreeMap::new();
    for (who, value) in all {
        for row in value.as_array().ok_or_else(|| strange(field))? {
            let mut rest = row.as_object().ok_or_else(|| strange(field))?.clone();
            let key: Option<Vec<Value>> = keys.iter().map(|key| rest.remove(*key)).collect();
            let key = key.ok_or_else(|| strange(field))?;
            let place = order.iter().position(|known| *known == key);
            let place = place.unwrap_or(order.len());
            if place == order.len() {
                order.push(key);
            }
            let row = (who.clone(), Value::Object(rest));
            groups.entry(place).or_default().push(row);
        }
    }
    let mut sum = Vec::new();
    for (key, group) in order.iter().zip(groups.values()) {
        let group: Vec<Said<'_>> = group.iter().map(|(who, row)| (who.clone(), row)).collect();
        let mut row = object(field, fields, &group)?;
        for (name, value) in keys.iter().zip(key) {
            row[*name] = value.clone();
        }
        sum.push(row);
    }
    Ok(Value::Array(sum))
}

/// Where a machine keeps what failed is of no use to another: its paths begin at the tier's directory.
pub(super) fn without_places(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let place = field.as_str().and_then(|text| text.find("crash/full/"));
                match place {
                    Some(at) if name == "kept" => {
                        let text = field.as_str().unwrap_or_default();
                        *field = text.get(at..).unwrap_or_default().into();
                    }
                    _ => *field = without_places(field.take()),
                }
            }
        }
        Value::Array(all) => {
            for one in all {
                *one = without_places(one.take());
            }
        }
        _ => {}
    }
    value
}
