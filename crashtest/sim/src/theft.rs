//! The thief's evidence: a long life of a hub and its phones on real files, every file of whoever just did
//! something copied after every step and in the middle of it, each copy attacked with all ciphertext that was ever
//! sent.
//!
//! The attacker (`crashtest/thief`) knows the format and none of our code. This room plays the life and
//! knows the truth: which envelope belongs to which clip, what was finished, deleted or healed when. It
//! must never tell the attacker more than files and envelopes.
//!
//! ```text
//! life    record, crash, idle, sync, heartbeat, command, pair, remove, delete on the very cores that the programs run
//! dying   what a process leaves that dies in the middle of a sync
//! peep    copies from within a step, while a vault changes
//! books   what is true at each step
//! judge   what each copy opened, compared with what it may open
//! sought  secrets that may be in no copy, by their values
//! classes live sessions, pictures and notifications, each class by itself
//! tally   that in numbers
//! ```

mod books;
mod classes;
mod dying;
mod ends;
mod judge;
mod life;
mod peep;
mod sought;
mod tally;

use std::error::Error;
use std::path::Path;

pub use classes::Class;
pub use tally::{Evidence, Pairings, Tally};

use crate::oracle::Broken;

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

impl Terms {
    /// As short as a life can be: each kind of step comes once at least.
    #[must_use]
    pub fn shortest(seed: u64) -> Self {
        Self { epochs: 1, seed }
    }
}

/// Lives sealed, sealed at a hub that retains clips, and so with sealing switched off, and judges all three.
/// `progress` is told of each epoch.
///
/// # Errors
/// The machine's, or a life that does not go on: nothing was judged then.
pub fn evidence(terms: Terms, progress: &dyn Fn(&str, u64)) -> Outcome<Evidence> {
    let lived = |life: &str, retains: bool, bug: Option<&'static str>| {
        let _alive = Alive::with(bug);
        lived(terms, retains, &|epoch| progress(life, epoch))
    };
    Ok(Evidence {
        sealed: lived("sealed", false, None)?,
        retaining: lived("retaining", true, None)?,
        unsealed: lived("unsealed", true, Some(UNSEALED))?,
    })
}

/// Lives once, at a hub that retains clips, with whatever deliberate bug is alive on this thread, and asks for
/// nothing but that no promise is broken.
///
/// # Errors
/// The first promise that did not hold; C7 if the life does not go on.
pub fn judged(terms: Terms) -> Result<(), Broken> {
    let tally = lived(terms, true, &|_| {});
    let tally = tally.map_err(|error| Broken::new("C7", error.to_string()))?;
    let Some(what) = tally.told.first() else {
        return Ok(());
    };
    let mut named = ["S4", "S5"].into_iter();
    let promise = named.find(|promise| what.starts_with(*promise));
    Err(Broken::new(promise.unwrap_or("S3"), what.clone()))
}

/// Lives once, sealed, on files below `home` and nowhere else on that file system, and gives the storage
/// keys that are in no vault any more: whoever looks for them there looks at freed blocks, too.
///
/// # Errors
/// As [`evidence`].
pub fn superseded_keys(terms: Terms, home: &Path) -> Outcome<Vec<[u8; 32]>> {
    let mut life = life::Life::begin(terms.seed, false, Some(home))?;
    life.live(terms.epochs, &|_| {})?;
    Ok(life.superseded())
}

fn lived(terms: Terms, retains: bool, progress: &dyn Fn(u64)) -> Outcome<Tally> {
    let mut life = life::Life::begin(terms.seed, retains, None)?;
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
