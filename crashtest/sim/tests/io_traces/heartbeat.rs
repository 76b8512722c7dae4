//! All steps of a heartbeat, with nothing being recorded: the phone says it, the hub takes its new keys,
//! the phone takes the Commits that say so.

use crashtest_sim::net::{Answer, Down, Way};
use crashtest_sim::plan::Who;
use journal::ids::Channel;
use wire::Seq;

use crate::stage::Stage;

/// The steps of this room, between two ends that have just started. Nobody is connected before or after.
pub(crate) fn steps(stage: &mut Stage) {
    said(stage);
    taken_by_the_hub(stage);
    taken_by_the_phone(stage);
    assert!(stage.app.has_healed(0), "new keys are not in use");
    stage.carry();
    stage.relay.forget(Who::Hub);
    stage.relay.forget(Who::App);
    stage.hub.disconnected(stage.now_ms);
    stage.app.disconnected(stage.now_ms);
}

/// The channel that an answer of the relay is about.
fn channel(stage: &Stage, answer: &Answer) -> Channel {
    let about = |way: &&Way| way.is_about(answer.mailbox);
    let way = stage.ways.iter().find(about);
    way.unwrap().line.channel
}

fn said(stage: &mut Stage) {
    let nothing = stage.carry_from(Who::App);
    assert!(nothing.is_empty(), "nothing was sent so far");
    stage.app.want_heartbeat();
    let step = "it says a heartbeat and proposes new keys on all lines";
    let attaches = stage.step(Who::App, step, |stage| stage.pump(Who::App));
    for up in attaches {
        for answer in stage.relay_takes(Who::App, up) {
            stage.handle(answer);
        }
    }
    stage.carry_from(Who::App);
}

fn taken_by_the_hub(stage: &mut Stage) {
    let mut trims = Vec::new();
    for answer in stage.carry_from(Who::Hub) {
        let Down::Deliver(seq, _) = answer.down else {
            continue;
        };
        // The idle lines are alike: one stands for all.
        let name = match (channel(stage, &answer), seq) {
            (Channel::Config, Seq(1)) => {
                "it takes what a heartbeat says, and rotates the key of its line"
            }
            (Channel::Config, _) => {
                "it takes new keys: Commit, answer, used-up ratchet and rotation"
            }
            (Channel::Livestream, _) => "it takes new keys of an idle line: Commit and rotation",
            _ => {
                trims.extend(stage.handle(answer));
                continue;
            }
        };
        trims.extend(stage.step(Who::Hub, name, |stage| stage.handle(answer)));
    }
    for trim in trims {
        stage.relay_takes(Who::Hub, trim);
    }
    // It attaches, then it sends.
    stage.carry_from(Who::Hub);
    stage.carry_from(Who::Hub);
    let handed_out = stage.carry_from(Who::Hub);
    assert!(handed_out.is_empty());
}

fn taken_by_the_phone(stage: &mut Stage) {
    stage.app.disconnected(stage.now_ms);
    let handed_out = stage.carry_from(Who::App);
    // Again one idle line stands for all; what the others bring is taken with it.
    let (idle, others): (Vec<_>, Vec<_>) = handed_out
        .into_iter()
        .partition(|answer| channel(stage, answer) == Channel::Livestream);
    for answer in others {
        stage.handle(answer);
    }
    let step = "it takes a Commit that took its new keys";
    let ups = stage.step(Who::App, step, |stage| {
        for answer in idle {
            stage.handle(answer);
        }
        stage.pump(Who::App)
    });
    for up in ups {
        for answer in stage.relay_takes(Who::App, up) {
            stage.handle(answer);
        }
    }
}
