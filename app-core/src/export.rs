//! Clips out of the journal and into a file.
//!
//! It must never leave a file under the asked name that is not exactly the clip, and leaves none under another that
//! the next export does not take over.

mod part;

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::app::App;
use crate::error::AppError;
use crate::types::{Clip, ClipId, Exported};
use part::Part;

/// Reads a clip's bytes in order, and checks them at the end.
pub struct ClipReader {
    app: App,
    clip: Clip,
    next: u32,
    bytes: u64,
    digest: Sha256,
}

impl std::fmt::Debug for ClipReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClipReader")
            .field("clip", &self.clip.clip)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl ClipReader {
    pub(crate) async fn new(app: App, clip: ClipId) -> Result<Self, AppError> {
        let clip = app.clip(clip).await?;
        if clip.chunks == 0 {
            return Err(AppError::EmptyClip(clip.clip));
        }
        Ok(Self {
            app,
            clip,
            next: 0,
            bytes: 0,
            digest: Sha256::new(),
        })
    }

    /// The clip as it stood when reading began; what arrives later is not read.
    #[must_use]
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// The next bytes; none at the end. Dropping the future loses nothing.
    ///
    /// # Errors
    /// [`AppError::ClipDamaged`], or about the state directory.
    pub async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>, AppError> {
        if self.next == self.clip.chunks {
            return Ok(None);
        }
        let chunk = self.app.chunk(self.clip.clip, self.next).await?;
        self.next += 1;
        self.bytes += chunk.len() as u64;
        self.digest.update(&chunk);
        Ok(Some(chunk))
    }

    /// Compares what was read with what was stored when the clip ended.
    ///
    /// # Errors
    /// [`AppError::HashDiffers`].
    pub fn finish(self) -> Result<Exported, AppError> {
        let sha256: [u8; 32] = self.digest.finalize().into();
        let same = self.next == self.clip.chunks
            && self.bytes == self.clip.bytes
            && self.clip.sha256.is_none_or(|stored| stored == sha256);
        if !same {
            return Err(AppError::HashDiffers {
                clip: self.clip.clip,
            });
        }
        Ok(Exported {
            clip: self.clip.clip,
            state: self.clip.state,
            bytes: self.bytes,
            sha256,
        })
    }
}

fn io_error(target: &Path, error: &std::io::Error) -> AppError {
    let path = target.display().to_string();
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            AppError::Space(format!(
                "{path} cannot be written: the disk is full; free some space, then export again"
            ))
        }
        _ => AppError::Target {
            path,
            reason: error.to_string(),
        },
    }
}

pub(crate) async fn to_file(
    app: &App,
    clip: ClipId,
    target: PathBuf,
    mut progress: impl FnMut(u64, u64),
) -> Result<Exported, AppError> {
    let mut reader = app.read_clip(clip).await?;
    let all = reader.clip().bytes;
    let name = target.clone();
    let mut part = blocking(move || Part::create(&name)).await?;
    let mut done = 0;
    progress(0, all);
    while let Some(chunk) = reader.next_chunk().await? {
        done += chunk.len() as u64;
        let name = target.clone();
        // The part travels with the write, so that dropping this future removes it afterwards.
        part = blocking(move || {
            part.write(&chunk)
                .map_err(|error| io_error(&name, &error))?;
            Ok(part)
        })
        .await?;
        progress(done, all);
    }
    let exported = reader.finish()?;
    blocking(move || part.keep(&target)).await?;
    Ok(exported)
}

/// Runs file work where it may wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_shutdown) => Err(AppError::Interrupted("the runtime shuts down".into())),
    }
}
