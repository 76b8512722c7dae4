//! The life of a hub and its phones, step by step; behind each step the files of whoever took it are copied, and in
//! the middle of a step wherever a vault changed.
//!
//! Crashes fall into the middle of a clip, hours pass idle behind them, heartbeats come in the middle of clips and
//! between them, clips are deleted, settings are ordered, a second phone comes by less often than the first, is lost
//! and removed, and another takes its place. However short a life is, each of these comes in it. The relay is a
//! list: what lies in it is what a thief has.

mod phones;
mod stealing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use app_core::core::Order;
use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Alert, Event, Piece, Recorded, Still};
use journal::Suite;
use journal::ids::PairingId;
use tempfile::TempDir;
use thief::{Loot, Opener};
use wal::{Dice as _, SeededDice};

use super::Outcome;
use super::books::{Books, Moment, Whose};
use super::ends::{HubEnd, PhoneEnd, Start, copy_files};
use super::peep::Peep;
use crate::{files, run};

/// When it begins, milliseconds since 1970.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Between two steps.
const STEP_MS: u64 = 700;
const HOUR_MS: u64 = 3_600_000;
/// Clips that the phone keeps at least, so that a thief finds some that he may have.
const KEPT: usize = 3;
/// Pieces of an event at most, and bytes of one: what all phones and copies of it take together fits into a
/// transaction of the small log files of [`crate::node::options`].
const PIECES_MAX: u64 = 5;
const PIECE_BYTES_MAX: u64 = 8_000;
/// Rounds of a life at least: in each of these something comes that may not be missing.
const ROUNDS_MIN: u64 = 6;
/// The round in which a second phone comes, the first clip is cut off by a crash, a heartbeat falls into a clip, a
/// command is given, the second phone is lost, and the owner watches live, with a heartbeat in the middle of that.
const PAIRS: u64 = 1;
const CRASHES: u64 = 1;
const BEATS_IN_A_CLIP: u64 = 2;
const ORDERS: u64 = 3;
const LOSES: u64 = 4;
const WATCHES: u64 = 5;
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
        let pair = run::pair(Suite::XWing)?;
        files::lay_out(&pair, scratch.path())?;
        let (hub_ways, phone_ways) = pair.ways;
        let at = |name: &str| -> Outcome<PathBuf> {
            let made = scratch.path().join(name);
            let Some(home) = home else {
                return Ok(made);
            };
            let place = home.join(name);
            copy_files(&made, &place)?;
            Ok(place)
        };
        let mut dice = SeededDice(seed);
        let start = Start {
            dir: at("hub.files")?,
            ways: hub_ways,
            peep: Peep::new(scratch.path(), "hub"),
            retains,
        };
        let hub = HubEnd::start(start, dice.next_u64(), BEGIN_MS)?;
        let peep = Peep::new(scratch.path(), "own");
        let own = PhoneEnd::start(at("app.files")?, phone_ways, peep, dice.next_u64())?;
        let mut life = Self {
            hub: Some(hub),
            phones: vec![own],
            phones_made: 1,
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
        life.steal_phone(OWN)?;
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
        self.delete_oldest()?;
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
        // The first session ends by a word, and not by a crash.
        let crashes = round == CRASHES || (self.dice.below(6) == 0 && round != WATCHES);
        let watches = round == WATCHES || (round > BEATS_IN_A_CLIP && self.dice.below(6) == 0);
        if watches {
            self.watch()?;
        }
        self.event(crashes, round == BEATS_IN_A_CLIP || round == WATCHES)?;
        if watches {
            self.stop_watching()?;
        }
        if round.is_multiple_of(IDLE_EVERY) || self.dice.below(3) == 0 {
            self.idle()?;
        }
        self.sync(OWN)?;
        // What the other phone has not fetched when it is lost, a hub that retains has for the next one.
        let comes_by = self.dice.below(2) == 0 && round + 1 != LOSES;
        if self.phones.len() > OTHER && (comes_by || round == BEATS_IN_A_CLIP) {
            self.sync(OTHER)?;
        }
        if round == ORDERS || self.dice.below(5) == 0 {
            self.order(Order::Privacy { on: false })?;
        }
        if self.dice.below(2) == 0 {
            self.delete_oldest()?;
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

    /// An event, recorded to its end or into a crash.
    fn event(&mut self, crashes: bool, mut heartbeat_is_due: bool) -> Outcome<()> {
        self.step();
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: self.now_ms,
        };
        let (camera, started_unix_ms) = (event.camera.clone(), event.started_unix_ms);
        let alert = Alert {
            camera: camera.clone(),
            started_unix_ms,
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_alert(&alert, now_ms)?)?;
        let begun = self.hub()?.core.handle_event_started(event, now_ms)?;
        taken(begun)?;
        self.hub_commits()?;
        self.step();
        let still = Still {
            camera,
            started_unix_ms,
            jpeg: self.bytes(PIECE_BYTES_MAX),
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_still(&still, now_ms)?)?;
        self.hub_commits()?;
        for _ in 0..=self.dice.below(PIECES_MAX - 1) {
            self.piece()?;
            self.hub_commits()?;
            self.show()?;
            match self.dice.below(8) {
                _ if std::mem::take(&mut heartbeat_is_due) => self.heartbeat(OWN)?,
                0 => self.heartbeat(OWN)?,
                1 => self.phone_takes(OWN)?,
                2 => self.hub_takes()?,
                3 => {
                    self.step();
                    self.tick()?;
                    self.books.ticks();
                    self.steal_hub()?;
                }
                _ => {}
            }
        }
        if crashes {
            return self.crash();
        }
        let end = match self.dice.below(5) {
            0 => EventEnd::CutOff,
            _ => EventEnd::Completed,
        };
        self.step();
        let now_ms = self.now_ms;
        let ended = self.hub()?.core.handle_event_ended(end, now_ms)?;
        taken(ended)?;
        self.hub_commits()
    }

    fn piece(&mut self) -> Outcome<()> {
        self.step();
        let piece = Piece {
            bytes: self.bytes(PIECE_BYTES_MAX),
            captured_unix_ms: self.now_ms,
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_pieces(vec![piece], now_ms)?)
    }

    /// At least 200, and fewer than so many.
    fn bytes(&mut self, most: u64) -> Bytes {
        let mut bytes = vec![0; 200 + self.dice.below(most - 200) as usize];
        self.dice.fill(&mut bytes);
        Bytes::from(bytes)
    }

    /// Whoever watches is shown a picture.
    fn show(&mut self) -> Outcome<()> {
        let picture = self.bytes(PIECE_BYTES_MAX);
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        hub.shows(&picture, &mut self.books, now_ms)
    }

    /// The hub dies in the middle of the clip, half of the times with a sync under way, and lies dark for
    /// hours; the next one owes the clip its end. Hours pass again.
    fn crash(&mut self) -> Outcome<()> {
        if self.dice.below(2) == 0 {
            self.piece()?;
            let now_ms = self.now_ms;
            self.hub()?.core.begin_commit(now_ms)?;
        }
        self.books.crashes += 1;
        self.step();
        let hub = self.hub.take().ok_or("the hub is down")?;
        let old = hub.dir.clone();
        let stays = self.home.is_some();
        let dir = match stays {
            true => old.clone(),
            false => {
                let dir = self.scratch.path().join(format!("hub-{}", self.books.step));
                copy_files(&old, &dir)?;
                dir
            }
        };
        // What a thief finds who comes while it lies dark.
        self.steal(Whose::Hub, &dir, Vec::new())?;
        self.hours_pass(8);
        self.step();
        // Dice that began as others did would make the same keys and names again.
        let seed = self.dice.next_u64();
        let mut hub = hub.dies(dir, seed, self.now_ms)?;
        if !stays {
            std::fs::remove_dir_all(old)?;
        }
        hub.tell(&mut self.books, self.now_ms)?;
        self.books.are_all_unwatched();
        self.hub = Some(hub);
        self.steal_hub()?;
        self.idle()
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

/// Everything here is recorded: there is room, and a phone.
fn taken(recorded: Recorded) -> Outcome<()> {
    match recorded {
        Recorded::Taken => Ok(()),
        Recorded::Not(stop) => Err(format!("the hub does not record: {stop:?}").into()),
    }
}
