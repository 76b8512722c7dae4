//! The promises C1 to C8, S3 and S5 as code, on what the two ends say and export, on what they noted
//! down for it ([`crate::notes`]), and on what a thief opens of what they left ([`crate::thief`]).
//!
//! The oracle must never be lenient about a missing fact: what an end does not say is not true.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::notes::{self, Notes};
use crate::process::{Line, Role};
use crate::trouble::{Outcome, Trouble};

mod kept;

/// A clip as one of the ends knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Its id, the same text at both ends.
    pub id: String,
    /// `recording`, `receiving`, `complete`, `cut_off`, `dropped` or `damaged`.
    pub outcome: String,
    /// Media bytes.
    pub bytes: u64,
    /// Of these bytes, lower-case hex; none while it is not known.
    pub sha256: Option<String>,
}

/// What both ends say once everything is at rest.
#[must_use]
#[derive(Clone, Debug)]
pub struct Ends {
    /// The hub's epoch of the event-video group.
    pub hub_epoch: u64,
    /// The hub's clips.
    pub hub_clips: Vec<Clip>,
    /// Envelopes left in the hub's outbox.
    pub unacked_envelopes: u64,
    /// How far the app acked, as the hub knows.
    pub acked_through: u64,
    /// The app's epoch of that group.
    pub app_epoch: u64,
    /// The number of the last envelope that the app took.
    pub app_cursor: u64,
    /// The app's clips.
    pub app_clips: Vec<Clip>,
    /// The app's finished clips, as exported.
    pub exports: BTreeMap<String, Vec<u8>>,
    /// Clips that the phone's owner deleted there.
    pub deleted: BTreeSet<String>,
    /// Clips that were recorded for a phone which was removed since: the hub knows them no more.
    pub removed: BTreeSet<String>,
    /// What hub and app noted, in this order.
    pub notes: [Notes; 2],
    /// Every line of hub and app, over all their processes.
    pub history: Vec<Line>,
    /// Whether a clip may be missing by a statement of the hub: only where stored bytes were damaged, or the hub
    /// has a budget.
    pub drops_allowed: bool,
    /// What a thief of the directories opens although it is past.
    pub stolen: Vec<Broken>,
    /// What the conversation itself found to be broken.
    pub seen: Vec<Broken>,
}

/// Which promise of DESIGN.md section 2 is broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// `C1` to `C8`, `S1`, `S3`, `S5` or `A1`.
    pub promise: &'static str,
    /// The facts.
    pub what: String,
}

impl Broken {
    /// Promise `promise` did not hold, because of `what`.
    #[must_use]
    pub fn new(promise: &'static str, what: impl Into<String>) -> Self {
        Self {
            promise,
            what: what.into(),
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.promise, self.what)
    }
}

/// By this a phone says that it can follow its hub no more.
pub(crate) const PARTED: &str = "in keys that this directory does not have";

/// The three outcomes of a run. A typed refusal is not a pass, and is counted apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every promise held.
    Pass,
    /// A program refused with a documented exit code and a message that names the way out.
    Refused {
        /// Which program.
        role: Role,
        /// Its exit code.
        code: i32,
        /// What it said.
        said: String,
    },
    /// Promises are broken, or a program ended in a way that is not documented, or hung.
    Fatal(Vec<Broken>),
}

impl Verdict {
    /// Judges the outcome of a run.
    #[must_use]
    pub fn of(run: &Outcome<Ends>) -> Self {
        let undocumented = |trouble: &Trouble| {
            Self::Fatal(vec![Broken {
                promise: "C7",
                what: trouble.to_string(),
            }])
        };
        match run {
            Ok(ends) => {
                let broken = judge(ends);
                if broken.is_empty() {
                    Self::Pass
                } else {
                    Self::Fatal(broken)
                }
            }
            Err(trouble @ Trouble::Ended { role, status, said }) => match status.code() {
                // A phone that says so is right; that it came to this is a broken promise.
                Some(4) if said.contains(PARTED) => Self::Fatal(vec![Broken {
                    promise: "C1",
                    what: trouble.to_string(),
                }]),
                // The codes by which a program says: damaged state, not admitted, no space.
                Some(code @ (4 | 6 | 7)) if !said.is_empty() => Self::Refused {
                    role: *role,
                    code,
                    said: said.clone(),
                },
                _ => undocumented(trouble),
            },
            Err(Trouble::Stolen { broken, ends }) => Self::Fatal(match ends {
                // What was stolen is among it.
                Some(ends) => judge(ends),
                None => broken.clone(),
            }),
            Err(trouble @ Trouble::Apart { .. }) => Self::Fatal(vec![Broken {
                promise: "C1",
                what: trouble.to_string(),
            }]),
            Err(trouble) => undocumented(trouble),
        }
    }

    /// The same of a run that may have stopped before its end, with what was noted until then: by hub
    /// and app, and by the relay if its notes are the third.
    ///
    /// # Panics
    /// If there are fewer than two.
    #[must_use]
    pub fn with_notes(run: &Outcome<Ends>, notes: &[Notes]) -> Self {
        let verdict = Self::of(run);
        let [hub, app, relay @ ..] = notes else {
            panic!("the notes of hub and app are both wanted");
        };
        let mut broken = match run {
            // They are judged with the ends.
            Ok(_) | Err(Trouble::Stolen { ends: Some(_), .. }) => Vec::new(),
            Err(_) => notes::judge(hub, app),
        };
        broken.extend(notes::judge_starts(hub, app));
        for relay in relay {
            broken.extend(notes::judge_relay(relay));
            // Whatever came to rest went through it.
            if run.is_ok() && !relay.has_receipts() {
                broken.push(Broken::new("C4", "the relay noted no receipt at all"));
            }
        }
        if broken.is_empty() {
            return verdict;
        }
        if let Self::Fatal(more) = verdict {
            broken.extend(more);
        }
        Self::Fatal(broken)
    }

    /// Nothing but a pass is good enough here.
    ///
    /// # Errors
    /// [`Trouble::Broken`] with everything that is wrong.
    pub fn expect_pass(self) -> Outcome<()> {
        match self {
            Self::Pass => Ok(()),
            Self::Refused { role, code, said } => Err(Trouble::Broken(format!(
                "{role} refused with {code}: {said}"
            ))),
            Self::Fatal(broken) => {
                let all: Vec<String> = broken.iter().map(ToString::to_string).collect();
                Err(Trouble::Broken(all.join("; ")))
            }
        }
    }
}

/// Everything that is broken; empty if nothing is.
#[must_use]
pub fn judge(ends: &Ends) -> Vec<Broken> {
    let mut all = Vec::new();
    converged(ends, &mut all);
    nothing_lost(ends, &mut all);
    exactly_once(ends, &mut all);
    durable_before_visible(ends, &mut all);
    no_false_alarm(ends, &mut all);
    all.extend(ends.stolen.iter().cloned());
    all.extend(ends.seen.iter().cloned());
    let [hub, app] = &ends.notes;
    all.extend(notes::judge(hub, app));
    all.extend(notes::judge_rest(hub, app, ends.hub_epoch));
    all
}

fn broken(promise: &'static str, all: &mut Vec<Broken>, what: String) {
    all.push(Broken { promise, what });
}

/// C8: a rollback is claimed only where there was one, and no run with this oracle has one.
fn no_false_alarm(ends: &Ends, all: &mut Vec<Broken>) {
    for line in &ends.history {
        if line.event() == "standing" && line.text("state") == "rolled_back" {
            let what = format!("{} took its directory for an older one", line.role);
            broken("C8", all, what);
        }
    }
}

/// C1: the same epoch at both ends.
fn converged(ends: &Ends, all: &mut Vec<Broken>) {
    if ends.hub_epoch != ends.app_epoch {
        let what = format!(
            "hub in epoch {}, app in epoch {}",
            ends.hub_epoch, ends.app_epoch
        );
        broken("C1", all, what);
    }
    if ends.hub_epoch == 0 || ends.hub_clips.is_empty() {
        broken("C1", all, "nothing happened, so nothing was shown".into());
    }
}

/// C2: every clip of the hub is at the app, byte for byte, and no other.
fn nothing_lost(ends: &Ends, all: &mut Vec<Broken>) {
    if ends.unacked_envelopes != 0 {
        broken(
            "C2",
            all,
            format!("{} envelopes are un-acked at rest", ends.unacked_envelopes),
        );
    }
    for gone in &ends.deleted {
        if ends.app_clips.iter().any(|app| app.id == *gone) {
            broken("C2", all, format!("clip {gone} was deleted and is back"));
        }
    }
    for hub in ends
        .hub_clips
        .iter()
        .filter(|hub| !ends.deleted.contains(&hub.id))
    {
        let Some(app) = ends.app_clips.iter().find(|app| app.id == hub.id) else {
            broken(
                "C2",
                all,
                format!("clip {} ({}) never reached the app", hub.id, hub.outcome),
            );
            continue;
        };
        match hub.outcome.as_str() {
            // The allowed losses: of damaged bytes, or of the oldest beyond the hub's room, by a statement that
            // both ends keep. No kill, no power cut and no disk error that is survived costs a clip.
            "dropped"
                if matches!(app.outcome.as_str(), "damaged" | "dropped" | "expired")
                    && ends.drops_allowed => {}
            "complete" | "cut_off" => same_clip(hub, app, ends.exports.get(&hub.id), all),
            _ => broken(
                "C2",
                all,
                format!(
                    "clip {} is {} at the hub and {} at the app at rest",
                    hub.id, hub.outcome, app.outcome
                ),
            ),
        }
    }
    for app in &ends.app_clips {
        if !ends.hub_clips.iter().any(|hub| hub.id == app.id) {
            broken(
                "C2",
                all,
                format!(
                    "the app has clip {}, of which the hub knows nothing",
                    app.id
                ),
            );
        }
    }
}

fn same_clip(hub: &Clip, app: &Clip, export: Option<&Vec<u8>>, all: &mut Vec<Broken>) {
    if hub != app || hub.sha256.is_none() {
        broken(
            "C2",
            all,
            format!("a clip differs: hub {hub:?}, app {app:?}"),
        );
    }
    let Some(export) = export else {
        broken("C2", all, format!("clip {} was not exported", hub.id));
        return;
    };
    let digest = hex(&Sha256::digest(export));
    if export.len() as u64 != hub.bytes || Some(&digest) != hub.sha256.as_ref() {
        broken(
            "C2",
            all,
            format!(
                "the export of {} has {} bytes and {digest}; the hub accepted {hub:?}",
                hub.id,
                export.len()
            ),
        );
    }
}

/// C2: each chunk is announced at most once, in order, over all processes of the app, and adds up.
fn exactly_once(ends: &Ends, all: &mut Vec<Broken>) {
    let mut last = 0;
    let mut bytes: BTreeMap<&str, u64> = BTreeMap::new();
    for line in ends
        .history
        .iter()
        .filter(|line| line.role == Role::App && line.event() == "media")
    {
        let seq = line.number("seq").unwrap_or_default();
        if seq <= last {
            broken(
                "C2",
                all,
                format!("the app announced chunk {seq} after {last}"),
            );
        }
        last = last.max(seq);
        *bytes.entry(line.text("clip")).or_default() += line.number("bytes").unwrap_or_default();
    }
    for (clip, announced) in bytes {
        if ends.deleted.contains(clip) {
            continue;
        }
        // Fewer is right: who is killed between the sync and the line never prints it.
        let Some(has) = ends.app_clips.iter().find(|has| has.id == clip) else {
            broken(
                "C4",
                all,
                format!("media of clip {clip} was announced, and the app has no such clip"),
            );
            continue;
        };
        if announced > has.bytes {
            broken(
                "C2",
                all,
                format!(
                    "{announced} bytes of clip {clip} were announced, it has {}",
                    has.bytes
                ),
            );
        }
    }
}

/// C4: what a program has said stayed true, whatever killed it afterwards.
fn durable_before_visible(ends: &Ends, all: &mut Vec<Broken>) {
    let mut finished: BTreeMap<&str, &Line> = BTreeMap::new();
    let mut started: BTreeSet<&str> = BTreeSet::new();
    for line in &ends.history {
        match (line.role, line.event()) {
            (Role::Hub, "clip_started") => {
                let first = started.insert(line.text("clip"));
                if !first {
                    broken(
                        "C4",
                        all,
                        format!("clip {} started twice", line.text("clip")),
                    );
                }
            }
            (Role::Hub, "clip_finished") if ends.removed.contains(line.text("clip")) => {}
            (Role::Hub, "clip_finished") => hub_finished(ends, line, &mut finished, all),
            (Role::App, "media" | "acked") => {
                let seq = line.number("seq").unwrap_or(u64::MAX);
                if seq > ends.app_cursor {
                    broken(
                        "C4",
                        all,
                        format!(
                            "the app said {} through {seq} and is at {}",
                            line.event(),
                            ends.app_cursor
                        ),
                    );
                }
            }
            (Role::App, "clip")
                if !ends.deleted.contains(line.text("clip"))
                    && matches!(line.text("state"), "complete" | "cut_off") =>
            {
                let id = line.text("clip");
                let now = ends.app_clips.iter().find(|clip| clip.id == id);
                if now.is_none_or(|now| {
                    now.outcome != line.text("state")
                        || now.sha256.as_deref() != Some(line.text("sha256"))
                }) {
                    broken(
                        "C4",
                        all,
                        format!("the app said {}; now it has {now:?}", line.value),
                    );
                }
            }
            _ => {}
        }
    }
    for clip in started {
        if ends.removed.contains(clip) {
            continue;
        }
        if !ends.hub_clips.iter().any(|known| known.id == clip) {
            broken(
                "C4",
                all,
                format!("the hub said that clip {clip} had started, and knows it no more"),
            );
        }
    }
    if ends.acked_through > ends.app_cursor {
        broken(
            "C4",
            all,
            format!(
                "acked through {}, and the app is at {}",
                ends.acked_through, ends.app_cursor
            ),
        );
    }
}

fn hub_finished<'a>(
    ends: &Ends,
    line: &'a Line,
    finished: &mut BTreeMap<&'a str, &'a Line>,
    all: &mut Vec<Broken>,
) {
    let id = line.text("clip");
    if let Some(before) = finished.insert(id, line)
        && before.value != line.value
    {
        broken(
            "C4",
            all,
            format!("a clip finished twice: {} and {}", before.value, line.value),
        );
    }
    let now = ends.hub_clips.iter().find(|clip| clip.id == id);
    let stands = now.is_some_and(|now| {
        (now.outcome == "dropped" && ends.drops_allowed)
            || (now.outcome == line.text("outcome")
                && now.sha256.as_deref() == Some(line.text("sha256"))
                && Some(now.bytes) == line.number("bytes"))
    });
    if !stands {
        broken(
            "C4",
            all,
            format!("the hub said {}; now it has {now:?}", line.value),
        );
    }
}

/// Lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
