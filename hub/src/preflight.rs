//! What the configuration names and a recording needs, looked at before a camera is: passwords, clips, programs.
//!
//! `check-config` says what is wrong with it, and so does `run` at its start and when it reads its configuration
//! again. It must never ask a camera or anybody on the network, never start a program, and never show a password.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::Access;
use serde_json::{Value, json};

use crate::camera::address::{Password, PasswordError};
use crate::camera::{CameraError, FileCamera, SourceConfig, TokioClock};
use crate::config::{CameraConfig, Config};

/// Where a program is looked for if the environment does not say (`execvp`(3)).
const PATH_DEFAULT: &str = "/bin:/usr/bin";
/// What is said of a credential by a process that has none.
const CREDENTIAL_UNCHECKED: &str = "credentials are only there inside the systemd unit, so this one cannot be checked from here; with the hub running, `secluso-hub doctor` says whether its camera is there";

/// Who looks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Looker {
    /// The hub that is about to record. A clip is left to whoever opens it there: it is not read twice, and in
    /// privacy mode not at all.
    Hub,
    /// Somebody beside it, who may not have the credentials of its unit.
    Beside,
}

/// Something that the configuration names and that cannot be used, or not be looked at from here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flaw {
    /// Whose it is, by the name in the configuration.
    pub camera: String,
    /// The key that names it.
    pub key: &'static str,
    /// What is wrong, and what to do.
    pub what: String,
    /// Whether it is known to be of no use; else nobody can tell from here.
    pub is_known: bool,
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "camera {:?}: `{}`: {}",
            self.camera, self.key, self.what
        )
    }
}

impl Flaw {
    /// As JSON for stdout.
    pub fn to_json(&self) -> Value {
        let event = match self.is_known {
            true => "config_unusable",
            false => "config_unchecked",
        };
        json!({"event": event, "camera": self.camera, "key": self.key, "message": self.what})
    }

    /// Of a clip that could not be opened.
    pub fn of_clip(camera: &str, error: &CameraError) -> Self {
        known(
            camera,
            "path",
            format!("{error}; put a good one there, or correct the path"),
        )
    }
}

fn known(camera: &str, key: &'static str, what: String) -> Flaw {
    Flaw {
        camera: camera.to_owned(),
        key,
        what,
        is_known: true,
    }
}

/// Looks at all that the cameras' tables name. Blocking: files are opened, and of clips some MiB are read.
pub fn look(config: &Config, looker: Looker) -> Vec<Flaw> {
    let search = std::env::var_os("PATH").unwrap_or_else(|| PATH_DEFAULT.into());
    let flaws = config.cameras.iter().flat_map(|camera| {
        let of_source = source(camera, looker, &search);
        of_source.into_iter().chain(hint(camera, &search))
    });
    flaws.collect()
}

/// What its pictures come from.
fn source(camera: &CameraConfig, looker: Looker, search: &OsStr) -> Option<Flaw> {
    let name = camera.name.as_str();
    match &camera.source {
        SourceConfig::Rtsp(_) => password(name, camera.source.password()?, looker),
        SourceConfig::Command(command) => {
            let what = unusable(&command.program, search)?;
            Some(known(name, "program", what))
        }
        SourceConfig::File(file) if looker == Looker::Beside => {
            let opened = FileCamera::open(file.clone(), TokioClock::new());
            Some(Flaw::of_clip(name, &opened.err()?))
        }
        SourceConfig::File(_) | SourceConfig::Virtual(_) => None,
    }
}

/// It is read, because nothing else tells whether it can be, and erased at once.
fn password(camera: &str, password: &Password, looker: Looker) -> Option<Flaw> {
    let key = match password {
        Password::Credential(_) => "password_credential",
        Password::File(_) | Password::Given(_) => "password_file",
    };
    if looker == Looker::Beside && password.is_out_of_reach() {
        return Some(Flaw {
            is_known: false,
            ..known(camera, key, CREDENTIAL_UNCHECKED.to_owned())
        });
    }
    let error = password.read().err()?;
    let way_out = match &error {
        PasswordError::Unreadable { .. } => {
            "; put the password there, in a file of the hub's user, or correct the key"
        }
        // They say it themselves.
        PasswordError::Readable { .. }
        | PasswordError::NoPassword { .. }
        | PasswordError::NoCredentials { .. } => "",
    };
    Some(known(camera, key, format!("{error}{way_out}")))
}

/// Who is asked about persons.
fn hint(camera: &CameraConfig, search: &OsStr) -> Option<Flaw> {
    let asked = camera.detection.as_ref()?.person.as_ref()?;
    let what = unusable(&asked.program, search)?;
    Some(known(&camera.name, "person_program", what))
}

/// Why a program cannot be started, as far as its file shows; `None`: nothing speaks against it. A name is looked
/// for as `execvp`(3) does.
fn unusable(program: &Path, search: &OsStr) -> Option<String> {
    let shown = program.display();
    if program.as_os_str().as_bytes().contains(&b'/') {
        let why = not_executable(program)?;
        return Some(format!("{shown} {why}"));
    }
    let mut found = std::env::split_paths(search).map(|directory| directory.join(program));
    match found.any(|path| not_executable(&path).is_none()) {
        true => None,
        false => Some(format!(
            "no program {shown} is in PATH ({}); install it, or give its path",
            search.display()
        )),
    }
}

/// Why this file is none that can be started; `None`: it is one.
fn not_executable(path: &Path) -> Option<String> {
    match std::fs::metadata(path) {
        Err(error) => Some(format!(
            "cannot be started ({error}); install it there, or correct the path"
        )),
        Ok(found) if !found.is_file() => {
            Some("is no program but something else; correct the path".into())
        }
        Ok(_) if rustix::fs::access(path, Access::EXEC_OK).is_err() => Some(format!(
            "is not executable for this user; run `chmod 755 {}`",
            path.display()
        )),
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn put(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).unwrap();
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(path, mode).unwrap();
    }

    fn config(place: &Path, cameras: &str) -> Config {
        let relay = wire::RelayId([7; 32]).to_text();
        let text = format!("state_dir = \"state\"\nrelay = \"127.0.0.1:4433/{relay}\"\n{cameras}");
        Config::parse(&text, "hub.toml", place).unwrap()
    }

    fn rtsp(password: &str) -> String {
        format!(
            "[[camera]]\nkind = \"rtsp\"\nname = \"door\"\nurl = \"rtsp://127.0.0.1:9/1\"\nuser = \"hub\"\n{password}\n"
        )
    }

    /// Which keys are wrong, and what is said of the first.
    fn found(place: &Path, cameras: &str, looker: Looker) -> (Vec<&'static str>, String) {
        let flaws = look(&config(place, cameras), looker);
        assert!(flaws.iter().all(|flaw| flaw.is_known), "{flaws:?}");
        let said = flaws.first().map(ToString::to_string);
        let keys = flaws.iter().map(|flaw| flaw.key);
        (keys.collect(), said.unwrap_or_default())
    }

    #[test]
    fn a_password_that_is_missing_open_to_others_or_none_is_said_with_the_way_out() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("door.password");
        let cameras = rtsp("password_file = \"door.password\"");
        for looker in [Looker::Hub, Looker::Beside] {
            let look = || found(place.path(), &cameras, looker);
            let (keys, said) = look();
            assert_eq!(keys, ["password_file"]);
            let names = ["camera \"door\"", "door.password", "or correct the key"];
            assert!(names.iter().all(|word| said.contains(word)), "{said}");
            put(&file, "hunter2\n", 0o644);
            let (keys, said) = look();
            assert_eq!(keys, ["password_file"]);
            assert!(said.contains("chmod 600"), "{said}");
            assert!(!said.contains("hunter2"), "{said}");
            put(&file, "", 0o600);
            assert!(look().1.contains("one line of text"));
            put(&file, "hunter2\n", 0o600);
            assert!(look().0.is_empty());
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn a_credential_is_judged_where_it_would_be_and_nowhere_else() {
        if std::env::var_os("CREDENTIALS_DIRECTORY").is_some() {
            // These tests are run by a unit that has some.
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let cameras = rtsp("password_credential = \"door\"");
        let config = config(place.path(), &cameras);
        let flaws = look(&config, Looker::Beside);
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        let flaw = &flaws[0];
        assert!(!flaw.is_known);
        assert!(flaw.what.contains("cannot be checked from here"), "{flaw}");
        assert_eq!(flaw.to_json()["event"], "config_unchecked");
        let flaws = look(&config, Looker::Hub);
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        let flaw = &flaws[0];
        assert!(flaw.is_known);
        assert!(flaw.what.contains("LoadCredential=door"), "{flaw}");
        assert_eq!(flaw.to_json()["key"], "password_credential");
        // A name that no credential can have is wrong everywhere.
        let cameras = rtsp("password_credential = \"../door\"");
        let (keys, _) = found(place.path(), &cameras, Looker::Beside);
        assert_eq!(keys, ["password_credential"]);
    }

    #[test]
    fn a_clip_is_opened_by_whoever_is_not_the_hub() {
        let place = tempfile::tempdir().unwrap();
        let cameras = "[[camera]]\nkind = \"file\"\npath = \"clip.mp4\"\n";
        let clip = place.path().join("clip.mp4");
        let (keys, said) = found(place.path(), cameras, Looker::Beside);
        assert_eq!(keys, ["path"]);
        assert!(
            said.contains("clip.mp4") && said.contains("correct the path"),
            "{said}"
        );
        put(&clip, "no clip", 0o600);
        let (keys, _) = found(place.path(), cameras, Looker::Beside);
        assert_eq!(keys, ["path"]);
        let (keys, _) = found(place.path(), cameras, Looker::Hub);
        assert!(keys.is_empty(), "whoever opens it says so");
        let good = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/odd-durations.mp4");
        std::fs::copy(good, &clip).unwrap();
        let (keys, said) = found(place.path(), cameras, Looker::Beside);
        assert!(keys.is_empty(), "{said}");
    }

    #[test]
    fn programs_must_be_there_and_executable_and_are_not_started() {
        let place = tempfile::tempdir().unwrap();
        let program = place.path().join("camera.sh");
        let traces = place.path().join("started");
        let script = format!("#!/bin/sh\ntouch {}\n", traces.display());
        let person = place.path().join("nobody");
        let cameras = format!(
            "[[camera]]\nkind = \"command\"\nname = \"a\"\nprogram = \"./camera.sh\"\n\
             [camera.detection]\nperson_program = {person:?}\n\
             [[camera]]\nkind = \"command\"\nname = \"b\"\nprogram = \"sh\"\n\
             [[camera]]\nkind = \"command\"\nname = \"c\"\nprogram = \"secluso-no-such-program\"\n\
             [[camera]]\nkind = \"virtual\"\nname = \"d\"\n"
        );
        for looker in [Looker::Hub, Looker::Beside] {
            let look = || found(place.path(), &cameras, looker);
            let (keys, said) = look();
            assert_eq!(keys, ["program", "person_program", "program"]);
            assert!(said.contains("camera.sh cannot be started"), "{said}");
            put(&program, &script, 0o600);
            let (keys, said) = look();
            assert_eq!(keys.len(), 3);
            assert!(said.contains("chmod 755"), "{said}");
            put(&program, &script, 0o700);
            let (keys, said) = look();
            assert_eq!(keys, ["person_program", "program"]);
            assert!(said.contains("nobody cannot be started"), "{said}");
            std::fs::remove_file(&program).unwrap();
        }
        // A directory can be entered, and not be run.
        std::fs::create_dir(&program).unwrap();
        let (keys, said) = found(place.path(), &cameras, Looker::Beside);
        assert_eq!(keys.len(), 3);
        assert!(said.contains("is no program"), "{said}");
        assert!(!traces.exists());
    }

    #[test]
    fn a_name_is_looked_for_where_a_start_would_look() {
        let place = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| place.path().join(name));
        for directory in [&first, &second] {
            std::fs::create_dir(directory).unwrap();
        }
        let search = std::env::join_paths([&first, &second]).unwrap();
        let name = Path::new("guess");
        let missing = unusable(name, &search).unwrap();
        assert!(missing.contains("in PATH"), "{missing}");
        // One that cannot be started is passed over.
        put(&first.join(name), "", 0o600);
        assert!(unusable(name, &search).is_some());
        put(&second.join(name), "", 0o700);
        assert_eq!(unusable(name, &search), None);
    }
}
