//! What is said of an event besides its clip: that it begins, and how it looks; and alarms ([`super::alarm`]).
//! Each is a transaction of its own line, Commit included, so that none waits for a recording and no recording for it.
//!
//! It must never say anything on a line that is rolled back or broken, to a phone that is silent, in privacy
//! mode, that the owner does not want to be told, or at a constant rate, which is to hide that there is an event; and
//! never try again what a full disk refused: none of these is a reason not to record.

use bytes::Bytes;
use journal::ids::{Channel, Line};
use journal::message::{EventNotice, NoticeKind};
use journal::{Committer, ErrorKind, JournalError, Session, Txn};
use wal::{Priority, mutant};

use super::{
    CHUNK_OVERHEAD_BYTES, Core, CoreError, EPOCH_BYTES, LineState, Notice, PROVEN, Recorded, Stop,
    is_about_one_line, push,
};

/// What a thumbnail is, as a MIME type.
const JPEG: &str = "image/jpeg";

/// An event begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alert {
    /// Name of the camera, at most [`journal::message::NAME_BYTES_MAX`] bytes.
    pub camera: String,
    /// When the first picture of the event was captured, milliseconds since 1970: the beginning of its clip.
    pub started_unix_ms: u64,
}

/// The picture that stands for an event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Still {
    /// As [`Alert::camera`].
    pub camera: String,
    /// As [`Alert::started_unix_ms`].
    pub started_unix_ms: u64,
    /// A JPEG of at most [`journal::CHUNK_BYTES_MAX`] bytes.
    pub jpeg: Bytes,
}

/// What room something that is said may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// Old clips go for it.
    MakingRoom,
    /// None but what is there, under this priority.
    OfWhatIsLeft(Priority),
}

impl Core {
    /// Tells every phone that an event begins.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_alert(&mut self, alert: &Alert, now_unix_ms: u64) -> Result<Recorded, CoreError> {
        let notice = EventNotice {
            camera: alert.camera.clone(),
            started_unix_ms: alert.started_unix_ms,
            kind: NoticeKind::Motion,
        };
        let settings = self.settings(now_unix_ms)?.settings;
        if !settings.privacy && !settings.alerts.want(notice.kind) {
            // Whatever else is said of this event has the name that it has now.
            let _name = self.event_name(&alert.camera, alert.started_unix_ms);
            self.count_unwanted()?;
            return Ok(Recorded::Not(Stop::Unwanted));
        }
        self.notify_all(&notice, Ask::MakingRoom, now_unix_ms)
    }

    /// An event begins of which nobody is notified, and its picture goes before its clip all the same: it counts as one
    /// that was told. The sync that covers the beginning of the clip lets that out.
    fn count_unwanted(&mut self) -> Result<(), CoreError> {
        if self.journal_ref()?.sends_in_full_size(Channel::EventVideo) {
            return Ok(());
        }
        for line in self.lines_told(Channel::Notification) {
            if let Some(state) = self.lines.get_mut(&line) {
                state.events_told += 1;
            }
        }
        Ok(())
    }

    /// The lines of a channel on which something can be told.
    fn lines_told(&self, channel: Channel) -> Vec<Line> {
        let can_be_told = |(line, state): &(&Line, &LineState)| {
            line.channel == channel
                && !state.broken
                && state.standing != PROVEN
                && !self.silence.is_silent(line.pairing)
        };
        let lines = self.lines.iter().filter(can_be_told);
        lines.map(|(line, _)| *line).collect()
    }

    /// Tells every phone that a person is likely in the picture of an event of which it was told. No old clip goes for
    /// a hint.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_person(
        &mut self,
        alert: &Alert,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        let notice = EventNotice {
            camera: alert.camera.clone(),
            started_unix_ms: alert.started_unix_ms,
            kind: NoticeKind::Person,
        };
        if !self
            .settings(now_unix_ms)?
            .settings
            .alerts
            .want(notice.kind)
        {
            return Ok(Recorded::Not(Stop::Unwanted));
        }
        self.notify_all(&notice, Ask::OfWhatIsLeft(Priority::Bulk), now_unix_ms)
    }

    /// Says a notification to every phone, under the name that its camera is shown by.
    ///
    /// # Errors
    /// The journal's.
    pub(super) fn notify_all(
        &mut self,
        notice: &EventNotice,
        ask: Ask,
        now_unix_ms: u64,
    ) -> Result<Recorded, CoreError> {
        let shown = EventNotice {
            camera: match notice.kind.is_event() {
                true => self.event_name(&notice.camera, notice.started_unix_ms),
                false => self.shown_name(&notice.camera),
            },
            ..notice.clone()
        };
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>| {
            session.notify(txn, &shown).map(drop)?;
            let noted = match notice.kind {
                NoticeKind::CameraAway => txn.note_camera_away(&notice.camera, true),
                NoticeKind::CameraBack => txn.note_camera_away(&notice.camera, false),
                NoticeKind::StorageFull => txn.note_storage_full(false),
                NoticeKind::Motion | NoticeKind::Person => Ok(()),
            };
            noted.map(|()| notice.kind == NoticeKind::Motion)
        };
        let said = (Channel::Notification, notice.started_unix_ms);
        self.tell(said, (EPOCH_BYTES, ask), now_unix_ms, step)
    }

    /// Sends every phone the picture of an event.
    ///
    /// # Errors
    /// The journal's.
    pub fn handle_still(&mut self, still: &Still, now_unix_ms: u64) -> Result<Recorded, CoreError> {
        let shown = self.event_name(&still.camera, still.started_unix_ms);
        let step = |session: &mut Session<Committer>, txn: &mut Txn<'_>| {
            let named = (shown.as_str(), JPEG);
            let sent =
                session.send_whole(txn, named, still.started_unix_ms, &still.jpeg, now_unix_ms);
            sent.map(|_end| true)
        };
        let bytes = EPOCH_BYTES + still.jpeg.len() as u64 + CHUNK_OVERHEAD_BYTES;
        let said = (Channel::Thumbnail, still.started_unix_ms);
        self.tell(said, (bytes, Ask::MakingRoom), now_unix_ms, step)
    }

    /// One transaction for each phone that can be told. `step` says whether it tells of an event of which nothing was
    /// told on its line before.
    fn tell(
        &mut self,
        (channel, started_unix_ms): (Channel, u64),
        (bytes, ask): (u64, Ask),
        now_unix_ms: u64,
        mut step: impl FnMut(&mut Session<Committer>, &mut Txn<'_>) -> Result<bool, JournalError>,
    ) -> Result<Recorded, CoreError> {
        if self.settings(now_unix_ms)?.settings.privacy {
            return Ok(Recorded::Not(Stop::Privacy));
        }
        if self.journal_ref()?.sends_in_full_size(Channel::EventVideo) {
            return Ok(Recorded::Not(Stop::Covered));
        }
        let lines = self.lines_told(channel);
        if lines.is_empty() {
            return Ok(Recorded::Not(self.nobody()));
        }
        for line in lines {
            // Asked for each: a commit on the way has made the room another.
            let has_room = match ask {
                Ask::MakingRoom => self.make_room_beside(0, bytes, now_unix_ms)?,
                Ask::OfWhatIsLeft(priority) => self.has_room(bytes, priority, now_unix_ms)?,
            };
            if !has_room {
                return Ok(Recorded::Not(Stop::Space));
            }
            let told = self.in_txn(line, bytes, now_unix_ms, &mut step);
            // Before anything else can begin the sync that covers it.
            if let (Ok(true), Some(state)) = (&told, self.lines.get_mut(&line)) {
                state.events_told += 1;
            }
            let notice = Notice::Told {
                line,
                started_unix_ms,
            };
            match told {
                Ok(_)
                    if mutant!(
                        "word_before_its_sync",
                        "C2",
                        "the hub says that notification and picture are stored before they are"
                    ) =>
                {
                    push(&mut self.notices, notice);
                }
                Ok(_) => self.pending.push(notice),
                Err(CoreError::Journal(error)) if self.is_poison(&error) => {
                    self.reopen(&error, now_unix_ms)?;
                }
                Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                    self.set_broken(line, &error);
                }
                Err(CoreError::Journal(error)) if error.kind() == ErrorKind::Space => {
                    return Ok(Recorded::Not(Stop::Space));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Recorded::Taken)
    }
}
