//! One admitted connection: the control stream, and the table of what is attached.
//!
//! Three small tasks serve a connection: one writes control frames, one reads and sorts them,
//! one takes delivery streams. They end with the connection. This room must never let one slow
//! mailbox hold up another: what the control stream says about a slot is coalesced there, not
//! queued.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use quinn::{ReadError, VarInt};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use wire::frame::{Frame, Guest, ReceiveState, Revocation, SendState};
use wire::limits::{BODY_BYTES_MAX, REVOKE_MAILBOXES_MAX, STORED_PREFIX_BYTES};
use wire::{Class, ErrorCode, Head, Invitation, ReceiveId, SendId, Seq, Slot};

use crate::append::{AppendEvent, AppendHandle};
use crate::connect::{Config, read_error};
use crate::deliver::{Deliveries, STREAM_WAIT};
use crate::error::ClientError;
use crate::framed::{FrameReadError, FrameReader, RawFrame};
use crate::live::{self, LiveGroup, LiveSender};
use crate::pace;
use crate::rpk::SEND_WINDOW_BYTES_MAX;

/// Control frames of ours that wait to be written.
const OUTBOUND_FRAMES_MAX: usize = 64;

/// An admitted connection to a relay. Dropping it closes it; handles that hang on it then
/// answer with an error.
#[derive(Debug)]
pub struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    endpoint: quinn::Endpoint,
    quinn: quinn::Connection,
    outbound: mpsc::Sender<Vec<u8>>,
    answer_timeout: Duration,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    last_slot: u32,
    last_request: u32,
    slots: HashMap<u32, SlotEntry>,
    invites: HashMap<u32, oneshot::Sender<Option<Invitation>>>,
    revokes: HashMap<u32, oneshot::Sender<Revocation>>,
    fetches: HashMap<(u32, Seq), oneshot::Sender<Option<Bytes>>>,
    /// Why the connection ended, or is about to, if the relay said so.
    ended: Option<ClientError>,
}

#[derive(Debug)]
struct SlotEntry {
    answer: Option<oneshot::Sender<Result<Attached, ClientError>>>,
    stream: Option<oneshot::Sender<FrameReader>>,
    /// Where live groups of a receive slot go.
    live: Option<mpsc::Sender<LiveGroup>>,
    mail: Arc<SlotMail>,
}

#[derive(Debug)]
enum Attached {
    Send(SendState),
    Receive(ReceiveState),
}

/// What the relay said about a send slot, coalesced: the newest receipt, the first refusal.
#[derive(Debug, Default)]
pub(crate) struct SlotMail {
    state: Mutex<SlotMailState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct SlotMailState {
    receipt: Option<Head>,
    refusal: Option<AppendEvent>,
    ended: Option<ErrorCode>,
}

impl SlotMail {
    fn change(&self, change: impl FnOnce(&mut SlotMailState)) {
        change(&mut lock(&self.state));
        self.changed.notify_one();
    }

    /// Why the relay has freed the slot, if it has.
    pub(crate) fn ended(&self) -> Option<ErrorCode> {
        lock(&self.state).ended
    }

    /// Waits for the next event; takes it only when it returns it.
    pub(crate) async fn next(&self, inner: &Inner) -> Result<AppendEvent, ClientError> {
        loop {
            if let Some(event) = self.take() {
                return event;
            }
            tokio::select! {
                () = self.changed.notified() => {}
                _ = inner.quinn.closed() => {
                    // What arrived before the end still counts.
                    return self.take().unwrap_or_else(|| Err(inner.failure()));
                }
            }
        }
    }

    fn take(&self) -> Option<Result<AppendEvent, ClientError>> {
        let mut state = lock(&self.state);
        if let Some(head) = state.receipt.take() {
            return Some(Ok(AppendEvent::Receipt(head)));
        }
        if let Some(refusal) = state.refusal.take() {
            return Some(Ok(refusal));
        }
        state.ended.map(|code| Err(ClientError::Refused { code }))
    }
}

/// Frees a slot at both ends when the last handle on it is dropped.
#[derive(Debug)]
pub(crate) struct SlotGuard {
    pub(crate) inner: Arc<Inner>,
    pub(crate) slot: Slot,
    pub(crate) mail: Arc<SlotMail>,
}

impl Drop for SlotGuard {
    fn drop(&mut self) {
        let mut table = self.inner.table();
        table.slots.remove(&self.slot.0);
        table.fetches.retain(|(slot, _), _| *slot != self.slot.0);
        drop(table);
        let detach = Frame::Detach { slot: self.slot }.to_bytes();
        if self.inner.outbound.try_send(detach).is_err() {
            // The queue is full or the connection ended. A slot that stays attached costs the
            // relay a table row until then, and the caller nothing.
            tracing::debug!("a detach was not sent");
        }
    }
}

impl Connection {
    /// Takes over an admitted connection and starts its tasks.
    pub(crate) fn start(
        endpoint: quinn::Endpoint,
        quinn: quinn::Connection,
        control_send: quinn::SendStream,
        control_receive: FrameReader,
        config: Config,
    ) -> Connection {
        let (outbound, to_write) = mpsc::channel(OUTBOUND_FRAMES_MAX);
        let inner = Arc::new(Inner {
            endpoint,
            quinn: quinn.clone(),
            outbound,
            answer_timeout: config.answer_timeout,
            table: Mutex::new(Table::default()),
        });
        tokio::spawn(write_control(quinn, control_send, to_write));
        tokio::spawn(read_control(Arc::clone(&inner), control_receive));
        tokio::spawn(accept_deliveries(Arc::clone(&inner)));
        Connection { inner }
    }

    /// Attaches a mailbox for sending. Attach again, with a new handle, after any refusal: the
    /// answers to what is still under way then go nowhere.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the relay's reason, or an error of the connection.
    pub async fn attach_send(
        &self,
        mailbox: SendId,
    ) -> Result<(SendState, AppendHandle), ClientError> {
        let (guard, state) = self.attach_sending(mailbox).await?;
        let stream = self.inner.open_uni().await?;
        Ok((state, AppendHandle::new(guard, stream)))
    }

    /// Attaches a mailbox for live groups, beside whatever is appended to it.
    ///
    /// # Errors
    /// As [`Self::attach_send`].
    pub async fn attach_live(&self, mailbox: SendId) -> Result<LiveSender, ClientError> {
        let (guard, _state) = self.attach_sending(mailbox).await?;
        Ok(LiveSender::new(guard))
    }

    async fn attach_sending(&self, mailbox: SendId) -> Result<(SlotGuard, SendState), ClientError> {
        let (guard, answer) = self.inner.reserve_slot(None, None)?;
        let frame = Frame::AttachSend {
            slot: guard.slot,
            mailbox,
        };
        match self.inner.attach(&frame, answer).await? {
            Attached::Send(state) => Ok((guard, state)),
            Attached::Receive(_) => Err(ClientError::Unexpected {
                kind: wire::frame::kind::RECEIVE_STATE,
            }),
        }
    }

    /// Attaches a mailbox for receiving what lies behind `cursor`.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the relay's reason, or an error of the connection.
    pub async fn attach_receive(
        &self,
        mailbox: ReceiveId,
        cursor: Seq,
    ) -> Result<(ReceiveState, Deliveries), ClientError> {
        let (stream_sender, stream) = oneshot::channel();
        let (live_sender, live) = mpsc::channel(live::GROUPS_WAITING_MAX);
        let (guard, answer) = self
            .inner
            .reserve_slot(Some(stream_sender), Some(live_sender))?;
        let frame = Frame::AttachReceive {
            slot: guard.slot,
            mailbox,
            cursor,
        };
        match self.inner.attach(&frame, answer).await? {
            Attached::Receive(state) => {
                let stream = (stream, STREAM_WAIT);
                Ok((state, Deliveries::new(guard, stream, live, cursor)))
            }
            Attached::Send(_) => Err(ClientError::Unexpected {
                kind: wire::frame::kind::SEND_STATE,
            }),
        }
    }

    /// Asks the relay to invite another device (a hub may invite phones).
    ///
    /// # Errors
    /// [`ClientError::Refused`] with [`ErrorCode::InviteRefused`] when this device may not.
    pub async fn invite(&self, class: Class, ttl_seconds: u32) -> Result<Invitation, ClientError> {
        let (sender, answer) = oneshot::channel();
        let request = {
            let mut table = self.inner.table();
            table.last_request = table.last_request.wrapping_add(1);
            let request = table.last_request;
            // Nobody waits for a question whose future was dropped.
            table.invites.retain(|_, waiting| !waiting.is_closed());
            table.invites.insert(request, sender);
            request
        };
        let frame = Frame::Invite {
            request,
            class,
            ttl_seconds,
        };
        self.inner.send(&frame).await?;
        self.inner
            .answer(answer)
            .await?
            .ok_or(ClientError::Refused {
                code: ErrorCode::InviteRefused,
            })
    }

    /// Asks the relay to take back an invitation of this hub, durably, which shuts a phone out that has no
    /// other, and to empty mailboxes of which nobody has any more use, at most [`wire::limits::REVOKE_MAILBOXES_MAX`].
    ///
    /// # Errors
    /// [`ClientError::Timeout`] also from a relay that does not know the question. An error of the
    /// connection; [`ClientError::Misuse`] for too many mailboxes. In each case it may be asked again.
    pub async fn revoke(
        &self,
        guest: Option<Guest>,
        mailboxes: Vec<SendId>,
    ) -> Result<Revocation, ClientError> {
        if mailboxes.len() > REVOKE_MAILBOXES_MAX {
            return Err(ClientError::Misuse("more mailboxes than one pairing has"));
        }
        let (sender, answer) = oneshot::channel();
        let request = {
            let mut table = self.inner.table();
            table.last_request = table.last_request.wrapping_add(1);
            let request = table.last_request;
            // Nobody waits for a question whose future was dropped.
            table.revokes.retain(|_, waiting| !waiting.is_closed());
            table.revokes.insert(request, sender);
            request
        };
        let frame = Frame::Revoke {
            request,
            guest,
            mailboxes,
        };
        self.inner.send(&frame).await?;
        self.inner.answer(answer).await
    }

    /// Waits until the connection ends, and says why.
    pub async fn closed(&self) -> ClientError {
        let _reason = self.inner.quinn.closed().await;
        self.inner.failure()
    }

    /// Whether the connection has ended, by whomever.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.inner.quinn.close_reason().is_some()
    }

    /// Ends the connection now.
    pub fn close(&self) {
        self.inner
            .quinn
            .close(u32::from(ErrorCode::Done.to_u16()).into(), b"");
    }

    /// Moves the connection to a fresh socket, after the network has changed.
    ///
    /// # Errors
    /// [`ClientError::Socket`]; the old socket then stays in use.
    pub fn rebind(&self) -> Result<(), ClientError> {
        let socket_error = |error: std::io::Error| ClientError::Socket {
            reason: error.to_string(),
        };
        let mut local = self.inner.endpoint.local_addr().map_err(socket_error)?;
        local.set_port(0);
        let socket = std::net::UdpSocket::bind(local).map_err(socket_error)?;
        self.inner.endpoint.rebind(socket).map_err(socket_error)
    }

    /// Lets no more wait inside QUIC than the network soon takes, so that what is handed over next is not late
    /// already. To be called with whatever is handed over.
    pub fn follow_network(&self) {
        pace::follow_network(&self.inner.quinn, SEND_WINDOW_BYTES_MAX);
    }

    /// The round trip time as QUIC measures it.
    #[must_use]
    pub fn rtt(&self) -> Duration {
        self.inner.quinn.rtt()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Why the connection is of no more use.
    pub(crate) fn failure(&self) -> ClientError {
        if let Some(error) = &self.table().ended {
            return error.clone();
        }
        match self.quinn.close_reason() {
            Some(reason) => reason.into(),
            None => ClientError::Lost {
                reason: "the control stream ended".to_owned(),
            },
        }
    }

    fn reserve_slot(
        self: &Arc<Self>,
        stream: Option<oneshot::Sender<FrameReader>>,
        live: Option<mpsc::Sender<LiveGroup>>,
    ) -> Result<(SlotGuard, oneshot::Receiver<Result<Attached, ClientError>>), ClientError> {
        let (sender, answer) = oneshot::channel();
        let mail = Arc::new(SlotMail::default());
        let mut table = self.table();
        let Some(slot) = table.last_slot.checked_add(1) else {
            return Err(ClientError::Misuse("2^32 attachments in one connection"));
        };
        table.last_slot = slot;
        table.slots.insert(
            slot,
            SlotEntry {
                answer: Some(sender),
                stream,
                live,
                mail: Arc::clone(&mail),
            },
        );
        drop(table);
        let guard = SlotGuard {
            inner: Arc::clone(self),
            slot: Slot(slot),
            mail,
        };
        Ok((guard, answer))
    }

    /// A stream of our own.
    pub(crate) async fn open_uni(&self) -> Result<quinn::SendStream, ClientError> {
        Ok(self.quinn.open_uni().await?)
    }

    async fn attach(
        &self,
        frame: &Frame<'_>,
        answer: oneshot::Receiver<Result<Attached, ClientError>>,
    ) -> Result<Attached, ClientError> {
        self.send(frame).await?;
        self.answer(answer).await?
    }

    /// Queues a control frame.
    pub(crate) async fn send(&self, frame: &Frame<'_>) -> Result<(), ClientError> {
        self.outbound
            .send(frame.to_bytes())
            .await
            .map_err(|_closed| self.failure())
    }

    /// Waits for the answer to a question, as long as the relay may take.
    async fn answer<T>(&self, answer: oneshot::Receiver<T>) -> Result<T, ClientError> {
        match timeout(self.answer_timeout, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_dropped)) => Err(self.failure()),
            Err(_elapsed) => Err(ClientError::Timeout),
        }
    }

    /// The relay's bytes of one envelope of a send slot.
    pub(crate) async fn fetch(&self, slot: Slot, seq: Seq) -> Result<Option<Bytes>, ClientError> {
        let (sender, answer) = oneshot::channel();
        self.table().fetches.insert((slot.0, seq), sender);
        self.send(&Frame::Fetch { slot, seq }).await?;
        self.answer(answer).await
    }

    /// Waits until the connection ends, and says why.
    pub(crate) async fn closed(&self) -> ClientError {
        let _reason = self.quinn.closed().await;
        self.failure()
    }

    /// Ends everything that waits.
    fn end(&self, error: ClientError) {
        let mut table = self.table();
        table.ended.get_or_insert(error);
        // ORDER: whoever is woken by what follows finds the connection closed.
        self.quinn
            .close(u32::from(ErrorCode::Done.to_u16()).into(), b"");
        table.slots.clear();
        table.invites.clear();
        table.revokes.clear();
        table.fetches.clear();
    }

    fn is_a_stream_awaited(&self) -> bool {
        let table = self.table();
        table.slots.values().any(|entry| entry.stream.is_some())
    }

    fn mail(&self, slot: Slot) -> Option<Arc<SlotMail>> {
        let table = self.table();
        table
            .slots
            .get(&slot.0)
            .map(|entry| Arc::clone(&entry.mail))
    }

    fn answer_attach(&self, slot: Slot, attached: Result<Attached, ClientError>) {
        let answer = self
            .table()
            .slots
            .get_mut(&slot.0)
            .and_then(|entry| entry.answer.take());
        if let Some(answer) = answer {
            // The asker may have gone; its guard frees the slot.
            let _gone = answer.send(attached);
        }
    }

    fn handle_slot_error(&self, slot: Slot, code: u16) {
        let code = ErrorCode::from_u16(code).unwrap_or(ErrorCode::Protocol);
        let asked = self
            .table()
            .slots
            .get(&slot.0)
            .is_some_and(|entry| entry.answer.is_some());
        if asked {
            self.answer_attach(slot, Err(ClientError::Refused { code }));
        } else if let Some(mail) = self.mail(slot) {
            mail.change(|mail| {
                mail.ended.get_or_insert(code);
            });
        }
    }

    /// Sorts one control frame. A frame about a slot that was freed meanwhile goes nowhere.
    fn handle_frame(&self, raw: &RawFrame) -> Result<(), ClientError> {
        match Frame::parse(raw.kind, &raw.body)? {
            Frame::SendState { slot, state } => {
                self.answer_attach(slot, Ok(Attached::Send(state)));
            }
            Frame::ReceiveState { slot, state } => {
                self.answer_attach(slot, Ok(Attached::Receive(state)));
            }
            Frame::Receipt { slot, head } => {
                if let Some(mail) = self.mail(slot) {
                    mail.change(|mail| mail.receipt = Some(head));
                }
            }
            Frame::Conflict { slot, stored } => {
                self.refuse(slot, AppendEvent::Conflict { stored });
            }
            Frame::NotNext { slot, seq, head } => {
                self.refuse(slot, AppendEvent::NotNext { seq, head });
            }
            Frame::OverQuota {
                slot,
                seq,
                size,
                retry_after_s,
            } => self.refuse(
                slot,
                AppendEvent::OverQuota {
                    seq,
                    size,
                    retry_after_s,
                },
            ),
            Frame::Stored {
                slot,
                seq,
                envelope,
            } => {
                let bytes = envelope.map(|_| raw.body.slice(STORED_PREFIX_BYTES..));
                if let Some(waiting) = self.table().fetches.remove(&(slot.0, seq)) {
                    let _gone = waiting.send(bytes);
                }
            }
            Frame::Invitation {
                request,
                invitation,
            } => {
                if let Some(waiting) = self.table().invites.remove(&request) {
                    let _gone = waiting.send(invitation);
                }
            }
            Frame::Revoked { request, outcome } => {
                if let Some(waiting) = self.table().revokes.remove(&request) {
                    let _gone = waiting.send(outcome);
                }
            }
            Frame::GoAway { retry_after_s } => {
                self.table().ended = Some(ClientError::go_away(retry_after_s));
            }
            Frame::Error {
                slot: Some(slot),
                code,
            } => self.handle_slot_error(slot, code),
            Frame::Error { slot: None, code } => {
                return Err(ClientError::from_code(u64::from(code)));
            }
            Frame::Ping { token } => {
                // A full queue means that the relay does not read; it needs no answer then.
                let _full = self.outbound.try_send(Frame::Pong { token }.to_bytes());
            }
            Frame::Pong { .. } | Frame::Ignored { .. } => {}
            other => return Err(ClientError::Unexpected { kind: other.kind() }),
        }
        Ok(())
    }

    fn refuse(&self, slot: Slot, event: AppendEvent) {
        if let Some(mail) = self.mail(slot) {
            // The first refusal explains the others, which only follow from it.
            mail.change(|mail| {
                mail.refusal.get_or_insert(event);
            });
        }
    }
}

async fn write_control(
    quinn: quinn::Connection,
    mut stream: quinn::SendStream,
    mut to_write: mpsc::Receiver<Vec<u8>>,
) {
    // Acks of the protocol overtake video: they are small and free memory at the other end.
    if stream.set_priority(1000).is_err() {
        return;
    }
    loop {
        tokio::select! {
            frame = to_write.recv() => match frame {
                Some(frame) => {
                    if stream.write_all(&frame).await.is_err() {
                        return;
                    }
                }
                None => return,
            },
            _ = quinn.closed() => return,
        }
    }
}

async fn read_control(inner: Arc<Inner>, mut control: FrameReader) {
    let error = loop {
        match control.next().await {
            Ok(Some(frame)) => {
                if let Err(error) = inner.handle_frame(&frame) {
                    break error;
                }
            }
            Ok(None) => {
                break ClientError::Lost {
                    reason: "the relay ended the control stream".to_owned(),
                };
            }
            Err(error) => break read_error(error),
        }
    };
    inner.end(error);
}

/// Takes streams of deliveries and of live groups. One whose first frame does not come holds up no other; there are no
/// more of them than QUIC lets the relay open.
async fn accept_deliveries(inner: Arc<Inner>) {
    let mut beginning = JoinSet::new();
    loop {
        tokio::select! {
            accepted = inner.quinn.accept_uni() => match accepted {
                Ok(stream) => {
                    beginning.spawn(take_stream(Arc::clone(&inner), stream));
                }
                Err(_over) => return,
            },
            Some(_begun) = beginning.join_next() => {}
        }
    }
}

/// Hands a stream to the slot that its first frame names.
async fn take_stream(inner: Arc<Inner>, stream: quinn::RecvStream) {
    let mut reader = FrameReader::new(stream, BODY_BYTES_MAX);
    let first = match reader.next().await {
        Ok(Some(first)) => first,
        Err(FrameReadError::Stream(ReadError::Reset(code))) if !is_stale(code) => {
            // A reset may undo all that was written before it (RFC 9000, section 3.2). If slots wait for their streams,
            // this was for one of them, and nobody can say for which: its code is no word about the connection.
            tracing::info!(%code, "a stream was reset before it said whose it is");
            if inner.is_a_stream_awaited() {
                inner.end(ClientError::Lost {
                    reason: "a stream was reset before it said whose it is".to_owned(),
                });
            }
            return;
        }
        // The slot was freed, a live group given up, or the connection is over. Whoever still waits for a stream does
        // not do so for ever.
        Ok(None) | Err(_) => return,
    };
    match Frame::parse(first.kind, &first.body) {
        Ok(Frame::Stream { slot }) => {
            let waiting = inner
                .table()
                .slots
                .get_mut(&slot.0)
                .and_then(|entry| entry.stream.take());
            if let Some(waiting) = waiting {
                // Dropped with the reader if the slot was freed: that stops the stream.
                let _gone = waiting.send(reader);
            }
        }
        Ok(Frame::Live { slot, group }) => {
            let table = inner.table();
            let live = table
                .slots
                .get(&slot.0)
                .and_then(|entry| entry.live.as_ref());
            if let Some(live) = live {
                // A reader with so many to read misses this one: dropping it stops the stream.
                let _missed = live.try_send(LiveGroup::new(group, reader));
            }
        }
        _ => inner.end(ClientError::Unexpected { kind: first.kind }),
    }
}

/// Whether a stream was reset as live groups are, for which no slot waits.
fn is_stale(code: VarInt) -> bool {
    code == VarInt::from_u32(u32::from(ErrorCode::Stale.to_u16()))
}

/// A panic while the lock was held cannot leave these tables half changed in a way that
/// matters more than answering.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
