//! What its core says of clips and phones, into the oracle's books; and what its own books tell of a drop that nobody
//! heard of.
//!
//! What must not be said is a broken promise.

use hub::core::{ClipFacts, ClipState, Core, Notice};
use journal::ids::Channel;
use journal::message::DropReason;

use super::{Fault, Hub, passing};
use crate::oracle::{self, Books, Broken};

impl Hub {
    /// Facts into the books.
    pub(super) fn settle(&mut self, books: &mut Books) -> Result<(), Fault> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let (mut finished, mut dropped) = (Vec::new(), Vec::new());
        let mut is_reopened = false;
        while let Some(notice) = process.core.poll_notice() {
            match notice {
                Notice::Reopened => is_reopened = true,
                Notice::ClipFinished { clip, .. } => finished.push(clip),
                Notice::PhoneSilent { .. } => books.silent = true,
                Notice::PhoneBack { .. } => books.silent = false,
                Notice::ClipStarted { .. } => books.not_for_the_silent()?,
                Notice::Told {
                    line,
                    started_unix_ms,
                } => {
                    books.not_for_the_silent()?;
                    match line.channel {
                        Channel::Thumbnail => {
                            books.pictured.insert(started_unix_ms);
                        }
                        _ if books.announced.contains(&started_unix_ms) => {
                            books.notified.insert(started_unix_ms);
                        }
                        // About no event: that the disk is full.
                        _ => books.alarms += 1,
                    }
                }
                // The picture of an event, which is no clip of the books.
                Notice::ClipDropped { line, .. }
                    if books.rotted && line.channel == Channel::Thumbnail => {}
                Notice::ClipDropped { clip, reason, .. } if books.may_drop(reason) => {
                    dropped.push((clip, reason));
                }
                Notice::ClipDropped { .. } | Notice::LineBroken { .. } => {
                    return Err(Broken::new("C2", format!("{notice:?}")).into());
                }
                _ => {}
            }
        }
        for clip in finished {
            let whole = clip.state == ClipState::Complete;
            let Some(sha256) = clip.sha256 else {
                return Err(Broken::new("C2", "a finished clip without its hash").into());
            };
            // The books find the event by what it holds: bytes from the beginning, with that hash.
            let found = books.events.values_mut().find(|event| {
                event.ended.is_none() && prefix_with(&event.pieces, clip.bytes, sha256)
            });
            match found {
                Some(event) => event.ended = Some((sha256, clip.bytes, whole)),
                None => {
                    let what = format!("a clip of {} bytes that no camera gave", clip.bytes);
                    return Err(Broken::new("C2", what).into());
                }
            }
        }
        // A whole clip, and only because its bytes are damaged, the disk is full, or it is old (C2).
        for (clip, reason) in dropped {
            let Some(event) = event_of(books, &clip) else {
                let what = "a clip was dropped that had not ended";
                return Err(Broken::new("C2", what).into());
            };
            match reason {
                DropReason::Damaged => event.dropped = true,
                DropReason::Budget => event.made_room = true,
                DropReason::Age => {
                    event.made_room = true;
                    let born_ms = event.born_ms;
                    books.may_be_past(born_ms)?;
                }
            }
        }
        if is_reopened {
            drops_unheard(&mut process.core, books)?;
        }
        Ok(())
    }
}

/// What was said of a drop may have died with its process, or with a journal that was opened again, and the drop is
/// durable all the same: the hub's books tell.
pub(super) fn drops_unheard(core: &mut Core, books: &mut Books) -> Result<(), Fault> {
    if books.rotted || !(books.filled || books.kept_ms.is_some()) {
        return Ok(());
    }
    let Some(status) = passing(core.status())? else {
        return Ok(());
    };
    let is_dropped = |clip: &&ClipFacts| clip.state == ClipState::Dropped;
    for clip in status.clips.iter().filter(is_dropped) {
        let Some(event) = event_of(books, clip) else {
            return Err(Broken::new("C2", "a clip was dropped that no camera gave").into());
        };
        event.made_room = true;
        let born_ms = event.born_ms;
        if !books.filled {
            books.may_be_past(born_ms)?;
        }
    }
    Ok(())
}

/// The event that a clip of the hub's books is of. That it has ended may have been said by nobody: then it is known
/// by what it holds.
fn event_of<'a>(books: &'a mut Books, clip: &ClipFacts) -> Option<&'a mut oracle::Event> {
    let sha256 = clip.sha256?;
    let is_of = |event: &&mut oracle::Event| match event.ended {
        Some((hash, _, _)) => hash == sha256,
        None => prefix_with(&event.pieces, clip.bytes, sha256),
    };
    books.events.values_mut().find(is_of)
}

/// Whether the pieces begin with so many bytes of this hash.
fn prefix_with(pieces: &[Vec<u8>], bytes: u64, sha256: [u8; 32]) -> bool {
    use sha2::{Digest as _, Sha256};
    let all = pieces.concat();
    let prefix = all.get(..bytes as usize);
    prefix.is_some_and(|prefix| <[u8; 32]>::from(Sha256::digest(prefix)) == sha256)
}
