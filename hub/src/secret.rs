//! The device secret: provisioned by a file, shown to its owner on request.
//!
//! Every pairing code is derived from it, so whoever has it can pair with this hub while it is in pairing
//! mode. This room prints it for a person at a terminal, and must never let it into a log.

use std::fs::File;
use std::io::{IsTerminal as _, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{DEVICE_SECRET_BYTES, DeviceSecret, Journal};
use rustix::fs::OFlags;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::config::Config;
use crate::control::{self, Request};
use crate::core::{Core, CoreError};
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::sealer::Sealer;
use crate::{reset, state};
use pairing_code::terminal_qr;

/// How long a running hub may take to say it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What stands below the secret, for the person who reads it.
const MEANING: &str =
    "This is the secret of this device: every pairing code is made of it. Whoever has it can pair
while the hub is in pairing mode. Keep it where the device is kept, and nowhere else.
";

/// Whether the secret may go where it is not a person who reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reader {
    /// Only to a terminal.
    Person,
    /// `--force`: wherever stdout leads.
    Anybody,
}

/// Reads the file that provisions a device.
///
/// # Errors
/// [`Code::Usage`] with the way out: it cannot be read, it is no regular file of this user or of root, others
/// may read it, or it is not [`DEVICE_SECRET_BYTES`] random bytes.
pub fn read(path: &Path) -> Result<DeviceSecret, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let what = format!(
            "device_secret_file {shown} cannot be read ({error}); put it back, or take the key out of the configuration"
        );
        Failure::new(Code::Usage, what)
    };
    // A pipe in its place would otherwise hold the start up until somebody writes.
    let mut options = File::options();
    options.read(true);
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = options.open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    if !found.is_file() || !wal::private::is_ours(&found) {
        let what = format!(
            "device_secret_file {shown} is no regular file of this user or of root, and others may choose what is in it; put a file there that is"
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let mode = found.permissions().mode() & 0o777;
    if mode & wal::private::OTHERS != 0 {
        let what = format!(
            "others may read device_secret_file {shown} (mode {mode:o}); run `chmod 600 {shown}`"
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let secret = read_bytes(file).map_err(unreadable)?;
    secret.ok_or_else(|| {
        let what = format!(
            "device_secret_file {shown} is not {DEVICE_SECRET_BYTES} random bytes; make one with `head -c {DEVICE_SECRET_BYTES} /dev/urandom`"
        );
        Failure::new(Code::Usage, what)
    })
}

/// What such a file holds; none if it is not exactly [`DEVICE_SECRET_BYTES`] random bytes.
///
/// # Errors
/// The file's.
pub fn read_bytes(file: impl Read) -> std::io::Result<Option<DeviceSecret>> {
    // One byte more shows a file that is too long. With that room, the vector never grows and leaves no copy.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * DEVICE_SECRET_BYTES));
    let limit = DEVICE_SECRET_BYTES as u64 + 1;
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(DeviceSecret::from_bytes(&bytes))
}

/// Takes the secret over from the configured file, if this device has none yet: the file is read once, at
/// the first start and at the first after a reset.
///
/// # Errors
/// As [`read`]; our own storage.
pub fn import(config: &Config, core: &mut Core, now_unix_ms: u64) -> Result<(), Failure> {
    let Some(path) = &config.device_secret_file else {
        return Ok(());
    };
    let known = core.with_journal(now_unix_ms, |journal| journal.known_device())?;
    if known.is_some() {
        return Ok(());
    }
    let secret = read(path)?;
    let provision = |core: &mut Core| {
        core.with_journal(now_unix_ms, |journal| journal.provision(&secret).map(drop))
    };
    match provision(core) {
        // The journal was opened again on the way: nothing of it is stored, or all.
        Err(CoreError::Reopened) => provision(core)?,
        result => result?,
    }
    Ok(())
}

/// What doctor says of the configured file.
pub enum Provisioned {
    /// The device has the secret of the file.
    Same,
    /// The device has another one.
    Other,
}

/// Compares the secret of a device with the configured file.
///
/// # Errors
/// As [`read`].
pub fn compare(device: &journal::Device, path: &Path) -> Result<Provisioned, Failure> {
    let in_file = read(path)?;
    let own = DeviceSecret::from_bytes(&device.secret);
    Ok(match own.is_some_and(|own| own == in_file) {
        true => Provisioned::Same,
        false => Provisioned::Other,
    })
}

/// How the secret of a running hub stands to the configured file, for `status`: `same` is null where nobody can
/// say, and `trouble` says why.
///
/// # Errors
/// Our own storage.
pub(crate) async fn compared(sealer: &Sealer, path: PathBuf) -> Result<Value, Failure> {
    let device = sealer
        .ask(|core, now| core.with_journal(now, |journal| journal.known_device()))
        .await?;
    let Some(device) = device else {
        return Ok(Value::Null);
    };
    // The file may lie on a slow disk.
    let compared = tokio::task::spawn_blocking(move || compare(&device, &path)).await;
    let (same, trouble) = match compared {
        Ok(Ok(Provisioned::Same)) => (Some(true), None),
        Ok(Ok(Provisioned::Other)) => (Some(false), None),
        Ok(Err(failure)) => (None, Some(failure.message)),
        Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
        // The runtime is shutting down.
        Err(_) => (None, None),
    };
    Ok(json!({"same": same, "trouble": trouble}))
}

/// The secret of a running hub as the control socket tells it: a line of JSON.
///
/// # Errors
/// Our own storage.
pub(crate) async fn answer(sealer: &Sealer) -> Result<Zeroizing<String>, Failure> {
    let device = sealer
        .ask(|core, now| core.with_journal(now, Journal::device))
        .await?;
    Ok(line_of(&text_of(&device)?))
}

/// The secret as a line of JSON. It is written by hand, because JSON's own values are not wiped. The text has nothing to
/// escape.
fn line_of(text: &str) -> Zeroizing<String> {
    joined(&["{\"event\":\"device_secret\",\"text\":\"", text, "\"}\n"])
}

/// Prints the device secret: a QR code and its text, or an object with the text.
///
/// # Errors
/// [`Code::Usage`] if stdout leads to no terminal, and nothing is asked then; else one sentence and its
/// code.
pub async fn print(config: &Config, reader: Reader, format: Format) -> Result<(), Failure> {
    allow(reader, std::io::stdout().is_terminal())?;
    let text = if control::is_running(&config.state_dir).await {
        of_running(config).await?
    } else {
        of_state(config)?
    };
    let said = match format {
        Format::Text => show(&text),
        Format::Json => line_of(&text),
    };
    output::raw(said.as_bytes());
    Ok(())
}

fn allow(reader: Reader, is_terminal: bool) -> Result<(), Failure> {
    if is_terminal || reader == Reader::Anybody {
        return Ok(());
    }
    let what = "stdout is no terminal, and the device secret would stay wherever it leads: whoever reads it there can pair. Add --force if that is what you want";
    Err(Failure::new(Code::Usage, what))
}

async fn of_running(config: &Config) -> Result<Zeroizing<String>, Failure> {
    let mut heard = Err(Failure::new(
        Code::Internal,
        "the running hub did not say its secret; it may be of another version",
    ));
    control::ask(&config.state_dir, Request::Secret, PATIENCE, |value| {
        heard = match (value["text"].as_str(), value["message"].as_str()) {
            (Some(text), _) => Ok(Zeroizing::new(text.to_owned())),
            (None, message) => Err(Failure::new(
                Code::Internal,
                message.unwrap_or("the running hub did not say its secret"),
            )),
        };
    })
    .await?;
    heard
}

/// No hub runs: as a first start would, so that a device can be labelled before it ever runs.
fn of_state(config: &Config) -> Result<Zeroizing<String>, Failure> {
    of_state_as(config, wal::private::user())
}

/// In the name of `user`, who must be the one that the hub runs as.
fn of_state_as(config: &Config, user: u32) -> Result<Zeroizing<String>, Failure> {
    state::refuse_others(&config.state_dir, user)?;
    state::prepare(&config.state_dir)?;
    if let Some(trigger) = reset::asked(config) {
        let what = format!(
            "{} asks for a reset, after which the secret may be another; start the hub first",
            trigger.display()
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let mut open = state::opener(config)?;
    let (mut journal, _report) = open()?;
    let device = match (&config.device_secret_file, journal.known_device()?) {
        (_, Some(device)) => device,
        (Some(path), None) => journal.provision(&read(path)?)?.into_inner(),
        (None, None) => journal.device()?,
    };
    text_of(&device)
}

fn text_of(device: &journal::Device) -> Result<Zeroizing<String>, Failure> {
    let secret = DeviceSecret::from_bytes(&device.secret);
    let secret = secret.ok_or_else(|| {
        Failure::new(
            Code::State,
            "the stored device secret is damaged; run `secluso-hub reset`",
        )
    })?;
    Ok(secret.to_text())
}

/// What a person sees.
fn show(text: &str) -> Zeroizing<String> {
    let qr = terminal_qr(text).map(Zeroizing::new);
    let qr = qr.as_ref().map_or("", |qr| qr.as_str());
    joined(&[qr, "\n\n", text, "\n\n", MEANING])
}

/// All of them, in a string that never grows, because one that does leaves copies behind.
pub(crate) fn joined(parts: &[&str]) -> Zeroizing<String> {
    let bytes = parts.iter().map(|part| part.len()).sum();
    let mut text = Zeroizing::new(String::with_capacity(bytes));
    for part in parts {
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(dir: &Path, more: &str) -> Config {
        let relay = format!("127.0.0.1:1/{}", wire::RelayId([7; 32]).to_text());
        let text =
            format!("state_dir = \"state\"\nrelay = \"{relay}\"\n{more}[disk]\nlog_file_mib = 4\n");
        Config::parse(&text, "hub.toml", dir).unwrap()
    }

    fn file(dir: &Path, bytes: &[u8], mode: u32) -> PathBuf {
        let path = dir.join("device.secret");
        std::fs::write(&path, bytes).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).unwrap();
        path
    }

    fn random_looking() -> Vec<u8> {
        (0..DEVICE_SECRET_BYTES)
            .map(|n| u8::try_from(n * 3 % 251).unwrap())
            .collect()
    }

    #[test]
    fn only_a_whole_private_file_of_random_bytes_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let good = random_looking();
        let path = file(dir.path(), &good, 0o600);
        assert_eq!(read(&path).unwrap().as_bytes(), good);
        let long = [good.as_slice(), b"\n"].concat();
        let table: [(Vec<u8>, u32, &str); 4] = [
            (good.clone(), 0o640, "chmod 600"),
            (good[1..].to_vec(), 0o600, "/dev/urandom"),
            (long, 0o600, "/dev/urandom"),
            (vec![0; DEVICE_SECRET_BYTES], 0o600, "/dev/urandom"),
        ];
        for (bytes, mode, word) in table {
            let path = file(dir.path(), &bytes, mode);
            let failure = read(&path).err().unwrap();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains(word), "{failure}");
        }
        let failure = read(&dir.path().join("nothing")).err().unwrap();
        assert_eq!(failure.code, Code::Usage);
    }

    /// Neither a pipe that nobody writes to, nor a directory.
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for path in [pipe.as_path(), dir.path()] {
            let failure = read(path).err().unwrap();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains("regular file"), "{failure}");
        }
    }

    /// A secret that a person typed, or a file of one text again and again.
    #[test]
    fn what_was_not_thrown_by_dice_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let typed = b"correct horse battery staple ".repeat(3);
        for bytes in [&typed[..DEVICE_SECRET_BYTES], &[7; DEVICE_SECRET_BYTES]] {
            let failure = read(&file(dir.path(), bytes, 0o600)).err().unwrap();
            assert!(failure.message.contains("/dev/urandom"), "{failure}");
        }
    }

    /// Whoever prints makes nothing that the hub's own user could not open.
    #[test]
    fn somebody_else_makes_no_state() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let (user, other) = (wal::private::user(), wal::private::user() + 1);
        let failure = of_state_as(&config, other).err().unwrap();
        assert_eq!(failure.code, Code::Usage);
        assert!(!config.state_dir.exists());
        of_state_as(&config, user).unwrap();
        // Nor does anybody else open what is there.
        let failure = of_state_as(&config, other).err().unwrap();
        assert_eq!(failure.code, Code::Usage);
    }

    #[test]
    fn scenario_30_the_file_is_read_once_and_again_after_a_reset() {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), &random_looking(), 0o600);
        let with_file = config(dir.path(), "device_secret_file = \"device.secret\"\n");
        let text = of_state(&with_file).unwrap();
        let secret = DeviceSecret::from_text(&text).unwrap();
        assert_eq!(secret.as_bytes(), random_looking());
        // Another file changes nothing any more, nor that there is none.
        let mut other = random_looking();
        other.reverse();
        file(dir.path(), &other, 0o600);
        assert!(of_state(&with_file).unwrap() == text);
        std::fs::remove_file(&path).unwrap();
        assert!(of_state(&with_file).unwrap() == text);

        let erase = || {
            let yes = reset::Consent::Given;
            reset::run(&with_file, yes, Format::Json).unwrap();
        };
        // What was printed on the device comes back; without its file nothing is made up.
        erase();
        assert_eq!(of_state(&with_file).err().unwrap().code, Code::Usage);
        file(dir.path(), &random_looking(), 0o600);
        assert!(of_state(&with_file).unwrap() == text);
        // One that was made here does not.
        let without = config(dir.path(), "");
        erase();
        let made = of_state(&without).unwrap();
        assert!(made != text);
        assert!(of_state(&without).unwrap() == made);
        erase();
        assert!(of_state(&without).unwrap() != made);
    }

    #[test]
    fn a_pipe_is_told_nothing_unless_it_is_forced() {
        assert_eq!(allow(Reader::Person, false).unwrap_err().code, Code::Usage);
        for (reader, is_terminal) in [
            (Reader::Person, true),
            (Reader::Anybody, false),
            (Reader::Anybody, true),
        ] {
            allow(reader, is_terminal).unwrap();
        }
        let secret = DeviceSecret::from_bytes(&random_looking()).unwrap();
        let shown = show(&secret.to_text());
        assert!(shown.contains(secret.to_text().as_str()));
        assert!(shown.lines().count() > 20, "a QR code");
    }

    #[tokio::test]
    async fn a_running_hub_tells_it_as_json() {
        let clock = crate::camera::TokioClock::new();
        let core = crate::core::tests::world::World::unpaired().core;
        let (sealer, _thread) = crate::sealer::start(core, clock).unwrap();
        let line = answer(&sealer).await.unwrap();
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], "device_secret");
        let device = sealer
            .run(|core, now| core.with_journal(now, Journal::device))
            .await
            .unwrap();
        let told = DeviceSecret::from_text(value["text"].as_str().unwrap()).unwrap();
        assert_eq!(told.as_bytes(), device.secret.as_slice());
    }

    #[tokio::test]
    async fn a_running_hub_says_whether_its_secret_is_that_of_the_file_and_not_which() {
        let dir = tempfile::tempdir().unwrap();
        let clock = crate::camera::TokioClock::new();
        let core = crate::core::tests::world::World::unpaired().core;
        let (sealer, _thread) = crate::sealer::start(core, clock).unwrap();
        let path = file(dir.path(), &random_looking(), 0o600);
        // Nothing is made for the question.
        assert_eq!(compared(&sealer, path.clone()).await.unwrap(), Value::Null);
        let device = sealer
            .run(|core, now| core.with_journal(now, Journal::device))
            .await
            .unwrap();
        let said = compared(&sealer, path).await.unwrap();
        assert_eq!(said, json!({"same": false, "trouble": null}));
        let path = file(dir.path(), &device.secret, 0o600);
        let said = compared(&sealer, path).await.unwrap();
        assert_eq!(said, json!({"same": true, "trouble": null}));
        let path = file(dir.path(), &device.secret, 0o644);
        let said = compared(&sealer, path).await.unwrap();
        assert!(said["same"].is_null(), "{said}");
        assert!(
            said["trouble"].as_str().unwrap().contains("chmod 600"),
            "{said}"
        );
    }

    #[test]
    fn a_reset_that_is_asked_for_is_not_overtaken() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        of_state(&config).unwrap();
        std::fs::write(config.state_dir.join(reset::TRIGGER_NAME), b"").unwrap();
        assert_eq!(of_state(&config).err().unwrap().code, Code::Usage);
    }
}
