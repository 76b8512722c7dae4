//! Golden IO traces: what each step does to the disk, in order.
//!
//! A sync that goes missing, or one too many on the way to a first byte, is a difference that a
//! reviewer reads. `BLESS=1 cargo test -p crashtest-sim --test io_traces` writes the file anew. The
//! view is left out (it is never synced on the way, and RocksDB's calls are its own), and so are
//! sizes and offsets. What no good conversation has is also asserted to have happened: a step that does
//! something else than its name says must not be blessed.
//!
//! ```text
//! told                                      a disk's trace as text
//! stage, ends                               who does the steps, with a relay and without one
//! pairing, heartbeat, conversation          the steps of a good conversation
//! at_hub, evidence, at_app, at_relay        those that it has not
//! orders, phones                            commands; phones that are beside others, silent, removed, replaced
//! ```

mod at_app;
mod at_hub;
mod at_relay;
mod conversation;
mod ends;
mod evidence;
mod heartbeat;
mod orders;
mod pairing;
mod phones;
mod stage;
mod told;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/io-traces.txt");
/// When everything happens, in seconds since 1970.
const NOW_S: u64 = 1_800_000_000;

/// Further steps come behind those that are there, so that a difference shows what changed.
fn traces() -> String {
    let mut text = conversation::conversation();
    // Only the books of a conversation read them.
    wal::note::keep(false);
    at_hub::steps(&mut text);
    evidence::steps(&mut text);
    pairing::again(&mut text);
    at_app::steps(&mut text);
    at_relay::steps(&mut text);
    orders::steps(&mut text);
    phones::steps(&mut text);
    at_relay::revoked(&mut text);
    text
}

#[test]
fn every_step_does_to_the_disk_what_was_reviewed() {
    let now = traces();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(GOLDEN, &now).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap();
    if now != golden {
        let place = golden
            .lines()
            .zip(now.lines())
            .position(|(old, new)| old != new);
        // None if one of them goes on where the other one ends.
        let ends = || golden.lines().count().min(now.lines().count());
        let from = place.unwrap_or_else(ends).saturating_sub(6);
        let shown = |text: &str| {
            text.lines()
                .skip(from)
                .take(14)
                .collect::<Vec<_>>()
                .join("\n")
        };
        panic!(
            "the IO of a step has changed; read why, then BLESS=1.\n--- was\n{}\n--- is\n{}",
            shown(&golden),
            shown(&now)
        );
    }
}
