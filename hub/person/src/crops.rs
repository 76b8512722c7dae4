//! What of a picture the model is shown: squares of the picture's shorter side, and of half of it, each half a square
//! from the next.
//!
//! A person is small in the whole of a picture, and the model sees 96 by 96 pixels. This room is pure, pixels in and
//! pixels out, and never makes a square larger than it was.

/// A side of what the model is shown, in pixels.
pub(crate) const SIDE: usize = 96;

/// What the model is shown, row by row.
pub(crate) type Shrunk = [[u8; SIDE]; SIDE];

/// The shorter side is divided by these.
const PARTS: [usize; 2] = [1, 2];

/// A grey picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grey {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Row by row; as many as width and height say.
    pub(crate) pixels: Vec<u8>,
}

/// A square of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Square {
    x: usize,
    y: usize,
    side: usize,
}

/// All squares that are looked at, the largest first; none of a picture that is smaller than [`SIDE`].
pub(crate) fn of(width: usize, height: usize) -> Vec<Square> {
    let mut squares = Vec::new();
    for part in PARTS {
        let side = width.min(height) / part;
        if side < SIDE {
            break;
        }
        for y in places(height, side) {
            squares.extend(places(width, side).map(|x| Square { x, y, side }));
        }
    }
    squares
}

/// Where squares begin along one side of the picture, the first at its beginning and the last at its end.
fn places(length: usize, side: usize) -> impl Iterator<Item = usize> {
    let room = length - side;
    let steps = room.div_ceil(side / 2);
    (0..=steps).map(move |step| room * step / steps.max(1))
}

/// A square in the model's size: each pixel is the mean of those that it stands for.
pub(crate) fn shrunk(grey: &Grey, square: Square) -> Shrunk {
    let edge = |at: usize| at * square.side / SIDE;
    let mut out = [[0; SIDE]; SIDE];
    for (row, line) in out.iter_mut().enumerate() {
        for (column, pixel) in line.iter_mut().enumerate() {
            let (mut sum, mut count) = (0_usize, 0_usize);
            for y in edge(row)..edge(row + 1) {
                let begin = (square.y + y) * grey.width + square.x;
                let pixels = begin + edge(column)..begin + edge(column + 1);
                for value in grey.pixels.get(pixels).unwrap_or_default() {
                    sum += usize::from(*value);
                    count += 1;
                }
            }
            // A mean of bytes is a byte.
            *pixel = (sum / count.max(1)) as u8;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_stay_within_the_picture_and_leave_nothing_out() {
        for (width, height) in [(640, 360), (360, 640), (640, 480), (96, 96), (97, 96)] {
            let squares = of(width, height);
            let mut seen = vec![false; width * height];
            for square in &squares {
                assert!(square.x + square.side <= width, "{square:?}");
                assert!(square.y + square.side <= height, "{square:?}");
                assert!(square.side >= SIDE, "{square:?}");
            }
            let smallest = squares.last().expect("at least one").side;
            for square in squares.iter().filter(|square| square.side == smallest) {
                for y in square.y..square.y + square.side {
                    seen[y * width + square.x..][..square.side].fill(true);
                }
            }
            assert!(seen.iter().all(|seen| *seen), "{width} by {height}");
        }
    }

    #[test]
    fn squares_are_as_many_as_the_picture_needs() {
        assert_eq!(of(640, 360).len(), 3 + 7 * 3);
        assert_eq!(of(640, 480).len(), 2 + 5 * 3);
        assert_eq!(of(96, 96).len(), 1);
        assert!(of(95, 4000).is_empty());
        assert!(of(0, 0).is_empty());
    }

    #[test]
    fn a_shrunk_square_is_the_mean_of_what_it_covers() {
        let (width, height) = (400, 192);
        // Stripes of 9 and 11 up to 192, bright from there on.
        let of_column = |column: usize| match column {
            0..192 => 9 + 2 * (column % 2) as u8,
            _ => 200,
        };
        let pixels = (0..width * height)
            .map(|at| of_column(at % width))
            .collect();
        let grey = Grey {
            width,
            height,
            pixels,
        };
        let square = |x| Square { x, y: 0, side: 192 };
        let left = shrunk(&grey, square(0));
        assert!(left.iter().flatten().all(|pixel| *pixel == 10));
        let both = shrunk(&grey, square(96));
        assert_eq!((both[50][47], both[50][48]), (10, 200));
    }

    #[test]
    fn a_square_is_taken_from_where_it_lies() {
        let (width, height) = (200, 300);
        let pixels = (0..height)
            .flat_map(|y| vec![(y / 2) as u8; width])
            .collect();
        let grey = Grey {
            width,
            height,
            pixels,
        };
        let bottom = Square {
            x: 100,
            y: 204,
            side: 96,
        };
        let shrunk = shrunk(&grey, bottom);
        assert_eq!((shrunk[0][0], shrunk[95][95]), (102, 149));
    }
}
