//! One connection: admission, then control frames, and a task per attached mailbox.
//!
//! This room must never do anything for a device before it is admitted, never let one mailbox
//! hold up another, and never panic on what a peer sends: it closes with a code.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quinn::VarInt;
use relay_client::framed::{FrameReader, RawFrame};
use relay_client::rpk;
use tokio::sync::{broadcast, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use wal::crash_point;
use wire::frame::{Frame, Guest, Revocation};
use wire::limits::{CONTROL_BODY_BYTES_MAX, PROTOCOL_VERSION, SLOTS_PER_CONNECTION_MAX};
use wire::{Class, DeviceId, ErrorCode, ReceiveId, SendId, Seq, Slot};

use crate::admission::{self, Verdict};
use crate::downlink;
use crate::live;
use crate::registry::close;
use crate::server::{Shared, random_bytes, unix_now_s, until_stopping};
use crate::storage::{Job, StorageRestarting};
use crate::store::Revoked;
use crate::uplink;

/// How long a handshake, and then the admission, may take.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Control frames of ours that wait to be written.
const OUTBOUND_FRAMES_MAX: usize = 64;
/// What an admitted peer may have under way.
const ADMITTED_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What a peer is asked to wait when the relay shuts down.
const SHUTDOWN_RETRY_S: u32 = 2;
/// How long a peer has to read the goodbye.
const GOODBYE: Duration = Duration::from_millis(100);
/// Seconds in a day, for counting invitations.
const DAY_S: u64 = 24 * 3600;

/// Ends a session: the code to close with.
pub(crate) type Ended = Result<(), ErrorCode>;

impl From<StorageRestarting> for ErrorCode {
    fn from(_: StorageRestarting) -> ErrorCode {
        ErrorCode::StorageRestarting
    }
}

/// What a slot is used for.
#[derive(Debug)]
pub(crate) enum SlotUse {
    /// For appends; its stream has not come yet.
    Send(SendId),
    /// For appends, over a stream that is open.
    Sending(SendId),
    /// For reading.
    Receive(SendId, AbortHandle),
}

/// The slots of one connection, shared with the tasks of its streams.
#[derive(Debug, Default)]
pub(crate) struct Slots(Mutex<HashMap<u32, SlotUse>>);

impl Slots {
    fn table(&self) -> MutexGuard<'_, HashMap<u32, SlotUse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a send slot to its one stream.
    pub(crate) fn open_stream(&self, slot: Slot) -> Option<SendId> {
        let mut table = self.table();
        let entry = table.get_mut(&slot.0)?;
        let SlotUse::Send(mailbox) = *entry else {
            return None;
        };
        *entry = SlotUse::Sending(mailbox);
        Some(mailbox)
    }

    /// What a slot appends to.
    pub(crate) fn send_mailbox(&self, slot: Slot) -> Option<SendId> {
        match self.table().get(&slot.0)? {
            SlotUse::Send(mailbox) | SlotUse::Sending(mailbox) => Some(*mailbox),
            SlotUse::Receive(..) => None,
        }
    }

    /// Frees a slot.
    pub(crate) fn remove(&self, slot: Slot) {
        if let Some(SlotUse::Receive(_, task)) = self.table().remove(&slot.0) {
            task.abort();
        }
    }
}

struct Session {
    shared: Arc<Shared>,
    connection: quinn::Connection,
    device: DeviceId,
    class: Class,
    slots: Arc<Slots>,
    /// Receive slots that watch.
    watching: HashMap<u32, live::Seat>,
    last_slot: u32,
    outbound: mpsc::Sender<Vec<u8>>,
    tasks: JoinSet<Ended>,
}

/// Serves one connection from its first packet to its end.
pub(crate) async fn serve(shared: Arc<Shared>, incoming: quinn::Incoming) {
    let Ok(connecting) = incoming.accept() else {
        return;
    };
    let Ok(Ok(connection)) = timeout(ADMISSION_TIMEOUT, connecting).await else {
        return;
    };
    let device = rpk::peer_id(&connection);
    let admitted = timeout(ADMISSION_TIMEOUT, admit(&shared, &connection, device))
        .await
        .unwrap_or(Err(ErrorCode::Timeout));
    let (class, control_send, control) = match admitted {
        Ok(admitted) => admitted,
        Err(code) => {
            tracing::info!(device = %device.short(), ?code, "refused");
            close(&connection, code);
            return;
        }
    };
    connection.set_max_concurrent_uni_streams(VarInt::from_u32(SLOTS_PER_CONNECTION_MAX as u32));
    connection.set_receive_window(VarInt::from_u32(ADMITTED_WINDOW_BYTES));
    let seat = shared.registry.enter(device, &connection);
    tracing::info!(device = %device.short(), %class, "admitted");

    let (outbound, to_write) = mpsc::channel(OUTBOUND_FRAMES_MAX);
    let mut tasks = JoinSet::new();
    let unread_max = shared.current.borrow().unread_max;
    tasks.spawn(write_control(
        connection.clone(),
        control_send,
        to_write,
        unread_max,
    ));
    let mut session = Session {
        shared,
        connection: connection.clone(),
        device,
        class,
        slots: Arc::new(Slots::default()),
        watching: HashMap::new(),
        last_slot: 0,
        outbound,
        tasks,
    };
    // Who was shut out between its admission and its seat finds nobody to close its connection.
    let late = is_shut_out(&session.shared, device, class).await;
    let is_revoked = session.shared.current.borrow().is_revoked(&device);
    let ran = match late {
        Ok(false) if is_revoked => Err(ErrorCode::Revoked),
        Ok(false) => session.run(control).await,
        Ok(true) => Err(ErrorCode::Revoked),
        Err(restarting) => Err(restarting.into()),
    };
    let code = match ran {
        Ok(()) => ErrorCode::Done,
        Err(code) => code,
    };
    close(&connection, code);
    drop(seat);
    tracing::info!(device = %device.short(), ?code, "gone");
}

/// Reads who it is, and answers. Nothing of the peer is kept when this fails.
async fn admit(
    shared: &Shared,
    connection: &quinn::Connection,
    device: DeviceId,
) -> Result<(Class, quinn::SendStream, FrameReader), ErrorCode> {
    let (mut send, receive) = connection
        .accept_bi()
        .await
        .map_err(|_gone| ErrorCode::Done)?;
    let mut control = FrameReader::new(receive, CONTROL_BODY_BYTES_MAX);
    let hello = next_frame(&mut control).await?;
    match Frame::parse(hello.kind, &hello.body).map_err(|_bad| ErrorCode::Protocol)? {
        Frame::Hello {
            version_min,
            version_max,
            ..
        } if (version_min..=version_max).contains(&PROTOCOL_VERSION) => {}
        Frame::Hello { .. } => return Err(ErrorCode::Version),
        _ => return Err(ErrorCode::Protocol),
    }
    let who = next_frame(&mut control).await?;
    let certificate = match Frame::parse(who.kind, &who.body).map_err(|_bad| ErrorCode::Protocol)? {
        Frame::Certificate(certificate) => {
            admission::check_certificate(
                &shared.identity,
                &certificate,
                device,
                &shared.current.borrow().revoked,
            )?;
            if is_shut_out(shared, device, certificate.class).await? {
                return Err(ErrorCode::Revoked);
            }
            certificate
        }
        Frame::Redeem(invitation) => {
            let now_unix_s = unix_now_s();
            admission::check_invitation(&shared.identity, &invitation, now_unix_s)?;
            if shared.current.borrow().is_revoked(&device) {
                return Err(ErrorCode::Revoked);
            }
            let redeemed = shared
                .storage
                .ask(|answer| Job::Redeem {
                    device,
                    class: invitation.class,
                    nonce: invitation.nonce,
                    expires_unix_s: invitation.expires_unix_s,
                    now_unix_s,
                    answer,
                })
                .await?;
            let _durable = redeemed.ok_or(ErrorCode::InvitationUsed)?;
            // CRASH(relay.redeem.after_sync): before: used up, and its certificate was not sent; the
            // same device may redeem it again | after: used up, and the device has its certificate.
            crash_point!("relay.redeem.after_sync");
            admission::issue_certificate(&shared.identity, device, invitation.class, now_unix_s)
        }
        _ => return Err(ErrorCode::Stranger),
    };
    let mut answer = Frame::Hello {
        version_min: PROTOCOL_VERSION,
        version_max: PROTOCOL_VERSION,
        features: 0,
    }
    .to_bytes();
    let class = certificate.class;
    Frame::Admitted(certificate).encode(&mut answer);
    send.write_all(&answer)
        .await
        .map_err(|_gone| ErrorCode::Done)?;
    Ok((class, send, control))
}

/// Whether the hub that invited a phone has taken that back.
async fn is_shut_out(
    shared: &Shared,
    device: DeviceId,
    class: Class,
) -> Result<bool, StorageRestarting> {
    match class {
        Class::Hub => Ok(false),
        Class::Phone => {
            let ask = |answer| Job::IsRevoked { device, answer };
            shared.storage.ask(ask).await
        }
    }
}

async fn next_frame(control: &mut FrameReader) -> Result<RawFrame, ErrorCode> {
    match control.next().await {
        Ok(Some(frame)) => Ok(frame),
        // A device that ends its stream without a word is a stranger.
        Ok(None) => Err(ErrorCode::Stranger),
        Err(relay_client::framed::FrameReadError::Wire(_)) => Err(ErrorCode::Protocol),
        Err(relay_client::framed::FrameReadError::Stream(_)) => Err(ErrorCode::Done),
    }
}

impl Session {
    async fn run(&mut self, mut control: FrameReader) -> Ended {
        let mut reopened = self.shared.storage.reopened();
        reopened.mark_unchanged();
        let mut lost = self.shared.storage.lost();
        let mut stopping = self.shared.stopping.clone();
        loop {
            tokio::select! {
                frame = control.next() => match frame {
                    Ok(Some(frame)) => self.handle_frame(&frame).await?,
                    Ok(None) => return Ok(()),
                    Err(relay_client::framed::FrameReadError::Wire(_)) => {
                        return Err(ErrorCode::Protocol);
                    }
                    Err(_gone) => return Ok(()),
                },
                stream = self.connection.accept_uni() => match stream {
                    Ok(stream) => self.start_uplink(stream),
                    Err(_gone) => return Ok(()),
                },
                Some(ended) = self.tasks.join_next() => match ended {
                    Ok(ended) => ended?,
                    Err(error) if error.is_panic() => {
                        tracing::error!(%error, "a task of a session panicked");
                        return Err(ErrorCode::StorageRestarting);
                    }
                    Err(_aborted) => {}
                },
                mailbox = lost.recv() => match mailbox {
                    Ok(mailbox) => self.handle_lost(mailbox).await?,
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        return Err(ErrorCode::StorageRestarting);
                    }
                    Err(broadcast::error::RecvError::Closed) => return Err(ErrorCode::ShuttingDown),
                },
                _ = reopened.changed() => return Err(ErrorCode::StorageRestarting),
                () = until_stopping(&mut stopping) => {
                    return self.say_goodbye().await;
                }
            }
        }
    }

    async fn say_goodbye(&mut self) -> Ended {
        let frame = Frame::GoAway {
            retry_after_s: SHUTDOWN_RETRY_S,
        };
        self.send(&frame).await?;
        // Its only purpose is that the frame overtakes the close; the peer may go first.
        let _elapsed = timeout(GOODBYE, self.connection.closed()).await;
        Err(ErrorCode::ShuttingDown)
    }

    async fn send(&self, frame: &Frame<'_>) -> Ended {
        self.outbound
            .send(frame.to_bytes())
            .await
            .map_err(|_writer_gone| ErrorCode::Done)
    }

    fn start_uplink(&mut self, stream: quinn::RecvStream) {
        self.tasks.spawn(uplink::run(
            Arc::clone(&self.shared),
            (self.device, self.class),
            Arc::clone(&self.slots),
            stream,
            self.outbound.clone(),
        ));
    }

    async fn handle_frame(&mut self, raw: &RawFrame) -> Ended {
        match Frame::parse(raw.kind, &raw.body).map_err(|_bad| ErrorCode::Protocol)? {
            Frame::AttachSend { slot, mailbox } => self.attach_send(slot, mailbox).await,
            Frame::AttachReceive {
                slot,
                mailbox,
                cursor,
            } => self.attach_receive(slot, mailbox, cursor).await,
            Frame::Detach { slot } => {
                self.watching.remove(&slot.0);
                self.slots.remove(slot);
                Ok(())
            }
            Frame::Watch { slot, on } => self.watch(slot, on),
            Frame::Trim { slot, through } => self.trim(slot, through).await,
            Frame::Fetch { slot, seq } => self.fetch(slot, seq).await,
            Frame::Invite {
                request,
                class,
                ttl_seconds,
            } => self.invite(request, class, ttl_seconds).await,
            Frame::Revoke {
                request,
                guest,
                mailboxes,
            } => self.revoke(request, guest, mailboxes).await,
            Frame::Ping { token } => self.send(&Frame::Pong { token }).await,
            Frame::Pong { .. } | Frame::Ignored { .. } => Ok(()),
            _ => Err(ErrorCode::Protocol),
        }
    }

    /// Checks that a slot is new; answers and says so when there are too many.
    async fn may_attach(&mut self, slot: Slot) -> Result<Verdict, ErrorCode> {
        if slot.0 <= self.last_slot {
            return Err(ErrorCode::Protocol);
        }
        self.last_slot = slot.0;
        if self.slots.table().len() < SLOTS_PER_CONNECTION_MAX {
            return Ok(Verdict::Yes);
        }
        self.send(&Frame::Error {
            slot: Some(slot),
            code: ErrorCode::TooManyMailboxes.to_u16(),
        })
        .await?;
        Ok(Verdict::No)
    }

    async fn attach_send(&mut self, slot: Slot, mailbox: SendId) -> Ended {
        if self.may_attach(slot).await? == Verdict::No {
            return Ok(());
        }
        let state = self
            .shared
            .storage
            .ask(|answer| Job::SendState { mailbox, answer })
            .await?;
        self.slots.table().insert(slot.0, SlotUse::Send(mailbox));
        self.send(&Frame::SendState { slot, state }).await
    }

    async fn attach_receive(&mut self, slot: Slot, mailbox: ReceiveId, cursor: Seq) -> Ended {
        if self.may_attach(slot).await? == Verdict::No {
            return Ok(());
        }
        let mailbox = mailbox.send_id();
        let state = self
            .shared
            .storage
            .ask(|answer| Job::ReceiveState { mailbox, answer })
            .await?;
        self.send(&Frame::ReceiveState { slot, state }).await?;
        let task = self.tasks.spawn(downlink::run(
            Arc::clone(&self.shared),
            self.connection.clone(),
            slot,
            mailbox,
            cursor,
        ));
        self.slots
            .table()
            .insert(slot.0, SlotUse::Receive(mailbox, task));
        Ok(())
    }

    /// Live groups are passed on to a receive slot, or no more. There is no answer: who is one too many sees
    /// that nothing comes.
    fn watch(&mut self, slot: Slot, on: bool) -> Ended {
        let mailbox = match self.slots.table().get(&slot.0) {
            Some(SlotUse::Receive(mailbox, _)) => *mailbox,
            Some(_) => return Err(ErrorCode::UnknownSlot),
            // It was freed while the frame was under way.
            None => return Ok(()),
        };
        if !on {
            self.watching.remove(&slot.0);
        } else if let Entry::Vacant(place) = self.watching.entry(slot.0) {
            let seat = self
                .shared
                .live
                .watch(mailbox, self.connection.clone(), slot);
            match seat {
                Some(seat) => {
                    place.insert(seat);
                }
                None => tracing::info!(device = %self.device.short(), "too many watch"),
            }
        }
        Ok(())
    }

    async fn trim(&mut self, slot: Slot, through: Seq) -> Ended {
        let mailbox = match self.slots.table().get(&slot.0) {
            Some(SlotUse::Receive(mailbox, _)) => *mailbox,
            Some(_) => return Err(ErrorCode::UnknownSlot),
            // It was freed while the frame was under way; trims are repeated.
            None => return Ok(()),
        };
        let job = Job::Trim { mailbox, through };
        Ok(self.shared.storage.submit(job).await?)
    }

    async fn fetch(&mut self, slot: Slot, seq: Seq) -> Ended {
        let mailbox = match self.slots.table().get(&slot.0) {
            Some(SlotUse::Send(mailbox) | SlotUse::Sending(mailbox)) => Some(*mailbox),
            Some(SlotUse::Receive(..)) => return Err(ErrorCode::UnknownSlot),
            None => None,
        };
        let bytes = match mailbox {
            Some(mailbox) => {
                self.shared
                    .storage
                    .ask(|answer| Job::Fetch {
                        mailbox,
                        seq,
                        answer,
                    })
                    .await?
            }
            None => None,
        };
        let envelope = bytes.as_deref();
        self.send(&Frame::Stored {
            slot,
            seq,
            envelope,
        })
        .await
    }

    async fn invite(&mut self, request: u32, class: Class, ttl_seconds: u32) -> Ended {
        let now_unix_s = unix_now_s();
        let mut invitation = None;
        if admission::may_invite(self.class, class) == Verdict::Yes {
            let counted = self
                .shared
                .storage
                .ask(|answer| Job::CountInvitation {
                    device: self.device,
                    day: now_unix_s / DAY_S,
                    answer,
                })
                .await?;
            invitation = counted.map(|_durable| {
                admission::issue_invitation(
                    &self.shared.identity,
                    admission::hub_nonce(&self.device, random_bytes()),
                    class,
                    ttl_seconds,
                    now_unix_s,
                )
            });
        }
        self.send(&Frame::Invitation {
            request,
            invitation,
        })
        .await
    }

    /// Takes an invitation of this hub back, and empties what nobody needs any more. The answer comes after
    /// the sync; a disk that is too full, or a hub that has asked for too much today, has none and asks again.
    async fn revoke(
        &mut self,
        request: u32,
        guest: Option<Guest>,
        mailboxes: Vec<SendId>,
    ) -> Ended {
        let mut outcome = Revocation::StillAdmitted;
        if self.class == Class::Hub {
            let revoked = self
                .shared
                .storage
                .ask(|answer| Job::Revoke {
                    hub: self.device,
                    guest,
                    mailboxes,
                    now_unix_s: unix_now_s(),
                    answer,
                })
                .await?;
            let Some(revoked) = revoked else {
                return Ok(());
            };
            let device = guest.map(|guest| guest.device);
            let by_operator = |device| self.shared.current.borrow().is_revoked(&device);
            let revoked = revoked.into_inner();
            if let Some(other) = revoked.also_shut_out {
                self.shared.registry.shut_out(&other);
            }
            if revoked.outcome == Revoked::Done {
                outcome = Revocation::Done;
                if let Some(device) = device {
                    self.shared.registry.shut_out(&device);
                }
            } else if device.is_some_and(by_operator) {
                outcome = Revocation::Done;
            } else if revoked.outcome == Revoked::NotKnown {
                outcome = Revocation::NotKnown;
            }
        }
        self.send(&Frame::Revoked { request, outcome }).await
    }

    /// A mailbox was emptied because it was damaged, or given up: whoever sends to it must look again.
    async fn handle_lost(&mut self, lost: SendId) -> Ended {
        let slots: Vec<u32> = self
            .slots
            .table()
            .iter()
            .filter(|(_, used)| match used {
                SlotUse::Send(mailbox) | SlotUse::Sending(mailbox) => *mailbox == lost,
                SlotUse::Receive(..) => false,
            })
            .map(|(slot, _)| *slot)
            .collect();
        for slot in slots {
            self.slots.remove(Slot(slot));
            self.send(&Frame::Error {
                slot: Some(Slot(slot)),
                code: ErrorCode::MailboxLost.to_u16(),
            })
            .await?;
        }
        Ok(())
    }
}

/// Writes what the session and its streams answer. They wait for room in the queue, so a peer
/// that does not read holds up nobody but itself, and that only for `unread_max`.
async fn write_control(
    connection: quinn::Connection,
    mut stream: quinn::SendStream,
    mut to_write: mpsc::Receiver<Vec<u8>>,
    unread_max: Duration,
) -> Ended {
    // Receipts free memory at the other end: they overtake what is delivered.
    stream.set_priority(1000).map_err(|_gone| ErrorCode::Done)?;
    while let Some(frame) = to_write.recv().await {
        match timeout(unread_max, stream.write_all(&frame)).await {
            Ok(written) => written.map_err(|_gone| ErrorCode::Done)?,
            Err(_elapsed) => {
                // Here and not through the session, which may itself wait for room in the queue.
                close(&connection, ErrorCode::NotReading);
                return Err(ErrorCode::NotReading);
            }
        }
    }
    Ok(())
}
