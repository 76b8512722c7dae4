//! Steps of a hub with several phones: one that is told of the settings of another, one that is silent, one that
//! is removed, and one that takes its place and gets what was retained; and of a phone that forgets its hub.

use std::time::Duration;

use app_core::core::{Order, Ordered};
use crashtest_sim::node::open_journal;
use crashtest_sim::plan::Who;
use hub::core::{Recorded, Verdict};
use journal::Role;
use journal::ids::{Channel, Line, PairingId};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::{DeviceId, Seq};

use crate::ends::{AppEnd, Ends, HubEnd, NOW_MS};
use crate::pairing;
use crate::told::{ground, is_untouched, traced, traced_until};

/// The phone beside the first one.
const OTHER_PHONE: DeviceId = DeviceId([3; 32]);
/// Ticks after which what is retained must have been played.
const TICKS_MAX: usize = 20;

/// The steps of this room.
pub(crate) fn steps(text: &mut String) {
    let (mut ends, other) = two_phones(Ends::in_step(), 81);
    told(text, &mut ends, &other);
    silent(text, &mut ends);
    removed(text, &mut ends, other.line.pairing);
    forgotten(text, other);
    replaced(text);
}

/// The hub starts again with one phone more.
fn two_phones(ends: Ends, dice: u64) -> (Ends, AppEnd) {
    let Ends { hub, app } = ends;
    let (disk, line) = (hub.copy(), hub.line);
    drop(hub);
    let (mut journal, _) = open_journal(Role::Hub, &ground(&disk), SeededDice(dice)).unwrap();
    let other_disk = SimDisk::new();
    let opened = open_journal(Role::App, &ground(&other_disk), SeededDice(dice + 1));
    let (mut other, _) = opened.unwrap();
    let pairing = pairing::beside(&mut journal, &mut other, OTHER_PHONE);
    drop((journal, other));
    let hub = HubEnd::open(disk, dice + 2, line);
    let of_other = Line::of(pairing, Channel::Config);
    let other = AppEnd::open(other_disk, dice + 3, of_other);
    (Ends { hub, app }, other)
}

/// A command of one phone is told to the other in the step that follows it.
fn told(text: &mut String, ends: &mut Ends, other: &AppEnd) {
    ends.on(Channel::Config);
    let pairing = ends.app.line.pairing;
    let core = &mut ends.app.core;
    let ordered = core.stage_order(pairing, Order::Privacy { on: false }, NOW_MS);
    let Ordered::Taken(staged) = ordered.unwrap() else {
        panic!("it is not stored");
    };
    drop(core.commit().unwrap().redeem(staged));
    let staged = core.stage_command(pairing, NOW_MS).unwrap().unwrap();
    let sent = core.commit().unwrap().redeem(staged).into_inner();
    let found = ends.app.sent_after(Seq(sent.envelope.0 - 1));
    let disk = ends.hub.disk.clone();
    let step = "it does a command of one phone, and tells the other of the settings";
    let verdict = traced(text, &disk, Who::Hub, step, || ends.hub.takes(&found[0]));
    assert_eq!(verdict, Verdict::Taken);
    let told = ends.hub.core.heads().unwrap()[&other.line].last;
    assert!(told.is_some(), "the other is told");
}

/// Time in which a phone was not heard of is stored now and then.
fn silent(text: &mut String, ends: &mut Ends) {
    let disk = ends.hub.disk.clone();
    let core = &mut ends.hub.core;
    core.handle_link(true);
    let minute = Duration::from_secs(60);
    let step = "phones are not heard of for a quarter of an hour: that is stored";
    traced_until(text, &disk, Who::Hub, step, || {
        core.handle_elapsed(minute, NOW_MS).unwrap();
        core.commit(NOW_MS).unwrap();
        (!is_untouched(&disk)).then_some(())
    });
}

fn removed(text: &mut String, ends: &mut Ends, phone: PairingId) {
    let disk = ends.hub.disk.clone();
    let core = &mut ends.hub.core;
    let step = "a phone is removed: its keys go, and what the relay is to be told stays";
    let was_there = traced(text, &disk, Who::Hub, step, || {
        core.remove_phone(phone, NOW_MS).unwrap()
    });
    assert!(was_there);
    assert_eq!(core.dismissals().unwrap().owed.len(), 1);
    let step = "the relay was told of a phone that was removed";
    traced(text, &disk, Who::Hub, step, || {
        let told = core.with_journal(NOW_MS, |journal| journal.dismissal_told(phone));
        drop(told.unwrap());
    });
    assert!(core.dismissals().unwrap().owed.is_empty());
}

/// The phone that was removed.
fn forgotten(text: &mut String, mut phone: AppEnd) {
    let (disk, pairing) = (phone.disk.clone(), phone.line.pairing);
    let step = "it forgets a hub";
    let clips = traced(text, &disk, Who::App, step, || {
        phone.core.forget(pairing).unwrap()
    });
    assert_eq!(clips, Some(Vec::new()));
}

/// What a hub retains for a phone is written with what it sends; the ack ends it, or another phone gets it.
fn replaced(text: &mut String) {
    let mut ends = Ends::in_step();
    let disk = ends.hub.disk.clone();
    ends.hub.core.set_retention(true);
    ends.hub.begin();
    let step = "a hub that retains seals the first piece of an event, and keeps a copy";
    let first = traced(text, &disk, Who::Hub, step, || ends.hub.piece(2_000));
    let step = "a further piece is sealed, and kept";
    let second = traced(text, &disk, Who::Hub, step, || ends.hub.piece(2_000));
    assert_eq!([first, second], [Recorded::Taken; 2]);
    ends.hub.end();
    assert_eq!(ends.hub.core.retained().unwrap().len(), 1);
    let sent = ends.hub.sent_after(ends.app.cursor());
    let run = ends.app.takes(&sent);
    assert!(run.ack.is_some(), "the end of a clip is acked at once");
    let acks = ends.app.sent_after(ends.hub.cursor());
    let step = "it takes an ack of what it retains: the key of the copy goes";
    traced(text, &disk, Who::Hub, step, || {
        for ack in &acks {
            assert_eq!(ends.hub.takes(ack), Verdict::Taken);
        }
    });
    assert_eq!(ends.hub.core.retained().unwrap(), []);

    ends.hub.record(&[2_000, 2_000]);
    let lost = ends.hub.line.pairing;
    let (mut ends, other) = two_phones(ends, 85);
    let disk = ends.hub.disk.clone();
    let core = &mut ends.hub.core;
    core.set_retention(true);
    assert!(core.remove_phone(lost, NOW_MS).unwrap());
    let step = "what was retained for a lost phone is to be played to another";
    let count = traced(text, &disk, Who::Hub, step, || {
        let to = other.line.pairing;
        core.handle_play(to, lost, NOW_MS).unwrap()
    });
    assert_eq!(count, 1);
    let step = "it is played: the clip, its end, and the end of the copy that it came from";
    traced(text, &disk, Who::Hub, step, || {
        for _tick in 0..TICKS_MAX {
            core.handle_timeout(NOW_MS).unwrap();
            core.commit(NOW_MS).unwrap();
            let kept = core.retained().unwrap();
            if kept.iter().all(|clip| clip.pairing != lost) {
                return;
            }
        }
        panic!("it is not played");
    });
}
