//! One connection of the malicious relay: TLS is terminated, and every frame goes through [`Evil`].
//!
//! The shape is the real server's (`relay/src/session.rs`), without its limits: it serves two programs of one
//! test. It must never panic on what they send, or the test would blame them for its own death.
//!
//! [`Evil`]: super::Evil

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quinn::{Connection, Incoming, RecvStream, SendStream};
use relay::admission;
use relay::server::{random_bytes, unix_now_s};
use relay_client::framed::{FrameReader, RawFrame};
use relay_client::rpk;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use wire::envelope::Size;
use wire::frame::{self, Frame, Revocation};
use wire::limits::{APPEND_PREFIX_BYTES, BODY_BYTES_MAX, CONTROL_BODY_BYTES_MAX, PROTOCOL_VERSION};
use wire::{Class, DeviceId, Digest, ErrorCode, SendId, Slot};

use super::liar::{Reader, Refusal};
use super::mailboxes::Answer;
use super::server::{Shared, Watcher};

/// Frames of ours that wait to be written.
const OUTBOUND_FRAMES_MAX: usize = 64;
/// What a sender is asked to wait where there is no room, in seconds.
const OVER_QUOTA_RETRY_S: u32 = 1;

/// What ends a session: the code to close with.
type Ended = Result<(), ErrorCode>;

/// What a slot is used for.
enum Use {
    Send(SendId),
    Receive(SendId, AbortHandle),
}

/// One connection, admitted.
struct Session {
    shared: Arc<Shared>,
    connection: Connection,
    class: Class,
    slots: Arc<Mutex<HashMap<u32, Use>>>,
    outbound: mpsc::Sender<Vec<u8>>,
    tasks: JoinSet<Ended>,
}

/// Serves one connection from its first packet to its end, or to the next order that closes it.
pub(super) async fn serve(shared: Arc<Shared>, incoming: Incoming) {
    let Ok(connecting) = incoming.accept() else {
        return;
    };
    let Ok(connection) = connecting.await else {
        return;
    };
    let mut orders = shared.orders.subscribe();
    let device = rpk::peer_id(&connection);
    let guests = Arc::clone(&shared);
    let admitted = admit(&shared, &connection, device).await;
    let code = match admitted {
        Err(code) => code,
        Ok((class, send, control)) => {
            let (outbound, to_write) = mpsc::channel(OUTBOUND_FRAMES_MAX);
            let mut tasks = JoinSet::new();
            tasks.spawn(write_control(send, to_write));
            let mut session = Session {
                shared,
                connection: connection.clone(),
                class,
                slots: Arc::default(),
                outbound,
                tasks,
            };
            tokio::select! {
                ended = session.run(control) => ended.err().unwrap_or(ErrorCode::Done),
                _ordered = orders.changed() => ErrorCode::StorageRestarting,
                () = shut_out(&guests, device) => ErrorCode::Revoked,
            }
        }
    };
    connection.close(u32::from(code.to_u16()).into(), b"");
}

/// Until this device is shut out.
async fn shut_out(shared: &Shared, device: DeviceId) {
    let mut news = shared.news.subscribe();
    loop {
        // ORDER: listen, then look, as a reader does.
        let _seen = *news.borrow_and_update();
        let is_out = shared.evil().is_shut_out(&device);
        if is_out || news.changed().await.is_err() {
            return;
        }
    }
}

/// Admits as an honest relay does; an invitation may be used again, which only its owner could complain of.
async fn admit(
    shared: &Shared,
    connection: &Connection,
    device: DeviceId,
) -> Result<(Class, SendStream, FrameReader), ErrorCode> {
    let (mut send, receive) = connection
        .accept_bi()
        .await
        .map_err(|_gone| ErrorCode::Done)?;
    let mut control = FrameReader::new(receive, CONTROL_BODY_BYTES_MAX);
    let hello = next_frame(&mut control).await?;
    match Frame::parse(hello.kind, &hello.body).map_err(|_bad| ErrorCode::Protocol)? {
        Frame::Hello { .. } => {}
        _ => return Err(ErrorCode::Protocol),
    }
    let who = next_frame(&mut control).await?;
    let now_s = unix_now_s();
    let certificate = match Frame::parse(who.kind, &who.body).map_err(|_bad| ErrorCode::Protocol)? {
        Frame::Certificate(certificate) => {
            admission::check_certificate(&shared.identity, &certificate, device, &[])?;
            if shared.evil().is_shut_out(&device) {
                return Err(ErrorCode::Revoked);
            }
            certificate
        }
        Frame::Redeem(invitation) => {
            admission::check_invitation(&shared.identity, &invitation, now_s)?;
            if !shared.evil().redeem(device, &invitation.nonce) {
                return Err(ErrorCode::InvitationUsed);
            }
            admission::issue_certificate(&shared.identity, device, invitation.class, now_s)
        }
        _ => return Err(ErrorCode::Stranger),
    };
    let class = certificate.class;
    let mut answer = Frame::Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
    }
    .to_bytes();
    Frame::Admitted(certificate).encode(&mut answer);
    send.write_all(&answer)
        .await
        .map_err(|_gone| ErrorCode::Done)?;
    Ok((class, send, control))
}

async fn next_frame(frames: &mut FrameReader) -> Result<RawFrame, ErrorCode> {
    match frames.next().await {
        Ok(Some(frame)) => Ok(frame),
        Ok(None) | Err(_) => Err(ErrorCode::Done),
    }
}

async fn write_control(mut stream: SendStream, mut to_write: mpsc::Receiver<Vec<u8>>) -> Ended {
    while let Some(frame) = to_write.recv().await {
        stream
            .write_all(&frame)
            .await
            .map_err(|_gone| ErrorCode::Done)?;
    }
    Ok(())
}

fn lock(slots: &Mutex<HashMap<u32, Use>>) -> MutexGuard<'_, HashMap<u32, Use>> {
    slots.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is said of a slot that is no more.
fn slot_error(slot: Slot, code: ErrorCode) -> Frame<'static> {
    Frame::Error {
        slot: Some(slot),
        code: code.to_u16(),
    }
}

/// A control frame as it leaves.
fn on_its_way(shared: &Shared, frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = frame.to_bytes();
    if let Some(change) = shared.evil().change_of_word(frame, bytes.len()) {
        change.apply(&mut bytes);
    }
    bytes
}

impl Session {
    async fn run(&mut self, mut control: FrameReader) -> Ended {
        loop {
            tokio::select! {
                frame = next_frame(&mut control) => self.handle_frame(&frame?).await?,
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => self.start_uplink(stream),
                    Err(_gone) => return Ok(()),
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(ended) => ended?,
                    Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                    Err(_aborted) => {}
                },
            }
        }
    }

    async fn send(&self, frame: &Frame<'_>) -> Ended {
        let bytes = on_its_way(&self.shared, frame);
        let sent = self.outbound.send(bytes).await;
        sent.map_err(|_writer_gone| ErrorCode::Done)
    }

    /// Refuses this slot, or the connection with it, if the vice wants that. Whether it did.
    async fn refuses(&self, slot: Slot) -> Result<bool, ErrorCode> {
        let refusal = self.shared.evil().refuse(self.class);
        match refusal {
            None => Ok(false),
            Some(Refusal::Slot(code)) => {
                self.send(&slot_error(slot, code)).await?;
                Ok(true)
            }
            Some(Refusal::Connection(code)) => Err(code),
        }
    }

    /// The mailbox that is read at this slot, if one is.
    fn read_at(&self, slot: Slot) -> Option<SendId> {
        match lock(&self.slots).get(&slot.0) {
            Some(Use::Receive(mailbox, _)) => Some(*mailbox),
            _ => None,
        }
    }

    fn watcher(&self, slot: Slot) -> Watcher {
        Watcher {
            connection: self.connection.clone(),
            slot,
        }
    }

    fn start_uplink(&mut self, stream: RecvStream) {
        self.tasks.spawn(uplink(
            Arc::clone(&self.shared),
            self.class,
            Arc::clone(&self.slots),
            stream,
            self.outbound.clone(),
        ));
    }

    async fn handle_frame(&mut self, raw: &RawFrame) -> Ended {
        match Frame::parse(raw.kind, &raw.body).map_err(|_bad| ErrorCode::Protocol)? {
            Frame::AttachSend { slot, mailbox } => {
                if self.refuses(slot).await? {
                    return Ok(());
                }
                let state = self.shared.evil().attach_send(self.class, mailbox);
                lock(&self.slots).insert(slot.0, Use::Send(mailbox));
                self.send(&Frame::SendState { slot, state }).await
            }
            Frame::AttachReceive {
                slot,
                mailbox,
                cursor,
            } => {
                if self.refuses(slot).await? {
                    return Ok(());
                }
                let mailbox = mailbox.send_id();
                let (state, reader) = self
                    .shared
                    .evil()
                    .attach_receive(self.class, mailbox, cursor);
                self.send(&Frame::ReceiveState { slot, state }).await?;
                let shared = Arc::clone(&self.shared);
                let reads = Reads {
                    connection: self.connection.clone(),
                    class: self.class,
                    slot,
                    mailbox,
                };
                let task = self.tasks.spawn(downlink(shared, reads, reader));
                lock(&self.slots).insert(slot.0, Use::Receive(mailbox, task));
                Ok(())
            }
            Frame::Detach { slot } => {
                let used = lock(&self.slots).remove(&slot.0);
                if let Some(Use::Receive(mailbox, task)) = used {
                    task.abort();
                    self.shared.watch(mailbox, self.watcher(slot), false);
                }
                Ok(())
            }
            Frame::Watch { slot, on } => {
                if let Some(mailbox) = self.read_at(slot) {
                    self.shared.watch(mailbox, self.watcher(slot), on);
                }
                Ok(())
            }
            Frame::Trim { slot, through } => {
                if let Some(mailbox) = self.read_at(slot) {
                    self.shared.evil().trim(&mailbox, through);
                }
                Ok(())
            }
            Frame::Fetch { slot, seq } => {
                let mailbox = match lock(&self.slots).get(&slot.0) {
                    Some(Use::Send(mailbox)) => Some(*mailbox),
                    _ => None,
                };
                let bytes = mailbox.and_then(|mailbox| self.shared.evil().fetch(&mailbox, seq));
                let envelope = bytes.as_deref();
                self.send(&Frame::Stored {
                    slot,
                    seq,
                    envelope,
                })
                .await
            }
            Frame::Invite {
                request,
                class,
                ttl_seconds,
            } => {
                let invitation = admission::issue_invitation(
                    &self.shared.identity,
                    random_bytes(),
                    class,
                    ttl_seconds,
                    unix_now_s(),
                );
                let invitation = Some(invitation);
                self.send(&Frame::Invitation {
                    request,
                    invitation,
                })
                .await
            }
            Frame::Revoke {
                request,
                guest,
                mailboxes,
            } => {
                // Only a hub may; a phone is told what would be so without it.
                let outcome = match self.class {
                    Class::Hub => self.shared.evil().revoke(guest, &mailboxes),
                    Class::Phone => Some(Revocation::StillAdmitted),
                };
                self.shared.news.send_modify(|count| *count += 1);
                match outcome {
                    Some(outcome) => self.send(&Frame::Revoked { request, outcome }).await,
                    None => Ok(()),
                }
            }
            Frame::Ping { token } => self.send(&Frame::Pong { token }).await,
            Frame::Pong { .. } | Frame::Ignored { .. } => Ok(()),
            _ => Err(ErrorCode::Protocol),
        }
    }
}

/// One group of live pictures, passed on as far as the vice lets it.
async fn live(shared: &Shared, mailbox: SendId, group: u64, mut frames: FrameReader) -> Ended {
    let watchers = shared.watchers(&mailbox);
    if watchers.is_empty() {
        let code = u32::from(ErrorCode::NotWatched.to_u16());
        // It fails only when the stream is gone.
        let _gone = frames.stream_mut().stop(code.into());
        return Ok(());
    }
    let mut streams = Vec::new();
    for Watcher { connection, slot } in watchers {
        let group = shared.evil().live_group(group);
        let Ok(mut stream) = connection.open_uni().await else {
            continue;
        };
        let header = Frame::Live { slot, group }.to_bytes();
        if stream.write_all(&header).await.is_ok() {
            streams.push(stream);
        }
    }
    while let Ok(Some(raw)) = frames.next().await {
        match Frame::parse(raw.kind, &raw.body) {
            Ok(Frame::LivePiece { .. }) => {}
            Ok(Frame::Ignored { .. }) => continue,
            _ => return Err(ErrorCode::Protocol),
        }
        let pieces = shared.evil().live_piece(mailbox, &raw.body);
        for piece in pieces {
            for stream in &mut streams {
                let prefix = Bytes::from(frame::live_prefix(piece.len()));
                // One that is gone takes nothing.
                let _gone = stream.write_all_chunks(&mut [prefix, piece.clone()]).await;
            }
        }
    }
    for stream in &mut streams {
        let _gone = stream.finish();
    }
    Ok(())
}

/// One stream of appends, or of a live group.
async fn uplink(
    shared: Arc<Shared>,
    class: Class,
    slots: Arc<Mutex<HashMap<u32, Use>>>,
    stream: RecvStream,
    outbound: mpsc::Sender<Vec<u8>>,
) -> Ended {
    let mut frames = FrameReader::new(stream, BODY_BYTES_MAX);
    let Ok(Some(first)) = frames.next().await else {
        return Ok(());
    };
    let (slot, group) = match Frame::parse(first.kind, &first.body) {
        Ok(Frame::Stream { slot }) => (slot, None),
        Ok(Frame::Live { slot, group }) => (slot, Some(group)),
        _ => return Err(ErrorCode::Protocol),
    };
    let mailbox = match lock(&slots).get(&slot.0) {
        Some(Use::Send(mailbox)) => *mailbox,
        _ => return Ok(()),
    };
    if let Some(group) = group {
        return live(&shared, mailbox, group, frames).await;
    }
    let mut refused = false;
    while let Ok(Some(raw)) = frames.next().await {
        let (seq, after, digest) = match Frame::parse(raw.kind, &raw.body) {
            Ok(Frame::Append {
                seq, after, digest, ..
            }) => (seq, after, digest),
            Ok(Frame::Ignored { .. }) => continue,
            _ => return Err(ErrorCode::Protocol),
        };
        let envelope = raw.body.slice(APPEND_PREFIX_BYTES..);
        if Digest::of(&envelope) != digest {
            return Err(ErrorCode::BadDigest);
        }
        if refused {
            // Nothing behind a refusal is appended; the sender attaches again. It has left all the same.
            shared.evil().saw(class, mailbox, seq, &envelope);
            continue;
        }
        let refusal = shared.evil().refuse(class);
        if let Some(refusal) = refusal {
            // Thrown away. It has left all the same.
            shared.evil().saw(class, mailbox, seq, &envelope);
            let code = match refusal {
                Refusal::Slot(code) => code,
                Refusal::Connection(code) => return Err(code),
            };
            refused = true;
            let frame = slot_error(slot, code);
            if outbound.send(on_its_way(&shared, &frame)).await.is_err() {
                return Ok(());
            }
            continue;
        }
        let answer = shared
            .evil()
            .append(class, mailbox, (seq, after, digest), &envelope);
        shared.news.send_modify(|count| *count += 1);
        let Some(answer) = answer else { continue };
        let frame = match answer {
            Answer::Receipt(head) => Frame::Receipt { slot, head },
            Answer::Conflict(stored) => Frame::Conflict { slot, stored },
            Answer::NotNext(head) => Frame::NotNext { slot, seq, head },
            Answer::Full => Frame::OverQuota {
                slot,
                seq,
                size: Size::of(envelope.len()),
                retry_after_s: OVER_QUOTA_RETRY_S,
            },
        };
        refused = !matches!(answer, Answer::Receipt(_));
        if outbound.send(on_its_way(&shared, &frame)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Who reads what, and where.
struct Reads {
    connection: Connection,
    class: Class,
    slot: Slot,
    mailbox: SendId,
}

/// One attached reader.
async fn downlink(shared: Arc<Shared>, reads: Reads, mut reader: Reader) -> Ended {
    let Reads {
        connection,
        class,
        slot,
        mailbox,
    } = reads;
    let Ok(mut stream) = connection.open_uni().await else {
        return Ok(());
    };
    let header = Frame::Stream { slot }.to_bytes();
    if stream.write_all(&header).await.is_err() {
        return Ok(());
    }
    let mut news = shared.news.subscribe();
    // A stream that is reset before anything of it was read ends its reader's connection, as far as that can be told
    // here: what was written may not have been read.
    let mut has_begun = false;
    loop {
        // ORDER: listen, then look. The other way round, what comes in between is missed.
        let _seen = *news.borrow_and_update();
        let batch = shared.evil().deliveries(&mailbox, &mut reader);
        if batch.is_empty() {
            tokio::select! {
                changed = news.changed() => if changed.is_err() {
                    return Ok(());
                },
                _ = stream.stopped() => return Ok(()),
            }
            continue;
        }
        let refusal = match has_begun {
            true => shared.evil().refuse(class),
            false => None,
        };
        match refusal {
            None => {}
            Some(Refusal::Slot(code)) => {
                // It fails only when the stream is gone.
                let _gone = stream.reset(u32::from(code.to_u16()).into());
                return Ok(());
            }
            Some(Refusal::Connection(code)) => return Err(code),
        }
        has_begun = true;
        for (seq, envelope) in batch {
            let prefix = Bytes::from(frame::deliver_prefix(seq, envelope.len()));
            let whole = prefix.len() + envelope.len();
            let change = shared.evil().change_of(mailbox, seq, whole);
            let mut chunks = vec![prefix, envelope];
            if let Some(change) = change {
                let mut frame = chunks.concat();
                change.apply(&mut frame);
                chunks = vec![Bytes::from(frame)];
            }
            if stream.write_all_chunks(&mut chunks).await.is_err() {
                return Ok(());
            }
        }
    }
}
