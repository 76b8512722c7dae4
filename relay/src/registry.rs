//! Which devices are connected now: one connection each, the newest wins.
//!
//! This room must never outlive its process and is never written to disk: who is online is
//! nobody's business.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wire::{DeviceId, ErrorCode};

/// The connected devices.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    connections: Mutex<HashMap<DeviceId, quinn::Connection>>,
}

/// A device's place; dropping it frees the place unless a newer connection has taken it.
#[derive(Debug)]
pub(crate) struct Seat {
    registry: Arc<Registry>,
    device: DeviceId,
    stable_id: usize,
}

impl Registry {
    /// Gives the device's place to this connection and closes the one that had it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        device: DeviceId,
        connection: &quinn::Connection,
    ) -> Seat {
        let old = self.connections().insert(device, connection.clone());
        if let Some(old) = old {
            close(&old, ErrorCode::Replaced);
        }
        Seat {
            registry: Arc::clone(self),
            device,
            stable_id: connection.stable_id(),
        }
    }

    /// Closes the connection of a device that is no longer admitted, if it has one.
    pub(crate) fn shut_out(&self, device: &DeviceId) {
        let connection = self.connections().get(device).cloned();
        if let Some(connection) = connection {
            close(&connection, ErrorCode::Revoked);
        }
    }

    /// The number of connected devices.
    pub(crate) fn len(&self) -> usize {
        self.connections().len()
    }

    fn connections(&self) -> MutexGuard<'_, HashMap<DeviceId, quinn::Connection>> {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut connections = self.registry.connections();
        let ours = connections
            .get(&self.device)
            .is_some_and(|current| current.stable_id() == self.stable_id);
        if ours {
            connections.remove(&self.device);
        }
    }
}

/// Closes a connection with a code of the protocol and its sentence.
pub(crate) fn close(connection: &quinn::Connection, code: ErrorCode) {
    connection.close(u32::from(code.to_u16()).into(), code.message().as_bytes());
}
