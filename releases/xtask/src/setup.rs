//! Finds what the machine lacks for a build, and installs it where it may.
//!
//! Does nothing, quickly, when all is there, and never goes to the network then. It installs only
//! through the system's own package manager and only as root or with a password-free sudo;
//! otherwise it prints the one line to run. It never edits configuration and never asks questions. Only who judges our
//! clips or units, and the server that is a camera, may stay missing, and not in CI: the tests that want one say what they
//! do not cover.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cargo;
use crate::failure::{Because, Failure, Outcome};

/// Something a build needs, how to see whether it is there, and which packages bring it.
struct Need {
    what: &'static str,
    why: &'static str,
    apt_packages: &'static [&'static str],
    present: fn() -> bool,
}

const NEEDS: [Need; 2] = [
    Need {
        what: "a C++ compiler",
        why: "RocksDB and AWS-LC are compiled from source",
        // Not `g++`: where the lists are missing, apt takes that for a pattern and reports success.
        apt_packages: &["build-essential"],
        present: cpp_compiler_works,
    },
    Need {
        what: "libclang with its headers",
        why: "bindgen reads RocksDB's header with it",
        apt_packages: &["libclang-dev"],
        present: libclang_is_there,
    },
];

/// What tests run besides our own programs.
const TEST_NEEDS: [Need; 1] = [Need {
    what: "strace",
    why: "a test compares what the crash recorder saw with what the kernel was asked for",
    apt_packages: &["strace"],
    present: strace_works,
}];

/// What tests have our clips played with and our units judged by, and what cameras of others they have.
const PLAYERS: [Need; 4] = [
    Need {
        what: "ffmpeg",
        why: "tests have it decode every clip",
        apt_packages: &["ffmpeg"],
        present: ffmpeg_works,
    },
    Need {
        what: "chromium",
        why: "tests have it play clips and live pictures",
        apt_packages: &["chromium"],
        present: chromium_works,
    },
    Need {
        what: "GStreamer's RTSP server",
        why: "tests have a camera of it, in Debian's own Python",
        apt_packages: &[
            "gir1.2-gst-rtsp-server-1.0",
            "gstreamer1.0-plugins-base",
            "gstreamer1.0-plugins-good",
            "python3-gi",
        ],
        present: rtsp_server_works,
    },
    Need {
        what: "systemd-analyze",
        why: "a test has it say how much of the machine our units leave open",
        apt_packages: &["systemd"],
        present: systemd_analyze_works,
    },
];

/// Makes sure that the programs and tests can be built.
pub(crate) fn ensure_build_tools() -> Outcome<()> {
    ensure(&NEEDS)
}

/// Makes sure that the tests can be run.
pub(crate) fn ensure_test_tools() -> Outcome<()> {
    ensure(&TEST_NEEDS)
}

/// Makes sure that clips can be judged by those who play them and units by systemd, and that a camera can be somebody
/// else's. Where nobody may install them, or cannot, that is said, and is no failure: it is said again for each test that
/// does not cover something without them. In CI (`CI=true`), where nobody reads that, it fails if they may be installed.
pub(crate) fn ensure_players() -> Outcome<()> {
    let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let must_install = is_ci && privilege().is_some();
    // One by one: a package that this system does not have keeps nobody else away.
    for player in &PLAYERS {
        let Err(failure) = ensure(std::slice::from_ref(player)) else {
            continue;
        };
        if must_install {
            return Err(failure);
        }
        eprintln!("      {failure}");
        eprintln!("      the tests go on without it, and say what is NOT COVERED");
    }
    Ok(())
}

fn ensure(needs: &[Need]) -> Outcome<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        eprintln!("      missing: {} ({})", need.what, need.why);
    }
    let packages = missing.iter().flat_map(|need| need.apt_packages);
    let packages: Vec<&str> = packages.copied().collect();
    install(&packages)?;
    match needs.iter().find(|need| !(need.present)()) {
        None => Ok(()),
        Some(need) => Err(Failure::machine(format!(
            "{} is still not found after installing {}",
            need.what,
            need.apt_packages.join(" ")
        ))),
    }
}

/// Makes sure that rustfmt and clippy of the pinned toolchain are there.
pub(crate) fn ensure_lint_tools() -> Outcome<()> {
    let missing: Vec<&str> = [("fmt", "rustfmt"), ("clippy", "clippy")]
        .into_iter()
        .filter(|(command, _)| cargo::output(&[*command, "--version"]).is_err())
        .map(|(_, component)| component)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let line = format!("rustup component add {}", missing.join(" "));
    eprintln!("      {line}");
    let added = Command::new("rustup")
        .args(["component", "add"])
        .args(&missing)
        .current_dir(cargo::root())
        .stdin(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Failure::machine(format!("please run: {line}"))),
    }
}

fn install(packages: &[&str]) -> Outcome<()> {
    let by_hand = format!(
        "apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    if !succeeds(Command::new("apt-get").arg("--version")) {
        return Err(Failure::machine(format!(
            "this system has no apt-get; please install what Debian calls: {}",
            packages.join(" ")
        )));
    }
    let Some(prefix) = privilege() else {
        return Err(Failure::machine(format!("please run once: sudo {by_hand}")));
    };
    // The package lists may be there already, and the machine may be offline: lists are fetched
    // only if installing without that fails.
    eprintln!("      {by_hand}");
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(packages);
    if apt(prefix, &install)?.is_none() {
        return Ok(());
    }
    eprintln!("      apt-get update");
    let trouble = match apt(prefix, &["update"])? {
        None => apt(prefix, &install)?,
        some => some,
    };
    match trouble {
        None => Ok(()),
        Some(stderr) => Err(Failure::machine(format!("{by_hand} failed:\n{stderr}"))),
    }
}

/// Who may install: nothing in front for root, sudo if it asks for no password, else nobody.
fn privilege() -> Option<&'static [&'static str]> {
    let id = Command::new("id").arg("-u").output().ok()?;
    if id.stdout.trim_ascii() == b"0" {
        return Some(&[]);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

/// Runs apt-get quietly. `None` if it succeeded, otherwise what it said.
fn apt(prefix: &[&str], arguments: &[&str]) -> Outcome<Option<String>> {
    let mut words: Vec<&str> = prefix.to_vec();
    // `env` carries the setting through sudo, which drops the environment.
    words.extend(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]);
    words.extend(arguments);
    let Some((program, rest)) = words.split_first() else {
        return Ok(None);
    };
    let output = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .output()
        .because("cannot start apt-get")?;
    if output.status.success() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn strace_works() -> bool {
    succeeds(Command::new("strace").arg("--version"))
}

/// Both of its programs, which Debian has in one package.
fn ffmpeg_works() -> bool {
    let answers = |program: &str| succeeds(Command::new(program).arg("-version"));
    answers("ffmpeg") && answers("ffprobe")
}

/// Any browser that is Chromium and knows H.264: the names under which the tests seek it.
fn chromium_works() -> bool {
    let names = ["chromium", "google-chrome", "google-chrome-stable"];
    names
        .iter()
        .any(|name| succeeds(Command::new(name).arg("--version")))
}

/// By its own word: it looks for all that it needs. Debian's Python has Debian's modules, another one need not.
fn rtsp_server_works() -> bool {
    let server = cargo::root().join("crashtest/testdata/rtsp_server.py");
    let mut python = Command::new("/usr/bin/python3");
    succeeds(python.arg("-I").arg(server).arg("check"))
}

/// It needs no systemd that runs.
fn systemd_analyze_works() -> bool {
    succeeds(Command::new("systemd-analyze").arg("--version"))
}

/// Compiles a line that needs the compiler and the standard library's headers.
fn cpp_compiler_works() -> bool {
    let compiler = std::env::var_os("CXX").filter(|name| !name.is_empty());
    let compiler = compiler.unwrap_or_else(|| "c++".into());
    let child = Command::new(compiler)
        .args(["-x", "c++", "-fsyntax-only", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut child) = child else {
        return false;
    };
    if let Some(mut stdin) = child.stdin.take() {
        // A compiler that dies before reading has failed anyway; its status says so below.
        let _ = stdin.write_all(b"#include <vector>\nstd::vector<int> probe;\n");
    }
    child.wait().is_ok_and(|status| status.success())
}

/// Looks where clang-sys looks: `LIBCLANG_PATH`, then the usual library directories. The shared
/// library alone is not enough: bindgen also needs clang's own `stddef.h`.
fn libclang_is_there() -> bool {
    let mut places: Vec<PathBuf> = Vec::new();
    if let Some(path) = std::env::var_os("LIBCLANG_PATH") {
        let path = PathBuf::from(path);
        if path.is_file() {
            return true;
        }
        places.push(path);
    }
    for library_directory in [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/lib64",
    ] {
        places.push(PathBuf::from(library_directory));
        places.extend(
            subdirectories(Path::new(library_directory))
                .into_iter()
                .flat_map(|d| {
                    let nested = d.join("lib");
                    [d, nested]
                }),
        );
    }
    let library = places.iter().any(|place| holds_libclang(place));
    library && (clang_headers(&places) || succeeds(Command::new("clang").arg("--version")))
}

fn holds_libclang(place: &Path) -> bool {
    entries(place).iter().any(|name| {
        name.starts_with("libclang.so")
            || (name.starts_with("libclang-") && name.contains(".so"))
                && !name.starts_with("libclang-cpp")
    })
}

fn clang_headers(places: &[PathBuf]) -> bool {
    places
        .iter()
        .flat_map(|place| subdirectories(&place.join("clang")))
        .any(|version| version.join("include/stddef.h").is_file())
}

fn entries(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn subdirectories(directory: &Path) -> Vec<PathBuf> {
    entries(directory)
        .into_iter()
        .map(|name| directory.join(name))
        .filter(|path| path.is_dir())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_its_relatives() {
        let directory = std::env::temp_dir().join(format!("xtask-libclang-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("libclang-cpp.so.14"), b"").unwrap();
        assert!(!holds_libclang(&directory));
        std::fs::write(directory.join("libclang-14.so.13"), b"").unwrap();
        assert!(holds_libclang(&directory));
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_machine_that_builds_this_test_passes() {
        // The test itself was linked, and its workspace compiled, with these tools.
        assert!(NEEDS.iter().all(|need| (need.present)()));
    }
}
