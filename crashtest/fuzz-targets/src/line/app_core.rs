//! A whole app that hears a hub which holds the keys and means harm: clips without a beginning, pictures under the name of
//! a clip, notifications of every event there is, answers that nobody asked for.

use std::cell::RefCell;

use app_core::core::{Core, Delivered};
use bytes::Bytes;
use journal::fuzzing;
use journal::ids::{Channel, ClipId, Line, PairingId};
use journal::{AppClip, AppNotice, Committer, Role, Session};
use wal::disk::SimDisk;
use wire::ids::Seq;

use super::said::spoken;
use crate::input::Input;
use crate::pair::{NOW_MS, Pair, copy, open};

/// Most messages of one run.
const MESSAGES_MAX: usize = 12;
/// The clock of this process, in milliseconds.
const NOW: u64 = 60_000;

thread_local! {
    static PAIR: RefCell<Pair> = RefCell::new(Pair::new());
}

/// Whatever is said, the app takes it; the next start knows the same; and what is deleted is gone, then and later.
pub(crate) fn app_core(data: &[u8]) {
    PAIR.with_borrow_mut(|pair| {
        let said = say(pair, &mut Input::new(data));
        let disk = copy(&pair.app_disk);
        let mut core = start(&disk, 10);
        for (line, run) in &said {
            let pending = core.deliver(*line, run, NOW, NOW_MS);
            let pending = pending.expect("what a hub says is no error of ours");
            let committed = core.commit().expect("a sound disk commits");
            let settled = core.settle(&committed, pending).expect("our own storage");
            assert!(settled.halt.is_none(), "{:?}", settled.halt);
            let last = run.last().map(|delivered| delivered.seq);
            assert_eq!(Some(settled.cursor), last, "an envelope was not taken");
        }
        let told = Told::of(&core, pair.pairing);
        assert!(told.bytes <= data.len(), "more bytes than were said");
        drop(core);
        let mut core = start(&disk, 20);
        assert_eq!(
            Told::of(&core, pair.pairing),
            told,
            "a start knows something else"
        );
        let mut left = told.clips.len() + told.thumbnails.len();
        while let Some(clip) = Told::of(&core, pair.pairing).any() {
            assert!(left > 0, "what was deleted is there");
            left -= 1;
            let deleted = core.delete(clip).expect("what is there can be deleted");
            drop(core.commit().expect("a sound disk commits").redeem(deleted));
            assert!(core.chunk(clip, 0).is_err(), "a piece of what was deleted");
        }
        drop(core);
        let core = start(&disk, 30);
        assert!(Told::of(&core, pair.pairing).any().is_none());
    });
}

fn start(disk: &SimDisk, seed: u64) -> Core {
    Core::new(open(Role::App, disk, seed).expect("an app that was paired starts"))
}

/// All that an app tells its owner of one hub.
#[derive(PartialEq, Eq, Debug)]
struct Told {
    cursors: [Seq; 5],
    clips: Vec<AppClip>,
    thumbnails: Vec<AppClip>,
    notices: Vec<AppNotice>,
    /// Of all pieces of all clips and pictures.
    bytes: usize,
}

impl Told {
    fn of(core: &Core, pairing: PairingId) -> Self {
        let cursor = |line| core.cursor(line).expect("our own storage");
        let clips = core.clips().expect("our own storage").into_iter();
        let clips: Vec<AppClip> = clips.map(|(_, clip)| clip).collect();
        let thumbnails = core.thumbnails().expect("our own storage").into_iter();
        let thumbnails: Vec<AppClip> = thumbnails.map(|of_event| of_event.what).collect();
        let notices = core.notices().expect("our own storage").into_iter();
        let mut bytes = 0;
        for clip in clips.iter().chain(&thumbnails) {
            let pieces = (0..clip.chunks).map(|index| {
                let piece = core.chunk(clip.clip, index);
                piece.expect("what was taken is there").len()
            });
            let of_clip: usize = pieces.sum();
            assert_eq!(of_clip as u64, clip.bytes, "a clip of another length");
            bytes += of_clip;
        }
        Self {
            cursors: Line::all(pairing).map(cursor),
            clips,
            thumbnails,
            notices: notices.map(|of_event| of_event.what).collect(),
            bytes,
        }
    }

    /// Something that can be deleted.
    fn any(&self) -> Option<ClipId> {
        let mut all = self.clips.iter().chain(&self.thumbnails);
        all.next().map(|clip| clip.clip)
    }
}

/// The hub's envelopes, each line's in order; the hub itself forgets them.
fn say(pair: &mut Pair, input: &mut Input<'_>) -> Vec<(Line, Vec<Delivered>)> {
    let lines = Line::all(pair.pairing);
    let mut sessions = lines.map(Session::<Committer>::new);
    let mut said: Vec<(Line, Vec<Delivered>)> = lines.map(|line| (line, Vec::new())).into();
    let firsts = lines.map(|line| {
        let head = pair.hub.outbox_head(line).expect("our own storage");
        head.last.next()
    });
    let mut txn = pair.hub.begin();
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() {
            break;
        }
        let which = input.below(Channel::ALL.len());
        let (line, delivered) = &mut said[which];
        let session = &mut sessions[which];
        // Nobody may speak before a Commit of his own, or goes on behind another one.
        if delivered.is_empty() || input.byte() % 8 == 7 {
            let advanced = session.advance_epoch(&mut txn);
            advanced.expect("a hub may commit");
        }
        let spoken = spoken(input);
        if fuzzing::say_as_hub(session, &mut txn, &spoken).is_err() {
            continue;
        }
        // The Commit and the message, whichever of them are new.
        let mut seq = delivered
            .last()
            .map_or(firsts[which], |last| last.seq.next());
        while let Some(envelope) = fuzzing::said(&txn, *line, seq).expect("our own storage") {
            let bytes = Bytes::from(envelope);
            delivered.push(Delivered { seq, bytes });
            seq = seq.next();
        }
    }
    said.retain(|(_, delivered)| !delivered.is_empty());
    said
}
