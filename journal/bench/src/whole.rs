//! The programs together, as an owner has them: a hub, a relay and a phone on this machine's loopback, and what was
//! promised of the whole.
//!
//! ```text
//! live      how old pictures are where they are seen
//! moments   when a phone knows of an event, has its picture, and its first seconds
//! share     what an event's video keeps of a narrow link while somebody watches
//! cameras   what four cameras of 1080p cost, and one
//! source    their clip, and the stream of one before which somebody walks; player: who plays that
//! ```
//!
//! Each room asks its questions in a home of its own, with the programs that lie beside this one. A room that fails
//! leaves its questions unanswered, with the reason, and the others go on. It must never take a time from a
//! program's own word where it can be seen from outside: pictures hold the time at which they were drawn.

mod cameras;
mod live;
mod moments;
mod pictures;
pub(crate) mod player;
mod share;
mod source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use programs::home::{Home, PATIENCE};
use programs::process::Program;
use serde_json::json;

use crate::report::{self, Figure, Question};
use crate::{Outcome, Scale};

/// How often somebody walks through the virtual camera's scene, in seconds, and its other settings: as in the demo.
const VIRTUAL_CAMERA: &str = "\
[camera]
kind = \"virtual\"
cycle_seconds = 14.0

[camera.detection]
pre_roll_seconds = 2.0
post_roll_seconds = 2.0
cool_down_seconds = 0.0
";
/// The same, as a time.
const WALK_CYCLE: Duration = Duration::from_secs(14);

/// Where a room works, and for how long.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// Where the programs lie.
    programs: &'a Path,
    /// An empty directory.
    dir: &'a Path,
    scale: Scale,
}

impl Place<'_> {
    /// A relay that runs, and a phone that is paired with a hub without cameras.
    fn home(&self, name: &str) -> Outcome<(Home, Program)> {
        let directory = self.directory(name)?;
        let mut home = Home::with_programs_in(self.programs, &directory)?;
        let relay = home.make_relay()?;
        home.configure_hub("")?;
        home.pair()?;
        Ok((home, relay))
    }

    fn directory(&self, name: &str) -> Outcome<PathBuf> {
        let directory = self.dir.join(name);
        std::fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

type Room = fn(Place<'_>) -> Outcome<Vec<Figure>>;

/// The rooms with their questions.
const ROOMS: [(&[Question], Room); 5] = [
    (&live::QUESTIONS, live::run),
    (&moments::QUESTIONS, moments::run),
    (&moments::LARGE_QUESTIONS, moments::run_large),
    (&share::QUESTIONS, share::run),
    (&cameras::QUESTIONS, cameras::run),
];

/// What all of them are asked.
pub(crate) fn questions() -> Vec<Question> {
    let all = ROOMS.into_iter().flat_map(|(questions, _)| questions);
    all.copied().collect()
}

/// Answers every room's questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let own = std::env::current_exe()?;
    let programs = own.parent().ok_or("this program lies nowhere")?;
    let place = Place {
        programs,
        dir,
        scale,
    };
    let mut figures = Vec::new();
    for (questions, run) in ROOMS {
        if let Some(first) = questions.first() {
            eprintln!("measuring: {} ...", first.title);
        }
        figures.extend(report::complete(questions, run(place)));
    }
    Ok(figures)
}

/// Ends programs in an orderly way.
fn end(programs: impl IntoIterator<Item = Program>) -> Outcome<()> {
    for program in programs {
        program.terminate()?;
    }
    Ok(())
}

/// What stands beside every figure here.
fn of_programs(figure: Figure) -> Figure {
    figure.with(
        "programs",
        json!("secluso-hub, secluso-relay and secluso-app as built, one phone, loopback"),
    )
}
