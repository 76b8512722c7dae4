//! A phone that shows live pictures, as a person at it would see them: `secluso-app live` writes to us, and we note
//! when each piece is whole.
//!
//! It must never hold the program up: a thread takes what comes, whatever is done with it.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::arrivals::Arrivals;
use crate::failure::{Because, Failure, Outcome};
use crate::process::{dying_with_us, tail_of, unix_ms};

/// Most that is kept of what is seen.
const SEEN_BYTES_MAX: usize = 256 << 20;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;

/// What was seen.
#[derive(Debug, Default)]
pub struct Seen {
    /// One fragmented MP4, as far as it has come.
    pub bytes: Vec<u8>,
    /// When its pieces were whole, by the wall clock.
    pub arrivals: Arrivals,
    ended: bool,
}

#[derive(Default)]
struct Eye {
    seen: Mutex<Seen>,
    changed: Condvar,
}

impl Eye {
    fn lock(&self) -> MutexGuard<'_, Seen> {
        // A panicked reader leaves what was seen until then.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running `secluso-app live`. Dropping it kills it.
pub struct Viewer {
    child: Child,
    eye: Arc<Eye>,
    reader: Option<JoinHandle<()>>,
    log: PathBuf,
}

impl Viewer {
    /// Starts `command`, which writes pictures to its stdout; its stderr is appended to `log`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(command: &Command, log: &Path) -> Outcome<Self> {
        let log_file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .because("cannot open a log file")?;
        let mut child = dying_with_us(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log_file)
            .spawn()
            .because("cannot start a viewer")?;
        let eye = Arc::new(Eye::default());
        let reader = child.stdout.take().map(|stdout| {
            let eye = Arc::clone(&eye);
            std::thread::spawn(move || look(stdout, &eye))
        });
        Ok(Self {
            child,
            eye,
            reader,
            log: log.to_path_buf(),
        })
    }

    /// Waits until the first piece is whole; answers when that was, by the wall clock.
    ///
    /// # Errors
    /// It ended before, or nothing came within `timeout`.
    pub fn wait_for_pictures(&self, timeout: Duration) -> Outcome<u64> {
        let deadline = Instant::now() + timeout;
        let mut seen = self.eye.lock();
        loop {
            if let Some(at_ms) = seen.arrivals.first_ms() {
                return Ok(at_ms);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if seen.ended || left.is_zero() {
                return Err(self.failure("showed no pictures"));
            }
            let waited = self.eye.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Bytes of whole pieces, and the beginning that a player needs.
    pub fn seen_bytes(&self) -> u64 {
        self.eye.lock().arrivals.whole_bytes()
    }

    /// Fails if it has ended by itself.
    ///
    /// # Errors
    /// So it has.
    pub fn still_running(&mut self) -> Outcome<()> {
        match self.child.try_wait().because("cannot look at a child")? {
            None => Ok(()),
            Some(status) => Err(self.failure(&format!("ended by itself ({status})"))),
        }
    }

    /// Waits until it has ended as it was asked to at its start; answers what was seen.
    ///
    /// # Errors
    /// It does not end within `timeout`, or not well.
    pub fn finish(mut self, timeout: Duration) -> Outcome<Seen> {
        let deadline = Instant::now() + timeout;
        let eye = Arc::clone(&self.eye);
        let mut seen = eye.lock();
        while !seen.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.failure("did not end"));
            }
            let waited = eye.changed.wait_timeout(seen, left);
            seen = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let whole = std::mem::take(&mut *seen);
        drop(seen);
        let status = self.child.wait().because("cannot wait for a viewer")?;
        if let Some(reader) = self.reader.take() {
            // It has said that it is at its end.
            let _ = reader.join();
        }
        match status.success() {
            true => Ok(whole),
            false => Err(self.failure(&format!("did not end well ({status})"))),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        let tail = tail_of(&self.log);
        Failure::found(format!("live view {what}; the end of its log:\n{tail}"))
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        // Already dead is as good; there is nobody to tell anything else.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn look(mut stdout: ChildStdout, eye: &Eye) {
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = stdout.read(&mut buffer).unwrap_or(0);
        let at_ms = unix_ms();
        let mut seen = eye.lock();
        let room = SEEN_BYTES_MAX.saturating_sub(seen.bytes.len());
        if read == 0 || room < read {
            seen.ended = true;
        } else {
            seen.bytes.extend_from_slice(&buffer[..read]);
            seen.arrivals.handle_bytes(&buffer[..read], at_ms);
        }
        let ended = seen.ended;
        drop(seen);
        eye.changed.notify_all();
        if ended {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn shell(name: &str, script: &str) -> Viewer {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let log = std::env::temp_dir().join(format!("viewer-{name}-{}.log", std::process::id()));
        let viewer = Viewer::start(&command, &log).unwrap();
        // The open descriptor outlives the name.
        std::fs::remove_file(&log).unwrap();
        viewer
    }

    #[test]
    fn what_a_program_writes_is_seen_whole() {
        let viewer = shell(
            "writer",
            r"printf '\000\000\000\011mdat7\000\000\000\011md'",
        );
        let first = viewer.wait_for_pictures(PATIENCE).unwrap();
        assert_eq!(viewer.seen_bytes(), 9);
        let seen = viewer.finish(PATIENCE).unwrap();
        assert_eq!(seen.bytes, b"\0\0\0\x09mdat7\0\0\0\x09md");
        assert_eq!(seen.arrivals.at_ms(8), Some(first));
        assert_eq!(seen.arrivals.count(), 1);
    }

    #[test]
    fn a_viewer_that_fails_or_shows_nothing_is_told_of() {
        let blind = shell("blind", "exit 3");
        assert!(blind.wait_for_pictures(PATIENCE).is_err());
        let said = blind.finish(PATIENCE).err().unwrap().to_string();
        assert!(said.contains("did not end well"), "{said}");
    }
}
