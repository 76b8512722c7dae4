//! Both ends after a crash of one of them: they talk without a relay until all is said, one more
//! event is recorded, and then they must agree.
//!
//! The cores are the real ones and the crashed end starts as its daemon does. The peer is as it was
//! at that instant. This is the oracle of the whole-system tests (promises C1 to C4, S3 and S5), asked
//! in one thread; it must never help an end along in a way that a relay could not.

use std::sync::Arc;

use bytes::Bytes;
use crashtest::process::Role;
use crashtest::thief;
use hub::camera::EventEnd;
use hub::core::{ClipFacts, ClipState, Event, Piece, Recorded, Verdict};
use journal::ids::Line;
use journal::{AppClipState, Committer, Follower, Session};
use sha2::{Digest as _, Sha256};
use wal::store::MemStore;
use wal::{Disk, Options, SeededDice};
use wire::Seq;
use wire::ids::Digest;

use crate::check::{Told, layout, open_journal};
use crate::disk::{Noting, TreeDisk};
use crate::image::Hash;
use crate::quiet;
use crate::states::Weight;
use crate::steps::{Step, Story};
use crate::tree::{Change, Tree};

/// Times that everything is carried to and fro; two suffice when all is well.
const ROUNDS_MAX: u32 = 6;
/// The time of day in these talks: the recordings are of the same day or earlier.
const NOW_MS: u64 = 4_000_000_000_000;
/// Milliseconds that pass between two rounds; more than any pause of the app's.
const ROUND_MS: u64 = 5_000;
/// Pieces of the event that shows that both can go on.
const PIECES: u64 = 3;

/// The trees of the other end, by time.
pub struct Peer {
    role: Role,
    trees: Vec<(u64, Tree)>,
    /// Clips that its owner deletes, from when on.
    deleting: Vec<(u64, String)>,
}

impl Peer {
    /// The end with this story.
    #[must_use]
    pub fn new(role: Role, story: &Story) -> Self {
        let view = layout(role).view;
        let weigh = |path: &str| match path.strip_prefix(view) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => Weight::Absent,
            _ => Weight::Counts,
        };
        let names = story.names_of();
        let counts = |change: &Change| match (change.file(), change.name()) {
            (Some(file), _) => names
                .get(&file)
                .is_some_and(|names| names.iter().any(|name| weigh(name) == Weight::Counts)),
            (None, name) => name.is_some_and(|name| weigh(name) == Weight::Counts),
        };
        let mut tree = story.before.part(|path| weigh(path) == Weight::Counts);
        let mut trees = vec![(0, tree.clone())];
        for placed in &story.steps {
            if let Step::Change(change) = &placed.step
                && counts(change)
            {
                tree.apply(change);
                trees.push((placed.nanos, tree.clone()));
            }
        }
        let deleting = story.steps.iter().filter_map(|placed| match &placed.step {
            Step::Mark(words) => {
                let clip = words.strip_prefix("deleting ")?;
                Some((placed.nanos, clip.to_owned()))
            }
            _ => None,
        });
        Self {
            role,
            trees,
            deleting: deleting.collect(),
        }
    }

    /// Which end it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What had been said by then, with the clips that were being deleted here.
    #[must_use]
    pub fn told(&self, told: &Told, nanos: u64) -> Told {
        let mut told = told.clone();
        let until = self.deleting.iter().filter(|(at, _)| *at <= nanos);
        told.deleting.extend(until.map(|(_, clip)| clip.clone()));
        told
    }

    /// How it was at that time: its process lives, so it sees all that it did.
    #[must_use]
    pub fn at(&self, nanos: u64) -> Tree {
        let place = self.trees.partition_point(|(at, _)| *at <= nanos);
        let tree = place.checked_sub(1).and_then(|place| self.trees.get(place));
        tree.map(|(_, tree)| tree.clone()).unwrap_or_default()
    }
}

/// Both ends, talking.
struct Talk<'a> {
    hub: hub::core::Core,
    app: app_core::core::Core,
    line: Line,
    told: &'a Told,
    now_ms: u64,
    why: Vec<String>,
}

/// What became of a talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// They agree, and both can go on.
    Reached,
    /// They are not paired yet, and nothing had been sent that says otherwise.
    NotPaired,
    /// What is wrong, one sentence each.
    Broken(Vec<String>),
}

/// Behind one of so many talks a thief tries both directories: he takes longer than the talk.
const THIEVES_EVERY: Hash = 4;

/// Lets hub and app talk. `told` is what the crashed one had said: none of it may be said otherwise.
#[must_use]
pub fn talk(hub: &Tree, app: &Tree, told: &Told, seed: Hash) -> Agreement {
    let is_robbed = (seed >> 48).is_multiple_of(THIEVES_EVERY);
    match quiet::caught(|| talk_of(hub, app, told, (seed as u64 | 1, is_robbed))) {
        Ok(Ok(agreement)) => agreement,
        Ok(Err(why)) | Err(why) => Agreement::Broken(vec![why]),
    }
}

fn talk_of(
    hub: &Tree,
    app: &Tree,
    told: &Told,
    (seed, is_robbed): (u64, bool),
) -> Result<Agreement, String> {
    let hub_disk = TreeDisk::new(hub.clone(), layout(Role::Hub).engine, Noting::Off);
    let app_disk = TreeDisk::new(app.clone(), layout(Role::App).engine, Noting::Off);
    let disks = [
        (journal::Role::Hub, Role::Hub, hub_disk.clone()),
        (journal::Role::App, Role::App, app_disk.clone()),
    ];
    let mut opens = 0;
    let opener: hub::core::Opener = Box::new(move || {
        opens += 1;
        open_journal(
            Role::Hub,
            Arc::new(hub_disk.clone()),
            Box::new(MemStore::new()),
            SeededDice(seed + opens),
        )
    });
    let limits = hub::core::SilenceLimits::default();
    let hub = hub::core::Core::start(opener, limits, NOW_MS)
        .map_err(|error| format!("C7: the hub: {error}"))?;
    let opened = open_journal(
        Role::App,
        Arc::new(app_disk),
        Box::new(MemStore::new()),
        SeededDice(seed ^ 0xa5a5),
    );
    let (app, _report) = opened.map_err(|error| format!("C7: the app: {error}"))?;
    let app = app_core::core::Core::new(app);
    let heads = hub.heads().map_err(|error| error.to_string())?;
    let lines = app.lines().map_err(|error| error.to_string())?;
    let line = lines.first().map(|info| info.line);
    let Some(line) = line.filter(|line| heads.contains_key(line)) else {
        let said = !told.envelopes.is_empty();
        return if said {
            Err(
                "C1: an envelope was sent, and one of the ends does not know the pairing"
                    .to_owned(),
            )
        } else {
            Ok(Agreement::NotPaired)
        };
    };
    let mut talk = Talk {
        hub,
        app,
        line,
        told,
        now_ms: NOW_MS,
        why: Vec::new(),
    };
    talk.carry()?;
    talk.one_more_event()?;
    talk.carry()?;
    talk.judge()?;
    let mut why = std::mem::take(&mut talk.why);
    drop(talk);
    for (own, role, disk) in disks.into_iter().filter(|_| is_robbed) {
        let left: Arc<dyn Disk> =
            Arc::new(TreeDisk::new(disk.tree(), layout(role).engine, Noting::Off));
        let stolen = thief::judge(own, &left, Options::default());
        why.extend(stolen.err().map(|broken| broken.to_string()));
    }
    Ok(if why.is_empty() {
        Agreement::Reached
    } else {
        Agreement::Broken(why)
    })
}

impl Talk<'_> {
    /// Carries everything to and fro until nobody has anything more.
    fn carry(&mut self) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            self.now_ms += ROUND_MS;
            let mut any = false;
            for line in Line::all(self.line.pairing) {
                any |= self.carry_to_app(line)?;
                any |= self.carry_to_hub(line)?;
            }
            if !any {
                return Ok(());
            }
        }
        Err("C1: they never stop talking".to_owned())
    }

    fn same_as_told(&mut self, mailbox: String, seq: Seq, digest: Digest) {
        let sent = self.told.envelopes.get(&(mailbox, seq.0));
        if sent.is_some_and(|sent| !sent.contains(&digest)) {
            self.why.push(format!(
                "C3: envelope {seq} was sent before the crash with other bytes"
            ));
        }
    }

    fn carry_to_app(&mut self, line: Line) -> Result<bool, String> {
        let text = |error: &dyn std::error::Error| format!("C1: to the app: {error}");
        let mailbox = self
            .hub
            .heads()
            .map_err(|error| text(&error))?
            .get(&line)
            .map(|heads| heads.send.to_text())
            .unwrap_or_default();
        let mut after = self.app.cursor(line).map_err(|error| text(&error))?;
        let mut run = Vec::new();
        while let Some((seq, envelope)) = self
            .hub
            .next_envelope(line, after, self.now_ms)
            .map_err(|error| text(&error))?
        {
            self.same_as_told(mailbox.clone(), seq, envelope.digest());
            let bytes = Bytes::from(envelope.into_inner().into_bytes());
            run.push(app_core::core::Delivered { seq, bytes });
            after = seq;
        }
        let any = !run.is_empty();
        let pending = self.app.deliver(line, &run, self.now_ms, self.now_ms);
        let pending = pending.map_err(|error| text(&error))?;
        let committed = self.app.commit().map_err(|error| text(&error))?;
        let run = self
            .app
            .settle(&committed, pending)
            .map_err(|error| text(&error))?;
        if let Some(halt) = run.halt {
            return Err(format!("C1: the app cannot follow: {halt:?}"));
        }
        let pending = self.app.finish_sync(line, self.now_ms);
        let pending = pending.map_err(|error| text(&error))?;
        let committed = self.app.commit().map_err(|error| text(&error))?;
        let _settled = self
            .app
            .settle(&committed, pending)
            .map_err(|error| text(&error))?;
        Ok(any)
    }

    fn carry_to_hub(&mut self, line: Line) -> Result<bool, String> {
        let text = |error: &dyn std::error::Error| format!("C1: to the hub: {error}");
        let mailbox = self
            .app
            .lines()
            .map_err(|error| text(&error))?
            .into_iter()
            .find(|info| info.line == line)
            .map(|info| info.mailboxes.send.to_text())
            .unwrap_or_default();
        let mut any = false;
        loop {
            let after = self.hub.cursor(line).map_err(|error| text(&error))?;
            let next = self.app.next_envelope(line, after);
            let Some((seq, envelope)) = next.map_err(|error| text(&error))? else {
                break;
            };
            self.same_as_told(mailbox.clone(), seq, envelope.digest());
            let taken = self
                .hub
                .handle_envelope(line, seq, envelope.as_bytes(), self.now_ms);
            let taken = taken.map_err(|error| text(&error))?;
            if !matches!(taken.verdict, Verdict::Taken | Verdict::Duplicate) {
                return Err(format!(
                    "C1: the hub cannot take {seq}: {:?}",
                    taken.verdict
                ));
            }
            any = true;
        }
        self.hub.commit(self.now_ms).map_err(|error| text(&error))?;
        Ok(any)
    }

    /// Both can still follow a Commit, which nothing but another event shows.
    fn one_more_event(&mut self) -> Result<(), String> {
        let text = |error: hub::core::CoreError| format!("C1: another event: {error}");
        let now_ms = self.now_ms;
        let event = Event {
            camera: "door".into(),
            mime: "video/mp4".into(),
            started_unix_ms: now_ms,
        };
        let mut taken = vec![self.hub.handle_event_started(event, now_ms).map_err(text)?];
        for number in 0..PIECES {
            let piece = Piece {
                bytes: Bytes::from(vec![number as u8 + 1; 2_000]),
                captured_unix_ms: now_ms,
            };
            taken.push(self.hub.handle_pieces(vec![piece], now_ms).map_err(text)?);
            self.hub.commit(now_ms).map_err(text)?;
        }
        let ended = self.hub.handle_event_ended(EventEnd::Completed, now_ms);
        taken.push(ended.map_err(text)?);
        self.hub.commit(now_ms).map_err(text)?;
        if taken.iter().any(|taken| *taken != Recorded::Taken) {
            return Err(format!("C1: another event was not recorded: {taken:?}"));
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), String> {
        let hub = self.hub.status().map_err(|error| error.to_string())?;
        let app = self.app.status().map_err(|error| error.to_string())?;
        let (Some(hub_line), Some(app_line)) = (
            hub.lines.iter().find(|line| line.line == self.line),
            app.iter().find(|line| line.line == self.line),
        ) else {
            return Err("C1: a line is gone".to_owned());
        };
        if hub_line.epoch != app_line.epoch {
            self.why.push(format!(
                "C1: the hub is in epoch {}, the app in {}",
                hub_line.epoch, app_line.epoch
            ));
        }
        let line = self.line;
        let hub_secret = self.hub.with_journal(self.now_ms, |journal| {
            Session::<Committer>::new(line).exporter(&mut journal.begin())
        });
        let app_secret = Session::<Follower>::new(line).exporter(&mut self.app.journal().begin());
        let same = match (hub_secret, app_secret) {
            (Ok(hub), Ok(app)) => hub == app,
            (Err(error), _) => return Err(error.to_string()),
            (_, Err(error)) => return Err(error.to_string()),
        };
        if !same {
            self.why
                .push("C1: in epochs of one number with different secrets".to_owned());
        }
        if hub_line.unacked_envelopes != 0 {
            self.why.push(format!(
                "C2: {} envelopes are un-acked at rest",
                hub_line.unacked_envelopes
            ));
        }
        let clips = self.app.clips().map_err(|error| error.to_string())?;
        for clip in &hub.clips {
            let known = clips.iter().find(|(_, known)| known.clip == clip.clip);
            let why = match known {
                None if self.told.deleting.contains(&clip.clip.short()) => None,
                None => Some("never reached the app".to_owned()),
                Some((_, known)) => self.differs(clip, known)?,
            };
            if let Some(why) = why {
                self.why.push(format!("C2: clip {:?} {why}", clip.clip));
            }
        }
        Ok(())
    }

    fn differs(&self, hub: &ClipFacts, app: &journal::AppClip) -> Result<Option<String>, String> {
        let same = match (hub.state, app.state) {
            (ClipState::Complete, AppClipState::Complete)
            | (ClipState::CutOff, AppClipState::CutOff) => true,
            // Nothing rots in a recording: a clip that is dropped, with a statement or without, is lost.
            _ => false,
        };
        if !same || hub.sha256 != app.sha256 || hub.bytes != app.bytes {
            return Ok(Some(format!("differs: {hub:?} and {app:?}")));
        }
        let mut hasher = Sha256::new();
        for index in 0..app.chunks {
            let chunk = self.app.chunk(app.clip, index);
            hasher.update(&*chunk.map_err(|error| error.to_string())?);
        }
        let digest: [u8; 32] = hasher.finalize().into();
        if Some(digest) != hub.sha256 {
            return Ok(Some("has other bytes at the app".to_owned()));
        }
        Ok(None)
    }
}
