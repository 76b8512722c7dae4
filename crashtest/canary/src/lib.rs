//! Canaries: secrets that must be found nowhere, and a search for all of them at once, however they
//! were written down (`ways`).
//!
//! Whatever a program wrote may be searched: a directory of state, with the names of its files, a log, its JSON. This
//! room must never ask how a secret could have come there, and it finds only what it was given. A [`Place`] is where a test
//! of one program alone runs it, searched when the test is over.
//!
//! This crate is for tests alone, and links none of our code, so that tests of each program may have it.
#![forbid(unsafe_code)]

mod place;

pub use place::{Place, keys_in};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A shorter secret would be found by chance.
const SECRET_BYTES_MIN: usize = 8;
/// A secret in which fewer bytes differ is met in files that do not hold it.
const SECRET_VARIETY_MIN: usize = 6;
/// By so many bytes the ways of writing are told apart first.
const HEAD_BYTES: usize = 4;
/// There are 2 to the power of this many slots for first bytes: many more than first bytes.
const SLOT_BITS: u32 = 20;
/// Most of a file of ours is zero: what is, is passed over by the block.
const BLOCK_BYTES: usize = 4096;
/// The end of a block of zeros in which a secret may begin that begins with zeros.
const ZERO_TAIL_BYTES: usize = 64;
/// How far a list is moved in that stands one number a line: of Rust's `{:#?}` and of pretty JSON, some levels deep.
const INDENTS: [usize; 6] = [2, 4, 6, 8, 12, 16];
/// How a file begins that is an ELF file of Linux, and what stands at byte 16 of one that is a core dump (`ET_CORE`,
/// of either byte order).
const ELF: &[u8] = b"\x7fELF";
const ELF_TYPE: std::ops::Range<usize> = 16..18;
const ELF_CORES: [[u8; 2]; 2] = [[4, 0], [0, 4]];

const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BASE64_URL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A secret where it must not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Which one.
    pub what: String,
    /// How it was written.
    pub way: &'static str,
    /// Where it begins, in bytes.
    pub at: usize,
}

/// One way in which one secret may be written.
struct Needle {
    what: usize,
    way: &'static str,
    bytes: Vec<u8>,
}

/// Secrets to look for.
pub struct Canaries {
    names: Vec<String>,
    needles: Vec<Needle>,
    /// Needles by their first bytes.
    by_head: BTreeMap<[u8; HEAD_BYTES], Vec<usize>>,
    /// Into which of these slots the first bytes of any needle fall, so that most places cost one look.
    likely: Vec<bool>,
}

impl Default for Canaries {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            needles: Vec::new(),
            by_head: BTreeMap::new(),
            likely: vec![false; 1 << SLOT_BITS],
        }
    }
}

impl Canaries {
    /// Adds a secret. One that is too short, or too much like nothing, is passed over, and said so.
    pub fn add(&mut self, what: &str, secret: &[u8]) -> bool {
        let variety = secret.iter().collect::<BTreeSet<_>>();
        if secret.len() < SECRET_BYTES_MIN || variety.len() < SECRET_VARIETY_MIN {
            return false;
        }
        let name = self.names.len();
        self.names.push(what.to_owned());
        for (way, bytes) in ways(secret) {
            let Some(head) = bytes.first_chunk::<HEAD_BYTES>().copied() else {
                continue;
            };
            self.likely[slot(head)] = true;
            self.by_head
                .entry(head)
                .or_default()
                .push(self.needles.len());
            self.needles.push(Needle {
                what: name,
                way,
                bytes,
            });
        }
        true
    }

    /// How many secrets are looked for.
    #[must_use]
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether nothing is looked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// The first of them that stands in these bytes.
    #[must_use]
    pub fn first_in(&self, bytes: &[u8]) -> Option<Sighting> {
        for (number, block) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let start = number * BLOCK_BYTES;
            let skipped = match block.iter().all(|byte| *byte == 0) {
                true => block.len().saturating_sub(ZERO_TAIL_BYTES),
                false => 0,
            };
            for at in start + skipped..start + block.len() {
                if let Some(sighting) = self.at(bytes, at) {
                    return Some(sighting);
                }
            }
        }
        None
    }

    fn at(&self, bytes: &[u8], at: usize) -> Option<Sighting> {
        let rest = bytes.get(at..)?;
        let head = rest.first_chunk::<HEAD_BYTES>()?;
        if !self.likely[slot(*head)] {
            return None;
        }
        let numbers = self.by_head.get(head)?;
        let mut needles = numbers.iter().map(|number| &self.needles[*number]);
        let needle = needles.find(|needle| rest.starts_with(&needle.bytes))?;
        Some(Sighting {
            what: self.names[needle.what].clone(),
            way: needle.way,
            at,
        })
    }

    /// The first of them in any file at or below `root`, or in the name of one below it, with the file. Files that
    /// `passed` accepts are not looked into; links are not followed.
    ///
    /// # Errors
    /// The machine's; what goes while it is looked at is no error.
    pub fn first_below(
        &self,
        root: &Path,
        passed: &dyn Fn(&Path) -> bool,
    ) -> io::Result<Option<(PathBuf, Sighting)>> {
        let mut waiting = vec![root.to_path_buf()];
        while let Some(path) = waiting.pop() {
            let Some(metadata) = there(std::fs::symlink_metadata(&path))? else {
                continue;
            };
            let name = path.file_name().filter(|_| path != root);
            if let Some(sighting) = name.and_then(|name| self.first_in(name.as_encoded_bytes())) {
                return Ok(Some((path, sighting)));
            }
            if metadata.is_dir() {
                for entry in there(std::fs::read_dir(&path))?.into_iter().flatten() {
                    waiting.push(entry?.path());
                }
            } else if metadata.is_file() && !passed(&path) {
                let bytes = there(std::fs::read(&path))?.unwrap_or_default();
                if let Some(sighting) = self.first_in(&bytes) {
                    return Ok(Some((path, sighting)));
                }
            }
        }
        Ok(None)
    }
}

/// Where these first bytes are looked up: a multiplicative hash (Knuth).
fn slot(head: [u8; HEAD_BYTES]) -> usize {
    (u32::from_le_bytes(head).wrapping_mul(2_654_435_769) >> (u32::BITS - SLOT_BITS)) as usize
}

/// A program that runs may remove a file at any time.
fn there<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        looked => looked.map(Some),
    }
}

/// Whether a file holds the memory of a process that died: all its secrets.
#[must_use]
pub fn is_core_dump(bytes: &[u8]) -> bool {
    let kind = bytes.get(ELF_TYPE);
    bytes.starts_with(ELF) && kind.is_some_and(|kind| ELF_CORES.iter().any(|core| kind == core))
}

/// Every way in which a secret may be written, with its name, each once: as it is; in hex and base64; as Rust prints bytes
/// and lists of them, and JSON; as an address, a string of Rust and one of JSON has it.
fn ways(secret: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let listed = |each: fn(&u8) -> String, between: &str| {
        let bytes: Vec<String> = secret.iter().map(each).collect();
        bytes.join(between).into_bytes()
    };
    let lower: fn(&u8) -> String = |byte| format!("{byte:02x}");
    let upper: fn(&u8) -> String = |byte| format!("{byte:02X}");
    let prefixed: fn(&u8) -> String = |byte| format!("{byte:#04x}");
    let mut ways = vec![
        ("as it is", secret.to_vec()),
        ("in hex", listed(lower, "")),
        ("in upper-case hex", listed(upper, "")),
        ("as numbers", listed(u8::to_string, ", ")),
        ("as numbers without spaces", listed(u8::to_string, ",")),
        (
            "as hexadecimal numbers",
            listed(|byte| format!("{byte:x}"), ", "),
        ),
        ("as hexadecimal numbers", listed(prefixed, ", ")),
    ];
    for case in [lower, upper] {
        ways.push(("as hexadecimal numbers", listed(case, ", ")));
        ways.push(("in hex with colons", listed(case, ":")));
        ways.push(("in hex with spaces", listed(case, " ")));
    }
    for indent in INDENTS {
        let between = format!(",\n{:indent$}", "");
        ways.push(("as numbers, one a line", listed(u8::to_string, &between)));
        ways.push(("as numbers, one a line", listed(prefixed, &between)));
    }
    // All of it, or only what must be.
    let kept: [fn(u8) -> bool; 2] = [
        |_| false,
        |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
    ];
    for is_kept in kept {
        for case in [lower, upper] {
            ways.push(("percent-encoded", percent_encoded(secret, is_kept, case)));
        }
    }
    let escaped = secret.escape_ascii().to_string();
    // As some write their bytes, with a quote as it is and a zero short.
    let bytes = escaped.replace("\\x00", "\\0").replace("\\'", "'");
    ways.push(("escaped", escaped.into_bytes()));
    ways.push(("escaped", bytes.into_bytes()));
    if let Ok(text) = std::str::from_utf8(secret) {
        for quoted in [
            format!("{text:?}"),
            serde_json::Value::from(text).to_string(),
        ] {
            let inside = quoted.get(1..quoted.len() - 1).unwrap_or_default();
            ways.push(("escaped", inside.as_bytes().to_vec()));
        }
    }
    // Inside a longer text, a secret begins at any of three places of a group of three bytes.
    for before in 0..3 {
        ways.push(("in base64", base64_within(secret, before, BASE64)));
        ways.push(("in base64url", base64_within(secret, before, BASE64_URL)));
    }
    let mut seen = BTreeSet::new();
    ways.retain(|(_, bytes)| seen.insert(bytes.clone()));
    ways
}

/// What is not kept as `%` and two digits (RFC 3986, section 2.1).
fn percent_encoded(secret: &[u8], is_kept: fn(u8) -> bool, digits: fn(&u8) -> String) -> Vec<u8> {
    let mut out = Vec::with_capacity(3 * secret.len());
    for byte in secret {
        match is_kept(*byte) {
            true => out.push(*byte),
            false => {
                out.push(b'%');
                out.extend_from_slice(digits(byte).as_bytes());
            }
        }
    }
    out
}

/// The bytes of a text in base64url without padding; nothing if it is none.
#[must_use]
pub fn from_base64url(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::with_capacity(text.len()), 0_u32, 0);
    for digit in text.bytes() {
        let value = BASE64_URL.iter().position(|known| *known == digit)?;
        bits = (bits << 6) | u32::try_from(value).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(((bits >> count) & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// What a secret looks like in base64 behind `before` bytes of something else: the digits that it alone
/// decides (RFC 4648, section 4).
fn base64_within(secret: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let mut bytes = vec![0; before];
    bytes.extend_from_slice(secret);
    let whole = bytes.len() * 8 / 6;
    let undecided = (before * 8).div_ceil(6);
    let mut digits = Vec::with_capacity(bytes.len() * 4 / 3 + 4);
    for group in bytes.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = (bits << 8) | u32::from(group.get(place).copied().unwrap_or(0));
        }
        for shift in [18, 12, 6, 0] {
            digits.push(alphabet[((bits >> shift) & 63) as usize]);
        }
    }
    digits[undecided..whole].to_vec()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    const SECRET: &[u8; 16] = b"\x07\xc8\x1f\xfb\xef\x00\x91\x3e\x5a\x77\xff\x10\x22\xd4\x08\x99";

    fn canaries() -> Canaries {
        let mut canaries = Canaries::default();
        assert!(canaries.add("a key", SECRET));
        canaries
    }

    /// `secret` in base64 behind and before other bytes, by the rules of RFC 4648 and by hand.
    fn encoded(before: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
        let bytes = [before, SECRET, b"tail"].concat();
        base64_within(&bytes, 0, alphabet)
    }

    #[test]
    fn the_encoder_agrees_with_the_rfc() {
        for (plain, text) in [("foobar", "Zm9vYmFy"), ("foob", "Zm9vY"), ("f", "Z")] {
            let digits = base64_within(plain.as_bytes(), 0, BASE64);
            assert_eq!(digits, text.as_bytes(), "{plain}");
        }
        assert_eq!(base64_within(&[0xfb, 0xff, 0xbf], 0, BASE64), b"+/+/");
        assert_eq!(base64_within(&[0xfb, 0xff, 0xbf], 0, BASE64_URL), b"-_-_");
    }

    #[test]
    fn a_secret_is_seen_however_it_is_written() {
        let canaries = canaries();
        // By other hands than those that made the needles, where there are any.
        let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
        let json = serde_json::to_string(SECRET).unwrap();
        let pretty = serde_json::to_string_pretty(&[SECRET]).unwrap();
        let percent = "%07%C8%1F%FB%EF%00%91%3EZw%FF%10%22%D4%08%99";
        let all_percent = "%07%c8%1f%fb%ef%00%91%3e%5a%77%ff%10%22%d4%08%99";
        let bytes = r#"b"\x07\xc8\x1f\xfb\xef\0\x91>Zw\xff\x10\"\xd4\x08\x99""#;
        let dump = "07 c8 1f fb ef 00 91 3e 5a 77 ff 10 22 d4 08 99";
        let written = [
            (hex.to_uppercase(), "in upper-case hex"),
            (hex, "in hex"),
            (dump.replace(' ', ":"), "in hex with colons"),
            (dump.to_uppercase(), "in hex with spaces"),
            (dump.to_owned(), "in hex with spaces"),
            (json, "as numbers without spaces"),
            (format!("{SECRET:?}"), "as numbers"),
            (format!("{SECRET:#?}"), "as numbers, one a line"),
            (format!("{:#?}", Some(SECRET)), "as numbers, one a line"),
            (pretty, "as numbers, one a line"),
            (format!("{SECRET:#04x?}"), "as numbers, one a line"),
            (format!("{SECRET:x?}"), "as hexadecimal numbers"),
            (format!("{SECRET:02x?}"), "as hexadecimal numbers"),
            (format!("{SECRET:02X?}"), "as hexadecimal numbers"),
            (percent.to_owned(), "percent-encoded"),
            (
                percent.to_lowercase().replace("zw", "Zw"),
                "percent-encoded",
            ),
            (all_percent.to_owned(), "percent-encoded"),
            (all_percent.to_uppercase(), "percent-encoded"),
            (SECRET.escape_ascii().to_string(), "escaped"),
            (bytes.to_owned(), "escaped"),
        ];
        let mut texts: Vec<(Vec<u8>, &str)> = written
            .into_iter()
            .map(|(text, way)| (text.into_bytes(), way))
            .collect();
        texts.push((SECRET.to_vec(), "as it is"));
        for before in [&b""[..], b"x", b"xy", b"xyz"] {
            texts.push((encoded(before, BASE64), "in base64"));
            texts.push((encoded(before, BASE64_URL), "in base64url"));
        }
        for (text, way) in texts {
            for at in [0, 1, BLOCK_BYTES - 5, 3 * BLOCK_BYTES] {
                let file = [vec![0; at], text.clone(), vec![0; 9000]].concat();
                let found = canaries.first_in(&file);
                let found = found.unwrap_or_else(|| panic!("{way} at {at}"));
                assert_eq!(found.what, "a key");
                assert_eq!(found.way, way, "at {at}");
                // Half of it is not it.
                let half = [vec![0; at], text[..text.len() / 2].to_vec()].concat();
                assert_eq!(canaries.first_in(&half), None, "{way} at {at}");
            }
        }
        assert_eq!(canaries.first_in(b""), None);
    }

    #[test]
    fn a_password_is_seen_in_an_address_in_json_and_in_a_string_of_rust() {
        let password = "p@ss \"w/ö\trd";
        let mut canaries = Canaries::default();
        assert!(canaries.add("a password", password.as_bytes()));
        for text in [
            format!("login failed: {password}"),
            format!("{:?}", Some(password)),
            serde_json::json!({"why": password}).to_string(),
            "rtsp://me:p%40ss%20%22w%2F%C3%B6%09rd@camera/".to_owned(),
            "Authorization: Basic bWU6cEBzcyAidy/DtglyZA==".to_owned(),
        ] {
            assert!(canaries.first_in(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn a_secret_in_the_name_of_a_file_or_of_a_directory_is_seen() {
        let place = tempfile::tempdir().unwrap();
        let canaries = canaries();
        let hex: String = SECRET.iter().map(|byte| format!("{byte:02x}")).collect();
        for name in [format!("clip-{hex}"), format!("{hex}/log")] {
            let path = place.path().join(&name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, b"nothing").unwrap();
            let found = canaries.first_below(place.path(), &|_| false).unwrap();
            let (_, sighting) = found.unwrap_or_else(|| panic!("{name}"));
            assert_eq!(sighting.way, "in hex");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn a_core_dump_is_told_from_a_program() {
        let mut own = [0; 64];
        let mut program = std::fs::File::open("/proc/self/exe").unwrap();
        program.read_exact(&mut own).unwrap();
        assert!(own.starts_with(ELF) && !is_core_dump(&own));
        let mut dump = own;
        dump[ELF_TYPE].copy_from_slice(&[4, 0]);
        assert!(is_core_dump(&dump));
        assert!(!is_core_dump(b"") && !is_core_dump(b"\x7fELF"));
    }

    #[test]
    fn what_was_written_in_base64url_is_read_back() {
        for length in 8..=SECRET.len() {
            let secret = &SECRET[..length];
            let mut padded = secret.to_vec();
            padded.extend([0; 2]);
            // The digits that hold all of it.
            let digits = base64_within(&padded, 0, BASE64_URL);
            let text = std::str::from_utf8(&digits[..(length * 8).div_ceil(6)]).unwrap();
            assert_eq!(from_base64url(text).as_deref(), Some(secret));
        }
        assert_eq!(from_base64url("a b"), None);
    }

    #[test]
    fn a_secret_that_begins_with_zeros_is_seen_behind_zeros() {
        let mut secret = *SECRET;
        secret[..3].fill(0);
        let mut canaries = Canaries::default();
        assert!(canaries.add("zeros", &secret));
        let file = [vec![0; BLOCK_BYTES - 3], secret.to_vec()].concat();
        assert!(canaries.first_in(&file).is_some());
    }

    #[test]
    fn what_would_be_met_by_chance_is_not_looked_for() {
        let mut canaries = Canaries::default();
        assert!(!canaries.add("short", &SECRET[..7]));
        assert!(!canaries.add("zero", &[0; 32]));
        assert!(canaries.is_empty());
    }

    #[test]
    fn files_are_searched_wherever_they_lie_but_for_those_that_may_hold_it() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("a/b");
        std::fs::create_dir_all(&deep).unwrap();
        let file = deep.join("vault");
        std::fs::write(&file, [&[0; 5000][..], SECRET].concat()).unwrap();
        let canaries = canaries();
        let found = canaries.first_below(place.path(), &|_| false).unwrap();
        let (path, sighting) = found.unwrap();
        assert_eq!((path, sighting.at), (file.clone(), 5000));
        let passed = |path: &Path| path == file;
        assert_eq!(canaries.first_below(place.path(), &passed).unwrap(), None);
    }
}
