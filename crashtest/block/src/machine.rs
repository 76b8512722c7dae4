//! What this machine must have for the tier: root, FUSE, loop devices, ext4 and its tools; and the
//! mount namespace in which all of it happens.
//!
//! Everything is mounted in a namespace of our own, so that nobody else sees it and the kernel takes it
//! away when the last of our processes is gone, however that came about. This room must never let a
//! machine that lacks something pass for one that was tested.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crashtest::trouble::Trouble;

/// The exit code that says: nothing was tested, because this machine cannot. Test runners take 77
/// for "skipped"; here it is no success.
pub const NOT_COVERED: u8 = 77;

/// Set inside of the namespace: the directory for everything of this run.
pub const HOME: &str = "SECLUSO_BLOCK_HOME";

/// Programs of util-linux and e2fsprogs that we call.
const TOOLS: [&str; 5] = ["unshare", "mount", "losetup", "mkfs.ext4", "e2fsck"];

/// What a machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// We are root.
    pub root: bool,
    /// FUSE's device can be opened.
    pub fuse: bool,
    /// The device that gives out loop devices is there.
    pub loops: bool,
    /// The kernel knows ext4.
    pub ext4: bool,
    /// Mounts can be kept to ourselves.
    pub namespace: bool,
    /// Tools that are not there.
    pub missing_tools: Vec<String>,
}

impl Machine {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let opens = |path: &str| {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open(path)
                .is_ok()
        };
        let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        let quiet = |command: &mut Command| {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
        };
        let there = |tool: &str| quiet(Command::new(tool).arg("-V")).is_ok();
        let tools = TOOLS.iter().filter(|tool| !there(tool));
        let private = quiet(Command::new("unshare").args(["--mount", "true"]));
        Self {
            root: nix::unistd::geteuid().is_root(),
            fuse: opens("/dev/fuse"),
            loops: opens("/dev/loop-control"),
            ext4: known.lines().any(|line| line.trim_start() == "ext4"),
            namespace: private.is_ok_and(|status| status.success()),
            missing_tools: tools.map(|tool| (*tool).to_owned()).collect(),
        }
    }

    /// Why the tier cannot run here; none if it can.
    #[must_use]
    pub fn lacks(&self) -> Option<String> {
        let mut all: Vec<String> = Vec::new();
        if !self.root {
            all.push("root (only root attaches loop devices and mounts)".to_owned());
        }
        let parts = [
            (self.fuse, "FUSE (the device fuse cannot be opened)"),
            (self.loops, "loop devices (loop-control cannot be opened)"),
            (self.ext4, "ext4 in the kernel"),
            (
                self.namespace,
                "a mount namespace of its own (unshare --mount)",
            ),
        ];
        let missing = parts.iter().filter(|(there, _)| !there);
        all.extend(missing.map(|(_, what)| (*what).to_owned()));
        all.extend(
            self.missing_tools
                .iter()
                .map(|tool| format!("the program {tool}")),
        );
        (!all.is_empty()).then(|| format!("this machine lacks {}", all.join("; ")))
    }
}

/// The directory of this run, if we are inside of our namespace.
#[must_use]
pub fn home() -> Option<PathBuf> {
    std::env::var_os(HOME).map(PathBuf::from)
}

/// Becomes the same program in a mount namespace of its own, with a directory for everything, and
/// with log files of this size wherever the engine is opened. Comes back only if that fails.
#[must_use]
pub fn enter(home: &Path, log_kib: u32) -> Trouble {
    let own = match std::env::current_exe() {
        Ok(own) => own,
        Err(error) => return Trouble::machine("our own path")(error),
    };
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let error = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "--"])
        .arg(own)
        .args(arguments)
        .env(HOME, home)
        .env("TMPDIR", home)
        .env("SECLUSO_CRASH_LOG_KIB", log_kib.to_string())
        .exec();
    Trouble::machine("a mount namespace")(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_missing_is_named_and_nothing_passes_for_complete() {
        let whole = Machine {
            root: true,
            fuse: true,
            loops: true,
            ext4: true,
            namespace: true,
            missing_tools: Vec::new(),
        };
        assert_eq!(whole.lacks(), None);
        type Without = fn(&mut Machine);
        let cases: [(Without, &str); 6] = [
            (|machine| machine.root = false, "root"),
            (|machine| machine.fuse = false, "FUSE"),
            (|machine| machine.loops = false, "loop devices"),
            (|machine| machine.ext4 = false, "ext4"),
            (|machine| machine.namespace = false, "namespace"),
            (
                |machine| machine.missing_tools.push("losetup".to_owned()),
                "losetup",
            ),
        ];
        for (without, word) in cases {
            let mut machine = whole.clone();
            without(&mut machine);
            let lacks = machine.lacks().unwrap();
            assert!(lacks.contains(word), "{lacks}");
        }
        let nothing = Machine::default().lacks().unwrap();
        assert!(
            nothing.contains("root") && nothing.contains("ext4"),
            "{nothing}"
        );
    }
}
