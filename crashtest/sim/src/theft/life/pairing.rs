//! A pairing, message by message: what phone and hub hold in the middle of it is copied, too.
//!
//! What they say goes over a connection between the two, which nobody else hears; a thief is given it all the same.

use journal::ids::PairingId;
use journal::thief::{asked_for, pairing_secrets};
use wal::Dice as _;
use wire::DeviceId;

use super::super::Outcome;
use super::super::books::{PairingSecret, Talk, Whose};
use super::super::ends::Blank;
use super::super::peep::Peep;
use super::Life;

impl Life {
    /// One more phone.
    pub(super) fn pair_another(&mut self) -> Outcome<()> {
        self.pair()?;
        self.books.pairings += 1;
        Ok(())
    }

    /// A phone is paired.
    pub(super) fn pair(&mut self) -> Outcome<()> {
        self.step();
        let mut blank = self.new_phone()?;
        let mut device = [0; 32];
        self.dice.fill(&mut device);
        let now_ms = self.now_ms;
        let offer = self.hub()?.offers(now_ms)?;
        self.steal_hub()?;

        self.step();
        let asked = blank.asks(&offer, DeviceId(device), self.now_ms)?;
        let pairing = asked_for(&asked);
        let of_phone = |bytes| PairingSecret {
            bytes,
            is_at_hub: false,
        };
        let mut secrets: Vec<PairingSecret> =
            blank.init_keys()?.into_iter().map(of_phone).collect();
        if secrets.is_empty() {
            return Err("a phone asks, and has no key package".into());
        }
        let [secret, psk] = pairing_secrets(&offer, &asked);
        // Neither end ever stores it.
        secrets.push(of_phone(psk.to_vec()));
        secrets.push(PairingSecret {
            bytes: secret.to_vec(),
            is_at_hub: true,
        });
        self.books.talks.push(Talk {
            pairing,
            over_at_hub: None,
            over_at_phone: None,
            secrets,
        });
        self.books.talked.push(asked.to_message().encode());
        self.steal_blank(pairing, &blank)?;

        self.step();
        let now_ms = self.now_ms;
        let answer = self.hub()?.answers(&asked, now_ms)?;
        self.books.talked.push(answer.to_message().encode());
        self.steal_hub()?;

        self.step();
        let joined = blank.joins(&asked, &answer, self.now_ms)?;
        self.books.talked.push(joined.to_message().encode());
        self.steal_blank(pairing, &blank)?;

        self.step();
        let now_ms = self.now_ms;
        let hub = self.hub.as_mut().ok_or("the hub is down")?;
        let done = hub.confirms(&joined, pairing, now_ms)?;
        hub.tell(&mut self.books, now_ms)?;
        self.books.talked.push(done.to_message().encode());
        self.books.has_paired(Whose::Hub, pairing);
        self.steal_hub()?;

        self.step();
        let phone = blank.into_paired(&joined, &done)?;
        self.books.has_paired(Whose::Phone(pairing), pairing);
        self.phones.push(phone);
        self.steal_phone(self.phones.len() - 1)
    }

    /// On a directory without files.
    fn new_phone(&mut self) -> Outcome<Blank> {
        let name = format!("phone-{}", self.phones_made);
        self.phones_made += 1;
        let place = self.home.as_deref().unwrap_or(self.scratch.path());
        let dir = place.join(&name);
        let peep = Peep::new(self.scratch.path(), &name);
        Blank::start(dir, peep, self.dice.next_u64())
    }

    fn steal_blank(&mut self, pairing: PairingId, blank: &Blank) -> Outcome<()> {
        let within = blank.peep.take()?;
        self.steal(Whose::Phone(pairing), &blank.dir, within)
    }
}
