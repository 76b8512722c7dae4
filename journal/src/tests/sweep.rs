//! A crash at every disk operation of a whole conversation, under every policy, at either end: the
//! two ends converge, nothing accepted is lost, nothing is encrypted twice (C1, C2, C3, C4).

use std::collections::BTreeMap;

use wal::disk::{CrashPolicy, SimDisk};
use wire::ids::{Digest, Seq};

use super::harness::{App, Hub, converge, paired, settle};
use crate::ids::{ClipId, Line};
use crate::library::AppClipState;
use crate::{Closed, Role};

/// Every policy once, and those that throw dice twice.
fn crashes(state: u64) -> impl Iterator<Item = (CrashPolicy, u64)> {
    let fixed = |policy: &CrashPolicy| {
        matches!(
            policy,
            CrashPolicy::ProcessKill | CrashPolicy::LoseAll | CrashPolicy::KeepAll
        )
    };
    CrashPolicy::ALL.into_iter().flat_map(move |policy| {
        (0..if fixed(&policy) { 1 } else { 2 }).map(move |n| (policy, 2 * state + n))
    })
}

/// Everything that one end ever let out: the relay's memory.
#[derive(Default, Clone)]
struct Relay(BTreeMap<u64, Vec<u8>>);

impl Relay {
    /// Stores what `sent` holds; the same number with other bytes is the fork that must not be.
    fn store(&mut self, sent: Vec<(Seq, wire::envelope::Envelope)>) {
        for (seq, envelope) in sent {
            let bytes = envelope.into_bytes();
            let known = self.0.entry(seq.0).or_insert_with(|| bytes.clone());
            assert_eq!(
                Digest::of(known),
                Digest::of(&bytes),
                "{seq:?} was sent with two contents"
            );
        }
    }

    fn deliver(&self, app: &mut App) {
        for (seq, bytes) in &self.0 {
            app.take(Seq(*seq), bytes);
        }
    }
}

/// One step of the conversation that the hub is crashed in.
type Step = fn(&mut Hub, &mut Vec<(ClipId, Vec<u8>)>);

const STEPS: [Step; 5] = [
    |hub, clips| {
        let clip = hub.start_clip();
        clips.push((clip, Vec::new()));
    },
    |hub, clips| grow(hub, clips, b"first chunk "),
    |hub, clips| grow(hub, clips, &[7; 9000]),
    |hub, clips| {
        let clip = clips.last().unwrap().0;
        hub.finish(clip);
    },
    |hub, clips| {
        let clip = hub.record(&[b"second clip"]);
        clips.push((clip, b"second clip".to_vec()));
    },
];

fn grow(hub: &mut Hub, clips: &mut [(ClipId, Vec<u8>)], bytes: &[u8]) {
    let (clip, whole) = clips.last_mut().unwrap();
    hub.chunk(*clip, bytes);
    whole.extend_from_slice(bytes);
}

#[test]
fn the_hub_may_die_at_any_operation() {
    let (mut hub, app) = paired();
    let (line, app_disk) = (hub.line(), app.disk.clone());
    drop(app);
    let mut relay = Relay::default();
    let mut clips: Vec<(ClipId, Vec<u8>)> = Vec::new();
    let mut states = 0;
    for step in STEPS {
        hub.disk.record_snapshots();
        let accepted = clips.clone();
        step(&mut hub, &mut clips);
        for (i, snapshot) in hub.disk.snapshots().iter().enumerate() {
            for (policy, seed) in crashes(i as u64) {
                let disk = snapshot.crash_clone(policy, seed);
                let app_disk = app_disk.crash_clone(CrashPolicy::KeepAll, 0);
                check(disk, app_disk, line, relay.clone(), &accepted, &clips, seed);
                states += 1;
            }
        }
        // Only now does anything of this step leave: the send comes after the commit.
        relay.store(hub.outgoing(Seq(0)));
    }
    assert!(states > 250, "only {states} states");
}

/// A hub restarted from `disk` and an app that has heard nothing yet, with a relay that holds all
/// that ever left.
fn check(
    disk: SimDisk,
    app_disk: SimDisk,
    line: Line,
    mut relay: Relay,
    accepted: &[(ClipId, Vec<u8>)],
    attempted: &[(ClipId, Vec<u8>)],
    seed: u64,
) {
    let (mut hub, closed) = Hub::start(disk, line, 1000 + seed);
    relay.store(hub.outgoing(Seq(0)));
    let mut app = App::open(Role::App, app_disk, line, 2000 + seed);
    relay.deliver(&mut app);
    for (clip, bytes) in accepted {
        let got = app.bytes_of(*clip);
        let tried = attempted
            .iter()
            .find(|(id, _)| id == clip)
            .map_or(bytes, |(_, bytes)| bytes);
        assert!(got.starts_with(bytes), "an accepted chunk is lost");
        assert!(tried.starts_with(&got), "bytes that were never given");
    }
    for clip in app.journal.app_clips(line.pairing).unwrap() {
        let good = matches!(clip.state, AppClipState::Complete | AppClipState::CutOff);
        assert!(good, "{:?} after {closed:?}", clip.state);
    }
    if let Closed::CutOff(ends) = &closed {
        let [end] = &ends[..] else {
            panic!("{ends:?}");
        };
        let clip = app.journal.app_clip(end.clip).unwrap();
        assert_eq!((clip.state, clip.bytes), (AppClipState::CutOff, end.bytes));
    }
    converge(&mut hub, &mut app);
}

#[test]
fn scenario_15_the_app_may_die_at_any_operation() {
    let (mut hub, mut app) = paired();
    let clip = hub.record(&[b"one", &[3; 9000], b"three"]);
    let second = hub.record(&[b"second"]);
    let line = hub.line();
    app.disk.record_snapshots();
    let sent = hub.outgoing(Seq(0));
    for (seq, envelope) in &sent {
        app.take(*seq, envelope.as_bytes());
    }
    app.ack();
    let hub_disk = hub.disk.clone();
    drop(hub);
    let mut states = 0;
    for (i, snapshot) in app.disk.snapshots().iter().enumerate() {
        for (policy, seed) in crashes(i as u64) {
            let disk = snapshot.crash_clone(policy, seed);
            let mut again = App::open(Role::App, disk, line, 3000 + i as u64);
            let (mut hub, _) = Hub::start(
                hub_disk.crash_clone(CrashPolicy::KeepAll, 0),
                line,
                4000 + i as u64,
            );
            settle(&mut hub, &mut again);
            let mut whole = b"one".to_vec();
            whole.extend_from_slice(&[3; 9000]);
            whole.extend_from_slice(b"three");
            assert_eq!(again.bytes_of(clip), whole, "state {i} {policy:?}");
            assert_eq!(again.bytes_of(second), b"second");
            converge(&mut hub, &mut again);
            states += 1;
        }
    }
    assert!(states > 250, "only {states} states");
}
