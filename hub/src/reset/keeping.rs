//! `reset --keep-clips`: no phone is paired any more, and what was retained for them waits for a new one.
//!
//! It removes each phone as `remove` does, in the running hub or in its journal: groups, keys, and all that
//! waited for it, in one transaction each. The device keeps its secret and its place at the relay. It must
//! never erase what is retained, and never say that it keeps something where nothing is.

use serde_json::{Value, json};

use super::Consent;
use crate::cli::failure_in;
use crate::config::{Config, Retain};
use crate::exit::{Code, Failure};
use crate::output::Format;
use crate::phones::{self, Question};

/// The command. Interrupted, it has removed some phones; again, it removes the rest.
///
/// # Errors
/// [`Code::Usage`] without consent, or where nothing is retained; else as `remove`.
pub async fn run_keeping(config: &Config, consent: Consent, format: Format) -> Result<(), Failure> {
    if config.retain == Retain::Nothing {
        let what = "nothing is retained (`[privacy] retain`), so no clip could be kept; leave out --keep-clips, or remove single phones with `secluso-hub remove`";
        return Err(Failure::new(Code::Usage, what));
    }
    let names = names(&answer(config, &Question::List).await?);
    if consent == Consent::Missing && !names.is_empty() {
        let what = format!(
            "this removes {} phones with their keys and all that waits for them; what is retained stays for a new one. Add --yes to do it",
            names.len()
        );
        return Err(Failure::new(Code::Usage, what));
    }
    let removed = names.len();
    for name in names {
        answer(config, &Question::Remove(name)).await?;
    }
    let json = json!({"event": "reset", "keeps_clips": true, "phones_removed": removed});
    let text = format!(
        "removed {removed} phones; what is retained stays. Pair a new phone, then see `secluso-hub retained`"
    );
    format.line(&json, &text);
    Ok(())
}

async fn answer(config: &Config, question: &Question) -> Result<Value, Failure> {
    let answer = phones::ask(config, question).await?;
    failure_in(&answer).map_or(Ok(answer), Err)
}

/// The names of all phones, also of those whose rows cannot be read.
fn names(listed: &Value) -> Vec<String> {
    let phones = listed["phones"].as_array().into_iter().flatten();
    let names = phones.filter_map(|phone| phone["phone"].as_str());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(place: &Path, more: &str) -> Config {
        let relay = wire::RelayId([7; 32]).to_text();
        let text = format!("state_dir = \"state\"\nrelay = \"127.0.0.1:1/{relay}\"\n{more}");
        Config::parse(&text, "hub.toml", place).unwrap()
    }

    #[test]
    fn every_phone_is_named_also_an_unreadable_one() {
        let listed = json!({"event": "phones", "phones": [
            {"phone": "aabbccdd", "epoch": 3}, {"phone": "11223344", "unreadable": true},
        ]});
        assert_eq!(names(&listed), ["aabbccdd", "11223344"]);
        assert!(names(&json!({"event": "failed"})).is_empty());
    }

    #[tokio::test]
    async fn where_nothing_is_retained_nothing_is_said_to_be_kept() {
        let place = tempfile::tempdir().unwrap();
        let config = config(place.path(), "");
        for consent in [Consent::Given, Consent::Missing] {
            let refused = run_keeping(&config, consent, Format::Json).await;
            let failure = refused.unwrap_err();
            assert_eq!(failure.code, Code::Usage);
            assert!(failure.message.contains("nothing is retained"), "{failure}");
        }
        assert!(!config.state_dir.exists(), "nothing was opened");
    }

    #[tokio::test]
    async fn a_hub_without_phones_has_none_to_remove() {
        let place = tempfile::tempdir().unwrap();
        let config = config(place.path(), "[privacy]\nretain = \"until-acked\"\n");
        for consent in [Consent::Missing, Consent::Given] {
            run_keeping(&config, consent, Format::Json).await.unwrap();
        }
    }
}
