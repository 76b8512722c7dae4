//! `cargo xtask demo`: the whole system at work, killed three times, and nothing lost.
//!
//! This room tells the story in order. It uses the programs as a user would, through their command
//! lines, and never reaches into their libraries or their files.

mod kills;
mod motion;
mod owner;
mod report;
mod world;

use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::time::Duration;

use programs::process;
use serde_json::json;

use crate::failure::{Because, Failure, Outcome};
use crate::progress::Steps;
use crate::{cargo, setup};
use kills::{Kill, RelayDisk};
use motion::Motion;
use owner::Look;
use report::Report;
use world::{Cameras, HubStatus, LATER_EVENTS, PATIENCE, World};

/// The clip that belongs to the project.
const COMMITTED_CLIP: &str = "hub/testdata/people-20s.mp4";
/// The later events take half a minute; nobody waits longer for them.
const LATER_WAIT: Duration = Duration::from_secs(90);

/// Whether the temporary directory outlives the demo.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Directory {
    Removed,
    Kept,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Table,
    Json,
}

/// The command line of the demo.
pub(crate) struct Options {
    clip: PathBuf,
    form: Form,
    directory: Directory,
    relay_disk: RelayDisk,
}

impl Options {
    /// Reads the arguments after `demo`.
    pub(crate) fn parse(arguments: &[String]) -> Outcome<Self> {
        let mut options = Self {
            clip: cargo::root().join(COMMITTED_CLIP),
            form: Form::Table,
            directory: Directory::Removed,
            relay_disk: RelayDisk::Kept,
        };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--clip" => match arguments.next() {
                    Some(file) => options.clip = PathBuf::from(file),
                    None => return Err(Failure::usage("--clip needs a file")),
                },
                "--json" => options.form = Form::Json,
                "--keep" => options.directory = Directory::Kept,
                "--wipe-relay" => options.relay_disk = RelayDisk::Wiped,
                other => return Err(Failure::usage(format!("demo knows no `{other}`"))),
            }
        }
        options.clip = std::path::absolute(&options.clip).because("cannot find the clip")?;
        if !options.clip.is_file() {
            return Err(Failure::usage(format!(
                "{} is not a file",
                options.clip.display()
            )));
        }
        Ok(options)
    }
}

/// Runs the demo; fails unless everything holds.
pub(crate) fn run(options: &Options) -> Outcome<()> {
    let mut steps = Steps::counted(18);
    let directory = temporary_directory()?;
    let result = story(options, &directory, &mut steps);
    match &result {
        Ok(report) => match options.form {
            Form::Json => println!("{}", report.json()),
            Form::Table => print!("{}", report.table()),
        },
        Err(failure) if options.form == Form::Json => {
            println!("{}", json!({"ok": false, "error": failure.to_string()}));
        }
        Err(_) => {}
    }
    let result = result.and_then(|report| report.verdict());
    if result.is_err() || options.directory == Directory::Kept {
        eprintln!(
            "\nConfigurations, logs and clips are kept in {}",
            directory.display()
        );
    } else {
        std::fs::remove_dir_all(&directory).because("cannot remove the temporary directory")?;
        eprintln!(
            "\nEverything that was sent has arrived, byte for byte. Who walked by can be looked at: the report says where."
        );
    }
    result
}

fn story(options: &Options, directory: &std::path::Path, steps: &mut Steps) -> Outcome<Report> {
    steps.step("set-up", setup::ensure_build_tools)?;
    let programs = steps.step(
        "build (minutes the first time, seconds later)",
        cargo::build_programs,
    )?;
    // Building is not part of what we time.
    let built = steps.elapsed();
    let mut world = World::new(programs, directory, &options.clip);
    steps.step("start a relay, which will see ciphertext only", || {
        world.make_relay()
    })?;
    steps.step("pair a phone with a hub, over the hub's code", || {
        world.configure_hub(Cameras::EndlessEvents)?;
        world.pair()
    })?;
    steps.step(
        "record an event; the phone receives it while it happens",
        || first_event(&mut world),
    )?;
    let mut kills: Vec<Kill> = Vec::new();
    kills.push(steps.step("kill the app in the middle of it", || {
        kills::app(&mut world)
    })?);
    kills.push(steps.step("kill the relay in the middle of it", || {
        kills::relay(&mut world, options.relay_disk)
    })?);
    kills.push(steps.step("kill the hub in the middle of the next", || {
        kills::hub(&mut world)
    })?);
    steps.step("record later events, and time their first samples", || {
        later_events(&mut world)
    })?;
    let of_clip = steps.step("wait until everything is acked", || {
        let status = all_acked(&mut world)?;
        // What the hub writes is measured with the clip's bit rate.
        world.count_hub_writes();
        Ok(status)
    })?;
    let motion = walks(&mut world, steps)?;
    let look = owner(&mut world, steps)?;
    let status = steps.step("wait until everything is acked again", || {
        motion::end(&mut world)?;
        all_acked(&mut world)
    })?;
    let elapsed = steps.elapsed().saturating_sub(built);
    let report = steps.step("export every clip and picture, and compare", || {
        stop(&mut world)?;
        Report::collect(
            &world,
            (&of_clip, &status),
            kills,
            (&motion, &look),
            elapsed,
        )
    })?;
    steps.step(
        "look for secrets in all that was written and printed",
        || world.search_for_secrets(),
    )?;
    Ok(report)
}

/// The virtual camera: somebody walks by four times.
fn walks(world: &mut World, steps: &mut Steps) -> Outcome<Motion> {
    let first = steps.step(
        "another camera, while the hub runs: somebody walks by, and the phone is told, sees a picture and a clip",
        || {
            let from = motion::exchange(world)?;
            motion::in_peace(world, from)
        },
    )?;
    let without_app = steps.step("kill the app while somebody walks by", || {
        motion::kill_app(world)
    })?;
    let (without_hub, last) = steps.step("kill the hub while somebody walks by", || {
        let cut = motion::kill_hub(world)?;
        let from = world.hub()?.heard();
        Ok((cut, motion::in_peace(world, from)?))
    })?;
    Ok(Motion {
        walks: vec![first, last],
        disturbed: vec![without_app, without_hub],
    })
}

/// The owner looks through that camera, and turns its detection off.
fn owner(world: &mut World, steps: &mut Steps) -> Outcome<Look> {
    let look = steps.step("watch the camera live at the phone", || owner::look(world))?;
    steps.step("turn its detection off at the phone", || {
        owner::turn_off(world)
    })?;
    Ok(look)
}

fn first_event(world: &mut World) -> Outcome<()> {
    world.start_app()?;
    world.start_hub()?;
    let first = world.hub()?.wait_for("first event", 0, PATIENCE, |event| {
        matches!(event.name(), "clip_started" | "camera_failed")
    })?;
    if first.name() == "camera_failed" {
        // The hub waits for a better clip, and says what is wrong with this one.
        return Err(Failure::usage(first.text("what")));
    }
    world
        .app()?
        .wait_for("first media", 0, PATIENCE, |event| event.name() == "media")?;
    Ok(())
}

/// The events after the hub's restart: all must end complete.
fn later_events(world: &mut World) -> Outcome<()> {
    world.until("the end of the later events", LATER_WAIT, |world| {
        let events = world.hub()?.events();
        let named = |name: &'static str| events.iter().filter(move |e| e.name() == name);
        let mut complete = 0;
        for started in named("clip_started") {
            let clip = started.text("clip");
            let ended = named("clip_finished").find(|event| event.text("clip") == clip);
            match ended.map(|event| event.text("outcome")) {
                None => {}
                Some("complete") => complete += 1,
                Some(other) => {
                    let what = format!("a later event ended {other}, not complete");
                    return Err(Failure::found(what));
                }
            }
        }
        Ok((complete == LATER_EVENTS).then_some(()))
    })
}

fn all_acked(world: &mut World) -> Outcome<HubStatus> {
    world.until("the last ack", 4 * PATIENCE, |world| {
        let status = world.hub_status()?;
        let done = !status.recording && status.unacked_envelopes == 0 && status.unacked_bytes == 0;
        Ok(done.then_some(status))
    })
}

/// Ends the phone and the hub in an orderly way, and keeps what they said.
fn stop(world: &mut World) -> Outcome<()> {
    if let Some(app) = world.app.take() {
        let events = app.terminate()?;
        world.app_past.extend(events);
    }
    if let Some(hub) = world.hub.take() {
        let events = hub.terminate()?;
        world.hub_past.extend(events);
    }
    if let Some(relay) = world.relay.take() {
        relay.terminate()?;
    }
    Ok(())
}

/// A new directory that only this user can read; the state in it holds keys.
fn temporary_directory() -> Outcome<PathBuf> {
    let name = format!("secluso-demo-{}-{}", std::process::id(), process::unix_ms());
    let directory = std::env::temp_dir().join(name);
    std::fs::DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .because("cannot make a temporary directory")?;
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Outcome<Options> {
        Options::parse(&arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn the_command_line_is_read_once() {
        let manifest = cargo::root().join("Cargo.toml");
        let clip = manifest.to_str().unwrap();
        let options = parse(&["--clip", clip, "--json", "--keep", "--wipe-relay"]).unwrap();
        assert_eq!(options.clip, manifest);
        assert!(options.form == Form::Json && options.directory == Directory::Kept);
        assert!(options.relay_disk == RelayDisk::Wiped);
    }

    #[test]
    fn mistakes_are_named() {
        let cases: [(&[&str], &str); 3] = [
            (&["--clip"], "needs a file"),
            (&["--clip", "/nonexistent.mp4"], "not a file"),
            (&["--fast"], "knows no `--fast`"),
        ];
        for (arguments, want) in cases {
            let failure = parse(arguments).err().unwrap();
            assert!(failure.to_string().contains(want), "{failure}");
            assert_eq!(failure.exit_code(), 2);
        }
    }
}
