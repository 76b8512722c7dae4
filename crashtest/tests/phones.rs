//! A lost phone, with real processes: removed by its owner, shut out by the relay, and paired again.

use crashtest::process::{Role, Start};
use crashtest::system::{PATIENCE, Setup, System};
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
