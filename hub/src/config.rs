//! The configuration file: read once, into types that cannot be wrong.
//!
//! Every mistake names line, key and next step. This room must never touch the network or the
//! state directory, and a value that is not here is not configurable.

pub mod detection;
mod duration;

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::Suite;
use journal::message::CLIP_DAYS;
use pairing_lan::{Lan, Where};
use relay_client::RelayAddress;
use serde::Deserialize;
use toml::Spanned;
use wire::Invitation;

use crate::core::{MayInvite, SilenceLimits};
use crate::traffic::{self, BACKLOG_MIB, BACKLOG_MIB_DEFAULT, KIB_PER_S, Traffic};
pub use camera::{CAMERAS_MAX, CameraConfig};

mod camera;

/// A longer file is not a configuration.
const CONFIG_BYTES_MAX: u64 = 64 * 1024;
/// Smallest and largest log file in MiB.
const LOG_FILE_MIB: (u64, u64) = (4, 256);
/// Smallest and largest budget for video in MiB: some seconds of one camera, and a petabyte.
const BUDGET_MIB: (u64, u64) = (1, 1 << 30);
/// The smallest log file of a hub that retains: a piece and its copy, for as many phones as there may be, are
/// one transaction, which may take a quarter of it.
const LOG_FILE_MIB_RETAINING_MIN: u64 = 8;
/// Shortest and longest life of a pairing code, in seconds.
const OFFER_SECONDS: (u64, u64) = (30, journal::pairing::OFFER_TTL_S_MAX);
/// The least time after which a phone may count as silent: a phone that is well says a word every six
/// hours, and its system may hold that up.
const SILENT_MIN: Duration = Duration::from_secs(24 * 60 * 60);
/// A crash test, and nobody else, waits for seconds instead ([`wal::asked_by_crash_test`]).
const SILENCE_OF_CRASH_TEST: &str = "SECLUSO_CRASH_SILENCE_S";
/// The longest time after which a silent phone may be removed: ten years.
const REMOVED_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);
/// Addresses that a pairing code may name.
const ADDRESSES_MAX: usize = 4;

/// A configuration that was checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything durable is.
    pub state_dir: PathBuf,
    /// The relay.
    pub relay: RelayAddress,
    /// For the first connection; not used once a certificate is stored.
    pub invitation: Option<Invitation>,
    /// Pairing.
    pub pairing: PairingConfig,
    /// When a phone that is not heard of gets nothing more, and when it is removed.
    pub silence: SilenceLimits,
    /// Whether a paired phone may pass an offer on to one more.
    pub may_invite: MayInvite,
    /// The cameras, at most [`CAMERAS_MAX`]; none: the hub only sends what it has.
    pub cameras: Vec<CameraConfig>,
    /// Sizes on disk.
    pub disk: DiskConfig,
    /// What is kept beside what phones are sent.
    pub retain: Retain,
    /// Where the device secret comes from at the first start; none: it is made then.
    pub device_secret_file: Option<PathBuf>,
    /// A file that asks for a reset when it is there, beside `reset` in the state directory.
    pub reset_file: Option<PathBuf>,
    /// The constant rate at which event videos leave; none: they leave when they are there.
    pub traffic: Option<Traffic>,
    /// Where this machine's own programs may read the hub's numbers; none: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// How phones pair.
#[derive(Clone, Debug)]
pub struct PairingConfig {
    /// Where the hub listens while it pairs.
    pub listen: SocketAddr,
    /// What the code names instead of the addresses found; hosts without port.
    pub addresses: Vec<String>,
    /// The suite of the groups.
    pub suite: Suite,
    /// How long a code lasts.
    pub offer: Duration,
    /// In which network it is said that a code is open, without saying which.
    pub announce: Where,
}

/// Sizes on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DiskConfig {
    /// Size of a log file in bytes.
    pub log_file_bytes: u64,
    /// Most bytes of video that wait for phones; none: as many as the disk takes.
    pub budget_bytes: Option<u64>,
    /// After how many days of running a clip goes that no phone has got, if no phone says otherwise; none: never for
    /// its age.
    pub clip_days_max: Option<u32>,
}

/// What a hub keeps that it can open itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
pub enum Retain {
    /// Nothing: what is sealed for a phone, only that phone opens.
    #[default]
    #[serde(rename = "nothing")]
    Nothing,
    /// A copy of each clip, until its phone's ack: for a new phone, should that one be lost.
    #[serde(rename = "until-acked")]
    UntilAcked,
}

/// What is wrong with a configuration, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(
        "the configuration {path} cannot be read ({reason}); give the right path with --config"
    )]
    Unreadable {
        /// As given.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// It is no TOML, or has a key that does not exist, or one of the wrong type.
    #[error("{path}, line {line}: {what}; correct that line (see `secluso-hub run --help`)")]
    Syntax {
        /// As given.
        path: String,
        /// From 1.
        line: usize,
        /// What the parser says, with the key.
        what: String,
    },
    /// A value cannot be.
    #[error("{path}, line {line}: `{key}`: {what}")]
    Value {
        /// As given.
        path: String,
        /// From 1; 0 if the key is not in the file.
        line: usize,
        /// Which key.
        key: &'static str,
        /// What is wrong and what would be right.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    state_dir: PathBuf,
    relay: String,
    invitation: Option<String>,
    device_secret_file: Option<PathBuf>,
    reset_file: Option<PathBuf>,
    #[serde(default)]
    pairing: PairingTable,
    #[serde(default)]
    phones: PhonesTable,
    #[serde(default)]
    camera: camera::Tables,
    #[serde(default)]
    disk: DiskTable,
    #[serde(default)]
    privacy: PrivacyTable,
    #[serde(default)]
    traffic: TrafficTable,
    #[serde(default)]
    metrics: MetricsTable,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PrivacyTable {
    #[serde(default)]
    retain: Retain,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PairingTable {
    listen: Option<String>,
    addresses: Option<Vec<String>>,
    suite: Option<SuiteName>,
    offer_seconds: Option<u64>,
    announce: Option<bool>,
    interface: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct PhonesTable {
    silent_after: Option<String>,
    removed_after: Option<String>,
    invite: Option<bool>,
}

#[derive(Deserialize, Clone, Copy)]
enum SuiteName {
    #[serde(rename = "x-wing")]
    XWing,
    #[serde(rename = "classic")]
    Classic,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DiskTable {
    log_file_mib: Option<u64>,
    budget_mib: Option<u64>,
    clip_days_max: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct MetricsTable {
    listen: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TrafficTable {
    constant_rate: Option<String>,
    backlog_mib: Option<u64>,
}

impl Config {
    /// Reads and checks a file. Relative paths in it start at its own directory.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let unreadable = |reason: String| ConfigError::Unreadable {
            path: shown.clone(),
            reason,
        };
        let metadata = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?;
        if metadata.len() > CONFIG_BYTES_MAX {
            return Err(unreadable(format!(
                "it has more than {CONFIG_BYTES_MAX} bytes"
            )));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&text, &shown, base)
    }

    /// Checks a text. `path` is for messages, `base` for relative paths.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn parse(text: &str, path: &str, base: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: error.span().map_or(1, |span| line_at(text, span.start)),
            what: error.message().replace('\n', " "),
        })?;
        let bad = |key: &'static str, what: String| ConfigError::Value {
            path: path.to_owned(),
            line: line_of(text, key),
            key,
            what,
        };
        let bad_at = |at: Range<usize>, key: &'static str, what: String| ConfigError::Value {
            path: path.to_owned(),
            line: line_at(text, at.start),
            key,
            what,
        };
        let relay = file.relay.parse().map_err(|_| {
            bad("relay", "not a relay address; it looks like host:port/key, as `secluso-relay run` prints it".into())
        })?;
        let invitation = match file.invitation.as_deref().map(str::trim) {
            None | Some("") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                bad(
                    "invitation",
                    "not an invitation; paste what `secluso-relay invite --class hub` printed"
                        .into(),
                )
            })?),
        };
        Ok(Self {
            state_dir: base.join(file.state_dir),
            relay,
            invitation,
            pairing: pairing(file.pairing, &bad)?,
            silence: silence(&file.phones, &bad)?,
            may_invite: match file.phones.invite {
                Some(false) => MayInvite::No,
                Some(true) | None => MayInvite::Yes,
            },
            cameras: camera::cameras(file.camera, base, &bad_at)?,
            disk: disk(&file.disk, file.privacy.retain, &bad)?,
            retain: file.privacy.retain,
            device_secret_file: file.device_secret_file.map(|path| base.join(path)),
            reset_file: file.reset_file.map(|path| base.join(path)),
            traffic: traffic(&file.traffic, &bad)?,
            metrics: metrics(file.metrics, &bad_at)?,
        })
    }
}

type Bad<'a> = &'a dyn Fn(&'static str, String) -> ConfigError;

fn pairing(table: PairingTable, bad: Bad<'_>) -> Result<PairingConfig, ConfigError> {
    let listen = match table.listen {
        None => SocketAddr::from(([0, 0, 0, 0], 0)),
        Some(text) => text.parse().map_err(|_| {
            bad(
                "listen",
                "not an address with port; for example 0.0.0.0:0".into(),
            )
        })?,
    };
    let addresses = table.addresses.unwrap_or_default();
    if addresses.len() > ADDRESSES_MAX {
        return Err(bad(
            "addresses",
            format!("at most {ADDRESSES_MAX} are supported"),
        ));
    }
    let offer_seconds = table.offer_seconds.unwrap_or(600);
    in_range("offer_seconds", offer_seconds, OFFER_SECONDS, bad)?;
    Ok(PairingConfig {
        listen,
        addresses,
        suite: match table.suite {
            Some(SuiteName::Classic) => Suite::Classic,
            Some(SuiteName::XWing) | None => Suite::XWing,
        },
        offer: Duration::from_secs(offer_seconds),
        announce: announce(table.announce, table.interface.as_deref(), bad)?,
    })
}

fn announce(
    wanted: Option<bool>,
    interface: Option<&str>,
    bad: Bad<'_>,
) -> Result<Where, ConfigError> {
    let Some(interface) = interface else {
        return Ok(match wanted {
            Some(false) => Where::Nowhere,
            Some(true) | None => Where::DefaultRoute,
        });
    };
    match interface.parse::<Ipv4Addr>() {
        _ if wanted == Some(false) => Err(bad(
            "interface",
            "nothing is announced; set announce = true too, or remove it".into(),
        )),
        Ok(address) if !address.is_unspecified() && !address.is_multicast() => {
            Ok(Where::At(Lan::at(address)))
        }
        _ => Err(bad(
            "interface",
            "not an IPv4 address of this machine; for example 192.168.1.20".into(),
        )),
    }
}

fn silence(table: &PhonesTable, bad: Bad<'_>) -> Result<SilenceLimits, ConfigError> {
    let read = |key, text: &Option<String>, default| match text.as_deref().map(str::trim) {
        None => Ok(default),
        Some(text) => duration::parse(text).ok_or_else(|| {
            let what =
                "not a duration; write a whole number of minutes, hours or days, as 90m, 36h or 7d";
            bad(key, what.into())
        }),
    };
    let defaults = SilenceLimits::default();
    let limits = SilenceLimits {
        silent_after: read("silent_after", &table.silent_after, defaults.silent_after)?,
        removed_after: read(
            "removed_after",
            &table.removed_after,
            defaults.removed_after,
        )?,
    };
    if limits.silent_after < SILENT_MIN {
        let what =
            "at least 1d: a phone that is well is heard of every few hours, and not to the minute";
        return Err(bad("silent_after", what.into()));
    }
    if limits.removed_after <= limits.silent_after || limits.removed_after > REMOVED_MAX {
        let what = "more than silent_after, and at most 3650d";
        return Err(bad("removed_after", what.into()));
    }
    let asked = wal::asked_by_crash_test(SILENCE_OF_CRASH_TEST);
    let asked = asked.as_deref().and_then(seconds_of_crash_test);
    Ok(asked.unwrap_or(limits))
}

/// Both limits in seconds, as `9,3600`.
fn seconds_of_crash_test(text: &str) -> Option<SilenceLimits> {
    let (silent, removed) = text.split_once(',')?;
    let seconds = |text: &str| text.parse().ok().map(Duration::from_secs);
    Some(SilenceLimits {
        silent_after: seconds(silent)?,
        removed_after: seconds(removed)?,
    })
}

fn disk(table: &DiskTable, retain: Retain, bad: Bad<'_>) -> Result<DiskConfig, ConfigError> {
    let mib = table.log_file_mib.unwrap_or(16);
    in_range("log_file_mib", mib, LOG_FILE_MIB, bad)?;
    if retain == Retain::UntilAcked && mib < LOG_FILE_MIB_RETAINING_MIN {
        let what = format!(
            "{mib} is too small for a hub that retains; at least {LOG_FILE_MIB_RETAINING_MIN}"
        );
        return Err(bad("log_file_mib", what));
    }
    if let Some(budget) = table.budget_mib {
        in_range("budget_mib", budget, BUDGET_MIB, bad)?;
    }
    let clip_days_max = match table.clip_days_max {
        None => None,
        Some(days) => {
            let (least, most) = CLIP_DAYS;
            in_range("clip_days_max", days, (least.into(), most.into()), bad)?;
            u32::try_from(days).ok()
        }
    };
    Ok(DiskConfig {
        log_file_bytes: mib << 20,
        budget_bytes: table.budget_mib.map(|budget| budget << 20),
        clip_days_max,
    })
}

fn traffic(table: &TrafficTable, bad: Bad<'_>) -> Result<Option<Traffic>, ConfigError> {
    let Some(text) = &table.constant_rate else {
        return match table.backlog_mib {
            None => Ok(None),
            Some(_) => Err(bad(
                "backlog_mib",
                "it bounds what a constant rate leaves at the relay; set constant_rate too, or remove it".into(),
            )),
        };
    };
    let kib_per_s = traffic::parse_rate(text).ok_or_else(|| {
        bad(
            "constant_rate",
            "not a rate; it looks like \"64 KiB/s\" or \"1 MiB/s\"".into(),
        )
    })?;
    let (min, max) = KIB_PER_S;
    if !(min..=max).contains(&kib_per_s) {
        return Err(bad(
            "constant_rate",
            format!("{min} KiB/s to {max} KiB/s are supported"),
        ));
    }
    let backlog_mib = table.backlog_mib.unwrap_or(BACKLOG_MIB_DEFAULT);
    in_range("backlog_mib", backlog_mib, BACKLOG_MIB, bad)?;
    Ok(Some(Traffic::new(kib_per_s, backlog_mib)))
}

fn metrics(
    table: MetricsTable,
    bad_at: camera::BadAt<'_>,
) -> Result<Option<SocketAddr>, ConfigError> {
    let Some(listen) = table.listen else {
        return Ok(None);
    };
    match listen.get_ref().parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        _ => {
            let what =
                "not an address of this machine alone with a port; for example 127.0.0.1:9464";
            Err(bad_at(listen.span(), "listen", what.into()))
        }
    }
}

fn in_range(
    key: &'static str,
    value: u64,
    (min, max): (u64, u64),
    bad: Bad<'_>,
) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        Err(bad(key, format!("{value} is outside {min} to {max}")))
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text
        .bytes()
        .take(offset)
        .filter(|byte| *byte == b'\n')
        .count()
}

/// The line that sets a key; 0 if none does.
fn line_of(text: &str, key: &str) -> usize {
    let sets = |line: &str| {
        let rest = line.trim_start().strip_prefix(key);
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    text.lines().position(sets).map_or(0, |index| index + 1)
}

#[cfg(test)]
mod tests;
