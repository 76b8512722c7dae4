//! The one-time offer that a paired phone passes on, and who was added by one.
//!
//! The hub's code goes to the phone that asked for it, sealed in the config channel as everything there is, and
//! is a secret as long as it is good. This room must never show it.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

use crate::ids::{CommandId, PairingId};
use crate::pairing::{CODE_BYTES_MAX, Offer, PHONES_MAX};

/// The text of a pairing code. A secret: it is wiped when it is dropped, and `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairingCode(#[serde(deserialize_with = "short_code")] Zeroizing<String>);

impl PairingCode {
    /// The code of an offer.
    pub fn of(offer: &Offer) -> Self {
        Self(offer.to_text())
    }

    /// The text, for whoever shows it to a phone.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PairingCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PairingCode(..)")
    }
}

/// What became of an invite.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invited {
    /// The command that asked for it.
    pub asked_by: CommandId,
    /// What became of it.
    pub news: InviteNews,
}

/// What became of an invite.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InviteNews {
    /// The code to pass on. Good for one phone.
    Code(PairingCode),
    /// There is none, or the one that there was is void.
    Failed(InviteFailure),
}

/// Why there is no code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum InviteFailure {
    /// The relay gave the hub no invitation for another phone.
    NoRelay,
    /// The hub cannot listen for a phone.
    CannotListen,
    /// The hub's clock was never set, so that its offer would be too old for every phone.
    ClockNotSet,
    /// The hub has as many phones as it may have.
    TooManyPhones,
    /// Nobody used it in time, or too many tried with a wrong one, or somebody pairs at the hub, or the hub was told to
    /// allow none.
    Void,
}

/// A phone that came by an offer that another one passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddedPhone {
    /// Its pairing.
    pub phone: PairingId,
    /// The phone that passed the offer on. It may be removed by now.
    pub by: PairingId,
    /// The command by which that phone asked for it.
    pub asked_by: CommandId,
    /// When it was paired, seconds since 1970 by the hub's clock.
    pub paired_unix_s: u64,
}

/// The phones of a hub that came by such an offer. Every phone of it is told of each version.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct AddedPhones {
    /// Rises with each phone that is added, from 0: none ever was.
    pub version: u64,
    /// Those that are still paired, in the order in which they came; at most [`PHONES_MAX`].
    #[serde(deserialize_with = "few_added")]
    pub phones: Vec<AddedPhone>,
}

impl AddedPhones {
    /// One more. If there are as many as may be, the oldest goes.
    pub(crate) fn add(&mut self, added: AddedPhone) {
        self.phones.retain(|known| known.phone != added.phone);
        if self.phones.len() >= PHONES_MAX {
            self.phones.remove(0);
        }
        self.phones.push(added);
        self.version = self.version.saturating_add(1);
    }
}

fn short_code<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    let code = Zeroizing::new(String::deserialize(from)?);
    match code.len() <= CODE_BYTES_MAX {
        true => Ok(code),
        false => Err(D::Error::custom("too long a code")),
    }
}

fn few_added<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<AddedPhone>, D::Error> {
    let phones = Vec::<AddedPhone>::deserialize(from)?;
    match phones.len() <= PHONES_MAX {
        true => Ok(phones),
        false => Err(D::Error::custom("more phones than a hub may have")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HubConfigMessage, decode, encode};
    use super::*;

    const ID: CommandId = CommandId([7; 16]);

    fn added(number: u8) -> AddedPhone {
        AddedPhone {
            phone: PairingId([number; 16]),
            by: PairingId([0xee; 16]),
            asked_by: ID,
            paired_unix_s: 5,
        }
    }

    fn code(length: usize) -> PairingCode {
        PairingCode(Zeroizing::new("c".repeat(length)))
    }

    #[test]
    fn messages_of_any_other_length_are_refused() {
        let invited = |news| HubConfigMessage::Invited(Invited { asked_by: ID, news });
        let phones = AddedPhones {
            version: 300,
            phones: (1..=PHONES_MAX as u8).map(added).collect(),
        };
        for message in [
            invited(InviteNews::Code(code(CODE_BYTES_MAX))),
            invited(InviteNews::Failed(InviteFailure::Void)),
            HubConfigMessage::Added(phones),
        ] {
            let bytes = encode(&message).unwrap();
            for length in 0..bytes.len() {
                assert_eq!(decode::<HubConfigMessage>(&bytes[..length]), None);
            }
            assert_eq!(decode(&bytes), Some(message));
        }
    }

    #[test]
    fn a_longer_code_and_more_phones_than_may_be_are_refused() {
        let long = HubConfigMessage::Invited(Invited {
            asked_by: ID,
            news: InviteNews::Code(code(CODE_BYTES_MAX + 1)),
        });
        let many = HubConfigMessage::Added(AddedPhones {
            version: 1,
            phones: vec![added(1); PHONES_MAX + 1],
        });
        for message in [long, many] {
            let bytes = encode(&message).unwrap();
            assert_eq!(decode::<HubConfigMessage>(&bytes), None);
        }
    }

    #[test]
    fn nobody_reads_a_code_in_what_is_shown_for_debugging() {
        let shown = format!("{:?}", InviteNews::Code(code(40)));
        assert!(!shown.contains("cc"), "{shown}");
    }

    #[test]
    fn a_phone_stands_there_once_and_the_oldest_gives_way() {
        let mut phones = AddedPhones::default();
        for number in 0..=PHONES_MAX as u8 {
            phones.add(added(number));
        }
        phones.add(added(3));
        let names: Vec<u8> = phones.phones.iter().map(|known| known.phone.0[0]).collect();
        assert_eq!(names, [1, 2, 4, 5, 6, 7, 8, 3]);
        assert_eq!(phones.version, PHONES_MAX as u64 + 2);
    }
}
