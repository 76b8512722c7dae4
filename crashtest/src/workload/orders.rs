//! Commands from the phone, one after the other, until each is answered.

use crate::oracle::Ends;
use crate::process::Role;
use crate::system::{FIRST_PHONE, System};
use crate::trouble::Outcome;

/// What is ordered. Each change of the settings makes one version of them, so that one which is done twice, or not at
/// all, or out of its turn, is seen in the versions. The camera may record when all are done.
const ORDERS: [&[&str]; 5] = [
    &["privacy", "on"],
    &["settings", "set", "event_seconds_max", "60"],
    &["phones"],
    &["privacy", "off"],
    &["resend"],
];

pub(super) fn order(system: &mut System) -> Outcome<Ends> {
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    for words in ORDERS {
        system.order(words)?;
    }
    // What the last of them says is so.
    let status = system.hub_says(&["status"])?;
    let settings = &status["settings"];
    if settings["privacy"] != false || settings["event_seconds_max"] != 60 {
        system.found_broken(
            "C2",
            format!("commands were not done in their turn: {settings}"),
        );
    }
    system.compare_settings(&[FIRST_PHONE])?;
    // With cover the outbox is never empty: the last word is without.
    system.setup.hub_extra.clear();
    system.settle()
}
