//! The bytes of one simulated file in shared pages, so that a clone of a disk costs little.
//!
//! A page that was never written reads as zero. Pages are copied only when they are changed.

#![allow(
    clippy::indexing_slicing,
    reason = "A wrong index in the simulator is a bug of a test."
)]

use std::sync::Arc;

const PAGE: usize = 4096;

/// File contents as copy-on-write pages.
#[derive(Clone, Default)]
pub(super) struct Image {
    pages: Arc<Vec<Option<Arc<[u8; PAGE]>>>>,
    len: u64,
}

impl Image {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn pages_bytes(&self) -> u64 {
        self.len.div_ceil(PAGE as u64) * PAGE as u64
    }

    /// How many bytes of new pages a write would need.
    pub(super) fn growth_bytes(&self, offset: u64, len: u64) -> u64 {
        let end = (offset + len).div_ceil(PAGE as u64) * PAGE as u64;
        end.saturating_sub(self.pages_bytes())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let end = offset + bytes.len() as u64;
        let pages = Arc::make_mut(&mut self.pages);
        let count = end.div_ceil(PAGE as u64) as usize;
        if pages.len() < count {
            pages.resize(count, None);
        }
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = at % PAGE;
            let (now, later) = rest.split_at((PAGE - within).min(rest.len()));
            let page = &mut pages[at / PAGE];
            if page.is_none() && now.iter().all(|byte| *byte == 0) {
                // A zero page needs no memory.
            } else {
                let page = page.get_or_insert_with(|| Arc::new([0; PAGE]));
                Arc::make_mut(page)[within..within + now.len()].copy_from_slice(now);
            }
            at += now.len();
            rest = later;
        }
        self.len = self.len.max(end);
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let wanted = (out.len() as u64).min(self.len.saturating_sub(offset)) as usize;
        let mut done = 0;
        while done < wanted {
            let at = offset as usize + done;
            let within = at % PAGE;
            let now = (PAGE - within).min(wanted - done);
            let to = &mut out[done..done + now];
            match self.pages.get(at / PAGE).and_then(Option::as_ref) {
                Some(page) => to.copy_from_slice(&page[within..within + now]),
                None => to.fill(0),
            }
            done += now;
        }
        wanted
    }

    pub(super) fn set_len(&mut self, len: u64) {
        if len < self.len {
            // What is cut off must read as zero if the file grows again.
            let zeros = vec![0; (self.pages_bytes() - len) as usize];
            self.write(len, &zeros);
            Arc::make_mut(&mut self.pages).truncate(len.div_ceil(PAGE as u64) as usize);
        }
        self.len = len;
    }

    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut out = vec![0; self.len as usize];
        self.read(0, &mut out);
        out
    }
}
