//! Where an RTSP camera is and how to log in, kept apart: an address can be shown, a password cannot.
//!
//! It must never print a password, nor what stands before `@` or behind `?` in an address, nor a part of its path
//! that may be a login: some cameras want name and password there. Passwords
//! are read when they are used, so that a changed one is found without a restart, and are erased from
//! our memory after that.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use url::Url;
use zeroize::Zeroizing;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: u64 = 1024;
/// Where RTSP cameras listen unless their address says otherwise.
const RTSP_PORT: u16 = 554;
/// Where systemd names the directory of a unit's credentials, inside the unit.
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
/// The longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;

/// The address of an RTSP camera, without credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraAddress(Url);

/// Why a text is no address of a camera. It never repeats the text, which may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It is no URL.
    #[error("not an address; it looks like rtsp://192.168.1.20/stream1")]
    NotUrl,
    /// It is of another kind.
    #[error("only rtsp:// is supported")]
    NotRtsp,
    /// It names no host.
    #[error("it names no host; it looks like rtsp://192.168.1.20/stream1")]
    NoHost,
    /// Name or password are in it, in a place that others can read.
    #[error("it holds a name or a password; put them into `user` and `password_file`")]
    HasLogin,
}

impl CameraAddress {
    /// Parses an address that must not hold name or password.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        match Self::parse_with_login(text)? {
            (address, None) => Ok(address),
            (_, Some(_)) => Err(AddressError::HasLogin),
        }
    }

    /// Parses an address as people paste it, and takes name and password out of it.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse_with_login(text: &str) -> Result<(Self, Option<Login>), AddressError> {
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::NotUrl);
        }
        let mut url = Url::parse(text).map_err(|_| AddressError::NotUrl)?;
        if url.scheme() != "rtsp" {
            return Err(AddressError::NotRtsp);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(AddressError::NoHost);
        }
        let login = (!url.username().is_empty() || url.password().is_some()).then(|| Login {
            user: unescaped(url.username()),
            password: Password::Given(Secret::new(unescaped(url.password().unwrap_or_default()))),
        });
        // Neither fails for an address that has a host.
        url.set_username("").map_err(|()| AddressError::NoHost)?;
        url.set_password(None).map_err(|()| AddressError::NoHost)?;
        Ok((Self(url), login))
    }

    /// The host, without brackets, and the port, RTSP's own if none is given.
    pub fn host_and_port(&self) -> (String, u16) {
        let host = self.0.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (host.to_owned(), self.0.port().unwrap_or(RTSP_PORT))
    }

    /// The address for a client; it may hold a secret behind `?`.
    pub(super) fn url(&self) -> &Url {
        &self.0
    }
}

impl fmt::Display for CameraAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "rtsp://{}", self.0.host_str().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(out, ":{port}")?;
        }
        for part in self.0.path().split('/').skip(1) {
            let shown = if is_plain(part) { part } else { "..." };
            write!(out, "/{shown}")?;
        }
        match self.0.query() {
            // Some cameras want name and password there.
            Some(_) => out.write_str("?..."),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for CameraAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// Whether a part of a path can hold no login: some cameras want it as in `/user=admin_password=x_channel=1.sdp`
/// or `/admin:x/1`.
fn is_plain(part: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let lower = part.to_ascii_lowercase();
    let names_login = ["user", "pass", "pwd", "psw", "login", "auth", "token"]
        .iter()
        .any(|word| lower.contains(word));
    part.bytes().all(is_word) && !names_login
}

/// Takes `%41` for `A`; what is no such code stays.
fn unescaped(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let code = match (byte, behind) {
            (b'%', [high, low, ..]) => hex_digit(*high).zip(hex_digit(*low)),
            _ => None,
        };
        match code {
            Some((high, low)) => {
                out.push((high << 4) | low);
                rest = behind.get(2..).unwrap_or_default();
            }
            None => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn hex_digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

/// A password in memory: erased when it is dropped, and not printable.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a password.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The password itself, for the one who sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(...)")
    }
}

/// Who logs in.
#[derive(Clone, PartialEq, Debug)]
pub struct Login {
    /// The name.
    pub user: String,
    /// Where the password is.
    pub password: Password,
}

/// Where a password is.
#[derive(Clone, Debug)]
pub enum Password {
    /// In a file that nobody but its owner can read.
    File(PathBuf),
    /// A credential of the systemd unit (`LoadCredential=`), by its name.
    Credential(String),
    /// Here: given on a command line.
    Given(Secret),
}

/// Whether both are in the same place, whatever is there.
impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File(path), Self::File(other)) => path == other,
            (Self::Credential(name), Self::Credential(other)) => name == other,
            // No configuration holds one, and passwords are compared with nothing.
            _ => false,
        }
    }
}

/// Why a password cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// The file cannot be read.
    #[error("{path} cannot be read ({reason})")]
    Unreadable {
        /// Its path.
        path: String,
        /// What the system says.
        reason: String,
    },
    /// Others can read it.
    #[error("others can read {path} (mode {mode:o}); run `chmod 600 {path}`")]
    Readable {
        /// Its path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// It is empty, too long, or no text.
    #[error("{path} holds no password: one line of text, at most {PASSWORD_BYTES_MAX} bytes")]
    NoPassword {
        /// Its path.
        path: String,
    },
    /// The hub was not started with systemd's credentials.
    #[error(
        "there is no credential `{name}`: the unit needs LoadCredential={name}:FILE, or use `password_file`"
    )]
    NoCredentials {
        /// The name asked for.
        name: String,
    },
}

impl Password {
    /// Reads it. Blocking, and bounded by [`PASSWORD_BYTES_MAX`].
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn read(&self) -> Result<Secret, PasswordError> {
        match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => read_file(path.clone(), Guard::OwnMode),
            Self::Credential(name) => {
                let no_credentials = || PasswordError::NoCredentials { name: name.clone() };
                let directory = std::env::var_os(CREDENTIALS_DIRECTORY)
                    .filter(|_| is_credential(name))
                    .ok_or_else(no_credentials)?;
                let path = PathBuf::from(directory).join(name);
                if !path.exists() {
                    return Err(no_credentials());
                }
                read_file(path, Guard::Directory)
            }
        }
    }

    /// Whether this process is not the one that could read it: a credential is only there inside the systemd unit.
    pub fn is_out_of_reach(&self) -> bool {
        match self {
            Self::Credential(name) => {
                is_credential(name) && std::env::var_os(CREDENTIALS_DIRECTORY).is_none()
            }
            Self::File(_) | Self::Given(_) => false,
        }
    }
}

/// Whether a credential can have this name.
fn is_credential(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.starts_with('.')
}

/// What keeps others from a password's file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    OwnMode,
    /// systemd's directory, which only the unit can enter.
    Directory,
}

fn read_file(path: PathBuf, guard: Guard) -> Result<Secret, PasswordError> {
    let shown = path.display().to_string();
    let unreadable = |error: std::io::Error| PasswordError::Unreadable {
        path: shown.clone(),
        reason: error.to_string(),
    };
    // Asked before opening, because opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(&path).map_err(unreadable)?;
    let no_password = || PasswordError::NoPassword {
        path: shown.clone(),
    };
    if !metadata.is_file() {
        return Err(no_password());
    }
    let mode = metadata.permissions().mode() & 0o777;
    if guard == Guard::OwnMode && mode & 0o077 != 0 {
        let path = shown.clone();
        return Err(PasswordError::Readable { path, mode });
    }
    // Room for all of it and one byte more: a string that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(PASSWORD_BYTES_MAX as usize + 1));
    let read = File::open(&path)
        .map_err(unreadable)?
        .take(PASSWORD_BYTES_MAX + 1)
        .read_to_string(&mut text);
    match read {
        Ok(bytes) if bytes as u64 <= PASSWORD_BYTES_MAX => {}
        Err(error) if error.kind() != std::io::ErrorKind::InvalidData => {
            return Err(unreadable(error));
        }
        _ => return Err(no_password()),
    }
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(['\r', '\n', '\0']) {
        return Err(no_password());
    }
    Ok(Secret::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_is_secret() {
        let text = "rtsp://admin:p%40ss@cam.lan:8554/live/1?user=admin&password=p%40ss";
        let (address, login) = CameraAddress::parse_with_login(text).unwrap();
        let login = login.unwrap();
        assert_eq!(login.user, "admin");
        let Password::Given(secret) = &login.password else {
            panic!("it was given");
        };
        assert_eq!(secret.reveal(), "p@ss");
        for shown in [
            address.to_string(),
            format!("{address:?}"),
            format!("{login:?}"),
        ] {
            assert!(
                !shown.contains("ss@") && !shown.contains("p@") && !shown.contains("%40"),
                "{shown}"
            );
        }
        assert_eq!(address.to_string(), "rtsp://cam.lan:8554/live/1?...");
        assert_eq!(address.url().username(), "");
        assert_eq!(address.url().password(), None);
    }

    /// Names and passwords where cameras are known to want them.
    #[test]
    fn a_path_is_shown_without_what_may_be_a_login() {
        let table = [
            (
                "rtsp://10.0.0.9:554/user=admin_password=hunter2_channel=1_stream=0.sdp",
                "rtsp://10.0.0.9:554/...",
            ),
            (
                "rtsp://cam.lan/user=admin&password=hunter2/live",
                "rtsp://cam.lan/.../live",
            ),
            ("rtsp://cam.lan/admin:hunter2/1", "rtsp://cam.lan/.../1"),
            ("rtsp://cam.lan/a%3Dhunter2", "rtsp://cam.lan/..."),
            ("rtsp://cam.lan/pwd_hunter2", "rtsp://cam.lan/..."),
            (
                "rtsp://cam.lan/Streaming/Channels/101",
                "rtsp://cam.lan/Streaming/Channels/101",
            ),
            ("rtsp://cam.lan/", "rtsp://cam.lan/"),
            ("rtsp://cam.lan", "rtsp://cam.lan"),
            ("rtsp://cam.lan//h264", "rtsp://cam.lan//h264"),
        ];
        for (text, shown) in table {
            let address = CameraAddress::parse(text).unwrap();
            assert_eq!(address.to_string(), shown);
            assert_eq!(format!("{address:?}"), shown);
            // The camera is asked for what its owner wrote.
            assert_eq!(address.url().as_str(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        let table = [
            ("cam.lan/secret", AddressError::NotUrl),
            ("http://cam.lan/secret", AddressError::NotRtsp),
            ("rtsp:secret", AddressError::NoHost),
            ("rtsp://u:secret@cam.lan/", AddressError::HasLogin),
        ];
        for (text, want) in table {
            let error = CameraAddress::parse(text).unwrap_err();
            assert_eq!(error, want, "{text}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn a_password_is_one_line_that_others_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let write = |text: &[u8], mode| {
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Password::File(path.clone()).read()
        };
        assert_eq!(write(b"s3cret\n", 0o600).unwrap().reveal(), "s3cret");
        assert!(matches!(
            write(b"s3cret\n", 0o640),
            Err(PasswordError::Readable { mode: 0o640, .. })
        ));
        for text in [&b""[..], b"\n", b"two\nlines\n", b"\xff\xfe", &[b'x'; 1025]] {
            let error = write(text, 0o600).unwrap_err();
            assert!(matches!(error, PasswordError::NoPassword { .. }), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = Password::File(path.clone()).read().unwrap_err();
        assert!(matches!(error, PasswordError::Unreadable { .. }), "{error}");
    }

    #[test]
    fn a_credential_has_a_plain_name() {
        for name in ["", "../shadow", ".hidden", "a/b"] {
            let error = Password::Credential(name.into()).read().unwrap_err();
            assert!(
                matches!(error, PasswordError::NoCredentials { .. }),
                "{error}"
            );
            assert!(!Password::Credential(name.into()).is_out_of_reach());
        }
        let is_in_unit = std::env::var_os(CREDENTIALS_DIRECTORY).is_some();
        let plain = Password::Credential("door".into());
        assert_eq!(plain.is_out_of_reach(), !is_in_unit);
        assert!(!Password::File("/nowhere".into()).is_out_of_reach());
    }
}
