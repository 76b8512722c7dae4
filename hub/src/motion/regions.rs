//! Connected components: which changed cells belong together, how large that is, and where.
//!
//! It must never allocate after [`RegionFinder::new`], and never look at more cells than there are: a
//! cell leaves the plane when it is met.
#![deny(clippy::unwrap_used, clippy::expect_used)]

use super::picture::Grid;
use super::zones::{FULL_PERMILLE, ZONES_MAX};

/// Most regions that a verdict names; of more, the largest.
pub const REGIONS_MAX: usize = 16;

/// Something that moves. Places and sizes in thousandths of the picture's width and height, from the
/// left upper corner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Left edge.
    pub left: u16,
    /// Upper edge.
    pub top: u16,
    /// Right edge, behind the region.
    pub right: u16,
    /// Lower edge, behind the region.
    pub bottom: u16,
    /// Its cells, not its box, in thousandths of the picture's area.
    pub area_permille: u16,
    /// The zones in which it has the minimum area, a bit for each in their order.
    pub zones: u8,
}

/// Which regions count as motion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Watch {
    /// All: there are no zones.
    Everywhere,
    /// Those that are in a zone.
    Zones,
}

#[derive(Debug)]
pub(super) struct RegionFinder {
    grid: Grid,
    /// Cells that were met and whose neighbours were not yet looked at.
    open: Vec<u32>,
    found: Vec<Region>,
}

/// What is known of a region while it is followed.
struct Extent {
    cells: u32,
    left: usize,
    right: usize,
    top: usize,
    bottom: usize,
    in_zone: [u32; ZONES_MAX],
}

impl RegionFinder {
    pub(super) fn new(grid: Grid) -> Self {
        Self {
            grid,
            // Each cell is pushed once.
            open: Vec::with_capacity(grid.cells()),
            found: Vec::with_capacity(REGIONS_MAX),
        }
    }

    /// What counted the last time, largest first.
    pub(super) fn found(&self) -> &[Region] {
        &self.found
    }

    /// Finds the regions of at least `min_cells` cells, eight neighbours to a cell, and clears `changed`.
    /// Answers how many there are, in a zone or not.
    pub(super) fn find(
        &mut self,
        changed: &mut [u8],
        zone_bits: &[u8],
        min_cells: u32,
        watch: Watch,
    ) -> usize {
        self.found.clear();
        let mut total = 0;
        for start in 0..changed.len() {
            if changed[start] == 0 {
                continue;
            }
            let extent = self.follow(start, changed, zone_bits);
            if extent.cells < min_cells {
                continue;
            }
            total += 1;
            let region = self.region(&extent, min_cells);
            if watch == Watch::Everywhere || region.zones != 0 {
                self.keep(region);
            }
        }
        total
    }

    /// Follows a region from its first cell through all its neighbours.
    fn follow(&mut self, start: usize, changed: &mut [u8], zone_bits: &[u8]) -> Extent {
        let Grid { cols, rows, .. } = self.grid;
        let mut extent = Extent {
            cells: 0,
            left: cols,
            right: 0,
            top: rows,
            bottom: 0,
            in_zone: [0; ZONES_MAX],
        };
        changed[start] = 0;
        self.open.push(start as u32);
        while let Some(cell) = self.open.pop() {
            let cell = cell as usize;
            let (row, col) = (cell / cols, cell % cols);
            extent.take(row, col, zone_bits[cell]);
            for row in row.saturating_sub(1)..=(row + 1).min(rows - 1) {
                for col in col.saturating_sub(1)..=(col + 1).min(cols - 1) {
                    let next = row * cols + col;
                    if changed[next] != 0 {
                        changed[next] = 0;
                        self.open.push(next as u32);
                    }
                }
            }
        }
        extent
    }

    fn region(&self, extent: &Extent, min_cells: u32) -> Region {
        let Grid { cols, rows, .. } = self.grid;
        let full = usize::from(FULL_PERMILLE);
        let part = |at: usize, of: usize| (at * full / of) as u16;
        let mut zones = 0;
        for (zone, cells) in extent.in_zone.iter().enumerate() {
            zones |= u8::from(*cells >= min_cells) << zone;
        }
        Region {
            left: part(extent.left, cols),
            top: part(extent.top, rows),
            right: part(extent.right + 1, cols),
            bottom: part(extent.bottom + 1, rows),
            area_permille: part(extent.cells as usize, self.grid.cells()),
            zones,
        }
    }

    /// Keeps the largest, in order.
    fn keep(&mut self, region: Region) {
        let at = self
            .found
            .partition_point(|other| other.area_permille >= region.area_permille);
        if at == REGIONS_MAX {
            return;
        }
        self.found.truncate(REGIONS_MAX - 1);
        self.found.insert(at, region);
    }
}

impl Extent {
    fn take(&mut self, row: usize, col: usize, zone_bits: u8) {
        self.cells += 1;
        self.left = self.left.min(col);
        self.right = self.right.max(col);
        self.top = self.top.min(row);
        self.bottom = self.bottom.max(row);
        if zone_bits != 0 {
            for (zone, cells) in self.in_zone.iter_mut().enumerate() {
                *cells += u32::from(zone_bits >> zone & 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::picture::Luma;
    use super::*;

    fn finder() -> RegionFinder {
        let data = [0; 400];
        RegionFinder::new(Grid::of(Luma::new(20, 20, 20, &data).unwrap()))
    }

    fn block(plane: &mut [u8], left: usize, top: usize, width: usize, height: usize) {
        for row in top..top + height {
            plane[row * 20 + left..][..width].fill(1);
        }
    }

    #[test]
    fn what_touches_at_a_corner_is_one_region_and_the_rest_are_others() {
        let mut plane = [0; 400];
        block(&mut plane, 0, 0, 2, 2);
        block(&mut plane, 2, 2, 3, 1);
        block(&mut plane, 18, 10, 2, 10);
        block(&mut plane, 10, 10, 1, 1);
        let mut finder = finder();
        let total = finder.find(&mut plane, &[0; 400], 2, Watch::Everywhere);
        assert_eq!(total, 2);
        let want = [
            Region {
                left: 900,
                top: 500,
                right: 1000,
                bottom: 1000,
                area_permille: 50,
                zones: 0,
            },
            Region {
                left: 0,
                top: 0,
                right: 250,
                bottom: 150,
                area_permille: 17,
                zones: 0,
            },
        ];
        assert_eq!(finder.found(), want);
        assert_eq!(plane, [0; 400]);
    }

    #[test]
    fn the_edges_of_the_picture_are_no_neighbours_of_each_other() {
        let mut plane = [0; 400];
        block(&mut plane, 19, 3, 1, 1);
        block(&mut plane, 0, 4, 1, 1);
        assert_eq!(
            finder().find(&mut plane, &[0; 400], 1, Watch::Everywhere),
            2
        );
    }

    #[test]
    fn with_zones_only_what_has_the_minimum_area_inside_one_counts() {
        let mut bits = [0; 400];
        block(&mut bits, 0, 0, 10, 20);
        let mut plane = [0; 400];
        // Three of nine cells are in the zone.
        block(&mut plane, 9, 5, 3, 3);
        let mut finder = finder();
        let copy = plane;
        assert_eq!(finder.find(&mut plane, &bits, 4, Watch::Zones), 1);
        assert!(finder.found().is_empty());
        plane = copy;
        assert_eq!(finder.find(&mut plane, &bits, 3, Watch::Zones), 1);
        assert_eq!(finder.found()[0].zones, 1);
    }

    #[test]
    fn of_many_regions_the_largest_are_kept_in_order() {
        let mut plane = [0; 400];
        for row in 0..10 {
            for col in 0..4 {
                // Sizes of one to four cells.
                block(&mut plane, col * 5, row * 2, col + 1, 1);
            }
        }
        let mut finder = finder();
        assert_eq!(finder.find(&mut plane, &[0; 400], 1, Watch::Everywhere), 40);
        let areas: Vec<_> = finder.found().iter().map(|r| r.area_permille).collect();
        let mut want = vec![10; 10];
        want.extend([7; 6]);
        assert_eq!(areas, want);
    }

    #[test]
    fn a_full_plane_is_one_region_and_needs_no_more_room_than_it_has() {
        let mut finder = finder();
        let room = finder.open.capacity();
        assert_eq!(
            finder.find(&mut [1; 400], &[0; 400], 1, Watch::Everywhere),
            1
        );
        assert_eq!(finder.found()[0].area_permille, 1000);
        assert_eq!(finder.open.capacity(), room);
    }
}
