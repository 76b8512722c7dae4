//! What is taken, and what each mistake says.

use std::num::NonZeroU32;

use super::*;
use crate::camera::address::Password;
use crate::camera::rtsp::AudioWish;
use crate::camera::{FileCameraConfig, Passes, SourceConfig};

fn file_of(config: &Config) -> &FileCameraConfig {
    match &config.cameras[0].source {
        SourceConfig::File(file) => file,
        other => panic!("{other:?}"),
    }
}

fn relay() -> String {
    format!("127.0.0.1:4433/{}", wire::RelayId([7; 32]).to_text())
}

fn text(rest: &str) -> String {
    format!("state_dir = \"state\"\nrelay = \"{}\"\n{rest}", relay())
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "hub.toml", Path::new("/etc/secluso"))
}

#[test]
fn a_whole_file_is_read_and_relative_paths_start_at_it() {
    let config = parse(&text(
        "[pairing]\nlisten = \"127.0.0.1:0\"\nsuite = \"classic\"\nannounce = true\ninterface = \"192.168.1.20\"\n\
         [camera]\nkind = \"file\"\npath = \"clip.mp4\"\ngap_seconds = 1.5\nat_least_seconds = 12.0\nat_most_seconds = 20.0\npasses = 3\nname = \"door\"\n\
         [phones]\nsilent_after = \"36h\"\nremoved_after = \"30d\"\ninvite = false\n\
         [disk]\nlog_file_mib = 8\nbudget_mib = 64\nclip_days_max = 14\n",
    ))
    .unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/secluso/state"));
    assert_eq!(config.cameras.len(), 1);
    assert_eq!(config.cameras[0].name, "door");
    let file = file_of(&config);
    assert_eq!(file.path, Path::new("/etc/secluso/clip.mp4"));
    assert_eq!(file.gap, Duration::from_millis(1500));
    assert_eq!(file.at_least, Duration::from_secs(12));
    assert_eq!(file.at_most, Some(Duration::from_secs(20)));
    assert_eq!(file.passes, Passes::Exactly(NonZeroU32::new(3).unwrap()));
    assert_eq!(config.pairing.suite, Suite::Classic);
    let interface = Ipv4Addr::new(192, 168, 1, 20);
    assert_eq!(config.pairing.announce, Where::At(Lan::at(interface)));
    assert_eq!(config.disk.log_file_bytes, 8 << 20);
    assert_eq!(config.disk.budget_bytes, Some(64 << 20));
    assert_eq!(config.disk.clip_days_max, Some(14));
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    assert_eq!(config.silence.silent_after, hours(36));
    assert_eq!(config.silence.removed_after, hours(30 * 24));
    assert_eq!(config.may_invite, MayInvite::No);
}

#[test]
fn little_is_enough_and_no_passes_are_endless() {
    let config = parse(&text(
        "[camera]\nkind = \"file\"\npath = \"/x.mp4\"\npasses = 0\n",
    ))
    .unwrap();
    assert_eq!(config.pairing.suite, Suite::XWing);
    assert_eq!(config.pairing.announce, Where::DefaultRoute);
    assert_eq!(file_of(&config).passes, Passes::Endless);
    let least = parse(&text("")).unwrap();
    assert!(least.cameras.is_empty());
    assert_eq!(least.disk.budget_bytes, None);
    assert_eq!(least.silence, SilenceLimits::default());
    assert_eq!(least.may_invite, MayInvite::Yes);
}

#[test]
fn files_of_the_device_start_at_the_configuration_too() {
    let config = parse(&text(
        "device_secret_file = \"device.secret\"\nreset_file = \"/boot/secluso-reset\"\n",
    ))
    .unwrap();
    let secret = Path::new("/etc/secluso/device.secret");
    assert_eq!(config.device_secret_file.as_deref(), Some(secret));
    let reset = Path::new("/boot/secluso-reset");
    assert_eq!(config.reset_file.as_deref(), Some(reset));
    let none = parse(&text("")).unwrap();
    assert_eq!(none.retain, Retain::Nothing);
    let kept = parse(&text("[privacy]\nretain = \"until-acked\"\n")).unwrap();
    assert_eq!(kept.retain, Retain::UntilAcked);
    assert!(none.device_secret_file.is_none() && none.reset_file.is_none());
}

#[test]
fn a_constant_rate_is_off_unless_it_is_asked_for() {
    assert_eq!(parse(&text("")).unwrap().traffic, None);
    assert_eq!(parse(&text("[traffic]\n")).unwrap().traffic, None);
    let config = parse(&text("[traffic]\nconstant_rate = \"64 KiB/s\"\n")).unwrap();
    assert_eq!(config.traffic, Some(Traffic::new(64, BACKLOG_MIB_DEFAULT)));
    let config = parse(&text(
        "[traffic]\nconstant_rate = \"1 MiB/s\"\nbacklog_mib = 100\n",
    ))
    .unwrap();
    assert_eq!(config.traffic, Some(Traffic::new(1024, 100)));
}

#[test]
fn cameras_of_every_kind_stand_side_by_side() {
    let config = parse(&text(
        "[[camera]]\nkind = \"rtsp\"\nname = \"door\"\nurl = \"rtsp://cam.lan/1\"\n\
         user = \"admin\"\npassword_file = \"door.password\"\naudio = false\nstall_seconds = 20.0\n\
         [[camera]]\nkind = \"rtsp\"\nname = \"yard\"\nurl = \"rtsp://10.0.0.9:8554/live\"\n\
         user = \"hub\"\npassword_credential = \"yard\"\nevent_seconds = 60.0\ngap_seconds = 5.0\n\
         [[camera]]\nkind = \"command\"\nname = \"pi\"\nprogram = \"rpicam-vid\"\narguments = [\"-o\", \"-\"]\n\
         [[camera]]\nkind = \"virtual\"\nname = \"try\"\nwidth = 320\nheight = 240\npictures_per_second = 5\n",
    ))
    .unwrap();
    let [door, yard, pi, virtual_camera] = config.cameras.as_slice() else {
        panic!("{:?}", config.cameras);
    };
    let SourceConfig::Rtsp(source) = &door.source else {
        panic!("{door:?}");
    };
    assert_eq!(source.address.to_string(), "rtsp://cam.lan/1");
    assert_eq!(source.audio, AudioWish::Never);
    assert_eq!(source.stall, Duration::from_secs(20));
    let login = source.login.as_ref().unwrap();
    assert_eq!(login.user, "admin");
    let want = Path::new("/etc/secluso/door.password");
    assert!(matches!(&login.password, Password::File(path) if path == want));
    let SourceConfig::Rtsp(source) = &yard.source else {
        panic!("{yard:?}");
    };
    let login = source.login.as_ref().unwrap();
    assert!(matches!(&login.password, Password::Credential(name) if name == "yard"));
    assert_eq!(source.audio, AudioWish::IfSupported);
    assert_eq!(yard.windows.event, Duration::from_secs(60));
    assert_eq!(yard.windows.gap, Duration::from_secs(5));
    let SourceConfig::Command(command) = &pi.source else {
        panic!("{pi:?}");
    };
    assert_eq!(command.program, Path::new("rpicam-vid"));
    assert_eq!(command.arguments, ["-o", "-"]);
    let SourceConfig::Virtual(drawn) = &virtual_camera.source else {
        panic!("{virtual_camera:?}");
    };
    assert_eq!((drawn.width, drawn.height), (320, 240));
}

#[test]
fn what_makes_the_events_of_a_camera_is_said_or_follows_from_its_kind() {
    let config = parse(&text(
        "[[camera]]\nkind = \"virtual\"\nname = \"a\"\n\
         [[camera]]\nkind = \"virtual\"\nname = \"b\"\nevents = \"clock\"\n\
         [[camera]]\nkind = \"file\"\nname = \"c\"\npath = \"x\"\n\
         [[camera]]\nkind = \"file\"\nname = \"d\"\npath = \"x\"\nevents = \"motion\"\n\
         [[camera]]\nkind = \"virtual\"\nname = \"e\"\n\
         [camera.detection]\nsensitivity = 70\npre_roll_seconds = 3\n\
         [[camera.detection.zones]]\nname = \"drive\"\npolygon = [[0, 0], [1000, 0], [0, 1000]]\n",
    ))
    .unwrap();
    let found: Vec<bool> = config
        .cameras
        .iter()
        .map(|one| one.detection.is_some())
        .collect();
    assert_eq!(found, [true, false, false, true, true]);
    // The clock in the virtual camera's picture is masked.
    let masks = |number: usize| {
        let detection = config.cameras[number].detection.as_ref().unwrap();
        detection.motion.masks().len()
    };
    assert_eq!([masks(0), masks(3), masks(4)], [1, 0, 1]);
    let detection = config.cameras[4].detection.as_ref().unwrap();
    assert_eq!(detection.events.pre_roll(), Duration::from_secs(3));
    assert_eq!(detection.motion.zones()[0].name, "drive");
}

#[test]
fn a_password_in_the_file_is_refused_and_not_repeated() {
    let error = parse(&text(
        "[[camera]]\nkind = \"rtsp\"\nurl = \"rtsp://admin:hunter2@cam.lan/1\"\n",
    ))
    .unwrap_err()
    .to_string();
    assert!(
        error.contains("line 5") && error.contains("password_file"),
        "{error}"
    );
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn every_mistake_names_its_line_and_key() {
    let table = [
        (
            "[traffic]\nconstant_rat = \"64 KiB/s\"\n",
            4,
            "constant_rat",
        ),
        ("[traffic]\nconstant_rate = 64\n", 4, "expected a string"),
        ("[traffic]\nconstant_rate = \"64 kB\"\n", 4, "64 KiB/s"),
        ("[traffic]\nconstant_rate = \"0 KiB/s\"\n", 4, "1024 KiB/s"),
        (
            "[traffic]\nconstant_rate = \"2 MiB/s\"\n",
            4,
            "constant_rate",
        ),
        ("[traffic]\nbacklog_mib = 100\n", 4, "constant_rate"),
        (
            "[traffic]\nconstant_rate = \"64 KiB/s\"\nbacklog_mib = 1\n",
            5,
            "backlog_mib",
        ),
        ("stat_dir = \"x\"\n", 3, "stat_dir"),
        (
            "[camera]\nkind = \"file\"\npath = \"a\"\npases = 3\n",
            6,
            "pases",
        ),
        ("[camera]\nkind = \"radio\"\npath = \"a\"\n", 4, "radio"),
        ("[camera]\nkind = \"rtsp\"\npath = \"a\"\n", 5, "path"),
        ("[camera]\nkind = \"rtsp\"\n", 4, "url"),
        ("[camera]\nkind = \"file\"\n", 4, "path"),
        ("[camera]\nkind = \"command\"\n", 4, "program"),
        (
            "[camera]\nkind = \"rtsp\"\nurl = \"http://a/\"\n",
            5,
            "rtsp://",
        ),
        (
            "[camera]\nkind = \"rtsp\"\nurl = \"rtsp://a/\"\nuser = \"u\"\n",
            6,
            "password_file",
        ),
        ("[camera]\nkind = \"virtual\"\nwidth = 9\n", 4, "sides"),
        (
            "[camera]\nkind = \"virtual\"\nevents = \"weather\"\n",
            5,
            "weather",
        ),
        (
            "[camera]\nkind = \"virtual\"\nevents = \"clock\"\n[camera.detection]\nsensitivity = 1\n",
            6,
            "leave out one",
        ),
        (
            "[camera]\nkind = \"virtual\"\n[camera.detection]\nsensitivity = 0\n",
            5,
            "sensitivity",
        ),
        (
            "[camera]\nkind = \"virtual\"\n[camera.detection]\ntime_zone = \"Berlin\"\n",
            5,
            "time_zone",
        ),
        (
            "[[camera]]\nkind = \"virtual\"\nname = \"a\"\n[[camera]]\nkind = \"virtual\"\nname = \"a\"\n",
            8,
            "name",
        ),
        // The second camera's line, not the first one's.
        (
            "[[camera]]\nkind = \"virtual\"\nname = \"a\"\ngap_seconds = 1.0\n[[camera]]\nkind = \"virtual\"\nname = \"b\"\ngap_seconds = -1.0\n",
            10,
            "gap_seconds",
        ),
        (
            "[camera]\nkind = \"file\"\npath = \"a\"\nat_least_seconds = 5.0\nat_most_seconds = 4.0\n",
            7,
            "at_most_seconds",
        ),
        (
            "[camera]\nkind = \"file\"\npath = \"a\"\ngap_seconds = -1.0\n",
            6,
            "gap_seconds",
        ),
        ("[pairing]\nlisten = \"here\"\n", 4, "listen"),
        (
            "[pairing]\nlisten = \"0.0.0.0:0\"\n[metrics]\nlisten = \"0.0.0.0:9464\"\n",
            6,
            "of this machine alone",
        ),
        ("[metrics]\nlisten = \"127.0.0.1\"\n", 4, "with a port"),
        (
            "[camera]\nkind = \"virtual\"\ncycle_seconds = 5.0\n",
            5,
            "cycle_seconds",
        ),
        ("[pairing]\nsuite = \"rot13\"\n", 4, "rot13"),
        ("[pairing]\noffer_seconds = 1\n", 4, "offer_seconds"),
        ("[pairing]\ninterface = \"eth0\"\n", 4, "IPv4 address"),
        ("[pairing]\ninterface = \"224.0.0.251\"\n", 4, "interface"),
        (
            "[pairing]\nannounce = false\ninterface = \"192.168.1.20\"\n",
            5,
            "announce = true",
        ),
        ("[disk]\nlog_file_mib = 1\n", 4, "log_file_mib"),
        ("[disk]\nbudget_mib = 0\n", 4, "budget_mib"),
        ("[phones]\nsilent_after = \"a week\"\n", 4, "7d"),
        ("[phones]\nsilent_after = \"23h\"\n", 4, "silent_after"),
        ("[phones]\nremoved_after = \"7d\"\n", 4, "removed_after"),
        ("[phones]\nremoved_after = \"4000d\"\n", 4, "3650d"),
        ("[phones]\ninvite = \"maybe\"\n", 4, "boolean"),
        ("invitation = \"nonsense\"\n", 3, "invitation"),
        ("[privacy]\nretain = \"for ever\"\n", 4, "for ever"),
        (
            "[disk]\nlog_file_mib = 4\n[privacy]\nretain = \"until-acked\"\n",
            4,
            "log_file_mib",
        ),
        ("state_dir = ", 3, ""),
    ];
    for (rest, line, word) in table {
        let error = parse(&text(rest)).unwrap_err().to_string();
        assert!(
            error.contains(&format!("hub.toml, line {line}")),
            "{rest:?}: {error}"
        );
        assert!(error.contains(word), "{rest:?}: {error}");
    }
    let error = parse("state_dir = \"x\"\nrelay = \"nowhere\"\n")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("line 2") && error.contains("host:port/key"),
        "{error}"
    );
    let error = parse("relay = \"nowhere\"\n").unwrap_err().to_string();
    assert!(error.contains("state_dir"), "{error}");
}

#[test]
fn a_missing_file_says_so() {
    let error = Config::read(Path::new("/nonexistent/hub.toml")).unwrap_err();
    assert!(error.to_string().contains("--config"), "{error}");
}
