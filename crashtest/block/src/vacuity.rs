//! Whether the tier can fail: flushes right behind which something left are taken out of the log, one at
//! a time, as if the drive had ignored them; a state must then be fatal.
//!
//! It also sees that a state which is nobody's fault is good: everything there is what the program
//! left. This room must never count a state as noticed for another reason than what a start found.

use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::check::{Outcome as Start, Told};
use crashtest_replay::image::Hash;
use crashtest_replay::steps::Story;

use crate::epochs::{Crash, Epoch, Walk, epochs, marks_before};
use crate::opener::{Hand, Look, Mount, Opener};
use crate::report::Vacuity;
use crate::states::{Depth, State, states};

/// Flushes that are taken out, spread evenly over the session.
const FLUSHES_MAX: usize = 48;
/// How many more are taken out, one try after the other.
const BACK: [usize; 6] = [0, 1, 3, 7, 15, 31];
/// States that are tried with one of them before it counts as not noticed.
const STATES_MAX: usize = 32;

/// The whole log leaves the directory that the program left.
///
/// # Errors
/// It does not: what is tested would not be what was recorded.
pub fn leads_to(opener: &Opener<'_>, left: Hash) -> Outcome<()> {
    let Some(last) = epochs(opener.log()).pop() else {
        return Ok(());
    };
    let whole = |record: &usize| crate::states::Piece {
        record: *record,
        part: None,
    };
    let state = State {
        crash: last.crash,
        pieces: last.pending.iter().map(whole).collect(),
    };
    let mut hand = opener.hand(0);
    let hash = opener.image(&mut hand, &state).hash();
    let opened = opener.open(&mut hand, &state, hash, Look::Inside)?;
    let found = opened.tree.map(|tree| tree.hash());
    if opened.mount != Mount::Plain || found != Some(left) {
        return Err(Trouble::Broken(format!(
            "the log does not lead to the directory that the program left ({:?})",
            opened.mount
        )));
    }
    match opened.start.as_deref() {
        Some(Start::Opened(_)) => Ok(()),
        other => Err(Trouble::Broken(format!(
            "what the program left when it was stopped does not open ({other:?}). If it was built from \
             other sources than this one, build both again"
        ))),
    }
}

/// Takes out flushes: the one right before something left, and if nobody notices, more and more of those
/// before it as well. What waits in a queue leaves many flushes after the one that covered it.
///
/// # Errors
/// The harness's.
pub fn vacuity(opener: &Opener<'_>, story: &Story) -> Outcome<Vacuity> {
    let suspects = suspects(opener, story);
    let stride = suspects.len().div_ceil(FLUSHES_MAX).max(1);
    let mut hand = opener.hand(0);
    let mut vacuity = Vacuity::default();
    for suspect in suspects.into_iter().step_by(stride) {
        vacuity.flushes += 1;
        let told = Told::until(&story.steps, suspect.marks);
        let mut noticed = false;
        for back in BACK {
            let alone = back == 0;
            let Some(epoch) = suspect.epoch_without(opener, back) else {
                break;
            };
            let corners = states(opener.log(), &epoch, Depth::Corners, 1);
            let tries = if alone { STATES_MAX } else { 1 };
            for (_, state) in corners.into_iter().take(tries) {
                vacuity.states += 1;
                noticed = notices(opener, &mut hand, &state, &told)?;
                if noticed {
                    break;
                }
            }
            if noticed {
                vacuity.noticed += 1;
                vacuity.alone += u64::from(alone);
                break;
            }
        }
    }
    Ok(vacuity)
}

/// An epoch in which something new left.
struct Suspect {
    epoch: Epoch,
    /// The marks by its end.
    marks: usize,
    /// The flushes before it, as records of the log, the last one first.
    flushes: Vec<usize>,
}

impl Suspect {
    /// The epoch as it is without the flush before it and so many more before that.
    fn epoch_without(&self, opener: &Opener<'_>, back: usize) -> Option<Epoch> {
        let ignored = Some((*self.flushes.get(back)?, *self.flushes.first()?));
        let crash = Crash {
            ignored,
            ..self.epoch.crash
        };
        Some(Epoch {
            crash,
            nanos: self.epoch.nanos,
            pending: Walk::new(opener.log(), ignored).go_to(crash.at),
        })
    }
}

fn suspects(opener: &Opener<'_>, story: &Story) -> Vec<Suspect> {
    let log = opener.log();
    let told = |epoch: &Epoch| Told::until(&story.steps, marks_before(&story.steps, epoch.nanos));
    let mut all = Vec::new();
    for pair in epochs(log).windows(2) {
        let [before, epoch] = pair else { continue };
        // What is only said again was durable long ago.
        if told(epoch) == told(before) {
            continue;
        }
        // An epoch ends just before its flush has ended.
        let ended = |record: &usize| {
            let record = log.records.get(*record);
            record.is_some_and(|record| record.is_flush() && record.ended <= before.crash.at)
        };
        all.push(Suspect {
            epoch: epoch.clone(),
            marks: marks_before(&story.steps, epoch.nanos),
            flushes: (0..log.records.len()).rev().filter(ended).collect(),
        });
    }
    all
}

fn notices<'a>(
    opener: &Opener<'a>,
    hand: &mut Hand<'a>,
    state: &State,
    told: &Told,
) -> Outcome<bool> {
    let hash = opener.image(hand, state).hash();
    let opened = opener.open(hand, state, hash, Look::No)?;
    // A file system that does not mount has noticed it, not we.
    Ok(opened.mount == Mount::Plain
        && match opened.start.as_deref() {
            None => false,
            Some(Start::Refused(_) | Start::Broken(_)) => true,
            Some(Start::Opened(facts)) => !opener.subject().unexplained(facts, told).is_empty(),
        })
}
