//! The vault: key number, version and key of every slot of every image.

use zeroize::Zeroizing;

use super::{Images, StorageKey};
use crate::bytes::Reader;

const IMAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 32;
const SLOTS: usize = 84;

/// Every key in the file that is not all zero, once each.
pub(super) fn keys(file: &[u8]) -> Vec<StorageKey> {
    let images = file.chunks(IMAGE_BYTES).enumerate();
    let mut keys: Vec<StorageKey> = images
        .flat_map(|(number, bytes)| {
            // The two images of a sector take turns.
            let b = number % 2 == 1;
            image(bytes, Images { a: !b, b })
        })
        .collect();
    keys.sort_by_key(|key| (key.number, key.version, *key.key));
    keys.dedup_by(|next, kept| {
        let is_same =
            (next.number, next.version) == (kept.number, kept.version) && next.key == kept.key;
        if is_same {
            kept.images = kept.images.with(next.images);
        }
        is_same
    });
    keys
}

fn image(image: &[u8], images: Images) -> Vec<StorageKey> {
    let mut reader = Reader::new(image.get(HEADER_BYTES..).unwrap_or_default());
    let mut slots = Vec::new();
    for _ in 0..SLOTS {
        let Some(slot) = slot(&mut reader, images) else {
            break;
        };
        if slot.key.iter().any(|byte| *byte != 0) {
            slots.push(slot);
        }
    }
    slots
}

fn slot(reader: &mut Reader<'_>, images: Images) -> Option<StorageKey> {
    Some(StorageKey {
        number: reader.le_u64()?,
        version: reader.le_u64()?,
        key: Zeroizing::new(reader.array()?),
        images,
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
        let images: Vec<(bool, bool)> = found
            .iter()
            .map(|key| (key.images.a, key.images.b))
            .collect();
        assert_eq!(images, [(false, true), (true, false)]);
        let both = [&file[..IMAGE_BYTES], &file[..IMAGE_BYTES]].concat();
        let found = keys(&both);
        assert_eq!(
            (found.len(), found[0].images),
            (1, Images { a: true, b: true })
        );
        assert!(keys(&file[..IMAGE_BYTES + 100]).len() == 1 && keys(&[]).is_empty());
    }
}
