//! Conversations about phones: who is paired, who is beside whom, and who no more.

use std::collections::BTreeMap;

use serde_json::Value;

use super::events::{everything_acked, finished, passes};
use crate::oracle::{Clip, Ends};
use crate::process::Role;
use crate::system::{FIRST_PHONE, LOST_PHONE, SECOND_PHONE, System};
use crate::trouble::{Outcome, Trouble};

pub(super) fn pair(system: &mut System) -> Outcome<Ends> {
    system.make_relay()?;
    system.write_hub_config()?;
    system.pair()?;
    system.settle()
}

pub(super) fn remove(system: &mut System) -> Outcome<Ends> {
    system.start(Role::Relay)?;
    system.remove_phone()?;
    system.lose_phone()?;
    system.write_hub_config_without_camera()?;
    system.start(Role::Hub)?;
    system.expect_shut_out(LOST_PHONE)?;
    system.stop(Role::Hub)?;
    system.pair()?;
    system.settle()
}

/// Both phones get an event, and set the same setting from the same version, which the hub finds when it comes up:
/// whichever it does first, it tells the other phone of the settings, in an epoch for which that one's command is too
/// old; given again, it is in conflict.
pub(super) fn beside(system: &mut System) -> Outcome<Ends> {
    system.start(Role::Relay)?;
    system.with_phone(SECOND_PHONE, System::pair)?;
    for role in [Role::Hub, Role::App] {
        system.start(role)?;
    }
    let passes = passes(system);
    both_have_all(system, passes)?;
    let clips = system.with_phone(SECOND_PHONE, System::app_clips)?;
    if !clips.iter().any(|clip| clip.outcome == "complete") {
        system.found_broken(
            "C2",
            format!("a phone beside another has no event: {clips:?}"),
        );
    }
    for role in [Role::App, Role::Hub] {
        system.stop(role)?;
    }
    system.write_hub_config_without_camera()?;
    let set = |seconds| ["settings", "set", "event_seconds_max", seconds];
    let first = system.give(&set("60"))?;
    let second = system.with_phone(SECOND_PHONE, |system| system.give(&set("90")))?;
    system.start(Role::Hub)?;
    let first = system.answer_to(&first)?;
    let second = system.with_phone(SECOND_PHONE, |system| system.answer_to(&second))?;
    if first["result"] == "changed" && second["result"] == "changed" {
        system.found_broken("C2", "of two phones in conflict neither is told");
    }
    system.compare_settings(&[FIRST_PHONE, SECOND_PHONE])?;
    system.start(Role::App)?;
    both_have_all(system, 0)?;
    system.stop(Role::App)?;
    let clips = system.with_phone(SECOND_PHONE, System::app_clips)?;
    system.give_up_clips(clips.into_iter().map(|clip| clip.id));
    remove_by_command(system)?;
    system.expect_shut_out(SECOND_PHONE)?;
    system.with_phone(SECOND_PHONE, forget_hub)?;
    system.settle()
}

/// A phone passes a code on, whoever dies: the one that comes by it is named by hub and phones, and is removed as any
/// other.
pub(super) fn pass(system: &mut System) -> Outcome<Ends> {
    system.write_hub_config_without_camera()?;
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    let listed = system.hub_says(&["phones"])?;
    let first = listed["phones"][0]["phone"].as_str().unwrap_or_default();
    system.pass_code_on(SECOND_PHONE)?;
    let now = system.hub_says(&["phones"])?;
    let rows = now["phones"].as_array().cloned().unwrap_or_default();
    let added: Vec<&Value> = rows.iter().filter(|row| row["phone"] != first).collect();
    let is_named = |row: &&Value| row["added_by"] == first;
    if added.len() != 1 || !added.iter().all(is_named) {
        system.found_broken(
            "C5",
            format!("one phone has come by a code of {first}, and the hub says {now}"),
        );
    }
    // Whoever was told something more has taken it.
    system.start(Role::App)?;
    both_have_all(system, 0)?;
    system.stop(Role::App)?;
    remove_by_command(system)?;
    system.expect_shut_out(SECOND_PHONE)?;
    system.with_phone(SECOND_PHONE, forget_hub)?;
    system.settle()
}

/// Waits until the hub's process has recorded so many events, and both phones have acked all that there is. If the
/// first one runs on, it does so by itself.
fn both_have_all(system: &mut System, events: usize) -> Outcome<()> {
    let patience = system.setup.patience;
    let arrived = system.until("the acks of both phones", patience, |system| {
        let played = finished(system)? >= events;
        let status = system.ask_hub(&["status"])?;
        system.remember(status.to_string());
        let pairings = status["pairings"].as_array().cloned().unwrap_or_default();
        if pairings.len() != 2 {
            return Err(Trouble::Apart {
                what: "two phones beside each other".to_owned(),
                seconds: 0,
                last: status.to_string(),
            });
        }
        let acked = |pairing: &&Value| pairing["unacked_envelopes"] == 0;
        if !played || status["recording"] != false {
            return Ok(None);
        }
        if pairings.iter().filter(acked).count() == 2 {
            return Ok(Some(()));
        }
        let _synced = system.with_phone(SECOND_PHONE, System::sync_once)?;
        Ok(None)
    });
    arrived.map_err(Trouble::apart)
}

/// The first phone has the hub remove the other one. A command that was given twice finds nobody the second time.
fn remove_by_command(system: &mut System) -> Outcome<()> {
    let listed = system.order(&["phones"])?;
    let phones = listed["phones"].as_array().cloned().unwrap_or_default();
    let other = phones.iter().find(|phone| phone["is_this"] == false);
    let Some(other) = other.and_then(|phone| phone["phone"].as_str()) else {
        return Err(Trouble::Broken(format!("no other phone: {listed}")));
    };
    system.order(&["remove-phone", other, "--yes"])?;
    let status = system.hub_says(&["status"])?;
    let pairings = status["pairings"].as_array().map_or(0, Vec::len);
    if pairings != 1 {
        system.found_broken(
            "C2",
            format!("a phone was removed by command, and {pairings} are there"),
        );
    }
    Ok(())
}

/// The phone that is asked forgets its hub. One that was killed behind its sync has forgotten it.
pub(super) fn forget_hub(system: &mut System) -> Outcome<()> {
    let status = system.ask_app(&["status", "--json"])?;
    let status = status.lines.last().cloned().unwrap_or_default();
    let Some(hub) = status["hubs"][0]["hub"].as_str() else {
        return Err(Trouble::Broken(format!("a phone without a hub: {status}")));
    };
    match system.ask_app(&["forget", hub, "--yes", "--json"]) {
        Err(trouble) if system.died() && trouble.exit_code() == Some(2) => Ok(()),
        result => result.map(drop),
    }
}

/// The owner begins anew with all phones and loses no video: what the lost phone never had is at the new one, whole and
/// once, and nothing is retained any more.
pub(super) fn replace(system: &mut System) -> Outcome<Ends> {
    // The phone is away while events are recorded, and stays away.
    for role in [Role::Relay, Role::Hub] {
        system.start(role)?;
    }
    let (patience, passes) = (system.setup.patience, passes(system));
    system.until("recorded events", patience, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        Ok((finished(system)? >= passes && !status.recording).then_some(()))
    })?;
    let lost = system.hub_clips()?;
    let old = only_phone(system)?;
    system.stop(Role::Hub)?;
    system.give_up_all_clips();
    reset_but_for_clips(system)?;
    system.lose_phone()?;
    system.pair()?;
    system.write_hub_config_without_camera()?;
    system.start(Role::Hub)?;
    let retained = system.hub_says(&["retained"])?;
    let rows = retained["phones"].as_array().cloned().unwrap_or_default();
    let is_lost_ones = |row: &Value| row["phone"] == old.as_str();
    if rows.len() != 1 || !rows.iter().all(is_lost_ones) {
        let what = format!("what was retained for {old} alone is to be there, and {retained} is");
        system.found_broken("C2", what);
        return system.settle();
    }
    system.start(Role::App)?;
    let new = only_phone(system)?;
    let mut asked = false;
    let played = system.until("what was retained", patience, |system| {
        if !asked {
            system.ask_hub(&["retained", "--play", &old, "--to", &new])?;
            asked = true;
        }
        let status = system.hub_status()?;
        let kept = system.ask_hub(&["retained"])?;
        system.remember(format!("{status:?}, {kept}"));
        // Played and acked, which ends the copy of the copy, too.
        let is_over = kept["phones"].as_array().is_some_and(Vec::is_empty);
        Ok((is_over && status.unacked_envelopes == 0).then_some(()))
    });
    played.map_err(Trouble::apart)?;
    everything_acked(system)?;
    let has = system.hub_clips()?;
    let (wanted, found) = (whole(&lost), whole(&has));
    if wanted != found {
        let what =
            format!("{wanted:?} were retained whole, and were not played once each: {has:?}");
        system.found_broken("C2", what);
    }
    system.stop(Role::App)?;
    // Last, so that whoever is to die as a phone does so as the new one.
    system.expect_shut_out(LOST_PHONE)?;
    system.stop(Role::Hub)?;
    system.settle()
}

/// No phone is paired any more, whoever dies over it, and the owner who is told so does not have to ask again.
fn reset_but_for_clips(system: &mut System) -> Outcome<()> {
    let done = system.ask_hub(&["reset", "--keep-clips", "--yes"])?;
    let left = system.ask_hub(&["phones"])?;
    let is_empty = left["phones"].as_array().is_some_and(Vec::is_empty);
    if done["keeps_clips"] != true || !is_empty {
        return Err(Trouble::Broken(format!(
            "a reset that keeps clips has left {left} and says {done}"
        )));
    }
    Ok(())
}

/// How many clips are whole, by what they hold.
fn whole(clips: &[Clip]) -> BTreeMap<String, u32> {
    let mut found = BTreeMap::new();
    for clip in clips.iter().filter(|clip| clip.outcome == "complete") {
        *found
            .entry(clip.sha256.clone().unwrap_or_default())
            .or_default() += 1;
    }
    found
}

/// The name of the one phone of the running hub.
fn only_phone(system: &mut System) -> Outcome<String> {
    let patience = system.setup.patience;
    system.until("the hub's one phone", patience, |system| {
        let status = system.ask_hub(&["status"])?;
        match status["pairings"].as_array().map(Vec::as_slice) {
            Some([pairing]) => Ok(pairing["phone"].as_str().map(str::to_owned)),
            _ => Err(Trouble::Broken(format!("not one phone: {status}"))),
        }
    })
}
