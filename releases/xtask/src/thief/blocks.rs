//! Freed disk blocks: a life on a file system of its own, and then the raw image of that is searched for
//! storage keys that no vault holds any more. Wants root, because it mounts.
//!
//! This room must always unmount what it has mounted. What it finds is a figure, not a promise.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Because, Failure, Outcome};

const IMAGE_BYTES: u64 = 1 << 30;
const KEY_BYTES: usize = 32;
/// The image is read in pieces of this size.
const PIECE_BYTES: usize = 4 << 20;

/// How many superseded keys there were, and how many of them the raw image still holds.
pub(super) struct Found {
    pub(super) superseded: usize,
    pub(super) readable: usize,
}

/// Why it cannot be measured here, if it cannot.
pub(super) fn obstacle() -> Option<&'static str> {
    let id = Command::new("id").arg("-u").output().ok();
    let is_root = id.is_some_and(|output| output.stdout.trim_ascii() == b"0");
    let has = |tool: &str| {
        Command::new(tool)
            .arg("-V")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
    };
    match (is_root, has("mkfs.ext4") && has("mount")) {
        (false, _) => Some("it wants root, to mount a file system of its own"),
        (true, false) => Some("it wants mkfs.ext4 and mount"),
        (true, true) => None,
    }
}

/// Lives on a new ext4 in a file below `place`, and searches it.
pub(super) fn measure(
    simulate: &Path,
    place: &Path,
    (epochs, seed): (u64, &str),
) -> Outcome<Found> {
    fs::create_dir_all(place).because("no place for an image")?;
    let (image, mount, keys) = (place.join("image"), place.join("mount"), place.join("keys"));
    fs::create_dir_all(&mount).because("no place to mount")?;
    let file = File::create(&image).because("the image cannot be made")?;
    file.set_len(IMAGE_BYTES)
        .because("the image cannot be made")?;
    drop(file);
    done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
    done(
        Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mount]),
    )?;
    let lived = done(
        Command::new(simulate)
            .arg("superseded")
            .args([&mount, &keys])
            .args(["--epochs", &epochs.to_string(), "--seed", seed]),
    );
    // ORDER: unmounted whatever came of the life; then all of it is in the image.
    let unmounted = done(Command::new("umount").arg(&mount));
    lived.and(unmounted)?;
    let keys = fs::read(&keys).because("the life has left no keys")?;
    let found = search(&image, &keys)?;
    fs::remove_dir_all(place).because("the image cannot be removed")?;
    Ok(found)
}

/// Runs a command that must succeed; what it says goes where ours goes, and none of it to stdout.
fn done(command: &mut Command) -> Outcome<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .because(&format!("cannot start {name}"))?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::found(format!("{name} failed"))),
    }
}

/// Which of the keys, 32 bytes each, stand anywhere in the image.
fn search(image: &Path, keys: &[u8]) -> Outcome<Found> {
    // By their first eight bytes, so that each place of the image is looked up once.
    let mut wanted: BTreeMap<[u8; 8], Vec<&[u8]>> = BTreeMap::new();
    for key in keys.chunks_exact(KEY_BYTES) {
        if let Some(start) = key.first_chunk::<8>() {
            wanted.entry(*start).or_default().push(key);
        }
    }
    let superseded = wanted.values().map(Vec::len).sum();
    let mut readable = 0;
    let mut file = File::open(image).because("the image cannot be read")?;
    let mut buffer: Vec<u8> = Vec::with_capacity(PIECE_BYTES + KEY_BYTES);
    loop {
        // The end of the piece before stays: a key may lie across the two.
        let kept = buffer.len().min(KEY_BYTES - 1);
        buffer.drain(..buffer.len() - kept);
        let mut piece = file.by_ref().take(PIECE_BYTES as u64);
        let read = piece.read_to_end(&mut buffer);
        if read.because("the image cannot be read")? == 0 {
            break;
        }
        if buffer.iter().all(|byte| *byte == 0) {
            continue;
        }
        for window in buffer.windows(KEY_BYTES) {
            let start = window.first_chunk::<8>();
            let Some(found) = start.and_then(|start| wanted.get_mut(start)) else {
                continue;
            };
            let before = found.len();
            found.retain(|key| *key != window);
            readable += before - found.len();
        }
    }
    Ok(Found {
        superseded,
        readable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_once_also_across_two_pieces() {
        let name = format!("thief-blocks-{}", std::process::id());
        let image = std::env::temp_dir().join(name);
        let mut bytes = vec![0; 2 * PIECE_BYTES];
        let key = |first: u8| -> Vec<u8> { (first..first + KEY_BYTES as u8).collect() };
        for at in [100, 9_000, PIECE_BYTES - 7] {
            let first = if at == PIECE_BYTES - 7 { 80 } else { 1 };
            bytes[at..at + KEY_BYTES].copy_from_slice(&key(first));
        }
        fs::write(&image, bytes).unwrap();
        let keys = [key(1), key(80), key(150)].concat();
        let found = search(&image, &keys).unwrap();
        fs::remove_file(&image).unwrap();
        assert_eq!((found.superseded, found.readable), (3, 2));
    }
}
