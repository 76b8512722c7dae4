//! What phones set at cameras: asked for, changed, and refused where it cannot be.
//!
//! What a camera's settings come to hangs on what the configuration says of it, so the core is told that at the start.
//! A change is judged and stored in the transaction that answers it; the camera follows what is stored
//! ([`Wishes`](super::Wishes)). This room must never keep what a camera could not be given.

use std::collections::BTreeMap;

use journal::ids::CommandId;
use journal::message::{CameraChange, CameraDoc, CommandResult, Refusal};
use journal::{JournalError, Txn};

use super::Core;
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
}

/// What phones have set at this camera.
pub(super) fn ask(
    txn: &Txn<'_>,
    detections: &Detections,
    camera: &str,
) -> Result<CommandResult, JournalError> {
    match detections.contains_key(camera) {
        true => Ok(CommandResult::Camera(current(txn, camera)?)),
        false => Ok(CommandResult::Refused(Refusal::NoSuchCamera)),
    }
}

/// The effect of a change on the rows of this transaction, whole or none.
pub(super) fn change(
    txn: &mut Txn<'_>,
    detections: &Detections,
    (id, change): (CommandId, CameraChange),
) -> Result<CommandResult, JournalError> {
    let detection = match detections.get(&change.camera) {
        None => return Ok(CommandResult::Refused(Refusal::NoSuchCamera)),
        Some(None) => return Ok(CommandResult::Refused(Refusal::NothingDetected)),
        Some(Some(detection)) => detection,
    };
    let current = current(txn, &change.camera)?;
    if !change.base.is_camera(&current) {
        return Ok(CommandResult::CameraConflict(current));
    }
    if let Err(error) = detection.with(&change.settings) {
        tracing::warn!(%error, camera = change.camera, "what a phone wants to set cannot be");
        return Ok(CommandResult::Refused(Refusal::OutOfRange));
    }
    // Also if nothing differs: a later change may start from what this command made.
    let doc = CameraDoc {
        camera: change.camera,
        version: current.version + 1,
        made_by: Some(id),
        settings: change.settings,
    };
    let is_there = |name: &str| detections.contains_key(name);
    match txn.put_camera_set(&doc, is_there)? {
        true => Ok(CommandResult::CameraChanged(doc)),
        // There are not that many cameras.
        false => Ok(CommandResult::Refused(Refusal::OutOfRange)),
    }
}

fn current(txn: &Txn<'_>, camera: &str) -> Result<CameraDoc, JournalError> {
    let mut all = txn.cameras_set()?.into_iter();
    let known = all.find(|doc| doc.camera == camera);
    Ok(known.unwrap_or_else(|| CameraDoc::unset(camera)))
}

impl Core {
    /// What the configuration says of each camera. Before this is called there is none to be set.
    pub fn set_detections(&mut self, detections: Detections) {
        self.detections = detections;
    }

    /// What phones have set at the cameras that there are.
    pub(super) fn sets_of(&self, all: Vec<CameraDoc>) -> Vec<CameraSet> {
        let of = |doc: CameraDoc| {
            let detection = self.detections.get(&doc.camera)?.as_ref()?;
            let fits = detection.with(&doc.settings).is_ok();
            Some(CameraSet { doc, fits })
        };
        all.into_iter().filter_map(of).collect()
    }
}
