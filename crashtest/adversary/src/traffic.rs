//! The real programs' traffic changed beneath TLS, which ends at whoever owns the relay: each envelope comes to
//! hub and phone with a byte of its frame changed before it comes as it is, another byte each time.
//!
//! The exchange has a heartbeat over all lines with its answer, a command with its answer, and events with their
//! acks. It must come to its end under changed bytes; then the relay's words about mailboxes are changed, then it
//! behaves, and the oracle judges as after a kill: nothing was taken but what the other end had sealed (C6), nothing
//! is lost, both are in step. Every byte is the cores' matter ([`crate::mutated`]): programs wait longer from one
//! bad envelope to the next, so here it is some hundred. This room must never count a run in which few
//! were changed as a pass.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness waits on real processes, and so on a real clock."
)]

use std::fmt;
use std::time::{Duration, Instant};

use crashtest::oracle::Verdict;
use crashtest::process::Role;
use crashtest::system::{Setup, Stock, System};
use crashtest::trouble::{Outcome, Trouble};
use crashtest_evil_relay::orders::Order;
use crashtest_evil_relay::vice::Vice;
use serde_json::{Value, json};

use crate::campaign::{self, BRIEF, come_back, order, recorded};

/// Events of the exchange.
const EVENTS: u32 = 16;
/// Between two, in seconds.
const GAP_SECONDS: f64 = 0.2;
/// How long the exchange may take under changed bytes.
const EXCHANGE_PATIENCE: Duration = Duration::from_secs(420);
/// After so long all connections are closed: a changed length may keep a reader waiting for what never comes.
const CLOSED_AFTER: Duration = Duration::from_secs(15);
/// How long the relay's words are changed.
const WORDS_SPELL: Duration = Duration::from_secs(15);
/// Fewer changed envelopes prove little.
const CHANGED_MIN: u64 = 100;

/// What was changed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Walked {
    /// Frames with an envelope.
    pub envelopes: u64,
    /// Words about mailboxes.
    pub words: u64,
}

impl Walked {
    /// One object.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({"envelopes": self.envelopes, "words": self.words})
    }
}

impl fmt::Display for Walked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { envelopes, words } = self;
        write!(
            f,
            "beneath TLS: {envelopes} changed envelopes, {words} changed words"
        )
    }
}

/// Plays the exchange. What was changed until then is in `walked` in any case.
///
/// # Errors
/// A promise is broken, the exchange did not come to its end, or too little was changed.
pub fn run(walked: &mut Walked) -> Outcome<()> {
    let setup = Setup {
        passes: EVENTS,
        gap_seconds: GAP_SECONDS,
        ..campaign::setup()?
    };
    let stock = Stock::paired(&setup)?;
    let mut system = stock.system(setup)?;
    let played = play(&mut system, walked);
    if played.is_err() {
        stock.keep("beneath-tls");
    }
    played
}

fn play(system: &mut System, walked: &mut Walked) -> Outcome<()> {
    system.start(Role::Relay)?;
    order(system, Order::Vice(Vice::Walk, 0))?;
    // No hub runs yet: the command waits at the relay, behind the phone's first heartbeat or before it.
    let command = system.give_briefly(&["phones"], BRIEF)?;
    for role in [Role::App, Role::Hub] {
        system.start(role)?;
    }
    exchange(system, walked)?;
    walked.envelopes = order(system, Order::Vice(Vice::Walk, 1))?.lies;
    let began = Instant::now();
    let all = system.until("changed words", WORDS_SPELL * 2, |system| {
        let look = order(system, Order::Look)?;
        Ok((began.elapsed() >= WORDS_SPELL).then_some(look.lies))
    })?;
    walked.words = all - walked.envelopes;
    order(system, Order::Behave)?;
    come_back(system).map_err(Trouble::apart)?;
    system.stop(Role::App)?;
    system.answer_to(&command).map_err(Trouble::apart)?;
    system.start(Role::App)?;
    let run = system.settle();
    let notes = [system.notes(Role::Hub), system.notes(Role::App)];
    Verdict::with_notes(&run, &notes).expect_pass()?;
    if let Some(line) = system.panic_said() {
        return Err(Trouble::Broken(format!("a panic: {line}")));
    }
    if walked.envelopes < CHANGED_MIN || walked.words == 0 {
        return Err(Trouble::Broken(format!("too little was shown: {walked}")));
    }
    Ok(())
}

/// Until everything is acked, each envelope having come changed before it came as it is.
fn exchange(system: &mut System, walked: &mut Walked) -> Outcome<()> {
    let events = usize::try_from(EVENTS).unwrap_or(usize::MAX);
    let mut closed = Instant::now();
    let mut seed = 0;
    let done = system.until(
        "the exchange under changed bytes",
        EXCHANGE_PATIENCE,
        |system| {
            let look = order(system, Order::Look)?;
            walked.envelopes = look.lies;
            if closed.elapsed() >= CLOSED_AFTER {
                // Even: envelopes are changed.
                seed += 2;
                order(system, Order::Vice(Vice::Walk, seed))?;
                closed = Instant::now();
            }
            let status = system.hub_status()?;
            system.remember(format!("{look:?} {status:?}"));
            let acked = status.unacked_envelopes == 0 && !status.recording;
            Ok((acked && recorded(system)? >= events).then_some(()))
        },
    );
    done.map_err(Trouble::apart)
}
