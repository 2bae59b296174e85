//! Distances of pixels to a region.

use super::Mask;

/// Farther than any pixel of a picture that is read; squares stay exact in f64.
const FAR: f64 = 1e12;

/// For each pixel the squared distance in pixels to the nearest one that `inside` accepts
/// (Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", 2012). Where there
/// is none, distances are at least 1e11.
pub(super) fn squared_distances(mask: &Mask, inside: impl Fn(f32) -> bool) -> Vec<f64> {
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    let mut distances: Vec<f64> =
        mask.iter().map(|&value| if inside(value) { 0.0 } else { FAR }).collect();
    let mut line = vec![0.0; width.max(height)];
    for x in 0..width {
        for y in 0..height {
            line[y] = distances[y * width + x];
        }
        for (y, value) in transformed(&line[..height]).into_iter().enumerate() {
            distances[y * width + x] = value;
        }
    }
    for row in distances.chunks_exact_mut(width) {
        let transformed = transformed(row);
        row.copy_from_slice(&transformed);
    }
    distances
}

/// The lower envelope of parabolas that stand on `values`.
fn transformed(values: &[f64]) -> Vec<f64> {
    // Positions of the parabolas in the envelope, and where each begins to be the lowest.
    let mut envelope: Vec<(usize, f64)> = Vec::with_capacity(values.len());
    for (position, value) in values.iter().enumerate() {
        let at = position as f64;
        let mut begin = f64::NEG_INFINITY;
        while let Some(&(other, other_begin)) = envelope.last() {
            let place = other as f64;
            begin = ((value + at * at) - (values[other] + place * place)) / (2.0 * (at - place));
            if begin > other_begin {
                break;
            }
            envelope.pop();
            begin = f64::NEG_INFINITY;
        }
        envelope.push((position, begin));
    }
    let mut current = 0;
    (0..values.len())
        .map(|position| {
            let at = position as f64;
            while envelope.get(current + 1).is_some_and(|&(_, begin)| begin < at) {
                current += 1;
            }
            let place = envelope[current].0;
            values[place] + (at - place as f64).powi(2)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_equal_those_of_trying_every_pixel() {
        let mask = Mask::from_fn(13, 9, |x, y| {
            image::Luma([f32::from(u8::from([(2, 3), (11, 0), (7, 8)].contains(&(x, y))))])
        });
        let distances = squared_distances(&mask, |value| value > 0.5);
        for (x, y, _) in mask.enumerate_pixels() {
            let nearest = [(2, 3), (11, 0), (7, 8)]
                .iter()
                .map(|&(a, b): &(i32, i32)| (a - x as i32).pow(2) + (b - y as i32).pow(2))
                .min();
            assert_eq!(Some(distances[(y * 13 + x) as usize] as i32), nearest, "{x} {y}");
        }
    }
}
