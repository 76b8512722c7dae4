//! Old copies: hub or app is started on a directory that is older than what left it, whole or in part, at a
//! relay whose mailboxes are full, trimmed or empty, or hold only what the peer has said; what leaves it before
//! it notices is counted where it arrives.
//!
//! The old one runs alone first, so that only what the relay holds can contradict it; then its peer comes. Where
//! the relay still holds a last envelope of either, nothing new may leave an old log. Where it holds nothing,
//! something may: that is the promise's limit, and the table says how much it was. This room must never let the old one
//! meet its peer before it was counted alone.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness waits on real processes, and so on a real clock."
)]

use std::fmt::{self, Write as _};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crashtest::process::{Line, Role};
use crashtest::system::{Setup, Stock, System};
use crashtest::trouble::{Outcome, Trouble};
use crashtest::workers;
use serde_json::{Value, json};

use crate::campaign::{order, setup};
use crate::orders::Order;

/// How long the old one runs alone, if it does not notice before.
const ALONE: Duration = Duration::from_secs(8);
/// How long it runs with its peer, if it has not noticed yet.
const TOGETHER: Duration = Duration::from_secs(30);
/// How long it is watched once it has noticed: nothing more may leave it.
const AFTERWARDS: Duration = Duration::from_millis(1_500);
/// The longest pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// The exit code by which a program says that it cannot use its state.
const REFUSED: i32 = 4;

/// What of the directory is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Everything.
    Whole,
    /// Everything but the vault, which is today's.
    AllButVault,
    /// Only the vault.
    Vault,
}

/// What the relay holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// What left after the copy was made; the peer has not taken it.
    Full,
    /// The peer has taken and trimmed everything: the last envelope of each mailbox.
    Trimmed,
    /// Nothing of the old one's; but what its peer has said since.
    Spoken,
    /// Nothing.
    Empty,
}

/// One start on an old copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Whose directory: the hub's or the app's.
    pub whose: Role,
    /// What of it.
    pub old: Old,
    /// What the relay holds.
    pub held: Held,
}

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for whose in [Role::Hub, Role::App] {
        for old in [Old::Whole, Old::AllButVault, Old::Vault] {
            for held in [Held::Full, Held::Trimmed, Held::Spoken, Held::Empty] {
                all.push(Case { whose, old, held });
            }
        }
    }
    all
}

/// When it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The start refused, before anybody was asked.
    AtStart,
    /// The relay contradicted it.
    Alone,
    /// The peer contradicted it.
    WithPeer,
    /// It was not: nothing was lost with the copy, and both ends are in step.
    InStep,
    /// It was not, and both ends are not in step.
    Never,
}

impl Noticed {
    /// For tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AtStart => "at its start",
            Self::Alone => "by the relay",
            Self::WithPeer => "by the peer",
            Self::InStep => "is in step",
            Self::Never => "NEVER",
        }
    }
}

/// What came of a case.
#[derive(Clone, Debug)]
pub struct Row {
    /// Which.
    pub case: Case,
    /// What came of it; else why it could not be played.
    pub met: Result<Met, String>,
}

/// What came of a case that was played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Met {
    /// When it was noticed.
    pub noticed: Noticed,
    /// New envelopes that left while it ran alone.
    pub alone: u64,
    /// And with its peer.
    pub with_peer: u64,
}

impl Row {
    /// What is broken, if anything is.
    #[must_use]
    pub fn broken(&self) -> Option<String> {
        let met = match &self.met {
            Ok(met) => met,
            Err(why) => return Some(why.clone()),
        };
        if met.noticed == Noticed::Never {
            return Some("C8: it was never noticed, and the ends are not in step".to_owned());
        }
        if self.case.old == Old::Vault {
            // Its log is today's: a vault that can be brought up to date is one that lost nothing.
            return None;
        }
        if met.noticed == Noticed::InStep {
            return Some("C8: an old log passes for today's".to_owned());
        }
        let left = met.alone + met.with_peer;
        (self.case.held != Held::Empty && left > 0)
            .then(|| format!("C8: {left} new envelopes left it at a relay that knew better"))
    }

    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let met = self.met.as_ref().ok();
        json!({
            "whose": self.case.whose.program(),
            "old": self.case.old_name(),
            "mailboxes": self.case.held_name(),
            "noticed": met.map(|met| met.noticed.name()),
            "left_alone": met.map(|met| met.alone),
            "left_with_peer": met.map(|met| met.with_peer),
            "broken": self.broken(),
        })
    }
}

impl Case {
    fn old_name(self) -> &'static str {
        match self.old {
            Old::Whole => "all",
            Old::AllButVault => "all but the vault",
            Old::Vault => "the vault",
        }
    }

    fn held_name(self) -> &'static str {
        match self.held {
            Held::Full => "full",
            Held::Trimmed => "trimmed",
            Held::Spoken => "peer only",
            Held::Empty => "empty",
        }
    }

    fn peer(self) -> Role {
        match self.whose {
            Role::Hub => Role::App,
            _ => Role::Hub,
        }
    }

    fn directory(self) -> &'static str {
        match self.whose {
            Role::Hub => "hub",
            _ => "app",
        }
    }

    fn vault(self) -> &'static str {
        match self.whose {
            Role::Hub => "hub/journal/vault",
            _ => "app/vault",
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (old, held) = (self.case.old_name(), self.case.held_name());
        write!(f, "{:<12} | {old:<17} | {held:<9} | ", self.case.whose.program())?;
        if let Ok(met) = &self.met {
            let (noticed, alone, with_peer) = (met.noticed.name(), met.alone, met.with_peer);
            write!(f, "{noticed:<12} | {alone:>10} | {with_peer:>13}")?;
        }
        match self.broken() {
            None => Ok(()),
            Some(what) => write!(f, " | FAILED: {what}"),
        }
    }
}

/// All rows for people.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "whose        | old               | mailboxes | noticed      | left alone | left with peer\n",
    );
    for row in rows {
        // A String takes everything.
        let _written = writeln!(out, "{row}");
    }
    out.push_str("left: envelopes that were new, counted at the relay, before and after it noticed\n");
    out
}

/// Plays all cases, a few at a time; each is told when it is done.
///
/// # Errors
/// No paired world could be made.
pub fn run(cases: &[Case], tell: impl Fn(usize, &Row) + Sync) -> Outcome<Vec<Row>> {
    let setup = Setup {
        passes: 1,
        ..setup()?
    };
    let one = |stock: &Stock, case: &Case| {
        let played = stock
            .system(setup.clone())
            .and_then(|mut system| play(&mut system, *case));
        let row = Row {
            case: *case,
            met: played.map_err(|trouble| trouble.to_string()),
        };
        if row.broken().is_some() {
            let place = format!("{}-{}-{}", case.directory(), case.old_name(), case.held_name());
            stock.keep(&place.replace(' ', "-"));
        }
        row
    };
    workers::run(&setup, cases, None, one, tell)
}

fn play(system: &mut System, case: Case) -> Outcome<Met> {
    for role in [Role::Relay, Role::App, Role::Hub] {
        system.start(role)?;
    }
    everything_acked(system)?;
    for role in [Role::App, Role::Hub] {
        system.stop(role)?;
    }
    let old = system.path("old");
    copy(&system.path(case.directory()), &old)?;
    go_on(system, case)?;
    put_back(system, case, &old)?;
    let met = start_old(system, case)?;
    match system.panic_said() {
        Some(line) => Err(Trouble::Broken(format!("a panic: {line}"))),
        None => Ok(met),
    }
}

/// What happens after the copy was made.
fn go_on(system: &mut System, case: Case) -> Outcome<()> {
    if case.held == Held::Full {
        hub_speaks(system)?;
        if case.whose == Role::App {
            phone_speaks(system)?;
        }
        return Ok(());
    }
    for role in [Role::App, Role::Hub] {
        system.start(role)?;
    }
    everything_acked(system)?;
    for role in [Role::App, Role::Hub] {
        system.stop(role)?;
    }
    if case.held != Held::Trimmed {
        order(system, Order::Empty)?;
    }
    match (case.held, case.whose) {
        (Held::Spoken, Role::Hub) => phone_speaks(system),
        (Held::Spoken, _) => hub_speaks(system),
        _ => Ok(()),
    }
}

/// The hub alone records an event; all of it comes to the relay.
fn hub_speaks(system: &mut System) -> Outcome<()> {
    system.start(Role::Hub)?;
    let patience = system.setup.patience;
    system.until("an event at the relay", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let stored = status.stored_through >= status.acked_through + status.unacked_envelopes;
        let whole = status.unacked_envelopes > 0 && !status.recording;
        Ok((whole && stored && has_recorded(system)?).then_some(()))
    })?;
    system.stop(Role::Hub)
}

/// The phone alone says what it holds; the relay has that.
fn phone_speaks(system: &mut System) -> Outcome<()> {
    let from = system.board().len();
    system.start(Role::App)?;
    system.until_line("the phone's acks at the relay", from, |line| {
        line.role == Role::App && line.event() == "acked"
    })?;
    system.stop(Role::App)
}

/// Whether the running hub has recorded an event whole.
fn has_recorded(system: &mut System) -> Outcome<bool> {
    let hub = system.process(Role::Hub)?.number();
    let whole = |line: &Line| line.process == hub && line.event() == "clip_finished";
    Ok(system.board().find(0, whole).is_some())
}

fn everything_acked(system: &mut System) -> Outcome<()> {
    let patience = system.setup.patience;
    system.until("an event and its acks", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let done = status.unacked_envelopes == 0 && !status.recording;
        Ok((has_recorded(system)? && done).then_some(()))
    })
}

/// Nothing of it runs: the copy, or a part of it, takes the place of today's directory.
fn put_back(system: &System, case: Case, old: &Path) -> Outcome<()> {
    let (now, aside) = (system.path(case.directory()), system.path("today"));
    let vault = system.path(case.vault());
    let inside = Path::new(case.vault()).strip_prefix(case.directory());
    let inside = inside.map_err(|_| Trouble::Broken("a vault outside its directory".to_owned()))?;
    if case.old == Old::Vault {
        return copy(&old.join(inside), &vault);
    }
    std::fs::rename(&now, &aside).map_err(Trouble::machine("today's directory"))?;
    copy(old, &now)?;
    match case.old {
        Old::AllButVault => copy(&aside.join(inside), &vault),
        Old::Whole | Old::Vault => Ok(()),
    }
}

fn start_old(system: &mut System, case: Case) -> Outcome<Met> {
    order(system, Order::Mark)?;
    let from = system.board().len();
    let refused = |trouble: &Trouble| trouble.exit_code() == Some(REFUSED);
    match system.start(case.whose) {
        Ok(()) => {}
        Err(trouble) if refused(&trouble) => {
            let alone = left(system, case)?;
            return Ok(Met {
                noticed: Noticed::AtStart,
                alone,
                with_peer: 0,
            });
        }
        Err(trouble) => return Err(trouble),
    }
    let noticed_alone = watch(system, case, from, ALONE, |_system| Ok(false))?;
    let alone = left(system, case)?;
    if noticed_alone {
        // A start that refused has asked nobody.
        let ended = system.process(case.whose)?.ended().is_some();
        let asked = |line: &Line| line.role == case.whose && line.event() == "connected";
        let refused = ended && system.board().find(from, asked).is_none();
        return Ok(Met {
            noticed: if refused {
                Noticed::AtStart
            } else {
                Noticed::Alone
            },
            alone,
            with_peer: 0,
        });
    }
    let peer_from = system.board().len();
    let noticed = match system.start(case.peer()) {
        Ok(()) => {
            let mut in_step = false;
            let noticed = watch(system, case, from, TOGETHER, |system| {
                in_step = is_in_step(system, peer_from)?;
                Ok(in_step)
            })?;
            match (noticed, in_step) {
                (true, _) => Noticed::WithPeer,
                (false, true) => Noticed::InStep,
                (false, false) => Noticed::Never,
            }
        }
        // Its first word was enough: the old one has ended while the peer was still starting.
        Err(Trouble::Ended { role, status, .. })
            if role == case.whose && status.code() == Some(REFUSED) =>
        {
            Noticed::WithPeer
        }
        Err(trouble) => return Err(trouble),
    };
    let with_peer = left(system, case)? - alone;
    Ok(Met {
        noticed,
        alone,
        with_peer,
    })
}

/// Envelopes of whoever runs on the old copy that nobody had seen before.
fn left(system: &System, case: Case) -> Outcome<u64> {
    let look = order(system, Order::Look)?;
    Ok(match case.whose {
        Role::Hub => look.fresh_hub,
        _ => look.fresh_phone,
    })
}

/// Waits until the old one has noticed, or `enough`, or the time is over; then a moment more. Whether it has.
fn watch(
    system: &mut System,
    case: Case,
    from: usize,
    at_most: Duration,
    mut enough: impl FnMut(&mut System) -> Outcome<bool>,
) -> Outcome<bool> {
    let began = Instant::now();
    while began.elapsed() < at_most {
        let seen = system.board().changes();
        if has_noticed(system, case, from)? || enough(system)? {
            break;
        }
        system.board().wait(seen, LOOK_INTERVAL);
    }
    let began = Instant::now();
    while began.elapsed() < AFTERWARDS {
        let seen = system.board().changes();
        system.board().wait(seen, LOOK_INTERVAL);
    }
    has_noticed(system, case, from)
}

/// By a word of its own, or by an end with the code for it.
fn has_noticed(system: &mut System, case: Case, from: usize) -> Outcome<bool> {
    let said = |line: &Line| {
        let standing = line.event() == "standing" && line.text("state") == "rolled_back";
        // A phone that follows says so each time that the relay contradicts it, and asks again.
        let doubts = line.event() == "disconnected" && line.text("reason").contains("older copy");
        line.role == case.whose && (standing || doubts)
    };
    if system.board().find(from, said).is_some() {
        return Ok(true);
    }
    let process = system.process(case.whose)?;
    let Some(status) = process.ended() else {
        return Ok(false);
    };
    if status.code() == Some(REFUSED) {
        return Ok(true);
    }
    Err(process.trouble(status))
}

/// Whether everything that the hub has is acked, an event that it recorded since `from` among it.
fn is_in_step(system: &mut System, from: usize) -> Outcome<bool> {
    let status = match system.hub_status() {
        Ok(status) => status,
        Err(trouble) if trouble.may_pass() => return Ok(false),
        Err(trouble) => return Err(trouble),
    };
    let arrived = |line: &Line| {
        line.role == Role::App && line.event() == "clip" && line.text("state") == "complete"
    };
    let carried = system.board().find(from, arrived).is_some();
    let done = status.unacked_envelopes == 0 && !status.recording;
    Ok(carried && done && status.standing == "good")
}

/// Copies a file or a directory with everything in it; a file replaces what is there.
fn copy(from: &Path, to: &Path) -> Outcome<()> {
    let status = Command::new("cp")
        .args(["-a", "--reflink=auto"])
        .args([from, to])
        .status()
        .map_err(Trouble::machine("cp"))?;
    if status.success() {
        return Ok(());
    }
    Err(Trouble::Broken(format!(
        "copying {} failed: {status}",
        from.display()
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(old: Old, held: Held, noticed: Noticed, left: u64) -> Row {
        let whose = Role::Hub;
        Row {
            case: Case { whose, old, held },
            met: Ok(Met {
                noticed,
                alone: left,
                with_peer: 0,
            }),
        }
    }

    #[test]
    fn what_leaves_an_old_copy_is_excused_only_where_nobody_knew_better() {
        use {Held as H, Noticed as N};
        for held in [H::Full, H::Trimmed, H::Spoken] {
            assert!(row(Old::Whole, held, N::Alone, 0).broken().is_none());
            assert!(row(Old::Whole, held, N::Alone, 1).broken().is_some());
            assert!(row(Old::AllButVault, held, N::AtStart, 0).broken().is_none());
        }
        assert!(row(Old::Whole, H::Empty, N::WithPeer, 3).broken().is_none());
        assert!(row(Old::Whole, H::Empty, N::Never, 0).broken().is_some());
        assert!(row(Old::Whole, H::Empty, N::InStep, 0).broken().is_some());
        assert!(row(Old::Vault, H::Full, N::InStep, 5).broken().is_none());
        assert!(row(Old::Vault, H::Full, N::Never, 0).broken().is_some());
        let mut unplayed = row(Old::Whole, H::Full, N::Alone, 0);
        unplayed.met = Err("no world".to_owned());
        assert!(unplayed.broken().is_some());
    }

    #[test]
    fn all_cases_are_there_once() {
        let all = cases();
        assert_eq!(all.len(), 24);
        for (at, case) in all.iter().enumerate() {
            assert!(!all[..at].contains(case), "{case:?}");
        }
    }
}
