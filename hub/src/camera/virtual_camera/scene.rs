//! What the virtual camera shows: a still background, somebody who crosses it now and then, and the
//! time, for people and for programs. Pure: pixels of numbers.
//!
//! ```text
//! +--------------------------------+
//! | ##_#__#   time as 48 cells     |  first sixteenth of the height: read back by read_time
//! | 12:34:56.789                   |  down to an eighth: for people, UTC
//! |        ..                      |
//! |        ##  ->                  |  crosses within WALK of every CYCLE
//! +--------------------------------+
//! ```
//!
//! It must never draw outside its canvas, however small that is.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::time::Duration;

/// How often somebody crosses the scene, if nothing else is said.
pub const CYCLE: Duration = Duration::from_secs(30);
/// How long that takes; the rest of the time nothing moves but the clock.
pub const WALK: Duration = Duration::from_secs(10);
/// The part of the height, from above, that the clock takes: a mask for a motion detector.
pub const CLOCK_PART: usize = 8;
/// Bits of the time that a picture holds: milliseconds since 1970 until the year 10889.
const TIME_BITS: usize = 48;

const BLACK: u8 = 16;
const WHITE: u8 = 235;
const GREY: u8 = 128;

/// A picture in planes of luma and colour (4:2:0).
#[derive(Debug, Clone)]
pub struct Canvas {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    blue: Vec<u8>,
    red: Vec<u8>,
}

impl Canvas {
    /// A grey one; an odd side loses its last pixel.
    pub fn new(width: usize, height: usize) -> Self {
        let (width, height) = (width & !1, height & !1);
        let colours = width / 2 * (height / 2);
        Self {
            width,
            height,
            luma: vec![GREY; width * height],
            blue: vec![GREY; colours],
            red: vec![GREY; colours],
        }
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Luma, and the two colours at half the size.
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.luma, &self.blue, &self.red)
    }

    fn fill(&mut self, x: usize, y: usize, width: usize, height: usize, value: u8) {
        let right = (x + width).min(self.width);
        for row in y..(y + height).min(self.height) {
            let start = row * self.width;
            if let Some(pixels) = self.luma.get_mut(start + x.min(right)..start + right) {
                pixels.fill(value);
            }
        }
    }
}

/// What is to be seen at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scene {
    /// How far the walk is, in thousandths; `None` while nobody is there.
    walked: Option<u32>,
    unix_ms: u64,
}

impl Scene {
    /// The scene when it has lasted `passed` and the wall clock says `unix_ms`.
    pub fn at(passed: Duration, unix_ms: u64) -> Self {
        Self::of_cycle(CYCLE, passed, unix_ms)
    }

    /// The same where somebody comes once in every `cycle`. In one that is no longer than [`WALK`] somebody is
    /// always there.
    pub fn of_cycle(cycle: Duration, passed: Duration, unix_ms: u64) -> Self {
        let in_cycle = passed.as_millis() % cycle.as_millis().max(1);
        // Nobody is there at first, so that a detector can see the background.
        let begin = cycle.saturating_sub(WALK).as_millis();
        let walked = in_cycle
            .checked_sub(begin)
            .and_then(|since| u32::try_from(since * 1000 / WALK.as_millis()).ok());
        Self { walked, unix_ms }
    }

    /// Whether somebody is in the picture.
    pub fn has_somebody(&self) -> bool {
        self.walked.is_some()
    }

    /// Draws it.
    pub fn draw(&self, canvas: &mut Canvas) {
        let (width, height) = (canvas.width, canvas.height);
        let clock_height = height / CLOCK_PART;
        // Wall and floor.
        canvas.fill(0, 0, width, height * 2 / 3, 150);
        canvas.fill(0, height * 2 / 3, width, height, 90);
        canvas.fill(width / 8, height / 3, width / 6, height / 3, 110);
        if let Some(walked) = self.walked {
            let (body_width, body_height) = (width / 12, height * 2 / 5);
            let way = width.saturating_sub(body_width);
            let x = way * walked as usize / 1000;
            let y = height * 9 / 20;
            canvas.fill(x, y, body_width, body_height, 40);
            let head = body_width / 2;
            canvas.fill(x + head / 2, y.saturating_sub(head), head, head, 200);
        }
        canvas.fill(0, 0, width, clock_height, BLACK);
        self.draw_cells(canvas, clock_height / 2);
        self.draw_text(canvas, clock_height / 2, clock_height / 2);
    }

    fn draw_cells(&self, canvas: &mut Canvas, height: usize) {
        let cell = canvas.width / TIME_BITS;
        for bit in 0..TIME_BITS {
            if (self.unix_ms >> (TIME_BITS - 1 - bit)) & 1 == 1 {
                canvas.fill(bit * cell, 0, cell, height, WHITE);
            }
        }
    }

    fn draw_text(&self, canvas: &mut Canvas, y: usize, height: usize) {
        // A letter is five rows high and has one empty row above and below.
        let dot = (height / 7).max(1);
        for (number, letter) in clock_text(self.unix_ms).bytes().enumerate() {
            let x = dot * (1 + 4 * number);
            for (row, bits) in glyph(letter).into_iter().enumerate() {
                for column in 0..3 {
                    if (bits >> (2 - column)) & 1 == 1 {
                        canvas.fill(x + column * dot, y + (row + 1) * dot, dot, dot, WHITE);
                    }
                }
            }
        }
    }
}

/// Hours, minutes, seconds and milliseconds of the day, UTC.
fn clock_text(unix_ms: u64) -> String {
    let (seconds, millis) = (unix_ms / 1000, unix_ms % 1000);
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}.{millis:03}", seconds % 60)
}

/// Five rows of three dots.
fn glyph(letter: u8) -> [u8; 5] {
    match letter {
        b'0' => [7, 5, 5, 5, 7],
        b'1' => [2, 6, 2, 2, 7],
        b'2' => [7, 1, 7, 4, 7],
        b'3' => [7, 1, 7, 1, 7],
        b'4' => [5, 5, 7, 1, 1],
        b'5' => [7, 4, 7, 1, 7],
        b'6' => [7, 4, 7, 5, 7],
        b'7' => [7, 1, 1, 2, 2],
        b'8' => [7, 5, 7, 5, 7],
        b'9' => [7, 5, 7, 1, 7],
        b':' => [0, 2, 0, 2, 0],
        b'.' => [0, 0, 0, 0, 2],
        _ => [0; 5],
    }
}

/// Reads the time back from a picture's luma: milliseconds since 1970. `None` if the picture is too
/// small or a cell is neither dark nor light.
pub fn read_time(luma: &[u8], width: usize, height: usize, stride: usize) -> Option<u64> {
    let cell = width / TIME_BITS;
    let row = height / CLOCK_PART / 4;
    if cell == 0 {
        return None;
    }
    let mut unix_ms = 0;
    for bit in 0..TIME_BITS {
        let at = row.checked_mul(stride)? + bit * cell + cell / 2;
        let bit = match *luma.get(at)? {
            0..=90 => 0,
            160..=255 => 1,
            _ => return None,
        };
        unix_ms = (unix_ms << 1) | bit;
    }
    Some(unix_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIX_MS: u64 = 1_700_000_123_456;

    #[test]
    fn the_time_is_read_back_from_the_picture() {
        for (width, height) in [(160, 160), (640, 360), (1920, 1080)] {
            let mut canvas = Canvas::new(width, height);
            Scene::at(Duration::ZERO, UNIX_MS).draw(&mut canvas);
            let (luma, _, _) = canvas.planes();
            assert_eq!(read_time(luma, width, height, width), Some(UNIX_MS));
        }
        assert_eq!(read_time(&[GREY; 640 * 360], 640, 360, 640), None);
        assert_eq!(read_time(&[], 640, 360, 640), None);
        assert_eq!(read_time(&[], 2, 2, 2), None);
    }

    #[test]
    fn people_read_the_same_time() {
        assert_eq!(clock_text(UNIX_MS), "22:15:23.456");
    }

    #[test]
    fn somebody_crosses_once_a_cycle_and_nothing_else_moves() {
        let below_clock = |second: u64| {
            let mut canvas = Canvas::new(640, 360);
            Scene::at(Duration::from_secs(second), UNIX_MS).draw(&mut canvas);
            canvas.luma[640 * (360 / CLOCK_PART)..].to_vec()
        };
        assert_eq!(below_clock(0), below_clock(19));
        assert_ne!(below_clock(19), below_clock(21));
        assert_ne!(below_clock(21), below_clock(25));
        assert_eq!(below_clock(0), below_clock(30));
        let somebody = (0..60)
            .filter(|second| Scene::at(Duration::from_secs(*second), UNIX_MS).has_somebody());
        assert_eq!(somebody.count(), 20);
    }

    #[test]
    fn somebody_comes_as_often_as_is_wished() {
        let has_somebody = |seconds: u64, cycle: u64| {
            let (cycle, passed) = (Duration::from_secs(cycle), Duration::from_secs(seconds));
            Scene::of_cycle(cycle, passed, UNIX_MS).has_somebody()
        };
        let seen: Vec<u64> = (0..28).filter(|second| has_somebody(*second, 14)).collect();
        let expected: Vec<u64> = (4..14).chain(18..28).collect();
        assert_eq!(seen, expected);
        assert!(has_somebody(0, 0) && has_somebody(3, 10));
    }

    #[test]
    fn no_canvas_is_too_small() {
        for side in 0..40 {
            let mut canvas = Canvas::new(side, 40 - side);
            for second in 0..30 {
                Scene::at(Duration::from_secs(second), u64::MAX).draw(&mut canvas);
            }
        }
    }
}
