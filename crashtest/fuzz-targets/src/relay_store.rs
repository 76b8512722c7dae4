//! What admitted devices ask of a relay: their frames, written, read again and given to its store as a session gives them.
//!
//! A session itself is a connection, and nothing of it could be run without one. The little that it decides is done
//! again here: which mailbox a device means, with one of each kind at a time, and that whoever only looks sees what is
//! synced. What must hold is the relay's word: a receipt is for what was appended, what is handed out was appended under
//! that number, an invitation is one device's, one that was taken back admits no phone, and a start knows the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use relay::admission::{self, Verdict};
use relay::store::{AppendAnswer, MailboxStore, PendingAppend, Quota, Quotas, ReadAnswer};
use wal::disk::SimDisk;
use wal::store::MemStore;
use wal::{Options, SECTOR_BYTES, SeededDice, Wal};
use wire::frame::Guest;
use wire::{
    Class, DeviceId, Digest, Frame, Head, Invitation, ReceiveId, RelayId, SendId, SendState, Seq,
    Slot,
};

use crate::input::Input;

/// Who is admitted.
const DEVICES: [(DeviceId, Class); 3] = [
    (DeviceId([1; 32]), Class::Hub),
    (DeviceId([2; 32]), Class::Phone),
    (DeviceId([3; 32]), Class::Phone),
];
/// Most frames of one run: fewer than one look at a mailbox hands out.
const FRAMES_MAX: usize = 60;
/// Longest envelope that is appended, in bytes.
const ENVELOPE_BYTES_MAX: usize = 8 * 1024;
/// When all of this happens.
const NOW_S: u64 = 1_800_000_000;
/// For counting invitations.
const DAY_S: u64 = 24 * 3600;
/// A slot of a device.
const SLOT: Slot = Slot(1);
/// Why nothing of the store's own may fail.
const SOUND: &str = "a sound disk with room serves whatever is asked";

/// Any frames of admitted devices, in batches as the input says.
pub(crate) fn relay_store(data: &[u8]) {
    let mut input = Input::new(data);
    let disk = SimDisk::new();
    let mut relay = Relay::new(open(&disk, 1));
    for _ in 0..FRAMES_MAX {
        if input.is_empty() {
            break;
        }
        let how = input.byte();
        let who = usize::from(how & 0x7f) % DEVICES.len();
        let bytes = frame(&mut input);
        if let Ok((frame, _used)) = Frame::decode(&bytes) {
            relay.hear(who, &frame);
        }
        if how & 0x80 != 0 {
            relay.commit();
        }
    }
    relay.commit();
    let told = relay.tell_all();
    let Relay { store, .. } = relay;
    drop(store);
    let mut again = open(&disk, 2);
    for (mailbox, told) in told {
        assert_eq!(tell(&mut again, mailbox), told, "a start knows another");
    }
}

/// The bytes of the next frame: a sound one, or any.
fn frame(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() % 9 {
        0 => Frame::AttachSend {
            slot: SLOT,
            mailbox: mailbox(input).send_id(),
        }
        .to_bytes(),
        1 => Frame::AttachReceive {
            slot: SLOT,
            mailbox: mailbox(input),
            cursor: number(input),
        }
        .to_bytes(),
        2 => {
            let (seq, after) = (number(input), number(input));
            let fill = input.byte();
            let envelope = vec![fill; input.below(ENVELOPE_BYTES_MAX) + 1];
            Frame::Append {
                seq,
                after,
                digest: Digest::of(&envelope),
                envelope: &envelope,
            }
            .to_bytes()
        }
        3 => Frame::Trim {
            slot: SLOT,
            through: number(input),
        }
        .to_bytes(),
        4 => Frame::Fetch {
            slot: SLOT,
            seq: number(input),
        }
        .to_bytes(),
        5 => Frame::Invite {
            request: 1,
            class: Class::Phone,
            ttl_seconds: 600,
        }
        .to_bytes(),
        6 => Frame::Redeem(Invitation {
            relay: RelayId([9; 32]),
            nonce: nonce(input),
            // Or one that has just run out.
            expires_unix_s: NOW_S - 1 + u64::from(input.byte()),
            class: Class::Phone,
            signature: [0; 64],
        })
        .to_bytes(),
        7 => {
            let whom = DEVICES.get(usize::from(input.byte()) % (DEVICES.len() + 1));
            let invitation = nonce(input);
            let guest = whom.map(|(device, _)| Guest {
                device: *device,
                invitation,
            });
            let count = input.byte() % 4;
            let mailboxes = (0..count).map(|_| mailbox(input).send_id()).collect();
            Frame::Revoke {
                request: 1,
                guest,
                mailboxes,
            }
            .to_bytes()
        }
        _ => input.bytes().to_vec(),
    }
}

/// One of few, so that devices meet in them.
fn mailbox(input: &mut Input<'_>) -> ReceiveId {
    ReceiveId([input.byte() % 4; 24])
}

/// A small number, or one of the largest.
fn number(input: &mut Input<'_>) -> Seq {
    match input.byte() {
        u8::MAX => Seq::LAST,
        byte => Seq(u64::from(byte)),
    }
}

/// That of an invitation for which the hub asked, or of one that is the operator's.
fn nonce(input: &mut Input<'_>) -> [u8; 16] {
    let byte = input.byte();
    match byte % 2 {
        0 => admission::hub_nonce(&DEVICES[0].0, [byte; 6]),
        _ => [byte; 16],
    }
}

/// A relay, and what it was told.
struct Relay {
    store: MailboxStore,
    /// What each device appends to, and what it reads.
    sends: [Option<SendId>; DEVICES.len()],
    reads: [Option<SendId>; DEVICES.len()],
    /// Appends that have no answer yet.
    waiting: Vec<(SendId, Head, PendingAppend)>,
    /// All that was ever appended under a number, whatever came of it.
    appended: BTreeMap<(SendId, Seq), Vec<Bytes>>,
    mailboxes: BTreeSet<SendId>,
    /// Who used an invitation, or took it back before anybody did.
    used: BTreeMap<[u8; 16], DeviceId>,
    taken_back: BTreeSet<[u8; 16]>,
}

/// What a mailbox has, in the words of those who look.
type Told = (SendState, Vec<(Seq, Bytes)>);

impl Relay {
    fn new(store: MailboxStore) -> Self {
        Self {
            store,
            sends: [None; DEVICES.len()],
            reads: [None; DEVICES.len()],
            waiting: Vec::new(),
            appended: BTreeMap::new(),
            mailboxes: BTreeSet::new(),
            used: BTreeMap::new(),
            taken_back: BTreeSet::new(),
        }
    }

    fn hear(&mut self, who: usize, frame: &Frame<'_>) {
        let (device, class) = DEVICES[who];
        match frame {
            Frame::AttachSend { mailbox, .. } => {
                self.commit();
                self.mailboxes.insert(*mailbox);
                self.sends[who] = Some(*mailbox);
            }
            Frame::AttachReceive { mailbox, .. } => {
                self.commit();
                let mailbox = mailbox.send_id();
                self.mailboxes.insert(mailbox);
                self.reads[who] = Some(mailbox);
                let state = self.store.receive_state(&mailbox).expect(SOUND);
                assert!(state.first <= state.last.map_or(Seq::NONE, |last| last.seq));
            }
            Frame::Append {
                seq,
                after,
                envelope,
                ..
            } => self.append(who, (*seq, *after), envelope),
            Frame::Trim { through, .. } => {
                if let Some(mailbox) = self.reads[who] {
                    let _progress = self.store.trim(&mailbox, *through).expect(SOUND);
                }
            }
            Frame::Fetch { seq, .. } => {
                self.commit();
                if let Some(mailbox) = self.sends[who] {
                    let fetched = self.store.fetch(&mailbox, *seq).expect(SOUND);
                    let is_known = |bytes: &Bytes| self.was_appended(mailbox, *seq, bytes);
                    assert!(fetched.as_ref().is_none_or(is_known), "another envelope");
                }
            }
            Frame::Invite { class: asked, .. }
                if admission::may_invite(class, *asked) == Verdict::Yes =>
            {
                let counted = self.store.count_invitation(device, NOW_S / DAY_S);
                let _staged = counted.expect(SOUND);
            }
            Frame::Redeem(invitation) => self.redeem(who, invitation),
            Frame::Revoke {
                guest, mailboxes, ..
            } if class == Class::Hub => self.revoke(device, *guest, mailboxes),
            _ => {}
        }
    }

    fn append(&mut self, who: usize, (seq, after): (Seq, Seq), envelope: &[u8]) {
        let Some(mailbox) = self.sends[who] else {
            return;
        };
        let bytes = Bytes::copy_from_slice(envelope);
        // A session ends over another digest than that of the bytes.
        let digest = Digest::of(&bytes);
        let account = DEVICES[who];
        let pending = self
            .store
            .append(account, mailbox, seq, after, digest, &bytes);
        let pending = pending.expect(SOUND);
        let known = self.appended.entry((mailbox, seq)).or_default();
        known.push(bytes);
        self.waiting.push((mailbox, Head { seq, digest }, pending));
    }

    fn redeem(&mut self, who: usize, invitation: &Invitation) {
        let (device, class) = DEVICES[who];
        let Invitation {
            nonce,
            expires_unix_s,
            ..
        } = *invitation;
        // Nobody is let in by it.
        if expires_unix_s < NOW_S {
            return;
        }
        let store = &mut self.store;
        let staged = match class {
            Class::Hub => store.redeem(device, &nonce, expires_unix_s, NOW_S),
            Class::Phone => store.redeem_phone(device, &nonce, expires_unix_s, NOW_S),
        };
        if staged.expect(SOUND).is_none() {
            return;
        }
        let user = *self.used.entry(nonce).or_insert(device);
        assert_eq!(user, device, "two devices used one invitation");
        let is_over = class == Class::Phone && self.taken_back.contains(&nonce);
        assert!(!is_over, "an invitation that was taken back admits a phone");
    }

    fn revoke(&mut self, hub: DeviceId, guest: Option<Guest>, mailboxes: &[SendId]) {
        let tag = admission::inviter_tag(&hub);
        let revoked = self.store.revoke((hub, tag), guest, mailboxes, NOW_S);
        let is_counted = revoked.expect(SOUND).is_some();
        let own = guest.filter(|guest| admission::tag_of(&guest.invitation) == tag);
        if let Some(Guest { invitation, .. }) = own.filter(|_| is_counted) {
            self.used.entry(invitation).or_insert(hub);
            self.taken_back.insert(invitation);
        }
    }

    /// One sync for all that waits, then the answers, then what each mailbox has.
    fn commit(&mut self) {
        let committed = self.store.commit().expect(SOUND);
        for (mailbox, head, pending) in std::mem::take(&mut self.waiting) {
            let answer = self.store.answer(&committed, pending).expect(SOUND);
            if let AppendAnswer::Receipt(receipt) = answer {
                assert_eq!(receipt.head(), head, "a receipt for something else");
                let state = self.store.send_state(&mailbox).expect(SOUND);
                let last = state.last.expect("a receipt of an empty mailbox");
                assert!(last.seq >= head.seq, "a receipt for what is not there");
            }
        }
        let _told = self.store.take_lost();
        let _told = self.tell_all();
    }

    /// What every mailbox has, which must have been appended to it.
    fn tell_all(&mut self) -> Vec<(SendId, Told)> {
        let mut all = Vec::new();
        for mailbox in self.mailboxes.clone() {
            let told = tell(&mut self.store, mailbox);
            let mut envelopes = told.1.iter();
            let are_known = envelopes.all(|(seq, bytes)| self.was_appended(mailbox, *seq, bytes));
            assert!(are_known, "an envelope that nobody appended");
            all.push((mailbox, told));
        }
        all
    }

    fn was_appended(&self, mailbox: SendId, seq: Seq, bytes: &Bytes) -> bool {
        let all = self.appended.get(&(mailbox, seq));
        all.is_some_and(|all| all.contains(bytes))
    }
}

/// State and envelopes of a mailbox, which must agree.
fn tell(store: &mut MailboxStore, mailbox: SendId) -> Told {
    let state = store.send_state(&mailbox).expect(SOUND);
    let read = store.read(&mailbox, Seq::NONE, usize::MAX).expect(SOUND);
    let ReadAnswer::Envelopes(envelopes) = read else {
        panic!("a mailbox is lost where nothing has rotted");
    };
    let numbers = envelopes.iter().map(|(seq, _)| *seq);
    assert!(numbers.is_sorted_by(|a, b| a < b));
    let last = envelopes.last().map(|(seq, bytes)| Head {
        seq: *seq,
        digest: Digest::of(bytes),
    });
    assert_eq!(state.last, last, "the last envelope is the evidence");
    assert!(state.trimmed_through <= last.map_or(Seq::NONE, |last| last.seq));
    (state, envelopes)
}

fn open(disk: &SimDisk, seed: u64) -> MailboxStore {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let view = Box::new(MemStore::on_disk(disk.clone(), "view"));
    let options = Options {
        log_file_bytes: 1 << 20,
        grow_bytes: 16 * SECTOR_BYTES,
        spare_files_max: 1,
        ballast_bytes: 16 * SECTOR_BYTES,
    };
    let dice = Box::new(SeededDice(seed));
    let (wal, report) = Wal::open(disk, view, dice, options).expect(SOUND);
    // So little that few appends fill it.
    let quota = Quota {
        account_bytes: 64 << 10,
        reserved_bytes: 16 << 10,
        mailboxes: 2,
    };
    let quotas = Quotas {
        hub: quota,
        phone: quota,
    };
    MailboxStore::new(wal, &report, quotas).expect(SOUND)
}
