//! One running program: started, listened to, stopped, woken and killed.
//!
//! A program speaks JSON, one object a line, on stdout; a thread collects the lines with the time
//! they came. This room never interprets them, and it ends only processes that it started.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::failure::{Because, Failure, Outcome};
use crate::kernel;

/// More lines than anybody prints here; a program that floods us is at fault.
const EVENTS_MAX: usize = 200_000;
/// How long a program may take to end after a polite request.
const TERMINATE_WAIT: Duration = Duration::from_secs(10);

/// A line that a program printed.
#[derive(Clone, Debug)]
pub struct Event {
    /// When we read it: one clock for all programs.
    pub unix_ms: u64,
    /// What the line says.
    pub value: Value,
}

impl Event {
    /// The event's name.
    pub fn name(&self) -> &str {
        self.value
            .get("event")
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// A number in it; zero if there is none.
    pub fn number(&self, key: &str) -> u64 {
        self.value
            .get(key)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// A text in it; empty if there is none.
    pub fn text(&self, key: &str) -> &str {
        self.value
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}

#[derive(Default)]
struct Heard {
    events: Vec<Event>,
    /// A line that was no JSON object, or the flood; the first one.
    trouble: Option<String>,
    ended: bool,
}

#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    changed: Condvar,
}

impl Ear {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        // A panicked listener leaves a list that is still whole.
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running program. Dropping it kills it.
pub struct Program {
    name: String,
    child: Child,
    ear: Arc<Ear>,
    listener: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; its stderr is appended to `log`.
    pub fn start(name: &str, command: &Command, log: &Path) -> Outcome<Self> {
        let mut command = dying_with_us(command);
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .because("cannot open a log file")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .because(&format!("cannot start {name}"))?;
        let ear = Arc::new(Ear::default());
        let listener = child.stdout.take().map(|stdout| {
            let ear = Arc::clone(&ear);
            std::thread::spawn(move || listen(stdout, &ear))
        });
        Ok(Self {
            name: name.to_owned(),
            child,
            ear,
            listener,
            log: log.to_path_buf(),
        })
    }

    /// How many lines have come so far; a place to wait from.
    pub fn heard(&self) -> usize {
        self.ear.lock().events.len()
    }

    /// Everything it said so far.
    pub fn events(&self) -> Vec<Event> {
        self.ear.lock().events.clone()
    }

    /// Waits for the first event at or after place `from` that `wanted` accepts.
    pub fn wait_for(
        &self,
        what: &str,
        from: usize,
        timeout: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Outcome<Event> {
        let deadline = Instant::now() + timeout;
        let mut next = from;
        let mut heard = self.ear.lock();
        loop {
            if let Some(found) = heard.events.iter().skip(next).find(|event| wanted(event)) {
                return Ok(found.clone());
            }
            next = next.max(heard.events.len());
            if let Some(trouble) = &heard.trouble {
                return Err(self.failure(&format!("printed {trouble}")));
            }
            if heard.ended {
                return Err(self.failure(&format!("ended while we waited for {what}")));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let waited = timeout.as_secs();
                return Err(self.failure(&format!("showed no {what} within {waited} s")));
            }
            heard = self
                .ear
                .changed
                .wait_timeout(heard, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Fails if the program has ended by itself.
    pub fn still_running(&mut self) -> Outcome<()> {
        match self.child.try_wait().because("cannot look at a child")? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended by itself ({status})"))),
        }
    }

    /// SIGSTOP: as a phone that falls asleep in a pocket.
    pub fn freeze(&self) -> Outcome<()> {
        self.signal("STOP")
    }

    /// SIGHUP: the configuration was changed.
    pub fn hang_up(&self) -> Outcome<()> {
        self.signal("HUP")
    }

    /// SIGCONT.
    pub fn wake(&self) -> Outcome<()> {
        self.signal("CONT")
    }

    /// The most memory that it ever had resident, in bytes; `None` where /proc does not say.
    pub fn peak_memory_bytes(&self) -> Option<u64> {
        Some(kernel::memory(&self.child.id().to_string()).ok()?.peak)
    }

    /// Bytes that the kernel wrote to disks for it, caches not counted; `None` where /proc does not say.
    pub fn bytes_written(&self) -> Option<u64> {
        kernel::write_bytes(&self.child.id().to_string()).ok()
    }

    /// The time that all its threads have had on a processor; `None` where /proc does not say.
    pub fn cpu_time(&self) -> Option<Duration> {
        kernel::cpu_time(&self.child.id().to_string()).ok()
    }

    /// SIGKILL, at once; returns all it ever said. Fails if it was dead already, for then the
    /// kill would prove nothing.
    pub fn kill(mut self) -> Outcome<Vec<Event>> {
        self.still_running()?;
        self.child.kill().because("cannot kill a child")?;
        let status = self.child.wait().because("cannot wait for a child")?;
        if status.code().is_some() {
            return Err(self.failure(&format!("did not die of the kill ({status})")));
        }
        self.stop_listening();
        Ok(self.events())
    }

    /// SIGTERM; returns all it ever said. Fails if it does not end cleanly in time.
    pub fn terminate(mut self) -> Outcome<Vec<Event>> {
        self.still_running()?;
        self.signal("TERM")?;
        let deadline = Instant::now() + TERMINATE_WAIT;
        loop {
            if let Some(status) = self.child.try_wait().because("cannot look at a child")? {
                if !status.success() {
                    return Err(self.failure(&format!("did not end cleanly ({status})")));
                }
                self.stop_listening();
                return Ok(self.events());
            }
            if Instant::now() >= deadline {
                return Err(self.failure("did not end when asked to"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) -> Outcome<()> {
        // The shell's own `kill` saves us unsafe code and a dependency.
        let status = Command::new("sh")
            .args([
                "-c",
                "kill -\"$1\" \"$2\"",
                "sh",
                signal,
                &self.child.id().to_string(),
            ])
            .status()
            .because("cannot start sh")?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(&format!("did not take SIG{signal}")))
    }

    fn failure(&self, what: &str) -> Failure {
        let tail = tail_of(&self.log);
        Failure::found(format!("{} {what}; the end of its log:\n{tail}", self.name))
    }

    fn stop_listening(&mut self) {
        if let Some(listener) = self.listener.take() {
            // It ends at the end of the pipe. If it panicked, the list is still whole.
            let _ = listener.join();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already dead is as good; there is nobody to tell anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, ended by the kernel when this process dies, where util-linux can ask for that:
/// who is killed here must leave no hub behind that records for ever. The program keeps
/// its process id, for `setpriv` replaces itself by it.
pub(crate) fn dying_with_us(command: &Command) -> Command {
    let wrapper = ["--pdeathsig", "KILL"];
    let works = Command::new("setpriv")
        .args(wrapper)
        .arg("true")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut wrapped = if works {
        let mut wrapped = Command::new("setpriv");
        wrapped.args(wrapper).arg(command.get_program());
        wrapped
    } else {
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    wrapped
}

fn listen(stdout: ChildStdout, ear: &Ear) {
    for line in BufReader::new(stdout).lines() {
        let Ok(line) = line else { break };
        let unix_ms = unix_ms();
        let mut heard = ear.lock();
        match serde_json::from_str::<Value>(&line) {
            Ok(value) if heard.events.len() < EVENTS_MAX => {
                heard.events.push(Event { unix_ms, value });
            }
            Ok(_) => heard.trouble = Some("more lines than anyone reads".to_owned()),
            Err(_) if heard.trouble.is_none() => {
                heard.trouble = Some(format!("a line that is no JSON: {line:.120}"));
            }
            Err(_) => {}
        }
        drop(heard);
        ear.changed.notify_all();
    }
    ear.lock().ended = true;
    ear.changed.notify_all();
}

pub(crate) fn tail_of(log: &Path) -> String {
    const LINES: usize = 15;
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(LINES)..)
        .unwrap_or_default();
    tail.iter().map(|line| format!("    {line}\n")).collect()
}

/// The wall clock, in milliseconds since 1970.
pub fn unix_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(name: &str, script: &str) -> Program {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = std::env::temp_dir().join(format!("programs-{name}-{}.log", std::process::id()));
        let program = Program::start(name, &command, &log).unwrap();
        // The open descriptor outlives the name.
        std::fs::remove_file(&log).unwrap();
        program
    }

    const SECONDS: Duration = Duration::from_secs(20);

    #[test]
    fn events_are_heard_and_a_kill_is_a_kill() {
        let program = shell(
            "speaker",
            "echo '{\"event\":\"ready\",\"n\":7}'; exec sleep 60",
        );
        let event = program
            .wait_for("ready", 0, SECONDS, |e| e.name() == "ready")
            .unwrap();
        assert_eq!(event.number("n"), 7);
        if Path::new("/proc/self/io").exists() {
            assert!(program.bytes_written().is_some());
            assert!(program.cpu_time().is_some());
        }
        let events = program.kill().unwrap();
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn a_program_that_ended_by_itself_cannot_be_killed() {
        let mut program = shell("quitter", "exit 3");
        program.child.wait().unwrap();
        assert!(
            program
                .kill()
                .unwrap_err()
                .to_string()
                .contains("ended by itself")
        );
    }

    #[test]
    fn waiting_fails_when_the_program_ends_or_babbles() {
        let ended = shell("ender", "echo '{\"event\":\"other\"}'");
        let failure = ended
            .wait_for("ready", 0, SECONDS, |e| e.name() == "ready")
            .unwrap_err();
        assert!(failure.to_string().contains("ended while"), "{failure}");
        let babbling = shell("babbler", "echo hello; exec sleep 60");
        let failure = babbling
            .wait_for("ready", 0, SECONDS, |e| e.name() == "ready")
            .unwrap_err();
        assert!(failure.to_string().contains("no JSON"), "{failure}");
    }

    #[test]
    fn terminate_wants_a_clean_end() {
        let script =
            "trap 'exit 0' TERM; echo '{\"event\":\"ready\"}'; while :; do sleep 0.05; done";
        let polite = shell("polite", script);
        polite
            .wait_for("ready", 0, SECONDS, |e| e.name() == "ready")
            .unwrap();
        assert!(polite.terminate().is_ok());
        let rude = shell("rude", "echo '{\"event\":\"ready\"}'; exec sleep 60");
        rude.wait_for("ready", 0, SECONDS, |e| e.name() == "ready")
            .unwrap();
        assert!(rude.terminate().is_err());
    }
}
