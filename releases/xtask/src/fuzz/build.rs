//! Builds the libFuzzer programs on a nightly toolchain: by cargo-fuzz where that is installed, else with
//! the flags that it would give (its `src/project.rs`).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::PACKAGE;
use crate::cargo;
use crate::failure::{Because as _, Failure, Outcome};

/// What the address sanitizer is told, as by cargo-fuzz.
pub(super) const ASAN_OPTIONS: &str = "detect_odr_violation=0";

/// Coverage for libFuzzer, the address sanitizer, and our own checks.
const RUSTFLAGS: [&str; 10] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Cllvm-args=-sanitizer-coverage-stack-depth",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
    "-Ccodegen-units=1",
];

/// Builds the programs of these targets; answers the folder they are in.
pub(super) fn programs(place: &Path, targets: &[String]) -> Outcome<PathBuf> {
    let host = host()?;
    let with_cargo_fuzz = nightly(&["fuzz", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let package = cargo::root().join(PACKAGE);
    if with_cargo_fuzz {
        eprintln!("building with cargo-fuzz, in {}", place.display());
        for target in targets {
            let mut command = nightly(&["fuzz", "build"]);
            command.arg("--fuzz-dir").arg(&package);
            command.arg("--target-dir").arg(place).arg(target);
            done(&mut command)?;
        }
    } else {
        eprintln!("building for libFuzzer, in {}", place.display());
        let manifest = package.join("Cargo.toml");
        let mut command = nightly(&["build", "--locked", "--release", "--target", &host]);
        command.arg("--manifest-path").arg(&manifest);
        command.arg("--target-dir").arg(place);
        for target in targets {
            command.args(["--bin", target]);
        }
        // With a `--target` these flags reach neither build scripts nor proc macros.
        command.env("RUSTFLAGS", RUSTFLAGS.join(" ") + " --cfg fuzzing");
        done(&mut command)?;
    }
    Ok(place.join(host).join("release"))
}

fn done(command: &mut Command) -> Outcome<()> {
    let status = command.status().because("cannot start cargo")?;
    match status.success() {
        true => Ok(()),
        false => Err(Failure::found("the fuzz targets do not build")),
    }
}

/// Cargo of the nightly toolchain, in the checkout's root, without what our own cargo left in the
/// environment.
fn nightly(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo"])
        .args(arguments)
        .current_dir(cargo::root())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "RUSTUP_TOOLCHAIN"];
        let is_cargo = matches!(&*text, "CARGO" | "RUSTC" | "RUSTDOC" | "CARGO_TARGET_DIR");
        if is_cargo || ours.iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

/// The machine's own target triple.
fn host() -> Outcome<String> {
    let missing = || {
        Failure::machine(
            "fuzzing wants a nightly toolchain; install one: rustup toolchain install nightly --profile minimal",
        )
    };
    let output = Command::new("rustup")
        .args(["run", "nightly", "rustc", "-vV"])
        .stdin(Stdio::null())
        .output()
        .map_err(|_| missing())?;
    if !output.status.success() {
        return Err(missing());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    host_of(&said).ok_or_else(missing)
}

fn host_of(said: &str) -> Option<String> {
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_read_from_what_rustc_says() {
        let said = "rustc 1.99.0-nightly\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\n";
        assert_eq!(host_of(said).as_deref(), Some("x86_64-unknown-linux-gnu"));
        assert_eq!(host_of("no rustc"), None);
    }
}
