//! `live`: a camera's pictures as they come, to stdout, a file or a player.
//!
//! What is written is one fragmented MP4; only a camera that needs another beginning has it written again. Whoever takes it too slowly loses pictures and not time: a thread of its
//! own writes, and what has no room waits for nobody. This room must never print anything else to stdout when the
//! pictures go there: [`LiveOptions::place_of_facts`] says where facts go then, an error among them.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use app_core::{App, AppError, LiveEvent, LiveStop, LiveView, SyncMode};

use crate::args::LiveOptions;
use crate::names;
use crate::output::{Place, Style};
use crate::run::{Failure, open};

/// Fragments that wait to be written.
const WRITING_MAX: usize = 32;
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
                why => return Err(refusal(why)),
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
    Ok(app.sync(SyncMode::Follow).await?)
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
        match &event {
            LiveEvent::Start { init, .. } => sink.start(init),
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
        if sink.is_gone && !is_stopping {
            // Whoever took them has had enough.
            view.stop();
            (is_stopping, stop_at) = (true, Some(now() + GOODBYE));
        }
    }
}

/// Why nothing is shown.
fn refusal(why: LiveStop) -> Failure {
    let text = match why {
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

    fn age(&self, age_ms: u64) -> Result<(), Failure> {
        Ok(self.style.live_age(self.place, age_ms)?)
    }
}

/// Where the pictures go.
struct Sink {
    parts: SyncSender<Vec<u8>>,
    /// Nobody takes them any more.
    is_gone: bool,
    /// Fragments that came.
    fragments: u64,
    /// A fragment was left out: what follows in its group is of no use.
    is_behind: bool,
    /// What a player needs first, once that is written; a session that needs the same goes on behind it.
    started: Option<Vec<u8>>,
    /// The same, while there was no room for it.
    owed: Option<Vec<u8>>,
}

impl Sink {
    fn open(options: &LiveOptions) -> Result<(Self, Option<Child>), Failure> {
        let (parts, waiting) = sync_channel(WRITING_MAX);
        let mut player = None;
        match (&options.out, &options.player) {
            (Some(path), _) => write_to(create(path)?, waiting),
            (None, Some(program)) => {
                let mut child = play(program)?;
                if let Some(input) = child.stdin.take() {
                    write_to(input, waiting);
                }
                player = Some(child);
            }
            (None, None) => write_to(io::stdout(), waiting),
        }
        let sink = Self {
            parts,
            is_gone: false,
            fragments: 0,
            is_behind: false,
            started: None,
            owed: None,
        };
        Ok((sink, player))
    }

    /// What a player needs first.
    fn start(&mut self, init: &[u8]) {
        let is_known = self.started.as_deref() == Some(init);
        self.owed = (!is_known).then(|| init.to_vec());
        self.is_behind = !self.put_start();
    }

    fn fragment(&mut self, bytes: &[u8], begins_group: bool) {
        self.fragments += 1;
        if begins_group || !self.is_behind {
            self.is_behind = !(self.put_start() && self.put(bytes));
        }
    }

    /// True if no fragment has to wait for it.
    fn put_start(&mut self) -> bool {
        let Some(init) = self.owed.take() else {
            return true;
        };
        match self.put(&init) {
            true => self.started = Some(init),
            false => self.owed = Some(init),
        }
        self.owed.is_none()
    }

    fn put(&mut self, bytes: &[u8]) -> bool {
        match self.parts.try_send(bytes.to_vec()) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => false,
            Err(TrySendError::Disconnected(_)) => {
                self.is_gone = true;
                false
            }
        }
    }
}

/// Writes whatever comes, until that ends or nobody takes it.
fn write_to(mut out: impl Write + Send + 'static, parts: Receiver<Vec<u8>>) {
    let _writer = tokio::task::spawn_blocking(move || {
        for part in parts {
            if out.write_all(&part).and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    });
}

fn create(path: &Path) -> Result<File, Failure> {
    File::create(path).map_err(|error| {
        Failure::App(AppError::Target {
            path: path.display().to_string(),
            reason: error.to_string(),
        })
    })
}

/// A program with its arguments, divided at spaces.
fn play(program: &str) -> Result<Child, Failure> {
    let mut words = program.split_whitespace();
    let Some(name) = words.next() else {
        return Err(Failure::Usage("no player is named".into()));
    };
    let started = Command::new(name).args(words).stdin(Stdio::piped()).spawn();
    started.map_err(|error| Failure::Usage(format!("{name} cannot be started: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_them_too_slowly_loses_the_rest_of_a_group() {
        let (parts, waiting) = sync_channel(2);
        let mut sink = Sink {
            parts,
            is_gone: false,
            fragments: 0,
            is_behind: false,
            started: None,
            owed: None,
        };
        sink.start(b"init");
        sink.fragment(b"a", true);
        sink.fragment(b"lost", false);
        assert_eq!(waiting.recv().unwrap(), b"init");
        sink.fragment(b"of no use", false);
        sink.fragment(b"b", true);
        assert_eq!(waiting.recv().unwrap(), b"a");
        assert_eq!(waiting.recv().unwrap(), b"b");
        // Another session of the same camera goes on in the same file.
        sink.start(b"init");
        sink.fragment(b"c", true);
        assert_eq!(waiting.recv().unwrap(), b"c");
        // What a player needs is not lost for want of room.
        sink.fragment(b"d", false);
        sink.fragment(b"e", false);
        sink.start(b"another");
        sink.fragment(b"of no use", true);
        assert_eq!(waiting.recv().unwrap(), b"d");
        assert_eq!(waiting.recv().unwrap(), b"e");
        sink.fragment(b"f", true);
        assert_eq!(waiting.recv().unwrap(), b"another");
        assert_eq!(waiting.recv().unwrap(), b"f");
        assert!(!sink.is_gone);
        drop(waiting);
        sink.fragment(b"c", true);
        assert!(sink.is_gone);
    }
}
