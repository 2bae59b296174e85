//! Strokes: what a brush covers on its way.

use super::{
    geometry::{PixelRectangle, Point},
    tiles::TiledImage,
};

/// The smallest and the largest diameter of a brush in pixels.
pub const BRUSH_SIZES: std::ops::RangeInclusive<f32> = 1.0..=1024.0;

/// A round brush.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// Diameter in pixels, in [`BRUSH_SIZES`].
    pub size: f32,
    /// From 0, which fades from the middle on, to 1 with an edge of one pixel.
    pub hardness: f32,
}

/// Pixels to drag upwards for the whole range of hardness.
const HARDNESS_DRAG: f32 = 200.0;

impl Brush {
    /// The brush after a drag by pixels: to the right it is larger, upwards harder.
    #[must_use]
    pub fn dragged(self, by: Point) -> Self {
        let (least, most) = (*BRUSH_SIZES.start(), *BRUSH_SIZES.end());
        Self {
            size: (self.size + 2.0 * by.x).clamp(least, most).round(),
            hardness: (self.hardness - by.y / HARDNESS_DRAG).clamp(0.0, 1.0),
        }
    }
}

impl Default for Brush {
    fn default() -> Self {
        Self { size: 48.0, hardness: 0.8 }
    }
}

/// Where a brush was, and how hard it was pressed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StrokePoint {
    /// The middle of the brush.
    pub at: Point,
    /// From 0 to 1, the share of the brush's size; 1 for devices that know no pressure.
    pub pressure: f32,
}

impl StrokePoint {
    /// A point with full pressure.
    pub fn new(x: f32, y: f32) -> Self {
        Self { at: Point::new(x, y), pressure: 1.0 }
    }
}

/// The way of a brush between two points: the union of all its positions on the way, so that fast
/// movements leave no gaps and slow ones do not build up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    from: Point,
    to: Point,
    along: Point,
    length_squared: f32,
    radii: (f32, f32),
    hardness: f32,
    /// Whether what is behind its beginning is covered already, by the segment that ended there.
    goes_on: bool,
}

/// Pixels from the first to before the second one.
type Columns = (u32, u32);

impl Segment {
    pub(super) fn new(brush: Brush, from: StrokePoint, to: StrokePoint) -> Self {
        let size = brush.size.clamp(*BRUSH_SIZES.start(), *BRUSH_SIZES.end());
        let radius = |point: StrokePoint| (size / 2.0 * point.pressure.clamp(0.0, 1.0)).max(0.5);
        let along = Point::new(to.at.x - from.at.x, to.at.y - from.at.y);
        Self {
            from: from.at,
            to: to.at,
            along,
            length_squared: along.x * along.x + along.y * along.y,
            radii: (radius(from), radius(to)),
            hardness: brush.hardness.clamp(0.0, 1.0),
            goes_on: false,
        }
    }

    /// The segment from where this one ends.
    fn next(&self, brush: Brush, to: StrokePoint) -> Self {
        let mut next = Self::new(brush, StrokePoint { at: self.to, ..to }, to);
        next.radii.0 = self.radii.1;
        // Where the pressure changes, a disc at the end may reach beyond what led there.
        next.goes_on = self.radii.0 == self.radii.1;
        next
    }

    /// The pixels that may be covered.
    pub(super) fn bounds(&self) -> PixelRectangle {
        let reach = self.radii.0.max(self.radii.1) + 1.0;
        let (from, to) = (self.from, self.to);
        let least = Point::new(from.x.min(to.x) - reach, from.y.min(to.y) - reach);
        let most = Point::new(from.x.max(to.x) + reach, from.y.max(to.y) + reach);
        if most.x <= 0.0 || most.y <= 0.0 {
            return PixelRectangle::default();
        }
        PixelRectangle::around(least, most)
    }

    /// The pixels of row `y` that may be covered, less those that the segment before has covered.
    fn columns(&self, y: u32) -> Columns {
        let (first, end) = self.interval(y, self.radii.0.max(self.radii.1) + 0.5);
        let (mut first, mut end) = (first - 1.0, end + 1.0);
        if self.goes_on {
            // Only what is ahead of the beginning: x · along.x + y · along.y > 0.
            let y = y as f32 + 0.5 - self.from.y;
            let border = self.from.x - y * self.along.y / self.along.x;
            match self.along.x {
                right if right > 0.0 => first = first.max(border - 1.0),
                left if left < 0.0 => end = end.min(border + 1.0),
                _ if y * self.along.y <= 0.0 => return (0, 0),
                _ => {}
            }
        }
        // Numbers below 0 become 0.
        (first.floor() as u32, end.ceil() as u32)
    }

    /// The pixels of row `y` that are certainly covered wholly.
    fn inner_columns(&self, y: u32) -> Columns {
        let radius = self.radii.0.min(self.radii.1);
        let inner = (radius * self.hardness).min(radius - 0.5);
        let (first, end) = self.interval(y, inner - 0.01);
        ((first + 0.5).ceil() as u32, (end - 0.5).floor() as u32)
    }

    /// From where to where the middle of row `y` is within `radius` of the way; the first is above
    /// the second where it is nowhere.
    fn interval(&self, y: u32, radius: f32) -> (f32, f32) {
        let y = y as f32 + 0.5 - self.from.y;
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        let mut reach = |from: f32, to: f32| {
            least = least.min(from);
            most = most.max(to);
        };
        for (x, y) in [(0.0, y), (self.along.x, y - self.along.y)] {
            if radius > 0.0 && y.abs() <= radius {
                let half = (radius * radius - y * y).sqrt();
                reach(x - half, x + half);
            }
        }
        if radius > 0.0 && self.along.y != 0.0 {
            // The two lines along the way, at `radius` from it.
            let scale = radius / self.length_squared.sqrt();
            for side in [-scale, scale] {
                let at = (y - side * self.along.x) / self.along.y;
                if (0.0..=1.0).contains(&at) {
                    let x = at * self.along.x - side * self.along.y;
                    reach(x, x);
                }
            }
        }
        (self.from.x + least, self.from.x + most)
    }

    /// Covers a run of pixels in row `y`: gives `cover` those that are covered in part, with how much,
    /// and `fill` all that are covered wholly.
    fn cover<P>(
        &self,
        (x, y): (u32, u32),
        run: &mut [P],
        cover: impl Fn(&mut P, u8),
        fill: impl Fn(&mut [P]),
    ) {
        let end = x + run.len() as u32;
        let (inner, inner_end) = self.inner_columns(y);
        let inner = inner.clamp(x, end);
        let inner_end = inner_end.clamp(inner, end);
        let (before, rest) = run.split_at_mut((inner - x) as usize);
        let (inside, after) = rest.split_at_mut((inner_end - inner) as usize);
        fill(inside);
        for (first, edge) in [(x, before), (inner_end, after)] {
            for (x, pixel) in (first..).zip(edge) {
                cover(pixel, self.coverage(x, y));
            }
        }
    }

    /// How much of the pixel is covered, from 0 to 255.
    pub(super) fn coverage(&self, x: u32, y: u32) -> u8 {
        let (x, y) = (x as f32 + 0.5 - self.from.x, y as f32 + 0.5 - self.from.y);
        let along = if self.length_squared > 0.0 {
            ((x * self.along.x + y * self.along.y) / self.length_squared).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let (dx, dy) = (x - along * self.along.x, y - along * self.along.y);
        let radius = self.radii.0 + (self.radii.1 - self.radii.0) * along;
        let distance_squared = dx * dx + dy * dy;
        let outer = radius + 0.5;
        if distance_squared >= outer * outer {
            return 0;
        }
        let inner = (radius * self.hardness).min(radius - 0.5);
        if inner > 0.0 && distance_squared <= inner * inner {
            return 255;
        }
        let left = ((outer - distance_squared.sqrt()) / (outer - inner)).clamp(0.0, 1.0);
        (left * left * (3.0 - 2.0 * left) * 255.0).round() as u8
    }
}

/// What a stroke leaves behind.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Ink {
    /// Repaint what is covered.
    MaskPaint,
    /// Keep what is covered.
    MaskErase,
    /// Red, green and blue on the sketch.
    SketchPaint([u8; 3]),
    /// Nothing on the sketch.
    SketchErase,
}

/// A stroke on a mask or a sketch that is being drawn.
#[derive(Debug, Clone)]
pub struct Stroke {
    brush: Brush,
    ink: Ink,
    last: Option<Segment>,
    coverage: TiledImage<u8>,
    sketch_before: TiledImage<[u8; 4]>,
}

impl Stroke {
    /// A stroke that has not touched anything yet. `sketch` is the one as it is before the stroke.
    pub fn new(brush: Brush, ink: Ink, sketch: &TiledImage<[u8; 4]>) -> Self {
        let (width, height) = sketch.size();
        Self {
            brush,
            ink,
            last: None,
            coverage: TiledImage::new(width, height, 0),
            sketch_before: sketch.clone(),
        }
    }

    /// What it leaves behind.
    pub fn ink(&self) -> Ink {
        self.ink
    }

    /// Goes on to `point`, and returns what may have changed.
    pub fn extend(
        &mut self,
        point: StrokePoint,
        mask: &mut TiledImage<u8>,
        sketch: &mut TiledImage<[u8; 4]>,
    ) -> PixelRectangle {
        let is_place = point.at.x.is_finite() && point.at.y.is_finite();
        if !is_place || point.pressure.is_nan() {
            return PixelRectangle::default();
        }
        let segment = match self.last {
            Some(last) => last.next(self.brush, point),
            None => Segment::new(self.brush, point, point),
        };
        self.last = Some(segment);
        let area = segment.bounds();
        let columns = |y| segment.columns(y);
        match self.ink {
            Ink::MaskPaint => mask.update_runs(area, columns, |x, y, run| {
                let cover = |pixel: &mut u8, coverage: u8| *pixel = coverage.max(*pixel);
                segment.cover((x, y), run, cover, |run| run.fill(255));
            }),
            Ink::MaskErase => mask.update_runs(area, columns, |x, y, run| {
                let cover = |pixel: &mut u8, coverage: u8| *pixel = (255 - coverage).min(*pixel);
                segment.cover((x, y), run, cover, |run| run.fill(0));
            }),
            Ink::SketchPaint(_) | Ink::SketchErase => {
                let area = self.coverage.update_runs(area, columns, |x, y, run| {
                    let cover = |pixel: &mut u8, coverage: u8| *pixel = coverage.max(*pixel);
                    segment.cover((x, y), run, cover, |run| run.fill(255));
                });
                let (coverage, before, ink) = (&self.coverage, &self.sketch_before, self.ink);
                sketch.update_runs(area, columns, |x, y, run| {
                    for (x, pixel) in (x..).zip(run) {
                        let (Some(coverage), Some(before)) = (coverage.get(x, y), before.get(x, y))
                        else {
                            continue;
                        };
                        *pixel = match ink {
                            Ink::SketchPaint(colour) => over(colour, coverage, before),
                            _ => erased(coverage, before),
                        };
                    }
                })
            }
        }
    }
}

/// An opaque colour over a pixel, by `coverage` (Porter and Duff, "Compositing Digital Images").
fn over(colour: [u8; 3], coverage: u8, before: [u8; 4]) -> [u8; 4] {
    match coverage {
        0 => return before,
        255 => return [colour[0], colour[1], colour[2], 255],
        _ => {}
    }
    let alpha = f32::from(coverage) / 255.0;
    let kept = f32::from(before[3]) / 255.0 * (1.0 - alpha);
    let sum = alpha + kept;
    let mix =
        |new: u8, old: u8| ((f32::from(new) * alpha + f32::from(old) * kept) / sum).round() as u8;
    [
        mix(colour[0], before[0]),
        mix(colour[1], before[1]),
        mix(colour[2], before[2]),
        (sum * 255.0).round() as u8,
    ]
}

/// A pixel that is taken away by `coverage`. Where nothing is left, there is no colour either.
fn erased(coverage: u8, [red, green, blue, alpha]: [u8; 4]) -> [u8; 4] {
    let left = u16::from(alpha) * u16::from(255 - coverage) / 255;
    if left == 0 { [0; 4] } else { [red, green, blue, left as u8] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const CLEAR: [u8; 4] = [0; 4];

    fn drawn(
        brush: Brush,
        ink: Ink,
        points: &[StrokePoint],
        size: u32,
    ) -> (TiledImage<u8>, TiledImage<[u8; 4]>) {
        let mut mask = TiledImage::new(size, size, if ink == Ink::MaskErase { 255 } else { 0 });
        let mut sketch = TiledImage::new(size, size, CLEAR);
        let mut stroke = Stroke::new(brush, ink, &sketch);
        for point in points {
            stroke.extend(*point, &mut mask, &mut sketch);
        }
        (mask, sketch)
    }

    #[test]
    fn a_hard_dab_is_a_disc_with_an_edge_of_a_pixel() {
        let brush = Brush { size: 40.0, hardness: 1.0 };
        let (mask, _) = drawn(brush, Ink::MaskPaint, &[StrokePoint::new(50.0, 50.0)], 100);
        for (x, y) in mask.bounds().pixels() {
            let distance =
                Point::new(50.0, 50.0).distance(Point::new(x as f32 + 0.5, y as f32 + 0.5));
            let value = mask.get(x, y).unwrap();
            match distance {
                near if near <= 19.5 => assert_eq!(value, 255, "{x} {y}"),
                far if far >= 20.5 => assert_eq!(value, 0, "{x} {y}"),
                edge if (edge - 20.0).abs() < 0.3 => {
                    assert!((1..=254).contains(&value), "{x} {y} {value}");
                }
                _ => {}
            }
        }
    }

    #[test]
    fn a_drag_makes_it_larger_and_harder_within_bounds() {
        let brush = Brush { size: 40.0, hardness: 0.5 };
        let dragged = |x: f32, y: f32| {
            let Brush { size, hardness } = brush.dragged(Point::new(x, y));
            (size, hardness)
        };
        assert_eq!(dragged(10.0, -20.0), (60.0, 0.6));
        assert_eq!(dragged(-30.0, 200.0), (1.0, 0.0));
        assert_eq!(dragged(9000.0, -900.0), (1024.0, 1.0));
    }

    #[test]
    fn a_soft_brush_fades_from_its_hardness_to_its_edge() {
        let brush = Brush { size: 80.0, hardness: 0.5 };
        let (mask, _) = drawn(brush, Ink::MaskPaint, &[StrokePoint::new(50.5, 50.5)], 101);
        let values: Vec<u8> = (50..101).map(|x| mask.get(x, 50).unwrap()).collect();
        assert!(values[..=20].iter().all(|&value| value == 255));
        assert!(values[21..40].windows(2).all(|pair| pair[0] > pair[1]), "{values:?}");
        assert_eq!(values[41], 0);
    }

    #[test]
    fn fast_strokes_have_no_gaps_and_slow_ones_do_not_build_up() {
        let brush = Brush { size: 20.0, hardness: 0.3 };
        let fast = [StrokePoint::new(20.0, 50.0), StrokePoint::new(480.0, 50.0)];
        let slow: Vec<_> =
            (0..=920).map(|at| StrokePoint::new(20.0 + at as f32 / 2.0, 50.0)).collect();
        for ink in [Ink::MaskPaint, Ink::MaskErase, Ink::SketchPaint([200, 100, 50])] {
            let (fast_mask, fast_sketch) = drawn(brush, ink, &fast, 500);
            let (slow_mask, slow_sketch) = drawn(brush, ink, &slow, 500);
            for (x, y) in fast_mask.bounds().pixels() {
                let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
                assert!(
                    near(fast_mask.get(x, y).unwrap(), slow_mask.get(x, y).unwrap()),
                    "{ink:?} {x} {y}"
                );
                let (a, b) = (fast_sketch.get(x, y).unwrap(), slow_sketch.get(x, y).unwrap());
                assert!(near(a[3], b[3]), "{ink:?} {x} {y} {a:?} {b:?}");
            }
        }
        let (mask, _) = drawn(brush, Ink::MaskPaint, &fast, 500);
        let column = |x: u32| (0..500).map(|y| mask.get(x, y).unwrap()).collect::<Vec<_>>();
        assert!((20..480).all(|x| column(x) == column(250)), "the same width all along");
    }

    #[test]
    fn what_a_stroke_covers_is_what_its_segments_cover() {
        let way =
            [(60.3, 50.0), (90.0, 50.0), (91.5, 80.2), (20.0, 140.0), (20.0, 40.0), (20.0, 40.0)];
        let pressures = [1.0, 1.0, 1.0, 0.3, 0.9, 0.9];
        for brush in [Brush { size: 44.0, hardness: 0.0 }, Brush { size: 33.3, hardness: 0.9 }] {
            for is_pressed in [false, true] {
                let points: Vec<_> = way
                    .iter()
                    .zip(pressures)
                    .map(|(&(x, y), pressure)| StrokePoint {
                        at: Point::new(x, y),
                        pressure: if is_pressed { pressure } else { 1.0 },
                    })
                    .collect();
                let (painted, _) = drawn(brush, Ink::MaskPaint, &points, 180);
                let (erased, _) = drawn(brush, Ink::MaskErase, &points, 180);
                let (_, sketch) = drawn(brush, Ink::SketchPaint([9, 9, 9]), &points, 180);
                for (x, y) in painted.bounds().pixels() {
                    let pairs = points.windows(2);
                    let segments = pairs.map(|pair| Segment::new(brush, pair[0], pair[1]));
                    let expected = segments.map(|segment| segment.coverage(x, y)).max().unwrap();
                    let found = painted.get(x, y).unwrap();
                    assert!(found.abs_diff(expected) <= 1, "{x} {y}: {found}, not {expected}");
                    assert_eq!(erased.get(x, y), Some(255 - found));
                    assert_eq!(sketch.get(x, y).unwrap()[3], found);
                }
            }
        }
    }

    #[test]
    fn a_stroke_that_goes_on_leaves_alone_what_it_has_covered() {
        let brush = Brush { size: 100.0, hardness: 0.5 };
        let point = |x: f32, y: f32| StrokePoint::new(x, y);
        let first = Segment::new(brush, point(200.0, 200.0), point(200.0, 200.0));
        let count = |segment: &Segment| -> u32 {
            let rows = segment.bounds();
            (rows.top..rows.bottom)
                .map(|y| segment.columns(y))
                .map(|(a, b)| b.saturating_sub(a))
                .sum()
        };
        let whole = count(&Segment::new(brush, point(200.0, 200.0), point(210.0, 204.0)));
        let ahead = count(&first.next(brush, point(210.0, 204.0)));
        assert!(ahead < whole * 2 / 3, "{ahead} of {whole}");
    }

    #[test]
    fn pressure_narrows_the_stroke() {
        let brush = Brush { size: 60.0, hardness: 1.0 };
        let point = |x: f32, pressure: f32| StrokePoint { at: Point::new(x, 100.0), pressure };
        let (mask, _) = drawn(brush, Ink::MaskPaint, &[point(40.0, 1.0), point(160.0, 0.2)], 200);
        let width = |x: u32| (0..200).filter(|&y| mask.get(x, y).unwrap() > 127).count();
        assert_eq!(width(40), 60);
        assert!(width(100) > 30 && width(100) < 50, "{}", width(100));
        assert_eq!(width(159), 12);
    }

    #[test]
    fn colours_lie_over_each_other_and_are_erased() {
        let brush = Brush { size: 30.0, hardness: 1.0 };
        let mut mask = TiledImage::new(64, 64, 0);
        let mut sketch = TiledImage::new(64, 64, CLEAR);
        let dab = |ink: Ink, x: f32, mask: &mut _, sketch: &mut _| {
            let mut stroke = Stroke::new(brush, ink, sketch);
            stroke.extend(StrokePoint::new(x, 32.0), mask, sketch);
        };
        dab(Ink::SketchPaint([255, 0, 0]), 20.0, &mut mask, &mut sketch);
        dab(Ink::SketchPaint([0, 0, 255]), 35.0, &mut mask, &mut sketch);
        assert_eq!(sketch.get(10, 32), Some([255, 0, 0, 255]));
        assert_eq!(sketch.get(30, 32), Some([0, 0, 255, 255]));
        dab(Ink::SketchErase, 35.0, &mut mask, &mut sketch);
        assert_eq!(sketch.get(30, 32), Some(CLEAR));
        assert_eq!(sketch.get(10, 32), Some([255, 0, 0, 255]));
        assert!(mask.is_all(0));
    }

    #[test]
    fn a_stroke_looks_only_at_its_own_surroundings() {
        let mut mask = TiledImage::new(4096, 4096, 0);
        let mut sketch = TiledImage::new(4096, 4096, CLEAR);
        let mut stroke = Stroke::new(Brush { size: 64.0, hardness: 0.5 }, Ink::MaskPaint, &sketch);
        stroke.extend(StrokePoint::new(1000.0, 1000.0), &mut mask, &mut sketch);
        let area = stroke.extend(StrokePoint::new(1020.0, 1005.0), &mut mask, &mut sketch);
        assert!(area.width() <= 64 + 20 + 4 && area.height() <= 64 + 5 + 4, "{area:?}");
        let off = stroke.extend(
            StrokePoint { at: Point::new(f32::NAN, 0.0), pressure: 1.0 },
            &mut mask,
            &mut sketch,
        );
        assert!(off.is_empty());
    }
}
