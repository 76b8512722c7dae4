//! `doctor`: checks a configuration and the machine, and says what to do.
//!
//! This room must never change anything, and works beside a running relay.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::json;
use wal::Disk as _;
use wal::disk::RealDisk;

use super::{CliError, Output, check_layout};
use crate::config::Config;
use crate::control::{self, StatusReport};
use crate::disk_use::allocated_bytes;
use crate::keyfile;
use crate::server::unix_now_s;

/// Below this the relay soon refuses video.
const SPACE_BYTES_MIN: u64 = 512 << 20;
/// What QUIC asks of the kernel.
const SOCKET_BUFFER_BYTES: u64 = 4 << 20;
/// 2026-01-01: a clock before it was never set.
const CLOCK_UNIX_S_MIN: u64 = 1_767_225_600;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Problem,
}

#[derive(Debug)]
struct Check {
    name: &'static str,
    level: Level,
    detail: String,
}

pub(super) fn run(config_path: &Path, output: Output) -> Result<(), CliError> {
    let mut broken = None;
    let checks = match Config::load(config_path) {
        Ok(config) => {
            let mut checks = vec![ok("configuration", config_path.display().to_string())];
            checks.extend(check_all(&config));
            checks
        }
        Err(error) => {
            let found = vec![problem("configuration", error.to_string())];
            broken = Some(error);
            found
        }
    };
    let count = checks
        .iter()
        .filter(|check| check.level == Level::Problem)
        .count();
    match output {
        Output::Json => say!(
            "{}",
            json!({
                "event": "doctor",
                "problems": count,
                "checks": checks.iter().map(as_json).collect::<Vec<_>>(),
            })
        ),
        Output::Text => {
            for check in &checks {
                let word = level_word(check.level);
                say!("{word:<8} {:<14} {}", check.name, check.detail);
            }
        }
    }
    // As every other command says it: nothing more could be looked at.
    if let Some(error) = broken {
        return Err(error.into());
    }
    if count > 0 {
        return Err(CliError::Unhealthy { count });
    }
    Ok(())
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Ok => "ok",
        Level::Warning => "warning",
        Level::Problem => "PROBLEM",
    }
}

fn as_json(check: &Check) -> serde_json::Value {
    let level = level_word(check.level).to_ascii_lowercase();
    json!({"name": check.name, "level": level, "detail": check.detail})
}

fn ok(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        level: Level::Ok,
        detail: detail.into(),
    }
}

fn warning(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        level: Level::Warning,
        detail: detail.into(),
    }
}

fn problem(name: &'static str, detail: impl Into<String>) -> Check {
    Check {
        name,
        level: Level::Problem,
        detail: detail.into(),
    }
}

fn check_all(config: &Config) -> Vec<Check> {
    let running = control::ask(&config.data_dir);
    let mut checks = vec![match keyfile::load(&config.identity_key) {
        Ok(identity) => ok("identity key", identity.relay_id().to_text()),
        Err(error) => problem("identity key", error.to_string()),
    }];
    if let Err(error) = check_layout(config) {
        checks.push(problem("layout", error.to_string()));
    }
    checks.extend(check_data_dir(&config.data_dir));
    if config.data_dir.exists() {
        checks.push(check_disk_use(&config.data_dir, running.as_ref()));
    }
    checks.push(match &running {
        Some(report) => ok("running", format!("yes, on {}", report.listening)),
        None => warning("running", "no"),
    });
    checks.extend(running.iter().flat_map(check_service));
    // A running relay has the port itself.
    if running.is_none() {
        checks.push(match UdpSocket::bind(config.listen) {
            Ok(_socket) => ok("port", format!("{} is free", config.listen)),
            Err(error) => problem(
                "port",
                format!("{}: {error}; choose another in `listen`", config.listen),
            ),
        });
    }
    for name in ["rmem_max", "wmem_max"] {
        checks.push(check_socket_buffer(name));
    }
    checks.push(if unix_now_s() >= CLOCK_UNIX_S_MIN {
        ok("clock", "is set")
    } else {
        problem(
            "clock",
            "is not set; invitations would never expire in time",
        )
    });
    checks
}

fn check_data_dir(data_dir: &Path) -> Vec<Check> {
    if !data_dir.exists() {
        return vec![warning(
            "data directory",
            format!("{} will be made by `run`", data_dir.display()),
        )];
    }
    let disk = match RealDisk::new(data_dir) {
        Ok(disk) => disk,
        Err(error) => {
            return vec![problem(
                "data directory",
                format!("{}: {error}", data_dir.display()),
            )];
        }
    };
    let place = ok("data directory", data_dir.display().to_string());
    let space = match disk.available_bytes() {
        Ok(bytes) if bytes >= SPACE_BYTES_MIN => ok("space", format!("{} MiB free", bytes >> 20)),
        Ok(bytes) => problem(
            "space",
            format!("only {} MiB free; video will be refused", bytes >> 20),
        ),
        Err(error) => problem("space", error.to_string()),
    };
    vec![place, check_files(data_dir), space]
}

/// Whether everything in the directory is for its owner alone.
fn check_files(data_dir: &Path) -> Check {
    match wal::private::first_shared(data_dir, None) {
        Ok(None) => ok("files", "for their owner alone"),
        Ok(Some((path, mode))) => problem(
            "files",
            format!(
                "others may look into {} (mode {mode:o}); run: chmod -R go= {}",
                path.display(),
                data_dir.display()
            ),
        ),
        Err(error) => warning("files", error.to_string()),
    }
}

/// What the data directory takes, and beside it what quotas count: the first has the second, the
/// dead part of log files, those kept free, and the index.
fn check_disk_use(data_dir: &Path, running: Option<&StatusReport>) -> Check {
    let measured = match allocated_bytes(data_dir) {
        Ok(bytes) => bytes,
        Err(error) => return problem("disk use", error.to_string()),
    };
    let counted = running.map_or_else(
        || "what quotas count is known while the relay runs".to_owned(),
        |report| {
            format!(
                "quotas count {} KiB for {} KiB of envelopes",
                report.quota_bytes >> 10,
                report.envelope_bytes >> 10
            )
        },
    );
    ok(
        "disk use",
        format!("{} KiB on disk; {counted}", measured >> 10),
    )
}

/// Who looks after a running relay, and whether it goes by its configuration.
fn check_service(report: &StatusReport) -> [Check; 2] {
    let supervisor = match (report.supervised, report.watchdog_s) {
        (true, Some(seconds)) => ok(
            "supervisor",
            format!("awaits a sign of life every {seconds} s"),
        ),
        (true, None) => ok("supervisor", "awaits no signs of life (WatchdogSec=)"),
        (false, _) => warning(
            "supervisor",
            "none: nobody starts this relay again if it ends; releases/systemd has a unit",
        ),
    };
    let in_force = match report.waiting.as_slice() {
        [] => ok("in force", "what was read last"),
        keys => warning(
            "in force",
            format!("restart the relay for {}", keys.join(", ")),
        ),
    };
    [supervisor, in_force]
}

fn check_socket_buffer(name: &'static str) -> Check {
    let path = format!("/proc/sys/net/core/{name}");
    let value = std::fs::read_to_string(&path)
        .ok()
        .and_then(|text| text.trim().parse::<u64>().ok());
    match value {
        None => warning(name, format!("{path} cannot be read")),
        Some(bytes) if bytes >= SOCKET_BUFFER_BYTES => ok(name, format!("{bytes} bytes")),
        Some(bytes) => warning(
            name,
            format!("{bytes} bytes; for speed: sysctl -w net.core.{name}={SOCKET_BUFFER_BYTES}"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_after_a_relay_and_what_waits_is_said() {
        let report = |supervised, watchdog_s, waiting: &[&str]| StatusReport {
            relay: String::new(),
            listening: String::new(),
            connections: 0,
            accounts: 0,
            mailboxes: 0,
            envelope_bytes: 0,
            quota_bytes: 0,
            disk_bytes: None,
            syncs: 0,
            log_files: 0,
            free_log_files: 0,
            log_file_bytes: 0,
            supervised,
            watchdog_s,
            waiting: waiting.iter().map(|&key| key.to_owned()).collect(),
        };
        let good = check_service(&report(true, Some(120), &[]));
        assert!(good.iter().all(|check| check.level == Level::Ok));
        assert!(good[0].detail.contains("120 s"), "{good:?}");
        let bad = check_service(&report(false, None, &["listen"]));
        assert!(bad.iter().all(|check| check.level == Level::Warning));
        assert!(bad[1].detail.contains("listen"), "{bad:?}");
    }
}
