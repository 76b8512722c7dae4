//! A camera that is a program: this one, started by the hub, which plays the stream of `source.rs` in real time, again and
//! again.
//!
//! It writes down when it has begun: so the time at which it hands a picture over is known from the number that the
//! picture's clock shows, and from nothing that the hub says. It must never hand one over before its time; one that it hands
//! over late is as old as if it had been in time.

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use programs::home::{quoted, utf8};
use programs::process::unix_ms;

use super::source::{PERIOD_MS, STREAM_PICTURES, pictures_of};
use crate::Outcome;
use crate::child::Task;
use crate::measure::pause;

/// The hub's table of it: at first nobody is there, the clock in the picture is masked as that of the virtual camera, and how
/// much is recorded before somebody comes is what the hub does by itself.
pub(super) fn table(stream: &Path, began: &Path) -> Outcome<String> {
    let own = std::env::current_exe()?;
    let task = quoted(&Task::Player.assignment());
    let [own, stream, began] = [own.as_path(), stream, began].map(utf8);
    let (own, stream, began) = (quoted(&own?), quoted(&stream?), quoted(&began?));
    Ok(format!(
        "[camera]\nkind = \"command\"\nprogram = \"env\"\narguments = [{task}, {own}, {stream}, {began}]\n\n\
         [camera.detection]\nmasks = [[[0, 0], [1000, 0], [1000, 140], [0, 140]]]\n\
         post_roll_seconds = 2.0\ncool_down_seconds = 0.0\n"
    ))
}

/// Plays a stream for ever: its file, and the one in which the beginning is written down. It ends when nobody listens.
pub(crate) fn play(arguments: &[OsString]) -> Outcome<()> {
    let [stream, began] = arguments else {
        return Err("a player takes a stream, and where to write down when it began".into());
    };
    let stream = std::fs::read(stream)?;
    let pictures = pictures_of(&stream)?;
    let began_ms = unix_ms();
    let mut notes = File::options().create(true).append(true).open(began)?;
    writeln!(notes, "{began_ms}")?;
    let mut out = std::io::stdout().lock();
    for (number, picture) in (0_u64..).zip(pictures.iter().cycle()) {
        let due_ms = began_ms + number * PERIOD_MS;
        pause(Duration::from_millis(due_ms.saturating_sub(unix_ms())));
        out.write_all(picture)?;
        out.flush()?;
    }
    Err("the stream has no picture".into())
}

/// When the one player began that has written this.
pub(super) fn began_ms(notes: &Path) -> Outcome<u64> {
    began_once(&std::fs::read_to_string(notes)?)
}

fn began_once(notes: &str) -> Outcome<u64> {
    let mut lines = notes.lines();
    match (lines.next(), lines.next()) {
        (Some(line), None) => Ok(line.parse()?),
        _ => Err("the camera's program was started more than once, or never".into()),
    }
}

/// When the picture with this number was due: of the rounds of the stream that one which is nearest to `near_ms`.
pub(super) fn due_ms(began_ms: u64, number: u64, near_ms: u64) -> u64 {
    let round_ms = STREAM_PICTURES * PERIOD_MS;
    let first_ms = began_ms + number * PERIOD_MS;
    let rounds = (near_ms.saturating_sub(first_ms) + round_ms / 2) / round_ms;
    first_ms + rounds * round_ms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_time_of_the_round_that_is_meant() {
        // Rounds of 20 s; picture 250 is 10 s behind each beginning.
        for (near_ms, due) in [
            (0, 11_000),
            (6_000, 11_000),
            (20_000, 11_000),
            (26_000, 31_000),
            (40_000, 31_000),
            (1_000_000, 991_000),
        ] {
            assert_eq!(due_ms(1_000, 250, near_ms), due, "{near_ms}");
        }
    }

    #[test]
    fn a_player_that_was_started_again_has_no_beginning() {
        assert_eq!(began_once("17\n").unwrap(), 17);
        for notes in ["", "17\n18\n", "soon\n"] {
            assert!(began_once(notes).is_err(), "{notes}");
        }
    }
}
