//! Inputs to begin with, made by the code itself: each sound thing that a parser knows.
//!
//! They are committed under `crashtest/fuzz/seeds`, one folder for each target. Inputs that are programs
//! begin from sound bytes anyway, so a few choices are enough. It must throw no dice:
//! what is committed must be what is made.

mod camera;

use journal::DEVICE_SECRET_BYTES;
use journal::ids::{Channel, ClipId, CommandId, LiveId, PairingId};
use journal::message::{
    self, AddedPhone, AddedPhones, Alerts, AppConfigMessage, AppLiveMessage, AppMessage,
    CameraChange, CameraDoc, CameraSettings, ChannelHeld, ClipEnd, ClipHeader, Command,
    CommandKind, CommandResult, DropReason, EventNotice, Heartbeat, HeartbeatAnswer,
    HubConfigMessage, HubLiveMessage, HubMessage, HubNotification, HubReport, InviteFailure,
    InviteNews, Invited, LiveBegun, LiveEnd, LiveEnded, LiveFrame, LiveStart, LiveWish,
    NotRecorded, NoticeKind, Outcome, PhoneFacts, QuietSetting, Settings, SettingsBase,
    SettingsDoc, SignedStatement, Statement,
};
use relay_client::RelayAddress;
use wal::Lsn;
use wal::record::{FileHeader, FileKind, GroupDraft, Identity, Record, Seal, encode_group};
use wire::frame::{Guest, Revocation};
use wire::ids::{Digest, Head, SendId, Seq, Slot};
use wire::{
    Certificate, Class, DeviceId, Frame, Invitation, ReceiveId, ReceiveState, RelayId, SendState,
};

/// The name and the bytes of an input.
pub type Seed = (String, Vec<u8>);

/// The inputs of a target; none for a name that is no target's.
#[must_use]
pub fn of(target: &str) -> Vec<Seed> {
    match target {
        "fields" => programs(&[&[7; 23]]),
        "frame" => frames(),
        "relay_answers" => relay_answers(),
        // Two envelopes, read, acked, asked for, and a third; an invitation that is used and taken back with a mailbox; any
        // bytes, and mailboxes given up for nobody.
        "relay_store" => programs(&[
            b"\0\0\0\0\x02\x01\0A\0c\x80\x02\x02\x01B\0c\x01\x01\0\0\x81\x03\x01\0\x04\x02\x80\x02\x03\x02C\0c",
            b"\0\0\0\0\x02\x01\0A\0c\x01\x06\0\x01\x80\x07\x01\0\x01\0\x01\x06\0\x01\0\x05",
            b"\x01\0\x01\0\x08\0\x04data\0\x07\x03\0\0",
        ]),
        "credential" => credentials(),
        "address" => addresses(),
        // A key by itself; then a sound one: as it is, with another one beside it, and changed.
        "raw_key" => programs(&[
            b"0*0\x05\x06\x03+ep\x03!\0a key of Ed25519, 32 bytes of it",
            b"\0\0",
            b"\0\x01",
            b"\0\0\x01\0\x08\x01",
            b"\0\0\x02\0\x2b",
        ]),
        "offer" => texts(&[
            "SECLUSO1:",
            "SECLUSO1:AAAAAA",
            "SECLUSODEVICE1:",
            "SECLUSODEVICE1:AAAAAA",
        ]),
        "lan" => {
            let sound = crate::lan::sound();
            let sound: Vec<&[u8]> = sound.iter().map(Vec::as_slice).collect();
            programs(&sound)
        }
        "pairing_message" => pairing_messages(),
        // Two short ones; one that is too long, with more behind it; one and a half.
        "pairing_stream" => programs(&[
            b"\0\0\0\x02hi\0\0\0\0",
            b"\xff\xff\xff\xff\0\0\0\x01x",
            b"\0\0\0\x01x\0\0\0\x09half",
        ]),
        "pairing_hub" | "pairing_app" => moments(),
        "envelope" | "mls_hub" | "mls_app" => lines(),
        "wrap_body" => [lines(), covers()].concat(),
        "message" => messages(),
        "said_hub" => said_hub(),
        // An ack on its own line; a heartbeat that holds the first of each; new keys on two lines.
        "hub_core" => programs(&[
            b"\0\0\0\0\0\0\0",
            b"\0\x04\0\x02\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\x01\0\0\0\0\0\0\0\0\x09",
            b"\0\x04\x01\0\x02\x01",
        ]),
        "said_app" => programs(&[
            b"\0\0\0\x01abcdefgh\0\x04door\0\x09video/mp4\x01\x01\0abcdefgh\0\x03abc\x02\x01",
            b"\0\x01\x04\0\0\x05hello",
            b"\0\x03\x05\0\0\x04door\x07\x05\0\0\x04door\x07",
            b"\0\x04\x06\0\x09\0\0\0\0\0\0\0\x02",
        ]),
        // A frame as it is, one with a byte changed, any bytes under the wrap, and two that a hub says.
        "live_frame" => programs(&[
            b"\0\0",
            b"\0\0\x01\0\x30\xff",
            b"\x01\x01no MLS message",
            b"\x02\0\0\0\0\0\0\0\x05\x01\0\0\0\x01\x09\0\x04init\0\0\0\0\0\0\0\x01\x01a picture",
            b"\x02\0\0\0\0\0\0\0\x05\x01\0\0\x01\0\0\0\0\0\0\0\0\x01\x01a picture",
        ]),
        // Each frame begins a group or ends a fragment; brought in order, with holes, late, damaged.
        "live_run" => programs(&[
            b"\x05\x08\x0b\x0f\x18\x09\x1f",
            b"\x05\x08\x09\x0b\x08\x09\x0b\0\x01\0\x10\0\0",
            b"\x07\x08\x0d\x0f\x09\x88\x0b\x0d\x09\0\0\x02\x01\x03\0\x24\0\x07\0\x10",
        ]),
        // A clip and its end; a picture; a notification and a clip of its event; a live session.
        "app_core" => programs(&[
            b"\0\0\0\x01abcdefgh\0\x04door\0\x09video/mp4\0\0\0\x01\x01\0abcdefgh\0\x03abc\0\0\0\x02\x01\0\x01\0\x03\x09abcdefgh",
            b"\0\x01\0\x02abcdefgh\0\x04door\0\x0aimage/jpeg\0\x01\0\x01\x02\0abcdefgh\0\x03abc",
            b"\0\x03\x05\0\0\x04door\x07\0\0\0\x01\0\0\0\0\0\0\0\x07\0\x04door\0\x09video/mp4",
            b"\0\x02\x06\0\x09\0\0\0\0\0\0\0\x02",
        ]),
        // A question and an altered one; the honest answer, from another hub, to another question, and altered.
        "printed" => programs(&[
            b"\x01",
            b"\x01\x01\0\x05\xff",
            b"\0\0\0\0",
            b"\0\0\0\x01",
            b"\0\0\x01\0",
            b"\0\0\0\0\x01\0\x40\x01",
        ]),
        "metrics_request" => texts(&[
            "GET /metrics HTTP/1.1\r\nHost: localhost:9464\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: [::1]:9464\r\nAccept: */*\r\n\r\n",
            "GET /metrics HTTP/1.1\r\nhost: camera.example\r\n\r\n",
            "POST /metrics HTTP/1.0\r\n\r\nbody",
        ]),
        "person_score" => texts(&["0.834\n", "1", "-0", "1e-3", "nan", "1.01", "a person"]),
        "command_stream" => camera::command_streams(),
        "rtsp_frames" => camera::rtsp_frames(),
        "rtsp_times" => camera::rtsp_times(),
        "codec_configs" => camera::codec_configs(),
        "camera_address" => camera::addresses(),
        "detection" => camera::detections(),
        "decoder" => camera::decoders(),
        "statement" => programs(&[b"\0\0\0\x01\x01\x07\0", b"\x02\0\0\x01\x03\x07\x01"]),
        "log_record" => log_records(),
        "recover_engine" | "recover_journal" | "recover_app" | "recover_relay" => directories(),
        "device_secret" => device_secrets(),
        "hub_config" => texts(&[HUB_CONFIG, HUB_CAMERAS]),
        "relay_config" => texts(&[
            "identity_key = \"id.key\"\ndata_dir = \"data\"\n",
            RELAY_CONFIG,
        ]),
        "control" => texts(&[
            r#"{"ask":"status"}"#,
            r#"{"ask":"pair"}"#,
            r#"{"ask":"stop"}"#,
            r#"{"ask":"phones"}"#,
            r#"{"ask":"remove","phone":"1a2b3c4d"}"#,
            r#"{"ask":"retained"}"#,
            r#"{"ask":"secret"}"#,
        ]),
        "hub_answers" => texts(&HUB_ANSWERS),
        "json_line" => texts(&[r#"{"event":"offer","qr":"SECLUSO1:","expires_unix_ms":1}"#]),
        "avc" => programs(&[
            &[1, 0x42, 0, 30, 0xff, 0xe1, 0, 1, 0x67, 1, 0, 2, 0x68, 1],
            &[1, 0x64, 0, 31, 0xff, 0xe0, 0],
        ]),
        "camera_units" => programs(&[&camera_units()]),
        // Of `mp4` they are clips of the hub's own tests.
        _ => Vec::new(),
    }
}

const HUB_CONFIG: &str = r#"state_dir = "state"
relay = "127.0.0.1:4433/BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"
device_secret_file = "device.secret"
reset_file = "boot/secluso-reset"

[pairing]
listen = "0.0.0.0:0"
addresses = ["192.0.2.1"]
suite = "classic"
offer_seconds = 600

[phones]
silent_after = "7d"
removed_after = "90d"

[privacy]
retain = "until-acked"

[traffic]
constant_rate = "64 KiB/s"
backlog_mib = 512

[camera]
kind = "file"
name = "door"
path = "clip.mp4"
gap_seconds = 1.5
at_least_seconds = 0.5
at_most_seconds = 20
passes = 3

[disk]
log_file_mib = 16
"#;

/// A status, phones, what is retained, and how a pairing goes, as a running hub says them.
const HUB_ANSWERS: [&str; 6] = [
    r#"{"recording":true,"settings":{"version":1,"privacy":true,"event_seconds_max":null},"not_recorded":"privacy","camera_trouble":"the camera failed","connected":false,"trouble":"no answer","relay_not_told":1,"relay_still_admits":1,"pairings":[{"phone":"1a2b3c4d","epoch":3,"unacked_envelopes":2,"unacked_bytes":1024,"last":7,"stored_through":6,"acked_through":5,"connected":true,"relay_full":false,"standing":"good","phone_heard_s_ago":9,"silent":true}],"clips":[{"clip":"00","bytes":5,"sha256":null,"outcome":"complete"}],"stranded_copies":1}"#,
    r#"{"event":"phones","phones":[{"phone":"1a2b3c4d","paired_unix_s":5,"heard_s_ago":null,"unheard_s":1,"silent":false,"epoch":3},{"phone":"00000000","unreadable":true}]}"#,
    r#"{"event":"removed","phone":"1a2b3c4d"}"#,
    r#"{"event":"retained","phones":[{"phone":"1a2b3c4d","clips":2,"may_ack":false}]}"#,
    concat!(
        r#"{"event":"offer","qr":"SECLUSO1:AAAA","expires_unix_ms":1}"#,
        "\n",
        r#"{"event":"paired","phone":"1a2b3c4d"}"#,
        "\n",
    ),
    r#"{"event":"failed","code":2,"message":"no phone begins with 1a2b"}"#,
];

const HUB_CAMERAS: &str = r#"state_dir = "state"
relay = "127.0.0.1:4433/BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"

[[camera]]
kind = "rtsp"
name = "door"
url = "rtsp://cam.lan/1"
user = "hub"
password_file = "door.password"
audio = false
stall_seconds = 20.0

[camera.detection]
sensitivity = 70
masks = [[[0, 0], [1000, 0], [1000, 120], [0, 120]]]
quiet = "22:00-06:30"
pre_roll_seconds = 3.0

[[camera.detection.zones]]
name = "drive"
polygon = [[0, 500], [1000, 500], [1000, 1000]]

[[camera]]
kind = "command"
name = "pi"
program = "rpicam-vid"
arguments = ["-o", "-"]
events = "clock"
event_seconds = 30.0

[[camera]]
kind = "virtual"
name = "try"
width = 320
height = 240
pictures_per_second = 5
"#;

const RELAY_CONFIG: &str = r#"listen = "0.0.0.0:4433"
public_address = "relay.example:4433"
identity_key = "id.key"
data_dir = "data"
revoked = []

[quota]
account_mib = 1024
reserved_mib = 16
mailboxes = 64
"#;

/// What is said of events and of live sessions.
fn shows() -> Vec<Option<Vec<u8>>> {
    let wish = LiveId([6; 16]);
    vec![
        message::encode(&HubNotification::Event(EventNotice {
            camera: "door".into(),
            started_unix_ms: 1_700_000_000_000,
            kind: NoticeKind::Motion,
        })),
        message::encode(&AppLiveMessage::Watch(LiveWish {
            id: wish,
            camera: "door".into(),
        })),
        message::encode(&AppLiveMessage::Enough(wish)),
        message::encode(&HubLiveMessage::Begun(LiveBegun { wish, session: 9 })),
        message::encode(&HubLiveMessage::Ended(LiveEnded {
            wish,
            session: 9,
            frames: 300,
            why: LiveEnd::Limit,
        })),
        message::encode(&LiveFrame {
            session: 9,
            number: 300,
            group: 300,
            captured_unix_ms: 1_700_000_000_000,
            ends_fragment: true,
            start: Some(LiveStart {
                mime: "video/mp4".into(),
                init: b"init".to_vec(),
            }),
            bytes: b"abc",
        }),
    ]
}

fn programs(all: &[&[u8]]) -> Vec<Seed> {
    let name = |(index, bytes): (usize, &&[u8])| (format!("{index:02}"), bytes.to_vec());
    all.iter().enumerate().map(name).collect()
}

fn texts(all: &[&str]) -> Vec<Seed> {
    let bytes: Vec<&[u8]> = all.iter().map(|text| text.as_bytes()).collect();
    programs(&bytes)
}

fn invitation() -> Invitation {
    Invitation {
        relay: RelayId([0x11; 32]),
        nonce: [0x22; 16],
        expires_unix_s: 0x0102_0304,
        class: Class::Phone,
        signature: [0x33; 64],
    }
}

fn certificate() -> Certificate {
    Certificate {
        relay: RelayId([0x11; 32]),
        device: DeviceId([0x44; 32]),
        issued_unix_s: 0x0102_0304,
        class: Class::Hub,
        signature: [0x33; 64],
    }
}

fn head() -> Head {
    Head {
        seq: Seq(5),
        digest: Digest([0xdd; 32]),
    }
}

/// One frame of each kind that carries something.
fn all_frames() -> Vec<Frame<'static>> {
    let (slot, seq, mailbox) = (Slot(7), Seq(8), ReceiveId([0x66; 24]));
    vec![
        Frame::Hello {
            version_min: 1,
            version_max: 1,
            features: 0,
        },
        Frame::Redeem(invitation()),
        Frame::Certificate(certificate()),
        Frame::Invite {
            request: 9,
            class: Class::Phone,
            ttl_seconds: 600,
        },
        Frame::Invitation {
            request: 9,
            invitation: Some(invitation()),
        },
        Frame::Revoke {
            request: 9,
            guest: Some(Guest {
                device: DeviceId([0x44; 32]),
                invitation: [0x66; 16],
            }),
            mailboxes: vec![SendId([0x55; 24])],
        },
        Frame::Revoked {
            request: 9,
            outcome: Revocation::Done,
        },
        Frame::AttachSend {
            slot,
            mailbox: mailbox.send_id(),
        },
        Frame::SendState {
            slot,
            state: SendState {
                last: Some(head()),
                trimmed_through: Seq(4),
            },
        },
        Frame::AttachReceive {
            slot,
            mailbox,
            cursor: Seq(3),
        },
        Frame::ReceiveState {
            slot,
            state: ReceiveState {
                first: Seq(4),
                last: Some(head()),
            },
        },
        Frame::Append {
            seq,
            after: Seq(7),
            digest: Digest::of(b"abc"),
            envelope: b"abc",
        },
        Frame::Receipt { slot, head: head() },
        Frame::Conflict {
            slot,
            stored: head(),
        },
        Frame::NotNext {
            slot,
            seq,
            head: Some(head()),
        },
        Frame::OverQuota {
            slot,
            seq,
            size: wire::envelope::Size::Bulk,
            retry_after_s: 30,
        },
        Frame::Stored {
            slot,
            seq,
            envelope: Some(b"abc"),
        },
        Frame::Deliver {
            seq,
            envelope: b"abc",
        },
        Frame::Trim {
            slot,
            through: Seq(5),
        },
        Frame::Error {
            slot: Some(slot),
            code: 3,
        },
        Frame::Ping { token: 1 },
        Frame::Watch { slot, on: true },
        Frame::Live { slot, group: 2 },
        Frame::LivePiece { envelope: b"abc" },
    ]
}

fn frames() -> Vec<Seed> {
    let seed = |frame: &Frame<'_>| (format!("{:02x}", frame.kind()), frame.to_bytes());
    all_frames().iter().map(seed).collect()
}

/// An attach, its answer, a receipt and a refusal, behind the numbers that the machines begin with.
fn relay_answers() -> Vec<Seed> {
    let mut bytes = [9_u64, 2, 3].map(u64::to_be_bytes).concat();
    let answers = all_frames();
    for (kind, index) in [
        (0x12, 0_u8),
        (0x22, 2),
        (0x28, 5),
        (0x30, 6),
        (0x20, 7),
        (0x32, 8),
    ] {
        let Some(frame) = answers.iter().find(|frame| frame.kind() == kind) else {
            continue;
        };
        let whole = frame.to_bytes();
        let body = &whole[4..];
        bytes.extend_from_slice(&[0, 1]);
        bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(&[0, index, 0]);
    }
    programs(&[&bytes])
}

fn credentials() -> Vec<Seed> {
    let text = invitation().to_string().into_bytes();
    programs(&[
        &certificate().to_bytes(),
        &invitation().to_bytes(),
        &text,
        b"phone",
    ])
}

fn addresses() -> Vec<Seed> {
    let relay_id = RelayId([7; 32]);
    let of = |host: &str| {
        let address = RelayAddress {
            host: host.to_owned(),
            port: 4433,
            relay_id,
        };
        address.to_string()
    };
    let all = [of("relay.example"), of("::1"), relay_id.to_text()];
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    texts(&all)
}

/// A refusal is the one message that holds no key; the others are reached by the programs of a pairing.
fn pairing_messages() -> Vec<Seed> {
    let refused = journal::PairingMessage::Refused(journal::pairing::REFUSAL.into());
    programs(&[&refused.encode()])
}

/// Each moment with the honest message of each, untouched and with a byte changed.
fn moments() -> Vec<Seed> {
    let mut all = Vec::new();
    for moment in 0..2 {
        for honest in 0..2 {
            all.push(vec![0, moment, 0, honest]);
            all.push(vec![0, moment, 0, honest, 1, 0, 40, 1]);
        }
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// The first choices of the targets of a line: untouched, and a byte changed.
fn lines() -> Vec<Seed> {
    let mut all = Vec::new();
    for first in 0..2 {
        for second in 0..3 {
            all.push(vec![first, 0, second, 0, 0, 0, second]);
            all.push(vec![first, 0, second, 0, 0, 0, 1, 1, 0, 60, 0x80]);
        }
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// An envelope in which there is nothing, and one that only says so, to each end.
fn covers() -> Vec<Seed> {
    let mut all = Vec::new();
    for (name, end) in [("app", &[0][..]), ("hub", &[1, 0, 0][..])] {
        for (kind, content) in [("cover", &b""[..]), ("no_cover", &b"abc"[..])] {
            let mut input = end.to_vec();
            input.extend([0; 16]);
            input.push(3);
            input.extend([0; 8 + 32]);
            input.extend((content.len() as u32).to_be_bytes());
            input.extend(content);
            all.push((format!("{kind}_{name}"), input));
        }
    }
    all
}

fn messages() -> Vec<Seed> {
    let clip = ClipId([3; 16]);
    let end = ClipEnd {
        clip,
        chunks: 2,
        bytes: 70_000,
        sha256: [9; 32],
        ended_unix_ms: 1_700_000_000_000,
    };
    let digest = [4; 32];
    let holds = Channel::ALL.map(|channel| ChannelHeld {
        channel,
        through: 7,
        digest,
    });
    let statement = Statement {
        channel: Channel::EventVideo,
        first: 3,
        last: 9,
        clip,
        reason: DropReason::Damaged,
    };
    let all = [
        message::encode(&HubMessage::ClipHeader(ClipHeader {
            clip,
            started_unix_ms: 1,
            camera: "door".into(),
            mime: "video/mp4".into(),
        })),
        message::encode(&HubMessage::Chunk {
            clip,
            index: 1,
            captured_unix_ms: 2,
            bytes: b"abc",
        }),
        message::encode(&HubMessage::Trailer(end.clone())),
        message::encode(&HubMessage::CutOff(end)),
        message::encode(&AppMessage::Ack { through: 7, digest }),
        message::encode(&AppConfigMessage::Ack { through: 7, digest }),
        message::encode(&AppConfigMessage::Heartbeat(Heartbeat {
            number: 9,
            sent_unix_ms: 1_700_000_000_000,
            holds: holds.to_vec(),
        })),
        message::encode(&HubConfigMessage::Answer(HeartbeatAnswer {
            number: 9,
            answered_unix_ms: 1_700_000_000_000,
            version: "0.1.0".into(),
            epochs: Channel::ALL.map(|channel| (channel, 3)).to_vec(),
            status: HubReport {
                recording: true,
                not_recorded: Some(NotRecorded::Space),
                unacked: 3,
            },
        })),
        message::encode(&SignedStatement {
            statement,
            signature: vec![5; 64],
        }),
    ];
    let all = all.into_iter().chain(orders()).chain(shows());
    let all: Vec<Vec<u8>> = all.flatten().collect();
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// Commands, what came of them, settings, and what is said of codes that are passed on.
fn orders() -> [Option<Vec<u8>>; 10] {
    let id = CommandId([3; 16]);
    let settings = Settings {
        privacy: true,
        event_seconds_max: Some(60),
        clip_days_max: Some(30),
        alerts: Alerts {
            motion: false,
            ..Alerts::default()
        },
    };
    let doc = SettingsDoc {
        version: 2,
        made_by: Some(id),
        settings,
    };
    let kind = CommandKind::SetSettings {
        base: SettingsBase::Version(3),
        settings,
    };
    let phone = PhoneFacts {
        phone: PairingId([5; 16]),
        paired_unix_s: 5,
        heard_unix_ms: Some(6),
    };
    let camera = CameraDoc {
        version: 1,
        made_by: Some(id),
        settings: CameraSettings {
            masks: Some(vec![vec![(0, 0), (1000, 0), (1000, 120)]]),
            quiet: Some(QuietSetting::Never),
            name: Some("Front door".into()),
            ..CameraSettings::default()
        },
        ..CameraDoc::unset("door")
    };
    let change = Command::new(
        id,
        &CommandKind::SetCamera(CameraChange {
            camera: "door".into(),
            base: SettingsBase::Command { id, version: 1 },
            settings: camera.settings.clone(),
        }),
    );
    let said = |result| message::encode(&HubConfigMessage::Outcome(Outcome { id, result }));
    let command = Command::new(id, &kind);
    [
        command.and_then(|command| message::encode(&AppConfigMessage::Command(command))),
        said(CommandResult::Changed(doc)),
        message::encode(&HubConfigMessage::Settings(doc)),
        said(CommandResult::Phones(vec![phone])),
        Command::new(id, &CommandKind::Invite)
            .and_then(|command| message::encode(&AppConfigMessage::Command(command))),
        Some(code_to_pass_on(id)),
        message::encode(&HubConfigMessage::Invited(Invited {
            asked_by: id,
            news: InviteNews::Failed(InviteFailure::Void),
        })),
        message::encode(&HubConfigMessage::Added(AddedPhones {
            version: 2,
            phones: vec![AddedPhone {
                phone: PairingId([5; 16]),
                by: PairingId([6; 16]),
                asked_by: id,
                paired_unix_s: 5,
            }],
        })),
        change.and_then(|command| message::encode(&AppConfigMessage::Command(command))),
        said(CommandResult::CameraChanged(camera)),
    ]
}

/// A code that is none: nobody but a hub makes one. Version, what it is, which command, that it is a code, its text.
fn code_to_pass_on(asked_by: CommandId) -> Vec<u8> {
    let text = b"SECLUSO1:AAAAAA";
    [&[1, 3][..], &asked_by.0, &[0, text.len() as u8], text].concat()
}

/// Every message in each of the two channels, with its length in front.
fn said_hub() -> Vec<Seed> {
    let mut all = Vec::new();
    for (name, bytes) in messages() {
        for channel in 0..2 {
            let length = (bytes.len() as u16).to_be_bytes();
            let program = [&[0, channel][..], &length, &bytes].concat();
            all.push((format!("{name}-{channel}"), program));
        }
    }
    all
}

/// One that is good, one that is short, and one without variety.
fn device_secrets() -> Vec<Seed> {
    let good: Vec<u8> = (0..DEVICE_SECRET_BYTES as u32)
        .map(|n| (n * 3 % 251) as u8)
        .collect();
    programs(&[&good, &good[1..], &[7; DEVICE_SECRET_BYTES]])
}

fn log_records() -> Vec<Seed> {
    let identity = Identity {
        kind: FileKind::Copy,
        life: [0xab; 16],
        number: 7,
        incarnation: 3,
    };
    let header = FileHeader {
        identity,
        first_lsn: Lsn(100),
        boot: 1,
    };
    let seal = Seal {
        source_number: 6,
        source_life: [1; 16],
        last_lsn: 100,
        incarnation: 3,
    };
    let (key, value) = (&b"key"[..], &b"value"[..]);
    let records = [
        Record::Put { key, value },
        Record::Delete { key },
        Record::FreePayload {
            key,
            ordinal: 4,
            len: 3,
        },
        Record::Seal(seal),
    ];
    let mut group = Vec::new();
    let draft = GroupDraft {
        lsn: Lsn(101),
        synced_through: Lsn(99),
        records: &records,
    };
    encode_group(&draft, &identity, 2, &mut group);
    let file = header.encode();
    let mut all: Vec<Vec<u8>> = vec![file[..wal::record::FILE_HEADER_BYTES].to_vec(), group];
    for record in &records {
        let mut bytes = Vec::new();
        record.encode(0, &mut bytes);
        all.push(bytes);
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// One change of each kind, in a few files.
fn directories() -> Vec<Seed> {
    let mut all = Vec::new();
    for file in 0..6 {
        for what in 0..6 {
            all.push(vec![0, file, 0, 1, what, 0, 40, 0, 3, b'x', b'y', b'z']);
        }
    }
    let all: Vec<&[u8]> = all.iter().map(Vec::as_slice).collect();
    programs(&all)
}

/// A key frame and some more pictures, 40 ms each.
fn camera_units() -> Vec<u8> {
    let mut bytes = [90_000_u64, 0].map(u64::to_be_bytes).concat();
    for picture in 0..8_u8 {
        bytes.extend_from_slice(&[0x45 | u8::from(picture == 0) << 3, 0xe1]);
        bytes.extend_from_slice(&[0, 4, 0, 0, 0, picture]);
        bytes.extend_from_slice(&[0; 8]);
        bytes.extend_from_slice(&(3600_u64 << 4).to_be_bytes());
        bytes.extend_from_slice(&[0; 8]);
    }
    bytes
}
