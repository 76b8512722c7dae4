//! What a phone sends: judged, taken, and what it says about our own books.
//!
//! It must never let a stale or forged envelope cost the right to encrypt (scenario 12), never move
//! the watermark on anything but the phone's own sealed word, and never take, record or send anything
//! on a line whose phone has proved a rollback (promise C8): the next start knows it before anybody
//! is asked.

use std::collections::BTreeMap;

use journal::ids::{Channel, Line, LiveId, PairingId};
use journal::message::{
    self, AppConfigMessage, AppLiveMessage, AppMessage, Command, HeartbeatAnswer, HubConfigMessage,
    HubReport, LiveEnd, LiveWish, NotRecorded,
};
use journal::{
    AckEffect, Arrived, Held, JournalError, PhoneHeard, Received, SettingsSaid, Takes, Txn,
    or_after_commit,
};
use wal::crash_point;
use wire::ids::{Digest, Seq};

use super::{
    COMMAND_BYTES, ClipFacts, Core, CoreError, EPOCH_BYTES, LineState, Notice, PROVEN,
    SMALL_GROUP_BYTES, command, is_about_one_line, live, names, pace,
};
use command::Allowed;

/// What an envelope in our mailbox was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Taken. After the next commit the relay may forget it.
    Taken,
    /// Taken before.
    Duplicate,
    /// New keys or a command, whose Commit has to wait, for room or because there were too many of late: nothing was
    /// taken, ask again later.
    Waits,
    /// More has come on this line of late than one phone has to say: nothing was opened, ask again later.
    Slowed,
    /// Something is missing before it: attach again from the cursor.
    Gap,
    /// Not made by the phone: drop the connection's delivery, wait, ask again.
    NotAuthentic,
    /// The phone holds what this directory never made. Nothing is taken from it, and nothing is
    /// sent to it, any more.
    RolledBack,
    /// What is stored of this line cannot be used, and that was said: nothing was taken. The others go on.
    LineBroken,
}

/// What came of [`Core::handle_envelope`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Delivered {
    /// What it was.
    pub verdict: Verdict,
    /// Read through here, once the commit has succeeded.
    pub cursor: Seq,
}

impl Core {
    /// Takes an envelope that the relay delivered to a line's mailbox.
    ///
    /// # Errors
    /// Only our own storage; whatever phone or relay did is in the verdict, and that a line's own stored
    /// state is unusable, too.
    pub fn handle_envelope(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
        now_unix_ms: u64,
    ) -> Result<Delivered, CoreError> {
        match self.try_envelope(line, seq, envelope, now_unix_ms) {
            Err(CoreError::Journal(error)) if is_about_one_line(&error) => {
                self.set_broken(line, &error);
                Ok(Delivered {
                    verdict: Verdict::LineBroken,
                    cursor: Seq::NONE,
                })
            }
            delivered => delivered,
        }
    }

    fn try_envelope(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
        now_unix_ms: u64,
    ) -> Result<Delivered, CoreError> {
        let take = |core: &mut Self, takes| {
            let taken = or_after_commit(
                core,
                |core| core.take(line, seq, envelope, takes, now_unix_ms),
                |core| core.commit(now_unix_ms),
            );
            core.judge(taken, now_unix_ms)
        };
        // Before anything is opened: a message that is opened and not taken costs the right to encrypt.
        let may_come = self
            .lines
            .get_mut(&line)
            .is_none_or(|state| state.messages.allows(now_unix_ms));
        let mut verdict = match may_come {
            true => take(self, Takes::Messages)?,
            false => Verdict::Slowed,
        };
        // Its Commit is never half: without room for it proposal or command stays where it is.
        if verdict == Verdict::Waits && self.may_cost_a_commit(line, now_unix_ms)? {
            let before = self.settings(now_unix_ms)?;
            verdict = take(self, Takes::MessagesAndProposals)?;
            if let Some(state) = self.lines.get_mut(&line) {
                state.pace.spend();
            }
            if verdict == Verdict::Taken && line.channel == Channel::Config {
                self.announce_settings(before, now_unix_ms)?;
                self.follow_settings(now_unix_ms)?;
            }
        }
        if verdict == Verdict::Taken
            && let Some(state) = self.lines.get_mut(&line)
        {
            state.messages.spend();
        }
        let head = self.journal_ref()?.inbox_head(line);
        let cursor = self.judge(head, now_unix_ms)?.cursor;
        Ok(Delivered { verdict, cursor })
    }

    /// Whether a proposal or a command of the phone may cost a Commit now.
    fn may_cost_a_commit(&mut self, line: Line, now_unix_ms: u64) -> Result<bool, CoreError> {
        let unacked = self.journal_ref()?.unacked_heals(line);
        let unacked = self.judge(unacked, now_unix_ms)?;
        let allowed = self
            .lines
            .get_mut(&line)
            .is_some_and(|state| state.pace.allows(now_unix_ms));
        match pace::priority(unacked).filter(|_| allowed) {
            // What a command does fits beside its answer, also if it is a removal.
            Some(priority) => self.has_room(COMMAND_BYTES, priority, now_unix_ms),
            None => Ok(false),
        }
    }

    /// How far a line's mailbox has been read.
    ///
    /// # Errors
    /// The journal's.
    pub fn cursor(&self, line: Line) -> Result<Seq, CoreError> {
        Ok(self.journal_ref()?.inbox_head(line)?.cursor)
    }

    fn take(
        &mut self,
        line: Line,
        seq: Seq,
        envelope: &[u8],
        takes: Takes,
        now_unix_ms: u64,
    ) -> Result<Verdict, CoreError> {
        let report = self.report();
        let journal = self
            .journal
            .as_mut()
            .ok_or_else(|| CoreError::Dead("it is closed".into()))?;
        let Some(state) = self.lines.get_mut(&line) else {
            return Ok(Verdict::NotAuthentic);
        };
        // One of our own envelopes that there is no room to write down yet counts at once: it is kept in memory, and
        // written down by a later tick. What a phone says comes again, and is written down then.
        let disproof = self.disproof.as_ref();
        let is_disproved = disproof.is_some_and(|disproof| disproof.ends(line.pairing));
        if is_disproved || state.standing == PROVEN && journal.rollback_proof(line)?.is_some() {
            return Ok(Verdict::RolledBack);
        }
        let is_covered = journal.sends_in_full_size(Channel::EventVideo);
        let mut txn = journal.begin();
        let Arrived { received, held } = state.session.receive(&mut txn, seq, envelope, takes)?;
        let mut healed = None;
        let mut costs_epoch = false;
        // What the phone claims to hold, and we cannot explain.
        let mut disproved = Vec::new();
        let mut in_wrap = false;
        let (mut is_heard, mut is_command) = (false, false);
        // A rotation of the line's key may be owed for it.
        let stirs = matches!(received, Received::Message(_) | Received::Refused(_));
        // Another phone, by a command of this one.
        let mut removed = None;
        // The camera of a live session that begins; and whether one is ended here, with the reason if that was said.
        let (mut watches, mut over) = (None, None);
        // Other lines of this phone that cannot be read: what is said of them has to wait.
        let mut unreadable = Vec::new();
        match received {
            Received::Duplicate => return Ok(Verdict::Duplicate),
            Received::Gap { .. } => return Ok(Verdict::Gap),
            Received::NotAuthentic => return Ok(Verdict::NotAuthentic),
            Received::Waits => return Ok(Verdict::Waits),
            Received::RolledBack(proof) => {
                in_wrap = true;
                disproved.push((line, proof));
            }
            Received::Message(plaintext) => {
                self.releases = true;
                let said = Said::read(line, &plaintext);
                if said.is_none() {
                    tracing::debug!("a phone said something that cannot be read");
                }
                let ordered = said.as_ref().is_some_and(Said::costs_a_commit);
                if ordered && takes == Takes::Messages {
                    // Its answer is an epoch, for which nobody has asked for room yet.
                    return Ok(Verdict::Waits);
                }
                for (acked_line, acked) in said.iter().flat_map(|said| &said.acks) {
                    // A line that is over, or that this hub does not know, has nothing to free.
                    let Some(state) = self.lines.get_mut(acked_line) else {
                        continue;
                    };
                    // A proof that found no room is in memory only: what proves it again must not be passed over.
                    if state.standing == PROVEN && txn.rollback_proof(*acked_line)?.is_some() {
                        continue;
                    }
                    // Mostly the wrap named the same envelope, which was just hashed.
                    let known = *acked_line == line && held == Some(*acked);
                    match take_ack(state, &mut txn, *acked, known) {
                        Ok(true) => {}
                        Ok(false) => disproved.push((*acked_line, *acked)),
                        Err(error) if *acked_line != line && is_about_one_line(&error) => {
                            unreadable.push((*acked_line, error));
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                if disproved.is_empty()
                    && let Some(said) = said
                {
                    if let Some(number) = said.heartbeat {
                        let last = txn.phone_heard(line.pairing)?;
                        let is_new = last.is_none_or(|last| last.number < number);
                        let may_ask = |state: &mut LineState| state.asks.allows(now_unix_ms);
                        if is_new && self.lines.get_mut(&line).is_some_and(may_ask) {
                            let (asks, left_out) = ask_anew(&self.lines, &mut txn, line.pairing)?;
                            unreadable.extend(left_out);
                            if asks && let Some(state) = self.lines.get_mut(&line) {
                                state.asks.spend();
                            }
                        }
                        let unix_ms = now_unix_ms;
                        txn.put_phone_heard(line.pairing, PhoneHeard { number, unix_ms })?;
                    }
                    // An ack and a command are signs of life as well.
                    if self.silence.has_stored(line.pairing) {
                        txn.forget_unheard(line.pairing);
                    }
                    is_heard = true;
                    if let Some(command) = &said.command {
                        let allowed = Allowed {
                            restart: self.ran >= pace::RESTART_AFTER,
                            invite: self.may_invite,
                            detections: &self.detections,
                        };
                        let lines = &mut self.lines;
                        removed = command::obey(lines, &mut txn, line, (command, allowed))?;
                        (costs_epoch, is_command) = (true, true);
                    }
                    match (said.live, self.lines.get_mut(&line)) {
                        (Some(Live::Watch(wish)), Some(state)) => {
                            costs_epoch = true;
                            let (docs, known) = (&self.wishes.cameras, &self.detections);
                            let camera = names::configured(&wish.camera, docs, known);
                            let lives = &self.lives;
                            match lives.grant(state, &mut txn, &wish, camera, is_covered)? {
                                live::Granted::Begun => watches = Some(wish.camera),
                                live::Granted::Refused => over = Some(None),
                            }
                        }
                        (Some(Live::Enough(wish)), Some(state))
                            if state.session.live_wish(&txn) == Some(wish) =>
                        {
                            costs_epoch = true;
                            let why = LiveEnd::Enough;
                            state.session.end_live(&mut txn, why, now_unix_ms)?;
                            over = Some(Some(why));
                        }
                        // Or of a session that is over.
                        _ => {}
                    }
                }
            }
            Received::NotHealed(why) => {
                tracing::warn!(why, "a phone's new keys were refused");
                costs_epoch = true;
            }
            Received::Refused(why) => {
                tracing::debug!(why, "an envelope was taken without effect");
            }
            Received::Healed(epoch) => {
                healed = Some(epoch);
                costs_epoch = true;
                if line.channel == Channel::Config {
                    unreadable = answer(&mut self.lines, &mut txn, line, report, now_unix_ms)?;
                }
            }
            // A phone says nothing by an envelope in which there is nothing. The last three are a follower's.
            Received::Cover
            | Received::Stale
            | Received::NewEpoch(_)
            | Received::Dropped(_)
            | Received::LineBroken(_) => {}
        }
        if let Some((_, proof)) = disproved.first().copied() {
            tracing::error!(
                seq = proof.seq.0,
                "a phone holds an envelope that this state directory never made"
            );
            if !in_wrap {
                // Nothing of it is taken: the watermarks stay where they are.
                drop(txn);
                txn = journal.begin();
            }
            // A directory goes back as a whole: what disproves one line of a pairing ends all of them. The other
            // phones' go on: this one may lie, and has a word about its own pairing only.
            for of in Line::all(line.pairing) {
                let named = disproved.iter().any(|(named, _)| *named == of);
                if !named && txn.rollback_proof(of)?.is_none() {
                    disproved.push((of, proof));
                }
            }
        }
        // A proof and the end of what was being recorded are one transaction. That a clip's rows
        // cannot be read must not hold the proof up.
        let mut abandoned = Vec::new();
        for (of, proof) in &disproved {
            let Some(state) = self.lines.get_mut(of) else {
                continue;
            };
            // What came in its wrap the session has kept itself.
            if !in_wrap || *of != line {
                state.session.prove_rollback(&mut txn, *proof)?;
            }
            let clips = state.session.abandon(&mut txn).unwrap_or_else(|error| {
                tracing::error!(%error, "a clip of a line that is rolled back stays as it is");
                Vec::new()
            });
            // The phone could not see the picture of an event either; only clips are told of.
            let clips = clips.iter().filter(|_| of.channel == Channel::EventVideo);
            abandoned.extend(clips.map(|clip| (*of, ClipFacts::of(clip))));
        }
        // A session that this step begins, or carries into another epoch; and whether one goes on at all.
        let state = self.lines.get(&line);
        let right = state.and_then(|state| state.session.live_right(&txn));
        let is_live = state.is_some_and(|state| state.session.live_wish(&txn).is_some());
        let staged = match right {
            Some(right) => txn.stage(right).map(Some),
            None => txn.stage(()).map(|_staged| None),
        };
        // Also if there was no room for the proof: it comes again with the next envelope.
        for (of, _) in &disproved {
            self.line_is_over(*of);
        }
        for (of, error) in &unreadable {
            self.set_broken(*of, error);
        }
        let begun = staged?;
        if stirs && let Some(state) = self.lines.get_mut(&line) {
            state.stirred = true;
        }
        if let (Some(staged), Some(right)) = (begun, right) {
            // CRASH(hub.live.staged): before: nothing of the wish, the cursor is before it; it comes again | after:
            // a session has begun that no frame was sealed in; a start closes its epoch.
            crash_point!("hub.live.staged");
            let watches = watches.map(|camera| self.camera_named(&camera));
            self.lives.begun(staged, right, watches);
            let session = right.session();
            self.pending.push(Notice::LiveBegun { line, session });
        } else if let Some(why) = over {
            if self.lives.leave(line) {
                self.pending.push(Notice::LiveEnded { line, why });
            }
        } else if !is_live {
            self.lives.owe(line);
        }
        if is_command {
            // CRASH(hub.command.staged): before: nothing of the command, the cursor is before it; it comes again |
            // after: what it does, its outcome, the Commit and the answer are synced as one.
            crash_point!("hub.command.staged");
        }
        if is_heard && self.silence.heard(line.pairing) {
            let phone = line.pairing;
            self.pending.push(Notice::PhoneBack { phone });
        }
        self.staged_bytes += match costs_epoch {
            true if removed.is_some() => COMMAND_BYTES,
            true => EPOCH_BYTES,
            false => envelope.len() as u64 + disproved.len() as u64 * SMALL_GROUP_BYTES,
        };
        if let Some(phone) = removed {
            self.pending.push(Notice::PhoneRemoved { phone });
            self.forget_phone(phone)?;
        }
        let ended = |(line, clip)| Notice::ClipFinished { line, clip };
        self.pending.extend(abandoned.into_iter().map(ended));
        self.pending
            .extend(healed.map(|epoch| Notice::Healed { line, epoch }));
        Ok(match disproved.is_empty() {
            true => Verdict::Taken,
            false => Verdict::RolledBack,
        })
    }
}

/// What a phone said, in the terms of our books.
struct Said {
    /// What it holds of which line.
    acks: Vec<(Line, Held)>,
    /// The number of a heartbeat.
    heartbeat: Option<u64>,
    /// What is ordered.
    command: Option<Command>,
    /// Whether somebody wants to watch.
    live: Option<Live>,
}

/// What is said of live pictures.
enum Live {
    Watch(LiveWish),
    Enough(LiveId),
}

impl Said {
    /// Whether its answer is an epoch.
    fn costs_a_commit(&self) -> bool {
        self.command.is_some() || matches!(self.live, Some(Live::Watch(_)))
    }

    /// Each channel has messages of its own.
    fn read(line: Line, plaintext: &[u8]) -> Option<Self> {
        let held = |through, digest| Held {
            seq: Seq(through),
            digest: Digest(digest),
        };
        let ack = |through, digest| Self {
            acks: vec![(line, held(through, digest))],
            heartbeat: None,
            command: None,
            live: None,
        };
        let watches = |live| Self {
            acks: Vec::new(),
            heartbeat: None,
            command: None,
            live: Some(live),
        };
        if line.channel == Channel::Livestream {
            return Some(match message::decode(plaintext)? {
                AppLiveMessage::Ack { through, digest } => ack(through, digest),
                AppLiveMessage::Watch(wish) => watches(Live::Watch(wish)),
                AppLiveMessage::Enough(wish) => watches(Live::Enough(wish)),
            });
        }
        if line.channel != Channel::Config {
            let AppMessage::Ack { through, digest } = message::decode(plaintext)?;
            return Some(ack(through, digest));
        }
        match message::decode(plaintext)? {
            AppConfigMessage::Ack { through, digest } => Some(ack(through, digest)),
            AppConfigMessage::Heartbeat(heartbeat) => {
                let holds = heartbeat.holds.iter().filter(|held| held.through > 0);
                let acks = holds.map(|of| {
                    let line = Line::of(line.pairing, of.channel);
                    (line, held(of.through, of.digest))
                });
                Some(Self {
                    acks: acks.collect(),
                    heartbeat: Some(heartbeat.number),
                    command: None,
                    live: None,
                })
            }
            AppConfigMessage::Command(command) => Some(Self {
                acks: Vec::new(),
                heartbeat: None,
                command: Some(command),
                live: None,
            }),
        }
    }
}

/// Takes the phone's word that it holds an envelope; `known` if that was compared with our books already.
/// False if they do not explain it.
fn take_ack(
    state: &mut LineState,
    txn: &mut Txn<'_>,
    acked: Held,
    known: bool,
) -> Result<bool, JournalError> {
    let line = state.session.line();
    if !known && !txn.outbox_explains(line, acked)? {
        return Ok(false);
    }
    Ok(state.session.take_ack(txn, acked.seq)? != AckEffect::BeyondOurHead)
}

/// What a phone has said to hold is acked: what was made behind that is what it misses, on each line. Its own uplink
/// sends that; whether the relay still has what it took before is asked anew. Once for each heartbeat, so that one
/// that is said again costs nothing, and for none that come too fast. Gives whether anything is asked; lines that cannot
/// be read are left out and come back.
fn ask_anew(
    lines: &BTreeMap<Line, LineState>,
    txn: &mut Txn<'_>,
    pairing: PairingId,
) -> Result<(bool, Vec<(Line, JournalError)>), JournalError> {
    let (mut asks, mut unreadable) = (false, Vec::new());
    for line in Line::all(pairing) {
        let state = lines.get(&line);
        if !state.is_some_and(|state| !state.broken && state.standing != PROVEN) {
            continue;
        }
        let head = txn.outbox_head(line);
        let asked = head.and_then(|head| match head.acked < head.last {
            true => txn.ask_again(line).map(|()| true),
            false => Ok(false),
        });
        match asked {
            Ok(asked) => asks |= asked,
            Err(error) if line.channel != Channel::Config && is_about_one_line(&error) => {
                unreadable.push((line, error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((asks, unreadable))
}

/// Closes the epoch that a phone's update has opened in the config channel: with the answer to its
/// heartbeat, which is the last message of that epoch, behind the settings if they are due. Another line that
/// cannot be read is left out of it and comes back.
fn answer(
    lines: &mut BTreeMap<Line, LineState>,
    txn: &mut Txn<'_>,
    config: Line,
    mut status: HubReport,
    now_unix_ms: u64,
) -> Result<Vec<(Line, JournalError)>, JournalError> {
    let heard = txn.phone_heard(config.pairing)?;
    let (mut epochs, mut unreadable) = (Vec::new(), Vec::new());
    for line in Line::all(config.pairing) {
        // A line that is over has no group to speak of.
        let goes_on = |state: &&mut LineState| !state.broken && state.standing != PROVEN;
        let Some(state) = lines.get_mut(&line).filter(goes_on) else {
            continue;
        };
        let epoch = state.session.epoch(txn);
        match epoch.and_then(|epoch| Ok((epoch, txn.outbox_head(line)?))) {
            Ok((epoch, head)) => {
                epochs.push((line.channel, epoch.0));
                status.unacked += head.last.0.saturating_sub(head.acked.0);
            }
            Err(error) if line != config && is_about_one_line(&error) => {
                unreadable.push((line, error));
            }
            Err(error) => return Err(error),
        }
    }
    let Some(state) = lines.get_mut(&config) else {
        return Err(JournalError::NoGroup(config));
    };
    // Settings that the phone is to be told share the epoch.
    let (doc, known) = (txn.settings()?, txn.settings_said(config.pairing)?);
    let is_told = known.version >= doc.version || known.said > txn.outbox_head(config)?.acked;
    if doc.settings.privacy && status.not_recorded != Some(NotRecorded::Camera) {
        status.not_recorded = Some(NotRecorded::Privacy);
    }
    let answer = heard.map(|heard| HeartbeatAnswer {
        number: heard.number,
        answered_unix_ms: now_unix_ms,
        version: env!("CARGO_PKG_VERSION").into(),
        epochs,
        status,
    });
    match (answer, is_told) {
        (None, true) => state.session.close(txn)?,
        (Some(answer), true) => {
            let _seq = state.session.answer(txn, &answer)?;
        }
        (answer, false) => {
            let mut messages = vec![HubConfigMessage::Settings(doc)];
            messages.extend(answer.map(HubConfigMessage::Answer));
            let said = state.session.say(txn, &messages)?;
            let version = doc.version;
            txn.put_settings_said(config.pairing, SettingsSaid { version, said })?;
        }
    }
    Ok(unreadable)
}
