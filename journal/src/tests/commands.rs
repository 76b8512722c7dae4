//! What both ends remember of commands, and how the hub answers: in one epoch, that is finished at once.

use wire::ids::Seq;

use super::harness::{App, Hub, NOW_MS, paired};
use crate::ids::{Channel, CommandId, Line};
use crate::keys;
use crate::message::{
    CameraDoc, CameraSettings, CommandKind, CommandResult, HeartbeatAnswer, HubConfigMessage,
    HubReport, Outcome, Refusal, Settings, SettingsBase, SettingsDoc,
};
use crate::{
    CAMERAS_SET_MAX, COMMANDS_DONE_KEPT, COMMANDS_PENDING_MAX, Committer, EpochUse, Follower,
    JournalError, OUTCOMES_KEPT, Received, Session, SettingsSaid, Taken, Takes,
};

fn config(hub: &Hub) -> Line {
    Line::of(hub.line().pairing, Channel::Config)
}

fn doc(version: u64, seconds: u32) -> SettingsDoc {
    SettingsDoc {
        version,
        made_by: None,
        settings: Settings {
            privacy: false,
            event_seconds_max: Some(seconds),
            ..Settings::default()
        },
    }
}

/// The hub says these in one epoch.
fn say(hub: &mut Hub, messages: &[HubConfigMessage]) -> Seq {
    let mut session = Session::<Committer>::new(config(hub));
    let mut txn = hub.journal.begin();
    let said = session.say(&mut txn, messages).unwrap();
    txn.commit(said).unwrap().into_inner()
}

/// The app takes what the hub has said in the config channel.
fn listen(hub: &Hub, app: &mut App) -> Vec<Taken> {
    let line = config(hub);
    let mut session = Session::<Follower>::new(line);
    let mut all = Vec::new();
    let mut at = app.journal.inbox_head(line).unwrap().cursor;
    while let Some((seq, envelope)) = hub.journal.outbox_next(line, at).unwrap() {
        let mut txn = app.journal.begin();
        let taken = session.take(&mut txn, seq, envelope.as_bytes(), NOW_MS);
        all.push(txn.commit(taken.unwrap()).unwrap().into_inner());
        at = seq;
    }
    all
}

fn give(app: &mut App, line: Line, kind: CommandKind) -> Option<CommandId> {
    let mut txn = app.journal.begin();
    let id = txn.add_command(line.pairing, kind, NOW_MS).unwrap();
    txn.commit(id).unwrap().into_inner()
}

#[test]
fn several_things_are_said_in_one_epoch_that_is_finished_with_them() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    let before = hub.journal.outbox_head(line).unwrap().last;
    let id = CommandId([1; 16]);
    let result = CommandResult::Done;
    let said = [
        HubConfigMessage::Settings(doc(3, 30)),
        HubConfigMessage::Outcome(Outcome { id, result }),
    ];
    let last = say(&mut hub, &said);
    assert_eq!(last.0, before.0 + 3, "a Commit, and both");
    let used = hub.journal.epoch_use(line).unwrap();
    assert!(matches!(used, Some(EpochUse::Finished { .. })), "{used:?}");
    let taken = listen(&hub, &mut app);
    assert!(
        matches!(
            taken[..],
            [Taken::NewEpoch(_), Taken::Settings(_), Taken::Nothing(_)]
        ),
        "{taken:?}"
    );
    let book = app.journal.commands(line.pairing).unwrap();
    assert_eq!(book.settings, doc(3, 30));
}

/// What is due goes into the epoch that a heartbeat has opened in the same transaction: no second Commit.
#[test]
fn what_is_due_shares_the_epoch_of_a_heartbeat() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    let mut phone = Session::<Follower>::new(line);
    let mut txn = app.journal.begin();
    let seq = phone.propose_update(&mut txn, 1, NOW_MS).unwrap();
    drop(txn.commit(()).unwrap());
    let (_, envelope) = app.journal.outbox_next(line, Seq(0)).unwrap().unwrap();
    let before = hub.journal.outbox_head(line).unwrap().last;
    let mut session = Session::<Committer>::new(line);
    let mut txn = hub.journal.begin();
    let takes = Takes::MessagesAndProposals;
    let arrived = session.receive(&mut txn, seq, envelope.as_bytes(), takes);
    assert!(matches!(arrived.unwrap().received, Received::Healed(_)));
    session
        .say(&mut txn, &[HubConfigMessage::Settings(doc(1, 5))])
        .unwrap();
    // It is finished: nothing more is said in it.
    let answer = HeartbeatAnswer {
        number: 1,
        answered_unix_ms: NOW_MS,
        version: String::new(),
        epochs: Vec::new(),
        status: HubReport::default(),
    };
    let late = session.answer(&mut txn, &answer);
    assert!(matches!(late, Err(JournalError::NoRightToEncrypt(_))));
    drop(txn.commit(()).unwrap());
    let after = hub.journal.outbox_head(line).unwrap().last;
    assert_eq!(after.0, before.0 + 2);
    let taken = listen(&hub, &mut app);
    assert!(matches!(taken[..], [Taken::Healed(_), Taken::Settings(_)]));
}

#[test]
fn commands_belong_to_the_config_channel_and_an_epoch_says_something() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    let doc = HubConfigMessage::Settings(doc(1, 5));
    let mut txn = hub.journal.begin();
    let refused = hub.session.say(&mut txn, &[doc]);
    assert!(matches!(refused, Err(JournalError::Misuse(_))));
    let mut session = Session::<Committer>::new(line);
    let refused = session.say(&mut txn, &[]);
    assert!(matches!(refused, Err(JournalError::Misuse(_))));
    drop(txn);
    let mut txn = app.journal.begin();
    let refused = app.session.send_command(&mut txn, NOW_MS);
    assert!(matches!(refused, Err(JournalError::Misuse(_))));
    drop(txn);
    assert!(listen(&hub, &mut app).is_empty());
}

#[test]
fn a_change_starts_from_all_that_was_ordered_before_it() {
    let (hub, mut app) = paired();
    let line = config(&hub);
    let to_change = |app: &App| app.journal.commands(line.pairing).unwrap().to_change();
    let nothing = Settings::default();
    assert_eq!(to_change(&app), (SettingsBase::Version(0), nothing));
    let first = give(&mut app, line, CommandKind::Privacy { on: true }).unwrap();
    give(&mut app, line, CommandKind::Restart).unwrap();
    let private = Settings {
        privacy: true,
        ..nothing
    };
    let made_by = |id, version| SettingsBase::Command { id, version };
    assert_eq!(to_change(&app), (made_by(first, 1), private));
    let mut txn = app.journal.begin();
    let wanted = Settings {
        event_seconds_max: Some(9),
        ..private
    };
    let second = txn.add_settings(line.pairing, wanted, NOW_MS).unwrap();
    drop(txn.commit(()).unwrap());
    let base = made_by(second.unwrap(), 2);
    assert_eq!(to_change(&app), (base, wanted));
    let book = app.journal.commands(line.pairing).unwrap();
    let CommandKind::SetSettings { base, .. } = book.pending[2].kind else {
        panic!("{book:?}");
    };
    assert_eq!(base, made_by(first, 1));
}

/// Whether a restart is wanted is asked with every sync: what rots there must not hold them up.
#[test]
fn a_wish_for_a_restart_that_cannot_be_read_is_none() {
    let (mut hub, _app) = paired();
    let mut txn = hub.journal.begin();
    txn.put(keys::RESTART, &[0xff]);
    drop(txn.commit(()).unwrap());
    assert_eq!(hub.journal.restart_wanted().unwrap(), None);
    let again = CommandId([2; 16]);
    let mut txn = hub.journal.begin();
    txn.want_restart(again).unwrap();
    drop(txn.commit(()).unwrap());
    assert_eq!(hub.journal.restart_wanted().unwrap(), Some(again));
}

fn sensitive(sensitivity: u8) -> CameraSettings {
    CameraSettings {
        sensitivity: Some(sensitivity),
        ..CameraSettings::default()
    }
}

fn camera(name: &str, version: u64) -> CameraDoc {
    CameraDoc {
        version,
        settings: sensitive(version as u8),
        ..CameraDoc::unset(name)
    }
}

/// What an app knows of a camera is what it was answered; the newest answer counts, and what waits stands on it.
#[test]
fn a_change_of_a_camera_starts_from_what_was_said_of_that_camera() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    let to_change = |app: &App, name: &str| {
        app.journal
            .commands(line.pairing)
            .unwrap()
            .camera_to_change(name)
    };
    assert_eq!(to_change(&app, "door"), None);
    let results = [
        CommandResult::CameraConflict(camera("door", 4)),
        CommandResult::Camera(camera("door", 3)),
        CommandResult::Camera(camera("yard", 9)),
    ];
    for result in results {
        let asked = CommandKind::Camera {
            camera: "door".into(),
        };
        let id = give(&mut app, line, asked).unwrap();
        say(
            &mut hub,
            &[HubConfigMessage::Outcome(Outcome { id, result })],
        );
        listen(&hub, &mut app);
    }
    let known = Some((SettingsBase::Version(4), sensitive(4)));
    assert_eq!(to_change(&app, "door"), known);
    let mut set = |camera: &str, settings: CameraSettings| -> Result<CommandId, JournalError> {
        let mut txn = app.journal.begin();
        let id = txn.add_camera_settings(line.pairing, (camera, settings), NOW_MS)?;
        drop(txn.commit(()).unwrap());
        Ok(id.unwrap())
    };
    let first = set("door", sensitive(70)).unwrap();
    let second = set("door", sensitive(71)).unwrap();
    set("attic", sensitive(1)).unwrap();
    let large = CameraSettings {
        masks: Some(vec![vec![(1000, 1000); 200]]),
        ..CameraSettings::default()
    };
    assert!(matches!(set("door", large), Err(JournalError::Misuse(_))));
    let made_by = |id, version| SettingsBase::Command { id, version };
    let wanted = Some((made_by(second, 6), sensitive(71)));
    assert_eq!(to_change(&app, "door"), wanted);
    let book = app.journal.commands(line.pairing).unwrap();
    let bases: Vec<SettingsBase> = book
        .pending
        .iter()
        .map(|pending| match &pending.kind {
            CommandKind::SetCamera(change) => change.base,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        SettingsBase::Version(4),
        made_by(first, 5),
        SettingsBase::Version(0),
    ];
    assert_eq!(bases, expected);
}

#[test]
fn a_hub_keeps_one_version_of_each_camera_and_no_more_cameras_than_it_may_have() {
    let (mut hub, _app) = paired();
    let mut txn = hub.journal.begin();
    assert!(txn.cameras_set().unwrap().is_empty());
    let all = |_: &str| true;
    for number in 0..CAMERAS_SET_MAX {
        let doc = camera(&format!("{number}"), 1);
        assert!(txn.put_camera_set(&doc, all).unwrap());
    }
    assert!(txn.put_camera_set(&camera("0", 2), all).unwrap());
    assert_eq!(txn.cameras_set().unwrap().len(), CAMERAS_SET_MAX);
    let more = camera("one more", 1);
    assert!(!txn.put_camera_set(&more, all).unwrap(), "no place");
    // The one that was set first stays: it is still there.
    let is_there = |name: &str| name != "3" && name != "5";
    assert!(txn.put_camera_set(&more, is_there).unwrap());
    drop(txn.commit(()).unwrap());
    let kept = hub.journal.cameras_set().unwrap();
    assert_eq!(kept.len(), CAMERAS_SET_MAX);
    assert_eq!(kept.first(), Some(&camera("0", 2)));
    let has = |name: &str| kept.iter().any(|doc| doc.camera == name);
    assert!(!has("3") && has("5"));
    assert_eq!(kept.last(), Some(&more));
}

/// What is set is asked for with every sync and at every start: what rots there must not hold them up.
#[test]
fn what_is_set_at_cameras_and_cannot_be_read_is_nothing() {
    let (mut hub, _app) = paired();
    let mut txn = hub.journal.begin();
    txn.put(keys::CAMERAS, &[0xff]);
    drop(txn.commit(()).unwrap());
    assert!(hub.journal.cameras_set().unwrap().is_empty());
    let mut txn = hub.journal.begin();
    let door = camera("door", 1);
    assert!(txn.put_camera_set(&door, |_| true).unwrap());
    drop(txn.commit(()).unwrap());
    assert_eq!(hub.journal.cameras_set().unwrap(), [door]);
}

/// The owner may have forbidden to record.
#[test]
fn settings_that_cannot_be_read_are_privacy_mode_in_a_version_that_no_phone_knows() {
    let (mut hub, _app) = paired();
    let pairing = config(&hub).pairing;
    assert!(!hub.journal.are_settings_lost().unwrap());
    let mut txn = hub.journal.begin();
    let said = SettingsSaid {
        version: 7,
        said: Seq(1),
    };
    txn.put_settings_said(pairing, said).unwrap();
    txn.put(keys::SETTINGS, &[0xff]);
    assert!(txn.settings().unwrap().settings.privacy);
    drop(txn.commit(()).unwrap());
    assert!(hub.journal.are_settings_lost().unwrap());
    let closed = hub.journal.settings().unwrap();
    assert_eq!((closed.version, closed.settings.privacy), (8, true));
    let mut txn = hub.journal.begin();
    txn.put_settings(&closed).unwrap();
    drop(txn.commit(()).unwrap());
    assert!(!hub.journal.are_settings_lost().unwrap());
    assert_eq!(hub.journal.settings().unwrap(), closed);
}

/// Neither end remembers without a limit.
#[test]
fn what_is_remembered_has_its_limits() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    let mut given = Vec::new();
    for _ in 0..COMMANDS_PENDING_MAX {
        given.extend(give(&mut app, line, CommandKind::Restart));
    }
    assert_eq!(given.len(), COMMANDS_PENDING_MAX);
    assert_eq!(give(&mut app, line, CommandKind::Restart), None);
    // Answered, they make room, and the oldest of those is forgotten.
    for round in 0..2 {
        let result = CommandResult::Refused(Refusal::NotUnderstood);
        for id in given.drain(..) {
            let result = result.clone();
            say(
                &mut hub,
                &[HubConfigMessage::Outcome(Outcome { id, result })],
            );
        }
        let taken = listen(&hub, &mut app);
        let done = taken
            .iter()
            .filter(|taken| matches!(taken, Taken::CommandDone(_)));
        assert_eq!(done.count(), COMMANDS_PENDING_MAX, "round {round}");
        let book = app.journal.commands(line.pairing).unwrap();
        assert_eq!(
            (book.pending.len(), book.done.len()),
            (0, COMMANDS_DONE_KEPT)
        );
        for _ in 0..COMMANDS_PENDING_MAX {
            given.extend(give(&mut app, line, CommandKind::Restart));
        }
    }
    let pairing = line.pairing;
    let id = |n: usize| CommandId([n as u8; 16]);
    for n in 0..=OUTCOMES_KEPT {
        let mut txn = hub.journal.begin();
        let outcome = (id(n), CommandResult::Done);
        txn.remember_outcome(pairing, outcome, Seq(n as u64 + 1))
            .unwrap();
        drop(txn.commit(()).unwrap());
    }
    let txn = hub.journal.begin();
    let known = |n| txn.remembered_outcome(pairing, id(n)).unwrap().is_some();
    assert!(!known(0), "the oldest went");
    assert!((1..=OUTCOMES_KEPT).all(known));
}

/// An answer that comes late says nothing about the settings of today.
#[test]
fn an_older_version_of_the_settings_does_not_take_the_place_of_a_newer_one() {
    let (mut hub, mut app) = paired();
    let line = config(&hub);
    say(&mut hub, &[HubConfigMessage::Settings(doc(4, 40))]);
    let id = CommandId([1; 16]);
    let result = CommandResult::Changed(doc(3, 30));
    say(
        &mut hub,
        &[HubConfigMessage::Outcome(Outcome { id, result })],
    );
    listen(&hub, &mut app);
    let book = app.journal.commands(line.pairing).unwrap();
    assert_eq!(book.settings, doc(4, 40));
    assert!(book.done.is_empty());
}
