//! `init`: an identity key and a sample configuration.
//!
//! This room must never overwrite anything: a lost identity key loses every admission.

use std::io::Write;
use std::path::Path;

use relay_client::Identity;
use serde_json::json;
use wal::Dice as _;

use super::{CliError, Output};
use crate::keyfile;

const SAMPLE: &str = r#"# A Secluso relay. Every key is shown with its default, except the two paths.

# The UDP address to listen on.
listen = "[::]:4433"

# host:port as clients reach it. Without it, the address above.
# public_address = "relay.example:4433"

# The identity of this relay. Back this file up, and keep it out of the data directory:
# with the key, a relay that lost its disk still knows its clients.
identity_key = "identity.key"

# Mailboxes are stored here. Made if it is missing.
data_dir = "data"

# Devices that are not let in any more.
revoked = []

# Per account. Counted is disk: the whole sectors of 4096 bytes that an envelope takes.
[quota]
account_mib = 2048  # a hub's
reserved_mib = 16   # the part that only small envelopes may use
mailboxes = 256
phone_account_mib = 64
phone_reserved_mib = 8
phone_mailboxes = 64

[limits]
connections = 4096
handshakes_per_second = 32  # per /24 or /56
handshake_burst = 256
log_file_mib = 16
unread_seconds = 30  # a connection ends when its client leaves an answer unread for so long
"#;

pub(super) fn run(dir: &Path, output: Output) -> Result<(), CliError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| CliError::Io { path, source }
    };
    std::fs::create_dir_all(dir).map_err(io(dir))?;
    let config_path = dir.join("relay.toml");
    let key_path = dir.join("identity.key");
    // The configuration first: a second `init` then stops before it makes another key.
    let mut config = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&config_path)
        .map_err(io(&config_path))?;
    config
        .write_all(SAMPLE.as_bytes())
        .map_err(io(&config_path))?;
    let identity = Identity::generate(|out| wal::OsDice.fill(out));
    keyfile::create(&key_path, &identity)?;
    match output {
        Output::Json => say!(
            "{}",
            json!({
                "event": "init",
                "config": config_path,
                "identity_key": key_path,
                "relay_id": identity.relay_id().to_text(),
            })
        ),
        Output::Text => {
            say!("made {} and {}", config_path.display(), key_path.display());
            say!("next: edit the first, back up the second, then");
            say!("  secluso-relay run --config {}", config_path.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_sample_is_a_valid_configuration_and_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), Output::Json).unwrap();
        let config = Config::load(&dir.path().join("relay.toml")).unwrap();
        assert_eq!(config.quotas, crate::store::Quotas::default());
        let id = keyfile::load(&config.identity_key).unwrap().relay_id();
        assert!(run(dir.path(), Output::Json).is_err());
        assert_eq!(keyfile::load(&config.identity_key).unwrap().relay_id(), id);
    }
}
