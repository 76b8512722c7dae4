//! What the app's owner has deleted, for as long as more of it may come: a relay delays one channel and not the other.
//!
//! A digest of each event in the groups of its picture and its notification, and of each clip that was still coming
//! in the group that it came in; what came late is then not taken. They are values of their group, sealed
//! like all of them, because a digest of a camera and a time can be guessed. This room must never remember more than
//! [`GONE_KEPT`] of a line, and never be in the way of a deletion.

use sha2::{Digest as _, Sha256};

use crate::error::{ErrorKind, JournalError};
use crate::ids::{Channel, ClipId, Line, PairingId};
use crate::keys::Family;
use crate::scope::Scope;
use crate::txn::Txn;

/// Deletions that a line remembers. Each rotation of the group's key writes them anew: 16 bytes each.
pub const GONE_KEPT: usize = 128;

/// Of what was deleted.
type Mark = [u8; 16];

fn mark(parts: [&[u8]; 3]) -> Mark {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part);
    }
    let mut mark = Mark::default();
    for (byte, of_digest) in mark.iter_mut().zip(digest.finalize()) {
        *byte = of_digest;
    }
    mark
}

fn of_event(camera: &str, started_unix_ms: u64) -> Mark {
    mark([b"event", &started_unix_ms.to_be_bytes(), camera.as_bytes()])
}

fn of_clip(clip: ClipId) -> Mark {
    mark([b"clip", &clip.0, b""])
}

fn marks(txn: &Txn<'_>, line: Line) -> Result<Vec<Mark>, JournalError> {
    match txn.secret_row(Scope::Group(line), Family::Gone, &[]) {
        Ok(marks) => Ok(marks.unwrap_or_default()),
        // Then it remembers nothing, and goes on from there.
        Err(error) if error.kind() == ErrorKind::Corrupt => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn remember(txn: &mut Txn<'_>, line: Line, mark: Mark) -> Result<(), JournalError> {
    let scope = Scope::Group(line);
    // Of a line that is not there nothing can come.
    if !txn.has_scope(scope) {
        return Ok(());
    }
    let mut marks = marks(txn, line)?;
    if marks.contains(&mark) {
        return Ok(());
    }
    let excess = (marks.len() + 1).saturating_sub(GONE_KEPT);
    marks.drain(..excess);
    marks.push(mark);
    txn.put_secret_row(scope, Family::Gone, &[], &marks)
}

impl Txn<'_> {
    /// Remembers that the event of this camera which began then is deleted: no picture and no notification of it is
    /// taken from now on.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn event_is_gone(
        &mut self,
        pairing: PairingId,
        camera: &str,
        started_unix_ms: u64,
    ) -> Result<(), JournalError> {
        for channel in [Channel::Thumbnail, Channel::Notification] {
            let line = Line::of(pairing, channel);
            remember(self, line, of_event(camera, started_unix_ms))?;
        }
        Ok(())
    }

    /// Remembers that a clip or a picture is deleted that was still coming on this line: no word of the hub brings it
    /// back.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn clip_is_gone(&mut self, line: Line, clip: ClipId) -> Result<(), JournalError> {
        remember(self, line, of_clip(clip))
    }

    pub(crate) fn is_event_gone(
        &self,
        line: Line,
        camera: &str,
        started_unix_ms: u64,
    ) -> Result<bool, JournalError> {
        Ok(marks(self, line)?.contains(&of_event(camera, started_unix_ms)))
    }

    pub(crate) fn is_clip_gone(&self, line: Line, clip: ClipId) -> Result<bool, JournalError> {
        Ok(marks(self, line)?.contains(&of_clip(clip)))
    }
}
