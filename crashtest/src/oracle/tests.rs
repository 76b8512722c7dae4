//! The oracle is not blind: for each promise, facts that break it and nothing else.

use std::time::Instant;

use serde_json::{Value, json};

use super::*;

fn line(role: Role, value: Value) -> Line {
    Line {
        role,
        process: 1,
        at: Instant::now(),
        value,
    }
}

/// Two clips, the second cut off, as a good run leaves them.
fn good() -> Ends {
    let bytes = [b"first clip".to_vec(), b"second".to_vec()];
    let clip = |n: usize, outcome: &str| Clip {
        id: format!("clip{n}"),
        outcome: outcome.into(),
        bytes: bytes[n].len() as u64,
        sha256: Some(hex(&Sha256::digest(&bytes[n]))),
    };
    let clips = vec![clip(0, "complete"), clip(1, "cut_off")];
    let finished = |n: usize| {
        line(
            Role::Hub,
            json!({"event": "clip_finished", "clip": clips[n].id, "bytes": clips[n].bytes,
                   "sha256": clips[n].sha256, "outcome": clips[n].outcome}),
        )
    };
    let media = |seq: u64, n: usize, bytes: u64| {
        line(
            Role::App,
            json!({"event": "media", "clip": clips[n].id, "seq": seq, "bytes": bytes}),
        )
    };
    let history = vec![
        line(Role::Hub, json!({"event": "clip_started", "clip": "clip0"})),
        media(2, 0, 6),
        media(3, 0, 4),
        finished(0),
        line(
            Role::App,
            json!({"event": "clip", "clip": "clip0", "state": "complete", "sha256": clips[0].sha256}),
        ),
        line(Role::App, json!({"event": "acked", "seq": 4})),
        line(Role::Hub, json!({"event": "clip_started", "clip": "clip1"})),
        media(6, 1, 6),
        finished(1),
    ];
    Ends {
        hub_epoch: 3,
        hub_clips: clips.clone(),
        unacked_envelopes: 0,
        acked_through: 8,
        app_epoch: 3,
        app_cursor: 8,
        exports: clips
            .iter()
            .map(|clip| clip.id.clone())
            .zip(bytes.clone())
            .collect(),
        app_clips: clips,
        deleted: BTreeSet::new(),
        removed: BTreeSet::new(),
        notes: notes::tests::good(3),
        history,
        drops_allowed: false,
        stolen: Vec::new(),
        seen: Vec::new(),
    }
}

#[test]
fn a_good_run_passes() {
    assert_eq!(judge(&good()), []);
    assert_eq!(Verdict::of(&Ok(good())), Verdict::Pass);
}

/// What a thief opens, or a search finds, keeps its promise, and hides nothing else that is broken.
#[test]
fn what_was_stolen_is_judged_with_all_else_and_is_no_refusal() {
    let stolen = || vec![Broken::new("S3", "a key in a log")];
    let of = |ends| {
        let broken = stolen();
        Verdict::of(&Err(Trouble::Stolen { broken, ends }))
    };
    assert_eq!(of(None), Verdict::Fatal(stolen()));
    let mut ends = good();
    ends.stolen = stolen();
    assert_eq!(
        of(Some(Box::new(ends.clone()))),
        Verdict::Fatal(judge(&ends))
    );
    ends.app_epoch = 2;
    let Verdict::Fatal(broken) = of(Some(Box::new(ends))) else {
        panic!("it is fatal");
    };
    let promises: Vec<&str> = broken.iter().map(|one| one.promise).collect();
    assert!(promises.contains(&"C1") && promises.contains(&"S3"));
}

#[test]
fn each_broken_fact_is_seen() {
    type Break = fn(&mut Ends);
    let table: [(&str, &str, Break); 19] = [
        ("epochs differ", "C1", |e| e.app_epoch = 2),
        ("nothing was recorded", "C1", |e| {
            e.hub_clips.clear();
            e.app_clips.clear();
            e.history.clear();
        }),
        ("a clip is missing", "C2", |e| drop(e.app_clips.remove(1))),
        ("a clip nobody recorded", "C2", |e| {
            let mut clip = e.app_clips[0].clone();
            clip.id = "other".into();
            e.app_clips.push(clip);
        }),
        ("another digest", "C2", |e| {
            e.app_clips[0].sha256 = Some("00".into())
        }),
        ("no digest at either end", "C2", |e| {
            e.app_clips[0].sha256 = None;
            e.hub_clips[0].sha256 = None;
        }),
        ("another state", "C2", |e| {
            e.app_clips[1].outcome = "complete".into()
        }),
        ("a damaged clip that the hub did not drop", "C2", |e| {
            e.app_clips[1].outcome = "damaged".into();
        }),
        ("the export is another file", "C2", |e| {
            e.exports.get_mut("clip0").unwrap()[3] ^= 1;
        }),
        ("the export is short", "C2", |e| {
            e.exports.get_mut("clip0").unwrap().pop();
        }),
        ("no export", "C2", |e| drop(e.exports.remove("clip0"))),
        ("un-acked at rest", "C2", |e| e.unacked_envelopes = 1),
        ("a chunk twice", "C2", |e| {
            let again = e.history[1].clone();
            e.history.insert(2, again);
        }),
        ("a deleted clip is back", "C2", |e| {
            e.deleted.insert("clip0".into());
        }),
        ("chunks out of order", "C2", |e| e.history.swap(1, 2)),
        ("the app went back behind what it said", "C4", |e| {
            e.app_cursor = 5
        }),
        ("an announced clip is gone at both ends", "C4", |e| {
            e.hub_clips.remove(0);
            e.app_clips.remove(0);
        }),
        ("a finished clip changed", "C4", |e| {
            e.hub_clips[0].bytes = 9;
            e.app_clips[0].bytes = 9;
        }),
        ("an ack above the cursor", "C4", |e| e.acked_through = 9),
    ];
    for (name, promise, damage) in table {
        let mut ends = good();
        damage(&mut ends);
        let broken = judge(&ends);
        assert!(
            broken.iter().any(|broken| broken.promise == promise),
            "{name}: {broken:?}"
        );
    }
}

#[test]
fn a_rollback_that_never_was_is_a_false_alarm() {
    let mut ends = good();
    let alarm = json!({"event": "standing", "state": "rolled_back"});
    ends.history.push(line(Role::Hub, alarm));
    let promises: Vec<&str> = judge(&ends).iter().map(|one| one.promise).collect();
    assert_eq!(promises, ["C8"]);
}

#[test]
fn a_dropped_clip_needs_both_ends_to_say_so() {
    let mut ends = good();
    ends.hub_clips[1].outcome = "dropped".into();
    assert!(!judge(&ends).is_empty());
    ends.app_clips[1].outcome = "damaged".into();
    ends.history
        .retain(|line| !(line.role == Role::App && line.text("clip") == "clip1"));
    // Even so: a clip is lost, and nobody damaged a byte of it.
    assert!(judge(&ends).iter().any(|broken| broken.promise == "C2"));
    ends.drops_allowed = true;
    assert_eq!(judge(&ends), []);
    ends.app_clips[1].outcome = "dropped".into();
    assert_eq!(judge(&ends), []);
}

#[test]
fn a_deleted_clip_is_only_missing_at_the_app() {
    let mut ends = good();
    ends.app_clips.remove(0);
    ends.deleted.insert("clip0".into());
    assert_eq!(judge(&ends), []);
}

#[test]
fn swapped_peers_do_not_pass() {
    let mut other = good();
    for clip in other.app_clips.iter_mut().chain(&mut other.hub_clips) {
        clip.id.push('x');
    }
    let mut ends = good();
    ends.app_clips = other.app_clips;
    assert!(matches!(Verdict::of(&Ok(ends)), Verdict::Fatal(_)));
}

#[test]
fn a_refusal_is_neither_pass_nor_fatal_and_a_crash_is_fatal() {
    use std::os::unix::process::ExitStatusExt as _;
    let ended = |raw: i32, said: &str| {
        Err(Trouble::Ended {
            role: Role::Hub,
            status: std::process::ExitStatus::from_raw(raw),
            said: said.into(),
        })
    };
    assert!(matches!(
        Verdict::of(&ended(4 << 8, "damaged; restore it")),
        Verdict::Refused { code: 4, .. }
    ));
    // Without a word, with a panic's code, or by a signal: not documented.
    assert!(matches!(Verdict::of(&ended(4 << 8, "")), Verdict::Fatal(_)));
    assert!(matches!(
        Verdict::of(&ended(101 << 8, "panicked")),
        Verdict::Fatal(_)
    ));
    assert!(matches!(Verdict::of(&ended(9, "")), Verdict::Fatal(_)));
}
