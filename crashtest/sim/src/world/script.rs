//! Does the steps of a script: what each is, [`crate::script`] says.
//!
//! Nothing moves by itself here: no queue, no delays, and the clock stands still. A script is about the line
//! of event videos. What the hub asks the relay on the other lines is held back until the script is done;
//! an app that is told what to do one by one owes no heartbeat before. This room must never do more of a
//! step than the table says, and never less without saying that it was refused.

use std::collections::VecDeque;

use app_core::core::Delivered;
use bytes::Bytes;
use wal::Dice as _;
use wal::disk::{CrashPolicy, SimDisk};
use wire::Seq;

use super::{Happening, World};
use crate::hub::{Fault, LetsGo};
use crate::net::{Answer, Down, Up};
use crate::oracle::Broken;
use crate::plan::Who;
use crate::script::{Played, Step};

/// Bytes of each piece that the camera gives.
const PIECE_BYTES: usize = 700;
/// Envelopes that an event's first piece stages: Commit, header, chunk.
const FIRST_ENVELOPES: u64 = 3;
/// Times that hub or app and relay answer each other before one of them sends.
const ANSWERS_MAX: u32 = 8;

/// Why a step was not done.
enum Not {
    /// A core does not do it now.
    Refused(&'static str),
    /// The core did something else than the table says.
    Otherwise(String),
    Fault(Fault),
}

impl From<Fault> for Not {
    fn from(fault: Fault) -> Self {
        Not::Fault(fault)
    }
}

impl From<Broken> for Not {
    fn from(broken: Broken) -> Self {
        Not::Fault(broken.into())
    }
}

type Done = Result<(), Not>;

fn unless(good: bool, why: &'static str) -> Done {
    match good {
        true => Ok(()),
        false => Err(Not::Refused(why)),
    }
}

/// A copy of somebody's directory, and what its outbox held.
struct Copy {
    disk: SimDisk,
    last: Seq,
    row: Row,
}

/// The model's envelopes among those of the hub: each ends with the envelope that the model means (the
/// Commit, the chunk), and begins behind the one before, so that what a core stages beside it goes with
/// the next.
#[derive(Clone, Default)]
struct Row {
    ends: Vec<u64>,
    commits: Vec<u64>,
    /// The last that is staged.
    last: u64,
}

impl Row {
    fn forget_above(&mut self, last: u64) {
        self.ends.retain(|end| *end <= last);
        self.commits.retain(|commit| *commit <= last);
        self.last = last;
    }

    /// Where the model's envelope ends that this one belongs to.
    fn end_of(&self, seq: Seq) -> Option<Seq> {
        let found = self.ends.iter().find(|end| **end >= seq.0);
        found.map(|end| Seq(*end))
    }
}

/// What is held back, and what the script has done so far.
#[derive(Default)]
struct Held {
    row: Row,
    /// What the hub asked of the relay and the script has not let go.
    hub_out: VecDeque<Up>,
    /// What left the hub and the relay has not received.
    before_relay: Vec<Up>,
    /// What the relay handed to hub and app.
    hub_in: VecDeque<Answer>,
    app_in: VecDeque<(Seq, Bytes)>,
    app_out: VecDeque<Up>,
    hub_copy: Option<Copy>,
    app_copy: Option<Copy>,
    /// The start closed a clip, which stands for a chunk of the model.
    closed: bool,
    /// Names of events.
    events: u64,
}

impl World {
    /// Does the steps, heals everything, and asks the oracle. `played` says how far it came, whatever
    /// comes of it.
    ///
    /// # Errors
    /// The promise that did not hold.
    pub fn follow(mut self, script: &[Step], played: &mut Played) -> Result<(), Broken> {
        let mut held = Held::default();
        let outcome = self.steps(script, played, &mut held);
        let outcome = outcome.and_then(|whole| match whole {
            true => self.rest(&mut held),
            false => Ok(()),
        });
        outcome.map_err(|broken| self.books.nothing_forged().err().unwrap_or(broken))
    }

    /// False if a core did something else than the table says.
    fn steps(
        &mut self,
        script: &[Step],
        played: &mut Played,
        held: &mut Held,
    ) -> Result<bool, Broken> {
        self.queue.clear();
        self.starting.clear();
        self.hub.lets_go = LetsGo::Nothing;
        for who in [Who::Relay, Who::Hub, Who::App] {
            self.begins(who)?;
        }
        held.row.last = self.hub.last().unwrap_or_default().0;
        for (index, step) in script.iter().enumerate() {
            match self.step(*step, held) {
                Ok(()) => played.done += 1,
                Err(Not::Refused(why)) => played.refused.push((index, why.to_owned())),
                Err(Not::Otherwise(what)) => {
                    played.otherwise = Some((index, what));
                    return Ok(false);
                }
                Err(Not::Fault(Fault::Broken(broken))) => return Err(broken),
                Err(Not::Fault(Fault::Ended(why))) => {
                    let what = format!("in {step:?} a process ended by itself: {why}");
                    return Err(Broken::new("C7", what));
                }
            }
        }
        Ok(true)
    }

    /// Everything goes on by itself until both ends are at rest.
    fn rest(&mut self, held: &mut Held) -> Result<(), Broken> {
        *held = Held::default();
        self.hub.lets_go = LetsGo::All;
        if let Some(name) = self.hub.recording() {
            let synced = self.hub.sync(self.now_ms, &mut self.books);
            let over = synced.and_then(|()| {
                let (now_ms, books) = (self.now_ms, &mut self.books);
                self.hub.event_over(name, false, now_ms, books)
            });
            self.send(Who::Hub, over.map(|()| Vec::new()))?;
        }
        let synced = self.app.sync(self.now_ms, &mut self.books);
        self.send(Who::App, synced.map(|_under_way| Vec::new()))?;
        self.queue.clear();
        self.cut(Who::Hub);
        self.cut(Who::App);
        for who in Who::ALL {
            self.start_in(who, 10);
        }
        for who in [Who::Hub, Who::App] {
            self.after_ms(20, Happening::Connect(who));
        }
        let last_ms = self.now_ms;
        self.play(|world| world.now_ms > last_ms + 2_000)?;
        self.heal();
        self.end_of(last_ms).map(drop)
    }

    fn step(&mut self, step: Step, held: &mut Held) -> Done {
        let now_ms = self.now_ms;
        match step {
            Step::HubCommits => self.hub_commits(held),
            Step::HubSeals => self.hub_seals(held),
            Step::HubSyncs => {
                unless(self.hub.is_up(), "the hub does not run")?;
                self.hub.sync(now_ms, &mut self.books)?;
                self.is_as_the_table_says(held)
            }
            Step::HubSends => self.hub_sends(held),
            Step::HubTakes => self.hub_takes(held),
            Step::RelaySyncs => {
                unless(!held.before_relay.is_empty(), "nothing waits before it")?;
                for message in std::mem::take(&mut held.before_relay) {
                    self.relay_takes(Who::Hub, message, held)?;
                }
                Ok(())
            }
            Step::AppTakes => self.app_takes(held),
            Step::AppTakesAhead => self.app_takes_ahead(held),
            Step::AppSyncs => {
                unless(self.app.is_up(), "the app does not run")?;
                for message in self.app.sync(now_ms, &mut self.books)? {
                    self.relay_takes(Who::App, message, held)?;
                }
                Ok(())
            }
            Step::AppSpeaks => {
                unless(self.app.is_up(), "the app does not run")?;
                Ok(self.app.stage(&[], now_ms)?)
            }
            Step::AppSends => self.app_sends(held),
            other => self.fault(other, held),
        }
    }

    fn fault(&mut self, step: Step, held: &mut Held) -> Done {
        match step {
            Step::HubDies => self.dies(Who::Hub, held),
            Step::AppDies => self.dies(Who::App, held),
            Step::HubDiesUnsynced => self.dies_unsynced(Who::Hub, held),
            Step::AppDiesUnsynced => self.dies_unsynced(Who::App, held),
            Step::HubPowerCutInRecovery => self.dies_in_recovery(Who::Hub),
            Step::AppPowerCutInRecovery => self.dies_in_recovery(Who::App),
            Step::HubStarts => {
                unless(!self.hub.is_up(), "the hub runs")?;
                self.begins(Who::Hub)?;
                let last = self.hub.last().unwrap_or_default().0;
                // What it closed lies behind all that there was.
                held.closed = held.row.last < last;
                held.row.forget_above(last);
                Ok(())
            }
            Step::AppStarts => {
                unless(!self.app.is_up(), "the app runs")?;
                Ok(self.begins(Who::App)?)
            }
            Step::RelayDies => {
                held.before_relay.clear();
                self.stop(Who::Relay);
                held.hub_out.clear();
                held.app_out.clear();
                held.hub_in.clear();
                held.app_in.clear();
                self.lose_power(Who::Relay);
                Ok(self.begins(Who::Relay)?)
            }
            Step::HubIsCopied | Step::AppIsCopied => self.is_copied(step, held),
            _ => self.is_restored(step, held),
        }
    }

    /// Starts somebody now; the connections are there at once.
    fn begins(&mut self, who: Who) -> Result<(), Broken> {
        let started = match who {
            Who::Hub => self.hub.start(self.now_ms, &mut self.books),
            Who::App => self.app.start(self.now_ms, &self.books),
            Who::Relay => self.start_relay(),
        };
        match started {
            Ok(true) => Ok(()),
            Ok(false) => Err(Broken::new("C7", format!("{who:?} found no room to start"))),
            Err(Fault::Broken(broken)) => Err(broken),
            Err(Fault::Ended(why)) => {
                let what = format!("{who:?} could not start: {why}");
                Err(Broken::new("C7", what))
            }
        }
    }

    fn is_up(&self, who: Who) -> bool {
        match who {
            Who::Hub => self.hub.is_up(),
            Who::App => self.app.is_up(),
            Who::Relay => self.relay.is_up(),
        }
    }

    fn lose_power(&mut self, who: Who) {
        let machine = self.machine(who);
        machine.disk = machine.disk.crash_clone(CrashPolicy::LoseAll, 0);
        machine.deaths += 1;
    }

    /// Whoever is gone has said nothing more and hears nothing more.
    fn is_gone(&mut self, who: Who, held: &mut Held) {
        self.stop(who);
        match who {
            Who::Hub => {
                held.hub_out.clear();
                held.hub_in.clear();
                held.closed = false;
            }
            _ => {
                held.app_out.clear();
                held.app_in.clear();
            }
        }
    }

    fn dies(&mut self, who: Who, held: &mut Held) -> Done {
        unless(self.is_up(who), "it does not run")?;
        if who == Who::Hub {
            let durable = self.hub.last().unwrap_or_default().0;
            held.row.forget_above(durable);
        }
        self.is_gone(who, held);
        self.lose_power(who);
        Ok(())
    }

    fn dies_unsynced(&mut self, who: Who, held: &mut Held) -> Done {
        unless(self.is_up(who), "it does not run")?;
        let (now_ms, policy) = (self.now_ms, CrashPolicy::ProcessKill);
        self.machine(who).plan_death_at_sync(1, policy);
        let synced = match who {
            Who::Hub => self.hub.sync(now_ms, &mut self.books),
            _ => self.app.sync(now_ms, &mut self.books).map(drop),
        };
        self.died(who, synced)?;
        self.is_gone(who, held);
        self.machine(who).bury();
        Ok(())
    }

    /// It died where it was to die, and of nothing else.
    fn died(&mut self, who: Who, outcome: Result<(), Fault>) -> Done {
        match outcome {
            Err(Fault::Broken(broken)) => Err(broken.into()),
            Err(Fault::Ended(_)) if self.machine(who).is_dead() => Ok(()),
            Err(ended) => Err(ended.into()),
            Ok(()) => {
                self.machine(who).heal();
                Err(Not::Refused("there is nothing to sync"))
            }
        }
    }

    fn dies_in_recovery(&mut self, who: Who) -> Done {
        unless(!self.is_up(who), "it runs")?;
        let (now_ms, policy) = (self.now_ms, CrashPolicy::LoseAll);
        self.machine(who).plan_death_at_sync(1, policy);
        let started = match who {
            Who::Hub => self.hub.start(now_ms, &mut self.books),
            _ => self.app.start(now_ms, &self.books),
        };
        self.died(who, started.map(drop))?;
        self.stop(who);
        self.machine(who).bury();
        Ok(())
    }

    fn is_copied(&mut self, step: Step, held: &mut Held) -> Done {
        let disk = |disk: &SimDisk| disk.crash_clone(CrashPolicy::LoseAll, 0);
        if step == Step::HubIsCopied {
            let last = self.hub.last();
            let last = last.ok_or(Not::Refused("only a hub that runs is copied here"))?;
            let mut row = held.row.clone();
            row.forget_above(last.0);
            let disk = disk(&self.hub.machine.disk);
            held.hub_copy = Some(Copy { disk, last, row });
        } else {
            let last = self.app.last();
            let last = last.ok_or(Not::Refused("only an app that runs is copied here"))?;
            let disk = disk(&self.app.machine.disk);
            let row = Row::default();
            held.app_copy = Some(Copy { disk, last, row });
        }
        Ok(())
    }

    fn is_restored(&mut self, step: Step, held: &mut Held) -> Done {
        let who = match step {
            Step::HubIsRestored => Who::Hub,
            _ => Who::App,
        };
        unless(!self.is_up(who), "it runs")?;
        let copy = match who {
            Who::Hub => held.hub_copy.take(),
            _ => held.app_copy.take(),
        };
        let copy = copy.ok_or(Not::Refused("there is no copy"))?;
        let other = match who {
            Who::Hub => Who::App,
            _ => Who::Hub,
        };
        // A copy behind which nothing left is as good as what it takes the place of: so is every other line
        // of it.
        if let (Some(own), Some(other)) = (self.videos(who), self.videos(other))
            && self.books.left_through(own.send) > copy.last
        {
            self.books.rolled_back(own.send, other.send);
        }
        self.machine(who).disk = copy.disk;
        if who == Who::Hub {
            held.row = copy.row;
        }
        Ok(())
    }

    fn hub_commits(&mut self, held: &mut Held) -> Done {
        unless(self.hub.is_up(), "the hub does not run")?;
        let now_ms = self.now_ms;
        if let Some(open) = self.hub.recording() {
            self.hub.sync(now_ms, &mut self.books)?;
            let over = self.hub.event_over(open, false, now_ms, &mut self.books);
            over?;
            held.row.last = self.hub.last().unwrap_or_default().0;
        }
        held.events += 1;
        let name = 1_800_000_000_000 + held.events;
        self.hub.begin(name, now_ms)?;
        self.stage_piece(name)?;
        let commit = held.row.last + 1;
        held.row.commits.push(commit);
        held.row.ends.push(commit);
        held.row.last += FIRST_ENVELOPES;
        held.closed = false;
        Ok(())
    }

    fn hub_seals(&mut self, held: &mut Held) -> Done {
        match self.hub.recording() {
            Some(name) => {
                self.stage_piece(name)?;
                held.row.last += 1;
            }
            None => unless(std::mem::take(&mut held.closed), "no clip is open")?,
        }
        held.row.ends.push(held.row.last);
        Ok(())
    }

    fn stage_piece(&mut self, name: u64) -> Done {
        let mut piece = vec![0; PIECE_BYTES];
        self.dice.fill(&mut piece);
        let (now_ms, books) = (self.now_ms, &mut self.books);
        let taken = self.hub.stage_piece(name, &piece, now_ms, books)?;
        unless(taken == Some(true), "the hub does not record")
    }

    /// The mapping is of numbers too: what the core staged is what the table says, no more, no less.
    fn is_as_the_table_says(&self, held: &Held) -> Done {
        let last = self.hub.last().unwrap_or_default().0;
        match last == held.row.last {
            true => Ok(()),
            false => {
                let wanted = held.row.last;
                let what = format!("the core staged through {last}, the table says {wanted}");
                Err(Not::Otherwise(what))
            }
        }
    }

    /// The relay takes a message; what it says to a sender is heard at once, what it hands to a reader
    /// is held back.
    fn relay_takes(&mut self, who: Who, message: Up, held: &mut Held) -> Done {
        let answers = match self.relay.handle(who, message, &mut self.books) {
            Ok(answers) => answers,
            Err(error) => return Err(Fault::Ended(error.to_string()).into()),
        };
        for answer in answers {
            match (answer.to, &answer.down) {
                (Who::Hub, Down::Deliver(..)) => held.hub_in.push_back(answer),
                (_, Down::Deliver(seq, bytes)) => held.app_in.push_back((*seq, bytes.clone())),
                (Who::Hub, _) => {
                    let out = self.hub.handle(answer, self.now_ms, &mut self.books)?;
                    held.hub_out.extend(out);
                }
                _ => self.app.handle(answer, self.now_ms),
            }
        }
        Ok(())
    }

    /// What the hub asks of the relay on the line of its videos. The other lines ask again when the script is
    /// done: the connections are new ones then.
    fn hub_asks(&mut self, held: &mut Held) -> Done {
        let out = self.hub.pump(true, self.now_ms, &mut self.books)?;
        let videos = self.videos(Who::Hub);
        let is_of_videos =
            |message: &Up| videos.is_some_and(|way| way.is_about(message.stream().0));
        held.hub_out.extend(out.into_iter().filter(is_of_videos));
        Ok(())
    }

    /// Asks the hub until it has an envelope to send, or nothing more to ask the relay.
    fn hub_looks(&mut self, held: &mut Held) -> Done {
        for _ in 0..ANSWERS_MAX {
            if held.hub_out.iter().any(is_append) {
                return Ok(());
            }
            self.hub_asks(held)?;
            match take_first(&mut held.hub_out, asks) {
                Some(message) => self.relay_takes(Who::Hub, message, held)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    fn hub_sends(&mut self, held: &mut Held) -> Done {
        unless(self.hub.is_up(), "the hub does not run")?;
        unless(held.before_relay.is_empty(), "one waits before the relay")?;
        self.hub.lets_go = LetsGo::Through(held.row.ends.clone());
        let looked = self.hub_looks(held);
        self.hub.lets_go = LetsGo::Nothing;
        looked?;
        while let Some(message) = take_first(&mut held.hub_out, is_append) {
            held.before_relay.push(message);
        }
        let sees = !held.before_relay.is_empty() || self.hub.has_noticed();
        unless(sees, "the hub has nothing to send")
    }

    fn hub_takes(&mut self, held: &mut Held) -> Done {
        unless(self.hub.is_up(), "the hub does not run")?;
        let attaches = |message: &Up| matches!(message, Up::AttachReceive(..));
        if !held.hub_out.iter().any(attaches) {
            self.hub_asks(held)?;
        }
        while let Some(message) = take_first(&mut held.hub_out, attaches) {
            self.relay_takes(Who::Hub, message, held)?;
        }
        let next = held.hub_in.pop_front();
        let envelope = next.ok_or(Not::Refused("the relay has nothing for the hub"))?;
        let out = self.hub.handle(envelope, self.now_ms, &mut self.books)?;
        for message in out {
            self.relay_takes(Who::Hub, message, held)?;
        }
        Ok(())
    }

    /// Hands the app all that the relay has for it.
    fn app_reads(&mut self, held: &mut Held) -> Done {
        unless(self.app.is_up(), "the app does not run")?;
        let mut out = Vec::new();
        self.app.read(self.now_ms, &mut self.books, &mut out)?;
        for message in out {
            self.relay_takes(Who::App, message, held)?;
        }
        Ok(())
    }

    fn app_takes(&mut self, held: &mut Held) -> Done {
        self.app_reads(held)?;
        let first = held.app_in.front().map(|(seq, _)| *seq);
        let first = first.ok_or(Not::Refused("the relay has nothing for the app"))?;
        let end = held.row.end_of(first).unwrap_or(first);
        let mut run = Vec::new();
        while let Some((seq, bytes)) = held.app_in.pop_front_if(|(seq, _)| *seq <= end) {
            run.push(Delivered { seq, bytes });
        }
        unless(
            run.last().is_some_and(|last| last.seq == end),
            "the relay does not have all of it",
        )?;
        Ok(self.app.stage(&run, self.now_ms)?)
    }

    fn app_takes_ahead(&mut self, held: &mut Held) -> Done {
        self.app_reads(held)?;
        let first = held.app_in.front().map(|(seq, _)| *seq);
        let end = first.and_then(|first| held.row.end_of(first));
        let ahead = held.app_in.iter().find(|(seq, _)| {
            end.is_some_and(|end| *seq > end) && held.row.commits.contains(&seq.0)
        });
        let ahead = ahead.map(|(seq, bytes)| Delivered {
            seq: *seq,
            bytes: bytes.clone(),
        });
        let ahead = ahead.ok_or(Not::Refused("no Commit lies behind what is next"))?;
        Ok(self.app.stage(&[ahead], self.now_ms)?)
    }

    fn app_sends(&mut self, held: &mut Held) -> Done {
        unless(self.app.is_up(), "the app does not run")?;
        for _ in 0..ANSWERS_MAX {
            if let Some(message) = take_first(&mut held.app_out, is_append) {
                return self.relay_takes(Who::App, message, held);
            }
            let mut out = Vec::new();
            self.app.write(self.now_ms, &mut self.books, &mut out)?;
            held.app_out.extend(out);
            if let Some(message) = take_first(&mut held.app_out, asks) {
                self.relay_takes(Who::App, message, held)?;
            }
        }
        unless(self.app.has_noticed(), "the app has nothing to send")
    }
}

fn is_append(message: &Up) -> bool {
    matches!(message, Up::Append { .. })
}

/// Whether a sender asks the relay what it holds.
fn asks(message: &Up) -> bool {
    matches!(message, Up::AttachSend(_) | Up::Fetch(..))
}

/// Takes the first message of a kind out of those held back.
fn take_first(held: &mut VecDeque<Up>, wanted: impl Fn(&Up) -> bool) -> Option<Up> {
    let index = held.iter().position(wanted)?;
    held.remove(index)
}
