//! What a command line names: a hub, a phone, a clip or the picture of an event, by as many of its first digits as tell
//! it from the others, or by all of them.
//!
//! This room must never guess where a name fits several, and never say one again that it was given: that may be the
//! whole of it.

use std::path::Path;

use app_core::{App, AppError, ClipId, HubId, PairedPhone, PhoneId};

use crate::run::{Failure, open};

/// Fewest digits by which something may be named.
const DIGITS_MIN: usize = 4;
/// Digits of a whole name.
const DIGITS: usize = 32;

/// What is named, for people.
struct Kind {
    one: &'static str,
    several: &'static str,
    /// Where its names are.
    shown: &'static str,
}

const HUB: Kind = Kind {
    one: "hub",
    several: "hubs",
    shown: "`status` lists them",
};
const PHONE: Kind = Kind {
    one: "phone",
    several: "phones",
    shown: "`secluso-app phones --wait` asks for those that there are",
};
const CLIP: Kind = Kind {
    one: "clip",
    several: "clips",
    shown: "`clips` and `thumbnails` list them",
};

/// The only hub, or the one that is named.
pub(crate) async fn hub(app: &App, named: Option<&str>) -> Result<HubId, Failure> {
    let known = hubs(app).await?;
    match (named, known.as_slice()) {
        (_, []) => Err(AppError::NotPaired.into()),
        (None, [only]) => Ok(*only),
        (None, _) => Err(Failure::Usage(
            "this app is paired with several hubs; name one with --hub, as `status` lists them"
                .into(),
        )),
        (Some(named), known) => hub_of(known, named),
    }
}

/// The hub that is named, where even the only one must be.
pub(crate) async fn named_hub(app: &App, named: &str) -> Result<HubId, Failure> {
    hub_of(&hubs(app).await?, named)
}

async fn hubs(app: &App) -> Result<Vec<HubId>, AppError> {
    let hubs = app.status().await?.hubs;
    Ok(hubs.iter().map(|status| status.hub).collect())
}

fn hub_of(known: &[HubId], named: &str) -> Result<HubId, Failure> {
    let known = known.iter().map(|hub| (hub.to_string(), *hub));
    only_one(&HUB, known, &digits(&HUB, named)?)
}

/// The phone that is named, of those that the hub told of last. This one is none: it cannot remove itself.
pub(crate) fn phone(told: &[PairedPhone], named: &str) -> Result<PhoneId, Failure> {
    let known = told.iter().map(|one| (one.phone.to_string(), one));
    let found = only_one(&PHONE, known, &digits(&PHONE, named)?)?;
    match found.is_this {
        false => Ok(found.phone),
        true => Err(Failure::Usage(
            "this phone cannot remove itself; run `secluso-hub remove` at the camera".into(),
        )),
    }
}

/// The clip, or the picture of an event, that is named, and the app that has it. What is no name is refused before
/// anything is opened.
pub(crate) async fn clip(dir: &Path, named: &str) -> Result<(App, ClipId), Failure> {
    let named = digits(&CLIP, named)?;
    let app = open(dir).await?;
    if named.len() == DIGITS {
        // Nothing to look for: whether there is such a clip the app says itself.
        let clip: ClipId = named.parse()?;
        return Ok((app, clip));
    }
    let clips = app.clips().await?.into_iter().map(|clip| clip.clip);
    let pictures = app.thumbnails().await?.into_iter();
    let known = clips.chain(pictures.map(|picture| picture.thumbnail));
    let known = known.map(|clip| (clip.to_string(), clip));
    let clip = only_one(&CLIP, known, &named)?;
    Ok((app, clip))
}

/// A name, or the beginning of one, as names are written.
fn digits(kind: &Kind, named: &str) -> Result<String, Failure> {
    let named = named.trim().to_ascii_lowercase();
    let is_name = (DIGITS_MIN..=DIGITS).contains(&named.len())
        && named.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_name {
        true => Ok(named),
        false => Err(Failure::Usage(format!(
            "a {} is named by its first hexadecimal digits, {DIGITS_MIN} or more; {}",
            kind.one, kind.shown
        ))),
    }
}

/// The one whose whole name begins so.
fn only_one<T>(
    kind: &Kind,
    known: impl Iterator<Item = (String, T)>,
    begins: &str,
) -> Result<T, Failure> {
    let mut fitting = known.filter(|(name, _)| name.starts_with(begins));
    match (fitting.next(), fitting.next()) {
        (Some((_, found)), None) => Ok(found),
        (Some(_), Some(_)) => Err(Failure::Usage(format!(
            "several {} have a name that begins so; give more digits",
            kind.several
        ))),
        (None, _) => Err(Failure::Usage(format!(
            "no {} has a name that begins so; {}",
            kind.one, kind.shown
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = [
        "0123456789abcdef0123456789abcdef",
        "0123456789abcdef0123456789abcd00",
        "fedcba9876543210fedcba9876543210",
    ];

    /// Which of these has the name, as a command line has it; else what is said.
    fn find(named: &str) -> Result<usize, String> {
        let known = NAMES.iter().enumerate();
        let known = known.map(|(place, name)| ((*name).to_owned(), place));
        let found = digits(&CLIP, named).and_then(|begins| only_one(&CLIP, known, &begins));
        found.map_err(|failure| {
            assert_eq!(failure.code(), 2, "{failure}");
            failure.to_string()
        })
    }

    #[test]
    fn a_beginning_that_fits_one_alone_names_it_and_so_does_the_whole() {
        for (place, name) in NAMES.into_iter().enumerate() {
            assert_eq!(find(name), Ok(place));
        }
        for named in ["fedc", "fedcba987654", " FEDCBA98\n"] {
            assert_eq!(find(named), Ok(2), "{named:?}");
        }
    }

    #[test]
    fn what_fits_several_or_none_or_is_no_name_is_refused_and_not_said_again() {
        let unknown = "00112233445566778899aabbccddeeff";
        let longer = format!("{}0", NAMES[2]);
        for (named, says) in [
            ("0123", "several clips"),
            ("0123456789ab", "several clips"),
            ("9999", "no clip"),
            (unknown, "no clip"),
            ("", "4 or more"),
            ("fed", "4 or more"),
            ("fedx", "4 or more"),
            (longer.as_str(), "4 or more"),
        ] {
            let said = find(named).unwrap_err();
            assert!(said.contains(says), "{named:?}: {said}");
            assert!(named.is_empty() || !said.contains(named), "{said}");
        }
    }
}
