//! Who is shut out, by whom, and that no crash leaves it half.

use wal::disk::CrashPolicy;
use wire::frame::Guest;
use wire::limits::REVOCATIONS_PER_DAY_MAX;

use super::*;
use crate::admission::{hub_nonce, inviter_tag};
use crate::store::guests::ADMITTED_BY_MAX;
use crate::store::rows::invite_key;

const PHONE_ID: DeviceId = PHONE.0;
const OTHER_BOX: SendId = SendId([3; 24]);
/// Another hub.
const OTHER_ID: DeviceId = DeviceId([9; 32]);

fn redeemed(store: &mut MailboxStore, nonce: &[u8; 16]) -> bool {
    let staged = store.redeem_phone(PHONE_ID, nonce, 1_000, 50).unwrap();
    let is_staged = staged.is_some();
    let _durable = store.commit().unwrap();
    is_staged
}

/// The hub takes this invitation of the phone back; none if it asked for too much.
fn try_revoke(store: &mut MailboxStore, hub: DeviceId, nonce: &[u8; 16]) -> Option<Revoked> {
    let guest = Guest {
        device: PHONE_ID,
        invitation: *nonce,
    };
    let asking = (hub, inviter_tag(&hub));
    let staged = store
        .revoke(asking, Some(guest), &[BOX, OTHER_BOX], 60)
        .unwrap();
    let committed = store.commit().unwrap();
    staged.map(|staged| committed.redeem(staged).into_inner().outcome)
}

fn revoke(store: &mut MailboxStore, hub: DeviceId, nonce: &[u8; 16]) -> Revoked {
    try_revoke(store, hub, nonce).unwrap()
}

#[test]
fn another_invitation_lets_a_phone_in_again_and_the_used_one_does_not() {
    let mut store = store();
    let (first, second) = (hub_nonce(&HUB_ID, [1; 6]), hub_nonce(&HUB_ID, [2; 6]));
    assert!(redeemed(&mut store, &first));
    assert!(
        redeemed(&mut store, &first),
        "its answer may have been lost"
    );
    assert_eq!(revoke(&mut store, HUB_ID, &first), Revoked::Done);
    assert!(store.is_revoked(&PHONE_ID).unwrap());
    assert!(!redeemed(&mut store, &first));
    assert!(store.is_revoked(&PHONE_ID).unwrap());
    assert!(redeemed(&mut store, &second));
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
    // What was taken back is named: that it comes late does not harm who has paired again.
    assert_eq!(revoke(&mut store, HUB_ID, &first), Revoked::StillAdmitted);
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
}

/// A thief of one hub does not blind the phone at another one, nor the operator's guests.
#[test]
fn a_hub_takes_back_its_own_invitation_and_the_phone_stays_by_the_others() {
    let mut store = store();
    let own = hub_nonce(&HUB_ID, [1; 6]);
    let other = hub_nonce(&OTHER_ID, [1; 6]);
    let operators = [7; 16];
    for nonce in [&own, &other, &operators] {
        assert!(redeemed(&mut store, nonce));
    }
    for not_own in [&own, &operators] {
        assert_eq!(
            revoke(&mut store, OTHER_ID, not_own),
            Revoked::StillAdmitted
        );
    }
    assert_eq!(revoke(&mut store, HUB_ID, &own), Revoked::StillAdmitted);
    assert!(redeemed(&mut store, &other) && redeemed(&mut store, &operators));
    assert!(!redeemed(&mut store, &own));
    assert_eq!(revoke(&mut store, OTHER_ID, &other), Revoked::StillAdmitted);
    assert!(!store.is_revoked(&PHONE_ID).unwrap(), "the operator's");
}

/// An invitation that was kept unused lets nobody in behind the removal.
#[test]
fn an_unused_invitation_is_taken_back_too() {
    let mut store = store();
    let (used, kept) = (hub_nonce(&OTHER_ID, [1; 6]), hub_nonce(&HUB_ID, [2; 6]));
    assert!(redeemed(&mut store, &used));
    assert_eq!(revoke(&mut store, HUB_ID, &kept), Revoked::StillAdmitted);
    assert!(!redeemed(&mut store, &kept));
    assert_eq!(revoke(&mut store, OTHER_ID, &used), Revoked::Done);
    assert!(!redeemed(&mut store, &kept));
    assert!(store.is_revoked(&PHONE_ID).unwrap());
}

/// Whoever has a code can use its invitation under a name that no hub knows.
#[test]
fn whoever_used_an_invitation_in_another_name_is_shut_out_with_it() {
    let mut store = store();
    let (own, passed) = (hub_nonce(&HUB_ID, [1; 6]), hub_nonce(&HUB_ID, [2; 6]));
    let stranger = DeviceId([0x77; 32]);
    assert!(redeemed(&mut store, &own));
    let staged = store.redeem_phone(stranger, &passed, 1_000, 50).unwrap();
    assert!(staged.is_some());
    let _durable = store.commit().unwrap();
    let guest = Guest {
        device: PHONE_ID,
        invitation: passed,
    };
    let asking = (HUB_ID, inviter_tag(&HUB_ID));
    for first in [true, false] {
        let staged = store.revoke(asking, Some(guest), &[], 60).unwrap().unwrap();
        let committed = store.commit().unwrap();
        let told = committed.redeem(staged).into_inner();
        assert_eq!(told.outcome, Revoked::StillAdmitted, "by its own");
        assert_eq!(told.also_shut_out, first.then_some(stranger));
    }
    assert!(store.is_revoked(&stranger).unwrap());
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
    let again = store.redeem_phone(stranger, &passed, 1_000, 70).unwrap();
    assert!(again.is_none());
}

/// The invitation of a code always expires before a hub can know that nobody pairs by it.
#[test]
fn who_used_an_invitation_in_another_name_is_shut_out_also_long_after_it_expired() {
    let mut store = store();
    let (passed, next) = (hub_nonce(&HUB_ID, [1; 6]), hub_nonce(&HUB_ID, [2; 6]));
    let stranger = DeviceId([0x77; 32]);
    let redeem = |store: &mut MailboxStore, device, nonce: &[u8; 16], now_unix_s| {
        let expires_unix_s = now_unix_s + 600;
        let staged = store.redeem_phone(device, nonce, expires_unix_s, now_unix_s);
        assert!(staged.unwrap().is_some());
        let _durable = store.commit().unwrap();
    };
    redeem(&mut store, stranger, &passed, 0);
    // Each redemption looks for what has expired.
    redeem(&mut store, PHONE_ID, &next, 601);
    let filled = append_as(
        (stranger, Class::Phone),
        &mut store,
        OTHER_BOX,
        1,
        0,
        &bytes(1, 100),
    );
    receipt(filled);
    let is_known = |store: &MailboxStore| store.wal.get(&invite_key(&passed)).unwrap().is_some();
    assert!(is_known(&store));
    let guest = Guest {
        device: PHONE_ID,
        invitation: passed,
    };
    let asking = (HUB_ID, inviter_tag(&HUB_ID));
    let staged = store
        .revoke(asking, Some(guest), &[OTHER_BOX], 700)
        .unwrap()
        .unwrap();
    let committed = store.commit().unwrap();
    let told = committed.redeem(staged).into_inner();
    assert_eq!(told.also_shut_out, Some(stranger));
    assert!(store.is_revoked(&stranger).unwrap());
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
    assert_eq!(store.send_state(&OTHER_BOX).unwrap().last, None);
    // What admits nobody any more is forgotten then.
    let last = hub_nonce(&HUB_ID, [3; 6]);
    redeem(&mut store, PHONE_ID, &last, 1_300);
    assert!(!is_known(&store));
}

/// A phone that never came, or that a relay without its disk has forgotten: a hub must not ask for ever.
#[test]
fn of_a_phone_that_was_never_here_a_hub_is_told_just_that() {
    let mut store = store();
    let (own, theirs) = (hub_nonce(&HUB_ID, [1; 6]), hub_nonce(&OTHER_ID, [1; 6]));
    for _ in 0..2 {
        assert_eq!(revoke(&mut store, HUB_ID, &own), Revoked::NotKnown);
    }
    assert!(!redeemed(&mut store, &own), "it cannot come by it any more");
    // About another hub's invitation nobody is told anything.
    assert_eq!(revoke(&mut store, HUB_ID, &theirs), Revoked::StillAdmitted);
}

#[test]
fn who_did_not_invite_a_phone_empties_only_what_it_fills_itself() {
    let mut store = store();
    let theirs = hub_nonce(&OTHER_ID, [1; 6]);
    assert!(redeemed(&mut store, &theirs));
    let a = bytes(1, 100);
    receipt(append(&mut store, BOX, 1, 0, &a));
    receipt(append_as(PHONE, &mut store, OTHER_BOX, 1, 0, &a));
    assert_eq!(revoke(&mut store, HUB_ID, &theirs), Revoked::StillAdmitted);
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert_eq!(
        store.send_state(&OTHER_BOX).unwrap().last,
        Some(head(1, &a))
    );
}

/// Also if another invitation keeps the phone admitted: the pairing is over, and so are its mailboxes.
#[test]
fn what_the_phone_fills_is_emptied_with_the_invitation_by_which_it_came() {
    let mut store = store();
    let (own, other) = (hub_nonce(&HUB_ID, [1; 6]), hub_nonce(&OTHER_ID, [1; 6]));
    assert!(redeemed(&mut store, &own) && redeemed(&mut store, &other));
    receipt(append_as(
        PHONE,
        &mut store,
        OTHER_BOX,
        1,
        0,
        &bytes(1, 100),
    ));
    assert_eq!(revoke(&mut store, HUB_ID, &own), Revoked::StillAdmitted);
    assert_eq!(store.send_state(&OTHER_BOX).unwrap().last, None);
}

#[test]
fn asking_again_stages_nothing_and_a_hub_has_its_share_of_a_day() {
    let mut store = store();
    let used = hub_nonce(&HUB_ID, [1; 6]);
    assert!(redeemed(&mut store, &used));
    assert_eq!(revoke(&mut store, HUB_ID, &used), Revoked::Done);
    for _ in 0..2 * REVOCATIONS_PER_DAY_MAX {
        let guest = Guest {
            device: PHONE_ID,
            invitation: used,
        };
        let asking = (HUB_ID, inviter_tag(&HUB_ID));
        let again = store.revoke(asking, Some(guest), &[], 60).unwrap();
        assert_eq!(store.staged_bytes(), 0);
        let committed = store.commit().unwrap();
        let again = committed.redeem(again.unwrap()).into_inner();
        assert_eq!(again.outcome, Revoked::Done);
    }
    let mut taken = 1;
    for number in 0..=2 * REVOCATIONS_PER_DAY_MAX {
        let dice = (number + 1_000).to_be_bytes();
        let nonce = hub_nonce(&HUB_ID, [2, 2, dice[0], dice[1], dice[2], dice[3]]);
        taken += u32::from(try_revoke(&mut store, HUB_ID, &nonce).is_some());
    }
    assert_eq!(taken, REVOCATIONS_PER_DAY_MAX);
}

#[test]
fn the_invitations_of_one_phone_have_a_bound() {
    let mut store = store();
    for number in 0..=ADMITTED_BY_MAX {
        let nonce = hub_nonce(&HUB_ID, [number as u8; 6]);
        assert!(redeemed(&mut store, &nonce));
    }
    let mut left = 0;
    for number in 0..=ADMITTED_BY_MAX {
        assert!(!store.is_revoked(&PHONE_ID).unwrap());
        let nonce = hub_nonce(&HUB_ID, [number as u8; 6]);
        left = number;
        if revoke(&mut store, HUB_ID, &nonce) == Revoked::Done {
            break;
        }
    }
    assert_eq!(left, ADMITTED_BY_MAX, "the last of them");
}

#[test]
fn a_crash_at_every_operation_leaves_a_phone_admitted_or_shut_out_and_asking_again_ends_it() {
    let disk = SimDisk::new();
    let mut store = open_on(&disk);
    let nonce = hub_nonce(&HUB_ID, [1; 6]);
    assert!(redeemed(&mut store, &nonce));
    let a = bytes(1, 70_000);
    receipt(append(&mut store, BOX, 1, 0, &a));
    receipt(append_as(
        PHONE,
        &mut store,
        OTHER_BOX,
        1,
        0,
        &bytes(2, 100),
    ));
    disk.record_snapshots();
    assert_eq!(revoke(&mut store, HUB_ID, &nonce), Revoked::Done);
    let snapshots = disk.snapshots();
    let (mut admitted, mut shut_out) = (0, 0);
    for (n, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let mut crashed = open_on(&snapshot.crash_clone(policy, n as u64));
            match crashed.is_revoked(&PHONE_ID).unwrap() {
                true => shut_out += 1,
                false => admitted += 1,
            }
            let again = revoke(&mut crashed, HUB_ID, &nonce);
            assert_eq!(again, Revoked::Done, "state {n} {policy:?}");
            assert!(crashed.is_revoked(&PHONE_ID).unwrap());
            for mailbox in [BOX, OTHER_BOX] {
                assert_eq!(crashed.send_state(&mailbox).unwrap().last, None);
            }
            let usage = crashed.usage();
            assert_eq!((usage.mailboxes, usage.envelope_bytes), (0, 0));
        }
    }
    assert!(
        admitted > 0 && shut_out > 0,
        "{admitted} admitted, {shut_out} shut out"
    );
}
