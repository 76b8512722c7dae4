//! What a state of the model is: two processes with memory, page cache and disk, a relay between
//! them, and what an omniscient observer remembers.
//!
//! States are small and `Copy`: millions of them are held against each other. This room must never
//! know a rule; it says what there is, not what may happen.

use std::fmt;
use std::hash::{Hash, Hasher};

/// Longest row of envelopes that is remembered anywhere; bounds are checked against it at the start.
pub const ROW_MAX: usize = 18;

/// What an envelope is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Kind {
    /// From the hub: opens `epoch` on `branch`; `number` is the branch that it leaves, `extra` the
    /// proposal that it takes along (0: none).
    #[default]
    Commit,
    /// From the hub: an application message; `number` is its generation, `extra` its plaintext.
    Chunk,
    /// From the app: an ack or a heartbeat's message; `number` is its generation, `extra` its
    /// plaintext, `holds` the `Seq` that it says is durable.
    Message,
    /// From the app: an update proposal; `extra` is its number.
    Proposal,
}

/// One envelope. Two are the same bytes if and only if all fields agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Envelope {
    /// What it is.
    pub kind: Kind,
    /// The epoch that it belongs to; a Commit belongs to the one that it opens.
    pub epoch: u8,
    /// Which of several groups that call themselves `epoch`: 0 unless something was made twice.
    pub branch: u8,
    /// See [`Kind`].
    pub number: u8,
    /// See [`Kind`].
    pub extra: u8,
    /// What the wrap says: the highest `Seq` that its sender holds from the other side.
    pub holds: u8,
}

impl fmt::Display for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            epoch,
            branch,
            number,
            extra,
            ..
        } = self;
        let marks = |count: u8| "'".repeat(usize::from(count));
        match kind {
            Kind::Commit => write!(f, "Commit to {epoch}{}", marks(*branch))?,
            Kind::Chunk => write!(f, "chunk {number}{} of {epoch}", marks(*extra))?,
            Kind::Message => write!(f, "message {number}{} in {epoch}", marks(*extra))?,
            Kind::Proposal => write!(f, "proposal in {epoch}")?,
        }
        Ok(())
    }
}

impl Envelope {
    /// Four bytes instead of six: a state has a dozen rows of them.
    fn packed(self) -> u32 {
        let fields = [
            (self.kind as u8, 2),
            (self.epoch, 6),
            (self.branch, 4),
            (self.number, 4),
            (self.extra, 4),
            (self.holds, 6),
        ];
        fields.into_iter().fold(0, |packed, (field, bits)| {
            assert!(
                field >> bits == 0,
                "the bounds are too wide for an envelope"
            );
            packed << bits | u32::from(field)
        })
    }

    fn unpacked(packed: u32) -> Self {
        let field = |shift: u32, bits: u32| (packed >> shift & ((1 << bits) - 1)) as u8;
        Self {
            kind: match field(24, 2) {
                0 => Kind::Commit,
                1 => Kind::Chunk,
                2 => Kind::Message,
                _ => Kind::Proposal,
            },
            epoch: field(18, 6),
            branch: field(14, 4),
            number: field(10, 4),
            extra: field(6, 4),
            holds: field(0, 6),
        }
    }
}

/// A row of envelopes with rising numbers: `above + 1`, `above + 2`, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Row {
    /// The number before the first.
    pub above: u8,
    len: u8,
    packed: [u32; ROW_MAX],
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.numbered()).finish()
    }
}

impl Hash for Row {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u16(u16::from_le_bytes([self.above, self.len]));
        self.all().iter().for_each(|one| state.write_u32(*one));
    }
}

impl Row {
    fn all(&self) -> &[u32] {
        self.packed.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The envelopes.
    pub fn items(&self) -> impl DoubleEndedIterator<Item = Envelope> + '_ {
        self.all().iter().map(|one| Envelope::unpacked(*one))
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> u8 {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The highest number.
    #[must_use]
    pub fn head(&self) -> u8 {
        self.above + self.len
    }

    /// The envelope with this number.
    #[must_use]
    pub fn get(&self, seq: u8) -> Option<Envelope> {
        let index = seq.checked_sub(self.above)?.checked_sub(1)?;
        let packed = self.all().get(usize::from(index))?;
        Some(Envelope::unpacked(*packed))
    }

    /// The envelopes with their numbers.
    pub fn numbered(&self) -> impl Iterator<Item = (u8, Envelope)> + '_ {
        let above = self.above;
        let counted = self.items().zip(1_u8..);
        counted.map(move |(one, index)| (above + index, one))
    }

    /// Adds one at the end.
    ///
    /// # Panics
    /// Beyond [`ROW_MAX`]: the bounds are too wide for this build.
    pub fn push(&mut self, one: Envelope) {
        let place = self.packed.get_mut(usize::from(self.len));
        *place.expect("the bounds are too wide for ROW_MAX") = one.packed();
        self.len += 1;
    }

    /// Forgets everything through `seq`.
    pub fn forget_through(&mut self, seq: u8) {
        if seq <= self.above {
            return;
        }
        let gone = (seq - self.above).min(self.len);
        self.packed.copy_within(usize::from(gone).., 0);
        self.cut_at(self.len - gone);
        self.above = seq;
    }

    /// Forgets everything above `seq`.
    pub fn forget_above(&mut self, seq: u8) {
        self.cut_at(seq.saturating_sub(self.above).min(self.len));
    }

    /// Changes each.
    pub fn change(&mut self, how: impl Fn(&mut Envelope)) {
        for packed in self.packed.iter_mut().take(usize::from(self.len)) {
            let mut one = Envelope::unpacked(*packed);
            how(&mut one);
            *packed = one.packed();
        }
    }

    /// Forgets what is not wanted; for rows that are sets, whose numbers mean nothing.
    pub fn retain(&mut self, wanted: impl Fn(&Envelope) -> bool) {
        if !self.items().all(|one| wanted(&one)) {
            let mut kept = Self::default();
            self.items()
                .filter(|one| wanted(one))
                .for_each(|one| kept.push(one));
            *self = kept;
        }
    }

    /// Forgets everything and goes on behind `seq`.
    pub fn start_behind(&mut self, seq: u8) {
        self.cut_at(0);
        self.above = seq;
    }

    fn cut_at(&mut self, len: u8) {
        self.len = len;
        if let Some(rest) = self.packed.get_mut(usize::from(len)..) {
            rest.fill(0);
        }
    }
}

/// What the hub's journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HubDisk {
    /// The merged epoch.
    pub epoch: u8,
    /// And its branch.
    pub branch: u8,
    /// A Commit that is queued and not yet merged, by the branch of its epoch: only in designs that
    /// persist and merge apart.
    pub pending: Option<u8>,
    /// What the app has not acked; `above` is the watermark.
    pub outbox: Row,
    /// The last envelope of the app that was taken.
    pub inbox: u8,
}

/// A hub that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct HubRun {
    /// What the journal will hold once all that is staged is synced.
    pub staged: HubDisk,
    /// Whether the handle in memory opened the current epoch.
    pub right: bool,
    /// Generation of its next application message.
    pub generation: u8,
    /// A proposal lies in the group, which therefore encrypts nothing: only with that mistake.
    pub blocked: bool,
    /// It saw that its directory is older than what left it, and refuses.
    pub noticed: bool,
    /// What it takes for durable because it could be read: only with that mistake.
    pub believed: u8,
}

/// What the app's journal holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AppDisk {
    /// The last envelope of the hub that was taken.
    pub cursor: u8,
    /// The epoch.
    pub epoch: u8,
    /// And its branch.
    pub branch: u8,
    /// The next generation that it can open.
    pub generation: u8,
    /// Generation of its own next message.
    pub own_generation: u8,
    /// The highest `Seq` that one of its messages in this epoch acks.
    pub said: u8,
    /// A Commit was taken ahead of what lies before it: only with that mistake.
    pub ahead: u8,
    /// Its update proposal that waits for the hub's Commit (0: none).
    pub proposal: u8,
    /// What the hub does not hold yet.
    pub outbox: Row,
}

/// An app that runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AppRun {
    /// What the journal will hold once all that is staged is synced.
    pub staged: AppDisk,
    /// It saw that its directory is older than what left it, and refuses.
    pub noticed: bool,
}

/// A process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Process<Run, Disk> {
    /// It runs.
    Up(Run),
    /// It died. What it had written and not synced is in the page cache, until the power goes or a
    /// recovery syncs it.
    Down(Option<Disk>),
}

impl<Run, Disk> Process<Run, Disk> {
    /// The running process.
    pub fn up(&mut self) -> Option<&mut Run> {
        match self {
            Self::Up(run) => Some(run),
            Self::Down(_) => None,
        }
    }
}

/// One mailbox at the relay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Mailbox {
    /// What is stored. The last one stays after trimming; none at all is an empty relay.
    pub stored: Row,
    /// Received and not yet synced.
    pub unsynced: Option<Envelope>,
}

/// The omniscient observer's notes, for judging only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Seen {
    /// What left the hub, under each `Seq` the first; forgotten once nobody can want it again.
    pub left: Row,
    /// What left the app.
    pub app_left: Row,
    /// Application messages of the hub's newest epochs that reached a file or the network.
    pub sealed: Row,
    /// Those of the app.
    pub app_sealed: Row,
    /// Promises that a step broke, one bit each.
    pub broken: u16,
    /// The hub's directory was set back behind what left it.
    pub hub_restored: bool,
    /// The app's was.
    pub app_restored: bool,
}

/// What is left of each kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// Deaths of hub, app or relay, power cuts in recovery.
    pub crashes: u8,
    /// Times that the relay loses a mailbox.
    pub amnesias: u8,
    /// Times that the relay shows an older state of a mailbox.
    pub set_backs: u8,
    /// Heartbeats.
    pub beats: u8,
}

/// A state of the model.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    /// What a power cut leaves of the hub.
    pub hub_disk: HubDisk,
    /// The hub.
    pub hub: Process<HubRun, HubDisk>,
    /// What a power cut leaves of the app.
    pub app_disk: AppDisk,
    /// The app.
    pub app: Process<AppRun, AppDisk>,
    /// From hub to app.
    pub down: Mailbox,
    /// From app to hub.
    pub up: Mailbox,
    /// A copy of the hub's directory that somebody keeps.
    pub hub_image: Option<HubDisk>,
    /// A copy of the app's.
    pub app_image: Option<AppDisk>,
    /// What may still happen.
    pub budget: Budget,
    /// What the observer knows.
    pub seen: Seen,
}

impl State {
    /// Every envelope that is anywhere, so that what is made anew can be told from it.
    pub fn envelopes(&self) -> impl Iterator<Item = Envelope> {
        let hub = match &self.hub {
            Process::Up(run) => Some(&run.staged.outbox),
            Process::Down(cache) => cache.as_ref().map(|disk| &disk.outbox),
        };
        let app = match &self.app {
            Process::Up(run) => Some(&run.staged.outbox),
            Process::Down(cache) => cache.as_ref().map(|disk| &disk.outbox),
        };
        let rows = [
            &self.seen.left,
            &self.seen.app_left,
            &self.seen.sealed,
            &self.seen.app_sealed,
            &self.hub_disk.outbox,
            &self.app_disk.outbox,
            &self.down.stored,
            &self.up.stored,
        ];
        let images = [
            self.hub_image.as_ref().map(|disk| &disk.outbox),
            self.app_image.as_ref().map(|disk| &disk.outbox),
        ];
        let rows = rows.into_iter().chain(hub).chain(app);
        rows.chain(images.into_iter().flatten())
            .flat_map(Row::items)
            .chain(self.down.unsynced)
            .chain(self.up.unsynced)
    }
}
