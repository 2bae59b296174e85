//! What a document looks like on a screen, brought up to date where its layers changed.

use emberbrush_pipeline::picture::Picture;
use image::{DynamicImage, RgbaImage};

use super::{
    document::Document,
    geometry::PixelRectangle,
    tiles::{TILE_SIDE, TiledImage},
};

/// A picture as a screen shows it: red, green, blue and alpha in sRGB, not multiplied.
pub type ScreenImage = TiledImage<[u8; 4]>;

/// The picture without layers.
pub fn original(document: &Document) -> ScreenImage {
    let (width, height) = document.size();
    let mut image = ScreenImage::new(width, height, [0; 4]);
    let bounds = image.bounds();
    for top in (0..height).step_by(TILE_SIDE as usize) {
        let band = PixelRectangle { top, bottom: top + TILE_SIDE, ..bounds };
        put(&mut image, band, |area| document.picture_in(area));
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
        put(&mut image, area, |area| document.composite_in(area));
    }
    image
}

fn put(image: &mut ScreenImage, area: PixelRectangle, picture: impl Fn(PixelRectangle) -> Picture) {
    let area = area.intersection(image.bounds());
    let part = for_screen(&picture(area));
    let (pixels, _) = part.as_raw().as_chunks::<4>();
    image.update_runs(
        area,
        |_| (area.left, area.right),
        |x, y, run| {
            let start = ((y - area.top) * area.width() + (x - area.left)) as usize;
            run.copy_from_slice(&pixels[start..start + run.len()]);
        },
    );
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
        for (x, y) in image.bounds().pixels() {
            assert_eq!(image.get(x, y), Some(whole.get_pixel(x, y).0), "{x} {y}");
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
        let changed = after(&image, &before, &document).changed_tiles(&image);
        assert_eq!(changed, vec![9], "the second tile of the second row");
    }
}
