//! What the pixels of masks, sketches and pictures look like on the screen.

use egui::Color32;

use super::{
    geometry::PixelRectangle,
    overlay::{grown, pixels, texels},
    tiles::TiledImage,
};

/// What pixels look like on the screen.
pub(super) trait Colouring: Copy + PartialEq {
    /// A pixel.
    type Pixel: Copy + PartialEq;

    /// A pixel of which nothing is seen.
    const NOTHING: Self::Pixel;

    /// Texels on each side of a texel that its colour depends on, too.
    const REACH: u32;

    /// The colours of an area of texels row by row, of 2^`level` pixels a side each.
    fn colours(
        &self,
        image: &TiledImage<Self::Pixel>,
        area: PixelRectangle,
        level: u32,
    ) -> Vec<Color32>;
}

/// A mask: tinted by how much it repaints, with a border along what is above half.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct MaskColouring {
    /// Over what is repainted wholly, premultiplied.
    pub(super) tint: Color32,
    /// Along the border.
    pub(super) edge: Color32,
}

impl Colouring for MaskColouring {
    type Pixel = u8;
    const NOTHING: u8 = 0;
    const REACH: u32 = 1;

    fn colours(&self, image: &TiledImage<u8>, area: PixelRectangle, level: u32) -> Vec<Color32> {
        let bounds = grown(area, Self::REACH, texels(image.bounds(), level));
        let values = mean_of_values(image, bounds, level);
        let mut tints = [None; 256];
        let (width, height) = (bounds.width() as usize, bounds.height() as usize);
        let (left, top) = ((area.left - bounds.left) as usize, (area.top - bounds.top) as usize);
        let mut colours = Vec::with_capacity(area.width() as usize * area.height() as usize);
        for y in top..top + area.height() as usize {
            for x in left..left + area.width() as usize {
                let at = y * width + x;
                let value = values[at];
                let is_edge = value > 127
                    && (x > 0 && values[at - 1] <= 127
                        || x + 1 < width && values[at + 1] <= 127
                        || y > 0 && values[at - width] <= 127
                        || y + 1 < height && values[at + width] <= 127);
                colours.push(if is_edge {
                    self.edge
                } else {
                    *tints[usize::from(value)]
                        .get_or_insert_with(|| self.tint.gamma_multiply_u8(value))
                });
            }
        }
        colours
    }
}

/// The mean of the pixels of each texel.
fn mean_of_values(image: &TiledImage<u8>, area: PixelRectangle, level: u32) -> Vec<u8> {
    let side = 1_usize << level;
    let width = area.width() as usize;
    let covered = pixels(area, level, image.bounds());
    let mut sums = vec![0_u32; width * area.height() as usize];
    image.for_each_run(covered, |x, y, run| {
        let start =
            ((y >> level) - area.top) as usize * width + ((x >> level) - area.left) as usize;
        for (sum, pixels) in sums[start..].iter_mut().zip(run.chunks(side)) {
            *sum += pixels.iter().map(|&pixel| u32::from(pixel)).sum::<u32>();
        }
    });
    let counts = counts(area, level, covered);
    sums.into_iter().zip(counts).map(|(sum, count)| (sum / count) as u8).collect()
}

/// How many pixels of `covered` each texel holds.
fn counts(
    area: PixelRectangle,
    level: u32,
    covered: PixelRectangle,
) -> impl Iterator<Item = u32> + use<> {
    let side = 1 << level;
    area.pixels().map(move |(x, y)| {
        let across = (covered.right - (x << level)).min(side);
        let down = (covered.bottom - (y << level)).min(side);
        across * down
    })
}

/// Red, green, blue and alpha, not multiplied.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RgbaColouring;

impl Colouring for RgbaColouring {
    type Pixel = [u8; 4];
    const NOTHING: [u8; 4] = [0; 4];
    const REACH: u32 = 0;

    fn colours(
        &self,
        image: &TiledImage<[u8; 4]>,
        area: PixelRectangle,
        level: u32,
    ) -> Vec<Color32> {
        let width = area.width() as usize;
        if level == 0 {
            let mut colours = vec![Color32::TRANSPARENT; width * area.height() as usize];
            image.for_each_run(area, |x, y, run| {
                let start = (y - area.top) as usize * width + (x - area.left) as usize;
                for (colour, pixel) in colours[start..].iter_mut().zip(run) {
                    *colour = match *pixel {
                        [red, green, blue, 255] => Color32::from_rgb(red, green, blue),
                        [.., 0] => Color32::TRANSPARENT,
                        [red, green, blue, alpha] => {
                            Color32::from_rgba_unmultiplied(red, green, blue, alpha)
                        }
                    };
                }
            });
            return colours;
        }
        let side = 1_usize << level;
        let covered = pixels(area, level, image.bounds());
        // Colours by alpha, and alpha by 255.
        let mut sums = vec![[0_u32; 4]; width * area.height() as usize];
        image.for_each_run(covered, |x, y, run| {
            let start =
                ((y >> level) - area.top) as usize * width + ((x >> level) - area.left) as usize;
            for (sum, pixels) in sums[start..].iter_mut().zip(run.chunks(side)) {
                for &[red, green, blue, alpha] in pixels {
                    let alpha = u32::from(alpha);
                    sum[0] += u32::from(red) * alpha;
                    sum[1] += u32::from(green) * alpha;
                    sum[2] += u32::from(blue) * alpha;
                    sum[3] += 255 * alpha;
                }
            }
        });
        let means = sums.into_iter().zip(counts(area, level, covered));
        means
            .map(|(sum, count)| {
                let [red, green, blue, alpha] =
                    sum.map(|sum| ((sum + count * 127) / (count * 255)) as u8);
                Color32::from_rgba_premultiplied(red, green, blue, alpha)
            })
            .collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::canvas::{mask::MaskTiles, overlay::MAX_LEVEL};

    const COLOURS: MaskColouring = MaskColouring {
        tint: Color32::from_rgb(100, 50, 20),
        edge: Color32::from_rgb(250, 140, 60),
    };

    #[test]
    fn from_afar_texels_are_the_mean_of_their_pixels() {
        let mut mask = MaskTiles::new(131, 9, 0);
        mask.update(mask.bounds(), |x, y, _| if x == 128 { 200 } else { (x + y) as u8 });
        let area = texels(mask.bounds(), 2);
        assert_eq!((area.right, area.bottom), (33, 3));
        let means = mean_of_values(&mask, area, 2);
        for (at, (x, y)) in area.pixels().enumerate() {
            let part = PixelRectangle { left: x, top: y, right: x + 1, bottom: y + 1 };
            let part: Vec<u32> = pixels(part, 2, mask.bounds())
                .pixels()
                .map(|(x, y)| u32::from(mask.get(x, y).unwrap()))
                .collect();
            assert_eq!(u32::from(means[at]), part.iter().sum::<u32>() / part.len() as u32);
        }
        let mut sketch = TiledImage::new(4, 2, [0; 4]);
        sketch.update(sketch.bounds(), |x, _, _| if x < 1 { [200, 100, 50, 255] } else { [0; 4] });
        let all = texels(sketch.bounds(), 1);
        let half = Color32::from_rgba_premultiplied(100, 50, 25, 127);
        let colours = RgbaColouring.colours(&sketch, all, 1);
        assert_eq!(colours[1], Color32::TRANSPARENT);
        let near = |a: u8, b: u8| a.abs_diff(b) <= 1;
        assert!(colours[0].to_array().into_iter().zip(half.to_array()).all(|(a, b)| near(a, b)));
        sketch.update(PixelRectangle { left: 1, right: 2, ..sketch.bounds() }, |_, _, _| {
            [200, 100, 50, 128]
        });
        let part = PixelRectangle { top: 1, ..sketch.bounds() };
        let colours = RgbaColouring.colours(&sketch, part, 0);
        let half = Color32::from_rgba_unmultiplied(200, 100, 50, 128);
        let clear = Color32::TRANSPARENT;
        assert_eq!(colours, [Color32::from_rgb(200, 100, 50), half, clear, clear]);
    }

    #[test]
    fn a_mask_has_a_border_at_every_size() {
        let mut mask = MaskTiles::new(256, 256, 0);
        let square = PixelRectangle { left: 64, top: 64, right: 192, bottom: 192 };
        mask.update(square, |_, _, _| 255);
        for level in 0..=MAX_LEVEL {
            let all = texels(mask.bounds(), level);
            let inside = texels(square, level);
            let colours = COLOURS.colours(&mask, all, level);
            for (at, (x, y)) in all.pixels().enumerate() {
                let is_inner = inside.contains(x + 1, y + 1) && x > inside.left && y > inside.top;
                let expected = match () {
                    () if !inside.contains(x, y) => COLOURS.tint.gamma_multiply_u8(0),
                    () if is_inner => COLOURS.tint,
                    () => COLOURS.edge,
                };
                assert_eq!(colours[at], expected, "level {level}: {x} {y}");
            }
        }
    }
}
