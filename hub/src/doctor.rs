//! `doctor`: looks at everything a hub needs, says what is wrong and what to do. Where a hub runs, that is asked for
//! whatever it has open. It must never change anything but through the journal's own opening, and only when no hub
//! runs, and never open a camera beside a hub that has it.

mod operation;
mod running;

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use journal::{Journal, PairingState};
use pairing_lan::{Lan, Where};
use relay_client::{Admission, Identity};
use serde_json::{Value, json};
use wire::Certificate;

use crate::camera::address::Password;
use crate::camera::{Clock as _, FileCamera, SourceConfig, TokioClock};
use crate::cli::{failure_in, shown};
use crate::config::{CameraConfig, Config};
use crate::control::{self, Request};
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::pairing::CLOCK_UNIX_MS_MIN;
use crate::secret::{self, Provisioned};
use crate::status::stranded;
use crate::{probe, reset, state};

/// 2100-01-01.
const CLOCK_UNIX_MS_MAX: u64 = 4_102_444_800_000;
/// Less free space than this will not record for long.
const FREE_BYTES_MIN: u64 = 256 * 1024 * 1024;
/// How long the relay may take.
const RELAY_PATIENCE: Duration = Duration::from_secs(15);
/// How long a running hub may take.
const HUB_PATIENCE: Duration = Duration::from_secs(10);
/// How long a camera is looked at.
const CAMERA_LOOK: Duration = Duration::from_secs(3);

/// Magic numbers of file systems (statfs(2)) on which a sync keeps what it promised.
const FILE_SYSTEMS: [(u64, &str); 3] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
];

/// What a check found.
#[derive(Debug)]
enum Finding {
    Good(String),
    /// It cannot be checked from here.
    Unknown(String),
    Warning(String),
    Bad(Code, String),
}

/// Whether cameras may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Privacy {
    /// They may.
    Off,
    /// The owner wants that none is.
    On,
    /// Nobody can say, so none is asked.
    Unknown,
}

impl Privacy {
    fn of(is_on: bool) -> Self {
        if is_on { Self::On } else { Self::Off }
    }
}

struct Report {
    format: Format,
    first_bad: Option<Code>,
}

impl Report {
    fn add(&mut self, check: &str, finding: Finding) {
        let (word, text) = match finding {
            Finding::Good(text) => ("ok", text),
            Finding::Unknown(text) => ("unknown", text),
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
            let is_running = control::is_running(&config.state_dir).await;
            if let Some(address) = config.metrics {
                report.add("metrics", operation::metrics(address, is_running));
            }
            if let Where::At(lan) = config.pairing.announce {
                report.add("pairing interface", announced_at(lan));
            }
            let mut status = None;
            let privacy = if is_running {
                report.add(
                    "journal",
                    Finding::Good("a running hub has it; see `secluso-hub status`".into()),
                );
                match status_of_running(&config).await {
                    Ok(said) => {
                        by_its_word(&config, &said, &mut report);
                        status = Some(said);
                    }
                    Err(failure) => {
                        report.add("running hub", Finding::Bad(failure.code, failure.message));
                    }
                }
                privacy_of_running(status.as_ref())
            } else {
                let journal = open(&config, &mut report);
                let privacy = privacy_of(&config, journal.as_ref());
                if let Some(journal) = journal {
                    pairing_and_relay(&config, &journal, &mut report).await;
                }
                privacy
            };
            // Last: it takes a while, and a hub may have the journal meanwhile.
            cameras(&config, (privacy, status.as_ref()), &mut report).await;
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

/// What the hub says that has the journal.
async fn status_of_running(config: &Config) -> Result<Value, Failure> {
    let mut said = Value::Null;
    let each = |value: Value| said = value;
    control::ask(&config.state_dir, Request::Status, HUB_PATIENCE, each).await?;
    match failure_in(&said) {
        Some(failure) => Err(failure),
        None => Ok(said),
    }
}

/// What a running hub says of all that it has open but its cameras.
fn by_its_word(config: &Config, status: &Value, report: &mut Report) {
    for (check, finding) in operation::of_running(&status["service"]) {
        report.add(check, finding);
    }
    report.add("pairing", running::pairing(status));
    if let Some(finding) = running::retained(status) {
        report.add("retained", finding);
    }
    if let Some(path) = &config.device_secret_file {
        report.add(
            "device secret",
            running::device_secret(&status["device_secret"], path),
        );
    }
    report.add("relay", running::relay(status));
}

/// Its privacy mode.
fn privacy_of_running(status: Option<&Value>) -> Privacy {
    let said = status.and_then(|status| status["settings"]["privacy"].as_bool());
    said.map_or(Privacy::Unknown, Privacy::of)
}

/// Privacy mode as the journal has it. A hub without a journal was never told of it.
fn privacy_of(config: &Config, journal: Option<&Journal>) -> Privacy {
    match journal.map(Journal::settings) {
        Some(Ok(doc)) => Privacy::of(doc.settings.privacy),
        None if !state::journal_dir(config).exists() => Privacy::Off,
        Some(Err(_)) | None => Privacy::Unknown,
    }
}

/// Asks every camera, unless the owner wants that none is. `status`: what a running hub says, which has them.
async fn cameras(
    config: &Config,
    (privacy, status): (Privacy, Option<&Value>),
    report: &mut Report,
) {
    if config.cameras.is_empty() {
        let text = "none is configured; nothing is recorded";
        report.add("camera", Finding::Warning(text.into()));
    }
    for camera in &config.cameras {
        let check = format!("camera {}", camera.name);
        let finding = match privacy {
            Privacy::Off => match status {
                Some(status) => look_beside(camera, status).await,
                None => look_at(camera).await,
            },
            Privacy::On => Finding::Good("not asked: privacy mode is on".into()),
            Privacy::Unknown => Finding::Warning(
                "not asked: it cannot be read whether privacy mode is on. Try `secluso-hub test-camera`"
                    .into(),
            ),
        };
        report.add(&check, finding);
        // The routing table is asked for it, and no camera.
        if let Some(finding) = operation::isolation(camera) {
            report.add(&format!("network of {}", camera.name), finding);
        }
    }
}

/// Takes a running hub's word for a camera that it has, and asks one that is away: many a device lets nobody in
/// beside it.
async fn look_beside(camera: &CameraConfig, status: &Value) -> Finding {
    let told = match running::camera(&camera.name, status) {
        running::Camera::Judged(finding) => return finding,
        running::Camera::Away(told) => told,
    };
    if !told.may_be_asked(&camera.source) {
        return Finding::Bad(told.code, told.what);
    }
    match look_at(camera).await {
        Finding::Good(seen) => Finding::Warning(format!(
            "the running hub says: {}. Asked from here it answers: {seen}",
            told.what
        )),
        found => found,
    }
}

async fn look_at(camera: &CameraConfig) -> Finding {
    if camera
        .source
        .password()
        .is_some_and(Password::is_out_of_reach)
    {
        return Finding::Unknown(
            "not asked: its password is a credential of the systemd unit, which is only there inside the unit, so it cannot be checked from here. Start the hub and run `secluso-hub doctor` again"
                .into(),
        );
    }
    let SourceConfig::File(file) = &camera.source else {
        return match probe::look(&camera.source, CAMERA_LOOK, TokioClock::new()).await {
            Ok(seen) => Finding::Good(seen.to_text()),
            Err(error) => {
                let failure = probe::failure(&error);
                Finding::Bad(failure.code, failure.message)
            }
        };
    };
    match FileCamera::open(file.clone(), TokioClock::new()) {
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

/// Opens the journal that no running hub has. `None`: there is none, or it does not open, which is said.
fn open(config: &Config, report: &mut Report) -> Option<Journal> {
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
        return None;
    }
    let opened = state::opener(config).and_then(|mut open| Ok(open()?));
    let (journal, recovered) = match opened {
        Ok(opened) => opened,
        Err(failure) => {
            report.add("journal", Finding::Bad(failure.code, failure.message));
            return None;
        }
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
    Some(journal)
}

/// Pairing goes on without, so it is never bad.
fn announced_at(lan: Lan) -> Finding {
    match lan.check() {
        Ok(()) => Finding::Good(format!("an open code is announced at {}", lan.interface)),
        Err(error) => Finding::Warning(format!(
            "an open code cannot be announced at {}: {error}; correct [pairing] interface",
            lan.interface
        )),
    }
}

async fn pairing_and_relay(config: &Config, journal: &Journal, report: &mut Report) {
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
    use journal::message::{Settings, SettingsDoc};

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

    /// A configuration with one camera on the network, at this port.
    fn configured(place: &Path, port: u16) -> Config {
        with_cameras(
            place,
            &format!("[[camera]]\nkind = \"rtsp\"\nurl = \"rtsp://127.0.0.1:{port}/cam\"\n"),
        )
    }

    fn with_cameras(place: &Path, cameras: &str) -> Config {
        let path = place.join("hub.toml");
        let relay = wire::RelayId([7; 32]).to_text();
        let text = format!("state_dir = \"state\"\nrelay = \"127.0.0.1:4433/{relay}\"\n{cameras}");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).unwrap()
    }

    /// A report of which nothing is known yet.
    fn blank() -> Report {
        Report {
            format: Format::Text,
            first_bad: None,
        }
    }

    /// Whether anybody connects within a moment.
    async fn is_asked(listener: &tokio::net::TcpListener) -> bool {
        let a_moment = Duration::from_millis(100);
        let asked = tokio::time::timeout(a_moment, listener.accept()).await;
        asked.is_ok()
    }

    /// What a running hub says of its one camera.
    fn told(trouble: Option<&str>, next: Option<&str>) -> Value {
        json!({"cameras": [{"camera": "camera", "trouble": trouble, "next": next, "recording": false,
                            "detection": "every_picture"}]})
    }

    /// Many a camera, and every device, lets one in and no more.
    #[tokio::test]
    async fn a_camera_that_a_running_hub_has_is_left_alone_and_one_that_is_away_is_asked() {
        let place = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = configured(place.path(), listener.local_addr().unwrap().port());
        let camera = &config.cameras[0];
        let found = look_beside(camera, &told(None, None)).await;
        assert!(matches!(found, Finding::Good(_)), "{found:?}");
        // Each wrong password brings the account nearer to being locked.
        let refused = told(Some("it refuses"), Some("login"));
        let found = look_beside(camera, &refused).await;
        assert!(matches!(found, Finding::Bad(Code::Usage, _)), "{found:?}");
        assert!(!is_asked(&listener).await, "it was connected to");

        // It hangs up at once, which is no camera.
        let away = told(Some("nobody answers"), Some("retry"));
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        let ((), found) = tokio::join!(hang_up, look_beside(camera, &away));
        assert!(matches!(found, Finding::Bad(Code::Network, _)), "{found:?}");
    }

    /// It has its device for itself, also while it does not show a picture.
    #[tokio::test]
    async fn no_program_is_started_beside_a_running_hub() {
        let place = tempfile::tempdir().unwrap();
        let traces = place.path().join("started");
        let cameras = format!(
            "[[camera]]\nkind = \"command\"\nprogram = \"touch\"\narguments = [{:?}]\n",
            traces.display().to_string()
        );
        let config = with_cameras(place.path(), &cameras);
        let camera = &config.cameras[0];
        let found = look_beside(camera, &told(None, None)).await;
        assert!(matches!(found, Finding::Good(_)), "{found:?}");
        let away = told(Some("it has ended"), Some("retry"));
        let found = look_beside(camera, &away).await;
        assert!(matches!(found, Finding::Bad(Code::Network, _)), "{found:?}");
        assert!(!traces.exists(), "it was started");
        // Without a hub it is.
        let found = look_at(camera).await;
        assert!(matches!(found, Finding::Bad(Code::Network, _)), "{found:?}");
        assert!(traces.exists());
    }

    #[tokio::test]
    async fn one_that_is_there_although_the_hub_does_not_find_it_is_said() {
        let place = tempfile::tempdir().unwrap();
        let config = with_cameras(
            place.path(),
            &format!(
                "[[camera]]\nkind = \"file\"\npath = {:?}\n",
                concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/odd-durations.mp4")
            ),
        );
        let away = told(Some("it was cut off"), Some("replace"));
        let Finding::Warning(text) = look_beside(&config.cameras[0], &away).await else {
            panic!("it is neither good nor bad");
        };
        assert!(
            text.contains("it was cut off") && text.contains("it answers"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_credential_is_judged_by_the_hub_that_has_it_and_by_nobody_else() {
        if std::env::var_os("CREDENTIALS_DIRECTORY").is_some() {
            // These tests are run by a unit that has some.
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let config = with_cameras(
            place.path(),
            &format!(
                "[[camera]]\nkind = \"rtsp\"\nurl = \"rtsp://127.0.0.1:{port}/cam\"\nuser = \"hub\"\n\
                 password_credential = \"door\"\n"
            ),
        );
        let found = look_at(&config.cameras[0]).await;
        assert!(matches!(found, Finding::Unknown(_)), "{found:?}");
        let mut report = blank();
        cameras(&config, (Privacy::Off, None), &mut report).await;
        assert!(report.first_bad.is_none(), "nobody knows that it is bad");
        for (status, code) in [
            (told(None, None), None),
            (
                told(Some("nobody answers"), Some("retry")),
                Some(Code::Network),
            ),
        ] {
            let mut report = blank();
            cameras(&config, (Privacy::Off, Some(&status)), &mut report).await;
            assert_eq!(report.first_bad, code, "{status}");
        }
        assert!(!is_asked(&listener).await, "it was connected to");
    }

    #[tokio::test]
    async fn a_camera_is_asked_only_where_privacy_mode_is_off() {
        let place = tempfile::tempdir().unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = configured(place.path(), listener.local_addr().unwrap().port());
        let mut report = blank();
        for privacy in [Privacy::On, Privacy::Unknown] {
            cameras(&config, (privacy, None), &mut report).await;
        }
        assert!(!is_asked(&listener).await, "it was connected to");
        assert!(report.first_bad.is_none());

        // It hangs up at once, which is no camera.
        let hang_up = async { drop(listener.accept().await.unwrap()) };
        tokio::join!(hang_up, cameras(&config, (Privacy::Off, None), &mut report));
        assert!(report.first_bad.is_some());
    }

    #[test]
    fn privacy_mode_is_what_the_journal_says() {
        let place = tempfile::tempdir().unwrap();
        let config = configured(place.path(), 1);
        assert_eq!(privacy_of(&config, None), Privacy::Off);
        state::prepare(&config.state_dir).unwrap();
        let mut open = state::opener(&config).unwrap();
        let (mut journal, _report) = open().unwrap();
        assert_eq!(privacy_of(&config, Some(&journal)), Privacy::Off);
        let mut txn = journal.begin();
        let settings = Settings {
            privacy: true,
            event_seconds_max: None,
            ..Settings::default()
        };
        let doc = SettingsDoc {
            version: 1,
            made_by: None,
            settings,
        };
        txn.put_settings(&doc).unwrap();
        drop(txn.commit(()).unwrap());
        assert_eq!(privacy_of(&config, Some(&journal)), Privacy::On);
        drop(journal);
        // It is there and does not open.
        assert_eq!(privacy_of(&config, None), Privacy::Unknown);
    }
}
