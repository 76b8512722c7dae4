//! The direct connection: answers phones that have read the code, one at a time.
//!
//! Every message is its length (4 bytes, big endian) and the journal's encoding of it, on one
//! bidirectional stream that the phone opens. What is wrong is answered in the same way whatever it
//! is, at a bounded rate and a bounded number of times.

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use journal::ids::{OfferId, PairingId};
use journal::pairing::{HubNext, PAIRING_MESSAGE_BYTES_MAX, REFUSAL};
use journal::{HubPairing, JournalError, PairingMessage};
use quinn::{Connection, Endpoint, SendStream};
use relay_client::rpk::{EndpointLimits, peer_id};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use wire::ids::DeviceId;

use super::bucket::Bucket;
use crate::camera::Clock;
use crate::core::CoreError;
use crate::exit::{Code, Failure};
use crate::sealer::{Sealer, SealerError};

/// How long one phone may keep the line.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a phone may take to hang up after the last word.
const HANG_UP_WAIT: Duration = Duration::from_secs(5);
/// Messages on one connection: request, confirm, and one repetition of each; or one that asks for the code.
const MESSAGES_MAX: usize = 4;
/// Wrong answers, all phones together, after which the offer is void.
pub(super) const FAILURES_MAX: u32 = 20;

/// Small: a phone needs one stream and a few kilobytes.
pub(super) fn limits() -> EndpointLimits {
    EndpointLimits {
        peer_bidi_streams: 1,
        peer_uni_streams: 0,
        incoming_max: 16,
        idle: Duration::from_secs(20),
        keep_alive: None,
        ..EndpointLimits::default()
    }
}

/// Whose last word ends the listening also where it is only said again.
#[derive(Clone, Copy)]
pub(super) enum Awaited {
    /// That of whoever paired by this offer.
    By(OfferId),
    /// That of this phone, which is paired and may have missed it.
    Phone(PairingId),
}

impl Awaited {
    fn is(self, offer: OfferId, phone: PairingId) -> bool {
        match self {
            Self::By(awaited) => awaited == offer,
            Self::Phone(awaited) => awaited == phone,
        }
    }
}

/// Answers until a phone is confirmed, or the awaited one has its last word again. One phone at a time, and no more
/// often than `tries` allows. Any other phone that paired before has its last word again as well and ends nothing, or
/// it could keep all others from pairing.
pub(super) async fn serve(
    endpoint: &Endpoint,
    sealer: &Sealer,
    clock: &impl Clock,
    mut tries: Bucket,
    awaited: Awaited,
) -> Result<PairingId, Failure> {
    let mut failures = 0;
    while let Some(incoming) = endpoint.accept().await {
        let now_ms = u64::try_from(clock.now().as_millis()).unwrap_or(u64::MAX);
        tokio::time::sleep(Duration::from_millis(tries.take(now_ms))).await;
        let talked = tokio::time::timeout(CONNECTION_TIME_MAX, async {
            let connection = incoming.await.map_err(|_| Talk::Broken)?;
            talk(&connection, sealer, awaited, &mut failures).await
        })
        .await
        .unwrap_or(Err(Talk::Broken));
        match talked {
            Ok(Last::Paired(pairing)) => return Ok(pairing),
            Ok(Last::Again) => {
                tracing::info!("a phone that had paired before has the last word again");
            }
            Err(Talk::Ours(failure)) => return Err(failure),
            Err(Talk::Broken) => tracing::debug!("a phone hung up before it was paired"),
            Err(Talk::Refused) => {
                tracing::warn!(failures, "somebody tried to pair with a wrong or old code");
            }
        }
        if failures >= FAILURES_MAX {
            let message = "too many wrong attempts; the code is void. Run `secluso-hub pair` again";
            return Err(Failure::new(Code::NotAdmitted, message));
        }
    }
    Err(Failure::new(
        Code::Internal,
        "the pairing listener was closed",
    ))
}

/// Who has the last word.
#[derive(Clone, Copy)]
enum Last {
    /// The phone that we listen for.
    Paired(PairingId),
    /// One that paired before.
    Again,
}

/// Why a talk came to nothing.
#[derive(Debug)]
enum Talk {
    /// The connection ended.
    Broken,
    /// What the phone said was refused.
    Refused,
    /// Our own storage.
    Ours(Failure),
}

async fn talk(
    connection: &Connection,
    sealer: &Sealer,
    awaited: Awaited,
    failures: &mut u32,
) -> Result<Last, Talk> {
    let (mut send, mut receive) = connection.accept_bi().await.map_err(|_| Talk::Broken)?;
    let peer = peer_id(connection);
    let mut last = None;
    let mut refused = false;
    for _ in 0..MESSAGES_MAX {
        let Some(body) = read(&mut receive).await? else {
            break;
        };
        match answer(&body, peer, sealer, awaited).await {
            Ok((answer, word)) => {
                write(&mut send, &answer).await?;
                last = word;
            }
            Err(Talk::Refused) => {
                // Counted before it is said: whoever hangs up at once has tried all the same.
                *failures += 1;
                refused = true;
                // One sentence for every kind of wrong: nothing to learn from it.
                let refusal = PairingMessage::Refused(REFUSAL.into());
                let _gone = write(&mut send, &refusal).await;
            }
            Err(other) => return Err(other),
        }
        if refused || last.is_some() {
            break;
        }
    }
    let _ended = send.finish();
    let _hung_up = tokio::time::timeout(HANG_UP_WAIT, connection.closed()).await;
    match last {
        Some(last) => Ok(last),
        None if refused => Err(Talk::Refused),
        None => Err(Talk::Broken),
    }
}

/// One message's answer, durable before it is said; and whose it is, if that was the last word.
/// `peer` is whose key the connection has shown.
async fn answer(
    body: &[u8],
    peer: DeviceId,
    sealer: &Sealer,
    awaited: Awaited,
) -> Result<(PairingMessage, Option<Last>), Talk> {
    match PairingMessage::decode(body).map_err(|_| Talk::Refused)? {
        PairingMessage::Ask(ask) => {
            let step = move |core: &mut crate::core::Core, now: u64| {
                core.with_journal(now, |journal| HubPairing::asked(journal, &ask, now / 1000))
            };
            let offered = sealer.run(step).await.map_err(blame)?;
            Ok((PairingMessage::Offered(offered), None))
        }
        PairingMessage::Request(request) => {
            let step = move |core: &mut crate::core::Core, now: u64| {
                core.with_journal(now, |journal| {
                    HubPairing::request(journal, &request, peer, now / 1000)
                })
            };
            let answer = sealer.run(step).await.map_err(blame)?;
            wal::leaves!("pairing answer");
            Ok((answer.to_message(), None))
        }
        PairingMessage::Confirm(confirm) => {
            let offer = confirm.offer();
            let step = move |core: &mut crate::core::Core, now: u64| {
                let (done, is_new) = core.with_journal(now, |journal| {
                    Ok(match HubPairing::resume(journal, &confirm)? {
                        HubNext::Welcomed(answered) => (answered.confirm(journal, &confirm)?, true),
                        HubNext::Confirmed(_) => (HubPairing::confirm(journal, &confirm)?, false),
                    })
                })?;
                core.handle_paired(done.pairing(), now)?;
                Ok((done, is_new))
            };
            let (confirmed, is_new) = sealer.run(step).await.map_err(blame)?;
            let pairing = confirmed.pairing();
            wal::leaves!("paired {}", wal::note::Hex(pairing.0));
            let last = match is_new || awaited.is(offer, pairing) {
                true => Last::Paired(pairing),
                false => Last::Again,
            };
            Ok((confirmed.to_message(), Some(last)))
        }
        _ => Err(Talk::Refused),
    }
}

fn blame(error: SealerError) -> Talk {
    match error {
        SealerError::Core(CoreError::Journal(JournalError::Pairing(_) | JournalError::Mls(_))) => {
            Talk::Refused
        }
        // The phone asks again, and is answered the same.
        SealerError::Core(error) if error.is_open() => Talk::Broken,
        other => Talk::Ours(other.into()),
    }
}

/// The messages of a stream that holds these bytes and ends behind them, no more than are heard on one connection, and
/// whether it ended in the middle of one. Public for fuzz targets.
pub fn messages_in(mut stream: &[u8]) -> (Vec<Vec<u8>>, bool) {
    let mut messages = Vec::new();
    while messages.len() < MESSAGES_MAX {
        // Bytes in memory are never waited for.
        let read = pin!(read(&mut stream)).poll(&mut Context::from_waker(Waker::noop()));
        match read {
            Poll::Ready(Ok(Some(message))) => messages.push(message),
            Poll::Ready(Ok(None)) => break,
            Poll::Ready(Err(_)) | Poll::Pending => return (messages, true),
        }
    }
    (messages, false)
}

/// The next message; one that is too long is none that could be decoded, and not read.
async fn read(receive: &mut (impl AsyncRead + Unpin)) -> Result<Option<Vec<u8>>, Talk> {
    let mut length = [0; 4];
    let mut filled = 0;
    while let Some(rest) = length.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match receive.read(rest).await {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) | Err(_) => return Err(Talk::Broken),
            Ok(bytes) => filled += bytes,
        }
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > PAIRING_MESSAGE_BYTES_MAX {
        return Ok(Some(Vec::new()));
    }
    let mut body = vec![0; length];
    receive
        .read_exact(&mut body)
        .await
        .map_err(|_| Talk::Broken)?;
    Ok(Some(body))
}

async fn write(send: &mut SendStream, message: &PairingMessage) -> Result<(), Talk> {
    let body = message.encode();
    let length = u32::try_from(body.len()).map_err(|_| Talk::Broken)?;
    send.write_all(&length.to_be_bytes())
        .await
        .map_err(|_| Talk::Broken)?;
    send.write_all(&body).await.map_err(|_| Talk::Broken)
}
