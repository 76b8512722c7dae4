//! A camera of somebody else's: GStreamer's RTSP server with its own login, RTSP and RTP. What it shows is ours.
//!
//! The server is `testdata/rtsp_server.py`, a process of its own, and what it says of connections is the camera's own log.
//! It needs packages that `cargo xtask setup` installs; a test asks first whether [it is here](is_here), which says so if
//! not. This room must never leave a server behind.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crashtest::trouble::{Outcome, Trouble};
use test_camera::{PASSWORD, Picture, Scene, USER};

use crate::people::RATE;

/// Debian's own: another one does not know Debian's packages.
const PYTHON: &str = "/usr/bin/python3";
/// How long it may take to listen: the first one on a machine looks at all of GStreamer's plugins.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);
/// The kind of NAL unit that only a key frame has (ITU-T H.264, table 7-1).
const IDR: u8 = 5;

/// Whether a test can have one. If not, that is said for the test of this name.
#[must_use]
pub(crate) fn is_here(test: &str) -> bool {
    let mut python = Command::new(PYTHON);
    python.arg("-I").arg(script()).arg("check");
    let status = python
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let is_here = status.is_ok_and(|status| status.success());
    crashtest_players::here_or_said("GStreamer's RTSP server", is_here, test)
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rtsp_server.py")
}

/// Writes what a camera shows, and its sound, if it has any: frames of AAC as
/// [`AUDIO_CONFIG`](test_camera::AUDIO_CONFIG) says.
pub(crate) fn write(films: &Path, name: &str, scene: &Scene, sound: &[Bytes]) -> Outcome<()> {
    let units = scene.pictures.iter().map(|picture| unit(scene, picture));
    let pictures = records(units);
    std::fs::write(films.join(format!("{name}.pictures")), pictures)
        .map_err(Trouble::machine("what a camera shows"))?;
    if sound.is_empty() {
        return Ok(());
    }
    let sound = records(sound.iter().map(|frame| frame.to_vec()));
    std::fs::write(films.join(format!("{name}.sound")), sound)
        .map_err(Trouble::machine("what a camera hears"))
}

/// Each behind its length in four bytes.
fn records(parts: impl Iterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        let bytes = u32::try_from(part.len()).expect("pictures are small");
        out.extend_from_slice(&bytes.to_be_bytes());
        out.extend(part);
    }
    out
}

/// A picture as a byte stream (annex B); a key frame has the parameter sets before it.
fn unit(scene: &Scene, picture: &Picture) -> Vec<u8> {
    let is_key = picture.nals.iter().any(|nal| nal[0] & 0x1F == IDR);
    let parameters = [&scene.sps, &scene.pps].into_iter().filter(|_| is_key);
    let mut stream = Vec::new();
    for nal in parameters.chain(&picture.nals) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    }
    stream
}

/// A server that runs. Dropping it kills it, as pulling the plug does.
pub(crate) struct Server {
    /// Its process.
    pub child: Child,
    /// Where it listens.
    pub port: u16,
    /// What it has said.
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts one that shows what [was written](write) for these cameras; port 0 is any. It listens when this returns.
    pub(crate) fn start(films: &Path, names: &[&str], port: u16) -> Outcome<Self> {
        let log = films.join("server.log");
        let stderr = std::fs::File::create(&log).map_err(Trouble::machine("a server's log"))?;
        let mut child = Command::new(PYTHON)
            .arg("-I")
            .arg(script())
            .arg(port.to_string())
            .arg(films)
            .args([USER, PASSWORD])
            .arg(RATE.to_string())
            .args(names)
            // It ends when this does, also if nobody is left to kill it.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .map_err(Trouble::machine("starting GStreamer's RTSP server"))?;
        let said = Arc::new(Mutex::new(Vec::new()));
        if let Some(stdout) = child.stdout.take() {
            let said = Arc::clone(&said);
            std::thread::spawn(move || listen(stdout, &said));
        }
        let mut server = Self { child, port, said };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(port) = server.listens() {
                server.port = port;
                return Ok(server);
            }
            let has_ended = !matches!(server.child.try_wait(), Ok(None));
            if has_ended || Instant::now() >= deadline {
                let words = std::fs::read_to_string(&log).unwrap_or_default();
                let what = format!("GStreamer's RTSP server does not listen: {}", words.trim());
                return Err(Trouble::Broken(what));
            }
            sleep(LOOK);
        }
    }

    /// The port that it has said.
    fn listens(&self) -> Option<u16> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ports = said
            .iter()
            .filter_map(|line| line.strip_prefix("listening "));
        ports.next()?.parse().ok()
    }

    /// The address of one of its cameras.
    pub(crate) fn url(&self, name: &str) -> String {
        format!("rtsp://127.0.0.1:{}/{name}", self.port)
    }

    /// How often it has said this.
    pub(crate) fn count(&self, word: &str) -> usize {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().filter(|line| *line == word).count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _status = self.child.wait();
    }
}

fn listen(stdout: ChildStdout, said: &Mutex<Vec<String>>) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        said.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}
