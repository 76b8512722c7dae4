//! Rules about what links what, and under which licence.
//!
//! The relay is the exposed, least trusted program: its build closure holds no MLS and no key
//! store. `deny.toml` says the same to cargo-deny; this rule holds on machines without it. This
//! room asks cargo and never resolves dependencies itself.

use std::collections::BTreeSet;
use std::path::Path;

use super::Complaints;
use crate::cargo;
use crate::failure::{Because, Outcome};

/// A package, and what must not be anywhere below it (a name, or the start of one).
struct Ban {
    package: &'static str,
    banned: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 3] = [
    Ban {
        package: "relay",
        banned: &["journal", "openmls", "hub", "app-core", "hpke-rs"],
        why: "the relay must not be able to name a key",
    },
    Ban {
        package: "wal",
        banned: &["journal", "openmls", "wire", "tokio", "quinn"],
        why: "the engine knows nothing of MLS and nothing of networks",
    },
    Ban {
        package: "wire",
        banned: &[
            "journal",
            "wal",
            "openmls",
            "tokio",
            "quinn",
            "rustls",
            "mio",
            "socket2",
            "getrandom",
            "rand",
            "tracing",
        ],
        why: "the protocol core has no IO, no clock and no dice",
    },
];

/// Rules about the dependency graph.
pub(super) fn check(root: &Path) -> Outcome<Complaints> {
    let mut complaints = Complaints::new();
    for ban in &BANS {
        for name in closure(ban.package)? {
            if ban.banned.iter().any(|banned| matches(banned, &name)) {
                complaints.push(format!("{} links {name}: {}", ban.package, ban.why));
            }
        }
    }
    let wire = std::fs::read_to_string(root.join("relay/wire/src/lib.rs"))
        .because("cannot read wire's lib.rs")?;
    if !wire.lines().any(|line| line.trim() == "#![no_std]") {
        complaints.push("relay/wire/src/lib.rs: must say `#![no_std]`".to_owned());
    }
    complaints.extend(licences(root)?);
    Ok(complaints)
}

/// `openmls` also bans `openmls_traits`; `rand` does not ban `random-thing`, only `rand_core`.
fn matches(banned: &str, name: &str) -> bool {
    name == banned
        || name
            .strip_prefix(banned)
            .is_some_and(|rest| rest.starts_with(['_', '-']))
}

/// Everything that a build of the package links or runs, itself excepted. Development
/// dependencies do not count: they are not in the program.
fn closure(package: &str) -> Outcome<BTreeSet<String>> {
    let tree = cargo::output(&[
        "tree",
        "--locked",
        "--package",
        package,
        "--edges",
        "normal,build",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ])?;
    Ok(tree
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect())
}

/// Every package's licence can be met with the licences that `deny.toml` allows.
fn licences(root: &Path) -> Outcome<Complaints> {
    let deny = std::fs::read_to_string(root.join("deny.toml")).because("cannot read deny.toml")?;
    let allowed = allowed_licences(&deny);
    let tree = cargo::output(&[
        "tree",
        "--locked",
        "--workspace",
        "--edges",
        "normal,build,dev",
        "--prefix",
        "none",
        "--format",
        "{p}|{l}|",
    ])?;
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| {
            let mut parts = line.split('|');
            Some((parts.next()?, parts.next()?))
        })
        .collect();
    Ok(packages
        .into_iter()
        .filter(|(_, licence)| !satisfied(licence, &allowed))
        .map(|(package, licence)| format!("{package}: licence `{licence}` is not in deny.toml"))
        .collect())
}

/// The strings of `allow = [...]` under `[licenses]`, one a line.
fn allowed_licences(deny: &str) -> BTreeSet<String> {
    deny.lines()
        .skip_while(|line| line.trim() != "[licenses]")
        .skip_while(|line| !line.trim_start().starts_with("allow"))
        .skip(1)
        .take_while(|line| line.trim() != "]")
        .filter_map(|line| line.split('"').nth(1))
        .map(str::to_owned)
        .collect()
}

/// Whether an SPDX expression can be met. `/` is the old spelling of OR; an exception (`WITH`)
/// only ever permits more, so it is passed over.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty()
}

fn any_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(words, allowed);
    while let Some((&"OR", rest)) = words.split_first() {
        *words = rest;
        met |= all_of(words, allowed);
    }
    met
}

fn all_of(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(words, allowed);
    while let Some((&"AND", rest)) = words.split_first() {
        *words = rest;
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let Some((&word, rest)) = words.split_first() else {
        return false;
    };
    *words = rest;
    if word == "(" {
        let met = any_of(words, allowed);
        let closed = words.split_first().filter(|(word, _)| **word == ")");
        *words = closed.map_or(*words, |(_, rest)| rest);
        return met && closed.is_some();
    }
    if let Some((&"WITH", rest)) = words.split_first() {
        *words = rest.get(1..).unwrap_or_default();
    }
    allowed.contains(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions_are_understood() {
        let allowed: BTreeSet<String> = ["MIT", "Apache-2.0"].map(str::to_owned).into();
        let cases = [
            ("MIT", true),
            ("MIT OR GPL-3.0", true),
            ("MIT/Apache-2.0", true),
            ("MIT AND GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("(MIT OR GPL-3.0) AND Apache-2.0", true),
            ("MIT AND (GPL-3.0 OR ISC)", false),
            ("(MIT", false),
            ("", false),
        ];
        for (expression, want) in cases {
            assert_eq!(satisfied(expression, &allowed), want, "{expression}");
        }
    }

    #[test]
    fn a_ban_covers_a_family_and_no_namesake() {
        assert!(matches("openmls", "openmls_traits"));
        assert!(matches("hpke-rs", "hpke-rs-crypto"));
        assert!(!matches("hub", "hubris"));
    }

    #[test]
    fn allowed_licences_are_read_from_their_table() {
        let deny = "[bans]\nallow = [\n  \"no\",\n]\n[licenses]\nallow = [\n  \"MIT\", # why\n]\n";
        assert_eq!(allowed_licences(deny), ["MIT".to_owned()].into());
    }
}
