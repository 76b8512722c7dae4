//! One stream of deliveries: what lies behind the reader's cursor, then whatever comes.
//!
//! A slow reader holds back its own stream and nothing else; at most one read's worth of
//! envelopes waits here, and a single one when too many others wait already. This room must never deliver what is not durable: it reads through the
//! storage thread, which hands out nothing else.

use std::sync::Arc;

use bytes::Bytes;
use quinn::VarInt;
use relay_client::pace;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wire::frame::{self, Frame};
use wire::{ErrorCode, SendId, Seq, Slot};

use crate::server::{SEND_WINDOW_BYTES, Shared};
use crate::session::Ended;
use crate::storage::Job;
use crate::store::ReadAnswer;

/// Bytes that one read takes from the store.
const READ_BYTES: u32 = 256 * 1024;

/// How much to read now, and the right to hold that much. When readers that do not read hold all
/// there is, everybody goes on with one envelope at a time: slower, but nobody waits for them.
fn allowance(delivery: &Arc<Semaphore>) -> (usize, Option<OwnedSemaphorePermit>) {
    match Arc::clone(delivery).try_acquire_many_owned(READ_BYTES) {
        Ok(permit) => (READ_BYTES as usize, Some(permit)),
        Err(_all_taken) => (1, None),
    }
}

/// Serves one attached reader until it goes.
pub(crate) async fn run(
    shared: Arc<Shared>,
    connection: quinn::Connection,
    slot: Slot,
    mailbox: SendId,
    mut cursor: Seq,
) -> Ended {
    let Ok(mut stream) = connection.open_uni().await else {
        return Ok(());
    };
    let mut header = [Bytes::from(Frame::Stream { slot }.to_bytes())];
    if stream.write_all_chunks(&mut header).await.is_err() {
        return Ok(());
    }
    let watch = shared.watchers.watch(mailbox);
    loop {
        // ORDER: listen, then look. The other way round, what comes in between is missed.
        let news = watch.bell.notified();
        tokio::pin!(news);
        news.as_mut().enable();
        let (bytes_max, held) = allowance(&shared.delivery);
        let answer = shared
            .storage
            .ask(|answer| Job::Read {
                mailbox,
                cursor,
                bytes_max,
                answer,
            })
            .await?;
        let envelopes = match answer {
            ReadAnswer::Envelopes(envelopes) => envelopes,
            ReadAnswer::Lost => {
                let code = VarInt::from_u32(u32::from(ErrorCode::MailboxLost.to_u16()));
                // The stream may be gone already; the reader then knows as much.
                let _gone = stream.reset(code);
                return Ok(());
            }
        };
        if envelopes.is_empty() {
            drop(held);
            tokio::select! {
                () = news => {}
                _ = stream.stopped() => return Ok(()),
            }
            continue;
        }
        for (seq, envelope) in envelopes {
            let prefix = Bytes::from(frame::deliver_prefix(seq, envelope.len()));
            pace::follow_network(&connection, SEND_WINDOW_BYTES);
            if stream
                .write_all_chunks(&mut [prefix, envelope])
                .await
                .is_err()
            {
                return Ok(());
            }
            cursor = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_share_what_may_wait_and_none_is_stopped() {
        let delivery = Arc::new(Semaphore::new(2 * READ_BYTES as usize + 1));
        let (bytes, first) = allowance(&delivery);
        assert_eq!(bytes, READ_BYTES as usize);
        let (_, second) = allowance(&delivery);
        assert!(second.is_some());
        let (bytes, none) = allowance(&delivery);
        assert_eq!((bytes, none.is_none()), (1, true));
        drop(first);
        assert!(allowance(&delivery).1.is_some());
    }
}
