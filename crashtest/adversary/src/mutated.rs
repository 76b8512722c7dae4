//! Mutated traffic: an honest exchange of hub and app in one process, and every message of it changed at each
//! of its bytes before the honest one comes.
//!
//! The attacker sits behind TLS (whoever owns the relay does) and inside the envelope's bytes. The exchange has
//! a heartbeat over all five lines with its answer, and an event with its acks; both cores are the programs'
//! own, over simulated disks. A changed message must cause not one operation on the disk and leave every byte
//! of it as it was; the honest one behind it must be taken. This room must never change what the cores hold in
//! any other way than the network could.

mod ends;
mod frames;
mod inside;
mod pairing;

use std::fmt;

use bytes::Bytes;
use crashtest::trouble::{Outcome, Trouble};
use journal::ids::Line;
use serde_json::{Value, json};
use wire::Seq;

use ends::{Effect, Ends, To};

/// Bytes at each end of an envelope that are all tried, and the stride between them, in a sample.
const ALL_AT_ENDS: usize = 64;
const STRIDE: usize = 61;
/// The same under the wrap, where each change costs a look at the group.
const ALL_AT_ENDS_INSIDE: usize = 24;
const STRIDE_INSIDE: usize = 211;

/// How much of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// The ends of each envelope and a sample between, one bit of each byte.
    Sample,
    /// Every byte, one bit of it.
    Every,
    /// Every byte in three ways.
    Thrice,
}

impl Depth {
    /// Which bytes of an envelope of so many are changed.
    fn places(self, length: usize) -> Vec<usize> {
        self.some_of(length, ALL_AT_ENDS, STRIDE)
    }

    /// Which bytes under a wrap.
    fn places_inside(self, length: usize) -> Vec<usize> {
        self.some_of(length, ALL_AT_ENDS_INSIDE, STRIDE_INSIDE)
    }

    fn some_of(self, length: usize, at_ends: usize, stride: usize) -> Vec<usize> {
        let wanted = |place: &usize| {
            self != Self::Sample
                || *place < at_ends
                || *place + at_ends >= length
                || place.is_multiple_of(stride)
        };
        (0..length).filter(wanted).collect()
    }

    /// What a byte is changed with.
    fn masks(self) -> &'static [u8] {
        match self {
            Self::Sample | Self::Every => &[0x01],
            Self::Thrice => &[0x01, 0x80, 0xff],
        }
    }
}

/// What was tried.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Honest envelopes, each taken after the changed ones.
    pub envelopes: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Changed envelopes.
    pub changed: u64,
    /// Changed forms of what lies under a wrap.
    pub inside: u64,
    /// Envelopes that are understood in a new wrap with nothing changed: else those forms show little.
    pub understood: u64,
    /// Changed messages of a pairing.
    pub pairing: u64,
    /// Changed frames that carry an envelope.
    pub frames: u64,
    /// Changed frames of the relay to a sender.
    pub control: u64,
}

impl Tally {
    /// One object.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "envelopes": self.envelopes,
            "bytes": self.bytes,
            "changed_envelopes": self.changed,
            "changed_under_the_wrap": self.inside,
            "understood_in_a_new_wrap": self.understood,
            "changed_pairing_messages": self.pairing,
            "changed_frames": self.frames,
            "changed_control_frames": self.control,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} envelopes of {} bytes: {} changed, {} under their wrap, and {} changed frames around them; {} \
             changed control frames; {} changed messages of a pairing",
            self.envelopes,
            self.bytes,
            self.changed,
            self.inside,
            self.frames,
            self.control,
            self.pairing
        )
    }
}

/// Plays the exchange. What was tried until then is in `tally` in any case.
///
/// # Errors
/// [`Trouble::Broken`] with the first message that changed something, or the honest one that was not taken.
pub fn run(depth: Depth, tally: &mut Tally) -> Outcome<()> {
    pairing::attack(depth, tally)?;
    let mut ends = Ends::paired()?;
    // The heartbeat, its Commits and answer, and the acks of those.
    ends.beat()?;
    for to in [To::Hub, To::App, To::Hub] {
        carry(&mut ends, to, depth, tally)?;
    }
    let event = ends.record()?;
    frames::control(&mut ends, tally)?;
    carry(&mut ends, To::App, depth, tally)?;
    ends.say_acks()?;
    for to in [To::Hub, To::App] {
        carry(&mut ends, to, depth, tally)?;
    }
    ends.is_complete(&event)?;
    let command = ends.order()?;
    for to in [To::Hub, To::App] {
        carry(&mut ends, to, depth, tally)?;
    }
    ends.is_answered(command)
}

/// Takes everything that one end has to say to the other end, each message after its changed forms.
fn carry(ends: &mut Ends, to: To, depth: Depth, tally: &mut Tally) -> Outcome<()> {
    for line in ends.lines() {
        while let Some((seq, bytes)) = ends.next(to, line)? {
            attack(ends, to, line, (seq, &bytes), depth, tally)?;
            let effect = ends.feed(to, line, seq, &bytes)?;
            if effect != Effect::Taken {
                let what = format!("{to:?} did not take honest envelope {seq} of {line:?}");
                return Err(Trouble::Broken(what));
            }
            ends.keep(to)?;
            tally.envelopes += 1;
            tally.bytes += bytes.len() as u64;
        }
    }
    Ok(())
}

/// One envelope, changed in every way.
fn attack(
    ends: &mut Ends,
    to: To,
    line: Line,
    (seq, bytes): (Seq, &Bytes),
    depth: Depth,
    tally: &mut Tally,
) -> Outcome<()> {
    ends.quiesce(to)?;
    let before = ends.state(to)?;
    let mut wrong = bytes.to_vec();
    for place in depth.places(bytes.len()) {
        for mask in depth.masks() {
            flip(&mut wrong, place, *mask);
            let changed = Bytes::copy_from_slice(&wrong);
            ends.refuses(to, line, (seq, &changed), || {
                format!("byte {place} ^ {mask:#04x}")
            })?;
            flip(&mut wrong, place, *mask);
            tally.changed += 1;
        }
    }
    tally.frames += frames::around(ends, to, line, (seq, bytes))?;
    inside::attack(ends, to, line, (seq, bytes), depth, tally)?;
    // Nothing of it waits in memory for the next sync either.
    ends.keep(to)?;
    if ends.state(to)? != before {
        let what = format!("C6: the disk of {to:?} changed under changed envelopes {seq}");
        return Err(Trouble::Broken(what));
    }
    Ok(())
}

fn flip(bytes: &mut [u8], place: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(place) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_is_taken_does_not_pass_for_one_that_was_refused() -> Outcome<()> {
        let mut ends = Ends::paired()?;
        ends.beat()?;
        ends.quiesce(To::Hub)?;
        let mut caught = 0;
        for line in ends.lines() {
            let (seq, bytes) = ends.next(To::Hub, line)?.unwrap();
            let refused = ends.refuses(To::Hub, line, (seq, &bytes), String::new);
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("C6"), "{said}");
            caught += 1;
        }
        assert_eq!(caught, 5);
        Ok(())
    }

    #[test]
    fn a_sample_has_both_ends_and_every_is_every() {
        let sample = Depth::Sample.places(1_000);
        assert!((0..ALL_AT_ENDS).all(|place| sample.contains(&place)));
        assert!((1_000 - ALL_AT_ENDS..1_000).all(|place| sample.contains(&place)));
        assert!(sample.contains(&(STRIDE * 3)) && sample.len() < 200);
        for depth in [Depth::Every, Depth::Thrice] {
            assert_eq!(depth.places(1_000).len(), 1_000);
        }
        assert_eq!(Depth::Sample.places(3), [0, 1, 2]);
    }
}
