//! Live frames, each changed at each of its bytes before the honest one comes: no relay keeps them, and whoever passes
//! them on may change them.
//!
//! A changed frame shows nothing and keeps nothing, also one that came before; the honest one behind it is shown. What a
//! frame is changed into under its wrap is for the fuzzers. This room must never ask a hub for a session: its beginning
//! and its end are envelopes.

use app_core::core::LiveOut;
use bytes::Bytes;
use crashtest::trouble::Outcome;
use wire::Frame;
use wire::frame::live_prefix;

use super::ends::{Ends, To, broken};
use super::{Depth, Tally, flip, frames};

/// Pictures of the session. The first begins a group, the second goes on with it.
const PICTURES: u64 = 2;

/// Shows pictures of the session that is under way, each behind its changed forms.
pub(super) fn attack(ends: &mut Ends, depth: Depth, tally: &mut Tally) -> Outcome<()> {
    ends.quiesce(To::App)?;
    let before = ends.state(To::App)?;
    if ends.shown() != [LiveOut::Began] {
        return Err(broken(
            "a session that has begun does not begin for its viewer",
        ));
    }
    let mut last: Option<Bytes> = None;
    for number in 0..PICTURES {
        let (picture, frame) = ends.seal_live(number)?;
        tally.live_frames += changed(ends, &frame, depth)?;
        if let Some(last) = &last {
            shows_nothing(ends, last, || "nothing, for the second time".to_owned())?;
        }
        let shown = ends.show(&frame)?;
        let is_it =
            |out: &LiveOut| matches!(out, LiveOut::Fragment { bytes, .. } if *bytes == picture);
        if !shown.last().is_some_and(is_it) {
            return Err(broken(format!("an honest live frame shows {shown:?}")));
        }
        last = Some(frame);
    }
    ends.keep(To::App)?;
    match ends.state(To::App)? == before {
        true => Ok(()),
        false => Err(broken("C6: live frames changed the app's disk")),
    }
}

/// A frame with each of its bytes changed, and with each bit of the relay's frame around it; how many.
fn changed(ends: &mut Ends, frame: &Bytes, depth: Depth) -> Outcome<u64> {
    let mut count = 0;
    let mut wrong = frame.to_vec();
    for place in depth.places(wrong.len()) {
        for mask in depth.masks() {
            flip(&mut wrong, place, *mask);
            let bytes = Bytes::copy_from_slice(&wrong);
            shows_nothing(ends, &bytes, || format!("byte {place} ^ {mask:#04x}"))?;
            flip(&mut wrong, place, *mask);
            count += 1;
        }
    }
    let mut stream = live_prefix(frame.len());
    let bits = stream.len() * 8;
    stream.extend_from_slice(frame);
    for bit in 0..bits {
        frames::flip(&mut stream, bit);
        if let Ok((Frame::LivePiece { envelope }, _)) = Frame::decode(&stream)
            && *envelope != **frame
        {
            let bytes = Bytes::copy_from_slice(envelope);
            shows_nothing(ends, &bytes, || format!("bit {bit} of a frame"))?;
        }
        frames::flip(&mut stream, bit);
        count += 1;
    }
    Ok(count)
}

fn shows_nothing(ends: &mut Ends, frame: &Bytes, what: impl FnOnce() -> String) -> Outcome<()> {
    let before = ends.operations(To::App);
    let shown = ends.show(frame)?;
    if shown.is_empty() && ends.operations(To::App) == before {
        return Ok(());
    }
    let what = what();
    Err(broken(format!(
        "C6: a live frame with {what} shows {shown:?}"
    )))
}
