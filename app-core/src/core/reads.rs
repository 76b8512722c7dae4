//! What the core can say without changing anything.

use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{
    AppClip, AppNotice, Device, Durable, HeartbeatState, JournalError, Mailboxes, OutboxHead,
};
use wire::envelope::Envelope;
use wire::{Digest, Seq};
use zeroize::Zeroizing;

use super::{
    Core, Over, Pulse, event_line, is_about_one_line, is_notice_of, is_same_event, unless_damaged,
};

/// Where a line's envelopes go and come from.
#[derive(Clone, Debug)]
pub struct LineInfo {
    /// Which line.
    pub line: Line,
    /// The relay, as text.
    pub relay: String,
    /// Its mailboxes.
    pub mailboxes: Mailboxes,
}

/// What belongs to an event, and the event's clip.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfEvent<T> {
    /// Whose.
    pub pairing: PairingId,
    /// The clip; `None` as long as it has not begun here, or if it is gone.
    pub clip: Option<ClipId>,
    /// What belongs to it.
    pub what: T,
}

/// How the keys of one channel stand.
#[derive(Clone, Copy, Debug)]
pub struct ChannelStatus {
    /// Which channel.
    pub channel: Channel,
    /// When the keys of ours that the hub took last were made, milliseconds since 1970: copies of this
    /// directory that are older are shut out. `None` if it took none since pairing.
    pub healed_unix_ms: Option<u64>,
    /// An update of ours waits for the hub's Commit: nothing can be said on this line before it.
    pub awaits_commit: bool,
}

/// How a pairing's event video line stands, and what counts of the others.
#[derive(Clone, Debug)]
pub struct LineStatus {
    /// Which line.
    pub line: Line,
    /// The relay, as text.
    pub relay: String,
    /// Epoch of its group; 0 if what is stored of that cannot be used.
    pub epoch: u64,
    /// The last envelope taken.
    pub cursor: Seq,
    /// What the last ack of this process said.
    pub acked: Seq,
    /// Envelopes in our outbox.
    pub waiting: u64,
    /// Number of clips.
    pub clips: u64,
    /// When it was paired, seconds since 1970.
    pub paired_unix_s: u64,
    /// Why nothing more is taken or sent on one of the pairing's lines, if that is so: the worst of all.
    pub over: Option<Over>,
    /// All channels.
    pub channels: Vec<ChannelStatus>,
    /// The last heartbeat.
    pub heartbeat: Option<HeartbeatState>,
    /// What it comes to.
    pub pulse: Pulse,
}

impl Core {
    /// The five lines of each confirmed pairing, the oldest pairing first.
    ///
    /// # Errors
    /// Only our own storage; likewise for everything below.
    pub fn lines(&self) -> Result<Vec<LineInfo>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            for line in Line::all(pairing.id) {
                out.push(LineInfo {
                    line,
                    relay: pairing.relay.clone(),
                    mailboxes: self.journal.mailboxes(line)?,
                });
            }
        }
        Ok(out)
    }

    /// How all confirmed pairings stand.
    pub fn status(&mut self) -> Result<Vec<LineStatus>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            let line = event_line(pairing.id);
            let cursor = self.journal.inbox_head(line)?.cursor;
            let (waiting, _bytes) = self.journal.outbox_waiting(line)?;
            let clips = self.journal.app_clips(pairing.id)?.len() as u64;
            let acked = self.journal.ack_sent(line)?;
            let epoch = self.epoch(line)?;
            let (mut channels, mut over) = (Vec::new(), None);
            for line in Line::all(pairing.id) {
                let healed = self.journal.line_keys(line)?.and_then(|keys| keys.healed);
                let (of_line, awaits_commit) = self.stand(line)?;
                over = match (over, of_line) {
                    (Some(Over::RolledBack), _) | (_, None) => over,
                    (_, worse) => worse,
                };
                channels.push(ChannelStatus {
                    channel: line.channel,
                    healed_unix_ms: healed.map(|healed| healed.made_unix_ms),
                    awaits_commit,
                });
            }
            out.push(LineStatus {
                line,
                relay: pairing.relay,
                epoch,
                cursor,
                acked,
                waiting,
                clips,
                paired_unix_s: pairing.paired_unix_s,
                over,
                channels,
                heartbeat: self.journal.heartbeat(pairing.id)?,
                pulse: self.pulse(pairing.id)?,
            });
        }
        Ok(out)
    }

    /// The epoch of a line's group; 0 if what is stored of it cannot be used, which the line's standing says.
    fn epoch(&mut self, line: Line) -> Result<u64, JournalError> {
        let followed = self.follow(line).map(|_follow| ());
        let epoch = followed.and_then(|()| match self.lines.get_mut(&line) {
            Some(follow) => follow.session.epoch(&mut self.journal.begin()),
            None => Err(JournalError::NoGroup(line)),
        });
        match epoch {
            Ok(epoch) => Ok(epoch.0),
            Err(error) if is_about_one_line(&error) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// How far a line has been read: where to attach.
    pub fn cursor(&self, line: Line) -> Result<Seq, JournalError> {
        Ok(self.journal.inbox_head(line)?.cursor)
    }

    /// Head and watermark of a line's outbox.
    pub fn outbox(&self, line: Line) -> Result<OutboxHead, JournalError> {
        self.journal.outbox_head(line)
    }

    /// The first durable envelope behind `after`; the error that says so once the line is over.
    pub fn next_envelope(
        &self,
        line: Line,
        after: Seq,
    ) -> Result<Option<(Seq, Durable<Envelope>)>, JournalError> {
        if let Some(over) = self.over(line)? {
            return Err(over.error(line));
        }
        self.journal.outbox_next(line, after)
    }

    /// The digest of the envelope in our outbox under exactly this number.
    pub fn envelope_digest(&self, line: Line, seq: Seq) -> Result<Option<Digest>, JournalError> {
        let found = self
            .journal
            .outbox_next(line, Seq(seq.0.saturating_sub(1)))?;
        Ok(found
            .filter(|(at, _)| *at == seq)
            .map(|(_, envelope)| envelope.digest()))
    }

    /// All clips of all pairings, in the order in which they became known.
    pub fn clips(&self) -> Result<Vec<(PairingId, AppClip)>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            let clips = self.journal.app_clips(pairing.id)?;
            out.extend(clips.into_iter().map(|clip| (pairing.id, clip)));
        }
        Ok(out)
    }

    /// One clip, or the picture of an event, and its pairing.
    pub fn clip(&self, clip: ClipId) -> Result<(PairingId, AppClip), JournalError> {
        let mut known = self.clips()?;
        for pairing in self.confirmed()? {
            let thumbnails = self.journal.app_thumbnails(pairing.id)?;
            known.extend(thumbnails.into_iter().map(|one| (pairing.id, one)));
        }
        let found = known.into_iter().find(|(_, known)| known.clip == clip);
        found.ok_or(JournalError::NoSuchClip(clip))
    }

    /// All pictures of events, in the order in which they became known, each with the clip of its event,
    /// if that is known.
    pub fn thumbnails(&self) -> Result<Vec<OfEvent<AppClip>>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            let clips = self.journal.app_clips(pairing.id)?;
            for thumbnail in self.journal.app_thumbnails(pairing.id)? {
                let clip = clips.iter().find(|clip| is_same_event(clip, &thumbnail));
                out.push(OfEvent {
                    pairing: pairing.id,
                    clip: clip.map(|clip| clip.clip),
                    what: thumbnail,
                });
            }
        }
        Ok(out)
    }

    /// All notifications that are remembered, the oldest pairing's first and each pairing's oldest first,
    /// each with the clip of its event, if that is known.
    pub fn notices(&self) -> Result<Vec<OfEvent<AppNotice>>, JournalError> {
        let mut out = Vec::new();
        for pairing in self.confirmed()? {
            let clips = self.journal.app_clips(pairing.id)?;
            for notice in unless_damaged(self.journal.app_notices(pairing.id))? {
                let clip = clips.iter().find(|clip| is_notice_of(&notice, clip));
                out.push(OfEvent {
                    pairing: pairing.id,
                    clip: clip.map(|clip| clip.clip),
                    what: notice,
                });
            }
        }
        Ok(out)
    }

    /// The bytes of a chunk.
    pub fn chunk(&self, clip: ClipId, index: u32) -> Result<Zeroizing<Vec<u8>>, JournalError> {
        self.journal.app_chunk(clip, index)
    }

    /// The device's identity and certificate; made when first asked for.
    pub fn device(&mut self) -> Result<Device, JournalError> {
        self.journal.device()
    }
}
