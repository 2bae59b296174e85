//! Painting that meets a picture without a seam: gradients of the one, colours of the other.

use image::{Rgb, Rgb32FImage};

use super::{
    Mask,
    distance::squared_distances,
    membrane::{Channels, Membrane},
};

/// How hard the picture pulls where the mask's weight is 1/2: it is followed over some
/// `1 / √PULL` pixels.
const PULL: f32 = 0.05;

/// The pull of a pixel that is kept as it is.
const FIXED: f32 = 1e4;

/// How far pixels are apart whose differences make contrast: what the eye takes for a seam.
const LAGS: [usize; 3] = [4, 8, 15];

/// Radius in pixels of what is painted around a pixel whose contrast counts.
const CONTRAST_RADIUS: usize = 8;

/// Radius in pixels of the surroundings whose contrast counts.
const SURROUNDINGS_RADIUS: usize = 24;

/// By how much more contrast than its surroundings a painted border may have.
const CONTRAST_MARGIN: f32 = 1.0;

/// Pixels from the border, from which on contrast is left as it was painted.
const DEEP: f64 = 24.0;

/// The share of that, up to which contrast is wholly that of the surroundings.
const SHALLOW: f64 = 0.5;

/// `painted` with its colours shifted so that they meet `original` at the border of the mask
/// (Pérez et al., "Poisson Image Editing", 2003), and with no more contrast near the border than
/// its surroundings have: a strong texture that fades into a smooth sky is a seam, too.
///
/// All have one size. Where the mask is 0 the result is `original` but for rounding; where it is
/// between 0 and 1, the less the result follows `painted`. Where nothing is kept, nothing is
/// known of the surroundings, and `painted` stays.
pub fn match_colours(original: &Rgb32FImage, painted: &Rgb32FImage, mask: &Mask) -> Rgb32FImage {
    let (width, height) = (painted.width() as usize, painted.height() as usize);
    if mask.iter().all(|&weight| weight >= 1.0) {
        return painted.clone();
    }
    let pull: Vec<f32> = mask
        .iter()
        .map(|&weight| match weight {
            ..=0.0 => FIXED,
            1.0.. => 0.0,
            _ => (PULL * ((1.0 - weight) / weight).powi(2)).min(FIXED),
        })
        .collect();
    let gains = contrast_gains(original, painted, mask);
    let mut source: Vec<Channels> = original
        .pixels()
        .zip(&pull)
        .map(|(pixel, pull)| pixel.0.map(|value| value * pull))
        .collect();
    let colours: Vec<Channels> = painted.pixels().map(|pixel| pixel.0).collect();
    let mut link = |one: usize, other: usize| {
        let gain = (gains[one] + gains[other]) / 2.0;
        for channel in 0..3 {
            let step = gain * (colours[one][channel] - colours[other][channel]);
            source[one][channel] += step;
            source[other][channel] -= step;
        }
    };
    for y in 0..height {
        for x in 0..width {
            let place = y * width + x;
            if x + 1 < width {
                link(place, place + 1);
            }
            if y + 1 < height {
                link(place, place + width);
            }
        }
    }
    let mut values = colours;
    Membrane::new(width, height, pull, source).solve(&mut values);
    let mut matched = painted.clone();
    for (pixel, value) in matched.pixels_mut().zip(values) {
        *pixel = Rgb(value.map(|value| value.clamp(0.0, 1.0)));
    }
    matched
}

/// By what each pixel's differences to its neighbours are multiplied, from 0 to 1.
fn contrast_gains(original: &Rgb32FImage, painted: &Rgb32FImage, mask: &Mask) -> Vec<f32> {
    let kept: Vec<bool> = mask.iter().map(|&weight| weight <= 0.0).collect();
    let around = contrast(original, &kept, SURROUNDINGS_RADIUS);
    let inside = contrast(painted, &vec![true; kept.len()], CONTRAST_RADIUS);
    let depths: Vec<f64> =
        squared_distances(mask, |weight| weight < 0.5).into_iter().map(f64::sqrt).collect();
    // What is far from all borders of a large hole is not in sight of this picture's.
    let deepest = depths.iter().copied().fold(0.0, f64::max);
    let deep = DEEP.min(deepest.max(1.0));
    let shallow = deep * SHALLOW;
    around
        .into_iter()
        .zip(inside)
        .zip(depths)
        .map(|((around, inside), depth)| {
            let Some((around, inside)) = around.zip(inside) else { return 1.0 };
            let wanted = CONTRAST_MARGIN * (around / inside.max(1e-9)).sqrt() as f32;
            let free = ((depth - shallow) / (deep - shallow)).clamp(0.0, 1.0);
            let free = (free * free * (3.0 - 2.0 * free)) as f32;
            let gain = wanted.min(1.0);
            gain + (1.0 - gain) * free
        })
        .collect()
}

/// The squared differences of pixels some [`LAGS`] apart in a row or a column, at the pixel between
/// them, with the number of such pairs; both pixels must be `known`.
fn differences(image: &Rgb32FImage, known: &[bool]) -> (Vec<f64>, Vec<f64>) {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (mut sums, mut counts) = (vec![0.0; known.len()], vec![0.0; known.len()]);
    let pixels: Vec<Channels> = image.pixels().map(|pixel| pixel.0).collect();
    for lag in LAGS {
        for (across, down) in [(lag, 0), (0, lag)] {
            for y in 0..height.saturating_sub(down) {
                for x in 0..width.saturating_sub(across) {
                    let (one, other) = (y * width + x, (y + down) * width + x + across);
                    if !(known[one] && known[other]) {
                        continue;
                    }
                    let between = (y + down / 2) * width + x + across / 2;
                    let pairs = pixels[one].iter().zip(pixels[other]);
                    sums[between] += pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
                    counts[between] += 1.0;
                }
            }
        }
    }
    (sums, counts)
}

/// The mean of [`differences`] in the square around each pixel; `None` where there is no pair.
fn contrast(image: &Rgb32FImage, known: &[bool], radius: usize) -> Vec<Option<f64>> {
    let size = (image.width() as usize, image.height() as usize);
    let (sums, counts) = differences(image, known);
    let sums = window_sum(sums, size, radius);
    let counts = window_sum(counts, size, radius);
    let mean = |(sum, count): (f64, f64)| (count > 0.5).then(|| sum.max(0.0) / count);
    sums.into_iter().zip(counts).map(mean).collect()
}

/// The sum of the values in the square of `2 radius + 1` pixels around each pixel.
fn window_sum(mut values: Vec<f64>, (width, height): (usize, usize), radius: usize) -> Vec<f64> {
    let mut line = Vec::with_capacity(width.max(height));
    for (count, length, start, step) in [(height, width, width, 1), (width, height, 1, width)] {
        for index in 0..count {
            line.clear();
            line.extend((0..length).map(|at| values[index * start + at * step]));
            let mut sum: f64 = line.iter().take(radius).sum();
            for at in 0..length {
                sum += line.get(at + radius).copied().unwrap_or(0.0);
                values[index * start + at * step] = sum;
                if at >= radius {
                    sum -= line[at - radius];
                }
            }
        }
    }
    values
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
    fn a_colour_cast_is_taken_away() {
        let image = Rgb32FImage::from_fn(40, 40, |x, y| {
            Rgb([0.5, 0.3 + x as f32 / 100.0, 0.4 + y as f32 / 100.0])
        });
        let mut painted = image.clone();
        for pixel in painted.pixels_mut() {
            pixel.0[0] += 0.1;
            pixel.0[2] -= 0.05;
        }
        let matched = match_colours(&image, &painted, &hole());
        for (value, expected) in matched.iter().zip(image.iter()) {
            assert!((value - expected).abs() < 2e-3, "{value} for {expected}");
        }
    }

    #[test]
    fn contrast_at_the_border_is_that_of_the_surroundings_and_inside_what_was_painted() {
        let mask = Mask::from_fn(120, 120, |x, y| {
            Luma([f32::from(u8::from((20..100).contains(&x) && (20..100).contains(&y)))])
        });
        let checks = |size: u32, amount: f32| {
            Rgb32FImage::from_fn(120, 120, |x, y| {
                let sign = if (x / size + y / size).is_multiple_of(2) { 1.0 } else { -1.0 };
                Rgb([0.5 + sign * amount; 3])
            })
        };
        let matched = match_colours(&checks(3, 0.01), &checks(5, 0.2), &mask);
        let spread = |from: u32, to: u32| {
            let values: Vec<f32> = (40..80)
                .flat_map(|y| (from..to).map(move |x| (x, y)))
                .map(|(x, y)| matched.get_pixel(x, y).0[0])
                .collect();
            let mean = values.iter().sum::<f32>() / values.len() as f32;
            let squares = values.iter().map(|value| (value - mean).powi(2)).sum::<f32>();
            (squares / values.len() as f32).sqrt()
        };
        assert!(spread(20, 28) < 0.03, "at the border {}", spread(20, 28));
        assert!(spread(50, 70) > 0.15, "in the middle {}", spread(50, 70));
    }

    #[test]
    fn a_picture_of_which_nothing_is_kept_stays_as_painted() {
        let painted =
            Rgb32FImage::from_fn(20, 20, |x, y| Rgb([x as f32 / 20.0, y as f32 / 20.0, 0.0]));
        let white = Mask::from_pixel(20, 20, Luma([1.0]));
        assert_eq!(match_colours(&Rgb32FImage::new(20, 20), &painted, &white), painted);
    }

    #[test]
    fn window_sums_equal_those_of_adding_every_pixel() {
        let (width, height, radius) = (7, 5, 2);
        let values: Vec<f64> = (0..35).map(|at| f64::from(at * at % 11)).collect();
        let sums = window_sum(values.clone(), (width, height), radius);
        for y in 0..height {
            for x in 0..width {
                let rows = y.saturating_sub(radius)..(y + radius + 1).min(height);
                let sum: f64 = rows
                    .flat_map(|b| {
                        (x.saturating_sub(radius)..(x + radius + 1).min(width))
                            .map(move |a| b * width + a)
                    })
                    .map(|place| values[place])
                    .sum();
                assert_eq!(sums[y * width + x], sum, "{x} {y}");
            }
        }
    }
}
