//! Masks from pictures, and their edges.

use image::{GenericImageView, Luma};

use super::{Mask, Picture, PictureError, distance::squared_distances};

/// How the greys of a mask's picture are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskSource {
    /// Everything above 128 of 255 is repainted wholly, all else is kept.
    Binary,
    /// Greys are kept: between 0 and 1.
    Grey,
}

/// What happens to the edge of a mask, in this order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskEdge {
    /// Pixels by which the mask grows; it shrinks where negative.
    pub grow: i32,
    /// Pixels over which it fades out, outside of what is repainted wholly.
    pub feather: u32,
    /// Standard deviation of the blur in pixels.
    pub blur: f32,
}

/// Reads a mask for a picture of `size`: white is repainted. A mask whose alpha channel is not
/// opaque everywhere is read from it, with opaque pixels repainted.
///
/// # Errors
///
/// [`PictureError::MaskSize`] and [`PictureError::EmptyMask`].
pub fn mask_from(
    picture: &Picture,
    size: (u32, u32),
    invert: bool,
    source: MaskSource,
) -> Result<Mask, PictureError> {
    if picture.pixels.dimensions() != size {
        return Err(PictureError::MaskSize {
            mask_width: picture.width(),
            mask_height: picture.height(),
            width: size.0,
            height: size.1,
        });
    }
    let levels = picture.pixels.to_luma_alpha16();
    let by_alpha = levels.pixels().any(|pixel| pixel.0[1] != u16::MAX);
    let mask = Mask::from_fn(size.0, size.1, |x, y| {
        let pixel = levels.get_pixel(x, y).0;
        let level = f32::from(if by_alpha { pixel[1] } else { pixel[0] }) / f32::from(u16::MAX);
        let level = match source {
            MaskSource::Binary => f32::from(u8::from(level > 128.0 / 255.0)),
            MaskSource::Grey => level,
        };
        Luma([if invert { 1.0 - level } else { level }])
    });
    if mask.iter().all(|&value| value == 0.0) {
        return Err(PictureError::EmptyMask);
    }
    Ok(mask)
}

impl MaskEdge {
    /// The mask with this edge. Growing and feathering look at what is above 1/2.
    ///
    /// # Errors
    ///
    /// [`PictureError::EmptyMask`] where shrinking leaves nothing.
    pub fn apply(self, mask: &Mask) -> Result<Mask, PictureError> {
        let mut mask = mask.clone();
        if self.grow != 0 {
            let reach = f64::from(self.grow).powi(2);
            let growing = self.grow > 0;
            let distances = squared_distances(&mask, |value| (value > 0.5) == growing);
            for (value, distance) in mask.iter_mut().zip(distances) {
                *value = f32::from(u8::from((distance <= reach) == growing));
            }
        }
        if self.feather > 0 {
            let width = f64::from(self.feather) + 1.0;
            let distances = squared_distances(&mask, |value| value > 0.5);
            for (value, distance) in mask.iter_mut().zip(distances) {
                let left = (1.0 - distance.sqrt() / width).max(0.0);
                *value = value.max((left * left * (3.0 - 2.0 * left)) as f32);
            }
        }
        if self.blur > 0.0 {
            mask = blurred(&mask, self.blur);
        }
        // What rounds to nothing in 16 bits must not count as repainted.
        for value in mask.iter_mut().filter(|value| **value < 1.0 / 131_072.0) {
            *value = 0.0;
        }
        if mask.iter().all(|&value| value == 0.0) {
            return Err(PictureError::EmptyMask);
        }
        Ok(mask)
    }
}

/// Gaussian blur with a kernel of `2 · int(2.5 σ + 0.5) + 1` pixels, as A1111's mask blur.
fn blurred(mask: &Mask, sigma: f32) -> Mask {
    let radius = (2.5 * sigma + 0.5) as i64;
    let weights: Vec<f32> =
        (-radius..=radius).map(|at| (-((at * at) as f32) / (2.0 * sigma * sigma)).exp()).collect();
    let sum: f32 = weights.iter().sum();
    let along = |mask: &Mask, step: (i64, i64)| {
        let (width, height) = (i64::from(mask.width()), i64::from(mask.height()));
        Mask::from_fn(mask.width(), mask.height(), |x, y| {
            let values = weights.iter().enumerate().map(|(at, weight)| {
                let offset = at as i64 - radius;
                let x = (i64::from(x) + offset * step.0).clamp(0, width - 1) as u32;
                let y = (i64::from(y) + offset * step.1).clamp(0, height - 1) as u32;
                weight * mask.get_pixel(x, y).0[0]
            });
            Luma([(values.sum::<f32>() / sum).clamp(0.0, 1.0)])
        })
    };
    along(&along(mask, (1, 0)), (0, 1))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use image::{DynamicImage, GrayImage, RgbaImage};
    use proptest::prelude::*;

    use super::*;
    use crate::picture::Rectangle;

    const NONE: MaskEdge = MaskEdge { grow: 0, feather: 0, blur: 0.0 };

    fn square() -> Picture {
        let inside = |x, y| (8..16).contains(&x) && (8..16).contains(&y);
        let pixels = GrayImage::from_fn(24, 24, |x, y| image::Luma([u8::from(inside(x, y)) * 255]));
        Picture::new(DynamicImage::ImageLuma8(pixels))
    }

    fn sum(mask: &Mask) -> f32 {
        mask.iter().sum()
    }

    #[test]
    fn alpha_counts_where_it_is_not_opaque() {
        let pixels = RgbaImage::from_fn(4, 2, |x, _| {
            image::Rgba([255, 255, 255, if x == 0 { 200 } else { 0 }])
        });
        let picture = Picture::new(DynamicImage::ImageRgba8(pixels));
        let mask = mask_from(&picture, (4, 2), false, MaskSource::Binary).unwrap();
        assert_eq!(mask.as_raw(), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let inverted = mask_from(&picture, (4, 2), true, MaskSource::Binary).unwrap();
        assert_eq!(sum(&inverted), 6.0);
    }

    #[test]
    fn empty_masks_and_masks_of_another_size_are_refused() {
        let black = Picture::new(DynamicImage::new_luma8(24, 24));
        let error = mask_from(&black, (24, 24), false, MaskSource::Binary).unwrap_err();
        assert!(matches!(error, PictureError::EmptyMask), "{error}");
        let error = mask_from(&square(), (25, 24), false, MaskSource::Binary).unwrap_err();
        assert!(error.to_string().contains("24×24") && error.to_string().contains("25×24"));
        let mask = mask_from(&square(), (24, 24), false, MaskSource::Binary).unwrap();
        assert!(MaskEdge { grow: -5, ..NONE }.apply(&mask).is_err());
    }

    #[test]
    fn edges_move_and_fade() {
        let mask = mask_from(&square(), (24, 24), false, MaskSource::Binary).unwrap();
        let at = |edge: MaskEdge, x: u32, y: u32| edge.apply(&mask).unwrap().get_pixel(x, y).0[0];
        let grown = MaskEdge { grow: 3, ..NONE };
        assert_eq!((at(grown, 5, 12), at(grown, 4, 12)), (1.0, 0.0));
        assert_eq!(at(grown, 5, 5), 0.0, "corners are round");
        let shrunk = MaskEdge { grow: -2, ..NONE };
        assert_eq!((at(shrunk, 10, 12), at(shrunk, 9, 12)), (1.0, 0.0));
        let feathered = MaskEdge { feather: 4, ..NONE };
        assert_eq!((at(feathered, 8, 12), at(feathered, 3, 12)), (1.0, 0.0));
        assert!(at(feathered, 6, 12) > at(feathered, 4, 12) && at(feathered, 4, 12) > 0.0);
        let blurred = MaskEdge { blur: 2.0, ..NONE };
        assert_eq!(at(blurred, 2, 12), 0.0, "the kernel ends after 5 pixels");
        assert!(at(blurred, 7, 12) < 0.5 && at(blurred, 8, 12) > 0.5);
        assert!((sum(&blurred.apply(&mask).unwrap()) - 64.0).abs() < 1e-3);
    }

    fn masks() -> impl Strategy<Value = Mask> {
        (1_u32..24, 1_u32..24).prop_flat_map(|(width, height)| {
            prop::collection::vec(prop::bool::weighted(0.1), (width * height) as usize).prop_map(
                move |inside| {
                    Mask::from_fn(width, height, |x, y| {
                        Luma([f32::from(u8::from(inside[(y * width + x) as usize]))])
                    })
                },
            )
        })
    }

    proptest! {
        #[test]
        fn an_edge_reaches_as_far_as_it_says(
            mask in masks(),
            grow in -6_i32..7,
            feather in 0_u32..8,
            blur in prop_oneof![Just(0.0_f32), 0.05_f32..3.0],
        ) {
            let Ok(edged) = (MaskEdge { grow, feather, blur }).apply(&mask) else {
                // Nothing is left only where shrinking took it, or nothing was there.
                prop_assert!(grow < 0 || mask.iter().all(|&value| value == 0.0));
                return Ok(());
            };
            let kernel = if blur > 0.0 { (2.5 * blur + 0.5) as i64 } else { 0 };
            let reach = i64::from(grow.max(0)) + i64::from(feather) + kernel;
            for (x, y, pixel) in edged.enumerate_pixels() {
                let value = pixel.0[0];
                prop_assert!((0.0..=1.0).contains(&value));
                let near = mask.enumerate_pixels().any(|(a, b, inside)| {
                    let apart = i64::from(a.abs_diff(x)).max(i64::from(b.abs_diff(y)));
                    inside.0[0] > 0.5 && apart <= reach
                });
                prop_assert!(near || value == 0.0, "{value} at {x}, {y}");
            }
        }

        #[test]
        fn bounds_hold_the_mask_and_stay_in_the_picture(
            mask in masks(),
            padding in prop_oneof![0_u32..40, Just(u32::MAX)],
            aspect in 0.01_f64..100.0,
        ) {
            let size = mask.dimensions();
            let Some(around) = Rectangle::around(&mask, padding) else {
                prop_assert!(mask.iter().all(|&value| value == 0.0));
                return Ok(());
            };
            for bounds in [around, around.grown_to(aspect, size)] {
                prop_assert!(bounds.left >= 0 && bounds.top >= 0);
                prop_assert!(bounds.left + i64::from(bounds.width) <= i64::from(size.0));
                prop_assert!(bounds.top + i64::from(bounds.height) <= i64::from(size.1));
                for (x, y, pixel) in mask.enumerate_pixels() {
                    prop_assert!(pixel.0[0] == 0.0 || bounds.position(x, y).is_some());
                }
            }
        }
    }
}
