//! Which words need a sync: those that speak of something that is there with it and not without it.
//!
//! Who takes a sync out of a recording, to see whether a sweep notices, has to know for which of them that can matter
//! at all. Behind most leaves what they made durable; behind others what an earlier one had covered, and what had to
//! wait for its turn or is said again, or words that speak of nothing that is stored; and some cover only zeros, or
//! what nobody is told of. This room compares what two starts found, and knows only whether a thing is there. It must
//! never ask the judge ([`crate::check::Subject::unexplained`]), which is what is being tried.

use crate::check::Facts;

/// Whether what these words speak of was found by a start `with` a sync, and by none `without` it.
#[must_use]
pub fn need(words: &str, without: &Facts, with: &Facts) -> bool {
    is_there(words, with) && !is_there(words, without)
}

/// Whether what they speak of is there; never so if they speak of nothing that is stored.
fn is_there(words: &str, facts: &Facts) -> bool {
    let mut words = words.split(' ');
    let (Some(kind), Some(name)) = (words.next(), words.next()) else {
        return false;
    };
    if kind == "paired" {
        return facts.lines.iter().any(|line| line.pairing == name);
    }
    let Some(number) = words.next().and_then(|number| number.parse::<u64>().ok()) else {
        return false;
    };
    let mut lines = facts.lines.iter();
    match kind {
        // One that is acked is gone, and was there.
        "envelope" => lines.any(|line| {
            let is_kept = number <= line.acked || line.outbox.contains_key(&number);
            line.send == name && number <= line.last && is_kept
        }),
        "trim" => lines.any(|line| line.receive == name && number <= line.cursor),
        "receipt" => facts.mailboxes.get(name).is_some_and(|mailbox| {
            number <= mailbox.trimmed || mailbox.stored.contains_key(&number)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use wire::ids::Digest;

    use super::*;
    use crate::check::{LineFacts, MailboxFacts};

    /// A line on which three envelopes were made, of which one is acked, and two were read.
    fn facts() -> Facts {
        let line = LineFacts {
            pairing: "0f".into(),
            send: "ours".into(),
            receive: "theirs".into(),
            last: 3,
            acked: 1,
            cursor: 2,
            outbox: (2..=3).map(|number| (number, None)).collect(),
            ..LineFacts::default()
        };
        let mailbox = MailboxFacts {
            last: Some((6, Digest([6; 32]))),
            trimmed: 4,
            stored: (5..=6)
                .map(|number| (number, Digest([number as u8; 32])))
                .collect(),
        };
        Facts {
            lines: vec![line],
            mailboxes: [("box".to_owned(), mailbox)].into(),
            last_lsn: 9,
        }
    }

    #[test]
    fn words_need_a_sync_that_made_durable_what_they_speak_of() {
        let with = facts();
        // What each speaks of is new in these facts, compared with none.
        let new = [
            "envelope ours 1 aa",
            "envelope ours 2 aa",
            "envelope ours 3 aa",
            "trim theirs 2",
            "receipt box 4 aa",
            "receipt box 6 aa",
            "paired 0f",
        ];
        for words in new {
            assert!(need(words, &Facts::default(), &with), "{words}");
            // Late or again: an earlier sync had covered it.
            assert!(!need(words, &with, &with), "{words}");
            // Not there at all: no sync of ours made it durable.
            assert!(!need(words, &with, &Facts::default()), "{words}");
        }
        // The outbox went on by one, the cursor by two, the mailbox by one.
        let mut without = facts();
        without.lines[0].last = 2;
        without.lines[0].outbox.remove(&3);
        without.lines[0].cursor = 0;
        without.mailboxes.get_mut("box").unwrap().stored.remove(&6);
        for (words, needs) in [
            ("envelope ours 2 aa", false),
            ("envelope ours 3 aa", true),
            ("trim theirs 1", true),
            ("trim theirs 3", false),
            ("receipt box 5 aa", false),
            ("receipt box 6 aa", true),
            ("paired 0f", false),
        ] {
            assert_eq!(need(words, &without, &with), needs, "{words}");
        }
    }

    #[test]
    fn words_of_another_or_of_nothing_that_is_stored_need_no_sync() {
        for words in [
            "envelope theirs 3 aa",
            "envelope ours 4 aa",
            "trim ours 2",
            "trim theirs",
            "trim theirs many",
            "receipt ours 6 aa",
            "receipt box 7 aa",
            "paired 0e",
            "paired",
            "pairing request",
            "admitted",
            "deleting 0f",
            "durable 9",
            "",
        ] {
            assert!(!need(words, &Facts::default(), &facts()), "{words}");
        }
    }
}
