//! Pasting what was painted into a picture, and counting what changed.

use image::{
    DynamicImage, GenericImageView, ImageBuffer, Pixel, Primitive, Rgb32FImage, imageops::replace,
};

use super::{Mask, Picture, bounds::Rectangle};

/// How many pixels lie outside a mask, and how many of them changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Recount {
    /// Pixels that the mask does not repaint at all.
    pub outside: u64,
    /// Those of them that are not as they were, in any channel.
    pub changed: u64,
}

/// Puts `painted`, which lies at `rectangle` and has its size, into `picture` by the mask's
/// weights. Depth and kind of the picture stay. Pixels of weight 0 are not touched; where it is
/// above 0, alpha grows with it.
///
/// `painted` has sRGB values; the mask has the picture's size.
pub fn paste(
    picture: &Picture,
    painted: Rgb32FImage,
    rectangle: Rectangle,
    mask: &Mask,
) -> Picture {
    let painted = picture.from_srgb(painted);
    let mut pasted = picture.clone();
    let layer = Layer { painted, rectangle, mask };
    match &mut pasted.pixels {
        DynamicImage::ImageLuma8(image) => layer.blend(image, 255.0),
        DynamicImage::ImageLumaA8(image) => layer.blend(image, 255.0),
        DynamicImage::ImageRgb8(image) => layer.blend(image, 255.0),
        DynamicImage::ImageRgba8(image) => layer.blend(image, 255.0),
        DynamicImage::ImageLuma16(image) => layer.blend(image, 65_535.0),
        DynamicImage::ImageLumaA16(image) => layer.blend(image, 65_535.0),
        DynamicImage::ImageRgb16(image) => layer.blend(image, 65_535.0),
        DynamicImage::ImageRgba16(image) => layer.blend(image, 65_535.0),
        other => {
            let mut image = other.to_rgba16();
            layer.blend(&mut image, 65_535.0);
            *other = DynamicImage::ImageRgba16(image);
        }
    }
    pasted
}

/// Copies the pixels of `part` to `left`, `top` of `whole`, which has the same kind of pixel.
/// Pictures of different kinds meet as 16-bit RGBA.
pub fn place(whole: &mut DynamicImage, part: &DynamicImage, left: u32, top: u32) {
    let (x, y) = (i64::from(left), i64::from(top));
    match (whole, part) {
        (DynamicImage::ImageLuma8(whole), DynamicImage::ImageLuma8(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageLumaA8(whole), DynamicImage::ImageLumaA8(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageRgb8(whole), DynamicImage::ImageRgb8(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageRgba8(whole), DynamicImage::ImageRgba8(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageLuma16(whole), DynamicImage::ImageLuma16(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageLumaA16(whole), DynamicImage::ImageLumaA16(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageRgb16(whole), DynamicImage::ImageRgb16(part)) => {
            replace(whole, part, x, y);
        }
        (DynamicImage::ImageRgba16(whole), DynamicImage::ImageRgba16(part)) => {
            replace(whole, part, x, y);
        }
        (whole, part) => {
            let mut deep = whole.to_rgba16();
            replace(&mut deep, &part.to_rgba16(), x, y);
            *whole = DynamicImage::ImageRgba16(deep);
        }
    }
}

struct Layer<'a> {
    painted: Rgb32FImage,
    rectangle: Rectangle,
    mask: &'a Mask,
}

impl Layer<'_> {
    fn blend<P>(&self, image: &mut ImageBuffer<P, Vec<P::Subpixel>>, most: f32)
    where
        P: Pixel,
        P::Subpixel: Primitive,
    {
        let has_alpha = P::HAS_ALPHA;
        for (x, y, pixel) in image.enumerate_pixels_mut() {
            let weight = self.mask.get_pixel(x, y).0[0];
            let Some((left, top)) = self.rectangle.position(x, y) else { continue };
            if weight <= 0.0 {
                continue;
            }
            let painted = *self.painted.get_pixel(left, top);
            let channels = pixel.channels_mut();
            let (colours, alpha) = channels.split_at_mut(channels.len() - usize::from(has_alpha));
            let opacity = match alpha.first() {
                Some(&alpha) => to_float(alpha) / most,
                None => 1.0,
            };
            let kept = opacity * (1.0 - weight);
            let grey = painted.to_luma().0;
            let new: &[f32] = if colours.len() == 1 { &grey } else { &painted.0 };
            for (colour, new) in colours.iter_mut().zip(new) {
                let mixed = (to_float(*colour) * kept + new * most * weight) / (kept + weight);
                *colour = from_float(mixed, most);
            }
            for alpha in alpha {
                *alpha = from_float((kept + weight) * most, most);
            }
        }
    }
}

fn to_float(value: impl Primitive) -> f32 {
    value.to_f32().unwrap_or(0.0)
}

fn from_float<T: Primitive>(value: f32, most: f32) -> T {
    T::from(value.clamp(0.0, most).round()).unwrap_or(T::DEFAULT_MIN_VALUE)
}

/// Compares two pictures of one size where the mask is 0, bit by bit.
///
/// Where the kind of pixel differs, as a format without grey makes it, both are compared as
/// 16-bit RGBA, which every other kind fits into without loss. Where the size differs, everything
/// counts as changed.
pub fn recount(before: &Picture, after: &Picture, mask: &Mask) -> Recount {
    let outside = mask.iter().filter(|&&value| value <= 0.0).count() as u64;
    if before.pixels.dimensions() != after.pixels.dimensions()
        || before.pixels.dimensions() != mask.dimensions()
    {
        return Recount { outside, changed: outside };
    }
    let changed = if before.pixels.color() == after.pixels.color() {
        let bytes = usize::from(before.pixels.color().bytes_per_pixel());
        count(before.pixels.as_bytes(), after.pixels.as_bytes(), bytes, mask)
    } else {
        let (before, after) = (before.pixels.to_rgba16(), after.pixels.to_rgba16());
        count(before.as_raw(), after.as_raw(), 4, mask)
    };
    Recount { outside, changed }
}

fn count<T: PartialEq>(before: &[T], after: &[T], length: usize, mask: &Mask) -> u64 {
    before
        .chunks_exact(length)
        .zip(after.chunks_exact(length))
        .zip(mask.iter())
        .filter(|((before, after), mask)| **mask <= 0.0 && before != after)
        .count() as u64
}
