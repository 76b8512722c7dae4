//! Named places where a test kills the process, and the list of all of them.
//!
//! Without the feature `crashtest` a crash point is nothing at all. With it each one registers
//! itself at link time, counts its hits, writes them to a trace if asked, and dies by SIGKILL at
//! the chosen hit. It never panics to crash: a panic runs destructors, which is a clean shutdown.
//!
//! The environment says what is wanted: `SECLUSO_CRASH_AT=name:k` dies at the k-th hit,
//! `SECLUSO_CRASH_DIED=file` appends `name k` just before that death, so that no other SIGKILL is taken
//! for it,
//! `SECLUSO_CRASH_TRACE=file` appends `name k` for each hit, `SECLUSO_CRASH_LIST=file` writes the
//! points that are linked into this program, one `name file:line` each, at the first hit of any.

/// Marks a place where a crash is interesting: `crash_point!("wal.commit.after_sync")`.
///
/// A crate that uses it under the feature needs `wal/crashtest` switched on as well.
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {{
        #[allow(unsafe_code)]
        mod registered {
            #[$crate::linkme::distributed_slice($crate::crash_point::POINTS)]
            #[linkme(crate = $crate::linkme)]
            static POINT: $crate::crash_point::Point = $crate::crash_point::Point {
                name: $name,
                file: file!(),
                line: line!(),
            };
        }
        $crate::crash_point::hit($name);
    }};
}

/// Marks a place where a crash is interesting. Nothing in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! crash_point {
    ($name:literal) => {{}};
}

/// Says that something is about to leave the process, in words that a replayer checks against
/// every state that a crash could leave at this instant:
/// `leaves!("envelope {} {} {}", mailbox, seq, digest)`. One line, appended in one write to the file
/// that `SECLUSO_RECORD_MARKS` names; the recorder (`crashtest/record`) sees that write. ORDER:
/// before the bytes are handed to anything that may send them.
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! leaves {
    ($($words:tt)+) => {
        $crate::crash_point::leaves(&::std::format!($($words)+))
    };
}

/// Says that something is about to leave the process. Nothing in a build without `crashtest`: the
/// words are checked and counted as used, and never made.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! leaves {
    ($($words:tt)+) => {{
        let _never_called = || ::std::format!($($words)+);
    }};
}

#[cfg(feature = "crashtest")]
pub use enabled::{POINTS, Point, hit, hits, leaves};

#[cfg(feature = "crashtest")]
mod enabled {
    use std::collections::BTreeMap;
    use std::fs::{File, OpenOptions};
    use std::io::Write;
    use std::sync::{Mutex, OnceLock, PoisonError};

    /// One crash point as it stands in the source.
    #[derive(Clone, Copy, Debug)]
    pub struct Point {
        /// Its unique name.
        pub name: &'static str,
        /// The source file.
        pub file: &'static str,
        /// The line in it.
        pub line: u32,
    }

    /// Every crash point that is linked into this program.
    #[linkme::distributed_slice]
    #[allow(unsafe_code)]
    pub static POINTS: [Point];

    struct Control {
        counts: BTreeMap<&'static str, u64>,
        trace: Option<File>,
        die_at: Option<(String, u64)>,
    }

    fn control() -> &'static Mutex<Control> {
        static CONTROL: OnceLock<Mutex<Control>> = OnceLock::new();
        CONTROL.get_or_init(|| {
            let trace = std::env::var_os("SECLUSO_CRASH_TRACE")
                .and_then(|path| OpenOptions::new().create(true).append(true).open(path).ok());
            let die_at = std::env::var("SECLUSO_CRASH_AT").ok().and_then(|text| {
                let (name, k) = text.rsplit_once(':')?;
                Some((name.to_owned(), k.parse().ok()?))
            });
            if let Some(path) = std::env::var_os("SECLUSO_CRASH_LIST") {
                let line =
                    |point: &Point| format!("{} {}:{}\n", point.name, point.file, point.line);
                let all: String = POINTS.iter().map(line).collect();
                // A list that cannot be written is missing, which the sweep reports itself.
                let _ = std::fs::write(path, all);
            }
            crate::mutant::list();
            Mutex::new(Control {
                counts: BTreeMap::new(),
                trace,
                die_at,
            })
        })
    }

    /// Counts a hit, traces it, and dies here if this is the chosen one.
    pub fn hit(name: &'static str) {
        let forgets = crate::mutant!(
            "point_never_passed",
            "sweep",
            "a point that is linked in and that no process passes: nobody is ever killed there"
        );
        if forgets && name == "wal.commit.after_apply" {
            return;
        }
        let mut control = control().lock().unwrap_or_else(PoisonError::into_inner);
        let count = control.counts.entry(name).or_insert(0);
        *count += 1;
        let count = *count;
        if let Some(trace) = &mut control.trace {
            // A lost trace line makes the sweep's cell invalid, which the sweep reports itself.
            let _ = trace.write_all(format!("{name} {count}\n").as_bytes());
        }
        if control
            .die_at
            .as_ref()
            .is_some_and(|(at, k)| at == name && *k == count)
        {
            die(name, count);
        }
        drop(control);
        failpoints::failpoint!(name);
    }

    /// Appends a line to the file of marks, if there is one. See [`crate::leaves!`].
    pub fn leaves(words: &str) {
        crate::note!("{words}");
        static MARKS: OnceLock<Option<Mutex<File>>> = OnceLock::new();
        let marks = MARKS.get_or_init(|| {
            let path = std::env::var_os("SECLUSO_RECORD_MARKS")?;
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.ok().map(Mutex::new)
        });
        if let Some(marks) = marks {
            let mut marks = marks.lock().unwrap_or_else(PoisonError::into_inner);
            // Without its mark an envelope's sending is not checked; the replayer wants at least one
            // mark of each kind.
            let _ = marks.write_all(format!("{words}\n").as_bytes());
        }
    }

    /// How often each point was hit so far in this process.
    pub fn hits() -> Vec<(&'static str, u64)> {
        let control = control().lock().unwrap_or_else(PoisonError::into_inner);
        control
            .counts
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect()
    }

    fn die(name: &str, hit: u64) -> ! {
        if let Some(path) = std::env::var_os("SECLUSO_CRASH_DIED") {
            let file = OpenOptions::new().create(true).append(true).open(path);
            // A death without its line counts for nothing.
            let _ = file.and_then(|mut file| file.write_all(format!("{name} {hit}\n").as_bytes()));
        }
        // SIGKILL runs no destructor and flushes nothing: that is the crash we mean.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
