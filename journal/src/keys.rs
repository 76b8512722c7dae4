//! Key layouts of the journal's rows: the only place where key bytes are made.
//!
//! The first byte is the namespace, integers are big-endian so that ranges are in order.
//! `journal/FORMAT.md` repeats this table and carries this file's hash.

use wire::ids::Seq;

use crate::ids::{ClipId, Line, PairingId};
use crate::scope::Scope;

/// `M`: one row, the journal's format version and role.
pub(crate) const META: &[u8] = b"M";
/// `P`: one row, the port on which phones were last paired (hub).
pub(crate) const PAIRING_PORT: &[u8] = b"P";
/// `K`: one row, the next unused key number of the vault's pool.
pub(crate) const NEXT_KEY: &[u8] = b"K";
/// `F`: one row, the settings that phones have made (hub).
pub(crate) const SETTINGS: &[u8] = b"F";
/// `f`: one row, what phones have set at cameras (hub).
pub(crate) const CAMERAS: &[u8] = b"f";
/// `w`: one row, which alarms phones are owed (hub).
pub(crate) const ALARMS: &[u8] = b"w";
/// `g`: one row, for how long clips have waited (hub).
pub(crate) const AGES: &[u8] = b"g";
/// `Q`: one row, the command that asked for a restart which has not happened yet (hub).
pub(crate) const RESTART: &[u8] = b"Q";
/// `i`: one row, the offer that a phone passes on, and the phones that came by one (hub).
pub(crate) const INVITES: &[u8] = b"i";
/// Namespace of scope rows.
pub(crate) const SCOPES: &[u8] = b"C";
/// Namespace of inline outbox rows, and of outbox payloads.
const OUTBOX: u8 = b'O';

/// `C` scope: the scope's key number and key version.
pub(crate) fn scope_row(scope: Scope) -> Vec<u8> {
    join(b'C', &[&scope.encode()])
}

/// `S` scope: prefix of all sealed values of a scope.
pub(crate) fn secret_prefix(scope: Scope) -> Vec<u8> {
    join(b'S', &[&scope.encode()])
}

/// `S` scope family rest: one sealed value.
pub(crate) fn secret(scope: Scope, family: Family, rest: &[u8]) -> Vec<u8> {
    join(b'S', &[&scope.encode(), &[family as u8], rest])
}

/// `O` line seq: an envelope, inline (Commit, notice) or as a payload (chunk).
pub(crate) fn outbox(line: Line, seq: Seq) -> Vec<u8> {
    join(OUTBOX, &[&line.key(), &seq.0.to_be_bytes()])
}

/// `O` line: prefix of a line's outbox.
pub(crate) fn outbox_prefix(line: Line) -> Vec<u8> {
    join(OUTBOX, &[&line.key()])
}

/// The sequence number at the end of an outbox key.
pub(crate) fn outbox_seq(key: &[u8]) -> Option<Seq> {
    let tail = key.get(18..)?;
    Some(Seq(u64::from_be_bytes(tail.try_into().ok()?)))
}

/// `H` line: head and watermark of a line's outbox.
pub(crate) fn outbox_head(line: Line) -> Vec<u8> {
    join(b'H', &[&line.key()])
}

/// `R` line: an envelope of ours that is out and that our outbox does not explain.
pub(crate) fn rollback_proof(line: Line) -> Vec<u8> {
    join(b'R', &[&line.key()])
}

/// `B` line: where it broke, so that nothing behind that is taken (app).
pub(crate) fn line_break(line: Line) -> Vec<u8> {
    join(b'B', &[&line.key()])
}

/// `I` line: cursor of a line's inbox.
pub(crate) fn inbox_head(line: Line) -> Vec<u8> {
    join(b'I', &[&line.key()])
}

/// `A` line: how far the last ack that was sealed reaches (app).
pub(crate) fn ack_sent(line: Line) -> Vec<u8> {
    join(b'A', &[&line.key()])
}

/// `U` line: keys of ours that are proposed, and the last that a Commit took (app).
pub(crate) fn line_keys(line: Line) -> Vec<u8> {
    join(b'U', &[&line.key()])
}

/// `T` pairing: the last heartbeat that was sent, and the last answer (app).
pub(crate) fn heartbeat(pairing: PairingId) -> Vec<u8> {
    join(b'T', &[&pairing.0])
}

/// `W` pairing: the last heartbeat of the phone that came (hub).
pub(crate) fn phone_heard(pairing: PairingId) -> Vec<u8> {
    join(b'W', &[&pairing.0])
}

/// `Y` line: how often the phone has asked that the relay be asked anew (hub).
pub(crate) fn asked_again(line: Line) -> Vec<u8> {
    join(b'Y', &[&line.key()])
}

/// `V` pairing: what this phone was told last of the settings (hub).
pub(crate) fn settings_said(pairing: PairingId) -> Vec<u8> {
    join(b'V', &[&pairing.0])
}

/// `a` pairing: what this phone was told last of phones that were added (hub).
pub(crate) fn added_said(pairing: PairingId) -> Vec<u8> {
    join(b'a', &[&pairing.0])
}

/// `Z` pairing: for how long the phone was not heard of (hub).
pub(crate) fn unheard(pairing: PairingId) -> Vec<u8> {
    join(b'Z', &[&pairing.0])
}

/// `E` line: what became of the current epoch (hub).
pub(crate) fn epoch_use(line: Line) -> Vec<u8> {
    join(b'E', &[&line.key()])
}

/// `G` line: Commits that proposals and commands of the phone have cost (hub).
pub(crate) fn heals(line: Line) -> Vec<u8> {
    join(b'G', &[&line.key()])
}

/// `X` scope: a group or a pairing that has ended and of which rows may still be there: those of the
/// group's line, or the pairing's values.
pub(crate) fn ended(scope: Scope) -> Vec<u8> {
    join(b'X', &[&scope.encode()])
}

/// Namespace of the above.
pub(crate) const ENDED: &[u8] = b"X";

/// The scope of such a key.
pub(crate) fn ended_scope(key: &[u8]) -> Option<Scope> {
    key.get(1..).and_then(Scope::decode)
}

/// `L` clip index: payload key of one stored chunk (app), or of one of a retained copy (hub).
pub(crate) fn chunk(clip: ClipId, index: u32) -> Vec<u8> {
    join(b'L', &[&clip.0, &index.to_be_bytes()])
}

/// `L` clip: prefix of the above.
pub(crate) fn chunks(clip: ClipId) -> Vec<u8> {
    join(b'L', &[&clip.0])
}

/// The index at the end of such a key.
pub(crate) fn chunk_index(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.get(17..)?.try_into().ok()?))
}

/// `N` pairing sequence: clips in the order in which they became known; value is the clip id (app).
pub(crate) fn clip_order(pairing: PairingId, number: u64) -> Vec<u8> {
    join(b'N', &[&pairing.0, &number.to_be_bytes()])
}

/// `N` pairing: prefix of the above.
pub(crate) fn clip_order_prefix(pairing: PairingId) -> Vec<u8> {
    join(b'N', &[&pairing.0])
}

/// The rest of the key of a page of a clip's spans (hub).
pub(crate) fn page_of_spans(clip: ClipId, page: u32) -> [u8; 20] {
    let mut rest = [0; 20];
    let (of_clip, number) = rest.split_at_mut(16);
    of_clip.copy_from_slice(&clip.0);
    number.copy_from_slice(&page.to_be_bytes());
    rest
}

/// `n` pairing sequence: pictures of events in the order in which they became known; value is the clip id (app).
pub(crate) fn thumbnail_order(pairing: PairingId, number: u64) -> Vec<u8> {
    join(b'n', &[&pairing.0, &number.to_be_bytes()])
}

/// `n` pairing: prefix of the above.
pub(crate) fn thumbnail_order_prefix(pairing: PairingId) -> Vec<u8> {
    join(b'n', &[&pairing.0])
}

/// `D` clip: which rows of a deleted clip's, or a released copy's, chunks are still to be removed.
pub(crate) fn deleted(clip: ClipId) -> Vec<u8> {
    join(b'D', &[&clip.0])
}

/// Namespace of the above.
pub(crate) const DELETED: &[u8] = b"D";

/// The clip of such a key.
pub(crate) fn deleted_clip(key: &[u8]) -> Option<ClipId> {
    Some(ClipId(key.get(1..)?.try_into().ok()?))
}

/// `J` pairing pairing: to the first, the clips that are retained for the second are to be played (hub).
pub(crate) fn plays(to: PairingId, from: PairingId) -> Vec<u8> {
    join(b'J', &[&to.0, &from.0])
}

/// The two pairings of such a key.
pub(crate) fn played_pair(key: &[u8]) -> Option<(PairingId, PairingId)> {
    let to = key.get(1..17)?.try_into().ok()?;
    let from = key.get(17..)?.try_into().ok()?;
    Some((PairingId(to), PairingId(from)))
}

/// Namespace of the above.
pub(crate) const PLAYS: &[u8] = b"J";

fn join(namespace: u8, parts: &[&[u8]]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + parts.iter().map(|part| part.len()).sum::<usize>());
    key.push(namespace);
    for part in parts {
        key.extend_from_slice(part);
    }
    key
}

/// Families of sealed values within a scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Family {
    // One value per group, in the order of OpenMLS's `StorageProvider`.
    Tree = 0x01,
    ConfirmationTag = 0x02,
    Context = 0x03,
    InterimTranscriptHash = 0x04,
    EpochSecrets = 0x05,
    OwnLeafIndex = 0x06,
    MessageSecrets = 0x07,
    ResumptionPsks = 0x08,
    JoinConfig = 0x09,
    GroupState = 0x0a,
    // Several per group.
    OwnLeafNode = 0x20,
    Proposal = 0x21,
    EpochKeyPairs = 0x22,
    EncryptionKeyPair = 0x23,
    // Per client.
    KeyPackage = 0x30,
    Psk = 0x31,
    SignatureKeyPair = 0x32,
    // Our own.
    Device = 0x40,
    Offer = 0x41,
    Pairing = 0x42,
    Clip = 0x43,
    ClipDigest = 0x44,
    PairingAnswer = 0x45,
    Dismissal = 0x46,
    Commands = 0x47,
    Outcomes = 0x48,
    Thumbnail = 0x4b,
    Notice = 0x4c,
    Spans = 0x4d,
    Passed = 0x50,
    Added = 0x51,
    Gone = 0x52,
}
