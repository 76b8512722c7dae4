//! Both cores, paired, over simulated disks: what each has to say, and what a message does to the other.
//!
//! Time stands still, so that nothing happens but what messages cause. This room must never take a step of a
//! core for the effect of a message that came before it.

use std::collections::BTreeSet;

use app_core::core::{LiveOut, Order, Ordered};
use bytes::Bytes;
use crashtest::trouble::{Outcome, Trouble};
use crashtest_sim::node::{Ground, Place, open_journal};
use crashtest_sim::run::pair;
use hub::camera::EventEnd;
use hub::core::{Alert, Event, Opener, Piece, Recorded, SilenceLimits, Still, Verdict};
use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::{CommandResult, DropReason, LiveStart, NoticeKind, Settings};
use journal::{
    AppClip, AppClipState, Journal, JournalError, LivePiece, Mailboxes, OutboxHead, Role, Suite,
    Taken,
};
use wal::SeededDice;
use wal::disk::SimDisk;
use wire::{Digest, SendId, Seq};

/// The clock on both walls, milliseconds since 1970.
pub(super) const WALL_MS: u64 = 1_800_000_000_000;
/// The phone's own clock. Nothing is ever due by time.
const NOW_MS: u64 = 0;
/// Pieces of the event, and the bytes of each.
const PIECES: u64 = 3;
const PIECE_BYTES: usize = 3_000;
/// Pieces of the event that makes room, and the bytes of each. All together are more than what a hub wants to be free before
/// an event begins, so that a budget of as much has room for the next one and not for both.
const LOST_PIECES: u64 = 24;
const LOST_PIECE_BYTES: usize = 16 * 1024;
/// Bytes of an event's picture, which nobody decodes here.
const JPEG_BYTES: usize = 3_000;
/// Bytes of a live picture.
const LIVE_BYTES: usize = 1_500;
const CAMERA: &str = "door";
/// Who watches, by the number that the phone gives whoever does.
const VIEWER: u64 = 1;
/// What the phone sets, in seconds.
const EVENT_SECONDS: u32 = 60;
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
    Taken(Kind),
}

/// What a message was that was taken, as far as somebody counts it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// An event begins.
    Notice,
    /// A part of an event's picture.
    Picture,
    /// A clip was dropped.
    Statement,
    /// A live session begins or ends.
    Live,
    /// What the phone has set is set.
    Settings,
    Other,
}

impl Kind {
    /// What the app took on this line.
    fn of(line: Line, taken: &Taken) -> Self {
        match taken {
            Taken::Notified(_) => Self::Notice,
            Taken::Started(_) | Taken::Media { .. } | Taken::Ended { .. }
                if line.channel == Channel::Thumbnail =>
            {
                Self::Picture
            }
            Taken::Ended {
                state: AppClipState::Dropped(_),
                ..
            } => Self::Statement,
            Taken::LiveBegun(_) | Taken::LiveEnded(_) => Self::Live,
            Taken::CommandDone(done) if matches!(done.result, CommandResult::Changed(_)) => {
                Self::Settings
            }
            _ => Self::Other,
        }
    }
}

/// What an end has sent and still has on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outbox {
    pub(super) send: SendId,
    pub(super) acked: Seq,
    pub(super) last: Seq,
}

/// An end's disk: how many operations there were, and all its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct State {
    operations: u64,
    digest: Digest,
}

/// Both ends.
pub(super) struct Ends {
    hub: hub::core::Core,
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

    /// The line of one channel.
    pub(super) fn line(&self, channel: Channel) -> Line {
        Line::of(self.pairing, channel)
    }

    /// Head and watermark of what an end sends on a line.
    pub(super) fn outbox(&mut self, of: To, line: Line) -> Outcome<Outbox> {
        self.journal(of, |journal| {
            let OutboxHead { last, acked } = journal.outbox_head(line)?;
            let Mailboxes { send, .. } = journal.mailboxes(line)?;
            Ok(Outbox { send, acked, last })
        })
    }

    /// How far an end has read a line.
    pub(super) fn cursor(&self, of: To, line: Line) -> Outcome<Seq> {
        match of {
            To::Hub => self.hub.cursor(line).map_err(broken),
            To::App => self.app.cursor(line).map_err(broken),
        }
    }

    /// An end's bytes of a number that it has sent.
    pub(super) fn sent(&mut self, of: To, line: Line, seq: Seq) -> Outcome<Option<Bytes>> {
        let before = Seq(seq.0.saturating_sub(1));
        let found = match of {
            To::Hub => {
                let found = self.hub.next_envelope(line, before, WALL_MS);
                found.map_err(broken)?
            }
            To::App => self.app.next_envelope(line, before).map_err(broken)?,
        };
        let found = found.filter(|(at, _)| *at == seq);
        Ok(found.map(|(_, envelope)| Bytes::copy_from_slice(envelope.as_bytes())))
    }

    /// An end's digest of a number that it has sent.
    pub(super) fn digest(&mut self, of: To, line: Line, seq: Seq) -> Outcome<Option<Digest>> {
        match of {
            To::Hub => self.hub.digest(line, seq, WALL_MS).map_err(broken),
            To::App => self.app.envelope_digest(line, seq).map_err(broken),
        }
    }

    /// An end is shown this as what the relay holds of its own; it must prove nothing.
    pub(super) fn judges_nothing(
        &mut self,
        of: To,
        line: Line,
        seq: Seq,
        shown: Option<&[u8]>,
    ) -> Outcome<()> {
        let is_proof = match of {
            To::Hub => {
                let judged = self.hub.handle_stored(line, seq, shown, WALL_MS);
                judged.map_err(broken)? == hub::core::Judged::RolledBack
            }
            To::App => {
                let judged = self.app.handle_stored(line, seq, shown);
                judged.map_err(broken)? == app_core::core::Judged::RolledBack
            }
        };
        match is_proof {
            true => Err(broken(format!(
                "C8: {of:?} took a changed word about {seq} of {line:?} for a proof"
            ))),
            false => Ok(()),
        }
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
                    Verdict::Taken => Ok(Effect::Taken(Kind::Other)),
                    Verdict::Duplicate
                    | Verdict::Gap
                    | Verdict::NotAuthentic
                    | Verdict::Waits
                    | Verdict::Slowed => Ok(Effect::Nothing),
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
                    _ => Ok(match run.facts.first() {
                        None => Effect::Nothing,
                        Some(fact) => Effect::Taken(Kind::of(line, &fact.taken)),
                    }),
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
    pub(super) fn ask(&mut self) -> Outcome<CommandId> {
        self.order(Order::Phones)
    }

    /// What the phone sets is in its outbox.
    pub(super) fn set(&mut self) -> Outcome<CommandId> {
        self.order(Order::Settings(settings()))
    }

    fn order(&mut self, order: Order) -> Outcome<CommandId> {
        let ordered = self.app.stage_order(self.pairing, order, WALL_MS);
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

    /// What the phone has set, both ends have.
    pub(super) fn is_set(&mut self, id: CommandId) -> Outcome<()> {
        self.is_answered(id)?;
        let books = self.app.command_books().map_err(broken)?;
        let mut books = books.iter().map(|(_pairing, book)| book.settings);
        let told = books.next().unwrap_or_default();
        let set = self.journal(To::Hub, |journal| journal.settings())?;
        match told == set && set.settings == settings() {
            true => Ok(()),
            false => Err(broken(format!("C2: {set:?} is set, and {told:?} is told"))),
        }
    }

    /// The hub tells the phone of an event that begins, and sends its picture.
    pub(super) fn announce(&mut self) -> Outcome<()> {
        let alert = Alert {
            camera: CAMERA.into(),
            started_unix_ms: WALL_MS,
        };
        let told = self.hub.handle_alert(&alert, WALL_MS);
        self.is_recorded(told.map_err(broken)?)?;
        let still = Still {
            camera: CAMERA.into(),
            started_unix_ms: WALL_MS,
            jpeg: noise(JPEG_BYTES, PIECES).into(),
        };
        let sent = self.hub.handle_still(&still, WALL_MS);
        self.is_recorded(sent.map_err(broken)?)
    }

    /// The phone was notified of that event once, and has its picture.
    pub(super) fn is_announced(&self) -> Outcome<()> {
        let notices = self.app.notices().map_err(broken)?;
        let kinds: Vec<_> = notices.iter().map(|notice| notice.what.kind).collect();
        if kinds != [NoticeKind::Motion] {
            return Err(broken(format!("C2: an event was told as {kinds:?}")));
        }
        let pictures = self.app.thumbnails().map_err(broken)?;
        let [picture] = pictures.as_slice() else {
            let count = pictures.len();
            return Err(broken(format!("C2: {count} pictures instead of one")));
        };
        let picture = &picture.what;
        let is_whole = picture.state == AppClipState::Complete;
        match is_whole && self.bytes_of(picture)? == noise(JPEG_BYTES, PIECES) {
            true => Ok(()),
            false => Err(broken(format!("C2: a picture is {:?}", picture.state))),
        }
    }

    fn bytes_of(&self, clip: &AppClip) -> Outcome<Vec<u8>> {
        let mut bytes = Vec::new();
        for index in 0..clip.chunks {
            let chunk = self.app.chunk(clip.clip, index).map_err(broken)?;
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    /// The hub records an event; its bytes.
    pub(super) fn record(&mut self) -> Outcome<Vec<u8>> {
        self.record_pieces(PIECES, PIECE_BYTES)
    }

    /// The hub records an event that the phone does not get in time, and then one for which it has to make room; the
    /// bytes of that.
    pub(super) fn record_and_make_room(&mut self) -> Outcome<Vec<u8>> {
        self.record_pieces(LOST_PIECES, LOST_PIECE_BYTES)?;
        self.quiesce(To::Hub)?;
        let stored = self.hub.status().map_err(broken)?.video_bytes;
        self.hub.set_budget(Some(stored));
        let event = self.record()?;
        self.hub.set_budget(None);
        Ok(event)
    }

    fn record_pieces(&mut self, pieces: u64, bytes_of_each: usize) -> Outcome<Vec<u8>> {
        let event = Event {
            camera: CAMERA.into(),
            mime: "video/mp4".into(),
            started_unix_ms: WALL_MS,
        };
        let mut all = Vec::new();
        let began = self.hub.handle_event_started(event, WALL_MS);
        self.is_recorded(began.map_err(broken)?)?;
        for number in 0..pieces {
            let bytes = noise(bytes_of_each, number);
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

    /// Of the events that were recorded the app has these whole, and knows of the others that they made room; all that
    /// the hub sent of them is acked.
    pub(super) fn holds(&mut self, events: &[Option<Vec<u8>>]) -> Outcome<()> {
        let clips = self.app.clips().map_err(broken)?;
        let (there, wanted) = (clips.len(), events.len());
        if there != wanted {
            return Err(broken(format!("C2: {there} clips instead of {wanted}")));
        }
        for ((_pairing, clip), event) in clips.iter().zip(events) {
            let bytes = self.bytes_of(clip)?;
            let state = &clip.state;
            let is_right = match event {
                Some(event) => *state == AppClipState::Complete && bytes == *event,
                None => *state == AppClipState::Dropped(DropReason::Budget),
            };
            if !is_right {
                let length = bytes.len();
                return Err(broken(format!("C2: a clip is {state:?}, {length} bytes")));
            }
        }
        let videos = self.outbox(To::Hub, self.line(Channel::EventVideo))?;
        if videos.acked != videos.last {
            return Err(broken(format!("C2: not everything is acked: {videos:?}")));
        }
        Ok(())
    }

    /// Each line of the app has new keys.
    pub(super) fn is_healed(&mut self) -> Outcome<()> {
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

    /// The phone's wish to watch is in its outbox.
    pub(super) fn wish(&mut self) -> Outcome<()> {
        let staged = self.app.stage_wish(self.pairing, VIEWER, CAMERA);
        let Some(staged) = staged.map_err(broken)? else {
            return Err(broken("a phone whose lines are healed cannot wish"));
        };
        let committed = self.app.commit().map_err(broken)?;
        let _wish = committed.redeem(staged).into_inner();
        Ok(())
    }

    /// The phone's word that it has seen enough is in its outbox.
    pub(super) fn see_enough(&mut self) -> Outcome<()> {
        let staged = self.app.stage_enough(self.pairing).map_err(broken)?;
        let Some(staged) = staged else {
            return Err(broken("a phone that watches cannot end that"));
        };
        let committed = self.app.commit().map_err(broken)?;
        committed.redeem(staged).into_inner();
        Ok(())
    }

    /// What there is for whoever watches.
    pub(super) fn shown(&mut self) -> Vec<LiveOut> {
        self.app.poll_live(self.pairing, VIEWER)
    }

    /// The hub seals a live picture: that, and the frame. The first one begins a group.
    pub(super) fn seal_live(&mut self, number: u64) -> Outcome<(Vec<u8>, Bytes)> {
        let line = self.line(Channel::Livestream);
        let session = self.hub.live_board().get(&line).map(|now| now.session);
        let session = session.ok_or_else(|| broken("a wish has begun no live session"))?;
        let picture = noise(LIVE_BYTES, number);
        let start = LiveStart {
            mime: "video/mp4".into(),
            init: vec![1],
        };
        let piece = LivePiece {
            start: (number == 0).then_some(&start),
            captured_unix_ms: WALL_MS + number,
            ends_fragment: true,
            bytes: &picture,
        };
        let sealed = self.hub.seal_live(line, session, piece, WALL_MS);
        let sealed = sealed.map_err(broken)?;
        let frame = sealed.ok_or_else(|| broken("a live session is over by itself"))?;
        let frame = frame.into_inner().into_bytes();
        Ok((picture, frame.into()))
    }

    /// Whether no live session is under way.
    pub(super) fn is_dark(&self) -> bool {
        self.hub.live_board().is_empty()
    }

    /// Gives a live frame to the app: what that shows.
    pub(super) fn show(&mut self, frame: &Bytes) -> Outcome<Vec<LiveOut>> {
        let early = self.app.open_live(self.pairing, vec![frame.clone()]);
        match early.map_err(broken)?.is_empty() {
            true => Ok(self.shown()),
            false => Err(broken("C6: a live frame is kept for later")),
        }
    }
}

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    wal::Dice::fill(&mut SeededDice(seed), &mut bytes);
    bytes
}

fn settings() -> Settings {
    Settings {
        event_seconds_max: Some(EVENT_SECONDS),
        ..Settings::default()
    }
}
