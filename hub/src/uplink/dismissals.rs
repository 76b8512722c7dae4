//! Telling the relay of phones that were removed: they are to be shut out, and their mailboxes emptied.
//!
//! A removal never waits for this: the relay may be away for days. What is to be told is in the journal
//! until the relay has confirmed it. This room must never forget a phone that is still admitted because of
//! an answer that did not come.

use std::collections::BTreeSet;
use std::time::Duration;

use journal::Dismissal;
use journal::ids::PairingId;
use relay_client::{ClientError, Connection, RelayAddress};
use wire::frame::Revocation;
use wire::ids::RelayId;

use super::Over;
use crate::core::Heads;
use crate::sealer::{Sealer, SealerError};

/// Pause before the relay is told again what it did not confirm: its disk may have been full.
const AGAIN: Duration = Duration::from_secs(600);
/// Pause after the journal was opened again.
const REOPENED_PAUSE: Duration = Duration::from_secs(1);

/// Tells all that is to be told to this relay: now, and whenever a phone is removed. Ends only with the
/// journal.
pub(super) async fn tell(connection: &Connection, sealer: Sealer, relay: RelayId) -> Over {
    let mut heads = sealer.heads();
    loop {
        let known = phones(&heads.borrow_and_update());
        let pause = match tell_all(connection, &sealer, relay).await {
            Ok(pause) => pause,
            Err(SealerError::Core(error)) if error.is_open() => REOPENED_PAUSE,
            Err(error) => return Over::Sealer(error),
        };
        tokio::select! {
            changed = heads.wait_for(|heads| phones(heads) != known) => if changed.is_err() {
                return Over::Sealer(SealerError::Closed);
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Returns when to look again.
async fn tell_all(
    connection: &Connection,
    sealer: &Sealer,
    relay: RelayId,
) -> Result<Duration, SealerError> {
    let owed = sealer.run(|core, _now| core.dismissals()).await?;
    for dismissal in owed.into_iter().filter(|owed| is_of(owed, relay)) {
        let phone = dismissal.pairing;
        match connection
            .revoke(dismissal.device, dismissal.mailboxes)
            .await
        {
            Ok(Revocation::Done) => tracing::info!("a phone that was removed is shut out"),
            Ok(Revocation::NotInviter) => tracing::warn!(
                "a phone that was removed stays admitted at the relay, which it did not join by an invitation of this hub; its operator can revoke it"
            ),
            // The connection ends, or the disk of the relay is full, or it is an older one.
            Err(error) => {
                log(&error);
                continue;
            }
        }
        let told = move |core: &mut crate::core::Core, now| {
            core.with_journal(now, |journal| journal.dismissal_told(phone))
        };
        drop(sealer.run(told).await?);
    }
    Ok(AGAIN)
}

fn log(error: &ClientError) {
    tracing::debug!(%error, "the relay has not confirmed that a phone is removed; it is told again");
}

/// Whether it is this relay's business: its key names it, its address may change.
fn is_of(dismissal: &Dismissal, relay: RelayId) -> bool {
    let address: Result<RelayAddress, _> = dismissal.relay.parse();
    address.is_ok_and(|address| address.relay_id == relay)
}

fn phones(heads: &Heads) -> BTreeSet<PairingId> {
    heads.keys().map(|line| line.pairing).collect()
}
