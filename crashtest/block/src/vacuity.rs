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
/// States of one of them that are tried before it counts as not noticed.
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

/// Takes out flushes.
///
/// # Errors
/// The harness's.
pub fn vacuity(opener: &Opener<'_>, story: &Story) -> Outcome<Vacuity> {
    let suspects = suspects(opener, story);
    let stride = suspects.len().div_ceil(FLUSHES_MAX).max(1);
    let mut hand = opener.hand(0);
    let mut vacuity = Vacuity::default();
    for (epoch, marks) in suspects.into_iter().step_by(stride) {
        vacuity.flushes += 1;
        let told = Told::until(&story.steps, marks);
        let corners = states(opener.log(), &epoch, Depth::Corners, 1);
        for (_, state) in corners.into_iter().take(STATES_MAX) {
            vacuity.states += 1;
            if notices(opener, &mut hand, &state, &told)? {
                vacuity.noticed += 1;
                break;
            }
        }
    }
    Ok(vacuity)
}

/// The epochs in which something new left, each without the flush before it, and the marks by their
/// ends.
fn suspects(opener: &Opener<'_>, story: &Story) -> Vec<(Epoch, usize)> {
    let log = opener.log();
    let mut all = Vec::new();
    for pair in epochs(log).windows(2) {
        let [before, epoch] = pair else { continue };
        let marks = marks_before(&story.steps, epoch.nanos);
        // What is only said again was durable long ago.
        let told = |nanos| Told::until(&story.steps, marks_before(&story.steps, nanos));
        if told(epoch.nanos) == told(before.nanos) {
            continue;
        }
        // An epoch ends just before its flush has ended, so that of the one before is the flush.
        let flush = log
            .records
            .iter()
            .position(|record| record.is_flush() && record.ended == before.crash.at);
        let crash = Crash {
            at: epoch.crash.at,
            ignored: flush,
        };
        let mut walk = Walk::new(log, flush);
        let pending = walk.go_to(crash.at);
        all.push((
            Epoch {
                crash,
                nanos: epoch.nanos,
                pending,
            },
            marks,
        ));
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
