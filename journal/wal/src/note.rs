//! What a program under test notes down for the oracle: what it wrote, synced, sealed and sent.
//!
//! Without the feature `crashtest` a note is nothing at all, its arguments included. With it, and
//! only where `SECLUSO_CRASH_NOTES=file` asks for it, each note is one line, appended before the
//! effect that it speaks of (for a sync: after it), with the process's id in front. A line in the
//! kernel's hands outlives SIGKILL, which is the crash that it is for. crashtest/README.md has the
//! grammar. This room must never change what the program does.
//!
//! Some notes are true only if a transaction becomes durable. They are *bound* to one of its keys
//! and appear, with the transaction's number at their end, when that key is staged.

/// Notes a line now: `note!("handed {lsn}")`. What leaves the process is noted by [`crate::leaves!`].
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! note {
    ($($words:tt)*) => {{
        if $crate::note::wanted() {
            $crate::note::note(format_args!($($words)*));
        }
    }};
}

/// Notes a line now. Nothing in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! note {
    ($($words:tt)*) => {{
        if false {
            let _checked = format_args!($($words)*);
        }
    }};
}

/// Binds a line to a key of the transaction that is being made: `note_with!(key; "take {seq}")`.
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! note_with {
    ($key:expr; $($words:tt)*) => {{
        if $crate::note::wanted() {
            $crate::note::bind($key, format!($($words)*));
        }
    }};
}

/// Binds a line to a key. Nothing in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! note_with {
    ($key:expr; $($words:tt)*) => {{
        if false {
            let _checked: Vec<u8> = $key;
            let _checked = format!($($words)*);
        }
    }};
}

/// Forgets what is bound on this thread: its transaction was dropped.
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! note_forget {
    () => {
        $crate::note::forget()
    };
}

/// Forgets what is bound. Nothing in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! note_forget {
    () => {{}};
}

#[cfg(feature = "crashtest")]
pub use enabled::{bind, forget, keep, note, staged, take, wanted};

/// Whether anybody reads the notes: nobody, in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[must_use]
pub const fn wanted() -> bool {
    false
}

/// An identifier or a digest in a note: lower-case hex.
pub struct Hex<T>(pub T);

impl<T: AsRef<[u8]>> std::fmt::Display for Hex<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0
            .as_ref()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(feature = "crashtest")]
mod enabled {
    use std::cell::RefCell;
    use std::fmt;
    use std::fs::{File, OpenOptions};
    use std::io::Write as _;
    use std::sync::{Mutex, OnceLock, PoisonError};

    use crate::{Lsn, Txn};

    thread_local! {
        /// A journal has one thread; what is bound waits for that thread's next `stage`.
        static BOUND: RefCell<Vec<(Vec<u8>, String)>> = const { RefCell::new(Vec::new()) };
        /// The notes of a simulation, which has its processes on one thread.
        static KEPT: RefCell<Option<String>> = const { RefCell::new(None) };
    }

    /// Keeps this thread's notes for [`take`] from now on, or no longer. None is kept at first.
    pub fn keep(wanted: bool) {
        KEPT.set(wanted.then(String::new));
        forget();
    }

    /// The lines kept since the last call.
    pub fn take() -> String {
        KEPT.with_borrow_mut(|kept| kept.as_mut().map(std::mem::take).unwrap_or_default())
    }

    fn file() -> Option<&'static Mutex<File>> {
        static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
        let open = || {
            let path = std::env::var_os("SECLUSO_CRASH_NOTES")?;
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.ok().map(Mutex::new)
        };
        FILE.get_or_init(open).as_ref()
    }

    /// Whether anybody reads the notes.
    pub fn wanted() -> bool {
        KEPT.with_borrow(Option::is_some) || file().is_some()
    }

    /// Appends one line.
    pub fn note(words: fmt::Arguments<'_>) {
        write(&format!("{} {words}\n", std::process::id()));
    }

    /// One write, so that a kill leaves all of it or nothing.
    fn write(lines: &str) {
        let kept = KEPT.with_borrow_mut(|kept| kept.as_mut().map(|kept| kept.push_str(lines)));
        if kept.is_some() {
            return;
        }
        if let Some(file) = file() {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            // A note that is lost makes the oracle complain, which is the right way to fall.
            let _ = file.write_all(lines.as_bytes());
        }
    }

    /// Keeps a line until a transaction with `key` in it is staged.
    pub fn bind(key: Vec<u8>, line: String) {
        BOUND.with_borrow_mut(|bound| bound.push((key, line)));
    }

    /// Forgets all that is bound on this thread.
    pub fn forget() {
        BOUND.with_borrow_mut(Vec::clear);
    }

    /// Writes what is bound to keys of `txn`, which got the number `lsn`.
    pub fn staged(txn: &Txn, lsn: Lsn) {
        if !wanted() {
            return;
        }
        let has = |key: &Vec<u8>| txn.values.contains_key(key) || txn.payloads.contains_key(key);
        let mut lines = String::new();
        BOUND.with_borrow_mut(|bound| {
            bound.retain(|(key, line)| {
                let now = has(key);
                if now {
                    lines.push_str(&format!("{} {line} {}\n", std::process::id(), lsn.0));
                }
                !now
            });
        });
        if !lines.is_empty() {
            write(&lines);
        }
    }
}
