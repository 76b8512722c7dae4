//! Hub and phone on real files: the cores, and a shell that hands envelopes over and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_core::core::{Core as AppCore, Delivered, PendingRun, Run};
use bytes::Bytes;
use hub::core::{Core as HubCore, Notice, SilenceLimits, Verdict};
use journal::Role;
use journal::ids::Line;
use wal::SeededDice;
use wal::disk::RealDisk;
use wire::Seq;

use super::Outcome;
use super::books::{Books, Whose};
use crate::net::Way;
use crate::node::{Ground, Place, open_journal};

/// Envelopes in one run of the phone.
const RUN_MAX: usize = 8;

fn ground(dir: &Path) -> Outcome<Ground> {
    let disk = RealDisk::new(dir)?;
    Ok(Ground::new(Place::Files(dir.to_owned(), disk)))
}

/// A hub.
pub(super) struct HubEnd {
    pub(super) dir: PathBuf,
    pub(super) core: HubCore,
    ways: Vec<Way>,
    sent: BTreeMap<Line, Seq>,
}

impl HubEnd {
    /// Starts a hub on these files.
    pub(super) fn start(dir: PathBuf, ways: Vec<Way>, seed: u64, now_ms: u64) -> Outcome<Self> {
        let ground = ground(&dir)?;
        let mut dice = SeededDice(seed);
        let opener = Box::new(move || {
            let dice = SeededDice(dice.next_u64());
            open_journal(Role::Hub, &ground, dice)
        });
        let core = HubCore::start(opener, SilenceLimits::default(), now_ms)?;
        Ok(Self {
            dir,
            core,
            ways,
            sent: BTreeMap::new(),
        })
    }

    /// The process is gone. The next one starts on `dir`, a copy of its files from before; what this one
    /// does while it goes no longer counts.
    pub(super) fn dies(self, dir: PathBuf, seed: u64, now_ms: u64) -> Outcome<Self> {
        let Self { core, ways, .. } = self;
        drop(core);
        Self::start(dir, ways, seed, now_ms)
    }

    /// One sync for everything staged; its facts and its envelopes go into the books.
    pub(super) fn commit(&mut self, books: &mut Books, now_ms: u64) -> Outcome<()> {
        self.core.commit(now_ms)?;
        self.tell(books, now_ms)
    }

    /// Durable facts and envelopes into the books.
    pub(super) fn tell(&mut self, books: &mut Books, now_ms: u64) -> Outcome<()> {
        while let Some(notice) = self.core.poll_notice() {
            match notice {
                Notice::ClipStarted { clip, .. } => books.is_called(clip.0),
                Notice::Healed { line, epoch } => books.is_healed(line, epoch.0),
                Notice::ClipFinished { .. } => {}
                other => return Err(format!("the hub says {other:?}").into()),
            }
        }
        for way in &self.ways {
            let mut at = self.sent.get(&way.line).copied().unwrap_or(Seq::NONE);
            while let Some((seq, envelope)) = self.core.next_envelope(way.line, at, now_ms)? {
                let to = (way.line, Whose::Hub);
                books.leaves(to, way.send, seq, envelope.as_bytes());
                at = seq;
            }
            self.sent.insert(way.line, at);
        }
        Ok(())
    }

    /// Takes the next envelope of the phone on some line, if there is one.
    pub(super) fn take_one(&mut self, books: &mut Books, now_ms: u64) -> Outcome<bool> {
        for way in self.ways.clone() {
            let cursor = self.core.cursor(way.line)?;
            let next = books.behind(way.receive.send_id(), cursor, 1).pop();
            let Some((seq, bytes)) = next else { continue };
            let delivered = self.core.handle_envelope(way.line, seq, &bytes, now_ms)?;
            if delivered.verdict != Verdict::Taken {
                let why = delivered.verdict;
                return Err(
                    format!("the hub did not take {seq} of {:?}: {why:?}", way.line).into(),
                );
            }
            self.commit(books, now_ms)?;
            return Ok(true);
        }
        Ok(false)
    }
}

/// A phone.
pub(super) struct PhoneEnd {
    pub(super) dir: PathBuf,
    pub(super) core: AppCore,
    ways: Vec<Way>,
}

impl PhoneEnd {
    /// Starts a phone on these files.
    pub(super) fn start(dir: PathBuf, ways: Vec<Way>, seed: u64) -> Outcome<Self> {
        let (journal, _report) = open_journal(Role::App, &ground(&dir)?, SeededDice(seed))?;
        Ok(Self {
            dir,
            core: AppCore::new(journal),
            ways,
        })
    }

    /// The lines of its pairing.
    pub(super) fn lines(&self) -> Vec<Line> {
        self.ways.iter().map(|way| way.line).collect()
    }

    /// Takes the next run of the hub's envelopes on some line, if there is one.
    pub(super) fn take_one(&mut self, books: &mut Books, now_ms: u64) -> Outcome<bool> {
        for way in self.ways.clone() {
            let cursor = self.core.cursor(way.line)?;
            let found = books.behind(way.receive.send_id(), cursor, RUN_MAX);
            if found.is_empty() {
                continue;
            }
            let run: Vec<Delivered> = found
                .into_iter()
                .map(|(seq, bytes)| Delivered {
                    seq,
                    bytes: Bytes::from(bytes),
                })
                .collect();
            let pending = self.core.deliver(way.line, &run, now_ms, now_ms)?;
            self.settle(pending, books)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The end of a sync of a line: the ack that is owed, and the rotation of its key.
    pub(super) fn finish_sync(
        &mut self,
        line: Line,
        books: &mut Books,
        now_ms: u64,
    ) -> Outcome<()> {
        let pending = self.core.finish_sync(line, now_ms)?;
        self.settle(pending, books)
    }

    fn settle(&mut self, pending: PendingRun, books: &mut Books) -> Outcome<()> {
        let committed = self.core.commit()?;
        let Run { halt, .. } = self.core.settle(&committed, pending)?;
        if let Some(halt) = halt {
            return Err(format!("the phone halts: {halt:?}").into());
        }
        self.tell(books)
    }

    /// What is durable in its outbox into the books.
    pub(super) fn tell(&mut self, books: &mut Books) -> Outcome<()> {
        for way in &self.ways {
            let mut at = Seq::NONE;
            while let Some((seq, envelope)) = self.core.next_envelope(way.line, at)? {
                let by = (way.line, Whose::Phone);
                books.leaves(by, way.send, seq, envelope.as_bytes());
                at = seq;
            }
        }
        Ok(())
    }
}

/// Copies a state directory while its owner runs. RocksDB may take a file away meanwhile, which it does not
/// miss: then all of it is copied again.
pub(super) fn copy_files(from: &Path, to: &Path) -> Outcome<()> {
    const ATTEMPTS: u32 = 5;
    for _ in 0..ATTEMPTS {
        if to.exists() {
            std::fs::remove_dir_all(to)?;
        }
        match crate::files::copy_all(from, to) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err("the files could not be copied in one piece".into())
}
