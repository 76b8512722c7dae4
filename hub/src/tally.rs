//! How many pictures of each camera were decoded since this process began: what shows that in privacy mode none is.
//!
//! A count only rises, whatever becomes of its camera: it is opened again, the configuration has it no more, the hub is
//! reset. So counts are made where the process begins, and handed down to whoever decodes. This room must never hold more
//! than [`NAMES_MAX`] of them, and one for the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The most cameras that are counted apart. Only a configuration that changes again and again has named more; those are
/// counted together.
pub const NAMES_MAX: usize = 64;

/// The count of one camera. A clone is the same count.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

/// The same count, and not as much counted: that changes with every picture.
impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Tally {}

impl Tally {
    /// So many more were decoded.
    pub fn add(&self, pictures: u64) {
        self.0.fetch_add(pictures, Ordering::Relaxed);
    }

    /// How many were.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counts of all cameras, by their names. A clone has the same.
#[derive(Clone, Debug, Default)]
pub struct Tallies(Arc<Mutex<BTreeMap<String, Tally>>>);

impl Tallies {
    /// The count of the camera of this name: that which was begun, if the process has had one.
    pub fn of(&self, camera: &str) -> Tally {
        // Whoever panicked has left a map that is whole.
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // No camera has an empty name.
        let is_apart = counts.contains_key(camera) || counts.len() < NAMES_MAX;
        let name = if is_apart { camera } else { "" };
        counts.entry(name.to_owned()).or_default().clone()
    }

    /// Of all cameras that there ever were.
    pub fn total(&self) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.values().map(Tally::get).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_comes_again_goes_on_counting_and_one_that_goes_is_not_forgotten() {
        let tallies = Tallies::default();
        tallies.of("door").add(3);
        tallies.of("gate").add(4);
        tallies.clone().of("door").add(2);
        assert_eq!((tallies.of("door").get(), tallies.total()), (5, 9));
        assert_eq!(tallies.of("door"), tallies.of("door"));
        assert_ne!(tallies.of("door"), tallies.of("gate"));
    }

    #[test]
    fn any_number_of_names_is_counted_in_bounded_memory() {
        let tallies = Tallies::default();
        for number in 0..3 * NAMES_MAX {
            tallies.of(&format!("camera {number}")).add(1);
        }
        assert_eq!(tallies.total(), 3 * NAMES_MAX as u64);
        assert_eq!(tallies.0.lock().unwrap().len(), NAMES_MAX + 1);
        assert_eq!(tallies.of("camera 0").get(), 1);
    }
}
