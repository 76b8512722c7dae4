//! A directory in which one test runs a real program, and the search through all that this wrote there and printed.
//!
//! The search is made when the place goes, so that no test can leave it out. It knows of a program what its owner does:
//! its files and its words. Storage keys are read from every vault (`journal/FORMAT.md`, "The vault"), a relay's key from
//! its file; whatever else is secret the test says ([`Place::seek`]). This room must never open a sealed value.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeSet;
use std::fs::{File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::{Canaries, from_base64url, is_core_dump};

/// Where hub and app keep their storage keys, and how these lie there.
const VAULT: &str = "vault";
const SECTOR_BYTES: usize = 4096;
const HEADER_BYTES: usize = 32;
const SLOT_BYTES: usize = 48;
const SLOTS: usize = 84;
/// Where the key begins in a slot.
const KEY_AT: usize = 16;
/// Where a relay keeps its key.
const RELAY_KEY: &str = "identity.key";
/// So much of a file tells whether it is a core dump.
const HEAD_BYTES: u64 = 64;

/// Which files may hold what is sought.
type Holds<'a> = &'a dyn Fn(&Path) -> bool;

/// A temporary directory for the programs of one test. When it goes, the test fails if a secret stands where it must not.
#[derive(Default)]
pub struct Place {
    /// None is made before somebody asks.
    directory: OnceCell<TempDir>,
    sought: RefCell<Canaries>,
    /// What its owner's state may hold, and no word may.
    sought_in_words: RefCell<Canaries>,
    /// What the test wrote itself, which may hold what it seeks.
    own: RefCell<BTreeSet<PathBuf>>,
    /// Whose words, and which.
    printed: RefCell<Vec<(String, Vec<u8>)>>,
    has_run: Cell<bool>,
}

impl Place {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Where it is.
    ///
    /// # Panics
    /// The machine makes no directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        let make = || tempfile::tempdir().expect("a temporary directory");
        self.directory.get_or_init(make).path()
    }

    /// Has a secret looked for.
    ///
    /// # Panics
    /// It would be met by chance, so that nothing would be shown.
    pub fn seek(&self, what: &str, secret: &[u8]) {
        let is_sought = self.sought.borrow_mut().add(what, secret);
        assert!(is_sought, "{what} cannot be sought");
    }

    /// Has the whole of a name looked for that state may hold: in what is printed and logged alone.
    ///
    /// # Panics
    /// As [`Self::seek`].
    pub fn seek_in_words(&self, what: &str, name: &[u8]) {
        let is_sought = self.sought_in_words.borrow_mut().add(what, name);
        assert!(is_sought, "{what} cannot be sought");
    }

    /// Writes a file that a program is to read, for its owner alone. It may hold a secret, and is not searched.
    ///
    /// # Panics
    /// The machine does not write it.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        let written = std::fs::write(&path, content)
            .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o600)));
        written.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        self.wrote(&path);
        path
    }

    /// This file is the test's own, and is not searched.
    pub fn wrote(&self, path: &Path) {
        self.own.borrow_mut().insert(path.to_owned());
    }

    /// Runs a program to its end; all that it prints is searched.
    ///
    /// # Panics
    /// It does not start.
    pub fn output(&self, command: &mut Command) -> Output {
        let output = self.output_for_a_person(command);
        self.said("stdout", &output.stdout);
        output
    }

    /// As [`Self::output`], of one that prints a secret because it was asked to: only its stderr is searched.
    ///
    /// # Panics
    /// It does not start.
    pub fn output_for_a_person(&self, command: &mut Command) -> Output {
        let output = command.output();
        let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        self.said("stderr", &output.stderr);
        output
    }

    /// A file for what a program that runs on says on stderr: searched as all files are.
    ///
    /// # Panics
    /// The machine makes none.
    pub fn log(&self, name: &str) -> File {
        self.has_run.set(true);
        let path = self.path().join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&path);
        file.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A program has said this.
    pub fn said(&self, by: &str, bytes: &[u8]) {
        self.has_run.set(true);
        let mut printed = self.printed.borrow_mut();
        printed.push((by.to_owned(), bytes.to_vec()));
    }

    /// What is tried runs in the test's own process: what it leaves here is searched as a program's is. It has to be over
    /// before this place goes.
    pub fn runs_here(&self) {
        self.has_run.set(true);
    }

    /// Every place in which a secret stands that must not; one sentence for each.
    fn told(&self) -> io::Result<Vec<String>> {
        let root = self.path();
        let (mut keys, mut relay_keys) = (Canaries::default(), Canaries::default());
        let mut told = Vec::new();
        for path in files_below(root)? {
            if path.ends_with(VAULT) {
                for key in keys_in(&std::fs::read(&path)?) {
                    keys.add("a storage key", &key);
                }
            } else if path.ends_with(RELAY_KEY) {
                let text = std::fs::read_to_string(&path)?;
                let key = text.trim().rsplit_once(':');
                let key = key.and_then(|(_, key)| from_base64url(key));
                relay_keys.add("the relay's key", &key.unwrap_or_default());
            }
            if is_core_dump(&head(&path)?) {
                told.push(format!("{} is a core dump", path.display()));
            }
        }
        let (sought, in_words) = (self.sought.borrow(), self.sought_in_words.borrow());
        let own = self.own.borrow();
        let nothing = |_: &Path| false;
        let is_state = |path: &Path| !is_log(root, path);
        let is_vault = |path: &Path| path.ends_with(VAULT);
        let is_relay_key = |path: &Path| path.ends_with(RELAY_KEY);
        let searches: [(&Canaries, Holds<'_>); 4] = [
            (&*sought, &nothing),
            (&*in_words, &is_state),
            (&keys, &is_vault),
            (&relay_keys, &is_relay_key),
        ];
        for (canaries, holds) in searches {
            let passed = |path: &Path| own.contains(path) || holds(path);
            let mut seen = Vec::new();
            if let Some((path, sighting)) = canaries.first_below(root, &passed)? {
                seen.push((path.display().to_string(), sighting));
            }
            for (by, text) in self.printed.borrow().iter() {
                seen.extend(canaries.first_in(text).map(|one| (by.clone(), one)));
            }
            told.extend(seen.into_iter().map(|(place, one)| {
                format!(
                    "{} stands {} in {place}, at byte {}",
                    one.what, one.way, one.at
                )
            }));
        }
        Ok(told)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Whoever looks into a failure wants the last words.
            let root = self.directory.get().map(TempDir::path);
            for path in root.into_iter().flat_map(logs) {
                let text = std::fs::read(&path).unwrap_or_default();
                eprintln!("{}: {}", path.display(), String::from_utf8_lossy(&text));
            }
        } else if self.has_run.get() {
            let told = self.told().expect("what a program left can be searched");
            assert!(told.is_empty(), "{}", told.join("; "));
        }
    }
}

/// The logs that lie in a place.
fn logs(root: &Path) -> Vec<PathBuf> {
    let mut files = files_below(root).unwrap_or_default();
    files.retain(|path| is_log(root, path));
    files
}

/// Whether it is what somebody said ([`Place::log`]). State may have files of the same ending, deeper.
fn is_log(root: &Path, path: &Path) -> bool {
    let ends_so = path.extension().is_some_and(|extension| extension == "log");
    ends_so && path.parent() == Some(root)
}

/// The files below a directory; links are not followed.
fn files_below(root: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut waiting, mut files) = (vec![root.to_owned()], Vec::new());
    while let Some(place) = waiting.pop() {
        for entry in std::fs::read_dir(&place)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                waiting.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// How a file begins.
fn head(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(HEAD_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The storage keys in the bytes of a `vault`, both images of each sector, whatever else is wrong with them.
#[must_use]
pub fn keys_in(vault: &[u8]) -> Vec<Vec<u8>> {
    let images = vault.chunks(SECTOR_BYTES);
    let slots = images.flat_map(|image| {
        let slots = image.get(HEADER_BYTES..).unwrap_or_default();
        slots.chunks_exact(SLOT_BYTES).take(SLOTS)
    });
    let keys = slots.filter_map(|slot| {
        let (number, key) = (slot.get(..8)?, slot.get(KEY_AT..)?);
        let is_given = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
        (is_given(number) && is_given(key)).then(|| key.to_vec())
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const PASSWORD: &str = "correct horse 7!";

    /// What is told of a place that somebody has filled.
    fn told(fill: impl FnOnce(&Place)) -> Vec<String> {
        let place = Place::new();
        place.seek("a password", PASSWORD.as_bytes());
        fill(&place);
        let told = place.told().unwrap();
        // It was looked at; the place need not.
        place.has_run.set(false);
        told
    }

    fn key(n: u8) -> [u8; 32] {
        std::array::from_fn(|at| (at as u8).wrapping_mul(37) ^ n)
    }

    /// A vault with one key in the second image of its second sector.
    fn vault(key: [u8; 32]) -> Vec<u8> {
        let mut vault = vec![0; 4 * SECTOR_BYTES];
        let at = 3 * SECTOR_BYTES + HEADER_BYTES + 5 * SLOT_BYTES;
        vault[at] = 9;
        vault[at + KEY_AT..at + SLOT_BYTES].copy_from_slice(&key);
        vault
    }

    #[test]
    fn what_a_program_printed_and_wrote_is_searched_and_what_the_test_wrote_is_not() {
        let found = |fill: fn(&Place)| told(fill).len();
        let put = |place: &Place, name: &str, text: &str| {
            std::fs::write(place.path().join(name), text).unwrap();
        };
        assert_eq!(found(|_| {}), 0);
        let configured = |place: &Place| drop(place.write("hub.toml", PASSWORD));
        assert_eq!(told(configured).len(), 0, "its configuration");
        assert_eq!(found(|place| place.said("stdout", PASSWORD.as_bytes())), 1);
        let json = serde_json::json!({ "why": PASSWORD }).to_string();
        assert_eq!(told(|place| put(place, "state", &json)).len(), 1);
        assert_eq!(told(|place| put(place, PASSWORD, "")).len(), 1, "a name");
        let logged = |place: &Place| {
            use std::io::Write as _;
            place.log("hub").write_all(PASSWORD.as_bytes()).unwrap();
        };
        assert_eq!(told(logged).len(), 1);
    }

    #[test]
    fn a_name_may_stand_in_state_and_in_no_word() {
        let name = b"the whole of a mailbox's name";
        let put = |file: &'static str| {
            move |place: &Place| {
                place.seek_in_words("a name", name);
                std::fs::write(place.path().join(file), name).unwrap();
            }
        };
        assert_eq!(told(put("000001.sst")).len(), 0);
        assert_eq!(told(put("secluso-relay.log")).len(), 1);
        let deeper = |place: &Place| {
            std::fs::create_dir(place.path().join("data")).unwrap();
            put("data/0001.log")(place);
        };
        assert_eq!(told(deeper).len(), 0);
    }

    #[test]
    fn a_program_that_prints_its_words_is_heard() {
        let mut echo = Command::new("echo");
        echo.arg(PASSWORD);
        assert_eq!(told(|place| drop(place.output(&mut echo))).len(), 1);
        let shown = |place: &Place| drop(place.output_for_a_person(&mut echo));
        assert_eq!(told(shown).len(), 0, "it was asked to");
    }

    #[test]
    fn storage_keys_are_nowhere_but_in_a_vault_and_a_relays_key_in_its_own_file() {
        assert_eq!(keys_in(&vault(key(1))), [key(1).to_vec()]);
        let hex: String = key(1).iter().map(|byte| format!("{byte:02x}")).collect();
        let kept = |place: &Place| {
            std::fs::write(place.path().join(VAULT), vault(key(1))).unwrap();
        };
        assert_eq!(told(kept).len(), 0);
        let logged = |place: &Place| {
            kept(place);
            place.said("stderr", hex.as_bytes());
        };
        assert_eq!(told(logged).len(), 1);
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        let bytes: Vec<u8> = (0..32).collect();
        let of_relay = |place: &Place| {
            let key = format!("secluso-relay-key-v1:{text}\n");
            std::fs::write(place.path().join(RELAY_KEY), key).unwrap();
        };
        assert_eq!(told(of_relay).len(), 0);
        let stored = |place: &Place| {
            of_relay(place);
            std::fs::write(place.path().join("log"), &bytes).unwrap();
        };
        assert_eq!(told(stored).len(), 1);
        let mut core = [0; 64];
        core[..4].copy_from_slice(b"\x7fELF");
        core[16] = 4;
        let dumped = |place: &Place| std::fs::write(place.path().join("core"), core).unwrap();
        assert_eq!(told(dumped).len(), 1);
    }

    #[test]
    fn a_test_that_gives_something_away_fails_at_its_end() {
        let end = |word: &'static str| {
            let place = Place::new();
            place.seek("a password", PASSWORD.as_bytes());
            place.said("stdout", word.as_bytes());
            catch_unwind(AssertUnwindSafe(|| drop(place)))
        };
        assert!(end("nothing").is_ok());
        assert!(end(PASSWORD).is_err());
        let in_this_process = || {
            let place = Place::new();
            place.seek("a password", PASSWORD.as_bytes());
            std::fs::write(place.path().join("state"), PASSWORD).unwrap();
            place.runs_here();
        };
        assert!(catch_unwind(in_this_process).is_err());
        // What would be found by chance shows nothing.
        let vain = || Place::new().seek("a number", &[7; 32]);
        assert!(catch_unwind(vain).is_err());
    }
}
