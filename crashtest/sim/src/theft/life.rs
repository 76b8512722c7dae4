//! The life of a hub and a phone, step by step; behind each step the files of whoever took it are copied.
//!
//! Crashes fall into the middle of a clip, hours pass idle behind them, heartbeats come in the middle of
//! clips and between them, clips are deleted. The relay is a list: what lies in it is what a thief has.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hub::camera::EventEnd;
use hub::core::{Event, Piece, Recorded};
use journal::Suite;
use journal::ids::{ClipId, Line, PairingId};
use tempfile::TempDir;
use thief::{Haul, Loot, Opener};
use wal::{Dice as _, SeededDice};

use super::Outcome;
use super::books::{Books, Heal, Whose};
use super::ends::{HubEnd, PhoneEnd, copy_files};
use crate::{files, run};

/// When it begins, milliseconds since 1970.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// Between two steps.
const STEP_MS: u64 = 700;
const HOUR_MS: u64 = 3_600_000;
/// Clips that the phone keeps at least, so that a thief finds some that he may have.
const KEPT: usize = 3;

/// What was stolen at one step.
pub(super) struct Copied {
    pub(super) step: u64,
    pub(super) whose: Whose,
    /// The clip in progress, if it is the hub's copy.
    pub(super) recording: Option<usize>,
    pub(super) loot: Loot,
}

/// See the module's documentation.
pub(super) struct Life {
    hub: Option<HubEnd>,
    phone: PhoneEnd,
    pairing: PairingId,
    now_ms: u64,
    dice: SeededDice,
    pub(super) books: Books,
    pub(super) opener: Opener,
    pub(super) copies: Vec<Copied>,
    pub(super) epochs: u64,
    /// Every key that was ever in a vault, and those that were in each one's last copy.
    keys: BTreeSet<[u8; 32]>,
    last_keys: BTreeMap<&'static str, BTreeSet<[u8; 32]>>,
    /// Processes that die leave their directory to the next one, so that nothing here puts keys elsewhere.
    stays: bool,
    /// Last, so that it goes when nobody has its files open any more.
    scratch: TempDir,
}

impl Life {
    /// A hub and a phone, paired, on files of their own: below `home`, if there is one, where nothing else
    /// is ever written.
    pub(super) fn begin(seed: u64, home: Option<&Path>) -> Outcome<Self> {
        let scratch = tempfile::tempdir()?;
        let pair = run::pair(Suite::XWing)?;
        files::lay_out(&pair, scratch.path())?;
        let (hub_ways, phone_ways) = pair.ways;
        let pairing = hub_ways.first().ok_or("a pairing without lines")?;
        let pairing = pairing.line.pairing;
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
        let hub = HubEnd::start(at("hub.files")?, hub_ways, dice.next_u64(), BEGIN_MS)?;
        let phone = PhoneEnd::start(at("app.files")?, phone_ways, dice.next_u64())?;
        Ok(Self {
            hub: Some(hub),
            phone,
            pairing,
            now_ms: BEGIN_MS,
            dice,
            books: Books::default(),
            opener: Opener::new(),
            copies: Vec::new(),
            epochs: 0,
            keys: BTreeSet::new(),
            last_keys: BTreeMap::new(),
            stays: home.is_some(),
            scratch,
        })
    }

    /// Lives until the event video group has seen so many epochs.
    pub(super) fn live(&mut self, epochs: u64, progress: &dyn Fn(u64)) -> Outcome<()> {
        while self.epochs < epochs {
            self.event()?;
            if self.dice.below(3) == 0 {
                self.idle()?;
            }
            self.sync()?;
            if self.dice.below(2) == 0 {
                self.delete_oldest()?;
            }
            if self.dice.below(6) == 0 {
                self.heartbeat()?;
            }
            let status = self.phone.core.status()?;
            self.epochs = status.first().map_or(0, |line| line.epoch);
            progress(self.epochs);
        }
        // The last clips are to be healed and deleted as the others were.
        self.heartbeat()?;
        self.delete_oldest()?;
        self.idle()
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
    fn event(&mut self) -> Outcome<()> {
        self.step();
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: self.now_ms,
        };
        self.books.begins();
        let now_ms = self.now_ms;
        let begun = self.hub()?.core.handle_event_started(event, now_ms)?;
        taken(begun)?;
        self.hub_commits()?;
        // However short a life is, its second clip is cut off and a heartbeat falls into its third.
        let number = self.books.clips.len();
        let crashes = number == 2 || self.dice.below(6) == 0;
        let mut heartbeat_is_due = number == 3;
        for _ in 0..=self.dice.below(4) {
            self.piece()?;
            self.hub_commits()?;
            match self.dice.below(8) {
                _ if std::mem::take(&mut heartbeat_is_due) => self.heartbeat()?,
                0 => self.heartbeat()?,
                1 => self.phone_takes()?,
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
        self.told(true)
    }

    fn piece(&mut self) -> Outcome<()> {
        self.step();
        let mut bytes = vec![0; 200 + self.dice.below(20_000) as usize];
        self.dice.fill(&mut bytes);
        let piece = Piece {
            bytes: Bytes::from(bytes),
            captured_unix_ms: self.now_ms,
        };
        let now_ms = self.now_ms;
        taken(self.hub()?.core.handle_pieces(vec![piece], now_ms)?)
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
        let dir = match self.stays {
            true => old.clone(),
            false => {
                let dir = self.scratch.path().join(format!("hub-{}", self.books.step));
                copy_files(&old, &dir)?;
                dir
            }
        };
        // What a thief finds who comes while it lies dark.
        self.steal(Whose::Hub, &dir)?;
        self.hours_pass(8);
        self.step();
        // Dice that began as others did would make the same keys and names again.
        let seed = self.dice.next_u64();
        let mut hub = hub.dies(dir, seed, self.now_ms)?;
        if !self.stays {
            std::fs::remove_dir_all(old)?;
        }
        hub.tell(&mut self.books, self.now_ms)?;
        self.hub = Some(hub);
        self.books.is_over();
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
        self.told(false)
    }

    /// The phone takes everything, ends its sync, and the hub takes its acks.
    fn sync(&mut self) -> Outcome<()> {
        self.phone_takes()?;
        for line in self.phone.lines() {
            self.step();
            self.phone.finish_sync(line, &mut self.books, self.now_ms)?;
            self.steal_phone()?;
        }
        self.hub_takes()
    }

    fn phone_takes(&mut self) -> Outcome<()> {
        loop {
            self.step();
            if !self.phone.take_one(&mut self.books, self.now_ms)? {
                return Ok(());
            }
            self.steal_phone()?;
        }
    }

    fn hub_takes(&mut self) -> Outcome<()> {
        loop {
            self.step();
            let now_ms = self.now_ms;
            let hub = self.hub.as_mut().ok_or("the hub is down")?;
            if !hub.take_one(&mut self.books, now_ms)? {
                return Ok(());
            }
            self.steal_hub()?;
        }
    }

    /// A heartbeat, taken and answered. The phone has caught up first.
    fn heartbeat(&mut self) -> Outcome<()> {
        self.phone_takes()?;
        self.hub_takes()?;
        self.step();
        self.books.heals.push(Heal {
            made: self.books.step,
            taken: BTreeMap::new(),
        });
        // It has caught up on all of them.
        let level: BTreeSet<Line> = self.phone.lines().into_iter().collect();
        let core = &mut self.phone.core;
        let staged = core.stage_heartbeat(self.pairing, &level, self.now_ms)?;
        let committed = core.commit()?;
        let _beat = committed.redeem(staged);
        self.phone.tell(&mut self.books)?;
        self.steal_phone()?;
        self.hub_takes()?;
        self.phone_takes()
    }

    /// The phone's owner deletes the oldest clips but a few.
    fn delete_oldest(&mut self) -> Outcome<()> {
        let clips = self.phone.core.clips()?;
        let is_over = |id: &ClipId| {
            let of_books = self.books.clips.iter().find(|clip| clip.id == Some(id.0));
            of_books.is_some_and(|clip| clip.over.is_some())
        };
        let old: Vec<ClipId> = clips
            .iter()
            .map(|(_, clip)| clip.clip)
            .filter(is_over)
            .collect();
        for id in old.iter().take(old.len().saturating_sub(KEPT)) {
            self.step();
            let core = &mut self.phone.core;
            let _staged = core.delete(*id)?;
            let _committed = core.commit()?;
            self.books.is_deleted(id.0);
            self.steal_phone()?;
        }
        Ok(())
    }

    fn hub(&mut self) -> Outcome<&mut HubEnd> {
        Ok(self.hub.as_mut().ok_or("the hub is down")?)
    }

    /// The hub syncs what it staged, and its files are copied.
    fn hub_commits(&mut self) -> Outcome<()> {
        self.told(false)
    }

    /// As [`Self::hub_commits`]; what was recorded may be over with it.
    fn told(&mut self, is_over: bool) -> Outcome<()> {
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        hub.commit(&mut self.books, now_ms)?;
        if is_over {
            self.books.is_over();
        }
        self.steal_hub()
    }

    fn steal_hub(&mut self) -> Outcome<()> {
        let dir = self.hub()?.dir.clone();
        self.steal(Whose::Hub, &dir)
    }

    fn steal_phone(&mut self) -> Outcome<()> {
        let dir = self.phone.dir.clone();
        self.steal(Whose::Phone, &dir)
    }

    /// Copies all files below `from` and opens what opens.
    fn steal(&mut self, whose: Whose, from: &Path) -> Outcome<()> {
        let copy: PathBuf = self.scratch.path().join("stolen");
        copy_files(from, &copy)?;
        let haul = Haul::read(&copy)?;
        std::fs::remove_dir_all(&copy)?;
        let keys: BTreeSet<[u8; 32]> = haul.keys.iter().map(|stored| *stored.key).collect();
        self.keys.extend(&keys);
        let end = match whose {
            Whose::Hub => "hub",
            Whose::Phone => "phone",
        };
        self.last_keys.insert(end, keys);
        if self.stays {
            // This life is lived for its keys alone.
            return Ok(());
        }
        self.copies.push(Copied {
            step: self.books.step,
            whose,
            recording: self.books.recording.filter(|_| whose == Whose::Hub),
            loot: self.opener.open(&haul),
        });
        Ok(())
    }
}

/// Everything here is recorded: there is room, and a phone.
fn taken(recorded: Recorded) -> Outcome<()> {
    match recorded {
        Recorded::Taken => Ok(()),
        Recorded::Not(stop) => Err(format!("the hub does not record: {stop:?}").into()),
    }
}
