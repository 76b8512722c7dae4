//! Hub, relay and app as the simulation runs them, with a network that is a function.

use std::collections::VecDeque;

use crashtest_sim::app::App;
use crashtest_sim::hub::Hub;
use crashtest_sim::net::{Answer, Down, Up, Way};
use crashtest_sim::oracle::Books;
use crashtest_sim::plan::Who;
use crashtest_sim::relay::Relay;
use crashtest_sim::world::Pair;
use wal::disk::{CrashPolicy, SimDisk};

use crate::told::traced;

/// The three, and what was written down so far.
pub(crate) struct Stage {
    pub(crate) hub: Hub,
    pub(crate) app: App,
    pub(crate) relay: Relay,
    pub(crate) books: Books,
    pub(crate) now_ms: u64,
    pub(crate) text: String,
    /// The phone's lines.
    pub(crate) ways: Vec<Way>,
}

impl Stage {
    /// A pair that begins its conversation; its steps come after `text`.
    pub(crate) fn new(pair: Pair, text: String) -> Stage {
        let (hub_ways, ways) = pair.ways;
        let hub = Hub::new(pair.hub, 1, hub_ways);
        let app = App::new(pair.app, 2, ways.clone());
        Stage {
            hub,
            app,
            relay: Relay::new(3),
            books: Books::default(),
            now_ms: 0,
            text,
            ways,
        }
    }

    pub(crate) fn disk(&self, who: Who) -> SimDisk {
        match who {
            Who::Hub => self.hub.machine.disk.clone(),
            Who::Relay => self.relay.machine.disk.clone(),
            Who::App => self.app.machine.disk.clone(),
        }
    }

    /// Does something and writes down what it did to the disk of `who`.
    pub(crate) fn step<T>(&mut self, who: Who, name: &str, act: impl FnOnce(&mut Stage) -> T) -> T {
        let disk = self.disk(who);
        let mut text = String::new();
        let result = traced(&mut text, &disk, who, name, || act(self));
        self.text.push_str(&text);
        result
    }

    pub(crate) fn start(&mut self, who: Who) {
        let started = match who {
            Who::Hub => self.hub.start(self.now_ms, &mut self.books).unwrap(),
            Who::App => self.app.start(self.now_ms, &self.books).unwrap(),
            Who::Relay => self.relay.start().map(|()| true).unwrap(),
        };
        assert!(started);
    }

    /// The process is killed; its machine goes on.
    pub(crate) fn kill(&mut self, who: Who) {
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

    pub(crate) fn pump(&mut self, who: Who) -> Vec<Up> {
        let out = match who {
            Who::Hub => self.hub.pump(true, self.now_ms, &mut self.books),
            _ => self.app.pump(true, self.now_ms, &mut self.books),
        };
        out.unwrap()
    }

    pub(crate) fn relay_takes(&mut self, who: Who, up: Up) -> Vec<Answer> {
        self.relay.handle(who, up, &mut self.books).unwrap()
    }

    pub(crate) fn handle(&mut self, answer: Answer) -> Vec<Up> {
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

    /// What an end has to say now reaches the relay, whose answers reach their ends; gives the envelopes
    /// that it hands out.
    pub(crate) fn carry_from(&mut self, who: Who) -> Vec<Answer> {
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

    /// Carries everything to and fro until all is acked; what an ack waits for comes too.
    pub(crate) fn carry(&mut self) {
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

    pub(crate) fn piece(&mut self, event: u64, bytes: usize) {
        let bytes = vec![7; bytes];
        let taken = self.hub.piece(event, &bytes, self.now_ms, &mut self.books);
        taken.unwrap();
    }

    pub(crate) fn event(&mut self, event: u64) {
        self.hub.event(event, self.now_ms, &mut self.books).unwrap();
    }

    pub(crate) fn event_over(&mut self, event: u64) {
        let over = self
            .hub
            .event_over(event, false, self.now_ms, &mut self.books);
        over.unwrap();
    }
}
