//! The relay: the store that the server runs on, and a session as short as can be. It may lie.

use std::collections::BTreeMap;

use bytes::Bytes;
use relay::store::{AppendAnswer, MailboxStore, Progress, Quotas, ReadAnswer};
use wal::disk::SimDisk;
use wal::{SeededDice, Wal, WalError};
use wire::{Class, DeviceId, Digest, Head, SendId, Seq};

use crate::net::{Answer, Down, Up};
use crate::node::{Machine, options};
use crate::oracle::Books;
use crate::plan::{Lie, Who};

/// Bytes that one look into a mailbox takes out.
const READ_BYTES_MAX: usize = 256 << 10;

/// All answers to one message.
pub type Answers = Vec<Answer>;

struct Reader {
    who: Who,
    through: Seq,
    /// An envelope that is given after the next one, for a lie.
    kept_back: Option<(Seq, Bytes)>,
}

/// The relay's machine.
pub struct Relay {
    /// Its disk.
    pub machine: Machine,
    store: Option<MailboxStore>,
    readers: BTreeMap<SendId, Reader>,
    /// Everything that ever came, for lies.
    history: BTreeMap<(SendId, Seq), Bytes>,
    /// How it lies now.
    pub lie: Option<Lie>,
    dice: SeededDice,
}

impl Relay {
    /// A relay with an empty disk, not started.
    #[must_use]
    pub fn new(seed: u64) -> Relay {
        Relay {
            machine: Machine::new(SimDisk::new(), seed),
            store: None,
            readers: BTreeMap::new(),
            history: BTreeMap::new(),
            lie: None,
            dice: SeededDice(seed ^ 0x11e5),
        }
    }

    /// Whether it runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.store.is_some()
    }

    /// Starts it.
    ///
    /// # Errors
    /// The engine's.
    pub fn start(&mut self) -> Result<(), WalError> {
        let (disk, store) = self.machine.ground().parts();
        let dice = Box::new(self.machine.dice());
        let (wal, report) = Wal::open(disk, store, dice, options())?;
        self.store = Some(MailboxStore::new(wal, &report, Quotas::default())?);
        Ok(())
    }

    /// Ends it, whatever it was doing.
    pub fn stop(&mut self) {
        self.store = None;
        self.readers.clear();
    }

    /// The connection of `who` is gone.
    pub fn forget(&mut self, who: Who) {
        self.readers.retain(|_, reader| reader.who != who);
    }

    /// What a start must still know of.
    ///
    /// # Errors
    /// The engine's, and the mailbox whose receipts it has forgotten.
    pub fn check_receipts(&mut self, books: &Books) -> Result<Option<SendId>, WalError> {
        let Some(store) = self.store.as_mut() else {
            return Ok(None);
        };
        for (mailbox, receipt) in &books.receipts {
            let last = store.send_state(mailbox)?.last.map(|last| last.seq);
            if last.unwrap_or_default() < *receipt {
                return Ok(Some(*mailbox));
            }
        }
        Ok(None)
    }

    /// Takes a message and gives the answers.
    ///
    /// # Errors
    /// The engine's: the store must be opened again.
    pub fn handle(
        &mut self,
        who: Who,
        message: Up,
        books: &mut Books,
    ) -> Result<Answers, WalError> {
        let lie = self.lie;
        let Some(store) = self.store.as_mut() else {
            return Ok(Answers::new());
        };
        match message {
            Up::AttachSend(mailbox) => {
                let mut state = store.send_state(&mailbox)?;
                if store.staged_bytes() > 0 {
                    drop(store.commit()?);
                }
                match lie {
                    Some(Lie::InventHead) => {
                        let above = state.last.map_or(Seq(0), |last| last.seq);
                        state.last = Some(Head {
                            seq: Seq(above.0 + 1 + self.dice.below(9)),
                            digest: Digest([7; 32]),
                        });
                    }
                    Some(Lie::OtherDigest) => {
                        if let Some(last) = &mut state.last {
                            last.digest.0[3] ^= 1;
                        }
                    }
                    _ => {}
                }
                Ok(vec![Answer {
                    to: who,
                    mailbox,
                    down: Down::SendState(state),
                }])
            }
            Up::Append {
                mailbox,
                seq,
                after,
                digest,
                bytes,
            } => self.append(who, mailbox, (seq, after, digest, bytes), books),
            Up::AttachReceive(receive, cursor) => {
                let mailbox = receive.send_id();
                let state = store.receive_state(&mailbox)?;
                let reader = Reader {
                    who,
                    through: cursor,
                    kept_back: None,
                };
                self.readers.insert(mailbox, reader);
                let mut answers = vec![Answer {
                    to: who,
                    mailbox,
                    down: Down::ReceiveState(state),
                }];
                self.pump(mailbox, &mut answers)?;
                Ok(answers)
            }
            Up::Fetch(mailbox, seq) => {
                let stored = store.fetch(&mailbox, seq)?;
                let shown = match (lie, stored) {
                    // An envelope of the mailbox's past under this number, or something of its own.
                    (Some(Lie::InventHead), None) => {
                        let old = Seq(1 + self.dice.below(seq.0));
                        let past = self.history.get(&(mailbox, old)).cloned();
                        Some(past.unwrap_or_else(|| Bytes::from_static(&[1; 512])))
                    }
                    (Some(Lie::OtherDigest), Some(stored)) => {
                        let mut changed = stored.to_vec();
                        let at = self.dice.below(changed.len() as u64);
                        changed[at as usize] ^= 1;
                        Some(changed.into())
                    }
                    (_, stored) => stored,
                };
                Ok(vec![Answer {
                    to: who,
                    mailbox,
                    down: Down::Stored(seq, shown),
                }])
            }
            Up::Trim(mailbox, through) => {
                while store.trim(&mailbox, through)? == Progress::More {}
                drop(store.commit()?);
                Ok(Answers::new())
            }
        }
    }

    fn append(
        &mut self,
        who: Who,
        mailbox: SendId,
        (seq, after, digest, bytes): (Seq, Seq, Digest, Bytes),
        books: &mut Books,
    ) -> Result<Answers, WalError> {
        self.history.insert((mailbox, seq), bytes.clone());
        let answer = |down| Answer {
            to: who,
            mailbox,
            down,
        };
        match self.lie {
            Some(Lie::FalseReceipt) => {
                let head = Head { seq, digest };
                return Ok(vec![answer(Down::Receipt(head))]);
            }
            Some(Lie::Full) => return Ok(vec![answer(Down::OverQuota(seq))]),
            _ => {}
        }
        let Some(store) = self.store.as_mut() else {
            return Ok(Answers::new());
        };
        let account = match who {
            Who::Hub => (DeviceId([1; 32]), Class::Hub),
            _ => (DeviceId([2; 32]), Class::Phone),
        };
        let pending = store.append(account, mailbox, seq, after, digest, &bytes)?;
        let committed = store.commit()?;
        let down = match store.answer(&committed, pending)? {
            AppendAnswer::Receipt(receipt) => {
                let known = books.receipts.entry(mailbox).or_default();
                *known = (*known).max(receipt.head().seq);
                Down::Receipt(receipt.head())
            }
            AppendAnswer::Conflict(stored) => Down::Conflict(stored),
            AppendAnswer::NotNext(_) => Down::NotNext,
            AppendAnswer::OverQuota(_) | AppendAnswer::TooManyMailboxes => Down::OverQuota(seq),
        };
        let mut answers = vec![answer(down)];
        self.pump(mailbox, &mut answers)?;
        Ok(answers)
    }

    /// Hands a mailbox's reader what it has not had yet.
    fn pump(&mut self, mailbox: SendId, answers: &mut Answers) -> Result<(), WalError> {
        let (Some(reader), Some(store)) = (self.readers.get_mut(&mailbox), self.store.as_mut())
        else {
            return Ok(());
        };
        loop {
            let ReadAnswer::Envelopes(found) =
                store.read(&mailbox, reader.through, READ_BYTES_MAX)?
            else {
                return Ok(());
            };
            if found.is_empty() {
                return Ok(());
            }
            for (seq, bytes) in found {
                reader.through = seq;
                let to = reader.who;
                let mut give = |seq, bytes| {
                    answers.push(Answer {
                        to,
                        mailbox,
                        down: Down::Deliver(seq, bytes),
                    });
                };
                match self.lie {
                    Some(Lie::Swap) => match reader.kept_back.take() {
                        None => reader.kept_back = Some((seq, bytes)),
                        Some((before, kept)) => {
                            give(seq, bytes);
                            give(before, kept);
                        }
                    },
                    Some(Lie::Skip) if self.dice.below(2) == 0 => {}
                    Some(Lie::Twice) => {
                        give(seq, bytes.clone());
                        give(seq, bytes);
                    }
                    Some(Lie::Flip) => {
                        let mut bytes = bytes.to_vec();
                        let at = self.dice.below(bytes.len() as u64 * 8);
                        bytes[at as usize / 8] ^= 1 << (at % 8);
                        give(seq, bytes.into());
                    }
                    Some(Lie::Renumber) => give(Seq(seq.0 + self.dice.below(3)), bytes),
                    Some(Lie::Replay) => {
                        let old = 1 + self.dice.below(seq.0);
                        if let Some(found) = self.history.get(&(mailbox, Seq(old))) {
                            give(Seq(old), found.clone());
                            give(seq, found.clone());
                        }
                        give(seq, bytes);
                    }
                    _ => give(seq, bytes),
                }
            }
        }
    }
}
