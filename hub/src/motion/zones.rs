//! Where to look: zones and masks as polygons, and the same as cells of the grid.
//!
//! It must never compute with fractions, and never rasterise twice for one size of picture.
#![deny(clippy::unwrap_used, clippy::expect_used)]

use super::picture::Grid;
use super::regions::Watch;

/// The right and the lower edge of a picture: places are in thousandths of its width and height.
pub const FULL_PERMILLE: u16 = 1000;

/// Fewest and most corners of a polygon.
pub const POLYGON_POINTS: (usize, usize) = (3, 32);

/// Most zones of a camera: a region has one bit for each.
pub const ZONES_MAX: usize = 8;

/// Most masks of a camera.
pub const MASKS_MAX: usize = 16;

/// The longest name of a zone, in bytes.
pub const ZONE_NAME_BYTES_MAX: usize = 64;

/// A place in the picture, in thousandths of its width and height, from the left upper corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// From the left: 0 to [`FULL_PERMILLE`].
    pub x: u16,
    /// From above: 0 to [`FULL_PERMILLE`].
    pub y: u16,
}

/// A closed polygon, its last corner joined to the first. Where it crosses itself, what is inside an
/// even number of times is outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Polygon(Vec<Point>);

/// Why corners are no polygon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PolygonError {
    /// Too few or too many corners.
    #[error("{found} corners; {} to {} are supported", POLYGON_POINTS.0, POLYGON_POINTS.1)]
    Points {
        /// How many there are.
        found: usize,
    },
    /// A corner is outside the picture.
    #[error("the corner {x}, {y} is outside the picture; places are 0 to {FULL_PERMILLE}")]
    Outside {
        /// From the left.
        x: u16,
        /// From above.
        y: u16,
    },
    /// All corners are on one line.
    #[error("all corners are on one line")]
    Flat,
}

impl Polygon {
    /// Checks the corners.
    ///
    /// # Errors
    /// [`PolygonError`].
    pub fn new(points: Vec<Point>) -> Result<Self, PolygonError> {
        let (min, max) = POLYGON_POINTS;
        if !(min..=max).contains(&points.len()) {
            return Err(PolygonError::Points {
                found: points.len(),
            });
        }
        let outside = |point: &&Point| point.x > FULL_PERMILLE || point.y > FULL_PERMILLE;
        if let Some(point) = points.iter().find(outside) {
            return Err(PolygonError::Outside {
                x: point.x,
                y: point.y,
            });
        }
        let is_flat = points.iter().zip(points.iter().skip(1)).all(|(a, b)| {
            // Also where corners come twice or the outline goes to and fro.
            points.iter().all(|c| cross(*a, *b, *c) == 0)
        });
        if is_flat {
            return Err(PolygonError::Flat);
        }
        Ok(Self(points))
    }

    /// The corners.
    pub fn points(&self) -> &[Point] {
        &self.0
    }

    /// Whether the middle of a cell is inside.
    fn has(&self, grid: Grid, row: usize, col: usize) -> bool {
        // Everything times twice the number of columns and rows, so that middles are whole numbers.
        let (across, down) = (2 * grid.cols as i64, 2 * grid.rows as i64);
        let full = i64::from(FULL_PERMILLE);
        let x = (2 * col as i64 + 1) * full;
        let y = (2 * row as i64 + 1) * full;
        let place = |point: Point| (i64::from(point.x) * across, i64::from(point.y) * down);
        let Some(last) = self.0.last() else {
            return false;
        };
        let mut is_inside = false;
        let (mut from_x, mut from_y) = place(*last);
        for point in &self.0 {
            let (to_x, to_y) = place(*point);
            if (from_y > y) != (to_y > y) {
                // From its upper end down, so that it does not matter which way round the corners go.
                let ((upper_x, upper_y), (lower_x, lower_y)) = match from_y < to_y {
                    true => ((from_x, from_y), (to_x, to_y)),
                    false => ((to_x, to_y), (from_x, from_y)),
                };
                // Whether the edge meets the line of y right of x, times its height: no division.
                let right =
                    (upper_x - x) * (lower_y - upper_y) + (y - upper_y) * (lower_x - upper_x);
                is_inside ^= right > 0;
            }
            (from_x, from_y) = (to_x, to_y);
        }
        is_inside
    }
}

/// Twice the area of a triangle, with a sign.
fn cross(a: Point, b: Point, c: Point) -> i64 {
    let side = |from: Point, to: Point| {
        (
            i64::from(to.x) - i64::from(from.x),
            i64::from(to.y) - i64::from(from.y),
        )
    };
    let ((ab_x, ab_y), (ac_x, ac_y)) = (side(a, b), side(a, c));
    ab_x * ac_y - ab_y * ac_x
}

/// A part of the picture that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    /// What the owner calls it: 1 to [`ZONE_NAME_BYTES_MAX`] bytes.
    pub name: String,
    /// Where it is.
    pub polygon: Polygon,
}

/// Zones and masks as cells.
#[derive(Debug)]
pub(super) struct Areas {
    watch: Watch,
    masked: Vec<bool>,
    /// The zones that each cell is in, a bit for each in their order.
    zone_bits: Vec<u8>,
    open_cells: u32,
}

impl Areas {
    /// `zones` are at most [`ZONES_MAX`].
    pub(super) fn new(grid: Grid, zones: &[Zone], masks: &[Polygon]) -> Self {
        let mut masked = Vec::with_capacity(grid.cells());
        let mut zone_bits = Vec::with_capacity(grid.cells());
        for row in 0..grid.rows {
            for col in 0..grid.cols {
                masked.push(masks.iter().any(|mask| mask.has(grid, row, col)));
                let mut bits = 0;
                for (zone, bit) in zones.iter().zip(0..ZONES_MAX as u32) {
                    bits |= u8::from(zone.polygon.has(grid, row, col)) << bit;
                }
                zone_bits.push(bits);
            }
        }
        Self {
            watch: match zones {
                [] => Watch::Everywhere,
                _ => Watch::Zones,
            },
            open_cells: masked.iter().map(|masked| u32::from(!masked)).sum(),
            masked,
            zone_bits,
        }
    }

    /// Makes all masked cells black, so that nothing in them reaches a neighbour.
    pub(super) fn blank_masked(&self, cells: &mut [u8]) {
        for (cell, masked) in cells.iter_mut().zip(&self.masked) {
            if *masked {
                *cell = 0;
            }
        }
    }

    /// Which cells are masked.
    pub(super) fn masked(&self) -> &[bool] {
        &self.masked
    }

    /// How many are not.
    pub(super) fn open_cells(&self) -> u32 {
        self.open_cells
    }

    /// The zones of each cell.
    pub(super) fn zone_bits(&self) -> &[u8] {
        &self.zone_bits
    }

    /// What counts as motion.
    pub(super) fn watch(&self) -> Watch {
        self.watch
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Luma;
    use super::*;

    fn polygon(points: &[(u16, u16)]) -> Result<Polygon, PolygonError> {
        Polygon::new(points.iter().map(|(x, y)| Point { x: *x, y: *y }).collect())
    }

    fn grid() -> Grid {
        let data = [0; 400];
        Grid::of(Luma::new(20, 20, 20, &data).unwrap())
    }

    #[test]
    fn corners_are_checked() {
        let line = [(0, 0), (500, 500), (1000, 1000), (200, 200)];
        let table = [
            (
                polygon(&[(0, 0), (1, 1)]),
                PolygonError::Points { found: 2 },
            ),
            (polygon(&[(1, 2); 33]), PolygonError::Points { found: 33 }),
            (
                polygon(&[(0, 0), (1001, 5), (0, 1000)]),
                PolygonError::Outside { x: 1001, y: 5 },
            ),
            (polygon(&line), PolygonError::Flat),
        ];
        for (found, want) in table {
            assert_eq!(found, Err(want));
        }
    }

    #[test]
    fn a_polygon_has_the_cells_whose_middle_is_inside_whichever_way_round_it_goes() {
        let right_half = [(500, 0), (1000, 0), (1000, 1000), (500, 1000)];
        let triangle = [(0, 0), (1000, 0), (0, 1000)];
        // A bow tie: its middle, where it crosses itself, divides two parts.
        let bow = [(0, 0), (1000, 1000), (1000, 0), (0, 1000)];
        let table: [(&[(u16, u16)], usize); 4] = [
            (&right_half, 200),
            // Middles on the slanted edge are on one side, all of them.
            (&triangle, 190),
            (&[(0, 0), (1000, 0), (1000, 1000), (0, 1000)], 400),
            (&[(0, 0), (10, 0), (10, 10)], 0),
        ];
        let cells = |points: &[(u16, u16)]| {
            let polygon = polygon(points).unwrap();
            let areas = Areas::new(grid(), &[], &[polygon]);
            400 - areas.open_cells() as usize
        };
        for (points, want) in table {
            assert!(cells(points).abs_diff(want) <= 20, "{points:?}");
            let mut other_way: Vec<_> = points.to_vec();
            other_way.reverse();
            assert_eq!(cells(points), cells(&other_way), "{points:?}");
        }
        assert_eq!(cells(&right_half), 200);
        let bow = polygon(&bow).unwrap();
        assert!(bow.has(grid(), 10, 2) && bow.has(grid(), 10, 17));
        assert!(!bow.has(grid(), 2, 10) && !bow.has(grid(), 17, 10));
    }

    #[test]
    fn each_zone_has_its_bit_and_a_mask_goes_before() {
        let half = polygon(&[(0, 0), (500, 0), (500, 1000), (0, 1000)]).unwrap();
        let all = polygon(&[(0, 0), (1000, 0), (1000, 1000), (0, 1000)]).unwrap();
        let zone = |polygon: &Polygon| Zone {
            name: "z".into(),
            polygon: polygon.clone(),
        };
        let masks = std::slice::from_ref(&half);
        let areas = Areas::new(grid(), &[zone(&half), zone(&all)], masks);
        assert_eq!(areas.watch(), Watch::Zones);
        assert_eq!((areas.zone_bits()[0], areas.zone_bits()[19]), (0b11, 0b10));
        assert_eq!(areas.open_cells(), 200);
        let mut cells = [5; 400];
        areas.blank_masked(&mut cells);
        assert_eq!((cells[9], cells[10]), (0, 5));
    }
}
