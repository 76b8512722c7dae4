//! One stream of deliveries: what lies behind the reader's cursor, then whatever comes.
//!
//! A slow reader holds back its own stream and nothing else; at most one read's worth of
//! envelopes waits here. This room must never deliver what is not durable: it reads through the
//! storage thread, which hands out nothing else.

use std::sync::Arc;

use bytes::Bytes;
use quinn::VarInt;
use wire::frame::{self, Frame};
use wire::{ErrorCode, SendId, Seq, Slot};

use crate::server::Shared;
use crate::session::Ended;
use crate::storage::Job;
use crate::store::ReadAnswer;

/// Bytes that one read takes from the store.
const READ_BYTES: usize = 256 * 1024;

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
        let answer = shared
            .storage
            .ask(|answer| Job::Read {
                mailbox,
                cursor,
                bytes_max: READ_BYTES,
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
            tokio::select! {
                () = news => {}
                _ = stream.stopped() => return Ok(()),
            }
            continue;
        }
        for (seq, envelope) in envelopes {
            let prefix = Bytes::from(frame::deliver_prefix(seq, envelope.len()));
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
