//! The pairing code as a PNG file, for a screen that is not a terminal.
//!
//! The file is a secret as long as the code is good: it is for the owner alone (0600), it is never
//! seen half written, and it is removed when the offer ends. This room must never touch a file that
//! it did not make.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use qrcode::{Color, EcLevel, QrCode};

/// No picture can be made where it was wanted: one sentence with what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoPicture(String);

/// Light modules around the code (ISO/IEC 18004 asks for four).
const QUIET_MODULES: usize = 4;
/// Width and height of the picture at least, in pixels: a phone reads it from a screen.
const PIXELS_MIN: usize = 400;

/// Names that are tried for the file before it is whole; the others were left by killed processes.
const NAMES_MAX: u32 = 64;

/// A picture as rows of pixels: true is dark.
struct Picture {
    width: usize,
    rows: Vec<Vec<bool>>,
}

/// The code with its quiet zone, each module a square of equal size; none if it is too long.
fn draw(text: &str) -> Option<Picture> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    let modules = code.width();
    let scale = PIXELS_MIN.div_ceil(modules + 2 * QUIET_MODULES);
    let width = (modules + 2 * QUIET_MODULES) * scale;
    let colors = code.to_colors();
    let is_dark = |x: usize, y: usize| {
        let place = |pixel: usize| (pixel / scale).checked_sub(QUIET_MODULES);
        match (place(x), place(y)) {
            (Some(x), Some(y)) if x < modules && y < modules => {
                colors.get(y * modules + x) == Some(&Color::Dark)
            }
            _ => false,
        }
    };
    let rows = (0..width)
        .map(|y| (0..width).map(|x| is_dark(x, y)).collect())
        .collect();
    Some(Picture { width, rows })
}

/// One bit a pixel, as PNG has it: the first pixel in the highest bit, 1 is light.
fn encode(picture: &Picture) -> Result<Vec<u8>, png::EncodingError> {
    let side = u32::try_from(picture.width).unwrap_or(u32::MAX);
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, side, side);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header()?;
    let byte = |pixels: &[bool]| {
        let bits = pixels.iter().zip((0..8).rev());
        bits.fold(0_u8, |byte, (dark, bit)| byte | (u8::from(!dark) << bit))
    };
    let data: Vec<u8> = picture
        .rows
        .iter()
        .flat_map(|row| row.chunks(8).map(byte))
        .collect();
    writer.write_image_data(&data)?;
    writer.finish()?;
    Ok(out)
}

/// A file that this process made. Open as long as it may be removed, so that no other file can have
/// its number.
struct Made {
    path: PathBuf,
    file: File,
}

impl Made {
    /// An empty file beside `wanted`, for this user alone, under a name that nobody had.
    fn beside(wanted: &Path) -> std::io::Result<Self> {
        let mut failed = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        for number in 0..NAMES_MAX {
            let mut name = wanted.as_os_str().to_owned();
            name.push(format!(".{}-{number}.unfinished", std::process::id()));
            let path = PathBuf::from(name);
            let made = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path);
            match made {
                Ok(file) => return Ok(Self { path, file }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => failed = error,
                Err(error) => return Err(error),
            }
        }
        Err(failed)
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.file.write_all(bytes)?;
        self.file.sync_all()
    }

    /// Gives it another name, if nobody has that: the kernel looks and renames in one step.
    fn rename_to(&mut self, path: &Path) -> std::io::Result<()> {
        let free = rustix::fs::RenameFlags::NOREPLACE;
        rustix::fs::renameat_with(rustix::fs::CWD, &self.path, rustix::fs::CWD, path, free)?;
        self.path = path.to_path_buf();
        Ok(())
    }

    /// Whether its name still means the file that was made.
    fn is_there(&self) -> std::io::Result<bool> {
        let ours = self.file.metadata()?;
        match std::fs::symlink_metadata(&self.path) {
            Ok(found) => Ok((found.dev(), found.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let removed = match self.is_there() {
            Ok(true) => std::fs::remove_file(&self.path),
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            tracing::warn!(%error, path = %self.path.display(), "the picture of a used code could not be removed; remove it");
        }
    }
}

/// Where the picture goes, and the picture while it is there; dropping it removes the file.
pub struct CodeImage {
    path: PathBuf,
    made: Made,
}

impl CodeImage {
    /// Makes sure that the file can be made, before anything is offered.
    ///
    /// # Errors
    /// [`NoPicture`] if there is such a file already, or none can be made there.
    pub fn at(path: &Path) -> Result<Self, NoPicture> {
        let shown = path.display();
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(NoPicture(format!(
                "{shown} exists already; name another file for --png, or remove it"
            )));
        }
        let made = Made::beside(path).map_err(|error| {
            NoPicture(format!(
                "{shown} cannot be written ({error}); name another for --png"
            ))
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            made,
        })
    }

    /// Writes the code's picture: whole, or not at all. The picture of an earlier code goes.
    ///
    /// # Errors
    /// The disk's; if somebody else has made a file of this name meanwhile, which stays as it is;
    /// and if the text is too long for a QR code.
    pub fn show(&mut self, text: &str) -> std::io::Result<()> {
        let too_long = || std::io::Error::other("the code is too long for a QR code");
        let bytes = encode(&draw(text).ok_or_else(too_long)?).map_err(std::io::Error::other)?;
        // The one that was made to see whether it can be done, or shows an earlier code.
        self.made = Made::beside(&self.path)?;
        self.made.write(&bytes)?;
        self.made.rename_to(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use rqrr::BitGrid as _;

    use super::*;

    /// The picture as another program reads it: width, and the grey of each pixel.
    fn read(path: &Path) -> (usize, Vec<u8>) {
        let file = std::io::BufReader::new(File::open(path).unwrap());
        let mut decoder = png::Decoder::new(file);
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut grey = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut grey).unwrap();
        assert_eq!(info.width, info.height);
        (info.width as usize, grey)
    }

    #[test]
    fn the_picture_reads_as_the_text_and_goes_with_the_offer() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("code.png");
        for length in [40, 300, 700] {
            let text = format!("SECLUSO1:{}", "aB3-_".repeat(length / 5));
            let mut image = CodeImage::at(&path).unwrap();
            assert!(!path.exists(), "nothing is shown before there is a code");
            image.show(&text).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            let (width, grey) = read(&path);
            assert!(width >= PIXELS_MIN);
            let mut seen = rqrr::PreparedImage::prepare_from_greyscale(width, width, |x, y| {
                grey[y * width + x]
            });
            let grids = seen.detect_grids();
            assert_eq!(grids.len(), 1);
            assert_eq!(grids[0].decode().unwrap().1, text);
            // Four light modules on each side.
            let modules = grids[0].grid.size();
            let quiet = width / (modules + 2 * QUIET_MODULES) * QUIET_MODULES;
            let first_dark = (0..width).find(|at| grey[at * width + at] < 128).unwrap();
            assert_eq!(first_dark, quiet);
            drop(image);
            assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_never_touched() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("photo.png");
        std::fs::write(&path, b"a photo").unwrap();
        let refused = CodeImage::at(&path).err().unwrap();
        assert!(refused.to_string().contains("exists already"), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"a photo");
        // One that appears after the name was found free.
        std::fs::remove_file(&path).unwrap();
        let mut image = CodeImage::at(&path).unwrap();
        std::fs::write(&path, b"another photo").unwrap();
        let error = image.show("SECLUSO1:x").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AlreadyExists);
        drop(image);
        assert_eq!(std::fs::read(&path).unwrap(), b"another photo");
        // One that takes the picture's place while it is shown.
        std::fs::remove_file(&path).unwrap();
        let mut image = CodeImage::at(&path).unwrap();
        image.show("SECLUSO1:x").unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"a third photo").unwrap();
        drop(image);
        assert_eq!(std::fs::read(&path).unwrap(), b"a third photo");
        // What has the name of an unfinished picture is not therefore ours.
        std::fs::remove_file(&path).unwrap();
        for name in [
            "photo.png.unfinished".into(),
            format!("photo.png.{}-0.unfinished", std::process::id()),
        ] {
            std::fs::write(place.path().join(name), b"somebody's").unwrap();
        }
        let mut image = CodeImage::at(&path).unwrap();
        image.show("SECLUSO1:x").unwrap();
        image.show("SECLUSO1:y").unwrap();
        drop(image);
        let left: Vec<_> = std::fs::read_dir(place.path()).unwrap().collect();
        assert_eq!(left.len(), 2);
        for file in left {
            assert_eq!(std::fs::read(file.unwrap().path()).unwrap(), b"somebody's");
        }
        let nowhere = place.path().join("no such directory/code.png");
        let refused = CodeImage::at(&nowhere).err().unwrap();
        assert!(
            refused.to_string().contains("cannot be written"),
            "{refused}"
        );
    }
}
