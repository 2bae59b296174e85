//! Edges of a picture, as OpenCV's `Canny` finds them.

use image::RgbImage;

/// tan(22.5°) in fixed point of 15 bits.
const TAN_22: i64 = 13_573;

/// Bits of fixed-point numbers.
const SHIFT: u32 = 15;

/// What became of a pixel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    No,
    /// An edge where it is connected with a sure one.
    Maybe,
    Sure,
}

/// Differences to both sides of a pixel in the channel where they are largest.
#[derive(Debug, Clone, Copy, Default)]
struct Gradient {
    x: i32,
    y: i32,
    magnitude: i32,
}

/// Finds edges (Canny 1986) as OpenCV's `Canny` with an aperture of 3 and L1 norms does for pictures
/// with colours (`modules/imgproc/src/canny.cpp`): white where an edge is, else black. Edges begin
/// where the sum of the differences in both directions is above `high`, and go on above `low`.
pub fn canny(image: &RgbImage, low: f64, high: f64) -> RgbImage {
    let (width, height) = image.dimensions();
    let (low, high) = (low.min(high).floor() as i32, low.max(high).floor() as i32);
    let gradients: Vec<Gradient> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| gradient(image, x, y))
        .collect();
    let field = Field { gradients: &gradients, width: i64::from(width), height: i64::from(height) };

    let mut edges = vec![Edge::No; gradients.len()];
    let mut sure = Vec::new();
    for (index, edge) in edges.iter_mut().enumerate() {
        let magnitude = gradients[index].magnitude;
        if magnitude > low && field.is_ridge(index) {
            if magnitude > high {
                *edge = Edge::Sure;
                sure.push(index);
            } else {
                *edge = Edge::Maybe;
            }
        }
    }
    while let Some(index) = sure.pop() {
        for neighbour in field.neighbours(index) {
            if edges[neighbour] == Edge::Maybe {
                edges[neighbour] = Edge::Sure;
                sure.push(neighbour);
            }
        }
    }
    RgbImage::from_fn(width, height, |x, y| {
        let edge = edges[(y * width + x) as usize];
        image::Rgb([if edge == Edge::Sure { u8::MAX } else { 0 }; 3])
    })
}

/// Sobel's differences; outside of the picture its edge goes on.
fn gradient(image: &RgbImage, x: u32, y: u32) -> Gradient {
    let columns = [x.saturating_sub(1), x, (x + 1).min(image.width() - 1)];
    let rows = [y.saturating_sub(1), y, (y + 1).min(image.height() - 1)];
    let mut strongest = Gradient::default();
    for channel in 0..3 {
        let at = |column: usize, row: usize| {
            i32::from(image.get_pixel(columns[column], rows[row]).0[channel])
        };
        let right = at(2, 0) + 2 * at(2, 1) + at(2, 2);
        let left = at(0, 0) + 2 * at(0, 1) + at(0, 2);
        let below = at(0, 2) + 2 * at(1, 2) + at(2, 2);
        let above = at(0, 0) + 2 * at(1, 0) + at(2, 0);
        let (x, y) = (right - left, below - above);
        let magnitude = x.abs() + y.abs();
        if channel == 0 || magnitude > strongest.magnitude {
            strongest = Gradient { x, y, magnitude };
        }
    }
    strongest
}

struct Field<'a> {
    gradients: &'a [Gradient],
    width: i64,
    height: i64,
}

impl Field<'_> {
    fn index(&self, index: usize, x: i64, y: i64) -> Option<usize> {
        let column = index as i64 % self.width + x;
        let row = index as i64 / self.width + y;
        let inside = (0..self.width).contains(&column) && (0..self.height).contains(&row);
        inside.then_some((row * self.width + column) as usize)
    }

    fn magnitude(&self, index: usize, x: i64, y: i64) -> i32 {
        self.index(index, x, y).map_or(0, |index| self.gradients[index].magnitude)
    }

    fn neighbours(&self, index: usize) -> impl Iterator<Item = usize> + '_ {
        (-1..=1)
            .flat_map(|y| (-1..=1).map(move |x| (x, y)))
            .filter_map(move |(x, y)| self.index(index, x, y))
    }

    /// Whether the differences are not larger next to the pixel, across the edge. Of two that are
    /// equal the first counts.
    fn is_ridge(&self, index: usize) -> bool {
        let Gradient { x, y, magnitude } = self.gradients[index];
        let across = i64::from(x.abs());
        let along = i64::from(y.abs()) << SHIFT;
        let tan_22 = across * TAN_22;
        if along < tan_22 {
            return magnitude > self.magnitude(index, -1, 0)
                && magnitude >= self.magnitude(index, 1, 0);
        }
        let tan_67 = tan_22 + (across << (SHIFT + 1));
        if along > tan_67 {
            return magnitude > self.magnitude(index, 0, -1)
                && magnitude >= self.magnitude(index, 0, 1);
        }
        let side = if (x ^ y) < 0 { -1 } else { 1 };
        magnitude > self.magnitude(index, -side, -1) && magnitude > self.magnitude(index, side, 1)
    }
}
