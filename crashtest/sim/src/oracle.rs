//! What must hold, by the numbers of SECURITY.md, and the books that it is judged by.
//!
//! The books are kept outside the nodes and survive every crash: what the camera gave, what the hub
//! said was durable, what left whom. They must never take a node's word for what another one holds.

use std::collections::{BTreeMap, BTreeSet};

use journal::ids::CommandId;
use journal::message::{DropReason, SettingsDoc};
use journal::{CommandBook, FULL_ENVELOPE_BYTES, NOTICES_KEPT};
use sha2::{Digest as _, Sha256};
use wire::{Digest, SendId, Seq};

pub use crashtest::oracle::Broken;

/// An event that the camera saw.
#[derive(Clone, Debug, Default)]
pub struct Event {
    /// What it gave so far.
    pub pieces: Vec<Vec<u8>>,
    /// How many of them the hub said are durable.
    pub durable: usize,
    /// SHA-256 and bytes that the hub's books say, once its clip has ended.
    pub ended: Option<([u8; 32], u64, bool)>,
    /// The hub said that its bytes are lost, after rot.
    pub dropped: bool,
    /// The hub said that it was dropped for its room, after its disk was full, or for its age. The relay may hold it
    /// all the same, and then the app may have it whole.
    pub made_room: bool,
    /// What [`Books::ran_ms`] was when it began.
    pub born_ms: u64,
}

/// A clip as the app has it at the end.
#[derive(Clone, Debug)]
pub struct Held {
    /// When its event began: its name here.
    pub started_unix_ms: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether the app holds it for whole, or for cut off.
    pub whole: Option<bool>,
    /// What the app stored as its hash.
    pub sha256: Option<[u8; 32]>,
    /// The app keeps the statement that it is lost, and why.
    pub dropped: Option<DropReason>,
}

/// Whether the hub tells the phone of this event, and sends it a picture: a third of all.
#[must_use]
pub fn is_told(name: u64) -> bool {
    name.is_multiple_of(3)
}

/// The picture of an event.
#[must_use]
pub fn picture_of(name: u64) -> Vec<u8> {
    name.to_be_bytes().repeat(400)
}

/// The books.
#[derive(Default)]
pub struct Books {
    /// By the time at which they began.
    pub events: BTreeMap<u64, Event>,
    /// Events of which the hub was to tell the phone.
    pub announced: BTreeSet<u64>,
    /// How often it has told it something that is no event.
    pub alarms: usize,
    /// Events of which the hub said that a notification is stored for the phone.
    pub notified: BTreeSet<u64>,
    /// Events of which it said that of their picture.
    pub pictured: BTreeSet<u64>,
    /// Everything that ever left for a mailbox.
    sent: BTreeMap<(SendId, Seq), Digest>,
    /// The highest that ever left for a mailbox.
    sent_through: BTreeMap<SendId, Seq>,
    /// The highest that the relay gave a receipt for, and still has to know of.
    pub receipts: BTreeMap<SendId, Seq>,
    /// The highest that the reader of a mailbox said it holds: in a trim, or in an ack that left.
    claimed: BTreeMap<SendId, Seq>,
    /// What acks claim that are made and have not left: by their envelope.
    acks: BTreeMap<(SendId, Seq), Vec<(SendId, Seq)>>,
    /// Envelopes that left, again included.
    pub left: u64,
    /// Heartbeats that the phone made.
    pub heartbeats: u64,
    /// Commands that the phone said are stored.
    pub orders: BTreeSet<CommandId>,
    /// The hub has said that its phone is silent, and not yet that it was heard of again.
    pub silent: bool,
    /// Some stored bytes were damaged: a clip may be lost, if both ends say so.
    pub rotted: bool,
    /// The hub's disk was full: the oldest clips may have made room.
    pub filled: bool,
    /// For how many milliseconds of running the hub keeps clips, if they go there for their age.
    pub kept_ms: Option<u64>,
    /// For how many milliseconds the hub has run, as its processes were told: none of them knows of more.
    pub ran_ms: u64,
    /// Mailboxes whose writer, or whose reader, runs on an old copy of its directory.
    old_writers: BTreeSet<SendId>,
    old_readers: BTreeSet<SendId>,
    /// Where an envelope lies in the ratchets, by mailbox, number and digest as text.
    places: BTreeMap<(String, String, String), String>,
    /// Statements, which lie in no ratchet: mailbox, number and digest.
    statements: BTreeSet<(String, String, String)>,
    /// Covers, which lie in none either.
    covers: BTreeSet<(String, String, String)>,
    /// Mailboxes in which everything behind this number must leave in one size.
    alike_behind: BTreeMap<SendId, Seq>,
    /// The first envelope that an end took and the other one never sealed.
    forged: Option<String>,
    /// What was encrypted at a place and left.
    encrypted: BTreeMap<String, Digest>,
}

impl Books {
    /// Whoever writes `own` and reads `other` runs on an old copy of its directory from now on.
    pub fn rolled_back(&mut self, own: SendId, other: SendId) {
        self.old_writers.insert(own);
        self.old_readers.insert(other);
    }

    /// Whether the reader of a mailbox runs on an old copy.
    #[must_use]
    pub fn is_old_reader(&self, mailbox: SendId) -> bool {
        self.old_readers.contains(&mailbox)
    }

    /// Whether somebody runs on an old copy.
    #[must_use]
    pub fn is_rolled_back(&self) -> bool {
        !self.old_writers.is_empty()
    }

    /// Whether whoever writes this mailbox runs on an old copy.
    #[must_use]
    pub fn is_old_writer(&self, mailbox: SendId) -> bool {
        self.old_writers.contains(&mailbox)
    }

    /// The last envelope that ever left for a mailbox.
    #[must_use]
    pub fn left_through(&self, mailbox: SendId) -> Seq {
        self.sent_through.get(&mailbox).copied().unwrap_or_default()
    }

    /// Takes in what was noted since: `place SEQ GROUP EPOCH LEAF KIND GENERATION` comes before the
    /// `seal MAILBOX SEQ DIGEST` of its envelope, and so does `cover SEQ`.
    fn read_notes(&mut self) {
        let mut last = None;
        let mut cover = None;
        for line in wal::note::take().lines() {
            let words: Vec<&str> = line.split(' ').skip(1).collect();
            match words.as_slice() {
                ["place", seq, place @ .., _lsn] => last = Some((*seq, place.join(" "))),
                ["cover", seq, _lsn] => cover = Some(*seq),
                ["seal", mailbox, seq, digest, _lsn] => {
                    let [name, number, hash] =
                        [mailbox, seq, digest].map(|word| (*word).to_owned());
                    let key = (name, number, hash);
                    if cover.take() == Some(*seq) {
                        self.covers.insert(key);
                    } else if let Some((_, place)) = last.take().filter(|(of, _)| of == seq) {
                        self.places.insert(key, place);
                    }
                }
                ["replace", mailbox, seq, digest, _lsn] => {
                    let [mailbox, seq, digest] =
                        [mailbox, seq, digest].map(|word| (*word).to_owned());
                    self.statements.insert((mailbox, seq, digest));
                }
                ["take", mailbox, seq, digest, _lsn] => {
                    let [mailbox, seq, digest] =
                        [mailbox, seq, digest].map(|word| (*word).to_owned());
                    let key = (mailbox, seq, digest);
                    if !self.places.contains_key(&key) && !self.has_no_place(&key) {
                        let what = format!("envelope {} was taken, which nobody sealed", key.1);
                        self.forged.get_or_insert(what);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether this is a statement or a cover: neither lies in a ratchet.
    fn has_no_place(&self, envelope: &(String, String, String)) -> bool {
        self.statements.contains(envelope) || self.covers.contains(envelope)
    }

    /// From now on everything new of this mailbox must leave in one size; what has a number up to here is
    /// older, and the first word counts.
    pub fn must_look_alike(&mut self, mailbox: SendId, behind: Seq) {
        self.alike_behind.entry(mailbox).or_insert(behind);
    }

    /// An envelope of so many bytes leaves.
    ///
    /// # Errors
    /// S1 if its length tells it from others that must look like it.
    pub fn looks_alike(&self, mailbox: SendId, seq: Seq, bytes: usize) -> Result<(), Broken> {
        let behind = self.alike_behind.get(&mailbox);
        if behind.is_some_and(|behind| seq > *behind) && bytes != FULL_ENVELOPE_BYTES {
            let what = format!("envelope {seq} leaves with {bytes} bytes, unlike all others");
            return Err(Broken::new("S1", what));
        }
        Ok(())
    }

    /// C6: nothing changed state but what the other end once sealed under that number.
    ///
    /// # Errors
    /// C6.
    pub fn nothing_forged(&mut self) -> Result<(), Broken> {
        self.read_notes();
        match &self.forged {
            Some(what) => Err(Broken::new("C6", what.clone())),
            None => Ok(()),
        }
    }

    /// One ciphertext at one place of a ratchet, over everything that ever left.
    fn no_reuse(&mut self, mailbox: SendId, seq: Seq, digest: Digest) -> Result<(), Broken> {
        self.nothing_forged()?;
        let key = (mailbox.to_text(), seq.to_string(), digest.to_text());
        if self.has_no_place(&key) {
            return Ok(());
        }
        let Some(place) = self.places.get(&key) else {
            let what = format!("envelope {seq} left, whose place in the ratchets is unknown");
            return Err(Broken::new("C3", what));
        };
        let first = self.encrypted.entry(place.clone()).or_insert(digest);
        if *first != digest {
            let what = format!("envelope {seq} is encrypted at {place}, as another one was");
            return Err(Broken::new("C3", what));
        }
        Ok(())
    }

    /// After a failed write or sync nothing may leave that had not left before, until the journal is
    /// opened again: nobody knows what the disk holds.
    ///
    /// # Errors
    /// C4.
    pub fn leaves_after(
        &self,
        failure: Option<String>,
        mailbox: SendId,
        seq: Seq,
    ) -> Result<(), Broken> {
        let known = self.sent.contains_key(&(mailbox, seq));
        nothing_new(failure.filter(|_| !known), &format!("envelope {seq} left"))
    }

    /// As [`Self::leaves_after`], of the word that everything through here is held.
    ///
    /// # Errors
    /// C4.
    pub fn claims_after(
        &self,
        failure: Option<String>,
        mailbox: SendId,
        through: Seq,
    ) -> Result<(), Broken> {
        let claimed = self.claimed.get(&mailbox).copied().unwrap_or_default();
        let failure = failure.filter(|_| through > claimed);
        nothing_new(failure, &format!("{through} was trimmed"))
    }

    /// The app made an ack, in this envelope of the mailbox that it writes to: it claims of each of these
    /// mailboxes to hold everything through there.
    pub fn ack_made(&mut self, envelope: (SendId, Seq), claims: Vec<(SendId, Seq)>) {
        self.acks.insert(envelope, claims);
    }

    /// An envelope leaves.
    ///
    /// # Errors
    /// C3 if another one left under its number before. The one exception lies in no ratchet: a statement takes, once,
    /// the number of what a clip had there that is given up for its room or its damage.
    pub fn leaves(&mut self, mailbox: SendId, seq: Seq, digest: Digest) -> Result<(), Broken> {
        self.left += 1;
        if self.old_writers.contains(&mailbox) && self.sent.get(&(mailbox, seq)) != Some(&digest) {
            let what = format!("envelope {seq} left a directory that is older than what had left");
            return Err(Broken::new("C8", what));
        }
        self.no_reuse(mailbox, seq, digest)?;
        let of = |digest: Digest| (mailbox.to_text(), seq.to_string(), digest.to_text());
        let may_drop = self.rotted || self.filled || self.kept_ms.is_some();
        let first = self.sent.entry((mailbox, seq)).or_insert(digest);
        let is_given_up = may_drop
            && self.statements.contains(&of(digest))
            && !self.statements.contains(&of(*first));
        if *first != digest && is_given_up {
            *first = digest;
        }
        if *first != digest {
            return Err(Broken::new(
                "C3",
                format!("envelope {seq} left twice with different bytes"),
            ));
        }
        let through = self.sent_through.entry(mailbox).or_default();
        *through = (*through).max(seq);
        Ok(())
    }

    /// The reader of a mailbox says that it holds everything through here.
    pub fn claims(&mut self, mailbox: SendId, through: Seq) {
        let claimed = self.claimed.entry(mailbox).or_default();
        *claimed = (*claimed).max(through);
    }

    /// An envelope of the app leaves; if it is an ack, it claims what it says.
    pub fn ack_leaves(&mut self, envelope: (SendId, Seq)) {
        for (mailbox, through) in self.acks.get(&envelope).cloned().unwrap_or_default() {
            self.claims(mailbox, through);
        }
    }

    /// What a sender that was started again knows of must explain all that ever left.
    ///
    /// # Errors
    /// C4.
    pub fn explains(&self, mailbox: SendId, head: Seq) -> Result<(), Broken> {
        if self.old_writers.contains(&mailbox) {
            return Ok(());
        }
        let sent = self.sent_through.get(&mailbox).copied().unwrap_or_default();
        if head < sent {
            return Err(Broken::new(
                "C4",
                format!("envelope {sent} had left, and the start knows of {head} only"),
            ));
        }
        Ok(())
    }

    /// What a reader that was started again holds must be what it had said it holds.
    ///
    /// # Errors
    /// C4.
    pub fn holds(&self, mailbox: SendId, cursor: Seq) -> Result<(), Broken> {
        if self.old_readers.contains(&mailbox) {
            return Ok(());
        }
        let said = self.claimed.get(&mailbox).copied().unwrap_or_default();
        if cursor < said {
            return Err(Broken::new(
                "C4",
                format!("{said} was acked or trimmed, and the start holds {cursor} only"),
            ));
        }
        Ok(())
    }

    /// An event is recorded for the phone. While that is silent, none is. The answer to new keys of it is no event:
    /// they may come before its first word.
    ///
    /// # Errors
    /// A1.
    pub fn not_for_the_silent(&self) -> Result<(), Broken> {
        match self.silent {
            false => Ok(()),
            true => Err(Broken::new(
                "A1",
                "an event was recorded for a phone that is silent",
            )),
        }
    }

    /// Commands at the end: each that was stored was done once, in the order in which they were given, and the
    /// phone knows what came of it.
    ///
    /// # Errors
    /// C2.
    pub fn judge_orders(&self, known: &CommandBook, hub: &SettingsDoc) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken::new("C2", what));
        for (n, done) in known.done.iter().enumerate() {
            let Some(doc) = done.result.settings() else {
                return broken(format!("a command came to {:?}", done.result));
            };
            if doc.made_by != Some(done.id) || doc.version != n as u64 + 1 {
                return broken(format!("command {n} has made version {}", doc.version));
            }
        }
        let is_done = |id: &&CommandId| known.done.iter().any(|done| done.id == **id);
        if let Some(lost) = self.orders.iter().find(|id| !is_done(id)) {
            return broken(format!("command {lost:?} was stored, and is not answered"));
        }
        if hub.version != known.done.len() as u64 {
            let (count, version) = (known.done.len(), hub.version);
            return broken(format!(
                "{count} commands were done, and the hub has version {version}"
            ));
        }
        if known.settings != *hub {
            return broken(format!(
                "the phone knows {:?}, the hub has {hub:?}",
                known.settings
            ));
        }
        Ok(())
    }

    /// Whether the hub may drop a clip for this reason.
    #[must_use]
    pub fn may_drop(&self, reason: DropReason) -> bool {
        match reason {
            DropReason::Damaged => self.rotted,
            DropReason::Budget => self.filled,
            DropReason::Age => self.kept_ms.is_some(),
        }
    }

    /// A clip went for its age, whose event began when [`Self::ran_ms`] was `born_ms`.
    ///
    /// # Errors
    /// C2 if it has not waited for as long as clips are kept.
    pub fn may_be_past(&self, born_ms: u64) -> Result<(), Broken> {
        let waited_ms = self.ran_ms.saturating_sub(born_ms);
        // A hub counts whole seconds.
        let is_old = |kept_ms| waited_ms + 1_000 >= kept_ms;
        match self.kept_ms.is_some_and(is_old) {
            true => Ok(()),
            false => Err(Broken::new(
                "C2",
                format!("a clip went for its age after {} s", waited_ms / 1_000),
            )),
        }
    }

    /// All clips at the end.
    ///
    /// # Errors
    /// C2.
    pub fn judge(&self, held: &[Held]) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken::new("C2", what));
        let mut clips: BTreeMap<u64, &Held> = BTreeMap::new();
        let said = self.events.values().filter(|event| event.dropped).count();
        let made_room = self.events.values().filter(|event| event.made_room);
        let most = said + made_room.count();
        let kept = held.iter().filter(|clip| clip.dropped.is_some()).count();
        if !(said..=most).contains(&kept) {
            return broken(format!(
                "the hub dropped {said} to {most} clips, the app knows of {kept}"
            ));
        }
        // A clip that went for its room without a statement is missed later, and the owner would hear of damage.
        let mut told = held.iter().filter_map(|clip| clip.dropped);
        if let Some(reason) = told.find(|reason| !self.may_drop(*reason)) {
            return broken(format!(
                "the app was told that a clip is lost, as {reason:?}, and nothing of that kind happened"
            ));
        }
        for clip in held.iter().filter(|clip| clip.dropped.is_none()) {
            if clips.insert(clip.started_unix_ms, clip).is_some() {
                return broken(format!(
                    "the event of {} is there twice",
                    clip.started_unix_ms
                ));
            }
            let Some(event) = self.events.get(&clip.started_unix_ms) else {
                return broken("a clip that no camera ever saw".into());
            };
            let name = clip.started_unix_ms;
            let whole: Vec<u8> = event.pieces.concat();
            if !whole.starts_with(&clip.bytes) {
                return broken(format!("event {name}: other bytes than the camera gave"));
            }
            let durable: usize = event.pieces[..event.durable].iter().map(Vec::len).sum();
            if clip.bytes.len() < durable {
                let got = clip.bytes.len();
                return broken(format!("event {name}: {got} of {durable} durable bytes"));
            }
            let Some(claimed_whole) = clip.whole else {
                return broken(format!("event {name}: never ended at the app"));
            };
            let sha256: [u8; 32] = Sha256::digest(&clip.bytes).into();
            if clip.sha256 != Some(sha256) {
                return broken(format!("event {name}: the app's hash is of other bytes"));
            }
            if let Some((hash, bytes, hub_whole)) = event.ended
                && (hash != sha256
                    || bytes != clip.bytes.len() as u64
                    || hub_whole != claimed_whole)
            {
                return broken(format!("event {name}: the hub's books say otherwise"));
            }
            if claimed_whole && clip.bytes.len() != whole.len() {
                return broken(format!("event {name}: called whole and is not"));
            }
        }
        for (name, event) in &self.events {
            let may_be_gone = event.dropped || event.made_room;
            if event.durable > 0 && !may_be_gone && !clips.contains_key(name) {
                return broken(format!("event {name}: durable at the hub, never arrived"));
            }
        }
        Ok(())
    }
}

impl Books {
    /// Notifications and pictures of events at the end, by when their events began: what the hub said is stored for
    /// the phone is there, once, and as it was.
    ///
    /// # Errors
    /// C2.
    pub fn judge_beside(&self, notices: &[u64], pictures: &[Held]) -> Result<(), Broken> {
        let broken = |what: String| Err(Broken::new("C2", what));
        let known: BTreeSet<u64> = notices.iter().copied().collect();
        if known.len() != notices.len() {
            return broken("an event is announced twice".into());
        }
        if known.iter().any(|name| !is_told(*name)) {
            return broken("a notification that no hub ever made".into());
        }
        let mut shown = BTreeSet::new();
        for picture in pictures.iter().filter(|picture| picture.dropped.is_none()) {
            let name = picture.started_unix_ms;
            let is_right = picture.whole == Some(true) && picture.bytes == picture_of(name);
            if !is_told(name) || !is_right {
                return broken(format!("event {name}: another picture than the hub sent"));
            }
            if !shown.insert(name) {
                return broken(format!("the picture of the event of {name} is there twice"));
            }
        }
        if self.rotted {
            // What was lost both ends know, and it is no clip.
            return Ok(());
        }
        if let Some(name) = self.pictured.iter().find(|name| !shown.contains(*name)) {
            return broken(format!("event {name}: its picture never arrived"));
        }
        // A full list has let the oldest go.
        let missing = self.notified.iter().find(|name| !known.contains(*name));
        match missing.filter(|_| notices.len() + self.alarms < NOTICES_KEPT) {
            Some(name) => broken(format!("event {name}: announced, never arrived")),
            None => Ok(()),
        }
    }
}

/// Whether nothing new leaves although something failed.
///
/// # Errors
/// C4.
pub fn nothing_new(failure: Option<String>, what: &str) -> Result<(), Broken> {
    match failure {
        None => Ok(()),
        Some(failure) => Err(Broken::new(
            "C4",
            format!("{what} after {failure}, and nothing was opened again"),
        )),
    }
}

#[cfg(test)]
mod tests;
