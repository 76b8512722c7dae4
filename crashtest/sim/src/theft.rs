//! The thief's evidence: a long life of a hub and a phone on real files, every file of whoever just did
//! something copied after every step, each copy attacked with all ciphertext that was ever sent.
//!
//! The attacker (`crashtest/thief`) knows the format and none of our code. This room plays the life and
//! knows the truth: which envelope belongs to which clip, what was finished, deleted or healed when. It
//! must never tell the attacker more than files and envelopes.
//!
//! ```text
//! life    record, crash, idle, sync, heartbeat, delete on the very cores that the programs run
//! books   what is true at each step
//! judge   what each copy opened, compared with what it may open
//! ```

mod books;
mod ends;
mod judge;
mod life;

use std::error::Error;
use std::path::Path;

pub use judge::{Evidence, Tally};

/// The deliberate bug without which the evidence would prove nothing.
const UNSEALED: &str = "nothing_is_sealed";

/// An error is only ever shown.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long a life is to be.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Epochs of the event video group.
    pub epochs: u64,
    /// What its dice begin with.
    pub seed: u64,
}

/// Lives the same life twice, sealed and with sealing switched off, and judges both. `progress` is told of
/// each epoch.
///
/// # Errors
/// The machine's, or a life that does not go on: nothing was judged then.
pub fn evidence(terms: Terms, progress: &dyn Fn(&str, u64)) -> Outcome<Evidence> {
    let sealed = lived(terms, None, &|epoch| progress("sealed", epoch))?;
    let unsealed = lived(terms, Some(UNSEALED), &|epoch| progress("unsealed", epoch))?;
    Ok(Evidence { sealed, unsealed })
}

/// Lives once, sealed, on files below `home` and nowhere else on that file system, and gives the storage
/// keys that are in no vault any more: whoever looks for them there looks at freed blocks, too.
///
/// # Errors
/// As [`evidence`].
pub fn superseded_keys(terms: Terms, home: &Path) -> Outcome<Vec<[u8; 32]>> {
    let mut life = life::Life::begin(terms.seed, Some(home))?;
    life.live(terms.epochs, &|_| {})?;
    Ok(life.superseded())
}

fn lived(terms: Terms, bug: Option<&'static str>, progress: &dyn Fn(u64)) -> Outcome<Tally> {
    let _alive = Alive::with(bug);
    let mut life = life::Life::begin(terms.seed, None)?;
    life.live(terms.epochs, progress)?;
    judge::judge(life)
}

/// A bug lives on this thread as long as this does.
struct Alive;

impl Alive {
    fn with(bug: Option<&'static str>) -> Alive {
        wal::mutant::choose(bug);
        Alive
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        wal::mutant::choose(None);
    }
}
