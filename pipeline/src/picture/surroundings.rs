//! What the surroundings of a hole say about it.

use image::{Rgb, Rgb32FImage};

use super::Mask;

/// The picture with the colours around the mask flowing into it, ever smoother towards its
/// middle, as A1111's masked content "fill" has it.
pub fn filled_from_surroundings(image: &Rgb32FImage, mask: &Mask) -> Rgb32FImage {
    let weights = mask.iter().map(|&value| f32::from(u8::from(value <= 0.0))).collect();
    let mut filled = image.clone();
    let flowed = flow(image, weights);
    for ((pixel, flowed), mask) in filled.pixels_mut().zip(flowed.pixels()).zip(mask.iter()) {
        if *mask > 0.0 {
            *pixel = *flowed;
        }
    }
    filled
}

/// Values everywhere from values with weights: known ones are averaged into ever coarser
/// pictures, and what is unknown is taken from the next coarser one (pull-push, Gortler et al.,
/// "The Lumigraph", 1996). Pixels with weight keep part of their own value by the weight.
fn flow(image: &Rgb32FImage, weights: Vec<f32>) -> Rgb32FImage {
    let (width, height) = image.dimensions();
    if width <= 1 && height <= 1 {
        return image.clone();
    }
    let (coarse_width, coarse_height) = (width.div_ceil(2), height.div_ceil(2));
    let mut coarse = Rgb32FImage::new(coarse_width, coarse_height);
    let mut coarse_weights = vec![0.0_f32; (coarse_width * coarse_height) as usize];
    for (x, y, pixel) in image.enumerate_pixels() {
        let weight = weights[(y * width + x) as usize];
        if weight > 0.0 {
            let sum = coarse.get_pixel_mut(x / 2, y / 2);
            for (sum, value) in sum.0.iter_mut().zip(pixel.0) {
                *sum += weight * value;
            }
            coarse_weights[(y / 2 * coarse_width + x / 2) as usize] += weight;
        }
    }
    for (pixel, weight) in coarse.pixels_mut().zip(&coarse_weights) {
        if *weight > 0.0 {
            pixel.0 = pixel.0.map(|sum| sum / weight);
        }
    }
    let largest = coarse_weights.iter().copied().fold(0.0, f32::max);
    if largest <= 0.0 {
        return Rgb32FImage::new(width, height);
    }
    for weight in &mut coarse_weights {
        *weight = weight.min(1.0);
    }
    let coarse = flow(&coarse, coarse_weights);
    Rgb32FImage::from_fn(width, height, |x, y| {
        let weight = weights[(y * width + x) as usize].min(1.0);
        let known = image.get_pixel(x, y).0;
        let smooth = interpolated(&coarse, x, y);
        let mixed = |channel: usize| {
            if weight <= 0.0 {
                smooth[channel]
            } else {
                known[channel] * weight + smooth[channel] * (1.0 - weight)
            }
        };
        Rgb([mixed(0), mixed(1), mixed(2)])
    })
}

/// The bilinear value of a picture of half the size.
fn interpolated(coarse: &Rgb32FImage, x: u32, y: u32) -> [f32; 3] {
    // Centres of fine pixels lie a quarter of a coarse pixel left or right of its centre.
    let near = |at: u32, side: u32| {
        let other = if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { at / 2 + 1 };
        [(at / 2, 0.75), (other.min(side - 1), 0.25)]
    };
    let mut value = [0.0; 3];
    for (y, vertical) in near(y, coarse.height()) {
        for (x, horizontal) in near(x, coarse.width()) {
            for (value, part) in value.iter_mut().zip(coarse.get_pixel(x, y).0) {
                *value += part * vertical * horizontal;
            }
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    fn hole() -> Mask {
        let inside = |x, y| (10..30).contains(&x) && (12..25).contains(&y);
        Mask::from_fn(40, 40, |x, y| Luma([f32::from(u8::from(inside(x, y)))]))
    }

    #[test]
    fn a_hole_in_a_slope_is_filled_with_a_slope() {
        let slope = |x: u32, _: u32| Rgb([x as f32 / 40.0, 0.5, 1.0 - x as f32 / 40.0]);
        let image = Rgb32FImage::from_fn(40, 40, slope);
        let mut holed = image.clone();
        for (pixel, mask) in holed.pixels_mut().zip(hole().iter()) {
            if *mask > 0.0 {
                *pixel = Rgb([9.0; 3]);
            }
        }
        let filled = filled_from_surroundings(&holed, &hole());
        for ((value, expected), position) in filled.iter().zip(image.iter()).zip(0..) {
            assert!((value - expected).abs() < 0.2, "{position}: {value} for {expected}");
        }
    }
}
