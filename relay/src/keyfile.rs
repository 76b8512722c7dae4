//! The relay's identity key on disk: one line of text, readable by its owner only.
//!
//! The key is configuration, not data: it must never lie inside the data directory, and losing
//! it loses every admission. This room must never print it or leave it in memory unerased.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64ct::{Base64UrlUnpadded, Encoding};
use relay_client::Identity;
use thiserror::Error;
use zeroize::Zeroizing;

const PREFIX: &str = "secluso-relay-key-v1:";
/// A key file is one short line.
const FILE_BYTES_MAX: u64 = 256;
/// Bits that nobody but the owner may have.
const FOREIGN_MODE_BITS: u32 = 0o077;

/// Why a key file cannot be used.
#[derive(Debug, Error)]
pub enum KeyFileError {
    /// It is not there.
    #[error("no identity key at {}; make one with `secluso-relay init`", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Others may read it.
    #[error("{} can be read by others (mode {mode:o}); run: chmod 600 {}", path.display(), path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It holds something else.
    #[error("{} is not an identity key; restore it from your backup", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Reads the identity from a key file.
///
/// # Errors
/// [`KeyFileError`], each with the way out.
pub fn load(path: &Path) -> Result<Identity, KeyFileError> {
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => KeyFileError::Missing {
            path: path.to_owned(),
        },
        _ => KeyFileError::Io {
            path: path.to_owned(),
            source,
        },
    };
    let file = std::fs::File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.mode() & 0o777;
    if mode & FOREIGN_MODE_BITS != 0 {
        return Err(KeyFileError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(io)?;
    parse(&text).ok_or_else(|| KeyFileError::Format {
        path: path.to_owned(),
    })
}

fn parse(text: &str) -> Option<Identity> {
    let encoded = text.trim().strip_prefix(PREFIX)?;
    let mut seed = Zeroizing::new([0_u8; 32]);
    let decoded = Base64UrlUnpadded::decode(encoded, seed.as_mut_slice()).ok()?;
    if decoded.len() != 32 {
        return None;
    }
    Some(Identity::from_seed(*seed))
}

/// Writes a new key file with mode 0600, durably. An existing one is never overwritten.
///
/// # Errors
/// [`KeyFileError::Io`], also when the file exists.
pub fn create(path: &Path, identity: &Identity) -> Result<(), KeyFileError> {
    let io = |source| KeyFileError::Io {
        path: path.to_owned(),
        source,
    };
    let text = Zeroizing::new(format!(
        "{PREFIX}{}\n",
        *Zeroizing::new(Base64UrlUnpadded::encode_string(identity.seed().as_slice()))
    ));
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.sync_all().map_err(io)?;
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    std::fs::File::open(directory.unwrap_or(Path::new(".")))
        .and_then(|directory| directory.sync_all())
        .map_err(io)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_key_comes_back_and_is_kept_from_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("identity.key");
        assert!(matches!(load(&path), Err(KeyFileError::Missing { .. })));
        let identity = Identity::from_seed([3; 32]);
        create(&path, &identity).unwrap();
        assert_eq!(load(&path).unwrap().relay_id(), identity.relay_id());
        assert!(create(&path, &identity).is_err(), "never overwritten");

        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            load(&path),
            Err(KeyFileError::Mode { mode: 0o640, .. })
        ));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "secluso-relay-key-v1:AAAA").unwrap();
        assert!(matches!(load(&path), Err(KeyFileError::Format { .. })));
    }
}
