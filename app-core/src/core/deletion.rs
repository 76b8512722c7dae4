//! The deletion of a clip, with the pictures and the notification of its event.
//!
//! This room must never leave a key in use from which what was deleted could be opened again; and what is wrong with
//! a camera's group must never keep a clip here.

use std::collections::BTreeMap;

use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{
    AppClip, AppClipState, Follower, JournalError, Session, Staged, Txn, or_after_commit,
};
use wal::{crash_point, mutant};

use super::follow::Follow;
use super::{
    Core, TRIM_STEPS_PER_DELETION, event_line, is_about_one_line, is_notice_of, is_same_event,
    unless_damaged,
};

impl Core {
    /// Stages the deletion of a clip, and before it that of its event's pictures and notification, so that
    /// whoever dies on the way can ask again; of a picture by its own id, with the others of its event and the
    /// notification, and not the clip. The keys of their groups rotate with them, because an epoch
    /// that is still open could derive what was in it again (scenario 28). What of the event comes later is not
    /// taken ([`Txn::event_is_gone`]), unless more deletions than a line remembers lie between ([`journal::GONE_KEPT`]).
    ///
    /// # Errors
    /// [`JournalError::NoSuchClip`], or our own storage.
    pub fn delete(&mut self, clip: ClipId) -> Result<Staged<ClipId>, JournalError> {
        let line = self.line_of(clip)?.ok_or(JournalError::NoSuchClip(clip))?;
        let pairing = line.pairing;
        match self.follow(line) {
            Ok(_) => {}
            // What is wrong with its camera's group does not keep a clip here.
            Err(error) if is_about_one_line(&error) => {
                tracing::debug!(%error, "a clip of a line that cannot be used is deleted");
            }
            Err(error) => return Err(error),
        }
        let record = self.journal.app_clip(clip)?;
        let mut thumbnails = self.thumbnails_of(pairing, &record)?;
        thumbnails.retain(|thumbnail| *thumbnail != clip);
        if !thumbnails.is_empty()
            && !mutant!(
                "picture_outlives_its_clip",
                "S3",
                "a clip is deleted on the phone, and the picture of its event stays"
            )
        {
            let staged = or_after_commit(
                self,
                |core| core.stage_thumbnail_deletion(pairing, &thumbnails),
                |core| core.commit().map(drop),
            )?;
            drop(staged);
        }
        let notices = unless_damaged(self.journal.app_notices(pairing))?;
        if notices.iter().any(|notice| is_notice_of(notice, &record)) {
            let staged = or_after_commit(
                self,
                |core| core.stage_notice_deletion(pairing, &record),
                |core| core.commit().map(drop),
            )?;
            drop(staged);
        }
        // Small log files take less at once than what shares this commit may be.
        let staged = or_after_commit(
            self,
            |core| core.stage_deletion(line, &record),
            |core| core.commit().map(drop),
        )?;
        self.journal
            .stage_trims(TRIM_STEPS_PER_DELETION, |txn| txn.trim_deleted());
        Ok(staged)
    }

    fn stage_deletion(
        &mut self,
        line: Line,
        record: &AppClip,
    ) -> Result<Staged<ClipId>, JournalError> {
        let mut txn = self.journal.begin();
        txn.delete_clip(line.pairing, record.clip)?;
        if record.state == AppClipState::Receiving {
            txn.clip_is_gone(line, record.clip)?;
        }
        // Without a header nobody knows which event it was.
        if record.started_unix_ms != 0 {
            txn.event_is_gone(line.pairing, &record.camera, record.started_unix_ms)?;
        }
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        let staged = txn.stage(record.clip)?;
        // CRASH(app.delete.staged): before: the clip is there, whole | after: it is in no list and its key
        // is past, synced as one.
        crash_point!("app.delete.staged");
        Ok(staged)
    }

    /// The pictures of a clip's event: one, or two where the hub did not know whether it had sent it.
    fn thumbnails_of(
        &self,
        pairing: PairingId,
        clip: &AppClip,
    ) -> Result<Vec<ClipId>, JournalError> {
        let thumbnails = unless_damaged(self.journal.app_thumbnails(pairing))?.into_iter();
        let of_event = thumbnails.filter(|thumbnail| is_same_event(thumbnail, clip));
        Ok(of_event.map(|thumbnail| thumbnail.clip).collect())
    }

    fn stage_thumbnail_deletion(
        &mut self,
        pairing: PairingId,
        thumbnails: &[ClipId],
    ) -> Result<Staged<()>, JournalError> {
        let mut txn = self.journal.begin();
        for thumbnail in thumbnails {
            txn.delete_clip(pairing, *thumbnail)?;
        }
        let line = Line::of(pairing, Channel::Thumbnail);
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        txn.stage(())
    }

    fn stage_notice_deletion(
        &mut self,
        pairing: PairingId,
        clip: &AppClip,
    ) -> Result<Staged<()>, JournalError> {
        let mut txn = self.journal.begin();
        txn.forget_notice(pairing, &clip.camera, clip.started_unix_ms)?;
        let line = Line::of(pairing, Channel::Notification);
        rotate_for_good(&mut self.lines, &mut txn, line)?;
        txn.stage(())
    }

    /// The line that a clip, or a picture, has come on.
    fn line_of(&self, clip: ClipId) -> Result<Option<Line>, JournalError> {
        let is_in = |list: Vec<AppClip>| list.iter().any(|known| known.clip == clip);
        for pairing in self.confirmed()? {
            if is_in(self.journal.app_clips(pairing.id)?) {
                return Ok(Some(event_line(pairing.id)));
            }
            if is_in(unless_damaged(self.journal.app_thumbnails(pairing.id))?) {
                return Ok(Some(Line::of(pairing.id, Channel::Thumbnail)));
            }
        }
        Ok(None)
    }
}

/// Rotates a group's key because something of its line was deleted.
fn rotate_for_good(
    lines: &mut BTreeMap<Line, Follow>,
    txn: &mut Txn<'_>,
    line: Line,
) -> Result<(), JournalError> {
    mutant!("delete_without_rotation", "S3", "a clip is deleted on the phone, and the keys of groups that could still derive it stay" => {
        return Ok(());
    });
    match lines.get_mut(&line) {
        Some(follow) => follow.session.rotate_for_good(txn),
        None => Session::<Follower>::new(line).rotate_for_good(txn),
    }
}
