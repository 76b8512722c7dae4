//! `doctor`: looks at everything a hub needs, says what is wrong and what to do. It must never
//! change anything but through the journal's own opening, and only when no hub runs.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use journal::PairingState;
use relay_client::{Admission, Identity};
use serde_json::json;
use wire::Certificate;

use crate::camera::{Clock as _, FileCamera, TokioClock};
use crate::cli::shown;
use crate::config::Config;
use crate::control;
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::pairing::CLOCK_UNIX_MS_MIN;
use crate::secret::{self, Provisioned};
use crate::status::stranded;
use crate::{reset, state};

/// 2100-01-01.
const CLOCK_UNIX_MS_MAX: u64 = 4_102_444_800_000;
/// Less free space than this will not record for long.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How long the relay may take.
const RELAY_PATIENCE: Duration = Duration::from_secs(15);

/// Magic numbers of file systems (statfs(2)) on which a sync keeps what it promised.
const FILE_SYSTEMS: [(u64, &str); 3] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
];

/// What a check found.
enum Finding {
    Good(String),
    Warning(String),
    Bad(Code, String),
}

struct Report {
    format: Format,
    first_bad: Option<Code>,
}

impl Report {
    fn add(&mut self, check: &str, finding: Finding) {
        let (word, text) = match finding {
            Finding::Good(text) => ("ok", text),
            Finding::Warning(text) => ("warning", text),
            Finding::Bad(code, text) => {
                self.first_bad.get_or_insert(code);
                ("bad", text)
            }
        };
        let json = json!({"check": check, "result": word, "text": text});
        self.format
            .line(&json, &format!("{word:8} {check}: {text}"));
    }
}

/// Runs all checks.
///
/// # Errors
/// The code of the first thing that is bad.
pub async fn run(path: &Path, format: Format) -> Result<(), Failure> {
    let mut report = Report {
        format,
        first_bad: None,
    };
    report.add("clock", clock());
    match Config::read(path) {
        Ok(config) => {
            report.add("configuration", Finding::Good(shown(path)));
            report.add("state directory", directory(&config.state_dir));
            report.add("files", files(&config.state_dir));
            report.add("file system", file_system(&config.state_dir));
            report.add("free space", free_space(&config.state_dir));
            if let Some(trigger) = reset::asked(&config) {
                let text = format!(
                    "{} asks for one: the next start erases all keys and stored video",
                    shown(&trigger)
                );
                report.add("reset", Finding::Warning(text));
            }
            if let Some(trigger) = reset::ignored(&config) {
                let text = format!(
                    "{} is no regular file of this user or of root, and asks for nothing; remove it",
                    shown(&trigger)
                );
                report.add("reset", Finding::Warning(text));
            }
            report.add("clip", clip(&config));
            if control::is_running(&config.state_dir).await {
                report.add(
                    "journal",
                    Finding::Good("a running hub has it; see `secluso-hub status`".into()),
                );
            } else {
                journal_and_relay(&config, &mut report).await;
            }
        }
        Err(error) => report.add(
            "configuration",
            Finding::Bad(Code::Usage, error.to_string()),
        ),
    }
    match report.first_bad {
        None => Ok(()),
        Some(code) => Err(Failure::new(code, "something is wrong; see above")),
    }
}

fn clock() -> Finding {
    let now = TokioClock::new().unix_ms();
    if (CLOCK_UNIX_MS_MIN..CLOCK_UNIX_MS_MAX).contains(&now) {
        Finding::Good("plausible".into())
    } else {
        Finding::Bad(
            Code::Usage,
            "the date is wrong; set it before pairing (pairing codes expire by it)".into(),
        )
    }
}

fn directory(state_dir: &Path) -> Finding {
    match std::fs::metadata(state_dir) {
        Ok(meta) => match meta.permissions().mode() & 0o777 {
            mode if mode & 0o077 == 0 => Finding::Good(format!("mode {mode:o}")),
            mode => Finding::Bad(
                Code::Usage,
                format!(
                    "others may enter it (mode {mode:o}); run `chmod 700 {}`",
                    shown(state_dir)
                ),
            ),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Finding::Warning("does not exist yet; the first start makes it".into())
        }
        Err(error) => Finding::Bad(Code::of_path(&error), format!("cannot be read: {error}")),
    }
}

/// Whether everything in the directory is for its owner alone.
fn files(state_dir: &Path) -> Finding {
    if !state_dir.exists() {
        return Finding::Good("none yet".into());
    }
    // Whoever asks for a reset makes that file as they please, and there is nothing in it.
    let trigger = state_dir.join(reset::TRIGGER_NAME);
    match wal::private::first_shared(state_dir, Some(&trigger)) {
        Ok(None) => Finding::Good("for their owner alone".into()),
        Ok(Some((path, mode))) => Finding::Bad(
            Code::Usage,
            format!(
                "others may look into {} (mode {mode:o}); run `chmod -R go= {}`",
                shown(&path),
                shown(state_dir)
            ),
        ),
        Err(error) => Finding::Warning(format!("cannot be looked at: {error}")),
    }
}

/// Whether the device has the secret of the configured file, or will have it.
fn device_secret(device: Option<&journal::Device>, path: &Path) -> Finding {
    let Some(device) = device else {
        return match secret::read(path) {
            Ok(_good) => Finding::Good(format!("the next start takes that of {}", shown(path))),
            Err(failure) => Finding::Bad(failure.code, failure.message),
        };
    };
    match secret::compare(device, path) {
        Ok(Provisioned::Same) => Finding::Good(format!("that of {}", shown(path))),
        Ok(Provisioned::Other) => Finding::Warning(format!(
            "another than in {}, which was there too late; `secluso-hub reset` takes that one over",
            shown(path)
        )),
        Err(failure) => Finding::Warning(failure.message),
    }
}

fn file_system(state_dir: &Path) -> Finding {
    match rustix::fs::statfs(state::existing(state_dir)) {
        Ok(stat) => {
            let magic = stat.f_type as u64 & 0xffff_ffff;
            match FILE_SYSTEMS.iter().find(|(known, _)| *known == magic) {
                Some((_, name)) => Finding::Good((*name).into()),
                None => Finding::Warning(format!(
                    "type {magic:#x} is not one of ext4, xfs, btrfs, for which a sync is known to keep its word"
                )),
            }
        }
        Err(error) => Finding::Warning(format!("cannot be asked: {error}")),
    }
}

fn free_space(state_dir: &Path) -> Finding {
    match rustix::fs::statvfs(state::existing(state_dir)) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let text = format!("{} MiB", free >> 20);
            if free >= FREE_BYTES_MIN {
                Finding::Good(text)
            } else {
                Finding::Bad(
                    Code::Space,
                    format!("{text}; free at least {} MiB", FREE_BYTES_MIN >> 20),
                )
            }
        }
        Err(error) => Finding::Warning(format!("cannot be asked: {error}")),
    }
}

fn clip(config: &Config) -> Finding {
    let Some(camera) = &config.camera else {
        return Finding::Warning("no [camera] is configured; nothing is recorded".into());
    };
    match FileCamera::open(camera.file.clone(), TokioClock::new()) {
        Ok(camera) => {
            let facts = camera.facts();
            Finding::Good(format!(
                "H.264, {} pictures, {:.1} s",
                facts.pictures,
                facts.duration.as_secs_f64()
            ))
        }
        Err(error) => Finding::Bad(Code::Usage, error.to_string()),
    }
}

async fn journal_and_relay(config: &Config, report: &mut Report) {
    if !state::journal_dir(config).exists() {
        report.add(
            "journal",
            Finding::Warning("none yet; the first start makes it".into()),
        );
        report.add(
            "pairing",
            Finding::Warning("none yet; run `secluso-hub pair`".into()),
        );
        if let Some(path) = &config.device_secret_file {
            report.add("device secret", device_secret(None, path));
        }
        return;
    }
    let opened = state::opener(config).and_then(|mut open| Ok(open()?));
    let (journal, recovered) = match opened {
        Ok(opened) => opened,
        Err(failure) => return report.add("journal", Finding::Bad(failure.code, failure.message)),
    };
    report.add(
        "journal",
        match recovered.damaged_payloads.len() {
            0 => Finding::Good(format!("opens; start number {}", recovered.incarnation)),
            damaged => Finding::Warning(format!(
                "{damaged} stored envelopes are damaged; their clips are lost. Check the disk"
            )),
        },
    );
    let ids = journal.pairing_ids();
    let confirmed = ids.into_iter().filter(|id| {
        journal
            .pairing(*id)
            .is_ok_and(|p| p.is_some_and(|p| p.state == PairingState::Confirmed))
    });
    report.add(
        "pairing",
        match confirmed.count() {
            0 => Finding::Warning("no phone; run `secluso-hub pair`".into()),
            phones => Finding::Good(format!("{phones} phone(s)")),
        },
    );
    match journal.stranded_copies() {
        Ok(0) => {}
        Ok(copies) => report.add("retained", Finding::Warning(stranded(copies as u64))),
        Err(error) => report.add("retained", Finding::Bad(Code::State, error.to_string())),
    }
    // Only looked at: one that was made here would keep out the secret that is provisioned.
    let device = match journal.known_device() {
        Ok(device) => device,
        Err(error) => return report.add("relay", Finding::Bad(Code::State, error.to_string())),
    };
    if let Some(path) = &config.device_secret_file {
        report.add("device secret", device_secret(device.as_ref(), path));
    }
    let admitted = device.and_then(|device| {
        let certificate = Certificate::decode(device.certificate.as_deref()?).ok()?;
        Some((Identity::from_seed(*device.identity_seed), certificate))
    });
    let Some((identity, certificate)) = admitted else {
        return report.add(
            "relay",
            Finding::Warning(
                "this hub was never admitted; the first start uses the invitation".into(),
            ),
        );
    };
    let attempt = relay_client::connect(
        &config.relay,
        &identity,
        Admission::Certificate(certificate),
        relay_client::Config::default(),
    );
    report.add(
        "relay",
        match tokio::time::timeout(RELAY_PATIENCE, attempt).await {
            Ok(Ok((connection, _certificate))) => {
                Finding::Good(format!("answers in {} ms", connection.rtt().as_millis()))
            }
            Ok(Err(error)) => {
                let failure = Failure::from(error);
                Finding::Bad(failure.code, failure.message)
            }
            Err(_elapsed) => Finding::Bad(Code::Network, "does not answer".into()),
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trigger_that_was_touched_is_no_file_that_others_may_open() {
        let place = tempfile::tempdir().unwrap();
        let state = place.path().join("state");
        state::prepare(&state).unwrap();
        let touch = |name: &str| {
            let path = state.join(name);
            std::fs::write(&path, b"").unwrap();
            let mode = std::fs::Permissions::from_mode(0o644);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        touch(reset::TRIGGER_NAME);
        assert!(matches!(files(&state), Finding::Good(_)));
        touch("vault");
        assert!(matches!(files(&state), Finding::Bad(Code::Usage, _)));
    }
}
