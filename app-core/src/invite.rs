//! A code that this phone passes on, as the app's callers hold it, and the phones that came by one.
//!
//! The code is shown to one other phone, in person. This room must never log it.

use std::fmt;

use journal::message::{AddedPhone as JournalAdded, InviteFailure as JournalFailure};
use journal::{InviteTaken, PassedCode};
use zeroize::Zeroizing;

use crate::command::{CommandId, PhoneId};
use crate::event::Event;
use crate::types::HubId;

/// A code by which one more phone can pair with a hub. Whoever reads it can, as long as it is good and the hub can
/// be reached where it says: show it to that phone alone. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct InviteCode {
    /// Which hub.
    pub hub: HubId,
    /// The text of the code, as [`crate::App::pair`] takes it. It is wiped when it is dropped.
    pub text: Zeroizing<String>,
    /// When it stops being good, seconds since 1970 by the hub's clock.
    pub expires_unix_s: u64,
}

impl InviteCode {
    pub(crate) fn of(passed: &PassedCode) -> Self {
        Self {
            hub: HubId::from_journal(passed.pairing),
            text: Zeroizing::new(passed.code.text().to_owned()),
            expires_unix_s: passed.expires_unix_s,
        }
    }
}

impl fmt::Debug for InviteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteCode(..)")
    }
}

/// Why there is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum InviteFailure {
    /// The relay gave the hub no invitation for another phone.
    NoRelay,
    /// The hub cannot listen for a phone.
    CannotListen,
    /// The hub's clock was never set.
    ClockNotSet,
    /// The hub has as many phones as it may have.
    TooManyPhones,
    /// It is void: nobody used it in time, too many tried with a wrong one, somebody pairs at the hub, or that allows
    /// none any more.
    Void,
}

impl InviteFailure {
    fn of(why: JournalFailure) -> Self {
        match why {
            JournalFailure::NoRelay => Self::NoRelay,
            JournalFailure::CannotListen => Self::CannotListen,
            JournalFailure::ClockNotSet => Self::ClockNotSet,
            JournalFailure::TooManyPhones => Self::TooManyPhones,
            JournalFailure::Void => Self::Void,
        }
    }

    /// The word for programs: `no_relay`, `cannot_listen`, `clock_not_set`, `too_many_phones` or `void`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoRelay => "no_relay",
            Self::CannotListen => "cannot_listen",
            Self::ClockNotSet => "clock_not_set",
            Self::TooManyPhones => "too_many_phones",
            Self::Void => "void",
        }
    }
}

/// A phone that was paired with a hub by a code that another phone passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddedPhone {
    /// Which.
    pub phone: PhoneId,
    /// It is this one.
    pub is_this: bool,
    /// The phone that passed the code on. It may be removed by now.
    pub by: PhoneId,
    /// That was this one.
    pub by_this: bool,
    /// The command by which it asked for the code.
    pub asked_by: CommandId,
    /// When it was paired, seconds since 1970 by the hub's clock.
    pub paired_unix_s: u64,
}

impl AddedPhone {
    pub(crate) fn of(hub: HubId, added: &JournalAdded) -> Self {
        let this = hub.to_journal();
        Self {
            phone: PhoneId::from_journal(added.phone),
            is_this: added.phone == this,
            by: PhoneId::from_journal(added.by),
            by_this: added.by == this,
            asked_by: CommandId::from_journal(added.asked_by),
            paired_unix_s: added.paired_unix_s,
        }
    }
}

/// What is told of a message about an invite.
pub(crate) fn event_of(hub: HubId, id: CommandId, taken: InviteTaken) -> Event {
    match taken {
        InviteTaken::Here => Event::InviteReady { hub, id },
        InviteTaken::Failed(why) => Event::InviteFailed {
            hub,
            id,
            why: InviteFailure::of(why),
        },
    }
}

#[cfg(test)]
mod tests {
    use journal::ids::PairingId;

    use super::*;

    #[test]
    fn nobody_reads_a_code_in_what_is_shown_for_debugging() {
        let code = InviteCode {
            hub: HubId::from_journal(PairingId([1; 16])),
            text: Zeroizing::new("SECLUSO1:secret".into()),
            expires_unix_s: 1,
        };
        assert_eq!(format!("{code:?}"), "InviteCode(..)");
    }

    #[test]
    fn a_phone_knows_itself_among_those_that_were_added() {
        let this = PairingId([1; 16]);
        let hub = HubId::from_journal(this);
        let added = |phone, by| JournalAdded {
            phone,
            by,
            asked_by: journal::ids::CommandId([7; 16]),
            paired_unix_s: 5,
        };
        let other = PairingId([2; 16]);
        for (phone, by, told) in [
            (this, other, (true, false)),
            (other, this, (false, true)),
            (other, other, (false, false)),
        ] {
            let one = AddedPhone::of(hub, &added(phone, by));
            assert_eq!((one.is_this, one.by_this), told);
        }
    }
}
