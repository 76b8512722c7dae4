//! All steps of one conversation, from the first start on.

use crashtest_sim::net::{Down, Up};
use crashtest_sim::plan::Who;
use crashtest_sim::rot;
use wal::SeededDice;

use crate::at_relay;
use crate::heartbeat;
use crate::pairing;
use crate::stage::Stage;
use crate::told::{traced_until, wrote_checkpoint};

/// Pieces that fill a log file a dozen at a time, in bytes.
const FILLING: usize = 40_000;

/// First starts, a pairing and what comes to nothing, a heartbeat, events and their delivery, deaths,
/// rot.
pub(crate) fn conversation() -> String {
    // The books want to know where in the ratchets each envelope lies.
    wal::note::keep(true);
    let mut text = String::new();
    let pair = pairing::pairing(&mut text);
    pairing::offers(&mut text);
    at_relay::admission(&mut text);
    let mut stage = Stage::new(pair, text);
    stage.step(Who::Relay, "a start on an empty directory", |stage| {
        stage.start(Who::Relay)
    });
    stage.step(Who::Hub, "a start after the pairing", |stage| {
        stage.start(Who::Hub)
    });
    stage.step(Who::App, "a start after the pairing", |stage| {
        stage.start(Who::App)
    });
    heartbeat::steps(&mut stage);
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
    stage.step(Who::Hub, "it takes an ack, trims and rotates", Stage::carry);
    stage.event(3);
    stage.piece(3, 500);
    stage.event_over(3);
    stage.step(Who::Relay, "it stores, hands out and trims", Stage::carry);

    stage.event(4);
    let disk = stage.disk(Who::Hub);
    let mut text = String::new();
    let step = "a piece that goes on in the next log file: a checkpoint";
    traced_until(&mut text, &disk, Who::Hub, step, || {
        stage.piece(4, FILLING);
        wrote_checkpoint(&disk).then_some(())
    });
    stage.text.push_str(&text);
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
