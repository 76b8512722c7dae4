//! What phones set at cameras: asked for, changed, and refused where it cannot be.
//!
//! What a camera's settings come to hangs on what the configuration says of it, so the core is told that at the start.
//! A change is judged and stored in the transaction that answers it; the camera follows what is stored
//! ([`Wishes`](super::Wishes)), and so does the name under which it is shown ([`super::names`]), which any camera may
//! have. This room must never keep what a camera could not be given.

use std::collections::BTreeMap;

use journal::ids::CommandId;
use journal::message::{CameraChange, CameraDoc, CameraSettings, CommandResult, Refusal};
use journal::{JournalError, Txn};
use wal::mutant;

use super::{Core, names};
use crate::config::detection::Detection;

/// What the configuration says of each camera, by its name; `None`: nobody looks for what moves there.
pub type Detections = BTreeMap<String, Option<Box<Detection>>>;

/// What phones have set at a camera, for `status`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CameraSet {
    /// What is stored.
    pub doc: CameraDoc,
    /// Whether it can be had beside what the configuration says now. Where it cannot, the configuration holds alone.
    pub fits: bool,
    /// The name under which phones are shown it.
    pub shown: String,
}

/// What phones have set at this camera.
pub(super) fn ask(
    txn: &Txn<'_>,
    detections: &Detections,
    camera: &str,
) -> Result<CommandResult, JournalError> {
    let docs = txn.cameras_set()?;
    let camera = names::configured(camera, &docs, detections);
    match detections.contains_key(camera) {
        true => Ok(CommandResult::Camera(current(&docs, camera))),
        false => Ok(CommandResult::Refused(Refusal::NoSuchCamera)),
    }
}

/// The effect of a change on the rows of this transaction, whole or none.
pub(super) fn change(
    txn: &mut Txn<'_>,
    detections: &Detections,
    (id, change): (CommandId, CameraChange),
) -> Result<CommandResult, JournalError> {
    let docs = txn.cameras_set()?;
    let camera = names::configured(&change.camera, &docs, detections);
    let Some(detection) = detections.get(camera) else {
        return Ok(CommandResult::Refused(Refusal::NoSuchCamera));
    };
    if detection.is_none() && !change.settings.are_of_the_name_alone() {
        return Ok(CommandResult::Refused(Refusal::NothingDetected));
    }
    let current = current(&docs, camera);
    if !change.base.is_camera(&current) {
        return Ok(CommandResult::CameraConflict(current));
    }
    if let Some(refusal) = refuses_name(&change.settings, (camera, &docs), detections) {
        return Ok(CommandResult::Refused(refusal));
    }
    if let Some(Err(error)) = detection.as_ref().map(|one| one.judge(&change.settings)) {
        tracing::warn!(%error, camera, "what a phone wants to set cannot be");
        return Ok(CommandResult::Refused(Refusal::OutOfRange));
    }
    // Also if nothing differs: a later change may start from what this command made.
    let doc = CameraDoc {
        camera: camera.to_owned(),
        version: current.version + 1,
        made_by: Some(id),
        settings: change.settings,
    };
    mutant!("camera_set_forgotten", "C2", "a phone is told that a camera is set as it wants, and nothing of it is kept" => {
        return Ok(CommandResult::CameraChanged(doc));
    });
    let is_there = |name: &str| detections.contains_key(name);
    match txn.put_camera_set(&doc, is_there)? {
        true => Ok(CommandResult::CameraChanged(doc)),
        // There are not that many cameras.
        false => Ok(CommandResult::Refused(Refusal::OutOfRange)),
    }
}

fn current(docs: &[CameraDoc], camera: &str) -> CameraDoc {
    let known = docs.iter().find(|doc| doc.camera == camera);
    known.cloned().unwrap_or_else(|| CameraDoc::unset(camera))
}

/// Why a camera cannot be shown under the name that it is to have, if it cannot.
fn refuses_name(
    settings: &CameraSettings,
    (camera, docs): (&str, &[CameraDoc]),
    detections: &Detections,
) -> Option<Refusal> {
    let name = settings.name.as_deref()?;
    if !CameraSettings::is_name(name) {
        return Some(Refusal::OutOfRange);
    }
    let is_other = |other: &str| other != camera && detections.contains_key(other);
    let is_shown =
        |doc: &CameraDoc| is_other(&doc.camera) && doc.settings.name.as_deref() == Some(name);
    let is_taken = is_other(name) || docs.iter().any(is_shown);
    is_taken.then_some(Refusal::NameTaken)
}

impl Core {
    /// What the configuration says of each camera. Before this is called there is none to be set. What is watched live of
    /// one that is none of them shows nothing from now on, and ends with the next tick.
    pub fn set_detections(&mut self, detections: Detections) {
        let names = detections.keys().cloned().collect();
        self.lives.keep_cameras(names);
        self.detections = detections;
    }

    /// What phones have set at the cameras that there are.
    pub(super) fn sets_of(&self, all: Vec<CameraDoc>) -> Vec<CameraSet> {
        let of = |doc: CameraDoc| {
            let fits = match self.detections.get(&doc.camera)? {
                Some(detection) => detection.with(&doc.settings).is_ok(),
                None => doc.settings.are_of_the_name_alone(),
            };
            Some(CameraSet {
                shown: self.shown_name(&doc.camera),
                doc,
                fits,
            })
        };
        all.into_iter().filter_map(of).collect()
    }
}
