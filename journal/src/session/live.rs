//! Live frames through MLS: encrypted and opened in memory, with nothing put into any transaction.
//!
//! The sender's ratchet moves in memory only, as with every chunk, and the right to encrypt is the handle's: so no
//! generation is used twice, whatever is killed. The reader's moves in memory only, too, so that a picture that
//! was seen does not open a second time while this process lives; what a later one may take is [`crate::live`]'s
//! business. This room must never let a frame change what is stored.

use std::sync::Arc;

use openmls::prelude::{
    ContentType, MlsMessageBodyIn, MlsMessageIn, ProcessedMessageContent, ProtocolMessage, Sender,
};
use tls_codec::{Deserialize as _, Serialize as _};
use wal::note;
use zeroize::Zeroizing;

use super::{Committer, Follower, Session, notes};
use crate::error::JournalError;
use crate::ids::Epoch;
use crate::journal::Journal;
use crate::message::{CHUNK_BYTES_MAX, LIVE_INIT_BYTES_MAX, NAME_BYTES_MAX};
use crate::mls_storage::{MlsProvider, Ratchet};
use crate::wrap;

/// Longest MLS message of a frame, in bytes: that of a full piece with all that a player begins with, and what fits
/// beside it in the class of its wrap. A longer one is not decoded.
pub(crate) const LIVE_MLS_BYTES_MAX: usize =
    wrap::size_class(CHUNK_BYTES_MAX + LIVE_INIT_BYTES_MAX + NAME_BYTES_MAX)
        - wrap::live::OVERHEAD_BYTES;

/// What a frame was, as far as MLS goes.
#[derive(Debug)]
pub(crate) enum Opened {
    /// None of the other side's, or a changed one.
    NotAuthentic,
    /// Of an epoch that is over.
    Late,
    /// Of an epoch that has not come here yet.
    Early,
    /// Authentic, and against the rules; or its ratchet has passed it. The text says which.
    Refused(&'static str),
    /// A message of the current epoch.
    Message {
        epoch: Epoch,
        /// What its sender bound to it.
        aad: Vec<u8>,
        plaintext: Zeroizing<Vec<u8>>,
    },
}

/// The authenticated data of a live frame. Longer than that of an envelope, so that neither passes for the other.
pub(crate) fn live_aad(number: u64) -> Vec<u8> {
    [b"live".as_slice(), &number.to_be_bytes()].concat()
}

impl Session<Committer> {
    /// Encrypts and wraps one frame in `epoch`.
    ///
    /// # Errors
    /// [`JournalError::NoRightToEncrypt`] unless this handle opened that epoch and it is the current one.
    /// Storage, or MLS: the handle is lost.
    pub(crate) fn encrypt_live(
        &mut self,
        journal: &mut Journal,
        (epoch, number): (Epoch, u64),
        plaintext: &[u8],
    ) -> Result<Vec<u8>, JournalError> {
        journal.alive()?;
        let line = self.line;
        let (group_scope, client_scope) = self.scopes();
        // Nothing is put into it, and so nothing is lost with it.
        let mut txn = journal.begin();
        let may = self.may_encrypt(&txn);
        let Some(handle) = self
            .handle
            .as_mut()
            .filter(|handle| may && handle.opened == Some(epoch))
        else {
            return Err(JournalError::NoRightToEncrypt(line));
        };
        let record = Arc::clone(&handle.record);
        let mailbox = record
            .line(line.channel)
            .ok_or(JournalError::NoGroup(line))?
            .send;
        handle.group.set_aad(live_aad(number));
        note!(
            "live {} application {}",
            notes::sender(&handle.group),
            handle.generation
        );
        handle.generation += 1;
        let provider = MlsProvider::new(&mut txn, group_scope, client_scope, Ratchet::Discard);
        let sealed = handle
            .group
            .create_message(&provider, &handle.signer, plaintext);
        let sealed = provider.result(sealed).and_then(|message| {
            let bytes = message.tls_serialize_detached();
            bytes.map_err(|error| JournalError::Mls(error.to_string()))
        });
        drop(provider);
        // Memory may have moved: whatever failed, this handle encrypts no more.
        let sealed = sealed.inspect_err(|_| self.handle = None)?;
        Ok(wrap::live::wrap(
            &record.send_key,
            &mailbox,
            &sealed,
            txn.dice(),
        ))
    }
}

impl Session<Follower> {
    /// Unwraps one frame and opens it, if it is of the current epoch and `wanted`.
    ///
    /// # Errors
    /// Only our own storage; whatever the other side or the relay did is in the answer.
    pub(crate) fn decrypt_live(
        &mut self,
        journal: &mut Journal,
        frame: &[u8],
        wanted: Option<Epoch>,
    ) -> Result<Opened, JournalError> {
        let line = self.line;
        let (group_scope, client_scope) = self.scopes();
        let mut txn = journal.begin();
        let handle = self.load(&mut txn)?;
        let record = Arc::clone(&handle.record);
        let channel = record
            .line(line.channel)
            .ok_or(JournalError::NoGroup(line))?;
        let mailbox = channel.receive.send_id();
        let Some(content) = wrap::live::unwrap(&record.receive_key, &mailbox, frame) else {
            return Ok(Opened::NotAuthentic);
        };
        if content.len() > LIVE_MLS_BYTES_MAX {
            return Ok(Opened::Refused("a frame of more bytes than one has"));
        }
        let Ok(message) = MlsMessageIn::tls_deserialize_exact(content.as_slice()) else {
            return Ok(Opened::Refused("not an MLS message"));
        };
        let MlsMessageBodyIn::PrivateMessage(message) = message.extract() else {
            return Ok(Opened::Refused("not a private message"));
        };
        let message = ProtocolMessage::from(message);
        let is_ours = message.group_id() == handle.group.group_id()
            && message.content_type() == ContentType::Application;
        if !is_ours {
            return Ok(Opened::Refused("not a message of this group"));
        }
        let epoch = Epoch(handle.group.epoch().as_u64());
        let theirs = Epoch(message.epoch().as_u64());
        if theirs < epoch {
            return Ok(Opened::Late);
        }
        if theirs > epoch || wanted != Some(epoch) {
            return Ok(Opened::Early);
        }
        let provider = MlsProvider::new(&mut txn, group_scope, client_scope, Ratchet::Discard);
        let processed = handle.group.process_message(&provider, message);
        let is_read_only = provider.writes() == 0;
        let processed = provider.result(processed);
        drop(provider);
        let processed = match processed {
            Ok(processed) => processed,
            Err(JournalError::Mls(_)) if is_read_only => {
                return Ok(Opened::Refused("MLS did not accept it"));
            }
            Err(JournalError::Mls(_)) => {
                self.handle = None;
                return Ok(Opened::Refused("MLS did not accept it"));
            }
            Err(error) => {
                self.handle = None;
                return Err(error);
            }
        };
        let from_peer = matches!(processed.sender(), Sender::Member(leaf)
            if handle.group.member_at(*leaf).is_some_and(|m| m.signature_key == record.peer_signature_key));
        if !from_peer {
            return Ok(Opened::Refused("a message of another sender"));
        }
        let aad = processed.aad().to_vec();
        match processed.into_content() {
            ProcessedMessageContent::ApplicationMessage(plaintext) => Ok(Opened::Message {
                epoch,
                aad,
                plaintext: Zeroizing::new(plaintext.into_bytes()),
            }),
            _ => Ok(Opened::Refused("a kind of MLS message that is no frame")),
        }
    }
}
