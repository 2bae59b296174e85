//! Parts of a picture that are chosen at once: rectangles, lassos, gradients, and what hangs
//! together by its colour.

use super::{
    geometry::{PixelRectangle, Point},
    tiles::TiledImage,
};

/// Sub-scanlines of a row, for the edges of a lasso.
const ROWS_IN_PIXEL: u32 = 4;

/// How much of each pixel of a rectangle is chosen, from 0 to 255; all else is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    area: PixelRectangle,
    coverage: Vec<u8>,
}

impl Selection {
    /// Nothing.
    pub fn none() -> Self {
        Self { area: PixelRectangle::default(), coverage: Vec::new() }
    }

    /// The rectangle between two corners, by how much of each pixel it covers.
    pub fn rectangle(a: Point, b: Point, size: (u32, u32)) -> Self {
        if ![a.x, a.y, b.x, b.y].iter().all(|value| value.is_finite()) {
            return Self::none();
        }
        let covered = |a: f32, b: f32, pixel: u32| {
            let (low, high) = (a.min(b), a.max(b));
            let pixel = pixel as f32;
            ((pixel + 1.0).min(high) - pixel.max(low)).clamp(0.0, 1.0)
        };
        Self::from_fn(PixelRectangle::around(a, b), size, |x, y| {
            (covered(a.x, b.x, x) * covered(a.y, b.y, y) * 255.0).round() as u8
        })
    }

    /// What a closed line goes around (non-zero winding), by how much of each pixel it covers.
    pub fn lasso(points: &[Point], size: (u32, u32)) -> Self {
        let points: Vec<Point> = points
            .iter()
            .copied()
            .filter(|point| point.x.is_finite() && point.y.is_finite())
            .collect();
        let Some(&first) = points.first() else { return Self::none() };
        let corners = points.iter().fold((first, first), |(least, most), point| {
            (
                Point::new(least.x.min(point.x), least.y.min(point.y)),
                Point::new(most.x.max(point.x), most.y.max(point.y)),
            )
        });
        let area = inside(PixelRectangle::around(corners.0, corners.1), size);
        let mut coverage = Vec::with_capacity(area.width() as usize * area.height() as usize);
        let mut row = vec![0.0_f32; area.width() as usize];
        for y in area.top..area.bottom {
            row.fill(0.0);
            for part in 0..ROWS_IN_PIXEL {
                let at = y as f32 + (part as f32 + 0.5) / ROWS_IN_PIXEL as f32;
                for (from, to) in spans(&points, at) {
                    cover(&mut row, from - area.left as f32, to - area.left as f32);
                }
            }
            let whole = ROWS_IN_PIXEL as f32;
            coverage.extend(row.iter().map(|sum| (sum / whole * 255.0).round().min(255.0) as u8));
        }
        Self { area, coverage }
    }

    /// From nothing at `from` to everything at `to` and beyond, in a straight line across the
    /// whole picture.
    pub fn gradient(from: Point, to: Point, size: (u32, u32)) -> Self {
        let along = Point::new(to.x - from.x, to.y - from.y);
        let length_squared = along.x * along.x + along.y * along.y;
        if !length_squared.is_finite() || length_squared <= 0.0 {
            return Self::none();
        }
        let all = PixelRectangle { left: 0, top: 0, right: size.0, bottom: size.1 };
        Self::from_fn(all, size, |x, y| {
            let (x, y) = (x as f32 + 0.5 - from.x, y as f32 + 0.5 - from.y);
            let share = (x * along.x + y * along.y) / length_squared;
            (share.clamp(0.0, 1.0) * 255.0).round() as u8
        })
    }

    /// What hangs together with `start` and differs from its colour by at most `tolerance` in each
    /// of red, green, blue and alpha.
    pub fn wand(picture: &TiledImage<[u8; 4]>, start: (u32, u32), tolerance: u8) -> Self {
        let Some(colour) = picture.get(start.0, start.1) else { return Self::none() };
        contiguous(picture.size(), start, |x, y| {
            picture.get(x, y).is_some_and(|pixel| {
                pixel.iter().zip(colour).all(|(value, other)| value.abs_diff(other) <= tolerance)
            })
        })
    }

    /// What hangs together with `start` and is on the same side of half as it is in a mask: the
    /// inside of an outline, or a spot.
    pub fn region(mask: &TiledImage<u8>, start: (u32, u32)) -> Self {
        let Some(value) = mask.get(start.0, start.1) else { return Self::none() };
        let values = mask.to_vec(0);
        let (width, height) = mask.size();
        contiguous((width, height), start, |x, y| {
            (values[y as usize * width as usize + x as usize] > 127) == (value > 127)
        })
    }

    /// The rectangle that everything chosen lies in.
    pub fn area(&self) -> PixelRectangle {
        self.area
    }

    /// How much of a pixel is chosen, from 0 to 255.
    pub fn coverage(&self, x: u32, y: u32) -> u8 {
        if !self.area.contains(x, y) {
            return 0;
        }
        let row = (y - self.area.top) as usize * self.area.width() as usize;
        self.coverage[row + (x - self.area.left) as usize]
    }

    fn from_fn(
        area: PixelRectangle,
        size: (u32, u32),
        mut coverage: impl FnMut(u32, u32) -> u8,
    ) -> Self {
        let area = inside(area, size);
        Self { area, coverage: area.pixels().map(|(x, y)| coverage(x, y)).collect() }
    }
}

fn inside(area: PixelRectangle, (width, height): (u32, u32)) -> PixelRectangle {
    area.intersection(PixelRectangle { left: 0, top: 0, right: width, bottom: height })
}

/// Where a horizontal line at `y` is inside the polygon.
fn spans(points: &[Point], y: f32) -> Vec<(f32, f32)> {
    let mut crossings: Vec<(f32, i32)> = Vec::new();
    for (index, from) in points.iter().enumerate() {
        let to = points[(index + 1) % points.len()];
        let direction = match (from.y <= y, to.y <= y) {
            (true, false) => 1,
            (false, true) => -1,
            _ => continue,
        };
        crossings.push((from.x + (y - from.y) / (to.y - from.y) * (to.x - from.x), direction));
    }
    crossings.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut spans = Vec::new();
    let mut winding = 0;
    let mut begin = 0.0;
    for (x, direction) in crossings {
        if winding == 0 {
            begin = x;
        }
        winding += direction;
        if winding == 0 {
            spans.push((begin, x));
        }
    }
    spans
}

/// Adds to each pixel of a row how much of it lies between `from` and `to`.
fn cover(row: &mut [f32], from: f32, to: f32) {
    let (from, to) = (from.max(0.0), to.min(row.len() as f32));
    if to <= from {
        return;
    }
    let first = from as usize;
    let last = (to.ceil() as usize).min(row.len());
    for (x, sum) in row.iter_mut().enumerate().take(last).skip(first) {
        *sum += ((x as f32 + 1.0).min(to) - (x as f32).max(from)).max(0.0);
    }
}

/// The pixels that `is_part` accepts and that are reached from `start` over sides.
fn contiguous(
    (width, height): (u32, u32),
    start: (u32, u32),
    is_part: impl Fn(u32, u32) -> bool,
) -> Selection {
    let index = |x: u32, y: u32| y as usize * width as usize + x as usize;
    let mut found = vec![0_u8; width as usize * height as usize];
    let mut extent = PixelRectangle::default();
    let mut open = vec![start];
    while let Some((x, y)) = open.pop() {
        if found[index(x, y)] != 0 || !is_part(x, y) {
            continue;
        }
        let is_free = |x: u32| found[index(x, y)] == 0 && is_part(x, y);
        let left = (0..x).rev().take_while(|&x| is_free(x)).last().unwrap_or(x);
        let right = (x + 1..width).take_while(|&x| is_free(x)).last().unwrap_or(x) + 1;
        found[index(left, y)..index(right - 1, y) + 1].fill(255);
        extent = extent.union(PixelRectangle { left, top: y, right, bottom: y + 1 });
        for row in [y.checked_sub(1), Some(y + 1).filter(|&row| row < height)].into_iter().flatten()
        {
            let mut was_part = false;
            for x in left..right {
                let is_part = found[index(x, row)] == 0 && is_part(x, row);
                if is_part && !was_part {
                    open.push((x, row));
                }
                was_part = is_part;
            }
        }
    }
    Selection::from_fn(extent, (width, height), |x, y| found[index(x, y)])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::RgbaImage;
    use proptest::prelude::*;

    use super::*;

    const SIZE: (u32, u32) = (40, 30);

    fn tiled(picture: &RgbaImage) -> TiledImage<[u8; 4]> {
        let mut tiled = TiledImage::new(picture.width(), picture.height(), [0; 4]);
        tiled.update(tiled.bounds(), |x, y, _| picture.get_pixel(x, y).0);
        tiled
    }

    fn sum(selection: &Selection) -> f32 {
        selection.coverage.iter().map(|&value| f32::from(value) / 255.0).sum()
    }

    #[test]
    fn rectangles_cover_parts_of_pixels() {
        let selection = Selection::rectangle(Point::new(10.5, 20.0), Point::new(4.0, 8.25), SIZE);
        assert_eq!(selection.coverage(4, 8), 191);
        assert_eq!(selection.coverage(10, 9), 128);
        assert_eq!(selection.coverage(5, 9), 255);
        assert_eq!(selection.coverage(11, 9), 0);
        assert!((sum(&selection) - 6.5 * 11.75).abs() < 0.5);
        let beyond = Selection::rectangle(Point::new(-9.0, -9.0), Point::new(999.0, 999.0), SIZE);
        assert_eq!(sum(&beyond), 1200.0);
    }

    #[test]
    fn a_lasso_around_a_triangle_has_its_area() {
        let points = [Point::new(2.0, 2.0), Point::new(38.0, 4.0), Point::new(10.0, 28.0)];
        let selection = Selection::lasso(&points, SIZE);
        let area = ((36.0 * 26.0) - (8.0 * 2.0)) / 2.0;
        assert!((sum(&selection) - area).abs() < 1.0, "{} {area}", sum(&selection));
        assert_eq!(selection.coverage(15, 10), 255);
        assert_eq!(selection.coverage(35, 20), 0);
    }

    #[test]
    fn a_lasso_that_crosses_itself_has_no_hole() {
        let star: Vec<Point> = (0..5)
            .map(|at| {
                let angle = at as f32 * 2.0 * std::f32::consts::TAU / 5.0;
                Point::new(20.0 + 14.0 * angle.sin(), 15.0 - 14.0 * angle.cos())
            })
            .collect();
        assert_eq!(Selection::lasso(&star, SIZE).coverage(20, 15), 255);
        assert_eq!(Selection::lasso(&[], SIZE), Selection::none());
        assert_eq!(sum(&Selection::lasso(&[Point::new(3.0, 3.0)], SIZE)), 0.0);
    }

    #[test]
    fn the_wand_stays_inside_its_colour() {
        let picture = RgbaImage::from_fn(40, 30, |x, y| {
            let is_wall = x == 20 && y != 15;
            let value = if is_wall { 200 } else { 50 + (x % 3) as u8 };
            image::Rgba([value, 50, 50, 255])
        });
        let picture = tiled(&picture);
        let all = Selection::wand(&picture, (0, 0), 2);
        assert_eq!(sum(&all), 1200.0 - 29.0, "through the gap in the wall");
        assert_eq!(all.coverage(20, 0), 0);
        let exact = Selection::wand(&picture, (0, 0), 0);
        assert_eq!(sum(&exact), 30.0, "a column of one colour");
        assert_eq!(Selection::wand(&picture, (40, 0), 255), Selection::none());
    }

    #[test]
    fn a_region_is_the_inside_of_an_outline() {
        let mut mask = TiledImage::new(200, 200, 0_u8);
        let ring = PixelRectangle { left: 50, top: 50, right: 150, bottom: 150 };
        mask.update(ring, |_, _, _| 255);
        let hole = PixelRectangle { left: 60, top: 60, right: 140, bottom: 140 };
        mask.update(hole, |_, _, _| 0);
        let region = Selection::region(&mask, (100, 100));
        assert_eq!((region.area(), sum(&region)), (hole, 6400.0));
        assert_eq!(sum(&Selection::region(&mask, (55, 55))), 3600.0);
    }

    #[test]
    fn gradients_rise_along_their_line() {
        let selection = Selection::gradient(Point::new(10.0, 0.0), Point::new(30.0, 0.0), SIZE);
        assert_eq!(selection.coverage(5, 29), 0);
        assert_eq!(selection.coverage(35, 3), 255);
        assert!((i32::from(selection.coverage(20, 9)) - 134).abs() <= 1);
        let point = Point::new(1.0, 1.0);
        assert_eq!(Selection::gradient(point, point, SIZE), Selection::none());
    }

    proptest! {
        #[test]
        fn the_wand_finds_what_a_slow_search_finds(
            cells in proptest::collection::vec(0_u8..3, 12 * 9),
            start in (0_u32..12, 0_u32..9),
        ) {
            let picture = RgbaImage::from_fn(12, 9, |x, y| {
                image::Rgba([cells[(y * 12 + x) as usize] * 80, 0, 0, 255])
            });
            let colour = *picture.get_pixel(start.0, start.1);
            let mut slow = [false; 12 * 9];
            slow[(start.1 * 12 + start.0) as usize] = true;
            loop {
                let mut grew = false;
                for (x, y, pixel) in picture.enumerate_pixels() {
                    let at = |x: u32, y: u32| slow[(y * 12 + x) as usize];
                    let near = (x > 0 && at(x - 1, y)) || (x < 11 && at(x + 1, y))
                        || (y > 0 && at(x, y - 1)) || (y < 8 && at(x, y + 1));
                    if near && *pixel == colour && !at(x, y) {
                        slow[(y * 12 + x) as usize] = true;
                        grew = true;
                    }
                }
                if !grew { break; }
            }
            let selection = Selection::wand(&tiled(&picture), start, 10);
            for (x, y, _) in picture.enumerate_pixels() {
                prop_assert_eq!(selection.coverage(x, y) == 255, slow[(y * 12 + x) as usize]);
            }
        }

        #[test]
        fn lassos_are_inside_their_points(
            points in proptest::collection::vec((-50.0_f32..90.0, -50.0_f32..90.0), 0..12),
        ) {
            let points: Vec<Point> = points.into_iter().map(|(x, y)| Point::new(x, y)).collect();
            let selection = Selection::lasso(&points, SIZE);
            let area = selection.area();
            prop_assert!(area.right <= 40 && area.bottom <= 30);
            prop_assert_eq!(
                selection.coverage.len(),
                area.width() as usize * area.height() as usize
            );
        }
    }
}
