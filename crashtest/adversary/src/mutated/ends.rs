//! Both cores, paired, over simulated disks: what each has to say, and what a message does to the other.
//!
//! Time stands still, so that nothing happens but what messages cause. This room must never take a step of a
//! core for the effect of a message that came before it.

use std::collections::BTreeSet;

use app_core::core::{Order, Ordered};
use bytes::Bytes;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_sim::node::{Ground, Place, open_journal};
use crashtest_sim::run::pair;
use hub::camera::EventEnd;
use hub::core::{Event, Opener, Piece, Recorded, SilenceLimits, Verdict};
use journal::ids::{CommandId, Line, PairingId};
use journal::{AppClipState, Journal, JournalError, Role, Suite};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::{Digest, Seq};

/// The clock on both walls, milliseconds since 1970.
pub(super) const WALL_MS: u64 = 1_800_000_000_000;
/// The phone's own clock. Nothing is ever due by time.
const NOW_MS: u64 = 0;
/// Pieces of the event, and the bytes of each.
const PIECES: u64 = 3;
const PIECE_BYTES: usize = 3_000;
/// Commits until an end has nothing left to do by itself.
const COMMITS_MAX: u32 = 256;

/// Who gets a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    Hub,
    App,
}

/// What a message did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Effect {
    Nothing,
    Taken,
}

/// An end's disk: how many operations there were, and all its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    operations: u64,
    digest: Digest,
}

/// Both ends.
pub(super) struct Ends {
    pub(super) hub: hub::core::Core,
    hub_disk: SimDisk,
    app: app_core::core::Core,
    app_disk: SimDisk,
    pairing: PairingId,
}

pub(super) fn broken(error: impl std::fmt::Display) -> Trouble {
    Trouble::Broken(error.to_string())
}

impl Ends {
    pub(super) fn paired() -> Outcome<Self> {
        let pair = pair(Suite::XWing).map_err(broken)?;
        let first = pair.ways.0.first();
        let pairing = first.map(|way| way.line.pairing);
        let pairing = pairing.ok_or_else(|| broken("a pairing without lines"))?;
        let on = |disk: &SimDisk| Ground::new(Place::Simulated(disk.clone()));
        let ground = on(&pair.hub);
        let mut seed = 100;
        let opener: Opener = Box::new(move || {
            seed += 1;
            open_journal(Role::Hub, &ground, SeededDice(seed))
        });
        let hub =
            hub::core::Core::start(opener, SilenceLimits::default(), WALL_MS).map_err(broken)?;
        let opened = open_journal(Role::App, &on(&pair.app), SeededDice(200));
        let (journal, _report) = opened.map_err(broken)?;
        Ok(Self {
            hub,
            hub_disk: pair.hub,
            app: app_core::core::Core::new(journal),
            app_disk: pair.app,
            pairing,
        })
    }

    pub(super) fn lines(&self) -> [Line; 5] {
        Line::all(self.pairing)
    }

    /// The line of the event videos.
    pub(super) fn videos(&self) -> Line {
        app_core::core::event_line(self.pairing)
    }

    fn disk(&self, of: To) -> &SimDisk {
        match of {
            To::Hub => &self.hub_disk,
            To::App => &self.app_disk,
        }
    }

    /// A step on the journal of an end.
    pub(super) fn journal<T>(
        &mut self,
        of: To,
        step: impl FnOnce(&mut Journal) -> Result<T, JournalError>,
    ) -> Outcome<T> {
        match of {
            To::Hub => self.hub.with_journal(WALL_MS, step).map_err(broken),
            To::App => step(self.app.journal()).map_err(broken),
        }
    }

    pub(super) fn operations(&self, of: To) -> u64 {
        self.disk(of).op_count()
    }

    pub(super) fn state(&self, of: To) -> Outcome<State> {
        let disk = self.disk(of);
        let mut all = Vec::new();
        for path in disk.paths() {
            all.extend_from_slice(path.as_bytes());
            let contents = disk.contents(&path);
            all.extend(contents.map_err(Trouble::machine("a simulated file"))?);
        }
        Ok(State {
            operations: disk.op_count(),
            digest: Digest::of(&all),
        })
    }

    /// The next message to an end that it does not hold.
    pub(super) fn next(&mut self, to: To, line: Line) -> Outcome<Option<(Seq, Bytes)>> {
        let found = match to {
            To::App => {
                let held = self.app.cursor(line).map_err(broken)?;
                let found = self.hub.next_envelope(line, held, WALL_MS);
                found.map_err(broken)?
            }
            To::Hub => {
                let held = self.hub.cursor(line).map_err(broken)?;
                self.app.next_envelope(line, held).map_err(broken)?
            }
        };
        Ok(found.map(|(seq, envelope)| (seq, Bytes::copy_from_slice(envelope.as_bytes()))))
    }

    /// Gives a message to an end.
    pub(super) fn feed(&mut self, to: To, line: Line, seq: Seq, bytes: &Bytes) -> Outcome<Effect> {
        match to {
            To::Hub => {
                let delivered = self.hub.handle_envelope(line, seq, bytes, WALL_MS);
                match delivered.map_err(broken)?.verdict {
                    Verdict::Taken => Ok(Effect::Taken),
                    Verdict::Duplicate | Verdict::Gap | Verdict::NotAuthentic | Verdict::Waits => {
                        Ok(Effect::Nothing)
                    }
                    Verdict::RolledBack => Err(broken("C8: the hub took itself for an old copy")),
                    Verdict::LineBroken => Err(broken("C6: the hub cannot use its line any more")),
                }
            }
            To::App => {
                let one = app_core::core::Delivered {
                    seq,
                    bytes: bytes.clone(),
                };
                let pending = self.app.deliver(line, &[one], NOW_MS, WALL_MS);
                let pending = pending.map_err(broken)?;
                let committed = self.app.commit().map_err(broken)?;
                let run = self.app.settle(&committed, pending).map_err(broken)?;
                match run.halt {
                    Some(app_core::core::Halt::Over(over)) => {
                        Err(broken(format!("the app gave its line up: {over:?}")))
                    }
                    Some(app_core::core::Halt::Journal(error)) => Err(broken(error)),
                    _ if run.facts.is_empty() => Ok(Effect::Nothing),
                    _ => Ok(Effect::Taken),
                }
            }
        }
    }

    /// Gives a changed message to an end, which must do nothing at all; `what` says how it was changed.
    pub(super) fn refuses(
        &mut self,
        to: To,
        line: Line,
        (seq, bytes): (Seq, &Bytes),
        what: impl FnOnce() -> String,
    ) -> Outcome<()> {
        let before = self.operations(to);
        let effect = self.feed(to, line, seq, bytes)?;
        if effect == Effect::Nothing && self.operations(to) == before {
            return Ok(());
        }
        let (what, did) = (what(), self.operations(to) - before);
        Err(Trouble::Broken(format!(
            "C6: {to:?} took envelope {seq} of {line:?} with {what}, {did} operations"
        )))
    }

    /// Syncs what an end has staged.
    pub(super) fn keep(&mut self, of: To) -> Outcome<()> {
        match of {
            To::Hub => self.hub.commit(WALL_MS).map_err(broken),
            To::App => self.app.commit().map(drop).map_err(broken),
        }
    }

    /// Until an end has nothing left to do by itself, such as removing what was acked.
    pub(super) fn quiesce(&mut self, of: To) -> Outcome<()> {
        for _ in 0..COMMITS_MAX {
            let before = self.operations(of);
            self.keep(of)?;
            if self.operations(of) == before {
                return Ok(());
            }
        }
        Err(broken(format!("{of:?} never comes to rest")))
    }

    /// The phone's heartbeat is in its outboxes.
    pub(super) fn beat(&mut self) -> Outcome<()> {
        // Both ends have nothing that the other lacks.
        let level = BTreeSet::from(Line::all(self.pairing));
        let staged = self.app.stage_heartbeat(self.pairing, &level, WALL_MS);
        let staged = staged.map_err(broken)?;
        let committed = self.app.commit().map_err(broken)?;
        let _beat = committed.redeem(staged).into_inner();
        Ok(())
    }

    /// The phone's acks of all lines are in its outboxes.
    pub(super) fn say_acks(&mut self) -> Outcome<()> {
        for line in self.lines() {
            let pending = self.app.finish_sync(line, NOW_MS).map_err(broken)?;
            let committed = self.app.commit().map_err(broken)?;
            let _run = self.app.settle(&committed, pending).map_err(broken)?;
        }
        Ok(())
    }

    /// The phone's question which phones there are is in its outbox.
    pub(super) fn order(&mut self) -> Outcome<CommandId> {
        let ordered = self.app.stage_order(self.pairing, Order::Phones, WALL_MS);
        let Ordered::Taken(staged) = ordered.map_err(broken)? else {
            return Err(broken("a phone that has asked nothing cannot ask"));
        };
        let committed = self.app.commit().map_err(broken)?;
        let id = committed.redeem(staged).into_inner();
        let sent = self.app.stage_command(self.pairing, WALL_MS);
        let Some(staged) = sent.map_err(broken)? else {
            return Err(broken("a command that is due is not sent"));
        };
        let committed = self.app.commit().map_err(broken)?;
        let _sent = committed.redeem(staged).into_inner();
        Ok(id)
    }

    /// The hub's answer is at the phone, once.
    pub(super) fn is_answered(&mut self, id: CommandId) -> Outcome<()> {
        let books = self.app.command_books().map_err(broken)?;
        let books: Vec<_> = books.into_iter().map(|(_pairing, book)| book).collect();
        let waits = books.iter().any(|book| !book.pending.is_empty());
        let done = books.iter().flat_map(|book| &book.done);
        let answers = done.filter(|one| one.id == id).count();
        match (waits, answers) {
            (false, 1) => Ok(()),
            _ => Err(broken(format!("C2: a command has {answers} answers"))),
        }
    }

    /// The hub records an event; its bytes.
    pub(super) fn record(&mut self) -> Outcome<Vec<u8>> {
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: WALL_MS,
        };
        let mut all = Vec::new();
        let began = self.hub.handle_event_started(event, WALL_MS);
        self.is_recorded(began.map_err(broken)?)?;
        for number in 0..PIECES {
            let mut bytes = vec![0; PIECE_BYTES];
            wal::Dice::fill(&mut SeededDice(number), &mut bytes);
            all.extend_from_slice(&bytes);
            let piece = Piece {
                bytes: bytes.into(),
                captured_unix_ms: WALL_MS,
            };
            let taken = self.hub.handle_pieces(vec![piece], WALL_MS);
            self.is_recorded(taken.map_err(broken)?)?;
        }
        let ended = self.hub.handle_event_ended(EventEnd::Completed, WALL_MS);
        self.is_recorded(ended.map_err(broken)?)?;
        Ok(all)
    }

    fn is_recorded(&mut self, recorded: Recorded) -> Outcome<()> {
        match recorded {
            Recorded::Taken => self.keep(To::Hub),
            other => Err(broken(format!("an event was not recorded: {other:?}"))),
        }
    }

    /// The event is at the app, whole; all that the hub sent is acked, and each line of the app has new keys.
    pub(super) fn is_complete(&mut self, event: &[u8]) -> Outcome<()> {
        let clips = self.app.clips().map_err(broken)?;
        let [(_pairing, clip)] = clips.as_slice() else {
            return Err(broken(format!("C2: {} clips instead of one", clips.len())));
        };
        let mut bytes = Vec::new();
        for index in 0..clip.chunks {
            let chunk = self.app.chunk(clip.clip, index).map_err(broken)?;
            bytes.extend_from_slice(&chunk);
        }
        if clip.state != AppClipState::Complete || bytes != event {
            let (state, length) = (&clip.state, bytes.len());
            return Err(broken(format!("C2: a clip is {state:?}, {length} bytes")));
        }
        let heads = self.hub.heads().map_err(broken)?;
        let videos = heads.get(&self.videos());
        if videos.is_none_or(|head| head.acked != head.last) {
            return Err(broken(format!("C2: not everything is acked: {videos:?}")));
        }
        let healed = self.app.status().map_err(broken)?;
        let channels = healed.iter().flat_map(|line| &line.channels);
        if channels.clone().count() != self.lines().len()
            || channels
                .clone()
                .any(|channel| channel.healed_unix_ms.is_none())
        {
            return Err(broken("S4: a line has no new keys after the heartbeat"));
        }
        Ok(())
    }
}
