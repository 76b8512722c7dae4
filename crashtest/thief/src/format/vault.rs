//! The vault: key number, version and key of every slot of every image.

use zeroize::Zeroizing;

use super::StorageKey;
use crate::bytes::Reader;

const IMAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 32;
const SLOTS: usize = 84;

/// Every key in the file that is not all zero, once each.
pub(super) fn keys(file: &[u8]) -> Vec<StorageKey> {
    let mut keys: Vec<StorageKey> = file.chunks(IMAGE_BYTES).flat_map(image).collect();
    keys.sort_by_key(|key| (key.number, key.version, *key.key));
    keys.dedup();
    keys
}

fn image(image: &[u8]) -> Vec<StorageKey> {
    let mut reader = Reader::new(image.get(HEADER_BYTES..).unwrap_or_default());
    let mut slots = Vec::new();
    for _ in 0..SLOTS {
        let Some(slot) = slot(&mut reader) else { break };
        if slot.key.iter().any(|byte| *byte != 0) {
            slots.push(slot);
        }
    }
    slots
}

fn slot(reader: &mut Reader<'_>) -> Option<StorageKey> {
    Some(StorageKey {
        number: reader.le_u64()?,
        version: reader.le_u64()?,
        key: Zeroizing::new(reader.array()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_images_are_read_and_no_checksum_is_asked() {
        let mut file = vec![0; 2 * IMAGE_BYTES];
        for (image, version) in [(0, 3_u64), (IMAGE_BYTES, 2)] {
            let at = image + HEADER_BYTES + 48;
            file[at] = 9;
            file[at + 8..at + 16].copy_from_slice(&version.to_le_bytes());
            file[at + 16..at + 48].fill(7);
        }
        let found = keys(&file);
        let told: Vec<(u64, u64)> = found.iter().map(|key| (key.number, key.version)).collect();
        assert_eq!(told, [(9, 2), (9, 3)]);
        assert!(keys(&file[..IMAGE_BYTES + 100]).len() == 1 && keys(&[]).is_empty());
    }
}
