//! What a malicious other side can put where only it can write: for fuzz targets, and for nothing else.
//!
//! Bytes under the wrap or inside MLS are bytes from outside as well, once a paired phone is not its
//! owner's any more. Nobody gets there without the pairing's keys, so a fuzzer is lent them here: this
//! room wraps, seals and signs whatever it is given, as the end that owns the journal would. Only in a
//! build with `crashtest`.

use wal::Dice;
use wire::ids::{SendId, Seq};

use crate::error::JournalError;
use crate::ids::{Epoch, Line};
use crate::journal::Journal;
use crate::keys::{self, Family};
use crate::message::Statement;
use crate::outbox::Placement;
use crate::record::PairingRecord;
use crate::scope::Scope;
use crate::sealed::Key;
use crate::session::{Committer, Follower, Session};
use crate::txn::Txn;
use crate::wrap::{self, Held, Kind, Place};

/// What lies under a wrap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inside {
    /// A signed statement; else an MLS message.
    pub statement: bool,
    /// What the sender says it holds.
    pub held: Held,
    /// The statement, or the MLS message.
    pub content: Vec<u8>,
}

/// Wraps as the end that owns `journal` does what it sends on this line under this number.
///
/// # Errors
/// [`JournalError::NoGroup`] if there is no such line; our own storage.
pub fn wrap(
    journal: &Journal,
    line: Line,
    seq: Seq,
    inside: &Inside,
    dice: &mut dyn Dice,
) -> Result<Vec<u8>, JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    let kind = match inside.statement {
        true => Kind::Statement,
        false => Kind::Mls,
    };
    let place = Place {
        mailbox: &own.send,
        seq,
    };
    let (key, tag_key) = (&record.send_key, &record.tag_key);
    let content = &inside.content;
    Ok(wrap::wrap(
        key,
        tag_key,
        place,
        kind,
        inside.held,
        content,
        dice,
    ))
}

/// These bytes and zeros behind them, of the length that all that lies under a wrap may have.
pub fn padded(body: &[u8]) -> Vec<u8> {
    wrap::padded(body)
}

/// As [`wrap()`], with these bytes for all that lies under the wrap, whatever they say. What was not
/// [`padded`] has no length of an envelope.
///
/// # Errors
/// As [`wrap()`].
pub fn wrap_body(
    journal: &Journal,
    line: Line,
    seq: Seq,
    body: &[u8],
    dice: &mut dyn Dice,
) -> Result<Vec<u8>, JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    let place = Place {
        mailbox: &own.send,
        seq,
    };
    Ok(wrap::wrap_body(&record.send_key, place, body, dice))
}

/// Opens an envelope as the end that owns `journal` would; `None` if it is not authentic for its place.
///
/// # Errors
/// As [`wrap()`].
pub fn unwrap(
    journal: &Journal,
    line: Line,
    seq: Seq,
    envelope: &[u8],
) -> Result<Option<Inside>, JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    let mailbox = own.receive.send_id();
    let place = Place {
        mailbox: &mailbox,
        seq,
    };
    let body = wrap::unwrap(&record.receive_key, place, envelope);
    Ok(body.map(|body| Inside {
        statement: body.kind == Kind::Statement,
        held: body.held,
        content: body.content.to_vec(),
    }))
}

/// The key under which the end that owns `journal` opens what comes on this line, and the mailbox that it comes
/// from: for an attacker who came by it.
///
/// # Errors
/// As [`wrap()`].
pub fn wrapping_key(journal: &Journal, line: Line) -> Result<(Key, SendId), JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    Ok((record.receive_key.clone(), own.receive.send_id()))
}

/// Wraps this as the end that owns `journal` does an MLS message of a live frame.
///
/// # Errors
/// As [`wrap()`].
pub fn wrap_live(
    journal: &Journal,
    line: Line,
    content: &[u8],
    dice: &mut dyn Dice,
) -> Result<Vec<u8>, JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    Ok(wrap::live::wrap(&record.send_key, &own.send, content, dice))
}

/// Opens the wrap of a live frame as the end that owns `journal` would; `None` if it is not authentic.
///
/// # Errors
/// As [`wrap()`].
pub fn unwrap_live(
    journal: &Journal,
    line: Line,
    frame: &[u8],
) -> Result<Option<Vec<u8>>, JournalError> {
    let record = record(journal, line)?;
    let own = record
        .line(line.channel)
        .ok_or(JournalError::NoGroup(line))?;
    let mailbox = own.receive.send_id();
    let content = wrap::live::unwrap(&record.receive_key, &mailbox, frame);
    Ok(content.map(|content| content.to_vec()))
}

/// A live frame in which the hub says this inside MLS, bound to this number; it has to hold the right to.
///
/// # Errors
/// [`JournalError::NoRightToEncrypt`]; MLS; our own storage.
pub fn say_live_as_hub(
    session: &mut Session<Committer>,
    journal: &mut Journal,
    at: (Epoch, u64),
    plaintext: &[u8],
) -> Result<Vec<u8>, JournalError> {
    session.encrypt_live(journal, at, plaintext)
}

/// As if the app had taken no frame yet of the session that it watches.
pub fn watch_anew(session: &mut Session<Follower>) {
    session.forget_taken();
}

/// Lets the hub say this inside MLS; it has to hold the right to.
///
/// # Errors
/// [`JournalError::NoRightToEncrypt`]; MLS; our own storage.
pub fn say_as_hub(
    session: &mut Session<Committer>,
    txn: &mut Txn<'_>,
    plaintext: &[u8],
) -> Result<Seq, JournalError> {
    session.seal(txn, plaintext, Placement::Inline)
}

/// Lets the app say this inside MLS.
///
/// # Errors
/// [`JournalError::AwaitsCommit`]; MLS; our own storage.
pub fn say_as_app(
    session: &mut Session<Follower>,
    txn: &mut Txn<'_>,
    plaintext: &[u8],
) -> Result<Seq, JournalError> {
    session.send(txn, plaintext)
}

/// The envelope that this transaction has put into the outbox, if it is a small one.
///
/// # Errors
/// Our own storage.
pub fn said(txn: &Txn<'_>, line: Line, seq: Seq) -> Result<Option<Vec<u8>>, JournalError> {
    txn.get(&keys::outbox(line, seq))
}

/// A statement with the hub's signature, encoded.
///
/// # Errors
/// MLS; our own storage.
pub fn signed(
    session: &mut Session<Committer>,
    txn: &mut Txn<'_>,
    statement: &Statement,
) -> Result<Vec<u8>, JournalError> {
    session.sign_statement(txn, statement)
}

fn record(journal: &Journal, line: Line) -> Result<PairingRecord, JournalError> {
    let record = journal.secret_row(Scope::Pairing(line.pairing), Family::Pairing, &[])?;
    record.ok_or(JournalError::NoGroup(line))
}
