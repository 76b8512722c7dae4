//! What is set at one camera, as the command line has it: one value of it at a time.
//!
//! The words for values are here and nowhere else. Whether a value can be is the hub's to say, which knows what its
//! configuration has beside it. This room asks nobody and prints nothing.

use app_core::{CameraSettings, QuietSetting, ZoneSetting};

use crate::args::CameraKey;

/// Takes a value back: the hub's configuration holds.
const DEFAULT: &str = "default";

/// These settings with one of them changed; `default` gives that one back to the hub's configuration.
///
/// # Errors
/// What the value should look like.
pub(crate) fn changed(
    mut settings: CameraSettings,
    key: CameraKey,
    value: &str,
) -> Result<CameraSettings, String> {
    match key {
        CameraKey::Detection => settings.detects = given(value, switch)?,
        CameraKey::Sensitivity => settings.sensitivity = given(value, number)?,
        CameraKey::MinAreaPermille => settings.min_area_permille = given(value, number)?,
        CameraKey::LightSwitchPercent => settings.light_switch_percent = given(value, number)?,
        CameraKey::Zones => settings.zones = given(value, zones)?,
        CameraKey::Masks => settings.masks = given(value, masks)?,
        CameraKey::Quiet => settings.quiet = given(value, quiet)?,
        CameraKey::UtcOffsetMinutes => settings.utc_offset_minutes = given(value, number)?,
        CameraKey::PreRollSeconds => settings.pre_roll_ms = given(value, milliseconds)?,
        CameraKey::PostRollSeconds => settings.post_roll_ms = given(value, milliseconds)?,
        CameraKey::AtMostSeconds => settings.at_most_ms = given(value, milliseconds)?,
        CameraKey::CoolDownSeconds => settings.cool_down_ms = given(value, milliseconds)?,
        CameraKey::Name => settings.name = given(value, name)?,
        CameraKey::Persons => settings.persons = given(value, switch)?,
    }
    Ok(settings)
}

fn given<T>(value: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    match value {
        DEFAULT => Ok(None),
        value => read(value).map(Some),
    }
}

fn switch(value: &str) -> Result<bool, String> {
    match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("this is `on`, `off` or `default`".into()),
    }
}

fn name(value: &str) -> Result<String, String> {
    match CameraSettings::is_name(value) {
        true => Ok(value.to_owned()),
        false => Err(
            "a name has 1 to 64 bytes, no control characters, and no blank at either end; or write `default`"
                .into(),
        ),
    }
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    let what = || format!("{value} is no number that this can be; or write `default`");
    value.parse().map_err(|_| what())
}

fn milliseconds(value: &str) -> Result<u32, String> {
    let what = || format!("{value} is no number of seconds, such as 2.5; or write `default`");
    let seconds: f64 = value.parse().map_err(|_| what())?;
    let ms = (seconds * 1_000.0).round();
    match (0.0..=f64::from(u32::MAX)).contains(&ms) {
        true => Ok(ms as u32),
        false => Err(what()),
    }
}

fn zones(value: &str) -> Result<Vec<ZoneSetting>, String> {
    serde_json::from_str(value).map_err(|error| {
        format!("zones are JSON such as [{{\"name\":\"drive\",\"corners\":[[0,500],[1000,500],[1000,1000]]}}] ({error}); or write `default`")
    })
}

fn masks(value: &str) -> Result<Vec<Vec<(u16, u16)>>, String> {
    serde_json::from_str(value).map_err(|error| {
        format!(
            "masks are JSON such as [[[0,0],[1000,0],[1000,120]]] ({error}); or write `default`"
        )
    })
}

fn quiet(value: &str) -> Result<QuietSetting, String> {
    let what = || format!("{value} is no time such as 22:00-06:30; or write `never` or `default`");
    if value == "never" {
        return Ok(QuietSetting::Never);
    }
    let (from, until) = value.split_once('-').ok_or_else(what)?;
    Ok(QuietSetting::Hours {
        from_minute: minute(from).ok_or_else(what)?,
        until_minute: minute(until).ok_or_else(what)?,
    })
}

/// Reads `HH:MM`.
fn minute(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str, below: u16| -> Option<u16> {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok()?;
        (is_plain && number < below).then_some(number)
    };
    Some(number(hours, 24)? * 60 + number(minutes, 60)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_set_or_given_back_and_the_others_stay() {
        let set = |settings: &CameraSettings, key, value| changed(settings.clone(), key, value);
        let mut settings = CameraSettings::default();
        for (key, value) in [
            (CameraKey::Detection, "off"),
            (CameraKey::Sensitivity, "70"),
            (CameraKey::MinAreaPermille, "4"),
            (CameraKey::LightSwitchPercent, "100"),
            (CameraKey::Masks, "[[[0,0],[1000,0],[1000,120]]]"),
            (CameraKey::Quiet, "22:00-06:30"),
            (CameraKey::UtcOffsetMinutes, "-60"),
            (CameraKey::PreRollSeconds, "2.5"),
            (CameraKey::PostRollSeconds, "10"),
            (CameraKey::AtMostSeconds, "60"),
            (CameraKey::CoolDownSeconds, "0"),
            (CameraKey::Name, "Front door"),
            (CameraKey::Persons, "off"),
        ] {
            settings = set(&settings, key, value).unwrap();
        }
        let zones = "[{\"name\":\"drive\",\"corners\":[[0,500],[1000,500],[1000,1000]]}]";
        settings = set(&settings, CameraKey::Zones, zones).unwrap();
        let expected = CameraSettings {
            detects: Some(false),
            sensitivity: Some(70),
            min_area_permille: Some(4),
            light_switch_percent: Some(100),
            zones: Some(vec![ZoneSetting {
                name: "drive".into(),
                corners: vec![(0, 500), (1000, 500), (1000, 1000)],
            }]),
            masks: Some(vec![vec![(0, 0), (1000, 0), (1000, 120)]]),
            quiet: Some(QuietSetting::Hours {
                from_minute: 1320,
                until_minute: 390,
            }),
            utc_offset_minutes: Some(-60),
            pre_roll_ms: Some(2_500),
            post_roll_ms: Some(10_000),
            at_most_ms: Some(60_000),
            cool_down_ms: Some(0),
            name: Some("Front door".into()),
            persons: Some(false),
        };
        assert_eq!(settings, expected);
        let asked = set(&settings, CameraKey::Persons, "on").unwrap();
        assert_eq!((asked.persons, asked.detects), (Some(true), Some(false)));
        let back = set(&settings, CameraKey::Persons, "default").unwrap();
        assert_eq!((back.persons, back.sensitivity), (None, Some(70)));
        let less = set(&settings, CameraKey::Sensitivity, "default").unwrap();
        assert_eq!((less.sensitivity, less.detects), (None, Some(false)));
        let never = set(&settings, CameraKey::Quiet, "never").unwrap();
        assert_eq!(never.quiet, Some(QuietSetting::Never));
    }

    #[test]
    fn what_is_no_value_is_refused() {
        for (key, bad) in [
            (CameraKey::Detection, "yes"),
            (CameraKey::Persons, "guess"),
            (CameraKey::Sensitivity, "256"),
            (CameraKey::Sensitivity, ""),
            (CameraKey::Zones, "[[0,0]]"),
            (
                CameraKey::Zones,
                "[{\"name\":\"z\",\"corners\":[],\"more\":1}]",
            ),
            (CameraKey::Masks, "none"),
            (CameraKey::Quiet, "22:00"),
            (CameraKey::Quiet, "24:00-06:30"),
            (CameraKey::Quiet, "+2:00-06:30"),
            (CameraKey::PreRollSeconds, "-1"),
            (CameraKey::PreRollSeconds, "nan"),
            (CameraKey::AtMostSeconds, "1e10"),
            (CameraKey::Name, ""),
            (CameraKey::Name, "two\nlines"),
        ] {
            assert!(
                changed(CameraSettings::default(), key, bad).is_err(),
                "{bad:?}"
            );
        }
    }
}
