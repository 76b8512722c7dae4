//! What arrives on a line of a pairing: under the wrap, inside MLS, and around both.
//!
//! Each run is one transaction that is dropped at its end, so that all runs meet the same two ends. Besides
//! what each target says: bytes that are not honest never move a group's epoch or its secrets, and the
//! honest envelope that follows is always understood (promise C6).

mod app_core;
mod hub_core;
mod live;
mod live_run;
mod said;
mod statement;
mod to_app;
mod to_hub;

use std::cell::RefCell;

use journal::Held;
use journal::fuzzing::Inside;
use wire::ids::{Digest, Seq};

use crate::input::Input;

pub(crate) use self::app_core::app_core;
pub(crate) use hub_core::hub_core;
pub(crate) use said::{said_app, said_hub};
pub(crate) use statement::statement;

/// Holds nothing of ours: what a fresh other side says.
const NOTHING: Held = Held {
    seq: Seq::NONE,
    digest: Digest([0; 32]),
};

thread_local! {
    static HUB: RefCell<to_hub::Stage> = RefCell::new(to_hub::Stage::new());
    static APP: RefCell<to_app::Stage> = RefCell::new(to_app::Stage::new());
    static LIVE: RefCell<live::Stage> = RefCell::new(live::Stage::new());
    static LIVE_RUN: RefCell<live_run::Stage> = RefCell::new(live_run::Stage::new());
}

/// MLS messages of a malicious phone: honest ones, damaged, and any bytes at all.
pub(crate) fn mls_hub(data: &[u8]) {
    HUB.with_borrow_mut(|stage| stage.mls(data));
}

/// MLS messages of a malicious hub.
pub(crate) fn mls_app(data: &[u8]) {
    APP.with_borrow_mut(|stage| stage.mls(data));
}

/// Live frames: of a relay, of whoever has the wrapping key, and of a malicious hub.
pub(crate) fn live_frame(data: &[u8]) {
    LIVE.with_borrow_mut(|stage| stage.frame(data));
}

/// A whole session of live frames that are lost, late, twice or damaged on the way.
pub(crate) fn live_run(data: &[u8]) {
    LIVE_RUN.with_borrow_mut(|stage| stage.run(data));
}

/// Envelopes of somebody without the pairing's keys, such as the relay.
pub(crate) fn envelope(data: &[u8]) {
    let mut input = Input::new(data);
    match input.flag() {
        true => HUB.with_borrow_mut(|stage| stage.envelope(input)),
        false => APP.with_borrow_mut(|stage| stage.envelope(input)),
    }
}

/// All that lies under the wrap, header included.
pub(crate) fn wrap_body(data: &[u8]) {
    let mut input = Input::new(data);
    match input.flag() {
        true => HUB.with_borrow_mut(|stage| stage.wrap_body(input)),
        false => APP.with_borrow_mut(|stage| stage.wrap_body(input)),
    }
}

/// An honest sample, damaged, or any bytes.
fn damaged(samples: &[Inside], input: &mut Input<'_>) -> Vec<u8> {
    if input.flag() {
        return input.rest().to_vec();
    }
    let mut content = samples[input.below(samples.len())].content.clone();
    input.edit(&mut content);
    content
}

/// Whether these bytes are a body of the layout that FORMAT.md has, written down a second time.
fn is_body(body: &[u8]) -> bool {
    let Some(length) = body.get(57..61).and_then(|four| four.try_into().ok()) else {
        return false;
    };
    let length = u64::from(u32::from_be_bytes(length));
    matches!(body.get(16), Some(1..=3)) && 61 + length <= body.len() as u64
}
