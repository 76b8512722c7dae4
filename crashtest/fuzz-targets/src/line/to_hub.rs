//! A hub that listens to its phone.

use journal::fuzzing::{self, Inside};
use journal::ids::{Channel, Epoch, Line};
use journal::{Committer, Received, Session, Takes};
use wal::SeededDice;
use wire::ids::Seq;

use super::{NOTHING, damaged, is_body};
use crate::input::Input;
use crate::pair::{NOW_MS, Pair, Said};

/// One line of the hub, and what its phone may honestly say next.
struct Listening {
    session: Session<Committer>,
    next: Seq,
    /// Under the wrap of the next envelope.
    samples: Vec<Inside>,
    /// The next envelope as it was sent.
    honest: Said,
    /// The one after it.
    follows: Said,
    epoch: Epoch,
    exporter: Vec<u8>,
}

/// A paired hub with two of its lines.
pub(super) struct Stage {
    pair: Pair,
    lines: [Listening; 2],
}

impl Stage {
    pub(super) fn new() -> Self {
        let mut pair = Pair::new();
        let lines = [Channel::EventVideo, Channel::Config]
            .map(|channel| Listening::new(&mut pair, channel));
        Self { pair, lines }
    }

    pub(super) fn mls(&mut self, data: &[u8]) {
        let mut input = Input::new(data);
        let which = input.below(self.lines.len());
        let takes = match input.flag() {
            true => Takes::Messages,
            false => Takes::MessagesAndProposals,
        };
        let of = &self.lines[which];
        let content = damaged(&of.samples, &mut input);
        let honest = of.samples.iter().any(|sample| sample.content == content);
        let inside = Inside {
            statement: false,
            held: NOTHING,
            content,
        };
        let line = of.session.line();
        let envelope = fuzzing::wrap(&self.pair.app, line, of.next, &inside, &mut SeededDice(5))
            .expect("a paired app wraps");
        match self.hear(which, &envelope, takes) {
            Received::Message(_) | Received::Healed(_) => {
                assert!(honest, "a damaged MLS message was accepted");
            }
            Received::Waits => assert_eq!(takes, Takes::Messages),
            Received::Refused(_) | Received::NotHealed(_) | Received::Stale => assert!(!honest),
            other => panic!("{other:?} of an MLS message to a hub"),
        }
    }

    pub(super) fn envelope(&mut self, mut input: Input<'_>) {
        let which = input.below(self.lines.len());
        let honest = self.lines[which].honest.1.clone();
        let mut envelope = match input.flag() {
            true => Vec::new(),
            false => honest.clone(),
        };
        input.edit(&mut envelope);
        let received = self.hear(which, &envelope, Takes::MessagesAndProposals);
        let taken = matches!(received, Received::Message(_));
        assert_eq!(taken, envelope == honest, "{received:?}");
        assert!(taken || matches!(received, Received::NotAuthentic));
    }

    pub(super) fn wrap_body(&mut self, mut input: Input<'_>) {
        let which = input.below(self.lines.len());
        let of = &self.lines[which];
        let (line, next) = (of.session.line(), of.next);
        let body = &fuzzing::padded(input.rest());
        let envelope = fuzzing::wrap_body(&self.pair.app, line, next, body, &mut SeededDice(6))
            .expect("a paired app wraps");
        let received = self.hear(which, &envelope, Takes::MessagesAndProposals);
        let authentic = !matches!(received, Received::NotAuthentic);
        assert_eq!(authentic, is_body(body), "{received:?}");
        assert!(!matches!(
            received,
            Received::Message(_) | Received::Healed(_) | Received::Dropped(_)
        ));
    }

    /// Hears one envelope and, unless that ended the line or waits, the honest one that follows.
    fn hear(&mut self, which: usize, envelope: &[u8], takes: Takes) -> Received {
        let Listening {
            session,
            next,
            follows,
            epoch,
            exporter,
            ..
        } = &mut self.lines[which];
        let mut txn = self.pair.hub.begin();
        let arrived = session.receive(&mut txn, *next, envelope, takes);
        let received = arrived
            .expect("bytes from outside are no error of ours")
            .received;
        let healed = matches!(received, Received::Healed(_));
        // Whoever proposes is mute until a Commit, so what is refused costs one that takes nothing.
        let freed = matches!(received, Received::NotHealed(_));
        let over = matches!(received, Received::RolledBack(_) | Received::LineBroken(_));
        let now = session.epoch(&mut txn).expect("the group loads");
        if healed || freed {
            assert_eq!(now, Epoch(epoch.0 + 1), "it costs one Commit");
        } else if !over {
            assert_eq!(now, *epoch);
            let secret = session.exporter(&mut txn).expect("the group loads");
            assert_eq!(secret, *exporter, "the group's secrets have moved");
        }
        let consumed = matches!(
            received,
            Received::Cover | Received::Refused(_) | Received::Stale | Received::Message(_)
        );
        if consumed || freed {
            let (seq, follows) = follows;
            let takes = Takes::MessagesAndProposals;
            let after = session.receive(&mut txn, *seq, follows, takes);
            let after = after.expect("an honest envelope is no error").received;
            // Behind a Commit it is of an epoch that is over, and its sender says it again.
            let understood = match freed {
                true => matches!(after, Received::Stale),
                false => matches!(after, Received::Message(_)),
            };
            assert!(understood, "{after:?}: wedged");
        }
        drop(txn);
        let mut txn = self.pair.hub.begin();
        let same = session.epoch(&mut txn).expect("the group loads");
        assert_eq!(same, *epoch, "a dropped transaction was not rolled back");
        received
    }
}

impl Listening {
    fn new(pair: &mut Pair, channel: Channel) -> Self {
        let line = Line::of(pair.pairing, channel);
        let acks = pair.app_says(
            line,
            &[
                |session, txn| session.send_ack(txn).map(drop),
                |session, txn| session.send_ack(txn).map(drop),
            ],
        );
        let [honest, follows] = <[Said; 2]>::try_from(acks).expect("two acks are two envelopes");
        let mut others = pair.app_says(
            line,
            &[|session, txn| session.propose_update(txn, 1, NOW_MS).map(drop)],
        );
        if channel == Channel::Config {
            others.extend(pair.app_says(
                line,
                &[|session, txn| session.send_heartbeat(txn, 1, NOW_MS).map(drop)],
            ));
        }
        let mut samples = vec![pair.inside_at_hub(line, &honest)];
        samples.extend(others.iter().map(|said| pair.inside_at_hub(line, said)));
        let mut session = Session::<Committer>::new(line);
        let mut txn = pair.hub.begin();
        let epoch = session.epoch(&mut txn).expect("the group loads");
        let exporter = session.exporter(&mut txn).expect("the group loads");
        drop(txn);
        Self {
            next: honest.0,
            session,
            samples,
            honest,
            follows,
            epoch,
            exporter,
        }
    }
}
