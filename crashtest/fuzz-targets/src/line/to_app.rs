//! A phone that listens to its hub, in the middle of a clip.

use journal::fuzzing::{self, Inside};
use journal::ids::{Channel, Epoch, Line};
use journal::{Committer, Follower, Session, Taken};
use wal::SeededDice;
use wire::ids::Seq;

use super::{NOTHING, damaged, is_body};
use crate::input::Input;
use crate::pair::{NOW_MS, Pair, Said, outgoing};

/// A paired app that has the beginning of a clip.
pub(super) struct Stage {
    pair: Pair,
    session: Session<Follower>,
    next: Seq,
    /// Under the wrap of the next envelope: a chunk, or the Commit of a hub that has started again.
    samples: Vec<Inside>,
    honest: Said,
    follows: Said,
    epoch: Epoch,
    exporter: Vec<u8>,
}

/// What each of the two honest chunks holds.
const CLIP_BYTES: &[u8] = b"bytes of a clip";

impl Stage {
    pub(super) fn new() -> Self {
        let mut pair = Pair::new();
        let line = Line::of(pair.pairing, Channel::EventVideo);
        let mut hub = Session::<Committer>::new(line);
        let mut txn = pair.hub.begin();
        let clip = hub.start_clip(&mut txn, "door", "video/mp4", NOW_MS);
        let clip = clip.expect("a hub that is paired records");
        drop(txn.commit(()).expect("our own storage"));
        let begun = outgoing(&pair.hub, line, Seq::NONE);
        let mut session = Session::<Follower>::new(line);
        for (seq, envelope) in &begun {
            let mut txn = pair.app.begin();
            let taken = session.take(&mut txn, *seq, envelope, NOW_MS);
            assert!(!matches!(taken, Ok(Taken::Nothing(_)) | Err(_)));
            drop(txn.commit(()).expect("our own storage"));
        }
        // A hub that starts again must open an epoch; this one goes on in its own.
        let commit = pair.hub_says(line, &[|session, txn| session.advance_epoch(txn).map(drop)]);
        for _ in 0..2 {
            let mut txn = pair.hub.begin();
            let seq = hub.append_chunk(&mut txn, clip, CLIP_BYTES, NOW_MS);
            seq.expect("a hub that records appends");
            drop(txn.commit(()).expect("our own storage"));
        }
        let cursor = pair.app.inbox_head(line).expect("our own storage").cursor;
        let chunks = outgoing(&pair.hub, line, cursor);
        let [honest, follows] = <[Said; 2]>::try_from(chunks).expect("two chunks");
        let mut samples = vec![pair.inside_at_app(line, &honest)];
        samples.extend(commit.iter().map(|said| pair.inside_at_app(line, said)));
        let mut txn = pair.app.begin();
        let epoch = session.epoch(&mut txn).expect("the group loads");
        let exporter = session.exporter(&mut txn).expect("the group loads");
        drop(txn);
        Self {
            next: honest.0,
            pair,
            session,
            samples,
            honest,
            follows,
            epoch,
            exporter,
        }
    }

    pub(super) fn mls(&mut self, data: &[u8]) {
        let mut input = Input::new(data);
        let content = damaged(&self.samples, &mut input);
        let honest = self.samples.iter().any(|sample| sample.content == content);
        let inside = Inside {
            statement: false,
            held: NOTHING,
            content,
        };
        let line = self.session.line();
        let envelope = fuzzing::wrap(&self.pair.hub, line, self.next, &inside, &mut SeededDice(5))
            .expect("a paired hub wraps");
        match self.hear(&envelope) {
            Taken::NewEpoch(_) | Taken::Media { .. } => {
                assert!(honest, "a damaged MLS message was accepted");
            }
            Taken::Nothing(_) | Taken::LineBroken => assert!(!honest),
            other => panic!("{other:?} of an MLS message to an app"),
        }
    }

    pub(super) fn envelope(&mut self, mut input: Input<'_>) {
        let mut envelope = match input.flag() {
            true => Vec::new(),
            false => self.honest.1.clone(),
        };
        input.edit(&mut envelope);
        let taken = self.hear(&envelope);
        let media = matches!(taken, Taken::Media { .. });
        assert_eq!(media, envelope == self.honest.1, "{taken:?}");
        assert!(media || taken == Taken::NotAuthentic);
    }

    pub(super) fn wrap_body(&mut self, mut input: Input<'_>) {
        let (line, body) = (self.session.line(), fuzzing::padded(input.rest()));
        let dice = &mut SeededDice(6);
        let envelope = fuzzing::wrap_body(&self.pair.hub, line, self.next, &body, dice)
            .expect("a paired hub wraps");
        let taken = self.hear(&envelope);
        assert_eq!(taken != Taken::NotAuthentic, is_body(&body), "{taken:?}");
        let without_effect = matches!(
            taken,
            Taken::NotAuthentic
                | Taken::Cover
                | Taken::Nothing(_)
                | Taken::LineBroken
                | Taken::RolledBack
        );
        assert!(without_effect, "{taken:?}");
    }

    /// Hears one envelope and, if it had no effect, the honest one that follows.
    fn hear(&mut self, envelope: &[u8]) -> Taken {
        let mut txn = self.pair.app.begin();
        let taken = self
            .session
            .take(&mut txn, self.next, envelope, NOW_MS)
            .expect("bytes from outside are no error of ours");
        let session = &mut self.session;
        if matches!(
            taken,
            Taken::Cover | Taken::Nothing(_) | Taken::NotAuthentic
        ) {
            let epoch = session.epoch(&mut txn).expect("the group loads");
            let exporter = session.exporter(&mut txn).expect("the group loads");
            assert_eq!((epoch, &exporter), (self.epoch, &self.exporter));
        }
        if matches!(taken, Taken::Cover | Taken::Nothing(_)) {
            let (seq, follows) = &self.follows;
            let after = session.take(&mut txn, *seq, follows, NOW_MS);
            let after = after.expect("an honest envelope is no error");
            // It is of a clip with a hole now, and has no effect for that; but it was understood.
            let wedged = matches!(
                after,
                Taken::Gap { .. } | Taken::NotAuthentic | Taken::LineBroken | Taken::RolledBack
            );
            assert!(!wedged, "{after:?}");
        }
        drop(txn);
        let mut txn = self.pair.app.begin();
        let same = session.epoch(&mut txn).expect("the group loads");
        assert_eq!(
            same, self.epoch,
            "a dropped transaction was not rolled back"
        );
        taken
    }
}
