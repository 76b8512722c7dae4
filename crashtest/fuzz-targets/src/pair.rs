//! A hub and an app that are paired, over disks in memory, and copies of either that say something.
//!
//! Keys and nonces come from repeatable dice where the journal throws them; OpenMLS throws its own. So an
//! input repeats what happens, not its bytes.

use std::sync::Arc;

use journal::fuzzing::{self, Inside};
use journal::ids::{Line, PairingId};
use journal::pairing::{AppNext, OfferTerms};
use journal::vault::file::FileVault;
use journal::{
    AppPairing, Committer, Follower, HubPairing, Journal, JournalError, Offer, Role, Session,
    Suite, Txn,
};
use wal::disk::{CrashPolicy, SimDisk};
use wal::store::MemStore;
use wal::{Options, RecoveryReport, SeededDice};
use wire::ids::{DeviceId, Seq};

pub(crate) const NOW_S: u64 = 1_800_000_000;
pub(crate) const NOW_MS: u64 = NOW_S * 1000;
/// One step of an end that speaks.
pub(crate) type Say<R> = fn(&mut Session<R>, &mut Txn<'_>) -> Result<(), JournalError>;
/// An envelope and its number.
pub(crate) type Said = (Seq, Vec<u8>);
/// The phone.
pub(crate) const PHONE: DeviceId = DeviceId([8; 32]);

pub(crate) fn open(role: Role, disk: &SimDisk, seed: u64) -> Result<Journal, JournalError> {
    open_reported(role, disk, seed).map(|(journal, _)| journal)
}

/// As [`open`], with what the start found.
pub(crate) fn open_reported(
    role: Role,
    disk: &SimDisk,
    seed: u64,
) -> Result<(Journal, RecoveryReport), JournalError> {
    let disk: Arc<SimDisk> = Arc::new(disk.clone());
    let store = MemStore::on_disk(disk.clone(), "view");
    let vault = FileVault::new(disk.clone(), "vault");
    let dice = Box::new(SeededDice(seed));
    let options = Options {
        log_file_bytes: 1 << 20,
        ballast_bytes: 64 << 10,
        ..Options::default()
    };
    Journal::open(role, disk, Box::new(store), Box::new(vault), dice, options)
}

/// A disk with the same contents that goes its own way from here.
pub(crate) fn copy(disk: &SimDisk) -> SimDisk {
    disk.crash_clone(CrashPolicy::ProcessKill, 0)
}

/// What a hub offers; classic, because X-Wing costs a fuzzer most of its runs.
pub(crate) fn terms() -> OfferTerms {
    OfferTerms {
        hub: DeviceId([7; 32]),
        addresses: vec!["127.0.0.1:1".into()],
        relay: "127.0.0.1:2/relay".into(),
        invitation: vec![1, 2, 3],
        suite: Suite::Classic,
        ttl_s: 600,
    }
}

pub(crate) fn offered(hub: &mut Journal) -> Offer {
    let offer = HubPairing::offer(hub, terms(), NOW_S).expect("a hub can offer");
    offer.into_inner()
}

/// Both ends of a pairing.
pub(crate) struct Pair {
    pub(crate) hub: Journal,
    pub(crate) app: Journal,
    pub(crate) hub_disk: SimDisk,
    pub(crate) app_disk: SimDisk,
    pub(crate) pairing: PairingId,
}

impl Pair {
    pub(crate) fn new() -> Self {
        let (hub_disk, app_disk) = (SimDisk::new(), SimDisk::new());
        let mut hub = open(Role::Hub, &hub_disk, 1).expect("an empty disk opens");
        let mut app = open(Role::App, &app_disk, 2).expect("an empty disk opens");
        let offer = offered(&mut hub);
        let pairing = pair(&mut hub, &mut app, &offer).expect("an honest pairing succeeds");
        Self {
            hub,
            app,
            hub_disk,
            app_disk,
            pairing,
        }
    }

    /// What a copy of the app says on a line, one after the other, each durable: numbers and envelopes.
    pub(crate) fn app_says(&self, line: Line, says: &[Say<Follower>]) -> Vec<Said> {
        let mut app = open(Role::App, &copy(&self.app_disk), 3).expect("a copy opens");
        says_all(&mut app, &mut Session::new(line), says)
    }

    /// As [`Self::app_says`], of a copy of the hub.
    pub(crate) fn hub_says(&self, line: Line, says: &[Say<Committer>]) -> Vec<Said> {
        let mut hub = open(Role::Hub, &copy(&self.hub_disk), 4).expect("a copy opens");
        says_all(&mut hub, &mut Session::new(line), says)
    }

    /// What lies under the wrap of an envelope to the hub.
    pub(crate) fn inside_at_hub(&self, line: Line, (seq, envelope): &Said) -> Inside {
        inside(&self.hub, line, *seq, envelope)
    }

    /// What lies under the wrap of an envelope to the app.
    pub(crate) fn inside_at_app(&self, line: Line, (seq, envelope): &Said) -> Inside {
        inside(&self.app, line, *seq, envelope)
    }
}

/// Says all of this, and gives the envelopes that it made.
pub(crate) fn says_all<R>(
    journal: &mut Journal,
    session: &mut Session<R>,
    says: &[Say<R>],
) -> Vec<Said> {
    let line = session.line();
    let head = journal.outbox_head(line).expect("our own storage");
    for say in says {
        let mut txn = journal.begin();
        say(session, &mut txn).expect("a paired end can speak");
        drop(txn.commit(()).expect("our own storage"));
    }
    outgoing(journal, line, head.last)
}

/// The durable envelopes of a line after this one.
pub(crate) fn outgoing(journal: &Journal, line: Line, mut after: Seq) -> Vec<Said> {
    let mut all = Vec::new();
    while let Some((seq, envelope)) = journal.outbox_next(line, after).expect("our own storage") {
        all.push((seq, envelope.into_inner().into_bytes()));
        after = seq;
    }
    all
}

fn inside(journal: &Journal, line: Line, seq: Seq, envelope: &[u8]) -> Inside {
    let inside = fuzzing::unwrap(journal, line, seq, envelope).expect("our own storage");
    inside.expect("an honest envelope is authentic")
}

/// The four messages of a pairing.
fn pair(hub: &mut Journal, app: &mut Journal, offer: &Offer) -> Result<PairingId, JournalError> {
    let AppNext::Request(request) = AppPairing::start(app, offer, PHONE, NOW_S)?.into_inner()
    else {
        panic!("a new pairing begins with a request");
    };
    let answer = HubPairing::request(hub, &request, PHONE, NOW_S)?;
    let confirm = AppPairing::answer(app, &request, &answer, NOW_S)?;
    let done = HubPairing::confirm(hub, &confirm)?;
    Ok(AppPairing::done(app, &confirm, &done)?.into_inner())
}
