//! A whole hub that hears a phone which holds the keys and means harm: acks of what was never sent,
//! heartbeats about other channels, commands, new keys at any time.

use std::cell::RefCell;
use std::time::Duration;

use hub::core::{Core, SilenceLimits, Verdict};
use journal::fuzzing;
use journal::ids::{Channel, CommandId, Line, PairingId};
use journal::message::{
    self, Alerts, AppConfigMessage, AppMessage, CameraChange, CameraSettings, ChannelHeld, Command,
    CommandKind, Heartbeat, Settings, SettingsBase,
};
use journal::{Follower, Role, Session};
use wal::disk::SimDisk;
use wire::ids::Seq;

use crate::input::Input;
use crate::pair::{NOW_MS, Pair, copy, open_reported};

/// Most messages of one run.
const MESSAGES_MAX: usize = 8;
/// The heartbeat that new keys are said to belong to; the hub is never told.
const HEARTBEAT: u64 = 1;

thread_local! {
    static PAIR: RefCell<Pair> = RefCell::new(Pair::new());
}

/// Whatever is said, the hub takes it or says that its phone knows more than it should; it lives, and the
/// next start knows the same.
pub(crate) fn hub_core(data: &[u8]) {
    PAIR.with_borrow_mut(|pair| {
        let said = say(pair, &mut Input::new(data));
        let disk = copy(&pair.hub_disk);
        let mut core = start(&disk, 10);
        for (line, seq, envelope) in &said {
            let delivered = core.handle_envelope(*line, *seq, envelope, NOW_MS);
            let delivered = delivered.expect("what a phone says is no error of ours");
            match delivered.verdict {
                Verdict::Taken => assert_eq!(delivered.cursor, *seq),
                Verdict::RolledBack => {}
                other => panic!("{other:?} of what was said inside MLS"),
            }
        }
        core.commit(NOW_MS).expect("a sound disk commits");
        assert!(core.death().is_none(), "the hub died of what a phone said");
        let cursors = |core: &Core| {
            Line::all(pair.pairing).map(|line| core.cursor(line).expect("our own storage"))
        };
        let before = cursors(&core);
        drop(core);
        let core = start(&disk, 20);
        assert_eq!(cursors(&core), before, "a start knows something else");
    });
}

fn start(disk: &SimDisk, mut seed: u64) -> Core {
    let disk = disk.clone();
    let opener = Box::new(move || {
        seed += 1;
        open_reported(Role::Hub, &disk, seed)
    });
    let limits = SilenceLimits::default();
    let mut core = Core::start(opener, limits, NOW_MS).expect("a hub that was paired starts");
    // A camera that can be set.
    let door = ("door".to_owned(), Some(Box::default()));
    core.set_detections([door].into_iter().collect());
    // So long that it carries out a restart.
    let passed = core.handle_elapsed(Duration::from_secs(3600), NOW_MS);
    passed.expect("nothing is in the way of time");
    core
}

/// The phone's envelopes, each line's in order; the phone itself forgets them.
fn say(pair: &mut Pair, input: &mut Input<'_>) -> Vec<(Line, Seq, Vec<u8>)> {
    let mut sessions = Line::all(pair.pairing).map(Session::<Follower>::new);
    let mut said = Vec::new();
    let mut txn = pair.app.begin();
    for _ in 0..MESSAGES_MAX {
        if input.is_empty() {
            break;
        }
        let session = &mut sessions[input.below(Channel::ALL.len())];
        let line = session.line();
        let seq = match input.flag() {
            true => session.propose_update(&mut txn, HEARTBEAT, NOW_MS),
            false => fuzzing::say_as_app(session, &mut txn, &spoken(input)),
        };
        // Behind a proposal a line is mute.
        let Ok(seq) = seq else { continue };
        let envelope = fuzzing::said(&txn, line, seq).expect("our own storage");
        said.push((line, seq, envelope.expect("it is in the outbox")));
    }
    said
}

/// A message of a phone: one that decodes, more often than luck would have it, or any bytes.
fn spoken(input: &mut Input<'_>) -> Vec<u8> {
    let through = |input: &mut Input<'_>| match input.flag() {
        true => input.number(),
        false => u64::from(input.byte() % 4),
    };
    let encoded = match input.byte() % 5 {
        0 => message::encode(&AppMessage::Ack {
            through: through(input),
            digest: [input.byte(); 32],
        }),
        1 => message::encode(&AppConfigMessage::Ack {
            through: through(input),
            digest: [input.byte(); 32],
        }),
        2 => {
            let mut holds = Vec::new();
            for channel in Channel::ALL {
                if input.flag() {
                    holds.push(ChannelHeld {
                        channel,
                        through: through(input),
                        digest: [input.byte(); 32],
                    });
                }
            }
            message::encode(&AppConfigMessage::Heartbeat(Heartbeat {
                number: input.number(),
                sent_unix_ms: input.number(),
                holds,
            }))
        }
        3 => {
            let id = command_id(input);
            let command = Command::new(id, &ordered(input)).expect("our own kinds encode");
            message::encode(&AppConfigMessage::Command(command))
        }
        _ => Some(input.bytes().to_vec()),
    };
    encoded.expect("a message encodes")
}

/// One of a few, so that some are said twice.
fn command_id(input: &mut Input<'_>) -> CommandId {
    CommandId([input.byte() % 3; 16])
}

/// What a phone may order.
fn ordered(input: &mut Input<'_>) -> CommandKind {
    match input.byte() % 9 {
        0 => CommandKind::Privacy { on: input.flag() },
        1 => CommandKind::SetSettings {
            base: match input.flag() {
                true => SettingsBase::Version(u64::from(input.byte() % 4)),
                false => SettingsBase::Command {
                    id: command_id(input),
                    version: u64::from(input.byte() % 4),
                },
            },
            settings: Settings {
                privacy: input.flag(),
                event_seconds_max: input.flag().then(|| input.word() as u32),
                clip_days_max: input.flag().then(|| input.word() as u32),
                alerts: Alerts {
                    motion: input.flag(),
                    storage_full: input.flag(),
                    camera_away: input.flag(),
                },
            },
        },
        2 => CommandKind::SendAgain {
            channel: Channel::ALL[input.below(Channel::ALL.len())],
            from: input.number(),
        },
        3 => CommandKind::Restart,
        4 => CommandKind::Phones,
        5 => CommandKind::Invite,
        6 => CommandKind::Camera {
            camera: "door".into(),
        },
        7 => CommandKind::SetCamera(CameraChange {
            camera: "door".into(),
            base: SettingsBase::Version(u64::from(input.byte() % 4)),
            settings: CameraSettings {
                sensitivity: input.flag().then(|| input.byte()),
                pre_roll_ms: input.flag().then(|| input.word() as u32),
                name: input.flag().then(|| "gate".into()),
                ..CameraSettings::default()
            },
        }),
        _ => CommandKind::Remove {
            phone: PairingId([input.byte(); 16]),
        },
    }
}
