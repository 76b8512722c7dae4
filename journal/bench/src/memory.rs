//! Peak memory: of a process that seals, and of an idle relay.
//!
//! Both are children, so that the yardsticks' memory is not counted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::child::Task;
use crate::hub::{CLIP_BYTES, Hub, WARM_UP_CLIPS};
use crate::procfs::{Memory, memory};
use crate::report::{Figure, Question, Target};
use crate::{Outcome, Scale, measure};

/// What is asked.
pub(crate) const QUESTIONS: [Question; 2] = [
    Question {
        key: "seal_memory",
        title: "peak memory of a process that seals",
        unit: "MiB",
        target: Target::AtMost(64.0),
    },
    Question {
        key: "relay_memory",
        title: "peak memory of an idle relay",
        unit: "MiB",
        target: Target::AtMost(32.0),
    },
];

const MIB: f64 = (1 << 20) as f64;
/// How long a relay has nothing to do before its memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// Answers both questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let [seal, relay] = QUESTIONS;
    let sealing = sealing(seal, dir, scale)?;
    let idle = idle_relay(relay, dir).unwrap_or_else(|error| relay.unanswered(error.to_string()));
    Ok(vec![sealing, idle])
}

fn sealing(asked: Question, dir: &Path, scale: Scale) -> Outcome<Figure> {
    let pairing = Hub::pair(dir)?;
    let clips = (WARM_UP_CLIPS + scale.rounds(4, 32)) as u32;
    let output = Task::Seal
        .command(dir, pairing, clips)?
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the sealing child failed; see above".into());
    }
    let found: Memory = serde_json::from_slice(&output.stdout)?;
    Ok(with_memory(asked, found)
        .with(
            "what",
            json!("journal, RocksDB, one clip in memory; no camera, no QUIC, no muxer"),
        )
        .with_number("clips", f64::from(clips))
        .with_number("MiB of the clip itself", CLIP_BYTES as f64 / MIB))
}

fn with_memory(asked: Question, found: Memory) -> Figure {
    asked
        .answer(found.peak as f64 / MIB)
        .with("by", json!("VmHWM"))
        .with_number("MiB resident at the end", found.now as f64 / MIB)
        .with_number("MiB of that anonymous", found.anonymous as f64 / MIB)
}

/// The relay's program if it was built, else the same code in a child of this program.
fn relay_command() -> Outcome<(Command, &'static str)> {
    let built: PathBuf = std::env::current_exe()?.with_file_name("secluso-relay");
    if built.is_file() {
        return Ok((Command::new(built), "secluso-relay as built"));
    }
    Ok((
        Task::Relay.bare_command()?,
        "the relay's code inside this program",
    ))
}

fn idle_relay(asked: Question, dir: &Path) -> Outcome<Figure> {
    let home = dir.join("relay-idle");
    let (mut init, what) = relay_command()?;
    let output = init.arg("init").arg(&home).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr)
            .trim()
            .to_owned()
            .into());
    }
    let config = home.join("relay.toml");
    let path = |name: &str| toml_string(&home.join(name));
    let text = format!(
        "listen = \"127.0.0.1:0\"\nidentity_key = {}\ndata_dir = {}\n",
        path("identity.key"),
        path("data")
    );
    std::fs::write(&config, text)?;
    let (mut run, _) = relay_command()?;
    run.arg("--json").arg("--config").arg(&config).arg("run");
    let child = run
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut running = Running(child);
    running.wait_until_it_listens()?;
    measure::pause(IDLE);
    let found = memory(&running.0.id().to_string())?;
    Ok(with_memory(asked, found).with("what", json!(what)))
}

fn toml_string(path: &Path) -> String {
    // A JSON string is a TOML basic string.
    json!(path.to_string_lossy()).to_string()
}

/// A relay that is ended with this value, whatever happens in between.
struct Running(Child);

impl Running {
    fn wait_until_it_listens(&mut self) -> Outcome<()> {
        let out = self
            .0
            .stdout
            .take()
            .ok_or("the relay has no standard output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line)?;
        if line.contains("listening") {
            Ok(())
        } else {
            Err(format!("the relay said {line:?}").into())
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing left to do.
        let _gone = self.0.kill();
        let _gone = self.0.wait();
    }
}
