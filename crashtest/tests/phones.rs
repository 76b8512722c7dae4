//! Ends that are lost, with real processes: a phone that is removed by its owner, shut out by the relay and paired
//! again, what was retained for it, and a camera or a phone that is silent for a while or for good. And one more phone,
//! by a code that a paired one passes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use crashtest::oracle::Clip;
use crashtest::process::{Line, Process, Role, Start};
use crashtest::system::{Answer, LOST_PHONE, PATIENCE, SECOND_PHONE, Setup, System};
use crashtest::trouble::{Outcome, Trouble};
use serde_json::Value;

/// The last object that the hub's program answers.
fn ask_hub(system: &mut System, words: &[&str]) -> Outcome<Value> {
    let config = system.path("hub.toml").display().to_string();
    let words = [words, &["--config", &config, "--json"]].concat();
    let answer = system.ask_ok(Role::Hub, &words)?;
    Ok(answer.lines.last().cloned().unwrap_or_default())
}

/// The names of the phones that the hub has.
fn phones(system: &mut System) -> Outcome<Vec<String>> {
    let answer = ask_hub(system, &["phones"])?;
    let phones = answer["phones"].as_array().cloned().unwrap_or_default();
    let name = |phone: &Value| phone["phone"].as_str().unwrap_or_default().to_owned();
    Ok(phones.iter().map(name).collect())
}

/// The one phone's name.
fn only_phone(system: &mut System) -> Outcome<String> {
    match &phones(system)?[..] {
        [name] => Ok(name.clone()),
        other => Err(Trouble::Broken(format!("not one phone: {other:?}"))),
    }
}

fn wait_until_the_relay_is_told(system: &mut System) -> Outcome<()> {
    system.until("the relay is told", PATIENCE, |system| {
        let status = ask_hub(system, &["status"])?;
        system.remember(status.to_string());
        Ok((status["relay_not_told"] == 0).then_some(()))
    })
}

/// One sync of the app: its exit code and what it said to a person.
fn sync(system: &mut System) -> Outcome<(i32, String)> {
    let words = system.app_words(&["sync", "--json"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let answer = system.ask_started(Role::App, &Start::with(&words))?;
    Ok((answer.code(), answer.said))
}

#[test]
fn a_phone_that_a_running_hub_removes_is_shut_out_until_it_is_paired_again() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let name = only_phone(&mut system)?;
    assert_eq!(sync(&mut system)?.0, 0);

    let config = system.path("hub.toml").display().to_string();
    let unsure = ["remove", &name, "--config", &config, "--json"];
    let unsure = system.ask_started(Role::Hub, &Start::with(&unsure))?;
    assert_eq!(unsure.code(), 2, "{}", unsure.said);
    assert_eq!(only_phone(&mut system)?, name);

    let removed = ask_hub(&mut system, &["remove", &name, "--yes"])?;
    assert_eq!(removed["event"], "removed");
    assert_eq!(phones(&mut system)?, Vec::<String>::new());
    wait_until_the_relay_is_told(&mut system)?;
    let (code, said) = sync(&mut system)?;
    assert_ne!(code, 0);
    assert!(said.contains("removed"), "{said}");

    system.pair()?;
    assert_ne!(only_phone(&mut system)?, name);
    let (code, said) = sync(&mut system)?;
    assert_eq!(code, 0, "{said}");
    system.stop(Role::Hub)?;
    system.finish()
}

#[test]
fn a_relay_that_was_away_when_a_phone_was_removed_is_told_by_the_next_hub() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    let name = only_phone(&mut system)?;
    system.kill(Role::Relay)?;
    // No hub runs, and nobody is to be reached.
    let removed = ask_hub(&mut system, &["remove", &name, "--yes"])?;
    assert_eq!(removed["event"], "removed");
    assert_eq!(phones(&mut system)?, Vec::<String>::new());
    system.start_relay()?;
    // Until a hub has said it, the relay does not know.
    assert_eq!(sync(&mut system)?.0, 0);
    system.start_hub()?;
    wait_until_the_relay_is_told(&mut system)?;
    let (code, said) = sync(&mut system)?;
    assert_ne!(code, 0);
    assert!(said.contains("removed"), "{said}");
    system.stop(Role::Hub)?;
    system.finish()
}

/// Length and digest of each clip.
type Figures = Vec<(u64, Option<String>)>;

/// What was recorded for a phone that is lost comes to the one that takes its place, if the owner chose to retain it.
#[test]
fn a_new_phone_is_played_what_a_lost_one_never_had() -> Outcome<()> {
    play_to_a_new_phone(|system, old| ask_hub(system, &["remove", old, "--yes"]).map(drop))
}

/// The same, where the owner begins anew with all phones: the hub has none then, and goes on at its relay.
#[test]
fn a_reset_that_keeps_clips_ends_the_pairing_and_a_new_phone_is_played_them() -> Outcome<()> {
    play_to_a_new_phone(|system, old| {
        let config = system.path("hub.toml").display().to_string();
        let unsure = ["reset", "--keep-clips", "--config", &config, "--json"];
        let unsure = system.ask_started(Role::Hub, &Start::with(&unsure))?;
        assert_eq!(unsure.code(), 2, "{}", unsure.said);
        assert_eq!(only_phone(system)?, old);

        let reset = ask_hub(system, &["reset", "--keep-clips", "--yes"])?;
        assert_eq!(reset["event"], "reset", "{reset}");
        assert_eq!(reset["keeps_clips"], true, "{reset}");
        assert_eq!(reset["phones_removed"], 1, "{reset}");
        assert_eq!(phones(system)?, Vec::<String>::new());
        wait_until_the_relay_is_told(system)?;
        let (code, said) = system.with_phone(LOST_PHONE, sync)?;
        assert_eq!(code, 6, "{said}");
        Ok(())
    })
}

/// Two clips for a phone that never comes for them and is lost; `end` ends its pairing, and another one gets them.
fn play_to_a_new_phone(end: impl FnOnce(&mut System, &str) -> Outcome<()>) -> Outcome<()> {
    let mut system = System::paired(Setup {
        hub_extra: "\n[privacy]\nretain = \"until-acked\"\n".into(),
        hub_log_mib: 8,
        ..Setup::default()
    })?;
    let old = only_phone(&mut system)?;
    system.start_hub()?;
    // The phone never comes for them.
    let recorded: Figures = system.until("two clips", PATIENCE, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let clips = status.clips.into_iter();
        let whole = clips.filter(|clip| clip.outcome == "complete");
        let figures: Figures = whole.map(|clip| (clip.bytes, clip.sha256)).collect();
        Ok((figures.len() == 2 && !status.recording).then_some(figures))
    })?;
    system.lose_phone()?;
    end(&mut system, &old)?;
    system.pair()?;
    let new = only_phone(&mut system)?;
    let retained = ask_hub(&mut system, &["retained"])?;
    assert_eq!(retained["phones"][0]["phone"], old.as_str(), "{retained}");
    assert_eq!(retained["phones"][0]["clips"], 2, "{retained}");

    let playing = ask_hub(&mut system, &["retained", "--play", &old, "--to", &new])?;
    assert_eq!(playing["clips"], 2, "{playing}");
    let from = system.board().len();
    system.start_app()?;
    system.until("what was retained", PATIENCE, |system| {
        let lines = system.board().lines();
        let whole = |line: &&Line| {
            line.role == Role::App && line.event() == "clip" && line.text("state") == "complete"
        };
        let clips = lines.iter().skip(from).filter(whole);
        let clips: BTreeSet<&str> = clips.map(|line| line.text("clip")).collect();
        Ok((clips.len() == 2).then_some(()))
    })?;
    // Neither the lost phone's copies are left, nor those that were made for the new one until its ack.
    system.until("nothing retained", PATIENCE, |system| {
        let retained = ask_hub(system, &["retained"])?;
        system.remember(retained.to_string());
        Ok((retained["phones"] == serde_json::json!([])).then_some(()))
    })?;
    system.stop(Role::App)?;
    let clips = system.app_clips()?.into_iter();
    let played: Figures = clips.map(|clip| (clip.bytes, clip.sha256)).collect();
    assert_eq!(played, recorded);
    system.stop(Role::Hub)?;
    system.finish()
}

/// Starts the app, following, for which a camera that does not answer at once is silent. Where to look from.
fn start_impatient_app(system: &mut System) -> Outcome<usize> {
    let words = ["sync", "--follow", "--offline-after", "1", "--json"];
    let words = system.app_words(&words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    system.spawn(Role::App, &Start::with(&words))
}

#[test]
fn who_watches_is_told_that_a_camera_is_offline_and_that_it_is_back() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    // No hub runs.
    let from = start_impatient_app(&mut system)?;
    let told = |line: &Line| line.event() == "looks_offline";
    let line = system.until_line("a camera that looks offline", from, told)?;
    assert!(line.number("since_unix_ms").is_some(), "{:?}", line.value);
    system.start_hub()?;
    let back = |line: &Line| line.event() == "back_online";
    system.until_line("its return", from, back)?;
    let lines = system.board().lines();
    assert_eq!(lines.iter().filter(|line| told(line)).count(), 1);
    system.stop(Role::App)?;
    let status = system.ask_app(&["status", "--json"])?;
    let status = status.lines.last().cloned().unwrap_or_default();
    let beat = &status["heartbeat"];
    assert_eq!(beat["looks_offline"], false, "{beat}");
    assert!(beat["report"]["recording"].is_boolean(), "{beat}");
    system.stop(Role::Hub)?;
    system.finish()
}

/// A hub that has lost its directory is another hub: no word of it could prove to the phone what has happened. So the
/// phone sends nothing more, says what it may be in plain words with the way back, and that way works.
#[test]
fn a_phone_whose_hub_has_lost_its_state_is_told_to_pair_again() -> Outcome<()> {
    let mut system = System::paired(Setup {
        passes: 0,
        ..Setup::default()
    })?;
    std::fs::remove_dir_all(system.path("hub")).map_err(Trouble::machine("losing the hub"))?;
    system.invitation = system.invite("hub", "1h")?;
    system.write_hub_config()?;
    system.start_hub()?;
    let from = start_impatient_app(&mut system)?;
    let told = |line: &Line| line.event() == "looks_offline";
    let line = system.until_line("a camera that looks offline", from, told)?;
    for word in [
        "reset",
        "secluso-hub pair",
        "secluso-app pair",
        "secluso-app forget",
    ] {
        assert!(line.text("what").contains(word), "{:?}", line.value);
    }
    let lost = line.text("hub").to_owned();
    system.stop(Role::App)?;
    let status = system.ask_app(&["status", "--json"])?;
    let status = status.lines.last().cloned().unwrap_or_default();
    let channels = status["channels"].as_array().cloned().unwrap_or_default();
    assert_eq!(channels.len(), 5, "{status}");
    let mute = |channel: &Value| channel["awaits_commit"] == true;
    assert!(channels.iter().all(mute), "nothing more is sent: {status}");

    system.pair()?;
    system.ask_app(&["forget", &lost, "--yes", "--json"])?;
    let from = system.board().len();
    system.start_app()?;
    system.until_line("a clip of the hub that is there", from, |line| {
        line.role == Role::App && line.event() == "clip" && line.text("state") == "complete"
    })?;
    system.stop(Role::App)?;
    let status = system.ask_app(&["status", "--json"])?;
    let status = status.lines.last().cloned().unwrap_or_default();
    let hubs = status["hubs"].as_array().cloned().unwrap_or_default();
    assert_eq!(hubs.len(), 1, "{status}");
    assert_ne!(hubs[0]["hub"], lost.as_str(), "{status}");
    system.kill(Role::Hub)?;
    system.finish()
}

/// Waits until the phone that follows has a whole clip of an event that begins from now on: one that began before is
/// over then.
fn wait_for_a_new_clip(system: &mut System) -> Outcome<()> {
    let from = system.board().len();
    system.until("a new clip", PATIENCE, |system| {
        let lines = system.board().lines();
        let new = || lines.iter().skip(from);
        let begun = new().filter(|line| line.event() == "clip_started");
        let begun: BTreeSet<&str> = begun.map(|line| line.text("clip")).collect();
        let is_whole = |line: &Line| {
            line.role == Role::App && line.event() == "clip" && line.text("state") == "complete"
        };
        let whole = new().find(|line| is_whole(line) && begun.contains(line.text("clip")));
        Ok(whole.is_some().then_some(()))
    })
}

/// What the hub says of one phone's videos.
fn row_of(system: &mut System, phone: &str) -> Outcome<Value> {
    let status = ask_hub(system, &["status"])?;
    let rows = status["pairings"].as_array().cloned().unwrap_or_default();
    let is_its = |row: &Value| {
        let name = row["phone"].as_str();
        name.is_some_and(|name| name.starts_with(phone))
    };
    rows.into_iter()
        .find(is_its)
        .ok_or_else(|| Trouble::Broken(format!("no phone {phone}: {status}")))
}

/// A phone in a drawer: nothing new is encrypted for it while the other one gets every event, its first heartbeat makes up
/// for that, and when it stays away for longer it is removed, and no other.
#[test]
fn a_phone_in_a_drawer_gets_nothing_new_until_its_heartbeat_and_is_removed_in_the_end()
-> Outcome<()> {
    // The hub counts by steps of five seconds.
    let mut system = System::paired(Setup {
        passes: 0,
        gap_seconds: 1.0,
        silence_s: Some((9, 3600)),
        ..Setup::default()
    })?;
    let own = only_phone(&mut system)?;
    let drawer = system.pair_guest()?;
    let about_it = |event: &'static str, phone: String| {
        move |line: &Line| line.event() == event && line.text("phone") == phone
    };
    system.start_app()?;
    system.start_hub()?;
    system.until_line("silence", 0, about_it("phone_silent", drawer.clone()))?;
    wait_for_a_new_clip(&mut system)?;
    let before = row_of(&mut system, &drawer)?;
    assert_eq!(before["silent"], true, "{before}");
    assert!(before["last"].as_u64() > Some(0), "it got some: {before}");
    wait_for_a_new_clip(&mut system)?;
    let after = row_of(&mut system, &drawer)?;
    for what in ["silent", "epoch", "last"] {
        assert_eq!(after[what], before[what], "{what} of {after}");
    }
    assert_eq!(row_of(&mut system, &own)?["silent"], false);

    // It was never opened since it was paired, so its launch is a heartbeat.
    let from = system.board().len();
    let synced = system.ask_guest(&["sync", "--json"])?;
    assert_eq!(synced.code(), 0, "{}", synced.said);
    system.until_line("its return", from, about_it("phone_back", drawer.clone()))?;
    let held = system.with_phone(SECOND_PHONE, System::app_clips)?.len();
    assert!(held > 0, "what was recorded before is there");
    system.until("an event behind its return", PATIENCE, |system| {
        let synced = system.ask_guest(&["sync", "--json"])?;
        system.remember(synced.said);
        let clips = system.with_phone(SECOND_PHONE, System::app_clips)?;
        let whole = clips.iter().filter(|clip| clip.outcome == "complete");
        Ok((whole.count() > held).then_some(()))
    })?;

    system.stop(Role::Hub)?;
    system.setup.silence_s = Some((9, 10));
    let from = system.board().len();
    system.start_hub()?;
    system.until_line("its end", from, about_it("phone_removed", drawer.clone()))?;
    assert_eq!(only_phone(&mut system)?, own);
    wait_until_the_relay_is_told(&mut system)?;
    let refused = system.ask_guest(&["sync", "--json"])?;
    assert_ne!(refused.code(), 0);
    assert!(refused.said.contains("removed"), "{}", refused.said);
    wait_for_a_new_clip(&mut system)?;
    assert_ne!(system.pair_guest()?, drawer, "it is another phone now");
    system.stop(Role::App)?;
    system.stop(Role::Hub)?;
    system.finish()
}

/// A phone of its own, beside the one that the system has.
fn words_of(system: &System, dir: &str, words: &[&str]) -> Vec<String> {
    let dir = system.path(dir).display().to_string();
    let mut all = vec!["--dir".to_owned(), dir];
    all.extend(words.iter().map(|word| (*word).to_owned()));
    all
}

/// Runs the app on another phone's directory to its end.
fn ask_phone(system: &mut System, dir: &str, words: &[&str], input: &str) -> Outcome<Answer> {
    let words = words_of(system, dir, words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut start = Start::with(&words);
    start.input = input.to_owned();
    system.ask_started(Role::App, &start)
}

/// The app's `invite`, running, and the line with the code. It is not one of the system's programs, so that others can
/// be asked meanwhile.
fn invite(system: &mut System, png: &str) -> Outcome<(Process, Line)> {
    let png = system.path(png).display().to_string();
    let words = words_of(system, "app", &["invite", "--png", &png, "--json"]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let board = Arc::clone(system.board());
    let log = system.path("invite.log");
    let process = Process::start(Role::App, &Start::with(&words), &board, &log)?;
    let number = process.number();
    let line = system.until("a code to pass on", PATIENCE, move |system| {
        let wanted = |line: &Line| line.process == number && line.event() == "offer";
        Ok(system.board().find(0, wanted))
    })?;
    Ok((process, line))
}

#[test]
fn a_phone_passes_a_code_on_and_both_and_the_hub_say_who_was_added_by_whom() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let first = only_phone(&mut system)?;
    let (mut process, offer) = invite(&mut system, "code.png")?;
    assert!(system.path("code.png").exists());
    let paired = ask_phone(
        &mut system,
        "app2",
        &["pair", "-", "--json"],
        offer.text("qr"),
    )?;
    assert_eq!(paired.code(), 0, "{}", paired.said);
    let status = process.wait(PATIENCE)?;
    assert!(status.success(), "{}", process.said());
    assert!(
        !system.path("code.png").exists(),
        "the picture goes with it"
    );

    let names = phones(&mut system)?;
    assert_eq!(names.len(), 2, "{names:?}");
    let listed = ask_hub(&mut system, &["phones"])?;
    let rows = listed["phones"].as_array().cloned().unwrap_or_default();
    for row in &rows {
        let by = match row["phone"] == first.as_str() {
            true => Value::Null,
            false => Value::from(first.as_str()),
        };
        assert_eq!(row["added_by"], by, "{listed}");
    }
    // The new one is told by whom; and the code is good for nobody else.
    let synced = ask_phone(&mut system, "app2", &["sync", "--json"], "")?;
    assert_eq!(synced.code(), 0, "{}", synced.said);
    let told = |line: &&Value| line["event"] == "phone_added";
    let added = synced.lines.iter().find(told).cloned().unwrap_or_default();
    assert_eq!(added["is_this"], true, "{added}");
    let third = ask_phone(
        &mut system,
        "app3",
        &["pair", "-", "--json"],
        offer.text("qr"),
    )?;
    assert_ne!(third.code(), 0, "{}", third.said);

    // Who was added is removed as any other.
    let second = names.into_iter().find(|name| *name != first);
    let second = second.unwrap_or_default();
    let removed = ask_hub(&mut system, &["remove", &second, "--yes"])?;
    assert_eq!(removed["event"], "removed", "{removed}");
    assert_eq!(only_phone(&mut system)?, first);
    system.stop(Role::Hub)?;
    system.finish()
}

/// Whoever stole a phone and has a code from it has nothing once the phone is removed.
#[test]
fn a_code_of_a_phone_that_is_removed_lets_nobody_in() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let first = only_phone(&mut system)?;
    let (mut process, offer) = invite(&mut system, "code.png")?;
    let removed = ask_hub(&mut system, &["remove", &first, "--yes"])?;
    assert_eq!(removed["event"], "removed", "{removed}");
    let refused = ask_phone(
        &mut system,
        "app2",
        &["pair", "-", "--json"],
        offer.text("qr"),
    )?;
    assert_ne!(refused.code(), 0, "{}", refused.said);
    assert!(phones(&mut system)?.is_empty());
    process.kill();
    wait_until_the_relay_is_told(&mut system)?;
    system.stop(Role::Hub)?;
    system.finish()
}

/// What an owner sets at the hub holds for every phone, stolen ones too.
#[test]
fn a_hub_that_allows_no_codes_of_phones_makes_none() -> Outcome<()> {
    let mut system = System::paired(Setup {
        hub_extra: "\n[phones]\ninvite = false\n".into(),
        ..Setup::default()
    })?;
    system.start_hub()?;
    let refused = ask_phone(&mut system, "app", &["invite", "--json"], "")?;
    assert_eq!(refused.code(), 6, "{}", refused.said);
    assert!(refused.said.contains("allows no phone"), "{}", refused.said);
    assert_eq!(phones(&mut system)?.len(), 1);
    system.stop(Role::Hub)?;
    system.finish()
}

/// The hub is killed while the code is shown: the next one listens for it again.
#[test]
fn a_code_that_is_shown_outlives_the_hub_that_made_it() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_hub()?;
    let (mut process, offer) = invite(&mut system, "code.png")?;
    system.kill(Role::Hub)?;
    system.start_hub()?;
    let code = offer.text("qr").to_owned();
    system.until("the second phone is paired", PATIENCE, move |system| {
        let paired = ask_phone(system, "app2", &["pair", "-", "--json"], &code)?;
        system.remember(paired.said.clone());
        Ok((paired.code() == 0).then_some(()))
    })?;
    let status = process.wait(PATIENCE)?;
    assert!(status.success(), "{}", process.said());
    assert_eq!(phones(&mut system)?.len(), 2);
    system.stop(Role::Hub)?;
    system.finish()
}

/// The clips that are whole, in no order.
fn whole(clips: Vec<Clip>) -> BTreeSet<(String, u64, Option<String>)> {
    let clips = clips.into_iter().filter(|clip| clip.outcome == "complete");
    clips
        .map(|clip| (clip.id, clip.bytes, clip.sha256))
        .collect()
}

/// Goes to a relay with what `relay-code` has answered: the exit code, and what is said to a person.
fn move_phone(system: &mut System, code: &Value) -> Outcome<(i32, String)> {
    let relay = code["relay"].as_str().unwrap_or_default();
    let invitation = code["invitation"].as_str();
    let words: &[&str] = match invitation {
        Some(_) => &["relay", relay, "-", "--json"],
        None => &["relay", relay, "--json"],
    };
    let words = system.app_words(words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut start = Start::with(&words);
    start.input = invitation.unwrap_or_default().to_owned();
    let answer = system.ask_started(Role::App, &start)?;
    Ok((answer.code(), answer.said))
}

/// The old relay is gone with its key and with all that it held. What the phone had not got is in the hub's outbox, and
/// comes through the new one; so does the word by which the phone is shut out there when it is removed.
#[test]
fn a_relay_that_is_replaced_by_another_costs_nothing_that_was_accepted() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    let name = only_phone(&mut system)?;
    system.start_hub()?;
    let recorded = |system: &mut System, count: usize| {
        system.until("clips that nobody has fetched", PATIENCE, |system| {
            let status = system.hub_status()?;
            system.remember(format!("{status:?}"));
            let clips = whole(status.clips);
            Ok((clips.len() == count && !status.recording).then_some(clips))
        })
    };
    recorded(&mut system, 2)?;
    system.stop(Role::Hub)?;
    system.kill(Role::Relay)?;
    system.replace_relay()?;
    // What is recorded from here on has never been at the old one.
    system.start_hub()?;
    let expected = recorded(&mut system, 4)?;

    let code = ask_hub(&mut system, &["relay-code"])?;
    assert!(code["invitation"].is_string(), "{code}");
    let mut uninvited = code.clone();
    uninvited["invitation"] = Value::Null;
    let (refused, said) = move_phone(&mut system, &uninvited)?;
    assert_eq!(refused, 6, "{said}");
    assert!(said.contains("relay-code"), "{said}");
    // Asked for again it is the same code that counts, and that is not shown twice.
    let again = ask_hub(&mut system, &["relay-code", &name])?;
    assert!(again["invitation"].is_null(), "{again}");
    for _twice in 0..2 {
        let (moved, said) = move_phone(&mut system, &code)?;
        assert_eq!(moved, 0, "{said}");
    }
    system.until("all clips at the phone", PATIENCE, |system| {
        let (synced, said) = sync(system)?;
        let clips = system.app_clips()?;
        system.remember(format!("{synced} {said} {clips:?}"));
        Ok((whole(clips) == expected).then_some(()))
    })?;
    system.until("the phone's acks at the hub", PATIENCE, |system| {
        let status = system.hub_status()?;
        system.remember(format!("{status:?}"));
        let is_told = status.acked_through > 0 && status.standing == "good";
        Ok(is_told.then_some(()))
    })?;

    ask_hub(&mut system, &["remove", &name, "--yes"])?;
    wait_until_the_relay_is_told(&mut system)?;
    let (code, said) = sync(&mut system)?;
    assert_ne!(code, 0);
    assert!(said.contains("removed"), "{said}");
    system.stop(Role::Hub)?;
    system.finish()
}
