//! The `[[camera]]` tables: each is checked into one source and the times of its events.
//!
//! A key that its kind does not have is refused with its line, and so is an address with a password in
//! it. This room must never read a password: it only says where one is.

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::message::NAME_BYTES_MAX;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::detection::{Detection, DetectionTable};
use crate::camera::address::Password;
use crate::camera::command::CommandConfig;
use crate::camera::rtsp::{AudioWish, RtspConfig, STALL_DEFAULT};
use crate::camera::virtual_camera::scene::CLOCK_PART;
use crate::camera::virtual_camera::{
    CYCLE_SECONDS, PICTURES_PER_SECOND, SIDE_PIXELS, VirtualConfig,
};
use crate::camera::{
    CameraAddress, FileCameraConfig, Login, Passes, SourceConfig, UNIT_SECONDS_MAX, WindowsConfig,
};
use crate::motion::FULL_PERMILLE;

/// The most cameras of one hub.
pub const CAMERAS_MAX: usize = 16;
/// Longest gap between two events, and longest event, in seconds.
const GAP_SECONDS_MAX: f64 = 86_400.0;
/// The shortest event that a camera may be told to make, in seconds.
const EVENT_SECONDS_MIN: f64 = 0.1;
/// Shortest and longest time without a picture, in seconds: no more than a clip can hold.
const STALL_SECONDS: (f64, f64) = (2.0, UNIT_SECONDS_MAX as f64);
/// The virtual camera's clock always moves, and is no event: the part of the picture that it takes, and one
/// row of what motion is sought in.
const CLOCK_MASK: [[u16; 2]; 4] = {
    let below = FULL_PERMILLE / CLOCK_PART as u16 + 15;
    [
        [0, 0],
        [FULL_PERMILLE, 0],
        [FULL_PERMILLE, below],
        [0, below],
    ]
};
/// The most arguments of a program.
const ARGUMENTS_MAX: usize = 64;

/// One camera.
#[derive(Clone, PartialEq, Debug)]
pub struct CameraConfig {
    /// Its name, as the phone shows it; no two cameras have the same.
    pub name: String,
    /// Where its pictures come from.
    pub source: SourceConfig,
    /// How its events are found in its pictures; `None`: they go by the clock, or are the passes of a clip.
    pub detection: Option<Box<Detection>>,
    /// The times of its events where they go by the clock, also because the pictures cannot be decoded.
    pub windows: WindowsConfig,
}

/// One `[camera]` table, or several `[[camera]]`.
#[derive(Default)]
pub(super) struct Tables(Vec<Table>);

impl<'de> Deserialize<'de> for Tables {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TablesVisitor)
    }
}

struct TablesVisitor;

impl<'de> Visitor<'de> for TablesVisitor {
    type Value = Tables;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table `[camera]`, or several `[[camera]]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Tables, A::Error> {
        let table = Table::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Tables(vec![table]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tables, A::Error> {
        let mut tables = Vec::new();
        while let Some(table) = seq.next_element()? {
            tables.push(table);
        }
        Ok(Tables(tables))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    kind: Spanned<Kind>,
    name: Option<Spanned<String>>,
    // A file.
    path: Option<Spanned<PathBuf>>,
    at_least_seconds: Option<Spanned<f64>>,
    at_most_seconds: Option<Spanned<f64>>,
    passes: Option<Spanned<u32>>,
    // An RTSP camera.
    url: Option<Spanned<String>>,
    user: Option<Spanned<String>>,
    password_file: Option<Spanned<PathBuf>>,
    password_credential: Option<Spanned<String>>,
    audio: Option<Spanned<bool>>,
    // A program.
    program: Option<Spanned<PathBuf>>,
    arguments: Option<Spanned<Vec<String>>>,
    // The virtual camera.
    width: Option<Spanned<u16>>,
    height: Option<Spanned<u16>>,
    pictures_per_second: Option<Spanned<u8>>,
    cycle_seconds: Option<Spanned<f64>>,
    // Several kinds.
    events: Option<Spanned<Events>>,
    detection: Option<Spanned<DetectionTable>>,
    gap_seconds: Option<Spanned<f64>>,
    event_seconds: Option<Spanned<f64>>,
    stall_seconds: Option<Spanned<f64>>,
}

/// What makes a camera's events.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Events {
    Motion,
    Clock,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Kind {
    File,
    Rtsp,
    Command,
    Virtual,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Rtsp => "rtsp",
            Self::Command => "command",
            Self::Virtual => "virtual",
        }
    }

    /// The keys of this kind, besides those that every kind has.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::File => &["path", "at_least_seconds", "at_most_seconds", "passes"],
            Self::Rtsp => &[
                "url",
                "user",
                "password_file",
                "password_credential",
                "audio",
                "event_seconds",
                "stall_seconds",
            ],
            Self::Command => &["program", "arguments", "event_seconds", "stall_seconds"],
            Self::Virtual => &[
                "width",
                "height",
                "pictures_per_second",
                "cycle_seconds",
                "event_seconds",
            ],
        }
    }
}

/// Makes the complaint about a value that stands there.
pub(super) type BadAt<'a> = &'a dyn Fn(Range<usize>, &'static str, String) -> super::ConfigError;

/// Checks all tables.
pub(super) fn cameras(
    tables: Tables,
    base: &Path,
    bad: BadAt<'_>,
) -> Result<Vec<CameraConfig>, super::ConfigError> {
    let mut cameras: Vec<CameraConfig> = Vec::new();
    for table in tables.0 {
        let (kind_at, name_at) = (table.kind.span(), table.name.as_ref().map(Spanned::span));
        if cameras.len() == CAMERAS_MAX {
            let what = format!("at most {CAMERAS_MAX} cameras are supported");
            return Err(bad(kind_at, "kind", what));
        }
        let camera = camera(table, base, bad)?;
        if cameras.iter().any(|other| other.name == camera.name) {
            let what = format!(
                "two cameras have the name {:?}; give each its own",
                camera.name
            );
            return Err(bad(name_at.unwrap_or(kind_at), "name", what));
        }
        cameras.push(camera);
    }
    Ok(cameras)
}

fn camera(
    mut table: Table,
    base: &Path,
    bad: BadAt<'_>,
) -> Result<CameraConfig, super::ConfigError> {
    let kind = *table.kind.get_ref();
    let kind_at = table.kind.span();
    for (key, at) in table.given() {
        if !kind.keys().contains(&key) {
            let what = format!("a camera of kind \"{}\" has no such key", kind.word());
            return Err(bad(at, key, what));
        }
    }
    let name = match &table.name {
        None => "camera".to_owned(),
        Some(name) if name.get_ref().is_empty() || name.get_ref().len() > NAME_BYTES_MAX => {
            let what = format!("a camera's name has 1 to {NAME_BYTES_MAX} bytes");
            return Err(bad(name.span(), "name", what));
        }
        Some(name) => name.get_ref().clone(),
    };
    let gap = seconds(
        &table.gap_seconds,
        "gap_seconds",
        (0.0, GAP_SECONDS_MAX),
        bad,
    )?;
    let event = seconds(
        &table.event_seconds,
        "event_seconds",
        (EVENT_SECONDS_MIN, GAP_SECONDS_MAX),
        bad,
    )?;
    let stall = seconds(&table.stall_seconds, "stall_seconds", STALL_SECONDS, bad)?;
    let stall = stall.unwrap_or(STALL_DEFAULT);
    let missing = |key: &'static str| {
        let what = format!("a camera of kind \"{}\" needs it", kind.word());
        bad(kind_at.clone(), key, what)
    };
    let detection = detection(&mut table, kind, bad)?;
    let source = match kind {
        Kind::File => SourceConfig::File(file(&table, base, gap, bad, &missing)?),
        Kind::Rtsp => SourceConfig::Rtsp(rtsp(&table, base, stall, bad, &missing)?),
        Kind::Command => SourceConfig::Command(command(&table, base, stall, bad, &missing)?),
        Kind::Virtual => SourceConfig::Virtual(virtual_camera(&table, kind_at.clone(), bad)?),
    };
    Ok(CameraConfig {
        name,
        source,
        detection,
        windows: WindowsConfig {
            event: event.unwrap_or(Duration::from_secs(30)),
            gap: gap.unwrap_or(Duration::from_secs(10)),
        },
    })
}

/// What moves makes the events of every camera that is always there, and of a clip that it is asked for.
fn detection(
    table: &mut Table,
    kind: Kind,
    bad: BadAt<'_>,
) -> Result<Option<Box<Detection>>, super::ConfigError> {
    let events = table.events.as_ref().map(|events| *events.get_ref());
    let (at, mut given) = match table.detection.take() {
        Some(given) if events == Some(Events::Clock) => {
            let what = "with `events = \"clock\"` nothing is detected; leave out one of the two";
            return Err(bad(given.span(), "detection", what.into()));
        }
        Some(given) => (given.span(), given.into_inner()),
        None => {
            let wanted = events.unwrap_or(match kind {
                Kind::File => Events::Clock,
                Kind::Rtsp | Kind::Command | Kind::Virtual => Events::Motion,
            });
            if wanted == Events::Clock {
                return Ok(None);
            }
            (table.kind.span(), DetectionTable::default())
        }
    };
    if kind == Kind::Virtual {
        given.add_mask(CLOCK_MASK.to_vec());
    }
    let checked = Detection::new(given).map_err(|error| bad(at, error.key, error.what))?;
    Ok(Some(Box::new(checked)))
}

type Missing<'a> = &'a dyn Fn(&'static str) -> super::ConfigError;

impl Table {
    /// The keys that not every kind has, and where their values stand.
    fn given(&self) -> Vec<(&'static str, Range<usize>)> {
        fn at<T>(value: &Option<Spanned<T>>) -> Option<Range<usize>> {
            value.as_ref().map(Spanned::span)
        }
        let all = [
            ("path", at(&self.path)),
            ("at_least_seconds", at(&self.at_least_seconds)),
            ("at_most_seconds", at(&self.at_most_seconds)),
            ("passes", at(&self.passes)),
            ("url", at(&self.url)),
            ("user", at(&self.user)),
            ("password_file", at(&self.password_file)),
            ("password_credential", at(&self.password_credential)),
            ("audio", at(&self.audio)),
            ("program", at(&self.program)),
            ("arguments", at(&self.arguments)),
            ("width", at(&self.width)),
            ("height", at(&self.height)),
            ("pictures_per_second", at(&self.pictures_per_second)),
            ("cycle_seconds", at(&self.cycle_seconds)),
            ("event_seconds", at(&self.event_seconds)),
            ("stall_seconds", at(&self.stall_seconds)),
        ];
        let given = all.into_iter().filter_map(|(key, at)| Some((key, at?)));
        given.collect()
    }
}

fn file(
    table: &Table,
    base: &Path,
    gap: Option<Duration>,
    bad: BadAt<'_>,
    missing: Missing<'_>,
) -> Result<FileCameraConfig, super::ConfigError> {
    let path = table.path.as_ref().ok_or_else(|| missing("path"))?;
    let mut file = FileCameraConfig::new(base.join(path.get_ref()));
    if let Some(gap) = gap {
        file.gap = gap;
    }
    let (least, most) = (&table.at_least_seconds, &table.at_most_seconds);
    if let Some(least) = seconds(least, "at_least_seconds", (0.0, GAP_SECONDS_MAX), bad)? {
        file.at_least = least;
    }
    let range = (EVENT_SECONDS_MIN, GAP_SECONDS_MAX);
    file.at_most = seconds(most, "at_most_seconds", range, bad)?;
    if let (Some(longest), Some(most)) = (file.at_most, most)
        && longest < file.at_least
    {
        let what = "it is less than at_least_seconds; an event cannot be both";
        return Err(bad(most.span(), "at_most_seconds", what.into()));
    }
    let passes = table.passes.as_ref().map(|passes| *passes.get_ref());
    if let Some(passes) = passes.and_then(NonZeroU32::new) {
        file.passes = Passes::Exactly(passes);
    }
    Ok(file)
}

fn rtsp(
    table: &Table,
    base: &Path,
    stall: Duration,
    bad: BadAt<'_>,
    missing: Missing<'_>,
) -> Result<RtspConfig, super::ConfigError> {
    let url = table.url.as_ref().ok_or_else(|| missing("url"))?;
    let address = CameraAddress::parse(url.get_ref())
        .map_err(|error| bad(url.span(), "url", error.to_string()))?;
    let password = match (&table.password_file, &table.password_credential) {
        (None, None) => None,
        (Some(path), None) => Some(Password::File(base.join(path.get_ref()))),
        (None, Some(name)) => Some(Password::Credential(name.get_ref().clone())),
        (Some(_), Some(name)) => {
            let what = "a password is in `password_file` or in `password_credential`, not in both";
            return Err(bad(name.span(), "password_credential", what.into()));
        }
    };
    let login = match (&table.user, password) {
        (None, None) => None,
        (Some(user), Some(password)) => Some(Login {
            user: user.get_ref().clone(),
            password,
        }),
        (Some(user), None) => {
            let what = "its password is missing: `password_file` or `password_credential`";
            return Err(bad(user.span(), "user", what.into()));
        }
        (None, Some(_)) => return Err(missing("user")),
    };
    Ok(RtspConfig {
        address,
        login,
        audio: match table.audio.as_ref().map(|audio| *audio.get_ref()) {
            Some(false) => AudioWish::Never,
            Some(true) | None => AudioWish::IfSupported,
        },
        stall,
    })
}

fn command(
    table: &Table,
    base: &Path,
    stall: Duration,
    bad: BadAt<'_>,
    missing: Missing<'_>,
) -> Result<CommandConfig, super::ConfigError> {
    let program = table.program.as_ref().ok_or_else(|| missing("program"))?;
    let program = program.get_ref();
    let arguments = match &table.arguments {
        None => Vec::new(),
        Some(arguments) if arguments.get_ref().len() > ARGUMENTS_MAX => {
            let what = format!("at most {ARGUMENTS_MAX} are supported");
            return Err(bad(arguments.span(), "arguments", what));
        }
        Some(arguments) => arguments.get_ref().clone(),
    };
    Ok(CommandConfig {
        // A name alone is looked for in PATH, as a shell does.
        program: match program.components().count() {
            0 | 1 => program.clone(),
            _ => base.join(program),
        },
        arguments,
        stall,
    })
}

fn virtual_camera(
    table: &Table,
    kind_at: Range<usize>,
    bad: BadAt<'_>,
) -> Result<VirtualConfig, super::ConfigError> {
    let default = VirtualConfig::default();
    let side = |value: &Option<Spanned<u16>>| value.as_ref().map(|side| *side.get_ref());
    let rate = table.pictures_per_second.as_ref();
    let cycle = seconds(&table.cycle_seconds, "cycle_seconds", CYCLE_SECONDS, bad)?;
    let config = VirtualConfig {
        width: side(&table.width).unwrap_or(default.width),
        height: side(&table.height).unwrap_or(default.height),
        pictures_per_second: rate.map_or(default.pictures_per_second, |rate| *rate.get_ref()),
        cycle: cycle.unwrap_or(default.cycle),
    };
    if config.is_supported() {
        return Ok(config);
    }
    let ((least, most), (slow, fast)) = (SIDE_PIXELS, PICTURES_PER_SECOND);
    let what = format!(
        "even sides of {least} to {most} pixels and {slow} to {fast} pictures a second are supported"
    );
    Err(bad(kind_at, "kind", what))
}

fn seconds(
    value: &Option<Spanned<f64>>,
    key: &'static str,
    (min, max): (f64, f64),
    bad: BadAt<'_>,
) -> Result<Option<Duration>, super::ConfigError> {
    match value {
        Some(value) if !(min..=max).contains(value.get_ref()) => {
            let what = format!("{min} to {max} seconds are supported");
            Err(bad(value.span(), key, what))
        }
        Some(value) => Ok(Some(Duration::from_secs_f64(*value.get_ref()))),
        None => Ok(None),
    }
}
