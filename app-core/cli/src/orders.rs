//! Commands to the hub: given, sent, and what came of them.
//!
//! A command is stored before anything is sent, so stopping this program costs none. This room must never say
//! that something is done before the hub has said so.

use std::path::Path;

use app_core::{
    App, AppError, Command, CommandId, CommandState, CommandStatus, Events, HubId, HubSettings,
    SyncMode,
};

use crate::args::{OrderOptions, SettingKey, SettingsAction, Switch};
use crate::output::Style;
use crate::run::{Failure, open};

/// What is to be ordered, as the command line has it.
pub(crate) enum Wanted {
    Privacy(Switch),
    Settings(SettingsAction),
    Resend,
    Restart,
}

/// Gives a command, sends it, and says how it stands; with `--wait` once the hub has answered.
pub(crate) async fn order(
    dir: &Path,
    wanted: Wanted,
    options: &OrderOptions,
    style: Style,
) -> Result<(), Failure> {
    let app = open(dir).await?;
    let hub = which_hub(&app, options.hub.as_deref()).await?;
    let command = match wanted {
        Wanted::Privacy(switch) => Command::Privacy {
            on: switch == Switch::On,
        },
        Wanted::Settings(SettingsAction::Show) => {
            return Ok(style.settings(&app.settings(hub).await?)?);
        }
        Wanted::Settings(SettingsAction::Set { key, value }) => {
            Command::Settings(changed(app.settings(hub).await?.wanted, key, &value)?)
        }
        Wanted::Resend => Command::SendAgain(app_core::Channel::EventVideo),
        Wanted::Restart => Command::Restart,
    };
    let id = app.command(hub, command).await?;
    let sent = match options.wait {
        true => wait_for(&app, id).await,
        false => app.sync(SyncMode::Once).await,
    };
    // Also if the relay is away: the command is stored, and is sent by the next sync.
    style.command(&stands(&app, id).await?)?;
    Ok(sent?)
}

/// `commands`: all that wait, and the last that were answered.
pub(crate) async fn list(dir: &Path, style: Style) -> Result<(), Failure> {
    style.commands(&open(dir).await?.commands().await?)?;
    Ok(())
}

/// The only hub, or the one that is named.
async fn which_hub(app: &App, named: Option<&str>) -> Result<HubId, Failure> {
    let hubs = app.status().await?.hubs;
    let known: Vec<HubId> = hubs.iter().map(|status| status.hub).collect();
    match (named, known.as_slice()) {
        (_, []) => Err(AppError::NotPaired.into()),
        (None, [only]) => Ok(*only),
        (None, _) => Err(Failure::Usage(
            "this app is paired with several hubs; name one with --hub, as `status` lists them".into(),
        )),
        (Some(named), known) => {
            let found = known.iter().find(|hub| hub.to_string() == named);
            found.copied().ok_or_else(|| {
                Failure::Usage(format!(
                    "this app is not paired with a hub {named}; `status` lists them"
                ))
            })
        }
    }
}

/// These settings with one of them changed.
fn changed(
    mut settings: HubSettings,
    key: SettingKey,
    value: &str,
) -> Result<HubSettings, Failure> {
    match (key, value) {
        (SettingKey::Privacy, "on") => settings.privacy = true,
        (SettingKey::Privacy, "off") => settings.privacy = false,
        (SettingKey::EventSecondsMax, "none") => settings.event_seconds_max = None,
        (SettingKey::EventSecondsMax, number) => {
            let seconds = number.parse().map_err(|_| {
                Failure::Usage("event_seconds_max is a number of seconds, or `none`".into())
            })?;
            settings.event_seconds_max = Some(seconds);
        }
        (SettingKey::Privacy, _) => {
            return Err(Failure::Usage("privacy is `on` or `off`".into()));
        }
    }
    Ok(settings)
}

async fn stands(app: &App, id: CommandId) -> Result<CommandStatus, AppError> {
    let found = app.commands().await?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| AppError::Bug("a command that was given is not known".into()))
}

/// Syncs until the hub has answered. Whoever stops it loses nothing.
async fn wait_for(app: &App, id: CommandId) -> Result<(), AppError> {
    let events = app.observe();
    tokio::select! {
        answered = answered(app, id, events) => answered,
        ended = app.sync(SyncMode::Follow) => ended,
    }
}

/// Whatever happens may have been the answer: the books say so, also if an event was missed.
async fn answered(app: &App, id: CommandId, mut events: Events) -> Result<(), AppError> {
    loop {
        if matches!(stands(app, id).await?.state, CommandState::Answered(_)) {
            return Ok(());
        }
        if events.next().await.is_none() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_setting_is_changed_and_the_others_stay_as_they_are_wanted() {
        let wanted = HubSettings {
            privacy: true,
            event_seconds_max: Some(30),
        };
        let set = |key, value| changed(wanted, key, value);
        let off = set(SettingKey::Privacy, "off").unwrap();
        assert_eq!((off.privacy, off.event_seconds_max), (false, Some(30)));
        let none = set(SettingKey::EventSecondsMax, "none").unwrap();
        assert_eq!((none.privacy, none.event_seconds_max), (true, None));
        let sixty = set(SettingKey::EventSecondsMax, "60").unwrap();
        assert_eq!(sixty.event_seconds_max, Some(60));
        for (key, bad) in [
            (SettingKey::Privacy, "yes"),
            (SettingKey::EventSecondsMax, "-1"),
            (SettingKey::EventSecondsMax, ""),
        ] {
            assert!(set(key, bad).is_err(), "{bad:?}");
        }
    }
}
