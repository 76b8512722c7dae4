//! Live pictures on their way out: from a camera's pictures to sealed frames that wait for the uplink.
//!
//! ```text
//! camera -> Tap -> Caster (stream, sealer's thread) -> Outlets -> uplink, one stream a group
//! ```
//!
//! Nothing here waits for anybody: where something is full, pictures are left out until the next key frame, and a
//! recording never notices. While nobody watches its camera, a tap lets everything pass. This room must never hand
//! out anything but [`journal::Live`] frames, and never write.

mod caster;
mod outlets;
mod stream;
mod tap;

pub use caster::Caster;
pub use outlets::{Outgoing, Outlet, Outlets};
pub use stream::{CastPiece, Stream, StreamError};
pub use tap::{Tap, Tapped, TappedSource};

use tokio::sync::mpsc;

use crate::core::LiveNow;
use crate::sealer::Sealer;

/// Pictures and pieces of sound that wait for the caster; the next one is left out, with the rest of its group.
const TAPPED_MAX: usize = 64;

/// Which camera is cast.
#[derive(Clone, Debug)]
struct Subject {
    name: String,
    /// Whether a phone that names no camera means this one.
    is_first: bool,
}

impl Subject {
    /// Whether a session is of this camera.
    fn is_watched_in(&self, live: &LiveNow) -> bool {
        match live.camera.as_str() {
            "" => self.is_first,
            name => name == self.name,
        }
    }
}

/// A tap for the camera of this name, and what makes frames of it. `is_first`: whether it is the one that a phone
/// means which names none.
pub fn cast(name: String, is_first: bool, sealer: &Sealer, outlets: Outlets) -> (Tap, Caster) {
    let subject = Subject { name, is_first };
    let (out, pictures) = mpsc::channel(TAPPED_MAX);
    let tap = Tap::new(subject.clone(), out, sealer.lives());
    let caster = Caster::new(subject, sealer.clone(), outlets, pictures);
    (tap, caster)
}
