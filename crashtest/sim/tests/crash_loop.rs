//! Scenario 10: a hub that dies again and again before it has read its inbox.

use std::collections::VecDeque;

use crashtest_sim::app::App;
use crashtest_sim::hub::Hub;
use crashtest_sim::net::{Answer, Down, Up, Way};
use crashtest_sim::node::open_journal;
use crashtest_sim::oracle::Books;
use crashtest_sim::plan::Who;
use crashtest_sim::relay::Relay;
use crashtest_sim::run::pair;
use crashtest_sim::world::Pair;
use journal::ids::Channel;
use journal::{Role, Suite};
use wal::SeededDice;
use wal::disk::CrashPolicy;
use wire::{ReceiveId, Seq};

/// Whether the hub reads what the phone wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inbox {
    Read,
    Unread,
}

struct Stage {
    hub: Hub,
    app: App,
    relay: Relay,
    books: Books,
    now_ms: u64,
}

impl Stage {
    fn new(pair: Pair) -> Stage {
        wal::note::keep(true);
        let hub = Hub::new(pair.hub, 1, pair.ways.0);
        let app = App::new(pair.app, 2, pair.ways.1);
        let mut stage = Stage {
            hub,
            app,
            relay: Relay::new(3),
            books: Books::default(),
            now_ms: 0,
        };
        stage.relay.start().unwrap();
        stage.start_hub();
        assert!(stage.app.start(0, &stage.books).unwrap());
        stage
    }

    fn start_hub(&mut self) {
        assert!(self.hub.start(self.now_ms, &mut self.books).unwrap());
    }

    fn hub_dies(&mut self, policy: CrashPolicy, seed: u64) {
        self.hub.stop();
        self.relay.forget(Who::Hub);
        self.hub.machine.disk = self.hub.machine.disk.crash_clone(policy, seed);
    }

    fn record(&mut self, event: u64) {
        let (now_ms, books) = (self.now_ms, &mut self.books);
        self.hub.event(event, now_ms, books).unwrap();
        self.hub.piece(event, &[7; 700], now_ms, books).unwrap();
        self.hub.event_over(event, false, now_ms, books).unwrap();
    }

    /// Carries everything for so many seconds.
    fn carry(&mut self, inbox: Inbox, seconds: u32) {
        for _ in 0..seconds {
            let (now_ms, books) = (self.now_ms, &mut self.books);
            let mut ups: VecDeque<(Who, Up)> = VecDeque::new();
            let of_hub = self.hub.pump(true, now_ms, books).unwrap();
            ups.extend(of_hub.into_iter().map(|up| (Who::Hub, up)));
            let of_app = self.app.pump(true, now_ms, books).unwrap();
            ups.extend(of_app.into_iter().map(|up| (Who::App, up)));
            while let Some((who, up)) = ups.pop_front() {
                let reads = matches!(up, Up::AttachReceive(..));
                if who == Who::Hub && reads && inbox == Inbox::Unread {
                    continue;
                }
                for answer in self.relay.handle(who, up, &mut self.books).unwrap() {
                    if answer.to == Who::Hub {
                        let more = self.hub.handle(answer, now_ms, &mut self.books).unwrap();
                        ups.extend(more.into_iter().map(|up| (Who::Hub, up)));
                    } else {
                        self.app.handle(answer, now_ms);
                    }
                }
            }
            self.now_ms += 1_000;
        }
    }

    /// How many envelopes the relay keeps in a mailbox.
    fn kept(&mut self, mailbox: ReceiveId) -> usize {
        let look = Up::AttachReceive(mailbox, Seq::NONE);
        let answers = self.relay.handle(Who::App, look, &mut self.books).unwrap();
        let delivered = |answer: &&Answer| matches!(answer.down, Down::Deliver(..));
        answers.iter().filter(delivered).count()
    }
}

/// Acks wait at the relay, each in the epoch in which the phone made it, and every process of the hub
/// moves on to another epoch and dies before it has read one. Once a process lives, everything is acked
/// and trimmed, at both ends and at the relay.
#[test]
fn scenario_10_a_crash_loop_before_the_inbox_is_read_ends_acked_and_trimmed() {
    let pair = pair(Suite::Classic).unwrap();
    let video = |ways: &[Way]| {
        let way = ways
            .iter()
            .find(|way| way.line.channel == Channel::EventVideo);
        *way.unwrap()
    };
    let (hub, app) = (video(&pair.ways.0), video(&pair.ways.1));
    let (line, to_hub, to_app) = (hub.line, hub.receive, app.receive);
    let mut stage = Stage::new(pair);
    let mut event = 0;
    for round in 0..3 {
        for (index, policy) in CrashPolicy::ALL.into_iter().enumerate() {
            event += 1;
            stage.record(event);
            stage.carry(Inbox::Unread, 20);
            stage.hub_dies(policy, round * 100 + index as u64);
            stage.start_hub();
        }
    }
    assert!(!stage.hub.is_done(), "nothing was acked so far");
    assert!(stage.kept(to_hub) >= 3, "acks wait: {}", stage.kept(to_hub));
    stage.relay.forget(Who::App);
    stage.app.disconnected(stage.now_ms);

    stage.hub.disconnected(stage.now_ms);
    stage.carry(Inbox::Read, 60);
    assert!(stage.hub.is_done(), "everything is acked");
    // The phone hears that its acks arrived with the next thing that the hub says.
    stage.record(event + 1);
    stage.carry(Inbox::Read, 60);
    assert!(stage.hub.is_done(), "everything is acked");
    let held = stage.app.held().unwrap();
    assert_eq!(held.len() as u64, event + 1);
    assert!(held.iter().all(|clip| clip.whole == Some(true)));
    // The last envelope of a mailbox stays, as evidence.
    for mailbox in [to_hub, to_app] {
        assert!(stage.kept(mailbox) <= 1, "{}", stage.kept(mailbox));
    }
    let (hub, app) = (stage.hub.machine.ground(), stage.app.machine.ground());
    stage.hub.stop();
    stage.app.stop();
    for (role, ground) in [(Role::Hub, hub), (Role::App, app)] {
        let (journal, _) = open_journal(role, &ground, SeededDice(9)).unwrap();
        let head = journal.outbox_head(line).unwrap();
        match role {
            Role::Hub => assert_eq!(head.acked, head.last),
            // Each of the events had its ack; that of the last one is not answered yet.
            Role::App => assert!(head.acked >= Seq(event), "{head:?}"),
        }
        let kept = journal.outbox_next(line, Seq::NONE).unwrap();
        let kept = kept.map(|(seq, _)| seq);
        assert!(
            kept.is_none_or(|seq| seq > head.acked),
            "{role:?}: {kept:?} is acked and still stored"
        );
    }
}
