//! Mutated traffic: an honest exchange of hub and app in one process, and every message of it changed at each
//! of its bytes before the honest one comes.
//!
//! The attacker sits behind TLS (whoever owns the relay does) and inside the envelope's bytes. The exchange has
//! a heartbeat over all five lines with its answer; an event with its notification, its picture and its acks; a question
//! and a change of the settings with their answers; the statement about a clip that made room; and a live session with
//! its frames. Both cores are the programs' own, over simulated disks. A changed message must cause not one operation
//! on the disk and leave every byte of it as it was; the honest one behind it must be taken. This room must never
//! change what the cores hold in any other way than the network could, and never call an exchange in which one of
//! these was missing a pass.

mod ends;
mod frames;
mod inside;
mod live;
mod pairing;

use std::fmt;

use bytes::Bytes;
use crashtest::trouble::{Outcome, Trouble};
use journal::ids::{Channel, Line};
use serde_json::{Value, json};
use wire::Seq;

use ends::{Effect, Ends, Kind, To};

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
    /// Those of a notification.
    pub notices: u64,
    /// Those of an event's picture.
    pub pictures: u64,
    /// Those of a statement about a dropped clip.
    pub statements: u64,
    /// Those with which a live session begins and ends.
    pub live: u64,
    /// Those of the word that the settings are what the phone has set.
    pub settings: u64,
    /// Changed live frames.
    pub live_frames: u64,
    /// Changed forms of what lies under a wrap.
    pub inside: u64,
    /// Envelopes that are understood in a new wrap with nothing changed: else those forms show little.
    pub understood: u64,
    /// Changed messages of a pairing.
    pub pairing: u64,
    /// Changed frames that carry an envelope.
    pub frames: u64,
    /// Changed frames of the relay to the hub's senders and readers.
    pub control_to_hub: u64,
    /// The same to the app's.
    pub control_to_app: u64,
}

impl Tally {
    fn count(&mut self, kind: Kind, changed: u64) {
        let of_kind = match kind {
            Kind::Notice => &mut self.notices,
            Kind::Picture => &mut self.pictures,
            Kind::Statement => &mut self.statements,
            Kind::Live => &mut self.live,
            Kind::Settings => &mut self.settings,
            Kind::Other => return,
        };
        *of_kind += changed;
    }

    /// What of the exchange was never changed, so that nothing was shown of it.
    fn missing(&self) -> Option<&'static str> {
        let parts = [
            ("a notification", self.notices),
            ("a picture of an event", self.pictures),
            ("a statement about a dropped clip", self.statements),
            ("a live session's beginning or end", self.live),
            ("a live frame", self.live_frames),
            ("an answer about settings", self.settings),
            ("what lies under a wrap", self.inside),
            ("a frame with an envelope", self.frames),
            ("a word of the relay to the hub", self.control_to_hub),
            ("a word of the relay to the app", self.control_to_app),
            ("a message of a pairing", self.pairing),
        ];
        let missing = parts.into_iter().find(|(_, changed)| *changed == 0);
        missing.map(|(part, _)| part)
    }

    /// One object.
    #[must_use]
    pub fn to_json(self) -> Value {
        json!({
            "envelopes": self.envelopes,
            "bytes": self.bytes,
            "changed_envelopes": self.changed,
            "changed_notifications": self.notices,
            "changed_pictures": self.pictures,
            "changed_statements": self.statements,
            "changed_live_words": self.live,
            "changed_settings": self.settings,
            "changed_live_frames": self.live_frames,
            "changed_under_the_wrap": self.inside,
            "understood_in_a_new_wrap": self.understood,
            "changed_pairing_messages": self.pairing,
            "changed_frames": self.frames,
            "changed_control_frames_to_hub": self.control_to_hub,
            "changed_control_frames_to_app": self.control_to_app,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} envelopes of {} bytes: {} changed ({} of notifications, {} of pictures, {} of statements, {} of live \
             sessions, {} of settings), {} under their wrap, and {} changed frames around them; {} changed live frames; \
             {} changed control frames to the hub, {} to the app; {} changed messages of a pairing",
            self.envelopes,
            self.bytes,
            self.changed,
            self.notices,
            self.pictures,
            self.statements,
            self.live,
            self.settings,
            self.inside,
            self.frames,
            self.live_frames,
            self.control_to_hub,
            self.control_to_app,
            self.pairing
        )
    }
}

/// Plays the exchange. What was tried until then is in `tally` in any case.
///
/// # Errors
/// [`Trouble::Broken`] with the first message that changed something, or the honest one that was not taken; or with what
/// of the exchange was not there to be changed.
pub fn run(depth: Depth, tally: &mut Tally) -> Outcome<()> {
    pairing::attack(depth, tally)?;
    let mut ends = Ends::paired()?;
    // The heartbeat, its Commits and answer, and the acks of those.
    ends.beat()?;
    let config = ends.line(Channel::Config);
    frames::control(&mut ends, To::App, config, depth, tally)?;
    for to in [To::Hub, To::App, To::Hub] {
        carry(&mut ends, to, depth, tally)?;
    }
    ends.announce()?;
    let first = ends.record()?;
    let videos = ends.line(Channel::EventVideo);
    frames::control(&mut ends, To::Hub, videos, depth, tally)?;
    carry_and_ack(&mut ends, depth, tally)?;
    let mut events = vec![Some(first)];
    ends.holds(&events)?;
    ends.is_announced()?;
    ends.is_healed()?;
    let question = ends.ask()?;
    for to in [To::Hub, To::App] {
        carry(&mut ends, to, depth, tally)?;
    }
    ends.is_answered(question)?;
    let change = ends.set()?;
    for to in [To::Hub, To::App] {
        carry(&mut ends, to, depth, tally)?;
    }
    ends.is_set(change)?;
    let third = ends.record_and_make_room()?;
    carry_and_ack(&mut ends, depth, tally)?;
    events.extend([None, Some(third)]);
    ends.holds(&events)?;
    watch(&mut ends, depth, tally)?;
    match tally.missing() {
        None => Ok(()),
        Some(part) => {
            let what = format!("{part} was never changed, so nothing was shown: {tally}");
            Err(Trouble::Broken(what))
        }
    }
}

/// Takes everything that the hub has to say to the app, and back what that acks.
fn carry_and_ack(ends: &mut Ends, depth: Depth, tally: &mut Tally) -> Outcome<()> {
    carry(ends, To::App, depth, tally)?;
    ends.say_acks()?;
    for to in [To::Hub, To::App] {
        carry(ends, to, depth, tally)?;
    }
    Ok(())
}

/// A live session, from the wish to its end.
fn watch(ends: &mut Ends, depth: Depth, tally: &mut Tally) -> Outcome<()> {
    ends.wish()?;
    for to in [To::Hub, To::App] {
        carry(ends, to, depth, tally)?;
    }
    live::attack(ends, depth, tally)?;
    ends.see_enough()?;
    for to in [To::Hub, To::App] {
        carry(ends, to, depth, tally)?;
    }
    match ends.is_dark() {
        true => Ok(()),
        false => Err(Trouble::Broken(
            "a live session outlasts its viewer".to_owned(),
        )),
    }
}

/// Takes everything that one end has to say to the other end, each message after its changed forms.
fn carry(ends: &mut Ends, to: To, depth: Depth, tally: &mut Tally) -> Outcome<()> {
    for line in ends.lines() {
        while let Some((seq, bytes)) = ends.next(to, line)? {
            let before = tally.changed;
            attack(ends, to, line, (seq, &bytes), depth, tally)?;
            let Effect::Taken(kind) = ends.feed(to, line, seq, &bytes)? else {
                let what = format!("{to:?} did not take honest envelope {seq} of {line:?}");
                return Err(Trouble::Broken(what));
            };
            tally.count(kind, tally.changed - before);
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
    fn a_run_in_which_a_part_of_the_exchange_was_not_changed_says_which() {
        let mut tally = Tally {
            inside: 1,
            pairing: 1,
            frames: 1,
            control_to_hub: 1,
            control_to_app: 1,
            live_frames: 1,
            ..Tally::default()
        };
        let kinds = [
            (Kind::Notice, "a notification"),
            (Kind::Picture, "a picture of an event"),
            (Kind::Statement, "a statement about a dropped clip"),
            (Kind::Live, "a live session's beginning or end"),
            (Kind::Settings, "an answer about settings"),
        ];
        for (kind, part) in kinds {
            assert_eq!(tally.missing(), Some(part));
            tally.count(kind, 1);
        }
        assert_eq!(tally.missing(), None);
        tally.live_frames = 0;
        assert_eq!(tally.missing(), Some("a live frame"));
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
