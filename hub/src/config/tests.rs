//! What is taken, and what each mistake says.

use super::*;

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
        "[pairing]\nlisten = \"127.0.0.1:0\"\nsuite = \"classic\"\n\
         [camera]\nkind = \"file\"\npath = \"clip.mp4\"\ngap_seconds = 1.5\nat_least_seconds = 12.0\nat_most_seconds = 20.0\npasses = 3\nname = \"door\"\n\
         [phones]\nsilent_after = \"36h\"\nremoved_after = \"30d\"\ninvite = false\n\
         [disk]\nlog_file_mib = 8\n",
    ))
    .unwrap();
    assert_eq!(config.state_dir, Path::new("/etc/secluso/state"));
    let camera = config.camera.unwrap();
    assert_eq!(camera.file.path, Path::new("/etc/secluso/clip.mp4"));
    assert_eq!(camera.file.gap, Duration::from_millis(1500));
    assert_eq!(camera.file.at_least, Duration::from_secs(12));
    assert_eq!(camera.file.at_most, Some(Duration::from_secs(20)));
    assert_eq!(
        camera.file.passes,
        Passes::Exactly(NonZeroU32::new(3).unwrap())
    );
    assert_eq!(config.pairing.suite, Suite::Classic);
    assert_eq!(config.disk.log_file_bytes, 8 << 20);
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
    assert_eq!(config.camera.unwrap().file.passes, Passes::Endless);
    let least = parse(&text("")).unwrap();
    assert!(least.camera.is_none());
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
        ("[camera]\nkind = \"rtsp\"\npath = \"a\"\n", 4, "rtsp"),
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
        ("[pairing]\nsuite = \"rot13\"\n", 4, "rot13"),
        ("[pairing]\noffer_seconds = 1\n", 4, "offer_seconds"),
        ("[disk]\nlog_file_mib = 1\n", 4, "log_file_mib"),
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
