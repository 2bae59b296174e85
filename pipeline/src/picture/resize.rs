//! Lanczos resampling as Pillow does it, which diffusers resizes with.

use image::{ImageBuffer, Pixel, Rgb32FImage};

use super::{Mask, bounds::Rectangle};

/// Half width of the kernel (Pillow `Resample.c`, `LANCZOS`).
const LOBES: f64 = 3.0;

/// A picture of floats.
type Floats<P> = ImageBuffer<P, Vec<f32>>;

/// The picture at another size.
pub fn resized(image: &Rgb32FImage, width: u32, height: u32) -> Rgb32FImage {
    resample(image, width, height)
}

/// What `rectangle` shows of the picture, at the size `width` × `height`. Outside the picture its
/// edge goes on.
pub fn view(image: &Rgb32FImage, rectangle: Rectangle, width: u32, height: u32) -> Rgb32FImage {
    resample(&cut(image, rectangle), width, height)
}

/// [`view`] of a mask. Outside the picture there is nothing to repaint.
pub fn view_mask(mask: &Mask, rectangle: Rectangle, width: u32, height: u32) -> Mask {
    let mut cut = cut(mask, rectangle);
    for (x, y, pixel) in cut.enumerate_pixels_mut() {
        if !rectangle.covers(mask.dimensions(), x, y) {
            pixel.0 = [0.0];
        }
    }
    resample(&cut, width, height)
}

fn cut<P: Pixel<Subpixel = f32>>(image: &Floats<P>, rectangle: Rectangle) -> Floats<P> {
    let clamped = |offset: i64, at: u32, side: u32| {
        (offset + i64::from(at)).clamp(0, i64::from(side) - 1) as u32
    };
    ImageBuffer::from_fn(rectangle.width, rectangle.height, |x, y| {
        let x = clamped(rectangle.left, x, image.width());
        *image.get_pixel(x, clamped(rectangle.top, y, image.height()))
    })
}

/// For each output position: the first input position and the weights from there.
fn kernels(input: u32, output: u32) -> Vec<(usize, Vec<f32>)> {
    let ratio = f64::from(input) / f64::from(output);
    let scale = ratio.max(1.0);
    let support = LOBES * scale;
    (0..output)
        .map(|position| {
            let centre = (f64::from(position) + 0.5) * ratio;
            let first = ((centre - support + 0.5) as i64).max(0) as usize;
            let end = ((centre + support + 0.5) as i64).min(i64::from(input)) as usize;
            let weights: Vec<f64> =
                (first..end).map(|at| lanczos((at as f64 - centre + 0.5) / scale)).collect();
            let sum: f64 = weights.iter().sum();
            (first, weights.iter().map(|weight| (weight / sum) as f32).collect())
        })
        .collect()
}

fn lanczos(x: f64) -> f64 {
    let sinc = |x: f64| {
        let x = x * std::f64::consts::PI;
        if x == 0.0 { 1.0 } else { x.sin() / x }
    };
    if x.abs() < LOBES { sinc(x) * sinc(x / LOBES) } else { 0.0 }
}

/// Rows first, then columns, each clamped to 0..=1 as Pillow's 8-bit steps are.
fn resample<P: Pixel<Subpixel = f32>>(image: &Floats<P>, width: u32, height: u32) -> Floats<P> {
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    let channels = usize::from(P::CHANNEL_COUNT);
    let (input_width, input_height) = (image.width() as usize, image.height() as usize);
    let columns = kernels(image.width(), width);
    let mut rows = vec![0.0_f32; width as usize * input_height * channels];
    for y in 0..input_height {
        let line = &image.as_raw()[y * input_width * channels..(y + 1) * input_width * channels];
        for (x, (first, weights)) in columns.iter().enumerate() {
            for channel in 0..channels {
                let sum: f32 = weights
                    .iter()
                    .enumerate()
                    .map(|(at, weight)| weight * line[(first + at) * channels + channel])
                    .sum();
                rows[(y * width as usize + x) * channels + channel] = sum.clamp(0.0, 1.0);
            }
        }
    }
    let stride = width as usize * channels;
    let mut output = Floats::<P>::new(width, height);
    let values: &mut [f32] = &mut output;
    for (y, (first, weights)) in kernels(image.height(), height).iter().enumerate() {
        let line = &mut values[y * stride..(y + 1) * stride];
        for (at, weight) in weights.iter().enumerate() {
            let source = &rows[(first + at) * stride..(first + at + 1) * stride];
            for (value, source) in line.iter_mut().zip(source) {
                *value += weight * source;
            }
        }
        for value in line {
            *value = value.clamp(0.0, 1.0);
        }
    }
    output
}
