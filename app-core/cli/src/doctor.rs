//! `doctor`: one line for each thing that must be right, with the next step. It changes nothing
//! that a sync would not change.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use app_core::{App, AppError, AppOptions, Creation};

use crate::output::Style;
use crate::run::{Failure, code_of};

/// A device clock before this (January 2025) was never set, in seconds since 1970.
const BUILT_AFTER_UNIX_S: u64 = 1_735_689_600;
/// Less free space than this is worth a warning, in bytes.
const FREE_BYTES_LOW: u64 = 256 * 1024 * 1024;

pub(crate) async fn examine(dir: &Path, style: Style) -> Result<(), Failure> {
    let mut worst = 0;
    clock(style)?;
    let options = AppOptions {
        creation: Creation::Never,
        ..AppOptions::default()
    };
    let Ok(metadata) = std::fs::metadata(dir) else {
        // It is not there, or may not be looked at: whoever opens it can tell.
        let error = App::open(dir, options).await.err();
        let error = error.unwrap_or(AppError::NotPaired);
        style.check("directory", "bad", &error.to_string())?;
        return Err(Failure::Unwell(code_of(&error)));
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        style.check(
            "directory",
            "ok",
            &format!("{} (mode {mode:o})", dir.display()),
        )?;
    } else {
        style.check(
            "directory",
            "bad",
            &format!("others may read it (mode {mode:o}); the next start makes it 700"),
        )?;
        worst = 4;
    }
    worst = worst.max(files(dir, style)?);
    space(dir, style)?;
    match App::open(dir, options).await {
        Ok(app) => {
            style.check("journal", "ok", "it opens, and no other process uses it")?;
            worst = worst.max(inside(&app, style).await?);
        }
        Err(error) => {
            style.check("journal", "bad", &error.to_string())?;
            worst = code_of(&error);
        }
    }
    if worst == 0 {
        Ok(())
    } else {
        Err(Failure::Unwell(worst))
    }
}

/// Whether everything in the directory is for its owner alone.
fn files(dir: &Path, style: Style) -> Result<u8, Failure> {
    match app_core::private::first_shared(dir, None) {
        Ok(None) => style.check("files", "ok", "for their owner alone")?,
        Ok(Some((path, mode))) => {
            let what = format!(
                "others may look into {} (mode {mode:o}); run `chmod -R go= {}`",
                path.display(),
                dir.display()
            );
            style.check("files", "bad", &what)?;
            return Ok(4);
        }
        Err(error) => style.check("files", "warn", &error.to_string())?,
    }
    Ok(0)
}

async fn inside(app: &App, style: Style) -> Result<u8, Failure> {
    let status = app.status().await?;
    if status.hubs.is_empty() {
        style.check("pairing", "bad", &AppError::NotPaired.to_string())?;
        return Ok(code_of(&AppError::NotPaired));
    }
    let mut worst = 0;
    for hub in &status.hubs {
        let what = format!("hub {} through {}", hub.hub.short(), hub.relay);
        match hub.standing.trouble() {
            None => style.check("pairing", "ok", &what)?,
            Some(error) => {
                style.check("pairing", "bad", &format!("{what}: {error}"))?;
                worst = code_of(&error);
            }
        }
    }
    let relay = match app.check_relays().await {
        Ok(()) => {
            style.check("relay", "ok", "it answers and admits this device")?;
            0
        }
        Err(error) => {
            style.check("relay", "bad", &error.to_string())?;
            code_of(&error)
        }
    };
    Ok(worst.max(relay))
}

#[expect(
    clippy::disallowed_methods,
    reason = "The program is a shell; this is the check of the clock itself."
)]
fn clock(style: Style) -> Result<(), Failure> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    if now.as_secs() > BUILT_AFTER_UNIX_S {
        style.check("clock", "ok", "it was set")?;
    } else {
        style.check(
            "clock",
            "warn",
            "it was never set; pairing codes look expired or never expire",
        )?;
    }
    Ok(())
}

fn space(dir: &Path, style: Style) -> Result<(), Failure> {
    match rustix::fs::statvfs(dir) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let verdict = if free < FREE_BYTES_LOW { "warn" } else { "ok" };
            style.check(
                "space",
                verdict,
                &format!("{} MiB free", free / (1024 * 1024)),
            )?;
        }
        Err(error) => style.check("space", "warn", &format!("unknown: {error}"))?,
    }
    Ok(())
}
