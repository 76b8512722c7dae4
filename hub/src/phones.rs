//! `phones` and `remove`: which phones this hub has, and the end of one, asked of a running hub or of the
//! journal itself if none runs.
//!
//! It must never remove a phone whose name fits two.

use std::time::Duration;

use journal::ids::PairingId;
use serde_json::{Value, json};

use crate::camera::{Clock as _, TokioClock};
use crate::config::Config;
use crate::control::{self, Request};
use crate::core::{Core, CoreStatus, LineStatus};
use crate::exit::{Code, Failure};
use crate::sealer::{self, Sealer, SealerError};
use crate::{reset, state, supervisor};

/// Fewest digits by which a phone may be named.
const NAME_DIGITS_MIN: usize = 4;
/// How long a running hub may take for its answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which phones there are.
    List,
    /// Remove the phone with this name: the first digits of its identifier.
    Remove(String),
}

/// Asks the running hub of this configuration, or its journal.
///
/// # Errors
/// One sentence and its code: [`Code::Usage`] if the name fits no phone, or several.
pub async fn ask(config: &Config, question: &Question) -> Result<Value, Failure> {
    if !control::is_running(&config.state_dir).await {
        return ask_journal(config, question).await;
    }
    let request = match question {
        Question::List => Request::Phones,
        Question::Remove(phone) => Request::Remove {
            phone: phone.clone(),
        },
    };
    let mut said = Value::Null;
    control::ask(&config.state_dir, request, PATIENCE, |value| said = value).await?;
    Ok(said)
}

/// Nobody else may have the journal meanwhile: it has a lock.
async fn ask_journal(config: &Config, question: &Question) -> Result<Value, Failure> {
    let clock = TokioClock::new();
    state::refuse_others(&config.state_dir, wal::private::user())?;
    state::prepare(&config.state_dir)?;
    if let Some(trigger) = reset::asked(config) {
        let what = format!(
            "{} asks for a reset, after which this hub has no phones; start the hub first",
            trigger.display()
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let core = Core::start(state::opener(config)?, config.silence, clock.unix_ms())?;
    let (sealer, thread) = sealer::start(core, clock).map_err(|error| {
        let what = format!("no thread for the journal: {error}");
        Failure::new(Code::Internal, what)
    })?;
    let answered = answer(&sealer, question).await;
    drop(sealer);
    supervisor::join(thread).await.and(answered)
}

/// Answers from the journal's thread.
///
/// # Errors
/// As [`ask`].
pub async fn answer(sealer: &Sealer, question: &Question) -> Result<Value, Failure> {
    let phone = match question {
        Question::List => {
            let asked =
                sealer.ask(|core, now| Ok((core.status()?, core.unreadable_phones()?, now)));
            let (status, unreadable, now_unix_ms) = asked.await?;
            return Ok(list(&status, &unreadable, now_unix_ms));
        }
        // Nothing of it need be readable for that.
        Question::Remove(name) => {
            let known = sealer.ask(|core, _now| core.pairing_ids()).await?;
            find(&known, name)?
        }
    };
    let remove = || sealer.run(move |core, now| core.remove_phone(phone, now));
    let mut removed = remove().await;
    let was_unsure = matches!(&removed, Err(SealerError::Core(error)) if error.is_open());
    if was_unsure {
        // It may have been removed then: asked again, nobody is there.
        removed = remove().await;
    }
    if !removed? && !was_unsure {
        let what = "no phone has finished pairing under this name; its code ends by itself";
        return Err(Failure::new(Code::Usage, what));
    }
    Ok(json!({"event": "removed", "phone": phone.short()}))
}

fn list(status: &CoreStatus, unreadable: &[PairingId], now_unix_ms: u64) -> Value {
    let added = |phone: PairingId| {
        status
            .added
            .phones
            .iter()
            .find(move |one| one.phone == phone)
    };
    let phone = |line: &LineStatus| {
        let heard = line.heard;
        json!({
            "phone": line.line.pairing.short(),
            "paired_unix_s": line.paired_unix_s,
            // By the hub's clock; null before the first heartbeat.
            "heard_s_ago": heard.map(|heard| now_unix_ms.saturating_sub(heard.unix_ms) / 1000),
            // For how long the hub has run since: what decides about silence.
            "unheard_s": line.unheard_ms / 1000,
            "silent": line.is_silent,
            "epoch": line.epoch,
            // The phone that passed the code on; null if it paired at this hub.
            "added_by": added(line.line.pairing).map(|one| one.by.short()),
        })
    };
    let rotten = |phone: &PairingId| json!({"phone": phone.short(), "unreadable": true});
    let phones = status.lines.iter().map(phone);
    let phones: Vec<Value> = phones.chain(unreadable.iter().map(rotten)).collect();
    json!({"event": "phones", "phones": phones})
}

/// The one phone whose identifier begins so. What was given is not said again: it may be the whole of it.
pub(crate) fn find(known: &[PairingId], name: &str) -> Result<PairingId, Failure> {
    let name = name.trim().to_ascii_lowercase();
    let usage = |what: String| Failure::new(Code::Usage, what);
    let is_name =
        name.len() >= NAME_DIGITS_MIN && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name {
        return Err(usage(format!(
            "a phone is named by at least {NAME_DIGITS_MIN} hexadecimal digits, as `secluso-hub phones` shows them"
        )));
    }
    let mut fitting = known
        .iter()
        .copied()
        .filter(|phone| phone.to_hex().starts_with(&name));
    match (fitting.next(), fitting.next()) {
        (Some(phone), None) => Ok(phone),
        (Some(_), Some(_)) => Err(usage(
            "several phones have a name that begins so; give more digits".into(),
        )),
        (None, _) => Err(usage(
            "no phone has a name that begins so; `secluso-hub phones` shows those that there are"
                .into(),
        )),
    }
}

/// An answer for people.
pub fn to_text(answer: &Value) -> String {
    if answer["event"] == "removed" {
        return format!(
            "phone {} is removed with all its keys. The relay is told as soon as a running hub reaches it",
            answer["phone"].as_str().unwrap_or_default()
        );
    }
    let phones = answer["phones"].as_array();
    let phones = phones.map(Vec::as_slice).unwrap_or_default();
    if phones.is_empty() {
        return "no phone is paired; run `secluso-hub pair`".into();
    }
    let line = |phone: &Value| {
        if phone["unreadable"] == true {
            let name = phone["phone"].as_str().unwrap_or_default();
            return format!("phone {name}: what is stored of it cannot be read; remove it");
        }
        let heard = match phone["heard_s_ago"].as_u64() {
            Some(seconds) => format!("last heartbeat {seconds} s ago"),
            None => "no heartbeat yet".into(),
        };
        let silent = match phone["silent"] == true {
            true => ", silent: it gets nothing new",
            false => "",
        };
        let added = match phone["added_by"].as_str() {
            Some(by) => format!(", by a code that phone {by} passed on"),
            None => String::new(),
        };
        format!(
            "phone {}: paired at {} (seconds since 1970){added}, {heard}, epoch {}{silent}",
            phone["phone"].as_str().unwrap_or_default(),
            phone["paired_unix_s"],
            phone["epoch"],
        )
    };
    phones.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use journal::ids::Channel;

    use super::*;
    use crate::core::tests::world::{HandClock, World};

    #[tokio::test]
    async fn a_phone_is_listed_by_a_short_name_and_removed_by_it() {
        let (sealer, thread) = sealer::start(World::paired().core, HandClock::default()).unwrap();
        let listed = answer(&sealer, &Question::List).await.unwrap();
        let phones = listed["phones"].as_array().unwrap();
        assert_eq!(phones.len(), 1);
        let name = phones[0]["phone"].as_str().unwrap().to_owned();
        assert_eq!(name.len(), 8);
        assert_eq!(phones[0]["silent"], false);
        assert!(to_text(&listed).contains(&name));

        for wrong in ["", "abc", "zzzz", "0123456789abcdef0123456789abcdef0"] {
            let question = Question::Remove(wrong.into());
            let failure = answer(&sealer, &question).await.unwrap_err();
            assert_eq!(failure.code, Code::Usage, "{wrong}");
        }
        let question = Question::Remove(name.to_uppercase());
        let removed = answer(&sealer, &question).await.unwrap();
        assert_eq!(removed["event"], "removed");
        assert!(to_text(&removed).contains(&name));
        let listed = answer(&sealer, &Question::List).await.unwrap();
        assert!(to_text(&listed).contains("secluso-hub pair"));
        let failure = answer(&sealer, &question).await.unwrap_err();
        assert_eq!(failure.code, Code::Usage, "it is gone");
        drop(sealer);
        supervisor::join(thread).await.unwrap();
    }

    /// It is listed by its name, and goes by it.
    #[tokio::test]
    async fn a_phone_whose_group_is_gone_is_removed_by_its_name() {
        let mut world = World::paired();
        world.lose_group(Channel::EventVideo);
        let name = world.line.pairing.short();
        let (sealer, thread) = sealer::start(world.core, HandClock::default()).unwrap();
        let listed = answer(&sealer, &Question::List).await.unwrap();
        assert_eq!(listed["phones"][0]["phone"], name.as_str());
        let question = Question::Remove(name.clone());
        let removed = answer(&sealer, &question).await.unwrap();
        assert_eq!(removed["phone"], name.as_str());
        let left = sealer.run(|core, _now| core.pairing_ids()).await.unwrap();
        assert!(left.is_empty());
        drop(sealer);
        supervisor::join(thread).await.unwrap();
    }

    #[tokio::test]
    async fn a_phone_of_which_nothing_can_be_read_is_listed_to_be_removed() {
        let mut world = World::paired();
        world.core.unreadable = Some(world.line.pairing);
        world.core.refresh_lines().unwrap();
        let name = world.line.pairing.short();
        let (sealer, thread) = sealer::start(world.core, HandClock::default()).unwrap();
        let listed = answer(&sealer, &Question::List).await.unwrap();
        assert_eq!(listed["phones"][0]["unreadable"], true);
        assert!(to_text(&listed).contains(&name));
        drop(sealer);
        supervisor::join(thread).await.unwrap();
    }

    /// What is about to be erased, or half erased, is not opened before that.
    #[tokio::test]
    async fn nobody_is_asked_for_while_a_reset_is_owed() {
        let dir = tempfile::tempdir().unwrap();
        let relay = format!("127.0.0.1:1/{}", wire::RelayId([7; 32]).to_text());
        let text = format!("state_dir = \"state\"\nrelay = \"{relay}\"\n");
        let config = Config::parse(&text, "hub.toml", dir.path()).unwrap();
        state::prepare(&config.state_dir).unwrap();
        std::fs::write(config.state_dir.join("reset"), []).unwrap();
        for question in [Question::List, Question::Remove("abcd".into())] {
            let failure = ask(&config, &question).await.unwrap_err();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains("reset"), "{failure}");
        }
        let left = std::fs::read_dir(&config.state_dir).unwrap().count();
        assert_eq!(left, 1, "the trigger alone");
    }

    #[test]
    fn a_name_that_fits_two_phones_removes_none() {
        let phone = PairingId([0x1a; 16]);
        let mut like = phone;
        like.0[15] = 0;
        let twice = [phone, like];
        let name = phone.short();
        assert_eq!(find(&twice, &name).unwrap_err().code, Code::Usage);
        assert_eq!(find(&twice[..1], &name).unwrap(), phone);
        assert_eq!(find(&twice, &phone.to_hex()).unwrap(), phone);
        // Nor is what is unknown said again in whole.
        let unknown = PairingId([0x2b; 16]).to_hex();
        let failure = find(&twice, &unknown).unwrap_err();
        assert_eq!(failure.code, Code::Usage);
        assert!(!failure.message.contains(&unknown), "{failure}");
    }
}
