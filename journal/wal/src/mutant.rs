//! Deliberate bugs: each is compiled only with the feature `crashtest` and lives only in a process
//! whose environment names it (`SECLUSO_MUTANT=name`).
//!
//! They are there to be caught: the crash harness plants each and demands that the promise that it
//! breaks is the one that the oracle names. `SECLUSO_MUTANT_LIST=file` writes those that are linked
//! into a program, one `name promise what it does` each, so that none can be forgotten.
//!
//! A simulation, which has hub, relay and app in one thread and no process to itself, brings a bug to
//! life with `wal::mutant::choose`, for the calling thread only.
//!
//! This room must never be part of a release: without the feature the macro is `false`, or nothing.

/// Whether a deliberate bug is alive: `mutant!("name", "C4", "what it does")`, or code for it:
/// `mutant!("name", "C4", "what it does" => { code })`. A bug may have several places; each repeats
/// its promise and says its own part. A crate that forbids `unsafe` cannot register one, and asks
/// `wal::mutant::lives` for a bug that is registered elsewhere.
#[cfg(feature = "crashtest")]
#[macro_export]
macro_rules! mutant {
    ($name:literal, $promise:literal, $what:literal) => {{
        #[allow(unsafe_code)]
        mod registered {
            #[$crate::linkme::distributed_slice($crate::mutant::MUTANTS)]
            #[linkme(crate = $crate::linkme)]
            static MUTANT: $crate::mutant::Mutant = $crate::mutant::Mutant {
                name: $name,
                promise: $promise,
                what: $what,
            };
        }
        $crate::mutant::lives($name)
    }};
    ($name:literal, $promise:literal, $what:literal => $bug:block) => {{
        if $crate::mutant!($name, $promise, $what) $bug
    }};
}

/// Whether a deliberate bug is alive: never, in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[macro_export]
macro_rules! mutant {
    ($name:literal, $promise:literal, $what:literal) => {
        false
    };
    ($name:literal, $promise:literal, $what:literal => $bug:block) => {{}};
}

#[cfg(feature = "crashtest")]
pub(crate) use enabled::list;
#[cfg(feature = "crashtest")]
pub use enabled::{MUTANTS, Mutant, choose, lives};

/// Whether this process was started with this bug alive: never, in a build without `crashtest`.
#[cfg(not(feature = "crashtest"))]
#[must_use]
pub const fn lives(_name: &str) -> bool {
    false
}

#[cfg(feature = "crashtest")]
mod enabled {
    use std::cell::Cell;
    use std::sync::OnceLock;

    thread_local! {
        static OF_THIS_THREAD: Cell<Option<&'static str>> = const { Cell::new(None) };
    }

    /// One place of a deliberate bug.
    #[derive(Clone, Copy, Debug)]
    pub struct Mutant {
        /// Its name; all places of one bug share it.
        pub name: &'static str,
        /// The promise that it breaks, and that must be the one that is reported.
        pub promise: &'static str,
        /// What it does here.
        pub what: &'static str,
    }

    /// Every place of every bug that is linked into this program.
    #[linkme::distributed_slice]
    #[allow(unsafe_code)]
    pub static MUTANTS: [Mutant];

    /// Brings a bug to life on this thread, or none: then the process's own choice counts again.
    pub fn choose(name: Option<&'static str>) {
        OF_THIS_THREAD.set(name);
    }

    /// Whether this bug is alive here: chosen for this thread, or else for the process.
    pub fn lives(name: &str) -> bool {
        if let Some(chosen) = OF_THIS_THREAD.get() {
            return chosen == name;
        }
        static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
        let chosen = CHOSEN.get_or_init(|| std::env::var("SECLUSO_MUTANT").ok());
        chosen.as_deref() == Some(name)
    }

    /// Writes the list, if somebody asks for it.
    pub(crate) fn list() {
        if let Some(path) = std::env::var_os("SECLUSO_MUTANT_LIST") {
            let line = |one: &Mutant| format!("{} {} {}\n", one.name, one.promise, one.what);
            let all: String = MUTANTS.iter().map(line).collect();
            // A list that cannot be written is missing, which the harness reports itself.
            let _ = std::fs::write(path, all);
        }
    }
}
