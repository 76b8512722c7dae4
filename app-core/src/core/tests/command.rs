//! Commands at the phone: stored before they are sent, one at a time, said again when they were overtaken, and
//! done once, whatever crashes.

use std::collections::BTreeSet;

use bytes::Bytes;
use journal::ids::{Channel, Line};
use journal::message::{
    self, AppConfigMessage, CommandKind, CommandResult, HubConfigMessage, Outcome, Settings,
    SettingsDoc,
};
use journal::{Committer, Journal, JournalError, Received, Role, Session, Taken, Takes};
use wal::disk::{CrashPolicy, SimDisk};
use wire::Seq;

use super::super::*;
use crate::testing::{NOW_MS, deliver, open_core, open_journal, paired, tick};

/// A hub that obeys: every command makes the next version of its settings.
struct Camera {
    journal: Journal,
    config: Line,
}

impl Camera {
    fn open(disk: &SimDisk, config: Line, seed: u64) -> Self {
        let journal = open_journal(Role::Hub, disk, seed).unwrap();
        Self { journal, config }
    }

    fn version(&self) -> u64 {
        self.journal.settings().unwrap().version
    }

    /// Takes what the phone has said in the config channel; a command is done and answered at once.
    fn listen(&mut self, core: &Core) -> Vec<Received> {
        let line = self.config;
        let mut session = Session::<Committer>::new(line);
        let mut all = Vec::new();
        let mut at = self.journal.inbox_head(line).unwrap().cursor;
        while let Some((seq, envelope)) = core.next_envelope(line, at).unwrap() {
            let mut txn = self.journal.begin();
            let takes = Takes::MessagesAndProposals;
            let arrived = session.receive(&mut txn, seq, envelope.as_bytes(), takes);
            let received = arrived.unwrap().received;
            if let Received::Message(bytes) = &received {
                match message::decode(bytes).unwrap() {
                    AppConfigMessage::Command(command) => {
                        let doc = SettingsDoc {
                            version: txn.settings().unwrap().version + 1,
                            made_by: Some(command.id),
                            settings: Settings::default(),
                        };
                        txn.put_settings(&doc).unwrap();
                        let id = command.id;
                        let result = CommandResult::Changed(doc);
                        let outcome = HubConfigMessage::Outcome(Outcome { id, result });
                        session.say(&mut txn, &[outcome]).unwrap();
                    }
                    AppConfigMessage::Ack { through, .. } => {
                        session.take_ack(&mut txn, Seq(through)).unwrap();
                    }
                    AppConfigMessage::Heartbeat(_) => {}
                }
            }
            if let Received::Healed(_) = &received {
                session.close(&mut txn).unwrap();
            }
            drop(txn.commit(()).unwrap());
            all.push(received);
            at = seq;
        }
        all
    }

    /// An epoch that no phone has asked for.
    fn tell(&mut self) {
        let mut txn = self.journal.begin();
        let doc = txn.settings().unwrap();
        let mut session = Session::<Committer>::new(self.config);
        let told = session.say(&mut txn, &[HubConfigMessage::Settings(doc)]);
        drop(txn.commit(told.unwrap()).unwrap());
    }

    /// What the phone has not taken.
    fn outgoing(&self, core: &Core) -> Vec<Delivered> {
        let mut out = Vec::new();
        let mut at = core.cursor(self.config).unwrap();
        while let Some((seq, envelope)) = self.journal.outbox_next(self.config, at).unwrap() {
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            out.push(Delivered { seq, bytes });
            at = seq;
        }
        out
    }
}

/// A phone, its hub, and the disks of both.
fn world() -> (Camera, SimDisk, Core, SimDisk) {
    let (hub, disk) = paired();
    let config = Line::of(hub.line().pairing, Channel::Config);
    let camera = Camera {
        journal: hub.journal,
        config,
    };
    (camera, hub.disk, open_core(&disk, 3), disk)
}

fn order(core: &mut Core, config: Line, order: Order) -> bool {
    let ordered = core.stage_order(config.pairing, order, NOW_MS).unwrap();
    let committed = core.commit().unwrap();
    match ordered {
        Ordered::Taken(staged) => drop(committed.redeem(staged)),
        Ordered::Full => return false,
        Ordered::NoSuchHub => panic!("it is paired"),
    }
    true
}

fn send(core: &mut Core, config: Line) -> Option<CommandSent> {
    let staged = core.stage_command(config.pairing, NOW_MS).unwrap();
    let committed = core.commit().unwrap();
    staged.map(|staged| committed.redeem(staged).into_inner())
}

/// The next command goes to the hub, and what the hub says comes back.
fn talk(core: &mut Core, camera: &mut Camera) -> Run {
    let _sent = send(core, camera.config);
    let _received = camera.listen(core);
    let run = camera.outgoing(core);
    let run = deliver(core, camera.config, &run, 10);
    assert!(run.halt.is_none(), "{:?}", run.halt);
    run
}

fn book(core: &mut Core, config: Line) -> journal::CommandBook {
    core.journal().commands(config.pairing).unwrap()
}

#[test]
fn commands_go_one_at_a_time_and_each_is_answered() {
    let (mut camera, _, mut core, disk) = world();
    let config = camera.config;
    assert_eq!(send(&mut core, config), None, "there is none");
    let syncs = disk.totals().1;
    assert!(order(&mut core, config, Order::Privacy { on: true }));
    assert_eq!(disk.totals().1, syncs + 1);
    assert!(order(&mut core, config, Order::Restart));
    assert!(send(&mut core, config).is_some());
    assert_eq!(send(&mut core, config), None, "the second waits");
    let run = talk(&mut core, &mut camera);
    assert!(
        run.facts
            .iter()
            .any(|fact| matches!(fact.taken, Taken::CommandDone(_)))
    );
    assert!(run.ack.is_some(), "an ack is due with the Commit");
    let _run = talk(&mut core, &mut camera);
    assert_eq!(camera.version(), 2);
    let book = book(&mut core, config);
    assert!(book.pending.is_empty());
    let kinds: Vec<_> = book.done.iter().map(|done| done.kind.clone()).collect();
    let given = [CommandKind::Privacy { on: true }, CommandKind::Restart];
    assert_eq!(kinds, given);
    assert_eq!(book.settings.version, 2);
}

/// The next process goes on where this one stopped: what waits is stored, and what is on its way is not said
/// twice.
#[test]
fn a_start_knows_what_waits_and_what_is_on_its_way() {
    let (mut camera, _, mut core, disk) = world();
    let config = camera.config;
    assert!(order(&mut core, config, Order::Restart));
    drop(core);
    let mut core = open_core(&disk, 4);
    let sent = send(&mut core, config);
    assert!(sent.is_some());
    drop(core);
    let mut core = open_core(&disk, 5);
    assert_eq!(send(&mut core, config), None);
    let _run = talk(&mut core, &mut camera);
    assert_eq!(camera.version(), 1);
    assert_eq!(book(&mut core, config).done.len(), 1);
}

#[test]
fn scenario_10_what_an_epoch_overtook_is_encrypted_again_under_the_same_identifier() {
    let (mut camera, _, mut core, _disk) = world();
    let config = camera.config;
    assert!(order(&mut core, config, Order::Restart));
    for round in 1..=3 {
        let sent = send(&mut core, config);
        assert!(sent.is_some(), "round {round}");
        camera.tell();
        let received = camera.listen(&core);
        let stale = received.iter().any(|one| matches!(one, Received::Stale));
        assert!(stale, "{received:?}");
        assert_eq!(send(&mut core, config), None, "nobody knows it here yet");
        let run = camera.outgoing(&core);
        drop(deliver(&mut core, config, &run, 10));
        let book = book(&mut core, config);
        let waits = &book.pending[0];
        assert_eq!((waits.sent, waits.times), (None, round));
        assert_eq!(waits.id, sent.unwrap().id);
        assert_eq!(camera.version(), 0);
    }
    let _run = talk(&mut core, &mut camera);
    assert_eq!(camera.version(), 1);
    let book = book(&mut core, config);
    assert_eq!((book.pending.len(), book.done.len()), (0, 1));
}

/// Scenario 11: new keys make the line mute, so what the owner orders while the hub is away, to remove a lost phone say,
/// waits for the hub's Commit, which takes them.
#[test]
fn scenario_11_a_command_waits_while_new_keys_wait_for_the_hub() {
    let (mut camera, _, mut core, _disk) = world();
    let config = camera.config;
    let level = BTreeSet::from(Line::all(config.pairing));
    let staged = core.stage_heartbeat(config.pairing, &level, NOW_MS);
    let staged = staged.unwrap();
    drop(core.commit().unwrap().redeem(staged));
    assert!(order(&mut core, config, Order::Restart));
    assert_eq!(send(&mut core, config), None);
    let received = camera.listen(&core);
    assert!(matches!(received.last(), Some(Received::Healed(_))));
    let run = camera.outgoing(&core);
    drop(deliver(&mut core, config, &run, 10));
    assert!(send(&mut core, config).is_some());
    let _run = talk(&mut core, &mut camera);
    assert_eq!(camera.version(), 1);
}

/// A heartbeat that is due goes before the next command, or commands without end would leave none. Behind one that
/// was just sent it would be stale: it waits half a minute, and no longer for a hub that is away. The launch still owes
/// it meanwhile.
#[test]
fn a_heartbeat_goes_before_the_next_command_and_not_beside_one_that_was_sent() {
    let (camera, _, mut core, _disk) = world();
    let config = camera.config;
    let sight = Sight {
        level: BTreeSet::from(Line::all(config.pairing)),
        ..Sight::default()
    };
    let launch = Launch::ByPerson(BTreeSet::new());
    let look = |core: &mut Core, now_unix_ms| core.look(&sight, &launch, now_unix_ms).unwrap();
    let here = [config.pairing];
    assert_eq!(look(&mut core, NOW_MS).due, here);
    assert!(order(&mut core, config, Order::Restart));
    let found = look(&mut core, NOW_MS);
    assert_eq!((found.orders, found.due), (vec![], here.to_vec()));
    assert!(send(&mut core, config).is_some());
    for now_unix_ms in [NOW_MS, NOW_MS + 29_999] {
        let found = look(&mut core, now_unix_ms);
        assert!(found.orders.is_empty() && found.due.is_empty());
        assert!(found.idle.is_empty(), "the launch is not over");
    }
    let found = look(&mut core, NOW_MS + 30_000);
    assert_eq!((found.orders, found.due), (vec![], here.to_vec()));
}

/// A command asks for its own line alone to be level.
#[test]
fn a_command_is_not_held_up_by_another_line() {
    let (camera, _, mut core, _disk) = world();
    let config = camera.config;
    assert!(order(&mut core, config, Order::Restart));
    let mut orders = |level: &BTreeSet<Line>| {
        let sight = Sight {
            level: level.clone(),
            ..Sight::default()
        };
        let look = core.look(&sight, &Launch::ByScheduler, NOW_MS);
        look.unwrap().orders
    };
    assert!(orders(&BTreeSet::new()).is_empty());
    assert_eq!(orders(&BTreeSet::from([config])), [config.pairing]);
    assert!(core.waits_for_hub(config).is_ok_and(|waits| !waits));
    assert!(send(&mut core, config).is_some());
    assert!(core.waits_for_hub(config).unwrap());
}

#[test]
fn no_more_wait_than_may_and_a_stranger_is_no_hub() {
    let (camera, _, mut core, _disk) = world();
    let config = camera.config;
    for _ in 0..journal::COMMANDS_PENDING_MAX {
        assert!(order(&mut core, config, Order::Restart));
    }
    let before = book(&mut core, config);
    assert!(!order(&mut core, config, Order::Restart));
    assert_eq!(book(&mut core, config), before);
    let stranger = core.stage_order(PairingId([9; 16]), Order::Restart, NOW_MS);
    assert!(matches!(stranger, Ok(Ordered::NoSuchHub)));
    drop(core.commit().unwrap());
}

/// A disk without room refuses a command before it is stored, and before it is encrypted: nothing is half.
#[test]
fn a_full_disk_refuses_a_command_whole() {
    let (mut camera, _, mut core, disk) = world();
    let config = camera.config;
    camera.tell();
    let run = camera.outgoing(&core);
    drop(deliver(&mut core, config, &run, 10));
    assert!(order(&mut core, config, Order::Restart));
    disk.set_capacity(Some(disk.used_bytes()));
    let mut acks = 0;
    loop {
        core.owe_ack(config, 20).unwrap();
        match core.finish_sync(config, 20) {
            Ok(pending) => {
                let committed = core.commit().unwrap();
                drop(core.settle(&committed, pending).unwrap());
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Space, "{error}");
                break;
            }
        }
        acks += 1;
        assert!(acks < 10_000, "the disk is never full");
    }
    let before = (book(&mut core, config), core.outbox(config).unwrap());
    let stored = core.stage_order(config.pairing, Order::Restart, NOW_MS);
    let sent = core.stage_command(config.pairing, NOW_MS);
    for refused in [stored.map(drop), sent.map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Space);
    }
    let after = (book(&mut core, config), core.outbox(config).unwrap());
    assert_eq!(after, before);
    disk.set_capacity(None);
    drop(tick(&mut core, config, 30));
    let _run = talk(&mut core, &mut camera);
    assert_eq!(camera.version(), 1);
}

/// A power cut at every disk operation of the phone, from the order to the answer: it was never given, or it is
/// done once.
#[test]
fn a_command_survives_a_crash_at_every_operation_of_the_phone() {
    let (mut camera, hub_disk, mut core, disk) = world();
    let config = camera.config;
    let mut states = 0;
    let mut sweep = |disk: &SimDisk, hub_disk: &SimDisk, given: bool| {
        for (i, snapshot) in disk.snapshots().iter().enumerate() {
            for policy in CrashPolicy::ALL {
                let seed = i as u64;
                let disk = snapshot.crash_clone(policy, seed);
                let mut core = open_core(&disk, 100 + seed);
                let hub_disk = hub_disk.crash_clone(CrashPolicy::KeepAll, 0);
                let mut camera = Camera::open(&hub_disk, config, 200 + seed);
                for _ in 0..3 {
                    let _run = talk(&mut core, &mut camera);
                }
                let found = book(&mut core, config);
                assert!(found.pending.is_empty(), "{i} {policy:?}: {found:?}");
                let done = found.done.len() as u64;
                assert_eq!(camera.version(), done, "{i} {policy:?}");
                assert!(done == 1 || (done == 0 && !given), "{i} {policy:?}");
                // Both ends go on together.
                assert!(order(&mut core, config, Order::Restart));
                for _ in 0..2 {
                    let _run = talk(&mut core, &mut camera);
                }
                assert_eq!(camera.version(), done + 1, "{i} {policy:?}");
                states += 1;
            }
        }
    };
    disk.record_snapshots();
    assert!(order(&mut core, config, Order::Restart));
    sweep(&disk, &hub_disk, false);
    disk.record_snapshots();
    assert!(send(&mut core, config).is_some());
    sweep(&disk, &hub_disk, true);
    let _received = camera.listen(&core);
    disk.record_snapshots();
    let run = camera.outgoing(&core);
    drop(deliver(&mut core, config, &run, 10));
    sweep(&disk, &hub_disk, true);
    assert!(states > 40, "only {states} states");
}

/// What is over is over: nothing is stored for a hub that nothing is sent to.
#[test]
fn nothing_is_ordered_on_a_line_that_is_over() {
    let (mut camera, _, mut core, disk) = world();
    let config = camera.config;
    let old = disk.crash_clone(CrashPolicy::KeepAll, 0);
    assert!(order(&mut core, config, Order::Restart));
    let _run = talk(&mut core, &mut camera);
    // A copy from before: the hub holds what it never made.
    let mut copy = open_core(&old, 9);
    let run = camera.outgoing(&copy);
    let run = deliver(&mut copy, config, &run, 10);
    assert!(matches!(run.halt, Some(Halt::Over(Over::RolledBack))));
    let refused = copy.stage_order(config.pairing, Order::Restart, NOW_MS);
    assert!(matches!(refused, Err(JournalError::RolledBack(_))));
}
