//! Commands to the hub: given, sent, and what came of them.
//!
//! A command is stored before anything is sent, so stopping this program costs none. This room must never say
//! that something is done before the hub has said so.

use std::path::Path;

use app_core::{
    Alerts, App, AppError, Command, CommandId, CommandOutcome, CommandState, CommandStatus, Events,
    HubId, HubSettings, PairedPhone, PhoneId, SyncMode,
};

use crate::args::{OrderOptions, SettingKey, SettingsAction, Switch};
use crate::camera_settings;
use crate::output::Style;
use crate::run::{Failure, open};

/// Fewest digits by which a phone may be named.
const NAME_DIGITS_MIN: usize = 4;

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

/// `forget`: the hub that is named by its first digits.
pub(crate) async fn forget(dir: &Path, named: &str) -> Result<HubId, Failure> {
    let app = open(dir).await?;
    let hubs: Vec<HubId> = app
        .status()
        .await?
        .hubs
        .iter()
        .map(|status| status.hub)
        .collect();
    let named = named.trim().to_ascii_lowercase();
    let fits = |hub: &&HubId| !named.is_empty() && hub.to_string().starts_with(&named);
    let mut fitting = hubs.iter().filter(fits);
    let (Some(hub), None) = (fitting.next(), fitting.next()) else {
        return Err(Failure::Usage(format!(
            "this app is paired with no hub, or with several, whose name begins with {named}; `status` lists them"
        )));
    };
    app.forget(*hub).await?;
    Ok(*hub)
}

/// The only hub, or the one that is named.
pub(crate) async fn which_hub(app: &App, named: Option<&str>) -> Result<HubId, Failure> {
    let hubs = app.status().await?.hubs;
    let known: Vec<HubId> = hubs.iter().map(|status| status.hub).collect();
    match (named, known.as_slice()) {
        (_, []) => Err(AppError::NotPaired.into()),
        (None, [only]) => Ok(*only),
        (None, _) => Err(Failure::Usage(
            "this app is paired with several hubs; name one with --hub, as `status` lists them"
                .into(),
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

/// The phone that is named so, of those that the hub told of last.
async fn which_phone(app: &App, hub: HubId, named: &str) -> Result<PhoneId, Failure> {
    let commands = app.commands().await?;
    let told = commands.iter().rev().find_map(|one| match &one.state {
        CommandState::Answered(CommandOutcome::Phones(phones)) if one.hub == hub => Some(phones),
        _ => None,
    });
    match told {
        Some(phones) => find(phones, named),
        None => Err(Failure::Usage(
            "ask first which phones the camera has: `secluso-app phones --wait`".into(),
        )),
    }
}

fn find(phones: &[PairedPhone], named: &str) -> Result<PhoneId, Failure> {
    let names = phones.iter().map(|known| known.phone.to_string());
    let only = only_one(names, named).map_err(Failure::Usage)?;
    match phones.iter().find(|known| known.phone.to_string() == only) {
        Some(known) if !known.is_this => Ok(known.phone),
        _ => Err(Failure::Usage(
            "this phone cannot remove itself; run `secluso-hub remove` at the camera".into(),
        )),
    }
}

/// The one name that begins so; else what to say.
fn only_one(names: impl Iterator<Item = String>, named: &str) -> Result<String, String> {
    let named = named.trim().to_ascii_lowercase();
    let is_name =
        named.len() >= NAME_DIGITS_MIN && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_name {
        return Err(format!(
            "a phone is named by at least {NAME_DIGITS_MIN} hexadecimal digits, as the answer to `phones` has them"
        ));
    }
    let mut fitting = names.filter(|name| name.starts_with(&named));
    match (fitting.next(), fitting.next()) {
        (Some(name), None) => Ok(name),
        (Some(_), Some(_)) => Err(format!(
            "several phones begin with {named}; give more digits"
        )),
        (None, _) => Err(format!(
            "no phone begins with {named}; `secluso-app phones --wait` asks for those that there are"
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
    fn a_phone_is_named_by_the_beginning_that_fits_it_alone() {
        let find = |named| only_one(["12ab34", "12cd00"].map(str::to_owned).into_iter(), named);
        assert_eq!(find("12AB ").as_deref(), Ok("12ab34"));
        for bad in ["", "12a", "12xy", "9999", "12ab345"] {
            assert!(find(bad).is_err(), "{bad:?}");
        }
        let twice = ["12ab34", "12ab99"].map(str::to_owned).into_iter();
        assert!(only_one(twice, "12ab").is_err());
    }

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
