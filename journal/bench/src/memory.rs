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
use crate::report::{Figure, Target};
use crate::{Outcome, Scale, measure};

const MIB: f64 = (1 << 20) as f64;
/// How long a relay has nothing to do before its memory is read.
const IDLE: Duration = Duration::from_secs(2);

/// Answers both questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let sealing = sealing(dir, scale)?;
    let title = "peak memory of an idle relay";
    let target = Target::AtMost(32.0);
    let relay = idle_relay(dir)
        .unwrap_or_else(|error| Figure::missing("relay_memory", title, target, error.to_string()));
    Ok(vec![sealing, relay])
}

fn sealing(dir: &Path, scale: Scale) -> Outcome<Figure> {
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
    let title = "peak memory of a process that seals";
    let figure = with_memory(title, "seal_memory", found, Target::AtMost(64.0));
    Ok(figure
        .with(
            "what",
            json!("journal, RocksDB, one clip in memory; no camera, no QUIC, no muxer"),
        )
        .with_number("clips", f64::from(clips))
        .with_number("MiB of the clip itself", CLIP_BYTES as f64 / MIB))
}

fn with_memory(title: &'static str, key: &'static str, found: Memory, target: Target) -> Figure {
    Figure::new(key, title, "MiB", found.peak as f64 / MIB, target)
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

fn idle_relay(dir: &Path) -> Outcome<Figure> {
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
    let title = "peak memory of an idle relay";
    Ok(with_memory(title, "relay_memory", found, Target::AtMost(32.0)).with("what", json!(what)))
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
