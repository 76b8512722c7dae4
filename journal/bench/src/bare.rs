//! The yardstick of what vault and wrap cost: a clip through the same MLS, the same engine, the same batches and
//! the same digest, with nothing sealed, nothing wrapped and no key that rotates.

use std::path::Path;
use std::sync::Arc;

use journal::{CHUNK_BYTES_MAX, Suite};
use openmls_libcrux_crypto::Provider;
use sha2::{Digest as _, Sha256};
use wal::disk::RealDisk;
use wal::store::RocksStore;
use wal::{Options, OsDice, Txn, Wal};
use yardstick::Member;

use crate::Outcome;
use crate::hub::CHUNKS_PER_COMMIT;
use crate::meter::{Meter, MeteredDisk, MeteredStore};

/// What a Commit, and the end of an epoch, leave of a group in the view, in bytes.
const STATE_BYTES: usize = 4096;
/// What each message changes beside its own bytes: a row or two of about this length.
const ROW_BYTES: usize = 256;
const STATE: &[u8] = b"state";
const ROW: &[u8] = b"row";

/// An engine with a group in memory over it.
pub(crate) struct Bare {
    wal: Wal,
    member: Member<Provider>,
    /// The number of the next envelope.
    next: u64,
    /// The first one that is still stored.
    first: u64,
}

impl Bare {
    /// A new engine in `dir`, with the meters that ours has.
    pub(crate) fn create(dir: &Path) -> Outcome<Self> {
        let meter = Meter::default();
        let disk = MeteredDisk {
            inner: RealDisk::new(dir)?,
            meter: meter.clone(),
        };
        let view = MeteredStore {
            inner: RocksStore::new(dir.join("view")),
            meter,
        };
        let (wal, _report) = Wal::open(
            Arc::new(disk),
            Box::new(view),
            Box::new(OsDice),
            Options::default(),
        )?;
        Ok(Self {
            wal,
            member: yardstick::in_memory(Suite::XWing.ciphersuite())?,
            next: 0,
            first: 0,
        })
    }

    /// Seals a whole clip as [`crate::hub::Hub::seal_clip`] does, durable when this returns.
    pub(crate) fn seal_clip(&mut self, clip: &[u8]) -> Outcome<()> {
        let mut digest = Sha256::new();
        let mut begun = false;
        for batch in clip.chunks(CHUNK_BYTES_MAX * CHUNKS_PER_COMMIT) {
            for chunk in batch.chunks(CHUNK_BYTES_MAX) {
                let mut txn = Txn::new();
                if !std::mem::replace(&mut begun, true) {
                    let commit = self.member.advance_epoch()?;
                    txn.put(self.key(), commit);
                    txn.put(STATE, vec![1; STATE_BYTES]);
                    let header = self.member.seal(&[0; 64])?;
                    txn.put(self.key(), header);
                }
                let sealed = self.member.seal(chunk)?;
                digest.update(chunk);
                txn.put_payload(self.key(), sealed);
                txn.put(ROW, vec![2; ROW_BYTES]);
                drop(self.wal.stage(txn, ())?);
            }
            let _covers_the_batch = self.wal.commit()?;
        }
        let mut txn = Txn::new();
        let mut trailer = digest.finalize().to_vec();
        trailer.resize(80, 0);
        let sealed = self.member.seal(&trailer)?;
        txn.put(self.key(), sealed);
        txn.put(STATE, vec![3; STATE_BYTES]);
        txn.put(ROW, vec![4; ROW_BYTES]);
        drop(self.wal.stage(txn, ())?);
        let _covers_the_end = self.wal.commit()?;
        Ok(())
    }

    /// Everything is freed.
    pub(crate) fn ack_all(&mut self) -> Outcome<()> {
        let mut txn = Txn::new();
        for number in self.first..self.next {
            let key = number.to_be_bytes();
            txn.delete(key);
            txn.delete_payload(key);
        }
        self.first = self.next;
        drop(self.wal.stage(txn, ())?);
        let _covers_all = self.wal.commit()?;
        Ok(())
    }

    fn key(&mut self) -> [u8; 8] {
        let key = self.next.to_be_bytes();
        self.next += 1;
        key
    }
}
