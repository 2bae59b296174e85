//! What a document looks like on a screen, brought up to date where its layers changed.

use emberbrush_pipeline::picture::Picture;
use image::{DynamicImage, RgbaImage};

use super::{
    document::Document,
    geometry::PixelRectangle,
    overlay::{MAX_LEVEL, texels},
    tiles::{TILE_SIDE, TiledImage},
};

/// A picture as a screen shows it: red, green, blue and alpha in sRGB, not multiplied. It is kept
/// halved, too, so that it is drawn from afar without reading all of it.
#[derive(Debug, Clone)]
pub struct ScreenImage {
    /// The picture, and then each the half of the one before.
    levels: Vec<TiledImage<[u8; 4]>>,
}

impl ScreenImage {
    fn new(width: u32, height: u32) -> Self {
        let half = |side: u32, level: u32| side.div_ceil(1 << level);
        let level = |level| TiledImage::new(half(width, level), half(height, level), [0; 4]);
        Self { levels: (0..=MAX_LEVEL).map(level).collect() }
    }

    /// The picture.
    pub fn pixels(&self) -> &TiledImage<[u8; 4]> {
        &self.levels[0]
    }

    /// The picture, halved so often; at most [`MAX_LEVEL`] times.
    pub(super) fn halved(&self, level: u32) -> &TiledImage<[u8; 4]> {
        &self.levels[level.min(MAX_LEVEL) as usize]
    }

    /// Puts a part of a picture in its place.
    fn put(&mut self, area: PixelRectangle, picture: impl Fn(PixelRectangle) -> Picture) {
        let area = area.intersection(self.pixels().bounds());
        let part = for_screen(&picture(area));
        let (pixels, _) = part.as_raw().as_chunks::<4>();
        let columns = |_| (area.left, area.right);
        self.levels[0].update_runs(area, columns, |x, y, run| {
            let start = ((y - area.top) * area.width() + (x - area.left)) as usize;
            run.copy_from_slice(&pixels[start..start + run.len()]);
        });
        let mut area = area;
        for level in 1..self.levels.len() {
            area = texels(area, 1);
            let (larger, smaller) = self.levels.split_at_mut(level);
            let larger = &larger[level - 1];
            let columns = |_| (area.left, area.right);
            smaller[0].update_runs(area, columns, |x, y, run| {
                for (x, pixel) in (x..).zip(run) {
                    let four = [(0, 0), (1, 0), (0, 1), (1, 1)];
                    *pixel = mean(four.map(|(dx, dy)| larger.get(2 * x + dx, 2 * y + dy)));
                }
            });
        }
    }
}

/// The mean of those that there are, by their alpha.
fn mean(pixels: [Option<[u8; 4]>; 4]) -> [u8; 4] {
    let (mut colours, mut alphas, mut count) = ([0_u32; 3], 0, 0);
    for [red, green, blue, alpha] in pixels.into_iter().flatten() {
        for (sum, colour) in colours.iter_mut().zip([red, green, blue]) {
            *sum += u32::from(colour) * u32::from(alpha);
        }
        alphas += u32::from(alpha);
        count += 1;
    }
    if alphas == 0 {
        return [0; 4];
    }
    let [red, green, blue] = colours.map(|sum| ((sum + alphas / 2) / alphas) as u8);
    [red, green, blue, ((alphas + count / 2) / count) as u8]
}

/// The picture without layers.
pub fn original(document: &Document) -> ScreenImage {
    let (width, height) = document.size();
    let mut image = ScreenImage::new(width, height);
    let bounds = image.pixels().bounds();
    for top in (0..height).step_by(TILE_SIDE as usize) {
        let band = PixelRectangle { top, bottom: top + TILE_SIDE, ..bounds };
        image.put(band, |area| document.picture_in(area));
    }
    image
}

/// The picture with all visible layers, where it is known without them.
pub fn with_layers(original: &ScreenImage, document: &Document) -> ScreenImage {
    let layers = document.layers().iter().filter(|layer| layer.is_visible());
    with(original, document, layers.map(|layer| layer.patch().area()))
}

/// The picture with all visible layers where `before` and its `image` are known. Only what is under
/// layers that are others is worked out.
pub fn after(image: &ScreenImage, before: &Document, document: &Document) -> ScreenImage {
    match document.shown_differences(before) {
        Some(areas) => with(image, document, areas),
        None => with_layers(&original(document), document),
    }
}

fn with(
    image: &ScreenImage,
    document: &Document,
    areas: impl IntoIterator<Item = PixelRectangle>,
) -> ScreenImage {
    let mut image = image.clone();
    for area in areas {
        image.put(area, |area| document.composite_in(area));
    }
    image
}

/// A picture as a screen shows it, pixel by pixel.
pub fn for_screen(picture: &Picture) -> RgbaImage {
    if picture.icc_profile.is_none() {
        return picture.pixels.to_rgba8();
    }
    let opaque = Picture {
        pixels: DynamicImage::ImageRgb16(picture.pixels.to_rgb16()),
        icc_profile: picture.icc_profile.clone(),
    };
    let mut shown = DynamicImage::ImageRgb32F(opaque.to_srgb()).to_rgba8();
    if picture.pixels.color().has_alpha() {
        let alpha = picture.pixels.to_luma_alpha8();
        for (shown, alpha) in shown.pixels_mut().zip(alpha.pixels()) {
            shown.0[3] = alpha.0[1];
        }
    }
    shown
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::ColorType;

    use super::*;
    use crate::canvas::{
        document::tests::{disc, layer, picture},
        layer::LayerId,
    };

    fn assert_whole(image: &ScreenImage, document: &Document) {
        let whole = for_screen(&document.composite());
        for (x, y) in image.pixels().bounds().pixels() {
            assert_eq!(image.pixels().get(x, y), Some(whole.get_pixel(x, y).0), "{x} {y}");
        }
        let anew = with_layers(&original(document), document);
        for level in 0..=MAX_LEVEL {
            let size = image.halved(level).size();
            assert_eq!(size, anew.halved(level).size());
            let differences = image.halved(level).differences(anew.halved(level));
            assert!(differences.is_empty(), "halved {level} times: {differences:?}");
        }
    }

    #[test]
    fn steps_give_what_the_whole_document_gives() {
        for kind in [ColorType::Rgb8, ColorType::La16, ColorType::Rgba8] {
            let mut document = Document::new("test", picture(kind, 1));
            let mut image = original(&document);
            assert_whole(&image, &document);
            let mut step = |change: &mut dyn FnMut(&mut Document)| {
                let before = document.clone();
                change(&mut document);
                image = after(&image, &before, &document);
                assert_whole(&image, &document);
            };
            for (x, y) in [(20.0, 20.0), (28.0, 24.0), (50.0, 40.0)] {
                step(&mut |document| {
                    document.add_layer(layer(document, &disc(x, y, 9.0), 3)).unwrap();
                });
            }
            step(&mut |document| document.set_visible(LayerId(2), false));
            step(&mut |document| document.set_visible(LayerId(2), true));
            step(&mut |document| document.move_layer(LayerId(2), 0));
            step(&mut |document| {
                document.edit_layer(LayerId(1), |layer| layer.choose(2)).unwrap().unwrap();
            });
            step(&mut |document| document.remove_layer(LayerId(1)));
            let left = emberbrush_pipeline::request::Extension { left: 7, ..Default::default() };
            step(&mut |document| document.extend(left));
            let original = original(&document);
            assert_whole(&with_layers(&original, &document), &document);
        }
    }

    #[test]
    fn tiles_beside_a_layer_stay_shared() {
        let pixels = image::RgbImage::from_fn(900, 700, |x, y| image::Rgb([x as u8, y as u8, 3]));
        let before = Document::new("test", Picture::new(pixels.into()));
        let image = original(&before);
        let mut document = before.clone();
        let weights = crate::canvas::layer::Weights::from_pixel(100, 60, image::Luma([65_535]));
        let patch = crate::canvas::layer::Patch::new(140, 130, weights).unwrap();
        let below = std::sync::Arc::new(patch.cut(before.picture()));
        let painted = image::RgbImage::from_pixel(100, 60, image::Rgb([250, 0, 0]));
        let painted = std::sync::Arc::new(Picture::new(painted.into()));
        let variation = crate::canvas::layer::Variation::new(1, painted, below).unwrap();
        let mask = std::sync::Arc::new(before.mask().clone());
        let request = crate::canvas::document::tests::request();
        let layer =
            crate::canvas::layer::FillLayer::new(LayerId(1), request, mask, patch, vec![variation]);
        document.add_layer(layer.unwrap()).unwrap();
        let after = after(&image, &before, &document);
        let changed = |level| after.halved(level).changed_tiles(image.halved(level));
        assert_eq!(changed(0), vec![9], "the second tile of the second row");
        assert_eq!(changed(1), vec![0]);
    }

    #[test]
    fn halves_are_means_of_what_is_seen() {
        let red = [200, 0, 0, 255];
        assert_eq!(mean([Some(red), Some(red), Some([0; 4]), None]), [200, 0, 0, 170]);
        assert_eq!(mean([Some([9, 9, 9, 0]), None, None, None]), [0; 4]);
        let pixels = image::RgbImage::from_fn(5, 3, |x, _| image::Rgb([x as u8 * 40, 100, 0]));
        let image = original(&Document::new("test", Picture::new(pixels.into())));
        assert_eq!((image.halved(1).size(), image.halved(5).size()), ((3, 2), (1, 1)));
        assert_eq!(image.halved(1).get(0, 0), Some([20, 100, 0, 255]));
        assert_eq!(image.halved(1).get(2, 1), Some([160, 100, 0, 255]));
    }
}
