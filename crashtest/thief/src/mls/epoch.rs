//! Secrets of an epoch, taken out of any stored value that holds them, and what they open.

use ciborium::Value;
use zeroize::Zeroizing;

use super::PrivateMessage;
use super::message::APPLICATION;
use crate::bytes::Reader;
use crate::crypto::{self, Secret, expand_with_label};

/// First byte of OpenMLS's values.
const CBOR: u8 = 1;
/// Members of a group.
const LEAVES: u32 = 2;
/// Steps of a ratchet that are tried: far above the messages of the longest clip here.
const STEPS_MAX: u32 = 100_000;
/// Nesting of CBOR that is followed.
const DEPTH_MAX: usize = 64;
/// Bytes of ciphertext that sender data is bound to: the hash's length.
const SAMPLE_BYTES: usize = 32;

/// The nonce of a message, which is as secret as its key.
type Nonce = Zeroizing<[u8; 12]>;

/// A ratchet from a generation on.
#[derive(Clone, PartialEq, Eq)]
struct Ratchet {
    leaf: u32,
    handshake: bool,
    generation: u32,
    secret: Secret,
}

/// What was found of one epoch.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EpochKeys {
    pub(crate) group: Vec<u8>,
    pub(crate) epoch: u64,
    sender_data: Secret,
    ratchets: Vec<Ratchet>,
}

impl EpochKeys {
    /// All message secrets anywhere in a stored value: its own, or those of a pending Commit inside it.
    pub(crate) fn all_in(value: &[u8]) -> Vec<Self> {
        let parsed = value
            .strip_prefix(&[CBOR])
            .and_then(|body| ciborium::from_reader::<Value, _>(body).ok());
        let mut found = Vec::new();
        if let Some(parsed) = parsed {
            search(&parsed, DEPTH_MAX, &mut found);
        }
        found
    }

    /// The secrets that one map of message secrets holds.
    fn read(map: &Value) -> Option<Self> {
        let context = bytes_in(field(map, "serialized_context")?)?;
        // GroupContext: version, suite, group, epoch (RFC 9420, section 8.1).
        let mut reader = Reader::new(&context);
        reader.take(4)?;
        let (group, epoch) = (reader.vector()?.to_vec(), reader.be_u64()?);
        let sender_data = secret_in(field(map, "sender_data_secret")?)?;
        let tree = field(map, "secret_tree")?;
        let mut ratchets = Vec::new();
        for leaf in 0..LEAVES {
            if let Some(secret) = leaf_secret(tree, leaf) {
                for (handshake, label) in [(true, "handshake"), (false, "application")] {
                    ratchets.push(Ratchet {
                        leaf,
                        handshake,
                        generation: 0,
                        secret: expand_with_label(&secret, label, b"")?,
                    });
                }
            }
            for (handshake, list) in [
                (true, "handshake_sender_ratchets"),
                (false, "application_sender_ratchets"),
            ] {
                let slot = field(tree, list).and_then(|list| item(list, leaf));
                let head = slot.and_then(|slot| head(slot, DEPTH_MAX));
                ratchets.extend(head.map(|(generation, secret)| Ratchet {
                    leaf,
                    handshake,
                    generation,
                    secret,
                }));
            }
        }
        Some(Self {
            group,
            epoch,
            sender_data,
            ratchets,
        })
    }

    /// The sender's leaf and the application data of a message of this epoch, if what was found reaches it.
    pub(crate) fn open(&self, message: &PrivateMessage) -> Option<(u32, Zeroizing<Vec<u8>>)> {
        if (message.epoch, &message.group) != (self.epoch, &self.group) {
            return None;
        }
        let sample = message.ciphertext.get(..SAMPLE_BYTES);
        let sample = sample.unwrap_or(&message.ciphertext);
        let key = expand_with_label::<32>(&self.sender_data, "key", sample)?;
        let nonce = expand_with_label::<12>(&self.sender_data, "nonce", sample)?;
        let sender = crypto::open(
            &key,
            *nonce,
            &message.sender_data_aad()?,
            &message.sender_data,
        )?;
        let mut sender = Reader::new(&sender);
        let (leaf, generation) = (sender.be_u32()?, sender.be_u32()?);
        let reuse_guard: [u8; 4] = sender.array()?;
        let handshake = message.content_type != APPLICATION;
        let reach = self
            .ratchets
            .iter()
            .filter(|ratchet| ratchet.leaf == leaf && ratchet.handshake == handshake);
        for ratchet in reach {
            let Some((key, mut nonce)) = ratchet.at(generation) else {
                continue;
            };
            for (byte, guard) in nonce.iter_mut().zip(reuse_guard) {
                *byte ^= guard;
            }
            let aad = message.content_aad()?;
            if let Some(content) = crypto::open(&key, *nonce, &aad, &message.ciphertext) {
                return Some((leaf, application_data(&content, handshake)?));
            }
        }
        None
    }
}

impl Ratchet {
    /// Key and nonce of a generation that was not passed yet.
    fn at(&self, generation: u32) -> Option<(Secret, Nonce)> {
        let steps = generation.checked_sub(self.generation)?;
        if steps > STEPS_MAX {
            return None;
        }
        let mut secret = self.secret.clone();
        for passed in self.generation..generation {
            secret = expand_with_label(&secret, "secret", &passed.to_be_bytes())?;
        }
        let context = generation.to_be_bytes();
        let key = expand_with_label(&secret, "key", &context)?;
        let nonce = expand_with_label(&secret, "nonce", &context)?;
        Some((key, nonce))
    }
}

/// `PrivateMessageContent` begins with the application data; of a handshake message the whole is given.
fn application_data(content: &[u8], handshake: bool) -> Option<Zeroizing<Vec<u8>>> {
    let data = match handshake {
        true => content,
        false => Reader::new(content).vector()?,
    };
    Some(Zeroizing::new(data.to_vec()))
}

/// The secret of a leaf of the tree, if it is still there or can be derived from the root's.
fn leaf_secret(tree: &Value, leaf: u32) -> Option<Secret> {
    let own = field(tree, "leaf_nodes").and_then(|list| item(list, leaf));
    if let Some(secret) = own.and_then(secret_in) {
        return Some(secret);
    }
    let root = field(tree, "parent_nodes").and_then(|list| item(list, 0))?;
    let side: &[u8] = if leaf == 0 { b"left" } else { b"right" };
    let root = secret_in(root)?;
    expand_with_label(&root, "tree", side)
}

/// Generation and secret of a ratchet's head, whatever it is wrapped in.
fn head(value: &Value, depth: usize) -> Option<(u32, Secret)> {
    let depth = depth.checked_sub(1)?;
    let generation = field(value, "generation").and_then(number);
    if let (Some(generation), Some(secret)) = (generation, field(value, "secret")) {
        return Some((generation, secret_in(secret)?));
    }
    let entries = value.as_map()?;
    entries.iter().find_map(|(_, inner)| head(inner, depth))
}

/// Every map below `value` that is message secrets.
fn search(value: &Value, depth: usize, found: &mut Vec<EpochKeys>) {
    let Some(depth) = depth.checked_sub(1) else {
        return;
    };
    if field(value, "secret_tree").is_some() {
        found.extend(EpochKeys::read(value));
    }
    match value {
        Value::Map(entries) => {
            for (_, inner) in entries {
                search(inner, depth, found);
            }
        }
        Value::Array(items) => {
            for inner in items {
                search(inner, depth, found);
            }
        }
        Value::Tag(_, inner) => search(inner, depth, found),
        _ => {}
    }
}

fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    let entries = map.as_map()?;
    let entry = entries.iter().find(|(key, _)| key.as_text() == Some(name));
    entry.map(|(_, value)| value)
}

fn item(list: &Value, index: u32) -> Option<&Value> {
    let value = list.as_array()?.get(usize::try_from(index).ok()?)?;
    (!value.is_null()).then_some(value)
}

fn number(value: &Value) -> Option<u32> {
    value.as_integer()?.try_into().ok()
}

/// Bytes, however serde wrote them: as such, as a list of numbers, or inside a structure of one field.
fn bytes_in(value: &Value) -> Option<Zeroizing<Vec<u8>>> {
    match value {
        Value::Bytes(bytes) => Some(Zeroizing::new(bytes.clone())),
        Value::Array(items) => {
            let bytes: Option<Vec<u8>> = items
                .iter()
                .map(|item| item.as_integer()?.try_into().ok())
                .collect();
            bytes.map(Zeroizing::new)
        }
        Value::Map(entries) => match entries.as_slice() {
            [(_, inner)] => bytes_in(inner),
            _ => None,
        },
        _ => None,
    }
}

fn secret_in(value: &Value) -> Option<Secret> {
    let bytes = bytes_in(value)?;
    let secret: [u8; 32] = bytes.as_slice().try_into().ok()?;
    Some(Secret::new(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(name: &str) -> Value {
        Value::Text(name.to_owned())
    }

    fn wrapped(secret: u8) -> Value {
        let list = Value::Array(vec![Value::Integer(secret.into()); 32]);
        let inner = Value::Map(vec![(text("vec"), list)]);
        Value::Map(vec![(text("value"), inner)])
    }

    fn secrets(leaf: Option<Value>, root: Option<Value>, head: Option<Value>) -> Value {
        let context = [0, 1, 0, 3, 1, 5, 0, 0, 0, 0, 0, 0, 0, 9].map(|byte: u8| byte.into());
        let list =
            |first: Option<Value>| Value::Array(vec![first.unwrap_or(Value::Null), Value::Null]);
        let tree = Value::Map(vec![
            (text("leaf_nodes"), list(leaf)),
            (text("parent_nodes"), list(root)),
            (text("handshake_sender_ratchets"), list(None)),
            (text("application_sender_ratchets"), list(head)),
        ]);
        Value::Map(vec![
            (
                text("sender_data_secret"),
                Value::Map(vec![(text("secret"), wrapped(4))]),
            ),
            (
                text("serialized_context"),
                Value::Array(context.map(Value::Integer).to_vec()),
            ),
            (text("secret_tree"), tree),
        ])
    }

    fn stored(value: &Value) -> Vec<u8> {
        let mut bytes = vec![CBOR];
        ciborium::into_writer(value, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn secrets_are_found_wherever_they_lie_and_roots_lead_to_leaves() {
        let pending = Value::Map(vec![(
            text("PendingCommit"),
            Value::Array(vec![secrets(None, Some(wrapped(7)), None)]),
        )]);
        let found = EpochKeys::all_in(&stored(&pending));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].group.as_slice(), found[0].epoch), (&[5][..], 9));
        assert_eq!(found[0].ratchets.len(), 4, "two kinds for two leaves");
        let right = expand_with_label::<32>(&[7; 32], "tree", b"right").unwrap();
        let application = expand_with_label::<32>(&right, "application", b"").unwrap();
        assert_eq!(found[0].ratchets[3].secret, application);
        assert!(EpochKeys::all_in(b"").is_empty());
        assert!(EpochKeys::all_in(b"\x01\xff\xff").is_empty());
    }

    #[test]
    fn a_used_up_ratchet_goes_forward_only() {
        let head = |generation: u8| {
            let head = Value::Map(vec![
                (text("secret"), wrapped(7)),
                (text("generation"), Value::Integer(generation.into())),
            ]);
            Value::Map(vec![(text("EncryptionRatchet"), head)])
        };
        let found = EpochKeys::all_in(&stored(&secrets(None, None, Some(head(3)))));
        let ratchet = &found[0].ratchets[0];
        assert_eq!((found[0].ratchets.len(), ratchet.generation), (1, 3));
        assert!(ratchet.at(2).is_none());
        let next = expand_with_label::<32>(&[7; 32], "secret", &3_u32.to_be_bytes()).unwrap();
        let key = expand_with_label::<32>(&next, "key", &4_u32.to_be_bytes()).unwrap();
        assert_eq!(ratchet.at(4).unwrap().0, key);
        assert!(ratchet.at(u32::MAX).is_none());
    }
}
