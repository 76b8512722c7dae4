//! Rules about what links what, and under which licence.
//!
//! The relay is the exposed, least trusted program: its build closure holds no MLS and no key
//! store. `deny.toml` says the same to cargo-deny; this rule holds on machines without it. This
//! room asks cargo and never resolves dependencies itself.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::Complaints;
use crate::cargo;
use crate::failure::{Because, Outcome};

/// A package, and what must not be anywhere below it (a name, or the start of one).
struct Ban {
    package: &'static str,
    banned: &'static [&'static str],
    why: &'static str,
}

const BANS: [Ban; 7] = [
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
        package: "crashtest-thief",
        banned: &["journal", "wal", "wire", "hub", "app-core", "crashtest"],
        why: "a thief has our files and our format, and not our code",
    },
    Ban {
        package: "crashtest-players",
        banned: &["journal", "wal", "wire", "hub", "app-core", "crashtest"],
        why: "who judges our clips knows nothing of how we write them",
    },
    Ban {
        package: "crashtest-canary",
        banned: &["journal", "wal", "wire", "hub", "app-core", "crashtest"],
        why: "the relay's tests link it, and nothing that can name a key may come with it",
    },
    Ban {
        package: "crashtest-evil-relay",
        banned: &["journal", "openmls", "hub", "app-core", "crashtest"],
        why: "whoever owns a relay has the relay's code, and no key of either end",
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
    let deny = std::fs::read_to_string(root.join("deny.toml")).because("cannot read deny.toml")?;
    complaints.extend(licences(&deny)?);
    let metadata = cargo::output(&["metadata", "--locked", "--no-deps", "--format-version", "1"])?;
    let metadata = serde_json::from_str(&metadata).because("cargo's metadata is no JSON")?;
    complaints.extend(wrong_wrappers(&deny, &metadata));
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

/// The bans of `deny.toml` name exactly the packages of this workspace that depend on what is banned:
/// one too few and cargo-deny fails where it runs, one too many and nobody notices a new user.
fn wrong_wrappers(deny: &str, metadata: &Value) -> Complaints {
    let mut complaints = Complaints::new();
    for (banned, wrappers) in bans(deny) {
        let users = users(metadata, &banned);
        for user in users.difference(&wrappers) {
            complaints.push(format!(
                "deny.toml: `{user}` depends on `{banned}` and is not among its wrappers"
            ));
        }
        for wrapper in wrappers.difference(&users) {
            complaints.push(format!(
                "deny.toml: `{wrapper}` is a wrapper of `{banned}` and does not depend on it"
            ));
        }
    }
    complaints
}

/// Each ban with wrappers, one a line.
fn bans(deny: &str) -> Vec<(String, BTreeSet<String>)> {
    deny.lines()
        .filter(|line| line.trim_start().starts_with('{') && line.contains("wrappers"))
        .filter_map(|line| {
            // What is in quotes: the banned crate, then its wrappers.
            let mut quoted = line.split('"').skip(1).step_by(2).map(str::to_owned);
            Some((quoted.next()?, quoted.collect()))
        })
        .collect()
}

/// Packages of the workspace that name `crate_name` among their dependencies of any kind.
fn users(metadata: &Value, crate_name: &str) -> BTreeSet<String> {
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    list(metadata, "packages")
        .iter()
        .filter(|package| {
            list(package, "dependencies")
                .iter()
                .any(|dependency| dependency["name"] == crate_name)
        })
        .filter_map(|package| package["name"].as_str().map(str::to_owned))
        .collect()
}

/// Every package's licence can be met with the licences that `deny.toml` allows.
fn licences(deny: &str) -> Outcome<Complaints> {
    let allowed = allowed_licences(deny);
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
    use serde_json::json;

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
    fn a_ban_whose_wrappers_are_not_its_users_is_complained_about() {
        let deny = r#"
            { crate = "journal", wrappers = ["hub", "gone"] },
            { crate = "openmls", wrappers = ["journal"] },
            { crate = "native-tls" },
        "#;
        let package = |name: &str, uses: &[&str]| {
            let uses: Vec<Value> = uses.iter().map(|name| json!({ "name": name })).collect();
            json!({ "name": name, "dependencies": uses })
        };
        let metadata = json!({ "packages": [
            package("hub", &["journal", "wal"]),
            package("simulation", &["journal"]),
            package("journal", &["openmls"]),
        ] });
        let complaints = wrong_wrappers(deny, &metadata);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].contains("`simulation` depends on `journal`"));
        assert!(complaints[1].contains("`gone` is a wrapper of `journal`"));
    }

    #[test]
    fn allowed_licences_are_read_from_their_table() {
        let deny = "[bans]\nallow = [\n  \"no\",\n]\n[licenses]\nallow = [\n  \"MIT\", # why\n]\n";
        assert_eq!(allowed_licences(deny), ["MIT".to_owned()].into());
    }
}
