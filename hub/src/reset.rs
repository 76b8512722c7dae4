//! `reset`: after it, nothing that opens anything is left in the state directory.
//!
//! The vault goes first, overwritten and synced in place: without its keys the rest is noise, even
//! if the power fails before the rest is removed. It must never run beside a hub.
//!
//! Two ways lead here: the command, and a trigger file, for a device without a keyboard. The command makes
//! that file itself before it touches a key. The trigger is removed last, durably: whatever interrupts a
//! reset, the next start does it again, whole, and opens nothing of what is half erased. What keeps clips is
//! another thing, and has a room of its own: `keeping`.

mod keeping;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use wal::disk::RealDisk;
use wal::{Disk as _, crash_point, mutant};

use crate::config::Config;
use crate::control::SOCKET_NAME;
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::state::{VAULT_NAME, journal_dir};
pub use keeping::run_keeping;

/// The engine's lock file (journal/FORMAT.md).
const LOCK_NAME: &str = "lock";
/// The trigger's name in the state directory.
pub const TRIGGER_NAME: &str = "reset";

/// Whether the owner said yes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Consent {
    /// `--yes`.
    Given,
    /// Nothing: say what would be done.
    Missing,
}

/// How far a reset is: what a power cut may leave behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// A trigger is there, durably.
    Asked,
    /// The vault is overwritten once, not yet twice.
    HalfOverwritten,
    /// No key is left.
    Overwritten,
    /// The journal is removed, not yet durably.
    Removed,
    /// The journal is removed, durably.
    Synced,
}

/// The command: erases the state, and with it whatever trigger asks for the same.
///
/// # Errors
/// [`Code::Locked`] beside a running hub, [`Code::Usage`] without consent.
pub fn run(config: &Config, consent: Consent, format: Format) -> Result<(), Failure> {
    if consent == Consent::Missing {
        let dir = journal_dir(config);
        if is_there(&dir)? {
            let shown = dir.display();
            let what = format!(
                "this erases all keys and stored video in {shown}; phones must pair again. At the relay they stay admitted, and so does a removed one of which the relay was not told yet: to take that back, remove each while the relay is reached, and wait until `status` says nothing of it. Add --yes to reset"
            );
            return Err(Failure::new(Code::Usage, what));
        }
        let (json, text) = said(config, None);
        format.line(&json, &text);
        return Ok(());
    }
    let (json, text) = reset(config, &mut |_step| Ok(()))?;
    format.line(&json, &text);
    Ok(())
}

/// The trigger file that is there, if any: the one in the state directory, or the configured one. Only
/// a regular file of this user or of root asks for anything; links are not followed.
pub fn asked(config: &Config) -> Option<PathBuf> {
    triggers(config).into_iter().find(|path| asks(path))
}

/// Something that lies where a trigger would and asks for nothing, because it is no regular file, or somebody
/// else's.
pub fn ignored(config: &Config) -> Option<PathBuf> {
    let is_ignored = |path: &PathBuf| fs::symlink_metadata(path).is_ok() && !asks(path);
    triggers(config).into_iter().find(is_ignored)
}

fn asks(path: &Path) -> bool {
    let found = fs::symlink_metadata(path);
    found.is_ok_and(|found| found.is_file() && wal::private::is_ours(&found))
}

/// Does what a trigger file asks, if there is one, before anything else of a start: erases the state,
/// then removes the trigger. What was done, as JSON and for people; none if nobody asked.
///
/// # Errors
/// [`Code::Locked`] beside a running hub; [`Code::Usage`] if the trigger cannot be removed: a start that
/// went on would be erased by the next.
pub fn obey(config: &Config) -> Result<Option<(Value, String)>, Failure> {
    if asked(config).is_none() {
        return Ok(None);
    }
    reset(config, &mut |_step| Ok(())).map(Some)
}

/// The whole of it. `reached` may cut it off at each step, as a power cut would.
fn reset(
    config: &Config,
    reached: &mut dyn FnMut(Step) -> Result<(), Failure>,
) -> Result<(Value, String), Failure> {
    let erased = erase(config, leave_trigger, reached)?;
    remove_triggers(config)?;
    Ok(said(config, erased))
}

/// Sees to it that the next start goes on with a reset that is cut off: makes a trigger, durably, if there is
/// none.
fn leave_trigger(config: &Config) -> std::io::Result<()> {
    let own = config.state_dir.join(TRIGGER_NAME);
    let mut options = OpenOptions::new();
    let file = match options.write(true).create_new(true).mode(0o600).open(&own) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && asks(&own) => File::open(&own)?,
        made => made?,
    };
    file.sync_all()?;
    File::open(&config.state_dir)?.sync_all()
}

/// Whether there is anything in this place. That it cannot be looked at does not mean that there is nothing.
fn is_there(dir: &Path) -> Result<bool, Failure> {
    match fs::symlink_metadata(dir) {
        Ok(_found) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => {
            let what = format!(
                "{} cannot be looked at ({error}); nothing was erased. Check the disk, and who may read it",
                dir.display()
            );
            Err(Failure::new(Code::Internal, what))
        }
    }
}

fn triggers(config: &Config) -> Vec<PathBuf> {
    let own = config.state_dir.join(TRIGGER_NAME);
    let named = config.reset_file.clone();
    [Some(own), named].into_iter().flatten().collect()
}

/// Overwrites the keys, then removes the journal, durably. The bytes of keys that were overwritten; `None`
/// if there was no journal. `leave` makes the trigger.
fn erase(
    config: &Config,
    leave: fn(&Config) -> std::io::Result<()>,
    reached: &mut dyn FnMut(Step) -> Result<(), Failure>,
) -> Result<Option<u64>, Failure> {
    let dir = journal_dir(config);
    let shown = dir.display();
    if !is_there(&dir)? {
        return Ok(None);
    }
    let failed = |what: &str, error: std::io::Error| {
        let code = Code::of_path(&error);
        let way_out = match code {
            Code::Usage => "correct its path or its permissions, then reset again",
            Code::Space => "free some space, then reset again",
            _ => "check the disk, then reset again",
        };
        Failure::new(
            code,
            format!("{what} in {shown} failed: {error}; {way_out}"),
        )
    };
    let disk = RealDisk::new(&dir).map_err(|error| failed("opening", error))?;
    let lock = disk.lock(LOCK_NAME).map_err(|error| match error.kind() {
        ErrorKind::WouldBlock => Failure::new(
            Code::Locked,
            format!("a hub is running on {shown}; stop it first, then reset"),
        ),
        _ => failed("locking", error),
    })?;
    // ORDER: the trigger before the first key, or the next start finds half a vault and refuses; behind the
    // lock, or a running hub would take it for its owner's.
    match leave(config) {
        // A full disk keeps nobody from erasing: the keys are overwritten in place. If that is cut off, the next
        // start refuses half a vault and says to reset.
        Err(error) if wal::disk::is_full(&error) => {
            tracing::warn!(
                "there is no room for a trigger; a reset that is cut off is not taken up again by itself"
            );
        }
        left => left.map_err(|error| failed("leaving a trigger beside what is", error))?,
    }
    reached(Step::Asked)?;
    // CRASH(hub.reset.asked): before: a trigger is there, durably, and every key still is; the next start resets |
    // after: the keys are overwritten once.
    crash_point!("hub.reset.asked");
    mutant!("reset_removes_first", "S3", "a reset removes the vault, and then finds nothing to overwrite" => {
        fs::remove_dir_all(&dir).map_err(|error| failed("removing", error))?;
        fs::create_dir(&dir).map_err(|error| failed("removing", error))?;
    });
    // ORDER: the keys first. Whatever remains of the rest if the power fails now opens no more.
    let vault = dir.join(VAULT_NAME);
    let overwritten = |error| failed("overwriting the vault", error);
    let erased = overwrite(&vault, 0xff).map_err(overwritten)?;
    reached(Step::HalfOverwritten)?;
    // CRASH(hub.reset.half_overwritten): before: no key is left in the file, of which the next start knows by the
    // trigger | after: it is overwritten twice.
    crash_point!("hub.reset.half_overwritten");
    overwrite(&vault, 0x00).map_err(overwritten)?;
    reached(Step::Overwritten)?;
    // CRASH(hub.reset.overwritten): before: a journal without keys, and the trigger; the next start removes it |
    // after: the journal is removed, not yet durably.
    crash_point!("hub.reset.overwritten");
    fs::remove_dir_all(&dir).map_err(|error| failed("removing", error))?;
    reached(Step::Removed)?;
    // CRASH(hub.reset.removed): before: no journal, or after a power cut one without keys; the trigger is there |
    // after: there is none, durably.
    crash_point!("hub.reset.removed");
    let _none = fs::remove_file(config.state_dir.join(SOCKET_NAME));
    File::open(&config.state_dir)
        .and_then(|parent| parent.sync_all())
        .map_err(|error| failed("syncing", error))?;
    reached(Step::Synced)?;
    // CRASH(hub.reset.synced): before: no journal, and the trigger; the next start finds nothing to erase | after:
    // the trigger is removed, durably, and the next start is a first one.
    crash_point!("hub.reset.synced");
    drop(lock);
    Ok(Some(erased))
}

/// Removes every trigger that is there, durably.
fn remove_triggers(config: &Config) -> Result<(), Failure> {
    while let Some(path) = asked(config) {
        let removed = fs::remove_file(&path).and_then(|()| {
            let parent = path.parent().filter(|dir| !dir.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        });
        removed.map_err(|error| {
            let shown = path.display();
            Failure::new(
                Code::Usage,
                format!(
                    "the hub was reset as {shown} asks, but that file cannot be removed ({error}). Remove it: while it is there, every start erases everything again"
                ),
            )
        })?;
    }
    Ok(())
}

fn said(config: &Config, erased: Option<u64>) -> (Value, String) {
    let dir = journal_dir(config);
    let shown = dir.display();
    match erased {
        None => (
            json!({"event": "reset", "removed": false}),
            format!("nothing to erase: {shown} does not exist"),
        ),
        Some(bytes) => (
            json!({"event": "reset", "removed": true, "key_bytes_overwritten": bytes}),
            format!(
                "overwrote {bytes} bytes of keys and removed {shown}. Phones must pair again, and the relay must invite this hub again. Phones that this hub had, or had removed without telling the relay, stay admitted there: its operator can revoke them"
            ),
        ),
    }
}

/// Overwrites a file in place, synced. Returns its length; 0 if there is none.
fn overwrite(path: &Path, pattern: u8) -> std::io::Result<u64> {
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(0))?;
    let block = [pattern; 4096];
    let mut left = length;
    while left > 0 {
        let part = usize::try_from(left.min(4096)).unwrap_or(4096);
        file.write_all(block.get(..part).unwrap_or(&block))?;
        left -= part as u64;
    }
    file.sync_all()?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_for_a_trigger_is_erased_all_the_same() {
        fn full(_: &Config) -> std::io::Result<()> {
            Err(ErrorKind::StorageFull.into())
        }
        fn refused(_: &Config) -> std::io::Result<()> {
            Err(ErrorKind::PermissionDenied.into())
        }
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let journal = journal(&config);
        let erased = erase(&config, full, &mut |_step| Ok(())).unwrap();
        assert_eq!(erased, Some(10_000));
        assert!(!journal.exists());
        // Any other trouble leaves everything as it is.
        let journal = self::journal(&config);
        assert!(erase(&config, refused, &mut |_step| Ok(())).is_err());
        assert_eq!(fs::read(journal.join(VAULT_NAME)).unwrap(), vec![7; 10_000]);
    }

    fn config(dir: &Path, more: &str) -> Config {
        let relay = format!("127.0.0.1:1/{}", wire::RelayId([7; 32]).to_text());
        Config::parse(
            &format!("state_dir = \"state\"\nrelay = \"{relay}\"\n{more}"),
            "hub.toml",
            dir,
        )
        .unwrap()
    }

    /// A journal's directory with a vault in it.
    fn journal(config: &Config) -> PathBuf {
        let journal = journal_dir(config);
        fs::create_dir_all(&journal).unwrap();
        fs::write(journal.join(VAULT_NAME), vec![7; 10_000]).unwrap();
        journal
    }

    #[test]
    fn it_asks_refuses_beside_a_hub_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        run(&config, Consent::Given, Format::Json).unwrap();
        let journal = journal(&config);
        assert_eq!(
            run(&config, Consent::Missing, Format::Json)
                .unwrap_err()
                .code,
            Code::Usage
        );
        let disk = RealDisk::new(&journal).unwrap();
        let lock = disk.lock(LOCK_NAME).unwrap();
        assert_eq!(
            run(&config, Consent::Given, Format::Json).unwrap_err().code,
            Code::Locked
        );
        assert!(journal.join(VAULT_NAME).exists());
        drop(lock);
        run(&config, Consent::Given, Format::Json).unwrap();
        assert!(!journal.exists());
    }

    #[test]
    fn the_vault_is_overwritten_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vault");
        fs::write(&path, vec![7; 5000]).unwrap();
        for pattern in [0xff, 0] {
            assert_eq!(overwrite(&path, pattern).unwrap(), 5000);
            assert_eq!(fs::read(&path).unwrap(), vec![pattern; 5000]);
        }
    }

    /// A command whose process dies behind any of its steps has left a trigger, and the next start ends what
    /// it began before it opens anything.
    #[test]
    fn a_command_that_is_cut_off_is_ended_by_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let steps = [
            Step::Asked,
            Step::HalfOverwritten,
            Step::Overwritten,
            Step::Removed,
            Step::Synced,
        ];
        for cut in steps {
            let journal = journal(&config);
            let mut seen = Vec::new();
            let died = reset(&config, &mut |step| {
                seen.push(step);
                match step == cut {
                    true => Err(Failure::new(Code::Internal, "the power is gone")),
                    false => Ok(()),
                }
            });
            assert_eq!(died.unwrap_err().code, Code::Internal);
            assert_eq!(seen.last(), Some(&cut));
            assert!(asked(&config).is_some(), "{cut:?}");
            if journal.exists() && cut != Step::Asked {
                let vault = fs::read(journal.join(VAULT_NAME)).unwrap();
                assert!(!vault.contains(&7), "{cut:?}");
            }
            assert!(obey(&config).unwrap().is_some());
            assert!(!journal.exists(), "{cut:?}");
            assert_eq!(asked(&config), None);
        }
    }

    /// A hub that runs is not told to reset itself by a command that was refused.
    #[test]
    fn a_refused_command_leaves_no_trigger() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let journal = journal(&config);
        let disk = RealDisk::new(&journal).unwrap();
        let lock = disk.lock(LOCK_NAME).unwrap();
        let refused = run(&config, Consent::Given, Format::Json).unwrap_err();
        assert_eq!(refused.code, Code::Locked);
        assert_eq!(asked(&config), None);
        drop(lock);
    }

    /// What cannot be looked at is not taken for nothing.
    #[test]
    fn an_unreadable_state_is_not_said_to_be_erased() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        // The system says "not a directory" of whatever would lie in a file.
        fs::write(&config.state_dir, b"").unwrap();
        for consent in [Consent::Given, Consent::Missing] {
            let refused = run(&config, consent, Format::Json).unwrap_err();
            assert_eq!(refused.code, Code::Internal, "{consent:?}");
        }
    }

    #[test]
    fn a_trigger_file_is_obeyed_once_wherever_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "reset_file = \"boot/secluso-reset\"\n");
        fs::create_dir_all(dir.path().join("boot")).unwrap();
        for trigger in triggers(&config) {
            let journal = journal(&config);
            assert!(obey(&config).unwrap().is_none(), "nobody asked");
            assert!(journal.exists());
            fs::write(&trigger, b"").unwrap();
            assert_eq!(asked(&config), Some(trigger.clone()));
            let (json, text) = obey(&config).unwrap().unwrap();
            assert_eq!(json["removed"], true);
            assert!(text.contains("stay admitted"), "{text}");
            assert!(!journal.exists());
            assert!(!trigger.exists());
        }
        // One that was interrupted after the journal went is only finished.
        fs::write(config.state_dir.join(TRIGGER_NAME), b"").unwrap();
        let (json, _text) = obey(&config).unwrap().unwrap();
        assert_eq!(json["removed"], false);
        assert_eq!(asked(&config), None);
    }

    #[test]
    fn what_is_no_file_asks_for_nothing_and_a_running_hub_is_not_erased() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let journal = journal(&config);
        let trigger = config.state_dir.join(TRIGGER_NAME);
        assert_eq!(ignored(&config), None);
        fs::create_dir(&trigger).unwrap();
        assert!(obey(&config).unwrap().is_none());
        assert_eq!(ignored(&config), Some(trigger.clone()));
        fs::remove_dir(&trigger).unwrap();
        std::os::unix::fs::symlink(journal.join(VAULT_NAME), &trigger).unwrap();
        assert!(obey(&config).unwrap().is_none());
        fs::remove_file(&trigger).unwrap();

        fs::write(&trigger, b"").unwrap();
        let disk = RealDisk::new(&journal).unwrap();
        let lock = disk.lock(LOCK_NAME).unwrap();
        assert_eq!(obey(&config).unwrap_err().code, Code::Locked);
        drop(lock);
        let vault = fs::read(journal.join(VAULT_NAME)).unwrap();
        assert_eq!(vault, vec![7; 10_000]);
        assert!(trigger.exists(), "it is still to be obeyed");
        assert!(obey(&config).unwrap().is_some());
    }

    /// The keys go before anything else does: a vault that cannot be overwritten keeps its journal, and
    /// the trigger stays.
    #[test]
    fn nothing_is_removed_before_the_keys_are_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), "");
        let journal = journal_dir(&config);
        // A directory in the vault's place cannot be written to, by root neither.
        fs::create_dir_all(journal.join(VAULT_NAME)).unwrap();
        fs::write(journal.join("log"), b"sealed").unwrap();
        let trigger = config.state_dir.join(TRIGGER_NAME);
        fs::write(&trigger, b"").unwrap();
        assert_eq!(obey(&config).unwrap_err().code, Code::Usage);
        assert!(journal.join("log").exists());
        assert!(trigger.exists());
    }
}
