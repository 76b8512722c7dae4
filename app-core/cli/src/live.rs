//! `live`: a camera's pictures as they come, to stdout, a file or a player.
//!
//! What is written is one fragmented MP4, and another one behind it where the camera's stream has become another film
//! ([`Sink`]). This room must never print anything else to stdout when the
//! pictures go there: [`LiveOptions::place_of_facts`] says where facts go then, an error among them.

mod beginning;
mod sink;

use std::path::Path;
use std::time::{Duration, Instant};

use app_core::{App, AppError, LiveEvent, LiveStop, LiveView, SyncMode};

use crate::args::LiveOptions;
use crate::names;
use crate::output::{Place, Style};
use crate::run::{Failure, open};
use sink::{Change, Sink};

/// How long the hub's last word is waited for.
const GOODBYE: Duration = Duration::from_secs(5);
/// Pictures that are older than this are said to be, in milliseconds.
const OLD_MS: u64 = 5_000;

/// Shows a camera until somebody stops it, or nothing more can come.
pub(crate) async fn show(dir: &Path, options: &LiveOptions, style: Style) -> Result<(), Failure> {
    let app = open(dir).await?;
    let hub = names::hub(&app, options.hub.as_deref()).await?;
    let camera = options.camera.clone().unwrap_or_default();
    let (mut sink, mut player) = Sink::open(options)?;
    let words = Words {
        style,
        place: options.place_of_facts(),
    };
    let until = options
        .seconds
        .map(|seconds| now() + Duration::from_secs(seconds));
    let watching = async {
        loop {
            let view = app.live(hub, &camera).await?;
            let before = sink.fragments;
            let why = watch(view, &mut sink, &words, until).await?;
            let is_on = until.is_none_or(|until| now() < until);
            match why {
                // As long as one session may last: on with the next.
                // Or we were off the network for a moment, and the relay found nobody.
                LiveStop::Limit if is_on => {}
                LiveStop::Unwatched if is_on && sink.fragments > before => {}
                LiveStop::Limit | LiveStop::Enough => return Ok(()),
                why => return Err(refusal(why, &camera)),
            }
        }
    };
    let ended = tokio::select! {
        ended = watching => ended,
        synced = follow(&app) => synced,
    };
    drop(sink);
    if let Some(player) = &mut player {
        // It has the end of its input; what it does with the rest is its own business.
        let _ended = player.wait();
    }
    ended
}

async fn follow(app: &App) -> Result<(), Failure> {
    Ok(app.sync(SyncMode::Attended).await?)
}

/// One session, and those that follow it without a word from us.
async fn watch(
    mut view: LiveView,
    sink: &mut Sink,
    words: &Words,
    until: Option<Instant>,
) -> Result<LiveStop, Failure> {
    let mut stop_at = until;
    let mut is_stopping = false;
    let mut is_old = false;
    loop {
        let patience = stop_at.map(|at| at.saturating_duration_since(now()));
        let Some(event) = view.next_within(patience).await else {
            if is_stopping {
                return Ok(LiveStop::Enough);
            }
            view.stop();
            (is_stopping, stop_at) = (true, Some(now() + GOODBYE));
            continue;
        };
        let mut change = None;
        match &event {
            LiveEvent::Start { init, .. } => change = sink.start(init),
            LiveEvent::Media {
                bytes,
                begins_group,
                captured_unix_ms,
                received_unix_ms,
            } => {
                sink.fragment(bytes, *begins_group);
                let age_ms = received_unix_ms.saturating_sub(*captured_unix_ms);
                if (age_ms > OLD_MS) != is_old {
                    is_old = age_ms > OLD_MS;
                    words.age(age_ms)?;
                }
            }
            LiveEvent::Ended(why) => {
                words.say(&event)?;
                return Ok(*why);
            }
            _ => {}
        }
        words.say(&event)?;
        if let Some(change) = &change {
            words.change(change)?;
        }
        if sink.is_gone && !is_stopping {
            // Whoever took them has had enough.
            view.stop();
            (is_stopping, stop_at) = (true, Some(now() + GOODBYE));
        }
    }
}

/// Why nothing of this camera is shown.
fn refusal(why: LiveStop, camera: &str) -> Failure {
    let text = match why {
        LiveStop::NoCamera if camera.is_empty() => {
            return Failure::Usage("this hub has no camera".into());
        }
        LiveStop::NoCamera => {
            let what = format!(
                "this hub has no camera {camera:?}; `clips` and `notifications` name those that have shown something"
            );
            return Failure::Usage(what);
        }
        LiveStop::Privacy => "the camera is in privacy mode; `privacy off` ends that",
        LiveStop::Busy => "as many phones watch this camera as may; try again later",
        LiveStop::Covered => {
            "the hub sends at a constant rate, and shows nothing live for that reason"
        }
        LiveStop::Unwatched => "the relay passed no pictures on; try again",
        _ => "the camera's pictures were lost again and again; try again later",
    };
    Failure::App(AppError::Peer(text.into()))
}

#[expect(
    clippy::disallowed_methods,
    reason = "The program is where the clock enters; only its own patience depends on it."
)]
fn now() -> Instant {
    Instant::now()
}

/// What is said beside the pictures.
struct Words {
    style: Style,
    place: Place,
}

impl Words {
    fn say(&self, event: &LiveEvent) -> Result<(), Failure> {
        Ok(self.style.live(self.place, event)?)
    }

    fn change(&self, change: &Change) -> Result<(), Failure> {
        let file = change.file.as_deref();
        Ok(self.style.live_changed(self.place, change.size, file)?)
    }

    fn age(&self, age_ms: u64) -> Result<(), Failure> {
        Ok(self.style.live_age(self.place, age_ms)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_is_not_there_is_wrong_use_and_is_named() {
        let refused = refusal(LiveStop::NoCamera, "dor");
        assert_eq!(refused.code(), 2);
        assert!(refused.to_string().contains("\"dor\""), "{refused}");
        assert_eq!(refusal(LiveStop::NoCamera, "").code(), 2);
        assert_eq!(refusal(LiveStop::Busy, "door").code(), 5);
    }
}
