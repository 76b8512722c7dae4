//! One case played with the real programs: a copy is made, life goes on, the copy comes back.
//!
//! This room must never let the old one meet its peer before it was counted alone, and never judge.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness waits on real processes, and so on a real clock."
)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crashtest::process::{Line, Role};
use crashtest::system::System;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_evil_relay::orders::Order;
use crashtest_evil_relay::vice::Vice;

use super::{Beat, Case, Held, Met, Noticed, Old};
use crate::campaign::order;

/// How long the old one runs alone, if it does not notice before.
const ALONE: Duration = Duration::from_secs(8);
/// How long it runs with its peer, if it has not noticed yet.
const TOGETHER: Duration = Duration::from_secs(30);
/// How long it is watched once it has noticed: nothing more may leave it.
const AFTERWARDS: Duration = Duration::from_millis(1_500);
/// How long one that knew it at its start is watched with its peer.
const WITH_PEER: Duration = Duration::from_secs(4);
/// The longest pause between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Lines of a pairing: a heartbeat says something on each.
const LINES: u64 = 5;
/// The exit code by which a program says that it cannot use its state.
const REFUSED: i32 = 4;

/// Plays one case in a paired world of which nothing runs.
///
/// # Errors
/// A step that has to go well did not, or a program panicked or ended in a way that is not documented.
pub(super) fn play(system: &mut System, case: Case) -> Outcome<Met> {
    system.start(Role::Relay)?;
    if case.beat == Beat::Before {
        both_speak(system, Until::Acked)?;
    }
    let met = if case.old == Old::Today {
        lied_to(system, case)?
    } else {
        let old = system.path("old");
        copy(&system.path(case.directory()), &old)?;
        go_on(system, case)?;
        put_back(system, case, &old)?;
        start_old(system, case)?
    };
    match system.panic_said() {
        Some(line) => Err(Trouble::Broken(format!("a panic: {line}"))),
        // Whatever was put back, nothing is given away.
        None => system.finish().map(|()| met),
    }
}

/// What happens after the copy was made.
fn go_on(system: &mut System, case: Case) -> Outcome<()> {
    if case.held == Held::Full {
        if case.beat == Beat::Behind {
            phone_beats(system)?;
        }
        hub_speaks(system)?;
        if case.whose == Role::App {
            phone_speaks(system)?;
        }
        return Ok(());
    }
    both_speak(
        system,
        match case.beat {
            Beat::Before => Until::Acked,
            Beat::Behind => Until::Heard,
        },
    )?;
    if !matches!(case.held, Held::Trimmed | Held::Shown) {
        order(system, Order::Empty)?;
    }
    match (case.held, case.whose) {
        (Held::Spoken, Role::Hub) => phone_speaks(system),
        (Held::Spoken, _) => hub_speaks(system),
        _ => Ok(()),
    }
}

/// How long both run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// Until an event is acked.
    Acked,
    /// And until the phone's heartbeat is answered, behind its five Commits.
    Heard,
}

/// Both run.
fn both_speak(system: &mut System, until: Until) -> Outcome<()> {
    let from = system.board().len();
    for role in [Role::App, Role::Hub] {
        system.start(role)?;
    }
    everything_acked(system)?;
    if until == Until::Heard {
        system.until_line("the answer to a heartbeat", from, |line| {
            line.event() == "heartbeat_answered"
        })?;
    }
    for role in [Role::App, Role::Hub] {
        system.stop(role)?;
    }
    Ok(())
}

/// The phone alone says the heartbeat that is due: new keys on all five lines.
fn phone_beats(system: &mut System) -> Outcome<()> {
    order(system, Order::Mark)?;
    system.start(Role::App)?;
    let patience = system.setup.patience;
    system.until("a heartbeat at the relay", patience, |system| {
        let look = order(system, Order::Look)?;
        system.remember(format!("{look:?}"));
        Ok((look.fresh_phone >= LINES).then_some(()))
    })?;
    system.stop(Role::App)
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
        Old::Whole | Old::Vault | Old::Today => Ok(()),
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
        if case.held == Held::Shown {
            return start_again(system, case, alone);
        }
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

/// The relay has shown what it held, and holds nothing any more: the old one starts again, and its peer comes. What
/// was proved once is known to this process as well, and nothing may leave it.
fn start_again(system: &mut System, case: Case, alone: u64) -> Outcome<Met> {
    order(system, Order::Empty)?;
    system.kill(case.whose)?;
    let from = system.board().len();
    let is_over = |trouble: &Trouble| match trouble {
        Trouble::Ended { role, status, .. } => {
            *role == case.whose && status.code() == Some(REFUSED)
        }
        other => other.exit_code() == Some(REFUSED),
    };
    let mut knows = false;
    for role in [case.whose, case.peer()] {
        match system.start(role) {
            Ok(()) => {}
            Err(trouble) if is_over(&trouble) => knows = true,
            Err(trouble) => return Err(trouble),
        }
    }
    if !knows {
        knows = watch(system, case, from, ALONE, |_system| Ok(false))?;
    }
    linger(system, WITH_PEER);
    let with_peer = left(system, case)? - alone;
    let noticed = if knows {
        Noticed::Alone
    } else {
        Noticed::Forgotten
    };
    Ok(Met {
        noticed,
        alone,
        with_peer,
    })
}

/// Today's directory at a relay that shows heads above all that it ever got, and envelopes that it makes up for them:
/// what it is sent must come all the same, and when it behaves both ends are in step.
fn lied_to(system: &mut System, case: Case) -> Outcome<Met> {
    let from = system.board().len();
    order(system, Order::Vice(Vice::HeadAbove, 1))?;
    order(system, Order::Mark)?;
    hub_speaks(system)?;
    if case.whose == Role::App {
        phone_speaks(system)?;
    }
    let alone = left(system, case)?;
    if order(system, Order::Behave)?.lies == 0 {
        return Err(Trouble::Broken("the relay told no lie".to_owned()));
    }
    let peer_from = system.board().len();
    for role in [Role::App, Role::Hub] {
        system.start(role)?;
    }
    let mut in_step = false;
    let noticed = watch(system, case, from, TOGETHER, |system| {
        in_step = is_in_step(system, peer_from)?;
        Ok(in_step)
    })?;
    let with_peer = left(system, case)? - alone;
    Ok(Met {
        noticed: match (noticed, in_step) {
            (true, _) => Noticed::Alone,
            (false, true) => Noticed::InStep,
            (false, false) => Noticed::Never,
        },
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
    linger(system, AFTERWARDS);
    has_noticed(system, case, from)
}

fn linger(system: &System, for_so_long: Duration) {
    let began = Instant::now();
    while began.elapsed() < for_so_long {
        let seen = system.board().changes();
        system.board().wait(seen, LOOK_INTERVAL);
    }
}

/// By a word of its own, or by an end with the code for it.
fn has_noticed(system: &mut System, case: Case, from: usize) -> Outcome<bool> {
    let said = |line: &Line| {
        let standing = line.event() == "standing" && line.text("state") == "rolled_back";
        line.role == case.whose && standing
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
