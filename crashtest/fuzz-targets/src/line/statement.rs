//! Statements about clips that are no more: signed by the hub, or altered behind its back.

use std::cell::RefCell;

use journal::fuzzing::{self, Inside};
use journal::ids::{Channel, ClipId, Line};
use journal::message::{self, DropReason, SignedStatement, Statement};
use journal::{Committer, Follower, Session, Taken};
use wal::SeededDice;
use wire::ids::Seq;

use super::NOTHING;
use crate::input::Input;
use crate::pair::{NOW_MS, Pair};

thread_local! {
    static STAGE: RefCell<Stage> = RefCell::new(Stage::new());
}

struct Stage {
    pair: Pair,
    hub: Session<Committer>,
    app: Session<Follower>,
}

impl Stage {
    fn new() -> Self {
        let pair = Pair::new();
        let line = Line::of(pair.pairing, Channel::EventVideo);
        Self {
            pair,
            hub: Session::new(line),
            app: Session::new(line),
        }
    }
}

/// The cursor passes a gap by a statement alone that is signed, of this channel, at its own place, and
/// covers what is missing.
pub(crate) fn statement(data: &[u8]) {
    STAGE.with_borrow_mut(|stage| {
        let Stage { pair, hub, app } = stage;
        let mut input = Input::new(data);
        let line = app.line();
        let cursor = pair.app.inbox_head(line).expect("our own storage").cursor;
        let expected = cursor.next();
        let seq = Seq(expected.0 + u64::from(input.byte() % 4));
        let statement = Statement {
            channel: Channel::ALL[input.below(Channel::ALL.len())],
            first: u64::from(input.byte() % 8),
            last: u64::from(input.byte() % 8),
            clip: ClipId([input.byte(); 16]),
            reason: match input.byte() % 3 {
                0 => DropReason::Damaged,
                1 => DropReason::Budget,
                _ => DropReason::Age,
            },
        };
        let mut txn = pair.hub.begin();
        let signed = fuzzing::signed(hub, &mut txn, &statement).expect("a hub signs");
        drop(txn);
        let mut content = signed.clone();
        input.edit(&mut content);
        // By what they say: a number may be spelt with more bytes than it needs.
        let said = |bytes: &[u8]| message::decode::<SignedStatement>(bytes);
        let good = said(&content) == said(&signed)
            && statement.channel == line.channel
            && statement.last == seq.0
            && (statement.first..=statement.last).contains(&expected.0);
        let inside = Inside {
            statement: true,
            held: NOTHING,
            content,
        };
        let envelope = fuzzing::wrap(&pair.hub, line, seq, &inside, &mut SeededDice(5));
        let envelope = envelope.expect("a paired hub wraps");
        let mut txn = pair.app.begin();
        let taken = app.take(&mut txn, seq, &envelope, NOW_MS);
        let taken = taken.expect("a statement is no error of ours");
        assert!(matches!(
            taken,
            Taken::Gap { .. } | Taken::Nothing(_) | Taken::Ended { .. }
        ));
        if seq != expected {
            let passed = !matches!(taken, Taken::Gap { .. });
            assert_eq!(
                passed, good,
                "{statement:?} at {seq}, {expected} is missing"
            );
        }
        // Whatever it was, it is taken once at most.
        let again = app.take(&mut txn, seq, &envelope, NOW_MS);
        let again = again.expect("a statement is no error of ours");
        assert!(
            matches!(again, Taken::Gap { .. } | Taken::Duplicate),
            "{again:?}"
        );
    });
}
