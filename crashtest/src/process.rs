//! One running program: started, listened to, frozen, killed.
//!
//! Its JSON lines go to a [`Board`] that all programs of a system share, so that one wait sees
//! whatever comes first. This room never interprets a line, ends only processes that it started,
//! and ends each of them when it is dropped, also while a test panics.
#![expect(
    clippy::disallowed_methods,
    reason = "The harness owns real processes: it waits on a real clock and has one listener thread each."
)]

use std::ffi::OsString;
use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::trouble::{Outcome, Trouble};

/// More lines than any run prints; a program that floods us is at fault.
const LINES_MAX: usize = 500_000;
/// How long a program may take to end after a polite request.
pub const STOP_PATIENCE: Duration = Duration::from_secs(20);
/// The end of a program's stderr that a failure shows, in bytes.
const SAID_BYTES: usize = 2_000;
/// How often a process that was told to end is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// The three programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// `secluso-relay`.
    Relay,
    /// `secluso-hub`.
    Hub,
    /// `secluso-app`.
    App,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Relay, Self::Hub, Self::App];

    /// The program's name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Relay => "secluso-relay",
            Self::Hub => "secluso-hub",
            Self::App => "secluso-app",
        }
    }

    /// The role of a program.
    #[must_use]
    pub fn of_program(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.program() == name)
    }

    /// Where the program lies: beside the test's own executable.
    ///
    /// # Errors
    /// [`Trouble::NotBuilt`] says what to run.
    pub fn path(self) -> Outcome<PathBuf> {
        let own = std::env::current_exe().map_err(Trouble::machine("our own path"))?;
        // target/debug/deps/test-0123 or target/debug/program.
        let place = own
            .ancestors()
            .skip(1)
            .take(2)
            .map(|dir| dir.join(self.program()));
        let mut last = PathBuf::from(self.program());
        for path in place {
            if path.is_file() {
                return Ok(path);
            }
            last = path;
        }
        Err(Trouble::NotBuilt(last))
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

/// A line that a program printed.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which program.
    pub role: Role,
    /// Which of its processes, counted over the board.
    pub process: u32,
    /// When we read it.
    pub at: Instant,
    /// What it said.
    pub value: Value,
}

impl Line {
    /// The event's name; empty if it has none.
    #[must_use]
    pub fn event(&self) -> &str {
        self.text("event")
    }

    /// A text in it; empty if there is none.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A number in it.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<u64> {
        self.value.get(key).and_then(Value::as_u64)
    }
}

#[derive(Default)]
struct Heard {
    lines: Vec<Line>,
    /// The first line that was no JSON object, or the flood.
    nonsense: Option<(Role, String)>,
    processes: u32,
    /// Grows with everything that happens, ends included.
    changes: u64,
}

/// Everything that the programs of one system have said, in the order in which we read it.
#[derive(Default)]
pub struct Board {
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // A panicked listener leaves a list that is still whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lock().lines.clone()
    }

    /// How many lines there are; a place to look from.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Strikes out what was said at or after place `from`: by a program that ran on a copy, say,
    /// whose claims bind nobody.
    pub fn forget_from(&self, from: usize) {
        self.lock().lines.truncate(from);
    }

    /// Puts a line there that no program said.
    #[cfg(test)]
    pub(crate) fn hear(&self, role: Role, value: Value) {
        let (process, at) = (0, Instant::now());
        self.lock().lines.push(Line {
            role,
            process,
            at,
            value,
        });
    }

    /// Whether nothing was said yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first line at or after place `from` that `wanted` accepts.
    pub fn find(&self, from: usize, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        let heard = self.lock();
        heard
            .lines
            .iter()
            .skip(from)
            .find(|line| wanted(line))
            .cloned()
    }

    /// What is no JSON, if anything was.
    #[must_use]
    pub fn nonsense(&self) -> Option<(Role, String)> {
        self.lock().nonsense.clone()
    }

    /// The state of the board, for [`Self::wait`].
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.lock().changes
    }

    /// Waits until something happened after `seen`, at most so long.
    pub fn wait(&self, seen: u64, at_most: Duration) {
        let heard = self.lock();
        // Whether it was a change or the time is for the caller to see.
        let _ = self
            .changed
            .wait_timeout_while(heard, at_most, |heard| heard.changes == seen);
    }
}

/// How a program is started.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// Arguments.
    pub arguments: Vec<OsString>,
    /// Extra environment.
    pub environment: Vec<(String, OsString)>,
    /// What it reads from stdin.
    pub input: String,
    /// Words before the program, such as `unshare`.
    pub wrapper: Vec<OsString>,
    /// Another program that takes this one's place; it has the same command line.
    pub program: Option<PathBuf>,
}

impl Start {
    /// A start with these arguments.
    #[must_use]
    pub fn with(arguments: &[&str]) -> Self {
        Self {
            arguments: arguments.iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}

/// A program that was started. Dropping it kills it.
pub struct Process {
    role: Role,
    number: u32,
    child: Child,
    board: Arc<Board>,
    listener: Option<JoinHandle<()>>,
    log: PathBuf,
    log_from: u64,
    status: Option<ExitStatus>,
    /// We killed it ourselves, so its death proves nothing.
    killed_by_us: bool,
}

impl Process {
    /// Starts a program; its stderr is appended to `log`.
    ///
    /// # Errors
    /// It is not built, or the machine refuses.
    pub fn start(role: Role, start: &Start, board: &Arc<Board>, log: &Path) -> Outcome<Self> {
        let file = std::fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Trouble::machine("the log of a program"))?;
        let log_from = file.metadata().map_or(0, |metadata| metadata.len());
        let number = {
            let mut heard = board.lock();
            heard.processes += 1;
            heard.processes
        };
        let program = match &start.program {
            Some(program) => program.clone(),
            None => role.path()?,
        };
        let mut child = command(&program, start)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(Trouble::machine(format!("starting {role}")))?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that reads nothing closes the pipe; what it does next is what counts.
            let _ = stdin.write_all(start.input.as_bytes());
        }
        let listener = child.stdout.take().map(|stdout| {
            let board = Arc::clone(board);
            std::thread::spawn(move || listen(stdout, role, number, &board))
        });
        Ok(Self {
            role,
            number,
            child,
            board: Arc::clone(board),
            listener,
            log: log.to_owned(),
            log_from,
            status: None,
            killed_by_us: false,
        })
    }

    /// Which program it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Its number on the board.
    #[must_use]
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    /// Whether it ended by a SIGKILL that was not ours.
    pub fn was_killed(&mut self) -> bool {
        !self.killed_by_us && self.ended().and_then(|status| status.signal()) == Some(9)
    }

    /// Waits for its end, and until all it said is on the board.
    ///
    /// # Errors
    /// [`Trouble::Late`]; the process is killed then.
    pub fn wait(&mut self, at_most: Duration) -> Outcome<ExitStatus> {
        let deadline = Instant::now() + at_most;
        loop {
            if let Some(status) = self.ended() {
                self.hear_out();
                return Ok(status);
            }
            if Instant::now() >= deadline {
                let last = self.said();
                self.kill();
                return Err(Trouble::Late {
                    what: format!("the end of {}", self.role),
                    seconds: at_most.as_secs(),
                    last,
                });
            }
            let seen = self.board.changes();
            if self.ended().is_none() {
                self.board.wait(seen, LOOK_INTERVAL);
            }
        }
    }

    /// SIGKILL, and waits until it is gone and all it said is on the board.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // It may have ended by itself in this very moment.
            self.killed_by_us = true;
            let _ = self.child.kill();
            self.status = self.child.wait().ok();
        }
        self.hear_out();
    }

    /// SIGTERM: a clean stop.
    ///
    /// # Errors
    /// It did not end in time, or ended with another code than 0; but one that has said nothing yet may not have come
    /// so far that it catches the signal.
    pub fn stop(&mut self) -> Outcome<()> {
        if self.ended().is_none() {
            self.signal(Signal::TERM)?;
        }
        let status = self.wait(STOP_PATIENCE)?;
        let began = || {
            let ours = |line: &Line| line.process == self.number;
            self.board.find(0, ours).is_some() || !self.said().is_empty()
        };
        if status.success() || (status.signal() == Some(Signal::TERM.as_raw()) && !began()) {
            Ok(())
        } else {
            Err(self.trouble(status))
        }
    }

    /// SIGSTOP: as a phone asleep.
    ///
    /// # Errors
    /// It is gone.
    pub fn freeze(&self) -> Outcome<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is gone.
    pub fn thaw(&self) -> Outcome<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Outcome<()> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| Trouble::machine(format!("a signal to {}", self.role))(error.into()))
    }

    /// The end of what this process wrote to stderr.
    #[must_use]
    pub fn said(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let from = usize::try_from(self.log_from)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let from = from.max(bytes.len().saturating_sub(SAID_BYTES));
        String::from_utf8_lossy(&bytes[from..]).trim().to_owned()
    }

    /// Its end as a [`Trouble`].
    #[must_use]
    pub fn trouble(&self, status: ExitStatus) -> Trouble {
        Trouble::Ended {
            role: self.role,
            status,
            said: self.said(),
        }
    }

    fn hear_out(&mut self) {
        if let Some(listener) = self.listener.take() {
            // A listener that panicked has said so itself.
            let _ = listener.join();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The program's command line. Where `setpriv` is there, the kernel kills the program when the
/// thread that started it ends, so that nothing stays behind even if the test process is killed.
fn command(program: &Path, start: &Start) -> Command {
    static SETPRIV: OnceLock<bool> = OnceLock::new();
    let dying_with_us = ["setpriv", "--pdeathsig", "KILL"];
    let works = *SETPRIV.get_or_init(|| {
        let mut probe = Command::new(dying_with_us[0]);
        probe
            .args(&dying_with_us[1..])
            .arg("true")
            .stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    let mut words: Vec<OsString> = Vec::new();
    if works {
        words.extend(dying_with_us.iter().map(Into::into));
    }
    words.extend(start.wrapper.iter().cloned());
    words.push(program.into());
    words.extend(start.arguments.iter().cloned());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    for (name, value) in &start.environment {
        command.env(name, value);
    }
    command
}

fn listen(stdout: ChildStdout, role: Role, process: u32, board: &Board) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let at = Instant::now();
        let mut heard = board.lock();
        match serde_json::from_str::<Value>(&line) {
            Ok(value) if heard.lines.len() < LINES_MAX => heard.lines.push(Line {
                role,
                process,
                at,
                value,
            }),
            Ok(_) => heard.nonsense = Some((role, "more lines than anyone reads".into())),
            Err(_) if heard.nonsense.is_none() => {
                heard.nonsense = Some((role, format!("a line that is no JSON: {line:.120}")));
            }
            Err(_) => {}
        }
        heard.changes += 1;
        drop(heard);
        board.changed.notify_all();
    }
    board.lock().changes += 1;
    board.changed.notify_all();
}
