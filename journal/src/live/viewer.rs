//! Live sessions at the app: the wish, and which frames may be shown.
//!
//! A relay may hold frames back, change their order, leave some out and bring old ones again. So a frame counts only
//! in the session that answers a wish of this very process, and only if its number is above every one that was
//! taken: rising (session, number), in memory (scenario 31). A process that starts again wishes anew, and nothing
//! of an earlier session is shown to it. That a picture is held back shows in the time that it carries. This room
//! must never store anything of a frame.

use wire::ids::Seq;
use zeroize::Zeroizing;

use super::{in_livestream, is_in_place};
use crate::error::JournalError;
use crate::ids::{Epoch, LiveId};
use crate::journal::Journal;
use crate::library::Taken;
use crate::message::{
    self, AppLiveMessage, CHUNK_BYTES_MAX, HubLiveMessage, LiveFrame, LiveStart, LiveWish,
};
use crate::session::live::Opened;
use crate::session::{Follower, Session};
use crate::txn::Txn;

/// What this process watches on a line.
pub(crate) struct Watched {
    wish: LiveId,
    session: Option<Watching>,
}

/// A session that answers a wish of this process.
#[derive(Clone, Copy)]
struct Watching {
    session: Epoch,
    /// The highest number that was taken.
    last: u64,
}

/// A frame that may be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LivePart {
    /// Which session.
    pub session: u64,
    /// Which frame of it. One above that of the part before, unless some are missing.
    pub number: u64,
    /// The number of the frame with which its group of pictures begins.
    pub group: u64,
    /// When its newest picture was captured, milliseconds since 1970 by the hub's clock.
    pub captured_unix_ms: u64,
    /// Whether a fragment ends with it.
    pub ends_fragment: bool,
    /// What a player needs first; in the first frame of each group.
    pub start: Option<LiveStart>,
    /// Bytes of the fragment.
    pub bytes: Zeroizing<Vec<u8>>,
}

/// What an arriving frame was.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LiveArrival {
    /// Not made by the hub for this mailbox.
    NotAuthentic,
    /// Of a session that is over, or behind a frame that was taken: it is passed over.
    Late,
    /// Of an epoch that is not here yet, or whose beginning is not: it may be tried again when the line has moved.
    Early,
    /// Nobody here has wished to watch.
    Unwanted,
    /// Authentic, and against the rules; the text says which. Nothing of it is shown.
    Refused(&'static str),
    /// To be shown.
    Part(LivePart),
}

impl Session<Follower> {
    /// Says that somebody wants to watch. Whatever was watched before is not shown any more.
    ///
    /// # Errors
    /// [`JournalError::Misuse`] on another channel; as [`Session::send_ack`].
    pub fn send_watch(&mut self, txn: &mut Txn<'_>, wish: &LiveWish) -> Result<Seq, JournalError> {
        in_livestream(self.line())?;
        let said = AppLiveMessage::Watch(wish.clone());
        let bytes =
            message::encode(&said).ok_or(JournalError::Misuse("our own messages must encode"))?;
        let seq = self.send(txn, &bytes)?;
        self.watched = Some(Watched {
            wish: wish.id,
            session: None,
        });
        Ok(seq)
    }

    /// Says that whoever wished that has seen enough. Nothing is shown any more.
    ///
    /// # Errors
    /// As [`Session::send_watch`].
    pub fn send_enough(&mut self, txn: &mut Txn<'_>, wish: LiveId) -> Result<Seq, JournalError> {
        in_livestream(self.line())?;
        let bytes = message::encode(&AppLiveMessage::Enough(wish))
            .ok_or(JournalError::Misuse("our own messages must encode"))?;
        self.watched = None;
        self.send(txn, &bytes)
    }

    /// Shows nothing any more.
    pub fn stop_watching(&mut self) {
        self.watched = None;
    }

    /// Forgets how far the frames have come that were taken (fuzz targets).
    #[cfg(feature = "crashtest")]
    pub(crate) fn forget_taken(&mut self) {
        let watched = self.watched.as_mut();
        if let Some(watching) = watched.and_then(|watched| watched.session.as_mut()) {
            watching.last = 0;
        }
    }

    /// Takes what the hub says of a session.
    pub(crate) fn take_live(
        &mut self,
        txn: &mut Txn<'_>,
        said: HubLiveMessage,
    ) -> Result<Taken, JournalError> {
        match said {
            HubLiveMessage::Begun(begun) => {
                let epoch = self.epoch(txn)?;
                if begun.session != epoch.0 {
                    return Ok(Taken::Nothing("a session of another epoch"));
                }
                let watched = self.watched.as_mut();
                if let Some(watched) = watched.filter(|watched| watched.wish == begun.wish) {
                    watched.session = Some(Watching {
                        session: epoch,
                        last: 0,
                    });
                }
                Ok(Taken::LiveBegun(begun))
            }
            HubLiveMessage::Ended(ended) => {
                self.watched.take_if(|watched| watched.wish == ended.wish);
                Ok(Taken::LiveEnded(ended))
            }
        }
    }

    /// Opens an arriving frame. Nothing is stored, whatever it is.
    ///
    /// # Errors
    /// Only our own storage.
    pub fn open_live(
        &mut self,
        journal: &mut Journal,
        frame: &[u8],
    ) -> Result<LiveArrival, JournalError> {
        in_livestream(self.line())?;
        let Some(watched) = &self.watched else {
            return Ok(LiveArrival::Unwanted);
        };
        let wanted = watched.session.map(|watching| watching.session);
        let (epoch, aad, plaintext) = match self.decrypt_live(journal, frame, wanted)? {
            Opened::NotAuthentic => return Ok(LiveArrival::NotAuthentic),
            Opened::Late => return Ok(LiveArrival::Late),
            Opened::Early => return Ok(LiveArrival::Early),
            Opened::Refused(why) => return Ok(LiveArrival::Refused(why)),
            Opened::Message {
                epoch,
                aad,
                plaintext,
            } => (epoch, aad, plaintext),
        };
        let read = message::decode::<LiveFrame<'_>>(&plaintext)
            .filter(|frame| is_in_place(frame, epoch, &aad) && is_sound(frame));
        let Some(read) = read else {
            return Ok(LiveArrival::Refused("a frame that cannot be read"));
        };
        let watching = self
            .watched
            .as_mut()
            .and_then(|watched| watched.session.as_mut());
        let Some(watching) = watching.filter(|watching| read.number > watching.last) else {
            return Ok(LiveArrival::Late);
        };
        watching.last = read.number;
        Ok(LiveArrival::Part(LivePart {
            session: read.session,
            number: read.number,
            group: read.group,
            captured_unix_ms: read.captured_unix_ms,
            ends_fragment: read.ends_fragment,
            bytes: Zeroizing::new(read.bytes.to_vec()),
            start: read.start,
        }))
    }
}

impl Txn<'_> {
    /// A name for a new wish.
    pub fn live_id(&mut self) -> LiveId {
        LiveId(self.random())
    }
}

/// A group begins with its start, and nothing else has one.
fn is_sound(frame: &LiveFrame<'_>) -> bool {
    let begins = frame.group == frame.number;
    frame.bytes.len() <= CHUNK_BYTES_MAX
        && (1..=frame.number).contains(&frame.group)
        && begins == frame.start.is_some()
}
