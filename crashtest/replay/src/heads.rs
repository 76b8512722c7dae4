//! What must be the same in all states of one story: the outbox's head decides the epoch (C5).
//!
//! A Commit and its outbox row are one transaction, so two states with the same head have the same
//! epoch, and a higher head has no lower one. This room remembers; it never opens anything.

use std::collections::BTreeMap;

use crashtest::process::Role;

use crate::check::Facts;

/// The epoch for each head of each outbox, as far as states have shown it.
#[derive(Clone, Debug, Default)]
pub struct Heads {
    /// By mailbox and head.
    pub(crate) epochs: BTreeMap<(String, u64), u64>,
}

impl Heads {
    /// What in the facts of one more state contradicts those before, one sentence each.
    pub fn judge(&mut self, role: Option<Role>, facts: &Facts) -> Vec<String> {
        let mut why = Vec::new();
        if role != Some(Role::Hub) {
            return why;
        }
        for line in &facts.lines {
            let Some(epoch) = line.epoch else { continue };
            let last = line.last;
            let known = self
                .epochs
                .entry((line.send.clone(), last))
                .or_insert(epoch);
            if *known != epoch {
                why.push(format!(
                    "the outbox ends with {last} in epoch {epoch}, and in another state in {known}"
                ));
            }
            let name = |last| (line.send.clone(), last);
            let below = self.epochs.range(name(0)..name(last)).next_back();
            if let Some(((_, lower), before)) = below
                && *before > epoch
            {
                why.push(format!(
                    "epoch {before} with {lower} in the outbox, but only {epoch} with {last}"
                ));
            }
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::LineFacts;

    #[test]
    fn one_head_has_one_epoch_and_a_higher_one_no_lower() {
        let facts = |last, epoch| Facts {
            lines: vec![LineFacts {
                last,
                epoch: Some(epoch),
                ..LineFacts::default()
            }],
            ..Facts::default()
        };
        let mut heads = Heads::default();
        let hub = Some(Role::Hub);
        assert!(heads.judge(hub, &facts(3, 2)).is_empty());
        assert!(heads.judge(hub, &facts(3, 2)).is_empty());
        assert!(heads.judge(hub, &facts(5, 2)).is_empty());
        assert_eq!(heads.judge(hub, &facts(3, 1)).len(), 1);
        assert_eq!(heads.judge(hub, &facts(6, 1)).len(), 1);
        // The app commits nothing.
        assert!(heads.judge(Some(Role::App), &facts(3, 1)).is_empty());
    }
}
