//! Another relay for this device: admitted there first, then moved with all its hubs.
//!
//! Whatever the old one still held that is not here is sent again by the hubs, which are at the new one. It must never
//! give up the old relay before the new one has admitted this device.

use relay_client::RelayAddress;
use wire::Invitation;

use crate::app::Shared;
use crate::downlink;
use crate::error::AppError;

/// Moves to the relay at this address. Durable when it returns.
pub(crate) async fn move_to(
    shared: &Shared,
    address: &str,
    invitation: Option<&str>,
) -> Result<(), AppError> {
    let lines = shared.engine.read(|core, _shell| core.lines()).await?;
    if lines.is_empty() {
        return Err(AppError::NotPaired);
    }
    let relay: RelayAddress = address.parse().map_err(|_| {
        AppError::NotAdmitted(
            "that is no address of a relay; it looks like host:port/key, as `secluso-hub relay-code` prints it"
                .into(),
        )
    })?;
    let invitation: Option<Invitation> = match invitation {
        None => None,
        Some(text) => Some(text.trim().parse().map_err(|_| {
            AppError::NotAdmitted(
                "that is no invitation; copy all of what `secluso-hub relay-code` prints".into(),
            )
        })?),
    };
    let (connection, certificate) = downlink::admitted(shared, &relay, invitation).await?;
    connection.close();
    let (relay, bytes) = (relay.to_string(), certificate.to_bytes());
    shared
        .engine
        .read(move |core, _shell| core.move_to_relay(&relay, bytes))
        .await
}
