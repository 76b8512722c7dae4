//! What a thief of the files finds where OpenMLS lives on its own SQLite storage, told to delete securely:
//! the yardstick of `cargo xtask thief`.
//!
//! One group goes from epoch to epoch, each a transaction of Commit and merge and one of a few messages, as
//! a careful program would. After each its files are read, and of every epoch that is over it is asked
//! whether the secret from which all its message keys come still stands in one of them, byte for byte. It
//! must never ask SQLite: a thief has files.
//!
//! ```text
//! sqlite-thief EPOCHS     one line of JSON
//! ```

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use openmls::prelude::Ciphersuite;
use yardstick::sqlite::{SqliteMode, SqliteProvider};
use yardstick::{Member, Outcome};

const DATABASE: &str = "group.db";
/// What SQLite keeps beside the database.
const FILES: [&str; 3] = ["group.db", "group.db-wal", "group.db-journal"];
const MESSAGES: usize = 3;
/// What stands before the root of the secret tree in an encoded value: the name of the field that holds it, a
/// list of two whose first is there, and the wrappers of its 32 bytes (RFC 8949).
const BEFORE: &[u8] = b"parent_nodes\x82\xa1\x66secret\xa1\x65value\xa1\x63vec\x98\x20";
/// Bytes that are looked for behind it: at least sixteen of the secret's, each of which is one or two.
const NEEDLE_BYTES: usize = 32;

fn main() -> ExitCode {
    let epochs = std::env::args().nth(1).and_then(|word| word.parse().ok());
    match epochs.ok_or("how many?".into()).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sqlite-thief EPOCHS: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(epochs: usize) -> Outcome<()> {
    let scratch = Scratch::new()?;
    let suite = Ciphersuite::MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519;
    let database = scratch.0.join(DATABASE);
    let provider = SqliteProvider::open(&database, SqliteMode::SecureDelete)?;
    let mut member = Member::new(provider, suite)?;
    let mut needles: Vec<Vec<u8>> = Vec::new();
    let (mut most, mut last, mut copies_with_some) = (0, 0, 0);
    let mut ever = Vec::new();
    for _ in 0..epochs {
        member.provider.sql("BEGIN IMMEDIATE")?;
        member.advance_epoch()?;
        member.provider.sql("COMMIT")?;
        needles.push(needle(&member.provider.message_secrets()?)?);
        ever.push(false);
        member.provider.sql("BEGIN IMMEDIATE")?;
        for _ in 0..MESSAGES {
            member.seal(&[0; 1000])?;
        }
        member.provider.sql("COMMIT")?;
        let files = read_all(&scratch.0)?;
        let (_current, over) = needles.split_last().ok_or("no epoch")?;
        last = 0;
        for (needle, ever) in over.iter().zip(&mut ever) {
            if files.iter().any(|file| holds(file, needle)) {
                last += 1;
                *ever = true;
            }
        }
        most = most.max(last);
        copies_with_some += usize::from(last > 0);
    }
    let ever = ever.iter().filter(|readable| **readable).count();
    println!(
        "{{\"epochs\":{epochs},\"superseded_readable_at_most\":{most},\
         \"superseded_readable_at_the_end\":{last},\"superseded_readable_in_some_copy\":{ever},\
         \"copies_with_superseded_epochs\":{copies_with_some}}}"
    );
    Ok(())
}

/// A part of the root secret of a fresh epoch's tree.
fn needle(value: &[u8]) -> Outcome<Vec<u8>> {
    let at = value
        .windows(BEFORE.len())
        .position(|window| window == BEFORE)
        .ok_or("the stored secrets of a fresh epoch have no root")?;
    let found = value.get(at + BEFORE.len()..at + BEFORE.len() + NEEDLE_BYTES);
    Ok(found.ok_or("the stored tree ends early")?.to_vec())
}

fn holds(file: &[u8], needle: &[u8]) -> bool {
    let Some(first) = needle.first() else {
        return false;
    };
    let mut rest = file;
    while let Some(at) = rest.iter().position(|byte| byte == first) {
        let here = rest.get(at..).unwrap_or_default();
        if here.starts_with(needle) {
            return true;
        }
        rest = here.get(1..).unwrap_or_default();
    }
    false
}

fn read_all(dir: &Path) -> Outcome<Vec<Vec<u8>>> {
    let mut files = Vec::new();
    for name in FILES {
        match std::fs::read(dir.join(name)) {
            Ok(bytes) => files.push(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(files)
}

/// A directory of this process's own, removed with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let name = format!("sqlite-thief-{}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is a few megabytes in the directory for such things.
        let _stays = std::fs::remove_dir_all(&self.0);
    }
}
