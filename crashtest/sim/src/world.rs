//! The world: one queue of what happens when, and what each happening does.
//!
//! It must never look into a node's journal while that runs; only the oracle's books and, at the
//! very end, the closed disks are compared.

mod end;
mod script;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use app_core::core::Order;
use journal::ids::Channel;
use journal::message::Settings;
use wal::disk::{CrashPolicy, SimDisk};
use wal::{Dice as _, SeededDice};

use crate::app::App;
use crate::hub::{Fault, Hub};
use crate::net::{Answer, Down, Net, Up, Way};
use crate::node::Death;
use crate::oracle::{self, Books, Broken};
use crate::plan::{Lie, Plan, What, Who};
use crate::relay::Relay;
use crate::rot;

/// After everything was healed, both ends must be in step within so much simulated time: the
/// longest pauses of the protocol are ten minutes.
pub const HEALED_MS_MAX: u64 = 4 * 3_600_000;
const DAY_MS: u64 = 24 * 3_600_000;
/// A process that its disk's trouble has ended is started again so much later.
const RESTART_MS: u64 = 200;
/// A start that finds no room is tried again so much later.
const NO_ROOM_MS: u64 = 1_000;
/// An append that the relay puts aside comes so much later at most.
const LATE_MS_MAX: u64 = 5_000;
/// Happenings in one scenario, lest two nodes talk for ever.
const HAPPENINGS_MAX: u64 = 400_000;

/// A network that is away for longer than this is away for long.
const LONG_AWAY_MS: u64 = 60_000;
/// How often whoever has no network for long is asked what it does next.
const ASKED_AGAIN_MS: u64 = 1_000;

/// A pair that every scenario begins with.
pub struct Pair {
    /// The hub's disk, closed.
    pub hub: SimDisk,
    /// The app's disk, closed.
    pub app: SimDisk,
    /// Their lines as the hub has them, and as the app has them.
    pub ways: (Vec<Way>, Vec<Way>),
}

#[derive(Debug)]
enum Happening {
    Step(usize),
    Camera {
        name: u64,
        pieces: Vec<u32>,
        next: usize,
        gap_ms: u64,
        cut: bool,
    },
    /// So many covers are still due.
    Cover {
        left: u64,
        gap_ms: u64,
    },
    Up(Who, u64, Up),
    /// An append that a lying relay put aside.
    Late(Who, u64, Up),
    Down(u64, Answer),
    Wake(Who),
    Start(Who),
    Connect(Who),
    Room(Who),
    Truth,
}

/// Figures of a scenario.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Processes that died.
    pub deaths: u64,
    /// Envelopes that left, again included.
    pub envelopes: u64,
    /// Happenings.
    pub happenings: u64,
    /// Simulated milliseconds.
    pub simulated_ms: u64,
    /// Events that were recorded, at least in part.
    pub events: u64,
    /// Clips that were lost by a statement: to damage, for their room or for their age.
    pub dropped: u64,
    /// Directories that became old copies, and were seen to be.
    pub old_copies: u64,
    /// Heartbeats of the phone.
    pub heartbeats: u64,
    /// Its owner's commands.
    pub orders: u64,
}

impl crate::seeds::Told for Stats {
    /// Deaths, envelopes, events, dropped clips, old copies, heartbeats, commands.
    fn numbers(&self) -> Vec<u64> {
        vec![
            self.deaths,
            self.envelopes,
            self.events,
            self.dropped,
            self.old_copies,
            self.heartbeats,
            self.orders,
        ]
    }
}

/// See the module's documentation.
pub struct World {
    now_ms: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    number: u64,
    plan: Plan,
    net: Net,
    hub: Hub,
    relay: Relay,
    app: App,
    books: Books,
    dice: SeededDice,
    /// Until when a connection stays broken.
    broken_until: BTreeMap<Who, u64>,
    /// Who lost the network for long.
    long_away: BTreeSet<Who>,
    wakes: BTreeMap<Who, u64>,
    starting: BTreeSet<Who>,
    first_disks: (SimDisk, SimDisk),
    ways: (Vec<Way>, Vec<Way>),
}

impl World {
    /// A world for this plan, begun with a pair.
    #[must_use]
    pub fn new(plan: Plan, pair: &Pair) -> World {
        wal::note::keep(true);
        let seed = plan.seed;
        let copy = |disk: &SimDisk| disk.crash_clone(CrashPolicy::KeepAll, 0);
        let mut hub = Hub::new(copy(&pair.hub), seed ^ 1, pair.ways.0.clone());
        hub.is_shaped = plan.is_shaped();
        for step in &plan.steps {
            if let What::Silence { after_ms } = step.what {
                hub.silence.silent_after = Duration::from_millis(after_ms);
            }
        }
        hub.clip_days = plan.clip_days();
        let app = App::new(copy(&pair.app), seed ^ 2, pair.ways.1.clone());
        let mut world = World {
            now_ms: 0,
            queue: BTreeMap::new(),
            number: 0,
            net: Net::new(seed ^ 3),
            hub,
            relay: Relay::new(seed ^ 4),
            app,
            books: Books::default(),
            dice: SeededDice(seed ^ 5),
            broken_until: BTreeMap::new(),
            long_away: BTreeSet::new(),
            wakes: BTreeMap::new(),
            starting: BTreeSet::new(),
            first_disks: (copy(&pair.hub), copy(&pair.app)),
            ways: pair.ways.clone(),
            plan,
        };
        let clip_days = world.plan.clip_days();
        world.books.kept_ms = clip_days.map(|days| u64::from(days) * DAY_MS);
        for who in [Who::Relay, Who::Hub, Who::App] {
            world.start_in(who, 0);
        }
        for (index, step) in world.plan.steps.clone().iter().enumerate() {
            world.at(step.at_ms, Happening::Step(index));
        }
        world
    }

    /// The state of one of them lies in real files below this directory: the pair's as
    /// [`crate::files`] laid it out, or none for a new relay. What a recorder made fail stands in its
    /// `trace`.
    ///
    /// # Errors
    /// The directory cannot be made.
    pub fn on_files(&mut self, who: Who, dir: PathBuf, trace: Option<PathBuf>) -> io::Result<()> {
        self.machine(who).on_files(dir, trace)
    }

    /// The line of event videos as hub or app has it, if they have it.
    fn videos(&self, who: Who) -> Option<Way> {
        let ways = match who {
            Who::Hub => &self.ways.0,
            _ => &self.ways.1,
        };
        let mut ways = ways.iter();
        let found = ways.find(|way| way.line.channel == Channel::EventVideo);
        found.copied()
    }

    fn at(&mut self, at_ms: u64, happening: Happening) {
        self.number += 1;
        self.queue.insert((at_ms, self.number), happening);
    }

    fn after_ms(&mut self, ms: u64, happening: Happening) {
        self.at(self.now_ms + ms, happening);
    }

    fn start_in(&mut self, who: Who, ms: u64) {
        if self.starting.insert(who) {
            self.after_ms(ms, Happening::Start(who));
        }
    }

    /// Plays the plan, heals everything, and asks the oracle.
    ///
    /// # Errors
    /// The promise that did not hold.
    pub fn run(mut self) -> Result<Stats, Broken> {
        self.play_out().map_err(|broken| {
            // Whatever came of it, garbage that was taken came first.
            self.books.nothing_forged().err().unwrap_or(broken)
        })
    }

    fn stats(&self) -> Stats {
        Stats {
            deaths: self.hub.machine.deaths + self.app.machine.deaths + self.relay.machine.deaths,
            envelopes: self.books.left,
            happenings: self.number,
            simulated_ms: self.now_ms,
            events: self.books.events.len() as u64,
            dropped: self
                .books
                .events
                .values()
                .filter(|event| event.dropped || event.made_room)
                .count() as u64,
            old_copies: u64::from(self.books.is_rolled_back()),
            heartbeats: self.books.heartbeats,
            orders: self.books.orders.len() as u64,
        }
    }

    fn until_done(&mut self, when: &str) -> Result<(), Broken> {
        let limit_ms = self.now_ms + HEALED_MS_MAX;
        let done = self.play(|world| world.is_done() || world.now_ms > limit_ms)?;
        if done && self.is_done() {
            Ok(())
        } else {
            Err(Broken::new(
                "C1",
                format!("{when} the ends did not come into step"),
            ))
        }
    }

    fn is_done(&self) -> bool {
        let recording = self.queue.values().any(|happening| {
            matches!(
                happening,
                Happening::Camera { .. } | Happening::Cover { .. }
            )
        });
        !recording && self.hub.is_done() && self.app.is_up()
    }

    /// Lets things happen until `enough`; false if nothing more would.
    fn play(&mut self, mut enough: impl FnMut(&mut World) -> bool) -> Result<bool, Broken> {
        while !enough(self) {
            if self.number > HAPPENINGS_MAX {
                return Err(Broken::new("C1", "the nodes talk without end"));
            }
            let Some(((at_ms, _), happening)) = self.queue.pop_first() else {
                return Ok(false);
            };
            self.now_ms = self.now_ms.max(at_ms);
            self.handle(happening)?;
            self.look_after_all()?;
        }
        Ok(true)
    }

    fn heal(&mut self) {
        for who in Who::ALL {
            self.machine(who).heal();
        }
        self.relay.lie = None;
        self.broken_until.clear();
        self.reconnect_all();
    }

    fn machine(&mut self, who: Who) -> &mut crate::node::Machine {
        match who {
            Who::Hub => &mut self.hub.machine,
            Who::Relay => &mut self.relay.machine,
            Who::App => &mut self.app.machine,
        }
    }

    fn handle(&mut self, happening: Happening) -> Result<(), Broken> {
        match happening {
            Happening::Step(index) => {
                let what = self.plan.steps.get(index).map(|step| step.what.clone());
                what.map_or(Ok(()), |what| self.happen(&what))
            }
            Happening::Camera {
                name,
                pieces,
                next,
                gap_ms,
                cut,
            } => self.camera(name, pieces, next, gap_ms, cut),
            Happening::Cover { left, gap_ms } => self.cover(left, gap_ms),
            Happening::Up(who, link, message) => {
                let here = self.net.link(who);
                if !here.up || here.number != link {
                    return Ok(());
                }
                self.arrives(who, link, message)
            }
            Happening::Late(who, link, message) => self.taken(who, link, message),
            Happening::Down(link, answer) => {
                let who = answer.to;
                let here = self.net.link(who);
                if !here.up || here.number != link {
                    return Ok(());
                }
                match who {
                    Who::Hub => {
                        let out = self.hub.handle(answer, self.now_ms, &mut self.books);
                        self.send(who, out)
                    }
                    _ => {
                        self.app.handle(answer, self.now_ms);
                        Ok(())
                    }
                }
            }
            Happening::Wake(who) => {
                self.wakes.remove(&who);
                Ok(())
            }
            Happening::Start(who) => {
                self.starting.remove(&who);
                self.start(who)
            }
            Happening::Connect(who) => {
                self.connect(who);
                Ok(())
            }
            Happening::Room(who) => {
                self.machine(who).disk.set_capacity(None);
                Ok(())
            }
            Happening::Truth => {
                self.relay.lie = None;
                self.reconnect_all();
                Ok(())
            }
        }
    }

    fn happen(&mut self, what: &What) -> Result<(), Broken> {
        let unread = |error: io::Error| Broken::new("C7", error.to_string());
        match what {
            What::Record {
                pieces,
                gap_ms,
                cut,
            } => drop(self.record(pieces, *gap_ms, *cut)?),
            What::Die {
                who,
                after_ops,
                policy,
                down_ms,
                again,
            } => {
                let death = Death {
                    policy: *policy,
                    down_ms: *down_ms,
                    again: again.clone(),
                };
                self.machine(*who).plan_death(*after_ops, death);
            }
            What::DiskError {
                who,
                after_ops,
                fault,
            } => self.machine(*who).plan_error(*after_ops, *fault),
            What::DiskFull {
                who,
                for_ms,
                spare_bytes,
            } => {
                self.books.filled |= *who == Who::Hub;
                let machine = self.machine(*who);
                machine.troubled = true;
                let used = machine.disk.used_bytes();
                machine.disk.set_capacity(Some(used + spare_bytes));
                self.after_ms(*for_ms, Happening::Room(*who));
            }
            What::Break { who, for_ms } => {
                self.broken_until.insert(*who, self.now_ms + for_ms);
                if *for_ms > LONG_AWAY_MS {
                    self.long_away.insert(*who);
                }
                self.cut(*who);
                self.after_ms(*for_ms, Happening::Connect(*who));
            }
            What::Amnesia => {
                self.relay.stop();
                self.relay.machine.disk = SimDisk::new();
                self.books.receipts.clear();
                self.cut(Who::Hub);
                self.cut(Who::App);
                self.start_in(Who::Relay, 10);
            }
            What::Lie { lie, for_ms } => {
                self.relay.lie = Some(*lie);
                self.after_ms(*for_ms, Happening::Truth);
            }
            What::ClockJump { who, by_s } => match who {
                Who::Hub => self.hub.wall_offset_ms += by_s * 1_000,
                Who::App => self.app.wall_offset_ms += by_s * 1_000,
                // It has none.
                Who::Relay => {}
            },
            What::Rot { who } => {
                self.books.rotted = true;
                let disk = self.machine(*who).disk.clone();
                rot::payload(&disk, &mut self.dice).map_err(unread)?;
            }
            What::Truncate { who } => {
                self.stop(*who);
                let disk = self.machine(*who).disk.clone();
                rot::truncate(&disk).map_err(unread)?;
                self.start_in(*who, 10);
            }
            What::Restart { who } => {
                self.stop(*who);
                self.start_in(*who, 10);
            }
            What::Heartbeat => self.app.want_heartbeat(),
            What::Cover { covers, gap_ms } => self.cover(*covers, *gap_ms)?,
            What::Order { event_seconds_max } => {
                let order = match event_seconds_max {
                    None => Order::Privacy { on: false },
                    Some(seconds) => Order::Settings(Settings {
                        privacy: false,
                        event_seconds_max: Some(*seconds),
                        ..Settings::default()
                    }),
                };
                let ordered = self.app.order(order, self.now_ms, &mut self.books);
                self.send(Who::App, ordered.map(|()| Vec::new()))?;
            }
            // The hub knows it from its first start on.
            What::Silence { .. } => {}
            What::Hours { hours } => {
                let ran = self.hub.hours(*hours, self.now_ms, &mut self.books);
                self.send(Who::Hub, ran.map(|()| Vec::new()))?;
            }
            What::OldDisk { who } => {
                for (hub, app) in self.ways.0.iter().zip(&self.ways.1) {
                    match who {
                        Who::Hub => self.books.rolled_back(hub.send, app.send),
                        _ => self.books.rolled_back(app.send, hub.send),
                    }
                }
                let (hub, app) = &self.first_disks;
                let old = if *who == Who::Hub { hub } else { app };
                let old = old.crash_clone(CrashPolicy::KeepAll, 0);
                self.stop(*who);
                self.machine(*who).disk = old;
                self.start_in(*who, 10);
            }
        }
        Ok(())
    }

    /// A message reaches the relay, which may lie about it.
    fn arrives(&mut self, who: Who, link: u64, message: Up) -> Result<(), Broken> {
        if !matches!(message, Up::Append { .. }) {
            return self.taken(who, link, message);
        }
        match self.relay.lie {
            Some(Lie::AppendLost) if self.dice.below(3) == 0 => return Ok(()),
            Some(Lie::AppendLate) if self.dice.below(3) == 0 => {
                let late_ms = self.dice.below(LATE_MS_MAX);
                self.after_ms(late_ms, Happening::Late(who, link, message));
                return Ok(());
            }
            Some(Lie::AppendTwice) => self.taken(who, link, message.clone())?,
            _ => {}
        }
        self.taken(who, link, message)
    }

    /// The relay takes a message; whoever sent it hears of it as long as that connection is there.
    fn taken(&mut self, who: Who, link: u64, message: Up) -> Result<(), Broken> {
        match self.relay.handle(who, message, &mut self.books) {
            Ok(answers) => {
                let receipt = |answer: &Answer| matches!(answer.down, Down::Receipt(_));
                if answers.iter().any(receipt) {
                    let failure = self.relay.machine.failure();
                    oracle::nothing_new(failure, "a receipt was given")?;
                }
                for answer in answers {
                    if answer.to != who || self.net.link(who).number == link {
                        self.down(answer);
                    }
                }
                Ok(())
            }
            // Refused, and nothing changed: the session ends, its client comes back.
            Err(error) if error.kind() == wal::ErrorKind::Space => {
                self.cut(who);
                self.after_ms(NO_ROOM_MS, Happening::Connect(who));
                Ok(())
            }
            Err(error) => self.ended(Who::Relay, error.to_string()),
        }
    }

    /// An event begins; gives its name.
    fn record(&mut self, pieces: &[u32], gap_ms: u64, cut: bool) -> Result<u64, Broken> {
        let name = 1_800_000_000_000 + self.number;
        let event = self.hub.event(name, self.now_ms, &mut self.books);
        self.send(Who::Hub, event.map(|()| Vec::new()))?;
        self.after_ms(
            0,
            Happening::Camera {
                name,
                pieces: pieces.to_vec(),
                next: 0,
                gap_ms,
                cut,
            },
        );
        Ok(name)
    }

    /// Covers, one after the other.
    fn cover(&mut self, left: u64, gap_ms: u64) -> Result<(), Broken> {
        let made = self.hub.cover(self.now_ms, &mut self.books);
        self.send(Who::Hub, made.map(|()| Vec::new()))?;
        if let Some(left @ 1..) = left.checked_sub(1) {
            self.after_ms(gap_ms, Happening::Cover { left, gap_ms });
        }
        Ok(())
    }

    fn camera(
        &mut self,
        name: u64,
        pieces: Vec<u32>,
        next: usize,
        gap_ms: u64,
        cut: bool,
    ) -> Result<(), Broken> {
        let Some(bytes) = pieces.get(next) else {
            let over = self.hub.event_over(name, cut, self.now_ms, &mut self.books);
            return self.send(Who::Hub, over.map(|()| Vec::new()));
        };
        let mut piece = vec![0; *bytes as usize];
        self.dice.fill(&mut piece);
        let taken = self
            .hub
            .piece(name, &piece, self.now_ms, &mut self.books)
            .map(|()| Vec::new());
        self.send(Who::Hub, taken)?;
        self.after_ms(
            gap_ms,
            Happening::Camera {
                name,
                pieces,
                next: next + 1,
                gap_ms,
                cut,
            },
        );
        Ok(())
    }

    /// Sends what a node gave, or sees to its end.
    fn send(&mut self, who: Who, result: Result<Vec<Up>, Fault>) -> Result<(), Broken> {
        match result {
            Ok(messages) => {
                let link = self.net.link(who);
                for message in messages.into_iter().filter(|_| link.up) {
                    let at_ms = self.net.arrival_ms(who, message.stream(), self.now_ms);
                    self.at(at_ms, Happening::Up(who, link.number, message));
                }
                Ok(())
            }
            Err(Fault::Broken(broken)) => Err(broken),
            Err(Fault::Ended(why)) => self.ended(who, why),
        }
    }

    fn down(&mut self, answer: Answer) {
        let link = self.net.link(answer.to);
        if link.up {
            let at_ms = self.net.arrival_ms(answer.to, answer.stream(), self.now_ms);
            self.at(at_ms, Happening::Down(link.number, answer));
        }
    }

    /// A process could not go on.
    fn ended(&mut self, who: Who, why: String) -> Result<(), Broken> {
        let machine = self.machine(who);
        if machine.is_dead() {
            return Ok(());
        }
        if !machine.is_troubled() {
            return Err(Broken::new("C7", format!("{who:?} ended by itself: {why}")));
        }
        self.stop(who);
        // The trouble may not be over: a fault that has not struck yet goes with the process.
        self.machine(who).bury();
        self.start_in(who, RESTART_MS);
        Ok(())
    }

    fn stop(&mut self, who: Who) {
        match who {
            Who::Hub => {
                self.hub.stop();
                self.cut(who);
            }
            Who::App => {
                self.app.stop();
                self.cut(who);
            }
            Who::Relay => {
                self.relay.stop();
                self.cut(Who::Hub);
                self.cut(Who::App);
            }
        }
    }

    fn cut(&mut self, who: Who) {
        self.net.cut(who);
        self.relay.forget(who);
        match who {
            Who::Hub => self.hub.disconnected(self.now_ms),
            Who::App => self.app.disconnected(self.now_ms),
            Who::Relay => {}
        }
    }

    fn reconnect_all(&mut self) {
        for who in [Who::Hub, Who::App] {
            self.cut(who);
            self.after_ms(10, Happening::Connect(who));
        }
    }

    fn connect(&mut self, who: Who) {
        let up = match who {
            Who::Hub => self.hub.is_up(),
            Who::App => self.app.is_up(),
            Who::Relay => false,
        };
        let broken = self.broken_until.get(&who).copied().unwrap_or(0) > self.now_ms;
        if up && self.relay.is_up() && !broken && !self.net.link(who).up {
            self.net.connect(who);
        }
    }

    fn start(&mut self, who: Who) -> Result<(), Broken> {
        let result = match who {
            Who::Hub if self.hub.is_up() => return Ok(()),
            Who::App if self.app.is_up() => return Ok(()),
            Who::Relay if self.relay.is_up() => return Ok(()),
            Who::Hub => self.hub.start(self.now_ms, &mut self.books),
            Who::App => self.app.start(self.now_ms, &self.books),
            Who::Relay => self.start_relay(),
        };
        match result {
            Ok(true) => {
                let who = if who == Who::Relay {
                    vec![Who::Hub, Who::App]
                } else {
                    vec![who]
                };
                for who in who {
                    self.after_ms(5, Happening::Connect(who));
                }
                Ok(())
            }
            Ok(false) => {
                self.start_in(who, NO_ROOM_MS);
                Ok(())
            }
            Err(Fault::Broken(broken)) => Err(broken),
            Err(Fault::Ended(why)) => self.ended(who, format!("at its start: {why}")),
        }
    }

    fn start_relay(&mut self) -> Result<bool, Fault> {
        match self.relay.start() {
            Ok(()) => {}
            Err(error) if error.kind() == wal::ErrorKind::Space => return Ok(false),
            Err(error) => return Err(Fault::Ended(error.to_string())),
        }
        match self.relay.check_receipts(&self.books) {
            Ok(None) => Ok(true),
            Ok(Some(mailbox)) => {
                let what = format!("the relay forgot a receipt in {}", mailbox.short());
                Err(Broken::new("C4", what).into())
            }
            Err(error) => Err(Fault::Ended(error.to_string())),
        }
    }

    /// Buries the dead, lets the living act, and sees that they are asked again in time.
    fn look_after_all(&mut self) -> Result<(), Broken> {
        for who in Who::ALL {
            if self.machine(who).is_dead() {
                self.stop(who);
                let down_ms = self.machine(who).bury();
                self.start_in(who, down_ms);
            }
        }
        for who in [Who::Hub, Who::App] {
            let up = self.net.link(who).up;
            let (now_ms, books) = (self.now_ms, &mut self.books);
            let out = match who {
                Who::Hub => self.hub.pump(up, now_ms, books),
                _ => self.app.pump(up, now_ms, books),
            };
            self.send(who, out)?;
            let deadline = match who {
                Who::Hub => self.hub.deadline_ms(),
                _ => self.app.deadline_ms(),
            };
            // What is overdue waits for a connection. Who has none for long is asked now and then only.
            let until = self.broken_until.get(&who).copied().unwrap_or(0);
            let is_long = self.long_away.contains(&who);
            let again_ms = match is_long && until > self.now_ms {
                true => ASKED_AGAIN_MS,
                false => 1,
            };
            if let Some(at_ms) = deadline {
                let at_ms = at_ms.max(self.now_ms + again_ms);
                if self.wakes.get(&who).is_none_or(|planned| *planned > at_ms) {
                    self.wakes.insert(who, at_ms);
                    self.at(at_ms, Happening::Wake(who));
                }
            }
        }
        Ok(())
    }
}
