//! Where a picture lies on the screen, and at what size.

use super::geometry::Point;

/// Points of the screen for a pixel of the picture, at least and at most.
const SCALES: (f32, f32) = (1.0 / 64.0, 64.0);

/// Space around a picture that is fitted, in points.
const MARGIN: f32 = 24.0;

/// The part of a picture that must stay in sight, in points.
const LEAST_VISIBLE: f32 = 48.0;

/// From a picture's pixels to points of the screen: `screen = origin + scale · picture`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    scale: f32,
    origin: Point,
}

/// The room on the screen that a picture is shown in, in points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Viewport {
    /// Its upper left corner.
    pub least: Point,
    /// Its lower right corner.
    pub most: Point,
}

impl Viewport {
    fn size(self) -> (f32, f32) {
        ((self.most.x - self.least.x).max(1.0), (self.most.y - self.least.y).max(1.0))
    }

    fn centre(self) -> Point {
        Point::new((self.least.x + self.most.x) / 2.0, (self.least.y + self.most.y) / 2.0)
    }
}

impl View {
    /// The whole picture in the middle, as large as there is room, but pixels no larger than
    /// `largest` points.
    pub fn fit(picture: (u32, u32), viewport: Viewport, largest: f32) -> Self {
        let (width, height) = viewport.size();
        let room = |length: f32| (length - 2.0 * MARGIN).max(length / 2.0);
        let scale = (room(width) / picture.0.max(1) as f32)
            .min(room(height) / picture.1.max(1) as f32)
            .min(largest)
            .clamp(SCALES.0, SCALES.1);
        Self::centred(picture, viewport, scale)
    }

    /// The middle of the picture in the middle, a pixel of the picture for a pixel of the screen.
    pub fn actual_size(picture: (u32, u32), viewport: Viewport, pixels_per_point: f32) -> Self {
        Self::centred(picture, viewport, (1.0 / pixels_per_point).clamp(SCALES.0, SCALES.1))
    }

    fn centred(picture: (u32, u32), viewport: Viewport, scale: f32) -> Self {
        let centre = viewport.centre();
        let origin = Point::new(
            centre.x - picture.0 as f32 * scale / 2.0,
            centre.y - picture.1 as f32 * scale / 2.0,
        );
        Self { scale, origin }
    }

    /// Points of the screen for a pixel of the picture.
    pub fn scale(self) -> f32 {
        self.scale
    }

    /// The view of the same picture, halved so often.
    pub(super) fn of_halved(self, level: u32) -> Self {
        Self { scale: self.scale * f32::from(1_u16 << level), ..self }
    }

    /// Where a place of the picture is on the screen.
    pub fn to_screen(self, place: Point) -> Point {
        Point::new(self.origin.x + place.x * self.scale, self.origin.y + place.y * self.scale)
    }

    /// The place of the picture that is at a point of the screen.
    pub fn to_picture(self, at: Point) -> Point {
        Point::new((at.x - self.origin.x) / self.scale, (at.y - self.origin.y) / self.scale)
    }

    /// `factor` times as large, with the place under `pointer` where it was.
    pub fn zoomed(self, pointer: Point, factor: f32) -> Self {
        if !factor.is_finite() || factor <= 0.0 {
            return self;
        }
        let scale = (self.scale * factor).clamp(SCALES.0, SCALES.1);
        let under = self.to_picture(pointer);
        let origin = Point::new(pointer.x - under.x * scale, pointer.y - under.y * scale);
        Self { scale, origin }
    }

    /// Moved by points of the screen, with a part of the picture kept in sight.
    pub fn panned(self, by: Point, picture: (u32, u32), viewport: Viewport) -> Self {
        let along = |origin: f32, by: f32, pixels: u32, least: f32, most: f32| {
            let length = pixels as f32 * self.scale;
            let visible = LEAST_VISIBLE.min(length);
            let (low, high) = (least + visible - length, most - visible);
            (origin + by).clamp(low.min(high), high.max(low))
        };
        let (least, most) = (viewport.least, viewport.most);
        let origin = Point::new(
            along(self.origin.x, by.x, picture.0, least.x, most.x),
            along(self.origin.y, by.y, picture.1, least.y, most.y),
        );
        Self { origin, ..self }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIEWPORT: Viewport =
        Viewport { least: Point { x: 320.0, y: 40.0 }, most: Point { x: 1016.0, y: 640.0 } };

    #[test]
    fn a_fitted_picture_is_whole_and_in_the_middle() {
        for size in [(4096, 100), (64, 4096), (512, 512), (1, 1)] {
            let view = View::fit(size, VIEWPORT, 1.0);
            let least = view.to_screen(Point::new(0.0, 0.0));
            let most = view.to_screen(Point::new(size.0 as f32, size.1 as f32));
            assert!(least.x >= VIEWPORT.least.x && most.x <= VIEWPORT.most.x, "{size:?}");
            assert!(least.y >= VIEWPORT.least.y && most.y <= VIEWPORT.most.y, "{size:?}");
            assert!(((least.x + most.x) / 2.0 - 668.0).abs() < 0.01);
            assert!(((least.y + most.y) / 2.0 - 340.0).abs() < 0.01);
        }
        assert_eq!(View::fit((64, 64), VIEWPORT, 1.0).scale(), 1.0, "small pictures stay sharp");
    }

    #[test]
    fn a_hundred_percent_is_a_pixel_of_the_screen() {
        assert_eq!(View::actual_size((64, 64), VIEWPORT, 2.0).scale(), 0.5);
    }

    #[test]
    fn panning_never_loses_the_picture() {
        let view = View::fit((512, 512), VIEWPORT, 1.0);
        let far = view.panned(Point::new(-1e6, 1e6), (512, 512), VIEWPORT);
        let most = far.to_screen(Point::new(512.0, 0.0));
        assert_eq!(most.x, VIEWPORT.least.x + LEAST_VISIBLE);
        assert_eq!(far.to_screen(Point::new(0.0, 0.0)).y, VIEWPORT.most.y - LEAST_VISIBLE);
        let near = view.panned(Point::new(3.0, -4.0), (512, 512), VIEWPORT);
        assert_eq!(near.origin, Point::new(view.origin.x + 3.0, view.origin.y - 4.0));
    }

    proptest! {
        #[test]
        fn zooming_keeps_the_place_under_the_pointer(
            x in 320.0_f32..1016.0, y in 40.0_f32..640.0,
            factors in proptest::collection::vec(0.2_f32..5.0, 1..20),
        ) {
            let mut view = View::fit((1024, 768), VIEWPORT, 1.0);
            let pointer = Point::new(x, y);
            let before = view.to_picture(pointer);
            for factor in factors {
                view = view.zoomed(pointer, factor);
            }
            let after = view.to_picture(pointer);
            prop_assert!(before.distance(after) < 0.05 + 1.0 / view.scale() * 0.01, "{before:?} {after:?}");
            prop_assert!((SCALES.0..=SCALES.1).contains(&view.scale()));
        }

        #[test]
        fn the_way_back_is_the_way_there(
            x in -5000.0_f32..5000.0, y in -5000.0_f32..5000.0, factor in 0.05_f32..20.0,
        ) {
            let view = View::fit((2000, 1000), VIEWPORT, 1.0).zoomed(Point::new(600.0, 300.0), factor);
            let place = Point::new(x, y);
            prop_assert!(view.to_picture(view.to_screen(place)).distance(place) < 0.05);
        }
    }
}
