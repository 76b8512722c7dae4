//! What the programs keep to themselves: modes of files, core dumps, the device secret, a camera's password, and what a
//! reset leaves. That no secret stands in a log, in JSON or in another's state is part of every run's end
//! (`crashtest/src/system/secrecy.rs`).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crashtest::canary::Canaries;
use crashtest::oracle::Verdict;
use crashtest::process::{Role, Start};
use crashtest::system::{CAMERA, PATIENCE, Setup, System};
use crashtest::thief;
use crashtest::trouble::{Outcome, Trouble};
use journal::DeviceSecret;
use wal::disk::RealDisk;
use wal::{Disk, Options};

/// None.
const NONE: [(PathBuf, u32); 0] = [];

/// Every file and directory at or below `root` with another mode than its owner's own.
fn open_to_others(root: &Path) -> Vec<(PathBuf, u32)> {
    let mut waiting = vec![root.to_path_buf()];
    let (mut found, mut files) = (Vec::new(), 0);
    while let Some(path) = waiting.pop() {
        // A program that runs may remove a file at any time.
        let Ok(metadata) = std::fs::symlink_metadata(&path) else {
            continue;
        };
        let mode = metadata.permissions().mode() & 0o777;
        let right = if metadata.is_dir() { 0o700 } else { 0o600 };
        if mode != right {
            found.push((path.clone(), mode));
        }
        match metadata.is_dir() {
            true => waiting.extend(
                std::fs::read_dir(&path)
                    .into_iter()
                    .flatten()
                    .flatten()
                    .map(|entry| entry.path()),
            ),
            false => files += 1,
        }
    }
    assert!(files > 0, "{} holds no file", root.display());
    found
}

/// The program by itself: its answer is text.
fn hub(system: &System, words: &[&str]) -> Outcome<Output> {
    let mut command = Command::new(Role::Hub.path()?);
    command
        .args(words)
        .arg("--config")
        .arg(system.path("hub.toml"));
    command.output().map_err(Trouble::machine("secluso-hub"))
}

/// The text of the device secret, however many lines stand around it.
fn secret_in(output: &Output) -> Option<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said
        .lines()
        .find(|line| line.starts_with("SECLUSODEVICE1:"));
    line.map(str::to_owned)
}

#[test]
fn all_that_the_programs_make_is_for_their_owner_alone() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    system.start_app()?;
    system.start_hub()?;
    system.until_line("an ack", 0, |line| line.event() == "acked")?;
    for role in Role::ALL {
        let id = system.process(role)?.id();
        let limits = std::fs::read_to_string(format!("/proc/{id}/limits"))
            .map_err(Trouble::machine("a program's limits"))?;
        let core = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max core file size"));
        let values: Vec<&str> = core
            .unwrap_or_default()
            .split_whitespace()
            .take(2)
            .collect();
        assert_eq!(values, ["0", "0"], "{role}");
    }
    for place in ["hub", "app", "relay"] {
        assert_eq!(
            open_to_others(&system.path(place)),
            NONE,
            "{place}, running"
        );
    }
    let ends = system.settle()?;
    let clip = ends.exports.keys().next().cloned().unwrap_or_default();
    let exported = system.path(&format!("{clip}.mp4"));
    assert_eq!(open_to_others(&exported), NONE);
    for place in ["hub", "app", "relay"] {
        assert_eq!(
            open_to_others(&system.path(place)),
            NONE,
            "{place}, at rest"
        );
    }
    // Each doctor sees what is not so.
    let file = system.path("hub/journal/vault");
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(&file, open).map_err(Trouble::machine("a mode"))?;
    let found = hub(&system, &["doctor"])?;
    let said = String::from_utf8_lossy(&found.stdout);
    assert!(said.contains("chmod -R go="), "{said}");
    assert_ne!(found.status.code(), Some(0));
    Verdict::of(&Ok(ends)).expect_pass()
}

/// Whatever may be asked for when something is looked into: nothing secret is in the most that can be logged.
#[test]
fn nothing_is_told_where_everything_is_logged() -> Outcome<()> {
    let mut system = System::paired(Setup {
        log: Some("trace".into()),
        ..Setup::default()
    })?;
    system.start_app()?;
    system.start_hub()?;
    system.until_line("an ack", 0, |line| line.event() == "acked")?;
    // What is ordered names the camera, whose name is sought at the relay.
    system.stop(Role::App)?;
    let camera = system.order(&["settings", "camera", CAMERA])?;
    assert_eq!(camera["camera"], CAMERA, "{camera}");
    let ends = system.settle()?;
    assert!(!ends.exports.is_empty(), "a clip is sought");
    for role in Role::ALL {
        let log = std::fs::read_to_string(system.path(&format!("{role}.log")));
        let log = log.map_err(Trouble::machine("a log"))?;
        assert!(log.contains("TRACE"), "{role} logs less than it could");
    }
    // What is sought is there to be sought.
    for (role, place) in [
        (journal::Role::Hub, "hub/journal"),
        (journal::Role::App, "app"),
    ] {
        let disk = RealDisk::new(system.path(place)).map_err(Trouble::machine(place))?;
        let disk: Arc<dyn Disk> = Arc::new(disk);
        let secrets = thief::secrets(role, &disk, Options::default());
        let secrets = secrets.map_err(|broken| Trouble::Broken(broken.to_string()))?;
        let count = |what| secrets.iter().filter(|secret| secret.what == what).count();
        for what in [
            "a device's identity key",
            "a certificate of the relay",
            "a device's name",
            "a wrapping key",
            "a tag key",
            "the right to read",
            "the right to append",
            "a pairing's name",
            "a group's name",
            "a clip's name",
        ] {
            assert!(count(what) > 0, "{place}: {what}");
        }
        // Each group has those of its epoch and of its messages, and private keys.
        assert!(count("a secret of MLS") > 5 * 5, "{place}");
    }
    Verdict::of(&Ok(ends)).expect_pass()
}

/// The login that [`refusing_camera`] waits for, as RFC 7617 writes it.
const CAMERA_LOGIN: &str = "Basic b3duZXI6R2F0ZS9LZWVwIDc0IXEleg==";
const CAMERA_PASSWORD: &str = "Gate/Keep 74!q%z";

/// A camera that asks who is there and lets nobody in: where, and how often it was told the right login.
fn refusing_camera() -> std::io::Result<(SocketAddr, Arc<AtomicU32>)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    let told = Arc::new(AtomicU32::new(0));
    let heard = Arc::clone(&told);
    // It ends with this program.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that hangs up is the usual end.
            let _ended = refuse(&stream, &heard);
        }
    });
    Ok((address, told))
}

fn refuse(mut stream: &TcpStream, told: &AtomicU32) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut number = String::from("1");
    for line in BufReader::new(stream).lines() {
        let line = line?;
        if line.ends_with(CAMERA_LOGIN) {
            told.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(given) = line.strip_prefix("CSeq:") {
            given.trim().clone_into(&mut number);
        }
        if line.is_empty() {
            let challenge = "WWW-Authenticate: Basic realm=\"gate\"";
            let answer =
                format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {number}\r\n{challenge}\r\n\r\n");
            stream.write_all(answer.as_bytes())?;
        }
    }
    Ok(())
}

/// A hub logs in at a camera that refuses it, and says so with all that can be logged: never how.
#[test]
fn the_password_of_a_camera_is_in_no_word_of_the_hub() -> Outcome<()> {
    let (address, told) = refusing_camera().map_err(Trouble::machine("a camera"))?;
    let mut system = System::new(Setup {
        log: Some("trace".into()),
        passwords: vec![CAMERA_PASSWORD.into()],
        ..Setup::default()
    })?;
    system.make_relay()?;
    let file = system.path("gate.password");
    std::fs::write(&file, CAMERA_PASSWORD)
        .and_then(|()| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)))
        .map_err(Trouble::machine("a password"))?;
    system.write_hub_config_with(&format!(
        "[camera]\nkind = \"rtsp\"\nurl = \"rtsp://{address}/live\"\nuser = \"owner\"\n\
         password_file = \"gate.password\"\n\n"
    ))?;
    system.start_hub()?;
    system.until("a login that is refused", PATIENCE, |system| {
        let status = system.ask_hub(&["status"])?;
        system.remember(status.to_string());
        let is_refused = !status["camera_trouble"].is_null() && told.load(Ordering::SeqCst) > 0;
        Ok(is_refused.then_some(()))
    })?;
    let config = system.path("hub.toml").display().to_string();
    let doctor = Start::with(&["doctor", "--config", &config, "--json"]);
    let _found = system.ask_started(Role::Hub, &doctor)?;
    system.stop(Role::Hub)?;
    let log = std::fs::read_to_string(system.path("secluso-hub.log"));
    let log = log.map_err(Trouble::machine("a log"))?;
    assert!(log.contains("TRACE"), "the hub logs less than it could");
    system.finish()
}

#[test]
fn a_provisioned_secret_is_printed_for_a_person_and_written_nowhere_else() -> Outcome<()> {
    let mut system = System::new(Setup {
        hub_first: "device_secret_file = \"device.secret\"".into(),
        passes: 1,
        ..Setup::default()
    })?;
    let secret: Vec<u8> = (0..72_u8).map(|n| n.wrapping_mul(73) ^ 0x5c).collect();
    let file = system.path("device.secret");
    std::fs::write(&file, &secret)
        .and_then(|()| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)))
        .map_err(Trouble::machine("a device secret"))?;
    system.make_relay()?;
    system.write_hub_config()?;
    // Before it ever ran, as whoever labels it does.
    let refused = hub(&system, &["secret", "--print"])?;
    assert_eq!(refused.status.code(), Some(2));
    assert_eq!(secret_in(&refused), None);
    assert_eq!(hub(&system, &["secret", "--force"])?.status.code(), Some(2));
    let forced = hub(&system, &["secret", "--print", "--force"])?;
    let text = secret_in(&forced);
    assert!(
        text.is_some(),
        "{}",
        String::from_utf8_lossy(&forced.stderr)
    );

    // The phone scans what is printed on the device, which is in pairing mode.
    let printed = text.clone().unwrap_or_default();
    let other = DeviceSecret::from_bytes(&secret.iter().map(|byte| !byte).collect::<Vec<_>>());
    let other = other.ok_or_else(|| Trouble::Broken("no secret".into()))?;
    let nobody = system.app_pair_printed(&printed)?;
    assert_eq!(nobody.code(), 5, "not in pairing mode: {nobody:?}");
    let (mut pairing, _code) = system.offer()?;
    let stranger = system.app_pair_printed(&other.to_text())?;
    assert_eq!(stranger.code(), 6, "another device's secret: {stranger:?}");
    let paired = system.app_pair_printed(&printed)?;
    assert_eq!(paired.code(), 0, "{paired:?}");
    assert!(pairing.wait(PATIENCE)?.success());
    system.start_hub()?;
    // The running hub tells the same, also without the file.
    std::fs::remove_file(&file).map_err(Trouble::machine("a device secret"))?;
    let again = hub(&system, &["secret", "--print", "--force"])?;
    assert_eq!(secret_in(&again), text);
    let ends = system.settle()?;

    let mut canaries = Canaries::default();
    assert!(canaries.add("the device secret", &secret));
    let root = system.path("");
    let seen = canaries.first_below(&root, &|_| false);
    assert_eq!(seen.map_err(Trouble::machine("a search"))?, None);
    // The search is not blind: what was printed is found.
    assert!(canaries.first_in(&forced.stdout).is_some());
    Verdict::of(&Ok(ends)).expect_pass()
}

#[test]
fn a_trigger_file_resets_a_running_hub_and_one_that_starts() -> Outcome<()> {
    let mut system = System::paired(Setup::default())?;
    let trigger = system.path("hub/reset");
    let vault = system.path("hub/journal/vault");
    let touch = || std::fs::write(&trigger, b"").map_err(Trouble::machine("a trigger"));
    let keys = || -> Outcome<Canaries> {
        let vault = std::fs::read(&vault).map_err(Trouble::machine("a vault"))?;
        let mut keys = Canaries::default();
        for key in journal::thief::keys_in(&vault) {
            keys.add("an erased key", &key);
        }
        Ok(keys)
    };
    let first_secret = secret_in(&hub(&system, &["secret", "--print", "--force"])?);
    assert!(first_secret.is_some());

    system.start_hub()?;
    system.until_line("an event", 0, |line| line.event() == "clip_finished")?;
    let old = keys()?;
    assert!(!old.is_empty());
    let from = system.board().len();
    touch()?;
    system.until_line("a reset", from, |line| line.event() == "reset")?;
    system.until_line("a new start", from, |line| line.event() == "ready")?;
    // It has no admission any more, and may end of that.
    system.kill(Role::Hub)?;
    assert!(!trigger.exists());
    let left = old.first_below(&system.path("hub"), &|_| false);
    assert_eq!(left.map_err(Trouble::machine("a search"))?, None);
    let second_secret = secret_in(&hub(&system, &["secret", "--print", "--force"])?);
    assert!(second_secret.is_some() && second_secret != first_secret);

    // One that waits for the next start is obeyed before anything is read: not even by its own vault does
    // it start.
    let old = keys()?;
    touch()?;
    system.invitation = system.invite("hub", "1h")?;
    system.write_hub_config()?;
    let from = system.board().len();
    system.start_hub()?;
    assert!(
        system
            .board()
            .find(from, |line| line.event() == "reset")
            .is_some()
    );
    let left = old.first_below(&system.path("hub"), &|_| false);
    assert_eq!(left.map_err(Trouble::machine("a search"))?, None);
    // With a new invitation it is a hub again, without phones.
    system.until("a hub without phones", PATIENCE, |system| {
        let config = system.path("hub.toml").display().to_string();
        let answer = system.ask_ok(Role::Hub, &["status", "--config", &config, "--json"])?;
        let pairings = answer.lines.last().map(|line| line["pairings"].clone());
        Ok((pairings == Some(serde_json::json!([]))).then_some(()))
    })?;
    system.stop(Role::Hub)?;
    system.finish()
}

/// A function of a test file.
struct Function {
    name: String,
    is_test: bool,
    body: String,
}

/// The functions that stand by themselves in the text of a file.
fn functions(text: &str) -> Vec<Function> {
    let mut found: Vec<Function> = Vec::new();
    let (mut is_test, mut is_open) = (false, false);
    for line in text.lines() {
        if let Some(last) = found.last_mut().filter(|_| is_open) {
            last.body.push_str(line);
            last.body.push('\n');
            is_open = line != "}";
            continue;
        }
        is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        let bare = line.trim_start_matches("pub(super) ");
        let bare = bare.trim_start_matches("pub ");
        let Some(rest) = bare.trim_start_matches("async ").strip_prefix("fn ") else {
            continue;
        };
        let name = rest.split(['(', '<']).next().unwrap_or_default();
        found.push(Function {
            name: name.to_owned(),
            is_test,
            body: String::new(),
        });
        (is_test, is_open) = (false, true);
    }
    found
}

/// Whether `body` calls the function of this name.
fn calls(body: &str, name: &str) -> bool {
    let call = format!("{name}(");
    body.match_indices(&call).any(|(at, _)| {
        let before = body[..at].chars().next_back();
        before.is_none_or(|before| !before.is_alphanumeric() && before != '_' && before != '.')
    })
}

/// The functions that say one of these words, or call one that does.
fn reaching<'a>(all: &'a [Function], words: &[&str]) -> Vec<&'a str> {
    let mut reached: Vec<&str> = Vec::new();
    loop {
        let before = reached.len();
        for function in all.iter().filter(|one| !one.body.is_empty()) {
            let says = words.iter().any(|word| function.body.contains(word));
            let reaches = says || reached.iter().any(|name| calls(&function.body, name));
            if reaches && !reached.contains(&function.name.as_str()) {
                reached.push(&function.name);
            }
        }
        if reached.len() == before {
            return reached;
        }
    }
}

/// Test programs, each with the functions that stand in its files: all below a directory of tests. What stands in one that
/// is called `common` belongs to each of them.
fn test_programs(tests: &Path) -> Outcome<Vec<Vec<Function>>> {
    let machine = || Trouble::machine("the tests' own sources");
    let read = |directory: &Path| -> Outcome<Vec<PathBuf>> {
        let entries = std::fs::read_dir(directory).map_err(machine())?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        paths.collect::<Result<_, _>>().map_err(machine())
    };
    let (shared, own): (Vec<_>, Vec<_>) = read(tests)?
        .into_iter()
        .partition(|path| path.ends_with("common"));
    let mut programs: Vec<Vec<Function>> = Vec::new();
    for path in own {
        let mut files = match path.is_dir() {
            true => read(&path)?,
            false => vec![path],
        };
        for common in &shared {
            files.extend(read(common)?);
        }
        let mut program = Vec::new();
        for file in files {
            program.extend(functions(
                &std::fs::read_to_string(&file).map_err(machine())?,
            ));
        }
        programs.push(program);
    }
    Ok(programs)
}

/// How many tests reach one of `begins`; each of them has to reach one of `ends`.
fn searched(programs: &[Vec<Function>], begins: &[&str], ends: &[&str]) -> usize {
    let mut seen = 0;
    for program in programs {
        let (begins, ends) = (reaching(program, begins), reaching(program, ends));
        for test in program.iter().filter(|function| function.is_test) {
            let name = test.name.as_str();
            if begins.contains(&name) {
                seen += 1;
                assert!(ends.contains(&name), "{name} ends with no search");
            }
        }
    }
    seen
}

/// How the outcome of either is kept, and how that is judged. In halves, so that this file passes.
const FINISHED: &str = concat!(".finish()", ";");
const SETTLED: &str = concat!(".settle()", ";");
const JUDGED: &str = "Verdict::of(&";

/// Whether what a search found is passed over: `settle` and `finish` fail by it.
fn passes_over(function: &Function) -> bool {
    let says = |word| function.body.contains(word);
    says(FINISHED) || (says(SETTLED) && !says(JUDGED))
}

/// What programs wrote and printed is searched at the end of every test that starts them, in one place: here by a world, in
/// the tests of one program alone by the place in which it runs.
#[test]
fn every_test_that_starts_programs_ends_with_the_search() -> Outcome<()> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let programs = test_programs(&own.join("tests"))?;
    let begins = ["System::new(", "System::paired("];
    let seen = searched(&programs, &begins, &[".settle()", ".finish()"]);
    assert!(seen > 20, "only {seen} tests start programs");
    for function in programs.iter().flatten() {
        let name = &function.name;
        assert!(!passes_over(function), "{name} passes over what is found");
    }
    for (tests, at_least) in [
        ("../hub/tests", 8),
        ("../relay/tests", 14),
        ("../app-core/cli/tests", 4),
    ] {
        let programs = test_programs(&own.join(tests))?;
        let begins = ["CARGO_BIN_EXE_", "place.spawn()", "Hub::start("];
        let seen = searched(&programs, &begins, &["Place::new(", "Place::with("]);
        assert!(seen >= at_least, "only {seen} in {tests} start a program");
    }
    // An app and a relay in the test's own process, each in a place of its own.
    let programs = test_programs(&own.join("../app-core/tests"))?;
    for ends in ["Place::new(", "relay.stop()"] {
        let seen = searched(&programs, &["Relay::start("], &[ends]);
        assert!(seen >= 16, "only {seen} start a relay");
    }
    // The reader is not blind.
    let text = "#[test]\nfn one() {\n    System::new(setup);\n    other();\n}\n\nfn other() {\n    x.finish()\n}\n";
    let program = functions(text);
    assert_eq!(reaching(&program, &["System::new("]), ["one"]);
    assert_eq!(reaching(&program, &[".finish()"]), ["other", "one"]);
    assert_eq!(reaching(&program, &[".settle()"]), [""; 0]);
    for (body, is_passed_over) in [
        (format!("let _ends = x{SETTLED}"), true),
        (format!("let run = x{SETTLED}\n    {JUDGED}run)"), false),
        ("let ends = x.settle()?;".to_owned(), false),
        (format!("let _found = x{FINISHED}"), true),
    ] {
        let program = functions(&format!("fn one() {{\n    {body}\n}}\n"));
        assert_eq!(passes_over(&program[0]), is_passed_over, "{body}");
    }
    Ok(())
}
