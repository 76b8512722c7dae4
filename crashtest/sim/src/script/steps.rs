//! The model's steps and what each is in the cores.
//!
//! This table is all there is of the mapping: `crashtest/model/README.md` shows it, and a test of the model
//! sees that no step is missing in it. It must never name a step that nobody can do as one that is done.

use std::fmt;

macro_rules! steps {
    ($($name:ident: $what:literal,)*) => {
        /// A step of the model that the cores can do. What it says is what is done.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Step {
            $(#[doc = $what] $name,)*
        }

        impl Step {
            /// Every one, with what is done.
            pub const TABLE: &'static [(Step, &'static str)] = &[$((Step::$name, $what),)*];
        }
    };
}

steps! {
    HubCommits: "An event begins with its first piece: one transaction stages Commit, header and first \
                 chunk. If a clip is open its end is synced first, as the core does it.",
    HubSeals: "The next piece of the event: its chunk is staged. Behind a start that closed a clip it is \
               the cut-off notice, which that start sealed and synced.",
    HubSyncs: "The hub's core commits.",
    HubSends: "The hub attaches if it has to and judges what it is shown; one envelope of the model goes \
               out and waits before the relay. Whoever sees that it is set back sends nothing and says so.",
    HubTakes: "The hub attaches to the app's mailbox if it has to; its core takes the next envelope and \
               commits, and the relay hears of it.",
    RelaySyncs: "The relay receives what waits before it, stores and syncs it, and gives the receipts.",
    AppTakes: "The app attaches to the hub's mailbox if it has to, and is handed all there is; its core \
               stages one envelope of the model, and the ack if one is due.",
    AppTakesAhead: "The app's core is given the next Commit that lies behind what it takes next.",
    AppSyncs: "The app's core commits; the relay hears what it may forget.",
    AppSpeaks: "The ack that was staged with what it acks; one that waits for its time is staged.",
    AppSends: "The app attaches if it has to and judges what it is shown; the relay receives one envelope, \
               stores and syncs it.",
    HubDies: "The power goes at the hub; what was staged was in memory.",
    HubDiesUnsynced: "The hub commits and is killed in that sync: the page cache has it.",
    HubPowerCutInRecovery: "The hub starts, and the power goes in the first sync of that.",
    HubStarts: "The hub starts. What it owes to an epoch that was encrypted in it stages and syncs \
                itself: a Commit, and the cut-off notice of its clip.",
    AppDies: "The power goes at the app.",
    AppDiesUnsynced: "The app commits and is killed in that sync.",
    AppPowerCutInRecovery: "The app starts, and the power goes in the first sync of that.",
    AppStarts: "The app starts.",
    RelayDies: "The power goes at the relay with what waits before it, and it starts.",
    HubIsCopied: "Somebody copies what the hub's disk holds after a power cut.",
    HubIsRestored: "Somebody puts the copy in the place of a hub that does not run.",
    AppIsCopied: "The same with the app.",
    AppIsRestored: "The same with the app.",
}

/// Steps of the model that nothing in the cores stands for, and why. A script with one is not played.
pub const NOT_IN_THE_CORES: &[(&str, &str)] = &[
    (
        "HubMerges",
        "the programs merge in the transaction of HubCommits",
    ),
    (
        "HubHearsAck",
        "acks are followed one by one: AppSpeaks, AppSyncs, AppSends, HubTakes",
    ),
    (
        "AppProposes",
        "a heartbeat proposes on all lines at once, and a script is about one: seeds make them",
    ),
    (
        "RelayForgets",
        "both mailboxes of a relay are in one store: seeds make it lose both",
    ),
    (
        "RelayForgetsUp",
        "both mailboxes of a relay are in one store: seeds make it lose both",
    ),
    (
        "RelayIsSetBack",
        "a store has no older state of one mailbox: seeds make the relay lie about its last",
    ),
];

/// Words that cannot be played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unplayable {
    /// The word.
    pub word: String,
    /// Why.
    pub why: &'static str,
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` cannot be played: {}", self.word, self.why)
    }
}

impl std::error::Error for Unplayable {}

/// Reads a script: the model's words, apart by commas or lines, with or without the crash point in
/// brackets behind each, as `crashtest-model bugs` prints them.
///
/// # Errors
/// The first word that cannot be played, or that there is none.
pub fn parse(text: &str) -> Result<Vec<Step>, Unplayable> {
    let words = text.split([',', '\n']).map(|word| {
        let named = word.split('[').next().unwrap_or_default();
        named.trim()
    });
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() {
        return Err(Unplayable {
            word: String::new(),
            why: "there is no step in it",
        });
    }
    words.into_iter().map(step).collect()
}

fn step(word: &str) -> Result<Step, Unplayable> {
    let known = Step::TABLE.iter();
    if let Some((step, _)) = known.clone().find(|(step, _)| format!("{step:?}") == word) {
        return Ok(*step);
    }
    let name = word.split('(').next().unwrap_or_default();
    let mut missing = NOT_IN_THE_CORES.iter();
    let why = missing.find(|(known, _)| *known == name);
    Err(Unplayable {
        word: word.to_owned(),
        why: why.map_or("the model has no such step", |(_, why)| *why),
    })
}
