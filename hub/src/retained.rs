//! `retained`: what the hub keeps for phones that have not acked it, and what its owner wants of that. What it
//! means is the core's; this room reads words and writes answers.

use std::collections::{BTreeMap, BTreeSet};

use journal::ids::PairingId;
use serde_json::{Value, json};

use crate::control::Request;
use crate::core::{Core, CoreError};
use crate::exit::Failure;
use crate::phones::find;
use crate::sealer::Sealer;

/// What to ask the running hub: to play what was retained for the first phone to the second, to forget what was
/// for one, or what there is. Which phones these names are the hub says.
pub fn request(play: Option<(&str, &str)>, forget: Option<&str>) -> Request {
    match (play, forget) {
        (Some((from, to)), _) => Request::Play {
            to: to.to_owned(),
            from: from.to_owned(),
        },
        (None, Some(phone)) => Request::Forget {
            phone: phone.to_owned(),
        },
        (None, None) => Request::Retained,
    }
}

/// The phone that begins so, of those that are paired and those for which something is retained.
async fn named(sealer: &Sealer, name: &str) -> Result<PairingId, Failure> {
    let known = |core: &mut Core, _now: u64| {
        let mut known: BTreeSet<PairingId> = core.pairing_ids()?.into_iter().collect();
        known.extend(core.retained()?.iter().map(|clip| clip.pairing));
        Ok::<_, CoreError>(known.into_iter().collect::<Vec<_>>())
    };
    find(&sealer.ask(known).await?, name)
}

/// What is retained, by phone.
///
/// # Errors
/// The journal's.
pub(crate) async fn list(sealer: &Sealer) -> Result<Value, Failure> {
    let read = |core: &mut Core, _now: u64| {
        let mut phones: BTreeMap<PairingId, (u64, u64, bool)> = BTreeMap::new();
        for clip in core.retained()? {
            let may_ack = core.may_ack(clip.pairing)?;
            let (count, chunks, _) = phones.entry(clip.pairing).or_insert((0, 0, may_ack));
            *count += 1;
            *chunks += u64::from(clip.chunks);
        }
        Ok::<_, CoreError>(phones)
    };
    let phones: Vec<Value> = sealer
        .ask(read)
        .await?
        .into_iter()
        .map(|(phone, (clips, chunks, may_ack))| {
            json!({"phone": phone.short(), "clips": clips, "chunks": chunks, "may_ack": may_ack})
        })
        .collect();
    Ok(json!({"event": "retained", "phones": phones}))
}

/// Notes that phone `to` gets what was retained for `from`.
///
/// # Errors
/// The journal's; [`crate::exit::Code::Usage`] if there are no such phones.
pub(crate) async fn play(sealer: &Sealer, to: &str, from: &str) -> Result<Value, Failure> {
    let (to, from) = (named(sealer, to).await?, named(sealer, from).await?);
    let clips = sealer.run(move |core, now| core.handle_play(to, from, now));
    Ok(json!({"event": "playing", "clips": clips.await?}))
}

/// Erases what is retained for a phone.
///
/// # Errors
/// As [`play`].
pub(crate) async fn forget(sealer: &Sealer, phone: &str) -> Result<Value, Failure> {
    let phone = named(sealer, phone).await?;
    let mut clips = 0;
    // In jobs, so that a recording goes on between them.
    loop {
        let step = sealer.run(move |core, now| core.handle_forget(phone, now));
        match step.await? {
            0 => break,
            ended => clips += ended,
        }
    }
    Ok(json!({"event": "forgotten", "clips": clips}))
}

/// An answer for people.
pub fn to_text(answer: &Value) -> String {
    let clips = &answer["clips"];
    match answer["event"].as_str() {
        Some("playing") => format!("{clips} clips are played to that phone, one after another"),
        Some("forgotten") => format!("{clips} copies are erased"),
        _ => {
            let phones = answer["phones"].as_array();
            let lines: Vec<String> = phones
                .into_iter()
                .flatten()
                .map(|row| {
                    let phone = row["phone"].as_str().unwrap_or_default();
                    let why = match row["may_ack"].as_bool() {
                        Some(false) => ", and it never can: play them to another, or forget them",
                        _ => "",
                    };
                    format!("phone {phone}: {} clips not acked{why}", row["clips"])
                })
                .collect();
            match lines.is_empty() {
                true => "nothing is retained".into(),
                false => lines.join("\n"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_follows_the_words() {
        assert_eq!(request(None, None), Request::Retained);
        let play = request(Some(("01ab", "02cd")), None);
        let (to, from) = ("02cd".to_owned(), "01ab".to_owned());
        assert_eq!(play, Request::Play { to, from });
        let forget = request(None, Some("01ab"));
        let phone = "01ab".to_owned();
        assert_eq!(forget, Request::Forget { phone });
        // As it goes over the socket.
        for asked in [play, forget] {
            let text = serde_json::to_string(&asked).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&text).unwrap(), asked);
        }
    }

    #[test]
    fn an_answer_names_each_phone() {
        let phones = json!([{"phone": "ab", "clips": 2, "chunks": 5}]);
        let text = to_text(&json!({"event": "retained", "phones": phones}));
        assert_eq!(text, "phone ab: 2 clips not acked");
        let phones = json!([{"phone": "ab", "clips": 2, "chunks": 5, "may_ack": false}]);
        let text = to_text(&json!({"event": "retained", "phones": phones}));
        assert!(text.contains("never can"), "{text}");
        assert_eq!(
            to_text(&json!({"event": "retained", "phones": []})),
            "nothing is retained"
        );
        let text = to_text(&json!({"event": "playing", "clips": 3}));
        assert!(text.starts_with("3 clips"), "{text}");
    }
}
