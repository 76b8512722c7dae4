//! Golden IO traces: what each step does to the disk, in order.
//!
//! A sync that goes missing, or one too many on the way to a first byte, is a difference that a
//! reviewer reads. `BLESS=1 cargo test -p crashtest-sim --test io_traces` writes the file anew. The
//! view is left out (it is never synced on the way, and RocksDB's calls are its own), and so are
//! sizes and offsets.

use std::collections::VecDeque;
use std::fmt::Write as _;

use crashtest_sim::app::App;
use crashtest_sim::hub::Hub;
use crashtest_sim::net::{Answer, Down, Up, Way};
use crashtest_sim::node::{Ground, Place, open_journal, options};
use crashtest_sim::oracle::Books;
use crashtest_sim::plan::Who;
use crashtest_sim::relay::Relay;
use crashtest_sim::rot;
use crashtest_sim::run::ways;
use crashtest_sim::world::Pair;
use journal::ids::Channel;
use journal::pairing::{AppNext, OfferTerms};
use journal::{AppPairing, HubPairing, Journal, Offer, Role, Suite};
use relay::store::{MailboxStore, Quotas};
use wal::disk::{CrashPolicy, SimDisk};
use wal::{SeededDice, Wal};
use wire::{DeviceId, Seq};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/io-traces.txt");
/// The view's files.
const VIEW: &str = "view";
/// When everything happens, in seconds since 1970, and how long an offer stands.
const NOW_S: u64 = 1_800_000_000;
const TTL_S: u64 = 600;
/// Who pairs.
const PHONE: DeviceId = DeviceId([2; 32]);
/// Pieces that nearly fill a log file, those that go on in the next one, and their size in bytes.
const FILLING: (u64, u64, usize) = (9, 4, 40_000);

struct Stage {
    hub: Hub,
    app: App,
    relay: Relay,
    books: Books,
    now_ms: u64,
    text: String,
    /// The phone's lines.
    ways: Vec<Way>,
}

/// The operations of a step. Files are numbered in the order in which the step meets them, because
/// which of the spare ones is taken next is nobody's promise.
fn told(disk: &SimDisk) -> String {
    let mut names: Vec<String> = Vec::new();
    let mut lines: Vec<(String, u32)> = Vec::new();
    for op in disk.trace() {
        if op.path.starts_with(VIEW) {
            continue;
        }
        let mut name = op.path.clone();
        if name.is_empty() {
            name.push('.');
        }
        if name.chars().any(|c| c.is_ascii_digit()) {
            let known = names.iter().position(|known| *known == op.path);
            let number = known.unwrap_or_else(|| {
                names.push(op.path.clone());
                names.len() - 1
            });
            let kind: String = op.path.chars().filter(|c| !c.is_ascii_hexdigit()).collect();
            name = format!("{kind} #{}", number + 1);
        }
        let line = format!("{:<9} {name}", op.kind);
        match lines.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => lines.push((line, 1)),
        }
    }
    let mut text = String::new();
    for (line, count) in lines {
        let times = if count > 1 {
            format!("  (x{count})")
        } else {
            String::new()
        };
        writeln!(text, "  {line}{times}").unwrap();
    }
    if text.is_empty() {
        "  nothing\n".to_owned()
    } else {
        text
    }
}

/// Does something and writes down what it did to a disk.
fn traced<T>(
    text: &mut String,
    disk: &SimDisk,
    who: Who,
    name: &str,
    act: impl FnOnce() -> T,
) -> T {
    disk.record_trace();
    let result = act();
    writeln!(text, "{who:?}: {name}\n{}", told(disk)).unwrap();
    result
}

fn ground(disk: &SimDisk) -> Ground {
    Ground::new(Place::Simulated(disk.clone()))
}

fn offered(hub: &mut Journal) -> Offer {
    let terms = OfferTerms {
        hub: DeviceId([1; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite: Suite::Classic,
        ttl_s: TTL_S,
    };
    HubPairing::offer(hub, terms, NOW_S).unwrap().into_inner()
}

/// Offers that come to nothing.
fn offers(text: &mut String) {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let (mut hub, _) = open_journal(Role::Hub, &ground(&hub_disk), SeededDice(3)).unwrap();
    let (mut app, _) = open_journal(Role::App, &ground(&app_disk), SeededDice(4)).unwrap();
    let offer = offered(&mut hub);
    traced(text, &hub_disk, Who::Hub, "an offer is called off", || {
        drop(HubPairing::end(&mut hub, offer.offer).unwrap());
    });
    drop(offered(&mut hub));
    traced(text, &hub_disk, Who::Hub, "an offer expires", || {
        HubPairing::expire(&mut hub, NOW_S + TTL_S).unwrap();
    });
    let offer = offered(&mut hub);
    drop(AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap());
    traced(text, &app_disk, Who::App, "it gives an offer up", || {
        drop(AppPairing::end(&mut app, offer.offer).unwrap());
    });
    let offer = offered(&mut hub);
    drop(AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap());
    traced(text, &app_disk, Who::App, "an offer expires", || {
        AppPairing::expire(&mut app, NOW_S + TTL_S).unwrap();
    });
    HubPairing::expire(&mut hub, NOW_S + TTL_S).unwrap();
}

/// First starts, and all steps of a pairing.
fn pairing(text: &mut String) -> Pair {
    let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
    let mut hub = traced(
        text,
        &hub_disk,
        Who::Hub,
        "a first start on an empty directory",
        || {
            open_journal(Role::Hub, &ground(&hub_disk), SeededDice(1))
                .unwrap()
                .0
        },
    );
    let mut app = traced(
        text,
        &app_disk,
        Who::App,
        "a first start on an empty directory",
        || {
            open_journal(Role::App, &ground(&app_disk), SeededDice(2))
                .unwrap()
                .0
        },
    );
    let offer = traced(text, &hub_disk, Who::Hub, "it makes an offer", || {
        offered(&mut hub)
    });
    let next = traced(
        text,
        &app_disk,
        Who::App,
        "it takes the code and makes its request",
        || AppPairing::start(&mut app, &offer, PHONE, NOW_S).unwrap(),
    );
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new pairing begins with a request");
    };
    let answer = traced(
        text,
        &hub_disk,
        Who::Hub,
        "it answers a request: five new groups",
        || HubPairing::request(&mut hub, &request, request.device(), NOW_S).unwrap(),
    );
    let confirm = traced(
        text,
        &app_disk,
        Who::App,
        "it takes the answer and joins",
        || AppPairing::answer(&mut app, &offer, &answer, NOW_S).unwrap(),
    );
    let done = traced(
        text,
        &hub_disk,
        Who::Hub,
        "it takes the proof: the phone is paired, and the offer is over",
        || HubPairing::confirm(&mut hub, &confirm).unwrap(),
    );
    let pairing = traced(
        text,
        &app_disk,
        Who::App,
        "it hears that it is paired",
        || AppPairing::done(&mut app, &offer, &done).unwrap(),
    );
    let pairing = pairing.into_inner();

    let ways = (ways(&hub, pairing).unwrap(), ways(&app, pairing).unwrap());
    drop((hub, app));
    Pair {
        hub: hub_disk,
        app: app_disk,
        ways,
    }
}

/// What a relay stores of those whom it lets in, beside their mailboxes.
fn admission(text: &mut String) {
    let disk = SimDisk::new();
    let (watched, view) = ground(&disk).parts();
    let dice = Box::new(SeededDice(6));
    let (wal, report) = Wal::open(watched, view, dice, options()).unwrap();
    let mut store = MailboxStore::new(wal, &report, Quotas::default()).unwrap();
    drop(store.commit().unwrap());
    let step = "an invitation is made for a hub: it is counted";
    traced(text, &disk, Who::Relay, step, || {
        let counted = store.count_invitation(DeviceId([1; 32]), NOW_S / 86_400);
        let counted = counted.unwrap().unwrap();
        drop(store.commit().unwrap().redeem(counted));
    });
    let step = "a phone redeems an invitation";
    traced(text, &disk, Who::Relay, step, || {
        let used = store.redeem(DeviceId([2; 32]), &[9; 16], NOW_S + TTL_S, NOW_S);
        let used = used.unwrap().unwrap();
        drop(store.commit().unwrap().redeem(used));
    });
}

impl Stage {
    fn new() -> Stage {
        // The books want to know where in the ratchets each envelope lies.
        wal::note::keep(true);
        let mut text = String::new();
        let pair = pairing(&mut text);
        offers(&mut text);
        admission(&mut text);
        let hub = Hub::new(pair.hub, 1, pair.ways.0);
        let app = App::new(pair.app, 2, pair.ways.1.clone());
        Stage {
            hub,
            app,
            relay: Relay::new(3),
            books: Books::default(),
            now_ms: 0,
            text,
            ways: pair.ways.1,
        }
    }

    fn disk(&self, who: Who) -> SimDisk {
        match who {
            Who::Hub => self.hub.machine.disk.clone(),
            Who::Relay => self.relay.machine.disk.clone(),
            Who::App => self.app.machine.disk.clone(),
        }
    }

    /// Does something and writes down what it did to the disk of `who`.
    fn step<T>(&mut self, who: Who, name: &str, act: impl FnOnce(&mut Stage) -> T) -> T {
        let disk = self.disk(who);
        let mut text = String::new();
        let result = traced(&mut text, &disk, who, name, || act(self));
        self.text.push_str(&text);
        result
    }

    fn start(&mut self, who: Who) {
        let started = match who {
            Who::Hub => self.hub.start(self.now_ms, &mut self.books).unwrap(),
            Who::App => self.app.start(self.now_ms, &self.books).unwrap(),
            Who::Relay => self.relay.start().map(|()| true).unwrap(),
        };
        assert!(started);
    }

    /// The process is killed; its machine goes on.
    fn kill(&mut self, who: Who) {
        let machine = match who {
            Who::Hub => {
                self.hub.stop();
                &mut self.hub.machine
            }
            Who::App => {
                self.app.stop();
                &mut self.app.machine
            }
            Who::Relay => {
                self.relay.stop();
                &mut self.relay.machine
            }
        };
        machine.disk = machine.disk.crash_clone(CrashPolicy::ProcessKill, 1);
    }

    fn pump(&mut self, who: Who) -> Vec<Up> {
        let out = match who {
            Who::Hub => self.hub.pump(true, self.now_ms, &mut self.books),
            _ => self.app.pump(true, self.now_ms, &mut self.books),
        };
        out.unwrap()
    }

    fn relay_takes(&mut self, who: Who, up: Up) -> Vec<Answer> {
        self.relay.handle(who, up, &mut self.books).unwrap()
    }

    fn handle(&mut self, answer: Answer) -> Vec<Up> {
        match answer.to {
            Who::Hub => {
                let taken = self.hub.handle(answer, self.now_ms, &mut self.books);
                taken.unwrap()
            }
            _ => {
                self.app.handle(answer, self.now_ms);
                Vec::new()
            }
        }
    }

    /// What an end has to say now reaches the relay, whose answers reach their ends; gives the envelopes that
    /// it hands out.
    fn carry_from(&mut self, who: Who) -> Vec<Answer> {
        let mut ups = VecDeque::from(self.pump(who));
        let mut handed_out = Vec::new();
        while let Some(up) = ups.pop_front() {
            for answer in self.relay_takes(who, up) {
                match answer.down {
                    Down::Deliver(..) => handed_out.push(answer),
                    _ => drop(self.handle(answer)),
                }
            }
        }
        handed_out
    }

    /// All steps of a heartbeat, with nothing being recorded.
    fn heartbeat(&mut self) {
        let nothing = self.carry_from(Who::App);
        assert!(nothing.is_empty(), "nothing was sent so far");
        self.app.want_heartbeat();
        let step = "it says a heartbeat and proposes new keys on all lines";
        let attaches = self.step(Who::App, step, |stage| stage.pump(Who::App));
        for up in attaches {
            for answer in self.relay_takes(Who::App, up) {
                self.handle(answer);
            }
        }
        self.carry_from(Who::App);
        let channel = |stage: &Stage, answer: &Answer| {
            let way = stage.ways.iter().find(|way| way.is_about(answer.mailbox));
            way.unwrap().line.channel
        };
        let mut trims = Vec::new();
        for answer in self.carry_from(Who::Hub) {
            let Down::Deliver(seq, _) = answer.down else {
                continue;
            };
            // The idle lines are alike: one stands for all.
            let name = match (channel(self, &answer), seq) {
                (Channel::Config, Seq(1)) => "it takes what a heartbeat says",
                (Channel::Config, _) => {
                    "it takes new keys: Commit, answer, used-up ratchet and rotation"
                }
                (Channel::Livestream, _) => {
                    "it takes new keys of an idle line: Commit and rotation"
                }
                _ => {
                    trims.extend(self.handle(answer));
                    continue;
                }
            };
            trims.extend(self.step(Who::Hub, name, |stage| stage.handle(answer)));
        }
        for trim in trims {
            self.relay_takes(Who::Hub, trim);
        }
        // It attaches, then it sends.
        self.carry_from(Who::Hub);
        self.carry_from(Who::Hub);
        let handed_out = self.carry_from(Who::Hub);
        assert!(handed_out.is_empty());
        self.app.disconnected(self.now_ms);
        let mut handed_out = self.carry_from(Who::App);
        handed_out.retain(|answer| {
            let is_idle = channel(self, answer) == Channel::Livestream;
            if !is_idle {
                self.app.handle(answer.clone(), self.now_ms);
            }
            is_idle
        });
        let step = "it takes a Commit that took its new keys";
        let ups = self.step(Who::App, step, |stage| {
            for answer in handed_out {
                stage.handle(answer);
            }
            stage.pump(Who::App)
        });
        for up in ups {
            for answer in self.relay_takes(Who::App, up) {
                self.handle(answer);
            }
        }
        assert!(self.app.has_healed(0));
        self.carry();
        self.relay.forget(Who::Hub);
        self.relay.forget(Who::App);
        self.hub.disconnected(self.now_ms);
        self.app.disconnected(self.now_ms);
    }

    /// Carries everything to and fro until all is acked; what an ack waits for comes too.
    fn carry(&mut self) {
        for _ in 0..1_000 {
            let mut ups: VecDeque<(Who, Up)> = VecDeque::new();
            for who in [Who::Hub, Who::App] {
                ups.extend(self.pump(who).into_iter().map(|up| (who, up)));
            }
            while let Some((who, up)) = ups.pop_front() {
                for answer in self.relay_takes(who, up) {
                    let to = answer.to;
                    let more = self.handle(answer);
                    ups.extend(more.into_iter().map(|up| (to, up)));
                }
            }
            if self.hub.is_done() {
                return;
            }
            self.now_ms += 1_000;
        }
        panic!("the ends did not come into step: {}", self.hub.what_waits());
    }

    fn piece(&mut self, event: u64, bytes: usize) {
        let bytes = vec![7; bytes];
        let taken = self.hub.piece(event, &bytes, self.now_ms, &mut self.books);
        taken.unwrap();
    }

    fn event(&mut self, event: u64) {
        self.hub.event(event, self.now_ms, &mut self.books).unwrap();
    }

    fn event_over(&mut self, event: u64) {
        let over = self
            .hub
            .event_over(event, false, self.now_ms, &mut self.books);
        over.unwrap();
    }
}

/// All steps of one conversation.
fn traces() -> String {
    let mut stage = Stage::new();
    stage.step(Who::Relay, "a start on an empty directory", |stage| {
        stage.start(Who::Relay)
    });
    stage.step(Who::Hub, "a start after the pairing", |stage| {
        stage.start(Who::Hub)
    });
    stage.step(Who::App, "a start after the pairing", |stage| {
        stage.start(Who::App)
    });
    stage.heartbeat();
    stage.step(Who::Hub, "an event begins: a new epoch", |stage| {
        stage.event(1)
    });
    stage.step(Who::Hub, "its first piece is sealed", |stage| {
        stage.piece(1, 2_000)
    });
    stage.step(Who::Hub, "a further piece is sealed", |stage| {
        stage.piece(1, 2_000)
    });

    let ups = stage.step(Who::Hub, "it attaches to the relay", |stage| {
        stage.pump(Who::Hub)
    });
    for up in ups {
        for answer in stage.relay_takes(Who::Hub, up) {
            stage.handle(answer);
        }
    }
    let ups = stage.step(Who::Hub, "it sends what is durable", |stage| {
        stage.pump(Who::Hub)
    });
    let mut appends = ups.into_iter().filter(|up| matches!(up, Up::Append { .. }));
    let first = appends.next().unwrap();
    let answers = stage.step(
        Who::Relay,
        "it stores an envelope and gives a receipt",
        |stage| stage.relay_takes(Who::Hub, first),
    );
    stage.step(Who::Hub, "it takes the receipt", |stage| {
        for answer in answers {
            stage.handle(answer);
        }
    });
    for up in appends {
        stage.relay_takes(Who::Hub, up);
    }

    let mut delivered = Vec::new();
    for up in stage.pump(Who::App) {
        for answer in stage.relay_takes(Who::App, up) {
            if matches!(answer.down, Down::Deliver(..)) {
                delivered.push(answer);
            } else {
                stage.handle(answer);
            }
        }
    }
    stage.step(Who::App, "it takes a Commit and two pieces", |stage| {
        for answer in delivered {
            stage.handle(answer);
        }
        stage.pump(Who::App)
    });
    stage.step(
        Who::Hub,
        "the event ends: trailer, used-up ratchet and rotation",
        |stage| {
            stage.event_over(1);
        },
    );
    stage.step(
        Who::App,
        "it takes the clip's end and sends its ack",
        Stage::carry,
    );
    stage.now_ms += 10_000;

    stage.event(2);
    stage.piece(2, 500);
    stage.event_over(2);
    stage.step(Who::Hub, "it takes an ack and trims", Stage::carry);
    stage.event(3);
    stage.piece(3, 500);
    stage.event_over(3);
    stage.step(Who::Relay, "it stores, hands out and trims", Stage::carry);

    stage.event(4);
    for _ in 0..FILLING.0 {
        stage.piece(4, FILLING.2);
    }
    stage.step(
        Who::Hub,
        "pieces that go on in the next log file: a checkpoint",
        |stage| {
            for _ in 0..FILLING.1 {
                stage.piece(4, FILLING.2);
            }
        },
    );
    stage.kill(Who::Hub);
    stage.step(
        Who::Hub,
        "a start after a kill in the middle of an event",
        |stage| {
            stage.start(Who::Hub);
        },
    );
    stage.kill(Who::Relay);
    stage.step(Who::Relay, "a start after a kill", |stage| {
        stage.start(Who::Relay)
    });
    stage.hub.disconnected(stage.now_ms);
    stage.app.disconnected(stage.now_ms);
    stage.kill(Who::App);
    stage.step(Who::App, "a start after a kill", |stage| {
        stage.start(Who::App)
    });
    stage.carry();

    stage.event(5);
    stage.piece(5, 500);
    stage.event_over(5);
    for up in stage.pump(Who::Hub) {
        for answer in stage.relay_takes(Who::Hub, up) {
            stage.handle(answer);
        }
    }
    for up in stage.pump(Who::App) {
        let answers = match up {
            Up::Trim(..) => stage.step(Who::Relay, "it trims what the phone holds", |stage| {
                stage.relay_takes(Who::App, up)
            }),
            other => stage.relay_takes(Who::App, other),
        };
        for answer in answers {
            stage.handle(answer);
        }
    }
    stage.carry();
    stage.step(Who::App, "a clip is deleted, and its key", |stage| {
        stage.app.delete(5).unwrap();
    });

    stage.event(6);
    // As many pieces as the rot chooses among, each too large to lie in the view as well.
    for _ in 0..3 {
        stage.piece(6, 40_000);
    }
    stage.event_over(6);
    stage.books.rotted = true;
    rot::payload(&stage.disk(Who::Hub), &mut SeededDice(8)).unwrap();
    let ups = stage.step(
        Who::Hub,
        "it meets a damaged envelope: its clip is dropped by a statement",
        |stage| {
            let mut ups = stage.pump(Who::Hub);
            // What nobody waits for is committed with the next tick.
            stage.now_ms += 6_000;
            ups.extend(stage.pump(Who::Hub));
            ups
        },
    );
    assert!(stage.books.events[&6].dropped, "the damage was not met");
    for up in ups {
        for answer in stage.relay_takes(Who::Hub, up) {
            stage.handle(answer);
        }
    }
    stage.step(Who::App, "it takes the statement", |stage| {
        stage.pump(Who::App)
    });
    stage.hub.disconnected(stage.now_ms);
    stage.app.disconnected(stage.now_ms);
    stage.carry();
    stage.text
}

#[test]
fn every_step_does_to_the_disk_what_was_reviewed() {
    let now = traces();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(GOLDEN, &now).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    if now != golden {
        let place = golden
            .lines()
            .zip(now.lines())
            .position(|(old, new)| old != new);
        let from = place.unwrap_or_default().saturating_sub(6);
        let shown = |text: &str| {
            text.lines()
                .skip(from)
                .take(14)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "the IO of a step has changed; read why, then BLESS=1.\n--- was\n{}\n--- is\n{}",
            shown(&golden),
            shown(&now)
        );
    }
}
