//! The vault as one file: sectors of keys, each in two images.
//!
//! Layout (FORMAT.md, "The vault"): sector `i` has its image A at `8192 * i` and its image B at
//! `8192 * i + 4096`. A change writes all touched A images, syncs, writes all touched B images,
//! syncs. So at any instant one image of each sector is whole, and when `store` returns, neither
//! holds what was replaced. The file is overwritten in place, never renamed: a rename would leave
//! the old keys in freed blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use wal::disk::OpenMode;
use wal::{Disk, DiskFile, crash_point, mutant};
use zeroize::Zeroizing;

use super::{Change, KeyId, Room, Vault, VaultKey};
use crate::error::JournalError;
use crate::sealed::Key;

/// Bytes of one image of a sector.
pub const SECTOR_BYTES: usize = 4096;
/// Keys in one sector.
pub const KEYS_PER_SECTOR: usize = 84;
/// Most sectors in a vault: 86,016 keys.
pub const SECTORS_MAX: usize = 1024;

const MAGIC: &[u8; 8] = b"SCLSVLT1";
const HEADER_BYTES: usize = 32;
const ENTRY_BYTES: usize = 48;
const CRC_AT: usize = 12;

const _: () = assert!(HEADER_BYTES + KEYS_PER_SECTOR * ENTRY_BYTES <= SECTOR_BYTES);

type Image = Zeroizing<Vec<u8>>;
type Slot = Option<(KeyId, VaultKey)>;

/// One sector in memory: what both images hold when nothing is being written.
#[derive(Clone)]
struct Sector {
    generation: u64,
    slots: Vec<Slot>,
}

impl Sector {
    fn empty() -> Self {
        Self {
            generation: 0,
            slots: vec![None; KEYS_PER_SECTOR],
        }
    }

    fn encode(&self, index: u32) -> Image {
        // At its full capacity from the start: growing would leave copies of keys in freed memory.
        let mut body = Zeroizing::new(Vec::with_capacity(SECTOR_BYTES));
        body.extend_from_slice(&self.generation.to_le_bytes());
        body.extend_from_slice(&[0; 8]);
        for slot in &self.slots {
            match slot {
                Some((id, key)) => {
                    body.extend_from_slice(&id.0.to_le_bytes());
                    body.extend_from_slice(&key.version.to_le_bytes());
                    body.extend_from_slice(key.key.as_slice());
                }
                None => body.extend_from_slice(&[0; ENTRY_BYTES]),
            }
        }
        body.resize(SECTOR_BYTES - CRC_AT - 4, 0);
        let mut crc = crc32fast::Hasher::new();
        for part in [&MAGIC[..], &index.to_le_bytes(), &[0; 4], &body] {
            crc.update(part);
        }
        let mut out = Zeroizing::new(Vec::with_capacity(SECTOR_BYTES));
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&index.to_le_bytes());
        out.extend_from_slice(&crc.finalize().to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// The sector in an image, or `None` if any byte of it is wrong.
    fn decode(image: &[u8], index: u32) -> Option<Self> {
        let mut bytes = Zeroizing::new(image.to_vec());
        let crc = read_u32(&bytes, CRC_AT)?;
        bytes.get_mut(CRC_AT..CRC_AT + 4)?.fill(0);
        let whole = bytes.len() == SECTOR_BYTES
            && bytes.starts_with(MAGIC)
            && read_u32(&bytes, 8)? == index
            && crc32fast::hash(&bytes) == crc;
        if !whole {
            return None;
        }
        let slots = bytes
            .get(HEADER_BYTES..)?
            .chunks_exact(ENTRY_BYTES)
            .take(KEYS_PER_SECTOR)
            .map(decode_entry)
            .collect();
        Some(Self {
            generation: read_u64(&bytes, 16)?,
            slots,
        })
    }
}

fn decode_entry(entry: &[u8]) -> Slot {
    let id = read_u64(entry, 0)?;
    let version = read_u64(entry, 8)?;
    let mut key = Key::default();
    key.copy_from_slice(entry.get(16..48)?);
    (id != 0).then_some((KeyId(id), VaultKey { version, key }))
}

/// Key number, version and key of every slot of an image, whatever else is wrong with it.
#[cfg(feature = "crashtest")]
pub(crate) fn raw_entries(image: &[u8]) -> Vec<(u64, u64, Key)> {
    let slots = image.get(HEADER_BYTES..).unwrap_or_default();
    let slots = slots.chunks_exact(ENTRY_BYTES).take(KEYS_PER_SECTOR);
    let entries = slots.filter_map(decode_entry);
    entries
        .map(|(id, key)| (id.0, key.version, key.key))
        .collect()
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Reads all of `out`; the file was made long enough by `load`.
fn read_exact(file: &dyn DiskFile, at: u64, out: &mut [u8]) -> io::Result<()> {
    let read = file.read_at(at, out)?;
    if read == out.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A vault in one file of a [`Disk`].
pub struct FileVault {
    disk: Arc<dyn Disk>,
    path: String,
    file: Option<Arc<dyn DiskFile>>,
    sectors: Vec<Sector>,
    sectors_max: usize,
}

impl FileVault {
    /// A vault in the file `path` of `disk`; the file is made by the first `load`.
    pub fn new(disk: Arc<dyn Disk>, path: &str) -> Self {
        Self {
            disk,
            path: path.to_owned(),
            file: None,
            sectors: Vec::new(),
            sectors_max: SECTORS_MAX,
        }
    }

    /// The same with another bound on its growth, at most [`SECTORS_MAX`]: so that a test can fill it.
    #[must_use]
    pub fn with_sectors_max(mut self, sectors: usize) -> Self {
        self.sectors_max = sectors.min(SECTORS_MAX);
        self
    }

    fn file(&self) -> io::Result<&dyn DiskFile> {
        self.file
            .as_deref()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the vault was not loaded"))
    }

    /// Writes one image of each sector in `dirty` and syncs.
    fn write_images(&self, dirty: &BTreeSet<usize>, second: u64) -> io::Result<()> {
        let file = self.file()?;
        for &index in dirty {
            let Some(sector) = self.sectors.get(index) else {
                continue;
            };
            let image = sector.encode(index as u32);
            file.write_at((2 * index as u64 + second) * SECTOR_BYTES as u64, &image)?;
        }
        if second == 0
            && mutant!(
                "vault_images_together",
                "C7",
                "one sync for both images of a sector"
            )
        {
            return Ok(());
        }
        file.sync_data()
    }

    /// Reads both images of sector `index` and makes them equal, believing no page cache: an image
    /// that reads back may be on the disk in part, if the process died before its sync or the sync
    /// failed. INVARIANT: every writer writes A, syncs, writes B, syncs. So
    ///
    /// - A above B, or B never written: B is whole on the disk, A perhaps not. A is written again
    ///   first, then B.
    /// - A alone is good, and B is not blank: B was being written, so A was synced. B is written.
    /// - B alone is good, or above A: A was being written, so B is whole on the disk. Both are
    ///   written, A first, as a new generation: were it the old one, an A whose sync fails here
    ///   would look like the next case.
    /// - Equal: A was synced, B perhaps not. B is written again.
    ///
    /// Two bad images are damage, not a crash; the exception is a sector's first `store`, before
    /// which both images are zero.
    fn recover(&self, index: usize) -> Result<Sector, JournalError> {
        let file = self.file().map_err(JournalError::Vault)?;
        let mut images = [(); 2].map(|()| Zeroizing::new(vec![0; SECTOR_BYTES]));
        for (copy, image) in images.iter_mut().enumerate() {
            let at = (2 * index + copy) * SECTOR_BYTES;
            read_exact(file, at as u64, image).map_err(JournalError::Vault)?;
        }
        let [a, b] = &images;
        let decoded = [a, b].map(|image| Sector::decode(image, index as u32));
        let blank = |image: &Image| image.iter().all(|&byte| byte == 0);
        let (sector, writes): (Sector, &[usize]) = match decoded {
            [Some(a), Some(b)] if a.generation > b.generation => (a, &[0, 1]),
            [Some(a), Some(b)] if a.generation == b.generation => (a, &[1]),
            [Some(a), None] if blank(b) => (a, &[0, 1]),
            [Some(a), None] => (a, &[1]),
            [_, Some(b)] => (
                Sector {
                    generation: b.generation + 1,
                    ..b
                },
                &[0, 1],
            ),
            // The first store was cut off while it wrote A: B is blank on the disk, A is anything.
            [None, None] if blank(a) || blank(b) => {
                let zeros = Zeroizing::new(vec![0; SECTOR_BYTES]);
                for (copy, image) in images.iter().enumerate() {
                    if !blank(image) {
                        self.rewrite(index, copy, &zeros)?;
                    }
                }
                return Ok(Sector::empty());
            }
            [None, None] => {
                return Err(JournalError::VaultDamaged {
                    sector: index as u32,
                });
            }
        };
        let image = sector.encode(index as u32);
        for &copy in writes {
            self.rewrite(index, copy, &image)?;
        }
        Ok(sector)
    }

    fn rewrite(&self, index: usize, copy: usize, image: &Image) -> Result<(), JournalError> {
        let file = self.file().map_err(JournalError::Vault)?;
        let at = (2 * index + copy) * SECTOR_BYTES;
        file.write_at(at as u64, image)
            .and_then(|()| file.sync_data())
            .map_err(JournalError::Vault)
    }

    /// The sectors that were stored at least once; what a growth that was cut off left lies behind them.
    fn stored_sectors(&self) -> &[Sector] {
        let is_stored = |sector: &Sector| sector.generation > 0;
        let count = self.sectors.iter().rposition(is_stored);
        let (stored, _lengths) = self.sectors.split_at(count.map_or(0, |last| last + 1));
        stored
    }

    /// The first slot of which this holds, as sector and place.
    fn find(&self, want: impl Fn(&Slot) -> bool) -> Option<(usize, usize)> {
        let sectors = self.sectors.iter().enumerate();
        sectors
            .filter_map(|(i, sector)| Some((i, sector.slots.iter().position(&want)?)))
            .next()
    }

    fn place_of(&self, id: KeyId) -> Option<(usize, usize)> {
        self.find(|slot| slot.as_ref().is_some_and(|(held, _)| *held == id))
    }

    /// A free slot, if need be a new sector's first.
    fn free_slot(&mut self) -> io::Result<(usize, usize)> {
        if let Some(found) = self.find(Option::is_none) {
            return Ok(found);
        }
        if self.sectors.len() >= self.sectors_max {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "the vault is full",
            ));
        }
        let index = self.sectors.len();
        // A length, not bytes: written zeros that no sync has covered may come back as garbage, and
        // then neither image of a sector that was never stored would be blank.
        self.file()?
            .set_len(((index + 1) * 2 * SECTOR_BYTES) as u64)?;
        self.sectors.push(Sector::empty());
        Ok((index, 0))
    }
}

impl Vault for FileVault {
    fn load(&mut self) -> Result<BTreeMap<KeyId, Box<VaultKey>>, JournalError> {
        let io = JournalError::Vault;
        let mut found = None;
        if self.disk.exists(&self.path).map_err(io)? {
            let file = self.disk.open(&self.path, OpenMode::Existing).map_err(io)?;
            if file.is_empty().map_err(io)? {
                // Made by a start whose directory sync may have failed: then its name is in the
                // cache only, and no later sync need cover it. It is made anew.
                self.disk.remove(&self.path).map_err(io)?;
            } else {
                found = Some(file);
            }
        }
        if found.is_some() {
            self.file = found;
        } else {
            let file = self
                .disk
                .open(&self.path, OpenMode::CreateNew)
                .map_err(io)?;
            file.sync_data().map_err(io)?;
            // ORDER: the name before the first key, or a power cut loses a file that is in use.
            self.disk.sync_dir("").map_err(io)?;
            self.file = Some(file);
        }
        let bytes = self.file().and_then(DiskFile::len).map_err(io)?;
        let sectors = (bytes as usize).div_ceil(2 * SECTOR_BYTES).min(SECTORS_MAX);
        if (bytes as usize) < sectors * 2 * SECTOR_BYTES {
            // A new sector's zero fill was cut off; nothing was stored in it yet.
            let file = self.file().map_err(io)?;
            file.set_len((sectors * 2 * SECTOR_BYTES) as u64)
                .map_err(io)?;
            file.sync_data().map_err(io)?;
        }
        self.sectors = (0..sectors)
            .map(|index| self.recover(index))
            .collect::<Result<_, _>>()?;
        let slots = self
            .sectors
            .iter()
            .flat_map(|sector| sector.slots.iter().flatten());
        let keys = slots.map(|(id, key)| (*id, Box::new(key.clone())));
        Ok(keys.collect())
    }

    fn room(&self) -> Room {
        // A sector that was never stored is a length and no bytes: the first write to it may find the disk full.
        let stored = self.stored_sectors();
        let slots = stored.iter().flat_map(|sector| &sector.slots);
        let in_place = slots.filter(|slot| slot.is_none()).count();
        let more = self.sectors_max.saturating_sub(stored.len());
        Room {
            in_place,
            at_most: in_place + more * KEYS_PER_SECTOR,
        }
    }

    fn store(&mut self, changes: &[Change]) -> io::Result<()> {
        let sectors = self.stored_sectors().len();
        let stored = self.store_all(changes);
        if matches!(&stored, Err(error) if wal::disk::is_full(error))
            && self.sectors.len() > sectors
        {
            // A new sector that the disk has no room for. Its keys are nobody's yet.
            self.sectors.truncate(sectors);
            let _tried = self
                .file()
                .and_then(|file| file.set_len((sectors * 2 * SECTOR_BYTES) as u64));
        }
        stored
    }
}

impl FileVault {
    fn store_all(&mut self, changes: &[Change]) -> io::Result<()> {
        let mut dirty = BTreeSet::new();
        for (id, change) in changes {
            let (sector, slot) = match (self.place_of(*id), change) {
                (Some(place), _) => place,
                (None, Some(_)) => self.free_slot()?,
                (None, None) => continue,
            };
            let Some(target) = self.sectors.get_mut(sector) else {
                continue;
            };
            if let Some(place) = target.slots.get_mut(slot) {
                *place = change.as_ref().map(|key| (*id, key.clone()));
            }
            dirty.insert(sector);
        }
        for &index in &dirty {
            if let Some(sector) = self.sectors.get_mut(index) {
                sector.generation += 1;
            }
        }
        // CRASH(journal.vault.before_first_image): before: the log has the rotation, both images are
        // old; recovery derives the new key | after: image A is new, B is old.
        crash_point!("journal.vault.before_first_image");
        self.write_images(&dirty, 0)?;
        // CRASH(journal.vault.after_first_image): before: image A is new, B is old; `load` takes the
        // higher generation and makes B equal | after: both are new.
        crash_point!("journal.vault.after_first_image");
        if !mutant!(
            "vault_image_left_old",
            "S3",
            "the second image keeps the old key"
        ) {
            self.write_images(&dirty, 1)?;
        }
        mutant!("key_in_a_log_line", "S3", "a storage key is told to the log" => {
            let told = changes.iter().filter_map(|(_, change)| change.as_ref());
            for key in told {
                tracing::warn!(key = %wal::note::Hex(key.key.as_slice()), "the vault is up to date");
            }
        });
        // CRASH(journal.vault.after_second_image): before: both images are new, old keys are in no file
        // any more | after: the same, and who waits for the commit is told.
        crash_point!("journal.vault.after_second_image");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
