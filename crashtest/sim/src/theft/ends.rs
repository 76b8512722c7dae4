//! Hub and phones on real files: the cores, and a shell that hands envelopes over and nothing else.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use app_core::core::{Core as AppCore, Delivered, Order, Ordered, PendingRun, Run};
use bytes::Bytes;
use hub::core::{Core as HubCore, Notice, SilenceLimits, Verdict};
use journal::ids::{Channel, Line, PairingId};
use journal::message::LiveStart;
use journal::pairing::{AppNext, Confirmed, Joined, Requested, Welcomed};
use journal::vault::file::FileVault;
use journal::{AppPairing, HubPairing, Journal, JournalError, LivePiece, Offer, Role, Suite};
use thief::ClipId;
use wal::store::RocksStore;
use wal::{RecoveryReport, SeededDice};
use wire::{DeviceId, Seq};

use super::Outcome;
use super::books::{Books, Whose};
use super::peep::{Peep, VAULT};
use crate::net::Way;
use crate::{node, run};

/// Envelopes in one run of the phone.
const RUN_MAX: usize = 8;
/// Envelopes of a phone that share a batch of the hub, on each line.
const BATCH_MAX: usize = 64;

/// Opens a journal on files that are looked into.
fn open(
    role: Role,
    dir: &Path,
    peep: &Peep,
    dice: SeededDice,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let disk = peep.over(dir).map_err(JournalError::Vault)?;
    let store = RocksStore::new(dir.join("rocksdb"));
    let vault = FileVault::new(disk.clone(), VAULT);
    Journal::open(
        role,
        disk,
        Box::new(store),
        Box::new(vault),
        Box::new(dice),
        node::options(),
    )
}

/// A hub.
pub(super) struct HubEnd {
    pub(super) dir: PathBuf,
    pub(super) core: HubCore,
    pub(super) peep: Peep,
    /// Of all its phones.
    ways: Vec<Way>,
    sent: BTreeMap<Line, Seq>,
    retains: bool,
}

/// How a process of a hub begins.
pub(super) struct Start {
    pub(super) dir: PathBuf,
    pub(super) ways: Vec<Way>,
    pub(super) peep: Peep,
    pub(super) retains: bool,
}

impl HubEnd {
    /// Starts a hub on these files.
    pub(super) fn start(start: Start, seed: u64, now_ms: u64) -> Outcome<Self> {
        let Start {
            dir,
            ways,
            peep,
            retains,
        } = start;
        let mut dice = SeededDice(seed);
        let (home, looks) = (dir.clone(), peep.clone());
        let opener = Box::new(move || {
            let dice = SeededDice(dice.next_u64());
            open(Role::Hub, &home, &looks, dice)
        });
        let mut core = HubCore::start(opener, SilenceLimits::default(), now_ms)?;
        core.set_retention(retains);
        Ok(Self {
            dir,
            core,
            peep,
            ways,
            sent: BTreeMap::new(),
            retains,
        })
    }

    /// The process is gone. The next one starts on `dir`, a copy of its files from before; what this one
    /// does while it goes no longer counts.
    pub(super) fn dies(self, dir: PathBuf, seed: u64, now_ms: u64) -> Outcome<Self> {
        let Self {
            core,
            peep,
            ways,
            retains,
            ..
        } = self;
        drop(core);
        let start = Start {
            dir,
            ways,
            peep,
            retains,
        };
        Self::start(start, seed, now_ms)
    }

    /// Offers to pair with one more phone.
    pub(super) fn offers(&mut self, now_ms: u64) -> Outcome<Offer> {
        let terms = run::terms(Suite::XWing);
        let offer = |hub: &mut Journal| HubPairing::offer(hub, terms, now_ms / 1000);
        Ok(self.core.with_journal(now_ms, offer)?.into_inner())
    }

    /// Answers what a phone has asked: there are groups, and welcomes into them.
    pub(super) fn answers(&mut self, asked: &Requested, now_ms: u64) -> Outcome<Welcomed> {
        let peer = asked.device();
        let answer = |hub: &mut Journal| HubPairing::request(hub, asked, peer, now_ms / 1000);
        Ok(self.core.with_journal(now_ms, answer)?.into_inner())
    }

    /// Takes a phone's proof: it is one of this hub's.
    pub(super) fn confirms(
        &mut self,
        joined: &Joined,
        pairing: PairingId,
        now_ms: u64,
    ) -> Outcome<Confirmed> {
        let confirm = |hub: &mut Journal| HubPairing::confirm(hub, joined);
        let done = self.core.with_journal(now_ms, confirm)?.into_inner();
        let ways = |hub: &mut Journal| run::ways(hub, pairing);
        let ways = self.core.with_journal(now_ms, ways)?;
        self.core.refresh_lines()?;
        self.ways.extend(ways);
        Ok(done)
    }

    /// One sync for everything staged; its facts and its envelopes go into the books.
    pub(super) fn commit(&mut self, books: &mut Books, now_ms: u64) -> Outcome<()> {
        self.core.commit(now_ms)?;
        self.tell(books, now_ms)
    }

    /// Durable facts and envelopes into the books.
    pub(super) fn tell(&mut self, books: &mut Books, now_ms: u64) -> Outcome<()> {
        let mut over: Vec<ClipId> = Vec::new();
        let mut unwatched: Vec<Line> = Vec::new();
        while let Some(notice) = self.core.poll_notice() {
            match notice {
                Notice::ClipStarted {
                    line,
                    clip,
                    started_unix_ms,
                } => books.begins(line.pairing, clip.0, started_unix_ms),
                Notice::ClipFinished { clip, .. } => over.push(clip.clip.0),
                Notice::Healed { line, epoch } => books.is_healed(line, epoch.0),
                Notice::PhoneRemoved { phone } => {
                    self.ways.retain(|way| way.line.pairing != phone);
                    books.removes(phone);
                }
                Notice::LiveBegun { line, .. } => books.is_watched(line),
                Notice::LiveEnded { line, .. } => unwatched.push(line),
                Notice::Told { line, .. } => match line.channel {
                    Channel::Thumbnail => books.told.1 += 1,
                    _ => books.told.0 += 1,
                },
                Notice::Settings(_) => {}
                other => return Err(format!("the hub says {other:?}").into()),
            }
        }
        for way in &self.ways {
            let mut at = self.sent.get(&way.line).copied().unwrap_or(Seq::NONE);
            while let Some((seq, envelope)) = self.core.next_envelope(way.line, at, now_ms)? {
                let by = (way.line, Whose::Hub);
                books.leaves(by, way.send, seq, envelope.as_bytes());
                at = seq;
            }
            self.sent.insert(way.line, at);
        }
        // ORDER: the last envelope of a clip, and of a live session, is its own, so it leaves before that is over.
        books.end(&over);
        for line in unwatched {
            books.is_unwatched(line);
        }
        for (line, heads) in self.core.heads()? {
            if line.channel == Channel::EventVideo {
                books.is_acked(line.pairing, heads.acked);
            }
        }
        Ok(())
    }

    /// Shows a picture to everybody who watches: it leaves at once.
    pub(super) fn shows(&mut self, bytes: &[u8], books: &mut Books, now_ms: u64) -> Outcome<()> {
        let start = LiveStart {
            mime: "video/mp4".into(),
            init: vec![7; 32],
        };
        for (line, live) in self.core.live_board() {
            let way = self.ways.iter().find(|way| way.line == line);
            let to = way.ok_or("a line that leads nowhere is watched")?.send;
            let piece = LivePiece {
                start: Some(&start),
                captured_unix_ms: now_ms,
                ends_fragment: true,
                bytes,
            };
            let frame = self.core.seal_live(line, live.session, piece, now_ms)?;
            let frame = frame.ok_or("a session that is over is on the board")?;
            books.shows(line, to, frame.as_bytes());
        }
        Ok(())
    }

    /// Takes everything that a phone has sent, in one batch, if there is anything.
    pub(super) fn take_all(
        &mut self,
        pairing: PairingId,
        books: &mut Books,
        now_ms: u64,
    ) -> Outcome<bool> {
        let of_phone = |way: &&Way| way.line.pairing == pairing;
        let ways: Vec<Way> = self.ways.iter().filter(of_phone).copied().collect();
        let mut taken = Vec::new();
        for way in ways {
            let mailbox = way.receive.send_id();
            let cursor = self.core.cursor(way.line)?;
            for (seq, bytes) in books.behind(mailbox, cursor, BATCH_MAX) {
                let delivered = self.core.handle_envelope(way.line, seq, &bytes, now_ms)?;
                if delivered.verdict != Verdict::Taken {
                    let (line, why) = (way.line, delivered.verdict);
                    return Err(format!("the hub did not take {seq} of {line:?}: {why:?}").into());
                }
                taken.push((mailbox, seq));
            }
        }
        if taken.is_empty() {
            return Ok(false);
        }
        self.commit(books, now_ms)?;
        for (mailbox, seq) in taken {
            books.takes(mailbox, seq);
        }
        Ok(true)
    }
}

/// A phone that is not paired yet.
pub(super) struct Blank {
    pub(super) dir: PathBuf,
    pub(super) peep: Peep,
    core: AppCore,
}

impl Blank {
    /// On a directory without files.
    pub(super) fn start(dir: PathBuf, peep: Peep, seed: u64) -> Outcome<Self> {
        let (journal, _report) = open(Role::App, &dir, &peep, SeededDice(seed))?;
        let core = AppCore::new(journal);
        Ok(Self { dir, peep, core })
    }

    /// Asks by a code that it was shown: it holds a key package for each group now.
    pub(super) fn asks(
        &mut self,
        offer: &Offer,
        device: DeviceId,
        now_ms: u64,
    ) -> Outcome<Requested> {
        let next = AppPairing::start(self.core.journal(), offer, device, now_ms / 1000)?;
        match next.into_inner() {
            AppNext::Request(asked) => Ok(asked),
            _ => Err("a new pairing begins with a request".into()),
        }
    }

    /// The private keys of its key packages.
    pub(super) fn init_keys(&mut self) -> Outcome<Vec<Vec<u8>>> {
        Ok(journal::thief::init_keys(self.core.journal())?)
    }

    /// Joins the groups by the welcomes into them.
    pub(super) fn joins(
        &mut self,
        asked: &Requested,
        answer: &Welcomed,
        now_ms: u64,
    ) -> Outcome<Joined> {
        let joined = AppPairing::answer(self.core.journal(), asked, answer, now_ms / 1000)?;
        Ok(joined.into_inner())
    }

    /// Takes the hub's last word: it is paired.
    pub(super) fn into_paired(self, joined: &Joined, done: &Confirmed) -> Outcome<PhoneEnd> {
        let Self {
            dir,
            peep,
            mut core,
        } = self;
        let pairing = AppPairing::done(core.journal(), joined, done)?.into_inner();
        let ways = run::ways(core.journal(), pairing)?;
        Ok(PhoneEnd {
            dir,
            pairing,
            core,
            peep,
            ways,
        })
    }
}

/// A phone.
pub(super) struct PhoneEnd {
    pub(super) dir: PathBuf,
    pub(super) pairing: PairingId,
    pub(super) core: AppCore,
    pub(super) peep: Peep,
    ways: Vec<Way>,
}

impl PhoneEnd {
    /// The process is gone. The next one starts on `dir`, as [`HubEnd::dies`] has it.
    pub(super) fn dies(self, dir: PathBuf, seed: u64) -> Outcome<Self> {
        let Self {
            pairing,
            core,
            peep,
            ways,
            ..
        } = self;
        drop(core);
        let (journal, _report) = open(Role::App, &dir, &peep, SeededDice(seed))?;
        Ok(Self {
            dir,
            pairing,
            core: AppCore::new(journal),
            peep,
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
            self.settle(vec![pending], books)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// The end of a sync: on each line the ack that is owed, and the rotation of its key.
    pub(super) fn finish_sync(&mut self, books: &mut Books, now_ms: u64) -> Outcome<()> {
        let mut pending = Vec::new();
        for line in self.lines() {
            pending.push(self.core.finish_sync(line, now_ms)?);
        }
        self.settle(pending, books)
    }

    /// Its owner orders something, and it is sent.
    pub(super) fn orders(&mut self, order: Order, books: &mut Books, now_ms: u64) -> Outcome<()> {
        let Ordered::Taken(order) = self.core.stage_order(self.pairing, order, now_ms)? else {
            return Err("the phone takes no order".into());
        };
        let _stored = self.core.commit()?.redeem(order);
        let sent = self.core.stage_command(self.pairing, now_ms)?;
        let sent = sent.ok_or("the phone does not send what was ordered")?;
        let _sent = self.core.commit()?.redeem(sent);
        self.tell(books)
    }

    /// Its owner wants to watch live, and that is sent.
    pub(super) fn wishes(&mut self, viewer: u64, books: &mut Books) -> Outcome<()> {
        let staged = self.core.stage_wish(self.pairing, viewer, "door")?;
        let staged = staged.ok_or("the phone does not say a wish")?;
        let _wish = self.core.commit()?.redeem(staged);
        self.tell(books)
    }

    /// Its owner has seen enough; `says`: and the phone tells the hub, if it can.
    pub(super) fn has_seen_enough(&mut self, says: bool, books: &mut Books) -> Outcome<()> {
        if says && let Some(staged) = self.core.stage_enough(self.pairing)? {
            let _said = self.core.commit()?.redeem(staged);
        }
        self.core.stop_viewing(self.pairing);
        self.tell(books)
    }

    fn settle(&mut self, pending: Vec<PendingRun>, books: &mut Books) -> Outcome<()> {
        let committed = self.core.commit()?;
        for pending in pending {
            let Run { halt, .. } = self.core.settle(&committed, pending)?;
            if let Some(halt) = halt {
                return Err(format!("the phone halts: {halt:?}").into());
            }
        }
        self.tell(books)
    }

    /// What is durable in its outbox into the books.
    pub(super) fn tell(&mut self, books: &mut Books) -> Outcome<()> {
        for way in &self.ways {
            let mut at = Seq::NONE;
            while let Some((seq, envelope)) = self.core.next_envelope(way.line, at)? {
                let by = (way.line, Whose::Phone(self.pairing));
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
