//! Commands to the hub: given, sent, and what came of them.
//!
//! A command is stored before anything is sent, so stopping this program costs none. This room must never say
//! that something is done before the hub has said so.

use std::path::Path;

use app_core::{
    Alerts, App, AppError, Command, CommandId, CommandOutcome, CommandState, CommandStatus, Events,
    HubId, HubSettings, PhoneId, SyncMode,
};

use crate::args::{OrderOptions, SettingKey, SettingsAction, Switch};
use crate::camera_settings;
use crate::names;
use crate::output::Style;
use crate::run::{Failure, open};

/// What is to be ordered, as the command line has it.
pub(crate) enum Wanted {
    Privacy(Switch),
    Settings(SettingsAction),
    Resend,
    Restart,
    Phones,
    Remove(String),
}

/// Gives a command, sends it, and says how it stands; with `--wait` once the hub has answered.
pub(crate) async fn order(
    dir: &Path,
    wanted: Wanted,
    options: &OrderOptions,
    style: Style,
) -> Result<(), Failure> {
    let app = open(dir).await?;
    let hub = names::hub(&app, options.hub.as_deref()).await?;
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
        Wanted::Settings(SettingsAction::Camera { camera }) => Command::Camera(camera),
        Wanted::Settings(SettingsAction::SetCamera { camera, key, value }) => {
            let known = app.camera_settings(hub, &camera).await?;
            let known = known.ok_or_else(|| {
                Failure::Usage(format!(
                    "ask first what is set at that camera: `secluso-app settings camera {camera} --wait`"
                ))
            })?;
            let settings = camera_settings::changed(known, key, &value).map_err(Failure::Usage)?;
            Command::SetCamera { camera, settings }
        }
        Wanted::Resend => Command::SendAgain(app_core::Channel::EventVideo),
        Wanted::Restart => Command::Restart,
        Wanted::Phones => Command::Phones,
        Wanted::Remove(named) => Command::Remove(which_phone(&app, hub, &named).await?),
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

/// `forget`: the hub that is named, also where it is the only one.
pub(crate) async fn forget(dir: &Path, named: &str) -> Result<HubId, Failure> {
    let app = open(dir).await?;
    let hub = names::named_hub(&app, named).await?;
    app.forget(hub).await?;
    Ok(hub)
}

/// The phone that is named so, of those that the hub told of last.
async fn which_phone(app: &App, hub: HubId, named: &str) -> Result<PhoneId, Failure> {
    let commands = app.commands().await?;
    let told = commands.iter().rev().find_map(|one| match &one.state {
        CommandState::Answered(CommandOutcome::Phones(phones)) if one.hub == hub => Some(phones),
        _ => None,
    });
    match told {
        Some(phones) => names::phone(phones, named),
        None => Err(Failure::Usage(
            "ask first which phones the camera has: `secluso-app phones --wait`".into(),
        )),
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
        (SettingKey::ClipDaysMax, "none") => settings.clip_days_max = None,
        (SettingKey::ClipDaysMax, number) => {
            let days = number.parse().map_err(|_| {
                Failure::Usage("clip_days_max is a number of days, or `none`".into())
            })?;
            settings.clip_days_max = Some(days);
        }
        (SettingKey::Alerts, kinds) => settings.alerts = alerts(kinds)?,
        (SettingKey::Privacy, _) => {
            return Err(Failure::Usage("privacy is `on` or `off`".into()));
        }
    }
    Ok(settings)
}

/// What phones are notified of, as somebody wrote it.
fn alerts(kinds: &str) -> Result<Alerts, Failure> {
    let none = Alerts {
        motion: false,
        storage_full: false,
        camera_away: false,
    };
    match kinds {
        "all" => return Ok(Alerts::default()),
        "none" => return Ok(none),
        _ => {}
    }
    let mut alerts = none;
    for kind in kinds.split(',') {
        match kind.trim() {
            "motion" => alerts.motion = true,
            "storage_full" => alerts.storage_full = true,
            "camera_away" => alerts.camera_away = true,
            _ => {
                return Err(Failure::Usage(
                    "alerts are `all`, `none`, or some of `motion,storage_full,camera_away`".into(),
                ));
            }
        }
    }
    Ok(alerts)
}

pub(crate) async fn stands(app: &App, id: CommandId) -> Result<CommandStatus, AppError> {
    let found = app.commands().await?.into_iter().find(|one| one.id == id);
    found.ok_or_else(|| AppError::Bug("a command that was given is not known".into()))
}

/// Syncs until the hub has answered. Whoever stops it loses nothing.
async fn wait_for(app: &App, id: CommandId) -> Result<(), AppError> {
    let events = app.observe();
    tokio::select! {
        answered = answered(app, id, events) => answered,
        ended = app.sync(SyncMode::Attended) => ended,
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
            ..HubSettings::default()
        };
        let set = |key, value| changed(wanted, key, value);
        let off = set(SettingKey::Privacy, "off").unwrap();
        assert_eq!((off.privacy, off.event_seconds_max), (false, Some(30)));
        let none = set(SettingKey::EventSecondsMax, "none").unwrap();
        assert_eq!((none.privacy, none.event_seconds_max), (true, None));
        let sixty = set(SettingKey::EventSecondsMax, "60").unwrap();
        assert_eq!(sixty.event_seconds_max, Some(60));
        let week = set(SettingKey::ClipDaysMax, "7").unwrap();
        assert_eq!((week.privacy, week.clip_days_max), (true, Some(7)));
        let some = set(SettingKey::Alerts, "camera_away, motion")
            .unwrap()
            .alerts;
        assert!(some.motion && some.camera_away && !some.storage_full);
        let none = set(SettingKey::Alerts, "none").unwrap().alerts;
        assert!(!none.motion && !none.camera_away && !none.storage_full);
        let all = set(SettingKey::Alerts, "all").unwrap();
        assert_eq!(all.alerts, Alerts::default());
        for (key, bad) in [
            (SettingKey::ClipDaysMax, "1.5"),
            (SettingKey::Alerts, ""),
            (SettingKey::Alerts, "motion,"),
            (SettingKey::Alerts, "rain"),
            (SettingKey::Privacy, "yes"),
            (SettingKey::EventSecondsMax, "-1"),
            (SettingKey::EventSecondsMax, ""),
        ] {
            assert!(set(key, bad).is_err(), "{bad:?}");
        }
    }
}
