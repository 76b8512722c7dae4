//! The process that is the drive, and the word of command between it and the one that uses it.
//!
//! It is a process of its own for one reason: whoever waits in the kernel for a drive cannot be ended
//! before that drive answers or is gone, so a drive must never live in a process that mounts what
//! stands on it. It outlives its master by a moment and tidies up after it. This room must never touch
//! what is on its own disks.
//!
//! ```text
//! ready             it is mounted                         ok
//! show NAME STATE   a state of the log under a new name   ok HASH
//! hide NAME         no more                               ok READS WRITES
//! record            from here on everything is logged     ok
//! finish PATH       the log into a file                   ok
//! loop DEVICE       to be detached if the master dies     ok
//! end               nothing is left to tidy up            ok
//! ```

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crashtest::trouble::{Outcome, Trouble};
use crashtest_replay::image::{Hash, Image};
use fuser::{BackgroundSession, Config, MountOption};

use crate::device::{Device, Shelf, Traffic};
use crate::epochs::Walk;
use crate::log::Log;
use crate::mounts;
use crate::states::State;

/// The name of the disk that is recorded.
pub const RECORDED: &str = "recorded";
/// Threads that answer when states are shown. A recorded disk has one, so that the order in the log
/// is the order of arrival.
const SHOWING_THREADS: usize = 2;

/// What a drive is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// One empty disk of so many bytes that is recorded.
    Record(u64),
    /// The states of the log in this file.
    Show(PathBuf),
}

/// Is the drive until its master says that it is the end, or is gone.
///
/// # Errors
/// It cannot be mounted, or its log cannot be read.
pub fn serve(home: &Path, duty: &Duty) -> Outcome<()> {
    let shelf = Shelf::default();
    let mut log = Log::default();
    let threads = match duty {
        Duty::Record(bytes) => {
            let mut image = Image::default();
            image.set_length(*bytes);
            shelf.show(RECORDED, image);
            1
        }
        Duty::Show(path) => {
            log = read_log(path)?;
            SHOWING_THREADS
        }
    };
    let place = place(home);
    std::fs::create_dir_all(&place).map_err(Trouble::machine("the drive's directory"))?;
    let session = mount(&shelf, &place, threads)?;
    let mut drive = Drive {
        shelf,
        log: &log,
        walks: BTreeMap::new(),
        loops: Vec::new(),
    };
    let ended = drive.obey();
    if !ended {
        // ORDER: mounts before what they stand on; a detached one goes when nobody is in it.
        mounts::detach_below(home);
        for device in &drive.loops {
            mounts::detach_loop(device);
        }
    }
    mounts::detach_below(&place);
    drop(session);
    if !ended {
        // Whatever is left is of no use to anybody; the next run makes it anew.
        let _ = std::fs::remove_dir_all(home);
    }
    Ok(())
}

fn place(home: &Path) -> PathBuf {
    home.join("drive")
}

fn mount(shelf: &Shelf, place: &Path, threads: usize) -> Outcome<BackgroundSession> {
    let mut config = Config::default();
    config.mount_options = vec![MountOption::FSName("crashtest-block".to_owned())];
    config.n_threads = Some(threads);
    fuser::spawn_mount(Device::new(shelf), place, &config)
        .map_err(Trouble::machine("mounting the drive"))
}

/// Reads a log from a file.
///
/// # Errors
/// The machine, or it is none.
pub fn read_log(path: &Path) -> Outcome<Log> {
    let bytes = std::fs::read(path).map_err(Trouble::machine("the log of a device"))?;
    Log::decode(&bytes).map_err(|error| Trouble::Broken(format!("{}: {error}", path.display())))
}

struct Drive<'a> {
    shelf: Shelf,
    log: &'a Log,
    /// One for each user of states, who goes through the log mostly forwards.
    walks: BTreeMap<String, Walk<'a>>,
    loops: Vec<PathBuf>,
}

impl Drive<'_> {
    /// Obeys until the end; whether it was told that it is the end.
    fn obey(&mut self) -> bool {
        for line in std::io::stdin().lines() {
            let Ok(line) = line else { break };
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            let answer = if word == "end" {
                Ok(String::new())
            } else {
                self.command(word, rest)
            };
            let line = match answer {
                Ok(answer) => format!("ok {answer}"),
                Err(why) => format!("no {}", why.replace('\n', " ")),
            };
            let mut out = std::io::stdout().lock();
            if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
                break;
            }
            if word == "end" {
                return true;
            }
        }
        false
    }

    fn command(&mut self, word: &str, rest: &str) -> Result<String, String> {
        let unknown = || format!("there is no disk {rest}");
        match word {
            "ready" => Ok(String::new()),
            "show" => {
                let (name, state) = rest.split_once(' ').ok_or("show what?")?;
                let image = self.image(name, &state.parse()?);
                let hash = image.hash();
                self.shelf.show(name, image);
                Ok(format!("{hash:x}"))
            }
            "hide" => {
                let Traffic { reads, writes } = self.shelf.hide(rest).ok_or_else(unknown)?;
                Ok(format!("{reads} {writes}"))
            }
            "record" => {
                self.shelf.record(RECORDED).ok_or_else(unknown)?;
                Ok(String::new())
            }
            "finish" => self.finish(Path::new(rest)),
            "loop" => {
                self.loops.push(PathBuf::from(rest));
                Ok(String::new())
            }
            other => Err(format!("what is `{other}`?")),
        }
    }

    fn image(&mut self, name: &str, state: &State) -> Image {
        let user = name.split('-').next().unwrap_or_default().to_owned();
        let log = self.log;
        let fresh = || Walk::new(log, state.crash.ignored);
        let walk = self.walks.entry(user).or_insert_with(fresh);
        if !walk.can_go_to(state.crash) {
            *walk = fresh();
        }
        state.image(log, walk)
    }

    fn finish(&self, path: &Path) -> Result<String, String> {
        let strange = self.shelf.strange();
        if !strange.is_empty() {
            return Err(format!(
                "requests that nobody understood: {}",
                strange.join("; ")
            ));
        }
        let log = self.shelf.log(RECORDED).ok_or("nothing was recorded")?;
        log.ordered().map_err(|error| error.to_string())?;
        let mut after = log.before.clone();
        for record in 0..log.records.len() {
            log.put(&mut after, record, None);
        }
        let stands = self.shelf.image(RECORDED).map(|image| image.hash());
        if stands != Some(after.hash()) {
            return Err("the log does not lead to the disk".to_owned());
        }
        std::fs::write(path, log.encode()).map_err(|error| error.to_string())?;
        Ok(String::new())
    }
}

/// A drive, as its master sees it. When it is dropped, so is the drive.
pub struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
    place: PathBuf,
}

impl Server {
    /// Starts a drive: this program again.
    ///
    /// # Errors
    /// The machine's.
    pub fn start(home: &Path, duty: &Duty) -> Outcome<Self> {
        let own = std::env::current_exe().map_err(Trouble::machine("our own path"))?;
        let mut command = Command::new(own);
        command.arg("serve").arg("--home").arg(home);
        match duty {
            Duty::Record(bytes) => command.arg("--bytes").arg(bytes.to_string()),
            Duty::Show(path) => command.arg("--log").arg(path),
        };
        // In a group of its own: what is typed to end its master does not reach it, so that it can
        // tidy up.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Trouble::machine("starting the drive"))?;
        let (Some(to), Some(from)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Trouble::Broken("the drive has no pipes".to_owned()));
        };
        let mut server = Self {
            child,
            to: Some(to),
            from: BufReader::new(from),
            place: place(home),
        };
        // ORDER: before it is mounted, its directory is an empty one of somebody else's.
        server.ask("ready")?;
        Ok(server)
    }

    /// Where a disk lies.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }

    /// One word of command, and the answer.
    ///
    /// # Errors
    /// The drive refuses, or is gone.
    pub fn ask(&mut self, line: &str) -> Outcome<String> {
        let machine = || Trouble::machine("a word to the drive");
        if let Some(to) = &mut self.to {
            writeln!(to, "{line}").map_err(machine())?;
        }
        let mut answer = String::new();
        self.from.read_line(&mut answer).map_err(machine())?;
        match answer.trim_end_matches('\n').split_once(' ') {
            Some(("ok", rest)) => Ok(rest.to_owned()),
            Some(("no", why)) => Err(Trouble::Broken(format!("the drive: {why}"))),
            _ => Err(Trouble::Broken("the drive is gone".to_owned())),
        }
    }

    /// Shows a state under a name; its hash, so that both sides can compare what they mean by it.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn show(&mut self, name: &str, state: &State) -> Outcome<Hash> {
        let answer = self.ask(&format!("show {name} {state}"))?;
        let nonsense = |_| Trouble::Broken(format!("the drive says {answer}"));
        Hash::from_str_radix(&answer, 16).map_err(nonsense)
    }

    /// Shows it no more; how often it was read.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub fn hide(&mut self, name: &str) -> Outcome<u64> {
        let answer = self.ask(&format!("hide {name}"))?;
        let reads = answer
            .split(' ')
            .next()
            .and_then(|reads| reads.parse().ok());
        reads.ok_or_else(|| Trouble::Broken(format!("the drive says {answer}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // If it does not take the word any more, the end of its input is the word.
        let _ = self.ask("end");
        self.to = None;
        // It ends by itself once it has unmounted.
        let _ = self.child.wait();
    }
}
