//! What each command does, and which exit code an error has.

use std::fmt;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use app_core::{
    App, AppError, AppOptions, ClipId, Creation, ErrorKind, Events, Lan, Nearby, SyncMode,
};
use clap::CommandFactory;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::args::{Arguments, Command};
use crate::doctor;
use crate::invite;
use crate::live;
use crate::names;
use crate::orders::{self, Wanted};
use crate::output::{self, Style};

/// A mistake in this program, or something that should not be possible.
pub(crate) const EXIT_INTERNAL: u8 = 70;
/// How the secret begins that is printed on a hub.
const PRINTED: &str = "SECLUSODEVICE1:";
/// The longest code that is read from stdin, in bytes.
const CODE_BYTES_MAX: u64 = 8 * 1024;

/// Why the program ends with another code than 0.
#[derive(Debug)]
pub(crate) enum Failure {
    App(AppError),
    /// The command line makes no sense.
    Usage(String),
    /// The hub refused it, or it came to nothing; the sentence says what to do.
    Refused(String),
    /// Something that `doctor` found; already said.
    Unwell(u8),
    /// Our own output or set-up failed.
    Internal(String),
}

impl Failure {
    /// As documented in `app-core/README.md`.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::App(error) => code_of(error),
            Self::Usage(_) => 2,
            Self::Refused(_) => 6,
            Self::Unwell(code) => *code,
            Self::Internal(_) => EXIT_INTERNAL,
        }
    }
}

pub(crate) fn code_of(error: &AppError) -> u8 {
    match error.kind() {
        ErrorKind::Usage => 2,
        ErrorKind::Locked => 3,
        ErrorKind::Corrupt | ErrorKind::RolledBack => 4,
        // A mistake of ours, or a disk that keeps failing.
        ErrorKind::Poisoned => EXIT_INTERNAL,
        ErrorKind::Retry | ErrorKind::Peer => 5,
        ErrorKind::Refused | ErrorKind::NotPaired => 6,
        ErrorKind::Space => 7,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::App(error) => error.fmt(f),
            Self::Usage(text) | Self::Refused(text) | Self::Internal(text) => f.write_str(text),
            Self::Unwell(_) => f.write_str("something needs attention; see above"),
        }
    }
}

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self::App(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                Self::App(AppError::Space(format!(
                    "the output cannot be written: {error}; free some space, then try again"
                )))
            }
            _ => Self::Internal(format!("the output cannot be written: {error}")),
        }
    }
}

/// Logs go to stderr, warnings only unless `SECLUSO_LOG` says otherwise.
pub(crate) fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SECLUSO_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
        .init();
}

/// A core dump would hold keys; and what libraries make on their own is for nobody else either.
pub(crate) fn keep_to_ourselves() {
    if let Err(error) = app_core::private::keep_process() {
        tracing::warn!(%error, "this process could not be kept to itself: its memory may be dumped or read");
    }
}

pub(crate) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let style = if arguments.json {
        Style::Json
    } else {
        Style::Text
    };
    if let Command::Completions { shell } = arguments.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "secluso-app", &mut script);
        return Ok(output::raw(&script)?);
    }
    let dir = state_dir(arguments.dir)?;
    let work = work(&dir, arguments.command, style);
    let (mut interrupted, mut terminated) =
        (on(SignalKind::interrupt())?, on(SignalKind::terminate())?);
    // Dropping the work at any point leaves the state right; that is the whole of a clean stop.
    tokio::select! {
        result = work => result,
        _ = interrupted.recv() => Ok(()),
        _ = terminated.recv() => Ok(()),
    }
}

fn on(kind: SignalKind) -> Result<Signal, Failure> {
    signal(kind).map_err(|error| Failure::Internal(format!("signals cannot be caught: {error}")))
}

fn state_dir(given: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let named = given.or_else(|| std::env::var_os("SECLUSO_APP_DIR").map(PathBuf::from));
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".secluso-app"));
    named
        .or_else(home)
        .ok_or_else(|| Failure::Usage("no state directory: give --dir DIR".into()))
}

async fn work(dir: &Path, command: Command, style: Style) -> Result<(), Failure> {
    match command {
        Command::Pair {
            code,
            at,
            interface,
        } => {
            let code = read_code(code)?;
            let options = AppOptions {
                nearby: interface.map_or(Nearby::DefaultRoute, |at| Nearby::At(Lan::at(at))),
                ..AppOptions::default()
            };
            let app = App::open(dir, options).await?;
            let paired = match at.is_some() || code.trim().starts_with(PRINTED) {
                true => app.pair_printed(&code, at.as_deref()).await?,
                false => app.pair(&code).await?,
            };
            style.paired(&paired)?;
        }
        Command::Sync {
            follow,
            offline_after,
        } => {
            let mode = if follow {
                SyncMode::Follow
            } else {
                SyncMode::Once
            };
            let options = AppOptions {
                creation: Creation::Never,
                offline_after: Duration::from_secs(offline_after),
                ..AppOptions::default()
            };
            sync(&App::open(dir, options).await?, mode, style).await?;
        }
        Command::Live(options) => live::show(dir, &options, style).await?,
        Command::Clips => style.clips(&open(dir).await?.clips().await?)?,
        Command::Thumbnails => style.thumbnails(&open(dir).await?.thumbnails().await?)?,
        Command::Notifications => {
            style.notifications(&open(dir).await?.notifications().await?)?;
        }
        Command::Export { clip, file } => {
            let (app, clip) = names::clip(dir, &clip).await?;
            export(&app, clip, &file, style).await?;
        }
        Command::Delete { clip } => {
            let (app, clip) = names::clip(dir, &clip).await?;
            app.delete(clip).await?;
            drop(app);
            style.deleted(clip)?;
        }
        Command::Forget { hub, yes } => {
            if !yes {
                return Err(Failure::Usage(
                    "this erases the keys of that hub and every clip of it that is here. Add --yes to do it"
                        .into(),
                ));
            }
            let hub = orders::forget(dir, &hub).await?;
            style.forgotten(hub)?;
        }
        Command::Relay {
            address,
            invitation,
        } => {
            let invitation = invitation.map(read_code).transpose()?;
            let app = open(dir).await?;
            app.move_to_relay(&address, invitation.as_deref()).await?;
            style.moved(&address)?;
        }
        Command::Status => {
            let status = open(dir).await?.status().await?;
            if status.hubs.is_empty() {
                return Err(AppError::NotPaired.into());
            }
            style.status(&status)?;
        }
        Command::Privacy { switch, options } => {
            orders::order(dir, Wanted::Privacy(switch), &options, style).await?;
        }
        Command::Settings { action, options } => {
            orders::order(dir, Wanted::Settings(action), &options, style).await?;
        }
        Command::Resend { options } => {
            orders::order(dir, Wanted::Resend, &options, style).await?;
        }
        Command::RestartHub { options } => {
            orders::order(dir, Wanted::Restart, &options, style).await?;
        }
        Command::Phones { options } => {
            orders::order(dir, Wanted::Phones, &options, style).await?;
        }
        Command::RemovePhone {
            phone,
            yes,
            options,
        } => {
            if !yes {
                return Err(Failure::Usage(
                    "this has the camera erase the keys of that phone and all that is kept for it; it must pair again. Add --yes to do it"
                        .into(),
                ));
            }
            orders::order(dir, Wanted::Remove(phone), &options, style).await?;
        }
        Command::Invite { png, hub } => invite::invite(dir, png, hub.as_deref(), style).await?,
        Command::Commands => orders::list(dir, style).await?,
        Command::Doctor => doctor::examine(dir, style).await?,
        Command::Completions { .. } => {}
    }
    Ok(())
}

pub(crate) async fn open(dir: &Path) -> Result<App, AppError> {
    let options = AppOptions {
        creation: Creation::Never,
        ..AppOptions::default()
    };
    App::open(dir, options).await
}

fn read_code(given: String) -> Result<String, Failure> {
    if given.trim_start().starts_with(PRINTED) {
        // A code is worth nothing soon; this is the hub's for good.
        let what = "the secret of a hub is not taken from the command line, where others see it: give `-` as the code, and the secret on stdin";
        return Err(Failure::Usage(what.into()));
    }
    if given != "-" {
        return Ok(given);
    }
    let mut code = String::new();
    let read = std::io::stdin()
        .lock()
        .take(CODE_BYTES_MAX)
        .read_to_string(&mut code);
    read.map_err(|error| Failure::Usage(format!("no code could be read from stdin: {error}")))?;
    Ok(code)
}

async fn sync(app: &App, mode: SyncMode, style: Style) -> Result<(), Failure> {
    let mut events = app.observe();
    let result = tokio::select! {
        result = app.sync(mode) => result,
        printed = print(&mut events, style) => return printed,
    };
    // What became durable before the end is said, whatever the end was.
    while let Some(event) = events.try_next() {
        style.event(&event)?;
    }
    Ok(result?)
}

async fn print(events: &mut Events, style: Style) -> Result<(), Failure> {
    while let Some(event) = events.next().await {
        style.event(&event)?;
    }
    Ok(())
}

async fn export(app: &App, clip: ClipId, file: &Path, style: Style) -> Result<(), Failure> {
    let bar = if std::io::stderr().is_terminal() && style == Style::Text {
        ProgressBar::new(0).with_style(
            ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes} {bytes_per_sec}")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        )
    } else {
        ProgressBar::hidden()
    };
    let exported = app
        .export(clip, file, |done, all| {
            bar.set_length(all);
            bar.set_position(done);
        })
        .await;
    bar.finish_and_clear();
    style.exported(&exported?, &file.display().to_string())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_secret_is_not_taken_from_the_command_line() {
        for given in ["SECLUSODEVICE1:AAAA", " SECLUSODEVICE1:AAAA"] {
            let refused = read_code(given.to_owned()).unwrap_err();
            assert_eq!(refused.code(), 2);
            assert!(!refused.to_string().contains("AAAA"));
        }
        assert_eq!(
            read_code("SECLUSO1:AAAA".to_owned()).unwrap(),
            "SECLUSO1:AAAA"
        );
    }

    /// The table of `app-core/README.md`.
    #[test]
    fn exit_codes_are_the_documented_ones() {
        let clip: ClipId = "0123456789abcdef0123456789abcdef".parse().unwrap();
        let table = [
            (AppError::NoSuchClip(clip), 2),
            (AppError::Locked, 3),
            (AppError::Corrupt(String::new()), 4),
            (AppError::ClipDamaged { clip, chunk: 0 }, 4),
            (AppError::OlderCopy, 4),
            (AppError::LineBroken, 4),
            (AppError::Poisoned(String::new()), 70),
            (AppError::Network(String::new()), 5),
            (AppError::Peer(String::new()), 5),
            (AppError::Replaced, 5),
            (AppError::NotAdmitted(String::new()), 6),
            (AppError::Pairing(String::new()), 6),
            (AppError::NotPaired, 6),
            (AppError::Space(String::new()), 7),
            (AppError::Bug(String::new()), 70),
            (AppError::Unusable(String::new()), 2),
        ];
        for (error, code) in table {
            assert_eq!(code_of(&error), code, "{error:?}");
        }
    }
}
