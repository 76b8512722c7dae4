//! The bytes of one file in shared pages, each of which is hashed at most once.
//!
//! Thousands of states differ in a few pages: a clone costs two counters, a write copies the pages
//! it touches, and comparing two files compares two numbers.

use std::sync::{Arc, OnceLock};

use crashtest_trace::Content;
use sha2::{Digest as _, Sha256};

/// Bytes of a page.
pub const PAGE_BYTES: usize = 4096;

/// A sum of hashes, modulo 2^128, so that parts can be taken out and put in.
pub type Hash = u128;

struct Page {
    index: usize,
    bytes: [u8; PAGE_BYTES],
    /// Made when it is first asked for: a recovery writes pages that nobody compares.
    hash: OnceLock<Hash>,
}

impl Page {
    fn hash(&self) -> Hash {
        let index = self.index as u64;
        *self
            .hash
            .get_or_init(|| hash_of(&[&index.to_le_bytes(), &self.bytes]))
    }
}

/// File contents. A page that was never written reads as zeros.
#[derive(Clone, Default)]
pub struct Image {
    pages: Arc<Vec<Option<Arc<Page>>>>,
    length: u64,
}

/// The hash of some parts, in this order.
pub(crate) fn hash_of(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest = hasher.finalize();
    let first = digest.first_chunk::<16>().copied().unwrap_or_default();
    u128::from_le_bytes(first)
}

fn page_of(index: usize, bytes: &[u8; PAGE_BYTES]) -> Option<Arc<Page>> {
    // A page of zeros is none, so that holes and written zeros are the same file.
    (bytes != &[0; PAGE_BYTES]).then(|| {
        Arc::new(Page {
            index,
            bytes: *bytes,
            hash: OnceLock::new(),
        })
    })
}

impl Image {
    /// The file with these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut image = Self::default();
        image.write(0, bytes);
        image
    }

    /// The length in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// A number that is the same for the same bytes and, for all we can do, for no others.
    #[must_use]
    pub fn hash(&self) -> Hash {
        let pages = self.pages.iter().flatten();
        pages.fold(Hash::from(self.length), |sum, page| {
            sum.wrapping_add(page.hash())
        })
    }

    fn replace(&mut self, index: usize, page: Option<Arc<Page>>) {
        let pages = Arc::make_mut(&mut self.pages);
        if pages.len() <= index {
            if page.is_none() {
                return;
            }
            pages.resize(index + 1, None);
        }
        if let Some(slot) = pages.get_mut(index) {
            *slot = page;
        }
    }

    fn page(&self, index: usize) -> Option<&[u8; PAGE_BYTES]> {
        let page = self.pages.get(index)?.as_ref()?;
        Some(&page.bytes)
    }

    /// Writes bytes, growing the file if needed.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) {
        let mut at = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let index = (at / PAGE_BYTES as u64) as usize;
            let within = (at % PAGE_BYTES as u64) as usize;
            let (now, later) = rest.split_at((PAGE_BYTES - within).min(rest.len()));
            match now.first_chunk::<PAGE_BYTES>() {
                Some(whole) => self.replace(index, page_of(index, whole)),
                None => {
                    let mut page = self.page(index).copied().unwrap_or([0; PAGE_BYTES]);
                    if let Some(place) = page.get_mut(within..within + now.len()) {
                        place.copy_from_slice(now);
                    }
                    self.replace(index, page_of(index, &page));
                }
            }
            at += now.len() as u64;
            rest = later;
        }
        self.length = self.length.max(at);
    }

    /// Writes zeros, growing the file if needed.
    pub fn zero(&mut self, offset: u64, length: u64) {
        let end = offset.saturating_add(length);
        let mut at = offset;
        // Beyond the last page there is nothing to make zero.
        let stop = end.min((self.pages.len() * PAGE_BYTES) as u64);
        while at < stop {
            let index = (at / PAGE_BYTES as u64) as usize;
            let within = (at % PAGE_BYTES as u64) as usize;
            let now = (PAGE_BYTES - within).min((stop - at) as usize);
            if let Some(mut page) = self.page(index).copied() {
                if let Some(place) = page.get_mut(within..within + now) {
                    place.fill(0);
                }
                self.replace(index, page_of(index, &page));
            }
            at += now as u64;
        }
        if length > 0 {
            self.length = self.length.max(end);
        }
    }

    /// Writes what a trace says was written.
    pub fn put(&mut self, offset: u64, content: &Content) {
        match content {
            Content::Zeros(length) => self.zero(offset, *length),
            Content::Bytes(bytes) => self.write(offset, bytes),
        }
    }

    /// Sets the length; what is cut off reads as zero if the file grows again.
    pub fn set_length(&mut self, length: u64) {
        if length < self.length {
            self.zero(length, self.length - length);
        }
        self.length = length;
    }

    /// Reads at most `out.len()` bytes; fewer only at the end.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let there = self.length.saturating_sub(offset).min(out.len() as u64) as usize;
        let mut done = 0;
        while done < there {
            let at = offset + done as u64;
            let index = (at / PAGE_BYTES as u64) as usize;
            let within = (at % PAGE_BYTES as u64) as usize;
            let now = (PAGE_BYTES - within).min(there - done);
            if let Some(place) = out.get_mut(done..done + now) {
                match self
                    .page(index)
                    .and_then(|page| page.get(within..within + now))
                {
                    Some(bytes) => place.copy_from_slice(bytes),
                    None => place.fill(0),
                }
            }
            done += now;
        }
        there
    }

    /// Offset and bytes of each page that is not zero.
    pub fn pages(&self) -> impl Iterator<Item = (u64, &[u8; PAGE_BYTES])> {
        self.pages.iter().enumerate().filter_map(|(index, page)| {
            let page = page.as_ref()?;
            Some(((index * PAGE_BYTES) as u64, &page.bytes))
        })
    }

    /// All bytes.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.length as usize];
        self.read(0, &mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_the_bytes_and_nothing_else() {
        let mut image = Image::of(&[7; 10_000]);
        let before = image.hash();
        image.write(5_000, &[9; 3]);
        assert_ne!(image.hash(), before);
        image.write(5_000, &[7; 3]);
        assert_eq!(image.hash(), before);
        image.set_length(4_000);
        image.set_length(10_000);
        let mut other = Image::of(&[7; 4_000]);
        other.zero(4_000, 6_000);
        assert_eq!(image.hash(), other.hash());
        assert_eq!(image.to_vec(), other.to_vec());
        other.set_length(9_999);
        assert_ne!(image.hash(), other.hash());
        // The same page in another place is another file.
        let moved = |at| {
            let mut image = Image::default();
            image.write(at, &[1; PAGE_BYTES]);
            image.set_length(8 * PAGE_BYTES as u64);
            image.hash()
        };
        assert_ne!(moved(0), moved(PAGE_BYTES as u64));
    }

    #[test]
    fn it_reads_what_was_written() {
        let mut image = Image::default();
        image.write(4_090, b"abcdefghij");
        let mut out = [0xff; 12];
        assert_eq!(image.read(4_089, &mut out), 11);
        assert_eq!(&out[..11], b"\0abcdefghij");
        image.zero(4_091, 2);
        assert_eq!(image.to_vec()[4_090..], *b"a\0\0defghij");
        assert_eq!(image.read(5_000, &mut out), 0);
    }
}
