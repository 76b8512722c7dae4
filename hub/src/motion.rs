//! Whether something moves in a scene: luma planes in, verdicts out.
//!
//! It must never decode, never read a clock (times are arguments), and never allocate for a picture
//! once it has seen one of that size. The scheme is the one that Frigate documents for its motion
//! detector, written anew:
//!
//! ```text
//! shrink to about 100 rows      picture.rs     so that cost and settings do not depend on the camera
//! masked cells to one value     zones.rs
//! blur 3x3                      background.rs
//! most of the picture changed   here           the light was switched: learn it, report nothing
//! the picture's light           light.rs       the running average is brought into it
//! contrast stretch              contrast.rs    4th to 96th percentile, mean of the last 50 pictures
//! |picture - running average|   background.rs  above a threshold: the cell has changed
//! stands still                  stillness.rs   what has not changed for 2 s is background from then on
//! dilate 3x3, join, measure     regions.rs     what is smaller than the minimum area is nothing
//! 3 of the last 5 pictures      here           only what lasts is motion; fewer where they are far apart
//! ```
//!
//! All arithmetic is on integers, so every machine comes to the same verdict.
//!
//! # Two rules that are not Frigate's
//!
//! **A ghost is no movement.** A running average that was learned while somebody stood there differs from
//! the scene as soon as they have gone, and goes on doing so for most of a minute; the same holds for what
//! was put down. But nothing changes there from one picture to the next. A cell that differs from the
//! background and has stood for [`STILL_AFTER_MS`] is therefore taken over into the background at once, and
//! by itself: somebody may walk in front of it. So what is called motion ends no later than that, and the
//! pictures of persistence, after the last change. Whoever stands as still as a post for so long is
//! background, too, and moves again with the first step.
//!
//! **A gain is no movement.** A camera that multiplies all its pixels changes the bright ones by much and
//! the dark ones by little, which need not be most of the picture, and may do so in steps that are small
//! each. Before they are compared, the background is therefore brought into the light of the picture. A
//! light that does not follow one straight line for half of the cells is the business of the light switch.
//!
//! # What it costs
//!
//! One pass over the pixels to add them up, and some twenty over about 12,000 cells: well below a
//! millisecond for a picture of 768 x 576. Meant for
//! [`PICTURE_INTERVAL_MS`] between two pictures; more of them make it neither better nor wrong, but
//! the background is then learned faster than the figures below say.
//!
//! # What it cannot do
//!
//! It does not know what moves. Who fills most of the picture looks like a switched light until the
//! scene is calm again, for at most [`CALIBRATION_PICTURES_MAX`] pictures. It does not see what changes no cell by
//! half the threshold within two seconds: something that hardly stands out and moves by less than half a cell a
//! second.

mod background;
mod contrast;
mod light;
mod picture;
mod quiet;
mod regions;
mod settings;
mod stillness;
mod zones;

use background::Background;
use contrast::Contrast;
use picture::Shrinker;
pub use picture::{GRID_COLS_MAX, GRID_ROWS_MAX, Grid, Luma, LumaError, SIDE_MAX, SIDE_MIN};
pub use quiet::{MINUTES_A_DAY, MinuteOfDay, QuietHours, QuietHoursError, WallClock};
use regions::RegionFinder;
pub use regions::{REGIONS_MAX, Region};
pub use settings::{
    LIGHT_SWITCH_PERCENT, MIN_AREA_PERMILLE, MotionSettings, MotionSettingsError, MotionValues,
    SENSITIVITY,
};
pub use stillness::STILL_AFTER_MS;
use stillness::Stillness;
use zones::Areas;
pub use zones::{
    FULL_PERMILLE, MASKS_MAX, POLYGON_POINTS, Point, Polygon, PolygonError, ZONE_NAME_BYTES_MAX,
    ZONES_MAX, Zone,
};

/// The time between two pictures that the figures of this room are meant for, in milliseconds.
pub const PICTURE_INTERVAL_MS: u64 = 200;

/// Over how many pictures persistence looks.
pub const PERSISTENCE_WINDOW: u32 = 5;

/// In how many of them something must move.
pub const PERSISTENCE_NEEDED: u32 = 3;

/// From this distance on, in milliseconds, a picture stands for one that was not seen, too: where only
/// key frames are decoded, two of them that show motion are enough.
pub const SPARSE_MS: u64 = 500;

/// From this distance on, in milliseconds, one picture that shows motion is enough. Whoever has stopped between two that are so
/// far apart is background in the second already ([`STILL_AFTER_MS`]), and who only passes is in no more than one. A light
/// that changes is told by its own rules, however far apart pictures are.
pub const RARE_MS: u64 = 3_000;

/// A calibration lasts at least so many pictures, so that one calm picture amid a flicker ends none.
pub const CALIBRATION_PICTURES_MIN: u32 = 3;

/// A calibration ends after so many pictures even if the scene does not calm down: a hub that starts
/// while people walk about must not stay blind.
pub const CALIBRATION_PICTURES_MAX: u32 = 50;

/// A scene is calm when less than this share of it changes, in thousandths.
const CALM_PERMILLE: u32 = 50;

/// And in no more places than this.
const CALM_REGIONS_MAX: usize = 4;

/// The newest picture's weight in the running average is `1 / 2^n`: 1/128, half learned in 18 s.
const LEARN_SHIFT: u32 = 7;

/// The same while calibrating: 1/4, half learned in half a second.
const CALIBRATE_SHIFT: u32 = 2;

/// What a picture says of the scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scene {
    /// The background is being learned, at a start or after the light changed. Says nothing of motion.
    Calibrating,
    /// Nothing moves, or not for long enough.
    Still,
    /// Something of the minimum area moves and has done so in enough of the last pictures.
    Moving,
}

/// The answer to one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The scene, persistence considered.
    pub scene: Scene,
    /// Which share of the cells that are not masked differs from the background, in thousandths: the light
    /// considered, and what stands still included.
    pub changed_permille: u16,
    /// What moves in this picture alone, in a zone if there are zones: largest first, at most
    /// [`REGIONS_MAX`]. Empty while calibrating.
    pub regions: &'a [Region],
}

impl Verdict<'_> {
    /// How much this picture shows: the area of the largest region, in thousandths of the picture. For
    /// choosing the best picture of an event.
    pub fn score(&self) -> u16 {
        self.regions
            .first()
            .map_or(0, |region| region.area_permille)
    }
}

/// Finds motion in the pictures of one camera.
#[derive(Debug)]
pub struct MotionDetector {
    settings: MotionSettings,
    /// All that depends on the size of the pictures; `None` before the first.
    view: Option<View>,
    /// One bit a picture, the newest lowest: whether something moved.
    history: u32,
    /// Pictures of the calibration under way; `None` if there is none.
    calibrating: Option<u32>,
    last_at_ms: Option<u64>,
}

/// The planes of one picture size. Allocated once.
#[derive(Debug)]
struct View {
    size: (usize, usize),
    grid: Grid,
    shrinker: Shrinker,
    areas: Areas,
    contrast: Contrast,
    background: Background,
    stillness: Stillness,
    finder: RegionFinder,
    cells: Vec<u8>,
    changed: Vec<u8>,
    min_cells: u32,
}

impl View {
    fn new(luma: Luma<'_>, settings: &MotionSettings) -> Self {
        let size = (luma.width(), luma.height());
        let grid = Grid::of(luma);
        Self {
            size,
            grid,
            shrinker: Shrinker::new(grid),
            areas: Areas::new(grid, settings.zones(), settings.masks()),
            contrast: Contrast::new(),
            background: Background::new(grid),
            stillness: Stillness::new(grid.cells()),
            finder: RegionFinder::new(grid),
            cells: vec![0; grid.cells()],
            changed: vec![0; grid.cells()],
            min_cells: min_cells(grid, settings),
        }
    }

    /// From the picture to the blurred cells that are compared.
    fn look(&mut self, luma: Luma<'_>) {
        self.shrinker.shrink(luma, &mut self.cells);
        self.areas.blank_masked(&mut self.cells);
        self.contrast.take(&self.cells, self.areas.masked());
        self.background.take(&self.cells);
    }

    /// Marks what differs from the background; answers its share of the cells that are not masked, in
    /// thousandths.
    fn compare(&mut self, threshold: u8) -> u32 {
        let (masked, table) = (self.areas.masked(), self.contrast.table());
        let changed = self
            .background
            .compare((threshold, table), masked, &mut self.changed);
        // Everything masked is a picture in which nothing can change.
        changed * 1000 / self.areas.open_cells().max(1)
    }

    /// The current picture is the background.
    fn prime(&mut self) {
        self.background.prime();
        self.stillness.restart(self.background.picture());
    }

    /// Brings what is known into the light of the picture.
    fn follow_light(&mut self) {
        if let Some(light) = self.background.follow_light(self.areas.masked()) {
            self.stillness.follow_light(light);
        }
    }

    /// Takes what stands still out of what differs: it is background from now on. A step of half the threshold is a
    /// change.
    fn absorb(&mut self, threshold: u8, passed_ms: u64) {
        let step = (threshold / 2, self.contrast.table());
        self.stillness
            .take(self.background.picture(), step, passed_ms);
        self.background.absorb(&self.stillness, &mut self.changed);
    }
}

impl MotionDetector {
    /// A detector that has seen nothing.
    pub fn new(settings: MotionSettings) -> Self {
        Self {
            settings,
            view: None,
            history: 0,
            calibrating: None,
            last_at_ms: None,
        }
    }

    /// Other settings from the next picture on. What is known of the scene stays, unless the masks are others: what
    /// was not looked at is not known.
    pub fn handle_settings(&mut self, settings: MotionSettings) {
        if settings == self.settings {
            return;
        }
        let is_known = settings.masks() == self.settings.masks();
        self.settings = settings;
        match &mut self.view {
            Some(view) if is_known => {
                let settings = &self.settings;
                view.areas = Areas::new(view.grid, settings.zones(), settings.masks());
                view.min_cells = min_cells(view.grid, settings);
            }
            _ => self.restart(),
        }
    }

    /// Forgets the scene: after a gap in the stream nobody knows what changed meanwhile.
    pub fn restart(&mut self) {
        self.view = None;
        self.calibrating = None;
        self.history = 0;
    }

    /// Looks at the next picture, taken at `at_ms` of any clock that does not fall.
    ///
    /// A picture of another size than the one before it begins anew.
    pub fn handle_picture(&mut self, luma: Luma<'_>, at_ms: u64) -> Verdict<'_> {
        let distance_ms = at_ms.saturating_sub(self.last_at_ms.unwrap_or(at_ms));
        self.last_at_ms = Some(at_ms);
        if self
            .view
            .as_ref()
            .is_some_and(|view| view.size != (luma.width(), luma.height()))
        {
            self.restart();
        }
        let settings = &self.settings;
        let view = self.view.get_or_insert_with(|| View::new(luma, settings));
        view.look(luma);
        if !view.background.is_primed() {
            view.prime();
            self.calibrating = Some(0);
            return calibrating(0);
        }
        let threshold = self.settings.threshold();
        let permille = view.compare(threshold);
        if permille > u32::from(self.settings.light_switch_percent()) * 10 {
            view.contrast.restart();
            view.background.forget();
            self.history = 0;
            return calibrating(permille);
        }
        view.follow_light();
        let permille = view.compare(threshold);
        view.absorb(threshold, distance_ms);
        view.background
            .dilate(&mut view.changed, view.areas.masked());
        let total = view.finder.find(
            &mut view.changed,
            view.areas.zone_bits(),
            view.min_cells,
            view.areas.watch(),
        );
        if let Some(pictures) = self.calibrating {
            view.background.learn(CALIBRATE_SHIFT);
            let pictures = pictures + 1;
            let is_calm = permille < CALM_PERMILLE && total <= CALM_REGIONS_MAX;
            let is_over = pictures >= CALIBRATION_PICTURES_MAX
                || is_calm && pictures >= CALIBRATION_PICTURES_MIN;
            self.calibrating = (!is_over).then_some(pictures);
            return calibrating(permille);
        }
        let moves = !view.finder.found().is_empty();
        // Also where something moves: a tree in the wind is learned in the end.
        view.background.learn(LEARN_SHIFT);
        let stands_for = if distance_ms >= RARE_MS {
            PERSISTENCE_NEEDED
        } else if distance_ms >= SPARSE_MS {
            2
        } else {
            1
        };
        for _ in 0..stands_for {
            self.history = (self.history << 1 | u32::from(moves)) & ((1 << PERSISTENCE_WINDOW) - 1);
        }
        let scene = match self.history.count_ones() >= PERSISTENCE_NEEDED {
            true => Scene::Moving,
            false => Scene::Still,
        };
        Verdict {
            scene,
            changed_permille: share(permille),
            regions: view.finder.found(),
        }
    }
}

/// The smallest thing that counts, in cells.
fn min_cells(grid: Grid, settings: &MotionSettings) -> u32 {
    (grid.cells() as u32 * u32::from(settings.min_area_permille()) / 1000).max(1)
}

/// A verdict without a word about motion.
fn calibrating(permille: u32) -> Verdict<'static> {
    Verdict {
        scene: Scene::Calibrating,
        changed_permille: share(permille),
        regions: &[],
    }
}

fn share(permille: u32) -> u16 {
    u16::try_from(permille.min(1000)).unwrap_or(1000)
}

#[cfg(test)]
mod tests;
