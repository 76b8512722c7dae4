//! Notifications: the hub says at once that something happens, or that it cannot do its work, and the app
//! remembers the last of them.
//!
//! Each is a Commit and the one message of its epoch, in one transaction, so an idle hub holds nothing that
//! opens it. At the app it is a value of its group, whose key rotates when the line falls quiet: what is
//! deleted or pushed out by newer ones opens under no key any more. This room must never hold more than
//! [`NOTICES_KEPT`].

use serde::{Deserialize, Serialize};
use wal::{crash_point, mutant};
use wire::ids::Seq;

use crate::error::JournalError;
use crate::ids::{Channel, Line, PairingId};
use crate::journal::{Journal, scan_all};
use crate::keys::{self, Family};
use crate::library::Taken;
use crate::message::{self, EventNotice, HubNotification, NAME_BYTES_MAX, NoticeKind};
use crate::scope::Scope;
use crate::session::{Committer, Follower, Session};
use crate::txn::Txn;

/// How many notifications an app remembers of a pairing. Each rotation of the group's key writes them
/// anew.
pub const NOTICES_KEPT: usize = 32;

/// A notification as the app keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AppNotice {
    /// Name of the camera; empty where it is about none.
    pub camera: String,
    /// When the event, or what else it is, began, milliseconds since 1970 by the hub's clock.
    pub started_unix_ms: u64,
    /// What it is.
    pub kind: NoticeKind,
    /// When the notification was taken here, milliseconds since 1970 by our clock.
    pub taken_unix_ms: u64,
}

impl AppNotice {
    fn is_same(&self, said: &EventNotice) -> bool {
        self.kind == said.kind
            && self.camera == said.camera
            && self.started_unix_ms == said.started_unix_ms
    }

    /// Whether it is about the event of this camera that began then.
    #[must_use]
    pub fn is_of(&self, camera: &str, started_unix_ms: u64) -> bool {
        self.kind.is_event() && self.camera == camera && self.started_unix_ms == started_unix_ms
    }
}

fn prefix(line: Line) -> Vec<u8> {
    keys::secret(Scope::Group(line), Family::Notice, &[])
}

fn key(line: Line, number: u64) -> Vec<u8> {
    keys::secret(Scope::Group(line), Family::Notice, &number.to_be_bytes())
}

/// The number at the end of such a key.
fn number(key: &[u8]) -> u64 {
    key.last_chunk::<8>()
        .map_or(0, |tail| u64::from_be_bytes(*tail))
}

fn decode(line: Line, bytes: &[u8]) -> Result<AppNotice, JournalError> {
    crate::codec::from_row(bytes).ok_or(JournalError::ValueDamaged {
        scope: Scope::Group(line),
        what: "notification",
    })
}

impl Session<Committer> {
    /// Says in the notification channel that something happens: a Commit and this message, and the epoch is
    /// closed behind it, all in this transaction.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel, or with too long a name. As
    /// [`Session::advance_epoch`] otherwise.
    pub fn notify(&mut self, txn: &mut Txn<'_>, notice: &EventNotice) -> Result<Seq, JournalError> {
        if self.line().channel != Channel::Notification {
            return Err(JournalError::Misuse(
                "notifications are said in the notification channel",
            ));
        }
        if notice.camera.len() > NAME_BYTES_MAX {
            return Err(JournalError::Misuse("camera names have at most 64 bytes"));
        }
        let bytes = message::encode(&HubNotification::Event(notice.clone()))
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        self.advance_epoch(txn)?;
        let seq = self.finish(txn, &bytes)?;
        // CRASH(journal.notice.hub_staged): before: nobody is told, and nobody is later: what it is about goes on
        // without | after: Commit, message and the end of its epoch are synced as one.
        crash_point!("journal.notice.hub_staged");
        Ok(seq)
    }
}

impl Session<Follower> {
    /// Remembers a notification. A second one of the same changes nothing: a hub that does not know whether it
    /// has said it says it again.
    pub(crate) fn take_notification(
        &mut self,
        txn: &mut Txn<'_>,
        notification: HubNotification,
        now_unix_ms: u64,
    ) -> Result<Taken, JournalError> {
        let HubNotification::Event(said) = notification;
        let line = self.line();
        let scope = Scope::Group(line);
        if said.kind.is_event() && txn.is_event_gone(line, &said.camera, said.started_unix_ms)? {
            return Ok(Taken::Nothing(
                "a notification of an event that was deleted",
            ));
        }
        let known = txn.secrets(scope, &prefix(line))?;
        for bytes in known.values() {
            if decode(line, bytes)?.is_same(&said) {
                return Ok(Taken::Nothing("a second notification of the same"));
            }
        }
        let notice = AppNotice {
            camera: said.camera,
            started_unix_ms: said.started_unix_ms,
            kind: said.kind,
            taken_unix_ms: now_unix_ms,
        };
        let next = known.keys().next_back().map_or(0, |last| number(last) + 1);
        let excess = (known.len() + 1).saturating_sub(NOTICES_KEPT);
        for oldest in known.into_keys().take(excess) {
            txn.delete_secret(scope, oldest);
        }
        txn.put_secret_row(scope, Family::Notice, &next.to_be_bytes(), &notice)?;
        // CRASH(journal.notice.app_staged): before: it is not remembered, the cursor is before it; it comes again |
        // after: it is remembered, synced with the cursor behind it.
        crash_point!("journal.notice.app_staged");
        Ok(Taken::Notified(notice))
    }
}

impl Txn<'_> {
    /// Forgets the notification of an event, if it is remembered. Rotate the key of the notification line's
    /// group in the same transaction.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn forget_notice(
        &mut self,
        pairing: PairingId,
        camera: &str,
        started_unix_ms: u64,
    ) -> Result<(), JournalError> {
        let line = Line::of(pairing, Channel::Notification);
        let scope = Scope::Group(line);
        for (found, bytes) in self.secrets(scope, &prefix(line))? {
            if decode(line, &bytes)?.is_of(camera, started_unix_ms)
                && !mutant!(
                    "notice_outlives_its_clip",
                    "S3",
                    "a clip is deleted on the phone, and the notification of its event stays"
                )
            {
                self.delete_secret(scope, key(line, number(&found)));
            }
        }
        Ok(())
    }
}

impl Journal {
    /// The notifications that an app remembers of a pairing, oldest first.
    ///
    /// # Errors
    /// If a row cannot be read.
    pub fn app_notices(&self, pairing: PairingId) -> Result<Vec<AppNotice>, JournalError> {
        let line = Line::of(pairing, Channel::Notification);
        let scope = Scope::Group(line);
        let rows = scan_all(&self.wal, &prefix(line))?;
        let notices = rows.iter().map(|(key, sealed)| {
            let bytes = self.open_value(scope, key, sealed)?;
            decode(line, &bytes)
        });
        notices.collect()
    }
}
