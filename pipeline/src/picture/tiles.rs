//! Covering a picture with overlapping tiles that fade into each other.

/// Where the tiles of a picture lie.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tiles {
    size: (u32, u32),
    tile: (u32, u32),
    columns: Vec<u32>,
    rows: Vec<u32>,
}

/// Values of three channels, summed up by weight.
#[derive(Debug, Clone)]
pub struct Blend<'a> {
    tiles: &'a Tiles,
    sums: Vec<[f32; 4]>,
}

impl Tiles {
    /// Tiles of the size `tile`, which is at most `size`, that overlap by at least the share
    /// `overlap` of themselves and begin at multiples of `step`.
    pub fn new(size: (u32, u32), tile: (u32, u32), overlap: f64, step: u32) -> Self {
        let tile = (tile.0.clamp(1, size.0.max(1)), tile.1.clamp(1, size.1.max(1)));
        Self {
            size,
            tile,
            columns: starts(size.0, tile.0, overlap, step),
            rows: starts(size.1, tile.1, overlap, step),
        }
    }

    /// The left upper corner of each tile, row by row.
    pub fn positions(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.rows.iter().flat_map(|&top| self.columns.iter().map(move |&left| (left, top)))
    }

    /// The size of each tile.
    pub fn tile(&self) -> (u32, u32) {
        self.tile
    }

    /// How much the value at `at` of a tile of `length` counts: from just above 0 at either end to
    /// 1 in the middle, slowly at first, since what is near the end lacks its surroundings. Where
    /// nothing overlaps it cancels out.
    pub fn weight(at: u32, length: u32) -> f32 {
        let from_edge = at.min(length - 1 - at) as f32 + 0.5;
        (from_edge * 2.0 / length as f32).min(1.0).powi(2)
    }

    /// An empty picture to which tiles are added.
    pub fn blend(&self) -> Blend<'_> {
        Blend { tiles: self, sums: vec![[0.0; 4]; self.size.0 as usize * self.size.1 as usize] }
    }
}

/// Evenly spaced starts, the first at 0 and the last at the end.
fn starts(size: u32, tile: u32, overlap: f64, step: u32) -> Vec<u32> {
    let free = size - tile;
    if free == 0 {
        return vec![0];
    }
    let advance = (f64::from(tile) * (1.0 - overlap)).max(1.0);
    let gaps = (f64::from(free) / advance).ceil().max(1.0);
    (0..=gaps as u32)
        .map(|index| {
            if f64::from(index) == gaps {
                return free;
            }
            let start = f64::from(free) * f64::from(index) / gaps;
            start as u32 / step * step
        })
        .collect()
}

impl Blend<'_> {
    /// Adds the tile at `position`; `value` gives its pixels.
    ///
    /// Weights are those of [`Tiles::weight`] in both directions.
    pub fn add(&mut self, position: (u32, u32), value: impl Fn(u32, u32) -> [f32; 3]) {
        let (width, height) = self.tiles.tile;
        for y in 0..height {
            for x in 0..width {
                let weight = Tiles::weight(x, width) * Tiles::weight(y, height);
                let place = (position.1 + y) * self.tiles.size.0 + position.0 + x;
                let [red, green, blue, sum] = &mut self.sums[place as usize];
                let value = value(x, y);
                *red += value[0] * weight;
                *green += value[1] * weight;
                *blue += value[2] * weight;
                *sum += weight;
            }
        }
    }

    /// The value of a pixel that at least one tile has covered.
    pub fn value(&self, x: u32, y: u32) -> [f32; 3] {
        let [red, green, blue, sum] = self.sums[(y * self.tiles.size.0 + x) as usize];
        [red / sum, green / sum, blue / sum]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_everything_and_overlap() {
        for (size, tile) in [(512, 128), (130, 128), (1000, 96), (64, 64), (129, 128)] {
            let starts = starts(size, tile, 0.25, 8);
            assert_eq!(starts[0], 0);
            assert_eq!(starts.last(), Some(&(size - tile)));
            for pair in starts.windows(2) {
                assert!(pair[1] - pair[0] <= tile * 3 / 4 + 8, "{size} {tile}: {starts:?}");
            }
        }
    }

    #[test]
    fn equal_tiles_give_a_picture_without_borders() {
        let tiles = Tiles::new((50, 41), (16, 24), 0.25, 4);
        let mut blend = tiles.blend();
        for (left, top) in tiles.positions() {
            blend.add((left, top), |x, y| [(left + x) as f32, (top + y) as f32, 1.0]);
        }
        for y in 0..41 {
            for x in 0..50 {
                let [a, b, c] = blend.value(x, y);
                let expected = [x as f32, y as f32, 1.0];
                for (value, expected) in [a, b, c].iter().zip(expected) {
                    assert!((value - expected).abs() < 1e-3);
                }
            }
        }
    }
}
