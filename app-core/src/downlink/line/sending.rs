//! What a line has to say: its outbox goes to the relay, as far as the window allows and once it may speak.
//!
//! What the relay claims against our books is fetched, and the core judges it. This room must never take the relay's word
//! for that, nor hand on bytes of ours that are not [`Durable`].

use std::future::pending;

use bytes::Bytes;
use journal::Durable;
use relay_client::{AppendEvent, AppendHandle, ClientError};
use wire::envelope::Envelope;
use wire::sender::{Evidence, Need, SenderEvent};
use wire::{ErrorCode, Seq};

use super::LineTask;
use crate::core::Judged;
use crate::downlink::End;
use crate::error::AppError;
use crate::event::Event;
use crate::types::SyncMode;

impl LineTask {
    /// Compares the mailbox with the outbox and, once it may speak, sends what that holds, as far as the window allows.
    pub(super) async fn send(&mut self, appends: &mut Option<AppendHandle>) -> Result<(), End> {
        loop {
            while let Some(event) = self.sender.poll_event() {
                self.handle_sender_event(event)?;
            }
            let line = self.info.line;
            let now_ms = self.shared.clock.now_ms();
            match self.sender.poll_need(now_ms) {
                None => return Ok(()),
                Some(Need::Attach) => {
                    *appends = None;
                    let attached = self.connection.attach_send(self.info.mailboxes.send).await;
                    let (state, handle) = match attached {
                        // What comes is taken all the same; whether ours may leave is asked again then.
                        Err(ClientError::Refused {
                            code: ErrorCode::UnknownSlot | ErrorCode::TooManyMailboxes,
                        }) if !self.has_heard && !self.connection.is_closed() => {
                            self.sender.handle_detached(self.hearing.until_ms());
                            return Ok(());
                        }
                        attached => {
                            attached.map_err(|error| End::from_mailbox(&error, &self.connection))?
                        }
                    };
                    self.sender
                        .handle_attached(&state, self.shared.clock.now_ms());
                    *appends = Some(handle);
                }
                Some(Need::Digest(seq)) => {
                    let digest = self
                        .shared
                        .engine
                        .read(move |core, _shell| core.envelope_digest(line, seq));
                    let digest = digest.await.map_err(|error| self.storage(error))?;
                    self.sender
                        .handle_digest(seq, digest, self.shared.clock.now_ms());
                }
                Some(Need::Stored(evidence)) => self.have_judged(evidence, appends).await?,
                Some(Need::Envelope { .. }) if !self.has_heard => return Ok(()),
                Some(Need::Envelope { seq, after }) => {
                    let before = Seq(seq.0.saturating_sub(1));
                    let found = self
                        .shared
                        .engine
                        .read(move |core, _shell| core.next_envelope(line, before));
                    let found = found.await.map_err(|error| self.storage(error))?;
                    match (found, appends.as_mut()) {
                        (Some((at, envelope)), Some(handle)) if at == seq => {
                            let (digest, bytes) = (envelope.digest(), envelope.as_bytes().len());
                            wal::leaves!(
                                "envelope {} {seq} {}",
                                self.info.mailboxes.send.to_text(),
                                digest.to_text()
                            );
                            append(handle, seq, after, envelope)
                                .await
                                .map_err(|error| End::from_mailbox(&error, &self.connection))?;
                            if self.sender.in_flight_bytes() == 0 {
                                // From now on it owes us something.
                                self.moved_at_ms = self.shared.clock.now_ms();
                            }
                            self.sender.handle_sent(seq, digest, bytes);
                        }
                        (_, Some(_)) => self.sender.handle_missing(seq),
                        (_, None) => self.sender.handle_detached(now_ms),
                    }
                }
            }
        }
    }

    /// Fetches what the relay claims to hold of ours, and has it judged. An answer that does not come in time says
    /// nothing, and least of all that there is no proof: the next connection begins with the question.
    async fn have_judged(
        &mut self,
        evidence: Evidence,
        appends: &Option<AppendHandle>,
    ) -> Result<(), End> {
        let (line, seq) = (self.info.line, evidence.relay().seq);
        let Some(handle) = appends else {
            self.sender.handle_detached(self.shared.clock.now_ms());
            return Ok(());
        };
        let envelope = match handle.fetch(seq).await {
            Ok(envelope) => envelope,
            Err(error) => return Err(End::from_mailbox(&error, &self.connection)),
        };
        let judged = self.shared.engine.write(
            move |core, _shell| core.handle_stored(line, seq, envelope.as_deref()),
            |_core, _committed, judged, _shell| Ok(judged),
        );
        match judged.await.map_err(|error| self.storage(error))? {
            Judged::Nothing => {
                let now_ms = self.shared.clock.now_ms();
                self.sender.handle_evidence_dismissed(now_ms);
                Ok(())
            }
            Judged::RolledBack => {
                self.sender.handle_proof();
                self.levels.nudge();
                Err(self.storage(AppError::OlderCopy))
            }
        }
    }

    fn handle_sender_event(&mut self, event: SenderEvent) -> Result<(), End> {
        match event {
            SenderEvent::Receipt { through } => {
                self.moved_at_ms = self.shared.clock.now_ms();
                let mut stored = None;
                while let Some(ack) = self.acks.front().filter(|ack| ack.envelope <= through) {
                    stored = Some(ack.through);
                    self.acks.pop_front();
                }
                if let Some(seq) = stored {
                    self.tell(Event::Acked {
                        hub: self.hub(),
                        seq: seq.0,
                    });
                }
                Ok(())
            }
            SenderEvent::Rewound { from, .. } => {
                tracing::info!(%from, "the relay forgot acks of ours; they are sent again");
                Ok(())
            }
            SenderEvent::OverQuota { retry_after_s, .. } => {
                let error = AppError::Network(format!(
                    "the relay is full; it asks to come back in {retry_after_s} s"
                ));
                match self.stay.mode() {
                    SyncMode::Once => Err(End::Fatal(error)),
                    SyncMode::Follow | SyncMode::Attended => {
                        tracing::warn!(%error, "acks wait");
                        Ok(())
                    }
                }
            }
            SenderEvent::Misbehaved { seq } => Err(End::Line(AppError::Peer(format!(
                "the relay gave a receipt for {seq}, which was never sent"
            )))),
        }
    }

    pub(super) fn handle_append_event(
        &mut self,
        event: Result<AppendEvent, ClientError>,
        appends: &mut Option<AppendHandle>,
    ) -> Result<(), End> {
        let now_ms = self.shared.clock.now_ms();
        match event {
            Ok(AppendEvent::Receipt(head)) => self.sender.handle_receipt(head, now_ms),
            Ok(AppendEvent::Conflict { stored }) => self.sender.handle_conflict(stored, now_ms),
            Ok(AppendEvent::NotNext { .. }) => self.sender.handle_not_next(now_ms),
            Ok(AppendEvent::OverQuota {
                size,
                retry_after_s,
                ..
            }) => {
                self.sender.handle_over_quota(size, retry_after_s, now_ms);
            }
            Err(ClientError::Refused {
                code: ErrorCode::MailboxLost,
            }) if !self.connection.is_closed() => {
                *appends = None;
                self.sender.handle_not_next(now_ms);
            }
            Err(error) => return Err(End::from_mailbox(&error, &self.connection)),
        }
        Ok(())
    }
}

/// The only way out for bytes of ours: durable ones.
async fn append(
    handle: &mut AppendHandle,
    seq: Seq,
    after: Seq,
    envelope: Durable<Envelope>,
) -> Result<(), ClientError> {
    let digest = envelope.digest();
    let bytes = Bytes::from(envelope.into_inner().into_bytes());
    handle.append(seq, after, digest, bytes).await
}

pub(super) async fn next_append_event(
    appends: &mut Option<AppendHandle>,
) -> Result<AppendEvent, ClientError> {
    match appends {
        Some(appends) => appends.next_event().await,
        None => pending().await,
    }
}
