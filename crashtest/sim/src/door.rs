//! Who comes in (S2): phones that have a code of the hub, and strangers that have none, or one that is good no more.
//!
//! The journals of both ends are the real ones, and each message is what the other end said: a stranger runs the same
//! program as a phone. What it does not have is the secret, the time, or the place of whoever was to use the code.
//! Codes are the hub's own, and such as a paired phone passes on. This room must never say a message that
//! [`AppPairing`] would not.

use journal::ids::{CommandId, PairingId};
use journal::pairing::AppNext;
use journal::{AppPairing, HubPairing, InviteAsked, Journal, JournalError, Offer, Role, Suite};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::DeviceId;

use crate::node::{Ground, Place, open_journal};
use crate::oracle::Broken;
use crate::run;

const NOW_S: u64 = 1_800_000_000;

/// Lets everybody try.
///
/// # Errors
/// S2 if somebody comes in who may not; C5 if a phone has come by another one's code and no row says so; C7 if one that
/// may come in does not.
pub fn play(seed: u64) -> Result<(), Broken> {
    let mut door = Door::of(seed).map_err(unplayed)?;
    let code = door.offer().map_err(unplayed)?;
    let mut guessed =
        Offer::from_text(&code.to_text()).map_err(|error| Broken::new("C7", error.to_string()))?;
    guessed.spoil_secret();
    door.nobody_comes_by(&guessed, NOW_S, "with another secret than the code's")?;
    door.nobody_comes_by(&code, code.expires_unix_s, "by a code whose time is over")?;
    door.closes(&code).map_err(unplayed)?;
    door.nobody_comes_by(
        &code,
        NOW_S,
        "by a code of a hub that pairs nobody any more",
    )?;

    let code = door.offer().map_err(unplayed)?;
    let first = door.somebody_comes_by(&code)?;
    door.nobody_comes_by(&code, NOW_S, "by a code that another one has used")?;

    let code = door.passed_on_by(first, 1).map_err(unplayed)?;
    let second = door.somebody_comes_by(&code)?;
    let added = door.hub.added_phones().map_err(unplayed)?;
    let mut added = added.phones.iter();
    if !added.any(|one| one.phone == second && one.by == first) {
        let what = "a phone has come by a code that another one passed on, and no row says so";
        return Err(Broken::new("C5", what));
    }
    door.nobody_comes_by(&code, NOW_S, "by a code that was passed on and used")?;

    let code = door.passed_on_by(first, 2).map_err(unplayed)?;
    door.removes(first).map_err(unplayed)?;
    door.nobody_comes_by(&code, NOW_S, "by a code of a phone that was removed")
}

fn unplayed(error: JournalError) -> Broken {
    Broken::new("C7", error.to_string())
}

/// A hub, and how many have stood before it.
struct Door {
    hub: Journal,
    seed: u64,
    came: u8,
}

impl Door {
    fn of(seed: u64) -> Result<Self, JournalError> {
        let hub = open(Role::Hub, seed << 8)?;
        Ok(Self { hub, seed, came: 0 })
    }

    fn offer(&mut self) -> Result<Offer, JournalError> {
        let offer = HubPairing::offer(&mut self.hub, run::terms(Suite::Classic), NOW_S)?;
        Ok(offer.into_inner())
    }

    /// Nobody pairs at the hub any more.
    fn closes(&mut self, code: &Offer) -> Result<(), JournalError> {
        HubPairing::end(&mut self.hub, code.offer).map(drop)
    }

    fn removes(&mut self, phone: PairingId) -> Result<(), JournalError> {
        HubPairing::remove(&mut self.hub, phone).map(drop)
    }

    /// The code that a phone has asked for, to pass it on.
    fn passed_on_by(&mut self, phone: PairingId, number: u8) -> Result<Offer, JournalError> {
        let asked_by = CommandId([number; 16]);
        let mut txn = self.hub.begin();
        let asked = txn.ask_invite(phone, asked_by)?;
        drop(txn.commit(())?);
        if asked != InviteAsked::Taken {
            return Err(JournalError::Misuse("a phone may pass no code on"));
        }
        let mut txn = self.hub.begin();
        let made = txn.make_invite(asked_by, run::terms(Suite::Classic), NOW_S)?;
        drop(txn.commit(())?);
        made.ok_or(JournalError::Misuse("what a phone asked for is not wanted"))
    }

    fn nobody_comes_by(&mut self, code: &Offer, now_s: u64, how: &str) -> Result<(), Broken> {
        match self.tries(code, now_s).map_err(unplayed)? {
            None => Ok(()),
            Some(_) => Err(Broken::new("S2", format!("somebody has paired {how}"))),
        }
    }

    fn somebody_comes_by(&mut self, code: &Offer) -> Result<PairingId, Broken> {
        let came = self.tries(code, NOW_S).map_err(unplayed)?;
        came.ok_or_else(|| Broken::new("C7", "a phone with a good code does not pair"))
    }

    /// Somebody who was never here tries a code: the pairing that the hub holds for whole, if it does.
    fn tries(&mut self, code: &Offer, now_s: u64) -> Result<Option<PairingId>, JournalError> {
        self.came += 1;
        let mut app = open(Role::App, (self.seed << 8) + u64::from(self.came))?;
        let device = DeviceId([self.came; 32]);
        match pair(&mut self.hub, &mut app, (code, device), now_s) {
            Ok(pairing) => Ok(Some(pairing)),
            Err(JournalError::Pairing(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn open(role: Role, seed: u64) -> Result<Journal, JournalError> {
    let ground = Ground::new(Place::Simulated(SimDisk::new()));
    let (journal, _report) = open_journal(role, &ground, SeededDice(seed + 1))?;
    Ok(journal)
}

/// Every message of a pairing. `now_s` is by the hub's clock, which alone judges a code's time.
fn pair(
    hub: &mut Journal,
    app: &mut Journal,
    (code, device): (&Offer, DeviceId),
    now_s: u64,
) -> Result<PairingId, JournalError> {
    let next = AppPairing::start(app, code, device, NOW_S)?.into_inner();
    let AppNext::Request(request) = next else {
        return Err(JournalError::Misuse("a new pairing begins with a request"));
    };
    let answer = HubPairing::request(hub, &request, request.device(), now_s)?;
    let confirm = AppPairing::answer(app, &request, &answer, NOW_S)?;
    let done = HubPairing::confirm(hub, &confirm)?;
    Ok(AppPairing::done(app, &confirm, &done)?.into_inner())
}
