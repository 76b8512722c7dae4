//! The owner at the phone: looks through the camera live, and turns its detection off from there.
//!
//! One process at a time has the phone's directory, so nobody follows meanwhile; what is recorded waits. This room
//! never calls something seen that no file holds, nor decoded that FFmpeg has not decoded: where that is not installed
//! (`cargo xtask setup`), nobody has. And it calls nothing set before the hub itself says so.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::motion::CAMERA;
use super::world::{PATIENCE, World};
use crate::failure::{Because, Failure, Outcome};

/// How long the owner looks, in seconds: some groups of pictures.
const LOOK_SECONDS: u64 = 4;
/// How `status` of the hub names detection that a phone has turned off.
const OFF: &str = "off_by_phone";

/// What the owner saw.
pub(super) struct Look {
    /// Where it is.
    pub(super) file: PathBuf,
    /// How many bytes of it.
    pub(super) bytes: u64,
    /// How many pictures of it FFmpeg decodes; `None` if that is not installed.
    pub(super) decoded: Option<u64>,
    /// How old each fragment was when the phone had it, ascending: from the capture of its last picture, by one clock.
    pub(super) ages_ms: Vec<u64>,
}

/// Looks through the camera; the phone follows no more afterwards.
pub(super) fn look(world: &mut World) -> Outcome<Look> {
    if let Some(app) = world.app.take() {
        let events = app.terminate()?;
        world.app_past.extend(events);
    }
    let (file, said) = world.watch(LOOK_SECONDS)?;
    let written = std::fs::read(&file).because("cannot read what was watched")?;
    if !has_fragments(&written) {
        let length = written.len();
        return Err(Failure::found(format!(
            "what was watched live is no MP4 with pictures ({length} bytes)"
        )));
    }
    let decoded = decoded(&file)?;
    let mut ages_ms: Vec<u64> = said.iter().filter_map(age_ms).collect();
    ages_ms.sort_unstable();
    Ok(Look {
        file,
        bytes: written.len() as u64,
        decoded,
        ages_ms,
    })
}

/// Turns detection off from the phone, and has the hub say that it is; then the phone follows again.
pub(super) fn turn_off(world: &mut World) -> Outcome<()> {
    // A change starts from what is known here.
    world.order(&["settings", "camera", CAMERA])?;
    let answer = world.order(&["settings", "set-camera", CAMERA, "detection", "off"])?;
    if answer.pointer("/outcome/result").and_then(Value::as_str) != Some("camera_changed") {
        return Err(Failure::found(format!(
            "the camera's detection was not turned off: {answer}"
        )));
    }
    world.until("detection that is off", PATIENCE, |world| {
        Ok((world.detection()? == OFF).then_some(()))
    })?;
    world.start_app()
}

fn age_ms(event: &Value) -> Option<u64> {
    let number = |key: &str| event.get(key).and_then(Value::as_u64);
    let is_media = event.get("event").and_then(Value::as_str) == Some("live_media");
    let age = number("received_unix_ms")?.saturating_sub(number("captured_unix_ms")?);
    is_media.then_some(age)
}

/// How many pictures of a file FFmpeg decodes; `None` if it is not installed.
fn decoded(file: &Path) -> Outcome<Option<u64>> {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-count_frames", "-select_streams", "v:0"]);
    command.args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]);
    let output = command.arg(file).stdin(Stdio::null()).output();
    let output = match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        output => output.because("cannot start ffprobe")?,
    };
    match frames_in(&String::from_utf8_lossy(&output.stdout)) {
        Some(pictures) if output.status.success() && pictures > 0 => Ok(Some(pictures)),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(Failure::found(format!(
                "no picture of what was watched live can be decoded: {}",
                said.trim()
            )))
        }
    }
}

/// The number that ffprobe has printed, which is "N/A" where it has decoded nothing.
fn frames_in(said: &str) -> Option<u64> {
    said.trim().trim_end_matches(',').parse().ok()
}

/// A fragmented MP4 with one fragment at least, by its boxes.
fn has_fragments(bytes: &[u8]) -> bool {
    let has = |name: &[u8; 4]| bytes.windows(4).any(|found| found == name);
    bytes.get(4..8) == Some(b"ftyp") && has(b"moov") && has(b"moof") && has(b"mdat")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_beginning_without_pictures_is_no_live_view() {
        let begun = b"\0\0\0\x08ftyp\0\0\0\x08moov";
        assert!(!has_fragments(begun) && !has_fragments(b""));
        let whole = [&begun[..], b"\0\0\0\x08moof\0\0\0\x08mdat"].concat();
        assert!(has_fragments(&whole));
    }

    /// Boxes alone are no pictures.
    #[test]
    fn what_is_called_decoded_has_been_decoded() {
        let whole = b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x08moof\0\0\0\x08mdat";
        let name = format!("xtask-live-{}.mp4", std::process::id());
        let file = std::env::temp_dir().join(name);
        std::fs::write(&file, whole).unwrap();
        let empty = decoded(&file);
        std::fs::remove_file(&file).unwrap();
        let clip = decoded(&crate::cargo::root().join("hub/testdata/people-20s.mp4"));
        match clip.unwrap() {
            Some(pictures) => {
                assert_eq!(pictures, 200);
                assert!(empty.is_err());
            }
            // Nobody is asked.
            None => assert!(matches!(empty, Ok(None))),
        }
        for (said, pictures) in [("38\n", Some(38)), ("38,\n", Some(38)), ("N/A\n", None)] {
            assert_eq!(frames_in(said), pictures);
        }
        assert_eq!(frames_in(""), None);
    }

    #[test]
    fn only_pictures_have_an_age() {
        let media =
            json!({"event": "live_media", "captured_unix_ms": 1_000, "received_unix_ms": 1_250});
        assert_eq!(age_ms(&media), Some(250));
        assert_eq!(age_ms(&json!({"event": "live_began"})), None);
    }
}
