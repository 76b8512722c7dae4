//! Old copies: hub or app is started on a directory that is older than what left it, whole or in part, at a
//! relay whose mailboxes are full, trimmed or empty, or hold only what the peer has said; what leaves it before
//! it notices is counted where it arrives.
//!
//! The old one runs alone first, so that only what the relay holds can contradict it; then its peer comes. Where
//! the relay still holds a last envelope of either, nothing new may leave an old log, also once the relay has lost
//! it again. Where it holds nothing,
//! something may: that is the promise's limit, and the table says how much it was. Beside them today's directory is
//! started at a relay that makes up such envelopes: nobody may believe it. This room judges what came
//! of each case; it must never excuse what left a copy that could have been contradicted.

mod play;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};

use crashtest::process::Role;
use crashtest::system::{Setup, Stock};
use crashtest::trouble::Outcome;
use crashtest::workers;
use serde_json::{Value, json};

use crate::campaign::setup;

/// What of the directory is old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// Everything.
    Whole,
    /// Everything but the vault, which is today's.
    AllButVault,
    /// Only the vault.
    Vault,
    /// Nothing: it is today's.
    Today,
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
    /// As trimmed; and nothing any more once the old one has seen it.
    Shown,
    /// Everything; and it says that there is more, and makes up envelopes for that.
    Forged,
}

/// Which heartbeat of the phone there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beat {
    /// It was answered before the copy was made, and the next is not due: only events leave, on one line.
    Before,
    /// The copy is from before the first one, which is said behind it: all five lines have rotated since, and an
    /// old phone has one to say. Where the relay is full, it is un-answered when the copy comes back.
    Behind,
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
    /// Which heartbeat there was.
    pub beat: Beat,
}

/// All of them.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for beat in [Beat::Before, Beat::Behind] {
        for whose in [Role::Hub, Role::App] {
            for old in [Old::Whole, Old::AllButVault, Old::Vault] {
                for held in [Held::Full, Held::Trimmed, Held::Spoken, Held::Empty] {
                    all.push(Case {
                        whose,
                        old,
                        held,
                        beat,
                    });
                }
            }
            all.push(Case {
                whose,
                old: Old::Whole,
                held: Held::Shown,
                beat,
            });
        }
    }
    all.extend([Role::Hub, Role::App].map(|whose| Case {
        whose,
        old: Old::Today,
        held: Held::Forged,
        beat: Beat::Before,
    }));
    all
}

/// For the gate: of each whose and what, one at a relay that knows better or does not; both ends as they were
/// before a heartbeat that is un-answered, and as the relay has shown them once; and both at one that makes things up.
#[must_use]
pub fn sample() -> Vec<Case> {
    use {Beat as B, Held as H, Old as O};
    let rows = [
        (Role::Hub, O::Whole, H::Full, B::Before),
        (Role::Hub, O::AllButVault, H::Trimmed, B::Before),
        (Role::Hub, O::Vault, H::Full, B::Before),
        (Role::App, O::Whole, H::Spoken, B::Before),
        (Role::App, O::AllButVault, H::Empty, B::Before),
        (Role::App, O::Vault, H::Trimmed, B::Before),
        (Role::Hub, O::Whole, H::Shown, B::Before),
        (Role::App, O::Whole, H::Shown, B::Before),
        (Role::Hub, O::Today, H::Forged, B::Before),
        (Role::App, O::Today, H::Forged, B::Before),
        (Role::Hub, O::Whole, H::Full, B::Behind),
        (Role::App, O::Whole, H::Full, B::Behind),
    ];
    let case = |(whose, old, held, beat)| Case {
        whose,
        old,
        held,
        beat,
    };
    rows.map(case).into()
}

/// When it was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// The start refused, before anybody was asked.
    AtStart,
    /// The relay contradicted it.
    Alone,
    /// The relay did, and the next process did not know it any more.
    Forgotten,
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
            Self::Forgotten => "FORGOTTEN",
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
        let left = met.alone + met.with_peer;
        let was_contradicted = self.case.held != Held::Empty;
        match (self.case.old, met.noticed) {
            (_, Noticed::Never) => {
                Some("C8: it was never noticed, and the ends are not in step".to_owned())
            }
            (_, Noticed::Forgotten) => Some("C8: it was noticed, and is not kept".to_owned()),
            // It loses nothing to a lie, and goes on under it.
            (Old::Today, Noticed::InStep) => {
                (met.alone == 0).then(|| "C8: a lie kept everything from leaving".to_owned())
            }
            (Old::Today, _) => Some("C8: a relay's word was taken for a proof".to_owned()),
            // Its log is today's: a vault that can be brought up to date is one that lost nothing.
            (Old::Vault, Noticed::InStep) => None,
            // Any other is of no use to the first step that needs it.
            (Old::Vault, Noticed::AtStart | Noticed::Alone) => (left > 0)
                .then(|| format!("C8: {left} new envelopes left it before it was of no use")),
            (Old::Vault, Noticed::WithPeer) => {
                Some("C8: an old vault went on until the peer spoke".to_owned())
            }
            (_, Noticed::InStep) => Some("C8: an old log passes for today's".to_owned()),
            _ => (was_contradicted && left > 0)
                .then(|| format!("C8: {left} new envelopes left it at a relay that knew better")),
        }
    }

    /// One object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let met = self.met.as_ref().ok();
        json!({
            "whose": self.case.whose.program(),
            "old": self.case.old_name(),
            "mailboxes": self.case.held_name(),
            "heartbeat": self.case.beat_name(),
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
            Old::Today => "nothing",
        }
    }

    fn held_name(self) -> &'static str {
        match self.held {
            Held::Full => "full",
            Held::Trimmed => "trimmed",
            Held::Spoken => "peer only",
            Held::Empty => "empty",
            Held::Shown => "shown",
            Held::Forged => "forged",
        }
    }

    fn beat_name(self) -> &'static str {
        match self.beat {
            Beat::Before => "before",
            Beat::Behind => "behind",
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
        let beat = self.case.beat_name();
        write!(
            f,
            "| {:<12} | {old:<17} | {held:<9} | {beat:<9} | ",
            self.case.whose.program()
        )?;
        match &self.met {
            Ok(met) => {
                let (noticed, alone, with_peer) = (met.noticed.name(), met.alone, met.with_peer);
                write!(f, "{noticed:<12} | {alone:>10} | {with_peer:>14} |")?;
            }
            Err(_not_played) => write!(f, "{:<12} | {:>10} | {:>14} |", "", "", "")?,
        }
        match self.broken() {
            None => Ok(()),
            Some(what) => write!(f, " FAILED: {what}"),
        }
    }
}

/// All rows as a table, for people and for a document.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| whose        | old               | mailboxes | heartbeat | noticed      | left alone | left with peer |\n\
         |--------------|-------------------|-----------|-----------|--------------|-----------:|---------------:|\n",
    );
    for row in rows {
        // A String takes everything.
        let _written = writeln!(out, "{row}");
    }
    out.push_str(
        "\nLeft: envelopes that were new, counted at the relay, before and after it noticed. Heartbeat: whether the \
         phone's first one\nwas answered before the copy was made, or was said behind it, on all five lines. Shown: trimmed, and emptied once \
         it was\nnoticed; then it starts again, and its peer comes. Forged: today's directory at a relay that makes up \
         heads and envelopes.\n",
    );
    out
}

/// The document that holds the table of a whole run.
#[must_use]
pub fn document(rows: &[Row]) -> String {
    format!(
        "# What leaves an old copy\n\nWritten by `cargo xtask adversary --bless`; what is played is described in \
         [README.md](README.md#the-adversary).\n\n{}",
        table(rows)
    )
}

/// Plays all cases, a few at a time; each is told when it is done.
///
/// # Errors
/// No paired world could be made, or in one no heartbeat was answered.
pub fn run(cases: &[Case], tell: impl Fn(usize, &Row) + Sync) -> Outcome<Vec<Row>> {
    let setup = Setup {
        passes: 1,
        ..setup()?
    };
    let one = |stock: &Stock, case: &Case| {
        let played = stock
            .system(setup.clone())
            .and_then(|mut system| play::play(&mut system, *case));
        let row = Row {
            case: *case,
            met: played.map_err(|trouble| trouble.to_string()),
        };
        if row.broken().is_some() {
            let (whose, old, held) = (case.directory(), case.old_name(), case.held_name());
            let place = format!("{whose}-{old}-{held}-{}", case.beat_name());
            stock.keep(&place.replace(' ', "-"));
        }
        row
    };
    let count = AtomicUsize::new(0);
    let tell = |row: &Row| {
        tell(count.fetch_add(1, Ordering::Relaxed) + 1, row);
        Ok(())
    };
    let of = |beat: Beat| -> Vec<Case> {
        let wanted = cases.iter().copied().filter(|case| case.beat == beat);
        wanted.collect()
    };
    let answered = || Stock::answered(&setup);
    let mut rows = workers::run_in(answered, &of(Beat::Before), None, one, tell)?;
    let fresh = || Stock::paired(&setup);
    rows.extend(workers::run_in(fresh, &of(Beat::Behind), None, one, tell)?);
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(old: Old, held: Held, noticed: Noticed, left: u64) -> Row {
        let whose = Role::Hub;
        Row {
            case: Case {
                whose,
                old,
                held,
                beat: Beat::Before,
            },
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
            assert!(
                row(Old::AllButVault, held, N::AtStart, 0)
                    .broken()
                    .is_none()
            );
        }
        assert!(row(Old::Whole, H::Empty, N::WithPeer, 3).broken().is_none());
        assert!(row(Old::Whole, H::Empty, N::Never, 0).broken().is_some());
        assert!(row(Old::Whole, H::Empty, N::InStep, 0).broken().is_some());
        assert!(row(Old::Whole, H::Shown, N::Alone, 0).broken().is_none());
        assert!(row(Old::Whole, H::Shown, N::Alone, 1).broken().is_some());
        assert!(
            row(Old::Whole, H::Shown, N::Forgotten, 0)
                .broken()
                .is_some()
        );
        for noticed in [N::AtStart, N::Alone] {
            assert!(row(Old::Vault, H::Full, noticed, 0).broken().is_none());
            assert!(row(Old::Vault, H::Full, noticed, 1).broken().is_some());
        }
        assert!(row(Old::Vault, H::Full, N::InStep, 5).broken().is_none());
        assert!(row(Old::Vault, H::Full, N::WithPeer, 0).broken().is_some());
        assert!(
            row(Old::Vault, H::Full, N::WithPeer, 100)
                .broken()
                .is_some()
        );
        assert!(row(Old::Vault, H::Full, N::Never, 0).broken().is_some());
        assert!(row(Old::Today, H::Forged, N::InStep, 7).broken().is_none());
        for (noticed, left) in [(N::InStep, 0), (N::Alone, 0), (N::Alone, 7), (N::Never, 7)] {
            assert!(row(Old::Today, H::Forged, noticed, left).broken().is_some());
        }
        let mut unplayed = row(Old::Whole, H::Full, N::Alone, 0);
        unplayed.met = Err("no world".to_owned());
        assert!(unplayed.broken().is_some());
    }

    #[test]
    fn all_cases_are_there_once() {
        let all = cases();
        assert_eq!(all.len(), 48 + 4 + 2);
        for (at, case) in all.iter().enumerate() {
            assert!(!all[..at].contains(case), "{case:?}");
        }
        // The gate's are of each end and each part, and of every state of the mailboxes.
        let sample = sample();
        assert!(sample.iter().all(|case| all.contains(case)));
        for case in all.iter().filter(|case| case.beat == Beat::Before) {
            let same = |one: &Case| (one.whose, one.old) == (case.whose, case.old);
            assert!(sample.iter().any(same), "{case:?}");
            assert!(sample.iter().any(|one| one.held == case.held), "{case:?}");
        }
        assert!(sample.iter().any(|case| case.beat == Beat::Behind));
    }

    #[test]
    fn the_table_is_one_row_for_each_case() {
        let rows = [
            row(Old::Whole, Held::Full, Noticed::Alone, 0),
            row(Old::Vault, Held::Empty, Noticed::Never, 2),
        ];
        let text = document(&rows);
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert_eq!(lines.len(), 2 + rows.len());
        let columns = |line: &str| line.matches('|').count();
        assert!(lines.iter().all(|line| columns(line) == 8), "{text}");
        assert!(lines[3].contains("FAILED: C8") && lines[2].contains("by the relay"));
    }
}
