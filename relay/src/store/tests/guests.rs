//! Who is shut out, and that no crash leaves it half.

use wal::disk::CrashPolicy;

use super::*;
use crate::admission::{InviterTag, hub_nonce, inviter_tag};

const PHONE_ID: DeviceId = PHONE.0;
const OTHER_BOX: SendId = SendId([3; 24]);

fn hub() -> (DeviceId, InviterTag) {
    (HUB_ID, inviter_tag(&HUB_ID))
}

fn redeemed(store: &mut MailboxStore, thrown: u8) -> bool {
    let nonce = hub_nonce(&HUB_ID, [thrown; 6]);
    let staged = store.redeem_phone(PHONE_ID, &nonce, 1_000, 50).unwrap();
    let is_staged = staged.is_some();
    let _durable = store.commit().unwrap();
    is_staged
}

fn revoke(store: &mut MailboxStore) -> Revoked {
    let staged = store
        .revoke(hub(), Some(PHONE_ID), &[BOX, OTHER_BOX])
        .unwrap();
    let committed = store.commit().unwrap();
    committed.redeem(staged).into_inner()
}

#[test]
fn another_invitation_lets_a_phone_in_again_and_the_used_one_does_not() {
    let mut store = store();
    assert!(redeemed(&mut store, 1));
    assert!(redeemed(&mut store, 1), "its answer may have been lost");
    assert_eq!(revoke(&mut store), Revoked::Done);
    assert!(store.is_revoked(&PHONE_ID).unwrap());
    assert!(!redeemed(&mut store, 1));
    assert!(store.is_revoked(&PHONE_ID).unwrap());
    assert!(redeemed(&mut store, 2));
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
}

#[test]
fn who_did_not_invite_a_phone_empties_only_what_it_fills_itself() {
    let mut store = store();
    let nonce = hub_nonce(&DeviceId([9; 32]), [1; 6]);
    let staged = store.redeem_phone(PHONE_ID, &nonce, 1_000, 50).unwrap();
    assert!(staged.is_some());
    let a = bytes(1, 100);
    receipt(append(&mut store, BOX, 1, 0, &a));
    receipt(append_as(PHONE, &mut store, OTHER_BOX, 1, 0, &a));
    assert_eq!(revoke(&mut store), Revoked::NotInviter);
    assert!(!store.is_revoked(&PHONE_ID).unwrap());
    assert_eq!(store.send_state(&BOX).unwrap().last, None);
    assert_eq!(
        store.send_state(&OTHER_BOX).unwrap().last,
        Some(head(1, &a))
    );
}

#[test]
fn a_crash_at_every_operation_leaves_a_phone_admitted_or_shut_out_and_asking_again_ends_it() {
    let disk = SimDisk::new();
    let mut store = open_on(&disk);
    assert!(redeemed(&mut store, 1));
    let a = bytes(1, 70_000);
    receipt(append(&mut store, BOX, 1, 0, &a));
    receipt(append_as(PHONE, &mut store, OTHER_BOX, 1, 0, &bytes(2, 100)));
    disk.record_snapshots();
    assert_eq!(revoke(&mut store), Revoked::Done);
    let snapshots = disk.snapshots();
    let (mut admitted, mut shut_out) = (0, 0);
    for (n, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let mut crashed = open_on(&snapshot.crash_clone(policy, n as u64));
            match crashed.is_revoked(&PHONE_ID).unwrap() {
                true => shut_out += 1,
                false => admitted += 1,
            }
            assert_eq!(revoke(&mut crashed), Revoked::Done, "state {n} {policy:?}");
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
