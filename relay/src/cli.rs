//! The program `secluso-relay`: arguments, words for people, exit codes.
//!
//! Logs go to stderr, answers to stdout; with `--json` an answer is one line of JSON. This room
//! must never print a key, and never decide anything that a test could not reach without it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::json;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use wal::disk::Cause;
use wal::service::Service;
use wal::{ErrorKind, WalError};
use wire::Class;
use wire::limits::INVITATION_TTL_SECONDS_MAX;

use crate::admission;
use crate::config::{Config, ConfigError};
use crate::keyfile::{self, KeyFileError};
use crate::server::{Figures, Server, StartError, random_bytes, unix_now_s};
use crate::{control, logging, metrics};

/// Prints a line of an answer. A reader that has gone is no reason to stop a relay, or to panic.
macro_rules! say {
    ($($line:tt)*) => {
        $crate::cli::write_line(format_args!($($line)*))
    };
}

mod doctor;
mod init;

fn write_line(line: std::fmt::Arguments<'_>) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        tracing::debug!("nobody reads stdout");
    }
}

const EXAMPLES: &str = "Examples:
  secluso-relay init /etc/secluso-relay        make a key and a sample configuration
  secluso-relay run --config /etc/secluso-relay/relay.toml
  secluso-relay invite --class hub --ttl 24h   print an invitation for a hub
  secluso-relay status --json                  figures of the running relay
  secluso-relay metrics > secluso.prom         the same for Prometheus
  secluso-relay doctor                         check this machine and the configuration

Exit codes: 0 done, 1 doctor found a problem, 2 usage or configuration, 3 another process has
the data directory, 4 the stored state is damaged, 5 network, 7 no space, 70 internal.";

/// Stores and forwards ciphertext between hubs and phones, knowing as little as it can.
#[derive(Debug, Parser)]
#[command(name = "secluso-relay", version, after_help = EXAMPLES)]
struct Arguments {
    /// The configuration file.
    #[arg(long, short, global = true, default_value = "relay.toml")]
    config: PathBuf,
    /// Answer in JSON, for scripts.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the relay until it is told to stop (SIGTERM, SIGINT).
    Run,
    /// Print an invitation that admits one device.
    Invite {
        /// What the device may do; only a hub can invite phones.
        #[arg(long, default_value = "hub")]
        class: ClassArgument,
        /// How long the invitation lives: a number with s, m, h or d, at most 30d.
        #[arg(long, default_value = "24h", value_parser = parse_ttl)]
        ttl: u32,
    },
    /// Show the figures of the running relay.
    Status,
    /// Print the figures of the running relay as Prometheus reads them: numbers only.
    #[command(
        after_help = "With --json it is one object, {\"event\":\"metrics\",\"metrics\":[...]}: each value with its `name`, `type` and\n`labels`, of which there are none so far."
    )]
    Metrics,
    /// Check the configuration and this machine.
    Doctor,
    /// Make an identity key and a sample configuration in a directory.
    Init {
        /// The directory; made if it is missing.
        dir: PathBuf,
    },
    /// Print completions for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ClassArgument {
    Hub,
    Phone,
}

/// How answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Text,
    Json,
}

/// Why the program ends without having done what it was asked.
#[derive(Debug, Error)]
enum CliError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(
        "no relay runs in {}; start one with `secluso-relay run`",
        data_dir.display()
    )]
    NotRunning { data_dir: PathBuf },
    #[error("doctor found {count} problem(s); see above")]
    Unhealthy { count: usize },
    #[error("{}: {source}", path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the storage thread ended; this is a bug, please report the log above")]
    StorageGone,
    #[error("the store failed and could not be opened again: {0}")]
    StorageFailed(WalError),
    #[error("the identity key must not lie in the data directory: wiping one would lose both")]
    KeyInDataDirectory,
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            CliError::Unhealthy { .. } => 1,
            CliError::Key(KeyFileError::Io { source, .. }) | CliError::Io { source, .. } => {
                path_exit_code(source)
            }
            CliError::Config(_) | CliError::Key(_) | CliError::KeyInDataDirectory => 2,
            CliError::Start(StartError::Store(error)) | CliError::StorageFailed(error) => {
                store_exit_code(error)
            }
            CliError::Start(StartError::Endpoint(_)) | CliError::NotRunning { .. } => 5,
            CliError::StorageGone => 70,
        }
    }
}

fn path_exit_code(error: &std::io::Error) -> u8 {
    cause_exit_code(Some(Cause::of(error)))
}

/// A path that is wrong is the owner's to correct; a disk that fails is not.
fn cause_exit_code(cause: Option<Cause>) -> u8 {
    match cause {
        Some(Cause::Setup) => 2,
        Some(Cause::Space) => 7,
        _ => 70,
    }
}

fn store_exit_code(error: &WalError) -> u8 {
    // A relay's data may always be deleted; what the disk does not read is as good as damaged.
    if matches!(error, WalError::Unread { .. }) {
        return 4;
    }
    match error.kind() {
        ErrorKind::Locked => 3,
        ErrorKind::Corrupt => 4,
        ErrorKind::Space => 7,
        ErrorKind::Retry | ErrorKind::Poisoned | ErrorKind::Misuse => {
            cause_exit_code(error.cause())
        }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    // Before the identity key is read or made.
    if let Err(error) = wal::private::keep_process() {
        eprintln!(
            "secluso-relay: this process could not be kept to itself ({error}): its memory may be dumped or read"
        );
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    let output = if arguments.json {
        Output::Json
    } else {
        Output::Text
    };
    match dispatch(arguments, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => say_failure(&error.to_string(), error.exit_code(), output),
    }
}

/// Why the program ends otherwise than asked.
fn say_failure(message: &str, exit_code: u8, output: Output) -> ExitCode {
    if output == Output::Json {
        say!(
            "{}",
            json!({"event": "error", "message": message, "exit_code": exit_code})
        );
    }
    eprintln!("secluso-relay: {message}");
    ExitCode::from(exit_code)
}

/// Help, the version, or what is wrong with the command line.
fn refuse(error: &clap::Error) -> ExitCode {
    let code = u8::try_from(error.exit_code()).unwrap_or(2);
    match usage_words::sentence_for_scripts(error, std::env::args_os().skip(1)) {
        Some(message) => say_failure(&message, code, Output::Json),
        None => {
            // Nobody can be told that stdout or stderr is closed.
            let _closed = error.print();
            ExitCode::from(code)
        }
    }
}

fn dispatch(arguments: Arguments, output: Output) -> Result<(), CliError> {
    let config = arguments.config;
    match arguments.command {
        Command::Run => run(&config, output),
        Command::Invite { class, ttl } => invite(&config, class, ttl, output),
        Command::Status => status(&config, output),
        Command::Metrics => print_metrics(&config, output),
        Command::Doctor => doctor::run(&config, output),
        Command::Init { dir } => init::run(&dir, output),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            let mut command = Arguments::command();
            clap_complete::generate(shell, &mut command, "secluso-relay", &mut script);
            say!("{}", String::from_utf8_lossy(&script).trim_end());
            Ok(())
        }
    }
}

/// Refuses a layout in which wiping the data would lose the identity.
fn check_layout(config: &Config) -> Result<(), CliError> {
    let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if absolute(&config.identity_key).starts_with(absolute(&config.data_dir)) {
        return Err(CliError::KeyInDataDirectory);
    }
    Ok(())
}

fn run(config_path: &Path, output: Output) -> Result<(), CliError> {
    logging::start();
    let service = Arc::new(Service::of_environment());
    let config = Config::load(config_path)?;
    check_layout(&config)?;
    let identity = keyfile::load(&config.identity_key)?;
    wal::disk::make_dir(&config.data_dir).map_err(|source| CliError::Io {
        path: config.data_dir.clone(),
        source,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|source| CliError::Io {
            path: PathBuf::from("the runtime"),
            source,
        })?;
    runtime.block_on(async {
        // Before anybody is told that it runs: who reads that line may stop it at once.
        let mut signals = StopSignals::new()?;
        let mut hang_ups = caught(SignalKind::hangup())?;
        let data_dir = config.data_dir.clone();
        // The process ends with the store's own word; whoever supervises it starts it again.
        let (tell, mut told) = oneshot::channel();
        let fatal = Box::new(move |error: WalError| {
            // Nobody hears it of a process that is stopping already.
            let _stopping = tell.send(error);
        });
        let server = Server::start(config, identity, fatal)?;
        let relay = server.address().to_string();
        let listening = server.bound().to_string();
        let control = match control::listen(&data_dir) {
            Ok(listener) => Some(tokio::spawn(control::serve(
                listener,
                data_dir.clone(),
                server.figures(),
                control::Facts {
                    relay: relay.clone(),
                    listening: listening.clone(),
                    service: Arc::clone(&service),
                },
            ))),
            Err(error) => {
                tracing::warn!(%error, "no control socket; `status` will not work");
                None
            }
        };
        let beating = tokio::spawn(beat(Arc::clone(&service), server.figures()));
        announce(&relay, &listening, output);
        service.tell_ready();
        let ended = loop {
            tokio::select! {
                // In this order: whoever stops a relay whose store is gone hears of it.
                biased;
                () = server.storage_gone() => break Err(match told.try_recv() {
                    Ok(error) => CliError::StorageFailed(error),
                    Err(_nothing) => CliError::StorageGone,
                }),
                () = signals.wait() => break Ok(()),
                Some(()) = hang_ups.recv() => reload(&server, config_path, output),
            }
        };
        tracing::info!("stopping");
        service.tell_stopping();
        // It holds a handle on the store as well.
        beating.abort();
        let _aborted = beating.await;
        if let Some(control) = control {
            control.abort();
            // It held a handle on the store, which must be gone before the store is closed.
            let _aborted = control.await;
            if let Err(error) = std::fs::remove_file(control::socket_path(&data_dir)) {
                tracing::debug!(%error, "the control socket stays behind");
            }
        }
        server.shutdown().await;
        // A store that dies while it is being closed has not ended well either.
        match (ended, told.try_recv()) {
            (Ok(()), Ok(error)) => Err(CliError::StorageFailed(error)),
            (ended, _) => ended,
        }
    })
}

/// Gives signs of life for as long as the store answers, if anybody waits for them.
async fn beat(service: Arc<Service>, figures: Figures) {
    let Some(interval) = service.beat() else {
        return;
    };
    loop {
        // A store that is opened again is alive soon, or the process ends.
        if figures.read().await.is_ok() {
            service.tell_alive();
        }
        tokio::time::sleep(interval).await;
    }
}

/// Reads the configuration again. A file that is not good changes nothing.
fn reload(server: &Server, config_path: &Path, output: Output) {
    let read = Config::load(config_path);
    let told = match read.map(|config| server.reload(&config)) {
        Ok(waiting) if waiting.is_empty() => {
            tracing::info!("the configuration was read again and is in force");
            json!({"event": "reloaded", "waiting": waiting})
        }
        Ok(waiting) => {
            tracing::warn!(
                waiting = waiting.join(", "),
                "the configuration was read again; what waits cannot change while the relay runs: restart it"
            );
            json!({"event": "reloaded", "waiting": waiting})
        }
        Err(error) => {
            tracing::warn!(%error, "the changed configuration is not used");
            json!({"event": "reload_refused", "message": error.to_string()})
        }
    };
    if output == Output::Json {
        say!("{told}");
    }
}

fn announce(relay: &str, listening: &str, output: Output) {
    match output {
        Output::Json => say!(
            "{}",
            json!({"event": "listening", "addr": listening, "relay": relay})
        ),
        Output::Text => {
            say!("listening on {listening}");
            say!("clients reach this relay as {relay}");
        }
    }
}

/// From here on this signal no longer ends the process.
fn caught(kind: SignalKind) -> Result<Signal, CliError> {
    signal(kind).map_err(|source| CliError::Io {
        path: PathBuf::from("the signal handlers"),
        source,
    })
}

/// SIGTERM and SIGINT, caught from the moment this is made.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn new() -> Result<StopSignals, CliError> {
        Ok(StopSignals {
            terminate: caught(SignalKind::terminate())?,
            interrupt: caught(SignalKind::interrupt())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn invite(
    config_path: &Path,
    class: ClassArgument,
    ttl_seconds: u32,
    output: Output,
) -> Result<(), CliError> {
    let config = Config::load(config_path)?;
    let identity = keyfile::load(&config.identity_key)?;
    let class = match class {
        ClassArgument::Hub => Class::Hub,
        ClassArgument::Phone => Class::Phone,
    };
    let invitation =
        admission::issue_invitation(&identity, random_bytes(), class, ttl_seconds, unix_now_s());
    let relay = config.advertised(config.listen, identity.relay_id());
    match output {
        Output::Json => say!(
            "{}",
            json!({
                "event": "invitation",
                "invitation": invitation.to_string(),
                "class": class.as_str(),
                "expires_unix_s": invitation.expires_unix_s,
                "relay": relay.to_string(),
            })
        ),
        Output::Text => {
            say!("{invitation}");
            eprintln!("for one {class}, within {ttl_seconds} s, at the relay {relay}");
        }
    }
    Ok(())
}

fn status(config_path: &Path, output: Output) -> Result<(), CliError> {
    let config = Config::load(config_path)?;
    let Some(report) = control::ask(&config.data_dir) else {
        return Err(CliError::NotRunning {
            data_dir: config.data_dir,
        });
    };
    match output {
        Output::Json => say!("{}", json!({"event": "status", "status": report})),
        Output::Text => {
            say!("relay        {}", report.relay);
            say!("listening    {}", report.listening);
            say!("connections  {}", report.connections);
            say!("accounts     {}", report.accounts);
            say!("mailboxes    {}", report.mailboxes);
            say!("stored       {} bytes of envelopes", report.envelope_bytes);
            say!(
                "quotas       {} bytes, in whole sectors of 4096",
                report.quota_bytes
            );
            match report.disk_bytes {
                Some(bytes) => say!("on disk      {bytes} bytes in the data directory"),
                None => say!("on disk      the data directory cannot be measured"),
            }
            say!(
                "log files    {} in use, {} free, up to {} MiB each",
                report.log_files,
                report.free_log_files,
                report.log_file_bytes >> 20
            );
            say!("syncs        {}", report.syncs);
            if !report.waiting.is_empty() {
                say!("restart for  {}", report.waiting.join(", "));
            }
        }
    }
    Ok(())
}

fn print_metrics(config_path: &Path, output: Output) -> Result<(), CliError> {
    let config = Config::load(config_path)?;
    let Some(report) = control::ask(&config.data_dir) else {
        return Err(CliError::NotRunning {
            data_dir: config.data_dir,
        });
    };
    match output {
        Output::Json => say!("{}", metrics::to_json(&report)),
        Output::Text => say!("{}", metrics::to_text(&report).trim_end()),
    }
    Ok(())
}

/// A number with s, m, h or d, in seconds.
fn parse_ttl(text: &str) -> Result<u32, String> {
    let bad = || format!("'{text}' is no time; use a number with s, m, h or d, like 24h");
    let (unit_at, unit) = text.char_indices().last().ok_or_else(bad)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(bad()),
    };
    let number: u32 = text
        .get(..unit_at)
        .and_then(|number| number.parse().ok())
        .ok_or_else(bad)?;
    let seconds = number.checked_mul(factor).ok_or_else(bad)?;
    if seconds == 0 || seconds > INVITATION_TTL_SECONDS_MAX {
        return Err("an invitation lives from one second to 30 days".to_owned());
    }
    Ok(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn exit_codes_are_the_documented_ones() {
        let store = |error| CliError::Start(StartError::Store(error));
        let io = |kind: std::io::ErrorKind| CliError::Io {
            path: PathBuf::from("data"),
            source: kind.into(),
        };
        let system = |number| WalError::Io {
            operation: "the log directory",
            source: std::io::Error::from_raw_os_error(number),
        };
        let config = Config::load(Path::new("/nowhere/relay.toml")).unwrap_err();
        let space = WalError::Space {
            needed: 2,
            available: 1,
        };
        let table = [
            (CliError::Unhealthy { count: 1 }, 1),
            (CliError::Config(config), 2),
            (CliError::KeyInDataDirectory, 2),
            (io(std::io::ErrorKind::PermissionDenied), 2),
            (store(WalError::Locked), 3),
            // What the disk does not read is as good as damaged, and no bug.
            (store(WalError::Unread { lsn: wal::Lsn(7) }), 4),
            (
                CliError::NotRunning {
                    data_dir: PathBuf::from("data"),
                },
                5,
            ),
            (store(space), 7),
            (io(std::io::ErrorKind::StorageFull), 7),
            (io(std::io::ErrorKind::Other), 70),
            (
                CliError::Key(KeyFileError::Io {
                    path: PathBuf::from("key"),
                    source: std::io::ErrorKind::AlreadyExists.into(),
                }),
                2,
            ),
            (CliError::StorageGone, 70),
            // EACCES, ENOSPC, EIO: at the start, and of a store that could not be opened again.
            (store(system(13)), 2),
            (store(system(28)), 7),
            (store(system(5)), 70),
            (CliError::StorageFailed(system(13)), 2),
            (CliError::StorageFailed(system(28)), 7),
            (CliError::StorageFailed(system(5)), 70),
        ];
        for (error, code) in table {
            assert_eq!(error.exit_code(), code, "{error}");
        }
    }

    #[test]
    fn times() {
        assert_eq!(parse_ttl("90s"), Ok(90));
        assert_eq!(parse_ttl("24h"), Ok(86_400));
        assert_eq!(parse_ttl("30d"), Ok(INVITATION_TTL_SECONDS_MAX));
        for bad in [
            "",
            "h",
            "24",
            "0s",
            "31d",
            "1w",
            "-1h",
            "99999999999d",
            "1é",
        ] {
            assert!(parse_ttl(bad).is_err(), "{bad}");
        }
    }
}
