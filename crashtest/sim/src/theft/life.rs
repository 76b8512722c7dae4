//! The life of a hub and its phones, step by step; behind each step the files of whoever took it are copied, and in
//! the middle of a step wherever a vault changed.
//!
//! Crashes fall into the middle of clips, also of two cameras at once, hours pass idle behind them, heartbeats come in
//! the middle of clips and between them, clips are deleted, settings are ordered, phones die in the middle of what they
//! do, a second phone comes by less often than the first, is lost and removed, and another takes its place. However
//! short a life is, each of these comes in it. The relay is a list: what lies in it is what a thief has.

mod deaths;
mod events;
mod pairing;
mod phones;
mod stealing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use app_core::core::Order;
use journal::ids::PairingId;
use tempfile::TempDir;
use thief::{Loot, Opener};
use wal::SeededDice;

use super::Outcome;
use super::books::{Books, Moment, Whose};
use super::dying::Dying;
use super::ends::{HubEnd, PhoneEnd, Start};
use super::peep::Peep;
use events::Meanwhile;

/// When it begins, milliseconds since 1970.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Between two steps.
const STEP_MS: u64 = 700;
const HOUR_MS: u64 = 3_600_000;
/// Clips that the phone keeps at least, so that a thief finds some that he may have.
const KEPT: usize = 3;
/// Rounds of a life at least: in each of these something comes that may not be missing.
const ROUNDS_MIN: u64 = 6;
/// The round in which a second phone comes, the clips of two cameras are cut off by a crash, a heartbeat falls into a clip, a
/// command is given, of two cameras one goes on behind the other, the owner's phone dies in the middle of what it does,
/// the second phone is lost, and the owner watches live, with a heartbeat in the middle of that.
const PAIRS: u64 = 1;
const CRASHES: u64 = 1;
const BEATS_IN_A_CLIP: u64 = 2;
const ORDERS: u64 = 3;
const GOES_ON_BESIDE: u64 = 3;
const PHONE_DIES: u64 = 3;
const LOSES: u64 = 4;
const WATCHES: u64 = 5;
/// Each of so many rounds behind the first the owner deletes the newest clip as soon as it is there: the first of them is
/// that of [`WATCHES`], whose clip goes on to its end.
const DELETES_AT_ONCE_EVERY: u64 = 5;
/// Rounds after which hours pass at the latest: a phone may ask for so many Commits in a time, and no more.
const IDLE_EVERY: u64 = 4;
/// The owner's own phone, by its place among them. The other one comes behind it.
const OWN: usize = 0;
const OTHER: usize = 1;

/// What was stolen at one moment.
pub(super) struct Copied {
    pub(super) at: Moment,
    pub(super) whose: Whose,
    pub(super) loot: Loot,
}

/// See the module's documentation.
pub(super) struct Life {
    hub: Option<HubEnd>,
    phones: Vec<PhoneEnd>,
    phones_made: u64,
    /// How often somebody has wished to watch live.
    viewers: u64,
    now_ms: u64,
    dice: SeededDice,
    pub(super) books: Books,
    pub(super) opener: Opener,
    pub(super) copies: Vec<Copied>,
    pub(super) epochs: u64,
    /// Every key that was ever in a vault, and those that were in each one's last copy.
    keys: BTreeSet<[u8; 32]>,
    last_keys: BTreeMap<Option<PairingId>, BTreeSet<[u8; 32]>>,
    /// Where all directories lie, and processes that die leave theirs to the next one, so that nothing here puts
    /// keys elsewhere. This life is lived for its keys alone.
    home: Option<PathBuf>,
    /// Last, so that it goes when nobody has its files open any more.
    scratch: TempDir,
}

impl Life {
    /// A hub and a phone, paired, on files of their own: below `home`, if there is one, where nothing else
    /// is ever written.
    pub(super) fn begin(seed: u64, retains: bool, home: Option<&Path>) -> Outcome<Self> {
        let scratch = tempfile::tempdir()?;
        let mut dice = SeededDice(seed);
        let start = Start {
            dir: home.unwrap_or(scratch.path()).join("hub"),
            ways: Vec::new(),
            peep: Peep::new(scratch.path(), "hub"),
            retains,
        };
        let hub = HubEnd::start(start, dice.next_u64(), BEGIN_MS)?;
        let mut life = Self {
            hub: Some(hub),
            phones: Vec::new(),
            phones_made: 0,
            viewers: 0,
            now_ms: BEGIN_MS,
            dice,
            books: Books {
                retains,
                ..Books::default()
            },
            opener: Opener::new(),
            copies: Vec::new(),
            epochs: 0,
            keys: BTreeSet::new(),
            last_keys: BTreeMap::new(),
            home: home.map(Path::to_owned),
            scratch,
        };
        life.steal_hub()?;
        life.pair()?;
        Ok(life)
    }

    /// Lives until the event video group of the first phone has seen so many epochs, and each kind of step has come.
    pub(super) fn live(&mut self, epochs: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
        let mut round = 0;
        while self.epochs < epochs || round < ROUNDS_MIN {
            self.round(round)?;
            round += 1;
            let status = self.phone(OWN)?.core.status()?;
            self.epochs = status.first().map_or(0, |line| line.epoch);
            progress(self.epochs);
        }
        // The last clips are to be healed and deleted as the others were.
        for phone in 0..self.phones.len() {
            self.heartbeat(phone)?;
        }
        self.delete_oldest(&[])?;
        self.idle()
    }

    /// An event, and what comes with it.
    fn round(&mut self, round: u64) -> Outcome<()> {
        if round == PAIRS {
            self.pair_another()?;
        }
        if round == LOSES || (round > LOSES && self.dice.below(12) == 0) {
            self.lose_the_other()?;
        }
        let watches = round == WATCHES || (round > BEATS_IN_A_CLIP && self.dice.below(6) == 0);
        if watches {
            self.watch()?;
        }
        let meanwhile = Meanwhile {
            dies: match round {
                CRASHES => Some(Dying::Torn),
                // These go on to their end: the first session ends by a word.
                WATCHES | GOES_ON_BESIDE => None,
                _ => (self.dice.below(6) == 0).then(|| Dying::any(&mut self.dice)),
            },
            beats: round == BEATS_IN_A_CLIP || round == WATCHES,
            is_beside: [CRASHES, GOES_ON_BESIDE].contains(&round) || self.dice.below(6) == 0,
        };
        self.event(meanwhile)?;
        if watches {
            self.stop_watching()?;
        }
        if round.is_multiple_of(IDLE_EVERY) || self.dice.below(3) == 0 {
            self.idle()?;
        }
        if round > 0 && round.is_multiple_of(DELETES_AT_ONCE_EVERY) {
            self.delete_at_once()?;
        }
        let phone_dies = match round {
            PHONE_DIES => Some(Dying::Untold),
            _ => (self.dice.below(8) == 0).then(|| Dying::any(&mut self.dice)),
        };
        match phone_dies {
            Some(dying) => self.dies_in_a_rotation(OWN, dying)?,
            None => self.sync(OWN)?,
        }
        // What the other phone has not fetched when it is lost, a hub that retains has for the next one.
        let comes_by = self.dice.below(2) == 0 && round + 1 != LOSES;
        if self.phones.len() > OTHER && (comes_by || round == BEATS_IN_A_CLIP) {
            self.sync(OTHER)?;
        }
        if round == ORDERS || self.dice.below(5) == 0 {
            self.order(Order::Privacy { on: false })?;
        }
        match phone_dies {
            // Both: what is lost with a process is deleted by the next one.
            Some(dying) => self.delete_oldest(&[Dying::Torn, dying])?,
            None if self.dice.below(2) == 0 => self.delete_oldest(&[])?,
            None => {}
        }
        if let Some(dying) = phone_dies {
            self.dies_in_a_heartbeat(OWN, dying)?;
        }
        for phone in 0..self.phones.len() {
            if self.dice.below(6) == 0 && !(phone == OTHER && round + 1 == LOSES) {
                self.heartbeat(phone)?;
            }
        }
        Ok(())
    }

    /// The keys that were in a vault once and are in none any more.
    pub(super) fn superseded(&self) -> Vec<[u8; 32]> {
        let lives = |key: &&[u8; 32]| self.last_keys.values().any(|keys| keys.contains(*key));
        let gone = self.keys.iter().filter(|key| !lives(key));
        gone.copied().collect()
    }

    fn step(&mut self) {
        self.books.step += 1;
        self.now_ms += STEP_MS;
    }

    /// At least one, at most so many.
    fn hours_pass(&mut self, most: u64) {
        let hours = 1 + self.dice.below(most);
        self.now_ms += hours * HOUR_MS;
        self.books.idle_hours += hours;
    }

    /// Hours in which nothing happens.
    fn idle(&mut self) -> Outcome<()> {
        self.hours_pass(6);
        self.step();
        let now_ms = self.now_ms;
        let hub = self.hub()?;
        hub.core.handle_timeout(now_ms)?;
        hub.core.handle_rest(now_ms)?;
        self.hub_commits()
    }

    fn hub(&mut self) -> Outcome<&mut HubEnd> {
        Ok(self.hub.as_mut().ok_or("the hub is down")?)
    }

    fn phone(&mut self, phone: usize) -> Outcome<&mut PhoneEnd> {
        Ok(self.phones.get_mut(phone).ok_or("there is no such phone")?)
    }

    /// The hub syncs what it staged, and its files are copied.
    fn hub_commits(&mut self) -> Outcome<()> {
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        hub.commit(&mut self.books, now_ms)?;
        self.steal_hub()
    }
}
