//! Mistakes of design, each planted into the model and each to be found by the promise it breaks.
//!
//! This room must never let a mistake count as found by another promise than its own.

use std::fmt::Debug;
use std::time::Duration;

use stateright::Model as _;

use crate::channel::judge::Promise;
use crate::channel::{self, Channel};
use crate::check::{Outcome, explore};
use crate::pairing::{self, Pairing, PairingBug};
use crate::scope::{APP_ROLLBACK, CRASHES, HEARTBEAT, HUB_ROLLBACK, RELAY, Scope};

/// A mistake.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "The table below says what each is.")]
pub enum Bug {
    MergeBeforePersist,
    SendBeforePersist,
    NewCommitAfterRestart,
    AckBeforeDurable,
    OldEpochAfterRestart,
    BelievePageCache,
    FreeOnReceipt,
    TrimOnDelivery,
    CursorApart,
    CursorFirst,
    CommitElsewhere,
    ProposalIsStored,
    ProposalKeyNotStored,
    StaleReloadsHandle,
    AppRatchetNotStored,
    DigestNotCompared,
    LastNotKept,
    HeldNotCompared,
}

/// Where a mistake is sought.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In the channel, with every step fine.
    Channel(Bug, Scope),
    /// In the handshake.
    Pairing(PairingBug),
}

/// The same mistake in the programs.
#[derive(Clone, Copy, Debug)]
pub enum Real {
    /// In the real processes, with the crash that shows it: what `secluso-crashtest mutant` is told.
    Processes {
        /// Its name in the programs.
        mutant: &'static str,
        /// The conversation.
        workload: &'static str,
        /// Program, crash point and hit; nothing if it takes no crash.
        crash: &'static [&'static str],
        /// The promise that it breaks there, where that is not the model's.
        promise: &'static str,
    },
    /// In their cores, with real MLS and the real journal, by the model's own way, step by step: what
    /// `simulate script` is told.
    Script {
        /// Its name in the programs.
        mutant: &'static str,
        /// The promise that it breaks there, where that is not the model's.
        promise: &'static str,
    },
    /// In their cores, among schedules of a simulation that lead where the model's way leads, because the
    /// cores cannot go the way itself: what `simulate mutants` is told.
    Cores {
        /// Its name in the programs.
        mutant: &'static str,
        /// The promise that it breaks there: the first that anybody sees, where that is not the model's.
        promise: &'static str,
    },
    /// Not to be planted, and why.
    Not(&'static str),
}

impl Real {
    /// Its name in the programs, if they have it.
    #[must_use]
    pub fn mutant(&self) -> Option<&'static str> {
        match self {
            Self::Processes { mutant, .. }
            | Self::Script { mutant, .. }
            | Self::Cores { mutant, .. } => Some(mutant),
            Self::Not(_) => None,
        }
    }
}

/// What is known of a mistake.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// As it is named in reports.
    pub name: &'static str,
    /// What is done wrong.
    pub what: &'static str,
    /// The promise that it breaks.
    pub promise: &'static str,
    /// Where it is sought.
    pub place: Place,
    /// The same in the programs.
    pub real: Real,
}

/// Bounds within which a mistake is sought; the design is proven within the same, with fine steps.
pub const EPOCHS: u8 = 3;
/// See [`EPOCHS`].
pub const CRASHES_SOUGHT: u8 = 2;

/// What came of the search for one.
#[derive(Clone, Debug)]
pub struct Found {
    /// States until it was found, or all there are.
    pub unique: usize,
    /// How long it took.
    pub took: Duration,
    /// The shortest way to its own promise broken: each step, and the crash point beside it.
    pub way: Option<Vec<(String, Option<&'static str>)>>,
}

/// A way as a script for the cores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Script {
    /// The model's words, one step a line.
    pub text: String,
    /// The first step that the design does not do without the mistake, if there is one.
    pub first_refused: Option<usize>,
}

impl Planted {
    /// The shortest way as a script; `None` if there is none, or if it is not in the channel.
    ///
    /// Where a scope lets the relay store what it receives in the step of the sender, the script says both
    /// steps.
    #[must_use]
    pub fn script(&self) -> Option<Script> {
        let Place::Channel(bug, scope) = self.place else {
            return None;
        };
        let scope = scope.fine().bounded(EPOCHS, CRASHES_SOUGHT);
        let outcome = explore(Channel::new(scope, Some(bug)), Some(self.promise), 1);
        let mut broken = outcome.broken.iter();
        let (_, way) = broken.find(|(promise, _)| *promise == self.promise)?;
        let sound = Channel::new(scope, None);
        let mut state = sound.init_states().pop();
        let (mut words, mut first_refused) = (Vec::new(), None);
        for (index, step) in way.iter().enumerate() {
            state = state.and_then(|state| sound.after(&state, *step));
            if state.is_none() && first_refused.is_none() {
                first_refused = Some(words.len());
            }
            words.push(format!("{step:?}"));
            let is_last = index + 1 == way.len();
            if *step == channel::Step::HubSends && !scope.relay_crashes && !is_last {
                words.push(format!("{:?}", channel::Step::RelaySyncs));
            }
        }
        let text = words.join("\n");
        Some(Script {
            text,
            first_refused,
        })
    }

    /// Seeks it.
    #[must_use]
    pub fn seek(&self) -> Found {
        match self.place {
            Place::Channel(bug, scope) => {
                let scope = scope.fine().bounded(EPOCHS, CRASHES_SOUGHT);
                let outcome = explore(Channel::new(scope, Some(bug)), Some(self.promise), 1);
                self.found(&outcome, channel::Step::point)
            }
            Place::Pairing(bug) => {
                let model = Pairing::new(2, CRASHES_SOUGHT, Some(bug));
                let outcome = explore(model, Some(self.promise), 1);
                self.found(&outcome, pairing::Step::point)
            }
        }
    }

    fn found<Step: Copy + Debug>(
        &self,
        outcome: &Outcome<Step>,
        point: fn(Step) -> Option<&'static str>,
    ) -> Found {
        let mut broken = outcome.broken.iter();
        let way = broken.find(|(promise, _)| *promise == self.promise);
        let named = |step: &Step| (format!("{step:?}"), point(*step));
        Found {
            unique: outcome.unique,
            took: outcome.took,
            way: way.map(|(_, steps)| steps.iter().map(named).collect()),
        }
    }
}

/// Every mistake.
pub const PLANTED: &[Planted] = &[
    Planted {
        name: "merge_before_persist",
        what: "the merge is a transaction of its own, before the Commit's envelope",
        promise: Promise::Follow.name(),
        place: Place::Channel(Bug::MergeBeforePersist, CRASHES),
        real: Real::Processes {
            mutant: "merge_before_persist",
            workload: "event",
            crash: &["hub", "wal.commit.after_apply", "2"],
            promise: "C1",
        },
    },
    Planted {
        name: "send_before_persist",
        what: "the hub sends what is staged and not yet synced",
        promise: Promise::Visible.name(),
        place: Place::Channel(Bug::SendBeforePersist, CRASHES),
        real: Real::Processes {
            mutant: "send_before_sync",
            workload: "event",
            crash: &[],
            promise: "C4",
        },
    },
    Planted {
        name: "new_commit_after_restart",
        what: "a start forgets what is un-acked and commits anew",
        promise: Promise::Follow.name(),
        place: Place::Channel(Bug::NewCommitAfterRestart, CRASHES),
        real: Real::Processes {
            mutant: "new_commit_after_restart",
            workload: "event",
            crash: &["hub", "wal.commit.after_apply", "5"],
            promise: "C1",
        },
    },
    Planted {
        name: "ack_before_durable",
        what: "the app lets relay and hub forget what it has not synced",
        promise: Promise::Visible.name(),
        place: Place::Channel(Bug::AckBeforeDurable, CRASHES),
        real: Real::Processes {
            mutant: "ack_before_durable",
            workload: "event",
            crash: &["app", "app.take.staged", "2"],
            promise: "C4",
        },
    },
    Planted {
        name: "old_epoch_after_restart",
        what: "a start goes on encrypting in the epoch that it finds",
        promise: Promise::Reuse.name(),
        place: Place::Channel(Bug::OldEpochAfterRestart, CRASHES),
        real: Real::Script {
            mutant: "old_epoch_encrypted_in",
            promise: "C3",
        },
    },
    Planted {
        name: "believe_page_cache",
        what: "a start takes for durable what it can read",
        promise: Promise::Visible.name(),
        place: Place::Channel(Bug::BelievePageCache, CRASHES),
        real: Real::Cores {
            mutant: "page_cache_believed",
            promise: "C7",
        },
    },
    Planted {
        name: "free_on_receipt",
        what: "the hub frees what the relay says it stored",
        promise: Promise::Once.name(),
        place: Place::Channel(Bug::FreeOnReceipt, RELAY),
        real: Real::Not(
            "no receipt reaches the code that frees: the hub's core is not told of any",
        ),
    },
    Planted {
        name: "trim_on_delivery",
        what: "the relay forgets what it delivered",
        promise: Promise::Converge.name(),
        place: Place::Channel(Bug::TrimOnDelivery, CRASHES),
        real: Real::Script {
            mutant: "relay_deletes_early",
            promise: "C1",
        },
    },
    Planted {
        name: "cursor_apart",
        what: "what an envelope does is durable before the cursor",
        promise: Promise::Atomic.name(),
        place: Place::Channel(Bug::CursorApart, CRASHES),
        real: Real::Processes {
            mutant: "cursor_apart",
            workload: "event",
            crash: &[],
            promise: "C5",
        },
    },
    Planted {
        name: "cursor_first",
        what: "the cursor is durable before what the envelope does",
        promise: Promise::Follow.name(),
        place: Place::Channel(Bug::CursorFirst, CRASHES),
        real: Real::Cores {
            mutant: "cursor_first",
            promise: "C1",
        },
    },
    Planted {
        name: "commit_in_another_mailbox",
        what: "a Commit may come before the chunks that it follows",
        promise: Promise::Once.name(),
        place: Place::Channel(Bug::CommitElsewhere, CRASHES),
        real: Real::Script {
            mutant: "commit_taken_ahead",
            promise: "C1",
        },
    },
    Planted {
        name: "proposal_is_stored",
        what: "the hub keeps a proposal until its next Commit",
        promise: Promise::Blocked.name(),
        place: Place::Channel(Bug::ProposalIsStored, HEARTBEAT),
        real: Real::Cores {
            mutant: "proposal_kept",
            promise: "C1",
        },
    },
    Planted {
        name: "proposal_key_not_stored",
        what: "the key of the app's proposal is in memory only",
        promise: Promise::Follow.name(),
        place: Place::Channel(Bug::ProposalKeyNotStored, HEARTBEAT),
        real: Real::Cores {
            mutant: "update_keys_not_stored",
            promise: "C1",
        },
    },
    Planted {
        name: "stale_reloads_handle",
        what: "a stale envelope makes the hub load the group again and go on in its epoch",
        promise: Promise::Reuse.name(),
        place: Place::Channel(Bug::StaleReloadsHandle, HEARTBEAT),
        real: Real::Cores {
            mutant: "stale_reloads_handle",
            promise: "C3",
        },
    },
    Planted {
        name: "app_ratchet_not_stored",
        what: "the ratchet of the app's acks is in memory only",
        promise: Promise::Reuse.name(),
        place: Place::Channel(Bug::AppRatchetNotStored, HEARTBEAT),
        real: Real::Processes {
            mutant: "ratchet_not_stored",
            workload: "event",
            crash: &["app", "app.take.staged", "3"],
            promise: "C3",
        },
    },
    Planted {
        name: "digest_not_compared",
        what: "a sender looks at the relay's last number and not at its digest",
        promise: Promise::Rollback.name(),
        place: Place::Channel(Bug::DigestNotCompared, HUB_ROLLBACK),
        real: Real::Script {
            mutant: "digest_not_compared",
            promise: "C8",
        },
    },
    Planted {
        name: "last_not_kept",
        what: "the relay forgets the last envelope of a mailbox with the others",
        promise: Promise::Rollback.name(),
        place: Place::Channel(Bug::LastNotKept, HUB_ROLLBACK),
        real: Real::Script {
            mutant: "relay_keeps_no_evidence",
            promise: "C8",
        },
    },
    Planted {
        name: "held_not_compared",
        what: "the app frees its outbox by what the hub holds and does not compare its digest",
        promise: Promise::Rollback.name(),
        place: Place::Channel(Bug::HeldNotCompared, APP_ROLLBACK),
        real: Real::Cores {
            mutant: "held_not_compared",
            promise: "C8",
        },
    },
    Planted {
        name: "last_word_once",
        what: "the hub repeats its last word to nobody",
        promise: pairing::FINISHES,
        place: Place::Pairing(PairingBug::LastWordOnce),
        real: Real::Not(
            "a hub that has a phone still makes codes, which the model's does not: the next one heals it",
        ),
    },
    Planted {
        name: "last_word_before_persist",
        what: "the hub says its last word before it is durable",
        promise: pairing::PROOF,
        place: Place::Pairing(PairingBug::LastWordBeforePersist),
        real: Real::Processes {
            mutant: "send_before_sync",
            workload: "pair",
            crash: &[],
            promise: "C4",
        },
    },
    Planted {
        name: "success_without_proof",
        what: "the app takes its own join for success",
        promise: pairing::PROOF,
        place: Place::Pairing(PairingBug::SuccessWithoutProof),
        real: Real::Processes {
            mutant: "success_without_proof",
            workload: "pair",
            crash: &["hub", "journal.pairing.hub_done", "1"],
            promise: "C1",
        },
    },
    Planted {
        name: "never_gives_up",
        what: "the app keeps what it joined although the hub does not know it",
        promise: pairing::FINISHES,
        place: Place::Pairing(PairingBug::NeverGivesUp),
        real: Real::Not(
            "at the phone another code is another pairing, and what it joined before ends with its time",
        ),
    },
];
