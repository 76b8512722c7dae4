//! Whether a secret stands where it must not: in what the programs wrote to their logs and printed, in the
//! state of another, or in the clear in its own (S1, S3).
//!
//! What is looked for is read from the journals at rest, from the codes that were shown, the relay's invitations and
//! key, what a test wrote into a configuration, and from what came out at the phone: clips, pictures of events, live
//! pictures. The whole names of pairings, groups and clips, which both ends keep, are looked for in words and at the relay,
//! and there the name of a camera, too. No file may be named by any secret either, and no program may have left a core
//! dump. This room must never open a sealed value for any other end.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use journal::Role;
use journal::thief::{Secret, Shown, keys_in, secrets_of_code};
use serde_json::Value;

use super::live::LIVE_FILE;
use super::{CAMERA, LOST_PHONE, SECOND_PHONE, System};
use crate::canary::{Canaries, from_base64url, is_core_dump};
use crate::oracle::Broken;
use crate::process::Role as Program;
use crate::trouble::{Outcome, Trouble};

/// From each part of a clip of so many bytes a piece is looked for.
const CLIP_STEP_BYTES: usize = 16 * 1024;
/// The same of the picture of an event, and of live pictures: they may be small, and parts of them flat.
const SMALL_STEP_BYTES: usize = 512;
/// Its length: longer than anything that stands in a clip and in a file of ours by chance.
const PIECE_BYTES: usize = 32;
/// Pieces of one clip or picture.
const PIECES_MAX: usize = 16;
/// Clips, and pictures.
pub(super) const CLIPS_MAX: usize = 8;
/// Live pictures of fewer bytes are no whole one.
const LIVE_BYTES_MIN: usize = 4096;
/// The box that holds media in a file of live pictures; before the first one there is none.
const MEDIA_BOX: &[u8] = b"mdat";
/// Storage keys that are remembered of a world that runs for long.
const STORAGE_KEYS_MAX: usize = 4096;
/// Kept of what programs answered, in bytes.
pub(super) const ANSWERS_BYTES_MAX: usize = 4 << 20;

/// What one end keeps.
pub(super) struct Kept {
    /// Where its state is, below the world's directory.
    pub(super) place: &'static str,
    /// What it seals.
    pub(super) secrets: Vec<Secret>,
    /// The bytes of its vault, which holds its storage keys.
    pub(super) vault: Vec<u8>,
}

/// What came out in the clear, at the phone.
#[derive(Default)]
pub(super) struct Plain {
    /// Clips, by name.
    pub(super) clips: BTreeMap<String, Vec<u8>>,
    /// Pictures of events, by name.
    pub(super) pictures: BTreeMap<String, Vec<u8>>,
}

/// What must not stand somewhere.
struct Sought {
    /// Nowhere but with a person: logs, JSON, state of hub and app.
    everywhere: Canaries,
    /// Not with the relay: in its state, its log and what it prints.
    at_relay: Canaries,
    /// In no log and no JSON of anybody: whole names, of which first digits are told.
    in_words: Canaries,
    /// Storage keys of each end, which its own vault alone holds.
    keys: Vec<(&'static str, Canaries)>,
    /// Storage keys that some vault held once and none holds now: they are nowhere.
    past: Canaries,
}

/// Where relays have their state: the running one, and one that it took the place of.
const RELAYS: [&str; 2] = ["relay", "former-relay"];
/// The two ends that every world has, and where each has its state.
pub(super) const ENDS: [(Role, &str); 2] = [(Role::Hub, "hub/journal"), (Role::App, "app")];
/// Phones beside the first one, where a world has them.
pub(super) const OTHER_PHONES: [&str; 4] = [SECOND_PHONE, LOST_PHONE, "app2", "app3"];
/// So much of a file tells whether it is a core dump.
const FILE_HEAD_BYTES: u64 = 64;

impl System {
    /// Every place in which a secret stands that must not; one sentence for each place.
    pub(super) fn told(&self, ends: &[Kept], plain: &Plain) -> Outcome<Vec<Broken>> {
        let sought = self.sought(ends, plain)?;
        let mut broken = Vec::new();
        self.search_words(&sought, &mut broken)
            .and_then(|()| self.search_state(&sought, &mut broken))
            .and_then(|()| self.search_names(&sought, &mut broken))
            .map_err(Trouble::machine("the search for secrets"))?;
        Ok(broken)
    }

    /// Reads which storage keys are in the vaults now, so that those are sought as well that are past when
    /// the world comes to rest. A vault that is being written may be read torn: what is no key is found
    /// nowhere.
    pub(super) fn note_storage_keys(&mut self) {
        for place in ENDS.map(|(_, place)| place).into_iter().chain(OTHER_PHONES) {
            if self.storage_keys.len() < STORAGE_KEYS_MAX {
                let vault = std::fs::read(self.path(place).join("vault")).unwrap_or_default();
                self.storage_keys.extend(keys_in(&vault));
            }
        }
    }

    fn sought(&self, ends: &[Kept], plain: &Plain) -> Outcome<Sought> {
        // A search for what cannot be sought would find nothing and prove nothing. Both ends know many secrets.
        let seek =
            |canaries: &mut Canaries, seen: &mut BTreeSet<Vec<u8>>, what: &str, bytes: &[u8]| {
                if bytes.is_empty() || !seen.insert(bytes.to_vec()) || canaries.add(what, bytes) {
                    return Ok(());
                }
                Err(Trouble::Broken(format!("{what} cannot be sought")))
            };
        let (mut everywhere, mut at_relay) = (Canaries::default(), Canaries::default());
        let (mut seen, mut seen_at_relay) = (BTreeSet::new(), BTreeSet::new());
        let (mut in_words, mut seen_in_words) = (Canaries::default(), BTreeSet::new());
        let codes = self.codes_shown();
        let of_codes = codes.iter().flat_map(|code| secrets_of_code(code));
        let kept = ends.iter().flat_map(|end| end.secrets.iter().cloned());
        for Secret { what, bytes, shown } in of_codes.chain(kept) {
            match shown {
                Shown::ToEnds => seek(&mut in_words, &mut seen_in_words, what, &bytes)?,
                Shown::ToNobody | Shown::ToRelay => {
                    seek(&mut everywhere, &mut seen, what, &bytes)?;
                }
            }
            if shown != Shown::ToRelay {
                seek(&mut at_relay, &mut seen_at_relay, what, &bytes)?;
            }
        }
        // Each event's notification names it, and what a phone orders of it.
        let (what, bytes) = ("the name of a camera", CAMERA.as_bytes());
        seek(&mut at_relay, &mut seen_at_relay, what, bytes)?;
        for code in &codes {
            let (what, bytes) = ("a pairing code", code.as_bytes());
            seek(&mut everywhere, &mut seen, what, bytes)?;
            seek(&mut at_relay, &mut seen_at_relay, what, bytes)?;
        }
        for text in self.invitations.iter().chain([&self.invitation]) {
            seek(&mut everywhere, &mut seen, "an invitation", text.as_bytes())?;
            let bytes = behind_colon(text).unwrap_or_default();
            seek(&mut everywhere, &mut seen, "an invitation", &bytes)?;
        }
        // An attacker's relay may have none.
        let key = std::fs::read_to_string(self.path("relay/identity.key")).unwrap_or_default();
        let key = behind_colon(&key).unwrap_or_default();
        seek(&mut everywhere, &mut seen, "the relay's key", &key)?;
        for password in &self.setup.passwords {
            let (what, bytes) = ("a password", password.as_bytes());
            seek(&mut everywhere, &mut seen, what, bytes)?;
            seek(&mut at_relay, &mut seen_at_relay, what, bytes)?;
        }
        let mut seek_media = |what: String, bytes: &[u8], step: usize| {
            let mut is_sought = bytes.is_empty();
            for piece in pieces(bytes, step) {
                // One that is too much like nothing is passed over; not all are.
                is_sought |= everywhere.add(&what, piece) && at_relay.add(&what, piece);
            }
            match is_sought {
                true => Ok(()),
                false => Err(Trouble::Broken(format!("{what} cannot be sought"))),
            }
        };
        for (clip, bytes) in plain.clips.iter().take(CLIPS_MAX) {
            let what = format!("plaintext of clip {clip:.8}");
            seek_media(what, bytes, CLIP_STEP_BYTES)?;
        }
        for (picture, bytes) in plain.pictures.iter().take(CLIPS_MAX) {
            let what = format!("plaintext of the picture {picture:.8}");
            seek_media(what, bytes, SMALL_STEP_BYTES)?;
        }
        let live = std::fs::read(self.path(LIVE_FILE)).unwrap_or_default();
        let live = media_of(&live);
        if live.len() >= LIVE_BYTES_MIN {
            let what = "plaintext of live pictures".to_owned();
            seek_media(what, live, SMALL_STEP_BYTES)?;
        }
        let mut keys = Vec::new();
        let mut now = BTreeSet::new();
        for end in ends {
            let mut of_end = Canaries::default();
            for key in keys_in(&end.vault) {
                of_end.add("a storage key", &key);
                now.insert(key);
            }
            keys.push((end.place, of_end));
        }
        let mut past = Canaries::default();
        for key in self.storage_keys.difference(&now) {
            past.add("a storage key that is past", key);
        }
        Ok(Sought {
            everywhere,
            at_relay,
            in_words,
            keys,
            past,
        })
    }

    /// Logs, and what was printed.
    fn search_words(&self, sought: &Sought, broken: &mut Vec<Broken>) -> std::io::Result<()> {
        let of_relay = "what the relay printed".to_owned();
        let mut words = vec![
            ("what was printed".to_owned(), self.printed(|_| true)),
            (of_relay.clone(), self.printed(|one| one == Program::Relay)),
        ];
        for entry in std::fs::read_dir(&self.root)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let name = path.file_name().unwrap_or_default().display().to_string();
                words.push((name, std::fs::read(&path)?));
            }
        }
        for (place, text) in words {
            let keys = sought.keys.iter().map(|(_, keys)| keys);
            let everybodys = keys.chain([&sought.everywhere, &sought.past]);
            let everybodys = everybodys.map(|canaries| ("S3", canaries));
            let is_relays = place == of_relay || place.starts_with(Program::Relay.program());
            let relays = is_relays.then_some(("S1", &sought.at_relay));
            let names = [("S3", &sought.in_words)];
            for (promise, canaries) in everybodys.chain(relays).chain(names) {
                if let Some(seen) = canaries.first_in(&text) {
                    let what = format!(
                        "{} stands {} in {place}, at byte {}",
                        seen.what, seen.way, seen.at
                    );
                    broken.push(Broken::new(promise, what));
                    break;
                }
            }
        }
        Ok(())
    }

    /// The state of all three.
    fn search_state(&self, sought: &Sought, broken: &mut Vec<Broken>) -> std::io::Result<()> {
        let mut search = |promise, root: &Path, canaries: &Canaries, passed: Option<&Path>| {
            let passed = |path: &Path| Some(path) == passed;
            if let Some((path, seen)) = canaries.first_below(root, &passed)? {
                let path = path.strip_prefix(&self.root).unwrap_or(&path).display();
                let at = seen.at;
                let what = format!("{} stands {} in {path}, at byte {at}", seen.what, seen.way);
                broken.push(Broken::new(promise, what));
            }
            Ok::<(), std::io::Error>(())
        };
        for relay in RELAYS.map(|place| self.path(place)) {
            search("S1", &relay, &sought.at_relay, None)?;
            search("S1", &relay, &sought.past, None)?;
            for (_, keys) in &sought.keys {
                search("S1", &relay, keys, None)?;
            }
        }
        // What a hub has beside its journal.
        let journal = self.path("hub/journal");
        for entry in std::fs::read_dir(self.path("hub")).into_iter().flatten() {
            let path = entry?.path();
            if path != journal {
                search("S3", &path, &sought.everywhere, None)?;
            }
        }
        for (place, keys) in &sought.keys {
            search("S3", &self.path(place), &sought.everywhere, None)?;
            search("S3", &self.path(place), &sought.past, None)?;
            for (other, _) in &sought.keys {
                // An end's storage keys are in its vault, and nowhere else.
                let own: Option<PathBuf> = (other == place).then(|| self.path(place).join("vault"));
                search("S3", &self.path(other), keys, own.as_deref())?;
            }
        }
        Ok(())
    }

    /// The names of all files, and what the programs' deaths left, here or where they ran.
    fn search_names(&self, sought: &Sought, broken: &mut Vec<Broken>) -> std::io::Result<()> {
        let all = || {
            let keys = sought.keys.iter().map(|(_, keys)| keys);
            keys.chain([&sought.everywhere, &sought.past])
        };
        let mut waiting = vec![self.root.clone()];
        while let Some(place) = waiting.pop() {
            // What is gone meanwhile, or was taken from us by a test, has no name to look at.
            for entry in std::fs::read_dir(&place).into_iter().flatten() {
                let entry = entry?;
                let (path, kind) = (entry.path(), entry.file_type()?);
                let name = entry.file_name();
                let shown = path.strip_prefix(&self.root).unwrap_or(&path).display();
                if let Some(seen) = all().find_map(|one| one.first_in(name.as_encoded_bytes())) {
                    let what = format!("{} stands {} in the name of {shown}", seen.what, seen.way);
                    broken.push(Broken::new("S3", what));
                }
                if kind.is_dir() {
                    waiting.push(path);
                } else if kind.is_file() && is_core_dump(&head(&path)) {
                    let what = format!("{shown} is a core dump: the memory of a program");
                    broken.push(Broken::new("S3", what));
                }
            }
        }
        // Where they ran there may be somebody else's, from before this world was made.
        let since = std::fs::metadata(&self.root)?.created().ok();
        let is_new = |path: &Path| {
            let changed = std::fs::metadata(path).and_then(|file| file.modified());
            changed.is_ok_and(|at| since.is_none_or(|since| at >= since))
        };
        for entry in std::fs::read_dir(std::env::current_dir()?)? {
            let path = entry?.path();
            if path.is_file() && is_new(&path) && is_core_dump(&head(&path)) {
                let what = format!("{} is a core dump: the memory of a program", path.display());
                broken.push(Broken::new("S3", what));
            }
        }
        Ok(())
    }

    /// Every code that was shown, by a hub and by phones that pass one on.
    fn codes_shown(&self) -> BTreeSet<String> {
        let lines = self.board.lines().into_iter();
        let shown = lines.map(|line| line.text("qr").to_owned());
        let shown = shown.filter(|code| !code.is_empty());
        self.codes.iter().cloned().chain(shown).collect()
    }

    /// Everything that these programs printed, but for the codes that `pair` prints for a person.
    fn printed(&self, of: impl Fn(Program) -> bool) -> Vec<u8> {
        let mut text = String::new();
        for (_, answers) in self.answers.iter().filter(|(role, _)| of(**role)) {
            text.push_str(answers);
        }
        for line in self.board.lines().iter().filter(|line| of(line.role)) {
            text.push_str(&without_code(&line.value).to_string());
            text.push('\n');
        }
        text.into_bytes()
    }

    /// Keeps what a program answered, for the search. An invitation is printed for a person, as a code is.
    pub(super) fn note_answer(&mut self, role: Program, lines: &[Value]) {
        let answers = self.answers.entry(role).or_default();
        for line in lines {
            if line.get("invitation").is_none() && answers.len() < ANSWERS_BYTES_MAX {
                answers.push_str(&without_code(line).to_string());
                answers.push('\n');
            }
        }
    }

    /// Strikes out what was said at or after place `from`, by programs that ran on copies: their claims bind nobody
    /// ([`crate::process::Board::forget_from`]). It is searched all the same.
    pub fn forget_from(&mut self, from: usize) {
        for line in self.board.lines().into_iter().skip(from) {
            self.note_answer(line.role, &[line.value]);
        }
        self.board.forget_from(from);
    }
}

/// What a program printed, without the code that it shows a person.
fn without_code(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(object) = value.as_object_mut() {
        object.remove("qr");
    }
    value
}

/// How a file begins. Nothing of one that is gone, or is not for us.
fn head(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(FILE_HEAD_BYTES).read_to_end(&mut bytes));
    read.map_or_else(|_| Vec::new(), |_| bytes)
}

/// The bytes that a text holds behind a word and a colon, as keys and invitations are written.
fn behind_colon(text: &str) -> Option<Vec<u8>> {
    from_base64url(text.trim().rsplit_once(':')?.1)
}

/// Pieces of the second half of a clip or picture, which is media, and none of what all of them begin with.
fn pieces(bytes: &[u8], step: usize) -> impl Iterator<Item = &[u8]> {
    let media = bytes.get(bytes.len() / 2..).unwrap_or_default();
    let parts = media.chunks(step).take(PIECES_MAX);
    parts.filter_map(|part| part.get(part.len() / 2..)?.get(..PIECE_BYTES))
}

/// What stands behind the beginning of a file of live pictures, which is about the camera alone.
fn media_of(live: &[u8]) -> &[u8] {
    let mut places = live.windows(MEDIA_BOX.len());
    let begin = places.position(|word| word == MEDIA_BOX);
    begin
        .and_then(|begin| live.get(begin..))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::Setup;

    /// A world in which nothing ever ran, with the state that a test puts there.
    fn world() -> System {
        let system = System::new(Setup::default()).unwrap();
        for place in ["hub/journal", "app", "relay/data"] {
            std::fs::create_dir_all(system.path(place)).unwrap();
        }
        system
    }

    fn secret(n: u8) -> Vec<u8> {
        (0..32_u8).map(|at| at.wrapping_mul(37) ^ n).collect()
    }

    fn ends() -> [Kept; 2] {
        let of = |n, shown| Secret {
            what: "a secret",
            bytes: secret(n),
            shown,
        };
        let end = |place, secrets: Vec<Secret>| Kept {
            place,
            secrets,
            vault: Vec::new(),
        };
        let group = of(4, Shown::ToEnds);
        [
            end("hub/journal", vec![of(1, Shown::ToNobody), group]),
            end("app", vec![of(2, Shown::ToRelay)]),
        ]
    }

    fn clip() -> Vec<u8> {
        (0..40_000_u32).flat_map(u32::to_be_bytes).collect()
    }

    fn picture() -> Vec<u8> {
        (70_000..71_000_u32).flat_map(u32::to_be_bytes).collect()
    }

    fn live() -> Vec<u8> {
        let media = (80_000..85_000_u32).flat_map(u32::to_be_bytes);
        b"ftyp and moov, and mdat"
            .iter()
            .copied()
            .chain(media)
            .collect()
    }

    fn plain(clip: Vec<u8>) -> Plain {
        Plain {
            clips: BTreeMap::from([("0123456789".to_owned(), clip)]),
            pictures: BTreeMap::from([("1123456789".to_owned(), picture())]),
        }
    }

    fn told(system: &System) -> Vec<&'static str> {
        let broken = system.told(&ends(), &plain(clip())).unwrap();
        broken.iter().map(|broken| broken.promise).collect()
    }

    #[test]
    fn a_secret_is_found_wherever_it_must_not_be() {
        let none: [&str; 0] = [];
        let hex = |n: u8| -> String { secret(n).iter().map(|b| format!("{b:02x}")).collect() };
        let mut system = world();
        assert_eq!(told(&system), none);
        for (file, promise) in [
            ("hub/journal/log", "S3"),
            ("app/view/000001.sst", "S3"),
            ("relay/data/log", "S1"),
            ("secluso-hub.log", "S3"),
        ] {
            let file = system.path(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, [b"some text ", hex(1).as_bytes()].concat()).unwrap();
            assert_eq!(told(&system), [promise], "{file:?}");
            std::fs::remove_file(&file).unwrap();
        }
        // The relay may know what it is shown, and nobody else.
        let at_relay = system.path("relay/data/log");
        std::fs::write(&at_relay, secret(2)).unwrap();
        assert_eq!(told(&system), none);
        std::fs::write(&at_relay, clip()).unwrap();
        assert_eq!(told(&system), ["S1"]);
        std::fs::remove_file(&at_relay).unwrap();
        // A key that was in use once is nowhere, not even in the vault that held it.
        system.storage_keys.insert(secret(3));
        assert_eq!(told(&system), none);
        for file in ["hub/journal/vault", "secluso-app.log"] {
            let file = system.path(file);
            std::fs::write(&file, secret(3)).unwrap();
            assert_eq!(told(&system), ["S3"], "{file:?}");
            std::fs::remove_file(&file).unwrap();
        }
        system.storage_keys.clear();
        // What cannot be sought is no clean bill.
        system.codes.push("none".into());
        assert!(system.told(&ends(), &Plain::default()).is_err());
        system.codes.clear();
        assert!(system.told(&ends(), &plain(vec![0; 90_000])).is_err());
        // What was answered counts, but for invitations and codes.
        for (told_a_person, word) in [("invitation", 1), ("qr", 1)] {
            let line = serde_json::json!({ told_a_person: hex(word) });
            system.note_answer(Program::Hub, &[line]);
        }
        assert_eq!(told(&system), none);
        system.note_answer(Program::Hub, &[serde_json::json!({"device": hex(1)})]);
        assert_eq!(told(&system), ["S3"]);
    }

    /// Pictures of events and live pictures are sought as clips are, and by what MLS's own messages could be known. Nor is
    /// a whole name in the words of anybody.
    #[test]
    fn whatever_was_shown_and_the_names_of_groups_are_not_with_the_relay() {
        let none: [&str; 0] = [];
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let mut system = world();
        let put = |system: &System, name: &str, bytes: &[u8]| {
            let file = system.path(name);
            std::fs::write(&file, bytes).unwrap();
            let found = told(system);
            std::fs::remove_file(&file).unwrap();
            found
        };
        std::fs::write(system.path(LIVE_FILE), live()).unwrap();
        assert_eq!(told(&system), none);
        for shown in [picture(), live()] {
            assert_eq!(put(&system, "relay/data/log", &shown), ["S1"]);
            assert_eq!(put(&system, "hub/journal/log", &shown), ["S3"]);
        }
        for name in [hex(&secret(4)), CAMERA.to_owned()] {
            for place in ["relay/data/log", "secluso-relay.log"] {
                assert_eq!(put(&system, place, name.as_bytes()), ["S1"], "{place}");
            }
            for place in ["hub/journal/log", "app/log"] {
                assert_eq!(put(&system, place, name.as_bytes()), none, "{place}");
            }
        }
        let whole = hex(&secret(4));
        assert_eq!(put(&system, "secluso-hub.log", CAMERA.as_bytes()), none);
        assert_eq!(put(&system, "secluso-hub.log", whole.as_bytes()), ["S3"]);
        let first = whole.get(..12).unwrap();
        assert_eq!(put(&system, "secluso-hub.log", first.as_bytes()), none);
        let camera = serde_json::json!({ "camera": CAMERA, "clip": first });
        system.note_answer(Program::Hub, &[camera]);
        assert_eq!(told(&system), none);
        let line = serde_json::json!({ "group": whole });
        system.note_answer(Program::Hub, std::slice::from_ref(&line));
        assert_eq!(told(&system), ["S3"]);
        system.note_answer(Program::Relay, &[line]);
        assert_eq!(told(&system), ["S3", "S1"]);
    }

    /// What ran on a copy claims nothing, and gives away what any other program would.
    #[test]
    fn what_was_struck_out_is_searched() {
        let mut system = world();
        assert_eq!(told(&system), [""; 0]);
        let hex: String = secret(1).iter().map(|byte| format!("{byte:02x}")).collect();
        let line = serde_json::json!({ "device": hex });
        system.board.hear(Program::Hub, line);
        system.forget_from(0);
        assert!(system.board.is_empty());
        assert_eq!(told(&system), ["S3"]);
    }

    /// What is sought besides the secrets of both journals, and where besides logs and state.
    #[test]
    fn a_name_a_core_dump_a_password_and_the_relays_words_are_looked_at_too() {
        let none: [&str; 0] = [];
        let hex: String = secret(1).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut system = world();
        let put = |name: &str, bytes: &[u8]| {
            let file = system.path(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, bytes).unwrap();
            let found = told(&system);
            std::fs::remove_file(&file).unwrap();
            assert_eq!(told(&system), none, "{name} is gone");
            found
        };
        assert_eq!(put(&format!("hub/{hex}.sock"), b""), ["S3"]);
        assert_eq!(
            put("hub/lock", hex.as_bytes()),
            ["S3"],
            "beside the journal"
        );
        let mut core = [0; 64];
        core[..4].copy_from_slice(b"\x7fELF");
        core[16] = 4;
        assert_eq!(put("app/core.7", &core), ["S3"]);
        // A word that only a test knows.
        system.setup.passwords.push("correct horse 7!".to_owned());
        let log = "GET /?password=correct%20horse%207%21 failed";
        let said = |system: &System, text: &str| {
            let file = system.path("secluso-hub.log");
            std::fs::write(&file, text).unwrap();
            let found = told(system);
            std::fs::remove_file(&file).unwrap();
            found
        };
        assert_eq!(said(&system, log), ["S3"]);
        // Keys and invitations by their bytes, also those that another took the place of.
        let bytes: String = (0..32).map(|byte| format!("{byte:02X}")).collect();
        let text = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
        assert_eq!(said(&system, &bytes), none);
        let invitation = format!("secluso-invite:{text}");
        system.invitations.insert(invitation);
        assert_eq!(said(&system, &bytes), ["S3"]);
        system.invitations.clear();
        let key = system.path("relay/identity.key");
        std::fs::write(key, format!("secluso-relay-key-v1:{text}\n")).unwrap();
        assert_eq!(told(&system), none, "its own place");
        assert_eq!(said(&system, &bytes), ["S3"]);
    }
}
