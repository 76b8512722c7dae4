//! A phone is removed: whole, whatever a crash keeps and whatever rots, and nothing is left of it but the word to
//! the relay.

use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::{DeviceId, RelayId};
use wire::{Class, Invitation};

use super::harness::{Hub, NOW_S, finish_pairing_as, open, terms};
use super::pairing::{offer, rows_of};
use super::trim::know_many_clips;
use crate::ids::{Channel, CommandId, Line, PairingId};
use crate::keys::{self, Family};
use crate::pairing::{
    AddedSaid, AppNext, AppPairing, HubPairing, InviteAsked, Offer, OfferEnd, OfferTerms,
};
use crate::scope::Scope;
use crate::{Dismissed, Guest, Journal, REMOVAL_BYTES_MAX, Role, Session, Suite};

/// A code with an invitation of this nonce in it.
fn inviting(hub: &mut Journal, nonce: u8) -> Offer {
    let invitation = Invitation {
        relay: RelayId([1; 32]),
        nonce: [nonce; 16],
        expires_unix_s: NOW_S,
        class: Class::Phone,
        signature: [2; 64],
    };
    let terms = OfferTerms {
        invitation: invitation.to_bytes(),
        ..terms(Suite::Classic)
    };
    HubPairing::offer(hub, terms, NOW_S).unwrap().into_inner()
}

fn event_line(pairing: PairingId) -> Line {
    Line::of(pairing, Channel::EventVideo)
}

fn phones(journal: &Journal) -> Vec<PairingId> {
    let phones = HubPairing::phones(journal).unwrap();
    phones.iter().map(|phone| phone.id).collect()
}

/// The keys of everything that is stored of a pairing.
fn keys_of(journal: &Journal, pairing: PairingId) -> Vec<Vec<u8>> {
    let groups = Line::all(pairing).map(Scope::Group);
    let scopes = groups.into_iter().chain([Scope::Pairing(pairing)]);
    scopes
        .map(|scope| journal.scopes.get(scope).unwrap().key.as_slice().to_vec())
        .collect()
}

/// How many of these keys are in either image of the vault.
fn in_vault(disk: &SimDisk, keys: &[Vec<u8>]) -> usize {
    let vault = disk.contents("vault").unwrap();
    let holds = |key: &&Vec<u8>| {
        vault
            .windows(key.len())
            .any(|window| window == key.as_slice())
    };
    keys.iter().filter(holds).count()
}

/// Whatever a crash keeps, the phone is there whole or gone whole with the word to the relay; its keys are in no
/// image of the vault any more, and its rows go in steps.
#[test]
fn a_removed_phone_leaves_nothing_but_the_word_to_the_relay() {
    let hub_disk = SimDisk::new();
    let mut hub = open(Role::Hub, &hub_disk, 1).unwrap();
    let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
    let mut other = open(Role::App, &SimDisk::new(), 3).unwrap();
    let first = inviting(&mut hub, 5);
    let gone = finish_pairing_as(DeviceId([8; 32]), &mut hub, &mut app, &first).unwrap();
    let second = offer(&mut hub);
    let stays = finish_pairing_as(DeviceId([9; 32]), &mut hub, &mut other, &second).unwrap();
    let mut hub = Hub {
        disk: hub_disk,
        journal: hub,
        session: Session::new(event_line(gone)),
    };
    let clip = hub.start_clip();
    for n in 0..2 * crate::TRIM_ROWS_MAX {
        hub.chunk(clip, &n.to_be_bytes());
    }
    hub.finish(clip);
    let mut txn = hub.journal.begin();
    txn.put_unheard(gone, 7).unwrap();
    drop(txn.commit(()).unwrap());
    let old_keys = keys_of(&hub.journal, gone);
    assert_eq!(in_vault(&hub.disk, &old_keys), old_keys.len());

    hub.disk.record_snapshots();
    assert!(
        HubPairing::remove(&mut hub.journal, gone)
            .unwrap()
            .into_inner()
    );
    assert_eq!(in_vault(&hub.disk, &old_keys), 0);
    let snapshots = hub.disk.snapshots();
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let disk = snapshot.crash_clone(policy, i as u64);
            let mut crashed = open(Role::Hub, &disk, 300 + i as u64).unwrap();
            let ids = crashed.pairing_ids();
            assert!(ids.contains(&stays), "state {i} {policy:?}");
            let there = ids.contains(&gone);
            let found = crashed.dismissals().unwrap();
            assert_eq!(found.owed.is_empty(), there);
            assert_eq!(found.damaged, 0);
            crashed.stage_trims(100, |txn| txn.trim_ended());
            drop(crashed.commit().unwrap());
            for line in Line::all(gone) {
                let rows = rows_of(&crashed, line);
                assert_eq!(rows > 0, there, "state {i} {policy:?} {line:?}");
            }
            // The start has renewed those of the five groups.
            let kept = if there { old_keys.len() - 5 } else { 0 };
            assert_eq!(in_vault(&disk, &old_keys), kept, "state {i} {policy:?}");
        }
    }
    let again = HubPairing::remove(&mut hub.journal, gone).unwrap();
    assert!(!again.into_inner(), "it is gone");
    let dismissals = hub.journal.dismissals().unwrap().owed;
    assert_eq!(dismissals.len(), 1);
    assert_eq!(dismissals[0].pairing, gone);
    let guest = Guest {
        device: DeviceId([8; 32]),
        invitation: [5; 16],
    };
    assert_eq!(dismissals[0].guest, Some(guest));
    let device = |journal: &Journal| journal.scopes.get(Scope::Device).unwrap().key.clone();
    let before = device(&hub.journal);
    drop(hub.journal.dismissal_told(gone).unwrap());
    assert!(hub.journal.dismissals().unwrap().owed.is_empty());
    assert_eq!(phones(&hub.journal), [stays]);
    // What was told of it opens with no key that is left.
    let vault = hub.disk.contents("vault").unwrap();
    let holds = |key: &[u8]| vault.windows(32).any(|window| window == key);
    assert!(!holds(before.as_slice()) && holds(device(&hub.journal).as_slice()));
}

/// What the transaction takes does not depend on how much the phone has left.
#[test]
fn a_removal_is_small_however_much_waits_for_the_phone() {
    let disk = SimDisk::new();
    let mut journal = open(Role::Hub, &disk, 1).unwrap();
    let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
    let code = offer(&mut journal);
    let gone = finish_pairing_as(DeviceId([8; 32]), &mut journal, &mut app, &code).unwrap();
    let line = event_line(gone);
    let mut hub = Hub {
        disk,
        journal,
        session: Session::new(line),
    };
    let clip = hub.start_clip();
    for n in 0..4 * crate::TRIM_ROWS_MAX {
        hub.chunk(clip, &n.to_be_bytes());
    }
    hub.finish(clip);
    know_many_clips(&mut hub.journal, line);
    drop(hub.journal.commit().unwrap());
    let mut txn = hub.journal.begin();
    assert!(txn.remove_phone(gone).unwrap());
    drop(txn.stage(()).unwrap());
    let bytes = hub.journal.wal.staged_bytes();
    assert!(bytes > 0 && bytes <= REMOVAL_BYTES_MAX, "{bytes}");
    drop(hub.journal.commit().unwrap());
    while rows_of(&hub.journal, line) > 0 {
        assert!(hub.journal.stage_trims(1, |txn| txn.trim_ended()).steps > 0);
        drop(hub.journal.commit().unwrap());
    }
}

/// Damage of what is stored of a phone must not keep it here, nor the rows that nobody counts any more.
#[test]
fn a_phone_of_which_nothing_can_be_read_is_removed_whole() {
    let damaged_lines = |pairing| Line::all(pairing).map(keys::outbox_head).to_vec();
    let done = |pairing| keys::secret(Scope::Pairing(pairing), Family::PairingAnswer, &[]);
    let record = |pairing| keys::secret(Scope::Pairing(pairing), Family::Pairing, &[]);
    for (round, tells) in [(0, Some(true)), (1, Some(false)), (2, None)] {
        let disk = SimDisk::new();
        let mut journal = open(Role::Hub, &disk, 1).unwrap();
        let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
        let code = inviting(&mut journal, 5);
        let gone = finish_pairing_as(DeviceId([8; 32]), &mut journal, &mut app, &code).unwrap();
        let line = event_line(gone);
        let mut hub = Hub {
            disk,
            journal,
            session: Session::new(line),
        };
        let clip = hub.start_clip();
        for n in 0..2 * crate::TRIM_ROWS_MAX {
            hub.chunk(clip, &n.to_be_bytes());
        }
        hub.finish(clip);
        let mut rots = damaged_lines(gone);
        rots.extend((round >= 1).then(|| done(gone)));
        rots.extend((round >= 2).then(|| record(gone)));
        let mut txn = hub.journal.begin();
        for key in rots {
            txn.put(&key, &[0xff]);
        }
        drop(txn.commit(()).unwrap());

        assert!(
            HubPairing::remove(&mut hub.journal, gone)
                .unwrap()
                .into_inner()
        );
        assert!(hub.journal.pairing_ids().is_empty());
        let owed = hub.journal.dismissals().unwrap().owed;
        assert_eq!(owed.first().map(|of| of.guest.is_some()), tells, "{round}");
        hub.journal.stage_trims(100, |txn| txn.trim_ended());
        drop(hub.journal.commit().unwrap());
        assert_eq!(rows_of(&hub.journal, line), 0, "{round}");
        assert_eq!(hub.journal.outbox_waiting(line).unwrap(), (0, 0));
    }
}

/// Nor does it keep another one from pairing, before it is removed.
#[test]
fn a_phone_of_which_nothing_can_be_read_keeps_no_other_from_pairing() {
    let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
    let mut ids = Vec::new();
    for seed in [2, 3] {
        let mut app = open(Role::App, &SimDisk::new(), u64::from(seed)).unwrap();
        let code = inviting(&mut hub, seed);
        let device = DeviceId([seed; 32]);
        let id = finish_pairing_as(device, &mut hub, &mut app, &code).unwrap();
        let end = HubPairing::end(&mut hub, code.offer).unwrap().into_inner();
        assert_eq!(end, OfferEnd::Paired(id));
        let mut txn = hub.begin();
        for family in [Family::Pairing, Family::PairingAnswer] {
            txn.put(&keys::secret(Scope::Pairing(id), family, &[]), &[0xff]);
        }
        drop(txn.commit(()).unwrap());
        ids.push(id);
        assert_eq!(HubPairing::places_taken(&hub).unwrap(), ids.len());
    }
    for id in ids {
        assert!(HubPairing::remove(&mut hub, id).unwrap().into_inner());
    }
    assert_eq!(HubPairing::places_taken(&hub).unwrap(), 0);
}

#[test]
fn one_damaged_dismissal_hides_no_other() {
    let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
    let mut ids = Vec::new();
    for seed in [2, 3] {
        let mut app = open(Role::App, &SimDisk::new(), u64::from(seed)).unwrap();
        let code = inviting(&mut hub, seed);
        let device = DeviceId([seed; 32]);
        ids.push(finish_pairing_as(device, &mut hub, &mut app, &code).unwrap());
    }
    for id in &ids {
        drop(HubPairing::remove(&mut hub, *id).unwrap());
    }
    let mut txn = hub.begin();
    let key = keys::secret(Scope::Device, Family::Dismissal, &ids[0].0);
    txn.put(&key, &[0xff]);
    drop(txn.commit(()).unwrap());
    let found = hub.dismissals().unwrap();
    assert_eq!(found.damaged, 1);
    let owed: Vec<PairingId> = found.owed.iter().map(|of| of.pairing).collect();
    assert_eq!(owed, [ids[1]]);
}

/// The row that says whose code is passed on, and who came by one, rots: nothing waits for it, no code is good any more,
/// and what is added later is above all that was said.
#[test]
fn a_row_that_says_whose_code_it_is_holds_nothing_up_if_it_cannot_be_read() {
    for by in ["a removal", "a wish", "a start"] {
        let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
        let mut app = open(Role::App, &SimDisk::new(), 2).unwrap();
        let code = inviting(&mut hub, 5);
        let guide = finish_pairing_as(DeviceId([8; 32]), &mut hub, &mut app, &code).unwrap();
        let mut txn = hub.begin();
        let asked_by = CommandId([1; 16]);
        let asked = txn.ask_invite(guide, asked_by).unwrap();
        assert_eq!(asked, InviteAsked::Taken);
        let made = txn.make_invite(asked_by, terms(Suite::Classic), NOW_S);
        let offer = made.unwrap().unwrap();
        let said = AddedSaid {
            version: 7,
            said: wire::ids::Seq(1),
        };
        txn.put_added_said(guide, said).unwrap();
        drop(txn.commit(()).unwrap());
        // Somebody was answered on it, and has yet to prove itself.
        let mut stranger = open(Role::App, &SimDisk::new(), 3).unwrap();
        let device = DeviceId([9; 32]);
        let next = AppPairing::start(&mut stranger, &offer, device, NOW_S).unwrap();
        let AppNext::Request(request) = next.into_inner() else {
            panic!("a new phone begins with a request");
        };
        drop(HubPairing::request(&mut hub, &request, device, NOW_S).unwrap());
        assert_eq!(hub.pairing_ids().len(), 2);
        let mut txn = hub.begin();
        txn.put(keys::INVITES, &[0xff]);
        drop(txn.commit(()).unwrap());

        assert_eq!(hub.invite().unwrap(), None, "{by}");
        match by {
            "a removal" => drop(HubPairing::remove(&mut hub, guide).unwrap()),
            "a wish" => {
                let mut txn = hub.begin();
                let asked = txn.ask_invite(guide, CommandId([2; 16])).unwrap();
                assert_eq!(asked, InviteAsked::Taken);
                drop(txn.commit(()).unwrap());
            }
            _ => HubPairing::expire(&mut hub, NOW_S).unwrap(),
        }
        assert!(hub.scopes.get(Scope::Offer(offer.offer)).is_none(), "{by}");
        assert_eq!(phones(&hub).len(), hub.pairing_ids().len(), "{by}");
        assert_eq!(hub.added_phones().unwrap().version, 7, "{by}");
        assert_eq!(hub.invite().unwrap().is_some(), by == "a wish");
    }
}

/// A phone that has paired again came by another invitation, and only the old one is taken back.
#[test]
fn each_pairing_of_a_phone_names_its_own_invitation() {
    let mut hub = open(Role::Hub, &SimDisk::new(), 1).unwrap();
    for nonce in [5, 6] {
        let mut app = open(Role::App, &SimDisk::new(), u64::from(nonce)).unwrap();
        let code = inviting(&mut hub, nonce);
        let id = finish_pairing_as(DeviceId([8; 32]), &mut hub, &mut app, &code).unwrap();
        // It was heard of, or the second pairing would take the place of the first.
        let mut txn = hub.begin();
        for line in Line::all(id) {
            let head = crate::InboxHead {
                cursor: wire::ids::Seq(1),
                ..crate::InboxHead::default()
            };
            txn.put_row(&keys::inbox_head(line), &head).unwrap();
        }
        drop(txn.commit(()).unwrap());
    }
    let old = phones(&hub)[0];
    drop(HubPairing::remove(&mut hub, old).unwrap());
    let owed = hub.dismissals().unwrap().owed;
    let guest = owed[0].guest.unwrap();
    assert_eq!(
        (guest.device, guest.invitation),
        (DeviceId([8; 32]), [5; 16])
    );
    // It stays by the other one, which is this hub's own and no matter for anybody else.
    assert_eq!(owed[0].what, Dismissed::Invitation);
    let newer = phones(&hub)[0];
    drop(HubPairing::remove(&mut hub, newer).unwrap());
    let owed = hub.dismissals().unwrap().owed;
    assert_eq!(owed.len(), 2);
    assert!(owed.iter().all(|owed| owed.what == Dismissed::Phone));
}
