//! FFmpeg as a second opinion: it reads the same packets at the same times out of source and clip. That it decodes
//! them is in `players`.

use std::path::Path;
use std::process::{Command, Output};

use crashtest_players::Player;

use crate::support::{CLIPS, concatenate, record, testdata};

fn ffmpeg(input: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-v", "error", "-xerror", "-i"]);
    command.arg(input).args(arguments);
    command.output().expect("ffmpeg starts")
}

fn must_be_silent(output: &Output, name: &str) {
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(complaints.is_empty(), "{name}: {complaints}");
    assert!(output.status.success(), "{name}: {}", output.status);
}

/// What FFmpeg says of one packet.
#[derive(Debug, PartialEq)]
struct Packet {
    dts: i64,
    pts: i64,
    bytes: u64,
    hash: String,
}

/// The time base line, and the video packets.
///
/// Without their durations: of a file in fragments, its own ones included, FFmpeg reports the
/// average. Each duration shows in the decode time after it.
fn packets(output: &Output) -> (String, Vec<Packet>) {
    let text = String::from_utf8_lossy(&output.stdout);
    let time_base = text.lines().find(|line| line.starts_with("#tb"));
    let packets = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let columns: Vec<&str> = line.split(',').map(str::trim).collect();
            let [_stream, dts, pts, _duration, bytes, hash] = columns[..] else {
                panic!("{line}");
            };
            Packet {
                dts: dts.parse().expect("a time"),
                pts: pts.parse().expect("a time"),
                bytes: bytes.parse().expect("a size"),
                hash: hash.to_owned(),
            }
        });
    (
        time_base.expect("a time base").to_owned(),
        packets.collect(),
    )
}

#[test]
fn ffmpeg_sees_the_same_packets_in_source_and_clip() {
    if !Player::Ffmpeg.is_here("ffmpeg_sees_the_same_packets_in_source_and_clip") {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    for name in CLIPS {
        let clip = directory.path().join(name);
        std::fs::write(&clip, concatenate(&record(name))).expect("written");
        let copy = ["-map", "0:v", "-c", "copy", "-f", "framemd5", "-"];
        let list = |path: &Path| {
            let output = ffmpeg(path, &copy);
            must_be_silent(&output, name);
            packets(&output)
        };
        let (want_time_base, mut want) = list(&testdata(name));
        let (found_time_base, found) = list(&clip);
        assert_eq!(found_time_base, want_time_base, "{name}");
        assert!(want.len() > 40, "{name}: {} packets", want.len());
        // A clip shows its first picture at once; one of the sources does not.
        let delay = want[0].pts;
        assert_eq!(delay != 0, name == "fragmented.mp4", "{name}");
        for packet in &mut want {
            packet.dts -= delay;
            packet.pts -= delay;
        }
        assert_eq!(found, want, "{name}");
    }
}
