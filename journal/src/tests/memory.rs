//! What is past is not in this process's memory either, at the place where it was kept.
//!
//! Linux shows a process its own memory as a file, freed or not, so nothing unsafe is needed to look. Only places
//! that are known are looked at: what a compiler or a library copies to a stack on its way is no part of this, and
//! SECURITY.md promises nothing of it.

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;

use wal::SeededDice;

use super::harness::{paired, settle};
use crate::Journal;
use crate::ids::{Channel, Line};
use crate::pairing::HubPairing;
use crate::scope::Scope;
use crate::sealed::{self, Key};

/// An allocator writes links into the beginning of what is freed, so this much of it proves nothing.
const LINKS_BYTES: usize = 16;

/// Whether these bytes are in memory at this address, whoever that belongs to now.
fn is_there(address: usize, bytes: &[u8]) -> bool {
    assert!(bytes.len() >= 2 * LINKS_BYTES);
    let memory = File::open("/proc/self/mem");
    let memory = memory.expect("without /proc/self/mem nothing can be told of memory");
    let mut found = vec![0; bytes.len()];
    // What is not mapped any more is gone.
    let is_mapped = memory.read_exact_at(&mut found, address as u64).is_ok();
    is_mapped && found[LINKS_BYTES..] == bytes[LINKS_BYTES..]
}

fn pattern() -> [u8; 32] {
    std::array::from_fn(|n| (n as u8).wrapping_mul(37) ^ 0x5a)
}

#[test]
fn a_key_and_what_it_opened_are_wiped_where_they_were() {
    let pattern = pattern();
    // Whoever looks does so behind the compiler's back.
    let key = black_box(Box::new(Key::new(pattern)));
    let at = key.as_ptr().expose_provenance();
    assert!(is_there(at, &pattern), "the look is blind");
    drop(key);
    assert!(!is_there(at, &pattern));

    let plaintext: Vec<u8> = (0..200_u8).map(|n| n ^ 0x33).collect();
    let key = Key::new(pattern);
    let sealed = sealed::seal(&key, b"place", &plaintext, &mut SeededDice(5));
    let opened = black_box(sealed::open(&key, b"place", &sealed).unwrap());
    let at = opened.as_ptr().expose_provenance();
    assert!(is_there(at, &plaintext), "the look is blind");
    drop(opened);
    assert!(!is_there(at, &plaintext));
}

/// Where the storage key of a scope is in memory, and what it is.
fn place(journal: &Journal, scope: Scope) -> (usize, Vec<u8>) {
    let key = &journal.scopes.get(scope).unwrap().key;
    (key.as_ptr().expose_provenance(), key.to_vec())
}

#[test]
fn a_storage_key_is_gone_from_its_place_once_it_was_rotated_or_has_ended() {
    let (mut hub, mut app) = paired();
    let line = hub.line();
    let group = Scope::Group(line);
    for clip in [b"one", b"two"] {
        let (at, key) = place(&hub.journal, group);
        assert!(is_there(at, &key), "the look is blind");
        hub.record(&[clip.as_slice()]);
        assert!(!is_there(at, &key), "rotated, and still there");
    }
    settle(&mut hub, &mut app);
    // What a birth has used is the scope's, and not the pool's any more: here of the clips that came to the phone.
    let pooled = |journal: &Journal| {
        let key = journal.scopes.next_in_pool().unwrap();
        (key.as_ptr().expose_provenance(), key.to_vec())
    };
    let (at, key) = pooled(&app.journal);
    assert!(is_there(at, &key), "the look is blind");
    hub.record(&[b"three"]);
    settle(&mut hub, &mut app);
    assert_ne!(pooled(&app.journal).1, key, "nothing was born");
    assert!(!is_there(at, &key), "used, and still in the pool's place");
    let lines = Channel::ALL.map(|channel| Line { channel, ..line });
    let scopes = lines.map(Scope::Group);
    let places: Vec<_> = scopes
        .into_iter()
        .chain([Scope::Pairing(line.pairing)])
        .map(|scope| (scope, place(&hub.journal, scope)))
        .collect();
    drop(HubPairing::remove(&mut hub.journal, line.pairing).unwrap());
    for (scope, (at, key)) in places {
        assert!(hub.journal.scopes.get(scope).is_none());
        assert!(
            !is_there(at, &key),
            "{scope:?} has ended, and its key is there"
        );
    }
}
