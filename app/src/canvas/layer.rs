//! A fill in a document: its mask, what was asked for, and all that was painted.

use std::sync::Arc;

use emberbrush_pipeline::{
    picture::{Mask, Picture, Rectangle},
    request::GenerationRequest,
};
use image::{DynamicImage, GenericImageView, ImageBuffer, Luma, Pixel, Primitive};
use thiserror::Error;

use super::{geometry::PixelRectangle, mask::MaskTiles};

/// By what weight each pixel of a part of a picture is replaced: 0 not at all, 65535 wholly.
pub type Weights = ImageBuffer<Luma<u16>, Vec<u16>>;

/// What tells layers of a document apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerId(pub u64);

/// Why what was painted cannot be a layer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayerError {
    /// Nothing is replaced.
    #[error("the mask is empty: nothing would be replaced")]
    Empty,
    /// The parts of the layer do not have the size of its weights, or lie outside the document.
    #[error(
        "the layer's picture is {found_width}×{found_height} pixels and must be \
         {width}×{height}"
    )]
    Size {
        /// Width that was found.
        found_width: u32,
        /// Height that was found.
        found_height: u32,
        /// Width that is needed.
        width: u32,
        /// Height that is needed.
        height: u32,
    },
    /// The part lies outside of the document.
    #[error("the layer reaches beyond the document")]
    Outside,
    /// The kinds of pixels differ.
    #[error("the layer's picture has {found:?} pixels and the document {needed:?}")]
    Kind {
        /// The layer's.
        found: image::ColorType,
        /// The document's.
        needed: image::ColorType,
    },
    /// No variation, or a choice that there is none of.
    #[error("the layer chooses variation {chosen} of {count}")]
    Choice {
        /// The choice, from 1.
        chosen: usize,
        /// How many there are.
        count: usize,
    },
}

/// One result for a fill.
#[derive(Debug, Clone)]
pub struct Variation {
    seed: u64,
    painted: Arc<Picture>,
    below: Arc<Picture>,
}

impl Variation {
    /// A result from `seed`. `painted` is what the picture became, and `below` what it was, both
    /// cut to the layer's part.
    ///
    /// # Errors
    ///
    /// [`LayerError::Size`] and [`LayerError::Kind`] where the two do not match.
    pub fn new(seed: u64, painted: Arc<Picture>, below: Arc<Picture>) -> Result<Self, LayerError> {
        check(&painted, below.pixels.dimensions(), below.pixels.color())?;
        Ok(Self { seed, painted, below })
    }

    /// Its seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What the part of the picture became.
    pub fn painted(&self) -> &Arc<Picture> {
        &self.painted
    }

    /// What the part of the picture was before.
    pub fn below(&self) -> &Arc<Picture> {
        &self.below
    }
}

fn check(picture: &Picture, size: (u32, u32), kind: image::ColorType) -> Result<(), LayerError> {
    if picture.pixels.dimensions() != size {
        return Err(LayerError::Size {
            found_width: picture.width(),
            found_height: picture.height(),
            width: size.0,
            height: size.1,
        });
    }
    if picture.pixels.color() != kind {
        return Err(LayerError::Kind { found: picture.pixels.color(), needed: kind });
    }
    Ok(())
}

/// The part of a picture that a fill replaces, and by what weights.
#[derive(Debug, Clone)]
pub struct Patch {
    left: u32,
    top: u32,
    weights: Arc<Weights>,
}

impl Patch {
    /// The part of a picture in which `mask`, which has the picture's size, is above 0.
    ///
    /// # Errors
    ///
    /// [`LayerError::Empty`].
    pub fn of(mask: &Mask) -> Result<Self, LayerError> {
        let Rectangle { left, top, width, height } =
            Rectangle::around(mask, 0).ok_or(LayerError::Empty)?;
        let (left, top) = (left.max(0) as u32, top.max(0) as u32);
        let weights = Weights::from_fn(width, height, |x, y| {
            Luma([(mask.get_pixel(left + x, top + y).0[0] * 65_535.0).round() as u16])
        });
        Self::new(left, top, weights)
    }

    /// The part at `left`, `top`.
    ///
    /// # Errors
    ///
    /// [`LayerError::Empty`] where all weights are 0.
    pub fn new(left: u32, top: u32, weights: Weights) -> Result<Self, LayerError> {
        if weights.iter().all(|&weight| weight == 0) {
            return Err(LayerError::Empty);
        }
        Ok(Self { left, top, weights: Arc::new(weights) })
    }

    /// Where it lies.
    pub fn area(&self) -> PixelRectangle {
        let (width, height) = self.weights.dimensions();
        PixelRectangle {
            left: self.left,
            top: self.top,
            right: self.left.saturating_add(width),
            bottom: self.top.saturating_add(height),
        }
    }

    /// By what weights it replaces what is below.
    pub fn weights(&self) -> &Arc<Weights> {
        &self.weights
    }

    /// What a picture shows there.
    pub fn cut(&self, picture: &Picture) -> Picture {
        let (width, height) = self.weights.dimensions();
        Picture {
            pixels: picture.pixels.crop_imm(self.left, self.top, width, height),
            icc_profile: picture.icc_profile.clone(),
        }
    }

    pub(super) fn moved(&self, left: u32, top: u32) -> Self {
        Self {
            left: self.left.saturating_add(left),
            top: self.top.saturating_add(top),
            weights: Arc::clone(&self.weights),
        }
    }
}

/// A fill with all its variations, of which one is shown.
#[derive(Debug, Clone)]
pub struct FillLayer {
    pub(super) id: LayerId,
    pub(super) name: String,
    pub(super) visible: bool,
    pub(super) mask: Arc<MaskTiles>,
    pub(super) patch: Patch,
    request: GenerationRequest,
    variations: Vec<Variation>,
    chosen: usize,
}

impl FillLayer {
    /// A visible layer, named after its prompt. `mask` is the mask as it was painted, of the
    /// document's size; `request` what the variations were asked for with.
    ///
    /// # Errors
    ///
    /// [`LayerError::Size`], [`LayerError::Kind`] where variations do not match the patch and each
    /// other, and [`LayerError::Choice`] without variations.
    pub fn new(
        id: LayerId,
        request: GenerationRequest,
        mask: Arc<MaskTiles>,
        patch: Patch,
        variations: Vec<Variation>,
    ) -> Result<Self, LayerError> {
        let Some(first) = variations.first() else {
            return Err(LayerError::Choice { chosen: 1, count: 0 });
        };
        let kind = first.painted.pixels.color();
        for variation in &variations {
            check(&variation.painted, patch.weights.dimensions(), kind)?;
        }
        let name = request.prompt.chars().take(MAX_NAME).collect();
        Ok(Self { id, name, visible: true, mask, patch, request, variations, chosen: 0 })
    }

    /// What tells it apart from others.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// Its name; empty for one that nobody named and that has no prompt.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it is part of the picture.
    pub fn is_visible(&self) -> bool {
        self.visible
    }

    /// The mask as it was painted.
    pub fn mask(&self) -> &Arc<MaskTiles> {
        &self.mask
    }

    /// What it replaces.
    pub fn patch(&self) -> &Patch {
        &self.patch
    }

    /// Prompt, seed and settings.
    pub fn request(&self) -> &GenerationRequest {
        &self.request
    }

    /// All results, in the order in which they were made.
    pub fn variations(&self) -> &[Variation] {
        &self.variations
    }

    /// Which variation is shown, from 0.
    pub fn chosen(&self) -> usize {
        self.chosen
    }

    /// The kind of pixels.
    pub fn kind(&self) -> image::ColorType {
        self.shown().painted.pixels.color()
    }

    /// The variation that is shown.
    pub fn shown(&self) -> &Variation {
        // `choose` and `new` keep the choice inside; there is always a first.
        &self.variations[self.chosen.min(self.variations.len() - 1)]
    }

    /// Shows another variation.
    ///
    /// # Errors
    ///
    /// [`LayerError::Choice`] where there is none of that number.
    pub fn choose(&mut self, index: usize) -> Result<(), LayerError> {
        let count = self.variations.len();
        if index >= count {
            return Err(LayerError::Choice { chosen: index + 1, count });
        }
        self.chosen = index;
        Ok(())
    }

    /// Adds a result and what it was asked for with.
    ///
    /// # Errors
    ///
    /// [`LayerError::Size`] and [`LayerError::Kind`].
    pub fn add(&mut self, variation: Variation) -> Result<(), LayerError> {
        check(&variation.painted, self.patch.weights.dimensions(), self.kind())?;
        self.variations.push(variation);
        Ok(())
    }

    /// Lays the variation that is shown over `picture`. Pixels of weight 0 are not touched. Where
    /// the picture is what it was when the variation was made, the result is what was painted, bit
    /// for bit; elsewhere what is below shows through by what the weight leaves of it.
    pub fn lay_over(&self, picture: &mut Picture) {
        self.lay_over_part(picture, (0, 0));
    }

    /// Does the same with a part of the picture, of which the upper left pixel is at `origin`.
    pub(super) fn lay_over_part(&self, picture: &mut Picture, origin: (u32, u32)) {
        let Variation { painted, below, .. } = self.shown();
        let layer = Laying { patch: &self.patch, origin };
        macro_rules! lay {
            ($($kind:ident),*) => {
                match (&mut picture.pixels, &painted.pixels, &below.pixels) {
                    $((DynamicImage::$kind(picture), DynamicImage::$kind(painted), DynamicImage::$kind(below)) => {
                        layer.lay(picture, painted, below);
                    })*
                    // `Document` takes no layer of another kind.
                    _ => {}
                }
            };
        }
        lay!(
            ImageLuma8,
            ImageLumaA8,
            ImageRgb8,
            ImageRgba8,
            ImageLuma16,
            ImageLumaA16,
            ImageRgb16,
            ImageRgba16
        );
    }
}

/// Characters of a prompt that name a layer.
const MAX_NAME: usize = 48;

struct Laying<'a> {
    patch: &'a Patch,
    /// Where the upper left pixel of the picture is in the document.
    origin: (u32, u32),
}

impl Laying<'_> {
    /// With weight `w`, `painted` is `p·w + below·(1 − w)` for an unknown `p`; over another `now`
    /// it becomes `painted + (now − below)·(1 − w)`. Colours are multiplied by alpha meanwhile.
    fn lay<P>(
        &self,
        picture: &mut ImageBuffer<P, Vec<P::Subpixel>>,
        painted: &ImageBuffer<P, Vec<P::Subpixel>>,
        below: &ImageBuffer<P, Vec<P::Subpixel>>,
    ) where
        P: Pixel,
        P::Subpixel: Primitive,
    {
        let most = to_float(P::Subpixel::DEFAULT_MAX_VALUE);
        let (left, top) = self.origin;
        let (width, height) = picture.dimensions();
        let part = PixelRectangle { left, top, right: left + width, bottom: top + height };
        for (x, y) in self.patch.area().intersection(part).pixels() {
            let here = (x - self.patch.left, y - self.patch.top);
            let weight = self.patch.weights.get_pixel(here.0, here.1).0[0];
            if weight == 0 {
                continue;
            }
            let now = picture.get_pixel_mut(x - left, y - top);
            let (painted, below) =
                (painted.get_pixel(here.0, here.1), below.get_pixel(here.0, here.1));
            if now.channels() == below.channels() {
                *now = *painted;
                continue;
            }
            let left = 1.0 - f32::from(weight) / 65_535.0;
            let (new, new_alpha) = multiplied(painted, most);
            let (old, old_alpha) = multiplied(below, most);
            let (current, current_alpha) = multiplied(now, most);
            let alpha = (new_alpha + (current_alpha - old_alpha) * left).clamp(0.0, 1.0);
            for (channel, value) in now.channels_mut().iter_mut().enumerate() {
                let is_alpha = P::HAS_ALPHA && channel + 1 == usize::from(P::CHANNEL_COUNT);
                let mixed = if is_alpha {
                    alpha
                } else if alpha > 0.0 {
                    (new[channel] + (current[channel] - old[channel]) * left) / alpha
                } else {
                    0.0
                };
                let mixed = (mixed.clamp(0.0, 1.0) * most).round();
                *value = from_float(mixed);
            }
        }
    }
}

/// Colours from 0 to 1, multiplied by alpha, and alpha.
fn multiplied<P>(pixel: &P, most: f32) -> ([f32; 4], f32)
where
    P: Pixel,
    P::Subpixel: Primitive,
{
    let mut values = [0.0; 4];
    for (value, channel) in values.iter_mut().zip(pixel.channels()) {
        *value = to_float(*channel) / most;
    }
    let alpha = if P::HAS_ALPHA { values[usize::from(P::CHANNEL_COUNT) - 1] } else { 1.0 };
    (values.map(|value| value * alpha), alpha)
}

fn to_float(value: impl Primitive) -> f32 {
    value.to_f32().unwrap_or(0.0)
}

fn from_float<T: Primitive>(value: f32) -> T {
    T::from(value).unwrap_or(T::DEFAULT_MIN_VALUE)
}
