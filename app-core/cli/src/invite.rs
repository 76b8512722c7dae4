//! `invite`: one more phone through this one. A code is asked for, shown in person, and waited for.
//!
//! The code is kept nowhere longer than it takes to show it: once it stands on the screen and in the picture, its key
//! is erased here. This room must never print it twice, and never to a log.

use std::path::{Path, PathBuf};

use app_core::{
    AddedPhone, App, AppError, Command, CommandId, CommandOutcome, CommandState, Event, Events,
    InviteCode, InviteFailure, SyncMode,
};
use pairing_code::CodeImage;

use crate::names;
use crate::orders::stands;
use crate::output::{Style, outcome_text};
use crate::run::{Failure, open};

/// How an invite ended.
enum Ended {
    /// A phone has used the code.
    Added(AddedPhone),
    /// There is none, or none any more.
    Failed(InviteFailure),
    /// The hub refused to make one.
    Refused(CommandOutcome),
}

/// Asks for a code, shows it, and waits until a phone has used it or nobody can any more.
pub(crate) async fn invite(
    dir: &Path,
    png: Option<PathBuf>,
    hub: Option<&str>,
    style: Style,
) -> Result<(), Failure> {
    // Before anything is asked for: a picture that cannot be made is no reason for a code.
    let image = png.as_deref().map(CodeImage::at).transpose();
    let mut image = image.map_err(|error| Failure::Usage(error.to_string()))?;
    let app = open(dir).await?;
    let hub = names::hub(&app, hub).await?;
    let events = app.observe();
    let id = app.command(hub, Command::Invite).await?;
    let ended = tokio::select! {
        ended = follow(&app, id, events, &mut image, style) => ended?,
        // It returns only with what trying again cannot cure.
        synced = app.sync(SyncMode::Attended) => {
            synced?;
            return Err(Failure::Internal("a sync that follows has ended".into()));
        }
    };
    // The picture goes before anything is said that ends this.
    drop(image);
    match ended {
        Ended::Added(added) => Ok(style.added(hub, &added)?),
        Ended::Failed(why) => Err(Failure::Refused(failure_text(why).into())),
        Ended::Refused(outcome) => Err(Failure::Refused(outcome_text(&outcome))),
    }
}

/// Goes by what is stored and not by what was told: an event may have been missed.
async fn follow(
    app: &App,
    id: CommandId,
    mut events: Events,
    image: &mut Option<CodeImage>,
    style: Style,
) -> Result<Ended, Failure> {
    let mut is_shown = false;
    loop {
        let status = stands(app, id).await?;
        match status.state {
            CommandState::Answered(CommandOutcome::Done) => {}
            CommandState::Answered(outcome) => return Ok(Ended::Refused(outcome)),
            CommandState::Waiting | CommandState::Sent => {}
        }
        if !is_shown && let Some(code) = app.invite_code(id).await? {
            show(&code, image.as_mut(), style)?;
            is_shown = true;
            app.forget_invite_code(id).await?;
        }
        let added = app.added_phones(status.hub).await?;
        if let Some(added) = added.iter().find(|added| added.asked_by == id) {
            return Ok(Ended::Added(*added));
        }
        match events.next().await {
            Some(Event::InviteFailed { id: of, why, .. }) if of == id => {
                return Ok(Ended::Failed(why));
            }
            Some(_) => {}
            None => return Err(AppError::Bug("the app was closed".into()).into()),
        }
    }
}

fn show(code: &InviteCode, image: Option<&mut CodeImage>, style: Style) -> Result<(), Failure> {
    if let Some(image) = image {
        match image.show(&code.text) {
            Ok(()) => eprintln!(
                "secluso-app: the code is in {} too, for this user alone; the file is removed when this ends",
                image.path().display()
            ),
            Err(error) => eprintln!(
                "secluso-app: {} could not be written ({error}); use the code below",
                image.path().display()
            ),
        }
    }
    Ok(style.code(code, &pairing_code::show(&code.text))?)
}

/// What a person is told to do about an invite that came to nothing.
pub(crate) fn failure_text(why: InviteFailure) -> &'static str {
    match why {
        InviteFailure::NoRelay => {
            "the camera got no invitation from the relay for another phone; run `secluso-app invite` again later"
        }
        InviteFailure::CannotListen => {
            "the camera cannot listen for a phone; correct [pairing] listen in its configuration"
        }
        InviteFailure::ClockNotSet => {
            "the camera's clock was never set, and a code made now would be too old; set it there, then run `secluso-app invite` again"
        }
        InviteFailure::TooManyPhones => {
            "the camera has as many phones as it can have; remove one with `secluso-app remove-phone`"
        }
        // A newer app-core may know more than this program.
        _ => {
            "no phone used the code in time, too many tried with a wrong one, or somebody pairs at the camera: it is void. Run `secluso-app invite` again"
        }
    }
}
