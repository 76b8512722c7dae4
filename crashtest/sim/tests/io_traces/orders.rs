//! All steps of a command: given, sent, done with its answer in one, heard of, and forgotten when that is acked.

use app_core::core::{CommandSent, Order, Ordered};
use crashtest_sim::plan::Who;
use hub::core::Verdict;
use journal::Taken;
use journal::ids::Channel;
use wire::Seq;

use crate::ends::{Ends, NOW_MS};
use crate::told::traced;

/// The steps of this room.
pub(crate) fn steps(text: &mut String) {
    let mut ends = Ends::in_step();
    ends.on(Channel::Config);
    let sent = given(text, &mut ends);
    done(text, &mut ends, sent);
    heard(text, &mut ends);
}

/// The phone's two transactions, which may lie days apart.
fn given(text: &mut String, ends: &mut Ends) -> CommandSent {
    let (disk, pairing) = (ends.app.disk.clone(), ends.app.line.pairing);
    let core = &mut ends.app.core;
    let step = "a command is given: it waits";
    traced(text, &disk, Who::App, step, || {
        let ordered = core.stage_order(pairing, Order::Privacy { on: true }, NOW_MS);
        let Ordered::Taken(staged) = ordered.unwrap() else {
            panic!("it is not stored");
        };
        drop(core.commit().unwrap().redeem(staged));
    });
    let step = "it sends a command";
    traced(text, &disk, Who::App, step, || {
        let staged = core.stage_command(pairing, NOW_MS).unwrap().unwrap();
        core.commit().unwrap().redeem(staged).into_inner()
    })
}

fn done(text: &mut String, ends: &mut Ends, sent: CommandSent) {
    let disk = ends.hub.disk.clone();
    let found = ends.app.sent_after(Seq(sent.envelope.0 - 1));
    let step =
        "it does a command: what that sets, outcome, Commit, answer, used-up ratchet and rotation";
    let verdict = traced(text, &disk, Who::Hub, step, || ends.hub.takes(&found[0]));
    assert_eq!(verdict, Verdict::Taken);
    let settings = ends.hub.core.wishes().settings;
    assert!(settings.privacy, "it is not done");
}

/// What came of it, and its ack, behind which nobody remembers the command at the hub.
fn heard(text: &mut String, ends: &mut Ends) {
    let disk = ends.app.disk.clone();
    let answer = ends.hub.sent_after(ends.app.cursor());
    let step = "it takes what came of its command";
    let run = traced(text, &disk, Who::App, step, || ends.app.takes(&answer));
    let is_done = |taken: &Taken| matches!(taken, Taken::CommandDone(_));
    assert!(run.facts.iter().any(|fact| is_done(&fact.taken)));
    let _made_now_or_before = ends.app.acks();
    let disk = ends.hub.disk.clone();
    let acks = ends.app.sent_after(ends.hub.cursor());
    let step = "it takes an ack of the answer: the outcome is forgotten";
    traced(text, &disk, Who::Hub, step, || {
        for ack in &acks {
            assert_eq!(ends.hub.takes(ack), Verdict::Taken);
        }
    });
    let heads = ends.hub.heads();
    assert_eq!(heads.acked, heads.last);
}
