//! One stream of a client: appends are read, checked, handed to the storage and answered; a live group is
//! passed on ([`crate::live`]).
//!
//! Reading stops while too much waits for its sync; QUIC then holds the sender back. This room
//! must never answer before the storage thread has, and never answer out of order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use relay_client::framed::{FrameReadError, FrameReader};
use tokio::sync::{mpsc, oneshot};
use wal::crash_point;
use wire::envelope::Size;
use wire::frame::Frame;
use wire::limits::{APPEND_PREFIX_BYTES, BODY_BYTES_MAX};
use wire::{Class, DeviceId, Digest, ErrorCode, Head, SendId, Seq, Slot};

use crate::live;
use crate::server::Shared;
use crate::session::{Ended, Slots};
use crate::storage::Job;
use crate::store::AppendAnswer;

/// Appends of one stream that wait for their sync, or whose answer the sender does not take.
/// Their envelopes are not held any more; what is held is this many numbers.
const WAITING_MAX: usize = 64;
/// What a sender is asked to wait when there is no room.
const OVER_QUOTA_RETRY_S: u32 = 30;

struct Waiting {
    seq: Seq,
    answer: oneshot::Receiver<AppendAnswer>,
}

/// Serves one stream to its end.
pub(crate) async fn run(
    shared: Arc<Shared>,
    account: (DeviceId, Class),
    slots: Arc<Slots>,
    stream: quinn::RecvStream,
    outbound: mpsc::Sender<Vec<u8>>,
) -> Ended {
    let mut frames = FrameReader::new(stream, BODY_BYTES_MAX);
    let first = match frames.next().await {
        Ok(Some(first)) => first,
        Ok(None) | Err(FrameReadError::Stream(_)) => return Ok(()),
        Err(FrameReadError::Wire(_)) => return Err(ErrorCode::Protocol),
    };
    let slot = match Frame::parse(first.kind, &first.body) {
        Ok(Frame::Stream { slot }) => slot,
        Ok(Frame::Live { slot, group }) => {
            return match slots.send_mailbox(slot) {
                Some(mailbox) => {
                    live::pass_on(Arc::clone(&shared.live), mailbox, group, frames).await
                }
                // Freed while the stream was under way.
                None => Ok(()),
            };
        }
        _ => return Err(ErrorCode::Protocol),
    };
    let Some(mailbox) = slots.open_stream(slot) else {
        // Freed while the stream was under way, or lost: the sender has been told.
        return Ok(());
    };
    let refused = AtomicBool::new(false);
    let (waiting, to_answer) = mpsc::channel(WAITING_MAX);
    let result = tokio::try_join!(
        read(&shared, account, mailbox, &mut frames, &refused, waiting),
        answer(slot, to_answer, &refused, &outbound),
    );
    result.map(|_both| ())
}

/// Reads appends and hands them to the storage.
async fn read(
    shared: &Shared,
    account: (DeviceId, Class),
    mailbox: SendId,
    frames: &mut FrameReader,
    refused: &AtomicBool,
    waiting: mpsc::Sender<Waiting>,
) -> Ended {
    loop {
        let raw = match frames.next().await {
            Ok(Some(raw)) => raw,
            Ok(None) | Err(FrameReadError::Stream(_)) => return Ok(()),
            Err(FrameReadError::Wire(_)) => return Err(ErrorCode::Protocol),
        };
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
        if refused.load(Ordering::Relaxed) {
            // Nothing behind a refusal is appended; the sender attaches again.
            continue;
        }
        let bytes = envelope.len() as u32;
        let Ok(permit) = Arc::clone(&shared.ingest).acquire_many_owned(bytes).await else {
            return Err(ErrorCode::ShuttingDown);
        };
        let (sender, receiver) = oneshot::channel();
        let job = Job::Append {
            account,
            mailbox,
            seq,
            after,
            digest,
            envelope,
            permit,
            answer: sender,
        };
        shared.storage.submit(job).await?;
        let place = Waiting {
            seq,
            answer: receiver,
        };
        if waiting.send(place).await.is_err() {
            return Ok(());
        }
    }
}

/// Answers in the order of the appends; receipts that are ready together become one.
async fn answer(
    slot: Slot,
    mut waiting: mpsc::Receiver<Waiting>,
    refused: &AtomicBool,
    outbound: &mpsc::Sender<Vec<u8>>,
) -> Ended {
    let send = |frame: Frame<'static>| async move {
        outbound
            .send(frame.to_bytes())
            .await
            .map_err(|_gone| ErrorCode::Done)
    };
    let mut next = waiting.recv().await;
    while let Some(place) = next.take() {
        let mut receipt: Option<Head> = None;
        let mut refusal = None;
        let mut current = Some(place);
        while let Some(mut place) = current.take() {
            let answer = match place.answer.try_recv() {
                Ok(answer) => Some(answer),
                Err(oneshot::error::TryRecvError::Closed) => {
                    return Err(ErrorCode::StorageRestarting);
                }
                // Say what is known before waiting for more.
                Err(oneshot::error::TryRecvError::Empty) if receipt.is_some() => {
                    next = Some(place);
                    break;
                }
                Err(oneshot::error::TryRecvError::Empty) => place.answer.await.ok(),
            };
            let Some(answer) = answer else {
                return Err(ErrorCode::StorageRestarting);
            };
            match answer {
                AppendAnswer::Receipt(stored) => receipt = Some(stored.head()),
                refused => {
                    refusal = Some((place.seq, refused));
                    break;
                }
            }
            current = waiting.try_recv().ok();
        }
        if let Some(head) = receipt {
            // CRASH(relay.receipt.before_send): before: stored, and the sender does not know; it comes
            // back and is shown the head | after: stored, and the receipt is with the sender.
            crash_point!("relay.receipt.before_send");
            send(Frame::Receipt { slot, head }).await?;
        }
        if let Some((seq, answer)) = refusal {
            refused.store(true, Ordering::Relaxed);
            send(refusal_frame(slot, seq, answer)).await?;
            // What is still on its way gets no answer of its own.
            while waiting.recv().await.is_some() {}
            return Ok(());
        }
        if next.is_none() {
            next = waiting.recv().await;
        }
    }
    Ok(())
}

fn refusal_frame(slot: Slot, seq: Seq, answer: AppendAnswer) -> Frame<'static> {
    match answer {
        AppendAnswer::Conflict(stored) => Frame::Conflict { slot, stored },
        AppendAnswer::NotNext(head) => Frame::NotNext { slot, seq, head },
        AppendAnswer::OverQuota(size) => over_quota(slot, seq, size),
        AppendAnswer::TooManyMailboxes => Frame::Error {
            slot: Some(slot),
            code: ErrorCode::TooManyMailboxes.to_u16(),
        },
        AppendAnswer::Receipt(_) => unreachable!("a receipt is no refusal"),
    }
}

fn over_quota(slot: Slot, seq: Seq, size: Size) -> Frame<'static> {
    Frame::OverQuota {
        slot,
        seq,
        size,
        retry_after_s: OVER_QUOTA_RETRY_S,
    }
}
