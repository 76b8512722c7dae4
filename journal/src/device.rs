//! The device itself: its secret, its identity at the relay, and what the relay gave it.
//!
//! One secret row in the device scope, made at the first start.

use serde::{Deserialize, Serialize};
use wal::Durable;
use zeroize::Zeroizing;

use crate::error::JournalError;
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::sealed::Key;

/// Length of a device secret in bytes.
pub const DEVICE_SECRET_BYTES: usize = 72;

/// What a device is and has.
#[derive(Clone, Serialize, Deserialize)]
pub struct Device {
    /// Every pairing offer is derived from it.
    pub secret: Zeroizing<Vec<u8>>,
    /// Seed of the Ed25519 identity at the relay and on direct connections.
    pub identity_seed: Key,
    /// The relay's admission certificate, once there is one.
    pub certificate: Option<Vec<u8>>,
    /// Which relay gave it, as text.
    pub certificate_relay: String,
}

impl Journal {
    /// The device's row; made, and synced, when it is first asked for.
    ///
    /// # Errors
    /// Our own storage.
    pub fn device(&mut self) -> Result<Device, JournalError> {
        if self.scopes.get(Scope::Device).is_some()
            && let Some(device) = self.secret_row(Scope::Device, Family::Device, &[])?
        {
            return Ok(device);
        }
        let mut txn = self.begin();
        txn.birth(Scope::Device)?;
        let device = Device {
            secret: Zeroizing::new(txn.random::<DEVICE_SECRET_BYTES>().to_vec()),
            identity_seed: Key::new(txn.random()),
            certificate: None,
            certificate_relay: String::new(),
        };
        txn.put_secret_row(Scope::Device, Family::Device, &[], &device)?;
        Ok(txn.commit(device)?.into_inner())
    }

    /// The port on which phones were last paired, if one was kept.
    ///
    /// # Errors
    /// Our own storage.
    pub fn pairing_port(&self) -> Result<Option<u16>, JournalError> {
        self.row(keys::PAIRING_PORT)
    }

    /// Keeps the port on which phones are paired: a phone that was interrupted knows no other.
    ///
    /// # Errors
    /// Our own storage.
    pub fn keep_pairing_port(&mut self, port: u16) -> Result<Durable<()>, JournalError> {
        let mut txn = self.begin();
        txn.put_row(keys::PAIRING_PORT, &port)?;
        txn.commit(())
    }

    /// Keeps the relay's certificate.
    ///
    /// # Errors
    /// Our own storage.
    pub fn keep_certificate(
        &mut self,
        relay: &str,
        certificate: Vec<u8>,
    ) -> Result<Durable<()>, JournalError> {
        let mut device = self.device()?;
        device.certificate = Some(certificate);
        device.certificate_relay = relay.to_owned();
        let mut txn = self.begin();
        txn.put_secret_row(Scope::Device, Family::Device, &[], &device)?;
        txn.commit(())
    }
}
