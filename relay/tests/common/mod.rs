//! A relay in a temporary directory, in this process or as a real one, for the tests here. What a real one wrote and
//! printed is searched when its place goes.
#![allow(dead_code, unreachable_pub)] // Each test binary uses its own part.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use crashtest_canary::Place as Searched;
use relay::server::{Server, random_bytes, unix_now_s};
use relay::{admission, config::Config, keyfile};
use relay_client::{
    Admission, AppendEvent, AppendHandle, ClientError, Config as ClientConfig, Connection,
    Identity, RelayAddress, connect,
};
use wire::{Certificate, Class, Digest, Head, Invitation, Seq};

/// Every wait in these tests ends after this, as a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Place {
    pub dir: Searched,
    pub identity: Identity,
}

impl Place {
    pub fn new() -> Place {
        Place::with("")
    }

    /// A place with more lines in its configuration.
    pub fn with(more: &str) -> Place {
        let dir = Searched::new();
        let identity = Identity::from_seed(random_bytes());
        keyfile::create(&dir.path().join("identity.key"), &identity).unwrap();
        let config = format!(
            "listen = \"127.0.0.1:0\"\nidentity_key = \"identity.key\"\ndata_dir = \"data\"\n{more}"
        );
        dir.write("relay.toml", config);
        Place { dir, identity }
    }

    /// A device whose whole name stands in no word of a program.
    pub fn device(&self) -> Identity {
        let device = device();
        let name = device.device_id();
        self.dir.seek_in_words("a device's name", name.as_bytes());
        device
    }

    pub fn config_path(&self) -> PathBuf {
        self.dir.path().join("relay.toml")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// From the next start on, listens on the port that it had.
    pub fn stay_on(&self, port: u16) {
        let config = self.config_path();
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        std::fs::write(&config, text).unwrap();
    }

    pub fn invitation(&self, class: Class) -> Invitation {
        let (nonce, now) = (random_bytes(), unix_now_s());
        let invitation = admission::issue_invitation(&self.identity, nonce, class, 600, now);
        self.seek(&invitation);
        invitation
    }

    /// No program may write this down.
    pub fn seek(&self, invitation: &Invitation) {
        let text = invitation.to_string();
        self.dir.seek("an invitation", text.as_bytes());
        self.dir.seek("an invitation", &invitation.to_bytes());
    }

    /// An invitation that ran out long ago.
    pub fn stale_invitation(&self) -> Invitation {
        admission::issue_invitation(&self.identity, random_bytes(), Class::Hub, 60, 1_000_000)
    }

    /// A relay in this process.
    pub fn serve(&self) -> Server {
        let config = Config::load(&self.config_path()).unwrap();
        std::fs::create_dir_all(&config.data_dir).unwrap();
        let identity = keyfile::load(&config.identity_key).unwrap();
        Server::start(config, identity, Box::new(|error| panic!("fatal: {error}"))).unwrap()
    }

    /// A relay as a process of its own.
    pub fn spawn(&self) -> Process {
        Process::spawn(&self.dir, &self.config_path())
    }
}

pub fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_secluso-relay"))
}

/// Runs the program to its end, with a configuration of this place or another.
pub fn run(place: &Place, arguments: &[&str], config: &Path) -> Output {
    let mut program = program();
    let command = program.args(arguments).arg("--config").arg(config);
    place.dir.output(command)
}

pub struct Process {
    pub child: Child,
    pub address: RelayAddress,
    /// Writes down what it prints.
    listener: Option<JoinHandle<()>>,
}

impl Process {
    fn spawn(place: &Searched, config: &Path) -> Process {
        let mut child = program()
            .args(["run", "--json", "--config"])
            .arg(config)
            .env("SECLUSO_LOG", "info")
            .stdout(Stdio::piped())
            .stderr(place.log("secluso-relay"))
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        place.said("what the relay printed", line.as_bytes());
        let mut printed = place.log("printed");
        let listener = std::thread::spawn(move || {
            std::io::copy(&mut stdout, &mut printed).expect("what it prints is written down");
        });
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["event"], "listening", "{line}");
        let address = event["relay"].as_str().unwrap().parse().unwrap();
        Process {
            child,
            address,
            listener: Some(listener),
        }
    }

    /// SIGKILL: no destructor runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already dead in most tests; both calls then fail, which is what we want.
        let _dead = self.child.kill();
        let _reaped = self.child.wait();
        if let Some(listener) = self.listener.take() {
            // One that panicked has said so itself.
            let _heard = listener.join();
        }
    }
}

pub fn device() -> Identity {
    Identity::from_seed(random_bytes())
}

pub fn client_config() -> ClientConfig {
    ClientConfig {
        connect_timeout: Duration::from_secs(5),
        ..ClientConfig::default()
    }
}

pub async fn join(
    address: &RelayAddress,
    device: &Identity,
    invitation: Invitation,
) -> Result<(Connection, Certificate), ClientError> {
    let admission = Admission::Invitation(invitation);
    within(connect(address, device, admission, client_config())).await
}

pub async fn back(
    address: &RelayAddress,
    device: &Identity,
    certificate: &Certificate,
) -> Result<Connection, ClientError> {
    let admission = Admission::Certificate(certificate.clone());
    let (connection, again) = within(connect(address, device, admission, client_config())).await?;
    assert_eq!(again, *certificate);
    Ok(connection)
}

/// Waits, but not for ever.
pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("nothing happened in time")
}

pub fn envelope(n: u64, len: usize) -> Bytes {
    Bytes::from((0..len).map(|i| (n as usize + i) as u8).collect::<Vec<_>>())
}

pub async fn append(handle: &mut AppendHandle, seq: u64, after: u64, bytes: &Bytes) {
    let digest = Digest::of(bytes);
    within(handle.append(Seq(seq), Seq(after), digest, bytes.clone()))
        .await
        .unwrap();
}

/// Waits for the receipt through `seq`; earlier ones may come first.
pub async fn receipt(handle: &mut AppendHandle, seq: u64) -> Head {
    loop {
        match within(handle.next_event()).await.unwrap() {
            AppendEvent::Receipt(head) if head.seq == Seq(seq) => return head,
            AppendEvent::Receipt(head) => assert!(head.seq < Seq(seq)),
            other => panic!("no receipt: {other:?}"),
        }
    }
}
