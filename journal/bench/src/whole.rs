//! The programs together, as an owner has them: a hub, a relay and a phone on this machine's loopback, and what was
//! promised of the whole.
//!
//! ```text
//! live      how old pictures are where they are seen
//! moments   when a phone knows of an event, has its picture, and its first seconds
//! share     what an event's video keeps of a narrow link while somebody watches
//! cameras   what four cameras of 1080p cost, and one
//! ```
//!
//! Each room asks its questions in a home of its own, with the programs that lie beside this one. A room that fails
//! leaves its questions unanswered, with the reason, and the others go on. It must never take a time from a
//! program's own word where it can be seen from outside: pictures hold the time at which they were drawn.

mod cameras;
mod live;
mod moments;
mod pictures;
mod share;
mod source;

use std::path::{Path, PathBuf};
use std::time::Duration;

use programs::home::{Home, PATIENCE};
use programs::process::Program;
use serde_json::json;

use crate::measure::Samples;
use crate::report::{Figure, Target};
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

/// What is asked, and what was promised.
#[derive(Clone, Copy)]
struct Question {
    key: &'static str,
    title: &'static str,
    unit: &'static str,
    target: Target,
}

impl Question {
    fn answer(&self, measured: f64) -> Figure {
        Figure::new(self.key, self.title, self.unit, measured, self.target)
    }

    /// Answered by the median.
    fn answer_by(&self, samples: &Samples) -> Figure {
        Figure::of_samples(self.key, self.title, self.unit, samples, self.target)
    }

    fn unanswered(&self, reason: &str) -> Figure {
        Figure::missing(self.key, self.title, self.target, reason)
    }
}

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

/// Answers every room's questions.
pub(crate) fn run(dir: &Path, scale: Scale) -> Outcome<Vec<Figure>> {
    let own = std::env::current_exe()?;
    let programs = own.parent().ok_or("this program lies nowhere")?;
    let place = Place {
        programs,
        dir,
        scale,
    };
    let rooms: [(&[Question], Room); 4] = [
        (&live::QUESTIONS, live::run),
        (&moments::QUESTIONS, moments::run),
        (&share::QUESTIONS, share::run),
        (&cameras::QUESTIONS, cameras::run),
    ];
    let mut figures = Vec::new();
    for (questions, run) in rooms {
        if let Some(first) = questions.first() {
            eprintln!("measuring: {} ...", first.title);
        }
        match run(place) {
            Ok(answers) => figures.extend(answers),
            Err(error) => {
                let reason = error.to_string();
                figures.extend(questions.iter().map(|asked| asked.unanswered(&reason)));
            }
        }
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
