//! Telling the relay of phones that were removed: their invitations are taken back, and their mailboxes emptied. And of
//! invitations that nobody needs any more: of codes that a phone passed on and nobody used.
//!
//! A removal never waits for this: the relay may be away for days. What is to be told is in the journal
//! until the relay has confirmed it. What is told names what it takes back, so that a phone which has paired
//! again meanwhile is not touched. This room must never forget a phone that is still admitted at the hub's relay,
//! and what is wrong with one row must never end a connection.

use std::collections::BTreeSet;
use std::time::Duration;

use journal::ids::PairingId;
use journal::{Dismissal, Dismissed};
use relay_client::{ClientError, Connection, RelayAddress};
use wire::frame::{Guest, Revocation};
use wire::ids::RelayId;

use super::{Board, Over};
use crate::core::{Core, CoreError, Heads};
use crate::sealer::{Sealer, SealerError};

/// Pause before the relay is told again what it did not confirm: its disk may have been full, or somebody else
/// lets the phone in.
const AGAIN: Duration = Duration::from_secs(600);
/// Pause after the journal was opened again.
const REOPENED_PAUSE: Duration = Duration::from_secs(1);

/// Tells all that is to be told to this relay: now, and whenever a phone is removed. Ends only with the
/// journal.
pub(super) async fn tell(
    connection: &Connection,
    sealer: Sealer,
    relay: RelayId,
    board: Board,
) -> Over {
    let mut heads = sealer.heads();
    loop {
        let known = phones(&heads.borrow_and_update());
        let pause = match tell_all(connection, &sealer, relay, &board).await {
            Ok(()) => AGAIN,
            Err(error) => match pause_after(&error) {
                Some(pause) => pause,
                None => return Over::Sealer(error),
            },
        };
        tokio::select! {
            changed = heads.wait_for(|heads| phones(heads) != known) => if changed.is_err() {
                return Over::Sealer(SealerError::Closed);
            },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// When to go on after the journal could not do its part; `None` if there is no journal any more.
fn pause_after(error: &SealerError) -> Option<Duration> {
    match error {
        SealerError::Closed | SealerError::Core(CoreError::Dead(_)) => None,
        SealerError::Core(error) if error.is_open() => Some(REOPENED_PAUSE),
        SealerError::Core(error) => {
            tracing::warn!(%error, "the relay is told of removed phones later");
            Some(AGAIN)
        }
    }
}

async fn tell_all(
    connection: &Connection,
    sealer: &Sealer,
    relay: RelayId,
    board: &Board,
) -> Result<(), SealerError> {
    let found = sealer.run(|core, _now| core.dismissals()).await?;
    let ids: BTreeSet<PairingId> = found.owed.iter().map(|owed| owed.pairing).collect();
    board.change(|board| board.still_admitted.retain(|phone| ids.contains(phone)));
    for dismissal in found.owed {
        let phone = dismissal.pairing;
        if is_of(&dismissal, relay) {
            let guest = dismissal.guest.map(|guest| Guest {
                device: guest.device,
                invitation: guest.invitation,
            });
            match connection.revoke(guest, dismissal.mailboxes).await {
                Ok(answer) => match hear(dismissal.what, guest, answer) {
                    Told::Enough => {}
                    Told::StillAdmitted => {
                        board.change(|board| board.still_admitted.insert(phone));
                        continue;
                    }
                },
                // The connection ends, or the disk of the relay is full, or it is an older one.
                Err(error) => {
                    log(&error);
                    continue;
                }
            }
        } else if dismissal.what == Dismissed::Invitation {
            // It is told if this hub ever comes back there.
            continue;
        } else if dismissal.what == Dismissed::Phone {
            tracing::warn!(
                relay = dismissal.relay,
                "a phone that was removed stays admitted at a relay that this hub has left; its operator can revoke it"
            );
        }
        board.change(|board| board.still_admitted.remove(&phone));
        let told = move |core: &mut Core, now| {
            core.with_journal(now, |journal| journal.dismissal_told(phone))
        };
        drop(sealer.run(told).await?);
    }
    Ok(())
}

/// What an answer of the relay means for what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    /// It need not be told again.
    Enough,
    /// Somebody else lets the phone in. It is asked again: that may end.
    StillAdmitted,
}

/// Judges an answer, and says it.
fn hear(what: Dismissed, guest: Option<Guest>, answer: Revocation) -> Told {
    match (what, answer) {
        // Who passed the code on, or has paired again, may stay.
        (Dismissed::Invitation, _) => {
            tracing::debug!("an invitation that nobody needs is taken back");
        }
        (Dismissed::Phone, Revocation::Done) if guest.is_none() => tracing::warn!(
            "a phone that was removed may be still admitted at the relay, because what was stored of it is damaged; its operator can revoke it"
        ),
        (Dismissed::Phone, Revocation::Done) => {
            tracing::info!("a phone that was removed is shut out");
        }
        (Dismissed::Phone, Revocation::NotKnown) => tracing::warn!(
            "the relay does not know the phone that was removed: it never came there, or the relay has lost what it knew. If it did come, only the operator of the relay can revoke it"
        ),
        (Dismissed::Phone, Revocation::StillAdmitted) => {
            tracing::info!("a phone that was removed stays admitted at the relay by somebody else");
            return Told::StillAdmitted;
        }
    }
    Told::Enough
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

#[cfg(test)]
mod tests {
    use journal::{JournalError, Scope};

    use super::*;

    /// A row that cannot be read, or a disk without room, is no reason to leave the relay.
    #[test]
    fn only_the_end_of_the_journal_ends_the_telling() {
        let after = |error| pause_after(&SealerError::Core(error));
        let rotten = JournalError::ValueDamaged {
            scope: Scope::Device,
            what: "dismissal",
        };
        assert_eq!(after(CoreError::Journal(rotten)), Some(AGAIN));
        assert_eq!(after(CoreError::Reopened), Some(REOPENED_PAUSE));
        assert_eq!(after(CoreError::Dead("as the test wants it".into())), None);
        assert_eq!(pause_after(&SealerError::Closed), None);
    }

    /// The relay is asked again only where another answer may come.
    #[test]
    fn only_a_phone_that_somebody_else_lets_in_is_told_again() {
        let guest = Some(Guest {
            device: wire::DeviceId([8; 32]),
            invitation: [5; 16],
        });
        for answer in [Revocation::Done, Revocation::NotKnown] {
            assert_eq!(hear(Dismissed::Phone, guest, answer), Told::Enough);
        }
        let (phone, let_in) = (Dismissed::Phone, Revocation::StillAdmitted);
        assert_eq!(hear(phone, guest, let_in), Told::StillAdmitted);
        assert_eq!(hear(Dismissed::Invitation, guest, let_in), Told::Enough);
        assert_eq!(hear(phone, None, Revocation::Done), Told::Enough);
    }

    #[test]
    fn a_dismissal_is_the_business_of_the_relay_whose_key_it_names() {
        let address = RelayAddress {
            host: "relay.example".into(),
            port: 9,
            relay_id: RelayId([3; 32]),
        };
        let dismissal = Dismissal {
            what: Dismissed::Phone,
            pairing: PairingId([1; 16]),
            guest: None,
            relay: address.to_string(),
            mailboxes: Vec::new(),
        };
        assert!(is_of(&dismissal, RelayId([3; 32])));
        assert!(!is_of(&dismissal, RelayId([4; 32])));
    }
}
