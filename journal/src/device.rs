//! The device itself: its secret, its identity at the relay, and what the relay gave it.
//!
//! One secret row in the device scope, made at the first start; the secret in it at random, or as the
//! owner provisioned it. Nothing takes its place afterwards but a reset.

mod secret;

use serde::{Deserialize, Serialize};
use wal::{Durable, crash_point};
use zeroize::Zeroizing;

use crate::error::JournalError;
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::scope::Scope;
use crate::sealed::Key;

pub use secret::DeviceSecret;

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
        if let Some(device) = self.known_device()? {
            return Ok(device);
        }
        let secret = Zeroizing::new(self.begin().random::<DEVICE_SECRET_BYTES>());
        Ok(self.make_device(secret.as_slice())?.into_inner())
    }

    /// The device's row, if there is one yet. It changes nothing.
    ///
    /// # Errors
    /// Our own storage.
    pub fn known_device(&self) -> Result<Option<Device>, JournalError> {
        match self.scopes.get(Scope::Device) {
            Some(_) => self.secret_row(Scope::Device, Family::Device, &[]),
            None => Ok(None),
        }
    }

    /// Makes the device with a secret that was provisioned. A device that is there keeps its own, because
    /// phones may be using codes that came of it: whether it is the same is in [`Self::known_device`].
    ///
    /// # Errors
    /// Our own storage.
    pub fn provision(&mut self, secret: &DeviceSecret) -> Result<Durable<Device>, JournalError> {
        match self.known_device()? {
            Some(device) => self.begin().commit(device),
            None => self.make_device(secret.as_bytes()),
        }
    }

    fn make_device(&mut self, secret: &[u8]) -> Result<Durable<Device>, JournalError> {
        let mut txn = self.begin();
        txn.birth(Scope::Device)?;
        let device = Device {
            secret: Zeroizing::new(secret.to_vec()),
            identity_seed: Key::new(txn.random()),
            certificate: None,
            certificate_relay: String::new(),
        };
        txn.put_secret_row(Scope::Device, Family::Device, &[], &device)?;
        // CRASH(journal.device.made): before: no device; the next start takes its secret from the same file, or
        // throws other dice, and nobody has seen this one | after: it has one, and no file changes that.
        crash_point!("journal.device.made");
        txn.commit(device)
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
