//! What a program tells whoever supervises it: that it is ready, that it is alive, that it stops
//! (`sd_notify(3)`); and whether its log is read by journald.
//!
//! It is here because the programs that run for months store in this engine. It must never wait and never
//! fail: who is not supervised tells nobody, and who is not heard goes on.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Where the supervisor listens: a path, or `@` and an abstract name.
pub const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// How long the supervisor waits for a sign of life, in microseconds.
pub const WATCHDOG_USEC: &str = "WATCHDOG_USEC";
/// For which process that is meant; without it, for whoever has the other.
pub const WATCHDOG_PID: &str = "WATCHDOG_PID";
/// Device and inode of what journald reads.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";
/// A sign of life is given so often within the time in which one is awaited.
const BEATS: u32 = 3;

/// The supervisor of this process, if it has one.
#[derive(Debug)]
pub struct Service {
    notify: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Service {
    /// As the environment says.
    pub fn of_environment() -> Self {
        Self::of(variable, std::process::id())
    }

    fn of(variable: impl Fn(&str) -> Option<OsString>, process: u32) -> Self {
        let notify = variable(NOTIFY_SOCKET).and_then(|place| match open(&place) {
            Ok(opened) => Some(opened),
            Err(error) => {
                tracing::warn!(%error, "whoever supervises this process cannot be told anything");
                None
            }
        });
        let number = |name: &str| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_ours = number(WATCHDOG_PID).is_none_or(|meant| meant == u64::from(process));
        let watchdog = number(WATCHDOG_USEC)
            .filter(|microseconds| *microseconds > 0 && is_ours && notify.is_some())
            .map(Duration::from_micros);
        Self { notify, watchdog }
    }

    /// Whether anybody supervises this process.
    pub fn is_supervised(&self) -> bool {
        self.notify.is_some()
    }

    /// How long the supervisor waits for a sign of life; none if it awaits none.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// How often to give a sign of life; none if none is awaited.
    pub fn beat(&self) -> Option<Duration> {
        self.watchdog.map(|patience| patience / BEATS)
    }

    /// It has started: who waits for it may go on.
    pub fn tell_ready(&self) {
        self.tell("READY=1");
    }

    /// A sign of life.
    pub fn tell_alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// It ends because it was asked to.
    pub fn tell_stopping(&self) {
        self.tell("STOPPING=1");
    }

    fn tell(&self, state: &str) {
        let Some((socket, address)) = &self.notify else {
            return;
        };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), address) {
            tracing::warn!(%error, state, "whoever supervises this process was not told");
        }
    }
}

/// A variable of the environment.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// A socket that waits for nobody, and where to send.
fn open(place: &OsStr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match place.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        Some((b'/', _path)) => SocketAddr::from_pathname(place)?,
        _ => {
            let what = "neither a path nor an abstract name";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// How urgent a line is for journald, with the numbers of `syslog(3)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// Something is broken.
    Error,
    /// Somebody should look at it.
    Warning,
    /// It went as it should.
    Info,
    /// For whoever looks for a mistake.
    Debug,
}

impl Urgency {
    /// What stands before each line that journald reads from stderr (`sd-daemon(3)`).
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Error => "<3>",
            Self::Warning => "<4>",
            Self::Info => "<6>",
            Self::Debug => "<7>",
        }
    }
}

impl From<&tracing::Level> for Urgency {
    fn from(level: &tracing::Level) -> Self {
        match *level {
            tracing::Level::ERROR => Self::Error,
            tracing::Level::WARN => Self::Warning,
            tracing::Level::INFO => Self::Info,
            tracing::Level::DEBUG | tracing::Level::TRACE => Self::Debug,
        }
    }
}

/// Whether journald reads what this process writes to stderr: then it notes the time itself, and takes a
/// line's [`Urgency`] from its prefix.
pub fn is_read_by_journald() -> bool {
    let Some(stream) = variable(JOURNAL_STREAM) else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr.is_ok_and(|file| is_stream(&stream, &file))
}

/// Whether a file is the one that the variable names. A program that was started with another stderr
/// inherits the variable all the same.
fn is_stream(stream: &OsStr, file: &File) -> bool {
    let of = |file: &File| {
        let found = file.metadata()?;
        Ok::<_, io::Error>(format!("{}:{}", found.dev(), found.ino()))
    };
    of(file).is_ok_and(|this| stream == this.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process whose environment has these variables.
    fn service(variables: &[(&str, &str)]) -> Service {
        let find = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        Service::of(find, 7)
    }

    fn heard(supervisor: &UnixDatagram) -> String {
        let mut bytes = [0; 64];
        let length = supervisor.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_supervisor_is_told_at_a_path_and_at_an_abstract_name() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notify");
        let name = format!("secluso-test-{}", std::process::id());
        let at_name = SocketAddr::from_abstract_name(&name).unwrap();
        let supervisors = [
            (path.display().to_string(), UnixDatagram::bind(&path)),
            (format!("@{name}"), UnixDatagram::bind_addr(&at_name)),
        ];
        for (variable, supervisor) in supervisors {
            let supervisor = supervisor.unwrap();
            let service = service(&[(NOTIFY_SOCKET, &variable)]);
            assert!(service.is_supervised());
            service.tell_ready();
            service.tell_alive();
            service.tell_stopping();
            for state in ["READY=1", "WATCHDOG=1", "STOPPING=1"] {
                assert_eq!(heard(&supervisor), state);
            }
        }
    }

    #[test]
    fn who_has_no_supervisor_or_one_that_is_gone_goes_on() {
        let place = tempfile::tempdir().unwrap();
        let gone = place.path().join("gone").display().to_string();
        assert!(!service(&[]).is_supervised());
        for variable in ["vsock:2:1", "", gone.as_str()] {
            let service = service(&[(NOTIFY_SOCKET, variable)]);
            service.tell_ready();
            assert_eq!(service.beat(), None);
        }
        assert!(!service(&[(WATCHDOG_USEC, "9")]).is_supervised());
    }

    #[test]
    fn signs_of_life_are_for_the_process_that_is_asked_for_them() {
        let patience = |more: &[(&str, &str)]| {
            let mut variables = vec![(NOTIFY_SOCKET, "/run/notify")];
            variables.extend(more);
            service(&variables).watchdog()
        };
        let minute = ("WATCHDOG_USEC", "60000000");
        assert_eq!(patience(&[minute]), Some(Duration::from_secs(60)));
        assert_eq!(
            patience(&[minute, (WATCHDOG_PID, "7")]),
            Some(Duration::from_secs(60))
        );
        assert_eq!(patience(&[minute, (WATCHDOG_PID, "8")]), None);
        assert_eq!(patience(&[(WATCHDOG_USEC, "0")]), None);
        assert_eq!(patience(&[(WATCHDOG_USEC, "soon")]), None);
        let service = service(&[(NOTIFY_SOCKET, "/run/notify"), minute]);
        assert_eq!(service.beat(), Some(Duration::from_secs(20)));
    }

    #[test]
    fn journald_is_known_by_what_it_reads() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("stream");
        let file = File::create(&path).unwrap();
        let found = file.metadata().unwrap();
        let named = OsString::from(format!("{}:{}", found.dev(), found.ino()));
        assert!(is_stream(&named, &file));
        let other = File::create(place.path().join("other")).unwrap();
        assert!(!is_stream(&named, &other));
        assert!(!is_stream(OsStr::new("8:"), &file));
        let levels = [tracing::Level::ERROR, tracing::Level::TRACE];
        let prefixes = levels.map(|level| Urgency::from(&level).prefix());
        assert_eq!(prefixes, ["<3>", "<7>"]);
    }
}
