//! What the core says about itself: facts for people, for `status` and for the uplink.
//!
//! Identifiers appear in full only where a person asked for them; no payload and no key ever does.

use std::collections::BTreeMap;
use std::sync::Arc;

use journal::ids::{ClipId, Epoch, Line, PairingId};
use journal::message::{
    AddedPhones, CameraDoc, ClipEnd, DropReason, HubReport, LiveEnd, NotRecorded, Settings,
    SettingsDoc,
};
use journal::{ClipOutcome, Dismissal, Dismissed, HubClip, Invite, PhoneHeard};
use wire::ids::{ReceiveId, SendId, Seq};

use super::{CameraSet, Core, CoreError, LineState, LiveStatus, PROVEN, is_about_one_line};

/// How a clip stands, as `status` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClipState {
    /// Being recorded.
    Recording,
    /// Whole.
    Complete,
    /// Ended early; what is there is good.
    CutOff,
    /// Its bytes were lost on disk, or had to make room, or were kept for long enough; the phone is told.
    Dropped,
}

impl ClipState {
    /// The word for it in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Complete => "complete",
            Self::CutOff => "cut_off",
            Self::Dropped => "dropped",
        }
    }
}

/// A clip in numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClipFacts {
    /// Which.
    pub clip: ClipId,
    /// Bytes that a sync covers.
    pub bytes: u64,
    /// SHA-256 of them, once it has ended.
    pub sha256: Option<[u8; 32]>,
    /// How it stands.
    pub state: ClipState,
}

impl ClipFacts {
    pub(super) fn ended(end: &ClipEnd, state: ClipState) -> Self {
        Self {
            clip: end.clip,
            bytes: end.bytes,
            sha256: Some(end.sha256),
            state,
        }
    }

    pub(super) fn of(clip: &HubClip) -> Self {
        Self {
            clip: clip.clip,
            bytes: clip.bytes,
            sha256: clip.sha256,
            state: match clip.outcome {
                ClipOutcome::Recording => ClipState::Recording,
                ClipOutcome::Complete => ClipState::Complete,
                ClipOutcome::CutOff => ClipState::CutOff,
                ClipOutcome::Dropped(_) => ClipState::Dropped,
            },
        }
    }
}

/// Why an event is not recorded, or no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// No phone is paired.
    NoPairing,
    /// Phones are paired, and none of those that could take part was heard of for too long.
    Silent,
    /// The disk is full. The rest of the event is not recorded.
    Space,
    /// Privacy mode: the owner wants no event recorded.
    Privacy,
    /// Every phone has proved that this directory is older than what left it: none could ever read
    /// what is recorded now.
    RolledBack,
    /// At a constant rate nothing leaves beside event videos that a camera would be the reason of: neither
    /// notification nor picture. No event is stopped by that.
    Covered,
    /// The owner wants no notification of such a thing. No event is stopped by that.
    Unwanted,
    /// No clip is open: the one of this event was ended, because its stored bytes were damaged.
    /// Begin a new one at the next key frame.
    NoClip,
}

impl Stop {
    /// What a phone is told of it: one that is answered is paired, and a clip that goes on in another is no trouble.
    fn told(self) -> Option<NotRecorded> {
        match self {
            Self::Silent => Some(NotRecorded::Silent),
            Self::Space => Some(NotRecorded::Space),
            Self::Privacy => Some(NotRecorded::Privacy),
            Self::RolledBack => Some(NotRecorded::RolledBack),
            // The first two are about what is told beside an event, not about the event.
            Self::Covered | Self::Unwanted | Self::NoPairing | Self::NoClip => None,
        }
    }
}

/// Whether a line may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Yes.
    Good,
    /// It is proved that this directory is older than what left it, by the phone's word or by an envelope of our
    /// own at the relay. That is stored, and nothing takes it back: nothing is recorded for the phone or sent to
    /// it any more.
    RolledBack,
}

/// A fact, true and durable when it comes out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// A clip's beginning is stored.
    ClipStarted {
        /// For which phone.
        line: Line,
        /// Which clip.
        clip: ClipId,
        /// When its event began, milliseconds since 1970.
        started_unix_ms: u64,
    },
    /// A clip's end is stored.
    ClipFinished {
        /// For which phone.
        line: Line,
        /// The clip.
        clip: ClipFacts,
    },
    /// The notification of an event, or its picture, is stored for a phone.
    Told {
        /// On which line.
        line: Line,
        /// When the event began, milliseconds since 1970.
        started_unix_ms: u64,
    },
    /// A clip's stored bytes are damaged, or it was the oldest and had to make room, or it was kept for long enough; a
    /// statement to the phone is stored.
    ClipDropped {
        /// For which phone.
        line: Line,
        /// The clip.
        clip: ClipFacts,
        /// Why.
        reason: DropReason,
    },
    /// Stored bytes are damaged and their clip cannot be dropped yet: nothing behind it is sent to
    /// this phone meanwhile.
    DamageWaits {
        /// For which phone.
        line: Line,
        /// The damaged envelope.
        seq: Seq,
        /// What is in the way.
        what: String,
    },
    /// An event is not recorded, or no further.
    NotRecorded(Stop),
    /// What is to be played to a phone waits for room on the disk: said once, until there is some.
    PlayWaits {
        /// For which phone.
        line: Line,
    },
    /// The journal was opened again after a failed write.
    Reopened,
    /// A line's stored state cannot be used; the others go on.
    LineBroken {
        /// Which.
        line: Line,
        /// What is wrong.
        what: String,
    },
    /// New keys of a phone are in use on a line: whoever copied its old ones is shut out of it.
    Healed {
        /// Which.
        line: Line,
        /// The epoch in which they are.
        epoch: Epoch,
    },
    /// A phone watches live.
    LiveBegun {
        /// Its line.
        line: Line,
        /// Which session.
        session: u64,
    },
    /// A phone watches no more.
    LiveEnded {
        /// Its line.
        line: Line,
        /// Why; none if the epoch of its session is over.
        why: Option<LiveEnd>,
    },
    /// A phone has changed the settings.
    Settings(SettingsDoc),
    /// A phone was not heard of for so long that it gets nothing new.
    PhoneSilent {
        /// Which.
        phone: PairingId,
    },
    /// A silent phone was heard of again: events are recorded for it.
    PhoneBack {
        /// Which.
        phone: PairingId,
    },
    /// A phone is paired by an offer that another one passed on.
    PhoneAdded {
        /// Which.
        phone: PairingId,
        /// The one that passed the offer on.
        by: PairingId,
    },
    /// A phone is removed with all its keys: it was asked for, or it was silent for too long.
    PhoneRemoved {
        /// Which.
        phone: PairingId,
    },
    /// It is proved that this directory is older than what left it: a line sends nothing any more.
    RolledBack {
        /// Which.
        line: Line,
    },
}

/// What the uplink needs to know of a line. Only durable facts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LineHeads {
    /// Where its envelopes go.
    pub send: SendId,
    /// Where its envelopes come from.
    pub receive: ReceiveId,
    /// The highest number given, durable.
    pub last: Seq,
    /// The watermark.
    pub acked: Seq,
    /// Whether it may send.
    pub standing: Standing,
    /// How often its phone has asked that the relay be asked anew what it holds.
    pub asked_again: u64,
    /// Of how many events this process has told on it: on the notification line that they begin, which hints and
    /// alarms do not count for, and which counts also where nobody wants to be notified; on the thumbnail line how they
    /// look. One that was lost with its sync counts as well.
    pub events_told: u64,
}

/// What the parts outside the journal are to do. Only durable facts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wishes {
    /// What phones have set.
    pub settings: Settings,
    /// What they have set at cameras, also at such as the configuration has no more.
    pub cameras: Arc<Vec<CameraDoc>>,
    /// A phone wants the program to end, and to be started again.
    pub restart: bool,
    /// An offer that a phone wants to pass on, or passes on now.
    pub invite: Option<Invite>,
}

/// All lines.
pub type Heads = BTreeMap<Line, LineHeads>;

/// One pairing for `status`: its event video line.
#[derive(Clone, Debug)]
pub struct LineStatus {
    /// Which.
    pub line: Line,
    /// Epoch of its event video group.
    pub epoch: u64,
    /// Envelopes that the phone has not acked.
    pub unacked_envelopes: u64,
    /// And their bytes.
    pub unacked_bytes: u64,
    /// The highest number given.
    pub last: Seq,
    /// The watermark.
    pub acked: Seq,
    /// Whether it may send.
    pub standing: Standing,
    /// The last heartbeat that came from the phone.
    pub heard: Option<PhoneHeard>,
    /// For how long this hub has run since then, or since pairing, in milliseconds.
    pub unheard_ms: u64,
    /// Whether that is so long that it gets nothing new.
    pub is_silent: bool,
    /// When it was paired, seconds since 1970 by our clock; `None` if the pairing's row is gone.
    pub paired_unix_s: Option<u64>,
}

/// All that `status` asks of the core.
#[derive(Clone, Debug)]
pub struct CoreStatus {
    /// Whether an event is being recorded.
    pub recording: bool,
    /// Of which cameras, by name.
    pub recording_of: Vec<String>,
    /// Why the last event was not recorded, or not all of it.
    pub stopped: Option<Stop>,
    /// What phones have set.
    pub settings: SettingsDoc,
    /// The phones that came by an offer which another one passed on.
    pub added: AddedPhones,
    /// What they have set at the cameras that there are.
    pub cameras_set: Vec<CameraSet>,
    /// The pairings.
    pub lines: Vec<LineStatus>,
    /// Removed phones that the relay was not yet told of.
    pub dismissals: u64,
    /// Clips, oldest first.
    pub clips: Vec<ClipFacts>,
    /// Bytes of video that wait for phones, retained copies included.
    pub video_bytes: u64,
    /// How many there may be; `None`: as many as the disk takes.
    pub budget_bytes: Option<u64>,
    /// After how many days of running clips go that wait for phones; `None`: they stay for as long as there is room.
    pub clip_days_max: Option<u32>,
    /// Retained copies that no ack will end.
    pub stranded_copies: usize,
    /// Who watches live.
    pub lives: Vec<LiveStatus>,
}

impl Core {
    /// What the uplink needs: what a finished commit covers, and nothing that is only staged.
    ///
    /// # Errors
    /// [`CoreError::Dead`]. It reads no journal, so that none can fail under it.
    pub fn heads(&self) -> Result<Heads, CoreError> {
        let _open = self.journal_ref()?;
        let heads = self.lines.iter().map(|(line, state)| (*line, head(state)));
        Ok(heads.collect())
    }

    /// The same of one line; none if there is no such line.
    ///
    /// # Errors
    /// As [`Core::heads`].
    pub fn head_of(&self, line: Line) -> Result<Option<LineHeads>, CoreError> {
        let _open = self.journal_ref()?;
        Ok(self.lines.get(&line).map(head))
    }

    /// Whether every camera is there, as phones are told. Nothing is written.
    pub fn handle_cameras(&mut self, are_there: bool) {
        self.camera_failed = !are_there;
    }

    /// How this hub is, as far as memory knows. What is stored, privacy mode and what is un-acked, is added where
    /// it is told.
    pub(super) fn report(&self) -> HubReport {
        // Privacy mode may have been switched off before any event could show it.
        let stopped = self.stopped.filter(|why| *why != Stop::Privacy);
        HubReport {
            recording: self.is_recording(),
            not_recorded: match self.camera_failed {
                true => Some(NotRecorded::Camera),
                false => stopped.and_then(Stop::told),
            },
            unacked: 0,
        }
    }

    /// For `status`.
    ///
    /// # Errors
    /// The journal's.
    pub fn status(&mut self) -> Result<CoreStatus, CoreError> {
        let mut lines = Vec::new();
        let mut clips = Vec::new();
        let stranded_copies = self.stranded_copies()?;
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let records = self.lines.iter_mut().filter(|(_, state)| state.records());
        for (line, state) in records {
            let head = journal.outbox_head(*line)?;
            let (unacked_envelopes, unacked_bytes) = journal.outbox_waiting(*line)?;
            clips.extend(journal.hub_clips(line.pairing)?.iter().map(ClipFacts::of));
            let epoch = match state.standing {
                PROVEN => None,
                _ => match state.session.epoch(&mut journal.begin()) {
                    Err(error) if is_about_one_line(&error) => None,
                    epoch => Some(epoch?.0),
                },
            };
            // Its group is gone; the last epoch that was used is what there is to say.
            let used = journal.epoch_use(*line)?.map_or(0, |used| used.epoch().0);
            let epoch = epoch.unwrap_or(used);
            lines.push(LineStatus {
                line: *line,
                epoch,
                unacked_envelopes,
                unacked_bytes,
                last: head.last,
                acked: head.acked,
                standing: state.standing,
                heard: journal.phone_heard(line.pairing)?,
                unheard_ms: self.silence.unheard_ms(line.pairing),
                is_silent: self.silence.is_silent(line.pairing),
                paired_unix_s: journal
                    .pairing(line.pairing)?
                    .map(|pairing| pairing.paired_unix_s),
            });
        }
        let settings = journal.settings()?;
        let added = journal.added_phones()?;
        let cameras_set = journal.cameras_set()?;
        let dismissals = journal.dismissals()?;
        let is_phone = |owed: &&Dismissal| owed.what == Dismissed::Phone;
        let dismissals =
            dismissals.owed.iter().filter(is_phone).count() as u64 + dismissals.damaged;
        let video_bytes = journal.stats().live_bytes;
        let recording = self.is_recording();
        Ok(CoreStatus {
            recording,
            recording_of: self.recording_of(),
            settings,
            added,
            cameras_set: self.sets_of(cameras_set),
            stopped: self.stopped,
            lines,
            dismissals,
            clips,
            video_bytes,
            budget_bytes: self.budget_bytes,
            clip_days_max: self.clip_days_max(&settings.settings),
            stranded_copies,
            lives: self.live_status(),
        })
    }
}

/// What is shown of a line.
fn head(state: &LineState) -> LineHeads {
    LineHeads {
        send: state.mailboxes.send,
        receive: state.mailboxes.receive,
        last: state.durable.outbox.last,
        acked: state.durable.outbox.acked,
        standing: state.standing,
        asked_again: state.durable.asked_again,
        events_told: state.durable.events_told,
    }
}
