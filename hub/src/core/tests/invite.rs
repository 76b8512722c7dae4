//! One more phone through a paired one: a code only to who asked, good once, void with its phone, and nobody comes by
//! it unannounced, whatever crashes.

use journal::ids::{CommandId, PairingId};
use journal::message::{CommandKind, CommandResult, InviteFailure, Refusal};
use journal::pairing::{AppNext, Confirm, Joined, PHONES_MAX};
use journal::{
    AppPairing, Dismissal, Dismissed, HubPairing, Invite, InviteState, InviteTaken, JournalError,
    Offer, PairingError, Role, Taken,
};
use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::DeviceId;

use super::super::*;
use super::world::{NOW_MS, Phone, World, open, opener, terms};

const NOW_S: u64 = NOW_MS / 1000;

/// The phone asks for a code and hears the answer.
fn ask(core: &mut Core, phone: &mut Phone) -> CommandResult {
    phone.order(CommandKind::Invite);
    let _taken = phone.talk(core);
    phone.book().done.last().unwrap().result.clone()
}

fn asked_by(phone: &Phone) -> CommandId {
    phone.book().done.last().unwrap().id
}

fn wanted(core: &Core) -> Invite {
    core.wishes().invite.unwrap()
}

/// What the hub's listener does for a wish.
fn make(core: &mut Core) -> Offer {
    let made = core.make_invite(wanted(core), terms(), NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    made.unwrap()
}

/// The code that a phone holds for its last command.
fn code_of(phone: &mut Phone) -> Option<Offer> {
    let id = asked_by(phone);
    let code = phone.journal().passed_code(id).unwrap();
    code.map(|code| Offer::from_text(code.code.text()).unwrap())
}

/// Whether a stranger who has read this code could begin to pair.
fn is_good(core: &mut Core, offer: &Offer, seed: u64) -> bool {
    let (mut app, _) = open(Role::App, &SimDisk::new(), seed).unwrap();
    let device = DeviceId([seed as u8; 32]);
    let next = AppPairing::start(&mut app, offer, device, NOW_S).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new phone begins with a request");
    };
    let answered = core.with_journal(NOW_MS, |hub| {
        HubPairing::request(hub, &request, device, NOW_S)
    });
    match answered {
        Ok(_answer) => true,
        Err(CoreError::Journal(JournalError::Pairing(PairingError::UnknownOffer))) => false,
        Err(error) => panic!("{error}"),
    }
}

/// A stranger who has read this code and was answered: what it says next.
fn answered(core: &mut Core, offer: &Offer, seed: u64) -> Joined {
    let (mut app, _) = open(Role::App, &SimDisk::new(), seed).unwrap();
    let device = DeviceId([seed as u8; 32]);
    let next = AppPairing::start(&mut app, offer, device, NOW_S).unwrap();
    let AppNext::Request(request) = next.into_inner() else {
        panic!("a new phone begins with a request");
    };
    let answer = core.with_journal(NOW_MS, |hub| {
        HubPairing::request(hub, &request, device, NOW_S)
    });
    let joined = AppPairing::answer(&mut app, &request, &answer.unwrap(), NOW_S);
    joined.unwrap().into_inner()
}

/// Its pairing, if the hub takes that.
fn prove(core: &mut Core, confirm: &Confirm) -> Option<PairingId> {
    let done = core.with_journal(NOW_MS, |hub| HubPairing::confirm(hub, confirm));
    match done {
        Ok(done) => Some(done.pairing()),
        Err(CoreError::Journal(JournalError::Pairing(PairingError::UnknownOffer))) => None,
        Err(error) => panic!("{error}"),
    }
}

/// What the relay is to be told.
fn owed(core: &Core) -> Vec<Dismissal> {
    core.dismissals().unwrap().owed
}

/// What a phone was told of those that were added: who, and by whom.
fn told(phone: &mut Phone) -> Vec<(PairingId, PairingId)> {
    let pairing = phone.line.pairing;
    let added = phone.journal().told_of_added(pairing).unwrap();
    added.phones.iter().map(|one| (one.phone, one.by)).collect()
}

#[test]
fn a_phone_passes_a_code_on_and_every_phone_hears_who_came_by_it() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    assert!(code_of(phone).is_none(), "there is none yet");
    let made = make(core);
    let config = phone.config();
    let heard = phone.fetch(core, config);
    let here = Taken::Invited {
        asked_by: asked_by(phone),
        taken: InviteTaken::Here,
    };
    assert_eq!(heard.last(), Some(&here));
    let offer = code_of(phone).unwrap();
    assert_eq!(offer.offer, made.offer);

    let mut third = Phone::invited(core, &offer, 60);
    let used = wanted(core);
    assert!(used.is_used(), "its last word may be lost");
    assert!(!is_good(core, &offer, 61), "it is good for one");
    let (by, new) = (phone.line.pairing, third.line.pairing);
    assert!(
        !core.finish_invite(used, by, NOW_MS).unwrap(),
        "of another phone"
    );
    assert!(core.finish_invite(used, new, NOW_MS).unwrap());
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.wishes().invite, None, "nobody listens for it any more");
    for phone in [&mut *phone, &mut other, &mut third] {
        let config = phone.config();
        let _taken = phone.fetch(core, config);
        assert_eq!(told(phone), [(new, by)]);
    }
    assert!(code_of(phone).is_none(), "used, it is gone here as well");
    // The new one is a phone as any other, until it is removed.
    third.order(CommandKind::Phones);
    let _taken = third.talk(core);
    assert!(third.book().pending.is_empty());
    assert_eq!(core.status().unwrap().added.phones.len(), 1);
    assert!(core.remove_phone(new, NOW_MS).unwrap());
    assert!(core.status().unwrap().added.phones.is_empty());
    let said = Notice::PhoneAdded { phone: new, by };
    let told = world.notices();
    assert_eq!(told.iter().filter(|notice| **notice == said).count(), 1);
}

#[test]
fn the_owner_can_forbid_it() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    core.let_phones_invite(MayInvite::No);
    let refused = CommandResult::Refused(Refusal::NotAllowed);
    assert_eq!(ask(core, phone), refused);
    assert_eq!(core.wishes().invite, None);
}

#[test]
fn one_phone_passes_one_code_on_at_a_time_and_its_newest_is_the_good_one() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let first = make(core);
    assert_eq!(ask(core, &mut other), CommandResult::Refused(Refusal::Busy));
    let config = phone.config();
    let _taken = phone.fetch(core, config);
    assert_eq!(ask(core, phone), CommandResult::Done);
    assert!(
        !is_good(core, &first, 61),
        "void as soon as another is wanted"
    );
    let second = make(core);
    let _taken = phone.fetch(core, config);
    assert_eq!(code_of(phone).unwrap().offer, second.offer);
    assert!(is_good(core, &second, 62));
    // When somebody pairs at the hub it is void for both, and another phone may ask.
    assert!(core.void_invite(NOW_MS).unwrap());
    core.commit(NOW_MS).unwrap();
    assert!(!core.void_invite(NOW_MS).unwrap(), "there is none");
    let heard = phone.fetch(core, config);
    assert!(
        matches!(
            heard.last(),
            Some(Taken::Invited {
                taken: InviteTaken::Failed(InviteFailure::Void),
                ..
            })
        ),
        "{heard:?}"
    );
    assert!(code_of(phone).is_none());
    assert!(!is_good(core, &second, 63));
    assert_eq!(ask(core, &mut other), CommandResult::Done);
}

#[test]
fn a_hub_that_is_full_makes_no_code() {
    let mut world = World::paired();
    for seed in 1..PHONES_MAX as u64 - 1 {
        let _phone = world.pair_with_dice(100 + seed);
    }
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let _last = world.pair_with_dice(200);
    let (core, phone) = world.ends();
    let made = core.make_invite(wanted(core), terms(), NOW_MS);
    assert!(matches!(
        made,
        Err(CoreError::Journal(JournalError::Pairing(
            PairingError::TooManyPhones
        )))
    ));
    core.fail_invite(wanted(core), InviteFailure::TooManyPhones, NOW_MS)
        .unwrap();
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.wishes().invite, None);
    let config = phone.config();
    let _taken = phone.fetch(core, config);
    let refused = CommandResult::Refused(Refusal::TooManyPhones);
    assert_eq!(ask(core, phone), refused);
}

/// Whoever stole a phone keeps nothing that it has asked for once the phone is removed, by whichever way.
#[test]
fn a_phone_that_is_removed_takes_its_code_with_it() {
    for by_command in [false, true] {
        let mut world = World::paired();
        let mut thief = world.pair_another();
        let (core, phone) = world.ends();
        assert_eq!(ask(core, &mut thief), CommandResult::Done);
        let offer = make(core);
        // In the middle of pairing as well.
        assert!(is_good(core, &offer, 61));
        assert!(owed(core).is_empty(), "as long as it is good");
        match by_command {
            true => {
                phone.order(CommandKind::Remove {
                    phone: thief.line.pairing,
                });
                let _taken = phone.talk(core);
            }
            false => assert!(core.remove_phone(thief.line.pairing, NOW_MS).unwrap()),
        }
        assert_eq!(core.wishes().invite, None, "by command: {by_command}");
        assert!(!is_good(core, &offer, 62), "by command: {by_command}");
        assert_eq!(core.status().unwrap().lines.len(), 1);
        // Nor what the code gives at the relay.
        let mut kinds: Vec<Dismissed> = owed(core).iter().map(|owed| owed.what).collect();
        kinds.sort_by_key(|kind| *kind == Dismissed::Invitation);
        assert_eq!(
            kinds,
            [Dismissed::Phone, Dismissed::Invitation],
            "{by_command}"
        );
        assert_eq!(core.status().unwrap().dismissals, 1, "phones are counted");
    }
}

/// Whoever reads a code while another does comes too late, whoever began first.
#[test]
fn of_two_who_read_the_same_code_one_is_paired() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let offer = make(core);
    let first = answered(core, &offer, 61);
    let second = answered(core, &offer, 62);
    assert_eq!(prove(core, &first), None, "the second took its place");
    let paired = prove(core, &second).unwrap();
    assert_eq!(prove(core, &first), None);
    assert_eq!(
        prove(core, &second),
        Some(paired),
        "its last word may be lost"
    );
    assert!(!is_good(core, &offer, 63));
    core.handle_paired(paired, NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    let added = core.status().unwrap().added.phones;
    assert!(
        matches!(&added[..], [one] if one.phone == paired),
        "{added:?}"
    );
    assert!(owed(core).is_empty(), "its invitation is the phone's");
}

/// A hub that was off until the time was over makes nothing of what its phone may still show.
#[test]
fn a_code_whose_time_is_over_is_void_and_its_phone_hears_so() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let offer = make(core);
    let late_ms = (offer.expires_unix_s + 1) * 1000;
    let disk = world.disk.crash_clone(CrashPolicy::KeepAll, 1);
    let mut core = Core::start(opener(&disk, 9_000), SilenceLimits::default(), late_ms).unwrap();
    let invite = wanted(&core);
    assert!(core.standing_invite(invite, late_ms).unwrap().is_none());
    assert!(!is_good(&mut core, &offer, 61));
    core.fail_invite(invite, InviteFailure::Void, late_ms)
        .unwrap();
    core.commit(late_ms).unwrap();
    assert_eq!(core.wishes().invite, None);
    let (_old, phone) = world.ends();
    let mut phone = phone.twin(1);
    let config = phone.config();
    let heard = phone.fetch(&mut core, config);
    let void = Taken::Invited {
        asked_by: asked_by(&phone),
        taken: InviteTaken::Failed(InviteFailure::Void),
    };
    assert_eq!(heard.last(), Some(&void));
    let owed = owed(&core);
    assert!(
        matches!(&owed[..], [one] if one.what == Dismissed::Invitation),
        "{owed:?}"
    );
}

/// The hub dies between the confirmation and its last word: the next one goes on, and says nothing of a failure to the
/// phone that passed the code on.
#[test]
fn a_last_word_that_may_be_lost_is_waited_for_behind_a_start() {
    let mut world = World::paired();
    let mut other = world.pair_another();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let offer = make(core);
    let third = Phone::invited(core, &offer, 60);
    world.crash();
    let (core, phone) = world.ends();
    let used = wanted(core);
    let new = third.line.pairing;
    assert!(matches!(used.state, InviteState::Used { phone, .. } if phone == new));
    assert!(core.make_invite(used, terms(), NOW_MS).unwrap().is_none());
    core.fail_invite(used, InviteFailure::Void, NOW_MS).unwrap();
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.wishes().invite, None);
    let config = phone.config();
    let failed = |taken: &Taken| {
        matches!(
            taken,
            Taken::Invited {
                taken: InviteTaken::Failed(_),
                ..
            }
        )
    };
    assert!(!phone.fetch(core, config).iter().any(failed));
    let config = other.config();
    let _taken = other.fetch(core, config);
    assert_eq!(ask(core, &mut other), CommandResult::Done);
}

/// A phone that missed its last word and comes again by another code stands for itself once, and nothing that the
/// first code gave it outlives it.
#[test]
fn a_phone_that_comes_again_takes_its_own_place() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let offer = make(core);
    let mut third = Phone::invited(core, &offer, 60);
    let old = third.line.pairing;
    third.pair_again(core);
    assert_ne!(third.line.pairing, old);
    let status = core.status().unwrap();
    assert!(status.added.phones.is_empty(), "it paired at the hub");
    assert_eq!(status.lines.len(), 2);
    let owed = owed(core);
    assert!(
        matches!(&owed[..], [one] if one.pairing == old && one.what == Dismissed::Invitation),
        "{owed:?}"
    );
    core.commit(NOW_MS).unwrap();
    assert_eq!(core.journal.as_ref().unwrap().invite().unwrap(), None);
}

/// A wish whose phone is gone, or that another has taken the place of, makes no offer.
#[test]
fn what_is_not_wanted_any_more_is_not_made() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let old = wanted(core);
    assert_eq!(ask(core, phone), CommandResult::Done);
    assert!(core.make_invite(old, terms(), NOW_MS).unwrap().is_none());
    let newer = wanted(core);
    assert_ne!(newer.asked_by, old.asked_by);
    assert!(core.remove_phone(phone.line.pairing, NOW_MS).unwrap());
    assert!(core.make_invite(newer, terms(), NOW_MS).unwrap().is_none());
}

/// A power cut at every disk operation of making the offer: there is none, and it is wanted; or it is there, and its
/// code reaches the phone that asked.
#[test]
fn no_crash_leaves_an_offer_that_nobody_was_told_of() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    world.disk.record_snapshots();
    let _offer = make(&mut world.core);
    let snapshots = world.disk.snapshots();
    let (mut there, mut wanted_only) = (0, 0);
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let disk = snapshot.crash_clone(policy, seed);
            let mut core = Core::start(
                opener(&disk, 9_000 + seed),
                SilenceLimits::default(),
                NOW_MS,
            )
            .unwrap();
            let (_old, phone) = world.ends();
            let mut phone = phone.twin(seed);
            let invite = wanted(&core);
            let standing = core.standing_invite(invite, NOW_MS).unwrap();
            assert_eq!(
                standing.is_some(),
                invite.state != InviteState::Wanted,
                "{i} {policy:?}"
            );
            let offer = match standing {
                Some(offer) => {
                    there += 1;
                    offer
                }
                None => {
                    wanted_only += 1;
                    make(&mut core)
                }
            };
            let config = phone.config();
            let _taken = phone.fetch(&mut core, config);
            let code = code_of(&mut phone).unwrap();
            assert_eq!(code.offer, offer.offer, "{i} {policy:?}");
            assert!(is_good(&mut core, &code, 61), "{i} {policy:?}");
        }
    }
    assert!(
        there > 0 && wanted_only > 0,
        "{there} there, {wanted_only} wanted"
    );
}

/// A power cut at every disk operation of the new phone's confirmation: whoever is in is announced.
#[test]
fn no_crash_leaves_a_phone_that_nobody_is_told_of() {
    let mut world = World::paired();
    let (core, phone) = world.ends();
    assert_eq!(ask(core, phone), CommandResult::Done);
    let offer = make(core);
    let config = phone.config();
    let _taken = phone.fetch(core, config);
    phone.ack_config(core);
    world.disk.record_snapshots();
    let third = Phone::invited(&mut world.core, &offer, 60);
    let (by, new) = (world.line.pairing, third.line.pairing);
    let snapshots = world.disk.snapshots();
    let mut added = 0;
    for (i, snapshot) in snapshots.iter().enumerate() {
        for policy in CrashPolicy::ALL {
            let seed = i as u64;
            let disk = snapshot.crash_clone(policy, seed);
            let mut core = Core::start(
                opener(&disk, 9_000 + seed),
                SilenceLimits::default(),
                NOW_MS,
            )
            .unwrap();
            let (_old, phone) = world.ends();
            let mut phone = phone.twin(seed);
            core.handle_timeout(NOW_MS).unwrap();
            core.commit(NOW_MS).unwrap();
            let config = phone.config();
            let _taken = phone.fetch(&mut core, config);
            let is_in = core.heads().unwrap().contains_key(&third.line);
            let expected: Vec<_> = is_in.then_some((new, by)).into_iter().collect();
            assert_eq!(told(&mut phone), expected, "{i} {policy:?}");
            assert_eq!(wanted(&core).is_used(), is_in, "{i} {policy:?}");
            added += u64::from(is_in);
        }
    }
    assert!(added > 0);
}
