//! A way of the model, step by step, in the cores.
//!
//! The model names what happens (`crashtest/model/src/channel.rs`); `steps` says what each of its steps
//! is in the cores, and [`crate::world`] does it: every message is held back and goes on its way when the
//! script says so. The model has one line, and so has a script: that of event videos; the other lines and
//! the heartbeats wait until it is done. What comes after the script is what comes after every plan: all
//! is healed, both ends go on until they are at rest, and the oracle asks.
//!
//! A step that the cores have no counterpart for is an error before anything is played. A step that a
//! core does not do now (it has nothing to send, or will not encrypt) is told as refused: with a mistake
//! none may be, without it that is how the design is saved. This room must never leave a step out.

mod steps;

use crate::oracle::Broken;
use crate::plan::Plan;
use crate::run;
use crate::world::{Pair, World};

pub use steps::{NOT_IN_THE_CORES, Step, Unplayable, parse};

/// The seed of every script: nothing in one is left to dice but bytes.
const SEED: u64 = 1;

/// What came of a script.
#[derive(Clone, Debug, Default)]
pub struct Played {
    /// Steps that were done.
    pub done: usize,
    /// Steps that a core refused, by their place in the script from 0, and why.
    pub refused: Vec<(usize, String)>,
    /// A step in which a core did something else than the table says, and what: nothing was played
    /// behind it, and nothing is known.
    pub otherwise: Option<(usize, String)>,
    /// The first promise that was broken.
    pub broken: Option<Broken>,
    /// In which step, or after all of them.
    pub broken_in: Option<usize>,
}

/// Plays a script and then asks the oracle. A panic in a core breaks C6, as everywhere.
#[must_use]
pub fn play(script: &[Step], pair: &Pair) -> Played {
    let plan = Plan {
        seed: SEED,
        steps: Vec::new(),
    };
    let mut played = Played::default();
    let world = World::new(plan, pair);
    if let Err(broken) = run::caught(|| world.follow(script, &mut played)) {
        let reached = played.done + played.refused.len();
        played.broken_in = (reached < script.len()).then_some(reached);
        played.broken = Some(broken);
    }
    played
}
