//! A picture with its mask, its sketch and its fills.
//!
//! A document is cheap to clone: everything large in it is shared. Undo and the journal keep
//! clones.

use std::{collections::HashSet, sync::Arc};

use emberbrush_pipeline::{
    picture::{self, Mask, Picture, Rectangle},
    request::Extension,
};
use image::{DynamicImage, GenericImageView, Luma, Rgb, Rgb32FImage};

use super::{
    geometry::PixelRectangle,
    layer::{FillLayer, LayerError, LayerId},
    mask::MaskTiles,
    tiles::TiledImage,
};

/// Colours on top of a picture that a fill starts from: red, green, blue and alpha.
pub type SketchTiles = TiledImage<[u8; 4]>;

/// A picture with its mask, its sketch and its fills. Mask, sketch and layers have its size.
#[derive(Debug, Clone)]
pub struct Document {
    /// What it is called in the window: the file's name without extension.
    pub name: String,
    picture: Arc<Picture>,
    mask: MaskTiles,
    sketch: SketchTiles,
    layers: Vec<Arc<FillLayer>>,
}

impl Document {
    /// A picture without fills. Floating-point pixels become 16-bit ones.
    pub fn new(name: impl Into<String>, picture: Picture) -> Self {
        let (width, height) = picture.pixels.dimensions();
        Self {
            name: name.into(),
            picture: Arc::new(integer(picture)),
            mask: MaskTiles::new(width, height, 0),
            sketch: SketchTiles::new(width, height, [0; 4]),
            layers: Vec::new(),
        }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        self.picture.pixels.dimensions()
    }

    /// The picture under all layers.
    pub fn picture(&self) -> &Arc<Picture> {
        &self.picture
    }

    /// The mask.
    pub fn mask(&self) -> &MaskTiles {
        &self.mask
    }

    /// The mask and the sketch, to be drawn on.
    pub fn surfaces_mut(&mut self) -> (&mut MaskTiles, &mut SketchTiles) {
        (&mut self.mask, &mut self.sketch)
    }

    /// Puts a mask in place of the present one; nothing happens where it has another size.
    pub fn set_mask(&mut self, mask: MaskTiles) {
        if mask.size() == self.size() {
            self.mask = mask;
        }
    }

    /// Puts a sketch in place of the present one; nothing happens where it has another size.
    pub fn set_sketch(&mut self, sketch: SketchTiles) {
        if sketch.size() == self.size() {
            self.sketch = sketch;
        }
    }

    /// Removes mask and sketch.
    pub fn clear_surfaces(&mut self) {
        let (width, height) = self.size();
        self.mask = MaskTiles::new(width, height, 0);
        self.sketch = SketchTiles::new(width, height, [0; 4]);
    }

    /// The sketch.
    pub fn sketch(&self) -> &SketchTiles {
        &self.sketch
    }

    /// The fills, from the lowest to the topmost.
    pub fn layers(&self) -> &[Arc<FillLayer>] {
        &self.layers
    }

    /// The layer of this identity.
    pub fn layer(&self, id: LayerId) -> Option<&Arc<FillLayer>> {
        self.layers.iter().find(|layer| layer.id == id)
    }

    /// An identity that no layer has.
    pub fn new_layer_id(&self) -> LayerId {
        LayerId(self.layers.iter().map(|layer| layer.id.0).max().unwrap_or(0).saturating_add(1))
    }

    /// Puts a layer on top.
    ///
    /// # Errors
    ///
    /// [`LayerError::Outside`], [`LayerError::Kind`], or [`LayerError::Size`] where its mask does
    /// not have the document's size.
    pub fn add_layer(&mut self, mut layer: FillLayer) -> Result<LayerId, LayerError> {
        let (width, height) = self.size();
        let area = layer.patch.area();
        if area.right > width || area.bottom > height {
            return Err(LayerError::Outside);
        }
        let needed = self.picture.pixels.color();
        if layer.kind() != needed {
            return Err(LayerError::Kind { found: layer.kind(), needed });
        }
        let mask = layer.mask.size();
        if mask != (width, height) {
            return Err(LayerError::Size {
                found_width: mask.0,
                found_height: mask.1,
                width,
                height,
            });
        }
        if self.layer(layer.id).is_some() {
            layer.id = self.new_layer_id();
        }
        let id = layer.id;
        self.layers.push(Arc::new(layer));
        Ok(id)
    }

    /// Removes a layer. Nothing happens where there is none of this identity.
    pub fn remove_layer(&mut self, id: LayerId) {
        self.layers.retain(|layer| layer.id != id);
    }

    /// Moves a layer to place `index` from below; at most to the top.
    pub fn move_layer(&mut self, id: LayerId, index: usize) {
        let Some(from) = self.layers.iter().position(|layer| layer.id == id) else { return };
        let layer = self.layers.remove(from);
        self.layers.insert(index.min(self.layers.len()), layer);
    }

    /// Shows or hides a layer.
    pub fn set_visible(&mut self, id: LayerId, visible: bool) {
        self.edit_layer(id, |layer| layer.visible = visible);
    }

    /// Names a layer.
    pub fn rename_layer(&mut self, id: LayerId, name: &str) {
        self.edit_layer(id, |layer| name.clone_into(&mut layer.name));
    }

    /// Changes a layer, where there is one of this identity.
    pub fn edit_layer<T>(
        &mut self,
        id: LayerId,
        edit: impl FnOnce(&mut FillLayer) -> T,
    ) -> Option<T> {
        let layer = self.layers.iter_mut().find(|layer| layer.id == id)?;
        Some(edit(Arc::make_mut(layer)))
    }

    /// The picture with all visible layers. Outside of their weights every pixel is the
    /// picture's, bit for bit.
    pub fn composite(&self) -> Picture {
        self.composite_of(&self.layers)
    }

    /// What lies below a layer: the picture with the visible layers under it; all of them where
    /// there is no such layer.
    pub fn composite_below(&self, id: LayerId) -> Picture {
        let end = self.layers.iter().position(|layer| layer.id == id);
        self.composite_of(&self.layers[..end.unwrap_or(self.layers.len())])
    }

    /// A part of the picture with all visible layers.
    pub(super) fn composite_in(&self, area: PixelRectangle) -> Picture {
        let mut composite = self.picture_in(area);
        for layer in self.layers.iter().filter(|layer| layer.visible) {
            layer.lay_over_part(&mut composite, (area.left, area.top));
        }
        composite
    }

    /// A part of the picture under all layers.
    pub(super) fn picture_in(&self, area: PixelRectangle) -> Picture {
        let pixels = &self.picture.pixels;
        Picture {
            pixels: pixels.crop_imm(area.left, area.top, area.width(), area.height()),
            icc_profile: self.picture.icc_profile.clone(),
        }
    }

    fn composite_of(&self, layers: &[Arc<FillLayer>]) -> Picture {
        let mut composite = Picture::clone(&self.picture);
        for layer in layers.iter().filter(|layer| layer.visible) {
            layer.lay_over(&mut composite);
        }
        composite
    }

    /// The composite with the sketch on top, which a fill starts from.
    pub fn with_sketch(&self, composite: &Picture) -> Picture {
        let Some(extent) = self.sketch.extent(|pixel| pixel[3] > 0) else {
            return composite.clone();
        };
        let (width, height) = self.size();
        let rectangle = Rectangle {
            left: i64::from(extent.left),
            top: i64::from(extent.top),
            width: extent.width(),
            height: extent.height(),
        };
        let pixel = |x, y| self.sketch.get(x, y).unwrap_or_default();
        let colours = Rgb32FImage::from_fn(extent.width(), extent.height(), |x, y| {
            let [red, green, blue, _] = pixel(extent.left + x, extent.top + y);
            Rgb([red, green, blue].map(|value| f32::from(value) / 255.0))
        });
        let weights =
            Mask::from_fn(width, height, |x, y| Luma([f32::from(pixel(x, y)[3]) / 255.0]));
        picture::paste(composite, colours, rectangle, &weights)
    }

    /// Makes the document larger. What is new is transparent, or black where the picture has no
    /// alpha; mask, sketch and layers stay where they are on the picture.
    pub fn extend(&mut self, extension: Extension) {
        let (width, height) = self.size();
        let Extension { left, top, right, bottom } = extension;
        let (width, height) = (width + left + right, height + top + bottom);
        let mut pixels = DynamicImage::new(width, height, self.picture.pixels.color());
        picture::place(&mut pixels, &self.picture.pixels, left, top);
        self.picture = Arc::new(Picture { pixels, icc_profile: self.picture.icc_profile.clone() });
        self.mask = self.mask.placed(width, height, left, top, 0);
        self.sketch = self.sketch.placed(width, height, left, top, [0; 4]);
        for layer in &mut self.layers {
            let layer = Arc::make_mut(layer);
            layer.mask = Arc::new(layer.mask.placed(width, height, left, top, 0));
            layer.patch = layer.patch.moved(left, top);
        }
    }

    /// Whether picture and layers are those of `other`, of which this is a clone.
    pub fn shows_the_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.picture, &other.picture)
            && self.layers.len() == other.layers.len()
            && self.layers.iter().zip(&other.layers).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    /// Where the picture with all visible layers may differ from that of `other`; `None` where that
    /// may be anywhere.
    pub(super) fn shown_differences(&self, other: &Self) -> Option<Vec<PixelRectangle>> {
        if !Arc::ptr_eq(&self.picture, &other.picture) {
            return None;
        }
        let visible = |document: &Self| -> Vec<Arc<FillLayer>> {
            document.layers.iter().filter(|layer| layer.visible).cloned().collect()
        };
        let is_in = |layers: &[Arc<FillLayer>], layer: &Arc<FillLayer>| {
            layers.iter().any(|other| Arc::ptr_eq(other, layer))
        };
        let (own, others) = (visible(self), visible(other));
        let both = own.iter().filter(|layer| is_in(&others, layer));
        let both_there = others.iter().filter(|layer| is_in(&own, layer));
        let moved =
            both.zip(both_there).filter(|(a, b)| !Arc::ptr_eq(a, b)).flat_map(|(a, b)| [a, b]);
        let gone = others.iter().filter(|layer| !is_in(&own, layer));
        let new = own.iter().filter(|layer| !is_in(&others, layer));
        Some(moved.chain(gone).chain(new).map(|layer| layer.patch.area()).collect())
    }

    /// The memory that this document takes and `other` does not, in bytes, without what is small.
    pub fn unshared_bytes(&self, other: &Self) -> usize {
        let others: HashSet<usize> = other.pictures().into_iter().map(|(at, _)| at).collect();
        let mut seen = HashSet::new();
        let pictures: usize = self
            .pictures()
            .into_iter()
            .filter(|(at, _)| !others.contains(at) && seen.insert(*at))
            .map(|(_, bytes)| bytes)
            .sum();
        pictures + self.mask.unshared_bytes(&other.mask) + self.sketch.unshared_bytes(&other.sketch)
    }

    /// Address and size of all that layers and the picture hold.
    fn pictures(&self) -> Vec<(usize, usize)> {
        let of = |picture: &Arc<Picture>| {
            (Arc::as_ptr(picture) as usize, picture.pixels.as_bytes().len())
        };
        let mut pictures = vec![of(&self.picture)];
        for layer in &self.layers {
            let weights = layer.patch.weights();
            pictures.push((Arc::as_ptr(weights) as usize, weights.len() * 2));
            for variation in layer.variations() {
                pictures.extend([of(variation.painted()), of(variation.below())]);
            }
        }
        pictures
    }
}

fn integer(picture: Picture) -> Picture {
    let pixels = match picture.pixels {
        DynamicImage::ImageRgb32F(_) => DynamicImage::ImageRgb16(picture.pixels.to_rgb16()),
        DynamicImage::ImageRgba32F(_) => DynamicImage::ImageRgba16(picture.pixels.to_rgba16()),
        pixels => pixels,
    };
    Picture { pixels, icc_profile: picture.icc_profile }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use emberbrush_pipeline::{request::GenerationRequest, schedulers::Sampler};
    use image::{ColorType, ImageBuffer, Rgba};
    use proptest::prelude::*;

    use super::*;
    use crate::canvas::layer::{Patch, Variation};

    const SIZE: (u32, u32) = (61, 47);

    const KINDS: [ColorType; 8] = [
        ColorType::L8,
        ColorType::La8,
        ColorType::Rgb8,
        ColorType::Rgba8,
        ColorType::L16,
        ColorType::La16,
        ColorType::Rgb16,
        ColorType::Rgba16,
    ];

    fn of_kind(deep: DynamicImage, kind: ColorType) -> DynamicImage {
        match kind {
            ColorType::L8 => DynamicImage::ImageLuma8(deep.to_luma8()),
            ColorType::La8 => DynamicImage::ImageLumaA8(deep.to_luma_alpha8()),
            ColorType::Rgb8 => DynamicImage::ImageRgb8(deep.to_rgb8()),
            ColorType::Rgba8 => DynamicImage::ImageRgba8(deep.to_rgba8()),
            ColorType::L16 => DynamicImage::ImageLuma16(deep.to_luma16()),
            ColorType::La16 => DynamicImage::ImageLumaA16(deep.to_luma_alpha16()),
            ColorType::Rgb16 => DynamicImage::ImageRgb16(deep.to_rgb16()),
            _ => deep,
        }
    }

    pub(in crate::canvas) fn picture(kind: ColorType, salt: u32) -> Picture {
        let deep = DynamicImage::ImageRgba16(ImageBuffer::from_fn(SIZE.0, SIZE.1, |x, y| {
            let value = |factor: u32| (x * 601 * factor + y * 419 + salt * 7919) as u16;
            let alpha = if (x + salt).is_multiple_of(10) { (y * 700) as u16 } else { u16::MAX };
            Rgba([value(1), value(2), value(3), alpha])
        }));
        Picture::new(of_kind(deep, kind))
    }

    pub(in crate::canvas) fn request() -> GenerationRequest {
        GenerationRequest {
            negative_prompt: "blur".to_owned(),
            width: 64,
            height: 64,
            steps: 2,
            guidance_scale: 3.0,
            sampler: Sampler::Ddim,
            seed: 5,
            count: 3,
            ..GenerationRequest::new("a red apple")
        }
    }

    /// A soft disc.
    pub(in crate::canvas) fn disc(x: f32, y: f32, radius: f32) -> Mask {
        Mask::from_fn(SIZE.0, SIZE.1, |px, py| {
            let distance = (px as f32 - x).hypot(py as f32 - y);
            Luma([(1.5 - distance / radius).clamp(0.0, 1.0)])
        })
    }

    /// A layer over what the document shows, with a number of variations, pasted as the engine
    /// pastes.
    pub(in crate::canvas) fn layer(document: &Document, mask: &Mask, variations: u32) -> FillLayer {
        let below = document.composite();
        let patch = Patch::of(mask).unwrap();
        let cut = Arc::new(patch.cut(&below));
        let all = Rectangle { left: 0, top: 0, width: SIZE.0, height: SIZE.1 };
        let variations = (0..variations)
            .map(|index| {
                let colours = Rgb32FImage::from_fn(SIZE.0, SIZE.1, |x, y| {
                    Rgb([index as f32 / 3.0, x as f32 / 61.0, y as f32 / 47.0])
                });
                let painted = picture::paste(&below, colours, all, mask);
                Variation::new(u64::from(index), Arc::new(patch.cut(&painted)), cut.clone())
                    .unwrap()
            })
            .collect();
        let tiles = Arc::new(document.mask().clone());
        FillLayer::new(document.new_layer_id(), request(), tiles, patch, variations).unwrap()
    }

    #[test]
    fn a_layer_over_what_it_was_made_for_is_the_engines_picture() {
        for kind in KINDS {
            let mut document = Document::new("test", picture(kind, 1));
            let mask = disc(30.0, 20.0, 12.0);
            let colours = Rgb32FImage::from_fn(SIZE.0, SIZE.1, |x, y| {
                Rgb([0.0, x as f32 / 61.0, y as f32 / 47.0])
            });
            let all = Rectangle { left: 0, top: 0, width: SIZE.0, height: SIZE.1 };
            let expected = picture::paste(document.picture(), colours, all, &mask);
            let id = document.add_layer(layer(&document, &mask, 1)).unwrap();
            assert_eq!(document.composite(), expected, "{kind:?}");
            document.set_visible(id, false);
            assert_eq!(&document.composite(), document.picture().as_ref(), "{kind:?}");
        }
    }

    #[test]
    fn a_layer_over_something_else_is_nearly_pasting_it_there() {
        for kind in KINDS {
            let mask = disc(30.0, 20.0, 12.0);
            let mut elsewhere = Document::new("test", picture(kind, 2));
            let there = Document::new("test", picture(kind, 1));
            elsewhere.add_layer(layer(&there, &mask, 1)).unwrap();
            let colours = Rgb32FImage::from_fn(SIZE.0, SIZE.1, |x, y| {
                Rgb([0.0, x as f32 / 61.0, y as f32 / 47.0])
            });
            let all = Rectangle { left: 0, top: 0, width: SIZE.0, height: SIZE.1 };
            let expected =
                picture::paste(elsewhere.picture(), colours, all, &mask).pixels.to_rgba8();
            let found = elsewhere.composite().pixels.to_rgba8();
            for (x, y, pixel) in found.enumerate_pixels() {
                let other = expected.get_pixel(x, y).0;
                let alpha = f32::from(other[3]) / 255.0;
                for (a, b) in pixel.0.iter().zip(other) {
                    let difference = f32::from(a.abs_diff(b)) * alpha;
                    assert!(difference <= 3.0, "{kind:?} {x} {y} {pixel:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_variation_that_differs_where_it_has_no_weight_changes_nothing_there() {
        let mut document = Document::new("test", picture(ColorType::Rgb8, 1));
        let mask = disc(30.0, 20.0, 12.0);
        let patch = Patch::of(&mask).unwrap();
        let below = Arc::new(patch.cut(document.picture()));
        let other = Arc::new(patch.cut(&picture(ColorType::Rgb8, 9)));
        let variation = Variation::new(1, other, below).unwrap();
        let tiles = Arc::new(document.mask().clone());
        let id = document.new_layer_id();
        let layer = FillLayer::new(id, request(), tiles, patch, vec![variation]).unwrap();
        document.add_layer(layer).unwrap();
        let recount = picture::recount(document.picture(), &document.composite(), &mask);
        assert_eq!(recount.changed, 0);
        assert_ne!(&document.composite(), document.picture().as_ref());
    }

    #[test]
    fn layers_are_chosen_hidden_moved_and_deleted() {
        let mut document = Document::new("test", picture(ColorType::Rgb8, 1));
        let first = document.add_layer(layer(&document, &disc(20.0, 20.0, 9.0), 3)).unwrap();
        let second = document.add_layer(layer(&document, &disc(28.0, 24.0, 9.0), 2)).unwrap();
        assert_ne!(first, second);
        let both = document.composite();
        assert_eq!(document.layer(first).unwrap().name(), "a red apple");
        document.edit_layer(first, |layer| layer.choose(2)).unwrap().unwrap();
        let other = document.composite();
        assert_ne!(both, other);
        assert!(document.edit_layer(first, |layer| layer.choose(3)).unwrap().is_err());
        document.move_layer(second, 0);
        assert_eq!(document.layers()[0].id(), second);
        assert_eq!(document.composite_below(second), *document.picture().as_ref());
        document.move_layer(second, 9);
        assert_eq!(document.composite(), other, "back on top");
        document.rename_layer(first, "apple");
        assert_eq!(document.layer(first).unwrap().name(), "apple");
        document.remove_layer(first);
        document.set_visible(second, false);
        assert_eq!(&document.composite(), document.picture().as_ref());
    }

    #[test]
    fn layers_of_another_kind_or_place_are_refused() {
        let document = Document::new("test", picture(ColorType::Rgb8, 1));
        let layer = layer(&document, &disc(50.0, 40.0, 9.0), 1);
        let mut deep = Document::new("deep", picture(ColorType::Rgb16, 1));
        assert!(matches!(deep.add_layer(layer.clone()), Err(LayerError::Kind { .. })));
        let small = Picture::new(DynamicImage::new_rgb8(20, 20));
        assert!(matches!(Document::new("small", small).add_layer(layer), Err(LayerError::Outside)));
        let weights = Mask::new(4, 4);
        assert_eq!(Patch::of(&weights).unwrap_err(), LayerError::Empty);
        let picture = |side| Arc::new(Picture::new(DynamicImage::new_rgb8(side, side)));
        assert!(matches!(Variation::new(1, picture(4), picture(5)), Err(LayerError::Size { .. })));
    }

    #[test]
    fn an_extended_document_keeps_everything_in_its_place() {
        let mut document = Document::new("test", picture(ColorType::Rgba8, 1));
        document.add_layer(layer(&document, &disc(20.0, 20.0, 9.0), 1)).unwrap();
        document.surfaces_mut().0.update(
            super::super::geometry::PixelRectangle { left: 3, top: 4, right: 5, bottom: 6 },
            |_, _, _| 200,
        );
        let before = document.composite();
        document.extend(Extension { left: 10, top: 7, right: 1, bottom: 0 });
        assert_eq!(document.size(), (72, 54));
        let after = document.composite();
        assert_eq!(after.pixels.crop_imm(10, 7, 61, 47), before.pixels);
        assert_eq!(document.mask().get(13, 11), Some(200));
        assert_eq!(document.mask().get(3, 4), Some(0));
        assert_eq!(document.sketch().size(), (72, 54));
    }

    #[test]
    fn a_sketch_lies_over_the_picture_that_a_fill_starts_from() {
        let mut document = Document::new("test", picture(ColorType::Rgb8, 1));
        let area =
            super::super::geometry::PixelRectangle { left: 9, top: 9, right: 20, bottom: 12 };
        document.surfaces_mut().1.update(area, |_, _, _| [10, 20, 30, 255]);
        let composite = document.composite();
        let start = document.with_sketch(&composite);
        for (x, y, pixel) in start.pixels.to_rgb8().enumerate_pixels() {
            let expected = match area.contains(x, y) {
                true => Rgb([10, 20, 30]),
                false => *composite.pixels.to_rgb8().get_pixel(x, y),
            };
            assert_eq!(*pixel, expected, "{x} {y}");
        }
        assert_eq!(&composite, document.picture().as_ref(), "a sketch is no part of the picture");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn outside_of_all_weights_pixels_are_the_pictures(
            kind in 0_usize..8,
            discs in proptest::collection::vec((0.0_f32..61.0, 0.0_f32..47.0, 2.0_f32..15.0), 1..4),
            moves in proptest::collection::vec((0_u64..4, 0_usize..4, any::<bool>()), 0..6),
        ) {
            let mut document = Document::new("test", picture(KINDS[kind], 3));
            let mut covered = Mask::new(SIZE.0, SIZE.1);
            for (x, y, radius) in discs {
                let mask = disc(x, y, radius);
                for (covered, weight) in covered.iter_mut().zip(mask.iter()) {
                    *covered = covered.max(*weight);
                }
                document.add_layer(layer(&document, &mask, 2)).unwrap();
            }
            for (id, index, flag) in moves {
                document.move_layer(LayerId(id), index);
                document.set_visible(LayerId(id), flag);
                document.edit_layer(LayerId(id), |layer| layer.choose(usize::from(flag)));
            }
            let recount = picture::recount(document.picture(), &document.composite(), &covered);
            prop_assert_eq!(recount.changed, 0);
        }
    }
}
