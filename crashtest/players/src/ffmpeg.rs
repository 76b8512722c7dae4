//! FFmpeg as a judge: it decodes everything without one word, and counts the pictures and the time.
//!
//! What is on its stderr is a complaint, whatever its exit code.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::{Fault, Film};

/// The judge's name.
const JUDGE: &str = "FFmpeg";

/// Has FFmpeg judge a film.
///
/// # Errors
/// [`Fault`].
pub fn decode(film: &Film) -> Result<(), Fault> {
    let machine = |error: std::io::Error| Fault::machine(JUDGE, error);
    let mut file = tempfile::Builder::new()
        .prefix("secluso-film-")
        .suffix(".mp4")
        .tempfile()
        .map_err(machine)?;
    file.write_all(&film.bytes).map_err(machine)?;
    let quiet = ["-v", "error"];
    let mut all = Command::new("ffmpeg");
    all.arg("-nostdin").args(quiet).arg("-i").arg(file.path());
    all.args(["-f", "null", "-"]);
    silent(film, &mut all)?;
    let count = counted(film, file.path())?;
    match film.want.differs(count.pictures, count.lasts, count.sound) {
        None => Ok(()),
        Some(said) => Err(Fault::refused(JUDGE, film, said)),
    }
}

/// Runs one of its programs, which must end well and complain of nothing.
fn silent(film: &Film, command: &mut Command) -> Result<Output, Fault> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| Fault::machine(JUDGE, error))?;
    if output.status.success() && output.stderr.is_empty() {
        return Ok(output);
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let said = format!("{}: {}", output.status, complaint.trim());
    Err(Fault::refused(JUDGE, film, said))
}

/// What it has decoded.
struct Count {
    pictures: usize,
    lasts: Duration,
    sound: Option<Duration>,
}

/// Decodes again and counts the pictures; the time is that of the packets.
fn counted(film: &Film, path: &Path) -> Result<Count, Fault> {
    let entries =
        "stream=index,codec_type,nb_read_frames:packet=stream_index,pts_time,duration_time";
    let mut count = Command::new("ffprobe");
    count.args(["-v", "error", "-count_frames", "-of", "json"]);
    count.args(["-show_entries", entries]).arg(path);
    let output = silent(film, &mut count)?;
    let found: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Fault::machine(JUDGE, format!("ffprobe: {error}")))?;
    let lasts = times(&found);
    let stream = |kind: &str| {
        let mut streams = list(&found, "streams").iter();
        streams.find(|stream| stream["codec_type"] == kind)
    };
    let lasts = |stream: &Value| lasts.get(&stream["index"].as_u64()?).copied();
    let pictures = stream("video").and_then(|video| {
        let pictures = video["nb_read_frames"].as_str()?.parse::<usize>().ok()?;
        Some((pictures, lasts(video)?))
    });
    let Some((pictures, time)) = pictures else {
        return Err(Fault::refused(JUDGE, film, "it finds no picture"));
    };
    Ok(Count {
        pictures,
        lasts: time,
        sound: stream("audio").and_then(lasts),
    })
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let values = value[key].as_array().map(Vec::as_slice);
    values.unwrap_or_default()
}

/// From the first to the end of the last packet of each stream.
fn times(found: &Value) -> BTreeMap<u64, Duration> {
    let mut spans: BTreeMap<u64, (f64, f64)> = BTreeMap::new();
    for packet in list(found, "packets") {
        let seconds = |key: &str| packet[key].as_str()?.parse::<f64>().ok();
        let (Some(stream), Some(begins)) = (packet["stream_index"].as_u64(), seconds("pts_time"))
        else {
            continue;
        };
        let ends = begins + seconds("duration_time").unwrap_or(0.0);
        let span = spans.entry(stream).or_insert((begins, ends));
        *span = (span.0.min(begins), span.1.max(ends));
    }
    let lasts = |(begins, ends): (f64, f64)| Duration::try_from_secs_f64(ends - begins);
    let spans = spans.into_iter();
    spans
        .map(|(stream, span)| (stream, lasts(span).unwrap_or(Duration::ZERO)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::tests::{cut, foreign, twice};
    use crate::{Player, Seen};

    #[test]
    fn ffmpeg_is_content_with_a_good_film_and_not_with_one_that_is_cut_or_runs_back() {
        if !Player::Ffmpeg
            .is_here("ffmpeg_is_content_with_a_good_film_and_not_with_one_that_is_cut_or_runs_back")
        {
            return;
        }
        let seen = Seen::of(&foreign()).expect("a sound film");
        let film = |bytes| Film {
            name: "a film".to_owned(),
            bytes,
            mime: String::new(),
            want: seen.want(seen.lasts, seen.picture),
        };
        decode(&film(foreign())).expect("a good one");
        for bytes in [cut(), twice(), b"no film".to_vec()] {
            let fault = decode(&film(bytes)).expect_err("a bad one");
            assert!(matches!(fault, Fault::Refused { .. }), "{fault}");
        }
        let mut other = film(foreign());
        other.want.pictures += 1;
        let fault = decode(&other).expect_err("a picture is missing");
        assert!(fault.to_string().contains("50 pictures"), "{fault}");
    }
}
