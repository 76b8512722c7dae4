//! A directory with a relay, a hub and a phone in it.
//!
//! This room knows the programs' command lines and configurations; what is done with them is told elsewhere. It
//! must never use anything outside its directory but the programs, and never hold on to what it starts.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::failure::{Because, Failure, Outcome};
use crate::process::Program;
use crate::viewer::Viewer;

/// What starting, pairing or answering may take on a loaded small machine.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The programs.
const NAMES: [&str; 3] = ["secluso-hub", "secluso-relay", "secluso-app"];

/// The directory, the programs' places, and where the relay is.
pub struct Home {
    programs: BTreeMap<String, PathBuf>,
    directory: PathBuf,
    relay_address: Option<RelayAddress>,
    invitation: String,
}

struct RelayAddress {
    /// `127.0.0.1:port`, for the restart.
    listen: String,
    /// `host:port/id`, for the hub.
    relay: String,
}

impl Home {
    /// An empty home in `directory`, which exists and is empty, for programs by their names.
    pub fn new(programs: BTreeMap<String, PathBuf>, directory: &Path) -> Self {
        Self {
            programs,
            directory: directory.to_path_buf(),
            relay_address: None,
            invitation: String::new(),
        }
    }

    /// The same, for the programs that lie in one directory.
    ///
    /// # Errors
    /// One of them is not there.
    pub fn with_programs_in(place: &Path, directory: &Path) -> Outcome<Self> {
        let mut programs = BTreeMap::new();
        for name in NAMES {
            let path = place.join(name);
            if !path.is_file() {
                return Err(Failure::found(format!(
                    "{} is not there; `cargo xtask bench` builds it",
                    path.display()
                )));
            }
            programs.insert(name.to_owned(), path);
        }
        Ok(Self::new(programs, directory))
    }

    /// Where everything is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a program lies.
    pub fn program(&self, name: &str) -> Option<&Path> {
        self.programs.get(name).map(PathBuf::as_path)
    }

    /// Makes a relay and starts it on a free port.
    ///
    /// # Errors
    /// It does not do what its documentation says.
    pub fn make_relay(&mut self) -> Outcome<Program> {
        let directory = self.path("relay")?;
        self.ask("secluso-relay", &["init", &directory, "--json"])?;
        let relay = self.start_relay()?;
        let config = self.path("relay/relay.toml")?;
        let answer = self.ask_one(
            "secluso-relay",
            &["invite", "--config", &config, "--class", "hub", "--json"],
        )?;
        self.invitation = text(&answer, "invitation")?;
        Ok(relay)
    }

    /// Starts the relay, on its old port if it had one.
    ///
    /// # Errors
    /// As [`Home::make_relay`].
    pub fn start_relay(&mut self) -> Outcome<Program> {
        let listen = self
            .relay_address
            .as_ref()
            .map_or("127.0.0.1:0", |address| &address.listen)
            .to_owned();
        self.configure_relay(&listen)?;
        let config = self.path("relay/relay.toml")?;
        let relay = self.start("secluso-relay", &["run", "--config", &config, "--json"])?;
        let event = relay.wait_for("address", 0, PATIENCE, |e| e.name() == "listening")?;
        self.relay_address = Some(RelayAddress {
            listen: event.text("addr").to_owned(),
            relay: event.text("relay").to_owned(),
        });
        Ok(relay)
    }

    /// Where the relay listens, as `127.0.0.1:port`; empty before there is one.
    pub fn relay_listens_at(&self) -> &str {
        self.relay_address
            .as_ref()
            .map_or("", |address| &address.listen)
    }

    /// Whoever is configured or paired from now on reaches the relay at this address.
    pub fn lead_through(&mut self, way: SocketAddr) {
        if let Some(address) = &mut self.relay_address {
            address.relay = led_through(&address.relay, way);
        }
    }

    /// Edits the sample configuration as its owner would: where to listen, nothing else.
    fn configure_relay(&self, listen: &str) -> Outcome<()> {
        let file = self.directory.join("relay/relay.toml");
        let sample = std::fs::read_to_string(&file).because("cannot read relay.toml")?;
        let mut edited = String::new();
        for line in sample.lines() {
            if line.starts_with("listen ") {
                edited.push_str(&format!("listen = {}\n", quoted(listen)));
            } else {
                edited.push_str(line);
                edited.push('\n');
            }
        }
        std::fs::write(&file, edited).because("cannot write relay.toml")
    }

    /// Deletes everything that the relay stored. Its configuration and key stay: they are not data.
    ///
    /// # Errors
    /// What the system says.
    pub fn wipe_relay(&self) -> Outcome<()> {
        let data = self.directory.join("relay/data");
        std::fs::remove_dir_all(&data).because("cannot delete the relay's data")
    }

    /// Writes the hub's configuration; `cameras` is its tables of them.
    ///
    /// # Errors
    /// What the system says.
    pub fn configure_hub(&self, cameras: &str) -> Outcome<()> {
        let relay = self
            .relay_address
            .as_ref()
            .map_or("", |address| &address.relay);
        let config = format!(
            "state_dir = {}\nrelay = {}\ninvitation = {}\n\n\
             [pairing]\nlisten = \"127.0.0.1:0\"\n\n{cameras}",
            quoted(&self.path("hub")?),
            quoted(relay),
            quoted(&self.invitation),
        );
        std::fs::write(self.directory.join("hub.toml"), config).because("cannot write hub.toml")
    }

    /// Pairs the phone with the hub, over the hub's code as text.
    ///
    /// # Errors
    /// As [`Home::make_relay`].
    pub fn pair(&self) -> Outcome<()> {
        let config = self.path("hub.toml")?;
        let hub = self.start("secluso-hub", &["pair", "--config", &config, "--json"])?;
        let offer = hub.wait_for("offer", 0, PATIENCE, |event| event.name() == "offer")?;
        let app = self.path("app")?;
        // On stdin, so that the secret stands in no process list.
        self.ask_with_input(
            "secluso-app",
            &["--dir", &app, "pair", "-", "--json"],
            offer.text("qr"),
        )?;
        hub.wait_for("paired phone", 0, PATIENCE, |event| {
            event.name() == "paired"
        })?;
        Ok(())
    }

    /// Starts the hub and waits until it is ready.
    ///
    /// # Errors
    /// As [`Home::make_relay`].
    pub fn start_hub(&self) -> Outcome<Program> {
        let config = self.path("hub.toml")?;
        let hub = self.start("secluso-hub", &["run", "--config", &config, "--json"])?;
        hub.wait_for("readiness", 0, PATIENCE, |event| event.name() == "ready")?;
        Ok(hub)
    }

    /// Starts the phone's side, following.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_app(&self) -> Outcome<Program> {
        let directory = self.path("app")?;
        self.start(
            "secluso-app",
            &["--dir", &directory, "sync", "--follow", "--json"],
        )
    }

    /// Starts a live view that ends after so many seconds; nothing else may have the phone's directory.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_viewer(&self, seconds: u64) -> Outcome<Viewer> {
        let directory = self.path("app")?;
        let seconds = seconds.to_string();
        let command = self.command(
            "secluso-app",
            &["--dir", &directory, "live", "--seconds", &seconds],
        )?;
        Viewer::start(&command, &self.directory.join("viewer.log"))
    }

    /// What the running hub says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn hub_status(&self) -> Outcome<Value> {
        let config = self.path("hub.toml")?;
        self.ask_one("secluso-hub", &["status", "--config", &config, "--json"])
    }

    /// What the running relay says of itself.
    ///
    /// # Errors
    /// It does not answer.
    pub fn relay_status(&self) -> Outcome<Value> {
        let config = self.path("relay/relay.toml")?;
        self.ask_one("secluso-relay", &["status", "--config", &config, "--json"])
    }

    /// What the phone answers to a command; no sync may be running.
    ///
    /// # Errors
    /// It fails.
    pub fn ask_app(&self, words: &[&str]) -> Outcome<Vec<Value>> {
        let directory = self.path("app")?;
        let place = ["--dir", directory.as_str()];
        let all = [&place[..], words, &["--json"][..]].concat();
        self.ask("secluso-app", &all)
    }

    /// The same of a command with one answer.
    ///
    /// # Errors
    /// It fails.
    pub fn ask_app_one(&self, words: &[&str]) -> Outcome<Value> {
        last(self.ask_app(words)?, "secluso-app", words)
    }

    /// Has the phone export a clip or a picture to this file.
    ///
    /// # Errors
    /// It fails.
    pub fn export_to(&self, what: &str, file: &Path) -> Outcome<PathBuf> {
        self.ask_app(&["export", what, &utf8(file)?])?;
        Ok(file.to_path_buf())
    }

    /// Starts a program whose stderr goes to a file of its name.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self, program: &str, arguments: &[&str]) -> Outcome<Program> {
        let log = self.directory.join(format!("{program}.log"));
        Program::start(program, &self.command(program, arguments)?, &log)
    }

    /// A program with its arguments, in this directory.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Outcome<Command> {
        let Some(path) = self.programs.get(program) else {
            return Err(Failure::found(format!(
                "the build made no program called {program}"
            )));
        };
        let mut command = Command::new(path);
        command
            .args(arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null());
        Ok(command)
    }

    /// Runs a program to its end; returns the JSON objects that it printed.
    fn ask(&self, program: &str, arguments: &[&str]) -> Outcome<Vec<Value>> {
        self.ask_with_input(program, arguments, "")
    }

    fn ask_with_input(
        &self,
        program: &str,
        arguments: &[&str],
        input: &str,
    ) -> Outcome<Vec<Value>> {
        let what = format!(
            "{program} {}",
            arguments.first().copied().unwrap_or_default()
        );
        let mut child = self
            .command(program, arguments)?
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .because(&format!("cannot start {what}"))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing closes the pipe; its status is what counts.
            let _ = writeln!(stdin, "{input}");
        }
        let output = child
            .wait_with_output()
            .because(&format!("cannot wait for {what}"))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::found(format!(
                "`{what}` failed ({}): {stderr}",
                output.status
            )));
        }
        String::from_utf8_lossy(&output.stdout)
            .lines()
            .map(|line| serde_json::from_str(line).because(&format!("`{what}` printed no JSON")))
            .collect()
    }

    fn ask_one(&self, program: &str, arguments: &[&str]) -> Outcome<Value> {
        last(self.ask(program, arguments)?, program, arguments)
    }

    /// A place in this directory, as an argument.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub fn path(&self, name: &str) -> Outcome<String> {
        utf8(&self.directory.join(name))
    }
}

fn last(answers: Vec<Value>, program: &str, arguments: &[&str]) -> Outcome<Value> {
    answers
        .into_iter()
        .next_back()
        .ok_or_else(|| Failure::found(format!("`{program} {}` said nothing", arguments.join(" "))))
}

/// `host:port/id` with another way there.
fn led_through(relay: &str, way: SocketAddr) -> String {
    match relay.split_once('/') {
        Some((_, id)) => format!("{way}/{id}"),
        None => way.to_string(),
    }
}

/// A path as an argument.
///
/// # Errors
/// It is not UTF-8.
pub fn utf8(path: &Path) -> Outcome<String> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::found(format!("{} is not UTF-8", path.display())))
}

/// A TOML basic string; JSON's escapes are a subset of TOML's.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A text in an answer.
///
/// # Errors
/// It is not there.
pub fn text(value: &Value, key: &str) -> Outcome<String> {
    let found = value.get(key).and_then(Value::as_str);
    found
        .map(str::to_owned)
        .ok_or_else(|| Failure::found(format!("`{key}` is missing in {value}")))
}

/// A number in an answer.
///
/// # Errors
/// It is not there.
pub fn number(value: &Value, key: &str) -> Outcome<u64> {
    let found = value.get(key).and_then(Value::as_u64);
    found.ok_or_else(|| Failure::found(format!("`{key}` is missing in {value}")))
}

/// A list in an answer; an empty one if it is not there.
pub fn rows<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    let found = value.get(key).and_then(Value::as_array);
    found.map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relay_is_led_through_and_stays_who_it_is() {
        let way = "127.0.0.1:9".parse().unwrap();
        assert_eq!(led_through("127.0.0.1:4433/KEY", way), "127.0.0.1:9/KEY");
    }

    #[test]
    fn a_missing_program_is_named() {
        let nowhere = Path::new("/nonexistent");
        let failure = Home::with_programs_in(nowhere, nowhere).err().unwrap();
        assert!(failure.to_string().contains("secluso-hub"), "{failure}");
        let home = Home::new(BTreeMap::new(), nowhere);
        assert!(home.command("secluso-app", &[]).is_err());
        assert!(home.path("app").unwrap().ends_with("app"));
    }

    #[test]
    fn what_an_answer_lacks_is_named() {
        let answer = serde_json::json!({"n": 3, "t": "a", "r": [1, 2]});
        assert_eq!(number(&answer, "n").unwrap(), 3);
        assert_eq!(text(&answer, "t").unwrap(), "a");
        assert_eq!(rows(&answer, "r").len(), 2);
        assert!(rows(&answer, "n").is_empty());
        let missing = number(&answer, "t").unwrap_err().to_string();
        assert!(missing.contains("`t` is missing"), "{missing}");
        assert_eq!(quoted("a\"b"), r#""a\"b""#);
    }
}
