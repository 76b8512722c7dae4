//! Live sessions between two ends over simulated disks, with a relay that holds back, mixes up and brings again
//! (scenario 31; promises C3, C4, S3).

use std::collections::BTreeSet;

use wal::Durable;
use wal::disk::CrashPolicy;
use wire::ids::Seq;

use super::five::{Camera, Five, Phone, converge, five, index};
use super::harness::NOW_MS;
use crate::ids::{Channel, Epoch, LiveId};
use crate::message::{
    self, AppLiveMessage, LIVE_INIT_BYTES_MAX, LiveBegun, LiveEnd, LiveEnded, LiveStart, LiveWish,
};
use crate::scope::Scope;
use crate::session::live::{LIVE_MLS_BYTES_MAX, Opened};
use crate::{
    CHUNK_BYTES_MAX, EpochUse, JournalError, LiveArrival, LivePart, LivePiece, LiveRight, Received,
    Role, Session, Suite, Taken, Takes, wrap,
};

const LIVE: Channel = Channel::Livestream;

fn wish(number: u8) -> LiveWish {
    LiveWish {
        id: LiveId([number; 16]),
        camera: String::new(),
    }
}

fn start() -> LiveStart {
    LiveStart {
        mime: "video/mp4".into(),
        init: b"init".to_vec(),
    }
}

/// A phone wishes to watch.
fn wishes(phone: &mut Phone, number: u8) {
    let mut txn = phone.journal.begin();
    let session = &mut phone.sessions[index(LIVE)];
    session.send_watch(&mut txn, &wish(number)).unwrap();
    drop(txn.commit(()).unwrap());
}

/// The hub takes what the phone has said in the livestream channel, and does it; the right of the session that is
/// under way then, if one has begun.
fn hears(camera: &mut Camera, phone: &Phone) -> Option<Durable<LiveRight>> {
    let mut begun = None;
    for (seq, envelope) in phone.outgoing(LIVE, camera.cursor(LIVE)) {
        let mut txn = camera.journal.begin();
        let session = &mut camera.sessions[index(LIVE)];
        let takes = Takes::MessagesAndProposals;
        let arrived = session
            .receive(&mut txn, seq, envelope.as_bytes(), takes)
            .unwrap();
        if let Received::Message(bytes) = &arrived.received {
            match message::decode(bytes).unwrap() {
                AppLiveMessage::Ack { through, .. } => {
                    session.take_ack(&mut txn, Seq(through)).unwrap();
                }
                AppLiveMessage::Watch(wish) => session.begin_live(&mut txn, wish.id).unwrap(),
                AppLiveMessage::Enough(_) => {
                    let ended = session.end_live(&mut txn, LiveEnd::Enough, NOW_MS);
                    assert!(ended.unwrap().is_some());
                }
            }
        }
        match session.live_right(&txn) {
            Some(right) => begun = Some(txn.commit(right).unwrap()),
            None => drop(txn.commit(()).unwrap()),
        }
    }
    begun
}

/// What the hub has said in the livestream channel, taken.
fn told(phone: &mut Phone, camera: &Camera) -> Vec<Taken> {
    let said = camera.outgoing(LIVE, phone.cursor(LIVE));
    said.into_iter()
        .map(|(seq, envelope)| phone.take(LIVE, seq, envelope.as_bytes()))
        .collect()
}

/// A session that both ends are in.
fn session(camera: &mut Camera, phone: &mut Phone, number: u8) -> Durable<LiveRight> {
    wishes(phone, number);
    let right = hears(camera, phone).expect("a wish begins a session");
    let told = told(phone, camera);
    let begun = LiveBegun {
        wish: LiveId([number; 16]),
        session: right.session(),
    };
    assert!(told.contains(&Taken::LiveBegun(begun)), "{told:?}");
    right
}

fn seal(
    camera: &mut Camera,
    right: &Durable<LiveRight>,
    (begins, bytes): (bool, &[u8]),
) -> Result<Vec<u8>, JournalError> {
    let start = start();
    let piece = LivePiece {
        start: begins.then_some(&start),
        captured_unix_ms: NOW_MS + bytes.len() as u64,
        ends_fragment: true,
        bytes,
    };
    let Five {
        journal, sessions, ..
    } = camera;
    let frame = sessions[index(LIVE)].seal_live(journal, right, piece)?;
    Ok(frame.into_inner().into_bytes())
}

/// A group of so many frames.
fn group(camera: &mut Camera, right: &Durable<LiveRight>, frames: usize) -> Vec<Vec<u8>> {
    (0..frames)
        .map(|n| seal(camera, right, (n == 0, &vec![n as u8; n + 1])).unwrap())
        .collect()
}

fn open(phone: &mut Phone, frame: &[u8]) -> LiveArrival {
    let Five {
        journal, sessions, ..
    } = phone;
    sessions[index(LIVE)].open_live(journal, frame).unwrap()
}

fn part(arrival: LiveArrival) -> LivePart {
    match arrival {
        LiveArrival::Part(part) => part,
        other => panic!("{other:?}"),
    }
}

fn epoch<R>(end: &mut Five<R>) -> Epoch {
    let mut txn = end.journal.begin();
    end.sessions[index(LIVE)].epoch(&mut txn).unwrap()
}

fn key_version(camera: &Camera) -> u64 {
    let scope = Scope::Group(camera.line(LIVE));
    camera.journal.scopes.get(scope).unwrap().version
}

#[test]
fn frames_are_shown_in_order_and_nothing_of_them_is_written() {
    for suite in [Suite::Classic, Suite::XWing] {
        let (mut camera, mut phone) = five(suite);
        let right = session(&mut camera, &mut phone, 1);
        assert_eq!(right.session(), epoch(&mut camera).0);
        let before = (camera.disk.op_count(), phone.disk.op_count());
        let mut shown = 0;
        for _ in 0..3 {
            let frames = group(&mut camera, &right, 4);
            for (n, frame) in frames.iter().enumerate() {
                let part = part(open(&mut phone, frame));
                shown += 1;
                assert_eq!(part.session, right.session());
                assert_eq!((part.number, part.group), (shown, shown - n as u64));
                assert_eq!(part.bytes.as_slice(), vec![n as u8; n + 1]);
                assert_eq!(part.captured_unix_ms, NOW_MS + n as u64 + 1);
                assert_eq!(part.start.is_some(), n == 0);
            }
        }
        assert_eq!(before, (camera.disk.op_count(), phone.disk.op_count()));

        let mut txn = phone.journal.begin();
        let enough = phone.sessions[index(LIVE)].send_enough(&mut txn, LiveId([1; 16]));
        drop(txn.commit(enough.unwrap()).unwrap());
        assert!(hears(&mut camera, &phone).is_none());
        let ended = LiveEnded {
            wish: LiveId([1; 16]),
            session: right.session(),
            frames: 12,
            why: LiveEnd::Enough,
        };
        assert_eq!(told(&mut phone, &camera), [Taken::LiveEnded(ended)]);
        let refused = seal(&mut camera, &right, (true, b"late"));
        assert!(matches!(refused, Err(JournalError::NoRightToEncrypt(_))));
        converge(&mut camera, &mut phone);
    }
}

/// A relay that mixes up, leaves out, brings again and changes.
#[test]
fn scenario_31_late_frames_and_old_ones_are_not_shown() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let right = session(&mut camera, &mut phone, 1);
    let frames = group(&mut camera, &right, 6);
    let first = part(open(&mut phone, &frames[0]));
    assert_eq!(first.number, 1);
    // Two are held back; what comes before them is shown, they themselves never.
    assert_eq!(part(open(&mut phone, &frames[3])).number, 4);
    for old in [0, 1, 2, 3] {
        let again = open(&mut phone, &frames[old]);
        let passed_over = matches!(again, LiveArrival::Late | LiveArrival::Refused(_));
        assert!(passed_over, "{old}: {again:?}");
    }
    let mut changed = frames[4].clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    assert_eq!(open(&mut phone, &changed), LiveArrival::NotAuthentic);
    // The time in a picture says how old it is, whenever it comes.
    let held_back = part(open(&mut phone, &frames[4]));
    assert_eq!(held_back.captured_unix_ms, NOW_MS + 5);
    // An envelope is no frame, and a frame no envelope: it proves nothing and moves no cursor.
    let cursor = phone.cursor(LIVE);
    let (seq, envelope) = camera.outgoing(LIVE, Seq::NONE).remove(0);
    let as_frame = open(&mut phone, envelope.as_bytes());
    assert_eq!(as_frame, LiveArrival::NotAuthentic);
    assert_eq!(
        phone.take(LIVE, cursor.next(), &frames[5]),
        Taken::NotAuthentic
    );
    assert!(seq <= cursor);
    assert_eq!(part(open(&mut phone, &frames[5])).number, 6);
    converge(&mut camera, &mut phone);
}

/// A relay that puts a frame into the hub's own mailbox: it is nobody's envelope, and the session goes on.
#[test]
fn scenario_20_a_frame_that_is_brought_back_proves_nothing() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let right = session(&mut camera, &mut phone, 1);
    let frame = group(&mut camera, &right, 1).remove(0);
    let mut txn = camera.journal.begin();
    let seq = Seq(camera_cursor(&txn, &phone) + 1);
    let session = &mut camera.sessions[index(LIVE)];
    let takes = Takes::MessagesAndProposals;
    let arrived = session.receive(&mut txn, seq, &frame, takes);
    assert!(matches!(arrived.unwrap().received, Received::NotAuthentic));
    drop(txn);
    assert!(seal(&mut camera, &right, (false, b"goes on")).is_ok());
}

fn camera_cursor(txn: &crate::Txn<'_>, phone: &Phone) -> u64 {
    txn.journal().inbox_head(phone.line(LIVE)).unwrap().cursor.0
}

/// What a phone says on an idle line is rotated away, and so is this.
#[test]
fn a_wish_is_rotated_away_with_the_commit_that_answers_it() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let versions = key_version(&camera);
    let _right = session(&mut camera, &mut phone, 1);
    assert_eq!(key_version(&camera), versions + 1);
}

#[test]
fn scenario_31_a_second_session_ends_the_first() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let first = session(&mut camera, &mut phone, 1);
    let old = group(&mut camera, &first, 3);
    part(open(&mut phone, &old[0]));
    let versions = key_version(&camera);
    let second = session(&mut camera, &mut phone, 2);
    assert!(second.session() > first.session());
    // What opens the first is not under the key of the second.
    assert_eq!(key_version(&camera), versions + 1);
    let refused = seal(&mut camera, &first, (true, b"of the first"));
    assert!(matches!(refused, Err(JournalError::NoRightToEncrypt(_))));
    assert_eq!(open(&mut phone, &old[1]), LiveArrival::Late);
    let new = group(&mut camera, &second, 2);
    let shown = part(open(&mut phone, &new[0]));
    assert_eq!((shown.session, shown.number), (second.session(), 1));
    assert_eq!(open(&mut phone, &old[2]), LiveArrival::Late);
    converge(&mut camera, &mut phone);
}

/// Frames that overtake the beginning of their session wait for it, and are good then.
#[test]
fn a_frame_that_overtakes_its_session_is_early() {
    let (mut camera, mut phone) = five(Suite::Classic);
    wishes(&mut phone, 1);
    let right = hears(&mut camera, &phone).unwrap();
    let frames = group(&mut camera, &right, 2);
    assert_eq!(open(&mut phone, &frames[0]), LiveArrival::Early);
    let (commit, begun) = match &camera.outgoing(LIVE, phone.cursor(LIVE))[..] {
        [commit, begun] => (commit.clone(), begun.clone()),
        other => panic!("{}", other.len()),
    };
    phone.take(LIVE, commit.0, commit.1.as_bytes());
    assert_eq!(open(&mut phone, &frames[0]), LiveArrival::Early);
    phone.take(LIVE, begun.0, begun.1.as_bytes());
    assert_eq!(part(open(&mut phone, &frames[0])).number, 1);
    assert_eq!(part(open(&mut phone, &frames[1])).number, 2);
}

/// A phone that was killed, or comes back minutes later, is shown nothing of what was for it before: neither what
/// lay in the mailbox nor what the relay kept of the pictures.
#[test]
fn scenario_31_a_phone_that_starts_again_wishes_anew() {
    for seen_begun in [true, false] {
        let (mut camera, mut phone) = five(Suite::Classic);
        wishes(&mut phone, 1);
        let right = hears(&mut camera, &phone).unwrap();
        let frames = group(&mut camera, &right, 3);
        if seen_begun {
            told(&mut phone, &camera);
            part(open(&mut phone, &frames[0]));
        }
        let disk = phone.disk.crash_clone(CrashPolicy::ProcessKill, 1);
        let mut phone = Phone::open(Role::App, disk, phone.pairing, 77);
        for frame in &frames {
            assert_eq!(open(&mut phone, frame), LiveArrival::Unwanted);
        }
        // The beginning that answers the old wish comes behind the new one.
        wishes(&mut phone, 2);
        let told_late = told(&mut phone, &camera);
        assert_eq!(told_late.len(), if seen_begun { 0 } else { 2 });
        for frame in &frames {
            assert_eq!(open(&mut phone, frame), LiveArrival::Early);
        }
        let next = match hears(&mut camera, &phone) {
            Some(next) => next,
            // It was said in the epoch before, and is stale: once more.
            None => session(&mut camera, &mut phone, 2),
        };
        told(&mut phone, &camera);
        assert!(next.session() > right.session());
        for frame in &frames {
            assert_eq!(open(&mut phone, frame), LiveArrival::Late);
        }
        let new = group(&mut camera, &next, 1);
        assert_eq!(part(open(&mut phone, &new[0])).session, next.session());
        converge(&mut camera, &mut phone);
    }
}

/// The Commit of a heartbeat takes the epoch away; the session goes on as another one, for the same wish.
#[test]
fn scenario_31_a_heartbeat_in_a_session_goes_on_with_a_new_one() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let first = session(&mut camera, &mut phone, 1);
    let old = group(&mut camera, &first, 2);
    part(open(&mut phone, &old[0]));
    let versions = key_version(&camera);
    phone.heartbeat(1);
    let second = hears(&mut camera, &phone).expect("it goes on");
    assert_eq!(
        (second.wish(), second.session()),
        (first.wish(), first.session() + 1)
    );
    assert_eq!(key_version(&camera), versions + 1);
    let told = told(&mut phone, &camera);
    assert!(
        matches!(told[..], [Taken::Healed(_), Taken::LiveBegun(_)]),
        "{told:?}"
    );
    let new = group(&mut camera, &second, 1);
    assert_eq!(open(&mut phone, &old[1]), LiveArrival::Late);
    assert_eq!(part(open(&mut phone, &new[0])).session, second.session());
    let used = camera.journal.epoch_use(camera.line(LIVE)).unwrap();
    assert!(matches!(used, Some(EpochUse::InUse { .. })), "{used:?}");
    camera.listen(&phone);
    converge(&mut camera, &mut phone);
}

/// A hub dies anywhere around a session: what it goes on with is another epoch, and the one that frames were sealed
/// in is closed by the start, whether or not anybody saw one.
#[test]
fn a_hub_that_dies_in_a_session_never_goes_on_in_its_epoch() {
    let mut sealed = BTreeSet::new();
    for policy in CrashPolicy::ALL {
        let (mut camera, mut phone) = five(Suite::Classic);
        wishes(&mut phone, 1);
        let ops = camera.disk.op_count();
        let right = hears(&mut camera, &phone).unwrap();
        assert!(camera.disk.op_count() > ops);
        let frames = group(&mut camera, &right, 3);
        let session = right.session();
        let disk = camera.disk.crash_clone(policy, 5);
        let mut camera = Camera::start(disk, camera.pairing, 99);
        // What its beginning made durable is there whatever the crash took.
        assert_eq!(epoch(&mut camera).0, session + 1, "{policy:?}");
        let used = camera.journal.epoch_use(camera.line(LIVE)).unwrap();
        let closed = EpochUse::Finished {
            epoch: Epoch(session + 1),
        };
        assert_eq!(used, Some(closed));
        let refused = seal(&mut camera, &right, (true, b"afterwards"));
        assert!(matches!(refused, Err(JournalError::NoRightToEncrypt(_))));
        told(&mut phone, &camera);
        assert_eq!(open(&mut phone, &frames[2]), LiveArrival::Late);
        let next = super::live::session(&mut camera, &mut phone, 2);
        assert!(next.session() > session + 1);
        sealed.insert(next.session());
        converge(&mut camera, &mut phone);
    }
    assert_eq!(sealed.len(), 1, "every crash leads to the same place");
}

/// A step whose transaction is dropped leaves no session: its frames have no right.
#[test]
fn a_session_that_is_not_stored_has_no_right_to_seal() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let right = session(&mut camera, &mut phone, 1);
    wishes(&mut phone, 2);
    let (seq, envelope) = phone
        .outgoing(LIVE, camera.cursor(LIVE))
        .pop()
        .expect("a wish waits");
    let mut txn = camera.journal.begin();
    let live = &mut camera.sessions[index(LIVE)];
    live.receive(
        &mut txn,
        seq,
        envelope.as_bytes(),
        Takes::MessagesAndProposals,
    )
    .unwrap();
    live.begin_live(&mut txn, LiveId([2; 16])).unwrap();
    let begun = live.live_right(&txn).unwrap();
    assert_eq!(begun.session(), right.session() + 1);
    drop(txn);
    // Nor does the one before: memory was ahead of what is stored.
    let refused = seal(&mut camera, &right, (true, b"x"));
    assert!(matches!(refused, Err(JournalError::NoRightToEncrypt(_))));
    // It is still to be closed, and the epoch moves on with that.
    let mut txn = camera.journal.begin();
    let live = &mut camera.sessions[index(LIVE)];
    let ended = live.end_live(&mut txn, LiveEnd::Limit, NOW_MS).unwrap();
    assert_eq!(ended, None);
    drop(txn.commit(()).unwrap());
    assert_eq!(epoch(&mut camera).0, right.session() + 1);
}

#[test]
fn frames_beyond_their_limits_are_refused_and_the_largest_fits() {
    let (mut camera, mut phone) = five(Suite::XWing);
    let right = session(&mut camera, &mut phone, 1);
    let misuse = |sealed| matches!(sealed, Err(JournalError::Misuse(_)));
    assert!(misuse(seal(&mut camera, &right, (false, b"no start yet"))));
    let long = vec![1; CHUNK_BYTES_MAX + 1];
    assert!(misuse(seal(&mut camera, &right, (true, &long))));
    let start = LiveStart {
        mime: "x".repeat(message::NAME_BYTES_MAX),
        init: vec![7; LIVE_INIT_BYTES_MAX],
    };
    let piece = LivePiece {
        start: Some(&start),
        captured_unix_ms: u64::MAX,
        ends_fragment: false,
        bytes: &long[1..],
    };
    let Five {
        journal, sessions, ..
    } = &mut camera;
    let frame = sessions[index(LIVE)].seal_live(journal, &right, piece);
    let frame = frame.unwrap().into_inner().into_bytes();
    let shown = part(open(&mut phone, &frame));
    assert_eq!(shown.start, Some(start));
    assert_eq!(shown.bytes.len(), CHUNK_BYTES_MAX);
}

/// What a hub says in a frame is judged by its length before MLS decodes it: the longest that it may have opens, one
/// byte more does not.
#[test]
fn a_frame_of_one_byte_too_many_is_not_decoded() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let right = session(&mut camera, &mut phone, 1);
    let (line, at) = (phone.line(LIVE), Epoch(right.session()));
    let record = phone.journal.begin().pairing_record(line).unwrap();
    let mailbox = record.line(LIVE).unwrap().receive.send_id();
    let mut says = |bytes: usize| {
        let hub = &mut camera.sessions[index(LIVE)];
        let sealed = hub.encrypt_live(&mut camera.journal, (at, 1), &vec![7; bytes]);
        let frame = sealed.unwrap();
        let content = wrap::live::unwrap(&record.receive_key, &mailbox, &frame).unwrap();
        let viewer = &mut phone.sessions[index(LIVE)];
        let opened = viewer.decrypt_live(&mut phone.journal, &frame, Some(at));
        (content.len(), opened.unwrap())
    };
    let almost = LIVE_MLS_BYTES_MAX - 400;
    let (bytes, opened) = says(almost);
    assert!(matches!(opened, Opened::Message { .. }));
    // Around a plaintext of about this length stands as much as around another.
    let longest = almost + (LIVE_MLS_BYTES_MAX - bytes);
    let (bytes, opened) = says(longest);
    assert_eq!(bytes, LIVE_MLS_BYTES_MAX);
    assert!(matches!(opened, Opened::Message { .. }));
    let (bytes, opened) = says(longest + 1);
    assert_eq!(bytes, LIVE_MLS_BYTES_MAX + 1);
    assert!(matches!(opened, Opened::Refused(why) if why.contains("more bytes")));
    // It was passed, and the next is opened.
    assert!(matches!(says(10).1, Opened::Message { .. }));
}

/// Frames are explained by no statement. A phone that missed more than a thousand of them, which is as many as MLS
/// skips unless it is told otherwise, is shown the next.
#[test]
fn scenario_14_a_frame_behind_more_than_a_thousand_missed_ones_is_shown() {
    const FRAMES: u64 = 1_100;
    let (mut camera, mut phone) = five(Suite::Classic);
    let right = session(&mut camera, &mut phone, 1);
    let first = seal(&mut camera, &right, (true, b"first")).unwrap();
    for _ in 2..FRAMES {
        seal(&mut camera, &right, (false, b"missed")).unwrap();
    }
    let last = seal(&mut camera, &right, (false, b"last")).unwrap();
    assert_eq!(part(open(&mut phone, &first)).number, 1);
    let shown = part(open(&mut phone, &last));
    assert_eq!((shown.number, shown.group), (FRAMES, 1));
    assert_eq!(shown.bytes.as_slice(), b"last");
    converge(&mut camera, &mut phone);
}

/// With the copy's own keys and none of the rules: whether MLS opens a frame.
fn opens(thief: &mut Phone, frame: &[u8]) -> bool {
    let at = epoch(thief);
    let Five {
        journal, sessions, ..
    } = thief;
    let opened = sessions[index(LIVE)].decrypt_live(journal, frame, Some(at));
    matches!(opened.unwrap(), Opened::Message { .. })
}

/// Whoever copies the phone in a session opens that session, and no other.
#[test]
fn s3_a_copy_of_the_phone_opens_the_session_in_progress_and_no_finished_one() {
    let (mut camera, mut phone) = five(Suite::Classic);
    let first = session(&mut camera, &mut phone, 1);
    let of_first = group(&mut camera, &first, 3);
    let copy = |phone: &Phone| phone.disk.crash_clone(CrashPolicy::KeepAll, 0);
    let during = copy(&phone);
    let mut txn = phone.journal.begin();
    let enough = phone.sessions[index(LIVE)].send_enough(&mut txn, LiveId([1; 16]));
    drop(txn.commit(enough.unwrap()).unwrap());
    hears(&mut camera, &phone);
    told(&mut phone, &camera);
    // What an app does when the line falls quiet.
    let mut txn = phone.journal.begin();
    phone.sessions[index(LIVE)].rotate(&mut txn);
    drop(txn.commit(()).unwrap());
    let between = copy(&phone);
    let second = session(&mut camera, &mut phone, 2);
    let of_second = group(&mut camera, &second, 3);

    let pairing = phone.pairing;
    let opened = |disk, frames: &[Vec<u8>]| {
        let mut thief = Phone::open(Role::App, disk, pairing, 66);
        thief.sessions = crate::ids::Line::all(pairing).map(Session::new);
        frames
            .iter()
            .filter(|frame| opens(&mut thief, frame))
            .count()
    };
    assert_eq!(opened(during.clone(), &of_first), 3);
    assert_eq!(opened(during, &of_second), 0);
    assert_eq!(opened(between.clone(), &of_first), 0);
    assert_eq!(opened(between, &of_second), 0);
    assert_eq!(opened(copy(&phone), &of_second), 3, "the control");
}
