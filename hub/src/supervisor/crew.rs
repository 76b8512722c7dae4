//! All cameras of a running hub: a keeper for each, and another one where the configuration has changed.
//!
//! A camera whose table is as it was goes on undisturbed, unless it is away: then it is opened anew, at
//! once, because what was corrected may lie beside the file, as a password does; what it failed of stands until it has
//! proved that it is there. Cameras are told apart by
//! their place in the configuration. Each keeper has a caster beside it, which ends with it, and the journal is told
//! what the cameras are now before anybody has a new one. It must never have two keepers for one place.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use super::camera::{CameraState, Cameras, Eventing, Input, Keeper, Looks, Reporter};
use super::{Current, dice};
use crate::camera::pauses::Pauses;
use crate::camera::{CameraError, SourceConfig, TokioClock};
use crate::config::{CameraConfig, Config};
use crate::core::{CameraNumber, Detections};
use crate::exit::Failure;
use crate::live::{self, Outlets};
use crate::sealer::{Sealer, SealerError};
use crate::tally::Tallies;

/// A camera that its keeper opens.
fn unopened_input(camera: &CameraConfig) -> Input<TokioClock> {
    match (&camera.source, &camera.detection) {
        (SourceConfig::File(file), None) => Input::of_file(file.clone()),
        (source, detection) => {
            let events = Eventing {
                detection: detection.clone(),
                windows: camera.windows,
            };
            Input::of_source(source.clone(), events)
        }
    }
}

/// How a camera stands before anything is known of it.
pub(super) fn unopened(camera: &CameraConfig, tallies: &Tallies) -> CameraState {
    CameraState {
        name: camera.name.clone(),
        kind: camera.source.kind(),
        trouble: None,
        is_open: false,
        looks: Looks::Opening,
        decoded: tallies.of(&camera.name),
    }
}

/// What the configuration says of each camera's events, by its name.
pub(super) fn detections(config: &Config) -> Detections {
    let of = |camera: &CameraConfig| (camera.name.clone(), camera.detection.clone());
    config.cameras.iter().map(of).collect()
}

/// All keepers.
pub(super) struct Crew {
    current: watch::Receiver<Current>,
    board: Arc<watch::Sender<Cameras>>,
    tallies: Tallies,
    sealer: Sealer,
    /// Where live pictures leave.
    outlets: Outlets,
    clock: TokioClock,
    posts: Vec<Post>,
    keepers: JoinSet<(CameraNumber, Result<(), SealerError>)>,
}

/// One camera, and how to end its keeper.
struct Post {
    camera: CameraConfig,
    stop: watch::Sender<bool>,
    is_over: bool,
}

impl Crew {
    /// Starts a keeper for each camera of `current`, which opens it: nothing that one of them lacks, such as a clip that
    /// is not there yet, keeps another from being recorded. The places on the `board` are theirs, in the same order,
    /// and those that another camera gets count what `tallies` says.
    pub(super) fn start(
        current: watch::Receiver<Current>,
        (board, tallies): (Arc<watch::Sender<Cameras>>, Tallies),
        (sealer, outlets): (Sealer, Outlets),
        clock: TokioClock,
    ) -> Self {
        let cameras = current.borrow().config.cameras.clone();
        let mut crew = Self {
            current,
            board,
            tallies,
            sealer,
            outlets,
            clock,
            posts: Vec::new(),
            keepers: JoinSet::new(),
        };
        for (number, camera) in (0..).map(CameraNumber).zip(cameras) {
            let post = crew.man(number, camera);
            crew.posts.push(post);
        }
        crew
    }

    fn man(&mut self, number: CameraNumber, camera: CameraConfig) -> Post {
        let (stop, stopped) = watch::channel(false);
        // A phone that names no camera means the first.
        let is_first = number == CameraNumber::FIRST;
        let outlets = self.outlets.clone();
        let (tap, caster) = live::cast(camera.name.clone(), is_first, &self.sealer, outlets);
        let keeper = Keeper {
            input: unopened_input(&camera),
            name: camera.name.clone(),
            sealer: self.sealer.clone(),
            tap,
            clock: self.clock.clone(),
            pauses: Pauses::new(Box::new(dice())),
            reporter: Reporter {
                number,
                board: Arc::clone(&self.board),
            },
        };
        self.keepers.spawn(async move {
            // A caster ends with its taps, which go with their keeper.
            let (kept, ()) = tokio::join!(keeper.run(stopped), caster.run());
            (number, kept)
        });
        Post {
            camera,
            stop,
            is_over: false,
        }
    }

    /// Records all cameras until `stop` changes; ends with the first that finds the journal gone.
    ///
    /// # Errors
    /// The journal's.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        loop {
            tokio::select! {
                biased;
                _ = stop.changed() => return self.end().await.map_err(Failure::from),
                changed = self.current.changed() => match changed {
                    Ok(()) => self.follow().await?,
                    // Whoever could change it is gone, and so is the hub.
                    Err(_gone) => return self.end().await.map_err(Failure::from),
                },
                Some(ended) = self.keepers.join_next() => self.handle_end(ended)?,
            }
        }
    }

    async fn end(&mut self) -> Result<(), SealerError> {
        for post in &self.posts {
            post.stop.send_replace(true);
        }
        while let Some(ended) = self.keepers.join_next().await {
            self.handle_end(ended)?;
        }
        Ok(())
    }

    fn handle_end(
        &mut self,
        ended: Result<(CameraNumber, Result<(), SealerError>), JoinError>,
    ) -> Result<(), SealerError> {
        match ended {
            Ok((number, recorded)) => {
                if let Some(post) = self.posts.get_mut(usize::from(number.0)) {
                    post.is_over = true;
                }
                recorded
            }
            Err(join) if join.is_panic() => std::panic::resume_unwind(join.into_panic()),
            // The runtime is shutting down.
            Err(_) => Ok(()),
        }
    }

    /// Takes over the cameras of a changed configuration.
    async fn follow(&mut self) -> Result<(), SealerError> {
        let config = self.current.borrow_and_update().config.clone();
        let wanted = &config.cameras;
        let stays = self.staying(wanted);
        for (post, stays) in self.posts.iter().zip(&stays) {
            if !stays {
                post.stop.send_replace(true);
            }
        }
        // ORDER: a place is empty, and its clip's end handed over, before another camera has it.
        let is_awaited = |(post, stays): (&Post, &bool)| !stays && !post.is_over;
        while self.posts.iter().zip(&stays).any(is_awaited) {
            match self.keepers.join_next().await {
                Some(ended) => self.handle_end(ended)?,
                None => break,
            }
        }
        self.tell(&config).await?;
        let stays = |index: usize| stays.get(index) == Some(&true);
        // One that was away is so, whatever of it was corrected and wherever it stands, until its pictures prove that it
        // is not.
        let failed: BTreeMap<String, CameraError> = {
            let board = self.board.borrow();
            let failed = |state: &CameraState| Some((state.name.clone(), state.trouble.clone()?));
            board.iter().filter_map(failed).collect()
        };
        let renewed = |camera: &CameraConfig| CameraState {
            trouble: failed.get(&camera.name).cloned(),
            ..unopened(camera, &self.tallies)
        };
        self.board.send_modify(|board| {
            board.truncate(wanted.len());
            for (index, camera) in wanted
                .iter()
                .enumerate()
                .filter(|(index, _)| !stays(*index))
            {
                match board.get_mut(index) {
                    Some(state) => *state = renewed(camera),
                    None => board.push(renewed(camera)),
                }
            }
        });
        let mut before = std::mem::take(&mut self.posts).into_iter();
        for (number, camera) in (0..).map(CameraNumber).zip(wanted) {
            let post = match before.next() {
                Some(post) if stays(usize::from(number.0)) => post,
                _ => self.man(number, camera.clone()),
            };
            self.posts.push(post);
        }
        Ok(())
    }

    /// The journal hears which cameras there are: what phones may set at them, and which of them may be missed. Waits
    /// for a place in its queue, not for its sync.
    async fn tell(&self, config: &Config) -> Result<(), SealerError> {
        let detections = detections(config);
        let names: Vec<String> = config.cameras.iter().map(|one| one.name.clone()).collect();
        let told = self.sealer.hand_over(move |core, _now| {
            core.set_detections(detections);
            core.keep_alarms(&names);
            Ok(())
        });
        told.await.map(drop)
    }

    /// Which posts are left alone.
    fn staying(&self, wanted: &[CameraConfig]) -> Vec<bool> {
        let board = self.board.borrow();
        let posts = self.posts.iter().enumerate();
        let stays = |(index, post): (usize, &Post)| {
            let is_good = board
                .get(index)
                .is_some_and(|state| state.trouble.is_none() || state.is_open);
            is_good && wanted.get(index) == Some(&post.camera)
        };
        posts.map(stays).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;
    use crate::core::tests::world::World;
    use crate::sealer;

    /// A camera that notes each of its starts in a file of its name, and then does not show a picture for long.
    fn mute(place: &Path, name: &str) -> String {
        let notes = place.join(name).display().to_string();
        let script = format!("echo started >> {notes}; exec sleep 600");
        format!(
            "[[camera]]\nkind = \"command\"\nname = \"{name}\"\nprogram = \"sh\"\n\
             arguments = [\"-c\", \"{script}\"]\nstall_seconds = 60.0\n"
        )
    }

    fn missing(name: &str) -> String {
        format!(
            "[[camera]]\nkind = \"command\"\nname = \"{name}\"\nprogram = \"/nowhere/camera\"\n"
        )
    }

    fn config(cameras: &[String]) -> Config {
        let relay = wire::RelayId([7; 32]).to_text();
        let text = format!(
            "state_dir = \"state\"\nrelay = \"127.0.0.1:4433/{relay}\"\n{}",
            cameras.concat()
        );
        Config::parse(&text, "hub.toml", Path::new("/etc")).unwrap()
    }

    fn starts(place: &Path, name: &str) -> usize {
        let notes = std::fs::read_to_string(place.join(name)).unwrap_or_default();
        notes.lines().count()
    }

    async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let wait = async {
            while !is_so() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
        assert!(waited.is_ok(), "{what}");
    }

    #[tokio::test]
    async fn a_changed_configuration_disturbs_only_what_changed_or_is_in_trouble() {
        let place = tempfile::tempdir().unwrap();
        let place = place.path();
        let first = config(&[mute(place, "door"), missing("gate"), mute(place, "yard")]);
        let clock = TokioClock::new();
        let (sealer, thread) = sealer::start(World::paired().core, clock.clone()).unwrap();
        let change = watch::Sender::new(Current::new(first.clone()));
        let tallies = Tallies::default();
        let unopened = first.cameras.iter().map(|one| unopened(one, &tallies));
        let (board, told) = watch::channel(unopened.collect());
        let (current, board) = (change.subscribe(), Arc::new(board));
        let board_of_all = Arc::clone(&board);
        let parts = (sealer.clone(), Outlets::default());
        let board = (board, tallies.clone());
        let crew = Crew::start(current, board, parts, clock);
        let (stop, stopped) = watch::channel(false);
        let running = tokio::spawn(crew.run(stopped));
        until("all were tried", || {
            let is_gate_in_trouble = told.borrow()[1].trouble.is_some();
            starts(place, "door") == 1 && starts(place, "yard") == 1 && is_gate_in_trouble
        })
        .await;

        // The same file, read again: the gate is tried at once, and as little there as before.
        // The door has shown a picture since it failed, and is not disturbed.
        board_of_all.send_modify(|board| {
            board[0].trouble = board[1].trouble.clone();
            board[0].is_open = true;
        });
        let mut seen = told.clone();
        seen.mark_unchanged();
        change.send_modify(|_same| ());
        seen.changed().await.unwrap();
        assert!(seen.borrow()[1].trouble.is_some() && seen.borrow()[0].is_open);
        board_of_all.send_modify(|board| board[0].trouble = None);

        // The gate is corrected, the yard has another name, and there is one more.
        let cameras = ["door", "gate", "garden", "roof"].map(|name| mute(place, name));
        change.send_modify(|current| current.config = config(&cameras));
        until("the new ones were opened", || {
            ["gate", "garden", "roof"]
                .iter()
                .all(|name| starts(place, name) == 1)
        })
        .await;
        assert_eq!(told.borrow()[0].decoded, tallies.of("door"));
        assert_eq!(told.borrow()[3].decoded, tallies.of("roof"));
        let names: Vec<String> = told
            .borrow()
            .iter()
            .map(|camera| camera.name.clone())
            .collect();
        assert_eq!(names, ["door", "gate", "garden", "roof"]);
        let mut names_in_trouble = told.borrow().clone();
        names_in_trouble.retain(|camera| camera.trouble.is_some());
        let names_in_trouble = names_in_trouble.iter().map(|camera| camera.name.as_str());
        // It has shown nothing yet.
        assert_eq!(names_in_trouble.collect::<Vec<_>>(), ["gate"]);
        assert_eq!((starts(place, "door"), starts(place, "yard")), (1, 1));

        // All but the first go.
        change.send_modify(|current| current.config = config(&cameras[..1]));
        until("the board is smaller", || told.borrow().len() == 1).await;
        stop.send_replace(true);
        running.await.unwrap().unwrap();
        assert_eq!(starts(place, "door"), 1, "nobody disturbed it");
        drop(sealer);
        super::super::join(thread).await.unwrap();
    }
}
