//! The pairing code for eyes: a QR code of half blocks on a terminal, the same as text, and a picture in a file.
//!
//! A hub shows its own code with this, and an app the one that it passes on. It knows nothing of what the text says,
//! and must never write it anywhere but where it was told to.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)
)]

mod image;

pub use image::{CodeImage, NoPicture};

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// The code as lines of half blocks, dark on light; `None` if the text is too long for a QR code.
pub fn terminal_qr(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    // Inverted, because most terminals are dark: light modules are drawn.
    let drawn = code
        .render::<Dense1x2>()
        .dark_color(Dense1x2::Dark)
        .light_color(Dense1x2::Light)
        .quiet_zone(true)
        .build();
    Some(drawn)
}

/// What a person is shown.
pub fn show(text: &str) -> String {
    let qr = terminal_qr(text).unwrap_or_else(|| "(the code is too long for a QR code)".into());
    format!(
        "{qr}\n\nScan this with the phone, or give it this text:\n\n{text}\n\nWhoever reads it can pair: show it to nobody else."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_the_usual_length_fits() {
        let text = format!("SECLUSO1:{}", "A".repeat(700));
        let drawn = terminal_qr(&text).unwrap();
        assert!(drawn.lines().count() > 20);
        assert!(show(&text).contains(&text));
        assert!(terminal_qr(&"A".repeat(8000)).is_none());
    }
}
